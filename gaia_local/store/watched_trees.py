"""Watched directory trees that report changes, by watchdog's public `Observer`.

Knows neither keys nor debouncing. The engine's own files, whose names begin with `OWN`, aren't
watched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from watchdog import events
from watchdog.observers import Observer

from gaia_local.model.names import OWN

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch

Heard: TypeAlias = Callable[[str], None]
"""Called with the absolute path of a change, from a thread of the trees'; must not raise."""
Unsure: TypeAlias = Callable[["OSError | None"], None]
"""Called when changes may have gone unheard: with an error, they will from now on."""


_MEANINGFUL: list[type[events.FileSystemEvent]] = [
    events.FileCreatedEvent,
    events.FileModifiedEvent,
    events.FileMovedEvent,
    events.FileDeletedEvent,
    events.FileClosedEvent,
    events.DirCreatedEvent,
    events.DirMovedEvent,
    events.DirDeletedEvent,
]


class Trees(Protocol):
    """Watched directories, each (if `recursive`) with all below it, until `close`."""

    def watch(self, top: str) -> None:
        """Watch a directory. Raises `OSError` if it can't be watched."""

    def unwatch(self, top: str) -> None:
        """Watch it no longer; it may be gone, and needn't be watched."""

    def close(self) -> None:
        """Watch nothing, and end the threads. Idempotent."""


class ObservedTrees:
    """Trees by watchdog's `Observer`."""

    def __init__(self, heard: Heard, recursive: bool) -> None:
        self._handler, self._recursive = _Handler(heard), recursive
        self._watches: dict[str, ObservedWatch] = {}
        self._observer = Observer()
        self._observer.name = "gaia-local-observer"
        self._observer.start()

    def watch(self, top: str) -> None:
        self._watches[top] = self._observer.schedule(
            self._handler, top, recursive=self._recursive, event_filter=_MEANINGFUL
        )
        for emitter in self._observer.emitters:
            emitter.name = "gaia-local-emitter"

    def unwatch(self, top: str) -> None:
        if top in self._watches:
            self._observer.unschedule(self._watches.pop(top))

    def close(self) -> None:
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()


class _Handler(events.FileSystemEventHandler):
    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    def on_any_event(self, event: events.FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            if path and f"/{OWN}" not in (text := os.fsdecode(path)):
                self._heard(text)

"""Notices that files changed, and hands over debounced sets of paths. Knows neither keys nor workflows.

A path is handed over when it, and whatever shares its directory, has been quiet for the debounce time, so that a file
that is still being written, or a burst of files, comes once. Where one directory never gets quiet, its paths come after
`PATIENCE` debounce times nevertheless.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import stat
import sys
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from gaia_local.model import OWN

logger = logging.getLogger("gaia_local")

DEBOUNCE = 0.1
PATIENCE = 20
POLL = 1.0
"""Seconds between two looks at all files, where the system can't watch them."""
ROUND = 2.0
"""Seconds between two looks whether the watched directories are still the same: nobody is told when one is replaced."""
_MEANINGFUL = frozenset({"created", "modified", "moved", "deleted", "closed"})
# watchdog 7 says this of new directories that it sees twice; it means nothing to anybody.
warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
_LIMITS = {
    errno.ENOSPC: "the system watches too few directories at a time: raise fs.inotify.max_user_watches",
    errno.EMFILE: "the system has too few watchers at a time: raise fs.inotify.max_user_instances",
}


class Watcher:
    """Watches directory trees until `close`.

    `changed(paths)` is called from the watcher's one thread, with absolute paths; with None where nobody knows what
    changed (polling), so that everything must be looked at.
    """

    def __init__(
        self, tops: Iterable[Path], changed: Callable[[Collection[str] | None], None], debounce: float = DEBOUNCE
    ) -> None:
        """`tops` are the directories to watch, each with all below it; they must exist."""
        self._changed, self._debounce = changed, debounce
        self._condition = threading.Condition()
        self._pending: dict[str, float] = {}
        """Path → when it was first heard of."""
        self._noise: dict[str, float] = {}
        """Directory → when something in it was last heard of."""
        self._closed = False
        self._tops = [str(top) for top in tops]
        self._watches: dict[str, tuple[ObservedWatch, tuple[int, int]]] = {}
        """Directory → its watch, and which directory that is; one that vanished has none."""
        self._new_directories = False
        self._polling = False
        """Files are looked at from time to time, because not all can be watched."""
        self._observer = self._watch()
        self._thread = threading.Thread(target=self._deliver, name="gaia-local-watcher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the threads. Idempotent."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        if self._thread is not threading.current_thread():  # first: it may give the observer something to watch
            self._thread.join()
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    def _watch(self) -> BaseObserver | None:
        observer = Observer()
        observer.name = "gaia-local-observer"
        try:
            observer.start()
            for top in self._tops:
                self._watch_top(observer, top, _identity(top) or (0, 0))
            self._check_limit()
        except OSError as error:
            observer.stop()
            observer.join()
            self._poll(error)
            return None
        return observer

    def _watch_top(self, observer: BaseObserver, top: str, identity: tuple[int, int]) -> None:
        self._watches[top] = observer.schedule(_Handler(self._heard), top, recursive=True), identity
        for emitter in observer.emitters:
            emitter.name = "gaia-local-emitter"

    def _check_tops(self) -> bool:
        """Watch what came to lie at the watched paths instead of what was there; True where there was such a thing."""
        observer, news = self._observer, False
        if observer is None:
            return False
        for top in self._tops:
            identity, (watch, watched) = _identity(top), self._watches.get(top, (None, None))
            if identity == watched:
                continue
            news = True
            if watch is not None:
                logger.warning("%s vanished%s", top, "" if identity is None else ", and another lies there")
                observer.unschedule(watch)
                del self._watches[top]
            if identity is not None:
                logger.info("%s is watched again", top)
                try:
                    self._watch_top(observer, top, identity)
                except FileNotFoundError:  # it has just gone again
                    continue
                except OSError as error:
                    self._poll(error)
        return news

    def _check_limit(self) -> None:
        """Find out whether directories go unwatched: watchdog doesn't say so, but then one more can't be watched."""
        if not self._polling:
            try:
                _try_one_more(self._tops[0])
            except OSError as error:
                self._poll(error)

    def _poll(self, error: OSError) -> None:
        self._polling = True
        advice = _LIMITS.get(error.errno or 0, f"files can't be watched ({error.strerror})")
        logger.warning("%s; until then files are looked at every %g s", advice, POLL)

    def _heard(self, path: str, new_directory: bool) -> None:
        """Runs in the observer's thread."""
        now = time.monotonic()
        with self._condition:
            self._new_directories |= new_directory
            self._noise[os.path.dirname(path)] = now
            if not self._pending:
                self._condition.notify()
            self._pending.setdefault(path, now)

    def _deliver(self) -> None:
        while True:
            ready: Collection[str] | None
            if self._check_tops():  # outside the lock: it waits for a thread that may want to tell something
                self._changed(None)
            with self._condition:
                if self._new_directories:
                    self._new_directories = False
                    self._check_limit()
                if self._polling:
                    self._condition.wait_for(lambda: self._closed, POLL)
                    ready = None
                else:
                    self._condition.wait_for(lambda: self._closed or self._pending, ROUND)
                    if not self._closed and not self._pending:
                        continue
                    ready = self._quiet_paths()
                    if not ready and not self._closed:
                        self._condition.wait_for(lambda: self._closed, self._next())
                        continue
                if self._closed:
                    return
            self._changed(ready)

    def _quiet_paths(self) -> set[str]:
        now = time.monotonic()
        ready = {
            path
            for path, first in self._pending.items()
            if now - self._noise[os.path.dirname(path)] >= self._debounce or now - first >= PATIENCE * self._debounce
        }
        for path in ready:
            del self._pending[path]
        kept = {os.path.dirname(path) for path in self._pending}
        self._noise = {directory: heard for directory, heard in self._noise.items() if directory in kept}
        return ready

    def _next(self) -> float:
        """Seconds until some path may be ready."""
        now = time.monotonic()
        return max(0.001, min(self._noise[os.path.dirname(path)] for path in self._pending) + self._debounce - now)


class _Handler(FileSystemEventHandler):
    def __init__(self, heard: Callable[[str, bool], None]) -> None:
        self._heard = heard

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in _MEANINGFUL or (event.is_directory and event.event_type == "modified"):
            return
        for path in (event.src_path, event.dest_path):
            if path and f"/{OWN}" not in (text := os.fsdecode(path)):
                self._heard(text, event.is_directory)


def _identity(directory: str) -> tuple[int, int] | None:
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None


def _try_one_more(directory: str) -> None:
    """Raise the `OSError` of a watch that the system refuses."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    with contextlib.closing(os.fdopen(descriptor, "rb", buffering=0)):
        if libc.inotify_add_watch(descriptor, os.fsencode(directory), 0x2) < 0:  # IN_MODIFY
            number = ctypes.get_errno()
            if number in _LIMITS:
                raise OSError(number, os.strerror(number))

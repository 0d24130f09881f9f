"""Notices changed files; hands over debounced sets of paths. Knows neither keys nor workflows.

The changes in a directory are handed over when all of it has been quiet for the debounce time, so
that a file that is still being written, or a burst of files, comes once; if it never gets quiet,
after `MAX_DEBOUNCES` debounce times.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from gaia_local.model.paths import parent
from gaia_local.monotonic import monotonic
from gaia_local.store.watched_trees import Heard, ObservedTrees, Trees, Unsure

logger = logging.getLogger("gaia_local")

DEBOUNCE = 0.1
MAX_DEBOUNCES = 20
POLL = 1.0
"""Seconds between two checks of all files, if the system can't watch them."""
CHECK_SECONDS = 2.0
"""Between two checks whether a watched directory was replaced, of which there is no event."""
_LIMITS = {
    errno.ENOSPC: (
        "too many directories are watched for this system: raise fs.inotify.max_user_watches"
    ),
    errno.EMFILE: (
        "there are too many watchers for this system: raise fs.inotify.max_user_instances"
    ),
}


class Watcher:
    """Watches directory trees until `close`.

    `changed(paths)` is called from the watcher's one thread, with absolute paths; with None if the
    changes are unknown (polling), so that all files must be checked.
    """

    def __init__(
        self,
        tops: Iterable[Path],
        changed: Callable[[Collection[str] | None], None],
        debounce: float = DEBOUNCE,
        recursive: bool = True,
    ) -> None:
        """`tops` are directories that exist; if `recursive`, all below is watched, too."""
        self._changed, self._debounce, self._recursive = changed, debounce, recursive
        self._condition = threading.Condition()
        self._bursts: dict[str, _Burst] = {}
        """Directory → the changes in it that aren't handed over yet."""
        self._closed = False
        self._tops = [str(top) for top in tops]
        self._watched: dict[str, tuple[int, int]] = {}
        """Path → the identity of the directory that is watched there, unless it vanished."""
        self._missed = False
        """Changes were missed."""
        self._polling = False
        """Files are checked from time to time, because not all can be watched."""
        self._trees: Trees | None = None
        try:
            self._trees = make_trees(self._heard, self._unsure, recursive)
        except OSError as error:
            self._unsure(error)
        self._check_tops()
        self._thread = threading.Thread(
            target=self._deliver, name="gaia-local-watcher", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End the threads. Idempotent."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        # The thread first: it may still add watches to the trees.
        if self._thread is not threading.current_thread():
            self._thread.join()
        if self._trees is not None:
            self._trees.close()

    def _check_tops(self) -> bool:
        """Watch the present directories of all paths; True if one came, went or was replaced."""
        trees, news = self._trees, False
        if trees is None:
            return False
        for top in self._tops:
            identity, watched = _identity(top), self._watched.get(top)
            if identity == watched:
                continue
            news = True
            if watched is not None:
                logger.warning(
                    "%s vanished%s", top, "" if identity is None else ", and another took its place"
                )
                trees.unwatch(top)
                del self._watched[top]
            if identity is not None:
                try:
                    trees.watch(top)
                except FileNotFoundError:  # it has just gone again
                    continue
                except OSError as error:
                    self._unsure(error)
                self._watched[top] = identity
        return news

    def _heard(self, path: str) -> None:
        now = monotonic()
        with self._condition:
            if not self._bursts:
                self._condition.notify()
            directory = parent(path)
            burst = self._bursts.get(directory)
            if burst is None:
                burst = self._bursts[directory] = _Burst(now)
            burst.paths.add(path)
            burst.last = now

    def _unsure(self, error: OSError | None) -> None:
        with self._condition:
            self._missed = True
            if error is not None and not self._polling:
                self._polling = True
                advice = _LIMITS.get(error.errno or 0, f"files can't be watched ({error.strerror})")
                logger.warning("%s; files are checked every %g s instead", advice, POLL)
            self._condition.notify()

    def _deliver(self) -> None:
        while True:
            ready: Collection[str] | None
            # Outside the lock: it waits for a thread that may be reporting a change.
            if self._check_tops():
                self._changed(None)
            with self._condition:
                if self._polling:
                    self._condition.wait_for(lambda: self._closed, POLL)
                    ready = None
                else:
                    self._condition.wait_for(
                        lambda: self._closed or self._missed or self._bursts, CHECK_SECONDS
                    )
                    if self._missed:
                        ready = None
                    elif not self._closed and not self._bursts:
                        continue
                    else:
                        ready = self._quiet_paths()
                        if not ready and not self._closed:
                            self._condition.wait_for(lambda: self._closed, self._next())
                            continue
                self._missed = False
                if ready is None:
                    self._bursts.clear()
                if self._closed:
                    return
            self._changed(ready)

    def _quiet_paths(self) -> set[str]:
        now = monotonic()
        ready = [
            directory
            for directory, burst in self._bursts.items()
            if burst.ready(self._debounce) <= now
        ]
        return {path for directory in ready for path in self._bursts.pop(directory).paths}

    def _next(self) -> float:
        """Seconds until some path may be ready."""
        return max(
            0.001,
            min(burst.ready(self._debounce) for burst in self._bursts.values()) - monotonic(),
        )


def make_trees(heard: Heard, unsure: Unsure, recursive: bool) -> Trees:
    """The trees that suit the system and the installed watchdog."""
    if sys.platform.startswith("linux"):
        try:
            from gaia_local.store import inotify_trees

            inotify_trees.check_layer()
            return inotify_trees.InotifyTrees(heard, unsure, recursive)
        except (ImportError, AttributeError, TypeError):
            logger.warning(
                "the installed watchdog's inotify layer isn't that of version 7.1, so some changed"
                " files may go unnoticed: pip install 'watchdog>=7.1,<8'"
            )
    return ObservedTrees(heard, recursive)


class _Burst:
    """Changes in one directory."""

    __slots__ = ("first", "last", "paths")

    def __init__(self, now: float) -> None:
        self.first = self.last = now
        self.paths: set[str] = set()

    def ready(self, debounce: float) -> float:
        """The time when they can be handed over, if no more changes come."""
        return min(self.last + debounce, self.first + MAX_DEBOUNCES * debounce)


def _identity(directory: str) -> tuple[int, int] | None:
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None

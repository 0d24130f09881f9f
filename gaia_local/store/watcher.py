"""Notices changed files; hands over debounced sets of paths. Knows neither keys nor workflows.

What changed in a directory is handed over when all of it has been quiet for the debounce time, so
that a file that is still being written, or a burst of files, comes once; where it never gets quiet,
after `MAX_DEBOUNCES` debounce times.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from gaia_local.monotonic import monotonic
from gaia_local.store.watched_trees import Trees, watched_trees

logger = logging.getLogger("gaia_local")

DEBOUNCE = 0.1
MAX_DEBOUNCES = 20
POLL = 1.0
"""Seconds between two looks at all files, where the system can't watch them."""
CHECK_SECONDS = 2.0
"""Between two looks whether a watched directory was replaced, which nobody tells."""
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

    `changed(paths)` is called from the watcher's one thread, with absolute paths; with None where
    nobody knows what changed (polling), so that everything must be looked at.
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
        """Directory → what was heard of in it, and not handed over yet."""
        self._closed = False
        self._tops = [str(top) for top in tops]
        self._watched: dict[str, tuple[int, int]] = {}
        """Directory → which one is watched there; one that vanished isn't in it."""
        self._missed = False
        """Changes went unheard."""
        self._polling = False
        """Files are looked at from time to time, because not all can be watched."""
        self._trees: Trees | None = None
        try:
            self._trees = watched_trees(self._heard, self._unsure, recursive)
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
        # First: it may give the trees something to watch.
        if self._thread is not threading.current_thread():
            self._thread.join()
        if self._trees is not None:
            self._trees.close()

    def _check_tops(self) -> bool:
        """Watch what now lies at the watched paths; True where something came, went or changed."""
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
            directory = os.path.dirname(path)
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
                logger.warning("%s; until then files are checked every %g s", advice, POLL)
            self._condition.notify()

    def _deliver(self) -> None:
        while True:
            ready: Collection[str] | None
            # Outside the lock: it waits for a thread that may want to tell something.
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


class _Burst:
    """Changes in one directory."""

    __slots__ = ("first", "last", "paths")

    def __init__(self, now: float) -> None:
        self.first = self.last = now
        self.paths: set[str] = set()

    def ready(self, debounce: float) -> float:
        """When they can be handed over, if nothing more happens there."""
        return min(self.last + debounce, self.first + MAX_DEBOUNCES * debounce)


def _identity(directory: str) -> tuple[int, int] | None:
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None

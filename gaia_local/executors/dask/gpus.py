"""Gives the Tasks on one machine different GPUs, on all of the user's workers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
"""Batch systems number the GPUs of each job from 0: an id means nothing in another job."""
_RETRY_SECONDS = 0.1


class LockedGpus:
    """The GPUs that this process sees, each with a lock that ends with the process. Thread-safe."""

    def __init__(self, directory: Path, gpus: Sequence[str]) -> None:
        """The locks lie in the directory, which is made where one is taken."""
        self._directory, self._gpus = directory, gpus
        self._given_back = threading.Event()
        job = next(filter(None, map(os.environ.get, _JOB_VARIABLES)), "")
        self._paths = {gpu: directory / re.sub(r"[^\w-]", "_", f"{job}-{gpu}") for gpu in gpus}

    @contextlib.contextmanager
    def taken(self, count: int | None, stop: Callable[[], bool]) -> Iterator[tuple[str, ...]]:
        """The ids of so many GPUs that nobody else has meanwhile, waited for until `stop()`.

        None where that many aren't known here at all: then the worker was started to know better.
        """
        if not count or count > len(self._gpus):
            yield ()
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        locks: contextlib.ExitStack | None = None
        gpus: tuple[str, ...] = ()
        while locks is None and not stop():
            self._given_back.clear()
            locks, gpus = self._try(count)
            if locks is None:
                # Other processes announce nothing.
                self._given_back.wait(_RETRY_SECONDS)
        try:
            yield gpus
        finally:
            if locks is not None:
                locks.close()
                self._given_back.set()

    def _try(self, count: int) -> tuple[contextlib.ExitStack | None, tuple[str, ...]]:
        """Take all of them or none: two that have a part each would wait for ever."""
        gpus: list[str] = []
        with contextlib.ExitStack() as locks:
            for gpu, path in self._paths.items():
                if len(gpus) < count and _lock(path, locks):
                    gpus.append(gpu)
            if len(gpus) == count:
                return locks.pop_all(), tuple(gpus)
        return None, ()


def _lock(path: Path, locks: contextlib.ExitStack) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    locks.callback(os.close, descriptor)
    return True

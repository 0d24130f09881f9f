"""Removes the logs of attempts whose rows were dropped, so that a kill leaves none for long.

A mark lies beside the logs from before the first row goes until the last log went. An engine that
finds it at its start removes all logs without a row.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from gaia_local.model.names import OWN
from gaia_local.store.removal import warning_only
from gaia_local.store.storage import Storage


class AttemptLogs:
    """The logs of a root's attempts."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._mark = f"{storage.root}/logs/{OWN}-dropping"

    def begin(self) -> None:
        """Rows are going to be dropped. Raises `OSError`."""
        with open(self._mark, "wb"):
            pass

    def end(self) -> None:
        """All their logs are removed."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._mark)

    def is_begun(self) -> bool:
        """Whether logs may be left: an engine died before `end`."""
        return os.path.lexists(self._mark)

    def remove(self, workflow: str, tasks: Iterable[str]) -> int:
        """Remove the logs of Tasks; answers the sum of their sizes, in bytes."""
        size = 0
        for task in tasks:
            log = self._storage.log(workflow, task)
            with warning_only(log), contextlib.suppress(FileNotFoundError):
                size += os.lstat(log).st_size
                os.unlink(log)
        return size

    def sweep(self, workflow: str, known: Collection[str]) -> None:
        """Remove the logs of a workflow's Tasks that aren't `known`."""
        directory = Path(self._storage.log(workflow, "any")).parent
        with contextlib.suppress(FileNotFoundError):
            names = os.listdir(directory)
            tasks = [name.removesuffix(".log") for name in names if name.endswith(".log")]
            self.remove(workflow, [task for task in tasks if task not in known])

"""The workspaces of Tasks: their private directories, their logs, and places for their outputs.

On the engine's machine all of that is under the root. On a machine that only shares the root,
private directories are in a `scratch` directory of its own, and a Task's results go into its lease:
directories that the engine makes and removes (see `leases`).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path

from gaia_local.model.paths import is_inside, parent
from gaia_local.model.tasks import Task
from gaia_local.store import removal
from gaia_local.store.leases import LEASE_LOG
from gaia_local.store.staging import Folders, PrivateDirectory, StagingArea
from gaia_local.store.storage import Storage


class Workspace(ABC):
    """The workspace of one process's Tasks. Thread-safe."""

    hands_over: bool
    """Prepared outputs are flushed and leave the private directory: the engine is elsewhere."""

    def __init__(self, storage: Storage, area: StagingArea) -> None:
        self.storage, self._area = storage, area

    def directory(self, task: Task) -> PrivateDirectory:
        """The Task's private directory, whether it exists yet or not."""
        return PrivateDirectory(f"{self._area.top}/{task.id}")

    def make(self, directory: PrivateDirectory, folders: Folders) -> None:
        """Make a private directory, with these folders in its tree."""
        self._area.make(directory, folders)

    def discard(self, task: Task) -> None:
        """Remove the Task's private directory, if it exists."""
        with removal.warning_only(f"{self._area.top}/{task.id}"):
            self._area.remove(task.id)

    @abstractmethod
    def log(self, task: Task) -> str:
        """The file that receives the program's output."""

    @abstractmethod
    def make_logs(self, log: str) -> None:
        """Make the log's directory."""

    @abstractmethod
    def prepared(self, task: Task, index: int, target: str) -> tuple[str, int]:
        """A new path for an output, on the file system of its `target`, and the device of that."""


class LocalWorkspace(Workspace):
    """On the engine's machine: all is under the root, and outputs are published from there."""

    hands_over = False

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage, StagingArea(storage.staging, storage.spare))

    def log(self, task: Task) -> str:
        return self.storage.log(task.workflow, task.id)

    def make_logs(self, log: str) -> None:
        logs = parent(log)
        if not os.path.isdir(logs):
            os.makedirs(logs, mode=0o700, exist_ok=True)

    def prepared(self, task: Task, index: int, target: str) -> tuple[str, int]:
        own = f"{self._area.top}/{task.id}"
        device = os.stat(own).st_dev
        for bucket in self.storage.mapped():
            if is_inside(target, bucket):
                os.makedirs(bucket, exist_ok=True)
                bucket_device = os.stat(bucket).st_dev
                if bucket_device != device:
                    place = f"{self.storage.area(bucket)}/{task.id}"
                    os.makedirs(place, mode=0o700, exist_ok=True)
                    return f"{place}/{index}", bucket_device
        return f"{own}/output-{index}", device

    def discard(self, task: Task) -> None:
        super().discard(task)
        self.storage.discard_prepared(task.id)


class LeasedWorkspace(Workspace):
    """On a machine that shares the root: a Task's name is that of its lease.

    Nothing is published from here, and no lease is made or removed.
    """

    hands_over = True

    def __init__(self, storage: Storage, scratch: Path) -> None:
        super().__init__(storage, StagingArea(scratch / "staging", scratch / "spare"))

    def log(self, task: Task) -> str:
        return f"{self.storage.private_directory(task.id)}/{LEASE_LOG}"

    def make_logs(self, log: str) -> None:
        """Nothing to do: the log is in the lease."""

    def prepared(self, task: Task, index: int, target: str) -> tuple[str, int]:
        for bucket in self.storage.mapped():
            if is_inside(target, bucket):
                lease = f"{self.storage.area_path(bucket)}/{task.id}"
                return f"{lease}/{index}", os.stat(lease).st_dev
        lease = self.storage.private_directory(task.id)
        return f"{lease}/output-{index}", os.stat(lease).st_dev

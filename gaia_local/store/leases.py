"""Leases: directories in which workers on other machines leave a Task's results for the engine.

A lease is a directory ``staging/<task>.<n>`` under the root, made for the nth time that a Task is
given to a worker; for outputs that go to mapped buckets there is one more in each of these. Only
the engine makes and removes them. A worker takes a lease up by creating the log in it, which
succeeds only once. It puts the results there, flushed.

Invariant: a lease is revoked, by one rename, before its Task is given to another worker, and the
engine publishes only files in leases that it has not revoked. So a worker that was cut off for a
while finds no directory for its results, and its reports on the Task are ignored.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from gaia_local.errors import DiskError, GaiaError, StorageError
from gaia_local.model.keys import storage_key
from gaia_local.model.tasks import Task
from gaia_local.store import removal
from gaia_local.store.storage import Storage

LEASE_LOG = "log"
"""The file in a lease that receives the program's output."""
_REVOKED = ".revoked"
_MOST_SPARES = 64


class NotLeased(GaiaError):
    """A worker may not perform a Task: the engine took it back, or this isn't the engine's root."""


class TakenUp(NotLeased):
    """Another worker took the Task up."""


class Leases:
    """The engine's side. Not thread-safe. `Storage.close` removes the directories that are kept."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._staging = f"{storage.root}/staging"
        self._spare = storage.root / "spare"
        self._spares: list[str] = []
        """Emptied directories for later leases: a rename costs a tenth of removing and making."""
        self._numbers = itertools.count()
        self._buckets = storage.tops()[1:]

    def make(self, name: str, task: Task) -> None:
        """Make a new lease for the Task. Raises `StorageError`."""
        try:
            if not self._spares or not _renamed(self._spares.pop(), f"{self._staging}/{name}"):
                os.mkdir(f"{self._staging}/{name}", 0o700)
            for bucket in self._buckets_of(task):
                os.mkdir(f"{self._storage.area(str(bucket))}/{name}", 0o700)
        except OSError as error:
            raise DiskError(
                f"a directory for the Task's outputs can't be made: {error.strerror}"
            ) from error

    def revoke(self, name: str) -> None:
        """Take the lease back: from here on no worker finds its directories. Idempotent."""
        for place in self._places(name):
            with contextlib.suppress(FileNotFoundError):
                os.rename(place, f"{place}{_REVOKED}")

    def keep_log(self, name: str, task: Task) -> None:
        """Move the program's output, if any, to the log of the Task."""
        for top in (f"{self._staging}/{name}", f"{self._staging}/{name}{_REVOKED}"):
            log = f"{top}/{LEASE_LOG}"
            try:
                if not os.stat(log).st_size:
                    return
                target = self._storage.log(task.workflow, task.id)
                Path(target).parent.mkdir(mode=0o700, exist_ok=True)
                os.rename(log, target)
                return
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StorageError(f"the log {log} can't be kept: {error.strerror}") from error

    def end(self, name: str) -> None:
        """Remove the lease, revoked or not, with its contents."""
        with contextlib.suppress(OSError):
            self._keep(f"{self._staging}/{name}")
        for place in self._places(name):
            for path in (place, f"{place}{_REVOKED}"):
                if os.path.lexists(path):
                    removal.remove(path)

    def _keep(self, top: str) -> None:
        """Keep the directory of a lease for a later one, if it has no entries but the log."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{top}/{LEASE_LOG}")
        if len(self._spares) < _MOST_SPARES and not os.listdir(top):
            spare = f"{self._spare}/lease-{next(self._numbers)}"
            if not _renamed(top, spare):
                self._spare.mkdir(mode=0o700, exist_ok=True)
                os.rename(top, spare)
            self._spares.append(spare)

    def _places(self, name: str) -> Iterator[str]:
        yield f"{self._staging}/{name}"
        for area in self._storage.areas() if self._buckets else ():
            yield f"{area}/{name}"

    def _buckets_of(self, task: Task) -> set[Path]:
        if not self._buckets:
            return set()
        keys = [key for key, _ in task.outputs if storage_key(key).bucket is not None]
        paths = [Path(self._storage.path(task.workflow, key)) for key in keys]
        return {
            bucket for bucket in self._buckets if any(path.is_relative_to(bucket) for path in paths)
        }


def _renamed(source: str, target: str) -> bool:
    try:
        os.rename(source, target)
    except OSError:
        return False
    return True


def take_up(root: Path, name: str) -> None:
    """Take the lease up, in a worker. Raises `NotLeased` if another has, or if there is none."""
    try:
        os.close(
            os.open(
                f"{root}/staging/{name}/{LEASE_LOG}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
            )
        )
    except FileExistsError:
        raise TakenUp(f"Task {name} was started before") from None
    except FileNotFoundError:
        raise NotLeased(
            f"Task {name} was revoked, or {root} is not the engine's root: see dask.path_map"
        ) from None
    except OSError as error:
        raise StorageError(f"{root} can't be written: {error.strerror}") from error


def is_held(root: Path, name: str) -> bool:
    """Whether the lease was taken up, and not revoked since."""
    return os.path.lexists(f"{root}/staging/{name}/{LEASE_LOG}")


def find_log(storage: Storage, workflow: str, task_id: str) -> Path:
    """The path of an attempt's log: in its lease while a worker writes it, else in the logs."""
    log = Path(storage.log(workflow, task_id))
    if not log.exists():
        running = sorted((storage.root / "staging").glob(f"{task_id}.*/{LEASE_LOG}"))
        return running[-1] if running else log
    return log

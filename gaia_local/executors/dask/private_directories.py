"""The private directories of workers: made, locked, and removed after a worker's death."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from gaia_local.errors import GaiaError, RootInUse, StorageError, error_text
from gaia_local.executors.dask.settings import SessionSettings, TaskRunner
from gaia_local.runtimes.process.marked_processes import end_leftover
from gaia_local.runtimes.process.supervisor import RECORD
from gaia_local.store import removal
from gaia_local.store.ownership import Ownership, owner

logger = logging.getLogger("gaia_local")


def make_private_directory(base: Path) -> tuple[Path, Ownership]:
    """A new private directory that is locked for as long as this process lives."""
    name = uuid.uuid4().hex
    try:
        ownership = Ownership(base / f"new-{name}")
        directory = base / f"worker-{name}"  # only under this name others ask for its lock
        os.rename(base / f"new-{name}", directory)
        (directory / "staging").mkdir()
    except (OSError, StorageError, RootInUse) as error:
        raise StorageError(
            f"{base} can't be used ({error_text(error)}); "
            "give another with the config's dask.scratch"
        ) from error
    return directory, ownership


def paths_matching(base: Path, pattern: str) -> list[Path]:
    """The paths below `base`; unlike `Path.glob`, also while others make and remove some there."""
    return [base / name for name in glob.glob(pattern, root_dir=base)]


def clean_up_dead_workers(base: Path, settings: SessionSettings) -> None:
    """End the Tasks of dead processes and remove their directories under `base`."""
    dead = [path for path in paths_matching(base, "worker-*") if owner(path) is None]
    if not dead:
        return
    task_runner = settings.task_runner(base)
    with contextlib.closing(task_runner):
        for directory in dead:
            # Refused if another worker is doing this, or has done it.
            with contextlib.suppress(RootInUse, StorageError), _locked(directory):
                for private in paths_matching(directory, "staging/*"):
                    _end_task(task_runner, private)
                remove_directory(directory)


def _end_task(task_runner: TaskRunner, private: Path) -> None:
    end_leftover(private / RECORD)
    try:
        task_runner.end(private.name)
    except GaiaError as error:
        logger.warning("leftovers of Task %s could not be ended: %s", private.name, error)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    ownership = Ownership(directory)
    try:
        yield
    finally:
        ownership.release()


def remove_directory(directory: Path) -> None:
    """Remove a private directory, and its parent if that is then empty."""
    try:
        removal.remove(str(directory))
        with contextlib.suppress(OSError):  # others use it
            directory.parent.rmdir()
    except OSError as error:
        logger.warning("%s can't be removed: %s", directory, error)

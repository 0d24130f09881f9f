"""Stages what a Step would find into a directory of its own, without a Task that runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping

from gaia_local.errors import InvalidInput
from gaia_local.model.tasks import Task
from gaia_local.store import copying, removal
from gaia_local.store.directories import make_directories
from gaia_local.store.disk_errors import disk_error, disk_errors
from gaia_local.store.file_work import UNTOLD
from gaia_local.store.placement import Placement
from gaia_local.store.staging import PrivateDirectory


def stage(
    task: Task, sources: Mapping[str, str], followed: Collection[str], directory: PrivateDirectory
) -> None:
    """Make the tree and the working directory of a Task in `directory.top`, which is there.

    `sources` has the path of each input; links in those that are `followed` stand for their
    targets. Raises `StorageError`; what was made until then is left to the caller.
    """
    placement = Placement(task, directory, sources.keys())

    def copy(key: str, place: str) -> None:
        try:
            copying.copy(sources[key], place, follow=key in followed, work=UNTOLD)
        except OSError as error:
            raise disk_error(f"input {key!r} can't be copied to {place}", error) from error

    with disk_errors(f"{directory.top} can't be written"):
        for made in (directory.root, str(directory.work)):
            os.mkdir(made, 0o700)
        for folder in placement.folders:
            os.mkdir(f"{directory.root}/{folder}")
        placement.copy_inputs(copy)
        placement.make_outputs()


@contextlib.contextmanager
def users_directory(path: str) -> Iterator[PrivateDirectory]:
    """A directory of the user's, new or empty, to stage into; if that fails, it is as before.

    Raises `InvalidInput` for any other place, and `StorageError`.
    """
    where = f"directory {path}"
    was_there = os.path.lexists(path)
    if was_there and not os.path.isdir(path):
        raise InvalidInput(where, "it isn't a directory", "give a new or an empty one")
    with disk_errors(f"{path} can't be written"):
        if was_there and os.listdir(path):
            raise InvalidInput(where, "it isn't empty", "give a new or an empty one")
        make_directories(path, 0o700)
    directory = PrivateDirectory(path)
    try:
        yield directory
    except BaseException:
        for made in (directory.root, str(directory.work)):
            removal.remove_or_warn(made)
        if not was_there:
            removal.remove_or_warn(path)
        raise

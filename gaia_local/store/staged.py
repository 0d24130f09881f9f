"""Stages what a Step would find into a directory of its own, without a Task that runs."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping

from gaia_local.errors import InvalidInput, StorageError
from gaia_local.model.paths import is_inside
from gaia_local.model.tasks import Task
from gaia_local.store import copying, removal
from gaia_local.store.directories import make_directories
from gaia_local.store.disk_errors import disk_error, disk_errors
from gaia_local.store.file_work import UNTOLD
from gaia_local.store.placement import Placement
from gaia_local.store.staging import PrivateDirectory
from gaia_local.store.walking import SPECIAL_KINDS, walk
from gaia_local.terminal_text import escaped


def stage(
    task: Task,
    sources: Mapping[str, str],
    followed: Collection[str],
    directory: PrivateDirectory,
    left: PrivateDirectory | None = None,
) -> None:
    """Make the tree and the working directory of a Task in `directory.top`, which is there.

    `sources` has the paths of its inputs; links in those that are `followed` stand for their
    targets. With `left`, both begin as copies of what an earlier attempt left there, and `sources`
    are put over them. Raises `StorageError`; what was made until then is left to the caller.
    """
    placement = Placement(task, directory, sources.keys())

    def copy(key: str, place: str) -> None:
        try:
            copying.copy(sources[key], place, follow=key in followed, work=UNTOLD)
        except OSError as error:
            raise disk_error(f"input {key!r} can't be copied to {place}", error) from error

    with disk_errors(f"{directory.top} can't be written"):
        if left is None:
            for made in (directory.root, directory.work):
                os.mkdir(made, 0o700)
        else:
            _copy_left(left, directory)
        for folder in placement.folders:
            made = f"{directory.root}/{folder}"
            with contextlib.suppress(FileExistsError):
                os.mkdir(made)
            _refuse_way_out(made, directory)
        if left is not None:
            _make_room(task, sources, directory)
        placement.copy_inputs(copy)
        placement.make_outputs()


def is_left(left: PrivateDirectory, internal: str) -> bool:
    """Whether an attempt left the input that it had at this internal path.

    NOTE: one that was mounted is an empty file or directory there.
    """
    place = left.local(internal)
    if os.path.isdir(place):
        return bool(os.listdir(place))
    return os.path.islink(place) or (os.path.isfile(place) and os.stat(place).st_size > 0)


def _refuse_way_out(folder: str, directory: PrivateDirectory) -> None:
    """Raise `StorageError` if an attempt left a link here: files of others would be written."""
    real = os.path.realpath(folder)
    if not is_inside(real, os.path.realpath(directory.root)):
        internal = folder.removeprefix(directory.root)
        problem = f"the attempt left a link there, to {escaped(real)}"
        raise StorageError(f"nothing can be put into {escaped(internal)}: {problem}")


def _make_room(task: Task, sources: Collection[str], directory: PrivateDirectory) -> None:
    """Remove what was left at the places of inputs that are copied, and a link for stdout."""
    for key, internal in task.inputs:
        if key in sources:
            removal.remove(directory.local(internal))
    if task.stdout is not None and os.path.islink(printed := directory.local(task.stdout)):
        os.unlink(printed)


def _copy_left(left: PrivateDirectory, directory: PrivateDirectory) -> None:
    with disk_errors(f"what was left in {left.top} can't be copied"):
        for source, target in (
            (left.root, directory.root),
            (left.work, directory.work),
        ):
            os.mkdir(target, 0o700)
            for relative, inner, status in walk(source):
                place, kind = f"{target}/{relative}", stat.S_IFMT(status.st_mode)
                if kind == stat.S_IFDIR:
                    os.mkdir(place)
                elif kind not in SPECIAL_KINDS:  # a FIFO or a socket has no content
                    copying.copy(inner, place, follow=False, status=status, private=False)


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
        for made in (directory.root, directory.work):
            removal.remove_or_warn(made)
        if not was_there:
            removal.remove_or_warn(path)
        raise

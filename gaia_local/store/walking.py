"""The entries of a directory tree, in a fixed order, with links followed or not.

Reads no file and changes nothing. A path that is a symbolic link itself stands for its target;
links inside a tree are followed only if an argument says so. Names that begin with `OWN` are the
engine's own and are no part of any tree.
"""

from __future__ import annotations

import errno
import operator
import os
import stat
from collections.abc import Iterator

from gaia_local.errors import StorageError
from gaia_local.model.names import OWN
from gaia_local.model.paths import is_inside
from gaia_local.store.file_work import ENTRIES, UNTOLD, FileWork
from gaia_local.terminal_text import escaped

SPECIAL_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}
"""The kinds of files that can't be read as files."""


def path_status(path: str) -> os.stat_result | None:
    """The `stat` of `path`; None if nothing is or can be there. Raises `StorageError`."""
    try:
        return os.stat(path)
    except OSError as error:
        check_absent(path, error)
        return None


def check_absent(path: str, error: OSError) -> None:
    """Raise `StorageError` unless `error` means that nothing is or can be at `path`."""
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        raise StorageError(f"{escaped(path)}: can't be examined ({error.strerror})") from error


def walk(
    top: str, follow: bool = False, work: FileWork = UNTOLD
) -> Iterator[tuple[str, str, os.stat_result]]:
    """Everything below `top`, as (relative path, path, lstat), parents first, ordered by name.

    With `follow`, a link stands for its target, and path and status are the target's; a link that
    is dangling, or part of a circle, stays a link.
    """
    above: tuple[str, ...] = (os.path.realpath(top),) if follow else ()
    unchecked = 0
    waiting = [(iter(_sorted(top)), "", above)]
    while waiting:
        listed, prefix, above = waiting.pop()
        for entry in listed:
            unchecked += 1
            if unchecked == ENTRIES:
                unchecked = 0
                work.advance()
            name = entry.name
            if name.startswith(OWN):
                continue
            path, around = entry.path, above
            try:
                status = entry.stat(follow_symlinks=False)
                if follow and stat.S_ISLNK(status.st_mode):
                    path, status, around = _followed(path, status, above)
            except FileNotFoundError:
                continue
            yield prefix + name, path, status
            if stat.S_ISDIR(status.st_mode):
                inside = (iter(_sorted(path)), f"{prefix}{name}/", around)
                waiting += ((listed, prefix, above), inside)
                break


_name = operator.attrgetter("name")


def _sorted(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=_name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _followed(
    link: str, status: os.stat_result, above: tuple[str, ...]
) -> tuple[str, os.stat_result, tuple[str, ...]]:
    """A link's target, its status, and the directories it is in; or these of the link itself."""
    real = os.path.realpath(link)
    followed = path_status(real)
    if followed is None or any(is_inside(directory, real) for directory in above):
        return link, status, above
    return real, followed, (*above, real) if stat.S_ISDIR(followed.st_mode) else above

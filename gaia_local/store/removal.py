"""Removes files and directory trees, follows no link, and names the path of a failure."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Callable, Iterator

from gaia_local.terminal_text import escaped

logger = logging.getLogger("gaia_local")

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def refuse_stuck(top: str) -> None:
    """Raise the system's error for the first entry in it that can't be removed; removes nothing.

    It can't find all of them: a network disk may refuse only the removal itself, and so may an
    empty directory with a disk mounted on it.
    """
    waiting = [top]
    while waiting:
        path = waiting.pop()
        try:
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                _refuse_kept(path, os.rmdir)
                continue
        except (FileNotFoundError, NotADirectoryError):
            continue
        try:
            waiting += _directories_in(path)
        except PermissionError as error:
            closed = status.st_mode & stat.S_IRWXU != stat.S_IRWXU
            if error.errno != errno.EACCES or status.st_uid != os.geteuid() or not closed:
                raise
            # `remove` opens it.


def _directories_in(path: str) -> list[str]:
    """The directories in one, none of whose other entries is kept by the system."""
    try:
        os.stat(f"{path}/.")  # one that may be listed but not searched is closed, too
        with os.scandir(path) as found:
            inner = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in found]
    except (FileNotFoundError, NotADirectoryError):
        return []
    _refuse_kept(path, os.rmdir if inner else os.unlink)
    for entry_path, is_directory in inner:
        if not is_directory:
            _refuse_kept(entry_path, os.rmdir)
    return [entry_path for entry_path, is_directory in inner if is_directory]


def _refuse_kept(path: str, unfit: Callable[[str], None]) -> None:
    """Try a removal that is `unfit` for this kind of file: the system checks permission first."""
    try:
        unfit(path)
    except OSError as error:
        if error.errno not in (
            errno.ENOTDIR,
            errno.EISDIR,
            errno.ENOTEMPTY,
            errno.EEXIST,
            errno.ENOENT,
        ):
            raise


def remove_or_warn(path: str) -> None:
    """As `remove`, but a failure is only logged: a container may leave another user's files."""
    with warning_only(path):
        remove(path)


@contextlib.contextmanager
def warning_only(path: str) -> Iterator[None]:
    """Log an error that keeps `path` from being removed, instead of raising it."""
    try:
        yield
    except OSError as error:
        logger.warning("%s can't be removed: %s", escaped(path), error)


def remove(path: str) -> None:
    """Remove a file or tree, also one with read-only directories; an absent one is fine.

    No link in it is followed, and no disk that is mounted in it is entered, even if other processes
    change the tree meanwhile. `OSError` has the path that can't be removed.
    """
    try:
        os.unlink(path)  # suffices for a file, which most are
        return
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:  # a directory, or what follows says why not
        pass
    directory, name = os.path.split(path)
    try:
        parent = os.open(directory or ".", _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        _remove(parent, name, directory)
    finally:
        os.close(parent)


def _remove(parent: int, name: str, where: str) -> None:
    """Remove an entry of the open directory `parent`, whose path is `where`."""
    if _removed(parent, name, where):
        return
    way, opened = [(name, os.fstat(parent))], parent
    waiting: list[list[str]] = [[]]
    """For each directory on the way, the directories in it that are still to be removed."""
    try:
        opened = _enter(parent, name, f"{where}/{name}")
        while True:
            current = "/".join([where, *(folder for folder, _ in way)])
            full = [entry for entry in os.listdir(opened) if not _removed(opened, entry, current)]
            waiting.append(full)
            while not waiting[-1]:  # all that was in it is gone
                waiting.pop()
                gone, above = way.pop()
                upper = parent if not way else os.open("..", _DIRECTORY, dir_fd=opened)
                os.close(opened)
                opened, current = upper, os.path.dirname(current)
                if not os.path.samestat(os.fstat(opened), above):
                    raise OSError(
                        errno.EBUSY, "it is moved while it is removed", f"{current}/{gone}"
                    )
                if not _removed(opened, gone, current):
                    raise OSError(
                        errno.ENOTEMPTY,
                        "files are made in it while it is removed",
                        f"{current}/{gone}",
                    )
                if not way:
                    return
            name = waiting[-1].pop()
            way.append((name, os.fstat(opened)))
            inner = _enter(opened, name, f"{current}/{name}")
            os.close(opened)
            opened = inner
    finally:
        if opened != parent:
            os.close(opened)


def _removed(parent: int, name: str, where: str) -> bool:
    """Remove a file or an empty directory; False for a full one. A mount point is busy."""
    try:
        try:
            os.unlink(name, dir_fd=parent)
        except (
            IsADirectoryError,
            PermissionError,
        ) as refusal:  # the errors for a directory: Linux's, and that of other systems
            try:
                os.rmdir(name, dir_fd=parent)
            except NotADirectoryError:
                raise refusal from None
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        if (
            isinstance(error, PermissionError)
            and os.fstat(parent).st_mode & stat.S_IRWXU != stat.S_IRWXU
        ):
            with contextlib.suppress(OSError):
                os.fchmod(parent, 0o700)
                return _removed(parent, name, where)
        raise OSError(error.errno, error.strerror, f"{where}/{name}") from None
    return True


def _enter(parent: int, name: str, path: str) -> int:
    """Open a directory to empty it."""
    try:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except PermissionError as error:
        if not hasattr(os, "O_PATH"):
            raise OSError(error.errno, error.strerror, path) from None
        closed = os.open(name, os.O_PATH | _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{closed}", 0o700)
        finally:
            os.close(closed)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)

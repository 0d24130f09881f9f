"""The ownership of a root: one process at a time may write it, by locks that end with the process.

There are two locks: on the root's directory itself, which can't be deleted while files are in it,
and on the file `owner` in it, which holds the owner's pid, and is the only one if the file system
can't lock directories (as NFS). A process with both owns the root.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from pathlib import Path

from gaia_local.errors import RootInUse, StorageError
from gaia_local.forks import forget_in_child
from gaia_local.store import own_directories

BOOT = Path("/proc/sys/kernel/random/boot_id")
UNKNOWN_BOOT = "unknown"


def boot_id() -> str:
    """The id of the machine's present boot; `UNKNOWN_BOOT` if the system doesn't tell."""
    try:
        return BOOT.read_text().strip() or UNKNOWN_BOOT
    except OSError:
        return UNKNOWN_BOOT


def another_boot(boot: str) -> bool:
    """Whether `boot` (empty: none) may be an earlier one: its unflushed data may be lost."""
    return boot != "" and (boot == UNKNOWN_BOOT or boot != boot_id())


def owner(root: Path) -> int | None:
    """The pid of the root's owner (0: unknown), or None if there is none. Changes nothing."""
    for path in (_path(root), str(root)):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                f"root {root}: can't be read ({error.strerror}); "
                "give another with the config's root"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid(root) or 0
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        finally:
            os.close(descriptor)
    return None


_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of file systems that can't lock a directory."""
_TRIES, _RETRY_SECONDS = 10, 0.01
"""A call of `owner` holds the lock for an instant: that must not count as an owner."""


class Ownership:
    """The locks on a root, from its making to `release`."""

    def __init__(self, root: Path) -> None:
        """Take the locks, making the root if absent. Raises `RootInUse` with the owner's pid."""
        self._descriptors: list[int] = []
        self._root = root
        try:
            real = os.path.realpath(root)
            try:
                own_directories.own_directory(real)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(real), mode=0o700, exist_ok=True)
                own_directories.own_directory(real)
            self._descriptors.append(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptors.append(os.open(_path(root), flags, 0o600))
            if not stat.S_ISREG(os.fstat(self._descriptors[-1]).st_mode):
                raise OSError(errno.EINVAL, "it isn't a regular file", _path(root))
            self._lock(root)
        except OSError as error:
            self._close()
            why = (
                f"{_path(root)} is a link: remove it"
                if error.errno == errno.ELOOP
                else error.strerror
            )
            raise StorageError(
                f"root {root}: can't be written ({why}); give another with the config's root"
            ) from error
        except BaseException:
            self._close()
            raise
        forget_in_child(self)

    def _lock(self, root: Path) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                for descriptor in self._descriptors:
                    _lock(descriptor)
                break
            except BlockingIOError:
                if not tries_left:
                    who = f"process {pid}" if (pid := _pid(root)) else "another process"
                    raise RootInUse(
                        f"root {root} is in use by {who}; end that, or give another root"
                    ) from None
            time.sleep(_RETRY_SECONDS)
        # The line's end separates the pid from the rest of a longer one, until that is cut off.
        length, descriptor = 0, self._descriptors[-1]
        with contextlib.suppress(OSError):  # a full disk: the lock alone counts
            length = os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        os.ftruncate(descriptor, length)

    def is_lost(self) -> bool:
        """Whether the root was removed or moved away: another may lie at its path, not ours."""
        try:
            return not os.path.samestat(os.stat(self._root), os.fstat(self._descriptors[0]))
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # a disk that doesn't answer for now
            return False

    def release(self) -> None:
        """Let go of the root. Idempotent."""
        self._close()

    def forget(self) -> None:
        """As `Inherited.forget`: else a child would hold the locks after its parent's end."""
        self._close()

    def _close(self) -> None:
        descriptors, self._descriptors = self._descriptors, []
        for descriptor in descriptors:
            os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise


def is_stopped(pid: int) -> bool:
    """Whether a process was suspended (Ctrl-Z, SIGSTOP), as far as the system tells."""
    with contextlib.suppress(OSError):
        facts = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
        return facts.split()[0] in (b"T", b"t")
    return False


def _path(root: Path) -> str:
    return f"{root}/owner"


def _pid(root: Path) -> int | None:
    """The owner's pid, from its file or else from Linux's list of locks; None if unknown."""
    with contextlib.suppress(OSError):
        text = Path(_path(root)).read_text(errors="replace").partition("\n")[0]
        if text.isdigit():
            return int(text)
    with contextlib.suppress(OSError):
        place = f":{os.stat(root).st_ino} "
        for line in Path("/proc/locks").read_text().splitlines():
            if place in line and "FLOCK" in line and "WRITE" in line:
                return int(line.split()[4])
    return None

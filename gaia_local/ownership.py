"""Who may write a root: one engine process at a time, by a lock that the system takes back when the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from pathlib import Path

from gaia_local.errors import RootInUse, StorageError

BOOT = Path("/proc/sys/kernel/random/boot_id")
UNKNOWN_BOOT = "unknown"


def root_id(root: Path) -> str:
    """The label that containers of this root carry: its path, so that whoever finds one knows where it belongs."""
    return str(root)


def boot_id() -> str:
    """Which boot of the machine this is; `UNKNOWN_BOOT` where the system doesn't tell."""
    try:
        return BOOT.read_text().strip() or UNKNOWN_BOOT
    except OSError:
        return UNKNOWN_BOOT


def another_boot(boot: str) -> bool:
    """Whether that (empty: none) may be another boot than this one: what was not flushed then may be lost."""
    return boot != "" and (boot == UNKNOWN_BOOT or boot != boot_id())


def owner(root: Path) -> int | None:
    """The pid of the process that owns the root, or None where nobody does. Changes nothing."""
    try:
        descriptor = os.open(_path(root), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"root {root}: can't be read ({error.strerror}); give another with the config's root") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


_TRIES, _PAUSE = 10, 0.01
"""An `owner` that asks at the same moment holds the lock for an instant: that isn't a refusal."""


class Ownership:
    """The lock on a root, from its making to `release`."""

    def __init__(self, root: Path) -> None:
        """Take the lock, making the root where it isn't there. Raises `RootInUse` with the owner's pid."""
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(_path(root), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(
                f"root {root}: can't be written ({error.strerror}); give another with the config's root"
            ) from error
        try:
            self._lock(root)
        except BaseException:
            os.close(self._descriptor)
            raise
        _held.add(self)

    def _lock(self, root: Path) -> None:
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise RootInUse(
                        f"root {root} is in use by process {_pid(self._descriptor)}; end that, or give another root"
                    ) from None
            time.sleep(_PAUSE)
        # The end of the line says where the pid ends while a longer one of before is still behind it.
        length = 0
        with contextlib.suppress(OSError):  # a full disk: the lock is what counts
            length = os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        os.ftruncate(self._descriptor, length)

    def release(self) -> None:
        """Let go of the root. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        _held.discard(self)
        if descriptor >= 0:
            os.close(descriptor)


_held: weakref.WeakSet[Ownership] = weakref.WeakSet()


def _forget() -> None:
    """A forked child shares the locks: without this it would keep them when its parent is gone."""
    for each in list(_held):
        with contextlib.suppress(OSError):
            each.release()


os.register_at_fork(after_in_child=_forget)


def _path(root: Path) -> str:
    return f"{root}/owner"


def _pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode(errors="replace").partition("\n")[0]
    return int(text) if text.isdigit() else None

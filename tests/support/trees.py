"""Directories and odd files: on another disk, for other users, and their contents."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaia_local.store import removal, storage

_CAPABILITIES_VERSION, _DROP_FROM_BOUNDS = 0x20080522, 24
_IGNORING_MODES = (1, 2)
"""The numbers of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""

ODD_NAMES = ["with space", 'quote\'s "both"', "é – 漢字", "-rf", "$(x)", "x" * 255, "é" * 127]


def as_nobody(act: Callable[[], None]) -> None:
    """Act as a user who owns nothing, since nothing is forbidden to root."""

    def give_up() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    _act_without(give_up, act)


def as_ordinary_user(act: Callable[[], None]) -> None:
    """Act, with all programs that are started, as an owner to whom the modes of files apply.

    Unlike `as_nobody`, root still owns its files and can read Python's own.
    """

    def give_up() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
        sets = (ctypes.c_uint32 * 6)()
        assert libc.capget(header, sets) == 0, os.strerror(ctypes.get_errno())
        for capability in _IGNORING_MODES:
            assert libc.prctl(_DROP_FROM_BOUNDS, capability, 0, 0, 0) == 0
            for kind in range(3):
                sets[kind] &= ~(1 << capability)
        assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())

    _act_without(give_up, act)


def _act_without(give_up: Callable[[], None], act: Callable[[], None]) -> None:
    """Act in a child that gave up what root may do; any other user has nothing to give up."""
    if os.geteuid() != 0:
        act()
        return
    child = os.fork()
    if child == 0:
        status = 1
        try:
            give_up()
            act()
            status = 0
        except BaseException:  # noqa: BLE001 the child's status reports it
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, "see what was printed"


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may write, `as_nobody` too."""
    path = Path(tempfile.mkdtemp(prefix="gaia-local-test-"))
    path.chmod(0o777)
    yield path
    removal.remove(str(path))


def tree(top: Path) -> dict[str, str | None]:
    """A directory's entries: contents of files, `-> target` of links, None for directories."""
    found: dict[str, str | None] = {}
    for path in sorted(top.rglob("*")):
        relative = str(path.relative_to(top))
        found[relative] = (
            f"-> {path.readlink()}"
            if path.is_symlink()
            else None
            if path.is_dir()
            else path.read_text(errors="surrogateescape")
        )
    return found


def special(path: Path, kind: str) -> None:
    """Make a FIFO, or a socket."""
    if kind == "FIFO":
        os.mkfifo(path)
    else:
        folder = os.open(path.parent, os.O_RDONLY)  # a socket's path may have 107 bytes
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


@pytest.fixture
def other_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on another file system, or one that is taken for such."""
    shm = Path("/dev/shm")
    if shm.is_dir() and os.access(shm, os.W_OK) and shm.stat().st_dev != tmp_path.stat().st_dev:
        with tempfile.TemporaryDirectory(dir=shm) as path:
            yield Path(path).resolve()
        return
    directory = tmp_path.resolve() / "other disk"
    directory.mkdir()
    top = f"{directory}/"
    monkeypatch.setattr(
        storage,
        "_one_file_system",
        lambda one, two: f"{one}/".startswith(top) == f"{two}/".startswith(top),
    )
    yield directory

"""The ownership of a root: one process, until it releases the root or ends, in any way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gaia_local.errors import RootInUse, StorageError
from gaia_local.store.ownership import Ownership, owner

OWNER = """
import sys
from pathlib import Path
from gaia_local.store.ownership import Ownership
owned = Ownership(Path(sys.argv[1]))
print("owned", flush=True)
sys.stdin.read()
"""


@contextmanager
def another(root: Path, script: str = OWNER) -> Iterator[subprocess.Popen[str]]:
    """Another process, which owns the root inside the block, if it lives so long."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", script, str(root)], stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "owned\n"
        try:
            yield process
        finally:
            process.kill()


def test_taking_makes_the_root_and_says_who_has_it(gaia_root: Path) -> None:
    assert owner(gaia_root) is None
    assert not gaia_root.exists()
    owned = Ownership(gaia_root)
    assert owner(gaia_root) == os.getpid()
    assert gaia_root.stat().st_mode & 0o777 == 0o700
    owned.release()
    owned.release()
    assert owner(gaia_root) is None
    Ownership(gaia_root).release()


def test_a_second_process_is_refused_with_the_pid(gaia_root: Path) -> None:
    with another(gaia_root) as process:
        assert owner(gaia_root) == process.pid
        with pytest.raises(RootInUse) as caught:
            Ownership(gaia_root)
        assert str(gaia_root) in str(caught.value)
        assert f"in use by process {process.pid};" in str(caught.value)
        assert owner(gaia_root) == process.pid


def test_a_second_owner_in_one_process_is_refused(gaia_root: Path) -> None:
    owned = Ownership(gaia_root)
    with pytest.raises(RootInUse, match=f"process {os.getpid()}"):
        Ownership(gaia_root)
    assert owner(gaia_root) == os.getpid()
    owned.release()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_death_releases(gaia_root: Path, number: signal.Signals) -> None:
    with another(gaia_root) as process:
        process.send_signal(number)
        process.wait()
        assert owner(gaia_root) is None
        owned = Ownership(gaia_root)
        assert owner(gaia_root) == os.getpid()
        owned.release()


FORKER = """
import os, sys
from pathlib import Path
from gaia_local.store.ownership import Ownership
owned = Ownership(Path(sys.argv[1]))
if os.fork() == 0:
    owned.release()
    print("owned", flush=True)
os.read(0, 1)
"""


def test_a_forked_child_neither_keeps_nor_releases_the_root(gaia_root: Path) -> None:
    with another(gaia_root, FORKER) as process:
        assert owner(gaia_root) == process.pid
        process.kill()
        process.wait()
        # The child lives, until nobody can write to it any more.
        assert owner(gaia_root) is None
        Ownership(gaia_root).release()


def test_a_program_that_the_owner_started_does_not_keep_the_root(gaia_root: Path) -> None:
    owned = Ownership(gaia_root)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as program:
        owned.release()
        assert owner(gaia_root) is None
        assert program.poll() is None


def test_asking_who_owns_a_root_keeps_nobody_from_taking_it(gaia_root: Path) -> None:
    Ownership(gaia_root).release()
    over = threading.Event()
    answers: set[int | None] = set()

    def ask() -> None:
        while not over.is_set():
            answers.add(owner(gaia_root))

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(300):
            Ownership(gaia_root).release()
    finally:
        over.set()
        for asker in askers:
            asker.join()
    assert answers <= {None, os.getpid()}


def test_a_longer_pid_of_before_is_not_mixed_up_with_ours(gaia_root: Path) -> None:
    gaia_root.mkdir()
    (gaia_root / "owner").write_text("99999999999")
    owned = Ownership(gaia_root)
    assert owner(gaia_root) == os.getpid()
    owned.release()


def test_a_garbled_owner_file_is_not_reported_as_a_pid(gaia_root: Path) -> None:
    owned = Ownership(gaia_root)
    (gaia_root / "owner").write_bytes(b"\xff garbage")
    assert owner(gaia_root) == os.getpid()  # as the system tells
    with pytest.raises(RootInUse):
        Ownership(gaia_root)
    owned.release()


def test_a_root_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        StorageError, match=r"root .*file/root: can't be written \(Not a directory\)"
    ):
        Ownership(tmp_path / "file/root")


def test_a_refusal_leaves_no_descriptor_open(gaia_root: Path) -> None:
    owned = Ownership(gaia_root)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        with pytest.raises(RootInUse):
            Ownership(gaia_root)
        owner(gaia_root)
    assert len(os.listdir("/proc/self/fd")) == before
    owned.release()

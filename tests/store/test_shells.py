"""The private directories of shells: living ones are never swept, dead ones always are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from gaia_local.store import shells

HOLD = (
    "import sys, pathlib; from gaia_local.store.shells import shell_directory\n"
    "with shell_directory(pathlib.Path(sys.argv[1])) as own:\n"
    "    (own / 'file').touch(); print(own.name, flush=True); sys.stdin.read()\n"
)


def swept(root: Path) -> list[Path]:
    ended: list[Path] = []
    shells.sweep(root, ended.append)
    return ended


def test_a_living_one_stays_and_a_dead_one_is_swept(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        directory = tmp_path / "shells" / name
        assert shells.is_living(tmp_path, name)
        assert shells.dead(tmp_path) == swept(tmp_path) == []
        assert (directory / "file").exists()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not shells.is_living(tmp_path, name)
    assert shells.dead(tmp_path) == [directory]
    assert swept(tmp_path) == [directory]
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_at_the_end(tmp_path: Path) -> None:
    with shells.shell_directory(tmp_path) as first, shells.shell_directory(tmp_path) as second:
        assert first != second
        assert shells.is_living(tmp_path, first.name)
        assert swept(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert not shells.is_living(tmp_path, first.name)
    assert shells.dead(tmp_path) == []


def test_a_sweep_takes_none_that_is_just_made(tmp_path: Path) -> None:
    """Whoever sweeps, looks or ends beside it: a directory stays as long as it is used."""
    over, lost = threading.Event(), []

    def sweep() -> None:
        while not over.is_set():
            swept(tmp_path)

    def use() -> None:
        for _ in range(100):
            with shells.shell_directory(tmp_path) as own:
                (own / "file").touch()
                if not shells.is_living(tmp_path, own.name) or not (own / "file").exists():
                    lost.append(own)

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    users = [threading.Thread(target=use) for _ in range(3)]
    for thread in (*sweepers, *users):
        thread.start()
    for thread in users:
        thread.join()
    over.set()
    for thread in sweepers:
        thread.join()
    swept(tmp_path)
    assert lost == []
    assert list(tmp_path.iterdir()) == []

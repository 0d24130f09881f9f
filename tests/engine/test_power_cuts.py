"""The power goes at any moment; after `run`, nothing complete is wrong, and no answer a lie."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaia_local import Gaia
from gaia_local.engine import decision_loop
from gaia_local.store import ownership
from support.disks import Disk
from support.restless import CONFIG, User, problems

CUTS = int(os.environ.get("GAIA_LOCAL_POWER_CUTS", "50"))
REAL_CUTS = max(1, CUTS // 8)
Said = list[tuple[str, str]]
"""The user's requests and the answers; see `restless`."""


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, if there is one."""
    directory = Path(
        tempfile.mkdtemp(
            prefix="gaia-local-power-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
        )
    )
    yield directory
    shutil.rmtree(directory)


@pytest.mark.timeout(300)
def test_complete_outputs_are_right_after_a_power_cut(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setattr(decision_loop, "FLUSH_DELAY_SECONDS", 0.1)
    dice = random.Random(2026)
    disk = Disk(memory / "root", dice)
    cuts: list[tuple[Path, Said]] = []
    with disk.watched(), Gaia({"root": disk.root, **CONFIG}) as gaia:
        user = User(gaia, dice)

        def perhaps_cut() -> None:
            if user.turns and len(cuts) < CUTS and dice.random() < 0.02:
                cuts.append((memory / f"cut-{len(cuts)}", list(user.said)))
                disk.cut(cuts[-1][0])

        disk.happened = perhaps_cut
        while len(cuts) < CUTS:
            user.turn()
    found = {}
    for root, said in cuts:
        if wrongs := after(root, said, monkeypatch):
            found[root.name] = wrongs
    assert not found, f"{len(found)} of {len(cuts)} power cuts: {found}"


def after(root: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The problems found when the machine is up again."""
    monkeypatch.setattr(ownership, "boot_id", lambda: "the next boot")
    with Gaia({"root": root, **CONFIG}) as gaia:
        return problems(gaia, said)


# -- on a file system in earnest -------------------------------------------------------------------


@contextlib.contextmanager
def mounted(image: Path, place: Path, options: str = "defaults") -> Iterator[str]:
    """Mount the file system in a file; answers its device."""
    place.mkdir(exist_ok=True)
    device = do("losetup", "--find", "--show", str(image)).strip()
    with contextlib.ExitStack() as undo:
        undo.callback(do, "losetup", "--detach", device)
        do("mount", "-o", options, device, str(place))
        undo.callback(do, "umount", str(place))
        yield device


def do(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{command}: {ended.stderr}"
    return ended.stdout


def mountable(memory: Path) -> bool:
    """Whether this user may mount a file here."""
    if os.geteuid() or not all(map(shutil.which, ("losetup", "mkfs.ext4", "mount", "umount"))):
        return False
    probe = memory / "probe"
    with probe.open("wb") as file:
        file.truncate(1 << 20)
    ended = subprocess.run(
        ["losetup", "--find", "--show", probe], capture_output=True, text=True, check=False
    )
    if not ended.returncode:
        do("losetup", "--detach", ended.stdout.strip())
    return not ended.returncode


def flush_something(top: Path, dice: random.Random) -> None:
    """The system writes some file, or the names in some directory, whenever it likes."""
    store = [top / "gaia.db-wal"]
    for directory, _, names in os.walk(top / "storage"):
        store += [Path(directory), *(Path(directory, name) for name in names)]
    with contextlib.suppress(OSError):
        descriptor = os.open(dice.choice(store), os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def stopped_copy(process: subprocess.Popen[str], device: str, image: Path, target: Path) -> None:
    """Copy the device's content at one moment, without data that only the system's memory holds."""
    statistics = Path("/sys/block", Path(device).name, "stat")
    process.send_signal(signal.SIGSTOP)
    before: list[str] = []
    while before != statistics.read_text().split():  # until nothing was written while it was copied
        before = statistics.read_text().split()
        shutil.copyfile(image, target)
    process.send_signal(signal.SIGCONT)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "options", ["commit=1", "commit=1,noauto_da_alloc,data=writeback"], ids=["ordered", "writeback"]
)
def test_the_same_on_a_journal(
    options: str,
    memory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
) -> None:
    """Copies of the device, in the middle of it, mounted and gone on with."""
    if not mountable(memory):
        pytest.skip("only root can mount a file here")
    monkeypatch.setenv("LC_ALL", "C")
    dice = random.Random(7)
    image, cuts = memory / "image", list[tuple[Path, Said]]()
    with image.open("wb") as file:
        file.truncate(48 << 20)
    do("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
    said = tmp_path / "said"
    with mounted(image, tmp_path / "disk", options) as device, said.open("w") as out:
        root = tmp_path / "disk/root"
        program = [
            sys.executable,
            "-m",
            "support.restless",
            str(root),
            str(dice.randrange(1 << 30)),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(program, stdout=out, text=True, env=environment) as process:
            wait_until(lambda: "upload w" in said.read_text().splitlines(), 30)
            while len(cuts) < REAL_CUTS:
                end = time.monotonic() + dice.uniform(0, 0.8)
                while time.monotonic() < end:
                    flush_something(root, dice)
                assert process.poll() is None
                before = said.read_text().splitlines()
                cuts.append(
                    (
                        memory / f"cut-{len(cuts)}",
                        [(what, which) for what, which in map(str.split, before)],
                    )
                )
                stopped_copy(process, device, image, cuts[-1][0])
                cuts[-1][1].extend(
                    (f"{what.strip('?')}?", which) for what, which in _later(said, len(before))
                )
            process.kill()
        wait_until(lambda: not programs(root))
    found = {}
    for copy, told in cuts:
        with mounted(copy, tmp_path / "copy"):
            if wrongs := after(tmp_path / "copy/root", told, monkeypatch):
                found[copy.name] = wrongs
    assert not found, f"{len(found)} of {len(cuts)} power cuts: {found}"


def programs(root: Path) -> list[str]:
    """The programs that an engine left which was killed: the next one would end them."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if os.readlink(place).startswith(str(root)):
                found.append(str(place))
    return found


def _later(said: Path, known: int) -> Iterator[tuple[str, str]]:
    """The entries said while the copy was made: they may or may not be in it."""
    for line in said.read_text().splitlines()[known:]:
        what, _, which = line.partition(" ")
        yield what, which

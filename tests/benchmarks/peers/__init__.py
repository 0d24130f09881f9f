"""Other programs that run workflows on one machine: the same Steps, two at a time.

Each `workflow_*` file is that program's own description of them (`study_*` files are of
`benchmarks.reuse`). They read from the environment:
`COUNT` trivial Steps, `SHAPE` ``joined`` (independent, and one that reads all their files) or
``chain``; files go to the current directory.
"""

from __future__ import annotations

import shutil
import subprocess
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import (
    Contestant,
    Failed,
    Finding,
    Missing,
    Row,
    Setting,
    in_turns,
    ours,
    program,
)
from benchmarks.peers.files import makefile, ninja_file

HERE = Path(__file__).parent
JOINED, CHAIN = "joined", "chain"


@dataclass(frozen=True)
class Peer:
    """One other program."""

    name: str
    keeps: bool
    """Whether it records complete Steps, so that a second run has nothing to do."""
    beaten: bool
    """Whether the target is to be faster than it."""
    command: Callable[[Path], list[str | Path]]
    """The command that runs it, from the directory of its environment."""
    package: str = ""
    """The package to install, in an environment of its own; empty for a program of this machine."""
    write: Callable[[str, int], str] | None = None
    """The content for `file`, by a shape and a count."""
    file: str = ""


def _python(script: str) -> Callable[[Path], list[str | Path]]:
    return lambda environment: [environment / "bin" / "python", HERE / script]


PEERS = (
    Peer("make", True, False, lambda _: ["make", "-s", "-j2"], write=makefile, file="Makefile"),
    Peer(
        "ninja",
        True,
        False,
        lambda _: ["ninja", "--quiet", "-j2"],
        write=ninja_file,
        file="build.ninja",
    ),
    Peer(
        "doit",
        True,
        True,
        lambda environment: [
            environment / "bin" / "doit",
            "-f",
            HERE / "workflow_doit.py",
            "-d",
            ".",
            "-n",
            "2",
            "-P",
            "thread",
        ],
        "doit",
    ),
    Peer("luigi", True, True, _python("workflow_luigi.py"), "luigi"),
    Peer("dask (threads)", False, True, _python("workflow_dask.py"), "dask"),
    Peer(
        "dask (distributed)", False, True, _python("workflow_distributed.py"), "dask[distributed]"
    ),
)


def peers(setting: Setting) -> Iterator[Finding]:
    """1,000 trivial Steps and a join, a chain of 200, and nothing to do, beside the peers."""
    ready: dict[Peer, Path] = {}
    for peer in PEERS:
        try:
            ready[peer] = prepare(peer, setting.keep)
        except Failed as error:
            yield Missing(f"{peer.name}, beside it", str(error))
    for shape, full, what in (
        (JOINED, 1000, "trivial Steps and a join"),
        (CHAIN, 200, "trivial Steps in a chain"),
    ):
        count = setting.count(full)
        contestants = {"ours": _ours(setting, shape, count)}
        contestants |= {
            peer.name: _theirs(setting, peer, place, shape, count) for peer, place in ready.items()
        }
        turns = in_turns(setting.few(3), contestants)
        for peer in ready:
            most = 1.0 if peer.beaten else None
            yield Row(
                f"{count:,} {what}, whole process",
                "s",
                turns.of("ours", "first_s"),
                peer.name,
                turns.of(peer.name, "first_s"),
                None,
                most,
            )
        for peer in ready:
            if peer.keeps and shape == JOINED:
                title = f"{count:,} {what}, with nothing to do, whole process"
                yield Row(
                    title,
                    "s",
                    turns.of("ours", "again_s"),
                    peer.name,
                    turns.of(peer.name, "again_s"),
                )


def _ours(setting: Setting, shape: str, count: int) -> Contestant:
    def once() -> dict[str, float]:
        with setting.place() as root:
            first = ours("run", root=root, shape=shape, count=count)["process_s"]
            return {"first_s": first, "again_s": ours("again", root=root)["process_s"]}

    return once


def _theirs(setting: Setting, peer: Peer, environment: Path, shape: str, count: int) -> Contestant:
    def once() -> dict[str, float]:
        with setting.place() as folder:
            if peer.write is not None:
                Path(folder, peer.file).write_text(peer.write(shape, count))

            def run() -> float:
                return program(
                    *peer.command(environment), cwd=folder, COUNT=str(count), SHAPE=shape
                )["process_s"]

            first = run()
            made = Path(folder, "joined" if shape == JOINED else str(count - 1))
            if not made.exists():
                raise Failed(f"{peer.name} ended, but didn't make {made.name}")
            return {"first_s": first, "again_s": run()} if peer.keeps else {"first_s": first}

    return once


def prepare(peer: Peer, keep: Path) -> Path:
    """The peer's environment, made if absent. Raises `Failed` if the peer can't be had."""
    if not peer.package:
        if shutil.which(peer.name) is None:
            raise Failed(f"there is no {peer.name} on PATH")
        return keep
    place = keep / "venvs" / peer.package.replace("[", "-").rstrip("]")
    if not (place / ".complete").exists():
        venv.create(place, with_pip=True, clear=True)
        pip = [
            str(place / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            peer.package,
        ]
        ended = subprocess.run(pip, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise Failed(f"pip could not install {peer.package}: {ended.stderr.strip()[-300:]}")
        (place / ".complete").touch()
    return place

"""Measuring: whole processes, in turns, medians; and the rows of results."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
Contestant = Callable[[], Mapping[str, float]]
"""Measures once: names of figures and the figures, in seconds and bytes."""


@dataclass(frozen=True)
class Setting:
    """The settings of all benchmarks."""

    rounds: int
    """The number of times that each value is measured."""
    scale: float
    """Factor of all sizes; targets mean something at 1 only."""
    folder: Path
    """The directory for files; on a disk like the one that workflows are run on."""
    keep: Path
    """The directory that keeps the environments of other programs between runs."""
    image: str
    """For containers: one with a shell."""
    patience: float
    """Seconds: measurements that are sure to take longer are left out, with a note."""

    def count(self, full: int, least: int = 2) -> int:
        """A size at this scale."""
        return max(least, round(full * self.scale))

    def few(self, most: int) -> int:
        """Rounds of something that takes long."""
        return min(self.rounds, most)

    @contextmanager
    def place(self, large: bool = False) -> Iterator[str]:
        """A new directory; removed afterwards if it is `large`.

        NOTE: otherwise it is removed with `folder`. For minutes after many files were removed, ext4
        makes each new one up to ten times as slowly: it passes over all recently used inode
        numbers. The next measurement would pay for that.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # Short, since the path of a socket may be 100 bytes long.
        made = tempfile.mkdtemp(prefix="b", dir=self.folder)
        try:
            yield made
        finally:
            if large:
                shutil.rmtree(made)


@dataclass(frozen=True)
class Row:
    """One line of the table: a measurement, beside a reference, and the target."""

    what: str
    unit: str
    """``s``, ``ms``, ``µs`` or ``MB``, for `measured` and `reference` in seconds or bytes."""
    measured: Sequence[float]
    against: str = ""
    """The name of the reference."""
    reference: Sequence[float] = ()
    most: float | None = None
    """The target: at most so many seconds or bytes."""
    ratio_most: float | None = None
    """The target: at most so many times the reference."""

    @property
    def median(self) -> float:
        """The median of `measured`."""
        return statistics.median(self.measured)

    @property
    def ratio(self) -> float | None:
        """The quotient of the medians; None where the reference is too small to be seen."""
        reference = statistics.median(self.reference) if self.reference else 0.0
        return self.median / reference if reference else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.most is None and self.ratio_most is None:
            return None
        value = self.most is None or self.median <= self.most
        return value and (
            self.ratio_most is None or (self.ratio is not None and self.ratio <= self.ratio_most)
        )


@dataclass(frozen=True)
class Point:
    """The cost of one Step of a workflow of some size, for the plot."""

    line: str
    """Which line of the plot it belongs to."""
    steps: int
    seconds: float


@dataclass(frozen=True)
class Missing:
    """Something that was not measured, and why."""

    what: str
    why: str


Finding = Row | Point | Missing


class Failed(RuntimeError):
    """A measured program failed."""


@dataclass
class Turns:
    """The results of contestants measured in turns: contestant → figure → values."""

    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def of(self, contestant: str, figure: str = "seconds_s") -> list[float]:
        """The values of a figure, one a round."""
        return self.figures[contestant][figure]

    def beyond(self, contestant: str, other: str, figure: str = "seconds_s") -> list[float]:
        """The differences of its values of a figure from another's, round by round."""
        return [
            one - two
            for one, two in zip(self.of(contestant, figure), self.of(other, figure), strict=True)
        ]


def in_turns(rounds: int, contestants: Mapping[str, Contestant]) -> Turns:
    """Measure each contestant once a round, so that disturbances hit all alike.

    Every other round goes backwards.
    """
    turns = Turns()
    for number in range(rounds):
        for name, measure in list(contestants.items())[:: -1 if number % 2 else 1]:
            figures = turns.figures.setdefault(name, {})
            for figure, value in measure().items():
                figures.setdefault(figure, []).append(value)
    return turns


def program(
    *command: str | Path, cwd: str | Path | None = None, **environment: str
) -> dict[str, float]:
    """Run a program to its end: `seconds_s` of the whole process, and the JSON it prints."""
    began = time.perf_counter()
    ended = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**clean_environment(), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if ended.returncode != 0:
        raise Failed(
            f"{command[0]} ended with exit code {ended.returncode}: "
            f"{(ended.stderr or ended.stdout)[-2000:]}"
        )
    last = ended.stdout.strip().rpartition("\n")[2]
    return {
        "process_s": seconds,
        "seconds_s": seconds,
        **(json.loads(last) if last.startswith("{") else {}),
    }


def ours(name: str, **arguments: Any) -> dict[str, float]:
    """Run one of the programs in `benchmarks.ours`."""
    return program(sys.executable, "-m", "benchmarks.ours", name, json.dumps(arguments))


def bare(name: str, **arguments: Any) -> dict[str, float]:
    """Run one of the programs in `benchmarks.bare`."""
    return program(sys.executable, "-m", "benchmarks.bare", name, json.dumps(arguments))


def gaia_local(*arguments: str | Path) -> dict[str, float]:
    """Run the command line program."""
    return program(Path(sys.executable).with_name("gaia-local"), *arguments)


def clean_environment() -> dict[str, str]:
    """The environment of measured programs."""
    # Python keeps the compiled modules of this checkout, as pip does for installed packages, also
    # if the user forbade it.
    left_out = ("GAIA_LOCAL_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, "PYTHONPATH": str(TESTS)}


def machine(setting: Setting) -> dict[str, str]:
    """A description of this machine."""
    cpu = (
        next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ":")
        .partition(":")[2]
        .strip()
    )
    memory = next(
        (line for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "MemTotal: 0 kB"
    ).split()[1]
    return {
        "CPUs": f"{os.cpu_count()} × {cpu or platform.machine()}",
        "memory": f"{int(memory) / 1e6:.0f} GB",
        "load": load(),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Docker Engine": docker_engine() or "none that answers",
        "disk": (
            f"{1e3 * flush_seconds(setting):.2f} ms to write and flush a small file, "
            "which is what each output is"
        ),
    }


def load() -> str:
    """The load average over 1, 5 and 15 minutes."""
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def flush_seconds(setting: Setting) -> float:
    """The time to flush a small new file to the disk: the median of 50."""
    seconds = []
    with setting.place() as folder:
        for number in range(50):
            began = time.perf_counter()
            with open(f"{folder}/{number}", "wb") as file:
                file.write(b"hi")
                file.flush()
                os.fsync(file.fileno())
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def docker_engine() -> str | None:
    """The version of the Engine; None if none answers."""
    from gaia_local.errors import EngineUnavailable
    from gaia_local.runtimes.docker.engine import DockerEngine

    engine = DockerEngine()
    try:
        engine.ping()
        return str(engine.client.version()["Version"])
    except EngineUnavailable:
        return None
    finally:
        engine.close()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []

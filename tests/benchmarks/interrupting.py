"""Interrupts programs at random moments, and counts those that don't end.

``python -m benchmarks.interrupting (cli|script) COUNT [--python PATH]`` from the directory of the
tests. Each trial runs 400 short Steps as processes, and sends one signal or two, at random.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaia_local import Gaia

STEPS = 400
BEGIN_SECONDS = 1.0
"""The first signal comes within so much time after the root was made."""
PATIENCE_SECONDS = 20.0
"""A program that lives so long after its first signal hangs."""
SECOND_SECONDS = 1.0
"""How long it may live after its second one, by its promise."""
STATES = ("halted", "complete", "initialized")
"""The states that a workflow may be in afterwards."""
COMMANDS = [{"name": "say", "image": "i", "command": ["echo", "hi"], "outputs": {"said": ">"}}]
SCRIPT = """
import json, sys
from gaia_local import Gaia
definitions = json.load(open("commands.json")), json.load(open("steps.json"))
with Gaia({"root": "root", "runtime": "process", "workers": 4}) as gaia:
    gaia.upload("w", {}, *definitions)
    for _ in range(10_000):
        gaia.status("w")
    gaia.wait("w")
"""
PROGRAMS = {
    "script": ["-c", SCRIPT],
    "cli": [
        *("-m", "gaia_local", "--root", "root", "--runtime", "process", "--workers", "4"),
        *("upload", "w", "--commands", "commands.json", "--steps", "steps.json"),
    ],
}


@dataclass
class Trial:
    """How one program took its signals."""

    numbers: list[signal.Signals]
    """Which signals it was sent."""
    delay: float
    status: int | None
    """Its return code; None: it hung."""
    seconds: float
    """From the last signal to its end."""
    errors: str
    """Its stderr."""
    state: str
    """The workflow's, as the next process finds it."""

    @property
    def hung(self) -> bool:
        """Whether it had to be killed."""
        return self.status is None

    @property
    def too_late(self) -> bool:
        """Whether the program was through before its first signal."""
        return self.status == 0 and self.state == "complete"

    @property
    def odd(self) -> bool:
        """Whether it ended otherwise than by its signals, or in another state."""
        ends = {end for number in self.numbers for end in (-number, 128 + number)}
        return not self.too_late and (self.status not in ends or self.state not in STATES)


def steps() -> list[dict[str, Any]]:
    """Short Steps that need nothing of each other."""
    return [
        {"name": f"s{number}", "command": "say", "outputs": {"said": f"a:{number}"}}
        for number in range(STEPS)
    ]


def interrupt(kind: str, chance: random.Random, python: str = sys.executable) -> Trial:
    """Run a program in a directory of its own, and interrupt it."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "commands.json").write_text(json.dumps(COMMANDS))
        (Path(directory) / "steps.json").write_text(json.dumps(steps()))
        errors = Path(directory) / "errors"
        with (
            errors.open("wb") as stderr,
            subprocess.Popen(
                [python, *PROGRAMS[kind]],
                cwd=directory,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            ) as process,
        ):
            _await(Path(directory) / "root", process)
            delay = chance.uniform(0, BEGIN_SECONDS)
            time.sleep(delay)
            numbers = [chance.choice((signal.SIGINT, signal.SIGINT, signal.SIGTERM))]
            process.send_signal(numbers[0])
            if chance.random() < 0.5:
                time.sleep(chance.choice((0, 0.01, 0.1)) * chance.random())
                numbers.append(chance.choice((signal.SIGINT, signal.SIGTERM)))
                process.send_signal(numbers[1])
            began = time.monotonic()
            try:
                status: int | None = process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                status = None
                process.kill()
            seconds = time.monotonic() - began
        with Gaia({"root": f"{directory}/root", "runtime": "process"}) as gaia:
            known = "w" in gaia.workflows()["workflows"]
            state = gaia.status("w")["state"] if known else "initialized"
        return Trial(numbers, delay, status, seconds, errors.read_text(), state)


def _await(path: Path, process: subprocess.Popen[bytes]) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.002)


def main() -> None:
    """Print what became of so many."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=sorted(PROGRAMS))
    parser.add_argument("count", type=int)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--at-a-time", type=int, default=1)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    with concurrent.futures.ThreadPoolExecutor(given.at_a_time) as pool:
        trials = list(
            pool.map(
                lambda number: interrupt(given.kind, random.Random(seed + number), given.python),
                range(given.count),
            )
        )
    for number, trial in enumerate(trials):
        if trial.odd:
            names = " ".join(one.name for one in trial.numbers)
            print(f"{number}: {names} after {trial.delay:.3f} s: {trial.status}, {trial.state}")
            print(trial.errors[-2000:])
    for count in (1, 2):
        some = [trial for trial in trials if len(trial.numbers) == count]
        statuses = collections.Counter(str(trial.status) for trial in some)
        seconds = sorted(trial.seconds for trial in some) or [0.0]
        late = sum(trial.seconds > SECOND_SECONDS for trial in some)
        print(
            f"{given.kind}, {count} signals: {len(some)} trials,"
            f" {sum(trial.hung for trial in some)} hung; the end after a median of"
            f" {seconds[len(seconds) // 2]:.2f} s, at most {seconds[-1]:.2f} s, {late} later than"
            f" {SECOND_SECONDS:g} s; {dict(statuses)}"
        )
    print(f"seed {seed}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

"""Random histories of Steps with several outputs, on real files: in the end all is current.

The Tasks read their inputs when they are submitted, and end at random times. A program computes its
outputs from its inputs; so each file in the store can be compared with a computation from scratch.
"""

from __future__ import annotations

import os
import random
import tempfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from gaia_local.executors.contract import Observer
from gaia_local.model.assignment import Assignment, Outcome, Output
from gaia_local.model.tasks import Fingerprint, TaskState
from gaia_local.store import fingerprints
from gaia_local.store.storage import Storage
from support.hands import Hands

STEPS = 5
SOURCES = ("src:0", "src:1")
SEEDS = int(os.environ.get("GAIA_LOCAL_HISTORIES", "100"))


class ManyOutputs:
    """Step ``s<n>`` makes ``b:<n>`` and ``b:<n>x`` from sources and outputs of earlier Steps."""

    def __init__(self, root: Path, dice: random.Random) -> None:
        self.hands, self.dice = Hands(root), dice
        self.versions = [0] * STEPS
        self.reads: list[list[str]] = []
        self.mine: set[str] = set()
        """Outputs that are replaced by the user's own file."""
        self.read: dict[str, dict[str, tuple[str, Fingerprint]]] = {}
        """Task id → input → content and fingerprint, when it was given away."""
        self.clock = 0
        submit = self.hands.executor.submit

        def read_and_submit(assignment: Assignment, observer: Observer) -> None:
            task = assignment.task
            self.read[task.id] = {key: self.look(key) for key, _ in task.inputs}
            submit(assignment, observer)

        self.hands.executor.submit = read_and_submit  # type: ignore[method-assign]
        for source in SOURCES:
            self.write(source, "red")
        for number in range(STEPS):
            known = [*SOURCES, *(f"b:{earlier}{x}" for earlier in range(number) for x in ("", "x"))]
            self.reads.append(dice.sample(known, dice.randint(0, min(2, len(known)))))
        self.hands.command(*(self.command(count) for count in range(3)))
        self.hands.merge(*map(self.step, range(STEPS)))

    def command(self, count: int) -> dict[str, Any]:
        inputs = {f"i{index}": f"/in/{index}" for index in range(count)}
        outputs = {"x": "/out/x", "y": "/out/y"}
        return {
            "name": f"c{count}",
            "image": "i",
            "command": ["{{v}}"],
            "inputs": inputs,
            "outputs": outputs,
        }

    def step(self, number: int) -> dict[str, Any]:
        reads = self.reads[number]
        return {
            "name": f"s{number}",
            "command": f"c{len(reads)}",
            "inputs": {f"i{index}": key for index, key in enumerate(reads)},
            "outputs": {"x": f"b:{number}", "y": f"b:{number}x"},
            "vars": {"v": self.versions[number]},
        }

    def path(self, key: str) -> Path:
        return Path(self.hands.storage.path("w", key))

    def look(self, key: str) -> tuple[str, Fingerprint]:
        seen = fingerprints.fingerprint(str(self.path(key)))
        assert seen is not None, f"a Step starts, and its input {key} isn't there"
        return self.path(key).read_text(), seen

    def write(self, key: str, content: str) -> None:
        self.path(key).parent.mkdir(parents=True, exist_ok=True)
        self.path(key).write_text(content)
        self.clock += 1
        os.utime(self.path(key), ns=(self.clock * 10**9, self.clock * 10**9))

    def tell(self, key: str) -> None:
        self.hands.scheduler.loop.files_changed({str(self.path(key))})

    def computed(self, number: int, version: Any, read: list[str], key: str) -> str:
        return ("red", "green", "blue")[zlib.crc32(f"{number} {version} {read} {key}".encode()) % 3]

    def end(self, step: str, ending: str) -> None:
        task = self.hands.task(step)
        _, observer = self.hands.executor.tasks.pop(task.id)
        read = self.read[task.id]
        outputs: list[Output] = []
        for key, _ in task.outputs if ending != "fails" else ():
            text = self.computed(
                int(step[1:]), task.command[0], [content for content, _ in read.values()], key
            )
            made = self.hands.storage.root / "staging" / f"{task.id}-{len(outputs)}"
            made.write_text(text)
            seen = fingerprints.fingerprint(str(made))
            assert seen is not None
            outputs.append(Output(key, str(made), str(self.path(key)), seen))
        state = TaskState.ERROR if ending == "fails" else TaskState.COMPLETE
        outcome = Outcome(
            state, tuple(outputs), 0, inputs={key: seen for key, (_, seen) in read.items()}
        )
        with pytest.MonkeyPatch.context() as patch:
            if ending == "stored in part":
                patch.setattr(Storage, "publish", _half(Storage.publish))
            observer.ended(task, outcome)
        if ending == "well":
            self.mine -= {key for key, _ in task.outputs}

    def go(self) -> None:
        dice, scheduler = self.dice, self.hands.scheduler
        for _ in range(dice.randint(3, 14)):
            doing = dice.randrange(12)
            number = dice.randrange(STEPS)
            key = dice.choice((f"b:{number}", f"b:{number}x"))
            if doing < 5 and self.hands.runs:
                self.end(
                    dice.choice(self.hands.runs),
                    dice.choice(("well", "well", "well", "fails", "stored in part")),
                )
            elif doing < 7:
                source = dice.choice(SOURCES)
                self.write(source, dice.choice(("red", "green", "blue")))
                self.tell(source)
            elif doing == 7 and self.path(key).exists() and not self.hands.runs:
                self.path(key).unlink()
                self.mine.discard(key)
                self.tell(key)
            elif doing == 8:
                self.versions[number] += 1
                self.hands.merge(self.step(number))
            elif doing == 9:
                scheduler.expire("w", [dice.choice((key, f"s{number}"))])
            elif doing == 10:
                scheduler.run("w")
            elif doing == 11 and self.hands.state == "complete":
                self.write(key, dice.choice(("red", "green", "blue")))
                self.mine.add(key)
                self.tell(key)
        self.settle()

    def settle(self) -> None:
        for _ in range(4):
            for _ in range(100):
                if self.hands.runs:
                    self.end(self.hands.runs[0], "well")
            self.hands.scheduler.run("w")
        assert self.hands.state == "complete", self.hands.status()["waiting-inputs"]
        for number, reads in enumerate(self.reads):
            read = [self.path(key).read_text() for key in reads]
            for key in (f"b:{number}", f"b:{number}x"):
                wanted = self.computed(number, self.versions[number], read, key)
                assert key in self.mine or self.path(key).read_text() == wanted, (
                    f"{key} is complete, and out of date"
                )


def _half(publish: Any) -> Any:
    def half(storage: Storage, outputs: Any) -> None:
        publish(storage, outputs[:1])
        raise OSError("no room")

    return half


def test_all_outputs_are_up_to_date_in_the_end() -> None:
    for seed in range(SEEDS):
        with tempfile.TemporaryDirectory() as root:
            history = ManyOutputs(Path(root), random.Random(seed))
            try:
                history.go()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
            finally:
                history.hands.close()

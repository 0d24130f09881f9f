"""What changed runs again, and nothing else: random histories against a model, and the triggers one by one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hands import Hands
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaia_local.model import Task

SOURCES = ["src:0", "src:1", "src:2"]
CONTENTS = ["red", "green", "blue"]


class History:
    """A workflow whose Steps compute a function of their inputs, and a model of what must be so at each quiet point.

    The function has few values, so that changed inputs often give the same output. The graph is a chain of layers over
    three source files; one Step makes a directory that another reads a file of, and one reads a directory that others
    make files in.
    """

    def __init__(self, root: Path, edges: list[tuple[int, int]]) -> None:
        self.root = root
        self.clock = 0
        self.untold = False
        """Some file changed that nobody told the engine of."""
        self.versions = [0] * len(edges)
        self.command_version = 0
        self.edges = edges
        self.overrides: dict[str, str] = {}
        """Made key → the user's own content."""
        self.last_run: dict[str, tuple[Any, ...]] = {}
        """Step → the definition and inputs of its last run."""
        self.must: set[int] = set()
        """Steps that must run although their inputs are the same."""
        self.may: set[int] = set()
        """Steps whose run was cut short or whose output was deleted: they may run although nothing changed."""
        self.hands = Hands(root)
        for source in SOURCES:
            self.write(source, "red")
        self.hands.command(self.command())
        self.hands.merge(*(self.step(number) for number in range(len(edges))))
        self.settle()

    # -- the graph ------------------------------------------------------------------------------------------------

    def command(self) -> dict[str, Any]:
        return {
            "name": "c",
            "image": "i",
            "command": ["x", str(self.command_version), "{{version}}"],
            "inputs": {"a": "/in/a", "b": "/in/b"},
            "outputs": {"x": "/out/x"},
        }

    def output(self, number: int) -> str:
        return {1: "tree/", 3: "many/3", 4: "many/4"}.get(number, f"made:{number}")

    def inputs(self, number: int) -> list[str]:
        keys = [*SOURCES, *("many/3" if (number, each) == (4, 3) else self.read_key(each) for each in range(number))]
        return [keys[each % len(keys)] for each in self.edges[number]]

    def read_key(self, number: int) -> str:
        return {1: "tree/part", 3: "many/"}.get(number, self.output(number))

    def step(self, number: int) -> dict[str, Any]:
        one, two = self.inputs(number)
        return {
            "name": f"s{number}",
            "command": "c",
            "inputs": {"a": one, "b": two},
            "outputs": {"x": self.output(number)},
            "vars": {"version": self.versions[number]},
        }

    def makers(self, key: str) -> set[int]:
        if key == "many/":
            return {number for number in (3, 4) if number < len(self.edges)}
        return {number for number in range(len(self.edges)) if self.read_key(number) == key or self.output(number) == key}

    def below(self, numbers: set[int]) -> set[int]:
        found: set[int] = set()
        for number in range(len(self.edges)):
            above = {maker for key in self.inputs(number) for maker in self.makers(key)}
            if above & (numbers | found):
                found.add(number)
        return found

    # -- files ----------------------------------------------------------------------------------------------------

    def path(self, key: str) -> Path:
        path = Path(self.hands.storage.path("w", key))
        return path / "part" if key == "tree/" else path

    def write(self, key: str, content: str) -> None:
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        self.clock += 1
        os.utime(path, ns=(self.clock * 10**9, self.clock * 10**9))

    def content(self, key: str) -> str:
        path = Path(self.hands.storage.path("w", key))
        if path.is_dir():
            return " ".join(f"{each.name}={each.read_text()}" for each in sorted(path.iterdir()))
        return path.read_text()

    def computed(self, number: int) -> str:
        read = [self.content(key) for key in self.inputs(number)]
        text = f"{number} {self.command_version} {self.versions[number]} {read}"
        return CONTENTS[hashlib.sha256(text.encode()).digest()[0] % 3]

    def state_of(self, number: int) -> tuple[Any, ...]:
        return (self.command_version, self.versions[number], [self.content(key) for key in self.inputs(number)])

    def tell(self, key: str) -> None:
        self.hands.scheduler.files_changed({str(self.path(key))})

    # -- what happens ---------------------------------------------------------------------------------------------

    def finish_one(self, pick: int) -> None:
        runs = self.hands.runs
        if runs:
            self.finish(runs[pick % len(runs)])

    def finish(self, step: str) -> None:
        number = int(step[1:])
        if not all(Path(self.hands.storage.path("w", key)).exists() for key in self.inputs(number)):
            self.hands.fail(step)
            self.may.add(number)
            return
        now = self.state_of(number)
        same = self.last_run.get(step) == now
        assert not same or number in self.must | self.may or self.gone(number), (
            f"{step} ran again though nothing it depends on changed: {self.task(step).reason}"
        )
        self.hands.complete(step, self.computed(number))
        self.last_run[step] = now
        self.overrides.pop(self.output(number), None)
        self.must.discard(number)
        self.may.discard(number)

    def finish_all(self) -> None:
        for _ in range(200):
            if self.hands.runs:
                self.finish(self.hands.runs[0])
        assert self.hands.runs == []

    def task(self, step: str) -> Task:
        return self.hands.task(step)

    def gone(self, number: int) -> bool:
        return not self.path(self.output(number)).exists()

    def settle(self) -> None:
        """Run to the end, then compare everything with the model."""
        self.finish_all()  # run changes nothing while something runs, and so finds no changes
        self.hands.scheduler.run("w")
        self.untold = False
        self.finish_all()
        status: Any = self.hands.status()
        missing = [source for source in SOURCES if not self.path(source).exists()]
        if missing:
            assert status["state"] in ("incomplete", "complete")
            return
        assert status["state"] == "complete", status["waiting-inputs"]
        for number in range(len(self.edges)):
            key = self.output(number)
            wanted = self.overrides.get(key, self.computed(number))
            assert self.path(key).read_text() == wanted, f"{key} is out of date"
            assert number not in self.must, f"s{number} had to run and didn't"

    def running_numbers(self) -> set[int]:
        return {int(step[1:]) for step in self.hands.runs}

    def merge(self, number: int) -> None:
        number %= len(self.edges)
        self.versions[number] += 1
        self.hands.merge(self.step(number))
        self.must |= {number} | self.below({number})

    def recommand(self) -> None:
        self.command_version += 1
        self.hands.command(self.command())
        self.must |= set(range(len(self.edges)))

    def remerge(self) -> None:
        started = len(self.hands.executor.did)
        idle = self.hands.state == "complete" and not self.untold
        self.hands.command(self.command())
        self.hands.merge(*(self.step(number) for number in range(len(self.edges))))
        assert not idle or self.hands.executor.did[started:] == []

    def expire(self, number: int) -> None:
        number %= len(self.edges)
        name = f"s{number}" if self.clock % 2 else self.output(number)
        self.hands.scheduler.expire("w", [name])
        self.must |= {number} | self.below({number})

    def edit_source(self, number: int, content: int, told: bool) -> None:
        source = SOURCES[number % 3]
        self.cut_short()
        self.write(source, CONTENTS[content % 3])
        self.untold |= not told
        if told:
            self.tell(source)

    def edit_output(self, number: int, content: int, told: bool) -> None:
        number %= len(self.edges)
        key = self.output(number)
        if self.hands.runs or number in self.must | self.may or not self.path(key).exists():
            return  # whether the edit or the run wins is not the model's business
        if not all(Path(self.hands.storage.path("w", each)).exists() for each in self.inputs(number)):
            return
        if self.hands.state != "complete" or self.last_run.get(f"s{number}") != self.state_of(number):
            return
        self.write(key, CONTENTS[content % 3])
        self.overrides[key] = CONTENTS[content % 3]
        self.untold |= not told
        if told:
            self.tell(key)

    def delete(self, number: int, told: bool) -> None:
        key = [*SOURCES, *map(self.output, range(len(self.edges)))][number % (len(SOURCES) + len(self.edges))]
        if not self.path(key).exists():
            return
        self.cut_short()
        if number % (len(SOURCES) + len(self.edges)) >= len(SOURCES):
            self.may.add(number % (len(SOURCES) + len(self.edges)) - len(SOURCES))
        self.overrides.pop(key, None)
        self.path(key).unlink()
        if key == "tree/":
            self.path(key).parent.rmdir()
        self.untold |= not told
        if told:
            self.tell(key)

    def touch(self, number: int) -> None:
        key = [*SOURCES, *map(self.output, range(len(self.edges)))][number % (len(SOURCES) + len(self.edges))]
        if self.path(key).exists():
            self.write(key, self.path(key).read_text())
            self.tell(key)

    def cut_short(self) -> None:
        """A Task that runs now may be cancelled by what comes, and run again with inputs that are the same in the end."""
        self.may |= self.running_numbers()

    def halt(self) -> None:
        self.cut_short()
        self.hands.scheduler.halt("w")

    def reopen(self) -> None:
        self.cut_short()
        self.hands.close()
        self.hands = Hands(self.root)
        self.untold = True  # an engine that was only opened listens to nothing yet


OPERATIONS = st.one_of(
    st.tuples(st.just("finish_one"), st.integers(0, 5)),
    st.tuples(st.just("settle")),
    st.tuples(st.just("merge"), st.integers(0, 7)),
    st.tuples(st.just("recommand")),
    st.tuples(st.just("remerge")),
    st.tuples(st.just("expire"), st.integers(0, 7)),
    st.tuples(st.just("edit_source"), st.integers(0, 2), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("edit_output"), st.integers(0, 7), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("delete"), st.integers(0, 10), st.booleans()),
    st.tuples(st.just("touch"), st.integers(0, 10)),
    st.tuples(st.just("halt")),
    st.tuples(st.just("reopen")),
)


@settings(
    max_examples=int(os.environ.get("GAIA_LOCAL_HISTORIES", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    edges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=8),
    operations=st.lists(OPERATIONS, max_size=12),
)
def test_random_histories(edges: list[tuple[int, int]], operations: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        history = History(Path(root), edges)
        for name, *arguments in operations:
            getattr(history, name)(*arguments)
        for source in SOURCES:
            if not history.path(source).exists():
                history.write(source, "red")
        history.settle()
        history.settle()
        assert history.hands.executor.tasks == {}
        history.hands.close()


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[Hands]:
    made = Hands(tmp_path)
    yield made
    made.close()

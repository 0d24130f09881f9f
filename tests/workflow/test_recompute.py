"""Changed Steps run again, and no others: random histories, and the triggers one by one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaia_local import Gaia, GaiaError
from gaia_local.model.resources import Resources
from gaia_local.model.tasks import Task
from support.explaining import explain_key, explain_step, last_run
from support.fixtures import WaitUntil
from support.hands import Hands

IMAGE = os.environ.get("GAIA_LOCAL_TEST_IMAGE", "gaia-local-test:latest")
SOURCES = ["src:0", "src:1", "src:2"]
CONTENTS = ["red", "green", "blue"]


class History:
    """A workflow of functions of their inputs, and a model of its invariants at quiet points.

    The function has few values, so that changed inputs often give the same output. The graph is a
    chain of layers over three source files; one Step makes a directory that another reads a file
    of, and one reads a directory that others make files in.
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
        self.misfitted = False
        """The Command asks for an input that no Step gives."""
        self.may: set[int] = set()
        """Steps cut short, or with deleted output: they may run although nothing changed."""
        self.hands = Hands(root)
        for source in SOURCES:
            self.write(source, "red")
        self.hands.command(self.command())
        self.hands.merge(*(self.step(number) for number in range(len(edges))))
        self.settle()

    # -- the graph ---------------------------------------------------------------------------------

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
        keys = [
            *SOURCES,
            *(
                "many/3" if (number, earlier) == (4, 3) else self.read_key(earlier)
                for earlier in range(number)
            ),
        ]
        return [keys[edge % len(keys)] for edge in self.edges[number]]

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
        return {
            number
            for number in range(len(self.edges))
            if self.read_key(number) == key or self.output(number) == key
        }

    def below(self, numbers: set[int]) -> set[int]:
        found: set[int] = set()
        for number in range(len(self.edges)):
            above = {maker for key in self.inputs(number) for maker in self.makers(key)}
            if above & (numbers | found):
                found.add(number)
        return found

    # -- files -------------------------------------------------------------------------------------

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
            return " ".join(f"{file.name}={file.read_text()}" for file in sorted(path.iterdir()))
        return path.read_text()

    def computed(self, number: int) -> str:
        read = [self.content(key) for key in self.inputs(number)]
        text = f"{number} {self.command_version} {self.versions[number]} {read}"
        return CONTENTS[hashlib.sha256(text.encode()).digest()[0] % 3]

    def state_of(self, number: int) -> tuple[Any, ...]:
        return (
            self.command_version,
            self.versions[number],
            [self.content(key) for key in self.inputs(number)],
        )

    def tell(self, key: str) -> None:
        self.hands.scheduler.loop.files_changed({str(self.path(key))})

    # -- events ------------------------------------------------------------------------------------

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
        self.mend()
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

    def misfit(self) -> None:
        """An unfinished edit of the Command: no Step fits any more."""
        self.cut_short()
        self.misfitted = True
        command = self.command()
        self.hands.command({**command, "inputs": {**command["inputs"], "more": "/in/more"}})
        assert (self.hands.runs, self.hands.state) == ([], "incomplete")
        assert len(self.hands.status()["unfit"]) == len(self.edges)

    def mend(self) -> None:
        """The edit is taken back: that alone makes nothing run again."""
        if self.misfitted:
            self.misfitted = False
            self.hands.command(self.command())
            assert "unfit" not in self.hands.status()

    def merge(self, number: int) -> None:
        number %= len(self.edges)
        if self.misfitted:
            with pytest.raises(GaiaError, match="does not give its input 'more'"):
                self.hands.merge(self.step(number))
            return
        self.versions[number] += 1
        self.hands.merge(self.step(number))
        self.must |= {number} | self.below({number})

    def recommand(self) -> None:
        self.misfitted = False
        self.command_version += 1
        self.hands.command(self.command())
        self.must |= set(range(len(self.edges)))

    def remerge(self) -> None:
        started = len(self.hands.executor.did)
        idle = self.hands.state == "complete" and not self.untold
        self.misfitted = False
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
        # It may take back an edit that the engine was told of, and acts upon.
        if self.hands.runs and not told:
            readers = {reader for reader in range(len(self.edges)) if source in self.inputs(reader)}
            self.may |= readers | self.below(readers)
        self.write(source, CONTENTS[content % 3])
        self.untold |= not told
        if told:
            self.tell(source)

    def edit_output(self, number: int, content: int, told: bool) -> None:
        number %= len(self.edges)
        key = self.output(number)
        if self.hands.runs or number in self.must | self.may or not self.path(key).exists():
            return  # whether the edit or the run wins is not the model's business
        if not all(Path(self.hands.storage.path("w", key)).exists() for key in self.inputs(number)):
            return
        if self.hands.state != "complete" or self.last_run.get(f"s{number}") != self.state_of(
            number
        ):
            return
        self.write(key, CONTENTS[content % 3])
        self.overrides[key] = CONTENTS[content % 3]
        self.untold |= not told
        if told:
            self.tell(key)

    def delete(self, number: int, told: bool) -> None:
        key = [*SOURCES, *map(self.output, range(len(self.edges)))][
            number % (len(SOURCES) + len(self.edges))
        ]
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
        key = [*SOURCES, *map(self.output, range(len(self.edges)))][
            number % (len(SOURCES) + len(self.edges))
        ]
        if self.path(key).exists():
            self.write(key, self.path(key).read_text())
            self.tell(key)

    def cut_short(self) -> None:
        """Allow running Tasks to be cancelled and to run again with the same inputs."""
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
    st.tuples(st.just("misfit")),
    st.tuples(st.just("mend")),
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


# -- Must show 1: a diamond of 50 Steps, each trigger with real processes --------------------------


def diamond(root: Path, source: str = "source-a first\n", **config: Any) -> tuple[Gaia, set[str]]:
    """Two sources, 8 Steps over each → layers → one join: 50 Steps; returns those below one."""
    shell = (
        'for each in /in/*; do cat "$each"; done | sort | uniq > /out/x; echo {{name}} >> /out/x'
    )
    commands = [
        {
            "name": f"c{size}",
            "image": IMAGE,
            "command": [
                "sh",
                "-c",
                shell.replace("/in/*", " ".join(f"/in/{n}" for n in range(size))),
            ],
            "inputs": {f"i{n}": f"/in/{n}" for n in range(size)},
            "outputs": {"x": "/out/x"},
        }
        for size in (1, 2, 16)
    ]

    def step(name: str, *reads: str) -> dict[str, Any]:
        inputs = {f"i{n}": key for n, key in enumerate(reads)}
        return {
            "name": name,
            "command": f"c{len(reads)}",
            "inputs": inputs,
            "outputs": {"x": f"d:{name}"},
            "vars": {"name": name},
        }

    steps = [step(f"a{n}", "d:source-a" if n < 8 else "d:source-b") for n in range(16)]
    steps += [step(f"b{n}", f"d:a{n}", f"d:a{(n + 1) % 8 + n // 8 * 8}") for n in range(16)]
    steps += [step(f"c{n}", f"d:b{n}") for n in range(16)]
    steps += [step("join", *(f"d:c{n}" for n in range(16))), step("end", "d:join")]
    gaia = Gaia({"root": root, "workers": 4, "runtime": "process", **config})
    for name, content in (("source-a", source), ("source-b", "source-b first\n")):
        path = gaia.path("w", f"d:{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    gaia.upload("w", {}, commands, steps)
    below = {f"{layer}{n}" for layer in "abc" for n in range(8)} | {"join", "end"}
    return gaia, below


def starts_since(gaia: Gaia, count: int) -> list[str]:
    return sorted(
        event["task"] for event in gaia.events("w")[count:] if event["event"] == "step-start"
    )


def files(gaia: Gaia) -> dict[str, str]:
    top = gaia.path("w", "d:x").parent
    return {path.name: path.read_text() for path in sorted(top.iterdir())}


def from_scratch(root: Path, source: str) -> dict[str, str]:
    """The files of a run that knows nothing of the change."""
    gaia, _ = diamond(root, source)
    with gaia:
        gaia.wait("w", 60)
        return files(gaia)


def test_a_source_changes_while_idle(tmp_path: Path, wait_until: WaitUntil) -> None:
    gaia, below = diamond(tmp_path / "one")
    with gaia:
        gaia.wait("w", 60)
        count = len(gaia.events("w"))
        gaia.path("w", "d:source-a").write_text("source-a second\n")
        wait_until(lambda: "end" in starts_since(gaia, count), 30)
        gaia.wait("w", 60)
        assert starts_since(gaia, count) == sorted(below)
        reasons = {
            event["task"]: event["reason"]
            for event in gaia.events("w")[count:]
            if event["event"] == "step-start"
        }
        assert reasons["a0"] == "input changed: d:source-a"
        assert reasons["c0"] == "upstream b0 ran again"
        assert files(gaia) == from_scratch(tmp_path / "two", "source-a second\n")


def test_a_source_changes_while_no_engine_runs(tmp_path: Path) -> None:
    gaia, below = diamond(tmp_path / "one")
    with gaia:
        gaia.wait("w", 60)
        count = len(gaia.events("w"))
        source = gaia.path("w", "d:source-a")
    source.write_text("source-a second\n")
    with Gaia({"root": tmp_path / "one", "runtime": "process", "workers": 4}) as gaia:
        would = gaia.run("w", dry_run=True)["would"]
        assert sorted(step["step"] for step in would) == sorted(below)
        assert len(gaia.events("w")) == count
        gaia.run("w")
        gaia.wait("w", 60)
        assert starts_since(gaia, count) == sorted(below)
        assert files(gaia) == from_scratch(tmp_path / "two", "source-a second\n")


def test_a_source_changes_while_it_is_read(tmp_path: Path, wait_until: WaitUntil) -> None:
    """The Task that reads it is cancelled; its outputs of the old content are never stored."""
    go = tmp_path / "go"
    command = {
        "name": "slow",
        "image": IMAGE,
        "command": ["sh", "-c", "cp /in/a /out/x; while [ ! -e {{go}} ]; do sleep 0.02; done"],
        "inputs": {"a": "/in/a"},
        "outputs": {"x": "/out/x"},
        "vars": {"go": str(go)},
    }
    steps = [
        {"name": "slow", "command": "slow", "inputs": {"a": "d:source"}, "outputs": {"x": "d:1"}},
        {"name": "other", "command": "slow", "inputs": {"a": "d:other"}, "outputs": {"x": "d:2"}},
        {"name": "after", "command": "slow", "inputs": {"a": "d:1"}, "outputs": {"x": "d:3"}},
    ]
    with Gaia({"root": tmp_path / "root", "runtime": "process", "workers": 4}) as gaia:
        gaia.path("w", "d:x").parent.mkdir(parents=True)
        for name in ("source", "other"):
            gaia.path("w", f"d:{name}").write_text("old")
        gaia.upload("w", {}, [command], steps)
        wait_until(lambda: gaia.progress("w")["running"] == 2)
        gaia.path("w", "d:source").write_text("new")
        wait_until(lambda: starts_since(gaia, 0) == ["other", "slow", "slow"])
        go.touch()
        assert gaia.wait("w", 30)["state"] == "complete"
        assert starts_since(gaia, 0) == ["after", "other", "slow", "slow"]
        assert [gaia.path("w", f"d:{n}").read_text() for n in (1, 2, 3)] == ["new", "old", "new"]
        ended = [
            (event["task"], event["reason"])
            for event in gaia.events("w")
            if event["event"] == "step-terminated"
        ]
        assert ended == [("slow", "terminated-by-request")]


def test_identical_outputs_stop_the_recomputation(tmp_path: Path, wait_until: WaitUntil) -> None:
    count_words = {
        "name": "count",
        "image": IMAGE,
        "command": ["sh", "-c", "wc -w < /in/a > /out/x"],
        "inputs": {"a": "/in/a"},
        "outputs": {"x": "/out/x"},
    }
    steps = [
        {"name": "one", "command": "count", "inputs": {"a": "d:text"}, "outputs": {"x": "d:1"}},
        {"name": "two", "command": "count", "inputs": {"a": "d:1"}, "outputs": {"x": "d:2"}},
    ]
    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        gaia.path("w", "d:x").parent.mkdir(parents=True)
        gaia.path("w", "d:text").write_text("two words")
        gaia.upload("w", {}, [count_words], steps)
        gaia.wait("w", 30)
        gaia.path("w", "d:text").write_text("other words")
        wait_until(lambda: starts_since(gaia, 0) == ["one", "one", "two"])
        assert gaia.wait("w", 30)["state"] == "complete"
        gaia.path("w", "d:1").unlink()
        wait_until(lambda: starts_since(gaia, 0) == ["one", "one", "one", "two"])
        assert gaia.wait("w", 30)["state"] == "complete"
        assert last_run(gaia, "w", "one")["reason"] == "output missing: d:1"
        gaia.expire("w", ["one"])  # its dependents, too
        gaia.wait("w", 30)
        assert starts_since(gaia, 0) == ["one"] * 4 + ["two"] * 2


def test_editors_habits(tmp_path: Path, wait_until: WaitUntil) -> None:
    """Write-temp-and-rename, truncate-and-write, touch, a burst of files, a file that appears."""
    listing = {
        "name": "list",
        "image": IMAGE,
        "command": ["sh", "-c", "cat /in/dir/* > /out/x"],
        "inputs": {"dir": "/in/dir/"},
        "outputs": {"x": "/out/x"},
    }
    steps = [
        {"name": "list", "command": "list", "inputs": {"dir": "d:dir/"}, "outputs": {"x": "d:list"}}
    ]
    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        gaia.upload("w", {}, [listing], steps)
        assert gaia.wait("w", 30)["waiting-inputs"] == ["d:dir/"]
        directory, result = gaia.path("w", "d:dir"), gaia.path("w", "d:list")

        def becomes(text: str) -> None:
            wait_until(lambda: result.exists() and result.read_text() == text, 20)
            assert gaia.wait("w", 30)["state"] == "complete"

        directory.mkdir(parents=True)
        (directory / "a").write_text("appeared")
        becomes("appeared")
        (directory / "a.tmp").write_text("renamed")
        (directory / "a.tmp").rename(directory / "a")
        becomes("renamed")
        (directory / "a").write_text("")
        (directory / "a").write_text("truncated")
        becomes("truncated")
        count = len(gaia.events("w"))
        for number in range(1000):
            (directory / f"b{number:03}").write_text("x")
        becomes("truncated" + "x" * 1000)
        assert len(starts_since(gaia, count)) <= 3
        count = len(gaia.events("w"))
        (directory / "a").write_text("truncated")
        os.utime(directory / "b000")
        (directory / "a").write_text("last")
        becomes("lastx" + "x" * 999)


def test_a_halted_workflow_records_changes_and_starts_nothing(tmp_path: Path) -> None:
    hands = Hands(tmp_path)
    one = {
        "name": "one",
        "image": "i",
        "command": ["x"],
        "inputs": {"a": "/in/a"},
        "outputs": {"x": "/out/x"},
    }
    hands.command(one)
    hands.put("in", "first")
    hands.merge({"name": "s", "command": "one", "inputs": {"a": "in"}, "outputs": {"x": "out"}})
    hands.complete("s")
    hands.scheduler.halt("w")
    hands.put("in", "second, longer")
    hands.scheduler.loop.files_changed({hands.storage.path("w", "in")})
    assert (hands.runs, hands.state) == ([], "halted")
    assert hands.status()["data"]["out"]["state"] == "unsure"
    hands.scheduler.run("w")
    assert hands.reasons() == {"s": "input changed: in"}
    hands.close()


def test_an_edited_output_survives_doubt_that_comes_to_nothing(tmp_path: Path) -> None:
    """The user replaces an output; its inputs are remade, the same: the edit stays."""
    hands = Hands(tmp_path)
    hands.command(
        {"name": "src", "image": "i", "command": ["x"], "outputs": {"x": "/out/x"}},
        {
            "name": "one",
            "image": "i",
            "command": ["x"],
            "inputs": {"a": "/in/a"},
            "outputs": {"x": "/out/x"},
        },
    )
    hands.merge(
        {"name": "s0", "command": "src", "outputs": {"x": "k0"}},
        {"name": "s1", "command": "one", "inputs": {"a": "k0"}, "outputs": {"x": "k1"}},
        {"name": "s2", "command": "one", "inputs": {"a": "k1"}, "outputs": {"x": "k2"}},
    )
    for name in ("s0", "s1", "s2"):
        hands.complete(name, f"made by {name}")
    edited = hands.put("k1", "the user's own version")
    made = Path(hands.storage.path("w", "k0"))
    made.unlink()
    hands.scheduler.loop.files_changed({str(made), str(edited)})
    assert hands.reasons() == {"s0": "output missing: k0"}
    hands.complete("s0", "made by s0")
    assert hands.reasons() == {"s2": "input changed: k1"}
    hands.complete("s2")
    assert hands.state == "complete"
    assert Path(hands.storage.path("w", "k1")).read_text() == "the user's own version"
    hands.close()


def test_explain_and_plans(tmp_path: Path) -> None:
    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        shell = {"image": IMAGE, "outputs": {"x": "/out/x"}}
        commands = [
            {**shell, "name": "src", "command": ["sh", "-c", "echo hi > /out/x"]},
            {
                **shell,
                "name": "one",
                "command": ["cp", "/in/a", "/out/x"],
                "inputs": {"a": "/in/a"},
            },
        ]
        steps = [
            {"name": "m", "command": "src", "outputs": {"x": "d:1"}},
            {"name": "r", "command": "one", "inputs": {"a": "d:1"}, "outputs": {"x": "d:2"}},
            {"name": "w", "command": "one", "inputs": {"a": "d:outside"}, "outputs": {"x": "d:3"}},
        ]
        gaia.upload("w", {}, commands, steps)
        gaia.wait("w", 30)
        told = explain_step(gaia, "w", "r")
        assert (told["would_run"], told["because"], told["waits_for"]) == (
            False,
            "all its outputs are complete",
            {},
        )
        last = last_run(gaia, "w", "r")
        assert (last["reason"], last["exit_code"], last["command"]) == (
            "new",
            0,
            ["cp", "/in/a", "/out/x"],
        )
        assert last["inputs"] == {"d:1": explain_key(gaia, "w", "d:1")["digest"]}
        waits = explain_step(gaia, "w", "w")
        assert (waits["would_run"], waits["because"]) == (False, "it waits for d:outside")
        assert waits["waits_for"] == {"d:outside": []}
        key = explain_key(gaia, "w", "d:2")
        assert key["made"] is not None
        assert (key["made_by"], key["made"]["step"], key["state"], key["read_by"]) == (
            "r",
            "r",
            "complete",
            [],
        )
        assert key["made"]["inputs"] == last["inputs"]
        assert (
            gaia.explain("w", "d:outside")["because"]
            == "there is no such file, and no Step makes it"
        )
        before = (gaia.events("w"), gaia.status("w", debug=True))
        assert gaia.expire("w", ["m"], dry_run=True) == {
            "expire": ["m"],
            "would": [
                {"step": "m", "reason": "expired"},
                {"step": "r", "reason": "upstream m ran again"},
            ],
        }
        assert gaia.run("w", dry_run=True) == {"run": "w", "would": []}
        with pytest.raises(GaiaError, match=r"'d:outsid'.*'d:outside'"):
            gaia.explain("w", "d:outsid")
        assert (gaia.events("w"), gaia.status("w", debug=True)) == before
        made = next(
            event
            for event in gaia.events("w")
            if event["event"] == "step-complete" and event["task"] == "r"
        )
        assert (made["inputs"], made["outputs"]) == (last["inputs"], {"d:2": key["digest"]})


def test_the_triggers_in_containers(
    tmp_path: Path, docker_image: str, wait_until: WaitUntil
) -> None:
    """Must show 4: expire, merge, command, a changed file, also without engine, another image."""
    import docker

    client = docker.from_env()
    tag = f"gaia-local-recompute:{tmp_path.name}".lower()
    client.images.get(docker_image).tag(tag)
    copy = {
        "name": "copy",
        "image": tag,
        "command": ["sh", "-c", "cat /in/a > /out/x; echo {{word}} >> /out/x"],
        "inputs": {"a": "/in/a"},
        "outputs": {"x": "/out/x"},
        "vars": {"word": "1"},
    }
    steps: list[dict[str, Any]] = [
        {
            "name": f"s{n}",
            "command": "copy",
            "inputs": {"a": f"d:{n}"},
            "outputs": {"x": f"d:{n + 1}"},
        }
        for n in range(3)
    ]
    config = {"root": tmp_path / "root", "runtime": "docker"}
    gaia = Gaia(config)

    def ran(count: int) -> list[tuple[str, str]]:
        assert gaia.wait("w", 60)["state"] == "complete", gaia.failures("w")
        events = gaia.events("w")[count:]
        return [
            (event["task"], event["reason"]) for event in events if event["event"] == "step-start"
        ]

    try:
        source = gaia.path("w", "d:0")
        source.parent.mkdir(parents=True)
        source.write_text("0\n")
        gaia.upload("w", {}, [copy], steps)
        assert ran(0) == [("s0", "new"), ("s1", "new"), ("s2", "new")]

        count = len(gaia.events("w"))
        gaia.expire("w", ["d:2"])
        assert ran(count) == [("s1", "expired"), ("s2", "upstream s1 ran again")]

        count = len(gaia.events("w"))
        gaia.merge("w", [{**steps[2], "vars": {"word": "2"}}])
        assert ran(count) == [("s2", "step changed")]

        count = len(gaia.events("w"))
        gaia.command("w", [{**copy, "vars": {"word": "3"}}])
        assert ran(count) == [
            ("s0", "command changed"),
            ("s1", "command changed"),
            ("s2", "command changed"),
        ]

        count = len(gaia.events("w"))
        gaia.path("w", "d:1").write_text("mine\n")
        wait_until(lambda: "s2" in starts_since(gaia, count), 20)
        assert ran(count) == [("s1", "input changed: d:1"), ("s2", "upstream s1 ran again")]
        assert gaia.path("w", "d:3").read_text() == "mine\n3\n2\n"

        count = len(gaia.events("w"))
        gaia.close()
        source.write_text("changed\n")
        gaia = Gaia(config)
        gaia.run("w")
        assert ran(count)[0] == ("s0", "input changed: d:0")
        assert gaia.path("w", "d:3").read_text() == "changed\n3\n3\n2\n"

        count = len(gaia.events("w"))
        other = client.containers.create(docker_image, ["true"])
        try:
            other.commit(*tag.split(":"), changes="LABEL another=1")
        finally:
            other.remove()
        gaia.run("w")
        assert ran(count) == [
            ("s0", "image changed"),
            ("s1", "image changed"),
            ("s2", "image changed"),
        ]
        count = len(gaia.events("w"))
        gaia.run("w")
        assert ran(count) == []
    finally:
        gaia.close(wait=False)
        client.images.remove(tag, force=True)
        client.close()


def test_other_resources_make_nothing_run_again(tmp_path: Path) -> None:
    """Results don't depend on them; the next Tasks have the new ones, also in a later process."""
    hands = Hands(tmp_path)
    command = {"name": "c", "image": "i", "command": ["x"], "outputs": {"x": "/x"}}
    hands.command({**command, "resources": {"cpus": 1}})
    hands.merge(*({"name": f"s{n}", "command": "c", "outputs": {"x": f"d:{n}"}} for n in range(2)))
    assert hands.task("s0").resources.cpus == 1
    hands.complete("s0")
    hands.did()
    hands.command({**command, "resources": {"cpus": 2, "memory": "1GB"}})
    assert hands.did() == []
    assert hands.runs == ["s1"]  # as it was
    hands.complete("s1")
    hands.scheduler.expire("w", ["s1"])
    assert hands.task("s1").resources == Resources(2.0, 1 << 30)
    hands.close()
    again = Hands(tmp_path)
    again.scheduler.run("w")
    assert again.task("s1").resources == Resources(2.0, 1 << 30)
    again.close()

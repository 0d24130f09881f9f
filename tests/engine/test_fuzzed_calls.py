"""Any call is accepted, or refused by name, with any values.

`GAIA_LOCAL_FUZZ_CALLS` is the number of calls that the fuzzer makes (at least 10,000, which takes
some seconds).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import sqlite3
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaia_local import Gaia, GaiaError
from gaia_local.engine import execution
from gaia_local.engine.snapshot import Snapshot
from gaia_local.errors import InvalidInput, shown
from gaia_local.model.assignment import Outcome, Output
from gaia_local.model.names import MAX_PATH_BYTES
from gaia_local.model.steps import Step
from gaia_local.model.tasks import TaskState
from gaia_local.model.validation import MAX_JSON_CHARACTERS, MAX_NESTING, MAX_VALUES
from gaia_local.model.workflows import check_properties
from gaia_local.store import fingerprints
from gaia_local.store.storage import Storage
from gaia_local.workflow import expansion, reports
from support.fixtures import MakeGaia
from support.hands import HandExecutor
from support.links import Surroundings
from support.random_calls import JUNK, WORKFLOWS, Call, deep, laughs

CALLS = max(10_000, int(os.environ.get("GAIA_LOCAL_FUZZ_CALLS", "0")))
CALLS_AT_ONCE = 250
MANY_STEPS = 60
"""A workflow of so many Steps is deleted: the checks don't need it, and each of them costs."""


class Fuzzed:
    """A `Gaia` whose Tasks the test ends, by `executor`, and all that can be seen of it."""

    def __init__(self, top: Path, executor: HandExecutor) -> None:
        self.around = Surroundings(top)
        self.root = self.around.root
        self.gaia = Gaia({"root": self.root, "runtime": "process", "watch": False})
        self.gaia.command("w", [])
        self.refused = self.taken = 0
        self.gaia.upload("w", {}, [{"name": "main", "image": "i", "command": ["true"]}], [])
        self.executor = executor
        self.storage = Storage(self.root, {})
        self.snapshot = Snapshot(self.root / "gaia.db", self.storage)
        self._reader = sqlite3.connect(f"file:{self.root}/gaia.db?mode=ro", uri=True)
        self._version = -1
        self._rows: Any = None
        self._store: Any = None

    def close(self) -> None:
        self._reader.close()
        self.gaia.close(wait=False)

    def rows(self) -> Any:
        """All rows of the database, which are read again only when some were committed."""
        (version,) = self._reader.execute("pragma data_version").fetchone()
        if version != self._version:
            tables = ("workflows", "commands", "steps", "tasks", "data", "events")
            self._rows = [
                self._reader.execute(f"select * from {table} order by 1, 2").fetchall()
                for table in tables
            ]
            self._version = version
        return self._rows

    def store(self) -> list[str]:
        """All that lies in the root, apart from the database."""
        found = []
        for directory, below, names in os.walk(self.root):
            found += [
                f"{directory}/{name}" for name in (*below, *names) if not name.startswith("gaia.db")
            ]
        return sorted(found)

    def statuses(self) -> Any:
        """The statuses of all workflows, as JSON, so that they can't change later."""
        names = self.gaia.workflows()["workflows"]
        return {
            name: json.dumps(self.gaia.status(name, debug=True), sort_keys=True) for name in names
        }, names

    def known(self) -> list[str]:
        """Names of Steps and keys that can be expired."""
        status = self.gaia.status("w", debug=True)["status"]
        return [*status["flow"], *status["data"]]

    def end_some(self, rng: random.Random) -> None:
        """Some of the Tasks that run come to an end."""
        for task_id in list(self.executor.tasks)[:3]:
            task, observer = self.executor.tasks.pop(task_id)
            outputs = []
            for key, internal in task.outputs if rng.random() < 0.8 else ():
                made = self.root / "staging" / uuid.uuid4().hex
                if key.endswith("/") or (internal.endswith("/") and internal != ">>"):
                    made.mkdir()
                else:
                    made.write_text(key)
                seen = fingerprints.fingerprint(str(made))
                assert seen is not None
                outputs.append(Output(key, str(made), self.storage.path(task.workflow, key), seen))
            state = TaskState.COMPLETE if len(outputs) == len(task.outputs) else TaskState.ERROR
            observer.ended(
                task, Outcome(state, tuple(outputs) if state is TaskState.COMPLETE else (), 0)
            )

    def call(self, call: Call) -> None:
        """Make one call, and check all that must hold after it."""
        before = self.rows(), self.statuses()
        did = len(self.executor.did)
        try:
            call.make(self.gaia)
        except GaiaError as error:
            self.refused += 1
            assert call.is_named(str(error)), f"{call!r}\n names nothing of it: {error}"
            assert (self.rows(), self.statuses()) == before, (
                f"{call!r}\n was refused and changed something: {error}"
            )
            assert len(self.executor.did) == did, f"{call!r}\n was refused and started something"
            return
        except BaseException as error:
            error.add_note(repr(call)) if hasattr(error, "add_note") else None
            raise
        self.taken += 1
        self.check_reopened([call.arguments["workflow"]])

    def check_reopened(self, names: Iterable[str]) -> None:
        """Check that a reader of the database sees the engine's state in memory."""
        known = self.gaia.workflows()["workflows"].keys()
        for name in names:
            theirs = self.snapshot.view(name, lambda found: reports.status(found, debug=True))
            if theirs is None:  # a call without content makes no workflow
                assert name not in known
                continue
            ours = self.gaia.status(name, debug=True)["status"]
            assert json.dumps(theirs, sort_keys=True) == json.dumps(ours, sort_keys=True)

    def prune(self) -> None:
        """Delete large workflows."""
        for name, about in self.gaia.workflows()["workflows"].items():
            if about["step-count"] > MANY_STEPS:
                self.gaia.delete(name, data=True)


NASTY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


def test_a_call_makes_only_so_many_steps(
    make_gaia: MakeGaia, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are counted before they are made, without those that exist already."""
    gaia = make_gaia(max_steps=5)
    echo = {
        "name": "echo",
        "image": "i",
        "command": ["sh", "-c", "echo > /out/r"],
        "outputs": {"r": "/out/r"},
    }
    inner = {
        "name": "i",
        "command": "echo",
        "outputs": {"r": "{{a}}"},
        "vars": {"a": ["1", "2", "3"]},
    }
    many = {"name": "many", "command": "echo", "outputs": {"r": "d:{{a}}"}}

    def step(number: int, name: str = "many") -> dict[str, Any]:
        return {
            **many,
            "name": name,
            "outputs": {"r": f"{name}:{{{{a}}}}"},
            "vars": {"a": list(range(number))},
        }

    gaia.upload("w", {}, [echo], [step(5)])
    assert gaia.wait("w", 30)["state"] == "complete"
    monkeypatch.setattr(expansion, "expand", lambda *_: pytest.fail("they were made"))
    says = (
        r"workflow 'w', Step 'x': up to it the call makes .* Steps, and max_steps is 5; "
        "use shorter arrays, several calls"
    )
    thousand = list(range(1000))
    for steps in (
        [step(6, "x")],
        [step(3, "y"), step(3, "x")],
        [{**step(1, "x"), "vars": {"a": thousand, "b": thousand, "c": thousand}}],
        [{**many, "name": name, "outputs": {"r": name}} for name in "abcdex"],
    ):
        with pytest.raises(GaiaError, match=says):
            gaia.merge("w", steps)
    monkeypatch.undo()
    assert gaia.workflows()["workflows"]["w"]["step-count"] == 5
    gaia.merge("w", [step(5, "other")])
    gaia.command("w", [{**echo, "command": ["sh", "-c", "echo 2 > /out/r"]}])  # which ten Steps use
    assert gaia.wait("w", 30)["state"] == "complete"
    assert gaia.progress("w")["steps"] == 10
    gaia.command(
        "w", [{"name": "group", "outputs": [], "steps": [{**inner, "vars": {"a": ["1"]}}]}]
    )
    gaia.merge("w", [{"name": "x", "command": "group"}, {"name": "z", "command": "group"}])
    gaia.wait("w", 30)
    with pytest.raises(GaiaError, match=r"'[xz]': up to it the call makes 6 Steps"):
        gaia.command(
            "w",
            [
                {
                    "name": "group",
                    "outputs": [],
                    "steps": [{**inner, "vars": {"a": ["1", "2", "3", "4"]}}],
                }
            ],
        )
    assert gaia.progress("w")["steps"] == 12


@pytest.mark.timeout(600)
def test_any_call_is_taken_or_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any call is taken, or refused by name and changes nothing; none reaches out of the root."""
    made = refused = 0
    monkeypatch.setattr(expansion, "MAX_STEPS", 300)  # the same limit, reached at less expense

    @settings(
        max_examples=math.ceil(CALLS / CALLS_AT_ONCE),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        seeds=st.lists(st.integers(0, 2**64 - 1), min_size=CALLS_AT_ONCE, max_size=CALLS_AT_ONCE),
        pool=st.lists(NASTY, min_size=5, max_size=20),
    )
    def fuzz(seeds: list[int], pool: list[Any]) -> None:
        nonlocal made, refused
        top = tmp_path / uuid.uuid4().hex
        (top / "cwd").mkdir(parents=True)
        monkeypatch.chdir(top / "cwd")
        executor = HandExecutor()
        monkeypatch.setattr(execution, "ThreadExecutor", lambda *_, **__: executor)
        with contextlib.closing(Fuzzed(top, executor)) as fuzzed:
            for number, seed in enumerate(seeds):
                call = Call(f"{number} {seed}", pool, fuzzed.known())
                fuzzed.call(call)
                made += 1
                if number % 10 == 9:
                    fuzzed.around.check()
                    fuzzed.end_some(call.rng)
                    fuzzed.check_reopened(fuzzed.gaia.workflows()["workflows"])
                    fuzzed.prune()
            for name in fuzzed.gaia.workflows()["workflows"]:
                fuzzed.gaia.halt(name)
            statuses = fuzzed.statuses()
            refused += fuzzed.refused
            assert fuzzed.refused and fuzzed.taken
            assert {path.name for path in fuzzed.root.iterdir()} <= {
                *(
                    "storage",
                    "staging",
                    "logs",
                    "owner",
                    "id",
                    "engine.sock",
                    "spare",
                    "gaia.db",
                    "gaia.db-wal",
                    "gaia.db-shm",
                )
            }
            assert {path.name for path in (fuzzed.root / "storage").iterdir()} <= {*WORKFLOWS}
        with Gaia({"root": fuzzed.root, "runtime": "process", "watch": False}) as again:
            names = again.workflows()["workflows"]
            assert (
                {
                    name: json.dumps(again.status(name, debug=True), sort_keys=True)
                    for name in names
                },
                names,
            ) == statuses
        fuzzed.around.check()

    fuzz()
    assert made >= CALLS
    assert made * 0.2 < refused < made * 0.95, "the values are too good, or too bad"


def test_limits_are_named() -> None:
    """Values that could grow without end are refused before, with the limit."""
    base = {"name": "s", "command": "c"}
    for extra, words in (
        (deep(200, list), f"nested over {MAX_NESTING} levels"),
        (laughs(12), f"over {MAX_VALUES:,} values"),
        (["x" * 1_000_000] * 200, f"over {MAX_JSON_CHARACTERS:,} characters"),
    ):
        with pytest.raises(InvalidInput, match=f"Step 's'.*{words}"):
            Step.parse("w", {**base, "extra": extra})
        with pytest.raises(InvalidInput, match=f"'p'.*{words}"):
            check_properties("w", {"p": extra})
    with pytest.raises(InvalidInput, match=f"'o'.*over {MAX_PATH_BYTES:,} bytes"):
        Step.parse("w", {**base, "outputs": {"o": "x/" * 2000}})
    assert Step.parse("w", {**base, "extra": deep(90, list)}).definition["extra"] == deep(90, list)
    assert shown(laughs(12)) == "of type list"


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: type(junk).__name__)
def test_names_that_are_no_names_are_refused(make_gaia: MakeGaia, junk: Any) -> None:
    gaia = make_gaia()
    gaia.upload("w", {}, [{"name": "main", "image": "i", "command": ["true"]}], [])
    calls: list[Callable[[str, Any], object]] = [
        gaia.logs,
        gaia.explain,
        gaia.pull_inputs,
        gaia.path,
        lambda name, step: gaia.stage(name, step, "staged"),
    ]
    for call in calls:
        with pytest.raises(GaiaError) as refused:
            call("w", junk)
        assert shown(junk).rstrip("…") in str(refused.value)
    with pytest.raises(GaiaError):
        gaia.status(junk)

"""The state database: what goes in comes out, whole or not at all, from many threads."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaia_local.errors import DatabaseError
from gaia_local.model.commands import AnyCommand, Command
from gaia_local.model.events import Event, EventKind
from gaia_local.model.steps import Step
from gaia_local.model.tasks import Task, TaskState
from gaia_local.model.workflows import WorkflowState
from gaia_local.state.database import Database
from gaia_local.workflow.decision import Changes, Saved
from gaia_local.workflow.fitness import Unfit
from gaia_local.workflow.states import (
    ABSENT,
    EXPIRED,
    Attempt,
    KeyKind,
    KeyState,
    Reason,
    ReasonKind,
)
from support.builders import task


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "it's a #1 % root?" / "gaia.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    path.parent.mkdir()
    database = Database(path)
    yield database
    database.close()


def attempted(name: str = "s", identity: str = "t1", workflow: str = "w") -> Task:
    return task(
        name,
        {"/in/x": "b:in", "/in/d/": "b:d/"},
        {">": "b:out", ">>": "b:log"},
        id=identity,
        workflow=workflow,
        image="busybox:1",
        command=("sh", "-c", "é \"quoted\" 'x' \\ \n"),
        stdout="/out/x",
        timeout=12.5,
        reason="input changed: b:in",
        external=frozenset({"b:in"}),
    )


def define(
    database: Database, table: Any, workflow: str, definitions: list[dict[str, Any]]
) -> None:
    database.define(
        table,
        workflow,
        ((definition["name"], json.dumps(definition)) for definition in definitions),
    )


def defined(database: Database, table: Any, workflow: str) -> list[Any]:
    return database.definitions(table, workflow, lambda given, text: given)


def rows(database: Database, workflow: str = "w") -> dict[str, Any]:
    """Everything about a workflow."""
    return {
        "workflow": database.workflow(workflow),
        "commands": defined(database, "commands", workflow),
        "steps": defined(database, "steps", workflow),
        "attempts": database.attempts(workflow),
        "keys": database.keys(workflow),
        "events": database.events(workflow),
    }


def fill(database: Database, workflow: str = "w") -> None:
    database.add_workflow(workflow, {"owner": "é", "tags": [1, {"a": None}]}, 5.0)
    define(database, "commands", workflow, [{"name": "c", "image": "i"}])
    define(database, "steps", workflow, [{"name": "s", "vars": {"x": [1, True, "ü"]}}])
    database.add_attempts(
        [Attempt(attempted(identity=f"{workflow}-1", workflow=workflow), TaskState.RUNNING, 6.0)]
    )
    database.set_keys(workflow, {"b:x": KeyState(KeyKind.THERE, "1:2", "abc", "t1")})
    database.add_events([Event(EventKind.STEP_START, workflow, 7.0, {"id": "t1", "task": "s"})])


# -------------------------------------------------------------------------------------- round trips


def test_a_new_database_is_empty(database: Database) -> None:
    assert database.workflows() == {}
    assert database.workflow("w") is None
    assert rows(database) == {
        "workflow": None,
        "commands": [],
        "steps": [],
        "attempts": [],
        "keys": {},
        "events": [],
    }


def test_workflows_are_read_back_in_order(database: Database) -> None:
    database.add_workflow("second", {"owner": "a"}, 2.0)
    database.add_workflow("first", {"owner": "b", "x": [1]}, 1.0)
    assert database.workflow("first") == {
        "state": "initialized",
        "properties": {"owner": "b", "x": [1]},
        "steps": 0,
    }
    database.set_workflow("second", "running", 7)
    assert list(database.workflows()) == ["first", "second"]
    assert database.workflows()["second"] == {
        "state": "running",
        "properties": {"owner": "a"},
        "steps": 7,
    }
    assert database.workflow("third") is None


def test_a_workflow_that_is_there_is_not_added_again(database: Database) -> None:
    fill(database)
    before = rows(database)
    with pytest.raises(DatabaseError, match="UNIQUE"):
        database.add_workflow("w", {}, 9.0)
    assert rows(database) == before


@pytest.mark.parametrize("table", ["commands", "steps"])
def test_definitions_keep_their_order_when_they_are_replaced(
    database: Database, table: Any
) -> None:
    define(database, table, "w", [{"name": name, "n": 1} for name in "cab"])
    define(database, table, "other", [{"name": "a", "n": 5}])
    define(database, table, "w", [{"name": "a", "n": 2}, {"name": "d", "n": 3}])
    assert defined(database, table, "w") == [
        {"name": "c", "n": 1},
        {"name": "a", "n": 2},
        {"name": "b", "n": 1},
        {"name": "d", "n": 3},
    ]
    assert defined(database, table, "other") == [{"name": "a", "n": 5}]


def test_attempts_are_read_back(database: Database) -> None:
    first = Attempt(attempted(identity="1"), TaskState.RUNNING, 1.0)
    other = Attempt(attempted("r", identity="2"), TaskState.RUNNING, 2.0)
    again = Attempt(attempted(identity="3"), TaskState.RUNNING, 3.0)
    database.add_attempts([first, other, again])
    assert database.attempts("w") == [first, other, again]
    first.state, first.exit_code, first.message, first.image_id = (
        TaskState.ERROR,
        3,
        "it broke: é",
        "sha256:1",
    )
    first.started, first.ended, first.inputs, first.superseded = 1.5, 1.75, {"b:in": "abc"}, True
    database.set_attempts([first])
    assert database.attempts("w") == [first, other, again]
    assert database.attempts("w", step="s") == [first, again]
    assert database.attempts("w", state=TaskState.RUNNING) == [other, again]
    assert database.attempts("w", step="s", state=TaskState.ERROR) == [first]
    assert database.latest("w") == [other, again]
    assert database.latest("w", TaskState.RUNNING) == [other, again]
    assert database.latest("w", TaskState.ERROR) == []
    assert database.attempts("other") == database.latest("other") == []


def test_a_message_that_is_no_utf8_costs_no_row(database: Database) -> None:
    """Nobody should hand one on; the rows beside it are written as they are."""
    attempts = [Attempt(attempted(identity=f"{n}"), TaskState.RUNNING, 1.0) for n in range(3)]
    database.add_attempts(attempts)
    for attempt, message in zip(attempts, ("a\x1b", "a\udcff", "é"), strict=True):
        attempt.message = message
    database.set_attempts(attempts)
    told = [attempt.message for attempt in database.attempts("w")]
    assert told == ["a\x1b", "a\\xff", "é"]
    why = Attempt(attempted(identity="4")._replace(reason="b\udcff"), TaskState.RUNNING, 2)
    database.add_attempts([why])
    assert database.attempts("w")[-1].task.reason == "b\\xff"


def test_a_task_is_read_back_whole(database: Database) -> None:
    made = attempted()
    database.add_attempts([Attempt(made, TaskState.RUNNING, 1.0)])
    (read,) = database.attempts("w")
    assert read.task._asdict() == made._asdict()
    assert isinstance(read.task.external, frozenset)


def test_keys_are_read_back(database: Database) -> None:
    keys = {
        "b:x": KeyState(KeyKind.THERE, "1:2", "abc", "t1"),
        "b:y": KeyState(KeyKind.EXPIRED, why=EXPIRED),
        "b:z": KeyState(KeyKind.ABSENT, why=Reason(ReasonKind.UPSTREAM, "s ran again")),
        "ключ:z": KeyState(
            KeyKind.UNSURE, "1:2", None, "t1", Reason(ReasonKind.INPUT_CHANGED, "b:x")
        ),
    }
    database.set_keys("w", keys)
    database.set_keys("other", {"b:x": KeyState(KeyKind.EXPIRED)})
    assert database.keys("w") == keys
    database.set_keys("w", {"b:y": ABSENT, "b:x": KeyState(KeyKind.EXPIRED), "b:none": ABSENT})
    assert database.keys("w") == {
        "b:x": KeyState(KeyKind.EXPIRED),
        "b:z": keys["b:z"],
        "ключ:z": keys["ключ:z"],
    }
    assert database.keys("other") == {"b:x": KeyState(KeyKind.EXPIRED)}


@pytest.mark.parametrize("kind", KeyKind)
@pytest.mark.parametrize("why", [None, *ReasonKind])
def test_a_key_of_each_kind_keeps_each_reason(
    database: Database, kind: KeyKind, why: ReasonKind | None
) -> None:
    reason = None if why is None else Reason(why, "é 'x' ran again" if "{}" in why.value else "")
    for state in (KeyState(kind, "1:2", "abc", "t1", reason), KeyState(kind, why=reason)):
        database.set_keys("w", {"b:x": state})
        assert database.keys("w") == ({} if state == ABSENT else {"b:x": state})


# ------------------------------------------------------------------------------- one workflow whole


def changes(edition: int = 1) -> Changes:
    """Something of everything."""
    command = {"name": "c", "image": f"i{edition}", "command": ["x"], "outputs": {"x": "/out/x"}}
    composite = {
        "name": "both",
        "outputs": ["y"],
        "steps": [{"name": "a", "command": "c", "outputs": {"x": "y"}}],
    }
    commands: list[AnyCommand] = [Command.parse("w", command), Command.parse("w", composite)]
    step = {"name": "s", "command": "c", "outputs": {"x": "k"}, "vars": {"a": [1, 1.0, True, "é"]}}
    begun = [
        Attempt(attempted(f"s{number}", f"t{number}"), state, float(number))
        for number, state in enumerate(TaskState)
    ]
    keys = {
        f"b:{kind.value}/{why.name}": KeyState(
            kind, "1:2", "abc", "t1", Reason(why, "x y" if "{}" in why.value else "")
        )
        for kind in KeyKind
        for why in ReasonKind
    }
    keys |= {f"b:{kind.value}": KeyState(kind) for kind in KeyKind}
    return Changes((WorkflowState.RUNNING, 3), commands, [Step.parse("w", step)], begun, {}, keys)


def saved(database: Database, name: str = "w") -> Saved:
    found = database.saved(name)
    assert found is not None
    return found


def test_an_unknown_workflow_has_no_saved_state(database: Database) -> None:
    database.add_workflow("other", {}, 1.0)
    assert database.saved("w") is None


def test_a_workflow_is_read_back_as_it_was_saved(database: Database) -> None:
    database.add_workflow("w", {"owner": "é"}, 1.0)
    database.add_workflow("other", {}, 1.0)
    assert saved(database) == Saved(
        "w", {"owner": "é"}, WorkflowState.INITIALIZED, 0, [], [], [], {}, {}
    )
    given, events = (
        changes(),
        [
            Event(EventKind.STEP_START, "w", 5.0, {"id": "1"}),
            Event(EventKind.FLOW_COMPLETE, "w", 6.0, {}),
        ],
    )
    with database.transaction():
        database.save("w", replace(given, events=events))
    found = saved(database)
    assert found == Saved(
        "w",
        {"owner": "é"},
        WorkflowState.RUNNING,
        3,
        given.commands,
        given.steps,
        given.begun,
        {key: state for key, state in given.keys.items() if state != ABSENT},
        {},
    )
    assert [dict(command.definition) for command in found.commands] == [
        dict(command.definition) for command in given.commands
    ]
    assert [step.text for step in found.given] == [step.text for step in given.steps]
    assert [event["event"] for event in database.events("w")] == ["step-start", "flow-complete"]
    assert saved(database, "other") == Saved(
        "other", {}, WorkflowState.INITIALIZED, 0, [], [], [], {}, {}
    )


def test_unfit_steps_and_removed_definitions(database: Database) -> None:
    database.add_workflow("w", {}, 1.0)
    given = changes()
    command, step = given.commands[0], given.steps[0]
    unfit = Unfit("it lacks a var", {command.name: command})
    with database.transaction():
        database.save("w", Changes(None, given.commands, given.steps, unfit={step.name: unfit}))
    assert saved(database).unfit == {step.name: unfit}
    with database.transaction():
        database.save("w", Changes(unfit={step.name: None}))
    assert saved(database).unfit == {}
    with database.transaction():
        database.save("w", Changes(unfit={step.name: unfit}))
        gone = Changes(gone_steps=[step.name], gone_commands=[command.name])
        database.save("w", gone.then(Changes(None, [command])))
    found = saved(database)
    assert (found.unfit, step in found.given, found.commands[-1]) == ({}, False, command)
    assert len(found.commands) == len(given.commands)


def test_changes_of_definitions_in_order() -> None:
    """Removed and added in any order, written at once: the last one counts, also its place."""
    given = changes()
    step = given.steps[0]
    added, gone = Changes(steps=[step]), Changes(gone_steps=[step.name])
    assert added.then(gone).steps == []
    assert gone.then(added).steps == [step]
    unfit = Unfit("why", {})
    assert Changes(unfit={step.name: unfit}).then(gone).unfit == {step.name: None}
    assert gone.then(Changes(unfit={step.name: unfit})).unfit == {step.name: unfit}


def test_later_changes_replace_earlier_ones(database: Database) -> None:
    database.add_workflow("w", {}, 1.0)
    first = changes()
    database.save("w", first)
    ended = first.begun[0]
    ended.state, ended.started, ended.ended, ended.exit_code = TaskState.ERROR, 1.5, 2.5, 3
    ended.message, ended.image_id, ended.inputs, ended.superseded = (
        "é",
        "sha256:1",
        {"b:in": "abc"},
        True,
    )
    again = Attempt(attempted("s1", "t9"), TaskState.RUNNING, 9.0)
    command = changes(edition=2).commands[0]
    unsure = KeyState(KeyKind.UNSURE, "3:4", "def", "t9", Reason(ReasonKind.MISSING, "b:x"))
    keys = {"b:complete": ABSENT, "b:expired": unsure}
    database.save("w", Changes(None, [command], [], [again], {ended.task.id: ended}, keys))
    found = saved(database)
    assert (found.state, found.steps) == (WorkflowState.RUNNING, 3)
    assert found.commands == [command, first.commands[1]]
    assert found.given == first.steps
    last = {attempt.task.name: attempt for attempt in (*first.begun, again)}
    assert {attempt.task.name: attempt for attempt in found.attempts} == last
    assert len(found.attempts) == len(last)
    kept = {key: state for key, state in first.keys.items() if state != ABSENT and key not in keys}
    assert found.keys == {**kept, "b:expired": unsure}


def test_an_attempt_that_began_and_ended_before_saving_is_whole(database: Database) -> None:
    database.add_workflow("w", {}, 1.0)
    quick = Attempt(
        attempted(), TaskState.COMPLETE, 1.0, 1.5, 2.0, 0, None, "sha256:1", {"b:in": "abc"}
    )
    database.save("w", Changes(begun=[quick], ended={quick.task.id: quick}))
    assert saved(database).attempts == [quick]


def test_saving_nothing_changes_nothing(database: Database) -> None:
    fill(database)
    before = rows(database)
    database.save("w", Changes())
    assert rows(database) == before


def test_saving_is_atomic(database: Database) -> None:
    database.add_workflow("w", {}, 1.0)
    database.save("w", changes())
    before = rows(database)
    with pytest.raises(DatabaseError), database.transaction():  # its Tasks are there already
        database.save(
            "w", replace(changes(edition=2), events=[Event(EventKind.FLOW_COMPLETE, "w", 6.0, {})])
        )
    assert rows(database) == before


def test_events_are_read_back(database: Database) -> None:
    events = [
        Event(EventKind.STEP_START, "w", 5.0, {"id": "1", "task": "s"}),
        Event(EventKind.FLOW_COMPLETE, "w", 4.0, {}),
    ]
    database.add_events([*events, Event(EventKind.FLOW_HALTED, "other", 6.0, {})])
    assert database.events("w") == [
        {"event": "step-start", "workflow": "w", "time": 5.0, "id": "1", "task": "s"},
        {"event": "flow-complete", "workflow": "w", "time": 4.0},
    ]


def test_deleting_a_workflow_leaves_others_alone(database: Database) -> None:
    fill(database)
    fill(database, "other")
    before = rows(database, "other")
    database.delete_workflow("w")
    assert rows(database, "w") == {
        "workflow": None,
        "commands": [],
        "steps": [],
        "attempts": [],
        "keys": {},
        "events": [],
    }
    assert rows(database, "other") == before


text = st.text(max_size=20)
json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)


reasons = st.sampled_from(ReasonKind).flatmap(
    lambda kind: st.builds(Reason, st.just(kind), text if "{}" in kind.value else st.just(""))
)
key_states = st.builds(
    KeyState,
    st.sampled_from(KeyKind),
    st.none() | text,
    st.none() | text,
    st.none() | text,
    st.none() | reasons,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(text, json_like, max_size=3),
    text,
    st.dictionaries(text, key_states),
)
def test_any_values_are_read_back_unchanged(
    database: Database, properties: dict[str, Any], name: str, keys: dict[str, KeyState]
) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction():
        database.add_workflow(name, properties, 1.0)
        define(database, "steps", name, [{**properties, "name": name}])
        database.set_keys(name, keys)
        assert database.workflow(name) == {
            "state": "initialized",
            "properties": properties,
            "steps": 0,
        }
        assert defined(database, "steps", name) == [{**properties, "name": name}]
        assert database.keys(name) == {key: state for key, state in keys.items() if state != ABSENT}
        raise ZeroDivisionError  # and it's as if nothing had been
    assert database.workflows() == {}
    assert database.keys(name) == {}


# ------------------------------------------------------------------------------------- transactions


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_transaction_that_fails_leaves_nothing(
    database: Database, error: type[BaseException]
) -> None:
    fill(database)
    before = rows(database)
    with pytest.raises(error), database.transaction():
        database.set_workflow("w", "running", 5)
        database.delete_workflow("w")
        assert database.workflow("w") is None
        raise error
    assert rows(database) == before
    with database.transaction():
        database.set_workflow("w", "running", 5)
    assert database.workflow("w") is not None


def test_transactions_nest_and_the_outer_one_decides(database: Database) -> None:
    with database.transaction():
        database.add_workflow("kept", {}, 1.0)
        with database.transaction():
            database.add_workflow("inner", {}, 1.0)
    assert sorted(database.workflows()) == ["inner", "kept"]
    with pytest.raises(ZeroDivisionError), database.transaction():
        with database.transaction():
            database.delete_workflow("inner")
        raise ZeroDivisionError
    assert sorted(database.workflows()) == ["inner", "kept"]


def test_many_rows_are_written_whole_or_not_at_all(database: Database) -> None:
    database.add_attempts([Attempt(attempted(identity="5"), TaskState.RUNNING, 1.0)])
    with pytest.raises(DatabaseError):
        database.add_attempts(
            [
                Attempt(attempted(identity=str(number)), TaskState.RUNNING, 1.0)
                for number in range(10)
            ]
        )
    assert [attempt.task.id for attempt in database.attempts("w")] == ["5"]


def test_readers_see_only_committed_transactions(database: Database, path: Path) -> None:
    reader = Database(path, readonly=True)
    with database.transaction():
        database.add_workflow("w", {}, 1.0)
        assert reader.workflows() == {}
    assert list(reader.workflows()) == ["w"]
    reader.close()


def test_a_reader_in_a_transaction_sees_one_moment(database: Database, path: Path) -> None:
    reader = Database(path, readonly=True)
    with reader.transaction():
        assert reader.workflows() == {}
        database.add_workflow("w", {}, 1.0)
        assert reader.workflows() == {}
    assert list(reader.workflows()) == ["w"]
    reader.close()


def test_eight_threads_lose_nothing(database: Database) -> None:
    database.add_workflow("w", {}, 1.0)

    def work(number: int) -> None:
        for count in range(100):
            with database.transaction():
                row = database.workflow("w")
                assert row is not None
                database.set_workflow("w", "running", row["steps"] + 1)
                database.add_events(
                    [Event(EventKind.FLOW_COMPLETE, "w", 0.0, {"thread": number, "count": count})]
                )
            database.set_keys("w", {f"{number}:{count}": KeyState(KeyKind.THERE)})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = database.workflow("w")
    assert row is not None and row["steps"] == 800
    assert len(database.keys("w")) == 800
    recorded: list[Any] = [*database.events("w")]
    for number in range(8):
        counts = [event["count"] for event in recorded if event["thread"] == number]
        assert counts == list(range(100))


# ----------------------------------------------------------------------------------------- the file


def test_reopening_finds_everything(database: Database, path: Path) -> None:
    fill(database)
    before = rows(database)
    database.close()
    for readonly in (False, True, False):
        again = Database(path, readonly=readonly)
        assert rows(again) == before
        again.close()


@pytest.mark.parametrize("readonly", [False, True])
def test_a_file_that_is_no_database_is_refused_by_name_and_left_alone(
    path: Path, readonly: bool
) -> None:
    path.parent.mkdir()
    path.write_text("this is not a database, however long it is " * 100)
    before = path.read_bytes()
    with pytest.raises(DatabaseError) as caught:
        Database(path, readonly=readonly)
    assert str(path) in str(caught.value)
    assert "not a database" in str(caught.value)
    assert path.read_bytes() == before


def test_a_damaged_file_is_told_by_name(database: Database, path: Path) -> None:
    fill(database)
    for number in range(200):
        database.add_events(
            [Event(EventKind.FLOW_COMPLETE, "w", 0.0, {"filler": "x" * 500, "number": number})]
        )
    database.close()
    size = path.stat().st_size
    with path.open("r+b") as writer:
        writer.seek(4096)
        writer.write(b"\xff" * (size - 4096))
    with pytest.raises(DatabaseError) as caught:
        damaged = Database(path)
        try:
            rows(damaged)
        finally:
            damaged.close()
    assert str(path) in str(caught.value)


def test_rows_without_sense_are_told(database: Database, path: Path) -> None:
    fill(database)
    with sqlite3.connect(path) as connection:
        connection.execute("update tasks set definition = '{'")
        connection.execute("update data set state = 'strange'")
    connection.close()
    with pytest.raises(DatabaseError, match="makes no sense"):
        database.attempts("w")
    with pytest.raises(DatabaseError, match="strange"):
        database.keys("w")


@pytest.mark.parametrize("why", ["", "strange", "upstream ran again", "New"])
def test_a_reason_without_sense_is_told(database: Database, path: Path, why: str) -> None:
    database.add_workflow("w", {}, 1.0)
    database.set_keys("w", {"b:x": KeyState(KeyKind.EXPIRED, why=EXPIRED)})
    with sqlite3.connect(path) as connection:
        connection.execute("update data set why = ?", (why,))
    connection.close()
    for read in (database.keys, database.saved):
        with pytest.raises(
            DatabaseError, match=rf"a row .* makes no sense \('{why}' is no reason to run\)"
        ):
            read("w")


@pytest.mark.parametrize(
    ("table", "column"),
    [("workflows", "state"), ("commands", "definition"), ("steps", "definition")],
)
def test_a_workflow_without_sense_is_told(
    database: Database, path: Path, table: str, column: str
) -> None:
    database.add_workflow("w", {}, 1.0)
    database.save("w", changes())
    with sqlite3.connect(path) as connection:
        connection.execute(f"update {table} set {column} = '{{'")
    connection.close()
    with pytest.raises(DatabaseError, match="makes no sense"):
        database.saved("w")


def test_reading_alone_changes_nothing(database: Database, path: Path) -> None:
    fill(database)
    database.close()
    before = {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}
    reader = Database(path, readonly=True)
    assert reader.workflow("w") is not None
    with pytest.raises(DatabaseError, match="readonly"):
        reader.set_workflow("w", "running", 1)
    reader.close()
    after = {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}
    assert after["gaia.db"] == before["gaia.db"]
    with pytest.raises(DatabaseError, match=r"nothing\.db"):
        Database(path.with_name("nothing.db"), readonly=True)
    assert not path.with_name("nothing.db").exists()


def test_a_relative_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(Path("gaia.db"))
    fill(database)
    database.close()
    assert (tmp_path / "gaia.db").stat().st_size > 0


def test_closing_releases_the_file_and_is_idempotent(path: Path) -> None:
    path.parent.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    another = Database(path)
    another.close()
    another.close()
    assert len(os.listdir("/proc/self/fd")) == before
    for use in (another.workflows, lambda: another.add_workflow("w", {}, 1.0)):
        with pytest.raises(DatabaseError, match="closed"):
            use()


def test_a_refusal_leaves_no_descriptor_open(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("this is not a database" * 100)
    before = len(os.listdir("/proc/self/fd"))
    for readonly in (False, True):
        with pytest.raises(DatabaseError):
            Database(path, readonly=readonly)
    assert len(os.listdir("/proc/self/fd")) == before


CRASH = """
import os, sys
from pathlib import Path
from gaia_local.state.database import Database
database = Database(Path(sys.argv[1]))
for number in range(50):
    database.add_workflow(f"w{number}", {"owner": "x" * 2000}, float(number))
os._exit(1)
"""


@pytest.fixture
def crashed(path: Path) -> Path:
    """A database whose writer ended without closing it: the last writes are in its log."""
    path.parent.mkdir()
    subprocess.run([sys.executable, "-c", CRASH, str(path)], check=False)
    assert path.with_name("gaia.db-wal").stat().st_size > 100_000
    return path


def test_committed_rows_survive_a_crash(crashed: Path) -> None:
    database = Database(crashed)
    assert len(database.workflows()) == 50
    database.close()


def test_a_database_that_was_moved_away_does_not_haunt_the_next(crashed: Path) -> None:
    shutil.move(crashed, crashed.with_name("moved.db"))
    database = Database(crashed)
    assert database.workflows() == {}
    fill(database)
    database.close()
    with sqlite3.connect(crashed) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert (
            json.loads(connection.execute("select properties from workflows").fetchone()[0])[
                "owner"
            ]
            == "é"
        )
    connection.close()

"""Events as rows: those of a Task that are written together are one row, and read as they were."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_local import Gaia
from gaia_local.engine import decision_loop
from gaia_local.errors import DatabaseError
from gaia_local.model.answer_types import EventEntry
from gaia_local.model.events import Event, EventKind
from gaia_local.state.database import Database
from gaia_local.state.event_rows import event_rows, kinds_of, read_events
from support.builders import ECHO

BEGINS = [kind for kind in EventKind if kind.begins]
TASKS = st.sampled_from([None, "t1", "t2"])
"""None: an event of the workflow."""


def event(task: str | None, kind: EventKind, time: float, code: int) -> Event:
    of_task = {} if task is None else {"id": task, "task": f"step of {task}"}
    return Event(kind, "w", time, {**of_task, "code": code, "inputs": {"k": None}})


EVENTS: st.SearchStrategy[list[Event]] = st.lists(
    st.builds(event, TASKS, st.sampled_from(EventKind), st.floats(0, 2e9), st.integers())
)


@given(EVENTS)
def test_events_are_read_as_they_were_written(events: list[Event]) -> None:
    rows = list(event_rows(events))
    read = [entry for workflow, time, *row in rows for entry in _read(workflow, time, *row)]
    assert read == [event.wire() for event in events]
    assert [[*entry] for entry in read] == [[*event.wire()] for event in events]


@given(EVENTS)
def test_a_row_is_of_one_task_and_begins_with_its_first_event(events: list[Event]) -> None:
    rows = list(event_rows(events))
    told = 0
    for _, time, kind, _, more in rows:
        kinds = kinds_of(kind, more)
        assert time == events[told + len(kinds) - 1].time  # `status` shows that of the last change
        of = {event.facts.get("id") for event in events[told : told + len(kinds)]}
        assert len(of) == 1 and (None not in of or len(kinds) == 1)
        assert not any(EventKind(later) in BEGINS for later in kinds[1:])
        told += len(kinds)
    assert told == len(events)
    breaks = sum(
        one.facts.get("id") != two.facts.get("id") or two.event.begins or "id" not in two.facts
        for one, two in itertools.pairwise(events)
    )
    assert len(rows) == (breaks + 1 if events else 0)


def test_a_short_step_has_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A slow machine would write its start before its end.
    monkeypatch.setattr(decision_loop, "WRITE_DELAY_SECONDS", 3600.0)
    with Gaia({"root": tmp_path, "runtime": "process", "watch": False, "workers": 1}) as gaia:
        gaia.upload(
            "w", {}, [ECHO], [{"name": "a", "command": "echo", "outputs": {"result": "d:a"}}]
        )
        gaia.wait("w", 30)
        told = gaia.events("w")
    database = Database(tmp_path / "gaia.db", readonly=True)
    rows = database._rows("select event, more from events")
    database.close()
    courses = [kinds_of(event, more) for event, more in rows]
    *of_the_step, end = [entry["event"] for entry in told]
    assert courses == [of_the_step, [end]]
    assert (of_the_step[0], end) == (EventKind.STEP_START, EventKind.FLOW_COMPLETE)


@pytest.mark.parametrize("more", ["[]", "5", "[1.0, 2]", "{", '[1.0, ["step-error"]]'])
def test_a_damaged_row_is_told_as_one(more: str, tmp_path: Path) -> None:
    database = Database(tmp_path / "gaia.db")
    row = ("w", 1.0, "step-start", '{"id": "t", "task": "a"}', more)
    with database.transaction():
        database._write(
            "insert into events (workflow, time, event, facts, more) values (?, ?, ?, ?, ?)", row
        )
    with pytest.raises(DatabaseError, match="makes no sense"):
        database.events("w")
    database.close()


def _read(workflow: str, time: float, kind: str, facts: str, more: str | None) -> list[EventEntry]:
    return list(read_events(workflow, kind, time, facts, more))

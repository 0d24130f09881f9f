"""Events as rows: one for each course of events of a Task that are written together.

A row has the kind and the facts of its first event and the time of its last one. Where these are
two, it has in `more`, as JSON, the first one's time, and of each that follows its kind, its time,
and its facts but for the Task's id and name. The first event of a Task, and one of a workflow,
always begin a row. So a short Step has one row for all its events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from gaia_local.state.rows import to_json

if TYPE_CHECKING:
    from gaia_local.model.answer_types import EventEntry
    from gaia_local.model.events import Event

_OF_TASK = ("id", "task")
"""The facts that all events of a Task have."""


def event_rows(events: Iterable[Event]) -> Iterator[tuple[Any, ...]]:
    """The rows of events in this order: workflow, time, kind, facts, `more`."""
    first: Event | None = None
    more: list[tuple[str, float, dict[str, Any]]] = []
    for event in events:
        kind, _, time, facts = event
        if first is not None:
            task = first.facts.get("id")
            if task is not None and facts.get("id") == task and not kind.begins:
                rest = {name: fact for name, fact in facts.items() if name not in _OF_TASK}
                more.append((kind.value, time, rest))
                continue
            yield _row(first, more)
        first, more = event, []
    if first is not None:
        yield _row(first, more)


def _row(first: Event, more: list[tuple[str, float, dict[str, Any]]]) -> tuple[Any, ...]:
    facts = to_json(first.facts)
    if not more:
        return first.workflow, first.time, first.event.value, facts, None
    return first.workflow, more[-1][1], first.event.value, facts, to_json([first.time, *more])


def read_events(
    workflow: str, kind: str, time: float, facts: str, more: str | None
) -> Iterator[EventEntry]:
    """The events of a row, as `Gaia.events` answers them.

    Their facts aren't checked: another version may have kinds of events that this one hasn't.
    """
    first = json.loads(facts)
    of_task = {name: first[name] for name in _OF_TASK if name in first}
    parts: list[Any] = json.loads(more) if more else [time]
    began, *later = parts
    yield _entry(kind, workflow, began, first)
    for other, at, rest in later:
        yield _entry(other, workflow, at, {**of_task, **rest})


def kinds_of(kind: str, more: str | None) -> list[str]:
    """The kinds of the events of a row."""
    return [kind, *(later for later, *_ in json.loads(more)[1:])] if more else [kind]


def _entry(kind: str, workflow: str, time: float, facts: dict[str, Any]) -> EventEntry:
    what = {"event": kind, "workflow": workflow, "time": time, **facts}
    return cast("EventEntry", what)

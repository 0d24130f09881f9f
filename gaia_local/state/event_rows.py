"""Events as rows: one for each course of events of a Task that are written together.

A row has its first event, and in `more` those that follow, as JSON: of each its kind, its time, and
its facts but for the Task's id and name, which are the first one's. The first event of a Task, and
one of a workflow, always begin a row. So a short Step has one row for all its events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from gaia_local.model.answer_types import EventEntry
    from gaia_local.model.events import Event

_OF_TASK = ("id", "task")


def event_rows(events: Iterable[Event]) -> Iterator[tuple[Any, ...]]:
    """The rows of events in this order: workflow, time, kind, facts, `more`."""
    first: Event | None = None
    more: list[tuple[str, float, dict[str, Any]]] = []
    for event in events:
        kind, _, time, facts = event
        if first is not None:
            task = first.facts.get("id")
            if task is not None and facts.get("id") == task and not kind.begins:
                rest = dict(facts)
                del rest["id"], rest["task"]
                more.append((kind.value, time, rest))
                continue
            yield _row(first, more)
        first, more = event, []
    if first is not None:
        yield _row(first, more)


def _row(first: Event, more: list[tuple[str, float, dict[str, Any]]]) -> tuple[Any, ...]:
    facts = json.dumps(first.facts)
    rest = json.dumps(more) if more else None
    return first.workflow, first.time, first.event.value, facts, rest


def read_events(
    workflow: str, kind: str, time: float, facts: str, more: str | None
) -> Iterator[EventEntry]:
    """The events of a row, as `Gaia.events` answers them.

    Their facts aren't checked: another version may have kinds of events that this one hasn't.
    """
    first = json.loads(facts)
    yield _entry(kind, workflow, time, first)
    for later, at, rest in json.loads(more) if more else ():
        of_task = {name: first[name] for name in _OF_TASK}
        yield _entry(later, workflow, at, {**of_task, **rest})


def kinds_of(kind: str, more: str | None) -> list[str]:
    """The kinds of the events of a row."""
    return [kind, *(later for later, *_ in json.loads(more))] if more else [kind]


def _entry(kind: str, workflow: str, time: float, facts: dict[str, Any]) -> EventEntry:
    what = {"event": kind, "workflow": workflow, "time": time, **facts}
    return cast("EventEntry", what)

"""Old attempts: which rows nobody needs any more, which events are theirs, and their removal.

Events are counted by their rows here (`event_rows`): all events of one are of the same Task.

A row of an attempt is needed if it is the newest of its Step, if it is `running`, or if the record
of a key says that this Task made it. The last of these are all that `explain` names, whose results
are reused, whose logs go with such results, and that `remember` copies when its Step leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from gaia_local.model.events import EventKind
from gaia_local.model.tasks import TaskState
from gaia_local.state.connection import Connection, reads_rows
from gaia_local.state.event_rows import kinds_of
from gaia_local.workflow.origins import FOUND

SLACK_SECONDS = 1.0
"""The most by which an event is recorded out of the order of time, if clocks run as they should."""
_ALL = 1 << 62
"""More than there can be."""
_CHUNK = 500
"""The number of events that are read while nobody else may use the connection."""
_OF_TASK = '{"id": "'
"""The beginning of a Task's event: its facts begin with the Task's id."""
_HEAD = len(_OF_TASK) + 32
_MADE = (
    "exists (select 1 from json_each(tasks.definition, '$.outputs') as output "
    "join data on data.workflow = tasks.workflow and data.task = tasks.id "
    "and data.key = json_extract(output.value, '$[0]'))"
)
"""The condition for rows of `tasks` that some key's record names as its maker."""
_BEGINS = frozenset(kind.value for kind in EventKind if kind.begins)
_ENDS = frozenset(
    {
        EventKind.STEP_COMPLETE.value,
        EventKind.STEP_ERROR.value,
        EventKind.TASK_ERROR.value,
        EventKind.STEP_TERMINATED.value,
    }
)


class OldAttempt(NamedTuple):
    """An attempt that nobody needs, with the times (in seconds since the epoch) of its events."""

    id: str
    step: str
    began: float
    ended: float
    begins: bool
    """An event tells of its begin."""
    ends: bool
    """An event tells of its end."""


class RetentionRows(Connection):
    """Old attempts of all workflows. Thread-safe."""

    @reads_rows
    def attempt_counts(self, workflow: str, steps: Collection[str] | None = None) -> dict[str, int]:
        """Step → the number of its attempts, of these Steps or of all."""
        sql, values = "select step, count(*) from tasks where workflow = ?", [workflow]
        if steps is not None:
            sql += f" and step in ({', '.join('?' * len(steps))})"
            values += steps
        return dict(self._rows(f"{sql} group by step", values))

    @reads_rows
    def old_attempts(
        self, workflow: str, step: str, keep: int | None, before: float | None
    ) -> list[OldAttempt]:
        """The unneeded attempts beyond the newest `keep`, and those that ended `before` a time."""
        rows = self._rows(
            "select id, state, message, created, started, ended from tasks "
            f"where workflow = ?1 and step = ?2 and state != ?3 and not {_MADE} "
            "and rowid < (select max(rowid) from tasks where workflow = ?1 and step = ?2) "
            "and (rowid <= (select rowid from tasks where workflow = ?1 and step = ?2 "
            "order by rowid desc limit 1 offset ?4) or ifnull(ended, created) < ?5)",
            (workflow, step, TaskState.RUNNING.value, _ALL if keep is None else keep, before),
        )
        return [_old(step, row) for row in rows]

    @reads_rows
    def events_of(
        self, workflow: str, attempts: Iterable[OldAttempt]
    ) -> dict[str, dict[int, None]]:
        """Task id → the ids of its events, and of those of the workflow that follow them.

        An event of the workflow goes with the Task's event before it, unless it is among the last.
        Looks only at events of the time of these attempts, if that finds their begins and ends.
        """
        wanted = {attempt.id: attempt for attempt in attempts}
        search = _Search(wanted)
        for since, until in _merged(wanted.values()):
            self._scan(workflow, self._last_before(workflow, since), until, search)
        if search.lacking:  # the clock was set, say
            search = _Search(wanted)
            self._scan(workflow, 0, None, search)
        return search.found

    def drop_attempts(self, attempts: Collection[str], events: Iterable[int]) -> None:
        """Remove these rows of attempts and events, all or nothing, and what only they used."""
        with self.transaction():
            gone = [(task,) for task in attempts]
            marks = ", ".join("?" * len(gone))
            distrusted = self._rows(
                "select fingerprint from distrusted where fingerprint in "
                f"(select fingerprint from tasks where id in ({marks}))",
                (task for (task,) in gone),
            )
            self._write_many("delete from tasks where id = ?", gone)
            self._write_many("delete from events where id = ?", ((event,) for event in events))
            self._write_many(
                "delete from distrusted where fingerprint = ?1 "
                "and not exists (select 1 from tasks where fingerprint = ?1)",
                distrusted,
            )

    @reads_rows
    def is_last_failure(self, task: str) -> bool:
        """Whether a Task failed, and no later one of its Step is complete."""
        sql = (
            "select 1 from tasks as failed where id = ? and state = ? and not exists "
            "(select 1 from tasks where workflow = failed.workflow and step = failed.step "
            "and rowid > failed.rowid and state = ?)"
        )
        values = (task, TaskState.ERROR.value, TaskState.COMPLETE.value)
        return bool(self._rows(sql, values))

    @reads_rows
    def task_ids(self, workflow: str) -> set[str]:
        """The ids of all attempts."""
        rows = self._rows("select id from tasks where workflow = ?", (workflow,))
        return {identity for (identity,) in rows}

    # -- events ------------------------------------------------------------------------------------

    def _last_before(self, workflow: str, time: float) -> int:
        """An event id after which all events of the workflow are, that aren't older than a time."""
        ends: list[tuple[int | None, int | None]] = self._rows(
            "select (select min(id) from events where workflow = ?1), "
            "(select max(id) from events where workflow = ?1)",
            (workflow,),
        )
        low, high = (ends[0][0] or 0) - 1, ends[0][1] or 0
        while low < high - 1:
            middle = (low + high) // 2
            rows = self._rows(
                "select id, time from events where workflow = ? and id > ? order by id limit 1",
                (workflow, middle),
            )
            if rows and rows[0][1] < time:
                low = rows[0][0]
            else:
                high = middle
        return low

    def _scan(self, workflow: str, after: int, until: float | None, search: _Search) -> None:
        """Look at the events `after` one, up to a time or to the last."""
        search.rest()
        while rows := self._events_from(workflow, after):
            for identity, time, kind, more, facts in rows:
                over = search.look(identity, kinds_of(kind, more), facts)
                if over and until is not None and time > until:
                    return
            after = rows[-1][0]

    def _events_from(
        self, workflow: str, after: int
    ) -> list[tuple[int, float, str, str | None, str]]:
        return self._rows(
            f"select id, time, event, more, substr(facts, 1, {_HEAD}) from events "
            f"where workflow = ? and id > ? order by id limit {_CHUNK}",
            (workflow, after),
        )


def _old(step: str, row: tuple[Any, ...]) -> OldAttempt:
    identity, state, message, created, started, ended = row
    latest = created if ended is None else ended
    tells = message != FOUND  # a new Step that found its files has an attempt without events
    ends = tells and state != TaskState.INTERRUPTED.value
    began = latest if started is None else min(started, latest)
    return OldAttempt(identity, step, began, latest, tells and started is not None, ends)


def _merged(attempts: Iterable[OldAttempt]) -> list[tuple[float, float]]:
    """The times of attempts, with some seconds around them: spans that don't overlap."""
    spans: list[tuple[float, float]] = []
    for attempt in sorted(attempts, key=lambda attempt: attempt.began):
        since, until = attempt.began - SLACK_SECONDS, attempt.ended + SLACK_SECONDS
        if spans and since <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(until, spans[-1][1])
        else:
            spans.append((since, until))
    return spans


class _Search:
    """The events of some Tasks, as they are found one after the other."""

    def __init__(self, wanted: Mapping[str, OldAttempt]) -> None:
        self.found: dict[str, dict[int, None]] = {identity: {} for identity in wanted}
        self._begins = {attempt.id for attempt in wanted.values() if attempt.begins}
        self._ends = {attempt.id for attempt in wanted.values() if attempt.ends}
        self.rest()

    @property
    def lacking(self) -> bool:
        """Whether there must be more."""
        return bool(self._begins or self._ends)

    def rest(self) -> None:
        """The next event doesn't follow the one before it."""
        self._last: str | None = None
        """The Task of the last Task's event, if it is one of them."""
        self._following: list[int] = []
        """The events of the workflow since then."""

    def look(self, identity: int, kinds: list[str], facts: str) -> bool:
        """Take the events of a row; True for those of a Task that isn't wanted."""
        if not facts.startswith(_OF_TASK):
            if self._last is not None:
                self._following.append(identity)
            return False
        if self._last is not None:
            self.found[self._last].update(dict.fromkeys(self._following))
        self._following, self._last = [], facts[len(_OF_TASK) :]
        if self._last not in self.found:
            self._last = None
            return True
        self.found[self._last][identity] = None
        if not _BEGINS.isdisjoint(kinds):
            self._begins.discard(self._last)
        if not _ENDS.isdisjoint(kinds):
            self._ends.discard(self._last)
        return False

"""Figures of attempts that the state file can tell without reading each of them."""

from __future__ import annotations

from gaia_local.model.events import EventKind
from gaia_local.model.tasks import TaskState
from gaia_local.state.connection import Connection, reads_rows
from gaia_local.workflow.origins import FOUND
from gaia_local.workflow.states import AttemptFigures

_BEGINS = ", ".join(f"'{kind.value}'" for kind in EventKind if kind.begins)
_HEAD = len('{"id": "') + 32
"""The length of the beginning of a Task's event: its facts begin with the Task's id."""


class AttemptRows(Connection):
    """Numbers, durations and workers of attempts."""

    @reads_rows
    def attempt_figures(self, workflow: str) -> dict[str, AttemptFigures]:
        """Step → the figures of its attempts, of Steps with more than one row.

        Attempts that only found files don't count. The index alone tells which Steps these are.
        """
        several = "select step from tasks where workflow = ?1 group by step having count(*) > 1"
        rows = self._rows(
            "select step, count(*), max(case when state = ?2 then rowid end) from tasks "
            f"where workflow = ?1 and step in ({several}) and message is not ?3 group by step",
            (workflow, TaskState.COMPLETE.value, FOUND),
        )
        durations = dict(
            self._rows(
                "select rowid, ended - started from tasks where rowid in "
                "(select max(rowid) from tasks where workflow = ?1 and state = ?2 "
                f"and step in ({several}) group by step)",
                (workflow, TaskState.COMPLETE.value),
            )
        )
        return {
            step: AttemptFigures(number, durations.get(complete)) for step, number, complete in rows
        }

    @reads_rows
    def workers(self, workflow: str, step: str) -> dict[str, int]:
        """Task id → the number of the worker that ran it, of the attempts at a Step."""
        rows = self._rows(
            "select json_extract(facts, '$.id'), json_extract(facts, '$.worker') from events "
            f"where workflow = ?1 and event in ({_BEGINS}) and substr(facts, 1, {_HEAD}) in "
            """(select '{"id": "' || id from tasks where workflow = ?1 and step = ?2)""",
            (workflow, step),
        )
        return {task: worker for task, worker in rows if worker is not None}

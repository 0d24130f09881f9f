"""The results of complete Tasks, as the rows of Tasks and keys tell them.

A Task that may be reused has a fingerprint. When it is expired, its fingerprint is *distrusted* up
to that moment: no Task that began before is found by it any more, in whatever workflow it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from gaia_local.model.tasks import Task
from gaia_local.state.connection import Connection, reads_rows
from gaia_local.state.rows import read_attempt, read_key_state
from gaia_local.workflow.states import Attempt, KeyKind, KeyState

_LATEST = "select max(rowid) from tasks where state = 'complete' and "
_TRUSTED = (
    "fingerprint is not null and rowid > ifnull("
    "(select until from distrusted where distrusted.fingerprint = tasks.fingerprint), 0)"
)


class ResultRows(Connection):
    """Results, found by the fingerprints of Tasks."""

    def index_fingerprints(self) -> None:
        """Have Tasks found by their fingerprints without a look at all of them.

        NOTE: the index costs each Step another page of the disk. So a root that never reuses
        anything has none.
        """
        with self.transaction():
            self._write("create index if not exists by_fingerprint on tasks (fingerprint)", ())

    def distrust(self, tasks: Iterable[str], before: str | None) -> None:
        """Distrust the fingerprints of these Tasks (ids) up to the Task `before`, or up to now."""
        rows = (
            self._rows("select max(rowid) from tasks")
            if before is None
            else self._rows("select rowid - 1 from tasks where id = ?", (before,))
        )
        self._write_many(
            "insert or replace into distrusted select fingerprint, ? from tasks "
            "where id = ? and fingerprint is not null",
            ((rows[0][0], task) for task in tasks),
        )

    def forget_distrust(self) -> None:
        """Remove the distrust of fingerprints that no Task has."""
        if self._rows("select 1 from distrusted limit 1"):
            self._write(
                "delete from distrusted where fingerprint not in "
                "(select fingerprint from tasks where fingerprint is not null)",
                (),
            )

    @reads_rows
    def with_fingerprint(self, fingerprint: str) -> list[Attempt]:
        """The last complete Task with a fingerprint of each Step that has any, newest first."""
        return self._map_rows(
            read_attempt,
            f"select * from tasks where rowid in ({_LATEST} {_TRUSTED} and fingerprint = ? "
            "group by workflow, step) order by rowid desc",
            (fingerprint,),
        )

    @reads_rows
    def fingerprinted(self, workflow: str) -> list[tuple[str, Attempt]]:
        """The last complete Task of each Step that has a fingerprint, with that."""
        return self._map_rows(
            lambda row: (row[0], read_attempt(row[1:])),
            f"select fingerprint, tasks.* from tasks where {_TRUSTED} and rowid in "
            f"({_LATEST} workflow = ? group by step)",
            (workflow,),
        )

    @reads_rows
    def results(self, task: Task) -> dict[str, KeyState]:
        """The states of the keys that a Task made, of those whose files are still as it made them.

        Files that changed since, and nobody looked at, are among them.
        """
        marks = ", ".join("?" * len(task.outputs))
        rows = self._rows(
            "select key, state, quick, digest, task, why from data "
            f"where workflow = ? and key in ({marks}) and task = ? and state = ?",
            (task.workflow, *(key for key, _ in task.outputs), task.id, KeyKind.THERE.value),
        )
        return {key: read_key_state(*known) for key, *known in rows}

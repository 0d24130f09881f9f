"""What is known to be on the disk: the epochs of recorded keys, flush points, and the last boot."""

from __future__ import annotations

from pathlib import Path

from gaia_local.errors import DatabaseError
from gaia_local.state.connection import Connection, reads_rows


class FlushRows(Connection):
    """The flush points of a root; `engine.flushing` says what they promise."""

    def __init__(self, path: Path, readonly: bool = False) -> None:
        """Open the file; created or migrated unless `readonly`. Raises `DatabaseError`."""
        super().__init__(path, readonly)
        self._epoch = 0
        """The number with which keys are recorded: see `next_epoch`."""
        if not readonly:
            try:
                epochs = self._rows(
                    "select epoch from flushed union all select max(epoch) from data"
                )
            except DatabaseError:
                self._connection.close()
                raise
            self._epoch = 1 + max(epoch or 0 for (epoch,) in epochs)

    def next_epoch(self) -> int:
        """Keys are recorded with a new epoch from here on. Answers the one that is over."""
        with self._lock:
            self._epoch += 1
            return self._epoch - 1

    @reads_rows
    def unflushed(self, workflow: str | None = None) -> list[tuple[str, str]]:
        """Workflow and key of all stored data that was recorded since the last flush point."""
        sql = (
            "select workflow, key from data "
            "where epoch > (select epoch from flushed) and quick is not null"
        )
        if workflow is not None:
            return self._rows(f"{sql} and workflow = ?", (workflow,))
        return self._rows(sql)

    def set_flushed(self, epoch: int) -> None:
        """A flush point: all records of this epoch and before are on the disk."""
        self._write("update flushed set epoch = ?", (epoch,))

    @reads_rows
    def boot(self) -> str:
        """The id of the machine's boot under the last engine; empty after an orderly end."""
        rows = self._rows("select boot from flushed")
        return str(rows[0][0]) if rows else ""

    def set_boot(self, boot: str) -> None:
        """As `boot` answers it."""
        self._write("update flushed set boot = ?", (boot,))

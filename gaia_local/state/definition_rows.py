"""The rows of Commands and Steps, as they were given, and of the Steps that don't fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

from gaia_local.state.connection import Connection, reads_rows
from gaia_local.workflow.fitness import Unfit

Defined: TypeAlias = Literal["commands", "steps"]
T = TypeVar("T")


class DefinitionRows(Connection):
    """The definitions of all workflows. Thread-safe."""

    @reads_rows
    def definitions(self, table: Defined, workflow: str, read: Callable[[Any, str], T]) -> list[T]:
        """The `commands` or `steps` of a workflow in order; `read` takes each and its JSON."""
        sql = f"select definition from {table} where workflow = ? order by rowid"
        return self._map_rows(lambda row: read(json.loads(row[0]), row[0]), sql, (workflow,))

    def define(self, table: Defined, workflow: str, definitions: Iterable[tuple[str, str]]) -> None:
        """Add or replace `commands` or `steps`, by name and JSON; replaced ones stay in place."""
        self._write_many(
            f"insert into {table} values (?, ?, ?) "
            "on conflict (workflow, name) do update set definition = excluded.definition",
            ((workflow, name, text) for name, text in definitions),
        )

    @reads_rows
    def unfit(self, workflow: str) -> dict[str, Unfit]:
        """The submitted Steps that don't fit their Commands."""
        rows = self._rows(
            "select name, problem, commands from unfit where workflow = ? order by rowid",
            (workflow,),
        )
        return {name: Unfit.from_json(workflow, problem, text) for name, problem, text in rows}

    def set_unfit(self, workflow: str, unfit: Mapping[str, Unfit | None]) -> None:
        """Record the Steps that don't fit, and forget those that fit again (None)."""
        fitting = ((workflow, name) for name, why in unfit.items() if why is None)
        self._write_many("delete from unfit where workflow = ? and name = ?", fitting)
        self._write_many(
            "insert into unfit values (?, ?, ?, ?) on conflict (workflow, name) "
            "do update set problem = excluded.problem, commands = excluded.commands",
            (
                (workflow, name, why.problem, why.to_json())
                for name, why in unfit.items()
                if why is not None
            ),
        )

    def remove_definitions(
        self, workflow: str, steps: Collection[str], commands: Collection[str]
    ) -> None:
        """Remove Steps and Commands, by name."""
        for table, gone in (("steps", steps), ("unfit", steps), ("commands", commands)):
            self._write_many(
                f"delete from {table} where workflow = ? and name = ?",
                ((workflow, name) for name in gone),
            )

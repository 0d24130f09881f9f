"""Keeps the private directories of failed attempts, for people who want to look at them.

Invariants:
- A directory is kept only if the row says that its Task failed, and no later one of its Step
  succeeded. It is moved after the row was written, and the rows are looked at after it was moved;
  a success is written before directories are freed. So whichever is later finds the other.
- Of each Step the newest `most` are kept, and of all at most `most_bytes`: the oldest go first. The
  one that doesn't fit alone isn't kept.
- What goes is moved aside by one rename first. After a kill, `recover` removes what nobody needs:
  the rows tell.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from pathlib import Path

from gaia_local.errors import GaiaError
from gaia_local.model.tasks import Task
from gaia_local.state.database import Database
from gaia_local.store import kept_failures
from gaia_local.store.kept_failures import KeptFailure
from gaia_local.store.sizes import readable_size

logger = logging.getLogger("gaia_local")


class Failures:
    """The kept directories of one root. Thread-safe."""

    def __init__(self, root: Path, database: Database, most: int, most_bytes: int) -> None:
        self._root, self._database = root, database
        self._most, self._most_bytes = most, most_bytes
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], dict[str, KeptFailure]] = {}
        """Workflow and Step → Task → its directory, the oldest first."""
        self._bytes = 0
        for kept in kept_failures.kept_failures(root):
            self._add(kept)

    def keep(self, task: Task, directory: str) -> None:
        """Keep the private directory of a Task whose failure was recorded, if it is wanted."""
        try:
            size = sum(readable_size(f"{directory}/{part}") for part in ("tree", "work"))
            if size > self._most_bytes or not self._database.is_last_failure(task.id):
                return
            path = kept_failures.place(self._root, task.id)
            kept = KeptFailure(path, task.workflow, task.name, task.id, size, time.time())
            kept_failures.keep(self._root, directory, kept)
        except (OSError, GaiaError) as error:
            message = "workflow %r, Step %r: its private directory can't be kept: %s"
            logger.warning(message, task.workflow, task.name, error)
            return
        with self._lock:
            self._add(kept)
        if not self._database.is_last_failure(task.id):
            self.free_tasks({task.id})
        self._free_surplus(task)

    def free(self, workflow: str, step: str) -> None:
        """Remove those of a Step."""
        if (workflow, step) in self._kept:
            self._free({(workflow, step)})

    def free_absent(self, workflow: str, steps: Collection[str] = ()) -> None:
        """Remove those of a workflow's Steps that aren't among these."""
        with self._lock:
            absent = {of for of in self._kept if of[0] == workflow and of[1] not in steps}
        self._free(absent)

    def free_tasks(self, tasks: Collection[str]) -> None:
        """Remove those of these Tasks."""
        if self._kept:
            self._free(set(self._kept), tasks)

    def _add(self, kept: KeptFailure) -> None:
        self._kept.setdefault((kept.workflow, kept.step), {})[kept.task] = kept
        self._bytes += kept.bytes

    def _free_surplus(self, latest: Task) -> None:
        with self._lock:
            surplus = set([*self._kept.get((latest.workflow, latest.name), ())][: -self._most])
            size = self._bytes
            if size > self._most_bytes:
                every = [kept for tasks in self._kept.values() for kept in tasks.values()]
                size -= sum(kept.bytes for kept in every if kept.task in surplus)
                for kept in sorted(every, key=lambda kept: kept.time):
                    if size > self._most_bytes and kept.task not in surplus:
                        surplus.add(kept.task)
                        size -= kept.bytes
        if surplus:
            self.free_tasks(surplus)

    def _free(
        self, steps: Collection[tuple[str, str]], only: Collection[str] | None = None
    ) -> None:
        """Remove those of these Steps, or of these Tasks of them."""
        gone = []
        with self._lock:
            for of in steps:
                tasks = self._kept.get(of, {})
                for task in [task for task in tasks if only is None or task in only]:
                    gone.append(tasks.pop(task))
                    self._bytes -= gone[-1].bytes
                if not tasks:
                    self._kept.pop(of, None)
        for kept in gone:
            kept_failures.free(self._root, kept)

"""Drops old attempts, with their events and logs, so that neither rows nor logs grow without end.

Invariants:
- Nothing goes that anybody needs: not a Step's latest attempt, none that runs or whose program
  still ends (`alive`), and none that made a file in the store (see `retention_rows`). What isn't
  needed once is never needed again: no record of a key names an earlier attempt than before, and
  only a latest attempt is resumed. So nothing need be locked while the events are looked for.
- The row and the events of an attempt go in one transaction, some attempts at a time. Its log goes
  after that, when the transaction is on the disk: what a crash or a power cut brings back has its
  log, and a log that is left without a row goes at the next start. So where a row is, a missing log
  means that nothing was printed.
- Steps wait for none of this. The number of attempts is counted as they are written; a background
  thread looks once for what rows there were before. It drops when a Step has twice as many attempts
  as it keeps, and then of all Steps of the workflow that have more: so each attempt is looked at
  once, and each event a few times.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from gaia_local.engine.failures import Failures
from gaia_local.engine.registry import Registry
from gaia_local.errors import GaiaError
from gaia_local.state.database import Database
from gaia_local.state.retention_rows import OldAttempt
from gaia_local.store.attempt_logs import AttemptLogs
from gaia_local.store.storage import Storage

if TYPE_CHECKING:
    from gaia_local.model.answer_types import DropAnswer

logger = logging.getLogger("gaia_local")

FULL = 2
"""A Step that has so many times the attempts that it keeps loses the surplus."""
AT_ONCE = 20_000
"""The most attempts whose events are looked for together."""
IN_ONE = 100
"""The most attempts that are removed in one transaction."""
FEW_LISTINGS = 200
"""So many new listings of directories, and as many as there are, are written between two looks."""
FEW = 100
"""The most Steps whose attempts are counted by their names."""


class Retention:
    """The old attempts of one root. Thread-safe."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        registry: Registry,
        *,
        alive: Mapping[str, Collection[str]],
        failures: Failures,
        keep: int | None,
    ) -> None:
        """Of each Step `keep` attempts stay (None: all); `alive` is guarded by the lock."""
        self._database, self._registry = database, registry
        self._logs = AttemptLogs(storage)
        self._alive, self._failures, self._keep = alive, failures, keep
        self._dropping = threading.Lock()
        self._counts: dict[str, dict[str, int]] = {}
        """Workflow → Step that began here → its attempts; after a drop, those since and `keep`."""
        self._listings = 0
        """The number of listings that were left at the last look."""

    def drop_due(self) -> None:
        """Drop the surplus of workflows with a Step that has too many; errors are logged."""
        with self._dropping:
            with self._registry.lock:
                journal = self._registry.journal
                begun, journal.begun = journal.begun, {}
            if self._keep is None:
                return
            try:
                for name, steps in begun.items():
                    self._drop_surplus(name, steps, self._keep)
                if journal.listings >= max(FEW_LISTINGS, self._listings):
                    journal.listings = 0
                    self._listings = self._database.forget_listings()
            except (GaiaError, OSError) as error:
                logger.error("old attempts can't be dropped: %s", error)

    def drop(self, keep: int | None, before: float | None) -> DropAnswer:
        """Drop all attempts beyond the newest `keep` of each Step, and all that ended `before`."""
        with self._dropping:
            dropped, size = list[OldAttempt](), 0
            steps = 0
            for name in self._database.workflows():
                counts = self._database.attempt_counts(name)
                several = [step for step, count in counts.items() if count > 1]
                gone, freed = self._drop(name, several, keep, before)
                dropped, size = dropped + gone, size + freed
                steps += len({attempt.step for attempt in gone})
            return {"attempts": len(dropped), "steps": steps, "bytes": size}

    def _drop_surplus(self, name: str, begun: Mapping[str, int], keep: int) -> None:
        counts = self._counts.setdefault(name, {})
        unknown = [step for step in begun if step not in counts]
        for step in begun.keys() & counts.keys():
            counts[step] += begun[step]
        if unknown:
            few = unknown if len(unknown) <= FEW else None
            found = self._database.attempt_counts(name, few)
            counts.update({step: found.get(step, 0) for step in unknown})
        if any(counts[step] >= FULL * keep for step in begun):
            surplus = [step for step, count in counts.items() if count > keep]
            self._drop(name, surplus, keep, None)
            counts.update(dict.fromkeys(surplus, keep))

    def _drop(
        self, name: str, steps: Iterable[str], keep: int | None, before: float | None
    ) -> tuple[list[OldAttempt], int]:
        """Drop attempts of these Steps; answers them, and the size of their logs in bytes."""
        found = [
            attempt
            for step in steps
            for attempt in self._database.old_attempts(name, step, keep, before)
        ]
        with self._registry.lock:
            alive = self._alive.get(name, ())
            found = [attempt for attempt in found if attempt.id not in alive]
        found.sort(key=lambda attempt: attempt.ended)
        size = 0
        for start in range(0, len(found), AT_ONCE):
            part = found[start : start + AT_ONCE]
            events = self._database.events_of(name, part)
            self._logs.begin()
            for first in range(0, len(part), IN_ONE):
                tasks = [attempt.id for attempt in part[first : first + IN_ONE]]
                self._database.drop_attempts(
                    tasks, [event for task in tasks for event in events[task]]
                )
            self._database.sync()
            size += self._logs.remove(name, [attempt.id for attempt in part])
            self._failures.free_tasks({attempt.id for attempt in part})
            self._logs.end()
        return found, size

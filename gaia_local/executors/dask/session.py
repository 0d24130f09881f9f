"""One engine's Tasks in a worker's process of a Dask cluster.

A *session* is one engine's connection to the cluster: its Tasks share a storage, a runtime, a clock
and a private directory, from the first of them until the engine leaves, or another engine of the
same root takes its place.

Invariants:
- A Task runs only under a lease that this worker took up (`leases`), and not after that was taken
  back: a worker looks at its leases every `LEASE_CHECK_SECONDS`, since it may be cut off from the
  engine, and ends Tasks without one.
- Private directories are locked for as long as the process lives. Leftovers of a dead one are ended
  and removed by the next worker of the same machine that starts a session or is asked to
  (`clean_up_dead_workers`).
- Reports of a Task come to the engine in order, the `Outcome` last, and before Dask reports the
  Task's end, over the same connection. Outputs in the lease are named by paths relative to the root
  and the buckets.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path

from gaia_local.errors import error_text
from gaia_local.executors.clock import Clock
from gaia_local.executors.dask.gpus import LockedGpus
from gaia_local.executors.dask.private_directories import make_private_directory, remove_directory
from gaia_local.executors.dask.reporting import Host, TaskReporter, TaskRun
from gaia_local.executors.dask.settings import SessionSettings
from gaia_local.executors.machine import visible_gpus
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.tasks import BY_REQUEST, TaskState
from gaia_local.runtimes.contract import Cancellation
from gaia_local.store.leases import NotLeased, TakenUp, is_held, take_up

LEASE_CHECK_SECONDS = 2.0
"""Between two checks of the leases of running Tasks."""
EVENT_BATCH_SECONDS = 0.1
"""The longest wait of an event for others: a short Task is reported in one message."""

logger = logging.getLogger("gaia_local")


class Session:
    """One engine's Tasks in this process."""

    def __init__(self, settings: SessionSettings, base: Path) -> None:
        self.settings = settings
        self._clock = Clock()
        self._changed = threading.Condition()
        self._runs: dict[str, TaskRun] = {}
        self._workers: set[Host] = set()
        self._reporters: set[TaskReporter] = set()
        """Reporters with events that are still to be sent."""
        self._checking_leases = self._kills_now = False
        self._gpus = LockedGpus(base / "gpus", visible_gpus())
        self._directory, self._ownership = make_private_directory(base)
        try:
            self.task_runner = settings.task_runner(self._directory)
        except BaseException:
            self._remove_directory()
            raise

    def perform(self, worker: Host, lease: str, assignment: Assignment) -> None:
        """Perform the Task under the lease, its id while it runs here, and report to the engine."""
        task = assignment.task
        cancellation = Cancellation(self._clock.call_later, self.settings.docker.stop_grace)
        with self._changed:
            self._workers.add(worker)
            taken = {run.slot for run in self._runs.values() if run.worker is worker}
            slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
            run = self._runs[lease] = TaskRun(lease, cancellation, worker, slot)
            if not self._checking_leases:
                self._checking_leases = True
                self._clock.call_later(LEASE_CHECK_SECONDS, self._check_leases)
        reporter = TaskReporter(run, self.settings.topic, self.task_runner.tops, self._flush_soon)
        try:
            take_up(self.task_runner.tops[0], lease)
            leased = replace(assignment, task=task._replace(id=lease))
            with self._gpus.taken(
                task.resources.gpus, stop=lambda: cancellation.reason is not None
            ) as gpus:
                self.task_runner.perform(replace(leased, gpus=gpus), cancellation, reporter)
            if reporter.failed and not is_held(self.task_runner.tops[0], lease):
                logger.warning(
                    "Task %s was taken back, or given to another worker: its result is refused",
                    lease,
                )
        except NotLeased as refusal:
            reporter.send_last(not_leased=error_text(refusal), taken=isinstance(refusal, TakenUp))
        except Exception as error:  # a defect here, or of the disk: the engine must know
            logger.exception("workflow %r, Step %r: the engine failed", task.workflow, task.name)
            message = f"the engine failed: {error_text(error)}"
            reporter.ended(
                task, Outcome(TaskState.EXCEPTION, message=message, exception=type(error).__name__)
            )
        finally:
            reporter.ended(task, Outcome(TaskState.CANCELLED))
            with self._changed:
                del self._runs[lease]
                self._changed.notify_all()

    def cancel(self, leases: list[str]) -> list[str]:
        """Cancel Tasks, and return those of them that run here."""
        with self._changed:
            runs = {lease: self._runs[lease] for lease in leases if lease in self._runs}
        for run in runs.values():
            self._cancel(run)
        return list(runs)

    def kill_now(self) -> None:
        """Kill cancelled Tasks at once, from now on."""
        self._kills_now = True
        with self._changed:
            runs = list(self._runs.values())
        for run in runs:
            run.cancellation.kill_now()

    def abandon(self, worker: Host | None = None) -> None:
        """End the Tasks (of one worker in this process), without reports."""
        with self._changed:
            runs = [run for run in self._runs.values() if worker in (None, run.worker)]
        for run in runs:
            run.lost = True
            self._cancel(run)

    def forget(self, worker: Host) -> bool:
        """Note that a worker of this process closes; return whether it was the session's last."""
        with self._changed:
            self._workers.discard(worker)
            return not self._workers

    def close(self) -> None:
        """End all Tasks, wait for them, and leave nothing behind."""
        self.abandon()
        with self._changed:
            self._changed.wait_for(lambda: not self._runs)
        self.task_runner.close()
        self._clock.close()
        self._remove_directory()

    def _remove_directory(self) -> None:
        remove_directory(self._directory)
        self._ownership.release()

    def _cancel(self, run: TaskRun) -> None:
        run.cancellation.cancel(BY_REQUEST)
        if self._kills_now:
            run.cancellation.kill_now()

    def _flush_soon(self, reporter: TaskReporter) -> None:
        with self._changed:
            if not self._reporters:  # one call for all: every call wakes the clock
                self._clock.call_later(EVENT_BATCH_SECONDS, self._flush)
            self._reporters.add(reporter)

    def _flush(self) -> None:
        with self._changed:
            reporters, self._reporters = self._reporters, set()
        for reporter in reporters:
            reporter.flush()

    def _check_leases(self) -> None:
        """End Tasks whose leases were revoked."""
        with self._changed:
            runs = dict(self._runs)
            self._checking_leases = bool(runs)
        for lease, run in runs.items():
            if not is_held(self.task_runner.tops[0], lease):
                self._cancel(run)
        if runs:
            self._clock.call_later(LEASE_CHECK_SECONDS, self._check_leases)

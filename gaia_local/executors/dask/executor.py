"""Runs Tasks on the workers of a Dask cluster; keeps the promises of `executors.contract`.

The engine decides, publishes and writes down; workers stage, run and prepare (`session`). One
thread changes everything: others put calls into its `mailbox`. It submits a Task under a lease
(`leases`), receives reports under that lease's name, and submits it again, under another lease,
when its worker is lost.

Invariants:
- A Task is in one place: it waits in the queue, is leased under exactly one lease, or waits for
  its lost worker's leftovers to be ended. Reports under any other lease are ignored.
- The lease is revoked before the Task is submitted again or its `Outcome` says `CANCELLED`; it
  ends after the observer has published its outputs.
- Dask may run a Task a second time, if it thinks that a worker died. A lease can be taken up only
  once: the second run merely reports that the first is lost.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gaia_local.config import Config
from gaia_local.errors import Closed, RuntimeFailure, StorageError, error_text
from gaia_local.executors.clock import Clock
from gaia_local.executors.contract import Observer
from gaia_local.executors.dask.cluster import Cluster
from gaia_local.executors.dask.connection import ClusterListener, Connection
from gaia_local.executors.dask.mailbox import Mailbox
from gaia_local.executors.dask.members import resource_restrictions
from gaia_local.executors.dask.relay import ObserverRelay
from gaia_local.executors.dask.runtime import ClusterRuntime
from gaia_local.executors.dask.settings import settings_for
from gaia_local.executors.dask.submissions import Submission, SubmissionQueue, priority
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import Event, EventKind
from gaia_local.model.resources import Resources
from gaia_local.model.tasks import BY_REQUEST, TaskState
from gaia_local.runtimes.choice import make_runtime
from gaia_local.runtimes.contract import Root
from gaia_local.store.leases import Leases
from gaia_local.store.storage import Storage

_MOST_LEASED, _FEW_LEASED = 8, 5
"""Leased Tasks for each thread of the cluster: filled up to the first number as soon as they are no
more than the second one.
"""

if TYPE_CHECKING:
    from gaia_local.model.answer_types import LiveUsage

logger = logging.getLogger("gaia_local")


def make_executor(
    config: Config, storage: Storage, root: Root
) -> tuple[ClusterRuntime, DaskExecutor]:
    """The engine's runtime and executor, on one cluster. Nothing is connected yet."""
    cluster = Cluster(config.dask, settings_for(config, root))
    workers = config.workers if "workers" in config.given else None
    runtime = ClusterRuntime(
        cluster,
        lambda: make_runtime(config.runtime, config.docker, root, environment_counts=False),
    )
    return runtime, DaskExecutor(cluster, storage, workers, config.dask.retries)


class DaskExecutor(ClusterListener):
    """Submits Tasks to a cluster, as the `FairQueue` has them: at most `workers` at a time.

    With None, as many run as the cluster has threads, and some more are on their way to it.
    """

    def __init__(
        self, cluster: Cluster, storage: Storage, workers: int | None, retries: int
    ) -> None:
        self._cluster, self._workers, self._retries = cluster, workers, retries
        self._leases, self._relay = Leases(storage), ObserverRelay(storage)
        self._clock, self._background_clock = Clock(), Clock("background")
        self._lock = threading.Lock()
        self._closed = False
        self._mailbox = Mailbox(
            "gaia-local-dask",
            act=self._act,
            check=self._check_finished,
            is_busy=lambda: bool(self._submissions),
            is_done=lambda: self._closing and not self._submissions,
        )
        # The attributes below belong to the mailbox's thread.
        self._submissions: dict[str, Submission] = {}
        self._leased: dict[str, Submission] = {}
        """By the names of their leases."""
        self._queue = SubmissionQueue()
        self._cancelled_early: set[str] = set()
        self._leases_to_cancel: list[str] = []
        self._finished_unreported: set[str] = set()
        """Leases of Tasks that Dask had finished at the last check."""
        self._closing = self._kills_now = False
        cluster.listener = self

    # -- from any thread ---------------------------------------------------------------------------

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        """Queue the Task. Raises `Closed` on a closed executor."""
        with self._lock:
            if self._closed:
                raise Closed("the executor is closed")
            self._mailbox.start()
            self._mailbox.put(lambda: self._accept(Submission(assignment, observer)))

    def cancel(self, task_id: str) -> None:
        """Stop a running Task; keep one from starting that is queued, or is yet to be submitted."""
        self._mailbox.put(lambda: self._cancel(task_id))

    def kill_now(self) -> None:
        """Kill cancelled Tasks at once, from now on."""
        self._mailbox.put(self._kill_now)

    def call_later(self, seconds: float, function: Callable[[], None]) -> object:
        """Have `function` called in that many seconds."""
        return self._clock.call_later(seconds, function)

    def call_later_in_background(self, seconds: float, function: Callable[[], None]) -> None:
        """As `call_later`, in a thread of its own."""
        self._background_clock.call_later(seconds, function)

    def close(self) -> None:
        """Cancel all Tasks; return when none runs and no thread of this executor lives."""
        with self._lock:
            self._closed = True
        self._mailbox.put(self._close)
        self._mailbox.join()
        self._clock.close()
        self._background_clock.close()

    # -- from the connection's threads -------------------------------------------------------------

    def message_received(self, message: Mapping[str, Any]) -> None:
        self._mailbox.put(lambda: self._handle_message(message))

    def worker_left(self, address: str) -> None:
        self._mailbox.put(lambda: self._lose_worker(address))

    def workers_changed(self) -> None:
        self._mailbox.put(lambda: None)

    # -- in the mailbox's thread -------------------------------------------------------------------

    def _act(self) -> None:
        """Pass on cancellations, and submit as many Tasks as there is room for."""
        connection = self._cluster.connection
        if connection is None:
            if self._submissions:
                self._disconnect()
            return
        if self._leases_to_cancel:
            leases, self._leases_to_cancel = self._leases_to_cancel, []
            connection.cancel(
                leases, lambda answers: self._mailbox.put(lambda: self._cancelled(leases, answers))
            )
            if self._kills_now:
                connection.kill_now()
        # Dask runs only as many as it has threads. If that is the only limit, the next Tasks wait
        # in the cluster already, and are submitted several at a time: a Task takes longer to reach
        # a worker than a short Step takes to run. A workflow without Tasks in the cluster doesn't
        # wait until there is room.
        threads = max(1, sum(member.threads for member in connection.members))
        most, few = (
            (self._workers, self._workers - 1)
            if self._workers
            else (_MOST_LEASED * threads, _FEW_LEASED * threads)
        )
        newcomers = self._workers is None and self._queue.has_newcomer()
        if len(self._leased) <= few or newcomers:
            self._submit_queued(connection, most - len(self._leased))

    def _accept(self, submission: Submission) -> None:
        self._submissions[submission.task.id] = submission
        if self._closing or submission.task.id in self._cancelled_early:
            self._cancelled_early.discard(submission.task.id)
            self._end(submission, Outcome(TaskState.CANCELLED))
        else:
            self._queue.put(submission)

    def _submit_queued(self, connection: Connection, most: int) -> None:
        """Submit the first of the queue, at most so many, and one of each workflow that has none.

        Those of one workflow with the same resources are submitted together.
        """
        batches: dict[tuple[str, Resources], tuple[dict[str, float], list[Submission]]] = {}
        while most > 0 or (self._workers is None and self._queue.has_newcomer()):
            submission = self._queue.take()
            if submission is None:
                break
            most -= 1
            wanted = submission.task.resources
            batch = submission.task.workflow, wanted
            name = f"{submission.task.id}.{submission.attempts + 1}"
            try:
                if batch not in batches:
                    asked = resource_restrictions(connection.members, wanted) if wanted else {}
                    batches[batch] = asked, []
                self._leases.make(name, submission.task)
            except (StorageError, RuntimeFailure) as error:
                self._end(submission, _failed(error_text(error), type(error).__name__))
                continue
            submission.attempts += 1
            submission.worker, submission.lease, submission.place = "", name, None
            self._leased[name] = submission
            batches[batch][1].append(submission)
        for (workflow, _), (asked, submissions) in batches.items():
            if submissions:
                place = self._queue.place(workflow, self._leased.values())
                for submission in submissions:
                    submission.place = place
                self._submit(connection, submissions, asked)

    def _submit(
        self, connection: Connection, submissions: list[Submission], asked: Mapping[str, float]
    ) -> None:
        try:
            leases = [submission.lease for submission in submissions]
            assignments = [pickle.dumps(submission.assignment) for submission in submissions]
            connection.submit(leases, assignments, asked, priority(submissions[0]))
        except Exception as error:  # a client that loses its scheduler may raise any error
            logger.exception(
                "Tasks could not be given to the Dask scheduler %s", self._cluster.where
            )
            failed = _failed(error_text(error), type(error).__name__)
            for submission in submissions:
                self._end(submission, failed if connection.alive else self._interrupted())

    def _cancel(self, task_id: str) -> None:
        submission = self._submissions.get(task_id)
        if submission is None:
            self._cancelled_early.add(task_id)
        elif not submission.cancelled:
            submission.cancelled = True
            if submission.lease:
                self._leases.revoke(submission.lease)
                self._leases_to_cancel.append(submission.lease)
            elif submission.cleaned_up:
                self._end(submission, Outcome(TaskState.CANCELLED))

    def _cancelled(self, leases: Collection[str], answers: Mapping[str, Any]) -> None:
        """Handle the answers to a cancellation: Tasks that run on no worker are over."""
        running: dict[str, str] = {}
        for address, answer in answers.items():
            if isinstance(answer, list):
                running |= dict.fromkeys(answer, address)
        for lease in leases:
            submission = self._leased.get(lease)
            if submission is not None and lease in running:
                submission.worker = running[lease]
            elif submission is not None:
                self._end(submission, Outcome(TaskState.CANCELLED, message=BY_REQUEST))

    def _kill_now(self) -> None:
        self._kills_now = True
        connection = self._cluster.connection
        if connection is not None:
            connection.kill_now()

    def _close(self) -> None:
        self._closing = True
        for task_id in list(self._submissions):
            self._cancel(task_id)

    # -- the way of a Task to its end --------------------------------------------------------------

    def _handle_message(self, message: Mapping[str, Any]) -> None:
        lease, worker = message["lease"], message["worker"]
        submission = self._leased.get(lease)
        if submission is None:
            logger.debug("Task %s: worker %s reported it too late", lease, worker)
            return
        # Dask lost the worker that took the lease up, and gave the Task to this one.
        if message.get("taken"):
            self._lose(submission)
            return
        submission.worker = worker
        if "refused" in message:
            self._end(submission, _failed(message["refused"]))
        elif "not_leased" in message:
            text = f"worker {worker} doesn't see the store: {message['not_leased']}"
            self._end(submission, _failed(text, "StorageError"))
        elif "doing" in message:
            self._relay.notify(
                submission.task, submission.observer.progressed, str(message["doing"])
            )
        elif "usage" in message:
            memory, cpu = message["usage"]
            usage: LiveUsage = {"memory": memory, "cpu": cpu}
            self._relay.notify(submission.task, submission.observer.sampled, usage)
        else:
            self._handle_report(submission, message)

    def _handle_report(self, submission: Submission, message: Mapping[str, Any]) -> None:
        task, slot = submission.task, (submission.worker, message["slot"])
        events, end = pickle.loads(message["happened"])
        for event in events:
            self._relay.happened(task, submission.observer, event, slot)
        if end is not None:
            outcome, leased = end
            self._end(submission, replace(outcome, outputs=self._relay.outputs(task, leased)))

    def _check_finished(self) -> None:
        """Look for Tasks that Dask has finished without a report of their ends.

        NOTE: a report comes before the end of a Task does, but may still be in the mailbox: only
        those count that were finished at the last check, too.
        """
        connection = self._cluster.connection
        finished = {} if connection is None else connection.finished()
        unreported = self._finished_unreported & finished.keys() & self._leased.keys()
        self._finished_unreported = set(finished)
        for lease in unreported:
            assert connection is not None
            submission, state = self._leased[lease], finished[lease]
            error = connection.error_of(lease) if state == "error" else ""
            if error:
                self._end(submission, _failed(f"no worker could start it: {error}"))
            elif state in ("finished", "error"):
                self._lose(submission)
            else:  # the scheduler has lost it
                self._end(submission, self._interrupted())

    def _lose_worker(self, address: str) -> None:
        lost = [submission for submission in self._leased.values() if submission.worker == address]
        for submission in lost:
            self._lose(submission)

    def _lose(self, submission: Submission) -> None:
        """The worker of a Task is lost: end its leftovers, then submit the Task to another."""
        lease, worker, task = submission.lease, submission.worker, submission.task
        logger.warning(
            "workflow %r, Step %r: worker %s died", task.workflow, task.name, worker or "unknown"
        )
        self._leases.revoke(lease)
        self._keep_log(submission)
        self._end_lease(submission)
        submission.cleaned_up = False
        connection = self._cluster.connection
        if connection is not None:
            connection.clean_up(
                lease, lambda answers: self._mailbox.put(lambda: self._retry(submission, worker))
            )

    def _retry(self, submission: Submission, worker: str) -> None:
        """A lost worker's leftovers are ended: queue the Task again, or end it."""
        submission.cleaned_up = True
        if submission.over:
            return
        if submission.cancelled:
            self._end(submission, Outcome(TaskState.CANCELLED))
        elif submission.attempts > self._retries:
            text = f"its worker died, {submission.attempts} times "
            text += f"(the last was {worker or 'unknown'}; dask.retries is {self._retries})"
            self._end(submission, _failed(text))
        else:
            task = submission.task
            facts = {
                "id": task.id,
                "task": task.name,
                "host": worker,
                "attempt": submission.attempts,
            }
            lost = Event(EventKind.WORKER_LOST, task.workflow, time.time(), facts)
            self._relay.notify(task, submission.observer.happened, lost)
            self._queue.put(submission)

    def _disconnect(self) -> None:
        """The connection is lost: no report can come any more."""
        for submission in list(self._submissions.values()):
            self._end(submission, self._interrupted())
        self._cluster.disconnect()

    def _interrupted(self) -> Outcome:
        return Outcome(
            TaskState.INTERRUPTED, message=f"the Dask scheduler {self._cluster.where} went away"
        )

    def _end_lease(self, submission: Submission) -> None:
        lease, submission.lease = submission.lease, ""
        del self._leased[lease]
        self._queue.forget(submission)
        connection = self._cluster.connection
        if connection is not None:
            connection.forget(lease)
        self._leases.end(lease)

    def _end(self, submission: Submission, outcome: Outcome) -> None:
        task = submission.task
        submission.over = True
        del self._submissions[task.id]
        if not submission.lease:
            self._queue.forget(submission)
        if submission.cancelled and outcome.state is not TaskState.CANCELLED:
            outcome = Outcome(TaskState.CANCELLED)
        if submission.lease:
            if outcome.state is TaskState.INTERRUPTED:
                self._leases.revoke(submission.lease)
            self._keep_log(submission)  # before the end is reported: then the log can be read
        self._relay.notify(task, submission.observer.ended, outcome)
        if submission.lease:
            self._end_lease(submission)

    def _keep_log(self, submission: Submission) -> None:
        task = submission.task
        try:
            self._leases.keep_log(submission.lease, task)
        except StorageError as error:
            logger.warning("workflow %r, Step %r: %s", task.workflow, task.name, error)


def _failed(message: str, exception: str = "RuntimeFailure") -> Outcome:
    return Outcome(TaskState.EXCEPTION, message=message, exception=exception)

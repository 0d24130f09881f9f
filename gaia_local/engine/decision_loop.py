"""The decision loop: calls, ends of Tasks and changed files are decided, written and acted upon.

Each time in this order: inspect files (without the lock), then under the lock decide and commit,
then act without it: notify, cancel, discard, start, and make the inspections that the decision asks
for, which lead to the next one. A call is one decision and one transaction: it is refused before
anything is written.

Invariants:
- The store is written only under the lock, and only for a Task that counts at that moment
  (`Workflow.running`). So the outputs of a cancelled Task are never stored, however late they come.
- A Task is *alive* from its submission to its `Outcome`, also if it doesn't count. Quiet means:
  none alive, and the state isn't `running`.
- No Step starts before its start is written. A call whose change can't be written changes nothing.
  Other changes that can't be written (a Task ended, a file changed), and calls that can't be taken
  back since rows can't be read either, are kept in memory and written with the next change; until
  then the workflow is in *trouble* (`Workflow.trouble`): its Tasks go on, none starts, and `run`
  tries again.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from gaia_local.engine.failures import Failures
from gaia_local.engine.flushing import flush_point
from gaia_local.engine.live_usages import LiveUsages
from gaia_local.engine.looks import Looks
from gaia_local.engine.prepared_calls import PreparedCall
from gaia_local.engine.publishing import publish
from gaia_local.engine.recovery import discard
from gaia_local.engine.registry import Registry
from gaia_local.engine.retention import Retention
from gaia_local.engine.subscribers import Subscribers
from gaia_local.errors import (
    Closed,
    DatabaseError,
    EngineUnavailable,
    GaiaError,
    InvalidInput,
    StorageError,
    error_text,
)
from gaia_local.executors.contract import Executor
from gaia_local.model.assignment import Outcome
from gaia_local.model.events import Event
from gaia_local.model.tasks import Task, TaskState
from gaia_local.model.workflows import WorkflowState
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.contract import Runtime
from gaia_local.state.database import Database
from gaia_local.store.storage import Storage
from gaia_local.workflow.decision import Changes, Decision, Inspection, Observation
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import LiveUsage

logger = logging.getLogger("gaia_local")

WRITE_DELAY_SECONDS = 0.5
"""After the start of a Task until it is written; that of a short one is written with its end."""
FLUSH_DELAY_SECONDS = 0.5
"""After a record until it is flushed to the disk."""


class DecisionLoop:
    """The way of all that happens in one root's workflows. Thread-safe. Implements `Observer`."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        runtime: Runtime,
        executor: Executor,
        *,
        failures: Failures,
        keep_attempts: int | None,
        flush_each_step: bool = False,
    ) -> None:
        self._database, self._storage, self._failures = database, storage, failures
        self._runtime, self._executor = runtime, executor
        self.looks = Looks(database, storage, self.notify)
        self.registry = Registry(storage.root, database, self.looks)
        self.lock, self.workflows = self.registry.lock, self.registry.workflows
        self.changed = threading.Condition(self.lock)
        """Notified when a workflow may have become quiet."""
        self.journal = self.registry.journal
        self.subscribers = Subscribers()
        self.live_usages = LiveUsages()
        self.alive: collections.defaultdict[str, set[str]] = collections.defaultdict(set)
        """Workflow → the ids of its live Tasks."""
        self.retention = Retention(
            database,
            storage,
            self.registry,
            alive=self.alive,
            failures=failures,
            keep=keep_attempts,
        )
        self.deleting: set[str] = set()
        """Workflows that are being deleted: calls are refused until that is done."""
        self._flush_each_step = flush_each_step
        self._write_ordered = self._flush_ordered = False
        self._flushing = threading.Lock()

    def happened(self, task: Task, *events: Event) -> None:
        """Record events: they are written with the next changes, or at once if they must be.

        Late ones change nothing.
        """
        name = task.workflow
        early = any(event.event.written_at_once for event in events)
        with self.lock:
            workflow = self.workflows.get(name)
            if workflow is None or task.id not in workflow.running:
                return
            self.looks.doing.forget(name, task.id)
            at_once = early and self._runtime.outlives_engine
            for event in events:
                at_once |= workflow.attempts.record_event(task, event)
            order = early and not at_once and not self._write_ordered
            self._write_ordered |= order
        if at_once:
            self.handle(name, Workflow.decide)
            return
        if order:
            self._executor.call_later(WRITE_DELAY_SECONDS, self._write_all)
        self.notify((name,))

    started = happened

    def progressed(self, task: Task, doing: str) -> None:
        """Keep in memory what is done with a Task's files; a late report changes nothing."""
        with self.lock:
            workflow = self.workflows.get(task.workflow)
            if workflow is None or task.id not in workflow.running:
                return
            self.looks.doing.set(task.workflow, task.id, f"Step {task.name!r} is {doing}")
        self.notify((task.workflow,))

    def sampled(self, task: Task, usage: LiveUsage) -> None:
        """Keep in memory what a Task took so far; a late sample changes nothing."""
        with self.lock:
            workflow = self.workflows.get(task.workflow)
            running = workflow is not None and task.id in workflow.running
            noticed = running and self.live_usages.set(task, usage)
        if noticed:
            self.notify((task.workflow,))

    def ended(self, task: Task, outcome: Outcome) -> None:
        """A Task came to its end: its outputs are stored, if it still counts."""
        name, began = task.workflow, monotonic()
        self.looks.doing.forget(name, task.id)

        def end(workflow: Workflow) -> Decision:
            self.alive[name].discard(task.id)
            self.live_usages.forget(task)  # under the lock: a late sample isn't kept
            if task.id not in workflow.running:
                return workflow.flush()
            return workflow.ended(task, publish(self._storage, workflow, outcome, began))

        if not self.handle(name, end):
            with self.changed:
                self.live_usages.forget(task)
                self.alive[name].discard(task.id)
                self.changed.notify_all()
        if self._flush_each_step:
            self.flush()
        if outcome.state is TaskState.COMPLETE:
            self._failures.free(name, task.name)

    def files_changed(self, paths: Collection[str] | None) -> None:
        """Handle changed files (None: unknown which): Steps that can run now are started."""
        for name, requests in self.registry.inspections_of_paths(paths):
            self._inspect(name, requests)

    # -- decisions ---------------------------------------------------------------------------------

    def decide(
        self,
        name: str,
        decide: Callable[[Workflow], Decision | None],
        call: PreparedCall | None = None,
    ) -> Decision | None:
        """Lock, decide, commit, unlock, act. The caller makes the inspections that it asks for.

        A call that is refused, or can't be written, changes nothing. All other changes count, even
        if they can't be written. None if nothing was decided: there is no such workflow (any more),
        or the facts with which a call was prepared have changed.
        """
        failure: GaiaError | None = None
        with self.lock:
            workflow = self._ready(name, call)
            if workflow is None:
                return None
            workflow.closing, trouble = self.looks.closed, workflow.trouble
            decision = decide(workflow)
            if decision is None:
                return None
            try:
                if call is not None and call.refusal is not None and decision.start:
                    raise call.refusal
                self._write(name, decision.changes, None if call is None else call.new)
                self.workflows[name] = workflow
                if call is not None:  # its preparation inspected all files
                    self.registry.inspected.add(name)
            except (DatabaseError, EngineUnavailable) as error:
                failure = error
                if call is None or not self._roll_back(workflow, decision, trouble):
                    decision = self._record_trouble(workflow, error, decision)
                else:
                    decision = Decision()
            self._count_started(name, decision)
        self._act(name, decision)
        if call is not None and failure is not None:
            raise failure
        return decision

    def _ready(self, name: str, call: PreparedCall | None) -> Workflow | None:
        """The workflow to decide about, with nothing unwritten, if that can be helped."""
        workflow = self.workflows.get(name)
        if call is None:
            if workflow is not None and name in self.journal:
                with contextlib.suppress(DatabaseError):  # it is in trouble, and says so
                    self._write(name, workflow.flush().changes)
                    if isinstance(workflow.trouble, DatabaseError):
                        workflow.trouble = None
            return workflow
        self.looks.refuse_if_closed()
        if name in self.deleting:
            raise InvalidInput(
                f"workflow {name!r}", "it is being deleted", "try again when that is done"
            )
        if call.new is not None:
            return call.new if workflow is None else None
        if workflow is not None:
            # Otherwise the call's change could not be taken back.
            self._write(name, workflow.flush().changes)
            workflow.attempts.resumable = set(call.resumable)
        return workflow

    def handle(
        self,
        name: str,
        decide: Callable[[Workflow], Decision | None],
        call: PreparedCall | None = None,
    ) -> bool:
        """Decide, and make the inspections that it asks for. False if nothing was decided."""
        decision = self.decide(name, decide, call)
        if decision is not None:
            self._inspect(name, decision.inspect)
        return decision is not None

    def insist(
        self, name: str, decide: Callable[[Workflow], Decision], call: PreparedCall | None = None
    ) -> None:
        """Decide, or raise the reason why not: the workflow is gone, or rows can't be written."""
        if not self.handle(name, decide, call):
            raise self.registry.no_such(name)
        self._database.sync()
        with self.lock:
            if name in self.journal:
                self.raise_trouble(name)

    def _write(self, name: str, changes: Changes, new: Workflow | None = None) -> None:
        """Write changes; what is recorded is flushed, and old attempts dropped, a little later."""
        written = self.journal.write(name, changes, new)
        if (written.keys or written.begun) and not self._flush_ordered:
            self._flush_ordered = True
            self._executor.call_later_in_background(FLUSH_DELAY_SECONDS, self._flush_in_background)

    def _count_started(self, name: str, decision: Decision) -> None:
        """Note starting Tasks, and wake waiting threads; for every decision, under the lock."""
        self.alive[name].update(assignment.task.id for assignment in decision.start)
        workflow = self.workflows.get(name)
        if workflow is None or workflow.state is not WorkflowState.RUNNING or not self.alive[name]:
            self.changed.notify_all()

    def _act(self, name: str, decision: Decision) -> None:
        """Perform the actions of a decision that was written."""
        self.notify((name,))
        for task_id in decision.cancel:
            self._executor.cancel(task_id)
        for task_id in decision.discard:
            discard(self._runtime, self._storage, task_id)
        for assignment in decision.start:
            self._executor.submit(assignment, self)

    # -- looking at files, outside of the lock -----------------------------------------------------

    def inspect_files(
        self, name: str, keys: Collection[str] | None = None, unless_done: bool = False
    ) -> None:
        """Compare the files of a workflow, or of some of its keys, with their records.

        Raises the error that keeps a file from being inspected, unless `keys` are given: then their
        call was already made.
        """
        requests = self.registry.inspections_of_keys(name, keys, unless_done)
        self._inspect(name, requests, raises=keys is None)

    def _inspect(self, name: str, requests: list[Inspection], raises: bool = False) -> None:
        """Inspect files, without the lock, and decide, until no more inspections are needed."""
        while requests:
            seen = self._observe(name, requests, raises)
            decision = None
            if seen:  # the lambda is called at once
                decision = self.decide(name, lambda workflow: workflow.observe(seen))  # noqa: B023
            requests = [] if decision is None else decision.inspect

    def _observe(self, name: str, requests: list[Inspection], raises: bool) -> list[Observation]:
        """Look at files; a failure is raised if `raises`, else it is the workflow's trouble."""
        try:
            return self.looks.observe(name, requests)
        except (OSError, StorageError, Closed) as error:
            with self.lock:
                self.registry.missed.add(name)
            if raises:
                raise
            if isinstance(error, Closed):
                return []
            trouble = error
        logger.error("workflow %r: a file could not be examined: %s", name, trouble)
        self.handle(name, lambda workflow: self._record_trouble(workflow, trouble, Decision()))
        return []

    # -- trouble -----------------------------------------------------------------------------------

    def _roll_back(self, workflow: Workflow, decision: Decision, trouble: GaiaError | None) -> bool:
        """Undo a call's change, by reading the rows from before this trouble.

        False if these can't be read either: the change stays, unwritten. The state in memory must
        equal the rows as they will be.
        """
        name = workflow.name
        unwritten = self.journal.take(name) or decision.changes
        if name in self.workflows:
            try:
                again = self.registry.read_again(name)
            except (OSError, GaiaError):
                self.journal.append(name, unwritten)
                return False
            again.trouble = trouble
        return True

    def _record_trouble(self, workflow: Workflow, error: Exception, decision: Decision) -> Decision:
        """Record that a decision can't be written, or made: no Step starts until it can."""
        kind = DatabaseError if isinstance(error, DatabaseError) else StorageError
        text = (
            f"workflow {workflow.name!r} starts nothing more: {error_text(error)}; "
            "`run` continues it when that is repaired"
        )
        if workflow.trouble is None:
            logger.error("%s", text)
        more = workflow.record_trouble(kind(text), error_text(error), decision.start)
        if workflow.name in self.journal:
            self.journal.append(workflow.name, more.changes)
            more.changes = Changes()
        # It is safe to stop Tasks that aren't recorded as stopped.
        cancel, discard = decision.cancel + more.cancel, decision.discard + more.discard
        return Decision(more.changes, [], cancel, discard, decision.inspect)

    def _record_lost(self, workflow: Workflow, keys: Iterable[str], error: Exception) -> Decision:
        """Expire Steps' outputs at keys whose files the disk refused."""
        nodes = (workflow.graph.keys.get(key) for key in keys)
        workflow.contents.unpublished(
            node.key for node in nodes if node is not None and node.state.made_by is not None
        )
        return self._record_trouble(workflow, error, Decision())

    def raise_trouble(self, name: str) -> None:
        """Raise the error that keeps a workflow from starting Steps, if there is one."""
        workflow = self.workflows.get(name)
        if workflow is not None and workflow.trouble is not None:
            raise type(workflow.trouble)(str(workflow.trouble))

    # -- written later, and flushed ----------------------------------------------------------------

    def _write_all(self) -> None:
        """Write the latest changes. Runs in a thread of the executor's."""
        with self.lock:
            self._write_ordered = False
            names = [name for name, workflow in self.workflows.items() if workflow.unwritten]
        for name in names:
            self.handle(name, Workflow.flush)

    def _flush_in_background(self) -> None:
        """Flush the latest records, and drop old attempts. Runs in a thread of the executor's."""
        with self.lock:
            self._flush_ordered = False
        self.flush()
        self.retention.drop_due()

    def flush(self) -> bool:
        """Flush all records to the disk; see `flushing`. False if that fails.

        Files that the disk refused count as lost: they must be made again, and their workflows are
        in trouble.
        """
        with self._flushing:
            with self.lock:
                unwritten = bool(self.journal)
            try:
                failed = flush_point(self._database, self._storage)
            except DatabaseError as error:
                logger.error("%s", error)
                return False
        for name, (keys, why) in failed.items():
            # It is called at once.
            self.handle(name, lambda workflow: self._record_lost(workflow, keys, why))  # noqa: B023
        return not failed and not unwritten

    def notify(self, names: Collection[str]) -> None:
        """Tell the subscribers of workflows; of one that is being deleted, when that is over."""
        names = [name for name in names if name not in self.deleting]
        if names:
            self.subscribers.notify(names)

"""The one road: every call, every end of a Task and every changed file is decided here, written
down, and acted upon.

Each time in this order: look at files (without the lock), then under the lock decide and commit,
then act without it: tell, cancel, discard, start, and look at what the decision asks for, which
leads to the next one. A call is one decision and one transaction: what can be refused is asked
before.

Invariants:
- The store is written only under the lock, and only for a Task that counts at that moment
  (`Workflow.running`). So the outputs of a cancelled Task are never stored, however late they come.
- A Task is *alive* from its submission to its `Outcome`, whether it counts or not. Quiet means:
  none alive, and the state isn't `running`.
- Nothing starts that isn't written down. A call whose change can't be written changes nothing. What
  can't be written of what happened by itself (a Task ended, a file changed), or not be taken back
  since nothing can be read either, is kept in memory and written with the next change; until then
  the workflow is in *trouble* (`Workflow.trouble`): what runs goes on, nothing starts, and `run`
  tries again.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from gaia_local.config import MAX_STEPS
from gaia_local.engine.flushing import flush_point
from gaia_local.engine.observing import load, load_for_trial, observe
from gaia_local.engine.remembering import knows_any, recall
from gaia_local.errors import (
    Closed,
    DatabaseError,
    EngineUnavailable,
    GaiaError,
    InvalidInput,
    StorageError,
    WorkflowExists,
    error_text,
    nearest,
)
from gaia_local.executors.contract import SIGNAL_CHECK_SECONDS, Executor
from gaia_local.model.assignment import Outcome
from gaia_local.model.commands import AnyCommand
from gaia_local.model.events import Event
from gaia_local.model.steps import Step
from gaia_local.model.tasks import Task, TaskState
from gaia_local.model.workflows import WorkflowState, check_properties
from gaia_local.runtimes.contract import Runtime
from gaia_local.state.database import Database
from gaia_local.store.storage import Storage
from gaia_local.workflow.contents import inspections
from gaia_local.workflow.decision import Changes, Decision, Inspection, Observation
from gaia_local.workflow.states import Attempt
from gaia_local.workflow.submissions import Change
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import EventEntry

logger = logging.getLogger("gaia_local")
T = TypeVar("T")

CLOSED = "the engine was closed"
STALE_AFTER_SECONDS = 0.05
"""The age from which an observation may be out of date: less than the delay of a watcher."""
WRITE_DELAY_SECONDS = 0.1
"""After the start of a Task until it is written; that of a short one is written with its end."""
FLUSH_DELAY_SECONDS = 0.5
"""After a record until it is flushed to the disk."""


@dataclass(frozen=True)
class Call:
    """What was found out before a call is decided."""

    refusal: EngineUnavailable | None = None
    """Why it must be refused, if it would start anything."""
    resumable: frozenset[str] = frozenset()
    """Tasks of an earlier process whose runs can be taken up."""
    new: Workflow | None = None
    """The workflow that it makes."""


class Scheduler:
    """The head of one root's engine. Thread-safe."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        runtime: Runtime,
        executor: Executor,
        max_steps: int = MAX_STEPS,
    ) -> None:
        """A call may make `max_steps` Steps."""
        self._database, self._storage, self._runtime, self._executor = (
            database,
            storage,
            runtime,
            executor,
        )
        self._max_steps = max_steps
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._workflows: dict[str, Workflow] = {}
        self._looked_at: set[str] = set()
        """Workflows whose files were compared with their records; reports of changes count."""
        self._missed: set[str] = set()
        """Workflows with a file that could not be inspected: the next call inspects all again."""
        self._alive: collections.Counter[str] = collections.Counter()
        """Workflow → how many of its Tasks are alive."""
        self._unwritten: dict[str, Changes] = {}
        """Workflow → changes that were decided and could not be written."""
        self._deleting: set[str] = set()
        """Workflows that are being deleted: calls are refused until that is done."""
        self._write_ordered = self._flush_ordered = False
        self._flushing = threading.Lock()
        self._subscribers: dict[object, Callable[[Collection[str]], None]] = {}
        self._closed = False

    # -- asking ------------------------------------------------------------------------------------

    def workflows(self) -> dict[str, dict[str, Any]]:
        """Name → `state`, `properties`, `steps`."""
        return self._database.workflows()

    def view(self, name: str, look: Callable[[Workflow], T]) -> T | None:
        """What `look` says of a workflow, under the lock; None where there is no such workflow, or
        it is being deleted.
        """
        self._open(name)
        with self._lock:
            workflow = None if name in self._deleting else self._workflows.get(name)
            return None if workflow is None else look(workflow)

    def scratch(self, name: str) -> Workflow:
        """A copy of a workflow, with what lies at its keys now: as the next call would find it."""
        with self._lock:
            saved = self._database.saved(name)
            if saved is None:
                raise self._no_such(name)
            saved = saved.then(self._not_in_rows(name))
        return load_for_trial(saved, self._storage, self.listing)

    def images(self, names: Iterable[str]) -> dict[str, str | None]:
        """Which ids the names of images have now; None where that can't be told."""
        return {name: self._runtime.image_id(name) for name in names}

    def attempts(self, name: str, step: str | None = None) -> list[Attempt]:
        """All Tasks of a workflow, or of one Step of it, oldest first."""
        with self._lock:
            recorded = self._database.attempts(name, step)
            attempts = {attempt.task.id: attempt for attempt in recorded}
            unwritten = self._not_in_rows(name).attempts()
            attempts |= {
                attempt.task.id: attempt
                for attempt in unwritten
                if step is None or attempt.task.name == step
            }
            return list(attempts.values())

    def events(self, name: str) -> list[EventEntry]:
        """The recorded events, oldest first."""
        with self._lock:
            return self._database.events(name) + [
                event.wire() for event in self._not_in_rows(name).events
            ]

    def listing(self, digest: str) -> bytes | None:
        """`Fingerprint.listing` of the directory with this digest, where that is recorded."""
        return self._database.listing(digest)

    def wait(self, name: str | None, timeout: float | None = None) -> bool:
        """Block until a workflow (None: every one) is quiet; False when the time in seconds ran out
        first.

        Raises the `GaiaError` of a workflow that is quiet because of trouble.
        """
        if name is not None:
            self._open(name)
        with self._changed:
            quiet = self._wait_for(lambda: self._quiet(name), timeout)
        if quiet:
            self.flush()
        with self._lock:
            if quiet and name is not None:
                self._raise_trouble(name)
            return quiet

    def subscribe(self, tell: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """Call `tell` with the names of workflows after something happened in them; answers what
        ends that.

        It is called in whatever thread made the change, without the lock, and must not block. What
        it raises is logged.
        """
        subscription = object()
        self._subscribers[subscription] = tell

        def unsubscribe() -> None:
            self._subscribers.pop(subscription, None)

        return unsubscribe

    # -- the calls of the client -------------------------------------------------------------------

    def upload(
        self,
        name: str,
        properties: Mapping[str, Any],
        commands: list[AnyCommand],
        steps: list[Step],
    ) -> None:
        """Store a new workflow and start it."""
        self._define(name, commands, steps, properties, new=True)

    def command(self, name: str, commands: list[AnyCommand]) -> None:
        """Merge Commands, into a new workflow where there is none."""
        self._define(name, commands, [], check_properties(name, None))

    def merge(self, name: str, steps: list[Step]) -> None:
        """Merge Steps, into a new workflow where there is none."""
        self._define(name, [], steps, check_properties(name, None))

    def run(self, name: str) -> None:
        """Start all that can run, failed Steps included; no change while the workflow runs."""
        workflow = self._get(name)
        with self._lock:
            if workflow.running and workflow.trouble is None:
                return
        self._look_at_files(name)
        with self._lock:
            used = {image for _, image, _ in workflow.recorded_images()}
        images, call = self.images(used), self._prepared(workflow)
        self._insist(name, lambda workflow: workflow.run(images), call)

    def halt(self, name: str) -> None:
        """Cancel all running Tasks of a workflow."""
        self._get(name)
        self._insist(name, lambda workflow: workflow.halt("halted"))

    def expire(self, name: str, keys: Iterable[str]) -> None:
        """Make Steps, the producers of keys, and all that depends on them run again."""
        names, workflow = list(keys), self._get(name)
        self._look_at_files(name)
        call = self._prepared(workflow)
        self._insist(name, lambda workflow: workflow.expire(names), call)

    def delete(self, name: str, data: bool) -> None:
        """Forget a workflow, its logs and, with `data`, its files in the store; what runs is
        stopped first.
        """
        self._get(name)
        with self._lock:
            self._deleting.add(name)
        try:
            self._insist(name, lambda workflow: workflow.halt("deleted"))
            with self._changed:
                self._wait_for(lambda: self._quiet(name))
            # What stays in the store must be whole: who uploads this name again finds it there.
            self.flush()
            self._database.remember(name, lambda key: self._place(name, key, data))
            self._storage.delete(
                name, data
            )  # where a file can't be removed, the workflow stays, and can be deleted again
            with self._lock:
                self._database.delete_workflow(name, data)
                for known in (self._workflows, self._unwritten):
                    known.pop(name, None)
                self._looked_at.discard(name)
            self._database.sync()
        finally:
            with self._lock:
                self._deleting.discard(name)
            self._notify((name,))

    def stop(self) -> None:
        """Halt what runs, in all workflows."""

        def halted(workflow: Workflow) -> Decision:
            halts = workflow.state is WorkflowState.RUNNING
            return (
                workflow.halt(CLOSED, reason="closed", message=CLOSED)
                if halts
                else workflow.flush()
            )

        for name in list(self._workflows):
            self._handle(name, halted)
            if name in self._unwritten:  # the next engine takes what ran for interrupted
                logger.error("workflow %r: the latest results could not be recorded", name)

    def close(self) -> None:
        """Halt what runs, start nothing more, and end the executor's threads. Idempotent."""
        with self._lock:
            self._closed = True
        self.stop()
        self._executor.close()
        if self.flush():
            self._database.set_boot("")

    def flush(self) -> bool:
        """Have all that is recorded on the disk; see `flushing`. False where that can't be.

        What the disk refused is as lost: it must be made again, and its workflow is in trouble.
        """
        with self._flushing:
            with self._lock:
                unwritten = bool(self._unwritten)
            try:
                failed = flush_point(self._database, self._storage)
            except DatabaseError as error:
                logger.error("%s", error)
                return False
        for name, (keys, why) in failed.items():
            # It is called at once.
            self._handle(name, lambda workflow: self._record_lost(workflow, keys, why))  # noqa: B023
        return not failed and not unwritten

    def kill_now(self) -> None:
        """Whatever is halted from now on, and was already, is killed without a grace. A signal
        handler may call it.
        """
        self._executor.kill_now()

    # -- what comes back, in the executor's threads and in the watcher's ---------------------------

    def happened(self, task: Task, event: Event) -> None:
        """Note an event: it is written with what is written next, or a little later; where it must
        be, at once.

        A late one changes nothing.
        """
        name, early = task.workflow, event.event.written_at_once
        with self._lock:
            workflow = self._workflows.get(name)
            if workflow is None or task.id not in workflow.running:
                return
            at_once = workflow.attempts.record_event(task, event) or (
                early and self._runtime.outlives_engine
            )
            order = early and not at_once and not self._write_ordered
            self._write_ordered |= order
        if at_once:
            self._handle(name, Workflow.decide)
            return
        if order:
            self._executor.call_later(WRITE_DELAY_SECONDS, self._write_all)
        self._notify((name,))

    started = happened

    def ended(self, task: Task, outcome: Outcome) -> None:
        """A Task came to its end: its outputs are stored, if it still counts."""
        name = task.workflow

        def end(workflow: Workflow) -> Decision:
            self._alive[name] -= 1
            if task.id not in workflow.running:
                return workflow.flush()
            return workflow.ended(task, self._published(workflow, task, outcome))

        if not self._handle(name, end):
            with self._changed:
                self._alive[name] -= 1
                self._changed.notify_all()

    def files_changed(self, paths: Collection[str] | None) -> None:
        """Files changed (None: who knows which). What became possible is started."""
        with self._lock:
            touched: list[tuple[str, list[Inspection]]] = []
            for name in self._looked_at & self._workflows.keys():
                workflow = self._workflows[name]
                graph = workflow.graph
                found = (
                    graph.keys
                    if paths is None
                    else {key.key: key for path in paths for key in graph.overlapping(path)}
                )
                touched.append((name, inspections(found.values())))
        for name, requests in touched:
            self._inspect(name, requests)

    # -- the road ----------------------------------------------------------------------------------

    def _decide(
        self, name: str, decide: Callable[[Workflow], Decision | None], call: Call | None = None
    ) -> Decision | None:
        """Lock, decide, commit, unlock, act. Answers the decision; to look at what it asks for is
        the caller's part.

        A call that is refused, or can't be written down, is as if nobody had called. Whatever else
        happened counts, also where it can't be written down. None where nothing was decided: there
        is no such workflow (any more), or the ground that a call was prepared on has changed.
        """
        failure: GaiaError | None = None
        with self._lock:
            workflow = self._ready(name, call)
            if workflow is None:
                return None
            workflow.closing, trouble = self._closed, workflow.trouble
            decision = decide(workflow)
            if decision is None:
                return None
            try:
                if call is not None and call.refusal is not None and decision.start:
                    raise call.refusal
                self._write(name, decision.changes, None if call is None else call.new)
                self._workflows[name] = workflow
                if call is not None:  # what was prepared for it has seen all files
                    self._looked_at.add(name)
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

    def _ready(self, name: str, call: Call | None) -> Workflow | None:
        """The workflow to decide about, with nothing that happened before unwritten, if that can be
        helped.
        """
        workflow = self._workflows.get(name)
        if call is None:
            if workflow is not None and name in self._unwritten:
                with contextlib.suppress(DatabaseError):  # it is in trouble, and says so
                    self._write(name, workflow.flush().changes)
                    if isinstance(workflow.trouble, DatabaseError):
                        workflow.trouble = None
            return workflow
        if self._closed:
            raise Closed("this Gaia was closed")
        if name in self._deleting:
            raise InvalidInput(
                f"workflow {name!r}", "it is being deleted", "try again when that is done"
            )
        if call.new is not None:
            return call.new if workflow is None else None
        if workflow is not None:
            self._write(
                name, workflow.flush().changes
            )  # else what the call changes could not be taken back
            workflow.attempts.resumable = set(call.resumable)
        return workflow

    def _handle(
        self, name: str, decide: Callable[[Workflow], Decision | None], call: Call | None = None
    ) -> bool:
        """Decide, and look at what that asks for. False where nothing was decided."""
        decision = self._decide(name, decide, call)
        if decision is not None:
            self._inspect(name, decision.inspect)
        return decision is not None

    def _write(self, name: str, changes: Changes, new: Workflow | None = None) -> None:
        """Write changes, with those that could not be written before, in one transaction."""
        if name in self._unwritten:
            changes = self._unwritten[name].then(changes)
        if not changes and new is None:
            return
        try:
            with self._database.transaction():
                if new is not None:
                    self._database.add_workflow(name, new.properties, time.time())
                self._database.save(name, changes)
        except DatabaseError:
            self._unwritten[name] = changes
            raise
        self._unwritten.pop(name, None)
        if changes.keys and not self._flush_ordered:
            self._flush_ordered = True
            self._executor.call_later_in_background(FLUSH_DELAY_SECONDS, self._flush_in_background)

    def _flush_in_background(self) -> None:
        """Flush what was recorded lately. Runs in a thread of the executor's."""
        with self._lock:
            self._flush_ordered = False
        self.flush()

    def _record_lost(self, workflow: Workflow, keys: Iterable[str], error: Exception) -> Decision:
        """The disk refused what lies at keys: what Steps made of it doesn't count."""
        nodes = (workflow.graph.keys.get(key) for key in keys)
        workflow.contents.unpublished(
            node.key for node in nodes if node is not None and node.state.made_by is not None
        )
        return self._record_trouble(workflow, error, Decision())

    def _count_started(self, name: str, decision: Decision) -> None:
        """Count what starts; whoever waits is told where that may be over. Every decision comes
        here, under the lock.
        """
        self._alive[name] += len(decision.start)
        workflow = self._workflows.get(name)
        if workflow is None or workflow.state is not WorkflowState.RUNNING or not self._alive[name]:
            self._changed.notify_all()

    def _act(self, name: str, decision: Decision) -> None:
        """Do what was decided and written down."""
        self._notify((name,))
        for task_id in decision.cancel:
            self._executor.cancel(task_id)
        for task_id in decision.discard:
            self._discard(task_id)
        for assignment in decision.start:
            self._executor.submit(assignment, self)

    def _inspect(self, name: str, requests: list[Inspection], raises: bool = False) -> None:
        """Look at files, without the lock, and decide about what is seen, until there is nothing
        more to be looked at.
        """
        while requests:
            seen = self._observe(name, requests, raises)
            decision = None
            if seen:  # the lambda is called at once
                decision = self._decide(name, lambda workflow: workflow.observe(seen))  # noqa: B023
            requests = [] if decision is None else decision.inspect

    def _observe(self, name: str, requests: list[Inspection], raises: bool) -> list[Observation]:
        """Look at files; where that fails, the workflow is in trouble, unless the call is refused
        that it `raises` in.
        """
        try:
            return observe(self._storage, requests, self.listing)
        except (OSError, StorageError) as error:
            with self._lock:
                self._missed.add(name)
            if raises:
                raise
            trouble = error
        logger.error("workflow %r: a file could not be looked at: %s", name, trouble)
        self._handle(name, lambda workflow: self._record_trouble(workflow, trouble, Decision()))
        return []

    # -- inside ------------------------------------------------------------------------------------

    def _define(
        self,
        name: str,
        commands: list[AnyCommand],
        steps: list[Step],
        properties: Mapping[str, Any],
        new: bool = False,
    ) -> None:
        """Merge definitions; all facts for the decision are collected before, without the lock."""
        if not new:
            self._look_at_files(name, unless_done=True)
        while True:
            known = self._open(name)
            if new and known is not None:
                raise WorkflowExists(f"workflow already exists: {name}")
            with self._lock:
                workflow = known or Workflow(
                    name, properties, lambda key: self._storage.path(name, key)
                )
                edition = workflow.submitted.edition
                change = workflow.merging.compare(commands, steps, self._max_steps)
                unknown = workflow.merging.unknown(change)
                outputs = (
                    workflow.merging.new_outputs(change, unknown)
                    if knows_any(self._database, self._storage)
                    else {}
                )
            call = self._prepared(workflow, change)
            began, buckets = time.monotonic(), self._storage.buckets(unknown)
            made = {key for step in change.added for key in step.outputs.values()}
            seen = {
                key: self._storage.quick_fingerprint(key, path, key not in made)
                for key, path in unknown.items()
            }
            origins = recall(self._database, self._storage, name, outputs, seen)

            def define(workflow: Workflow) -> Decision | None:
                if workflow.submitted.edition != edition:  # noqa: B023 it is called at once
                    return None  # another call was faster
                decision = workflow.define(change, seen, origins)  # noqa: B023
                decision.changes.buckets = buckets  # noqa: B023
                return decision

            if self._handle(name, define, call if known else replace(call, new=workflow)):
                if time.monotonic() - began > STALE_AFTER_SECONDS:
                    self._look_at_files(name, seen)
                if any(seen[key] for key in made & seen.keys()):
                    self.flush()
                self._database.sync()
                return

    def _published(self, workflow: Workflow, task: Task, outcome: Outcome) -> Outcome:
        """Move a Task's outputs into the store; where that fails, the Task did."""
        try:
            published = tuple(self._storage.publish(outcome.outputs))
        except (OSError, StorageError) as error:
            workflow.contents.unpublished(output.key for output in outcome.outputs)
            return Outcome(
                TaskState.EXCEPTION,
                message=error_text(error),
                exception=type(error).__name__,
                inputs=outcome.inputs,
            )
        return replace(outcome, outputs=published) if published else outcome

    def _write_all(self) -> None:
        """Write down what happened lately. Runs in a thread of the executor's."""
        with self._lock:
            self._write_ordered = False
            names = [name for name, workflow in self._workflows.items() if workflow.unwritten]
        for name in names:
            self._handle(name, Workflow.flush)

    def _notify(self, news: Collection[str]) -> None:
        """What becomes of a workflow that is being deleted is told when that is over."""
        news = [name for name in news if name not in self._deleting]
        if not news:
            return
        for tell in list(self._subscribers.values()):
            try:
                tell(news)
            except Exception:  # a defect of whoever listens must not cost a Task
                logger.exception("a subscriber failed at the notice of a change")

    def _discard(self, task_id: str) -> None:
        """End and remove what an earlier process left of a Task."""
        try:
            self._runtime.end(task_id)
        except GaiaError as error:
            logger.warning("processes or files of Task %s could not be removed: %s", task_id, error)
        self._storage.discard(task_id)

    def _prepared(self, workflow: Workflow, change: Change | None = None) -> Call:
        """Ask the runtime what a call must know that may start Steps, or that makes a change."""
        with self._lock:
            images, interrupted = workflow.images(change), any(workflow.attempts.interrupted)
        try:
            if images:
                self._runtime.check(images)
        except EngineUnavailable as error:
            advice = (
                "nothing of this call was stored: repeat it then; "
                "`run` continues with what was stored before"
            )
            return Call(EngineUnavailable(f"{error}; {advice}"))
        return Call(
            resumable=frozenset(self._runtime.resumable_tasks()) if interrupted else frozenset()
        )

    def _insist(
        self, name: str, decide: Callable[[Workflow], Decision], call: Call | None = None
    ) -> None:
        """Decide, or raise what keeps a caller from it: the workflow has gone, or nothing can be
        written down.
        """
        if not self._handle(name, decide, call):
            raise self._no_such(name)
        self._database.sync()
        with self._lock:
            if name in self._unwritten:
                self._raise_trouble(name)

    def _raise_trouble(self, name: str) -> None:
        workflow = self._workflows.get(name)
        if workflow is not None and workflow.trouble is not None:
            raise type(workflow.trouble)(str(workflow.trouble))

    def _look_at_files(
        self, name: str, keys: Collection[str] | None = None, unless_done: bool = False
    ) -> None:
        """Compare the files of a workflow, or of some of its keys, with what is recorded."""
        self._open(name)
        with self._lock:
            workflow = self._workflows.get(name)
            if workflow is None or (unless_done and name in self._looked_at - self._missed):
                return
            self._looked_at.add(name)
            if keys is None:
                self._missed.discard(name)
            known = workflow.graph.keys
            requests = inspections(
                known[key] for key in (known if keys is None else keys) if key in known
            )
        self._inspect(
            name, requests, raises=keys is None
        )  # else the call that it belongs to was made

    def _wait_for(self, true: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait, holding the lock, until `true` says so; False when the time in seconds ran out
        first.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while end is None or (left := end - time.monotonic()) > 0:
            if self._changed.wait_for(
                true, SIGNAL_CHECK_SECONDS if end is None else min(left, SIGNAL_CHECK_SECONDS)
            ):
                return True
        return true()

    def _quiet(self, name: str | None) -> bool:
        if name is None:
            return not any(self._alive.values()) and all(map(self._quiet, self._workflows))
        if self._alive[name]:
            return False
        workflow = self._workflows.get(name)
        return workflow is None or workflow.state is not WorkflowState.RUNNING

    def _open(self, name: str) -> Workflow | None:
        """The workflow, read back where that was not done yet; None where there is none."""
        with self._lock:
            workflow = self._workflows.get(name)
        if workflow is None:
            saved = self._database.saved(name)
            if saved is not None:
                read = load(saved, self._storage, self.listing)
                with self._lock:
                    if (
                        self._database.workflow(name) is not None
                    ):  # it may have been deleted meanwhile
                        workflow = self._workflows.setdefault(name, read)
        return workflow

    def _get(self, name: str) -> Workflow:
        workflow = self._open(name)
        if workflow is None:
            raise self._no_such(name)
        return workflow

    def _no_such(self, name: str) -> InvalidInput:
        return InvalidInput(
            f"workflow {name!r}",
            "it doesn't exist",
            nearest(name, self.workflows(), "workflows"),
        )

    def _place(self, name: str, key: str, data: bool) -> str | None:
        """Where a file lies that stays when its workflow is deleted."""
        return (
            None
            if data and not self._storage.is_mapped(key)
            else self._storage.place(self._storage.path(name, key))
        )

    def _roll_back(self, workflow: Workflow, decision: Decision, trouble: GaiaError | None) -> bool:
        """A call's change doesn't count: read back what there was before, when there was this
        trouble.

        False where that can't be read either: the change stays, unwritten. What is in memory must
        be what the rows will say.
        """
        name = workflow.name
        unwritten = self._unwritten.pop(name, decision.changes)
        if name in self._workflows:
            try:
                saved = self._database.saved(name)
                assert saved is not None
                again = load(saved, self._storage, self.listing)
            except (OSError, GaiaError):
                self._unwritten[name] = unwritten
                return False
            again.trouble = trouble
            self._workflows[name] = again
        return True

    def _record_trouble(self, workflow: Workflow, error: Exception, decision: Decision) -> Decision:
        """What was decided can't be written down, or a decision not be made: nothing starts until
        it can.
        """
        kind = DatabaseError if isinstance(error, DatabaseError) else StorageError
        text = (
            f"workflow {workflow.name!r} starts nothing more: {error_text(error)}; "
            "`run` continues it when that is repaired"
        )
        if workflow.trouble is None:
            logger.error("%s", text)
        more = workflow.record_trouble(kind(text), error_text(error), decision.start)
        if workflow.name in self._unwritten:
            self._unwritten[workflow.name] = self._unwritten[workflow.name].then(more.changes)
            more.changes = Changes()
        # To stop what isn't recorded as stopped is safe.
        return Decision(
            more.changes,
            [],
            decision.cancel + more.cancel,
            decision.discard + more.discard,
            decision.inspect,
        )

    def _not_in_rows(self, name: str) -> Changes:
        """What happened in a workflow, and isn't written down yet."""
        unwritten, workflow = self._unwritten.get(name, Changes()), self._workflows.get(name)
        return unwritten if workflow is None else unwritten.then(workflow.unwritten)

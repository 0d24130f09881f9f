"""The one road: every call, every end of a Task and every changed file is decided here, written down, and acted upon.

Each time in this order: look at files (without the lock), then under the lock decide and commit, then act without it:
tell, cancel, discard, start, and look at what the decision asks for, which leads to the next one. A call is one decision
and one transaction: what can be refused is asked before.

Invariants:
- The store is written only under the lock, and only for a Task that counts at that moment (`Workflow.running`). So the
  outputs of a cancelled Task are never stored, however late they come.
- A Task is *alive* from its submission to its `Outcome`, whether it counts or not. Quiet means: none alive, and the
  state isn't `running`.
- Nothing starts that isn't written down. A call whose change can't be written changes nothing. What can't be written of
  what happened by itself (a Task ended, a file changed), or not be taken back since nothing can be read either, is kept in
  memory and written with the next change; until then the workflow is in *trouble* (`Workflow.trouble`): what runs goes on,
  nothing starts, and `run` tries again.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from gaia_local.assignment import Outcome
from gaia_local.config import MAX_STEPS
from gaia_local.database import Database
from gaia_local.decision import Changes, Decision, Look
from gaia_local.errors import (
    Closed,
    DatabaseError,
    EngineUnavailable,
    GaiaError,
    InvalidInput,
    StorageError,
    WorkflowExists,
    nearest,
    told,
)
from gaia_local.executor import SIGNAL_ROUND, Executor
from gaia_local.garbage import held_back
from gaia_local.looking import load, looked_at, see
from gaia_local.model import AnyCommand, Event, Step, Task, TaskState, WorkflowState
from gaia_local.runtime import Runtime
from gaia_local.states import Attempt
from gaia_local.storage import Storage
from gaia_local.workflow import Workflow

logger = logging.getLogger("gaia_local")
T = TypeVar("T")

CLOSED = "the engine was closed"
LATE = 0.05
"""Seconds after a look at files after which one that came since may have been told of already: less than a watcher waits."""
WRITE_ROUND = 0.1
"""Seconds after which the start of a Task is written, for whoever reads the rows. A short one's is written with its end."""


@dataclass(frozen=True)
class Call:
    """What was found out before a call is decided."""

    refusal: EngineUnavailable | None = None
    """Why it must be refused, if it would start anything."""
    left: frozenset[str] = frozenset()
    """Tasks of an earlier process whose runs can be taken up."""
    new: Workflow | None = None
    """The workflow that it makes."""


class Scheduler:
    """The head of one root's engine. Thread-safe."""

    def __init__(
        self, database: Database, storage: Storage, runtime: Runtime, executor: Executor, max_steps: int = MAX_STEPS
    ) -> None:
        """A call may make `max_steps` Steps."""
        self._database, self._storage, self._runtime, self._executor = database, storage, runtime, executor
        self._max_steps = max_steps
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._workflows: dict[str, Workflow] = {}
        self._looked_at: set[str] = set()
        """Workflows whose files were compared with what is recorded, in this process: what is told of them is heeded."""
        self._missed: set[str] = set()
        """Those of which a file could not be looked at: the next call looks at all of them again."""
        self._alive: collections.Counter[str] = collections.Counter()
        """Workflow → how many of its Tasks are alive."""
        self._unwritten: dict[str, Changes] = {}
        """Workflow → what was decided and could not be written down."""
        self._deleting: set[str] = set()
        """Workflows that are being deleted: calls are refused until that is done."""
        self._write_ordered = False
        self._subscribers: dict[object, Callable[[Collection[str]], None]] = {}
        self._closed = False

    # -- asking -------------------------------------------------------------------------------------------------

    def workflows(self) -> dict[str, dict[str, Any]]:
        """Name → `state`, `properties`, `steps`."""
        return self._database.workflows()

    def view(self, name: str, look: Callable[[Workflow], T]) -> T | None:
        """What `look` says of a workflow, under the lock; None where there is no such workflow."""
        self._open(name)
        with self._lock:
            workflow = self._workflows.get(name)
            return None if workflow is None else look(workflow)

    def scratch(self, name: str) -> Workflow:
        """A copy of a workflow, with what lies at its keys now: as the next call would find it."""
        with self._lock:
            saved = self._database.saved(name)
            if saved is None:
                raise self._no_such(name)
            for changes in self._unwritten_of(name):
                saved = saved.then(changes)
            saved = replace(saved, attempts=[replace(each) for each in saved.attempts])
        return looked_at(saved, self._storage, self.listing)

    def images(self, names: Iterable[str]) -> dict[str, str | None]:
        """Which ids the names of images have now; None where that can't be told."""
        return {name: self._runtime.image_id(name) for name in names}

    def attempts(self, name: str, step: str | None = None) -> list[Attempt]:
        """All Tasks of a workflow, or of one Step of it, oldest first."""
        with self._lock:
            attempts = {each.task.id: each for each in self._database.attempts(name, step)}
            unwritten = (each for changes in self._unwritten_of(name) for each in changes.attempts())
            attempts |= {each.task.id: each for each in unwritten if step is None or each.task.name == step}
            return list(attempts.values())

    def events(self, name: str) -> list[dict[str, Any]]:
        """The recorded events, oldest first."""
        with self._lock:
            unwritten = [event.wire() for changes in self._unwritten_of(name) for event in changes.events]
            return self._database.events(name) + unwritten

    def listing(self, digest: str) -> bytes | None:
        """`Fingerprint.listing` of the directory with this digest, where that is recorded."""
        return self._database.listing(digest)

    def wait(self, name: str | None, timeout: float | None = None) -> bool:
        """Block until a workflow (None: every one) is quiet; False when the time in seconds ran out first.

        Raises the `GaiaError` of a workflow that is quiet because of trouble.
        """
        if name is not None:
            self._open(name)
        with self._changed:
            quiet = self._wait_for(lambda: self._quiet(name), timeout)
            workflow = None if name is None else self._workflows.get(name)
            if quiet and workflow is not None and workflow.trouble is not None:
                raise type(workflow.trouble)(str(workflow.trouble))
            return quiet

    def subscribe(self, tell: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """Call `tell` with the names of workflows after something happened in them; answers what ends that.

        It is called in whatever thread made the change, without the lock, and must not block. What it raises is logged.
        """
        subscription = object()
        self._subscribers[subscription] = tell

        def unsubscribe() -> None:
            self._subscribers.pop(subscription, None)

        return unsubscribe

    # -- the calls of the client ----------------------------------------------------------------------------------

    def upload(self, name: str, properties: Mapping[str, Any], commands: list[AnyCommand], steps: list[Step]) -> None:
        """Store a new workflow and start it."""
        if self._open(name) is not None:
            raise WorkflowExists(f"workflow already exists: {name}")
        self._define(name, commands, steps, properties, new=True)

    def command(self, name: str, commands: list[AnyCommand], properties: Mapping[str, Any]) -> None:
        """Merge Commands, into a new workflow where there is none."""
        self._define(name, commands, [], properties)

    def merge(self, name: str, steps: list[Step], properties: Mapping[str, Any]) -> None:
        """Merge Steps, into a new workflow where there is none."""
        self._define(name, [], steps, properties)

    def run(self, name: str) -> None:
        """Start whatever can run, failed Steps included; changes nothing while the workflow runs."""
        workflow = self._get(name)
        with self._lock:
            if workflow.running and workflow.trouble is None:
                return
        self._look_at_files(name)
        with self._lock:
            used = {name for _, name, _ in workflow.made_with()}
        images, call = self.images(used), self._prepared(workflow, workflow.images())
        self._insist(name, self._happened(name, lambda workflow: workflow.run(images), call))

    def halt(self, name: str) -> None:
        """Cancel all running Tasks of a workflow."""
        self._get(name)
        self._insist(name, self._happened(name, lambda workflow: workflow.halt("halted")))

    def expire(self, name: str, keys: Iterable[str]) -> None:
        """Make Steps, the producers of keys, and all that depends on them run again."""
        names, workflow = list(keys), self._get(name)
        self._look_at_files(name)
        call = self._prepared(workflow, workflow.images())
        with held_back():
            self._insist(name, self._happened(name, lambda workflow: workflow.expire(names), call))

    def delete(self, name: str, data: bool) -> None:
        """Forget a workflow, its logs and, with `data`, its files in the store; what runs is stopped first."""
        self._get(name)
        with self._lock:
            self._deleting.add(name)
        try:
            self._insist(name, self._happened(name, lambda workflow: workflow.halt("deleted")))
            with self._changed:
                self._wait_for(lambda: self._quiet(name))
                for known in (self._workflows, self._unwritten):
                    known.pop(name, None)
                self._looked_at.discard(name)
                self._database.delete_workflow(name)
            self._storage.delete(name, data)
        finally:
            with self._lock:
                self._deleting.discard(name)
        self._tell((name,))

    def stop(self) -> None:
        """Halt what runs, in all workflows."""

        def halted(workflow: Workflow) -> Decision:
            halts = workflow.state is WorkflowState.RUNNING
            return workflow.halt(CLOSED, reason="closed", message=CLOSED) if halts else workflow.flush()

        for name in list(self._workflows):
            self._happened(name, halted)
            if name in self._unwritten:  # the next engine takes what ran for interrupted
                logger.error("workflow %r: what ended last is not written down", name)

    def close(self) -> None:
        """Halt what runs, start nothing more, and end the executor's threads. Idempotent."""
        with self._lock:
            self._closed = True
        self.stop()
        self._executor.close()

    def hurry(self) -> None:
        """Whatever is halted from now on, and was already, is killed without a grace. A signal handler may call it."""
        self._executor.hurry()

    # -- what comes back, in the executor's threads and in the watcher's ------------------------------------------

    def started(self, task: Task, event: Event) -> None:
        """A worker took a Task up. A late event changes nothing."""
        self._hear(task, event)

    def happened(self, task: Task, event: Event) -> None:
        """Something else happened to a Task. A late event changes nothing."""
        self._hear(task, event)

    def ended(self, task: Task, outcome: Outcome) -> None:
        """A Task came to its end: its outputs are stored, if it still counts."""
        name = task.workflow

        def end(workflow: Workflow) -> Decision:
            self._alive[name] -= 1
            if task.id not in workflow.running:
                return workflow.flush()
            return workflow.ended(task, self._published(workflow, task, outcome))

        if not self._happened(name, end):
            with self._changed:
                self._alive[name] -= 1
                self._changed.notify_all()

    def files_changed(self, paths: Collection[str] | None) -> None:
        """Files changed (None: who knows which). What became possible is started."""
        with self._lock:
            touched: list[tuple[str, list[Look]]] = []
            for name in self._looked_at & self._workflows.keys():
                workflow = self._workflows[name]
                graph = workflow.graph
                found = graph.keys if paths is None else {key.key: key for path in paths for key in graph.overlapping(path)}
                touched.append((name, workflow.looks(found.values())))
        for name, looks in touched:
            self._look_at(name, looks)

    # -- the road -------------------------------------------------------------------------------------------------

    def _decide(self, name: str, decide: Callable[[Workflow], Decision | None], call: Call | None = None) -> Decision | None:
        """Lock, decide, commit, unlock, act. Answers the decision; to look at what it asks for is the caller's part.

        A call that is refused, or can't be written down, is as if nobody had called. Whatever else happened counts, also where
        it can't be written down. None where nothing was decided: there is no such workflow (any more), or the ground that a
        call was prepared on has changed.
        """
        failure: GaiaError | None = None
        with self._lock:
            workflow = self._ready(name, call)
            if workflow is not None:
                workflow.closing = self._closed
            decision = None if workflow is None else decide(workflow)
            if workflow is None or decision is None:
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
                undo = self._trouble if call is None else self._take_back
                decision = undo(workflow, error, decision)
            self._note(name, decision)
        self._act(name, decision)
        if call is not None and failure is not None:
            raise failure
        return decision

    def _ready(self, name: str, call: Call | None) -> Workflow | None:
        """The workflow to decide about, with nothing that happened before unwritten, if that can be helped."""
        workflow = self._workflows.get(name)
        if call is not None and self._closed:
            raise Closed("this Gaia was closed")
        if call is not None and name in self._deleting:
            raise InvalidInput(f"workflow {name!r}", "it is being deleted", "try again when that is done")
        if call is not None and call.new is not None:
            return call.new if workflow is None else None
        if workflow is not None and call is not None:
            workflow.left = set(call.left)
        if workflow is not None and (call is not None or name in self._unwritten):
            try:
                self._write(name, workflow.flush().changes)
                if call is None and isinstance(workflow.trouble, DatabaseError):
                    workflow.trouble = None
            except DatabaseError:  # it is in trouble, and says so
                if call is not None:  # what it changes could not be taken back
                    raise
        return workflow

    def _happened(self, name: str, decide: Callable[[Workflow], Decision | None], call: Call | None = None) -> bool:
        """Decide, and look at what that asks for. False where nothing was decided."""
        decision = self._decide(name, decide, call)
        if decision is not None:
            self._look_at(name, decision.look)
        return decision is not None

    def _write(self, name: str, changes: Changes, new: Workflow | None = None) -> None:
        """Write down what was decided, with what could not be written before, in one transaction."""
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

    def _note(self, name: str, decision: Decision) -> None:
        """Count what starts; whoever waits is told where that may be over. Every decision comes here, under the lock."""
        self._alive[name] += len(decision.start)
        workflow = self._workflows.get(name)
        if workflow is None or workflow.state is not WorkflowState.RUNNING or not self._alive[name]:
            self._changed.notify_all()

    def _act(self, name: str, decision: Decision) -> None:
        """Do what was decided and written down."""
        self._tell((name,))
        for task_id in decision.cancel:
            self._executor.cancel(task_id)
        for task_id in decision.discard:
            self._discard(task_id)
        for assignment in decision.start:
            self._executor.submit(assignment, self)

    def _look_at(self, name: str, looks: list[Look], raises: bool = False) -> None:
        """Look at files, without the lock, and decide about what is seen, until there is nothing more to be looked at."""
        while looks:
            try:
                seen = see(self._storage, looks, self.listing)
            except (OSError, StorageError) as error:
                with self._lock:
                    self._missed.add(name)
                if raises:
                    raise
                self._cannot_look(name, error)
                return
            again: list[Look] = []

            def observe(workflow: Workflow) -> Decision:
                decision, more = workflow.observe(seen)  # noqa: B023 it is called at once
                again.extend(more)  # noqa: B023
                return decision

            decision = self._decide(name, observe) if seen else None
            looks = [] if decision is None else [*again, *decision.look]

    def _cannot_look(self, name: str, error: Exception) -> None:
        logger.error("workflow %r: a file could not be looked at: %s", name, error)
        self._happened(name, lambda workflow: self._trouble(workflow, error, Decision()))

    # -- inside -------------------------------------------------------------------------------------------------

    def _define(
        self,
        name: str,
        commands: list[AnyCommand],
        steps: list[Step],
        properties: Mapping[str, Any],
        new: bool = False,
    ) -> None:
        """Merge definitions: what is needed to decide about them is asked first, without the lock."""
        self._look_at_files(name, unless_done=True)
        while True:
            with held_back(), self._lock:
                known = self._open(name)
                if new and known is not None:
                    raise WorkflowExists(f"workflow already exists: {name}")
                workflow = known or Workflow(name, properties, self._locate(name))
                edition = workflow.submitted.edition
                change = workflow.compare(commands, steps, self._max_steps)
                unknown = workflow.unknown(change)
            call = self._prepared(workflow, workflow.images(change) if change.added or workflow.graph.can_run else ())
            began = time.monotonic()
            made = {key for step in change.added for key in step.outputs.values()}
            seen = {key: self._storage.look(key, path, key not in made) for key, path in unknown.items()}

            def define(workflow: Workflow) -> Decision | None:
                if workflow.submitted.edition != edition:  # noqa: B023 it is called at once
                    return None  # another call was faster
                return workflow.define(change, seen)  # noqa: B023

            with held_back():
                done = self._happened(name, define, call if known else replace(call, new=workflow))
            if done:
                if time.monotonic() - began > LATE:
                    self._look_at_files(name, seen)
                return

    def _published(self, workflow: Workflow, task: Task, outcome: Outcome) -> Outcome:
        """Move a Task's outputs into the store; where that fails, the Task did."""
        try:
            published = tuple(self._storage.publish(outcome.outputs))
        except (OSError, StorageError) as error:
            workflow.unpublished(output.key for output in outcome.outputs)
            return Outcome(TaskState.EXCEPTION, message=told(error), exception=type(error).__name__, inputs=outcome.inputs)
        return replace(outcome, outputs=published) if published else outcome

    def _hear(self, task: Task, event: Event) -> None:
        """Note an event: it is written with what is written next, or a little later; where it must be, at once."""
        name, early = task.workflow, event.event.written_at_once
        with self._lock:
            workflow = self._workflows.get(name)
            if workflow is None or task.id not in workflow.running:
                return
            at_once = workflow.heard(task, event) or (early and self._runtime.survives)
            order = early and not at_once and not self._write_ordered
            self._write_ordered |= order
        if at_once:
            self._happened(name, Workflow.decide)
            return
        if order:
            self._executor.later(WRITE_ROUND, self._write_all)
        self._tell((name,))

    def _write_all(self) -> None:
        """Write down what happened lately. Runs in a thread of the executor's."""
        with self._lock:
            self._write_ordered = False
            names = [name for name, workflow in self._workflows.items() if workflow.unwritten]
        for name in names:
            self._happened(name, Workflow.flush)

    def _tell(self, news: Collection[str]) -> None:
        for tell in list(self._subscribers.values()):
            try:
                tell(news)
            except Exception:  # a defect of whoever listens must not cost a Task
                logger.exception("a subscriber could not be told of a change")

    def _discard(self, task_id: str) -> None:
        """End and remove what an earlier process left of a Task."""
        try:
            self._runtime.end(task_id)
        except GaiaError as error:
            logger.warning("what is left of Task %s could not be ended: %s", task_id, error)
        self._storage.discard(task_id)

    def _prepared(self, workflow: Workflow, images: Collection[str]) -> Call:
        """Ask the runtime what a call must know that may start Steps with these images."""
        try:
            if images:
                self._runtime.check(images)
        except EngineUnavailable as error:
            advice = "nothing of this call was stored: make it again then; `run` goes on with what was stored before"
            return Call(EngineUnavailable(f"{error}; {advice}"))
        with self._lock:
            interrupted = any(workflow.interrupted)
        return Call(left=frozenset(self._runtime.left()) if interrupted else frozenset())

    def _insist(self, name: str, decided: bool) -> None:
        """Raise what keeps a caller's wish from being fulfilled: the workflow has gone, or nothing can be written down."""
        if not decided:
            raise self._no_such(name)
        with self._lock:
            workflow = self._workflows.get(name)
            if name in self._unwritten and workflow is not None and workflow.trouble is not None:
                raise type(workflow.trouble)(str(workflow.trouble))

    def _look_at_files(self, name: str, keys: Collection[str] | None = None, unless_done: bool = False) -> None:
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
            looks = workflow.looks(known[key] for key in (known if keys is None else keys) if key in known)
        self._look_at(name, looks, raises=keys is None)  # else the call that it belongs to was made

    def _wait_for(self, true: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait, holding the lock, until `true` says so; False when the time in seconds ran out first."""
        end = None if timeout is None else time.monotonic() + timeout
        while end is None or (left := end - time.monotonic()) > 0:
            if self._changed.wait_for(true, SIGNAL_ROUND if end is None else min(left, SIGNAL_ROUND)):
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
                with held_back():
                    read = load(saved, self._storage, self.listing)
                with self._lock:
                    if self._database.workflow(name) is not None:  # it may have been deleted meanwhile
                        workflow = self._workflows.setdefault(name, read)
        return workflow

    def _get(self, name: str) -> Workflow:
        workflow = self._open(name)
        if workflow is None:
            raise self._no_such(name)
        return workflow

    def _no_such(self, name: str) -> InvalidInput:
        return InvalidInput(f"workflow {name!r}", "there is none of this name", nearest(name, self.workflows(), "workflows"))

    def _locate(self, name: str) -> Callable[[str], str]:
        return lambda key: self._storage.path(name, key)

    def _take_back(self, workflow: Workflow, error: GaiaError, decision: Decision) -> Decision:
        """A call's change doesn't count: read back what there was before. Answers what is to be done.

        Where that can't be read either, the change stays, unwritten: what is in memory must be what the rows will say.
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
                return self._trouble(workflow, error, decision)
            again.trouble = workflow.before
            self._workflows[name] = again
        return Decision()

    def _trouble(self, workflow: Workflow, error: Exception, decision: Decision) -> Decision:
        """What was decided can't be written down, or a decision not be made: nothing starts until it can."""
        kind = DatabaseError if isinstance(error, DatabaseError) else StorageError
        text = f"workflow {workflow.name!r} starts nothing more: {told(error)}; `run` continues it when that is mended"
        if workflow.trouble is None:
            logger.error("%s", text)
        more = workflow.fall_into_trouble(kind(text), told(error), decision.start)
        if workflow.name in self._unwritten:
            self._unwritten[workflow.name] = self._unwritten[workflow.name].then(more.changes)
            more.changes = Changes()
        # To stop what isn't recorded as stopped is safe.
        return Decision(more.changes, [], decision.cancel + more.cancel, decision.discard + more.discard)

    def _unwritten_of(self, name: str) -> Iterator[Changes]:
        if name in self._unwritten:
            yield self._unwritten[name]
        if name in self._workflows:
            yield self._workflows[name].unwritten

"""Decides: what is complete, what can run, what runs that should not. Every call ends here.

Each public method has four steps: under the lock, decide in memory and write that down in one transaction; release the
lock; act (submit, cancel). Nothing slow happens under the lock: looking at files, asking the engine, cancelling and
waiting happen outside; a rename is not slow.

Invariants:
- The store is written only under the lock, and only for a Task that counts at that moment (`Workflow.running`). So the
  outputs of a cancelled Task are never stored, however late they come.
- A Task is *alive* from its submission to its `Outcome`, whether it counts or not. Quiet means: none alive, and the
  state isn't `running`.
- Nothing starts that isn't written down. A call whose change can't be written changes nothing. What can't be written of
  what happened by itself (a Task ended, a file changed) is kept in memory and written with the next change; until then
  the workflow is in *trouble* (`Workflow.trouble`): what runs goes on, nothing starts, and `run` tries again.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, TypeVar

from gaia_local.assignment import Assignment
from gaia_local.database import Attempt, Database, Datum
from gaia_local.errors import Closed, DatabaseError, GaiaError, InvalidInput, StorageError, WorkflowExists, nearest, told
from gaia_local.executor import SIGNAL_ROUND, Executor
from gaia_local.flow import KeyNode
from gaia_local.garbage import held_back
from gaia_local.model import AnyCommand, Command, Event, EventKind, Step, Task, TaskState, WorkflowState
from gaia_local.runtime import Runtime
from gaia_local.storage import Storage
from gaia_local.worker import Outcome
from gaia_local.workflow import Workflow

logger = logging.getLogger("gaia_local")
T = TypeVar("T")
Seen: TypeAlias = "tuple[KeyNode, Datum | None, str | None, str | None]"
"""A key, what was recorded of it, and the quick fingerprint and (where that differs) the digest of what lies there."""
Trouble: TypeAlias = DatabaseError | StorageError | OSError
TROUBLE = (DatabaseError, StorageError, OSError)
"""What a decision, or writing it down, may meet with: a full disk, mostly."""

CLOSED = "the engine was closed"
WRITE_ROUND = 0.1
"""Seconds after which an event is written, at the latest, that is to be written before its Task's end, but not at once."""


class Scheduler:
    """The head of one root's engine. Thread-safe."""

    def __init__(self, database: Database, storage: Storage, runtime: Runtime, executor: Executor) -> None:
        self._database, self._storage, self._runtime, self._executor = database, storage, runtime, executor
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._workflows: dict[str, Workflow] = {}
        self._looked_at: set[str] = set()
        """Workflows whose files were compared with what is recorded, in this process."""
        self._alive: collections.Counter[str] = collections.Counter()
        """Workflow → how many of its Tasks are alive."""
        self._submits: list[Assignment] = []
        self._cancels: list[str] = []
        self._discards: list[str] = []
        self._write_ordered = False
        self._news: set[str] = set()
        """Workflows of which something is new that the subscribers are still to be told."""
        self._subscribers: dict[object, Callable[[Collection[str]], None]] = {}
        self._closed = False

    # -- asking -------------------------------------------------------------------------------------------------

    def workflows(self) -> dict[str, dict[str, Any]]:
        """Name → `state`, `properties`, `steps`."""
        with self._lock:
            return self._database.workflows()

    def view(self, name: str, look: Callable[[Workflow], T]) -> T | None:
        """What `look` says of a workflow, under the lock; None where there is no such workflow."""
        with self._lock:
            workflow = self._find(name)
            return None if workflow is None else look(workflow)

    def plan(self, name: str, change: Callable[[Workflow], None]) -> list[dict[str, str]]:
        """What would run after `change`, without changing anything: `step` and `reason`."""
        with self._lock:
            self._write(self._get(name))
            images = self._get(name).images()
            row = self._database.workflow(name)
            assert row is not None
            scratch = Workflow.load(name, row, self._database, self._storage)
        return planned(scratch, self._storage, change, {image: self._runtime.image_id(image) for image in images})

    def attempts(self, name: str, step: str | None = None) -> list[Attempt]:
        """All Tasks of a workflow, or of one Step of it, oldest first."""
        with self._lock:
            workflow = self._find(name)
            attempts = {attempt.task.id: attempt for attempt in self._database.attempts(name, step)}
            if workflow is not None:
                attempts |= {attempt.task.id: attempt for attempt in workflow.ledger.unwritten_attempts(step)}
            return list(attempts.values())

    def events(self, name: str) -> list[dict[str, Any]]:
        """The recorded events, oldest first."""
        with self._lock:
            workflow = self._find(name)
            unwritten = [] if workflow is None else [event.wire() for event in workflow.ledger.unwritten_events]
            return self._database.events(name) + unwritten

    def wait(self, name: str | None, timeout: float | None = None) -> bool:
        """Block until a workflow (None: every one) is quiet; False when the time in seconds ran out first.

        Raises the `GaiaError` of a workflow that is quiet because of trouble.
        """
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
        with held_back(), self._deciding():
            if self._find(name) is not None:
                raise WorkflowExists(f"workflow already exists: {name}")
            workflow = self._new(name, properties)
            with self._changing(workflow):
                workflow.define(commands, steps)
        self._go(name)

    def command(self, name: str, commands: list[AnyCommand], properties: Mapping[str, Any]) -> None:
        """Merge Commands, into a new workflow where there is none."""
        self._define(name, commands, [], properties)

    def merge(self, name: str, steps: list[Step], properties: Mapping[str, Any]) -> None:
        """Merge Steps, into a new workflow where there is none."""
        self._define(name, [], steps, properties)

    def run(self, name: str) -> None:
        """Start whatever can run, failed Steps included; changes nothing while the workflow runs."""
        with self._lock:
            workflow = self._get(name)
            if workflow.state is WorkflowState.RUNNING and workflow.trouble is None:
                return
            images = workflow.images()
        self._look_at_files(name)
        identities = {image: self._runtime.image_id(image) for image in images}
        if any(identities.values()):
            with self._deciding():
                workflow = self._get(name)
                with self._changing(workflow):
                    workflow.images_are(identities)
        self._go(name, retry=True)

    def halt(self, name: str) -> None:
        """Cancel all running Tasks of a workflow."""
        with self._deciding():
            workflow = self._get(name)
            workflow.halt("halted")
            self._keep(workflow)

    def expire(self, name: str, keys: Iterable[str]) -> None:
        """Make Steps, the producers of keys, and all that depends on them run again."""
        self._look_at_files(name, unless_done=True)
        with self._deciding():
            workflow = self._get(name)
            with self._changing(workflow):
                workflow.expire(keys)
        self._go(name)

    def delete(self, name: str, data: bool) -> None:
        """Forget a workflow, its logs and, with `data`, its files in the store; what runs is stopped first."""
        with self._deciding():
            workflow = self._get(name)
            workflow.halt("deleted")
            self._keep(workflow)
        with self._changed:
            self._wait_for(lambda: self._quiet(name))
        with self._deciding():
            self._workflows.pop(name, None)
            self._looked_at.discard(name)
            self._database.delete_workflow(name)
            self._news.add(name)
        self._storage.delete(name, data)

    def stop(self) -> None:
        """Halt what runs, in all workflows."""
        with self._deciding():
            for workflow in list(self._workflows.values()):
                if workflow.running:
                    workflow.halt(CLOSED, reason="closed", message=CLOSED)
                try:
                    self._keep(workflow)
                except DatabaseError as error:  # the next engine takes such Steps for interrupted
                    logger.error("workflow %r: what ended last is not written down: %s", workflow.name, error)

    def close(self) -> None:
        """Halt what runs, start nothing more, and end the executor's threads. Idempotent."""
        with self._lock:
            self._closed = True
        self.stop()
        self._executor.close()

    def hurry(self) -> None:
        """Whatever is halted from now on, and was already, is killed without a grace. A signal handler may call it."""
        self._executor.hurry()

    # -- what comes back ------------------------------------------------------------------------------------------

    def started(self, task: Task, event: Event) -> None:
        """A worker took a Task up. Runs, as the next two do, in the executor's threads; late ones change nothing."""
        self.happened(task, event)

    def happened(self, task: Task, event: Event) -> None:
        """An event of a Task."""
        if not (event.event.written_at_once and self._runtime.survives):
            self._hear(task, event)
            return
        with self._taking(task):
            workflow, attempt = self._running(task)
            if workflow is not None and attempt is not None:
                workflow.happened(attempt, event)
                self._keep(workflow)

    def ended(self, task: Task, outcome: Outcome) -> None:
        """The outcome of a Task."""
        with self._taking(task):
            self._alive[task.workflow] -= 1
            self._end(task, outcome)

    def _running(self, task: Task) -> tuple[Workflow | None, Attempt | None]:
        workflow = self._workflows.get(task.workflow)
        return workflow, None if workflow is None else workflow.running.get(task.id)

    @contextmanager
    def _taking(self, task: Task) -> Iterator[None]:
        """Decide on what came of a Task; where that fails, its workflow is in trouble."""
        with self._deciding():
            try:
                yield
            except TROUBLE as error:  # a full disk, mostly: also every GaiaError
                self._trouble(self._workflows[task.workflow], error)
            if not self._alive[task.workflow]:  # else nobody who waits is through yet
                self._changed.notify_all()

    def _hear(self, task: Task, event: Event) -> None:
        """Note an event: nothing is decided, and it is written with what is written next, or a little later."""
        with self._lock:
            workflow, attempt = self._running(task)
            if workflow is None or attempt is None:
                return
            workflow.happened(attempt, event)
            order = event.event.written_at_once and not self._write_ordered
            self._write_ordered |= order
        if order:
            self._executor.later(WRITE_ROUND, self._write_all)
        self._tell((workflow.name,))

    def _end(self, task: Task, outcome: Outcome) -> None:
        workflow, attempt = self._running(task)
        if workflow is None or attempt is None:
            return
        try:
            self._storage.publish(outcome.outputs)
        except TROUBLE as error:
            workflow.unpublished(attempt)
            exception = type(error).__name__
            outcome = Outcome(TaskState.EXCEPTION, message=told(error), exception=exception, inputs=outcome.inputs)
        workflow.ended(attempt, outcome)
        if workflow.trouble is not None:
            self._write(workflow)
            workflow.trouble = None
        workflow.start()
        workflow.conclude()
        self._keep(workflow)

    def _write_all(self) -> None:
        """Write down what happened lately. Runs in a thread of the executor's."""
        with self._deciding():
            self._write_ordered = False
            for workflow in list(self._workflows.values()):
                if workflow.ledger.unwritten:
                    with suppress(DatabaseError):  # it is in trouble, and says so
                        self._keep(workflow)

    # -- inside -------------------------------------------------------------------------------------------------

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        """Hold the lock; afterwards, and without it, act on what was decided and written down."""
        try:
            with self._lock:
                try:
                    yield
                finally:
                    submits, self._submits = self._submits, []
                    cancels, self._cancels = self._cancels, []
                    discards, self._discards = self._discards, []
                    news, self._news = self._news, set()
        finally:
            if news:
                self._tell(news)
            for task_id in cancels:
                self._executor.cancel(task_id)
            for task_id in discards:
                self._discard(task_id)
            for assignment in submits:
                self._executor.submit(assignment, self)

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

    def _go(self, name: str, retry: bool = False) -> None:
        """Start what can start, if the runtime can be reached; else raise, with the workflow as it was."""
        self._look_at_files(name, unless_done=True)
        with self._lock:
            workflow = self._get(name)
            commands = (workflow.submitted.commands[node.step.command] for node in workflow.flow.startable.values())
            images = {command.image for command in commands if isinstance(command, Command)}
            anything = bool(images) or (retry and bool(workflow.failed))
            interrupted = bool(workflow.interrupted)
        if anything:
            self._runtime.check(images)
        left = set(self._runtime.left()) if anything and interrupted else set()
        with held_back(), self._deciding():
            if self._closed:
                raise Closed("this Gaia was closed")
            workflow = self._get(name)
            with self._changing(workflow):
                workflow.phase, workflow.trouble = WorkflowState.RUNNING, None
                workflow.left |= {attempt.task.id for attempt in workflow.interrupted} & left
                if retry:
                    workflow.retry()
                workflow.start()
                workflow.conclude()

    def _define(self, name: str, commands: list[AnyCommand], steps: list[Step], properties: Mapping[str, Any]) -> None:
        self._look_at_files(name, unless_done=True)
        with held_back(), self._deciding():
            workflow = self._find(name) or self._new(name, properties)
            with self._changing(workflow):
                workflow.define(commands, steps)
        self._go(name)

    def _look_at_files(self, name: str, unless_done: bool = False) -> None:
        """Compare the files of a workflow with what is recorded."""
        with self._lock:
            workflow = self._find(name)
            if workflow is None or (unless_done and name in self._looked_at):
                return
            self._looked_at.add(name)
            keys = list(workflow.flow.keys.values())
        self._look_at(workflow, keys)

    def _look_at(self, workflow: Workflow, keys: Iterable[KeyNode]) -> bool:
        """Look at the files of keys: a stat first, outside the lock; contents where that differs. True for any news.

        NOTE: what was recorded meanwhile (a Task's end) may be newer than the look, or older: such keys are looked at
        once more.
        """
        any_news = False
        while keys:
            with self._lock:
                recorded = recorded_of(workflow, keys)
            seen = see(self._storage, recorded)
            if not seen:
                break
            again = []
            with self._deciding():
                if self._workflows.get(workflow.name) is not workflow:
                    break
                for key, datum, quick, digest in seen:
                    if workflow.flow.keys.get(key.key) is not key:
                        continue
                    if workflow.ledger.data.get(key.key) is datum:
                        any_news |= workflow.freshness.observe(key, quick, digest)
                    else:
                        again.append(key)
                self._keep(workflow)
            keys = again
        return any_news

    def files_changed(self, paths: Collection[str] | None) -> None:
        """Files changed (None: who knows which). Runs in the watcher's thread; what became possible is started."""
        with self._lock:
            workflows = [self._workflows[name] for name in self._looked_at if name in self._workflows]
            touched: list[tuple[Workflow, list[KeyNode]]] = []
            for workflow in workflows:
                keys = workflow.flow.keys
                if paths is None:
                    touched.append((workflow, list(keys.values())))
                else:
                    found = {key.key: key for path in paths for key in workflow.flow.overlapping(path)}
                    touched.append((workflow, list(found.values())))
        for workflow, nodes in touched:
            try:
                if self._look_at(workflow, nodes):
                    with self._deciding():
                        if self._workflows.get(workflow.name) is workflow and not self._closed:
                            workflow.start()
                            workflow.conclude()
                            self._keep(workflow)
            except TROUBLE as error:
                logger.error("workflow %r: a changed file could not be taken in: %s", workflow.name, error)
                with self._deciding():
                    self._trouble(workflow, error)

    def _wait_for(self, true: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait, holding the lock, until `true` says so; False when the time in seconds ran out first."""
        end = None if timeout is None else time.monotonic() + timeout
        while end is None or (left := end - time.monotonic()) > 0:
            if self._changed.wait_for(true, SIGNAL_ROUND if end is None else min(left, SIGNAL_ROUND)):
                return True
        return true()

    def _quiet(self, name: str | None) -> bool:
        if name is None:
            return not any(self._alive.values())
        if self._alive[name]:
            return False
        workflow = self._find(name)
        return workflow is None or workflow.state is not WorkflowState.RUNNING

    def _find(self, name: str) -> Workflow | None:
        workflow = self._workflows.get(name)
        if workflow is None:
            row = self._database.workflow(name)
            if row is not None:
                with held_back():
                    workflow = self._workflows[name] = Workflow.load(name, row, self._database, self._storage)
        return workflow

    def _get(self, name: str) -> Workflow:
        workflow = self._find(name)
        if workflow is None:
            raise InvalidInput(f"workflow {name!r}", "there is none of this name", nearest(name, self.workflows(), "workflows"))
        return workflow

    def _new(self, name: str, properties: Mapping[str, Any]) -> Workflow:
        self._looked_at.add(name)
        return Workflow(name, properties, self._storage)

    @contextmanager
    def _changing(self, workflow: Workflow) -> Iterator[None]:
        """A call changes a workflow: it is written down afterwards, or, where that can't be, as if nobody had called."""
        known = self._workflows.get(workflow.name) is workflow
        trouble = workflow.trouble
        if known:
            self._write(workflow)  # what Tasks left unwritten must outlive a change that is taken back
        try:
            yield
            self._write(workflow)
        except TROUBLE as error:  # not InvalidInput: that is refused before anything changes
            if known:
                self._take_back(workflow, trouble, error)
            raise

    def _take_back(self, workflow: Workflow, trouble: GaiaError | None, error: Trouble) -> None:
        try:
            row = self._database.workflow(workflow.name)
            assert row is not None
            again = Workflow.load(workflow.name, row, self._database, self._storage)
        except (GaiaError, OSError):  # whatever is wrong with the rows
            self._trouble(workflow, error)
            return
        again.trouble = trouble
        again.submits = [each for each in workflow.submits if each.task.id in again.running]
        again.conclude()
        self._workflows[workflow.name] = again
        self._changed.notify_all()

    def _trouble(self, workflow: Workflow, error: Trouble) -> None:
        """What was decided can't be written down, or a decision not be made: nothing starts until it can."""
        if workflow.trouble is None:
            kind = DatabaseError if isinstance(error, DatabaseError) else StorageError
            text = f"workflow {workflow.name!r} starts nothing more: {told(error)}; `run` continues it when that is mended"
            logger.error("%s", text)
            workflow.trouble = kind(text)
            workflow.ledger.note(EventKind.FLOW_HALTED, reason="trouble", message=told(error))
        self._news.add(workflow.name)
        self._cancels += workflow.cancels  # to stop what isn't recorded as stopped is safe
        workflow.cancels = []
        self._changed.notify_all()

    def _keep(self, workflow: Workflow) -> None:
        """Write down what happened; what can't be written is kept, and the workflow is in trouble."""
        try:
            self._write(workflow)
        except DatabaseError as error:
            self._trouble(workflow, error)
            raise

    def _write(self, workflow: Workflow) -> None:
        """Write down what changed, all of it in one transaction; only then is it acted on."""
        with self._database.transaction():
            if workflow.name not in self._workflows:
                self._database.add_workflow(workflow.name, workflow.properties, time.time())
            workflow.write(self._database)
        workflow.written()
        self._workflows[workflow.name] = workflow
        if workflow.trouble is None:
            self._alive[workflow.name] += len(workflow.submits)
            self._submits += workflow.submits
            workflow.submits = []
        self._cancels += workflow.cancels
        self._discards += workflow.discards
        workflow.cancels, workflow.discards = [], []
        self._news.add(workflow.name)
        if workflow.state is not WorkflowState.RUNNING:
            self._changed.notify_all()


def recorded_of(workflow: Workflow, keys: Iterable[KeyNode]) -> list[tuple[KeyNode, Datum | None, str | None]]:
    """Each key with its record and, as it is now, the recorded quick fingerprint."""
    data = workflow.ledger.data
    return [(key, datum, None if datum is None else datum.quick) for key in keys for datum in (data.get(key.key),)]


def see(storage: Storage, recorded: Iterable[tuple[KeyNode, Datum | None, str | None]]) -> list[Seen]:
    """Look at files, a stat first, contents where that differs; those that are as recorded are left out."""
    seen: list[Seen] = []
    for key, datum, before in recorded:
        quick = storage.look(key.key, key.path)
        if quick == before and (datum is not None or quick is None):
            continue
        digest = None
        if datum is not None and quick is not None:
            now = storage.fingerprint(key.key, key.path)
            quick, digest = (None, None) if now is None else (now.quick, now.digest)
        seen.append((key, datum, quick, digest))
    return seen


def planned(
    scratch: Workflow, storage: Storage, change: Callable[[Workflow], None], images: Mapping[str, str | None]
) -> list[dict[str, str]]:
    """What would run after `change`, worked out on a Workflow made for it."""
    for key, _, quick, digest in see(storage, recorded_of(scratch, list(scratch.flow.keys.values()))):
        scratch.freshness.observe(key, quick, digest)
    change(scratch)
    scratch.images_are(images)
    return scratch.plan()

"""The calls and the questions that a root's engine takes, in the process that owns the root.

The `DecisionLoop` makes the decisions, and keeps their order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from gaia_local.config import MAX_STEPS
from gaia_local.engine.decision_loop import DecisionLoop
from gaia_local.engine.failures import Failures
from gaia_local.engine.prepared_calls import PreparedCall
from gaia_local.engine.remembering import knows_any, recall
from gaia_local.engine.removing import remove_files
from gaia_local.engine.results import RecordedResult, RecordedResults
from gaia_local.engine.waiting import wait_until_quiet
from gaia_local.errors import EngineUnavailable, WorkflowExists
from gaia_local.executors.contract import Executor
from gaia_local.executors.results import Result
from gaia_local.model.commands import AnyCommand
from gaia_local.model.steps import Step
from gaia_local.model.tasks import Task
from gaia_local.model.workflows import WorkflowState, check_properties
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.contract import Runtime
from gaia_local.state.database import Database
from gaia_local.store.storage import Storage
from gaia_local.workflow.decision import Decision
from gaia_local.workflow.removing import removal
from gaia_local.workflow.states import Attempt, AttemptFigures
from gaia_local.workflow.submissions import Change
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import DropAnswer, EventEntry, LiveUsage

logger = logging.getLogger("gaia_local")
T = TypeVar("T")

CLOSED = "the engine was closed"
STALE_AFTER_SECONDS = 0.05
"""The age from which an observation may be out of date: less than the delay of a watcher."""


class Scheduler:
    """The head of one root's engine: its calls and questions. Thread-safe."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        runtime: Runtime,
        executor: Executor,
        failures: Failures | None = None,
        *,
        max_steps: int = MAX_STEPS,
        keep_attempts: int | None = None,
        flush_each_step: bool = False,
    ) -> None:
        """A call may make `max_steps` Steps; of each Step `keep_attempts` (None: all) are kept.

        `flush_each_step` as `Config.durability` has it.

        `failures` are the private directories that are kept; None: there are none.
        """
        self._failures = failures or Failures(storage.root, database, 0, 0)
        self._database, self._storage = database, storage
        self._runtime, self._executor = runtime, executor
        self._max_steps = max_steps
        self.loop = DecisionLoop(
            database,
            storage,
            runtime,
            executor,
            failures=self._failures,
            keep_attempts=keep_attempts,
            flush_each_step=flush_each_step,
        )

    # -- asking ------------------------------------------------------------------------------------

    def workflows(self) -> dict[str, dict[str, Any]]:
        """Name → `state`, `properties`, `steps`."""
        return self._database.workflows()

    def view(self, name: str, look: Callable[[Workflow], T]) -> T | None:
        """The answer of `look` for a workflow, under the lock; None if absent or being deleted."""
        self.loop.registry.open(name)
        with self.loop.lock:
            workflow = None if name in self.loop.deleting else self.loop.workflows.get(name)
            return None if workflow is None else look(workflow)

    def view_with_attempts(
        self, name: str, look: Callable[[Workflow, list[Attempt]], T]
    ) -> T | None:
        """As `view`; `look` is given all attempts, too, as they are at that moment."""
        return self.view(name, lambda workflow: look(workflow, self.attempts(name)))

    def scratch(self, name: str) -> Workflow:
        """A copy of a workflow, with its files as they are now: as the next call would find it."""
        return self.loop.looks.load_for_trial(self.loop.registry.saved(name))

    def images(self, names: Iterable[str]) -> dict[str, str | None]:
        """Image name → its present id; None if unknown."""
        return {name: self._runtime.image_id(name) for name in names}

    def identity(self, task: Task) -> str | None:
        """As `Runtime.identity`."""
        return self._runtime.identity(task)

    def results(self, fingerprint: str) -> list[Result]:
        """The results of Tasks with a fingerprint, the newest first."""
        return list(RecordedResults(self._database, self._storage).find(fingerprint))

    def with_results(self, name: str) -> list[RecordedResult]:
        """As `RecordedResults.of_workflow`."""
        return RecordedResults(self._database, self._storage).of_workflow(name)

    def doing(self, name: str) -> list[str]:
        """Sentences on what is done with large files of a workflow at this moment."""
        return self.loop.looks.doing.of(name)

    def usage(self, name: str) -> dict[str, LiveUsage]:
        """Step → what its run took so far, for those that ran long enough to be looked at."""
        return self.loop.live_usages.of(name)

    def attempts(self, name: str, step: str | None = None) -> list[Attempt]:
        """All Tasks of a workflow, or of one Step of it, oldest first."""
        with self.loop.lock:
            return self.loop.journal.attempts(name, step, self.loop.workflows.get(name))

    def attempt_figures(self, name: str) -> dict[str, AttemptFigures]:
        """As `Database.attempt_figures`."""
        return self._database.attempt_figures(name)

    def workers(self, name: str, step: str) -> dict[str, int]:
        """Task id → the number of the worker that ran it, of the attempts at a Step."""
        with self.loop.lock:
            return self.loop.journal.workers(name, step, self.loop.workflows.get(name))

    def events(self, name: str) -> list[EventEntry]:
        """The recorded events, oldest first."""
        with self.loop.lock:
            return self.loop.journal.events(name, self.loop.workflows.get(name))

    def listing(self, digest: str) -> bytes | None:
        """`Fingerprint.listing` of the directory with this digest, if recorded."""
        return self._database.listing(digest)

    def wait(self, name: str | None, timeout: float | None = None) -> bool:
        """Block until a workflow (None: every one) is quiet; False when the seconds ran out first.

        Raises the `GaiaError` of a workflow that is quiet because of trouble.
        """
        if name is not None:
            self.loop.registry.open(name)
        quiet = wait_until_quiet(self.loop, name, timeout)
        if quiet:
            self.loop.flush()
        with self.loop.lock:
            if quiet and name is not None:
                self.loop.raise_trouble(name)
            return quiet

    def subscribe(self, tell: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """Call `tell` with the names of changed workflows; the returned function ends that.

        It is called in the thread that made the change, without the lock, and must not block. Its
        exceptions are logged.
        """
        return self.loop.subscribers.subscribe(tell)

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
        """Merge Commands, into a new workflow if there is none."""
        self._define(name, commands, [], check_properties(name, None))

    def merge(self, name: str, steps: list[Step]) -> None:
        """Merge Steps, into a new workflow if there is none."""
        self._define(name, [], steps, check_properties(name, None))

    def update(self, name: str, commands: list[AnyCommand], steps: list[Step]) -> None:
        """Merge Commands and Steps at once, into a new workflow if there is none."""
        if commands or steps:
            self._define(name, commands, steps, check_properties(name, None))

    def run(self, name: str) -> None:
        """Start all that can run, failed Steps included; no change while the workflow runs."""
        workflow = self.loop.registry.get(name)
        with self.loop.lock:
            if workflow.running and workflow.trouble is None:
                return
        self.loop.inspect_files(name)
        with self.loop.lock:
            used = {image for _, image, _ in workflow.recorded_images()}
        images = self.images(used)
        with self.loop.lock:
            complete = workflow.state is WorkflowState.COMPLETE
            idle = complete and not workflow.made_by_other_images(images)
        # Otherwise the runtime gets ready for Tasks.
        call = PreparedCall() if idle else self._prepared(workflow)
        self.loop.insist(name, lambda workflow: workflow.run(images), call)

    def halt(self, name: str) -> None:
        """Cancel all running Tasks of a workflow."""
        self.loop.registry.get(name)
        self.loop.insist(name, lambda workflow: workflow.halt("halted"))

    def expire(self, name: str, keys: Iterable[str]) -> None:
        """Make Steps, the producers of keys, and all that depends on them run again."""
        names, workflow = list(keys), self.loop.registry.get(name)
        self.loop.inspect_files(name)
        call = self._prepared(workflow)
        self.loop.insist(name, lambda workflow: workflow.expire(names), call)

    def remove(self, name: str, names: Iterable[str], data: bool) -> None:
        """Remove Steps and Commands of a workflow and, with `data`, the files that they made.

        Raises `StorageError`, and changes nothing, if one of the files can't be removed.
        """
        wanted, workflow = list(names), self.loop.registry.get(name)
        if data:
            with self.loop.lock:
                leaving = _outputs(workflow, removal(name, workflow.submitted, wanted))
            self._storage.refuse_stuck(name, leaving)
        self.loop.inspect_files(name)
        call = self._prepared(workflow)
        outputs: list[str] = []

        def remove(workflow: Workflow) -> Decision:
            change = removal(name, workflow.submitted, wanted)
            outputs[:] = _outputs(workflow, change)
            places = {key: self._place(name, key, data) for key in outputs}
            decision = workflow.remove(change)
            # Whoever makes them anew is told by these records whether they are of his making.
            decision.changes.remembered = {
                key: place for key, place in places.items() if place is not None
            }
            return decision

        self.loop.insist(name, remove, call)
        if data:
            remove_files(self.loop, self._storage, name, outputs)
        self._free_absent(name)

    def delete(self, name: str, data: bool) -> None:
        """Stop and forget a workflow: rows, logs and, with `data`, its files in the store."""
        self.loop.registry.get(name)
        with self.loop.lock:
            self.loop.deleting.add(name)
        try:
            self.loop.insist(name, lambda workflow: workflow.halt("deleted"))
            wait_until_quiet(self.loop, name)
            # The files that stay must be complete: a new upload of this name finds them.
            self.loop.flush()
            self._database.remember(name, lambda key: self._place(name, key, data))
            # If a file can't be removed, the workflow stays, and can be deleted again.
            self._storage.delete(name, data)
            self._failures.free_absent(name)
            with self.loop.lock:
                self._database.delete_workflow(name, data)
                self.loop.registry.forget(name)
            self._database.sync()
        finally:
            with self.loop.lock:
                self.loop.deleting.discard(name)
            self.loop.notify((name,))

    def drop_attempts(self, keep: int | None, before: float | None) -> DropAnswer:
        """Drop all attempts beyond the newest `keep` of each Step, and those `before` a time."""
        return self.loop.retention.drop(keep, before)

    # -- the end -----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Halt all running workflows."""

        def halted(workflow: Workflow) -> Decision:
            halts = workflow.state is WorkflowState.RUNNING
            return (
                workflow.halt(CLOSED, reason="closed", message=CLOSED)
                if halts
                else workflow.flush()
            )

        for name in list(self.loop.workflows):
            self.loop.handle(name, halted)
            if name in self.loop.journal:  # the next engine records its Tasks as interrupted
                logger.error("workflow %r: the latest results could not be recorded", name)

    def refuse(self) -> None:
        """Accept no more calls, start nothing more, and end all looks at files. Idempotent."""
        with self.loop.lock:
            self.loop.looks.closed = True

    def close(self) -> None:
        """Halt all workflows, start no more, and end the executor's threads. Idempotent."""
        self.refuse()
        self.stop()
        self._executor.close()
        flushed = self.loop.flush()
        self.loop.retention.drop_due()
        if flushed:
            self._database.set_boot("")

    def kill_now(self) -> None:
        """Kill halted Tasks, now and later, without a grace."""
        self._executor.kill_now()

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
            self.loop.inspect_files(name, unless_done=True)
        while True:
            known = self.loop.registry.open(name)
            if new and known is not None:
                raise WorkflowExists(f"workflow already exists: {name}")
            with self.loop.lock:
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
            began, buckets = monotonic(), self._storage.buckets(unknown)
            looks = self.loop.looks.work
            made = {key for step in change.added for key in step.outputs.values()}
            seen = {
                key: self._storage.quick_fingerprint(key, path, key not in made, looks)
                for key, path in unknown.items()
            }
            origins = recall(self._database, self._storage, name, outputs, seen, looks=looks)

            def define(workflow: Workflow) -> Decision | None:
                if workflow.submitted.edition != edition:  # noqa: B023 it is called at once
                    return None  # another call was faster
                decision = workflow.define(change, seen, origins)  # noqa: B023
                decision.changes.buckets = buckets  # noqa: B023
                return decision

            if self.loop.handle(name, define, call if known else call._replace(new=workflow)):
                if monotonic() - began > STALE_AFTER_SECONDS:
                    self.loop.inspect_files(name, seen)
                if any(seen[key] for key in made & seen.keys()):
                    self.loop.flush()
                self._database.sync()
                self._free_absent(name)
                return

    def _free_absent(self, name: str) -> None:
        """Remove the kept private directories of Steps that are gone."""
        with self.loop.lock:
            workflow = self.loop.workflows.get(name)
            steps = set() if workflow is None else set(workflow.graph.steps)
        self._failures.free_absent(name, steps)

    def _prepared(self, workflow: Workflow, change: Change | None = None) -> PreparedCall:
        """Ask the runtime for the facts that a call needs to start Steps, or to make a change."""
        with self.loop.lock:
            images, interrupted = workflow.images(change), any(workflow.attempts.interrupted)
        try:
            if images:
                self._runtime.check(images)
        except EngineUnavailable as error:
            advice = (
                "nothing of this call was stored: repeat it then; "
                "`run` continues with what was stored before"
            )
            return PreparedCall(EngineUnavailable(f"{error}; {advice}"))
        return PreparedCall(
            resumable=frozenset(self._runtime.resumable_tasks()) if interrupted else frozenset()
        )

    def _place(self, name: str, key: str, data: bool) -> str | None:
        """The place of a file that stays when its workflow is deleted; else None."""
        return (
            None
            if data and not self._storage.is_mapped(key)
            else self._storage.place(self._storage.path(name, key))
        )


def _outputs(workflow: Workflow, change: Change) -> list[str]:
    """The keys that the removed Steps make."""
    nodes = [workflow.graph.steps[step] for step in change.removed]
    return [key.key for node in nodes for key in node.outputs]

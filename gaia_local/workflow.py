"""One workflow in memory: what it is made of, what is known of its files, what runs; and the decisions about those.

Every method changes the memory alone and notes what changed; the scheduler holds its lock around them, writes the notes
to the database in one transaction (`write`), and then acts on `submits` and `cancels`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from gaia_local import templates
from gaia_local.assignment import Assignment
from gaia_local.database import Attempt, Database
from gaia_local.errors import GaiaError, InvalidInput, nearest
from gaia_local.flow import Flow, KeyNode, StepNode
from gaia_local.freshness import Freshness
from gaia_local.ledger import Ledger
from gaia_local.model import (
    NO_KEYS,
    AnyCommand,
    Command,
    DataState,
    Event,
    EventKind,
    Fingerprint,
    Step,
    Task,
    TaskState,
    WorkflowState,
)
from gaia_local.runtime import BY_REQUEST
from gaia_local.storage import Storage
from gaia_local.submitted import Submitted
from gaia_local.worker import Outcome

_FAILED = (TaskState.ERROR, TaskState.EXCEPTION)


class Workflow:
    """The whole of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, name: str, properties: Mapping[str, Any], storage: Storage) -> None:
        self.name, self.properties, self._storage = name, properties, storage
        self.phase = WorkflowState.INITIALIZED
        """What the user wants: `INITIALIZED` (stored, not started yet), `RUNNING`, or `HALTED`."""
        self.submitted = Submitted(name)
        self.flow = Flow(name, lambda key: storage.path(name, key))
        self.ledger = Ledger(name)
        self.freshness = Freshness(self.flow, self.ledger, storage, self._let_go)
        self.running: dict[str, Attempt] = {}
        """Task id → the Tasks that count: submitted, not ended, not cancelled."""
        self.failed: set[str] = set()
        """Steps that ran and failed, and are not to be started before something changes."""
        self.submits: list[Assignment] = []
        self.cancels: list[str] = []
        self.discards: list[str] = []
        """Tasks of an earlier process, of which nothing is to be left."""
        self.left: set[str] = set()
        """Tasks of an earlier process whose runs can be taken up."""
        self._interrupted: list[Attempt] = []
        """Among these are all `interrupted` ones: there come none to what was read."""
        self.trouble: GaiaError | None = None
        """Why nothing is started any more, until `run` tries again: mostly that nothing can be written down."""
        self._stored_state = WorkflowState.INITIALIZED
        self._stored_steps = 0
        self._flowing = False

    @staticmethod
    def load(name: str, row: Mapping[str, Any], database: Database, storage: Storage) -> Workflow:
        """Read a workflow back as it was stored. Looks at no file, starts nothing."""
        workflow = Workflow(name, row["properties"], storage)
        stored = WorkflowState(row["state"])
        started = stored not in (WorkflowState.INITIALIZED, WorkflowState.HALTED)
        workflow.phase = WorkflowState.RUNNING if started else stored
        workflow._stored_state, workflow._stored_steps = stored, row["steps"]
        steps = workflow.submitted.load(database)
        workflow.ledger.data = database.data(name)
        for key in workflow.flow.replace((), steps, trusted=True):
            datum = workflow.ledger.data.get(key.key)
            if datum is not None:
                workflow.flow.set_complete(key, datum.state is DataState.COMPLETE)
            elif key.above and key.maker is None:
                workflow.flow.set_complete(key, storage.exists(key.key, key.path))
        for attempt in database.latest(name):
            node = workflow.flow.steps.get(attempt.task.name)
            if node is None:
                continue
            workflow.ledger.latest[attempt.task.name] = attempt
            if attempt.state is TaskState.INTERRUPTED:
                workflow._interrupted.append(attempt)
            if attempt.state is TaskState.RUNNING:  # another process runs it, which owns the root
                workflow.running[attempt.task.id] = attempt
                workflow.flow.claim(node, True)
            if attempt.state in _FAILED and not attempt.superseded and node.open:
                workflow.failed.add(attempt.task.name)
                workflow.flow.claim(node, True)
        return workflow

    # -- the state ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> WorkflowState:
        """The state as `status` answers it."""
        if not self.flow.steps:
            state = WorkflowState.INITIALIZED
        elif self.trouble is not None and len(self.running) == len(self.submits):
            state = WorkflowState.HALTED
        elif self.phase is WorkflowState.HALTED or self.running:
            state = self.phase
        elif not self.flow.open:
            state = WorkflowState.COMPLETE
        elif self.phase is WorkflowState.INITIALIZED:
            state = WorkflowState.INITIALIZED
        elif any(self.flow.steps[name].open for name in self.failed):
            state = WorkflowState.ERROR
        else:
            state = WorkflowState.INCOMPLETE
        return state

    # -- changing what it is made of ------------------------------------------------------------------------------

    def define(self, commands: Iterable[AnyCommand], steps: Iterable[Step]) -> None:
        """Merge Commands and Steps; all of it or, with `InvalidInput`, nothing.

        What is new is linked in; what changed is replaced and must run again, with all that depends on it.
        """
        change = self.submitted.compare(commands, steps, lambda name: self.flow.steps[name].step)
        self._replace(change.removed, change.added, change.replaced)
        self.submitted.accept(change)

    def _replace(self, removed: list[str], added: list[Step], replaced: Mapping[str, str]) -> None:
        abandoned = {key.key for name in removed for key in self.flow.steps[name].outputs}
        readers = [node for name in removed for node in self.flow.steps[name].successors()]
        fresh = self.flow.replace(removed, added)  # refuses, or succeeds
        for name in removed:
            self.failed.discard(name)
            attempt = self.ledger.latest.get(name)
            if attempt is not None:
                self._cancel(attempt, "the Step was replaced")
                self._drop(attempt)
                self.ledger.supersede(attempt.task.name)
                if name not in self.flow.steps:
                    del self.ledger.latest[name]
        for key in abandoned:
            left = self.flow.keys.get(key)
            if left is None or left.maker is None:
                self.freshness.abandon(key)
        for key_node in fresh:
            self.freshness.look(key_node)
        nodes = [self.flow.steps[step.name] for step in added]
        for node in nodes:
            if node.step.name in replaced:
                self.freshness.expire(node, node.outputs, replaced[node.step.name])
        # What lies there already counts for a new Step, so it isn't expired with what is above it.
        new = {step.name for step in added} - set(replaced)
        lost = [node for node in readers if self.flow.steps.get(node.step.name) is node]
        self.freshness.expire_below([node for node in nodes if node.step.name in replaced], lost, new.__contains__)
        self.freshness.expire_below(
            [node for node in nodes if node.step.name in new and node.open],
            [],
            lambda name: name in new or name not in self.ledger.latest,  # one that never ran
        )

    # -- what must run again --------------------------------------------------------------------------------------

    def expire(self, names: Iterable[str]) -> None:
        """Make the producers of keys, Steps, and all that depends on them run again. Unknown names are refused."""
        steps: dict[str, StepNode] = {}
        keys: dict[str, KeyNode] = {}
        for name in names:
            if name in self.flow.steps:
                steps[name] = self.flow.steps[name]
            elif name in self.submitted.expansions:
                steps.update((each, self.flow.steps[each]) for each in self.submitted.names(name))
            elif name in self.flow.keys:
                keys[name] = self.flow.keys[name]
            else:
                known = [*self.flow.steps, *self.submitted.steps, *self.flow.keys]
                raise InvalidInput(
                    f"workflow {self.name!r}", f"there is no Step and no key {name!r}", nearest(name, known, "Steps and keys")
                )
        tops = dict(steps)
        for node in steps.values():
            self.freshness.expire(node, node.outputs, "expired")
        readers: list[StepNode] = []
        for key in keys.values():
            for made in (key, *key.above):
                if made.maker is not None:
                    self.freshness.expire(made.maker, (made,), "expired")
                    tops[made.maker.step.name] = made.maker
            if key.maker is None:
                readers += key.readers
        self.freshness.expire_below(list(tops.values()), readers)

    def _let_go(self, node: StepNode, why: str) -> None:
        attempt = self.ledger.latest.get(node.step.name)
        if attempt is not None:
            self._cancel(attempt, why)
            self._drop(attempt)
        if node.step.name in self.failed:
            self.failed.discard(node.step.name)
            self.flow.claim(node, False)

    def unpublished(self, attempt: Attempt) -> None:
        """Storing a Task's outputs failed midway: what lies at their keys doesn't count."""
        for key, _ in attempt.task.outputs:
            self.ledger.set(key, self.ledger.data.get(key), DataState.EXPIRED, "retry after error")

    # -- running ------------------------------------------------------------------------------------------------

    def retry(self) -> None:
        """Let failed Steps start again."""
        for name in list(self.failed):
            self.flow.claim(self.flow.steps[name], False)
        self.failed.clear()

    def halt(self, why: str, **facts: Any) -> None:
        """Cancel all that runs and start nothing more; the event carries `facts`."""
        for attempt in list(self.running.values()):
            self._cancel(attempt, why)
        for attempt in self.interrupted:
            self._drop(attempt)
        self.phase = WorkflowState.HALTED
        self.ledger.note(EventKind.FLOW_HALTED, **facts)

    def images(self) -> dict[str, list[str]]:
        """Image → the Steps whose complete outputs were made with it."""
        used: dict[str, list[str]] = {}
        for name, attempt in self.ledger.latest.items():
            if attempt.state is TaskState.COMPLETE and not attempt.superseded and attempt.image_id is not None:
                used.setdefault(attempt.task.image, []).append(name)
        return used

    def images_are(self, identities: Mapping[str, str | None]) -> None:
        """Which images the names mean now: what was made with others must be made again."""
        changed = []
        for image, names in self.images().items():
            identity = identities.get(image)
            for name in names:
                if identity is not None and self.ledger.latest[name].image_id != identity:
                    node = self.flow.steps[name]
                    self.freshness.expire(node, node.outputs, "image changed")
                    changed.append(node)
        self.freshness.expire_below(changed, [])

    def plan(self) -> list[dict[str, str]]:
        """What would run, in an order in which it could: `step` and `reason`. Spends this object: make one for it.

        Where a Step runs again because of a changed file, what depends on it is listed, too: nobody knows yet whether
        its outputs come out the same.
        """
        self.phase = WorkflowState.RUNNING
        planned = []
        pretended = [self.flow.steps[attempt.task.name] for attempt in self.running.values()]
        while pretended or self.flow.startable:
            for node in pretended:
                for key in node.outputs:
                    self.freshness.published(key, Fingerprint("planned", "planned"), "planned", None)
                    for other in key.below:
                        self.flow.set_complete(other, True)
                self.flow.claim(node, True)
            pretended = []
            for node in sorted(self.flow.startable.values(), key=lambda node: node.order):
                if node.startable and not self.freshness.restore(node):
                    planned.append({"step": node.step.name, "reason": self.reason(node)})
                    pretended.append(node)
        return planned

    def start(self) -> None:
        """Make Tasks of all Steps that can start."""
        if self.phase is not WorkflowState.RUNNING or self.trouble is not None:
            return
        while self.flow.startable:
            for node in self.flow.ready():
                if node.startable and not self.freshness.restore(node):
                    self._begin(node)

    @property
    def interrupted(self) -> list[Attempt]:
        """The Tasks that an earlier process left in the midst."""
        latest = self.ledger.latest
        self._interrupted = [
            attempt
            for attempt in self._interrupted
            if attempt.state is TaskState.INTERRUPTED and not attempt.superseded and latest.get(attempt.task.name) is attempt
        ]
        return self._interrupted

    def _drop(self, attempt: Attempt) -> None:
        """What an earlier process left of a Task doesn't count any more."""
        if attempt.state is TaskState.INTERRUPTED and not attempt.superseded:
            self.ledger.supersede(attempt.task.name)
            self.left.discard(attempt.task.id)
            self.discards.append(attempt.task.id)

    def _begin(self, node: StepNode) -> None:
        left = self.ledger.latest.get(node.step.name)
        if left is not None and left.task.id in self.left and self._read_the_same(node, left):
            self._adopt(node, left)
            return
        task = self.make_task(node)
        if left is not None:
            self._drop(left)
        attempt = Attempt(task, TaskState.RUNNING, time.time())
        self.flow.claim(node, True)
        self.running[task.id] = attempt
        self.ledger.begin(attempt)
        self.submits.append(Assignment(task, node.rank, self._known(node)))

    def _adopt(self, node: StepNode, attempt: Attempt) -> None:
        attempt.state, attempt.ended, attempt.message = TaskState.RUNNING, None, None
        self.left.remove(attempt.task.id)
        self.flow.claim(node, True)
        self.running[attempt.task.id] = attempt
        self.ledger.changed(attempt)
        self.submits.append(Assignment(attempt.task, node.rank, adopted=True))

    def _read_the_same(self, node: StepNode, attempt: Attempt) -> bool:
        """Whether a Task began with the contents that its inputs have now."""
        # NOTE: a digest that isn't recorded is made here, under the lock; only a first run's outside input has none.
        read = attempt.inputs
        return read is not None and all(read.get(key.key) == self.freshness.digest(key) for key in node.inputs)

    def make_task(self, node: StepNode) -> Task:
        """The Task that a Step would be now."""
        command = self.submitted.commands[node.step.command]
        assert isinstance(command, Command)
        rendered = templates.render(self.name, node.step, command)
        outside = [key.key for key in node.inputs if key.external]
        return Task(
            id=uuid.uuid4().hex,
            name=node.step.name,
            workflow=self.name,
            image=rendered.image,
            command=rendered.tokens,
            inputs=rendered.inputs,
            outputs=rendered.outputs,
            stdout=rendered.stdout,
            timeout=rendered.timeout,
            reason=self.reason(node),
            external=frozenset(outside) if outside else NO_KEYS,
            resources=command.resources,
        )

    def _known(self, node: StepNode) -> dict[str, Fingerprint]:
        """What is recorded of a Step's inputs."""
        known = {}
        for key in node.inputs:
            datum = self.ledger.data.get(key.key)
            if datum is not None and datum.quick is not None and datum.digest is not None:
                known[key.key] = Fingerprint(datum.quick, datum.digest)
        return known

    def reason(self, node: StepNode) -> str:
        """Why a Step that can start would run."""
        attempt = self.ledger.latest.get(node.step.name)
        if attempt is not None and not attempt.superseded:
            if attempt.state in _FAILED:
                return "retry after error"
            if attempt.state is TaskState.INTERRUPTED:
                return "interrupted"
        for key in node.outputs:
            datum = self.ledger.data.get(key.key)
            if not key.present and datum is not None and datum.why is not None:
                return datum.why
        if attempt is not None and attempt.state is TaskState.COMPLETE:
            gone = next((key.key for key in node.outputs if not key.present), None)
            return f"output missing: {gone}"
        if attempt is not None and attempt.state is TaskState.CANCELLED:
            return attempt.task.reason
        return "new"

    # -- what comes back ------------------------------------------------------------------------------------------

    def happened(self, attempt: Attempt, event: Event) -> None:
        """An event of a Task that counts."""
        if event.event is EventKind.STEP_START:
            attempt.started = event.time
            attempt.inputs = event.facts.get("inputs")
            self.ledger.changed(attempt)
        self.ledger.record(event)

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """A Task that counts came to its end; its outputs were published just now."""
        task, now = attempt.task, time.time()
        node = self.flow.steps[task.name]
        del self.running[task.id]
        attempt.state, attempt.exit_code, attempt.message = outcome.state, outcome.exit_code, outcome.message
        attempt.image_id, attempt.ended = outcome.image_id, now
        if outcome.inputs:  # an adopted Task's were told at its start
            attempt.inputs = {key: seen.digest for key, seen in outcome.inputs.items()}
        self.ledger.changed(attempt)
        for key, seen in outcome.inputs.items():
            self.freshness.was_read(self.flow.keys[key], seen)
        doubtful = next((key for key in node.inputs if not key.complete), None)
        for output in outcome.outputs:
            self.freshness.published(self.flow.keys[output.key], output.fingerprint, task.id, doubtful)
            self.ledger.note(EventKind.DATA_COMPLETE, task, key=output.key, path=output.target)
        if outcome.state is TaskState.COMPLETE:
            made = {output.key: output.fingerprint.digest for output in outcome.outputs}
            self.ledger.note(
                EventKind.STEP_COMPLETE,
                task,
                reason=task.reason,
                image_id=outcome.image_id,
                command=task.command,
                inputs=attempt.inputs,
                outputs=made,
                elapsed=now - (attempt.started or attempt.created),
            )
            self.flow.claim(node, False)
            return
        if outcome.state is TaskState.CANCELLED:
            self.flow.claim(node, False)
            return
        if outcome.state is TaskState.INTERRUPTED:
            self.flow.claim(node, False)
            if self.phase is WorkflowState.RUNNING:
                self.phase = WorkflowState.HALTED
                self.ledger.note(EventKind.FLOW_HALTED, reason="interrupted", message=outcome.message)
            return
        self.failed.add(task.name)
        if not node.open:  # a Step that makes nothing but its log: the log of a failure doesn't complete it
            for log in node.outputs:
                self.ledger.set(log.key, self.ledger.data[log.key], DataState.EXPIRED, "retry after error")
                self.flow.set_complete(log, False)
        if outcome.reason is not None:
            self.ledger.note(EventKind.STEP_TERMINATED, task, reason=outcome.reason)
        if outcome.state is TaskState.ERROR:
            self.ledger.note(EventKind.STEP_ERROR, task, log=outcome.tail, code=outcome.exit_code, message=outcome.message)
        else:
            self.ledger.note(EventKind.TASK_ERROR, task, message=outcome.message, exception=outcome.exception)

    # -- writing it down ------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """After a whole decision: note the end of the flow, when nothing runs any more and something did."""
        if self._flowing and self.state is WorkflowState.COMPLETE:
            self.ledger.note(EventKind.FLOW_COMPLETE)
        elif self._flowing and self.state is WorkflowState.INCOMPLETE:
            self.ledger.note(EventKind.FLOW_INCOMPLETE)
        self._flowing = self.state is WorkflowState.RUNNING

    def write(self, database: Database) -> None:
        """Write all that changed since the last `written`; the caller holds the transaction."""
        self.submitted.write(database)
        self.ledger.write(database)
        if (self.state, len(self.flow.steps)) != (self._stored_state, self._stored_steps):
            database.set_workflow(self.name, self.state.value, len(self.flow.steps))

    def written(self) -> None:
        """The transaction of `write` was committed."""
        self._stored_state, self._stored_steps = self.state, len(self.flow.steps)
        self.submitted.written()
        self.ledger.written()

    def _cancel(self, attempt: Attempt, why: str) -> None:
        if self.running.pop(attempt.task.id, None) is None:
            return
        attempt.state, attempt.ended, attempt.message = TaskState.CANCELLED, time.time(), why
        self.ledger.changed(attempt)
        kept = [each for each in self.submits if each.task.id != attempt.task.id]
        if len(kept) == len(self.submits):
            self.cancels.append(attempt.task.id)
        else:  # it was never submitted: there was trouble
            self.submits = kept
            self.discards.append(attempt.task.id)
        self.ledger.note(EventKind.STEP_TERMINATED, attempt.task, reason=BY_REQUEST)
        node = self.flow.steps.get(attempt.task.name)
        if node is not None and self.ledger.latest.get(attempt.task.name) is attempt:
            self.flow.claim(node, False)

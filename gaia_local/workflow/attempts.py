"""The attempts at a workflow's Steps: begins, cancels and ends Tasks.

All changes are added to the decision in the making.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.commands import Command
from gaia_local.model.events import Event, EventKind
from gaia_local.model.tasks import (
    BY_REQUEST,
    NO_KEYS,
    Fingerprint,
    Task,
    TaskState,
    new_task_id,
)
from gaia_local.workflow import templates
from gaia_local.workflow.decision import Decision
from gaia_local.workflow.graph import Graph
from gaia_local.workflow.nodes import StepNode
from gaia_local.workflow.origins import Origin
from gaia_local.workflow.origins import inherit as inherited
from gaia_local.workflow.states import (
    RETRY,
    Attempt,
    KeyKind,
    Reason,
    StepState,
    VerdictKind,
)
from gaia_local.workflow.submissions import Submitted
from gaia_local.workflow.verdicts import verdict_on


class Attempts:
    """The Tasks of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, workflow: str, submitted: Submitted, graph: Graph, draft: Decision) -> None:
        """`draft` is the decision in the making."""
        self._workflow, self._submitted = workflow, submitted
        self._graph, self._draft = graph, draft
        self.running: dict[str, Attempt] = {}
        """Task id → attempts that are queued or running, and not cancelled."""
        self.begun: set[str] = set()
        """The ids of those of them that aren't queued any more."""
        self.resumable: set[str] = set()
        """Ids of an earlier process's Tasks that can be resumed."""
        self.reuse = False
        """Whether any Task of the workflow was ever given the results of another one."""

    @property
    def interrupted(self) -> list[Attempt]:
        """The Tasks of an earlier process that did not end."""
        nodes = self._graph.steps.values()
        return [
            node.attempt
            for node in nodes
            if node.state is StepState.INTERRUPTED and node.attempt is not None
        ]

    def make_task(self, node: StepNode) -> Task:
        """A new Task for a Step's present definition; for an unfit one, as it last fitted."""
        known = self._submitted.commands if node.unfit is None else node.unfit.commands
        command = known[node.step.command]
        assert isinstance(command, Command)
        rendered = templates.render(self._workflow, node.step, command)
        outside = [key.key for key in node.inputs if key.external]
        return Task(
            id=new_task_id(),
            name=node.step.name,
            workflow=self._workflow,
            image=rendered.image,
            command=rendered.tokens,
            inputs=rendered.inputs,
            outputs=rendered.outputs,
            stdout=rendered.stdout,
            timeout=rendered.timeout,
            reason=str(verdict_on(node).reason),
            external=frozenset(outside) if outside else NO_KEYS,
            resources=command.resources,
            reusable=command.reuse,
        )

    def begin(self, node: StepNode) -> None:
        """Start a Step, or resume its Task, unless a file must be inspected first."""
        adopted = self._can_adopt(node)
        if node.verdict is not VerdictKind.RUN:
            return
        attempt = self._adopt(node) if adopted else self._add(node)
        for key in node.outputs:
            if key.state.kind is KeyKind.THERE:
                why = Reason.parse(attempt.task.reason)
                self._graph.mark(key, key.state._replace(kind=KeyKind.UNSURE, why=why))
        self._graph.mark_step(node, attempt.step_state)
        self.count_in(attempt)
        self._draft.start.append(Assignment(attempt.task, node.rank, _fingerprints(node), adopted))

    def count_in(self, attempt: Attempt) -> None:
        """Let a Task that is queued or runs be one of `running`."""
        self.running[attempt.task.id] = attempt
        if attempt.started is not None:
            self.begun.add(attempt.task.id)

    def _can_adopt(self, node: StepNode) -> bool:
        """Whether an interrupted Task can be resumed, and its inputs are unchanged."""
        attempt = node.attempt
        if node.state is not StepState.INTERRUPTED or attempt is None:
            return False
        if attempt.task.id not in self.resumable:
            return False
        same = attempt.inputs is not None and self._graph.reads_the_same(node, attempt.inputs)
        self._graph.settle()
        return same

    def _adopt(self, node: StepNode) -> Attempt:
        attempt = node.attempt
        assert attempt is not None
        attempt.state, attempt.ended, attempt.message = TaskState.RUNNING, None, None
        node.reads = attempt.inputs
        self.resumable.remove(attempt.task.id)
        self._draft.changes.ended[attempt.task.id] = attempt
        return attempt

    def _add(self, node: StepNode) -> Attempt:
        task = self.make_task(node)
        if node.state is StepState.INTERRUPTED:
            self.supersede(node)
        attempt = node.attempt = Attempt(task, TaskState.RUNNING, time.time())
        node.reads = {key.key: key.state.digest for key in node.inputs}
        self._draft.changes.begun.append(attempt)
        return attempt

    def inherit(self, node: StepNode, origins: Mapping[str, Sequence[Origin]]) -> None:
        """Give a new Step the recorded history of files that would else count as the user's."""
        users = (
            key
            for key in node.outputs
            if key.state.kind is KeyKind.THERE and key.state.made_by is None
        )
        found = [key for key in users if key.key in origins]
        if not found:
            return
        attempt, states = inherited(
            self.make_task(node), {key.key: origins[key.key] for key in found}
        )
        for key in found:
            self._graph.mark(key, states[key.key])
        if attempt is not None:
            node.attempt, node.reads = attempt, attempt.inputs
            self._graph.mark_step(node, attempt.step_state)
            self._draft.changes.begun.append(attempt)
            self._draft.changes.ended[attempt.task.id] = attempt

    def record_event(self, task: Task, event: Event) -> bool:
        """Record the event of a Task in `running`.

        Returns whether a decision is needed, since inputs may be out of date.
        """
        self._draft.changes.events.append(event)
        if not event.event.begins:
            return False
        attempt, node = self.running[task.id], self._graph.steps[task.name]
        if event.event is not EventKind.STEP_ADOPTED:
            attempt.started, attempt.inputs = event.time, event.facts.get("inputs")
            self.begun.add(task.id)
            node.reads = attempt.inputs or node.reads
            self._draft.changes.ended[task.id] = attempt
            for key in node.inputs:
                known = key.state.digest
                if (
                    key.state.usable
                    and known is not None
                    and known != (node.reads or {}).get(key.key, known)
                ):
                    self._graph.require_inspection(key)  # it changed unnoticed
        self._graph.mark_step(node, StepState.RUNNING)
        self._graph.settle()
        return bool(self._graph.overtaken or self._graph.to_inspect)

    def record_end(self, task: Task, outcome: Outcome) -> Attempt:
        """Record the end of a Task in `running`."""
        attempt = self.running.pop(task.id)
        self.begun.discard(task.id)
        attempt.state, attempt.ended = outcome.state, time.time()
        attempt.exit_code, attempt.message = outcome.exit_code, outcome.message
        attempt.image_id, attempt.reused = outcome.image_id, outcome.reused
        attempt.usage = outcome.usage
        self.reuse |= attempt.reused is not None
        if outcome.fingerprint is not None and outcome.state is TaskState.COMPLETE:
            self._draft.changes.fingerprints[task.id] = outcome.fingerprint
        if outcome.inputs:  # an adopted Task's were recorded at its start
            attempt.inputs = {key: read.digest for key, read in outcome.inputs.items()}
        self._draft.changes.ended[task.id] = attempt
        node = self._graph.steps[task.name]
        node.reads = attempt.inputs
        self._graph.mark_step(node, attempt.step_state)
        return attempt

    def note_success(self, attempt: Attempt, outcome: Outcome) -> None:
        """Add the event of a complete Task, which holds its whole record."""
        task, ended = attempt.task, attempt.ended
        assert ended is not None
        self.note(
            EventKind.STEP_COMPLETE,
            task,
            reason=task.reason,
            image_id=outcome.image_id,
            command=task.command,
            inputs=attempt.inputs,
            outputs={output.key: output.fingerprint.digest for output in outcome.outputs},
            elapsed=ended - (attempt.started or attempt.created),
        )

    def note_failure(self, task: Task, outcome: Outcome) -> None:
        """Add the events of a failed Task; its Step runs again as a retry."""
        for key in self._graph.steps[task.name].outputs:
            if key.state.why is not None:
                self._graph.mark(key, key.state._replace(why=RETRY))
        if outcome.reason is not None:
            self.note(EventKind.STEP_TERMINATED, task, reason=outcome.reason)
        if outcome.state is TaskState.ERROR:
            facts = {"log": outcome.tail, "code": outcome.exit_code, "message": outcome.message}
            self.note(EventKind.STEP_ERROR, task, **facts)
        else:
            self.note(
                EventKind.TASK_ERROR, task, message=outcome.message, exception=outcome.exception
            )

    def cancel(self, node: StepNode, why: str) -> None:
        """Cancel the Task of a Step, if one runs."""
        attempt = node.attempt
        if attempt is None or self.running.pop(attempt.task.id, None) is None:
            return
        self.begun.discard(attempt.task.id)
        attempt.state, attempt.ended, attempt.message = TaskState.CANCELLED, time.time(), why
        self._draft.changes.ended[attempt.task.id] = attempt
        self._draft.cancel.append(attempt.task.id)
        self.note(EventKind.STEP_TERMINATED, attempt.task, reason=BY_REQUEST)
        self._graph.mark_step(node, StepState.CANCELLED)

    def supersede(self, node: StepNode) -> None:
        """Let the outcome of a Step's last Task count no more."""
        attempt = node.attempt
        if attempt is None or attempt.superseded:
            return
        if attempt.state is TaskState.INTERRUPTED:
            self._draft.discard.append(attempt.task.id)
        attempt.superseded = True
        self._draft.changes.ended[attempt.task.id] = attempt
        self._graph.mark_step(node, StepState.NEW)

    def distrust(self, node: StepNode) -> None:
        """Have the results of a Step's last Task, and equal ones, reused no more."""
        if node.attempt is not None:
            self._draft.changes.distrusted.append(node.attempt.task.id)

    def withdraw(self, node: StepNode, why: str) -> None:
        """Cancel the Task of a Step, and supersede its last one."""
        self.cancel(node, why)
        self.supersede(node)

    def note(self, event: EventKind, task: Task | None = None, **facts: Any) -> None:
        """Add an event to the decision."""
        who = {} if task is None else {"id": task.id, "task": task.name}
        self._draft.changes.events.append(
            Event(event, self._workflow, time.time(), {**who, **facts})
        )


def _fingerprints(node: StepNode) -> dict[str, Fingerprint]:
    """The recorded fingerprints of a Step's inputs, as far as they are complete."""
    return {
        key.key: Fingerprint(key.state.quick, key.state.digest)
        for key in node.inputs
        if key.state.quick is not None and key.state.digest is not None
    }

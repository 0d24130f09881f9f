"""One workflow in memory, and all decisions about it: new rows, Tasks to start, Tasks to cancel.

It uses no file, no database and no thread. Each input comes through a method (a call of the user's,
the end of a Task, an observation) and leads to one `Decision`: rows to write and, after that,
actions. A decision that needs the content of a key asks for it in `Decision.inspect`; the answer
comes through `observe`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gaia_local.errors import GaiaError, InvalidInput, nearest
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.commands import Command
from gaia_local.model.events import EventKind
from gaia_local.model.tasks import Task, TaskState
from gaia_local.model.workflows import WorkflowState
from gaia_local.workflow.attempts import Attempts
from gaia_local.workflow.contents import Contents, inspections
from gaia_local.workflow.decision import Changes, Decision, Inspection, Observation, Saved
from gaia_local.workflow.graph import Graph
from gaia_local.workflow.graph_version import GraphVersion
from gaia_local.workflow.invalidation import Invalidation, ran_again
from gaia_local.workflow.merging import Merging
from gaia_local.workflow.nodes import KeyNode, StepNode
from gaia_local.workflow.origins import NO_ORIGINS, Origin
from gaia_local.workflow.results_count import ResultsCount
from gaia_local.workflow.states import (
    EXPIRED,
    Intent,
    KeyKind,
    Reason,
    ReasonKind,
    StepState,
    VerdictKind,
)
from gaia_local.workflow.submissions import Change, Submitted
from gaia_local.workflow.verdicts import change_of, verdict_on

if TYPE_CHECKING:
    from gaia_local.model.answer_types import PlannedStep

_INTENTS = {WorkflowState.INITIALIZED: Intent.NEW, WorkflowState.HALTED: Intent.HALT}
_ENDS = {
    WorkflowState.COMPLETE: EventKind.FLOW_COMPLETE,
    WorkflowState.INCOMPLETE: EventKind.FLOW_INCOMPLETE,
}


class Workflow:
    """One workflow with all its parts. Not thread-safe: the scheduler's lock guards it."""

    def __init__(
        self, name: str, properties: Mapping[str, Any], locate: Callable[[str], str]
    ) -> None:
        """`locate` maps a storage key to its path."""
        self.name, self.properties = name, properties
        self.intent = Intent.NEW
        self.trouble: GaiaError | None = None
        """The error that keeps Steps from starting until `run`: mostly, rows can't be written."""
        self.closing = False
        """The engine is closing: no Step starts any more."""
        self.submitted = Submitted(name)
        self.graph = Graph(name, locate)
        self._draft = Decision()
        """The decision in the making."""
        self.attempts = Attempts(name, self.submitted, self.graph, self._draft)
        self.running = self.attempts.running
        self.contents = Contents(self.graph, self.attempts, self._draft)
        self.results = ResultsCount(self.graph.log)
        self.version = GraphVersion(self.submitted, self.graph)
        self._invalidation = Invalidation(self.graph, self.attempts)
        self.merging = Merging(
            self.submitted, self.graph, self.attempts, self.contents, self._invalidation
        )
        self._stored = (WorkflowState.INITIALIZED, 0)
        """The state and the number of Steps of the last decision."""
        self._was_running = False
        self.run_started: float | None = None
        """When it last began to run, in seconds since the epoch; None: not since it was loaded."""
        self.run_ended: float | None = None
        """When that came to its end; None as long as it runs."""

    @staticmethod
    def load(saved: Saved, locate: Callable[[str], str]) -> Workflow:
        """A workflow as it was stored. Starts nothing."""
        workflow = Workflow(saved.name, saved.properties, locate)
        workflow.intent = _INTENTS.get(saved.state, Intent.RUN)
        workflow._stored = (saved.state, saved.steps)
        graph = workflow.graph
        steps = workflow.submitted.load(saved.commands, saved.given, saved.unfit)
        graph.replace((), steps, trusted=True)
        for outer, unfit in saved.unfit.items():
            for name in workflow.submitted.names(outer):
                graph.mark_fitness(graph.steps[name], unfit)
        known = [
            graph.keys.get(name) or graph.add_key(KeyNode(name, locate(name)))
            for name in saved.keys
        ]
        # A key that overlaps outputs was inspected after these were made.
        for key in sorted(known, key=lambda key: bool(key.overlapping_outputs)):
            graph.mark(key, saved.keys[key.key])
        for key in graph.keys.values():
            if key.overlapping_outputs and key.key not in saved.keys:
                graph.require_inspection(key)
        for attempt in saved.attempts:
            workflow.attempts.reuse |= attempt.reused is not None
            node = graph.steps.get(attempt.task.name)
            if node is None:
                workflow.merging.removed[attempt.task.name] = attempt
                continue
            node.attempt, node.reads = attempt, attempt.inputs
            graph.mark_step(node, attempt.step_state)
            if node.state.alive:  # the process that owns the root runs it
                workflow.attempts.count_in(attempt)
        graph.settle()
        graph.changed.clear()
        workflow._was_running = bool(workflow.running)
        return workflow

    @property
    def state(self) -> WorkflowState:
        """The state as `status` answers it."""
        verdicts = self.graph.verdicts
        if not self.graph.steps:
            return WorkflowState.INITIALIZED
        if self.intent is Intent.HALT or (self.trouble is not None and not self.running):
            return WorkflowState.HALTED
        if self.running or (self.graph.uninspected and self.intent is Intent.RUN):
            return WorkflowState.RUNNING
        if verdicts[VerdictKind.FRESH] == len(self.graph.steps):
            return WorkflowState.COMPLETE
        if self.intent is Intent.NEW:
            return WorkflowState.INITIALIZED
        return WorkflowState.ERROR if verdicts[VerdictKind.FAILED] else WorkflowState.INCOMPLETE

    # -- questions before the decision of a call ---------------------------------------------------

    def images(self, change: Change | None = None) -> set[str]:
        """The images of Steps, at present or after a change; none if no Step can start then."""
        if change is not None and not change.added and not self.graph.can_run:
            return set()
        commands = self.submitted.commands if change is None else change.commands
        unfit = self.submitted.unfit if change is None else {**self.submitted.unfit, **change.unfit}
        waiting = {name for outer in unfit for name in self.submitted.names(outer)}
        nodes = self.graph.steps.values()
        used = {node.step.command for node in nodes if node.step.name not in waiting}
        used.update(step.command for step in (change.added if change is not None else ()))
        return {command.image for name in used if isinstance(command := commands[name], Command)}

    def recorded_images(self) -> list[tuple[StepNode, str, str]]:
        """The Steps that are done and fit, with the names and the recorded ids of their images."""
        recorded = []
        for node in self.graph.steps.values():
            attempt = node.attempt
            if node.state is not StepState.DONE or attempt is None or attempt.image_id is None:
                continue
            if node.unfit is not None:
                continue
            recorded.append((node, attempt.task.image, attempt.image_id))
        return recorded

    def made_by_other_images(self, images: Mapping[str, str | None]) -> list[StepNode]:
        """The Steps whose image has another id now (`images`: name → id; None: unknown)."""
        known = {name: identity for name, identity in images.items() if identity is not None}
        if not known:
            return []
        recorded = self.recorded_images()
        return [node for node, name, made in recorded if known.get(name, made) != made]

    def unknown_name(self, name: str) -> InvalidInput:
        """The error for a name that no Step and no key has."""
        known = [*self.graph.steps, *self.submitted.steps, *self.graph.keys]
        what = f"there is no Step and no key {name!r}"
        return InvalidInput(f"workflow {self.name!r}", what, nearest(name, known, "Steps and keys"))

    def unknown_step(self, name: str) -> InvalidInput:
        """The error for a name that no Step has, as submitted or as it became."""
        known = [*self.graph.steps, *self.submitted.steps]
        what = f"there is no Step {name!r}"
        return InvalidInput(f"workflow {self.name!r}", what, nearest(name, known, "Steps"))

    def needed_inspections(self) -> list[Inspection]:
        """Requests to answer before more can be decided; each is handed out once."""
        keys, self.graph.to_inspect = self.graph.to_inspect, {}
        return inspections(keys.values())

    # -- the calls ---------------------------------------------------------------------------------

    def define(
        self,
        change: Change,
        seen: Mapping[str, str | None],
        origins: Mapping[str, Sequence[Origin]] = NO_ORIGINS,
    ) -> Decision:
        """Merge Commands and Steps (see `Merging.merge`) and start all Steps that can run."""
        self.merging.merge(change, seen, origins)
        self._draft.changes.commands += change.new_commands
        self._draft.changes.steps += change.given.values()
        self._draft.changes.unfit |= {**change.unfit, **dict.fromkeys(change.mended)}
        return self._resume()

    def remove(self, change: Change) -> Decision:
        """Remove Steps and Commands (see `Merging.remove`); a halted workflow stays halted."""
        self.merging.remove(change)
        self._draft.changes.gone_steps += change.gone_steps
        self._draft.changes.gone_commands += change.gone_commands
        return self.decide()

    def expire(self, names: Iterable[str]) -> Decision:
        """Invalidate Steps, producers of keys, and all dependents; start all Steps that can run."""
        self.invalidate(names)
        return self._resume()

    def invalidate(self, names: Iterable[str]) -> None:
        """Invalidate the outputs of Steps, of the producers of keys, and of all dependents.

        Raises `InvalidInput` for an unknown name.
        """
        graph = self.graph
        steps: dict[str, StepNode] = {}
        keys: dict[str, KeyNode] = {}
        for name in names:
            if name in graph.steps:
                steps[name] = graph.steps[name]
            elif name in self.submitted.expansions:
                steps.update((inner, graph.steps[inner]) for inner in self.submitted.names(name))
            elif name in graph.keys:
                keys[name] = graph.keys[name]
            else:
                raise self.unknown_name(name)
        for node in steps.values():
            self._invalidation.invalidate(node, node.outputs, EXPIRED)
        readers: list[tuple[StepNode, Reason]] = []
        for key in keys.values():
            for output in (key, *key.overlapping_outputs):
                if output.maker is not None:
                    self._invalidation.invalidate(output.maker, (output,), EXPIRED)
                    why = ran_again(output.maker)
                    readers += [(reader, why) for reader in output.all_readers]
            if key.maker is None:
                readers += [(reader, EXPIRED) for reader in key.readers]
        self._invalidation.invalidate_dependents(list(steps.values()), readers)

    def run(self, images: Mapping[str, str | None]) -> Decision:
        """Start all Steps that can run, failed ones included; `images`: name → present id."""
        self.invalidate_changed_images(images)
        self.retry()
        return self._resume()

    def retry(self) -> None:
        """Let failed Steps start again."""
        for node in self.graph.steps.values():
            if node.state is StepState.FAILED and node.verdict is not VerdictKind.FRESH:
                self.attempts.supersede(node)

    def halt(self, why: str, **facts: Any) -> Decision:
        """Cancel all running Tasks and start no more; the event has `facts`."""
        for attempt in list(self.running.values()):
            self.attempts.cancel(self.graph.steps[attempt.task.name], why)
        for attempt in self.attempts.interrupted:
            self.attempts.supersede(self.graph.steps[attempt.task.name])
        self.intent = Intent.HALT
        self.attempts.note(EventKind.FLOW_HALTED, **facts)
        return self.decide()

    # -- observations and ends of Tasks ------------------------------------------------------------

    def observe(self, seen: Iterable[Observation]) -> Decision:
        """Record the results of inspections."""
        again, decision = self.record_observations(seen), self.decide()
        decision.inspect += again
        return decision

    def record_observations(self, seen: Iterable[Observation]) -> list[Inspection]:
        """As `observe`, without a decision.

        Returns requests for keys that changed meanwhile, and must be inspected again.
        """
        again = []
        for observation in seen:
            key = self.graph.keys.get(observation.inspection.key)
            if key is None:
                continue
            if key.version != observation.inspection.version:
                again.append(key)
            else:
                self.contents.observe(key, observation)
        self.graph.settle()
        return inspections(again)

    def ended(self, task: Task, outcome: Outcome) -> Decision:
        """Record the end of a Task in `running`, whose outputs have just been published."""
        attempt = self.attempts.record_end(task, outcome)
        self.contents.record_outcome(task, outcome)
        if outcome.state is TaskState.COMPLETE:
            self.attempts.note_success(attempt, outcome)
        elif outcome.state is TaskState.INTERRUPTED:
            if self.intent is Intent.RUN:
                self.intent = Intent.HALT
                message = outcome.message
                self.attempts.note(EventKind.FLOW_HALTED, reason="interrupted", message=message)
        elif outcome.state is not TaskState.CANCELLED:
            self.attempts.note_failure(task, outcome)
        return self.decide()

    def record_trouble(
        self, error: GaiaError, message: str, unstarted: Iterable[Assignment]
    ) -> Decision:
        """Start no Steps, nor `unstarted`, until a decision can be written again."""
        for assignment in unstarted:
            self.attempts.cancel(self.graph.steps[assignment.task.name], "it could not be recorded")
            self._draft.cancel.remove(assignment.task.id)
        if self.trouble is None:
            self.trouble = error
            self.attempts.note(EventKind.FLOW_HALTED, reason="trouble", message=message)
        return self.decide()

    # -- planning ----------------------------------------------------------------------------------

    def plan(self) -> list[PlannedStep]:
        """The Steps that would run, with `step` and `reason`, in a possible order.

        The dependents of a Step that runs again are among them, since it isn't known yet whether
        its outputs will differ.
        """
        self.graph.settle()
        nodes = [node for node in self.graph.steps.values() if node.active and not node.state.alive]
        nodes.sort(key=lambda node: node.rank)
        return [{"step": node.step.name, "reason": str(verdict_on(node).reason)} for node in nodes]

    def invalidate_changed_images(self, images: Mapping[str, str | None]) -> None:
        """Invalidate outputs of images with another id now (`images`: name → id; None: unknown)."""
        changed = self.made_by_other_images(images)
        for node in changed:
            self._invalidation.invalidate(node, node.outputs, Reason(ReasonKind.IMAGE_CHANGED))
        self._invalidation.invalidate_dependents(changed, [])

    # -- deciding ----------------------------------------------------------------------------------

    def decide(self) -> Decision:
        """Cancel the Tasks that read outdated inputs, and start all Steps that can run."""
        graph = self.graph
        graph.settle()
        while graph.overtaken:
            node, key = graph.overtaken.popitem()
            why = change_of(key)
            self.attempts.cancel(node, str(why))
            for output in node.outputs:
                if output.state.kind is not KeyKind.THERE:
                    graph.mark(output, output.state._replace(why=why))
            graph.settle()
        if (
            self.intent is Intent.RUN
            and self.trouble is None
            and not self.closing
            and graph.can_run
        ):
            for node in graph.ready():
                self.attempts.begin(node)
            graph.settle()
        self._note_flow_end()
        if graph.to_inspect:
            self._draft.inspect = self.needed_inspections()
        return self.flush()

    @property
    def unwritten(self) -> Changes:
        """Changes that are in no decision yet."""
        return replace(self._draft.changes, keys=self.graph.changed)

    def flush(self) -> Decision:
        """The changes so far as a decision, without starting or cancelling more."""
        decision = self._draft.drain()
        decision.changes.keys, self.graph.changed = self.graph.changed, {}
        return decision

    def _resume(self) -> Decision:
        self.intent, self.trouble = Intent.RUN, None
        return self.decide()

    def _note_flow_end(self) -> None:
        """Add the event of a workflow's end, and its state if that changed."""
        state = self.state
        if self._was_running and state in _ENDS:
            self.attempts.note(_ENDS[state])
        running = state is WorkflowState.RUNNING
        if running and (not self._was_running or self.run_started is None):
            self.run_started, self.run_ended = time.time(), None
        elif self._was_running and not running:
            self.run_ended = time.time()
        self._was_running = running
        if (state, len(self.graph.steps)) != self._stored:
            self._stored = self._draft.changes.state = (state, len(self.graph.steps))

"""One workflow in memory, and all decisions about it: what is new in its rows, what starts, what is
cancelled.

It knows no file, no database and no thread. Whatever happens comes in through a method (a call of
the user's, the end of a Task, a look at files) and leads to one `Decision`, which says what is to
be written down and, after that, done. Where a decision needs to know what lies at a key, it says so
in `Decision.look`; what was seen comes in through `observe`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gaia_local.errors import GaiaError, InvalidInput, nearest
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.commands import AnyCommand, Command
from gaia_local.model.events import Event, EventKind
from gaia_local.model.steps import Step
from gaia_local.model.tasks import BY_REQUEST, DOUBTFUL, NO_KEYS, Fingerprint, Task, TaskState
from gaia_local.model.workflows import WorkflowState
from gaia_local.workflow import templates
from gaia_local.workflow.decision import Changes, Decision, Look, Observation, Saved
from gaia_local.workflow.graph import Graph, KeyNode, StepNode, change_of
from gaia_local.workflow.origins import NO_ORIGINS, Origin, inherit
from gaia_local.workflow.states import (
    ABSENT,
    EXPIRED,
    INTERRUPTED,
    RETRY,
    UNMADE,
    Attempt,
    Intent,
    KeyKind,
    KeyState,
    Reason,
    ReasonKind,
    StepState,
    VerdictKind,
)
from gaia_local.workflow.submissions import Change, Submitted
from gaia_local.workflow.templates import MAX_STEPS

if TYPE_CHECKING:
    from gaia_local.model.answer_types import PlannedStep

_INTENTS = {WorkflowState.INITIALIZED: Intent.NEW, WorkflowState.HALTED: Intent.HALT}
_ENDS = {
    WorkflowState.COMPLETE: EventKind.FLOW_COMPLETE,
    WorkflowState.INCOMPLETE: EventKind.FLOW_INCOMPLETE,
}


class Workflow:
    """The whole of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(
        self, name: str, properties: Mapping[str, Any], locate: Callable[[str], str]
    ) -> None:
        """`locate` maps a storage key to its path."""
        self.name, self.properties = name, properties
        self.intent = Intent.NEW
        self.trouble: GaiaError | None = None
        """Why nothing is started any more, until `run` tries again: mostly that nothing can be
        written down.
        """
        self.closing = False
        """The engine closes: nothing starts any more."""
        self.submitted = Submitted(name)
        self.graph = Graph(name, locate)
        self.running: dict[str, Attempt] = {}
        """Task id → the Tasks that count: queued or running, not cancelled."""
        self._gone: dict[str, Attempt] = {}
        """The last Tasks of Steps that were taken out: there may be one of this name again."""
        self.left: set[str] = set()
        """Tasks of an earlier process whose runs can be taken up."""
        self._next = Decision()
        """The decision that is in the making."""
        self._stored = (WorkflowState.INITIALIZED, 0)
        """The state and the number of Steps that were decided on last."""
        self._flowing = False

    @staticmethod
    def load(saved: Saved, locate: Callable[[str], str]) -> Workflow:
        """Read a workflow back as it was stored. Starts nothing."""
        workflow = Workflow(saved.name, saved.properties, locate)
        workflow.intent = _INTENTS.get(saved.state, Intent.RUN)
        workflow._stored = (saved.state, saved.steps)
        graph = workflow.graph
        graph.replace((), workflow.submitted.load(saved.commands, saved.given), trusted=True)
        known = [
            graph.keys.get(name) or graph.enter(KeyNode(name, locate(name))) for name in saved.keys
        ]
        for key in sorted(
            known, key=lambda key: bool(key.above)
        ):  # these were seen after what they overlap was made
            graph.mark(key, saved.keys[key.key])
        for key in graph.keys.values():
            if key.above and key.key not in saved.keys:
                graph.unsee(key)
        for attempt in saved.attempts:
            node = graph.steps.get(attempt.task.name)
            if node is None:
                workflow._gone[attempt.task.name] = attempt
                continue
            node.attempt, node.reads = attempt, attempt.inputs
            graph.mark_step(node, attempt.step_state)
            if node.state.alive:  # another process runs it, which owns the root
                workflow.running[attempt.task.id] = attempt
        graph.settle()
        graph.changed.clear()
        workflow._flowing = bool(workflow.running)
        return workflow

    @property
    def state(self) -> WorkflowState:
        """The state as `status` answers it."""
        verdicts = self.graph.verdicts
        if not self.graph.steps:
            return WorkflowState.INITIALIZED
        if self.intent is Intent.HALT or (self.trouble is not None and not self.running):
            return WorkflowState.HALTED
        if self.running or (self.graph.looked_for and self.intent is Intent.RUN):
            return WorkflowState.RUNNING
        if verdicts[VerdictKind.FRESH] == len(self.graph.steps):
            return WorkflowState.COMPLETE
        if self.intent is Intent.NEW:
            return WorkflowState.INITIALIZED
        return WorkflowState.ERROR if verdicts[VerdictKind.FAILED] else WorkflowState.INCOMPLETE

    # -- what a call needs to know before it is decided --------------------------------------------

    def compare(
        self, commands: Iterable[AnyCommand], steps: Iterable[Step], most: int = MAX_STEPS
    ) -> Change:
        """What merging these would change. Raises `InvalidInput`, also where they make more than
        `most` Steps.
        """
        return self.submitted.compare(
            commands, steps, lambda name: self.graph.steps[name].step, most
        )

    def unknown(self, change: Change) -> dict[str, str]:
        """Key → path, of those that a change brings in: they must be looked at first."""
        names = {
            key for step in change.added for key in (*step.inputs.values(), *step.outputs.values())
        }
        known = self.graph.keys
        return {key: self.graph.locate(key) for key in names if key not in known or known[key].idle}

    def new_outputs(self, change: Change, unknown: Mapping[str, str]) -> dict[str, str]:
        """Key → path, of all that the Steps make that a change brings in, and that nobody made
        before.
        """
        new = (step for step in change.added if step.name not in change.replaced)
        keys = (key for step in new for key in step.outputs.values())
        return {key: unknown.get(key) or self.graph.keys[key].path for key in keys}

    def images(self, change: Change | None = None) -> set[str]:
        """The images that Steps use, or will use after a change where that may start any."""
        if change is not None and not change.added and not self.graph.can_run:
            return set()
        commands = self.submitted.commands if change is None else change.commands
        used = {node.step.command for node in self.graph.steps.values()}
        used.update(step.command for step in (change.added if change is not None else ()))
        return {command.image for name in used if isinstance(command := commands[name], Command)}

    def made_with(self) -> list[tuple[StepNode, str, str]]:
        """The Steps whose outputs count, with the name and the id of the image that made them,
        where that is known.
        """
        done = (node for node in self.graph.steps.values() if node.state is StepState.DONE)
        tasks = ((node, node.attempt) for node in done if node.attempt is not None)
        return [
            (node, each.task.image, each.image_id)
            for node, each in tasks
            if each.image_id is not None
        ]

    @property
    def interrupted(self) -> list[Attempt]:
        """The Tasks that an earlier process left in the midst."""
        nodes = self.graph.steps.values()
        return [
            node.attempt
            for node in nodes
            if node.state is StepState.INTERRUPTED and node.attempt is not None
        ]

    def no_such(self, name: str) -> InvalidInput:
        """The refusal of a name that no Step and no key has."""
        known = [*self.graph.steps, *self.submitted.steps, *self.graph.keys]
        what = f"there is no Step and no key {name!r}"
        return InvalidInput(f"workflow {self.name!r}", what, nearest(name, known, "Steps and keys"))

    def looks(self, keys: Iterable[KeyNode]) -> list[Look]:
        """What there is to know of keys whose files may have changed."""
        return [
            Look(
                each.key,
                each.path,
                each.state,
                each.version,
                each.state.digest is None and _is_read(each),
                each.external,
                each.unseen,
            )
            for each in keys
        ]

    def needed_looks(self) -> list[Look]:
        """What must be looked at before more can be decided; whoever asks sees to it."""
        looks, self.graph.looks = self.looks(self.graph.looks.values()), {}
        return looks

    # -- the calls ---------------------------------------------------------------------------------

    def define(
        self,
        change: Change,
        seen: Mapping[str, str | None],
        origins: Mapping[str, Sequence[Origin]] = NO_ORIGINS,
    ) -> Decision:
        """Merge Commands and Steps and start what can start; all of it or, with `InvalidInput`,
        nothing.

        What is new is linked in; what changed must run again, with all that depends on it. `seen`
        has the quick fingerprint of what lies at each key of `unknown`, None where nothing does;
        `origins` who made it, of keys of `new_outputs`.
        """
        graph = self.graph
        taken_out = {name: graph.steps[name] for name in change.removed}
        lost: list[tuple[StepNode, Reason]] = []
        for name, node in taken_out.items():
            for key in node.outputs:
                why = (
                    ran_again(node)
                    if name in change.replaced
                    else Reason(ReasonKind.INPUT_CHANGED, key.key)
                )
                lost += [(reader, why) for reader in key.all_readers]
        fresh = graph.replace(change.removed, change.added)  # refuses, or succeeds
        for name, node in taken_out.items():
            self._let_go(node, "the Step was replaced")
            if node.attempt is not None:
                self._gone[name] = node.attempt
            for key in node.outputs:
                now = graph.at(key.path)
                if now is not None and (now.maker is None or now is not key):
                    # No Step makes it any more: it is no data of the workflow, until the user
                    # replaces what lies there.
                    there = key.state.kind is not KeyKind.ABSENT
                    graph.mark(
                        now,
                        replace(key.state, kind=KeyKind.EXPIRED, why=UNMADE) if there else ABSENT,
                    )
        graph.forget(key for node in taken_out.values() for key in (*node.inputs, *node.outputs))
        for step in change.added:
            graph.steps[step.name].attempt = self._gone.pop(step.name, None)
        for key in fresh:
            quick = seen[key.key]
            self._take_in(key, Observation(self.looks((key,))[0], quick))
            if key.above:  # what a Step makes may have come there since it was looked at
                graph.unsee(key)
        for name, why in change.replaced.items():
            node = graph.steps[name]
            self._void(node, node.outputs, why)
        new = {step.name for step in change.added} - change.replaced.keys()
        # What lies there already counts for a new Step, so it isn't expired with what is above it.
        self._void_below([graph.steps[name] for name in change.replaced], lost, new)
        self.submitted.accept(change)
        for name in new if origins else ():
            self._inherit(graph.steps[name], origins)
        self._next.changes.commands += change.new_commands
        self._next.changes.steps += change.given.values()
        return self._go_on()

    def expire(self, names: Iterable[str]) -> Decision:
        """Make the producers of keys, Steps, and all that depends on them run again; start what can
        start.
        """
        self.void(names)
        return self._go_on()

    def void(self, names: Iterable[str]) -> None:
        """What the producers of keys, Steps, and all that depends on them made doesn't count.
        Unknown names are refused.
        """
        graph = self.graph
        steps: dict[str, StepNode] = {}
        keys: dict[str, KeyNode] = {}
        for name in names:
            if name in graph.steps:
                steps[name] = graph.steps[name]
            elif name in self.submitted.expansions:
                steps.update((each, graph.steps[each]) for each in self.submitted.names(name))
            elif name in graph.keys:
                keys[name] = graph.keys[name]
            else:
                raise self.no_such(name)
        for node in steps.values():
            self._void(node, node.outputs, EXPIRED)
        readers: list[tuple[StepNode, Reason]] = []
        for key in keys.values():
            for each in (key, *key.above):
                if each.maker is not None:
                    self._void(each.maker, (each,), EXPIRED)
                    readers += [(reader, ran_again(each.maker)) for reader in each.all_readers]
            if key.maker is None:
                readers += [(reader, EXPIRED) for reader in key.readers]
        self._void_below(list(steps.values()), readers)

    def run(self, images: Mapping[str, str | None]) -> Decision:
        """Start whatever can run, failed Steps included; `images` says which ids the names of
        images have now.
        """
        self.images_are(images)
        self.retry()
        return self._go_on()

    def retry(self) -> None:
        """Let failed Steps start again."""
        for node in self.graph.steps.values():
            if node.state is StepState.FAILED and node.verdict is not VerdictKind.FRESH:
                self._supersede(node)

    def halt(self, why: str, **facts: Any) -> Decision:
        """Cancel all that runs and start nothing more; the event carries `facts`."""
        for attempt in list(self.running.values()):
            self._cancel_task(self.graph.steps[attempt.task.name], why)
        for attempt in self.interrupted:
            self._supersede(self.graph.steps[attempt.task.name])
        self.intent = Intent.HALT
        self._note(EventKind.FLOW_HALTED, **facts)
        return self.decide()

    # -- what happens ------------------------------------------------------------------------------

    def observe(self, seen: Iterable[Observation]) -> Decision:
        """Files were looked at."""
        again, decision = self.take_in(seen), self.decide()
        decision.look += again
        return decision

    def take_in(self, seen: Iterable[Observation]) -> list[Look]:
        """As `observe`, with nothing decided yet. Answers what must be looked at once more, since
        it changed meanwhile.
        """
        again = []
        for each in seen:
            key = self.graph.keys.get(each.look.key)
            if key is None:
                continue
            if key.version != each.look.version:
                again.append(key)
            else:
                self._take_in(key, each)
        self.graph.settle()
        return self.looks(again)

    def heard(self, task: Task, event: Event) -> bool:
        """Something happened to a Task that counts. True where that leads to a decision: what it
        reads is out of date.
        """
        self._next.changes.events.append(event)
        if not event.event.begins:
            return False
        attempt, node = self.running[task.id], self.graph.steps[task.name]
        if event.event is EventKind.STEP_START:
            attempt.started, attempt.inputs = event.time, event.facts.get("inputs")
            node.reads = attempt.inputs or node.reads
            self._next.changes.ended[task.id] = attempt
            for key in node.inputs:
                known = key.state.digest
                if (
                    key.state.usable
                    and known is not None
                    and known != (node.reads or {}).get(key.key, known)
                ):
                    self.graph.unsee(key)  # it changed, and nobody told
        self.graph.mark_step(node, StepState.RUNNING)
        self.graph.settle()
        return bool(self.graph.overtaken or self.graph.looks)

    def ended(self, task: Task, outcome: Outcome) -> Decision:
        """A Task that counts came to its end; its outputs were published just now."""
        node, now = self.graph.steps[task.name], time.time()
        attempt = self.running.pop(task.id)
        attempt.state, attempt.exit_code, attempt.message = (
            outcome.state,
            outcome.exit_code,
            outcome.message,
        )
        attempt.image_id, attempt.ended = outcome.image_id, now
        if outcome.inputs:  # an adopted Task's were told at its start
            attempt.inputs = {key: seen.digest for key, seen in outcome.inputs.items()}
        self._next.changes.ended[task.id] = attempt
        node.reads = attempt.inputs
        self.graph.mark_step(node, attempt.step_state)
        for key, seen in outcome.inputs.items():
            self._was_read(self.graph.keys[key], seen)
            self._note_listing(seen.digest, seen.listing)
        done = outcome.state is TaskState.COMPLETE
        for output in outcome.outputs:
            seen = output.fingerprint
            kind, why = (
                (KeyKind.THERE, None) if done else (KeyKind.UNSURE, RETRY)
            )  # else it is the log of a failure
            self._change(
                self.graph.keys[output.key], KeyState(kind, seen.quick, seen.digest, task.id, why)
            )
            self._note_listing(seen.digest, seen.listing)
            self._note(EventKind.DATA_COMPLETE, task, key=output.key, path=output.target)
        if done:
            self._note(
                EventKind.STEP_COMPLETE,
                task,
                reason=task.reason,
                image_id=outcome.image_id,
                command=task.command,
                inputs=attempt.inputs,
                outputs={output.key: output.fingerprint.digest for output in outcome.outputs},
                elapsed=now - (attempt.started or attempt.created),
            )
        elif outcome.state is TaskState.INTERRUPTED:
            if self.intent is Intent.RUN:
                self.intent = Intent.HALT
                self._note(EventKind.FLOW_HALTED, reason="interrupted", message=outcome.message)
        elif outcome.state is not TaskState.CANCELLED:
            self._failed(node, task, outcome)
        return self.decide()

    def unpublished(self, keys: Iterable[str]) -> None:
        """Storing a Task's outputs failed midway: what lies at their keys doesn't count."""
        for key in keys:
            node = self.graph.keys[key]
            self._change(node, replace(node.state, kind=KeyKind.EXPIRED, quick=None, why=RETRY))

    def fall_into_trouble(
        self, error: GaiaError, message: str, unstarted: Iterable[Assignment]
    ) -> Decision:
        """What was decided can't be written down: nothing starts until it can, nor do the Tasks
        that were to start.
        """
        for assignment in unstarted:
            self._cancel_task(self.graph.steps[assignment.task.name], "it could not be recorded")
            self._next.cancel.remove(assignment.task.id)
        if self.trouble is None:
            self.trouble = error
            self._note(EventKind.FLOW_HALTED, reason="trouble", message=message)
        return self.decide()

    # -- what would run ----------------------------------------------------------------------------

    def plan(self) -> list[PlannedStep]:
        """What would run, were the workflow running: `step` and `reason`, in an order in which it
        could.

        Where a Step runs again, what depends on it is listed, too: nobody knows yet whether its
        outputs come out the same.
        """
        self.graph.settle()
        nodes = [node for node in self.graph.steps.values() if node.active and not node.state.alive]
        nodes.sort(key=lambda node: node.rank)
        return [
            {"step": node.step.name, "reason": str(self.graph.verdict(node).reason)}
            for node in nodes
        ]

    def images_are(self, images: Mapping[str, str | None]) -> None:
        """Which ids the names of images have now (None: unknown): what was made with others must be
        made again.
        """
        known = {name: identity for name, identity in images.items() if identity is not None}
        changed = (
            [node for node, name, made in self.made_with() if known.get(name, made) != made]
            if known
            else []
        )
        for node in changed:
            self._void(node, node.outputs, Reason(ReasonKind.IMAGE_CHANGED))
        self._void_below(changed, [])

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
            reason=str(self.graph.verdict(node).reason),
            external=frozenset(outside) if outside else NO_KEYS,
            resources=command.resources,
        )

    # -- deciding ----------------------------------------------------------------------------------

    def decide(self) -> Decision:
        """Draw all conclusions from what came in: what is overtaken is cancelled, what can start
        starts.
        """
        graph = self.graph
        graph.settle()
        while graph.overtaken:
            node, key = graph.overtaken.popitem()
            why = change_of(key)
            self._cancel_task(node, str(why))
            for output in node.outputs:
                if output.state.kind is not KeyKind.THERE:
                    graph.mark(output, replace(output.state, why=why))
            graph.settle()
        if (
            self.intent is Intent.RUN
            and self.trouble is None
            and not self.closing
            and graph.can_run
        ):
            for node in graph.ready():
                self._begin(node)
            graph.settle()
        self._conclude()
        if graph.looks:
            self._next.look = self.needed_looks()
        return self.flush()

    @property
    def unwritten(self) -> Changes:
        """What came in, and led to no decision yet."""
        return replace(self._next.changes, keys=self.graph.changed)

    def flush(self) -> Decision:
        """What came in so far, with nothing decided about it."""
        decision, self._next = self._next, Decision()
        decision.changes.keys, self.graph.changed = self.graph.changed, {}
        return decision

    def _go_on(self) -> Decision:
        self.intent, self.trouble = Intent.RUN, None
        return self.decide()

    def _conclude(self) -> None:
        """Note the end of the flow, when nothing runs any more and something did."""
        state = self.state
        if self._flowing and state in _ENDS:
            self._note(_ENDS[state])
        self._flowing = state is WorkflowState.RUNNING
        if (state, len(self.graph.steps)) != self._stored:
            self._stored = self._next.changes.state = (state, len(self.graph.steps))

    def _begin(self, node: StepNode) -> None:
        attempt, graph = node.attempt, self.graph
        adopted = False
        if (
            node.state is StepState.INTERRUPTED
            and attempt is not None
            and attempt.task.id in self.left
        ):
            adopted = attempt.inputs is not None and graph.reads_the_same(node, attempt.inputs)
            graph.settle()
            if node.verdict is not VerdictKind.RUN:  # a file must be looked at first
                return
        if adopted and attempt is not None:
            attempt.state, attempt.ended, attempt.message = TaskState.RUNNING, None, None
            self.left.remove(attempt.task.id)
            self._next.changes.ended[attempt.task.id] = attempt
        else:
            task = self.make_task(node)
            if node.state is StepState.INTERRUPTED:
                self._supersede(node)
            attempt = node.attempt = Attempt(task, TaskState.RUNNING, time.time())
            self._next.changes.begun.append(attempt)
        node.reads = (
            attempt.inputs if adopted else {key.key: key.state.digest for key in node.inputs}
        )
        why = Reason.parse(attempt.task.reason)
        for key in node.outputs:
            if key.state.kind is KeyKind.THERE:
                graph.mark(key, replace(key.state, kind=KeyKind.UNSURE, why=why))
        graph.mark_step(node, attempt.step_state)
        self.running[attempt.task.id] = attempt
        self._next.start.append(Assignment(attempt.task, node.rank, _fingerprints(node), adopted))

    def _cancel_task(self, node: StepNode, why: str) -> None:
        attempt = node.attempt
        if attempt is None or self.running.pop(attempt.task.id, None) is None:
            return
        attempt.state, attempt.ended, attempt.message = TaskState.CANCELLED, time.time(), why
        self._next.changes.ended[attempt.task.id] = attempt
        self._next.cancel.append(attempt.task.id)
        self._note(EventKind.STEP_TERMINATED, attempt.task, reason=BY_REQUEST)
        self.graph.mark_step(node, StepState.CANCELLED)

    def _supersede(self, node: StepNode) -> None:
        """Whatever the last Task of a Step came to doesn't count any more."""
        attempt = node.attempt
        if attempt is None or attempt.superseded:
            return
        if attempt.state is TaskState.INTERRUPTED:
            self._next.discard.append(attempt.task.id)
        attempt.superseded = True
        self._next.changes.ended[attempt.task.id] = attempt
        self.graph.mark_step(node, StepState.NEW)

    def _let_go(self, node: StepNode, why: str) -> None:
        self._cancel_task(node, why)
        self._supersede(node)

    def _failed(self, node: StepNode, task: Task, outcome: Outcome) -> None:
        for key in node.outputs:
            if key.state.why is not None:
                self.graph.mark(key, replace(key.state, why=RETRY))
        if outcome.reason is not None:
            self._note(EventKind.STEP_TERMINATED, task, reason=outcome.reason)
        if outcome.state is TaskState.ERROR:
            facts = {"log": outcome.tail, "code": outcome.exit_code, "message": outcome.message}
            self._note(EventKind.STEP_ERROR, task, **facts)
        else:
            self._note(
                EventKind.TASK_ERROR, task, message=outcome.message, exception=outcome.exception
            )

    def _note(self, event: EventKind, task: Task | None = None, **facts: Any) -> None:
        who = {} if task is None else {"id": task.id, "task": task.name}
        self._next.changes.events.append(Event(event, self.name, time.time(), {**who, **facts}))

    # -- what must be made again -------------------------------------------------------------------

    def _void(self, node: StepNode, outputs: Iterable[KeyNode], why: Reason) -> None:
        """Outputs of a Step must be made again: its running Task is cancelled; if it failed, it may
        start again.
        """
        self._let_go(node, str(why))
        for key in outputs:
            there = key.state.kind is not KeyKind.ABSENT
            self.graph.mark(
                key, replace(key.state, kind=KeyKind.EXPIRED if there else KeyKind.ABSENT, why=why)
            )

    def _void_below(
        self,
        tops: list[StepNode],
        readers: list[tuple[StepNode, Reason]],
        spared: Collection[str] = (),
    ) -> None:
        """Void all that depends on `tops`, and `readers` with what depends on those, except through
        `spared` ones.
        """
        done = {node.step.name for node in tops}
        queue = readers + [(node, ran_again(top)) for top in tops for node in top.successors()]
        for node, why in queue:
            name = node.step.name
            if name not in done and name not in spared and self.graph.steps.get(name) is node:
                done.add(name)
                ran = node.attempt is not None
                self._void(
                    node, [key for key in node.outputs if ran or key.state is not ABSENT], why
                )
                queue.extend((each, ran_again(node)) for each in node.successors())

    def _inherit(self, node: StepNode, origins: Mapping[str, Sequence[Origin]]) -> None:
        """A new Step begins with what is known of the files at its outputs, where these would count
        as the user's.
        """
        users = (
            key
            for key in node.outputs
            if key.state.kind is KeyKind.THERE and key.state.made_by is None
        )
        found = [key for key in users if key.key in origins]
        if not found:
            return
        attempt, states = inherit(
            self.make_task(node), {key.key: origins[key.key] for key in found}
        )
        for key in found:
            self.graph.mark(key, states[key.key])
        if attempt is not None:
            node.attempt, node.reads = attempt, attempt.inputs
            self.graph.mark_step(node, attempt.step_state)
            self._next.changes.begun.append(attempt)
            self._next.changes.ended[attempt.task.id] = attempt

    # -- what lies there ---------------------------------------------------------------------------

    def _take_in(self, key: KeyNode, seen: Observation) -> None:
        """A key was looked at: whatever changed there is the user's doing."""
        state, quick = key.state, seen.quick
        made = key.maker is not None
        if seen.digest is not None:
            self._note_listing(seen.digest, seen.listing)
        if quick is None:
            if state.usable or (state.kind is KeyKind.EXPIRED and not made):
                self._change(key, ABSENT)
            else:
                self.graph.mark(key, state)
        elif state.kind is KeyKind.ABSENT:
            self._change(key, KeyState(KeyKind.THERE, quick, seen.digest))
        elif state.kind is KeyKind.EXPIRED:
            same = seen.digest is not None and seen.digest == state.digest
            if made or same or state.quick in (None, quick):
                self.graph.mark(key, state if made else replace(state, quick=quick))
            else:
                self._change(key, KeyState(KeyKind.THERE, quick, seen.digest))
        elif quick == state.quick:
            self.graph.mark(key, replace(state, digest=seen.digest or state.digest))
        elif seen.digest is not None and seen.digest == state.digest:
            self.graph.mark(key, replace(state, quick=quick))
        elif made and seen.lost is not None:  # what is left of it is no version of the user's
            why = Reason(ReasonKind.MISSING, f"{key.key.removesuffix('/')}/{seen.lost}")
            self._change(key, replace(state, kind=KeyKind.EXPIRED, quick=quick, why=why))
        else:
            self._change(key, replace(state, quick=quick, digest=seen.digest, made_by=None))

    def _change(self, key: KeyNode, state: KeyState) -> None:
        """What lies at a key is new: who runs or ran from it is compared with that.

        A Step of which nothing is known but that its outputs were there has nothing to be compared:
        it must run.
        """
        before = key.state
        same = before.digest is not None and before.digest == state.digest
        # What reads a key that was expired must run anyway, or came later, when its own outputs
        # were there.
        differs = not same and (before.usable or before.why == INTERRUPTED)
        self.graph.mark(key, state)
        for node in key.all_readers:
            if node.state is StepState.FAILED and node.reads is None and not same:
                self._supersede(node)
            if differs and node.reads is None and not node.state.alive:
                for output in node.outputs:
                    if output.state.kind is KeyKind.THERE:
                        self.graph.mark(
                            output, replace(output.state, kind=KeyKind.UNSURE, why=change_of(key))
                        )

    def _note_listing(self, digest: str, listing: bytes | None) -> None:
        if listing is not None:
            self._next.changes.listings[digest] = listing

    def _was_read(self, key: KeyNode, seen: Fingerprint) -> None:
        """What a Task read is news where no digest was known; where it is another one, the file
        must be looked at.
        """
        state = key.state
        if not state.usable or state == replace(state, quick=seen.quick, digest=seen.digest):
            return
        if state.digest in (None, seen.digest) and state.quick in (
            seen.looked_like,
            seen.looked_like + DOUBTFUL,
        ):
            if state.digest is None or seen.quick == seen.looked_like:
                self.graph.mark(key, replace(state, quick=seen.quick, digest=seen.digest))
        elif state.digest != seen.digest:
            self.graph.unsee(key)


def _is_read(key: KeyNode) -> bool:
    """Whether the Task of a Step that counts, or that may yet be taken up, read this key."""
    for node in key.readers:
        left = (
            node.attempt.inputs
            if node.state is StepState.INTERRUPTED and node.attempt is not None
            else None
        )
        if (node.reads or left or {}).get(key.key) is not None:
            return True
    return False


def ran_again(node: StepNode) -> Reason:
    """Why what reads the outputs of a Step must run."""
    return Reason(ReasonKind.UPSTREAM, node.step.name)


def _fingerprints(node: StepNode) -> dict[str, Fingerprint]:
    """What is known of a Step's inputs, whole."""
    return {
        key.key: Fingerprint(key.state.quick, key.state.digest)
        for key in node.inputs
        if key.state.quick is not None and key.state.digest is not None
    }

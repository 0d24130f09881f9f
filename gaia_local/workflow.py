"""One workflow in memory: what it is made of, what is known of its files, what runs; and the decisions about those.

Every method changes the memory alone and notes what changed; the scheduler holds its lock around them, writes the notes
to the database in one transaction (`write`), and then acts on `submits` and `cancels`.

The one rule of recompute: the outputs of a Step are complete if and only if they were made, since its last change, from
inputs that are complete now and have the contents they have now. Two things break that:

- `expire`: the Step must run again whatever its inputs are (expired, changed by `merge` or `command`, and all below).
- `doubt`: an input's file changed. The Step runs again unless, once its inputs are complete, their contents turn out
  to be those that its last Task read.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from gaia_local import templates
from gaia_local.database import Attempt, Database, Datum
from gaia_local.errors import InvalidInput, nearest
from gaia_local.flow import Flow, KeyNode, StepNode
from gaia_local.model import (
    AnyCommand,
    Command,
    CompositeCommand,
    DataState,
    Event,
    Fingerprint,
    Step,
    Task,
    TaskState,
    WorkflowState,
)
from gaia_local.runtime import BY_REQUEST
from gaia_local.storage import Storage
from gaia_local.worker import Outcome

_FAILED = (TaskState.ERROR, TaskState.EXCEPTION)


class Workflow:
    """The whole of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, name: str, properties: Mapping[str, Any], storage: Storage) -> None:
        self.name, self.properties, self._storage = name, properties, storage
        self.phase = WorkflowState.INITIALIZED
        """What the user wants: `INITIALIZED` (stored, not started yet), `RUNNING`, or `HALTED`."""
        self.commands: dict[str, AnyCommand] = {}
        self.submitted: dict[str, Step] = {}
        """Steps as they were given, before array vars and composite Commands were expanded."""
        self.expansions: dict[str, list[str]] = {}
        """Submitted Step → the names of the Steps it became."""
        self.flow = Flow(name, lambda key: storage.path(name, key))
        self.data: dict[str, Datum] = {}
        self.latest: dict[str, Attempt] = {}
        """Step → its last Task."""
        self.running: dict[str, Attempt] = {}
        """Task id → the Tasks that count: submitted, not ended, not cancelled."""
        self.failed: set[str] = set()
        """Steps that ran and failed, and are not to be started before something changes."""
        self.submits: list[Task] = []
        self.cancels: list[str] = []
        self._stored_state = WorkflowState.INITIALIZED
        self._stored_steps = 0
        self._flowing = False
        self._changed_data: set[str] = set()
        self._changed_attempts: dict[str, Attempt] = {}
        self._new_attempts: list[Attempt] = []
        self._events: list[Event] = []
        self._defined_commands: list[AnyCommand] = []
        self._defined_steps: list[Step] = []

    @staticmethod
    def load(name: str, row: Mapping[str, Any], database: Database, storage: Storage) -> Workflow:
        """Read a workflow back as it was stored. Looks at no file, starts nothing."""
        workflow = Workflow(name, row["properties"], storage)
        stored = WorkflowState(row["state"])
        started = stored not in (WorkflowState.INITIALIZED, WorkflowState.HALTED)
        workflow.phase = WorkflowState.RUNNING if started else stored
        workflow._stored_state, workflow._stored_steps = stored, row["steps"]
        for definition in database.definitions("commands", name):
            command = Command.parse(name, definition)
            workflow.commands[command.name] = command
        steps: list[Step] = []
        for definition in database.definitions("steps", name):
            step = Step.parse(name, definition)
            expanded = templates.expand(name, step, workflow.commands)
            workflow.submitted[step.name] = step
            workflow.expansions[step.name] = [each.name for each in expanded]
            steps.extend(expanded)
        workflow.data = database.data(name)
        for key in workflow.flow.replace((), steps, trusted=True):
            datum = workflow.data.get(key.key)
            if datum is not None:
                workflow.flow.set_complete(key, datum.state is DataState.COMPLETE)
            elif key.above and key.maker is None:
                workflow.flow.set_complete(key, storage.exists(key.key, key.path))
        for attempt in database.latest(name):
            node = workflow.flow.steps.get(attempt.task.name)
            if node is None:
                continue
            workflow.latest[attempt.task.name] = attempt
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

    def progress(self) -> dict[str, Any]:
        """`state`, and how many Steps there are (`steps`), and are `done`, `running`, `failed`, `waiting`."""
        steps = len(self.flow.steps)
        done = steps - self.flow.open
        running = sum(attempt.started is not None for attempt in self.running.values())
        waiting = steps - done - running - len(self.failed)
        return {
            "state": self.state.value,
            "steps": steps,
            "done": done,
            "running": running,
            "failed": len(self.failed),
            "waiting": waiting,
        }

    def status(self, debug: bool) -> dict[str, Any]:
        """What `status` answers as its inner dictionary."""
        answer: dict[str, Any] = {
            "state": self.state.value,
            "commands": {name: dict(command.definition) for name, command in self.commands.items()},
            "waiting-inputs": self.flow.waiting_inputs(),
        }
        if debug:
            shown = (attempt for attempt in self.latest.values() if not attempt.superseded)
            answer["tasks"] = {attempt.task.name: attempt.task.wire(attempt.state.value) for attempt in shown}
            answer["data"] = {key.key: self._wire(key) for key in self.flow.keys.values()}
            answer["flow"] = self.flow.describe()
        return answer

    def _wire(self, key: KeyNode) -> dict[str, Any]:
        datum = self.data.get(key.key)
        state = "complete" if key.complete else "incomplete" if datum is None or key.present else datum.state.value
        return {
            "state": state,
            "key": key.key,
            "path": key.path,
            "url": Path(key.path).as_uri(),
            "workflow": self.name,
        }

    def task(self, step: str) -> Task | None:
        """The last Task of a Step, or the one that would be made now; None for an unknown Step."""
        attempt = self.latest.get(step)
        node = self.flow.steps.get(step)
        if node is None:
            return None
        return self._make_task(node) if attempt is None else attempt.task

    def failures(self) -> list[dict[str, Any]]:
        """The Steps that failed: `step`, `state`, `exit_code`, `message`, `reason` (why it ran)."""
        failed = (self.latest[name] for name in sorted(self.failed))
        return [
            {
                "step": attempt.task.name,
                "state": attempt.state.value,
                "exit_code": attempt.exit_code,
                "message": attempt.message,
                "reason": attempt.task.reason,
            }
            for attempt in failed
        ]

    # -- changing what it is made of ------------------------------------------------------------------------------

    def define(self, commands: Iterable[AnyCommand], steps: Iterable[Step]) -> None:
        """Merge Commands and Steps; all of it or, with `InvalidInput`, nothing.

        What is new is linked in; what changed is replaced and must run again, with all that depends on it.
        """
        new_commands = {command.name: command for command in commands if self.commands.get(command.name) != command}
        given = {step.name: step for step in steps}
        known = {**self.commands, **new_commands}
        touched = self._users(known, set(new_commands))
        again = {name: step for name, step in self.submitted.items() if name not in given and step.command in touched}
        before = {name for outer in (*given, *again) for name in self.expansions.get(outer, ())}
        expansions: dict[str, list[str]] = {}
        old: dict[str, Step] = {name: self.flow.steps[name].step for name in before}
        new: dict[str, Step] = {}
        replaced: dict[str, str] = {}
        for outer, step in (*given.items(), *again.items()):
            expanded = templates.expand(self.name, step, known)
            expansions[outer] = [each.name for each in expanded]
            for each in expanded:
                if each.name in new:
                    raise InvalidInput(
                        f"workflow {self.name!r}, Step {outer!r}",
                        f"it becomes a Step {each.name!r}, and so does another",
                        "give each Step a name of its own",
                    )
                new[each.name] = each
                if each.name in old and (old[each.name] != each or each.command in new_commands):
                    replaced[each.name] = "step changed" if old[each.name] != each else "command changed"
        for name, each in new.items():
            if name in replaced or name not in old:
                command = known[each.command]
                assert isinstance(command, Command)
                templates.check(self.name, each, command)
        removed = [name for name in old if name not in new]
        lost = {key for name in (*removed, *replaced) for key in old[name].outputs.values()}
        for outer, names in expansions.items():
            for name in names:  # a new Step that takes over a key: what lies there was made by another definition
                if name not in old and not lost.isdisjoint(new[name].outputs.values()):
                    replaced[name] = "step changed" if outer in given else "command changed"
        added = [step for name, step in new.items() if name in replaced or name not in old]
        self._replace([*removed, *(name for name in replaced if name in old)], added, replaced)
        self.commands = known
        self.submitted.update(given)
        self.expansions.update(expansions)
        self._defined_commands += new_commands.values()
        self._defined_steps += given.values()

    def _users(self, commands: Mapping[str, AnyCommand], changed: set[str]) -> set[str]:
        """The changed Commands and the composite ones that use them, at whatever depth."""
        touched = set(changed)
        grew = bool(changed)
        while grew:
            users = {
                name
                for name, command in commands.items()
                if isinstance(command, CompositeCommand) and any(step.command in touched for step in command.steps)
            }
            grew = not users <= touched
            touched |= users
        return touched

    def _replace(self, removed: list[str], added: list[Step], replaced: Mapping[str, str]) -> None:
        abandoned = {key.key for name in removed for key in self.flow.steps[name].outputs}
        readers = [node for name in removed for node in self.flow.steps[name].successors()]
        fresh = self.flow.replace(removed, added)  # refuses, or succeeds
        for name in removed:
            self.failed.discard(name)
            attempt = self.latest.get(name)
            if attempt is not None:
                self._cancel(attempt, "the Step was replaced")
                self._supersede(attempt)
                if name not in self.flow.steps:
                    del self.latest[name]
        for key in abandoned:
            left = self.flow.keys.get(key)
            if left is None or left.maker is None:
                self._set(key, self.data.get(key), DataState.EXPIRED, "no Step makes it any more")
                if left is not None:
                    self.flow.set_complete(left, False)
        for key_node in fresh:
            self._look(key_node)
        nodes = [self.flow.steps[step.name] for step in added]
        for node in nodes:
            if node.step.name in replaced:
                self._expire_outputs(node, node.outputs, replaced[node.step.name])
        # What lies there already counts for a new Step, so it isn't expired with what is above it.
        new = {step.name for step in added} - set(replaced)
        lost = [node for node in readers if self.flow.steps.get(node.step.name) is node]
        self._expire_below([node for node in nodes if node.step.name in replaced], lost, new)
        self._expire_below([node for node in nodes if node.step.name in new and node.open], [], new | self._never_ran())

    def _never_ran(self) -> set[str]:
        return self.flow.steps.keys() - self.latest.keys()

    # -- what must run again --------------------------------------------------------------------------------------

    def expire(self, names: Iterable[str]) -> None:
        """Make the producers of keys, Steps, and all that depends on them run again. Unknown names are refused."""
        steps: dict[str, StepNode] = {}
        keys: dict[str, KeyNode] = {}
        for name in names:
            if name in self.flow.steps:
                steps[name] = self.flow.steps[name]
            elif name in self.expansions:
                steps.update((each, self.flow.steps[each]) for each in self.expansions[name])
            elif name in self.flow.keys:
                keys[name] = self.flow.keys[name]
            else:
                known = [*self.flow.steps, *self.expansions, *self.flow.keys]
                raise InvalidInput(
                    f"workflow {self.name!r}", f"there is no Step and no key {name!r}", nearest(name, known, "Steps and keys")
                )
        tops = dict(steps)
        for node in steps.values():
            self._expire_outputs(node, node.outputs, "expired")
        readers: list[StepNode] = []
        for key in keys.values():
            for made in (key, *key.above):
                if made.maker is not None:
                    self._expire_outputs(made.maker, (made,), "expired")
                    tops[made.maker.step.name] = made.maker
            if key.maker is None:
                readers += key.readers
        self._expire_below(list(tops.values()), readers)

    def _expire_below(self, tops: list[StepNode], readers: list[StepNode], spared: Collection[str] = ()) -> None:
        """Expire all Steps that depend on `tops`, and `readers` with what depends on those, except through `spared`."""
        done = {node.step.name for node in tops}
        queue = [(node, "expired") for node in readers]
        queue += [(node, f"upstream {top.step.name} ran again") for top in tops for node in top.successors()]
        for node, why in queue:
            if node.step.name not in done and node.step.name not in spared:
                done.add(node.step.name)
                self._expire_outputs(node, [key for key in node.outputs if key.key in self.data], why)
                queue.extend((each, f"upstream {node.step.name} ran again") for each in node.successors())

    def _expire_outputs(self, node: StepNode, outputs: Iterable[KeyNode], why: str) -> None:
        """Outputs that must be made again: a running Task is cancelled, a failed one may start again."""
        for key in outputs:
            self._set(key.key, self.data.get(key.key), DataState.EXPIRED, why)
            self.flow.set_complete(key, False)
        self._let_go(node, why)
        attempt = self.latest.get(node.step.name)
        if attempt is not None:
            self._supersede(attempt)

    def doubt(self, key: KeyNode) -> None:
        """The file of a key changed: whatever was made from it, directly or not, is unsure."""
        readers = (*key.readers, *(reader for other in key.below for reader in other.readers))
        queue = [(node, f"input changed: {key.key}") for node in readers]
        for node in readers:
            self._let_go(node, f"input changed: {key.key}")
        for node, why in queue:  # a Task further below goes on: perhaps its inputs come out the same
            sure = [each for each in node.outputs if each.present and each.key in self.data]
            for each in sure:
                self._set(each.key, self.data[each.key], DataState.UNSURE, why)
                self.flow.set_complete(each, False)
            if sure:
                queue.extend((each, f"upstream {node.step.name} ran again") for each in node.successors())

    def _let_go(self, node: StepNode, why: str) -> None:
        attempt = self.latest.get(node.step.name)
        if attempt is not None:
            self._cancel(attempt, why)
        if node.step.name in self.failed:
            self.failed.discard(node.step.name)
            self.flow.claim(node, False)

    # -- what lies in the store -----------------------------------------------------------------------------------

    def observe(self, key: KeyNode, quick: str | None, digest: str | None) -> None:
        """The file of a key was looked at: draw the conclusions, if it isn't as recorded.

        `quick` is None where there is none; `digest` is needed only where `quick` differs from the recorded one.
        """
        datum = self.data.get(key.key)
        if datum is None:
            if quick is not None:
                self._set(key.key, Datum(DataState.COMPLETE, quick, digest), DataState.COMPLETE)
                self.flow.set_complete(key, True)
        elif quick is None:
            if datum.state is not DataState.EXPIRED:
                self.doubt(key)
                self._forget(key.key)
                self.flow.set_complete(key, False)
        elif quick != datum.quick:
            if datum.state is DataState.EXPIRED and key.maker is not None:
                return  # its maker will replace it
            same = digest == datum.digest and datum.state is DataState.COMPLETE
            state = datum.state if datum.state is DataState.UNSURE else DataState.COMPLETE
            self._set(key.key, Datum(state, quick, digest, datum.task if same else None), state, datum.why)
            if not same:
                self.doubt(key)
            self.flow.set_complete(key, state is DataState.COMPLETE)

    def unpublished(self, attempt: Attempt) -> None:
        """Storing a Task's outputs failed midway: what lies at their keys doesn't count."""
        for key, _ in attempt.task.outputs:
            self._set(key, self.data.get(key), DataState.EXPIRED, "retry after error")

    def _look(self, key: KeyNode) -> None:
        """A key that is new in the graph: complete if something lies there that isn't known to be out of date."""
        datum = self.data.get(key.key)
        if datum is None or datum.state is DataState.COMPLETE:
            quick = self._storage.look(key.key, key.path)
            if quick is None:
                self._forget(key.key)
            elif datum is None or datum.quick != quick:
                self._set(key.key, Datum(DataState.COMPLETE, quick), DataState.COMPLETE)
            self.flow.set_complete(key, quick is not None)

    # -- running ------------------------------------------------------------------------------------------------

    def retry(self) -> None:
        """Let failed Steps start again."""
        for name in list(self.failed):
            self.flow.claim(self.flow.steps[name], False)
        self.failed.clear()

    def halt(self, why: str) -> None:
        """Cancel all that runs and start nothing more."""
        for attempt in list(self.running.values()):
            self._cancel(attempt, why)
        self.phase = WorkflowState.HALTED
        self._note("flow-halted")

    def start(self) -> None:
        """Make Tasks of all Steps that can start, the earliest uploaded first."""
        if self.phase is not WorkflowState.RUNNING:
            return
        while self.flow.startable:
            ready = sorted(self.flow.startable.values(), key=lambda node: node.order)
            for node in ready:
                if node.startable and not self._restore(node):
                    self._begin(node)

    def _begin(self, node: StepNode) -> None:
        task = self._make_task(node)
        attempt = Attempt(task, TaskState.RUNNING, time.time())
        self.flow.claim(node, True)
        self.latest[task.name] = self.running[task.id] = attempt
        self._new_attempts.append(attempt)
        self.submits.append(task)

    def _make_task(self, node: StepNode) -> Task:
        command = self.commands[node.step.command]
        assert isinstance(command, Command)
        rendered = templates.render(self.name, node.step, command)
        known = {}
        for key in node.inputs:
            datum = self.data.get(key.key)
            if datum is not None and datum.quick is not None and datum.digest is not None:
                known[key.key] = Fingerprint(datum.quick, datum.digest)
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
            reason=self._reason(node),
            external=frozenset(key.key for key in node.inputs if key.external),
            known=known,
        )

    def _restore(self, node: StepNode) -> bool:
        """Whether all that is wrong with a Step's outputs is doubt, and its inputs turned out the same: then it's over."""
        attempt = self.latest.get(node.step.name)
        if attempt is None or attempt.state is not TaskState.COMPLETE or attempt.superseded or attempt.inputs is None:
            return False
        doubted = []
        for key in node.outputs:
            datum = self.data.get(key.key)
            if datum is None or datum.state is DataState.EXPIRED or datum.quick != self._storage.look(key.key, key.path):
                return False
            if datum.state is DataState.UNSURE:
                doubted.append((key, datum))
        if any(attempt.inputs.get(key.key) != self._digest(key) for key in node.inputs):
            return False
        for key, datum in doubted:
            self._set(key.key, datum, DataState.COMPLETE)
            self.flow.set_complete(key, True)
        return True

    def _digest(self, key: KeyNode) -> str | None:
        datum = self.data.get(key.key)
        if datum is None or datum.digest is None:
            seen = self._storage.fingerprint(key.key, key.path)
            if seen is None:
                return None
            datum = datum or Datum(DataState.COMPLETE)
            datum.quick, datum.digest = seen.quick, seen.digest
            self._set(key.key, datum, datum.state, datum.why)
        return datum.digest

    def _reason(self, node: StepNode) -> str:
        attempt = self.latest.get(node.step.name)
        if attempt is not None and not attempt.superseded:
            if attempt.state in _FAILED:
                return "retry after error"
            if attempt.state is TaskState.INTERRUPTED:
                return "interrupted"
        for key in node.outputs:
            datum = self.data.get(key.key)
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
        if event.event == "step-start":
            attempt.started = event.time
            self._changed_attempts[attempt.task.id] = attempt
        self._events.append(event)

    def ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """A Task that counts came to its end; its outputs were published just now."""
        task, now = attempt.task, time.time()
        node = self.flow.steps[task.name]
        del self.running[task.id]
        attempt.state, attempt.exit_code, attempt.message = outcome.state, outcome.exit_code, outcome.message
        attempt.image_id, attempt.ended = outcome.image_id, now
        attempt.inputs = {key: seen.digest for key, seen in outcome.inputs.items()}
        self._changed_attempts[task.id] = attempt
        for key, seen in outcome.inputs.items():
            self._was_read(self.flow.keys[key], seen)
        doubtful = next((key for key in node.inputs if not key.complete), None)
        why = None if doubtful is None else _changed(doubtful)
        for output in outcome.outputs:
            self._published(self.flow.keys[output.key], output.fingerprint, task, why)
            self._note("data-complete", task, key=output.key, path=output.target)
        if outcome.state is TaskState.COMPLETE:
            self._note("step-complete", task)
            self.flow.claim(node, False)
            return
        if outcome.state is TaskState.CANCELLED:
            self.flow.claim(node, False)
            return
        self.failed.add(task.name)
        if not node.open:  # a Step that makes nothing but its log: the log of a failure doesn't complete it
            for log in node.outputs:
                self._set(log.key, self.data[log.key], DataState.EXPIRED, "retry after error")
                self.flow.set_complete(log, False)
        if outcome.reason is not None:
            self._note("step-terminated", task, reason=outcome.reason)
        if outcome.state is TaskState.ERROR:
            self._note("step-error", task, log=outcome.tail, code=outcome.exit_code, message=outcome.message)
        else:
            self._note("task-error", task, message=outcome.message, exception=outcome.exception)

    def _published(self, key: KeyNode, made: Fingerprint, task: Task, why: str | None) -> None:
        """Record an output; `why` says what makes it doubtful already."""
        state = DataState.COMPLETE if why is None else DataState.UNSURE
        self._set(key.key, Datum(state, made.quick, made.digest, task.id), state, why)
        for other in key.below:
            if other.maker is None:  # what lies above or below it is new, too
                self._forget(other.key)
                self.flow.set_complete(other, self._storage.exists(other.key, other.path))
        self.flow.set_complete(key, why is None)

    def _was_read(self, key: KeyNode, seen: Fingerprint) -> None:
        """What a Task read: news only where no digest was known; a file that changed since then is found by `observe`."""
        datum = self.data.get(key.key)
        if datum is None or (datum.digest is None and datum.quick == seen.quick):
            state = datum.state if datum is not None else DataState.COMPLETE
            self._set(key.key, Datum(state, seen.quick, seen.digest), state, datum.why if datum is not None else None)

    # -- writing it down ------------------------------------------------------------------------------------------

    def conclude(self) -> None:
        """After a whole decision: note the end of the flow, when nothing runs any more and something did."""
        if self._flowing and self.state is WorkflowState.COMPLETE:
            self._note("flow-complete")
        elif self._flowing and self.state is WorkflowState.INCOMPLETE:
            self._note("flow-incomplete")
        self._flowing = self.state is WorkflowState.RUNNING

    def write(self, database: Database) -> None:
        """Write all that changed since the last `written`; the caller holds the transaction."""
        if self._defined_commands:
            database.define("commands", self.name, (each.definition for each in self._defined_commands))
        if self._defined_steps:
            database.define("steps", self.name, (each.definition for each in self._defined_steps))
        if self._new_attempts:
            database.add_attempts(self._new_attempts)
        if self._changed_attempts:
            database.set_attempts(self._changed_attempts.values())
        if self._changed_data:
            database.set_data(self.name, {key: self.data.get(key) for key in self._changed_data})
        if self._events:
            database.add_events(self._events)
        if (self.state, len(self.flow.steps)) != (self._stored_state, self._stored_steps):
            database.set_workflow(self.name, self.state.value, len(self.flow.steps))

    def written(self) -> None:
        """The transaction of `write` was committed."""
        self._stored_state, self._stored_steps = self.state, len(self.flow.steps)
        self._defined_commands, self._defined_steps = [], []
        self._new_attempts, self._changed_attempts = [], {}
        self._changed_data, self._events = set(), []

    def _set(self, key: str, datum: Datum | None, state: DataState, why: str | None = None) -> None:
        datum = datum or Datum(state)
        datum.state, datum.why = state, why
        self.data[key] = datum
        self._changed_data.add(key)

    def _forget(self, key: str) -> None:
        if self.data.pop(key, None) is not None:
            self._changed_data.add(key)

    def _cancel(self, attempt: Attempt, why: str) -> None:
        if self.running.pop(attempt.task.id, None) is None:
            return
        attempt.state, attempt.ended, attempt.message = TaskState.CANCELLED, time.time(), why
        self._changed_attempts[attempt.task.id] = attempt
        self.cancels.append(attempt.task.id)
        self._note("step-terminated", attempt.task, reason=BY_REQUEST)
        node = self.flow.steps.get(attempt.task.name)
        if node is not None and self.latest.get(attempt.task.name) is attempt:
            self.flow.claim(node, False)

    def _supersede(self, attempt: Attempt) -> None:
        if not attempt.superseded:
            attempt.superseded = True
            self._changed_attempts[attempt.task.id] = attempt

    def _note(self, event: str, task: Task | None = None, **facts: Any) -> None:
        who = {} if task is None else {"id": task.id, "task": task.name}
        self._events.append(Event(event, self.name, time.time(), {**who, **facts}))


def _changed(key: KeyNode) -> str:
    maker = next(key.makers, None)
    return f"input changed: {key.key}" if maker is None else f"upstream {maker.step.name} ran again"

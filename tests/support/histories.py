"""Random histories of a workflow, and their invariants: an oracle that sees only contents.

A world has, for each storage key, its content and the origin of that. An engine decides; the
history plays the user, the workers and the disk. The assertions:

- *fresh*: the outputs of a complete Step were made by its present definition from the present
  contents of its inputs;
- *certain*: no Step starts while a Step further up runs;
- *once*: no Step runs again from the same inputs, unless the user asked for it or removed a file;
- *fit*: a Step is unfit if, and only if, its definition doesn't give what its Command asks for;
- *live*: each Step that isn't complete at the end has failed, is unfit, or lacks an input that no
  Step is going to make.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from gaia_local.errors import GaiaError
from gaia_local.model.assignment import Assignment, Outcome, Output
from gaia_local.model.commands import AnyCommand, Command, CompositeCommand
from gaia_local.model.events import Event, EventKind
from gaia_local.model.steps import Step
from gaia_local.model.tasks import Fingerprint, TaskState
from gaia_local.model.workflows import WorkflowState
from gaia_local.workflow.contents import inspections
from gaia_local.workflow.decision import Changes, Decision, Inspection, Observation, Saved
from gaia_local.workflow.fitness import Unfit
from gaia_local.workflow.nodes import StepNode
from gaia_local.workflow.removing import removal
from gaia_local.workflow.states import ABSENT, Attempt, KeyState, StepState, VerdictKind
from gaia_local.workflow.traversal import descendants
from gaia_local.workflow.workflow import Workflow
from support.reloading import told

VALUES = ("red", "green", "blue")


def locate(key: str) -> str:
    return "/" + key.replace(":", "/").rstrip("/")


@dataclass
class World:
    """For each key: its content, a number that each write changes, and the basis of the content."""

    files: dict[str, tuple[str, int, tuple[Any, ...] | None]] = field(default_factory=dict)
    writes: int = 0

    def write(self, key: str, content: str, made_from: tuple[Any, ...] | None = None) -> None:
        self.writes += 1
        self.files[key] = (content, self.writes, made_from)

    def look(self, key: str) -> tuple[str, str] | None:
        """Quick fingerprint and content: a directory has that of all that lies in it."""
        if key in self.files:
            content, number, _ = self.files[key]
            return str(number), content
        if key.endswith("/"):
            inside = [
                (path, self.files[path]) for path in sorted(self.files) if path.startswith(key)
            ]
            if inside:
                return (
                    "d" + ",".join(f"{path}={number}" for path, (_, number, _) in inside),
                    ",".join(f"{path}={content}" for path, (content, _, _) in inside),
                )
            return None
        folder = key.rpartition("/")[0] + "/"
        if key.endswith("/part") and folder in self.files:
            return f"{self.files[folder][1]}p", f"part of {self.files[folder][0]}"
        return None

    def read(self, key: str) -> str | None:
        seen = self.look(key)
        return None if seen is None else seen[1]


class Rows:
    """The state file, as rows in memory; written rows are copies."""

    def __init__(self) -> None:
        self.state, self.steps = WorkflowState.INITIALIZED, 0
        self.commands: dict[str, AnyCommand] = {}
        self.given: dict[str, Step] = {}
        self.unfit: dict[str, Unfit] = {}
        self.attempts: dict[str, Attempt] = {}
        self.keys: dict[str, KeyState] = {}

    def save(self, changes: Changes) -> None:
        for name in changes.gone_commands:
            self.commands.pop(name, None)
        for name in changes.gone_steps:
            self.given.pop(name, None)
            self.unfit.pop(name, None)
        self.commands |= {command.name: command for command in changes.commands}
        self.given |= {step.name: step for step in changes.steps}
        unfit = {**self.unfit, **changes.unfit}
        self.unfit = {name: why for name, why in unfit.items() if why is not None}
        self.attempts |= {attempt.task.id: replace(attempt) for attempt in changes.attempts()}
        self.keys = {
            key: state for key, state in {**self.keys, **changes.keys}.items() if state != ABSENT
        }
        if changes.state is not None:
            self.state, self.steps = changes.state

    def saved(self) -> Saved:
        latest = {attempt.task.name: replace(attempt) for attempt in self.attempts.values()}
        given, commands = list(self.given.values()), list(self.commands.values())
        attempts, keys = list(latest.values()), dict(self.keys)
        unfit = {
            name: Unfit.from_json("w", why.problem, why.to_json())
            for name, why in self.unfit.items()
        }
        return Saved("w", {}, self.state, self.steps, commands, given, attempts, keys, unfit)


@dataclass
class Run:
    """A live Task: queued, or running with the inputs that it read."""

    assignment: Assignment
    read: dict[str, tuple[str, str]] | None = None


class History:
    """One history: its events are drawn from `dice`."""

    def __init__(self, dice: random.Random) -> None:
        self.dice, self.world, self.rows = dice, World(), Rows()
        self.alive: dict[str, Run] = {}
        self.said: list[str] = []
        self.untold = False
        """A file changed without a report to the engine."""
        self.may: set[str] = set()
        """Steps that may run without a change: the user asked for it, or removed a file."""
        self.last: dict[str, tuple[Any, ...]] = {}
        """Step → the tokens and the contents of its last run."""
        self.workflow = Workflow("w", {}, locate)
        self.define(commands(), [])

    # -- the scheduler's part ----------------------------------------------------------------------

    def act(self, decision: Decision) -> None:
        """Write down, act, look, until nothing is to be looked at; then all must be right."""
        while True:
            self.rows.save(decision.changes)
            for task_id in decision.cancel:
                self.may.add(self.alive.pop(task_id).assignment.task.name)
            for assignment in decision.start:
                self.check_start(assignment)
                self.alive[assignment.task.id] = Run(assignment)
            if not decision.inspect:
                break
            decision = self.workflow.observe(self.see(decision.inspect))
        self.check_fit()
        self.check_fresh()
        self.check_reloaded()

    def see(self, looks: Iterable[Inspection]) -> Iterator[Observation]:
        for look in looks:
            quick, content = self.world.look(look.key) or (None, None)
            needed = quick is not None and (look.read or look.state.digest is not None)
            yield Observation(look, quick, content if needed else None)

    def tell(self, keys: Iterable[str]) -> None:
        graph = self.workflow.graph
        nodes = {node.key: node for key in keys for node in graph.overlapping(locate(key))}
        self.act(self.workflow.observe(self.see(inspections(nodes.values()))))

    def load(self) -> Workflow:
        workflow = Workflow.load(self.rows.saved(), locate)
        while looks := workflow.needed_inspections():
            while looks:
                looks = workflow.record_observations(self.see(looks))
        return workflow

    # -- invariants --------------------------------------------------------------------------------

    def nodes(self) -> list[StepNode]:
        return list(self.workflow.graph.steps.values())

    def check_reloaded(self) -> None:
        live, reloaded = told(self.workflow), told(self.load())
        differs = {key: (live.get(key), reloaded.get(key)) for key in {**live, **reloaded}}
        differs = {key: pair for key, pair in differs.items() if pair[0] != pair[1]}
        assert not differs, f"live and reloaded differ: {differs}"

    def check_start(self, assignment: Assignment) -> None:
        name = assignment.task.name
        running = {run.assignment.task.name for run in self.alive.values()}
        assert name not in running, f"{name} runs twice"
        above = [self.workflow.graph.steps[name]]
        for node in above:
            for key in node.inputs:
                for maker in key.makers:
                    assert maker.step.name not in running, (
                        f"{name} starts beside {maker.step.name}, further up"
                    )
                    found = maker.reads is None and all(
                        output.state.made_by is None for output in maker.outputs
                    )
                    if self.can_come(maker) and not found:
                        above.append(maker)

    def can_come(self, node: StepNode) -> bool:
        """Whether a Step only lacks Steps further up of which the same is true."""
        if node.state is StepState.FAILED or node.verdict is VerdictKind.UNFIT:
            return False
        parts = [part for key in node.inputs for part in (key, *key.overlapping_outputs)]
        return all(
            part.state.usable or (part.maker is not None and self.can_come(part.maker))
            for part in parts
        )

    def check_fit(self) -> None:
        running = {run.assignment.task.name for run in self.alive.values()}
        submitted = self.workflow.submitted
        for name, step in submitted.steps.items():
            fits = self.fits(step)
            for concrete in submitted.names(name):
                node = self.workflow.graph.steps[concrete]
                assert fits == (node.verdict is not VerdictKind.UNFIT), f"{concrete}: fits: {fits}"
                assert fits or concrete not in running, f"{concrete} runs, and doesn't fit"

    def fits(self, step: Step) -> bool:
        """Whether a definition gives what its Command asks for."""
        command = self.workflow.submitted.commands[step.command]
        if {*step.inputs} != {*command.inputs} or {*step.outputs} != {*command.outputs}:
            return False
        if isinstance(command, CompositeCommand):
            return all(self.fits(inner) for inner in command.steps)
        return "{{lacking}}" not in command.command or "lacking" in step.vars

    def check_fresh(self) -> None:
        if self.untold:
            return
        for node in self.nodes():
            if node.verdict is VerdictKind.FRESH:
                self.check_made(node)

    def check_made(self, node: StepNode) -> None:
        for key in node.outputs:
            if key.key in self.world.files:
                made_from = self.world.files[key.key][2]
                assert made_from in (None, self.basis(node)), (
                    f"{key.key} is out of date, and counts as complete"
                )

    def basis(self, node: StepNode) -> tuple[Any, ...]:
        """The present basis of a Step's outputs: its tokens and its inputs' contents."""
        tokens = self.workflow.attempts.make_task(node).command
        return (tokens, *((key, self.world.read(key)) for key in node.step.inputs.values()))

    def check_end(self) -> None:
        """Check the end: all is quiet, all changes are reported, and the workflow was run."""
        stuck: set[str] = set()
        for node in sorted(self.nodes(), key=lambda node: node.rank):
            lacks = [
                key
                for key in node.inputs
                if self.world.read(key.key) is None
                or any(not near.state.usable for near in (key, *key.overlapping_outputs))
            ]
            if node.verdict is VerdictKind.FRESH:
                continue
            stuck.add(node.step.name)
            if node.verdict is VerdictKind.UNFIT:
                continue
            failed = node.state is StepState.FAILED
            assert lacks or failed, f"{node.step.name} could run, and doesn't: {node.verdict}"
            for key in lacks:
                makers = {maker.step.name for maker in key.makers}
                assert not makers or makers & stuck, (
                    f"{key.key} isn't there, though {makers} are complete"
                )

    # -- events ------------------------------------------------------------------------------------

    def define(self, new: list[dict[str, Any]], steps: list[dict[str, Any]]) -> None:
        parsed = [Command.parse("w", command) for command in new]
        change = self.workflow.merging.compare(parsed, [Step.parse("w", step) for step in steps])
        seen = {}
        for key in self.workflow.merging.unknown(change):
            looked = self.world.look(key)
            seen[key] = None if looked is None else looked[0]
        before = self.below(
            {node.step.name for node in self.nodes()} & {*change.removed, *change.replaced}
        )
        decision = self.workflow.define(change, seen)
        self.may |= before | self.below({*change.replaced})
        self.act(decision)

    def below(self, names: set[str]) -> set[str]:
        nodes = [
            self.workflow.graph.steps[name] for name in names if name in self.workflow.graph.steps
        ]
        return names | {node.step.name for node in descendants(nodes)}

    def merge(self) -> None:
        steps = [
            self.step(number) for number in self.dice.sample(range(7), self.dice.randint(1, 4))
        ]
        if self.dice.random() < 0.7:
            steps = [self.fitted(step) for step in steps]
        self.try_to_define([], steps)

    def recommand(self) -> None:
        command = self.dice.choice(commands(self.dice.randint(0, 3)))
        self.try_to_define([command], [])

    def misfit(self) -> None:
        """Change a Command so that its Steps may not fit any more."""
        command = dict(self.dice.choice(commands(self.dice.randint(0, 1))[1:]))
        change = self.dice.choice(("more", "less", "output", "var"))
        if "steps" in command:
            command["inputs"] = ["a", "b"]  # which no inner Step reads
        elif change == "more":
            command["inputs"] = {**command["inputs"], "c": "/in/c"}
        elif change == "less":
            command["inputs"] = {}
        elif change == "output":
            command["outputs"] = {**command["outputs"], "z": "/out/z"}
        else:
            command["command"] = [*command["command"], "{{lacking}}"]
        self.try_to_define([command], [])

    def fitted(self, step: dict[str, Any]) -> dict[str, Any]:
        """A Step that gives what its Command asks for at present."""
        command = self.workflow.submitted.commands.get(step["command"])
        if command is None:
            return step
        inputs = {key: self.dice.choice(SOURCES) for key in command.inputs}
        inputs |= {key: name for key, name in step.get("inputs", {}).items() if key in inputs}
        outputs = {key: f"b:{step['name'][1:]}{key}" for key in command.outputs}
        if "n" in step["vars"]:
            outputs = {key: f"{name}-{{{{n}}}}" for key, name in outputs.items()}
        outputs |= {key: name for key, name in step["outputs"].items() if key in outputs}
        return {**step, "inputs": inputs, "outputs": outputs}

    def try_to_define(self, new: list[dict[str, Any]], steps: list[dict[str, Any]]) -> None:
        """Define; a refused definition, such as a cycle, changes nothing."""
        self.rows.save(self.workflow.flush().changes)
        before = told(self.workflow)
        try:
            self.define(new, steps)
        except GaiaError:
            assert told(self.workflow) == before
            self.check_reloaded()

    def step(self, number: int) -> dict[str, Any]:  # noqa: PLR0911 one for each kind
        """A Step of some kind that reads of those before it."""
        dice = self.dice
        kind = dice.choice(
            ("mk", "one", "two", "both", "tree", "part", "array", "composite", "log")
        )
        read = [*READ[: 3 + 2 * number], "d/", "t/part"]
        first, second = dice.choice(read), dice.choice(read)
        name, out = f"s{number}", [f"b:{number}", f"b:{number}x"]
        step: dict[str, Any] = {"name": name, "vars": {"v": dice.choice((0, 1, True, "1"))}}
        if kind == "mk":
            return {**step, "command": "mk", "outputs": {"x": out[0]}}
        if kind == "tree":
            return {**step, "command": "one", "inputs": {"a": first}, "outputs": {"x": "t/"}}
        if kind == "part":
            return {
                **step,
                "command": "one",
                "inputs": {"a": first},
                "outputs": {"x": f"d/{number}"},
            }
        if kind == "array":
            step["vars"]["n"] = dice.sample([1, 2, 3], dice.randint(1, 3))
            return {
                **step,
                "command": "one",
                "inputs": {"a": first},
                "outputs": {"x": f"b:{number}-{{{{n}}}}"},
            }
        outputs = {"x": out[0], "y": out[1]}
        if kind in ("one", "composite"):
            return {**step, "command": kind, "inputs": {"a": first}, "outputs": {"x": out[0]}}
        if kind == "log":
            return {**step, "command": "log", "inputs": {"a": first}, "outputs": outputs}
        return {**step, "command": kind, "inputs": {"a": first, "b": second}, "outputs": outputs}

    def leave(self) -> None:
        """Steps leave, perhaps with a Command; what they made is the user's from then on."""
        submitted = self.workflow.submitted
        names = self.dice.sample(sorted(submitted.steps), min(2, len(submitted.steps)))
        if submitted.commands and self.dice.random() < 0.3:
            names.append(self.dice.choice(sorted(submitted.commands)))
        gone = [node for name in names for node in self.concrete(name)]
        below = self.below({node.step.name for node in gone})
        self.rows.save(self.workflow.flush().changes)
        before = told(self.workflow)
        try:
            change = removal("w", submitted, names)
        except GaiaError:
            assert told(self.workflow) == before
            return
        self.may |= below
        for node in gone:
            for key in node.outputs:
                if key.key in self.world.files:
                    content, number, _ = self.world.files[key.key]
                    self.world.files[key.key] = (content, number, None)
        self.act(self.workflow.remove(change))
        assert not {node.step.name for node in gone} & self.workflow.graph.steps.keys()

    def concrete(self, outer: str) -> list[StepNode]:
        return [self.workflow.graph.steps[name] for name in self.workflow.submitted.names(outer)]

    def expire(self) -> None:
        graph = self.workflow.graph
        names = [*graph.steps, *graph.keys]
        if not names:
            return
        chosen = self.dice.sample(names, min(len(names), self.dice.randint(1, 2)))
        tops = {name for name in chosen if name in graph.steps}
        for name in chosen:
            if name in graph.keys:
                key = graph.keys[name]
                tops |= {node.step.name for node in (*key.makers, *key.readers)}
        self.may |= self.below(tops)
        self.act(self.workflow.expire(chosen))

    def run(self) -> None:
        if self.workflow.state is WorkflowState.RUNNING and self.workflow.trouble is None:
            return
        self.tell(list(self.workflow.graph.keys))
        self.untold = False
        self.may |= {node.step.name for node in self.nodes() if node.state is StepState.FAILED}
        self.act(self.workflow.run({}))

    def halt(self) -> None:
        self.act(self.workflow.halt("halted"))

    def edit(self) -> None:
        """The user writes a file: a source, or a Step's output."""
        keys = [*SOURCES, *self.workflow.graph.keys]
        key = self.dice.choice([key for key in keys if key != "d/" and not key.endswith("/part")])
        self.world.write(key, self.dice.choice(VALUES))
        self.touched(key)

    def remove(self) -> None:
        if self.world.files:
            key = self.dice.choice(sorted(self.world.files))
            del self.world.files[key]
            self.touched(key)

    def touch(self) -> None:
        if self.world.files:
            key = self.dice.choice(sorted(self.world.files))
            content, _, made_from = self.world.files[key]
            self.world.write(key, content, made_from)
            self.touched(key)

    def touched(self, key: str) -> None:
        nodes = [
            node for node in self.workflow.graph.overlapping(locate(key)) if node.maker is not None
        ]
        self.may |= {maker.step.name for node in nodes for maker in node.makers}
        if self.dice.random() < 0.8:
            self.tell([key])
        else:
            self.untold = True
            readers = {
                reader.step.name
                for node in self.workflow.graph.overlapping(locate(key))
                for reader in node.readers
            }
            self.may |= self.below(
                readers | {run.assignment.task.name for run in self.alive.values()}
            )

    def start(self) -> None:
        """A worker takes a Task up and reads its inputs; one that isn't there fails it."""
        queued = [run for run in self.alive.values() if run.read is None]
        if not queued:
            return
        run = self.dice.choice(queued)
        task = run.assignment.task
        seen = {key: self.world.look(key) for key, _ in task.inputs}
        torn = [key for key in seen if key in self.world.files and self.world.files[key][2] is TORN]
        assert not torn, f"{task.name} reads {torn}, stored in part by a Step that failed"
        run.read = {key: looked for key, looked in seen.items() if looked is not None}
        if len(run.read) < len(seen):
            self.end(run, TaskState.EXCEPTION)
            return
        facts = {"inputs": {key: content for key, (_, content) in run.read.items()}}
        if self.workflow.attempts.record_event(task, Event(EventKind.STEP_START, "w", 1.0, facts)):
            self.act(self.workflow.decide())

    def finish(self) -> None:
        """End a running Task: complete, failed, or complete with outputs that can't be stored."""
        running = [run for run in self.alive.values() if run.read is not None]
        if not running:
            self.start()
            return
        run = self.dice.choice(running)
        kind = self.dice.random()
        self.end(
            run, TaskState.COMPLETE if kind < 0.85 else TaskState.ERROR, unstored=0.8 < kind < 0.85
        )

    def end(self, run: Run, state: TaskState, unstored: bool = False) -> None:
        task = run.assignment.task
        del self.alive[task.id]
        assert run.read is not None
        read = {key: Fingerprint(*seen) for key, seen in run.read.items()}
        basis = (
            task.command,
            *((key, run.read[key][1]) for key, _ in task.inputs if key in run.read),
        )
        if state is TaskState.COMPLETE and not self.untold:
            same = self.last.get(task.name) == basis
            assert not same or task.name in self.may, (
                f"{task.name} ran again, though nothing changed: {task.reason}"
            )
        outputs: list[Output] = []
        for key, internal in task.outputs:
            if state is TaskState.COMPLETE or internal == ">>":
                made = (
                    f"log of run {self.world.writes}"
                    if internal == ">>"
                    else compute(basis, internal)
                )
                if unstored and outputs and self.dice.random() < 0.5:
                    break
                self.world.write(key, made, TORN if unstored else basis)
                quick, content = self.world.look(key) or ("", "")
                outputs.append(Output(key, "", locate(key), Fingerprint(quick, content)))
        self.last.pop(task.name, None)
        if unstored:
            self.workflow.contents.unpublished(key for key, _ in task.outputs)
            state, outputs = TaskState.EXCEPTION, []
        if state is TaskState.COMPLETE:
            self.last[task.name] = basis
            self.may.discard(task.name)
        else:
            self.may.add(task.name)
        self.act(self.workflow.ended(task, Outcome(state, tuple(outputs), 0, inputs=read)))

    def reopen(self) -> None:
        """The engine closes in order, and another one opens the root."""
        if self.workflow.running:
            self.act(self.workflow.halt("closed"))
        self.workflow = self.load()
        assert not self.alive

    def settle(self) -> None:
        """Let all that runs end well, `run` until nothing changes any more, and compare."""
        for _ in range(4):
            for _ in range(400):
                if not self.alive:
                    break
                run = next(iter(self.alive.values()))
                if run.read is None:
                    self.start()
                else:
                    self.end(run, TaskState.COMPLETE)
            assert not self.alive, "it never comes to an end"
            self.run()
        assert not self.alive
        assert self.workflow.state is not WorkflowState.RUNNING
        self.check_end()

    def go(self, length: int) -> None:
        happenings: list[tuple[Callable[[], None], float]] = [
            (self.merge, 4),
            (self.recommand, 1.5),
            (self.misfit, 0.5),
            (self.leave, 0.5),
            (self.expire, 2),
            (self.run, 2),
            (self.halt, 1),
            (self.edit, 6),
            (self.remove, 2),
            (self.touch, 1),
            (self.start, 8),
            (self.finish, 12),
            (self.reopen, 1),
        ]
        doings, weights = zip(*happenings, strict=True)
        for source in SOURCES:
            if self.dice.random() < 0.8:
                self.world.write(source, self.dice.choice(VALUES))
        for doing in self.dice.choices(doings, weights, k=length):
            self.said.append(doing.__name__)
            doing()
        self.settle()


TORN = ("stored in part",)
"""The basis of files of a Task whose outputs could not all be stored."""
SOURCES = ["src:0", "src:1", "src:2"]
READ = [*SOURCES, *(f"b:{number}{x}" for number in range(7) for x in ("", "x"))]


def compute(basis: tuple[Any, ...], internal: str) -> str:
    """A program's output: one of few values, so changed inputs often give the same."""
    return VALUES[zlib.crc32(str((basis, internal)).encode()) % 3]


def commands(version: int = 0) -> list[dict[str, Any]]:
    base: dict[str, Any] = {"image": "i", "command": ["x", f"{version}", "{{v}}"], "vars": {"v": 0}}
    one, two = {"a": "/in/a"}, {"a": "/in/a", "b": "/in/b"}
    inner = [
        {"name": "i", "command": "mk", "outputs": {"x": "Z"}},
        {
            "name": "j",
            "command": "two",
            "inputs": {"a": "a", "b": "Z"},
            "outputs": {"x": "x", "y": "Y"},
        },
    ]
    return [
        {**base, "name": "mk", "outputs": {"x": "/out/x"}},
        {**base, "name": "one", "inputs": one, "outputs": {"x": "/out/x"}},
        {**base, "name": "two", "inputs": two, "outputs": {"x": "/out/x", "y": "/out/y"}},
        {**base, "name": "both", "inputs": two, "outputs": {"x": "/out/x", "y": "/out/y"}},
        {**base, "name": "log", "inputs": one, "outputs": {"x": "/out/x", "y": ">>"}},
        {"name": "composite", "inputs": ["a"], "outputs": ["x"], "steps": inner},
    ]

"""Random histories of workflows that share one root, with reuse: right files, and no run too many.

A program is a function of its tokens and of the contents of its inputs: these are its *identity*.
After each call of a history all is quiet, and then:

- *right*: each file of a complete workflow is what runs from scratch, without reuse, would make of
  the files of the user; an output that the user wrote over is such a file, until its Step runs;
- *once*: a program of one identity succeeded no more often than it had to: once for each Step that
  was expired and ran for that, and once more only if no *holder* in a complete workflow kept its
  result throughout;
- *trusted*: a Task was given the result of a Step that held its identity, or began to meanwhile.

A *holder* of an identity is a Step whose last Task is complete and was of that identity, and whose
files nobody touched since. `expire` of a Step takes its identity from all its holders: they keep
their files, and hold no more. A holder whose own Step got another Task meanwhile didn't keep it.

`GAIA_LOCAL_REUSE_HISTORIES` is the number of histories, random ones; without it, they are always
the same.
"""

from __future__ import annotations

import collections
import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaia_local import Gaia
from gaia_local.engine import execution
from gaia_local.model.events import EventKind
from gaia_local.model.keys import Capture
from gaia_local.model.tasks import Task, TaskState
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, ReportEvent
from gaia_local.workflow.states import Attempt
from support.builders import step
from support.fakes import NoRuntime

HISTORIES = int(os.environ.get("GAIA_LOCAL_REUSE_HISTORIES", "100"))
PATIENCE = 20.0
WORKFLOWS = ("w1", "w2", "w3")
SOURCES = ("in:a", "in:b")
Identity = tuple[Any, ...]
Place = tuple[str, str]
"""Workflow and Step."""


# ---------------------------------------------------------------------------------------- programs


def content(path: Path) -> str:
    if not path.is_dir():
        return path.read_text()
    return "".join(f"<{part.name}={part.read_text()}>" for part in sorted(path.iterdir()))


def made(identity: Identity, path: str) -> str:
    """What a program makes at an internal path."""
    tokens, inputs = identity
    told = "+".join(text for _, text in inputs)
    return f"{' '.join(tokens)} {path} of ({told})"


def shown(identity: Identity, path: str) -> str:
    """As `content` shows it."""
    text = made(identity, path)
    return f"<part={text}>" if path.endswith("/") else text


class PureRuntime(NoRuntime):
    """Programs that are functions; while they are held, they end only by being cancelled."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.counts: collections.Counter[Identity] = collections.Counter()
        self._lock = threading.Lock()

    def identity(self, task: Task, age: float = 0.0) -> str | None:
        return f"program of {task.image}"

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        task, tree = invocation.task, Path(invocation.tree)
        stopped = threading.Event()
        report(EventKind.EXECUTION_START)

        if not self.free.is_set():
            with cancellation.stopping(stopped.set, stopped.set, 60, lambda: False):
                assert stopped.wait(PATIENCE)
            return Exit(143)
        if cancellation.reason is not None:  # halted before the programs could go on
            return Exit(143)
        inputs = tuple((path, content(tree / path.strip("/"))) for _, path in task.inputs)
        identity = (task.command, inputs)
        if "bad" in inputs[0][1]:
            return Exit(1)
        Path(invocation.log).write_text(made(identity, ">"))
        for _, path in task.outputs:
            if Capture.parse(path) is None:
                place = tree / path.strip("/")
                (place / "part" if path.endswith("/") else place).write_text(made(identity, path))
        with self._lock:
            self.counts[identity] += 1
        return Exit(0, identity=self.identity(task))


# --------------------------------------------------------------------------------------- histories


COMMANDS: dict[str, dict[str, Any]] = {
    "one": {"inputs": {"a": "/in/a"}, "outputs": {"x": "/out/x"}},
    "two": {"inputs": {"a": "/in/a", "b": "/in/b"}, "outputs": {"x": "/out/x", "said": ">"}},
    "tree": {"inputs": {"a": "/in/a"}, "outputs": {"x": "/out/x/"}},
    "read": {"inputs": {"a": "/in/a/"}, "outputs": {"x": "/out/x"}},
}


def commands(version: int) -> list[dict[str, Any]]:
    return [definition(name, version if name == "one" else 1) for name in COMMANDS]


def definition(name: str, version: int) -> dict[str, Any]:
    return {"name": name, "image": "i", "command": [name, str(version)], **COMMANDS[name]}


SHAPES = (
    [step("s", "one", "o:s", "in:a"), step("t", "one", "o:t", "o:s")],
    [
        step("s", "one", "o:s", "in:a"),
        step("t", "one", "o:t", "in:b"),
        step("u", "two", inputs={"a": "o:s", "b": "o:t"}, outputs={"x": "o:u", "said": "o:said"}),
    ],
    [
        step("d", "tree", "o:d/", "in:b"),
        step("r", "read", "o:r", "o:d/"),
        step("t", "one", "o:t", "o:r"),
        step("same", "one", "o:same", "in:a"),
    ],
)
"""Of all workflows: with equal names and keys, and different ones, for equal Tasks."""


@dataclass(frozen=True)
class Call:
    """One event of a history; what it doesn't need of these is ignored."""

    kind: str
    workflow: str
    other: str
    number: int
    text: str

    def __repr__(self) -> str:
        return f"Call{(self.kind, self.workflow, self.other, self.number, self.text)}"


KINDS = (
    *("upload", "input", "input", "output", "remove", "remove", "expire", "expire"),
    *("command", "delete", "held", "reopen"),
)
calls = st.lists(
    st.builds(
        Call,
        st.sampled_from(KINDS),
        st.sampled_from(WORKFLOWS),
        st.sampled_from(WORKFLOWS),
        st.integers(0, 11),
        st.sampled_from(["p", "p", "p", "q", "bad"]),
    ),
    min_size=3,
    max_size=8,
)
shapes = st.lists(st.integers(0, 11), min_size=len(WORKFLOWS), max_size=len(WORKFLOWS))


class History:
    """The workflows of one root, and what is known of them from outside."""

    def __init__(self, root: Path, runtime: PureRuntime) -> None:
        self.root, self.runtime = root, runtime
        self.shapes: dict[str, list[dict[str, Any]]] = {}
        self.versions: dict[str, int] = {}
        self.last: dict[Place, Identity] = {}
        """The identity of the last Task of a Step, if that is complete."""
        self.edits: dict[tuple[str, str], str] = {}
        """Workflow and key → what the user wrote into an output, until its Step runs again."""
        self.holders: dict[Identity, set[Place]] = collections.defaultdict(set)
        self.gaia = self.opened()

    def opened(self) -> Gaia:
        config = {"root": self.root, "runtime": "process", "watch": False, "workers": 3}
        return Gaia({**config, "reuse": True})

    # -- what is expected --------------------------------------------------------------------------

    def inputs(self, workflow: str, one: dict[str, Any]) -> tuple[tuple[str, str], ...]:
        """The contents of a Step's inputs, if they were made from scratch."""
        paths = COMMANDS[one["command"]]["inputs"]
        makers = {key: each for each in self.shapes[workflow] for key in each["outputs"].values()}
        found = []
        for name, key in one["inputs"].items():
            if key in makers:
                maker = makers[key]
                (output,) = (name for name, made in maker["outputs"].items() if made == key)
                text = self.output(workflow, maker, output)
            else:
                text = self.gaia.path(workflow, key).read_text()
            found.append((paths[name], text))
        return tuple(found)

    def output(self, workflow: str, one: dict[str, Any], name: str) -> str:
        """The content of a Step's output, if it were made from scratch."""
        key, path = one["outputs"][name], COMMANDS[one["command"]]["outputs"][name]
        edited = self.edits.get((workflow, key))
        return shown(self.identity(workflow, one), path) if edited is None else edited

    def identity(self, workflow: str, one: dict[str, Any]) -> Identity:
        version = self.versions[workflow] if one["command"] == "one" else 1
        return ((one["command"], str(version)), self.inputs(workflow, one))

    def read(self, workflow: str, one: dict[str, Any]) -> Identity:
        """What a Step's last Task was, by the files that lie there: after a failure, old ones."""
        tokens, _ = self.identity(workflow, one)
        paths = COMMANDS[one["command"]]["inputs"]
        inputs = one["inputs"].items()
        read = tuple((paths[name], content(self.gaia.path(workflow, key))) for name, key in inputs)
        return tokens, read

    def attempts(self, workflow: str) -> dict[str, Attempt]:
        """Step → its last Task."""
        owned = self.gaia._opened._owned
        assert owned is not None
        found = owned.scheduler.view(
            workflow,
            lambda known: {
                name: node.attempt
                for name, node in known.graph.steps.items()
                if node.attempt is not None
            },
        )
        return found or {}

    def tasks_so_far(self) -> set[str]:
        return {attempt.task.id for name in self.shapes for attempt in self.attempts(name).values()}

    # -- a call, until all is quiet ----------------------------------------------------------------

    def make(self, call: Call) -> None:
        if call.kind in ("expire", "command") and call.workflow in self.shapes:
            # Otherwise a Step that an edit starts may be stopped by this call, and run twice.
            self.make(replace(call, kind="run"))
        before, counts = self.tasks_so_far(), self.runtime.counts.copy()
        touched = self.perform(call)
        for name in touched & self.shapes.keys():
            self.gaia.run(name)
        for name in self.shapes:
            self.gaia.wait(name, PATIENCE)
        self.check(before, self.runtime.counts - counts, touched & self.shapes.keys())

    def perform(self, call: Call) -> set[str]:
        """Make a call; the workflows that are to be run then."""
        name, number = call.workflow, call.number
        known = self.shapes.get(name)
        if call.kind == "upload" and known is None:
            for key, text in zip(SOURCES, (call.text, "p"), strict=True):
                self.write(name, key, text)
            self.shapes[name], self.versions[name] = SHAPES[number % len(SHAPES)], 1 + number % 2
            self.gaia.upload(name, {}, commands(self.versions[name]), self.shapes[name])
            return {name}
        if known is None:
            return set()
        if call.kind == "run":
            return {name}
        one = known[number % len(known)]
        key = list(one["outputs"].values())[number % len(one["outputs"])]
        if call.kind in ("input", "output", "remove"):
            if call.kind == "input":
                self.write(name, SOURCES[number % 2], call.text)
            else:
                self.edit(name, one, key, call.text if call.kind == "output" else None)
            return {name} if number % 3 else {call.other}
        if call.kind == "expire":
            self.distrust(name, one["name"])
            self.gaia.expire(name, [one["name"] if number % 2 else key])
        elif call.kind == "command":
            self.versions[name] = 1 + number % 2
            self.gaia.command(name, [definition("one", self.versions[name])])
        elif call.kind == "delete":
            self.gaia.delete(name, data=True)
            del self.shapes[name]
            self.drop(name)
            self.edits = {who: text for who, text in self.edits.items() if who[0] != name}
        elif call.kind == "held":
            self.hold(name, call.other, call.text)
        elif call.kind == "reopen":
            self.gaia.close()
            self.gaia = self.opened()
        return {name, call.other}

    def hold(self, name: str, other: str, text: str) -> None:
        """Run two workflows whose inputs changed, and halt one in the midst of its programs."""
        self.runtime.free.clear()
        both = [each for each in (name, other) if each in self.shapes]
        for each in both:
            self.write(each, "in:a", f"{text} held")
            self.gaia.run(each)
        self.gaia.halt(name)
        if other in self.shapes:
            self.gaia.halt(other)
        self.runtime.free.set()

    def write(self, workflow: str, key: str, text: str) -> None:
        path = self.gaia.path(workflow, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def edit(self, workflow: str, one: dict[str, Any], key: str, text: str | None) -> None:
        """The user changes or removes a Step's output."""
        path = self.gaia.path(workflow, key)
        path = path / "part" if key.endswith("/") else path
        if path.exists():
            if text is None:
                path.unlink()
                if key.endswith("/") and (workflow, key) in self.edits:
                    self.edits[workflow, key] = ""  # still the user's own version
            else:
                text = f"edited {text}"
                path.write_text(text)
                self.edits[workflow, key] = f"<part={text}>" if key.endswith("/") else text
            self.drop(workflow, one["name"])

    def drop(self, workflow: str, name: str | None = None) -> None:
        """These Steps, or all of a workflow, hold nothing any more."""
        for holders in self.holders.values():
            holders.difference_update(
                [who for who in holders if who[0] == workflow and name in (None, who[1])]
            )
        for who in list(self.last):
            if name is None and who[0] == workflow:
                del self.last[who]

    def distrust(self, workflow: str, name: str) -> None:
        if (workflow, name) in self.last:
            self.holders[self.last[workflow, name]].clear()

    # -- invariants --------------------------------------------------------------------------------

    def check(self, before: set[str], ran: collections.Counter[Identity], run: set[str]) -> None:
        expired, renewed = collections.Counter[Identity](), set[Place]()
        new: list[tuple[Place, Identity]] = []
        finished: list[tuple[Place, dict[str, Any], Attempt]] = []
        for workflow, shape in self.shapes.items():
            attempts = self.attempts(workflow)
            for one in shape:
                attempt, who = attempts.get(one["name"]), (workflow, one["name"])
                if attempt is None or attempt.task.id in before:
                    continue
                renewed.add(who)
                self.last.pop(who, None)
                if attempt.state is TaskState.COMPLETE:
                    finished.append((who, one, attempt))
                    for key in one["outputs"].values():
                        self.edits.pop((workflow, key), None)
        for who, one, attempt in finished:
            identity = self.read(who[0], one)
            new.append((who, identity))
            if attempt.task.reason == "expired":
                assert attempt.reused is None, f"{who} was expired, and reused"
                expired[identity] += 1
        self.check_trusted(new, finished)
        self.check_once(ran, expired, renewed)
        for holders in self.holders.values():
            holders.difference_update(renewed)
        for who, identity in new:
            self.holders[identity].add(who)
            self.last[who] = identity
        for workflow in run:
            if self.gaia.status(workflow)["state"] == "complete":
                self.check_files(workflow)

    def check_trusted(
        self,
        new: list[tuple[Place, Identity]],
        finished: list[tuple[Place, dict[str, Any], Attempt]],
    ) -> None:
        for who, one, attempt in finished:
            if attempt.reused is not None:
                maker, identity = attempt.reused, self.read(who[0], one)
                place = (maker.workflow, maker.step)
                trusted = place in self.holders[identity] or (place, identity) in new
                assert trusted, f"{who} was given the result of {place}: {identity}"

    def check_once(
        self,
        ran: collections.Counter[Identity],
        expired: collections.Counter[Identity],
        renewed: set[Place],
    ) -> None:
        # Where a Step failed, what depends on it may be expired, and is given to nobody.
        sound = {name for name in self.shapes if self.gaia.status(name)["state"] == "complete"}
        for identity, count in ran.items():
            kept = {who for who in self.holders[identity] - renewed if who[0] in sound}
            most = expired[identity] + (0 if kept else 1)
            assert count <= most, f"{identity} ran {count} times, not {most}; held by {kept}"

    def check_files(self, workflow: str) -> None:
        for one in self.shapes[workflow]:
            for name, key in one["outputs"].items():
                found = content(self.gaia.path(workflow, key))
                assert found == self.output(workflow, one, name), f"{workflow}, {key}"


@contextlib.contextmanager
def history(monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    runtime = PureRuntime()
    with tempfile.TemporaryDirectory() as folder, monkeypatch.context() as patched:
        patched.setattr(execution, "runtime_of", lambda config: runtime)
        made = History(Path(folder) / "root", runtime)
        try:
            yield made
        finally:
            runtime.free.set()
            made.gaia.close(wait=False)
        assert list(made.root.glob("staging/*")) == []


@pytest.mark.timeout(120 + 2 * HISTORIES)
@settings(
    max_examples=HISTORIES,
    derandomize="GAIA_LOCAL_REUSE_HISTORIES" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=shapes, later=calls)
def test_random_histories(
    monkeypatch: pytest.MonkeyPatch, first: list[int], later: list[Call]
) -> None:
    uploads = [
        Call("upload", name, name, number, "p")
        for name, number in zip(WORKFLOWS, first, strict=True)
    ]
    with history(monkeypatch) as made:
        for call in [*uploads, *later]:
            made.make(call)

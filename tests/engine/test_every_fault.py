"""Systematic faults: the nth operation of a kind fails, or the engine dies there, for every n.

After each fault, a reloaded workflow equals the live one, no wrong output is complete, and `run`
leads to the same results as without any fault.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.engine.decision_loop import DecisionLoop
from gaia_local.engine.recovery import recover
from gaia_local.engine.scheduler import Scheduler
from gaia_local.errors import DatabaseError, GaiaError, StorageError
from gaia_local.executors.contract import Observer
from gaia_local.executors.worker import Worker
from gaia_local.model.assignment import Assignment
from gaia_local.model.commands import Command
from gaia_local.model.events import EventKind
from gaia_local.model.keys import Capture
from gaia_local.model.steps import Step
from gaia_local.model.tasks import BY_REQUEST, Task
from gaia_local.model.workflows import WorkflowState
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, ReportEvent
from gaia_local.state.database import Database
from gaia_local.store import fingerprints, walking
from gaia_local.store.storage import Storage
from gaia_local.store.workspaces import LocalWorkspace
from gaia_local.workflow.decision import Decision
from gaia_local.workflow.nodes import StepNode
from gaia_local.workflow.states import Intent, KeyKind, VerdictKind
from gaia_local.workflow.workflow import Workflow
from support import reloading
from support.builders import step
from support.fakes import NoRuntime
from support.hands import HandExecutor, Hands

# ------------------------------------------------------------------------------------------- faults


class Died(BaseException):
    """The process is dead from here on."""


class Faults:
    """Counts the operations of one kind in one root, and has the nth of them fail.

    Of those that follow, every `gap`th fails, too, until `times` of them did.

    With the kind "crash", the engine dies there: nothing that it does from there on has any effect.
    """

    def __init__(self, root: Path, kind: str, nth: int, times: int = 1, gap: int = 1) -> None:
        self._root, self.kind, self._nth = str(root), kind, nth
        self.times, self._gap = times, gap
        self.count = 0
        self.hits = 0
        self.where = ""
        self.dead = False
        self.paused = 0
        self._lock = threading.Lock()

    @property
    def fired(self) -> bool:
        """Whether there was a fault already."""
        return self.hits > 0

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """While inside, operations don't count: they aren't the engine's."""
        self.paused += 1
        try:
            yield
        finally:
            self.paused -= 1

    def inside(self, path: object) -> bool:
        return isinstance(path, str | Path) and str(path).startswith(self._root)

    def at(
        self, kind: str, what: object = "", error: Callable[[], Exception] | None = None
    ) -> None:
        """An operation is about to happen."""
        if self.paused:
            return
        if self.dead:
            raise Died
        crash = self.kind == "crash" and kind in (
            "rename",
            "fsync",
            "write",
            "mkdir",
            "remove",
            "commit",
        )
        if crash or kind == self.kind:
            with self._lock:
                self.count += 1
                count = self.count
            number, rest = divmod(count - self._nth, self._gap)
            if not rest and 0 <= number < self.times:
                self.hits += 1
                self.where = f"{kind} {what}"
                if crash:
                    self.dead = True
                    raise Died
                raise OSError(errno.EIO, "the test's fault") if error is None else error()


class Connection:
    """A connection to the state database that may fail."""

    def __init__(self, real: sqlite3.Connection, faults: Faults) -> None:
        self.real, self._faults = real, faults

    def execute(self, sql: str, *values: Any) -> Any:
        self._faults.at("commit" if sql == "commit" else "statement", sql[:60], self._error)
        return self.real.execute(sql, *values)

    def executemany(self, sql: str, rows: Any) -> Any:
        self._faults.at("statement", sql[:60], self._error)
        return self.real.executemany(sql, rows)

    def rollback(self) -> None:
        if self._faults.dead:
            raise Died
        self.real.rollback()

    def close(self) -> None:
        self.real.close()

    @staticmethod
    def _error() -> Exception:
        return sqlite3.OperationalError("disk I/O error")


def inject(patch: pytest.MonkeyPatch, faults: Faults) -> None:
    """Have the operations of the engine go through `faults`."""
    rename, unlink, rmdir, mkdir = os.rename, os.unlink, os.rmdir, os.mkdir
    write, copy, os_open, io_open = os.write, os.copy_file_range, os.open, io.open
    look, fingerprint, opened = Storage.quick_fingerprint, Storage.fingerprint, Database.__init__

    def renamed(source: Any, target: Any, **rest: Any) -> None:
        if faults.inside(source) or faults.inside(target):
            faults.at("rename", target)
        rename(source, target, **rest)

    def removes(real: Callable[..., None]) -> Callable[..., None]:
        def removed(path: Any, *, dir_fd: int | None = None) -> None:
            if dir_fd is not None or faults.inside(path):
                faults.at("remove", path)
            real(path, dir_fd=dir_fd)

        return removed

    def made(path: Any, mode: int = 0o777, **rest: Any) -> None:
        if faults.inside(path):
            faults.at("mkdir", path)
        mkdir(path, mode, **rest)

    def writes(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrote(*arguments: Any) -> Any:
            faults.at("write", real.__name__)
            return real(*arguments)

        return wrote

    def os_opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if faults.inside(path) and not flags & os.O_DIRECTORY:
            faults.at("write" if flags & (os.O_WRONLY | os.O_RDWR) else "read", path)
        return os_open(path, flags, *rest, **more)

    def io_opened(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if faults.inside(path):
            faults.at("write" if set(mode) & set("wax+") else "read", path)
        return io_open(path, mode, *rest, **more)

    def looked(storage: Storage, key: str, path: str, *rest: Any) -> str | None:
        faults.at(
            "look", key, lambda: StorageError(f"{path}: can't be examined (the test's fault)")
        )
        return look(storage, key, path, *rest)

    def read(storage: Storage, key: str, path: str, *rest: Any) -> Any:
        faults.at("look", f"{key} in full")
        return fingerprint(storage, key, path, *rest)

    def connected(database: Any, path: Path, readonly: bool = False) -> None:
        with faults.pause():
            opened(database, path, readonly)
        database._connection = Connection(database._connection, faults)

    patch.setattr(os, "rename", renamed)
    patch.setattr(os, "unlink", removes(unlink))
    patch.setattr(os, "rmdir", removes(rmdir))
    patch.setattr(os, "mkdir", made)
    patch.setattr(os, "write", writes(write))
    patch.setattr(os, "copy_file_range", writes(copy))
    patch.setattr(os, "open", os_opened)
    patch.setattr(io, "open", io_opened)
    patch.setattr(os, "fsync", lambda _: faults.at("fsync"))
    patch.setattr(os, "sync", lambda: faults.at("fsync"))
    patch.setattr(Storage, "quick_fingerprint", looked)
    patch.setattr(Storage, "fingerprint", read)
    patch.setattr(Database, "__init__", connected)


# ----------------------------------------------------------------------------------------- programs


def content_of(path: Path) -> str:
    """A file's or directory's content as one text."""
    if path.is_dir():
        found = walking.walk(str(path))
        return "\n".join(
            f"{name}={Path(path, name).read_text()}"
            for name, _, _ in found
            if Path(path, name).is_file()
        )
    return path.read_text()


def made(task: Task, internal: str, inputs: Mapping[str, str], world: str) -> str:
    """A program's output at an internal path, which depends on its tokens and inputs alone."""
    seen = [*task.command, internal, *(f"{path} {inputs[path]}" for path in sorted(inputs))]
    if "clock" in task.command:
        seen.append(world)
    text = hashlib.blake2b("\0".join(seen).encode(), digest_size=6).hexdigest()
    return f"part={text}" if internal.endswith("/") else text


def fails(task: Task, inputs: Mapping[str, str]) -> bool:
    return "fails" in task.command or (
        "picky" in task.command and any("bad" in text for text in inputs.values())
    )


class Programs(NoRuntime):
    """Runs the programs in this thread; `during` has calls to make while a Step's runs."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.world = "one"
        self.during: dict[str, Callable[[], None]] = {}
        self.orders: list[Callable[[], None]] = []
        """The delayed calls given to the executor."""

    def identity(self, task: Task, age: float = 0.0) -> str | None:
        return f"id of {task.image}"

    def image_id(self, image: str) -> str | None:
        return f"id of {image}"

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        task = invocation.task
        report(EventKind.EXECUTION_START)
        if len(task.name) % 2:  # it takes so long that its start is written
            for order in self.orders:
                order()
        self.orders.clear()
        if task.name in self.during:
            self.during[task.name]()
            del self.during[task.name]
        with self._faults.pause():
            tree = Path(invocation.tree)
            inputs = {path: content_of(tree / path.strip("/")) for _, path in task.inputs}
            code = 1 if fails(task, inputs) else 0
            for _, path in task.outputs:
                if Capture.parse(path) is not None or code:
                    continue
                place, text = tree / path.strip("/"), made(task, path, inputs, self.world)
                if path.endswith("/"):
                    (place / "part").write_text(text.removeprefix("part="))
                else:
                    place.write_text(text)
            Path(invocation.log).write_text("a line\n")
        report(EventKind.CONTAINER_EXIT, code=code)
        return Exit(code, image_id=self.image_id(task.image))


class Workers(HandExecutor):
    """Performs a Task, in this thread, when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._assignments: dict[str, Assignment] = {}
        self._performing: dict[str, Cancellation] = {}

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        super().submit(assignment, observer)
        self._assignments[assignment.task.id] = assignment

    def cancel(self, task_id: str) -> None:
        if task_id in self._performing:
            self._performing[task_id].cancel(BY_REQUEST)
        else:
            super().cancel(task_id)

    def perform(self, worker: Worker, task: Task) -> None:
        _, observer = self.tasks.pop(task.id)
        self._performing[task.id] = cancellation = Cancellation(
            lambda seconds, function: lambda: None
        )
        worker.perform(self._assignments.pop(task.id), cancellation, observer)
        del self._performing[task.id]


class FaultyEngine(Hands):
    """An engine on hand-driven Tasks that are performed as in earnest."""

    def __init__(self, root: Path, programs: Programs) -> None:
        self.workflow = "w"
        self.storage = Storage(root, {})
        self.storage.create()
        self.database = Database(root / "gaia.db")
        try:
            recover(self.database, self.storage)
        except Died:
            self.database._connection.close()
            raise
        self.workers = self.executor = Workers()
        self.workers.orders = programs.orders = []
        self.scheduler = Scheduler(self.database, self.storage, programs, self.executor)
        self.worker = Worker(LocalWorkspace(self.storage), programs)
        self._closed = False


# ----------------------------------------------------------------------------------------- scenario


def tool(
    name: str, *words: str, inputs: str = "", outputs: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return {
        "name": name,
        "image": "i",
        "command": [name, *words],
        "inputs": {name: f"/in/{name}" for name in inputs.split()},
        "outputs": dict(outputs or {"x": "/out/x"}),
    }


COMMANDS = [
    tool("multi", inputs="a", outputs={"x": "/out/x", "y": "/out/y", "d": "/out/d/"}),
    tool("one", inputs="a"),
    tool("tree", inputs="d") | {"inputs": {"d": "/in/d/"}},
    tool("logged", inputs="a", outputs={"x": "/out/x", "log": ">>"}),
    tool("fails", inputs="a", outputs={"x": "/out/x", "log": ">>"}),
    tool("picky", inputs="a", outputs={"x": "/out/x", "log": ">>"}),
    tool("clock"),
]
STEPS = [
    step("multi", "multi", None, "user/a", outputs={"x": "m/x", "y": "m/y", "d": "m/d/"}),
    step("rx", "one", "r/x", "m/x"),
    step("ry", "logged", None, "m/y", outputs={"x": "r/y", "log": "logs/ry"}),
    step("rd", "tree", "r/d", inputs={"d": "m/d/"}),
    step("under", "one", "kb/one", "user/b"),
    step("all", "tree", "r/kb", inputs={"d": "kb/"}),
    step("bad", "fails", None, "user/a", outputs={"x": "bad/x", "log": "bad/log"}),
    step("after-bad", "one", "bad/after", "bad/x"),
    step("picky", "picky", None, "user/a", outputs={"x": "picky/x", "log": "picky/log"}),
    step("after-picky", "one", "picky/after", "picky/x"),
    step("clock", "clock", "clock/x"),
    step("after-clock", "one", "clock/after", "clock/x"),
]


class Scenario:
    """A user, one workflow, and an engine that may fail, or die and be followed by another."""

    def __init__(self, root: Path, faults: Faults) -> None:
        self._root, self.faults = root, faults
        self.programs = Programs(faults)
        self.own: dict[str, str] = {}
        """Made keys that the user overwrote → the content."""
        self.stale: set[str] = set()
        """Keys with a change of the user's that the engine didn't see yet."""
        self._last: list[str] = []
        """The Steps whose Tasks were performed lately."""
        self._performs = False
        self.early = True
        """Edits by the user while the engine is dead are undone by later ones."""
        self._new = False
        """The engine is one that nobody called `run` on: it doesn't know of changes of files."""
        with faults.pause():
            self.bench = FaultyEngine(root, self.programs)

    # -- the engine --------------------------------------------------------------------------------

    def attempt(self, call: Callable[[], None]) -> None:
        """Make a call, and again each time that a fault kept it from being made."""
        while True:
            before = self.faults.hits
            try:
                call()
                return
            except (GaiaError, OSError):
                if before == self.faults.hits:
                    raise
            except Died:
                if self._performs:  # it is the engine that performs a Task which died
                    raise
                self.revive()

    def revive(self) -> None:
        """The engine is dead: the next one takes over."""
        self._new = True
        if self.early:
            self.put("user/b", "b, while nobody looked")
        self.bench.database._connection.close()
        again = True
        while again:
            self.faults.dead = again = False
            try:
                self.bench = FaultyEngine(self._root, self.programs)
            except Died:
                again = True

    @property
    def workflow(self) -> Workflow:
        with self.faults.pause():
            found = self.bench.scheduler.loop.registry.open("w")
        assert found is not None
        return found

    @property
    def scheduler(self) -> Scheduler:
        return self.bench.scheduler

    def go_on(self) -> None:
        """The user sees that nothing goes on, or that there is a new engine, and calls `run`."""
        if self._new:
            self._new = False
            self.run()
        for _ in range(3 + self.faults.times):
            if self.workflow.trouble is None and self.workflow.intent is Intent.RUN:
                return
            self.run()
        raise AssertionError(f"`run` doesn't help: {self.workflow.intent}, {self.workflow.trouble}")

    def run(self) -> None:
        self.attempt(lambda: self.scheduler.run("w"))

    def perform(self, most: int = 1000) -> None:
        """Perform Tasks, at most so many, until none is left."""
        self.go_on()
        self.check()
        while most and self.bench.workers.tasks:
            most -= 1
            task = min(
                (task for task, _ in self.bench.workers.tasks.values()), key=lambda task: task.name
            )
            self._last.append(task.name)
            self._performs = True
            try:
                self.bench.workers.perform(self.bench.worker, task)
            except Died:
                self.revive()
            finally:
                self._performs = False
            self.check()
            self.go_on()
        if most:
            state = self.workflow.state
            assert state is not WorkflowState.RUNNING, f"it waits for nothing: {self.told()}"
            assert not self.scheduler.loop.alive["w"]

    def finish(self) -> None:
        """Perform all calls and Tasks; at the end, try only failed ones again."""
        for call in list(self.programs.during.values()):
            self.attempt(call)
        self.programs.during.clear()
        for _ in range(4 + self.faults.times):
            self.perform()
            before = self.faults.hits
            self.run()
            self._last.clear()
            self.perform()
            if before == self.faults.hits and self._last == ["bad"]:
                return
        raise AssertionError(f"it doesn't come to rest: {self._last}")

    # -- invariants --------------------------------------------------------------------------------

    def check(self) -> None:
        """Check that complete outputs are right."""
        with self.faults.pause():
            workflow = self.workflow
            if workflow.trouble is not None or self._new:  # it doesn't know of all files
                return
            if not self.faults.fired:  # all is as without one
                return
            for node in workflow.graph.steps.values():
                if node.outputs and node.verdict is VerdictKind.FRESH:
                    self._check_step(workflow, node)

    def _check_step(self, workflow: Workflow, node: StepNode) -> None:
        task, path = workflow.attempts.make_task(node), self.bench.storage.path
        inputs = {internal: content_of(Path(path("w", key))) for key, internal in task.inputs}
        if self.stale.intersection(key for key, _ in (*task.inputs, *task.outputs)):
            return
        assert not fails(task, inputs), f"{node.step.name} is complete, and fails"
        for key, internal in task.outputs:
            place, state = Path(path("w", key)), workflow.graph.keys[key].state
            lies = content_of(place)
            if Capture.parse(internal) is Capture.LOG:
                assert f"# id: {state.made_by}\n" in lies, f"{key} is the log of another Task"
                continue
            expected = made(task, internal, inputs, self.programs.world)
            assert lies in (expected, self.own.get(key)), (
                f"{key} of {node.step.name} is complete, and wrong"
            )
            if state.digest is not None:
                assert state.digest == fingerprints.digest(str(place)), f"{key} has a wrong digest"

    def told(self) -> dict[str, Any]:
        """All that must be as without any fault."""
        graph, told = self.workflow.graph, {}
        for name, node in graph.steps.items():
            told[f"step {name}"] = node.verdict.value
        for key in (key for key in graph.keys.values() if not key.idle):
            place = Path(key.path)
            content = content_of(place) if place.exists() and "log" not in key.key else None
            told[f"key {key.key}"] = f"{key.state.kind.value}: {content}"
        return {**told, "state": self.workflow.state.value}

    # -- the user ----------------------------------------------------------------------------------

    def put(self, key: str, content: str) -> str:
        with self.faults.pause():
            path = Path(self.bench.storage.path("w", key))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return str(path)

    def edit(self, **contents: str) -> None:
        """The user changes files, which the watcher sees."""
        paths = {self.put(f"user/{key}", content) for key, content in contents.items()}
        try:
            self.scheduler.loop.files_changed(paths)
        except Died:
            self.revive()
            self.run()

    def merge(self, *steps: Mapping[str, Any]) -> None:
        self.attempt(lambda: self.scheduler.merge("w", [Step.parse("w", step) for step in steps]))

    def command(self, *commands: Mapping[str, Any]) -> None:
        self.attempt(
            lambda: self.scheduler.command(
                "w", [Command.parse("w", command) for command in commands]
            )
        )

    def upload(self) -> None:
        def upload() -> None:
            if "w" in self.scheduler.workflows():
                self.scheduler.run("w")
                return
            commands = [Command.parse("w", command) for command in COMMANDS]
            self.scheduler.upload(
                "w", {}, list(commands), [Step.parse("w", step) for step in STEPS]
            )

        self.attempt(upload)

    def play(self) -> None:
        """The whole of it."""
        self.put("user/a", "bad first")
        self.put("user/b", "b first")
        self.upload()
        self.perform()
        self.edit(a="better a")  # with it `picky` works
        self.perform(2)
        self.edit(a="a good a", b="b, too")  # while some are through, and others not
        self.perform()
        # A Step makes less, another makes more, while both run; a third is new and reads outputs of
        # others.
        self.programs.during["under"] = lambda: self.merge(
            step("rd", "tree", "r/d2", inputs={"d": "m/d/"}),
            step("under", "one", "kb/one", "user/a"),
            step("new", "one", "kb/two", "m/y"),
        )
        self.early = False
        self.edit(b="b the third")
        self.perform()
        # A Command changes while its Step runs, and while a dependent of that does.
        self.programs.during["ry"] = lambda: self.command(
            tool("multi", "new", inputs="a", outputs={"x": "/out/x", "y": "/out/y", "d": "/out/d/"})
        )
        self.edit(a="a once more")
        self.perform()
        self.programs.world = "two"
        self.attempt(lambda: self.scheduler.expire("w", ["clock", "m/x"]))
        self.perform(2)
        self.attempt(lambda: self.scheduler.halt("w"))
        self.check()
        self.run()
        self.perform()
        # Without the watcher: an input changes, an output is gone.
        self.stale = {"user/b", "user/a", "r/x"}
        self.put("user/a", "a without a watcher")
        with self.faults.pause():
            Path(self.bench.storage.path("w", "r/x")).unlink(missing_ok=True)
        self.run()
        self.stale = set()
        self.perform()
        self.finish()
        # The user overwrites a Step's output.
        self.own["m/y"] = "my own y"
        path = self.put("m/y", self.own["m/y"])
        try:
            self.scheduler.loop.files_changed({path})
        except Died:
            self.revive()
        self.perform()
        self.finish()
        leftovers = self.bench.storage.left_staging()
        if self.faults.kind == "remove" and leftovers:
            self.revive()  # the next engine removes the rest
            leftovers = self.bench.storage.left_staging()
        assert not leftovers, f"staging is left: {[os.listdir(folder) for folder in leftovers]}"


# ----------------------------------------------------------- defects found, in their shortest forms


def test_a_log_that_cannot_be_stored_takes_nothing_else_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed Step publishes its log only: an earlier run's outputs are used in any case."""
    with contextlib.closing(Hands(tmp_path)) as hands:
        hands.put("a")
        hands.command(tool("logged", inputs="a", outputs={"x": "/out/x", "log": ">>"}))
        hands.merge(step("s", "logged", None, "a", outputs={"x": "x", "log": "log"}))
        hands.complete("s")
        hands.scheduler.loop.files_changed({str(hands.put("a", "another"))})
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", fails_always)
            hands.fail("s")
        kinds = hands.scheduler.view(
            "w", lambda workflow: {key.key: key.state.kind for key in workflow.graph.keys.values()}
        )
        assert kinds == {"a": KeyKind.THERE, "x": KeyKind.UNSURE, "log": KeyKind.EXPIRED}


def test_a_call_that_can_be_neither_written_nor_taken_back_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise only memory would have it, and a second call would succeed without a write."""
    with contextlib.closing(Hands(tmp_path)) as hands:
        hands.command(tool("src"))
        hands.merge(step("s", "src", "x"), step("other", "src", "y"))
        changed = step("s", "src", "x2")
        with monkeypatch.context() as patch:
            patch.setattr(Database, "save", fails_to_write)
            patch.setattr(Database, "saved", fails_to_write)
            with pytest.raises(DatabaseError):
                hands.merge(changed)
            assert hands.runs == ["other"]  # the replaced Step's Task was cancelled
        hands.merge(changed)
        assert hands.runs == ["other", "s"]
        workflow = hands.scheduler.loop.workflows["w"]
        assert not reloading.differences(workflow, hands.database, hands.storage)


def test_the_end_of_the_flow_is_told_after_a_call_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(Hands(tmp_path)) as hands:
        hands.command(tool("src"))
        hands.merge(step("s", "src", "x"))
        with monkeypatch.context() as patch:
            patch.setattr(Database, "save", fails_to_write)
            with pytest.raises(DatabaseError):
                hands.merge(step("other", "src", "y"))
        hands.complete("s")
        assert hands.scheduler.events("w")[-1]["event"] == "flow-complete"


def fails_to_write(*_: object) -> None:
    raise DatabaseError("the test's fault")


def fails_always(*_: object) -> None:
    raise OSError(errno.EIO, "the test's fault")


# -------------------------------------------------------------------------------------- all of them


@pytest.fixture(autouse=True)
def live_equals_reloaded() -> None:
    """In place of the one that all tests share, which would run into the faults: see `trial`."""


def trial(kind: str, nth: int, times: int = 1, gap: int = 1) -> tuple[Faults, dict[str, Any]]:
    """The whole scenario with one fault."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    root = Path(tempfile.mkdtemp(prefix="gaia-local-faults-", dir=memory))
    note = DecisionLoop._count_started
    faults = Faults(root, kind, nth, times, gap)

    def checked(loop: DecisionLoop, name: str, decision: Decision) -> None:
        note(loop, name, decision)
        if not faults.fired:
            return
        with faults.pause():
            reloading.check(loop, name)

    with contextlib.ExitStack() as undo, pytest.MonkeyPatch.context() as patch:
        undo.callback(shutil.rmtree, root)
        patch.setattr(DecisionLoop, "_count_started", checked)
        inject(patch, faults)
        scenario = Scenario(root, faults)
        try:
            scenario.play()
            with faults.pause():
                told = scenario.told()
                scenario.bench.close()
        except BaseException:
            scenario.bench.database._connection.close()
            raise
    return faults, told


EVERY = int(os.environ.get("GAIA_LOCAL_FAULTS", "40"))
"""One n in so many is tried; with 1, all are, which takes many minutes."""
WITHOUT: dict[str, Any] = {}
"""The results of the scenario without any fault."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kind", "times", "gap", "share"),
    [
        ("rename", 1, 1, 1),
        ("fsync", 1, 1, 1),
        ("write", 1, 1, 1),
        ("read", 1, 1, 1),
        ("mkdir", 1, 1, 1),
        ("remove", 1, 1, 1),
        ("look", 1, 1, 1),
        ("statement", 1, 1, 1),
        ("commit", 1, 1, 2),
        ("crash", 1, 1, 1),
        ("commit", 3, 1, 2),  # for a while nothing can be written,
        ("statement", 8, 1, 1),  # or not even read
        ("statement", 5, 7, 1),
        ("rename", 4, 1, 1),
        ("crash", 4, 5, 1),  # also the next one, while it sets things right
    ],
)
def test_nth_operation_fails(kind: str, times: int, gap: int, share: int) -> None:
    """`share` times as many n are tried as of other kinds."""
    if not WITHOUT:
        WITHOUT.update(trial("none", 1)[1])
    stride = max(1, EVERY // share)
    nth = 1 + sum(map(ord, kind)) % stride  # not the same places for all kinds
    while True:
        try:
            faults, told = trial(kind, nth, times, gap)
        except AssertionError as error:
            raise AssertionError(f"{kind} {nth}, {times} times: {error}") from error
        if not faults.fired:
            break
        differ = {
            what: (WITHOUT.get(what), told.get(what))
            for what in {**WITHOUT, **told}
            if WITHOUT.get(what) != told.get(what)
        }
        assert not differ, f"{kind} {nth}, {times} times, at {faults.where}: {differ}"
        nth += stride
    assert nth > 40, "the scenario doesn't do what it is to be tried with"


# ------------------------------------------------------------------------------ with real processes


def shell(name: str, script: str, *inputs: str, **outputs: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": "busybox",
        "command": ["sh", "-c", script],
        "inputs": {name: f"/in/{name}" for name in inputs},
        "outputs": outputs,
    }


SHELLS = [
    shell(
        "many",
        "cat /in/a > /out/x; echo y > /out/y; cp /in/a /out/d/part",
        "a",
        x="/out/x",
        y="/out/y",
        d="/out/d/",
    ),
    shell("copy", "cat /in/a > /out/x; echo line", "a", x="/out/x", log=">>"),
    shell("bad", "echo lost; exit 3", "a", x="/out/x", log=">>"),
]
REAL_STEPS = [
    step("many", "many", None, "user/a", outputs={"x": "m/x", "y": "m/y", "d": "m/d/"}),
    step("rx", "copy", None, "m/x", outputs={"x": "r/x", "log": "logs/rx"}),
    step("rd", "copy", None, "m/d/part", outputs={"x": "r/d", "log": "logs/rd"}),
    step("bad", "bad", None, "m/y", outputs={"x": "bad/x", "log": "bad/log"}),
]


def real_trial(root: Path, kind: str, nth: int, workers: int) -> tuple[Faults, dict[str, Any]]:
    faults = Faults(root, kind, nth)
    (root / "storage/w/user").mkdir(parents=True)
    (root / "storage/w/user/a").write_text("one\n")
    with pytest.MonkeyPatch.context() as patch:
        inject(patch, faults)
        gaia = Gaia({"root": root, "runtime": "process", "workers": workers, "watch": False})

        def attempt(call: Callable[[], object]) -> None:
            while True:
                before = faults.hits
                try:
                    call()
                    return
                except (GaiaError, OSError):
                    if faults.hits == before:
                        raise

        def go_on() -> None:
            attempt(lambda: gaia.run("w"))
            with contextlib.suppress(GaiaError):  # it is in trouble, by a fault
                gaia.wait("w", timeout=20)

        def upload() -> None:
            if "w" not in gaia.workflows()["workflows"]:
                gaia.upload("w", {}, SHELLS, REAL_STEPS)

        try:
            attempt(upload)
            go_on()
            with faults.pause():
                (root / "storage/w/user/a").write_text("another\n")
            go_on()
            attempt(
                lambda: gaia.merge(
                    "w", [step("rd", "copy", None, "m/x", outputs={"x": "r/d", "log": "logs/rd"})]
                )
            )
            rounds = 0
            while rounds < 2:  # without a fault
                before = faults.hits
                go_on()
                rounds = rounds + 1 if before == faults.hits else 0
            told = {step["step"]: step["state"] for step in gaia.graph("w")["steps"]}
            for key in ("user/a", "m/x", "m/y", "m/d", "r/x", "r/d", "bad/x"):
                place = root / "storage/w" / key
                told[key] = content_of(place) if place.exists() else "nothing"
        finally:
            faults.paused += 1
            gaia.close()
    assert not list((root / "staging").iterdir())
    return faults, told


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "workers"),
    [("rename", 2), ("fsync", 2), ("write", 2), ("mkdir", 1), ("commit", 2), ("look", 1)],
)
def test_nth_operation_fails_with_processes(kind: str, workers: int, tmp_path: Path) -> None:
    """Threads come in any order, so that n isn't always the same operation: none may do harm."""
    _, without = real_trial(tmp_path / "without", "none", 1, workers)
    stride = max(1, EVERY // 3)
    nth = 1 + sum(map(ord, kind)) % stride
    while True:
        faults, told = real_trial(tmp_path / f"{nth}", kind, nth, workers)
        if not faults.fired:
            break
        assert told == without, f"{kind} {nth}, at {faults.where}"
        nth += stride

"""A scheduler whose Tasks a test ends by hand: nothing runs, nothing waits."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from gaia_local.engine.scheduler import Scheduler
from gaia_local.executors.contract import Observer
from gaia_local.model.answer_types import ServerStatus
from gaia_local.model.assignment import Assignment, Outcome, Output
from gaia_local.model.commands import Command
from gaia_local.model.events import Event, EventKind
from gaia_local.model.keys import Capture, names_directory, output_place
from gaia_local.model.steps import Step
from gaia_local.model.tasks import Task, TaskState
from gaia_local.state.database import Database
from gaia_local.store import fingerprints
from gaia_local.store.storage import Storage
from gaia_local.workflow import reports
from support.builders import command
from support.fakes import NoRuntime

SRC = command("src", "x")
ONE = command("one", "x", "a")
TWO = command("two", "x", "a", x="/out/x", y="/out/y")
LOGS = command("logs", "x", log=">>")
"""Commands whose Tasks a test ends: their programs never run."""


class HandExecutor:
    """Records its calls; the test ends each Task."""

    def __init__(self) -> None:
        self.tasks: dict[str, tuple[Task, Observer]] = {}
        self.did: list[tuple[str, str]] = []
        self.orders: list[Callable[[], None]] = []

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        task = assignment.task
        self.tasks[task.id] = (task, observer)
        self.did.append(("start", task.name))

    def cancel(self, task_id: str) -> None:
        task, observer = self.tasks.pop(task_id)
        self.did.append(("cancel", task.name))
        observer.ended(task, Outcome(TaskState.CANCELLED))

    def call_later(self, seconds: float, function: Callable[[], None]) -> object:
        self.orders.append(function)
        return None

    def call_later_in_background(self, seconds: float, function: Callable[[], None]) -> None:
        self.orders.append(function)

    def kill_now(self) -> None:
        pass

    def close(self) -> None:
        for task_id in list(self.tasks):
            self.cancel(task_id)


class Hands:
    """One workflow on a hand-driven scheduler."""

    def __init__(self, root: Path, workflow: str = "w", flush_each_step: bool = False) -> None:
        self.workflow = workflow
        self.storage = Storage(root, {})
        self.storage.create()
        self.database = Database(root / "gaia.db")
        self.executor = HandExecutor()
        self.scheduler = Scheduler(
            self.database,
            self.storage,
            NoRuntime(),
            self.executor,
            flush_each_step=flush_each_step,
        )
        self._aside = root / "staging"
        self._count = 0
        self._closed = False

    def close(self) -> None:
        """Idempotent."""
        if not self._closed:
            self._closed = True
            self.scheduler.close()
            self.database.close()

    def reopened(self) -> Hands:
        """Another engine on the same root, after this one was closed."""
        self.close()
        return Hands(self.storage.root, self.workflow)

    def put(self, key: str, content: str = "outside") -> Path:
        """The user writes a file into the store."""
        path = Path(self.storage.path(self.workflow, key))
        path.parent.mkdir(parents=True, exist_ok=True)
        if key.endswith("/"):
            path.mkdir(exist_ok=True)
            path = path / "part"
        path.write_text(content)
        return path

    def task(self, step: str) -> Task:
        """The Task of a Step that runs now."""
        (task,) = [task for task, _ in self.executor.tasks.values() if task.name == step]
        return task

    @property
    def runs(self) -> list[str]:
        """The Steps that run now, sorted."""
        return sorted(task.name for task, _ in self.executor.tasks.values())

    def start(self, step: str) -> None:
        """A worker takes the Task up."""
        task = self.task(step)
        facts = {"id": task.id, "task": task.name}
        self.scheduler.loop.started(
            task, Event(EventKind.STEP_START, self.workflow, time.time(), facts)
        )

    def complete(self, step: str, content: str | None = None) -> None:
        """The Task makes all its outputs, with `content`, and ends well."""
        self._end(step, TaskState.COMPLETE, content)

    def fail(self, step: str) -> None:
        """The Task ends with an error; of its outputs, only the ``>>`` log is stored."""
        self._end(step, TaskState.ERROR, None)

    def _end(self, step: str, state: TaskState, content: str | None) -> None:
        task = self.task(step)
        _, observer = self.executor.tasks.pop(task.id)
        inputs = {}
        for key, _ in task.inputs:
            seen = fingerprints.fingerprint(self.storage.path(self.workflow, key))
            assert seen is not None or state is TaskState.ERROR, (
                f"{step} ran without its input {key}"
            )
            if seen is not None:
                inputs[key] = seen
        outputs = []
        for key, internal in task.outputs:
            place = output_place(internal)
            if state is TaskState.ERROR and place is not Capture.LOG:
                continue
            self._count += 1
            made = self._aside / uuid.uuid4().hex
            text = content if content is not None else f"{step} made {key} in run {self._count}"
            if not isinstance(place, Capture) and (names_directory(key) or place.is_directory):
                made.mkdir()
                (made / "part").write_text(text)
            else:
                made.write_text(text)
            seen = fingerprints.fingerprint(str(made))
            assert seen is not None
            outputs.append(Output(key, str(made), self.storage.path(self.workflow, key), seen))
        code = 0 if state is TaskState.COMPLETE else 1
        observer.ended(
            task,
            Outcome(
                state, tuple(outputs), code, None if code == 0 else "exit code 1", inputs=inputs
            ),
        )

    def command(self, *definitions: Mapping[str, object]) -> None:
        self.scheduler.command(
            self.workflow, [Command.parse(self.workflow, definition) for definition in definitions]
        )

    def merge(self, *definitions: Mapping[str, object]) -> None:
        self.scheduler.merge(
            self.workflow, [Step.parse(self.workflow, definition) for definition in definitions]
        )

    def status(self) -> ServerStatus:
        found = self.scheduler.view(
            self.workflow, lambda workflow: reports.status(workflow, debug=True)
        )
        assert found is not None
        return found

    @property
    def state(self) -> str:
        return str(self.status()["state"])

    def did(self) -> list[tuple[str, str]]:
        """The Tasks started and cancelled since the last call, sorted."""
        done, self.executor.did = sorted(self.executor.did), []
        return done

    def reasons(self) -> dict[str, str]:
        """Running Step → why it runs."""
        return {task.name: task.reason for task, _ in self.executor.tasks.values()}

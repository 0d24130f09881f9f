"""Runtimes that start no program."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from gaia_local.model.events import EventKind
from gaia_local.model.tasks import Task
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, ReportEvent

Program = Callable[[Invocation, Cancellation], "Exit | int"]


class NoRuntime:
    """A runtime that is always there and is never asked to run."""

    name = "none"
    outlives_engine = False
    mounts_inputs = False

    def check(self, images: Collection[str]) -> None:
        pass

    def resumable_tasks(self) -> Collection[str]:
        return ()

    def gpus_of(self, task_id: str) -> Collection[str]:
        return ()

    def end(self, task_id: str) -> None:
        pass

    def identity(self, task: Task, age: float = 0.0) -> str | None:
        return None

    def image_id(self, image: str) -> str | None:
        return None

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        raise AssertionError("nothing runs here")

    def resume(
        self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent
    ) -> Exit:
        raise AssertionError("nothing is left here")

    def close(self) -> None:
        pass


class ScriptedRuntime(NoRuntime):
    """A runtime whose program is a function."""

    name = "scripted"

    def __init__(self) -> None:
        self.program: Program = lambda invocation, cancellation: 0
        self.invocations: list[Invocation] = []

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        self.invocations.append(invocation)
        report(EventKind.CONTAINER_CREATE)
        report(EventKind.EXECUTION_START)
        return self.resume(invocation, cancellation, report)

    def resume(
        self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent
    ) -> Exit:
        ended = self.program(invocation, cancellation)
        report(EventKind.EXECUTION_COMPLETE)
        code = ended if isinstance(ended, int) else ended.code
        report(EventKind.CONTAINER_EXIT, code=code)
        return Exit(ended) if isinstance(ended, int) else ended


class InstantRuntime(NoRuntime):
    """Makes a Task's outputs at once."""

    name = "instant"

    def identity(self, task: Task, age: float = 0.0) -> str | None:
        """One program makes all."""
        return self.name

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        """Write the output of the trivial command."""
        report(EventKind.EXECUTION_START)
        with cancellation.stopping(
            lambda: None, lambda: None, invocation.task.timeout, lambda: False
        ):
            Path(invocation.log).touch()
            for _, path in invocation.task.outputs:
                Path(invocation.tree, path.lstrip("/")).write_text("hi\n")
        report(EventKind.EXECUTION_COMPLETE)
        report(EventKind.CONTAINER_EXIT, code=0)
        return Exit(0, identity=self.name)

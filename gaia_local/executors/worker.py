"""Performs one Task: takes its files in, runs its command, collects its outputs, and reports.

It decides nothing and publishes nothing. An `Observer` receives `Event`s as they happen, in the
order of the real worker, and at last, exactly once, an `Outcome`. The observer publishes the
outcome's outputs, or not; when its call returns, the Task's private directory is removed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gaia_local.errors import DiskError, GaiaError, StorageError, error_text
from gaia_local.executors.contract import Observer
from gaia_local.executors.stopwatch import Stopwatch
from gaia_local.model.assignment import Assignment, Outcome, Output
from gaia_local.model.events import Event, EventKind
from gaia_local.model.keys import Capture, output_place
from gaia_local.model.task_fingerprints import task_fingerprint
from gaia_local.model.tasks import BY_TIMEOUT, Fingerprint, Reused, Task, TaskState
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, Runtime
from gaia_local.store.file_work import FileWork, Stopped
from gaia_local.store.logs import Ending, read_tail, write_log
from gaia_local.store.task_files import TaskFiles
from gaia_local.store.workspaces import Workspace


class Worker:
    """Performs Tasks in one workspace and with one runtime, in the thread that calls it."""

    def __init__(
        self,
        workspace: Workspace,
        runtime: Runtime,
        keep: Callable[[Task, str], None] | None = None,
    ) -> None:
        """`keep` may move away the private directory of a Task that failed and was reported."""
        self._workspace, self._runtime, self._keep = workspace, runtime, keep

    def perform(
        self, assignment: Assignment, cancellation: Cancellation, observer: Observer
    ) -> None:
        """Run the Task once, and report all that happens, errors included."""
        task, watch = assignment.task, Stopwatch()
        work = _file_work(task, cancellation, observer)
        with TaskFiles(task, self._workspace, work) as files:
            try:
                self._take_in(files, assignment, observer)
                work.rest()
                outcome = self._run(files, assignment, cancellation, observer, work, watch=watch)
            except Stopped:
                outcome = Outcome(TaskState.CANCELLED)
            except (GaiaError, OSError) as error:
                outcome = Outcome(
                    TaskState.EXCEPTION,
                    message=error_text(error),
                    exception=type(error).__name__,
                    usage=watch.usage(),
                )
            if _is_cancelled(cancellation):
                outcome = Outcome(TaskState.CANCELLED)
            keep = self._keep if outcome.state is TaskState.ERROR else None
            if not outcome.outputs and keep is None:
                files.discard()  # on a full disk this is the room for its end to be written down
            observer.ended(task, outcome)
            if keep is not None:
                keep(task, files.directory.top)

    def _take_in(self, files: TaskFiles, assignment: Assignment, observer: Observer) -> None:
        """Put all files in their places, and report the Step's start with its inputs' digests."""
        task, mounts = assignment.task, self._runtime.mounts_inputs
        if assignment.adopted:
            observer.started(task, _event(task, EventKind.STEP_ADOPTED, reason=task.reason))
            files.find_again(mounts)
            return
        try:
            files.take_in(assignment.known, mounts)
        except (GaiaError, OSError):
            observer.started(task, _event(task, EventKind.STEP_START, reason=task.reason))
            raise
        facts = {"reason": task.reason, "inputs": files.digests()}
        observer.started(task, _event(task, EventKind.STEP_START, **facts))

    def _run(
        self,
        files: TaskFiles,
        assignment: Assignment,
        cancellation: Cancellation,
        observer: Observer,
        work: FileWork,
        *,
        watch: Stopwatch,
    ) -> Outcome:
        task = assignment.task
        invocation = Invocation(
            task,
            files.tree,
            files.work,
            files.log,
            files.stdout,
            files.mounted,
            assignment.gpus,
            file_work=work,
            sampled=lambda usage: observer.sampled(task, usage),
        )

        together: list[Event] = []
        """The end of the program, until its exit follows at once: one report for both."""

        def report(kind: EventKind, /, **facts: Any) -> None:
            watch.note(kind)
            together.append(_event(task, kind, **facts))
            if kind is not EventKind.EXECUTION_COMPLETE:
                observer.happened(task, *together)
                together.clear()

        run = self._runtime.resume if assignment.adopted else self._runtime.run
        began = monotonic()
        ended = run(invocation, cancellation, report)
        elapsed, watch.measured = monotonic() - began, ended.usage
        if _is_cancelled(cancellation):
            return Outcome(TaskState.CANCELLED)
        return _collect(files, ended, cancellation.reason, elapsed, work, watch=watch)


def _is_cancelled(cancellation: Cancellation) -> bool:
    """Whether the Task's outcome isn't wanted: that of one that exceeded its timeout is."""
    reason = cancellation.reason
    return reason is not None and reason != BY_TIMEOUT


def _file_work(task: Task, cancellation: Cancellation, observer: Observer) -> FileWork:
    """The work on a Task's files: its cancellation ends it, and the observer is told of it."""

    def check() -> None:
        if _is_cancelled(cancellation):
            raise Stopped

    return FileWork(check, lambda doing: observer.progressed(task, doing))


def _collect(
    files: TaskFiles,
    ended: Exit,
    reason: str | None,
    elapsed: float,
    work: FileWork,
    *,
    watch: Stopwatch,
) -> Outcome:
    """The Task's outcome, with the files to publish: all outputs, or its logs alone."""
    task = files.task
    problems = [ended.message] if ended.message else []
    if reason == BY_TIMEOUT:
        problems = [f"it exceeded its timeout of {task.timeout:g} s"]
    outputs: list[Output] = []
    if ended.code == 0 and not problems:
        try:
            problems = files.missing()
            if not problems:
                outputs = prepare_outputs(files, task.outputs, Ending(0, None, elapsed), work)
        except DiskError:
            raise
        except StorageError as error:
            problems = [error_text(error)]
    failed = bool(problems) or ended.code != 0
    message = "; ".join(problems) or (f"exit code {ended.code}" if failed else None)
    if failed:
        logs = [pair for pair in task.outputs if Capture.parse(pair[1]) is Capture.LOG]
        outputs = prepare_outputs(files, logs, Ending(ended.code, message, elapsed), work)
    inputs = files.inputs_read()
    return Outcome(
        TaskState.ERROR if failed else TaskState.COMPLETE,
        tuple(outputs),
        ended.code,
        message,
        reason=reason,
        image_id=ended.image_id,
        tail=read_tail(files.log) if failed else "",
        inputs=inputs,
        fingerprint=None if failed else _fingerprint(task, ended, inputs),
        usage=watch.usage(),
    )


def _fingerprint(task: Task, ended: Exit, inputs: Mapping[str, Fingerprint]) -> str | None:
    """The fingerprint of a complete Task that was run, if others may be given its results."""
    if not task.reusable or ended.identity is None:
        return None
    digests = {key: read.digest for key, read in inputs.items()}
    return task_fingerprint(task, ended.identity, digests)


def prepare_outputs(
    files: TaskFiles,
    pairs: Collection[tuple[str, str]],
    ending: Ending,
    work: FileWork,
    reused: Reused | None = None,
) -> list[Output]:
    """Make outputs ready to be published, with the program's captured output.

    Where `reused` names another Task, its outputs were taken over.
    """
    places = {output_place(text) for _, text in pairs}
    captures: dict[Capture, str] = {}
    if Capture.PRINTED in places:
        captures[Capture.PRINTED] = files.log if reused is None else files.printed
        os.close(os.open(captures[Capture.PRINTED], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if Capture.LOG in places:
        captures[Capture.LOG] = f"{files.directory.top}/log"
        write_log(captures[Capture.LOG], files.task, files.log, ending, work=work, reused=reused)
    return files.prepare(pairs, captures)


def _event(task: Task, kind: EventKind, /, **facts: Any) -> Event:
    """A new event of a Task, with the present time."""
    return Event(kind, task.workflow, time.time(), {"id": task.id, "task": task.name, **facts})

"""Performs one Task: stage its inputs, run its command, prepare its outputs. Decides nothing,
publishes nothing.

What happens is told to an `Observer` as it happens: `Event`s in the order of the real worker, and
at last, exactly once, an `Outcome`. The observer publishes the outcome's outputs, or lets them be;
when its call returns, the staging goes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from gaia_local.errors import DiskError, GaiaError, StorageError, error_text
from gaia_local.executors.contract import Observer
from gaia_local.model.assignment import Assignment, Outcome, Output
from gaia_local.model.events import Event, EventKind
from gaia_local.model.keys import Capture, internal_path, made_files, output_place
from gaia_local.model.paths import folders
from gaia_local.model.tasks import BY_TIMEOUT, Fingerprint, Task, TaskState
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, Runtime
from gaia_local.store import files
from gaia_local.store.logs import read_tail
from gaia_local.store.staging import Staging
from gaia_local.store.storage import Storage


class Worker:
    """Performs Tasks with one storage and one runtime, in the thread that calls it."""

    def __init__(self, storage: Storage, runtime: Runtime) -> None:
        self._storage, self._runtime = storage, runtime

    def perform(
        self, assignment: Assignment, cancellation: Cancellation, observer: Observer
    ) -> None:
        """Run the Task once; everything it comes to is told, errors included."""
        task = assignment.task
        try:
            try:
                outcome = self._run(assignment, cancellation, observer)
            except (GaiaError, OSError) as error:
                outcome = Outcome(
                    TaskState.EXCEPTION, message=error_text(error), exception=type(error).__name__
                )
            if cancellation.reason not in (None, BY_TIMEOUT):
                outcome = Outcome(TaskState.CANCELLED)
            if (
                not outcome.outputs
            ):  # on a full disk this is the room in which its end can be written down
                self._storage.discard(task.id)
            observer.ended(task, outcome)
        finally:
            self._storage.discard(task.id)

    def _run(
        self, assignment: Assignment, cancellation: Cancellation, observer: Observer
    ) -> Outcome:
        task = assignment.task
        if assignment.adopted:
            observer.started(task, _event(task, EventKind.STEP_ADOPTED, reason=task.reason))
            staging, copied, run = (
                self._storage.staging(task),
                self._copied(task),
                self._runtime.rejoin,
            )
        else:
            staging, copied = self._begin(assignment, observer)
            run = self._runtime.run
        invocation = Invocation(
            task,
            staging.tree,
            staging.work,
            staging.log,
            None if task.stdout is None else Path(staging.local(task.stdout)),
            tuple(
                (path, Path(self._storage.source(task, key)))
                for key, path in task.inputs
                if key not in copied
            ),
        )

        def report(kind: EventKind, /, **facts: Any) -> None:
            observer.happened(task, _event(task, kind, **facts))

        began = time.monotonic()
        ended = run(invocation, cancellation, report)
        if cancellation.reason not in (None, BY_TIMEOUT):
            return Outcome(TaskState.CANCELLED)
        outcome = self._outcome(
            invocation, staging, ended, cancellation.reason, time.monotonic() - began
        )
        read = {
            key: seen if key in copied else self._still(task, key, seen)
            for key, seen in staging.read.items()
        }
        return replace(outcome, inputs=read)

    def _begin(self, assignment: Assignment, observer: Observer) -> tuple[Staging, set[str]]:
        """Put all in its place, and say that the Step starts, and from which contents. Answers
        which inputs were copied.
        """
        task = assignment.task
        try:
            copied = self._copied(task)
            staging = self._storage.stage(task, copied, assignment.known)
            for key, _ in task.inputs:
                if key not in copied:
                    staging.read[key] = self._read(assignment, key)
        except (GaiaError, OSError):
            observer.started(task, _event(task, EventKind.STEP_START, reason=task.reason))
            raise
        read = {key: staging.read[key].digest for key, _ in task.inputs}
        observer.started(task, _event(task, EventKind.STEP_START, reason=task.reason, inputs=read))
        return staging, copied

    def _copied(self, task: Task) -> set[str]:
        """The inputs that get private copies: all, or with mounts, those that a program would not
        find there as in a copy.

        These are: what an output is nested with; a directory with links that a copy follows, out of
        it or perhaps to where another input is to be; one that has nothing of its kind there. What
        is nested with any of these is copied, too.
        """
        if not self._runtime.mounts_inputs:
            return {key for key, _ in task.inputs}
        inputs = {
            internal_path(text).path: (key, self._storage.source(task, key))
            for key, text in task.inputs
        }
        unfit = {place.path for _, place in made_files(task.outputs)}
        places = inputs.keys() | unfit
        around = {(outer, path) for path in inputs for outer in folders(path) if outer in inputs}
        for outer, path in around:
            if not _bears(inputs[outer][1], path.removeprefix(outer), inputs[path][1]):
                unfit.add(outer)
        outers = {outer for outer, _ in around}
        for path, (key, source) in inputs.items():
            if key in task.external and files.has_link(source, out=path not in outers):
                unfit.add(path)

        def top(path: str) -> str:
            return next((outer for outer in reversed([*folders(path)]) if outer in places), path)

        tops: set[str] = set()
        more = {top(path) for path in unfit}
        while not more <= tops:  # a key that is copied is so at each of its paths
            tops |= more
            copied = {key for path, (key, _) in inputs.items() if top(path) in tops}
            more = {top(path) for path, (key, _) in inputs.items() if key in copied}
        return {key for path, (key, _) in inputs.items() if top(path) in tops}

    def _read(self, assignment: Assignment, key: str) -> Fingerprint:
        """The fingerprint of a mounted input: the recorded one where the file is still that, else a
        new one.
        """
        task, known = assignment.task, assignment.known.get(key)
        path, follow = self._storage.source(task, key), key in task.external
        if known is not None and self._storage.look(key, path, follow) == known.quick:
            return known
        fingerprint = self._storage.fingerprint(key, path, follow)
        if fingerprint is None:
            raise StorageError(f"input {key!r} vanished from the store: there is nothing at {path}")
        return fingerprint

    def _still(self, task: Task, key: str, seen: Fingerprint) -> Fingerprint:
        """What a program read of a mounted input: nobody knows, where that was changed meanwhile."""
        now = self._storage.look(key, self._storage.path(task.workflow, key), key in task.external)
        return seen if now is not None and now == seen.looked_like else files.TORN

    def _outcome(
        self,
        invocation: Invocation,
        staging: Staging,
        ended: Exit,
        reason: str | None,
        elapsed: float,
    ) -> Outcome:
        task = invocation.task

        def prepare(pairs: Collection[tuple[str, str]], message: str | None) -> list[Output]:
            places = {output_place(text) for _, text in pairs}
            captures: dict[Capture, Path] = {}
            if Capture.PRINTED in places:
                captures[Capture.PRINTED] = staging.log
                staging.log.touch(mode=0o600)
            if Capture.LOG in places:
                captures[Capture.LOG] = _write_log(task, staging, ended.code, message, elapsed)
            return self._storage.prepare(task, staging, pairs, captures)

        problems = [ended.message] if ended.message else []
        if reason == BY_TIMEOUT:
            problems = [f"it exceeded its timeout of {task.timeout:g} s"]
        outputs: list[Output] = []
        if ended.code == 0 and not problems:
            try:
                self._storage.bring_linked(task, staging, {path for path, _ in invocation.inputs})
                problems = self._storage.missing(task, staging)
                outputs = [] if problems else prepare(task.outputs, None)
            except DiskError:
                raise
            except StorageError as error:
                problems = [error_text(error)]
        failed = bool(problems) or ended.code != 0
        message = "; ".join(problems) or (f"exit code {ended.code}" if failed else None)
        if failed:
            logs = [pair for pair in task.outputs if Capture.parse(pair[1]) is Capture.LOG]
            outputs = prepare(logs, message)
        return Outcome(
            TaskState.ERROR if failed else TaskState.COMPLETE,
            tuple(outputs),
            ended.code,
            message,
            reason=reason,
            image_id=ended.image_id,
            tail=read_tail(staging.log) if failed else "",
        )


def _bears(outer: str, relative: str, source: str) -> bool:
    """Whether an input directory has something of the same kind as `source` at a place in it, with
    no link on the way.
    """
    place = f"{outer}{relative}"
    if any(map(os.path.islink, (place, *folders(place, outer)))):
        return False
    return os.path.exists(place) and os.path.isdir(place) == os.path.isdir(source)


def _event(task: Task, kind: EventKind, /, **facts: Any) -> Event:
    """Of what happens to a Task just now."""
    return Event(kind, task.workflow, time.time(), {"id": task.id, "task": task.name, **facts})


def _write_log(
    task: Task, staging: Staging, code: int, message: str | None, elapsed: float
) -> Path:
    """The ``>>`` output: a header with the task, the lines, a footer with how it ended."""
    path = Path(f"{staging.top}/log")
    rows = [
        ("task", task.name),
        ("id", task.id),
        ("workflow", task.workflow),
        ("image", task.image),
        ("command", " ".join(task.command)),
        *((f"input {internal}", key) for key, internal in task.inputs),
        *((f"output {internal}", key) for key, internal in task.outputs),
    ]
    with path.open("wb") as writer:
        writer.write(
            "".join(f"# {name}: {value}\n" for name, value in rows).encode("utf-8", "replace")
            + b"\n"
        )
        writer.flush()
        ends_line = True
        if staging.log.exists():
            with staging.log.open(
                "rb", buffering=0
            ) as reader:  # unbuffered: its descriptor is where it says
                if reader.seek(0, os.SEEK_END):
                    reader.seek(-1, os.SEEK_END)
                    ends_line = reader.read(1) == b"\n"
                reader.seek(0)
                files.copy_range(reader.fileno(), writer.fileno())
        writer.seek(0, os.SEEK_END)
        footer = f"# {'failed: ' + message if message else 'complete'}\n# exit code: {code}\n"
        footer += f"# elapsed: {elapsed:.3f} s\n# timeout: {task.timeout:g} s\n"
        writer.write(
            ("" if ends_line else "\n").encode() + b"\n" + footer.encode("utf-8", "replace")
        )
    return path

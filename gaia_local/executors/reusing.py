"""An executor that gives Tasks the results of earlier ones, and has another executor run the rest.

A Task is looked up by its fingerprint (`task_fingerprint`) when it is ready to start. If an equal
one is complete, and its outputs are still in the store as they were recorded, they are copied, and
the Task ends without a run. Its outcome goes the way of all others: the observer publishes it.

Invariants:
- Each submitted Task ends exactly once. Until then it is in one place: it is looked up, or it waits
  for an equal one, or it was handed on to the other executor, and belongs to that from then on.
- Of equal Tasks at most one at a time was handed on, its *leader*. Those that become ready
  meanwhile wait, without a worker, until it has ended and its end is recorded; then they are looked
  up again. So the program runs once if it succeeds, and once more if it fails or is cancelled.
- A Task that was expired is never given a result, and waits for none that began before.
- A cancelled Task is neither handed on, nor does it begin to wait.
- A result that can't be read or copied is none: then the Task runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from gaia_local.errors import Closed, GaiaError, RuntimeFailure, StorageError, error_text
from gaia_local.executors.contract import Executor, Observer
from gaia_local.executors.results import Result, Results
from gaia_local.executors.thread_pool import ThreadPool
from gaia_local.executors.worker import prepare_outputs
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import Event, EventKind
from gaia_local.model.task_fingerprints import task_fingerprint
from gaia_local.model.tasks import DOUBTFUL, Fingerprint, Task, TaskState
from gaia_local.monotonic import monotonic
from gaia_local.store.file_work import FileWork, Stopped, file_size
from gaia_local.store.logs import Ending
from gaia_local.store.storage import Storage
from gaia_local.store.task_files import TaskFiles
from gaia_local.store.workspaces import Workspace

logger = logging.getLogger("gaia_local")

IDENTITY_SECONDS = 1.0
"""The age that a program's identity may have until a result is found."""
EXPIRED_REASON = "expired"
"""The reason for the run of a Task whose results are wanted anew."""


@dataclass(eq=False, slots=True)
class _Lookup:
    """A Task that isn't handed on yet."""

    assignment: Assignment
    observer: Observer
    inputs: dict[str, Fingerprint] = field(default_factory=dict)
    """Input key → its fingerprint: the recorded one, even if that is in doubt."""
    program: str = ""
    """Its identity."""
    fingerprint: str = ""
    ends: int = 0
    """The number of leaders that had ended when it was looked up."""
    leads: str | None = None
    """The fingerprint of the Tasks that wait for this one."""
    cancelled: bool = False

    @property
    def task(self) -> Task:
        return self.assignment.task

    def check(self) -> None:
        """Raise `Stopped` if the Task was cancelled."""
        if self.cancelled:
            raise Stopped


class _HandedOn:
    """Passes on the reports of a Task, and tells of its end. Implements `Observer`."""

    def __init__(self, observer: Observer, over: Callable[[], None]) -> None:
        self._observer, self._over = observer, over
        self.started, self.happened = observer.started, observer.happened
        self.progressed, self.sampled = observer.progressed, observer.sampled

    def ended(self, task: Task, outcome: Outcome) -> None:
        """The Task ended, and its end is recorded."""
        try:
            self._observer.ended(task, outcome)
        finally:
            self._over()


class ReusingExecutor:
    """Looks Tasks up in threads of its own. Implements `Executor`."""

    def __init__(
        self,
        executor: Executor,
        results: Results,
        *,
        workspace: Workspace,
        identity: Callable[[Task, float], str | None],
        threads: int,
    ) -> None:
        """`executor` runs what must run; `identity` is that of the runtime."""
        self._executor, self._results = executor, results
        self._workspace, self._identity = workspace, identity
        self._storage: Storage = workspace.storage
        self._pool = ThreadPool(threads, "gaia-local-lookup")
        self._lock = threading.Lock()
        self._lookups: dict[str, _Lookup] = {}
        """Task id → Tasks that are looked up or wait."""
        self._waiting: dict[str, list[_Lookup]] = {}
        """Fingerprint of each leader → the Tasks that wait for it."""
        self._ends = 0
        """The number of leaders that have ended."""
        self._cancelled_early: set[str] = set()
        self._handed_on: set[str] = set()
        self._closed = False

    def submit(self, assignment: Assignment, observer: Observer) -> None:
        """Have the Task looked up. Raises `Closed` on a closed executor."""
        task_id = assignment.task.id
        lookup = _Lookup(assignment, observer)
        with self._lock:
            if self._closed:
                raise Closed("the executor is closed")
            if task_id in self._cancelled_early:
                self._cancelled_early.remove(task_id)
                lookup.cancelled = True
            self._lookups[task_id] = lookup
        self._look_up_soon(lookup)

    def cancel(self, task_id: str) -> None:
        """Stop a Task, or keep it from being looked up and from starting."""
        with self._lock:
            lookup = self._lookups.get(task_id)
            if lookup is not None:
                lookup.cancelled = True
                if not self._leave_queue(lookup):
                    return  # whoever looks it up sees that
            elif task_id not in self._handed_on:
                self._cancelled_early.add(task_id)
                return
        if lookup is None:
            self._executor.cancel(task_id)
        else:
            self._look_up_soon(lookup)

    def call_later(self, seconds: float, function: Callable[[], None]) -> object:
        """As the other executor does."""
        return self._executor.call_later(seconds, function)

    def call_later_in_background(self, seconds: float, function: Callable[[], None]) -> None:
        """As the other executor does."""
        self._executor.call_later_in_background(seconds, function)

    def kill_now(self) -> None:
        """Kill cancelled Tasks without a grace, from now on."""
        self._executor.kill_now()

    def close(self) -> None:
        """End all that is looked up or waits, and then the other executor."""
        with self._lock:
            self._closed = True
            left = list(self._lookups.values())
            for lookup in left:
                lookup.cancelled = True
            waited = [lookup for lookup in left if self._leave_queue(lookup)]
        for lookup in waited:
            self._look_up_soon(lookup)
        self._pool.close()
        self._executor.close()

    # -- one Task ----------------------------------------------------------------------------------

    def _look_up_soon(self, lookup: _Lookup) -> None:
        try:
            self._pool.call(lambda: self._look_up(lookup))
        except Closed:  # another thread closed it: nobody waits for results any more
            self._end(lookup, Outcome(TaskState.CANCELLED))
        except RuntimeError:  # no thread can be started
            self._look_up(lookup)

    def _look_up(self, lookup: _Lookup) -> None:
        """Give the Task a result, have it wait for one, or hand it on."""
        task = lookup.task
        work = FileWork(lookup.check, lambda doing: lookup.observer.progressed(task, doing))
        lookup.ends = self._ends
        try:
            lookup.check()
            if lookup.assignment.adopted or not self._identify(lookup, work):
                self._hand_on(lookup)
            elif task.reason == EXPIRED_REASON:
                self._lead(lookup)
                self._hand_on(lookup)
            elif (
                not self._take_over(lookup, work)
                and not self._waits(lookup)
                # A leader that ended meanwhile may have left its result.
                and (lookup.ends == self._ends or not self._take_over(lookup, work))
            ):
                self._hand_on(lookup)
        except (Stopped, Closed):
            self._end(lookup, Outcome(TaskState.CANCELLED))
        except Exception as error:  # a defect here: without an end, its workflow would wait
            logger.exception("workflow %r, Step %r: the engine failed", task.workflow, task.name)
            message, kind = f"the engine failed: {error_text(error)}", type(error).__name__
            self._end(lookup, Outcome(TaskState.EXCEPTION, message=message, exception=kind))

    def _identify(self, lookup: _Lookup, work: FileWork) -> bool:
        """Find out the Task's fingerprint; False if it has none, or can't be told."""
        task, known = lookup.task, lookup.assignment.known
        if not task.reusable:
            return False
        try:
            program = self._identity(task, IDENTITY_SECONDS)
            if program is None:
                return False
            lookup.program = program
            for key, _ in task.inputs:
                source, follow = self._storage.source(task, key), key in task.external
                recorded = known.get(key)
                quick = self._storage.quick_fingerprint(key, source, follow, work)
                if recorded is not None and quick == recorded.looked_like:
                    lookup.inputs[key] = recorded
                elif not self._read_input(lookup, key, work):
                    return False
        except (GaiaError, OSError) as error:
            logger.debug("workflow %r, Step %r: %s", task.workflow, task.name, error_text(error))
            return False
        lookup.fingerprint = self._fingerprint(lookup)
        # What was read here needn't be read again.
        lookup.assignment = replace(lookup.assignment, known={**known, **lookup.inputs})
        return True

    def _read_input(self, lookup: _Lookup, key: str, work: FileWork) -> bool:
        """Read an input for its digest; False if it can't be told what is there."""
        task = lookup.task
        source = self._storage.source(task, key)
        work.begin(f"reading input {key!r}", lambda: file_size(source))
        read = self._storage.fingerprint(key, source, key in task.external, work)
        if read is None or read.quick == DOUBTFUL:
            return False
        lookup.inputs[key] = read
        return True

    def _fingerprint(self, lookup: _Lookup) -> str:
        digests = {key: read.digest for key, read in lookup.inputs.items()}
        return task_fingerprint(lookup.task, lookup.program, digests)

    def _make_certain(self, lookup: _Lookup, work: FileWork) -> None:
        """Make sure of what the fingerprint is made of: what has changed makes another Task."""
        program = self._identity(lookup.task, 0)
        if program is None:
            raise RuntimeFailure("it can't be told which program it is")
        lookup.program = program
        for key, seen in lookup.inputs.items():
            if seen.quick != seen.looked_like and not self._read_input(lookup, key, work):
                raise StorageError(f"it can't be told what input {key!r} is")
        lookup.fingerprint = self._fingerprint(lookup)

    def _take_over(self, lookup: _Lookup, work: FileWork) -> bool:
        """Give the Task an equal one's result, and end it; False if there is none."""
        for result in self._found(lookup, work):
            with TaskFiles(lookup.task, self._workspace, work) as files:
                outcome = self._copied(lookup, result, files, work)
                if outcome is not None:
                    self._report(lookup, outcome)
                    return True
        return False

    def _found(self, lookup: _Lookup, work: FileWork) -> Iterator[Result]:
        """The results for a Task, the newest first, until one can't be read."""
        task, certain = lookup.task, False
        try:
            for result in self._results.find(lookup.fingerprint):
                if not certain:
                    before, certain = lookup.fingerprint, True
                    self._make_certain(lookup, work)
                    if lookup.fingerprint != before:
                        yield from self._results.find(lookup.fingerprint)
                        return
                yield result
        except (GaiaError, OSError) as error:
            logger.debug("workflow %r, Step %r: %s", task.workflow, task.name, error_text(error))

    def _copied(
        self, lookup: _Lookup, result: Result, files: TaskFiles, work: FileWork
    ) -> Outcome | None:
        """The outcome with copies of a result; None if that isn't as it was recorded any more."""
        task, began = lookup.task, monotonic()
        try:
            files.take_over({key: result.files[text] for key, text in result.needed(task)})
            if not files.take_over_log(result.log) and not self._is_there(lookup, result):
                raise StorageError("its log was dropped with it")
            ending = Ending(0, None, monotonic() - began)
            outputs = prepare_outputs(files, task.outputs, ending, work, result.made_by)
        except (GaiaError, OSError) as error:
            files.forget_log()
            logger.info(
                "workflow %r, Step %r: the result of %s can't be reused: %s",
                task.workflow,
                task.name,
                result.made_by,
                error_text(error),
            )
            return None
        return Outcome(
            TaskState.COMPLETE,
            tuple(outputs),
            0,
            image_id=result.image_id,
            inputs=lookup.inputs,
            fingerprint=lookup.fingerprint,
            reused=result.made_by,
        )

    def _is_there(self, lookup: _Lookup, result: Result) -> bool:
        """Whether a result is still one: old Tasks are dropped, first their rows, then their logs.

        So one without a log that is found still printed nothing.
        """
        found = self._results.find(lookup.fingerprint)
        return any(other.made_by == result.made_by for other in found)

    def _report(self, lookup: _Lookup, outcome: Outcome) -> None:
        """Report that the Task was given a result, and its end."""
        lookup.check()
        task, made_by = lookup.task, outcome.reused
        assert made_by is not None
        facts = {
            "id": task.id,
            "task": task.name,
            "reason": task.reason,
            "inputs": {key: seen.digest for key, seen in lookup.inputs.items()},
            "reused": made_by.wire(),
        }
        event = Event(EventKind.STEP_REUSED, task.workflow, time.time(), facts)
        lookup.observer.started(task, event)
        lookup.check()
        self._end(lookup, outcome)

    def _end(self, lookup: _Lookup, outcome: Outcome) -> None:
        """Report the Task's end, unless that was tried before, or it was handed on."""
        with self._lock:
            if self._lookups.pop(lookup.task.id, None) is None:
                return
        try:
            lookup.observer.ended(lookup.task, outcome)
        finally:
            self._release(lookup)

    def _hand_on(self, lookup: _Lookup) -> None:
        """Have the other executor run the Task. Raises `Stopped` if it was cancelled."""
        task_id = lookup.task.id

        def over() -> None:
            with self._lock:
                self._handed_on.remove(task_id)
            self._release(lookup)

        with self._lock:
            lookup.check()
            del self._lookups[task_id]
            self._handed_on.add(task_id)
        try:
            self._executor.submit(lookup.assignment, _HandedOn(lookup.observer, over))
        except BaseException:  # it was refused: its end is reported here
            with self._lock:
                if task_id in self._handed_on:
                    self._handed_on.remove(task_id)
                    self._lookups[task_id] = lookup
            raise

    # -- those that wait ---------------------------------------------------------------------------

    def _lead(self, lookup: _Lookup) -> None:
        """Have equal Tasks wait for this one, unless they wait for another one already."""
        with self._lock:
            if lookup.fingerprint not in self._waiting:
                self._waiting[lookup.fingerprint] = []
                lookup.leads = lookup.fingerprint

    def _waits(self, lookup: _Lookup) -> bool:
        """Have the Task wait for its leader; False if it is the leader itself now."""
        with self._lock:
            lookup.check()
            others = self._waiting.get(lookup.fingerprint)
            if others is not None:
                others.append(lookup)
                return True
            self._waiting[lookup.fingerprint] = []
            lookup.leads = lookup.fingerprint
            return False

    def _leave_queue(self, lookup: _Lookup) -> bool:
        """Whether the Task waited for its leader. Called under the lock."""
        others = self._waiting.get(lookup.fingerprint, [])
        if lookup in others:
            others.remove(lookup)
            return True
        return False

    def _release(self, lookup: _Lookup) -> None:
        """Have the Tasks looked up again that wait for this one."""
        with self._lock:
            others = [] if lookup.leads is None else self._waiting.pop(lookup.leads)
            self._ends += lookup.leads is not None
            lookup.leads = None
        for other in others:
            self._look_up_soon(other)

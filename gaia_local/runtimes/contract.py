"""The contract of runtimes, which run single commands for a `Worker`.

A runtime works in the thread that calls it and starts none itself, but one that measures all its
runs (`sampling`). A run is ended through its
`Cancellation`, from any thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from gaia_local.model.events import EventKind
from gaia_local.model.tasks import BY_TIMEOUT, Task
from gaia_local.model.usage import Usage

if TYPE_CHECKING:
    from gaia_local.model.answer_types import LiveUsage

logger = logging.getLogger("gaia_local")


class Cancellation:
    """Ends the run of one Task: `cancel` from any thread; the first reason wins and stays.

    `call_later(seconds, function)` has the function called after that time in some other thread,
    and returns a function that cancels the call. It serves the timeout, and SIGKILL `grace`
    seconds after SIGTERM.

    Invariant: between the entry and the exit of `stopping`, a cancelled run has been told to
    terminate; outside, never.
    """

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], Callable[[], None]],
        grace: float = 2.0,
    ) -> None:
        self._call_later, self._grace = call_later, grace
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._stop: Callable[[], None] | None = None
        self._kill: Callable[[], None] | None = None

    @property
    def reason(self) -> str | None:
        """The reason for the cancellation (`BY_REQUEST` or `BY_TIMEOUT`), or None."""
        return self._reason

    def cancel(self, reason: str) -> None:
        """Stop the run, or keep it from starting."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            stop = self._stop
        if stop is not None:
            stop()

    def kill_now(self) -> None:
        """Kill a cancelled run without waiting for the grace."""
        with self._lock:
            kill = self._kill if self._reason is not None else None
        if kill is not None:
            kill()

    @contextlib.contextmanager
    def stopping(
        self,
        terminate: Callable[[], None],
        kill: Callable[[], None],
        timeout: float,
        has_ended: Callable[[], bool],
    ) -> Iterator[None]:
        """While inside: call `terminate` at `cancel` or the timeout, and `kill` after the grace.

        Both may be called when the run has just ended by itself. Their errors are logged: they must
        not stop the thread that cancels. The timeout asks `has_ended` first: while this process was
        suspended (Ctrl-Z, say) time went by, and the run may have ended long before it was seen.
        """
        cancel_calls: list[Callable[[], None]] = []
        inside = True

        def stop() -> None:
            with self._lock:
                if not inside:
                    return
                cancel_calls.append(self._call_later(self._grace, kill_if_inside))
            attempt(terminate)

        def kill_if_inside() -> None:
            if inside:
                attempt(kill)

        def time_out() -> None:
            if inside and not has_ended():
                self.cancel(BY_TIMEOUT)

        def attempt(function: Callable[[], None]) -> None:
            try:
                function()
            except Exception:
                logger.exception("a run could not be stopped")

        with self._lock:
            self._stop, self._kill = stop, kill_if_inside
            cancelled = self._reason is not None
            cancel_calls.append(self._call_later(timeout, time_out))
        if cancelled:
            stop()
        try:
            yield
        finally:
            with self._lock:
                inside = False
                self._stop = self._kill = None
            for cancel_call in cancel_calls:
                cancel_call()


class LongWork(Protocol):
    """The work on one Task's files: who copies says what, and how far it is."""

    def begin(self, what: str, size: Callable[[], int | None]) -> None:
        """Begin with another file, whose `size` in bytes is asked if there is time to tell it."""

    def advance(self, count: int = 0) -> None:
        """So many bytes more are copied. Raises `file_work.Stopped` if the Task is cancelled."""


@dataclass(frozen=True)
class Invocation:
    """One command, ready to run.

    `tree` is the Task's private directory that mirrors the container's file system: the internal
    path ``/in/a`` is ``tree/in/a``. Inputs are there already unless the runtime `mounts_inputs`;
    output directories and the parents of output files exist. When the run has ended, each output is
    in the tree too, or was not made; and so is the target of one that is a link, unless that is an
    input which the runtime mounts.

    `log` receives stdout and stderr as they come, and needn't be made when nothing does; `stdout`,
    where not None, receives stdout alone. `inputs` pairs each internal path with the file or
    directory in the store it is a copy of. `gpus` are the ids of the GPUs that the program may use;
    where there are none, the runtime chooses. `file_work` goes with what the runtime itself copies.
    `sampled` gets, from any thread, what a run that isn't short took so far, each second.
    """

    task: Task
    tree: str
    work: str
    log: str
    stdout: str | None
    inputs: tuple[tuple[str, str], ...] = ()
    gpus: tuple[str, ...] = ()
    file_work: LongWork = field(kw_only=True)
    sampled: Callable[[LiveUsage], None] = field(default=lambda usage: None, kw_only=True)


@dataclass(frozen=True)
class Exit:
    """The end of a command: its exit code, which is 128 + n if signal n ended it.

    A `message` gives the reason of a failure; with one, it failed even if its exit code is 0.
    """

    code: int
    message: str | None = None
    image_id: str | None = None
    identity: str | None = field(default=None, compare=False)
    """What `Runtime.identity` would have answered for this run; None if that isn't known."""
    usage: Usage | None = field(default=None, compare=False)
    """The resources that the run took; its times are the caller's to measure."""


class Root(NamedTuple):
    """The root whose Tasks run: its path, and the identity that no other root has, nor a copy."""

    path: str
    identity: str


class ReportEvent(Protocol):
    """Receives the events of one run: ``report(EventKind.CONTAINER_EXIT, code=0)``."""

    def __call__(self, event: EventKind, /, **facts: Any) -> None: ...


class Runtime(Protocol):
    """Runs one command at a time for each thread that calls it.

    Promises for every run, begun (`run`) or resumed (`resume`):

    1. It reports ``execution-complete`` and at once ``container-exit`` (with ``code``) when the
       program has ended.
    2. It obeys its `Cancellation`, which also ends it at the Task's timeout. A cancelled run
       returns too: the caller looks at ``cancellation.reason``.
    3. A program that fails, is missing (127) or not executable (126) is an `Exit`; `RuntimeFailure`
       means that the command could not be run.
    4. It leaves no process and no container behind, however it ends.
    """

    name: str
    outlives_engine: bool
    """Whether a run outlives an engine that dies, so that the next one can resume it."""
    mounts_inputs: bool
    """Whether inputs are mounted from the store, so that the worker doesn't copy them."""

    def check(self, images: Collection[str]) -> None:
        """Before Steps of these `images` start: raise `EngineUnavailable` if none can run now."""

    def image_id(self, image: str) -> str | None:
        """The present id of an image; None if it is unknown or not tracked."""
        ...

    def identity(self, task: Task, age: float = 0.0) -> str | None:
        """The program that a run would be of now, with its surroundings, as one text.

        Equal texts: an equal program (the image's id, a program's path, size and mtime), with equal
        settings of this runtime. None if they can't be known. What is expensive to find out may be
        `age` seconds old.
        """
        ...

    def resumable_tasks(self) -> Collection[str]:
        """The ids of Tasks that an earlier process began and that can be resumed."""
        ...

    def gpus_of(self, task_id: str) -> Collection[str]:
        """The ids of the GPUs that one of `resumable_tasks` was given."""
        ...

    def end(self, task_id: str) -> None:
        """End and remove an earlier process's run of a Task, if it exists."""
        ...

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        """Run the command to its end and return its `Exit`.

        Reports ``container-create`` (containers only) and ``execution-start`` first, in this order.
        """
        ...

    def resume(
        self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent
    ) -> Exit:
        """Resume the run of one of `resumable_tasks` at its present point, and return its `Exit`.

        Its log is complete from the beginning, and its exit code and outputs are as without the
        break; it has the rest of its timeout. A run that was prepared and never started is started,
        with ``execution-start``. Raises `RuntimeFailure` if there is nothing to resume.
        """
        ...

    def close(self) -> None:
        """Let go of connections. Idempotent."""

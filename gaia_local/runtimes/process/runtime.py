"""The runtime `process`: runs Tasks as local processes, for machines without a Docker engine.

The image is ignored. A Task's internal paths in its tokens become paths of its private tree
(`localize`). Processes that it leaves running when its main process ends are killed, as a
container's end would kill them: on Linux all of them, by a supervisor (`supervision`); without one
its process group, and on Linux the processes with its mark (`marked_processes`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import select
import signal
import threading
from collections.abc import Collection, Mapping

from gaia_local.errors import RuntimeFailure
from gaia_local.model.events import EventKind
from gaia_local.model.tasks import Task
from gaia_local.model.usage import Usage
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, ReportEvent
from gaia_local.runtimes.lines import LineWriter
from gaia_local.runtimes.process import marked_processes
from gaia_local.runtimes.process.exits import (
    exit_of,
    not_started,
    step_label,
    undeclared_path_hint,
)
from gaia_local.runtimes.process.metering import ProcessMeter
from gaia_local.runtimes.process.pipes import LazyFile, Pipe
from gaia_local.runtimes.process.program_identity import (
    Environments,
    program_identity,
)
from gaia_local.runtimes.process.starting import start
from gaia_local.runtimes.process.supervision import SupervisedProcess, SupervisorPool, available
from gaia_local.runtimes.process.unsupervised import UnsupervisedProcess
from gaia_local.runtimes.sampling import FIRST_SECONDS, Sampler

_CANCELLED_CODE = 128 + signal.SIGTERM

logger = logging.getLogger("gaia_local")


class ProcessRuntime:
    """Runs each command as a process in a session of its own. Implements `Runtime`.

    With `Invocation.stdout`, this process copies stdout to two files, and the place of its lines
    among those of stderr in the log is approximate. Else both are one pipe, and all is in the log
    as it was written. A command whose shell code would misread the path of the tree isn't run.
    """

    name = "process"
    outlives_engine = False
    mounts_inputs = False

    def __init__(self, environment_counts: bool = True) -> None:
        """`environment_counts`: the `identity` of a program depends on its environment."""
        self._environment_counts, self._environments = environment_counts, Environments()
        self._warned = False
        self._warning = threading.Lock()
        self._supervisors = SupervisorPool() if available() else None
        self._sampler = Sampler("process-sampler")

    def check(self, images: Collection[str]) -> None:
        """Processes can always be run. The first supervisor gets ready for them."""
        if self._supervisors is not None:
            self._supervisors.prepare()

    def resumable_tasks(self) -> Collection[str]:
        """None: the output of a process can't be taken up, so `recover` ends it."""
        return ()

    def gpus_of(self, task_id: str) -> Collection[str]:
        """None: no Task is ever resumable."""
        return ()

    def end(self, task_id: str) -> None:
        """Nothing is left here when an engine runs."""

    def identity(self, task: Task, age: float = 0.0) -> str | None:
        """The program's path, size and mtime, and a digest of the environment."""
        now = self._environments.present()  # whatever age would do: it costs nothing
        return self._with_environment(program_identity(task, now), now)

    def _with_environment(
        self, program: str | None, environment: Mapping[bytes, bytes]
    ) -> str | None:
        if program is None or not self._environment_counts:
            return program
        return f"{program} {self._environments.digest(environment)}"

    def image_id(self, image: str) -> str | None:
        """None: this runtime has no images."""
        return None

    def close(self) -> None:
        """End the supervisors, and the sampler's thread."""
        self._sampler.close()
        if self._supervisors is not None:
            self._supervisors.close()

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        """Run the command to its end and return its `Exit`; see `Runtime.run`."""
        task = invocation.task
        self._warn_once(task)
        if cancellation.reason is not None:
            return Exit(_CANCELLED_CODE, "cancelled before it began")
        environment = self._environments.present()
        program = program_identity(task, environment)
        # NOTE: pipes, since a program that was given the log itself would empty it with `>
        # /dev/stderr`.
        with contextlib.ExitStack() as opened:
            log = opened.enter_context(LazyFile(invocation.log, os.O_APPEND, 0o600))
            if invocation.stdout is None:
                output = errors = opened.enter_context(Pipe((log,)))
            else:
                lines, error_lines = LineWriter(log.write), LineWriter(log.write)
                for writer in (lines, error_lines):
                    opened.callback(writer.finish)
                file = opened.enter_context(LazyFile(invocation.stdout, os.O_TRUNC))
                file.open()
                errors = opened.enter_context(Pipe((error_lines,)))
                output = opened.enter_context(Pipe((lines, file)))
            ended = self._run(invocation, cancellation, report, (output, errors), environment)
        report(EventKind.EXECUTION_COMPLETE)
        report(EventKind.CONTAINER_EXIT, code=ended.code)
        # Another program there now may have been there already when this one started.
        if program is None or program_identity(task, environment) != program:
            return ended
        identity = self._with_environment(program, environment)
        return Exit(ended.code, ended.message, identity=identity, usage=ended.usage)

    def resume(
        self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent
    ) -> Exit:
        """Raise `RuntimeFailure`: nothing is ever resumable."""
        name = step_label(invocation.task)
        raise RuntimeFailure(f"{name}: the process of an earlier engine can't be resumed")

    def _run(
        self,
        invocation: Invocation,
        cancellation: Cancellation,
        report: ReportEvent,
        streams: tuple[Pipe, Pipe],
        environment: Mapping[bytes, bytes],
    ) -> Exit:
        output, errors = streams
        ends = output.write_end, errors.write_end
        process = start(invocation, ends, self._supervisors, environment)
        if isinstance(process, Exit):
            report(EventKind.EXECUTION_START)
            return process
        follow = functools.partial(_copy_output, process, set(streams))
        memory = 0
        try:
            with cancellation.stopping(
                process.terminate, process.kill, invocation.task.timeout, process.has_ended
            ):
                report(EventKind.EXECUTION_START)
                # NOTE: making and removing the record costs a short Step a tenth of its time. After
                # a crash before it is there, the processes are found by their environment.
                if not follow(FIRST_SECONDS) and (pid := process.pid):
                    marked_processes.record(pid, os.path.dirname(invocation.work), process.parent)
                    meter = ProcessMeter(process.tops, invocation.sampled)
                    with meter.sampling(self._sampler):
                        follow(None)
                    memory = meter.memory
        finally:
            code = process.end()
        if process.error is not None:
            return not_started(invocation, process.error)
        for pipe in set(streams):
            pipe.drain()
        cancelled = cancellation.reason is not None
        hint = undeclared_path_hint(invocation.task) if code > 0 and not cancelled else None
        return exit_of(code, cancelled, hint, _with_peak(process.usage, memory))

    def _warn_once(self, task: Task) -> None:
        if self._warned:
            return
        with self._warning:
            if not self._warned:
                logger.warning(
                    "runtime 'process': images are ignored (%r first);"
                    " programs run as this machine has them",
                    task.image,
                )
                self._warned = True


def _with_peak(usage: Usage | None, memory: int) -> Usage | None:
    """The usage of a run whose processes together had so much memory at some time."""
    if usage is None or memory <= (usage.memory or 0):
        return usage
    return usage._replace(memory=memory)


def _copy_output(
    process: UnsupervisedProcess | SupervisedProcess, pipes: set[Pipe], seconds: float | None
) -> bool:
    """Copy from `pipes` until the main process has ended; False if it hasn't in time.

    The end of the pipes doesn't count: a program in the background may hold them for ever.
    """
    deadline = None if seconds is None else monotonic() + seconds
    flowing = {pipe.read_end: pipe for pipe in pipes}
    with process.watched() as handle:
        poll = select.poll()
        for pipe in pipes:
            pipe.close_write_end()
            poll.register(pipe.read_end, select.POLLIN)
        if handle is not None:
            poll.register(handle, select.POLLIN)
        while flowing or handle is not None:
            remaining = None if deadline is None else deadline - monotonic()
            if remaining is not None and remaining <= 0:
                return False
            wait = remaining if handle is not None else marked_processes.POLL_SECONDS
            events = poll.poll(None if wait is None else wait * 1000)
            ready = [descriptor for descriptor, _ in events]
            if (handle is None or handle in ready) and process.ended():
                return True
            for descriptor in ready:
                if not flowing[descriptor].copy():
                    poll.unregister(descriptor)
                    del flowing[descriptor]
    return process.wait(None if deadline is None else max(0.0, deadline - monotonic()))

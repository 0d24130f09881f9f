"""The runtime `docker`: each command in a container of its own, whose file system is the Task's
`tree` where it matters.

`engine` talks to the Docker engine, `files` gets files in and out; here is the course of one run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gaia_local.config import DockerConfig
from gaia_local.errors import Closed, EngineUnavailable, RuntimeFailure
from gaia_local.model.events import EventKind
from gaia_local.model.tasks import Task
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, Report
from gaia_local.runtimes.docker.engine import (
    STDERR,
    STDOUT,
    Engine,
    Interrupted,
    Listening,
    Refusal,
    Silence,
    writing,
)
from gaia_local.runtimes.docker.files import ContainerFiles, Plan

if TYPE_CHECKING:
    from docker import APIClient
    from docker.types import DeviceRequest

ROOT_LABEL = "gaia-local.root"
TASK_LABEL, WORKFLOW_LABEL, STEP_LABEL = "gaia-local.task", "gaia-local.workflow", "gaia-local.step"

_TERMINATED = 128 + 15
_KILLED = 128 + 9
_SETTLE = 10
"""Seconds from the end of the output to the end of the container; when it takes longer, the stream
had broken.
"""
_REATTACHMENTS = 10
_OOM_MOMENT, _OOM_PATIENCE = 0.3, 5.0
"""Seconds in which the engine may still learn that memory ran out: mostly, and on a machine with
far too much to do.
"""
_MACHINE_OOM = "out of memory (of the machine: no limit is set)"
_HEAD = 4096
# docker-init (tini) says on stderr why it could not become the program, and exits with 127, 126 or
# 1.
_NO_EXEC = re.compile(r"\[FATAL tini \(\d+\)\] exec (.*) failed: (.*)\n")
# Engines that look for the program at the start. A missing docker-init itself is none of the
# Command's fault.
_NO_START = re.compile(r'exec: "(?!(?:[^"]*/)?(?:docker-init|tini|catatonit)")([^"]*)": (.*)')

logger = logging.getLogger("gaia_local")


class Leftover(NamedTuple):
    """A container of this root that an earlier process left; `task` is empty for one that only
    served to look inside.
    """

    task: str
    workflow: str
    step: str
    container: str
    running: bool


class DockerRuntime:
    """Runs commands in Docker containers (see `contract.Runtime`). Thread-safe; connects at the
    first use.
    """

    name = "docker"
    survives = True

    def __init__(self, config: DockerConfig, root_id: str) -> None:
        """`root_id` marks all containers as belonging to one root."""
        self._config, self._root_id = config, root_id
        self._labels = {ROOT_LABEL: root_id}
        self._engine = Engine()
        self._files = ContainerFiles(self._engine)
        self.mounts_inputs = config.inputs == "mount"

    def check(self, images: Collection[str]) -> None:
        """Raise `EngineUnavailable` when the engine doesn't answer."""
        self._engine.ping()

    def available(self, image: str) -> bool:
        """Whether the engine answers, and has the image or could pull it. Pulls nothing."""
        try:
            self._engine.ping()
            if self._config.pull != "always" and self._engine.find_image(image) is not None:
                return True
        except (EngineUnavailable, Refusal, Silence):
            return False
        return self._config.pull != "never" and self._engine.pullable(image)

    def image_id(self, image: str) -> str | None:
        """Which image the name means now; None where it means none, or the engine doesn't tell, or
        nobody wants to know.
        """
        if not self._config.track_images:
            return None
        try:
            return self._engine.find_image(image)
        except (EngineUnavailable, Refusal, Silence):
            return None

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._engine.close()

    # -- what an earlier process left --------------------------------------------------------------

    def leftovers(self) -> list[Leftover]:
        """All containers of this root. Raises `RuntimeFailure` when the engine doesn't tell."""
        return [each for _, each in _labelled(self._engine, f"{ROOT_LABEL}={self._root_id}")]

    def remove_leftover(self, container: str) -> None:
        """Kill and remove one of them. One that is gone is fine; one that can't be removed is
        logged.
        """
        self._engine.remove(container)

    def left(self) -> Collection[str]:
        """The Tasks that have a container."""
        return {each.task for each in self.leftovers() if each.task}

    def end(self, task_id: str) -> None:
        """Kill and remove the container of a Task."""
        self._engine.remove(_container_name(task_id))

    # -- one run -----------------------------------------------------------------------------------

    def run(self, invocation: Invocation, cancellation: Cancellation, report: Report) -> Exit:
        """Run the command to its end and return how it ended (see `runtime.Runtime.run`)."""
        task, stop = invocation.task, _stopped_by(cancellation)
        image = None
        with _no_run(task):
            try:
                if stop():
                    raise Interrupted
                image = self._engine.image(task.image, self._config.pull, stop)
                plan = self._plan(invocation, image, stop)
                with self._container(task, image, plan, stop) as container:
                    report(EventKind.CONTAINER_CREATE)
                    before = {
                        path: self._files.status(container, path, stop) for path in plan.copied_out
                    }
                    kills = _kills_for_memory()
                    with _Sink(invocation.log, invocation.stdout) as sink:
                        ended = self._execute(container, task, sink, cancellation, report)
                    patience = 0.0 if _kills_for_memory() == kills else _OOM_PATIENCE
                    ended = self._explained(container, task, ended, patience, stop)
                    if not stop():
                        self._files.bring_out(container, invocation, plan, before, stop)
            except Interrupted:
                ended = Exit(_TERMINATED, "cancelled")
        return replace(ended, image_id=image)

    def rejoin(self, invocation: Invocation, cancellation: Cancellation, report: Report) -> Exit:
        """Take up a Task's container and return how it ended (see `runtime.Runtime.rejoin`)."""
        task, stop = invocation.task, _stopped_by(cancellation)
        container, image = _container_name(task.id), None
        kills = _kills_for_memory()
        with _no_run(task):
            try:
                if stop():
                    raise Interrupted
                image = self._engine.image_of(container, stop)
                plan = self._plan(invocation, image, stop)
                with _Sink(invocation.log, invocation.stdout, anew=True) as sink:
                    began = self._engine.began(container, stop)
                    if began is None:  # made, and never started
                        ended = self._execute(container, task, sink, cancellation, report)
                    else:
                        elapsed = time.time() - began
                        ended = Exit(self._resume(container, task, sink, cancellation, elapsed))
                        report(EventKind.EXECUTION_COMPLETE)
                        report(EventKind.CONTAINER_EXIT, code=ended.code)
                patience = _OOM_MOMENT if _kills_for_memory() == kills else _OOM_PATIENCE
                ended = self._explained(container, task, ended, patience, stop)
                if not stop():
                    before = self._files.in_image(image, plan.copied_out, self._labels, stop)
                    self._files.bring_out(container, invocation, plan, before, stop)
            except Interrupted:
                ended = Exit(_TERMINATED, "cancelled")
            finally:
                self.end(task.id)
        return replace(ended, image_id=image)

    def _plan(self, invocation: Invocation, image: str, stop: Callable[[], bool]) -> Plan:
        return self._files.plan(invocation, self.mounts_inputs, image, self._labels, stop)

    def _execute(
        self, container: str, task: Task, sink: _Sink, cancellation: Cancellation, report: Report
    ) -> Exit:
        """From the start of the container to its end."""
        stop = _stopped_by(cancellation)
        signals = _Signals(lambda signal: self._signal(container, signal))
        # Attached before the start: so nothing is missed, and stdout and stderr come apart.
        with (
            self._engine.listen(container, past=False, stop=stop) as live,
            cancellation.stopping(signals.terminate, signals.kill, task.timeout),
        ):
            if stop():
                raise Interrupted
            report(EventKind.EXECUTION_START)
            message = None
            try:
                if signals.start(lambda: self._start(container, stop)):
                    code = self._follow(container, live, sink, stop)
                    if code in (1, 126, 127) and (why := _NO_EXEC.match(sink.head)):
                        code, message = _not_run(task, *why.groups())
                else:
                    code = _TERMINATED
            except Interrupted:  # nobody can tell how it will end: it is killed when it is removed
                code = _KILLED
            except Refusal as refusal:
                why = _NO_START.search(refusal.text)
                if why is None:
                    raise
                code, message = _not_run(task, *why.groups())
        report(EventKind.EXECUTION_COMPLETE)
        report(EventKind.CONTAINER_EXIT, code=code)
        return Exit(code, message)

    def _start(self, container: str, stop: Callable[[], bool]) -> None:
        tried = False

        def start(client: APIClient) -> None:
            nonlocal tried
            # An answer that got lost: to start what has ended since would run the program twice.
            if tried and client.inspect_container(container)["State"]["Status"] != "created":
                return
            tried = True
            client.start(container)

        self._engine.ask(start, stop)

    def _follow(
        self, container: str, live: Listening, sink: _Sink, stop: Callable[[], bool]
    ) -> int:
        """Hand on what the container says until it ends, and return its exit code.

        When the connection breaks, the engine's own log is read from its start: what came of the
        stream until then is no prefix of it, since stdout and stderr are interleaved anew.
        """
        try:
            frames, ended = live
            sink.take(frames)
            silent = time.monotonic()
            code = ended()
            if time.monotonic() - silent < _SETTLE:
                return code
            lost = Silence("its output ended long before it did")
        except Silence as silence:
            lost = silence
        return self._reread(container, sink, stop, lost)

    def _resume(
        self, container: str, task: Task, sink: _Sink, cancellation: Cancellation, elapsed: float
    ) -> int:
        """From where a container is, or ended, to its end: the exit code. It began `elapsed`
        seconds ago.
        """
        signals = _Signals(lambda signal: self._signal(container, signal))
        with cancellation.stopping(
            signals.terminate, signals.kill, max(0.0, task.timeout - elapsed)
        ):
            signals.start(lambda: None)
            try:
                return self._reread(container, sink, _stopped_by(cancellation), None)
            except Interrupted:
                return _KILLED

    def _reread(
        self, container: str, sink: _Sink, stop: Callable[[], bool], lost: Silence | None
    ) -> int:
        """Read the engine's log from its start until the container ends, again whenever the
        connection breaks.
        """
        for tries in range(_REATTACHMENTS):
            if lost is not None:
                logger.warning(
                    "container %s: lost the engine (%s); reading its log again", container, lost
                )
            self._engine.pause(tries / 2, stop)
            try:
                with self._engine.listen(container, past=True, stop=stop) as (frames, ended):
                    sink.retake(frames)
                    code = ended()
                # Once more: an engine that follows its log may miss the last words.
                with self._engine.log(container, stop) as frames:
                    sink.retake(frames)
                return code
            except Silence as silence:
                lost = silence
        assert lost is not None
        raise lost

    def _signal(self, container: str, signal: str) -> None:
        try:
            # Only the last word is worth waiting for: it comes from a clock that others need too.
            self._engine.ask(
                lambda client: client.kill(container, signal), patient=signal == "KILL"
            )
        except (Refusal, Silence, Interrupted, Closed) as error:
            # 404, 409: it has ended by itself.
            if not (isinstance(error, Refusal) and error.status in (404, 409)):
                logger.warning(
                    "container %s: SIG%s could not be sent: %s", container, signal, error
                )

    def _explained(
        self, container: str, task: Task, ended: Exit, patience: float, stop: Callable[[], bool]
    ) -> Exit:
        """How the program `ended`, with what the engine knows of it: mostly that memory ran out.

        So many seconds may pass until the engine knows: none where no program was killed for lack
        of memory meanwhile.
        """
        if ended.message is not None or stop():
            return ended
        limit, given = self._memory(task)
        message = None
        try:
            if limit and ended.code:
                patience = max(patience, _OOM_MOMENT)  # this kernel may not be the engine's
            if self._engine.out_of_memory(container, patience, stop):
                message = f"out of memory (limit {limit}: see {given})" if limit else _MACHINE_OOM
            elif (
                limit and ended.code == _KILLED
            ):  # on a busy machine the engine loses the news of it now and then
                message = f"killed by SIGKILL (perhaps out of memory; limit {limit}: see {given})"
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            message = "somebody removed its container while it ran" if ended.code else None
        return replace(ended, message=message)

    def _memory(self, task: Task) -> tuple[str | int | None, str]:
        """The limit of a Task's memory, and where it was given."""
        if task.resources.memory is not None:
            return task.resources.memory, "resources of its Command"
        return self._config.memory, "docker.memory"

    # -- the container -----------------------------------------------------------------------------

    def _container(
        self, task: Task, image: str, plan: Plan, stop: Callable[[], bool]
    ) -> contextlib.AbstractContextManager[str]:
        """A container that is ready to start; removed at the end, whatever happens."""
        cpus = self._config.cpus if task.resources.cpus is None else task.resources.cpus
        memory, _ = self._memory(task)
        labels = {
            **self._labels,
            WORKFLOW_LABEL: task.workflow,
            STEP_LABEL: task.name,
            TASK_LABEL: task.id,
        }

        def create(client: APIClient) -> str:
            from docker.types import LogConfig, Mount

            mounts = [
                Mount(path, str(source), type="bind") for path, source in plan.writable.items()
            ]
            mounts += [
                Mount(path, str(source), type="bind", read_only=True)
                for path, source in plan.read_only.items()
            ]
            host = client.create_host_config(
                mounts=mounts,
                init=True,  # forwards signals, and ends whatever the program leaves behind
                security_opt=["no-new-privileges"],
                group_add=[str(group) for group in os.getgroups()],
                network_mode=self._config.network,
                mem_limit=memory,
                nano_cpus=None if cpus is None else int(cpus * 1e9),
                shm_size=self._config.shm_size,
                device_requests=self._gpus(task),
                log_config=LogConfig(
                    type="json-file"
                ),  # can be read again, whatever the engine's default
            )
            created = client.create_container(
                image,
                command=list(task.command),
                name=_container_name(task.id),
                user=f"{os.getuid()}:{os.getgid()}",
                environment=dict(self._config.env),
                labels=labels,
                host_config=host,
            )
            return str(created["Id"])

        return self._engine.container(_container_name(task.id), labels, create, stop)

    def _gpus(self, task: Task) -> list[DeviceRequest] | None:
        from docker.types import DeviceRequest

        gpus = self._config.gpus if task.resources.gpus is None else task.resources.gpus
        if gpus is None:
            return None
        return [DeviceRequest(count=-1 if gpus == "all" else int(gpus), capabilities=[["gpu"]])]


def _not_run(task: Task, program: str, why: str) -> tuple[int, str]:
    """The exit code of a shell, and a sentence, for a program that could not be executed."""
    if "permission denied" not in why.lower() and (
        "no such file" in why.lower() or "not found" in why.lower()
    ):
        return 127, f"program {program!r} is missing in image {task.image!r}"
    return 126, f"program {program!r} can't be executed in image {task.image!r}: {why}"


def _stopped_by(cancellation: Cancellation) -> Callable[[], bool]:
    """Whether the run was cancelled, in the form in which calls of the engine ask for it."""
    return lambda: cancellation.reason is not None


def _no_run(task: Task) -> contextlib.AbstractContextManager[None]:
    where = f"workflow {task.workflow!r}, Step {task.name!r}"
    return _as_failure(f"{where}: no run in image {task.image!r}")


@contextlib.contextmanager
def _as_failure(what: str) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        raise RuntimeFailure(f"{what}; the engine refuses: {refusal.text}") from refusal
    except Silence as silence:
        raise RuntimeFailure(
            f"{what}; the engine doesn't answer: {silence}; make sure that Docker runs"
        ) from silence
    except (EngineUnavailable, Closed) as error:
        raise RuntimeFailure(f"{what}; {error}") from error


def all_leftovers() -> list[tuple[str, Leftover]]:
    """The containers of all roots, each with its root. Raises `EngineUnavailable` or
    `RuntimeFailure`.
    """
    with contextlib.closing(Engine()) as engine:
        engine.ping()
        return _labelled(engine, ROOT_LABEL)


def _labelled(engine: Engine, label: str) -> list[tuple[str, Leftover]]:
    with _as_failure("the containers of an earlier process could not be listed"):
        found = engine.ask(lambda client: client.containers(all=True, filters={"label": label}))
    return [
        (
            each["Labels"][ROOT_LABEL],
            Leftover(
                task=each["Labels"].get(TASK_LABEL, ""),
                workflow=each["Labels"].get(WORKFLOW_LABEL, ""),
                step=each["Labels"].get(STEP_LABEL, ""),
                container=each["Id"],
                running=each["State"] not in ("created", "exited", "dead"),
            ),
        )
        for each in found
    ]


def _container_name(task_id: str) -> str:
    return "gaia-local-" + re.sub(r"[^a-zA-Z0-9_.-]", "-", task_id)


def _kills_for_memory() -> str | None:
    """How often the kernel has killed a program for lack of memory; None where it doesn't tell."""
    try:
        counters = Path("/proc/vmstat").read_text()
    except OSError:  # no Linux
        return None
    found = re.search(r"^oom_kill .*", counters, re.MULTILINE)
    return None if found is None else found[0]


class _Signals:
    """Brings an order to stop to the container, whichever comes first: the order or the start."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._started = False
        self._wanted: str | None = None

    def terminate(self) -> None:
        """Send SIGTERM, or have it sent when the start is done."""
        self._order("TERM")

    def kill(self) -> None:
        """The same with SIGKILL."""
        self._order("KILL")

    def start(self, start: Callable[[], None]) -> bool:
        """Call `start`, unless the order to stop was here before."""
        with self._lock:
            if self._wanted is not None:
                return False
        start()
        with self._lock:
            self._started = True
            wanted = self._wanted
        if wanted is not None:
            self._send(wanted)
        return True

    def _order(self, signal: str) -> None:
        with self._lock:
            self._wanted = signal
            if not self._started:
                return
        self._send(signal)


class _Sink:
    """Writes the output of a run to its files: everything to `log`, stdout to `stdout` too. What
    came is readable at once.
    """

    def __init__(self, log: Path, stdout: Path | None, anew: bool = False) -> None:
        """With `anew`, what an earlier process wrote is written again."""
        self._paths = log, stdout
        self._anew = anew
        self._head = b""

    def __enter__(self) -> _Sink:
        log, stdout = self._paths
        with writing(log), contextlib.ExitStack() as files:
            self._log = files.enter_context(log.open("ab"))
            self._stdout = None if stdout is None else files.enter_context(stdout.open("wb"))
            self._files = files.pop_all()
        self._start = 0 if self._anew else self._log.seek(0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self._paths[0]):
            self._files.close()

    @property
    def head(self) -> str:
        """The beginning of stderr."""
        return self._head.decode("utf-8", "replace")

    def take(self, frames: Iterator[tuple[int, bytes]]) -> None:
        """Write all frames."""
        for stream, piece in frames:
            with writing(self._paths[0]):
                self._log.write(piece)
                self._log.flush()
                if stream == STDOUT and self._stdout is not None:
                    self._stdout.write(piece)
                    self._stdout.flush()
            if stream == STDERR and len(self._head) < _HEAD:
                self._head += piece[:_HEAD]

    def retake(self, frames: Iterator[tuple[int, bytes]]) -> None:
        """Write all frames in place of what was written."""
        with writing(self._paths[0]):
            self._log.truncate(self._start)
            if self._stdout is not None:
                self._stdout.seek(0)
                self._stdout.truncate()
        self._head = b""
        self.take(frames)

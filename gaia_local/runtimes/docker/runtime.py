"""The runtime `docker`: each command runs in a container of its own.

`engine` talks to the Docker engine, `files` gets the Task's files in and out of the container, and
`container` makes it; this module is the course of one run.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from gaia_local.config import DockerConfig
from gaia_local.errors import Closed, EngineUnavailable
from gaia_local.model.events import EventKind
from gaia_local.model.tasks import Task
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, ReportEvent, Root
from gaia_local.runtimes.docker.container import task_container
from gaia_local.runtimes.docker.engine import DockerEngine, LiveOutput, never
from gaia_local.runtimes.docker.files import ContainerFiles, MountPlan
from gaia_local.runtimes.docker.image_contents import ImageContents
from gaia_local.runtimes.docker.images import Images
from gaia_local.runtimes.docker.labels import (
    IDENTITY_LABEL,
    ROOT_LABEL,
    LeftoverContainer,
    container_name,
    containers_with,
    runtime_failures,
)
from gaia_local.runtimes.docker.memory import (
    BUSY_OOM_SECONDS,
    KILLED,
    OOM_SECONDS,
    explain_exit,
    memory_limit,
    oom_kills,
)
from gaia_local.runtimes.docker.metering import (
    ContainerMeter,
    ContainerMeters,
    has_private_network,
)
from gaia_local.runtimes.docker.output import OutputFiles
from gaia_local.runtimes.docker.responses import Interrupted, NoAnswer, Refusal
from gaia_local.runtimes.docker.signals import Signals
from gaia_local.runtimes.docker.start_errors import StartErrors
from gaia_local.store.file_work import Stopped

if TYPE_CHECKING:
    from docker import APIClient

_TERMINATED = 128 + 15
_CONTAINER_EXIT_SECONDS = 10
"""The longest time from the end of the output to the exit; if it takes longer, the stream broke."""
_READ_TRIES = 10

logger = logging.getLogger("gaia_local")


class DockerRuntime:
    """Runs commands in Docker containers. Implements `Runtime`. Thread-safe; connects when used."""

    name = "docker"
    outlives_engine = True

    def __init__(self, config: DockerConfig, root: Root) -> None:
        """All containers get labels of the root that they belong to."""
        self._config = config
        self._labels = {ROOT_LABEL: root.path, IDENTITY_LABEL: root.identity}
        self._engine = DockerEngine()
        self._images = Images(self._engine)
        self._contents = ImageContents(self._engine)
        self._files = ContainerFiles(self._engine, self._contents)
        self._meters = ContainerMeters(self._engine, has_private_network(config.network))
        self._start_errors = StartErrors(self._engine, self._contents, config.init)
        self.mounts_inputs = config.inputs == "mount"

    def check(self, images: Collection[str]) -> None:
        """Raise `EngineUnavailable` when the engine doesn't answer."""
        self._engine.ping()

    def available(self, image: str) -> bool:
        """Whether the engine answers, and has the image or could pull it. Pulls nothing."""
        try:
            self._engine.ping()
            if self._config.pull != "always" and self._images.find(image) is not None:
                return True
        except (EngineUnavailable, Refusal, NoAnswer):
            return False
        return self._config.pull != "never" and self._images.pullable(image)

    def image_id(self, image: str) -> str | None:
        """The present id of an image; None if it is unknown, or not tracked."""
        if not self._config.track_images:
            return None
        try:
            found = self._images.find(image)
        except (EngineUnavailable, Refusal, NoAnswer):
            return None
        return None if found is None else found.id

    def identity(self, task: Task, age: float = 0.0) -> str | None:
        """The image's id and the settings of containers; None if the image isn't here.

        With the policy to pull always, the image that a run would find is unknown.
        """
        if self._config.pull == "always":
            return None
        try:
            image_id = self._images.recent_id(task.image, age)
            return None if image_id is None else self._identity(image_id, never)
        except (EngineUnavailable, Refusal, NoAnswer):
            return None

    def _identity(self, image_id: str, stop: Callable[[], bool]) -> str:
        """What containers of an image get from the configuration; `resources` are no part of it."""
        config = self._config
        settings = (config.network, sorted(config.env.items()), config.shm_size, config.gpus)
        return f"docker {image_id} {self._engine.owner(stop)} {settings}"

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._engine.close()
        self._meters.close()

    # -- containers of earlier processes -----------------------------------------------------------

    def leftovers(self) -> list[LeftoverContainer]:
        """All containers of this root. Raises `RuntimeFailure` when the engine doesn't answer."""
        identity = self._labels[IDENTITY_LABEL]
        found = containers_with(self._engine, f"{IDENTITY_LABEL}={identity}")
        return [leftover for _, leftover in found]

    def remove_leftover(self, container: str) -> None:
        """Kill and remove one of them, if it exists; a failure is logged."""
        self._engine.remove(container)

    def resumable_tasks(self) -> Collection[str]:
        """The Tasks that have a container."""
        return {leftover.task for leftover in self.leftovers() if leftover.task}

    def gpus_of(self, task_id: str) -> Collection[str]:
        """The GPUs that a Task's container was made with."""
        with runtime_failures("the GPUs of an earlier process's container are unknown"):
            return self._engine.gpus_of(container_name(task_id), never)

    def end(self, task_id: str) -> None:
        """Kill and remove the container of a Task, if it is this root's."""
        # A moved root's containers have its old path among their labels.
        own = {IDENTITY_LABEL: self._labels[IDENTITY_LABEL]}
        self._engine.remove_own(container_name(task_id), own)

    # -- one run -----------------------------------------------------------------------------------

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        """Run the command to its end and return its `Exit`; see `Runtime.run`."""
        task, stop = invocation.task, _stopped_by(cancellation)
        image_id = identity = None
        with _failures_of(task):
            try:
                if stop():
                    raise Interrupted
                image = self._images.get(task.image, self._config.pull, stop)
                image_id, identity = image.id, self._identity(image.id, stop)
                plan = self._plan(invocation, image.id, stop)
                has_home = image.has_home or self._contents.has_home(image.id, self._labels, stop)
                with task_container(
                    self._engine,
                    self._config,
                    self._labels,
                    invocation=invocation,
                    image=image,
                    has_home=has_home,
                    plan=plan,
                    stop=stop,
                ) as container:
                    report(EventKind.CONTAINER_CREATE)
                    before = {
                        path: self._contents.status(container, path, stop)
                        for path in plan.copied_out
                    }
                    kills = oom_kills()
                    with OutputFiles(invocation.log, invocation.stdout) as output:
                        ended = self._execute(container, invocation, output, cancellation, report)
                    oom_seconds = 0.0 if oom_kills() == kills else BUSY_OOM_SECONDS
                    ended = self._explain(container, task, ended, oom_seconds, stop)
                    if not stop():
                        self._files.copy_results(container, invocation, plan, before, stop)
            except (Interrupted, Stopped):
                ended = Exit(_TERMINATED, "cancelled")
        return replace(ended, image_id=image_id, identity=identity)

    def resume(
        self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent
    ) -> Exit:
        """Resume a Task's container and return its `Exit`; see `Runtime.resume`."""
        task, stop = invocation.task, _stopped_by(cancellation)
        container, image = container_name(task.id), None
        kills = oom_kills()
        with _failures_of(task):
            try:
                if stop():
                    raise Interrupted
                image = self._engine.image_of(container, stop)
                plan = self._plan(invocation, image, stop)
                with OutputFiles(invocation.log, invocation.stdout, anew=True) as output:
                    began = self._engine.started_at(container, stop)
                    if began is None:  # made, and never started
                        ended = self._execute(container, invocation, output, cancellation, report)
                    else:
                        elapsed = time.time() - began
                        ended = self._follow_running(
                            container, invocation, output, cancellation, elapsed
                        )
                        report(EventKind.EXECUTION_COMPLETE)
                        report(EventKind.CONTAINER_EXIT, code=ended.code)
                oom_seconds = OOM_SECONDS if oom_kills() == kills else BUSY_OOM_SECONDS
                ended = self._explain(container, task, ended, oom_seconds, stop)
                if not stop():
                    before = self._contents.in_image(image, plan.copied_out, self._labels, stop)
                    self._files.copy_results(container, invocation, plan, before, stop)
            except (Interrupted, Stopped):
                ended = Exit(_TERMINATED, "cancelled")
            finally:
                self.end(task.id)
        return replace(ended, image_id=image)

    def _plan(self, invocation: Invocation, image: str, stop: Callable[[], bool]) -> MountPlan:
        return self._files.plan(invocation, self.mounts_inputs, image, self._labels, stop)

    def _explain(
        self, container: str, task: Task, ended: Exit, oom_seconds: float, stop: Callable[[], bool]
    ) -> Exit:
        limit = memory_limit(task, self._config)
        return explain_exit(
            self._engine, container, ended, limit=limit, oom_seconds=oom_seconds, stop=stop
        )

    def _execute(
        self,
        container: str,
        invocation: Invocation,
        output: OutputFiles,
        cancellation: Cancellation,
        report: ReportEvent,
    ) -> Exit:
        """Start the container, and follow it to its end."""
        task, stop = invocation.task, _stopped_by(cancellation)
        meter = ContainerMeter(self._meters, container, invocation.sampled)
        signals = Signals(lambda signal: self._signal(container, signal))
        if stop():
            raise Interrupted
        report(EventKind.EXECUTION_START)
        message = None
        try:
            # Attached before the start: so no output is missed, and stdout and stderr are separate.
            with (
                self._engine.follow_output(container, past=False, stop=stop) as live,
                cancellation.stopping(
                    signals.terminate,
                    signals.kill,
                    task.timeout,
                    lambda: self._engine.has_ended(container),
                ),
            ):
                if signals.start(lambda: self._start(container, stop)):
                    with meter.measuring():
                        code = self._follow(container, live, output, stop)
                    ended = code, output.head
                    code, message = self._start_errors.after_exit(container, task, ended, stop)
                else:
                    code = _TERMINATED
        except Interrupted:  # its end is unknown: it is killed when it is removed
            code = KILLED
        except Refusal as refusal:  # of the start; Podman looks for the program when we attach
            code, message = self._start_errors.after_refusal(container, task, refusal, stop)
        report(EventKind.EXECUTION_COMPLETE)
        report(EventKind.CONTAINER_EXIT, code=code)
        return Exit(code, message, usage=meter.usage())

    def _start(self, container: str, stop: Callable[[], bool]) -> None:
        tried = False

        def start(client: APIClient) -> None:
            nonlocal tried
            # The answer got lost: a start after the program's end would run it twice.
            if tried and client.inspect_container(container)["State"]["Status"] != "created":
                return
            tried = True
            client.start(container)

        self._engine.ask(start, stop)

    def _follow(
        self, container: str, live: LiveOutput, output: OutputFiles, stop: Callable[[], bool]
    ) -> int:
        """Write the output of a container until it ends, and return its exit code.

        If the connection breaks, the engine's own log is read from its start: the stream until then
        is no prefix of it, since stdout and stderr may be interleaved differently there.
        """
        try:
            frames, ended = live
            output.write(frames)
            silent = monotonic()
            code = ended()
            if monotonic() - silent < _CONTAINER_EXIT_SECONDS:
                return code
            lost = NoAnswer("its output ended long before it did")
        except NoAnswer as no_answer:
            lost = no_answer
        return self._follow_from_start(container, output, stop, lost)

    def _follow_running(
        self,
        container: str,
        invocation: Invocation,
        output: OutputFiles,
        cancellation: Cancellation,
        elapsed: float,
    ) -> Exit:
        """Follow a container that began `elapsed` seconds ago to its end."""
        meter = ContainerMeter(self._meters, container, invocation.sampled)
        signals = Signals(lambda signal: self._signal(container, signal))
        with cancellation.stopping(
            signals.terminate,
            signals.kill,
            max(0.0, invocation.task.timeout - elapsed),
            lambda: self._engine.has_ended(container),
        ):
            signals.start(lambda: None)
            stop = _stopped_by(cancellation)
            try:
                with meter.measuring():
                    code = self._follow_from_start(container, output, stop, None)
            except Interrupted:
                code = KILLED
        return Exit(code, usage=meter.usage())

    def _follow_from_start(
        self, container: str, output: OutputFiles, stop: Callable[[], bool], lost: NoAnswer | None
    ) -> int:
        """Read the log from its start until the container ends; again after a lost connection."""
        for tries in range(_READ_TRIES):
            if lost is not None:
                logger.warning(
                    "container %s: lost the engine (%s); reading its log again", container, lost
                )
            self._engine.pause(tries / 2, stop)
            try:
                with self._engine.follow_output(container, past=True, stop=stop) as (frames, ended):
                    output.rewrite(frames)
                    code = ended()
                # Read once more: an engine that follows its log may miss the last lines.
                with self._engine.logged_output(container, stop) as frames:
                    output.rewrite(frames)
                return code
            except NoAnswer as no_answer:
                lost = no_answer
        assert lost is not None
        raise lost

    def _signal(self, container: str, signal: str) -> None:
        try:
            # Only SIGKILL is tried again: the thread that sends it serves all timeouts.
            self._engine.ask(lambda client: client.kill(container, signal), retry=signal == "KILL")
        except (Refusal, NoAnswer, Interrupted, Closed) as error:
            # 404, 409: it has ended by itself.
            if not (isinstance(error, Refusal) and error.status in (404, 409)):
                logger.warning(
                    "container %s: SIG%s could not be sent: %s", container, signal, error
                )


def _stopped_by(cancellation: Cancellation) -> Callable[[], bool]:
    """The `stop` of requests to the engine: whether the run was cancelled."""
    return lambda: cancellation.reason is not None


def _failures_of(task: Task) -> contextlib.AbstractContextManager[None]:
    where = f"workflow {task.workflow!r}, Step {task.name!r}"
    return runtime_failures(f"{where}: no run in image {task.image!r}")

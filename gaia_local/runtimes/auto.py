"""The runtime `auto`: chooses between containers and local processes, image by image."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from typing import Protocol

from gaia_local.errors import EngineUnavailable
from gaia_local.model.tasks import Task
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, ReportEvent, Runtime

logger = logging.getLogger("gaia_local")


class ImageRuntime(Runtime, Protocol):
    """A runtime that knows whether it has an image: the interface of the Docker runtime."""

    def available(self, image: str) -> bool:
        """Whether `image` is there or could be pulled now. May take as long as a pull."""
        ...


class AutoRuntime:
    """Runs a Task in a container if the engine has or can pull the image, else as a process.

    Invariant: the choice for an image stays, so that all Tasks of one Command run in the same way;
    each choice of processes is logged with its reason, once for the engine and once for an image.
    """

    name = "auto"
    outlives_engine = True
    mounts_inputs = False  # the same for both runtimes: processes need copies

    def __init__(self, docker_runtime: ImageRuntime, process_runtime: Runtime) -> None:
        self._docker, self._process = docker_runtime, process_runtime
        self._lock = threading.Lock()
        self._chosen: dict[str, Runtime] = {}
        self._choosing: dict[str, threading.Lock] = {}
        self._engine: bool | None = None
        self._engine_lock = threading.Lock()

    def check(self, images: Collection[str]) -> None:
        """Raise `EngineUnavailable` only for images whose Steps must run in containers."""
        chosen = [image for image in images if self._chosen.get(image) is self._docker]
        if chosen:
            self._docker.check(chosen)

    def image_id(self, image: str) -> str | None:
        """As `Runtime.image_id`; None for an image whose Steps run as processes."""
        if self._engine is False or self._chosen.get(image) is self._process:
            return None
        return self._docker.image_id(image)

    def identity(self, task: Task, age: float = 0.0) -> str | None:
        """That of the runtime which runs the Task: it is chosen now, if it wasn't yet."""
        return self._runtime(task.image).identity(task, age)

    def choice(self, image: str) -> str:
        """The name of the runtime that runs Tasks of this image: it is chosen now."""
        return self._runtime(image).name

    def resumable_tasks(self) -> Collection[str]:
        """The Tasks that have a container, if an engine answers."""
        return self._docker.resumable_tasks() if self._engine_answers() else ()

    def gpus_of(self, task_id: str) -> Collection[str]:
        """The GPUs of a Task's container."""
        return self._docker.gpus_of(task_id)

    def end(self, task_id: str) -> None:
        """End the container of a Task, if an engine answers."""
        if self._engine_answers():
            self._docker.end(task_id)

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        """Run the command with the runtime chosen for its image."""
        return self._runtime(invocation.task.image).run(invocation, cancellation, report)

    def resume(
        self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent
    ) -> Exit:
        """Resume a container, also if the choice for its image is another now."""
        return self._docker.resume(invocation, cancellation, report)

    def close(self) -> None:
        """Close both runtimes."""
        try:
            self._docker.close()
        finally:
            self._process.close()

    def _runtime(self, image: str) -> Runtime:
        chosen = self._chosen.get(image)
        if chosen is None:
            with self._lock:
                choosing = self._choosing.setdefault(image, threading.Lock())
            # A lock for each image: one that is pulled for minutes delays no other.
            with choosing:
                chosen = self._chosen.get(image)
                if chosen is None:
                    chosen = self._chosen[image] = self._choose(image)
        return chosen

    def _choose(self, image: str) -> Runtime:
        if not self._engine_answers():
            return self._process
        try:
            if self._docker.available(image):
                return self._docker
        except EngineUnavailable as error:  # it answered a moment ago
            self._lose_engine(error)
            return self._process
        logger.warning(
            "image %r is not there and can't be pulled: its Steps run as local processes", image
        )
        return self._process

    def _engine_answers(self) -> bool:
        with self._engine_lock:
            if self._engine is None:
                try:
                    self._docker.check(())
                    self._engine = True
                except EngineUnavailable as error:
                    self._without_engine(error)
            return self._engine is True

    def _lose_engine(self, error: EngineUnavailable) -> None:
        with self._engine_lock:
            if self._engine:
                self._without_engine(error)

    def _without_engine(self, error: EngineUnavailable) -> None:
        self._engine = False
        logger.warning("%s: Steps run as local processes", str(error).rstrip("."))

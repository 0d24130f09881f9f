"""The settings of one engine's session on a cluster, and the runner of its Tasks there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gaia_local.config import Config, DockerConfig
from gaia_local.executors.contract import Observer
from gaia_local.executors.worker import Worker
from gaia_local.model.assignment import Assignment
from gaia_local.runtimes.choice import make_runtime
from gaia_local.runtimes.contract import Cancellation, Root
from gaia_local.store.storage import Storage
from gaia_local.store.workspaces import LeasedWorkspace


class TaskRunner(Protocol):
    """Performs the Tasks of one session."""

    tops: tuple[Path, ...]
    """The root and the mapped buckets, as this machine sees them."""

    def perform(
        self, assignment: Assignment, cancellation: Cancellation, observer: Observer
    ) -> None:
        """See `worker.Worker.perform`."""

    def end(self, task_id: str) -> None:
        """End a dead process's leftovers of a Task outside its private directory."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True)
class SessionSettings:
    """The settings that an engine sends to its workers. Paths are as the workers see them."""

    session: str
    topic: str
    """Of the messages to the engine."""
    engine_root: Root
    """The root as the engine's machine has it."""
    root: str
    buckets: tuple[tuple[str, str], ...] = ()
    runtime: str = "process"
    docker: DockerConfig = field(default_factory=DockerConfig)
    scratch: str | None = None

    def task_runner(self, directory: Path) -> TaskRunner:
        """A runner of Tasks, with private directories under `directory`."""
        return _WorkerTaskRunner(self, directory)


class _WorkerTaskRunner:
    """A `Worker` with the storage and the runtime that the engine's configuration asks for."""

    def __init__(self, settings: SessionSettings, directory: Path) -> None:
        root = Path(settings.root).resolve()
        buckets = {name: Path(path).resolve() for name, path in settings.buckets}
        self.tops = (root, *buckets.values())
        # The engine, which looks for results, doesn't know the environments of workers.
        self._runtime = make_runtime(
            settings.runtime, settings.docker, settings.engine_root, environment_counts=False
        )
        workspace = LeasedWorkspace(Storage(root, buckets), directory)
        self.perform = Worker(workspace, self._runtime).perform

    def end(self, task_id: str) -> None:
        self._runtime.end(task_id)

    def close(self) -> None:
        self._runtime.close()


def path_on_workers(path: Path, path_map: Mapping[str, str]) -> str:
    """A path of this machine as the workers see it, by the map's longest entry that contains it."""
    around = [entry for entry in path_map if path.is_relative_to(entry)]
    if not around:
        return str(path)
    entry = max(around, key=len)
    return str(Path(path_map[entry]) / path.relative_to(entry))


def settings_for(config: Config, root: Root) -> SessionSettings:
    """The settings for an engine with this configuration; the connection adds the session."""
    return SessionSettings(
        session="",
        topic="",
        engine_root=root,
        root=path_on_workers(config.root, config.dask.path_map),
        buckets=tuple(
            (name, path_on_workers(path, config.dask.path_map))
            for name, path in config.buckets.items()
        ),
        runtime=config.runtime,
        docker=config.docker,
        scratch=config.dask.scratch,
    )

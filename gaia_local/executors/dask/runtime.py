"""The engine's view of the runtimes that the workers of a cluster have."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection

from gaia_local.executors.dask.cluster import Cluster
from gaia_local.model.tasks import Task
from gaia_local.runtimes.contract import (
    Cancellation,
    Exit,
    Invocation,
    ReportEvent,
    Runtime,
)


class ClusterRuntime:
    """Checks the cluster and closes it. Implements `Runtime`, but runs nothing in this process."""

    name = "dask"
    outlives_engine = False
    mounts_inputs = False

    def __init__(self, cluster: Cluster, local: Callable[[], Runtime]) -> None:
        """`local` makes the runtime that a worker on this machine would have."""
        self._cluster, self._local = cluster, functools.cache(local)

    def check(self, images: Collection[str]) -> None:
        """Raise `EngineUnavailable` if no scheduler answers, or a worker has another version."""
        self._cluster.check()

    def image_id(self, image: str) -> str | None:
        """None: each worker's machine may have another image of that name."""
        return None

    def identity(self, task: Task, age: float = 0.0) -> str | None:
        """As for a run on this machine: another worker's program or image may be another one."""
        return self._local().identity(task, age)

    def resumable_tasks(self) -> Collection[str]:
        """None: Tasks of an earlier engine end on the workers when the next one connects."""
        return ()

    def gpus_of(self, task_id: str) -> Collection[str]:
        """None: no Task is ever resumable."""
        return ()

    def end(self, task_id: str) -> None:
        """Nothing is left on this machine."""

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        """Never called: the workers have runtimes of their own."""
        raise NotImplementedError

    def resume(
        self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent
    ) -> Exit:
        """Never called: no Task is ever resumable."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the cluster."""
        self._cluster.close()
        if self._local.cache_info().currsize:
            self._local().close()

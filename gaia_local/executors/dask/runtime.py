"""The engine's view of the runtimes that the workers of a cluster have."""

from __future__ import annotations

from collections.abc import Collection

from gaia_local.executors.dask.cluster import Cluster
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, ReportEvent


class ClusterRuntime:
    """Checks the cluster and closes it. Implements `Runtime`, but runs nothing in this process."""

    name = "dask"
    outlives_engine = False
    mounts_inputs = False

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def check(self, images: Collection[str]) -> None:
        """Raise `EngineUnavailable` if no scheduler answers, or a worker has another version."""
        self._cluster.check()

    def image_id(self, image: str) -> str | None:
        """None: each worker's machine may have another image of that name."""
        return None

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

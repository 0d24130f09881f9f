"""The Dask executor: the contract, and its own behaviour, on a cluster in this process."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from distributed import LocalCluster

from gaia_local.config import DaskConfig, DockerConfig
from gaia_local.executors.contract import Observer
from gaia_local.executors.dask.cluster import Cluster
from gaia_local.executors.dask.executor import DaskExecutor
from gaia_local.executors.dask.settings import SessionSettings
from gaia_local.executors.threads import Perform
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import EventKind
from gaia_local.model.tasks import TaskState
from gaia_local.runtimes.contract import Cancellation, Root
from gaia_local.store.storage import Storage
from support.executors import (
    PATIENCE,
    ExecutorBench,
    ExecutorContract,
    HeldAct,
    ReportingObserver,
    event,
    task_named,
)
from support.waiting import wait_until

PERFORMS: dict[str, Perform] = {}
"""The acts of this process's workers, for each executor that a test makes."""


PATIENT = DockerConfig(stop_grace=600)
"""Nothing is killed unless it is asked for."""


class ActingTaskRunner:
    """Performs a test's act instead of running a program."""

    def __init__(self, root: str) -> None:
        self.tops: tuple[Path, ...] = (Path(root),)
        self._act = PERFORMS[root]

    def perform(
        self, assignment: Assignment, cancellation: Cancellation, observer: Observer
    ) -> None:
        self._act(assignment, cancellation, observer)

    def end(self, task_id: str) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class ActingSettings(SessionSettings):
    """Settings of workers that perform a test's acts."""

    def task_runner(self, directory: Path) -> ActingTaskRunner:
        return ActingTaskRunner(self.root)


@pytest.fixture(scope="module")
def here() -> Iterator[LocalCluster]:
    """A cluster whose two workers of two threads each are in this process."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=False,
        protocol="inproc://",
        dashboard_address=":0",
        scheduler_kwargs={"dashboard": False},
    ) as cluster:
        yield cluster


class TestDaskExecutor(ExecutorContract):
    """The contract, and this executor's own behaviour."""

    repeat = 2
    many = 200

    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path, here: LocalCluster) -> Iterator[None]:
        self.top, self.address, self.numbers = tmp_path, here.scheduler_address, itertools.count()
        self.clusters: list[Cluster] = []
        self.scheduler = here.scheduler
        yield
        for cluster in self.clusters:
            cluster.close()
        assert not list(tmp_path.glob("*/staging/*"))
        assert not list(tmp_path.glob("scratch/*"))

    def make(self, workers: int | None, perform: Perform) -> DaskExecutor:
        root = self.top / str(next(self.numbers))
        PERFORMS[str(root)] = perform
        storage = Storage(root, {})
        storage.create()
        settings = ActingSettings(
            "",
            "",
            Root(str(root), str(root)),
            str(root),
            docker=PATIENT,
            scratch=str(self.top / "scratch"),
        )
        cluster = Cluster(DaskConfig(address=self.address), settings)
        self.clusters.append(cluster)
        executor = DaskExecutor(cluster, storage, workers, 2)
        cluster.check()
        return executor

    @pytest.mark.parametrize("first", ["cancel", "kill_now"])
    def test_kill_now_ends_cancelled_tasks_and_those_cancelled_later(
        self, single: ExecutorBench, first: str
    ) -> None:
        def stubborn(of: Assignment, cancellation: Cancellation, observer: Observer) -> None:
            killed = threading.Event()
            with cancellation.stopping(lambda: None, killed.set, 600, lambda: False):
                observer.happened(of.task, event(of.task, EventKind.EXECUTION_START))
                assert killed.wait(PATIENCE)
            observer.ended(of.task, Outcome(TaskState.CANCELLED))

        single.submit("a", stubborn)
        single.until(lambda: single.heard["a"])
        steps = [lambda: single.executor.cancel("id-a"), single.executor.kill_now]
        for step in steps if first == "cancel" else reversed(steps):
            step()
        assert single.ended("a") == [TaskState.CANCELLED]

    def test_without_a_connection_tasks_are_interrupted(self, bench: ExecutorBench) -> None:
        for cluster in self.clusters:
            cluster.disconnect()
        bench.submit("a")
        assert bench.ended("a") == [TaskState.INTERRUPTED]
        assert bench.performed == []
        for cluster in self.clusters:
            cluster.check()
        bench.submit("b")
        assert bench.ended("b") == [TaskState.COMPLETE]

    def test_a_small_workflow_does_not_wait_for_a_large_one(self) -> None:
        """Dask has many Tasks of the large one already, and those are deeper."""
        bench = ExecutorBench(lambda workers, perform: self.make(None, perform))
        gates = {name: HeldAct() for name in ("large", "wide")}
        for number in range(300):
            self.submit(bench, f"large{number}", (-10, number), gates["large"])
        bench.until(lambda: len(bench.performed) == 4)
        for number in range(40):
            self.submit(bench, f"wide{number}", (-1, number), gates["wide"])
        self.submit(bench, "small0", (0, 0))
        leased = vars(bench.executor)["_leased"]
        wait_until(lambda: len({each.task.workflow for each in [*leased.values()]}) == 3)
        for gate in gates.values():
            gate.open.set()
        bench.ended(*(f"wide{number}" for number in range(40)))
        assert bench.performed.index("small0") < 20
        assert len(bench.performed) < 200
        bench.executor.close()

    def test_the_deepest_of_one_workflow_goes_before_what_dask_has(self) -> None:
        bench = ExecutorBench(lambda workers, perform: self.make(None, perform))
        gate = HeldAct()
        for number in range(100):
            self.submit(bench, f"w{number}", (-1, number), gate)
        bench.until(lambda: len(bench.performed) == 4)
        self.submit(bench, "w100", (-2, 0))
        for number in range(4, 20):
            bench.executor.cancel(f"id-w{number}")  # there is room for more
        self.reaches_dask(bench, "w100")
        gate.open.set()
        bench.ended("w100")
        assert bench.performed.index("w100") < 12
        bench.executor.close()

    def reaches_dask(self, bench: ExecutorBench, name: str) -> None:
        """Wait until the cluster's scheduler knows the Task: then its priority counts."""
        leased = vars(bench.executor)["_leased"]

        def reached() -> bool:
            leases = [lease for lease, each in [*leased.items()] if each.task.name == name]
            return any(key[-1] in leases for key in [*self.scheduler.tasks])

        wait_until(reached)

    def submit(
        self,
        bench: ExecutorBench,
        name: str,
        rank: tuple[int, int],
        act: Perform | None = None,
    ) -> None:
        if act is not None:
            bench.acts[name] = act
        made = task_named(name, workflow=name.rstrip("0123456789"))
        bench.executor.submit(Assignment(made, rank), ReportingObserver(bench.report))

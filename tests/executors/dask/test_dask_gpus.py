"""GPUs on a cluster: no two Tasks of one machine have the same, and none waits for ever."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gaia_local.executors.dask import session as session_module
from gaia_local.executors.dask.gpus import LockedGpus
from gaia_local.executors.dask.session import Session
from gaia_local.executors.dask.settings import SessionSettings
from gaia_local.model.assignment import Assignment
from gaia_local.model.resources import Resources
from gaia_local.runtimes.contract import Cancellation, Root
from gaia_local.store.leases import Leases
from gaia_local.store.storage import Storage
from support.builders import task
from support.waiting import wait_until


def never() -> bool:
    return False


def test_each_has_others(tmp_path: Path) -> None:
    workers = [LockedGpus(tmp_path / "gpus", ("0", "1")) for _ in range(2)]
    with workers[0].taken(1, never) as first, workers[1].taken(1, never) as second:
        assert (first, second) == (("0",), ("1",))
    with workers[1].taken(2, never) as both:
        assert both == ("0", "1")


def test_they_are_waited_for_until_the_task_is_cancelled(tmp_path: Path) -> None:
    gpus = LockedGpus(tmp_path, ("0", "1"))
    with gpus.taken(1, never) as first:
        stops = iter([False, False, True])
        with gpus.taken(2, lambda: next(stops)) as second:
            assert (first, second, list(stops)) == (("0",), (), [])
        with gpus.taken(1, never) as third:  # nothing is left of it
            assert third == ("1",)


@pytest.mark.parametrize("count", [None, 3])
def test_none_are_chosen_where_none_or_more_than_are_known_are_wanted(
    tmp_path: Path, count: int | None
) -> None:
    with LockedGpus(tmp_path, ("0", "1")).taken(count, never) as gpus:
        assert gpus == ()


def test_many_take_them_in_turn(tmp_path: Path) -> None:
    workers = [LockedGpus(tmp_path, ("0", "1", "2")) for _ in range(3)]
    lock, at_once = threading.Lock(), set[str]()

    def take(number: int) -> int:
        count = random.Random(number).randint(1, 3)
        with workers[number % 3].taken(count, never) as gpus:
            with lock:
                assert at_once.isdisjoint(gpus)
                at_once.update(gpus)
            time.sleep(0.001)
            with lock:
                at_once.difference_update(gpus)
            assert len(gpus) == count
        return count

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(take, range(30))) >= 30


def test_those_of_another_job_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch system gives each job devices of its own, and numbers them from 0."""
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    one = LockedGpus(tmp_path, ("0",))
    monkeypatch.setenv("SLURM_JOB_ID", "2")
    other = LockedGpus(tmp_path, ("0",))
    with one.taken(1, never) as first, other.taken(1, never) as second:
        assert first == second == ("0",)


def test_those_of_a_dead_process_are_free(tmp_path: Path) -> None:
    program = f"""
import pathlib, time
from gaia_local.executors.dask.gpus import LockedGpus
with LockedGpus(pathlib.Path({str(tmp_path)!r}), ("0",)).taken(1, lambda: False):
    print("taken", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        gpus, stops = LockedGpus(tmp_path, ("0",)), iter([False, True])
        with gpus.taken(1, lambda: next(stops)) as taken:
            assert taken == ()
        process.kill()
        process.wait()
    with gpus.taken(1, never) as taken:
        assert taken == ("0",)


class _Host:
    address = "worker"

    def log_event(self, topic: str, message: object, /) -> None:
        """Nobody listens."""


class _Runner:
    """Performs Tasks until the test lets them end, and notes their GPUs."""

    def __init__(self, root: Path) -> None:
        self.tops = (root,)
        self.seen: dict[str, tuple[str, ...]] = {}
        self.go_on = threading.Event()

    def perform(self, assignment: Assignment, cancellation: Cancellation, observer: object) -> None:
        self.seen[assignment.task.name] = assignment.gpus
        while cancellation.reason is None and not self.go_on.wait(0.01):
            pass

    def close(self) -> None:
        """Nothing is open."""


def test_tasks_of_one_worker_have_gpus_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "visible_gpus", lambda: ("0", "1"))
    storage = Storage(tmp_path / "root", {})
    storage.create()
    runner, leases = _Runner(tmp_path / "root"), Leases(storage)
    monkeypatch.setattr(SessionSettings, "task_runner", lambda self, directory: runner)
    session = Session(
        SessionSettings("session", "topic", Root("root", "id"), str(tmp_path / "root")),
        tmp_path / "b",
    )

    def perform(name: str) -> None:
        made = task(name, id=f"id-{name}", resources=Resources(gpus=1))
        leases.make(made.id, made)
        session.perform(_Host(), made.id, Assignment(made))

    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(perform, name) for name in "ab"]
        wait_until(lambda: len(runner.seen) == 2)
        assert set(runner.seen.values()) == {("0",), ("1",)}
        waiting = pool.submit(perform, "c")
        wait_until(lambda: "id-c" in session._runs)
        session.cancel(["id-c"])  # it waits for one of them
        waiting.result(10)
        assert runner.seen["c"] == ()
        runner.go_on.set()
        for future in running:
            future.result(10)
    session.close()

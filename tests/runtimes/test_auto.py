"""The runtime `auto`: its choices for images, its questions to the engine, and its log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import pytest

from gaia_local.errors import EngineUnavailable, RuntimeFailure
from gaia_local.model.events import EventKind
from gaia_local.model.tasks import BY_REQUEST, Task
from gaia_local.runtimes.auto import AutoRuntime, ImageRuntime
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, ReportEvent, Runtime
from gaia_local.store.file_work import UNTOLD
from support.builders import task
from support.fakes import NoRuntime


class FakeProcess(NoRuntime):
    """Records its runs."""

    name = "process"

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.resumed: list[str] = []
        self.closed = 0

    def check(self, images: Collection[str]) -> None:
        raise AssertionError("processes can always be run")

    def end(self, task_id: str) -> None:
        raise AssertionError("processes leave nothing to end")

    def run(self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent) -> Exit:
        self.ran.append(invocation.task.image)
        report(EventKind.CONTAINER_EXIT, code=0)
        return Exit(0, f"{self.name}, {cancellation.reason}")

    def resume(
        self, invocation: Invocation, cancellation: Cancellation, report: ReportEvent
    ) -> Exit:
        self.resumed.append(invocation.task.image)
        report(EventKind.CONTAINER_EXIT, code=0)
        return Exit(0, f"{self.name}, {cancellation.reason}")

    def close(self) -> None:
        self.closed += 1


class FakeDocker(FakeProcess):
    """An engine that has the images `there`; with `engine` False, none."""

    name = "docker"
    mounts_inputs = True

    def __init__(self, *there: str, engine: bool = True) -> None:
        super().__init__()
        self.there, self.engine = there, engine
        self.asked: list[str] = []
        self.checked: list[list[str]] = []
        self.ended: list[str] = []

    def check(self, images: Collection[str]) -> None:
        self.checked.append(list(images))
        if not self.engine:
            raise EngineUnavailable("no Docker engine at unix:///var/run/docker.sock.")

    def available(self, image: str) -> bool:
        self.asked.append(image)
        return image in self.there

    def identity(self, task: Task, age: float = 0.0) -> str | None:
        return f"sha256:{task.image}"

    def image_id(self, image: str) -> str | None:
        return f"sha256:{image}"

    def resumable_tasks(self) -> Collection[str]:
        return ["task-1"]

    def end(self, task_id: str) -> None:
        self.ended.append(task_id)


def invocation(image: str) -> Invocation:
    paths = "/tree", "/work", "/log"
    return Invocation(task(image=image), *paths, None, file_work=UNTOLD)


def run(runtime: Runtime, image: str) -> str:
    return outcome(runtime.run, image)


def outcome(act: Callable[[Invocation, Cancellation, ReportEvent], Exit], image: str) -> str:
    """Which runtime did it."""
    events: list[str] = []
    cancellation = Cancellation(lambda seconds, function: lambda: None)
    cancellation.cancel(BY_REQUEST)
    ended = act(invocation(image), cancellation, lambda event, /, **facts: events.append(event))
    assert events == ["container-exit"]
    chosen, _, reason = str(ended.message).partition(", ")
    assert reason == BY_REQUEST
    return chosen


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_auto_runtime_copies_inputs() -> None:
    docker: ImageRuntime = FakeDocker()
    runtime: Runtime = AutoRuntime(docker, FakeProcess())
    assert (runtime.name, runtime.mounts_inputs) == ("auto", False)


def test_each_image_is_decided_once(caplog: pytest.LogCaptureFixture) -> None:
    docker, process = FakeDocker("there"), FakeProcess()
    runtime = AutoRuntime(docker, process)
    assert [run(runtime, image) for image in ("there", "gone", "there", "gone")] == [
        "docker",
        "process",
        "docker",
        "process",
    ]
    assert (docker.ran, process.ran) == (["there"] * 2, ["gone"] * 2)
    assert docker.asked == ["there", "gone"]
    assert docker.checked == [[]]
    assert warnings(caplog) == [
        "image 'gone' is not there and can't be pulled: its Steps run as local processes"
    ]


def test_a_choice_stays_when_the_image_comes_and_goes() -> None:
    docker = FakeDocker("there")
    runtime = AutoRuntime(docker, FakeProcess())
    assert (run(runtime, "there"), run(runtime, "gone")) == ("docker", "process")
    docker.there = ("gone",)
    assert (run(runtime, "there"), run(runtime, "gone")) == ("docker", "process")


def test_without_an_engine_all_are_processes(caplog: pytest.LogCaptureFixture) -> None:
    docker = FakeDocker("there", engine=False)
    runtime = AutoRuntime(docker, FakeProcess())
    assert {run(runtime, image) for image in ("there", "gone", "there", "third")} == {"process"}
    assert docker.asked == []
    assert docker.checked == [[]]
    assert warnings(caplog) == [
        "no Docker engine at unix:///var/run/docker.sock: Steps run as local processes"
    ]


def test_an_engine_that_vanishes_between_two_images(caplog: pytest.LogCaptureFixture) -> None:
    class Vanishing(FakeDocker):
        def available(self, image: str) -> bool:
            if image != "there":
                raise EngineUnavailable("no Docker engine at tcp://gone:2375")
            return super().available(image)

    runtime = AutoRuntime(Vanishing("there"), FakeProcess())
    assert [run(runtime, image) for image in ("there", "second", "third", "there")] == [
        "docker",
        "process",
        "process",
        "docker",
    ]
    assert warnings(caplog) == ["no Docker engine at tcp://gone:2375: Steps run as local processes"]


def test_a_failed_choice_is_made_again() -> None:
    class Failing(FakeDocker):
        def available(self, image: str) -> bool:
            self.asked.append(image)
            if len(self.asked) == 1:
                raise RuntimeFailure("the disk is full")
            return True

    runtime = AutoRuntime(Failing(), FakeProcess())
    with pytest.raises(RuntimeFailure):
        run(runtime, "image")
    assert run(runtime, "image") == "docker"


def test_check_asks_only_for_what_must_run_in_containers() -> None:
    docker = FakeDocker("there")
    runtime = AutoRuntime(docker, FakeProcess())
    runtime.check(["there", "gone"])
    assert docker.checked == []
    run(runtime, "there")
    run(runtime, "gone")
    docker.checked.clear()
    docker.engine = False
    runtime.check(["gone", "new"])
    with pytest.raises(EngineUnavailable):
        runtime.check(["gone", "there", "new"])
    assert docker.checked == [["there"]]


def test_image_ids_are_those_of_containers() -> None:
    runtime = AutoRuntime(FakeDocker("there"), FakeProcess())
    assert (runtime.image_id("there"), runtime.image_id("gone")) == ("sha256:there", "sha256:gone")
    run(runtime, "there")
    run(runtime, "gone")
    assert (runtime.image_id("there"), runtime.image_id("gone")) == ("sha256:there", None)


def test_without_an_engine_there_are_no_image_ids() -> None:
    runtime = AutoRuntime(FakeDocker(engine=False), FakeProcess())
    run(runtime, "there")
    assert runtime.image_id("other") is None


def test_resumable_tasks_are_containers(caplog: pytest.LogCaptureFixture) -> None:
    docker = FakeDocker(engine=True)
    runtime = AutoRuntime(docker, FakeProcess())
    assert list(runtime.resumable_tasks()) == ["task-1"]
    assert outcome(runtime.resume, "gone") == "docker"
    assert (docker.ran, docker.resumed, docker.asked) == ([], ["gone"], [])
    runtime.end("task-1")
    assert docker.ended == ["task-1"]
    assert warnings(caplog) == []


def test_without_an_engine_nothing_is_left(caplog: pytest.LogCaptureFixture) -> None:
    docker = FakeDocker(engine=False)
    runtime = AutoRuntime(docker, FakeProcess())
    assert not runtime.resumable_tasks()
    runtime.end("task-1")
    assert docker.ended == []
    assert len(warnings(caplog)) == 1


def test_close_closes_both_whatever_happens() -> None:
    class Failing(FakeDocker):
        def close(self) -> None:
            raise RuntimeFailure("no")

    docker, process = FakeDocker(), FakeProcess()
    runtime = AutoRuntime(docker, process)
    runtime.close()
    runtime.close()
    assert (docker.closed, process.closed) == (2, 2)
    with pytest.raises(RuntimeFailure):
        AutoRuntime(Failing(), process).close()
    assert process.closed == 3


def test_many_threads_decide_once(caplog: pytest.LogCaptureFixture) -> None:
    docker = FakeDocker("even")
    runtime = AutoRuntime(docker, FakeProcess())
    together = threading.Barrier(8, timeout=20)

    def one(number: int) -> str:
        together.wait()
        return run(runtime, "odd" if number % 2 else "even")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(8))) == ["docker", "process"] * 4
    assert sorted(docker.asked) == ["even", "odd"]
    assert docker.checked == [[]]
    assert len(warnings(caplog)) == 1


def test_a_long_pull_holds_up_no_other_image() -> None:
    pulling, pulled = threading.Event(), threading.Event()

    class Slow(FakeDocker):
        def available(self, image: str) -> bool:
            if image == "slow":
                pulling.set()
                assert pulled.wait(20)
            return super().available(image)

    runtime = AutoRuntime(Slow("slow", "quick"), FakeProcess())
    with ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(run, runtime, "slow") for _ in range(2)]
        assert pulling.wait(20)
        assert run(runtime, "quick") == "docker"
        assert not any(future.done() for future in slow)
        pulled.set()
        assert [future.result() for future in slow] == ["docker", "docker"]

"""Containers that an earlier process left: they are taken up, ended, or refused."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import docker
import docker.errors
import pytest

from gaia_local.config import DockerConfig
from gaia_local.errors import RuntimeFailure
from gaia_local.model.tasks import BY_REQUEST, BY_TIMEOUT
from gaia_local.runtimes.contract import Root
from gaia_local.runtimes.docker.runtime import DockerRuntime
from support.containers import ContainerBench, Run, bench, client, full_image

__all__ = ["bench", "client", "full_image"]


def left_behind(bench: ContainerBench, client: docker.APIClient, run: Run) -> str:
    """The container of a run that an earlier process made and did not start; answers its id."""
    task = run.invocation.task
    made: str = client.create_container(
        task.image,
        list(task.command),
        name=f"gaia-local-{task.id}",
        labels={
            "gaia-local.root": bench.root.path,
            "gaia-local.root-id": bench.root.identity,
            "gaia-local.task": task.id,
        },
    )["Id"]
    assert list(bench.runtime.resumable_tasks()) == [task.id]
    return made


def resume(bench: ContainerBench, run: Run) -> Run:
    run.exit = bench.runtime.resume(run.invocation, run.cancellation, run.report)
    return run


@pytest.mark.parametrize("over", [False, True])
def test_a_container_is_taken_up(
    bench: ContainerBench, client: docker.APIClient, over: bool
) -> None:
    script = f"echo begun; sleep {0 if over else 1}; echo over; echo made > /full/x; exit 3"
    run = bench.prepare("sh", "-c", script, outputs=("/full/x",), stdout="/elsewhere/said")
    Path(run.invocation.log).write_bytes(b"begun, as the earlier process heard it\n")
    container = left_behind(bench, client, run)
    client.start(container)
    if over:
        client.wait(container)
    resume(bench, run)
    assert (run.code, run.log, run.stdout) == (3, b"begun\nover\n", b"begun\nover\n")
    assert run.events == [("execution-complete", {}), ("container-exit", {"code": 3})]
    assert (run.tree / "full/x").read_text() == "made\n"
    assert run.exit is not None and run.exit.image_id == bench.image_id(client)
    assert bench.containers(client) == []


def test_a_file_of_the_image_is_no_output_of_a_resumed_container(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    run = bench.prepare("sh", "-c", "echo made > /full/x", outputs=("/full/x", "/full/own"))
    client.start(left_behind(bench, client, run))
    resume(bench, run)
    assert run.code == 0
    assert [path.name for path in (run.tree / "full").iterdir()] == ["x"]
    assert bench.containers(client) == []


def test_a_container_that_was_never_started_is_started(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    run = bench.prepare("sh", "-c", "echo made > /full/x", outputs=("/full/x",))
    left_behind(bench, client, run)
    resume(bench, run)
    assert run.code == 0
    assert [event for event, _ in run.events] == [
        "execution-start",
        "execution-complete",
        "container-exit",
    ]
    assert (run.tree / "full/x").read_text() == "made\n"
    assert bench.containers(client) == []


def test_a_resumed_container_has_the_rest_of_its_timeout(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    run = bench.prepare("sleep", "60", timeout=1.0)
    client.start(left_behind(bench, client, run))
    time.sleep(1.0)  # the time before the resumption must count
    began = time.monotonic()
    resume(bench, run)
    assert time.monotonic() - began < 10
    assert run.cancellation.reason == BY_TIMEOUT
    assert bench.containers(client) == []


def test_a_container_that_ended_in_time_was_not_stopped_by_its_timeout(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    """However long nobody looked."""
    run = bench.prepare("sh", "-c", "echo made > /full/x", outputs=("/full/x",), timeout=0.01)
    container = left_behind(bench, client, run)
    client.start(container)
    client.wait(container)
    resume(bench, run)
    assert (run.code, run.cancellation.reason) == (0, None)
    assert (run.tree / "full/x").read_text() == "made\n"


def test_a_resumed_container_can_be_cancelled(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    run = bench.prepare("sleep", "60")
    client.start(left_behind(bench, client, run))
    run.cancellation.cancel(BY_REQUEST)
    assert resume(bench, run).code == 143
    assert run.events == []
    assert bench.containers(client) == []


def test_a_container_that_is_gone_cannot_be_taken_up(bench: ContainerBench) -> None:
    run = bench.prepare("true")
    with pytest.raises(RuntimeFailure, match=r"[Nn]o such container"):
        resume(bench, run)
    assert run.events == []


@pytest.mark.parametrize(("root", "ended"), [("moved", True), ("copied", False)])
def test_a_task_s_container_is_ended_by_its_root_alone(
    bench: ContainerBench, client: docker.APIClient, root: str, ended: bool
) -> None:
    """A moved root has another path and its identity, a copied one another identity."""
    run = bench.prepare("sleep", "60")
    container = left_behind(bench, client, run)
    identity = bench.root.identity if root == "moved" else "another"
    runtime = DockerRuntime(DockerConfig(), Root("/elsewhere", identity))
    with contextlib.closing(runtime):
        runtime.end(run.invocation.task.id)
    left = [found["Id"] for found in client.containers(all=True, filters={"id": container})]
    assert left == ([] if ended else [container])
    bench.runtime.end(run.invocation.task.id)
    assert bench.containers(client) == []

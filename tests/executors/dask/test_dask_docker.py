"""Containers on a real Dask cluster: workers run Tasks in containers of the machine's engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from gaia_local import Gaia
from gaia_local.runtimes.docker.labels import ROOT_LABEL, TASK_LABEL
from support.clusters import DaskCluster, compared, final_files, host_of, ran, running, study
from support.containers import client
from support.fixtures import MakeGaia, WaitUntil
from support.gates import FileGate

__all__ = ["client"]


@pytest.fixture
def cluster(tmp_path: Path, docker_image: str) -> Iterator[DaskCluster]:
    (tmp_path / "cluster").mkdir()
    with running(tmp_path / "cluster", "one", "two", "three") as cluster:
        yield cluster


@pytest.fixture
def containers(gaia_root: Path, client: docker.APIClient) -> Callable[[], set[str]]:
    """The ids of the Tasks, as their workers name them, that have a container."""

    def find() -> set[str]:
        found = client.containers(all=True, filters={"label": f"{ROOT_LABEL}={gaia_root}"})
        # Not those that look inside.
        return {
            container["Labels"][TASK_LABEL]
            for container in found
            if TASK_LABEL in container["Labels"]
        }

    return find


class ContainerSteps(FileGate):
    """Steps in containers that wait for a file in a directory they all read."""

    def __init__(self, folder: Path, image: str) -> None:
        super().__init__(folder / "dir")
        self.bucket, self._image = folder, image

    def steps(self, count: int) -> tuple[list[Any], list[Any]]:
        script = f"echo begun; {self.hold('/in/gate')}; echo {{{{n}}}} > /out/x"
        paths = {"inputs": {"gate": "/in/gate"}, "outputs": {"x": "/out/x"}}
        command = {
            "name": "wait",
            "image": self._image,
            "command": ["sh", "-c", script],
            "vars": {"n": 0},
            **paths,
        }
        keys = [
            {"inputs": {"gate": "gate:dir/"}, "outputs": {"x": f"d:{number}"}}
            for number in range(count)
        ]
        return [command], [
            {"name": f"wait-{number}", "command": "wait", "vars": {"n": number}, **files}
            for number, files in enumerate(keys)
        ]


@pytest.fixture
def gate(tmp_path: Path, docker_image: str) -> ContainerSteps:
    return ContainerSteps(tmp_path / "gate", docker_image)


@pytest.fixture
def gaia(cluster: DaskCluster, make_gaia: MakeGaia, gate: ContainerSteps) -> Gaia:
    """A `Gaia` whose containers see the gate as it is now."""
    options = {
        "docker": {"inputs": "mount", "stop_grace": 0.2},
        "watch": False,
        "buckets": {"gate": gate.bucket},
    }
    return make_gaia(
        executor="dask",
        dask={"address": cluster.address},
        workers=None,
        runtime="docker",
        **options,
    )


def settled(gaia: Gaia, cluster: DaskCluster, containers: Callable[[], set[str]]) -> None:
    staging = gaia.path("w", "x").parents[2] / "staging"
    gaia.close(wait=False)
    assert containers() == set()
    assert list(staging.iterdir()) == []
    assert cluster.left() == []


def test_containers_on_a_cluster_make_what_a_local_run_makes(
    cluster: DaskCluster, make_gaia: MakeGaia, tmp_path: Path, containers: Callable[[], set[str]]
) -> None:
    gaia = make_gaia(
        executor="dask", dask={"address": cluster.address}, workers=None, runtime="docker"
    )
    commands, steps = study(12)
    put = {"d:seed": "seed\n"}
    assert ran(gaia, commands, steps, put) == compared(tmp_path, commands, steps, put)
    assert sum(event["event"] == "container-create" for event in gaia.events("w")) == 12
    settled(gaia, cluster, containers)


def test_halt_ends_all_containers_and_run_goes_on(
    cluster: DaskCluster,
    gaia: Gaia,
    gate: ContainerSteps,
    containers: Callable[[], set[str]],
    wait_until: WaitUntil,
) -> None:
    gaia.upload("w", {}, *gate.steps(3))
    wait_until(
        lambda: all(gaia.logs("w", f"wait-{number}") == "begun\n" for number in range(3)), 20
    )
    gaia.halt("w")
    assert gaia.wait("w", 30)["state"] == "halted"
    assert containers() == set()
    gate.open()
    gaia.run("w")
    assert gaia.wait("w", 30)["state"] == "complete", gaia.failures("w")
    assert final_files(gaia, "w") == {f"d/{number}": f"{number}\n" for number in range(3)}
    settled(gaia, cluster, containers)


def test_a_worker_that_is_killed(
    cluster: DaskCluster,
    gaia: Gaia,
    gate: ContainerSteps,
    containers: Callable[[], set[str]],
    wait_until: WaitUntil,
) -> None:
    gaia.upload("w", {}, *gate.steps(1))
    wait_until(lambda: gaia.logs("w", "wait-0") == "begun\n", 20)
    (before,) = containers()
    address = host_of(gaia, "w", "wait-0")
    assert address is not None
    cluster.kill(cluster.name_at(address))
    wait_until(lambda: containers() - {before}, 30)
    assert before not in containers()  # it was removed before the Step began again
    gate.open()
    assert gaia.wait("w", 30)["state"] == "complete", gaia.failures("w")
    settled(gaia, cluster, containers)

"""Two hosts, as network namespaces with a shared directory: one is cut off during a Step."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gaia_local import Gaia
from support.clusters import DaskCluster, host_of, running
from support.fixtures import MakeGaia, WaitUntil
from support.gates import WaitingSteps

IMPATIENT = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s"}


class Far:
    """A host of its own: a network namespace, joined to ours by one cable."""

    def __init__(self) -> None:
        number = os.getpid() % 16384
        self.name, self._cable = f"gaia{os.getpid()}", f"gaia{os.getpid()}"
        net = f"10.213.{number // 64}.{number % 64 * 4}"
        top, _, last = net.rpartition(".")
        self.near_address, self.far_address = f"{top}.{int(last) + 1}", f"{top}.{int(last) + 2}"
        self.prefix = ["ip", "netns", "exec", self.name]
        ip("netns", "add", self.name)
        try:
            ip(
                "link",
                "add",
                self._cable,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                self.name,
            )
            ip("address", "add", f"{self.near_address}/30", "dev", self._cable)
            ip("link", "set", self._cable, "up")
            ip("-n", self.name, "address", "add", f"{self.far_address}/30", "dev", "eth0")
            ip("-n", self.name, "link", "set", "lo", "up")
            self.join()
        except BaseException:
            self.close()
            raise

    def cut(self) -> None:
        """Pull the cable at its far end."""
        ip("-n", self.name, "link", "set", "eth0", "down")

    def join(self) -> None:
        """Put it back."""
        ip("-n", self.name, "link", "set", "eth0", "up")

    def close(self) -> None:
        ip("netns", "delete", self.name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture
def far() -> Iterator[Far]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root, and the program ip")
    far = Far()
    yield far
    far.close()


@dataclass
class Hosts:
    """A scheduler here, with a worker on the far host."""

    cluster: DaskCluster
    far: Far

    def start_near(self) -> None:
        self.cluster.start("near", environment={"WHO": "near"})

    def await_refusal(self, wait_until: WaitUntil) -> None:
        """Join the hosts again, and wait until the far worker heard that nobody knows it now."""
        self.far.join()
        wait_until(lambda: "Stopping worker" in self.cluster.workers["far"].said(), 30)


@pytest.fixture
def hosts(tmp_path: Path, far: Far) -> Iterator[Hosts]:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "far").mkdir()
    with running(tmp_path / "cluster", environment=IMPATIENT, host=far.near_address) as cluster:
        options = ["--host", far.far_address, "--local-directory", str(tmp_path / "far")]
        cluster.start("far", environment={"WHO": "far"}, options=options, prefix=far.prefix)
        yield Hosts(cluster, far)


@pytest.fixture
def gaia(hosts: Hosts, make_gaia: MakeGaia) -> Gaia:
    return make_gaia(executor="dask", dask={"address": hosts.cluster.address}, workers=None)


def test_a_result_that_comes_too_late_is_refused(
    hosts: Hosts, gaia: Gaia, tmp_path: Path, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    """The far host makes its result while cut off, and tells when the Step was given away."""
    gaia.upload("w", {}, *waiting.steps(1))
    far = hosts.cluster.address_of("far")
    wait_until(lambda: host_of(gaia, "w", "wait-0") == far and "begun" in gaia.logs("w", "wait-0"))
    hosts.far.cut()
    waiting.open()
    wait_until(
        lambda: (
            [path.read_text() for path in tmp_path.glob("root/staging/*.1/output-0")] == ["0 far\n"]
        )
    )
    assert gaia.status("w")["state"] == "running"  # nobody here knows of it
    hosts.start_near()
    assert gaia.wait("w", 30)["state"] == "complete", gaia.failures("w")
    hosts.await_refusal(wait_until)
    assert_settled(gaia, tmp_path)


def test_a_step_that_ends_after_it_was_given_to_another(
    hosts: Hosts, gaia: Gaia, tmp_path: Path, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    """The far host sees in the shared directory that its Step was taken back, and ends it."""
    commands, steps = waiting.steps(1)
    # Without the lock: for a moment both may run.
    commands[0]["command"] = [
        "sh",
        "-c",
        commands[0]["command"][-1],
    ]
    gaia.upload("w", {}, commands, steps)
    wait_until(lambda: host_of(gaia, "w", "wait-0") == hosts.cluster.address_of("far"))
    hosts.far.cut()
    hosts.start_near()
    wait_until(lambda: host_of(gaia, "w", "wait-0") == hosts.cluster.address_of("near"), 30)
    wait_until(lambda: "is refused" in hosts.cluster.workers["far"].said())
    waiting.open()
    assert gaia.wait("w", 30)["state"] == "complete", gaia.failures("w")
    hosts.await_refusal(wait_until)
    assert_settled(gaia, tmp_path)


def assert_settled(gaia: Gaia, tmp_path: Path) -> None:
    """Check that the near host's output counts, and that nothing else is left of either host."""
    assert gaia.path("w", "d:0").read_text() == "0 near\n"
    assert [event["event"] for event in gaia.events("w")].count("step-complete") == 1
    gaia.close()
    assert list((tmp_path / "root/staging").iterdir()) == []
    assert list(tmp_path.glob("*/dask-scratch-space/gaia-local-*/worker-*/staging/*")) == []

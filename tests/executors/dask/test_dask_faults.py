"""Deaths while a cluster runs Steps: of workers, scheduler, engine; and unusable clusters."""

from __future__ import annotations

import gc
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Security

from gaia_local import Gaia
from gaia_local.errors import EngineUnavailable, InvalidInput
from support.clusters import DaskCluster, final_files, host_of, running
from support.fixtures import MakeGaia, WaitUntil
from support.gates import WaitingSteps
from support.layered import ENGINE, expected, forty_steps


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    """A cluster without workers."""
    (tmp_path / "cluster").mkdir()
    with running(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture
def on_cluster(cluster: DaskCluster, make_gaia: MakeGaia) -> Gaia:
    return make_gaia(executor="dask", dask={"address": cluster.address}, workers=None)


def runs_at(gaia: Gaia, cluster: DaskCluster, step: str) -> str:
    """The name of the worker that took a Step up last."""
    address = host_of(gaia, "w", step)
    assert address is not None
    return cluster.name_at(address)


def begin(
    gaia: Gaia, cluster: DaskCluster, waiting: WaitingSteps, wait_until: WaitUntil, count: int = 1
) -> None:
    """Start Steps that wait, and be sure that all of them run."""
    gaia.upload("w", {}, *waiting.steps(count))
    wait_until(lambda: all(f"begun {n}" in gaia.logs("w", f"wait-{n}") for n in range(count)), 20)
    wait_until(lambda: all(host_of(gaia, "w", f"wait-{n}") for n in range(count)))


def settled(gaia: Gaia, cluster: DaskCluster) -> None:
    """Check that the Tasks have left nothing behind."""
    staging = gaia.path("w", "x").parents[2] / "staging"
    gaia.close(wait=False)
    assert list(staging.iterdir()) == []
    assert cluster.left() == []
    assert cluster.programs() == {}


def test_a_worker_that_is_killed(
    cluster: DaskCluster,
    on_cluster: Gaia,
    waiting: WaitingSteps,
    wait_until: WaitUntil,
    tmp_path: Path,
) -> None:
    cluster.start("one", "two")
    begin(on_cluster, cluster, waiting, wait_until)
    (before,) = [host_of(on_cluster, "w", "wait-0")]
    cluster.kill(runs_at(on_cluster, cluster, "wait-0"))
    wait_until(lambda: host_of(on_cluster, "w", "wait-0") != before)
    (lost,) = [event for event in on_cluster.events("w") if event["event"] == "worker-lost"]
    assert (lost["host"], lost["attempt"], lost["task"]) == (before, 1, "wait-0")
    waiting.open()
    # The first run's program is dead.
    assert on_cluster.wait("w", 30)["state"] == "complete", on_cluster.failures("w")
    settled(on_cluster, cluster)


def test_workers_are_killed_at_random(
    cluster: DaskCluster, on_cluster: Gaia, tmp_path: Path, wait_until: WaitUntil
) -> None:
    cluster.start("one", "two", "three", environment={"LC_ALL": "C"})
    for name in ("source", "other"):
        path = on_cluster.path("w", f"d:{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    commands, steps = forty_steps("busybox", 0.05)
    on_cluster.upload("w", {}, commands, steps)
    for victim, done in (("one", 5), ("two", 15)):
        wait_until(lambda done=done: on_cluster.progress("w")["done"] >= done, 30)  # type: ignore[misc]
        cluster.kill(victim)
    assert on_cluster.wait("w", 60)["state"] == "complete", on_cluster.failures("w")
    files = final_files(on_cluster, "w")
    assert {
        name.removeprefix("d/"): text for name, text in files.items() if name.startswith("d/")
    } == expected("busybox")
    completions = [
        event["task"] for event in on_cluster.events("w") if event["event"] == "step-complete"
    ]
    assert len(completions) == len(set(completions)) == 40
    settled(on_cluster, cluster)


def test_workers_die_too_often(
    cluster: DaskCluster, make_gaia: MakeGaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    gaia = make_gaia(executor="dask", dask={"address": cluster.address, "retries": 1})
    cluster.start("one", "two", "three")
    begin(gaia, cluster, waiting, wait_until)
    for _ in range(2):
        last = host_of(gaia, "w", "wait-0")
        cluster.kill(runs_at(gaia, cluster, "wait-0"))
        wait_until(lambda last=last: host_of(gaia, "w", "wait-0") != last or gaia.failures("w"), 20)  # type: ignore[misc]
    assert gaia.wait("w", 30)["state"] == "error"
    (failure,) = gaia.failures("w")
    assert "its worker died, 2 times" in (failure["message"] or "")
    assert "dask.retries is 1" in (failure["message"] or "")
    waiting.open()
    gaia.run("w")
    assert gaia.wait("w", 30)["state"] == "complete", gaia.failures("w")
    settled(gaia, cluster)


def test_the_last_worker_is_killed_and_another_comes(
    cluster: DaskCluster, on_cluster: Gaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    cluster.start("one")
    begin(on_cluster, cluster, waiting, wait_until)
    cluster.kill("one")
    wait_until(lambda: any(event["event"] == "worker-lost" for event in on_cluster.events("w")))
    waiting.open()
    cluster.start("two")
    assert on_cluster.wait("w", 30)["state"] == "complete", on_cluster.failures("w")
    settled(on_cluster, cluster)


def test_halted_with_no_worker_left(
    cluster: DaskCluster, on_cluster: Gaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    cluster.start("one")
    begin(on_cluster, cluster, waiting, wait_until)
    cluster.kill("one")
    on_cluster.halt("w")
    assert on_cluster.wait("w", 30)["state"] == "halted"
    cluster.start("two")
    waiting.open()
    on_cluster.run("w")  # first ends the dead worker's leftovers
    assert on_cluster.wait("w", 30)["state"] == "complete", on_cluster.failures("w")
    settled(on_cluster, cluster)


def test_a_worker_that_is_stopped_in_order(
    cluster: DaskCluster, on_cluster: Gaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    cluster.start("one", "two")
    begin(on_cluster, cluster, waiting, wait_until)
    before = host_of(on_cluster, "w", "wait-0")
    cluster.end(runs_at(on_cluster, cluster, "wait-0"))
    wait_until(lambda: host_of(on_cluster, "w", "wait-0") != before)
    assert len(cluster.places()) == 1  # the other's own
    waiting.open()
    assert on_cluster.wait("w", 30)["state"] == "complete", on_cluster.failures("w")
    settled(on_cluster, cluster)


def test_a_worker_that_comes_back_is_refused(
    tmp_path: Path, make_gaia: MakeGaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    """It stands still longer than the scheduler waits; its program goes on, and has its result."""
    (tmp_path / "cluster").mkdir()
    impatient = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s"}
    with running(tmp_path / "cluster", environment=impatient) as cluster:
        gaia = make_gaia(executor="dask", dask={"address": cluster.address}, workers=None)
        for name in ("one", "two"):
            cluster.start(name, environment={"WHO": name})
        commands, steps = waiting.steps(1)
        # Without the lock: here both may run.
        commands[0]["command"] = [
            "sh",
            "-c",
            commands[0]["command"][-1],
        ]
        gaia.upload("w", {}, commands, steps)
        wait_until(lambda: host_of(gaia, "w", "wait-0"))
        first = runs_at(gaia, cluster, "wait-0")
        (program, *_) = cluster.programs()
        cluster.workers[first].send(signal.SIGSTOP)
        wait_until(lambda: runs_at(gaia, cluster, "wait-0") != first, 30)
        waiting.open()
        assert gaia.wait("w", 30)["state"] == "complete", gaia.failures("w")
        wait_until(lambda: not Path(f"/proc/{program}").exists())  # its supervisor has read its end
        cluster.workers[first].send(signal.SIGCONT)
        wait_until(lambda: "is refused" in cluster.workers[first].said())
        second = ({"one", "two"} - {first}).pop()
        assert gaia.path("w", "d:0").read_text() == f"0 {second}\n"
        wait_until(lambda: cluster.left() == [])
        cluster.kill(first)
        settled(gaia, cluster)


def test_the_scheduler_goes_away_and_comes_back(
    cluster: DaskCluster, make_gaia: MakeGaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    gaia = make_gaia(executor="dask", dask={"address": cluster.address, "timeout": 1})
    cluster.start("one", "two")
    begin(gaia, cluster, waiting, wait_until, 2)
    cluster.scheduler.kill()
    assert gaia.wait("w", 30)["state"] == "halted"
    (halted,) = [event for event in gaia.events("w") if event["event"] == "flow-halted"]
    assert halted["reason"] == "interrupted"
    assert cluster.address in str(halted["message"])
    states = {task["state"] for task in gaia.status("w", debug=True)["status"]["tasks"].values()}
    assert states == {"interrupted"}
    began = time.monotonic()
    with pytest.raises(EngineUnavailable, match=cluster.address):
        gaia.run("w")
    assert time.monotonic() - began < 5
    assert gaia.status("w")["state"] == "halted"
    # Workers that lost their scheduler end their Tasks.
    wait_until(lambda: cluster.programs() == {}, 20)
    cluster.restart_scheduler()
    cluster.start("three")
    waiting.open()
    gaia.run("w")
    assert gaia.wait("w", 30)["state"] == "complete", gaia.failures("w")
    settled(gaia, cluster)


def test_the_engine_is_killed(
    cluster: DaskCluster,
    gaia_root: Path,
    waiting: WaitingSteps,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    """Its Tasks are ended before they run again: two at a time would fail for their lock."""
    cluster.start("one", "two")
    config = {
        "root": str(gaia_root),
        "runtime": "process",
        "executor": "dask",
        "dask": {"address": cluster.address},
    }
    (tmp_path / "definitions").write_text(json.dumps(waiting.steps(2)))
    arguments = [sys.executable, "-c", ENGINE, json.dumps(config), str(tmp_path / "definitions")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "up\n"
        wait_until(lambda: len(set(cluster.programs().values())) == 2)
        engine.kill()
    before = set(cluster.programs().values())
    assert len(before) == 2
    with Gaia(config) as gaia:
        wait_until(lambda: gaia.status("w")["state"] == "halted")
        gaia.run("w")
        wait_until(lambda: len(set(cluster.programs().values()) - before) == 2)
        assert not before & set(cluster.programs().values())
        waiting.open()
        assert gaia.wait("w", 30)["state"] == "complete", gaia.failures("w")
        settled(gaia, cluster)


def test_tasks_of_a_dead_engine_end_when_a_reader_opens_the_root(
    cluster: DaskCluster,
    gaia_root: Path,
    waiting: WaitingSteps,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    """An engine that only looks at the root takes the leases back; the workers notice."""
    cluster.start("one")
    config = {
        "root": str(gaia_root),
        "runtime": "process",
        "executor": "dask",
        "dask": {"address": cluster.address},
    }
    (tmp_path / "definitions").write_text(json.dumps(waiting.steps(1)))
    arguments = [sys.executable, "-c", ENGINE, json.dumps(config), str(tmp_path / "definitions")]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as engine:
        wait_until(cluster.programs)
        engine.kill()
    with Gaia({**config, "executor": "threads", "dask": None}) as gaia:
        wait_until(lambda: gaia.status("w")["state"] == "halted")
    wait_until(lambda: cluster.programs() == {} and cluster.left() == [])


def test_versions_that_differ_are_refused(
    cluster: DaskCluster, on_cluster: Gaia, tmp_path: Path, waiting: WaitingSteps
) -> None:
    metadata = tmp_path / "other" / "gaia_local-99.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: gaia-local\nVersion: 99.1\n")
    cluster.start("old", environment={"PYTHONPATH": str(tmp_path / "other")})
    with pytest.raises(
        EngineUnavailable, match=r"gaia_local 99\.1, the engine \d+\.\d+"
    ) as refusal:
        on_cluster.upload("w", {}, *waiting.steps(1))
    assert on_cluster.workflows() == {"workflows": {}}
    assert cluster.address_of("old") in str(refusal.value)
    cluster.end("old")
    cluster.start("new")
    waiting.open()
    on_cluster.upload("w", {}, *waiting.steps(1))
    assert on_cluster.wait("w", 30)["state"] == "complete"


def test_a_worker_of_another_version_that_joins_later(
    cluster: DaskCluster,
    on_cluster: Gaia,
    tmp_path: Path,
    waiting: WaitingSteps,
    wait_until: WaitUntil,
) -> None:
    metadata = tmp_path / "other" / "gaia_local-99.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: gaia-local\nVersion: 99.1\n")
    cluster.start("one")
    on_cluster.upload("w", {}, *waiting.steps(2))  # one runs, one waits for a worker
    cluster.start("old", environment={"PYTHONPATH": str(tmp_path / "other")})
    wait_until(lambda: on_cluster.failures("w"))
    (failure,) = on_cluster.failures("w")
    assert "has gaia_local 99.1, the engine" in (failure["message"] or "")
    waiting.open()
    assert on_cluster.wait("w", 30)["state"] == "error"


def test_no_cluster_at_the_address(make_gaia: MakeGaia, waiting: WaitingSteps) -> None:
    gaia = make_gaia(executor="dask", dask={"address": "tcp://127.0.0.1:9", "timeout": 0.5})
    began = time.monotonic()
    with pytest.raises(
        EngineUnavailable, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 within 0\.5 s"
    ):
        gaia.upload("w", {}, *waiting.steps(2))
    assert time.monotonic() - began < 3
    assert gaia.workflows() == {"workflows": {}}


def test_an_address_that_is_none(make_gaia: MakeGaia, waiting: WaitingSteps) -> None:
    gaia = make_gaia(executor="dask", dask={"address": "nonsense://somewhere:1"})
    with pytest.raises(EngineUnavailable, match="nonsense://somewhere:1"):
        gaia.upload("w", {}, *waiting.steps(1))


def test_without_the_package(
    make_gaia: MakeGaia, waiting: WaitingSteps, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("gaia_local.executors.dask")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "distributed", None)
    gaia = make_gaia(executor="dask", dask={"address": "tcp://127.0.0.1:9"})
    assert gaia.workflows() == {"workflows": {}}
    with pytest.raises(InvalidInput, match=r"-m pip install 'cryptography>="):
        gaia.upload("w", {}, *waiting.steps(1))


def encrypted(folder: Path) -> dict[str, Any]:
    """A certificate that signs itself, as the arguments of `distributed.Security`."""
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=cluster",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    pair = {
        f"tls_{role}_{kind}": path
        for role in ("client", "scheduler", "worker")
        for kind, path in (("cert", certificate), ("key", key))
    }
    return {"tls_ca_file": certificate, "require_encryption": True, **pair}


def loop_threads() -> int:
    """The number of clients with a thread in this process."""
    return sum(thread.name == "IO loop" for thread in threading.enumerate())


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tls://127.0.0.1:1"])
def test_a_client_that_cannot_connect_is_closed_at_once(
    address: str, make_gaia: MakeGaia, waiting: WaitingSteps
) -> None:
    # The collector would close it in any thread: in that of a new client, both waited for ever.
    before = loop_threads()
    gaia = make_gaia(executor="dask", dask={"address": address, "timeout": 0.2})
    for _ in range(3):
        with pytest.raises(EngineUnavailable):
            gaia.upload("w", {}, *waiting.steps(1))
        assert loop_threads() == before
        unclosed = [client for client in gc.get_objects() if isinstance(client, Client)]
        assert [client.status for client in unclosed if client.status != "closed"] == []


def test_a_client_that_gave_up_leaves_no_thread(
    tmp_path: Path, make_gaia: MakeGaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    before = loop_threads()
    (tmp_path / "cluster").mkdir()
    with running(tmp_path / "cluster") as cluster:
        cluster.start("one")
        gaia = make_gaia(executor="dask", dask={"address": cluster.address, "timeout": 1})
        waiting.open()
        gaia.upload("w", {}, *waiting.steps(1))
        assert gaia.wait("w", 30)["state"] == "complete"
        clients = [client for client in gc.get_objects() if isinstance(client, Client)]
    wait_until(lambda: all(client.status == "closed" for client in clients), 20)
    gaia.close()
    assert loop_threads() == before


def test_an_encrypted_cluster_runs_steps(
    tmp_path: Path, make_gaia: MakeGaia, waiting: WaitingSteps
) -> None:
    (tmp_path / "cluster").mkdir()
    security = encrypted(tmp_path)
    options = ["--protocol", "tls", "--tls-ca-file", security["tls_ca_file"]]
    options += ["--tls-cert", security["tls_worker_cert"], "--tls-key", security["tls_worker_key"]]
    with running(tmp_path / "cluster", options=options) as cluster:
        cluster.start("one", options=options)
        assert cluster.address.startswith("tls://")
        plain = make_gaia(executor="dask", dask={"address": cluster.address, "timeout": 1})
        with pytest.raises(EngineUnavailable, match="tls://"):
            plain.upload("w", {}, *waiting.steps(1))
        plain.close()
        gaia = make_gaia(executor="dask", dask={"address": cluster.address, "security": security})
        waiting.open()
        gaia.upload("w", {}, *waiting.steps(1))
        assert gaia.wait("w", 30)["state"] == "complete"
        assert "certificate" not in repr(gaia) + str(gaia.__dict__)
        gaia.close()
        gaia = make_gaia(
            executor="dask", dask={"address": cluster.address, "security": Security(**security)}
        )
        gaia.expire("w", ["d:0"])
        assert gaia.wait("w", 30)["state"] == "complete"
        gaia.close()  # a client that outlives its scheduler leaks a TLS socket with each try

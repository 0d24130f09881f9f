"""Workflows on a real Dask cluster: scheduler and three workers, own processes, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia, demo
from gaia_local.config import Config
from gaia_local.doctor.checks import Check, examine
from support.clusters import (
    DaskCluster,
    compared,
    final_files,
    host_of,
    programs,
    ran,
    running,
    study,
)
from support.fixtures import IMAGE, MakeGaia, WaitUntil
from support.gates import WaitingSteps


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with running(tmp_path_factory.mktemp("cluster"), "one", "two", "three") as cluster:
        yield cluster


@pytest.fixture
def on_cluster(cluster: DaskCluster, make_gaia: MakeGaia, gaia_root: Path) -> Iterator[Gaia]:
    """A `Gaia` whose Steps run on the cluster; at the end nothing of them may be left."""
    gaia = make_gaia(executor="dask", dask={"address": cluster.address}, workers=None)
    yield gaia
    gaia.close(wait=False)
    assert_nothing_left(cluster, gaia_root)


def assert_nothing_left(cluster: DaskCluster, root: Path) -> None:
    assert cluster.left() == []
    assert list((root / "staging").iterdir()) == []
    assert cluster.programs() == {}


def test_workers_measure_what_steps_take(on_cluster: Gaia, wait_until: WaitUntil) -> None:
    hold = "x = bytearray(200 << 20); x[::4096] = b'x' * len(x[::4096]); import time; time.sleep(2)"
    script = f'{sys.executable} -c "{hold}"; echo > /out/o'
    command: dict[str, Any] = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script]}
    command["outputs"] = {"o": "/out/o"}
    on_cluster.upload("w", {}, [command], [{"name": "s", "command": "c", "outputs": {"o": "d:o"}}])
    live = wait_until(lambda: on_cluster.progress("w").get("usage", {}).get("s"))
    assert live is not None and live["cpu"] is not None
    assert on_cluster.wait("w")["state"] == "complete"
    (attempt,) = on_cluster.timeline("w")["attempts"]
    usage = attempt["usage"]
    assert usage is not None and usage["memory"] == pytest.approx(200 << 20, rel=0.1)
    assert None not in (usage["staging"], usage["running"], usage["publishing"], usage["cpu_user"])
    assert "usage" not in on_cluster.progress("w")


def test_the_demo(on_cluster: Gaia, tmp_path: Path) -> None:
    found = []
    with Gaia({"root": tmp_path / "local", "runtime": "process"}) as local:
        for gaia in (on_cluster, local):
            demo.place_inputs(lambda key, gaia=gaia: gaia.path("w", key))  # type: ignore[misc]
            gaia.upload("w", {}, demo.commands(), demo.steps())
            assert gaia.wait("w", 60)["state"] == "complete", gaia.failures("w")
            found.append(final_files(gaia, "w"))
    assert found[0] == found[1]
    assert len(found[0]) > 8
    hosts = {event["host"] for event in on_cluster.events("w") if event["event"] == "step-start"}
    assert len(hosts) > 1


def test_three_hundred_steps(on_cluster: Gaia, tmp_path: Path) -> None:
    commands, steps = study(310)
    assert len(steps) == 310
    put = {"d:seed": "seed\n"}
    assert ran(on_cluster, commands, steps, put) == compared(tmp_path, commands, steps, put)
    workers = {attempt["worker"] for attempt in on_cluster.timeline("w")["attempts"]}
    assert workers == {1, 2, 3}


def test_the_log_of_a_step_that_runs(
    on_cluster: Gaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    on_cluster.upload("w", {}, *waiting.steps(1))
    wait_until(lambda: "begun 0\n" in on_cluster.logs("w", "wait-0"))
    assert on_cluster.status("w")["state"] == "running"
    waiting.open()
    assert on_cluster.wait("w", 30)["state"] == "complete"
    assert on_cluster.logs("w", "wait-0") == "begun 0\ngone on\n"


def test_halt_ends_all_programs_and_run_goes_on(
    cluster: DaskCluster, on_cluster: Gaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    on_cluster.upload("w", {}, *waiting.steps(5))
    wait_until(lambda: len(cluster.programs()) >= 3)
    on_cluster.halt("w")
    assert on_cluster.wait("w", 30)["state"] == "halted"
    wait_until(lambda: not leases(on_cluster) and not cluster.left())
    assert cluster.programs() == {}
    waiting.open()
    on_cluster.run("w")
    assert on_cluster.wait("w", 30)["state"] == "complete"
    assert sum(event["event"] == "step-complete" for event in on_cluster.events("w")) == 5


def test_expire_while_it_runs_and_afterwards(
    on_cluster: Gaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    on_cluster.upload("w", {}, *waiting.steps(3))
    wait_until(lambda: all(host_of(on_cluster, "w", f"wait-{number}") for number in range(3)))
    on_cluster.expire("w", ["wait-1"])
    waiting.open()
    assert on_cluster.wait("w", 30)["state"] == "complete"
    on_cluster.expire("w", ["d:2"])
    assert on_cluster.wait("w", 30)["state"] == "complete"
    ends = [(attempt["step"], attempt["state"]) for attempt in on_cluster.timeline("w")["attempts"]]
    complete = [(f"wait-{number}", "complete") for number in (0, 1, 2, 2)]
    assert sorted(ends) == sorted([*complete, ("wait-1", "cancelled")])


def test_a_step_that_fails_says_why(on_cluster: Gaia) -> None:
    command = {
        "name": "fail",
        "image": IMAGE,
        "command": ["sh", "-c", "echo no; exit 3"],
        "outputs": {"log": ">>", "x": "/x"},
    }
    on_cluster.upload(
        "w",
        {},
        [command],
        [{"name": "fail", "command": "fail", "outputs": {"log": "l:log", "x": "l:x"}}],
    )
    assert on_cluster.wait("w", 30)["state"] == "error"
    (failure,) = on_cluster.failures("w")
    assert (failure["exit_code"], failure["message"]) == (3, "exit code 3")
    assert "\nno\n" in on_cluster.path("w", "l:log").read_text()
    assert not on_cluster.path("w", "l:x").exists()
    assert "no\n" in on_cluster.logs("w", "fail")


def test_mapped_buckets(cluster: DaskCluster, tmp_path: Path, make_gaia: MakeGaia) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/in").write_text("from outside\n")
    gaia = make_gaia(
        executor="dask", dask={"address": cluster.address}, buckets={"ours": tmp_path / "shared"}
    )
    command = {
        "name": "c",
        "image": IMAGE,
        "command": ["cp", "/in", "/out"],
        "inputs": {"i": "/in"},
        "outputs": {"o": "/out"},
    }
    gaia.upload(
        "w",
        {},
        [command],
        [
            {
                "name": "c",
                "command": "c",
                "inputs": {"i": "ours:in"},
                "outputs": {"o": "ours:made/out"},
            }
        ],
    )
    assert gaia.wait("w", 30)["state"] == "complete", gaia.failures("w")
    assert (tmp_path / "shared/made/out").read_text() == "from outside\n"
    gaia.close()
    assert [list(area.iterdir()) for area in (tmp_path / "shared").glob(".gaia-local-*")] == [[]]


def test_workers_see_the_root_elsewhere(
    cluster: DaskCluster, tmp_path: Path, make_gaia: MakeGaia, gaia_root: Path
) -> None:
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    dask = {"address": cluster.address, "path_map": {str(tmp_path): str(tmp_path / "elsewhere")}}
    gaia = make_gaia(executor="dask", dask=dask)
    commands, steps = study(31)
    assert ran(gaia, commands, steps, {"d:seed": "s\n"}) == compared(
        tmp_path, commands, steps, {"d:seed": "s\n"}
    )


def test_workers_that_do_not_see_the_root(
    cluster: DaskCluster, make_gaia: MakeGaia, tmp_path: Path
) -> None:
    gaia = make_gaia(
        executor="dask",
        dask={"address": cluster.address, "path_map": {str(tmp_path): str(tmp_path / "not")}},
    )
    command = {"name": "c", "image": IMAGE, "command": ["touch", "/x"], "outputs": {"x": "/x"}}
    gaia.upload("w", {}, [command], [{"name": "c", "command": "c", "outputs": {"x": "d:x"}}])
    assert gaia.wait("w", 30)["state"] == "error"
    (failure,) = gaia.failures("w")
    assert "doesn't see the store" in (failure["message"] or "")
    assert "dask.path_map" in (failure["message"] or "")


def test_the_number_of_tasks_follows_the_cluster(
    cluster: DaskCluster, on_cluster: Gaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    """As many run as there are threads, and some more are on their way."""
    on_cluster.upload("w", {}, *waiting.steps(45))
    wait_until(lambda: (len(running_now(cluster)), len(leases(on_cluster))) == (3, 24))
    cluster.start("four", threads=2)
    try:
        wait_until(lambda: (len(running_now(cluster)), len(leases(on_cluster))) == (5, 40))
    finally:
        waiting.open()
        assert on_cluster.wait("w", 30)["state"] == "complete"
        cluster.end("four")


def test_the_first_tasks_of_a_worker_may_come_together(
    tmp_path: Path, make_gaia: MakeGaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    """Each of its threads finds that nothing is prepared yet."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    with running(folder) as cluster:
        cluster.start("wide", threads=8)
        with make_gaia(executor="dask", dask={"address": cluster.address}, workers=8) as gaia:
            gaia.upload("w", {}, *waiting.steps(8))
            wait_until(lambda: len(running_now(cluster)) == 8)
            waiting.open()
            assert gaia.wait("w", 30)["state"] == "complete"
            assert "worker-lost" not in {event["event"] for event in gaia.events("w")}
        assert cluster.workers["wide"].said().count("Worker plugin gaia-local") == 1


def test_a_number_of_tasks_that_is_given(
    cluster: DaskCluster, make_gaia: MakeGaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    gaia = make_gaia(executor="dask", dask={"address": cluster.address}, workers=2)
    gaia.upload("w", {}, *waiting.steps(4))
    wait_until(lambda: len(running_now(cluster)) == 2)
    assert len(leases(gaia)) == 2
    waiting.open()
    assert gaia.wait("w", 30)["state"] == "complete"


def running_now(cluster: DaskCluster) -> set[str]:
    return set(cluster.programs().values())


def leases(gaia: Gaia) -> list[Path]:
    return list((gaia.path("w", "x").parents[2] / "staging").iterdir())


def test_resources_that_workers_declare(
    cluster: DaskCluster, on_cluster: Gaia, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    cluster.start("able", options=["--resources", "GPU=1 memory=4e9"])
    commands, steps = waiting.steps(2)
    # Nobody declares CPUs: they are not counted.
    commands[0]["resources"] = {
        "gpus": 1,
        "cpus": 100,
    }
    on_cluster.upload("w", {}, commands, steps)
    try:
        wait_until(lambda: sum(bool(host_of(on_cluster, "w", step["name"])) for step in steps) == 1)
        assert len(leases(on_cluster)) == 2  # the other one waits at the scheduler
        waiting.open()
        assert on_cluster.wait("w", 30)["state"] == "complete"
        hosts = {
            event["host"] for event in on_cluster.events("w") if event["event"] == "step-start"
        }
        assert hosts == {cluster.address_of("able")}
        on_cluster.command("w", [{**commands[0], "name": "much", "resources": {"gpus": 2}}])
        on_cluster.merge(
            "w", [{**steps[0], "name": "much", "command": "much", "outputs": {"x": "d:much"}}]
        )
        assert on_cluster.wait("w", 30)["state"] == "error"
        (failure,) = on_cluster.failures("w")
        assert (
            failure["message"]
            == "its Command needs GPU: 2; no worker of the Dask cluster has declared as much"
        )
    finally:
        cluster.end("able")


# ---------------------------------------------------------------------- doctor, and a local cluster


def test_the_doctor_shows_the_cluster(
    cluster: DaskCluster, gaia_root: Path, tmp_path: Path
) -> None:
    gaia_root.mkdir()
    given = {
        "root": gaia_root,
        "runtime": "process",
        "executor": "dask",
        "dask": {"address": cluster.address},
    }
    whole, *workers = dask_checks(given)
    assert (whole.verdict, whole.text) == ("ok", f"{cluster.address}: 3 workers, 3 threads")
    assert {worker.verdict for worker in workers} == {"ok"}
    told = sorted(worker.text for worker in workers)
    ours = version("gaia-local")
    assert told == sorted(
        f"{name} at {cluster.address_of(name)}: 1 thread, gaia_local {ours}, sees the root"
        for name in ("one", "two", "three")
    )
    assert list(gaia_root.iterdir()) == []
    _, *workers = dask_checks(
        {**given, "dask": {**given["dask"], "path_map": {str(tmp_path): "/nowhere"}}}  # type: ignore[dict-item]
    )
    assert {worker.verdict for worker in workers} == {"problem"}
    assert "doesn't see the root" in workers[0].text
    assert "dask.path_map" in workers[0].advice
    _, *workers = dask_checks({**given, "root": tmp_path / "not yet"})
    assert {
        (worker.verdict, worker.text.endswith("the root doesn't exist yet")) for worker in workers
    } == {("ok", True)}
    (unreachable,) = dask_checks(
        {**given, "dask": {"address": "tcp://127.0.0.1:9", "timeout": 0.2}}
    )
    assert unreachable.verdict == "problem"
    assert "tcp://127.0.0.1:9" in unreachable.text
    assert dask_checks({"root": gaia_root}) == []


def dask_checks(config: dict[str, Any]) -> list[Check]:
    return [
        check for check in examine(Config.parse(config)).checks if check.name.startswith("dask")
    ]


def test_the_doctor_sees_other_versions(
    cluster: DaskCluster, gaia_root: Path, tmp_path: Path
) -> None:
    metadata = tmp_path / "gaia_local-99.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: gaia-local\nVersion: 99.1\n")
    cluster.start("old", environment={"PYTHONPATH": str(tmp_path)})
    try:
        checks = dask_checks(
            {"root": gaia_root, "executor": "dask", "dask": {"address": cluster.address}}
        )
    finally:
        cluster.end("old")
    (old,) = [check for check in checks if check.text.startswith("old ")]
    assert (old.verdict, old.advice) == (
        "problem",
        "install the same version of gaia_local on both",
    )
    assert "gaia_local 99.1" in old.text


def test_a_local_cluster_from_the_command_line(gaia_root: Path, tmp_path: Path) -> None:
    commands, steps = study(31)
    for name, definitions in (("commands", commands), ("steps", steps)):
        (tmp_path / f"{name}.json").write_text(json.dumps(definitions))
    seed = Gaia({"root": gaia_root}).path("w", "d:seed")
    seed.parent.mkdir(parents=True)
    seed.write_text("s\n")
    options = ["--root", str(gaia_root), "--runtime", "process", "--dask", "2"]
    ended = subprocess.run(
        [sys.executable, "-m", "gaia_local", *options, "upload", "w", "--path", f"{tmp_path}/"],
        env={**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    with Gaia({"root": gaia_root}) as gaia:
        assert final_files(gaia, "w") == compared(tmp_path, commands, steps, {"d:seed": "s\n"})
        hosts = {event["host"] for event in gaia.events("w") if event["event"] == "step-start"}
    assert len(hosts) == 2
    assert all(host.startswith("tls://127.0.0.1:") for host in hosts)
    assert processes_of(tmp_path) == []
    assert list(tmp_path.glob("**/worker-*")) == []


def test_ctrl_c_ends_a_local_cluster(
    gaia_root: Path, tmp_path: Path, waiting: WaitingSteps, wait_until: WaitUntil
) -> None:
    """A terminal sends it to all processes at once: workers die before they are asked to stop."""
    for name, definitions in zip(("commands", "steps"), waiting.steps(3), strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(definitions))
    options = [
        "--root",
        str(gaia_root),
        "--runtime",
        "process",
        "--dask",
        "2",
        "upload",
        "w",
        "--path",
        f"{tmp_path}/",
    ]
    environment = {**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "gaia_local", *options],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_until(lambda: len(set(programs(tmp_path).values())) == 2, 30)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert programs(tmp_path) == {}
    assert list((gaia_root / "staging").iterdir()) == []
    with Gaia({"root": gaia_root}) as gaia:
        assert gaia.status("w")["state"] == "halted"


def processes_of(folder: Path) -> list[int]:
    """The processes that were told to keep Dask's files in this directory."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"DASK_TEMPORARY_DIRECTORY={folder}" in place.read_text(errors="replace"):
                found.append(int(place.parent.name))
    return found

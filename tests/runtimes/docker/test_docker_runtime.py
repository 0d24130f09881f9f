"""The Docker runtime against a real engine, with the image `GAIA_LOCAL_TEST_IMAGE` (busybox's).

Without an engine or the image these tests are skipped; with GAIA_LOCAL_REQUIRE_DOCKER=1 they fail
instead.
"""

from __future__ import annotations

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import docker.errors
import pytest

from gaia_local.errors import RuntimeFailure
from gaia_local.model.resources import Resources
from gaia_local.runtimes.docker.labels import LeftoverContainer
from gaia_local.runtimes.docker.responses import Refusal
from support.containers import EVENTS, ContainerBench, bench, client, derived, full_image, is_podman

__all__ = ["bench", "client", "full_image"]


# -------------------------------------------------------------------------------------------- a run


def test_a_run_reports_its_events_and_leaves_nothing(bench: ContainerBench) -> None:
    run = bench.run("sh", "-c", "echo hello; exit 3")
    assert [event for event, _ in run.events] == EVENTS
    assert run.events[-1] == ("container-exit", {"code": 3})
    assert run.exit is not None
    assert (run.exit.code, run.exit.message) == (3, None)
    assert run.log == b"hello\n"


def test_the_exit_names_the_image_by_its_id(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    exit = bench.run("true").exit
    assert exit is not None
    assert exit.image_id == client.inspect_image(bench.image)["Id"]  # type: ignore[no-untyped-call]


def test_a_container_is_made_as_configured(bench: ContainerBench, client: docker.APIClient) -> None:
    bench.configure(
        env={"A": "1=2 3", "HOME": "/x"}, memory="64m", cpus=0.5, shm_size="32m", network="none"
    )
    run = bench.prepare(
        "sh",
        "-c",
        'echo "$A,$HOME"; echo up; while [ ! -e /out/go ]; do sleep 0.05; done',
        outputs=("/out/",),
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"up")
        (listed,) = bench.containers(client)
        (leftover,) = bench.runtime.leftovers()
        seen = client.inspect_container(listed["Id"])
        (run.tree / "out/go").touch()
        running.result()
    task = run.invocation.task
    assert seen["Name"] == f"/gaia-local-{task.id}"
    assert seen["Config"]["Labels"] == {
        "gaia-local.root": bench.root.path,
        "gaia-local.root-id": bench.root.identity,
        "gaia-local.workflow": "a workflow",
        "gaia-local.step": "a step",
        "gaia-local.task": task.id,
    }
    assert leftover == LeftoverContainer(task.id, "a workflow", "a step", listed["Id"], True)
    assert seen["Config"]["User"] == f"{os.getuid()}:{os.getgid()}"
    host = seen["HostConfig"]
    assert (host["GroupAdd"] or []) == [str(group) for group in os.getgroups()]
    assert host["Init"] is True
    assert host["Privileged"] is False
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["NetworkMode"] == "none"
    assert host["Memory"] == 64 << 20
    assert host["NanoCpus"] == 500_000_000
    assert host["ShmSize"] == 32 << 20
    assert (host["LogConfig"]["Type"], host["LogConfig"]["Config"] or {}) == ("json-file", {})
    assert run.log == b"1=2 3,/x\nup\n"


def test_a_container_has_the_limits_of_its_command(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    bench.configure(memory="64m", cpus=0.5)
    run = bench.prepare(
        "sh", "-c", "echo up; while [ ! -e /out/go ]; do sleep 0.05; done", outputs=("/out/",)
    )
    task = run.invocation.task._replace(resources=Resources(cpus=0.25, memory=32 << 20))
    run.invocation = dataclasses.replace(run.invocation, task=task)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"up")
        (listed,) = bench.containers(client)
        host = client.inspect_container(listed["Id"])["HostConfig"]
        (run.tree / "out/go").touch()
        running.result()
    assert (host["Memory"], host["NanoCpus"]) == (32 << 20, 250_000_000)


def test_the_entrypoint_stays_and_anonymous_volumes_go(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    changes = 'ENTRYPOINT ["sh", "-c"]\nVOLUME /volume'
    with derived(bench.image, "true", changes) as image:
        run = bench.prepare(
            "echo up; while [ ! -e /out/go ]; do sleep 0.05; done", outputs=("/out/",), image=image
        )
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(bench.start, run)
            run.wait_for(b"up")
            mounts = bench.containers(client)[0]["Mounts"]
            (run.tree / "out/go").touch()
            running.result()
    (volume,) = [mount["Name"] for mount in mounts if mount["Type"] == "volume"]
    with pytest.raises(docker.errors.NotFound):
        client.inspect_volume(volume)


def test_gpus_are_asked_for(bench: ContainerBench, client: docker.APIClient) -> None:
    bench.configure(gpus="all")
    # What Docker says if it has no GPUs; Podman would run the program without.
    why = "engine leaves out the GPUs" if is_podman(client) else "device driver"
    with pytest.raises(RuntimeFailure, match=why):
        bench.run("true")


@pytest.mark.docker_only
def test_a_container_has_the_gpus_that_it_was_given(
    bench: ContainerBench, client: docker.APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.configure(gpus=1)
    run = bench.prepare("true")
    run.invocation = dataclasses.replace(run.invocation, gpus=("1", "GPU-8932f937"))
    asked = []

    def start(client: docker.APIClient, container: str) -> None:
        asked.extend(client.inspect_container(container)["HostConfig"]["DeviceRequests"])
        asked.append(bench.runtime.gpus_of(run.invocation.task.id))
        raise Refusal(500, "no such device")

    monkeypatch.setattr(docker.APIClient, "start", start)
    with pytest.raises(RuntimeFailure, match="no such device"):
        bench.start(run)
    request, known = asked[:2]
    assert (request["Count"], request["DeviceIDs"]) == (0, ["1", "GPU-8932f937"])
    assert known == request["DeviceIDs"]
    with pytest.raises(RuntimeFailure, match="GPUs of an earlier process's container"):
        bench.runtime.gpus_of(run.invocation.task.id)


def test_output_belongs_to_the_caller(
    bench: ContainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can act as somebody else")
    run = bench.prepare("sh", "-c", "id -u; id -g; id -G; touch /out/made", outputs=("/out/made",))
    os.chown(run.tree / "out", 4321, 8765)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: 4321)
        patch.setattr(os, "getgid", lambda: 8765)
        patch.setattr(os, "getgroups", lambda: [8765, 77])
        bench.start(run)
    assert run.log == b"4321\n8765\n8765 77\n"
    made = (run.tree / "out/made").stat()
    assert (made.st_uid, made.st_gid) == (4321, 8765)


@pytest.mark.parametrize(
    "answer",
    [
        {"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]},
        {"SecurityOptions": ["name=seccomp,profile=default"], "Rootless": True},
    ],
    ids=["Docker", "Podman"],
)
def test_root_stands_for_the_caller_in_containers_of_a_rootless_engine(
    bench: ContainerBench, monkeypatch: pytest.MonkeyPatch, answer: dict[str, object]
) -> None:
    monkeypatch.setattr(docker.APIClient, "info", lambda client: answer)
    run = bench.prepare("sh", "-c", "id -u; id -g; id -G; touch /out/made", outputs=("/out/made",))
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: 4321)
        patch.setattr(os, "getgid", lambda: 8765)
        patch.setattr(os, "getgroups", lambda: [8765, 77])
        bench.start(run)
    assert run.log == b"0\n0\n0\n"
    assert (run.tree / "out/made").exists()


# ------------------------------------------------------------------------------------------- output


def test_stdout_comes_apart_from_the_log(bench: ContainerBench) -> None:
    run = bench.run(
        "sh",
        "-c",
        "echo 1; echo 2 >&2; sleep 0.1; echo 3",
        stdout="/out/s",
        outputs=("/out/s", ">"),
    )
    assert run.stdout == b"1\n3\n"
    assert sorted(run.log.split()) == [b"1", b"2", b"3"]


def test_lines_of_both_streams_stay_whole_in_the_log(bench: ContainerBench) -> None:
    script = "for n in 1 2 3; do printf out; sleep 0.1; echo err >&2; sleep 0.1; echo -put; done"
    run = bench.run("sh", "-c", f"{script}; printf 'no end'")
    assert sorted(run.log.splitlines()) == [b"err"] * 3 + [b"no end"] + [b"out-put"] * 3


def test_output_is_kept_byte_by_byte(bench: ContainerBench) -> None:
    run = bench.run(
        "sh",
        "-c",
        r"printf 'a\377\000\r\n'; printf '\200' >&2; head -c 5000000 /dev/zero; printf end",
        stdout="/s",
    )
    assert run.stdout == b"a\xff\x00\r\n" + bytes(5_000_000) + b"end"
    assert len(run.log) == len(run.stdout) + 1


def test_the_log_is_appended_to_and_readable_at_once(bench: ContainerBench) -> None:
    run = bench.prepare(
        "sh", "-c", "echo one; while [ ! -e /out/go ]; do sleep 0.05; done", outputs=("/out/",)
    )
    Path(run.invocation.log).write_bytes(b"before\n")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"before\none\n")
        (run.tree / "out/go").touch()
        running.result()


def test_a_log_that_cannot_be_written(bench: ContainerBench) -> None:
    run = bench.prepare("echo", "1")
    Path(run.invocation.log).mkdir()
    with pytest.raises(
        RuntimeFailure, match=f"{run.invocation.task.id}.log could not be written: Is a directory"
    ):
        bench.start(run)

"""The Docker runtime against a real engine: `GAIA_LOCAL_TEST_IMAGE` names a local image with busybox's programs.

Without an engine or the image these tests are skipped; with GAIA_LOCAL_REQUIRE_DOCKER=1 they fail instead.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import http.server
import io
import json
import logging
import os
import re
import shutil
import socket
import stat
import tarfile
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from gaia_local import docker_engine, docker_files
from gaia_local.config import DockerConfig
from gaia_local.docker_runtime import DockerRuntime
from gaia_local.errors import EngineUnavailable, RuntimeFailure
from gaia_local.resources import Resources
from gaia_local.runtime import BY_REQUEST, BY_TIMEOUT
from support.containers import EVENTS, ContainerBench, Run, bench, client, derived, full_image
from support.waiting import wait_until

__all__ = ["bench", "client", "full_image"]


# ------------------------------------------------------------------------------------------------------------ a run


def test_a_run_reports_its_events_and_leaves_nothing(bench: ContainerBench) -> None:
    run = bench.run("sh", "-c", "echo hello; exit 3")
    assert [event for event, _ in run.events] == EVENTS
    assert run.events[-1] == ("container-exit", {"code": 3})
    assert run.exit is not None
    assert (run.exit.code, run.exit.message) == (3, None)
    assert run.log == b"hello\n"


def test_the_exit_names_the_image_by_its_id(bench: ContainerBench, client: docker.APIClient) -> None:
    exit = bench.run("true").exit
    assert exit is not None
    assert exit.image_id == client.inspect_image(bench.image)["Id"]  # type: ignore[no-untyped-call]


def test_a_container_is_made_as_configured(bench: ContainerBench, client: docker.APIClient) -> None:
    bench.configure(env={"A": "1=2 3", "HOME": "/x"}, memory="64m", cpus=0.5, shm_size="32m", network="none")
    run = bench.prepare("sh", "-c", 'echo "$A,$HOME"; echo up; while [ ! -e /out/go ]; do sleep 0.05; done', outputs=("/out/",))
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
        "gaia-local.root": bench.root_id,
        "gaia-local.workflow": "a workflow",
        "gaia-local.step": "a step",
        "gaia-local.task": task.id,
    }
    assert leftover == (task.id, "a workflow", "a step", listed["Id"], True)
    assert seen["Config"]["User"] == f"{os.getuid()}:{os.getgid()}"
    host = seen["HostConfig"]
    assert (host["GroupAdd"] or []) == [str(group) for group in os.getgroups()]
    assert host["Init"] is True
    assert host["Privileged"] is False
    assert host["CapAdd"] is None
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["NetworkMode"] == "none"
    assert host["Memory"] == 64 << 20
    assert host["NanoCpus"] == 500_000_000
    assert host["ShmSize"] == 32 << 20
    assert host["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert run.log == b"1=2 3,/x\nup\n"


def test_a_container_has_the_limits_of_its_command(bench: ContainerBench, client: docker.APIClient) -> None:
    bench.configure(memory="64m", cpus=0.5)
    run = bench.prepare("sh", "-c", "echo up; while [ ! -e /out/go ]; do sleep 0.05; done", outputs=("/out/",))
    task = dataclasses.replace(run.invocation.task, resources=Resources(cpus=0.25, memory=32 << 20))
    run.invocation = dataclasses.replace(run.invocation, task=task)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"up")
        (listed,) = bench.containers(client)
        host = client.inspect_container(listed["Id"])["HostConfig"]
        (run.tree / "out/go").touch()
        running.result()
    assert (host["Memory"], host["NanoCpus"]) == (32 << 20, 250_000_000)


def test_the_entrypoint_stays_and_anonymous_volumes_go(bench: ContainerBench, client: docker.APIClient) -> None:
    changes = 'ENTRYPOINT ["sh", "-c"]\nVOLUME /volume'
    with derived(bench.image, "true", changes) as image:
        run = bench.prepare("echo up; while [ ! -e /out/go ]; do sleep 0.05; done", outputs=("/out/",), image=image)
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
    with pytest.raises(RuntimeFailure, match="device driver"):  # the engine's answer where it has none
        bench.run("true")


def test_output_belongs_to_the_caller(bench: ContainerBench, monkeypatch: pytest.MonkeyPatch) -> None:
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


# ------------------------------------------------------------------------------------------------------------ files


def test_renaming_over_outputs_and_inputs_works(bench: ContainerBench) -> None:
    """What editors, numpy and `sed -i` do; a mounted file would refuse it with EBUSY."""
    run = bench.run(
        "sh",
        "-ec",
        "echo new > /out/r.tmp; mv /out/r.tmp /out/r; sed -i s/a/b/ /data/deep/in.txt; cat /data/deep/in.txt",
        inputs={"/data/deep/in.txt": b"a\n"},
        outputs=("/out/r",),
    )
    assert (run.code, run.log) == (0, b"b\n")
    assert (run.tree / "out/r").read_bytes() == b"new\n"
    assert (run.tree / "data/deep/in.txt").read_bytes() == b"b\n"


def test_a_directory_can_be_renamed_into_place(bench: ContainerBench) -> None:
    run = bench.run(
        "sh", "-ec", "mkdir /out/t; echo 1 > /out/t/f; rmdir /out/result; mv /out/t /out/result", outputs=("/out/result/",)
    )
    assert run.code == 0
    assert (run.tree / "out/result/f").read_bytes() == b"1\n"


def test_an_output_may_lie_under_another(bench: ContainerBench) -> None:
    outputs = ("/out/", "/out/a/b/c.txt", "/out/d/")
    run = bench.run("sh", "-ec", "echo 1 > /out/x; echo 2 > /out/a/b/c.txt; echo 3 > /out/d/y", outputs=outputs)
    assert run.code == 0
    assert {p.relative_to(run.tree / "out").as_posix() for p in (run.tree / "out").rglob("*") if p.is_file()} == {
        "x",
        "a/b/c.txt",
        "d/y",
    }


def test_a_name_that_begins_like_another_is_no_part_of_it(bench: ContainerBench) -> None:
    run = bench.run("sh", "-ec", "echo 1 > /out/x; echo 2 > /output/y", outputs=("/out/x", "/output/y"))
    assert run.code == 0
    assert (run.tree / "output/y").read_bytes() == b"2\n"


def test_output_files_beside_files_of_the_image_are_copied_out(bench: ContainerBench) -> None:
    run = bench.run(
        "sh",
        "-ec",
        "echo 1 > /full/x.tmp; mv /full/x.tmp /full/x; chmod 755 /full/x; head -c 3000000 /dev/zero > /full/y",
        outputs=("/full/x", "/full/y", "/etc/absent"),
    )
    assert run.code == 0
    made = run.tree / "full/x"
    assert made.read_bytes() == b"1\n"
    assert stat.S_IMODE(made.stat().st_mode) == 0o755
    assert made.stat().st_uid == os.getuid()
    assert (run.tree / "full/y").read_bytes() == bytes(3_000_000)
    assert not (run.tree / "etc/absent").exists()


def test_an_output_file_in_the_root_directory_is_copied_out(bench: ContainerBench) -> None:
    if os.getuid() != 0:
        pytest.skip("only root may write there, and containers run as the caller")
    run = bench.run("sh", "-ec", "echo 1 > /top", outputs=("/top",))
    assert run.code == 0
    assert (run.tree / "top").read_bytes() == b"1\n"


def test_files_of_the_image_are_not_copied_out(bench: ContainerBench) -> None:
    run = bench.run("sh", "-ec", "ln -s own /full/l; chmod 777 /full", outputs=("/full/own", "/full/l"))
    assert run.code == 0
    assert [(path.name, os.readlink(path)) for path in (run.tree / "full").iterdir()] == [("l", "own")]


def test_links_fifos_and_directories_are_copied_out_as_they_are(bench: ContainerBench) -> None:
    """So that whoever stores it finds the same as where the directory is mounted."""
    script = "cd /full; mkdir d; echo 1 > d/f; mkfifo p; ln -s own l; ln -s /nowhere far; ln -s loop loop"
    run = bench.run("sh", "-ec", script, outputs=tuple(f"/full/{name}" for name in ("d", "p", "l", "far", "loop")))
    made = {path.name: path for path in (run.tree / "full").iterdir()}
    assert made.keys() == {"d", "p", "l", "far", "loop", "own"}
    assert made["d"].is_dir() and made["p"].is_fifo() and made["own"].is_file()
    assert {name: os.readlink(made[name]) for name in ("l", "far", "loop")} == {"l": "own", "far": "/nowhere", "loop": "loop"}


def test_an_input_in_the_root_directory_opens_no_way_to_all_files(bench: ContainerBench) -> None:
    run = bench.run("sh", "-ec", "ln -s /etc/passwd /full/x", inputs={"/in": b"1"}, outputs=("/full/x",))
    assert run.code == 0
    assert sorted(path.name for path in run.tree.iterdir()) == ["full", "in"]


def test_an_output_below_a_file_of_the_image_is_an_error_that_says_so(bench: ContainerBench) -> None:
    with pytest.raises(RuntimeFailure, match="not a directory"):
        bench.run("true", outputs=("/bin/busybox/x",))


def test_directories_and_inputs_beside_files_of_the_image(bench: ContainerBench) -> None:
    """The image's `/bin` must stay as it is: without it there is no `sh`."""
    run = bench.run(
        "sh",
        "-ec",
        "cat /bin/in /etc/conf/a /in; echo more >> /bin/in; echo 1 > /bin/made/x; echo 2 > /etc/conf/b",
        inputs={"/bin/in": b"1\n", "/etc/conf/": {"a": b"2\n"}, "/in": b"3\n"},
        outputs=("/bin/made/", "/etc/conf/b"),
    )
    assert (run.code, run.log) == (0, b"1\n2\n3\n")
    assert (run.tree / "bin/in").read_bytes() == b"1\nmore\n"
    assert (run.tree / "bin/made/x").read_bytes() == b"1\n"
    assert (run.tree / "etc/conf/b").read_bytes() == b"2\n"


def test_an_empty_directory_of_the_image_is_as_good_as_none(bench: ContainerBench) -> None:
    run = bench.run("sh", "-ec", "echo 1 > /tmp/t; mv /tmp/t /tmp/r", outputs=("/tmp/r",))
    assert run.code == 0
    assert (run.tree / "tmp/r").read_bytes() == b"1\n"


def test_a_link_in_the_image_is_not_taken_for_an_empty_directory(bench: ContainerBench) -> None:
    run = bench.run("sh", "-ec", "echo 1 > /linked/x", outputs=("/linked/x",))
    assert run.code == 0
    assert (run.tree / "linked/x").read_bytes() == b"1\n"


def test_host_paths_may_hold_colons(bench: ContainerBench) -> None:
    bench.top = bench.top / "composite:a:b"
    run = bench.run("sh", "-ec", "cat /in/a:b > /out/c:d", inputs={"/in/a:b": b"x"}, outputs=("/out/c:d",))
    assert run.code == 0
    assert (run.tree / "out/c:d").read_bytes() == b"x"


def test_odd_spellings_of_internal_paths(bench: ContainerBench) -> None:
    run = bench.run("sh", "-ec", "echo 1 > /out/a/x", outputs=("//out/./a//x",))
    assert run.code == 0
    assert (run.tree / "out/a/x").read_bytes() == b"1\n"


def test_the_image_is_looked_into_once(bench: ContainerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    probes = []
    probe = docker_files.ContainerFiles._probe

    def counted(*given: Any) -> Any:
        probes.append(given)
        return probe(*given)

    monkeypatch.setattr(docker_files.ContainerFiles, "_probe", counted)
    runs = [bench.prepare("sh", "-c", f"echo {n} > /out/r", outputs=("/out/r", "/tmp/s")) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bench.start, runs))
    assert [(run.tree / "out/r").read_text() for run in runs] == [f"{n}\n" for n in range(8)]
    assert len(probes) == 1


# ----------------------------------------------------------------------------------------------------- mounted inputs


def test_mounted_inputs_are_read_only_and_lie_beside_outputs(bench: ContainerBench, tmp_path: Path) -> None:
    bench.configure(inputs="mount")
    assert bench.runtime.mounts_inputs
    store = tmp_path / "store:1"
    (store / "kb").mkdir(parents=True)
    (store / "kb/x").write_bytes(b"x\n")
    (store / "f").write_bytes(b"f\n")
    run = bench.run(
        "sh",
        "-c",
        "cat /data/f /ref/kb/x /bin/f; echo no >> /data/f; echo no >> /ref/kb/x; echo 1 > /data/out; mv /data/out /data/r",
        mounts={"/data/f": store / "f", "/ref/kb/": store / "kb", "/bin/f": store / "f"},
        outputs=("/data/r", "/ref/other/"),
        stdout="/said",
    )
    assert run.stdout == b"f\nx\nf\n"
    assert run.log.count(b"Read-only file system") == 2
    assert run.code == 0
    assert (run.tree / "data/r").read_bytes() == b"1\n"
    assert (store / "f").read_bytes() == b"f\n"
    assert (store / "kb/x").read_bytes() == b"x\n"


def test_an_input_that_the_caller_copied_is_not_mounted(bench: ContainerBench, tmp_path: Path) -> None:
    bench.configure(inputs="mount")
    (tmp_path / "f").write_bytes(b"f\n")
    run = bench.run(
        "sh",
        "-ec",
        "cat /f /kb/x; echo 1 > /kb/sub/out",
        inputs={"/kb/": {"x": b"x\n"}},
        mounts={"/f": tmp_path / "f"},
        outputs=("/kb/sub/out",),
    )
    assert (run.code, run.log) == (0, b"f\nx\n")
    assert (run.tree / "kb/sub/out").read_bytes() == b"1\n"


def test_mounted_inputs_within_mounted_inputs(bench: ContainerBench, tmp_path: Path) -> None:
    bench.configure(inputs="mount")
    (tmp_path / "kb").mkdir()
    (tmp_path / "kb/x").write_bytes(b"old\n")
    (tmp_path / "x").write_bytes(b"new\n")
    run = bench.run("cat", "/kb/x", mounts={"/kb/": tmp_path / "kb", "/kb/x": tmp_path / "x"})
    assert run.log == b"new\n"
    with pytest.raises(RuntimeFailure, match=r"/kb/y lies in the input directory /kb.*set docker.inputs"):
        bench.run("true", mounts={"/kb/": tmp_path / "kb", "/kb/y": tmp_path / "x"})


# ----------------------------------------------------------------------------------------------------------- output


def test_stdout_comes_apart_from_the_log(bench: ContainerBench) -> None:
    run = bench.run("sh", "-c", "echo 1; echo 2 >&2; sleep 0.1; echo 3", stdout="/out/s", outputs=("/out/s", ">"))
    assert run.stdout == b"1\n3\n"
    assert sorted(run.log.split()) == [b"1", b"2", b"3"]


def test_output_is_kept_byte_by_byte(bench: ContainerBench) -> None:
    run = bench.run(
        "sh", "-c", r"printf 'a\377\000\r\n'; printf '\200' >&2; head -c 5000000 /dev/zero; printf end", stdout="/s"
    )
    assert run.stdout == b"a\xff\x00\r\n" + bytes(5_000_000) + b"end"
    assert len(run.log) == len(run.stdout) + 1


def test_the_log_is_appended_to_and_readable_at_once(bench: ContainerBench) -> None:
    run = bench.prepare("sh", "-c", "echo one; while [ ! -e /out/go ]; do sleep 0.05; done", outputs=("/out/",))
    run.invocation.log.write_bytes(b"before\n")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"before\none\n")
        (run.tree / "out/go").touch()
        running.result()


def test_a_log_that_cannot_be_written(bench: ContainerBench) -> None:
    run = bench.prepare("echo", "1")
    run.invocation.log.mkdir()
    with pytest.raises(RuntimeFailure, match=f"{run.invocation.task.id}.log could not be written: Is a directory"):
        bench.start(run)


# ------------------------------------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize("program", ["nope", "/etc/nope/x"])
def test_a_missing_program(bench: ContainerBench, program: str) -> None:
    run = bench.run(program)
    assert (run.code, run.message) == (127, f"program {program!r} is missing in image {bench.image!r}")
    assert [event for event, _ in run.events] == EVENTS


def test_a_program_that_is_not_executable(bench: ContainerBench) -> None:
    run = bench.run("/in/p", inputs={"/in/p": b"#!/bin/sh\n"})
    assert run.code == 126
    assert run.message == f"program '/in/p' can't be executed in image {bench.image!r}: Permission denied"


def test_a_shell_that_misses_a_program_speaks_for_itself(bench: ContainerBench) -> None:
    run = bench.run("sh", "-c", "nope")
    assert run.exit is not None
    assert (run.code, run.exit.message) == (127, None)
    assert b"nope: not found" in run.log


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('OCI runtime create failed: exec: "nope": executable file not found in $PATH: unknown', 127),
        ('runc: exec: "./x": stat ./x: no such file or directory: unknown', 127),
        ('runc: exec: "/etc/passwd": permission denied: unknown', 126),
        ('exec: "docker-init": executable file not found in $PATH', None),
        ("chdir to cwd (/root) set in config.json failed: permission denied", None),
    ],
)
def test_engines_that_refuse_to_start_a_program(
    bench: ContainerBench, monkeypatch: pytest.MonkeyPatch, text: str, code: int | None
) -> None:
    def start(client: docker.APIClient, container: str) -> None:
        raise docker_engine.Refusal(400, text)

    monkeypatch.setattr(docker.APIClient, "start", start)
    run = bench.prepare("x")
    if code is None:
        with pytest.raises(RuntimeFailure, match="the engine refuses"):
            bench.start(run)
    else:
        assert bench.start(run).code == code
        assert "in image" in run.message
        assert [event for event, _ in run.events] == EVENTS


@pytest.mark.parametrize("script", ["x=a; while true; do x=$x$x; done", "dd if=/dev/zero of=/dev/null bs=64M count=1; exit 3"])
def test_out_of_memory_is_said(bench: ContainerBench, script: str) -> None:
    bench.configure(memory="16m")
    for _ in range(20):  # on a busy machine the engine itself loses the news of it now and then
        run = bench.run("sh", "-c", script)
        assert run.exit is not None
        assert run.exit.code != 0
        if run.exit.message is not None:
            break
    assert re.search(r"out of memory.*limit 16m: see docker\.memory", run.message)


# Each goes on for a moment: an engine that is busy may miss what happened just before the end.
CHILDREN = {
    "in a pipe": "head -c 99999999 /dev/zero | sort | wc -c > /out/n; sleep 0.5",
    "in a subshell": "(x=a; while true; do x=$x$x; done) || sleep 0.5",
    "in the background": "(x=a; while true; do x=$x$x; done) & sleep 2",
}


@pytest.mark.parametrize("where", CHILDREN)
def test_memory_that_ran_out_for_a_child_is_said_whatever_the_exit_code(bench: ContainerBench, where: str) -> None:
    bench.configure(memory="16m")
    run = bench.run("sh", "-c", CHILDREN[where], outputs=("/out/",))
    assert (run.code, run.message) == (0, "out of memory (limit 16m: see docker.memory)")


def test_the_news_that_memory_ran_out_may_come_after_the_exit(bench: ContainerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is busy sets no flag then, and tells it as an event alone."""
    inspect = docker.APIClient.inspect_container

    def unknowing(client: docker.APIClient, container: str) -> Any:
        seen = inspect(client, container)
        seen["State"]["OOMKilled"] = False
        return seen

    monkeypatch.setattr(docker.APIClient, "inspect_container", unknowing)
    bench.configure(memory="16m")
    run = bench.run("sh", "-c", CHILDREN["in the background"])
    assert (run.code, run.message) == (0, "out of memory (limit 16m: see docker.memory)")


def test_memory_that_ran_out_elsewhere_is_no_failure(bench: ContainerBench) -> None:
    run = bench.prepare("sh", "-c", "echo up; while [ ! -e /out/go ]; do sleep 0.05; done", outputs=("/out/",))
    eater = DockerRuntime(DockerConfig(memory="16m"), bench.root_id)
    with ThreadPoolExecutor(1) as pool, contextlib.closing(eater):
        running = pool.submit(bench.start, run)
        run.wait_for(b"up")
        other = bench.prepare("sh", "-c", CHILDREN["in the background"])
        assert eater.run(other.invocation, other.cancellation, other.report).message
        (run.tree / "out/go").touch()
        running.result()
    assert run.exit is not None
    assert (run.exit.code, run.exit.message) == (0, None)


def test_a_container_that_somebody_removed_after_its_end_is_no_failure(
    bench: ContainerBench, client: docker.APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `docker container prune` does."""
    run = bench.prepare("true")

    def report(event: str, /, **facts: Any) -> None:
        if event == "container-exit":
            client.remove_container(bench.containers(client)[0]["Id"])

    exit = bench.runtime.run(run.invocation, run.cancellation, report)
    assert (exit.code, exit.message) == (0, None)


def test_sigterm_is_sent_first(bench: ContainerBench) -> None:
    bench.grace = 30
    run = bench.prepare("sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while true; do sleep 0.05; done")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"up")
        run.cancellation.cancel(BY_REQUEST)
        running.result()
    assert (run.code, run.log) == (7, b"up\nbye\n")
    assert [event for event, _ in run.events] == EVENTS


def test_sigkill_comes_after_the_grace(bench: ContainerBench) -> None:
    bench.grace = 0.5
    run = bench.prepare("sh", "-c", "trap '' TERM; echo up; while true; do sleep 0.05; done")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"up")
        began = time.monotonic()
        run.cancellation.cancel(BY_REQUEST)
        running.result()
    assert 0.5 <= time.monotonic() - began < 5
    assert run.code == 137


def test_the_timeout_ends_a_run(bench: ContainerBench) -> None:
    run = bench.run("sleep", "60", timeout=1)
    assert run.cancellation.reason == BY_TIMEOUT
    assert run.code == 143


def test_a_run_that_is_cancelled_before_makes_no_container(bench: ContainerBench) -> None:
    run = bench.prepare("sh", "-c", "echo no")
    run.cancellation.cancel(BY_REQUEST)
    bench.start(run)
    assert (run.code, run.events) == (143, [])
    assert not run.invocation.log.exists()


@pytest.mark.parametrize("event", EVENTS)
def test_a_cancellation_at_any_event(bench: ContainerBench, event: str) -> None:
    run = bench.prepare("sh", "-c", "sleep 0.5; echo 1 > /full/x", outputs=("/full/x",))

    def report(reported: str, /, **facts: Any) -> None:
        run.report(reported, **facts)
        if reported == event:
            run.cancellation.cancel(BY_REQUEST)

    began = time.monotonic()
    run.exit = bench.runtime.run(run.invocation, run.cancellation, report)
    assert time.monotonic() - began < 5
    assert run.code == (0 if event in EVENTS[2:] else 143)
    assert not (run.tree / "full/x").exists()


def test_a_cancellation_while_the_container_starts(bench: ContainerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM finds nothing to end before the start: it has to be brought afterwards."""
    run = bench.prepare("sh", "-c", "sleep 30")
    start = docker.APIClient.start

    def slow(client: docker.APIClient, container: str) -> None:
        run.cancellation.cancel(BY_REQUEST)
        start(client, container)
        threading.Event().wait(0.3)  # let docker-init come up, which is deaf until then

    monkeypatch.setattr(docker.APIClient, "start", slow)
    bench.grace = 30
    assert bench.start(run).code == 143


# ----------------------------------------------------------------------------------------------------------- images


def test_a_missing_image_that_may_not_be_pulled(bench: ContainerBench) -> None:
    bench.configure(pull="never")
    with pytest.raises(RuntimeFailure, match=r"'gaia-local/nope:1' is not here and docker.pull is 'never'; `docker pull`"):
        bench.run("true", image="gaia-local/nope:1")
    assert not bench.runtime.available("gaia-local/nope:1")
    assert bench.runtime.available(bench.image)


@pytest.mark.parametrize("policy", ["missing", "always"])
def test_a_pull_that_fails(bench: ContainerBench, policy: str) -> None:
    bench.configure(pull=policy)
    image = "127.0.0.1:1/gaia-local/nope:1"  # nobody listens there
    with pytest.raises(RuntimeFailure, match=f"'{image}' could not be pulled.*'{policy}'.*refused.*docker build"):
        bench.run("true", image=image)
    assert not bench.runtime.available(image)


class Registry(http.server.ThreadingHTTPServer):
    """A registry that serves one image, with one file in it, under any name."""

    daemon_threads = True

    def __init__(self) -> None:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            member = tarfile.TarInfo(f"hello-{uuid.uuid4()}")
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))
        layer = gzip.compress(raw.getvalue())
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(raw.getvalue())]},
        }
        described = json.dumps(config).encode()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(described),
                "digest": _digest(described),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    "size": len(layer),
                    "digest": _digest(layer),
                }
            ],
        }
        listed = json.dumps(manifest).encode()
        blobs = {_digest(blob): blob for blob in (layer, described, listed)}
        registry = self
        self.image_id = _digest(described)
        self.pulls = 0
        self.hold = threading.Event()
        self.hold.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                what, _, name = self.path.rpartition("/")
                blob = blobs.get(name, listed) if "/manifests" in what else blobs.get(name, b"{}")
                if "/blobs" in what and name == registry.image_id and self.command == "GET":
                    registry.pulls += 1
                    if not registry.hold.is_set():
                        registry.hold.wait()
                        return  # without an answer: the engine could keep an image that nobody would remove
                self.send_response(200)
                self.send_header("Content-Type", kind if blob is listed else "application/octet-stream")
                self.send_header("Content-Length", str(len(blob)))
                self.send_header("Docker-Content-Digest", _digest(blob))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(blob)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def image(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}/gaia-local/hello:1"


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


@pytest.fixture
def registry(client: docker.APIClient) -> Iterator[Registry]:
    with Registry() as registry:
        thread = threading.Thread(target=registry.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield registry
        finally:
            registry.hold.set()
            registry.shutdown()
            thread.join()
            with contextlib.suppress(docker.errors.ImageNotFound):
                client.remove_image(registry.image, force=True)


def test_a_missing_image_is_pulled_once(bench: ContainerBench, registry: Registry) -> None:
    assert bench.runtime.available(registry.image)
    registry.pulls = 0  # that looked at the configuration too
    runs = [bench.prepare("nope", image=registry.image) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bench.start, runs))
    assert {run.code for run in runs} == {127}
    assert {run.exit.image_id for run in runs if run.exit} == {registry.image_id}
    assert registry.pulls == 1


def test_a_pull_can_be_cancelled(bench: ContainerBench, registry: Registry) -> None:
    registry.hold.clear()
    runs = [bench.prepare("nope", image=registry.image) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(bench.start, run) for run in runs]
        wait_until(lambda: registry.pulls == 1)
        for run in runs:
            run.cancellation.cancel(BY_REQUEST)
        for each in running:
            each.result(timeout=10)
    assert [(run.code, run.events) for run in runs] == [(143, [])] * 2


# ------------------------------------------------------------------------------------------------ trouble with engines


def test_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    bench = ContainerBench(tmp_path, "any")
    with pytest.raises(EngineUnavailable, match=r"at unix:///nowhere/docker.sock: .*start Docker.*runtime: process"):
        bench.runtime.check(["any"])
    assert not bench.runtime.available("any")
    with pytest.raises(RuntimeFailure, match="no Docker engine answers"):
        bench.run("true")
    with pytest.raises(RuntimeFailure, match="no Docker engine answers"):
        bench.runtime.leftovers()
    bench.runtime.close()


def test_an_engine_that_answers(bench: ContainerBench) -> None:
    bench.runtime.check([bench.image])


def test_closing_twice_and_using_what_is_closed(bench: ContainerBench) -> None:
    bench.run("true")
    bench.runtime.close()
    bench.runtime.close()
    with pytest.raises(RuntimeFailure, match="closed"):
        bench.run("true")


class Proxy:
    """Stands between the runtime and its engine, and breaks what it is told to break."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._top = tempfile.mkdtemp(prefix="gaia-")  # short: a socket's path has at most 107 bytes
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self._top}/s")
        self._listener.listen(64)
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self.lost: list[bytes] = []
        """For each of these: the answer to the next request that holds it gets lost."""
        self.down = False
        self._spawn(self._accept)

    @property
    def address(self) -> str:
        return f"unix://{self._top}/s"

    def cut(self) -> None:
        """Break all connections."""
        with self._lock:
            for each in [one for pair in self._pairs for one in pair]:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        for each in [one for pair in self._pairs for one in pair]:
            each.close()
        shutil.rmtree(self._top)

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.down:
                near.close()
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._engine)
            with self._lock:
                self._pairs.append((near, far))
            losing = threading.Event()
            self._spawn(self._pump, near, far, losing, True)
            self._spawn(self._pump, far, near, losing, False)

    def _pump(self, source: socket.socket, target: socket.socket, losing: threading.Event, asks: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if asks:
                    for each in [each for each in self.lost if each in data]:
                        self.lost.remove(each)
                        losing.set()
                elif losing.is_set():
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(bench: ContainerBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A `Proxy` that the bench's runtime is connected to."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not address.startswith("unix://"):
        pytest.skip("the engine is not behind a Unix socket")
    proxy = Proxy(address.removeprefix("unix://"))
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", proxy.address)
        bench.configure()
        bench.runtime.check([])
    yield proxy
    bench.runtime.close()
    proxy.close()


@pytest.mark.parametrize("request_", ["/images/", "/containers/create", "/attach", "/start", "/wait", "/archive", "DELETE"])
def test_a_lost_answer_is_asked_for_again(bench: ContainerBench, proxy: Proxy, client: docker.APIClient, request_: str) -> None:
    proxy.lost.append(request_.encode())
    run = bench.run("sh", "-ec", "echo 1 >> /out/x; echo 2 >> /full/y; echo said", outputs=("/out/x", "/full/y"))
    assert proxy.lost == []
    assert (run.code, run.log) == (0, b"said\n")
    assert (run.tree / "out/x").read_bytes() == b"1\n"
    assert (run.tree / "full/y").read_bytes() == b"2\n"
    assert [event for event, _ in run.events] == EVENTS


def test_a_lost_answer_about_the_tasks_own_container(bench: ContainerBench, proxy: Proxy) -> None:
    """The name is taken then, by a container that nobody else will ever remove."""
    proxy.lost.append(b"/containers/create?name=gaia-local-")
    run = bench.run("true", outputs=("/out/x",))
    assert (proxy.lost, run.code) == ([], 0)


def test_a_name_that_somebody_else_has(bench: ContainerBench, client: docker.APIClient) -> None:
    run = bench.prepare("true")
    other = client.create_container(bench.image, ["true"], name=f"gaia-local-{run.invocation.task.id}")["Id"]
    try:
        with pytest.raises(RuntimeFailure, match="already in use"):
            bench.start(run)
        client.inspect_container(other)
    finally:
        client.remove_container(other)


def test_a_broken_stream_is_read_again(bench: ContainerBench, proxy: Proxy) -> None:
    script = "printf 'one\nhalf a l'; echo err >&2; while [ ! -e /out/go ]; do sleep 0.05; done; printf 'ine\nend'"
    run = bench.prepare("sh", "-c", script, stdout="/s", outputs=("/out/",))
    run.invocation.log.write_bytes(b"before\n")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"err")
        for _ in range(2):
            run.wait_for(b"half")
            proxy.cut()
        (run.tree / "out/go").touch()
        running.result()
    assert (run.code, run.stdout) == (0, b"one\nhalf a line\nend")
    assert run.log.startswith(b"before\n")
    assert run.log.replace(b"err\n", b"", 1) == b"before\n" + run.stdout
    assert [event for event, _ in run.events] == EVENTS


def test_a_stream_that_ends_too_early_is_noticed(bench: ContainerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that goes away in good order closes the stream as if the program had ended."""
    monkeypatch.setattr("gaia_local.docker_runtime._SETTLE", 1)
    monkeypatch.setattr(docker_engine, "_frames", _ends_at_once(docker_engine._frames))
    run = bench.run("sh", "-c", "echo one; sleep 2; echo two")
    assert (run.code, run.log) == (0, b"one\ntwo\n")


def _ends_at_once(frames: Callable[..., Any]) -> Callable[..., Any]:
    calls = []

    def cut(response: Any) -> Any:
        calls.append(response)
        return iter(()) if len(calls) == 1 else frames(response)

    return cut


def test_an_engine_that_goes_away_can_be_cancelled_and_its_container_found(
    bench: ContainerBench,
    proxy: Proxy,
    client: docker.APIClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(docker_engine, "_DELAYS", (0.1, 0.1))
    run = bench.prepare("sh", "-c", "echo up; sleep 60")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"up")
        proxy.down = True
        proxy.cut()
        wait_until(lambda: "lost the engine" in caplog.text)
        run.cancellation.cancel(BY_REQUEST)
        running.result()
    assert run.code == 137
    assert "could not be removed" in caplog.text
    bench.configure()
    (left,) = bench.runtime.leftovers()
    assert (left.task, left.running) == (run.invocation.task.id, True)
    bench.runtime.remove_leftover(left.container)
    bench.runtime.remove_leftover(left.container)
    assert bench.runtime.leftovers() == []


def test_a_container_that_somebody_removed(bench: ContainerBench, client: docker.APIClient) -> None:
    run = bench.prepare("sh", "-c", "echo up; sleep 60")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(bench.start, run)
        run.wait_for(b"up")
        client.remove_container(bench.containers(client)[0]["Id"], force=True)
        wait_until(running.done)
    assert run.code == 137


def test_the_connection_pool_fits_all_threads(bench: ContainerBench, caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 warns when more threads talk than the pool has room for."""
    caplog.set_level(logging.WARNING, "urllib3")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: bench.run("true"), range(16)))
    assert caplog.text == ""


# ---------------------------------------------------------------------- what an earlier process left


def left_behind(bench: ContainerBench, client: docker.APIClient, run: Run) -> str:
    """The container of a run that an earlier process made and did not start; answers its id."""
    task = run.invocation.task
    made: str = client.create_container(
        task.image,
        list(task.command),
        name=f"gaia-local-{task.id}",
        labels={"gaia-local.root": bench.root_id, "gaia-local.task": task.id},
    )["Id"]
    assert list(bench.runtime.left()) == [task.id]
    return made


def rejoin(bench: ContainerBench, run: Run) -> Run:
    run.exit = bench.runtime.rejoin(run.invocation, run.cancellation, run.report)
    return run


@pytest.mark.parametrize("over", [False, True])
def test_a_container_is_taken_up(bench: ContainerBench, client: docker.APIClient, over: bool) -> None:
    script = f"echo begun; sleep {0 if over else 1}; echo over; echo made > /full/x; exit 3"
    run = bench.prepare("sh", "-c", script, outputs=("/full/x",), stdout="/elsewhere/said")
    run.invocation.log.write_bytes(b"begun, as the earlier process heard it\n")
    container = left_behind(bench, client, run)
    client.start(container)
    if over:
        client.wait(container)
    rejoin(bench, run)
    assert (run.code, run.log, run.stdout) == (3, b"begun\nover\n", b"begun\nover\n")
    assert run.events == [("execution-complete", {}), ("container-exit", {"code": 3})]
    assert (run.tree / "full/x").read_text() == "made\n"
    assert run.exit is not None and run.exit.image_id == bench.image_id(client)
    assert bench.containers(client) == []


def test_a_file_of_the_image_is_no_output_of_a_resumed_container(bench: ContainerBench, client: docker.APIClient) -> None:
    run = bench.prepare("sh", "-c", "echo made > /full/x", outputs=("/full/x", "/full/own"))
    client.start(left_behind(bench, client, run))
    rejoin(bench, run)
    assert run.code == 0
    assert [path.name for path in (run.tree / "full").iterdir()] == ["x"]
    assert bench.containers(client) == []


def test_a_container_that_was_never_started_is_started(bench: ContainerBench, client: docker.APIClient) -> None:
    run = bench.prepare("sh", "-c", "echo made > /full/x", outputs=("/full/x",))
    left_behind(bench, client, run)
    rejoin(bench, run)
    assert run.code == 0
    assert [event for event, _ in run.events] == ["execution-start", "execution-complete", "container-exit"]
    assert (run.tree / "full/x").read_text() == "made\n"
    assert bench.containers(client) == []


def test_a_resumed_container_has_the_rest_of_its_timeout(bench: ContainerBench, client: docker.APIClient) -> None:
    run = bench.prepare("sleep", "60", timeout=1.0)
    client.start(left_behind(bench, client, run))
    time.sleep(1.0)  # the time that passed before is what counts here
    began = time.monotonic()
    rejoin(bench, run)
    assert time.monotonic() - began < 10
    assert run.cancellation.reason == BY_TIMEOUT
    assert bench.containers(client) == []


def test_a_resumed_container_can_be_cancelled(bench: ContainerBench, client: docker.APIClient) -> None:
    run = bench.prepare("sleep", "60")
    client.start(left_behind(bench, client, run))
    run.cancellation.cancel(BY_REQUEST)
    assert rejoin(bench, run).code == 143
    assert run.events == []
    assert bench.containers(client) == []


def test_a_container_that_is_gone_cannot_be_taken_up(bench: ContainerBench) -> None:
    run = bench.prepare("true")
    with pytest.raises(RuntimeFailure, match="No such container"):
        rejoin(bench, run)
    assert run.events == []

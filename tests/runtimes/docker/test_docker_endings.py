"""The ends of containers and their messages: no program, no memory, cancellation."""

from __future__ import annotations

import contextlib
import re
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from gaia_local.config import DockerConfig
from gaia_local.errors import RuntimeFailure
from gaia_local.model.tasks import BY_REQUEST, BY_TIMEOUT
from gaia_local.runtimes.docker.responses import Refusal
from gaia_local.runtimes.docker.runtime import DockerRuntime
from support.containers import EVENTS, ContainerBench, bench, client, derived, full_image

__all__ = ["bench", "client", "full_image"]


@pytest.mark.parametrize("program", ["nope", "/etc/nope/x"])
def test_a_missing_program(bench: ContainerBench, program: str) -> None:
    run = bench.run(program)
    assert (run.code, run.message) == (
        127,
        f"program {program!r} is missing in image {bench.image!r}",
    )
    assert [event for event, _ in run.events] == EVENTS


def test_a_program_that_is_not_executable(bench: ContainerBench) -> None:
    run = bench.run("/in/p", inputs={"/in/p": b"#!/bin/sh\n"})
    assert run.code == 126
    assert (
        run.message
        == f"program '/in/p' can't be executed in image {bench.image!r}: Permission denied"
    )


@pytest.mark.parametrize(
    ("content", "lacking"),
    [
        (b"#!/bin/sh\r\necho 1\r\n", "its lines end with CR LF: save it with those of Unix"),
        (b"#! /no/such -x\n", "the interpreter '/no/such' that its first line names is missing in"),
    ],
)
@pytest.mark.parametrize("program", ["/in/p", "../in/p"])
def test_a_program_that_is_there_and_lacks_its_interpreter(
    bench: ContainerBench, content: bytes, lacking: str, program: str
) -> None:
    run = bench.prepare(program, inputs={"/in/p": content})
    (run.tree / "in/p").chmod(0o755)
    assert bench.start(run).code == 127
    assert run.message.startswith(f"program {program!r} is there, but {lacking}")


def test_a_program_of_the_image_that_lacks_its_interpreter(bench: ContainerBench) -> None:
    script = (
        r"printf '#!/no/such\n' > /bin/tool-1; chmod 755 /bin/tool-1;"
        " ln -s tool-1 /bin/tool-0; ln -s /bin/tool-0 /bin/tool"
    )
    with derived(bench.image, script) as image:
        run = bench.run("tool", image=image)
    assert run.code == 127
    assert run.message.startswith("program 'tool' is there, but the interpreter '/no/such'")


def test_a_binary_that_lacks_its_loader(bench: ContainerBench) -> None:
    """As one for glibc in an image without it."""
    header = bytearray(b"\x7fELF\2\1\1".ljust(120, b"\0"))
    struct.pack_into("<HHI", header, 16, 2, 62, 1)  # an x86-64 program
    struct.pack_into("<QQ", header, 24, 0x1000, 64)
    struct.pack_into("<HHH", header, 52, 64, 56, 1)  # with one segment:
    struct.pack_into("<IIQQQQQ", header, 64, 3, 4, 120, 0, 0, 10, 10)  # its interpreter
    run = bench.prepare("/in/p", inputs={"/in/p": bytes(header) + b"/no/ld.so\0"})
    (run.tree / "in/p").chmod(0o755)
    assert bench.start(run).code == 127
    assert run.message == (
        "program '/in/p' is there, but the interpreter or loader that it names is missing"
        f" in image {bench.image!r}"
    )


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["x" * 131_072], "its longest token has 131072 bytes, and a program takes 131071 at most"),
        (["x" * 100_000] * 30, r"its 31 tokens \(the longest has 100000 bytes\) and the"),
    ],
)
def test_tokens_that_are_too_long(bench: ContainerBench, tokens: list[str], words: str) -> None:
    with pytest.raises(RuntimeFailure, match=f"Step 'a step': {words}.*give it as an input"):
        bench.run("echo", *tokens)


@pytest.mark.parametrize(
    "words",
    [
        "s6-overlay-suexec: fatal: can only run as pid 1",
        "runit: fatal: must be run as process no 1.",
    ],
)
def test_an_entrypoint_that_must_be_process_1(bench: ContainerBench, words: str) -> None:
    lines = ("#!/bin/sh", f"if [ $$ != 1 ]; then echo '{words}' >&2; exit 100; fi", '"$@"')
    entry = f"cat > /init <<'END'\n{chr(10).join(lines)}\nEND\nchmod 755 /init"
    with derived(bench.image, entry, 'ENTRYPOINT ["/init"]') as image:
        run = bench.run("echo", "done", image=image)
        assert (run.code, run.message) == (
            100,
            f"the ENTRYPOINT of image {image!r} must be process 1; set docker.init to False",
        )
        bench.configure(init=False)
        run = bench.run("echo", "done", image=image)
        assert (run.code, run.log) == (0, b"done\n")


def test_without_an_init_of_the_engine(bench: ContainerBench) -> None:
    bench.configure(init=False)
    assert bench.run("sh", "-c", "exit $$").code == 1  # its own number
    run = bench.run("nope")
    assert (run.code, run.message) == (
        127,
        f"program 'nope' is missing in image {bench.image!r}",
    )
    with pytest.raises(RuntimeFailure, match="its longest token has 131072 bytes"):
        bench.run("echo", "x" * 131_072)
    run = bench.prepare("/in/p", inputs={"/in/p": b"#!/bin/sh\r\n"})
    (run.tree / "in/p").chmod(0o755)
    assert bench.start(run).code == 127
    assert "CR LF" in run.message
    bench.grace = 0.2
    run = bench.run("sh", "-c", "while true; do sleep 0.05; done", timeout=1)  # deaf to SIGTERM
    assert (run.code, run.cancellation.reason) == (137, BY_TIMEOUT)


def test_a_shell_that_misses_a_program_speaks_for_itself(bench: ContainerBench) -> None:
    run = bench.run("sh", "-c", "nope")
    assert run.exit is not None
    assert (run.code, run.exit.message) == (127, None)
    assert b"nope: not found" in run.log


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            'OCI runtime create failed: exec: "nope": executable file not found in $PATH: unknown',
            127,
        ),
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
        raise Refusal(400, text)

    monkeypatch.setattr(docker.APIClient, "start", start)
    run = bench.prepare("x")
    if code is None:
        with pytest.raises(RuntimeFailure, match="the engine refuses"):
            bench.start(run)
    else:
        assert bench.start(run).code == code
        assert "in image" in run.message
        assert [event for event, _ in run.events] == EVENTS


@pytest.mark.parametrize(
    "script",
    [
        "x=a; while true; do x=$x$x; done",
        pytest.param(
            "dd if=/dev/zero of=/dev/null bs=64M count=1; exit 3", marks=pytest.mark.docker_only
        ),
    ],
)
def test_out_of_memory_is_said(bench: ContainerBench, script: str) -> None:
    bench.configure(memory="16m")
    for _ in range(20):  # on a busy machine the engine itself loses the news of it now and then
        run = bench.run("sh", "-c", script)
        assert run.exit is not None
        assert run.exit.code != 0
        if run.exit.message is not None:
            break
    assert re.search(r"out of memory.*limit 16m: see docker\.memory", run.message)


OUT_OF_MEMORY = r"out of memory \(limit 16m: see docker\.memory(; it had used 1\d(\.\d)? MB)?\)"
# Each goes on for a moment: a busy engine may miss events just before the end.
CHILDREN = {
    "in a pipe": "head -c 99999999 /dev/zero | sort | wc -c > /out/n; sleep 0.5",
    "in a subshell": "(x=a; while true; do x=$x$x; done) || sleep 0.5",
    "in the background": "(x=a; while true; do x=$x$x; done) & sleep 2",
}


@pytest.mark.docker_only
@pytest.mark.parametrize("where", CHILDREN)
def test_memory_that_ran_out_for_a_child_is_said_whatever_the_exit_code(
    bench: ContainerBench, where: str
) -> None:
    bench.configure(memory="16m")
    run = bench.run("sh", "-c", CHILDREN[where], outputs=("/out/",))
    assert run.code == 0
    assert re.fullmatch(OUT_OF_MEMORY, run.message)


@pytest.mark.docker_only
def test_the_news_that_memory_ran_out_may_come_after_the_exit(
    bench: ContainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that is busy sets no flag then, and tells it as an event alone."""
    inspect = docker.APIClient.inspect_container

    def unknowing(client: docker.APIClient, container: str) -> Any:
        seen = inspect(client, container)
        seen["State"]["OOMKilled"] = False
        return seen

    monkeypatch.setattr(docker.APIClient, "inspect_container", unknowing)
    bench.configure(memory="16m")
    run = bench.run("sh", "-c", CHILDREN["in the background"])
    assert run.code == 0
    assert re.fullmatch(OUT_OF_MEMORY, run.message)


@pytest.mark.docker_only
def test_memory_that_ran_out_elsewhere_is_no_failure(bench: ContainerBench) -> None:
    run = bench.prepare(
        "sh", "-c", "echo up; while [ ! -e /out/go ]; do sleep 0.05; done", outputs=("/out/",)
    )
    eater = DockerRuntime(DockerConfig(memory="16m"), bench.root)
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
    run = bench.prepare(
        "sh", "-c", "trap 'echo bye; exit 7' TERM; echo up; while true; do sleep 0.05; done"
    )
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
    assert not Path(run.invocation.log).exists()


@pytest.mark.parametrize("event", EVENTS)
def test_a_cancellation_at_any_event(bench: ContainerBench, event: str) -> None:
    run = bench.prepare("sh", "-c", "sleep 0.5; echo 1 > /full/x", outputs=("/full/x",))

    def report(reported: str, /, **facts: Any) -> None:
        run.report(reported, **facts)
        if reported == event:
            run.cancellation.cancel(BY_REQUEST)

    began = time.monotonic()
    run.exit = bench.runtime.run(run.invocation, run.cancellation, report)
    assert time.monotonic() - began < 20  # far less than its timeout
    assert run.code == (0 if event in EVENTS[2:] else 143)
    assert not (run.tree / "full/x").exists()


def test_a_cancellation_while_the_container_starts(
    bench: ContainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
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

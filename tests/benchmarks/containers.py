"""Containers with much data, beside the Docker SDK. Needs an Engine that answers, and the image."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path

from benchmarks.measuring import (
    Contestant,
    Finding,
    Missing,
    Row,
    Setting,
    Turns,
    bare,
    docker_engine,
    in_turns,
    ours,
)

GIGABYTE = 1 << 30
PART = 1 << 20
ROUNDS = 3
"""The most rounds of a measurement that moves gigabytes."""
OWN_BYTES = 8e6
"""Bytes that the engine may write for itself: its database and its log."""
FLAT = 16e6
"""Bytes of memory that the engine may need more for a gigabyte."""
Benchmark = Callable[[Setting], Iterator[Finding]]


def needs_engine(benchmark: Benchmark) -> Benchmark:
    """The benchmark; if the Engine or the image is missing, it reports just that."""

    @wraps(benchmark)
    def guarded(setting: Setting) -> Iterator[Finding]:
        why = _unusable(setting.image)
        if why is None:
            yield from benchmark(setting)
        else:
            yield Missing((benchmark.__doc__ or "").partition("\n")[0].replace(".", ":"), why)

    return guarded


def _unusable(image: str) -> str | None:
    if docker_engine() is None:
        return "no Docker Engine answers; set DOCKER_HOST"
    import docker

    client = docker.from_env()
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        return f"the Engine has no image {image!r}; name another in GAIA_LOCAL_TEST_IMAGE"
    finally:
        client.close()
    return None


@needs_engine
def containers(setting: Setting) -> Iterator[Finding]:
    """24 containers, 4 at a time, beside the Docker SDK: create, start, wait, logs, remove."""
    count, workers = setting.count(24), 4

    def by_us() -> dict[str, float]:
        with setting.place() as root:
            return ours(
                "run",
                root=root,
                shape="independent",
                count=count,
                runtime="docker",
                workers=workers,
                image=setting.image,
            )

    def by_sdk() -> dict[str, float]:
        with setting.place() as folder:
            return bare(
                "containers", folder=folder, count=count, image=setting.image, workers=workers
            )

    turns = in_turns(setting.rounds, {"ours": by_us, "bare": by_sdk})
    what = f"{count} containers, {workers} workers"
    yield Row(
        what,
        "s",
        turns.of("ours", "process_s"),
        "the SDK's calls in as many threads",
        turns.of("bare", "process_s"),
        ratio_most=1.05,
    )


@needs_engine
def input_file(setting: Setting) -> Iterator[Finding]:
    """A file of 1 GB as a container's input, copied or mounted, beside `cp` and a small file."""
    size = setting.count(GIGABYTE, least=PART)
    with setting.place(large=True) as folder:
        big, small = Path(folder, "big"), Path(folder, "small")
        _fill(big, size)
        small.write_bytes(b"small")

        def by_cp() -> dict[str, float]:
            import subprocess

            began = time.perf_counter()
            subprocess.run(["cp", big, f"{folder}/copy"], check=True)
            seconds = time.perf_counter() - began
            Path(folder, "copy").unlink()
            return {"seconds_s": seconds}

        script = "test -s /in/a && echo hi > /out/x"
        turns = in_turns(
            setting.few(ROUNDS),
            {
                "copied": _data(setting, script, source=str(big)),
                "mounted": _data(setting, script, source=str(big), inputs="mount"),
                "small": _data(setting, script, source=str(small)),
                "cp": by_cp,
            },
        )
    name = f"{size / GIGABYTE:g} GB input file"
    for how, copies in (("copied", 1), ("mounted", 0)):
        yield Row(
            f"{name}, {how}: time beyond a small file's",
            "s",
            turns.beyond(how, "small"),
            "cp",
            turns.of("cp"),
        )
        yield Row(
            f"{name}, {how}: bytes written",
            "MB",
            turns.of(how, "written_bytes"),
            most=copies * size + OWN_BYTES,
        )
        yield _memory(f"{name}, {how}", turns, how)


@needs_engine
def output_directory(setting: Setting) -> Iterator[Finding]:
    """A directory of 1 GB as a container's output, beside a bare container that flushes it."""
    size = setting.count(GIGABYTE, least=4 * PART) // 4
    script = "; ".join(f"head -c {size} /dev/zero > /out/{number}" for number in range(4))
    turns = in_turns(
        setting.few(ROUNDS),
        {
            "ours": _data(setting, script, directory=True),
            "small": _data(setting, "echo hi > /out/0", directory=True),
            "bare": _one_container(setting, script, prints=False),
        },
    )
    name = f"{4 * size / GIGABYTE:g} GB output directory"
    yield Row(
        name,
        "s",
        turns.of("ours", "seconds_s"),
        "a bare container, then fsync",
        turns.of("bare", "seconds"),
    )
    yield Row(
        f"{name}: bytes written by the engine",
        "MB",
        turns.of("ours", "written_bytes"),
        most=OWN_BYTES,
    )
    yield _memory(name, turns, "ours")


@needs_engine
def printing(setting: Setting) -> Iterator[Finding]:
    """A container that prints 1 GB, beside `docker logs`."""
    if shutil.which("docker") is None:
        yield Missing(
            "A container that prints 1 GB, beside `docker logs`:", "there is no docker on PATH"
        )
        return
    size = setting.count(GIGABYTE, least=PART)
    line = "a line of a program that says much, eighty characters or so, as they often are"
    script = f"yes '{line}' | head -c {size}"
    turns = in_turns(
        setting.few(ROUNDS),
        {
            "ours": _data(setting, f"{script}; echo hi > /out/x"),
            "small": _data(setting, "echo hi; echo hi > /out/x"),
            "bare": _one_container(setting, script, prints=True),
        },
    )
    name = f"a Step that prints {size / GIGABYTE:g} GB"
    reference = "a bare container, then `docker logs`"
    yield Row(
        name,
        "s",
        turns.of("ours", "seconds_s"),
        reference,
        turns.of("bare", "seconds"),
        ratio_most=1.0,
    )
    yield Row("… of the reference `docker logs` alone", "s", turns.of("bare", "logs_s"))
    yield _memory(name, turns, "ours")


def _data(
    setting: Setting,
    script: str,
    *,
    source: str | None = None,
    inputs: str = "copy",
    directory: bool = False,
) -> Contestant:
    def once() -> dict[str, float]:
        with setting.place(large=True) as root:
            return ours(
                "data",
                root=root,
                image=setting.image,
                script=script,
                source=source,
                inputs=inputs,
                directory=directory,
            )

    return once


def _one_container(setting: Setting, script: str, prints: bool) -> Contestant:
    def once() -> dict[str, float]:
        with setting.place(large=True) as folder:
            return bare(
                "one_container", folder=folder, image=setting.image, script=script, prints=prints
            )

    return once


def _memory(name: str, turns: Turns, contestant: str) -> Row:
    what = f"{name}: memory beyond that with a small one"
    return Row(what, "MB", turns.beyond(contestant, "small", "peak_bytes"), most=FLAT)


def _fill(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, PART):
            file.write(bytes([start // PART % 256]) * min(PART, size - start))

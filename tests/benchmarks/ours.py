"""The measurements of gaia_local, a process a run: ``python -m benchmarks.ours NAME ARGUMENTS``.

ARGUMENTS are JSON. Prints one line of JSON with seconds (`…_s`) and bytes.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.workflows import SHAPES
from gaia_local import Gaia
from support.fakes import InstantRuntime

NAME = "bench"
TIMES = 5
"""The number of times that a question is asked for its median."""
INSTANT = InstantRuntime.name
"""With this runtime, the engine alone is measured."""


@contextmanager
def opened(root: str, runtime: str, workers: int | None = 2, **config: Any) -> Iterator[Gaia]:
    """A `Gaia`; quiet, since a warning printed a thousand times would be measured, too."""
    logging.getLogger("gaia_local").setLevel(logging.ERROR)
    if runtime == INSTANT:
        from gaia_local.engine import execution

        # Mypy knows it as a function.
        setattr(execution, "runtime_of", lambda config: InstantRuntime())  # noqa: B010
        runtime = "process"
    with Gaia({"root": root, "runtime": runtime, "workers": workers, **config}) as gaia:
        yield gaia


def run(
    root: str,
    shape: str,
    count: int,
    *,
    runtime: str = "process",
    workers: int | None = 2,
    image: str = "busybox",
    warm: bool = False,
    **config: Any,
) -> None:
    """One workflow to its end; `warm`: after a small one, which pays a process's one-time costs."""
    commands, steps = SHAPES[shape](count, image)
    began, cpu = time.perf_counter(), time.process_time()
    with opened(root, runtime, workers, **config) as gaia:
        if warm:
            gaia.upload("warm", {}, *SHAPES[shape](10, image))
            finish(gaia, "warm")
            began, cpu = time.perf_counter(), time.process_time()
        gaia.upload(NAME, {}, commands, steps)
        uploaded = time.perf_counter()
        finish(gaia)
        ended = time.perf_counter()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    tell(
        upload_s=uploaded - began,
        run_s=ended - began,
        whole_s=time.perf_counter() - began,
        cpu_s=time.process_time() - cpu,
        children_s=children.ru_utime + children.ru_stime,
        steps=len(steps),
        peak_bytes=peak(),
    )


def again(root: str) -> None:
    """`run` on a complete workflow: in a process that knows it, and in one that reads it first."""
    began = time.perf_counter()
    with opened(root, "process") as gaia:
        gaia.run(NAME)
        finish(gaia)
        first = time.perf_counter() - began

        def nothing() -> None:
            gaia.run(NAME)
            gaia.wait(NAME)

        tell(first_s=first, again_s=asked(nothing))


def ask(root: str, shape: str, count: int, workflows: int) -> None:
    """Questions and small changes on a large workflow, while it runs and when it is complete."""
    commands, steps = SHAPES[shape](count, "busybox")
    with opened(root, INSTANT) as gaia:
        for number in range(workflows - 1):
            gaia.upload(f"small{number}", {}, *SHAPES[shape](2, "busybox"))
        gaia.upload(NAME, {}, commands, steps)
        running = asked(lambda: gaia.status(NAME))
        assert gaia.status(NAME)["state"] == "running"
        finish(gaia)
        complete = asked(lambda: gaia.status(NAME))
        expires = []
        for _ in range(TIMES):
            began = time.perf_counter()
            gaia.expire(NAME, [steps[-1]["name"]])
            expires.append(time.perf_counter() - began)
            finish(gaia)
        listed = asked(gaia.workflows)
        assert len(gaia.workflows()["workflows"]) == workflows
        progress = asked(lambda: gaia.progress(NAME))
    tell(
        status_running_s=running,
        status_complete_s=complete,
        expire_s=statistics.median(expires),
        workflows_s=listed,
        progress_s=progress,
    )


def look(root: str) -> None:
    """The first question of a process about a large workflow, which it has to read for that."""
    with opened(root, "process") as gaia:
        began = time.perf_counter()
        gaia.status(NAME)
        tell(status_first_s=time.perf_counter() - began, peak_bytes=peak())


def data(
    root: str, image: str, script: str, *, source: str | None, inputs: str, directory: bool
) -> None:
    """One container that reads or writes much."""
    command: dict[str, Any] = {
        "name": "data",
        "image": image,
        "command": ["sh", "-c", script],
        "outputs": {"x": "/out/x"},
    }
    step: dict[str, Any] = {"name": "data", "command": "data", "outputs": {"x": "d:x"}}
    if directory:
        command["outputs"], step["outputs"] = {"x": "/out/"}, {"x": "d:x/"}
    if source is not None:
        command["inputs"], step["inputs"] = {"a": "/in/a"}, {"a": "d:a"}
    with opened(root, "docker", docker={"inputs": inputs}) as gaia:
        if source is not None:
            place = gaia.path(NAME, "d:a")
            place.parent.mkdir(parents=True)
            os.rename(source, place)
        wrote = written()
        began = time.perf_counter()
        gaia.upload(NAME, {}, [command], [step])
        finish(gaia)
        seconds = time.perf_counter() - began
        if source is not None:
            os.rename(place, source)
    tell(seconds_s=seconds, peak_bytes=peak(), written_bytes=written() - wrote)


# ------------------------------------------------------------------------------------------- inside


def finish(gaia: Gaia, name: str = NAME) -> None:
    """Wait for the end, which must be a good one."""
    answer = gaia.wait(name)
    if answer["state"] != "complete":
        raise RuntimeError(f"the workflow ended as {answer['state']}: {gaia.failures(name)[:3]}")


def asked(question: Callable[[], object]) -> float:
    """The median of some times in seconds."""
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        question()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def peak() -> int:
    """The most memory that this process ever had, in bytes.

    NOTE: not `getrusage`, whose figure a process inherits from the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    return 1024 * int(
        next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    )


def written() -> int:
    """The bytes that this process has written to files so far."""
    counters = Path("/proc/self/io").read_text()
    return int(
        next(line for line in counters.splitlines() if line.startswith("write_bytes")).split()[1]
    )


def tell(**figures: float) -> None:
    """Print figures as a line of JSON."""
    print(json.dumps(figures), flush=True)


PROGRAMS: dict[str, Callable[..., None]] = {
    "run": run,
    "again": again,
    "ask": ask,
    "look": look,
    "data": data,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](**json.loads(sys.argv[2]))

"""Runs that reuse results, a process a run: ``python -m benchmarks.reused NAME ARGUMENTS``.

ARGUMENTS are JSON. Prints one line of JSON with seconds (`…_s`) and bytes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.ours import finish, opened, peak, tell
from benchmarks.study import Part, Size, command, study
from benchmarks.workflows import SHAPES, Shape


def whole_cell(
    *, root: str, name: str, counter: str, inputs: str, size: list[int], reuse: bool
) -> None:
    """A study under one name, to its end; its inputs are in a bucket of their own."""
    commands, steps = _in_gaias_format(Size(*size), counter)
    began = time.perf_counter()
    with opened(root, "process", reuse=reuse, buckets={"in": inputs}) as gaia:
        gaia.upload(name, {}, commands, steps)
        finish(gaia, name)
        tell(
            run_s=time.perf_counter() - began,
            reused=gaia.progress(name).get("reused", 0),
            cpu_s=time.process_time(),
        )


def names(
    *, root: str, shape: str, count: int, runtime: str, names: list[str], reuse: bool
) -> None:
    """The same workflow under some names, one after the other, in one process.

    Figures are of the last one; a small one goes first.
    """
    commands, steps = SHAPES[shape](count, "busybox")
    with opened(root, runtime, reuse=reuse) as gaia:
        gaia.upload("warm", {}, *SHAPES["chain"](10, "busybox"))
        finish(gaia, "warm")
        for name in names:
            began, cpu = time.perf_counter(), time.process_time()
            gaia.upload(name, {}, commands, steps)
            finish(gaia, name)
            run, cpu = time.perf_counter() - began, time.process_time() - cpu
        reused = gaia.progress(names[-1]).get("reused", 0)
    tell(run_s=run, cpu_s=cpu, reused=reused, steps=len(steps), peak_bytes=peak())


def outputs(root: str, count: int, size: int, files: int) -> None:
    """Steps that make `files` files of `size` bytes each, under a second name: a hit's cost."""
    commands, steps = _making(count, size, files)
    with opened(root, "process", reuse=True) as gaia:
        gaia.upload("first", {}, commands, steps)
        finish(gaia, "first")
        began, cpu = time.perf_counter(), time.process_time()
        gaia.upload("second", {}, commands, steps)
        finish(gaia, "second")
        run, cpu = time.perf_counter() - began, time.process_time() - cpu
        if gaia.progress("second").get("reused", 0) != count:
            raise RuntimeError(f"not all were reused: {gaia.progress('second')}")
    tell(run_s=run, cpu_s=cpu, peak_bytes=peak())


def _in_gaias_format(size: Size, counter: str) -> Shape:
    commands: dict[str, dict[str, Any]] = {}
    steps = []
    for part in study(size):
        keys = [*(f"out:{name}" for name in part.reads), *(f"in:{path}" for path in part.inputs)]
        # A Command's Steps have equally many inputs, but for joins of an odd number of chains.
        kind = f"{part.kind}-{len(keys)}"
        places = {f"i{number}": f"/in/{number}" for number in range(len(keys))}
        general = Part(part.kind, "{{name}}", ())
        tokens = command(general, size, counter, "/out/x", list(places.values()))
        commands[kind] = {
            "name": kind,
            "image": "busybox",
            "command": tokens,
            "inputs": places,
            "outputs": {"x": "/out/x"},
            "vars": {"name": ""},
        }
        steps.append(
            {
                "name": part.name,
                "command": kind,
                "inputs": dict(zip(places, keys, strict=True)),
                "outputs": {"x": f"out:{part.name}"},
                "vars": {"name": part.name},
            }
        )
    return list(commands.values()), steps


def _making(count: int, size: int, files: int) -> Shape:
    script = f"head -c {size} /dev/zero > $0; echo $1 >> $0"
    place = "/out/x"
    if files > 1:
        script = f"for n in $(seq {files}); do echo $1 > $0/$n; done"
        place = "/out/"
    make = {
        "name": "make",
        "image": "busybox",
        "command": ["sh", "-c", script, place, "{{n}}"],
        "outputs": {"x": place},
        "vars": {"n": 0},
    }
    end = "/" if files > 1 else ""
    return [make], [
        {
            "name": f"s{n}",
            "command": "make",
            "outputs": {"x": f"d:{n}{end}"},
            "vars": {"n": n},
        }
        for n in range(count)
    ]


def written(counter: str) -> list[str]:
    """The names of the parts whose programs ran, sorted."""
    return sorted(Path(counter).read_text().split()) if os.path.exists(counter) else []


PROGRAMS: dict[str, Callable[..., None]] = {
    "whole_cell": whole_cell,
    "names": names,
    "outputs": outputs,
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](**json.loads(sys.argv[2]))

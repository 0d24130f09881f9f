"""Reuse: a study under other names, beside other programs; and what hits and misses cost."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.measuring import Failed, Finding, Missing, Row, Setting, in_turns, program
from benchmarks.peers import HERE, Peer, prepare
from benchmarks.reused import written
from benchmarks.study import Size, dependents, study, write_inputs

MEGABYTE = 10**6
FIRST, SECOND, EDITED = "first", "second", "edited"
NAMES = (FIRST, SECOND, EDITED)
"""The study runs under these names, in this order; an input changes before the last one."""
CHANGED = "sim/0-0"
MISS_MOST = 0.1e-3
"""Seconds of CPU time."""
GROWTH = 1.2
NEW_NAME, SAME_NAME = "under a second name", "in the same directory"


def _script(name: str) -> Callable[[Path], list[str | Path]]:
    return lambda environment: [environment / "bin" / "python", HERE / name]


PEERS = (
    Peer(
        "doit",
        keeps=True,
        beaten=False,
        command=lambda environment: [
            environment / "bin" / "doit",
            *("-f", HERE / "study_doit.py", "-d", ".", "-n", "2", "-P", "thread"),
        ],
        package="doit",
    ),
    Peer("luigi", True, False, _script("study_luigi.py"), "luigi"),
    Peer("redun", True, False, _script("study_redun.py"), "redun"),
)


def reuse(setting: Setting) -> Iterator[Finding]:
    """A study of 277 Steps over 1,174 inputs under a second name, and after an edit."""
    small = Size(setting.count(16), setting.count(8), setting.count(1046))
    for size in (small, replace(small, output=MEGABYTE)):
        yield from by_us(setting, size)
    for peer in PEERS:
        yield from _by_peer(setting, peer, small)


def misses(setting: Setting) -> Iterator[Finding]:
    """1,000 Steps and a join that miss, engine alone: CPU time with reuse, and without."""
    count = setting.count(1000)

    def once(on: bool) -> dict[str, float]:
        return _names(setting, count, "instant", ["first"], on)

    turns = in_turns(setting.rounds, {"on": lambda: once(True), "off": lambda: once(False)})
    cpu = {name: [each / count for each in turns.of(name, "cpu_s")] for name in ("on", "off")}
    what = f"CPU time of a Step that misses, of {count:,} (engine alone)"
    yield Row(what, "ms", cpu["on"], "reuse off", cpu["off"])
    beyond = [on - off for on, off in zip(cpu["on"], cpu["off"], strict=True)]
    yield Row("… beyond that with reuse off", "ms", beyond, most=MISS_MOST)


def hits(setting: Setting) -> Iterator[Finding]:
    """What a hit costs: by the size of its outputs, and by the number of Steps."""
    giga = max(MEGABYTE, round(10**9 * setting.scale))
    for what, count, size, files in (
        ("a small file", setting.count(200), 0, 1),
        ("a file of 1 MB", setting.count(200), MEGABYTE, 1),
        (f"a file of {giga / 1e9:g} GB", 1, giga, 1),
        (f"a directory of {setting.count(1000):,} files", 5, 0, setting.count(1000)),
    ):
        large = size * count > 10 * MEGABYTE

        def once(
            count: int = count, size: int = size, files: int = files, large: bool = large
        ) -> dict[str, float]:
            with setting.place(large) as root:
                return _reused("outputs", root=root, count=count, size=size, files=files)

        turns = in_turns(setting.few(3), {"ours": once})
        seconds = [each / count for each in turns.of("ours", "run_s")]
        cpu = [each / count for each in turns.of("ours", "cpu_s")]
        yield Row(f"a hit with {what}", "ms", seconds)
        yield Row("… its CPU time", "ms", cpu)
    yield from _many(setting)


def _many(setting: Setting) -> Iterator[Finding]:
    first: list[float] = []
    for size, rounds in ((10_000, 3), (100_000, 1)):
        count = setting.count(size)

        def once(count: int = count) -> dict[str, float]:
            figures = _names(setting, count, "instant", ["first", "second"], True)
            if figures["reused"] != figures["steps"]:
                raise Failed(f"only {figures['reused']:.0f} Steps were reused")
            return figures

        turns = in_turns(setting.few(rounds), {"ours": once})
        cpu = [each / count for each in turns.of("ours", "cpu_s")]
        what = f"CPU time of a hit of {count:,} Steps"
        if first:
            against = f"of {setting.count(10_000):,}"
            yield Row(what, "ms", cpu, against, first, ratio_most=GROWTH)
            peak = turns.of("ours", "peak_bytes")
            yield Row(f"most memory with {count:,} Steps and as many hits", "MB", peak)
        else:
            yield Row(what, "ms", cpu)
        first = first or cpu


def _names(
    setting: Setting, count: int, runtime: str, names: list[str], on: bool
) -> dict[str, float]:
    # A join of very many inputs would be measured, too.
    shape = "distinct" if len(names) == 1 else "apart"
    with setting.place() as root:
        return _reused(
            "names", root=root, shape=shape, count=count, runtime=runtime, names=names, reuse=on
        )


def _reused(what: str, /, **arguments: object) -> dict[str, float]:
    return program(sys.executable, "-m", "benchmarks.reused", what, json.dumps(arguments))


# ------------------------------------------------------------------------------------ the study


def by_us(setting: Setting, size: Size) -> Iterator[Finding]:
    """A study under three names, checked: which programs ran, and what they made."""

    def once(on: bool) -> dict[str, float]:
        with setting.place(size.output > 0) as folder:
            return _study(folder, size, on)

    turns = in_turns(setting.few(3), {"on": lambda: once(True), "off": lambda: once(False)})
    for name, what in _titles(size, NEW_NAME):
        figure = f"{name}_s"
        yield Row(what, "s", turns.of("on", figure), "without reuse", turns.of("off", figure))


def _titles(size: Size, again: str) -> list[tuple[str, str]]:
    of = f", outputs of {size.output / 1e6:g} MB" if size.output else ""
    few = len(dependents(study(size), CHANGED))
    return [
        (FIRST, f"a study of {len(study(size))} Steps over {size.inputs:,} inputs{of}"),
        (SECOND, f"… {again}"),
        (EDITED, f"… after an edit of an input that {few} Steps depend on"),
    ]


def _study(folder: str, size: Size, on: bool) -> dict[str, float]:
    """Seconds of whole processes; raises `Failed` if other programs ran than should."""
    inputs, counter, root = (f"{folder}/{name}" for name in ("inputs", "counter", "root"))
    write_inputs(size, inputs)
    numbers = [size.chains, size.generations, size.raw, size.output]
    parts, seconds = study(size), {}
    every = sorted(part.name for part in parts)
    few = sorted(dependents(parts, CHANGED))
    for name in NAMES:
        if name == EDITED:
            Path(inputs, CHANGED).write_text("changed\n")
        Path(counter).unlink(missing_ok=True)
        figures = _reused(
            "whole_cell",
            root=root,
            name=name,
            counter=counter,
            inputs=inputs,
            size=numbers,
            reuse=on,
        )
        seconds[f"{name}_s"] = figures["process_s"]
        expected = every if name == FIRST or not on else [] if name == SECOND else few
        _check(f"under the name {name!r}", written(counter), expected)
    stored = Path(root, "storage")
    _check("with other files", _different(stored / FIRST, stored / SECOND, every), [])
    _check("with other files", _different(stored / FIRST, stored / EDITED, every), few)
    return seconds


def _check(what: str, seen: Sequence[str], expected: Sequence[str]) -> None:
    if seen != expected:
        raise Failed(
            f"{what}: {len(seen)} Steps, not {len(expected)}: "
            f"{sorted(set(seen) ^ set(expected))[:5]}"
        )


def _different(one: Path, other: Path, names: Sequence[str]) -> list[str]:
    """The names of outputs that aren't equal."""
    return [
        name
        for name in names
        if (one / "out" / name).read_bytes() != (other / "out" / name).read_bytes()
    ]


def _by_peer(setting: Setting, peer: Peer, size: Size) -> Iterator[Finding]:
    try:
        environment = prepare(peer, setting.keep)
    except Failed as error:
        yield Missing(f"{peer.name}, beside it", str(error))
        return
    with setting.place() as folder:
        yield from _peers_rows(peer, environment, size, folder)


def _peers_rows(peer: Peer, environment: Path, size: Size, folder: str) -> Iterator[Finding]:
    """One round: a peer's figures are shown, and no target depends on them."""
    inputs, counter = f"{folder}/inputs", f"{folder}/counter"
    write_inputs(size, inputs)
    numbers = f"{size.chains},{size.generations},{size.raw},{size.output}"
    expected = len(dependents(study(size), CHANGED))

    def run(outputs: str) -> tuple[float, int]:
        Path(counter).unlink(missing_ok=True)
        os.makedirs(f"{folder}/{outputs}", exist_ok=True)
        figures = program(
            *peer.command(environment),
            cwd=folder,
            SIZE=numbers,
            COUNTER=counter,
            INPUTS=inputs,
            OUTPUTS=f"{folder}/{outputs}",
        )
        return figures["process_s"], len(written(counter))

    first, second, edited = (what for _, what in _titles(size, NEW_NAME))
    for what in (first, f"… {SAME_NAME}", f"{edited}, {SAME_NAME}"):
        if what.startswith(edited):
            Path(inputs, CHANGED).write_text("changed\n")
        seconds, ran = run(FIRST)
        if what.startswith(edited) and not ran:
            why = f"isn't noticed: 0 programs ran instead of {expected}"
            yield Missing(f"{peer.name}: {what}", why)
        else:
            yield Row(f"{peer.name}: {what}: {ran} programs ran", "s", [seconds])
    # Last, since doit forgets what a task of this name read in the other directory.
    seconds, ran = run(SECOND)
    yield Row(f"{peer.name}: {second}: {ran} programs ran", "s", [seconds])

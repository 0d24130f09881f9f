"""Large workflows: the cost of a Step by their size, memory, and the time to answer questions."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.measuring import Finding, Missing, Point, Row, Setting, bare, in_turns, ours
from benchmarks.workflows import CHAIN_LENGTH

SIZES = (1_000, 10_000, 100_000)
ENGINE = "engine alone"
REAL = "real processes"
GROWTH = 1.2
MEMORY = 500e6
ROUNDS = {1_000: 5, 10_000: 3, 100_000: 1}
"""At most so many, since the largest takes minutes."""
RUNTIMES = {ENGINE: "instant", REAL: "process"}
SHAPES = {"independent": "independent", f"chains of {CHAIN_LENGTH}": "chains"}


def sizes(setting: Setting) -> Iterator[Finding]:
    """The cost of one Step from 1,000 Steps to 100,000, independent ones and chains of 100."""
    for kind, runtime in RUNTIMES.items():
        for title, shape in SHAPES.items():
            yield from _sizes(setting, f"{kind}, {title}", runtime, shape)
    yield from _bare_sizes(setting)


def _sizes(setting: Setting, line: str, runtime: str, shape: str) -> Iterator[Finding]:
    first: list[float] = []
    for size in SIZES:
        count = setting.count(size)
        what = f"cost of a Step of {count:,} ({line})"
        expected = statistics.median(first) * count if first else 0.0
        if expected > setting.patience:
            yield Missing(
                what,
                f"would take about {expected:.0f} s, more than --patience {setting.patience:g}",
            )
            continue

        def once(count: int = count) -> dict[str, float]:
            with setting.place() as root:
                return ours("run", root=root, shape=shape, count=count, runtime=runtime, warm=True)

        turns = in_turns(setting.few(ROUNDS[size]), {"ours": once})
        costs = [seconds / count for seconds in turns.of("ours", "run_s")]
        first = first or costs
        yield Point(line, count, statistics.median(costs))
        if first is costs:
            yield Row(what, "µs", costs)
        else:
            yield Row(
                what, "µs", costs, f"of {setting.count(SIZES[0]):,}", first, ratio_most=GROWTH
            )
        if size == SIZES[-1]:
            yield Row(
                f"`upload` of {count:,} Steps ({line})", "s", turns.of("ours", "upload_s"), most=6.0
            )
            yield Row(
                f"most memory with {count:,} Steps ({line})",
                "MB",
                turns.of("ours", "peak_bytes"),
                most=MEMORY,
            )


def _bare_sizes(setting: Setting) -> Iterator[Finding]:
    for size in SIZES[:2]:
        count = setting.count(size)
        for title, name in (("2 at a time", "pool"), ("in a row", "row")):
            with setting.place() as folder:
                figures = bare(name, folder=folder, count=count)
            yield Point(f"bare processes, {title}", count, figures["process_s"] / count)


def asking(setting: Setting) -> Iterator[Finding]:
    """Questions and a small change on 100,000 Steps in chains of 100."""
    count, workflows = setting.count(100_000, least=200), 100

    def once() -> dict[str, float]:
        with setting.place() as root:
            figures = ours("ask", root=root, shape="chains", count=count, workflows=workflows)
            return {**figures, **ours("look", root=root)}

    turns = in_turns(setting.few(3), {"ours": once})
    for what, figure, most in (
        (f"`status` on {count:,} Steps that run", "status_running_s", 0.05),
        (f"`status` on {count:,} complete Steps", "status_complete_s", 0.05),
        (f"`progress` on {count:,} complete Steps", "progress_s", None),
        (f"`expire` of a leaf of {count:,} Steps", "expire_s", 0.05),
        (f"`workflows` with {workflows} workflows", "workflows_s", 0.05),
        (f"the first `status` in a process, which reads {count:,} Steps", "status_first_s", None),
    ):
        yield Row(what, "ms", turns.of("ours", figure), most=most)

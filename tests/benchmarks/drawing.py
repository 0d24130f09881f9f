"""Pictures of large workflows: the time to draw one, and its size."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.measuring import Finding, Row, Setting
from gaia_local.pictures import draw
from gaia_local.pictures.grouping import facts
from support.graphs import cells, sweeps


def pictures(setting: Setting) -> Iterator[Finding]:
    """Pictures: the 277 Steps of a real project's shape, and 5,000 Steps."""
    large = setting.count(5_000, least=20)
    most = setting.count(10_000, least=20)
    for what, told, target in (
        ("277 Steps", cells("failed"), 2.0),
        (f"{large:,} Steps", sweeps(large), 3.0),
    ):
        draw(told)  # the library is imported
        times = []
        for _ in range(setting.rounds):
            began = time.perf_counter()
            picture = draw(told)
            times.append(time.perf_counter() - began)
        yield Row(f"a picture of {what}", "ms", times, most=target)
        yield Row(f"size of the picture of {what}", "MB", [len(picture.svg)])
    told = sweeps(most)
    times = []
    for _ in range(setting.rounds):
        began = time.perf_counter()
        facts(told)
        times.append(time.perf_counter() - began)
    yield Row(f"labels and groupings of {most:,} Steps", "ms", times, most=0.3)

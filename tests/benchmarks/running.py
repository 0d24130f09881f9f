"""Many short Steps: beside bare processes, and with nothing to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks import measuring
from benchmarks.measuring import Finding, Row, Setting, Turns, bare, gaia_local, in_turns, ours


def steps(setting: Setting) -> Iterator[Finding]:
    """1,000 trivial Steps and a join, 2 at a time, beside a thread pool of bare processes."""
    count = setting.count(1000)

    def by_us() -> dict[str, float]:
        with setting.place() as root:
            return ours("run", root=root, shape="joined", count=count)

    def by_pool() -> dict[str, float]:
        with setting.place() as folder:
            return bare("pool", folder=folder, count=count)

    turns = in_turns(setting.rounds, {"ours": by_us, "bare": by_pool})
    what = f"{count:,} trivial Steps and a join, 2 workers"
    whole = turns.of("ours", "process_s")
    yield Row(
        what,
        "s",
        whole,
        "a thread pool of bare processes",
        turns.of("bare", "process_s"),
        ratio_most=1.5,
    )
    yield Row("… of that to the end of the upload", "s", turns.of("ours", "upload_s"))
    yield Row("… of that to the end of the workflow", "s", turns.of("ours", "run_s"))
    yield from _cpu(turns, count + 1)


def chain(setting: Setting) -> Iterator[Finding]:
    """A chain of 200 trivial Steps, beside as many bare processes in a row."""
    count = setting.count(200)

    def by_us() -> dict[str, float]:
        with setting.place() as root:
            return ours("run", root=root, shape="chain", count=count)

    def by_row() -> dict[str, float]:
        with setting.place() as folder:
            return bare("row", folder=folder, count=count)

    turns = in_turns(setting.rounds, {"ours": by_us, "bare": by_row})
    whole = turns.of("ours", "process_s")
    yield Row(
        f"a chain of {count:,} trivial Steps",
        "s",
        whole,
        "bare processes in a row",
        turns.of("bare", "process_s"),
        ratio_most=1.5,
    )
    yield Row("… of that to the end of the workflow", "s", turns.of("ours", "run_s"))
    yield from _cpu(turns, count)


def _cpu(turns: Turns, count: int) -> Iterator[Row]:
    """What the process itself took, and what its children did, for each Step."""
    for figure, whose, most in (
        ("cpu_s", "the process itself", 0.0005),
        ("children_s", "its children", None),
    ):
        one, two = ([each / count for each in turns.of(name, figure)] for name in ("ours", "bare"))
        yield Row(f"… CPU time of {whose}, a Step", "ms", one, "the same", two, most=most)


def nothing(setting: Setting) -> Iterator[Finding]:
    """`run` on 1,000 Steps that are complete."""
    count = setting.count(1000)
    with setting.place() as root:
        ours("run", root=root, shape="joined", count=count)
        turns = in_turns(
            setting.rounds,
            {
                "in process": lambda: ours("again", root=root),
                "program": lambda: gaia_local("--root", root, "run", "bench"),
            },
        )
    what = f"`run` with nothing to do on {count:,} Steps"
    yield Row(f"{what}, in process", "ms", turns.of("in process", "again_s"), most=0.030)
    yield Row(
        "… the first time in a process, which reads it", "ms", turns.of("in process", "first_s")
    )
    yield Row(f"{what}, `gaia-local run` as a whole", "s", turns.of("program"), most=0.4)


def starting(setting: Setting) -> Iterator[Finding]:
    """The start of Python with the package, and of the command line program."""

    def python(code: str) -> dict[str, float]:
        return measuring.program(sys.executable, "-c", code)

    turns = in_turns(
        setting.rounds,
        {
            "import": lambda: python("import gaia_local"),
            "python": lambda: python("pass"),
            "help": lambda: gaia_local("--help"),
        },
    )
    empty = turns.of("python")
    yield Row(
        "`import gaia_local`, whole process",
        "s",
        turns.of("import"),
        "Python alone",
        empty,
        most=0.25,
    )
    yield Row(
        "`gaia-local --help`, whole process", "s", turns.of("help"), "Python alone", empty, most=0.4
    )


def watch(setting: Setting) -> Iterator[Finding]:
    """From the write of an input file to the start of the Step that reads it."""
    from benchmarks.watch_latency import measure

    latencies = measure(setting.count(50, least=3))
    yield Row(
        f"a file's write to the Step's start, median of {len(latencies)}", "ms", latencies, most=0.2
    )

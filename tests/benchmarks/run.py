"""Measures gaia_local beside references and other programs; prints, and may save, a table.

Each thing is measured in turns with its reference, so that a noisy machine hurts both alike; the
table has medians.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import (
    clusters_of_dask,
    containers,
    drawing,
    graphs_in_browser,
    measuring,
    reuse,
    running,
    sizes,
    table,
    timelines,
    watched,
)
from benchmarks.measuring import Failed, Finding, Missing, Point, Row, Setting
from benchmarks.peers import peers

BUILD = measuring.TESTS.parent / "build" / "bench"
BENCHMARKS: dict[str, Callable[[Setting], Iterator[Finding]]] = {
    "steps": running.steps,
    "chain": running.chain,
    "nothing": running.nothing,
    "starting": running.starting,
    "watch": running.watch,
    "dask": clusters_of_dask.dask,
    "asking": sizes.asking,
    "containers": containers.containers,
    "input": containers.input_file,
    "output": containers.output_directory,
    "printing": containers.printing,
    "peers": peers,
    "sizes": sizes.sizes,
    "reuse": reuse.reuse,
    "misses": reuse.misses,
    "hits": reuse.hits,
    "page": watched.page,
    "timelines": timelines.timelines,
    "pictures": drawing.pictures,
    "graphs": graphs_in_browser.graphs,
}


def main() -> int:
    """Measure and print. The exit code is 1 for a program that failed, not a missed target."""
    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="r", dir=arguments.folder.resolve()) as folder:
        return _measure(arguments, Path(folder))


def _measure(arguments: argparse.Namespace, folder: Path) -> int:
    image = os.environ.get("GAIA_LOCAL_TEST_IMAGE", "busybox")
    setting = Setting(
        arguments.rounds,
        arguments.scale,
        folder,
        arguments.keep.resolve(),
        image,
        arguments.patience,
    )
    about = {
        **measuring.machine(setting),
        "measured": time.strftime("%Y-%m-%d %H:%M"),
        "rounds": f"{setting.rounds} (fewer of what takes long)",
        "scale": f"{setting.scale:g}",
    }
    for name, value in about.items():
        print(f"{name}: {value}")
    findings: list[Finding] = []
    failed = False
    judged = setting.scale == 1
    for name in arguments.only or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        title = (benchmark.__doc__ or "").partition("\n")[0]
        print(f"\n{name}: {title}", flush=True)
        found: list[Finding] = []
        try:
            for finding in benchmark(setting):
                found.append(finding)
        except Failed as error:
            found.append(Missing(title.replace(".", ":"), f"failed: {error}"))
            failed = True
        findings += found
        rows = [table.cells(row, judged) for row in found if isinstance(row, Row)]
        for line in table.text([table.COLUMNS, *rows]) if rows else ():
            print(f"  {line}")
        for finding in found:
            if isinstance(finding, Missing):
                print(f"  not measured: {finding.what} {finding.why}")
        sys.stdout.flush()
    about["load at the end"] = measuring.load()
    if arguments.save is not None:
        _save(arguments.save, about, findings, judged)
    return int(failed)


def _save(folder: Path, about: dict[str, str], findings: list[Finding], judged: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(table.markdown(about, findings, judged), encoding="utf-8")
    (folder / "figures.json").write_text(table.as_json(about, findings), encoding="utf-8")
    made = ["table.md", "figures.json"]
    points = [point for point in findings if isinstance(point, Point)]
    if points:
        table.plot(points, about, folder / "cost-per-step.png")
        made.append("cost-per-step.png")
    print(f"\nsaved in {folder}: {', '.join(made)}")


def _arguments() -> argparse.Namespace:
    def names(given: str) -> list[str]:
        chosen = given.split(",")
        unknown = [name for name in chosen if name not in BENCHMARKS]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"there is no {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}"
            )
        return chosen

    def positive(given: str) -> float:
        value = float(given)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{given} is not above 0")
        return value

    def rounds(given: str) -> int:
        if int(given) < 1:
            raise argparse.ArgumentTypeError(f"{given} is not at least 1")
        return int(given)

    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "--rounds", type=rounds, default=5, help="how often each thing is measured (default 5)"
    )
    parser.add_argument(
        "--scale",
        type=positive,
        default=1.0,
        help="factor of all sizes; targets are judged at 1 only (default 1)",
    )
    parser.add_argument(
        "--only", type=names, metavar="NAME,…", help=f"a part: {', '.join(BENCHMARKS)}"
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="DIR",
        help="write table.md, figures.json and cost-per-step.png there",
    )
    parser.add_argument(
        "--patience",
        type=positive,
        default=600.0,
        metavar="SECONDS",
        help="leave out what takes longer at one time (default 600)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=BUILD / "work",
        help="where to run (default build/bench/work)",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        default=BUILD,
        help="where the other programs' environments are kept (default build/bench)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    logging.getLogger("gaia_local").setLevel(logging.ERROR)
    sys.exit(main())

"""The time from the write of an input file to the `step-start` of the Step that reads it.

Run it with `make bench`. It prints the median and the 95th percentile in milliseconds, with the
default debounce.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import threading
import time

from gaia_local import Gaia
from gaia_local.store.watcher import DEBOUNCE

COMMAND = {
    "name": "copy",
    "image": "busybox",
    "command": ["cp", "/in/a", "/out/x"],
    "inputs": {"a": "/in/a"},
    "outputs": {"x": "/out/x"},
}
STEP = {"name": "copy", "command": "copy", "inputs": {"a": "d:in"}, "outputs": {"x": "d:out"}}


def measure(changes: int) -> list[float]:
    """The latency of each change in seconds."""
    latencies = []
    with tempfile.TemporaryDirectory() as root, Gaia({"root": root, "runtime": "process"}) as gaia:
        source = gaia.path("w", "d:in")
        source.parent.mkdir(parents=True)
        source.write_text("0")
        gaia.upload("w", {}, [COMMAND], [STEP])
        gaia.wait("w")
        tick = threading.Event()
        for number in range(changes):
            count = len(gaia.events("w"))
            written = time.time()
            source.write_text(f"change {number}")
            while not (
                started := [
                    event for event in gaia.events("w")[count:] if event["event"] == "step-start"
                ]
            ):
                tick.wait(0.005)
            latencies.append(started[0]["time"] - written)
            gaia.wait("w")
            assert gaia.path("w", "d:out").read_text() == f"change {number}"
    return latencies


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=50)
    arguments = parser.parse_args()
    logging.getLogger("gaia_local").setLevel(logging.ERROR)
    latencies = sorted(measure(arguments.changes))
    median, tail = statistics.median(latencies), latencies[int(0.95 * (len(latencies) - 1))]
    print(
        f"{len(latencies)} changes, debounce {1000 * DEBOUNCE:.0f} ms: write to step-start", end=" "
    )
    print(
        f"median {1000 * median:.0f} ms, 95th percentile {1000 * tail:.0f} ms "
        "(goal: median under 200 ms)"
    )


if __name__ == "__main__":
    main()

"""For dask: delayed functions in two threads of one process."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import dask

COUNT, CHAIN = int(os.environ["COUNT"]), os.environ["SHAPE"] == "chain"


def echo(number: int, before: str | None) -> str:
    """A trivial Step."""
    subprocess.run(["sh", "-c", f"echo hi > {number}"], check=True)
    return str(number)


def join(names: list[str]) -> None:
    """Reads all their outputs."""
    subprocess.run(["sh", "-c", 'cat "$@" > joined', "join", *names], check=True)


def build() -> Any:
    """The graph's end."""
    delayed_echo = dask.delayed(echo)
    if not CHAIN:
        return dask.delayed(join)([delayed_echo(number, None) for number in range(COUNT)])
    last = None
    for number in range(COUNT):
        last = delayed_echo(number, last)
    return last


if __name__ == "__main__":
    build().compute(scheduler="threads", num_workers=2)

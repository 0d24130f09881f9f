"""Files that take minutes to read: neither `halt` nor `close` waits for them, and it is told."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia, GaiaError
from gaia_local.store import file_work
from support.fixtures import MakeGaia, WaitUntil

HUGE = 32 << 30
"""Bytes of a hole whose digest takes the better part of a minute."""
SOON = 5.0
COMMANDS = [
    {
        "name": "count",
        "image": "busybox",
        "command": ["sh", "-c", "wc -c < /in/a > /out/x"],
        "inputs": {"a": "/in/a"},
        "outputs": {"x": "/out/x"},
    },
    {
        "name": "grow",
        "image": "busybox",
        "command": ["sh", "-c", "truncate -s 34359738368 /out/x"],
        "outputs": {"x": "/out/x"},
    },
]
READ = [{"name": "s", "command": "count", "inputs": {"a": "b:a"}, "outputs": {"x": "b:x"}}]
MAKE = [{"name": "s", "command": "grow", "outputs": {"x": "b:x"}}]


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_work, "TELL_SECONDS", 0.02)


def put(gaia: Gaia, size: int) -> Path:
    path = gaia.path("w", "b:a")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as writer:
        writer.truncate(size)
    return path


def seconds(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def doing(gaia: Gaia) -> list[str]:
    return gaia.progress("w").get("doing", [])


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    found = False
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # it was closed meanwhile
            found = found or entry.samefile(path)
    return found


@pytest.mark.parametrize(
    ("steps", "what"),
    [(READ, "Step 's' is reading input 'b:a': "), (MAKE, "Step 's' is reading output 'b:x': ")],
    ids=["input", "output"],
)
def test_halt_ends_the_reading_of_a_huge_file(
    make_gaia: MakeGaia,
    gaia_root: Path,
    wait_until: WaitUntil,
    steps: list[dict[str, Any]],
    what: str,
) -> None:
    gaia = make_gaia()
    put(gaia, HUGE)
    gaia.upload("w", {}, COMMANDS, steps)
    line = wait_until(lambda: next((line for line in doing(gaia) if what in line), ""))
    assert line.startswith(what) and line.endswith(" of 34.4 GB")
    debug = gaia.status("w", debug=True)["status"]
    assert debug["doing"][0].startswith(what)
    assert "doing" not in gaia.status("w")["status"]

    def halt() -> None:
        gaia.halt("w")
        gaia.wait("w")

    assert seconds(halt) < SOON
    assert gaia.status("w")["state"] == "halted"
    assert doing(gaia) == []
    assert not gaia.path("w", "b:x").exists()
    assert list((gaia_root / "staging").iterdir()) == []
    with sqlite3.connect(gaia_root / "gaia.db") as rows:
        assert not any("GB" in line for line in rows.iterdump())


def test_close_ends_the_reading_of_a_huge_file(make_gaia: MakeGaia, wait_until: WaitUntil) -> None:
    gaia = make_gaia()
    put(gaia, HUGE)
    gaia.upload("w", {}, COMMANDS, READ)
    wait_until(lambda: doing(gaia))
    assert seconds(lambda: gaia.close(wait=False)) < SOON


def test_close_ends_the_watchers_look_at_a_huge_file(
    make_gaia: MakeGaia, wait_until: WaitUntil
) -> None:
    gaia = make_gaia()
    path = put(gaia, 10)
    gaia.upload("w", {}, COMMANDS, READ)
    gaia.wait("w")
    with path.open("r+b") as writer:
        writer.truncate(HUGE)
    line = wait_until(lambda: next(iter(doing(gaia)), ""))
    assert line.startswith("the engine is reading 'b:a': ")
    assert seconds(lambda: gaia.close(wait=False)) < SOON
    after = make_gaia(watch=False)
    path.unlink()
    assert after.status("w")["state"] in ("complete", "incomplete")


def test_a_call_that_looks_at_a_huge_file_is_refused_by_close(
    make_gaia: MakeGaia, wait_until: WaitUntil
) -> None:
    gaia = make_gaia(watch=False)
    path = put(gaia, 10)
    gaia.upload("w", {}, COMMANDS, READ)
    gaia.wait("w")
    with path.open("r+b") as writer:
        writer.truncate(HUGE)
    refused: list[str] = []

    def run() -> None:
        try:
            gaia.run("w")
        except GaiaError as error:
            refused.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: doing(gaia))
    assert seconds(lambda: gaia.close(wait=False)) < SOON
    assert seconds(thread.join) < SOON
    assert refused and "closed" in refused[0]


def test_a_plan_looks_at_a_huge_file_until_close(
    make_gaia: MakeGaia, wait_until: WaitUntil
) -> None:
    gaia = make_gaia(watch=False)
    path = put(gaia, 10)
    gaia.upload("w", {}, COMMANDS, READ)
    gaia.wait("w")
    with path.open("r+b") as writer:
        writer.truncate(HUGE)
    refused: list[str] = []

    def explain() -> None:
        try:
            gaia.explain("w", "s")
        except GaiaError as error:
            refused.append(str(error))

    thread = threading.Thread(target=explain)
    thread.start()
    wait_until(lambda: is_open(path))
    gaia.close(wait=False)
    assert seconds(thread.join) < SOON
    assert refused and "closed" in refused[0]

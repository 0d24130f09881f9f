"""What the attempts at Steps took: recorded, answered, and kept."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.engine.decision_loop import DecisionLoop
from gaia_local.errors import RuntimeFailure, StorageError
from gaia_local.executors import worker
from gaia_local.model.answer_types import LiveUsage, TimelineAttempt
from gaia_local.model.tasks import Task
from gaia_local.runtimes.process.runtime import ProcessRuntime
from gaia_local.store.storage import Storage
from gaia_local.store.task_files import TaskFiles
from support.fixtures import MakeGaia, WaitUntil


def attempt(gaia: Gaia, script: str, **step: Any) -> TimelineAttempt:
    """The only attempt at a Step that runs this."""
    command = {
        "name": "c",
        "image": "busybox",
        "command": ["sh", "-c", script],
        "outputs": {"o": "/out/o"},
    }
    steps = [{"name": "s", "command": "c", "outputs": {"o": "d:o"}, **step}]
    gaia.upload("w", {}, [command], steps)
    gaia.wait("w")
    (found,) = gaia.timeline("w")["attempts"]
    return found


def slowed(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, seconds: float) -> None:
    """Have a function take so much longer."""
    original = getattr(owner, name)

    def slow(*args: Any, **facts: Any) -> Any:
        time.sleep(seconds)
        return original(*args, **facts)

    monkeypatch.setattr(owner, name, slow)


def test_each_part_of_an_attempt_has_its_wall_time(
    make_gaia: MakeGaia, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowed(monkeypatch, TaskFiles, "take_in", 0.2)
    slowed(monkeypatch, worker, "prepare_outputs", 0.4)
    slowed(monkeypatch, Storage, "publish", 0.3)  # under the scheduler's lock
    found = attempt(make_gaia(), "sleep 0.5; echo > /out/o")
    usage = found["usage"]
    assert usage is not None
    assert usage["staging"] == pytest.approx(0.2, abs=0.15)
    assert usage["running"] == pytest.approx(0.5, abs=0.15)
    assert usage["publishing"] == pytest.approx(0.7, abs=0.15)
    assert found["started"] is not None and found["ended"] is not None
    parts = (usage["running"] or 0) + (usage["publishing"] or 0)  # `started` is after the staging
    assert found["ended"] - found["started"] == pytest.approx(parts, abs=0.1)
    last = make_gaia().explain("w", "s")["last"]  # type: ignore[typeddict-item]
    assert last is not None and last["usage"] == usage


def test_failed_attempts_have_a_usage(make_gaia: MakeGaia) -> None:
    usage = attempt(make_gaia(), "sleep 0.2; exit 3")["usage"]
    assert usage is not None and usage["running"] == pytest.approx(0.2, abs=0.15)


def test_attempts_that_timed_out_have_a_usage(make_gaia: MakeGaia) -> None:
    found = attempt(make_gaia(), "sleep 60", timeout=1)
    usage = found["usage"]
    assert usage is not None and usage["running"] == pytest.approx(1.1, abs=0.3)


def test_a_program_that_could_not_run_took_only_staging(
    make_gaia: MakeGaia, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise RuntimeFailure("no program runs today")

    monkeypatch.setattr(ProcessRuntime, "run", refuse)
    found = attempt(make_gaia(), "echo > /out/o")
    usage = found["usage"]
    assert found["state"] == "exception" and usage is not None
    assert usage["staging"] is not None
    assert [usage["running"], usage["publishing"]] == [None, None]


def test_publishing_that_fails_keeps_the_usage(
    make_gaia: MakeGaia, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(Storage, "publish", refuse)
    found = attempt(make_gaia(), "echo > /out/o")
    assert found["state"] == "exception"
    assert found["usage"] is not None and found["usage"]["running"] is not None


def test_a_usage_survives_reopening(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    usage = attempt(gaia, "echo > /out/o")["usage"]
    assert usage is not None
    gaia.close()
    (found,) = make_gaia().timeline("w")["attempts"]
    assert found["usage"] == usage


def test_attempts_from_before_have_none(make_gaia: MakeGaia, gaia_root: Path) -> None:
    gaia = make_gaia()
    attempt(gaia, "echo > /out/o")
    gaia.close()
    with contextlib.closing(sqlite3.connect(gaia_root / "gaia.db")) as rows:
        rows.execute("update tasks set usage = null")  # as a migration leaves them
        rows.commit()
    gaia = make_gaia()
    (found,) = gaia.timeline("w")["attempts"]
    assert found["usage"] is None
    explained = gaia.explain("w", "s")
    assert "last" in explained and explained["last"] is not None
    assert explained["last"]["usage"] is None


def test_reused_attempts_took_nothing(make_gaia: MakeGaia) -> None:
    gaia = make_gaia(reuse=True)
    attempt(gaia, "echo > /out/o")
    known = gaia.definitions("w")
    gaia.upload("v", {}, list(known["commands"].values()), list(known["steps"].values()))
    gaia.wait("v")
    (found,) = gaia.timeline("v")["attempts"]
    assert "reused" in found and found["usage"] is None


def test_a_running_step_tells_what_it_took_so_far(
    make_gaia: MakeGaia, wait_until: WaitUntil
) -> None:
    gaia = make_gaia()
    notices: list[float] = []
    script = "(head -c 50m /dev/zero | tail; echo) > /dev/null; while :; do :; done"
    commands = [{"name": "c", "image": "busybox", "command": ["sh", "-c", script]}]
    commands[0]["outputs"] = {"o": "/out/o"}  # type: ignore[assignment]
    names = ["s1", "s2"]
    steps = [{"name": name, "command": "c", "outputs": {"o": f"d:{name}"}} for name in names]
    gaia.upload("w", {}, commands, steps)
    wait_until(lambda: set(gaia.progress("w").get("usage", {})) == set(names))
    unsubscribe = gaia.subscribe(lambda changed: notices.append(time.monotonic()))
    used = gaia.progress("w")["usage"]["s1"]["cpu"]
    assert used is not None
    wait_until(lambda: (gaia.progress("w")["usage"]["s1"]["cpu"] or 0) > used + 0.5)
    first = gaia.status("w", debug=True)["status"]["usage"]["s2"]
    assert (first["memory"] or 0) > 1 << 20
    assert all(b - a > 0.7 for a, b in itertools.pairwise(notices))
    unsubscribe()
    gaia.halt("w")
    wait_until(lambda: "usage" not in gaia.progress("w"))


def test_short_steps_tell_nothing_live(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    attempt(gaia, "echo > /out/o")
    assert "usage" not in gaia.progress("w")
    assert "usage" not in gaia.status("w", debug=True)["status"]


def test_a_sample_that_comes_after_the_end_is_not_kept(
    make_gaia: MakeGaia, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Any] = []

    def keep(self: DecisionLoop, task: Task, usage: LiveUsage) -> None:
        late.append((self, task, usage))

    sampled = DecisionLoop.sampled
    monkeypatch.setattr(DecisionLoop, "sampled", keep)
    gaia = make_gaia()
    attempt(gaia, "sleep 0.5; echo > /out/o")
    assert late
    for arguments in late:
        sampled(*arguments)
    assert "usage" not in gaia.progress("w")

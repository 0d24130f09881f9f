"""What the attempts at Steps took: recorded, answered, and kept."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.errors import RuntimeFailure, StorageError
from gaia_local.executors import worker
from gaia_local.model.answer_types import TimelineAttempt
from gaia_local.runtimes.process.runtime import ProcessRuntime
from gaia_local.store.storage import Storage
from gaia_local.store.task_files import TaskFiles
from support.fixtures import MakeGaia


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

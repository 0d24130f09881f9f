"""Timeouts fire also where a test has stopped the time of day."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import freezegun
import pytest

from gaia_local import Gaia

COMMAND: dict[str, Any] = {
    "name": "sleep",
    "image": "busybox",
    "command": ["sh", "-c", "sleep {{seconds}}; echo over > /out/x"],
    "outputs": {"x": "/out/x"},
}


def step(name: str, seconds: float, timeout: float) -> dict[str, Any]:
    return {
        "name": name,
        "command": "sleep",
        "outputs": {"x": f"d:{name}"},
        "vars": {"seconds": str(seconds)},
        "timeout": timeout,
    }


@pytest.fixture(params=[False, True], ids=["frozen", "ticking"])
def time_of_day(request: pytest.FixtureRequest) -> Iterator[None]:
    with freezegun.freeze_time("2020-02-20", tick=request.param):
        yield


@pytest.mark.usefixtures("time_of_day")
def test_timeouts_fire_in_a_time_of_day_that_is_set(tmp_path: Path) -> None:
    """Of a Step and of `wait`; what is recorded has the time of day."""
    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        gaia.upload("w", {}, [COMMAND], [step("slow", 600, 0.3), step("quick", 0, 60)])
        assert gaia.wait("w", 60)["state"] == "error"
        (failure,) = gaia.failures("w")
        assert (failure["step"], failure["message"]) == ("slow", "it exceeded its timeout of 0.3 s")
        gaia.upload("v", {}, [COMMAND], [step("slow", 600, 600)])
        with pytest.raises(TimeoutError, match=r"still runs after 0\.1 s"):
            gaia.wait("v", 0.1)
        gaia.halt("v")
        times = {datetime.datetime.fromtimestamp(event["time"]).year for event in gaia.events("w")}
        assert times == {2020}

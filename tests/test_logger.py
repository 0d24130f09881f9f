"""Handlers that can't write cost their callers nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local import logger as module
from support.builders import COPY, step
from support.fixtures import MakeGaia

ERRORS: list[BaseException] = [
    OSError("no space"),
    ValueError("I/O operation on closed file"),
    SystemExit(1),
]


class Failing(logging.Handler):
    """A handler of a user's, whose reader is gone."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self.error


@pytest.fixture(params=ERRORS, ids=lambda error: type(error).__name__)
def failing(request: pytest.FixtureRequest) -> Iterator[Failing]:
    made = Failing(request.param)
    loggers = [logging.getLogger(name) for name in module.NAMES]
    for logger in loggers:
        logger.addHandler(made)
    yield made
    for logger in loggers:
        logger.removeHandler(made)


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("name", module.NAMES)
def test_a_message_is_lost_in_silence(name: str) -> None:
    logging.getLogger(name).warning("nobody hears this")


@pytest.mark.usefixtures("failing")
def test_steps_run_where_nothing_can_be_logged(make_gaia: MakeGaia, tmp_path: Path) -> None:
    """The runtime's first warning comes from a thread that runs a Step."""
    failing_step: dict[str, Any] = {**COPY, "name": "fail", "command": ["false"]}
    gaia = make_gaia(runtime="process")
    gaia.path("w", "b:a").parent.mkdir(parents=True)
    gaia.path("w", "b:a").write_text("hi\n")
    gaia.upload(
        "w",
        {},
        [COPY, failing_step],
        [step("one", "copy", "b:b", "b:a"), step("two", "fail", "b:c", "b:a")],
    )
    assert gaia.wait("w", 30)["state"] == "error"
    assert [failure["step"] for failure in gaia.failures("w")] == ["two"]

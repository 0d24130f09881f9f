"""Recordings of the real server, replayed on our scheduler with hand-driven Tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gaia_local import GaiaError
from support.hands import Hands

TESTS = Path(__file__).parents[1]
RECORDED = TESTS / "recorded"
FINDINGS: list[dict[str, Any]] = json.loads((TESTS / "differential/findings.json").read_text())
SEQUENCES: list[dict[str, Any]] = json.loads((TESTS / "differential/sequences.json").read_text())


def perform(hands: Hands, kind: str, *arguments: Any) -> None:
    if kind == "command":
        hands.command(*arguments[0])
    elif kind == "merge":
        hands.merge(*arguments[0])
    elif kind == "run":
        hands.scheduler.run("w")
    elif kind == "halt":
        hands.scheduler.halt("w")
    elif kind == "expire":
        hands.scheduler.expire("w", arguments[0])
    elif kind == "complete":
        hands.complete(arguments[0])
    elif kind == "fail":
        hands.fail(arguments[0])
    elif kind == "appear":
        hands.put(arguments[0])
    elif kind == "status":
        hands.status()
    else:
        raise AssertionError(f"the recording has an unknown operation {kind}")


def try_command(hands: Hands, commands: list[Any]) -> None:
    """Changes of Commands that were refused when this was recorded may leave Steps unfit now.

    Then they are taken back, which costs nothing.
    """
    workflow = hands.scheduler.loop.registry.get("w")
    known = dict(workflow.submitted.commands)
    try:
        hands.command(*commands)
    except GaiaError:
        return
    assert workflow.submitted.unfit
    hands.command(*(dict(known[command["name"]].definition) for command in commands))
    assert not workflow.submitted.unfit


def play(hands: Hands, row: dict[str, Any]) -> None:
    if row.get("refused"):
        before = hands.status() if "w" in hands.scheduler.workflows() else None
        if row["op"][0] == "command" and before is not None:
            try_command(hands, row["op"][1])
        else:
            with pytest.raises(GaiaError):
                perform(hands, *row["op"])
        assert before is None or hands.status() == before
    elif row["op"][0] == "appear":
        hands.scheduler.loop.files_changed({str(hands.put(row["op"][1]))})
    else:
        perform(hands, *row["op"])

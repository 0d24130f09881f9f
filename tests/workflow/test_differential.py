"""Replays sequences on which the real server's decision code and ours agree, or ours was wrong.

`differential/README.md` describes their making and their format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.hands import Hands
from support.recordings import SEQUENCES, play


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: str(sequence["seed"]))
def test_decides_as_the_server(sequence: dict[str, Any], tmp_path: Path) -> None:
    hands = Hands(tmp_path)
    for key in sequence["present"]:
        hands.put(key)
    for number, row in enumerate(sequence["rows"]):
        play(hands, row)
        did = [name for kind, name in hands.did() if kind == "start"]
        if row.get("refused"):
            continue
        status: Any = hands.status() if "w" in hands.scheduler.workflows() else None
        answer = {
            "started": did,
            "running": hands.runs,
            "state": status["state"] if status else "initialized",
            "waiting-inputs": status["waiting-inputs"] if status else [],
            "complete": sorted(
                key for key, each in status["data"].items() if each["state"] == "complete"
            )
            if status
            else [],
        }
        assert answer == {field: row[field] for field in answer}, f"row {number}: {row['op']}"
    hands.close()

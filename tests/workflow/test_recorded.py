"""Replays the real server's recorded decisions, row by row, with hand-driven Tasks.

If a row says `ours`, the expectation for it is in `OURS`; every other field of that row, and all
fields of all other rows, are expected as recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.hands import Hands
from support.recordings import RECORDED, perform

EMPTY = {"state": "initialized"}
S2_RUNS = {"s1": "complete", "s2": "running", "s3": "complete", "s6": "complete"}
EXPIRED = ["b:1", "b:3", "b:6", "b:ext", "b:l1"]

OURS: dict[tuple[str, int], dict[str, Any]] = {
    ("fail", 0): EMPTY,
    ("grow", 0): EMPTY,
    ("halt", 0): EMPTY,
    ("fail", 3): {"state": "error"},
    ("fail", 4): {"did": [["start", "s1"]], "tasks": {"s1": "running", "t1": "complete"}},
    ("fail", 5): {"did": [["cancel", "s1"], ["start", "s1"]]},
    ("fail", 8): {"state": "error"},
    ("fail", 9): {
        "did": [["start", "s2"]],
        "tasks": {"s1": "complete", "s2": "running", "s3": "complete", "t1": "complete"},
    },
    # The expire of row 12 survives halt, run and halt; s2 runs again at each start.
    ("halt", 13): {
        "did": [["cancel", "s2"]],
        "complete": EXPIRED,
        "waiting-inputs": ["b:2", "b:4"],
        "tasks": {**S2_RUNS, "s2": "cancelled"},
    },
    ("halt", 14): {
        "did": [["start", "s2"]],
        "state": "running",
        "complete": EXPIRED,
        "waiting-inputs": ["b:2", "b:4"],
        "tasks": S2_RUNS,
    },
    ("halt", 15): {
        "did": [["cancel", "s2"]],
        "complete": EXPIRED,
        "waiting-inputs": ["b:2", "b:4"],
        "tasks": {**S2_RUNS, "s2": "cancelled"},
    },
    ("halt", 16): {
        "did": [["start", "s2"]],
        "complete": EXPIRED,
        "waiting-inputs": ["b:2", "b:4"],
        "tasks": S2_RUNS,
    },
}

# `tasks`, where ours differ for a reason that holds in every row: - a cancelled Step's Task stays
# on record, and so does at `halt` what completed before, which the server forgets; - a Step
# restarted through one of its keys is shown with the Task that runs, not with the one before.
TASKS: dict[tuple[str, int], dict[str, str]] = {
    ("grow", 14): {"s1": "running"},
    ("halt", 2): {"s1": "cancelled"},
    ("halt", 5): {"s1": "complete", "s2": "cancelled", "s3": "cancelled"},
    **{("halt", row): {"s1": "complete"} for row in range(6, 12)},
    ("halt", 12): {"s1": "complete", "s2": "running"},
}


def _rows(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    yield from enumerate(json.loads((RECORDED / f"{name}.json").read_text())["rows"])


@pytest.mark.parametrize("name", ["grow", "fail", "halt"])
def test_decides_as_recorded(name: str, tmp_path: Path) -> None:
    hands = Hands(tmp_path)
    for key in json.loads((RECORDED / f"{name}.json").read_text())["present"]:
        hands.put(key)
    seen_events = 0
    for number, row in _rows(name):
        perform(hands, *row["op"])
        expected = {**row, **OURS.get((name, number), {})}
        assert ("ours" in row) == ((name, number) in OURS or row["op"][0] == "appear"), (
            f"row {number}: {row.get('ours')}"
        )
        status: Any = hands.status()
        flow_events = [
            event["event"]
            for event in hands.scheduler.events("w")
            if event["event"].startswith("flow-")
        ]
        answer = {
            "did": [list(action) for action in hands.did()],
            "events": flow_events[seen_events:],
            "state": status["state"],
            "waiting-inputs": status["waiting-inputs"],
            "complete": sorted(
                key for key, datum in status["data"].items() if datum["state"] == "complete"
            ),
            "tasks": {step: task["state"] for step, task in status["tasks"].items()},
        }
        seen_events = len(flow_events)
        wanted = {field: expected[field] for field in answer}
        if "tasks" not in OURS.get((name, number), {}):
            wanted["tasks"] = {**row["tasks"], **TASKS.get((name, number), {})}
        assert answer == wanted, f"{name}, row {number}: {row['op'][0]}; ours: {row.get('ours')}"
    hands.close()

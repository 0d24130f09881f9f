"""The graph that the page is given: beside Steps and edges, what they are grouped by and called."""

from __future__ import annotations

import requests

from gaia_local import Gaia
from gaia_local.server import Server
from support.builders import command, step
from support.servers import gaia, server

__all__ = ["gaia", "server"]


def test_the_graph_says_how_steps_are_grouped_and_called(server: Server, gaia: Gaia) -> None:
    gaia.upload(
        "w",
        {},
        [command("begin", "true", "a"), command("go", "true", "a")],
        [
            step("start", "begin", "k:start", "k:missing"),
            *(step(f"go-{n:02}", "go", f"k:{n}", "k:start") for n in range(30)),
        ],
    )
    told = requests.get(f"{server.url}api/workflows/w/graph", timeout=30).json()
    graph = gaia.graph("w")
    assert {key: told[key] for key in graph} == graph
    assert told["labels"][:2] == ["start", "go-00"]
    assert told["suggested"] == "command"
    assert told["groupings"] == [
        {
            "by": "command",
            "label": "Command",
            "groups": [
                {"id": "command:go", "name": "go", "steps": list(range(1, 31)), "groups": []}
            ],
        }
    ]

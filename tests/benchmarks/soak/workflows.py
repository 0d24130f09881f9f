"""The three workflows of the soak: chains, a composite Command, arrays, fan-in, directories."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass, field
from typing import Any

from support.builders import command, step

WORDS = ("ant", "bee", "cat", "dog")
"""Inputs are made of few words, so that contents come back, and Steps below needn't run."""
BAD = "bad"
"""A word that a Step fails of."""
PARTS = 6
"""Steps of the array."""


@dataclass
class Workflow:
    """What one workflow consists of now, as the user has changed it."""

    name: str
    commands: dict[str, dict[str, Any]]
    steps: dict[str, dict[str, Any]]
    inputs: tuple[str, ...]
    """The keys of the files that the user writes."""
    outputs: tuple[str, ...]
    """Keys of files that Steps make."""
    editable: tuple[str, ...]
    """The Steps whose var `text` may change."""
    contents: dict[str, str] = field(default_factory=dict)
    """Input key → what was written last."""


def workflows() -> list[Workflow]:
    """All three, as they are uploaded."""
    return [make() for make in (_chain, _sweep, _tree)]


def text(dice: random.Random, good: bool = True) -> str:
    """The contents of an input."""
    lines = [dice.choice(WORDS) for _ in range(dice.randint(1, 4))]
    if not good:
        lines[0] = BAD
    return "".join(f"{line}\n" for line in lines)


def _chain() -> Workflow:
    """Steps in a row, of which one often makes what it made before, and a composite Step."""
    label = command("label", "{ echo {{text}}; cat /in/a; } > /out/x", "a")
    count = command("count", "wc -l < /in/a > /out/x", "a")
    slow = command("slow", "sleep 0.4; sort /in/a > /out/x", "a")
    twice = {
        "name": "twice",
        "inputs": ["a"],
        "outputs": ["x"],
        "steps": [
            {"name": "one", "command": "slow", "inputs": {"a": "a"}, "outputs": {"x": "half"}},
            {"name": "two", "command": "count", "inputs": {"a": "half"}, "outputs": {"x": "x"}},
        ],
    }
    steps = [
        step("label", "label", "k:label", "in:text", vars={"text": "0"}),
        step("slow", "slow", "k:slow", "k:label"),
        step("count", "count", "k:count", "k:slow"),
        step("again", "label", "k:again", "k:count", vars={"text": "0"}),
        step("both", "twice", "k:both", "k:slow"),
    ]
    outputs = ("k:label", "k:slow", "k:count", "k:again", "k:both")
    return _workflow(
        "chain", [label, count, slow, twice], steps, ("in:text",), outputs, ("label", "again")
    )


def _sweep() -> Workflow:
    """An array of Steps of two inputs, and one that joins them all."""
    names = string.ascii_lowercase[:PARTS]
    paths = " ".join(f"/in/{name}" for name in names)
    part = command("part", "sleep 0.{{n}}; cat /in/a /in/b | sort -u > /out/x", "a", "b")
    join = command("join", f"echo {{{{text}}}} > /out/x; cat {paths} >> /out/x", *names)
    steps = [
        step("part", "part", "p:{{n}}", "in:one", "in:two", vars={"n": list(range(PARTS))}),
        step("join", "join", "k:join", *(f"p:{n}" for n in range(PARTS)), vars={"text": "0"}),
    ]
    outputs = (*(f"p:{n}" for n in range(PARTS)), "k:join")
    return _workflow("sweep", [part, join], steps, ("in:one", "in:two"), outputs, ("join",))


def _tree() -> Workflow:
    """A directory, readers of all of it and of a file in it, and Steps that may fail."""
    split = command(
        "split",
        "mkdir /out/d/sub; cp /in/a /out/d/first; n=0;"
        " while read -r line; do n=$((n + 1)); echo $line > /out/d/sub/$n; done < /in/a",
        "a",
        d="/out/d/",
    )
    listed = {
        **command("list", "cd /in/a/; echo {{text}}; cat first; ls sub", x=">"),
        "inputs": {"a": "/in/a/"},
    }
    check = command("check", f"! grep {BAD} /in/a && sleep 0.2 && cp /in/a /out/x", "a")
    steps = [
        step("split", "split", None, "in:lines", outputs={"d": "d:tree/"}),
        step("list", "list", "k:list", "d:tree/", vars={"text": "0"}),
        step("check", "check", "k:check", "d:tree/first"),
        step("after", "check", "k:after", "k:check"),
        step("other", "check", "k:other", "in:other"),
    ]
    outputs = ("d:tree/", "k:list", "k:check", "k:after", "k:other")
    return _workflow(
        "tree", [split, listed, check], steps, ("in:lines", "in:other"), outputs, ("list",)
    )


def _workflow(
    name: str, commands: list[dict[str, Any]], steps: list[dict[str, Any]], *rest: Any
) -> Workflow:
    def by_name(parts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {part["name"]: part for part in parts}

    return Workflow(f"soak_{name}", by_name(commands), by_name(steps), *rest)

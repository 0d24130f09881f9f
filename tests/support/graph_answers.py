"""Graphs as the server answers them, with groupings, and news of their Steps: made by hand."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.study import Size, study

Answer = dict[str, Any]


def graph(
    steps: Sequence[tuple[str, str]],
    edges: Iterable[tuple[str, str]],
    groupings: Sequence[Answer] = (),
    *,
    labels: Sequence[str] | None = None,
    suggested: str | None = None,
    version: str = "1",
) -> Answer:
    """The answer for Steps ``(name, Command)`` and edges between their names."""
    return {
        "workflow": "me_graph",
        "state": "running",
        "version": version,
        "steps": [{"step": name, "command": by, "state": "waiting"} for name, by in steps],
        "edges": [{"from": one, "to": other, "keys": [f"k:{one}"]} for one, other in edges],
        "labels": list(labels) if labels is not None else [name for name, _ in steps],
        "groupings": list(groupings),
        "suggested": suggested,
    }


def group(name: str, steps: Sequence[int], groups: Sequence[Answer] = ()) -> Answer:
    return {"id": name, "name": name, "steps": list(steps), "groups": list(groups)}


def grouping(by: str, groups: Sequence[Answer]) -> Answer:
    return {"by": by, "label": f"{by}".replace("command", "Command"), "groups": groups}


def by_command(steps: Sequence[tuple[str, str]]) -> Answer:
    members: dict[str, list[int]] = {}
    for index, (_, command) in enumerate(steps):
        members.setdefault(command, []).append(index)
    return grouping("command", [group(name, found) for name, found in members.items()])


def whole_cell() -> Answer:
    """277 Steps, one Command for each: chains of generations, analysed, and joined."""
    parts = study(Size())
    steps = [(part.name, part.name) for part in parts]
    edges = [(maker, part.name) for part in parts for maker in part.reads]
    places = {name: index for index, (name, _) in enumerate(steps)}

    def named(kind: str, chain: int) -> list[int]:
        return [places[f"{kind}-{chain}-{number}"] for number in range(8)]

    seeds = [
        group(f"sim-*-* of seed {chain}", named("sim", chain), []) for chain in range(Size().chains)
    ]
    analyses = [
        group(f"analysis-*-* of seed {chain}", named("analysis", chain))
        for chain in range(Size().chains)
    ]
    names = grouping(
        "name",
        [
            group("sim-*-*", [i for each in seeds for i in each["steps"]], seeds),
            group("analysis-*-*", [i for each in analyses for i in each["steps"]], analyses),
            group("chain-*", [places[f"chain-{chain}"] for chain in range(16)]),
            group("half-*", [places["half-0"], places["half-1"]]),
        ],
    )
    return graph(steps, edges, [names], suggested="name")


def broad(count: int) -> Answer:
    """As many simulations, each analysed, with one preparation and one report."""
    half = (count - 2) // 2
    steps = [("prepare", "prepare")]
    steps += [(f"simulate-{number:05}", "simulate") for number in range(half)]
    steps += [(f"analyse-{number:05}", "analyse") for number in range(half)]
    steps.append(("report", "report"))
    edges = [("prepare", f"simulate-{number:05}") for number in range(half)]
    edges += [(f"simulate-{number:05}", f"analyse-{number:05}") for number in range(half)]
    edges += [(f"analyse-{number:05}", "report") for number in range(half)]
    return graph(steps, edges, [by_command(steps)], suggested="command")


def one_group(count: int) -> Answer:
    """A preparation, and as many Steps of one Command."""
    steps = [("prepare", "prepare")]
    steps += [(f"simulate-{number:05}", "simulate") for number in range(count)]
    edges = [("prepare", name) for name, _ in steps[1:]]
    return graph(steps, edges, [by_command(steps)], suggested="command")


def chain(count: int) -> Answer:
    steps = [(f"generation-{number:02}", "simulate") for number in range(count)]
    names = [name for name, _ in steps]
    return graph(steps, itertools.pairwise(names), [by_command(steps)])


def composites() -> Answer:
    """Two composites of three Steps each between a first and a last Step."""
    steps = [("prepare", "prepare")]
    edges = []
    for outer in ("left", "right"):
        inner = [f"{outer}:{name}" for name in ("align", "sort", "count")]
        steps += [(name, name.partition(":")[2]) for name in inner]
        edges += [("prepare", inner[0]), (inner[0], inner[1]), (inner[1], inner[2])]
        edges.append((inner[2], "merge"))
    steps.append(("merge", "merge"))
    frames = grouping("composite", [group("left", [1, 2, 3]), group("right", [4, 5, 6])])
    return graph(steps, edges, [by_command(steps), frames])


def few() -> Answer:
    """12 Steps."""
    names = ["fetch", "clean", "split"]
    names += [f"fit-{letter}" for letter in "abcd"]
    names += [f"score-{letter}" for letter in "abcd"] + ["report"]
    edges = [("fetch", "clean"), ("clean", "split")]
    for letter in "abcd":
        edges += [("split", f"fit-{letter}"), (f"fit-{letter}", f"score-{letter}")]
        edges += [("split", f"score-{letter}"), (f"score-{letter}", "report")]
    return graph([(name, name.partition("-")[0]) for name in names], edges)


def news(answer: Answer, phase: str) -> list[list[Any]]:
    """News of each Step: ``[name, news]``.

    In the phase ``running`` the first third is complete, then some run; in ``failed`` one in the
    middle has failed, too.
    """
    steps = answer["steps"]
    third = len(steps) // 3
    found = []
    for index, step in enumerate(steps):
        state = phase
        if phase in ("running", "failed"):
            state = "complete" if index < third else "running" if index < third + 4 else "waiting"
            if phase == "failed" and index == third:
                state = "error"
        began = state in ("complete", "error", "running")
        ended = state in ("complete", "error")
        told = {
            "state": state,
            "task": f"t{index}" if began else None,
            "started": 1000.0 + index if began else None,
            "ended": 1003.0 + 1.1 * index if ended else None,
        }
        found.append([step["step"], told])
    return found

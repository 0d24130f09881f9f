"""Answers of `Gaia.graph` to draw: the shapes of real workflows, and some that are hard to draw."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Any

SEEDS, GENERATIONS = 16, 8
"""The chains of `cells`, and the Steps in each."""


def graph(
    steps: Iterable[tuple[str, str, str]], edges: Iterable[tuple[str, str]], name: str = "w"
) -> dict[str, Any]:
    """A graph of Steps (name, Command, state) and edges, each with one key."""
    return {
        "workflow": name,
        "state": "running",
        "steps": [
            {"step": step, "command": command, "state": state} for step, command, state in steps
        ],
        "edges": [
            {"from": source, "to": target, "keys": [f"b:{source}"]} for source, target in edges
        ],
    }


def cells(stage: str = "waiting") -> dict[str, Any]:
    """277 Steps with a Command for each: a fit, 16 chains of 8 simulations, and their analyses.

    `stage` is how far it has come: ``waiting``, ``running``, ``failed`` or ``complete``.
    """
    names = ["parca", "variant", "analysis_parca"]
    edges = [("parca", "variant"), ("parca", "analysis_parca")]
    every: list[str] = []
    singles: list[str] = []
    for seed in range(SEEDS):
        row = [
            f"simulation{'Daughter' if gen else ''}_Var0_Seed{seed:03}_Gen{gen:03}_Cell0"
            for gen in range(GENERATIONS)
        ]
        edges += [*itertools.pairwise(row), *(("variant", cell) for cell in row)]
        many = f"analysis_multigen_Var0_Seed{seed:03}"
        for gen, cell in enumerate(row):
            single = f"analysis_single_Var0_Seed{seed:03}_Gen{gen:03}_Cell0"
            edges += [(source, single) for source in ("parca", "variant", cell)]
            singles.append(single)
        edges += [(source, many) for source in ("parca", "variant", *row)]
        names += [*row, many]
        every += row
    names += [*singles, "analysis_cohort_Var0", "analysis_variant"]
    for join in names[-2:]:
        edges += [(source, join) for source in ("parca", "variant", *every)]
    return graph([(name, name, _cell_state(name, stage)) for name in names], edges, "cells_2026")


def _cell_state(name: str, stage: str) -> str:
    if stage in ("waiting", "complete"):
        return {"waiting": "ready" if name == "parca" else "waiting"}.get(stage, stage)
    if name in ("parca", "variant", "analysis_parca"):
        return "complete"
    gen = int(name.partition("Gen")[2][:3] or GENERATIONS)
    if stage == "failed" and "Seed005" in name and gen >= 3:
        return "error" if gen == 3 and name.startswith("simulation") else "waiting"
    reached = 3 if stage == "running" else GENERATIONS - 1
    if gen > reached or gen == GENERATIONS:
        return "waiting"
    if gen < reached:
        return "complete"
    return "running" if name.startswith("simulation") else "waiting"


def sweeps(number: int, states: tuple[str, ...] = ("complete",)) -> dict[str, Any]:
    """`number` Steps of six Commands: a sweep of simulations, each with three analyses."""
    steps = [("prepare", "prepare", "complete")]
    edges = []
    for cell in range((number - 2) // 4):
        sim = f"simulate-{cell:05}"
        steps.append((sim, "simulate", states[cell % len(states)]))
        edges.append(("prepare", sim))
        for kind in ("growth", "mass", "flux"):
            made = f"{kind}-{cell:05}"
            steps.append((made, kind, states[(cell + 1) % len(states)]))
            edges += [(sim, made), (made, "report")]
    steps.append(("report", "report", "waiting"))
    return graph(steps, edges, "sweep")


def chain(length: int) -> dict[str, Any]:
    """So many Steps in a row, with a Command for each."""
    names = [f"filter-{number:02}" for number in range(length)]
    return graph([(name, name, "complete") for name in names], itertools.pairwise(names), "chain")


def random_graph(
    number: int, edges: int, seed: int, commands: int = 9, words: int = 5
) -> dict[str, Any]:
    """A graph without cycles, whose Steps' names and Commands follow no order."""
    chance = random.Random(seed)
    order = list(range(number))
    chance.shuffle(order)
    names = [f"{chance.choice('abcdefgh'[:words])}_{n % 7}_{n}" for n in range(number)]
    pairs = set()
    for _ in range(edges if number > 1 else 0):
        first, second = sorted(chance.sample(range(number), 2))
        pairs.add((names[order[first]], names[order[second]]))
    steps = [(name, f"c{chance.randrange(commands)}", "waiting") for name in names]
    return graph(steps, sorted(pairs), "random")

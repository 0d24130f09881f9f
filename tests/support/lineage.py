"""The Commands and Steps of a small whole-cell project: simulations, aggregates of them, a report.

Each seed has a line of cells. The aggregates' Command reads all generations, so that another number
of them gives it other inputs and, here, another output.
"""

from __future__ import annotations

from typing import Any

from support.builders import command

SEEDS = (0, 1)


def lineage(generations: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The definitions for so many generations of each seed."""
    names = [f"g{number}" for number in range(generations)]
    made = {"plot": "/out/plot"} | ({"table": "/out/table"} if generations > 2 else {})
    read = " ".join(f"/in/{name}" for name in names)
    summary = f"{generations} generations of seed {{{{seed}}}}"
    table = f"; echo '{summary}' > /out/table" if generations > 2 else ""
    aggregate = command("agg", f"cat {read} > /out/plot{table}", *names, **made)
    kept = "table" if generations > 2 else "plot"
    commands = [
        command("fit", "echo fitted > /out/x"),
        command("sim", "cat /in/a > /out/x; echo {{seed}}.{{generation}} >> /out/x", "a"),
        aggregate,
        command("report", "cat /in/s0 /in/s1 > /out/x", *(f"s{seed}" for seed in SEEDS)),
    ]
    steps: list[dict[str, Any]] = [
        {"name": "kb", "command": "fit", "outputs": {"x": "out:kb"}},
    ]
    for seed in SEEDS:
        for number in range(generations):
            mother = "out:kb" if number == 0 else f"out:sim/{seed}/{number - 1}"
            steps.append(
                {
                    "name": f"sim-{seed}-{number}",
                    "command": "sim",
                    "inputs": {"a": mother},
                    "outputs": {"x": f"out:sim/{seed}/{number}"},
                    "vars": {"seed": seed, "generation": number},
                }
            )
        steps.append(
            {
                "name": f"agg-{seed}",
                "command": "agg",
                "inputs": {name: f"out:sim/{seed}/{name[1:]}" for name in names},
                "outputs": {key: f"out:agg/{seed}.{key}" for key in made},
                "vars": {"seed": seed},
            }
        )
    inputs = {f"s{seed}": f"out:agg/{seed}.{kept}" for seed in SEEDS}
    steps.append(
        {"name": "report", "command": "report", "inputs": inputs, "outputs": {"x": "out:report"}}
    )
    return commands, steps

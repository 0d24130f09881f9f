"""Forty Steps in four layers, an engine in a process of its own, and the expected outputs."""

from __future__ import annotations

import textwrap
from typing import Any

ENGINE = textwrap.dedent(
    """
    import json, sys
    from gaia_local import Gaia

    config, name = json.loads(sys.argv[1]), "w"
    gaia = Gaia(config)
    if name not in gaia.workflows()["workflows"]:
        commands, steps = json.load(open(sys.argv[2]))
        gaia.upload(name, {}, commands, steps)
    else:
        gaia.run(name)
    print("up", flush=True)
    gaia.wait(name)
    gaia.close()
    """
)


def forty_steps(image: str, seconds: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Four layers of ten: each Step joins two of the layer above, and depends on all above it."""
    command = {
        "name": "mix",
        "image": image,
        "command": [
            "sh",
            "-c",
            "cat /in/a /in/b | sort -u > /out/x; sleep {{seconds}}; echo {{name}} >> /out/x",
        ],
        "inputs": {"a": "/in/a", "b": "/in/b"},
        "outputs": {"x": "/out/x", "log": ">>"},
        "vars": {"seconds": seconds},
    }
    steps = []
    for layer in range(4):
        for number in range(10):
            above = (
                [f"d:{layer - 1}-{(number + shift) % 10}" for shift in (0, 1)]
                if layer
                else ["d:source", "d:other"]
            )
            name = f"{layer}-{number}"
            steps.append(
                {
                    "name": name,
                    "command": "mix",
                    "inputs": {"a": above[0], "b": above[1]},
                    "outputs": {"x": f"d:{name}", "log": f"logs:{name}"},
                    "vars": {"name": name},
                }
            )
    return [command], steps


def expected(image: str) -> dict[str, str]:
    """The final files, computed here."""
    _, steps = forty_steps(image, 0)
    made = {"source": "source\n", "other": "other\n"}
    for step in steps:
        lines = {
            line
            for key in step["inputs"].values()
            for line in made[key.removeprefix("d:")].splitlines()
        }
        # NOTE: sort's order depends on the locale; these names are plain ASCII digits, '-' and
        # letters.
        made[step["name"]] = "".join(f"{line}\n" for line in [*sorted(lines), step["name"]])
    return made

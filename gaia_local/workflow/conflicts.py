"""Conflicts of a new Step with the others: a taken name, a file that another Step makes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gaia_local.errors import InvalidInput
from gaia_local.model.steps import Step
from gaia_local.workflow.key_paths import KeyPaths
from gaia_local.workflow.nodes import KeyNode


def check_step(
    where: str,
    step: Step,
    paths: Mapping[str, str],
    steps: Collection[str],
    known: KeyPaths[KeyNode],
) -> None:
    """Raise `InvalidInput` if a Step, with its keys' `paths`, conflicts with other Steps.

    `steps` are their names, and `known` are their keys.
    """
    if step.name in steps:
        raise InvalidInput(where, "another Step has this name", "give each Step a name of its own")
    names: dict[str, str] = {}
    for key, path in paths.items():
        node = known.at(path)
        name = names.setdefault(path, key if node is None or node.idle else node.key)
        if name != key:
            raise InvalidInput(
                where,
                f"the keys {key!r} and {name!r} name the same file",
                "write one of them everywhere",
            )
    outputs: set[str] = set()
    for key in step.outputs.values():
        if key in outputs:
            raise InvalidInput(
                where,
                f"two of its outputs are the key {key!r}",
                "give each output a key of its own",
            )
        outputs.add(key)
        for present in known.at_or_overlapping(paths[key]):
            if present.maker is None:
                continue
            problem = f"it makes {key!r}, and Step {present.maker.step.name!r} makes "
            problem += "it too" if present.key == key else f"{present.key!r}, which overlaps it"
            raise InvalidInput(where, problem, "let one Step make each file")

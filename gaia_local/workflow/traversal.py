"""Walks through the nodes of a graph: descendants, depths, cycles."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gaia_local.workflow.nodes import StepNode


def descendants(tops: Iterable[StepNode]) -> list[StepNode]:
    """All Steps that depend on `tops`, the nearest first."""
    found: dict[str, StepNode] = {}
    queue = [successor for top in tops for successor in top.successors()]
    for node in queue:
        if node.step.name not in found:
            found[node.step.name] = node
            queue.extend(node.successors())
    return list(found.values())


def measure_depths(steps: Collection[StepNode]) -> bool:
    """Set the depth of all Steps; False if some wait for each other."""
    open_ends: dict[StepNode, int] = {}
    for node in steps:
        node.depth = ways = 0
        for key in node.outputs:
            ways += len(key.readers)
            for overlapping in key.overlapping_inputs:
                ways += len(overlapping.readers)
        open_ends[node] = ways
    ends = [node for node, ways in open_ends.items() if not ways]
    for node in ends:  # which grows
        depth = node.depth + 1
        for key in node.inputs:
            for maker in key.makers:
                maker.depth = max(maker.depth, depth)
                open_ends[maker] -= 1
                if not open_ends[maker]:
                    ends.append(maker)
    return len(ends) == len(open_ends)


def find_cycle(new: Collection[StepNode]) -> list[str]:
    """A circle of Steps that wait for each other: the first Step's name, a key, a name, and so on.

    Each key leads from the Step before it to the Step behind it, which reads it; the first Step's
    name stands again at the end. There was no cycle before: so those in it are new, or depend on
    new ones.
    """
    # Imported here: it takes longer than most uploads, and is needed only to name a cycle.
    import networkx

    keys: dict[tuple[str, str], str] = {}
    for node in dict.fromkeys((*new, *descendants(new))):
        for output in node.outputs:
            for key in (output, *output.overlapping_inputs):
                for reader in key.readers:
                    edge = (node.step.name, reader.step.name)
                    keys[edge] = min(key.key, keys.get(edge, key.key))
    cycle: list[tuple[str, str]] = networkx.find_cycle(networkx.DiGraph(keys.keys()))
    return [cycle[0][0], *(name for edge in cycle for name in (keys[edge], edge[1]))]

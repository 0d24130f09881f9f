"""Walks through the nodes of a graph: descendants, depths, cycles."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

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
    """Set the depth of all Steps; False where some wait for each other."""
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
    """The names of Steps that wait for each other, the first of them again at the end.

    There was no cycle before: so those in it are new, or depend on new ones.
    """
    # Which takes longer than the whole of most uploads, and is needed to name a cycle only.
    import networkx

    graph: Any = networkx.DiGraph()
    nodes = dict.fromkeys((*new, *descendants(new)))
    graph.add_edges_from(
        (node.step.name, after.step.name) for node in nodes for after in node.successors()
    )
    loop = [edge[0] for edge in networkx.find_cycle(graph)]
    return [*loop, loop[0]]

"""Graphs as text for other programs: Graphviz's dot, and Mermaid's flowcharts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gaia_local.pictures.boxes import Node, count, read
from gaia_local.pictures.states import APPEARANCES, appearance
from gaia_local.pictures.words import clean

MERMAID_EDGES = 500
"""Mermaid refuses to draw more, unless it is configured to."""


def dot(graph: Mapping[str, Any], group: bool = False) -> str:
    """The graph in Graphviz's language: a node for each Step, or with `group` for each Command."""
    groups, edges = _parts(graph, group)
    lines = [
        f"digraph {_dot(clean(graph.get('workflow', '')))} {{",
        '  graph [rankdir=TB, ranksep=0.6, fontname="sans-serif"];',
        '  node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=12,'
        ' margin="0.15,0.08"];',
        '  edge [color="#9aa5b4", arrowsize=0.7, fontname="sans-serif", fontsize=10,'
        ' fontcolor="#5b6675"];',
    ]
    for number, nodes in enumerate(groups):
        shown, label = (
            appearance(_state(nodes)),
            "\\n".join(_dot_text(line) for line in _label(nodes, group)),
        )
        tooltip = _dot("; ".join(_tooltip(nodes, group)))
        lines.append(
            f'  n{number} [label="{label}", tooltip={tooltip}, fillcolor="{shown.wash}",'
            f' color="{shown.ink}"];'
        )
    for (source, target), (number, keys) in edges.items():
        label = f', label="{number} edges"' if number > 1 else ""
        lines.append(f"  n{source} -> n{target} [tooltip={_dot('; '.join(keys))}{label}];")
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(graph: Mapping[str, Any], group: bool | None = None) -> str:
    """The graph as a Mermaid flowchart; `group` None groups graphs that Mermaid refuses to draw."""
    groups, edges = _parts(graph, bool(group))
    if group is None and len(edges) > MERMAID_EDGES:
        group = True
        groups, edges = _parts(graph, group)
    lines = ["flowchart TB"]
    for number, nodes in enumerate(groups):
        name, *rest = (_mermaid(line) for line in _label(nodes, bool(group)))
        label = "<br>".join([name, *(f"<small>{line}</small>" for line in rest)])
        lines.append(f'  n{number}["{label}"]:::{_state(nodes)}')
    for (source, target), (number, _) in edges.items():
        lines.append(
            f'  n{source} -->|"{number} edges"| n{target}'
            if number > 1
            else f"  n{source} --> n{target}"
        )
    for state in sorted({_state(nodes) for nodes in groups}):
        shown = APPEARANCES[state]
        lines.append(f"  classDef {state} fill:{shown.wash},stroke:{shown.ink},color:#1b2430")
    return "\n".join(lines) + "\n"


def _parts(
    graph: Mapping[str, Any], group: bool
) -> tuple[list[list[Node]], dict[tuple[int, int], tuple[int, tuple[str, ...]]]]:
    """The Steps of each node, and for each edge the number it stands for and some of its keys."""
    nodes, edges = read(graph)
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(node.command if group else node.name, []).append(node)
    home = {node.name: number for number, members in enumerate(groups.values()) for node in members}
    joined: dict[tuple[int, int], tuple[int, tuple[str, ...]]] = {}
    for source, target, keys in edges:
        number, seen = joined.get((home[source], home[target]), (0, ()))
        joined[home[source], home[target]] = (number + 1, seen if len(seen) > 8 else (*seen, *keys))
    return list(groups.values()), joined


def _state(nodes: Sequence[Node]) -> str:
    """The state that gives a group its colour: failures first, then running and waiting Steps."""
    states = {node.state for node in nodes}
    for state in ("error", "exception", "unfit", "running", "queued", "ready", "waiting"):
        if state in states:
            return state
    return "complete" if states == {"complete"} else "waiting"


def _label(nodes: Sequence[Node], group: bool) -> list[str]:
    node = nodes[0]
    if not group:
        return [
            f"{appearance(node.state).sign} {node.name}",
            *([] if node.command == node.name else [node.command]),
        ]
    counts = count(node.state for node in nodes)
    return [
        node.command,
        "  ".join(f"{appearance(state).sign} {number} {state}" for state, number in counts.items()),
    ]


def _tooltip(nodes: Sequence[Node], group: bool) -> list[str]:
    return (
        [f"{len(nodes)} Steps"]
        if group
        else [nodes[0].name, f"Command {nodes[0].command}", nodes[0].state]
    )


def _dot(text: str) -> str:
    return f'"{_dot_text(text)}"'


def _dot_text(text: str) -> str:
    # `&` begins an entity there, and a backslash an escape.
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def _mermaid(text: str) -> str:
    """Text inside quotes: characters special to Mermaid or HTML become entities of Mermaid's."""
    # Mermaid breaks the line at \n, even from entities: a word joiner, without width, prevents it.
    text = text.replace("\\n", "\\\u2060n")
    return "".join(
        character
        if character.isalnum() or character in " _-.,/…▷◷▶✓✗■‖!" or ord(character) > 0x2FF
        else f"#{ord(character)};"
        for character in text
    )

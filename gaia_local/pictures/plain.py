"""Graphs as text for other programs: Graphviz's dot, and Mermaid's flowcharts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gaia_local.errors import InvalidInput
from gaia_local.pictures.boxes import Node, count, read
from gaia_local.pictures.grouping import Group, chosen, groupings
from gaia_local.pictures.states import APPEARANCES, appearance
from gaia_local.pictures.words import clean

MERMAID_EDGES, MERMAID_TEXT = 500, 50_000
"""Mermaid refuses to draw more edges, or a text of more characters, unless it is configured to."""


@dataclass(frozen=True)
class _Part:
    """A node: a Step, or a group of them."""

    name: str
    nodes: tuple[Node, ...]
    group: bool


def dot(graph: Mapping[str, Any], group: bool | str | None = False) -> str:
    """The graph in Graphviz's language: a node for each Step, or with `group` for each group."""
    read(graph)  # which refuses what is no graph
    groups, edges = _parts(graph, _groups(graph, group) if group else ())
    lines = [
        f"digraph {_dot(clean(graph.get('workflow', '')))} {{",
        '  graph [rankdir=TB, ranksep=0.6, fontname="sans-serif"];',
        '  node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=12,'
        ' margin="0.15,0.08"];',
        '  edge [color="#9aa5b4", arrowsize=0.7, fontname="sans-serif", fontsize=10,'
        ' fontcolor="#5b6675"];',
    ]
    for number, part in enumerate(groups):
        shown = appearance(_state(part.nodes))
        label = "\\n".join(_dot_text(line) for line in _label(part))
        tooltip = _dot("; ".join(_tooltip(part)))
        lines.append(
            f'  n{number} [label="{label}", tooltip={tooltip}, fillcolor="{shown.wash}",'
            f' color="{shown.ink}"];'
        )
    for (source, target), (number, keys) in edges.items():
        label = f', label="{number} edges"' if number > 1 else ""
        lines.append(f"  n{source} -> n{target} [tooltip={_dot('; '.join(keys))}{label}];")
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(graph: Mapping[str, Any], group: bool | str | None = None) -> str:
    """The graph as a Mermaid flowchart, within Mermaid's own limits.

    `group` is as for `draw`; None groups a graph that Mermaid would refuse to draw. Raises
    `InvalidInput` if it would refuse what is left, too.
    """
    read(graph)  # which refuses what is no graph
    wanted: list[bool | str]
    if group is None:
        others = sorted(groupings(graph), key=lambda choice: choice.boxes(len(graph["steps"])))
        wanted = [False, True, "command", *(choice.by for choice in others)]
    else:
        wanted = [group]
    least = ""
    for one in wanted:
        groups, edges = _parts(graph, _groups(graph, one))
        text = _flowchart(groups, edges)
        if len(edges) <= MERMAID_EDGES and len(text) <= MERMAID_TEXT:
            return text
        if not least or len(text) < len(least):
            least, number = text, len(edges)
    raise InvalidInput(
        "mermaid",
        f"{number:,} edges in {len(least):,} characters are more than Mermaid draws"
        f" ({MERMAID_EDGES} and {MERMAID_TEXT:,})",
        "draw it as svg or dot" if group is None else "leave the grouping out, or draw it as svg",
    )


def _groups(graph: Mapping[str, Any], group: bool | str) -> tuple[Group, ...]:
    if group in (False, "none"):
        return ()
    return chosen(graph, group if isinstance(group, str) else None)


Edges: TypeAlias = dict[tuple[int, int], tuple[int, tuple[str, ...]]]
"""Two nodes → the number of edges between them, and some of their keys."""


def _flowchart(groups: Sequence[_Part], edges: Edges) -> str:
    lines = ["flowchart TB"]
    for number, part in enumerate(groups):
        name, *rest = (_mermaid(line) for line in _label(part))
        label = "<br>".join([name, *(f"<small>{line}</small>" for line in rest)])
        lines.append(f'  n{number}["{label}"]:::{_state(part.nodes)}')
    for (source, target), (number, _) in edges.items():
        lines.append(
            f'  n{source} -->|"{number} edges"| n{target}'
            if number > 1
            else f"  n{source} --> n{target}"
        )
    for state in sorted({_state(part.nodes) for part in groups}):
        shown = APPEARANCES[state]
        lines.append(f"  classDef {state} fill:{shown.wash},stroke:{shown.ink},color:#1b2430")
    return "\n".join(lines) + "\n"


def _parts(graph: Mapping[str, Any], groups: Sequence[Group]) -> tuple[list[_Part], Edges]:
    """The nodes, in the order of upload, and the edges between them."""
    nodes, edges = read(graph)
    first = {group.steps[0]: group for group in groups}
    grouped = {step for group in groups for step in group.steps}
    parts: list[_Part] = []
    home: dict[str, int] = {}
    for number, node in enumerate(nodes):
        if number in first:
            members = tuple(nodes[step] for step in first[number].steps)
            home |= {member.name: len(parts) for member in members}
            parts.append(_Part(clean(first[number].name), members, True))
        elif number not in grouped:
            home[node.name] = len(parts)
            parts.append(_Part(node.name, (node,), False))
    joined: Edges = {}
    for source, target, keys in edges:
        number, seen = joined.get((home[source], home[target]), (0, ()))
        joined[home[source], home[target]] = (number + 1, seen if len(seen) > 8 else (*seen, *keys))
    return parts, joined


def _state(nodes: Sequence[Node]) -> str:
    """The state that gives a group its colour: failures first, then running and waiting Steps."""
    states = {node.state for node in nodes}
    for state in ("error", "exception", "unfit", "running", "queued", "ready", "waiting"):
        if state in states:
            return state
    return "complete" if states == {"complete"} else "waiting"


def _label(part: _Part) -> list[str]:
    node = part.nodes[0]
    if not part.group:
        return [
            f"{appearance(node.state).sign} {node.name}",
            *([] if node.command == node.name else [node.command]),
        ]
    counts = count(one.state for one in part.nodes)
    return [
        part.name,
        "  ".join(f"{appearance(state).sign} {number} {state}" for state, number in counts.items()),
    ]


def _tooltip(part: _Part) -> list[str]:
    if part.group:
        return [f"{len(part.nodes)} Steps"]
    return [part.name, f"Command {part.nodes[0].command}", part.nodes[0].state]


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

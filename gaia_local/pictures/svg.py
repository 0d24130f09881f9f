"""Writes a laid-out graph as SVG: light and dark colours, signs as shapes, names as tooltips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from gaia_local.pictures.boxes import (
    BAR,
    CHIP_GAP,
    CHIP_HEIGHT,
    HEADER,
    LEFT,
    NAME,
    PADDING,
    SMALL,
    Box,
    Link,
    Node,
    count,
)
from gaia_local.pictures.coordinates import Layout
from gaia_local.pictures.frames import HEADER as INSIDE
from gaia_local.pictures.frames import Frame
from gaia_local.pictures.signs import known, sign
from gaia_local.pictures.signs import rules as sign_rules
from gaia_local.pictures.states import APPEARANCES
from gaia_local.pictures.ways import drawn, length, numbered, some, tooltip
from gaia_local.pictures.words import bold, shorten, width

__all__ = [
    "FONTS",
    "MARGIN",
    "TITLE",
    "Drawing",
    "graph_svg",
    "legend",
    "length",
    "sign",
    "style",
    "tooltip",
    "words",
]

MARGIN = 24.0
HEAD = 92.0
"""The room for title and legend."""
TITLE = 18.0
_CROWD, _THIN = 150, 0.6
"""Of more links than the first number each is drawn thinner, by the second."""
FONTS = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans",'
    " sans-serif"
)

_LIGHT = {
    "ground": "#ffffff",
    "text": "#1b2430",
    "muted": "#5b6675",
    "line": "#9aa5b4",
    "panel": "#fafbfc",
    "on": "#ffffff",
}
_DARK = {
    "ground": "#14181e",
    "text": "#e8ecf2",
    "muted": "#a1acbb",
    "line": "#667284",
    "panel": "#1a1f27",
    "on": "#14181e",
}


@dataclass(frozen=True)
class Drawing:
    """An SVG and its size in px."""

    svg: str
    width: float
    height: float


def style(scope: str, states: Iterable[str] = APPEARANCES) -> str:
    """The rules within class `scope`, for these states and ``waiting``, as unknown ones look.

    Light or dark as the reader prefers (light in a PNG).
    """
    shown = [state for state in APPEARANCES if state in {*states, "waiting"}]
    fixed = (
        f".{scope} text{{font-family:{FONTS};font-size:{SMALL:g}px}}"
        f".{scope} .name{{font-size:{NAME:g}px;font-weight:600}}.{scope}"
        f" .title{{font-size:{TITLE:g}px;font-weight:600}}"
        f".{scope} .way{{fill:none;stroke-width:1.3}}.{scope} .box,.{scope}"
        f" .panel{{stroke-width:1.2}}.{scope} .frame{{stroke-width:1;stroke-dasharray:5 4}}"
        f"{sign_rules(scope)}"
    )
    day = _rules(scope, _LIGHT, shown, night=False)
    night = _rules(scope, _DARK, shown, night=True)
    return f"{fixed}{day}@media (prefers-color-scheme:dark){{{night}}}"


def _rules(scope: str, colours: Mapping[str, str], states: Iterable[str], night: bool) -> str:
    rules = {
        ".ground": f"fill:{colours['ground']}",
        ".name, .title, .label": f"fill:{colours['text']}",
        ".muted": f"fill:{colours['muted']}",
        ".way": f"stroke:{colours['line']}",
        ".head": f"fill:{colours['line']}",
        ".panel": f"fill:{colours['panel']};stroke:{colours['line']}",
        ".frame": f"fill:none;stroke:{colours['muted']}",
        ".halo": f"stroke:{colours['ground']};stroke-width:4;stroke-linejoin:round;"
        f"fill:{colours['ground']}",
        ".mark": f"stroke:{colours['on']}",
    }
    for state in states:
        shown = APPEARANCES[state]
        ink, wash = (shown.night_ink, shown.night_wash) if night else (shown.ink, shown.wash)
        rules |= {f".{state} .box": f"fill:{wash};stroke:{ink}", f".{state}": f"color:{ink}"}
    return "".join(
        ",".join(f".{scope} {part.strip()}" for part in selector.split(",")) + f"{{{rule}}}"
        for selector, rule in rules.items()
    )


def graph_svg(
    workflow: str, state: str, boxes: Sequence[Box], links: Sequence[Link], layout: Layout
) -> Drawing:
    """The whole picture: title, legend, links, boxes."""
    counts = count(node.state for box in boxes for node in box.nodes)
    signs, signs_width = legend(counts)
    steps = sum(counts.values())
    about = f"{steps} Step{'' if steps == 1 else 's'}, {state}"
    title = shorten(workflow, 640.0, bold(TITLE))
    wide = 2 * MARGIN + max(
        layout.width, signs_width, width(title, bold(TITLE)) + 16 + width(about, NAME)
    )
    high = HEAD + layout.height + MARGIN
    parts = [
        f'<rect class="ground" width="{length(wide)}" height="{length(high)}"/>',
        f'<text class="title" x="{MARGIN:g}" y="34">{escape(title)}'
        f'<tspan class="muted" dx="12" style="font-size:{NAME:g}px;'
        f'font-weight:400">{escape(about)}</tspan>'
        f"<title>{escape(workflow)}</title></text>",
        f'<g transform="translate({MARGIN:g} 58)">{signs}</g>',
        f'<g transform="translate({length((wide - layout.width) / 2)} {HEAD:g})">',
        _inside(boxes, links, layout),
        "</g>",
    ]
    described = f"The graph of the workflow {workflow}: {about}; {words(counts)}"
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" class="gaia-graph" role="img"'
        f' width="{length(wide)}" height="{length(high)}" '
        f'viewBox="0 0 {length(wide)} {length(high)}" aria-label={quoteattr(described)}>'
        f"<style>{escape(style('gaia-graph', counts))}</style>{''.join(parts)}</svg>\n"
    )
    return Drawing(svg, wide, high)


def _inside(boxes: Sequence[Box], links: Sequence[Link], layout: Layout) -> str:
    """Links, and boxes over them."""
    thin = _THIN if len(links) > _CROWD else 1.0
    joints = [box.kind == "junction" for box in boxes]
    shown = numbered(links, layout, joints)
    ways = [
        drawn(
            link,
            way,
            (boxes[link.source], layout.corners[link.source]),
            flat=flat,
            thin=thin,
            joints=(joints[link.source], joints[link.target]),
            numbered=number in shown,
        )
        for number, (link, way, flat) in enumerate(
            zip(links, layout.ways, layout.flat, strict=True)
        )
    ]
    blocks = [_box(box, *corner) for box, corner in zip(boxes, layout.corners, strict=True)]
    return "".join([*ways, *blocks])


def words(counts: Mapping[str, int]) -> str:
    """``12 complete, 1 running``."""
    return ", ".join(f"{number} {state}" for state, number in counts.items()) or "nothing in it"


def legend(counts: Mapping[str, int]) -> tuple[str, float]:
    """Sign, state and number of each, in a row, and the row's width."""
    parts, x = [], 0.0
    for state, number in counts.items():
        text = f"{state} {number}"
        parts.append(
            f'{sign(state, x + 9, 0)}<text class="label" x="{length(x + 23)}"'
            f' y="4">{escape(text)}</text>'
        )
        x += 23 + width(text, SMALL) + 20
    return "".join(parts), x


def _of_node(node: Node) -> list[str]:
    return [node.name, f"Command {node.command}", node.state]


def _box(box: Box, x: float, y: float) -> str:
    draw = {
        "step": _draw_step,
        "panel": _draw_panel,
        "group": _draw_group,
        "frame": _draw_frame,
        "junction": _draw_junction,
    }[box.kind]
    return f'<g transform="translate({length(x)} {length(y)})">{draw(box)}</g>'


def _draw_junction(box: Box) -> str:
    return f'<circle class="head" cx="{box.width / 2:g}" cy="{box.height / 2:g}" r="4"/>'


def _draw_frame(box: Box) -> str:
    if not isinstance(box, Frame) or box.layout is None:
        raise TypeError(f"{box.kind} without an inside")
    middle = (box.width - box.layout.width) / 2
    return (
        f'{_frame(box, "frame")}<text class="name" x="{PADDING:g}" y="20">'
        f"{escape(box.lines[0])}{tooltip([box.title, f'{len(box.nodes)} Steps'])}</text>"
        f'<g transform="translate({length(middle)} {INSIDE:g})">'
        f"{_inside(box.boxes, box.links, box.layout)}</g>"
    )


def _draw_step(box: Box) -> str:
    (node,) = box.nodes
    block = 16.0 * len(box.lines) + (15.0 if box.below else 0.0)
    y = (box.height - block) / 2 + 12.5
    return (
        f'<g class="{known(node.state)}">{_frame(box, "box")}</g>'
        f"{sign(node.state, 20, box.height / 2)}{_lines(box, LEFT, y)}{tooltip(_of_node(node))}"
    )


def _draw_panel(box: Box) -> str:
    chip = (box.width - 2 * PADDING + CHIP_GAP) / box.columns - CHIP_GAP
    parts = [_frame(box, "panel"), _lines(box, PADDING, 18.0)]
    for number, (node, text) in enumerate(zip(box.nodes, box.chips, strict=True)):
        row, column = divmod(number, box.columns)
        x, y = PADDING + column * (chip + CHIP_GAP), HEADER + row * (CHIP_HEIGHT + CHIP_GAP)
        parts.append(
            f'<g transform="translate({length(x)} {length(y)})"><g class="{known(node.state)}">'
            f'<rect class="box" rx="5" width="{length(chip)}" height="{CHIP_HEIGHT:g}"/></g>'
            f"{sign(node.state, 12, CHIP_HEIGHT / 2, 6.5)}"
            f'<text class="label" x="23" y="15">{escape(text)}</text>{tooltip(_of_node(node))}</g>'
        )
    return "".join(parts)


def _draw_group(box: Box) -> str:
    steps, inside = len(box.nodes), box.width - 2 * PADDING
    y = 12.0 + 16.0 * len(box.lines) + 18.0
    parts, x, at = [], PADDING, PADDING
    for state, number in box.counts.items():
        share = inside * number / steps
        parts.append(
            f'<g class="{known(state)}"><rect class="disc" x="{length(x)}" y="{length(y)}"'
            f' width="{length(share)}" '
            f'height="{BAR:g}"/></g>'
        )
        parts.append(
            f'{sign(state, at + 7, y + 24, 7)}<text class="label" x="{length(at + 18)}"'
            f' y="{length(y + 28)}">{number}</text>'
        )
        x, at = x + share, at + 26.0 + width(str(number), SMALL)
    about = tooltip(
        [
            box.title,
            f"{steps} Steps: {words(box.counts)}",
            *some([node.name for node in box.nodes]),
        ]
    )
    return f"{_frame(box, 'panel')}{_lines(box, PADDING, 24.0)}{''.join(parts)}{about}"


def _frame(box: Box, kind: str) -> str:
    return (
        f'<rect class="{kind}" rx="8" width="{length(box.width)}" height="{length(box.height)}"/>'
    )


def _lines(box: Box, x: float, y: float) -> str:
    parts = [
        f'<text class="name" x="{length(x)}" y="{length(y + 16.0 * number)}">{escape(line)}</text>'
        for number, line in enumerate(box.lines)
    ]
    if box.below:
        below = y + 16.0 * len(box.lines) - 1.0
        parts.append(
            f'<text class="muted" x="{length(x)}" y="{length(below)}">{escape(box.below)}</text>'
        )
    return "".join(parts)

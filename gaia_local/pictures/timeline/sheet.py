"""A timeline as one SVG."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape, quoteattr

from gaia_local.pictures.boxes import NAME, SMALL, count
from gaia_local.pictures.signs import known, sign
from gaia_local.pictures.states import COMMAND_TINTS, command_hue
from gaia_local.pictures.svg import (
    MARGIN,
    TITLE,
    legend,
    length,
    style,
    tooltip,
    words,
)
from gaia_local.pictures.timeline.lanes import REUSED, Bar, Gap, Lane, Timeline
from gaia_local.pictures.words import bold, shorten, width

WIDE = 1240.0
LABELS = 116.0
"""The room left of the lanes, for their names."""
ROW, BAR, LANE_GAP = 24.0, 20.0, 10.0
_INSIDE = WIDE - 2 * MARGIN - LABELS
_THINNEST = 1.0
_NARROW = 2.0
"""Bars that are narrower, and side by side, become one."""
_FAILED = ("error", "exception")
_READABLE = 72.0
"""A bar of this width has its name in it."""


def svg(timeline: Timeline) -> str:
    """The whole picture; light or dark as the reader prefers."""
    counts = count(state for state, number in timeline.counts.items() for _ in range(number))
    signs, _ = legend(counts)
    commands = _commands(timeline.commands)
    top = 140.0 if commands else 116.0
    grounds: list[str] = []
    bars: list[str] = []
    y = top
    for lane in timeline.lanes:
        grounds.append(_ground(lane, y))
        bars += _lane(lane, y)
        y += lane.rows * ROW + LANE_GAP
    high = max(y, top + 20) + MARGIN
    title = shorten(timeline.workflow, 500.0, bold(TITLE))
    parts = [
        f'<rect class="ground" width="{WIDE:g}" height="{length(high)}"/>',
        f'<text class="title" x="{MARGIN:g}" y="34">{escape(title)}'
        f'<tspan class="muted" dx="12" style="font-size:{NAME:g}px;'
        f'font-weight:400">{escape(timeline.summary)}</tspan>'
        f"<title>{escape(timeline.workflow)}</title></text>",
        f'<g transform="translate({MARGIN:g} 58)">{signs}</g>',
        f'<g transform="translate({MARGIN:g} 84)">{commands}</g>',
        *grounds,
        *_axis(timeline, top - 12, high - MARGIN),
        *bars,
    ]
    about = (
        f"What ran when in the workflow {timeline.workflow}: {timeline.summary}; {words(counts)}"
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" class="gaia-timeline" role="img"'
        f' width="{WIDE:g}" height="{length(high)}" '
        f'viewBox="0 0 {WIDE:g} {length(high)}" aria-label={quoteattr(about)}>'
        f"<style>{escape(_rules(len(timeline.commands)))}</style>{_HATCHES}{''.join(parts)}</svg>\n"
    )


_HATCHES = (
    "<defs>"
    + "".join(
        f'<pattern id="gaia-{name}" width="{size}" height="{size}" patternUnits="userSpaceOnUse"'
        f' patternTransform="rotate(45)"><path class="across" d="M0 0V{size}"/></pattern>'
        for name, size in (("dense", 5), ("sparse", 9))
    )
    + "</defs>"
)


def _rules(commands: int) -> str:
    fixed = (
        ".gaia-timeline .cut{stroke-dasharray:2 3}.gaia-timeline .reused .box{fill:none}"
        ".gaia-timeline .open .box,.gaia-timeline .reused .box{stroke-dasharray:3 2}"
        ".gaia-timeline .across{stroke:#5b6675;stroke-width:2.4;stroke-opacity:.7}"
        ".gaia-timeline .frame{fill:url(#gaia-sparse);stroke:currentColor;stroke-width:1.2}"
        ".gaia-timeline .failed .frame{fill:url(#gaia-dense);stroke-width:2}"
        ".gaia-timeline .mixed{fill:#9aa5b4}"
    )
    light, dark = (
        "".join(_command_rule(number, *COMMAND_TINTS[ground]) for number in range(commands))
        for ground in ("light", "dark")
    )
    return f"{style('gaia-timeline')}{fixed}{light}@media (prefers-color-scheme:dark){{{dark}}}"


def _command_rule(number: int, area: tuple[int, int], line: tuple[int, int]) -> str:
    hue = command_hue(number)
    scope = f".gaia-timeline .c{number}"
    edge = _hex(hue, *line)
    return f"{scope} .box{{fill:{_hex(hue, *area)};stroke:{edge}}}{scope} .thin{{fill:{edge}}}"


def _hex(hue: float, saturation: int, lightness: int) -> str:
    parts = colorsys.hls_to_rgb(hue / 360, lightness / 100, saturation / 100)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _commands(names: Iterable[str]) -> str:
    """A patch and a name for each Command, as many as there is room for."""
    parts, x, left = [], 0.0, list(names)
    while left:
        name = shorten(left[0] or "of Steps that are gone", 180.0, SMALL)
        room = WIDE - 2 * MARGIN - x - (90.0 if len(left) > 1 else 0.0)
        if 20 + width(name, SMALL) > room:
            parts.append(f'<text class="muted" x="{length(x)}" y="4">and {len(left)} more</text>')
            break
        number = len(parts)
        parts.append(
            f'<g class="c{number}"><rect class="box" rx="2" x="{length(x)}" y="-5" width="11"'
            f' height="11"/></g>'
            f'<text class="label" x="{length(x + 17)}" y="4">{escape(name)}</text>'
        )
        x += 17 + width(name, SMALL) + 18
        left.pop(0)
    return "".join(parts)


def _x(share: float) -> float:
    return MARGIN + LABELS + share * _INSIDE


def _axis(timeline: Timeline, top: float, bottom: float) -> list[str]:
    parts, free = [], 0.0
    for tick in sorted(
        (tick for tick in timeline.ticks if tick.level == 0), key=lambda tick: tick.at
    ):
        x = length(_x(tick.at))
        parts.append(
            f'<path class="way" style="stroke-opacity:.35" d="M{x} {length(top)}'
            f' V{length(bottom)}"/>'
        )
        if _x(tick.at) >= free:
            parts.append(
                f'<text class="muted" x="{x}" y="{length(top - 6)}"'
                f' style="text-anchor:middle">{escape(tick.text)}</text>'
            )
            free = _x(tick.at) + 7.0 * len(tick.text) + 8.0
    for gap in timeline.gaps:
        x = length(_x(gap.at))
        parts.append(
            f'<path class="way cut" d="M{x} {length(top)} V{length(bottom)}">'
            f"{tooltip([gap.text])}</path>"
        )
    for gap, at in _apart(timeline.gaps):
        parts.append(
            f'<text class="muted idle" x="{length(at)}" y="{length(bottom + 12)}"'
            f' style="text-anchor:middle">{escape(gap.text)}</text>'
        )
    return parts


def _apart(gaps: Iterable[Gap]) -> Iterator[tuple[Gap, float]]:
    """The idle times whose words don't overlap those before, and the middles of the words."""
    free = _x(0)
    for gap in gaps:
        half = width(gap.text, SMALL) / 2
        at = min(max(_x(gap.at), _x(0) + half), _x(1) - half)
        if at - half >= free:
            yield gap, at
            free = at + half + 10


def _ground(lane: Lane, y: float) -> str:
    middle = y + lane.rows * ROW / 2
    return (
        f'<text class="name" x="{MARGIN:g}" y="{length(middle - 3)}">{escape(lane.name)}</text>'
        f'<text class="muted" x="{MARGIN:g}" y="{length(middle + 10)}">{lane.about}</text>'
        f'<rect class="panel" style="stroke:none" rx="4" x="{length(_x(0))}" y="{length(y - 2)}" '
        f'width="{length(_INSIDE)}" height="{length(lane.rows * ROW - 2)}"/>'
    )


def _lane(lane: Lane, y: float) -> Iterator[str]:
    """The bars of a lane; those that are marked come last, so that no other hides their signs."""
    plain = [bar for bar in lane.bars if not bar.marked]
    for row in range(lane.rows):
        narrow: list[Bar] = []
        for bar in (bar for bar in plain if bar.row == row):
            if bar.width * _INSIDE >= _NARROW:
                yield _bar(bar, y)
                continue
            if narrow and (bar.left - narrow[-1].left - narrow[-1].width) * _INSIDE > _NARROW / 2:
                yield _together(narrow, y)
                narrow = []
            narrow.append(bar)
        if narrow:
            yield _together(narrow, y)
    for bar in lane.bars:
        if bar.marked:
            yield _bar(bar, y)


def _together(bars: list[Bar], y: float) -> str:
    """Narrow bars side by side as one, whose tooltip says how many."""
    first, last = bars[0], bars[-1]
    wide = max((last.left + last.width - first.left) * _INSIDE, _THINNEST)
    mixed = len({bar.command for bar in bars}) > 1
    tips = first.facts if len(bars) == 1 else (f"{len(bars)} attempts, from {first.step}",)
    kind = "mixed" if mixed else "thin"
    rect = (
        f'<rect class="{kind}" x="{length(_x(first.left))}" y="{length(y + first.row * ROW)}"'
        f' width="{length(wide)}" height="{BAR - 2:g}">{tooltip(tips)}</rect>'
    )
    return rect if mixed else f'<g class="c{first.command}">{rect}</g>'


def _bar(bar: Bar, y: float) -> str:
    x, wide, top = _x(bar.left), max(bar.width * _INSIDE, _THINNEST), y + bar.row * ROW
    rounding = min(3.0, wide / 3)
    place = (
        f'rx="{length(rounding)}" x="{length(x)}" y="{length(top)}" width="{length(wide)}"'
        f' height="{BAR - 2:g}"'
    )
    kinds = [f"c{bar.command}", "reused" if bar.state == REUSED else ""]
    kinds += ["open" if bar.state == "running" else ""]
    parts = [f'<g class="{" ".join(filter(None, kinds))}"><rect class="box" {place}/></g>']
    if bar.marked and bar.state != "running":
        failed = " failed" if bar.state in _FAILED else ""
        parts.append(f'<g class="{known(bar.state)}{failed}"><rect class="frame" {place}/></g>')
    if wide >= _READABLE or bar.marked:
        parts.append(sign(bar.state, x + (9.0 if wide >= 18 else wide / 2), top + BAR / 2 - 1, 6.0))
    if wide >= _READABLE:
        text = shorten(bar.step, wide - 24, SMALL)
        parts.append(
            f'<text class="label" x="{length(x + 19)}" y="{length(top + 13)}">{escape(text)}</text>'
        )
    return f"<g>{''.join(parts)}{tooltip(bar.facts)}</g>"

"""A timeline as one SVG."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from gaia_local.pictures.boxes import NAME, SMALL, count
from gaia_local.pictures.signs import known, sign
from gaia_local.pictures.svg import (
    MARGIN,
    TITLE,
    legend,
    length,
    style,
    tooltip,
    words,
)
from gaia_local.pictures.timeline.lanes import Bar, Lane, Timeline
from gaia_local.pictures.words import bold, shorten

WIDE = 1240.0
LABELS = 116.0
"""The room left of the lanes, for their names."""
ROW, BAR, LANE_GAP = 24.0, 20.0, 10.0
_INSIDE = WIDE - 2 * MARGIN - LABELS
_THINNEST = 1.5
_READABLE = 72.0
"""A bar of this width has its name in it."""


def svg(timeline: Timeline) -> str:
    """The whole picture; light or dark as the reader prefers."""
    counts = count(state for state, number in timeline.counts.items() for _ in range(number))
    signs, _ = legend(counts)
    top, grounds, bars = 116.0, [], []
    y = top
    for lane in timeline.lanes:
        grounds.append(_ground(lane, y))
        bars += [_bar(bar, y) for bar in sorted(lane.bars, key=lambda bar: bar.marked)]
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
        *grounds,
        *_axis(timeline, top - 12, high - MARGIN),
        *bars,
    ]
    about = (
        f"What ran when in the workflow {timeline.workflow}: {timeline.summary}; {words(counts)}"
    )
    rules = (
        style("gaia-timeline") + ".gaia-timeline .cut{stroke-dasharray:2 3}"
        ".gaia-timeline .reused .box{stroke-dasharray:3 2}"
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" class="gaia-timeline" role="img"'
        f' width="{WIDE:g}" height="{length(high)}" '
        f'viewBox="0 0 {WIDE:g} {length(high)}" aria-label={quoteattr(about)}>'
        f"<style>{escape(rules)}</style>{''.join(parts)}</svg>\n"
    )


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
        parts.append(f'<path class="way cut" d="M{x} {length(top)} V{length(bottom)}"/>')
        parts.append(
            f'<text class="muted" x="{x}" y="{length(bottom + 12)}"'
            f' style="text-anchor:middle">{escape(gap.text)}</text>'
        )
    return parts


def _ground(lane: Lane, y: float) -> str:
    middle = y + lane.rows * ROW / 2
    return (
        f'<text class="name" x="{MARGIN:g}" y="{length(middle - 3)}">{escape(lane.name)}</text>'
        f'<text class="muted" x="{MARGIN:g}" y="{length(middle + 10)}">{lane.about}</text>'
        f'<rect class="panel" style="stroke:none" rx="4" x="{length(_x(0))}" y="{length(y - 2)}" '
        f'width="{length(_INSIDE)}" height="{length(lane.rows * ROW - 2)}"/>'
    )


def _bar(bar: Bar, y: float) -> str:
    x, wide, top = _x(bar.left), max(bar.width * _INSIDE, _THINNEST), y + bar.row * ROW
    rounding = min(4.0, wide / 3)
    place = f'x="{length(x)}" y="{length(top)}" width="{length(wide)}" height="{BAR - 2:g}"'
    box = f'<rect class="box" rx="{length(rounding)}" {place}/>'
    parts = []
    if wide >= _READABLE or bar.marked:
        parts.append(sign(bar.state, x + (9.0 if wide >= 18 else wide / 2), top + BAR / 2 - 1, 6.0))
    if wide >= _READABLE:
        text = shorten(bar.step, wide - 24, SMALL)
        parts.append(
            f'<text class="label" x="{length(x + 19)}" y="{length(top + 13)}">{escape(text)}</text>'
        )
    return f'<g><g class="{known(bar.state)}">{box}</g>{"".join(parts)}{tooltip(bar.facts)}</g>'

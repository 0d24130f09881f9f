"""A picture of a graph, as an SVG or a PNG."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaia_local.errors import InvalidInput
from gaia_local.pictures.boxes import by_group, by_step, read
from gaia_local.pictures.frames import Place, framed
from gaia_local.pictures.grouping import chosen
from gaia_local.pictures.junctions import gathered
from gaia_local.pictures.layout import place, suited
from gaia_local.pictures.svg import Drawing, graph_svg
from gaia_local.pictures.words import clean

FEW, MOST = 40, 400
"""A graph of more boxes, or of more Steps in them, is grouped unless `group` says otherwise."""
CROWD = 40
"""If there are more links than that, those of many boxes to the same ones share junctions."""


class Picture:
    """A picture of a graph: `svg` is its text; a notebook shows it, `save` writes it."""

    def __init__(self, drawing: Drawing) -> None:
        self.svg = drawing.svg
        """The picture, in light or dark colours as the reader prefers."""
        self._size = drawing.width, drawing.height

    def png(self, scale: float = 2.0) -> bytes:
        """The picture in light colours as a PNG, `scale` times the SVG's size, if not too large.

        Raises `GaiaError` if the extra ``pictures`` isn't installed.
        """
        from gaia_local.pictures.png import png

        return png(self.svg, self._size, scale)

    def save(self, path: str | Path) -> Path:
        """Write it to a file whose name ends in ``.svg`` or ``.png``, and return the path."""
        target = Path(path)
        if target.suffix.lower() == ".svg":
            target.write_text(self.svg, encoding="utf-8")
        elif target.suffix.lower() == ".png":
            target.write_bytes(self.png())
        else:
            raise InvalidInput(
                f"save, {str(path)!r}",
                "the name ends in neither .svg nor .png",
                "give it one of these endings",
            )
        return target

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="overflow:auto">{self.svg}</div>'


def seconds(timeline: Mapping[str, Any]) -> dict[str, float]:
    """Step → how long its latest complete attempt took, of an answer of `Gaia.timeline`."""
    return {
        attempt["step"]: attempt["ended"] - attempt["started"]
        for attempt in timeline["attempts"]
        if attempt["state"] == "complete"
        and not attempt.get("reused")
        and attempt["started"] is not None
        and attempt["ended"] is not None
    }


def draw(
    graph: Mapping[str, Any],
    group: bool | str | None = None,
    direction: str | None = None,
    seconds: Mapping[str, float] | None = None,
) -> Picture:
    """A picture of an answer of `Gaia.graph`: the Steps coloured by state.

    Many Steps alike side by side share a panel; a composite Command's Steps have a frame. `group`
    says which of them are one box, with their numbers: ``"command"``, ``"name"`` or another `by` of
    `groupings`; True: what suits the graph best; False or ``"none"``: no Steps are; None: it groups
    what would be more than `FEW` boxes or `MOST` Steps. `direction` is ``"down"`` or ``"right"``;
    None: the one that a screen shows larger. `seconds` are the times that Steps took, by name.

    Raises `InvalidInput` if `graph` isn't such an answer or has no such groups, and `GaiaError` if
    the extra ``pictures`` isn't installed.
    """
    if direction not in (None, "down", "right"):
        raise InvalidInput("draw", f"the direction is {direction!r}", "give 'down' or 'right'")
    read(graph)  # which refuses what is no graph
    wanted = group not in (False, "none")
    if group is None:
        wanted = len(graph["steps"]) > MOST or len(by_step(graph)[0]) > FEW
    groups = chosen(graph, None if isinstance(group, bool) else group) if wanted else ()
    put: Place = suited
    if direction is not None:
        put = functools.partial(place, direction="right" if direction == "right" else "down")
    if groups:
        boxes, links = by_group(graph, groups, seconds)
    else:
        boxes, links = framed(*by_step(graph), put)
    if len(links) > CROWD:
        boxes, links = gathered(boxes, links)
    about = clean(graph.get("workflow", "")), clean(graph.get("state", ""))
    return Picture(graph_svg(*about, boxes, links, put(boxes, links)))

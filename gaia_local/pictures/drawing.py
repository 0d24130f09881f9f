"""A picture of a graph, as an SVG or a PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaia_local.errors import InvalidInput
from gaia_local.pictures.boxes import by_command, by_step
from gaia_local.pictures.layout import place
from gaia_local.pictures.svg import Drawing, graph_svg
from gaia_local.pictures.words import clean

MOST = 200
"""A graph of more boxes is grouped by Command, unless `group` says otherwise."""


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


def draw(graph: Mapping[str, Any], group: bool | None = None) -> Picture:
    """A picture of an answer of `Gaia.graph`: the Steps coloured by state, from top to bottom.

    Many Steps of one Command side by side share a panel. With `group` each Command is one box, with
    the numbers of its Steps; None does so if there would be more than `MOST` boxes. Raises
    `InvalidInput` if `graph` isn't such an answer, and `GaiaError` if the extra ``pictures``
    isn't installed.
    """
    boxes, links = by_command(graph) if group else by_step(graph)
    if group is None and len(boxes) > MOST:
        boxes, links = by_command(graph)
    about = clean(graph.get("workflow", "")), clean(graph.get("state", ""))
    return Picture(graph_svg(*about, boxes, links, place(boxes, links)))

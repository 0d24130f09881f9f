"""PNG of SVG, by the library resvg. The font is a package too: the machine needs none."""

from __future__ import annotations

import importlib.resources
import math

from gaia_local.errors import GaiaError
from gaia_local.installation import install_command

FAMILY = "Roboto"
LARGEST = 24e6
"""Pixels in a picture, at most: programs that show pictures balk at more."""


def png(
    svg: str, size: tuple[float, float], scale: float = 2.0, system_fonts: bool = True
) -> bytes:
    """Render an SVG of this size, `scale` times as large, or less if that is too large.

    Characters that the library's font lacks are taken from the machine's fonts, if there are any,
    unless `system_fonts` is False.
    """
    try:
        import resvg_py

        font = importlib.resources.files("font_roboto")
    except ImportError as error:
        raise GaiaError(
            f"a PNG needs the library {error.name}, which is not installed:"
            f" {install_command('pictures')}"
        ) from None
    fonts = [str(font / "files" / name) for name in ("Roboto-Regular.ttf", "Roboto-Bold.ttf")]
    zoom = min(scale, math.sqrt(LARGEST / (size[0] * size[1])))
    made = resvg_py.svg_to_bytes(
        svg_string=svg,
        zoom=zoom,
        font_files=fonts,
        font_family=FAMILY,
        sans_serif_family=FAMILY,
        skip_system_fonts=not system_fonts,
    )
    return bytes(made)

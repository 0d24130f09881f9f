"""The contrast of colours, by the formula of the guidelines for accessible pages."""

from __future__ import annotations

import re


def luminance(colour: str) -> float:
    """Of ``rgb(r, g, b)`` or ``#rrggbb``, as WCAG has it."""
    if colour.startswith("#"):
        numbers = [int(part, 16) for part in re.findall("..", colour[1:])]
    else:
        numbers = [int(part) for part in re.findall(r"\d+", colour)[:3]]
    parts = [number / 255 for number in numbers]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours."""
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)

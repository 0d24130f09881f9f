"""Durations as short text."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_duration(text: str) -> float:
    """The seconds of ``30d``, ``1.5 h`` and the like. Raises `ValueError` with what is right."""
    found = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-z]+)\s*", text, re.ASCII)
    if found is None or found[2] not in _UNITS:
        units = ", ".join(_UNITS)
        raise ValueError(f"it is {text!r}; give a number and a unit ({units}), as 30d")
    return float(found[1]) * _UNITS[found[2]]


def duration(seconds: float) -> str:
    """A time to two or three digits: ``0.35 s``, ``12.4 s``, ``3 min 20 s``, ``3 d 4 h``."""
    if seconds < 0.0995:
        return f"{1000 * max(0.0, seconds):.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, smaller, size in (("d", "h", 3600), ("h", "min", 60), ("min", "s", 1)):
        large, small = divmod(whole // size, {"d": 24, "h": 60, "min": 60}[unit])
        if large:
            return f"{large} {unit}" + (f" {small} {smaller}" if small else "")
    return f"{whole} s"

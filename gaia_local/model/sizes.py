"""Amounts of bytes as short text: those of files in units of 1000, those of memory of 1024."""

from __future__ import annotations

_FILES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3), ("bytes", 1))
_MEMORY = (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("bytes", 1))


def progress_text(done: int, size: int | None) -> str:
    """``12 of 60 GB`` of a file, in units of 1000; without a size ``12 GB``."""
    most = max(done, size or 0)
    unit, one = next((unit, one) for unit, one in _FILES if most >= one or one == 1)
    parts = [done, most] if size is not None else [done]
    return f"{' of '.join(f'{round(part / one, 1):g}' for part in parts)} {unit}"


def memory_text(number: float) -> str:
    """``310 MB``, ``3.9 GB``: memory to three digits, in units of 1024, as `resources` have it."""
    unit, one = next((unit, one) for unit, one in _MEMORY if number >= one or one == 1)
    amount = number / one
    return f"{amount:.3g} {unit}" if amount < 999.5 else f"{amount:.0f} {unit}"

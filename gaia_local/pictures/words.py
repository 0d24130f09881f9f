"""Text in pictures: its width, and shortening or wrapping if there is no room.

The reader's font is unknown, so widths are estimates, for a rather wide one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from gaia_local.terminal_text import holds_controls

_WIDTHS = (
    ("iljI.,:;'|!` ", 0.34),
    ('ftr()[]{}-/\\"*^', 0.43),
    ("mwMW@%&", 0.95),
    ("ABCDEFGHJKLNOPQRSTUVXYZ+=<>~#$", 0.71),
)
_EM = {character: width for characters, width in _WIDTHS for character in characters}
_OTHER = 0.62
_BREAKS = re.compile(r"(?<=[-_/.:;,+ ])")
ELLIPSIS = "…"


def clean(text: object) -> str:
    """Text that each format can hold: unprintable characters become ``�``, white space a blank."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(_clean(character) for character in plain)


def _clean(character: str) -> str:
    if character.isspace():
        return " "
    unfit = unicodedata.category(character) in ("Cc", "Cs", "Cn", "Co") or holds_controls(character)
    return "\ufffd" if unfit else character


def width(text: str, size: float) -> float:
    """The approximate width of text of this size, in its unit; `size` may come from `bold`."""
    return size * sum(map(_em, text))


def bold(size: float) -> float:
    """The size of plain text that is as wide as bold text of `size`."""
    return 1.08 * size


def _em(character: str) -> float:
    if character.isascii():
        return _EM.get(character, _OTHER)
    if unicodedata.combining(character) or unicodedata.category(character) == "Cf":
        return 0.0
    return 1.0 if unicodedata.east_asian_width(character) in "WF" else 0.75


def shorten(text: str, room: float, size: float) -> str:
    """The text, or its beginning and end, where the names of Steps differ."""
    if width(text, size) <= room:
        return text
    room -= width(ELLIPSIS, size)
    head = tail = 0
    used = 0.0
    for turn in range(len(text)):
        character = text[head] if turn % 2 == 0 else text[-tail - 1]
        used += width(character, size)
        if used > room:
            break
        head, tail = (head + 1, tail) if turn % 2 == 0 else (head, tail + 1)
    return text[:head] + ELLIPSIS + (text[-tail:] if tail else "")


def wrap(text: str, room: float, size: float) -> list[str]:
    """The text in one line or two, broken after a separator; the second is shortened if needed."""
    if width(text, size) <= room:
        return [text]
    first = ""
    for part in _BREAKS.split(text):
        if width(first + part, size) > room:
            break
        first += part
    if width(first, size) < room / 3:  # no joint, or a useless one
        first = ""
        for character in text:
            if width(first + character, size) > room:
                break
            first += character
    return [first.rstrip(), shorten(text[len(first) :].lstrip(), room, size)]


def common_prefix(names: Sequence[str]) -> str:
    """The beginning that all names share, up to a separator; the rest of each is not empty."""
    if len(names) < 2:
        return ""
    low, high = min(names), max(names)
    end = next(
        (index for index, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low)
    )
    end = min(end, len(low) - 1)
    return low[
        : max((match.end() for match in _BREAKS.finditer(low) if match.end() <= end), default=0)
    ]

"""Control characters, and those that change the direction of text: finds and escapes them."""

from __future__ import annotations

import re

BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that change the direction of text, for a class in a regular expression."""
LINES = "\n\t"
"""The control characters of text with lines."""
CONTROLS = rf"\x00-\x1f\x7f-\x9f\u2028\u2029{BIDI}"
"""All of them, for a class in a regular expression."""
_CONTROL = f"[{CONTROLS}]"
_COLOUR = r"\x1b\[[0-9;:]{0,60}m"
_find = re.compile(_CONTROL).search
_plain = re.compile(_CONTROL).sub
_coloured = re.compile(rf"{_COLOUR}|{_CONTROL}").sub
_colour = re.compile(_COLOUR).sub


def holds_controls(text: str) -> bool:
    """Whether the text has a control character, or one that changes its direction."""
    return not text.isprintable() and _find(text) is not None


def escaped(text: str, keep: str = "", colours: bool = False) -> str:
    """Text safe for a terminal: controls become Python escapes, ``\\x1b``, unless in `keep`.

    With `colours`, the sequences that set a terminal's colours stay, too.
    """
    if text.isprintable():
        return text

    def write(found: re.Match[str]) -> str:
        control = found[0]
        return (
            control
            if control in keep or len(control) > 1
            else control.encode("unicode_escape").decode()
        )

    return (_coloured if colours else _plain)(write, text)


def without_colours(text: str) -> str:
    """The text without the sequences that set a terminal's colours."""
    return _colour("", text)

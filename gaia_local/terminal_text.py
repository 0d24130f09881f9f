"""Characters that have no place in a message: finds and escapes them.

These are control characters, those that change the direction of text, and lone surrogates: Python's
form of the bytes in a file's name that aren't UTF-8, which no stream and no row can take.
"""

from __future__ import annotations

import re

BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that change the direction of text, for a class in a regular expression."""
LINES = "\n\t"
"""The control characters of text with lines."""
_SURROGATES = "\ud800-\udfff"
CONTROLS = rf"\x00-\x1f\x7f-\x9f\u2028\u2029{BIDI}"
"""All of them but surrogates, for a class in a regular expression."""
_CONTROL = f"[{CONTROLS}{_SURROGATES}]"
_COLOUR = r"\x1b\[[0-9;:]{0,60}m"
_surrogate = re.compile(rf"[{_SURROGATES}]").search
_find = re.compile(_CONTROL).search
_plain = re.compile(_CONTROL).sub
_coloured = re.compile(rf"{_COLOUR}|{_CONTROL}").sub
_colour = re.compile(_COLOUR).sub


def holds_controls(text: str) -> bool:
    """Whether the text has a control character, a surrogate, or one that changes its direction."""
    return not text.isprintable() and _find(text) is not None


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can hold the text: it has no lone surrogate."""
    return text.isascii() or _surrogate(text) is None


def escaped(text: str, keep: str = "", colours: bool = False) -> str:
    """Text safe for any stream: controls become Python escapes, ``\\x1b``, unless in `keep`.

    A byte of a name that isn't UTF-8 is shown as ``\\xff``. With `colours`, the sequences that set
    a terminal's colours stay, too.
    """
    if text.isprintable():
        return text

    def write(found: re.Match[str]) -> str:
        control = found[0]
        if control in keep or len(control) > 1:
            return control
        if "\udc80" <= control <= "\udcff":  # see `os.fsdecode`
            return f"\\x{ord(control) - 0xDC00:02x}"
        return control.encode("unicode_escape").decode()

    return (_coloured if colours else _plain)(write, text)


def without_colours(text: str) -> str:
    """The text without the sequences that set a terminal's colours."""
    return _colour("", text)

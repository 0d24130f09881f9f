"""Prints lines on stdout and stderr. A terminal gets colours, and control characters escaped.

Without a terminal only plain text is written, as it is. No line is wrapped.
"""

from __future__ import annotations

import os
import sys
from typing import Literal, NamedTuple, TextIO

from gaia_local.terminal_text import LINES, escaped, without_colours

Style = Literal["bold", "dim", "red", "green", "yellow"]
_CODES: dict[Style, int] = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}
_PLAIN = "\x1b[0m"


class Styled(NamedTuple):
    """Text in a colour or weight."""

    text: str
    style: Style


class LogLine(NamedTuple):
    """A line of a program's log, which may hold colours of its own."""

    text: str


def print_line(*pieces: str | Styled | LogLine, error: bool = False) -> None:
    """Print one line on stdout, or on stderr."""
    stream = sys.stderr if error else sys.stdout
    shown = shows_controls(stream)
    coloured = shown and _shows_colours()
    stream.write("".join(_written(piece, shown, coloured) for piece in pieces) + "\n")
    stream.flush()


def shows_controls(stream: TextIO) -> bool:
    """Whether a terminal shows the stream, at once or, as `FORCE_COLOR` says, later."""
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def draws_live(stream: TextIO) -> bool:
    """Whether lines can be drawn over; `FORCE_COLOR` makes no terminal of a log."""
    return stream.isatty() and not _is_dumb()


def last_written(line: str) -> str:
    """The text after a log line's last carriage return, escaped; its colours stay."""
    return escaped(line.rstrip().rpartition("\r")[2], "\t", colours=True)


def _shows_colours() -> bool:
    return not os.environ.get("NO_COLOR") and not _is_dumb()


def _is_dumb() -> bool:
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def _written(piece: str | Styled | LogLine, shown: bool, coloured: bool) -> str:
    if isinstance(piece, LogLine):
        line = last_written(piece.text)
        return line + _PLAIN if coloured and "\x1b" in line else without_colours(line)
    text, style = piece if isinstance(piece, Styled) else (piece, None)
    text = escaped(text, LINES) if shown else text
    return f"\x1b[{_CODES[style]}m{text}{_PLAIN}" if style and coloured else text

"""The appearance of states: a colour and a sign, since some people can't tell colours apart.

The one source for pictures, the command line and the status page: `make states` writes the page's
``states.js`` and ``states.css`` from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Part: TypeAlias = tuple[str, str]
"""One path of a sign: its class, which says how it is painted, and its data.

``disc`` and ``core`` are filled with the state's colour, ``ring``, ``dashed``, ``ink``, ``track``
and ``turning`` are lines in it, and ``mark`` is a line on a disc in the colour of the ground.
"""
SIGN_SIZE = 16
"""The parts of signs lie between 0 and this, in both directions."""

_RING: Part = ("ring", "M8 2A6 6 0 1 1 8 14A6 6 0 1 1 8 2Z")
_DASHED: Part = ("dashed", _RING[1])
_DISC: Part = ("disc", "M8 1A7 7 0 1 1 8 15A7 7 0 1 1 8 1Z")


@dataclass(frozen=True)
class Appearance:
    """The look of one state; colours are ``#rrggbb``."""

    sign: str
    """One character with the same meaning as the colour."""
    parts: tuple[Part, ...]
    """The sign as a shape, since not every font has the character."""
    ink: str
    """For the sign and lines, on a light ground."""
    wash: str
    """For areas under dark text."""
    night_ink: str
    """`ink` on a dark ground."""
    night_wash: str
    """`wash` under light text."""


COLOURS = {
    "grey": ("#5d6775", "#f1f3f6", "#98a2b3", "#20262f"),
    "slate": ("#44546a", "#e6ebf2", "#b3c0d4", "#263040"),
    "blue": ("#1d5fc4", "#dfebfd", "#7cb0ff", "#152c50"),
    "green": ("#197a3d", "#def3e4", "#62c987", "#12331f"),
    "teal": ("#0b6b74", "#dcf2f4", "#5cc3cd", "#10343a"),
    "red": ("#bc2a2a", "#fde4e2", "#ff8d85", "#451a1a"),
    "violet": ("#8a2f9e", "#f7e3fa", "#dd92ee", "#3b1944"),
    "amber": ("#8f5a00", "#fcefd3", "#e8b04b", "#3a2a0c"),
}
"""Name → ink, wash, and both at night."""


def _look(sign: str, colour: str, *parts: Part) -> Appearance:
    return Appearance(sign, parts, *COLOURS[colour])


def _on_disc(data: str) -> tuple[Part, Part]:
    return _DISC, ("mark", data)


APPEARANCES: dict[str, Appearance] = {
    "waiting": _look("…", "grey", _DASHED),
    "ready": _look("▷", "slate", _RING, ("core", "M6.6 5.3 11 8 6.6 10.7Z")),
    "queued": _look("◷", "slate", _RING, ("ink", "M8 4.8V8.2L10.4 9.8")),
    "running": _look(
        "▶",
        "blue",
        ("track", _RING[1]),
        ("turning", "M8 2A6 6 0 0 1 14 8"),
        ("core", "M8 5.6A2.4 2.4 0 1 1 8 10.4A2.4 2.4 0 1 1 8 5.6Z"),
    ),
    "complete": _look("✓", "green", *_on_disc("M4.8 8.3 7 10.5 11.3 5.8")),
    "reused": _look("↻", "teal", *_on_disc("M10.9 6.8A3.2 3.2 0 1 0 11 9.3M11.2 4.4V6.9H8.7")),
    "error": _look("✗", "red", *_on_disc("M5.4 5.4 10.6 10.6M10.6 5.4 5.4 10.6")),
    "exception": _look(
        "!", "violet", ("disc", "M8 1.2 15.2 14H.8Z"), ("mark", "M8 6V9.4M8 11.6V11.7")
    ),
    "unfit": _look("?", "amber", *_on_disc("M6 6.4A2 2 0 1 1 8 8.4V9.2M8 11.6V11.7")),
    "cancelled": _look("■", "grey", *_on_disc("M6 6H10V10H6Z")),
    "interrupted": _look("‖", "amber", *_on_disc("M8 4.6V7.2M8 9.2V11.4M5 8H6.2M9.8 8H11")),
    "initialized": _look("▷", "slate", _RING),
    "halted": _look("■", "amber", *_on_disc("M6.2 5.2V10.8M9.8 5.2V10.8")),
    "incomplete": _look("…", "amber", _RING, ("core", "M8 2A6 6 0 0 0 8 14Z")),
}
"""State of a Step, of an attempt at one, or of a workflow → its look."""

STEP_STATES = (
    *("complete", "running", "queued", "ready", "waiting"),
    *("unfit", "error", "exception"),
)
"""The states of Steps in the order of legends."""
ORDER = ("reused", *STEP_STATES, "cancelled", "interrupted")
"""The same, with those that only an attempt at a Step can have."""
URGENCY = (
    *("error", "exception", "unfit", "running", "queued", "ready", "waiting"),
    *("interrupted", "cancelled", "complete", "reused"),
)
"""The same states, those first that want attention."""


def appearance(state: str) -> Appearance:
    """The look of a state; an unknown one looks like ``waiting``."""
    return APPEARANCES.get(state, APPEARANCES["waiting"])


HUE_TURN, FIRST_HUE = 137.508, 210.0


def command_hue(number: int) -> float:
    """The hue, in degrees, of the Command with this number: neighbours are far apart."""
    return round((FIRST_HUE + number * HUE_TURN) % 360, 1)


COMMAND_TINTS = {"light": ((52, 83), (40, 45)), "dark": ((36, 32), (42, 62))}
"""Ground → saturation and lightness, in percent, of a Command's areas and of its lines."""

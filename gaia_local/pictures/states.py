"""The appearance of states: a colour and a sign, since some people can't tell colours apart."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Appearance:
    """The look of one state; colours are ``#rrggbb``."""

    sign: str
    """One character with the same meaning as the colour."""
    ink: str
    """For the sign and lines, on a light ground."""
    wash: str
    """For areas under dark text."""
    night_ink: str
    """`ink` on a dark ground."""
    night_wash: str
    """`wash` under light text."""


_GREY = ("#5d6775", "#f1f3f6", "#98a2b3", "#20262f")
_SLATE = ("#44546a", "#e6ebf2", "#b3c0d4", "#263040")
_BLUE = ("#1d5fc4", "#dfebfd", "#7cb0ff", "#152c50")
_GREEN = ("#197a3d", "#def3e4", "#62c987", "#12331f")
_TEAL = ("#0b6b74", "#dcf2f4", "#5cc3cd", "#10343a")
_RED = ("#bc2a2a", "#fde4e2", "#ff8d85", "#451a1a")
_VIOLET = ("#8a2f9e", "#f7e3fa", "#dd92ee", "#3b1944")
_AMBER = ("#8f5a00", "#fcefd3", "#e8b04b", "#3a2a0c")

APPEARANCES: dict[str, Appearance] = {
    "waiting": Appearance("…", *_GREY),
    "ready": Appearance("▷", *_SLATE),
    "queued": Appearance("◷", *_SLATE),
    "running": Appearance("▶", *_BLUE),
    "complete": Appearance("✓", *_GREEN),
    "reused": Appearance("↻", *_TEAL),
    "error": Appearance("✗", *_RED),
    "exception": Appearance("!", *_VIOLET),
    "unfit": Appearance("?", *_AMBER),
    "cancelled": Appearance("■", *_GREY),
    "interrupted": Appearance("‖", *_AMBER),
    "initialized": Appearance("▷", *_SLATE),
    "halted": Appearance("■", *_AMBER),
    "incomplete": Appearance("…", *_AMBER),
}
"""State of a Step, of an attempt at one, or of a workflow → its look."""

STEP_STATES = (
    *("complete", "running", "queued", "ready", "waiting"),
    *("unfit", "error", "exception"),
)
"""The states of Steps in the order of legends."""
ORDER = ("reused", *STEP_STATES, "cancelled", "interrupted")
"""The same, with those that only an attempt at a Step can have."""


def appearance(state: str) -> Appearance:
    """The look of a state; an unknown one looks like ``waiting``."""
    return APPEARANCES.get(state, APPEARANCES["waiting"])

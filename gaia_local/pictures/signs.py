"""The signs of states in an SVG: shapes in the state's colour."""

from __future__ import annotations

from gaia_local.pictures.states import APPEARANCES, SIGN_SIZE

SIGNS = {
    state: "".join(f'<path class="{kind}" d="{data}"/>' for kind, data in shown.parts)
    for state, shown in APPEARANCES.items()
}
"""State → its sign."""


def known(state: str) -> str:
    """The state itself, or ``waiting`` for one without a look of its own."""
    return state if state in SIGNS else "waiting"


def sign(state: str, x: float, y: float, radius: float = 9.0) -> str:
    """The sign of a state around a place; the class of the state is on it."""
    scale = 2 * radius / SIGN_SIZE
    place = f"translate({x - radius:.2f} {y - radius:.2f}) scale({scale:.4g})"
    return f'<g class="{known(state)}" transform="{place}">{SIGNS[known(state)]}</g>'


def rules(scope: str) -> str:
    """How the parts of signs are painted within a class; the ground's colour is set elsewhere."""
    lines = ",".join(f".{scope} .{kind}" for kind in ("ring", "dashed", "ink", "track", "turning"))
    return (
        f".{scope} .disc,.{scope} .core{{fill:currentColor}}"
        f"{lines}{{fill:none;stroke:currentColor;stroke-width:1.5;stroke-linecap:round}}"
        f".{scope} .dashed{{stroke-dasharray:2.4 2.3}}.{scope} .track{{stroke-opacity:.3}}"
        f".{scope} .mark{{fill:none;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round}}"
    )

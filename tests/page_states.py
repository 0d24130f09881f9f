"""Writes the status page's ``states.js`` and ``states.css``: ``python -m page_states``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from gaia_local.pictures.states import (
    APPEARANCES,
    COMMAND_TINTS,
    FIRST_HUE,
    HUE_TURN,
    ORDER,
    SIGN_SIZE,
    URGENCY,
    Appearance,
)

PAGE = Path(__file__).resolve().parent.parent / "gaia_local" / "server" / "page"
_SOURCE = "made by `make states` from gaia_local/pictures/states.py"


def script() -> str:
    """The module ``states.js``."""
    lines = [
        "// @ts-check",
        f"// The states' signs and order: {_SOURCE}.",
        "",
        "/** The side of the square that signs lie in. */",
        f"export const SIGN_SIZE = {SIGN_SIZE};",
        "",
        "/**",
        " * State → its sign: paths, each with its class and its data.",
        " * @type {Record<string, [string, string][]>}",
        " */",
        "export const SIGNS = {",
    ]
    for state, shown in APPEARANCES.items():
        lines.append(f"  {state}: [")
        lines += [f"    {json.dumps(part)}," for part in shown.parts]
        lines.append("  ],")
    lines += [
        "};",
        "",
        "/** The states of attempts in the order of legends. */",
        *_list("ORDER", ORDER),
        "",
        "/** The same states, those first that want attention. */",
        *_list("URGENCY", URGENCY),
        "",
        "/** The hue of the first Command, and how far the next one's is, in degrees. */",
        f"export const COMMAND_HUE = {{ first: {FIRST_HUE:g}, turn: {HUE_TURN:g} }};",
        "",
    ]
    return "\n".join(lines)


def style() -> str:
    """The style sheet ``states.css``."""
    return "\n".join(_style())


def write() -> None:
    """Write both files."""
    (PAGE / "states.js").write_text(script(), encoding="utf-8")
    (PAGE / "states.css").write_text(style(), encoding="utf-8")


def _list(name: str, values: tuple[str, ...]) -> Iterator[str]:
    yield f"export const {name} = ["
    for start in range(0, len(values), 6):
        yield f"  {', '.join(json.dumps(value) for value in values[start : start + 6])},"
    yield "];"


def _style() -> Iterator[str]:
    yield f"/* The states' colours: {_SOURCE}. */"
    yield ""
    yield ":root {"
    yield from _colours("  ", night=False)
    yield "}"
    yield ""
    yield "@media (prefers-color-scheme: dark) {"
    yield "  :root {"
    yield from _colours("    ", night=True)
    yield "  }"
    yield "}"
    yield ""
    yield "@media (forced-colors: active) {"
    yield "  :root {"
    for state in (*APPEARANCES, "held"):
        yield f"    --{state}: CanvasText; --{state}-tint: Canvas;"
    yield "  }"
    yield "}"
    yield ""
    yield "[data-state] { --state: var(--waiting); --tint: transparent; }"
    for state in APPEARANCES:
        yield f'[data-state="{state}"] {{ --state: var(--{state}); --tint: var(--{state}-tint); }}'
    yield ""


def _colours(indent: str, *, night: bool) -> Iterator[str]:
    looks: dict[str, Appearance] = {**APPEARANCES, "held": APPEARANCES["halted"]}
    for state, shown in looks.items():
        ink, wash = (shown.night_ink, shown.night_wash) if night else (shown.ink, shown.wash)
        yield f"{indent}--{state}: {ink}; --{state}-tint: {wash};"
    for what, (saturation, lightness) in zip(
        ("area", "line"), COMMAND_TINTS["dark" if night else "light"], strict=True
    ):
        yield f"{indent}--command-{what}: {saturation}% {lightness}%;"


if __name__ == "__main__":
    write()

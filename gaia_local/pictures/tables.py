"""Tables for notebooks, as HTML that brings its own, self-contained style."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from gaia_local.pictures.sentences import kinds
from gaia_local.pictures.states import appearance
from gaia_local.pictures.words import clean

_CELL = "padding:.25em .9em .25em 0;text-align:left;vertical-align:middle;white-space:nowrap"
_HEADINGS = ("workflow", "state", "progress", "Steps")


def workflows_table(title: str, workflows: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each workflow: its name, its state, a bar and the numbers of `Gaia.progress`."""
    caption = f'<div style="font-family:monospace;margin:.3em 0">{escape(clean(title))}</div>'
    if not workflows:
        return f"<div>{caption}<div>no workflows yet</div></div>"
    headings = "".join(
        f'<th style="{_CELL};font-weight:600">{heading}</th>' for heading in _HEADINGS
    )
    rows = "".join(_row(name, counts) for name, counts in workflows.items())
    return (
        f'<div>{caption}<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">'
        f"<thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _row(name: str, counts: Mapping[str, Any]) -> str:
    state = str(counts["state"])
    cells = (escape(clean(name)), _badge(state), _bar(counts), escape(_numbers(counts)))
    return "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"


def _badge(state: str) -> str:
    shown = appearance(state)
    style = (
        f"background:{shown.wash};color:{shown.ink};border-radius:1em;padding:.1em"
        " .7em;font-weight:600"
    )
    return f'<span style="{style}">{shown.sign} {escape(state)}</span>'


def _bar(counts: Mapping[str, Any]) -> str:
    """Done, running and failed Steps as shares of one bar."""
    shares = (("done", "complete"), ("running", "running"), ("failed", "error"))
    parts = "".join(
        f'<span style="width:{100 * counts[kind] / counts["steps"]:.2f}%;'
        f'background:{appearance(state).ink}"></span>'
        for kind, state in shares
        if counts[kind]
    )
    style = (
        "display:flex;width:12em;height:.6em;border-radius:.3em;overflow:hidden;background:#8883"
    )
    return f'<span style="{style}" title="{escape(_numbers(counts))}">{parts}</span>'


def _numbers(counts: Mapping[str, Any]) -> str:
    return ", ".join([f"{counts['done']} of {counts['steps']} done", *kinds(counts)])

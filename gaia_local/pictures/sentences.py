"""Answers of `Gaia` as sentences, for the command line and for test reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

_KINDS = ("running", "failed", "waiting", "unfit")
"""The kinds of Steps that aren't done, which counts name."""


class Answers(Protocol):
    """A `Gaia`, as it is asked here."""

    def graph(self, workflow: str) -> Mapping[str, Any]:
        """See `Gaia.graph`."""

    def attempt(self, workflow: str, step: str) -> Mapping[str, Any]:
        """See `Gaia.attempt`."""


def counts_line(counts: Mapping[str, Any]) -> str:
    """`lasting_line`, and what running Steps have taken so far."""
    line = lasting_line(counts)
    if not counts.get("usage"):
        return line
    from gaia_local.pictures.usage import so_far

    live = so_far(counts["usage"])
    return f"{line}; {live}" if live else line


def lasting_line(counts: Mapping[str, Any]) -> str:
    """``12 of 15 Steps done, 2 running, 1 waiting``, without the counts that are 0.

    With Steps that were given results: ``12 of 15 Steps done, 9 reused, 3 ran``. Then the first of
    the sentences on long work with files.
    """
    found = counts.get("found", 0)
    if found and found == counts["steps"]:
        return f"{found} of {found} Steps were in the store already, nothing ran"
    parts = [f"{counts['done']} of {counts['steps']} Steps done"]
    parts += kinds(counts)
    parts += [f"{found} of them in the store already"] if found else []
    line, doing = ", ".join(parts), counts.get("doing", ())
    more = f" (and {len(doing) - 1} more)" if len(doing) > 1 else ""
    return f"{line}; {doing[0]}{more}" if doing else line


def kinds(counts: Mapping[str, Any]) -> list[str]:
    """``9 reused``, ``3 ran``, ``2 running``, each if there are any, as parts of a sentence."""
    reused = [f"{counts['reused']} reused", f"{counts['ran']} ran"] if counts.get("reused") else []
    return reused + [f"{counts[kind]} {kind}" for kind in _KINDS if counts.get(kind)]


def made_by(reused: Mapping[str, Any]) -> str:
    """``workflow 'w', Step 's'``: that whose results another Step was given, or would be."""
    return f"workflow {reused['workflow']!r}, Step {reused['step']!r}"


def failure_line(failure: Mapping[str, Any]) -> str:
    """One sentence on a failed Step."""
    code, message = failure["exit_code"], failure["message"]
    how = "could not be run" if failure["state"] == "exception" else "failed"
    plain = f"exit code {code}"
    with_code = f" with {plain}" if code else ""
    return f"Step {failure['step']!r} {how}{with_code}" + (
        f": {message}" if message and message != plain else ""
    )


def missing_inputs(gaia: Answers, status: Mapping[str, Any]) -> list[str]:
    """The missing keys that Steps wait for and no Step makes: files that the user must provide."""
    waiting: list[str] = status["waiting-inputs"] if status["state"] != "complete" else []
    if not waiting:
        return []
    made = {key for edge in gaia.graph(status["workflow"])["edges"] for key in edge["keys"]}
    return [key for key in waiting if key not in made]


def log_end(gaia: Answers, workflow: str, step: str, lines: int) -> list[str]:
    """The last lines of the log of a Step's latest attempt; a long log isn't read whole."""
    from gaia_local.store.logs import read_tail

    log = gaia.attempt(workflow, step)["log"]
    return [] if log is None else read_tail(log, lines).splitlines()

"""What attempts took, as sentences: the times of their phases, CPU, memory, bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gaia_local.model.durations import duration
from gaia_local.model.sizes import memory_text, progress_text

_PHASES = (
    ("staging", "copying inputs"),
    ("running", "running"),
    ("publishing", "storing"),
)
_BYTES = (("read", "read"), ("written", "wrote"), ("received", "received"), ("sent", "sent"))


def cpu_seconds(usage: Mapping[str, Any]) -> float | None:
    """The CPU time of an attempt, in seconds: the program's own and the system's for it."""
    user, system = usage["cpu_user"], usage["cpu_system"]
    return None if user is None or system is None else user + system


def phases(usage: Mapping[str, Any]) -> str:
    """``0.31 s copying inputs, 1.7 s running, 0.11 s storing``, without what nobody measured."""
    return ", ".join(
        f"{duration(usage[key])} {what}" for key, what in _PHASES if usage[key] is not None
    )


def consumed(cpu: float | None, memory: int | None) -> list[str]:
    """``3.2 s CPU`` and ``310 MB``, each if somebody measured it."""
    parts = [] if cpu is None else [f"{duration(cpu)} CPU"]
    return parts if memory is None else [*parts, memory_text(memory)]


def transferred(usage: Mapping[str, Any]) -> str:
    """``read 1.2 GB, wrote 30 MB, received 5 MB, sent 3 kB``, without what nobody measured."""
    return ", ".join(
        f"{what} {progress_text(usage[key], None)}"
        for key, what in _BYTES
        if usage[key] is not None
    )


def facts(usage: Mapping[str, Any]) -> Iterator[str]:
    """Its phases, what it consumed, and what it read and wrote: a line each, if there is any."""
    known = ", ".join(consumed(cpu_seconds(usage), usage["memory"]))
    known += "" if usage["memory"] is None else " of memory"
    yield from filter(None, (phases(usage), known, transferred(usage)))


def took(elapsed: float, usage: Mapping[str, Any] | None) -> str:
    """``1.8 s, after 0.31 s copying inputs: 1.7 s running, 0.11 s storing; 3.2 s CPU; 310 MB``.

    `elapsed` begins when the inputs are in their places.
    """
    if usage is None:
        return duration(elapsed)
    staged = usage["staging"]
    before = "" if staged is None else f", after {duration(staged)} copying inputs"
    parts = [phases({**usage, "staging": None})]
    parts += consumed(cpu_seconds(usage), usage["memory"])
    told = "; ".join(part for part in parts if part)
    return f"{duration(elapsed)}{before}" + (f": {told}" if told else "")


def so_far(running: Mapping[str, Mapping[str, Any]]) -> str:
    """``Step 'a' has taken 3.2 s CPU and 310 MB so far (and 1 more runs)``, or nothing.

    It names the Step with the most memory. `running` is ``usage`` of `Gaia.progress`.
    """
    known = {step: parts for step, used in running.items() if (parts := _live(used))}
    if not known:
        return ""
    most = max(known, key=lambda step: (running[step]["memory"] or 0, running[step]["cpu"] or 0.0))
    others = len(known) - 1
    more = f" ({others} more run{'s' if others == 1 else ''})" if others else ""
    return f"Step {most!r} has taken {' and '.join(known[most])} so far{more}"


def live(used: Mapping[str, Any] | None) -> str:
    """``3.2 s CPU, 310 MB``: what one running Step has taken so far."""
    return ", ".join(_live(used)) if used is not None else ""


def _live(used: Mapping[str, Any]) -> list[str]:
    return consumed(used["cpu"], used["memory"])

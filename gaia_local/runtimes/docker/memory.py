"""Finds containers whose program ran out of memory, and puts that into the `Exit`'s message."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gaia_local.config import DockerConfig
from gaia_local.model.tasks import Task
from gaia_local.model.usage import had_used
from gaia_local.runtimes.contract import Exit
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.responses import Refusal

KILLED = 128 + 9
"""The exit code of a program that SIGKILL ended."""
OOM_SECONDS, BUSY_OOM_SECONDS = 0.3, 5.0
"""Seconds after a container's end in which its engine notices that memory ran out: usually, and on
an overloaded machine.
"""
_NO_LIMIT = "of the machine: no limit is set"


def memory_limit(task: Task, config: DockerConfig) -> tuple[str | int | None, str]:
    """The limit of a Task's memory, and the setting it comes from."""
    if task.resources.memory is not None:
        return task.resources.memory, "resources of its Command"
    return config.memory, "docker.memory"


def oom_kills() -> str | None:
    """The kernel's count of programs killed for lack of memory; None if it keeps none."""
    try:
        counters = Path("/proc/vmstat").read_text()
    except OSError:  # no Linux
        return None
    found = re.search(r"^oom_kill .*", counters, re.MULTILINE)
    return None if found is None else found[0]


def explain_exit(
    engine: DockerEngine,
    container: str,
    ended: Exit,
    *,
    limit: tuple[str | int | None, str],
    oom_seconds: float,
    stop: Callable[[], bool],
) -> Exit:
    """Add a message to an `Exit` without one, if the engine has a reason: mostly out of memory.

    `limit` is the answer of `memory_limit`. The engine has `oom_seconds` to notice it: 0 if no
    program was killed for lack of memory during the run.
    """
    if ended.message is not None or stop():
        return ended
    amount, setting = limit
    message, used = None, had_used(ended.usage)
    of_limit = f"limit {amount}: see {setting}{used}"
    try:
        if amount and ended.code:
            oom_seconds = max(oom_seconds, OOM_SECONDS)  # this kernel may not be the engine's
        if engine.out_of_memory(container, oom_seconds, stop):
            message = f"out of memory ({of_limit if amount else _NO_LIMIT + used})"
        # On a busy machine the engine misses the kernel's message now and then.
        elif amount and ended.code == KILLED:
            message = f"killed by SIGKILL (perhaps out of memory; {of_limit})"
    except Refusal as refusal:
        if refusal.status != 404:
            raise
        message = "somebody removed its container while it ran" if ended.code else None
    return replace(ended, message=message)

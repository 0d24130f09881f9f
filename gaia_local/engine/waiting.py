"""Waits until workflows are quiet: nothing of them runs, and nothing is going to."""

from __future__ import annotations

import math

from gaia_local import interrupts
from gaia_local.engine.decision_loop import DecisionLoop
from gaia_local.model.workflows import WorkflowState
from gaia_local.monotonic import monotonic


def wait_until_quiet(loop: DecisionLoop, name: str | None, timeout: float | None = None) -> bool:
    """Wait until a workflow (None: every one) is; False when the seconds ran out first."""
    end = math.inf if timeout is None else monotonic() + timeout
    while True:
        remaining = max(0.0, end - monotonic())
        with loop.changed:
            if loop.changed.wait_for(
                lambda: _is_quiet(loop, name), min(remaining, interrupts.CHECK_SECONDS)
            ):
                return True
        interrupts.check()
        if not remaining:
            return False


def _is_quiet(loop: DecisionLoop, name: str | None) -> bool:
    """Whether it is, under the lock."""
    if name is None:
        return not any(loop.alive.values()) and all(
            _is_quiet(loop, each) for each in loop.workflows
        )
    if loop.alive[name]:
        return False
    workflow = loop.workflows.get(name)
    return workflow is None or workflow.state is not WorkflowState.RUNNING

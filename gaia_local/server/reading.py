"""Answers for the status page: workflows with their progress, and one workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gaia_local.errors import InvalidInput

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import (
        ListedWorkflow,
        StepCounts,
        WorkflowDetails,
        WorkflowEntry,
        WorkflowList,
        WorkflowProgress,
    )


def workflows(gaia: Gaia) -> WorkflowList:
    """All workflows with their progress."""
    found = ((name, entry(gaia, row)) for name, row in gaia.workflows()["workflows"].items())
    return {"workflows": {name: row for name, row in found if row is not None}}


def entry(gaia: Gaia, row: WorkflowEntry) -> ListedWorkflow | None:
    """One workflow of the list, brought up to date; None when it was deleted meanwhile."""
    try:
        counts = gaia.progress(row["name"])
    except InvalidInput:
        return None
    return {
        **row,
        "state": counts["state"],
        "step-count": counts["steps"],
        "progress": _counts(counts),
    }


def workflow(gaia: Gaia, name: str) -> WorkflowDetails:
    """A workflow's state, its progress, its failures, and the inputs it waits for."""
    # Raises `InvalidInput` for an unknown workflow; `status` doesn't, as the real server's.
    counts = gaia.progress(name)
    inner = gaia.status(name)["status"]
    answer: WorkflowDetails = {
        "workflow": name,
        "state": counts["state"],
        "progress": _counts(counts),
        "failures": gaia.failures(name),
        "waiting-inputs": inner["waiting-inputs"],
    }
    if "error" in inner:
        answer["error"] = inner["error"]
    if "usage" in counts:
        answer["usage"] = counts["usage"]
    return answer


def _counts(counts: WorkflowProgress) -> StepCounts:
    """Without `usage`, which changes all the time: a stream would send each workflow for it."""
    left_out = ("state", "usage")
    return cast("StepCounts", {key: counts[key] for key in counts if key not in left_out})  # type: ignore[literal-required] # its own keys

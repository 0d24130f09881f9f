"""Answers for the status page: workflows with their progress, and one workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaia_local.errors import InvalidInput

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import (
        ListedWorkflow,
        WorkflowList,
    )


def workflows(gaia: Gaia) -> WorkflowList:
    """All workflows with their progress."""
    found = ((name, entry(gaia, name)) for name in gaia.workflows()["workflows"])
    return {"workflows": {name: row for name, row in found if row is not None}}


def entry(gaia: Gaia, name: str) -> ListedWorkflow | None:
    """One workflow of the list; None when it was deleted meanwhile."""
    try:
        return gaia.listed(name)
    except InvalidInput:
        return None

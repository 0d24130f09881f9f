"""The answer of the status page's request for a workflow's graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import WorkflowGraph


def answer(gaia: Gaia, name: str) -> WorkflowGraph:
    """The answer of `Gaia.graph`, whose `version` the stream tells whenever it has changed."""
    return gaia.graph(name)

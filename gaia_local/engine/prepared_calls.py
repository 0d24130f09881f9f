"""What is asked of the runtime before a call is decided."""

from __future__ import annotations

from typing import NamedTuple

from gaia_local.errors import EngineUnavailable
from gaia_local.workflow.workflow import Workflow


class PreparedCall(NamedTuple):
    """The facts gathered before a call is decided."""

    refusal: EngineUnavailable | None = None
    """The reason to refuse it, if it would start Steps."""
    resumable: frozenset[str] = frozenset()
    """Tasks of an earlier process whose runs can be resumed."""
    new: Workflow | None = None
    """The workflow that it makes."""

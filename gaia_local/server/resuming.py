"""At its start, the server resumes the workflows that ran when the last engine ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gaia_local.errors import GaiaError
from gaia_local.model.events import EventKind

if TYPE_CHECKING:
    from gaia_local import Gaia

logger = logging.getLogger("gaia_local.server")

RESUMABLE_REASONS = frozenset({"interrupted", "closed", "trouble"})
"""The reasons of `flow-halted` events that come from the end of an engine, not from a user."""


def resume(gaia: Gaia) -> list[str]:
    """Resume the workflows halted by an engine's end, not by a user, and return their names.

    Failed Steps stay failed, as they do while an engine runs. A workflow that is refused is logged,
    and the others go on.
    """
    resumed = []
    for name, row in gaia.workflows()["workflows"].items():
        if row["state"] != "halted":
            continue
        try:
            halts = [
                event for event in gaia.events(name) if event["event"] == EventKind.FLOW_HALTED
            ]
            if halts and halts[-1].get("reason") in RESUMABLE_REASONS:
                gaia.expire(name, [])  # unlike run, this doesn't start failed Steps again
                resumed.append(name)
        except GaiaError as error:
            logger.error(
                "workflow %r was running when the last engine ended, and can't be resumed: %s",
                name,
                error,
            )
    return resumed

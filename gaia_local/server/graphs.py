"""The graph of a workflow as the page asks for it, with what Steps are called and grouped by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gaia_local.pictures.grouping import facts

if TYPE_CHECKING:
    from gaia_local import Gaia


def answer(gaia: Gaia, name: str) -> Mapping[str, Any]:
    """What `Gaia.graph` answers, with ``labels``, ``groupings`` and ``suggested``.

    The stream tells whenever its `version` has changed.

    Raises `GaiaError` if there is no such workflow.
    """
    graph = gaia.graph(name)
    return {**graph, **facts(graph)}

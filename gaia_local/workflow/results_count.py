"""How the Steps that are done came to their outputs, counted without looking at all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from gaia_local.workflow.change_log import ChangeLog
from gaia_local.workflow.nodes import StepNode
from gaia_local.workflow.origins import FOUND
from gaia_local.workflow.states import VerdictKind

Origin = Literal["found", "ran", "reused"]
"""They lay in the store already; its program made them; they are another Task's."""


class ResultsCount:
    """The numbers of done Steps by the origin of their outputs. Not thread-safe.

    The first answer looks at all Steps, each later one at those that changed since.
    """

    def __init__(self, changes: ChangeLog) -> None:
        self._changes = changes
        self._moment: str | None = None
        self._origins: dict[StepNode, Origin] = {}
        self._counts: Counter[Origin] = Counter()

    def counts(self, steps: Iterable[StepNode]) -> Counter[Origin]:
        """Origin → number of Steps; `steps` are all of the graph."""
        changed = self._changes.since(self._moment)
        if changed is None:
            self._origins.clear()
            self._counts.clear()
        self._moment = self._changes.now
        for node in steps if changed is None else changed:
            before, now = self._origins.pop(node, None), _origin(node)
            if before is not None:
                self._counts[before] -= 1
            if now is not None:
                self._counts[now] += 1
                self._origins[node] = now
        return self._counts


def _origin(node: StepNode) -> Origin | None:
    if node.verdict is not VerdictKind.FRESH:
        return None
    if node.attempt is None or node.attempt.message == FOUND:
        return "found" if node.outputs else None
    return "ran" if node.attempt.reused is None else "reused"

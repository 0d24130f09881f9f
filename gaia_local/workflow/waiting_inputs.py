"""The `waiting-inputs` of a workflow, updated with the changes of its graph."""

from __future__ import annotations

from collections.abc import Iterable

from gaia_local.workflow.nodes import READY, KeyNode
from gaia_local.workflow.states import VerdictKind


class WaitingInputs:
    """The inputs that aren't ready of all Steps that aren't complete, and fit their Commands."""

    def __init__(self) -> None:
        self._names: list[str] | None = None
        """The last answer; None before the first one, and after a change of the graph."""
        self._touched: set[KeyNode] = set()
        """The keys that may have to join or leave the answer since then."""

    def touch(self, keys: Iterable[KeyNode]) -> None:
        """Note changes of keys' statuses, or of the verdicts on their readers."""
        if self._names is not None:
            self._touched.update(keys)

    def reset(self) -> None:
        """Note a change of the graph: the next answer is made from all keys."""
        self._names = None
        self._touched.clear()

    def names(self, keys: Iterable[KeyNode]) -> list[str]:
        """The inputs' keys, sorted; `keys` are all keys of the graph."""
        touched = keys if self._names is None else self._touched
        if touched:
            renewed = {key.key for key in touched}
            self._names = [key for key in self._names or () if key not in renewed]
            self._names += [key.key for key in touched if _is_waited_for(key)]
            self._names.sort()
        self._touched.clear()
        return list(self._names or ())


def _is_waited_for(key: KeyNode) -> bool:
    return key.status != READY and not all(waits_for_no_input(node.verdict) for node in key.readers)


def waits_for_no_input(verdict: VerdictKind) -> bool:
    """Whether it is complete, or waits for its own mending first."""
    return verdict is VerdictKind.FRESH or verdict is VerdictKind.UNFIT

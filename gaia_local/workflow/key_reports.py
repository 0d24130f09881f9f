"""The API's answers about the storage keys of a `Workflow`. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gaia_local.workflow.nodes import READY, KeyNode
from gaia_local.workflow.states import KeyKind
from gaia_local.workflow.verdicts import verdict_on
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import KeyEntry


def entry(workflow: Workflow, key: KeyNode, top: Callable[[str], str]) -> KeyEntry:
    """One of the answer of `Gaia.keys`; `top` answers the directory that a key lies in."""
    return {
        "key": key.key,
        "path": key.path,
        "top": top(key.key),
        "state": key_state(key),
        "because": why_not_complete(workflow, key),
        "digest": key.state.digest,
        "made_by": sorted({each.step.name for each in key.makers}),
        "read_by": [reader.step.name for reader in key.readers],
    }


def key_state(key: KeyNode) -> str:
    """The state of a key for people."""
    if not key.state.usable:
        return "expired" if key.state.kind is KeyKind.EXPIRED else "incomplete"
    if key.status == READY:
        return "complete"
    if key.maker is None:
        return "incomplete"
    # If its Step runs only for another output, it is complete, as on the server. Otherwise its
    # inputs may have changed.
    return "complete" if any(not output.state.usable for output in key.maker.outputs) else "unsure"


def maker(key: KeyNode) -> str | None:
    """The Step that makes a key, the first by name if several make parts of it."""
    return min((maker.step.name for maker in key.makers), default=None)


def why_not_complete(workflow: Workflow, key: KeyNode) -> str | None:
    """The reason why a key isn't complete; None if it is."""
    if key_state(key) == KeyKind.THERE.value:
        return None
    return _why(workflow, key) or _what_is_missing(key)


def _what_is_missing(key: KeyNode) -> str:
    makers = sorted({maker.step.name for maker in key.makers})
    if makers:
        return f"{' and '.join(makers)} must make it first"
    return "there is no such file, and no Step makes it"


def _why(workflow: Workflow, key: KeyNode) -> str | None:
    """The reason why a key isn't complete, if known."""
    reason = key.state.why
    if reason is None and key.state.usable and key.maker is not None:
        reason = verdict_on(key.maker).reason
    return None if reason is None else str(reason)

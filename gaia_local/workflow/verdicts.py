"""Verdicts on Steps, from their nodes and those of their inputs. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from gaia_local.model.tasks import TaskState
from gaia_local.workflow.nodes import MISSING, PENDING, READY, KeyNode, StepNode
from gaia_local.workflow.states import (
    INTERRUPTED,
    NEW,
    RETRY,
    KeyKind,
    Reason,
    ReasonKind,
    StepState,
    Verdict,
    VerdictKind,
)


def verdict_on(node: StepNode) -> Verdict:
    """The verdict on a Step, with its reason."""
    kind = node.verdict
    if kind is VerdictKind.RUNNING:
        assert node.attempt is not None
        return Verdict(kind, Reason.parse(node.attempt.task.reason))
    reason = None if kind is VerdictKind.FRESH or kind is VerdictKind.UNFIT else need(node)
    if reason is None and kind is VerdictKind.WAIT:
        makers = (maker for key in node.inputs for maker in key.makers if maker.active)
        pending = (key for key in node.inputs if key.status == PENDING)
        maker = next(makers, None)
        reason = (
            change_of(next(pending))
            if maker is None
            else Reason(ReasonKind.UPSTREAM, maker.step.name)
        )
    return Verdict(kind, reason)


def need(node: StepNode) -> Reason | None:
    """The reason why a Step must run, by the contents known so far; None if it needn't."""
    for key in node.outputs:
        state = key.state
        if (
            state.kind is KeyKind.ABSENT
            or state.kind is KeyKind.EXPIRED
            or state.kind is KeyKind.UNSURE
        ):
            return _why_made(node, key)
    if node.state is StepState.DONE and node.reads is not None:
        changed = difference(node, node.reads)
        return None if changed is None else change_of(changed)
    return None


def may_have_to_run(node: StepNode) -> bool:
    """Whether a Step may have to run once its pending inputs are certain.

    A Step whose outputs were found in the store doesn't run for an input that was absent then.
    """
    if node.reads is not None or need(node) is not None:
        return True
    return any(key.status == PENDING and key.state.usable for key in node.inputs)


def difference(node: StepNode, reads: Mapping[str, str | None]) -> KeyNode | None:
    """The first input that is known to differ from `reads`."""
    return next((key for key in node.inputs if _differs(key, reads.get(key.key))), None)


def change_of(key: KeyNode) -> Reason:
    """The reason to run a changed key's readers: its Step ran again, or the user changed it."""
    if (
        key.status != MISSING
        and key.makers
        and (key.state.made_by is not None or key.overlapping_outputs)
    ):
        return Reason(ReasonKind.UPSTREAM, key.makers[0].step.name)
    return Reason(ReasonKind.INPUT_CHANGED, key.key)


def _differs(key: KeyNode, read: str | None) -> bool:
    """Whether the content of a key is known to differ from the digest that a Step read."""
    if key.status != READY:
        return key.status == MISSING
    return read is not None and key.state.digest is not None and read != key.state.digest


def _why_made(node: StepNode, key: KeyNode) -> Reason:  # noqa: PLR0911
    """The reason why a Step must make one of its outputs."""
    if node.state is StepState.FAILED:
        return RETRY
    if node.state is StepState.INTERRUPTED:
        return INTERRUPTED
    if key.state.why is not None:
        return key.state.why
    if node.state is StepState.DONE:
        return Reason(ReasonKind.MISSING, key.key)
    if node.state is StepState.CANCELLED and node.attempt is not None:
        return Reason.parse(node.attempt.task.reason)
    if node.attempt is not None and node.attempt.state in (TaskState.ERROR, TaskState.EXCEPTION):
        return RETRY
    return NEW

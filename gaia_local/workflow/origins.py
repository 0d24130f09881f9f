"""The history that a new Step inherits from files at its outputs with a recorded origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from gaia_local.model.tasks import Task
from gaia_local.workflow.states import Attempt, KeyKind, KeyState, Reason, ReasonKind
from gaia_local.workflow.submissions import COMMAND_CHANGED, STEP_CHANGED

FOUND = (
    "an earlier run, of a workflow that was deleted or that shares the file, "
    "made what lies in the store"
)
"""The message of an inherited attempt. Its rows are recognised by it, so it must never change."""

NO_ORIGINS: Mapping[str, Sequence[Origin]] = {}


class Origin(NamedTuple):
    """The record of a file that has not changed since it was made."""

    state: KeyState
    maker: Attempt | None
    """The Task that made it; None if the record says only that the file doesn't count."""
    whole: bool
    """It is this file or directory itself, not a part of it or one that holds it."""


def inherit(
    task: Task, origins: Mapping[str, Sequence[Origin]]
) -> tuple[Attempt | None, dict[str, KeyState]]:
    """The first state of a new Step with this `task`: its last attempt, if any, and output states.

    `origins` has the records of each output, at least one. Files made by the same definition count,
    if its inputs haven't changed since; those of another definition don't.
    """
    states: dict[str, KeyState] = {}
    makers: dict[str, Attempt] = {}
    for key, found in origins.items():
        same = next((origin for origin in found if _why_anew(origin, task) is None), None)
        if same is None:
            why = found[0].state.why or _why_anew(found[0], task)
            states[key] = found[0].state._replace(kind=KeyKind.EXPIRED, made_by=None, why=why)
        elif same.state.kind is KeyKind.THERE and same.maker is not None:
            states[key], makers[key] = same.state._replace(made_by=task.id), same.maker
        else:
            states[key] = same.state._replace(made_by=None)
    if not makers:
        return None, states
    last = max(makers.values(), key=lambda attempt: attempt.created)
    for key, maker in makers.items():
        if maker.inputs != last.inputs:  # one attempt can't have both inputs
            reads, latest = maker.inputs or {}, last.inputs or {}
            changed = (key for key, digest in latest.items() if reads.get(key) != digest)
            why = Reason(ReasonKind.INPUT_CHANGED, next(changed, ""))
            states[key] = states[key]._replace(kind=KeyKind.EXPIRED, made_by=None, why=why)
    return replace(
        last, task=task._replace(reason=last.task.reason), message=FOUND, superseded=False
    ), states


def _why_anew(origin: Origin, task: Task) -> Reason | None:
    """The reason why `task` would not have made this file; None if it would."""
    made = None if origin.maker is None else origin.maker.task
    if made is None or not origin.whole:
        return STEP_CHANGED
    if _program(made) != _program(task):
        return COMMAND_CHANGED
    return None if _keys(made) == _keys(task) else STEP_CHANGED


def _program(task: Task) -> tuple[object, ...]:
    """The program of a Task, without its files."""
    places = [sorted(internal for _, internal in pairs) for pairs in (task.inputs, task.outputs)]
    return (task.image, task.command, task.stdout, *places)


def _keys(task: Task) -> list[list[tuple[str, str]]]:
    return [sorted(task.inputs), sorted(task.outputs)]

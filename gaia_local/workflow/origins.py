"""Who made the files that lie at a new Step's outputs, as far as the root remembers, and what
follows from that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gaia_local.model.tasks import Task
from gaia_local.workflow.states import Attempt, KeyKind, KeyState, Reason, ReasonKind
from gaia_local.workflow.submissions import COMMAND_CHANGED, STEP_CHANGED

FOUND = "an earlier run, of a workflow that was deleted or that shares the file, made the output in the store"
"""The message of an attempt that a Step began with."""

NO_ORIGINS: Mapping[str, Sequence[Origin]] = {}


@dataclass(frozen=True, slots=True)
class Origin:
    """What is remembered of a file that is as it was then."""

    state: KeyState
    maker: Attempt | None
    """The Task that made it; None where that isn't known, only that it doesn't count."""
    whole: bool
    """It is the very file or directory: not one inside, or around it."""


def inherit(
    task: Task, origins: Mapping[str, Sequence[Origin]]
) -> tuple[Attempt | None, dict[str, KeyState]]:
    """What a new Step begins with, whose Task would be `task`: its last attempt, if any, and the
    states of outputs.

    `origins` has all that is known of each output, at least one. What the same definition made
    counts, if it was made from what the inputs hold, as ever; what another one made doesn't.
    """
    states: dict[str, KeyState] = {}
    makers: dict[str, Attempt] = {}
    for key, found in origins.items():
        same = next((each for each in found if _why_anew(each, task) is None), None)
        if same is None:
            why = found[0].state.why or _why_anew(found[0], task)
            states[key] = replace(found[0].state, kind=KeyKind.EXPIRED, made_by=None, why=why)
        elif same.state.kind is KeyKind.THERE and same.maker is not None:
            states[key], makers[key] = replace(same.state, made_by=task.id), same.maker
        else:
            states[key] = replace(same.state, made_by=None)
    if not makers:
        return None, states
    last = max(makers.values(), key=lambda attempt: attempt.created)
    for key, maker in makers.items():
        if maker.inputs != last.inputs:  # one attempt can't stand for both
            other = next(
                (
                    each
                    for each, digest in (last.inputs or {}).items()
                    if (maker.inputs or {}).get(each) != digest
                ),
                "",
            )
            why = Reason(ReasonKind.INPUT_CHANGED, other)
            states[key] = replace(states[key], kind=KeyKind.EXPIRED, made_by=None, why=why)
    return replace(
        last, task=replace(task, reason=last.task.reason), message=FOUND, superseded=False
    ), states


def _why_anew(origin: Origin, task: Task) -> Reason | None:
    """Why what lies there is nothing that `task` would have made; None where it is."""
    made = None if origin.maker is None else origin.maker.task
    if made is None or not origin.whole:
        return STEP_CHANGED
    if _program(made) != _program(task):
        return COMMAND_CHANGED
    return None if _keys(made) == _keys(task) else STEP_CHANGED


def _program(task: Task) -> tuple[object, ...]:
    """What a Task runs, whatever its files are."""
    places = [sorted(internal for _, internal in pairs) for pairs in (task.inputs, task.outputs)]
    return (task.image, task.command, task.stdout, *places)


def _keys(task: Task) -> list[list[tuple[str, str]]]:
    return [sorted(task.inputs), sorted(task.outputs)]

"""Answers for people about the Steps of a `Workflow`: attempts, a table, definitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from gaia_local.model.tasks import Task, TaskState
from gaia_local.workflow import progress, reports
from gaia_local.workflow.fitness import used_commands
from gaia_local.workflow.nodes import READY, StepNode
from gaia_local.workflow.origins import FOUND
from gaia_local.workflow.states import Attempt, AttemptFigures, VerdictKind
from gaia_local.workflow.verdicts import verdict_on
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import (
        AttemptRecord,
        ConcreteStep,
        LiveUsage,
        StepAttempts,
        StepDefinition,
        StepRow,
        StepTable,
    )


def attempts(
    workflow: str,
    step: str,
    oldest_first: Sequence[Attempt],
    workers: Mapping[str, int],
    has_log: Callable[[Task], bool],
) -> StepAttempts:
    """The answer of `Gaia.attempts`; `workers` maps Task ids to numbers of workers."""
    kept = [attempt for attempt in oldest_first if attempt.message != FOUND]
    records: list[AttemptRecord] = [
        {
            **reports.made(attempt),
            "state": progress.attempt_state(attempt),
            "number": number,
            "queued": attempt.created,
            "worker": workers.get(attempt.task.id),
            "has_log": has_log(attempt.task),
        }
        for number, attempt in enumerate(kept, 1)
    ]
    return {"workflow": workflow, "step": step, "attempts": records[::-1]}


def table(
    workflow: Workflow, figures: Mapping[str, AttemptFigures], usage: Mapping[str, LiveUsage]
) -> StepTable:
    """The answer of `Gaia.table`; `figures` are those of Steps with more than one attempt.

    `usage` is that of running Steps so far.
    """
    nodes = sorted(workflow.graph.steps.values(), key=lambda node: node.order)
    return {
        "workflow": workflow.name,
        "state": workflow.state.value,
        "steps": [
            _row(node, figures.get(node.step.name), usage.get(node.step.name, _UNKNOWN))
            for node in nodes
        ],
    }


_UNKNOWN: LiveUsage = {"memory": None, "cpu": None}


def _row(node: StepNode, figures: AttemptFigures | None, live: LiveUsage) -> StepRow:
    last = node.attempt
    if last is not None and last.message == FOUND:
        last = None
    if figures is None:
        figures = _only(last)
    cpu, memory = live["cpu"], live["memory"]
    if last is not None and (usage := last.usage) is not None:
        memory = usage.memory
        if usage.cpu_user is not None and usage.cpu_system is not None:
            cpu = usage.cpu_user + usage.cpu_system
    return {
        "step": node.step.name,
        "command": node.step.command,
        "state": progress.step_state(node),
        "reason": _why(node, last),
        "task": None if last is None else last.task.id,
        "started": None if last is None else last.started,
        "ended": None if last is None else last.ended,
        "elapsed": None if last is None else reports.elapsed(last),
        "duration": figures.duration,
        "cpu": cpu,
        "memory": memory,
        "attempts": figures.number,
    }


def _only(attempt: Attempt | None) -> AttemptFigures:
    """The figures of a Step with at most one attempt."""
    if attempt is None:
        return AttemptFigures(0, None)
    complete = attempt.state is TaskState.COMPLETE
    return AttemptFigures(1, reports.elapsed(attempt) if complete else None)


def _why(node: StepNode, last: Attempt | None) -> str:
    """Why a Step is in its state, in few words; of one that ran, why it did."""
    kind = node.verdict
    if node.unfit is not None and kind is VerdictKind.UNFIT:
        return node.unfit.problem
    if kind is VerdictKind.FAILED and last is not None and last.message is not None:
        return last.message
    if kind is VerdictKind.FRESH:
        if last is not None:
            return last.task.reason
        return "its outputs were in the store" if node.outputs else "it has no outputs"
    if kind is VerdictKind.WAIT or kind is VerdictKind.BLOCKED:
        missing = [key.key for key in node.inputs if key.status != READY]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            return f"waits for {missing[0]}{more}"
    return str(verdict_on(node).reason)


def definition(workflow: Workflow, name: str) -> StepDefinition:
    """The answer of `Gaia.definition`, for a Step as it was submitted or one that it became.

    Raises `InvalidInput` for an unknown one.
    """
    submitted = workflow.submitted
    outer = submitted.outer(name)
    if outer is None:
        raise workflow.unknown_step(name)
    given = submitted.steps[outer]
    unfit = submitted.unfit.get(outer)
    used = used_commands(given.command, submitted.commands if unfit is None else unfit.commands)
    names = submitted.names(outer) if name == outer else [name]
    return {
        "workflow": workflow.name,
        "step": name,
        "name": outer,
        "submitted": given.definition,
        "commands": {each.name: dict(each.definition) for each in used.values()},
        "became": [_concrete(workflow, workflow.graph.steps[each]) for each in names],
    }


def _concrete(workflow: Workflow, node: StepNode) -> ConcreteStep:
    task = workflow.attempts.make_task(node)
    return {
        "step": node.step.name,
        "command": node.step.command,
        "image": task.image,
        "tokens": list(task.command),
        "inputs": [list(pair) for pair in task.inputs],
        "outputs": [list(pair) for pair in task.outputs],
        "vars": dict(node.step.vars),
        "timeout": task.timeout,
        "unfit": None if node.unfit is None else node.unfit.problem,
    }

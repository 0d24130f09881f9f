"""How far a `Workflow` is: its counts, and the states of its Steps. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from gaia_local.model.tasks import TaskState
from gaia_local.model.workflows import WorkflowState
from gaia_local.workflow.nodes import StepNode
from gaia_local.workflow.states import Attempt, VerdictKind
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import (
        ListedWorkflow,
        StepChanges,
        StepCounts,
        StepState,
        WorkflowProgress,
    )


def progress(workflow: Workflow) -> WorkflowProgress:
    """The answer of `Gaia.progress`: `state`, and the numbers of Steps.

    A complete workflow has also, unless that is 0, the number that were `found` in the store. With
    Steps that don't fit their Commands it has their number, and what the first of them `lacks`.
    """
    verdicts, steps = workflow.graph.verdicts, len(workflow.graph.steps)
    done, failed = verdicts[VerdictKind.FRESH], verdicts[VerdictKind.FAILED]
    running = len(workflow.attempts.begun)
    unfit = verdicts[VerdictKind.UNFIT]
    answer: WorkflowProgress = {
        "state": workflow.state.value,
        "steps": steps,
        "done": done,
        "running": running,
        "failed": failed,
        "waiting": steps - done - running - failed - unfit,
    }
    complete = workflow.state is WorkflowState.COMPLETE
    if complete or workflow.attempts.reuse:  # else their origins needn't be counted
        origins = workflow.results.counts(workflow.graph.steps.values())
        if complete and origins["found"]:
            answer["found"] = origins["found"]
        if origins["reused"]:
            answer["reused"], answer["ran"] = origins["reused"], origins["ran"]
    if unfit:
        answer["unfit"] = unfit
        answer["lacks"] = next(why.problem for why in workflow.submitted.unfit.values())
    return answer


def listed(workflow: Workflow) -> ListedWorkflow:
    """The answer of `Gaia.listed`."""
    counts = progress(workflow)
    numbers = {name: number for name, number in counts.items() if name != "state"}
    return {
        "name": workflow.name,
        "state": counts["state"],
        "properties": dict(workflow.properties),
        "step-count": counts["steps"],
        "progress": cast("StepCounts", numbers),
        "started": workflow.run_started,
        "ended": workflow.run_ended if workflow.run_started is not None else _last_end(workflow),
    }


def _last_end(workflow: Workflow) -> float | None:
    """When a Step last ended, of a workflow that hasn't run since it was loaded."""
    latest = (node.attempt for node in workflow.graph.steps.values())
    return max((one.ended for one in latest if one is not None and one.ended), default=None)


def step_states(workflow: Workflow) -> dict[str, StepState]:
    """The answer of `Gaia.step_states`."""
    return {name: _told(node) for name, node in workflow.graph.steps.items()}


def step_changes(workflow: Workflow, since: str | None) -> StepChanges:
    """The answer of `Gaia.step_changes`."""
    log = workflow.graph.log
    changed = log.since(since)
    return {
        "steps": (
            step_states(workflow)
            if changed is None
            else {node.step.name: _told(node) for node in changed}
        ),
        "whole": changed is None,
        "now": log.now,
        "version": str(workflow.version),
    }


def _told(node: StepNode) -> StepState:
    latest = node.attempt
    if latest is None:
        return {"state": step_state(node), "task": None, "started": None, "ended": None}
    told: StepState = {
        "state": step_state(node),
        "task": latest.task.id,
        "started": latest.started,
        "ended": latest.ended,
    }
    if latest.reused is not None:
        told["reused"] = True
    return told


def step_state(node: StepNode) -> str:
    """The state of a Step for people."""
    if node.verdict in (VerdictKind.RUNNING, VerdictKind.FAILED):
        assert node.attempt is not None
        return attempt_state(node.attempt)
    return _STATES[node.verdict]


_STATES = {
    VerdictKind.RUN: "ready",
    VerdictKind.WAIT: "waiting",
    VerdictKind.BLOCKED: "waiting",
    VerdictKind.FRESH: "complete",
    VerdictKind.UNFIT: "unfit",
}


def attempt_state(attempt: Attempt) -> str:
    """The state of an attempt for people."""
    queued = attempt.state is TaskState.RUNNING and attempt.started is None
    return "queued" if queued else attempt.state.value

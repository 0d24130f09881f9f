"""The API's answers about a `Workflow`, as dictionaries. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gaia_local.model.tasks import Task
from gaia_local.workflow.graph import Graph
from gaia_local.workflow.key_reports import key_state, maker, why_not_complete
from gaia_local.workflow.nodes import READY, KeyNode, StepNode
from gaia_local.workflow.origins import FOUND
from gaia_local.workflow.progress import attempt_state, listed, step_state
from gaia_local.workflow.states import Attempt, Verdict, VerdictKind
from gaia_local.workflow.verdicts import verdict_on
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import (
        ChangedFiles,
        DataEntry,
        Definitions,
        Failure,
        FlowEntry,
        KeyExplanation,
        LatestAttempt,
        ServerStatus,
        StepExplanation,
        TaskEntry,
        TaskRecord,
        Timeline,
        TimelineAttempt,
        WorkflowDetails,
        WorkflowGraph,
    )

    Reusing = TypeVar("Reusing", TaskEntry, TaskRecord, TimelineAttempt)


def definitions(workflow: Workflow) -> Definitions:
    """The answer of `Gaia.definitions`."""
    submitted = workflow.submitted
    return {
        "commands": {name: dict(each.definition) for name, each in submitted.commands.items()},
        "steps": {name: each.definition for name, each in submitted.steps.items()},
    }


def status(workflow: Workflow, debug: bool) -> ServerStatus:
    """The inner dictionary of `Gaia.status`."""
    answer: ServerStatus = {
        "state": workflow.state.value,
        "commands": {
            name: dict(command.definition) for name, command in workflow.submitted.commands.items()
        },
        "waiting-inputs": workflow.graph.waiting_inputs(),
    }
    if workflow.trouble is not None:
        answer["error"] = str(workflow.trouble)
    if debug:
        nodes = workflow.graph.steps.values()
        shown = (
            node.attempt
            for node in nodes
            if node.attempt is not None and not node.attempt.superseded
        )
        answer["tasks"] = {
            attempt.task.name: _with_reused(attempt.task.wire(attempt.state.value), attempt)
            for attempt in shown
        }
        answer["data"] = {
            key.key: _data(workflow, key) for key in workflow.graph.keys.values() if not key.idle
        }
        answer["flow"] = flow(workflow.graph)
        unfit = {name: node.unfit for name, node in workflow.graph.steps.items() if node.unfit}
        if unfit:
            answer["unfit"] = {name: why.problem for name, why in unfit.items()}
    return answer


def details(workflow: Workflow) -> WorkflowDetails:
    """The answer of `Gaia.details`, without what isn't in the workflow itself."""
    answer: WorkflowDetails = {
        "workflow": workflow.name,
        "state": workflow.state.value,
        "progress": listed(workflow)["progress"],
        "failures": failures(workflow),
        "waiting-inputs": workflow.graph.waiting_inputs(),
    }
    if workflow.trouble is not None:
        answer["error"] = str(workflow.trouble)
    return answer


def flow(graph: Graph) -> dict[str, FlowEntry]:
    """Step → its inputs, outputs, and the Steps before it."""
    return {
        name: {
            "inputs": [key.key for key in node.inputs],
            "outputs": [key.key for key in node.outputs],
            "after": sorted({maker.step.name for key in node.inputs for maker in key.makers}),
        }
        for name, node in graph.steps.items()
    }


def graph(workflow: Workflow) -> WorkflowGraph:
    """The answer of `Gaia.graph`: `state`, `steps` in the order of upload, and `edges`."""
    nodes = sorted(workflow.graph.steps.values(), key=lambda node: node.order)
    edges: dict[tuple[str, str], list[str]] = {}
    for node in workflow.graph.steps.values():
        for key in node.inputs:
            for made_by in dict.fromkeys(key.makers):
                edges.setdefault((made_by.step.name, node.step.name), []).append(key.key)
    return {
        "workflow": workflow.name,
        "state": workflow.state.value,
        "version": str(workflow.version),
        "steps": [
            {"step": node.step.name, "command": node.step.command, "state": step_state(node)}
            for node in nodes
        ],
        "edges": [
            {"from": maker, "to": reader, "keys": keys} for (maker, reader), keys in edges.items()
        ],
    }


def attempt(attempt: Attempt | None, log: Callable[[Task], str]) -> LatestAttempt:
    """The answer of `Gaia.attempt` for one; `log` gives the path of a Task's log."""
    if attempt is None:
        return {"task": None, "state": None, "log": None}
    return {"task": attempt.task.id, "state": attempt_state(attempt), "log": log(attempt.task)}


def failures(workflow: Workflow) -> list[Failure]:
    """The Steps that failed: `step`, `state`, `exit_code`, `message`, `reason` (why it ran)."""
    nodes = workflow.graph.failed.values()
    failed = (node.attempt for node in nodes if node.attempt is not None)
    return [
        {
            "step": attempt.task.name,
            "state": attempt.state.value,
            "exit_code": attempt.exit_code,
            "message": attempt.message,
            "reason": attempt.task.reason,
        }
        for attempt in sorted(failed, key=lambda attempt: attempt.task.name)
    ]


def made(attempt: Attempt) -> TaskRecord:
    """The record of one Task: reason, times, inputs, image, command, and outcome."""
    record: TaskRecord = {
        "task": attempt.task.id,
        "step": attempt.task.name,
        "reason": attempt.task.reason,
        "state": attempt.state.value,
        "started": attempt.started,
        "ended": attempt.ended,
        "elapsed": elapsed(attempt),
        "exit_code": attempt.exit_code,
        "message": attempt.message,
        "image": attempt.task.image,
        "image_id": attempt.image_id,
        "command": list(attempt.task.command),
        "inputs": {key: (attempt.inputs or {}).get(key) for key, _ in attempt.task.inputs},
        "outputs": [key for key, _ in attempt.task.outputs],
        "usage": None if attempt.usage is None else attempt.usage.wire(),
    }
    return _with_reused(record, attempt)


def _with_reused(answer: Reusing, attempt: Attempt) -> Reusing:
    """An answer about an attempt, which says whose results this was given, if it was."""
    if attempt.reused is not None:
        answer["reused"] = attempt.reused.wire()
    return answer


def elapsed(attempt: Attempt) -> float | None:
    """How many seconds a Task took; None where it didn't begin, or hasn't ended."""
    if attempt.started is None or attempt.ended is None:
        return None
    return attempt.ended - attempt.started


def timeline(
    workflow: str,
    commands: Mapping[str, str],
    attempts: Iterable[Attempt],
    events: Iterable[Mapping[str, Any]],
) -> Timeline:
    """The answer of `Gaia.timeline`. `commands` maps the present Steps to their Commands."""
    workers = {event["id"]: event["worker"] for event in events if "worker" in event}
    return {
        "workflow": workflow,
        "attempts": [
            _with_reused(_timeline_attempt(attempt, commands, workers), attempt)
            for attempt in attempts
            if attempt.message != FOUND
        ],
    }


def _timeline_attempt(
    attempt: Attempt, commands: Mapping[str, str], workers: Mapping[str, int]
) -> TimelineAttempt:
    return {
        "step": attempt.task.name,
        "command": commands.get(attempt.task.name),
        "task": attempt.task.id,
        "state": attempt_state(attempt),
        "reason": attempt.task.reason,
        "worker": workers.get(attempt.task.id),
        "queued": attempt.created,
        "started": attempt.started,
        "ended": attempt.ended,
        "exit_code": attempt.exit_code,
        "message": attempt.message,
        "usage": None if attempt.usage is None else attempt.usage.wire(),
    }


def explain_step(
    workflow: Workflow, node: StepNode, changed: dict[str, ChangedFiles]
) -> StepExplanation:
    """See `Gaia.explain`."""
    waits_for = {
        key.key: sorted({maker.step.name for maker in key.makers})
        for key in node.inputs
        if key.status != READY
    }
    verdict = verdict_on(node)
    return {
        "workflow": workflow.name,
        "step": node.step.name,
        "last": None if node.attempt is None else made(node.attempt),
        "would_run": verdict.kind.active,
        "because": _because(node, verdict, waits_for),
        "waits_for": waits_for,
        "reads": [key.key for key in node.inputs],
        "makes": [key.key for key in node.outputs],
        "changed": changed,
    }


def _because(node: StepNode, verdict: Verdict, waits_for: Mapping[str, list[str]]) -> str:
    if verdict.kind is VerdictKind.FRESH:
        return (
            "all its outputs are complete"
            if node.outputs
            else "it has no outputs, so it never needs to run"
        )
    if node.unfit is not None:
        return node.unfit.problem
    if verdict.kind is VerdictKind.RUNNING:
        return f"it runs: {verdict.reason}"
    if verdict.kind is VerdictKind.FAILED:
        return "it failed; run starts it again"
    if waits_for:
        waits = "it waits for " + ", ".join(waits_for)
        return waits if verdict.kind is VerdictKind.BLOCKED else f"{waits}: {verdict.reason}"
    return str(verdict.reason)


def explain_key(workflow: Workflow, key: KeyNode, maker_attempt: Attempt | None) -> KeyExplanation:
    """See `Gaia.explain`; `maker_attempt` made the file (None: it is the user's own)."""
    return {
        "workflow": workflow.name,
        "key": key.key,
        "path": key.path,
        "state": key_state(key),
        "because": why_not_complete(workflow, key),
        "digest": key.state.digest,
        "made_by": maker(key),
        "read_by": [reader.step.name for reader in key.readers],
        "made": None if maker_attempt is None else made(maker_attempt),
    }


def _data(workflow: Workflow, key: KeyNode) -> DataEntry:
    return {
        "state": key_state(key),
        "key": key.key,
        "path": key.path,
        "url": Path(key.path).as_uri(),
        "workflow": workflow.name,
    }

"""The API's answers about a `Workflow`, as dictionaries. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gaia_local.model.tasks import Task, TaskState
from gaia_local.model.workflows import WorkflowState
from gaia_local.workflow.graph import Graph
from gaia_local.workflow.nodes import READY, KeyNode, StepNode
from gaia_local.workflow.origins import FOUND
from gaia_local.workflow.states import Attempt, KeyKind, Verdict, VerdictKind
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
        StepState,
        TaskEntry,
        TaskRecord,
        Timeline,
        TimelineAttempt,
        WorkflowGraph,
        WorkflowProgress,
    )

    Reusing = TypeVar("Reusing", TaskEntry, TaskRecord, TimelineAttempt)


def definitions(workflow: Workflow) -> Definitions:
    """The answer of `Gaia.definitions`."""
    submitted = workflow.submitted
    return {
        "commands": {name: dict(each.definition) for name, each in submitted.commands.items()},
        "steps": {name: each.definition for name, each in submitted.steps.items()},
    }


def progress(workflow: Workflow) -> WorkflowProgress:
    """The answer of `Gaia.progress`: `state`, and the numbers of Steps.

    A complete workflow has also, unless that is 0, the number that were `found` in the store. With
    Steps that don't fit their Commands it has their number, and what the first of them `lacks`.
    """
    verdicts, steps = workflow.graph.verdicts, len(workflow.graph.steps)
    found = (
        sum(map(_was_found, workflow.graph.steps.values()))
        if workflow.state is WorkflowState.COMPLETE
        else 0
    )
    done, failed = verdicts[VerdictKind.FRESH], verdicts[VerdictKind.FAILED]
    running = sum(attempt.started is not None for attempt in workflow.running.values())
    unfit = verdicts[VerdictKind.UNFIT]
    answer: WorkflowProgress = {
        "state": workflow.state.value,
        "steps": steps,
        "done": done,
        "running": running,
        "failed": failed,
        "waiting": steps - done - running - failed - unfit,
    }
    if found:
        answer["found"] = found
    if workflow.attempts.reuse:  # else all Steps needn't be looked at
        made = list(filter(_was_made, workflow.graph.steps.values()))
        reused = sum(node.attempt is not None and node.attempt.reused is not None for node in made)
        if reused:
            answer["reused"], answer["ran"] = reused, len(made) - reused
    if unfit:
        answer["unfit"] = unfit
        answer["lacks"] = next(why.problem for why in workflow.submitted.unfit.values())
    return answer


def _was_found(node: StepNode) -> bool:
    """Whether a complete Step never ran, since its outputs were in the store already."""
    return bool(node.outputs) and (node.attempt is None or node.attempt.message == FOUND)


def _was_made(node: StepNode) -> bool:
    """Whether a Step is done, and its outputs were made for it: by a run, or as copies."""
    done = node.verdict is VerdictKind.FRESH
    return done and node.attempt is not None and node.attempt.message != FOUND


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
            for maker in dict.fromkeys(key.makers):
                edges.setdefault((maker.step.name, node.step.name), []).append(key.key)
    return {
        "workflow": workflow.name,
        "state": workflow.state.value,
        "steps": [
            {"step": node.step.name, "command": node.step.command, "state": step_state(node)}
            for node in nodes
        ],
        "edges": [
            {"from": maker, "to": reader, "keys": keys} for (maker, reader), keys in edges.items()
        ],
    }


def step_states(workflow: Workflow) -> dict[str, StepState]:
    """Step → `state` as in `graph`, and `task`, the id of its latest Task."""
    return {
        name: {
            "state": step_state(node),
            "task": None if node.attempt is None else node.attempt.task.id,
        }
        for name, node in workflow.graph.steps.items()
    }


def attempt(workflow: Workflow, step: str, log: Callable[[Task], str]) -> LatestAttempt:
    """See `Gaia.attempt`; `log` gives the path of a Task's log."""
    latest = workflow.graph.steps[step].attempt
    if latest is None:
        return {"task": None, "state": None, "log": None}
    return {"task": latest.task.id, "state": attempt_state(latest), "log": log(latest.task)}


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


def failures(workflow: Workflow) -> list[Failure]:
    """The Steps that failed: `step`, `state`, `exit_code`, `message`, `reason` (why it ran)."""
    nodes = workflow.graph.steps.values()
    failed = (
        node.attempt
        for node in nodes
        if node.verdict is VerdictKind.FAILED and node.attempt is not None
    )
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


def attempt_state(attempt: Attempt) -> str:
    """The state of an attempt for people."""
    queued = attempt.state is TaskState.RUNNING and attempt.started is None
    return "queued" if queued else attempt.state.value


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
    because = None
    if _state(key) != KeyKind.THERE.value:
        because = _why(workflow, key) or _what_is_missing(key)
    return {
        "workflow": workflow.name,
        "key": key.key,
        "path": key.path,
        "state": _state(key),
        "because": because,
        "digest": key.state.digest,
        "made_by": maker(key),
        "read_by": [reader.step.name for reader in key.readers],
        "made": None if maker_attempt is None else made(maker_attempt),
    }


def maker(key: KeyNode) -> str | None:
    """The Step that makes a key, the first by name if several make parts of it."""
    return min((maker.step.name for maker in key.makers), default=None)


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


def _data(workflow: Workflow, key: KeyNode) -> DataEntry:
    return {
        "state": _state(key),
        "key": key.key,
        "path": key.path,
        "url": Path(key.path).as_uri(),
        "workflow": workflow.name,
    }


def _state(key: KeyNode) -> str:
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

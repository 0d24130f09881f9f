"""What is said of a workflow: the dictionaries that the API answers, made from a `Workflow` and changing nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gaia_local.database import Attempt
from gaia_local.errors import InvalidInput, nearest
from gaia_local.flow import KeyNode, StepNode
from gaia_local.model import DataState, TaskState
from gaia_local.workflow import Workflow


def progress(workflow: Workflow) -> dict[str, Any]:
    """`state`, and how many Steps there are (`steps`), and are `done`, `running`, `failed`, `waiting`."""
    steps = len(workflow.flow.steps)
    done = steps - workflow.flow.open
    running = sum(attempt.started is not None for attempt in workflow.running.values())
    failed = len(workflow.failed)
    return {
        "state": workflow.state.value,
        "steps": steps,
        "done": done,
        "running": running,
        "failed": failed,
        "waiting": steps - done - running - failed,
    }


def status(workflow: Workflow, debug: bool) -> dict[str, Any]:
    """The inner dictionary of `Gaia.status`."""
    answer: dict[str, Any] = {
        "state": workflow.state.value,
        "commands": {name: dict(command.definition) for name, command in workflow.submitted.commands.items()},
        "waiting-inputs": workflow.flow.waiting_inputs(),
    }
    if workflow.trouble is not None:
        answer["error"] = str(workflow.trouble)
    if debug:
        shown = (attempt for attempt in workflow.ledger.latest.values() if not attempt.superseded)
        answer["tasks"] = {attempt.task.name: attempt.task.wire(attempt.state.value) for attempt in shown}
        answer["data"] = {key.key: _data(workflow, key) for key in workflow.flow.keys.values()}
        answer["flow"] = workflow.flow.describe()
    return answer


def graph(workflow: Workflow) -> dict[str, Any]:
    """`state`, the `steps` in the order of upload, and the `edges` between them: see `Gaia.graph`."""
    alive = {attempt.task.name: attempt for attempt in workflow.running.values()}
    edges: dict[tuple[str, str], list[str]] = {}
    for node in workflow.flow.steps.values():
        for key in node.inputs:
            for maker in dict.fromkeys(key.makers):
                edges.setdefault((maker.step.name, node.step.name), []).append(key.key)
    return {
        "workflow": workflow.name,
        "state": workflow.state.value,
        "steps": [
            {"step": node.step.name, "command": node.step.command, "state": _step_state(workflow, node, alive)}
            for node in sorted(workflow.flow.steps.values(), key=lambda node: node.order)
        ],
        "edges": [{"from": maker, "to": reader, "keys": keys} for (maker, reader), keys in edges.items()],
    }


def step_states(workflow: Workflow) -> dict[str, dict[str, Any]]:
    """Step → `state` as in `graph`, and `task`, the id of its latest Task."""
    alive = {attempt.task.name: attempt for attempt in workflow.running.values()}
    latest = workflow.ledger.latest
    return {
        name: {"state": _step_state(workflow, node, alive), "task": latest[name].task.id if name in latest else None}
        for name, node in workflow.flow.steps.items()
    }


def attempt(workflow: Workflow, step: str) -> dict[str, Any]:
    """`task` and `state` of the latest attempt at a Step; None where it never ran."""
    latest = workflow.ledger.latest.get(step)
    if latest is None:
        return {"task": None, "state": None}
    return {"task": latest.task.id, "state": "queued" if _is_queued(latest) else latest.state.value}


def _step_state(workflow: Workflow, node: StepNode, alive: Mapping[str, Attempt]) -> str:
    name = node.step.name
    if name in alive:
        return "queued" if _is_queued(alive[name]) else "running"
    if name in workflow.failed:
        return workflow.ledger.latest[name].state.value
    if not node.open and node.outputs:
        return "complete"
    return "waiting" if node.missing else "ready"


def failures(workflow: Workflow) -> list[dict[str, Any]]:
    """The Steps that failed: `step`, `state`, `exit_code`, `message`, `reason` (why it ran)."""
    failed = (workflow.ledger.latest[name] for name in sorted(workflow.failed))
    return [
        {
            "step": attempt.task.name,
            "state": attempt.state.value,
            "exit_code": attempt.exit_code,
            "message": attempt.message,
            "reason": attempt.task.reason,
        }
        for attempt in failed
    ]


def explain(workflow: Workflow, name: str) -> dict[str, Any]:
    """Why a Step ran last, would or wouldn't run now, and what it waits for; or where a key comes from.

    A Step's: `step`, `last` (see `made`), `would_run`, `because`, `waits_for` (key → the Steps that make it), `reads`,
    `makes`. A key's: `key`, `path`, `state`, `because`, `digest`, `made_by` (Step or None), `task` (the id of the one
    that made this version; None for the user's own), `read_by`.
    """
    node = workflow.flow.steps.get(name)
    key = workflow.flow.keys.get(name)
    if node is not None:
        return _explain_step(workflow, node)
    if key is not None:
        return _explain_key(workflow, key)
    known = [*workflow.flow.steps, *workflow.flow.keys]
    raise InvalidInput(
        f"workflow {workflow.name!r}", f"there is no Step and no key {name!r}", nearest(name, known, "Steps and keys")
    )


def made(attempt: Attempt) -> dict[str, Any]:
    """The record of one Task: why, when, how long, from what, with what, and how it ended."""
    return {
        "task": attempt.task.id,
        "step": attempt.task.name,
        "reason": attempt.task.reason,
        "state": attempt.state.value,
        "started": attempt.started,
        "ended": attempt.ended,
        "elapsed": None if attempt.started is None or attempt.ended is None else attempt.ended - attempt.started,
        "exit_code": attempt.exit_code,
        "message": attempt.message,
        "image": attempt.task.image,
        "image_id": attempt.image_id,
        "command": list(attempt.task.command),
        "inputs": {key: (attempt.inputs or {}).get(key) for key, _ in attempt.task.inputs},
        "outputs": [key for key, _ in attempt.task.outputs],
    }


def timeline(
    workflow: str, commands: Mapping[str, str], attempts: Iterable[Attempt], events: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """What ran when: see `Gaia.timeline`. `commands` maps each Step of today to its Command."""
    workers = {event["id"]: event["worker"] for event in events if "worker" in event}
    return {
        "workflow": workflow,
        "attempts": [
            {
                "step": attempt.task.name,
                "command": commands.get(attempt.task.name),
                "task": attempt.task.id,
                "state": "queued" if _is_queued(attempt) else attempt.state.value,
                "reason": attempt.task.reason,
                "worker": workers.get(attempt.task.id),
                "queued": attempt.created,
                "started": attempt.started,
                "ended": attempt.ended,
                "exit_code": attempt.exit_code,
                "message": attempt.message,
            }
            for attempt in attempts
        ],
    }


def _is_queued(attempt: Attempt) -> bool:
    return attempt.state is TaskState.RUNNING and attempt.started is None


def _explain_step(workflow: Workflow, node: StepNode) -> dict[str, Any]:
    name = node.step.name
    attempt = workflow.ledger.latest.get(name)
    waits_for = {key.key: sorted({maker.step.name for maker in key.makers}) for key in node.inputs if not key.complete}
    would_run, because = _verdict(workflow, node, waits_for)
    return {
        "workflow": workflow.name,
        "step": name,
        "last": None if attempt is None else made(attempt),
        "would_run": would_run,
        "because": because,
        "waits_for": waits_for,
        "reads": [key.key for key in node.inputs],
        "makes": [key.key for key in node.outputs],
    }


def _verdict(workflow: Workflow, node: StepNode, waits_for: Mapping[str, list[str]]) -> tuple[bool, str]:
    name = node.step.name
    if any(attempt.task.name == name for attempt in workflow.running.values()):
        return True, f"it runs: {workflow.ledger.latest[name].task.reason}"
    if not node.open:
        return False, "all its outputs are complete" if node.outputs else "it has no outputs, and so nothing to run for"
    if waits_for:
        return False, "it waits for " + ", ".join(waits_for)
    if name in workflow.failed:
        return False, "it failed; run starts it again"
    return True, workflow.reason(node)


def _explain_key(workflow: Workflow, key: KeyNode) -> dict[str, Any]:
    datum = workflow.ledger.data.get(key.key)
    makers = sorted({maker.step.name for maker in key.makers})
    because = None
    if not key.complete:
        because = (datum.why if datum is not None else None) or (
            f"{' and '.join(makers)} must make it first" if makers else "there is no such file, and no Step makes it"
        )
    return {
        "workflow": workflow.name,
        "key": key.key,
        "path": key.path,
        "state": _state(workflow, key),
        "because": because,
        "digest": None if datum is None else datum.digest,
        "made_by": makers[0] if makers else None,
        "task": None if datum is None else datum.task,
        "read_by": [reader.step.name for reader in key.readers],
    }


def _data(workflow: Workflow, key: KeyNode) -> dict[str, Any]:
    return {
        "state": _state(workflow, key),
        "key": key.key,
        "path": key.path,
        "url": Path(key.path).as_uri(),
        "workflow": workflow.name,
    }


def _state(workflow: Workflow, key: KeyNode) -> str:
    datum = workflow.ledger.data.get(key.key)
    if key.complete:
        return DataState.COMPLETE.value
    return "incomplete" if datum is None or key.present else datum.state.value

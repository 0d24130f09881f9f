"""The invariant of the core: after every decision, the rows equal the live engine's state."""

from __future__ import annotations

from typing import Any

from gaia_local.engine.decision_loop import DecisionLoop
from gaia_local.engine.observing import load
from gaia_local.state.database import Database
from gaia_local.store.storage import Storage
from gaia_local.workflow.verdicts import verdict_on
from gaia_local.workflow.workflow import Workflow

MOST_STEPS = 60
"""A workflow is read back after each of its decisions: that would be quadratic for large ones."""


def told(workflow: Workflow) -> dict[str, Any]:
    """All that is known of a workflow, fit to be compared."""
    graph = workflow.graph
    told: dict[str, Any] = {
        f"key {key.key}": (key.state, key.status) for key in graph.keys.values()
    }
    for name, node in graph.steps.items():
        attempt = node.attempt
        told[f"step {name}"] = (
            node.state,
            verdict_on(node),
            node.unfit,
            None
            if attempt is None
            else (attempt.task.id, attempt.state, attempt.superseded, attempt.inputs),
        )
    intent = workflow.intent if graph.steps else None
    definitions = {
        name: dict(command.definition) for name, command in workflow.submitted.commands.items()
    }
    return told | {
        "intent": intent,
        "state": workflow.state,
        "commands": definitions,
        "given": {name: step.definition for name, step in workflow.submitted.steps.items()},
        "expansions": workflow.submitted.expansions,
        "unfit": workflow.submitted.unfit,
        "running": sorted(workflow.running),
    }


def differences(live: Workflow, database: Database, storage: Storage) -> dict[str, tuple[Any, Any]]:
    """The differences between the live workflow and a reloaded one: name → (live, reloaded)."""
    saved = database.saved(live.name)
    assert saved is not None
    reloaded = load(saved, storage, database.listing)
    _know_as_much(live, reloaded)
    before, after = told(live), told(reloaded)
    return {
        what: (before.get(what), after.get(what))
        for what in {**before, **after}
        if before.get(what) != after.get(what)
    }


def _know_as_much(live: Workflow, reloaded: Workflow) -> None:
    """Of a directory with made parts that a Task reads, only the reloaded one knows the digest."""
    for attempt in live.running.values():
        for key, _ in attempt.task.inputs:
            node, again = live.graph.keys.get(key), reloaded.graph.keys.get(key)
            if (
                node is not None
                and again is not None
                and again.overlapping_outputs
                and node.state.digest is None
            ):
                again.state = again.state._replace(digest=None)


def check(loop: DecisionLoop, name: str) -> None:
    """Fail if they differ; a decision that waits for an inspection isn't finished yet."""
    workflow = loop.workflows.get(name)
    if workflow is None or workflow.graph.uninspected or workflow.trouble is not None:
        return
    if name in loop.journal or len(workflow.graph.steps) > MOST_STEPS:
        return
    found = differences(workflow, loop._database, loop._storage)
    assert not found, f"live and reloaded differ: {found}"

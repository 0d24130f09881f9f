"""The invariant of the core: after every decision, the rows equal the live engine's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from gaia_local.engine.decision_loop import DecisionLoop
from gaia_local.engine.observing import load
from gaia_local.state.database import Database
from gaia_local.store.storage import Storage
from gaia_local.workflow.change_log import ChangeLog
from gaia_local.workflow.progress import step_changes, step_states
from gaia_local.workflow.results_count import ResultsCount
from gaia_local.workflow.states import VerdictKind
from gaia_local.workflow.verdicts import verdict_on
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import StepState

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
        "version": str(workflow.version),
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
    if workflow is not None and len(workflow.graph.steps) <= MOST_STEPS:
        _check_counts(workflow)
        _follow(workflow)
    if workflow is None or workflow.graph.uninspected or workflow.trouble is not None:
        return
    if name in loop.journal or len(workflow.graph.steps) > MOST_STEPS:
        return
    found = differences(workflow, loop._database, loop._storage)
    assert not found, f"live and reloaded differ: {found}"


def _check_counts(workflow: Workflow) -> None:
    """Fail if a number that is kept differs from the one that is counted."""
    begun = {name for name, each in workflow.running.items() if each.started is not None}
    assert workflow.attempts.begun == begun
    failed = {
        name for name, node in workflow.graph.steps.items() if node.verdict is VerdictKind.FAILED
    }
    assert workflow.graph.failed.keys() == failed
    nodes = workflow.graph.steps.values()
    kept = {origin: count for origin, count in workflow.results.counts(nodes).items() if count}
    assert kept == dict(ResultsCount(ChangeLog()).counts(nodes))


_followers: WeakKeyDictionary[Workflow, tuple[str, dict[str, StepState]]] = WeakKeyDictionary()
"""Workflow → what somebody knows who asked for the changes alone, and the moment of that."""


def _follow(workflow: Workflow) -> None:
    """Fail if somebody who asks for changes alone comes to know other states than there are."""
    moment, known = _followers.get(workflow, (None, {}))
    changes = step_changes(workflow, moment)
    known = changes["steps"] if changes["whole"] else {**known, **changes["steps"]}
    assert known == step_states(workflow)
    _followers[workflow] = changes["now"], known

"""The data of `Gaia.digraph`: Steps with their storage keys and recorded times, and edges."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gaia_local.model.tasks import TaskState
from gaia_local.workflow import reports
from gaia_local.workflow.origins import FOUND
from gaia_local.workflow.states import Attempt
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import DigraphStep, WorkflowDigraph


def digraph(workflow: Workflow, attempts: Iterable[Attempt]) -> WorkflowDigraph:
    """`reports.graph` with more of each Step; `attempts` are all there were, oldest first."""
    latest: dict[str, Attempt] = {}
    durations: dict[str, float | None] = {}
    for attempt in attempts:
        if attempt.message != FOUND:
            latest[attempt.task.name] = attempt
            if attempt.state is TaskState.COMPLETE:
                durations[attempt.task.name] = reports.elapsed(attempt)
    graph, steps = reports.graph(workflow), {}
    for shown in graph["steps"]:
        name = shown["step"]
        node, last = workflow.graph.steps[name], latest.get(name)
        facts: DigraphStep = {
            "command": shown["command"],
            "state": shown["state"],
            "task": None if last is None else last.task.id,
            "started": None if last is None else last.started,
            "ended": None if last is None else last.ended,
            "duration": durations.get(name),
            "inputs": [key.key for key in node.inputs],
            "outputs": [key.key for key in node.outputs],
        }
        steps[name] = facts
    return {
        "workflow": graph["workflow"],
        "state": graph["state"],
        "steps": steps,
        "edges": [{**edge, "keys": sorted(edge["keys"])} for edge in graph["edges"]],
    }

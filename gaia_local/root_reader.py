"""Answers the questions of a root, from what its scheduler has in memory or from its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gaia_local import answers, files
from gaia_local.errors import InvalidInput, nearest
from gaia_local.leases import find_log
from gaia_local.scheduler import Scheduler
from gaia_local.snapshot import Snapshot
from gaia_local.storage import Storage
from gaia_local.workflow import Workflow

T = TypeVar("T")


class RootReader:
    """`Questions`, in the process that owns the root or in one that can only read its rows."""

    def __init__(self, reader: Scheduler | Snapshot, storage: Storage) -> None:
        self._reader, self._storage = reader, storage

    def workflows(self) -> dict[str, Any]:
        return {
            name: {"name": name, "state": row["state"], "properties": row["properties"], "step-count": row["steps"]}
            for name, row in self._reader.workflows().items()
        }

    def commands(self, workflow: str) -> dict[str, Any]:
        known = self._reader.view(
            workflow, lambda found: {each.name: dict(each.definition) for each in found.submitted.commands.values()}
        )
        return known or {}

    def status(self, workflow: str, debug: bool) -> dict[str, Any] | None:
        return self._reader.view(workflow, lambda found: answers.status(found, debug))

    def wait(self, workflow: str, timeout: float) -> bool:
        return self._reader.wait(workflow, timeout)

    def plan(self, workflow: str, keys: list[str] | None) -> list[dict[str, str]]:
        trial = self._reader.scratch(workflow) if keys is not None else self._as_run_finds(workflow)
        if keys is not None:
            trial.void(keys)
        elif not trial.running:  # else `run` changes nothing
            trial.retry()
        return trial.plan()

    def events(self, workflow: str) -> list[dict[str, Any]]:
        self._view(workflow, lambda found: None)
        return self._reader.events(workflow)

    def log(self, workflow: str, step: str) -> str | None:
        def look(found: Workflow) -> str | None:
            _check_step(found, step)
            attempt = found.graph.steps[step].attempt
            return None if attempt is None else str(find_log(self._storage, workflow, attempt.task.id))

        return self._view(workflow, look)

    def progress(self, workflow: str) -> dict[str, Any]:
        return self._view(workflow, answers.progress)

    def failures(self, workflow: str) -> list[dict[str, Any]]:
        return self._view(workflow, answers.failures)

    def graph(self, workflow: str) -> dict[str, Any]:
        return self._view(workflow, answers.graph)

    def timeline(self, workflow: str) -> dict[str, Any]:
        commands = self._view(workflow, lambda found: {name: node.step.command for name, node in found.graph.steps.items()})
        return answers.timeline(workflow, commands, self._reader.attempts(workflow), self._reader.events(workflow))

    def step_states(self, workflow: str) -> dict[str, dict[str, Any]]:
        return self._view(workflow, answers.step_states)

    def attempt(self, workflow: str, step: str) -> dict[str, Any]:
        def look(found: Workflow) -> dict[str, Any]:
            _check_step(found, step)
            told = answers.attempt(found, step)
            return {**told, "log": told["task"] and str(find_log(self._storage, workflow, told["task"]))}

        return self._view(workflow, look)

    def explain(self, workflow: str, name: str) -> dict[str, Any]:
        trial = self._as_run_finds(workflow)
        told = answers.explain(trial, name)
        if "step" in told:
            told["changed"] = {key: files.changed(*each) for key, each in self._read_and_there(trial, name).items()}
        else:
            task, maker = told.pop("task"), told["made_by"]
            attempts = [] if task is None else self._reader.attempts(workflow, maker)
            told["made"] = next((answers.made(attempt) for attempt in attempts if attempt.task.id == task), None)
        return told

    def inputs(self, workflow: str, step: str) -> dict[str, Any]:
        def look(found: Workflow) -> dict[str, Any]:
            _check_step(found, step)
            attempt = found.graph.steps[step].attempt
            task = found.make_task(found.graph.steps[step]) if attempt is None else attempt.task
            inputs = [[key, path, str(self._storage.source(task, key)), key in task.external] for key, path in task.inputs]
            return {"command": list(task.command), "inputs": inputs}

        return self._view(workflow, look)

    def path(self, workflow: str, key: str) -> str:
        return str(self._storage.path(workflow, key))

    def _read_and_there(self, trial: Workflow, step: str) -> dict[str, tuple[bytes, bytes]]:
        """Input directory of a Step that isn't what it read → the listings of what it read, and of what is there now."""
        attempt, found = trial.graph.steps[step].attempt, {}
        for key, read in ((attempt.inputs or {}) if attempt is not None else {}).items():
            node = trial.graph.keys.get(key)
            now = None if node is None else node.state.digest
            if read is not None and now not in (None, read):
                before = self._reader.listing(read)
                there = trial.unwritten.listings.get(now) or self._reader.listing(now)
                if before is not None and there is not None:
                    found[key] = before, there
        return found

    def _as_run_finds(self, workflow: str) -> Workflow:
        """A copy of a workflow, with its files and its images as they are now."""
        trial = self._reader.scratch(workflow)
        trial.images_are(self._reader.images({image for _, image, _ in trial.made_with()}))
        trial.graph.settle()
        return trial

    def _view(self, name: str, look: Callable[[Workflow], T]) -> T:
        found = self._reader.view(name, lambda workflow: (look(workflow),))
        if found is None:
            raise InvalidInput(
                f"workflow {name!r}", "there is none of this name", nearest(name, self._reader.workflows(), "workflows")
            )
        return found[0]


def _check_step(workflow: Workflow, step: str) -> None:
    """An error that names the nearest ones, where there is no such Step."""
    known = workflow.graph.steps
    if step not in known:
        raise InvalidInput(f"workflow {workflow.name!r}", f"there is no Step {step!r}", nearest(step, known, "Steps"))

"""What can be asked of a root: the one list of calls, whoever makes them, from this process or
another one.

`Questions` change nothing, and can be answered by whoever can read the rows; `Calls` are for the
root's owner. The caller (`Gaia`) has checked names and types. Answers are what JSON can carry; of
the arguments, Commands and Steps travel as the definitions that they were parsed from (see `sent`
and `received`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gaia_local.engine.scheduler import Scheduler
from gaia_local.engine.snapshot import Snapshot
from gaia_local.errors import InvalidInput, nearest
from gaia_local.model.commands import AnyCommand, Command
from gaia_local.model.steps import Step
from gaia_local.model.workflows import check_properties
from gaia_local.store import files
from gaia_local.store.leases import find_log
from gaia_local.store.storage import Storage
from gaia_local.workflow import reports
from gaia_local.workflow.workflow import Workflow

T = TypeVar("T")


class Questions:
    """The calls that change nothing."""

    def __init__(self, reader: Scheduler | Snapshot, storage: Storage) -> None:
        self._reader, self._storage = reader, storage

    def workflows(self) -> dict[str, Any]:
        """See `Gaia.workflows`."""
        return {
            name: {
                "name": name,
                "state": row["state"],
                "properties": row["properties"],
                "step-count": row["steps"],
            }
            for name, row in self._reader.workflows().items()
        }

    def commands(self, workflow: str) -> dict[str, Any]:
        """Name → definition, of all Commands; empty where there is no such workflow."""
        known = self._reader.view(
            workflow,
            lambda found: {
                each.name: dict(each.definition) for each in found.submitted.commands.values()
            },
        )
        return known or {}

    def status(self, workflow: str, debug: bool) -> dict[str, Any] | None:
        """The inner dictionary of `Gaia.status`; None where there is no such workflow."""
        return self._reader.view(workflow, lambda found: reports.status(found, debug))

    def wait(self, workflow: str, timeout: float) -> bool:
        """Whether it is quiet, at once or within (at most) `timeout` seconds."""
        return self._reader.wait(workflow, timeout)

    def plan(self, workflow: str, keys: list[str] | None) -> list[dict[str, str]]:
        """What `run`, or (with keys) `expire`, would run: ``[{"step", "reason"}]``."""
        trial = self._reader.scratch(workflow) if keys is not None else self._as_run_finds(workflow)
        if keys is not None:
            trial.void(keys)
        elif not trial.running:  # else `run` changes nothing
            trial.retry()
        return trial.plan()

    def events(self, workflow: str) -> list[dict[str, Any]]:
        """See `Gaia.events`."""
        self._view(workflow, lambda found: None)
        return self._reader.events(workflow)

    def log(self, workflow: str, step: str) -> str | None:
        """The path of the log of a Step's latest attempt; None where it never started."""

        def look(found: Workflow) -> str | None:
            _check_step(found, step)
            attempt = found.graph.steps[step].attempt
            return (
                None if attempt is None else str(find_log(self._storage, workflow, attempt.task.id))
            )

        return self._view(workflow, look)

    def progress(self, workflow: str) -> dict[str, Any]:
        """See `Gaia.progress`."""
        return self._view(workflow, reports.progress)

    def failures(self, workflow: str) -> list[dict[str, Any]]:
        """See `Gaia.failures`."""
        return self._view(workflow, reports.failures)

    def graph(self, workflow: str) -> dict[str, Any]:
        """See `Gaia.graph`."""
        return self._view(workflow, reports.graph)

    def timeline(self, workflow: str) -> dict[str, Any]:
        """See `Gaia.timeline`."""
        commands = self._view(
            workflow,
            lambda found: {name: node.step.command for name, node in found.graph.steps.items()},
        )
        return reports.timeline(
            workflow, commands, self._reader.attempts(workflow), self._reader.events(workflow)
        )

    def step_states(self, workflow: str) -> dict[str, dict[str, Any]]:
        """See `Gaia.step_states`."""
        return self._view(workflow, reports.step_states)

    def attempt(self, workflow: str, step: str) -> dict[str, Any]:
        """See `Gaia.attempt`."""

        def look(found: Workflow) -> dict[str, Any]:
            _check_step(found, step)
            told = reports.attempt(found, step)
            return {
                **told,
                "log": told["task"] and str(find_log(self._storage, workflow, told["task"])),
            }

        return self._view(workflow, look)

    def explain(self, workflow: str, name: str) -> dict[str, Any]:
        """See `Gaia.explain`."""
        trial = self._as_run_finds(workflow)
        told = reports.explain(trial, name)
        if "step" in told:
            told["changed"] = {
                key: files.changed(*each) for key, each in self._read_and_there(trial, name).items()
            }
        else:
            task, maker = told.pop("task"), told["made_by"]
            attempts = [] if task is None else self._reader.attempts(workflow, maker)
            told["made"] = next(
                (reports.made(attempt) for attempt in attempts if attempt.task.id == task), None
            )
        return told

    def inputs(self, workflow: str, step: str) -> dict[str, Any]:
        """What a Step reads: its `command` tokens, and `inputs`: key, internal path, path here,
        whether a user's own.
        """

        def look(found: Workflow) -> dict[str, Any]:
            _check_step(found, step)
            attempt = found.graph.steps[step].attempt
            task = found.make_task(found.graph.steps[step]) if attempt is None else attempt.task
            inputs = [
                [key, path, str(self._storage.source(task, key)), key in task.external]
                for key, path in task.inputs
            ]
            return {"command": list(task.command), "inputs": inputs}

        return self._view(workflow, look)

    def path(self, workflow: str, key: str) -> str:
        """Where a storage key lies."""
        return str(self._storage.path(workflow, key))

    def _read_and_there(self, trial: Workflow, step: str) -> dict[str, tuple[bytes, bytes]]:
        """Input directory of a Step that isn't what it read → the listings of what it read, and of
        what is there now.
        """
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
                f"workflow {name!r}",
                "it doesn't exist",
                nearest(name, self._reader.workflows(), "workflows"),
            )
        return found[0]


class Calls(Questions):
    """All calls, for the root's owner."""

    def __init__(self, scheduler: Scheduler, storage: Storage) -> None:
        super().__init__(scheduler, storage)
        self._scheduler = scheduler

    def upload(
        self,
        workflow: str,
        properties: Mapping[str, Any],
        commands: list[AnyCommand],
        steps: list[Step],
    ) -> None:
        """See `Gaia.upload`."""
        self._scheduler.upload(workflow, properties, commands, steps)

    def command(self, workflow: str, commands: list[AnyCommand]) -> None:
        """See `Gaia.command`."""
        self._scheduler.command(workflow, commands, check_properties(workflow, None))

    def merge(self, workflow: str, steps: list[Step]) -> None:
        """See `Gaia.merge`."""
        self._scheduler.merge(workflow, steps, check_properties(workflow, None))

    def run(self, workflow: str) -> None:
        """See `Gaia.run`."""
        self._scheduler.run(workflow)

    def halt(self, workflow: str) -> None:
        """See `Gaia.halt`."""
        self._scheduler.halt(workflow)

    def expire(self, workflow: str, keys: list[str]) -> None:
        """See `Gaia.expire`."""
        self._scheduler.expire(workflow, keys)

    def delete(self, workflow: str, data: bool) -> None:
        """See `Gaia.delete`."""
        self._scheduler.delete(workflow, data)


def _names(kind: type) -> frozenset[str]:
    return frozenset(name for name in vars(kind) if not name.startswith("_"))


QUESTIONS = _names(Questions)
CHANGES = _names(Calls)
ONCE = frozenset({"upload", "delete"})
"""Changes that can't be made a second time: where nobody knows whether one was made, it isn't
repeated.
"""


def sent(value: object) -> Any:
    """What JSON is to take instead of a value that it can't: the definition of a Command or a Step."""
    if isinstance(value, Step) or hasattr(value, "definition"):
        return value.definition
    raise TypeError(f"{type(value).__name__} can't be sent to another process")


def received(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call as they were before `sent`."""
    workflow = str(arguments.get("workflow"))
    parsers: dict[str, Callable[[str, object], Any]] = {
        "commands": Command.parse,
        "steps": Step.parse,
    }
    return {
        name: [parsers[name](workflow, each) for each in value] if name in parsers else value
        for name, value in arguments.items()
    }


def _check_step(workflow: Workflow, step: str) -> None:
    """An error that names the nearest ones, where there is no such Step."""
    known = workflow.graph.steps
    if step not in known:
        raise InvalidInput(
            f"workflow {workflow.name!r}",
            f"there is no Step {step!r}",
            nearest(step, known, "Steps"),
        )

"""Answers the questions of a root, from its scheduler's memory or from its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from gaia_local.engine.predicting import Prediction
from gaia_local.engine.registry import no_such_workflow
from gaia_local.engine.results import RecordedResult
from gaia_local.engine.scheduler import Scheduler
from gaia_local.engine.snapshot import Snapshot
from gaia_local.errors import InvalidInput, nearest, shown
from gaia_local.model.tasks import Task
from gaia_local.state.rows import task_json
from gaia_local.store import fingerprints
from gaia_local.store.kept_failures import kept_failures
from gaia_local.store.leases import find_log
from gaia_local.store.sizes import total_size
from gaia_local.store.storage import Storage
from gaia_local.workflow import key_reports, progress, records, reports
from gaia_local.workflow.digraph import digraph
from gaia_local.workflow.nodes import KeyNode, StepNode
from gaia_local.workflow.states import Attempt
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import (
        ChangedFiles,
        Definition,
        Definitions,
        EventEntry,
        Failure,
        KeptDirectory,
        KeyEntry,
        KeyExplanation,
        LatestAttempt,
        ListedWorkflow,
        PlannedStep,
        ReusableEntry,
        ServerStatus,
        StepAttempts,
        StepChanges,
        StepDefinition,
        StepExplanation,
        StepInputs,
        StepKeys,
        StepState,
        StepTable,
        StepTask,
        Timeline,
        WorkflowDetails,
        WorkflowDigraph,
        WorkflowEntry,
        WorkflowGraph,
        WorkflowProgress,
    )

MOST_NAMED = 10
"""The most Steps that an error about a composite or array Step names."""
T = TypeVar("T")


class RootReader:
    """`Questions`, in the process that owns the root or in one that can only read its rows."""

    def __init__(self, reader: Scheduler | Snapshot, storage: Storage, reuse: bool = False) -> None:
        """With `reuse`, plans predict which Steps would be given results."""
        self._reader, self._storage, self._reuse = reader, storage, reuse

    def workflows(self) -> dict[str, WorkflowEntry]:
        return {
            name: {
                "name": name,
                "state": row["state"],
                "properties": row["properties"],
                "step-count": row["steps"],
            }
            for name, row in self._reader.workflows().items()
        }

    def commands(self, workflow: str) -> dict[str, Definition]:
        known = self._reader.view(
            workflow,
            lambda found: {
                command.name: dict(command.definition)
                for command in found.submitted.commands.values()
            },
        )
        return known or {}

    def definitions(self, workflow: str) -> Definitions:
        return self._view(workflow, reports.definitions)

    def status(self, workflow: str, debug: bool) -> ServerStatus | None:
        answer = self._reader.view(workflow, lambda found: reports.status(found, debug))
        if debug and answer is not None and (doing := self._reader.doing(workflow)):
            answer["doing"] = doing
        if debug and answer is not None and (usage := self._reader.usage(workflow)):
            answer["usage"] = usage
        return answer

    def wait(self, workflow: str, timeout: float) -> bool:
        return self._reader.wait(workflow, timeout)

    def plan(self, workflow: str, keys: list[str] | None) -> list[PlannedStep]:
        trial = self._reader.scratch(workflow) if keys is not None else self._as_run_finds(workflow)
        if keys is not None:
            trial.invalidate(keys)
        elif not trial.running:  # else `run` changes nothing
            trial.retry()
        plan = trial.plan()
        if self._reuse:
            find = self._reader.results
            Prediction(trial, self._storage, self._reader.identity, find).complete(plan)
        return plan

    def reusable(self) -> list[ReusableEntry]:
        found: dict[tuple[str, str], _Reusable] = {}
        for name in self._reader.workflows():
            commands = self._reader.view(
                name,
                lambda known: {step: node.step.command for step, node in known.graph.steps.items()},
            )
            for each in self._reader.with_results(name):
                command = (commands or {}).get(each.step)
                if command is not None:
                    found.setdefault((command, each.image), _Reusable()).add(name, each)
        return [
            {
                "command": command,
                "image": image,
                "results": len(known.sizes),
                "bytes": sum(known.sizes.values()),
                "workflows": list(known.workflows),
            }
            for (command, image), known in sorted(found.items())
        ]

    def events(self, workflow: str) -> list[EventEntry]:
        self._view(workflow, lambda found: None)
        return self._reader.events(workflow)

    def log(self, workflow: str, step: str) -> str | None:
        def look(found: Workflow) -> str | None:
            _check_step(found, step)
            attempt = found.graph.steps[step].attempt
            return None if attempt is None else self._log(attempt.task)

        return self._view(workflow, look)

    def progress(self, workflow: str) -> WorkflowProgress:
        answer = self._view(workflow, progress.progress)
        if doing := self._reader.doing(workflow):
            answer["doing"] = doing
        if usage := self._reader.usage(workflow):
            answer["usage"] = usage
        return answer

    def failures(self, workflow: str) -> list[Failure]:
        return self._with_kept(workflow, self._view(workflow, reports.failures))

    def details(self, workflow: str) -> WorkflowDetails:
        answer = self._view(workflow, reports.details)
        self._with_kept(workflow, answer["failures"])
        if usage := self._reader.usage(workflow):
            answer["usage"] = usage
        return answer

    def _with_kept(self, workflow: str, failures: list[Failure]) -> list[Failure]:
        """Add to failures the private directories that are kept of them."""
        kept = kept_failures(self._storage.root) if failures else []
        for failure in failures:
            of_step = [
                {"path": each.path, "task": each.task, "bytes": each.bytes}
                for each in reversed(kept)
                if (each.workflow, each.step) == (workflow, failure["step"])
            ]
            if of_step:
                failure["kept"] = cast("list[KeptDirectory]", of_step)
        return failures

    def graph(self, workflow: str) -> WorkflowGraph:
        return self._view(workflow, reports.graph)

    def digraph(self, workflow: str) -> WorkflowDigraph:
        return self._known(workflow, self._reader.view_with_attempts(workflow, digraph))

    def timeline(self, workflow: str) -> Timeline:
        commands = self._view(
            workflow,
            lambda found: {name: node.step.command for name, node in found.graph.steps.items()},
        )
        return reports.timeline(
            workflow, commands, self._reader.attempts(workflow), self._reader.events(workflow)
        )

    def step_states(self, workflow: str) -> dict[str, StepState]:
        return self._view(workflow, progress.step_states)

    def listed(self, workflow: str) -> ListedWorkflow:
        return self._view(workflow, progress.listed)

    def step_changes(self, workflow: str, since: str | None) -> StepChanges:
        return self._view(workflow, lambda found: progress.step_changes(found, since))

    def attempt(self, workflow: str, step: str, task: str | None = None) -> LatestAttempt:
        def look(found: Workflow) -> Attempt | None:
            _check_step(found, step)
            return found.graph.steps[step].attempt

        attempt = self._view(workflow, look)
        if task is not None and (attempt is None or attempt.task.id != task):
            kept = self._reader.attempts(workflow, step)
            attempt = next((each for each in kept if each.task.id == task), None)
            if attempt is None:
                raise InvalidInput(
                    f"workflow {workflow!r}, Step {step!r}",
                    f"it has no attempt {shown(task)}, or none any more, and no log of it: of each"
                    " Step the newest attempts are kept",
                    "name one that `timeline` lists, and keep more of them with keep_attempts",
                )
        return reports.attempt(attempt, self._log)

    def attempts(self, workflow: str, step: str) -> StepAttempts:
        self._view(workflow, lambda found: _check_step(found, step))
        return records.attempts(
            workflow,
            step,
            self._reader.attempts(workflow, step),
            self._reader.workers(workflow, step),
            lambda task: find_log(self._storage, workflow, task.id).exists(),
        )

    def table(self, workflow: str) -> StepTable:
        figures, usage = self._reader.attempt_figures(workflow), self._reader.usage(workflow)
        return self._view(workflow, lambda found: records.table(found, figures, usage))

    def definition(self, workflow: str, step: str) -> StepDefinition:
        return self._view(workflow, lambda found: records.definition(found, step))

    def explain(self, workflow: str, name: str) -> StepExplanation | KeyExplanation:
        trial = self._as_run_finds(workflow)
        node, key = trial.graph.steps.get(name), trial.graph.keys.get(name)
        if node is not None:
            listings = self._read_and_current(trial, node)
            changed = {
                key: cast("ChangedFiles", fingerprints.listing_changes(*pair))
                for key, pair in listings.items()
            }
            return reports.explain_step(trial, node, changed)
        if key is not None:
            return reports.explain_key(trial, key, self._made_by(workflow, key))
        raise trial.unknown_name(name)

    def keys(self, workflow: str, step: str) -> StepKeys:
        def look(found: Workflow) -> StepKeys:
            _check_step(found, step)
            node = found.graph.steps[step]
            inputs, outputs = (
                [self._key(found, key) for key in keys] for keys in (node.inputs, node.outputs)
            )
            return {"inputs": inputs, "outputs": outputs}

        return self._view(workflow, look)

    def key(self, workflow: str, key: str) -> KeyEntry:
        def look(found: Workflow) -> KeyEntry:
            if (node := found.graph.keys.get(key)) is None:
                right = nearest(key, found.graph.keys, "the keys are")
                raise InvalidInput(f"workflow {workflow!r}", f"there is no key {key!r}", right)
            return self._key(found, node)

        return self._view(workflow, look)

    def inputs(self, workflow: str, step: str) -> StepInputs:
        def look(found: Workflow) -> StepInputs:
            _check_step(found, step)
            node = found.graph.steps[step]
            task = found.attempts.make_task(node) if node.attempt is None else node.attempt.task
            inputs = [
                (key, path, str(self._storage.source(task, key)), key in task.external)
                for key, path in task.inputs
            ]
            return {"command": list(task.command), "inputs": inputs}

        return self._view(workflow, look)

    def task(self, workflow: str, step: str) -> StepTask:
        def look(found: Workflow) -> StepTask:
            _check_step(found, step)
            node = found.graph.steps[step]
            if node.unfit is not None:
                raise InvalidInput(
                    f"workflow {workflow!r}",
                    f"Step {step!r} doesn't fit its Command",
                    node.unfit.problem,
                )
            task = found.attempts.make_task(node)
            return {
                "id": task.id,
                "reason": task.reason,
                "definition": task_json(task),
                "sources": {key: self._storage.source(task, key) for key, _ in task.inputs},
            }

        return self._view(workflow, look)

    def path(self, workflow: str, key: str) -> str:
        return str(self._storage.path(workflow, key))

    def _log(self, task: Task) -> str:
        return str(find_log(self._storage, task.workflow, task.id))

    def _key(self, workflow: Workflow, key: KeyNode) -> KeyEntry:
        return key_reports.entry(workflow, key, lambda text: self._storage.top(workflow.name, text))

    def _made_by(self, workflow: str, key: KeyNode) -> Attempt | None:
        """The attempt that made the file at a key; None if no Step did."""
        if key.state.made_by is None:
            return None
        attempts = self._reader.attempts(workflow, key_reports.maker(key))
        return next((attempt for attempt in attempts if attempt.task.id == key.state.made_by), None)

    def _read_and_current(self, trial: Workflow, node: StepNode) -> dict[str, tuple[bytes, bytes]]:
        """Changed input directory of a Step → its listings: as the Step read it, and at present."""
        attempt, found = node.attempt, {}
        for key, read in ((attempt.inputs or {}) if attempt is not None else {}).items():
            known = trial.graph.keys.get(key)
            now = None if known is None else known.state.digest
            if read is not None and now not in (None, read):
                before = self._reader.listing(read)
                current = trial.unwritten.listings.get(now) or self._reader.listing(now)
                if before is not None and current is not None:
                    found[key] = before, current
        return found

    def _as_run_finds(self, workflow: str) -> Workflow:
        """A copy of a workflow, with its files and its images as they are now."""
        trial = self._reader.scratch(workflow)
        trial.invalidate_changed_images(
            self._reader.images({image for _, image, _ in trial.recorded_images()})
        )
        trial.graph.settle()
        return trial

    def _view(self, name: str, look: Callable[[Workflow], T]) -> T:
        return self._known(name, self._reader.view(name, lambda workflow: (look(workflow),)))[0]

    def _known(self, name: str, answer: T | None) -> T:
        """The answer about a workflow; an error that names the nearest, where there is none."""
        if answer is None:
            raise no_such_workflow(name, self._storage.root, self._reader.workflows())
        return answer


class _Reusable:
    """The results of one Command."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        """Fingerprint → the size of the files of one of its results, in bytes."""
        self.workflows: dict[str, None] = {}

    def add(self, workflow: str, found: RecordedResult) -> None:
        """One more; equal ones count once."""
        self.workflows[workflow] = None
        if found.fingerprint not in self.sizes:
            files = found.result.files.values()
            self.sizes[found.fingerprint] = sum(total_size(file.path) for file in files)


def _check_step(workflow: Workflow, step: str) -> None:
    """Raise `InvalidInput`, with similar names, if there is no such Step."""
    known, where = workflow.graph.steps, f"workflow {workflow.name!r}"
    if step in known:
        return
    if step in workflow.submitted.steps:
        names = workflow.submitted.expansions.get(step, ())
        listed = ", ".join(map(repr, names[:MOST_NAMED])) + (" …" if names[MOST_NAMED:] else "")
        right = f"give one of them: {listed}" if names else "its array is empty"
        raise InvalidInput(where, f"{step!r} stands for {len(names)} Steps", right)
    raise workflow.unknown_step(step)

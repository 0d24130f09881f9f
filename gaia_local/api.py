"""`Gaia`: the client's methods and answers, over an engine in this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from gaia_local import answers, engine, files
from gaia_local.config import Config
from gaia_local.errors import Closed, InvalidInput, StorageError, nearest, shown
from gaia_local.model import (
    AnyCommand,
    Command,
    Step,
    Task,
    WorkflowState,
    check_key,
    check_list,
    check_properties,
    check_workflow_name,
)
from gaia_local.scheduler import Scheduler
from gaia_local.workflow import Workflow

T = TypeVar("T")
logger = logging.getLogger("gaia_local")


def pop_path(path: str) -> str:
    """An internal path without its first component: ``/data/a/b`` becomes ``a/b``."""
    return path.lstrip("/").partition("/")[2].lstrip("/")


class Gaia:
    """Keeps and runs workflows under one local root, with the methods and the answers of the client of a Gaia server.

    Thread-safe. All errors are `GaiaError`, which is a `requests.HTTPError`. As a context manager it closes at the end
    of the block: waiting for what runs, or at once if an exception leaves the block.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        """`config` is described in the README; nothing is created or started here."""
        self._config = Config.parse(config)
        self._engine: engine.Engine | None = engine.share(self._config)

    # -- the client's methods -------------------------------------------------------------------------------------

    def workflows(self) -> dict[str, Any]:
        """``{"workflows": {name: {"name", "state", "properties", "step-count"}}}``."""
        rows = self._open.reader.workflows()
        return {
            "workflows": {
                name: {
                    "name": name,
                    "state": row["state"],
                    "properties": row["properties"],
                    "step-count": row["steps"],
                }
                for name, row in rows.items()
            }
        }

    def upload(
        self, workflow: str, properties: Mapping[str, Any], commands: list[dict[str, Any]], steps: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Store a new workflow and start it: ``{"workflow": {workflow: [names of the Steps as given]}}``."""
        name = check_workflow_name(workflow)
        checked = check_properties(name, properties)
        parsed = _steps(name, steps)
        self._open.scheduler.upload(name, checked, _commands(name, commands), parsed)
        return {"workflow": {name: [step.name for step in parsed]}}

    def command(self, workflow: str, commands: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """Add or replace Commands, recompute what uses them: ``{"commands": {name: command}}``, all of the workflow's."""
        name = check_workflow_name(workflow)
        parsed = _commands(name, commands or [])
        if parsed:
            self._open.scheduler.command(name, parsed, check_properties(name, None))
        known = self._open.reader.view(
            name, lambda found: {each.name: dict(each.definition) for each in found.commands.values()}
        )
        return {"commands": known or {}}

    def merge(self, workflow: str, steps: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """Add or replace Steps and start what can start: ``{"steps": [names of the Steps as given]}``."""
        name = check_workflow_name(workflow)
        parsed = _steps(name, steps or [])
        if parsed:
            self._open.scheduler.merge(name, parsed, check_properties(name, None))
        return {"steps": [step.name for step in parsed]}

    def run(self, workflow: str, dry_run: bool = False) -> dict[str, Any]:
        """Start whatever can run, failed Steps included: ``{"run": workflow}``.

        With `dry_run` nothing is changed or started, and the answer also has ``"would": [{"step", "reason"}]``.
        """
        name = check_workflow_name(workflow)
        if dry_run:
            return {"run": workflow, "would": self._plan(name, Workflow.retry)}
        self._open.scheduler.run(name)
        return {"run": workflow}

    def halt(self, workflow: str) -> dict[str, Any]:
        """Cancel all that runs: ``{"halt": workflow}``."""
        self._open.scheduler.halt(check_workflow_name(workflow))
        return {"halt": workflow}

    def status(self, workflow: str, debug: bool = False) -> dict[str, Any]:
        """The server's answer, and beside it the flat one that the client's documentation describes.

        ``{"workflow", "status": {"state", "commands", "waiting-inputs"}, "state", "commands": [...], "waiting-inputs"}``;
        with `debug` the inner dictionary also has ``tasks``, ``data`` and ``flow``. A name that nobody uploaded is
        `initialized`, with nothing in it.
        """
        name = check_workflow_name(workflow)
        inner = self._open.reader.view(name, lambda found: answers.status(found, bool(debug)))
        if inner is None:
            logger.warning("there is no workflow %r", name)
            inner = {"state": WorkflowState.INITIALIZED.value, "commands": {}, "waiting-inputs": []}
            if debug:
                inner |= {"tasks": {}, "data": {}, "flow": {}}
        return {
            "workflow": name,
            "status": inner,
            "state": inner["state"],
            "commands": list(inner["commands"].values()),
            "waiting-inputs": inner["waiting-inputs"],
        }

    def expire(self, workflow: str, keys: list[str], dry_run: bool = False) -> dict[str, Any]:
        """Make Steps, or the producers of storage keys, and all that depends on them run again: ``{"expire": keys}``.

        With `dry_run` nothing is changed or started, and the answer also has ``"would": [{"step", "reason"}]``.
        """
        name = check_workflow_name(workflow)
        names = check_list(name, "keys", keys)
        for each in names:
            if not isinstance(each, str):
                raise InvalidInput(
                    f"workflow {name!r}", f"expire was given {shown(each)}", "give names of Steps and storage keys"
                )
        if dry_run:
            return {"expire": keys, "would": self._plan(name, lambda found: found.expire(names))}
        self._open.scheduler.expire(name, names)
        return {"expire": keys}

    def launch(self, names: list[str], metadata: Mapping[str, Any] | None = None) -> None:
        """Accepted as the server's client does; local capacity stays at the config's `workers`."""
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise InvalidInput("launch", f"names is {shown(names)}", "give a list of worker names")
        logger.info("launch: %d workers named; Steps run here, %d at a time", len(names), self._config.workers)

    def pull_inputs(
        self, workflow: str, task_name: str, root: str | None = None, path_fn: Callable[[str], str] = pop_path
    ) -> None:
        """Copy one Step's inputs from the store to ``root/path_fn(internal path)``, and print its command.

        `root` is a directory, by default the current one. Raises `GaiaError` for an unknown Step or a missing input.
        """
        name = check_workflow_name(workflow)
        _check_text(name, task_name)
        task = self._view(name, lambda found: _of_step(name, task_name, found.flow.steps, _task(found, task_name)))
        assert task is not None
        for key, internal in task.inputs:
            source = Path(self._open.storage.source(task, key))
            target = Path(root or ".", path_fn(internal))
            if not source.exists():
                raise InvalidInput(
                    f"workflow {name!r}, Step {task_name!r}", f"input {key!r} isn't there", f"it belongs at {source}"
                )
            try:
                files.pull(str(source), Path(root or "."), target, follow=key in task.external)
            except OSError as error:
                if isinstance(error, StorageError):
                    raise
                raise StorageError(f"input {key!r} can't be copied to {target}: {error.strerror}") from error
        print(" ".join(task.command))  # noqa: T201 the client's documented behaviour

    # -- what a server has no need of -----------------------------------------------------------------------------

    def wait(self, workflow: str, timeout: float | None = None) -> dict[str, Any]:
        """Block until nothing of a workflow runs, and return its `status`.

        Raises `TimeoutError` when that takes longer than `timeout` seconds. Waits for this process's own Steps only.
        """
        name = check_workflow_name(workflow)
        reader = self._open.reader
        if isinstance(reader, Scheduler) and not reader.wait(name, timeout):
            raise TimeoutError(f"workflow {name!r} still runs after {timeout:g} s")
        return self.status(name)

    def events(self, workflow: str) -> list[dict[str, Any]]:
        """The recorded events, oldest first: dictionaries with `event`, `workflow`, `time`, and what the kind carries."""
        name = check_workflow_name(workflow)
        self._view(name, lambda found: None)
        return self._open.reader.events(name)

    def logs(self, workflow: str, step: str) -> str:
        """What the latest attempt at a Step wrote to stdout and stderr, so far; empty where it never started."""
        name = check_workflow_name(workflow)
        _check_text(name, step)
        attempt = self._view(name, lambda found: _of_step(name, step, found.flow.steps, found.ledger.latest.get(step)))
        if attempt is None:
            return ""
        try:
            return self._open.storage.log(name, attempt.task.id).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def progress(self, workflow: str) -> dict[str, Any]:
        """``{"state", "steps", "done", "running", "failed", "waiting"}``: the state, and numbers of Steps."""
        return self._view(check_workflow_name(workflow), answers.progress)

    def failures(self, workflow: str) -> list[dict[str, Any]]:
        """The Steps that failed: ``[{"step", "state", "exit_code", "message", "reason"}]``."""
        return self._view(check_workflow_name(workflow), answers.failures)

    def explain(self, workflow: str, name: str) -> dict[str, Any]:
        """Why a Step ran last, would or wouldn't run now, and what it waits for; or how a storage key came about.

        For a Step: ``{"workflow", "step", "last", "would_run", "because", "waits_for", "reads", "makes"}``; for a key:
        ``{"workflow", "key", "path", "state", "because", "digest", "made_by", "made", "read_by"}``. `last` and `made`
        are the record of a Task: its reason, times (seconds since the epoch), exit code, image id, tokens, inputs with
        their content digests, outputs.
        """
        checked = check_workflow_name(workflow)
        _check_text(checked, name)
        told = self._view(checked, lambda found: answers.explain(found, name))
        if "key" in told:
            task, maker = told.pop("task"), told["made_by"]
            attempts = [] if task is None else self._open.reader.attempts(checked, maker)
            told["made"] = next((answers.made(attempt) for attempt in attempts if attempt.task.id == task), None)
        return told

    def delete(self, workflow: str, data: bool = False) -> dict[str, Any]:
        """Forget a workflow and its logs, stopping what runs; with `data` also its files (mapped buckets stay)."""
        self._open.scheduler.delete(check_workflow_name(workflow), data)
        return {"delete": workflow}

    def path(self, workflow: str, key: str) -> Path:
        """Where a storage key of a workflow lies on the disk."""
        name = check_workflow_name(workflow)
        _check_text(name, key)
        check_key(f"workflow {name!r}", key)
        return Path(self._open.storage.path(name, key))

    def close(self, wait: bool = True) -> None:
        """Let go of the root: wait until every workflow is quiet, or (`wait=False`) stop what runs, leaving it resumable.

        `wait=False` stops what runs under the root, whoever of this process started it; the root itself is kept as long
        as another `Gaia` of this process uses it. Idempotent.
        """
        ours, self._engine = self._engine, None
        if ours is not None:
            try:
                engine.leave(ours, wait)
            except KeyboardInterrupt:
                ours.users += 1
                engine.leave(ours, wait=False)
                raise

    def __enter__(self) -> Gaia:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(wait=kind is None)

    def __repr__(self) -> str:
        return f"Gaia(root={os.fspath(self._config.root)!r}, runtime={self._config.runtime!r}, workers={self._config.workers})"

    @property
    def _open(self) -> engine.Engine:
        if self._engine is None:
            raise Closed("this Gaia was closed")
        return self._engine

    def _plan(self, name: str, change: Callable[[Workflow], None]) -> list[dict[str, str]]:
        self._view(name, lambda found: None)
        return self._open.reader.plan(name, change)

    def _view(self, name: str, look: Callable[[Workflow], T]) -> T:
        found = self._open.reader.view(name, lambda workflow: (look(workflow),))
        if found is None:
            raise InvalidInput(
                f"workflow {name!r}", "there is none of this name", nearest(name, self._open.reader.workflows(), "workflows")
            )
        return found[0]


def _commands(workflow: str, given: object) -> list[AnyCommand]:
    return _once(workflow, "Command", [Command.parse(workflow, each) for each in check_list(workflow, "commands", given)])


def _steps(workflow: str, given: object) -> list[Step]:
    return _once(workflow, "Step", [Step.parse(workflow, each) for each in check_list(workflow, "steps", given)])


def _once(workflow: str, kind: str, parsed: list[Any]) -> list[Any]:
    seen: set[str] = set()
    for each in parsed:
        if each.name in seen:
            raise InvalidInput(
                f"workflow {workflow!r}", f"two of the {kind}s given are named {each.name!r}", "give each a name of its own"
            )
        seen.add(each.name)
    return parsed


def _check_text(workflow: str, given: object) -> None:
    if not isinstance(given, str):
        raise InvalidInput(f"workflow {workflow!r}", f"a name is {shown(given)}", "give the name of a Step, or a storage key")


def _task(workflow: Workflow, step: str) -> Task | None:
    """The last Task of a Step, or the one that would be made now."""
    attempt, node = workflow.ledger.latest.get(step), workflow.flow.steps.get(step)
    return attempt.task if attempt is not None else None if node is None else workflow.make_task(node)


def _of_step(workflow: str, step: str, known: Mapping[str, Any], answer: Any) -> Any:
    """`answer`, or, where there is no such Step, an error that names the nearest ones."""
    if step not in known:
        raise InvalidInput(f"workflow {workflow!r}", f"there is no Step {step!r}", nearest(step, known, "Steps"))
    return answer

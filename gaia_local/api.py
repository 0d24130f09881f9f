"""`Gaia`: the client's methods and answers, over an engine in this process."""

from __future__ import annotations

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from gaia_local.config import Config
from gaia_local.engine import engine
from gaia_local.errors import Closed, InvalidInput, StorageError, shown
from gaia_local.http_errors import with_http_errors
from gaia_local.model.commands import AnyCommand, Command, warn_of_unknown_fields
from gaia_local.model.names import as_stored, check_key
from gaia_local.model.paths import pop_path
from gaia_local.model.steps import Step
from gaia_local.model.terminal_text import LINES, escaped
from gaia_local.model.validation import check_list
from gaia_local.model.workflows import WorkflowState, check_properties, check_workflow_name
from gaia_local.store import files

logger = logging.getLogger("gaia_local")

WAIT_CALL_SECONDS = 1.0
"""Seconds that one question whether a workflow is quiet takes at most; `wait` asks again."""


@with_http_errors
class Gaia:
    """Keeps and runs workflows under one local root, with the methods and the answers of the client
    of a Gaia server.

    Thread-safe. All errors are `GaiaError` and `requests.HTTPError`. As a context manager it closes
    at the end of the block: waiting for what runs, or at once if an exception leaves the block.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        """`config` is described in the README; nothing is created or started here."""
        self._config = Config.parse(config)
        self._engine: engine.Engine | None = engine.share(self._config)

    # -- the client's methods ----------------------------------------------------------------------

    def workflows(self) -> dict[str, Any]:
        """``{"workflows": {name: {"name", "state", "properties", "step-count"}}}``."""
        return {"workflows": self._call("workflows")}

    def upload(
        self,
        workflow: str,
        properties: Mapping[str, Any],
        commands: list[dict[str, Any]],
        steps: list[dict[str, Any]],
    ) -> dict[str, Any]:
        """Store a new workflow and start it:
        ``{"workflow": {workflow: [names of the Steps as given]}}``.
        """
        name = check_workflow_name(workflow)
        checked = check_properties(name, properties)
        parsed = _steps(name, steps)
        self._call(
            "upload",
            workflow=name,
            properties=checked,
            commands=_commands(name, commands),
            steps=parsed,
        )
        return {"workflow": {name: [step.name for step in parsed]}}

    def command(
        self, workflow: str, commands: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """Add or replace Commands, recompute what uses them: ``{"commands": {name: command}}``, all
        of the workflow's.
        """
        name = check_workflow_name(workflow)
        parsed = _commands(name, [] if commands is None else commands)
        if parsed:
            self._call("command", workflow=name, commands=parsed)
        return {"commands": self._call("commands", workflow=name)}

    def merge(self, workflow: str, steps: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """Add or replace Steps and start what can start:
        ``{"steps": [names of the Steps as given]}``.
        """
        name = check_workflow_name(workflow)
        parsed = _steps(name, [] if steps is None else steps)
        if parsed:
            self._call("merge", workflow=name, steps=parsed)
        return {"steps": [step.name for step in parsed]}

    def run(self, workflow: str, dry_run: bool = False) -> dict[str, Any]:
        """Start whatever can run, failed Steps included: ``{"run": workflow}``.

        With `dry_run` nothing is changed or started, and the answer also has
        ``"would": [{"step", "reason"}]``.
        """
        name = check_workflow_name(workflow)
        if dry_run:
            return {"run": workflow, "would": self._call("plan", workflow=name, keys=None)}
        self._call("run", workflow=name)
        return {"run": workflow}

    def halt(self, workflow: str) -> dict[str, Any]:
        """Cancel all that runs: ``{"halt": workflow}``."""
        self._call("halt", workflow=check_workflow_name(workflow))
        return {"halt": workflow}

    def status(self, workflow: str, debug: bool = False) -> dict[str, Any]:
        """The server's answer, and beside it the flat one that the client's documentation
        describes.

        ``{"workflow", "status": {"state", "commands", "waiting-inputs"}, "state", "commands":
        [...], "waiting-inputs"}``; with `debug` the inner dictionary also has ``tasks``, ``data``
        and ``flow``. A name that nobody uploaded is `initialized`, with nothing in it.
        """
        name = check_workflow_name(workflow)
        inner = self._call("status", workflow=name, debug=bool(debug))
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
        """Make Steps, or the producers of storage keys, and all that depends on them run again:
        ``{"expire": keys}``.

        With `dry_run` nothing is changed or started, and the answer also has
        ``"would": [{"step", "reason"}]``.
        """
        name = check_workflow_name(workflow)
        names = check_list(name, "keys", keys)
        for key in names:
            if not isinstance(key, str):
                raise InvalidInput(
                    f"workflow {name!r}",
                    f"expire was given {shown(key)}",
                    "give names of Steps and storage keys",
                )
        if dry_run:
            return {"expire": keys, "would": self._call("plan", workflow=name, keys=names)}
        self._call("expire", workflow=name, keys=names)
        return {"expire": keys}

    def launch(self, names: list[str], metadata: Mapping[str, Any] | None = None) -> None:
        """Accepted as the server's client does; local capacity stays at the config's `workers`."""
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise InvalidInput("launch", f"names is {shown(names)}", "give a list of worker names")
        logger.info(
            "launch: %d workers named; Steps run here, %d at a time",
            len(names),
            self._config.workers,
        )

    def pull_inputs(
        self,
        workflow: str,
        task_name: str,
        root: str | None = None,
        path_fn: Callable[[str], str] = pop_path,
    ) -> None:
        """Copy one Step's inputs from the store to ``root/path_fn(internal path)``, and print its
        command.

        `root` is a directory, by default the current one. Raises `GaiaError` for an unknown Step or
        a missing input.
        """
        name = check_workflow_name(workflow)
        _check_text(name, task_name)
        read = self._call("inputs", workflow=name, step=task_name)
        for key, internal, place, own in read["inputs"]:
            source = Path(place)
            target = Path(root or ".", path_fn(internal))
            if not source.exists():
                raise InvalidInput(
                    f"workflow {name!r}, Step {task_name!r}",
                    f"input {key!r} isn't there",
                    f"it belongs at {source}",
                )
            try:
                files.pull(str(source), Path(root or "."), target, follow=own)
            except OSError as error:
                raise StorageError(
                    f"input {key!r} can't be copied to {target}: {error.strerror}"
                ) from error
        text = " ".join(read["command"])
        # The client's documented behaviour.
        print(escaped(text, LINES) if sys.stdout.isatty() else text)  # noqa: T201

    # -- what a server has no need of --------------------------------------------------------------

    def wait(self, workflow: str, timeout: float | None = None) -> dict[str, Any]:
        """Block until nothing of a workflow runs, and return its `status`.

        Raises `TimeoutError` when that takes longer than `timeout` seconds.
        """
        name = check_workflow_name(workflow)
        if timeout is not None and (
            isinstance(timeout, bool) or not isinstance(timeout, int | float)
        ):
            raise InvalidInput(
                f"workflow {name!r}", f"timeout is {shown(timeout)}", "give a number of seconds"
            )
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self._call(
            "wait", workflow=name, timeout=max(0.0, min(WAIT_CALL_SECONDS, end - time.monotonic()))
        ):
            if time.monotonic() >= end:
                raise TimeoutError(f"workflow {name!r} still runs after {timeout:g} s")
        return self.status(name)

    def events(self, workflow: str) -> list[dict[str, Any]]:
        """The recorded events, oldest first: dictionaries with `event`, `workflow`, `time`, and
        what the kind carries.
        """
        return list(self._call("events", workflow=check_workflow_name(workflow)))

    def logs(self, workflow: str, step: str) -> str:
        """What the latest attempt at a Step wrote to stdout and stderr, so far; empty where it
        never started.
        """
        name = check_workflow_name(workflow)
        _check_text(name, step)
        log = self._call("log", workflow=name, step=step)
        try:
            return "" if log is None else Path(log).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def progress(self, workflow: str) -> dict[str, Any]:
        """``{"state", "steps", "done", "running", "failed", "waiting"}``: the state, and numbers of
        Steps.

        When the workflow is complete and some Steps never ran, also ``found``: how many, whose
        outputs were in the store.
        """
        return dict(self._call("progress", workflow=check_workflow_name(workflow)))

    def failures(self, workflow: str) -> list[dict[str, Any]]:
        """The Steps that failed: ``[{"step", "state", "exit_code", "message", "reason"}]``."""
        return list(self._call("failures", workflow=check_workflow_name(workflow)))

    def graph(self, workflow: str) -> dict[str, Any]:
        """The Steps and what leads from one to another.

        ``{"workflow", "state", "steps": [{"step", "command", "state"}], "edges": [{"from", "to",
        "keys"}]}``, the Steps in the order of upload. A Step's state is ``waiting`` (for inputs),
        ``ready`` (it would start, were the workflow running), ``queued``, ``running``,
        ``complete``, ``error`` or ``exception``.
        """
        return dict(self._call("graph", workflow=check_workflow_name(workflow)))

    def timeline(self, workflow: str) -> dict[str, Any]:
        """What ran when, oldest first, with all attempts at all Steps.

        ``{"workflow", "attempts": [{"step", "command", "task", "state", "reason", "worker",
        "queued", "started", "ended", "exit_code", "message"}]}``: times in seconds since the epoch
        (None: not yet), `worker` its number from 1.
        """
        return dict(self._call("timeline", workflow=check_workflow_name(workflow)))

    def step_states(self, workflow: str) -> dict[str, dict[str, Any]]:
        """``{step: {"state", "task"}}``: each Step's state as `graph` has it, and its latest Task's
        id (None: it never ran).
        """
        return dict(self._call("step_states", workflow=check_workflow_name(workflow)))

    def attempt(self, workflow: str, step: str) -> dict[str, Any]:
        """The latest attempt at a Step: ``{"task", "state", "log"}``, all None where it never ran.

        The state is ``queued``, ``running``, ``complete``, ``error``, ``exception``, ``cancelled``
        or ``interrupted``; `log` is the path of the file that holds what it wrote, which isn't
        there before it began.
        """
        name = check_workflow_name(workflow)
        _check_text(name, step)
        return dict(self._call("attempt", workflow=name, step=step))

    def explain(self, workflow: str, name: str) -> dict[str, Any]:
        """Why a Step ran last, would or wouldn't run now, and what it waits for; or how a storage
        key came about.

        For a Step: ``{"workflow", "step", "last", "would_run", "because", "waits_for", "reads",
        "makes", "changed"}``; for a key: ``{"workflow", "key", "path", "state", "because",
        "digest", "made_by", "made", "read_by"}``. `changed` says of each input directory that isn't
        what the Step read which of its files were `added`, `changed` and `removed`. `last` and
        `made` are the record of a Task: its reason, times (seconds since the epoch), exit code,
        image id, tokens, inputs with their content digests, outputs.
        """
        checked = check_workflow_name(workflow)
        _check_text(checked, name)
        return dict(self._call("explain", workflow=checked, name=name))

    def delete(self, workflow: str, data: bool = False) -> dict[str, Any]:
        """Forget a workflow and its logs, stopping what runs; with `data` also its files (mapped
        buckets stay).
        """
        with as_stored():
            name = check_workflow_name(workflow)
        self._call("delete", workflow=name, data=bool(data))
        return {"delete": workflow}

    def own(self) -> None:
        """Make this process the root's owner now, which otherwise its first change does.

        Raises `RootInUse` where another process is; that one answers this one's calls.
        """
        self._opened.own()

    def path(self, workflow: str, key: str) -> Path:
        """Where a storage key of a workflow lies on the disk."""
        name = check_workflow_name(workflow)
        _check_text(name, key)
        check_key(f"workflow {name!r}", key)
        return Path(self._call("path", workflow=name, key=key))

    def subscribe(self, tell: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """Call `tell` with the names of workflows, after each change of theirs; answers what ends
        that.

        This process becomes the root's owner, as with `own`. `tell` is called in the engine's
        threads: it must not block.
        """
        return self._opened.scheduler.subscribe(tell)

    def close(self, wait: bool = True) -> None:
        """Let go of the root: wait until every workflow is quiet, or (`wait=False`) stop what runs,
        leaving it resumable.

        `wait=False` stops what runs under the root, whoever of this process started it; the root
        itself is kept as long as another `Gaia` of this process uses it. Idempotent.
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(wait=kind is None)

    def __repr__(self) -> str:
        return f"Gaia(root={os.fspath(self._config.root)!r}, runtime={self._config.runtime!r}, workers={self._config.workers})"

    def _repr_html_(self) -> str:
        """For notebooks: the workflows of the root, with state and progress."""
        from gaia_local.pictures.tables import workflows_table

        if self._engine is None:
            return workflows_table(f"{self!r}, closed", {})
        return workflows_table(
            repr(self), {name: self.progress(name) for name in self.workflows()["workflows"]}
        )

    def _call(self, name: str, /, **arguments: Any) -> Any:
        """One of the calls of `gaia_local.engine.calls`."""
        return self._opened.call(name, **arguments)

    @property
    def _opened(self) -> engine.Engine:
        if self._engine is None:
            raise Closed("this Gaia was closed")
        return self._engine


def _commands(workflow: str, given: object) -> list[AnyCommand]:
    commands = check_list(workflow, "commands", given)
    parsed = _without_duplicates(
        workflow, "Command", [Command.parse(workflow, command) for command in commands]
    )
    warn_of_unknown_fields(workflow, "Command", commands)
    return parsed


def _steps(workflow: str, given: object) -> list[Step]:
    steps = check_list(workflow, "steps", given)
    parsed = _without_duplicates(workflow, "Step", [Step.parse(workflow, step) for step in steps])
    warn_of_unknown_fields(workflow, "Step", steps)
    return parsed


def _without_duplicates(workflow: str, kind: str, parsed: list[Any]) -> list[Any]:
    seen: set[str] = set()
    for definition in parsed:
        if definition.name in seen:
            raise InvalidInput(
                f"workflow {workflow!r}",
                f"two of the {kind}s given are named {definition.name!r}",
                "give each a name of its own",
            )
        seen.add(definition.name)
    return parsed


def _check_text(workflow: str, given: object) -> None:
    if not isinstance(given, str):
        raise InvalidInput(
            f"workflow {workflow!r}",
            f"a name is {shown(given)}",
            "give the name of a Step, or a storage key",
        )

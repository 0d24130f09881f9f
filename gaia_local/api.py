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
from typing import TYPE_CHECKING, Any, Never

from gaia_local.config import Config, check_keep_attempts, refuse_misplaced
from gaia_local.engine import sharing
from gaia_local.engine.calls import Questions
from gaia_local.engine.engine import Engine
from gaia_local.errors import Closed, InvalidInput, StorageError, shown
from gaia_local.http_errors import with_http_errors
from gaia_local.interrupts import defers_interrupts
from gaia_local.logger import set_up
from gaia_local.model.definitions import check_key_or_step, parse_commands, parse_steps
from gaia_local.model.names import as_stored, check_key
from gaia_local.model.paths import pop_path
from gaia_local.model.validation import check_list
from gaia_local.model.workflows import WorkflowState, check_properties, check_workflow_name
from gaia_local.monotonic import monotonic
from gaia_local.store import copying
from gaia_local.terminal_text import LINES, escaped

if TYPE_CHECKING:
    import networkx

    from gaia_local.model.answer_types import (
        CommandAnswer,
        Definitions,
        DeleteAnswer,
        DropAnswer,
        EventEntry,
        ExpireAnswer,
        Failure,
        HaltAnswer,
        KeyEntry,
        KeyExplanation,
        LatestAttempt,
        ListedWorkflow,
        MergeAnswer,
        RemoveAnswer,
        ReusableEntry,
        RunAnswer,
        StatusAnswer,
        StepAttempts,
        StepChanges,
        StepDefinition,
        StepExplanation,
        StepKeys,
        StepState,
        StepTable,
        Timeline,
        UpdateAnswer,
        UploadAnswer,
        WorkflowDetails,
        WorkflowGraph,
        WorkflowProgress,
        WorkflowsAnswer,
    )

logger = logging.getLogger("gaia_local")
set_up()

WAIT_CALL_SECONDS = 1.0
"""Seconds that one question whether a workflow is quiet takes at most; `wait` asks again."""


@with_http_errors
@defers_interrupts
class Gaia:
    """Runs workflows under one local root, with the methods and answers of a Gaia server's client.

    Its answers are described in `gaia_local.model.answer_types`.

    Thread-safe. All errors are `GaiaError` and `requests.HTTPError`. As a context manager it closes
    at the end of the block: after the running Steps, or at once if an exception leaves the block.
    """

    def __init__(self, config: Mapping[str, Any] | None = None, **misplaced: Never) -> None:
        """Check `config`, whose keys are on the page `configuration`; start nothing."""
        refuse_misplaced(misplaced)
        self._config = Config.parse(config)
        self._config.refuse_file()
        self._engine: Engine | None = sharing.share(self._config)

    # -- the client's methods ----------------------------------------------------------------------

    def workflows(self) -> WorkflowsAnswer:
        """All workflows, by name."""
        return {"workflows": self._opened.ask(lambda root: root.workflows())}

    def upload(
        self,
        workflow: str,
        properties: Mapping[str, Any],
        commands: list[dict[str, Any]],
        steps: list[dict[str, Any]],
    ) -> UploadAnswer:
        """Store a new workflow and start it; answers the names of its Steps as they were given."""
        name = check_workflow_name(workflow)
        checked = check_properties(name, properties)
        parsed_steps, parsed_commands = parse_steps(name, steps), parse_commands(name, commands)
        self._opened.change(lambda root: root.upload(name, checked, parsed_commands, parsed_steps))
        return {"workflow": {name: [step.name for step in parsed_steps]}}

    def command(self, workflow: str, commands: list[dict[str, Any]] | None = None) -> CommandAnswer:
        """Add or replace Commands and recompute their Steps; answers all of the workflow's."""
        name = check_workflow_name(workflow)
        parsed = parse_commands(name, [] if commands is None else commands)
        if parsed:
            self._opened.change(lambda root: root.command(name, parsed))
        return {"commands": self._opened.ask(lambda root: root.commands(name))}

    def merge(self, workflow: str, steps: list[dict[str, Any]] | None = None) -> MergeAnswer:
        """Add or replace Steps and start all that can run; answers their names as given."""
        name = check_workflow_name(workflow)
        parsed = parse_steps(name, [] if steps is None else steps)
        if parsed:
            self._opened.change(lambda root: root.merge(name, parsed))
        return {"steps": [step.name for step in parsed]}

    def update(
        self,
        workflow: str,
        commands: list[dict[str, Any]] | None = None,
        steps: list[dict[str, Any]] | None = None,
    ) -> UpdateAnswer:
        """Add or replace Commands and Steps at once, all or nothing; start all that can run.

        Answers all Commands of the workflow, and the names of these Steps as given.
        """
        name = check_workflow_name(workflow)
        parsed_commands = parse_commands(name, [] if commands is None else commands)
        parsed_steps = parse_steps(name, [] if steps is None else steps)
        if parsed_commands or parsed_steps:
            self._opened.change(lambda root: root.update(name, parsed_commands, parsed_steps))
        return {
            "commands": self._opened.ask(lambda root: root.commands(name)),
            "steps": [step.name for step in parsed_steps],
        }

    def definitions(self, workflow: str) -> Definitions:
        """All Commands and Steps of a workflow as they were given."""
        name = check_workflow_name(workflow)
        return self._opened.ask(lambda root: root.definitions(name))

    def remove(self, workflow: str, names: list[str], data: bool = False) -> RemoveAnswer:
        """Remove Steps, as they were given, and Commands that no other Step uses; all or nothing.

        What runs of them is cancelled. What they made stays, as files of the user that readers
        keep; with `data` it is removed, but in mapped buckets. A name that a Step and a Command
        have means the Step.
        """
        name = check_workflow_name(workflow)
        checked = check_list(name, "names", names)
        for each in checked:
            check_key_or_step(name, each)
        if checked:
            self._opened.change(lambda root: root.remove(name, checked, bool(data)))
        return {"remove": names}

    def run(self, workflow: str, dry_run: bool = False) -> RunAnswer:
        """Start all Steps that can run, failed ones included.

        With `dry_run` nothing is changed or started, and the answer has the Steps that would run,
        with the reasons.
        """
        name = check_workflow_name(workflow)
        if dry_run:
            return {"run": workflow, "would": self._opened.ask(lambda root: root.plan(name, None))}
        self._opened.change(lambda root: root.run(name))
        return {"run": workflow}

    def halt(self, workflow: str) -> HaltAnswer:
        """Cancel all running Tasks, and start no more."""
        name = check_workflow_name(workflow)
        self._opened.change(lambda root: root.halt(name))
        return {"halt": workflow}

    def status(self, workflow: str, debug: bool = False) -> StatusAnswer:
        """The server's answer, and beside it the flat one of the client's documentation.

        With `debug` the server's part also has ``tasks``, ``data`` and ``flow``, and ``doing``
        and ``usage`` as `progress` has. An unknown name is `initialized`, with nothing in it.
        """
        name = check_workflow_name(workflow)
        inner = self._opened.ask(lambda root: root.status(name, bool(debug)))
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

    def expire(self, workflow: str, keys: list[str], dry_run: bool = False) -> ExpireAnswer:
        """Make Steps, or the producers of storage keys, and all their dependents run again.

        With `dry_run` nothing is changed or started, and the answer has the Steps that would run,
        with the reasons.
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
            return {"expire": keys, "would": self._opened.ask(lambda root: root.plan(name, names))}
        self._opened.change(lambda root: root.expire(name, names))
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
        """Copy a Step's inputs to ``root/path_fn(internal path)``, and print its command.

        `root` is a directory, by default the current one. Raises `GaiaError` for an unknown Step or
        a missing input.
        """
        name = check_workflow_name(workflow)
        check_key_or_step(name, task_name)
        read = self._opened.ask(lambda root: root.inputs(name, task_name))
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
                copying.pull(str(source), Path(root or "."), target, follow=own)
            except OSError as error:
                raise StorageError(
                    f"input {key!r} can't be copied to {target}: {error.strerror}"
                ) from error
        text = " ".join(read["command"])
        # The client's documented behaviour.
        print(escaped(text, LINES) if sys.stdout.isatty() else text)  # noqa: T201

    def stage(
        self,
        workflow: str,
        step: str,
        directory: str | os.PathLike[str],
        inputs: Mapping[str, str | os.PathLike[str]] | None = None,
    ) -> Path:
        """Put what a Step would find, if it ran now, into a new or empty directory.

        Copies of its inputs, and the places for its outputs, are under ``tree`` at their internal
        paths. Answers the path of an executable script with the Step's command, in which these
        paths are those under ``tree``, so that it runs on this machine. `inputs` (storage key →
        file or directory) puts others in their places. Nothing of the root is changed.

        Raises `GaiaError` for an unknown Step, one that stands for several, one that doesn't fit
        its Command, a missing input, and a directory that isn't empty.
        """
        name = check_workflow_name(workflow)
        check_key_or_step(name, step)
        from gaia_local.engine import inside  # slow to import, and seldom needed

        return inside.stage(self._opened, name, step, directory, {} if inputs is None else inputs)

    # -- methods beside a server's -----------------------------------------------------------------

    def wait(self, workflow: str, timeout: float | None = None) -> StatusAnswer:
        """Block until nothing of a workflow runs, and return its `status`.

        Raises `TimeoutError` when that takes longer than `timeout` seconds.
        """
        name = check_workflow_name(workflow)
        if timeout is not None and (
            isinstance(timeout, bool) or not isinstance(timeout, int | float) or math.isnan(timeout)
        ):
            raise InvalidInput(
                f"workflow {name!r}", f"timeout is {shown(timeout)}", "give a number of seconds"
            )
        end = math.inf if timeout is None else monotonic() + timeout

        def is_quiet(root: Questions) -> bool:
            return root.wait(name, max(0.0, min(WAIT_CALL_SECONDS, end - monotonic())))

        while not self._opened.ask(is_quiet):
            if monotonic() >= end:
                raise TimeoutError(f"workflow {name!r} still runs after {timeout:g} s")
        return self.status(name)

    def events(self, workflow: str) -> list[EventEntry]:
        """The recorded events, oldest first: `event`, `workflow`, `time`, and facts of the kind."""
        name = check_workflow_name(workflow)
        return self._opened.ask(lambda root: root.events(name))

    def logs(self, workflow: str, step: str) -> str:
        """The output of the latest attempt at a Step, so far; empty if it never started."""
        name = check_workflow_name(workflow)
        check_key_or_step(name, step)
        log = self._opened.ask(lambda root: root.log(name, step))
        try:
            return "" if log is None else Path(log).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def progress(self, workflow: str) -> WorkflowProgress:
        """The state, and the numbers of all, done, running, failed and waiting Steps.

        If the workflow is complete and some Steps never ran, also their number: their outputs were
        found in the store. While large files are read or copied, also ``doing``: sentences on that.
        While Steps run that aren't short, also ``usage``: Step → its memory and CPU time so far.
        """
        name = check_workflow_name(workflow)
        return self._opened.ask(lambda root: root.progress(name))

    def failures(self, workflow: str) -> list[Failure]:
        """The failed Steps, with their errors and the reasons of their runs."""
        name = check_workflow_name(workflow)
        return self._opened.ask(lambda root: root.failures(name))

    def reusable(self) -> list[ReusableEntry]:
        """The results that Steps can be given instead of a run, by Command and image.

        They are those of all workflows of the root, whether `reuse` is on or off.
        """
        return self._opened.ask(lambda root: root.reusable())

    def graph(self, workflow: str) -> WorkflowGraph:
        """The Steps in the order of upload, and the edges between them.

        `version` is another text exactly when the Commands, the Steps or the edges are others.

        A Step's state is ``waiting`` (for inputs), ``ready`` (it would start, were the workflow
        running), ``queued``, ``running``, ``complete``, ``error`` or ``exception``.
        """
        name = check_workflow_name(workflow)
        return self._opened.ask(lambda root: root.graph(name))

    def digraph(self, workflow: str) -> networkx.DiGraph[str]:
        """The workflow at one moment, as a graph for the algorithms of networkx.

        Its nodes are the names of the Steps in the order of upload, with these attributes:

        - `command`, and `state` as in `graph`;
        - `inputs` and `outputs`, lists of storage keys. Keys that no Step makes, such as the user's
          files, are found here: they are neither nodes nor on edges;
        - `task`, `started` and `ended` of the latest attempt, in seconds since the epoch; None
          where it never ran, or hasn't begun or ended;
        - `duration` of the latest complete attempt, in seconds, even where that doesn't count any
          more; None where there is none.

        An edge leads from a Step to one that reads an output of it, a path inside of that or a
        directory around it; its attribute `keys` is the sorted list of the keys that are read. The
        graph's own attributes are the workflow's `name` and `state`. JSON can carry all of that,
        as `networkx.node_link_data` writes it.
        """
        import networkx  # which takes longer than most calls

        name = check_workflow_name(workflow)
        answer = self._opened.ask(lambda root: root.digraph(name))
        graph: networkx.DiGraph[str] = networkx.DiGraph(name=name, state=answer["state"])
        for step, facts in answer["steps"].items():
            graph.add_node(step, **facts)
        for edge in answer["edges"]:
            graph.add_edge(edge["from"], edge["to"], keys=edge["keys"])
        return graph

    def timeline(self, workflow: str) -> Timeline:
        """All attempts at all Steps, oldest first.

        Times are in seconds since the epoch (None: not yet), workers have numbers from 1 on.
        """
        name = check_workflow_name(workflow)
        return self._opened.ask(lambda root: root.timeline(name))

    def listed(self, workflow: str) -> ListedWorkflow:
        """One workflow as `workflows` has it, and its `progress`, both from the same moment."""
        name = check_workflow_name(workflow)
        return self._opened.ask(lambda root: root.listed(name))

    def details(self, workflow: str) -> WorkflowDetails:
        """What there is to say of a workflow as a whole, all from the same moment.

        That is its `state`, `progress`, `failures` and `waiting-inputs`, if there is trouble the
        `error`, and the `usage` of what runs. Unlike `status` it has no Commands, and is cheap to
        ask for again and again.
        """
        name = check_workflow_name(workflow)
        return self._opened.ask(lambda root: root.details(name))

    def step_changes(self, workflow: str, since: str | None = None) -> StepChanges:
        """The Steps that changed since an earlier answer, whose `now` is given as `since`.

        They are as in `step_states`. The answer is `whole`, and has all Steps, without `since`,
        if a Step was removed, or if the workflow was read anew since then. `version` tells whether
        the `graph` is another one. Who follows a workflow asks at each notice of `subscribe`: the
        answer costs what changed, however large the workflow is.
        """
        name = check_workflow_name(workflow)
        if since is not None and not isinstance(since, str):
            raise InvalidInput(
                f"workflow {name!r}",
                f"since is {shown(since)}",
                "give the 'now' of an earlier answer, or None",
            )
        return self._opened.ask(lambda root: root.step_changes(name, since))

    def step_states(self, workflow: str) -> dict[str, StepState]:
        """Each Step's state as `graph` has it, and its latest Task's id (None: it never ran).

        Also that Task's times in seconds since the epoch (None: not yet), and whether it was given
        results of another one.
        """
        name = check_workflow_name(workflow)
        return self._opened.ask(lambda root: root.step_states(name))

    def attempt(self, workflow: str, step: str, task: str | None = None) -> LatestAttempt:
        """The latest attempt at a Step, or the one whose id is `task`.

        All values are None if the Step never ran. The state is ``queued``, ``running``,
        ``complete``, ``error``, ``exception``, ``cancelled`` or ``interrupted``; `log` is the path
        of its log, which doesn't exist before the attempt began. Raises `InvalidInput` for a `task`
        that is no attempt at the Step, or was dropped with its log, as `keep_attempts` has it.
        """
        name = check_workflow_name(workflow)
        check_key_or_step(name, step)
        if task is not None and not isinstance(task, str):
            raise InvalidInput("attempt, task", f"it is {shown(task)}", "give the id of an attempt")
        return self._opened.ask(lambda root: root.attempt(name, step, task))

    def attempts(self, workflow: str, step: str) -> StepAttempts:
        """All attempts at a Step that are kept, the newest first."""
        name = check_workflow_name(workflow)
        check_key_or_step(name, step)
        return self._opened.ask(lambda root: root.attempts(name, step))

    def table(self, workflow: str) -> StepTable:
        """A row for each Step, in the order of upload: its state and why, times, CPU, memory."""
        name = check_workflow_name(workflow)
        return self._opened.ask(lambda root: root.table(name))

    def definition(self, workflow: str, step: str) -> StepDefinition:
        """A Step as it was submitted, and the Steps that it became, with their tokens and keys.

        `step` may also be the name of one that it became: then only that one is answered.
        """
        name = check_workflow_name(workflow)
        check_key_or_step(name, step)
        return self._opened.ask(lambda root: root.definition(name, step))

    def explain(self, workflow: str, name: str) -> StepExplanation | KeyExplanation:
        """The reasons why a Step ran last, and would or wouldn't run now; or a key's origin.

        For a Step's input directories that have changed since it read them, the answer has the
        files that were added, changed and removed.
        """
        checked = check_workflow_name(workflow)
        check_key_or_step(checked, name)
        return self._opened.ask(lambda root: root.explain(checked, name))

    def keys(self, workflow: str, step: str) -> StepKeys:
        """The storage keys that a Step reads and makes, as the engine knows them.

        No file is looked at: `explain` does that, and takes longer.
        """
        name = check_workflow_name(workflow)
        check_key_or_step(name, step)
        return self._opened.ask(lambda root: root.keys(name, step))

    def key(self, workflow: str, key: str) -> KeyEntry:
        """One storage key that a Step of a workflow reads or makes; see `keys`."""
        name = check_workflow_name(workflow)
        check_key_or_step(name, key)
        return self._opened.ask(lambda root: root.key(name, key))

    def delete(self, workflow: str, data: bool = False) -> DeleteAnswer:
        """Stop and forget a workflow and its logs; with `data` also its files (not in buckets)."""
        with as_stored():
            name = check_workflow_name(workflow)
        self._opened.change(lambda root: root.delete(name, bool(data)))
        return {"delete": workflow}

    def drop_attempts(self, keep: int | None = None, older: float | None = None) -> DropAnswer:
        """Drop attempts beyond the newest `keep` of each Step, and those that ended long ago.

        Ended longer ago than `older` seconds, that is. Each goes with its events and its log. The
        latest of each Step stays, and so does what still runs and what made a file in the store.
        """
        keep = check_keep_attempts("drop_attempts, keep", keep)
        before = None if older is None else time.time() - _seconds("drop_attempts, older", older)
        if keep is None and before is None:
            raise InvalidInput("drop_attempts", "it has neither keep nor older", "give one of them")
        return self._opened.change(lambda root: root.drop_attempts(keep, before))

    def own(self) -> None:
        """Make this process the root's owner now, which otherwise its first change does.

        Raises `RootInUse` if another process is; that one answers this one's calls.
        """
        self._opened.own()

    def path(self, workflow: str, key: str) -> Path:
        """The path of a storage key of a workflow."""
        name = check_workflow_name(workflow)
        check_key_or_step(name, key)
        check_key(f"workflow {name!r}", key)
        return Path(self._opened.ask(lambda root: root.path(name, key)))

    def subscribe(self, tell: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """Call `tell` with the names of changed workflows; answers a function that ends that.

        This process becomes the root's owner, as with `own`. `tell` is called in the engine's
        threads: it must not block.
        """
        return self._opened.scheduler.subscribe(tell)

    def lost(self) -> str | None:
        """The reason if the root was removed or replaced, and can't be used any more; else None.

        It is noticed while files are watched (`watch`); subscribers are called then.
        """
        return self._opened.lost

    def close(self, wait: bool = True) -> None:
        """Release the root, after all workflows are quiet, or (`wait=False`) halted and resumable.

        `wait=False` stops all Tasks under the root, also those started through other objects of
        this process; the root itself is kept as long as another `Gaia` of this process uses it.
        Idempotent.
        """
        ours, self._engine = self._engine, None
        if ours is not None:
            sharing.leave(ours, wait)

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
        return (
            f"Gaia(root={os.fspath(self._config.root)!r}, runtime={self._config.runtime!r},"
            f" workers={self._config.workers})"
        )

    def _repr_html_(self) -> str:
        """For notebooks: the workflows of the root, with state and progress."""
        from gaia_local.pictures.tables import workflows_table

        if self._engine is None:
            return workflows_table(f"{self!r}, closed", {})
        return workflows_table(
            repr(self), {name: self.progress(name) for name in self.workflows()["workflows"]}
        )

    @property
    def root(self) -> Path:
        """The root's directory, as it was given."""
        return Path(self._config.root)

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise Closed("this Gaia was closed")
        return self._engine


def _seconds(where: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1e12:
        raise InvalidInput(where, f"it is {shown(given)}", "give a number of seconds from 0 up")
    return float(given)

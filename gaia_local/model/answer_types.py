"""The types of all answers, of `Gaia` and of the status page's server: which keys they have.

Imported for types alone, so that no program waits for them. Times are seconds since the epoch.
"""

# No `from __future__ import annotations`: with it a TypedDict takes `NotRequired` for required.
from collections.abc import Sequence
from typing import Any, NotRequired, TypeAlias, TypedDict, final

Definition: TypeAlias = dict[str, Any]
"""A Command or a Step as it was given."""

# -- the answers of the client's methods --------------------------------------------------------

WorkflowEntry = TypedDict(
    "WorkflowEntry",
    {"name": str, "state": str, "properties": dict[str, Any], "step-count": int},
)
"""A workflow in a list."""


class WorkflowsAnswer(TypedDict):
    """Of `Gaia.workflows`: name → workflow."""

    workflows: dict[str, WorkflowEntry]


class UploadAnswer(TypedDict):
    """Of `Gaia.upload`: the one workflow → the names of its Steps as they were given."""

    workflow: dict[str, list[str]]


class CommandAnswer(TypedDict):
    """Of `Gaia.command`: name → Command, all of the workflow's."""

    commands: dict[str, Definition]


class MergeAnswer(TypedDict):
    """Of `Gaia.merge`: the names of the Steps as they were given."""

    steps: list[str]


class UpdateAnswer(CommandAnswer):
    """Of `Gaia.update`: all Commands, and the names of the Steps as they were given."""

    steps: list[str]


class RemoveAnswer(TypedDict):
    """Of `Gaia.remove`: the names as they were given."""

    remove: list[str]


class Definitions(TypedDict):
    """Of `Gaia.definitions`: name → definition, in the order of upload."""

    commands: dict[str, Definition]
    steps: dict[str, Definition]


class ReusedEntry(TypedDict):
    """The Task whose results another one was given instead of a run; `task` is its id."""

    workflow: str
    step: str
    task: str


class ReusableEntry(TypedDict):
    """Of `Gaia.reusable`: the results of one Command that there are to be reused.

    `results` is their number, and `bytes` the size of their files: equal ones count once.
    """

    command: str
    image: str
    results: int
    bytes: int
    workflows: list[str]


class PlannedStep(TypedDict):
    """A Step that would run, and why.

    `reuse`, with `reuse` in the configuration: the Task whose results it would be given.
    """

    step: str
    reason: str
    reuse: NotRequired[ReusedEntry]


class RunAnswer(TypedDict):
    """Of `Gaia.run`; `would` only for a dry run."""

    run: str
    would: NotRequired[list[PlannedStep]]


class HaltAnswer(TypedDict):
    """Of `Gaia.halt`."""

    halt: str


class ExpireAnswer(TypedDict):
    """Of `Gaia.expire`; `would` only for a dry run."""

    expire: list[str]
    would: NotRequired[list[PlannedStep]]


class DeleteAnswer(TypedDict):
    """Of `Gaia.delete`."""

    delete: str


class DropAnswer(TypedDict):
    """Of `Gaia.drop_attempts`."""

    attempts: int
    """The number of attempts that were dropped."""
    steps: int
    """The number of Steps of which they were."""
    bytes: int
    """The size of their logs."""


class TaskEntry(TypedDict):
    """A Step's latest Task; `inputs` and `outputs` are pairs of storage key and internal path."""

    id: str
    name: str
    workflow: str
    image: str
    command: list[str]
    inputs: list[list[str]]
    outputs: list[list[str]]
    timeout: float
    state: str
    reused: NotRequired[ReusedEntry]


class DataEntry(TypedDict):
    """A storage key with its state and its path."""

    state: str
    key: str
    path: str
    url: str
    workflow: str


class FlowEntry(TypedDict):
    """The keys that a Step reads and makes, and the Steps that it comes after."""

    inputs: list[str]
    outputs: list[str]
    after: list[str]


class LiveUsage(TypedDict):
    """What a running Step took so far; None where nobody can measure it.

    `memory` is the most that it held, in bytes, and `cpu` its CPU time in seconds.
    """

    memory: int | None
    cpu: float | None


ServerStatus = TypedDict(
    "ServerStatus",
    {
        "state": str,
        "commands": dict[str, Definition],
        "waiting-inputs": list[str],
        "error": NotRequired[str],
        "tasks": NotRequired[dict[str, TaskEntry]],
        "data": NotRequired[dict[str, DataEntry]],
        "flow": NotRequired[dict[str, FlowEntry]],
        "unfit": NotRequired[dict[str, str]],
        "doing": NotRequired[list[str]],
        "usage": NotRequired[dict[str, LiveUsage]],
    },
)
"""As a server answers it: `error` if nothing can be stored, the others with `debug`.

`unfit` has the Steps that don't fit their Commands, if there are any, and what each lacks. `doing`
and `usage` as in `WorkflowProgress`.
"""

StatusAnswer = TypedDict(
    "StatusAnswer",
    {
        "workflow": str,
        "status": ServerStatus,
        "state": str,
        "commands": list[Definition],
        "waiting-inputs": list[str],
    },
)
"""Of `Gaia.status` and `Gaia.wait`."""

# -- the answers of the other methods -----------------------------------------------------------


class StepCounts(TypedDict):
    """The number of Steps, in all and in each state; the others as in `WorkflowProgress`."""

    steps: int
    done: int
    running: int
    failed: int
    waiting: int
    found: NotRequired[int]
    reused: NotRequired[int]
    ran: NotRequired[int]
    unfit: NotRequired[int]
    lacks: NotRequired[str]


class WorkflowProgress(StepCounts):
    """Of `Gaia.progress`: a workflow's state, and numbers of its Steps.

    `found`, of a complete workflow: the number of Steps that never ran, since their outputs were in
    the store. `reused`, if there are any: the number of Steps that are done since they were given
    the results of other Tasks, and `ran`: of those that are done and ran. `unfit`, if there are
    any: the number of Steps that don't fit their Commands, and `lacks`: what the first of them
    lacks, as a refusal would say it. `doing`: sentences on the copying and reading of files that
    takes long just now, as "Step 's' is reading input 'a': 12 of 60 GB". `usage`: Step → what its
    run took so far, for those that ran long enough to be looked at.
    """

    state: str
    doing: NotRequired[list[str]]
    usage: NotRequired[dict[str, LiveUsage]]


ListedWorkflow = TypedDict(
    "ListedWorkflow",
    {
        "name": str,
        "state": str,
        "properties": dict[str, Any],
        "step-count": int,
        "progress": StepCounts,
        "started": float | None,
        "ended": float | None,
    },
)
"""Of `Gaia.listed`: a workflow as `Gaia.workflows` has it, as it is now, and its progress.

`started` and `ended` are when it last ran, in seconds since the epoch: the end is None as long as
it runs. Of one that hasn't run since the root was opened only the end of its last Step is known.
"""


class KeptDirectory(TypedDict):
    """The private directory of a failed attempt; `path`/tree is what was the program's ``/``."""

    path: str
    task: str
    bytes: int


class Failure(TypedDict):
    """A Step that failed, and why it ran."""

    step: str
    state: str
    exit_code: int | None
    message: str | None
    reason: str
    kept: NotRequired[list[KeptDirectory]]
    """Private directories of its failed attempts, the newest first, if any is kept."""


class GraphStep(TypedDict):
    """A Step: its state is that of its latest attempt if that runs or failed, else its own."""

    step: str
    command: str
    state: str


GraphEdge = TypedDict("GraphEdge", {"from": str, "to": str, "keys": list[str]})
"""The keys that lead from one Step to another."""


WorkflowDetails = TypedDict(
    "WorkflowDetails",
    {
        "workflow": str,
        "state": str,
        "progress": StepCounts,
        "failures": list[Failure],
        "waiting-inputs": list[str],
        "error": NotRequired[str],
        "usage": NotRequired[dict[str, LiveUsage]],
    },
)
"""Of `Gaia.details`, which is the answer of ``GET /api/workflows/NAME``.

`error` is as in `ServerStatus`, `usage` as in `WorkflowProgress`.
"""


class WorkflowGraph(TypedDict):
    """Of `Gaia.graph`: the Steps in the order of upload, and the edges between them.

    `version` is another one exactly when Commands, Steps or edges are.
    """

    workflow: str
    state: str
    version: str
    steps: list[GraphStep]
    edges: list[GraphEdge]


class DigraphStep(TypedDict):
    """A Step in `Gaia.digraph`: the attributes of its node.

    `inputs` and `outputs` are storage keys. `task`, `started` and `ended` are those of the latest
    attempt, `duration` is that of the latest complete one, in seconds; None where there is no such
    attempt, or it hasn't begun or ended.
    """

    command: str
    state: str
    task: str | None
    started: float | None
    ended: float | None
    duration: float | None
    inputs: list[str]
    outputs: list[str]


class WorkflowDigraph(TypedDict):
    """The data of `Gaia.digraph`: name → Step, in the order of upload, and the edges."""

    workflow: str
    state: str
    steps: dict[str, DigraphStep]
    edges: list[GraphEdge]


class UsageEntry(TypedDict):
    """What one attempt took; None where nobody could measure it.

    `staging`, `running` and `publishing` are wall time, `cpu_user` and `cpu_system` CPU time of the
    program and its children, all in seconds. `memory` is the most that they held; `read` and
    `written` are their input and output, `received` and `sent` the network's, all in bytes.
    """

    staging: float | None
    running: float | None
    publishing: float | None
    cpu_user: float | None
    cpu_system: float | None
    memory: int | None
    read: int | None
    written: int | None
    received: int | None
    sent: int | None


class TimelineAttempt(TypedDict):
    """One attempt at a Step.

    `command` is None if the Step is gone; `worker` is a number from 1 on. `usage` is None of one
    that didn't end by itself, or ran before it was measured.
    """

    step: str
    command: str | None
    task: str
    state: str
    reason: str
    worker: int | None
    queued: float
    started: float | None
    ended: float | None
    exit_code: int | None
    message: str | None
    usage: UsageEntry | None
    reused: NotRequired[ReusedEntry]


class Timeline(TypedDict):
    """Of `Gaia.timeline`: all attempts at all Steps, the oldest first."""

    workflow: str
    attempts: list[TimelineAttempt]


class StepState(TypedDict):
    """A Step's state as in `GraphStep`, and its latest Task's id (None: it never ran).

    `started` and `ended` are that Task's, in seconds since the epoch (None: not yet); `reused` says
    that it was given the results of another.
    """

    state: str
    task: str | None
    started: float | None
    ended: float | None
    reused: NotRequired[bool]


class StepChanges(TypedDict):
    """Of `Gaia.step_changes`: all Steps if `whole`, else those that changed, without removed ones.

    `now` is for the next call, `version` as in `WorkflowGraph`.
    """

    steps: dict[str, StepState]
    whole: bool
    now: str
    version: str


class LatestAttempt(TypedDict):
    """Of `Gaia.attempt`: the latest or the one asked for, its log's path; None: it never ran."""

    task: str | None
    state: str | None
    log: str | None


class TaskRecord(TypedDict):
    """The record of one attempt at a Step; `inputs` are the keys it read, with their digests.

    `usage` as in `TimelineAttempt`. A digest is BLAKE2b of 128 bits, in hexadecimal digits.
    """

    task: str
    step: str
    reason: str
    state: str
    started: float | None
    ended: float | None
    elapsed: float | None
    exit_code: int | None
    message: str | None
    image: str
    image_id: str | None
    command: list[str]
    inputs: dict[str, str | None]
    outputs: list[str]
    usage: UsageEntry | None
    reused: NotRequired[ReusedEntry]


class AttemptRecord(TaskRecord):
    """One of all kept attempts at a Step; `number` counts them, from 1 for the oldest.

    `worker` is as in `TimelineAttempt`; `has_log` is false if nothing was printed, or it didn't
    begin.
    """

    number: int
    queued: float
    worker: int | None
    has_log: bool


class StepAttempts(TypedDict):
    """Of `Gaia.attempts`: all attempts at a Step that are kept, the newest first."""

    workflow: str
    step: str
    attempts: list[AttemptRecord]


class StepRow(TypedDict):
    """A Step in `Gaia.table`; its state is as in `GraphStep`.

    `reason` says in few words why it is in that state or, if it is running or complete, why it ran.
    `task`, `started`, `ended` and `elapsed` are those of the latest attempt; `duration` is what the
    latest complete one took, in seconds. `cpu` (in seconds) and `memory` (the most, in bytes) are
    those of the latest attempt, so far if it runs. None where there is no such attempt, or nobody
    measured it. `attempts` is the number of those that are kept.
    """

    step: str
    command: str
    state: str
    reason: str
    task: str | None
    started: float | None
    ended: float | None
    elapsed: float | None
    duration: float | None
    cpu: float | None
    memory: int | None
    attempts: int


class StepTable(TypedDict):
    """Of `Gaia.table`: a row for each Step, in the order of upload."""

    workflow: str
    state: str
    steps: list[StepRow]


class ConcreteStep(TypedDict):
    """A Step that runs, with all vars filled in.

    `inputs` and `outputs` are pairs of storage key and internal path. If it doesn't fit its
    Command, `unfit` says what it lacks, and the rest is as it last fitted.
    """

    step: str
    command: str
    image: str
    tokens: list[str]
    inputs: list[list[str]]
    outputs: list[list[str]]
    vars: dict[str, Any]
    timeout: float
    unfit: str | None


class StepDefinition(TypedDict):
    """Of `Gaia.definition`: a Step as it was `submitted` under its `name`, and what it became.

    `commands` has its Command and, if that is composite, all that this uses.
    """

    workflow: str
    step: str
    name: str
    submitted: Definition
    commands: dict[str, Definition]
    became: list[ConcreteStep]


class ChangedFiles(TypedDict):
    """The paths in a directory that differ from those a Step read."""

    added: list[str]
    changed: list[str]
    removed: list[str]


@final
class StepExplanation(TypedDict):
    """Of `Gaia.explain`, of a Step: its last run, and the reason why it would or wouldn't run now.

    `waits_for` holds keys with the Steps that make them, `changed` the input directories that
    differ from the ones the Step read.
    """

    workflow: str
    step: str
    last: TaskRecord | None
    would_run: bool
    because: str
    waits_for: dict[str, list[str]]
    reads: list[str]
    makes: list[str]
    changed: dict[str, ChangedFiles]


@final
class KeyExplanation(TypedDict):
    """Of `Gaia.explain`, of a storage key: the Step that makes it, and the Steps that read it.

    `made` is the attempt that made its present file; None: no Step did. `digest` is BLAKE2b of 128
    bits, in hexadecimal digits.
    """

    workflow: str
    key: str
    path: str
    state: str
    because: str | None
    digest: str | None
    made_by: str | None
    read_by: list[str]
    made: TaskRecord | None


@final
class KeyEntry(TypedDict):
    """Of `Gaia.keys`: one storage key, as the engine knows it; no file was looked at.

    `path` is that of its file or directory, below `top`: the directory of the workflow's keys, or
    of a mapped bucket. `because` says why it isn't complete; `digest` is BLAKE2b of 128 bits, in
    hexadecimal digits, of what was recorded.
    """

    key: str
    path: str
    top: str
    state: str
    because: str | None
    digest: str | None
    made_by: list[str]
    read_by: list[str]


@final
class StepKeys(TypedDict):
    """Of `Gaia.keys`: the storage keys that a Step reads and makes."""

    inputs: list[KeyEntry]
    outputs: list[KeyEntry]


class EventEntry(TypedDict):
    """An event; each kind has some of the optional keys.

    `id` is that of a Task, `task` the name of its Step; `log` are the last lines of its log.
    """

    event: str
    workflow: str
    time: float
    id: NotRequired[str]
    task: NotRequired[str]
    reason: NotRequired[str]
    worker: NotRequired[int]
    host: NotRequired[str]
    attempt: NotRequired[int]
    key: NotRequired[str]
    path: NotRequired[str]
    inputs: NotRequired[dict[str, str | None]]
    outputs: NotRequired[dict[str, str]]
    command: NotRequired[Sequence[str]]
    image_id: NotRequired[str | None]
    elapsed: NotRequired[float]
    code: NotRequired[int | None]
    message: NotRequired[str | None]
    exception: NotRequired[str | None]
    log: NotRequired[str]


class StepInputs(TypedDict):
    """A Step's tokens, and of each input: key, internal path, path here, if it is a user's own."""

    command: list[str]
    inputs: list[tuple[str, str, str, bool]]


class StepTask(TypedDict):
    """The Task that a Step would run now, and the path here of each input."""

    id: str
    reason: str
    definition: str
    """As the state file has it."""
    sources: dict[str, str]


# -- the answers to the status page, beside some of those above ---------------------------------


class WorkflowList(TypedDict):
    """Of ``GET /api/workflows``: name → workflow."""

    workflows: dict[str, ListedWorkflow]


class LogPiece(TypedDict):
    """Of ``GET /api/workflows/NAME/log``: a piece of the log of one attempt, the `task`.

    `next` is the offset of the next piece; `over` says that this is the last one; `size` is that of
    the whole log so far. Offsets and sizes are in bytes.
    """

    text: str
    next: int
    over: bool
    task: str | None
    size: int


class LogLine(TypedDict):
    """A line of a log: where it begins, its text, and the bytes of it that the text lacks."""

    offset: int
    text: str
    more: int


class LogLines(TypedDict):
    """Of ``GET /api/workflows/NAME/log/lines``: lines of one attempt's log, from number `first` on.

    `lines` is the number of all lines so far, and `size` of all bytes; `over` says that there will
    be no more. `style` holds the escape sequences before the first one that set its colours.
    """

    lines: int
    size: int
    over: bool
    task: str | None
    first: int
    style: str
    rows: list[LogLine]


class LogMatches(TypedDict):
    """Of ``GET /api/workflows/NAME/log/search``: where a text occurs in a part of a log.

    `count` is the number of its occurrences between `from` and `next`, where the next call goes on;
    `over` says that all that is written so far was searched. `matches` has the ``[line, byte]`` of
    1,000 of them at most.
    """

    count: int
    matches: list[list[int]]
    next: int
    over: bool
    task: str | None
    size: int


class Plan(TypedDict):
    """Of ``POST /api/workflows/NAME/plan``: the Steps that `expire` or `run` `would` run.

    Of those, `complete` are complete now, `running` run now and would be stopped, and `reused`
    would be given results. `seconds` is what the latest complete runs of the others took in sum, of
    those `timed` ones that have any.
    """

    would: list[PlannedStep]
    complete: int
    running: int
    reused: int
    timed: int
    seconds: float


class FollowedChanges(TypedDict):
    """The Steps of one workflow that changed (None: removed), in an event of ``GET /api/stream``.

    `graph` is the `version` in `WorkflowGraph`, if that changed, and at first.
    """

    steps: dict[str, StepState | None]
    graph: NotRequired[str]


class WorkflowChanges(FollowedChanges):
    """Of ``GET /api/stream?workflow=NAME``: also the workflows that changed (None: removed)."""

    workflows: dict[str, ListedWorkflow | None]


class ManyChanges(TypedDict):
    """Of ``GET /api/stream?follow=NAME&follow=…``: as `WorkflowChanges`, for several workflows."""

    workflows: dict[str, ListedWorkflow | None]
    followed: dict[str, FollowedChanges]

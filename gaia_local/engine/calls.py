"""The calls that a root takes, each defined here once, for all callers and all ways to the root.

`Engine` chooses at each call one of three ways:
- this process owns the root: `Scheduler` makes the changes, and `RootReader` answers the questions
  from the scheduler's memory;
- another process owns it: `remote_root` sends the call there, where it is made in the first way;
- no owner can be asked: `RootReader` answers the questions from the rows, read by a `Snapshot`.

Other processes can make the calls that are marked here, and nothing else. The caller (`Gaia`) has
checked names and types. Answers can be written as JSON; Commands and Steps among the arguments are
sent as the definitions from which they were parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, overload

from gaia_local.errors import InvalidInput
from gaia_local.model.commands import AnyCommand, Command
from gaia_local.model.steps import Step

if TYPE_CHECKING:
    from gaia_local.model.answer_types import (
        Definition,
        Definitions,
        DropAnswer,
        EventEntry,
        Failure,
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

Method = TypeVar("Method", bound=Callable[..., Any])


class RemoteCall(NamedTuple):
    """A call's name and parameters, and its properties beside its types."""

    name: str
    parameters: tuple[str, ...]
    changes: bool
    idempotent: bool
    """Whether it may be repeated if the first try may have taken effect."""

    def make(self, root: object, arguments: Mapping[str, Any]) -> Any:
        """Make the call of `root`, with arguments from another process."""
        if arguments.keys() != set(self.parameters):
            raise InvalidInput(
                "a call from another process",
                f"{self.name!r} was given {', '.join(sorted(arguments)) or 'nothing'}",
                f"it takes {', '.join(self.parameters) or 'nothing'}; use the same version",
            )
        given = from_wire(arguments)
        return getattr(root, self.name)(*(given[name] for name in self.parameters))


REMOTE_CALLS: dict[str, RemoteCall] = {}
"""Name → call, of all marked ones."""


def read(method: Method) -> Method:
    """Mark a call that changes nothing."""
    return _marked(method, changes=False, idempotent=True)


@overload
def change(method: Method) -> Method: ...
@overload
def change(*, idempotent: bool) -> Callable[[Method], Method]: ...
def change(method: Any = None, *, idempotent: bool = True) -> Any:
    """Mark a call that changes the root, which only its owner can make."""
    if method is None:
        return lambda method: _marked(method, changes=True, idempotent=idempotent)
    return _marked(method, changes=True, idempotent=idempotent)


def _marked(method: Method, changes: bool, idempotent: bool) -> Method:
    assert isinstance(method, FunctionType)
    code = method.__code__
    parameters = code.co_varnames[1 : code.co_argcount]
    REMOTE_CALLS[method.__name__] = RemoteCall(method.__name__, parameters, changes, idempotent)
    return method


class Questions(Protocol):
    """The calls that read a root."""

    @read
    def workflows(self, /) -> dict[str, WorkflowEntry]:
        """See `Gaia.workflows`."""

    @read
    def commands(self, workflow: str, /) -> dict[str, Definition]:
        """Name → definition, of all Commands; empty if there is no such workflow."""

    @read
    def definitions(self, workflow: str, /) -> Definitions:
        """See `Gaia.definitions`."""

    @read
    def status(self, workflow: str, debug: bool, /) -> ServerStatus | None:
        """The inner dictionary of `Gaia.status`; None if there is no such workflow."""

    @read
    def wait(self, workflow: str, timeout: float, /) -> bool:
        """Whether it is quiet now or becomes so within at most `timeout` seconds."""

    @read
    def plan(self, workflow: str, keys: list[str] | None, /) -> list[PlannedStep]:
        """The Steps that `run`, or (with keys) `expire`, would run: ``[{"step", "reason"}]``."""

    @read
    def events(self, workflow: str, /) -> list[EventEntry]:
        """See `Gaia.events`."""

    @read
    def log(self, workflow: str, step: str, /) -> str | None:
        """The path of the log of a Step's latest attempt; None if it has none."""

    @read
    def progress(self, workflow: str, /) -> WorkflowProgress:
        """See `Gaia.progress`."""

    @read
    def failures(self, workflow: str, /) -> list[Failure]:
        """See `Gaia.failures`."""

    @read
    def graph(self, workflow: str, /) -> WorkflowGraph:
        """See `Gaia.graph`."""

    @read
    def digraph(self, workflow: str, /) -> WorkflowDigraph:
        """The data of `Gaia.digraph`."""

    @read
    def timeline(self, workflow: str, /) -> Timeline:
        """See `Gaia.timeline`."""

    @read
    def step_states(self, workflow: str, /) -> dict[str, StepState]:
        """See `Gaia.step_states`."""

    @read
    def listed(self, workflow: str, /) -> ListedWorkflow:
        """See `Gaia.listed`."""

    @read
    def details(self, workflow: str, /) -> WorkflowDetails:
        """See `Gaia.details`."""

    @read
    def step_changes(self, workflow: str, since: str | None, /) -> StepChanges:
        """See `Gaia.step_changes`."""

    @read
    def attempt(self, workflow: str, step: str, task: str | None, /) -> LatestAttempt:
        """See `Gaia.attempt`."""

    @read
    def attempts(self, workflow: str, step: str, /) -> StepAttempts:
        """See `Gaia.attempts`."""

    @read
    def table(self, workflow: str, /) -> StepTable:
        """See `Gaia.table`."""

    @read
    def definition(self, workflow: str, step: str, /) -> StepDefinition:
        """See `Gaia.definition`."""

    @read
    def explain(self, workflow: str, name: str, /) -> StepExplanation | KeyExplanation:
        """See `Gaia.explain`."""

    @read
    def keys(self, workflow: str, step: str, /) -> StepKeys:
        """See `Gaia.keys`."""

    @read
    def key(self, workflow: str, key: str, /) -> KeyEntry:
        """See `Gaia.key`."""

    @read
    def inputs(self, workflow: str, step: str, /) -> StepInputs:
        """A Step's inputs, and the tokens of its command."""

    @read
    def task(self, workflow: str, step: str, /) -> StepTask:
        """The Task that a Step would run now, whether it has to or not."""

    @read
    def reusable(self, /) -> list[ReusableEntry]:
        """See `Gaia.reusable`."""

    @read
    def path(self, workflow: str, key: str, /) -> str:
        """The path of a storage key's file."""


class Changes(Protocol):
    """The calls that change a root."""

    @change(idempotent=False)
    def upload(
        self,
        workflow: str,
        properties: Mapping[str, Any],
        commands: list[AnyCommand],
        steps: list[Step],
        /,
    ) -> None:
        """See `Gaia.upload`."""

    @change
    def command(self, workflow: str, commands: list[AnyCommand], /) -> None:
        """See `Gaia.command`."""

    @change
    def merge(self, workflow: str, steps: list[Step], /) -> None:
        """See `Gaia.merge`."""

    @change
    def update(self, workflow: str, commands: list[AnyCommand], steps: list[Step], /) -> None:
        """See `Gaia.update`."""

    @change(idempotent=False)
    def remove(self, workflow: str, names: list[str], data: bool, /) -> None:
        """See `Gaia.remove`."""

    @change
    def run(self, workflow: str, /) -> None:
        """See `Gaia.run`."""

    @change
    def halt(self, workflow: str, /) -> None:
        """See `Gaia.halt`."""

    @change
    def expire(self, workflow: str, keys: list[str], /) -> None:
        """See `Gaia.expire`."""

    @change(idempotent=False)
    def delete(self, workflow: str, data: bool, /) -> None:
        """See `Gaia.delete`."""

    @change
    def drop_attempts(self, keep: int | None, before: float | None, /) -> DropAnswer:
        """See `Gaia.drop_attempts`; `before` is a time in seconds since the epoch."""


class Root(Questions, Changes, Protocol):
    """All calls."""


def to_wire(value: object) -> Any:
    """The definition of a Command or a Step, which JSON can hold."""
    if isinstance(value, Step) or hasattr(value, "definition"):
        return value.definition
    raise TypeError(f"{type(value).__name__} can't be sent to another process")


def from_wire(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call as they were before `to_wire`."""
    workflow = str(arguments.get("workflow"))
    given = dict(arguments)
    if "commands" in given:
        given["commands"] = [Command.parse(workflow, command) for command in given["commands"]]
    if "steps" in given:
        given["steps"] = [Step.parse(workflow, step) for step in given["steps"]]
    return given

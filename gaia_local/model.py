"""The words of Gaia as frozen values, and the checks that every value passes on its way in.

`Command.parse`, `CompositeCommand.parse` and `Step.parse` take the JSON the client sends and raise `InvalidInput` with
the name of what is wrong. Behind them, code may rely on the types written here.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from gaia_local.controls import holds_controls
from gaia_local.errors import InvalidInput, nearest, shown
from gaia_local.given import (
    Value,
    as_json,
    check_text,
    read_defaults,
    read_mapping,
    read_names,
    read_texts,
    read_value,
    read_value_or_array,
    render_value,
    shared_text,
)
from gaia_local.keys import Capture, InternalPath, StorageKey
from gaia_local.paths import is_inside
from gaia_local.resources import NONE, Resources

if TYPE_CHECKING:
    from gaia_local.answer_types import TaskEntry

DEFAULT_TIMEOUT = 3600.0
MAX_TIMEOUT = 1e18

OWN = ".gaia-local"
"""How the names of the engine's own files begin: they are no part of any tree, and no key may name one."""

_SYSTEM_DIRECTORIES = ("/dev", "/proc", "/sys")
_NAME_BYTES = 255
MAX_PATH_BYTES = 3000
"""In a name, a key or an internal path: systems take 4096, and the root comes before it."""
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.,+=@ -]{0,99}"
_WARNED = 5
"""How many fields that mean nothing are told of in a call."""
_PLAIN_KEY = re.compile(rf"(?:{_PART}(?:/{_PART})*:)?{_PART}(?:/{_PART})*/?")

logger = logging.getLogger("gaia_local")


NO_KEYS: frozenset[str] = frozenset()
"""One for all Tasks that read no outside file: Python makes each a new one."""


class WorkflowState(enum.StrEnum):
    """The state of a workflow, as `status` says it."""

    INITIALIZED = "initialized"
    RUNNING = "running"
    COMPLETE = "complete"
    HALTED = "halted"
    ERROR = "error"
    INCOMPLETE = "incomplete"


class TaskState(enum.StrEnum):
    """The state of a Task: one attempt at a Step."""

    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"
    """The command failed."""
    EXCEPTION = "exception"
    """The command could not be run."""
    CANCELLED = "cancelled"
    """Stopped by `halt`, `expire`, `merge`, `command`, `delete` or a changed input."""
    INTERRUPTED = "interrupted"
    """The engine ended while it ran, or lost the cluster that ran it."""


class EventKind(enum.StrEnum):
    """What can happen, under the names that the server and the worker give it."""

    STEP_START = "step-start"
    """A worker takes a Task up."""
    STEP_ADOPTED = "step-adopted"
    """A worker takes up what an earlier engine left of a Task."""
    CONTAINER_CREATE = "container-create"
    EXECUTION_START = "execution-start"
    EXECUTION_COMPLETE = "execution-complete"
    CONTAINER_EXIT = "container-exit"
    """Whatever ran it: the program ended."""
    WORKER_LOST = "worker-lost"
    """The worker of a cluster that ran a Task died; another will run it."""
    DATA_COMPLETE = "data-complete"
    STEP_COMPLETE = "step-complete"
    STEP_ERROR = "step-error"
    """The command failed."""
    TASK_ERROR = "task-error"
    """The command could not be run."""
    STEP_TERMINATED = "step-terminated"
    FLOW_COMPLETE = "flow-complete"
    FLOW_INCOMPLETE = "flow-incomplete"
    FLOW_HALTED = "flow-halted"

    @property
    def written_at_once(self) -> bool:
        """Whether it is written before its Task ends.

        That is at once where the run may outlive this process, and whoever takes it up needs it.
        """
        return self in (EventKind.STEP_START, EventKind.EXECUTION_START)

    @property
    def begins(self) -> bool:
        """Whether it says that a worker takes a Task up, and so bears the worker's number."""
        return self in (EventKind.STEP_START, EventKind.STEP_ADOPTED)


@dataclass(frozen=True)
class Command:
    """A reusable program: an image, the tokens to run in it, and which internal paths go in and out."""

    name: str
    image: str
    command: tuple[str, ...]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    vars: Mapping[str, Value | None]
    """Defaults; None where a var is only declared, so that a Step must give it."""
    stdout: str | None
    definition: Mapping[str, Any] = field(compare=False, repr=False)
    """The JSON as submitted, which is what `Gaia.command` answers."""
    resources: Resources = field(default=NONE, compare=False)
    """What it asks of a machine: results don't depend on it, so that a change of it makes nothing run again."""

    @staticmethod
    def parse(workflow: str, given: object) -> Command | CompositeCommand:
        """Read one Command, composite or not, from its JSON."""
        fields, name, text = _definition(f"workflow {workflow!r}", "Command", given)
        definition = json.loads(text)
        where = f"workflow {workflow!r}, Command {name!r}"
        if fields.get("steps") is not None:
            return CompositeCommand._parse(where, name, fields, definition)
        image = fields.get("image")
        if not isinstance(image, str) or not image.strip():
            raise InvalidInput(where, f"image is {shown(image)}", "give the name of a Docker image, or steps")
        check_text(f"{where}, image", image)
        tokens = fields.get("command")
        if not isinstance(tokens, list | tuple) or not tokens:
            raise InvalidInput(where, f"command is {shown(tokens)}", 'give a list of tokens, as ["sh", "-c", "ls"]')
        command = tuple(render_value(read_value(f"{where}, command", token)) for token in tokens)
        inputs = read_texts(where, "inputs", fields.get("inputs"))
        outputs = read_texts(where, "outputs", fields.get("outputs"))
        stdout = fields.get("stdout")
        for key, path in inputs.items():
            _check_internal(f"{where}, input {key!r}", path)
        for key, path in outputs.items():
            check_internal_path(f"{where}, output {key!r}", path)
        if stdout is not None:
            _check_internal(f"{where}, stdout", stdout)
        _check_places(where, inputs, outputs, stdout)
        resources = Resources.parse(f"{where}, resources", fields.get("resources"))
        defaults = read_defaults(where, fields.get("vars"))
        return Command(name, image, command, inputs, outputs, defaults, stdout, definition, resources)


@dataclass(frozen=True)
class CompositeCommand:
    """A Command that is a little workflow: its inner Steps take its place when a Step invokes it."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    vars: Mapping[str, Value | None]
    steps: tuple[Step, ...]
    definition: Mapping[str, Any] = field(compare=False, repr=False)

    @staticmethod
    def _parse(where: str, name: str, fields: Mapping[str, Any], definition: Mapping[str, Any]) -> CompositeCommand:
        if fields.get("image") is not None:
            raise InvalidInput(where, "it has both image and steps", "a Command has one or the other")
        inner = fields["steps"]
        if not isinstance(inner, list | tuple) or not inner:
            raise InvalidInput(where, f"steps is {shown(inner)}", "give a list of Steps")
        steps = tuple(Step._parse(where, step, key=check_local_name) for step in inner)
        names = [step.name for step in steps]
        if len(set(names)) < len(names):
            twice = next(name for index, name in enumerate(names) if name in names[:index])
            raise InvalidInput(where, f"two inner Steps are named {twice!r}", "give each a name of its own")
        inputs = read_names(where, "inputs", fields.get("inputs"))
        outputs = read_names(where, "outputs", fields.get("outputs"))
        return CompositeCommand(name, inputs, outputs, read_defaults(where, fields.get("vars")), steps, definition)


AnyCommand: TypeAlias = "Command | CompositeCommand"


@dataclass(frozen=True, slots=True)
class Step:
    """One invocation of a Command: which storage keys go in and out, and with which vars."""

    name: str
    command: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    vars: Mapping[str, Value | tuple[Value, ...]]
    """A tuple is an array: one Step for each of its values."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds."""
    text: str = field(compare=False, repr=False, default="{}")
    """The JSON as submitted."""

    @property
    def definition(self) -> dict[str, Any]:
        """What was submitted."""
        definition: dict[str, Any] = json.loads(self.text)
        return definition

    @staticmethod
    def parse(workflow: str, given: object, text: str | None = None) -> Step:
        """Read one Step from its JSON; `text` is what that was read from, where it comes from a Step's `text`."""
        return Step._parse(f"workflow {workflow!r}", given, key=check_key_template, text=text)

    @staticmethod
    def _parse(outer: str, given: object, key: Any, text: str | None = None) -> Step:
        fields, name, text = _definition(outer, "Step", given, text)
        where = f"{outer}, Step {name!r}"
        command = fields.get("command")
        if not isinstance(command, str) or not command:
            raise InvalidInput(where, f"command is {shown(command)}", "give the name of a Command")
        inputs = read_texts(where, "inputs", fields.get("inputs"))
        outputs = read_texts(where, "outputs", fields.get("outputs"))
        for kind, keys in (("input", inputs), ("output", outputs)):
            for each, storage_key in keys.items():
                if not _is_plain(storage_key):
                    key(f"{where}, {kind} {each!r}", storage_key)
        values: Mapping[str, Value | tuple[Value, ...]] = read_mapping(where, "vars", fields.get("vars"))
        if values:
            values = {var: read_value_or_array(f"{where}, var {var!r}", value) for var, value in values.items()}
        timeout = fields.get("timeout")
        if timeout is None:
            timeout = DEFAULT_TIMEOUT
        elif isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= MAX_TIMEOUT:
            raise InvalidInput(
                where, f"timeout is {shown(timeout)}", f"give a number of seconds above 0, at most {MAX_TIMEOUT:g}"
            )
        return Step(name, shared_text(command), inputs, outputs, values, float(timeout), text)


DOUBTFUL = "?"
"""What a quick fingerprint ends with that no look is to find again, since a change could go unseen."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a file or tree was like: `quick` from names, sizes, times and inodes; `digest` from names and contents."""

    quick: str
    digest: str
    listing: bytes | None = field(default=None, compare=False, repr=False)
    """The entries of a directory, each with what tells its content; see `files.entries`."""

    @property
    def looked_like(self) -> str:
        """`quick`, as a look would find it."""
        return self.quick.removesuffix(DOUBTFUL)


@dataclass(frozen=True, slots=True)
class Task:
    """One Step made concrete: all that says what is run. `Assignment` adds what one run needs."""

    id: str
    name: str
    """The Step's name."""
    workflow: str
    image: str
    command: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]
    """Pairs of storage key and internal path."""
    outputs: tuple[tuple[str, str], ...]
    stdout: str | None
    timeout: float
    reason: str = "new"
    """Why it runs."""
    external: frozenset[str] = NO_KEYS
    """Those inputs that no Step makes: a link among them was put there by the user, and is followed."""
    resources: Resources = NONE

    def wire(self, state: str) -> TaskEntry:
        """The Task as `status` with debug answers it."""
        return {
            "id": self.id,
            "name": self.name,
            "workflow": self.workflow,
            "image": self.image,
            "command": list(self.command),
            "inputs": [list(pair) for pair in self.inputs],
            "outputs": [list(pair) for pair in self.outputs],
            "timeout": self.timeout,
            "state": state,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `facts` are what this kind of event carries."""

    event: EventKind
    workflow: str
    time: float
    """Seconds since the epoch."""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        """The event as `Gaia.events` answers it."""
        return {"event": self.event.value, "workflow": self.workflow, "time": self.time, **self.facts}


# ---------------------------------------------------------------------------------------------------------- checks


_as_stored: ContextVar[bool] = ContextVar("as_stored", default=False)


@contextlib.contextmanager
def as_stored() -> Iterator[None]:
    """While inside, names may hold what was refused later than they were stored: a root stays readable."""
    token = _as_stored.set(True)
    try:
        yield
    finally:
        _as_stored.reset(token)


def check_name(where: str, name: object, kind: str) -> str:
    """A name that may be part of a path: not empty, not absolute, no ``..``, nothing that doesn't print."""
    if not isinstance(name, str):
        raise InvalidInput(where, f"the name of a {kind} is {shown(name)}", "give a string")
    if not _is_plain(name):
        _check_path(f"{where}, {kind} {name!r}", name)
    return name


def check_workflow_name(name: object) -> str:
    """A workflow's name: also one directory's name under the root."""
    checked = check_name("workflow", name, "workflow")
    if "/" in checked or checked == ".":
        raise InvalidInput(f"workflow {name!r}", "the name is not one directory's name", "leave out '/'")
    if checked.startswith(OWN):
        raise InvalidInput(
            f"workflow {name!r}", f"it begins with {OWN!r}", "names like that are the engine's own: choose another"
        )
    return checked


def _is_plain(key: str) -> bool:
    """Whether a storage key, a name or a path is of the usual kind, in which no check finds anything wrong."""
    return _PLAIN_KEY.fullmatch(key) is not None and len(key) <= MAX_PATH_BYTES


def check_key(where: str, key: str) -> None:
    """A storage key, ``bucket:path`` or ``path``, that stays inside its bucket."""
    place = f"{where}, key {key!r}"
    parsed = StorageKey.parse(key)
    if parsed.bucket == "":
        raise InvalidInput(place, "the bucket before ':' is empty", "write bucket:path/to/file")
    if parsed.bucket is not None:
        _check_path(f"{place}, bucket {parsed.bucket!r}", parsed.bucket)
    _check_path(place, parsed.path)
    parts = [*(parsed.bucket or "").split("/"), *parsed.path.split("/")]
    if any(part.startswith(OWN) for part in parts):
        raise InvalidInput(place, f"a part of it begins with {OWN!r}", "names like that are the engine's own: choose another")


def check_key_template(where: str, key: str) -> None:
    """A storage key that may hold ``{{var}}``: what can be said before the vars are filled in."""
    if "{{" in key:
        check_text(where, key)
    else:
        check_key(where, key)


def check_local_name(where: str, name: str) -> None:
    """A name inside a composite Command, which becomes the last part of a storage key."""
    _check_path(f"{where}, name {name!r}", name)


def check_properties(workflow: str, given: object) -> dict[str, Any]:
    """A workflow's properties; `owner` defaults to the part of the name before the first ``_``."""
    where = f"workflow {workflow!r}"
    properties = dict(read_mapping(where, "properties", given))
    properties.setdefault("owner", workflow.partition("_")[0])
    for name, value in properties.items():
        properties[name] = json.loads(as_json(f"{where}, properties", f"value of {name!r}", {name: value}))[name]
    return properties


def _check_path(place: str, path: str) -> None:
    if not path:
        raise InvalidInput(place, "it is empty", "give at least one character")
    check_text(place, path)
    if holds_controls(path) and not _as_stored.get():
        raise InvalidInput(place, "it holds a control character, or one that turns the direction of text", "leave it out")
    if path.startswith("/"):
        raise InvalidInput(place, "it is absolute", "leave out the '/' at its beginning")
    parts = path.split("/")
    if ".." in parts:
        raise InvalidInput(place, "it holds '..'", "name the path from its beginning")
    if not any(part not in ("", ".") for part in parts):
        raise InvalidInput(place, "it names no file", "give a path")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidInput(place, f"it has over {MAX_PATH_BYTES:,} bytes", "no file system takes it: shorten it")
    if any(len(part.encode()) > _NAME_BYTES for part in parts):
        raise InvalidInput(place, f"a part of it has over {_NAME_BYTES} bytes", "no file system takes it: shorten it")


def _check_internal(where: str, path: object) -> None:
    if not isinstance(path, str):
        raise InvalidInput(where, f"the internal path is {shown(path)}", "give a string")
    place = f"{where}, internal path {path!r}"
    if "{{" in path:  # looked at again when the vars are filled in
        check_text(place, path)
        return
    if not path.startswith("/"):
        raise InvalidInput(place, "it is not absolute", "begin it with '/'")
    _check_path(place, path[1:].lstrip("/"))
    if is_inside(InternalPath.parse(path).path, *_SYSTEM_DIRECTORIES):
        raise InvalidInput(place, "it lies in a directory of the system", "choose another, as /out/result")


def check_internal_path(where: str, path: str) -> None:
    """An internal path after its vars were filled in."""
    if Capture.parse(path) is None:
        _check_internal(where, path)


def _check_places(where: str, inputs: Mapping[str, str], outputs: Mapping[str, str], stdout: str | None = None) -> None:
    """Internal paths that can't be together: an input's and another's, or anything at or below the file of `stdout`."""
    taken: dict[str, str] = {}
    printed = None if stdout is None else InternalPath.parse(stdout)
    for kind, paths in (("input", inputs), ("output", outputs)):
        for key, text in paths.items():
            if Capture.parse(text) is not None:
                continue
            place = InternalPath.parse(text)
            other = taken.get(place.path)
            if other is not None and not (kind == "output" and other.startswith("output")):
                problem = f"{other} and {kind} {key!r} have one internal path {text!r}"
                raise InvalidInput(where, problem, "give each its own")
            taken[place.path] = f"{kind} {key!r}"
            if printed is None or not is_inside(place.path, printed.path):
                continue
            same_file = kind == "output" and place.path == printed.path and not place.is_directory
            if not same_file:
                problem = f"stdout is {stdout!r}, and {kind} {key!r} is {text!r}"
                raise InvalidInput(where, problem, "give stdout another path")
    if printed is not None and printed.is_directory:
        raise InvalidInput(where, f"stdout is {stdout!r}, a directory", "give the path of a file")


def _definition(outer: str, kind: str, given: object, text: str | None = None) -> tuple[Mapping[str, Any], str, str]:
    """The fields of a Command or Step, its name, and its JSON, which later changes of what was given don't reach.

    `text` is that JSON where it is known.
    """
    if not isinstance(given, Mapping):
        raise InvalidInput(outer, f"a {kind} is {shown(given)}", "give a dictionary")
    name = check_name(outer, given.get("name"), kind)
    fields = dict(given)
    if text is None:
        text = as_json(f"{outer}, {kind} {name!r}", "definition", fields)
    return fields, name, text


def warn_of_unknown_fields(workflow: str, kind: str, given: Iterable[Mapping[str, Any]]) -> None:
    """Tell of fields that mean nothing in definitions that were parsed: of the first few, and how many more there are."""
    found = _unknown_fields(f"workflow {workflow!r}", kind, given)
    for where, name, known in itertools.islice(found, _WARNED):
        logger.warning("%s: the field %s means nothing here; %s", where, shown(name), nearest(name, known))
    if more := sum(1 for _ in found):
        logger.warning("workflow %r: %d more fields of %ss mean nothing here", workflow, more, kind)


def _unknown_fields(outer: str, kind: str, given: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, object, frozenset[str]]]:
    """Where, which, and which there are instead."""
    known = _STEP_FIELDS if kind == "Step" else _COMMAND_FIELDS
    for each in given:
        if each.keys() <= known and "steps" not in each:
            continue
        where = f"{outer}, {kind} {each['name']!r}"
        yield from ((where, name, known) for name in each if name not in known)
        if kind == "Command":
            yield from _unknown_fields(where, "Step", each.get("steps") or ())


_COMMAND_FIELDS = frozenset({"name", "image", "command", "inputs", "outputs", "vars", "stdout", "steps", "resources"})
_STEP_FIELDS = frozenset({"name", "command", "inputs", "outputs", "vars", "timeout"})

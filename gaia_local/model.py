"""The words of Gaia as frozen values, and the checks that every value passes on its way in.

`Command.parse`, `CompositeCommand.parse` and `Step.parse` take the JSON the client sends and raise `InvalidInput` with
the name of what is wrong. Behind them, code may rely on the types written here.
"""

from __future__ import annotations

import enum
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from gaia_local.errors import InvalidInput, nearest, shown

Value: TypeAlias = "str | int | float | bool"
"""What a var may hold once arrays are expanded."""

DEFAULT_TIMEOUT = 3600.0
MAX_TIMEOUT = 1e18
CAPTURES = (">", "STDOUT")
"""Internal output paths that stand for stdout and stderr together."""
LOG = ">>"
"""The internal output path that stands for the log: header, lines, footer."""

OWN = ".gaia-local"
"""How the names of the engine's own files begin: they are no part of any tree, and no key may name one."""

_SYSTEM_DIRECTORIES = ("/dev", "/proc", "/sys")
_NAME_BYTES = 255
MAX_PATH_BYTES = 3000
"""In a name, a key or an internal path: systems take 4096, and the root comes before it."""
MAX_NESTING = 100
"""Levels of lists and dictionaries in a Command, a Step or properties: Python's stack is finite."""
MAX_VALUES = 2_000_000
"""Values in one of them; one that YAML's aliases use in many places counts in each."""
MAX_JSON_CHARACTERS = 100_000_000
"""Characters of text in one of them."""

logger = logging.getLogger("gaia_local")


class WorkflowState(str, enum.Enum):
    """The state of a workflow, as `status` says it."""

    INITIALIZED = "initialized"
    RUNNING = "running"
    COMPLETE = "complete"
    HALTED = "halted"
    ERROR = "error"
    INCOMPLETE = "incomplete"


class TaskState(str, enum.Enum):
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
    """The engine ended while it ran."""


class DataState(str, enum.Enum):
    """What is known of a storage key's file."""

    COMPLETE = "complete"
    EXPIRED = "expired"
    """It must be made again; what lies there doesn't count."""
    UNSURE = "unsure"
    """It must be made again, unless the inputs it was made from turn out to be the same."""


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

    @staticmethod
    def parse(workflow: str, given: object) -> Command | CompositeCommand:
        """Read one Command, composite or not, from its JSON."""
        fields, name, definition = _definition(f"workflow {workflow!r}", "Command", given, _COMMAND_FIELDS)
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
        command = tuple(render_value(_value(f"{where}, command", token)) for token in tokens)
        inputs = _texts(where, "inputs", fields.get("inputs"))
        outputs = _texts(where, "outputs", fields.get("outputs"))
        stdout = fields.get("stdout")
        for key, path in inputs.items():
            _check_internal(f"{where}, input {key!r}", path)
        for key, path in outputs.items():
            check_internal_path(f"{where}, output {key!r}", path)
        if stdout is not None:
            _check_internal(f"{where}, stdout", stdout)
        _check_places(where, inputs, outputs, stdout)
        return Command(name, image, command, inputs, outputs, _defaults(where, fields.get("vars")), stdout, definition)


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
        inputs = _names(where, "inputs", fields.get("inputs"))
        outputs = _names(where, "outputs", fields.get("outputs"))
        return CompositeCommand(name, inputs, outputs, _defaults(where, fields.get("vars")), steps, definition)


AnyCommand: TypeAlias = "Command | CompositeCommand"


@dataclass(frozen=True)
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
    definition: Mapping[str, Any] = field(compare=False, repr=False, default_factory=dict)

    @staticmethod
    def parse(workflow: str, given: object) -> Step:
        """Read one Step from its JSON."""
        return Step._parse(f"workflow {workflow!r}", given, key=check_key_template)

    @staticmethod
    def _parse(outer: str, given: object, key: Any) -> Step:
        fields, name, definition = _definition(outer, "Step", given, _STEP_FIELDS)
        where = f"{outer}, Step {name!r}"
        command = fields.get("command")
        if not isinstance(command, str) or not command:
            raise InvalidInput(where, f"command is {shown(command)}", "give the name of a Command")
        inputs = _texts(where, "inputs", fields.get("inputs"))
        outputs = _texts(where, "outputs", fields.get("outputs"))
        for kind, keys in (("input", inputs), ("output", outputs)):
            for each, storage_key in keys.items():
                key(f"{where}, {kind} {each!r}", storage_key)
        values: dict[str, Value | tuple[Value, ...]] = {}
        for var, value in _mapping(where, "vars", fields.get("vars")).items():
            place = f"{where}, var {var!r}"
            values[var] = (
                tuple(_value(place, one) for one in value) if isinstance(value, list | tuple) else _value(place, value)
            )
        timeout = fields.get("timeout")
        if timeout is None:
            timeout = DEFAULT_TIMEOUT
        elif isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= MAX_TIMEOUT:
            raise InvalidInput(
                where, f"timeout is {shown(timeout)}", f"give a number of seconds above 0, at most {MAX_TIMEOUT:g}"
            )
        return Step(name, command, inputs, outputs, values, float(timeout), definition)


@dataclass(frozen=True)
class Fingerprint:
    """What a file or tree was like: `quick` from names, sizes and times; `digest` from names and contents."""

    quick: str
    digest: str


@dataclass(frozen=True)
class Task:
    """One Step made concrete: all that a worker needs to run it once."""

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
    external: frozenset[str] = frozenset()
    """Those inputs that no Step makes: a link among them was put there by the user, and is followed."""
    adopted: bool = False
    """An earlier process began it: what it left is taken up instead of starting anew."""
    known: Mapping[str, Fingerprint] = field(default_factory=dict, compare=False, repr=False)
    """Input key → what is recorded of its file."""

    def wire(self, state: str) -> dict[str, Any]:
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


@dataclass(frozen=True)
class Event:
    """Something that happened, as the server and the worker name it; `facts` are what this kind of event carries."""

    event: str
    workflow: str
    time: float
    """Seconds since the epoch."""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        """The event as `Gaia.events` answers it."""
        return {"event": self.event, "workflow": self.workflow, "time": self.time, **self.facts}


# ---------------------------------------------------------------------------------------------------------- checks


def check_name(where: str, name: object, kind: str) -> str:
    """A name that may be part of a path: not empty, not absolute, no ``..``, nothing that doesn't print."""
    if not isinstance(name, str):
        raise InvalidInput(where, f"the name of a {kind} is {shown(name)}", "give a string")
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


def check_key(where: str, key: str) -> None:
    """A storage key, ``bucket:path`` or ``path``, that stays inside its bucket."""
    place = f"{where}, key {key!r}"
    bucket, colon, path = key.partition(":")
    if not colon:
        _check_path(place, key)
    else:
        if not bucket:
            raise InvalidInput(place, "the bucket before ':' is empty", "write bucket:path/to/file")
        _check_path(f"{place}, bucket {bucket!r}", bucket)
        _check_path(place, path)
    if any(part.startswith(OWN) for half in (bucket, path) for part in half.split("/")):
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


def check_text(where: str, text: str) -> None:
    """Text that a program can be given: no NUL, and encodable."""
    if "\0" in text:
        raise InvalidInput(where, f"{text!r} holds a NUL", "leave it out")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(where, f"{text!r} cannot be encoded", "give valid unicode text") from None


def check_list(workflow: str, what: str, given: object) -> list[Any]:
    """The list argument of a call."""
    if not isinstance(given, list | tuple):
        raise InvalidInput(f"workflow {workflow!r}", f"{what} is a {type(given).__name__}", f"give a list of {what}")
    return list(given)


def check_properties(workflow: str, given: object) -> dict[str, Any]:
    """A workflow's properties; `owner` defaults to the part of the name before the first ``_``."""
    where = f"workflow {workflow!r}"
    properties = dict(_mapping(where, "properties", given))
    properties.setdefault("owner", workflow.partition("_")[0])
    for name, value in properties.items():
        properties[name] = _json(f"{where}, properties", f"value of {name!r}", {name: value})[name]
    return properties


def render_value(value: Value) -> str:
    """A var's value as text: booleans as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_path(place: str, path: str) -> None:
    if not path:
        raise InvalidInput(place, "it is empty", "give at least one character")
    check_text(place, path)
    if not path.isprintable() and any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in path):
        raise InvalidInput(place, "it holds a control character", "leave it out")
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
    if any(_inside(_plain(path), top) for top in _SYSTEM_DIRECTORIES):
        raise InvalidInput(place, "it lies in a directory of the system", "choose another, as /out/result")


def check_internal_path(where: str, path: str) -> None:
    """An internal path after its vars were filled in."""
    if path not in (*CAPTURES, LOG):
        _check_internal(where, path)


def _check_places(where: str, inputs: Mapping[str, str], outputs: Mapping[str, str], stdout: str | None = None) -> None:
    """Internal paths that can't be together: an input's and another's, or anything at or below the file of `stdout`."""
    taken: dict[str, str] = {}
    for kind, paths in (("input", inputs), ("output", outputs)):
        for key, path in paths.items():
            if path in (*CAPTURES, LOG):
                continue
            plain = _plain(path)
            other = taken.get(plain)
            if other is not None and not (kind == "output" and other.startswith("output")):
                raise InvalidInput(where, f"{other} and {kind} {key!r} have one internal path {path!r}", "give each its own")
            taken[plain] = f"{kind} {key!r}"
            same_file = kind == "output" and stdout is not None and plain == _plain(stdout) and not path.endswith("/")
            if stdout is not None and _inside(plain, _plain(stdout)) and not same_file:
                raise InvalidInput(where, f"stdout is {stdout!r}, and {kind} {key!r} is {path!r}", "give stdout another path")
    if stdout is not None and stdout.endswith("/"):
        raise InvalidInput(where, f"stdout is {stdout!r}, a directory", "give the path of a file")


def _plain(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _inside(path: str, top: str) -> bool:
    return path == top or path.startswith(top + "/")


def _definition(outer: str, kind: str, given: object, known: frozenset[str]) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """The fields of a Command or Step, its name, and its JSON: a copy that later changes of what was given don't reach."""
    if not isinstance(given, Mapping):
        raise InvalidInput(outer, f"a {kind} is {shown(given)}", "give a dictionary")
    name = check_name(outer, given.get("name"), kind)
    where = f"{outer}, {kind} {name!r}"
    fields = dict(given)
    definition = _json(where, "definition", fields)
    for unknown in fields.keys() - known:
        logger.warning("%s: the field %r means nothing here; %s", where, unknown, nearest(unknown, known))
    return fields, name, definition


def _json(where: str, what: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` as it comes back from JSON."""
    _check_size(where, what, given)
    try:
        copy: dict[str, Any] = json.loads(json.dumps(given, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(
            where, f"the {what} can't be written as JSON ({error})", "use text, numbers, lists, dictionaries"
        ) from None
    return copy


def _check_size(where: str, what: str, given: Mapping[str, Any]) -> None:
    level: list[Any] = [given]
    values = characters = 0
    for _ in range(MAX_NESTING + 1):
        below: list[Any] = []
        for each in level:
            if isinstance(each, str):
                characters += len(each)
            elif isinstance(each, dict | list | tuple):
                values += len(each)
                if values > MAX_VALUES:
                    raise InvalidInput(where, f"the {what} holds over {MAX_VALUES:,} values", "use a file for so many")
                below += each
                if isinstance(each, dict):
                    below += each.values()
        if characters > MAX_JSON_CHARACTERS:
            raise InvalidInput(
                where, f"the {what} holds over {MAX_JSON_CHARACTERS:,} characters", "use a file for so much text"
            )
        if not below:
            return
        level = below
    raise InvalidInput(where, f"the {what} is nested over {MAX_NESTING} levels deep", "use fewer levels")


def _mapping(where: str, what: str, given: object) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidInput(where, f"{what} is {shown(given)}", "give a dictionary")
    for key in given:
        if not isinstance(key, str) or not key:
            raise InvalidInput(where, f"{what} has the key {shown(key)}", "use text that isn't empty")
        check_text(f"{where}, {what}", key)
    return dict(given)


def _texts(where: str, what: str, given: object) -> dict[str, str]:
    texts = _mapping(where, what, given)
    for key, text in texts.items():
        if not isinstance(text, str):
            raise InvalidInput(where, f"{what} {key!r} is {shown(text)}", "give a string")
    return dict(texts)


def _names(where: str, what: str, given: object) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) and name for name in given):
        raise InvalidInput(where, f"{what} is {shown(given)}", "a composite Command takes a list of names")
    for name in given:
        check_text(f"{where}, {what}", name)
    if len(set(given)) < len(given):
        raise InvalidInput(where, f"{what} has a name twice: {shown(list(given))}", "name each once")
    return tuple(given)


def _defaults(where: str, given: object) -> dict[str, Value | None]:
    if isinstance(given, list | tuple):
        return dict.fromkeys(_names(where, "vars", given))
    return {var: _value(f"{where}, var {var!r}", value) for var, value in _mapping(where, "vars", given).items()}


def _value(where: str, given: object) -> Value:
    if isinstance(given, str):
        check_text(where, given)
        return given
    if isinstance(given, bool | int | float):
        return given
    raise InvalidInput(where, f"the value is {shown(given)}", "give text, a number or a boolean")


_COMMAND_FIELDS = frozenset({"name", "image", "command", "inputs", "outputs", "vars", "stdout", "steps"})
_STEP_FIELDS = frozenset({"name", "command", "inputs", "outputs", "vars", "timeout"})

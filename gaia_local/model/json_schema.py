"""JSON Schemas (2020-12) of files of Commands and of Steps, made from the model's own limits.

What a schema accepts is parsed, but for what no schema can say: that two names in a file differ,
that the paths of one Command do, that text can be encoded, and sizes in bytes. The files beside
this module hold the same, for editors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gaia_local.model.definition_fields import FIELDS
from gaia_local.model.keys import CAPTURES
from gaia_local.model.names import OWN, SYSTEM_DIRECTORIES
from gaia_local.model.resources import MOST_COUNTED, MOST_MEMORY, UNITS
from gaia_local.model.steps import DEFAULT_TIMEOUT, MAX_TIMEOUT
from gaia_local.terminal_text import CONTROLS

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_TEXT = {"type": "string", "pattern": r"^[^\u0000]*$(?!\n)"}
_NAME_TEXT = {**_TEXT, "minLength": 1}
_VALUE = {"anyOf": [{"$ref": "#/$defs/text"}, {"type": ["number", "boolean"]}]}
_NULL = {"type": "null"}


def _path(character: str, end: str, begin: str = "") -> str:
    """A pattern of a path that is relative, names a file, and stays inside; up to `end`."""
    return f"(?!/)(?!(?:{character}*/)?\\.\\.(?:/|{end}))(?!(?:\\.?/)*\\.?{end}){begin}{character}+"


def _own(character: str) -> str:
    """A pattern before a path: no component of it is reserved for the engine."""
    return f"(?!(?:{character}*/)?{_OWN})"


_OWN = OWN.replace(".", r"\.")
_ANY, _NO_COLON = f"[^{CONTROLS}]", f"[^:{CONTROLS}]"
_END = r"$(?!\n)"
_PATH = f"^{_path(_ANY, '$')}{_END}"
_KEY = (
    f"^(?:{_path(_NO_COLON, ':', _own(_NO_COLON))}:{_path(_ANY, '$', _own(_ANY))}"
    f"|{_path(_NO_COLON, '$', _own(_NO_COLON))}){_END}"
)
_SYSTEM = "|".join(name.strip("/") for name in SYSTEM_DIRECTORIES)
_INTERNAL = f"^(?!/(?:\\.?/)*(?:{_SYSTEM})(?:/|$))/+{_path(_ANY, '$')}{_END}"
_TEMPLATE = {"allOf": [{"pattern": r"\{\{"}, {"$ref": "#/$defs/text"}]}


def _memory() -> list[str]:
    """Patterns of sizes as text, one for each unit, none of which is too large or below 1 byte."""
    patterns = []
    for unit, power in UNITS.items():
        digits = len(str(MOST_MEMORY // 1024**power)) - 2
        letter = f"[{unit}{unit.upper()}]" if unit else ""
        below_one = r"|0+\.0{0,2}[1-9][0-9]*" if unit else ""
        number = f"0*[1-9][0-9]{{0,{digits - 1}}}(?:\\.[0-9]+)?{below_one}"
        patterns.append(f"^(?:{number}) ?{letter}[iI]?[bB]?{_END}")
    return patterns


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, _NULL]}


def _mapping(values: dict[str, Any], about: str) -> dict[str, Any]:
    keys = {"$ref": "#/$defs/key text"}
    return {
        **_or_null({"type": "object", "propertyNames": keys, "additionalProperties": values}),
        "description": about,
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _names(about: str) -> dict[str, Any]:
    names = {"type": "array", "items": _ref("key text"), "uniqueItems": True}
    return {**_or_null(names), "description": about}


def _step(key: str) -> dict[str, Any]:
    """A Step whose inputs and outputs are keys of that kind."""
    array = {"anyOf": [_ref("value"), {"type": "array", "items": _ref("value")}]}
    fields = {
        "name": {**_ref("name"), "description": "The Step's name."},
        "command": {"type": "string", "minLength": 1, "description": "The Command to run."},
        "inputs": _mapping(_ref(key), "The Command's input keys, with the files to read."),
        "outputs": _mapping(_ref(key), "The Command's output keys, with the files to make."),
        "vars": _mapping(array, "Values for {{var}}; a list makes a Step for each value."),
        "timeout": {
            **_or_null({"type": "number", "exclusiveMinimum": 0, "maximum": MAX_TIMEOUT}),
            "description": f"Seconds that the Step may take; {DEFAULT_TIMEOUT:g}.",
        },
    }
    return _definition("Step", fields, ["name", "command"])


def _definition(kind: str, fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    unknown = fields.keys() ^ set(FIELDS[kind])
    assert not unknown, f"the schema of a {kind} and its fields differ: {unknown}"
    return {"type": "object", "properties": fields, "required": required}


def _command() -> dict[str, Any]:
    counted: dict[str, Any] = {"exclusiveMinimum": 0, "exclusiveMaximum": MOST_COUNTED}
    memory: list[dict[str, Any]] = [{"type": "string", "pattern": pattern} for pattern in _memory()]
    memory.append({"type": "integer", "minimum": 1, "exclusiveMaximum": MOST_MEMORY})
    amounts = {
        "cpus": _or_null({"type": "number", **counted}),
        "memory": {
            "anyOf": [*memory, _NULL],
            "description": "Bytes, or text as 4GB.",
        },
        "gpus": _or_null({"type": "integer", **counted}),
    }
    defaults = {
        "anyOf": [
            {
                "type": "object",
                "propertyNames": _ref("key text"),
                "additionalProperties": _ref("value"),
            },
            {"type": "array", "items": _ref("key text"), "uniqueItems": True},
            _NULL,
        ],
        "description": "Defaults for {{var}} in tokens and paths, or names alone.",
    }
    fields: dict[str, Any] = {
        "name": {**_ref("name"), "description": "The Command's name."},
        "image": {"description": "The Docker image to run in."},
        "command": {"description": "The tokens to run, as [sh, -c, ls]."},
        "inputs": {"description": "Input keys, with the paths where the program finds them."},
        "outputs": {"description": "Output keys, with the paths where the program leaves them."},
        "vars": defaults,
        "stdout": {"description": "A path that receives standard output."},
        "steps": {"description": "Instead of image and command: a little workflow of Steps."},
        "resources": {"description": "The part of a machine that it needs."},
        "reuse": {"description": "false: its results are never reused."},
    }
    plain = {
        "properties": {
            "image": {"allOf": [_ref("text"), {"pattern": r"[^\s]"}]},
            "command": {"type": "array", "minItems": 1, "items": _ref("value")},
            "inputs": _mapping(_ref("internal path"), fields["inputs"]["description"]),
            "outputs": _mapping(_ref("output path"), fields["outputs"]["description"]),
            "stdout": {"anyOf": [{"allOf": [_ref("internal path"), _ref("file")]}, _NULL]},
            "reuse": _or_null({"type": "boolean"}),
            "resources": _or_null(
                {"type": "object", "properties": amounts, "additionalProperties": False}
            ),
        },
        "required": ["image", "command"],
    }
    composite = {
        "properties": {
            "image": _NULL,
            "reuse": _NULL,
            "inputs": _names("The names of its inputs."),
            "outputs": _names("The names of its outputs."),
            "steps": {"type": "array", "minItems": 1, "items": _ref("inner step")},
        },
    }
    has_steps = {"required": ["steps"], "properties": {"steps": {"not": _NULL}}}
    return {
        **_definition("Command", fields, ["name"]),
        "if": has_steps,
        "then": composite,
        "else": plain,
    }


def schema(kind: str) -> dict[str, Any]:
    """The schema of a file of "commands" or "steps"."""
    definitions: dict[str, Any] = {
        "text": _TEXT,
        "key text": _NAME_TEXT,
        "value": _VALUE,
        "name": {"type": "string", "pattern": _PATH},
        "storage key": {
            "type": "string",
            "anyOf": [_TEMPLATE, {"pattern": _KEY}],
            "description": "bucket:path/to/file, path/to/file, or, with / at its end, a directory.",
        },
    }
    if kind == "steps":
        item = _step("storage key")
    else:
        del definitions["storage key"]
        item = _command()
        definitions |= {
            "local name": {"type": "string", "pattern": _PATH},
            "inner step": _step("local name"),
            "internal path": {
                "type": "string",
                "anyOf": [_TEMPLATE, {"pattern": _INTERNAL}],
                "description": "A path inside the container, as /in/x.",
            },
            "output path": {"anyOf": [{"enum": list(CAPTURES)}, _ref("internal path")]},
            "file": {"not": {"pattern": f"/{_END}"}},
        }
    return {
        "$schema": DIALECT,
        "title": f"{kind.capitalize()} of a Gaia workflow",
        "type": "array",
        "items": item,
        "$defs": definitions,
    }


def schema_file(kind: str) -> Path:
    """The file in the package that holds the schema of "commands" or "steps"."""
    return Path(__file__).with_name(f"{kind}.schema.json")

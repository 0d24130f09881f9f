"""The schemas and the parser agree: on good definitions, on bad ones, and on mutated ones."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gaia_local import demo
from gaia_local.errors import InvalidInput
from gaia_local.model.definitions import parse_commands, parse_steps
from gaia_local.model.json_schema import DIALECT, schema, schema_file
from support.command_line import call, here

__all__ = ["here"]

KINDS = ("commands", "steps")
VALIDATORS = {kind: jsonschema.Draft202012Validator(schema(kind)) for kind in KINDS}
PARSERS: dict[str, Any] = {"commands": parse_commands, "steps": parse_steps}
BEYOND_SHAPE = re.compile(
    "have one internal path|stdout is|are named|bytes; no file system|over 255 bytes|over 3,000"
    "|written as JSON|levels deep|cannot be encoded"
)
"""Refusals that depend on more than the shape of one value."""
GOOD: dict[str, list[Any]] = {
    "commands": [
        {
            "name": "plain/one",
            "image": "busybox",
            "command": ["sh", 1, True, 0.5, "{{x}}"],
            "inputs": {"a": "/in/a", "b": "/in/{{x}}/b/"},
            "outputs": {"o": "/out/o", "p": ">", "l": ">>", "s": "STDOUT"},
            "vars": {"x": 1, "y": "z"},
            "stdout": "/out/o",
            "resources": {"cpus": 0.5, "memory": "4GB", "gpus": 1},
        },
        {"name": "c", "image": "i", "command": ["a"], "vars": ["x"], "steps": None},
        {"name": "m", "image": "i", "command": ["a"], "resources": {"memory": 1e9, "gpus": 2.0}},
        {
            "name": "k",
            "inputs": ["a", "b"],
            "outputs": ["o"],
            "vars": {"n": 1},
            "steps": [
                {"name": "i", "command": "c", "inputs": {"a": "a"}, "outputs": {"x": "l:1"}},
                {"name": "j", "command": "c", "vars": {"x": [1, "2"]}, "timeout": 5},
            ],
        },
    ],
    "steps": [
        {
            "name": "s: 1",
            "command": "c",
            "inputs": {"a": "b:c/d", "b": "x/", "t": "{{a}}/.."},
            "outputs": {"o": "k:a:b"},
            "vars": {"x": [1, True, "{{y}}"], "y": "1", "z": []},
            "timeout": 3.5,
        },
        {"name": "é", "command": "c", "inputs": None, "outputs": {}, "vars": None, "timeout": None},
    ],
}
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2.0, 0.5, 1e18, 1e19, 10**6, [], {}, [1], ["a"], ["a", "a"]),
    *("", " ", "a", "a\n", "\0", "a\0", "/", "/a", "//a/./b/", "/./dev/x", "/sys", "/system", "a:"),
    *("/proc/", "..", "a/..", "/a/../b", "...", "a..b", ".", "./", "a/", ":a", "a:b", "a:b:c"),
    *("a:/b", "..:a", ".:a", "a/.:b", ".gaia-local", "x/.gaia-local-1", ".gaia-local:x", "\x1f"),
    *("a\x85", "a\u2028", "\u202ea", "{{a}}", "{{", "{{a}}\0", ">", ">>", ">>>", "STDOUT", "STDIN"),
    *("4GB", "4 gib", "0.5k", "0.5", "0", "00", "007m", "999999999t", "4GBs", "1e9", "4GB\n", "b"),
    *([None], [{}], [[]], ["a", 1], {"a": None}, {"": "a"}, {"a": "/a"}, {"a\0": "/x"}, {"a": [1]}),
    *({"name": "n", "command": "c"}, [{"name": "n", "command": "c"}], {"cpus": 1}, {"gpu": 1}),
    "🪐",
]
FIELDS = ["name", "image", "command", "inputs", "outputs", "vars", "stdout", "steps", "resources"]
FIELDS += ["timeout", "comment", "a", "o", "x", "cpus", "memory", "gpus"]


def refusal(kind: str, definitions: list[Any]) -> str | None:
    try:
        PARSERS[kind]("w", definitions)
    except InvalidInput as error:
        return str(error)
    return None


def agree(kind: str, definitions: list[Any]) -> None:
    valid = VALIDATORS[kind].is_valid(definitions)
    refused = refusal(kind, definitions)
    if valid:
        assert refused is None or BEYOND_SHAPE.search(refused), (definitions, refused)
    else:
        told = next(VALIDATORS[kind].iter_errors(definitions)).message
        assert refused is not None, (definitions, told)


def collections(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from collections(inner)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_one_and_its_file_holds_it(kind: str) -> None:
    assert schema(kind)["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(schema(kind))
    assert json.loads(schema_file(kind).read_text(encoding="utf-8")) == schema(kind), (
        f"the model has changed: gaia-local schema {kind} > {schema_file(kind).name}"
    )
    assert call("schema", kind).stdout == schema_file(kind).read_text(encoding="utf-8")
    assert Path(call("schema", kind, "--path").stdout.strip()) == schema_file(kind)
    call("schema", "jobs", status=2)


@pytest.mark.parametrize("kind", KINDS)
def test_good_definitions_are_valid(kind: str) -> None:
    examples = {"commands": demo.commands(), "steps": demo.steps()}[kind]
    for definitions in (GOOD[kind], examples, []):
        assert list(VALIDATORS[kind].iter_errors(definitions)) == []
        assert refusal(kind, definitions) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", FIELDS)
def test_each_value_in_each_field_is_judged_alike(kind: str, field: str) -> None:
    for good in GOOD[kind]:
        for value in VALUES:
            agree(kind, [{**good, field: value}])
        agree(kind, [{name: good[name] for name in good if name != field}])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["inputs", "outputs", "vars", "resources", "steps", "command"])
def test_each_value_inside_a_field_is_judged_alike(kind: str, field: str) -> None:
    for good in GOOD[kind]:
        for value in VALUES:
            inside = good.get(field)
            for key in inside if isinstance(inside, dict) else ():
                agree(kind, [{**good, field: {**inside, key: value}}])
            if isinstance(inside, list):
                agree(kind, [{**good, field: [*inside, value]}])


@settings(max_examples=400, deadline=None)
@given(st.data(), st.sampled_from(KINDS))
def test_mutated_definitions_are_judged_alike(data: st.DataObject, kind: str) -> None:
    definitions = [copy.deepcopy(data.draw(st.sampled_from(GOOD[kind])))]
    values = st.sampled_from(VALUES) | st.text("a./:{}\n\0>é-", max_size=8)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(collections(definitions))))
        value = copy.deepcopy(data.draw(values))
        if isinstance(place, dict):
            key = data.draw(st.sampled_from([*place, *FIELDS]))
            if key in place and data.draw(st.booleans()):
                del place[key]
            else:
                place[key] = value
        elif place and data.draw(st.booleans()):
            place[data.draw(st.integers(0, len(place) - 1))] = value
        else:
            place.append(value)
    agree(kind, definitions)


@settings(max_examples=400, deadline=None)
@given(st.text("a./:{}->\n\0", max_size=9))
@example("a/\n")
@example("{{a}}/\n")
@example("/{{a}}/..")
def test_texts_are_judged_alike_wherever_they_stand(text: str) -> None:
    plain, composite, step = GOOD["commands"][1], GOOD["commands"][3], GOOD["steps"][1]
    for field in ("inputs", "outputs"):
        agree("commands", [{**plain, field: {"a": text}}])
        agree("steps", [{**step, field: {"a": text}}])
        agree("commands", [{**composite, "steps": [{**step, field: {"a": text}}]}])
    agree("commands", [{**plain, "stdout": text}])
    agree("commands", [{**plain, "name": text}])


@settings(max_examples=300, deadline=None)
@given(st.text("0159.kKmGtTiIbB ", max_size=8))
def test_sizes_as_text_are_judged_alike(text: str) -> None:
    definitions = [{**GOOD["commands"][1], "resources": {"memory": text}}]
    if VALIDATORS["commands"].is_valid(definitions):
        assert refusal("commands", definitions) is None

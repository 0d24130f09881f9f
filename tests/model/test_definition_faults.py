"""All faults of a definition are found, each at its part."""

from __future__ import annotations

from typing import Any

import pytest

from gaia_local.model.definition_faults import parse_or_blame

COMMAND: dict[str, Any] = {
    "name": "c",
    "image": "i",
    "command": ["ls", "-l"],
    "inputs": {"a": "/in/a", "b": "/in/b"},
    "outputs": {"o": "/out/o"},
    "vars": {"x": 1},
}
STEP: dict[str, Any] = {
    "name": "s",
    "command": "c",
    "inputs": {"a": "b:a", "b": "b:b"},
    "outputs": {"o": "b:o"},
    "vars": {"x": [1, 2]},
}
COMPOSITE: dict[str, Any] = {
    "name": "k",
    "inputs": ["in", "more"],
    "outputs": ["out"],
    "steps": [{"name": "i", "command": "c"}, {"name": "j", "command": "c"}],
}


def ways(kind: str, given: Any) -> list[tuple[Any, ...]]:
    parsed, faults = parse_or_blame("w", kind, given, 1)
    assert (parsed is None) == bool(faults)
    return [fault.way for fault in faults]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"image": 7}, [("image",)]),
        ({"image": None}, [("image",)]),
        ({"name": 7}, [("name",)]),
        ({"name": "../x"}, [("name",)]),
        ({"command": "ls"}, [("command",)]),
        ({"command": ["ls", None, "-l"]}, [("command", 1)]),
        ({"command": [None, ["ls"]]}, [("command", 0), ("command", 1)]),
        ({"inputs": {"a": "in/a", "b": 5}}, [("inputs", "b"), ("inputs", "a")]),
        ({"inputs": {True: "/in/a", "b": "/in/b"}}, [("inputs", True)]),
        ({"inputs": {"a": "/in/a", "b": "/in/a"}}, [("inputs", "b")]),
        ({"stdout": "/out/"}, [("stdout",)]),
        ({"vars": {"x": 1, "y": [1]}}, [("vars", "y")]),
        ({"vars": ["x", 1, "y"]}, [("vars", 1)]),
        ({"vars": ["x", "y", "x"]}, [("vars", 2)]),
        ({"vars": {"x": float("nan"), "y": 1}}, [("vars", "x")]),
        ({"resources": {"cpus": -1, "memory": "x", "gpu": 1}}, "each of them"),
        (
            {"name": 7, "image": 7, "command": "ls", "inputs": {"a": 5}, "stdout": "x"},
            [("name",), ("image",), ("command",), ("inputs", "a"), ("stdout",)],
        ),
    ],
)
def test_faults_of_a_command_are_found(change: dict[str, Any], expected: Any) -> None:
    if expected == "each of them":
        expected = [("resources", "gpu"), ("resources", "cpus"), ("resources", "memory")]
    assert ways("Command", {**COMMAND, **change}) == expected


def test_a_field_that_is_missing_is_blamed_on_the_misspelled_one() -> None:
    given = {"Name": "c", "Image": "i", "command": ["ls"], "inputs": {"a": 5}}
    assert ways("Command", given) == [("Name",), ("Image",), ("inputs", "a")]
    assert ways("Command", {"name": "c"}) == [(), ()]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"image": "i"}, [("image",)]),
        ({"inputs": ["in", "", "more"]}, [("inputs", 1)]),
        ({"inputs": ["in", "in"]}, [("inputs", 1)]),
        ({"steps": []}, [("steps",)]),
        ({"steps": [5]}, [("steps", 0)]),
        ({"steps": [{"name": "i", "command": "c"}, 5]}, [("steps", 1)]),
        ({"steps": [{"name": "i"}, {"name": "j", "command": "c"}]}, [("steps", 0)]),
        (
            {
                "steps": [
                    {"name": "i", "command": "c", "inputs": {"a": ""}, "timeout": "5"},
                    {"name": "j", "command": "c", "outputs": {"b": 1}},
                ]
            },
            [("steps", 0, "inputs", "a"), ("steps", 0, "timeout"), ("steps", 1, "outputs", "b")],
        ),
    ],
)
def test_faults_of_a_composite_command_are_found(change: dict[str, Any], expected: Any) -> None:
    assert ways("Command", {**COMPOSITE, **change}) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"command": ["c"]}, [("command",)]),
        ({"inputs": {"a": ":x", "b": "/x"}}, [("inputs", "a"), ("inputs", "b")]),
        ({"outputs": []}, [("outputs",)]),
        ({"vars": {"x": [1, {}], "y": None}}, [("vars", "x", 1), ("vars", "y")]),
        ({"timeout": 0, "outputs": {"o": 1}}, [("outputs", "o"), ("timeout",)]),
    ],
)
def test_faults_of_a_step_are_found(change: dict[str, Any], expected: Any) -> None:
    assert ways("Step", {**STEP, **change}) == expected


@pytest.mark.parametrize("given", [7, None, "x", [COMMAND], {}])
def test_what_is_no_definition_has_faults_as_well(given: object) -> None:
    assert ways("Command", given)[0] == ways("Step", given)[0] == ()


def test_faults_in_large_values_take_little_time() -> None:
    given = {**COMMAND, "inputs": {f"k{n}": "no path" for n in range(5000)}}
    parsed, faults = parse_or_blame("w", "Command", given, 1)
    assert parsed is None and faults[0].way[0] == "inputs" and len(faults) <= 20

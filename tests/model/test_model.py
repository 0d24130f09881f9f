"""The terms: accepted values, refused ones with their messages, and no other failure of parsing."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaia_local.errors import GaiaError, InvalidInput
from gaia_local.model.commands import Command, CompositeCommand
from gaia_local.model.definition_fields import kind_of, warn_of_unknown_fields
from gaia_local.model.definitions import parse_commands, parse_steps
from gaia_local.model.events import Event, EventKind
from gaia_local.model.names import (
    check_internal_path,
    check_key,
    check_key_template,
    check_local_name,
    check_name,
)
from gaia_local.model.steps import DEFAULT_TIMEOUT, MAX_TIMEOUT, Step
from gaia_local.model.tasks import Task
from gaia_local.model.validation import check_list, check_text, render_value
from gaia_local.model.workflows import check_properties, check_workflow_name
from support.builders import nested_lists

COMMAND: dict[str, Any] = {
    "name": "c",
    "image": "busybox",
    "command": ["ls", "{{dir}}"],
    "vars": {"dir": "/"},
}
STEP: dict[str, Any] = {"name": "s", "command": "c"}
COMPOSITE: dict[str, Any] = {
    "name": "k",
    "inputs": ["in"],
    "outputs": ["out"],
    "steps": [{"name": "i", "command": "c"}],
}


def refusal(call: Callable[[], object]) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        call()
    error = caught.value
    assert error.where and error.problem and error.right
    return error


# ----------------------------------------------------------------------------------------- commands


def test_a_command_is_read_whole() -> None:
    given = {
        "name": "count",
        "image": "busybox:1",
        "command": ["wc", 3, True, 0.5, "{{a}}"],
        "inputs": {"in": "/in/x"},
        "outputs": {"out": "/out/y", "all": ">", "both": "STDOUT", "log": ">>", "dir": "/out/d/"},
        "vars": {"a": 1, "b": None} | {"b": "x"},
        "stdout": "/out/y",
    }
    command = Command.parse("w", given)
    assert isinstance(command, Command)
    assert (command.name, command.image, command.stdout) == ("count", "busybox:1", "/out/y")
    assert command.command == ("wc", "3", "true", "0.5", "{{a}}")
    assert command.inputs == {"in": "/in/x"}
    assert command.outputs == given["outputs"]
    assert command.vars == {"a": 1, "b": "x"}
    assert command.definition == given


def test_vars_may_be_declared_without_a_value() -> None:
    command = Command.parse("w", {**COMMAND, "vars": ["a", "b"]})
    assert command.vars == {"a": None, "b": None}


def test_a_composite_command_is_read_whole() -> None:
    composite = Command.parse("w", {**COMPOSITE, "vars": {"n": 1}})
    assert isinstance(composite, CompositeCommand)
    assert (composite.name, composite.inputs, composite.outputs, composite.vars) == (
        "k",
        ("in",),
        ("out",),
        {"n": 1},
    )
    assert [step.name for step in composite.steps] == ["i"]


def test_inner_steps_may_use_local_names_with_a_colon() -> None:
    inner = {"name": "i", "command": "c", "inputs": {"a": "in"}, "outputs": {"b": "local:name"}}
    composite = Command.parse("w", {**COMPOSITE, "steps": [inner]})
    assert isinstance(composite, CompositeCommand)
    assert composite.steps[0].outputs == {"b": "local:name"}


def test_equality_is_about_meaning_not_about_how_it_was_written() -> None:
    assert Command.parse("w", COMMAND) == Command.parse(
        "w", {**COMMAND, "inputs": None, "command": ("ls", "{{dir}}")}
    )
    assert Command.parse("w", COMMAND) != Command.parse("w", {**COMMAND, "image": "other"})
    assert Step.parse("w", STEP) == Step.parse("w", {**STEP, "timeout": 3600})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, ["Command ''", "empty"]),
        ({"name": None}, ["name of a Command is None"]),
        ({"name": 5}, ["name of a Command is 5"]),
        ({"name": 10**5000}, ["name of a Command is of type int"]),
        ({"name": "../x"}, ["'../x'", "'..'"]),
        ({"name": "/x"}, ["'/x'", "absolute"]),
        ({"name": "a\0b"}, ["Command", "NUL"]),
        ({"name": "a\nb"}, ["control character"]),
        ({"name": "a\x7fb"}, ["control character"]),
        ({"name": "a\u2028b"}, ["control character"]),
        ({"name": "a\udc80"}, ["cannot be encoded"]),
        ({"name": "x" * 256}, ["255 bytes"]),
        ({"name": "é" * 128}, ["255 bytes"]),
        ({"image": None}, ["'c'", "image is None", "steps"]),
        ({"image": " "}, ["image is ' '"]),
        ({"image": 7}, ["image is 7"]),
        ({"image": "a\0"}, ["image", "NUL"]),
        ({"command": None}, ["command is None", "list of tokens"]),
        ({"command": "ls -l"}, ["command is 'ls -l'", "list of tokens"]),
        ({"command": []}, ["command is []"]),
        ({"command": ["ls", None]}, ["command", "None", "text, a number or a boolean"]),
        ({"command": [["ls"]]}, ["command", "['ls']"]),
        ({"command": ["a\0"]}, ["command", "NUL"]),
        ({"inputs": ["a"]}, ["inputs is ['a']", "dictionary"]),
        ({"inputs": {"a": 1}}, ["inputs 'a' is 1", "string"]),
        ({"inputs": {"": "/in/a"}}, ["inputs has the key ''"]),
        ({"inputs": {3: "/in/a"}}, ["inputs has the key 3"]),
        ({"inputs": {"a": "in/a"}}, ["input 'a'", "'in/a'", "not absolute"]),
        ({"inputs": {"a": ">"}}, ["input 'a'", "not absolute"]),
        ({"inputs": {"a": "/in/../x"}}, ["input 'a'", "'..'"]),
        ({"inputs": {"a": "/"}}, ["input 'a'", "empty"]),
        ({"inputs": {"a": ""}}, ["input 'a'", "not absolute"]),
        ({"inputs": {"a": "/proc/x"}}, ["input 'a'", "directory of the system"]),
        ({"outputs": {"a": "/dev"}}, ["output 'a'", "directory of the system"]),
        ({"outputs": {"a": "//sys/x"}}, ["output 'a'", "directory of the system"]),
        ({"outputs": {"a": "/./dev/x"}}, ["output 'a'", "directory of the system"]),
        ({"outputs": {"a": ">>>"}}, ["output 'a'", "not absolute"]),
        ({"outputs": {"a": "/out/a\0"}}, ["output 'a'", "NUL"]),
        ({"outputs": {"a": "/out/{{x}}\0"}}, ["output 'a'", "NUL"]),
        ({"inputs": {"a": "/in/x", "b": "/in/x"}}, ["input 'a'", "input 'b'", "'/in/x'"]),
        (
            {"inputs": {"a": "/in/x", "b": "/in/./x/"}},
            ["input 'a'", "input 'b'", "one internal path"],
        ),
        (
            {"inputs": {"a": "/x"}, "outputs": {"b": "//x"}},
            ["input 'a'", "output 'b'", "one internal path"],
        ),
        ({"stdout": "out"}, ["stdout", "not absolute"]),
        ({"stdout": 1}, ["stdout", "internal path is 1"]),
        ({"stdout": ">"}, ["stdout", "not absolute"]),
        ({"stdout": "/out/"}, ["stdout", "directory"]),
        ({"stdout": "/x", "inputs": {"a": "/x"}}, ["stdout is '/x'", "input 'a'"]),
        ({"stdout": "/out", "outputs": {"a": "/out/"}}, ["stdout is '/out'", "output 'a'"]),
        ({"stdout": "/out", "outputs": {"a": "/out/b"}}, ["stdout is '/out'", "output 'a'"]),
        ({"vars": "x"}, ["vars is 'x'"]),
        ({"vars": {"a": [1]}}, ["var 'a'", "[1]"]),
        ({"vars": {"a": None}}, ["var 'a'", "None"]),
        ({"vars": ["a", "a"]}, ["vars has a name twice"]),
        ({"vars": ["a", 1]}, ["vars is ['a', 1]"]),
        ({"vars": {"a": float("nan")}}, ["JSON"]),
        ({"vars": {"a": float("inf")}}, ["JSON"]),
        ({"extra": {1, 2}}, ["JSON"]),
        ({"extra": nested_lists(100_000)}, ["100 levels"]),
        ({"vars": {"a": 10**5000}}, ["JSON"]),
    ],
)
def test_a_bad_command_is_refused(change: dict[str, Any], words: list[str]) -> None:
    error = refusal(lambda: Command.parse("flow7", {**COMMAND, **change}))
    assert "workflow 'flow7'" in str(error)
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": {"dir": "/out/", "file": "/out/file"}},
        {"outputs": {"one": "/out/x", "two": "/out/x"}},
        {"outputs": {"a": ">", "b": ">", "log": ">>"}},
        {"inputs": {"all": "/in/", "one": "/in/one"}, "outputs": {"new": "/in/new"}},
        {"outputs": {"a": "/out/x"}, "stdout": "/out/x"},
        {"outputs": {"a": "/out/./x"}, "stdout": "/out/x"},
        {"outputs": {"a": "/out/"}, "stdout": "/out/x"},
        {"outputs": {"a": "{{anything}}"}},
        {"outputs": {"a": "/devices/x", "b": "/out/dev"}},
        {"inputs": {"a": '/in/it\'s a "name" é'}},
        {"name": "with space, 'quotes' and é"},
        {"command": [""]},
    ],
)
def test_a_good_command_is_taken(change: dict[str, Any]) -> None:
    command = Command.parse("w", {**COMMAND, **change})
    assert command.definition == {**COMMAND, **change}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": "busybox"}, ["both image and steps"]),
        ({"reuse": False}, ["both reuse and steps", "its Steps"]),
        ({"steps": []}, ["steps is []", "list of Steps"]),
        ({"steps": {"name": "i"}}, ["steps is"]),
        ({"steps": [5]}, ["Command 'k'", "a Step is 5"]),
        ({"steps": [{"name": "i", "command": "c"}] * 2}, ["two inner Steps", "'i'"]),
        ({"steps": [{"name": "i"}]}, ["Command 'k'", "Step 'i'", "command is None"]),
        (
            {"steps": [{"name": "i", "command": "c", "inputs": {"a": "../x"}}]},
            ["input 'a'", "'../x'", "'..'"],
        ),
        ({"steps": [{"name": "i", "command": "c", "inputs": {"a": ""}}]}, ["input 'a'", "empty"]),
        ({"inputs": {"in": "/in"}}, ["inputs is", "list of names"]),
        ({"inputs": ["a", ""]}, ["inputs is"]),
        ({"outputs": ["a", "a"]}, ["outputs has a name twice"]),
        ({"outputs": ["a\0"]}, ["outputs", "NUL"]),
    ],
)
def test_a_bad_composite_command_is_refused(change: dict[str, Any], words: list[str]) -> None:
    error = refusal(lambda: Command.parse("flow7", {**COMPOSITE, **change}))
    assert "workflow 'flow7'" in str(error)
    assert "Command 'k'" in str(error)
    for word in words:
        assert word in str(error)


# -------------------------------------------------------------------------------------------- steps


def test_a_step_is_read_whole() -> None:
    given = {
        "name": "s",
        "command": "c",
        "inputs": {"a": "b:in/{{x}}"},
        "outputs": {"o": "plain/out", "d": "b:dir/"},
        "vars": {"x": ["1", 2, True], "y": 0.5},
        "timeout": 5,
    }
    step = Step.parse("w", given)
    assert (step.name, step.command, step.timeout) == ("s", "c", 5.0)
    assert (step.inputs, step.outputs) == (given["inputs"], given["outputs"])
    assert step.vars == {"x": ("1", 2, True), "y": 0.5}
    assert step.definition == given
    assert Step.parse("w", STEP).timeout == DEFAULT_TIMEOUT
    assert Step.parse("w", {**STEP, "timeout": MAX_TIMEOUT}).timeout == MAX_TIMEOUT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "s\0"}, ["NUL"]),
        ({"name": ["s"]}, ["name of a Step is ['s']"]),
        ({"command": ""}, ["command is ''", "name of a Command"]),
        ({"command": ["c"]}, ["command is ['c']"]),
        ({"inputs": {"a": ""}}, ["input 'a'", "empty"]),
        ({"inputs": {"a": 5}}, ["inputs 'a' is 5"]),
        ({"inputs": {"a": "/abs"}}, ["input 'a'", "'/abs'", "absolute"]),
        ({"outputs": {"a": "b:/abs"}}, ["output 'a'", "absolute"]),
        ({"outputs": {"a": ":x"}}, ["output 'a'", "bucket before ':' is empty"]),
        ({"outputs": {"a": "b:"}}, ["output 'a'", "empty"]),
        ({"outputs": {"a": "b:x/../y"}}, ["output 'a'", "'..'"]),
        ({"outputs": {"a": "..:x"}}, ["output 'a'", "bucket '..'", "'..'"]),
        ({"outputs": {"a": "a/..:x"}}, ["output 'a'", "'..'"]),
        ({"outputs": {"a": ".:x"}}, ["output 'a'", "bucket '.'", "doesn't name a file"]),
        ({"outputs": {"a": "b:."}}, ["output 'a'", "doesn't name a file"]),
        ({"outputs": {"a": "b:a\tb"}}, ["output 'a'", "control character"]),
        ({"outputs": {"a": "b:a\x85b"}}, ["output 'a'", "control character"]),
        ({"outputs": {"a": "b:" + "x" * 256}}, ["output 'a'", "255 bytes"]),
        ({"outputs": {"a": "b:.gaia-local/x"}}, ["output 'a'", "reserved for the engine"]),
        ({"inputs": {"a": ".gaia-local-x:y"}}, ["input 'a'", "reserved for the engine"]),
        ({"inputs": {"a": "{{x}}\0"}}, ["input 'a'", "NUL"]),
        ({"vars": [1]}, ["vars is [1]"]),
        ({"vars": {"v": None}}, ["var 'v'", "None"]),
        ({"vars": {"v": [[1]]}}, ["var 'v'", "[1]"]),
        ({"vars": {"v": {"a": 1}}}, ["var 'v'"]),
        ({"vars": {"v": "\0"}}, ["var 'v'", "NUL"]),
        ({"timeout": 0}, ["timeout is 0", "above 0"]),
        ({"timeout": -1}, ["timeout is -1"]),
        ({"timeout": True}, ["timeout is True"]),
        ({"timeout": "5"}, ["timeout is '5'"]),
        ({"timeout": 10**400}, ["timeout is 1000"]),
        ({"timeout": float("nan")}, ["JSON"]),
    ],
)
def test_a_bad_step_is_refused(change: dict[str, Any], words: list[str]) -> None:
    error = refusal(lambda: Step.parse("flow7", {**STEP, **change}))
    assert "workflow 'flow7'" in str(error)
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize(
    "given",
    [None, 5, "s", [], nested_lists(100_000), 10**5000],
    ids=lambda given: type(given).__name__,
)
def test_definitions_must_be_dictionaries(given: object) -> None:
    assert "a Step is" in str(refusal(lambda: Step.parse("w", given)))
    assert "a Command is" in str(refusal(lambda: Command.parse("w", given)))


def test_an_unknown_field_is_warned_of_not_refused(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "gaia_local"):
        warn_of_unknown_fields("w", "Step", [{**STEP, "tiemout": 5}])
    assert "'tiemout'" in caplog.text
    assert "'timeout'" in caplog.text
    assert "Step 's'" in caplog.text
    assert Step.parse("w", {**STEP, "tiemout": 5}) == Step.parse("w", STEP)


def test_of_many_unknown_fields_a_few_are_told(caplog: pytest.LogCaptureFixture) -> None:
    many = [{**STEP, "name": f"s{n}", "tiemout": 5} for n in range(100)]
    with caplog.at_level(logging.WARNING, "gaia_local"):
        warn_of_unknown_fields("w", "Step", many)
        warn_of_unknown_fields(
            "w", "Command", [{"name": "c", "steps": [STEP, *many], "immage": "i"}]
        )
        warn_of_unknown_fields(
            "w", "Command", [{**COMMAND, **{f"x{n}" * 1000: 1 for n in range(100_000)}}]
        )
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 9
    assert texts[:3] == [
        "workflow 'w', 100 Steps: the field 'tiemout' means nothing here; did you mean 'timeout'?",
        "workflow 'w', Command 'c': the field 'immage' means nothing here; did you mean 'image'?",
        "workflow 'w', 100 Steps: the field 'tiemout' means nothing here; did you mean 'timeout'?",
    ]
    assert texts[8] == "workflow 'w': 99995 more fields of Commands mean nothing here"
    assert max(map(len, texts)) < 300


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"Name": "c", "image": "i"},
            "entry 2 of the Commands: the name of a Command is None; "
            "write 'name' instead of 'Name'",
        ),
        ({"key": "c", "image": "i"}, "write 'name' instead of 'key'"),
        ({"name ": "c", "image": "i"}, "write 'name' instead of 'name '"),
        ({"nmae": "c", "image": "i"}, "write 'name' instead of 'nmae'"),
        ({"image": "i"}, "entry 2 of the Commands: the name of a Command is None; give a string"),
        ({"name": 7, "key": "c"}, "the name of a Command is 7; give a string"),
        (7, "entry 2 of the Commands: a Command is 7; give a dictionary"),
        ({"name": "c", "Image": "i"}, "Command 'c': image is None; write 'image' instead of"),
        ({"name": "c", "image": "i", "cmd": ["ls"]}, "write 'command' instead of 'cmd'"),
        (
            {"name": "k", "steps": [STEP, {"name": "i", "Command": "c"}]},
            "Command 'k', Step 'i': command is None; write 'command' instead of 'Command'",
        ),
        (
            {"name": "k", "steps": [STEP, {"step": "i", "command": "c"}]},
            "Command 'k', entry 2 of the Steps: the name of a Step is None; write 'name' instead "
            "of 'step'",
        ),
    ],
)
def test_a_misspelled_field_is_told_with_its_entry(given: object, words: str) -> None:
    assert words in str(refusal(lambda: parse_commands("w", [COMMAND, given])))


def test_many_commands_with_one_unknown_field_are_told_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    many = [{**COMMAND, "name": f"c{n}", "comment": "…"} for n in range(30)]
    with caplog.at_level(logging.WARNING, "gaia_local"):
        parse_commands("w", many)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "workflow 'w', 30 Commands: the field 'comment' means nothing here; "
    )


def test_commands_and_steps_in_each_others_place_are_guessed() -> None:
    told = str(refusal(lambda: parse_commands("w", [STEP])))
    assert told.startswith("workflow 'w', Command 's': ")
    assert told.endswith(
        "; commands seems to hold Steps: give Commands as commands, and Steps as steps"
    )
    assert "steps seems to hold Commands" in str(refusal(lambda: parse_steps("w", [COMMAND])))
    assert "steps seems to hold Commands" in str(
        refusal(lambda: parse_steps("w", [COMPOSITE, STEP, 7, COMPOSITE]))
    )
    assert kind_of([{**STEP, "name": 7}, {"name": "x"}, 5]) == "Step"
    assert kind_of([{"name": "x"}]) is kind_of({"name": "x"}) is None


@pytest.mark.parametrize("name", ["a/../b", "/a", "a\nb", "x" * 300, "."])
def test_no_message_names_a_thing_twice(name: str) -> None:
    for call in (
        lambda: check_workflow_name(name),
        lambda: Command.parse("w", {**COMMAND, "name": name}),
        lambda: Step.parse("w", {**STEP, "inputs": {"a": f"{name}:x"}}),
    ):
        told = str(refusal(call))
        assert not re.search(r"\b(\w+),? \1\b", told), told


def test_the_definition_is_the_values_own() -> None:
    given = {**STEP, "vars": {"x": [1, 2]}}
    step = Step.parse("w", given)
    given["vars"]["x"].append(3)
    assert step.definition["vars"]["x"] == [1, 2]
    properties = {"tags": ["a"]}
    checked = check_properties("w", properties)
    properties["tags"].append("b")
    assert checked["tags"] == ["a"]


# ------------------------------------------------------------------------------------- other checks


@pytest.mark.parametrize("name", ["w", "w_1", "with space", "é", "a:b", "x" * 255, "it's"])
def test_a_good_workflow_name_is_taken(name: str) -> None:
    assert check_workflow_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "/", "a/b", ".", "..", "a\nb", "x" * 256, None, 3, "\udc80", b"w"]
)
def test_a_bad_workflow_name_is_refused(name: object) -> None:
    assert "workflow" in str(refusal(lambda: check_workflow_name(name)))


@pytest.mark.parametrize(
    "key",
    ["a", "a/b", "b:a", "b:a/", "b:a:b", "a//b/./c", "b/c:d", "...", "b:a..b", "composite/O/I/k:n"],
)
def test_a_good_key_is_taken(key: str) -> None:
    check_key("w", key)
    check_key_template("w", key)


def test_a_template_of_a_key_is_checked_when_it_is_filled_in() -> None:
    check_key_template("w", "{{anything}}/..")
    refusal(lambda: check_key_template("w", "x/.."))


def test_other_refusals_name_what_is_wrong() -> None:
    assert "Step 'a//..'" in str(refusal(lambda: check_name("w", "a//..", "Step")))
    assert "name 'x/..'" in str(refusal(lambda: check_local_name("w", "x/..")))
    assert "'/proc/x'" in str(refusal(lambda: check_internal_path("w", "/proc/x")))
    assert "NUL" in str(refusal(lambda: check_text("w", "a\0")))
    assert "steps is a str" in str(refusal(lambda: check_list("w", "steps", "s")))
    assert "properties is 5" in str(refusal(lambda: check_properties("w", 5)))
    assert "properties" in str(refusal(lambda: check_properties("w", {"x": object()})))


def test_properties_have_an_owner() -> None:
    assert check_properties("ada_flow_1", None) == {"owner": "ada"}
    assert check_properties("flow", {"x": 1}) == {"x": 1, "owner": "flow"}
    assert check_properties("ada_flow", {"owner": "bob"}) == {"owner": "bob"}


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (1, "1"), (0.5, "0.5"), (True, "true"), (False, "false")]
)
def test_values_as_text(value: str | float | bool, text: str) -> None:
    assert render_value(value) == text


# --------------------------------------------------------------------------------------- wire forms


def test_a_task_on_the_wire() -> None:
    task = Task("i", "s", "w", "image", ("a", "b"), (("k", "/in"),), (("o", ">"),), None, 5.0)
    assert task.wire("running") == {
        "id": "i",
        "name": "s",
        "workflow": "w",
        "image": "image",
        "command": ["a", "b"],
        "inputs": [["k", "/in"]],
        "outputs": [["o", ">"]],
        "timeout": 5.0,
        "state": "running",
    }


def test_an_event_on_the_wire() -> None:
    event = Event(EventKind.STEP_START, "w", 12.5, {"id": "i", "task": "s"})
    assert event.wire() == {
        "event": "step-start",
        "workflow": "w",
        "time": 12.5,
        "id": "i",
        "task": "s",
    }
    assert type(event.wire()["event"]) is str


def test_events_written_before_the_end_of_their_task() -> None:
    assert {kind for kind in EventKind if kind.written_at_once} == {"step-start", "execution-start"}


def test_events_that_begin_a_task() -> None:
    first = {"step-start", "step-adopted", "step-reused"}
    assert {kind for kind in EventKind if kind.begins} == first


# ----------------------------------------------------------------------------------------- anything

texts = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["a", "/in/a", "b:x", "..", ">", ">>", "{{x}}", "b:", "/", "a/b/"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.just(10**400)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
pairs = st.dictionaries(texts, texts, max_size=3) | anything
fields = {
    "image": texts | anything,
    "command": st.lists(texts, max_size=3) | texts | anything,
    "inputs": pairs,
    "outputs": pairs,
    "vars": st.dictionaries(texts, anything, max_size=3) | anything,
    "stdout": texts | anything,
    "timeout": st.integers() | st.floats() | st.just(10**400) | anything,
    "other": anything,
}
likely = st.fixed_dictionaries({"name": st.just("n")}, optional=fields)
steps = st.lists(
    st.fixed_dictionaries(
        {"name": texts, "command": texts}, optional={"inputs": pairs, "outputs": pairs}
    ),
    max_size=3,
)
composites = st.fixed_dictionaries(
    {"name": st.just("n"), "steps": steps | anything},
    optional={
        "inputs": st.lists(texts, max_size=3) | anything,
        "outputs": anything,
        "vars": anything,
    },
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(anything, likely, composites))
def test_parsing_answers_or_refuses(value: object) -> None:
    for parse in (Command.parse, Step.parse):
        try:
            parsed = parse("w", value)
        except GaiaError as error:
            assert "workflow 'w'" in str(error)
            continue
        # An accepted definition can be stored, and is the same when read back.
        assert parse("w", json.loads(json.dumps(parsed.definition))) == parsed


@settings(max_examples=300, deadline=None)
@given(texts | anything)
def test_checks_answer_or_refuse(value: object) -> None:
    for check in (
        check_workflow_name,
        lambda name: check_properties("w", name),
        lambda name: check_list("w", "steps", name),
    ):
        try:
            check(value)
        except GaiaError as error:
            assert "workflow" in str(error)


@settings(max_examples=300)
@given(st.text(st.sampled_from("a.:/"), max_size=8))
def test_a_key_that_is_taken_stays_inside(key: str) -> None:
    try:
        check_key("w", key)
    except InvalidInput:
        return
    bucket, colon, path = key.partition(":")
    for part in (bucket, path) if colon else (bucket,):
        assert ".." not in part.split("/")
        assert not part.startswith("/")
        assert part.replace(".", "").replace("/", "") or "..." in part

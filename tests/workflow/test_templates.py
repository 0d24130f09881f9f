"""Rendering, array vars, composite Commands, limits; the real server's recorded expansion."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaia_local.errors import GaiaError, InvalidInput
from gaia_local.model.commands import AnyCommand, Command
from gaia_local.model.steps import Step
from gaia_local.workflow import expansion, templates
from gaia_local.workflow.expansion import expand
from gaia_local.workflow.templates import Rendered, Verdicts, check, render
from support.recordings import RECORDED

Answer = tuple[Rendered | None, str]


def command(**fields: Any) -> Command:
    """A plain Command `C` with the given fields."""
    parsed = Command.parse("w", {"name": "C", "image": "i", "command": ["true"], **fields})
    assert isinstance(parsed, Command)
    return parsed


def commands(*definitions: dict[str, Any]) -> dict[str, AnyCommand]:
    parsed = [Command.parse("w", definition) for definition in definitions]
    return {definition.name: definition for definition in parsed}


def step(**fields: Any) -> Step:
    """A Step `s` of the Command `C` with the given fields."""
    return Step.parse("w", {"name": "s", "command": "C", **fields})


def tokens(*texts: str, **vars: Any) -> tuple[str, ...]:
    return render("w", step(vars=vars), command(command=list(texts))).tokens


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(InvalidInput) as caught:
        action()
    return str(caught.value)


def render_and_check(
    given_step: Step, given_command: Command, known: Verdicts | None = None
) -> Answer:
    """The answer of `render`, or its refusal's text; `check` must agree, at first and later."""
    verdicts: Verdicts = {} if known is None else known
    try:
        answer, text = render("w", given_step, given_command), ""
    except InvalidInput as refusal:
        answer, text = None, str(refusal)
    for _ in range(2):
        try:
            check("w", given_step, given_command, verdicts)
            assert answer is not None
        except InvalidInput as refusal:
            assert str(refusal) == text
    return answer, text


# ---------------------------------------------------------------------------------------- rendering


@pytest.mark.parametrize(
    ("token", "vars", "expected"),
    [
        ("plain", {}, "plain"),
        ("", {}, ""),
        ("{{A}}", {"A": "x"}, "x"),
        ("{{  A }}/{{A}}", {"A": "x"}, "x/x"),
        ("--t={{length-sec}}s", {"length-sec": 10}, "--t=10s"),
        ("{{a_b}}{{_}}{{-}}", {"a_b": "1", "_": "2", "-": "3"}, "123"),
        ("{{0}}", {"0": "zero"}, "zero"),
        ("{{N}} {{F}} {{E}}", {"N": -3, "F": 0.5, "E": 1e300}, "-3 0.5 1e+300"),
        ("{{T}} {{F}}", {"T": True, "F": False}, "true false"),
        ("[{{A}}]", {"A": ""}, "[]"),
        ("{{A}}", {"A": "<{{B}}>", "B": "({{C}})", "C": "c"}, "<(c)>"),
        ("{{A}}{{A}}", {"A": "{{B}}{{B}}", "B": "b"}, "bbbb"),
        ('{{A}} & <b> "q"', {"A": "\"'<>&"}, '"\'<>& & <b> "q"'),
        ('{"a": {"b": {{N}}}}', {"N": 1}, '{"a": {"b": 1}}'),
        (
            "awk '{print $1}' ${HOME} {A} { {A} }",
            {"A": "x"},
            "awk '{print $1}' ${HOME} {A} { {A} }",
        ),
        (
            "{{ not plain }} {{}} {{ }} {{a.b}} {{#A}} {{{{",
            {"A": "x"},
            "{{ not plain }} {{}} {{ }} {{a.b}} {{#A}} {{{{",
        ),
        ("{{{A}}} {{{{A}}}}", {"A": "x"}, "{x} {{x}}"),
        ("{{\tA}} {{\nA}}", {"A": "x"}, "{{\tA}} {{\nA}}"),
        ("{{A", {"A": "x"}, "{{A"),
        ("{{größe}} ☃ {{名}}", {"größe": "Ω", "名": "\U0001f40d"}, "Ω ☃ \U0001f40d"),
        ("a\nb {{A}}\n", {"A": "x\ny"}, "a\nb x\ny\n"),
        (r"\1 \g<0> {{A}}", {"A": r"\1"}, r"\1 \g<0> \1"),
    ],
)
def test_vars_in_tokens_are_rendered(token: str, vars: dict[str, Any], expected: str) -> None:
    answer, text = render_and_check(step(vars=vars), command(command=[token]))
    assert text == ""
    assert answer is not None
    assert answer.tokens == (expected,)


def test_rendered_text_is_not_rendered_again() -> None:
    assert tokens("{{{{A}}}}", A="B", B="never") == ("{{B}}",)


def test_vars_of_the_step_win_over_the_commands() -> None:
    given_command = command(command=["{{A}} {{B}}"], vars={"A": "a", "B": "{{A}}b"})
    assert render("w", step(), given_command).tokens == ("a ab",)
    assert render("w", step(vars={"A": 1}), given_command).tokens == ("1 1b",)


def test_the_keys_of_the_command_mean_internal_paths() -> None:
    given_command = command(
        command=["{{sim-in}} {{sim-out}} {{log}} {{where}}"],
        inputs={"sim-in": "/in/{{A}}"},
        outputs={"sim-out": "/out/{{A}}/", "log": ">>"},
        vars={"A": "a", "where": "at {{sim-in}}"},
    )
    given_step = step(
        inputs={"sim-in": "b:i"}, outputs={"log": "b:l", "sim-out": "b:o/"}, timeout=5
    )
    assert render_and_check(given_step, given_command)[0] == Rendered(
        tokens=("/in/a /out/a/ >> at /in/a",),
        inputs=(("b:i", "/in/a"),),
        outputs=(("b:o/", "/out/a/"), ("b:l", ">>")),
        stdout=None,
        image="i",
        timeout=5.0,
    )


def test_a_var_shadows_a_key() -> None:
    given_command = command(command=["{{x}}"], outputs={"x": "/out/x"})
    assert render("w", step(outputs={"x": "b:x"}), given_command).tokens == ("/out/x",)
    answer = render("w", step(outputs={"x": "b:x"}, vars={"x": "mine"}), given_command)
    assert (answer.tokens, answer.outputs) == (("mine",), (("b:x", "/out/x"),))


def test_a_key_of_an_input_and_an_output_means_neither() -> None:
    given_command = command(command=["{{x}}"], inputs={"x": "/in/x"}, outputs={"x": "/out/x"})
    given_step = step(inputs={"x": "b:i"}, outputs={"x": "b:o"})
    assert "the var 'x' has no single value" in render_and_check(given_step, given_command)[1]
    given_step = dataclasses.replace(given_step, vars={"x": "mine"})
    assert render("w", given_step, given_command).tokens == ("mine",)


def test_stdout_is_a_template() -> None:
    given_command = command(stdout="/out/{{A}}.txt", outputs={"o": "/out/{{A}}.txt"})
    answer, _ = render_and_check(step(outputs={"o": "b:o"}, vars={"A": "x"}), given_command)
    assert answer is not None
    assert (answer.stdout, answer.outputs) == ("/out/x.txt", (("b:o", "/out/x.txt"),))


@pytest.mark.parametrize(
    ("fields", "vars", "words"),
    [
        (
            {"command": ["{{LENGHT}}"]},
            {"LENGTH": 1},
            ["'w'", "'s'", "'C'", "token 1", "'LENGHT'", "did you mean 'LENGTH'"],
        ),
        (
            {"command": ["a", "{{A}}"], "vars": {"A": "{{B}}"}},
            {},
            ["'s'", "'C'", "token 2", "var 'A'", "'B' is undefined"],
        ),
        ({"command": ["{{A}}"], "vars": ["A"]}, {}, ["'s'", "'C'", "'A' has no single value"]),
        ({"command": ["{{A}}"]}, {"A": "{{A}}"}, ["loop: A → A"]),
        (
            {"command": ["{{X}}"]},
            {"X": "{{A}}", "A": "{{B}}", "B": "{{C}}", "C": "{{A}}"},
            ["loop: A → B → C → A"],
        ),
        ({"command": ["{{A}}"]}, {"A": ["1", "2"]}, ["'A' has no single value"]),
        ({"stdout": "{{A}}"}, {"A": "out"}, ["stdout", "'out'", "not absolute"]),
        ({"stdout": "/{{ not plain }}/.."}, {}, ["stdout", "'..'"]),
    ],
)
def test_invalid_tokens_are_refused(
    fields: dict[str, Any], vars: dict[str, Any], words: list[str]
) -> None:
    text = render_and_check(step(vars=vars), command(**fields))[1]
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    ("inputs", "outputs", "vars", "words"),
    [
        ({"i": "/in/{{A}}"}, {}, {"A": "../x"}, ["input 'i'", "'..'"]),
        ({"i": "{{A}}"}, {}, {"A": "in/x"}, ["input 'i'", "not absolute"]),
        ({"i": "{{A}}"}, {}, {"A": ">"}, ["input 'i'", "not absolute"]),
        ({"i": "/{{A}}"}, {}, {"A": "a\nb"}, ["input 'i'", "control character"]),
        ({"i": "/{{A}}"}, {}, {"A": "a" * 256}, ["input 'i'", "255 bytes"]),
        ({"i": "/{{ not plain }}/../x"}, {}, {}, ["input 'i'", "'..'"]),
        ({}, {"o": "{{A}}"}, {"A": ""}, ["output 'o'", "not absolute"]),
        ({}, {"o": "/{{A}}"}, {"A": "proc/x"}, ["output 'o'", "directory of the system"]),
        ({"i": "/in/{{i}}"}, {}, {}, ["input 'i'", "loop: i → i"]),
        ({"i": "/in/{{o}}"}, {"o": "/out/{{i}}"}, {}, ["input 'i'", "loop: o → i → o"]),
        (
            {"i": "/x/{{A}}", "j": "/x/1"},
            {},
            {"A": 1},
            ["input 'i'", "input 'j'", "one internal path"],
        ),
        (
            {"i": "/x/{{A}}"},
            {"o": "/x/1/"},
            {"A": 1},
            ["input 'i'", "output 'o'", "one internal path"],
        ),
    ],
)
def test_invalid_internal_paths_are_refused(
    inputs: dict[str, str], outputs: dict[str, str], vars: Any, words: list[str]
) -> None:
    given_command = command(inputs=inputs, outputs=outputs)
    given_step = step(
        inputs=dict.fromkeys(inputs, "b:x"), outputs=dict.fromkeys(outputs, "b:y"), vars=vars
    )
    text = render_and_check(given_step, given_command)[1]
    assert [word for word in ["'s'", "'C'", *words] if word not in text] == []


@pytest.mark.parametrize(
    "path", ["/out/{{A}}", ">", "STDOUT", ">>", "{{B}}", "/a/{{ not plain }}/b"]
)
def test_two_outputs_may_have_one_internal_path(path: str) -> None:
    given_command = command(outputs={"o": path, "p": path})
    given_step = step(outputs={"o": "b:o", "p": "b:p"}, vars={"A": 1, "B": ">>"})
    answer, text = render_and_check(given_step, given_command)
    assert text == ""
    assert answer is not None
    assert answer.outputs[0][1] == answer.outputs[1][1]


@pytest.mark.parametrize(
    "value",
    ["x", "{{ALL}}", "{{OTHER}}", "{{MISSING}}", "a/../b", "y" * 5000, "y" * 1_000_001, 7, True],
)
def test_check_agrees_with_render_for_one_command_and_many_values(value: Any) -> None:
    verdicts: Verdicts = {}
    shared = command(
        command=["{{ALL}}", "{{V}}"],
        outputs={"o": "/o/{{P}}"},
        vars={"ALL": "<{{V}}>", "P": "p", "OTHER": "o"},
    )
    for vars in (
        {"V": "good"},
        {"V": value},
        {"V": "good", "P": value},
        {"V": value, "P": "q"},
        {"V": "good"},
    ):
        render_and_check(step(outputs={"o": "b:o"}, vars=vars), shared, verdicts)


# ------------------------------------------------------------------------------------------- arrays


def test_the_recorded_expansion_of_the_real_server() -> None:
    recorded = json.loads((RECORDED / "expand.json").read_text())
    known = commands(*recorded["commands"])
    expanded = [
        made
        for given_step in recorded["steps"]
        for made in expand("w", Step.parse("w", given_step), known)
    ]
    verdicts: Verdicts = {}
    for made in expanded:
        check("w", made, cast(Command, known[made.command]), verdicts)
    answers = [
        {name: getattr(made, name) for name in ("name", "command", "vars", "inputs", "outputs")}
        for made in expanded
    ]
    assert sorted(answers, key=lambda answer: answer["name"]) == sorted(
        recorded["expanded"], key=lambda answer: answer["name"]
    )


ONE_OUT = command(outputs={"o": "/out"}, vars={"DEFAULT": "d"})


def expanded(key: str, name: str = "s", **vars: Any) -> dict[str, str]:
    """Name → storage key of the Steps that one Step with one output becomes."""
    given_step = step(name=name, outputs={"o": key}, vars=vars)
    return {made.name: made.outputs["o"] for made in expand("w", given_step, {"C": ONE_OUT})}


def test_a_concrete_step_is_returned_as_it_is() -> None:
    given_step = step(outputs={"o": "b:{o}"}, vars={"A": "{{B}}"})
    assert expand("w", given_step, {"C": ONE_OUT})[0] is given_step


def test_storage_keys_are_templates_without_arrays_too() -> None:
    assert expanded("b:{{A}}/{{B}}", A="x{{B}}", B=True) == {"s": "b:xtrue/true"}
    assert expanded("{{ not plain }}") == {"s": "{{ not plain }}"}


def test_arrays_are_crossed_by_sorted_name() -> None:
    assert list(expanded("{{Z}}/{{A}}", Z=[1, 2], A=["a", "b"]).items()) == [
        ("s-a-1", "1/a"),
        ("s-a-2", "2/a"),
        ("s-b-1", "1/b"),
        ("s-b-2", "2/b"),
    ]


def test_values_are_cleaned_in_names_only() -> None:
    assert expanded("k/{{A}}", A=["x.y", "z w", "é-2", 0.5, -1, True, "☃"]) == {
        "s-xy": "k/x.y",
        "s-zw": "k/z w",
        "s--2": "k/é-2",
        "s-05": "k/0.5",
        "s--1": "k/-1",
        "s-true": "k/true",
        "s-": "k/☃",
    }


def test_an_array_of_one_value_still_names_the_step() -> None:
    assert expanded("k/{{A}}", A=["x"]) == {"s-x": "k/x"}


@pytest.mark.parametrize(
    ("made", "number"),
    [
        (step(), 1),
        (step(vars={"a": [1, 2, 3], "b": [1, 2], "c": 5}, inputs={}), 6),
        (step(command="twice"), 2),
        (step(command="twice", vars={"a": [1, 2, 3]}), 6),
        (step(command="fourfold"), 12),
    ],
)
def test_steps_are_counted_without_being_made(made: Step, number: int) -> None:
    inner = {"name": "i", "command": "C"}
    known = commands(
        {"name": "C", "image": "i", "command": ["true"]},
        {"name": "twice", "steps": [inner, {**inner, "name": "j"}]},
        {
            "name": "fourfold",
            "steps": [{**inner, "command": "twice", "vars": {"x": list(range(6))}}],
        },
    )
    counter = expansion.Counter("w", known)
    assert [counter.count(made), counter.count(made)] == [number, number]
    assert len(expand("w", made, known)) == number


def test_an_empty_array_makes_nothing_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "gaia_local"):
        assert expanded("k/{{A}}", A=[], B=[1, 2]) == {}
    assert [record.getMessage() for record in caplog.records] == [
        "workflow 'w', Step 's': the array var 'A' is empty, so it makes no Steps"
    ]


def test_expanded_steps_keep_the_rest() -> None:
    given_step = step(outputs={"o": "{{A}}"}, vars={"A": [1, 2], "B": "b"}, timeout=7)
    first, second = expand("w", given_step, {"C": ONE_OUT})
    assert (first.vars, second.vars) == ({"A": 1, "B": "b"}, {"A": 2, "B": "b"})
    assert (first.timeout, first.command, first.definition) == (7.0, "C", given_step.definition)


@pytest.mark.parametrize(
    ("key", "vars", "words"),
    [
        (
            "b:{{ANIMUL}}",
            {"ANIMAL": "cat"},
            ["output 'o'", "b:{{ANIMUL}}", "'ANIMUL' is undefined", "did you mean 'ANIMAL'"],
        ),
        ("b:{{DEFAULT}}", {}, ["output 'o'", "'DEFAULT' is undefined"]),
        ("b:{{A}}", {"A": "{{A}}"}, ["output 'o'", "loop: A → A"]),
        ("b:{{A}}", {"A": ["x", "../x"]}, ["output 'o'", "b:../x", "'..'"]),
        ("{{A}}", {"A": ""}, ["output 'o'", "empty"]),
        ("b:k", {"A": ["a.b", "ab"]}, ["'s-ab'", "{'A': 'a.b'}", "{'A': 'ab'}"]),
        (
            "b:k",
            {"A": ["a", "a-b"], "B": ["b-c", "c"]},
            ["'s-a-b-c'", "{'A': 'a', 'B': 'b-c'}", "{'A': 'a-b', 'B': 'c'}"],
        ),
        ("b:k", {"A": ["a" * 300]}, ["255 bytes"]),
    ],
)
def test_invalid_expansions_are_refused(key: str, vars: dict[str, Any], words: list[str]) -> None:
    text = refused(lambda: expanded(key, **vars))
    assert [word for word in ["'w'", "'s'", *words] if word not in text] == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"command": "D"}, ["there is no Command 'D'"]),
        ({"command": "Cc"}, ["did you mean 'C'?"]),
        ({"outputs": {}}, ["Command 'C'", "output 'o'"]),
        (
            {"outputs": {"o": "k", "oo": "k"}},
            ["Command 'C'", "no output 'oo'", "did you mean 'o'?"],
        ),
        ({"inputs": {"i": "k"}}, ["Command 'C'", "no input 'i'"]),
    ],
)
def test_a_step_fits_its_command(fields: dict[str, Any], words: list[str]) -> None:
    given_step = step(**{"outputs": {"o": "k"}, **fields})
    text = refused(lambda: expand("w", given_step, {"C": ONE_OUT}))
    assert [word for word in ["'w'", "'s'", *words] if word not in text] == []
    if given_step.command == "C":
        assert render_and_check(given_step, ONE_OUT)[1] == text


# ------------------------------------------------------------------------------- composite Commands

COPY = {
    "name": "copy",
    "image": "i",
    "command": ["cp", "{{V}}"],
    "inputs": {"from": "/i"},
    "outputs": {"to": "/o"},
    "vars": {"V": 0},
}


def inner(name: str, source: str, target: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "command": "copy",
        "inputs": {"from": source},
        "outputs": {"to": target},
        **fields,
    }


def composite(*steps: dict[str, Any], name: str = "C", vars: Any = None) -> dict[str, Any]:
    return {"name": name, "inputs": ["A"], "outputs": ["Z"], "vars": vars, "steps": list(steps)}


def flattened(
    *definitions: dict[str, Any], **vars: Any
) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Name → input key, output key and vars of the inner Steps of the composite Command `C`."""
    given_step = step(inputs={"A": "k/a"}, outputs={"Z": "k/z"}, vars=vars)
    made = expand("w", given_step, commands(COPY, *definitions))
    return {
        made_step.name: (made_step.inputs["from"], made_step.outputs["to"], dict(made_step.vars))
        for made_step in made
    }


def test_local_names_become_storage_keys() -> None:
    assert flattened(composite(inner("one", "A", "mid"), inner("two", "mid", "Z"))) == {
        "s:one": ("k/a", "composite/s/one/to:mid", {}),
        "s:two": ("composite/s/one/to:mid", "k/z", {}),
    }


def test_an_inner_step_may_read_an_output_of_its_composite_command() -> None:
    made = flattened(composite(inner("one", "A", "Z"), inner("two", "Z", "unused/")))
    assert made["s:two"][:2] == ("k/z", "composite/s/two/to:unused/")


def test_inner_vars_are_templates_over_the_outer_ones_and_nothing_is_inherited() -> None:
    given = inner("one", "A", "Z", vars={"V": "{{P}}-{{Q}}", "P": "{{P}}", "N": 1, "T": ["{{Q}}"]})
    made = flattened(composite(given, vars={"P": "p", "Q": "default"}), Q="{{R}}", R=True)
    assert made == {"s:one-true": ("k/a", "k/z", {"V": "p-true", "P": "p", "N": 1, "T": "true"})}


def test_inner_timeouts_are_kept() -> None:
    given_step = step(inputs={"A": "k/a"}, outputs={"Z": "k/z"}, timeout=1)
    (made,) = expand("w", given_step, commands(COPY, composite(inner("one", "A", "Z", timeout=9))))
    assert made.timeout == 9.0


def test_arrays_inside_with_local_names_over_their_vars() -> None:
    ends = inner("end", "mid-2", "Z")
    made = flattened(composite(inner("one", "A", "mid-{{V}}", vars={"V": [1, "{{P}}"]}), ends), P=2)
    assert made == {
        "s:one-1": ("k/a", "composite/s/one-1/to:mid-1", {"V": 1}),
        "s:one-2": ("k/a", "composite/s/one-2/to:mid-2", {"V": "2"}),
        "s:end": ("composite/s/one-2/to:mid-2", "k/z", {}),
    }


def test_arrays_outside_nested_and_inside() -> None:
    deep = composite(inner("x", "A", "m", vars={"V": "{{N}}"}), inner("y", "m", "Z"), name="deep")
    use = {
        "name": "in",
        "command": "deep",
        "inputs": {"A": "A"},
        "outputs": {"Z": "Z{{N}}"},
        "vars": {"N": [1, 2]},
    }
    made = flattened(deep, composite(use, inner("last", "Z1", "Z")), OUT=["a", "b"])
    assert sorted(made) == sorted(
        f"s-{out}:{name}"
        for out in "ab"
        for name in ("in-1:x", "in-1:y", "in-2:x", "in-2:y", "last")
    )
    assert made["s-b:in-2:y"][:2] == ("composite/s-b:in-2/x/to:m", "composite/s-b/in-2/Z:Z2")
    assert made["s-b:last"][:2] == ("composite/s-b/in-1/Z:Z1", "k/z")


def test_braces_in_the_outer_names_are_not_rendered_again() -> None:
    given_step = step(
        name="{{s}}", inputs={"A": "{{{{P}}}}"}, outputs={"Z": "k/z"}, vars={"P": "Q"}
    )
    made = expand(
        "w", given_step, commands(COPY, composite(inner("one", "A", "m"), inner("two", "m", "Z")))
    )
    assert [dict(made_step.inputs) for made_step in made] == [
        {"from": "{{Q}}"},
        {"from": "composite/{{s}}/one/to:m"},
    ]


@pytest.mark.parametrize(
    ("definitions", "words"),
    [
        (
            [composite(inner("one", "A", "Z"), inner("two", "Q", "x"))],
            ["inner Step 'two'", "input 'from' is 'Q'"],
        ),
        ([composite(inner("one", "A", "Y"))], ["no inner Step makes the output 'Z'", "'Y'"]),
        (
            [composite(inner("one", "A", "Z"), inner("two", "A", "Z"))],
            ["inner Step 'two'", "inner Step 'one' makes 'Z' already"],
        ),
        (
            [composite(inner("one", "A", "Z"), inner("two", "Z", "A"))],
            ["inner Step 'two'", "'A' is an input"],
        ),
        (
            [composite(inner("one", "A", "Z", vars={"V": [1, 2]}))],
            ["inner Step 'one-2'", "inner Step 'one-1' makes 'Z' already"],
        ),
        (
            [composite(inner("one", "A", "Z", vars={"V": []}))],
            ["no inner Step makes the output 'Z'"],
        ),
        (
            [composite(inner("one", "A", "Z", vars={"V": "{{P}}"}))],
            ["inner Step 'one', var 'V'", "'P' is undefined"],
        ),
        (
            [composite(inner("one", "A", "Z", vars={"V": "{{P}}"}), vars=["P"])],
            ["inner Step 'one'", "'P' has no single value"],
        ),
        (
            [composite(inner("one", "A", "Z"), inner("two", "A", "{{P}}"), vars={"P": 1})],
            ["'two'", "'P' is undefined"],
        ),
        (
            [composite(inner("one", "A", "Z", command="cpoy"))],
            ["inner Step 'one'", "did you mean 'copy'"],
        ),
        (
            [composite(inner("one", "A", "Z", inputs={}))],
            ["inner Step 'one'", "'copy'", "input 'from'"],
        ),
        (
            [composite(inner("one", "A", "Z"), inner("two", "A", "{{P}}", vars={"P": "../x"}))],
            ["'two'", "'..'"],
        ),
        ([composite(inner("one", "A", "Z"), inner("n" * 254, "A", "x"))], ["255 bytes"]),
        (
            [composite(inner("a", "A", "Z", vars={"V": [1]}), inner("a-1", "A", "x"))],
            ["named 's:a-1'", "'a' with {'V': 1}", "'a-1' with {}"],
        ),
        (
            [
                composite(inner("b", "A", "Z", command="B", inputs={"A": "A"}, outputs={"Z": "Z"})),
                composite(
                    inner("c", "A", "Z", command="C", inputs={"A": "A"}, outputs={"Z": "Z"}),
                    name="B",
                ),
            ],
            ["loop: C → B → C"],
        ),
        (
            [composite(inner("c", "A", "Z", command="C", inputs={"A": "A"}, outputs={"Z": "Z"}))],
            ["loop: C → C"],
        ),
    ],
)
def test_invalid_composite_commands_are_refused(
    definitions: list[dict[str, Any]], words: list[str]
) -> None:
    text = refused(lambda: flattened(*definitions))
    assert [word for word in ["'w'", "Step 's", "'C'", *words] if word not in text] == []


def test_a_step_gives_what_a_composite_command_asks_for() -> None:
    known = commands(COPY, composite(inner("one", "A", "Z")))
    assert "Command 'C': the Step does not give its input 'A'" in refused(
        lambda: expand("w", step(outputs={"Z": "k"}), known)
    )
    given_step = step(inputs={"A": "k", "B": "k"}, outputs={"Z": "k"})
    assert "it has no input 'B'" in refused(lambda: expand("w", given_step, known))


# ------------------------------------------------------------------------------------------- limits


def quickly(action: Callable[[], object]) -> str:
    """The refusal of `action`, within a time that is too short for its work."""
    start = time.perf_counter()
    text = refused(action)
    assert time.perf_counter() - start < 5
    return text


def test_too_many_combinations() -> None:
    assert "over 1,000,000 Steps" in quickly(
        lambda: expanded("k", A=list(range(1001)), B=list(range(1000)))
    )
    vars: dict[str, Any] = {f"V{number}": list(range(1000)) for number in range(1000)}
    assert "over 1,000,000 Steps" in quickly(lambda: expanded("k", **vars))


def nested(depth: int, *names: str) -> list[dict[str, Any]]:
    """Composite Commands, each of which uses the next once for each name of `names`."""
    definitions = [composite(inner("end", "A", "Z"), name=f"C{depth}")]
    for level in reversed(range(depth)):
        uses = [
            inner(
                name,
                "A",
                "Z" if name == names[0] else name,
                command=f"C{level + 1}",
                inputs={"A": "A"},
            )
            for name in names
        ]
        for use, name in zip(uses, names, strict=True):
            use["outputs"] = {"Z": "Z" if name == names[0] else name}
        definitions.append(composite(*uses, name=f"C{level}" if level else "C"))
    return definitions


def test_too_many_nested_steps() -> None:
    assert "over 1,000,000 Steps" in quickly(lambda: flattened(*nested(60, *"abcdefghij")))
    assert len(flattened(*nested(6, "a", "b"))) == 64


def test_empty_arrays_hide_no_work() -> None:
    empty = composite(inner("end", "A", "Z", vars={"V": []}))
    assert "over 1,000,000 Steps" in quickly(
        lambda: flattened(empty, A=list(range(2000)), B=list(range(2000)))
    )


def test_composite_commands_nest_only_so_deep() -> None:
    assert list(flattened(*nested(99, "a"))) == ["s:" + "a:" * 99 + "end"]
    assert "nest over 100 deep" in quickly(lambda: flattened(*nested(100, "a")))
    assert "nest over 100 deep" in quickly(lambda: flattened(*nested(5000, "a")))


def test_depth_is_seen_through_commands_that_were_measured_before() -> None:
    chain = nested(300, "a")
    uses = []
    for number in reversed(range(1, 300)):
        use = inner(
            f"u{number}",
            "A",
            f"u{number}",
            command=f"C{number}",
            inputs={"A": "A"},
            outputs={"Z": f"u{number}"},
        )
        uses.append(use)
    assert "nest over 100 deep" in quickly(
        lambda: flattened(*chain[:-1], composite(*uses, inner("end", "A", "Z")))
    )


def test_billion_laughs() -> None:
    vars = {
        "v0": "lol" * 10,
        **{f"v{number}": f"{{{{v{number - 1}}}}}" * 10 for number in range(1, 30)},
    }
    shared = command(command=["{{v29}}"])
    assert "over 1,000,000 characters" in quickly(lambda: render("w", step(vars=vars), shared))
    assert "over 1,000,000 characters" in quickly(lambda: check("w", step(vars=vars), shared, {}))
    assert "over 1,000,000 characters" in quickly(lambda: expanded("{{v29}}", **vars))
    defaults = command(command=["{{v29}}"], vars=vars)
    assert "over 1,000,000 characters" in quickly(lambda: check("w", step(), defaults, {}))


def test_the_limit_of_one_text_and_of_all() -> None:
    value = "x" * 999_999
    assert tokens("-{{V}}", V=value) == ("-" + value,)
    assert "token 1" in refused(lambda: tokens("--{{V}}", V=value))
    many = command(command=["x{{V}}"] * 200)
    assert "100,000,000 characters" in quickly(
        lambda: check("w", step(vars={"V": value}), many, {})
    )


def test_vars_use_vars_only_so_deep() -> None:
    vars = {"v0": "end", **{f"v{number}": f"{{{{v{number - 1}}}}}" for number in range(1, 5000)}}
    assert tokens("{{v99}}", **vars) == ("end",)
    assert "over 100 deep" in quickly(lambda: tokens("{{v100}}", **vars))
    assert "over 100 deep" in quickly(lambda: tokens("{{v4999}}", **vars))


def test_one_rendering_vouches_for_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = []

    def counted(workflow: str, given_step: Step, given_command: Command) -> Rendered:
        rendered.append(given_step.name)
        return render(workflow, given_step, given_command)

    monkeypatch.setattr(templates, "render", counted)
    shared = command(command=["{{A}} {{B}} {{o}}"], outputs={"o": "/o"}, vars={"B": "{{A}}"})
    verdicts: Verdicts = {}
    for number in range(100):
        vars = {"A": number, "B": f"{number}"}
        check(
            "w", step(name=f"s{number}", outputs={"o": f"b:{number}"}, vars=vars), shared, verdicts
        )
    assert rendered == ["s0"]
    check("w", step(name="other", outputs={"o": "b:o"}, vars={"A": 1}), shared, verdicts)
    assert rendered == ["s0", "other"]


# --------------------------------------------------------------------------------------- properties

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@settings(deadline=None)
@given(texts.filter(lambda text: "{{" not in text))
def test_text_without_references_is_left_alone(text: str) -> None:
    assert tokens(text, "{{A}}", A=text) == (text, text)


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), max_size=4), st.booleans())
def test_the_number_of_steps_is_the_product(sizes: list[int], inside: bool) -> None:
    vars: dict[str, Any] = {f"V{place}": list(range(size)) for place, size in enumerate(sizes)}
    key = "m" + "".join(f"/{{{{{var}}}}}" for var in vars)
    if inside:
        made = flattened(composite(inner("one", "A", key, vars=vars), inner("two", "A", "Z")))
        assert len(made) == math.prod(sizes) + 1
    else:
        made = {name: (name, key, {}) for name, key in expanded(key, **vars).items()}
        assert len(made) == math.prod(sizes)
    assert len({target for _, target, _ in made.values()}) == len(made)


names = st.sampled_from(["A", "B", "x-y", "Z"])
pieces = st.one_of(
    names.map(lambda name: f"{{{{{name}}}}}"),
    st.sampled_from(["/", "{{", "}}", "..", "a", ":", " "]),
)
path_like = st.lists(pieces, max_size=4).map("".join)
templated = st.one_of(path_like, names, texts)
values = st.one_of(
    templated, st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)
)
paths = st.one_of(path_like.map(lambda text: "/o" + text), st.sampled_from([">", ">>"]))
vars_maps = st.dictionaries(
    names, st.one_of(values, st.lists(values, min_size=1, max_size=3)), max_size=4
)
plain_commands = st.fixed_dictionaries(
    {
        "image": st.just("i"),
        "command": st.lists(templated, min_size=1, max_size=3),
        "inputs": st.dictionaries(names, path_like.map(lambda text: "/i" + text), max_size=2),
        "outputs": st.dictionaries(names, paths, max_size=2),
        "vars": st.dictionaries(names, values, max_size=3),
        "stdout": st.one_of(st.none(), path_like.map(lambda text: "/s" + text)),
    }
)


def steps_of(known: list[str], keys: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Steps, some of whose keys will be replaced by the names that their Command requires."""
    given_keys = st.lists(keys, min_size=4, max_size=4)
    return st.fixed_dictionaries(
        {"name": names, "command": st.sampled_from(known), "keys": given_keys, "vars": vars_maps}
    )


def composites_of(*known: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "inputs": st.just(["A"]),
            "outputs": st.one_of(st.just([]), st.just(["Z"])),
            "vars": st.dictionaries(names, values, max_size=4),
            "steps": st.lists(
                steps_of([*known], st.one_of(names, path_like)),
                min_size=1,
                max_size=3,
                unique_by=lambda given: str(given["name"]),
            ),
        }
    )


def with_keys(given_step: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The Step with just its Command's keys, so that more than the first check is reached."""
    asked, keys = definitions[given_step["command"]], iter(given_step.pop("keys"))
    return {
        **given_step,
        **{kind: {key: next(keys) for key in asked[kind]} for kind in ("inputs", "outputs")},
    }


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {
            "C": plain_commands,
            "D": plain_commands,
            "K": composites_of("C", "D"),
            "L": composites_of("C", "K", "L"),
        }
    ),
    steps_of(["C", "D", "K", "L"], st.one_of(path_like, path_like.map(lambda text: "k" + text))),
)
def test_any_valid_model_is_rendered_or_refused(
    definitions: dict[str, Any], given_step: dict[str, Any]
) -> None:
    for definition in (definitions["K"], definitions["L"]):
        definition["steps"] = [
            with_keys(inner_step, definitions) for inner_step in definition["steps"]
        ]
    try:
        known = commands(
            *({"name": name, **definition} for name, definition in definitions.items())
        )
        made = expand("w", Step.parse("w", with_keys(given_step, definitions)), known)
    except GaiaError:
        return
    assert len({made_step.name for made_step in made}) == len(made)
    for made_step in made:
        used = known[made_step.command]
        assert isinstance(used, Command)
        assert not any(isinstance(value, tuple) for value in made_step.vars.values())
        render_and_check(made_step, used)

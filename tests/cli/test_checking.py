"""`check` and `upload --dry-run`: all problems of definitions, each with its place."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.command_line import COMMANDS, COPY, SAY, WAITER, answer, call, here, write

__all__ = ["here"]

GREET = """\
- name: greet
  image: busybox
  command: [sh, -c, "echo {{who}} > {{greeting}}"]
  outputs: {greeting: /out/greeting.txt}
"""
STEP = """\
- name: greet
  command: greet
  vars: {who: [a, b]}
  outputs: {greeting: "hello:{{who}}.txt"}
"""


def checked(commands: str, steps: str, *options: str, status: int = 0) -> list[str]:
    """The lines about two YAML files, without the names of the files and the line of counts."""
    Path("commands.yaml").write_text(commands)
    Path("steps.yaml").write_text(steps)
    lines = call("check", "commands.yaml", "steps.yaml", *options, status=status).stdout
    return lines.splitlines()[:-1]


def only(lines: list[str]) -> str:
    (line,) = lines
    return line


def test_good_definitions_have_no_problems(here: Path) -> None:
    assert checked(GREET, STEP) == []
    assert call("check", "commands.yaml", "steps.yaml").stdout == (
        "no errors and no warnings in 1 Command and 1 Step\n"
    )
    assert {path.name for path in here.iterdir()} == {"commands.yaml", "steps.yaml"}


def test_all_problems_are_told_at_once_with_their_places() -> None:
    commands = (
        GREET.replace("greeting.txt}", "greeting.txt, b: out/b}")
        + "- Name: bad\n  image: 7\n  command: ls\n"
        + "- name: odd\n  image: i\n  command: [a, [b]]\n  inputs: {x: /in/x, y: /in/x}\n"
    )
    steps = STEP + (
        "- name: late\n  command: grete\n"
        "- name: odd\n  command: odd\n  timeout: '5'\n  inputs: {x: 5, y: ':b'}\n"
    )
    lines = checked(commands, steps, status=1)
    found = [re.match(r"(.*?): error: (.*)", line) for line in lines]
    assert [(match[1], match[2].split(";")[0]) for match in found if match] == [
        (
            "commands.yaml:4:42",
            "Command 'greet', output 'b', internal path 'out/b': it is not absolute",
        ),
        ("commands.yaml:5:3", "entry 2 of the Commands: the name of a Command is None"),
        ("commands.yaml:6:3", "Command 'unnamed': image is 7"),
        ("commands.yaml:7:3", "Command 'unnamed': command is 'ls'"),
        ("commands.yaml:10:16", "Command 'odd', command, token 2: the value is ['b']"),
        (
            "commands.yaml:11:22",
            "Command 'odd': input 'x' and input 'y' have one internal path '/in/x'",
        ),
        ("steps.yaml:6:3", "Step 'late': there is no Command 'grete'"),
        ("steps.yaml:9:3", "Step 'odd': timeout is '5'"),
        ("steps.yaml:10:12", "Step 'odd': inputs 'x' is 5"),
        ("steps.yaml:10:18", "Step 'odd', input 'y', key ':b': the bucket before ':' is empty"),
    ]
    assert len(lines) == len(found)


def test_steps_of_a_faulty_command_are_not_blamed() -> None:
    lines = checked(GREET.replace("busybox", "7"), STEP, status=1)
    assert only(lines).startswith("commands.yaml:2:3: error: Command 'greet': image is 7;")


@pytest.mark.parametrize(
    ("steps", "place", "words"),
    [
        ("- {name: a, command: greet, outputs: {x: b:x}}", "1:39", "it has no output 'x'"),
        ("- {name: a, command: greet}", "1:3", "does not give its output 'greeting'"),
        (
            "- {name: a, command: greet, outputs: {greeting: b:x}}",
            "1:3",
            "the var 'who' is undefined",
        ),
        (STEP + STEP, "5:3", "steps.yaml has another one of this name in line 1; give each"),
        (
            STEP + STEP.replace("greet\n  c", "more\n  c"),
            "5:3",
            "Step 'more-a': it makes 'hello:a.txt', and Step 'greet-a' makes it too",
        ),
        (STEP.replace("a, b", "a, .a"), "1:3", "two of its Steps are named 'greet-a'"),
        ("name: x", "1:1", "it holds {'name': 'x'}; give a list of Steps"),
        ("- name: a\n  vars: {{who}}", "2:9", "{{who}} without quotes begins a mapping; put the"),
        ("# nothing", "1:1", "it holds nothing; give a list of Steps"),
    ],
)
def test_what_does_not_fit_is_told(steps: str, place: str, words: str) -> None:
    line = only(checked(GREET, steps, status=1))
    assert line.startswith(f"steps.yaml:{place}: error: ")
    assert words in line


def test_a_circle_is_told_and_does_not_hide_other_conflicts() -> None:
    commands = "- {name: c, image: i, command: [a], inputs: {a: /a}, outputs: {b: /b}}\n"
    step = "- {{name: {0}, command: c, inputs: {{a: 'b:{1}'}}, outputs: {{b: 'b:{2}'}}}}\n"
    steps = "".join(step.format(*given) for given in ("sxy", "tyx", "uxz", "vxz"))
    lines = checked(commands, steps, status=1)
    assert [line.split(";")[0] for line in lines] == [
        "steps.yaml:2:3: error: Steps wait for each other: t → b:x → s → b:y → t",
        "steps.yaml:4:3: error: Step 'v': it makes 'b:z', and Step 'u' makes it too",
    ]


@pytest.mark.parametrize(
    ("inner", "place", "words"),
    [
        ("{name: one, command: grete}", "8:19", "there is no Command 'grete'"),
        ("{name: one, command: greet, outputs: {x: y}}", "8:45", "Command 'greet': it has no"),
    ],
)
def test_inner_steps_are_checked_where_they_stand(inner: str, place: str, words: str) -> None:
    composite = f"- name: all\n  outputs: [loud]\n  steps:\n    - {inner}\n"
    used = "- {name: a, command: all, outputs: {loud: b:x}}"
    line = only(checked(GREET + composite, STEP + used, status=1))
    assert line.startswith(f"commands.yaml:{place}: error: Command 'all', inner Step 'one'")
    assert words in line


# ----------------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(
    ("commands", "steps", "place", "words"),
    [
        (
            GREET + "- {name: more, image: i, command: [a]}",
            STEP,
            "commands.yaml:5:4",
            "Command 'more': no Step uses it",
        ),
        (
            GREET + "  vars: {x: 1}",
            STEP,
            "commands.yaml:5:10",
            "Command 'greet': nothing uses the var 'x'",
        ),
        (
            GREET + "  vars: [x]",
            STEP,
            "commands.yaml:5:3",
            "Command 'greet': nothing uses the var 'x'",
        ),
        (
            GREET + "  vars: {who: me}",
            "- {name: a, command: greet, vars: {whoo: x}, outputs: {greeting: b:x}}",
            "steps.yaml:1:36",
            "Step 'a': nothing uses the var 'whoo'; did you mean 'who'?",
        ),
        (
            GREET,
            STEP + "- {name: e, command: greet, vars: {who: []}, outputs: {greeting: 'c:{{who}}'}}",
            "steps.yaml:5:36",
            "Step 'e': the array var 'who' is empty, so it makes no Steps",
        ),
        (
            GREET + "  vars: {who: no}",
            STEP,
            "commands.yaml:5:15",
            "YAML reads no as false; put it in quotes if you mean the text",
        ),
        (
            GREET,
            STEP.replace("b]", "007]"),
            "steps.yaml:3:19",
            "YAML reads 007 as the number 7; put it in quotes if you mean the text",
        ),
        (
            GREET + "  comment: x\n" + GREET.replace("name: greet", "name: g2") + "  comment: y",
            STEP + STEP.replace("greet", "g2", 2).replace("hello", "h2"),
            "commands.yaml:5:3",
            "the field 'comment' means nothing here (nor do 1 more of this name); ",
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(
    commands: str, steps: str, place: str, words: str
) -> None:
    line = only(checked(commands, steps))
    assert line.startswith(f"{place}: warning: {words}")
    assert checked(commands, steps, "--strict", status=1) == [line]


def test_vars_that_are_used_anywhere_are_no_problem() -> None:
    commands = GREET + (
        "  vars: {who: me, greeted: x, dir: y}\n"
        "- name: all\n  inputs: [from]\n  outputs: [loud]\n  vars: {n: 1}\n  steps:\n"
        "    - {name: one, command: greet, vars: {who: 'a {{n}}'}, outputs: {greeting: half}}\n"
        "    - {name: two, command: join, inputs: {a: half, b: from}, outputs: {o: loud, l: log}}\n"
        "- name: join\n  image: i\n  command: ['{{a}}', '{{b}}']\n  inputs: {a: /in/a, b: /in/b}\n"
        "  outputs: {o: '>', l: '>>'}\n"
    )
    steps = (
        "- {name: s, command: greet, vars: {who: '{{greeted}}{{dir}}'}, outputs: {greeting: a:x}}\n"
        "- {name: t, command: all, vars: {n: 2}, inputs: {from: a:x}, outputs: {loud: a:y}}\n"
    )
    assert checked(commands, steps) == []


def test_names_that_nothing_reads_in_a_composite_command_are_a_warning() -> None:
    commands = GREET + (
        "  vars: {who: me}\n"
        "- name: all\n  inputs: [from]\n  outputs: [loud]\n  steps:\n"
        "    - {name: one, command: greet, outputs: {greeting: loud}}\n"
        "    - {name: two, command: greet, outputs: {greeting: lost}}\n"
    )
    steps = "- {name: t, command: all, inputs: {from: a:x}, outputs: {loud: a:y}}\n"
    assert checked(commands, steps) == [
        "commands.yaml:7:3: warning: Command 'all': no inner Step reads the input 'from'",
        "commands.yaml:11:45: warning: Command 'all', inner Step 'two': no inner Step reads "
        "'lost', which is no output of the composite Command",
    ]


def test_inputs_that_nobody_makes_are_looked_for_where_their_place_is_known(here: Path) -> None:
    files = write(SAY, COPY, WAITER)[1::2]
    told = call("check", *files)
    assert "inputs from outside: b:missing.txt\n" in told.stdout
    assert "b:missing.txt" not in only_warnings(answer("check", *files, "--json"))
    missing = only_warnings(answer("check", *files, "--json", "--name", "w"))
    place = here / "gaia-data/storage/w/b/missing.txt"
    assert (
        "Step 'waiter': no Step makes the input 'b:missing.txt', and it isn't there; "
        f"put a file at {place}" in missing
    )
    assert not (here / "gaia-data").exists()
    mapped = answer("--bucket", f"b={here}/shared", "check", *files, "--json")
    assert f"put a file at {here}/shared/missing.txt" in only_warnings(mapped)
    (here / "shared").mkdir()
    (here / "shared/missing.txt").touch()
    found = answer("--bucket", f"b={here}/shared", "check", *files, "--json")
    assert "missing" not in only_warnings(found)
    assert found["inputs"] == []


def only_warnings(told: dict[str, Any]) -> str:
    assert {problem["level"] for problem in told["problems"]} <= {"warning"}
    return "\n".join(problem["message"] for problem in told["problems"])


def test_a_misspelled_input_is_told_also_where_its_place_is_unknown() -> None:
    files = write(SAY, {**COPY, "inputs": {"from": "a:sayd.txt"}})[1::2]
    told = only_warnings(answer("check", *files, "--json"))
    assert "no Step makes the input 'a:sayd.txt'; did you mean 'a:said.txt'" in told


# --------------------------------------------------------------------------------------- the call


def test_the_kind_of_a_file_is_guessed_in_any_order() -> None:
    checked(GREET, STEP)
    assert "1 Command and 1 Step" in call("check", "steps.yaml", "commands.yaml").stdout
    Path("x.yaml").write_text(GREET)
    Path("y.yml").write_text(STEP)
    assert "1 Command and 1 Step" in call("check", "y.yml", "x.yaml").stdout
    assert "1 Command and no Steps" in call("check", "x.yaml").stdout
    assert "no Commands and 1 Step" in call("check", "y.yml").stdout
    Path("z.json").write_text('[{"name": "a"}]')
    assert call("check", "z.json", status=1).stdout.startswith("z.json:1:1: error: this looks ")


def test_files_that_cannot_be_read_are_told_together() -> None:
    Path("commands.json").write_text('[\n  {"name": }\n]')
    Path("steps.json").write_bytes(b"\xff\xfe")
    lines = call("check", "commands.json", "steps.json", status=1).stdout.splitlines()
    assert lines[0].startswith("commands.json:2:12: error: this is not valid JSON: ")
    assert lines[1] == "steps.json:1:1: error: it isn't UTF-8 text; save it as UTF-8"
    assert len(lines) == 3


@pytest.mark.parametrize("arguments", [[], ["nowhere.json"], ["."], ["--name", "../x", "c.json"]])
def test_a_bad_call_is_refused(arguments: list[str], here: Path) -> None:
    (here / "c.json").write_text("[]")
    assert call("check", *arguments, status=2).stdout == ""


def test_json_has_all_of_a_problem() -> None:
    checked(GREET, "- {name: a, command: x}", status=1)
    told = answer("check", "commands.yaml", "steps.yaml", "--json", status=1)
    assert told["problems"][-1] == {
        "file": "steps.yaml",
        "line": 1,
        "column": 13,
        "level": "error",
        "message": "Step 'a': there is no Command 'x'; the Commands are: 'greet'",
    }


def test_as_many_steps_as_a_call_may_make_are_checked() -> None:
    assert checked(GREET, STEP) == []
    files = ["check", "commands.yaml", "steps.yaml"]
    told = call("--max-steps", "1", *files, status=1).stdout
    assert "steps.yaml:1:3: error: Step 'greet': up to it there are 2 Steps" in told


def test_a_dry_run_of_an_upload_checks_and_stores_nothing(here: Path) -> None:
    files = write(SAY, COPY)
    told = call("upload", "w", *files, "--dry-run").stdout
    assert "no errors and 2 warnings" in told
    Path("steps.json").write_text(json.dumps([{**SAY, "command": "sya"}]))
    told = call("upload", "w", *files, "--dry-run", status=1).stdout
    assert "steps.json:1:18: error: Step 'say': there is no Command 'sya'" in told
    assert not (here / "gaia-data").exists()
    call("upload", "w", *files, "--dry-run", "--watch", status=2)
    call("upload", "a/b", *files, "--dry-run", status=2)


def test_files_in_each_others_place_are_guessed(here: Path) -> None:
    Path("c.json").write_text(json.dumps(COMMANDS))
    Path("s.json").write_text(json.dumps([SAY]))
    told = call("upload", "w", "--commands", "s.json", "--steps", "c.json", status=2)
    message = " ".join(told.stderr.replace("│", " ").split())
    assert "s.json holds Steps, and c.json holds Commands; give --commands c.json" in message
    assert not (here / "gaia-data").exists()

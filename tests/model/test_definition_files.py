"""Files of definitions: their values, where these stand, and messages about what can't be read."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaia_local.model.definition_files import InvalidFile, Position, open_file, parse, read

YAML = """\
- name: say
  command: [echo, "{{who}}"]
  outputs: {said: ">"}
- name: copy
  vars:
    a: 007
"""


def refused(name: str, text: str) -> str:
    with pytest.raises(InvalidFile) as caught:
        parse(Path(name), text.encode())
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["x.json", "x.yaml"])
def test_a_byte_order_mark_is_no_part_of_the_text(name: str) -> None:
    assert parse(Path(name), b'\xef\xbb\xbf[{"name": "a"}]') == [{"name": "a"}]


@pytest.mark.parametrize(
    ("way", "position"),
    [
        ((), (1, 1)),
        ((0,), (1, 3)),
        ((0, "name"), (1, 3)),
        ((0, "command"), (2, 3)),
        ((0, "command", 1), (2, 19)),
        ((0, "outputs", "said"), (3, 13)),
        ((1, "vars", "a"), (6, 5)),
        ((1, "vars", "b"), (5, 3)),
        ((1, "image"), (4, 3)),
        ((7,), (1, 1)),
    ],
)
def test_values_of_yaml_have_a_position(
    way: tuple[Any, ...], position: tuple[int, int], tmp_path: Path
) -> None:
    (tmp_path / "x.yaml").write_text(YAML)
    assert open_file(tmp_path / "x.yaml").position(way) == position


@pytest.mark.parametrize("indent", ["\t", 2, None])
def test_values_of_json_have_a_position(indent: str | int | None, tmp_path: Path) -> None:
    values = [{"name": "é\x85\u2028\x7f\U0001f600", "vars": {"a": [1, -2e5]}}, {"b": '\\/"'}]
    text = "\ufeff" + json.dumps(values, indent=indent, ensure_ascii=False)
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    file = open_file(tmp_path / "x.json")
    assert file.values == values
    lines = text.removeprefix("\ufeff").split("\n")
    for way, written in (((0, "vars", "a"), '"a"'), ((0, "vars", "a", 1), "-2"), ((1, "b"), '"b"')):
        line, column = file.position(way)
        assert lines[line - 1][column - 1 :].startswith(written)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3), max_size=3))
def test_a_position_never_fails(values: list[dict[str, str]]) -> None:
    from gaia_local.model.definition_files import DefinitionFile

    file = DefinitionFile(Path("x"), values, json.dumps(values, ensure_ascii=False), None)
    for number, entry in enumerate(values):
        for key in entry:
            assert file.position((number, key)) >= Position(1, 1)


@pytest.mark.parametrize("name", ["long", "deep"])
def test_where_positions_are_unknown_the_file_begins(name: str, tmp_path: Path) -> None:
    value: Any = {"x" * 2000: 1}
    for _ in range(900 if name == "deep" else 0):
        value = [value]
    (tmp_path / "x.json").write_text(json.dumps([value]))
    assert open_file(tmp_path / "x.json").position((0, "a")) == (1, 1)


@pytest.mark.parametrize(
    ("text", "position", "template"),
    [
        ("- name: a\n  vars: {{who}}\n", (2, 9), "{{who}}"),
        (
            "- name: a\n  vars:\n    who: {{ the-who }}/x.txt\n  command: b\n",
            (3, 10),
            "{{ the-who }}",
        ),
        ("- command: [echo, {{a}}]\n", (1, 19), "{{a}}"),
        ("- command:\n  - {{a}}.txt\n  - b\n", (2, 5), "{{a}}"),
        ('- a: "{{x}}"\n  b: {{y}}-{{z}}\n', (2, 6), "{{y}}"),
    ],
)
def test_a_template_without_quotes_is_told(
    text: str, position: tuple[int, int], template: str
) -> None:
    line, column = position
    assert refused("x.yaml", text) == (
        f"x.yaml, line {line}, column {column}: this is not valid YAML: {template} without quotes "
        f'begins a mapping; put the whole text in quotes, as "{template}"'
    )


def test_another_fault_beside_a_template_in_quotes_is_told_as_it_is() -> None:
    assert "without quotes" not in refused("x.yaml", "- a: 'echo {{x}}' b\n")
    assert refused("x.yaml", "- a: [1\n- b").startswith("x.yaml, line 2, column ")


def test_texts_that_yaml_reads_as_something_else_are_found(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "- name: yes\n  timeout: 1_000\n  resources: {cpus: 0.50}\n"
        "  vars: {a: 007, b: 1.10, c: true, d: 'no', e: 12:30, f: 7, g: 0.5, timeout: 010}\n"
        "  inputs: {on: 2024-01-01, x: ~, y: False}\n"
    )
    assert sorted(open_file(tmp_path / "x.yaml").respelled()) == [
        (Position(1, 9), "yes", "true"),
        (Position(4, 13), "007", "the number 7"),
        (Position(4, 21), "1.10", "the number 1.1"),
        (Position(4, 48), "12:30", "the number 750"),
        (Position(4, 78), "010", "the number 8"),
        (Position(5, 12), "on", "true"),
        (Position(5, 16), "2024-01-01", "a date"),
    ]
    (tmp_path / "x.json").write_text('[{"a": 1.10}]')
    assert list(open_file(tmp_path / "x.json").respelled()) == []


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("# nothing\n")
    assert read(tmp_path / "x.yaml") is None
    assert open_file(tmp_path / "x.yaml").position((0,)) == (1, 1)
    assert list(open_file(tmp_path / "x.yaml").respelled()) == []

"""README and pages are true: their blocks run, their links lead somewhere, and all commands,
options, methods, keys and variables are named on their page.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, is_typeddict

import pytest
from typer.main import get_command

import answers_page
from gaia_local import Gaia
from gaia_local.cli import app
from gaia_local.cli.documents import documents
from gaia_local.config import _KEYS, DaskConfig, DockerConfig
from gaia_local.model import answer_types
from gaia_local.model.workflows import WorkflowState
from gaia_local.testing import GaiaFixture
from support.pages import (
    DOCS,
    PAGES,
    PROJECT,
    README,
    REPO,
    Block,
    Walk,
    check,
    check_installations,
    document,
    environment_variables,
    pattern,
)

EXTERNAL = (
    "https://github.com/prismofeverything/gaia",
    "https://distributed.dask.org",
    "https://jobqueue.dask.org",
)
"""Nobody follows these in a test: look at a link before you add it."""
GENERATED = ("answers", "house", "licences")
INTERNAL_VARIABLES = {"GAIA_LOCAL_DIRECTORY", "GAIA_LOCAL_TASK", "GAIA_LOCAL_WORK"}
"""They mark the processes of a Step, and are not for users."""


# ------------------------------------------------------------------------------------------ blocks


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    folder = tmp_path / "page"
    folder.mkdir()
    with Walk(folder) as walk:
        yield walk


def test_the_readme_runs_from_its_start(walk: Walk) -> None:
    for block in PAGES[README].blocks():
        walk.take(block)
    assert {"gaia-local", "cat", "python"} <= set(walk.ran)


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if page.blocks()][1:])
def test_a_page_goes_on_from_the_first_workflow(name: str, walk: Walk) -> None:
    for block in PAGES[README].blocks():
        if block.language == "json":
            walk.take(block)
    walk.run("gaia-local", "upload", "me_hello_1", "--path", "./")
    for block in PAGES[name].blocks():
        walk.take(block)


def test_a_false_block_is_noticed(walk: Walk) -> None:
    for block in (
        Block("sh", "echo one\n", None, "two\n"),
        Block("sh", "false\n", None, None),
        Block("sh", "make nothing\n", None, None),
        Block("sh", "git push\n", None, None),
        Block("sh", "pip install '.[sever]'\n", None, None),
        Block("sh", "pip install gaia-local\n", None, None),
        Block("python", "print(1)  # 2\n", None, None),
        Block("text", "1\n", None, None),
        Block("console", "$ true\n", None, None),
    ):
        with pytest.raises(AssertionError):
            walk.take(block)
    with pytest.raises(Exception, match="No such option"):
        check(Block("sh", "make test\ngaia-local run x --wach\n", None, None))
    walk.take(Block("sh", "echo one 2\nexport WHO=me\n", None, "one …\n"))
    walk.take(Block("sh", "echo $WHO\n", None, "me\n"))
    assert not re.fullmatch(pattern("a…\n"), "a\nb\n")


@pytest.mark.parametrize("name", PAGES)
def test_installations_are_ones_that_work(name: str) -> None:
    check_installations(PAGES[name])


@pytest.mark.parametrize("name", PAGES)
def test_blocks_hold_no_prompts(name: str) -> None:
    for block in PAGES[name].blocks():
        assert not re.search(r"^[$>#] ", block.text, flags=re.MULTILINE), block.text


# ------------------------------------------------------------------------------- links, and layout


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = PAGES[name]
    for link in page.links():
        if link.startswith("http"):
            assert link in EXTERNAL
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.is_file(), link
        if anchor:
            assert anchor in PAGES[target.relative_to(REPO).as_posix()].anchors(), link


def test_the_readme_leads_to_pages_that_lead_to_the_next_one() -> None:
    topics = [one.topic for one in documents()]
    assert {*topics, "README"} == {path.stem for path in DOCS.glob("*.md")}
    assert f"resources/docs/{topics[0]}.md" in PAGES[README].links()
    assert "resources/docs/README.md" in PAGES[README].links()
    read = [topic for topic in topics if topic not in GENERATED]
    assert read + list(GENERATED) == topics
    for topic, following in pairwise(read):
        last = document(topic).text.splitlines()[-1]
        assert f"]({following}.md)" in last and "[Documents](README.md)" in last, topic
    for one in documents():
        if one.topic in read:
            assert document(one.topic).text.startswith(f"# {one.title}"), one.topic


@pytest.mark.parametrize("name", [name for name in PAGES if Path(name).stem not in GENERATED])
def test_a_page_is_short_and_its_lines_too(name: str) -> None:
    lines = PAGES[name].text.splitlines()
    assert len(lines) <= (200 if name == README else 150)
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []


def test_no_page_names_a_particular_machine() -> None:
    for path in (*(page.path for page in PAGES.values()), REPO / "Makefile", REPO / ".ci" / "run"):
        assert not re.search(r"/(work|home|root)/", path.read_text(encoding="utf-8")), path


def test_the_page_on_internals_shows_the_picture_of_the_wings() -> None:
    """`test_layers` sees to it that the picture is the current one."""
    assert {"house.svg", "house.md"} <= set(document("internals").links())


# ------------------------------------------------------------------------------------ completeness


def commands() -> dict[str, Any]:
    group: Any = get_command(app)
    return dict(group.commands)


def options(command: Any) -> list[list[str]]:
    return [
        parameter.opts
        for parameter in command.params
        if parameter.param_type_name == "option" and "--help" not in parameter.opts
    ]


def keys(topic: str) -> set[str]:
    """The names that the tables of a page explain."""
    return set(re.findall(r"^\| `([\w-]+)` \|", document(topic).text, flags=re.MULTILINE))


def names_option(text: str, names: list[str]) -> bool:
    return any(re.search(rf"`[^`]*(?<![\w-]){name}(?![\w-])[^`]*`", text) for name in names)


def test_each_command_and_option_is_documented() -> None:
    text = document("command-line").text
    for name, command in commands().items():
        assert f"`gaia-local {name}" in text, name
        assert command.help, name
    for command in (get_command(app), *commands().values()):
        for names in options(command):
            assert names_option(text, names), f"{command.name} {names}"
    for names in options(commands()["serve"]):
        assert set(names) & keys("server"), names


@pytest.mark.parametrize("name", PAGES)
def test_commands_in_sentences_exist(name: str) -> None:
    known = {*commands(), "--help"}
    for line in re.findall(r"`gaia-local ((?:[^`|]|\\\|)+)`", PAGES[name].prose):
        words = [word for word in line.split() if word in known or word.startswith("--")]
        assert words, line


def test_each_method_is_documented_with_its_parameters() -> None:
    methods = {
        name for name, _ in inspect.getmembers(Gaia, inspect.isfunction) if not name.startswith("_")
    }
    text = document("python").text
    documented = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", text, flags=re.MULTILINE))
    assert set(documented) == methods
    for name, parameters in documented.items():
        names = [
            parameter.partition("=")[0].strip() for parameter in parameters.split(",") if parameter
        ]
        assert names == list(inspect.signature(getattr(Gaia, name)).parameters)[1:], name


def test_each_configuration_key_is_documented() -> None:
    sections = {field.name for kind in (DockerConfig, DaskConfig) for field in fields(kind)}
    assert keys("configuration") == {
        *_KEYS,
        *sections,
        *(environment_variables() - INTERNAL_VARIABLES),
        *(set(PROJECT["optional-dependencies"]) - {"test", "bench"}),
    }


def test_each_state_is_documented() -> None:
    assert {state.value for state in WorkflowState} <= keys("workflows")


def test_the_fixtures_and_settings_for_tests_are_documented() -> None:
    text = document("testing").text
    for name in ("put", "get", "get_bytes", "run"):
        first = list(inspect.signature(getattr(GaiaFixture, name)).parameters)[1]
        assert f"`{name}({first}" in text, name
    plugin = (REPO / "gaia_local/testing/plugin.py").read_text(encoding="utf-8")
    assert set(re.findall(r'addini\(\s*"(\w+)"', plugin)) <= keys("testing")


def test_the_page_of_answers_is_made_from_their_types() -> None:
    now = document("answers").text
    assert now == answers_page.page(), "write it anew: make answers"
    kinds = {name for name, kind in vars(answer_types).items() if is_typeddict(kind)}
    assert kinds == set(re.findall(r"^## (\w+)$", now, flags=re.MULTILINE)) - {"Definition"}

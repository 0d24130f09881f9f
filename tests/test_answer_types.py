"""Answers have exactly the keys of their types, by each of the three ways to an answer."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, is_typeddict

import networkx
import pytest
from starlette.requests import Request

from gaia_local import Gaia
from gaia_local.model import answer_types
from gaia_local.server import graphs, logs, reading
from gaia_local.server.asking import Query
from gaia_local.server.known import Follow, Known
from support.builders import command, step
from support.fixtures import MakeGaia
from support.owner import Owner

COMMANDS = [
    {
        "name": "make",
        "image": "i",
        "command": ["sh", "-c", "mkdir /out/d; echo 1 > /out/d/a"],
        "outputs": {"d": "/out/d/"},
    },
    {
        "name": "list",
        "image": "i",
        "command": ["sh", "-c", "ls /in/d > /out/x"],
        "inputs": {"d": "/in/d/"},
        "outputs": {"x": "/out/x"},
    },
    {"name": "fail", "image": "i", "command": ["false"], "outputs": {"x": "/out/x"}},
]
STEPS = [
    {"name": "made", "command": "make", "outputs": {"d": "b:d/"}},
    {"name": "listed", "command": "list", "inputs": {"d": "b:own/"}, "outputs": {"x": "b:x"}},
    {"name": "failed", "command": "fail", "outputs": {"x": "b:y"}},
    {"name": "waiting", "command": "list", "inputs": {"d": "b:nobody/"}, "outputs": {"x": "b:z"}},
]
NAMES = vars(answer_types)


def problems(value: Any, kind: Any, where: str = "the answer") -> list[str]:
    """The differences of a value from its type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if is_typeddict(kind) and isinstance(value, dict):
        return key_problems(value, kind, where)
    if origin in (types.UnionType, typing.Union):
        return min((problems(value, argument, where) for argument in arguments), key=len)
    if origin in (list, dict, Sequence, Mapping) and isinstance(value, origin):
        parts = dict(value) if origin in (dict, Mapping) else dict(enumerate(value))
        return [
            problem
            for at in parts
            for problem in problems(parts[at], arguments[-1], f"{where}[{at!r}]")
        ]
    plain = not origin and not is_typeddict(kind)
    wanted: Any = {float: (int, float), Any: object}.get(kind, kind)
    truth_for_number = kind is int and isinstance(value, bool)
    right = plain and isinstance(value, wanted) and not truth_for_number
    return [] if right else [f"{where} is {value!r}, and not {kind}"]


def key_problems(value: dict[str, Any], kind: Any, where: str) -> list[str]:
    """The differences of a dictionary from its type."""
    hints = typing.get_type_hints(kind, NAMES)
    wrong = [f"{where} has no {key!r}" for key in sorted(kind.__required_keys__ - value.keys())]
    more = value.keys() - hints.keys()
    wrong += [f"{where} has {key!r}, which {kind.__name__} hasn't" for key in more]
    for key in value.keys() & hints.keys():
        wrong += problems(value[key], hints[key], f"{where}[{key!r}]")
    return wrong


def answer_type(function: Any) -> Any:
    """The annotated return type of a function, or of a property."""
    made: Any = function.fget if isinstance(function, property) else function
    plain = inspect.unwrap(made)
    # `DiGraph[str]` is for type checkers: the class itself takes no type.
    graphs = types.SimpleNamespace(DiGraph={str: networkx.DiGraph})
    return eval(plain.__annotations__["return"], {**plain.__globals__, **NAMES, "networkx": graphs})


@pytest.fixture(params=["in process", "another process", "files alone"])
def gaia(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gaia]:
    """A root with a workflow in which all kinds of Steps are."""
    config = {"root": str(tmp_path / "root"), "runtime": "process", "watch": False}
    owner = Owner()
    if request.param == "another process":
        owner.own(config)
    (tmp_path / "root/storage/w/b/own").mkdir(parents=True)
    (tmp_path / "root/storage/w/b/own/a").touch()
    with Gaia(config) as made:
        made.upload("w", {"owner": "me"}, COMMANDS, STEPS)
        made.wait("w", 30)
        (tmp_path / "root/storage/w/b/own/new").touch()
        if request.param != "files alone":
            yield made
    if request.param == "files alone":
        with Gaia(config) as made:
            yield made
    owner.close()


QUESTIONS: list[tuple[str, tuple[Any, ...]]] = [
    ("workflows", ()),
    ("command", ("w",)),
    ("definitions", ("w",)),
    ("run", ("w", True)),
    ("expire", ("w", ["made"], True)),
    ("status", ("w",)),
    ("status", ("w", True)),
    ("status", ("nobody", True)),
    ("wait", ("w",)),
    ("events", ("w",)),
    ("progress", ("w",)),
    ("failures", ("w",)),
    ("graph", ("w",)),
    ("timeline", ("w",)),
    ("reusable", ()),
    ("listed", ("w",)),
    ("details", ("w",)),
    ("step_states", ("w",)),
    ("step_changes", ("w",)),
    ("step_changes", ("w", "of another.12")),
    ("table", ("w",)),
    *(("attempts", ("w", step)) for step in ("made", "waiting")),
    *(("definition", ("w", step)) for step in ("made", "waiting")),
    *(("attempt", ("w", step)) for step in ("made", "waiting")),
    *(("keys", ("w", step)) for step in ("made", "listed", "failed", "waiting")),
    *(("key", ("w", key)) for key in ("b:d/", "b:own/", "b:y", "b:nobody/")),
    *(("explain", ("w", step)) for step in ("made", "listed", "failed", "waiting")),
    *(("explain", ("w", key)) for key in ("b:d/", "b:own/", "b:y", "b:nobody/")),
]
CHANGES: list[tuple[str, tuple[Any, ...]]] = [
    ("upload", ("v", {}, COMMANDS, STEPS[:1])),
    ("command", ("w", COMMANDS)),
    ("merge", ("w", STEPS)),
    ("update", ("w", COMMANDS, STEPS)),
    ("run", ("w",)),
    ("expire", ("w", ["made"])),
    ("halt", ("w",)),
    ("remove", ("w", ["made"])),
    ("drop_attempts", (1,)),
    ("delete", ("w",)),
]


def test_questions_and_changes_are_answered_as_their_types_say(gaia: Gaia) -> None:
    for name, arguments in [*QUESTIONS, *CHANGES]:
        answer = getattr(gaia, name)(*arguments)
        assert problems(answer, answer_type(getattr(Gaia, name))) == [], (name, arguments)


def test_steps_of_a_digraph_are_as_their_type_says(gaia: Gaia) -> None:
    graph = gaia.digraph("w")
    assert type(graph) is answer_type(Gaia.digraph)
    assert set(graph) == {step["name"] for step in STEPS}
    for _, facts in graph.nodes(data=True):
        assert problems(facts, answer_types.DigraphStep) == []


def test_the_page_is_answered_as_its_types_say(gaia: Gaia) -> None:
    answers: list[tuple[Any, tuple[Any, ...]]] = [
        (reading.workflows, (gaia,)),
        (graphs.answer, (gaia, "w")),
        *(
            (look, (logs.Logs(gaia), asked(f"step={step}&text=a")))
            for look in (logs.Logs.piece, logs.Logs.lines, logs.Logs.search)
            for step in ("made", "waiting")
        ),
    ]
    for function, arguments in answers:
        assert problems(function(*arguments), answer_type(function)) == [], (function, arguments)


def test_the_events_of_a_stream_are_as_their_types_say(gaia: Gaia) -> None:
    known = Known(gaia)
    for news in (known.look((), {"w"}), known.look({"w", "gone"}, {"w"})):
        one, several = Follow(frozenset({"w"}), True), Follow(frozenset({"w", "v"}), False)
        assert problems(news.told(one), answer_types.WorkflowChanges) == []
        assert problems(news.told(several), answer_types.ManyChanges) == []


def asked(query: str) -> Query:
    """What a request about the workflow `w` asks."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    named = {"path_params": {"name": "w"}, "query_string": query.encode()}
    return Query(Request({**scope, **named}))


def test_answers_on_what_was_reused_are_as_their_types_say(make_gaia: MakeGaia) -> None:
    gaia = make_gaia(reuse=True, watch=False)  # a watcher would run it at once
    for name in ("w", "v"):
        gaia.upload(name, {}, [command("c", "echo > /out/x")], [step("s", "c", "b:x")])
        gaia.wait(name, 30)
    gaia.path("v", "b:x").unlink()
    asked: list[tuple[str, tuple[Any, ...], str]] = [
        ("run", ("v", True), "reuse"),
        ("status", ("v", True), "reused"),
        ("progress", ("v",), "ran"),
        ("explain", ("v", "s"), "reused"),
        ("timeline", ("v",), "reused"),
        ("reusable", (), "bytes"),
    ]
    gaia.run("v")
    gaia.wait("v", 30)
    gaia.path("v", "b:x").unlink()
    for name, arguments, key in asked:
        answer = getattr(gaia, name)(*arguments)
        assert f"'{key}': " in str(answer), name
        assert problems(answer, answer_type(getattr(Gaia, name))) == [], name


def test_what_some_answers_have_and_others_lack(gaia: Gaia) -> None:
    """So that the answers above are rich enough for their types to be tried."""
    explained = gaia.explain("w", "listed")
    assert "step" in explained
    assert explained["changed"] == {"b:own/": {"added": ["new"], "changed": [], "removed": []}}
    made = gaia.explain("w", "b:d/")
    assert "key" in made
    assert made["made"] is not None
    assert gaia.status("w", debug=True)["status"]["flow"]["listed"]["inputs"] == ["b:own/"]
    assert [failure["step"] for failure in gaia.failures("w")] == ["failed"]


def test_all_methods_with_such_an_answer_are_tried() -> None:
    methods = {name for name in vars(Gaia) if not name.startswith("_")}
    answered = {name: parts(answer_type(getattr(Gaia, name))) for name in methods}
    told = {name for name in methods if any(map(is_typeddict, answered[name]))}
    assert told == {name for name, _ in [*QUESTIONS, *CHANGES]}


def parts(kind: Any) -> Iterator[Any]:
    yield kind
    for argument in typing.get_args(kind):
        yield from parts(argument)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"task": "t", "state": None}, "the answer has no 'log'"),
        (
            {"task": "t", "state": None, "log": None, "x": 1},
            "the answer has 'x', which LatestAttempt hasn't",
        ),
        ({"task": "t", "state": 1, "log": None}, "['state'] is 1"),
        ([], "the answer is [], and not"),
    ],
)
def test_answers_of_another_type_are_found(value: Any, words: str) -> None:
    (problem,) = problems(value, answer_types.LatestAttempt)
    assert words in problem

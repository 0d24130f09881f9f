"""The tree of errors: their classes inside and at the face, their texts, and pickling."""

from __future__ import annotations

import contextlib
import copy
import difflib
import gc
import inspect
import pickle
import subprocess
import sys
import textwrap
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from gaia_local import Gaia, compat, errors
from gaia_local.compat import client
from gaia_local.engine.local_socket import Unreachable
from gaia_local.errors import (
    Closed,
    GaiaError,
    InvalidInput,
    StorageError,
    error_text,
    nearest,
    shown,
)
from gaia_local.http_errors import http_error, raises_http_errors
from gaia_local.testing import GaiaFixture
from support.builders import nested_lists
from support.fixtures import MakeGaia

ALL = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GaiaError)
]
PLAIN = [kind("it's broken") for kind in ALL if kind is not InvalidInput]
PLAIN += [
    InvalidInput("a step", "is wrong", "repair it"),
    Unreachable("nobody answers", absent=True),
]
BAD: dict[str, tuple[Any, ...]] = {
    "upload": ("", {}, [], []),
    "command": ("w", [{}]),
    "merge": ("w", [{}]),
    "run": ("none",),
    "halt": ("none",),
    "status": ("",),
    "expire": ("none", ["x"]),
    "launch": ("w",),
    "pull_inputs": ("none", "s"),
    "stage": ("none", "s", "staged"),
    "wait": ("",),
    "events": ("none",),
    "logs": ("none", "s"),
    "progress": ("none",),
    "failures": ("none",),
    "graph": ("none",),
    "update": ("", [], []),
    "remove": ("none", ["x"]),
    "definitions": ("none",),
    "digraph": ("none",),
    "timeline": ("none",),
    "listed": ("none",),
    "details": ("none",),
    "step_states": ("none",),
    "step_changes": ("none",),
    "attempt": ("none", "s"),
    "attempts": ("none", "s"),
    "table": ("none",),
    "definition": ("none", "s"),
    "explain": ("none", "s"),
    "keys": ("none", "s"),
    "key": ("none", "k"),
    "delete": ("none",),
    "drop_attempts": (),
    "path": ("w", ""),
}
"""Method → arguments that it refuses."""
ON_CLOSED: dict[str, tuple[Any, ...]] = {
    "workflows": (),
    "reusable": (),
    "own": (),
    "lost": (),
    "subscribe": (print,),
}
"""Those that refuse nothing but to be called on a closed `Gaia`."""
FACTS = {"root"}
"""Attributes that are known from the beginning, so that nothing can go wrong."""


@pytest.mark.parametrize("error", ALL)
def test_none_is_an_error_of_the_operating_system(error: type[GaiaError]) -> None:
    assert not issubclass(error, OSError)


# -------------------------------------------------------------------------------------- at the face


@pytest.mark.parametrize("plain", PLAIN, ids=lambda plain: type(plain).__name__)
def test_errors_become_those_of_the_published_client(plain: GaiaError) -> None:
    @raises_http_errors
    def fail() -> None:
        raise plain

    with pytest.raises(requests.HTTPError) as caught:
        fail()
    error = caught.value
    assert error.response is None
    assert isinstance(error, type(plain))
    assert (str(error), repr(error), error.args) == (str(plain), repr(plain), plain.args)
    assert vars(plain).items() <= vars(error).items()
    assert traceback.format_exception_only(error) == traceback.format_exception_only(plain)


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("kind", [Gaia, GaiaFixture, client.Gaia])
def test_public_attributes_raise_only_documented_errors(kind: type) -> None:
    """A new property must be wrapped too, so that its errors are those of the contract."""
    for name in public(kind) - FACTS:
        assert hasattr(inspect.getattr_static(kind, name), "__wrapped__"), name


def test_all_methods_are_called_below() -> None:
    methods = {*BAD, *ON_CLOSED, "close"}
    assert public(Gaia) - FACTS == public(client.Gaia) == methods


@pytest.mark.parametrize("name", BAD)
def test_each_method_raises_an_http_error_for_bad_input(make_gaia: MakeGaia, name: str) -> None:
    gaia = make_gaia()
    with pytest.raises(requests.HTTPError) as refused:
        getattr(gaia, name)(*BAD[name])
    assert isinstance(refused.value, InvalidInput)
    with compat.install({"root": gaia.path("w", "k").parents[2], "runtime": "process"}):
        front = client.Gaia()
        with pytest.raises(requests.HTTPError) as again:
            getattr(front, name)(*BAD[name])
    assert type(again.value) is type(refused.value)
    assert str(again.value) == str(refused.value)


@pytest.mark.parametrize("name", [*BAD, *ON_CLOSED])
def test_each_method_raises_an_http_error_without_an_engine(make_gaia: MakeGaia, name: str) -> None:
    gaia = make_gaia()
    gaia.close()
    for closed in (gaia, client.Gaia()):
        with pytest.raises(requests.HTTPError) as refused:
            getattr(closed, name)(*{**BAD, **ON_CLOSED}[name])
        assert isinstance(refused.value, Closed | InvalidInput)


def test_making_and_installing_raise_http_errors() -> None:
    bad = {"workers": -1}
    for make in (lambda: Gaia(bad), lambda: compat.install(bad), client.Gaia().close):
        with pytest.raises(requests.HTTPError) as refused:
            make()
        assert isinstance(refused.value, Closed | InvalidInput)


def test_helpers_of_the_fixture_raise_http_errors(tmp_path: Path) -> None:
    with (
        contextlib.closing(GaiaFixture(tmp_path, {"runtime": "process"})) as gaia,
        pytest.raises(requests.HTTPError) as refused,
    ):
        gaia.put("data:a", {})
    assert isinstance(refused.value, InvalidInput)


def chain(error: BaseException | None) -> Iterator[type]:
    while error is not None:
        yield type(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("hidden", [False, True])
def test_causes_and_traceback_are_those_of_the_plain_one(hidden: bool) -> None:
    def fail() -> None:
        try:
            raise FileNotFoundError("it")
        except FileNotFoundError as error:
            raise StorageError("gone") from None if hidden else error

    try:
        raise KeyError("of the caller")
    except KeyError:
        with pytest.raises(StorageError) as caught:
            raises_http_errors(fail)()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert [frame.name for frame in frames][1:] == ["call", "fail"]
    assert list(chain(caught.value))[1:] == ([] if hidden else [FileNotFoundError, KeyError])


def test_a_failed_call_releases_its_objects_at_once() -> None:
    class Big:
        pass

    seen: list[weakref.ref[Big]] = []

    @raises_http_errors
    def fail() -> None:
        big = Big()
        seen.append(weakref.ref(big))
        raise StorageError("gone")

    gc.disable()
    try:
        with pytest.raises(StorageError):
            fail()
    finally:
        gc.enable()
    assert seen[0]() is None


def test_an_error_passes_through_nested_calls_unchanged() -> None:
    error = http_error(StorageError("gone"))

    @raises_http_errors
    def outer() -> None:
        raise error

    with pytest.raises(StorageError) as caught:
        outer()
    assert caught.value is error


def test_requests_is_imported_with_the_first_error_at_the_face(tmp_path: Path) -> None:
    code = """
        import sys
        from gaia_local import Gaia, GaiaError
        command = {"name": "c", "image": "i", "command": ["true"]}
        with Gaia({"root": sys.argv[1], "runtime": "process"}) as gaia:
            gaia.upload("w", {}, [command], [{"name": "s", "command": "c"}])
            print(gaia.wait("w", 30)["state"], "requests" in sys.modules)
            try:
                gaia.run("none")
            except GaiaError as caught:
                error = caught
        import requests
        print(isinstance(error, requests.HTTPError))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "root")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["complete False", "True"]


# -------------------------------------------------------------------------------------- they travel


@pytest.mark.parametrize("made", [*PLAIN, *map(http_error, PLAIN)], ids=repr)
@pytest.mark.parametrize(
    "travel", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
def test_each_can_be_copied_and_sent(made: GaiaError, travel: Callable[[Any], Any]) -> None:
    came = travel(made)
    assert type(came) is type(made)
    assert str(came) == str(made)
    assert vars(came) == vars(made)
    if isinstance(came, InvalidInput):
        assert (came.where, came.problem, came.right) == ("a step", "is wrong", "repair it")


# ---------------------------------------------------------------------------------- texts of errors


def test_invalid_input_says_where_what_and_what_would_be_right() -> None:
    error = InvalidInput(
        "workflow 'w', Step 's'", "timeout is -1", "give a number of seconds above 0"
    )
    assert str(error) == "workflow 'w', Step 's': timeout is -1; give a number of seconds above 0"


@pytest.mark.parametrize(
    ("name", "known", "advice"),
    [
        ("wrokers", ["root", "workers"], "did you mean 'workers'?"),
        ("aab", ["aaa", "aac", "xyz"], "did you mean 'aac' or 'aaa'?"),
        ("q", [], "Steps: none yet"),
        ("q", ["b", "a"], "Steps: 'a', 'b'"),
        (
            "q",
            [f"step{n}" for n in range(9)],
            "Steps: " + ", ".join(f"'step{n}'" for n in range(8)) + " …",
        ),
        (7, ["b"], "Steps: 'b'"),
    ],
)
def test_similar_names_are_suggested(name: object, known: list[str], advice: str) -> None:
    assert nearest(name, known, "Steps") == advice


def test_the_closest_of_many_names_is_found_among_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """To compare two similar names letter by letter takes milliseconds."""
    compared: list[list[str]] = []
    find = difflib.get_close_matches

    def counted(word: str, names: list[str], **options: Any) -> list[str]:
        compared.append(names)
        return find(word, names, **options)

    monkeypatch.setattr(difflib, "get_close_matches", counted)
    names = [f"simulate-{n:06}-of-a-cell{'y' * 50}" for n in range(100_000)]
    assert f"did you mean {names[123]!r}" in nearest(names[123].replace("of", "fo"), names)
    assert f"did you mean {names[4000]!r}" in nearest(names[4000].replace("cell", "cel"), names)
    assert nearest("x" * 90, names).startswith("known: 'simulate-000000-")
    assert nearest("x" * 50_000, names) == nearest("x" * 90, names)
    assert "did you mean" not in nearest(f"{'x' * 5000}", [f"{'x' * 5000}{n}" for n in range(1000)])
    assert len(nearest("x", ["y" * 5000 + str(n) for n in range(20)])) < 1000
    assert len(compared) == 5
    assert max(map(len, compared)) <= 30
    assert max(len(line) for some in compared for line in some) <= 100


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        (None, "None"),
        ("x" * 1000, "'" + "x" * 78 + "…"),
        (nested_lists(100_000), "of type list"),
        (10**5000, "of type int"),
        ({"deep": nested_lists(100_000)}, "of type dict"),
    ],
    ids=["text", "none", "long", "deep", "huge", "deep in a dictionary"],
)
def test_shown_is_short_and_never_fails(value: object, text: str) -> None:
    assert shown(value) == text


def test_told_can_be_stored_and_printed() -> None:
    assert error_text(GaiaError("it's here: é")) == "it's here: é"
    text = error_text(GaiaError("tree/bad\udcff is a FIFO"))
    assert text == "tree/bad\\xff is a FIFO"
    assert text.encode()

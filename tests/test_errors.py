"""The tree of errors: what they are, what they say, and that they travel."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap

import pytest
import requests

from gaia_local import errors
from gaia_local.errors import GaiaError, InvalidInput, nearest, shown, told

ALL = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, GaiaError)]


@pytest.mark.parametrize("error", ALL)
def test_each_is_what_the_published_client_raises(error: type[GaiaError]) -> None:
    made = error("a", "b", "c") if error is InvalidInput else error("a")
    with pytest.raises(requests.HTTPError) as caught:
        raise made
    assert caught.value is made


def test_requests_is_not_imported_but_may_be_at_any_time() -> None:
    """An error that was made before comes to be one as well."""
    code = """
        import sys
        from gaia_local.errors import DiskError, InvalidInput
        early = DiskError("early")
        assert "requests" not in sys.modules
        import requests
        for make in (lambda: InvalidInput("w", "wrong", "right"), lambda: early, lambda: DiskError("late")):
            try:
                raise make()
            except requests.HTTPError as caught:
                error = caught
                print(caught)
        print(isinstance(early, requests.HTTPError), error.response)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["w: wrong; right", "early", "late", "True None"]


@pytest.mark.parametrize("error", ALL)
@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_each_can_be_copied_and_sent(error: type[GaiaError], travel: object) -> None:
    assert callable(travel)
    made = error("a step", "is wrong", "mend it") if error is InvalidInput else error("it's broken")
    came = travel(made)
    assert type(came) is error
    assert str(came) == str(made)
    if isinstance(came, InvalidInput):
        assert (came.where, came.problem, came.right) == ("a step", "is wrong", "mend it")


def test_invalid_input_says_where_what_and_what_would_be_right() -> None:
    error = InvalidInput("workflow 'w', Step 's'", "timeout is -1", "give a number of seconds above 0")
    assert str(error) == "workflow 'w', Step 's': timeout is -1; give a number of seconds above 0"


@pytest.mark.parametrize(
    ("name", "known", "advice"),
    [
        ("wrokers", ["root", "workers"], "did you mean 'workers'?"),
        ("aab", ["aaa", "aac", "xyz"], "did you mean 'aac' or 'aaa'?"),
        ("q", [], "Steps: none yet"),
        ("q", ["b", "a"], "Steps: 'a', 'b'"),
        ("q", [f"step{n}" for n in range(9)], "Steps: " + ", ".join(f"'step{n}'" for n in range(8)) + " …"),
        (7, ["b"], "Steps: 'b'"),
    ],
)
def test_nearest(name: object, known: list[str], advice: str) -> None:
    assert nearest(name, known, "Steps") == advice


def nested(levels: int) -> list[object]:
    made: list[object] = []
    for _ in range(levels):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        (None, "None"),
        ("x" * 1000, "'" + "x" * 78 + "…"),
        (nested(100_000), "of type list"),
        (10**5000, "of type int"),
        ({"deep": nested(100_000)}, "of type dict"),
    ],
    ids=["text", "none", "long", "deep", "huge", "deep in a dictionary"],
)
def test_shown_is_short_and_never_fails(value: object, text: str) -> None:
    assert shown(value) == text


def test_told_can_be_stored_and_printed() -> None:
    assert told(GaiaError("it's here: é")) == "it's here: é"
    text = told(GaiaError("tree/bad\udcff is a FIFO"))
    assert text == "tree/bad\\udcff is a FIFO"
    assert text.encode()

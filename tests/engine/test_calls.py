"""The one definition of each call: its receivers, and the calls open to other processes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local.engine.calls import REMOTE_CALLS, Changes, Questions, change, read, to_wire
from gaia_local.engine.decision_loop import DecisionLoop
from gaia_local.engine.local_socket import call
from gaia_local.engine.remote_root import remote_root
from gaia_local.engine.root_reader import RootReader
from gaia_local.engine.scheduler import Scheduler
from gaia_local.engine.snapshot import Snapshot
from gaia_local.errors import InvalidInput
from support.owner import Owner


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Path]:
    """A root that another process owns."""
    root = tmp_path / "root"
    owner = Owner()
    owner.own({"root": str(root), "runtime": "process"})
    yield root
    owner.close()


def test_questions_change_nothing_and_changes_are_marked_so() -> None:
    assert {name for name, call in REMOTE_CALLS.items() if not call.changes} == public(Questions)
    assert {name for name, call in REMOTE_CALLS.items() if call.changes} == public(Changes)
    assert {name for name, call in REMOTE_CALLS.items() if not call.idempotent} == {
        "upload",
        "remove",
        "delete",
    }


def test_a_reader_answers_questions_and_nothing_else() -> None:
    assert public(RootReader) == public(Questions)
    assert public(Changes) <= public(Scheduler)


@pytest.mark.parametrize("name", sorted(REMOTE_CALLS))
def test_arguments_bear_the_same_names_everywhere(name: str) -> None:
    sides = Changes if REMOTE_CALLS[name].changes else Questions
    defined = list(inspect.signature(getattr(sides, name)).parameters.values())[1:]
    assert REMOTE_CALLS[name].parameters == tuple(parameter.name for parameter in defined)
    assert all(parameter.kind is parameter.POSITIONAL_ONLY for parameter in defined)


def test_marks_tell_of_a_call_what_its_types_don_t() -> None:
    @read
    def ask(root: object, workflow: str, /) -> None: ...

    @change(idempotent=False)
    def upset(root: object, /) -> None: ...

    try:
        assert (REMOTE_CALLS["ask"].parameters, REMOTE_CALLS["ask"].changes) == (
            ("workflow",),
            False,
        )
        assert (REMOTE_CALLS["upset"].parameters, REMOTE_CALLS["upset"].idempotent) == ((), False)
    finally:
        del REMOTE_CALLS["ask"], REMOTE_CALLS["upset"]


HAVE_METHODS = (Scheduler, DecisionLoop, RootReader, Snapshot)
UNMARKED = sorted({name for kind in HAVE_METHODS for name in dir(kind)} - REMOTE_CALLS.keys())


def test_what_is_not_marked_can_t_be_called_from_another_process(owned: Path) -> None:
    assert {"close", "stop", "flush", "kill_now", "view", "scratch", "files_changed"} <= set(
        UNMARKED
    )
    for name in UNMARKED:
        with pytest.raises(InvalidInput, match=f"there is no call '{name}'"):
            call(owned, name, {}, {}, to_wire)


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("run", {}, "'run' was given nothing; it takes workflow"),
        ("run", {"name": "w"}, "'run' was given name; it takes workflow"),
        ("run", {"workflow": "w", "x": 1}, "'run' was given workflow, x; it takes workflow"),
        ("workflows", {"workflow": "w"}, "'workflows' was given workflow; it takes nothing"),
    ],
)
def test_other_arguments_are_refused(
    owned: Path, name: str, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        call(owned, name, arguments, {}, to_wire)


def test_all_calls_can_be_made_of_a_root_elsewhere(owned: Path) -> None:
    root = remote_root(owned, {})
    root.command("w", [])
    assert root.workflows()["w"]["step-count"] == 0
    assert all(callable(getattr(root, name)) for name in REMOTE_CALLS)

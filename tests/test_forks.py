"""A forked child forgets its parent's resources, once and by one hook."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from gaia_local import forks
from gaia_local.compat import install
from gaia_local.forks import await_fork, call_in_child, forget_in_child, forking

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # other tests' threads may live


class Descriptor:
    """Something that a child inherits."""

    def __init__(self) -> None:
        self.forgotten = 0
        forget_in_child(self)

    def forget(self) -> None:
        self.forgotten += 1


class Broken(Descriptor):
    """One that can't be let go of."""

    def forget(self) -> None:
        raise OSError(9, "closed already")


def in_child(question: Callable[[], bool]) -> bool:
    """The answer of a forked child."""
    child = os.fork()
    if not child:
        answer = 1
        try:
            answer = 0 if question() else 1
        finally:
            os._exit(answer)
    return os.waitpid(child, 0)[1] == 0


def test_a_child_forgets_and_its_parent_does_not() -> None:
    descriptor = Descriptor()
    assert in_child(lambda: descriptor.forgotten == 1)
    assert descriptor.forgotten == 0


def test_one_that_cannot_be_let_go_of_keeps_none_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "_calls", [])
    known = [Broken(), *(Descriptor() for _ in range(20)), Broken()]
    called: list[int] = []
    call_in_child(lambda: called.append(1))
    assert in_child(lambda: called == [1] and sum(inherited.forgotten for inherited in known) == 20)


def test_what_is_gone_is_not_kept_for_a_child() -> None:
    before = len(forks._inherited)
    descriptor = Descriptor()
    assert len(forks._inherited) == before + 1
    del descriptor
    assert len(forks._inherited) == before


def test_a_child_closes_nothing_of_an_alias_that_was_undone() -> None:
    alias = install()
    alias._made.append(alias.make(None))
    alias.undo()
    assert in_child(lambda: alias._made == [])
    alias.close(wait=False)


def test_a_child_waits_for_no_fork_of_its_parents_threads() -> None:
    with forking():
        assert in_child(lambda: forking().acquire(blocking=False))
    await_fork()

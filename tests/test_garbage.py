"""The garbage collector is held back while much is made, and always let on again."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.errors import InvalidInput
from gaia_local.garbage import held_back
from gaia_local.snapshot import Snapshot
from gaia_local.storage import Storage
from gaia_local.workflow import Workflow


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.enable()


def test_collection_is_off_until_the_outermost_block_ends() -> None:
    with held_back():
        assert not gc.isenabled()
        with held_back():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_exception_lets_it_on() -> None:
    with pytest.raises(KeyboardInterrupt), held_back():
        raise KeyboardInterrupt
    assert gc.isenabled()


def test_a_user_who_turned_it_off_keeps_it_off() -> None:
    gc.disable()
    with held_back(), held_back():
        pass
    assert not gc.isenabled()


def test_threads_hold_it_back_together() -> None:
    inside, leave = threading.Barrier(5), [threading.Event() for _ in range(4)]

    def hold(number: int) -> None:
        with held_back():
            inside.wait()
            leave[number].wait()

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    inside.wait()
    for thread, event in zip(threads, leave, strict=True):
        assert not gc.isenabled()
        event.set()
        thread.join()
    assert gc.isenabled()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # it is multi-threaded: that is the point
def test_a_child_does_not_wait_for_threads_that_it_has_not() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with held_back():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    child = os.fork()
    if not child:
        with held_back():
            pass
        os._exit(0 if gc.isenabled() else 1)
    _, status = os.waitpid(child, 0)
    leave.set()
    thread.join()
    assert status == 0
    assert gc.isenabled()


def test_an_upload_lets_it_on_refused_or_not(gaia: Gaia) -> None:
    commands = [{"name": "c", "image": "i", "command": ["true"], "outputs": {"x": "/out/x"}}]
    with pytest.raises(InvalidInput):
        gaia.upload("w", {}, commands, [{"name": "s", "command": "other", "outputs": {"x": "k"}}])
    assert gc.isenabled()
    gaia.upload("w", {}, commands, [])
    assert gc.isenabled()


def test_repeated_reads_are_collected_in_between(gaia: Gaia, monkeypatch: pytest.MonkeyPatch) -> None:
    gaia.upload("w", {}, [], [])
    load, held = Workflow.load, []

    def watched(*args: Any) -> Workflow:
        held.append(not gc.isenabled())
        return load(*args)

    monkeypatch.setattr(Workflow, "load", watched)
    root = gaia.path("w", "k").parents[2]
    snapshot = Snapshot(root / "gaia.db", Storage(root, {}))
    for _ in range(3):
        assert snapshot.view("w", lambda found: found.name) == "w"
    assert held == [True, False, False]
    assert gc.isenabled()

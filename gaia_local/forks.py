"""What a forked child of this process lets go of: it has all the objects of its parent, and none of
the threads.

The package's one hook: in the child, each object that asked for it is told once to forget what is
its parent's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import weakref
from collections.abc import Callable
from typing import Protocol


class Inherited(Protocol):
    """What must not be used, or held open, by a child."""

    def forget(self) -> None:
        """In a child: let go of what is the parent's, without ending it. Idempotent."""


_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()
_calls: list[Callable[[], None]] = []


def forget_in_child(inherited: Inherited) -> None:
    """Have it `forget` in each child, as long as it lives."""
    _inherited.add(inherited)


def call_in_child(call: Callable[[], None]) -> None:
    """Have it called in each child, after all of that: for what a module itself holds."""
    _calls.append(call)


_fork = threading.Lock()


def forking() -> threading.Lock:
    """What to hold from the fork of a program to its exec.

    NOTE: until then the child has copies of all our descriptors, so also of an executable input
    that another thread is still writing, and nobody can execute a file that somebody holds for
    writing: "Text file busy". Who has such an input waits with `await_fork`. With supervisors there
    are no forks but theirs.
    """
    return _fork


def await_fork() -> None:
    """Wait for a fork that is under way: it may have copied descriptors that are closed by now."""
    with _fork:
        pass


_ENDING = {signal.SIGTERM, signal.SIGHUP}
_masks = threading.local()


def _before() -> None:
    """Keep signals that end a process from the child until it has forgotten.

    NOTE: until then it has the handlers of its parent, and Python forgets signals that come to a
    child before its first instruction.
    """
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def _after() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


def _in_child() -> None:
    global _fork  # noqa: PLW0603 who held it is not here
    _fork = threading.Lock()
    for call in (*[inherited.forget for inherited in list(_inherited)], *_calls):
        # A descriptor that can't be closed keeps nobody from closing the others.
        with contextlib.suppress(OSError):
            call()
    _after()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)

"""Cleans up in forked children of this process: a child has its parent's objects, but no threads.

The package's one fork hook: in the child, `forget` of each registered object is called once, to
drop the parent's resources.
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
    """An object that a child must neither use nor hold open."""

    def forget(self) -> None:
        """In a child: let go of the parent's resources, without ending them. Idempotent."""


_inherited: weakref.WeakSet[Inherited] = weakref.WeakSet()
_calls: list[Callable[[], None]] = []


def forget_in_child(inherited: Inherited) -> None:
    """Have it `forget` in each child, as long as it lives."""
    _inherited.add(inherited)


def call_in_child(call: Callable[[], None]) -> None:
    """Have it called in each child, after all `forget`: for objects that a module holds."""
    _calls.append(call)


_fork = threading.Lock()


def forking() -> threading.Lock:
    """The lock to hold from the fork of a program to its exec.

    NOTE: until its exec the child has copies of all our descriptors, also that of an executable
    input that another thread is writing, and a file that is open for writing can't be executed:
    "Text file busy". A thread that wrote such an input calls `await_fork`. With supervisors, this
    process forks only to start those.
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
    global _fork  # noqa: PLW0603 the thread that held it isn't in the child
    _fork = threading.Lock()
    for call in (*[inherited.forget for inherited in list(_inherited)], *_calls):
        # If a descriptor can't be closed, the others are closed all the same.
        with contextlib.suppress(OSError):
            call()
    _after()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)

"""What a forked child of this process lets go of: it has all the objects of its parent, and none of
the threads.

The package's one hook: in the child, each object that asked for it is told once to forget what is
its parent's.
"""

from __future__ import annotations

import contextlib
import os
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


def _in_child() -> None:
    for call in (*[each.forget for each in list(_inherited)], *_calls):
        with contextlib.suppress(
            OSError
        ):  # a descriptor that can't be closed keeps nobody from closing the others
            call()


os.register_at_fork(after_in_child=_in_child)

"""Holds Python's garbage collector back while very much is made that stays.

It looks through all new objects again and again as their number grows, which is a third of the time of a large upload.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_holders: set[object] = set()
_enabled = False
"""Whether it was on before the first of the holders came."""


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """No collection inside, in any thread of the process; also a decorator. May be nested, and used by several threads."""
    global _enabled  # noqa: PLW0603 the collector is the process's
    holder = object()
    try:
        with _lock:
            if not _holders:
                _enabled = gc.isenabled()
            _holders.add(holder)
            gc.disable()
        yield
    finally:
        with _lock:
            _holders.discard(holder)
            if not _holders and _enabled:
                gc.enable()


def _in_child() -> None:
    """Whoever held it back in other threads isn't here."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    if _holders and _enabled:
        gc.enable()
    _holders.clear()


os.register_at_fork(after_in_child=_in_child)

"""Signals that ask this process to end: noted in one place, and raised when the main thread waits.

Python calls signal handlers in the main thread, between any two instructions, and what they raise
breaks into whatever that does: it may import a module, or have taken a lock that it is about to
release. Other threads then wait for it for ever. So while the main thread is in a call of ours
(`deferred`), a signal is only noted. Its handler is called where the call waits and holds nothing
(`check`), or else at its end. Other threads are never interrupted.

A second signal kills what is being stopped, and ends the process within a second, except where its
user handles the signal, or works with Python interactively. The first one is as good as a second
while an engine is being closed (`urgent`).

Programs and containers of an engine must not outlive a script that SIGTERM or SIGHUP ends. So while
this process has engines (`closing_at_signals`), the signals whose handler is the system's close
these, and then do what they would have done.
"""

from __future__ import annotations

# NOTE: each call of ours sets handlers. The module `signal` makes enumerations of all that passes
# it, which takes twenty times as long as all else here; this is its half in C.
import _signal as signal  # type: ignore[import-not-found]
import _thread
import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, FunctionType, TracebackType
from typing import Any, ParamSpec, Protocol, TypeVar

from gaia_local.forks import call_in_child

P = ParamSpec("P")
T = TypeVar("T")
Handler = Callable[[int, FrameType | None], object]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHECK_SECONDS = 0.1
"""How long the main thread may wait at a time, until it looks whether a signal was noted."""
END_SECONDS = 0.7
"""How long a process lives after a second signal."""


class Closable(Protocol):
    """An owner of running programs."""

    def close(self) -> None:
        """Stop its programs and release its resources. Idempotent."""

    def kill_now(self) -> None:
        """Kill programs that are being stopped, without a grace."""


_depth = 0
"""How many calls of ours the main thread is in, one inside of the other."""
_urgent = 0
"""How many of them close something."""
_calls = 0
"""The number of the outermost one."""
_count = 0
"""How many signals came since it began."""
_noted: list[int] = []
"""Those of them whose handlers were not called yet."""
_replaced: dict[int, Any] = {}
"""Signal → its handler before, as `signal.getsignal` has it."""
_handlers: dict[int, Handler] = {}
"""Signal → the function to call for it."""
_closables: set[Closable] = set()


class deferred:  # noqa: N801 it is used as a function
    """While inside, the main thread is not interrupted; other threads may be inside, too.

    `handler` is called for each of `SIGNALS` that isn't ignored. By default their own handlers are,
    and those without one in Python stay as they are. `urgent`: nothing is delivered by `check`.
    """

    __slots__ = ("_handler", "_is_main", "_urgent")

    def __init__(self, handler: Handler | None = None, urgent: bool = False) -> None:
        self._handler, self._urgent = handler, urgent

    def __enter__(self) -> None:
        global _depth, _urgent, _calls, _count  # noqa: PLW0603 there is one main thread
        self._is_main = _in_main_thread()
        if not self._is_main:
            return
        if not _depth:
            _calls, _count = _calls + 1, 0
            _noted.clear()
            for number in SIGNALS:
                _defer(number, self._handler)
        # From here on nothing is raised; until here, `_note` called handlers at once.
        _depth += 1
        _urgent += self._urgent

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _depth, _urgent  # noqa: PLW0603 as above
        if not self._is_main:
            return
        _urgent -= self._urgent
        _depth -= 1
        if _depth:
            return
        # From here on `_note` calls handlers at once. One that raises keeps the others from being
        # put back: `_note` does that, too.
        handlers = dict(_handlers)
        for number in list(_replaced):
            _put_back(number)
        if kind is None or issubclass(kind, Exception):
            for number in _noted:
                handlers[number](number, sys._getframe(1))


def check() -> None:
    """Call the handlers of noted signals, which may raise anything. Hold no lock here."""
    if _noted and not _urgent and _in_main_thread():
        number = _noted.pop(0)
        _handlers[number](number, sys._getframe(1))


def join(thread: threading.Thread) -> None:
    """Wait for a thread's end."""
    while thread.is_alive():
        thread.join(CHECK_SECONDS)
        check()


def defers_interrupts(kind: type[T]) -> type[T]:
    """The class itself, during whose constructor and public methods signals are deferred."""
    for name, function in list(vars(kind).items()):
        if isinstance(function, FunctionType) and (name == "__init__" or not name.startswith("_")):
            setattr(kind, name, _deferring(function))
    return kind


def hurry(number: int) -> None:
    """Kill programs that are being stopped; end this process soon if it is still in this call.

    A signal handler may call it, which can't wait: whatever it needs may be held by the thread that
    it interrupted.
    """
    ends = _ends_process(number)
    try:
        if ends:
            _thread.start_new_thread(_end_soon, (number, _calls))
        _thread.start_new_thread(_kill_now, ())
    except RuntimeError:  # there can be no more threads
        if ends:
            os._exit(128 + number)


@contextlib.contextmanager
def closing_at_signals(closable: Closable) -> Iterator[None]:
    """While inside, SIGTERM and SIGHUP close this first, where nobody else handles them.

    That needs an entry in the main thread, whose handlers are the process's.
    """
    _closables.add(closable)
    if _in_main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                _set(number, _close_and_end)
                if _depth:
                    _defer(number, None)
    try:
        yield
    finally:
        _closables.discard(closable)
        if not _closables and _in_main_thread():
            _hand_back()


# ------------------------------------------------------------------------------------------- inside


def _in_main_thread() -> bool:
    return _thread.get_ident() == threading.main_thread().ident


def _deferring(function: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True  # pytest shows the caller
        with deferred():
            return function(*args, **kwargs)

    return call


def _defer(number: int, handler: Handler | None) -> None:
    """Note a signal from now on, unless it is ignored, or handled outside of Python."""
    before = signal.getsignal(number)
    if before is _note or before in (signal.SIG_IGN, None):
        return
    if handler is None and callable(before):
        handler = before
    if handler is not None:
        _handlers[number], _replaced[number] = handler, before
        _set(number, _note)


def _put_back(number: int) -> None:
    before = _replaced.pop(number, None)
    if before is not None and signal.getsignal(number) is _note:
        _set(number, before)


def _set(number: int, handler: Any) -> None:
    try:  # contextlib would take more time than all of it
        signal.signal(number, handler)
    except ValueError:  # a subinterpreter's main thread has no signals
        pass


def _note(number: int, frame: FrameType | None) -> None:
    """The handler of all signals that are deferred."""
    global _count  # noqa: PLW0603 as above
    if not _depth:  # the call just begins, or ends
        handler = _handlers[number]
        _put_back(number)
        handler(number, frame)
        return
    _count += 1
    _noted.append(number)
    if _urgent or (_count > 1 and _ends_process(number)):
        hurry(number)


def _ends_process(number: int) -> bool:
    """Whether the process is to end with the signal, as far as is known here."""
    before = _replaced.get(number, signal.getsignal(number))
    theirs = _handlers.get(number) is before and before not in (
        signal.default_int_handler,
        _close_and_end,
    )
    return _depth > 0 and not theirs and not hasattr(sys, "ps1")


def _end_soon(number: int, call: int) -> None:
    time.sleep(END_SECONDS)
    if _depth and _calls == call:
        os._exit(128 + number)


def _kill_now() -> None:
    for closable in list(_closables):
        closable.kill_now()


def _close_and_end(number: int, frame: FrameType | None) -> None:
    """The handler of signals that would end this process at once."""
    try:
        with deferred(urgent=True):
            for closable in list(_closables):
                closable.close()
    finally:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _hand_back() -> None:
    """Give the signals back to the system."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if _replaced.get(number) is _close_and_end:
            _put_back(number)
        if signal.getsignal(number) is _close_and_end:
            _set(number, signal.SIG_DFL)


def _in_child() -> None:
    _closables.clear()
    _hand_back()


call_in_child(_in_child)

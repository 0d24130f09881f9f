"""What can go wrong, as one tree of exceptions under `GaiaError`.

None of them is an `OSError`: that means an error of the operating system, and nothing else. What
leaves the package through `Gaia` is a `requests.HTTPError` as well, which `gaia_local.http_errors`
makes.
"""

from __future__ import annotations

import difflib
import heapq
import itertools
from collections.abc import Iterable

_SHOWN = 80
_COMPARED = 100
"""How long names may be that are compared."""
_LOOKED_AT, _CLOSELY = 5000, 30
"""How many names are looked at for the closest, and how many of those are compared letter by
letter.
"""
_BRIEF = 200
"""How many values may be in one that is shown."""


class GaiaError(Exception):
    """Something that gaia_local refuses or cannot do; the text says what, where and what would be
    right.
    """


class InvalidInput(GaiaError):
    """A call with bad input. Nothing of it was stored or started.

    `where` names the workflow, Step, Command, key or var; `problem` what is wrong with it; `right`
    what would be right.
    """

    def __init__(self, where: str, problem: str, right: str) -> None:
        super().__init__(f"{where}: {problem}; {right}")
        self.where, self.problem, self.right = where, problem, right

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.where, self.problem, self.right)


class WorkflowExists(GaiaError):
    """`upload` of a name that is taken."""


class RootInUse(GaiaError):
    """Another process owns the root, and this one needs to, or can't reach it."""


class Closed(GaiaError):
    """A call on a `Gaia` that was closed."""


class EngineUnavailable(GaiaError):
    """The runtime that should run Steps cannot be reached."""


class RuntimeFailure(GaiaError):
    """A Task could not be run at all (as opposed to: it ran, and failed)."""


class StorageError(GaiaError):
    """The store cannot take or give what a Task needs."""


class DiskError(StorageError):
    """The store's disk is full, read-only or broken: no fault of any command's."""


class DatabaseError(GaiaError):
    """The state database cannot be used."""


def shown(value: object) -> str:
    """A refused value for a message: short, and never itself a reason to fail, or to wait."""
    try:
        text = repr(value[:_SHOWN] if isinstance(value, str) else value) if _is_brief(value) else ""
    except (RecursionError, ValueError):  # nested too deep, or a number of too many digits
        text = ""
    text = text or f"of type {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _is_brief(value: object) -> bool:
    """Whether there are few values in it: one that is used in many places at many levels has a text
    without end.
    """
    left = [value]
    for each in left:
        if isinstance(each, dict | list | tuple | set | frozenset):
            if len(left) + len(each) > _BRIEF:
                return False
            left += each
            if isinstance(each, dict):
                left += each.values()
    return True


def error_text(error: BaseException) -> str:
    """The text of an error, fit to be stored and printed: what isn't UTF-8 in a file's name is
    escaped.
    """
    return str(error).encode("utf-8", "backslashreplace").decode()


def nearest(name: object, known: Iterable[str], noun: str = "known") -> str:
    """Advice for an unknown `name`: the closest of `known`, or the first few of them.

    However many there are, and however long: only some are looked at.
    """
    names = [str(each) for each in itertools.islice(known, _LOOKED_AT + 1)]
    given = name if isinstance(name, str) else shown(name)
    close = _close(given, names[:_LOOKED_AT]) if len(given) <= _COMPARED else []
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    if not names:
        return f"{noun}: none yet"
    first = ", ".join(map(shown, sorted(names)[:8]))
    return f"{noun}: {first}" + (" …" if len(names) > 8 else "")


def _close(given: str, names: list[str]) -> list[str]:
    """The names most like `given`; of many, those are compared that begin and end as it does, for
    that takes little time.
    """
    short = [each for each in names if len(each) <= _COMPARED]

    def likeness(each: str) -> float:
        head = _common(given, each)
        tail = _common(reversed(given[head:]), reversed(each[head:]))
        return 2 * (head + tail) / (len(given) + len(each))

    if len(short) > _CLOSELY:
        short = heapq.nlargest(_CLOSELY, short, likeness)
    return difflib.get_close_matches(given, short, n=3, cutoff=0.6)


def _common(one: Iterable[str], other: Iterable[str]) -> int:
    """How many characters are the same at the beginning of both."""
    return sum(
        1
        for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    )

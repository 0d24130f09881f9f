"""The package's errors: one tree of exceptions under `GaiaError`.

None of them is an `OSError`: that means an error of the operating system, and nothing else. Errors
that leave the package through `Gaia` are `requests.HTTPError` as well; `gaia_local.http_errors`
makes them.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable

from gaia_local.terminal_text import LINES, escaped

_MAX_SHOWN = 80
_MAX_NAME_LENGTH = 100
"""The most characters of a name that is compared."""
_MAX_NAMES, _MAX_COMPARED = 5000, 30
"""The most names that are considered, and the most that are compared letter by letter."""
_MAX_VALUES = 200
"""The most nested values in a value that is shown."""


class GaiaError(Exception):
    """An operation is refused or failed. The text names the place, the problem and a remedy.

    The text can be written to any stream or row: controls but the ends of lines, and bytes of names
    that aren't UTF-8, are escaped.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(
            *(escaped(given, LINES) if isinstance(given, str) else given for given in args)
        )


class InvalidInput(GaiaError):
    """A call with bad input. Nothing of it was stored or started.

    `where` names the workflow, Step, Command, key or var; `problem` is its fault, and `right` says
    how to put it right.
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
    """The store cannot take or give a Task's files."""


class DiskError(StorageError):
    """The store's disk is full, read-only or broken: no fault of any command's."""


class DatabaseError(GaiaError):
    """The state database cannot be used."""


def shown(value: object) -> str:
    """A refused value as text for a message: short, made in little time, and without errors."""
    try:
        text = (
            repr(value[:_MAX_SHOWN] if isinstance(value, str) else value)
            if _is_brief(value)
            else ""
        )
    except (RecursionError, ValueError):  # nested too deep, or a number of too many digits
        text = ""
    text = text or f"of type {type(value).__name__}"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _is_brief(value: object) -> bool:
    """Whether it holds few values; the text of one that nests a value often can be huge."""
    values = [value]
    for nested in values:
        if isinstance(nested, dict | list | tuple | set | frozenset):
            if len(values) + len(nested) > _MAX_VALUES:
                return False
            values += nested
            if isinstance(nested, dict):
                values += nested.values()
    return True


def error_text(error: BaseException) -> str:
    """The text of any error, as that of a `GaiaError`: fit to be stored and printed."""
    return escaped(str(error), LINES)


def nearest(name: object, known: Iterable[str], noun: str = "known", likeness: float = 0.6) -> str:
    """Advice for an unknown `name`: the closest of `known`, or the first few of them, each once.

    `likeness`, from 0 to 1, is the least that a close one has.

    Takes little time also for many or long names: only some are considered.
    """
    distinct = dict.fromkeys(str(name) for name in itertools.islice(known, _MAX_NAMES + 1))
    names = list(distinct)
    given = name if isinstance(name, str) else shown(name)
    close: list[str] = []
    if len(given) <= _MAX_NAME_LENGTH:
        close = _closest(given, names[:_MAX_NAMES], likeness)
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    if not names:
        return f"{noun}: none yet"
    first = ", ".join(map(shown, sorted(names)[:8]))
    return f"{noun}: {first}" + (" …" if len(names) > 8 else "")


def _closest(given: str, names: list[str], least: float) -> list[str]:
    """The names most like `given`.

    Of many, only those with a similar beginning and end are compared, which takes little time.
    """
    short = [name for name in names if len(name) <= _MAX_NAME_LENGTH]

    def likeness(name: str) -> float:
        head = _common_prefix_length(given, name)
        tail = _common_prefix_length(reversed(given[head:]), reversed(name[head:]))
        return 2 * (head + tail) / (len(given) + len(name))

    if len(short) > _MAX_COMPARED:
        short = heapq.nlargest(_MAX_COMPARED, short, likeness)
    import difflib  # it takes its time, and only errors need it

    return difflib.get_close_matches(given, short, n=3, cutoff=least)


def _common_prefix_length(first: Iterable[str], second: Iterable[str]) -> int:
    """The length of the longest common beginning."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))

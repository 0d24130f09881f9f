"""The errors that users of the package meet: those of the published client's contract.

Inside, errors are the plain ones of `gaia_local.errors`. The published client raises
`requests.HTTPError` for all calls that the server refuses; so errors of a method of `Gaia`, or of
`gaia_local.compat`, are that as well, and ``except`` clauses written for the client keep working.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

from gaia_local.errors import GaiaError

P = ParamSpec("P")
T = TypeVar("T")


def http_error(error: GaiaError) -> GaiaError:
    """The same error that is a `requests.HTTPError` too: of the same class, text and causes.

    Its `response` is None.
    """
    plain: Any = type(error)
    made: GaiaError = _http_kind(plain)(error)
    made.__cause__, made.__context__ = error.__cause__, error.__context__
    made.__suppress_context__ = error.__suppress_context__
    return made


def raises_http_errors(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, whose errors are those of the client's contract."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True  # pytest shows the caller
        try:
            return function(*args, **kwargs)
        except GaiaError as error:
            if isinstance(error, OSError):  # as `HTTPError` is: it comes from another such function
                raise
            trace = error.__traceback__
            http = http_error(error).with_traceback(trace and trace.tb_next)
        # Outside of the handler, so that the plain error isn't shown as its context.
        try:
            raise http
        finally:
            del http, trace  # they and this frame hold each other

    return call


def with_http_errors(kind: type[T]) -> type[T]:
    """The class itself, whose constructor and public methods raise the client's errors."""
    for name, function in list(vars(kind).items()):
        if isinstance(function, FunctionType) and (name == "__init__" or not name.startswith("_")):
            setattr(kind, name, raises_http_errors(function))
    return kind


@functools.cache
def _http_kind(plain: Any) -> Any:
    """The class for errors of the class `plain`."""
    from requests import HTTPError  # not before: it is a fifth of the start of a short program

    class Http(plain, HTTPError):  # type: ignore[misc] # a base class that is known only here
        def __init__(self, error: GaiaError) -> None:
            HTTPError.__init__(self)
            self.args = error.args
            self.__dict__.update(vars(error))

        def __reduce__(self) -> tuple[Any, ...]:
            return _unpickled, (plain, plain.__reduce__(self)[1], vars(self))

    return functools.update_wrapper(Http, plain, updated=())


def _unpickled(
    plain: type[GaiaError], arguments: tuple[Any, ...], facts: dict[str, Any]
) -> GaiaError:
    """An error that was copied, or sent to another process."""
    made = plain(*arguments)
    made.__dict__.update(facts)
    return http_error(made)

"""The installations of the name `gaia`: they give the scripts of this process their engines."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import TracebackType
from typing import TYPE_CHECKING, Any

from gaia_local.forks import call_in_child, forget_in_child
from gaia_local.http_errors import raises_http_errors

if TYPE_CHECKING:
    from gaia_local import Gaia

logger = logging.getLogger("gaia_local")


class Installation:
    """One installation of the name `gaia`, from `install` to `undo` or `close`.

    As a context manager it closes at the end of the block: after the running Steps, or at once if
    an exception leaves the block, as `gaia_local.Gaia` does.
    """

    def __init__(self, config: Mapping[str, Any], release: Callable[[], None]) -> None:
        """`release` ends this installation's hold on the name `gaia`; see `redirection.hold`."""
        self._release = release
        self.config = config
        """The defaults of every `Gaia()` made through this installation."""
        self.closed = False
        self._made: list[Gaia] = []
        self._ignored: set[str] = set()
        """Keys whose warning was logged, so that each is logged once."""
        forget_in_child(self)

    def make(self, given: Any) -> Gaia:
        """A `Gaia` with a script's configuration. Closed together with this installation."""
        from gaia_local import Gaia
        from gaia_local.config import Config

        if given and not isinstance(given, Mapping):
            Config.parse(given)  # raises `InvalidInput`
        known = {field.name for field in fields(Config)} - {"given"}
        for key in (given or {}).keys() - known - {"gaia_host"} - self._ignored:
            self._ignored.add(key)
            logger.warning(
                "config, %r: it means nothing to the local engine and is ignored, as the published"
                " client does",
                key,
            )
        made = Gaia(
            {**self.config, **{key: value for key, value in (given or {}).items() if key in known}}
        )
        self._made.append(made)
        return made

    def forget(self) -> None:
        """As `Inherited.forget`: a child makes its own objects, and doesn't close the parent's."""
        self._made.clear()

    def undo(self) -> None:
        """Give `gaia` the meaning back that it had without this installation. Idempotent.

        The objects made meanwhile stay open, and a program that ends waits for their Steps.
        """
        with lock():
            if self in installations:
                installations.remove(self)
                self._release()

    def close(self, wait: bool = True) -> None:
        """Undo, and close all objects made through this, as `Gaia.close` does. Idempotent."""
        self.undo()
        self.closed = True
        while self._made:
            self._made.pop().close(wait)

    def __enter__(self) -> Installation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(wait=kind is None)


@raises_http_errors
def engine_of(front: object) -> Gaia:
    """The `Gaia` behind a script's object. Raises `GaiaError` if nothing is installed."""
    from gaia_local.errors import Closed

    with lock():
        state = vars(front)
        installation, made, process = state.get("_gaia_local", (None, None, None))
        if made is None or installation.closed or process != os.getpid():
            if not installations:
                raise Closed(
                    "this gaia.Gaia has no engine: nothing is installed by gaia_local.compat at"
                    " present; call it within "
                    "`gaia_local.compat.install()`, in a test with the fixture gaia_client, or by"
                    " `gaia-local exec`"
                )
            installation = installations[-1]
            made = installation.make(state.get("_gaia_local_config"))
            state["_gaia_local"] = (installation, made, os.getpid())
        found: Gaia = made
        return found


def installed() -> bool:
    """Whether a `Gaia()` made now has an engine."""
    return bool(installations)


installations: list[Installation] = []
"""From the outermost to the innermost; `lock` guards them."""
_lock = threading.RLock()


def lock() -> threading.RLock:
    """The lock held while the meaning of `gaia` changes."""
    return _lock


def _renew_lock_in_child() -> None:
    global _lock  # noqa: PLW0603 the thread that held it isn't in the child
    _lock = threading.RLock()


call_in_child(_renew_lock_in_child)

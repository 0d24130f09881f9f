"""Lets `import gaia` mean the local engine, so that scripts for the published client run.

`install` makes `import gaia`, `gaia.Gaia`, `from gaia import Gaia` and `from gaia.client import
Gaia` mean this engine, whether or not the published package is installed; see there for what
happens when it is imported already.

Promises that an import of it imports no engine, and that the name is given back.
Never in it: behaviour that `Gaia` itself hasn't.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, FunctionType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from gaia_local.forks import call_in_child, forget_in_child
from gaia_local.http_errors import raises_http_errors

if TYPE_CHECKING:
    from gaia_local import Gaia

PACKAGE, CLIENT = "gaia", "gaia.client"

logger = logging.getLogger("gaia_local")


class Installation:
    """One installation of the name `gaia`, from `install` to `undo` or `close`.

    As a context manager it closes at the end of the block: waiting for what runs, or at once if an
    exception leaves the block, as `gaia_local.Gaia` does.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        """The defaults of every `Gaia()` made through this installation."""
        self.closed = False
        self._made: list[Gaia] = []
        self._ignored: set[str] = set()
        """Keys of configurations that were told to be ignored, so that each is told once."""
        forget_in_child(self)

    def make(self, given: Any) -> Gaia:
        """A `Gaia` with a script's configuration. Closed together with this installation."""
        from gaia_local import Gaia
        from gaia_local.config import Config

        if given and not isinstance(given, Mapping):
            Config.parse(given)  # which refuses it
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
        """As `Inherited.forget`: a child makes its own objects, and leaves the parent's alone."""
        self._made.clear()

    def undo(self) -> None:
        """Restore the meaning of `gaia` before this, or by an outer installation. Idempotent.

        The objects made meanwhile stay open, and a program that ends waits for their Steps.
        """
        with _lock:
            if self in _installed:
                _installed.remove(self)
                _release()

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
def install(config: Mapping[str, Any] | None = None) -> Installation:
    """Let `gaia` mean the local engine, and answer what undoes that.

    `config`, as `gaia_local.Gaia` takes it, holds the defaults of every `Gaia()` made from here on;
    what a script gives itself comes first, `gaia_host` is accepted, and keys that mean nothing here
    are ignored with a warning. Installations nest: the innermost counts, its configuration added to
    the outer one's; they may be undone in any order. What an object was made with it keeps until
    that installation is closed.

    Where the published client is imported already, its class is redirected to the local engine
    instead, since names bound by ``from gaia.client import Gaia``, subclasses and objects made
    before would reach for a server: all of them are local until this is undone. Other functions
    that were imported by name stay the published ones.

    Raises `GaiaError` for a configuration that `Gaia` would refuse, and where another package of
    the name `gaia` is imported already; nothing is changed then.
    """
    from gaia_local.config import Config

    Config.parse(config)
    with _lock:
        installation = Installation(
            {**(_installed[-1].config if _installed else {}), **(config or {})}
        )
        _hold()
        _installed.append(installation)
        return installation


@contextlib.contextmanager
def reserve() -> Iterator[None]:
    """While inside, `gaia` can be imported, and means the engine that is installed, if any.

    Elsewhere a `Gaia` can be made, and has no engine: what it is asked for raises `GaiaError`.
    """
    with _lock:
        _hold()
    try:
        yield
    finally:
        with _lock:
            _release()


@raises_http_errors
def engine_of(front: object) -> Gaia:
    """The `Gaia` behind a script's object. Raises `GaiaError` where nothing is installed."""
    from gaia_local.errors import Closed

    with _lock:
        state = vars(front)
        installation, made, process = state.get("_gaia_local", (None, None, None))
        if made is None or installation.closed or process != os.getpid():
            if not _installed:
                raise Closed(
                    "this gaia.Gaia has no engine: nothing is installed by gaia_local.compat at"
                    " present; call it within "
                    "`gaia_local.compat.install()`, in a test with the fixture gaia_client, or by"
                    " `gaia-local exec`"
                )
            installation = _installed[-1]
            made = installation.make(state.get("_gaia_local_config"))
            state["_gaia_local"] = (installation, made, os.getpid())
        found: Gaia = made
        return found


def installed() -> bool:
    """Whether a `Gaia()` that a script makes now has an engine."""
    return bool(_installed)


# ------------------------------------------------------------------------------------------- inside

_lock = threading.RLock()
_installed: list[Installation] = []
_holders = 0
"""How many installations and reservations want `gaia` to be importable."""
_restore: Callable[[], None] | None = None


def _renew_lock_in_child() -> None:
    global _lock  # noqa: PLW0603 whoever held it is not here
    _lock = threading.RLock()


call_in_child(_renew_lock_in_child)


class _Finder(MetaPathFinder, InspectLoader):
    """Finds and makes the modules `gaia` and `gaia.client`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in (PACKAGE, CLIENT):
            return None
        source = find_spec(
            "gaia_local.compat.client" if fullname == CLIENT else "gaia_local.compat"
        )
        assert source is not None
        return ModuleSpec(fullname, self, origin=source.origin, is_package=fullname == PACKAGE)

    def exec_module(self, module: ModuleType) -> None:
        from gaia_local.compat import client

        names = ["Gaia"] if module.__name__ == PACKAGE else client.__all__
        module.__doc__ = client.__doc__
        vars(module).update({name: getattr(client, name) for name in names})

    def get_code(self, fullname: str) -> CodeType:
        """What ``python -m gaia.client`` runs."""
        return compile(
            "from gaia_local.compat.client import main\n\nmain()\n", f"<{fullname}>", "exec"
        )

    def get_source(self, fullname: str) -> None:
        return None

    def is_package(self, fullname: str) -> bool:
        return fullname == PACKAGE


@raises_http_errors
def _hold() -> None:
    global _holders, _restore  # noqa: PLW0603 there is one name `gaia` in a process
    if not _holders:
        _restore = _redirect() if PACKAGE in sys.modules else _shadow()
    _holders += 1


def _release() -> None:
    global _holders, _restore  # noqa: PLW0603 as above
    _holders -= 1
    if not _holders and _restore is not None:
        _restore()
        _restore = None


def _shadow() -> Callable[[], None]:
    """Put our modules before whatever else is called `gaia`."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)

    def restore() -> None:
        sys.meta_path.remove(finder)
        for name in (PACKAGE, CLIENT):
            if (
                name in sys.modules
                and getattr(sys.modules[name].__spec__, "loader", None) is finder
            ):
                del sys.modules[name]

    return restore


def _redirect() -> Callable[[], None]:
    """Put our functions into the published client's class and modules."""
    published = _published()
    from gaia_local.compat import client

    package, kind = sys.modules[PACKAGE], published.Gaia
    changes: list[tuple[Any, str, Any]] = [
        (kind, name, function) for name, function in _methods(client.Gaia)
    ]
    changes.append((published, "launch_sisyphus", client.launch_sisyphus))
    if not hasattr(package, "Gaia"):
        changes.append((package, "Gaia", kind))
    before = [
        (place, name, name in vars(place), vars(place).get(name)) for place, name, _ in changes
    ]
    for place, name, function in changes:
        setattr(place, name, function)

    def restore() -> None:
        for place, name, was_there, value in before:
            if was_there:
                setattr(place, name, value)
            else:
                delattr(place, name)

    return restore


def _published() -> Any:
    """The published `gaia.client`, whose package is imported already."""
    from gaia_local.errors import InvalidInput

    try:
        found = importlib.import_module(CLIENT)
    except ImportError:
        found = None
    kind = getattr(found, "Gaia", None)
    if not isinstance(kind, type) or not all(
        hasattr(kind, name) for name in ("upload", "merge", "status")
    ):
        place = getattr(sys.modules[PACKAGE], "__file__", None) or "a place without a file"
        raise InvalidInput(
            "gaia_local.compat",
            f"a package gaia that isn't a client of Gaia is imported already, from {place}",
            "install before it is imported, or give it another name",
        )
    return found


def _methods(kind: type) -> Iterator[tuple[str, FunctionType]]:
    for name, value in vars(kind).items():
        if isinstance(value, FunctionType):
            yield name, value

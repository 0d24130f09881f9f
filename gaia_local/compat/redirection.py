"""Gives `import gaia` its meaning in this process, as long as an installation needs it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, FunctionType, ModuleType
from typing import Any

from gaia_local.http_errors import raises_http_errors

PACKAGE, CLIENT = "gaia", "gaia.client"

_holders = 0
"""The number of installations and reservations that need `gaia` to be importable."""
_restore: Callable[[], None] | None = None


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
        """The code that ``python -m gaia.client`` runs."""
        return compile(
            "from gaia_local.compat.client import main\n\nmain()\n", f"<{fullname}>", "exec"
        )

    def get_source(self, fullname: str) -> None:
        return None

    def is_package(self, fullname: str) -> bool:
        return fullname == PACKAGE


@raises_http_errors
def hold() -> None:
    """Let `gaia` mean our modules until `release` was called as often as this."""
    global _holders, _restore  # noqa: PLW0603 there is one name `gaia` in a process
    if not _holders:
        _restore = _redirect() if PACKAGE in sys.modules else _shadow()
    _holders += 1


def release() -> None:
    """See `hold`."""
    global _holders, _restore  # noqa: PLW0603 as above
    _holders -= 1
    if not _holders and _restore is not None:
        _restore()
        _restore = None


def _shadow() -> Callable[[], None]:
    """Let imports find our modules before any other package named `gaia`."""
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

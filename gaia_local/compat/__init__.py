"""Lets `import gaia` mean the local engine, so that scripts for the published client run.

`install` makes `import gaia`, `gaia.Gaia`, `from gaia import Gaia` and `from gaia.client import
Gaia` mean this engine, whether or not the published package is installed; see there for what
happens when it is imported already.

Promises that an import of it imports no engine, and that the name is given back.
Never in it: behaviour that `Gaia` itself hasn't.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from gaia_local.compat.installation import Installation, engine_of, installations, installed, lock
from gaia_local.compat.redirection import hold, release
from gaia_local.http_errors import raises_http_errors

__all__ = ["Installation", "engine_of", "install", "installed", "reserve"]


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
    with lock():
        outer = installations[-1].config if installations else {}
        installation = Installation({**outer, **(config or {})}, release)
        hold()
        installations.append(installation)
        return installation


@contextlib.contextmanager
def reserve() -> Iterator[None]:
    """While inside, `gaia` can be imported, and means the engine that is installed, if any.

    Elsewhere a `Gaia` can be made, and has no engine: what it is asked for raises `GaiaError`.
    """
    with lock():
        hold()
    try:
        yield
    finally:
        with lock():
            release()

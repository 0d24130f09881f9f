"""Lets `import gaia` mean the local engine, so that scripts for the published client run.

`install` makes `import gaia`, `gaia.Gaia`, `from gaia import Gaia` and `from gaia.client import
Gaia` mean this engine, with or without the published package installed; its docstring also covers a
package that is imported already.

Promises that importing it imports no engine, and that the name `gaia` gets its old meaning back.
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
    """Let `gaia` mean the local engine; the returned `Installation` can undo that.

    `config`, as `gaia_local.Gaia` takes it, holds the defaults of every `Gaia()` made from here on.
    Values that a script gives itself win; `gaia_host` is accepted, and unknown keys are ignored
    with a warning. Installations nest: the innermost counts, its configuration added to the outer
    one's; they may be undone in any order. An object keeps its configuration until its
    installation is closed.

    If the published client is imported already, its class is redirected to the local engine
    instead, since names bound by ``from gaia.client import Gaia``, subclasses and objects made
    before would connect to a server: all of them are local until this is undone. Other functions
    that were imported by name stay the published ones.

    Raises `GaiaError` for a configuration that `Gaia` would refuse, and if another package named
    `gaia` is imported already; nothing is changed then.
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
    """While inside, `gaia` can be imported, and means the installed engine, if any.

    Without an installation a `Gaia` can be made, but has no engine: its methods raise `GaiaError`.
    """
    with lock():
        hold()
    try:
        yield
    finally:
        with lock():
            release()

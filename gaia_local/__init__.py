"""Gaia without the server: workflows of containers on one machine.

`Gaia` has the methods and the answers of the client of a Gaia server; whatever goes wrong is a
`GaiaError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaia_local.api import Gaia
    from gaia_local.errors import GaiaError
else:

    def __getattr__(name: str) -> Any:
        # Imported when they are used: the pytest plugin is loaded in each run of pytest, and
        # `--help` needs neither.
        if name == "Gaia":
            from gaia_local.api import Gaia

            return Gaia
        if name == "GaiaError":
            from gaia_local.errors import GaiaError

            return GaiaError
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Gaia", "GaiaError"]

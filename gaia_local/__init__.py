"""Gaia without the server: workflows of containers on one machine.

`Gaia` has the methods and the answers of the client of a Gaia server; whatever goes wrong is a `GaiaError`.
"""

from gaia_local.api import Gaia
from gaia_local.errors import GaiaError

__all__ = ["Gaia", "GaiaError"]

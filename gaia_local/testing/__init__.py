"""For tests of code that uses Gaia: the pytest plugin, and `GaiaFixture` of its fixtures.

Promises that a test's engine leaves nothing behind, and that pytest imports no engine before a test
uses one.
Never in it: code that programs other than tests need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaia_local.testing.fixture import GaiaFixture
else:

    def __getattr__(name: str) -> Any:
        # Imported late: each run of pytest imports this package for its plugin.
        if name == "GaiaFixture":
            from gaia_local.testing.fixture import GaiaFixture

            return GaiaFixture
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["GaiaFixture"]

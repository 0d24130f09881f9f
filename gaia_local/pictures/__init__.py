"""Pictures of workflows, made from answers of `Gaia` alone: graphs, and tables for notebooks.

from gaia_local import Gaia
from gaia_local.pictures import draw

draw(Gaia().graph("me_hello_1")).save("hello.svg")

Promises that the libraries which it needs are imported for a picture, and for nothing else.
Never in it: a call of the engine; pictures are drawn from given answers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gaia_local.pictures.drawing import FEW, MOST, Picture, draw, seconds
    from gaia_local.pictures.plain import dot, mermaid
else:
    _MODULES = {"FEW": "drawing", "MOST": "drawing", "Picture": "drawing", "draw": "drawing"}
    _MODULES |= {"seconds": "drawing"}
    _MODULES |= {"dot": "plain", "mermaid": "plain"}

    def __getattr__(name: str) -> Any:
        # Imported when they are used: the command line needs the sentences of this wing at once.
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = ["FEW", "MOST", "Picture", "dot", "draw", "mermaid", "seconds"]

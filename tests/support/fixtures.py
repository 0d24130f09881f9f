"""The types of the fixtures that all tests have, and the image of those with containers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from gaia_local import Gaia
from support.waiting import Answer

IMAGE = os.environ.get("GAIA_LOCAL_TEST_IMAGE", "gaia-local-test:latest")


class MakeGaia(Protocol):
    """Makes a `Gaia`; keys of the configuration are keyword arguments."""

    def __call__(self, **config: Any) -> Gaia: ...


class WaitUntil(Protocol):
    """`support.waiting.wait_until`."""

    def __call__(self, condition: Callable[[], Answer], timeout: float = ...) -> Answer: ...

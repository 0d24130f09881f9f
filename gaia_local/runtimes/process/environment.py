"""The environment of programs: this process's own without the secrets of engine and cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping

_SECRET = (
    b"GAIA_LOCAL_TOKEN",
    # All of Dask's configuration, which its nannies hand to their workers.
    b"DASK_INTERNAL_INHERIT_CONFIG",
    b"DASK_DISTRIBUTED__COMM__TLS__",
)
"""The prefixes of secret variables' names. All others may be meant for the programs."""


def for_programs(environment: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The environment without the engine's secrets."""
    return {name: environment[name] for name in environment if not name.startswith(_SECRET)}


def of_this_process() -> dict[bytes, bytes]:
    """The present environment of this process, a copy.

    NOTE: `os.environb` encodes and looks up each variable in Python, which for each Task takes
    longer than all else that is done with the environment. On the systems with `environb` it stands
    on a dictionary of bytes, which is copied at once where it is there.
    """
    raw = getattr(os.environb, "_data", None)
    return raw.copy() if type(raw) is dict else dict(os.environb)

"""The environment of programs: this process's own without the secrets of engine and cluster."""

from __future__ import annotations

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

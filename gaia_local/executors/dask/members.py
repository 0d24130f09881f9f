"""The workers of a cluster, and the resources that they declare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gaia_local.errors import RuntimeFailure
from gaia_local.model.resources import Resources


@dataclass(frozen=True)
class Member:
    """A worker of the cluster."""

    address: str
    name: str
    threads: int
    resources: Mapping[str, float]
    """The resources that it declares, by its own names."""


_DECLARED = {"cpus": ("cpus", "cpu"), "memory": ("memory", "mem"), "gpus": ("gpus", "gpu")}
"""Our resources, and the names, in any case, that workers may give them."""


def resource_restrictions(members: Iterable[Member], wanted: Resources) -> dict[str, float]:
    """The `resources` of a Task for Dask: those wanted that some worker declares, by its name.

    Raises `RuntimeFailure` if workers declare them and none has enough.
    """
    declared = [
        {name.lower(): (name, amount) for name, amount in member.resources.items()}
        for member in members
    ]
    asked: dict[str, float] = {}
    able = declared
    for resource, amount in wanted.items():
        name = _declared_name(resource, declared)
        if name is not None:
            asked[name] = amount
            able = [has for has in able if name.lower() in has and has[name.lower()][1] >= amount]
    if not able and asked:
        amounts = ", ".join(f"{name}: {amount:g}" for name, amount in asked.items())
        raise RuntimeFailure(
            f"its Command needs {amounts}; no worker of the Dask cluster has declared as much"
        )
    return asked


def _declared_name(
    resource: str, declared: Iterable[Mapping[str, tuple[str, float]]]
) -> str | None:
    for has in declared:
        for name in _DECLARED[resource]:
            if name in has:
                return has[name][0]
    return None

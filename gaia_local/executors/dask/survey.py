"""Asks the workers of a Dask cluster for their versions, and checks their access to the root."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from gaia_local.config import Config
from gaia_local.executors.dask import worker as dask_worker
from gaia_local.executors.dask.cluster import Cluster
from gaia_local.executors.dask.members import Member
from gaia_local.executors.dask.settings import path_on_workers, settings_for
from gaia_local.runtimes.contract import Root


@dataclass(frozen=True)
class Surveyed(Member):
    """A worker of the cluster, with its answers."""

    version: str
    """Of gaia_local, or a few words if it isn't installed there."""
    sees_root: bool | None
    """None if the root doesn't exist yet."""


def survey(config: Config, probe: Path | None) -> list[Surveyed]:
    """Ask all workers; `probe` is a file in the root. Raises `EngineUnavailable`."""
    cluster = Cluster(config.dask, settings_for(config, Root(str(config.root), "")))
    try:
        connection = cluster.connect()
        versions = connection.ask(importlib.metadata.version, "gaia-local")
        seen = (
            {}
            if probe is None
            else connection.ask(dask_worker.read_file, path_on_workers(probe, config.dask.path_map))
        )
        wanted = None if probe is None else probe.read_bytes()
        return [
            Surveyed(
                member.address,
                member.name,
                member.threads,
                dict(member.resources),
                version
                if isinstance(version := versions[member.address], str)
                else "no installed version",
                None if wanted is None else seen[member.address] == wanted,
            )
            for member in connection.members
        ]
    finally:
        cluster.close()

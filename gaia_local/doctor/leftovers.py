"""Leftovers of dead engines: listed for any root, and removed by `clean` alone."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from gaia_local.config import Config
from gaia_local.errors import EngineUnavailable, RuntimeFailure
from gaia_local.runtimes.contract import Root
from gaia_local.runtimes.docker.labels import all_leftovers
from gaia_local.runtimes.docker.runtime import DockerRuntime
from gaia_local.runtimes.process.marked_processes import end_leftover, leftover
from gaia_local.runtimes.process.supervisor import RECORD
from gaia_local.state.buckets import recall
from gaia_local.store import kept_failures
from gaia_local.store.ownership import Ownership, owner
from gaia_local.store.root_identity import identify
from gaia_local.store.storage import Storage


@dataclass(frozen=True)
class FoundLeftover:
    """A container, process or private directory of a dead engine."""

    kind: str
    """`container`, `process`, `staging` (files alone), or `failed` (files that were kept)."""
    root: str
    name: str
    """The container's id, the process's pid, or the Task's id."""
    workflow: str = ""
    step: str = ""
    running: bool = True


def find(config: Config) -> list[FoundLeftover]:
    """Containers of all roots without an owner; processes and private directories of this root."""
    found = []
    with contextlib.suppress(EngineUnavailable, RuntimeFailure):
        found += [
            FoundLeftover(
                "container",
                root,
                container.container[:12],
                container.workflow,
                container.step,
                container.running,
            )
            for root, container in all_leftovers()
            if owner(Path(root)) is None
        ]
    if owner(config.root) is None:
        found += _of_root(config)
    return found


def clean(config: Config) -> list[FoundLeftover]:
    """Remove and return the leftovers of this root.

    Raises `RootInUse` if an engine has it open, and `InvalidInput` if it is a file.
    """
    config.refuse_file()
    if not config.root.is_dir():
        return []
    owned = Ownership(config.root)
    try:
        config = recall(config)
        storage = Storage(config.root, config.buckets)
        removed = _of_root(config)
        runtime = DockerRuntime(config.docker, Root(str(config.root), identify(config.root)))
        with contextlib.closing(runtime), contextlib.suppress(EngineUnavailable, RuntimeFailure):
            for container in runtime.leftovers():
                runtime.remove_leftover(container.container)
                found = FoundLeftover(
                    "container",
                    str(config.root),
                    container.container[:12],
                    container.workflow,
                    container.step,
                    container.running,
                )
                removed.append(found)
        for directory in storage.left_staging():
            end_leftover(directory / RECORD)
        for kept in kept_failures.kept_failures(config.root):
            removed.append(
                FoundLeftover(
                    "failed", str(config.root), kept.task, kept.workflow, kept.step, running=False
                )
            )
        kept_failures.free_others(config.root, set())
        storage.sweep()
    finally:
        owned.release()
    return removed


def _of_root(config: Config) -> list[FoundLeftover]:
    found = []
    for directory in Storage(config.root, config.buckets).left_staging():
        pid = leftover(directory / RECORD)
        kind, name = ("staging", directory.name) if pid is None else ("process", str(pid))
        found.append(FoundLeftover(kind, str(config.root), name, running=pid is not None))
    return found

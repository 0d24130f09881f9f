"""Leftovers of dead engines: listed for any root, and removed by `clean` alone."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from gaia_local.config import Config
from gaia_local.errors import EngineUnavailable, RuntimeFailure
from gaia_local.runtimes.contract import Root
from gaia_local.runtimes.docker.labels import LeftoverContainer, all_leftovers
from gaia_local.runtimes.docker.runtime import DockerRuntime
from gaia_local.runtimes.process.marked_processes import end_leftover, leftover
from gaia_local.runtimes.process.supervisor import RECORD
from gaia_local.state.buckets import recall
from gaia_local.store import kept_failures, shells
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
    """The container's id, the process's pid, or the id of the Task or the shell."""
    workflow: str = ""
    step: str = ""
    running: bool = True


def find(config: Config) -> list[FoundLeftover]:
    """Containers of all roots without an owner; processes and private directories of this root.

    What belongs to a shell in a Step is left as soon as the shell's own process is dead.
    """
    found = []
    with contextlib.suppress(EngineUnavailable, RuntimeFailure):
        found += [
            _found(root, container)
            for root, container in all_leftovers()
            if _is_left(Path(root), container)
        ]
    if owner(config.root) is None:
        found += _of_root(config)
    return found + _of_shells(config)


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
        removed = _of_root(config) + _of_shells(config)
        runtime = DockerRuntime(config.docker, Root(str(config.root), identify(config.root)))
        with contextlib.closing(runtime), contextlib.suppress(EngineUnavailable, RuntimeFailure):
            for container in runtime.leftovers():
                if not _is_of_living_shell(config.root, container):
                    runtime.remove_leftover(container.container)
                    removed.append(_found(str(config.root), container))
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
        shells.sweep(config.root, lambda directory: end_leftover(directory / RECORD))
    finally:
        owned.release()
    return removed


def _is_left(root: Path, container: LeftoverContainer) -> bool:
    if container.shell:
        return not shells.is_living(root, container.shell)
    return owner(root) is None


def _is_of_living_shell(root: Path, container: LeftoverContainer) -> bool:
    return container.shell != "" and shells.is_living(root, container.shell)


def _found(root: str, container: LeftoverContainer) -> FoundLeftover:
    return FoundLeftover(
        "container",
        root,
        container.container[:12],
        container.workflow,
        container.step,
        container.running,
    )


def _of_root(config: Config) -> list[FoundLeftover]:
    directories = Storage(config.root, config.buckets).left_staging()
    return [_in_directory(config, directory) for directory in directories]


def _of_shells(config: Config) -> list[FoundLeftover]:
    return [_in_directory(config, directory) for directory in shells.dead(config.root)]


def _in_directory(config: Config, directory: Path) -> FoundLeftover:
    pid = leftover(directory / RECORD)
    kind, name = ("staging", directory.name) if pid is None else ("process", str(pid))
    return FoundLeftover(kind, str(config.root), name, running=pid is not None)

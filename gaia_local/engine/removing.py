"""Removes the files that removed Steps made."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from gaia_local.engine.decision_loop import DecisionLoop
from gaia_local.store import removal
from gaia_local.store.storage import Storage
from gaia_local.workflow.contents import inspections
from gaia_local.workflow.decision import Decision, Observation
from gaia_local.workflow.workflow import Workflow


def remove_files(loop: DecisionLoop, storage: Storage, name: str, keys: Collection[str]) -> None:
    """Remove the files of those keys of a workflow that no Step makes any more.

    They are moved aside under the lock, since a Step that is merged at this moment may make them
    anew; the removal itself can take long. Raises `StorageError` for one that can't be moved.
    """
    paths = {key: storage.path(name, key) for key in keys}
    aside: list[Path] = []

    def move(workflow: Workflow) -> Decision:
        graph = workflow.graph
        moved = [
            key
            for key, path in paths.items()
            if all(near.maker is None for near in graph.overlapping(path))
        ]
        aside.append(storage.set_aside(name, moved))
        known = [graph.keys[key] for key in moved if key in graph.keys]
        return workflow.observe(Observation(each, None) for each in inspections(known))

    loop.handle(name, move)
    loop.files_changed(set(paths.values()))  # also for the keys around them, and those within
    for directory in aside:
        removal.remove_or_warn(str(directory))

"""A store on the bench: files of the user, and Tasks that read and write there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaia_local.model.tasks import Task
from gaia_local.model.validation import NOTHING
from gaia_local.store.storage import Storage
from support.builders import task


class StoreBench:
    """A store of its own, made."""

    def __init__(self, root: Path, **buckets: Path) -> None:
        self.root = root
        self.storage = Storage(root, buckets)
        self.storage.create()
        self._tasks = 0

    def put(self, key: str, content: str | None = "content", workflow: str = "w") -> Path:
        """The user writes a file (None: makes a directory) into the store."""
        path = Path(self.storage.path(workflow, key))
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_text(content)
        return path

    def task(
        self,
        inputs: Mapping[str, str] = NOTHING,
        outputs: Mapping[str, str] = NOTHING,
        external: bool = True,
        **facts: Any,
    ) -> Task:
        """Another Task; `external`: no Step makes its inputs."""
        self._tasks += 1
        ours = frozenset(inputs.values()) if external else frozenset()
        facts = {"id": f"t{self._tasks}", "external": ours, **facts}
        return task(inputs=inputs, outputs=outputs, **facts)

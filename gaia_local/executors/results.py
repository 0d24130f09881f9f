"""Results of complete Tasks, and the contract of what finds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from gaia_local.model.keys import Capture, output_place
from gaia_local.model.tasks import Reused, Task
from gaia_local.store.task_files import StoredResult


class Result(NamedTuple):
    """The result of a complete Task."""

    made_by: Reused
    files: Mapping[str, StoredResult]
    """Internal path or capture → the output, of all but ``>>`` logs."""
    log: Path
    """What its program printed; there is no file if that is nothing."""
    image_id: str | None

    def needed(self, task: Task) -> list[tuple[str, str]]:
        """The outputs of an equal Task, with their internal paths, that are copied from here."""
        return [(key, text) for key, text in task.outputs if output_place(text) is not Capture.LOG]


class Results(Protocol):
    """The results that there are."""

    def find(self, fingerprint: str) -> Iterator[Result]:
        """The results of Tasks with this fingerprint, the newest first."""

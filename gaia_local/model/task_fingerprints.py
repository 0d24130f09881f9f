"""The fingerprint of a Task: all that decides about its results, in one digest.

Tasks with equal fingerprints would make equal outputs, as far as their programs depend on nothing
else. The names of workflow, Step and keys are no part of it, nor are timeout and resources.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from gaia_local.model.keys import Capture, output_place, wants_directory
from gaia_local.model.tasks import Task


def task_fingerprint(task: Task, program: str, digests: Mapping[str, str]) -> str:
    """The fingerprint of a Task that runs a `program` and reads these contents.

    `program` is what `Runtime.identity` answers; `digests` maps each input's key to its digest.
    """
    inputs = sorted([(internal, digests[key]) for key, internal in task.inputs])
    outputs = sorted([(text, _kind(key, text)) for key, text in task.outputs])
    # As unambiguous as JSON, in a third of the time: each Task that runs pays for it.
    facts = ascii((program, task.command, inputs, outputs, task.stdout))
    return hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()


def _kind(key: str, text: str) -> str:
    place = output_place(text)
    if isinstance(place, Capture):
        return place.name
    return "directory" if wants_directory(key, place) else "file"

"""For doit: the study, one task a Step. The environment is that of `benchmarks.study`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from benchmarks.study import command, in_environment, study

SIZE, COUNTER, INPUTS, OUTPUTS = in_environment()
DOIT_CONFIG = {"verbosity": 0, "reporter": "zero"}


def task_study() -> Iterator[dict[str, Any]]:
    """All Steps."""
    for part in study(SIZE):
        paths = [f"{OUTPUTS}/{name}" for name in part.reads]
        paths += [f"{INPUTS}/{path}" for path in part.inputs]
        out = f"{OUTPUTS}/{part.name}"
        yield {
            "name": part.name,
            "actions": [shlex.join(command(part, SIZE, COUNTER, out, paths))],
            "file_dep": paths,
            "targets": [out],
        }

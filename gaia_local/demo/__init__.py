"""The demo workflow: a small, complete example in Gaia's own format, with the input files it needs.

A checkout keeps it in ``resources/demo``; the built package carries the same files in
``gaia_local/demo/files``.

Promises the same files in a checkout and in the built package.
Never in it: an import of another module of this package.
"""

from __future__ import annotations

import getpass
import json
import re
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

RESULTS = ("results:report/", "results:listing.txt", "results:report.log")
"""The storage keys of the results that are shown after a run."""


def folder() -> Path:
    """The directory of the demo's files, in a checkout or in an installed package."""
    packaged = Path(__file__).parent / "files"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "resources" / "demo"


def commands() -> list[dict[str, Any]]:
    """The demo's Commands."""
    return _read("demo-commands.json")


def steps() -> list[dict[str, Any]]:
    """The demo's Steps."""
    return _read("demo-steps.json")


def inputs() -> dict[str, Path]:
    """The demo's input files, by storage key."""
    top = folder() / "inputs"
    files = sorted(path for path in top.rglob("*") if path.is_file())
    return {":".join(path.relative_to(top).as_posix().split("/", 1)): path for path in files}


def name(taken: Collection[str], now: float | None = None) -> str:
    """A fresh workflow name in the usual form, ``owner_program_datetime``."""
    stamp = time.strftime("%Y%m%d.%H%M%S", time.localtime(now))
    first = f"{_owner()}_demo_{stamp}"
    names = (first if number == 1 else f"{first}-{number}" for number in range(1, len(taken) + 2))
    return next(taken_name for taken_name in names if taken_name not in taken)


def place_inputs(place: Callable[[str], Path]) -> None:
    """Copy the input files to their places; `place` gives the path of a storage key."""
    for key, source in inputs().items():
        target = place(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _owner() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # this uid has no name, as is usual in containers
        user = ""
    # The owner is the part of a workflow's name before the first '_', so it holds none itself.
    return re.sub(r"[^A-Za-z0-9.-]+", "-", user).strip(".-") or "me"


def _read(file: str) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads((folder() / file).read_text(encoding="utf-8"))
    return read

"""The log of a Task: written as an output, and read from its end."""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

from gaia_local.model.tasks import Reused, Task
from gaia_local.store import copying
from gaia_local.store.file_work import UNTOLD, FileWork

TAIL_LINES = 100
_TAIL_BYTES = 100_000


def read_tail(log: str, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, and of those at most the last 100,000 bytes."""
    try:
        with open(log, "rb") as reader:
            size = reader.seek(0, os.SEEK_END)
            reader.seek(max(0, size - _TAIL_BYTES))
            text = reader.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


class Ending(NamedTuple):
    """The end of a Task's command."""

    code: int
    problem: str | None
    elapsed: float


def write_log(
    path: str,
    task: Task,
    printed: str,
    ending: Ending,
    *,
    work: FileWork = UNTOLD,
    reused: Reused | None = None,
) -> None:
    """Write the ``>>`` output: a header with the task, the printed lines, a footer with its end.

    Those of a Task that was given the results of another one are that one's.
    """
    rows = [
        ("task", task.name),
        ("id", task.id),
        ("workflow", task.workflow),
        ("image", task.image),
        ("command", " ".join(task.command)),
        *((f"input {internal}", key) for key, internal in task.inputs),
        *((f"output {internal}", key) for key, internal in task.outputs),
        *([("reused from", f"{reused}, Task {reused.task}")] if reused else []),
    ]
    header = "".join(f"# {name}: {value}\n" for name, value in rows)
    problem = ending.problem
    footer = f"# {'failed: ' + problem if problem else 'complete'}\n# exit code: {ending.code}\n"
    footer += f"# elapsed: {ending.elapsed:.3f} s\n# timeout: {task.timeout:g} s\n"
    with open(path, "wb") as writer:
        writer.write(header.encode("utf-8", "replace") + b"\n")
        writer.flush()
        ends_line = _append(printed, writer, work)
        writer.seek(0, os.SEEK_END)
        writer.write((b"" if ends_line else b"\n") + b"\n" + footer.encode("utf-8", "replace"))


def _append(printed: str, writer: BinaryIO, work: FileWork) -> bool:
    """Copy the program's output, if any; False if it doesn't end with a whole line."""
    if not os.path.exists(printed):
        return True
    ends_line = True
    with open(printed, "rb", buffering=0) as reader:  # so that `seek` moves the descriptor itself
        if reader.seek(0, os.SEEK_END):
            reader.seek(-1, os.SEEK_END)
            ends_line = reader.read(1) == b"\n"
        reader.seek(0)
        copying.copy_range(reader.fileno(), writer.fileno(), work)
    return ends_line

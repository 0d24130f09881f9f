"""Whether worker processes can import the script that starts them without running all of it."""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from gaia_local.errors import InvalidInput


def refuse_unguarded_script() -> None:
    """Raise `InvalidInput` if the running script would start workers in each of its workers.

    A worker process imports the script by its path (`multiprocessing.spawn`). What the main thread
    runs just now, outside of ``if __name__ == "__main__":``, would run there, too.
    """
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", "")
    path = getattr(main, "__file__", None)
    if path is None or name.endswith("__main__"):  # no worker imports these
        return
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and not _is_top_of(main.__dict__, frame):
        frame = frame.f_back
    if frame is None:
        return
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    if not any(frame.f_lineno in lines for lines in _guarded_lines(tree)):
        raise InvalidInput(
            "config, dask.local",
            f"each worker process imports {path}, whose line {frame.f_lineno} would start workers "
            "there, too",
            'put that, and what follows, under `if __name__ == "__main__":`',
        )


def _is_top_of(variables: dict[str, object], frame: FrameType) -> bool:
    return frame.f_globals is variables and frame.f_code.co_name == "<module>"


def _guarded_lines(tree: ast.Module) -> Iterator[range]:
    for statement in ast.walk(tree):
        if isinstance(statement, ast.If) and "__name__" in (
            node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)
        ):
            end = statement.body[-1].end_lineno or statement.lineno
            yield range(statement.body[0].lineno, end + 1)

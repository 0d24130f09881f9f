"""For redun: the study, with contents as values, so that names don't matter.

A file's hash has its path in it: tasks that pass files on would run again in another directory.
The environment is that of `benchmarks.study`; the directory of the database is the present one.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from redun import File, Scheduler, task
from redun.config import Config

from benchmarks.study import command, in_environment, study

SIZE, COUNTER, INPUTS, OUTPUTS = in_environment()
PARTS = {part.name: part for part in study(SIZE)}
redun_namespace = "study"


@task(version="1")  # type: ignore[untyped-decorator]
def step(name: str, size: int, read: list[bytes], files: list[File]) -> bytes:
    """What a Step's program makes of these contents and input files."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{number}" for number in range(len(read))]
        for path, content in zip(paths, read, strict=True):
            Path(path).write_bytes(content)
        paths += [file.path for file in files]
        out = f"{folder}/out"
        subprocess.run(command(PARTS[name], SIZE, COUNTER, out, paths), check=True)
        return Path(out).read_bytes()


@task(version="1")  # type: ignore[untyped-decorator]
def write(name: str, content: bytes, folder: str) -> File:
    """An output of this study as a file."""
    file = File(f"{folder}/{name}")
    file.write(content, "wb")
    return file


@task(version="1", cache=False)  # type: ignore[untyped-decorator]
def main() -> list[File]:
    """The whole study; looks at all input files each time."""
    made: dict[str, Any] = {}
    for part in PARTS.values():
        read = [made[name] for name in part.reads]
        files = [File(f"{INPUTS}/{path}") for path in part.inputs]
        made[part.name] = step(part.name, SIZE.output, read, files)
    return [write(name, content, OUTPUTS) for name, content in made.items()]


if __name__ == "__main__":
    scheduler = Scheduler(
        config=Config(
            {
                "backend": {"db_uri": "sqlite:///redun.db"},
                "executors.default": {"type": "local", "max_workers": "2"},
            }
        )
    )
    scheduler.load()
    scheduler.run(main())

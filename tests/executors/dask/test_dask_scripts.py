"""Scripts that start workers on this machine: each worker process imports the script."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gaia_local import Gaia

BEGINNING = """
import sys, threading
from gaia_local import Gaia

def work():
    with Gaia({"root": sys.argv[1], "runtime": "process", "executor": "dask",
               "dask": {"local": 1}}) as gaia:
        gaia.upload("w", {}, [{"name": "t", "image": "none", "command": ["true"],
                               "outputs": {"o": ">"}}],
                    [{"name": "s", "command": "t", "outputs": {"o": "o"}}])
        print(gaia.wait("w")["state"])
"""


def ran(folder: Path, end: str) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(BEGINNING + textwrap.dedent(end))
    return subprocess.run(
        [sys.executable, str(script), str(folder / "root")],
        env={**os.environ, "DASK_TEMPORARY_DIRECTORY": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "end",
    [
        "work()",
        "try:\n    work()\nfinally:\n    pass",
        'if __name__ == "__main__":\n    pass\nelse:\n    pass\nwork()',
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()",
    ],
)
def test_without_a_guard_it_is_refused_and_nothing_stored(tmp_path: Path, end: str) -> None:
    ended = ran(tmp_path, end)
    assert "complete" not in ended.stdout
    assert ended.stderr.count("Traceback") == 1
    assert ended.stderr.count('under `if __name__ == "__main__":`') == 1
    assert f"each worker process imports {tmp_path}/script.py" in ended.stderr
    with Gaia({"root": tmp_path / "root"}) as gaia:
        assert gaia.workflows() == {"workflows": {}}


@pytest.mark.parametrize(
    "end",
    [
        'if __name__ == "__main__":\n    work()',
        'if len(sys.argv) > 1 and "__main__" == __name__:\n    for _ in range(1):\n        work()',
    ],
)
def test_with_a_guard_it_runs(tmp_path: Path, end: str) -> None:
    ended = ran(tmp_path, end)
    assert (ended.returncode, ended.stdout) == (0, "complete\n"), ended.stderr

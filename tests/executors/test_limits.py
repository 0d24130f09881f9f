"""Where files or threads run out: fewer Steps at a time, a sentence, and nothing lost."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gaia_local.executors.limits import FILES_PER_WORKER, SPARE_FILES, affordable_workers
from gaia_local.executors.threads import ThreadExecutor
from gaia_local.model.assignment import Assignment
from gaia_local.model.tasks import TaskState
from support.executors import ExecutorBench, ReportingObserver, task_named

SCRIPT = """
import json, logging, resource, sys
logging.basicConfig()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from gaia_local import Gaia
command = {"name": "t", "image": sys.argv[3], "command": ["sh", "-c", "echo made; sleep 0.1"],
           "outputs": {"o": ">"}}
steps = [{"name": f"s{n}", "command": "t", "outputs": {"o": f"o{n}"}} for n in range(30)]
with Gaia({"root": sys.argv[1], "runtime": sys.argv[2], "workers": 30}) as gaia:
    gaia.upload("w", {}, [command], steps)
    print(gaia.wait("w")["state"], len(gaia.failures("w")))
"""


def ran_with_few_files(folder: Path, runtime: str, image: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder / "root"), runtime, image],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.stdout == "complete 0\n", ended.stderr
    assert ended.stderr.count("instead of 30 Steps run at a time") == 1
    assert "Too many open files" not in ended.stderr


def test_few_files_and_many_processes(tmp_path: Path) -> None:
    ran_with_few_files(tmp_path, "process", "none")


def test_few_files_and_many_containers(tmp_path: Path, docker_image: str) -> None:
    ran_with_few_files(tmp_path, "docker", docker_image)


@pytest.mark.parametrize(
    ("limit", "workers"),
    [
        (0, 1),
        (SPARE_FILES + 3 * FILES_PER_WORKER, 2),
        (100_000, 100),
        (resource.RLIM_INFINITY, 100),
    ],
)
def test_workers_are_as_many_as_there_are_files_for(
    monkeypatch: pytest.MonkeyPatch, limit: int, workers: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    monkeypatch.setattr("os.listdir", lambda path: ["0", "1", "2", "3", "4"])
    assert affordable_workers(100) == workers
    assert affordable_workers(1) == 1


@pytest.mark.parametrize("threads", [0, 2])
def test_threads_that_cannot_be_started_cost_no_task(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, threads: int
) -> None:
    start = threading.Thread.start

    def start_few(thread: threading.Thread) -> None:
        if thread.name > f"gaia-local-worker-{threads}":
            raise RuntimeError("can't start new thread")
        start(thread)

    bench = ExecutorBench(lambda workers, perform: ThreadExecutor(workers, perform, 1.0), 5)
    names = [f"s{number}" for number in range(20)]
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_few)
        for name in names:
            bench.submit(name)
    states = set(bench.ended(*names))
    if threads:
        assert states == {TaskState.COMPLETE}
        assert caplog.text.count("2 instead of 5 Steps run at a time: can't start new thread") == 1
    else:
        assert states == {TaskState.EXCEPTION}
        assert "see `ulimit -u`" in str(bench.outcomes("s0")[0].message)
        bench.executor.submit(Assignment(task_named("again")), ReportingObserver(bench.report))
        assert bench.ended("again") == [TaskState.COMPLETE]
    bench.executor.close()

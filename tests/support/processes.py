"""The runtime `process`, tried: invocations in a directory, their processes, a killed engine."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gaia_local.model.tasks import Task
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, ReportEvent
from gaia_local.runtimes.process.runtime import ProcessRuntime
from gaia_local.runtimes.process.supervisor import RECORD
from gaia_local.store.file_work import UNTOLD
from support.gates import Fifo
from support.timers import Timers
from support.waiting import wait_until


class ProcessBench:
    """Makes invocations in one directory and runs them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.timers = Timers()
        self._count = 0
        self._lock = threading.Lock()

    @functools.cached_property
    def runtime(self) -> ProcessRuntime:
        return ProcessRuntime()

    def close(self) -> None:
        self.timers.close()
        self.runtime.close()

    def invocation(
        self,
        *command: str,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        stdout: str | None = None,
        timeout: float = 60.0,
    ) -> Invocation:
        with self._lock:
            self._count += 1
            top = self.directory / f"run-{self._count}"
        tree, work = top / "tree", top / "work"
        work.mkdir(parents=True)
        for path in (*inputs, *outputs, *([stdout] if stdout else [])):
            if path.startswith("/"):
                Path(f"{tree}{path}").parent.mkdir(parents=True, exist_ok=True)
        task = Task(
            id=f"{os.getpid()}-{self.directory.name}-{top.name}",
            name="step",
            workflow="flow",
            image="image:1",
            command=command,
            inputs=tuple((f"key{n}", path) for n, path in enumerate(inputs)),
            outputs=tuple((f"out{n}", path) for n, path in enumerate(outputs)),
            stdout=stdout,
            timeout=timeout,
        )
        said = f"{tree}{stdout}" if stdout else None
        return Invocation(task, str(tree), str(work), f"{top}/log", said, file_work=UNTOLD)

    def cancellation(self, grace: float = 10.0) -> Cancellation:
        return Cancellation(self.timers.call_later, grace)

    def run(
        self,
        invocation: Invocation,
        cancellation: Cancellation | None = None,
        report: ReportEvent | None = None,
    ) -> Exit:
        return self.runtime.run(invocation, cancellation or self.cancellation(), report or silent)


def silent(event: str, /, **facts: Any) -> None:
    """A report to nobody."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[ProcessBench]:
    made = ProcessBench(tmp_path)
    yield made
    made.close()


def living(invocation: Invocation) -> list[int]:
    """The processes that run in the invocation's name, found otherwise than the runtime does."""
    mark = f"GAIA_LOCAL_TASK={invocation.task.id}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (
                    mark in (entry / "environ").read_bytes().split(b"\0")
                    and b") Z " not in (entry / "stat").read_bytes()
                ):
                    found.append(int(entry.name))
    return found


def python(program: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", textwrap.dedent(program), *arguments)


@pytest.fixture
def fifo(tmp_path: Path) -> Fifo:
    return Fifo(tmp_path / "fifo")


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and b") Z " in stat.read_bytes())


def recorded(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError, ValueError):  # not yet, or not yet whole
        return int(json.loads(path.read_bytes())["pid"])
    return None


@contextlib.contextmanager
def crashed(
    bench: ProcessBench,
    fifo: Fifo,
    *command: str,
    with_record: bool = True,
    end_supervisor: signal.Signals | None = signal.SIGKILL,
) -> Iterator[Invocation]:
    """An invocation whose engine (by default its supervisor, too) was killed while it ran.

    The program says "ready" through `fifo`.
    """
    invocation = bench.invocation(*command)
    program = """
        import sys
        from pathlib import Path
        from gaia_local.model.tasks import Task
        from gaia_local.runtimes.process.runtime import ProcessRuntime
        from gaia_local.runtimes.contract import Cancellation, Invocation
        from gaia_local.store.file_work import UNTOLD
        top, command = Path(sys.argv[1]), tuple(sys.argv[3:])
        task = Task(sys.argv[2], "step", "flow", "image:1", command, (), (), None, 60.0)
        cancellation = Cancellation(lambda seconds, function: lambda: None)
        places = f"{top}/tree", f"{top}/work", f"{top}/log"
        invocation = Invocation(task, *places, None, file_work=UNTOLD)
        ProcessRuntime().run(invocation, cancellation, lambda event, **facts: None)
    """
    top = Path(invocation.work).parent
    engine = subprocess.Popen(
        python(program, str(top), invocation.task.id, *command), cwd=Path(__file__).parents[2]
    )
    try:
        assert fifo.read() == "ready\n"
        if with_record:
            wait_until(lambda: recorded(top / RECORD))
        if end_supervisor is not None:
            engine.send_signal(signal.SIGSTOP)
            os.kill(child_of(engine.pid), end_supervisor)
        engine.kill()
        engine.wait()
        yield invocation
    finally:
        engine.kill()
        engine.wait()
        for pid in living(invocation):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def child_of(pid: int) -> int:
    (child,) = {
        int(child)
        for file in Path(f"/proc/{pid}/task").glob("*/children")
        for child in file.read_text().split()
    }
    return child

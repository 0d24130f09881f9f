"""Dask clusters for tests: a scheduler and workers, all processes of their own, and their data."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaia_local import Gaia
from gaia_local.runtimes.process.marked_processes import DIRECTORY_VARIABLE, TASK_VARIABLE
from support.fixtures import IMAGE

PATIENCE = 30.0
FAST = {
    "DASK_DISTRIBUTED__SCHEDULER__EVENTS_CLEANUP_DELAY": "1s",
    "DASK_DISTRIBUTED__ADMIN__TICK__LIMIT": "60s",  # no warning of a busy machine
}


class Process:
    """A program of Dask's, with all that it says in a file."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        prefix: Sequence[str] = (),
    ) -> None:
        self.log = log
        self._writer = log.open("ab")
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", module, *arguments],
            stdout=self._writer,
            stderr=subprocess.STDOUT,
            env={**os.environ, **FAST, **environment},
        )

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it without a chance to close anything. Idempotent."""
        self._process.kill()
        self._process.wait(PATIENCE)
        self._writer.close()

    def end(self) -> None:
        """End it in order; kill it if it takes too long. Idempotent."""
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self.kill()


class DaskCluster:
    """A scheduler on loopback, and workers that a test starts and ends."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
    ) -> None:
        self.folder, self.environment = folder, dict(environment or {})
        self._options, self._host, self._prefix = [*options], host, prefix
        self.workers: dict[str, Process] = {}
        self._names: list[str] = []
        self.scheduler = self._start_scheduler("0")
        self.address = self._await_address()

    def _start_scheduler(self, port: str) -> Process:
        arguments = ["--host", self._host, "--port", port, "--no-dashboard", *self._options]
        log = self.folder / "scheduler.log"
        log.unlink(missing_ok=True)
        return Process(
            "distributed.cli.dask_scheduler", arguments, log, self.environment, self._prefix
        )

    def _await_address(self) -> str:
        end = time.monotonic() + PATIENCE
        while (found := re.search(r"Scheduler at: +(\S+)", self.scheduler.said())) is None:
            assert time.monotonic() < end, self.scheduler.said()
            time.sleep(0.01)
        return found[1]

    def restart_scheduler(self) -> None:
        """Start a scheduler at the address of the one that was killed."""
        self.scheduler = self._start_scheduler(self.address.rpartition(":")[2])
        assert self._await_address() == self.address

    def start(
        self,
        *names: str,
        threads: int = 1,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """Start workers of these names, and wait until the scheduler knows them."""
        for name in names:
            self._names.append(name)
            arguments = [
                self.address,
                *("--name", name, "--nthreads", str(threads), "--no-nanny", "--no-dashboard"),
                *("--local-directory", str(self.folder), *options),
            ]
            self.workers[name] = Process(
                "distributed.cli.dask_worker",
                arguments,
                self.folder / f"{name}.log",
                {**self.environment, **(environment or {})},
                prefix,
            )
        for name in names:
            end = time.monotonic() + PATIENCE
            while "Registered to" not in self.workers[name].said():
                assert time.monotonic() < end, self.workers[name].said()
                time.sleep(0.01)

    def address_of(self, name: str) -> str:
        """The address of a worker that was started."""
        found = re.search(
            r"Start worker at: +(\S+)", (self.folder / f"{name}.log").read_text(errors="replace")
        )
        assert found is not None
        return found[1]

    def name_at(self, address: str) -> str:
        """The name of the worker at an address, whether it lives or not."""
        return next(name for name in self._names if self.address_of(name) == address)

    def kill(self, name: str) -> None:
        """Kill a worker as a machine that loses power would."""
        self.workers.pop(name).kill()

    def end(self, *names: str) -> None:
        """End workers in order."""
        for name in names:
            self.workers.pop(name).end()

    def close(self) -> None:
        """End all of it."""
        self.end(*self.workers)
        self.scheduler.end()

    def programs(self) -> dict[int, str]:
        """The programs that the workers run: pid → Task id."""
        return programs(self.folder)

    def places(self) -> list[str]:
        """The private directories of the workers."""
        # As they may vanish meanwhile.
        return glob.glob(f"{self.folder}/**/gaia-local-*/worker-*", recursive=True)

    def left(self) -> list[str]:
        """The private directories of Steps that are left on the workers' disks."""
        return glob.glob(f"{self.folder}/**/gaia-local-*/worker-*/staging/*", recursive=True)


@contextmanager
def running(folder: Path, *names: str, **options: Any) -> Iterator[DaskCluster]:
    """A cluster with these workers, ended in order."""
    cluster = DaskCluster(folder, **options)
    try:
        if names:
            cluster.start(*names)
        yield cluster
    finally:
        cluster.close()


def programs(folder: Path) -> dict[int, str]:
    """Task processes of workers with private directories in `folder`: pid → Task id."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            variables = (place / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        environment = dict(variable.split("=", 1) for variable in variables if "=" in variable)
        if f":{folder}/" in environment.get(DIRECTORY_VARIABLE, ""):
            found[int(place.name)] = environment[TASK_VARIABLE]
    return found


def final_files(gaia: Gaia, name: str) -> dict[str, str]:
    """The store of a workflow: path → text, logs without the lines that differ between runs."""
    top = gaia.path(name, "x").parent
    return {
        str(path.relative_to(top)): re.sub(
            r"^# (id|elapsed): .*\n", "", path.read_text(), flags=re.MULTILINE
        )
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def host_of(gaia: Gaia, name: str, step: str) -> str | None:
    """The address of the worker that took the Step up last; None as long as none did."""
    hosts = [
        event["host"]
        for event in gaia.events(name)
        if event["event"] == "step-start" and event["task"] == step
    ]
    return str(hosts[-1]) if hosts else None


def compared(
    tmp_path: Path, commands: list[Any], steps: list[Any], put: dict[str, str]
) -> dict[str, str]:
    """The final files of a local run."""
    with Gaia({"root": tmp_path / "local", "runtime": "process"}) as gaia:
        return ran(gaia, commands, steps, put)


def ran(gaia: Gaia, commands: list[Any], steps: list[Any], put: dict[str, str]) -> dict[str, str]:
    """Run a workflow to its good end; its final files."""
    for key, text in put.items():
        path = gaia.path("w", key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    gaia.upload("w", {}, commands, steps)
    assert gaia.wait("w", 100)["state"] == "complete", gaia.failures("w")
    return final_files(gaia, "w")


def study(count: int) -> tuple[list[Any], list[Any]]:
    """Chains of three, with a directory made and read in them, and joins of ten: `count` Steps."""
    make = {
        "name": "make",
        "image": IMAGE,
        "command": [
            "sh",
            "-c",
            "cat /in/seed > /out/made/a; echo {{n}} >> /out/made/a; echo made {{n}}",
        ],
        "inputs": {"seed": "/in/seed"},
        "outputs": {"made": "/out/made/", "log": ">>", "said": ">"},
        "vars": {"n": 0},
    }
    again = {
        "name": "again",
        "image": IMAGE,
        "command": ["sh", "-c", "cp -r /in/made/. /out/made; echo again >> /out/made/b"],
        "inputs": {"made": "/in/made"},
        "outputs": {"made": "/out/made/"},
    }
    join = {
        "name": "join",
        "image": IMAGE,
        "command": ["sh", "-c", "cat {{paths}} > /out/joined"],
        "inputs": {f"i{number}": f"/in/{number}" for number in range(10)},
        "outputs": {"joined": "/out/joined"},
        "vars": {"paths": " ".join(f"/in/{number}/b" for number in range(10))},
    }
    steps: list[dict[str, Any]] = []
    for tens in range((count + 30) // 31):
        for number in range(10 * tens, 10 * tens + 10):
            outputs = {"made": f"d:{number}/", "log": f"l:{number}", "said": f"said-{number}"}
            steps.append(
                {
                    "name": f"make-{number}",
                    "command": "make",
                    "inputs": {"seed": "d:seed"},
                    "outputs": outputs,
                }
                | {"vars": {"n": number}}
            )
            for turn, above in (("again", f"d:{number}/"), ("more", f"d:again-{number}/")):
                keys = {"inputs": {"made": above}, "outputs": {"made": f"d:{turn}-{number}/"}}
                steps.append({"name": f"{turn}-{number}", "command": "again", **keys})
        inputs = {f"i{number}": f"d:more-{10 * tens + number}/" for number in range(10)}
        steps.append(
            {
                "name": f"join-{tens}",
                "command": "join",
                "inputs": inputs,
                "outputs": {"joined": f"joined-{tens}"},
            }
        )
    return [make, again, join], steps[:count] if count < len(steps) else steps

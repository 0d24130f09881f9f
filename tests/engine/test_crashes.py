"""The engine's process dies at any moment; the next goes on: nothing is lost, or runs twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.runtimes.docker.labels import ROOT_LABEL
from gaia_local.state.database import Database
from support.fixtures import WaitUntil
from support.layered import ENGINE, expected, forty_steps

KILLS = int(os.environ.get("GAIA_LOCAL_KILLS", "30"))


class Victim:
    """An engine in a process of its own, to be killed."""

    def __init__(self, directory: Path, config: dict[str, Any], image: str, seconds: float) -> None:
        self.config = {"root": str(directory / "root"), "workers": 4, "watch": False, **config}
        self._definitions = directory / "definitions.json"
        self._definitions.write_text(json.dumps(forty_steps(image, seconds)))
        with Gaia(self.config) as gaia:
            source = gaia.path("w", "d:source")
        source.parent.mkdir(parents=True)
        source.write_text("source\n")
        (source.parent / "other").write_text("other\n")

    def start(self) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", ENGINE, json.dumps(self.config), str(self._definitions)]
        return subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def kill(self, programs: int, seconds: float, wait_until: WaitUntil) -> bool:
        """Start, kill some seconds after so many more programs began; False when it had ended.

        Counted and not timed, so that a kill hits work under way however fast the machine and the
        engine are.
        """
        enough = self._programs() + programs
        with self.start() as process:
            wait_until(lambda: self._programs() >= enough or process.poll() is not None, 60)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                return True
            assert process.stderr is not None
            assert process.returncode == 0, process.stderr.read()
            return False

    def _programs(self) -> int:
        """The number of programs that all engines began, read from the rows without an engine."""
        path = Path(self.config["root"]) / "gaia.db"
        if not path.exists():
            return 0
        with contextlib.closing(Database(path, readonly=True)) as database:
            return [event["event"] for event in database.events("w")].count("execution-start")

    def finish(self) -> dict[str, str]:
        """Let it come to its end; the final files."""
        with self.start() as process:
            _, errors = process.communicate(timeout=100)
            assert process.returncode == 0, errors
        top = Path(self.config["root"]) / "storage/w/d"
        return {path.name: path.read_text() for path in sorted(top.iterdir())}

    def check_database(self) -> None:
        path = Path(self.config["root"]) / "gaia.db"
        if path.exists():
            with contextlib.closing(sqlite3.connect(path)) as database:
                assert database.execute("pragma integrity_check").fetchall() == [("ok",)]

    def completions(self) -> Counter[str]:
        with Gaia(self.config) as gaia:
            if "w" not in gaia.workflows()["workflows"]:
                return Counter()
            return Counter(
                event["task"] for event in gaia.events("w") if event["event"] == "step-complete"
            )


def begun(gaia: Gaia) -> int:
    """The number of programs started, as another process sees it."""
    if "w" not in gaia.workflows()["workflows"]:
        return 0
    return sum(event["event"] == "execution-start" for event in gaia.events("w"))


@pytest.mark.timeout(300)
def test_kill_at_random_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    """After each kill the state is whole; files are right at last, no complete Step ran twice."""
    monkeypatch.setenv("LC_ALL", "C")
    dice = random.Random(2026)
    kills = rounds = 0
    while kills < KILLS:
        rounds += 1
        directory = tmp_path / f"round-{rounds}"
        directory.mkdir()
        victim = Victim(directory, {"runtime": "process"}, "busybox", 0.05)
        while kills < KILLS and victim.kill(dice.randint(0, 12), dice.uniform(0, 0.1), wait_until):
            kills += 1
            victim.check_database()
            assert max(victim.completions().values(), default=1) == 1
        assert victim.finish() == expected("busybox")
        assert victim.completions() == Counter(
            step["name"] for step in forty_steps("busybox", 0)[1]
        )
        assert list((directory / "root/staging").iterdir()) == []
    assert rounds < KILLS  # most kills hit a workflow that was under way


def test_an_interrupted_workflow_says_so_and_opening_starts_nothing(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    victim = Victim(tmp_path, {"runtime": "process"}, "busybox", 30)
    with victim.start() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        with Gaia(victim.config) as gaia:
            wait_until(lambda: begun(gaia) == 4)
        process.kill()
    with Gaia(victim.config) as gaia:
        # A child that was being born may hold the lock yet.
        wait_until(lambda: gaia.status("w")["state"] == "halted")
        last = gaia.events("w")[-1]
        assert (last["event"], last["reason"]) == ("flow-halted", "interrupted")
        tasks = gaia.status("w", debug=True)["status"]["tasks"]
        assert {task["state"] for task in tasks.values()} == {"interrupted"}
        # And the processes are gone: the guard looks.
        assert list((tmp_path / "root/staging").iterdir()) == []


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_the_command_line_closes_in_order(
    tmp_path: Path, first: signal.Signals, wait_until: WaitUntil
) -> None:
    victim = Victim(tmp_path, {"runtime": "process"}, "busybox", 30)
    commands, steps = forty_steps("busybox", 30)
    (tmp_path / "commands.json").write_text(json.dumps(commands))
    (tmp_path / "steps.json").write_text(json.dumps(steps))
    arguments = [
        "--root",
        victim.config["root"],
        "--runtime",
        "process",
        "upload",
        "w",
        "--path",
        f"{tmp_path}/",
    ]
    program = [sys.executable, "-m", "gaia_local", *arguments]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        with Gaia(victim.config) as gaia:
            wait_until(lambda: begun(gaia) > 0)
        process.send_signal(first)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + first, errors
    assert re.search(r"gaia-local .*run w` goes on from here", errors)
    with Gaia(victim.config) as gaia:
        assert gaia.status("w")["state"] == "halted"


@pytest.mark.parametrize("delay", [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.5])
def test_a_second_ctrl_c_kills_at_once(tmp_path: Path, wait_until: WaitUntil, delay: float) -> None:
    """Whenever it comes; the guard sees whether the program, which ignores SIGTERM, is gone."""
    command = {
        "name": "deaf",
        "image": "busybox",
        "command": ["sh", "-c", "trap '' TERM INT; echo up; while true; do sleep 0.05; done"],
        "outputs": {"x": "/out/x"},
    }
    (tmp_path / "commands.json").write_text(json.dumps([command]))
    (tmp_path / "steps.json").write_text(
        json.dumps([{"name": "s", "command": "deaf", "outputs": {"x": "k"}}])
    )
    config = {"root": str(tmp_path / "root"), "runtime": "process"}
    arguments = [
        "--root",
        config["root"],
        "--runtime",
        "process",
        "upload",
        "w",
        "--path",
        f"{tmp_path}/",
    ]
    program = [sys.executable, "-m", "gaia_local", *arguments]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        with Gaia(config) as gaia:
            wait_until(lambda: begun(gaia) == 1 and gaia.logs("w", "s") == "up\n")
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert list((tmp_path / "root/staging").iterdir()) == []


def test_a_delete_that_is_killed_leaves_nothing_that_counts(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    command = {
        "name": "many",
        "image": "busybox",
        "command": ["sh", "-c", "cd /out/x; seq 8000 | xargs touch"],
        "outputs": {"x": "/out/x/"},
    }
    step = {"name": "s", "command": "many", "outputs": {"x": "d:x/"}}
    config = {"root": str(tmp_path / "root"), "runtime": "process", "watch": False}
    store = tmp_path / "root/storage"

    def files() -> int:
        return sum(name.isdigit() for _, _, names in os.walk(store) for name in names)

    with Gaia(config) as gaia:
        gaia.upload("w", {}, [command], [step])
        gaia.wait("w", 30)
        assert files() == 8000
    code = (
        "import json, sys; from gaia_local import Gaia; "
        "Gaia(json.loads(sys.argv[1])).delete('w', data=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code, json.dumps(config)]) as process:
        wait_until(lambda: files() < 8000 or process.poll() is not None)
        process.kill()
    assert 0 < files() < 8000
    with Gaia(config) as gaia:
        if "w" in gaia.workflows()["workflows"]:
            assert gaia.status("w")["state"] == "halted"
            gaia.delete("w")
        gaia.upload("w", {}, [command], [step])
        assert gaia.wait("w", 30)["state"] == "complete"
        assert [event["event"] for event in gaia.events("w")].count("step-start") == 1
        assert (files(), os.listdir(store)) == (8000, ["w"])


# -- in containers ---------------------------------------------------------------------------------


@pytest.mark.timeout(200)
def test_kill_with_containers(tmp_path: Path, docker_image: str, wait_until: WaitUntil) -> None:
    """Must show 1: five kills; containers that run are taken up, and none is left."""
    dice = random.Random(5)
    kills = rounds = 0
    while kills < 5:
        rounds += 1
        directory = tmp_path / f"round-{rounds}"
        directory.mkdir()
        victim = Victim(directory, {"runtime": "docker"}, docker_image, 0.3)
        while kills < 5 and victim.kill(dice.randint(0, 12), dice.uniform(0, 0.5), wait_until):
            kills += 1
            victim.check_database()
            assert max(victim.completions().values(), default=1) == 1
        assert victim.finish() == expected(docker_image)
        assert set(victim.completions().values()) == {1}
        assert list((directory / "root/staging").iterdir()) == []
    assert rounds < 5


def test_a_container_outlives_its_engine(tmp_path: Path, docker_image: str) -> None:
    """A Step of 20 s whose engine is killed after 5 s ends at about 20 s, started once."""
    seconds = int(os.environ.get("GAIA_LOCAL_LONG_STEP", "20"))
    config = {"root": str(tmp_path / "root"), "runtime": "docker", "watch": False}
    command = {
        "name": "long",
        "image": docker_image,
        "command": [
            "sh",
            "-c",
            f"echo begun; date > /out/x; sleep {seconds}; echo over; date >> /out/x",
        ],
        "outputs": {"x": "/out/x", "log": ">>"},
    }
    definitions = tmp_path / "definitions.json"
    definitions.write_text(
        json.dumps(
            [[command], [{"name": "s", "command": "long", "outputs": {"x": "d:x", "log": "d:log"}}]]
        )
    )
    began = time.monotonic()
    arguments = [sys.executable, "-c", ENGINE, json.dumps(config), str(definitions)]
    with subprocess.Popen(arguments) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(seconds / 4)
        process.kill()
    with Gaia(config) as gaia:
        assert gaia.status("w")["state"] == "halted"
        gaia.run("w")
        assert gaia.wait("w", 3 * seconds)["state"] == "complete", gaia.failures("w")
        elapsed = time.monotonic() - began
        assert seconds <= elapsed < seconds + 6
        events = Counter(event["event"] for event in gaia.events("w"))
        assert (events["step-start"], events["execution-start"], events["step-adopted"]) == (
            1,
            1,
            1,
        )
        assert gaia.logs("w", "s") == "begun\nover\n"
        assert len(gaia.path("w", "d:x").read_text().splitlines()) == 2


def test_a_container_that_ended_meanwhile_is_harvested(
    tmp_path: Path, docker_image: str, wait_until: WaitUntil
) -> None:
    import docker

    config = {"root": str(tmp_path / "root"), "runtime": "docker", "watch": False}
    command = {
        "name": "short",
        "image": docker_image,
        "command": [
            "sh",
            "-c",
            "sleep 2; echo out; echo err >&2; echo made > /out/x; exit {{code}}",
        ],
        "outputs": {"x": "/out/x", "log": ">>"},
    }
    steps = [
        {
            "name": f"s{code}",
            "command": "short",
            "outputs": {"x": f"d:{code}", "log": f"l:{code}"},
            "vars": {"code": code},
        }
        for code in (0, 3)
    ]
    definitions = tmp_path / "definitions.json"
    definitions.write_text(json.dumps([[command], steps]))
    client = docker.from_env()
    of_root: dict[str, Any] = {"label": f"{ROOT_LABEL}={tmp_path / 'root'}"}

    def are(*states: str) -> bool:
        found = [
            container.status
            for container in client.containers.list(all=True, filters=of_root, ignore_removed=True)
        ]
        return len(found) == 2 and set(found) <= set(states)

    try:
        with subprocess.Popen(
            [sys.executable, "-c", ENGINE, json.dumps(config), str(definitions)]
        ) as process:
            wait_until(lambda: are("running"), 30)
            process.kill()
        wait_until(lambda: are("exited"), 30)
    finally:
        client.close()
    with Gaia(config) as gaia:
        gaia.run("w")
        assert gaia.wait("w", 30)["state"] == "error"
        assert [failure["exit_code"] for failure in gaia.failures("w")] == [3]
        assert gaia.path("w", "d:0").read_text() == "made\n"
        assert sorted(gaia.logs("w", "s0").split()) == ["err", "out"]
        assert Counter(event["event"] for event in gaia.events("w"))["execution-start"] == 2


@pytest.mark.parametrize("call", ["halt", "expire", "merge", "delete"])
def test_changes_end_the_containers_of_a_dead_engine_first(
    tmp_path: Path, docker_image: str, call: str, wait_until: WaitUntil
) -> None:
    import docker

    config = {"root": str(tmp_path / "root"), "runtime": "docker", "watch": False}
    command = {
        "name": "long",
        "image": docker_image,
        "command": ["sh", "-c", "sleep {{seconds}}; echo {{seconds}} > /out/x"],
        "outputs": {"x": "/out/x"},
    }
    step: dict[str, Any] = {
        "name": "s",
        "command": "long",
        "outputs": {"x": "d:x"},
        "vars": {"seconds": 60},
    }
    definitions = tmp_path / "definitions.json"
    definitions.write_text(json.dumps([[command], [step]]))
    with subprocess.Popen(
        [sys.executable, "-c", ENGINE, json.dumps(config), str(definitions)]
    ) as process:
        with Gaia(config) as gaia:
            wait_until(lambda: begun(gaia) == 1)
        process.kill()
    client = docker.from_env()
    try:
        of_root: dict[str, Any] = {"label": f"{ROOT_LABEL}={tmp_path / 'root'}"}
        (left,) = client.containers.list(all=True, filters=of_root)
        gaia = Gaia(config)
        if call == "halt":
            gaia.halt("w")
        elif call == "expire":
            gaia.expire("w", ["s"])
        elif call == "merge":
            gaia.merge("w", [{**step, "vars": {"seconds": 0}}])
        else:
            gaia.delete("w", data=True)
        assert left.id not in [container.id for container in client.containers.list(all=True)]
        if call == "merge":
            assert gaia.wait("w", 30)["state"] == "complete"
            assert gaia.path("w", "d:x").read_text() == "0\n"
        gaia.close(wait=False)
    finally:
        client.close()


def test_leftovers_are_listed_and_cleaned(
    tmp_path: Path, docker_image: str, wait_until: WaitUntil
) -> None:
    victim = Victim(tmp_path, {"runtime": "docker"}, docker_image, 60)
    with victim.start() as process:
        with Gaia(victim.config) as gaia:
            wait_until(lambda: begun(gaia) == 4, 20)
        arguments = [
            sys.executable,
            "-m",
            "gaia_local",
            "--root",
            victim.config["root"],
            "--runtime",
            "docker",
        ]
        refused = subprocess.run([*arguments, "clean"], capture_output=True, text=True, check=False)
        assert (refused.returncode, f"process {process.pid}" in refused.stderr) == (2, True)
        process.kill()

    def told(*command: str) -> Any:
        return json.loads(
            subprocess.run(
                [*arguments, *command, "--json"], capture_output=True, text=True, check=True
            ).stdout
        )

    def listed() -> list[str]:
        (check,) = [check for check in told("doctor")["checks"] if check["name"] == "leftovers"]
        ours = [
            leftover
            for leftover in check["facts"]["found"]
            if leftover["root"] == victim.config["root"]
        ]
        return sorted(leftover["kind"] for leftover in ours)

    assert listed() == ["container"] * 4 + ["staging"] * 4
    assert (
        sorted(removed["kind"] for removed in told("clean")["removed"])
        == ["container"] * 4 + ["staging"] * 4
    )
    assert listed() == []
    assert told("clean")["removed"] == []
    with Gaia(victim.config) as gaia:
        gaia.run("w")  # Steps whose runs were removed start again
        assert gaia.progress("w")["steps"] == 40
        gaia.halt("w")

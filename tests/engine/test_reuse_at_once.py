"""Reuse among Steps that become ready at the same time, and across deaths of the engine."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from support.builders import step
from support.counting import Counter, completed, put, reused_steps
from support.fixtures import MakeGaia
from support.gates import FileGate
from support.waiting import wait_until

FINGERPRINTS = 20
KILLS = 10


@pytest.fixture
def count(tmp_path: Path) -> Counter:
    return Counter(tmp_path / "count")


def many(count: Counter, steps: int, script: str = ":") -> tuple[list[Any], list[Any]]:
    """So many Steps of 20 fingerprints; each run adds its number to the counter."""
    made = count.command(
        "c", f"echo {{{{n}}}} >> '{count.path}'; {script}; echo {{{{n}}}} > /out/x"
    )
    made["vars"] = {"n": 0}
    return [made], [
        step(f"s{number}", "c", f"o:{number}", vars={"n": number % FINGERPRINTS})
        for number in range(steps)
    ]


def ran_once(count: Counter) -> bool:
    """Whether each fingerprint ran once."""
    return count.runs == {"c": FINGERPRINTS} | {str(n): 1 for n in range(FINGERPRINTS)}


def check_files(gaia: Gaia, workflow: str, steps: int) -> None:
    for number in range(steps):
        text = gaia.path(workflow, f"o:{number}").read_text()
        assert text == f"{number % FINGERPRINTS}\n", (workflow, number)


@pytest.mark.parametrize("workflows", [1, 2])
def test_two_hundred_steps_of_twenty_fingerprints(
    make_gaia: MakeGaia, count: Counter, workflows: int
) -> None:
    gaia = make_gaia(reuse=True, workers=8)
    each = 200 // workflows
    commands, steps = many(count, each, "sleep 0.02")
    names = [f"w{number}" for number in range(workflows)]
    for name in names:
        gaia.upload(name, {}, commands, steps)
    for name in names:
        completed(gaia, name)
        check_files(gaia, name, each)
    assert ran_once(count)
    assert sum(len(reused_steps(gaia, name)) for name in names) == 200 - FINGERPRINTS


def test_if_the_leader_is_halted_another_workflows_step_runs(
    make_gaia: MakeGaia, count: Counter, tmp_path: Path
) -> None:
    gate = FileGate(tmp_path / "gate")
    gaia = make_gaia(reuse=True, workers=8)
    commands, steps = many(count, FINGERPRINTS, gate.hold(gate.folder))
    gaia.upload("w1", {}, commands, steps)
    wait_until(lambda: count.runs.get("c", 0) == 8)  # all workers have one
    gaia.upload("w2", {}, commands, steps)
    gaia.halt("w1")
    gate.open()
    completed(gaia, "w2")
    check_files(gaia, "w2", FINGERPRINTS)
    assert len(reused_steps(gaia, "w2")) == 0
    gaia.run("w1")
    completed(gaia, "w1")
    assert len(reused_steps(gaia, "w1")) == FINGERPRINTS


def test_a_step_that_waits_for_a_failure_runs_itself(
    make_gaia: MakeGaia, count: Counter, tmp_path: Path
) -> None:
    """The program of the first fails, and that of the second doesn't."""
    gate, failed = FileGate(tmp_path / "gate"), tmp_path / "failed"
    gaia = make_gaia(reuse=True)
    script = (
        f"{gate.hold(gate.folder)}; test -e '{failed}' || {{ touch '{failed}'; exit 1; }}; "
        "echo 1 > /out/x"
    )
    commands = [count.command("c", script)]
    for name in ("w1", "w2"):
        gaia.upload(name, {}, commands, [step("s", "c", "o:x")])
    wait_until(lambda: count.runs.get("c", 0) == 1)
    gate.open()
    states = sorted(str(gaia.wait(name)["state"]) for name in ("w1", "w2"))
    assert states == ["complete", "error"]
    assert count.runs == {"c": 2}


ENGINE = textwrap.dedent(
    """
    import json, sys
    from gaia_local import Gaia

    gaia = Gaia(json.loads(sys.argv[1]))
    commands, steps = json.loads(sys.argv[2])
    for name in ("w1", "w2"):
        if name in gaia.workflows()["workflows"]:
            gaia.run(name)
        else:
            gaia.upload(name, {}, commands, steps)
    for name in ("w1", "w2"):
        gaia.wait(name)
    gaia.close()
    """
)


@pytest.mark.timeout(300)
def test_killed_at_random_moments(gaia_root: Path, count: Counter, tmp_path: Path) -> None:
    """Copies that were under way leave nothing, and no half of one is taken for a result."""
    config = {"root": str(gaia_root), "runtime": "process", "workers": 4, "reuse": True}
    config["watch"] = False
    script = "sleep 0.05; seq 20000 > /out/d/large; mkdir /out/d/empty; echo said"
    commands, steps = many(count, 60, script)
    commands[0]["outputs"] |= {"d": "/out/d/", "said": ">"}
    for number, one in enumerate(steps):
        one["outputs"] |= {"d": f"o:d{number}/", "said": f"o:said{number}"}
    dice, kills, rounds = random.Random(20), 0, 0
    arguments = [sys.executable, "-c", ENGINE, json.dumps(config), json.dumps([commands, steps])]
    database = gaia_root / "gaia.db"

    def ended() -> int:
        """The number of Steps that are complete, as the rows say."""
        if not database.exists():
            return 0
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
            try:
                query = "select count(*) from tasks where state = 'complete'"
                return int(opened.execute(query).fetchone()[0])
            except sqlite3.OperationalError:  # its tables aren't made yet
                return 0

    while kills < KILLS:
        rounds += 1
        enough = ended() + dice.randint(0, 5)
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
            wait_until(lambda: ended() >= enough or process.poll() is not None, 60)  # noqa: B023
            try:
                process.wait(dice.uniform(0, 0.05))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
            else:
                assert process.stderr is not None
                assert process.returncode == 0, process.stderr.read()
                break
    assert kills > KILLS / 2, "it ended too early"
    with Gaia(config) as gaia:
        for name in ("w1", "w2"):
            if name not in gaia.workflows()["workflows"]:
                gaia.upload(name, {}, commands, steps)
            gaia.run(name)
        large = "".join(f"{number}\n" for number in range(1, 20001))
        for name in ("w1", "w2"):
            completed(gaia, name)
            check_files(gaia, name, 60)
            for number in range(60):
                made = gaia.path(name, f"o:d{number}/")
                assert sorted(path.name for path in made.iterdir()) == ["empty", "large"]
                assert (made / "large").read_text() == large
                assert gaia.path(name, f"o:said{number}").read_text() == "said\n"
        reused = sum(len(reused_steps(gaia, name)) for name in ("w1", "w2"))
        assert reused >= 120 - count.runs["c"]
    assert list((gaia_root / "staging").iterdir()) == []
    # Four programs at most were under way at each kill, or had just ended.
    assert count.runs["c"] <= FINGERPRINTS + 8 * KILLS


def test_reopened_with_waiting_steps(make_gaia: MakeGaia, count: Counter, tmp_path: Path) -> None:
    gate = FileGate(tmp_path / "gate")
    gaia = make_gaia(reuse=True)
    commands, steps = many(count, 60, gate.hold(gate.folder))
    gaia.upload("w", {}, commands, steps)
    wait_until(lambda: count.runs.get("c", 0) == 2)
    gaia.close(wait=False)
    gate.open()
    again = make_gaia(reuse=True)
    put(again, "w", {})
    again.run("w")
    completed(again, "w")
    check_files(again, "w", 60)
    assert count.runs["c"] == FINGERPRINTS + 2

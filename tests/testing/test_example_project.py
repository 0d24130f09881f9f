"""The example project: a program that knows nothing of this package, and its own pytest run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "resources" / "example-project"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project, without access to a Docker engine or a server."""
    made = tmp_path / "project"
    shutil.copytree(
        PROJECT, made, ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache", "gaia-data")
    )
    return made


def run(copy: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project, with nothing of ours in its environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GAIA_LOCAL_", "PYTEST", "DOCKER"))
    }
    offline = {
        "DOCKER_HOST": f"unix://{copy}/no-engine.sock",
        "PATH": "/usr/bin:/bin",
        "HOME": str(copy),
    }
    line = [sys.executable, *words]
    return subprocess.run(
        line,
        cwd=copy,
        env={**kept, **offline, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def number_of_tests(copy: Path) -> int:
    """The number of the project's tests."""
    return sum(
        len(re.findall(r"^def test_", path.read_text(), re.MULTILINE))
        for path in copy.glob("tests/test_*.py")
    )


def test_the_example_project_passes_its_tests_without_docker(copy: Path) -> None:
    ran = run(copy, "-m", "pytest")
    assert f"{number_of_tests(copy)} passed" in ran.stdout.splitlines()[-1], ran.stdout + ran.stderr
    assert ran.returncode == 0
    assert number_of_tests(copy) == 6


def test_the_example_project_passes_its_tests_without_the_published_client(copy: Path) -> None:
    hidden = copy / "hidden"
    hidden.mkdir()
    (hidden / "gaia.py").write_text("raise ModuleNotFoundError(\"No module named 'gaia'\")\n")
    without = run(copy, "-m", "pytest", PYTHONPATH=str(hidden))
    assert without.returncode == 2
    assert "No module named 'gaia'" in without.stdout
    ran = run(copy, "-m", "pytest", "-o", "gaia_alias=true", PYTHONPATH=str(hidden))
    assert f"{number_of_tests(copy)} passed" in ran.stdout.splitlines()[-1], ran.stdout + ran.stderr


def test_a_test_that_leaves_a_step_running_fails(copy: Path) -> None:
    (copy / "tests" / "test_hasty.py").write_text(
        "from river_levels import workflow\n"
        "from river_levels.submit import submit\n\n\n"
        "def test_it_is_submitted(gaia_client, monkeypatch):\n"
        "    slow = workflow.commands(['north'])\n"
        "    slow[0]['command'] = ['sleep', '300']\n"
        "    monkeypatch.setattr(workflow, 'commands', lambda stations: slow)\n"
        "    gaia_client.put(workflow.levels('north'), '2020-11-01,3.2', workflow='me_hasty')\n"
        "    assert submit('me_hasty', ['north']) == ['peak', 'rank']\n"
    )
    ran = run(copy, "-m", "pytest", "tests/test_hasty.py")
    assert ran.returncode == 1
    assert (
        "the test ended while Steps were running; wait for them (gaia.run, gaia.wait)" in ran.stdout
    )
    assert "Step 'peak-north' of workflow 'me_hasty'" in ran.stdout
    assert ran.stdout.splitlines()[-1].strip("= ").startswith("1 failed"), "and no error beside it"


def test_the_example_program_runs_by_exec(copy: Path) -> None:
    levels = copy / "gaia-data/storage/me_levels/rivers/levels"
    levels.mkdir(parents=True)
    (levels / "north.csv").write_text("2020-11-01,3.2\n2020-11-02,10.4\n")
    ran = run(
        copy,
        "-m",
        "gaia_local",
        "--runtime",
        "process",
        "exec",
        "-m",
        "river_levels.submit",
        "me_levels",
        "north",
    )
    assert (ran.stdout, ran.returncode) == ("me_levels: complete\n", 0), ran.stderr
    assert (copy / "gaia-data/storage/me_levels/rivers/ranking.csv").read_text() == "north,10.4\n"


def test_the_example_project_uses_no_internals() -> None:
    program = [path.read_text() for path in PROJECT.glob("river_levels/*.py")]
    assert all("gaia_local" not in text for text in program)
    assert any("gaia.Gaia()" in text for text in program)
    assert any("from gaia.client import Gaia" in text for text in program)
    assert all("gaia_local" not in path.read_text() for path in PROJECT.glob("tests/*.py")), (
        "fixtures are all it needs"
    )


def test_the_example_readme_names_existing_files() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert "exec -m river_levels.submit" in readme
    assert (PROJECT / "river_levels" / "submit.py").is_file()
    assert "pip install ../.. -e '.[test]'" in readme
    assert (PROJECT / "../../gaia_local").is_dir()


def test_the_example_project_asks_no_registry_for_gaia_local() -> None:
    """It isn't in one, so anybody could put something there under that name."""
    asked = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*asked["dependencies"], *asked["optional-dependencies"]["test"]]
    assert not [one for one in wanted if one.startswith("gaia-local")]

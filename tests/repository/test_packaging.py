"""What a stranger does first: make, pip, and the built wheel in an empty place."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
TARGETS = {
    "soak",
    "answers",
    "help",
    "venv",
    "demo",
    "test",
    "lowest",
    "lint",
    "page",
    "check",
    "bench",
    "licences",
    "house",
    "states",
    "format",
    "clean",
}


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GAIA_LOCAL_", "PYTHON", "VIRTUAL_ENV", "MAKE"))
    }
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        folder,
        REPO,
        cwd=folder,
    )
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("gaia_local-*.whl")
    return found


@pytest.mark.registry
@pytest.mark.timeout(300)
def test_the_wheel_carries_the_demo_the_documents_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"gaia_local"}
    for place, kept in (
        ("gaia_local/demo/files/", REPO / "resources" / "demo"),
        ("gaia_local/docs/", REPO / "resources" / "docs"),
    ):
        assert {name.removeprefix(place) for name in names if name.startswith(place)} == {
            path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()
        }
    page = REPO / "gaia_local" / "server" / "page"
    assert {
        f"gaia_local/server/page/{path.relative_to(page).as_posix()}"
        for path in page.rglob("*")
        if path.is_file()
    } <= names
    assert "gaia_local/py.typed" in names
    assert any(name.endswith("/LICENSE") for name in names)


@pytest.mark.registry
@pytest.mark.timeout(600)
def test_the_wheel_runs_the_demo_and_prints_pages_in_an_empty_environment_and_folder(
    wheel: Path, tmp_path: Path
) -> None:
    venv, folder = tmp_path / "venv", tmp_path / "empty folder"
    folder.mkdir()
    assert run(sys.executable, "-m", "venv", venv, cwd=tmp_path).returncode == 0
    installed = run(venv / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr

    demo = run(venv / "bin" / "gaia-local", "demo", cwd=folder, GAIA_LOCAL_RUNTIME="process")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "15 of 15 Steps done" in demo.stdout
    assert "Words that all of them use:" in demo.stdout
    assert [path.name for path in folder.iterdir()] == ["gaia-data"]

    hint = "from gaia_local.installation import install_command; print(install_command('server'))"
    told = run(venv / "bin" / "python", "-c", hint, cwd=folder)
    assert set(shlex.split(told.stdout)[4:]) == set(PROJECT["optional-dependencies"]["server"])

    listed = run(venv / "bin" / "python", "-m", "gaia_local", "workflows", cwd=folder)
    assert "complete" in listed.stdout, listed.stderr

    printed = run(venv / "bin" / "gaia-local", "docs", "workflows", cwd=folder)
    assert printed.stdout == (REPO / "resources/docs/workflows.md").read_text(encoding="utf-8")


# ----------------------------------------------------------------------------------------- Makefile


@pytest.fixture
def make(tmp_path: Path) -> Path:
    """A folder with nothing but the Makefile and what it depends on."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    (tmp_path / "tests" / "page").mkdir(parents=True)
    page = [f"tests/page/{name}" for name in ("package.json", "package-lock.json")]
    for name in ("Makefile", "pyproject.toml", *page):
        shutil.copy(REPO / name, tmp_path / name)
    return tmp_path


def test_make_help_says_what_there_is(make: Path) -> None:
    told = run("make", "help", cwd=make)
    assert set(re.findall(r"^  make (\S+) +\S", told.stdout, flags=re.MULTILINE)) == TARGETS
    assert run("make", cwd=make).stdout == told.stdout


def python_that(folder: Path, *, fails_for: str) -> Path:
    """A Python that fails whenever its arguments mention `fails_for`."""
    path = folder / "crippled-python"
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *{fails_for}*) exit 1;; esac\nexec "{sys.executable}" "$@"\n'
    )
    path.chmod(0o755)
    return path


def test_make_says_what_to_install_where_python_cannot_make_environments(make: Path) -> None:
    refused = run("make", "demo", f"PYTHON={python_that(make, fails_for='ensurepip')}", cwd=make)
    assert refused.returncode == 2
    assert "apt-get install python3-venv" in refused.stderr
    assert not (make / ".venv").exists()


def test_make_says_what_to_install_where_python_is_too_old(make: Path) -> None:
    refused = run("make", "demo", f"PYTHON={python_that(make, fails_for='version_info')}", cwd=make)
    assert refused.returncode == 2
    assert "Python 3.11 or newer" in refused.stderr


FAKE_PYTHON = """#!/bin/sh
case "$*" in
  --version) echo "Python ${FAKE_VERSION:-3.11.7}";;
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo "venv $0" >> made;;
  "-m pip install "*)
    for last; do :; done; echo "$last" >> made
    printf '#!/bin/sh\\n' > .venv/bin/gaia-local; chmod +x .venv/bin/gaia-local
    [ "$last" != "$FAKE_FAILURE" ];;
esac
"""
"""A Python that writes down which environments and installations are asked for, in `made`."""


FAKE_NPM = """#!/bin/sh
case "$1" in
  ci) mkdir -p node_modules; echo "npm ci" >> ../../made; [ "$FAKE_FAILURE" != "npm ci" ];;
esac
"""
"""An npm that does the same."""


@pytest.fixture
def fake(make: Path) -> Path:
    """Where `make` uses the Python and, by PATH, the npm above."""
    path = make / "fake-python"
    for program, text in ((path, FAKE_PYTHON), (make / "npm", FAKE_NPM)):
        program.write_text(text)
        program.chmod(0o755)
    return path


def made(fake: Path, *words: str, **environment: str) -> list[str]:
    """What a run of make installs; the first is the environment, where that is made too."""
    folder = fake.parent
    (folder / "made").unlink(missing_ok=True)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    ran = run("make", *words, cwd=folder, **{"PYTHON": str(fake), "PATH": path, **environment})
    assert (ran.returncode != 0) == ("FAKE_FAILURE" in environment), ran.stderr
    return (folder / "made").read_text().splitlines() if (folder / "made").exists() else []


def test_make_demo_installs_the_package_and_make_test_adds_the_rest(fake: Path) -> None:
    assert made(fake, "demo") == [f"venv {fake}", "."]
    assert made(fake, "demo") == []
    assert made(fake, "test") == [".[test]", "npm ci"]
    assert made(fake, "demo") == made(fake, "test") == made(fake, "lint") == []


def test_make_page_installs_only_what_checks_the_page(fake: Path) -> None:
    assert made(fake, "page", FAKE_FAILURE="npm ci") == ["npm ci"]
    assert made(fake, "page") == ["npm ci"], "an interrupted installation is done again"
    assert made(fake, "page") == []
    later = time.time() + 10
    os.utime(fake.parent / "tests" / "page" / "package-lock.json", (later, later))
    assert made(fake, "page") == ["npm ci"], "other versions are wanted"


def test_make_page_says_what_to_install_where_there_is_no_npm(make: Path) -> None:
    programs = make / "programs"
    programs.mkdir()
    for name in ("sh", "cat", "awk"):
        (programs / name).symlink_to(str(shutil.which(name)))
    found = str(shutil.which("make"))
    refused = run(found, "page", cwd=make, PATH=str(programs))
    assert refused.returncode == 2
    assert "apt-get install npm" in refused.stderr


def test_make_demo_after_make_test_installs_nothing(fake: Path) -> None:
    assert made(fake, "test") == [f"venv {fake}", ".", ".[test]", "npm ci"]
    assert made(fake, "demo") == made(fake, "test") == []


def test_an_installation_that_was_interrupted_is_done_again(fake: Path) -> None:
    whole = [f"venv {fake}", ".", ".[test]"]
    assert made(fake, "test", FAKE_FAILURE=".") == whole[:2]
    assert made(fake, "test", FAKE_FAILURE=".[test]") == whole
    assert made(fake, "demo") == []
    assert made(fake, "test") == [".[test]", "npm ci"]


def test_the_environment_is_made_anew_where_it_would_not_fit(fake: Path) -> None:
    whole = [f"venv {fake}", ".", ".[test]"]
    assert made(fake, "test") == [*whole, "npm ci"]
    later = time.time() + 10
    os.utime(fake.parent / "pyproject.toml", (later, later))
    assert made(fake, "test") == whole, "pyproject.toml has changed"
    os.utime(fake.parent / "pyproject.toml", (1, 1))
    assert made(fake, "test", FAKE_VERSION="3.12.1") == whole, "another Python is asked for"
    assert made(fake, "test", FAKE_VERSION="3.12.1") == []

    moved = fake.rename(fake.parent / "moved-python").parent.rename(fake.parents[1] / "moved")
    fake = moved / "moved-python"
    whole[0] = f"venv {fake}"
    assert made(fake, "demo", FAKE_VERSION="3.12.1") == whole[:2], "it was moved"
    (moved / ".venv" / "bin" / "python").unlink()
    assert made(fake, "demo", FAKE_VERSION="3.12.1") == whole[:2], "its Python is gone"


def test_make_does_not_call_a_half_made_environment_made(make: Path) -> None:
    (make / "pyproject.toml").write_text("this is no TOML")
    assert run("make", "venv", f"PYTHON={sys.executable}", cwd=make).returncode == 2
    assert not (make / ".venv" / ".package").exists()


# ----------------------------------------------------------------------------------------------- CI


def test_ci_is_runnable_and_knows_no_other_engine() -> None:
    script = REPO / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert "make test" in text
    assert run("bash", "-n", script, cwd=REPO).returncode == 0
    assert "/var/run/docker" not in text


def test_nothing_lies_beside_the_project() -> None:
    ignored = {name.strip("/*") for name in (REPO / ".gitignore").read_text().split()}
    own = {"gaia_local", "tests", "resources", "Makefile", "pyproject.toml", "README.md", "LICENSE"}
    found = {path.name for path in REPO.iterdir() if not path.name.startswith(".")}
    assert {name for name in found - own if Path(name).suffix != ".egg-info"} <= ignored

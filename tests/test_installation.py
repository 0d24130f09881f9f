"""The installed package tells its version, and how packages of its extras are installed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest

import gaia_local
from gaia_local.installation import SOURCE, install_command
from house import PACKAGE

PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
PIP = [sys.executable, "-m", "pip", "install"]


@pytest.fixture
def uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr(metadata, "requires", missing)


def test_the_version_is_the_one_declared() -> None:
    assert gaia_local.__version__ == PROJECT["version"]


def test_the_changelog_begins_with_changes_since_the_last_version() -> None:
    text = (PACKAGE.parent / "resources/CHANGELOG.md").read_text()
    titles = [line.split()[1] for line in text.splitlines() if line.startswith("## ")]
    assert titles[:2] == ["Unreleased", PROJECT["version"]]


def test_the_version_is_looked_up_when_asked_for() -> None:
    """Metadata take longer to import than the package."""
    code = "import gaia_local, sys; sys.exit('importlib.metadata' in sys.modules)"
    subprocess.run([sys.executable, "-S", "-c", code], cwd=PACKAGE.parent, check=True)


@pytest.mark.usefixtures("uninstalled")
def test_without_an_installation_there_is_no_version() -> None:
    assert gaia_local.__version__ == "unknown (not installed)"


def test_an_extra_is_installed_by_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        "requests>=2.26",
        "anyio>=4.1; extra == 'server'",
        'uvicorn<1,>=0.30 ; python_version >= "3" and extra == "server"',
        "anyio>=4.2; extra == 'server-more'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: asked)
    assert shlex.split(install_command("server")) == [*PIP, "anyio>=4.1", "uvicorn<1,>=0.30"]


@pytest.mark.usefixtures("uninstalled")
def test_an_extra_of_a_checkout_is_installed_from_it() -> None:
    assert shlex.split(install_command("server")) == [*PIP, f"{PACKAGE.parent}[server]"]
    assert PACKAGE.parent == SOURCE


def test_no_message_tells_users_to_install_the_package_by_its_name() -> None:
    """It lies in no registry, so anybody could put something there under that name."""
    by_name = re.compile(r"pip install[^\n]*gaia[-_]local|gaia[-_]local\[")
    named = [path for path in PACKAGE.rglob("*.py") if by_name.search(path.read_text())]
    assert named == []

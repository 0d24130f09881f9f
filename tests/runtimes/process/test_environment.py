"""The environment of programs: the engine's without its secrets, in each runtime."""

from __future__ import annotations

from typing import Any

import pytest

from gaia_local.runtimes.process.environment import for_programs
from gaia_local.runtimes.process.program_identity import Environments
from support.fixtures import MakeGaia

SECRETS = {
    "GAIA_LOCAL_TOKEN": "secret-of-the-server",
    "DASK_INTERNAL_INHERIT_CONFIG": "e30=",  # an empty one, as Dask reads it
    "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": "/home/secret/key.pem",
}


def test_secrets_are_left_out_and_nothing_else() -> None:
    kept = {
        b"PATH": b"/bin",
        b"GAIA_LOCAL_ROOT": b"/root",
        b"DASK_TEMPORARY_DIRECTORY": b"/tmp",
        b"MY_TOKEN": b"\xff",
    }
    secrets = {name.encode(): value.encode() for name, value in SECRETS.items()}
    assert for_programs({**secrets, **kept}) == kept


@pytest.mark.parametrize(
    "name", ["TERMS", "COLUMNS_WIDE", "PYTEST_ADDOPTS", "SSH_ASKPASS", "TMUXINATOR", "MINE"]
)
def test_results_depend_on_a_variable(name: str) -> None:
    environments, plain = Environments(), {b"PATH": b"/bin"}
    first = environments.digest(plain)
    assert environments.digest({**plain, name.encode(): b"1"}) != first
    assert environments.digest(plain) == first


@pytest.mark.parametrize(
    "name", ["TERM", "TERM_PROGRAM", "PWD", "LINES", "SSH_TTY", "TMUX_PANE", "PYTEST_CURRENT_TEST"]
)
def test_results_dont_depend_on_a_session(name: str) -> None:
    environments, plain = Environments(), {b"PATH": b"/bin"}
    assert environments.digest({**plain, name.encode(): b"1"}) == environments.digest(plain)


@pytest.fixture(params=["process", "process on dask", "docker"])
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The configuration of a way to run Steps, and the image."""
    runtime, _, executor = request.param.partition(" on ")
    image = request.getfixturevalue("docker_image") if runtime == "docker" else "image"
    return {
        "image": image,
        "runtime": runtime,
        **({"executor": executor, "dask": {"local": 1}} if executor else {}),
    }


def test_no_secret_reaches_a_program(
    make_gaia: MakeGaia, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MEANT_FOR_ALL", "yes")
    image = way.pop("image")
    gaia = make_gaia(**way)
    program = ["sh", "-c", "env; tr '\\0' '\\n' < /proc/$PPID/environ || true"]
    command = {"name": "tell", "image": image, "command": program, "outputs": {"told": ">"}}
    gaia.upload(
        "w", {}, [command], [{"name": "tell", "command": "tell", "outputs": {"told": "d:told"}}]
    )
    assert gaia.wait("w", 60)["state"] == "complete", gaia.failures("w")
    told = gaia.path("w", "d:told").read_text()
    assert "PATH=" in told
    assert ("MEANT_FOR_ALL=yes" in told) == (way["runtime"] == "process")
    assert [line for line in told.splitlines() if line.startswith(tuple(SECRETS))] == []

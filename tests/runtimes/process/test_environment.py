"""The environment of programs: the engine's without its secrets, in each runtime."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from gaia_local.runtimes.process.environment import for_programs, of_this_process
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


class _Plain(MutableMapping[bytes, bytes]):
    """An `os.environb` of a Python that keeps its variables elsewhere."""

    def __init__(self, held: dict[bytes, bytes]) -> None:
        self.held = held

    def __getitem__(self, name: bytes) -> bytes:
        return self.held[name]

    def __setitem__(self, name: bytes, value: bytes) -> None:
        self.held[name] = value

    def __delitem__(self, name: bytes) -> None:
        del self.held[name]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_this_processs_environment_is_copied_as_it_is(
    monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    monkeypatch.setenv("ODD", "a=\udcff b")
    expected = {os.fsencode(name): os.fsencode(value) for name, value in os.environ.items()}
    if elsewhere:
        monkeypatch.setattr(os, "environb", _Plain(expected))
    copied = of_this_process()
    assert copied == expected
    assert copied[b"ODD"] == b"a=\xff b"
    copied[b"ODD"] = b"changed"
    assert of_this_process() == expected


def test_programs_get_the_environment_as_it_is_when_they_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environments = Environments()
    first = environments.present()
    assert environments.present() is first
    monkeypatch.setenv("NEW", "1")
    assert environments.present() == {**first, b"NEW": b"1"}
    assert b"NEW" not in first
    monkeypatch.setenv("GAIA_LOCAL_TOKEN", "secret")
    assert b"GAIA_LOCAL_TOKEN" not in environments.present()
    monkeypatch.delenv("NEW")
    assert b"NEW" not in environments.present()


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

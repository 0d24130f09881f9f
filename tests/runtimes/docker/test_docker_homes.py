"""The home and the working directory of a program in a container."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaia_local.runtimes.docker.image_contents import ImageContents
from support.containers import ContainerBench, Run, bench, client, derived, full_image

__all__ = ["bench", "client", "full_image"]

SCRIPT = 'echo "$HOME $PWD"; echo 1 > "$HOME/kept"; echo 2 > here; cat "$HOME/kept" here; ls -A'


class User:
    """Runs programs as an ordinary user, who is in no image of ours unless it was put there."""

    id = 4321

    def __init__(self, bench: ContainerBench) -> None:
        self.bench = bench

    def run(self, image: str | None = None) -> Run:
        run = self.bench.prepare("sh", "-ec", SCRIPT, image=image)
        os.chown(run.invocation.work, self.id, self.id)
        return self.bench.start(run)


@pytest.fixture
def user(bench: ContainerBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    if os.getuid() != 0:
        pytest.skip("only root can act as somebody else")
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: User.id)
        patch.setattr(os, "getgid", lambda: User.id)
        patch.setattr(os, "getgroups", lambda: [User.id])
        yield User(bench)


def test_both_are_private_and_writable_where_the_image_names_none(user: User) -> None:
    for _ in range(2):  # the second finds nothing of the first
        run = user.run()
        assert (run.code, run.log) == (0, b"/gaia-local /gaia-local\n1\n2\nhere\nkept\n")
        assert {path.name for path in Path(run.invocation.work).iterdir()} == {"here", "kept"}


def test_those_that_the_image_names_stay(user: User) -> None:
    with derived(
        user.bench.image, "mkdir -p -m 777 /home/own /own", "ENV HOME=/home/own\nWORKDIR /own"
    ) as image:
        run = user.run(image)
    assert (run.code, run.log) == (0, b"/home/own /own\n1\n2\nhere\n")


@pytest.mark.parametrize(
    ("setup", "home"),
    [
        pytest.param("mkdir /own; chown 4321 /own", "/own", marks=pytest.mark.docker_only),
        ("mkdir /own", "/gaia-local"),  # somebody else's
        ("true", "/gaia-local"),
        ("touch /own", "/gaia-local"),
    ],
)
def test_a_user_of_the_image_keeps_a_home_of_their_own(user: User, setup: str, home: str) -> None:
    known = "echo 'me:x:4321:4321::/own:/bin/sh' >> /etc/passwd"
    with derived(user.bench.image, f"{known}; {setup}") as image:
        run = user.run(image)
    assert (run.code, run.log.splitlines()[0]) == (0, f"{home} /gaia-local".encode())


def test_an_image_without_a_list_of_users(user: User) -> None:
    with derived(user.bench.image, "rm /etc/passwd") as image:
        assert user.run(image).log.startswith(b"/gaia-local /gaia-local\n")


def test_the_configuration_has_the_last_word(user: User) -> None:
    user.bench.configure(env={"HOME": "/tmp"})
    assert user.run().log.startswith(b"/tmp /gaia-local\n")


def test_an_image_is_looked_into_once(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = ImageContents.beginning

    def counted(*arguments: object) -> bytes | None:
        looks.append(arguments)
        return look(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageContents, "beginning", counted)
    user.run()
    user.run()
    assert len(looks) == 1


def test_an_input_in_that_place_wins(bench: ContainerBench) -> None:
    run = bench.run("cat", "/gaia-local/a", inputs={"/gaia-local/a": b"own"})
    assert (run.code, run.log) == (0, b"own")

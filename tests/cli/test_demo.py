"""The demo workflow: well-formed, complete, and right, as processes and in containers."""

from __future__ import annotations

import collections
import re
from pathlib import Path

import pytest

from gaia_local import Gaia, demo
from gaia_local.errors import EngineUnavailable
from gaia_local.model.keys import Capture
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.images import Images
from gaia_local.runtimes.docker.responses import NoAnswer, Refusal

PLANETS = ("mercury", "venus", "mars")


def image_is_here(name: str) -> bool:
    engine = DockerEngine()
    try:
        return Images(engine).find(name) is not None
    except (EngineUnavailable, Refusal, NoAnswer):
        return False
    finally:
        engine.close()


@pytest.fixture(params=["process", "docker"])
def runtime(request: pytest.FixtureRequest) -> str:
    if request.param == "docker" and not image_is_here("busybox"):
        pytest.skip("no Docker engine has the image busybox")
    return str(request.param)


def test_the_demo_shows_all_features_of_the_format() -> None:
    commands, steps = demo.commands(), demo.steps()
    outputs = [
        path for command in commands if "image" in command for path in command["outputs"].values()
    ]
    assert {Capture.parse(path) for path in outputs} >= set(Capture)
    assert any(path.endswith("/") for path in outputs)
    assert any("stdout" in command for command in commands)
    assert any("steps" in command for command in commands)
    assert any(isinstance(value, list) for step in steps for value in step.get("vars", {}).values())
    assert {command["image"] for command in commands if "image" in command} == {"busybox"}


def test_the_demo_places_all_inputs_of_its_steps() -> None:
    made = {key for step in demo.steps() for key in step["outputs"].values()}
    read = {
        key.replace("{{planet}}", planet)
        for step in demo.steps()
        for key in step["inputs"].values()
        if key not in made
        for planet in PLANETS
    }
    assert {key for key in read if not key.startswith("results:")} == set(demo.inputs())


@pytest.mark.parametrize(
    ("user", "owner"),
    [
        ("crick", "crick"),
        ("rosalind_franklin", "rosalind-franklin"),
        ("a b/..", "a-b"),
        ("__", "me"),
    ],
)
def test_a_name_is_owner_program_datetime(
    monkeypatch: pytest.MonkeyPatch, user: str, owner: str
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: user)
    assert re.fullmatch(rf"{owner}_demo_\d{{8}}\.\d{{6}}", demo.name(()))


def test_a_name_is_fresh() -> None:
    first = demo.name((), now=0)
    second = demo.name([first], now=0)
    assert demo.name([first, second], now=0) == f"{first}-3"


def test_a_user_without_a_name_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert demo.name(()).startswith("me_demo_")


def expected_words(planet: str) -> list[str]:
    texts = demo.folder() / "inputs" / "texts"
    common = set((texts / "common-words.txt").read_text().split())
    return [
        word
        for word in re.findall("[a-z]+", (texts / f"{planet}.txt").read_text().lower())
        if word not in common
    ]


def test_the_demo_has_correct_results(tmp_path: Path, runtime: str) -> None:
    results = tmp_path / "storage" / "demo" / "results"
    with Gaia({"root": str(tmp_path), "runtime": runtime}) as gaia:
        demo.place_inputs(lambda key: gaia.path("demo", key))
        gaia.upload("demo", {}, demo.commands(), demo.steps())
        assert gaia.wait("demo", timeout=100)["state"] == "complete"
        assert gaia.progress("demo")["steps"] == 15

    for planet in PLANETS:
        words = expected_words(planet)
        assert (results / f"words/{planet}.txt").read_text().split() == words
        ranking = sorted(collections.Counter(words).items(), key=lambda pair: (-pair[1], pair[0]))[
            :6
        ]
        assert (results / f"ranking/{planet}.txt").read_text() == "".join(
            f"{word} {count}\n" for word, count in ranking
        )
        text = (demo.folder() / f"inputs/texts/{planet}.txt").read_text()
        size = (
            f"{planet}: {text.count(chr(10))} lines, {len(text.split())} words, {len(text)} bytes\n"
        )
        assert (results / f"size/{planet}.txt").read_text() == size
        assert (results / f"report/{planet}.txt").read_text().startswith(size)

    shared = sorted(set.intersection(*(set(expected_words(planet)) for planet in PLANETS)))
    assert (results / "shared.txt").read_text().split() == shared
    assert " ".join(shared) in (results / "report" / "README.txt").read_text()
    assert {path.name for path in (results / "report").iterdir()} == {
        "README.txt",
        "mercury.txt",
        "venus.txt",
        "mars.txt",
    }
    assert "wrote the front page" in (results / "report.log").read_text()
    assert "total" in (results / "listing.txt").read_text()

"""Reuse with containers: the image's id and the settings of containers count, not names."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from gaia_local import Gaia
from support.builders import command, step
from support.containers import client, derived
from support.counting import put, ran, reused_steps
from support.fixtures import MakeGaia

__all__ = ["client"]

RUN = "cat /in/a > /out/x; mkdir -p /out/d/empty; ln -s empty /out/d/link; echo said"
ONE = step("s", "c", inputs={"a": "in:a"}, outputs={"x": "o:x", "d": "o:d/", "said": "o:said"})


def made(image: str) -> dict[str, Any]:
    return command("c", RUN, "a", image=image, x="/out/x", d="/out/d/", said=">")


def runs(gaia: Gaia, workflow: str, image: str) -> bool:
    """Whether the Step of a new workflow runs."""
    ran(gaia, workflow, [made(image)], [ONE], {"in:a": "hello\n"})
    events = [event["event"] for event in gaia.events(workflow)]
    assert ("execution-start" in events) != ("step-reused" in events)
    assert gaia.path(workflow, "o:x").read_text() == "hello\n"
    assert (gaia.path(workflow, "o:d/") / "link").is_symlink()
    assert (gaia.path(workflow, "o:d/") / "empty").is_dir()
    assert gaia.path(workflow, "o:said").read_text() == "said\n"
    return not reused_steps(gaia, workflow)


@pytest.fixture
def tag(client: docker.APIClient) -> Iterator[str]:
    """A name for an image; its tag is removed at the end."""
    name = f"gaia-local-test-{uuid.uuid4().hex}"
    yield f"{name}:1"
    with contextlib.suppress(docker.errors.NotFound):
        client.remove_image(f"{name}:1", noprune=True)


def point(client: docker.APIClient, tag: str, image: str) -> None:
    name, _, version = tag.rpartition(":")
    client.tag(image, name, version, force=True)


def test_an_image_is_its_id(
    make_gaia: MakeGaia, docker_image: str, client: docker.APIClient, tag: str
) -> None:
    gaia = make_gaia(runtime="docker", reuse=True)
    point(client, tag, docker_image)
    assert runs(gaia, "w1", docker_image)
    assert not runs(gaia, "w2", tag)  # another name of the same image
    assert gaia.explain("w2", "s")["last"]["image_id"]  # type: ignore[typeddict-item, index]
    with derived(docker_image, "true") as other:
        assert runs(gaia, "w3", other)
        point(client, tag, other)  # as a build does that gives a tag anew
        ran(gaia, "w4", [made(tag)], [ONE], {"in:a": "hello\n"})
        assert reused_steps(gaia, "w4") == {"s": "w3/s"}
        gaia.delete("w3")
        gaia.delete("w4")
        assert runs(gaia, "w5", tag)
    assert not runs(gaia, "w6", docker_image)


@pytest.mark.parametrize(
    "setting",
    [{"env": {"A": "2"}}, {"shm_size": "32m"}, {"network": "host"}],
    ids=lambda setting: next(iter(setting)),
)
def test_settings_of_containers_count(
    make_gaia: MakeGaia, docker_image: str, setting: dict[str, Any]
) -> None:
    before = {"env": {"A": "1"}}
    with make_gaia(runtime="docker", reuse=True, docker=before) as gaia:
        assert runs(gaia, "w1", docker_image)
    with make_gaia(runtime="docker", reuse=True, docker={**before, **setting}) as gaia:
        assert runs(gaia, "w2", docker_image)
    # These make no difference to a program.
    with make_gaia(runtime="docker", reuse=True, docker={**before, "memory": "256m"}) as gaia:
        assert not runs(gaia, "w3", docker_image)
        assert reused_steps(gaia, "w3") == {"s": "w1/s"}


def test_what_a_process_made_is_no_result_for_a_container(
    make_gaia: MakeGaia, docker_image: str
) -> None:
    with make_gaia(reuse=True) as gaia:
        assert runs(gaia, "w1", docker_image)
    with make_gaia(runtime="docker", reuse=True) as gaia:
        assert runs(gaia, "w2", docker_image)
    with make_gaia(reuse=True) as gaia:
        assert not runs(gaia, "w3", docker_image)
        assert reused_steps(gaia, "w3") == {"s": "w1/s"}


def test_a_policy_to_pull_always_never_reuses(make_gaia: MakeGaia, docker_image: str) -> None:
    gaia = make_gaia(runtime="docker", reuse=True)
    assert runs(gaia, "w1", docker_image)
    gaia.upload("w2", {}, [made(docker_image)], [ONE])
    gaia.halt("w2")
    put(gaia, "w2", {"in:a": "hello\n"})
    (would,) = gaia.run("w2", dry_run=True)["would"]
    assert would["reuse"]["workflow"] == "w1"
    gaia.close()
    always = make_gaia(runtime="docker", reuse=True, docker={"pull": "always"})
    (would,) = always.run("w2", dry_run=True)["would"]
    assert "reuse" not in would


def test_a_removed_image_reuses_nothing(
    make_gaia: MakeGaia, docker_image: str, client: docker.APIClient, tag: str
) -> None:
    """Which image its name meant then is unknown now."""
    gaia = make_gaia(runtime="docker", reuse=True, docker={"pull": "never"})
    point(client, tag, docker_image)
    assert runs(gaia, "w1", tag)
    client.remove_image(tag, noprune=True)
    gaia.upload("w2", {}, [made(tag)], [ONE])
    put(gaia, "w2", {"in:a": "hello\n"})
    gaia.run("w2")
    assert gaia.wait("w2")["state"] == "error"
    assert "is not here" in str(gaia.failures("w2")[0]["message"])

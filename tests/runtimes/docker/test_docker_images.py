"""Images: finding them, and pulling them from a registry."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import docker
import pytest

from gaia_local.errors import RuntimeFailure
from gaia_local.model.tasks import BY_REQUEST
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.docker import images as images_module
from gaia_local.runtimes.docker.images import FAILED_SECONDS, Images
from support.containers import ContainerBench, bench, client, full_image
from support.registry import Registry, registry
from support.waiting import wait_until

__all__ = ["bench", "client", "full_image", "registry"]


def test_a_missing_image_that_may_not_be_pulled(bench: ContainerBench) -> None:
    bench.configure(pull="never")
    with pytest.raises(
        RuntimeFailure,
        match=r"'gaia-local/nope:1' is not here and docker.pull is 'never'; `docker pull`",
    ):
        bench.run("true", image="gaia-local/nope:1")
    assert not bench.runtime.available("gaia-local/nope:1")
    assert bench.runtime.available(bench.image)


@pytest.mark.parametrize("policy", ["missing", "always"])
def test_a_pull_that_fails(bench: ContainerBench, policy: str) -> None:
    bench.configure(pull=policy)
    image = "127.0.0.1:1/gaia-local/nope:1"  # nobody listens there
    with pytest.raises(
        RuntimeFailure, match=f"'{image}' could not be pulled.*'{policy}'.*refused.*docker build"
    ):
        bench.run("true", image=image)
    assert not bench.runtime.available(image)


@pytest.mark.parametrize("policy", ["missing", "always"])
def test_an_image_that_cannot_be_pulled_is_asked_for_once_in_a_while(
    bench: ContainerBench, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    pulls = []
    pull = Images._pull

    def counted(images: Images, name: str, stop: Callable[[], bool]) -> None:
        pulls.append(name)
        pull(images, name, stop)

    def fail(image: str) -> str:
        with pytest.raises(RuntimeFailure) as caught:
            bench.run("true", image=image)
        return str(caught.value).partition("could not be pulled")[2]

    monkeypatch.setattr(Images, "_pull", counted)
    bench.configure(pull=policy)
    one, other = (f"127.0.0.1:1/gaia-local/{name}:1" for name in ("one", "other"))
    assert len({fail(one) for _ in range(20)} - {""}) == 1
    assert pulls == [one]
    fail(other)
    assert pulls == [one, other]
    monkeypatch.setattr(images_module, "monotonic", lambda: monotonic() + FAILED_SECONDS)
    fail(one)
    assert pulls == [one, other, one]


def test_an_image_that_came_meanwhile_is_found_at_once(
    bench: ContainerBench, client: docker.APIClient, docker_image: str
) -> None:
    name = f"127.0.0.1:1/gaia-local/{uuid.uuid4().hex}"
    with pytest.raises(RuntimeFailure, match="could not be pulled"):
        bench.run("true", image=f"{name}:1")
    client.tag(docker_image, name, "1")
    try:
        assert bench.run("true", image=f"{name}:1").code == 0
    finally:
        client.remove_image(f"{name}:1")


@pytest.mark.docker_only  # the registry speaks no TLS, which Docker allows at 127.0.0.1
def test_a_missing_image_is_pulled_once(bench: ContainerBench, registry: Registry) -> None:
    assert bench.runtime.available(registry.image)
    registry.pulls = 0  # that looked at the configuration too
    runs = [bench.prepare("nope", image=registry.image) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bench.start, runs))
    assert {run.code for run in runs} == {127}
    assert {run.exit.image_id for run in runs if run.exit} == {registry.image_id}
    assert registry.pulls == 1


@pytest.mark.docker_only
def test_a_pull_can_be_cancelled(bench: ContainerBench, registry: Registry) -> None:
    registry.hold.clear()
    runs = [bench.prepare("nope", image=registry.image) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(bench.start, run) for run in runs]
        wait_until(lambda: registry.pulls == 1)
        for run in runs:
            run.cancellation.cancel(BY_REQUEST)
        for future in running:
            future.result(timeout=10)
    assert [(run.code, run.events) for run in runs] == [(143, [])] * 2

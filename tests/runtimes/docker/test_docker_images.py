"""Images: finding them, and pulling them from a registry."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from gaia_local.errors import RuntimeFailure
from gaia_local.model.tasks import BY_REQUEST
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


def test_a_missing_image_is_pulled_once(bench: ContainerBench, registry: Registry) -> None:
    assert bench.runtime.available(registry.image)
    registry.pulls = 0  # that looked at the configuration too
    runs = [bench.prepare("nope", image=registry.image) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bench.start, runs))
    assert {run.code for run in runs} == {127}
    assert {run.exit.image_id for run in runs if run.exit} == {registry.image_id}
    assert registry.pulls == 1


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

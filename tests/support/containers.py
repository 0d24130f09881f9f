"""The runtime `docker`, tried against a real engine, and images made for that."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from gaia_local.config import DockerConfig
from gaia_local.model.keys import Capture
from gaia_local.model.tasks import Task
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation, Root
from gaia_local.runtimes.docker.address import find_address
from gaia_local.runtimes.docker.connection import connect
from gaia_local.runtimes.docker.runtime import DockerRuntime
from gaia_local.store.file_work import UNTOLD
from support.timers import Timers
from support.waiting import wait_until

EVENTS = ["container-create", "execution-start", "execution-complete", "container-exit"]


@pytest.fixture
def client(docker_image: str) -> Iterator[docker.APIClient]:
    """A connection of the test's own, to look behind the runtime's back."""
    client = connect(find_address())
    yield client
    client.close()


def is_podman(client: docker.APIClient) -> bool:
    """Whether the engine is Podman."""
    with client.get(f"{client.base_url}/_ping") as answer:
        return "Libpod-Api-Version" in answer.headers


@contextlib.contextmanager
def derived(image: str, script: str, changes: str | None = None) -> Iterator[str]:
    """The id of `image` after `script` run by root, with Dockerfile instructions applied."""
    with connect(find_address()) as client:
        made = client.create_container(image, ["sh", "-ec", script])["Id"]
        try:
            client.start(made)
            assert client.wait(made)["StatusCode"] == 0
            # With a name: Podman removes nameless images together with the last one made from them.
            name = f"gaia-local-test-{uuid.uuid4().hex}"
            committed = client.commit(made, name, changes=changes)["Id"]
        finally:
            client.remove_container(made, force=True)
        try:
            yield committed
        finally:
            client.remove_image(name, force=True, noprune=True)


@pytest.fixture(scope="module")
def full_image(docker_image: str) -> Iterator[str]:
    """An image with a file in the world-writable `/full`, and a link `/linked` to that."""
    with derived(
        docker_image, "mkdir /full; touch /full/own; chmod 777 /full; ln -s full /linked"
    ) as image:
        yield image


@dataclass
class Run:
    """One invocation, with all that came of it."""

    invocation: Invocation
    cancellation: Cancellation
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    exit: Exit | None = None

    @property
    def tree(self) -> Path:
        return Path(self.invocation.tree)

    @property
    def log(self) -> bytes:
        return Path(self.invocation.log).read_bytes()

    @property
    def stdout(self) -> bytes:
        assert self.invocation.stdout is not None
        return Path(self.invocation.stdout).read_bytes()

    @property
    def code(self) -> int:
        assert self.exit is not None
        return self.exit.code

    @property
    def message(self) -> str:
        assert self.exit is not None and self.exit.message is not None
        return self.exit.message

    def report(self, event: str, /, **facts: Any) -> None:
        self.events.append((event, facts))

    def wait_for(self, text: bytes) -> None:
        """Return when the log holds `text`."""
        wait_until(lambda: Path(self.invocation.log).exists() and text in self.log)


class ContainerBench:
    """Makes invocations as the worker does, and runs them with one runtime."""

    def __init__(self, top: Path, image: str) -> None:
        self.top, self.image = top, image
        self.root = Root(f"test-{uuid.uuid4()}", uuid.uuid4().hex)
        self.timers = Timers()
        self.grace = 2.0
        self.runtime = DockerRuntime(DockerConfig(), self.root)

    def configure(self, **docker: Any) -> None:
        self.runtime.close()
        self.runtime = DockerRuntime(DockerConfig(**docker), self.root)

    def prepare(
        self,
        *command: str,
        inputs: Mapping[str, bytes | Mapping[str, bytes]] | None = None,
        mounts: Mapping[str, Path] | None = None,
        outputs: tuple[str, ...] = (),
        stdout: str | None = None,
        timeout: float = 60,
        image: str | None = None,
    ) -> Run:
        """Puts `inputs` into the tree as copies; the runtime is to mount `mounts`."""
        task_id = str(uuid.uuid4())
        tree = self.top / task_id / "tree"
        tree.mkdir(parents=True)
        (self.top / task_id / "work").mkdir()
        for path, content in (inputs or {}).items():
            place = tree / path.strip("/")
            files = {"": content} if isinstance(content, bytes) else content
            for name, data in files.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(data)
        for path in outputs:
            if Capture.parse(path) is None:
                place = tree / path.strip("/")
                (place if path.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if stdout is not None:
            (tree / stdout.strip("/")).parent.mkdir(parents=True, exist_ok=True)
        task = Task(
            task_id,
            "a step",
            "a workflow",
            image or self.image,
            command,
            tuple((f"in{path}", path) for path in [*(inputs or {}), *(mounts or {})]),
            tuple((f"out{path}", path) for path in outputs),
            stdout,
            timeout,
        )
        invocation = Invocation(
            task,
            str(tree),
            f"{self.top}/{task_id}/work",
            f"{self.top}/{task_id}.log",
            None if stdout is None else f"{tree}/{stdout.strip('/')}",
            tuple((path, str(source)) for path, source in (mounts or {}).items()),
            file_work=UNTOLD,
        )
        return Run(invocation, Cancellation(self.timers.call_later, self.grace))

    def start(self, run: Run) -> Run:
        run.exit = self.runtime.run(run.invocation, run.cancellation, run.report)
        return run

    def run(self, *command: str, **prepared: Any) -> Run:
        return self.start(self.prepare(*command, **prepared))

    def image_id(self, client: docker.APIClient) -> str:
        image: dict[str, str] = client.inspect_image(self.image)  # type: ignore[no-untyped-call]
        return image["Id"]

    def containers(self, client: docker.APIClient) -> list[dict[str, Any]]:
        return list(
            client.containers(all=True, filters={"label": f"gaia-local.root={self.root.path}"})
        )


@pytest.fixture
def bench(tmp_path: Path, full_image: str, client: docker.APIClient) -> Iterator[ContainerBench]:
    """A `ContainerBench`; fails the test when a container of its root is left."""
    bench = ContainerBench(tmp_path / "with space", full_image)
    yield bench
    bench.timers.close()
    bench.runtime.close()
    survivors = bench.containers(client)
    for container in survivors:
        client.remove_container(container["Id"], force=True, v=True)
    assert survivors == []

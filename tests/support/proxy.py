"""A proxy in front of a Docker engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.containers import ContainerBench


class Proxy:
    """A proxy between the runtime and its engine, that breaks connections on order."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._top = tempfile.mkdtemp(prefix="gaia-")  # short: a socket's path has at most 107 bytes
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self._top}/s")
        self._listener.listen(64)
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._requests: dict[socket.socket, bytes] = {}
        self._threads: list[threading.Thread] = []
        self.lost: list[bytes] = []
        """For each of these: the answer to the next request that holds it gets lost."""
        self.down = False
        self._spawn(self._accept)

    @property
    def address(self) -> str:
        return f"unix://{self._top}/s"

    def cut(self, asked: bytes = b"") -> None:
        """Break the connections whose last request holds `asked`."""
        with self._lock:
            pairs = [pair for pair in self._pairs if asked in self._requests.get(pair[0], b"")]
            for connection in [one for pair in pairs for one in pair]:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()
        for connection in [one for pair in self._pairs for one in pair]:
            connection.close()
        shutil.rmtree(self._top)

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.down:
                near.close()
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._engine)
            with self._lock:
                self._pairs.append((near, far))
            losing = threading.Event()
            self._spawn(self._pump, near, far, losing, True)
            self._spawn(self._pump, far, near, losing, False)

    def _pump(
        self, source: socket.socket, target: socket.socket, losing: threading.Event, asks: bool
    ) -> None:
        try:
            while data := source.recv(1 << 16):
                if asks:
                    self._requests[source] = data
                    for asked in [asked for asked in self.lost if asked in data]:
                        self.lost.remove(asked)
                        losing.set()
                elif losing.is_set():
                    break
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(bench: ContainerBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A `Proxy` that the bench's runtime is connected to."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not address.startswith("unix://"):
        pytest.skip("the engine is not behind a Unix socket")
    proxy = Proxy(address.removeprefix("unix://"))
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", proxy.address)
        bench.configure()
        bench.runtime.check([])
    yield proxy
    bench.runtime.close()
    proxy.close()

"""Which engine is used: found as the docker command does.

The docker command itself writes the contexts, where it is here; the engine is a stub.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import shutil
import socketserver
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local.config import Config
from gaia_local.doctor.checks import examine
from gaia_local.errors import EngineUnavailable
from gaia_local.runtimes.docker.engine import DockerEngine

VARIABLES = "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"


class Folder:
    """A directory as ``~/.docker``, with contexts in it."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def add(self, name: str, address: str | None, tls: dict[str, bytes] | None = None) -> Path:
        """Add a context as `docker context create` does; return its description's path."""
        endpoint = {"SkipTLSVerify": False} | ({} if address is None else {"Host": address})
        return self.describe(name, {"Endpoints": {"docker": endpoint}}, tls)

    def describe(self, name: str, description: object, tls: dict[str, bytes] | None = None) -> Path:
        digest = hashlib.sha256(name.encode()).hexdigest()
        place = self.top / "contexts/meta" / digest / "meta.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps(description))
        for file, content in (tls or {}).items():
            path = self.top / "contexts/tls" / digest / "docker" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return place

    def use(self, name: str) -> None:
        """As `docker context use`."""
        (self.top / "config.json").write_text(json.dumps({"currentContext": name}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The directory that `DOCKER_CONFIG` names; no other variable of Docker's is set."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    made = Folder(tmp_path / "docker config")
    made.top.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(made.top))
    return made


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        containers = self.path.partition("?")[0].endswith("/containers/json")
        version = {"ApiVersion": "1.41", "Version": "stub"}
        answer = json.dumps([] if containers else version).encode()
        self.send_response(200)
        self.send_header("Api-Version", "1.41")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def address_string(self) -> str:
        return "the test"

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    asked: list[str]


@contextlib.contextmanager
def served(server: Any) -> Iterator[list[str]]:
    """The paths that were asked of a server, while it serves."""
    server.asked = []
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def stub(path: Path) -> Iterator[list[str]]:
    """An engine that answers with its version alone, at a Unix socket."""
    with served(_UnixServer(str(path), _Answers)) as asked:
        yield asked


def ping() -> None:
    with contextlib.closing(DockerEngine()) as engine:
        engine.ping()


def failure() -> str:
    with pytest.raises(EngineUnavailable) as caught:
        ping()
    return str(caught.value)


def docker_check(tmp_path: Path) -> Any:
    config = Config.parse({"root": tmp_path / "root"})
    return next(check for check in examine(config).checks if check.name == "docker")


@pytest.fixture
def near() -> Iterator[Path]:
    """A directory for sockets, with a short name: a socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="gaia-") as made:
        yield Path(made)


@pytest.mark.parametrize("by", ["DOCKER_CONTEXT", "currentContext"])
def test_a_context_names_the_engine(
    folder: Folder, near: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    folder.add("ours", f"unix://{near}/ours.sock")
    if by == "DOCKER_CONTEXT":
        folder.use("missing")  # the variable wins
        monkeypatch.setenv(by, "ours")
    else:
        folder.use("ours")
    assert failure().startswith(
        f"no Docker engine answers at unix://{near}/ours.sock (context 'ours' of "
        f"{by if by == 'DOCKER_CONTEXT' else folder.top / 'config.json'}): "
        "No such file or directory;"
    )
    with stub(near / "ours.sock") as asked:
        ping()
        found = docker_check(tmp_path)
    assert asked
    assert found.verdict == "ok"
    assert f"unix://{near}/ours.sock (context 'ours' of " in found.text
    assert found.facts["address"] == f"unix://{near}/ours.sock"
    assert found.facts["source"].startswith("context 'ours' of ")


def test_docker_host_wins(
    folder: Folder, near: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.use("missing")
    monkeypatch.setenv("DOCKER_CONTEXT", "missing")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{near}/host.sock")
    with stub(near / "host.sock"):
        ping()
        assert docker_check(tmp_path).text.endswith(f"at unix://{near}/host.sock (DOCKER_HOST)")


@pytest.mark.parametrize("by", [None, "", "default"])
def test_the_default(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str | None
) -> None:
    """What is set to nothing counts as not set; "default" is a context that has no description."""
    monkeypatch.setenv("DOCKER_HOST", "")
    monkeypatch.setenv("DOCKER_CONTEXT", "")
    if by is not None:
        folder.use(by)
    monkeypatch.setattr(
        "gaia_local.runtimes.docker.address.DEFAULT_ADDRESS", f"unix://{tmp_path}/nothing"
    )
    assert failure().startswith(
        f"no Docker engine answers at unix://{tmp_path}/nothing"
        " (neither DOCKER_HOST nor a context is set): "
    )


def test_default_of_docker_context_overrules_the_current_one(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.use("missing")
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    monkeypatch.setattr(
        "gaia_local.runtimes.docker.address.DEFAULT_ADDRESS", f"unix://{tmp_path}/nothing"
    )
    assert f"at unix://{tmp_path}/nothing" in failure()


def test_a_context_that_does_not_exist(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    assert failure() == (
        "there is no Docker context 'gone', which DOCKER_CONTEXT names;"
        " `docker context ls` lists them: choose one of those, or set DOCKER_HOST to an address, or"
        " run commands without containers (config: runtime: process)"
    )
    monkeypatch.delenv("DOCKER_CONTEXT")
    folder.use("gone")
    why = f"there is no Docker context 'gone', which {folder.top / 'config.json'} names"
    assert failure().startswith(why + ";")
    found = docker_check(tmp_path)
    assert (found.verdict, found.text) == ("note", why)


@pytest.mark.parametrize("by", ["DOCKER_HOST", "DOCKER_CONTEXT"])
def test_no_engine_over_ssh(folder: Folder, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    folder.add("far", "ssh://me@far")
    monkeypatch.setenv(by, "ssh://me@far" if by == "DOCKER_HOST" else "far")
    source = "DOCKER_HOST" if by == "DOCKER_HOST" else "context 'far' of DOCKER_CONTEXT"
    assert failure().startswith(
        f"the Docker engine at ssh://me@far ({source}) can't be used: containers mount directories"
        " of this machine;"
    )


@pytest.mark.parametrize(
    "description", [{}, [], {"Endpoints": {}}, {"Endpoints": {"docker": {"Host": 7}}}, None]
)
def test_a_context_without_a_docker_endpoint(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, description: object
) -> None:
    place = folder.describe("odd", description)
    if description is None:
        place.write_text("{")
    monkeypatch.setenv("DOCKER_CONTEXT", "odd")
    assert failure().startswith(
        f"the Docker context 'odd', which DOCKER_CONTEXT names, has no address in {place}; "
    )


def test_an_unreadable_configuration_counts_as_none(
    folder: Folder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As for the docker command, which says so and goes on."""
    monkeypatch.setattr(
        "gaia_local.runtimes.docker.address.DEFAULT_ADDRESS", f"unix://{tmp_path}/nothing"
    )
    (folder.top / "config.json").write_text("{")
    assert f"at unix://{tmp_path}/nothing" in failure()
    assert str(folder.top / "config.json") in caplog.text


@pytest.mark.parametrize("client_certificate", [True, False])
def test_a_context_with_tls(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client_certificate: bool
) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key)]
    subprocess.run([*made, "-out", str(certificate)], check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    files = {"ca.pem": certificate.read_bytes()}
    if client_certificate:
        context.load_verify_locations(certificate)
        context.verify_mode = ssl.CERT_REQUIRED
        files |= {"cert.pem": certificate.read_bytes(), "key.pem": key.read_bytes()}
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"tcp://127.0.0.1:{server.server_port}"
    folder.add("safe", address, files)
    folder.add("strange", address, {"ca.pem": b""} | {"cert.pem": b""})
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)  # requests prefers these to any other
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with served(server) as asked:
        monkeypatch.setenv("DOCKER_CONTEXT", "safe")
        ping()
        assert asked
        monkeypatch.setenv("DOCKER_CONTEXT", "strange")
        assert failure().startswith(
            "the Docker context 'strange', which DOCKER_CONTEXT names, has only one of the files"
            f" cert.pem and key.pem in {folder.top}/contexts/tls/"
        )


def test_contexts_as_the_docker_command_writes_them(folder: Folder, near: Path) -> None:
    if shutil.which("docker") is None:
        pytest.skip("the docker command is missing")
    for words in (["create", "made", "--docker", f"host=unix://{near}/made.sock"], ["use", "made"]):
        subprocess.run(["docker", "context", *words], check=True, capture_output=True)
    assert f"at unix://{near}/made.sock (context 'made' of " in failure()
    with stub(near / "made.sock"):
        ping()


def test_the_connection_asks_for_no_more_than_the_engines_api_version(
    folder: Folder, near: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Podman looks through the system's packages for seconds to answer ``/version``."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{near}/host.sock")
    with stub(near / "host.sock") as asked:
        ping()
    assert asked == ["/_ping", "/v1.41/_ping"]

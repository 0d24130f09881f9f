"""A registry of images."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import tarfile
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import docker
import docker.errors
import pytest


class Registry(http.server.ThreadingHTTPServer):
    """A registry that serves one image, with one file in it, under any name."""

    daemon_threads = True

    def __init__(self) -> None:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            member = tarfile.TarInfo(f"hello-{uuid.uuid4()}")
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))
        layer = gzip.compress(raw.getvalue())
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(raw.getvalue())]},
        }
        described = json.dumps(config).encode()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(described),
                "digest": digest_of(described),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                    "size": len(layer),
                    "digest": digest_of(layer),
                }
            ],
        }
        listed = json.dumps(manifest).encode()
        blobs = {digest_of(blob): blob for blob in (layer, described, listed)}
        registry = self
        self.image_id = digest_of(described)
        self.pulls = 0
        self.hold = threading.Event()
        self.hold.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                what, _, name = self.path.rpartition("/")
                blob = blobs.get(name, listed) if "/manifests" in what else blobs.get(name, b"{}")
                if "/blobs" in what and name == registry.image_id and self.command == "GET":
                    registry.pulls += 1
                    if not registry.hold.is_set():
                        registry.hold.wait()
                        # Without an answer: the engine could keep an image that nobody would
                        # remove.
                        return
                self.send_response(200)
                self.send_header(
                    "Content-Type", kind if blob is listed else "application/octet-stream"
                )
                self.send_header("Content-Length", str(len(blob)))
                self.send_header("Docker-Content-Digest", digest_of(blob))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(blob)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def image(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}/gaia-local/hello:1"


def digest_of(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


@pytest.fixture
def registry(client: docker.APIClient) -> Iterator[Registry]:
    with Registry() as registry:
        thread = threading.Thread(target=registry.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield registry
        finally:
            registry.hold.set()
            registry.shutdown()
            thread.join()
            with contextlib.suppress(docker.errors.ImageNotFound):
                client.remove_image(registry.image, force=True)

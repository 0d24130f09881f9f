"""The contents of images and containers: looked at without a start, and read as archives."""

from __future__ import annotations

import base64
import contextlib
import json
import posixpath
import tarfile
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.responses import PIECE_BYTES, Refusal, checked, container_url

if TYPE_CHECKING:
    from docker import APIClient

GO_DIRECTORY = 1 << 31
"""The bit of a directory in the modes that an engine tells."""
LOOP = "a loop of links"
THROUGH_FILE = "not a directory"
"""The engine's words for a path, or the target of a link, that has a file among its parents."""
_STATUS = "X-Docker-Container-Path-Stat"
_MOST_LINKS = 40
_MOST_USERS = 1 << 20
"""Bytes of a list of users that are read."""


class ImageContents:
    """Looks into images and containers of one engine. Thread-safe."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self._mountable: defaultdict[str, dict[str, bool]] = defaultdict(dict)
        self._homes: dict[tuple[str, int], bool] = {}

    def status(self, container: str, path: str, stop: Callable[[], bool]) -> str | None:
        """The engine's encoded name, size, mode and time of a path; None if absent; or `LOOP`."""

        def call(client: APIClient) -> str | None:
            url = container_url(client, container, "archive")
            with client.head(url, params={"path": path}, timeout=client.timeout) as response:
                if response.status_code == 404:
                    return response.headers.get(_STATUS)  # Podman's, of a link to nothing
                if response.status_code < 400:
                    return response.headers[_STATUS]
            try:
                with client.get(  # a HEAD cannot say why
                    url, params={"path": path}, stream=True, timeout=client.timeout
                ) as response:
                    return checked(response).headers[_STATUS]
            except Refusal as refusal:
                if "too many" in refusal.text:  # links, levels of symbolic links
                    return LOOP
                raise

        return self._engine.ask(call, stop)

    def in_image(
        self,
        image: str,
        paths: Collection[str],
        labels: Mapping[str, str],
        stop: Callable[[], bool],
    ) -> dict[str, str | None]:
        """The status of paths in a container that didn't start yet."""
        if not paths:
            return {}
        with self._probe(image, labels, stop) as probe:
            return {path: self.status(probe, path, stop) for path in paths}

    def absent_or_empty(
        self,
        image: str,
        paths: Collection[str],
        labels: Mapping[str, str],
        stop: Callable[[], bool],
    ) -> dict[str, bool]:
        """Path → whether it is absent in the image, or an empty directory. Asked once per image."""
        with self._engine.exclusive(f"look into {image}", stop):
            known = self._mountable[image]
            unknown = [path for path in paths if path not in known]
            if unknown:
                with self._probe(image, labels, stop) as probe:
                    self._look_for_home(image, probe, stop)  # a probe costs more than the look
                    for path in unknown:
                        known[path] = self._is_absent_or_empty(probe, path, stop)
            return {path: known[path] for path in paths}

    def has_home(self, image: str, labels: Mapping[str, str], stop: Callable[[], bool]) -> bool:
        """Whether this user has a home directory of their own in an image. Asked once per image."""
        with self._engine.exclusive(f"look into {image}", stop):
            user, _ = self._engine.owner(stop)
            if (image, user) not in self._homes:
                with self._probe(image, labels, stop) as probe:
                    self._look_for_home(image, probe, stop)
            return self._homes[image, user]

    def _look_for_home(self, image: str, probe: str, stop: Callable[[], bool]) -> None:
        user, _ = self._engine.owner(stop)
        if (image, user) not in self._homes:
            self._homes[image, user] = self._owns_home(probe, user, stop)

    def _owns_home(self, container: str, user: int, stop: Callable[[], bool]) -> bool:
        home = _home_of(user, self.beginning(container, "/etc/passwd", _MOST_USERS, stop) or b"")
        if home in ("", "/"):
            return False

        def call(client: APIClient) -> bool:
            with archived(client, container, home) as archive:
                member = archive.next()
                return member is not None and member.isdir() and user in (0, member.uid)

        try:
            return self._engine.ask(call, stop)
        except Refusal as refusal:
            if refusal.status != 404 and THROUGH_FILE not in refusal.text:
                raise
            return False

    def beginning(
        self, container: str, path: str, most: int, stop: Callable[[], bool]
    ) -> bytes | None:
        """The first bytes of a file in a container, links followed; None where there is none."""
        target: str | None = None

        def call(client: APIClient) -> bytes | None:
            nonlocal target
            with archived(client, container, path) as archive:
                member = archive.next()
                if member is None or not member.isfile():
                    target = member.linkname if member is not None and member.issym() else None
                    return None
                file = archive.extractfile(member)
                return None if file is None else file.read(most)

        try:
            for _ in range(_MOST_LINKS):
                found = self._engine.ask(call, stop)
                if target is None:
                    return found
                path, target = posixpath.join(posixpath.dirname(path), target), None
            return None
        except Refusal as refusal:
            if refusal.status != 404 and THROUGH_FILE not in refusal.text:
                raise
            return None

    def _probe(
        self, image: str, labels: Mapping[str, str], stop: Callable[[], bool]
    ) -> contextlib.AbstractContextManager[str]:
        """A container that never starts."""
        name = f"gaia-local-probe-{uuid.uuid4()}"

        def create(client: APIClient) -> str:
            # No image has this program, nor needs it.
            return str(
                client.create_container(
                    image, ["gaia-local-probe"], name=name, labels=dict(labels)
                )["Id"]
            )

        return self._engine.container(name, labels, create, stop)

    def _is_absent_or_empty(self, container: str, path: str, stop: Callable[[], bool]) -> bool:
        try:
            status = self.status(container, path, stop)
        except Refusal as refusal:
            if THROUGH_FILE in refusal.text:
                return False
            raise
        if status is None:
            return True
        if status == LOOP:
            return False
        if not json.loads(base64.b64decode(status))["mode"] & GO_DIRECTORY:
            return False  # a link, mostly: its target may hold anything

        def call(client: APIClient) -> bool:
            # A directory's archive begins with itself: a second member tells that it isn't empty,
            # and the rest is never sent.
            with archived(client, container, path) as archive:
                return archive.next() is not None and archive.next() is None

        return self._engine.ask(call, stop)


def _home_of(user: int, users: bytes) -> str:
    """The home of a user in a list as /etc/passwd; empty where it has none."""
    for line in users.decode("utf-8", "replace").splitlines():
        facts = line.split(":")
        if len(facts) > 5 and facts[2] == str(user):
            return facts[5]
    return ""


@contextlib.contextmanager
def archived(client: APIClient, container: str, path: str) -> Iterator[tarfile.TarFile]:
    """The archive of a path in a container, read as it comes."""
    headers = {"Accept-Encoding": "identity"}
    url = container_url(client, container, "archive")
    with client.get(
        url, params={"path": path}, headers=headers, stream=True, timeout=client.timeout
    ) as response:
        raw: Any = checked(response).raw
        with tarfile.open(fileobj=raw, mode="r|", bufsize=PIECE_BYTES) as archive:
            yield archive

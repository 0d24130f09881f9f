"""Brings a Task's files into its container and out of it.

A bind-mounted file can't be replaced by a rename; files of a mounted directory can. So if the
parent of an input or output is absent or empty in the image, the tree's directory is mounted in its
place. Otherwise an input, or an output directory, is mounted itself, and an output file is copied
out when the program has ended.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import posixpath
import shutil
import stat
import tarfile
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaia_local.errors import RuntimeFailure, StorageError
from gaia_local.model.keys import internal_path, made_files, names_directory
from gaia_local.model.paths import folders, is_inside, nearest
from gaia_local.runtimes.contract import Invocation
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.responses import (
    PIECE_BYTES,
    NoAnswer,
    Refusal,
    checked,
    container_url,
    disk_errors,
)
from gaia_local.store import removal
from gaia_local.store.staging import find

if TYPE_CHECKING:
    from docker import APIClient

_GO_DIRECTORY, _GO_LINK = 1 << 31, 1 << 27
_GO_SPECIAL = {1 << 26: stat.S_IFBLK, 1 << 25: stat.S_IFIFO, 1 << 24: stat.S_IFSOCK}
_LOOP = "a loop of links"
_THROUGH_FILE = "not a directory"
"""The engine's words for a path, or the target of a link, that has a file among its parents."""
_STATUS = "X-Docker-Container-Path-Stat"


@dataclass(frozen=True)
class MountPlan:
    """The mounts of one Task, internal path → host path, and the internal paths to copy out."""

    writable: Mapping[str, Path]
    read_only: Mapping[str, Path]
    copied_out: tuple[str, ...]


class ContainerFiles:
    """Looks into images and containers of one engine. Thread-safe."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self._mountable: defaultdict[str, dict[str, bool]] = defaultdict(dict)

    def plan(
        self,
        invocation: Invocation,
        mounts_inputs: bool,
        image: str,
        labels: Mapping[str, str],
        stop: Callable[[], bool],
    ) -> MountPlan:
        """Plan the mounts; `labels` are put on the container that shows the image's files."""
        task, tree = invocation.task, invocation.tree.absolute()
        mounted = invocation.inputs if mounts_inputs else ()
        read_only = {internal_path(path).path: source.absolute() for path, source in mounted}
        inputs = {internal_path(path).path for _, path in task.inputs} - read_only.keys()
        outputs = {place.path for _, place in made_files(task.outputs)}
        if task.stdout is not None:
            outputs.discard(internal_path(task.stdout).path)  # captured, not made by the program
        parents = {posixpath.dirname(path) for path in inputs | outputs} - {"/"}
        mountable = self._absent_or_empty(image, parents, labels, stop) if parents else {}
        mounts, copied_out = set(), []
        for path in inputs | outputs:
            parent = posixpath.dirname(path)
            if mountable.get(parent):
                mounts.add(parent)
            elif path in inputs or local(tree, path).is_dir():
                mounts.add(path)
            else:
                copied_out.append(path)
        # The tree mirrors the container: a mount includes all paths below it.
        tops = {path for path in mounts if nearest(path, mounts) is None}
        for path, source in read_only.items():
            _make_mount_point(path, source, tops, read_only, tree)
        return MountPlan(
            {path: local(tree, path) for path in sorted(tops)},
            read_only,
            tuple(sorted(path for path in copied_out if nearest(path, tops) is None)),
        )

    def status(self, container: str, path: str, stop: Callable[[], bool]) -> str | None:
        """The engine's encoded name, size, mode and time of a path; None if absent; or `_LOOP`."""

        def call(client: APIClient) -> str | None:
            url = container_url(client, container, "archive")
            with client.head(url, params={"path": path}, timeout=client.timeout) as response:
                if response.status_code == 404:
                    return None
                if response.status_code < 400:
                    return response.headers[_STATUS]
            try:
                with client.get(  # a HEAD cannot say why
                    url, params={"path": path}, stream=True, timeout=client.timeout
                ) as response:
                    return checked(response).headers[_STATUS]
            except Refusal as refusal:
                if "too many" in refusal.text:  # links, levels of symbolic links
                    return _LOOP
                raise

        return self._engine.ask(call, stop)

    def copy_results(
        self,
        container: str,
        invocation: Invocation,
        plan: MountPlan,
        before: Mapping[str, str | None],
        stop: Callable[[], bool],
    ) -> None:
        """Copy output files, and targets of links, that lie in no mount into the tree.

        These are the paths that `plan` has to copy out, and those that links lead to in the
        directories of inputs and outputs. `before`: the paths' statuses when the program started.
        A path whose status is the same was not made by it.
        """
        tree = str(invocation.tree.absolute())
        outputs = [
            (place.path, names_directory(key) or place.is_directory)
            for key, place in made_files(invocation.task.outputs)
        ]
        inputs = [internal_path(path).path for _, path in invocation.task.inputs]
        around = {posixpath.dirname(path) for path in (*inputs, *(path for path, _ in outputs))} - {
            "/"
        }
        mounts = plan.writable.keys() | plan.read_only.keys()

        def copy_if_outside(place: str) -> None:
            at = place.removeprefix(tree)
            if not is_inside(at, *around, *plan.copied_out) or is_inside(at, *mounts):
                return
            if os.path.lexists(place) or not os.path.isdir(os.path.dirname(place)):
                return
            try:
                status = self.status(container, at, stop)
            except Refusal as refusal:
                if _THROUGH_FILE not in refusal.text:
                    raise
                return
            if status is not None and (at not in before or status != before[at]):
                self._copy_entry(container, at, Path(place), status, stop)

        for path, is_directory in outputs:
            if not is_directory:
                # A loop of links is found again when it is to be stored.
                with contextlib.suppress(StorageError):
                    find(tree, path, copy_if_outside)
        for path, is_directory in outputs:
            if is_directory:
                with contextlib.suppress(StorageError):
                    place, _ = find(tree, path)
                    # Outside mounts, it holds only a part of the directory.
                    if not is_inside(place.removeprefix(tree), *mounts):
                        removal.remove(place)

    def _copy_entry(
        self, container: str, path: str, target: Path, status: str, stop: Callable[[], bool]
    ) -> None:
        """Copy a file or link; make an empty entry for a directory, device, pipe or socket."""
        mode = 0 if status == _LOOP else json.loads(base64.b64decode(status))["mode"]
        special = next((kind for bit, kind in _GO_SPECIAL.items() if mode & bit), None)
        with disk_errors(target):
            if status == _LOOP:
                target.symlink_to(target.name)
            elif mode & _GO_DIRECTORY:
                target.mkdir()
            elif special is not None:
                os.mknod(target, special | 0o600)
            elif mode & _GO_LINK:
                target.symlink_to(self._link(container, path, stop))
            else:
                self._copy_out(container, path, target, stop)

    def _link(self, container: str, path: str, stop: Callable[[], bool]) -> str:
        """The target of a link as it is written; its status may leave out links in mounts."""

        def call(client: APIClient) -> str:
            with _archive(client, container, path) as archive:
                member = archive.next()
                if member is None:
                    raise NoAnswer(f"it sent nothing of {path}")
                return member.linkname

        return self._engine.ask(call, stop)

    def _copy_out(self, container: str, path: str, target: Path, stop: Callable[[], bool]) -> None:
        def call(client: APIClient) -> None:
            with _archive(client, container, path) as archive:
                member = archive.next()
                content = None if member is None else archive.extractfile(member)
                if member is None or content is None:
                    raise NoAnswer(f"it sent nothing of {path}")
                with disk_errors(target), target.open("wb") as writer:
                    shutil.copyfileobj(content, writer, PIECE_BYTES)
                    os.fchmod(writer.fileno(), member.mode & 0o777 | 0o600)

        self._engine.ask(call, stop)

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

    def _absent_or_empty(
        self,
        image: str,
        paths: Collection[str],
        labels: Mapping[str, str],
        stop: Callable[[], bool],
    ) -> dict[str, bool]:
        """Path → whether it is absent or an empty directory in the image. Asked once per image."""
        with self._engine.exclusive(f"look into {image}", stop):
            known = self._mountable[image]
            unknown = [path for path in paths if path not in known]
            if unknown:
                with self._probe(image, labels, stop) as probe:
                    for path in unknown:
                        known[path] = self._is_absent_or_empty(probe, path, stop)
            return {path: known[path] for path in paths}

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
            if _THROUGH_FILE in refusal.text:
                return False
            raise
        if status is None:
            return True
        if not json.loads(base64.b64decode(status))["mode"] & _GO_DIRECTORY:
            return False  # a link, mostly: its target may hold anything

        def call(client: APIClient) -> bool:
            # A directory's archive begins with itself: a second member tells that it isn't empty,
            # and the rest is never sent.
            with _archive(client, container, path) as archive:
                return archive.next() is not None and archive.next() is None

        return self._engine.ask(call, stop)


def local(tree: Path, path: str) -> Path:
    """The path in a tree that mirrors an internal path."""
    return tree / path.lstrip("/")


@contextlib.contextmanager
def _archive(client: APIClient, container: str, path: str) -> Iterator[tarfile.TarFile]:
    """The archive of a path in a container, read as it comes."""
    headers = {"Accept-Encoding": "identity"}
    url = container_url(client, container, "archive")
    with client.get(
        url, params={"path": path}, headers=headers, stream=True, timeout=client.timeout
    ) as response:
        raw: Any = checked(response).raw
        with tarfile.open(fileobj=raw, mode="r|") as archive:
            yield archive


def _make_mount_point(
    path: str, source: Path, tops: set[str], read_only: Mapping[str, Path], tree: Path
) -> None:
    """Make the mount point of a read-only mount that lies in another mount."""
    outer = nearest(path, tops | read_only.keys())
    if outer is None:
        return
    if outer in tops:
        place = local(tree, path)
        if place.is_symlink() or os.path.realpath(tree) not in folders(os.path.realpath(place)):
            raise RuntimeFailure(
                f"the input {path} can't be put in its place: an input around it has a link there"
            )
        with disk_errors(place):
            (place if source.is_dir() else place.parent).mkdir(parents=True, exist_ok=True)
            if not source.is_dir():
                place.touch()
    elif not (read_only[outer] / posixpath.relpath(path, outer)).exists():
        raise RuntimeFailure(
            f"the input {path} lies in the input directory {outer}, which has no such entry and is"
            " mounted read-only; set docker.inputs to 'copy', or give the input another internal"
            " path"
        )

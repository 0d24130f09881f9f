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
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaia_local.errors import RuntimeFailure, StorageError
from gaia_local.model.keys import internal_path, made_files, names_directory
from gaia_local.model.paths import folders, is_inside, nearest
from gaia_local.runtimes.contract import Invocation, LongWork
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.image_contents import (
    GO_DIRECTORY,
    LOOP,
    THROUGH_FILE,
    ImageContents,
    archived,
)
from gaia_local.runtimes.docker.responses import PIECE_BYTES, NoAnswer, Refusal, disk_errors
from gaia_local.store import copying, removal
from gaia_local.store.directories import make_directories
from gaia_local.store.staging import find

if TYPE_CHECKING:
    from docker import APIClient

_MOST_FOLDERS = 250
"""An engine takes the path of a file for a loop of links where it has over 255 parts."""
_GO_LINK = 1 << 27
_GO_SPECIAL = {1 << 26: stat.S_IFBLK, 1 << 25: stat.S_IFIFO, 1 << 24: stat.S_IFSOCK}


@dataclass(frozen=True)
class MountPlan:
    """The mounts of one Task, internal path → host path, and the internal paths to copy out."""

    writable: Mapping[str, Path]
    read_only: Mapping[str, Path]
    copied_out: tuple[str, ...]


class ContainerFiles:
    """Plans mounts and copies files out of containers of one engine. Thread-safe."""

    def __init__(self, engine: DockerEngine, contents: ImageContents) -> None:
        self._engine, self._contents = engine, contents

    def plan(
        self,
        invocation: Invocation,
        mounts_inputs: bool,
        image: str,
        labels: Mapping[str, str],
        stop: Callable[[], bool],
    ) -> MountPlan:
        """Plan the mounts; `labels` are put on the container that shows the image's files."""
        task, tree = invocation.task, Path(invocation.tree).absolute()
        mounted = invocation.inputs if mounts_inputs else ()
        read_only = {internal_path(path).path: Path(source).absolute() for path, source in mounted}
        inputs = {internal_path(path).path for _, path in task.inputs} - read_only.keys()
        outputs = {place.path for _, place in made_files(task.outputs)}
        if task.stdout is not None:
            outputs.discard(internal_path(task.stdout).path)  # captured, not made by the program
        parents = {posixpath.dirname(path) for path in inputs | outputs} - {"/"}
        for path in parents:
            if path.count("/") > _MOST_FOLDERS:
                raise RuntimeFailure(
                    f"an internal path lies in {path.count('/')} directories, and a Docker engine"
                    f" follows {_MOST_FOLDERS} at most: give it a shorter one"
                )
        mountable = self._contents.absent_or_empty(image, parents, labels, stop) if parents else {}
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
        tree = os.path.abspath(invocation.tree)
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
                status = self._contents.status(container, at, stop)
            except Refusal as refusal:
                if THROUGH_FILE not in refusal.text:
                    raise
                return
            if status is not None and (at not in before or status != before[at]):
                self._copy_entry(
                    container, at, Path(place), status, stop=stop, work=invocation.file_work
                )

        for path, is_directory in outputs:
            if not is_directory:
                # A loop of links is found again when it is to be stored.
                with contextlib.suppress(StorageError):
                    find(tree, path, copy_if_outside)
        for path, is_directory in outputs:
            if is_directory:
                with contextlib.suppress(StorageError):
                    place = find(tree, path).path
                    # Outside mounts, it holds only a part of the directory.
                    if not is_inside(place.removeprefix(tree), *mounts):
                        removal.remove(place)

    def _copy_entry(
        self,
        container: str,
        path: str,
        target: Path,
        status: str,
        *,
        stop: Callable[[], bool],
        work: LongWork,
    ) -> None:
        """Copy a file or link; make an empty entry for a directory, device, pipe or socket."""
        told: dict[str, Any] = (
            {"mode": 0} if status == LOOP else json.loads(base64.b64decode(status))
        )
        mode = told["mode"]
        special = next((kind for bit, kind in _GO_SPECIAL.items() if mode & bit), None)
        with disk_errors(target):
            if status == LOOP:
                target.symlink_to(target.name)
            elif mode & GO_DIRECTORY:
                target.mkdir()
            elif special is not None:
                os.mknod(target, special | 0o600)
            elif mode & _GO_LINK:
                target.symlink_to(self._link(container, path, stop) or told["linkTarget"])
            else:
                work.begin(f"copying {path!r} out of the container", lambda: int(told["size"]))
                self._copy_out(container, path, target, stop, work)

    def _link(self, container: str, path: str, stop: Callable[[], bool]) -> str | None:
        """The target of a link as it is written; its status may leave out links in mounts.

        None from an engine that follows it, as Podman does.
        """

        def call(client: APIClient) -> str | None:
            with archived(client, container, path) as archive:
                member = archive.next()
                if member is None:
                    raise NoAnswer(f"it sent nothing of {path}")
                return member.linkname if member.issym() else None

        try:
            return self._engine.ask(call, stop)
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            return None

    def _copy_out(
        self,
        container: str,
        path: str,
        target: Path,
        stop: Callable[[], bool],
        work: LongWork,
    ) -> None:
        """Copy a file; an archive has no holes, so blocks of zeros become some again."""

        def call(client: APIClient) -> None:
            with archived(client, container, path) as archive:
                member = archive.next()
                content = None if member is None else archive.extractfile(member)
                if member is None or content is None:
                    raise NoAnswer(f"it sent nothing of {path}")
                with disk_errors(target), target.open("wb", buffering=0) as writer:
                    while piece := content.read(PIECE_BYTES):
                        copying.write_with_holes(writer.fileno(), piece)
                        work.advance(len(piece))
                    writer.truncate(member.size)
                    os.fchmod(writer.fileno(), member.mode & 0o777 | 0o600)

        self._engine.ask(call, stop)


def local(tree: Path, path: str) -> Path:
    """The path in a tree that mirrors an internal path."""
    return tree / path.lstrip("/")


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
            make_directories(str(place if source.is_dir() else place.parent))
            if not source.is_dir():
                place.touch()
    elif not (read_only[outer] / posixpath.relpath(path, outer)).exists():
        raise RuntimeFailure(
            f"the input {path} lies in the input directory {outer}, which has no such entry and is"
            " mounted read-only; set docker.inputs to 'copy', or give the input another internal"
            " path"
        )

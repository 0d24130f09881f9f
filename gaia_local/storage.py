"""The store: where a storage key lies on the disk, and how a Task's files get there and back.

The layout under the root: ``storage/<workflow>/…`` the keys, ``staging/<task>/`` one Task's private directory,
``logs/<workflow>/<task>.log`` one file an attempt.

Invariant: nothing but `Storage.publish` writes into the store, and it only renames what was flushed before.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gaia_local import files
from gaia_local.errors import StorageError
from gaia_local.model import CAPTURES, LOG, Fingerprint, Task


@dataclass(frozen=True)
class Staging:
    """One Task's private directory; `tree` mirrors the file system that its program sees."""

    top: Path
    tree: Path
    work: Path
    log: Path

    def local(self, internal: str) -> Path:
        """Where an internal path lies in the tree."""
        return self.tree / internal.strip("/")


@dataclass(frozen=True)
class Output:
    """An output that is ready to be published: flushed, on the target's file system, fingerprinted."""

    key: str
    source: str
    target: str
    fingerprint: Fingerprint


class Storage:
    """The files of all workflows under one root. Thread-safe: it keeps nothing but the layout."""

    def __init__(self, root: Path, buckets: Mapping[str, Path]) -> None:
        self.root = root
        self._buckets = {name: str(path) for name, path in buckets.items()}
        self._store = str(root / "storage")
        self._staging = root / "staging"

    def create(self) -> None:
        """Make the layout, for the owner only."""
        for directory in (self.root, Path(self._store), self._staging, self.root / "logs"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, workflow: str, key: str) -> str:
        """The absolute path of a storage key, without a trailing slash: the identity of what the key names."""
        bucket, colon, rest = key.partition(":")
        if not colon:
            return f"{self._store}/{workflow}/{_normal(key)}"
        mapped = self._buckets.get(bucket)
        if mapped is not None:
            return f"{mapped}/{_normal(rest)}"
        return f"{self._store}/{workflow}/{_normal(bucket)}/{_normal(rest)}"

    def log(self, workflow: str, task: str) -> Path:
        """The file that receives stdout and stderr of one attempt."""
        return self.root / "logs" / workflow / f"{task}.log"

    def look(self, key: str, path: str) -> str | None:
        """The quick fingerprint of a key's file; None where it isn't there (a key with a '/' at its end: no directory)."""
        quick = files.look(path)
        if quick is not None and key.endswith("/") and not quick.startswith("d:"):
            return None
        return quick

    def exists(self, key: str, path: str) -> bool:
        """Whether something lies there: `look` without its price."""
        return os.path.isdir(path) if key.endswith("/") else os.path.exists(path)

    def fingerprint(self, key: str, path: str) -> Fingerprint | None:
        """Both fingerprints of a key's file; None where it isn't there."""
        return files.fingerprint(path) if self.exists(key, path) else None

    # -- one Task's way through: stage, (run), prepare, publish, discard ------------------------------------------

    def stage(self, task: Task, copied: Collection[str]) -> Staging:
        """Make the Task's private directory: copies of the inputs whose keys are in `copied`, places for the outputs."""
        top = self._staging / task.id
        staging = Staging(top, top / "tree", top / "work", self.log(task.workflow, task.id))
        staging.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (top, staging.tree, staging.work):
            directory.mkdir(mode=0o700)
        # Parents first, so that an input below another input's directory lands in that copy.
        for key, internal in sorted(task.inputs, key=lambda pair: pair[1].count("/")):
            if key in copied:
                target = staging.local(internal)
                target.parent.mkdir(parents=True, exist_ok=True)
                files.remove(str(target))
                self._copy_in(task, key, str(target))
        for key, internal in task.outputs:
            if internal in (*CAPTURES, LOG):
                continue
            place = staging.local(internal)
            if not any(place in staging.local(inner).parents for _, inner in task.inputs):
                files.remove(str(place))
            (place if _wants_directory(key, internal) else place.parent).mkdir(parents=True, exist_ok=True)
        if task.stdout is not None:
            staging.local(task.stdout).parent.mkdir(parents=True, exist_ok=True)
        return staging

    def source(self, task: Task, key: str) -> str:
        """The path to read an input from; refuses a link that leads out of the store, unless the user put it there."""
        path = self.path(task.workflow, key)
        if key in task.external:
            return path
        real = os.path.realpath(path)
        if real != path and not _inside(real, self._tops(task.workflow)):
            raise StorageError(f"input {key!r} leads out of the store, to {real}: a Step made that link, so it isn't followed")
        return path

    def _copy_in(self, task: Task, key: str, target: str) -> None:
        try:
            files.copy(self.source(task, key), target, follow=key in task.external)
        except FileNotFoundError as error:
            raise StorageError(f"input {key!r} vanished from the store: {error.filename}") from error

    def prepare(
        self, task: Task, staging: Staging, pairs: Iterable[tuple[str, str]], captures: Mapping[str, Path]
    ) -> list[Output]:
        """Bring outputs into a state in which they can be published by renames alone.

        `pairs` of key and internal path say which; `captures` has the file for each special internal path (``>``,
        ``>>`` …). Raises `StorageError` for one that can't be stored. Call `missing` first.
        """
        wanted = [(key, internal, captures.get(internal) or staging.local(internal)) for key, internal in pairs]
        # The innermost first, and by copy where another output still needs the file.
        wanted.sort(key=lambda each: len(each[2].parts), reverse=True)
        outputs = []
        for index, (key, internal, place) in enumerate(wanted):
            shared = any(other == place or other in place.parents for _, _, other in wanted[index + 1 :])
            source = self._resolved(staging, internal, place)
            files.settle(str(source))
            target = self.path(task.workflow, key)
            self._check_target(task.workflow, key, target)
            aside = self._aside(task, index, target)
            if shared or source != place or internal in CAPTURES or not _one_file_system(str(source), aside):
                files.copy(str(source), aside, follow=False)
            else:
                source.rename(aside)
            fingerprint = files.fingerprint(aside, flush=True)
            if fingerprint is None:
                raise StorageError(f"output {key!r} vanished while it was stored")
            outputs.append(Output(key, aside, target, fingerprint))
        return outputs[::-1]

    def missing(self, task: Task, staging: Staging) -> list[str]:
        """What the program was to make and did not, as sentences."""
        problems = []
        for key, internal in task.outputs:
            if internal in (*CAPTURES, LOG):
                continue
            place = staging.local(internal)
            if not os.path.lexists(place):
                problems.append(f"output {key!r} was not made: there is nothing at {internal}")
            elif _wants_directory(key, internal) and not place.is_dir():
                problems.append(f"output {key!r} was not made: {internal} is no directory")
            elif not _wants_directory(key, internal) and place.is_dir() and not place.is_symlink():
                problems.append(
                    f"output {key!r} was not made: {internal} is a directory; end key and path with '/' to store one"
                )
        return problems

    def publish(self, outputs: Iterable[Output]) -> None:
        """Move prepared outputs into the store, each by one rename; what lay there is moved away."""
        for output in outputs:
            try:
                os.makedirs(os.path.dirname(output.target), mode=0o777, exist_ok=True)
                if output.fingerprint.quick.startswith("d:") or os.path.isdir(output.target):
                    with contextlib.suppress(FileNotFoundError):
                        os.rename(output.target, output.source + ".old")
                os.rename(output.source, output.target)
            except OSError as error:
                raise StorageError(f"output {output.key!r} can't be stored at {output.target}: {error.strerror}") from error

    def discard(self, task_id: str) -> None:
        """Remove what is left of a Task's private directory, and of its outputs beside mapped buckets."""
        files.remove(str(self._staging / task_id))
        for mapped in self._buckets.values():
            files.remove(f"{mapped}/{files.OWN}/{task_id}")

    def sweep(self) -> None:
        """Remove what dead Tasks left in the staging area."""
        for directory in (self._staging, *(Path(mapped) / files.OWN for mapped in self._buckets.values())):
            if directory.is_dir():
                for entry in directory.iterdir():
                    files.remove(str(entry))

    def delete(self, workflow: str, data: bool) -> None:
        """Remove a workflow's logs and, with `data`, its part of the store (never a mapped bucket)."""
        files.remove(str(self.root / "logs" / workflow))
        if data:
            files.remove(f"{self._store}/{workflow}")

    # -- inside -------------------------------------------------------------------------------------------------

    def _tops(self, workflow: str) -> tuple[str, ...]:
        return (f"{self._store}/{workflow}", *self._buckets.values())

    def _resolved(self, staging: Staging, internal: str, place: Path) -> Path:
        """What an output that is a link stands for, where that lies in the Task's own tree."""
        if not place.is_symlink():
            return place
        link = os.readlink(place)
        inner = staging.local(link) if link.startswith("/") else place.parent / link
        real = os.path.realpath(inner)
        if not _inside(real, (os.path.realpath(staging.tree),)) or not os.path.exists(real):
            raise StorageError(f"{internal} is a link to {link}, which leads out of the Task's outputs; make a file instead")
        return Path(real)

    def _check_target(self, workflow: str, key: str, target: str) -> None:
        parent = os.path.dirname(target)
        if not _inside(os.path.realpath(parent), self._tops(workflow)):
            raise StorageError(f"output {key!r} can't be stored: {parent} is a link that leads out of the store")

    def _aside(self, task: Task, index: int, target: str) -> str:
        """A new path on the target's file system."""
        for mapped in self._buckets.values():
            if _inside(target, (mapped,)):
                Path(mapped).mkdir(parents=True, exist_ok=True)
                if not _one_file_system(mapped, str(self._staging)):
                    area = Path(mapped) / files.OWN / task.id
                    area.mkdir(mode=0o700, parents=True, exist_ok=True)
                    return str(area / str(index))
        return str(self._staging / task.id / f"output-{index}")


def _normal(path: str) -> str:
    if "//" not in path and "./" not in path and not path.endswith(("/", "/.")):
        return path
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _wants_directory(key: str, internal: str) -> bool:
    return key.endswith("/") or internal.endswith("/")


def _inside(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top + "/") for top in tops)


def _one_file_system(one: str, other: str) -> bool:
    return os.lstat(one).st_dev == os.lstat(other if os.path.lexists(other) else os.path.dirname(other)).st_dev

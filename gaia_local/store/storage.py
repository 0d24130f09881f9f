"""The store: the paths of storage keys, and the publishing and removal of their files.

The layout under the root: ``storage/<workflow>/…`` the keys, ``staging/<task>/`` one Task's private
directory, ``logs/<workflow>/<task>.log`` one file an attempt, ``spare/`` emptied directories for
later Tasks, ``shells/`` those of people inside Steps (see `shells`). One Task's part of that is in
`task_files`.

Invariant: only `Storage.publish` writes into the store, and it only renames. Renamed files are
flushed later: see `flushing`. A worker on another machine flushes its outputs itself, since no
other process can.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from gaia_local.errors import StorageError
from gaia_local.model import paths
from gaia_local.model.assignment import Output
from gaia_local.model.keys import LOCAL_KEYS, names_directory, storage_key
from gaia_local.model.names import OWN
from gaia_local.model.tasks import Fingerprint, Task
from gaia_local.store import disk_sync, fingerprints, own_directories, removal
from gaia_local.store.deletion import delete_workflow, remove_deleted
from gaia_local.store.directories import make_directories, rename
from gaia_local.store.disk_errors import disk_error, disk_errors
from gaia_local.store.file_work import UNTOLD, FileWork
from gaia_local.store.root_identity import identify, identity_file, read_identity
from gaia_local.terminal_text import escaped


class Storage:
    """The files of all workflows under one root. Thread-safe."""

    def __init__(self, root: Path, buckets: Mapping[str, Path]) -> None:
        self.root = root
        self._buckets: dict[str, str] = {}
        self.map(buckets)
        self._store = str(root / "storage")
        self._logs = str(root / "logs")
        self.staging = root / "staging"
        """The directory with the private directories of Tasks."""
        self.spare = root / "spare"
        """The directory that keeps emptied ones while the engine runs."""

    def map(self, buckets: Mapping[str, Path]) -> None:
        """Serve these buckets from directories, and no others."""
        self._buckets = {name: str(path) for name, path in buckets.items()}

    def buckets(self, keys: Iterable[str]) -> dict[str, str | None]:
        """The buckets of keys, and the directories that serve them (None: those under the root)."""
        used = {
            key.partition(":")[0] for key in keys if ":" in key and not key.startswith(LOCAL_KEYS)
        }
        return {bucket: self._buckets.get(bucket) for bucket in used}

    def create(self, away: Collection[str] = ()) -> None:
        """Make the layout, for its owner only; directories of mapped buckets except those `away`.

        Raises `StorageError` if one of its places is taken by something else.
        """
        mapped = [Path(path) for name, path in self._buckets.items() if name not in away]
        for directory in (self.root, Path(self._store), *mapped):
            with disk_errors(f"directory {directory} can't be made"):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("staging", "logs", "spare"):
            place = f"{self.root}/{name}"
            if name != "spare" or os.path.lexists(place):
                with disk_errors(f"directory {place} can't be made"):
                    own_directories.own_directory(place)
        with disk_errors(f"root {self.root} can't be written"):
            self._own_name = f"{OWN}-{identify(self.root)}"
            for directory in {
                around for top in (Path(self._store), *mapped) for around in (top, *top.parents)
            }:
                disk_sync.flush_one(str(directory))

    @functools.cached_property
    def _own_name(self) -> str:
        """This root's directory in a mapped bucket, which other roots and users may map, too."""
        with disk_errors(f"the root's identity {identity_file(self.root)} can't be read"):
            return f"{OWN}-{read_identity(self.root)}"

    def area_path(self, bucket: str) -> str:
        """This root's directory in a mapped bucket, for outputs before they are published there."""
        return f"{bucket}/{self._own_name}"

    def area(self, bucket: str) -> str:
        """That directory, made. Raises `StorageError`."""
        with disk_errors(f"a private directory of the engine can't be made in {bucket}"):
            own_directories.own_directory(self.area_path(bucket))
        return self.area_path(bucket)

    def areas(self) -> list[str]:
        """Those that there are."""
        if not identity_file(self.root).exists():
            return []
        return list(filter(os.path.isdir, map(self.area_path, self.mapped())))

    def mapped(self) -> list[str]:
        """The directories that serve buckets."""
        return list(self._buckets.values())

    def tops(self) -> list[Path]:
        """The directories that hold all keys of all workflows."""
        return [Path(self._store), *map(Path, self._buckets.values())]

    def path(self, workflow: str, key: str) -> str:
        """The absolute path of a storage key, without a trailing slash: its identity."""
        parsed = storage_key(key)
        bucket, path = parsed.bucket, paths.normalized(parsed.path)
        if bucket is None:
            return f"{self._store}/{workflow}/{path}"
        mapped = self._buckets.get(bucket)
        if mapped is not None:
            return os.path.join(mapped, path)
        return f"{self._store}/{workflow}/{paths.normalized(bucket)}/{path}"

    def top(self, workflow: str, key: str) -> str:
        """The directory that a key lies in: its mapped bucket's, or that of the workflow's keys."""
        if self.is_mapped(key):
            return self._buckets[key.partition(":")[0]]
        return f"{self._store}/{workflow}"

    def is_mapped(self, key: str) -> bool:
        """Whether a key is in a mapped bucket, which workflows share."""
        return bool(self._buckets) and ":" in key and key.partition(":")[0] in self._buckets

    def place(self, path: str) -> str:
        """A path as it is recorded: relative to the store, which may be moved, or absolute."""
        return path.removeprefix(f"{self._store}/")

    def at(self, place: str) -> str:
        """The path of a `place`."""
        return os.path.join(self._store, place)

    def log(self, workflow: str, task: str) -> str:
        """The file that receives stdout and stderr of one attempt."""
        return f"{self._logs}/{workflow}/{task}.log"

    def private_directory(self, task_id: str) -> str:
        """The path of a Task's private directory."""
        return f"{self.staging}/{task_id}"

    def quick_fingerprint(
        self, key: str, path: str, follow: bool = False, work: FileWork = UNTOLD
    ) -> str | None:
        """The quick fingerprint of a key's file; None if absent, or no directory for a '/'.

        With `follow`, it is the user's: links in a directory stand for their targets, as in a copy
        of it.
        """
        quick = fingerprints.quick_fingerprint(path, follow, work)
        if names_directory(key) and quick is not None and not quick.startswith("d:"):
            return None
        return quick

    def exists(self, key: str, path: str) -> bool:
        """Whether there is such a file or directory: cheaper than `quick_fingerprint`."""
        return os.path.isdir(path) if names_directory(key) else os.path.exists(path)

    def fingerprint(
        self, key: str, path: str, follow: bool = False, work: FileWork = UNTOLD
    ) -> Fingerprint | None:
        """Both fingerprints of a key's file, which others may change meanwhile; None if absent."""
        return fingerprints.observed(path, follow, work) if self.exists(key, path) else None

    def source(self, task: Task, key: str) -> str:
        """The path to read an input from; refuses links out of the store but the user's own."""
        path = self.path(task.workflow, key)
        if key in task.external or not self._holds_link(task.workflow, path):
            return path
        real = os.path.realpath(path)
        if real != path and not paths.is_inside(real, *self._tops(task.workflow)):
            problem = f"input {key!r} leads out of the store, to {escaped(real)}"
            raise StorageError(f"{problem}: a Step made that link, so it isn't followed")
        return real

    def refuse_outside(self, workflow: str, key: str, target: str) -> None:
        """Raise if a link would lead an output out of the store."""
        if (problem := self._way_out(workflow, target)) is not None:
            raise StorageError(f"output {key!r} can't be stored: {problem}")

    def _way_out(self, workflow: str, target: str) -> str | None:
        """Words on a link that leads out of the store on the way to a file; None without one."""
        parent = paths.parent(target)
        if not self._holds_link(workflow, parent):
            return None
        real = os.path.realpath(parent)
        if real == parent or paths.is_inside(real, *self._tops(workflow)):
            return None
        return f"{parent} is a link that leads out of the store"

    def publish(self, outputs: Iterable[Output]) -> list[Output]:
        """Move prepared outputs into the store, each by one rename; old files are moved away.

        Returns them with their fingerprints in the store.
        """
        published: dict[str, Output] = {}
        for output in outputs:
            seen = output.fingerprint
            try:
                # An output in a directory output was moved with that.
                if not published or published.keys().isdisjoint(paths.folders(output.source)):
                    _move(output)
                    quick = fingerprints.renamed(seen.quick, output.target)
                    seen = Fingerprint(quick, seen.digest, seen.listing)
                published[output.source] = Output(output.key, output.source, output.target, seen)
            except OSError as error:
                what = f"output {output.key!r} can't be stored at {output.target}"
                raise disk_error(what, error) from error
        return list(published.values())

    def flush(self, workflow: str, keys: Iterable[str]) -> None:
        """Flush these keys' files and names to the disk. Raises `OSError` if it fails."""
        disk_sync.flush(
            (self.path(workflow, key) for key in keys), (self._store, *self._buckets.values())
        )

    def discard(self, task_id: str) -> None:
        """Remove a Task's private directory and its prepared outputs, if any are left."""
        removal.remove_or_warn(self.private_directory(task_id))
        self.discard_prepared(task_id)

    def discard_prepared(self, task_id: str) -> None:
        """Remove a Task's prepared outputs in mapped buckets, if any are left."""
        for bucket in self.mapped():
            removal.remove_or_warn(f"{self.area_path(bucket)}/{task_id}")

    def left_staging(self) -> list[Path]:
        """The private directories of Tasks."""
        return list(self.staging.iterdir()) if self.staging.is_dir() else []

    def sweep(self, spared: Collection[str] = ()) -> None:
        """Remove dead Tasks' files in staging, but `spared`, and rests of interrupted deletions."""
        self.close()
        for directory in (str(self.staging), *self.areas()):
            own_directories.own_directory(directory)
            for name in os.listdir(directory):
                if name not in spared:
                    removal.remove_or_warn(f"{directory}/{name}")
        for top in (self._store, self._logs):
            remove_deleted(Path(top))

    def close(self) -> None:
        """Remove the directories that are kept only while the engine runs."""
        removal.remove_or_warn(str(self.spare))

    def refuse_stuck(self, workflow: str, keys: Iterable[str]) -> None:
        """Raise `StorageError` for the first file of keys that can't be removed; removes none."""
        for key in keys:
            path = self.path(workflow, key)
            if self.is_mapped(key) or not os.path.lexists(path):
                continue
            if (problem := self._way_out(workflow, path)) is not None:
                raise StorageError(f"output {key!r} can't be removed: {problem}")
            try:
                removal.refuse_stuck(path)
            except OSError as error:
                raise disk_error(f"output {key!r} can't be removed", error) from error

    def set_aside(self, workflow: str, keys: Iterable[str]) -> Path:
        """Move the files of keys out of the store, into a directory that the caller removes.

        Nothing of a mapped bucket is moved, and no file that a link leads to outside of the store.
        Ask `refuse_stuck` first: one that can't be moved leaves those before it moved.
        """
        aside = self.staging / f"removed-{os.urandom(16).hex()}"
        aside.mkdir()
        for number, key in enumerate(keys):
            path = self.path(workflow, key)
            if self.is_mapped(key) or not os.path.lexists(path):
                continue
            self.refuse_outside(workflow, key, path)
            try:
                os.rename(path, aside / str(number))
                disk_sync.flush_one(os.path.dirname(path))
            except OSError as error:
                raise disk_error(f"{path} can't be removed", error) from error
        return aside

    def delete(self, workflow: str, data: bool) -> None:
        """Remove a workflow's logs and, with `data`, its part of the store, never a mapped bucket.

        Raises `StorageError`; see `deletion`.
        """
        tops = [self._store, self._logs] if data else [self._logs]
        delete_workflow(workflow, tops, self.root)

    # -- inside ------------------------------------------------------------------------------------

    def _tops(self, workflow: str) -> tuple[str, ...]:
        return (os.path.realpath(f"{self._store}/{workflow}"), *self._buckets.values())

    def _holds_link(self, workflow: str, path: str) -> bool:
        """Whether there may be a link at a path, or on the way to it from the top of the store."""
        for top in (f"{self._store}/{workflow}", *self._buckets.values()):
            if paths.is_inside(path, top):
                return path != top and any(map(os.path.islink, (path, *paths.folders(path, top))))
        return True


def _move(output: Output) -> None:
    try:
        os.rename(output.source, output.target)  # suffices for a file, and for a new directory
    except OSError:
        _replace(output)


def _replace(output: Output) -> None:
    """Move an output to a place whose directory is missing, or that is taken."""
    old = (
        output.source + ".old"
        if os.path.isdir(output.target) or os.path.isdir(output.source)
        else None
    )
    make_directories(os.path.dirname(output.target))
    try:
        if old is not None and os.path.lexists(output.target):
            rename(output.target, old)
        os.rename(output.source, output.target)
    except OSError:
        if old is not None and os.path.lexists(old) and not os.path.lexists(output.target):
            with contextlib.suppress(OSError):
                rename(old, output.target)
        raise

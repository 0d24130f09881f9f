"""The store: where a storage key lies on the disk, and how a Task's files get there and back.

The layout under the root: ``storage/<workflow>/…`` the keys, ``staging/<task>/`` one Task's private directory,
``logs/<workflow>/<task>.log`` one file an attempt.

Invariant: nothing but `Storage.publish` writes into the store, and it only renames what was flushed before.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gaia_local import files
from gaia_local.errors import DiskError, GaiaError, StorageError, told
from gaia_local.model import CAPTURES, LOG, Fingerprint, Task
from gaia_local.staging import Staging

logger = logging.getLogger("gaia_local")

_ADVICE = {
    errno.ENOSPC: "make room, then `run` goes on",
    errno.EDQUOT: "make room, then `run` goes on",
    errno.EROFS: "make the disk writable, then `run` goes on",
}


@dataclass(frozen=True)
class Output:
    """An output that is ready to be published: flushed, on the target's file system, fingerprinted."""

    key: str
    source: str
    target: str
    fingerprint: Fingerprint


@dataclass
class _Made:
    """An output on its way into the store."""

    key: str
    source: Path
    target: str
    kept: bool
    """It must stay where it is: it lies behind a link, or is read again."""
    aside: str = ""


class Storage:
    """The files of all workflows under one root. Thread-safe: it keeps nothing but the layout."""

    def __init__(self, root: Path, buckets: Mapping[str, Path]) -> None:
        self.root = root
        self._buckets = {name: str(path) for name, path in buckets.items()}
        self._store = str(root / "storage")
        self._staging = root / "staging"

    def create(self) -> None:
        """Make the layout, for the owner only."""
        for directory in (self.root, self._staging, self.root / "logs", *self.tops()):
            with _disk(f"directory {directory} can't be made"):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def tops(self) -> list[Path]:
        """The directories that hold all keys of all workflows."""
        return [Path(self._store), *map(Path, self._buckets.values())]

    def path(self, workflow: str, key: str) -> str:
        """The absolute path of a storage key, without a trailing slash: the identity of what the key names."""
        bucket, colon, rest = key.partition(":")
        if not colon:
            return f"{self._store}/{workflow}/{_normal(key)}"
        mapped = self._buckets.get(bucket)
        if mapped is not None:
            return os.path.join(mapped, _normal(rest))
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

    def staging(self, task: Task) -> Staging:
        """Where the Task's private directory is."""
        top = self._staging / task.id
        return Staging(top, top / "tree", top / "work", self.log(task.workflow, task.id))

    def stage(self, task: Task, copied: Collection[str]) -> Staging:
        """Make the Task's private directory: copies of the inputs whose keys are in `copied`, places for the outputs."""
        staging = self.staging(task)
        staging.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging.log.touch(mode=0o600)
        for directory in (staging.top, staging.tree, staging.work):
            directory.mkdir(mode=0o700)
        # Parents first, so that an input below another input's directory lands in that copy, and outputs in each other.
        inputs = sorted(((staging.local(internal), key) for key, internal in task.inputs), key=lambda each: len(each[0].parts))
        for target, key in inputs:
            if key in copied:
                staging.make_parent(target, f"input {key!r}")
                files.remove(str(target))
                self._copy_in(task, key, str(target))
        above_inputs = {parent for target, _ in inputs for parent in target.parents}
        made = [(staging.local(internal), key, internal) for key, internal in task.outputs if internal not in (*CAPTURES, LOG)]
        for place, key, internal in sorted(made, key=lambda each: len(each[0].parts)):
            staging.make_parent(place, f"output {key!r}")
            if place not in above_inputs:
                files.remove(str(place))
            if _wants_directory(key, internal):
                place.mkdir(exist_ok=True)
        if task.stdout is not None:
            place = staging.local(task.stdout)
            staging.make_parent(place, "stdout")
            if place.is_symlink():  # from a copied input: whoever opens it would follow it
                place.unlink()
        return staging

    def source(self, task: Task, key: str) -> str:
        """The path to read an input from; refuses a link that leads out of the store, unless the user put it there."""
        path = self.path(task.workflow, key)
        if key in task.external:
            return path
        real = os.path.realpath(path)
        if real != path and not _inside(real, self._tops(task.workflow)):
            raise StorageError(f"input {key!r} leads out of the store, to {real}: a Step made that link, so it isn't followed")
        return real

    def _copy_in(self, task: Task, key: str, target: str) -> None:
        try:
            with _disk(f"input {key!r} can't be copied to {target}", but=FileNotFoundError):
                files.copy(self.source(task, key), target, follow=key in task.external)
        except FileNotFoundError as error:
            raise StorageError(f"input {key!r} vanished from the store: {error.filename}") from error

    def prepare(
        self, task: Task, staging: Staging, pairs: Iterable[tuple[str, str]], captures: Mapping[str, Path]
    ) -> list[Output]:
        """Bring outputs into a state in which they can be published by renames alone.

        `pairs` of key and internal path say which; `captures` has the file for each special internal path (``>``,
        ``>>`` …). Raises `StorageError` for one that can't be stored, with all files still where they were; `DiskError`
        where that is the disk's fault. Call `missing` first.
        """
        made: list[_Made] = []
        for key, internal in pairs:
            captured = captures.get(internal)
            source, link = (captured, None) if captured is not None else staging.find(internal)
            target = self.path(task.workflow, key)
            self._check_target(task.workflow, key, target)
            with _disk(f"output {key!r} can't be stored"):
                files.settle(str(source))
                files.enclose(str(source), f"output {key!r}", staging.follow)
            made.append(_Made(key, source, target, kept=internal in CAPTURES or link is not None))
        # The innermost first, and by copy where another output still needs the file.
        made.sort(key=lambda each: (len(each.source.parts), each.kept), reverse=True)
        needed = Counter(each.source for each in made)
        for index, each in enumerate(made):
            needed[each.source] -= 1
            each.aside = self._aside(task, index, each.target)
            shared = any(needed[place] for place in (each.source, *each.source.parents))
            with _disk(f"output {each.key!r} can't be stored at {each.target}"):
                if each.kept or shared or not _one_file_system(str(each.source), each.aside):
                    files.copy(str(each.source), each.aside, follow=False)
                else:
                    each.source.rename(each.aside)
        made.sort(key=lambda each: each.target.count("/"))
        with _disk("the outputs can't be stored in each other"):
            _nest(made)
        return [Output(each.key, each.aside, each.target, _flushed(each.key, each.aside)) for each in made]

    def missing(self, task: Task, staging: Staging) -> list[str]:
        """What the program was to make and did not, as sentences."""
        problems = []
        for key, internal in task.outputs:
            if internal in (*CAPTURES, LOG):
                continue
            place, link = staging.find(internal)
            if not os.path.lexists(place):
                there = "nothing" if link is None else f"a link to {link}, where the Task made nothing,"
                problems.append(f"output {key!r} was not made: there is {there} at {internal}")
            elif _wants_directory(key, internal) and not place.is_dir():
                problems.append(f"output {key!r} was not made: {internal} is no directory")
            elif not _wants_directory(key, internal) and place.is_dir():
                problems.append(
                    f"output {key!r} was not made: {internal} is a directory; end key and path with '/' to store one"
                )
        return problems

    def publish(self, outputs: Iterable[Output]) -> None:
        """Move prepared outputs into the store, each by one rename; what lay there is moved away."""
        for output in outputs:
            old = output.source + ".old" if os.path.isdir(output.target) or os.path.isdir(output.source) else None
            try:
                os.makedirs(os.path.dirname(output.target), mode=0o777, exist_ok=True)
                if old is not None and os.path.lexists(output.target):
                    os.rename(output.target, old)
                os.rename(output.source, output.target)
            except OSError as error:
                if old is not None and os.path.lexists(old) and not os.path.lexists(output.target):
                    with contextlib.suppress(OSError):
                        os.rename(old, output.target)
                raise _disk_error(f"output {output.key!r} can't be stored at {output.target}", error) from error

    def discard(self, task_id: str) -> None:
        """Remove what is left of a Task's private directory, and of its outputs beside mapped buckets."""
        _clear(str(self._staging / task_id))
        for mapped in self._buckets.values():
            _clear(f"{mapped}/{files.OWN}/{task_id}")

    def left_staging(self) -> list[Path]:
        """The private directories of Tasks."""
        return list(self._staging.iterdir()) if self._staging.is_dir() else []

    def sweep(self, spared: Collection[str] = ()) -> None:
        """Remove what dead Tasks left in the staging area, except what the Tasks in `spared` left."""
        for directory in (self._staging, *(Path(mapped) / files.OWN for mapped in self._buckets.values())):
            if directory.is_dir():
                for entry in directory.iterdir():
                    if entry.name in spared:
                        continue
                    _clear(str(entry))

    def delete(self, workflow: str, data: bool) -> None:
        """Remove a workflow's logs and, with `data`, its part of the store (never a mapped bucket)."""
        files.remove(str(self.root / "logs" / workflow))
        if data:
            files.remove(f"{self._store}/{workflow}")

    # -- inside -------------------------------------------------------------------------------------------------

    def _tops(self, workflow: str) -> tuple[str, ...]:
        return (os.path.realpath(f"{self._store}/{workflow}"), *self._buckets.values())

    def _check_target(self, workflow: str, key: str, target: str) -> None:
        parent = os.path.dirname(target)
        real = os.path.realpath(parent)
        if real != parent and not _inside(real, self._tops(workflow)):
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


def _nest(made: list[_Made]) -> None:
    """Outputs whose keys lie below another's, as a log in a directory output, become part of that one too."""
    directories = {each.target: each for each in made if os.path.isdir(each.aside)}
    for each in made:
        parent = os.path.dirname(each.target)
        while len(parent) > 1:
            outer = directories.get(parent)
            relative = each.target[len(parent) + 1 :]
            if outer is not None and each.source != outer.source / relative:
                place = f"{outer.aside}/{relative}"
                if not _inside(os.path.realpath(os.path.dirname(place)), (os.path.realpath(outer.aside),)):
                    raise StorageError(f"output {each.key!r} can't be stored: output {outer.key!r} has a link in its way")
                Path(place).parent.mkdir(parents=True, exist_ok=True)
                files.remove(place)
                files.copy(each.aside, place, follow=False)
            parent = os.path.dirname(parent)


def _flushed(key: str, aside: str) -> Fingerprint:
    with _disk(f"output {key!r} can't be stored"):
        fingerprint = files.fingerprint(aside, flush=True)
    if fingerprint is None:
        raise StorageError(f"output {key!r} vanished while it was stored")
    return fingerprint


@contextlib.contextmanager
def _disk(what: str, but: type[OSError] = GaiaError) -> Iterator[None]:
    """An error of the disk, `but` one kind, says what could not be done, and what to do."""
    try:
        yield
    except (GaiaError, but):
        raise
    except OSError as error:
        raise _disk_error(what, error) from error


def _disk_error(what: str, error: OSError) -> DiskError:
    advice = _ADVICE.get(error.errno or 0)
    return DiskError(f"{what}: {told(error) if error.strerror is None else error.strerror}" + (f"; {advice}" if advice else ""))


def _clear(path: str) -> None:
    try:
        files.remove(path)
    except OSError as error:  # as when a container left files of another user: they harm nobody
        logger.warning("%s can't be removed: %s", path, error)


def _wants_directory(key: str, internal: str) -> bool:
    return key.endswith("/") or internal.endswith("/")


def _inside(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in tops)


def _one_file_system(one: str, other: str) -> bool:
    return os.lstat(one).st_dev == os.lstat(other if os.path.lexists(other) else os.path.dirname(other)).st_dev

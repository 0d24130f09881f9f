"""The store: where a storage key lies on the disk, and how a Task's files get there and back.

The layout under the root: ``storage/<workflow>/…`` the keys, ``staging/<task>/`` one Task's private directory,
``logs/<workflow>/<task>.log`` one file an attempt, ``spare/`` emptied directories for later Tasks.

On a machine that only shares the root, private directories are in a `scratch` directory of its own. There, ``staging/``
holds what the engine's machine is to get of a Task, in directories that the engine makes (see `leases`).

Invariant: nothing but `Storage.publish` writes into the store, and it only renames. What was renamed is flushed behind
it: see `flushing`. A worker on another machine flushes what it made itself, since nobody else can.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gaia_local import files, paths
from gaia_local.assignment import Output
from gaia_local.errors import DiskError, StorageError, told
from gaia_local.given import NOTHING
from gaia_local.keys import (
    Capture,
    InternalPath,
    made_files,
    names_directory,
    output_place,
    storage_key,
)
from gaia_local.model import Fingerprint, Task
from gaia_local.staging import Staging, StagingArea

logger = logging.getLogger("gaia_local")

LEASE_LOG = "log"
"""The file in a lease that receives what the program prints."""

_ADVICE = {
    errno.ENOSPC: "make room, then `run` goes on",
    errno.EDQUOT: "make room, then `run` goes on",
    errno.EROFS: "make the disk writable, then `run` goes on",
}


@dataclass
class _Made:
    """An output on its way into the store."""

    key: str
    source: str
    target: str
    status: os.stat_result
    kept: bool
    """It must stay where it is: it lies behind a link, or is read again."""
    aside: str = ""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


class Storage:
    """The files of all workflows under one root. Thread-safe."""

    def __init__(self, root: Path, buckets: Mapping[str, Path], scratch: Path | None = None) -> None:
        """With `scratch`, this is not the engine's machine: nothing is published, and nobody's lease is made or removed."""
        self.root = root
        self._buckets = {name: str(path) for name, path in buckets.items()}
        self._store = str(root / "storage")
        self._staging = root / "staging"
        self._away = scratch is not None
        self._private = self._staging if scratch is None else scratch / "staging"
        self._area = StagingArea(self._private, (root if scratch is None else scratch) / "spare")

    def create(self) -> None:
        """Make the layout, for the owner only."""
        for directory in (self.root, self._staging, self.root / "logs", *self.tops()):
            with _disk(f"directory {directory} can't be made"):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _disk(f"root {self.root} can't be flushed"):
            for directory in {around for top in self.tops() for around in (top, *top.parents)}:
                files.flush_one(str(directory))

    def tops(self) -> list[Path]:
        """The directories that hold all keys of all workflows."""
        return [Path(self._store), *map(Path, self._buckets.values())]

    def path(self, workflow: str, key: str) -> str:
        """The absolute path of a storage key, without a trailing slash: the identity of what the key names."""
        parsed = storage_key(key)
        bucket, path = parsed.bucket, paths.plain(parsed.path)
        if bucket is None:
            return f"{self._store}/{workflow}/{path}"
        mapped = self._buckets.get(bucket)
        if mapped is not None:
            return os.path.join(mapped, path)
        return f"{self._store}/{workflow}/{paths.plain(bucket)}/{path}"

    def log(self, workflow: str, task: str) -> Path:
        """The file that receives stdout and stderr of one attempt."""
        return Path(self._log(workflow, task))

    def look(self, key: str, path: str, follow: bool = False) -> str | None:
        """The quick fingerprint of a key's file; None where it isn't there (a key with a '/' at its end: no directory).

        With `follow`, it is the user's: links in a directory stand for what they lead to, as where it is copied.
        """
        quick = files.look(path, follow)
        if quick is not None and not quick.startswith("d:") and names_directory(key):
            return None
        return quick

    def exists(self, key: str, path: str) -> bool:
        """Whether something lies there: `look` without its price."""
        return os.path.isdir(path) if names_directory(key) else os.path.exists(path)

    def fingerprint(self, key: str, path: str, follow: bool = False) -> Fingerprint | None:
        """Both fingerprints of a key's file, which others may change meanwhile; None where it isn't there."""
        return files.observed(path, follow) if self.exists(key, path) else None

    # -- one Task's way through: stage, (run), prepare, publish, discard ------------------------------------------

    def staging(self, task: Task) -> Staging:
        """Where the Task's private directory is."""
        log = f"{self._staging}/{task.id}/{LEASE_LOG}" if self._away else self._log(task.workflow, task.id)
        return Staging(f"{self._private}/{task.id}", log)

    def stage(self, task: Task, copied: Collection[str], known: Mapping[str, Fingerprint] = NOTHING) -> Staging:
        """Make the Task's private directory: copies of the inputs whose keys are in `copied`, places for the outputs.

        `known` says what was last seen of inputs. What was copied now is told in `Staging.read`.
        """
        staging = self.staging(task)
        logs = os.path.dirname(staging.log_path)
        if not self._away and not os.path.isdir(logs):
            os.makedirs(logs, mode=0o700, exist_ok=True)
        root = staging.root
        # Parents first, so that an input below another input's directory lands in that copy, and outputs in each other.
        inputs = [(staging.local(internal), key) for key, internal in task.inputs]
        inputs.sort(key=lambda each: paths.depth(each[0]))
        made = [(staging.local(place.text), key, place) for key, place in made_files(task.outputs)]
        made.sort(key=lambda each: paths.depth(each[0]))
        places = [*(target for target, key in inputs if key in copied), *(place for place, _, _ in made)]
        if task.stdout is not None:
            places.append(staging.local(task.stdout))
        around = {folder for place in places for folder in paths.folders(place, root)}
        folders = {folder[len(root) + 1 :] for folder in around}
        self._area.make(staging, tuple(sorted(folders)))
        copies: set[str] = set()

        def make_way(place: str, what: str) -> bool:
            """True where copies lie around the place, or in it, so that it may be no folder of ours."""
            if copies.isdisjoint((place, *paths.folders(place, root))):
                return False
            staging.make_parent(place, what)
            return True

        for target, key in inputs:
            if key in copied:
                if make_way(target, f"input {key!r}") or target[len(root) + 1 :] in folders:
                    files.remove(target)
                staging.read[key] = self._copy_in(task, key, target, known.get(key))
                copies.add(target)
        above_inputs = {parent for target, _ in inputs for parent in paths.folders(target, root)}
        for place, key, internal in made:
            if make_way(place, f"output {key!r}") and place not in above_inputs:
                files.remove(place)
            if _wants_directory(key, internal):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(place)
        if task.stdout is not None:
            place = staging.local(task.stdout)
            if make_way(place, "stdout") and os.path.islink(place):  # whoever opens it would follow it
                os.unlink(place)
        return staging

    def source(self, task: Task, key: str) -> str:
        """The path to read an input from; refuses a link that leads out of the store, unless the user put it there."""
        path = self.path(task.workflow, key)
        if key in task.external or not self._holds_link(task.workflow, path):
            return path
        real = os.path.realpath(path)
        if real != path and not paths.is_inside(real, *self._tops(task.workflow)):
            raise StorageError(f"input {key!r} leads out of the store, to {real}: a Step made that link, so it isn't followed")
        return real

    def _copy_in(self, task: Task, key: str, target: str, known: Fingerprint | None) -> Fingerprint:
        try:
            with _disk(f"input {key!r} can't be copied to {target}", but=FileNotFoundError):
                return files.copy_observed(self.source(task, key), target, key in task.external, known)
        except FileNotFoundError as error:
            raise StorageError(f"input {key!r} vanished from the store: {error.filename}") from error

    def prepare(
        self,
        task: Task,
        staging: Staging,
        pairs: Iterable[tuple[str, str]],
        captures: Mapping[Capture, Path],
    ) -> list[Output]:
        """Bring outputs into a state in which they can be published by renames alone.

        `pairs` of key and internal path say which; `captures` has the file for each capture among
        them. Raises `StorageError` for one that can't be stored, with all files still where they
        were; `DiskError` where that is the disk's fault. Call `missing` first.
        """
        made: list[_Made] = []
        for key, internal in pairs:
            place, link = output_place(internal), None
            if isinstance(place, Capture):
                source, kept = str(captures[place]), place is Capture.PRINTED
            else:
                source, link = staging.find(internal)
                kept = link is not None
            target = self.path(task.workflow, key)
            self._check_target(task.workflow, key, target)
            with _disk(f"output {key!r} can't be stored"):
                each = _Made(key, source, target, files.settle(source), kept)
                if each.is_directory:
                    files.enclose(source, f"output {key!r}", staging.follow)
            made.append(each)
        # The innermost first, and by copy where another output still needs the file.
        made.sort(key=lambda each: (paths.depth(each.source), each.kept), reverse=True)
        needed = Counter(each.source for each in made)
        nested = any(each.is_directory for each in made)  # else each can stay where it is until it is published
        for index, each in enumerate(made):
            needed[each.source] -= 1
            aside, device = self._aside(task, index, each.target)
            ways = (each.source, *paths.folders(each.source, staging.root))
            shared = any(needed[place] for place in ways)
            with _disk(f"output {each.key!r} can't be stored at {each.target}"):
                if each.kept or shared or each.status.st_dev != device:
                    files.copy(each.source, aside, follow=False)
                    each.aside = aside
                elif nested or self._away:
                    os.rename(each.source, aside)
                    each.aside = aside
                else:
                    each.aside = each.source
        if nested:
            made.sort(key=lambda each: paths.depth(each.target))
            with _disk("the outputs can't be stored in each other"):
                _nest(made)
        return [Output(each.key, each.aside, each.target, _fingerprint(each, self._away)) for each in made]

    def missing(self, task: Task, staging: Staging) -> list[str]:
        """What the program was to make and did not, as sentences."""
        problems = []
        for key, internal in made_files(task.outputs):
            place, link = staging.find(internal.text)
            mode = _mode(place)
            if not mode:
                there = "nothing" if link is None else f"a link to {link}, where the Task made nothing,"
                problems.append(f"output {key!r} was not made: there is {there} at {internal}")
            elif _wants_directory(key, internal) and not stat.S_ISDIR(mode):
                problems.append(f"output {key!r} was not made: {internal} is no directory")
            elif not _wants_directory(key, internal) and stat.S_ISDIR(mode):
                problems.append(
                    f"output {key!r} was not made: {internal} is a directory; end key and path with '/' to store one"
                )
        return problems

    def publish(self, outputs: Iterable[Output]) -> list[Output]:
        """Move prepared outputs into the store, each by one rename; what lay there is moved away.

        Answers them with the fingerprints that they have there.
        """
        published: dict[str, Output] = {}
        for output in outputs:
            seen = output.fingerprint
            try:
                if published.keys().isdisjoint(paths.folders(output.source)):  # else it went with that directory
                    try:
                        os.rename(output.source, output.target)  # which suffices for a file, and for what is new
                    except OSError:
                        _replace(output)
                    seen = Fingerprint(files.renamed(seen.quick, output.target), seen.digest, seen.listing)
                published[output.source] = replace(output, fingerprint=seen)
            except OSError as error:
                raise _disk_error(f"output {output.key!r} can't be stored at {output.target}", error) from error
        return list(published.values())

    def flush(self, workflow: str, keys: Iterable[str]) -> None:
        """Have what lies at these keys on the disk, and the names of it. Raises `OSError` where the disk fails."""
        files.flush((self.path(workflow, key) for key in keys), (self._store, *self._buckets.values()))

    def discard(self, task_id: str) -> None:
        """Remove what is left of a Task's private directory, and of its outputs beside mapped buckets."""
        _clear(f"{self._private}/{task_id}", lambda: self._area.remove(task_id))
        for mapped in () if self._away else self._buckets.values():
            _clear(f"{mapped}/{files.OWN}/{task_id}")

    def left_staging(self) -> list[Path]:
        """The private directories of Tasks."""
        return list(self._staging.iterdir()) if self._staging.is_dir() else []

    def sweep(self, spared: Collection[str] = ()) -> None:
        """Remove what dead Tasks left in the staging area, except what the Tasks in `spared` left."""
        self.close()
        for directory in (self._staging, *(Path(mapped) / files.OWN for mapped in self._buckets.values())):
            if directory.is_dir():
                for entry in directory.iterdir():
                    if entry.name in spared:
                        continue
                    _clear(str(entry))

    def close(self) -> None:
        """Remove what serves only while the engine runs."""
        _clear(f"{self.root}/spare", self._area.close)

    def delete(self, workflow: str, data: bool) -> None:
        """Remove a workflow's logs and, with `data`, its part of the store (never a mapped bucket)."""
        files.remove(str(self.root / "logs" / workflow))
        if data:
            files.remove(f"{self._store}/{workflow}")
            files.flush_one(self._store)

    # -- inside -------------------------------------------------------------------------------------------------

    def _log(self, workflow: str, task: str) -> str:
        return f"{self.root}/logs/{workflow}/{task}.log"

    def _tops(self, workflow: str) -> tuple[str, ...]:
        return (os.path.realpath(f"{self._store}/{workflow}"), *self._buckets.values())

    def _check_target(self, workflow: str, key: str, target: str) -> None:
        parent = os.path.dirname(target)
        if not self._holds_link(workflow, parent):
            return
        real = os.path.realpath(parent)
        if real != parent and not paths.is_inside(real, *self._tops(workflow)):
            raise StorageError(f"output {key!r} can't be stored: {parent} is a link that leads out of the store")

    def _holds_link(self, workflow: str, path: str) -> bool:
        """Whether a link may be on the way from the top of the store to a path in it, or be what lies there."""
        for top in (f"{self._store}/{workflow}", *self._buckets.values()):
            if paths.is_inside(path, top):
                return path != top and any(map(os.path.islink, (path, *paths.folders(path, top))))
        return True

    def _aside(self, task: Task, index: int, target: str) -> tuple[str, int]:
        """A new path on the target's file system, and the device of that."""
        staging = f"{self._staging}/{task.id}"
        device = os.stat(staging).st_dev
        for mapped in self._buckets.values():
            if paths.is_inside(target, mapped):
                area = f"{mapped}/{files.OWN}/{task.id}"
                if self._away:
                    return f"{area}/{index}", os.stat(area).st_dev
                os.makedirs(mapped, exist_ok=True)
                other = os.stat(mapped).st_dev
                if other != device:
                    os.makedirs(area, mode=0o700, exist_ok=True)
                    return f"{area}/{index}", other
        return f"{staging}/output-{index}", device


def _replace(output: Output) -> None:
    """Move an output to where a directory is missing, or something else lies."""
    old = output.source + ".old" if os.path.isdir(output.target) or os.path.isdir(output.source) else None
    os.makedirs(os.path.dirname(output.target), mode=0o777, exist_ok=True)
    try:
        if old is not None and os.path.lexists(output.target):
            os.rename(output.target, old)
        os.rename(output.source, output.target)
    except OSError:
        if old is not None and os.path.lexists(old) and not os.path.lexists(output.target):
            with contextlib.suppress(OSError):
                os.rename(old, output.target)
        raise


def _mode(place: str) -> int:
    """The mode of what lies there; 0 where nothing does, or can: its name is too long, its directory is closed to us."""
    try:
        return os.lstat(place).st_mode
    except OSError:
        return 0


def _nest(made: list[_Made]) -> None:
    """Outputs whose keys lie below another's, as a log in a directory output, become part of that one too."""
    directories = {each.target: each for each in made if os.path.isdir(each.aside)}
    for each in made:
        for parent in paths.folders(each.target):
            outer = directories.get(parent)
            relative = each.target[len(parent) + 1 :]
            if outer is None:
                continue
            place = f"{outer.aside}/{relative}"
            if each.source != f"{outer.source}/{relative}":
                way, top = os.path.realpath(os.path.dirname(place)), os.path.realpath(outer.aside)
                if not paths.is_inside(way, top):
                    raise StorageError(f"output {each.key!r} can't be stored: output {outer.key!r} has a link in its way")
                Path(place).parent.mkdir(parents=True, exist_ok=True)
                files.remove(place)
                files.copy(each.aside, place, follow=False)
            each.aside = place


def _fingerprint(made: _Made, flush: bool) -> Fingerprint:
    # A file that stays where it is was looked at just now.
    status = made.status if made.aside == made.source and stat.S_ISREG(made.status.st_mode) else None
    with _disk(f"output {made.key!r} can't be stored"):
        fingerprint = files.fingerprint(made.aside, flush, status)
    if fingerprint is None:
        raise StorageError(f"output {made.key!r} vanished while it was stored")
    return fingerprint


@contextlib.contextmanager
def _disk(what: str, but: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """An error of the disk, `but` one kind, says what could not be done, and what to do."""
    try:
        yield
    except but:
        raise
    except OSError as error:
        raise _disk_error(what, error) from error


def _disk_error(what: str, error: OSError) -> DiskError:
    advice = _ADVICE.get(error.errno or 0)
    return DiskError(f"{what}: {told(error) if error.strerror is None else error.strerror}" + (f"; {advice}" if advice else ""))


def _clear(path: str, remove: Callable[[], None] | None = None) -> None:
    try:
        files.remove(path) if remove is None else remove()
    except OSError as error:  # as when a container left files of another user: they harm nobody
        logger.warning("%s can't be removed: %s", path, error)


def _wants_directory(key: str, internal: InternalPath) -> bool:
    return storage_key(key).is_directory or internal.is_directory

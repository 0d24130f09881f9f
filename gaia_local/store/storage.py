"""The store: where a storage key lies on the disk, and how a Task's files get there and back.

The layout under the root: ``storage/<workflow>/…`` the keys, ``staging/<task>/`` one Task's private
directory, ``logs/<workflow>/<task>.log`` one file an attempt, ``spare/`` emptied directories for
later Tasks.

On a machine that only shares the root, private directories are in a `scratch` directory of its own.
There, ``staging/`` holds what the engine's machine is to get of a Task, in directories that the
engine makes (see `leases`).

Invariant: nothing but `Storage.publish` writes into the store, and it only renames. What was
renamed is flushed behind it: see `flushing`. A worker on another machine flushes what it made
itself, since nobody else can.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import logging
import os
import stat
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gaia_local.errors import DiskError, StorageError, error_text
from gaia_local.model import paths
from gaia_local.model.assignment import Output
from gaia_local.model.keys import (
    LOCAL_KEYS,
    Capture,
    InternalPath,
    made_files,
    names_directory,
    output_place,
    storage_key,
)
from gaia_local.model.tasks import Fingerprint, Task
from gaia_local.model.validation import NOTHING
from gaia_local.store import files
from gaia_local.store.staging import Staging, StagingArea

logger = logging.getLogger("gaia_local")

_DELETED = f"{files.OWN}-deleted-"
"""How the names of directories of workflows begin that are being deleted."""
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

    def __init__(
        self, root: Path, buckets: Mapping[str, Path], scratch: Path | None = None
    ) -> None:
        """With `scratch`, this is not the engine's machine: nothing is published, and nobody's
        lease is made or removed.
        """
        self.root = root
        self._buckets: dict[str, str] = {}
        self.map(buckets)
        self._store = str(root / "storage")
        self._staging = root / "staging"
        self._away = scratch is not None
        self._private = self._staging if scratch is None else scratch / "staging"
        self._area = StagingArea(self._private, (root if scratch is None else scratch) / "spare")

    def map(self, buckets: Mapping[str, Path]) -> None:
        """Serve these buckets from directories, and no others."""
        self._buckets = {name: str(path) for name, path in buckets.items()}

    def buckets(self, keys: Iterable[str]) -> dict[str, str | None]:
        """The buckets of keys, and the directories that serve them (None: they lie under the root)."""
        used = {
            key.partition(":")[0] for key in keys if ":" in key and not key.startswith(LOCAL_KEYS)
        }
        return {bucket: self._buckets.get(bucket) for bucket in used}

    def create(self, away: Collection[str] = ()) -> None:
        """Make the layout, for the owner only, with the directories of mapped buckets but for those
        that may be `away`.

        Raises `StorageError` where something else lies in one of its places.
        """
        mapped = [Path(path) for name, path in self._buckets.items() if name not in away]
        for directory in (self.root, Path(self._store), *mapped):
            with _disk(f"directory {directory} can't be made"):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("staging", "logs", "spare"):
            place = f"{self.root}/{name}"
            if name != "spare" or os.path.lexists(place):
                with _disk(f"directory {place} can't be made"):
                    files.own_directory(place)
        with _disk(f"root {self.root} can't be written"):
            self._own_name = f"{files.OWN}-{self._identify()}"
            for directory in {
                around for top in (Path(self._store), *mapped) for around in (top, *top.parents)
            }:
                files.flush_one(str(directory))

    def _identify(self) -> str:
        """The root's identity, made where it has none; a copy of another root gets one of its own."""
        path, inode = self.root / "id", os.stat(self.root).st_ino
        with contextlib.suppress(FileNotFoundError, ValueError):
            known, where = path.read_text().split()
            if int(where) == inode:
                return known
        identity = uuid.uuid4().hex
        descriptor, new = tempfile.mkstemp(
            prefix="id.", dir=self.root
        )  # a file of its own, for this user alone
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{identity} {inode}\n")
            file.flush()
            files.fsync(descriptor)
        os.rename(new, path)
        return identity

    @functools.cached_property
    def _own_name(self) -> str:
        """What the directory of this root in a mapped bucket is called: other roots, also of other
        users, may map it, too.
        """
        with _disk(f"the root's identity {self.root / 'id'} can't be read"):
            return f"{files.OWN}-{(self.root / 'id').read_text().split()[0]}"

    def area(self, bucket: str) -> str:
        """The directory of this root in a mapped bucket, for what is on its way into that. Raises
        `StorageError`.
        """
        with _disk(f"a private directory of the engine can't be made in {bucket}"):
            files.own_directory(f"{bucket}/{self._own_name}")
        return f"{bucket}/{self._own_name}"

    def areas(self) -> list[str]:
        """Those that there are."""
        if not (self.root / "id").exists():
            return []
        return [
            area
            for bucket in self._buckets.values()
            if os.path.isdir(area := f"{bucket}/{self._own_name}")
        ]

    def tops(self) -> list[Path]:
        """The directories that hold all keys of all workflows."""
        return [Path(self._store), *map(Path, self._buckets.values())]

    def path(self, workflow: str, key: str) -> str:
        """The absolute path of a storage key, without a trailing slash: the identity of what the
        key names.
        """
        parsed = storage_key(key)
        bucket, path = parsed.bucket, paths.plain(parsed.path)
        if bucket is None:
            return f"{self._store}/{workflow}/{path}"
        mapped = self._buckets.get(bucket)
        if mapped is not None:
            return os.path.join(mapped, path)
        return f"{self._store}/{workflow}/{paths.plain(bucket)}/{path}"

    def is_mapped(self, key: str) -> bool:
        """Whether a key lies in a mapped bucket, which workflows share."""
        return bool(self._buckets) and ":" in key and key.partition(":")[0] in self._buckets

    def place(self, path: str) -> str:
        """Where a path lies, as it is remembered: relative to the store, which may be moved with
        its root, or absolute.
        """
        return path.removeprefix(f"{self._store}/")

    def at(self, place: str) -> str:
        """The path of a `place`."""
        return os.path.join(self._store, place)

    def log(self, workflow: str, task: str) -> Path:
        """The file that receives stdout and stderr of one attempt."""
        return Path(self._log(workflow, task))

    def look(self, key: str, path: str, follow: bool = False) -> str | None:
        """The quick fingerprint of a key's file; None where it isn't there (a key with a '/' at its
        end: no directory).

        With `follow`, it is the user's: links in a directory stand for what they lead to, as where
        it is copied.
        """
        quick = files.look(path, follow)
        if names_directory(key) and quick is not None and not quick.startswith("d:"):
            return None
        return quick

    def exists(self, key: str, path: str) -> bool:
        """Whether something lies there: `look` without its price."""
        return os.path.isdir(path) if names_directory(key) else os.path.exists(path)

    def fingerprint(self, key: str, path: str, follow: bool = False) -> Fingerprint | None:
        """Both fingerprints of a key's file, which others may change meanwhile; None where it isn't
        there.
        """
        return files.observed(path, follow) if self.exists(key, path) else None

    # -- one Task's way through: stage, (run), prepare, publish, discard ---------------------------

    def staging(self, task: Task) -> Staging:
        """Where the Task's private directory is."""
        log = (
            f"{self._staging}/{task.id}/{LEASE_LOG}"
            if self._away
            else self._log(task.workflow, task.id)
        )
        return Staging(f"{self._private}/{task.id}", log)

    def stage(
        self, task: Task, copied: Collection[str], known: Mapping[str, Fingerprint] = NOTHING
    ) -> Staging:
        """Make the Task's private directory: copies of the inputs whose keys are in `copied`,
        places for the outputs.

        `known` says what was last seen of inputs. What was copied now is told in `Staging.read`.
        """
        staging = self.staging(task)
        logs = os.path.dirname(staging.log_path)
        if not self._away and not os.path.isdir(logs):
            os.makedirs(logs, mode=0o700, exist_ok=True)
        root = staging.root
        # Parents first, so that an input below another input's directory lands in that copy, and
        # outputs in each other.
        inputs = [(staging.local(internal), key) for key, internal in task.inputs]
        inputs.sort(key=lambda each: paths.depth(each[0]))
        made = [(staging.local(place.text), key, place) for key, place in made_files(task.outputs)]
        made.sort(key=lambda each: paths.depth(each[0]))
        places = [
            *(target for target, key in inputs if key in copied),
            *(place for place, _, _ in made),
        ]
        if task.stdout is not None:
            places.append(staging.local(task.stdout))
        around = {folder for place in places for folder in paths.folders(place, root)}
        folders = {folder[len(root) + 1 :] for folder in around}
        self._area.make(staging, tuple(sorted(folders)))
        copies: set[str] = set()

        def make_way(place: str, what: str) -> bool:
            """True where copies lie around the place, or in it, so that it may be no folder of
            ours.
            """
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
            if make_way(place, "stdout") and os.path.islink(
                place
            ):  # whoever opens it would follow it
                os.unlink(place)
        return staging

    def source(self, task: Task, key: str) -> str:
        """The path to read an input from; refuses a link that leads out of the store, unless the
        user put it there.
        """
        path = self.path(task.workflow, key)
        if key in task.external or not self._holds_link(task.workflow, path):
            return path
        real = os.path.realpath(path)
        if real != path and not paths.is_inside(real, *self._tops(task.workflow)):
            raise StorageError(
                f"input {key!r} leads out of the store, to {real}: a Step made that link, so it isn't followed"
            )
        return real

    def _copy_in(self, task: Task, key: str, target: str, known: Fingerprint | None) -> Fingerprint:
        with self._copying(key, target):
            return files.copy_observed(self.source(task, key), target, key in task.external, known)

    @contextlib.contextmanager
    def _copying(self, key: str, target: str) -> Iterator[None]:
        try:
            with _disk(f"input {key!r} can't be copied to {target}", but=FileNotFoundError):
                yield
        except FileNotFoundError as error:
            raise StorageError(
                f"input {key!r} vanished from the store: {error.filename}"
            ) from error

    def bring_linked(self, task: Task, staging: Staging, mounted: Collection[str]) -> None:
        """Copy what outputs are links into, of the inputs at the paths in `mounted`: then all is as
        with copies only.
        """
        waiting = {
            staging.local(internal): key for key, internal in task.inputs if internal in mounted
        }

        def bring(*tops: str) -> None:
            for place in sorted(
                (place for place in waiting if paths.is_inside(place, *tops)), key=paths.depth
            ):
                key = waiting.pop(place)
                files.remove(place)  # what it was mounted on
                staging.make_parent(place, f"input {key!r}")
                with self._copying(key, place):  # the links in it were links for the program, too
                    files.copy(os.path.realpath(self.source(task, key)), place, follow=False)

        def reach(at: str) -> None:
            bring(*(place for place in waiting if paths.is_inside(at, place)))

        for key, internal in made_files(task.outputs) if waiting else ():
            at, _ = staging.find(internal.text, reach)
            if _wants_directory(key, internal) and os.path.isdir(at):
                bring(at)

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
        nested = any(
            each.is_directory for each in made
        )  # else each can stay where it is until it is published
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
        return [
            Output(each.key, each.aside, each.target, _fingerprint(each, self._away))
            for each in made
        ]

    def missing(self, task: Task, staging: Staging) -> list[str]:
        """What the program was to make and did not, as sentences."""
        problems = []
        for key, internal in made_files(task.outputs):
            place, link = staging.find(internal.text)
            mode = _mode(place)
            if not mode:
                there = (
                    "nothing" if link is None else f"a link to {link}, where the Task made nothing,"
                )
                problems.append(f"output {key!r} was not made: there is {there} at {internal}")
            elif _wants_directory(key, internal) and not stat.S_ISDIR(mode):
                problems.append(f"output {key!r} was not made: {internal} isn't a directory")
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
                if published.keys().isdisjoint(
                    paths.folders(output.source)
                ):  # else it went with that directory
                    try:
                        os.rename(
                            output.source, output.target
                        )  # which suffices for a file, and for what is new
                    except OSError:
                        _replace(output)
                    seen = Fingerprint(
                        files.renamed(seen.quick, output.target), seen.digest, seen.listing
                    )
                published[output.source] = replace(output, fingerprint=seen)
            except OSError as error:
                raise _disk_error(
                    f"output {output.key!r} can't be stored at {output.target}", error
                ) from error
        return list(published.values())

    def flush(self, workflow: str, keys: Iterable[str]) -> None:
        """Have what lies at these keys on the disk, and the names of it. Raises `OSError` where the
        disk fails.
        """
        files.flush(
            (self.path(workflow, key) for key in keys), (self._store, *self._buckets.values())
        )

    def discard(self, task_id: str) -> None:
        """Remove what is left of a Task's private directory, and of its outputs beside mapped
        buckets.
        """
        _clear(f"{self._private}/{task_id}", lambda: self._area.remove(task_id))
        for mapped in () if self._away else self._buckets.values():
            _clear(f"{mapped}/{self._own_name}/{task_id}")

    def left_staging(self) -> list[Path]:
        """The private directories of Tasks."""
        return list(self._staging.iterdir()) if self._staging.is_dir() else []

    def sweep(self, spared: Collection[str] = ()) -> None:
        """Remove what dead Tasks left in the staging area, except those in `spared`, and what was
        being deleted.
        """
        self.close()
        for directory in (str(self._staging), *self.areas()):
            files.own_directory(directory)
            for name in os.listdir(directory):
                if name not in spared:
                    _clear(f"{directory}/{name}")
        for top in (Path(self._store), self.root / "logs"):
            for entry in top.glob(f"{_DELETED}*"):
                _clear(str(entry))

    def close(self) -> None:
        """Remove what serves only while the engine runs."""
        _clear(f"{self.root}/spare", self._area.close)

    def delete(self, workflow: str, data: bool) -> None:
        """Remove a workflow's logs and, with `data`, its part of the store (never a mapped bucket).

        All of that is renamed aside first: so whenever this ends, no half of it counts for anybody.
        Raises `StorageError` that names what can't be removed, nearly always with all files still
        where they were, and can be called again.
        """
        tops = [self._store, f"{self.root}/logs"] if data else [f"{self.root}/logs"]
        places = [(f"{top}/{workflow}", f"{top}/{_aside_name(workflow)}") for top in tops]
        with _removing(workflow, self.root):
            for place in itertools.chain(*places):
                files.refuse_stuck(place)
            for place, aside in places:
                files.remove(aside)  # an earlier call left it
                with contextlib.suppress(FileNotFoundError):
                    os.rename(place, aside)
            for top in tops:
                files.flush_one(top)
        for _, aside in places:
            with _removing(workflow, aside):
                files.remove(aside)

    # -- inside ------------------------------------------------------------------------------------

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
            raise StorageError(
                f"output {key!r} can't be stored: {parent} is a link that leads out of the store"
            )

    def _holds_link(self, workflow: str, path: str) -> bool:
        """Whether a link may be on the way from the top of the store to a path in it, or be what
        lies there.
        """
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
                if self._away:
                    leased = f"{mapped}/{self._own_name}/{task.id}"
                    return f"{leased}/{index}", os.stat(leased).st_dev
                os.makedirs(mapped, exist_ok=True)
                other = os.stat(mapped).st_dev
                if other != device:
                    place = f"{self.area(mapped)}/{task.id}"
                    os.makedirs(place, mode=0o700, exist_ok=True)
                    return f"{place}/{index}", other
        return f"{staging}/output-{index}", device


def _replace(output: Output) -> None:
    """Move an output to where a directory is missing, or something else lies."""
    old = (
        output.source + ".old"
        if os.path.isdir(output.target) or os.path.isdir(output.source)
        else None
    )
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
    """The mode of what lies there; 0 where nothing does, or can: its name is too long, its
    directory is closed to us.
    """
    try:
        return os.lstat(place).st_mode
    except OSError:
        return 0


def _nest(made: list[_Made]) -> None:
    """Outputs whose keys lie below another's, as a log in a directory output, become part of that
    one too.
    """
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
                    raise StorageError(
                        f"output {each.key!r} can't be stored: output {outer.key!r} has a link in its way"
                    )
                Path(place).parent.mkdir(parents=True, exist_ok=True)
                files.remove(place)
                files.copy(each.aside, place, follow=False)
            each.aside = place


def _fingerprint(made: _Made, flush: bool) -> Fingerprint:
    # A file that stays where it is was looked at just now.
    status = (
        made.status if made.aside == made.source and stat.S_ISREG(made.status.st_mode) else None
    )
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
    return DiskError(
        f"{what}: {error_text(error) if error.strerror is None else error.strerror}"
        + (f"; {advice}" if advice else "")
    )


@contextlib.contextmanager
def _removing(workflow: str, top: object) -> Iterator[None]:
    """An error of the disk names what can't be removed, and that the workflow is there."""
    try:
        yield
    except OSError as error:
        name = str(error.filename)
        which = repr(name) if os.path.isabs(name) else f"{name!r} in {str(top)!r}"
        problem = f"workflow {workflow!r} isn't deleted: {which} can't be removed: {error.strerror}"
        raise DiskError(
            error_text(DiskError(f"{problem}; fix that, then delete it again"))
        ) from error


def _aside_name(workflow: str) -> str:
    """What a workflow's directory is called while it is deleted: always the same, so that a later
    call finds it.
    """
    return f"{_DELETED}{hashlib.blake2b(workflow.encode(), digest_size=16).hexdigest()}"


def _clear(path: str, remove: Callable[[], None] | None = None) -> None:
    try:
        files.remove(path) if remove is None else remove()
    except OSError as error:  # as when a container left files of another user: they harm nobody
        logger.warning("%s can't be removed: %s", path, error)


def _wants_directory(key: str, internal: InternalPath) -> bool:
    return storage_key(key).is_directory or internal.is_directory

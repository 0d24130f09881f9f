"""One Task's files, from inputs to outputs: taken in, looked at while it runs, taken out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from gaia_local.errors import StorageError
from gaia_local.model import paths
from gaia_local.model.assignment import Output
from gaia_local.model.keys import Capture, made_files, output_place, wants_directory
from gaia_local.model.tasks import Fingerprint, Task
from gaia_local.model.validation import NOTHING
from gaia_local.store import copying, fingerprints, removal
from gaia_local.store.disk_errors import disk_error
from gaia_local.store.file_work import UNTOLD, FileWork, file_size
from gaia_local.store.input_copies import copies_needed
from gaia_local.store.outputs import TaskOutputs
from gaia_local.store.placement import Placement
from gaia_local.store.workspaces import Workspace
from gaia_local.terminal_text import escaped


class StoredResult(NamedTuple):
    """An output of a complete Task, in the store."""

    path: str
    recorded: Fingerprint


class TaskFiles:
    """One Task's inputs and outputs. The end of a `with` block discards unpublished files."""

    def __init__(self, task: Task, workspace: Workspace, work: FileWork = UNTOLD) -> None:
        """`work` stops all reading, copying and walking by its errors."""
        self.task, self._work = task, work
        self._workspace, self._storage = workspace, workspace.storage
        self.directory = workspace.directory(task)
        self.log = workspace.log(task)
        self._outputs = TaskOutputs(task, self.directory, workspace, work)
        self._mounted: dict[str, str] = {}
        """Key of an input that is not copied → the path that is read."""
        self._seen: dict[str, Fingerprint] = {}
        """Key of an input → the fingerprint of the copy, or of the file before the start."""
        self._taken_over: dict[str, str] = {}
        """Key of an output that was taken over → its digest, so that it isn't read again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    @property
    def tree(self) -> str:
        """The directory that is the program's ``/``."""
        return self.directory.root

    @property
    def work(self) -> str:
        """An empty directory to start the program in."""
        return self.directory.work

    @property
    def stdout(self) -> str | None:
        """The file that receives stdout alone, if the Task has one."""
        internal = self.task.stdout
        return None if internal is None else self.directory.local(internal)

    @property
    def mounted(self) -> tuple[tuple[str, str], ...]:
        """Internal path and file of each input that is not copied."""
        sources = self._mounted
        return tuple((at, sources[key]) for key, at in self.task.inputs if key in sources)

    @property
    def printed(self) -> str:
        """The place of another Task's ``>`` output, if that is taken over."""
        return f"{self.directory.top}/printed"

    def take_in(self, known: Mapping[str, Fingerprint] = NOTHING, mounts: bool = False) -> None:
        """Make the private directory, with copies of the inputs and places for the outputs.

        With `mounts`, inputs are copied only if they must be. `known` has the last fingerprints of
        inputs: unchanged ones aren't read for a digest.
        """
        self._choose_mounted(mounts)
        self._workspace.make_logs(self.log)
        copied = {key for key, _ in self.task.inputs if key not in self._mounted}
        placement = Placement(self.task, self.directory, copied)
        self._workspace.make(self.directory, placement.folders)
        placement.copy_inputs(lambda key, place: self._copy_in(key, place, known.get(key)))
        placement.make_outputs()
        for key, source in self._mounted.items():
            self._seen[key] = self._fingerprint(key, source, known.get(key))

    def take_over(self, results: Mapping[str, StoredResult]) -> None:
        """Make the private directory, with copies of another Task's outputs (key → its file).

        Raises `StorageError` if one of them isn't as it was recorded (any more).
        """
        made = sorted(made_files(self.task.outputs), key=lambda pair: paths.depth(pair[1].path))
        self._workspace.make(self.directory, Placement(self.task, self.directory, ()).folders)
        for key, internal in made:
            place = self.directory.local(internal.text)
            if os.path.lexists(place):  # a part of a directory output
                removal.remove(place)
            self.directory.make_parent(place, f"output {key!r}")
            self._copy_result(key, results[key], place)
        for key, text in self.task.outputs:
            if output_place(text) is Capture.PRINTED:
                self._copy_result(key, results[key], self.printed)
        if len(results) < len(self.task.outputs):  # a new log may become part of a directory
            self._taken_over.clear()

    def take_over_log(self, log: Path) -> bool:
        """Copy what another Task's program printed; False if there is no such file."""
        self._workspace.make_logs(self.log)
        with contextlib.suppress(FileNotFoundError):
            removal.remove(self.log)
            copying.copy(str(log), self.log, follow=True, work=self._work)
            return True
        return False

    def forget_log(self) -> None:
        """Remove what `take_over_log` copied: a run would add its own text to that."""
        with contextlib.suppress(OSError):
            os.unlink(self.log)

    def _copy_result(self, key: str, result: StoredResult, place: str) -> None:
        if os.path.lexists(place):
            return
        try:
            seen = fingerprints.copy_observed(
                result.path,
                place,
                False,
                result.recorded,
                what=f"output {key!r}",
                work=self._work,
                private=False,
            )
        except OSError as error:
            raise disk_error(f"output {key!r} can't be copied to {place}", error) from error
        if seen.digest != result.recorded.digest:
            raise StorageError(f"{escaped(result.path)} isn't as it was recorded any more")
        self._taken_over[key] = seen.digest

    def find_again(self, mounts: bool = False) -> None:
        """Take over the private directory of an earlier engine, with the inputs in it."""
        self._choose_mounted(mounts)

    def digests(self) -> dict[str, str]:
        """Key of each input → the digest of the content that the program will read."""
        return {key: self._seen[key].digest for key, _ in self.task.inputs}

    def inputs_read(self) -> dict[str, Fingerprint]:
        """The fingerprints of the inputs read; unknown for a mounted one that changed meanwhile."""
        return {
            key: self._if_unchanged(key, seen) if key in self._mounted else seen
            for key, seen in self._seen.items()
        }

    def missing(self) -> list[str]:
        """The outputs that the program should have made and did not, as sentences."""
        self._copy_linked_inputs()
        return self._outputs.missing()

    def prepare(
        self, pairs: Iterable[tuple[str, str]], captures: Mapping[Capture, str]
    ) -> list[Output]:
        """Bring these outputs to where one rename publishes each: see `TaskOutputs.prepare`."""
        return self._outputs.prepare(pairs, captures, self._taken_over)

    def discard(self) -> None:
        """Remove the private directory. Idempotent."""
        self._workspace.discard(self.task)

    # -- inside ------------------------------------------------------------------------------------

    def _choose_mounted(self, mounts: bool) -> None:
        if not mounts:
            return
        task = self.task
        sources = {key: self._storage.source(task, key) for key, _ in task.inputs}
        copied = copies_needed(task, sources, self._work)
        self._mounted = {key: source for key, source in sources.items() if key not in copied}

    def _copy_in(self, key: str, place: str, known: Fingerprint | None) -> None:
        source, follow = self._storage.source(self.task, key), key in self.task.external
        try:
            self._seen[key] = fingerprints.copy_observed(
                source, place, follow, known, what=f"input {key!r}", work=self._work
            )
        except OSError as error:
            raise _copy_error(key, place, error) from error

    def _fingerprint(self, key: str, source: str, known: Fingerprint | None) -> Fingerprint:
        """The fingerprint of a mounted input: the recorded one if it still fits, else a new one."""
        follow = key in self.task.external
        self._work.begin(f"reading input {key!r}", lambda: file_size(source))
        if known is not None:
            quick = self._storage.quick_fingerprint(key, source, follow, self._work)
            if quick == known.quick:
                return known
        fingerprint = self._storage.fingerprint(key, source, follow, self._work)
        if fingerprint is None:
            problem = f"there is nothing at {source}"
            raise StorageError(f"input {key!r} vanished from the store: {problem}")
        return fingerprint

    def _if_unchanged(self, key: str, seen: Fingerprint) -> Fingerprint:
        path, follow = self._storage.path(self.task.workflow, key), key in self.task.external
        now = self._storage.quick_fingerprint(key, path, follow, self._work)
        return seen if now is not None and now == seen.looked_like else fingerprints.TORN

    def _copy_linked_inputs(self) -> None:
        """Copy the mounted inputs into which outputs are links: then all is as with copies."""
        directory = self.directory
        waiting = {
            directory.local(internal): key
            for key, internal in self.task.inputs
            if key in self._mounted
        }

        def copy_in(*tops: str) -> None:
            places = [place for place in waiting if paths.is_inside(place, *tops)]
            for place in sorted(places, key=paths.depth):
                key = waiting.pop(place)
                removal.remove(place)  # its mount point
                directory.make_parent(place, f"input {key!r}")
                source = os.path.realpath(self._storage.source(self.task, key))
                self._begin_copy(key, source)
                try:  # its links were links for the program, too
                    copying.copy(source, place, follow=False, work=self._work)
                except OSError as error:
                    raise _copy_error(key, place, error) from error

        def reach(at: str) -> None:
            copy_in(*(place for place in waiting if paths.is_inside(at, place)))

        for key, internal in made_files(self.task.outputs) if waiting else ():
            at = directory.find(internal.text, reach).path
            if wants_directory(key, internal) and os.path.isdir(at):
                copy_in(at)

    def _begin_copy(self, key: str, source: str) -> None:
        self._work.begin(f"copying input {key!r}", lambda: file_size(source))


def _copy_error(key: str, place: str, error: OSError) -> StorageError:
    """Why an input was not copied."""
    if isinstance(error, FileNotFoundError):
        return StorageError(
            f"input {key!r} vanished from the store: {escaped(str(error.filename))}"
        )
    return disk_error(f"input {key!r} can't be copied to {place}", error)

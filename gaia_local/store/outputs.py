"""A program's outputs: checks that all were made, and prepares them for publishing by a rename."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gaia_local.errors import StorageError
from gaia_local.model import paths
from gaia_local.model.assignment import Output
from gaia_local.model.keys import Capture, made_files, output_place, wants_directory
from gaia_local.model.tasks import Fingerprint, Task
from gaia_local.model.validation import NOTHING
from gaia_local.store import copying, fingerprints, removal, storable
from gaia_local.store.directories import make_directories, open_directory
from gaia_local.store.disk_errors import disk_errors
from gaia_local.store.file_work import FileWork, file_size
from gaia_local.store.staging import Place, PrivateDirectory
from gaia_local.store.workspaces import Workspace
from gaia_local.terminal_text import escaped


@dataclass
class _MadeOutput:
    """An output on its way into the store."""

    key: str
    source: str
    target: str
    status: os.stat_result
    kept: bool
    """It must stay in place: it is behind a link, or is read again."""
    prepared: str = ""
    """Its path, once it is ready to be published."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


class TaskOutputs:
    """The outputs of one Task, whose program has ended."""

    def __init__(
        self, task: Task, directory: PrivateDirectory, workspace: Workspace, work: FileWork
    ) -> None:
        self._task, self._directory, self._workspace = task, directory, workspace
        self._work = work
        self._found: dict[str, Place] = {}
        """Answers of `_find`."""

    def missing(self) -> list[str]:
        """The outputs that the program should have made and did not, as sentences."""
        problems = []
        for key, internal in made_files(self._task.outputs):
            place, problem = self._find(internal.text), f"output {key!r} was not made"
            if place.status is None:
                found = "nothing"
                if place.link is not None:
                    found = f"a link to {escaped(place.link)}, where the Task made nothing,"
                problems.append(f"{problem}: there is {found} at {internal}")
            elif wants_directory(key, internal) and not stat.S_ISDIR(place.status.st_mode):
                problems.append(f"{problem}: {internal} isn't a directory")
            elif not wants_directory(key, internal) and stat.S_ISDIR(place.status.st_mode):
                advice = "end key and path with '/' to store one"
                problems.append(f"{problem}: {internal} is a directory; {advice}")
        return problems

    def prepare(
        self,
        pairs: Iterable[tuple[str, str]],
        captures: Mapping[Capture, str],
        digests: Mapping[str, str] = NOTHING,
    ) -> list[Output]:
        """Bring outputs into a state in which they can be published by renames alone.

        `pairs` of key and internal path say which; `captures` has the file for each capture among
        them, and `digests` those that are known, by key. Raises `StorageError` for one that can't
        be stored, with all files still where they were; `DiskError` where that is the disk's fault.
        Ask for `missing` first.
        """
        made = self._made_outputs(pairs, captures)
        # The innermost first, and by copy if another output still needs the file.
        made.sort(key=lambda output: (paths.depth(output.source), output.kept), reverse=True)
        needed = Counter(output.source for output in made)
        # Without directories, all can stay in place until they are published.
        nested, hands_over = any(output.is_directory for output in made), self._workspace.hands_over
        for index, output in enumerate(made):
            needed[output.source] -= 1
            aside, device = self._workspace.prepared(self._task, index, output.target)
            shared = len(made) > 1 and any(
                needed[place]
                for place in (
                    output.source,
                    *paths.folders(output.source, self._directory.root),
                )
            )
            with disk_errors(f"output {output.key!r} can't be stored at {output.target}"):
                output.prepared = aside
                if output.kept or shared or output.status.st_dev != device:
                    self._begin("copying", output.key, output.source)
                    copying.copy(output.source, aside, follow=False, work=self._work, private=False)
                elif nested or hands_over:
                    os.rename(output.source, aside)
                else:
                    output.prepared = output.source
        if nested:
            made.sort(key=lambda output: paths.depth(output.target))
            with disk_errors("the outputs can't be stored in each other"):
                _nest(made, self._work)
        return [
            Output(
                output.key,
                output.prepared,
                output.target,
                self._fingerprint(output, hands_over, digests.get(output.key)),
            )
            for output in made
        ]

    def _made_outputs(
        self, pairs: Iterable[tuple[str, str]], captures: Mapping[Capture, str]
    ) -> list[_MadeOutput]:
        """The outputs to store, each made fit for that in place."""
        made, storage = [], self._workspace.storage
        for key, internal in pairs:
            place, status = output_place(internal), None
            if isinstance(place, Capture):
                source, kept = captures[place], place is Capture.PRINTED
            else:
                source, link, status = self._find(internal)
                kept = link is not None
                open_directory(paths.parent(source))  # else it can't be moved out of there
            target = storage.path(self._task.workflow, key)
            storage.refuse_outside(self._task.workflow, key, target)
            with disk_errors(f"output {key!r} can't be stored"):
                self._begin("examining", key, source)
                status = storable.make_storable(source, self._work, status)
                output = _MadeOutput(key, source, target, status, kept)
                if output.is_directory:
                    storable.confine_links(
                        source, f"output {key!r}", self._directory.follow, self._work
                    )
            made.append(output)
        return made

    def _find(self, internal: str) -> Place:
        """As `PrivateDirectory.find`, which is asked once for each: nothing moves any more."""
        if internal not in self._found:
            self._found[internal] = self._directory.find(internal)
        return self._found[internal]

    def _fingerprint(self, made: _MadeOutput, flush: bool, digest: str | None) -> Fingerprint:
        if digest is not None:
            quick = fingerprints.quick_fingerprint(made.prepared, work=self._work)
            if quick is not None:
                return Fingerprint(quick, digest)
        # A file that stays in place was examined just now.
        known = made.prepared == made.source and stat.S_ISREG(made.status.st_mode)
        self._begin("reading", made.key, made.prepared)
        with disk_errors(f"output {made.key!r} can't be stored"):
            status = made.status if known else None
            fingerprint = fingerprints.fingerprint(made.prepared, flush, status, self._work)
        if fingerprint is None:
            raise StorageError(f"output {made.key!r} vanished while it was stored")
        return fingerprint

    def _begin(self, doing: str, key: str, path: str) -> None:
        self._work.begin(f"{doing} output {key!r}", lambda: file_size(path))


def _nest(made: list[_MadeOutput], work: FileWork) -> None:
    """Outputs with keys below another's, as a log in a directory's, become part of that one too."""
    directories = {output.target: output for output in made if os.path.isdir(output.prepared)}
    for inner in made:
        for parent in paths.folders(inner.target):
            outer = directories.get(parent)
            relative = inner.target[len(parent) + 1 :]
            if outer is None:
                continue
            place = f"{outer.prepared}/{relative}"
            if inner.source != f"{outer.source}/{relative}":
                _copy_into(outer, inner, place, work)
            inner.prepared = place


def _copy_into(outer: _MadeOutput, inner: _MadeOutput, place: str, work: FileWork) -> None:
    way, top = os.path.realpath(os.path.dirname(place)), os.path.realpath(outer.prepared)
    if not paths.is_inside(way, top):
        problem = f"output {outer.key!r} has a link in its way"
        raise StorageError(f"output {inner.key!r} can't be stored: {problem}")
    make_directories(os.path.dirname(place))
    removal.remove(place)
    work.begin(f"copying output {inner.key!r}", lambda: file_size(inner.prepared))
    copying.copy(inner.prepared, place, follow=False, work=work, private=False)

"""Puts a Task's inputs, and the places for its outputs, into its private directory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection

from gaia_local.model import paths
from gaia_local.model.keys import made_files, wants_directory
from gaia_local.model.tasks import Task
from gaia_local.store import removal
from gaia_local.store.staging import PrivateDirectory


class Placement:
    """The places of one Task's copied inputs and outputs in its tree.

    Parents come first, so that an input below another input's directory is put into that copy, and
    outputs into each other.
    """

    def __init__(self, task: Task, directory: PrivateDirectory, copied: Collection[str]) -> None:
        self._directory, self._tree = directory, directory.root
        self._inputs = [(directory.local(internal), key) for key, internal in task.inputs]
        self._inputs.sort(key=lambda placed: paths.depth(placed[0]))
        self._copied = [(place, key) for place, key in self._inputs if key in copied]
        outputs = [
            (directory.local(internal.text), key, wants_directory(key, internal))
            for key, internal in made_files(task.outputs)
        ]
        self._outputs = sorted(outputs, key=lambda placed: paths.depth(placed[0]))
        self._stdout = None if task.stdout is None else directory.local(task.stdout)
        self._copies: set[str] = set()
        self._folders = self._folders_around()

    @property
    def folders(self) -> tuple[str, ...]:
        """The directories, relative to the tree, that must be there first; parents come first."""
        return tuple(sorted(self._folders))

    def copy_inputs(self, copy: Callable[[str, str], None]) -> None:
        """Have each input copied: `copy` gets its key and its place."""
        for place, key in self._copied:
            nested = self._make_way(place, f"input {key!r}")
            if nested or place[len(self._tree) + 1 :] in self._folders:
                removal.remove(place)
            copy(key, place)
            self._copies.add(place)

    def make_outputs(self) -> None:
        """Make the output directories, and way for the output files."""
        for place, key, is_directory in self._outputs:
            if self._make_way(place, f"output {key!r}") and not self._is_around_input(place):
                removal.remove(place)
            if is_directory:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(place)
        # Opening the file for stdout would follow a link there.
        stdout = self._stdout
        if stdout is not None and self._make_way(stdout, "stdout") and os.path.islink(stdout):
            os.unlink(stdout)

    def _folders_around(self) -> set[str]:
        places = [place for place, _ in self._copied]
        places += [place for place, _, _ in self._outputs]
        if self._stdout is not None:
            places.append(self._stdout)
        around = {folder for place in places for folder in paths.folders(place, self._tree)}
        return {folder[len(self._tree) + 1 :] for folder in around}

    def _is_around_input(self, place: str) -> bool:
        return any(at.startswith(f"{place}/") for at, _ in self._inputs)

    def _make_way(self, place: str, what: str) -> bool:
        """Make the directory around a place in copies, which may have links; else return False."""
        if self._copies.isdisjoint((place, *paths.folders(place, self._tree))):
            return False
        self._directory.make_parent(place, what)
        return True

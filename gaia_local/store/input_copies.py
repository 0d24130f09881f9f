"""The inputs of a Task that need private copies even if its runtime can mount inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gaia_local.model.keys import internal_path, made_files
from gaia_local.model.paths import folders
from gaia_local.model.tasks import Task
from gaia_local.store import storable
from gaia_local.store.file_work import UNTOLD, FileWork


def copies_needed(task: Task, sources: Mapping[str, str], work: FileWork = UNTOLD) -> set[str]:
    """The keys of the inputs that a program would see differently in mounts than in copies.

    `sources` has the paths that are read. Copies are needed for an input that is nested with an
    output, for a directory with links that a copy follows (out of it, or perhaps to another input's
    place), for one whose source isn't of its kind, and for one that is nested with any of these.
    """
    inputs = {internal_path(text).path: key for key, text in task.inputs}
    outputs = {internal.path for _, internal in made_files(task.outputs)}
    unfit = outputs | _unfit_for_mounts(task, inputs, sources, work)
    places = inputs.keys() | outputs

    def top(path: str) -> str:
        return next((outer for outer in reversed([*folders(path)]) if outer in places), path)

    tops: set[str] = set()
    more = {top(path) for path in unfit}
    while not more <= tops:  # a key that is copied is so at each of its paths
        tops |= more
        copied = {key for path, key in inputs.items() if top(path) in tops}
        more = {top(path) for path, key in inputs.items() if key in copied}
    return {key for path, key in inputs.items() if top(path) in tops}


def _unfit_for_mounts(
    task: Task, inputs: Mapping[str, str], sources: Mapping[str, str], work: FileWork
) -> set[str]:
    """The internal paths of input directories that a mount would show in another way."""
    nested = {(outer, path) for path in inputs for outer in folders(path) if outer in inputs}
    outers = {outer for outer, _ in nested}
    unfit = set()
    for outer, path in nested:
        relative = path.removeprefix(outer)
        if not _has_mount_point(sources[inputs[outer]], relative, sources[inputs[path]]):
            unfit.add(outer)
    for path, key in inputs.items():
        if key in task.external and storable.has_link(
            sources[key], out=path not in outers, work=work
        ):
            unfit.add(path)
    return unfit


def _has_mount_point(outer: str, relative: str, source: str) -> bool:
    """Whether an input directory has, by no link, something of `source`'s kind at a place."""
    place = f"{outer}{relative}"
    if any(map(os.path.islink, (place, *folders(place, outer)))):
        return False
    return os.path.exists(place) and os.path.isdir(place) == os.path.isdir(source)

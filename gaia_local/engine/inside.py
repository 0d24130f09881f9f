"""What a Step would find if it ran now: decided here, staged for people to look at and to try."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gaia_local.engine.engine import Engine
from gaia_local.errors import InvalidInput, nearest, shown
from gaia_local.model.keys import names_directory
from gaia_local.model.paths import is_inside
from gaia_local.model.tasks import Task
from gaia_local.model.validation import check_text
from gaia_local.runtimes.process.scripts import write_local_script
from gaia_local.state.rows import read_task
from gaia_local.store import staged
from gaia_local.store.kept_failures import kept_failure
from gaia_local.store.staging import PrivateDirectory

Paths = Mapping[str, "str | os.PathLike[str]"]


@dataclass(frozen=True)
class StepInside:
    """The Task that a Step would run now, and where its inputs are. All of them are there."""

    task: Task
    sources: Mapping[str, str]
    """Key of each input → the path to copy."""
    followed: frozenset[str]
    """The inputs in which links stand for their targets: files of the user's."""
    left: PrivateDirectory | None = None
    """Where an attempt left its files, the other inputs among them."""

    def put_into(self, directory: PrivateDirectory) -> None:
        """Stage it. Raises `StorageError`."""
        staged.stage(self.task, self.sources, self.followed, directory, self.left)


def look_inside(
    engine: Engine,
    workflow: str,
    step: str,
    inputs: Paths,
    image: str | None = None,
    *,
    as_left: bool = False,
) -> StepInside:
    """What a Step would find, with other `inputs` (storage key → path), and in another `image`.

    With `as_left`, in the files that its last failed attempt left. Raises `InvalidInput` for a Step
    that is unknown, stands for several or doesn't fit its Command, for inputs that it hasn't, for
    those that are missing, and where no failed attempt's files are kept.
    """
    found = engine.ask(lambda root: root.task(workflow, step))
    task = read_task(found["id"], workflow, step, found["reason"], found["definition"])
    where = f"workflow {workflow!r}, Step {step!r}"
    if not isinstance(inputs, Mapping):
        problem = f"inputs is {shown(inputs)}"
        raise InvalidInput(where, problem, "give a dictionary: storage key → path")
    given = {key: _absolute(f"{where}, input {key!r}", path) for key, path in inputs.items()}
    for key, path in given.items():
        if key not in found["sources"]:
            known = nearest(key, found["sources"], "its inputs")
            raise InvalidInput(where, f"it has no input {key!r}", known)
        if not os.path.lexists(path):
            raise InvalidInput(where, f"input {key!r}: there is nothing at {path}", "give another")
        if not _is_there(key, path):
            problem = f"input {key!r} is a directory, and {path} is no directory"
            raise InvalidInput(where, problem, "give another")
    left = _left(engine.config.root, workflow, step) if as_left else None
    sources = {**found["sources"], **given}
    if left is not None:
        kept = {key for key, at in task.inputs if key not in given and staged.is_left(left, at)}
        sources = {key: path for key, path in sources.items() if key not in kept}
    missing = [(key, path) for key, path in sources.items() if not _is_there(key, path)]
    if missing:
        raise InvalidInput(
            where,
            "; ".join(f"input {key!r} isn't there: it belongs at {path}" for key, path in missing),
            "put it there, run the Step that makes it, or give another file in its place",
        )
    if image is not None:
        task = task._replace(image=image)
    return StepInside(task, sources, task.external | given.keys(), left)


def _left(root: Path, workflow: str, step: str) -> PrivateDirectory:
    """The private directory that is kept of a Step's last failed attempt."""
    kept = kept_failure(root, workflow, step)
    if kept is None:
        raise InvalidInput(
            f"workflow {workflow!r}, Step {step!r}",
            "no files of a failed attempt are kept",
            "run it with --keep-failed, or leave out --as-left",
        )
    return PrivateDirectory(str(kept))


def stage(engine: Engine, workflow: str, step: str, directory: object, inputs: Paths) -> Path:
    """See `Gaia.stage`."""
    place = outside_of_root(engine.config.root, directory)
    inside = look_inside(engine, workflow, step, inputs)
    with staged.users_directory(place) as private:
        inside.put_into(private)
        return write_local_script(inside.task, private.root, private.work)


def outside_of_root(root: Path, directory: object) -> str:
    """The absolute path of a user's directory. Raises `InvalidInput` for one in the root."""
    place = _absolute("directory", directory)
    if is_inside(os.path.realpath(place), os.path.realpath(root)):
        raise InvalidInput(f"directory {place}", f"it is in the root {root}", "give another")
    return place


def _absolute(where: str, given: object) -> str:
    """The absolute path of what the user names. Raises `InvalidInput` for what is no path."""
    path = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(path, str) or not path:
        raise InvalidInput(where, f"it is {shown(given)}", "give a path")
    check_text(where, path)
    return os.path.abspath(os.path.expanduser(path))


def _is_there(key: str, path: str) -> bool:
    return os.path.isdir(path) if names_directory(key) else os.path.exists(path)

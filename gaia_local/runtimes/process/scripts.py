"""A Task's command for this machine: internal paths become those of its private directory."""

from __future__ import annotations

from pathlib import Path

from gaia_local.errors import RuntimeFailure
from gaia_local.model.tasks import Task
from gaia_local.runtimes.process.exits import internal_paths, step_label
from gaia_local.runtimes.process.path_mapping import localize, misread
from gaia_local.runtimes.step_scripts import write_script


def local_tokens(task: Task, tree: str) -> tuple[str, ...]:
    """The tokens with their internal paths below `tree`.

    Raises `RuntimeFailure` if shell code in them would misread the path of the tree.
    """
    paths = tuple(internal_paths(task))
    if (character := misread(task.command, paths, tree)) is not None:
        raise RuntimeFailure(
            f"{step_label(task)}: shell code in its command would misread the {character!r} in"
            f" {tree!r}, where its files are; put the paths in single quotes, give a root with"
            " a plain path, or use the runtime 'docker'"
        )
    return localize(task.command, paths, tree)


def write_local_script(task: Task, tree: str, work: str) -> Path:
    """Write a Task's script for this machine into `work`; answers its path.

    Raises `RuntimeFailure` as `local_tokens`, or if it can't be written.
    """
    stdout = None if task.stdout is None else f"{tree}/{task.stdout.lstrip('/')}"
    tokens = local_tokens(task, tree)
    try:
        return write_script(work, task, tokens, directory=work, stdout=stdout, home=work)
    except OSError as error:
        raise RuntimeFailure(f"{work} can't be written: {error.strerror}") from error

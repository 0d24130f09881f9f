"""The `Exit` of a program that ended, or that could not be started."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterator

from gaia_local.errors import RuntimeFailure
from gaia_local.model.keys import made_files
from gaia_local.model.tasks import Task
from gaia_local.model.usage import Usage, had_used
from gaia_local.runtimes.contract import Exit, Invocation
from gaia_local.runtimes.process.path_mapping import localize, undeclared
from gaia_local.runtimes.start_failures import BEGINNING_BYTES, missing_interpreter, too_long


def not_started(invocation: Invocation, error: OSError) -> Exit:
    """The exit of a program that couldn't be started, with the exit code of a shell.

    Raises `RuntimeFailure` if the error is not the program's fault.
    """
    task, work = invocation.task, invocation.work
    tokens = localize(task.command, internal_paths(task), invocation.tree)
    program, local = task.command[0], tokens[0]
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES) and not os.access(work, os.X_OK):
        raise RuntimeFailure(
            f"{step_label(task)}: its working directory {work} is missing or closed to this user"
        ) from error
    import shutil  # it is slow to import, and only failures need it

    found = shutil.which(os.path.join(work, local) if "/" in local else local, os.F_OK)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        if found is not None:
            beginning = _beginning(found)
            return Exit(127, missing_interpreter(program, beginning, "on this machine"))
        return Exit(
            127,
            f"program {program!r} is missing on this machine; install it, or use the runtime"
            " 'docker'",
        )
    # This user may not read some directory of PATH.
    if error.errno == errno.EACCES and found is None and "/" not in local:
        return Exit(
            127, f"program {program!r} is missing on this machine, as far as PATH can be read"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.EISDIR, errno.ETXTBSY):
        return Exit(126, f"program {program!r} cannot be executed: {error.strerror}")
    if error.errno == errno.E2BIG:
        raise RuntimeFailure(f"{step_label(task)}: {too_long(tokens)}") from error
    raise RuntimeFailure(
        f"{step_label(task)}: program {program!r} cannot be started: {error.strerror}"
    ) from error


def _beginning(program: str) -> bytes:
    with contextlib.suppress(OSError), open(program, "rb") as file:
        return file.read(BEGINNING_BYTES)
    return b""


def undeclared_path_hint(task: Task) -> str | None:
    """A hint for a failed Task with a path in its tokens that was probably meant to be internal."""
    path = undeclared(task.command, internal_paths(task))
    if path is None:
        return None
    return (
        f"{path!r} in its tokens is no path of its inputs and outputs,"
        " so that the runtime 'process' left it as it is"
    )


def exit_of(code: int, cancelled: bool, hint: str | None, usage: Usage | None) -> Exit:
    """The exit for a return code, which is negative after a signal, as `subprocess` has it."""
    if code >= 0:
        return Exit(code, hint, usage=usage)
    message = None if cancelled else _killed_by(-code, usage)
    return Exit(128 - code, message, usage=usage)


def _killed_by(number: int, usage: Usage | None) -> str:
    if number == signal.SIGKILL:
        return f"killed by SIGKILL (perhaps out of memory{had_used(usage)})"
    with contextlib.suppress(ValueError):  # real-time signals have no names
        return f"killed by {signal.Signals(number).name}"
    return f"killed by signal {number}"


def step_label(task: Task) -> str:
    """The Step of a Task, for messages."""
    return f"workflow {task.workflow!r}, Step {task.name!r}"


def internal_paths(task: Task) -> Iterator[str]:
    """The internal paths of a Task's inputs and outputs."""
    for _, path in task.inputs:
        yield path
    for _, place in made_files(task.outputs):
        yield place.text
    if task.stdout is not None:
        yield task.stdout

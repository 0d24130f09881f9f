"""Starts the program of a Task, with a supervisor or without one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from gaia_local.errors import RuntimeFailure
from gaia_local.forks import await_fork, forking
from gaia_local.model.paths import parent
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.contract import Exit, Invocation
from gaia_local.runtimes.process import marked_processes
from gaia_local.runtimes.process.exits import not_started, step_label
from gaia_local.runtimes.process.program_path import program_path
from gaia_local.runtimes.process.scripts import local_tokens
from gaia_local.runtimes.process.supervision import SupervisedProcess, SupervisorPool
from gaia_local.runtimes.process.unsupervised import UnsupervisedProcess


def start(
    invocation: Invocation,
    streams: tuple[int, int],
    supervisors: SupervisorPool | None,
    environment: Mapping[bytes, bytes],
) -> UnsupervisedProcess | SupervisedProcess | Exit:
    """Start the program; the `Exit` is that of one which could not be started.

    `environment` is that of all programs, to which this one's own variables are added.
    """
    task, tree, work = invocation.task, invocation.tree, invocation.work
    tokens = local_tokens(task, tree)
    if any(os.access(f"{tree}{path}", os.X_OK) for _, path in task.inputs):
        await_fork()
    try:
        environment = marked_processes.marked(environment, task.id, parent(work))
        # As in a container: Steps don't meet in this user's own home.
        environment[b"HOME"] = os.fsencode(work)
        if invocation.gpus:
            if b"CUDA_VISIBLE_DEVICES" not in environment:
                # The order in which Docker numbers them; CUDA's own begins with the fastest.
                environment.setdefault(b"CUDA_DEVICE_ORDER", b"PCI_BUS_ID")
            environment[b"CUDA_VISIBLE_DEVICES"] = os.fsencode(",".join(invocation.gpus))
        if supervisors is None:
            return _start_alone(tokens, environment, work, streams)
        program = (
            _possible_paths(tokens[0], environment),
            [*map(os.fsencode, tokens)],
            environment,
            os.fsencode(work),
        )
        return SupervisedProcess(supervisors, program, streams)
    except OSError as error:
        return not_started(invocation, error)
    # A text that cannot be encoded or holds a NUL; a child that died early.
    except (ValueError, subprocess.SubprocessError) as error:
        raise RuntimeFailure(f"{step_label(task)}: it cannot be started: {error}") from error


def _start_alone(
    tokens: tuple[str, ...], environment: dict[bytes, bytes], work: str, streams: tuple[int, int]
) -> UnsupervisedProcess:
    # NOTE: close_fds stays on. Python's own descriptors are not inheritable, but those from this
    # process's parent are: the lock of flock(1), make's job server, a supervisor's pipe. No
    # container would see them, and they would stay open for as long as the Task runs.
    with forking():
        process = subprocess.Popen(
            tokens,
            executable=program_path(tokens[0], environment.get(b"PATH", b""), int(monotonic())),
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=streams[0],
            stderr=streams[1],
            start_new_session=True,
        )
    return UnsupervisedProcess(process, marked_processes.mark_in(environment))


def _possible_paths(name: str, environment: dict[bytes, bytes]) -> list[bytes]:
    """The paths at which a program may be, in the order of `PATH`."""
    path = environment.get(b"PATH", b"")
    if "/" in name:
        return [os.fsencode(name)]
    if (found := program_path(name, path, int(monotonic()))) is not None:
        return [os.fsencode(found)]
    directories = (
        path.split(b":") if b"PATH" in environment else map(os.fsencode, os.defpath.split(":"))
    )
    return [os.path.join(directory, os.fsencode(name)) for directory in directories]

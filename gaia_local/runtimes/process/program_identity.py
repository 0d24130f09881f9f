"""The identity of a program that runs as a local process: the file, and its environment."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from gaia_local.model.keys import internal_path
from gaia_local.model.tasks import Task
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.process.environment import for_programs, of_this_process
from gaia_local.runtimes.process.program_path import program_path

_OF_SESSIONS = (
    b"HOME=",  # each Step has its own
    *(b"COLUMNS=", b"LINES="),  # readline gives them to each child of a program that uses it
    *(b"PWD=", b"OLDPWD=", b"SHLVL=", b"_=", b"PS1=", b"PROMPT_COMMAND=", b"HISTFILE="),
    *(b"TERM=", b"TERM_PROGRAM=", b"TERM_PROGRAM_VERSION=", b"TERM_SESSION_ID=", b"COLORTERM="),
    *(b"LS_COLORS=", b"WINDOWID=", b"TMUX=", b"TMUX_PANE=", b"STY=", b"DISPLAY="),
    *(b"WAYLAND_DISPLAY=", b"XDG_SESSION_", b"XDG_RUNTIME_DIR=", b"DBUS_SESSION_BUS_ADDRESS="),
    *(b"SSH_CLIENT=", b"SSH_CONNECTION=", b"SSH_TTY=", b"SSH_AUTH_SOCK=", b"SSH_AGENT_PID="),
    *(b"VSCODE_", b"PYTEST_CURRENT_TEST=", b"PYTEST_VERSION=", b"PYTEST_XDIST_", b"GAIA_LOCAL_"),
)
"""Variables that tell of a terminal's session, or of this program: results don't depend on them."""


def program_identity(task: Task, environment: Mapping[bytes, bytes]) -> str | None:
    """The path, the size and the mtime of a Task's program; None if it can't be told.

    One of its own inputs has the path that it has for the Task: its content is known otherwise.
    """
    name = task.command[0]
    if "/" not in name:
        path = program_path(name, environment.get(b"PATH", b""), int(monotonic()))
    elif any(internal_path(name).path == internal_path(path).path for _, path in task.inputs):
        return f"process {name}"
    else:
        path = name if os.path.isabs(name) else None
    try:
        status = None if path is None else os.stat(path)
    except (OSError, ValueError):
        return None
    return status and f"process {path} {status.st_size} {status.st_mtime_ns}"


class Environments:
    """The environment of programs, and its digest; the last ones are remembered."""

    def __init__(self) -> None:
        self._last: tuple[Mapping[bytes, bytes], str] = ({}, "")
        self._present: tuple[Mapping[bytes, bytes], Mapping[bytes, bytes]] = ({}, {})
        """This process's environment, and what programs get of it: nobody changes these."""

    def present(self) -> Mapping[bytes, bytes]:
        """The environment of programs that start now; the same object until it changes."""
        own, environment = self._present
        now = of_this_process()
        if now != own:
            environment = for_programs(now)
            self._present = now, environment
        return environment

    def digest(self, environment: Mapping[bytes, bytes]) -> str:
        """A digest of the variables that programs may depend on. Nobody changes the mapping."""
        last, digest = self._last
        if (last is not environment and last != environment) or not digest:
            variables = (b"%b=%b" % pair for pair in environment.items())
            lines = sorted(line for line in variables if not line.startswith(_OF_SESSIONS))
            digest = hashlib.blake2b(b"\0".join(lines), digest_size=16).hexdigest()
            self._last = environment, digest
        return digest

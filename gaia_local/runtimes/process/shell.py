"""A shell in a Step without containers: this user's own, in the Step's private tree."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping

from gaia_local import interrupts
from gaia_local.errors import RuntimeFailure
from gaia_local.forks import forking
from gaia_local.model.tasks import Task
from gaia_local.runtimes.process import marked_processes
from gaia_local.runtimes.process.environment import for_programs, of_this_process
from gaia_local.runtimes.process.exits import step_label

_SHELL = "/bin/sh"


def run_shell(task: Task, work: str, own: str, command: str | None, grace: float) -> int:
    """Run the user's shell in `work`, or `command`, with this process's own streams, to its end.

    Answers its exit status. All its processes have the mark of the private directory `own`, by
    which they are found after this process's death. None of them outlives the call, whatever
    leaves it; a `command` has `grace` seconds to end at a signal. Raises `RuntimeFailure`.
    """
    interactive = command is None
    shell = os.environ.get("SHELL") or _SHELL
    words = [shell] if command is None else [_SHELL, "-c", command]
    environment = marked_processes.marked(for_programs(of_this_process()), task.id, own)
    environment[b"HOME"] = os.fsencode(work)
    with _keyboard_interrupts_are_the_shells() if interactive else contextlib.nullcontext():
        process = _start(task, words, environment, work)
        try:
            status = _await(process)
        except BaseException:
            # An interactive shell ends when its terminal does, and not at SIGTERM.
            _end(process, signal.SIGHUP if interactive else signal.SIGTERM, grace)
            raise
        finally:
            marked_processes.end_strays(None, marked_processes.mark_in(environment))
    return 128 - status if status < 0 else status


def _start(
    task: Task, words: list[str], environment: Mapping[bytes, bytes], work: str
) -> subprocess.Popen[bytes]:
    try:
        with forking():
            return subprocess.Popen(words, cwd=work, env=environment)
    except OSError as error:
        raise RuntimeFailure(
            f"{step_label(task)}: {words[0]} can't be started: {error.strerror}; set SHELL to a"
            " shell that is here"
        ) from error


def _await(process: subprocess.Popen[bytes]) -> int:
    """The return code; a signal to this process is delivered meanwhile."""
    while True:
        try:
            return process.wait(interrupts.CHECK_SECONDS)
        except subprocess.TimeoutExpired:
            interrupts.check()


def _end(process: subprocess.Popen[bytes], number: int, grace: float) -> None:
    process.send_signal(number)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _keyboard_interrupts_are_the_shells() -> Iterator[None]:
    """While inside, Ctrl-C is for the shell on the terminal, and not for this process.

    NOTE: a handler, since the shell would inherit that a signal is ignored.
    """
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

"""A shell in a Step's container: as the Step's in all but the program, and in who removes it."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from gaia_local import interrupts
from gaia_local.config import DockerConfig
from gaia_local.errors import RuntimeFailure
from gaia_local.model.keys import internal_path
from gaia_local.model.paths import is_inside
from gaia_local.model.tasks import Task
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.contract import Invocation, Root
from gaia_local.runtimes.docker.connection import attached
from gaia_local.runtimes.docker.container import PRIVATE_DIRECTORY, ShellEntry, task_container
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.files import ContainerFiles, MountPlan, local
from gaia_local.runtimes.docker.image_contents import ImageContents
from gaia_local.runtimes.docker.images import Image, Images
from gaia_local.runtimes.docker.labels import (
    IDENTITY_LABEL,
    ROOT_LABEL,
    SHELL_LABEL,
    containers_with,
    runtime_failures,
)
from gaia_local.runtimes.docker.responses import NoAnswer, Refusal, disk_errors
from gaia_local.runtimes.docker.start_errors import StartErrors
from gaia_local.runtimes.docker.terminal import pass_through, raw_terminal
from gaia_local.runtimes.step_scripts import SCRIPT, write_script
from gaia_local.store import shells

logger = logging.getLogger("gaia_local")

_SHELLS = ("/bin/bash", "/bin/sh")
"""The shells that are looked for in an image; the second one also runs commands."""
_POLL_SECONDS = 0.05
_END_SECONDS = 10.0
"""The longest time from the end of the terminal's connection to the exit of its shell."""


def run_shell(
    config: DockerConfig,
    root: Root,
    invocation: Invocation,
    *,
    shell: str,
    command: str | None,
    tell: Callable[[str], None],
    keep: bool,
) -> int:
    """Run a shell, or `command`, in a container made as the Task's, with this process's streams.

    Answers its exit status. `shell` is the id of the private directory, by whose lock the container
    is known to be living. `tell` gets the path of the script just before the start. With `keep`,
    outputs that lie in no mount are copied into the tree at the end. The container is removed in
    all cases. Raises `RuntimeFailure`.
    """
    task = invocation.task
    labels = {ROOT_LABEL: root.path, IDENTITY_LABEL: root.identity, SHELL_LABEL: shell}
    failed = f"workflow {task.workflow!r}, Step {task.name!r}: no shell in image {task.image!r}"
    with contextlib.closing(DockerEngine()) as engine, runtime_failures(failed):
        engine.ping()
        _remove_dead(engine, root)
        contents = ImageContents(engine)
        image = Images(engine).get(task.image, config.pull, _stop)
        entry = ShellEntry(shell, _words(contents, image, labels, task, command), command is None)
        files = ContainerFiles(engine, contents)
        plan = _plan(files, invocation, image, labels)
        home = image.has_home or contents.has_home(image.id, labels, _stop)
        _write_script(invocation, image)
        with task_container(
            engine,
            config,
            labels,
            invocation=invocation,
            image=image,
            has_home=home,
            plan=plan,
            stop=_stop,
            shell=entry,
        ) as container:
            before = {path: contents.status(container, path, _stop) for path in plan.copied_out}
            tell(f"{PRIVATE_DIRECTORY}/{SCRIPT}")
            try:
                code = _converse(engine, container, entry.on_terminal)
            except Refusal as refusal:
                starts = StartErrors(engine, contents, config.init)
                entered = task._replace(command=entry.words)
                code, message = starts.after_refusal(container, entered, refusal, _stop)
                logger.error("%s: %s", failed, message)
            if keep:
                files.copy_results(container, invocation, plan, before, _stop)
            return code


def _stop() -> bool:
    """Deliver signals wherever the engine is waited for."""
    interrupts.check()
    return False


def _words(
    contents: ImageContents,
    image: Image,
    labels: Mapping[str, str],
    task: Task,
    command: str | None,
) -> tuple[str, ...]:
    """The program to run. A command needs no shell, if its words are a program and its arguments.

    Raises `RuntimeFailure` if there is no shell to be had.
    """
    found = contents.in_image(image.id, _SHELLS, labels, _stop)
    there = [path for path in _SHELLS if found[path] is not None]
    if command is None:
        if there:
            return (there[0],)
        raise RuntimeFailure(
            f"image {task.image!r} has no {' and no '.join(_SHELLS)}; run a program that it has"
            " with --command 'PROGRAM ARGUMENTS', or give an image with a shell, as --image busybox"
        )
    if _SHELLS[-1] in there:
        return (_SHELLS[-1], "-c", command)
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise RuntimeFailure(f"command {command!r}: {error}; close its quotes") from error
    if not words:
        raise RuntimeFailure("the command is empty; give a program and its arguments")
    return words


def _plan(
    files: ContainerFiles, invocation: Invocation, image: Image, labels: Mapping[str, str]
) -> MountPlan:
    """The mounts of the Task, and one for the file that receives stdout: here a shell writes it."""
    task = invocation.task
    as_made = replace(invocation, task=task._replace(stdout=None))
    plan = files.plan(as_made, False, image.id, labels, _stop)
    if task.stdout is None:
        return plan
    path = internal_path(task.stdout).path
    if is_inside(path, *plan.writable):
        return plan
    place = local(Path(invocation.tree).absolute(), path)
    with disk_errors(place):
        place.touch(0o600)
    copied_out = tuple(other for other in plan.copied_out if other != path)
    return MountPlan({**plan.writable, path: place}, plan.read_only, copied_out)


def _write_script(invocation: Invocation, image: Image) -> None:
    task = invocation.task
    with disk_errors(invocation.work):
        write_script(
            invocation.work,
            task,
            (*image.entrypoint, *task.command),
            directory=image.directory or PRIVATE_DIRECTORY,
            stdout=task.stdout,
        )


def _converse(engine: DockerEngine, container: str, on_terminal: bool) -> int:
    """Start the container, pass the streams through until it ends, and answer its exit status."""

    def resize(rows: int, columns: int) -> None:
        with contextlib.suppress(Refusal, NoAnswer):  # it has ended, or is just starting
            engine.ask(lambda client: client.resize(container, rows, columns), retry=False)

    with contextlib.closing(attached(engine.client, container)) as connection:
        engine.ask(lambda client: client.start(container), _stop, retry=False)
        with raw_terminal() if on_terminal else contextlib.nullcontext():
            pass_through(connection, resize if on_terminal else None)
    lost = monotonic() + _END_SECONDS
    while True:
        state = engine.ask(lambda client: client.inspect_container(container), _stop)["State"]
        if state["Status"] in ("exited", "dead"):
            return int(state["ExitCode"])
        if on_terminal and monotonic() > lost:
            raise RuntimeFailure("the connection to the container was lost; start the shell again")
        engine.pause(_POLL_SECONDS, _stop)


def _remove_dead(engine: DockerEngine, root: Root) -> None:
    """Remove the containers of this root's shells whose processes are dead."""
    for _, left in containers_with(engine, f"{IDENTITY_LABEL}={root.identity}"):
        if left.shell and not shells.is_living(Path(root.path), left.shell):
            engine.remove(left.container)

"""A shell in a Step: what the Step would find now, in a private directory, with a shell in it.

Nothing of it is known to the root: no row, no event, no log, and no engine has to run. It has a
directory and a container of its own, by whose lock engines know that it lives (`store.shells`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gaia_local.config import Config
from gaia_local.engine import sharing
from gaia_local.engine.execution import root_of
from gaia_local.engine.inside import Paths, StepInside, look_inside, outside_of_root
from gaia_local.errors import InvalidInput
from gaia_local.runtimes.choice import runs_in_container
from gaia_local.runtimes.contract import Invocation
from gaia_local.runtimes.process.scripts import write_local_script
from gaia_local.store.file_work import UNTOLD
from gaia_local.store.shells import shell_directory
from gaia_local.store.staged import users_directory
from gaia_local.store.staging import PrivateDirectory


@dataclass(frozen=True)
class Wish:
    """What a user wants of a shell in a Step."""

    workflow: str
    step: str
    command: str | None = None
    """Run by a shell in place of an interactive one."""
    keep: Path | None = None
    """The private directory, new or empty, which then stays."""
    inputs: Paths = field(default_factory=dict)
    """Storage key → the path of another file in that input's place."""
    image: str | None = None
    """Another image."""
    as_left: bool = False
    """In the files as the Step's last failed attempt left them."""


def run_shell(given: Config, wish: Wish, tell: Callable[[str], None]) -> int:
    """Run a shell in a Step, or a command, with this process's streams; answers its exit status.

    `tell` gets the path of the Step's script, as the shell sees it, just before the start. All is
    removed at the end, whatever leaves the call. Raises `GaiaError`.
    """
    keep = None if wish.keep is None else outside_of_root(given.root, wish.keep)
    config, inside = _look(given, wish)
    image = inside.task.image
    in_container = runs_in_container(config.runtime, config.docker, root_of(config), image)
    if wish.image is not None and not in_container:
        raise InvalidInput(
            f"image {wish.image!r}",
            "the Step runs as a process of this machine, without an image",
            "leave it out, or choose the runtime 'docker'",
        )
    stopped = None
    with contextlib.ExitStack() as ends:
        own = ends.enter_context(shell_directory(config.root))
        private = (
            PrivateDirectory(str(own))
            if keep is None
            else ends.enter_context(users_directory(keep))
        )
        inside.put_into(private)
        staged = _Staged(config, inside, private, own)
        try:
            if in_container:
                return staged.in_container(wish, tell)
            return staged.as_process(wish, tell)
        except KeyboardInterrupt as signal:
            stopped = signal  # what is to be kept is kept
    raise stopped


def _look(given: Config, wish: Wish) -> tuple[Config, StepInside]:
    """The configuration, with the buckets of the root's workflows, and what the Step would find."""
    engine = sharing.share(given)
    try:
        inside = look_inside(
            engine, wish.workflow, wish.step, wish.inputs, wish.image, as_left=wish.as_left
        )
        return engine.config, inside
    finally:
        sharing.leave(engine, wait=True)


@dataclass(frozen=True)
class _Staged:
    """A Step that is staged in a `private` directory; its processes have the mark of `own`."""

    config: Config
    inside: StepInside
    private: PrivateDirectory
    own: Path

    def as_process(self, wish: Wish, tell: Callable[[str], None]) -> int:
        from gaia_local.runtimes.process.shell import run_shell as run

        task, private = self.inside.task, self.private
        tell(str(write_local_script(task, private.root, private.work)))
        return run(task, private.work, str(self.own), wish.command, self.config.docker.stop_grace)

    def in_container(self, wish: Wish, tell: Callable[[str], None]) -> int:
        # Imported here: programs without containers don't need it.
        from gaia_local.runtimes.docker.shell import run_shell as run

        task, private = self.inside.task, self.private
        log = f"{private.top}/log"  # which nobody writes
        return run(
            self.config.docker,
            root_of(self.config),
            Invocation(task, private.root, private.work, log, None, file_work=UNTOLD),
            shell=self.own.name,
            command=wish.command,
            tell=tell,
            keep=wish.keep is not None,
        )

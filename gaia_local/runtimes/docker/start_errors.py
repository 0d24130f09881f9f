"""Why a container's program did not start: asked of the engine and of the container."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

from gaia_local.errors import RuntimeFailure
from gaia_local.model.tasks import Task
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.image_contents import ImageContents
from gaia_local.runtimes.docker.responses import Refusal
from gaia_local.runtimes.start_failures import BEGINNING_BYTES, missing_interpreter, too_long

# docker-init (tini), which exits with 1, 126 or 127, says on stderr why it is not the program; so
# does Podman's init, catatonit, which exits with 1 and doesn't name the program.
_NO_EXEC = re.compile(
    r"(?:\[FATAL tini \(\d+\)\] exec (?P<program>.*) failed"
    r"|ERROR \(catatonit:\d+\): failed to exec pid1): (?P<why>.*)\n"
)
# Without it, runc says so, with 1.
_NO_EXEC_BY_RUNC = re.compile(
    r"exec (?P<program>\S+):"
    r" (?P<why>no such file or directory|permission denied|exec format error)\s*"
)
# Engines that look for the program at the start. A missing docker-init itself is none of the
# Command's fault.
_NO_START = re.compile(
    r'exec: "(?!(?:[^"]*/)?(?:docker-init|podman-init|tini|catatonit)")([^"]*)":'
    r" (.*?)(?:: OCI .*)?$",  # Podman appends its own words
    re.MULTILINE,
)
_TOO_LONG = re.compile(r"exec \S+: argument list too long\s*")
_WANTS_TO_BE_FIRST = re.compile(
    r"(?:can only|must) (?:be )?run as (?:pid|process(?: no\.?)?) 1\b", re.IGNORECASE
)
"""Messages of inits that aren't process 1: those of s6-overlay and runit."""
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class StartErrors:
    """Tells failed starts from programs that failed. Thread-safe."""

    def __init__(self, engine: DockerEngine, contents: ImageContents, init: bool) -> None:
        """`init`: containers have an init of the engine's."""
        self._engine, self._contents, self._init = engine, contents, init

    def after_exit(
        self, container: str, task: Task, ended: tuple[int, str], stop: Callable[[], bool]
    ) -> tuple[int, str | None]:
        """The exit code, and a message where the program did not start.

        `ended` is the container's exit code and the beginning of its stderr. Raises
        `RuntimeFailure` for tokens that are too long.
        """
        code, stderr = ended
        why = _NO_EXEC.match(stderr) if self._init else _NO_EXEC_BY_RUNC.fullmatch(stderr)
        if code in (1, 126, 127) and why:
            program = why["program"] or self._program(container, task, stop)
            return self._not_executable(container, task, program, why["why"], stop)
        if code and _TOO_LONG.fullmatch(stderr):
            raise _too_long(task)
        if code and self._init and _WANTS_TO_BE_FIRST.search(stderr):
            image = f"the ENTRYPOINT of image {task.image!r}"
            return code, f"{image} must be process 1; set docker.init to False"
        return code, None

    def after_refusal(
        self, container: str, task: Task, refusal: Refusal, stop: Callable[[], bool]
    ) -> tuple[int, str]:
        """The same for a refused start; raises the refusal if it isn't the program's fault."""
        if (why := _NO_START.search(refusal.text)) is None:
            raise _too_long(task) if _TOO_LONG.search(refusal.text) else refusal
        return self._not_executable(container, task, why[1], why[2], stop)

    def _not_executable(
        self, container: str, task: Task, program: str, why: str, stop: Callable[[], bool]
    ) -> tuple[int, str]:
        where, lower = f"in image {task.image!r}", why.lower()
        if "permission denied" in lower or ("no such" not in lower and "not found" not in lower):
            return 126, f"program {program!r} can't be executed {where}: {why}"
        for path in self._possible_paths(container, program, stop):
            beginning = self._contents.beginning(container, path, BEGINNING_BYTES, stop)
            if beginning is not None:
                return 127, missing_interpreter(program, beginning, where)
        return 127, f"program {program!r} is missing {where}"

    def _program(self, container: str, task: Task, stop: Callable[[], bool]) -> str:
        """The program that a container starts."""
        seen = self._engine.ask(lambda client: client.inspect_container(container), stop)
        return str([*(seen["Config"]["Entrypoint"] or ()), *task.command][0])

    def _possible_paths(self, container: str, program: str, stop: Callable[[], bool]) -> list[str]:
        seen = self._engine.ask(lambda client: client.inspect_container(container), stop)
        config = seen["Config"]
        directories = [""]
        if "/" not in program:
            variables = dict(text.partition("=")[::2] for text in config["Env"] or ())
            directories = variables.get("PATH", _DEFAULT_PATH).split(":")
        work = config["WorkingDir"] or "/"
        return [posixpath.join(work, directory, program) for directory in directories]


def _too_long(task: Task) -> RuntimeFailure:
    return RuntimeFailure(
        f"workflow {task.workflow!r}, Step {task.name!r}: {too_long(task.command)}"
    )

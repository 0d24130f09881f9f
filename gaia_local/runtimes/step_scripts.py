"""A Step's command as an executable script, for people who want to run it themselves."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from gaia_local.model.tasks import Task

SCRIPT = "run-step.sh"
"""The name of the script, in the Step's private working directory."""


def write_script(
    work: str,
    task: Task,
    tokens: Iterable[str],
    *,
    directory: str,
    stdout: str | None,
    home: str | None = None,
) -> Path:
    """Write the script into `work`; answers its path.

    It runs the program with these `tokens` in `directory`, with stdout in the file `stdout` if that
    is given, and with `home` as HOME. These are paths as the program sees them. Raises `OSError`.
    """
    lines = [
        "#!/bin/sh",
        f"# Step {task.name!r} of workflow {task.workflow!r}",
        f"cd {shlex.quote(directory)} || exit",
    ]
    if home is not None:
        lines.append(f"export HOME={shlex.quote(home)}")
    command = f"exec {shlex.join(tokens)}"
    lines.append(command if stdout is None else f"{command} > {shlex.quote(stdout)}")
    script = Path(work, SCRIPT)
    script.unlink(missing_ok=True)  # a link of the program's would lead to another file
    script.write_text("\n".join([*lines, ""]), encoding="utf-8", errors="surrogateescape")
    script.chmod(0o700)
    return script

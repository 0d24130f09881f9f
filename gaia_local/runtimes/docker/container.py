"""The container of one Task: its mounts, its limits and its labels."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gaia_local.config import DockerConfig
from gaia_local.errors import RuntimeFailure
from gaia_local.model.tasks import Task
from gaia_local.runtimes.contract import Invocation
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.files import MountPlan
from gaia_local.runtimes.docker.images import Image
from gaia_local.runtimes.docker.labels import (
    SHELL_LABEL,
    STEP_LABEL,
    TASK_LABEL,
    WORKFLOW_LABEL,
    container_name,
)
from gaia_local.runtimes.docker.memory import memory_limit

if TYPE_CHECKING:
    from docker import APIClient
    from docker.types import DeviceRequest


PRIVATE_DIRECTORY = "/gaia-local"
"""The Task's private directory in its container: the working directory where the image names none,
and the home of users without one in the image.
"""


@dataclass(frozen=True)
class ShellEntry:
    """What a container runs for a person, in place of its image's entrypoint and the command."""

    id: str
    """That of the shell's private directory."""
    words: tuple[str, ...]
    on_terminal: bool


@contextlib.contextmanager
def task_container(
    engine: DockerEngine,
    config: DockerConfig,
    root_labels: Mapping[str, str],
    *,
    invocation: Invocation,
    image: Image,
    has_home: bool,
    plan: MountPlan,
    stop: Callable[[], bool],
    shell: ShellEntry | None = None,
) -> Iterator[str]:
    """The id of a container that is ready to start; it is removed at the end in all cases.

    `has_home`: the image has a home of this user's own. With a `shell` it isn't the Task's: no
    engine resumes or removes it. Raises `RuntimeFailure` if the engine
    leaves out the GPUs that the Task needs.
    """
    task = invocation.task
    cpus = config.cpus if task.resources.cpus is None else task.resources.cpus
    memory, _ = memory_limit(task, config)
    labels = {
        **root_labels,
        WORKFLOW_LABEL: task.workflow,
        STEP_LABEL: task.name,
        **({TASK_LABEL: task.id} if shell is None else {SHELL_LABEL: shell.id}),
    }
    name = container_name(task.id if shell is None else f"shell-{shell.id}")
    gpus = _gpus(invocation, config)
    user, group = engine.owner(stop)
    # A rootless engine's containers can't have the other groups of its user.
    groups = os.getgroups() if (user, group) == (os.getuid(), os.getgid()) else []

    def create(client: APIClient) -> str:
        from docker.types import LogConfig, Mount

        writable = {PRIVATE_DIRECTORY: Path(invocation.work).absolute(), **plan.writable}
        mounts = [Mount(path, str(source), type="bind") for path, source in writable.items()]
        mounts += [
            Mount(path, str(source), type="bind", read_only=True)
            for path, source in plan.read_only.items()
        ]
        host = client.create_host_config(
            mounts=mounts,
            init=config.init,  # forwards signals, and ends all that the program leaves behind
            security_opt=["no-new-privileges"],
            group_add=[str(other) for other in groups],
            network_mode=config.network,
            mem_limit=memory,
            nano_cpus=None if cpus is None else int(cpus * 1e9),
            shm_size=config.shm_size,
            device_requests=gpus,
            # Can be read again, unlike the engine's default on some machines.
            log_config=LogConfig(type="json-file"),
        )
        created = client.create_container(
            image.id,
            name=name,
            user=f"{user}:{group}",
            working_dir=image.directory or PRIVATE_DIRECTORY,
            environment={**({} if has_home else {"HOME": PRIVATE_DIRECTORY}), **config.env},
            labels=labels,
            host_config=host,
            **_entry(task, shell),
        )
        return str(created["Id"])

    with engine.container(name, labels, create, stop) as container:
        if gpus and not engine.has_devices(container, stop):
            raise RuntimeFailure(
                f"workflow {task.workflow!r}, Step {task.name!r}: the engine leaves out the GPUs"
                " that it was asked for, as Podman does; use Docker for Steps with GPUs"
            )
        yield container


def _entry(task: Task, shell: ShellEntry | None) -> dict[str, Any]:
    """What the container runs: after the image's entrypoint the Task's command, or a shell."""
    if shell is None:
        return {"command": list(task.command)}
    return {
        "entrypoint": list(shell.words[:1]),
        "command": list(shell.words[1:]),
        "tty": shell.on_terminal,
        "stdin_open": True,
    }


def _gpus(invocation: Invocation, config: DockerConfig) -> list[DeviceRequest] | None:
    from docker.types import DeviceRequest

    if invocation.gpus:
        return [DeviceRequest(device_ids=list(invocation.gpus), capabilities=[["gpu"]])]
    wanted = invocation.task.resources.gpus
    gpus = config.gpus if wanted is None else wanted
    if gpus is None:
        return None
    return [DeviceRequest(count=-1 if gpus == "all" else int(gpus), capabilities=[["gpu"]])]

"""Makes the runtime that the configuration names; imports only the modules of that one."""

from __future__ import annotations

import contextlib

from gaia_local.config import DockerConfig
from gaia_local.runtimes.contract import Root, Runtime


def make_runtime(
    name: str, docker: DockerConfig, root: Root, environment_counts: bool = True
) -> Runtime:
    """One of `config.RUNTIMES`, for the Tasks of one root.

    `environment_counts` is `ProcessRuntime`'s.
    """
    if name == "process":
        from gaia_local.runtimes.process.runtime import ProcessRuntime

        return ProcessRuntime(environment_counts)
    # Imported here: its import takes time, and programs without containers don't need it.
    from gaia_local.runtimes.docker.runtime import DockerRuntime

    docker_runtime = DockerRuntime(docker, root)
    if name == "docker":
        return docker_runtime
    from gaia_local.runtimes.auto import AutoRuntime
    from gaia_local.runtimes.process.runtime import ProcessRuntime

    return AutoRuntime(docker_runtime, ProcessRuntime(environment_counts))


def runs_in_container(name: str, docker: DockerConfig, root: Root, image: str) -> bool:
    """Whether the runtime of this name would run a Task of an image in a container."""
    if name != "auto":
        return name == "docker"
    from gaia_local.runtimes.auto import AutoRuntime

    with contextlib.closing(make_runtime(name, docker, root)) as runtime:
        assert isinstance(runtime, AutoRuntime)
        return runtime.choice(image) == "docker"

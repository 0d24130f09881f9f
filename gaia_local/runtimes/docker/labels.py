"""The labels and names of our containers, and those that earlier processes left."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gaia_local.errors import Closed, EngineUnavailable, RuntimeFailure
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.responses import NoAnswer, Refusal

ROOT_LABEL, IDENTITY_LABEL = "gaia-local.root", "gaia-local.root-id"
TASK_LABEL, WORKFLOW_LABEL, STEP_LABEL = "gaia-local.task", "gaia-local.workflow", "gaia-local.step"


SHELL_LABEL = "gaia-local.shell"
"""Holds the id of a shell, whose containers belong to its process and not to an engine."""


class LeftoverContainer(NamedTuple):
    """A container that an earlier process left; `task` is empty for one that runs no Task."""

    task: str
    workflow: str
    step: str
    container: str
    running: bool
    shell: str = ""
    """The id of the shell that it belongs to, if any: as long as that lives, it isn't left."""


def all_leftovers() -> list[tuple[str, LeftoverContainer]]:
    """The containers of all roots, with their roots, and with those of living shells.

    Raises `EngineUnavailable`, or as `containers_with`.
    """
    with contextlib.closing(DockerEngine()) as engine:
        engine.ping()
        return containers_with(engine, ROOT_LABEL)


def containers_with(engine: DockerEngine, label: str) -> list[tuple[str, LeftoverContainer]]:
    """The containers with a label, with their roots. Raises `RuntimeFailure` without an answer."""
    with runtime_failures("the containers of an earlier process could not be listed"):
        found = engine.ask(lambda client: client.containers(all=True, filters={"label": label}))
    return [(container["Labels"][ROOT_LABEL], _leftover(container)) for container in found]


def _leftover(container: Mapping[str, Any]) -> LeftoverContainer:
    labels = container["Labels"]
    return LeftoverContainer(
        task=labels.get(TASK_LABEL, ""),
        workflow=labels.get(WORKFLOW_LABEL, ""),
        step=labels.get(STEP_LABEL, ""),
        container=container["Id"],
        running=container["State"] not in ("created", "exited", "dead"),
        shell=labels.get(SHELL_LABEL, ""),
    )


def container_name(task_id: str) -> str:
    return "gaia-local-" + re.sub(r"[^a-zA-Z0-9_.-]", "-", task_id)


@contextlib.contextmanager
def runtime_failures(failed: str) -> Iterator[None]:
    """Turn the errors of an engine into `RuntimeFailure`; `failed` begins its message."""
    try:
        yield
    except Refusal as refusal:
        raise RuntimeFailure(f"{failed}; the engine refuses: {refusal.text}") from refusal
    except NoAnswer as no_answer:
        raise RuntimeFailure(
            f"{failed}; the engine doesn't answer: {no_answer}; make sure that Docker runs"
        ) from no_answer
    except (EngineUnavailable, Closed) as error:
        raise RuntimeFailure(f"{failed}; {error}") from error

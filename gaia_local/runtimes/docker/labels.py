"""The containers of this machine that engines made: their labels, their names, and those that
earlier processes left.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from gaia_local.errors import Closed, EngineUnavailable, RuntimeFailure
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.responses import Refusal, Silence

ROOT_LABEL = "gaia-local.root"
TASK_LABEL, WORKFLOW_LABEL, STEP_LABEL = "gaia-local.task", "gaia-local.workflow", "gaia-local.step"


class LeftoverContainer(NamedTuple):
    """A container of this root that an earlier process left; `task` is empty for one that only
    served to look inside.
    """

    task: str
    workflow: str
    step: str
    container: str
    running: bool


def all_leftovers() -> list[tuple[str, LeftoverContainer]]:
    """The containers of all roots, each with its root. Raises `EngineUnavailable` or
    `RuntimeFailure`.
    """
    with contextlib.closing(DockerEngine()) as engine:
        engine.ping()
        return containers_with(engine, ROOT_LABEL)


def containers_with(engine: DockerEngine, label: str) -> list[tuple[str, LeftoverContainer]]:
    with as_failure("the containers of an earlier process could not be listed"):
        found = engine.ask(lambda client: client.containers(all=True, filters={"label": label}))
    return [
        (
            each["Labels"][ROOT_LABEL],
            LeftoverContainer(
                task=each["Labels"].get(TASK_LABEL, ""),
                workflow=each["Labels"].get(WORKFLOW_LABEL, ""),
                step=each["Labels"].get(STEP_LABEL, ""),
                container=each["Id"],
                running=each["State"] not in ("created", "exited", "dead"),
            ),
        )
        for each in found
    ]


def container_name(task_id: str) -> str:
    return "gaia-local-" + re.sub(r"[^a-zA-Z0-9_.-]", "-", task_id)


@contextlib.contextmanager
def as_failure(what: str) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        raise RuntimeFailure(f"{what}; the engine refuses: {refusal.text}") from refusal
    except Silence as silence:
        raise RuntimeFailure(
            f"{what}; the engine doesn't answer: {silence}; see to it that Docker runs"
        ) from silence
    except (EngineUnavailable, Closed) as error:
        raise RuntimeFailure(f"{what}; {error}") from error

"""Rows of the state file and the values that they hold: the one written as the other."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from gaia_local.model.resources import NONE, Resources
from gaia_local.model.tasks import NO_KEYS, Reused, Task, TaskState
from gaia_local.model.usage import Usage
from gaia_local.model.validation import shared_text
from gaia_local.workflow.states import Attempt, KeyKind, KeyState, Reason

to_json = json.JSONEncoder(check_circular=False).encode
"""A value as JSON; it holds no cycle, since this program made it or read it from JSON."""


class Made(NamedTuple):
    """The maker of a file: the record of a key, and of the Task that made it."""

    place: str
    state: KeyState
    maker: Attempt | None


def task_json(task: Task) -> str:
    return to_json(
        {
            "image": task.image,
            "command": task.command,
            "inputs": task.inputs,
            "outputs": task.outputs,
            "stdout": task.stdout,
            "timeout": task.timeout,
            "external": sorted(task.external),
            **({"resources": dict(task.resources.items())} if task.resources else {}),
            **({} if task.reusable else {"reuse": False}),
        }
    )


def read_task(identity: str, workflow: str, step: str, reason: str, definition: str) -> Task:
    """The Task whose `task_json` is `definition`."""
    facts = json.loads(definition)
    return Task(
        identity,
        step,
        shared_text(workflow),
        shared_text(facts["image"]),
        tuple(map(shared_text, facts["command"])),
        tuple([(key, shared_text(path)) for key, path in facts["inputs"]]),
        tuple([(key, shared_text(path)) for key, path in facts["outputs"]]),
        facts["stdout"],
        facts["timeout"],
        shared_text(reason),
        frozenset(facts["external"]) if facts["external"] else NO_KEYS,
        resources=Resources(**facts["resources"]) if "resources" in facts else NONE,
        reusable=facts.get("reuse", True),
    )


def read_key_state(
    kind: str, quick: str | None, digest: str | None, task: str | None, why: str | None
) -> KeyState:
    return KeyState(KeyKind(kind), quick, digest, task, None if why is None else Reason.parse(why))


def read_made(row: tuple[Any, ...]) -> Made:
    place, kind, quick, digest, task, why, *maker = row
    return Made(
        place,
        read_key_state(kind, quick, digest, task, why),
        None if maker[0] is None else read_attempt(tuple(maker)),
    )


def read_attempt(row: tuple[Any, ...]) -> Attempt:
    (
        identity,
        workflow,
        step,
        state,
        reason,
        definition,
        code,
        message,
        image_id,
        inputs,
        superseded,
        created,
        started,
        ended,
        reused,
        _fingerprint,
        usage,
    ) = row
    return Attempt(
        read_task(identity, workflow, step, reason, definition),
        TaskState(state),
        created,
        started,
        ended,
        code,
        message,
        image_id,
        None if inputs is None else json.loads(inputs),
        bool(superseded),
        None if reused is None else Reused(*json.loads(reused)),
        None if usage is None else Usage.parse(usage),
    )

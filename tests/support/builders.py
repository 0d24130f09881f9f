"""Definitions of Commands and Steps, and Tasks: short to write, and of one shape."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from gaia_local.model.tasks import Task
from gaia_local.model.validation import NOTHING


def command(
    name: str, script: str, *inputs: str, image: str = "busybox", **outputs: str
) -> dict[str, Any]:
    """A Command that runs shell code.

    `inputs` are names, each found below ``/in``; of no `outputs`, it makes ``x``, which is
    ``/out/x``.
    """
    return {
        "name": name,
        "image": image,
        "command": ["sh", "-c", script],
        "inputs": {name: f"/in/{name}" for name in inputs},
        "outputs": outputs or {"x": "/out/x"},
    }


COPY = command("copy", "cat /in/a > /out/x", "a")
ECHO = {
    **command("echo", "echo {{text}} > {{result}}", result="/out/result"),
    "vars": {"text": "hello"},
}


def step(
    name: str, command: str, output: str | None = None, *inputs: str, **fields: Any
) -> dict[str, Any]:
    """A Step; `output` is the key of ``x``, `inputs` are the keys of ``a``, ``b``, ``c`` and so on.

    `fields` are added, or replace these.
    """
    return {
        "name": name,
        "command": command,
        "inputs": dict(zip(string.ascii_lowercase, inputs, strict=False)),
        "outputs": {} if output is None else {"x": output},
        **fields,
    }


def task(
    name: str = "s",
    inputs: Mapping[str, str] = NOTHING,
    outputs: Mapping[str, str] = NOTHING,
    **facts: Any,
) -> Task:
    """A Task of the workflow ``w``; `inputs` and `outputs` map internal paths to keys."""
    given: dict[str, Any] = {
        "id": "t1",
        "workflow": "w",
        "image": "image",
        "command": ("true",),
        "inputs": tuple((key, path) for path, key in inputs.items()),
        "outputs": tuple((key, path) for path, key in outputs.items()),
        "stdout": None,
        "timeout": 60.0,
    }
    return Task(name=name, **{**given, **facts})


def nested_lists(levels: int) -> list[Any]:
    """A list in a list, and so on."""
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made

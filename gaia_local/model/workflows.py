"""The name, the properties and the state of a workflow."""

from __future__ import annotations

import enum
import json
from typing import Any

from gaia_local.errors import InvalidInput
from gaia_local.model.names import OWN, check_name
from gaia_local.model.validation import as_json, read_mapping


class WorkflowState(enum.StrEnum):
    """The state of a workflow, as `status` answers it."""

    INITIALIZED = "initialized"
    RUNNING = "running"
    COMPLETE = "complete"
    HALTED = "halted"
    ERROR = "error"
    INCOMPLETE = "incomplete"


def check_workflow_name(name: object) -> str:
    """A workflow's name: also one directory's name under the root."""
    checked = check_name("workflow", name, "workflow")
    if "/" in checked or checked == ".":
        raise InvalidInput(
            f"workflow {name!r}", "the name can't be a directory's name", "leave out '/'"
        )
    if checked.startswith(OWN):
        raise InvalidInput(
            f"workflow {name!r}",
            f"it begins with {OWN!r}",
            "such names are reserved for the engine: choose another",
        )
    return checked


def check_properties(workflow: str, given: object) -> dict[str, Any]:
    """A workflow's properties; `owner` defaults to the part of the name before the first ``_``."""
    where = f"workflow {workflow!r}"
    properties = dict(read_mapping(where, "properties", given))
    properties.setdefault("owner", workflow.partition("_")[0])
    for name, value in properties.items():
        properties[name] = json.loads(
            as_json(f"{where}, properties", f"value of {name!r}", {name: value})
        )[name]
    return properties

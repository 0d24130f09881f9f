"""Moves the outputs of a Task that ended into the store."""

from __future__ import annotations

from dataclasses import replace

from gaia_local.errors import StorageError, error_text
from gaia_local.model.assignment import Outcome
from gaia_local.model.tasks import TaskState
from gaia_local.store.storage import Storage
from gaia_local.workflow.workflow import Workflow


def published(storage: Storage, workflow: Workflow, outcome: Outcome) -> Outcome:
    """The outcome of a Task with its outputs in the store; if these can't be moved, it failed."""
    try:
        outputs = tuple(storage.publish(outcome.outputs))
    except (OSError, StorageError) as error:
        workflow.contents.unpublished(output.key for output in outcome.outputs)
        return Outcome(
            TaskState.EXCEPTION,
            message=error_text(error),
            exception=type(error).__name__,
            inputs=outcome.inputs,
        )
    return replace(outcome, outputs=outputs) if outputs else outcome

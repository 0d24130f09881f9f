"""Moves the outputs of Tasks that ended into the store."""

from __future__ import annotations

from dataclasses import replace

from gaia_local.errors import StorageError, error_text
from gaia_local.model.assignment import Outcome
from gaia_local.model.tasks import TaskState
from gaia_local.model.usage import Usage
from gaia_local.monotonic import monotonic
from gaia_local.store.storage import Storage
from gaia_local.workflow.workflow import Workflow


def publish(storage: Storage, workflow: Workflow, outcome: Outcome, began: float) -> Outcome:
    """Move a Task's outputs into the store; if that fails, so does the Task.

    The wait for that, since its end was reported at `began`, is part of its publishing.
    """
    try:
        published = tuple(storage.publish(outcome.outputs))
    except (OSError, StorageError) as error:
        workflow.contents.unpublished(output.key for output in outcome.outputs)
        return Outcome(
            TaskState.EXCEPTION,
            message=error_text(error),
            exception=type(error).__name__,
            inputs=outcome.inputs,
            usage=_with_publishing(outcome.usage, began),
        )
    return replace(outcome, outputs=published, usage=_with_publishing(outcome.usage, began))


def _with_publishing(usage: Usage | None, began: float) -> Usage | None:
    return None if usage is None else usage.published(monotonic() - began)

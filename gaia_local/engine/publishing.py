"""Moves the outputs of Tasks that ended into the store."""

from __future__ import annotations

from dataclasses import replace

from gaia_local.errors import StorageError, error_text
from gaia_local.model.assignment import Outcome
from gaia_local.model.tasks import TaskState
from gaia_local.store.storage import Storage
from gaia_local.workflow.workflow import Workflow


def publish(storage: Storage, workflow: Workflow, outcome: Outcome) -> Outcome:
    """Move a Task's outputs into the store; if that fails, so does the Task."""
    try:
        published = tuple(storage.publish(outcome.outputs))
    except (OSError, StorageError) as error:
        workflow.contents.unpublished(output.key for output in outcome.outputs)
        return Outcome(
            TaskState.EXCEPTION,
            message=error_text(error),
            exception=type(error).__name__,
            inputs=outcome.inputs,
            usage=outcome.usage,
        )
    return replace(outcome, outputs=published) if published else outcome


def with_publishing(outcome: Outcome, seconds: float) -> Outcome:
    """The same outcome, whose publishing took so much longer; of a reused one, nothing counts."""
    if outcome.usage is None:
        return outcome
    return replace(outcome, usage=outcome.usage.published(seconds))

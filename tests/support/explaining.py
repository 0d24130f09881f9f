"""The answers of `Gaia.explain` for a Step, its last run, and a storage key, by type."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import KeyExplanation, StepExplanation, TaskRecord


def explain_step(gaia: Gaia, workflow: str, step: str) -> StepExplanation:
    answer = gaia.explain(workflow, step)
    assert "step" in answer
    return answer


def explain_key(gaia: Gaia, workflow: str, key: str) -> KeyExplanation:
    answer = gaia.explain(workflow, key)
    assert "key" in answer
    return answer


def last_run(gaia: Gaia, workflow: str, step: str) -> TaskRecord:
    last = explain_step(gaia, workflow, step)["last"]
    assert last is not None
    return last

"""Predicts which Steps of a plan would be given results instead of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gaia_local.executors.results import Result
from gaia_local.executors.reusing import EXPIRED_REASON
from gaia_local.model.task_fingerprints import task_fingerprint
from gaia_local.model.tasks import Task
from gaia_local.store.storage import Storage
from gaia_local.workflow.nodes import KeyNode
from gaia_local.workflow.workflow import Workflow

if TYPE_CHECKING:
    from gaia_local.model.answer_types import PlannedStep


class Prediction:
    """One plan's Steps, one after the other: what they would be given decides about the next."""

    def __init__(
        self,
        trial: Workflow,
        storage: Storage,
        identity: Callable[[Task], str | None],
        find: Callable[[str], Iterable[Result]],
    ) -> None:
        """`identity` is that of the runtime, `find` that of the results."""
        self._trial, self._storage = trial, storage
        self._identity, self._find = identity, find
        self._digests: dict[str, str] = {}
        """Key that a Step of the plan makes → the digest of the result that it would be given."""

    def complete(self, plan: list[PlannedStep]) -> None:
        """Add `reuse` to the Steps of a plan, which come after those that they depend on."""
        self._planned = {entry["step"] for entry in plan}
        for entry in plan:
            task = self._trial.attempts.make_task(self._trial.graph.steps[entry["step"]])
            result = None if entry["reason"] == EXPIRED_REASON else self._result(task)
            if result is not None:
                entry["reuse"] = result.made_by.wire()
                for key, text in result.needed(task):
                    self._digests[key] = result.files[text].recorded.digest

    def _result(self, task: Task) -> Result | None:
        if not task.reusable or (program := self._identity(task)) is None:
            return None
        digests: dict[str, str] = {}
        for key, _ in task.inputs:
            digest = self._digests.get(key) or self._present(self._trial.graph.keys[key])
            if digest is None:
                return None
            digests[key] = digest
        found = self._find(task_fingerprint(task, program, digests))
        return next((result for result in found if self._is_there(result)), None)

    def _present(self, key: KeyNode) -> str | None:
        """The digest of a key that no Step of the plan makes; None if it isn't there."""
        if any(maker.step.name in self._planned for maker in key.makers) or not key.state.usable:
            return None
        if key.state.digest is not None:
            return key.state.digest
        read = self._storage.fingerprint(key.key, key.path, key.external)
        return None if read is None else read.digest

    def _is_there(self, result: Result) -> bool:
        return all(
            self._storage.quick_fingerprint(text, file.path) == file.recorded.looked_like
            for text, file in result.files.items()
        )

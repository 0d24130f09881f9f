"""The results of complete Tasks in one root: those that other Tasks can be given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gaia_local.executors.results import Result
from gaia_local.model.keys import Capture, output_place
from gaia_local.model.tasks import Fingerprint, Reused
from gaia_local.state.database import Database
from gaia_local.store.leases import find_log
from gaia_local.store.storage import Storage
from gaia_local.store.task_files import StoredResult
from gaia_local.workflow.states import Attempt


class RecordedResult(NamedTuple):
    """A result, with the Step that made it."""

    step: str
    fingerprint: str
    image: str
    result: Result


class RecordedResults:
    """Finds results in the rows of a root: nothing is recorded for them alone.

    A Task has a result as long as all its outputs are complete, and made by it. An edit, `expire`,
    another run of its Step and `delete` end that.
    """

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database, self._storage = database, storage

    def find(self, fingerprint: str) -> Iterator[Result]:
        """As `Results.find`."""
        for attempt in self._database.with_fingerprint(fingerprint):
            result = self._result(attempt)
            if result is not None:
                yield result

    def of_workflow(self, workflow: str) -> list[RecordedResult]:
        """The results that one workflow's Steps have now."""
        found = []
        for fingerprint, attempt in self._database.fingerprinted(workflow):
            result = self._result(attempt)
            if result is not None:
                task = attempt.task
                found.append(RecordedResult(task.name, fingerprint, task.image, result))
        return found

    def _result(self, attempt: Attempt) -> Result | None:
        task, files = attempt.task, dict[str, StoredResult]()
        states = self._database.results(task)
        for key, text in task.outputs:
            if output_place(text) is Capture.LOG:
                continue
            state = states.get(key)
            if state is None or state.quick is None or state.digest is None:
                return None
            path = self._storage.path(task.workflow, key)
            files[text] = StoredResult(path, Fingerprint(state.quick, state.digest))
        made_by = Reused(task.workflow, task.name, task.id)
        log = find_log(self._storage, task.workflow, task.id)
        # A log alone has nothing recorded by which it could be compared.
        return Result(made_by, files, log, attempt.image_id) if files else None

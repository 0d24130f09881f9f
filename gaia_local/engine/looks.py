"""The looks at files of the process that owns a root: they end when it closes, and tell of it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gaia_local.engine.doing import Doing
from gaia_local.engine.observing import load, load_for_trial, observe
from gaia_local.errors import Closed
from gaia_local.state.database import Database
from gaia_local.store.file_work import FileWork
from gaia_local.store.storage import Storage
from gaia_local.workflow.decision import Inspection, Observation, Saved
from gaia_local.workflow.workflow import Workflow


class Looks:
    """Looks at files, without the lock. Thread-safe.

    Invariant: once `closed`, every look raises `Closed` after 8 MB or a moment at the latest. So
    no thread that looks at a huge file holds up the end of the engine.
    """

    def __init__(
        self,
        database: Database,
        storage: Storage,
        notify: Callable[[Collection[str]], None],
    ) -> None:
        """`notify` is called with the workflow when there is news of a long look."""
        self._database, self._storage = database, storage
        self._notify = notify
        self.doing = Doing()
        self.closed = False
        self.work = FileWork(self.refuse_if_closed)
        """That of looks which aren't told: it has no state, and all threads may use it."""

    def refuse_if_closed(self) -> None:
        """Raise `Closed` once no more is to be done."""
        if self.closed:
            raise Closed("this Gaia was closed")

    def observe(self, workflow: str, requests: Collection[Inspection]) -> list[Observation]:
        """As `observing.observe`; raises `OSError`, `StorageError` and `Closed`."""
        look = object()

        def tell(doing: str) -> None:
            self.doing.set(workflow, look, f"the engine is {doing}")
            self._notify((workflow,))

        work = FileWork(self.refuse_if_closed, tell)
        try:
            return observe(self._storage, requests, self._database.listing, work)
        finally:
            self.doing.forget(workflow, look)

    def load(self, saved: Saved) -> Workflow:
        """As `observing.load`."""
        return load(saved, self._storage, self._database.listing, self.work)

    def load_for_trial(self, saved: Saved) -> Workflow:
        """As `observing.load_for_trial`."""
        return load_for_trial(saved, self._storage, self._database.listing, self.work)

"""The workflows of a root that are in memory."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from pathlib import Path

from gaia_local.engine.journal import Journal
from gaia_local.engine.looks import Looks
from gaia_local.errors import InvalidInput, nearest
from gaia_local.state.database import Database
from gaia_local.workflow.contents import inspections
from gaia_local.workflow.decision import Inspection, Saved
from gaia_local.workflow.workflow import Workflow


def no_such_workflow(name: str, root: Path, known: Iterable[str]) -> InvalidInput:
    """The error for a name that no workflow has, with the `known` names of the root's workflows."""
    absent = "" if root.exists() else ", which isn't there"
    what = f"it doesn't exist in root {root}{absent}"
    return InvalidInput(f"workflow {name!r}", what, nearest(name, known, "workflows"))


class Registry:
    """Reads workflows when they are first used, and lists the inspections that their files need.

    `lock` guards it, the journal and each workflow. Its methods take the lock themselves.
    """

    def __init__(self, root: Path, database: Database, looks: Looks) -> None:
        self._root, self._database, self._looks = root, database, looks
        self.lock = threading.RLock()
        self.workflows: dict[str, Workflow] = {}
        self.journal = Journal(database)
        self.inspected: set[str] = set()
        """Workflows whose files were inspected here: the watcher's reports of these count."""
        self.missed: set[str] = set()
        """Workflows with a file that could not be inspected: the next call inspects all again."""

    def open(self, name: str) -> Workflow | None:
        """The workflow, read now unless it was read before; None if there is none."""
        with self.lock:
            workflow = self.workflows.get(name)
        if workflow is None and (saved := self._database.saved(name)) is not None:
            read = self._looks.load(saved)
            with self.lock:
                if self._database.workflow(name) is not None:  # else it was deleted meanwhile
                    workflow = self.workflows.setdefault(name, read)
        return workflow

    def get(self, name: str) -> Workflow:
        """As `open`; raises `InvalidInput` if there is none."""
        workflow = self.open(name)
        if workflow is None:
            raise self.no_such(name)
        return workflow

    def no_such(self, name: str) -> InvalidInput:
        """The error for a name that no workflow has."""
        return no_such_workflow(name, self._root, self._database.workflows())

    def saved(self, name: str) -> Saved:
        """A workflow's rows as they will be when all changes are written."""
        with self.lock:
            saved = self.journal.saved(name, self.workflows.get(name))
        if saved is None:
            raise self.no_such(name)
        return saved

    def read_again(self, name: str) -> Workflow:
        """Replace a workflow by one read from its rows."""
        saved = self._database.saved(name)
        assert saved is not None
        workflow = self._looks.load(saved)
        with self.lock:
            self.workflows[name] = workflow
        return workflow

    def forget(self, name: str) -> None:
        """Drop a workflow that was deleted."""
        with self.lock:
            self.workflows.pop(name, None)
            self.journal.take(name)
            self.inspected.discard(name)

    def inspections_of_keys(
        self, name: str, keys: Collection[str] | None, unless_done: bool
    ) -> list[Inspection]:
        """A workflow's inspections (`keys` None: all); with `unless_done`, none if done already."""
        self.open(name)
        with self.lock:
            workflow = self.workflows.get(name)
            if workflow is None or (unless_done and name in self.inspected - self.missed):
                return []
            self.inspected.add(name)
            if keys is None:
                self.missed.discard(name)
            nodes = workflow.graph.keys
            wanted = nodes if keys is None else keys
            return inspections(nodes[key] for key in wanted if key in nodes)

    def inspections_of_paths(
        self, paths: Collection[str] | None
    ) -> list[tuple[str, list[Inspection]]]:
        """Inspections of the keys whose files are at, above or below `paths`; None: of all keys."""
        found = []
        with self.lock:
            for name in self.inspected & self.workflows.keys():
                graph = self.workflows[name].graph
                nodes = graph.keys
                if paths is not None:
                    nodes = {node.key: node for path in paths for node in graph.overlapping(path)}
                found.append((name, inspections(nodes.values())))
        return found

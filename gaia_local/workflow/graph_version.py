"""A name for what a workflow consists of: its Commands, its Steps and their edges."""

from __future__ import annotations

import hashlib
import json

from gaia_local.workflow.graph import Graph
from gaia_local.workflow.submissions import Submitted


class GraphVersion:
    """A text that changes exactly when Commands, Steps or edges change. Not thread-safe.

    It follows from these alone: a workflow that is read again, by any process, has the same one,
    and so has one that is changed back. It is made once for each change of the definitions.
    """

    def __init__(self, submitted: Submitted, graph: Graph) -> None:
        self._submitted, self._graph = submitted, graph
        self._edition: int | None = None
        self._text = ""

    def __str__(self) -> str:
        if self._edition != self._submitted.edition:
            self._edition, self._text = self._submitted.edition, self._make()
        return self._text

    def _make(self) -> str:
        nodes = sorted(self._graph.steps.values(), key=lambda node: node.order)
        facts = [
            [dict(command.definition) for _, command in sorted(self._submitted.commands.items())],
            [step.text for _, step in sorted(self._submitted.steps.items())],
            # Steps that don't fit their Commands any more are kept as they were.
            [
                (step.name, step.command, [*step.inputs.values()], [*step.outputs.values()])
                for step in (node.step for node in nodes)
            ],
        ]
        return hashlib.blake2b(json.dumps(facts).encode("ascii"), digest_size=16).hexdigest()

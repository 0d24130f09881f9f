"""A name for what a workflow consists of: its Commands, its Steps and their edges."""

from __future__ import annotations

import hashlib
import json

from gaia_local.model.commands import AnyCommand
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
        self._commands: dict[str, tuple[AnyCommand, str]] = {}
        """Name → Command, and its digest: few of them change at a time."""

    def __str__(self) -> str:
        if self._edition != self._submitted.edition:
            self._edition, self._text = self._submitted.edition, self._make()
        return self._text

    def _make(self) -> str:
        before, self._commands = self._commands, {}
        for name, command in sorted(self._submitted.commands.items()):
            known = before.get(name)
            if known is None or known[0] is not command:
                known = command, _digest(json.dumps(command.definition))
            self._commands[name] = known
        # No name and no key has a NUL, and no JSON.
        facts = [digest for _, digest in self._commands.values()]
        facts += [step.text for _, step in sorted(self._submitted.steps.items())]
        # Steps that don't fit their Commands any more are kept as they were. Not in their order: of
        # the Steps of one array it may be another one when they are read again.
        for _, node in sorted(self._graph.steps.items()):
            step = node.step
            facts += ("", step.name, step.command, *step.inputs.values(), "")
            facts += step.outputs.values()
        return _digest("\0".join(facts))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

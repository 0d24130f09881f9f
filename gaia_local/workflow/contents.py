"""The contents of a workflow's keys: records observations, and marks the Steps that they affect."""

from __future__ import annotations

from collections.abc import Iterable

from gaia_local.model.assignment import Outcome
from gaia_local.model.events import EventKind
from gaia_local.model.tasks import DOUBTFUL, Fingerprint, Task, TaskState
from gaia_local.workflow.attempts import Attempts
from gaia_local.workflow.decision import Decision, Inspection, Observation
from gaia_local.workflow.graph import Graph
from gaia_local.workflow.nodes import KeyNode
from gaia_local.workflow.states import (
    ABSENT,
    INTERRUPTED,
    RETRY,
    KeyKind,
    KeyState,
    Reason,
    ReasonKind,
    StepState,
)
from gaia_local.workflow.verdicts import change_of


class Contents:
    """The contents of one workflow's keys. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, graph: Graph, attempts: Attempts, draft: Decision) -> None:
        """`draft` is the decision in the making."""
        self._graph, self._attempts, self._draft = graph, attempts, draft

    def observe(self, key: KeyNode, seen: Observation) -> None:
        """Record an observation of a key: any change counts as the user's."""
        state, quick = key.state, seen.quick
        made = key.maker is not None
        self._add_listing(seen)
        if quick is None:
            if state.usable or (state.kind is KeyKind.EXPIRED and not made):
                self._change(key, ABSENT)
            else:
                self._graph.mark(key, state)
        elif state.kind is KeyKind.ABSENT:
            self._change(key, KeyState(KeyKind.THERE, quick, seen.digest))
        elif state.kind is KeyKind.EXPIRED:
            same = seen.digest is not None and seen.digest == state.digest
            if made or same or state.quick in (None, quick):
                self._graph.mark(key, state if made else state._replace(quick=quick))
            else:
                self._change(key, KeyState(KeyKind.THERE, quick, seen.digest))
        elif quick == state.quick:
            self._graph.mark(key, state._replace(digest=seen.digest or state.digest))
        elif seen.digest is not None and seen.digest == state.digest:
            self._graph.mark(key, state._replace(quick=quick))
        elif made and seen.lost is not None:  # a damaged directory is no version of the user's
            why = Reason(ReasonKind.MISSING, f"{key.key.removesuffix('/')}/{seen.lost}")
            self._change(key, state._replace(kind=KeyKind.EXPIRED, quick=quick, why=why))
        else:
            self._change(key, state._replace(quick=quick, digest=seen.digest, made_by=None))

    def _change(self, key: KeyNode, state: KeyState) -> None:
        """Set a key's new content, and compare it with its readers' records.

        A Step whose outputs were found in the store has no record of its inputs to compare: it must
        run.
        """
        before = key.state
        same = before.digest is not None and before.digest == state.digest
        # Readers of an expired key must run anyway, or are newer: they found their outputs later.
        differs = not same and (before.usable or before.why == INTERRUPTED)
        self._graph.mark(key, state)
        for node in key.all_readers:
            if node.state is StepState.FAILED and node.reads is None and not same:
                self._attempts.supersede(node)
            if differs and node.reads is None and not node.state.alive:
                for output in node.outputs:
                    if output.state.kind is KeyKind.THERE:
                        self._graph.mark(
                            output, output.state._replace(kind=KeyKind.UNSURE, why=change_of(key))
                        )

    def _record_read(self, key: KeyNode, seen: Fingerprint) -> None:
        """Record the digest of a key that a Task read, if none was known.

        If another one was known, the file must be inspected.
        """
        state = key.state
        if not state.usable or (state.quick, state.digest) == (seen.quick, seen.digest):
            return
        if state.digest in (None, seen.digest) and state.quick in (
            seen.looked_like,
            seen.looked_like + DOUBTFUL,
        ):
            if state.digest is None or seen.quick == seen.looked_like:
                self._graph.mark(key, state._replace(quick=seen.quick, digest=seen.digest))
        elif state.digest != seen.digest:
            self._graph.require_inspection(key)

    def unpublished(self, keys: Iterable[str]) -> None:
        """Expire the files at these keys, since publishing a Task's outputs failed."""
        for key in keys:
            node = self._graph.keys[key]
            self._change(node, node.state._replace(kind=KeyKind.EXPIRED, quick=None, why=RETRY))

    def record_outcome(self, task: Task, outcome: Outcome) -> None:
        """Record the inputs and the published outputs of a Task."""
        for key, read in outcome.inputs.items():
            self._record_read(self._graph.keys[key], read)
            self._add_listing(read)
        for output in outcome.outputs:
            made = output.fingerprint
            if outcome.state is TaskState.COMPLETE:
                state = KeyState(KeyKind.THERE, made.quick, made.digest, task.id)
            else:  # the log of a failure
                state = KeyState(KeyKind.UNSURE, made.quick, made.digest, task.id, RETRY)
            self._change(self._graph.keys[output.key], state)
            self._add_listing(made)
            self._attempts.note(EventKind.DATA_COMPLETE, task, key=output.key, path=output.target)

    def _add_listing(self, seen: Fingerprint | Observation) -> None:
        if seen.digest is not None and seen.listing is not None:
            self._draft.changes.listings[seen.digest] = seen.listing


def inspections(keys: Iterable[KeyNode]) -> list[Inspection]:
    """Requests to inspect keys, with their present states."""
    return [
        Inspection(
            key.key,
            key.path,
            key.state,
            key.version,
            key.state.digest is None and _is_read(key),
            key.external,
            key.unseen,
        )
        for key in keys
    ]


def _is_read(key: KeyNode) -> bool:
    """Whether a Task that counts, or that can be resumed, read this key."""
    for node in key.readers:
        reads = node.reads
        if not reads and node.state is StepState.INTERRUPTED and node.attempt is not None:
            reads = node.attempt.inputs
        if reads and reads.get(key.key) is not None:
            return True
    return False

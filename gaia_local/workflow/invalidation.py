"""Invalidation: outputs of Steps, and of all their dependents, must be made again."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gaia_local.workflow.attempts import Attempts
from gaia_local.workflow.graph import Graph
from gaia_local.workflow.nodes import KeyNode, StepNode
from gaia_local.workflow.states import ABSENT, EXPIRED, KeyKind, Reason, ReasonKind


class Invalidation:
    """Invalidates outputs of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, graph: Graph, attempts: Attempts) -> None:
        self._graph, self._attempts = graph, attempts

    def invalidate(self, node: StepNode, outputs: Iterable[KeyNode], why: Reason) -> None:
        """Expire outputs of a Step; its Task is cancelled or superseded."""
        if why == EXPIRED:
            self._attempts.distrust(node)
        self._attempts.withdraw(node, str(why))
        for key in outputs:
            exists = key.state.kind is not KeyKind.ABSENT
            self._graph.mark(
                key, key.state._replace(kind=KeyKind.EXPIRED if exists else KeyKind.ABSENT, why=why)
            )

    def invalidate_dependents(
        self,
        tops: list[StepNode],
        readers: list[tuple[StepNode, Reason]],
        spared: Collection[str] = (),
    ) -> None:
        """Invalidate all dependents of `tops`, and `readers` with theirs; none through `spared`."""
        done = {node.step.name for node in tops}
        queue = readers + [(node, ran_again(top)) for top in tops for node in top.successors()]
        for node, why in queue:
            name = node.step.name
            if name not in done and name not in spared and self._graph.steps.get(name) is node:
                done.add(name)
                ran = node.attempt is not None
                self.invalidate(
                    node, [key for key in node.outputs if ran or key.state is not ABSENT], why
                )
                queue.extend((successor, ran_again(node)) for successor in node.successors())


def ran_again(node: StepNode) -> Reason:
    """The reason for a run of the readers of a Step's outputs."""
    return Reason(ReasonKind.UPSTREAM, node.step.name)

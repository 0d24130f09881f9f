"""Merges Commands and Steps into a workflow, and applies the changes to its graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gaia_local.model.commands import AnyCommand
from gaia_local.model.steps import Step
from gaia_local.workflow.attempts import Attempts
from gaia_local.workflow.contents import Contents, inspections
from gaia_local.workflow.decision import Observation
from gaia_local.workflow.expansion import MAX_STEPS
from gaia_local.workflow.fitness import Unfit
from gaia_local.workflow.graph import Graph
from gaia_local.workflow.invalidation import Invalidation, ran_again
from gaia_local.workflow.nodes import StepNode
from gaia_local.workflow.origins import NO_ORIGINS, Origin
from gaia_local.workflow.states import (
    ABSENT,
    UNMADE,
    Attempt,
    KeyKind,
    KeyState,
    Reason,
    ReasonKind,
    StepState,
)
from gaia_local.workflow.submissions import Change, Submitted


class Merging:
    """Changes the definitions of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(
        self,
        submitted: Submitted,
        graph: Graph,
        attempts: Attempts,
        contents: Contents,
        invalidation: Invalidation,
    ) -> None:
        self._submitted, self._graph, self._attempts = submitted, graph, attempts
        self._contents, self._invalidation = contents, invalidation
        self.removed: dict[str, Attempt] = {}
        """Removed Step → its last Task: there may be a Step of this name again."""

    def compare(
        self, commands: Iterable[AnyCommand], steps: Iterable[Step], most: int = MAX_STEPS
    ) -> Change:
        """The changes by merging these; `InvalidInput` if they make more than `most` Steps."""
        return self._submitted.compare(
            commands, steps, lambda name: self._graph.steps[name].step, most
        )

    def unknown(self, change: Change) -> dict[str, str]:
        """Key → path of the keys that a change adds: their files must be inspected first."""
        names = {
            key for step in change.added for key in (*step.inputs.values(), *step.outputs.values())
        }
        known = self._graph.keys
        return {
            key: self._graph.locate(key) for key in names if key not in known or known[key].idle
        }

    def new_outputs(self, change: Change, unknown: Mapping[str, str]) -> dict[str, str]:
        """Key → path of the outputs of the Steps that a change adds, replaced ones apart."""
        new = (step for step in change.added if step.name not in change.replaced)
        keys = (key for step in new for key in step.outputs.values())
        return {key: unknown.get(key) or self._graph.keys[key].path for key in keys}

    def merge(
        self,
        change: Change,
        seen: Mapping[str, str | None],
        origins: Mapping[str, Sequence[Origin]] = NO_ORIGINS,
    ) -> None:
        """Merge Commands and Steps; all of it or, with `InvalidInput`, nothing.

        New Steps are added; changed ones must run again, with all their dependents; the Tasks of
        those that don't fit their Commands any more are cancelled. `seen` has the
        quick fingerprint of each key of `unknown`, None if there is no file; `origins` has the
        records of files at keys of `new_outputs`.
        """
        graph = self._graph
        removed = {name: graph.steps[name] for name in change.removed}
        deprived = _deprived_readers(removed, change)
        new_keys = graph.replace(change.removed, change.added)  # refuses, or succeeds
        for name, node in removed.items():
            self._release(name, node)
        graph.forget_unused(
            key for node in removed.values() for key in (*node.inputs, *node.outputs)
        )
        for step in change.added:
            graph.steps[step.name].attempt = self.removed.pop(step.name, None)
        for key in new_keys:
            request = inspections((key,))[0]
            self._contents.observe(key, Observation(request, seen[key.key]))
            if key.overlapping_outputs:  # a Step may have written there since the inspection
                graph.require_inspection(key)
        replaced = [graph.steps[name] for name in change.replaced]
        for node in replaced:
            self._invalidation.invalidate(node, node.outputs, change.replaced[node.step.name])
        new = {step.name for step in change.added} - change.replaced.keys()
        # A file that is there already counts for a new Step: it doesn't expire with its inputs.
        self._invalidation.invalidate_dependents(replaced, deprived, new)
        self._submitted.accept(change)
        for outer in (*change.unfit, *change.mended):
            for name in self._submitted.names(outer):
                self._mark_fitness(graph.steps[name], change.unfit.get(outer))
        for name in new if origins else ():
            self._attempts.inherit(graph.steps[name], origins)

    def remove(self, change: Change) -> None:
        """Remove Steps and Commands, by a change that `removal` made.

        What runs of the Steps is cancelled. Their files become the user's, and readers keep them;
        one that didn't count stays without value until the user replaces it.
        """
        graph = self._graph
        nodes = {name: graph.steps[name] for name in change.removed}
        graph.replace(change.removed, ())
        for name, node in nodes.items():
            self._withdraw(name, node, "the Step was removed")
            for key in node.outputs:
                state = key.state
                if state.usable:
                    graph.mark(key, KeyState(KeyKind.THERE, state.quick, state.digest))
                elif state.kind is KeyKind.EXPIRED:
                    graph.mark(key, state._replace(why=UNMADE))
                else:
                    graph.mark(key, ABSENT)
        graph.forget_unused(key for node in nodes.values() for key in (*node.inputs, *node.outputs))
        self._submitted.accept(change)

    def _withdraw(self, name: str, node: StepNode, why: str) -> None:
        """Cancel the Task of a removed Step, and keep its last one."""
        self._attempts.withdraw(node, why)
        if node.attempt is not None:
            self.removed[name] = node.attempt

    def _mark_fitness(self, node: StepNode, unfit: Unfit | None) -> None:
        if unfit is not None:
            self._attempts.cancel(node, "the Step doesn't fit its Command any more")
            if node.state is StepState.INTERRUPTED:  # of an earlier process: it may still go on
                self._attempts.supersede(node)
        self._graph.mark_fitness(node, unfit)

    def _release(self, name: str, node: StepNode) -> None:
        """Cancel the Task of a removed Step; its outputs have no maker any more.

        The files at those are no data of the workflow until the user replaces them.
        """
        self._withdraw(name, node, "the Step was replaced")
        for key in node.outputs:
            now = self._graph.at(key.path)
            if now is None or (now is key and now.maker is not None):
                continue
            state = ABSENT
            if key.state.kind is not KeyKind.ABSENT:
                state = key.state._replace(kind=KeyKind.EXPIRED, why=UNMADE)
            self._graph.mark(now, state)


def _deprived_readers(
    removed: Mapping[str, StepNode], change: Change
) -> list[tuple[StepNode, Reason]]:
    """The readers of removed Steps' outputs, with the reasons why they must run."""
    readers = []
    for name, node in removed.items():
        for key in node.outputs:
            why = Reason(ReasonKind.INPUT_CHANGED, key.key)
            if name in change.replaced:
                why = ran_again(node)
            readers += [(reader, why) for reader in key.all_readers]
    return readers

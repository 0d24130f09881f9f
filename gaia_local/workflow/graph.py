"""The graph of one workflow: its Steps and keys, their states, and the verdict on each Step.

It is the only writer of the states: `mark` for a key, `mark_step` for a Step. `settle` updates the
verdicts, from the front of the graph to its end; it visits the neighbours of the changes, never the
whole graph:

- A key is *ready* if its file may be read, *pending* while a Step that makes it (or a part of it,
  or a directory around it) is going to run, and *missing* if no Step is going to make it. A Step
  that must run but can't (it failed, or an input is missing) holds up no other Step: its outputs
  are used as they are.
- An *unfit* Step doesn't fit its Command: it is another that can't run. See `fitness`.
- A Step is *active* while it runs, can start, or waits for active Steps only. So readers wait until
  their inputs are certain, and then compare them with the inputs of their own last Tasks: the
  digests of these are part of a result.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from gaia_local.errors import InvalidInput
from gaia_local.model.steps import Step
from gaia_local.workflow.change_log import ChangeLog
from gaia_local.workflow.conflicts import check_step
from gaia_local.workflow.fitness import Unfit
from gaia_local.workflow.key_paths import KeyPaths
from gaia_local.workflow.nodes import (
    MISSING,
    PENDING,
    READY,
    KeyNode,
    StepNode,
    count_change,
    with_neighbour,
    without_neighbour,
)
from gaia_local.workflow.states import ABSENT, KeyKind, KeyState, StepState, VerdictKind
from gaia_local.workflow.traversal import find_cycle, measure_depths
from gaia_local.workflow.verdicts import difference, may_have_to_run, need
from gaia_local.workflow.waiting_inputs import WaitingInputs, waits_for_no_input


class Graph:
    """Steps and keys of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, workflow: str, locate: Callable[[str], str]) -> None:
        """`locate` maps a storage key to its path."""
        self._workflow, self.locate = workflow, locate
        self.steps: dict[str, StepNode] = {}
        self.keys: dict[str, KeyNode] = {}
        self._paths: KeyPaths[KeyNode] = KeyPaths()
        self._next_order = 0
        self._unsettled: list[tuple[int, int, StepNode]] = []
        """A heap of the Steps to be judged again, the front of the graph first."""
        self._queued: set[StepNode] = set()
        """The same Steps as a set."""
        self.verdicts: Counter[VerdictKind] = Counter()
        """The number of Steps with each verdict."""
        self.can_run: dict[str, StepNode] = {}
        """The Steps that can start now, and must."""
        self.failed: dict[str, StepNode] = {}
        """The Steps that failed, and of which nothing changed since."""
        self.overtaken: dict[StepNode, KeyNode] = {}
        """Steps whose running Task reads an outdated input → that input. Filled by `settle`."""
        self.to_inspect: dict[str, KeyNode] = {}
        """Keys to inspect before their readers can be judged; emptied when requests are made."""
        self.uninspected: set[KeyNode] = set()
        """These keys, and those that are being inspected."""
        self.changed: dict[str, KeyState] = {}
        """Key → its new state, of all keys that `mark` changed; emptied when a decision is made."""
        self._waiting_inputs = WaitingInputs()
        self.log = ChangeLog()

    # -- the states --------------------------------------------------------------------------------

    def mark(self, key: KeyNode, state: KeyState) -> None:
        """Set the state of a key, which was just inspected or made."""
        before, key.state = key.state, state
        key.version += 1
        key.unseen = False
        if state != before:
            self.changed[key.key] = state
            if key.maker is not None:
                self._unsettle(key.maker)
            if state.digest != before.digest or state.usable != before.usable:
                for reader in key.readers:
                    self._unsettle(reader)
                for overlapping in key.overlapping_inputs:
                    self.require_inspection(overlapping)
        self._update_own_status(key)
        if key.idle:
            self.forget_unused((key,))

    def require_inspection(self, key: KeyNode) -> None:
        """Have a key's file inspected before a Step reads it, since it may have changed."""
        key.version += 1
        key.unseen = True
        self._update_own_status(key)

    def mark_step(self, node: StepNode, state: StepState) -> None:
        """Set the state of a Step: that of its last Task, if it still counts."""
        node.state = state
        if not (state.alive or state is StepState.DONE or state is StepState.FAILED):
            node.reads = None
        if self.steps.get(node.step.name) is node:
            self.log.note(node)
            self._unsettle(node)

    def mark_fitness(self, node: StepNode, unfit: Unfit | None) -> None:
        """Set whether a Step fits its Command (None), or the reason why not."""
        node.unfit = unfit
        self._unsettle(node)

    # -- judging -----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Judge all Steps whose verdict may have changed."""
        while self._unsettled:
            node = heapq.heappop(self._unsettled)[2]
            self._queued.discard(node)
            if self.steps.get(node.step.name) is not node:
                continue
            kind = self._judge(node)
            if kind is VerdictKind.RUNNING and node.reads is not None:
                key = difference(node, node.reads)
                if key is not None:
                    self.overtaken[node] = key
            if kind is not node.verdict:
                self._set_verdict(node, kind)

    def ready(self) -> list[StepNode]:
        """The Steps that can start, those with the longest path to the end first."""
        return sorted(self.can_run.values(), key=lambda node: node.rank)

    def reads_the_same(self, node: StepNode, reads: Mapping[str, str | None]) -> bool:
        """Whether no input is known to differ from `reads`; unknown ones will be inspected."""
        if difference(node, reads) is not None:
            return False
        self._inspect_unknown_inputs(node, reads)
        return True

    def _judge(self, node: StepNode) -> VerdictKind:
        if node.state.alive:
            return VerdictKind.RUNNING
        if node.unfit is not None or not node.outputs:
            return VerdictKind.FRESH if node.unfit is None else VerdictKind.UNFIT
        if node.pending and not node.missing:
            return VerdictKind.WAIT if may_have_to_run(node) else VerdictKind.FRESH
        if need(node) is None:
            if node.state is StepState.DONE and node.reads is not None:
                self._inspect_unknown_inputs(node, node.reads)
            return VerdictKind.FRESH
        if node.state is StepState.FAILED and (
            node.reads is None or self.reads_the_same(node, node.reads)
        ):
            return VerdictKind.FAILED
        return VerdictKind.BLOCKED if node.missing else VerdictKind.RUN

    def _inspect_unknown_inputs(self, node: StepNode, reads: Mapping[str, str | None]) -> None:
        """Require inspection of the inputs that may differ from `reads`."""
        for key in node.inputs:
            if key.status == READY and key.state.digest is None and reads.get(key.key) is not None:
                self.require_inspection(key)

    def _set_verdict(self, node: StepNode, kind: VerdictKind) -> None:
        self.verdicts[node.verdict] -= 1
        self.verdicts[kind] += 1
        if waits_for_no_input(kind) or waits_for_no_input(node.verdict):
            self._waiting_inputs.touch(node.inputs)
        node.verdict = kind
        self.log.note(node)
        if kind is VerdictKind.RUN:
            self.can_run[node.step.name] = node
        else:
            self.can_run.pop(node.step.name, None)
        if kind is VerdictKind.FAILED:
            self.failed[node.step.name] = node
        else:
            self.failed.pop(node.step.name, None)
        active = kind is VerdictKind.RUN or kind is VerdictKind.WAIT or kind is VerdictKind.RUNNING
        if node.active != active:
            node.active = active
            for key in node.outputs:
                self._update_own_status(key)

    def _unsettle(self, node: StepNode) -> None:
        if node not in self._queued:
            self._queued.add(node)
            heapq.heappush(self._unsettled, (*node.rank, node))

    def _update_own_status(self, key: KeyNode) -> None:
        """Update the status of a key, and of the keys that overlap it."""
        pending = key.unseen or (key.maker is not None and key.maker.active)
        own = PENDING if pending else READY if key.state.usable else MISSING
        if own != key.own:
            before, key.own = key.own, own
            for overlapping in key.overlapping_inputs:
                count_change(overlapping, before, own)
                self._update_status(overlapping)
        self._update_status(key)

    def _update_status(self, key: KeyNode) -> None:
        status = MISSING if key.missing else PENDING if key.pending else key.own
        if key.unseen and not key.missing and not key.pending:
            self.to_inspect[key.key] = key
            self.uninspected.add(key)
        elif self.uninspected:
            self.to_inspect.pop(key.key, None)
            self.uninspected.discard(key)
        before = key.status
        if status == before:
            return
        key.status = status
        self._waiting_inputs.touch((key,))
        for reader in key.readers:
            count_change(reader, before, status)
            self._unsettle(reader)

    # -- changing the graph ------------------------------------------------------------------------

    def replace(
        self, removed: Iterable[str], added: Iterable[Step], trusted: bool = False
    ) -> list[KeyNode]:
        """Remove Steps and add others; all of it or, with `InvalidInput`, nothing.

        Returns the keys that are new in the graph, which the caller must inspect. It must call
        `forget_unused` with those that only the removed Steps named. `trusted` Steps (they were in
        the graph before) are not checked.
        """
        changed = dict(self.changed)
        detached = [self.steps[name] for name in removed]
        orders = {node.step.name: node.order for node in detached}
        attached: list[StepNode] = []
        new_keys: dict[KeyNode, KeyNode | None] = {}
        """New key → the key whose file it names from now on."""
        known = {key for node in detached for key in (*node.inputs, *node.outputs)}
        for node in detached:
            self._detach(node)
        try:
            for step in added:
                node = StepNode(step, orders.get(step.name, self._next_order))
                self._next_order += node.order == self._next_order
                paths = {
                    key: self.keys[key].path if key in self.keys else self.locate(key)
                    for key in (*step.inputs.values(), *step.outputs.values())
                }
                if not trusted:
                    where = f"workflow {self._workflow!r}, Step {step.name!r}"
                    check_step(where, step, paths, self.steps, self._paths)
                attached.append(node)
                keys = {key: self._key(key, path, new_keys) for key, path in paths.items()}
                for key in keys.values():
                    if key.idle and key not in known:
                        new_keys.setdefault(key)
                node.outputs = tuple([keys[key] for key in dict.fromkeys(step.outputs.values())])
                node.inputs = tuple([keys[key] for key in dict.fromkeys(step.inputs.values())])
                self._attach(node)
            if not self._order_by_depth():
                cycle = " → ".join(find_cycle(attached))
                raise InvalidInput(
                    f"workflow {self._workflow!r}",
                    f"Steps wait for each other: {cycle}",
                    "break the cycle",
                )
        except InvalidInput:
            for node in attached:
                self._detach(node)
            self.forget_unused(new_keys)
            for renamed in new_keys.values():
                if renamed is not None:
                    self.add_key(renamed)
                    self._update_status(renamed)  # its pending inspection was lost with it
            for node in detached:
                self._attach(node)
            self.changed = changed
            self._order_by_depth()
            self.settle()
            raise
        finally:
            self._waiting_inputs.reset()
        return list(new_keys)

    def add_key(self, key: KeyNode) -> KeyNode:
        """Add a key. One that no Step reads or makes is kept as long as it is expired."""
        self.keys[key.key] = key
        self._paths.add(key.path, key)
        for overlapping in self._paths.overlapping(key.path):
            if overlapping.maker is not None:
                self._overlap(overlapping, key)
        return key

    def forget_unused(self, keys: Iterable[KeyNode]) -> None:
        """Remove those that no Step reads or makes any more; expired ones must be remembered."""
        for key in keys:
            if key.idle and key.state.kind is not KeyKind.EXPIRED and self.keys.get(key.key) is key:
                if key.state is not ABSENT:
                    self.changed[key.key] = ABSENT
                self._remove(key)

    def at(self, path: str) -> KeyNode | None:
        """The key with this path."""
        return self._paths.at(path)

    # -- asking ------------------------------------------------------------------------------------

    def overlapping(self, path: str) -> list[KeyNode]:
        """The keys whose path is `path`, above it, or below it."""
        return self._paths.at_or_overlapping(path)

    def waiting_inputs(self) -> list[str]:
        """The inputs that aren't ready of all Steps that aren't complete, sorted."""
        return self._waiting_inputs.names(self.keys.values())

    # -- upkeep ------------------------------------------------------------------------------------

    def _order_by_depth(self) -> bool:
        """Order the Steps to be judged by depth; False if some Steps wait for each other."""
        acyclic = measure_depths(self.steps.values())
        self._unsettled = [(*node.rank, node) for node in self._queued]
        heapq.heapify(self._unsettled)
        return acyclic

    def _attach(self, node: StepNode) -> None:
        self.steps[node.step.name] = node
        self.log.note(node)
        self.verdicts[node.verdict] += 1
        for key in node.outputs:
            key.maker = node
            for overlapping in self._paths.overlapping(key.path):
                self._overlap(key, overlapping)
            self._update_own_status(key)
        for key in node.inputs:
            key.readers = with_neighbour(key.readers, node)
        node.missing = sum([key.status == MISSING for key in node.inputs])
        node.pending = sum([key.status == PENDING for key in node.inputs])
        if node.verdict is VerdictKind.RUN:
            self.can_run[node.step.name] = node
        if node.verdict is VerdictKind.FAILED:
            self.failed[node.step.name] = node
        self._unsettle(node)

    def _detach(self, node: StepNode) -> None:
        name = node.step.name
        del self.steps[name]
        self.log.forget(node)
        self._queued.discard(node)
        # The Step that replaces it has its rank; `_order_by_depth` makes a new heap.
        self._unsettled.clear()
        self.verdicts[node.verdict] -= 1
        self.can_run.pop(name, None)
        self.failed.pop(name, None)
        self.overtaken.pop(node, None)
        for key in node.inputs:
            key.readers = without_neighbour(key.readers, node)
        for key in node.outputs:
            for reader in key.overlapping_inputs:
                reader.overlapping_outputs = without_neighbour(reader.overlapping_outputs, key)
                count_change(reader, key.own, READY)
                self._update_status(reader)
            key.maker, key.overlapping_inputs = None, ()
            self._update_own_status(key)

    def _overlap(self, output: KeyNode, key: KeyNode) -> None:
        """Note that a key overlaps an output, and so depends on it."""
        output.overlapping_inputs = with_neighbour(output.overlapping_inputs, key)
        key.overlapping_outputs = with_neighbour(key.overlapping_outputs, output)
        count_change(key, READY, output.own)
        self._update_status(key)

    def _key(self, key: str, path: str, new_keys: dict[KeyNode, KeyNode | None]) -> KeyNode:
        """The node of a key, made if new; it takes over the file of a removed key at its path."""
        node = self.keys.get(key)
        if node is None:
            node, former = KeyNode(key, path), self._paths.at(path)
            new_keys[node] = former
            if former is not None:
                self._remove(former)
                node.state = former.state
                if node.state is not ABSENT:
                    self.changed |= {former.key: ABSENT, key: node.state}
            self.add_key(node)
            self._update_own_status(node)
        return node

    def _remove(self, key: KeyNode) -> None:
        for output in key.overlapping_outputs:
            output.overlapping_inputs = without_neighbour(output.overlapping_inputs, key)
        key.overlapping_outputs, key.pending, key.missing = (), 0, 0
        del self.keys[key.key]
        self.to_inspect.pop(key.key, None)
        self.uninspected.discard(key)
        self._paths.remove(key.path)

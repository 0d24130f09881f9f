"""The graph of one workflow: Steps, the keys between them, the state of each, and the verdict on
each Step.

It is the only writer of the states: `mark` for a key, `mark_step` for a Step. What follows from
them is worked out in `settle`, from the front of the graph to its end, and costs the neighbours of
what changed, never the whole graph:

- A key is *ready* when what lies there may be read, *pending* while a Step is going to run that
  makes it (or a part of it, or a directory that it lies in), *lacking* where nobody is going to
  make it. A Step that must run but can't (it failed, or lacks an input) holds nobody: what lies at
  its keys is used as it is.
- A Step is *active* while it runs, can start, or waits for active Steps only. So readers wait until
  it is certain what they read, and then compare: what the last Task of a Step read, content by
  content, is part of its result.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from gaia_local.errors import InvalidInput
from gaia_local.model.steps import Step
from gaia_local.workflow.conflicts import check_step
from gaia_local.workflow.key_paths import KeyPaths
from gaia_local.workflow.nodes import (
    LACKING,
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
from gaia_local.workflow.waiting_inputs import WaitingInputs


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
        """A heap of the Steps that must be judged anew, the front of the graph first."""
        self._queued: set[StepNode] = set()
        """The same as a set."""
        self.verdicts: Counter[VerdictKind] = Counter()
        """How many Steps there are of each verdict."""
        self.can_run: dict[str, StepNode] = {}
        """The Steps that can start now, and must."""
        self.overtaken: dict[StepNode, KeyNode] = {}
        """The Steps whose Task runs, and read what an input doesn't hold any more: `settle` finds
        them.
        """
        self.to_inspect: dict[str, KeyNode] = {}
        """The keys that must be looked at now, before it can be told whether their readers run.
        Whoever looks takes them out.
        """
        self.uninspected: set[KeyNode] = set()
        """These, and those that somebody took out to look at them, and has not seen yet."""
        self.changed: dict[str, KeyState] = {}
        """The keys that got another state: the log of `mark`, which its reader empties."""
        self._waiting_inputs = WaitingInputs()

    # -- the states --------------------------------------------------------------------------------

    def mark(self, key: KeyNode, state: KeyState) -> None:
        """Set the state of a key; it was looked at, or made, just now."""
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
                for other in key.below:
                    self.unsee(other)
        self._update_own_status(key)
        if key.idle:
            self.forget((key,))

    def unsee(self, key: KeyNode) -> None:
        """What lies at a key may be another thing than is known: it must be looked at before
        anybody reads it.
        """
        key.version += 1
        key.unseen = True
        self._update_own_status(key)

    def mark_step(self, node: StepNode, state: StepState) -> None:
        """Set the state of a Step, and of its last Task whether that counts."""
        node.state = state
        if not (state.alive or state is StepState.DONE or state is StepState.FAILED):
            node.reads = None
        if self.steps.get(node.step.name) is node:
            self._unsettle(node)

    # -- what follows from them --------------------------------------------------------------------

    def settle(self) -> None:
        """Judge all Steps anew for which that may have changed."""
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
        """The Steps that can start, in the order that ends the whole soonest: the longest way on
        first, then by upload.
        """
        return sorted(self.can_run.values(), key=lambda node: node.rank)

    def reads_the_same(self, node: StepNode, reads: Mapping[str, str | None]) -> bool:
        """Whether the inputs of a Step hold what is in `reads`, as far as that is known; the rest
        must be looked at.
        """
        if difference(node, reads) is not None:
            return False
        self._unsee_unknown(node, reads)
        return True

    def _judge(self, node: StepNode) -> VerdictKind:
        if node.state.alive:
            return VerdictKind.RUNNING
        if not node.outputs:
            return VerdictKind.FRESH
        if node.pending and not node.lacking:
            return VerdictKind.WAIT if may_have_to_run(node) else VerdictKind.FRESH
        if need(node) is None:
            if node.state is StepState.DONE and node.reads is not None:
                self._unsee_unknown(node, node.reads)
            return VerdictKind.FRESH
        if node.state is StepState.FAILED and (
            node.reads is None or self.reads_the_same(node, node.reads)
        ):
            return VerdictKind.FAILED
        return VerdictKind.BLOCKED if node.lacking else VerdictKind.RUN

    def _unsee_unknown(self, node: StepNode, reads: Mapping[str, str | None]) -> None:
        """Have those inputs looked at that may hold something else than is in `reads`."""
        for key in node.inputs:
            if key.status == READY and key.state.digest is None and reads.get(key.key) is not None:
                self.unsee(key)

    def _set_verdict(self, node: StepNode, kind: VerdictKind) -> None:
        self.verdicts[node.verdict] -= 1
        self.verdicts[kind] += 1
        if kind is VerdictKind.FRESH or node.verdict is VerdictKind.FRESH:
            self._waiting_inputs.touch(node.inputs)
        node.verdict = kind
        if kind is VerdictKind.RUN:
            self.can_run[node.step.name] = node
        else:
            self.can_run.pop(node.step.name, None)
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
        """Work out what a key is for its readers, and for those of the keys that overlap it."""
        pending = key.unseen or (key.maker is not None and key.maker.active)
        own = PENDING if pending else READY if key.state.usable else LACKING
        if own != key.own:
            before, key.own = key.own, own
            for other in key.below:
                count_change(other, before, own)
                self._update_status(other)
        self._update_status(key)

    def _update_status(self, key: KeyNode) -> None:
        status = LACKING if key.lacking else PENDING if key.pending else key.own
        if key.unseen and not key.lacking and not key.pending:
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
        """Take Steps out and put others in; all of it or, with `InvalidInput`, nothing.

        Returns the keys that are new in the graph, which the caller must look at. It must `forget`
        those that only the removed Steps named. `trusted` Steps (they were in the graph before) are
        not checked.
        """
        changed = dict(self.changed)
        taken_out = [self.steps[name] for name in removed]
        orders = {node.step.name: node.order for node in taken_out}
        put_in: list[StepNode] = []
        fresh: dict[KeyNode, KeyNode | None] = {}
        """New key → the one whose file it names from now on."""
        named = {key for node in taken_out for key in (*node.inputs, *node.outputs)}
        for node in taken_out:
            self._detach(node)
        try:
            for step in added:
                node = StepNode(step, orders.get(step.name, self._next_order))
                self._next_order += node.order == self._next_order
                named_here = (*step.inputs.values(), *step.outputs.values())
                paths = {
                    key: self.keys[key].path if key in self.keys else self.locate(key)
                    for key in named_here
                }
                if not trusted:
                    where = f"workflow {self._workflow!r}, Step {step.name!r}"
                    check_step(where, step, paths, self.steps, self._paths)
                put_in.append(node)
                keys = {key: self._key(key, path, fresh) for key, path in paths.items()}
                for key in keys.values():
                    if key.idle and key not in named:
                        fresh.setdefault(key)
                node.outputs = tuple([keys[key] for key in dict.fromkeys(step.outputs.values())])
                node.inputs = tuple([keys[key] for key in dict.fromkeys(step.inputs.values())])
                self._attach(node)
            if not self._measure():
                cycle = " → ".join(find_cycle(put_in))
                raise InvalidInput(
                    f"workflow {self._workflow!r}",
                    f"Steps wait for each other: {cycle}",
                    "break the cycle",
                )
        except InvalidInput:
            for node in put_in:
                self._detach(node)
            self.forget(fresh)
            for other in fresh.values():
                if other is not None:
                    self.enter(other)
                    self._update_status(other)  # that it must be looked at was forgotten with it
            for node in taken_out:
                self._attach(node)
            self.changed = changed
            self._measure()
            self.settle()
            raise
        finally:
            self._waiting_inputs.reset()
        return list(fresh)

    def enter(self, key: KeyNode) -> KeyNode:
        """Put a key in. One that no Step reads or makes is kept as long as what lies there doesn't
        count.
        """
        self.keys[key.key] = key
        self._paths.enter(key.path, key)
        for other in self._paths.overlapping(key.path):
            if other.maker is not None:
                self._overlap(other, key)
        return key

    def forget(self, keys: Iterable[KeyNode]) -> None:
        """Take those out that no Step reads or makes any more, unless it must be remembered that
        they don't count.
        """
        for key in keys:
            if key.idle and key.state.kind is not KeyKind.EXPIRED and self.keys.get(key.key) is key:
                if key.state is not ABSENT:
                    self.changed[key.key] = ABSENT
                self._remove(key)

    def at(self, path: str) -> KeyNode | None:
        """The key that lies at a path."""
        return self._paths.at(path)

    # -- asking ------------------------------------------------------------------------------------

    def overlapping(self, path: str) -> list[KeyNode]:
        """The keys whose path is `path`, above it, or below it."""
        return self._paths.at_or_overlapping(path)

    def waiting_inputs(self) -> list[str]:
        """The inputs that aren't ready of all Steps that aren't complete, sorted."""
        return self._waiting_inputs.names(self.keys.values())

    # -- inside ------------------------------------------------------------------------------------

    def _measure(self) -> bool:
        """Order the Steps to be judged by their depths; False where some Steps wait for each other."""
        acyclic = measure_depths(self.steps.values())
        self._unsettled = [(*node.rank, node) for node in self._queued]
        heapq.heapify(self._unsettled)
        return acyclic

    def _attach(self, node: StepNode) -> None:
        self.steps[node.step.name] = node
        self.verdicts[node.verdict] += 1
        for key in node.outputs:
            key.maker = node
            for other in self._paths.overlapping(key.path):
                self._overlap(key, other)
            self._update_own_status(key)
        for key in node.inputs:
            key.readers = with_neighbour(key.readers, node)
        node.lacking = sum([key.status == LACKING for key in node.inputs])
        node.pending = sum([key.status == PENDING for key in node.inputs])
        if node.verdict is VerdictKind.RUN:
            self.can_run[node.step.name] = node
        self._unsettle(node)

    def _detach(self, node: StepNode) -> None:
        name = node.step.name
        del self.steps[name]
        self._queued.discard(node)
        # Whoever comes in its place has its rank; `_measure` makes the heap anew.
        self._unsettled.clear()
        self.verdicts[node.verdict] -= 1
        self.can_run.pop(name, None)
        self.overtaken.pop(node, None)
        for key in node.inputs:
            key.readers = without_neighbour(key.readers, node)
        for key in node.outputs:
            for other in key.below:
                other.above = without_neighbour(other.above, key)
                count_change(other, key.own, READY)
                self._update_status(other)
            key.maker, key.below = None, ()
            self._update_own_status(key)

    def _overlap(self, made: KeyNode, other: KeyNode) -> None:
        made.below = with_neighbour(made.below, other)
        other.above = with_neighbour(other.above, made)
        count_change(other, READY, made.own)
        self._update_status(other)

    def _key(self, key: str, path: str, fresh: dict[KeyNode, KeyNode | None]) -> KeyNode:
        node = self.keys.get(key)
        if node is None:
            node, other = KeyNode(key, path), self._paths.at(path)
            fresh[node] = other
            if (
                other is not None
            ):  # only Steps now taken out named it, if any: this is another name of that file
                self._remove(other)
                node.state = other.state
                if node.state is not ABSENT:
                    self.changed |= {other.key: ABSENT, key: node.state}
            self.enter(node)
            self._update_own_status(node)
        return node

    def _remove(self, key: KeyNode) -> None:
        for made in key.above:
            made.below = without_neighbour(made.below, key)
        key.above, key.pending, key.lacking = (), 0, 0
        del self.keys[key.key]
        self.to_inspect.pop(key.key, None)
        self.uninspected.discard(key)
        self._paths.leave(key.path)

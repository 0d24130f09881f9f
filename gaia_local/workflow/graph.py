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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from gaia_local.errors import InvalidInput
from gaia_local.model.steps import Step
from gaia_local.model.tasks import TaskState
from gaia_local.workflow.key_paths import KeyPaths
from gaia_local.workflow.states import (
    ABSENT,
    INTERRUPTED,
    NEW,
    RETRY,
    Attempt,
    KeyKind,
    KeyState,
    Reason,
    ReasonKind,
    StepState,
    Verdict,
    VerdictKind,
)

if TYPE_CHECKING:
    from gaia_local.model.answer_types import FlowEntry

T = TypeVar("T")

READY, PENDING, LACKING = range(3)
"""What a key is for its readers."""


@dataclass(eq=False, slots=True)
class KeyNode:
    """A storage key that some Step reads or makes."""

    key: str
    path: str
    """Where it lies: two keys with one path name the same file."""
    maker: StepNode | None = None
    readers: Sequence[StepNode] = ()
    state: KeyState = ABSENT
    unseen: bool = False
    """What lies there must be looked at before anybody reads it."""
    version: int = 0
    """Counts what became known of it: a look at its file is out of date when this has changed
    since.
    """
    above: Sequence[KeyNode] = ()
    """Made keys that this key's path overlaps: those it depends on, itself apart."""
    below: Sequence[KeyNode] = ()
    """The inverse of `above`: no Step makes any of these, since two made keys can't overlap."""
    own: int = LACKING
    """What it would be if no other key overlapped it."""
    pending: int = 0
    """How many of `above` are pending."""
    lacking: int = 0
    """How many of `above` are lacking."""
    status: int = LACKING
    """`READY`, `PENDING` or `LACKING`."""

    @property
    def external(self) -> bool:
        """No Step makes it, nor a part of it."""
        return self.maker is None and not self.above

    @property
    def idle(self) -> bool:
        """No Step makes or reads it."""
        return self.maker is None and not self.readers

    @property
    def makers(self) -> Sequence[StepNode]:
        """The Steps it comes from."""
        own = () if self.maker is None else (self.maker,)
        return (
            (*own, *(each.maker for each in self.above if each.maker is not None))
            if self.above
            else own
        )

    @property
    def all_readers(self) -> Iterator[StepNode]:
        """Who reads it, or a key that overlaps it."""
        yield from self.readers
        for other in self.below:
            yield from other.readers


@dataclass(eq=False, slots=True)
class StepNode:
    """A Step in the graph."""

    step: Step
    order: int
    """Its place in the order of upload."""
    inputs: tuple[KeyNode, ...] = ()
    outputs: tuple[KeyNode, ...] = ()
    state: StepState = StepState.NEW
    attempt: Attempt | None = None
    """Its last Task, whether that counts or not."""
    reads: Mapping[str, str | None] | None = None
    """Input → digest of what its Task reads, read, or (queued) will read; None where that isn't
    known.
    """
    lacking: int = 0
    """How many of its inputs are lacking."""
    pending: int = 0
    """How many of its inputs are pending."""
    verdict: VerdictKind = VerdictKind.FRESH
    active: bool = False
    """As `verdict.active`."""
    depth: int = 0
    """How many Steps the longest way on from it has; see `Graph.ready`."""

    @property
    def rank(self) -> tuple[int, int]:
        """Its place among those that can start: the smallest goes first. Before all that depends on
        it.
        """
        return (-self.depth, self.order)

    def successors(self) -> Iterator[StepNode]:
        """The Steps that read what this one makes."""
        for key in self.outputs:
            yield from key.all_readers


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
        self.looks: dict[str, KeyNode] = {}
        """The keys that must be looked at now, before it can be told whether their readers run.
        Whoever looks takes them out.
        """
        self.looked_for: set[KeyNode] = set()
        """These, and those that somebody took out to look at them, and has not seen yet."""
        self.changed: dict[str, KeyState] = {}
        """The keys that got another state: the log of `mark`, which its reader empties."""
        self._waiting: list[str] | None = None
        """What `waiting_inputs` answered last; None before the first time, and after a change of
        the graph.
        """
        self._touched: set[KeyNode] = set()
        """The keys that may wait since then, or not any more."""

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
        self._weigh(key)
        if key.idle:
            self.forget((key,))

    def unsee(self, key: KeyNode) -> None:
        """What lies at a key may be another thing than is known: it must be looked at before
        anybody reads it.
        """
        key.version += 1
        key.unseen = True
        self._weigh(key)

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
                key = self._difference(node, node.reads)
                if key is not None:
                    self.overtaken[node] = key
            if kind is not node.verdict:
                self._set_verdict(node, kind)

    def verdict(self, node: StepNode) -> Verdict:
        """What is to become of a Step, and why."""
        kind = node.verdict
        if kind is VerdictKind.RUNNING:
            assert node.attempt is not None
            return Verdict(kind, Reason.parse(node.attempt.task.reason))
        reason = None if kind is VerdictKind.FRESH else self._need(node)
        if reason is None and kind is VerdictKind.WAIT:
            makers = (maker for key in node.inputs for maker in key.makers if maker.active)
            pending = (key for key in node.inputs if key.status == PENDING)
            maker = next(makers, None)
            reason = (
                change_of(next(pending))
                if maker is None
                else Reason(ReasonKind.UPSTREAM, maker.step.name)
            )
        return Verdict(kind, reason)

    def ready(self) -> list[StepNode]:
        """The Steps that can start, in the order that ends the whole soonest: the longest way on
        first, then by upload.
        """
        return sorted(self.can_run.values(), key=lambda node: node.rank)

    def reads_the_same(self, node: StepNode, reads: Mapping[str, str | None]) -> bool:
        """Whether the inputs of a Step hold what is in `reads`, as far as that is known; the rest
        must be looked at.
        """
        if self._difference(node, reads) is not None:
            return False
        self._unsee_unknown(node, reads)
        return True

    def _judge(self, node: StepNode) -> VerdictKind:
        if node.state.alive:
            return VerdictKind.RUNNING
        if not node.outputs:
            return VerdictKind.FRESH
        if node.pending and not node.lacking:
            return VerdictKind.WAIT if self._may_have_to(node) else VerdictKind.FRESH
        if self._need(node) is None:
            if node.state is StepState.DONE and node.reads is not None:
                self._unsee_unknown(node, node.reads)
            return VerdictKind.FRESH
        if node.state is StepState.FAILED and (
            node.reads is None or self.reads_the_same(node, node.reads)
        ):
            return VerdictKind.FAILED
        return VerdictKind.BLOCKED if node.lacking else VerdictKind.RUN

    def _may_have_to(self, node: StepNode) -> bool:
        """Whether a Step might have to run once its pending inputs are certain.

        One whose outputs were found in the store doesn't run for an input that wasn't there then.
        """
        if node.reads is not None or self._need(node) is not None:
            return True
        return any(key.status == PENDING and key.state.usable for key in node.inputs)

    def _need(self, node: StepNode) -> Reason | None:
        """Why a Step must run, as far as it is known what its inputs hold."""
        for key in node.outputs:
            state = key.state
            if (
                state.kind is KeyKind.ABSENT
                or state.kind is KeyKind.EXPIRED
                or state.kind is KeyKind.UNSURE
            ):
                return _why_made(node, key)
        if node.state is StepState.DONE and node.reads is not None:
            other = self._difference(node, node.reads)
            return None if other is None else change_of(other)
        return None

    def _difference(self, node: StepNode, reads: Mapping[str, str | None]) -> KeyNode | None:
        """The first input that is known to hold something else than is in `reads`."""
        return next((key for key in node.inputs if _differs(key, reads.get(key.key))), None)

    def _unsee_unknown(self, node: StepNode, reads: Mapping[str, str | None]) -> None:
        """Have those inputs looked at that may hold something else than is in `reads`."""
        for key in node.inputs:
            if key.status == READY and key.state.digest is None and reads.get(key.key) is not None:
                self.unsee(key)

    def _set_verdict(self, node: StepNode, kind: VerdictKind) -> None:
        self.verdicts[node.verdict] -= 1
        self.verdicts[kind] += 1
        if self._waiting is not None and (
            kind is VerdictKind.FRESH or node.verdict is VerdictKind.FRESH
        ):
            self._touched.update(node.inputs)
        node.verdict = kind
        if kind is VerdictKind.RUN:
            self.can_run[node.step.name] = node
        else:
            self.can_run.pop(node.step.name, None)
        active = kind is VerdictKind.RUN or kind is VerdictKind.WAIT or kind is VerdictKind.RUNNING
        if node.active != active:
            node.active = active
            for key in node.outputs:
                self._weigh(key)

    def _unsettle(self, node: StepNode) -> None:
        if node not in self._queued:
            self._queued.add(node)
            heapq.heappush(self._unsettled, (*node.rank, node))

    def _weigh(self, key: KeyNode) -> None:
        """Work out what a key is for its readers, and for those of the keys that overlap it."""
        pending = key.unseen or (key.maker is not None and key.maker.active)
        own = PENDING if pending else READY if key.state.usable else LACKING
        if own != key.own:
            before, key.own = key.own, own
            for other in key.below:
                _count(other, before, own)
                self._conclude(other)
        self._conclude(key)

    def _conclude(self, key: KeyNode) -> None:
        status = LACKING if key.lacking else PENDING if key.pending else key.own
        if key.unseen and not key.lacking and not key.pending:
            self.looks[key.key] = key
            self.looked_for.add(key)
        elif self.looked_for:
            self.looks.pop(key.key, None)
            self.looked_for.discard(key)
        before = key.status
        if status == before:
            return
        key.status = status
        if self._waiting is not None:
            self._touched.add(key)
        for reader in key.readers:
            _count(reader, before, status)
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
                    self._check(step, paths)
                put_in.append(node)
                keys = {key: self._key(key, path, fresh) for key, path in paths.items()}
                for key in keys.values():
                    if key.idle and key not in named:
                        fresh.setdefault(key)
                node.outputs = tuple([keys[key] for key in dict.fromkeys(step.outputs.values())])
                node.inputs = tuple([keys[key] for key in dict.fromkeys(step.inputs.values())])
                self._attach(node)
            if not self._measure():
                raise self._cycle(put_in)
        except InvalidInput:
            for node in put_in:
                self._detach(node)
            self.forget(fresh)
            for other in fresh.values():
                if other is not None:
                    self.enter(other)
                    self._conclude(other)  # that it must be looked at was forgotten with it
            for node in taken_out:
                self._attach(node)
            self.changed = changed
            self._measure()
            self.settle()
            raise
        finally:
            self._waiting = None
            self._touched.clear()
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

    def waiting_inputs(self) -> list[str]:
        """The inputs that aren't ready of all Steps that aren't complete, sorted."""
        touched = self.keys.values() if self._waiting is None else self._touched
        if touched:
            others = {key.key for key in touched}
            self._waiting = [key for key in self._waiting or () if key not in others]
            self._waiting += [key.key for key in touched if _is_waited_for(key)]
            self._waiting.sort()
        self._touched.clear()
        return list(self._waiting or ())

    def descendants(self, tops: Iterable[StepNode]) -> list[StepNode]:
        """All Steps that depend on `tops`, those left out unless they depend on each other; the
        nearest first.
        """
        found: dict[str, StepNode] = {}
        queue = [successor for top in tops for successor in top.successors()]
        for node in queue:
            if node.step.name not in found:
                found[node.step.name] = node
                queue.extend(node.successors())
        return list(found.values())

    def overlapping(self, path: str) -> list[KeyNode]:
        """The keys whose path is `path`, above it, or below it."""
        exact = self._paths.at(path)
        return ([exact] if exact is not None else []) + self._paths.overlapping(path)

    def describe(self) -> dict[str, FlowEntry]:
        """The graph as `status` with debug shows it: Step → what it reads, makes, and comes after."""
        return {
            name: {
                "inputs": [key.key for key in node.inputs],
                "outputs": [key.key for key in node.outputs],
                "after": sorted({maker.step.name for key in node.inputs for maker in key.makers}),
            }
            for name, node in self.steps.items()
        }

    # -- inside ------------------------------------------------------------------------------------

    def _measure(self) -> bool:
        """Note the depth of all Steps, and judge by it who comes first; False where some wait for
        each other.
        """
        open_ends: dict[StepNode, int] = {}
        for node in self.steps.values():
            node.depth = ways = 0
            for key in node.outputs:
                ways += len(key.readers)
                for other in key.below:
                    ways += len(other.readers)
            open_ends[node] = ways
        ends = [node for node, ways in open_ends.items() if not ways]
        for node in ends:  # which grows
            depth = node.depth + 1
            for key in node.inputs:
                for maker in key.makers:
                    maker.depth = max(maker.depth, depth)
                    open_ends[maker] -= 1
                    if not open_ends[maker]:
                        ends.append(maker)
        self._unsettled = [(*node.rank, node) for node in self._queued]
        heapq.heapify(self._unsettled)
        return len(ends) == len(open_ends)

    def _attach(self, node: StepNode) -> None:
        self.steps[node.step.name] = node
        self.verdicts[node.verdict] += 1
        for key in node.outputs:
            key.maker = node
            for other in self._paths.overlapping(key.path):
                self._overlap(key, other)
            self._weigh(key)
        for key in node.inputs:
            key.readers = _with(key.readers, node)
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
            key.readers = _without(key.readers, node)
        for key in node.outputs:
            for other in key.below:
                other.above = _without(other.above, key)
                _count(other, key.own, READY)
                self._conclude(other)
            key.maker, key.below = None, ()
            self._weigh(key)

    def _overlap(self, made: KeyNode, other: KeyNode) -> None:
        made.below = _with(made.below, other)
        other.above = _with(other.above, made)
        _count(other, READY, made.own)
        self._conclude(other)

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
            self._weigh(node)
        return node

    def _remove(self, key: KeyNode) -> None:
        for made in key.above:
            made.below = _without(made.below, key)
        key.above, key.pending, key.lacking = (), 0, 0
        del self.keys[key.key]
        self.looks.pop(key.key, None)
        self.looked_for.discard(key)
        self._paths.leave(key.path)

    def _check(self, step: Step, paths: Mapping[str, str]) -> None:
        where = f"workflow {self._workflow!r}, Step {step.name!r}"
        if step.name in self.steps:
            raise InvalidInput(
                where, "another Step has this name", "give each Step a name of its own"
            )
        names: dict[str, str] = {}
        for key, path in paths.items():
            there = self._paths.at(path)
            name = names.setdefault(path, key if there is None or there.idle else there.key)
            if name != key:
                raise InvalidInput(
                    where,
                    f"the keys {key!r} and {name!r} name the same file",
                    "write one of them everywhere",
                )
        outputs: set[str] = set()
        for key in step.outputs.values():
            if key in outputs:
                raise InvalidInput(
                    where,
                    f"two of its outputs are the key {key!r}",
                    "give each output a key of its own",
                )
            outputs.add(key)
            for other in self.overlapping(paths[key]):
                if other.maker is None:
                    continue
                problem = f"it makes {key!r}, and Step {other.maker.step.name!r} makes "
                problem += "it too" if other.key == key else f"{other.key!r}, which overlaps it"
                raise InvalidInput(where, problem, "let one Step make each file")

    def _cycle(self, new: list[StepNode]) -> InvalidInput:
        """The refusal of Steps that wait for each other: what was there before didn't, so they are
        new, or below these.
        """
        # Which takes longer than the whole of most uploads, and is needed to name a cycle only.
        import networkx

        graph: Any = networkx.DiGraph()
        nodes = dict.fromkeys((*new, *self.descendants(new)))
        graph.add_edges_from(
            (node.step.name, after.step.name) for node in nodes for after in node.successors()
        )
        loop = [edge[0] for edge in networkx.find_cycle(graph)]
        told = " → ".join([*loop, loop[0]])
        return InvalidInput(
            f"workflow {self._workflow!r}", f"Steps wait for each other: {told}", "break the cycle"
        )


def change_of(key: KeyNode) -> Reason:
    """Why whoever read a key must run again: what lies there now was made anew, or is the user's."""
    if key.status != LACKING and key.makers and (key.state.made_by is not None or key.above):
        return Reason(ReasonKind.UPSTREAM, key.makers[0].step.name)
    return Reason(ReasonKind.INPUT_CHANGED, key.key)


def _differs(key: KeyNode, read: str | None) -> bool:
    """Whether a key is known to hold something else than a Step read of it."""
    if key.status != READY:
        return key.status == LACKING
    return read is not None and key.state.digest is not None and read != key.state.digest


# One for each case, the first that fits.
def _why_made(node: StepNode, key: KeyNode) -> Reason:  # noqa: PLR0911
    """Why a Step must make one of its outputs."""
    if node.state is StepState.FAILED:
        return RETRY
    if node.state is StepState.INTERRUPTED:
        return INTERRUPTED
    if key.state.why is not None:
        return key.state.why
    if node.state is StepState.DONE:
        return Reason(ReasonKind.MISSING, key.key)
    if node.state is StepState.CANCELLED and node.attempt is not None:
        return Reason.parse(node.attempt.task.reason)
    if node.attempt is not None and node.attempt.state in (TaskState.ERROR, TaskState.EXCEPTION):
        return RETRY
    return NEW


def _count(node: KeyNode | StepNode, before: int, after: int) -> None:
    """Something that a node depends on was `before`, and is `after`."""
    node.pending += (after == PENDING) - (before == PENDING)
    node.lacking += (after == LACKING) - (before == LACKING)


def _is_waited_for(key: KeyNode) -> bool:
    return key.status != READY and any(
        node.verdict is not VerdictKind.FRESH for node in key.readers
    )


# Most keys have few neighbours of a kind, and there may be very many keys: those without any share
# one empty tuple.


def _with(some: Sequence[T], new: T) -> Sequence[T]:
    if not isinstance(some, list):
        return [new]
    some.append(new)
    return some


def _without(some: Sequence[T], gone: T) -> Sequence[T]:
    assert isinstance(some, list)
    some.remove(gone)
    return some or ()

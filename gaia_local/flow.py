"""The graph of one workflow: Steps, the keys between them, and who waits for what.

Completeness is tracked incrementally: each Step counts its missing inputs and its open outputs, so that one change
costs its neighbours, never the whole graph. What a key's completeness *is* comes from outside (`set_complete`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gaia_local.errors import InvalidInput
from gaia_local.key_paths import KeyPaths
from gaia_local.model import Step

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class KeyNode:
    """A storage key that some Step reads or makes."""

    key: str
    path: str
    """Where it lies: two keys with one path name the same file."""
    maker: StepNode | None = None
    readers: Sequence[StepNode] = ()
    present: bool = False
    """Made keys: complete. Others: there is something at the path."""
    above: Sequence[KeyNode] = ()
    """Made keys that this key's path overlaps: those it depends on, itself apart."""
    below: Sequence[KeyNode] = ()
    """The inverse of `above`."""
    lacking: int = 0
    """How many of `above` are not present."""

    @property
    def complete(self) -> bool:
        """Present, and so is every made key that overlaps it."""
        return self.present and not self.lacking

    @property
    def external(self) -> bool:
        """No Step makes it, nor a part of it."""
        return self.maker is None and not self.above

    @property
    def makers(self) -> Sequence[StepNode]:
        """The Steps it comes from."""
        own = () if self.maker is None else (self.maker,)
        return (*own, *(each.maker for each in self.above if each.maker is not None)) if self.above else own


@dataclass(eq=False, slots=True)
class StepNode:
    """A Step in the graph."""

    step: Step
    order: int
    """Its place in the order of upload."""
    inputs: tuple[KeyNode, ...] = ()
    outputs: tuple[KeyNode, ...] = ()
    missing: int = 0
    """How many of its inputs are not complete."""
    open: int = 0
    """How many of its outputs are not complete."""
    claimed: bool = False
    """It runs, or it failed: it can't be started (again)."""
    depth: int = 0
    """How many Steps the longest way on from it has; see `Flow.ready`."""

    @property
    def startable(self) -> bool:
        """All inputs are complete, and not all outputs; and it isn't claimed."""
        return self.open > 0 and self.missing == 0 and not self.claimed

    @property
    def rank(self) -> tuple[int, int]:
        """Its place among those that can start: the smallest goes first."""
        return (-self.depth, self.order)

    def successors(self) -> Iterator[StepNode]:
        """The Steps that read what this one makes."""
        for key in self.outputs:
            yield from key.readers
            for other in key.below:
                yield from other.readers


class Flow:
    """Steps and keys of one workflow. Not thread-safe: the scheduler's lock guards it."""

    def __init__(self, workflow: str, locate: Callable[[str], str]) -> None:
        """`locate` maps a storage key to its path."""
        self._workflow, self._locate = workflow, locate
        self.steps: dict[str, StepNode] = {}
        self.keys: dict[str, KeyNode] = {}
        self._paths: KeyPaths[KeyNode] = KeyPaths()
        self._next_order = 0
        self.open = 0
        """How many Steps have outputs that are not complete."""
        self._measured = True
        self.startable: dict[str, StepNode] = {}
        """The Steps that can start now."""
        self._waiting: list[str] | None = None
        """What `waiting_inputs` answered last; None before the first time, and after a change of the graph."""
        self._touched: set[KeyNode] = set()
        """The keys that may wait since then, or not any more."""

    # -- changing the graph -------------------------------------------------------------------------------------

    def replace(self, removed: Iterable[str], added: Iterable[Step], trusted: bool = False) -> list[KeyNode]:
        """Take Steps out and put others in; all of it or, with `InvalidInput`, nothing.

        Returns the keys that are new in the graph, whose completeness the caller must set. Keys that only the
        removed Steps named are forgotten. `trusted` Steps (they were in the graph before) are not checked.
        """
        self._measured = False
        taken_out = [self.steps[name] for name in removed]
        before = {key.key: key.present for node in taken_out for key in (*node.inputs, *node.outputs)}
        orders = {node.step.name: node.order for node in taken_out}
        put_in: list[StepNode] = []
        fresh: list[KeyNode] = []
        for node in taken_out:
            self._unlink(node)
        try:
            for step in added:
                node = StepNode(step, orders.get(step.name, self._next_order))
                self._next_order += node.order == self._next_order
                paths = self._paths_of(step)
                if not trusted:
                    self._check(step, paths)
                put_in.append(node)
                self._link(node, paths, fresh)
            if not trusted:
                self._refuse_cycles(put_in)
        except InvalidInput:
            for node in put_in:
                self._unlink(node)
            self._forget(key for node in put_in for key in (*node.inputs, *node.outputs))
            fresh.clear()
            self._measured = False
            for node in taken_out:
                self._link(node, self._paths_of(node.step), fresh)
            for key in fresh:
                self.set_complete(key, before[key.key])
            raise
        finally:
            self._waiting = None
            self._touched.clear()
        self._forget(key for node in taken_out for key in (*node.inputs, *node.outputs))
        return [key for key in fresh if self.keys.get(key.key) is key]

    def claim(self, node: StepNode, claimed: bool) -> None:
        """Take a Step out of `startable` while it runs, or because it failed; or let it back."""
        node.claimed = claimed
        self._note(node)

    def set_complete(self, key: KeyNode, present: bool) -> None:
        """Say whether a key is there; the counts of its readers and of its maker follow."""
        if key.present == present:
            return
        self._change(key, present=present)
        if key.maker is not None:
            self._count(key.maker, open_by=-1 if present else 1)
        for each in key.below:
            self._change(each, lacking_by=-1 if present else 1)

    # -- asking -------------------------------------------------------------------------------------------------

    def ready(self) -> list[StepNode]:
        """The Steps that can start, in the order that ends the whole soonest: the longest way on first, then by upload."""
        if not self._measured:
            self._measured = self._measure(self.steps.values())
        return sorted(self.startable.values(), key=lambda node: node.rank)

    def waiting_inputs(self) -> list[str]:
        """The incomplete inputs of all Steps that have both an incomplete input and an incomplete output, sorted."""
        if self._waiting is None:
            waiting = (node for node in self.steps.values() if node.missing and node.open)
            self._waiting = sorted({key.key for node in waiting for key in node.inputs if not key.complete})
        elif self._touched:
            touched = {key.key for key in self._touched}
            self._waiting = [key for key in self._waiting if key not in touched]
            self._waiting += [key.key for key in self._touched if not key.complete and any(node.open for node in key.readers)]
            self._waiting.sort()
        self._touched.clear()
        return list(self._waiting)

    def descendants(self, tops: Iterable[StepNode]) -> list[StepNode]:
        """All Steps that depend on `tops`, those left out unless they depend on each other; the nearest first."""
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

    def describe(self) -> dict[str, dict[str, Any]]:
        """The graph as `status` with debug shows it: Step → what it reads, makes, and comes after."""
        return {
            name: {
                "inputs": [key.key for key in node.inputs],
                "outputs": [key.key for key in node.outputs],
                "after": sorted({maker.step.name for key in node.inputs for maker in key.makers}),
            }
            for name, node in self.steps.items()
        }

    # -- inside -------------------------------------------------------------------------------------------------

    def _measure(self, nodes: Collection[StepNode]) -> bool:
        """Note the depth of `nodes`, and all Steps after any of them are among these; False where they wait for each other."""
        open_ends: dict[StepNode, int] = {}
        ends = []
        for node in nodes:
            node.depth = ways = 0
            for key in node.outputs:
                ways += len(key.readers)
                for other in key.below:
                    ways += len(other.readers)
            open_ends[node] = ways
            if not ways:
                ends.append(node)
        for node in ends:  # which grows
            depth = node.depth + 1
            for key in node.inputs:
                for maker in key.makers:
                    if maker in open_ends:
                        maker.depth = max(maker.depth, depth)
                        open_ends[maker] -= 1
                        if not open_ends[maker]:
                            ends.append(maker)
        return len(ends) == len(open_ends)

    def _paths_of(self, step: Step) -> dict[str, str]:
        """Key → path, of all that a Step reads and makes."""
        paths = {}
        for key in (*step.inputs.values(), *step.outputs.values()):
            known = self.keys.get(key)
            paths[key] = self._locate(key) if known is None else known.path
        return paths

    def _link(self, node: StepNode, paths: Mapping[str, str], fresh: list[KeyNode]) -> None:
        self.steps[node.step.name] = node
        node.outputs = tuple([self._key(key, paths[key], fresh) for key in dict.fromkeys(node.step.outputs.values())])
        for key in node.outputs:
            key.maker = node
            for other in self._paths.overlapping(key.path):
                self._overlap(key, other)
        node.inputs = tuple([self._key(key, paths[key], fresh) for key in dict.fromkeys(node.step.inputs.values())])
        for key in node.inputs:
            key.readers = _with(key.readers, node)
        node.missing = sum([not key.complete for key in node.inputs])
        node.open = sum([not key.present for key in node.outputs])
        self.open += node.open > 0
        self._note(node)

    def _unlink(self, node: StepNode) -> None:
        del self.steps[node.step.name]
        self.startable.pop(node.step.name, None)
        self.open -= node.open > 0
        node.open = 0
        for key in node.outputs:
            key.maker = None
            for other in key.below:
                other.above = _without(other.above, key)
                self._change(other, lacking_by=0 if key.present else -1)
            key.below = ()
        for key in node.inputs:
            key.readers = _without(key.readers, node)

    def _overlap(self, made: KeyNode, other: KeyNode) -> None:
        made.below = _with(made.below, other)
        other.above = _with(other.above, made)
        self._change(other, lacking_by=0 if made.present else 1)

    def _change(self, key: KeyNode, present: bool | None = None, lacking_by: int = 0) -> None:
        was = key.complete
        key.present = key.present if present is None else present
        key.lacking += lacking_by
        if key.complete != was:
            if self._waiting is not None:
                self._touched.add(key)
            for reader in key.readers:
                self._count(reader, missing_by=1 if was else -1)

    def _key(self, key: str, path: str, fresh: list[KeyNode]) -> KeyNode:
        node = self.keys.get(key)
        if node is None:
            node = self.keys[key] = KeyNode(key, path)
            fresh.append(node)
            other_name = self._paths.at(path)
            if other_name is not None:  # a key that only Steps now taken out named
                self._forget([other_name])
            self._paths.enter(path, node)
            for other in self._paths.overlapping(path):
                if other.maker is not None:
                    self._overlap(other, node)
        return node

    def _forget(self, keys: Iterable[KeyNode]) -> None:
        for key in keys:
            if key.maker is None and not key.readers and self.keys.get(key.key) is key:
                for made in key.above:
                    made.below = _without(made.below, key)
                del self.keys[key.key]
                self._paths.leave(key.path)

    def _check(self, step: Step, paths: Mapping[str, str]) -> None:
        where = f"workflow {self._workflow!r}, Step {step.name!r}"
        if step.name in self.steps:
            raise InvalidInput(where, "another Step has this name", "give each Step a name of its own")
        for key, path in paths.items():
            other = self._paths.at(path)
            if other is not None and other.key != key and (other.maker is not None or other.readers):
                raise InvalidInput(
                    where, f"the keys {key!r} and {other.key!r} name the same file", "write one of them everywhere"
                )
        own: dict[str, str] = {}
        for key, path in paths.items():
            first = own.setdefault(path, key)
            if first != key:
                raise InvalidInput(where, f"the keys {key!r} and {first!r} name the same file", "write one of them everywhere")
        outputs: set[str] = set()
        for key in step.outputs.values():
            if key in outputs:
                raise InvalidInput(where, f"two of its outputs are the key {key!r}", "give each output a key of its own")
            outputs.add(key)
            for other in self.overlapping(paths[key]):
                if other.maker is None:
                    continue
                problem = f"it makes {key!r}, and Step {other.maker.step.name!r} makes "
                problem += "it too" if other.key == key else f"{other.key!r}, which overlaps it"
                raise InvalidInput(where, problem, "let one Step make each file")

    def _refuse_cycles(self, nodes: list[StepNode]) -> None:
        """A cycle that was not there before goes through a new Step: look at those and at what is below them."""
        if not any(node.outputs and node.inputs for node in nodes):
            return
        names = {node.step.name: node for node in nodes}
        if len(names) < len(self.steps):
            names.update((node.step.name, node) for node in self.descendants(nodes))
        if self._measure(names.values()):
            self._measured = len(names) == len(self.steps)
            return
        import networkx  # which takes longer than the whole of most uploads, and is needed to name a cycle only

        graph: Any = networkx.DiGraph()
        graph.add_edges_from((name, after.step.name) for name, node in names.items() for after in node.successors())
        loop = [edge[0] for edge in networkx.find_cycle(graph)]
        told = " → ".join([*loop, loop[0]])
        raise InvalidInput(f"workflow {self._workflow!r}", f"Steps wait for each other: {told}", "break the cycle")

    def _count(self, node: StepNode, missing_by: int = 0, open_by: int = 0) -> None:
        was = node.open > 0
        node.missing += missing_by
        node.open += open_by
        if (node.open > 0) != was:
            self.open += -1 if was else 1
            if self._waiting is not None:
                self._touched.update(node.inputs)
        self._note(node)

    def _note(self, node: StepNode) -> None:
        if node.startable:
            self.startable[node.step.name] = node
        else:
            self.startable.pop(node.step.name, None)


# Most keys have few neighbours of a kind, and there may be very many keys: those without any share one empty tuple.


def _with(some: Sequence[T], new: T) -> Sequence[T]:
    if not isinstance(some, list):
        return [new]
    some.append(new)
    return some


def _without(some: Sequence[T], gone: T) -> Sequence[T]:
    assert isinstance(some, list)
    some.remove(gone)
    return some or ()

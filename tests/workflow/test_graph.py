"""The graph: waiting Steps, refusals, and counts kept up to date that equal counts from scratch."""

from __future__ import annotations

import functools
import heapq
import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gaia_local.errors import InvalidInput
from gaia_local.model.steps import Step
from gaia_local.model.tasks import TaskState
from gaia_local.workflow.graph import Graph
from gaia_local.workflow.nodes import MISSING, PENDING, READY, KeyNode, StepNode
from gaia_local.workflow.reports import flow
from gaia_local.workflow.states import (
    ABSENT,
    EXPIRED,
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
from gaia_local.workflow.traversal import descendants
from gaia_local.workflow.verdicts import verdict_on
from support.builders import task


def locate(key: str) -> str:
    return "/s/" + key.replace(":", "/", 1).rstrip("/")


def step(
    name: str, inputs: Iterable[str] = (), outputs: Iterable[str] = (), command: str = "c"
) -> Step:
    def numbered(keys: Iterable[str]) -> dict[str, str]:
        return {str(number): key for number, key in enumerate(keys)}

    return Step(name, command, numbered(inputs), numbered(outputs), {})


def content(digest: str | None = "1", made_by: str | None = None) -> KeyState:
    """Something that counts lies there."""
    return KeyState(KeyKind.THERE, f"q{digest}", digest, made_by)


def graph_of(*steps: Step, there: Iterable[str] = ()) -> Graph:
    graph = Graph("w", locate)
    change(graph, (), steps)
    for key in there:
        graph.mark(graph.keys[key], content())
    graph.settle()
    return graph


def put(graph: Graph, key: str, state: KeyState) -> None:
    graph.mark(graph.keys[key], state)
    graph.settle()


def attempt_at(node: StepNode, state: StepState) -> Attempt | None:
    """A last Task by which a Step is in this state."""
    found = {
        StepState.QUEUED: TaskState.RUNNING,
        StepState.RUNNING: TaskState.RUNNING,
        StepState.DONE: TaskState.COMPLETE,
        StepState.FAILED: TaskState.ERROR,
        StepState.CANCELLED: TaskState.CANCELLED,
        StepState.INTERRUPTED: TaskState.INTERRUPTED,
    }.get(state)
    made = task(node.step.name, id=node.step.name)
    return (
        node.attempt
        if found is None
        else Attempt(made, found, 1.0, None if state is StepState.QUEUED else 2.0)
    )


def become(
    graph: Graph, name: str, state: StepState, reads: Mapping[str, str | None] | None = None
) -> None:
    node = graph.steps[name]
    node.attempt, node.reads = attempt_at(node, state), reads
    graph.mark_step(node, state)
    graph.settle()


def begin(graph: Graph, name: str) -> None:
    """Submit a Task of it, which reads the known contents of its inputs."""
    become(
        graph,
        name,
        StepState.QUEUED,
        {key.key: key.state.digest for key in graph.steps[name].inputs},
    )


def finish(graph: Graph, name: str, digest: str = "1") -> None:
    """Its Task ends well."""
    node = graph.steps[name]
    reads = {key.key: key.state.digest for key in node.inputs} if node.reads is None else node.reads
    for key in node.outputs:
        graph.mark(key, content(digest, made_by="t1"))
    become(graph, name, StepState.DONE, reads)


def verdicts(graph: Graph) -> dict[str, str]:
    return {name: node.verdict.value for name, node in graph.steps.items()}


def told(graph: Graph, name: str) -> tuple[str, str]:
    verdict = verdict_on(graph.steps[name])
    return verdict.kind.value, str(verdict.reason)


def snapshot(graph: Graph) -> dict[str, Any]:
    """A graph's whole state as values, without the order of unordered parts."""

    def key(node: KeyNode) -> dict[str, Any]:
        return {
            "path": node.path,
            "maker": None if node.maker is None else node.maker.step.name,
            "readers": sorted(reader.step.name for reader in node.readers),
            "state": node.state,
            "unseen": node.unseen,
            "version": node.version,
            "above": sorted(other.key for other in node.overlapping_outputs),
            "below": sorted(other.key for other in node.overlapping_inputs),
            "own": node.own,
            "pending": node.pending,
            "missing": node.missing,
            "status": node.status,
            "external": node.external,
        }

    def one(node: StepNode) -> dict[str, Any]:
        return {
            "step": node.step,
            "order": node.order,
            "depth": node.depth,
            "inputs": [key.key for key in node.inputs],
            "outputs": [key.key for key in node.outputs],
            "state": node.state,
            "reads": node.reads,
            "pending": node.pending,
            "missing": node.missing,
            "verdict": node.verdict,
            "active": node.active,
        }

    return {
        "steps": {name: one(node) for name, node in graph.steps.items()},
        "keys": {name: key(node) for name, node in graph.keys.items()},
        "can run": sorted(graph.can_run),
        "verdicts": +graph.verdicts,
        "overtaken": sorted(node.step.name for node in graph.overtaken),
        "to_inspect": sorted(graph.to_inspect),
        "changed": dict(graph.changed),
        "describe": flow(graph),
        "found": {
            path: sorted(node.key for node in graph.overlapping(path))
            for path in map(locate, ALL_KEYS)
        },
    }


def change(
    graph: Graph, removed: Iterable[str], added: Iterable[Step], trusted: bool = False
) -> list[KeyNode]:
    """Take Steps out, put others in, and forget the keys that nobody names any more."""
    gone = [graph.steps[name] for name in removed]
    fresh = graph.replace([node.step.name for node in gone], added, trusted)
    graph.forget_unused(key for node in gone for key in (*node.inputs, *node.outputs))
    return fresh


ALL_KEYS = ["a", "b", "d/", "d/x", "d/e/", "d/e/y", "d0", "k:z", "k/z", "k/", "k:z/q"]


# ------------------------------------------------------------------------------------------- tables


def test_a_chain_starts_step_by_step() -> None:
    graph = graph_of(
        step("one", ["in"], ["a"]), step("two", ["a"], ["b"]), step("three", ["b", "in"], ["c"])
    )
    assert (list(graph.can_run), graph.waiting_inputs()) == ([], ["a", "b", "in"])
    assert verdicts(graph) == {"one": "blocked", "two": "blocked", "three": "blocked"}
    put(graph, "in", content())
    assert (list(graph.can_run), graph.waiting_inputs()) == (["one"], ["a", "b"])
    assert verdicts(graph) == {"one": "run", "two": "wait", "three": "wait"}
    begin(graph, "one")
    assert (list(graph.can_run), graph.waiting_inputs()) == ([], ["a", "b"])
    assert verdicts(graph) == {"one": "running", "two": "wait", "three": "wait"}
    finish(graph, "one")
    assert (list(graph.can_run), graph.waiting_inputs()) == (["two"], ["b"])
    finish(graph, "two")
    finish(graph, "three")
    assert (list(graph.can_run), graph.waiting_inputs()) == ([], [])
    assert graph.verdicts[VerdictKind.FRESH] == 3
    put(graph, "a", ABSENT)
    assert verdicts(graph) == {"one": "run", "two": "wait", "three": "wait"}
    assert (list(graph.can_run), graph.waiting_inputs()) == (["one"], ["a", "b"])


def test_a_step_whose_inputs_come_out_the_same_stays_as_it_is() -> None:
    graph = graph_of(
        step("one", ["in"], ["a"]),
        step("two", ["a"], ["b"]),
        step("three", ["b"], ["c"]),
        there=["in"],
    )
    for name in ("one", "two", "three"):
        finish(graph, name)
    put(graph, "in", content("2"))
    assert told(graph, "one") == ("run", "input changed: in")
    assert told(graph, "two") == ("wait", "upstream one ran again")
    finish_anew(graph, "one", "1")
    assert verdicts(graph) == {"one": "fresh", "two": "fresh", "three": "fresh"}
    put(graph, "in", content("3"))
    finish_anew(graph, "one", "2")
    assert told(graph, "two") == ("run", "upstream one ran again")
    assert verdicts(graph) == {"one": "fresh", "two": "run", "three": "wait"}


def finish_anew(graph: Graph, name: str, digest: str) -> None:
    begin(graph, name)
    finish(graph, name, digest)


def test_a_step_starts_while_some_of_its_outputs_are_not_there() -> None:
    graph = graph_of(step("s", [], ["a", "b"]), there=["a"])
    assert list(graph.can_run) == ["s"]
    put(graph, "b", content())
    assert list(graph.can_run) == []


@pytest.mark.parametrize("kind", KeyKind)
def test_a_step_must_run_for_outputs_that_are_not_certain(kind: KeyKind) -> None:
    graph = graph_of(step("s", [], ["a"]), step("r", ["a"], ["b"]))
    put(graph, "a", KeyState(kind, "q", "1"))
    assert verdicts(graph)["s"] == ("fresh" if kind is KeyKind.THERE else "run")
    assert verdicts(graph)["r"] == ("run" if kind is KeyKind.THERE else "wait")


def test_a_step_without_outputs_never_starts() -> None:
    graph = graph_of(step("s", ["a"], []), there=["a"])
    assert (list(graph.can_run), verdicts(graph), graph.waiting_inputs()) == (
        [],
        {"s": "fresh"},
        [],
    )


def test_one_key_read_or_told_twice_counts_once() -> None:
    graph = graph_of(step("s", ["a", "a"], ["b"]))
    assert graph.steps["s"].missing == 1
    put(graph, "a", content())
    put(graph, "a", content())
    assert list(graph.can_run) == ["s"]
    assert graph.steps["s"].missing == 0


@pytest.mark.parametrize(
    ("made", "read"),
    [("d/", "d/x"), ("d/x", "d/"), ("d/", "d/e/y"), ("d/e/", "d/x/"), ("d/", "d0")],
)
def test_overlapping_keys_depend_on_each_other(made: str, read: str) -> None:
    graph = graph_of(step("maker", [], [made]), step("reader", [read], ["out"]))
    overlap = f"{locate(read)}/".startswith(f"{locate(made)}/") or f"{locate(made)}/".startswith(
        f"{locate(read)}/"
    )
    put(graph, read, content())
    assert ("reader" in graph.can_run) is not overlap
    assert graph.keys[read].external is not overlap
    assert [node.step.name for node in descendants([graph.steps["maker"]])] == (
        ["reader"] if overlap else []
    )
    assert flow(graph)["reader"]["after"] == (["maker"] if overlap else [])
    put(graph, made, content())
    assert list(graph.to_inspect) == ([read] if overlap else [])
    put(graph, read, content())
    assert ("reader" in graph.can_run, graph.to_inspect) == (True, {})
    put(graph, read, ABSENT)
    assert "reader" not in graph.can_run


def test_a_directory_waits_for_all_that_is_made_in_it() -> None:
    graph = graph_of(
        step("x", [], ["d/x"]),
        step("y", [], ["d/e/y"]),
        step("all", ["d/"], ["out"]),
        there=["d/", "d/x"],
    )
    assert "all" not in graph.can_run
    assert graph.waiting_inputs() == ["d/"]
    put(graph, "d/e/y", content())
    # It holds another file than when it was seen.
    assert (list(graph.to_inspect), graph.waiting_inputs()) == (
        ["d/"],
        ["d/"],
    )
    put(graph, "d/", content("2"))
    assert "all" in graph.can_run


def test_a_step_may_make_a_directory_and_files_in_it() -> None:
    graph = graph_of(
        step("s", [], ["d/", "d/x"]),
        step("r", ["d/"], ["a"]),
        step("q", ["d/x"], ["b"]),
        there=["d/"],
    )
    assert list(graph.can_run) == ["s"]
    put(graph, "d/x", content())
    assert (list(graph.can_run), list(graph.to_inspect)) == ([], ["d/"])
    put(graph, "d/", content())
    assert sorted(graph.can_run) == ["q", "r"]


def test_descendants_are_the_nearest_first_and_leave_out_where_they_begin() -> None:
    graph = graph_of(
        step("top", [], ["a"]),
        step("left", ["a"], ["l"]),
        step("right", ["a"], ["r"]),
        step("end", ["l", "r"], ["e"]),
        step("apart"),
    )
    names = [node.step.name for node in descendants([graph.steps["top"]])]
    assert names == ["left", "right", "end"]
    assert [node.step.name for node in descendants([graph.steps["left"], graph.steps["end"]])] == [
        "end"
    ]
    assert descendants([graph.steps["end"]]) == []


def test_replacing_keeps_the_order_and_forgets_what_nobody_names() -> None:
    graph = graph_of(step("one", ["in"], ["a"]), step("two", ["a"], ["b"]), there=["in", "a"])
    graph.changed.clear()
    fresh = change(graph, ["one"], [step("one", ["other"], ["a"])])
    graph.settle()
    assert [key.key for key in fresh] == ["other"]
    assert sorted(graph.keys) == ["a", "b", "other"]
    assert [graph.steps[name].order for name in ("one", "two")] == [0, 1]
    assert list(graph.can_run) == ["two"]
    assert graph.changed == {"in": ABSENT}
    assert change(graph, ["two"], []) == []
    assert (sorted(graph.keys), sorted(graph.steps)) == (["a", "other"], ["one"])
    assert change(graph, ["one"], []) == []
    graph.settle()
    assert (graph.keys, graph.steps, graph.can_run, +graph.verdicts) == ({}, {}, {}, Counter())


def test_an_expired_key_is_remembered_when_its_step_leaves() -> None:
    graph = graph_of(step("one", [], ["a"]), step("two", [], ["b"]))
    state = KeyState(KeyKind.EXPIRED, "q", "1", "t1", EXPIRED)
    put(graph, "a", state)
    put(graph, "b", content())
    graph.changed.clear()
    change(graph, ["one", "two"], [])
    assert graph.keys["a"].idle
    assert graph.keys["a"].state == state
    assert graph.changed == {"b": ABSENT}
    fresh = {key.key: key.state for key in change(graph, [], [step("three", ["a"], ["c"])])}
    assert fresh == {"a": state, "c": ABSENT}  # by now there may be another file
    change(graph, ["three"], [])
    graph.mark(graph.keys["a"], content())  # the user's own
    assert "a" not in graph.keys


def test_another_name_of_a_file_takes_over_what_is_known_of_it() -> None:
    graph = graph_of(step("one", [], ["k:z"]))
    put(graph, "k:z", content())
    graph.changed.clear()
    fresh = {key.key: key.state for key in change(graph, ["one"], [step("two", ["k/z"], ["b"])])}
    assert fresh == {"k/z": content(), "b": ABSENT}
    assert graph.changed == {"k:z": ABSENT, "k/z": content()}


def test_a_key_may_change_how_it_is_written_when_nobody_else_names_it() -> None:
    graph = graph_of(step("s", [], ["k:z"]))
    change(graph, ["s"], [step("s", [], ["k/z"])])
    assert sorted(graph.keys) == ["k/z"]
    assert [node.key for node in graph.overlapping("/s/k/z")] == ["k/z"]


REFUSALS = [
    (
        "the same name",
        [step("new", [], ["n"]), step("new", [], ["m"])],
        ["Step 'new'", "another Step has this name"],
    ),
    (
        "a name that is there",
        [step("one", [], ["n"])],
        ["Step 'one'", "another Step has this name"],
    ),
    ("two makers", [step("new", [], ["a"])], ["Step 'new'", "Step 'one' makes it too"]),
    (
        "two new makers",
        [step("n1", [], ["n"]), step("n2", [], ["n"])],
        ["Step 'n2'", "Step 'n1' makes it too"],
    ),
    (
        "an output below another's",
        [step("new", [], ["d/x"])],
        ["'d/x'", "Step 'dir' makes 'd/'", "overlaps"],
    ),
    (
        "an output above another's",
        [step("new", [], ["k/"])],
        ["'k/'", "Step 'two' makes 'k:z'", "overlaps"],
    ),
    (
        "the same output twice",
        [step("new", [], ["n", "n"])],
        ["Step 'new'", "two of its outputs are the key 'n'"],
    ),
    (
        "one file by two keys",
        [step("new", ["k/z"], ["n"])],
        ["'k/z'", "'k:z'", "name the same file"],
    ),
    (
        "one file by two new keys",
        [step("n1", ["q:n"], ["m"]), step("n2", ["q/n"], ["o"])],
        ["'q/n'", "'q:n'", "same file"],
    ),
    (
        "one file by two own keys",
        [step("new", ["q:n"], ["q/n"])],
        ["'q:n'", "'q/n'", "name the same file"],
    ),
    ("a directory by two keys", [step("new", ["d"], ["n"])], ["'d'", "'d/'", "name the same file"]),
    (
        "a step that waits for itself",
        [step("new", ["n"], ["n"])],
        ["Steps wait for each other: new → n → new; break the cycle"],
    ),
    (
        "a step that waits for itself by several keys",
        [step("new", ["o", "n", "in"], ["p", "o", "n"])],
        ["Steps wait for each other: new → n → new; break the cycle"],
    ),
    (
        "a step that reads in its own directory",
        [step("new", ["n/x"], ["n/"])],
        ["new → n/x → new;"],
    ),
    (
        "a step that makes a part of what it reads",
        [step("new", ["b:n/"], ["b:n/x"])],
        ["new → b:n/ → new;"],
    ),
    (
        "a cycle",
        [step("n1", ["n"], ["m"]), step("n2", ["m"], ["n"])],
        ["n1 → m → n2 → n → n1;"],
    ),
    (
        "a cycle through what is there",
        [step("new", ["k:z"], ["in"])],
        ["new → in → one → a → two → k:z → new;"],
    ),
    (
        "a cycle through a directory",
        [step("new", ["end"], ["e/x"])],
        ["new → e/ → last → end → new;"],
    ),
    (
        "a cycle beside a way to it",
        [step("n0", [], ["z"]), step("n1", ["z", "y"], ["x"]), step("n2", ["x"], ["y"])],
        ["other: n1 → x → n2 → y → n1;"],
    ),
]


@pytest.mark.parametrize(
    ("added", "words"),
    [refusal[1:] for refusal in REFUSALS],
    ids=[refusal[0] for refusal in REFUSALS],
)
@pytest.mark.parametrize(
    "first", [[], [step("fine", ["in"], ["f/x"])]], ids=["alone", "after a good one"]
)
def test_refusals_say_what_is_wrong_and_change_nothing(
    added: list[Step], words: list[str], first: list[Step]
) -> None:
    graph = graph_of(
        step("one", ["in"], ["a"]),
        step("two", ["a"], ["k:z"]),
        step("dir", [], ["d/"]),
        step("last", ["e/"], ["end"]),
        there=["in", "a", "d/", "e/"],
    )
    begin(graph, "two")
    before, waiting = snapshot(graph), graph.waiting_inputs()
    with pytest.raises(InvalidInput) as caught:
        change(graph, [], first + added)
    for word in ["workflow 'w'", *words]:
        assert word in str(caught.value)
    assert (snapshot(graph), graph.waiting_inputs()) == (before, waiting)


def test_a_refused_replacement_puts_back_what_it_took_out() -> None:
    graph = graph_of(
        step("one", ["in"], ["d/"]),
        step("two", ["d/x"], ["k:z"]),
        step("three", ["k:z"], ["c"]),
        there=["in", "d/x"],
    )
    put(graph, "d/", content())
    put(graph, "d/x", content())
    begin(graph, "two")
    before, waiting = snapshot(graph), graph.waiting_inputs()
    with pytest.raises(InvalidInput, match="wait for each other"):
        change(graph, ["one", "two"], [step("two", ["c"], ["k:z"]), step("one", ["in"], ["e/"])])
    assert (snapshot(graph), graph.waiting_inputs()) == (before, waiting)
    with pytest.raises(InvalidInput, match="another Step has this name"):
        change(graph, ["one"], [step("one", [], ["d"]), step("three")])
    assert (snapshot(graph), graph.waiting_inputs()) == (before, waiting)


def test_a_refused_replacement_forgets_no_look() -> None:
    graph = graph_of(step("one", ["a"], ["b"]), there=["a"])
    graph.require_inspection(graph.keys["a"])
    graph.settle()
    before = snapshot(graph)
    with pytest.raises(InvalidInput, match="wait for each other"):
        change(graph, ["one"], [step("one", ["a", "b"], ["b"])])
    assert snapshot(graph) == before
    assert list(graph.to_inspect) == ["a"]


def test_thousands_of_steps_are_quick() -> None:
    """A refusal is the dearest: in and out again. Quadratic costs would take minutes."""
    count = 5_000
    steps = [
        step(f"s{n}", [f"k/{n}/in", f"k/{n - 1}/out"], [f"k/{n}/out"]) for n in range(1, count)
    ]
    graph = graph_of(*steps)
    wide = step(
        "wide", [f"k/{n}/out" for n in range(1, count)], [f"wide/{n}" for n in range(count)]
    )
    change(graph, [], [wide])
    with pytest.raises(InvalidInput, match="wait for each other"):
        change(graph, [], [step("back", ["wide/7"], ["k/0/out"])])
    for key in list(graph.keys.values()):
        graph.mark(key, content())
    graph.settle()
    assert (graph.verdicts[VerdictKind.FRESH], graph.waiting_inputs()) == (count, [])


# ---------------------------------------------------------------------------------- states of Steps


def test_a_step_that_failed_holds_nobody() -> None:
    graph = graph_of(step("one", ["in"], ["a"]), step("two", ["a"], ["b"]), there=["in"])
    finish(graph, "one")
    finish(graph, "two")
    put(graph, "a", KeyState(KeyKind.UNSURE, "q1", "1", why=EXPIRED))
    assert verdicts(graph) == {"one": "run", "two": "wait"}
    become(graph, "one", StepState.FAILED, {"in": "1"})
    assert (told(graph, "one"), verdicts(graph)["two"]) == (
        ("failed", "retry after error"),
        "fresh",
    )
    put(graph, "a", KeyState(KeyKind.EXPIRED, "q1", "1"))
    assert told(graph, "two") == ("blocked", "input changed: a")
    assert graph.waiting_inputs() == ["a"]
    put(graph, "in", content("2"))  # it may go better now
    assert (told(graph, "one"), told(graph, "two")) == (
        ("run", "retry after error"),
        ("wait", "upstream one ran again"),
    )


def test_a_step_that_failed_before_reading_is_retried_by_request_only() -> None:
    graph = graph_of(step("one", ["in"], ["a"]), there=["in"])
    become(graph, "one", StepState.FAILED)
    put(graph, "in", content("2"))
    assert verdicts(graph) == {"one": "failed"}
    become(graph, "one", StepState.NEW)
    assert told(graph, "one") == ("run", "retry after error")


@pytest.mark.parametrize(
    ("state", "reason"),
    [(StepState.NEW, NEW), (StepState.CANCELLED, NEW), (StepState.INTERRUPTED, INTERRUPTED),
     (StepState.DONE, Reason(ReasonKind.MISSING, "a"))],
)  # fmt: skip
@pytest.mark.parametrize("why", [None, EXPIRED])
def test_why_a_step_runs(state: StepState, reason: Reason, why: Reason | None) -> None:
    graph = graph_of(step("one", [], ["a"]))
    put(graph, "a", KeyState(KeyKind.ABSENT, why=why))
    become(graph, "one", state)
    expected = INTERRUPTED if state is StepState.INTERRUPTED else why or reason
    assert verdict_on(graph.steps["one"]) == Verdict(VerdictKind.RUN, expected)


def test_a_running_step_is_overtaken_by_a_changed_or_missing_input() -> None:
    graph = graph_of(step("one", ["in"], ["a"]), there=["in"])
    begin(graph, "one")
    put(graph, "in", KeyState(KeyKind.THERE, "other time", "1"))
    assert graph.overtaken == {}
    for state in (content("2"), ABSENT):
        put(graph, "in", state)
        assert graph.overtaken == {graph.steps["one"]: graph.keys["in"]}
        graph.overtaken.clear()
        put(graph, "in", content())


def test_uncertain_keys_are_looked_at_before_a_verdict() -> None:
    graph = graph_of(step("one", ["in"], ["a"]), step("two", ["a"], ["b"]), there=["in"])
    finish(graph, "one")
    finish(graph, "two")
    put(graph, "in", content(None))
    assert (list(graph.to_inspect), verdicts(graph)) == (["in"], {"one": "wait", "two": "wait"})
    put(graph, "in", content("1"))
    assert (list(graph.to_inspect), verdicts(graph)) == ([], {"one": "fresh", "two": "fresh"})


def test_asking_why_a_step_waits_changes_nothing() -> None:
    graph = graph_of(step("one", ["in"], ["a"]), step("two", ["a", "b"], ["c"]), there=["in", "b"])
    finish(graph, "one")
    finish(graph, "two")
    put(graph, "in", content("2"))
    # It isn't needed before the other input's content is certain.
    put(graph, "b", content(None))
    before = snapshot(graph)
    assert told(graph, "two") == ("wait", "upstream one ran again")
    assert snapshot(graph) == before
    finish_anew(graph, "one", "1")
    assert (list(graph.to_inspect), verdicts(graph)["two"]) == (["b"], "wait")


def test_a_look_waits_for_whoever_makes_a_part_of_it() -> None:
    graph = graph_of(step("one", [], ["d/x"]), step("all", ["d/"], ["b"]))
    put(graph, "d/", content())
    begin(graph, "one")
    graph.require_inspection(graph.keys["d/"])
    graph.settle()
    assert (graph.to_inspect, verdicts(graph)["all"]) == ({}, "wait")
    finish(graph, "one")
    assert list(graph.to_inspect) == ["d/"]


# ---------------------------------------------------------------------------------------- the order


def test_the_longest_way_on_goes_first_then_the_order_of_upload() -> None:
    graph = graph_of(
        step("leaf", [], ["l"]), step("short", [], ["s"]), step("long", [], ["g"]),
        step("also", [], ["x"]),
        step("s2", ["s"], ["s2"]), step("g2", ["g"], ["d/g2"]), step("g3", ["d/"], ["g3"]),
        step("x2", ["x", "s2"], ["x2"]),
    )  # fmt: skip
    assert [node.step.name for node in graph.ready()] == ["short", "long", "also", "leaf"]
    change(graph, ["g3"], [])
    graph.settle()
    assert [node.step.name for node in graph.ready()] == ["short", "long", "also", "leaf"]
    assert [node.depth for node in graph.ready()] == [2, 1, 1, 0]


def study() -> list[Step]:
    """A study of 277 Steps: 16 chains of 8 simulations and analyses, and Steps that join them."""
    steps = [step("parca", [], ["kb"]), step("variant", ["kb"], ["variant"])]
    for chain in range(16):
        before = "variant"
        for generation in range(8):
            name = f"{chain}/{generation}"
            steps.append(step(f"sim-{name}", [before], [f"sim/{name}"]))
            steps.append(step(f"analysis-{name}", [f"sim/{name}"], [f"analysis/{name}"]))
            before = f"sim/{name}"
        steps.append(
            step(f"chain-{chain}", [f"analysis/{chain}/{n}" for n in range(8)], [f"chain/{chain}"])
        )
    for half in (0, 1):
        steps.append(
            step(f"half-{half}", [f"chain/{n}" for n in range(half, 16, 2)], [f"half/{half}"])
        )
    return [*steps, step("all", ["half/0", "half/1"], ["all"])]


def takes(workers: int, seconds: Mapping[str, float], by_rank: bool) -> float:
    """The time that the study takes if ready Steps start by rank, or first come, first served."""
    graph, arrivals = graph_of(*study()), itertools.count()
    queued: list[tuple[tuple[int, int], int, StepNode]] = []
    running: list[tuple[float, int, StepNode]] = []
    now = 0.0
    while graph.verdicts[VerdictKind.FRESH] < len(graph.steps):
        for node in (
            graph.ready()
            if by_rank
            else sorted(graph.can_run.values(), key=lambda node: node.order)
        ):
            graph.mark_step(node, StepState.QUEUED)
            heapq.heappush(queued, (node.rank if by_rank else (0, 0), next(arrivals), node))
        while queued and len(running) < workers:
            _, number, node = heapq.heappop(queued)
            heapq.heappush(running, (now + seconds[node.step.name.partition("-")[0]], number, node))
        now, _, node = heapq.heappop(running)
        finish(graph, node.step.name)
    return now


def durations(analysis: float) -> dict[str, float]:
    return {
        "parca": 5.0,
        "variant": 0.5,
        "sim": 1.0,
        "analysis": analysis,
        "chain": 0.5,
        "half": 0.5,
        "all": 1.0,
    }


@pytest.mark.parametrize("analysis", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8, 12, 16, 24])
def test_a_study_takes_no_longer_than_first_come(workers: int, analysis: float) -> None:
    """By half a percent at most: no rule that knows no durations wins every time."""
    assert len(study()) == 277
    seconds = durations(analysis)
    assert takes(workers, seconds, by_rank=True) <= 1.005 * takes(workers, seconds, by_rank=False)


@pytest.mark.parametrize(("workers", "analysis"), [(16, 3.0), (24, 1.0)])
def test_a_study_can_take_less_than_first_come(workers: int, analysis: float) -> None:
    seconds = durations(analysis)
    assert takes(workers, seconds, by_rank=True) < 0.96 * takes(workers, seconds, by_rank=False)


# -------------------------------------------------------------------------------------------- costs


def test_networkx_is_imported_for_a_cycle_only() -> None:
    """It takes longer to import than most workflows take to be uploaded."""
    code = """if True:
        import sys
        from gaia_local.workflow.graph import Graph
        from gaia_local.model.steps import Step
        change = Graph.replace
        steps = [Step(f"s{n}", "c", {"a": f"k{n}"}, {"x": f"k{n + 1}"}, {}) for n in range(3)]
        graph = Graph("w", lambda key: f"/store/{key}")
        change(graph, [], steps)
        graph.settle()
        assert len(graph.ready()) == 0 and "networkx" not in sys.modules
        try:
            change(graph, [], [Step("last", "c", {"a": "k3"}, {"x": "k0"}, {})])
        except Exception as error:
            assert "networkx" in sys.modules
            print(error)
    """
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "last → k0 → s0 → k1 → s1 → k2 → s2 → k3 → last" in told


# -------------------------------------------------------------------------------- against a recount


def overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def acceptable(steps: Iterable[Step]) -> bool:
    """Whether these Steps can be one graph, told from the definitions alone."""
    steps = list(steps)
    if len({step.name for step in steps}) < len(steps):
        return False
    spelled: dict[str, str] = {}
    for step in steps:
        for key in (*step.inputs.values(), *step.outputs.values()):
            if spelled.setdefault(locate(key), key) != key:
                return False
    outputs = [(step.name, key) for step in steps for key in step.outputs.values()]
    if len(set(outputs)) < len(outputs):
        return False
    if any(
        n1 != n2 and overlap(locate(k1), locate(k2)) for n1, k1 in outputs for n2, k2 in outputs
    ):
        return False
    after = {
        step.name: {
            name
            for name, made in outputs
            for read in step.inputs.values()
            if overlap(locate(made), locate(read))
        }
        for step in steps
    }
    while ready := {name for name, others in after.items() if not others & after.keys()}:
        after = {name: others for name, others in after.items() if name not in ready}
    return not after


class Plain:
    """A graph as plain values: its given states, and the conclusions, computed from scratch."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self.keys: dict[str, KeyState] = {}
        self.unseen: set[str] = set()
        self.taken: set[str] = set()
        """Those that are being looked at."""
        self.states: dict[str, StepState] = {}
        self.reads: dict[str, Mapping[str, str | None] | None] = {}

    def begin(self) -> None:
        """Forget the earlier conclusions."""
        self.makers = {
            key: name for name, step in self.steps.items() for key in step.outputs.values()
        }
        for forget in (self.own, self.status, self.verdict, self.depth):
            forget.cache_clear()

    def overlapping_outputs(self, key: str) -> list[str]:
        return [made for made in self.makers if made != key and overlap(locate(made), locate(key))]

    def overlapping_inputs(self, key: str) -> list[str]:
        return [
            near
            for near in self.keys
            if key in self.makers and near != key and overlap(locate(near), locate(key))
        ]

    def inputs(self, name: str) -> list[str]:
        return list(dict.fromkeys(self.steps[name].inputs.values()))

    def successors(self, name: str) -> set[str]:
        made = self.steps[name].outputs.values()
        return {
            other.name
            for other in self.steps.values()
            if any(
                overlap(locate(one), locate(read)) for one in made for read in other.inputs.values()
            )
        }

    @functools.cache  # noqa: B019 there is one of these, and it lives as long as the cache
    def own(self, key: str) -> int:
        if key in self.unseen or (key in self.makers and self.verdict(self.makers[key]).active):
            return PENDING
        return READY if self.keys[key].usable else MISSING

    @functools.cache  # noqa: B019
    def status(self, key: str) -> int:
        others = [self.own(made) for made in self.overlapping_outputs(key)]
        return MISSING if MISSING in others else PENDING if PENDING in others else self.own(key)

    @functools.cache  # noqa: B019
    def depth(self, name: str) -> int:
        return max((self.depth(other) + 1 for other in self.successors(name)), default=0)

    def differs(self, name: str) -> bool:
        """Whether an input is known to hold something else than was read."""
        reads = self.reads[name] or {}
        for key in self.inputs(name):
            read, digest = reads.get(key), self.keys[key].digest
            if self.status(key) == MISSING:
                return True
            if (
                self.status(key) == READY
                and read is not None
                and digest is not None
                and read != digest
            ):
                return True
        return False

    @functools.cache  # noqa: B019
    def verdict(self, name: str) -> VerdictKind:
        statuses = [self.status(key) for key in self.inputs(name)]
        made = [self.keys[key] for key in self.steps[name].outputs.values()]
        state, read_it = self.states[name], self.reads[name] is not None
        if state in (StepState.QUEUED, StepState.RUNNING):
            return VerdictKind.RUNNING
        if not made:
            return VerdictKind.FRESH
        unmade = any(key.kind is not KeyKind.THERE for key in made)
        if PENDING in statuses and MISSING not in statuses:
            usable = any(
                self.status(key) == PENDING and self.keys[key].usable for key in self.inputs(name)
            )
            return VerdictKind.WAIT if unmade or read_it or usable else VerdictKind.FRESH
        if not unmade and not (state is StepState.DONE and read_it and self.differs(name)):
            return VerdictKind.FRESH
        if state is StepState.FAILED and not (read_it and self.differs(name)):
            return VerdictKind.FAILED
        return VerdictKind.BLOCKED if MISSING in statuses else VerdictKind.RUN

    def waiting(self) -> list[str]:
        waiting = [name for name in self.steps if self.verdict(name) is not VerdictKind.FRESH]
        return sorted(
            {key for name in waiting for key in self.inputs(name) if self.status(key) != READY}
        )

    def compare(self, graph: Graph) -> None:
        """Compare a graph's whole state with the conclusions from its given states."""
        assert set(graph.keys) == set(self.keys)
        assert set(graph.steps) == set(self.steps)
        self.adopt(graph)
        self.begin()
        for key in self.keys:
            self.compare_key(graph.keys[key])
        for name in self.steps:
            self.compare_step(graph.steps[name])
        verdicts = {name: self.verdict(name) for name in self.steps}
        assert +graph.verdicts == Counter(verdicts.values())
        assert graph.can_run == {
            name: graph.steps[name] for name in verdicts if verdicts[name] is VerdictKind.RUN
        }
        assert [node.step.name for node in graph.ready()] == sorted(
            graph.can_run, key=lambda name: (-self.depth(name), graph.steps[name].order)
        )
        seeable = {
            key
            for key in self.unseen
            if {self.own(made) for made in self.overlapping_outputs(key)} <= {READY}
        }
        assert seeable - self.taken <= set(graph.to_inspect) <= seeable
        for path in map(locate, ALL_KEYS):
            assert {node.key for node in graph.overlapping(path)} == {
                key for key in self.keys if overlap(locate(key), path)
            }

    def adopt(self, graph: Graph) -> None:
        """Take over the graph's choice of keys to inspect: those read, with unknown contents."""
        assert {key for key in self.unseen if not graph.keys[key].unseen} == set()
        for key, node in graph.keys.items():
            if node.unseen and key not in self.unseen:
                assert self.keys[key].digest is None
                assert any(
                    (self.reads[name] or {}).get(key) is not None
                    for name in self.steps
                    if key in self.inputs(name)
                )
                self.unseen.add(key)

    def compare_key(self, node: KeyNode) -> None:
        key, above = node.key, self.overlapping_outputs(node.key)
        assert (node.state, node.unseen) == (self.keys[key], key in self.unseen)
        assert node.own == self.own(key)
        assert node.pending == sum(self.own(made) == PENDING for made in above)
        assert node.missing == sum(self.own(made) == MISSING for made in above)
        assert node.status == self.status(key)
        assert node.external == (key not in self.makers and not above)
        assert sorted(other.key for other in node.overlapping_outputs) == sorted(above)
        assert sorted(other.key for other in node.overlapping_inputs) == sorted(
            self.overlapping_inputs(key)
        )
        assert {maker.step.name for maker in node.makers} == {
            self.makers[made] for made in [*above, key] if made in self.makers
        }
        assert sorted(reader.step.name for reader in node.readers) == sorted(
            name for name in self.steps if key in self.inputs(name)
        )

    def compare_step(self, node: StepNode) -> None:
        name = node.step.name
        assert (node.state, node.reads) == (self.states[name], self.reads[name])
        statuses = [self.status(key) for key in self.inputs(name)]
        assert (node.pending, node.missing) == (statuses.count(PENDING), statuses.count(MISSING))
        assert node.verdict is self.verdict(name)
        assert node.active == node.verdict.active
        assert {other.step.name for other in node.successors()} == self.successors(name)
        assert node.depth == self.depth(name)
        if node.verdict is VerdictKind.RUNNING and node.reads is not None:
            assert not self.differs(name)  # else it was overtaken
        if (
            node.outputs
            and node.verdict is VerdictKind.FRESH
            and node.state is StepState.DONE
            and not node.pending
        ):
            assert not any(
                key.state.digest is None
                for key in node.inputs
                if (node.reads or {}).get(key.key) is not None
            )


NAMES = [f"s{number}" for number in range(5)]
DIGESTS = ["1", "2", None]
some_keys = st.lists(st.sampled_from(ALL_KEYS), max_size=3)
wild_step = st.builds(
    step, st.sampled_from(NAMES), some_keys, some_keys, st.sampled_from(["c", "d"])
)


def some_of(keys: list[str], least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(keys), min_size=least, max_size=min(3, len(keys)), unique=True)


MAKES = [["a", "b"], ["d/x", "d/e/"], ["d0", "d/f"], ["k:z", "c"], ["e/f", "e/g"]]
READS = [
    ["in", "e/h"],
    ["a", "b", "in"],
    ["d/x", "d/e/y", "a"],
    ["d/", "d0", "b", "in"],
    ["k:z", "k/", "c", "d/"],
]
tidy_step = st.integers(0, 4).flatmap(
    lambda n: st.builds(
        step, st.just(NAMES[n]), some_of(READS[n]), some_of(MAKES[n], least=1), st.just("c")
    )
)
"""One of a chain, so that something follows most Steps; now and then the end comes first."""
turned_step = st.integers(0, 3).flatmap(
    lambda n: st.builds(
        step, st.just(NAMES[n]), some_of(["e/", *READS[n + 1]]), some_of(MAKES[n]), st.just("c")
    )
)
some_step = tidy_step | tidy_step | tidy_step | turned_step | wild_step
some_state = st.builds(
    KeyState,
    st.sampled_from(KeyKind),
    st.sampled_from(["q1", "q2"]),
    st.sampled_from(DIGESTS),
    st.sampled_from([None, "t1"]),
    st.sampled_from([None, RETRY, Reason(ReasonKind.UPSTREAM, "s0")]),
) | st.just(ABSENT)  # fmt: skip


class Counting(RuleBasedStateMachine):
    """Random changes to a graph, and a plain record of them."""

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph("w", locate)
        self.plain = Plain()
        self.changed: dict[str, KeyState] = {}
        self.curious = False

    @initialize(
        steps=st.lists(tidy_step, max_size=5, unique_by=lambda step: step.name),
        curious=st.booleans(),
        ran=st.booleans(),
    )
    def first(self, steps: list[Step], curious: bool, ran: bool) -> None:
        self.curious = curious
        self.change([], steps)
        if ran:
            for key in sorted(key for key, node in self.graph.keys.items() if node.external):
                self.mark_key(key, content())
            self.settle()
            self.run("1", len(steps))

    @rule(
        removed=st.sets(st.sampled_from(NAMES), max_size=3), added=st.lists(some_step, max_size=3)
    )
    def replace(self, removed: set[str], added: list[Step]) -> None:
        self.change([name for name in removed if name in self.plain.steps], added)

    @rule(new=some_step)
    def merge(self, new: Step) -> None:
        self.change([new.name] if new.name in self.plain.steps else [], [new])

    @rule(data=st.data(), state=some_state)
    def mark(self, data: st.DataObject, state: KeyState) -> None:
        if self.plain.keys:
            self.mark_key(data.draw(st.sampled_from(sorted(self.plain.keys))), state)
            self.settle()

    @rule(data=st.data())
    def require_inspection(self, data: st.DataObject) -> None:
        if self.plain.keys:
            key = data.draw(st.sampled_from(sorted(self.plain.keys)))
            version = self.graph.keys[key].version
            self.graph.require_inspection(self.graph.keys[key])
            assert self.graph.keys[key].version > version
            self.plain.unseen.add(key)
            self.plain.taken.discard(key)
            self.settle()

    @rule(data=st.data(), state=st.sampled_from(StepState))
    def mark_step(self, data: st.DataObject, state: StepState) -> None:
        if self.plain.steps:
            name = data.draw(st.sampled_from(sorted(self.plain.steps)))
            keys = self.plain.inputs(name)
            reads = data.draw(
                st.none() | st.fixed_dictionaries({key: st.sampled_from(DIGESTS) for key in keys})
            )
            self.mark_one(name, state, reads)
            self.settle()

    @rule(digest=st.sampled_from(DIGESTS), count=st.integers(1, 3))
    def go_on(self, digest: str | None, count: int) -> None:
        self.run(digest, count)

    def run(self, digest: str | None, count: int) -> None:
        """Some that can run do, and make all that they should."""
        for _ in range(count):
            self.run_one(digest)

    def run_one(self, digest: str | None) -> None:
        for node in self.graph.ready()[:1]:
            name = node.step.name
            reads = {key: self.plain.keys[key].digest for key in self.plain.inputs(name)}
            self.mark_one(name, StepState.QUEUED, reads)
            self.settle()
            if node.verdict is VerdictKind.RUNNING:
                self.mark_one(name, StepState.DONE, reads)
                for key in node.outputs:
                    self.mark_key(key.key, content(digest))
                self.settle()

    @rule(data=st.data(), digest=st.sampled_from(DIGESTS))
    def put(self, data: st.DataObject, digest: str | None) -> None:
        """The user puts a file at an input, or changes one that was read."""
        keys = sorted(key for name in self.plain.steps for key in self.plain.inputs(name))
        if keys:
            self.mark_key(data.draw(st.sampled_from(keys)), content(digest))
            self.settle()

    @rule(data=st.data(), state=some_state)
    def take_looks(self, data: st.DataObject, state: KeyState) -> None:
        """Answer some of the requested inspections, while the rest is still open."""
        looks, self.graph.to_inspect = dict(self.graph.to_inspect), {}
        self.plain.taken |= looks.keys()
        for key in data.draw(st.sets(st.sampled_from(sorted(looks)))) if looks else ():
            self.mark_key(key, state)
        self.settle()

    @rule()
    def write(self) -> None:
        self.graph.changed.clear()
        self.changed.clear()

    @rule()
    def ask(self) -> None:
        assert self.graph.waiting_inputs() == self.plain.waiting()

    def mark_key(self, key: str, state: KeyState) -> None:
        plain, before, node = self.plain, self.plain.keys[key], self.graph.keys[key]
        version = node.version
        self.graph.mark(node, state)
        assert node.version > version
        plain.begin()
        plain.keys[key] = state
        plain.unseen.discard(key)
        plain.taken.discard(key)
        if state != before:
            self.changed[key] = state
        if key not in self.graph.keys:  # no Step names it, and its file is now the user's
            self.changed[key] = ABSENT
            del plain.keys[key]
            return
        if state.digest != before.digest or state.usable != before.usable:
            plain.unseen.update(plain.overlapping_inputs(key))
            plain.taken.difference_update(plain.overlapping_inputs(key))

    def mark_one(self, name: str, state: StepState, reads: Mapping[str, str | None] | None) -> None:
        node = self.graph.steps[name]
        node.attempt, node.reads = attempt_at(node, state), reads
        self.graph.mark_step(node, state)
        kept = state in (StepState.QUEUED, StepState.RUNNING, StepState.DONE, StepState.FAILED)
        self.plain.states[name], self.plain.reads[name] = state, reads if kept else None

    def settle(self) -> None:
        """Cancel overtaken Steps, as for a user."""
        self.graph.settle()
        while self.graph.overtaken:
            node, key = self.graph.overtaken.popitem()
            self.plain.adopt(self.graph)
            self.plain.begin()
            assert key in node.inputs
            assert self.plain.differs(node.step.name)
            self.mark_one(node.step.name, StepState.CANCELLED, None)
            self.graph.settle()

    def change(self, removed: list[str], added: list[Step]) -> None:
        plain = self.plain
        result = [step for name, step in plain.steps.items() if name not in removed] + added
        before, nodes = snapshot(self.graph), dict(self.graph.keys)
        if not acceptable(result):
            with pytest.raises(InvalidInput):
                change(self.graph, removed, added)
            after = snapshot(self.graph)
            assert (
                set(after.pop("to_inspect")) - plain.taken
                == set(before.pop("to_inspect")) - plain.taken
            )
            assert after == before
            return
        idle = {key for key, node in nodes.items() if node.idle}
        fresh = change(self.graph, removed, added)
        new = {key for key, node in self.graph.keys.items() if nodes.get(key) is not node}
        assert {key.key for key in fresh} == new | {
            key for key in idle - new if not self.graph.keys[key].idle
        }
        for name, node in nodes.items():
            if self.graph.keys.get(name) is not node:
                self.leave(name)
        for key in fresh:
            if key.key in new and key.state is not ABSENT:  # another name of a file that is known
                self.changed[key.key] = key.state
        plain.steps = {step.name: step for step in result}
        plain.keys |= {key.key: key.state for key in fresh}
        for step in added:
            plain.states[step.name], plain.reads[step.name] = StepState.NEW, None
        self.settle()

    def leave(self, key: str) -> None:
        state = self.plain.keys.pop(key)
        self.plain.unseen.discard(key)
        self.plain.taken.discard(key)
        if state != ABSENT:
            self.changed[key] = ABSENT

    @invariant()
    def as_recounted(self) -> None:
        self.plain.compare(self.graph)
        assert self.graph.changed == self.changed
        if self.curious:  # else it is counted along for a while
            self.ask()

    @invariant()
    def asking_changes_nothing(self) -> None:
        before = snapshot(self.graph)
        for node in self.graph.steps.values():
            verdict = verdict_on(node)
            assert verdict.kind is node.verdict
            assert (verdict.reason is None) == (verdict.kind is VerdictKind.FRESH)
        assert snapshot(self.graph) == before


Counting.TestCase.settings = settings(max_examples=250, stateful_step_count=15, deadline=None)
TestCounting = Counting.TestCase

"""`Gaia.digraph`: a workflow as a graph of networkx, and what users do with that."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx
import pytest

from gaia_local import Gaia, GaiaError
from gaia_local.engine.root_reader import RootReader
from gaia_local.engine.scheduler import Scheduler
from gaia_local.engine.snapshot import Snapshot
from gaia_local.state.database import Database
from gaia_local.store.storage import Storage
from gaia_local.workflow.decision import Saved
from gaia_local.workflow.states import Attempt
from support.builders import COPY, command, step
from support.fixtures import MakeGaia, WaitUntil
from support.gates import FileGate
from support.owner import Owner

JOIN = command("join", "cat /in/a /in/b > /out/x", "a", "b")
TREE = command("tree", "echo 1 > /out/d/one; echo 2 > /out/d/two", x="/out/d/")
LIST = command("list", "ls /in/a > /out/x", "a")
FAIL = command("fail", "exit 3", "a")
COMMANDS = [COPY, JOIN, TREE, LIST, FAIL]
STEPS = [
    step("join", "join", "b:z/both", "b:one", "b:own"),
    step("part", "copy", "b:one", "b:d/one"),
    step("tree", "tree", "b:d/"),
    step("twice", "join", "b:twice", "b:d/two", "b:d/one"),
    step("all", "list", "b:all", "b:z/"),
    step("failed", "fail", "b:never", "b:all"),
    step("waiting", "join", "b:last", "b:nobody", "b:never"),
]


@pytest.fixture(params=["in process", "another process", "files alone"])
def gaia(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gaia]:
    """A root with a workflow in which all kinds of Steps and of edges are."""
    config = {"root": str(tmp_path / "root"), "runtime": "process", "watch": False}
    owner = Owner()
    if request.param == "another process":
        owner.own(config)
    with Gaia(config) as made:
        made.path("w", "b:own").parent.mkdir(parents=True)
        made.path("w", "b:own").write_text("own")
        made.upload("w", {}, COMMANDS, STEPS)
        made.wait("w", 30)
        if request.param != "files alone":
            yield made
    if request.param == "files alone":
        with Gaia(config) as made:
            yield made
    owner.close()


def edges(graph: networkx.DiGraph[str]) -> dict[tuple[str, str], list[str]]:
    return {(maker, reader): facts["keys"] for maker, reader, facts in graph.edges(data=True)}


def attribute(graph: networkx.DiGraph[str], name: str) -> dict[str, Any]:
    """Step → one of its attributes."""
    return {step: facts[name] for step, facts in graph.nodes(data=True)}


def test_steps_are_nodes_and_keys_are_on_the_edges(gaia: Gaia) -> None:
    graph = gaia.digraph("w")
    assert type(graph) is networkx.DiGraph
    assert graph.graph == {"name": "w", "state": "error"}
    assert list(graph) == [step["name"] for step in STEPS]
    assert attribute(graph, "command") == {step["name"]: step["command"] for step in STEPS}
    assert attribute(graph, "state") == {
        **dict.fromkeys(["join", "part", "tree", "twice", "all"], "complete"),
        "failed": "error",
        "waiting": "waiting",
    }
    assert edges(graph) == {
        ("tree", "part"): ["b:d/one"],
        ("tree", "twice"): ["b:d/one", "b:d/two"],
        ("part", "join"): ["b:one"],
        ("join", "all"): ["b:z/"],
        ("all", "failed"): ["b:all"],
        ("failed", "waiting"): ["b:never"],
    }
    assert graph.nodes["join"]["inputs"] == ["b:one", "b:own"]
    assert graph.nodes["tree"]["inputs"] == []
    assert graph.nodes["tree"]["outputs"] == ["b:d/"]


def test_its_nodes_states_and_edges_are_those_of_the_answer_that_pictures_show(gaia: Gaia) -> None:
    graph, shown = gaia.digraph("w"), gaia.graph("w")
    assert graph.graph["state"] == shown["state"]
    assert [
        {"step": name, "command": facts["command"], "state": facts["state"]}
        for name, facts in graph.nodes(data=True)
    ] == shown["steps"]
    assert edges(graph) == {
        (edge["from"], edge["to"]): sorted(edge["keys"]) for edge in shown["edges"]
    }


def test_times_are_those_of_the_timeline(gaia: Gaia) -> None:
    graph = gaia.digraph("w")
    ran = {attempt["step"]: attempt for attempt in gaia.timeline("w")["attempts"]}
    assert ran.keys() == set(graph) - {"waiting"}
    for name, attempt in ran.items():
        node = graph.nodes[name]
        assert attempt["started"] is not None
        assert attempt["ended"] is not None
        assert (node["task"], node["started"], node["ended"]) == (
            attempt["task"],
            attempt["started"],
            attempt["ended"],
        )
        elapsed = attempt["ended"] - attempt["started"]
        assert node["duration"] == (None if name == "failed" else elapsed)
    times = ("task", "started", "ended", "duration")
    assert {graph.nodes["waiting"][time] for time in times} == {None}


def test_json_can_carry_it(gaia: Gaia) -> None:
    graph = gaia.digraph("w")
    data = json.loads(json.dumps(networkx.node_link_data(graph)))
    assert networkx.utils.graphs_equal(networkx.node_link_graph(data), graph)


def test_an_unknown_workflow_is_refused_as_elsewhere(gaia: Gaia) -> None:
    with pytest.raises(GaiaError) as refused:
        gaia.digraph("ww")
    with pytest.raises(GaiaError) as elsewhere:
        gaia.graph("ww")
    assert str(refused.value) == str(elsewhere.value)
    assert "'ww'" in str(refused.value)


def test_a_workflow_without_steps_is_an_empty_graph(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    gaia.command("w", [COPY])
    graph = gaia.digraph("w")
    assert (graph.graph, len(graph)) == ({"name": "w", "state": "initialized"}, 0)


def test_arrays_and_composites_are_the_steps_that_run(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    inner = [step("first", "copy", "mid", "a"), step("second", "copy", "x", "mid")]
    both = {"name": "both", "inputs": ["a"], "outputs": ["x"], "steps": inner}
    array = step("many", "copy", "b:{{n}}", "b:own", vars={"n": [1, 2]})
    gaia.upload("w", {}, [COPY, both], [array, step("pair", "both", "b:end", "b:2")])
    graph = gaia.digraph("w")
    assert edges(graph) == {
        ("many-2", "pair:first"): ["b:2"],
        ("pair:first", "pair:second"): ["composite/pair/first/x:mid"],
    }
    assert set(graph) == {"many-1", "many-2", "pair:first", "pair:second"}


# ------------------------------------------------------------------------------------------- times


def test_the_duration_is_that_of_the_last_complete_task(
    make_gaia: MakeGaia, tmp_path: Path, wait_until: WaitUntil
) -> None:
    gate = FileGate(tmp_path / "gate")
    gate.open()
    gaia = make_gaia()
    hold = command("hold", f"{gate.hold(gate.folder)}; test ! -e {gate.folder}/bad; echo > /out/x")
    gaia.upload("w", {}, [hold], [step("s", "hold", "b:x")])
    gaia.wait("w", 30)
    first = dict(gaia.digraph("w").nodes["s"])
    assert first["duration"] == first["ended"] - first["started"]

    (gate.folder / "go").unlink()
    gaia.expire("w", ["s"])
    wait_until(lambda: gaia.digraph("w").nodes["s"]["state"] == "running")
    running = gaia.digraph("w").nodes["s"]
    assert (running["ended"], running["duration"]) == (None, first["duration"])
    assert running["started"] >= first["ended"]
    assert running["task"] != first["task"]

    gaia.halt("w")
    halted = gaia.digraph("w").nodes["s"]
    assert (halted["state"], halted["duration"]) == ("ready", first["duration"])
    assert halted["started"] == running["started"]
    assert halted["ended"] >= halted["started"]

    gate.open()
    gaia.run("w")
    gaia.wait("w", 30)
    again = gaia.digraph("w").nodes["s"]
    assert again["duration"] == again["ended"] - again["started"]
    assert again["started"] > halted["started"]


def test_a_step_whose_outputs_were_found_never_ran(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    for _ in range(2):
        gaia.upload("w", {}, [TREE], [step("tree", "tree", "b:d/")])
        gaia.wait("w", 30)
        node = gaia.digraph("w").nodes["tree"]
        gaia.delete("w")
    assert node["state"] == "complete"
    assert {node[time] for time in ("task", "started", "ended", "duration")} == {None}


# -------------------------------------------------------------------------------------- one moment


@pytest.fixture
def ran(make_gaia: MakeGaia) -> Gaia:
    """A root that this process owns, with a Step that is complete."""
    gaia = make_gaia()
    gaia.upload("w", {}, [TREE], [step("tree", "tree", "b:d/")])
    gaia.wait("w", 30)
    return gaia


def test_nothing_changes_while_the_owner_reads_it(
    ran: Gaia, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ran.digraph("w").nodes["tree"]
    expiring = threading.Thread(target=ran.expire, args=("w", ["tree"]))
    read = Scheduler.attempts

    def attempts(scheduler: Scheduler, name: str) -> list[Attempt]:
        expiring.start()
        expiring.join(0.2)  # it would be through
        return read(scheduler, name)

    monkeypatch.setattr(Scheduler, "attempts", attempts)
    during = ran.digraph("w").nodes["tree"]
    expiring.join()
    assert during == before


def test_rows_that_change_while_they_are_read_are_those_of_before(
    ran: Gaia, gaia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(gaia_root, {})
    reader = RootReader(Snapshot(gaia_root / "gaia.db", storage), storage)
    before, read = reader.digraph("w"), Database.saved

    def saved(database: Database, name: str) -> Saved | None:
        found = read(database, name)
        monkeypatch.setattr(Database, "saved", read)
        ran.expire("w", ["tree"])
        ran.wait("w", 30)
        return found

    monkeypatch.setattr(Database, "saved", saved)
    assert reader.digraph("w") == before
    after = reader.digraph("w")["steps"]["tree"]
    assert after["task"] not in (None, before["steps"]["tree"]["task"])


# ------------------------------------------------------------------------------------ what it costs


def test_networkx_is_imported_for_it_only(ran: Gaia, gaia_root: Path) -> None:
    code = f"""
        import sys
        from gaia_local import Gaia
        with Gaia({{"root": {str(gaia_root)!r}}}) as gaia:
            gaia.graph("w")
            assert "networkx" not in sys.modules
            print(gaia.digraph("w"))
    """
    told = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert told.stdout == "DiGraph named 'w' with 1 nodes and 0 edges\n"


# --------------------------------------------------------------------------------- what it is for


def critical_path(graph: networkx.DiGraph[str]) -> list[str]:
    """As documented: the Steps that take longest one after the other."""
    ways: networkx.DiGraph[str] = networkx.DiGraph()
    for name, seconds in graph.nodes(data="duration"):
        for after in [*graph.successors(name), "the end"]:
            ways.add_edge(name, after, seconds=seconds or 0.0)
    return [name for name in networkx.dag_longest_path(ways, weight="seconds") if name in graph]


def lost(graph: networkx.DiGraph[str], expired: str) -> set[str]:
    """As documented: the Steps whose results are lost if this one is expired."""
    again = {expired, *networkx.descendants(graph, expired)}
    return {name for name in again if graph.nodes[name]["state"] == "complete"}


def paths(graph: networkx.DiGraph[str]) -> Iterator[list[str]]:
    """All ways through a graph, from wherever to wherever."""
    for first in graph:
        yield [first]
        for last in networkx.descendants(graph, first):
            yield from networkx.all_simple_paths(graph, first, last)


def test_the_critical_path_is_the_way_that_takes_longest(gaia: Gaia) -> None:
    graph = gaia.digraph("w")
    seconds = {name: duration or 0.0 for name, duration in attribute(graph, "duration").items()}
    path = critical_path(graph)
    assert all(graph.has_edge(*edge) for edge in itertools.pairwise(path))
    longest = max(sum(map(seconds.__getitem__, way)) for way in paths(graph))
    assert sum(map(seconds.__getitem__, path)) == pytest.approx(longest)
    assert longest > max(seconds.values())


@pytest.mark.parametrize("name", ["tree", "part", "join", "twice", "all", "failed"])
def test_what_expire_makes_run_again_is_what_depends_on_a_step(gaia: Gaia, name: str) -> None:
    graph = gaia.digraph("w")
    again = {name, *networkx.descendants(graph, name)}
    planned = gaia.expire("w", [name], dry_run=True).get("would", [])
    # One that waits for what nobody makes can't run again.
    assert {entry["step"] for entry in planned} == again - {"waiting"}

    before = {attempt["task"] for attempt in gaia.timeline("w")["attempts"]}
    gaia.expire("w", [name])
    gaia.wait("w", 30)
    ran = [
        attempt["step"]
        for attempt in gaia.timeline("w")["attempts"]
        if attempt["task"] not in before
    ]
    assert sorted(ran) == sorted(again - {"waiting"})
    assert lost(graph, name) == set(ran) - {"failed"}

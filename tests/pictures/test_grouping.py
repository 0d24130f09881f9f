"""How Steps are grouped, and what they are called where there is little room."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaia_local.pictures.grouping import Group, Grouping, facts, groupings, suggested
from gaia_local.pictures.labels import SHORT, labels
from support.graphs import cells, chain, graph, random_graph, sweeps


def by(told: dict[str, Any], name: str) -> Grouping:
    (found,) = [choice for choice in groupings(told) if choice.by == name]
    return found


def names(groups: Sequence[Group]) -> list[str]:
    return [group.name for group in groups]


def every(groups: Sequence[Group]) -> Iterator[Group]:
    for group in groups:
        yield group
        yield from every(group.groups)


def boxes(
    groups: Sequence[Group],
    number: int,
    opened: set[str] = frozenset(),  # type: ignore[assignment]
) -> list[int]:
    """The box of each Step, if these groups are open."""
    home = list(range(number))
    for group in every(groups):
        if group.id not in opened:
            for step in group.steps:
                home[step] = min(home[step], home[group.steps[0]])
    return home


def assert_in_order(told: dict[str, Any], choice: Grouping, opened: set[str]) -> None:
    number = len(told["steps"])
    index = {step["step"]: place for place, step in enumerate(told["steps"])}
    home = boxes(choice.groups, number, opened)
    joined: networkx.DiGraph[int] = networkx.DiGraph()
    for edge in told["edges"]:
        source, target = home[index[edge["from"]]], home[index[edge["to"]]]
        if source != target:
            joined.add_edge(source, target)
    assert networkx.is_directed_acyclic_graph(joined), (choice.by, opened)


def check(told: dict[str, Any], seed: int = 0) -> None:
    """What holds of the groupings of any graph."""
    chance = random.Random(seed)
    found = groupings(told)
    assert len({choice.by for choice in found}) == len(found)
    for choice in found:
        assert choice.groups
        assert choice.boxes(len(told["steps"])) < len(told["steps"])
        ids = [group.id for group in every(choice.groups)]
        assert len(set(ids)) == len(ids)
        for groups in [choice.groups, *(group.groups for group in every(choice.groups))]:
            members = [step for group in groups for step in group.steps]
            assert len(set(members)) == len(members)
        for group in every(choice.groups):
            assert len(group.steps) > 1
            assert {step for inner in group.groups for step in inner.steps} <= set(group.steps)
        assert_in_order(told, choice, set())
        assert_in_order(told, choice, {one for one in ids if chance.random() < 0.5})
    assert suggested(told, found) in (None, *(choice.by for choice in found))


# ------------------------------------------------------------------------------------- real shapes


def test_the_chains_of_a_real_project_are_grouped_by_name_and_nested() -> None:
    told = cells()
    assert len(told["steps"]) == 277
    assert [choice.by for choice in groupings(told)] == ["name"]  # no two Steps of one Command
    found = by(told, "name")
    assert found.boxes(277) == 9
    assert [(group.name, len(group.steps)) for group in found.groups] == [
        ("simulation_Var0_Seed*_Gen000_Cell0", 16),
        ("simulationDaughter_Var0_Seed*_Gen*_Cell0", 112),
        ("analysis_multigen_Var0_Seed*", 16),
        ("analysis_single_Var0_Seed*_Gen*_Cell0", 128),
    ]
    daughters = found.groups[1]
    assert names(daughters.groups) == [f"Seed{seed:03}" for seed in range(16)]
    assert {len(group.steps) for group in daughters.groups} == {7}
    assert suggested(told, groupings(told)) == "name"
    check(told)


def test_three_numbers_are_three_levels() -> None:
    steps = [
        (f"sim_Var{v}_Seed{s:02}_Gen{g}", f"c{v}{s}{g}", "waiting")
        for v, s, g in itertools.product(range(4), range(5), range(6))
    ]
    (top,) = by(graph(steps, []), "name").groups
    assert top.name == "sim_Var*_Seed*_Gen*"
    assert names(top.groups) == ["Var0", "Var1", "Var2", "Var3"]
    assert names(top.groups[2].groups) == [f"Seed{s:02}" for s in range(5)]
    assert [len(group.steps) for group in top.groups[2].groups] == [6] * 5
    check(graph(steps, []))


def test_many_steps_of_few_commands_are_grouped_by_command() -> None:
    told = sweeps(5_000)
    found = groupings(told)
    assert suggested(told, found) == "command"
    assert names(by(told, "command").groups) == ["simulate", "growth", "mass", "flux"]
    check(told)


def test_one_command_for_all_says_less_than_the_names() -> None:
    kinds = ["load", "clean", "fit", "plot"]
    steps = [(f"{kind}_{n}", "python", "waiting") for n in range(60) for kind in kinds]
    steps += [("begin", "shell", "waiting"), ("end", "other", "waiting")]
    told = graph(steps, [])
    assert by(told, "command").boxes(242) == 3
    assert suggested(told, groupings(told)) == "name"


def test_arrays_and_composites_are_told_by_the_names_of_their_steps() -> None:
    steps = [
        (f"grow-{medium}-{n}", "sim", "waiting") for medium in ("glc", "lac") for n in range(2)
    ]
    steps += [(f"starve-{medium}", "sim", "waiting") for medium in ("glc", "lac")]
    steps += [(f"screen-{n}:{inner}", inner, "waiting") for n in range(3) for inner in ("a", "b")]
    steps += [("final:a", "a", "waiting"), ("final:deep:b", "b", "waiting")]
    steps += [("final:deep:c", "c", "waiting")]
    told = graph(steps, [])
    assert names(by(told, "array").groups) == ["grow-*", "starve-*", "screen-*:a", "screen-*:b"]
    assert [(group.name, len(group.steps)) for group in by(told, "composite").groups] == [
        ("screen-*", 6),
        ("final", 3),
    ]
    many = [(f"screen-{n}:{inner}", inner, "waiting") for n in range(9) for inner in ("a", "b")]
    (top,) = by(graph(many, []), "composite").groups
    assert names(top.groups) == [f"screen-{n}" for n in range(9)]
    check(told)


def test_a_row_of_steps_is_a_chain() -> None:
    names_ = [*"abcdef", "x", "y"]
    pairs = [*itertools.pairwise("abcdef"), ("x", "y"), ("f", "y")]
    told = graph([(name, name, "waiting") for name in names_], pairs)
    (row,) = by(told, "chain").groups
    assert row.name == "a … f"
    assert row.steps == (0, 1, 2, 3, 4, 5)


def test_without_any_pattern_ranks_are_a_way_to_see_it() -> None:
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefgh", k=8)) for _ in range(400)]
    told = graph([(word, word, "waiting") for word in words], itertools.pairwise(words[:300:3]))
    assert {choice.by for choice in groupings(told)} == {"chain", "rank"}
    assert by(told, "rank").boxes(400) <= 40
    check(told)


@pytest.mark.parametrize(
    "told",
    [
        graph([], []),
        chain(40),
        random_graph(12, 16, 1),
        sweeps(20),
        graph([("a", "b", "ready")], []),
    ],
    ids=["nothing", "chain", "12", "20", "one"],
)
def test_a_small_graph_is_drawn_step_by_step(told: dict[str, Any]) -> None:
    assert suggested(told, groupings(told)) is None
    check(told)


# -------------------------------------------------------------------------- groups and their order


def test_two_groups_that_lead_to_each_other_are_divided() -> None:
    order = ["sim-0", "ana-0", "sim-1", "ana-1", "sim-2"]
    steps = [(name, name[:3], "waiting") for name in order]
    told = graph([*steps, ("sim-9", "sim", "waiting")], itertools.pairwise(order))
    check(told)
    assert [(group.name, group.steps) for group in by(told, "command").groups] == [
        ("sim (1)", (0, 5)),
    ]
    doubled = [(name + twin, command, state) for name, command, state in steps for twin in "xy"]
    told = graph(doubled, [(a + t, b + t) for a, b in itertools.pairwise(order) for t in "xy"])
    found = by(told, "command").groups
    assert names(found) == ["sim (1)", "sim (2)", "sim (3)", "ana (1)", "ana (2)"]
    assert [group.id for group in found][:3] == ["command:sim", "command:sim#1", "command:sim#2"]
    check(told)


def test_a_chain_of_one_command_stays_one_group() -> None:
    steps = [("start", "start", "waiting"), *((f"s{n}", "gen", "waiting") for n in range(8))]
    told = graph(steps, [("start", "s0"), *itertools.pairwise(f"s{n}" for n in range(8))])
    (group,) = by(told, "command").groups
    assert group.steps == tuple(range(1, 9))


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(0, 120),
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(1, 8),
)
def test_no_group_reaches_itself_through_another_box(
    number: int, edges: int, seed: int, commands: int, words: int
) -> None:
    check(random_graph(number, edges, seed, commands, words), seed)


def test_steps_in_a_circle_are_grouped_all_the_same() -> None:
    told = graph(
        [(f"s{n}", f"c{n % 2}", "waiting") for n in range(4)], [("s0", "s1"), ("s1", "s0")]
    )
    assert [choice.by for choice in groupings(told)] == ["command", "name"]


@pytest.mark.parametrize("told", [cells(), sweeps(400), random_graph(80, 90, 3)])
def test_groups_keep_their_ids_when_steps_are_added(told: dict[str, Any]) -> None:
    before = {choice.by: {g.id for g in every(choice.groups)} for choice in groupings(told)}
    steps = [
        *told["steps"],
        {"step": "zz_1", "command": "zz", "state": "waiting"},
        {"step": "simulate-99999", "command": "simulate", "state": "waiting"},
        {"step": "analysis_multigen_Var0_Seed999", "command": "one", "state": "waiting"},
    ]
    after = {
        choice.by: {g.id for g in every(choice.groups)}
        for choice in groupings({**told, "steps": steps})
    }
    assert before
    for name, ids in before.items():
        assert ids <= after[name]


def test_the_facts_are_json() -> None:
    told = facts(cells())
    assert set(told) == {"labels", "groupings", "suggested"}
    assert json.loads(json.dumps(told)) == told
    (choice,) = told["groupings"]
    assert (choice["by"], choice["label"]) == ("name", "name")
    assert set(choice["groups"][0]) == {"id", "name", "steps", "groups"}


# ------------------------------------------------------------------------------------------ labels


def test_a_label_keeps_what_differs() -> None:
    told = [step["step"] for step in cells()["steps"]]
    found = dict(zip(told, labels(told), strict=True))
    assert found["parca"] == "parca"
    assert found["simulation_Var0_Seed003_Gen000_Cell0"] == "simulation…Seed003…"
    daughter = "simulationDaughter_Var0_Seed003_Gen004_Cell0"
    assert found[daughter] == "simulationDaughter…Seed003_Gen004…"
    single = "analysis_single_Var0_Seed003_Gen004_Cell0"
    assert found[single] == "analysis_single…Seed003_Gen004…"


def test_short_names_stay_whole_and_long_ones_lose_what_all_have() -> None:
    assert labels(["greet-world", "greet-moon"]) == ["greet-world", "greet-moon"]
    begin = "a_project_with_a_long_name_"
    assert labels([f"{begin}load", f"{begin}plot"]) == ["…load", "…plot"]
    assert labels([]) == []
    assert labels(["x" * 99]) == ["x" * 99]


NAMES = st.text(alphabet="ab01_-…", min_size=1, max_size=2 * SHORT)


@settings(max_examples=300)
@given(st.lists(NAMES, unique=True, max_size=30))
def test_no_two_steps_have_one_label(given_names: list[str]) -> None:
    found = labels(given_names)
    assert len(set(found)) == len(given_names)
    assert all(len(label) <= len(name) + 1 for label, name in zip(found, given_names, strict=True))

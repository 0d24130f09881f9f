"""Pictures of workflows, looked at as a reader's program would."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import struct
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaia_local import Gaia, GaiaError, demo
from gaia_local.errors import InvalidInput
from gaia_local.pictures import FEW, MOST, dot, draw, mermaid, svg
from gaia_local.pictures.boxes import PANEL, Box, Link, by_group, by_step
from gaia_local.pictures.grouping import chosen
from gaia_local.pictures.layout import place
from gaia_local.pictures.plain import MERMAID_EDGES, MERMAID_TEXT
from gaia_local.pictures.png import LARGEST, png
from gaia_local.pictures.states import APPEARANCES, STEP_STATES, appearance
from gaia_local.pictures.tables import workflows_table
from gaia_local.pictures.words import clean, common_prefix, shorten, width, wrap
from support.colours import contrast
from support.fixtures import MakeGaia
from support.graphs import cells, chain, graph, sweeps

NS = {"svg": "http://www.w3.org/2000/svg"}
HOSTILE = [
    "\"quotes\" and 'more'",
    "<b>bold</b> & <script>alert(1)</script> &lt;",
    "back\\slash\\n\\N\\",
    "end",
    "x" * 120,
    "über-数据-😀-" + "長" * 60,
    "a;b#35;|c{d}[e](f)",
    "-->",
    "%%{init}%%",
    "$HOME `ls`",
    "1. list",
    "]]>",
    "new\nline\ttab\rreturn",
    "bell\x07 and \udc80 surrogate",
]


def by_command(told: dict[str, Any]) -> tuple[list[Box], list[Link]]:
    return by_group(told, chosen(told, "command"))


def small() -> dict[str, Any]:
    """Twelve Steps: one leads to four, each to one more, those to one; two long edges."""
    steps = [("fetch", "fetch", "complete"), ("fit", "fit", "complete")]
    steps += [
        (f"simulate-{n}", "simulate", state)
        for n, state in enumerate(("complete", "running", "error", "queued"))
    ]
    steps += [
        (f"analyze-{n}", "analyze", state)
        for n, state in enumerate(("complete", "waiting", "waiting", "waiting"))
    ]
    steps += [("report", "report", "waiting"), ("publish", "publish", "exception")]
    edges = [("fetch", "fit"), ("fit", "report"), ("fetch", "publish"), ("report", "publish")]
    edges += [("fit", f"simulate-{n}") for n in range(4)]
    edges += [(f"simulate-{n}", f"analyze-{n}") for n in range(4)]
    edges += [(f"analyze-{n}", "report") for n in range(4)]
    return graph(steps, edges)


def wide(number: int) -> dict[str, Any]:
    """One Step, `number` Steps that read it, a reader of each, and one that reads all of those."""
    steps = [("start", "start", "complete")]
    steps += [
        (f"sim-{n:03d}", "simulate", STEP_STATES[n % len(STEP_STATES)]) for n in range(number)
    ]
    steps += [(f"ana-{n:03d}", "analyze", "waiting") for n in range(number)]
    steps += [("end", "end", "waiting")]
    edges = [("start", f"sim-{n:03d}") for n in range(number)]
    edges += [(f"sim-{n:03d}", f"ana-{n:03d}") for n in range(number)]
    edges += [(f"ana-{n:03d}", "end") for n in range(number)]
    return graph(steps, edges)


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)


def titles(text: str) -> list[str]:
    return [title.text or "" for title in parsed(text).iterfind(".//svg:title", NS)]


def texts(text: str) -> list[str]:
    return ["".join(text_node.itertext()) for text_node in parsed(text).iterfind(".//svg:text", NS)]


def run_demo(gaia: Gaia, name: str) -> None:
    demo.place_inputs(lambda key: gaia.path(name, key))
    gaia.upload(name, {}, demo.commands(), demo.steps())
    assert gaia.wait(name)["state"] == "complete"


# ---------------------------------------------------------------------------------------- the graph


def test_a_picture_of_the_demo_names_each_step_and_its_state(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    run_demo(gaia, "crick_w")
    told = gaia.graph("crick_w")
    picture = draw(told)
    tooltips = titles(picture.svg)
    for step in told["steps"]:
        assert f"{step['step']}\nCommand {step['command']}\ncomplete" in tooltips
    for edge in told["edges"]:
        assert any(
            tip.startswith(f"{edge['from']} → {edge['to']}\n{edge['keys'][0]}") for tip in tooltips
        )
    # The title, what stands beside it, its tooltip.
    assert "crick_w15 Steps, completecrick_w" in texts(picture.svg)
    assert "complete 15" in texts(picture.svg)
    assert parsed(picture.svg).attrib["aria-label"].endswith("15 Steps, complete; 15 complete")


def test_states_are_told_by_colour_and_by_sign() -> None:
    signs = [svg.SIGNS[state] for state in STEP_STATES]
    assert len(set(signs)) == len(STEP_STATES)
    assert len({appearance(state).sign for state in STEP_STATES}) == len(STEP_STATES)
    drawn = parsed(draw(small()).svg)
    for state in ("complete", "running", "error", "queued", "waiting", "exception"):
        discs = [
            group
            for group in drawn.iterfind(f".//svg:g[@class='{state}']", NS)
            if group.find("svg:circle", NS) is not None
        ]
        boxes = list(drawn.iterfind(f".//svg:g[@class='{state}']/svg:rect", NS))
        assert len(discs) == len(boxes) + 1  # one more in the legend
        for disc in discs:
            assert len(disc) >= 2


@pytest.mark.parametrize("state", APPEARANCES)
def test_every_state_can_be_read_in_light_and_dark(state: str) -> None:
    shown = appearance(state)
    assert contrast(shown.ink, shown.wash) >= 4.5
    assert contrast(shown.night_ink, shown.night_wash) >= 4.5
    assert contrast(shown.ink, "#ffffff") >= 4.5
    assert contrast(shown.night_ink, "#14181e") >= 4.5


def test_the_layout_runs_from_top_to_bottom_in_order_of_upload() -> None:
    boxes, links = by_step(small())
    layout = place(boxes, links)
    for link in links:
        assert (
            layout.corners[link.source][1] + boxes[link.source].height
            < layout.corners[link.target][1]
        )
    row = [
        corner[0]
        for box, corner in zip(boxes, layout.corners, strict=True)
        if box.nodes[0].command == "simulate"
    ]
    assert row == sorted(row)


def on_path(path: str) -> list[tuple[float, float]]:
    """Points on a path of cubic curves, as it is drawn."""
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", path)]
    points = list(zip(numbers[::2], numbers[1::2], strict=True))
    found = []
    for start in range(0, len(points) - 1, 3):
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = points[start : start + 4]
        for t in (n / 24 for n in range(25)):
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            found.append((a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3))
    return found


@pytest.mark.parametrize(
    "told", [small(), wide(5), wide(PANEL + 1), wide(150)], ids=["small", "5", "13", "150"]
)
@pytest.mark.parametrize("make", [by_step, by_command])
def test_boxes_do_not_overlap(told: dict[str, Any], make: Any) -> None:
    boxes, links = make(told)
    layout = place(boxes, links)
    frames = [
        (x, y, x + box.width, y + box.height)
        for box, (x, y) in zip(boxes, layout.corners, strict=True)
    ]
    for one, other in itertools.combinations(frames, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    assert min(frame[0] for frame in frames) >= -0.001
    assert max(frame[2] for frame in frames) <= layout.width + 0.001
    paths = [
        way.attrib["d"]
        for way in parsed(draw(told, make is by_command, "down").svg).iterfind(
            ".//svg:path[@class='way']", NS
        )
    ]
    assert len(paths) == len(links)
    for link, path in zip(links, paths, strict=True):
        for number, (left, top, right, bottom) in enumerate(frames):
            if number not in (link.source, link.target):
                assert not any(left < x < right and top < y < bottom for x, y in on_path(path)), (
                    link,
                    boxes[number].lines,
                )


def test_edges_of_a_tree_do_not_cross() -> None:
    steps = [(f"s{n}", f"c{n % 9}", "waiting") for n in range(60)]
    boxes, links = by_step(graph(steps, [(f"s{(n - 1) // 3}", f"s{n}") for n in range(1, 60)]))
    layout = place(boxes, links)
    ends = [(layout.ways[n][0], layout.ways[n][-1]) for n in range(len(links))]
    for (one_from, one_to), (other_from, other_to) in itertools.combinations(ends, 2):
        if one_from[1] == other_from[1] and one_to[1] == other_to[1]:
            assert (one_from[0] - other_from[0]) * (one_to[0] - other_to[0]) >= 0


def test_many_steps_alike_share_a_panel_in_which_each_is_shown() -> None:
    boxes, links = by_step(wide(PANEL))
    assert {box.kind for box in boxes} == {"step"}
    told = wide(150)
    boxes, links = by_step(told)
    assert [box.kind for box in boxes] == ["step", "panel", "panel", "step"]
    assert [len(link.edges) for link in links] == [150, 150, 150]
    assert boxes[1].chips[:2] == ("000", "001")
    drawn = draw(told).svg
    tooltips = titles(drawn)
    assert all(
        f"{step['step']}\nCommand {step['command']}\n{step['state']}" in tooltips
        for step in told["steps"]
    )
    assert "150 Steps, sim-…" in texts(drawn)
    # Three links, each with what keeps the line off its number.
    assert texts(drawn).count("×150") == 6
    assert max(float(parsed(drawn).attrib[side]) for side in ("width", "height")) < 2000


def test_a_group_has_the_numbers_of_its_steps() -> None:
    told = wide(150)
    boxes, _ = by_command(told)
    assert [(box.lines, len(box.nodes)) for box in boxes] == [
        (("start",), 1),
        (("simulate",), 150),
        (("analyze",), 150),
        (("end",), 1),
    ]
    each, more = divmod(150, len(STEP_STATES))
    assert boxes[1].counts == {state: each + (n < more) for n, state in enumerate(STEP_STATES)}
    drawn = draw(told, group=True).svg
    (tip,) = [tip for tip in titles(drawn) if tip.startswith("simulate\n150 Steps: ")]
    for state, number in boxes[1].counts.items():
        assert f"{number} {state}" in tip
    shares = [
        float(disc.attrib["width"])
        for disc in parsed(drawn).iterfind(".//svg:rect[@class='disc']", NS)
    ]
    grouped = [box.width - 24 for box in boxes if box.kind == "group"]
    assert sum(shares) == pytest.approx(sum(grouped), abs=2)


def test_a_command_that_reads_what_it_makes_has_a_loop() -> None:
    told = graph([("a", "copy", "complete"), ("b", "copy", "error")], [("a", "b")])
    _, links = by_command(told)
    assert [(link.source, link.target) for link in links] == [(0, 0)]
    assert "a → b\nb:a" in titles(draw(told, group=True).svg)
    assert "copy\n2 Steps: 1 complete, 1 error\na\nb" in titles(draw(told, group=True).svg)


def test_a_large_graph_is_grouped_unless_told_otherwise() -> None:
    steps = [(f"s{n}", f"command-{n % 40}", "waiting") for n in range(FEW + 180)]
    told = graph(steps, [(f"s{n}", f"s{n + 40}") for n in range(FEW + 140)])
    assert len(by_step(told)[0]) > FEW
    assert "6 Steps" in texts(draw(told).svg)
    assert "6 Steps" not in texts(draw(told, group=False).svg)
    many = wide(MOST // 2 + 10)
    assert len(by_step(many)[0]) < FEW  # in panels
    assert "210 Steps" in texts(draw(many).svg)
    assert "210 Steps, sim-…" in texts(draw(many, group="none").svg)


def size(text: str) -> tuple[float, float]:
    return float(parsed(text).attrib["width"]), float(parsed(text).attrib["height"])


@pytest.mark.parametrize("stage", ["waiting", "running", "failed", "complete"])
@pytest.mark.parametrize("group", [None, True, False])
def test_the_chains_of_a_real_project_fit_a_screen(stage: str, group: bool | None) -> None:
    drawn = draw(cells(stage), group).svg
    wide_, high = size(drawn)
    assert wide_ <= 4000
    assert high <= 3000
    shown = "\n".join(texts(drawn))
    assert ("Seed005" in shown) is (group is not True)
    assert "simulationDaughter_" in shown


def test_five_thousand_steps_are_no_chips_unless_asked_for() -> None:
    drawn = draw(sweeps(5_000)).svg
    assert len(drawn) < 20_000
    assert max(size(drawn)) < 1000
    assert draw(sweeps(5_000), "none").svg.count("<rect") > 5_000 - 10


def test_a_group_tells_the_times_of_its_steps() -> None:
    told = wide(20)
    took = {step["step"]: 60.0 for step in told["steps"][:11]}
    assert "20 Steps, 10 min in all, median 1 min" in texts(draw(told, True, None, took).svg)


def test_a_chain_is_folded() -> None:
    wide_, high = size(draw(chain(40)).svg)
    assert max(wide_, high) < 1000
    assert "40 in a row40 in a row\n40 Steps" in texts(draw(chain(40)).svg)


def test_a_deep_graph_runs_to_the_right_unless_told_otherwise() -> None:
    pairs = [*itertools.pairwise(range(20)), *((n, n + 2) for n in range(18))]
    told = graph(
        [(f"{chr(97 + n)}-step", f"c{n}", "waiting") for n in range(20)],
        [(f"{chr(97 + a)}-step", f"{chr(97 + b)}-step") for a, b in pairs],
    )
    down, right = size(draw(told, direction="down").svg), size(draw(told, direction="right").svg)
    assert down[0] < down[1]
    assert right[0] > right[1]
    assert size(draw(told).svg) in (down, right)
    with pytest.raises(InvalidInput, match="'down' or 'right'"):
        draw(told, direction="up")


def test_composite_commands_have_frames_with_their_names() -> None:
    steps = [(f"screen:{n}", n, "waiting") for n in ("load", "fit")]
    steps += [(f"screen:deep:{n}", n, "waiting") for n in ("plot", "tell")]
    told = graph(
        [*steps, ("end", "end", "waiting")],
        itertools.pairwise(
            ["screen:load", "screen:fit", "screen:deep:plot", "screen:deep:tell", "end"]
        ),
    )
    drawn = draw(told).svg
    assert {"screenscreen\n4 Steps", "deepdeep\n2 Steps"} <= set(texts(drawn))
    assert {"load", "fit", "plot", "tell"} <= set(texts(drawn))
    assert "screen:fit → screen:deep:plot\nb:screen:fit" in titles(drawn)


def test_links_to_the_same_boxes_meet_at_a_junction() -> None:
    sides = "abcdefgh"
    steps = [
        (f"{side}-{way}", f"{side}{way}", "waiting") for side in sides for way in ("in", "out")
    ]
    told = graph(steps, [(f"{a}-in", f"{b}-out") for a in sides for b in sides])
    drawn = draw(told).svg
    assert drawn.count('class="way"') == 16
    assert len(titles(drawn)) == 1 + 16 + 16


@pytest.mark.parametrize("by", ["size", "", "Command"])
def test_an_unknown_way_to_group_is_refused(by: str) -> None:
    with pytest.raises(InvalidInput, match="give one of command, composite, name"):
        draw(small(), group=by)


def test_hostile_names_are_text_and_nothing_else() -> None:
    steps = [(name, name[::-1], STEP_STATES[n % 7]) for n, name in enumerate(HOSTILE)]
    told = graph(steps, itertools.pairwise(HOSTILE), name='w"<&\\')
    for group in (False, True):
        drawn = draw(told, group=group).svg
        assert {element.tag for element in parsed(drawn).iter()} <= {
            f"{{{NS['svg']}}}{tag}"
            for tag in ("svg", "style", "g", "rect", "text", "tspan", "title", "path", "circle")
        }
        shown = "\n".join(titles(drawn))
        for name in HOSTILE:
            assert clean(name) in shown
        assert max(width(text, 13) for text in texts(drawn)) < 700


def test_an_empty_graph_is_a_picture() -> None:
    drawn = draw(graph([], []))
    assert "w0 Steps, runningw" in texts(drawn.svg)
    assert drawn.png().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given_graph", "problem"),
    [
        ({}, "steps"),
        ({"steps": [{"step": "a"}], "edges": []}, "command"),
        (None, "isn.t a graph"),
        ([1], "isn.t a graph"),
        ({"steps": 3, "edges": []}, "isn.t a graph"),
        (graph([("a", "c", "waiting"), ("a", "c", "waiting")], []), "two Steps"),
        (graph([("a", "c", "waiting")], [("a", "b")]), "'b'"),
    ],
)
def test_an_invalid_graph_is_refused(given_graph: Any, problem: str) -> None:
    for make in (draw, dot, mermaid):
        with pytest.raises(InvalidInput, match=problem) as refused:
            make(given_graph)
        assert "Gaia.graph" in str(refused.value)


def test_a_state_that_nobody_knows_and_a_cycle_are_drawn() -> None:
    told = graph(
        [("a", "c", "dreaming"), ("b", "d", "waiting")], [("a", "b"), ("b", "a"), ("a", "a")]
    )
    assert "a\nCommand c\ndreaming" in titles(draw(told).svg)
    assert len(titles(draw(told).svg)) == 1 + 2 + 3
    assert ":::waiting" in mermaid(told)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("cde"), st.sampled_from(STEP_STATES)), min_size=1, max_size=40
    ),
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60),
)
def test_any_graph_is_drawn_inside_its_bounds(
    given_steps: list[tuple[str, str]], pairs: list[tuple[int, int]]
) -> None:
    steps = [(f"s{n}", command, state) for n, (command, state) in enumerate(given_steps)]
    edges = {(f"s{one % len(steps)}", f"s{other % len(steps)}") for one, other in pairs}
    told = graph(steps, sorted(edges))
    for make in (by_step, by_command):
        boxes, links = make(told)
        layout = place(boxes, links)
        assert sum(len(box.nodes) for box in boxes) == len(steps)
        assert sum(len(link.edges) for link in links) == len(edges)
        for box, (x, y) in zip(boxes, layout.corners, strict=True):
            assert min(x, y) >= -0.01
            assert x + box.width <= layout.width + 0.01
            assert y + box.height <= layout.height + 0.01
        parsed(draw(told, group=make is by_command).svg)


# ---------------------------------------------------------------------------------------- as a file


def test_a_picture_is_saved_as_what_its_name_says(tmp_path: Path) -> None:
    picture = draw(small())
    assert picture.save(tmp_path / "w.svg").read_text(encoding="utf-8") == picture.svg
    assert picture.save(str(tmp_path / "w.PNG")).read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InvalidInput, match=r"\.svg nor \.png"):
        picture.save(tmp_path / "w.pdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.PNG", "w.svg"]


def size_of(data: bytes) -> tuple[int, int]:
    across, down = struct.unpack(">II", data[16:24])
    return int(across), int(down)


def test_a_png_has_twice_the_pixels_but_not_too_many() -> None:
    picture = draw(small())
    across, down = (float(parsed(picture.svg).attrib[side]) for side in ("width", "height"))
    assert size_of(picture.png()) == pytest.approx((2 * across, 2 * down), abs=2)
    assert size_of(picture.png(scale=1)) == pytest.approx((across, down), abs=2)
    huge = '<svg xmlns="http://www.w3.org/2000/svg" width="8000" height="4000"/>'
    across, down = size_of(png(huge, (8000, 4000)))
    assert across * down <= LARGEST * 1.01


def test_text_in_a_png_needs_no_font_of_the_machine() -> None:
    def shown(text: str) -> bytes:
        style = f"<style>{svg.style('gaia-graph')}</style>"
        inner = f'<text class="name" x="5" y="20">{text}</text>'
        drawn = (
            '<svg xmlns="http://www.w3.org/2000/svg" class="gaia-graph" width="99" height="30">'
            f"{style}{inner}</svg>"
        )
        return png(drawn, (99, 30), system_fonts=False)

    assert len({shown(""), shown("simulate"), shown("Zürich"), shown("ΔG")}) == 4


@pytest.mark.parametrize(
    ("library", "part"), [("igraph", "draw"), ("resvg_py", "png"), ("font_roboto", "png")]
)
def test_a_library_that_is_missing_is_named(
    library: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = draw(small())
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(GaiaError, match=rf"{library}.*pip install 'font-roboto>="):
        draw(small()) if part == "draw" else picture.png()


def test_importing_pictures_imports_no_library() -> None:
    code = (
        "import sys, gaia_local.pictures; "
        "print(sorted({'igraph', 'resvg_py', 'networkx', 'docker'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------- dot and Mermaid


def run_dot(text: str) -> dict[str, Any]:
    """What Graphviz makes of it."""
    if shutil.which("dot") is None:
        pytest.skip("Graphviz's dot is not installed")
    ran = subprocess.run(
        ["dot", "-Tjson"], input=text, capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stderr == ""
    read: dict[str, Any] = json.loads(ran.stdout, strict=False)
    return read


@pytest.mark.parametrize("group", [False, True])
def test_dot_is_understood_by_graphviz_whatever_the_names(group: bool) -> None:
    steps = [(name, name[::-1], STEP_STATES[n % 7]) for n, name in enumerate(HOSTILE)]
    told = graph(steps, itertools.pairwise(HOSTILE), name='w"<&\\')
    read = run_dot(dot(told, group))
    labels = [node["label"].replace("\\\\", "\\").replace("&amp;", "&") for node in read["objects"]]
    assert len(labels) == len(HOSTILE)
    for label, name in zip(labels, HOSTILE, strict=True):
        assert clean(name[::-1] if group else name) in label
    assert [(edge["tail"], edge["head"]) for edge in read["edges"]] == list(
        itertools.pairwise(range(len(HOSTILE)))
    )


def test_dot_shows_names_as_they_are() -> None:
    name = HOSTILE[1]
    if shutil.which("dot") is None:
        pytest.skip("Graphviz's dot is not installed")
    told = graph([(name, "c", "error"), (HOSTILE[2], "c", "error")], [])
    ran = subprocess.run(
        ["dot", "-Tsvg"], input=dot(told), capture_output=True, text=True, timeout=60, check=True
    )
    shown = texts(ran.stdout)
    assert f"✗ {name}" in shown
    assert f"✗ {HOSTILE[2]}" in shown


def test_dot_of_groups_counts_edges() -> None:
    read = run_dot(dot(wide(20), group=True))
    assert [edge["label"] for edge in read["edges"]] == ["20 edges"] * 3


NODE = re.compile(r'  n(\d+)\["(.*)"\]:::(\w+)')
EDGE = re.compile(r'  n(\d+) -->(?:\|"(\d+) edges"\|)? n(\d+)')
CLASS = re.compile(r"  classDef (\w+) fill:#[0-9a-f]{6},stroke:#[0-9a-f]{6},color:#[0-9a-f]{6}")


def read_mermaid(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """A flowchart's labels and edges by Mermaid's rules: no quote in quotes, entities decoded."""
    head, *lines = text.splitlines()
    assert head == "flowchart TB"
    labels: list[str] = []
    edges: list[tuple[int, int]] = []
    classes, used = set(), set()
    for line in lines:
        if node := NODE.fullmatch(line):
            number, label, state = node.groups()
            assert int(number) == len(labels)
            plain = label.replace("<br>", "\n").replace("<small>", "").replace("</small>", "")
            assert not set('"<>&`\\;{}[]()|') & set(re.sub(r"#\d+;", "", plain)), plain
            labels.append(
                re.sub(r"#(\d+);", lambda code: chr(int(code.group(1))), plain).replace(
                    "\u2060", ""
                )
            )
            used.add(state)
        elif edge := EDGE.fullmatch(line):
            edges.append((int(edge.group(1)), int(edge.group(3))))
        else:
            made = CLASS.fullmatch(line)
            assert made is not None, line
            classes.add(made.group(1))
    assert used == classes
    return labels, edges


def test_mermaid_keeps_to_the_rules_of_quoting_whatever_the_names() -> None:
    steps = [(name, f"c {name}", STEP_STATES[n % 7]) for n, name in enumerate(HOSTILE)]
    labels, edges = read_mermaid(mermaid(graph(steps, itertools.pairwise(HOSTILE))))
    for label, (name, command, state) in zip(labels, steps, strict=True):
        assert label == f"{appearance(state).sign} {clean(name)}\n{clean(command)}"
    assert edges == list(itertools.pairwise(range(len(HOSTILE))))
    twins = [(f"{name} {twin}", name, "complete") for name in HOSTILE for twin in "ab"]
    labels, _ = read_mermaid(mermaid(graph(twins, []), group="command"))
    assert labels == [f"{clean(name)}\n✓ 2 complete" for name in HOSTILE]


@given(st.text(min_size=1, max_size=30))
def test_mermaid_quotes_any_name(name: str) -> None:
    ((label,), _) = read_mermaid(mermaid(graph([(name, name, "error")], [])))
    assert label == f"✗ {clean(name)}"


def test_mermaid_groups_what_it_would_refuse() -> None:
    assert len(read_mermaid(mermaid(wide(150)))[1]) == 450
    assert len(read_mermaid(mermaid(wide(170)))[1]) == 3
    with pytest.raises(InvalidInput, match=r"510 edges in [\d,]+ characters .* as svg"):
        mermaid(wide(170), group=False)


@pytest.mark.parametrize("stage", ["waiting", "complete"])
def test_mermaid_stays_under_its_limits_with_a_command_for_each_step(stage: str) -> None:
    labels, edges = read_mermaid(mermaid(cells(stage)))
    assert len(labels) == 9
    assert "simulationDaughter_Var0_Seed*_Gen*_Cell0" in "\n".join(labels)
    assert (len(edges), len(mermaid(cells(stage)))) < (MERMAID_EDGES, MERMAID_TEXT)


def test_mermaid_counts_characters_too() -> None:
    told = graph([(f"{'long' * 50}-{n}", f"c{n % 3}", "waiting") for n in range(300)], [])
    assert len(read_mermaid(mermaid(told))[0]) <= 3
    words = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}" * 200 for n in range(200)]
    alone = graph([(word, word, "waiting") for word in words], [])
    assert len(mermaid(alone)) < MERMAID_TEXT  # by rank
    with pytest.raises(InvalidInput, match="more than Mermaid draws"):
        mermaid(alone, group="none")


def test_a_group_has_the_colour_of_what_needs_looking_at() -> None:
    for states, shown in (
        (["complete", "complete"], "complete"),
        (["complete", "error", "running"], "error"),
        (["complete", "running", "waiting"], "running"),
        (["complete", "waiting"], "waiting"),
    ):
        told = graph([(f"s{n}", "c", state) for n, state in enumerate(states)], [])
        assert f":::{shown}\n" in mermaid(told, group=True)


# -------------------------------------------------------------------------------------------- words


@settings(max_examples=300)
@given(st.text(max_size=120), st.floats(20, 400))
def test_shortened_text_has_room_and_keeps_both_ends(text: str, room: float) -> None:
    short = shorten(text, room, 13)
    assert width(short, 13) <= max(room, width("…", 13)) + 1e-6
    if short != text:
        head, _, tail = short.partition("…") if "…" not in text else (short, "", "")
        assert text.startswith(head.split("…")[0])
        assert text.endswith(tail)


@given(st.text(alphabet="ab-_/: 数", max_size=120), st.floats(60, 400))
def test_wrapped_text_is_two_lines_at_most(text: str, room: float) -> None:
    lines = wrap(text, room, 13)
    assert len(lines) in (1, 2)
    assert all(width(line, 13) <= room + 1e-6 for line in lines)
    assert text.startswith(lines[0])


def test_names_are_broken_at_their_joints() -> None:
    assert wrap("simulate-knockout-in-minimal-glucose", 200, 13) == [
        "simulate-knockout-in-",
        "minimal-glucose",
    ]
    assert wrap("x" * 30, 150, 13) == ["x" * 18, "x" * 12]
    assert common_prefix(["sim-ko-1", "sim-ko-2"]) == "sim-ko-"
    assert common_prefix(["sim-ko-", "sim-ko-2"]) == "sim-"
    assert common_prefix(["a", "b"]) == common_prefix(["a"]) == ""


@given(st.text())
def test_clean_text_can_be_in_xml(text: str) -> None:
    cleaned = clean(text)
    assert ET.fromstring(f"<a>{cleaned.translate({38: '+', 60: '+', 62: '+'})}</a>") is not None
    assert cleaned.isprintable() or " " in cleaned or not cleaned.isascii()
    assert len(cleaned) == len(text)


# ---------------------------------------------------------------------------------------- notebooks


def test_a_notebook_shows_a_picture() -> None:
    picture = draw(small())
    assert picture._repr_svg_() == picture.svg
    assert picture.svg in picture._repr_html_()


def test_a_notebook_shows_the_workflows_with_state_and_progress(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    assert "no workflows yet" in gaia._repr_html_()
    run_demo(gaia, "crick_w")
    html = gaia._repr_html_()
    assert "crick_w" in html
    assert "✓ complete" in html
    assert "15 of 15 done" in html
    gaia.close()
    assert "closed" in gaia._repr_html_()


def test_names_in_a_notebook_are_text() -> None:
    counts = {"state": "running", "steps": 2, "done": 1, "running": 1, "failed": 0, "waiting": 0}
    html = workflows_table("Gaia('<root>')", {'<b>"w"': counts})
    assert "<b>" not in html
    assert "<root>" not in html
    assert "&lt;b&gt;&quot;w&quot;" in html
    assert "1 of 2 done, 1 running" in html
    reused = workflows_table("", {"w": {**counts, "done": 2, "running": 0, "reused": 2, "ran": 0}})
    assert "2 of 2 done, 2 reused, 0 ran" in reused

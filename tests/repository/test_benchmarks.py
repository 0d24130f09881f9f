"""The benchmarks themselves: each has a plausible result within seconds. No time is asserted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import graphs_in_browser, reuse, run
from benchmarks.measuring import (
    Failed,
    Finding,
    Missing,
    Point,
    Row,
    Setting,
    bare,
    in_turns,
    program,
)
from benchmarks.peers import PEERS
from benchmarks.peers.files import makefile, ninja_file
from benchmarks.study import Size, dependents, study
from benchmarks.table import as_json, cells, markdown, plot, shown, text
from benchmarks.workflows import SHAPES
from support import graphs
from support.fixtures import MakeGaia

TESTS = Path(__file__).parents[1]
ABOUT = {"CPUs": "2 of a kind", "Python": "3"}


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.run",
        "--folder",
        str(folder / "work"),
        "--keep",
        str(folder),
        *arguments,
    ]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def measured(folder: Path, only: str, scale: float = 0.01) -> dict[str, dict[str, Any]]:
    """A short run's rows, by their names."""
    ended = bench(
        folder,
        "--only",
        only,
        "--scale",
        str(scale),
        "--rounds",
        "1",
        "--save",
        str(folder / "saved"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    saved = json.loads((folder / "saved" / "figures.json").read_text())
    assert saved["missing"] == []
    rows = {row["what"]: row for row in saved["rows"]}
    assert all(
        value >= 0 for row in rows.values() for value in (*row["measured"], *row["reference"])
    )
    table = (folder / "saved" / "table.md").read_text()
    assert all(f"| {what} |" in table and what in ended.stdout for what in rows)
    assert list((folder / "work").iterdir()) == []
    return rows


def test_steps_are_measured_beside_bare_processes(tmp_path: Path) -> None:
    rows = measured(tmp_path, "steps,chain,nothing")
    assert rows["10 trivial Steps and a join, 2 workers"]["ratio"] > 0
    assert rows["a chain of 2 trivial Steps"]["ratio_most"] == 1.5
    assert rows["`run` with nothing to do on 10 Steps, in process"]["most"] == 0.03


def test_steps_on_a_cluster_are_measured_beside_bare_submissions(tmp_path: Path) -> None:
    rows = measured(tmp_path, "dask")
    assert rows["10 trivial Steps on a Dask cluster of 2 workers"]["ratio_most"] == 1.5


def test_the_cost_of_a_step_is_measured_and_drawn(tmp_path: Path) -> None:
    rows = measured(tmp_path, "sizes", scale=0.001)
    for line in (
        "engine alone, independent",
        "engine alone, chains of 100",
        "real processes, independent",
    ):
        assert rows[f"cost of a Step of 100 ({line})"]["against"] == "of 2"
        assert rows[f"most memory with 100 Steps ({line})"]["median"] > 1e6
    assert (tmp_path / "saved" / "cost-per-step.png").read_bytes().startswith(b"\x89PNG")


def test_questions_are_measured(tmp_path: Path) -> None:
    rows = measured(tmp_path, "asking", scale=0.002)
    assert rows["`status` on 200 Steps that run"]["most"] == 0.05
    assert rows["`expire` of a leaf of 200 Steps"]["measured"][0] > 0


def test_the_cost_of_open_pages_is_measured(tmp_path: Path) -> None:
    rows = measured(tmp_path, "page", scale=0.01)
    assert rows["CPU time of a server that runs 50 trivial Steps"]["median"] > 0
    assert rows["… that 1 open page costs more, 50 Steps"]["most"] == 1.0
    assert rows["… the bytes of one stream with 50 Steps"]["median"] > 1000


def test_the_start_and_the_watch_are_measured(tmp_path: Path) -> None:
    rows = measured(tmp_path, "starting,watch", scale=0.05)
    assert (
        rows["`gaia-local --help`, whole process"]["median"]
        > rows["`import gaia_local`, whole process"]["reference"][0]
    )
    assert rows["a file's write to the Step's start, median of 3"]["most"] == 0.2


def test_containers_are_measured_beside_the_sdk(
    tmp_path: Path, docker_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAIA_LOCAL_TEST_IMAGE", docker_image)
    rows = measured(tmp_path, "containers", scale=0.05)
    assert rows["2 containers, 4 workers"]["ratio"] > 0


def test_much_data_in_containers_is_measured(
    tmp_path: Path, docker_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAIA_LOCAL_TEST_IMAGE", docker_image)
    ended = bench(
        tmp_path,
        "--only",
        "input,output,printing",
        "--scale",
        "0.02",
        "--rounds",
        "1",
        "--save",
        str(tmp_path / "saved"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    saved = json.loads((tmp_path / "saved" / "figures.json").read_text())
    rows = {row["what"].partition(" GB")[2].strip(): row for row in saved["rows"]}
    size = 0.02 * (1 << 30)
    assert size <= rows["input file, copied: bytes written"]["median"] < 1.5 * size
    assert rows["input file, mounted: bytes written"]["median"] < 0.5 * size
    assert rows["output directory: bytes written by the engine"]["median"] < 0.5 * size
    assert {missing["why"] for missing in saved["missing"]} <= {"there is no docker on PATH"}
    flat = [what for what in rows if what.endswith("memory beyond that with a small one")]
    assert len(flat) == (3 if saved["missing"] else 4)


def test_without_an_engine_the_container_benchmarks_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    ended = bench(tmp_path, "--only", "containers,input", "--scale", "0.01", "--rounds", "1")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("no Docker Engine answers") == 2


def test_a_measured_program_that_fails_is_told_and_changes_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(setting: Setting) -> Iterator[Finding]:
        """It fails."""
        yield Row("before that", "s", [1.0])
        bare("row", folder=str(tmp_path / "nowhere"), count=1)

    monkeypatch.setitem(run.BENCHMARKS, "steps", failing)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "steps", "--folder", str(tmp_path)])
    assert run.main() == 1
    told = capsys.readouterr().out
    assert "before that" in told
    assert "not measured: It fails: failed: " in told
    assert "nowhere/0" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "steps,walking"), "there is no walking; there are steps, chain"),
        (("--scale", "0"), "0 is not above 0"),
        (("--rounds", "0"), "0 is not at least 1"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    ended = bench(tmp_path, *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr


# ---------------------------------------------------------------------------------------- reuse


def test_a_study_has_the_steps_and_inputs_of_a_whole_cell() -> None:
    parts = study(Size())
    assert (len(parts), sum(len(part.inputs) for part in parts)) == (277, 1174)
    assert Size().inputs == 1174
    assert dependents(parts, "raw/7") == {part.name for part in parts}
    assert dependents(parts, "sim/3-6") == {
        *("sim-3-6", "analysis-3-6", "sim-3-7", "analysis-3-7"),
        *("chain-3", "half-1", "all"),
    }


def test_reuse_is_measured_and_only_dependents_of_an_edit_run(tmp_path: Path) -> None:
    setting = Setting(1, 0.1, tmp_path / "work", tmp_path, "busybox", 60)
    rows = [row for row in reuse.by_us(setting, Size(2, 2, 5, 10)) if isinstance(row, Row)]
    assert [row.against for row in rows] == ["without reuse"] * 3
    assert rows[2].what == "… after an edit of an input that 7 Steps depend on"


def test_a_study_whose_steps_run_again_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reuse, "written", lambda counter: ["all"])
    setting = Setting(1, 0.1, tmp_path / "work", tmp_path, "busybox", 60)
    with pytest.raises(Failed, match="under the name 'first': 1 Steps, not 15: "):
        list(reuse.by_us(setting, Size(2, 2, 5)))


def test_hits_and_misses_are_measured(tmp_path: Path) -> None:
    rows = measured(tmp_path, "hits", scale=0.001)
    assert rows["a hit with a file of 0.001 GB"]["measured"][0] > 0
    assert rows["CPU time of a hit of 100 Steps"]["ratio_most"] == 1.2
    (count,) = (
        row
        for row in reuse.misses(Setting(1, 0.01, tmp_path, tmp_path, "busybox", 60))
        if isinstance(row, Row) and row.against
    )
    assert count.what == "CPU time of a Step that misses, of 10 (engine alone)"


def test_timelines_are_measured(tmp_path: Path) -> None:
    rows = measured(tmp_path, "timelines")
    assert 0 < rows["size of an HTML timeline of 200 attempts"]["measured"][0] < 3e6
    assert rows["time to make an HTML timeline of 200 attempts"]["measured"][0] > 0


def test_graphs_on_the_page_are_measured(tmp_path: Path) -> None:
    rows = measured(tmp_path, "graphs")
    whole = "the page's graph of 277 Steps, a Command for each, until it's drawn"
    assert rows[whole]["most"] == 2.0
    assert rows[f"… CPU time of the browser ({whole})"]["median"] > 0
    assert rows["… panned: a frame, median of 180"]["median"] > 0.001
    assert rows["all 99 expired, from the order until it's drawn"]["median"] > 0


@pytest.mark.parametrize("graph", [graphs.cells(), graphs.sweeps(50)])
def test_a_workflow_made_from_a_graph_has_that_graph(
    graph: dict[str, Any], make_gaia: MakeGaia
) -> None:
    gaia = make_gaia(watch=False)
    commands, steps = graphs_in_browser.workflow(graph)
    gaia.upload("w", {}, commands, steps)
    gaia.halt("w")
    made = gaia.graph("w")
    assert [step["step"] for step in made["steps"]] == [step["step"] for step in graph["steps"]]
    ends = [{(edge["from"], edge["to"]) for edge in told["edges"]} for told in (made, graph)]
    assert ends[0] == ends[1]


# ---------------------------------------------------------------------------------------- the peers


@pytest.mark.parametrize("shape", ["joined", "chain"])
@pytest.mark.parametrize(
    ("tool", "file", "write"),
    [("make", "Makefile", makefile), ("ninja", "build.ninja", ninja_file)],
)
def test_make_and_ninja_files_describe_the_same_work(
    shape: str, tool: str, file: str, write: Any, tmp_path: Path
) -> None:
    written = write(shape, 3)
    assert written.count("echo hi > ") == (3 if tool == "make" else 1)
    if tool == "make":
        (tmp_path / file).write_text(written)
        program("make", "-s", "-j2", cwd=tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "2", file} | (
            {"joined"} if shape == "joined" else set()
        )
        assert (tmp_path / "2").read_text() == "hi\n"
    else:
        builds = [line for line in written.splitlines() if line.startswith("build")]
        last = "build 2: echo 1" if shape == "chain" else "build joined: join 0 1 2"
        assert builds[-1] == last


def test_each_peer_that_pip_installs_has_its_description() -> None:
    environment = Path("environment")
    for peer in PEERS:
        if peer.package:
            (script,) = [
                Path(word) for word in peer.command(environment) if str(word).endswith(".py")
            ]
            assert script.is_file()


# ------------------------------------------------------------------------------- rows and the table


def test_turns_go_there_and_back() -> None:
    order: list[str] = []

    def contestant(name: str) -> Any:
        def once() -> dict[str, float]:
            order.append(name)
            return {"seconds_s": float(len(order))}

        return once

    turns = in_turns(2, {"a": contestant("a"), "b": contestant("b")})
    assert order == ["a", "b", "b", "a"]
    assert turns.of("a") == [1.0, 4.0]
    assert turns.beyond("b", "a") == [1.0, -1.0]


def test_a_row_is_judged_by_its_median() -> None:
    row = Row("it", "ms", [0.010, 0.020, 9.0], "the bare", [0.010], most=0.025, ratio_most=2.0)
    assert (row.median, row.ratio, row.met) == (0.020, 2.0, True)
    assert cells(row, judged=True) == (
        "it",
        "20.0 ms",
        "10.0 ms (the bare)",
        "2.00",
        "≤ 25.0 ms and ≤ 2 times",
        "met",
    )
    assert cells(row, judged=False)[-1] == "not judged"
    missed = Row("it", "s", [3.0], "the bare", [1.0], ratio_most=2.0)
    assert cells(missed, judged=True)[-1] == "MISSED"
    assert cells(Row("it", "s", [3.0]), judged=True) == ("it", "3.00 s", "", "", "", "")
    unseen = Row("it", "ms", [0.001], "the bare", [0.0])  # a clock's step is too large for it
    assert unseen.ratio is None
    assert cells(unseen, judged=True)[3] == ""


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (1234.5, "s", "1,234 s"),
        (0.0123, "ms", "12.3 ms"),
        (1.5e-6, "µs", "1.50 µs"),
        (0.25e6, "MB", "0.250 MB"),
    ],
)
def test_values_are_shown_with_three_digits(value: float, unit: str, words: str) -> None:
    assert shown(value, unit) == words


def test_columns_are_aligned() -> None:
    assert list(text([("a", "bb"), ("ccc", "d")])) == ["a    bb", "ccc  d"]


def test_saved_results_name_missing_measurements(tmp_path: Path) -> None:
    findings: list[Finding] = [
        Row("a|b", "s", [1.0]),
        Point("line", 10, 0.001),
        Missing("ninja, beside it:", "there is no ninja on PATH"),
    ]
    told = markdown(ABOUT, findings, judged=True)
    assert "| a&#124;b | 1.00 s |" in told
    assert "- ninja, beside it: there is no ninja on PATH" in told
    saved = json.loads(as_json(ABOUT, findings))
    assert saved["points"] == [{"line": "line", "steps": 10, "seconds": 0.001}]
    assert saved["missing"][0]["why"] == "there is no ninja on PATH"
    plot([point for point in findings if isinstance(point, Point)], ABOUT, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_program_that_fails_is_told_with_its_words() -> None:
    with pytest.raises(Failed, match="exit code 3: so it goes"):
        program(sys.executable, "-c", "import sys; sys.stderr.write('so it goes'); sys.exit(3)")


def test_a_place_of_much_data_is_gone_afterwards(tmp_path: Path) -> None:
    setting = Setting(1, 0.5, tmp_path / "work", tmp_path, "busybox", 60)
    assert (setting.count(1000), setting.count(1), setting.few(3)) == (500, 2, 1)
    with setting.place() as kept, setting.place(large=True) as large:
        Path(large, "file").touch()
    assert Path(kept).exists()
    assert not Path(large).exists()


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_has_as_many_steps_as_asked(shape: str) -> None:
    commands, steps = SHAPES[shape](150, "busybox")
    assert len(steps) == 150 + (shape in ("joined", "distinct"))
    assert {step["command"] for step in steps} == {command["name"] for command in commands}
    after = sum(1 for step in steps if step.get("inputs"))
    expected = {"independent": 0, "apart": 0, "joined": 1, "distinct": 1, "chain": 149}
    assert after == {**expected, "chains": 148}[shape]

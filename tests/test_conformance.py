"""The client's calls and their exact answers, over four ways to one engine.

The ways: a `Gaia` in this process, a `Gaia` whose root another process owns, and over our server
the published client, and a stand-in of its old versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from gaia.client import Gaia as Client  # type: ignore[import-untyped]

from gaia_local import Gaia, GaiaError
from gaia_local.model.answer_types import StatusAnswer
from gaia_local.server import Server
from gaia_local.store import ownership
from support.builders import ECHO
from support.clients import OldClient, OverHttp
from support.fixtures import MakeGaia
from support.lineage import lineage
from support.owner import Owner

JOIN = {
    "name": "join",
    "image": "busybox",
    "command": ["sh", "-c", "cat /in/one /in/two > /out/both; echo joined"],
    "inputs": {"one": "/in/one", "two": "/in/two"},
    "outputs": {"both": "/out/both", "log": ">>"},
}
A = {
    "name": "a",
    "command": "echo",
    "inputs": {},
    "outputs": {"result": "data:a"},
    "vars": {"text": "A"},
}
B = {"name": "b", "command": "echo", "inputs": {}, "outputs": {"result": "data:b"}}
AB = {
    "name": "ab",
    "command": "join",
    "inputs": {"one": "data:a", "two": "data:b"},
    "outputs": {"both": "data:ab", "log": "logs:ab"},
}


@pytest.fixture(scope="module")
def owner() -> Iterator[Owner]:
    owner = Owner()
    yield owner
    owner.close()


CLIENTS = {"over HTTP": Client, "over HTTP, as old clients ask": OldClient}


@pytest.fixture(params=["in process", "another process", *CLIENTS])
def gaia(request: pytest.FixtureRequest, tmp_path: Path, owner: Owner) -> Iterator[Any]:
    config = {"root": str(tmp_path / "root"), "runtime": "process", "gaia_host": "localhost:24442"}
    if request.param == "another process":
        owner.own(config)
    with Gaia(config) as opened:
        if request.param in CLIENTS:
            with Server(opened, port=0) as server:
                yield OverHttp(server, opened, CLIENTS[request.param])
        else:
            yield opened
    if request.param == "another process":
        assert ownership.owner(tmp_path / "root") == owner.pid
        owner.leave(tmp_path / "root")


def test_no_workflows(gaia: Gaia) -> None:
    assert gaia.workflows() == {"workflows": {}}


def test_upload_runs_and_answers_the_names_as_given(gaia: Gaia) -> None:
    answer = gaia.upload(
        "crick_demo_20191130.121500",
        {"owner": "crick", "program": "demo"},
        [ECHO, JOIN],
        [A, B, AB],
    )
    assert answer == {"workflow": {"crick_demo_20191130.121500": ["a", "b", "ab"]}}
    gaia.wait("crick_demo_20191130.121500", 30)
    assert gaia.workflows() == {
        "workflows": {
            "crick_demo_20191130.121500": {
                "name": "crick_demo_20191130.121500",
                "state": "complete",
                "properties": {"owner": "crick", "program": "demo"},
                "step-count": 3,
            }
        }
    }
    assert gaia.path("crick_demo_20191130.121500", "data:ab").read_text() == "A\nhello\n"


def test_owner_defaults_to_the_first_part_of_the_name(gaia: Gaia) -> None:
    gaia.upload("crick_demo", {}, [ECHO], [A])
    assert gaia.workflows()["workflows"]["crick_demo"]["properties"] == {"owner": "crick"}


def test_upload_answers_names_before_arrays_are_expanded(gaia: Gaia) -> None:
    many = {
        **A,
        "name": "many",
        "vars": {"text": ["x.y", "z"]},
        "outputs": {"result": "data:{{text}}"},
    }
    assert gaia.upload("w", {}, [ECHO], [many]) == {"workflow": {"w": ["many"]}}
    gaia.wait("w", 30)
    assert gaia.workflows()["workflows"]["w"]["step-count"] == 2
    assert sorted(gaia.status("w", debug=True)["status"]["tasks"]) == ["many-xy", "many-z"]


def test_upload_of_an_existing_name(gaia: Gaia) -> None:
    gaia.upload("w", {}, [ECHO], [A])
    with pytest.raises(requests.HTTPError, match=r"^workflow already exists: w$"):
        gaia.upload("w", {}, [ECHO], [A])


def test_status_shows_commands_and_missing_inputs(gaia: Gaia) -> None:
    gaia.upload(
        "w", {}, [ECHO, JOIN], [A, {**AB, "inputs": {"one": "data:a", "two": "data:outside"}}]
    )
    gaia.wait("w", 30)
    assert gaia.status("w") == {
        "workflow": "w",
        "status": {
            "state": "incomplete",
            "commands": {"echo": ECHO, "join": JOIN},
            "waiting-inputs": ["data:outside"],
        },
        "state": "incomplete",
        "commands": [ECHO, JOIN],
        "waiting-inputs": ["data:outside"],
    }


def test_status_with_debug(gaia: Gaia) -> None:
    gaia.upload("w", {}, [ECHO, JOIN], [A, B, {**AB, "timeout": 7}])
    gaia.wait("w", 30)
    inner = gaia.status("w", debug=True)["status"]
    task = inner["tasks"]["ab"]
    assert {**task, "id": "?"} == {
        "id": "?",
        "name": "ab",
        "workflow": "w",
        "image": "busybox",
        "command": ["sh", "-c", "cat /in/one /in/two > /out/both; echo joined"],
        "inputs": [["data:a", "/in/one"], ["data:b", "/in/two"]],
        "outputs": [["data:ab", "/out/both"], ["logs:ab", ">>"]],
        "timeout": 7,
        "state": "complete",
    }
    path = str(gaia.path("w", "data:a"))
    assert inner["data"]["data:a"] == {
        "state": "complete",
        "key": "data:a",
        "path": path,
        "url": f"file://{path}",
        "workflow": "w",
    }
    assert inner["flow"]["ab"] == {
        "inputs": ["data:a", "data:b"],
        "outputs": ["data:ab", "logs:ab"],
        "after": ["a", "b"],
    }


def test_status_of_an_unknown_workflow_creates_nothing(
    gaia: Gaia, caplog: pytest.LogCaptureFixture
) -> None:
    expected: StatusAnswer = {
        "workflow": "nobody",
        "status": {"state": "initialized", "commands": {}, "waiting-inputs": []},
        "state": "initialized",
        "commands": [],
        "waiting-inputs": [],
    }
    assert gaia.status("nobody") == expected
    assert "no workflow 'nobody'" in caplog.text
    assert gaia.workflows() == {"workflows": {}}


def test_command_makes_a_workflow_and_answers_all_its_commands(gaia: Gaia) -> None:
    assert gaia.command("w", [ECHO]) == {"commands": {"echo": ECHO}}
    assert gaia.status("w")["state"] == "initialized"
    assert gaia.command("w", [JOIN]) == {"commands": {"echo": ECHO, "join": JOIN}}
    assert gaia.command("w") == {"commands": {"echo": ECHO, "join": JOIN}}


@pytest.mark.parametrize("nothing", [None, []])
def test_command_and_merge_without_anything_make_no_workflow(
    gaia: Gaia, nothing: list[Any] | None
) -> None:
    assert gaia.command("w", nothing) == {"commands": {}}
    assert gaia.merge("w", nothing) == {"steps": []}
    assert gaia.workflows() == {"workflows": {}}


def test_merge_starts_new_steps(gaia: Gaia) -> None:
    gaia.command("w", [ECHO, JOIN])
    assert gaia.merge("w", [A, AB]) == {"steps": ["a", "ab"]}
    assert gaia.wait("w", 30)["waiting-inputs"] == ["data:b"]
    assert gaia.merge("w", [B]) == {"steps": ["b"]}
    assert gaia.wait("w", 30)["state"] == "complete"


def test_merge_of_a_changed_step_recomputes_what_depends_on_it(gaia: Gaia) -> None:
    gaia.upload("w", {}, [ECHO, JOIN], [A, B, AB])
    gaia.wait("w", 30)
    gaia.merge("w", [{**A, "vars": {"text": "changed"}}])
    gaia.wait("w", 30)
    assert gaia.path("w", "data:ab").read_text() == "changed\nhello\n"
    assert _starts(gaia) == ["a", "a", "ab", "ab", "b"]


def test_a_changed_command_recomputes_its_steps(gaia: Gaia) -> None:
    gaia.upload("w", {}, [ECHO, JOIN], [A, B, AB])
    gaia.wait("w", 30)
    gaia.command("w", [{**JOIN, "command": ["sh", "-c", "cat /in/two /in/one > /out/both"]}])
    gaia.wait("w", 30)
    assert gaia.path("w", "data:ab").read_text() == "hello\nA\n"
    assert _starts(gaia) == ["a", "ab", "ab", "b"]


def test_identical_definitions_change_nothing(gaia: Gaia) -> None:
    gaia.upload("w", {}, [ECHO, JOIN], [A, B, AB])
    gaia.wait("w", 30)
    before = gaia.events("w")
    gaia.command("w", [ECHO, JOIN])
    gaia.merge("w", [A, B, AB])
    assert gaia.wait("w", 30)["state"] == "complete"
    assert gaia.events("w") == before


def test_run_and_halt_answer_the_name(gaia: Gaia) -> None:
    gaia.upload("w", {}, [ECHO], [A])
    gaia.wait("w", 30)
    assert gaia.halt("w") == {"halt": "w"}
    assert gaia.status("w")["state"] == "halted"
    assert gaia.run("w") == {"run": "w"}
    assert gaia.wait("w", 30)["state"] == "complete"
    assert _starts(gaia) == ["a"]


def test_expire_takes_steps_and_keys(gaia: Gaia) -> None:
    gaia.upload("w", {}, [ECHO, JOIN], [A, B, AB])
    gaia.wait("w", 30)
    assert gaia.expire("w", ["a"]) == {"expire": ["a"]}
    gaia.wait("w", 30)
    assert gaia.expire("w", ["data:b"]) == {"expire": ["data:b"]}
    assert gaia.wait("w", 30)["state"] == "complete"
    assert _starts(gaia) == ["a", "a", "ab", "ab", "ab", "b", "b"]


def test_expire_of_an_array_step_by_its_name_before_expansion(gaia: Gaia) -> None:
    many = {
        **A,
        "name": "many",
        "vars": {"text": ["x", "z"]},
        "outputs": {"result": "data:{{text}}"},
    }
    gaia.upload("w", {}, [ECHO], [many])
    gaia.wait("w", 30)
    gaia.expire("w", ["many"])
    gaia.wait("w", 30)
    assert _starts(gaia) == ["many-x", "many-x", "many-z", "many-z"]


def test_launch_is_accepted(gaia: Gaia) -> None:
    assert gaia.launch(["a", "b"], {"workflow": "w"}) is None  # type: ignore[func-returns-value]


def test_pull_inputs(gaia: Gaia, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gaia.upload("w", {}, [ECHO, JOIN], [A, B, AB])
    gaia.wait("w", 30)
    assert gaia.pull_inputs("w", "ab", root=str(tmp_path / "here")) is None  # type: ignore[func-returns-value]
    assert (tmp_path / "here" / "one").read_text() == "A\n"
    assert (tmp_path / "here" / "two").read_text() == "hello\n"
    assert capsys.readouterr().out == "sh -c cat /in/one /in/two > /out/both; echo joined\n"


def test_events_in_the_order_of_the_real_worker(gaia: Gaia) -> None:
    gaia.upload("w", {}, [JOIN, ECHO], [A])
    gaia.wait("w", 30)
    events = gaia.events("w")
    assert [event["event"] for event in events] == [
        "step-start",
        "execution-start",
        "execution-complete",
        "container-exit",
        "data-complete",
        "step-complete",
        "flow-complete",
    ]
    assert {event["workflow"] for event in events} == {"w"}
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert {event["task"] for event in events[:-1]} == {"a"}
    assert len({event["id"] for event in events[:-1]}) == 1
    assert events[3]["code"] == 0
    assert (events[4]["key"], events[4]["path"]) == ("data:a", str(gaia.path("w", "data:a")))


def test_a_failing_step(gaia: Gaia) -> None:
    fail = {
        **JOIN,
        "name": "fail",
        "command": ["sh", "-c", "echo out; echo err >&2; exit 3"],
        "inputs": {},
    }
    gaia.upload(
        "w",
        {},
        [fail],
        [{"name": "f", "command": "fail", "outputs": {"both": "data:x", "log": "logs:f"}}],
    )
    assert gaia.wait("w", 30)["state"] == "error"
    error = gaia.events("w")[-1]
    assert (error["event"], error["log"], error["task"]) == ("step-error", "out\nerr", "f")
    assert gaia.logs("w", "f") == "out\nerr\n"
    assert not gaia.path("w", "data:x").exists()
    assert "exit code: 3" in gaia.path("w", "logs:f").read_text()
    assert gaia.status("w", debug=True)["status"]["tasks"]["f"]["state"] == "error"


def test_run_retries_what_failed(gaia: Gaia) -> None:
    flaky = {
        **ECHO,
        "name": "flaky",
        "command": ["sh", "-c", "cat {{file}} > /out/result"],
        "vars": {},
    }
    file = gaia.path("w", "outside").parent.parent / "appears-later"
    gaia.upload("w", {}, [flaky], [{**A, "command": "flaky", "vars": {"file": str(file)}}])
    assert gaia.wait("w", 30)["state"] == "error"
    file.write_text("now")
    gaia.run("w")
    assert gaia.wait("w", 30)["state"] == "complete"
    assert gaia.path("w", "data:a").read_text() == "now"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda g: g.upload("w", {}, [ECHO], [{**A, "command": "ecko"}]),
            ["'w'", "'a'", "'ecko'", "'echo'"],
        ),
        (
            lambda g: g.upload("w", {}, [ECHO], [{**A, "outputs": {}}]),
            ["'a'", "'echo'", "'result'"],
        ),
        (
            lambda g: g.upload("w", {}, [ECHO], [{**A, "outputs": {"resull": "x"}}]),
            ["'a'", "'resull'", "'result'"],
        ),
        (lambda g: g.upload("w", {}, [ECHO], [{**A, "inputs": {"in": "x"}}]), ["'a'", "'in'"]),
        (
            lambda g: g.upload("w", {}, [{**ECHO, "vars": {}}], [{**A, "vars": {}}]),
            ["'a'", "'echo'", "'text'"],
        ),
        (
            lambda g: g.upload("w", {}, [ECHO], [A, {**A, "name": "a2"}]),
            ["'a'", "'a2'", "'data:a'"],
        ),
        (
            lambda g: g.upload(
                "w",
                {},
                [ECHO],
                [{**A, "outputs": {"result": "d/"}}, {**B, "outputs": {"result": "d/b"}}],
            ),
            ["'b'", "'d/'", "'d/b'", "overlap"],
        ),
        (
            lambda g: g.upload(
                "w",
                {},
                [JOIN],
                [
                    {
                        **AB,
                        "name": "p",
                        "inputs": {"one": "q", "two": "q"},
                        "outputs": {"both": "p", "log": "lp"},
                    },
                    {
                        **AB,
                        "name": "q",
                        "inputs": {"one": "p", "two": "p"},
                        "outputs": {"both": "q", "log": "lq"},
                    },
                ],
            ),
            ["p → p → q → q → p"],
        ),
        (lambda g: g.upload("../w", {}, [ECHO], [A]), ["'../w'", ".."]),
        (lambda g: g.upload("", {}, [ECHO], [A]), ["empty"]),
        (
            lambda g: g.upload("w", {}, [ECHO], [{**A, "outputs": {"result": "/etc/x"}}]),
            ["'/etc/x'", "absolute"],
        ),
        (
            lambda g: g.upload("w", {}, [ECHO], [{**A, "outputs": {"result": "a/../../x"}}]),
            ["'a/../../x'"],
        ),
        (lambda g: g.upload("w", {}, [ECHO], [{**A, "outputs": {"result": "a\0b"}}]), ["NUL"]),
        (
            lambda g: g.upload("w", {}, [ECHO], [{**A, "outputs": {"result": "a\nb"}}]),
            ["control character"],
        ),
        (lambda g: g.upload("w", {}, "commands", [A]), ["'w'", "commands", "list"]),
        (lambda g: g.upload("w", [], [ECHO], [A]), ["properties"]),
        (lambda g: g.upload(7, {}, [ECHO], [A]), ["7"]),
        (lambda g: g.merge("w", [A]), ["'a'", "'echo'"]),
        (lambda g: g.run("w"), ["'w'"]),
        (lambda g: g.expire("w", ["x"]), ["'w'"]),
        (lambda g: g.launch("ab"), ["'ab'"]),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(
    gaia: Gaia, call: Callable[[Gaia], object], says: list[str]
) -> None:
    with pytest.raises(GaiaError) as refused:
        call(gaia)
    for part in says:
        assert part in str(refused.value)
    assert gaia.workflows() == {"workflows": {}}
    assert not gaia.path("w", "x").parent.exists()


SORT = {
    "name": "sort",
    "image": "busybox",
    "command": ["sort", "/in/a", "-o", "/out/x"],
    "inputs": {"a": "/in/a"},
    "outputs": {"x": "/out/x"},
}


def sorts(name: str, read: str, made: str, **array: list[int]) -> dict[str, Any]:
    return {
        "name": name,
        "command": "sort",
        "inputs": {"a": read},
        "outputs": {"x": made},
        "vars": array,
    }


@pytest.mark.parametrize(
    ("steps", "cycle"),
    [
        ([sorts("s", "b:i", "b:i")], "s → b:i → s"),
        ([sorts("a", "b:y", "b:x"), sorts("c", "b:x", "b:y")], "a → b:x → c → b:y → a"),
        (
            [sorts("a", "b:{{n}}", "b:x{{n}}", n=[1, 2]), sorts("c", "b:x2", "b:2")],
            "a-2 → b:x2 → c → b:2 → a-2",
        ),
        ([sorts("a", "d/y/", "b:x"), sorts("c", "b:x", "d/y/z")], "a → b:x → c → d/y/ → a"),
        ([sorts("a", "d/y/z", "b:x"), sorts("c", "b:x", "d/y/")], "a → b:x → c → d/y/z → a"),
    ],
)
def test_a_cycle_is_named_with_its_keys(
    gaia: Gaia, steps: list[dict[str, Any]], cycle: str
) -> None:
    refusal = f"^workflow '.': Steps wait for each other: {re.escape(cycle)}; break the cycle$"
    with pytest.raises(GaiaError, match=refusal):
        gaia.upload("w", {}, [SORT], steps)
    gaia.command("v", [SORT])
    with pytest.raises(GaiaError, match=refusal):
        gaia.merge("v", steps)
    assert gaia.graph("v")["steps"] == []


@pytest.mark.parametrize(
    "call",
    [
        lambda g: g.merge("w", [B, {**A, "name": "a2"}]),
        lambda g: g.merge("w", [{**A, "vars": {"text": "new"}, "outputs": {"result": "data:b"}}]),
        lambda g: g.merge("w", [{**B, "command": "nothing"}]),
        lambda g: g.update("w", [{**ECHO, "outputs": {}}], [A]),
        lambda g: g.update("w", [{**ECHO, "command": ["echo", "{{nothing}}"]}], [B]),
        lambda g: g.update("w", [{**ECHO, "name": "new"}], [{**A, "command": "neww"}]),
        lambda g: g.remove("w", ["a", "aa"]),
        lambda g: g.remove("w", ["a", "echo"]),
        lambda g: g.expire("w", ["a", "aa"]),
        lambda g: g.merge("w", [{**AB, "inputs": {"one": "data:ab", "two": "data:b"}}]),
    ],
)
def test_a_refused_change_changes_nothing(gaia: Gaia, call: Callable[[Gaia], object]) -> None:
    gaia.upload("w", {}, [ECHO, JOIN], [A, {**B, "outputs": {"result": "data:b"}}, AB])
    gaia.wait("w", 30)
    before = (gaia.status("w", debug=True), gaia.events("w"), gaia.workflows())
    with pytest.raises(GaiaError):
        call(gaia)
    assert (gaia.status("w", debug=True), gaia.events("w"), gaia.workflows()) == before
    gaia.expire("w", ["a"])
    assert gaia.wait("w", 30)["state"] == "complete"


def test_update_changes_both_kinds_at_once(gaia: Gaia) -> None:
    answer = gaia.update("w", [ECHO, JOIN], [A, B, AB])
    assert answer == {"commands": {"echo": ECHO, "join": JOIN}, "steps": ["a", "b", "ab"]}
    assert gaia.wait("w", 30)["state"] == "complete"
    assert gaia.update("w") == {"commands": {"echo": ECHO, "join": JOIN}, "steps": []}
    count = len(_starts(gaia))
    loud = {**ECHO, "command": ["sh", "-c", "echo {{text}}{{mark}} > {{result}}"]}
    given: list[dict[str, Any]] = [A, B]
    marked = [{**step, "vars": {**step.get("vars", {}), "mark": "!"}} for step in given]
    gaia.update("w", commands=[loud], steps=marked)
    assert gaia.wait("w", 30)["state"] == "complete"
    assert len(_starts(gaia)) == count + 3
    assert gaia.path("w", "data:ab").read_text() == "A!\nhello!\n"


def test_steps_that_a_command_leaves_behind_say_what_they_lack(gaia: Gaia) -> None:
    gaia.upload("w", {}, [ECHO, JOIN], [A, B, AB])
    gaia.wait("w", 30)
    count = len(_starts(gaia))
    three = {**JOIN, "inputs": {"one": "/in/one", "two": "/in/two", "three": "/in/three"}}
    assert gaia.command("w", [three]) == {"commands": {"echo": ECHO, "join": three}}
    lacks = (
        "workflow 'w', Step 'ab', Command 'join': the Step does not give its input 'three'; "
        "give a storage key for it"
    )
    assert gaia.wait("w", 30)["state"] == "incomplete"
    assert gaia.status("w", debug=True)["status"]["unfit"] == {"ab": lacks}
    assert gaia.progress("w") == {
        **dict.fromkeys(("running", "failed", "waiting"), 0),
        "state": "incomplete",
        "steps": 3,
        "done": 2,
        "unfit": 1,
        "lacks": lacks,
    }
    assert gaia.explain("w", "ab")["because"] == lacks
    assert gaia.step_states("w")["ab"]["state"] == "unfit"
    gaia.pull_inputs("w", "ab", str(gaia.path("w", "data:a").parent / "pulled"))
    with pytest.raises(GaiaError, match=re.escape(lacks)):
        gaia.merge("w", [AB])
    gaia.merge("w", [{**AB, "inputs": {"one": "data:a", "two": "data:b", "three": "data:a"}}])
    assert gaia.wait("w", 30)["state"] == "complete"
    assert len(_starts(gaia)) == count + 1


def test_steps_and_commands_leave(gaia: Gaia) -> None:
    gaia.upload("w", {}, [ECHO, JOIN], [A, B, AB])
    gaia.wait("w", 30)
    with pytest.raises(GaiaError, match="Command 'echo': Step 'b' uses it"):
        gaia.remove("w", ["a", "echo"])
    assert gaia.remove("w", ["a"]) == {"remove": ["a"]}
    assert gaia.status("w")["state"] == "complete"
    assert gaia.path("w", "data:a").read_text() == "A\n"
    assert gaia.workflows()["workflows"]["w"]["step-count"] == 2
    assert gaia.remove("w", ["b", "ab", "join", "echo"], data=True) == {
        "remove": ["b", "ab", "join", "echo"]
    }
    assert not gaia.path("w", "data:ab").exists()
    assert gaia.command("w") == {"commands": {}}
    assert gaia.status("w")["state"] == "initialized"
    with pytest.raises(GaiaError, match="workflow 'ww': it doesn't exist"):
        gaia.remove("ww", ["a"])


@pytest.mark.parametrize("at_once", [False, True])
def test_a_builder_asks_for_a_generation_more(gaia: Gaia, at_once: bool) -> None:
    """The habit of a whole-cell project: its builder calls `command`, then `merge`, on one name."""

    def build(generations: int) -> None:
        commands, steps = lineage(generations)
        if at_once:
            gaia.update("w", commands, steps)
        else:
            gaia.command("w", commands)
            gaia.merge("w", steps)
        assert gaia.wait("w", 60)["state"] == "complete", gaia.failures("w")

    build(2)
    assert _starts(gaia) == sorted(
        ["kb", "sim-0-0", "sim-0-1", "sim-1-0", "sim-1-1", "agg-0", "agg-1", "report"]
    )
    before = _starts(gaia)
    build(3)
    fresh = ["sim-0-2", "sim-1-2", "agg-0", "agg-1", "report"]
    assert _starts(gaia) == sorted([*before, *fresh])
    assert gaia.path("w", "out:agg/1.table").read_text() == "3 generations of seed 1\n"
    before = _starts(gaia)
    build(3)
    assert _starts(gaia) == before
    build(2)  # and back: the third generation is still there, but nobody reads it
    assert _starts(gaia) == sorted([*before, "agg-0", "agg-1", "report"])


def test_delete_forgets_the_workflow_and_keeps_its_files(gaia: Gaia) -> None:
    gaia.upload("w", {}, [ECHO], [A])
    gaia.wait("w", 30)
    path = gaia.path("w", "data:a")
    gaia.delete("w")
    assert gaia.workflows() == {"workflows": {}}
    assert path.read_text() == "A\n"
    gaia.upload("w", {}, [ECHO], [A])  # the file that is there counts
    assert gaia.wait("w", 30)["state"] == "complete"
    assert _starts(gaia) == []
    gaia.delete("w", data=True)
    assert not path.exists()


def test_a_closed_gaia_refuses(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    gaia.close()
    gaia.close()
    with pytest.raises(GaiaError, match="closed"):
        gaia.workflows()


def _starts(gaia: Gaia) -> list[str]:
    return sorted(event["task"] for event in gaia.events("w") if event["event"] == "step-start")

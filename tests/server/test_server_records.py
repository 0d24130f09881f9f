"""The server's answers on what is recorded of Steps: attempts, the table, definitions, plans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests

from gaia_local import Gaia
from gaia_local.model import answer_types
from gaia_local.server import Server, records
from support.builders import COPY, command, step
from support.fixtures import MakeGaia
from test_answer_types import answer_type, problems

FAIL = command("fail", "exit 3", "a")
BEGIN = command("begin", "echo > /out/x")
STEPS = [
    step("one", "begin", "b:one"),
    step("two", "copy", "b:two", "b:one"),
    step("bad", "fail", "b:bad", "b:two"),
    step("late", "copy", "b:late", "b:bad"),
]


@pytest.fixture
def gaia(make_gaia: MakeGaia) -> Gaia:
    gaia = make_gaia(watch=False)
    gaia.upload("w", {}, [COPY, FAIL, BEGIN], STEPS)
    gaia.wait("w", 30)
    return gaia


@pytest.fixture
def server(gaia: Gaia) -> Iterator[Server]:
    with Server(gaia, port=0) as server:
        yield server


def get(server: Server, path: str) -> Any:
    answer = requests.get(server.url + path, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def planned(server: Server, body: Any) -> Any:
    answer = requests.post(server.url + "api/workflows/w/plan", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_records_are_answered_as_the_methods_answer_them(server: Server, gaia: Gaia) -> None:
    at = "api/workflows/w"
    assert get(server, f"{at}/attempts?step=bad") == gaia.attempts("w", "bad")
    assert get(server, f"{at}/table") == gaia.table("w")
    assert get(server, f"{at}/definition") == gaia.definitions("w")
    assert get(server, f"{at}/definition?step=two") == gaia.definition("w", "two")


def test_a_plan_is_the_engines_own_with_what_it_took_last_time(server: Server, gaia: Gaia) -> None:
    rows = {row["step"]: row for row in gaia.table("w")["steps"]}
    took = sum(rows[name]["duration"] or 0 for name in ("one", "two"))
    plan = planned(server, {"expire": ["one"]})
    assert plan["would"] == gaia.expire("w", ["one"], dry_run=True)["would"]
    assert [each["step"] for each in plan["would"]] == ["one", "two", "bad", "late"]
    figures = {key: plan[key] for key in plan if key not in ("would", "seconds")}
    assert figures == {"complete": 2, "running": 0, "reused": 0, "timed": 2}
    assert plan["seconds"] == pytest.approx(took)
    assert [each["step"] for each in planned(server, {})["would"]] == ["bad", "late"]
    assert planned(server, {})["seconds"] == 0
    assert gaia.status("w")["state"] == "error"  # nothing was changed
    assert gaia.table("w")["steps"] == list(rows.values())


def test_names_of_all_kinds_can_be_asked_for(server: Server, gaia: Gaia) -> None:
    name, odd = "a ?#%&+ü'<b>", "s/ä?&=#"
    gaia.upload(name, {}, [BEGIN], [step(odd, "begin", "b:x")])
    gaia.wait(name, 30)
    at = f"api/workflows/{quote(name, safe='')}"
    assert get(server, f"{at}/attempts?step={quote(odd, safe='')}")["step"] == odd
    assert get(server, f"{at}/table")["steps"][0]["step"] == odd


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("nobody/attempts?step=one", 404, "'nobody'"),
        ("nobody/table", 404, "'nobody'"),
        ("nobody/definition", 404, "'nobody'"),
        ("w/attempts?step=x", 404, "'x'"),
        ("w/attempts", 400, "the parameter 'step' is missing"),
        ("w/definition?step=x", 404, "'x'"),
        ("w/plan", 404, "Not Found"),
    ],
)
def test_what_is_unknown_is_refused(server: Server, path: str, status: int, words: str) -> None:
    answer = requests.get(f"{server.url}api/workflows/{path}", timeout=30)
    assert answer.status_code == status
    assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"expire": ["x"]}, 400, "'x'"),
        ({"expire": "one"}, 400, "give a list"),
        ({"keys": []}, 400, "there is no field 'keys'"),
    ],
)
def test_a_wrong_plan_is_refused(server: Server, body: Any, status: int, words: str) -> None:
    answer = requests.post(f"{server.url}api/workflows/w/plan", json=body, timeout=30)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text


def test_pages_of_other_sites_get_no_plan(server: Server) -> None:
    headers = {"origin": "https://elsewhere.example"}
    where = f"{server.url}api/workflows/w/plan"
    assert requests.post(where, json={}, headers=headers, timeout=30).status_code == 403


def test_plans_are_as_their_type_says(gaia: Gaia) -> None:
    for expire in (None, ["one"]):
        assert problems(records.plan(gaia, "w", expire), answer_type(records.plan)) == []
    assert answer_type(records.plan) is answer_types.Plan

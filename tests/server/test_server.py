"""The HTTP server: the published client, the page's requests, event streams, and access."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
import requests
from gaia.client import Gaia as Client  # type: ignore[import-untyped]

from gaia_local import Gaia, GaiaError, demo
from gaia_local.errors import DatabaseError
from gaia_local.model.answer_types import LiveUsage
from gaia_local.server import Server, create_app, feed, resume, stream
from gaia_local.server import server as server_module
from gaia_local.server.guard import answers_to
from support.builders import ECHO
from support.fixtures import MakeGaia, WaitUntil
from support.servers import (
    COMMANDS,
    FAIL,
    HOLD,
    A,
    B,
    Events,
    F,
    Serving,
    events,
    gaia,
    held,
    let_go,
    server,
    states_of,
)

__all__ = ["gaia", "server"]

JSON = {"content-type": "application/json"}


@pytest.fixture
def client(server: Server) -> Any:
    """The published client."""
    return Client({"gaia_host": urlsplit(server.url).netloc})


def post(server: Server, name: str, body: object, **headers: str) -> requests.Response:
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    return requests.post(server.url + name, data=data, headers={**JSON, **headers}, timeout=30)


def get(server: Server, path: str, status: int = 200, **headers: str) -> Any:
    answer = requests.get(server.url + path, headers=headers, timeout=30)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


# ----------------------------------------------------------------------------- the published client


def test_the_published_client_does_all_it_can(client: Any, gaia: Gaia) -> None:
    assert client.workflows() == {"workflows": {}}
    assert client.upload("crick_w", {"program": "demo"}, COMMANDS, [A]) == {
        "workflow": {"crick_w": ["a"]}
    }
    gaia.wait("crick_w", 30)
    assert client.workflows() == gaia.workflows()
    assert client.workflows()["workflows"]["crick_w"]["properties"] == {
        "owner": "crick",
        "program": "demo",
    }
    assert client.merge("crick_w", [B]) == {"steps": ["b"]}
    gaia.wait("crick_w", 30)
    assert client.status("crick_w") == gaia.status("crick_w")
    assert client.status("crick_w", debug=True) == gaia.status("crick_w", debug=True)
    assert client.status("crick_w", debug=True)["status"]["tasks"]["b"]["state"] == "complete"
    assert client.command("crick_w", [{**ECHO, "vars": {"text": "new"}}])["commands"]["echo"][
        "vars"
    ] == {"text": "new"}
    assert client.command("crick_w") == gaia.command("crick_w")
    gaia.wait("crick_w", 30)
    assert gaia.path("crick_w", "d:b").read_text() == "new\n"
    assert client.expire("crick_w", ["a", "d:b"]) == {"expire": ["a", "d:b"]}
    gaia.wait("crick_w", 30)
    assert client.halt("crick_w") == {"halt": "crick_w"}
    assert client.status("crick_w")["status"]["state"] == "halted"
    assert client.run("crick_w") == {"run": "crick_w"}
    assert gaia.wait("crick_w", 30)["state"] == "complete"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda client: client.upload("w", {}, COMMANDS, [A]), "workflow already exists: w"),
        (lambda client: client.merge("w", [{**A, "command": "ecko"}]), "did you mean 'echo'?"),
        (lambda client: client.command("w", [{"name": "x"}]), "'x'"),
        (lambda client: client.run("nobody"), "'nobody'"),
        (lambda client: client.halt("nobody"), "'nobody'"),
        (lambda client: client.expire("w", ["aa"]), "did you mean 'a'"),
        (lambda client: client.status("../w"), "'../w'"),
    ],
)
def test_refused_calls_raise_in_the_published_client(
    client: Any, gaia: Gaia, call: Callable[[Any], object], says: str
) -> None:
    gaia.upload("w", {}, COMMANDS, [A])
    gaia.wait("w", 30)
    with pytest.raises(requests.HTTPError) as refused:
        call(client)
    (answer,) = refused.value.args
    assert set(answer) == {"error"}
    assert says in answer["error"]


def test_an_unknown_workflow_has_a_status(client: Any) -> None:
    inner = {"state": "initialized", "commands": {}, "waiting-inputs": []}
    assert client.status("nobody")["status"] == inner
    assert client.workflows() == {"workflows": {}}


def test_the_published_command_line(server: Server, gaia: Gaia, tmp_path: Path) -> None:
    """Its `main`, unmodified, in a process of its own, with the demo's files."""
    host = urlsplit(server.url).netloc

    def call(*arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "gaia.client", *arguments, "--host", host],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "USER": "crick"},
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    uploaded = call("upload", "crick_demo", "--path", str(demo.folder() / "demo-"))
    assert "'crick_demo': [" in uploaded.partition("Response:")[2]
    demo.place_inputs(lambda key: gaia.path("crick_demo", key))
    gaia.run("crick_demo")
    gaia.wait("crick_demo", 60)
    assert "'state': 'complete'" in call("status", "crick_demo")
    assert "'step-count': 15" in call("workflows", "-")
    assert (
        call("expire", "crick_demo", "--path", "write,texts:mars.txt").strip()
        == "{'expire': ['write', 'texts:mars.txt']}"
    )
    assert gaia.wait("crick_demo", 60)["state"] == "complete"


# ---------------------------------------------------------------------------------- bodies of calls


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("run", {}, "the field 'workflow' is missing"),
        ("run", {"workflow": 7}, "the name of a workflow is 7; give a string"),
        ("run", {"workflow": None}, "the name of a workflow is None; give a string"),
        (
            "run",
            {"workflow": "w", "workflows": 1},
            "there is no field 'workflows'; did you mean 'workflow'?",
        ),
        ("run", ["w"], "the body is ['w']; send a JSON object"),
        ("run", b"", "the body isn't valid JSON"),
        ("run", b'{"workflow": "w"', "the body isn't valid JSON"),
        ("run", b"\xff\xfe\xfd", "the body isn't valid JSON"),
        ("run", b"[" * 200_000, "the body isn't valid JSON"),
        ("run", b'{"workflow": ' + b"9" * 5000 + b"}", "the body isn't valid JSON"),
        (
            "upload",
            b'{"workflow": "w", "properties": {"x": NaN}, "commands": [], "steps": []}',
            "NaN is not a JSON number",
        ),
        (
            "upload",
            b'{"workflow": "w", "properties": {"x": 1e999}, "commands": [], "steps": []}',
            "1e999 is not a JSON number",
        ),
        (
            "upload",
            {"workflow": "w", "properties": {}, "commands": []},
            "the field 'steps' is missing; give a list",
        ),
        (
            "upload",
            {"workflow": "w", "properties": [], "commands": [], "steps": []},
            "properties is []; give a dictionary",
        ),
        ("merge", {"workflow": "w", "steps": {}}, "steps is a dict; give a list"),
        (
            "command",
            {"workflow": "w", "commands": "x"},
            "commands is a str; give a list of commands",
        ),
        ("status", {"workflow": "w", "debug": 1}, "the field 'debug' is 1; give true or false"),
        ("expire", {"workflow": "w", "keys": []}, "there is no field 'keys'"),
        ("expire", {"workflow": "w", "expire": [1]}, "expire was given 1"),
        ("workflows", {"workflow": "w"}, "there is no field 'workflow'"),
        ("workflows", b"", "the body isn't valid JSON"),
        ("status", {"workflow": "\ud800"}, "\\ud800"),
    ],
)
def test_a_wrong_body_is_one_clear_refusal(
    server: Server, gaia: Gaia, name: str, body: object, says: str
) -> None:
    answer = post(server, name, body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert says in answer.json()["error"]
    assert len(answer.json()["error"]) < 500
    assert gaia.workflows() == {"workflows": {}}


@pytest.mark.parametrize("name", ["command", "merge"])
def test_lists_may_be_left_out(server: Server, name: str) -> None:
    for body in ({"workflow": "w"}, {"workflow": "w", f"{name}s".replace("merges", "steps"): None}):
        assert post(server, name, body).json() in ({"commands": {}}, {"steps": []})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "run", 405),
        ("PUT", "run", 405),
        ("POST", "nothing", 405),
        ("GET", "nothing", 404),
        ("POST", "api/workflows", 405),
    ],
)
def test_other_methods_and_addresses_are_refused_as_json(
    server: Server, method: str, path: str, status: int
) -> None:
    answer = requests.request(method, server.url + path, json={}, timeout=30)
    assert answer.status_code == status
    assert f"{method} /{path}" in answer.json()["error"]


def test_a_call_after_the_end_of_its_gaia_is_told(server: Server, gaia: Gaia) -> None:
    gaia.close()
    answer = post(server, "workflows", {})
    assert (answer.status_code, answer.json()) == (503, {"error": "this Gaia was closed"})


def test_a_defect_is_told_and_logged(
    server: Server, gaia: Gaia, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(gaia, "workflows", broken)
    answer = post(server, "workflows", {})
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "the server failed: ZeroDivisionError: a defect"},
    )
    assert "POST /workflows failed" in caplog.text
    assert "Traceback" in caplog.text


# ---------------------------------------------------------------------- requests of the status page


def test_get_requests_answer_what_the_page_shows(server: Server, gaia: Gaia) -> None:
    gaia.upload(
        "w",
        {},
        COMMANDS,
        [A, B, F, {**B, "name": "late", "inputs": {"from": "d:none"}, "outputs": {"to": "d:late"}}],
    )
    gaia.wait("w", 30)
    counts = {"steps": 4, "done": 2, "running": 0, "failed": 1, "waiting": 1}
    attempts = gaia.timeline("w")["attempts"]
    entry = {
        "name": "w",
        "state": "error",
        "properties": {"owner": "w"},
        "step-count": 4,
        "progress": counts,
    }
    told = get(server, "api/workflows")["workflows"]["w"]
    assert told.pop("started") <= min(one["started"] or inf for one in attempts)
    assert told.pop("ended") >= max(one["ended"] or 0.0 for one in attempts)
    assert told == entry
    assert get(server, "api/workflows/w") == {
        "workflow": "w",
        "state": "error",
        "progress": counts,
        "failures": gaia.failures("w"),
        "waiting-inputs": ["d:none"],
    }
    assert get(server, "api/workflows/w")["failures"][0]["exit_code"] == 3
    graph = get(server, "api/workflows/w/graph")
    assert {key: graph[key] for key in gaia.graph("w")} == gaia.graph("w")
    assert get(server, "api/workflows/w/timeline") == gaia.timeline("w")
    assert all("usage" in one for one in get(server, "api/workflows/w/timeline")["attempts"])
    assert get(server, "api/workflows/w/explain?name=a") == gaia.explain("w", "a")
    assert get(server, "api/workflows/w/explain?name=d%3Aa") == gaia.explain("w", "d:a")
    assert len(gaia.reusable()) == 2
    assert get(server, "api/reusable") == gaia.reusable()


def test_names_of_all_kinds_can_be_asked_for(server: Server, gaia: Gaia) -> None:
    name, step = "a ?#%&+ü'<b>", "s/ä?&=#"
    gaia.upload(name, {}, COMMANDS, [{**A, "name": step}])
    gaia.wait(name, 30)
    quoted = "a%20%3F%23%25%26%2B%C3%BC%27%3Cb%3E"
    assert get(server, f"api/workflows/{quoted}")["state"] == "complete"
    told = requests.get(
        f"{server.url}api/workflows/{quoted}/explain", params={"name": step}, timeout=30
    ).json()
    assert told["step"] == step


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("api/workflows/nobody", 404, "'nobody'"),
        ("api/workflows/nobody/graph", 404, "'nobody'"),
        ("api/workflows/nobody/timeline", 404, "'nobody'"),
        ("api/workflows/w/explain?name=x", 404, "'x'"),
        ("api/workflows/w/explain", 400, "the parameter 'name' is missing"),
        ("api/workflows/w/log", 400, "the parameter 'step' is missing"),
        ("api/workflows/w/log?step=x", 404, "'x'"),
        ("api/workflows/w/log?step=a&from=-1", 400, "from is '-1'"),
        ("api/workflows/w/log?step=a&from=%C2%B2", 400, "from is '²'"),
        ("api/stream?workflow=nobody", 404, "'nobody'"),
        ("api/stream?follow=w&follow=nobody", 404, "'nobody'"),
        ("api/stream?workflow=w&follow=w", 400, "both 'workflow' and 'follow'"),
    ],
)
def test_missing_workflows_and_steps_are_named(
    server: Server, gaia: Gaia, path: str, status: int, says: str
) -> None:
    gaia.upload("w", {}, COMMANDS, [A])
    assert says in get(server, path, status)["error"]


def test_the_list_tells_when_a_workflow_ran(
    server: Server, gaia: Gaia, make_gaia: MakeGaia, tmp_path: Path, wait_until: WaitUntil
) -> None:
    def listed() -> Any:
        return get(server, "api/workflows")["workflows"]["w"]

    before = time.time()
    gaia.upload("w", {}, COMMANDS, [held(tmp_path / "fifo")])
    wait_until(lambda: listed()["progress"]["running"] == 1)
    assert before <= listed()["started"] <= time.time()
    assert listed()["ended"] is None
    let_go(tmp_path / "fifo")
    gaia.wait("w", 30)
    first = listed()
    assert first["started"] <= first["ended"] <= time.time()
    gaia.expire("w", ["h"])
    wait_until(lambda: listed()["progress"]["running"] == 1)
    assert listed()["started"] >= first["ended"]
    let_go(tmp_path / "fifo")
    gaia.wait("w", 30)
    told, root = listed(), gaia.root
    gaia.close()
    with Gaia({"root": str(root), "runtime": "process"}) as again:
        assert again.listed("w")["started"] is None
        assert again.listed("w")["ended"] == pytest.approx(told["ended"], abs=2.0)


def test_trouble_is_told(server: Server, gaia: Gaia) -> None:
    gaia.upload("w", {}, COMMANDS, [A])
    gaia.wait("w", 30)
    assert "error" not in get(server, "api/workflows/w")
    loop = gaia._opened.scheduler.loop
    with loop.lock:
        loop.workflows["w"].trouble = DatabaseError("the disk is full")
    assert get(server, "api/workflows/w")["error"] == "the disk is full"


def test_a_log_is_read_piece_by_piece_without_halves_of_characters(
    server: Server, gaia: Gaia, tmp_path: Path, wait_until: WaitUntil
) -> None:
    gaia.upload("w", {}, COMMANDS, [held(tmp_path / "fifo"), B])

    def log(step: str, start: int = 0) -> Any:
        return get(server, f"api/workflows/w/log?step={step}&from={start}")

    assert log("b") == {"text": "", "next": 0, "over": False, "task": None, "size": 0}
    wait_until(lambda: log("h")["text"] == "begun ä")
    first = log("h")
    assert first == {
        "text": "begun ä",
        "next": 8,
        "over": False,
        "task": gaia.attempt("w", "h")["task"],
        "size": 8,
    }
    with open(str(gaia.attempt("w", "h")["log"]), "ab") as file:
        file.write("→".encode()[:2])
    first["size"] = 10
    assert log("h") == first
    assert log("h", 8) == {**first, "text": ""}
    assert log("h", 7)["text"] == "\ufffd"  # from the middle of a character, which is no `next`
    let_go(tmp_path / "fifo")
    gaia.wait("w", 30)
    rest = log("h", 8)
    assert rest["over"] is True
    assert rest["text"].endswith("over\n")
    assert log("h", rest["next"]) == {**rest, "text": ""}
    assert log("h", 10_000) == {**rest, "text": ""}
    assert log("b")["over"] is True
    gaia.expire("w", ["h"])
    wait_until(lambda: log("h")["text"] == "begun ä")
    assert log("h")["task"] != first["task"]
    let_go(tmp_path / "fifo")
    gaia.wait("w", 30)


def test_a_long_log_comes_in_pieces(server: Server, gaia: Gaia) -> None:
    talk = {**FAIL, "command": ["sh", "-c", "seq 1 400000 | sed 's/$/ →/'"]}
    gaia.upload("w", {}, [talk], [F])
    gaia.wait("w", 60)
    whole, start, pieces = "", 0, 0
    while True:
        piece = get(server, f"api/workflows/w/log?step=f&from={start}")
        assert piece["next"] - start <= 1024 * 1024
        whole, start, pieces = whole + piece["text"], piece["next"], pieces + 1
        if piece["over"]:
            break
    assert whole == gaia.logs("w", "f")
    assert "\ufffd" not in whole
    assert pieces == -(-len(whole.encode()) // (1024 * 1024))


def test_the_page_is_served_with_headers_that_guard_it(server: Server) -> None:
    page = requests.get(server.url, timeout=30)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for answer in (
        page,
        requests.get(server.url + "api/workflows", timeout=30),
        requests.get(server.url + "none", timeout=30),
    ):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "path",
    [
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "a%00b",
        "a" * 5000,
    ],
)
def test_only_the_page_is_served(server: Server, path: str) -> None:
    host, _, port = urlsplit(server.url).netloc.partition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 404"), answer[:200]


def test_what_runs_is_measured_for_those_who_look_at_its_workflow(
    server: Server, gaia: Gaia, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaia.upload("w", {}, COMMANDS, [A])
    gaia.wait("w", 30)
    details = gaia.details
    usage: dict[str, LiveUsage] = {"a": {"memory": 1 << 20, "cpu": 0.5}}
    monkeypatch.setattr(gaia, "details", lambda name: {**details(name), "usage": usage})
    about = get(server, "api/workflows/w")
    assert about["usage"] == usage
    assert "usage" not in about["progress"]
    assert "usage" not in get(server, "api/workflows")["workflows"]["w"]["progress"]


# ------------------------------------------------------------------------------------ event streams


def test_a_stream_tells_the_whole_and_then_what_changed(
    server: Server, gaia: Gaia, tmp_path: Path
) -> None:
    gaia.upload("other", {}, COMMANDS, [A])
    gaia.wait("other", 30)
    gaia.upload("w", {}, COMMANDS, [A, B, held(tmp_path / "fifo")])
    with events(server, "?workflow=w") as told:
        first = told.next()
        assert first["workflows"].keys() == {"w", "other"}
        assert first["workflows"]["other"] == get(server, "api/workflows")["workflows"]["other"]
        assert first["steps"].keys() == {"a", "b", "h"}
        assert first["graph"] == gaia.graph("w")["version"]
        workflows, steps = first["workflows"], states_of(first["steps"])
        while not (workflows["w"]["progress"]["done"] == 2 and steps["h"] == "running"):
            change = told.next()
            assert "other" not in change["workflows"]
            workflows |= change["workflows"]
            assert "graph" not in change
            steps |= states_of(change["steps"])
        assert steps == {"a": "complete", "b": "complete", "h": "running"}
        let_go(tmp_path / "fifo")
        assert told.next()["steps"] == {"h": gaia.step_states("w")["h"]}


def test_a_stream_is_prompt(
    server: Server, gaia: Gaia, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """The median of ten changes: a busy machine may be late once, but not most of the time."""
    fifo = tmp_path / "fifo"
    gaia.upload("w", {}, COMMANDS, [held(fifo)])
    waits = []
    with events(server, "?workflow=w") as told:
        told.until(lambda workflows, steps: steps.get("h") == "running")
        for _ in range(10):
            let_go(fifo)
            gaia.wait("w", 30)
            began = time.monotonic()
            told.until(lambda workflows, steps: steps.get("h") == "complete")
            waits.append(time.monotonic() - began)
            gaia.expire("w", ["h"])
            told.until(lambda workflows, steps: steps.get("h") == "running")
        let_go(fifo)
        gaia.wait("w", 30)
    assert sorted(waits)[5] < 0.2


def test_many_changes_are_few_events(server: Server, gaia: Gaia) -> None:
    many = {
        **A,
        "vars": {"text": [str(n) for n in range(100)]},
        "outputs": {"result": "d:{{text}}"},
    }
    with events(server) as told:
        began = time.monotonic()
        gaia.upload("w", {}, COMMANDS, [many])
        number = told.until(
            lambda workflows, steps: workflows.get("w", {}).get("state") == "complete"
        )
        assert number <= 3 + (time.monotonic() - began) / feed.EVENT_PAUSE_SECONDS


def test_deleted_workflows_are_streamed_as_null(server: Server, gaia: Gaia) -> None:
    gaia.upload("w", {}, COMMANDS, [A])
    gaia.wait("w", 30)
    with events(server, "?workflow=w") as told:
        told.next()
        gaia.delete("w")
        last: dict[str, Any] = {}
        while last != {"workflows": {"w": None}, "steps": {"a": None}}:
            last = told.next()
    assert last["steps"] == {"a": None}


def test_a_stream_without_news_has_a_heartbeat(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    with events(server) as told:
        told.next()
        assert told.line() == ": nothing new"
        assert told.line() == ""
        assert told.line() == ": nothing new"


def test_a_stream_ends_with_its_client_and_with_its_server(
    gaia: Gaia, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    open_streams = 0
    subscribe = gaia.subscribe

    def counted(tell: Callable[..., None]) -> Callable[[], None]:
        nonlocal open_streams
        open_streams += 1
        unsubscribe = subscribe(tell)

        def one_less() -> None:
            nonlocal open_streams
            open_streams -= 1
            unsubscribe()

        return one_less

    monkeypatch.setattr(gaia, "subscribe", counted)
    with Server(gaia, port=0) as server:
        with events(server) as told:
            told.next()
            assert open_streams == 1
        wait_until(lambda: open_streams == 0)
        last = Events(server)
        last.next()
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert last.line() is None
    last.close()
    assert open_streams == 0


def test_a_stream_ends_when_its_gaia_was_closed(
    server: Server, gaia: Gaia, caplog: pytest.LogCaptureFixture
) -> None:
    gaia.upload("w", {}, COMMANDS, [A])
    gaia.wait("w", 30)
    with events(server) as told:
        told.next()
        other = Gaia({"root": gaia.path("w", "x").parents[2], "runtime": "process"})
        with closing(other):
            gaia.close()
            other.expire("w", ["a"])
            assert told.line() is None
    assert "an event stream ended: this Gaia was closed" in caplog.text


def test_half_requests_and_blocked_calls_do_not_delay_close(
    gaia: Gaia, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    blocked, go_on = threading.Event(), threading.Event()

    def block() -> dict[str, Any]:
        blocked.set()
        go_on.wait(60)
        return {}

    monkeypatch.setattr(server_module, "GRACE_SECONDS", 1)
    monkeypatch.setattr(gaia, "workflows", block)
    with Server(gaia, port=0) as server:
        host, _, port = urlsplit(server.url).netloc.partition(":")
        with (
            socket.create_connection((host, int(port)), 30) as half,
            socket.create_connection((host, int(port)), 30) as whole,
        ):
            head = f"POST /workflows HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            half.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            whole.sendall(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
            assert blocked.wait(30)
            began = time.monotonic()
            server.close()
            assert time.monotonic() - began < 5
            go_on.set()
            for connection in (half, whole):
                told = connection.makefile("rb").read()
                assert told.startswith(b"HTTP/1.1 503 ")
                assert told.endswith(
                    b'{"error": "the server is shutting down; '
                    b'check with status whether this call took effect"}'
                )


# --------------------------------------------------------------------------------------- in process


def test_the_application_can_be_called_in_process(gaia: Gaia) -> None:
    async def talk() -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(gaia, no_token=True))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:1") as talker:
            body = {"workflow": "w", "properties": {}, "commands": COMMANDS, "steps": [A]}
            return [
                await talker.post("/upload", json=body),
                await talker.get("/api/workflows/w"),
                await talker.get("/api/workflows", headers={"host": "elsewhere.org"}),
            ]

    uploaded, asked, refused = asyncio.run(talk())
    assert uploaded.json() == {"workflow": {"w": ["a"]}}
    assert asked.json()["workflow"] == "w"
    assert refused.status_code == 421


# ------------------------------------------------------------------------------------------- access


@pytest.mark.parametrize(
    ("header", "host", "right"),
    [
        ("localhost", "127.0.0.1", True),
        ("LocalHost:24442", "127.0.0.1", True),
        ("127.0.0.1:24442", "127.0.0.1", True),
        ("127.9.9.9", "127.0.0.1", True),
        ("[::1]:80", "127.0.0.1", True),
        ("evil.org", "127.0.0.1", False),
        ("localhost.evil.org", "127.0.0.1", False),
        ("127.0.0.1.evil.org:24442", "127.0.0.1", False),
        ("127.0.0.1@evil.org", "127.0.0.1", False),
        ("0.0.0.0:24442", "127.0.0.1", False),
        ("192.168.1.5", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("[::1]", "::1", True),
        ("192.168.1.5:80", "192.168.1.5", True),
        ("localhost", "192.168.1.5", True),
        ("192.168.1.6", "192.168.1.5", False),
        ("box.lan:24442", "Box.lan", True),
        ("evil.org", "box.lan", False),
        ("192.168.1.5:80", "0.0.0.0", True),
        ("[fe80::1]:80", "::", True),
        (socket.gethostname(), "0.0.0.0", True),
        ("evil.org", "0.0.0.0", False),
    ],
)
def test_host_headers(header: str, host: str, right: bool) -> None:
    assert answers_to(header, host) is right


def test_a_name_that_merely_resolves_to_this_machine_is_refused(server: Server) -> None:
    port = urlsplit(server.url).port
    for path in ("", "api/workflows", "page.css"):
        answer = requests.get(server.url + path, headers={"host": f"evil.org:{port}"}, timeout=30)
        assert answer.status_code == 421
        assert "'evil.org" in answer.json()["error"]
    assert get(server, "api/workflows", host=f"localhost:{port}") == {"workflows": {}}


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1", "evil.org"]])
def test_a_request_has_one_host(server: Server, hosts: list[str]) -> None:
    host, _, port = urlsplit(server.url).netloc.partition(":")
    lines = ["GET /api/workflows HTTP/1.0", *(f"Host: {host}" for host in hosts), "", ""]
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = connection.makefile("rb").read()
    assert answer.split(b" ")[1] in (b"400", b"421")
    assert b"workflows" not in answer


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
def test_content_types_of_forms_are_refused(server: Server, gaia: Gaia, kind: str) -> None:
    body = json.dumps({"workflow": "w", "properties": {}, "commands": COMMANDS, "steps": [A]})
    headers = {"content-type": kind}
    answer = requests.post(server.url + "upload", data=body.encode(), headers=headers, timeout=30)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["error"]
    assert gaia.workflows() == {"workflows": {}}


def test_a_request_without_a_content_type_is_read_as_json_as_old_clients_send_it(
    server: Server, gaia: Gaia
) -> None:
    body = json.dumps({"workflow": "w", "properties": {}, "commands": COMMANDS, "steps": [A]})
    answer = requests.post(server.url + "upload", data=body, timeout=30)
    assert "content-type" not in answer.request.headers
    assert answer.json() == {"workflow": {"w": ["a"]}}
    assert list(gaia.workflows()["workflows"]) == ["w"]


@pytest.mark.parametrize("mark", ["origin", "sec-fetch-site", "cookie"])
def test_a_browsers_request_without_a_content_type_is_refused(server: Server, mark: str) -> None:
    """A page can send a body without one; it can't leave these headers out."""
    given = {"origin": server.url.rstrip("/"), "sec-fetch-site": "same-origin", "cookie": "a=b"}
    url, headers = server.url + "workflows", {mark: given[mark]}
    assert requests.post(url, json={}, headers=headers, timeout=30).status_code == 200
    assert requests.post(url, data="{}", headers=headers, timeout=30).status_code == 415
    headers[mark] = ""
    answer = requests.post(url, data="{}", headers=headers, timeout=30)
    assert answer.status_code in (403, 415)


def test_another_sites_page_is_refused(server: Server, gaia: Gaia) -> None:
    port = urlsplit(server.url).port
    body = {"workflow": "w", "properties": {}, "commands": COMMANDS, "steps": [A]}
    others = (
        "null",
        "http://evil.org",
        f"http://evil.org:{port}",
        "http://127.0.0.1",
        f"https://127.0.0.1:{port}",
        "",
    )
    for origin in (*others, f"http://localhost:{port}"):
        answer = post(server, "upload", body, origin=origin)
        assert answer.status_code == 403, origin
        assert "Origin" in answer.json()["error"]
    preflight = requests.options(
        server.url + "upload", headers={"origin": "http://evil.org"}, timeout=30
    )
    assert preflight.status_code == 403
    assert "access-control-allow-origin" not in preflight.headers
    assert gaia.workflows() == {"workflows": {}}
    assert post(server, "upload", body, origin=f"http://127.0.0.1:{port}").status_code == 200
    assert (
        post(
            server, "workflows", {}, origin=f"http://localhost:{port}", host=f"localhost:{port}"
        ).status_code
        == 200
    )


def test_json_may_be_said_with_a_charset(server: Server) -> None:
    answer = requests.post(
        server.url + "workflows",
        data="{}",
        headers={"content-type": "Application/JSON; charset=utf-8"},
        timeout=30,
    )
    assert answer.json() == {"workflows": {}}


def test_long_bodies_are_refused(gaia: Gaia) -> None:
    with Server(gaia, port=0, max_body=10_000) as server:
        body = {"workflow": "w", "properties": {"x": "y" * 9_000}, "commands": [], "steps": []}
        assert post(server, "upload", body).status_code == 200
        body["properties"] = {"x": "y" * 12_000}
        # With its length told, and in chunks.
        for data in (json.dumps(body).encode(), iter([json.dumps(body).encode()])):
            answer = requests.post(server.url + "upload", data=data, headers=JSON, timeout=30)
            assert answer.status_code == 413
            assert "10000 bytes" in answer.json()["error"]
            assert "--max-body" in answer.json()["error"]
        waits = requests.post(
            server.url + "upload",
            data=b"x" * 20_000,
            headers={**JSON, "expect": "100-continue"},
            timeout=30,
        )
        assert waits.status_code == 413
        assert get(server, "api/workflows")["workflows"].keys() == {"w"}


def test_of_an_endless_body_little_is_read(gaia: Gaia) -> None:
    limit, taken = 1000, 0
    said: list[Any] = []

    async def receive() -> Any:
        nonlocal taken
        taken += 1000
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/workflows",
        "raw_path": b"/workflows",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }
    asyncio.run(
        asyncio.wait_for(create_app(gaia, no_token=True, max_body=limit)(scope, receive, send), 20)
    )
    assert said[0]["status"] == 413
    assert taken <= 10 * limit


# -------------------------------------------------------------------------------------------- token

TOKEN = "a-token+with/signs="


@pytest.fixture
def locked(gaia: Gaia) -> Iterator[Server]:
    with Server(gaia, port=0, token=TOKEN) as running:
        yield running


def test_with_a_token_every_call_needs_it(locked: Server) -> None:
    for path in ("api/workflows", "api/stream", "page.css", "none"):
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": TOKEN},
            {"cookie": f"gaia-local={TOKEN}"},
        ):
            answer = requests.get(locked.url + path, headers=headers, timeout=30)
            assert answer.status_code == 401
            assert "token" in answer.json()["error"]
            assert answer.headers["www-authenticate"] == "Bearer"
    assert requests.post(locked.url + "workflows", json={}, timeout=30).status_code == 401
    assert get(locked, "api/workflows", authorization=f"Bearer {TOKEN}") == {"workflows": {}}
    assert post(locked, "workflows", {}, authorization=f"bearer {TOKEN}").json() == {
        "workflows": {}
    }
    assert requests.get(f"{locked.url}api/workflows?token={TOKEN}", timeout=30).status_code == 401


def test_the_published_client_can_bring_a_token(locked: Server) -> None:
    netloc = urlsplit(locked.url).netloc
    assert Client({"gaia_host": f"me:{quote(TOKEN, safe='')}@{netloc}"}).workflows() == {
        "workflows": {}
    }
    with pytest.raises(requests.HTTPError, match="token"):
        Client({"gaia_host": f"me:wrong@{netloc}"}).workflows()
    for wrong in (
        "Basic",
        "Basic !",
        "Basic " + base64.b64encode(b"\xff").decode(),
        "Basic " + base64.b64encode(b":").decode(),
    ):
        get(locked, "api/workflows", 401, authorization=wrong)


def test_the_page_gets_the_token_once(locked: Server) -> None:
    with requests.Session() as browser:
        refused = browser.get(locked.url, timeout=30)
        assert refused.status_code == 401
        assert "/?token=TOKEN" in refused.text
        assert browser.get(locked.url, params={"token": "wrong"}, timeout=30).status_code == 401
        assert not browser.cookies
        entered = browser.get(
            locked.url, params={"token": TOKEN}, timeout=30, allow_redirects=False
        )
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/" in cookie
        assert TOKEN not in cookie
        assert browser.get(locked.url, timeout=30).status_code == 200
        assert browser.get(locked.url + "api/workflows", timeout=30).json() == {"workflows": {}}
        assert browser.post(locked.url + "workflows", json={}, timeout=30).status_code == 200
        assert (
            browser.post(
                locked.url + "workflows", json={}, headers={"origin": "http://evil.org"}, timeout=30
            ).status_code
            == 403
        )


@pytest.mark.parametrize(
    ("host", "token", "says"),
    [
        ("0.0.0.0", None, "--token"),
        ("192.168.77.77", None, "--token"),
        ("::", None, "--token"),
        ("127.0.0.1", "", "--token"),
        ("127.0.0.1", "with blank", "--token"),
        ("127.0.0.1", "ä", "--token"),
        ("nowhere.invalid", None, "'nowhere.invalid'"),
    ],
)
def test_beyond_the_loopback_a_token_is_required(
    gaia: Gaia, host: str, token: str | None, says: str
) -> None:
    with pytest.raises(GaiaError) as refused:
        Server(gaia, host, 0, token=token)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_server_on_all_addresses_has_a_token(gaia: Gaia) -> None:
    with Server(gaia, "0.0.0.0", 0, token=TOKEN) as server:
        port = urlsplit(server.url).port
        answer = requests.get(
            f"http://127.0.0.1:{port}/api/workflows",
            headers={"authorization": f"Bearer {TOKEN}"},
            timeout=30,
        )
        assert answer.json() == {"workflows": {}}
        assert requests.get(f"http://127.0.0.1:{port}/api/workflows", timeout=30).status_code == 401


def test_a_port_that_is_taken_is_told(gaia: Gaia, server: Server) -> None:
    port = urlsplit(server.url).port
    assert port is not None
    with pytest.raises(GaiaError, match=f"127.0.0.1 port {port}: another program listens there"):
        Server(gaia, port=port)
    for wrong in (-1, 65536):
        with pytest.raises(GaiaError, match="the port is out of range"):
            Server(gaia, port=wrong)


# --------------------------------------------------------------------------------- gaia-local serve


def states(url: str) -> dict[str, str]:
    found = requests.post(f"{url}workflows", json={}, timeout=30).json()["workflows"]
    return {name: row["state"] for name, row in found.items()}


def is_in_state(url: str, name: str, step: str, state: str) -> bool:
    graph = requests.get(f"{url}api/workflows/{name}/graph", timeout=30).json()
    return any(shown["step"] == step and shown["state"] == state for shown in graph["steps"])


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
)
def test_workflows_that_ran_are_resumed_by_the_next_server(
    number: signal.Signals, status: int, gaia_root: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    fifo, other = tmp_path / "fifo", tmp_path / "other"
    with Serving(gaia_root, "serve", "--port", "0") as first:
        url = first.url
        client = Client({"gaia_host": urlsplit(url).netloc})
        client.upload("w", {}, COMMANDS, [A, F, held(fifo)])
        client.upload("halted", {}, COMMANDS, [A, held(other)])
        for name, step, state in (
            ("w", "h", "running"),
            ("halted", "h", "running"),
            ("w", "f", "error"),
        ):
            wait_until(partial(is_in_state, url, name, step, state), 30)
        client.halt("halted")
        with requests.get(f"{url}api/stream", stream=True, timeout=30) as watching:
            lines = watching.iter_lines()
            assert next(lines) == b"retry: 1000"
            began = time.monotonic()
            first.process.send_signal(number)
            ended, out, err = first.end()
            assert time.monotonic() - began < 8
            if number != signal.SIGKILL:
                assert list(lines)[-1] == b""  # it came to its end, and wasn't cut off
        assert ended == status
        assert out == ""
        if number != signal.SIGKILL:
            assert re.search(r"The next `gaia-local .*serve` goes on with w\.", err)
    with Serving(gaia_root, "serve", "--port", "0") as second:
        url = second.url
        assert states(url) == {"w": "running", "halted": "halted"}
        client = Client({"gaia_host": urlsplit(url).netloc})
        wait_until(
            lambda: (
                requests.get(f"{url}api/workflows/w/log?step=h", timeout=30).json()["text"]
                == "begun ä"
            ),
            30,
        )
        let_go(fifo)
        wait_until(lambda: states(url)["w"] == "error", 30)
        second.process.terminate()
        assert second.end()[0] == 143
    with Gaia({"root": gaia_root}) as gaia:
        starts = [event["task"] for event in gaia.events("w") if event["event"] == "step-start"]
        # Failed Steps aren't tried again, and complete ones don't run.
        assert sorted(starts) == [
            "a",
            "f",
            "h",
            "h",
        ]
        assert gaia.path("w", "d:h").exists()
        assert gaia.status("halted")["state"] == "halted"


def test_a_container_that_outlived_its_server_is_taken_up(
    gaia_root: Path, docker_image: str, wait_until: WaitUntil
) -> None:
    nap = {
        **HOLD,
        "image": docker_image,
        "command": ["sh", "-c", "echo begun; sleep 5; echo over > /out/held"],
    }
    step = {"name": "h", "command": "hold", "outputs": {"held": "d:h"}}
    serve = ["--runtime", "docker", "serve", "--port", "0"]
    with Serving(gaia_root, *serve) as first:
        client = Client({"gaia_host": urlsplit(url := first.url).netloc})
        client.upload("w", {}, [nap], [step])
        wait_until(
            lambda: (
                requests.get(f"{url}api/workflows/w/log?step=h", timeout=30).json()["text"]
                == "begun\n"
            ),
            60,
        )
        task = requests.get(f"{url}api/workflows/w/log?step=h", timeout=30).json()["task"]
        first.process.kill()
        first.end()
    with Serving(gaia_root, *serve) as second:
        url = second.url
        wait_until(lambda: states(url) == {"w": "complete"}, 60)
        assert requests.get(f"{url}api/workflows/w/log?step=h", timeout=30).json()["task"] == task
        second.process.terminate()
        assert second.end()[0] == 143
    with Gaia({"root": gaia_root}) as gaia:
        assert sum(event["event"] == "container-create" for event in gaia.events("w")) == 1
        assert gaia.path("w", "d:h").read_text() == "over\n"


def test_a_second_signal_kills_now(gaia_root: Path, tmp_path: Path, wait_until: WaitUntil) -> None:
    stubborn = {
        **HOLD,
        "command": ["sh", "-c", "trap '' TERM INT; echo begun; while :; do sleep 0.1; done"],
    }
    patient = """
        from gaia_local import Gaia
        from gaia_local.cli import serving
        serving.open_gaia = lambda ctx: Gaia({**ctx.obj.config, "docker": {"stop_grace": 60}})
    """
    with Serving(gaia_root, "serve", "--port", "0", code=patient) as serving:
        url = serving.url
        client = Client({"gaia_host": urlsplit(url).netloc})
        client.upload(
            "w", {}, [stubborn], [{"name": "h", "command": "hold", "outputs": {"held": "d:h"}}]
        )
        wait_until(
            lambda: (
                requests.get(f"{url}api/workflows/w/log?step=h", timeout=30).json()["text"]
                == "begun\n"
            ),
            30,
        )
        serving.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            serving.process.wait(1)
        serving.process.terminate()
        assert serving.end(20)[0] == 143


def test_a_workflow_that_cannot_go_on_is_logged_and_the_server_goes_on(
    gaia_root: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    with Serving(gaia_root, "serve", "--port", "0") as first:
        client = Client({"gaia_host": urlsplit(first.url).netloc})
        client.upload("w", {}, COMMANDS, [held(tmp_path / "fifo")])
        wait_until(lambda: client.status("w", True)["status"]["tasks"], 30)
    with Serving(
        gaia_root, "--runtime", "docker", "serve", "--port", "0", DOCKER_HOST="tcp://127.0.0.1:1"
    ) as second:
        assert states(second.url) == {"w": "halted"}
        second.process.terminate()
        code, _, err = second.end()
    assert code == 143
    assert "workflow 'w' was running when the last engine ended, and can't be resumed" in err


def test_resume_of_an_orderly_end_in_process(
    make_gaia: MakeGaia, tmp_path: Path, wait_until: WaitUntil
) -> None:
    first = make_gaia()
    first.upload("w", {}, COMMANDS, [held(tmp_path / "fifo")])
    wait_until(lambda: first.progress("w")["running"] == 1)
    first.close(wait=False)
    second = make_gaia()
    assert second.status("w")["state"] == "halted"
    assert resume(second) == ["w"]
    assert resume(second) == []
    wait_until(lambda: second.progress("w")["running"] == 1)
    second.halt("w")
    assert resume(second) == []


def test_serve_prints_its_link_and_what_it_serves(gaia_root: Path) -> None:
    with Serving(gaia_root, "serve", "--port", "0") as serving:
        url = serving.url
        assert states(url) == {}
        assert requests.get(f"{url}none", timeout=30).status_code == 404
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), 10) as connection:
            connection.sendall(b"no http at all\r\n\r\n")
            assert b" 400 " in connection.makefile("rb").readline()
        serving.process.terminate()
        told = f"root: {gaia_root}; runtime: process; the status page is its /\n"
        assert (serving.served, *serving.end()) == (told, 143, "", "")


def test_debug_logs_requests_without_the_token(gaia_root: Path) -> None:
    with Serving(
        gaia_root, "--debug", "serve", "--port", "0", GAIA_LOCAL_TOKEN="secret-token"
    ) as serving:
        url = serving.url
        assert requests.get(f"{url}?token=secret-token", timeout=30).status_code == 200
        serving.process.terminate()
        code, out, err = serving.end()
    assert code == 143
    assert "GET /: 303" in err
    assert "GET /: 200" in err
    assert "secret" not in out + err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "--token"),
        (["--port", "65536"], "the port is out of range"),
        (["--max-body", "0"], "--max-body"),
        (["--token", "a b"], "--token"),
    ],
)
def test_bad_usage_of_serve(gaia_root: Path, arguments: list[str], says: str) -> None:
    with Serving(gaia_root, "serve", "--port", "0", *arguments) as serving:
        code, out, err = serving.end()
    assert (code, out) == (2, "")
    assert says in err
    assert not gaia_root.exists()


def test_a_root_in_use_is_refused_with_its_owners_pid(gaia: Gaia, gaia_root: Path) -> None:
    gaia.upload("w", {}, COMMANDS, [A])
    with Serving(gaia_root, "serve", "--port", "0") as serving:
        code, out, err = serving.end()
    assert (code, out) == (2, "")
    assert f"in use by process {os.getpid()}" in err


@pytest.mark.parametrize("library", ["starlette", "uvicorn"])
def test_without_the_extra_there_is_one_clear_error(gaia_root: Path, library: str) -> None:
    with Serving(
        gaia_root, "serve", code=f"import sys; sys.modules[{library!r}] = None"
    ) as serving:
        code, out, err = serving.end()
    assert (code, out) == (2, "")
    assert library in err
    assert "-m pip install 'anyio>=" in err
    assert not gaia_root.exists()

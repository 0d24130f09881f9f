"""The commands that show: graph, timeline, watch."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from gaia_local.cli.output import attempt_line
from gaia_local.cli.printing import last_written
from gaia_local.terminal_text import without_colours
from support.command_line import (
    CHECK,
    COPY,
    HOLD,
    SAY,
    WAITER,
    answer,
    call,
    end,
    here,
    on_a_terminal,
    start,
    upload,
    write,
)
from support.waiting import wait_until

__all__ = ["here"]  # a fixture for all tests


def plain(seen: str) -> str:
    """The text on a terminal without control sequences."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", seen)


# -------------------------------------------------------------------------------------------- graph


def test_a_graph_is_svg_unless_told_otherwise(here: Path) -> None:
    upload("crick_w", SAY, COPY, CHECK, WAITER, status=1)
    told = call("graph", "crick_w").stdout
    drawn = ET.fromstring(told)
    tips = [title.text or "" for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert "say\nCommand say\ncomplete" in tips
    assert "check\nCommand check\nerror" in tips
    assert "waiter\nCommand copy\nwaiting" in tips
    assert "say → copy\na:said.txt" in tips
    result = call("graph", "crick_w", "-o", "w.svg")
    assert "w.svg" in result.stderr
    assert result.stdout == ""
    assert (here / "w.svg").read_text(encoding="utf-8") == told


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (["-o", "x.png"], b"\x89PNG"),
        (["-o", "x.mmd"], b"flowchart TB\n"),
        (["-o", "x.dot"], b'digraph "w" {'),
        (["-o", "x.GV"], b'digraph "w" {'),
        (["-o", "x"], b"<svg "),
        (["-o", "x.txt", "--format", "mermaid"], b"flowchart TB\n"),
        (["-o", "x", "--format", "png"], b"\x89PNG"),
    ],
)
def test_the_format_is_what_was_said_or_what_the_name_says(
    arguments: list[str], begins: bytes
) -> None:
    upload("w", SAY, COPY)
    call("graph", "w", *arguments)
    assert Path(arguments[1]).read_bytes().startswith(begins)


def test_a_graph_can_be_grouped() -> None:
    upload(
        "w", SAY, *({**COPY, "name": f"copy-{n}", "outputs": {"to": f"a:{n}"}} for n in range(20))
    )
    assert "×20" in call("graph", "w").stdout
    assert "copy-3\nCommand copy\ncomplete" in call("graph", "w", "--no-group").stdout
    grouped = call("graph", "w", "--group").stdout
    assert "copy\n20 Steps: 20 complete" in grouped
    assert "20 edges" in call("graph", "w", "--group", "--format", "dot").stdout
    assert (
        call("graph", "w", "--format", "mermaid").stdout.count(" --&gt; ".replace("&gt;", ">"))
        == 20
    )
    assert answer("graph", "w", "--json")["steps"][0] == {
        "step": "say",
        "command": "say",
        "state": "complete",
    }


def test_the_groups_and_the_direction_of_a_graph_can_be_chosen() -> None:
    upload(
        "w", SAY, *({**COPY, "name": f"copy-{n}", "outputs": {"to": f"a:{n}"}} for n in range(20))
    )
    grouped = call("graph", "w", "--by", "name").stdout
    assert "copy-*\n20 Steps: 20 complete" in grouped
    assert re.search(r"20 Steps, [\d.]+ (m?s|min) in all, median ", grouped)
    assert "copy-#42;" in call("graph", "w", "--by", "name", "--format", "mermaid").stdout
    sides = [
        [float(side) for side in re.findall(r'(?:width|height)="([\d.]+)" ', told)[:2]]
        for told in (
            call("graph", "w", "--group", "--direction", way).stdout for way in ("down", "right")
        )
    ]
    assert sides[0] != sides[1]
    for arguments, says in (
        (("--by", "size"), "give one of command, composite, name"),
        (("--by", "name", "--no-group"), "--no-group groups nothing"),
        (("--direction", "up"), "'up'"),
        (("--direction", "down", "--format", "dot"), "--direction is for svg and png"),
    ):
        told = re.sub(r"[\s│]+", " ", call("graph", "w", *arguments, status=2).stderr)
        assert says in told
        assert "Traceback" not in told


def test_a_png_goes_into_a_pipe_but_not_to_a_terminal() -> None:
    upload("w", SAY)
    ran = subprocess.run(
        [sys.executable, "-m", "gaia_local", "graph", "w", "--format", "png"],
        capture_output=True,
        check=True,
    )
    assert ran.stdout.startswith(b"\x89PNG")
    seen = on_a_terminal(["graph", "w", "--format", "png"], {}, status=2)
    assert "give -o FILE" in re.sub(r"[\s│]+", " ", plain(seen))
    assert "PNG\r\n" not in seen


@pytest.mark.parametrize("command", ["graph", "timeline"])
def test_an_unwritable_picture_is_refused(command: str, here: Path) -> None:
    upload("w", SAY)
    told = re.sub(r"[\s│]+", " ", call(command, "w", "-o", "nowhere/w.svg", status=2).stderr)
    assert "nowhere/w.svg" in told
    assert "No such file or directory" in told
    assert "nobody" in call(command, "nobody", "-o", "w.svg", status=2).stderr
    assert not (here / "w.svg").exists()
    assert "Traceback" not in call(command, "w", "--format", "gif", status=2).stderr


def test_a_library_that_is_missing_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    upload("w", SAY)
    monkeypatch.setitem(sys.modules, "igraph", None)
    told = call("graph", "w", status=2).stderr
    assert "-m pip install 'font-roboto>=" in told
    assert call("graph", "w", "--format", "dot").stdout.startswith("digraph")


# ----------------------------------------------------------------------------------------- timeline


def test_a_timeline_is_a_page_or_an_svg(here: Path) -> None:
    upload("crick_w", SAY, COPY, CHECK, status=1)
    page = call("timeline", "crick_w").stdout
    assert page.startswith("<!doctype html>")
    assert "check\nCommand check\nerror, exit code 3" in page
    call("timeline", "crick_w", "-o", "w.svg")
    assert (
        ET.parse(here / "w.svg")
        .getroot()
        .attrib["aria-label"]
        .startswith("What ran when in the workflow crick_w: 3 attempts")
    )
    call("timeline", "crick_w", "-o", "w.html")
    assert (here / "w.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert call("timeline", "crick_w", "--format", "svg").stdout.startswith("<svg ")
    told = answer("timeline", "crick_w", "--json")
    assert [attempt["step"] for attempt in told["attempts"]] == ["say", "check", "copy"]
    assert {attempt["worker"] for attempt in told["attempts"]} <= set(
        range(1, (os.cpu_count() or 1) + 1)
    )


# -------------------------------------------------------------------------------------------- watch


def test_watch_tells_in_lines_what_another_process_runs(here: Path) -> None:
    owner = start("upload", "w", *write(HOLD, COPY, SAY, {**WAITER, "inputs": {"from": "a:held"}}))
    wait_until((here / "begun").exists, 60)
    wait_until((here / "gaia-data/storage/w/a/copied.txt").exists, 60)
    watcher = start("watch", "w")
    assert watcher.stdout is not None
    assert re.match(r"w: running, [12] of 4 Steps done", watcher.stdout.readline())
    assert re.fullmatch(r"\d\d:\d\d:\d\d  hold started: new\n", watcher.stdout.readline())
    (here / "go").touch()
    out, err = end(watcher, 0)
    end(owner, 0)
    told = [line[10:] for line in out.splitlines()]
    assert any(re.fullmatch(r"hold is complete after \S+ (ms|s)", line) for line in told)
    assert any(re.fullmatch(r"waiter is complete after \S+ (ms|s)", line) for line in told)
    assert out.endswith("w: complete, 4 of 4 Steps done\n")
    assert err == ""


def test_watch_ends_as_run_does_and_starts_nothing() -> None:
    upload("w", SAY, CHECK, status=1)
    before = answer("events", "w", "--json")
    told = call("watch", "w", status=1).stdout
    assert told.startswith("w: error, 1 of 2 Steps done, 1 failed\n")
    assert "Step 'check' failed with exit code 3" in told
    assert answer("events", "w", "--json") == before
    upload("v", SAY)
    assert "v: complete" in call("watch", "v").stdout
    assert "nobody" in call("watch", "nobody", status=2).stderr


def test_watch_can_be_left_and_what_runs_goes_on(here: Path) -> None:
    owner = start("upload", "w", *write(HOLD))
    wait_until((here / "begun").exists, 60)
    watcher = start("watch", "w")
    assert watcher.stdout is not None
    watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    _, err = end(watcher, 130)
    assert "Traceback" not in err
    assert answer("status", "w", "--json")["state"] == "running"
    (here / "go").touch()
    end(owner, 0)


def test_a_terminal_sees_a_table_that_lives(here: Path) -> None:
    chatty = (
        "printf '\\033[31mred\\033[0m 10%%\\r20%%\\n'; "
        ': > "$BEGUN"; while [ ! -e "$GO" ]; do sleep 0.02; done'
    )
    command = {
        "name": "chat",
        "image": "busybox",
        "command": ["sh", "-c", chatty],
        "outputs": {"said": ">"},
    }
    Path("c.json").write_text(json.dumps([command]))
    Path("s.json").write_text(
        json.dumps([{"name": "chat", "command": "chat", "outputs": {"said": "a:x"}}])
    )
    owner = start("upload", "w", "--commands", "c.json", "--steps", "s.json")
    wait_until((here / "begun").exists, 60)
    seen = on_a_terminal(["watch", "w"], {}, "20%", signal.SIGINT, status=130)
    assert re.search(r"w +━+ +0 of 1 Steps done, 1 running", plain(seen))
    assert re.search(r"▶ chat +[\d.]+ m?s( +[\d.]+ m?s CPU, [\d.]+ MB)? +20%", plain(seen))
    assert "\x1b[31m" not in seen.partition("20%")[2].partition("\r\n")[0]
    assert "10%" not in plain(seen)
    (here / "go").touch()
    seen = on_a_terminal(["watch", "w"], {})
    assert "w: complete, 1 of 1 Steps done" in plain(seen)
    end(owner, 0)


def test_a_terminal_of_few_lines_shows_some_and_says_how_many_more(here: Path) -> None:
    held = [{**HOLD, "name": f"hold-{n:02d}", "outputs": {"held": f"a:{n}"}} for n in range(12)]
    owner = start("--workers", "12", "upload", "w", *write(CHECK, *held))
    wait_until((here / "begun").exists, 60)
    wait_until(lambda: answer("status", "w", "--json")["progress"]["running"] == 12, 60)
    seen = on_a_terminal(["watch", "w"], {"LINES": "12"}, "more run", signal.SIGINT, status=130)
    shown = plain(seen)
    assert len(set(re.findall(r"▶ (hold-\d\d)", shown))) == 5
    assert "… and 7 more run" in shown
    assert "✗ Step 'check' failed with exit code 3" in shown
    (here / "go").touch()
    end(owner, 1)


# ----------------------------------------------------------------------------------------- in lines


def attempt(**facts: Any) -> dict[str, Any]:
    told = {
        "step": "s",
        "state": "complete",
        "reason": "new",
        "started": 10.0,
        "ended": 12.5,
        "exit_code": 0,
    }
    return {**told, "message": None, **facts}


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (attempt(), "s is complete after 2.5 s"),
        (attempt(state="running", ended=None), "s started: new"),
        (
            attempt(state="error", exit_code=3, message="exit code 3"),
            "Step 's' failed with exit code 3 after 2.5 s",
        ),
        (
            attempt(state="exception", exit_code=None, message="no image"),
            "Step 's' could not be run: no image after 2.5 s",
        ),
        (attempt(state="cancelled", message="halted"), "s was cancelled after 2.5 s: halted"),
        (attempt(state="cancelled", started=None, message="halted"), "s was cancelled: halted"),
        (
            attempt(state="interrupted", message="the engine ended"),
            "s was interrupted after 2.5 s: the engine ended",
        ),
    ],
)
def test_an_attempts_outcome_is_one_line(told: dict[str, Any], line: str) -> None:
    assert attempt_line(told)[10:] == line


def test_a_line_of_a_log_is_harmless() -> None:
    assert without_colours(last_written("\x1b[31mred\x1b[0m and\x07more")) == r"red and\x07more"
    assert last_written("10%\r20%\r") == "20%"

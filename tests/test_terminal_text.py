"""Escaping of characters that control a terminal, or that mislead a reader."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaia_local.cli import completing
from gaia_local.model import names
from gaia_local.model.commands import Command
from gaia_local.model.names import check_key
from gaia_local.model.steps import Step
from gaia_local.model.workflows import check_workflow_name
from gaia_local.pictures import dot, draw, mermaid
from gaia_local.pictures.tables import workflows_table
from gaia_local.pictures.timeline import arrange, html, svg
from gaia_local.terminal_text import LINES, escaped, holds_controls
from support.command_line import call, end, here, on_a_terminal, start, write

__all__ = ["here"]

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
TITLE = "\x1b]0;owned\x07"
"""It gives a terminal's window another title."""
EVIL = f"{TITLE}\x1b[2J\x9b2J\x7f\r\x08{BIDI}"
RED, OFF = "\x1b[31m", "\x1b[0m"
OWN = re.compile(r"\r?\x1b\[(?:[\d;]*m|2K|1A|\?25[lh])|\r\n")
"""The sequences of our own progress and colours: they move the cursor, and set colours."""
SAY: dict[str, Any] = {
    "name": "say",
    "image": f"busy{EVIL}box",
    "command": ["sh", "-c", "cat evil; exit $0", "{{code}}", "{{text}}"],
    "outputs": {"said": ">"},
}


def steps(code: int) -> list[dict[str, Any]]:
    return [
        {
            "name": "say",
            "command": "say",
            "outputs": {"said": "a:said"},
            "vars": {"code": code, "text": EVIL},
        }
    ]


def make(code: int, log: str = f"{RED}red{OFF}\tand {EVIL}\nlast\n") -> list[str]:
    """The files of a workflow whose Step prints `log`; answers the options that name them."""
    options = write()
    Path("evil").write_bytes(log.encode())
    command = {
        **SAY,
        "command": ["sh", "-c", f"cat '{Path('evil').absolute()}'; exit $0", *SAY["command"][3:]],
    }
    Path("commands.json").write_text(json.dumps([command]))
    Path("steps.json").write_text(json.dumps(steps(code)))
    return options


def seen(*arguments: str, status: int = 0, **environment: str) -> str:
    """The text that a terminal gets, without our colours and movements, its only controls."""
    text = OWN.sub("\n", on_a_terminal(list(arguments), environment, status=status))
    assert not holds_controls(text.replace("\n", "").replace("\t", "")), repr(text)
    return text


# ----------------------------------------------------------------------------------------- the text


def test_controls_are_written_as_python_writes_them() -> None:
    assert escaped("a\x1b\x07\x9b\x7f\r\n\t\u202eb") == r"a\x1b\x07\x9b\x7f\r\n\t\u202eb"
    assert escaped("a\n\tb\r", LINES) == "a\n\tb\\r"
    assert escaped(f"{RED}x{OFF}\x1b[2J", colours=True) == f"{RED}x{OFF}\\x1b[2J"
    assert escaped("\x1b[38:2::1:2:3mx", colours=True) == "\x1b[38:2::1:2:3mx"
    assert escaped("naïve ✓ שלום \u00ad\u200d\ufffd") == "naïve ✓ שלום \u00ad\u200d\ufffd"


@given(st.text(), st.booleans())
def test_escaped_text_holds_no_control_characters(text: str, colours: bool) -> None:
    shown = escaped(text, LINES, colours)
    assert not holds_controls(
        re.sub(r"\x1b\[[0-9;:]*m|[\n\t]", "", shown)
        if colours
        else shown.replace("\n", "").replace("\t", "")
    )
    assert escaped(escaped(text)) == escaped(text)


# -------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("control", [*BIDI, "\x1b", "\x9b", "\x7f"])
def test_names_that_mislead_are_refused(control: str) -> None:
    name = f"a{control}b"
    for refused in (
        lambda: check_workflow_name(name),
        lambda: check_key("w", f"b:{name}"),
        lambda: check_key("w", f"{name}:b"),
        lambda: Command.parse("w", {**SAY, "name": name}),
        lambda: Step.parse("w", {**steps(0)[0], "name": name}),
        lambda: Step.parse("w", {**steps(0)[0], "outputs": {"said": name}}),
    ):
        with pytest.raises(
            Exception,
            match="control character, or one that changes the direction of text; leave it out",
        ) as told:
            refused()
        assert not holds_controls(str(told.value))


def test_a_key_that_a_var_turns_is_refused(make_gaia: Any) -> None:
    gaia = make_gaia()
    step = {
        **steps(0)[0],
        "outputs": {"said": "a:{{text}}"},
        "vars": {"text": "x\u202ey", "code": 0},
    }
    with pytest.raises(Exception, match=r"'a:x\\u202ey'.*changes the direction"):
        gaia.upload("w", {}, [SAY], [step])
    assert gaia.workflows() == {"workflows": {}}


def test_names_that_were_stored_before_they_were_refused_can_be_read_and_deleted(
    make_gaia: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaia = make_gaia()
    command = {
        "name": "c\u202e",
        "image": "i",
        "command": ["sh", "-c", "echo > /out/r"],
        "outputs": {"r": "/out/r"},
    }
    step = {
        "name": "s\u202e",
        "command": "c\u202e",
        "outputs": {"r": "d:{{x}}"},
        "vars": {"x": ["k\u202e"]},
    }
    with monkeypatch.context() as before:
        before.setattr(names, "holds_controls", lambda text: False)
        for name in ("w", "v\u202e"):
            gaia.upload(name, {}, [command], [step])
            assert gaia.wait(name, 30)["state"] == "complete"
    gaia.close()
    gaia = make_gaia()
    assert gaia.status("w")["state"] == "complete"
    gaia.expire("w", ["s\u202e"])
    assert gaia.wait("w", 30)["state"] == "complete"
    for name in ("w", "v\u202e"):
        gaia.delete(name, data=True)
    assert gaia.workflows() == {"workflows": {}}


def test_a_shell_is_offered_no_controls() -> None:
    assert completing._fitting(["ab", "a\x1b[2Jb", "a\u202eb"], "a") == ["ab"]


# --------------------------------------------------------------------------------------- a terminal


@pytest.mark.parametrize("code", [0, 3])
def test_a_terminal_is_steered_by_nothing_that_a_workflow_holds(code: int) -> None:
    shown = seen("upload", "w", *make(code), status=bool(code))
    if code:
        assert (
            r"red	and \x1b]0;owned\x07\x1b[2J" in shown.replace("     ", "\t")
            or r"\x1b]0;owned" in shown
        )
    for arguments in (
        ["status", "w"],
        ["explain", "w", "say"],
        ["events", "w"],
        ["explain", "w", "a:said"],
        ["workflows"],
    ):
        seen(*arguments)
    assert r"\x1b]0;owned\x07\x1b[2J\x9b2J\x7f\r\x08\u061c" in seen("explain", "w", "say")
    seen("watch", "w", status=bool(code))
    seen("run", "w", status=bool(code))
    seen("expire", "w", "say", "--dry-run")


def test_a_terminal_gets_a_log_that_it_need_not_obey() -> None:
    end(start("upload", "w", *make(0)), 0)
    shown = on_a_terminal(["logs", "w", "say"], {})
    assert shown.startswith(f"{RED}red{OFF}\tand \\x1b]0;owned\\x07\\x1b[2J")
    assert shown.endswith(f"\nlast\r\n{OFF}")
    assert on_a_terminal(["logs", "w", "say", "-f"], {}) == shown
    assert TITLE in on_a_terminal(["logs", "w", "say", "--raw"], {})


def test_a_pipe_gets_the_bytes_of_a_log() -> None:
    options = make(0)
    Path("evil").write_bytes(b"\xff\x00\x1b[2J\r\n\xc3")
    end(start("upload", "w", *options), 0)
    for more in ([], ["-f"], ["--raw"]):
        program = [sys.executable, "-m", "gaia_local", "logs", "w", "say", *more]
        assert (
            subprocess.run(program, capture_output=True, timeout=60, check=True).stdout
            == b"\xff\x00\x1b[2J\r\n\xc3"
        )


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["plain", "with a traceback"])
def test_errors_do_not_steer_a_terminal(debug: list[str]) -> None:
    options = make(0)
    status = 1 if debug else 2
    seen(*debug, "run", f"no{EVIL}body", status=status)
    seen(*debug, "upload", f"no{EVIL}body", *options, status=status)
    Path("steps.json").write_text(json.dumps([{**steps(0)[0], "command": f"x{EVIL}"}]))
    seen(*debug, "upload", "w", *options, status=status)
    Path("steps.yaml").write_text(f"- name: {BIDI}\n  x: [\n")
    assert "steps.yaml" in seen(
        "upload", "w", "--commands", "commands.json", "--steps", "steps.yaml", status=2
    )
    seen("upload", "w", "--commands", f"none{EVIL}", "--steps", "steps.json", status=2)


def test_warnings_do_not_steer_a_terminal() -> None:
    options = make(0)
    Path("steps.json").write_text(json.dumps([{**steps(0)[0], f"odd{EVIL}": 1}]))
    assert "means nothing here" in seen("upload", "w", *options)


def test_a_command_that_is_printed_does_not_steer_a_terminal() -> None:
    end(start("upload", "w", *make(0)), 0)
    Path("pull.py").write_text("from gaia_local import Gaia\nGaia({}).pull_inputs('w', 'say')\n")
    assert r"\x1b]0;owned" in seen("exec", "pull.py")


def test_names_are_not_read_as_emoji() -> None:
    options = write(
        {"name": "say", "command": "copy", "inputs": {"from": "a:bug:x"}, "outputs": {"to": "a:x"}}
    )
    call("upload", "w", *options, status=1)
    assert "a:bug:x, expected at" in call("status", "w").stdout


# ----------------------------------------------------------------------------------------- pictures


def test_pictures_and_timelines_turn_no_text() -> None:
    name = f"s{BIDI}\x1b"
    step = {"step": name, "command": name, "state": "complete"}
    told = {
        "workflow": name,
        "state": "complete",
        "steps": [step],
        "edges": [{"from": name, "to": name, "keys": [name]}],
    }
    attempt = {
        **step,
        "task": "t",
        "reason": name,
        "worker": 1,
        "queued": 1.0,
        "started": 1.0,
        "ended": 2.0,
        "exit_code": 0,
    }
    timeline = {"workflow": name, "attempts": [{**attempt, "message": name}]}
    counts = {"state": "complete", "steps": 1, "done": 1, "running": 0, "failed": 0, "waiting": 0}
    pictures = (
        draw(told).svg,
        draw(told, group=True).svg,
        mermaid(told),
        dot(told),
        html(timeline, 3.0),
        svg(arrange(timeline, 3.0)),
    )
    for text in (*pictures, workflows_table(name, {name: counts})):
        assert not holds_controls(text.replace("\n", "").replace("\t", ""))
        assert "\ufffd" in text

"""Names that programs give their files: any bytes are legal, and no message breaks on them."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.errors import GaiaError
from gaia_local.terminal_text import escaped, holds_controls
from support.fixtures import MakeGaia

NAMES = {
    "not UTF-8": b"x\xff",
    "two lines": b"x\ny",
    "a sequence for terminals": b"\x1b[31mx",
    "a change of direction": "x\u202ey".encode(),
}
EVIL = {
    "a link's text": 'ln -s "/nowhere/$name" /out/x',
    "a link in a directory": 'mkdir -p /out/d; ln -s "/nowhere/$name" "/out/d/$name"',
    "a FIFO": 'mkdir -p /out/d; mkfifo "/out/d/$name"',
}


def ways(fewer: Collection[str]) -> pytest.MarkDecorator:
    """Runtimes and names: all of them with processes, and `fewer` with the slow containers."""
    return pytest.mark.parametrize(
        ("runtime", "inputs", "name"),
        [
            pytest.param(runtime, inputs, name, id=f"{runtime}, {inputs}, {words}")
            for runtime, inputs in (("process", "copy"), ("docker", "copy"), ("docker", "mount"))
            for words, name in NAMES.items()
            if runtime == "process" or f"{inputs}, {words}" in fewer
        ],
    )


@pytest.fixture
def config(runtime: str, inputs: str) -> dict[str, Any]:
    return {"runtime": runtime, "docker": {"inputs": inputs}, "watch": False}


@pytest.fixture
def image(request: pytest.FixtureRequest, runtime: str) -> str:
    return str(request.getfixturevalue("docker_image")) if runtime == "docker" else "i"


def shell(name: bytes, command: str) -> list[str]:
    """A program that has this name in a variable; tokens themselves must be text."""
    octal = "".join(f"\\{byte:03o}" for byte in name)
    return ["sh", "-c", f"set -e; name=$(printf {shlex.quote(octal)}); {command}"]


def check_answers(gaia: Gaia, *steps: str) -> str:
    """All answers about a workflow, which hold nothing that needs to be escaped, as JSON.

    Only logs are as they were printed.
    """
    events = [{**event, "log": ""} for event in gaia.events("w")]
    answers: list[Any] = [
        gaia.status("w", debug=True),
        events,
        gaia.failures("w"),
        gaia.timeline("w"),
        gaia.workflows(),
        *(gaia.explain("w", step) for step in steps),
    ]
    text = json.dumps(answers, ensure_ascii=False)
    assert not holds_controls(text), ascii(text)
    text.encode()
    return text


@ways(fewer=["copy, not UTF-8"])
@pytest.mark.parametrize("evil", EVIL)
def test_a_failure_that_names_a_file_is_recorded(
    make_gaia: MakeGaia, image: str, config: dict[str, Any], evil: str, name: bytes
) -> None:
    """One Step fails, and the next runs."""
    gaia = make_gaia(**config)
    commands: list[dict[str, Any]] = [
        {
            "name": "evil",
            "image": image,
            "command": shell(name, EVIL[evil]),
            "outputs": {"d": "/out/d/"} if "/out/d" in EVIL[evil] else {"x": "/out/x"},
        },
        {
            "name": "good",
            "image": image,
            "command": ["sh", "-c", "echo > /out/x"],
            "outputs": {"x": "/out/x"},
        },
    ]
    outputs = {"d": "b:d/"} if "/out/d" in EVIL[evil] else {"x": "b:x"}
    gaia.upload(
        "w",
        {},
        commands,
        [
            {"name": "evil", "command": "evil", "outputs": outputs},
            {"name": "good", "command": "good", "outputs": {"x": "b:good"}},
        ],
    )
    assert gaia.wait("w", 60)["state"] == "error"
    assert [failure["step"] for failure in gaia.failures("w")] == ["evil"]
    message = gaia.failures("w")[0]["message"]
    assert message is not None
    check_answers(gaia, "evil", "good")
    given = os.fsdecode(name)
    assert escaped(given) in message or repr(given)[1:-1] in message
    told = gaia.status("w", debug=True)
    gaia.close()
    again = make_gaia(**config)
    assert again.status("w", debug=True) == told
    assert again.failures("w")[0]["message"] == message
    again.delete("w", data=True)
    assert again.workflows() == {"workflows": {}}
    again.close()


@ways(fewer=["copy, not UTF-8", "mount, not UTF-8", "mount, two lines"])
def test_directories_with_such_files_are_stored_read_and_explained(
    make_gaia: MakeGaia, image: str, config: dict[str, Any], name: bytes
) -> None:
    gaia = make_gaia(**config)
    make = 'mkdir "/out/d/$name.d"; echo 1 > "/out/d/$name.d/$name"; echo 2 > "/out/d/$name"'
    read = 'cat "/in/d/$name.d/$name" "/in/d/$name" > /out/read'
    commands = [
        {"name": "make", "image": image, "command": shell(name, make), "outputs": {"d": "/out/d/"}},
        {
            "name": "read",
            "image": image,
            "command": shell(name, read),
            "inputs": {"d": "/in/d/"},
            "outputs": {"read": "/out/read"},
        },
    ]
    steps = [
        {"name": "make", "command": "make", "outputs": {"d": "b:d/"}},
        {"name": "read", "command": "read", "inputs": {"d": "b:d/"}, "outputs": {"read": "b:read"}},
    ]
    gaia.upload("w", {}, commands, steps)
    assert gaia.wait("w", 60)["state"] == "complete", gaia.failures("w")
    assert gaia.path("w", "b:read").read_text() == "1\n2\n"
    made = os.fsencode(gaia.path("w", "b:d/"))
    os.unlink(made + b"/" + name)
    check_answers(gaia, "make", "read")
    gaia.run("w")
    assert gaia.wait("w", 60)["state"] == "complete", gaia.failures("w")
    assert gaia.path("w", "b:read").read_text() == "1\n2\n"
    shown = json.dumps(escaped(os.fsdecode(name)), ensure_ascii=False)[1:-1]
    reasons = [event["reason"] for event in gaia.events("w") if event["event"] == "step-start"]
    assert any(escaped(os.fsdecode(name)) in reason for reason in reasons), reasons
    with open(made + b"/" + name, "w") as file:  # the user edits a result
        file.write("3\n")
    assert shown in check_answers(gaia, "make", "read")
    told = gaia.status("w", debug=True)
    gaia.close()
    again = make_gaia(**config)
    assert again.status("w", debug=True) == told
    again.run("w")
    assert again.wait("w", 60)["state"] == "complete", again.failures("w")
    assert again.path("w", "b:read").read_text() == "1\n3\n"
    check_answers(again, "make", "read")
    again.delete("w", data=True)
    assert not os.path.exists(made)


def test_names_of_the_users_own_must_be_text(make_gaia: MakeGaia) -> None:
    gaia = make_gaia(watch=False)
    command = {"name": "c", "image": "i", "command": ["true"], "outputs": {"x": "/out/x"}}
    step = {"name": "s", "command": "c", "outputs": {"x": "b:x"}}
    bad = "a\udcff"
    gaia.command("w", [command])
    for call in (
        lambda: gaia.upload(bad, {}, [command], [step]),
        lambda: gaia.merge("w", [{**step, "name": bad}]),
        lambda: gaia.merge("w", [{**step, "outputs": {"x": f"b:{bad}"}}]),
        lambda: gaia.command("w", [{**command, "name": bad}]),
        lambda: gaia.command("w", [{**command, "outputs": {"x": f"/out/{bad}"}}]),
        lambda: gaia.command("w", [{**command, "command": [bad]}]),
        lambda: gaia.command("w", [{**command, "image": bad}]),
        lambda: gaia.expire("w", [bad]),
        lambda: gaia.run(bad),
        lambda: gaia.status(bad),
        lambda: gaia.halt(bad),
        lambda: gaia.explain("w", bad),
        lambda: gaia.explain(bad, "s"),
        lambda: gaia.events(bad),
        lambda: gaia.wait(bad, 1),
        lambda: gaia.delete(bad),
        lambda: gaia.path("w", bad),
        lambda: gaia.path(bad, "b:x"),
        lambda: gaia.failures(bad),
        lambda: gaia.merge(bad, [step]),
    ):
        with pytest.raises(GaiaError) as refused:
            call()
        str(refused.value).encode()
        assert "udcff" in str(refused.value) or "xff" in str(refused.value)
    assert [*gaia.workflows()["workflows"]] == ["w"]


def test_a_workflows_properties_may_hold_any_text(make_gaia: MakeGaia) -> None:
    gaia = make_gaia(watch=False)
    gaia.upload("w", {"odd": "a\udcff"}, [], [])
    gaia.close()
    gaia = make_gaia(watch=False)
    assert gaia.workflows()["workflows"]["w"]["properties"]["odd"] == "a\udcff"


def test_an_error_and_a_log_record_can_be_written_to_any_stream(tmp_path: Path) -> None:
    assert str(GaiaError("a\udcff\x1b[2J\n\u202e")) == "a\\xff\\x1b[2J\n\\u202e"
    stream = tmp_path / "log"
    with stream.open("w", encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger = logging.getLogger("gaia_local")
        logger.addHandler(handler)
        try:
            logger.warning("%s is odd", "a\udcff\x1b")
            try:
                raise ValueError("b\udcff")
            except ValueError:
                logger.exception("it failed")
        finally:
            logger.removeHandler(handler)
    lines = stream.read_text().splitlines()
    assert lines[0] == "a\\xff\\x1b is odd"
    assert lines[-1] == "ValueError: b\\xff"

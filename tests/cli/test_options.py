"""The options of the whole program: before or after the command, and named in its messages."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import typer.main

from gaia_local.cli import app
from gaia_local.cli.options import Options, options_again, with_options_named
from support.command_line import HOLD, SAY, call, end, here, on_a_terminal, start, upload, write
from support.waiting import wait_until

__all__ = ["here"]  # a fixture for all tests


def options(*words: str) -> Options:
    """What the program understands of a call that isn't made."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("gaia-local", list(words))
    with context:
        context.command.callback(**context.params)
        _, command, arguments = group.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        command.make_context(command.name, arguments, parent=context)
    found: Options = context.obj
    return found


ALL = ["--root", "r", "--runtime", "process", "--workers", "2", "--max-steps", "9", "--debug"]
ALL += ["--no-reuse"]
FILES = ["--commands", "commands.json", "--steps", "steps.json"]
BUCKETS = ["--bucket", "a=/a", "--bucket", "b=/b"]


@pytest.mark.parametrize("command", [["run", "w"], ["logs", "w", "s"], ["workflows"], ["docs"]])
def test_options_mean_the_same_before_and_after_the_command(command: list[str]) -> None:
    before = options(*ALL, *BUCKETS, "--dask", "3", *command)
    assert before.debug
    assert before.given == {
        "root": "r",
        "runtime": "process",
        "workers": 2,
        "max_steps": 9,
        "reuse": False,
        "buckets": {"a": "/a", "b": "/b"},
        "executor": "dask",
        "dask": {"local": 3},
    }
    assert options(*command, *ALL, *BUCKETS, "--dask", "3") == before
    assert options(*ALL, *BUCKETS[:2], *command, *BUCKETS[2:], "--dask=3") == before
    assert options(*ALL, "--root", "x", *BUCKETS, *command, "--root", "r", "--dask", "3") == before
    assert options(*command).given == {}
    assert options(*command, "--keep-failed").given == {"keep_failed": 1}
    assert options("--keep-failed", *command).given == {"keep_failed": 1}
    assert options("--keep-failed", "3", *command).given == {"keep_failed": 3}
    assert options("--no-reuse", *command, "--reuse").given == {"reuse": True}
    assert options("--reuse", *command, "--no-reuse").given == {"reuse": False}


def test_a_commands_own_option_is_its_own() -> None:
    assert not options("status", "w", "--debug").debug
    assert options("--debug", "status", "w").debug


def test_exec_takes_them_before_the_script_alone(here: Path) -> None:
    (here / "script.py").write_text("import sys; print(sys.argv[1:])")
    ran = call("exec", "--root", "r", "--workers=2", "script.py", "--root", "mine")
    assert ran.stdout == "['--root', 'mine']\n"
    found = options("exec", "--root", "r", "--debug", "-m", "module", "--root", "mine")
    assert (found.given, found.debug) == ({"root": "r"}, True)


def test_a_call_with_options_after_the_command(here: Path) -> None:
    call("upload", "w", *write(SAY), "--root", "elsewhere")
    assert (here / "elsewhere/gaia.db").exists()
    assert "w: complete" in call("status", "w", "--root", "elsewhere").stdout
    assert not (here / "gaia-data").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "w", "--workers", "0"], "--workers: it is 0; give a whole number from 1"),
        (["--workers", "0", "run", "w"], "--workers: it is 0; give a whole number from 1"),
        (["run", "w", "--max-steps", "0"], "--max-steps: it is 0; give"),
        (["run", "w", "--runtime", "x"], "--runtime: it is 'x'; give 'docker'"),
        (["run", "w", "--bucket", "it's=~no-such-user"], "--bucket it's: '~no-such-user' isn't"),
        (
            ["run", "w", "--dask", "foo"],
            "--dask: it is 'foo'; give a scheduler's address, as 'tcp://scheduler:8786',"
            " or a number of workers",
        ),
        (["run", "w", "--dask", "0"], "--dask: it is 0; give a whole number of worker processes"),
        (
            ["upload", "w", *FILES, "--root", "/proc/x"],
            "root /proc/x: can't be written (No such file or directory); give another --root",
        ),
        (["run", "w", "--root", "steps.json"], "steps.json isn't a directory; give a directory's"),
        (["workflows", "--root", "steps.json"], "steps.json isn't a directory; give a directory's"),
        (["clean", "--root", "steps.json"], "steps.json isn't a directory; give a directory's"),
    ],
)
def test_messages_name_the_option(words: list[str], says: str) -> None:
    write(SAY)
    told = call(*words, status=2).stderr
    assert says in told
    assert "config" not in told


def test_messages_name_the_variable_where_there_was_no_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GAIA_LOCAL_RUNTIME", "x")
    assert "gaia-local: $GAIA_LOCAL_RUNTIME: it is 'x'" in call("workflows", status=2).stderr
    text = "config, runtime: it is 'x'"
    assert with_options_named(text, {"runtime": "x"}) == "--runtime: it is 'x'"
    assert with_options_named("config, reuse: no", {"reuse": True}) == "--reuse: no"
    assert with_options_named("config, watch: it is 1", {}) == "config, watch: it is 1"
    assert with_options_named("workflow 'config': no", {}) == "workflow 'config': no"


def test_another_value_than_that_of_an_open_root_is_told_without_its_name_twice(
    here: Path,
) -> None:
    owner = start("--workers", "3", "upload", "w", *write(HOLD))
    wait_until((here / "begun").exists, 60)
    told = call("halt", "w", "--workers", "2", status=2).stderr
    assert told.startswith("gaia-local: --workers: root ")
    assert f"is open in process {owner.pid} already, with a different value; end" in told
    (here / "go").touch()
    end(owner, 0)


def test_the_hint_after_a_stop_repeats_the_options(here: Path) -> None:
    owner = start("--root", "mine", "--workers", "2", "upload", "sl", *write(HOLD))
    wait_until((here / "begun").exists, 60)
    seen = on_a_terminal(["run", "sl", "--root", "mine"], {}, until="1 running", status=143)
    hint = f"process {owner.pid}; `gaia-local --root mine halt sl` stops it."
    assert hint in " ".join(seen.split())
    owner.send_signal(signal.SIGINT)
    _, err = end(owner, 130)
    assert "Stopped. `gaia-local --root mine --workers 2 run sl` goes on from here." in err


def test_options_can_be_repeated_from_a_configuration() -> None:
    given = {"root": "a b", "buckets": {"g": "/x"}, "executor": "dask", "dask": {"local": 2}}
    assert options_again(given) == " --root 'a b' --bucket g=/x --dask 2"
    assert options_again(given, only=("root",)) == " --root 'a b'"
    assert options_again({}) == ""
    assert options_again({"reuse": True}) == " --reuse"
    assert options_again({"reuse": False}) == " --no-reuse"


# --------------------------------------------------------------------------------------- which root


def test_a_root_above_is_found_and_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload("w", SAY)
    below = here / "some/where"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    told = call("status", "w")
    assert told.stdout == "w: complete, 1 of 1 Steps done\n"
    assert told.stderr == f"the root is {here}/gaia-data, above this directory\n"
    assert "w" in call("workflows", "--json").stdout
    monkeypatch.setenv("GAIA_LOCAL_ROOT", "other")
    assert "gaia-data" not in call("workflows").stderr
    monkeypatch.delenv("GAIA_LOCAL_ROOT")
    assert call("workflows", "--root", "other").stderr == (
        f"no workflows yet in root {below}/other, which isn't there\n"
    )
    (below / "gaia-data").mkdir()
    assert call("workflows").stderr == f"no workflows yet in root {below}/gaia-data\n"


def test_a_root_above_is_this_users_and_has_a_state_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload("w", SAY)
    (here / "a/b/gaia-data").mkdir(parents=True)
    (here / "a/b/c").mkdir()
    monkeypatch.chdir(here / "a/b/c")
    assert f"the root is {here}/gaia-data" in call("workflows").stderr
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    assert call("workflows").stderr.startswith("no workflows yet in root ")


def test_what_is_not_found_is_told_with_the_root(here: Path) -> None:
    for words in (["status", "w"], ["run", "w"], ["run", "w", "--dry-run"], ["events", "w"]):
        told = call(*words, "--root", "r", status=2).stderr
        assert f"workflow 'w': it doesn't exist in root {here}/r" in told
    upload("v", SAY)
    told = call("status", "w", status=2).stderr
    assert f"it doesn't exist in root {here}/gaia-data; workflows: 'v'" in told
    told = call("status", "w", "--root", "nowhere", status=2).stderr
    assert f"it doesn't exist in root {here}/nowhere, which isn't there; workflows: none" in told

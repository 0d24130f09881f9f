"""The command line: in this process for its output, as its own process for signals and pipes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gaia_local import GaiaError
from gaia_local.cli import app
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

__all__ = ["here"]


# ------------------------------------------------------------------------------------------- basics


def test_help_names_all_commands() -> None:
    text = call("--help").stdout
    for command in [
        "demo",
        "upload",
        "run",
        "halt",
        "status",
        "workflows",
        "expire",
        "logs",
        "events",
        "explain",
        "delete",
        "doctor",
    ]:
        assert re.search(rf"\b{command}\b", text)


def test_help_imports_nothing_heavy() -> None:
    heavy = {"docker", "networkx", "sqlite_utils", "yaml", "rich.progress"}
    code = f"""
import sys
from gaia_local.cli import app
try:
    app(["--help"])
except SystemExit:
    print(sorted({heavy} & set(sys.modules)), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip() == "[]"


def test_lines_are_printed_without_the_library_that_draws() -> None:
    """Its import costs more than reading a small root."""
    upload("w", SAY)
    code = """
import sys
from gaia_local.cli import app
try:
    app(sys.argv[1:])
finally:
    print("rich.console" in sys.modules, file=sys.stderr)
"""
    for command in (["status", "w"], ["run", "w"], ["workflows"], ["explain", "w", "say"]):
        told = subprocess.run(
            [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
        )
        assert (told.stderr, bool(told.stdout)) == ("False\n", True), command


def test_version() -> None:
    assert re.fullmatch(r"gaia-local \d+\.\d+\S*\n", call("--version").stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["upload", "w"],
        ["upload", "w", "--path", "x", "--commands", "y"],
        ["upload", "w", "--path", "x", "--extension", "toml"],
        ["upload", "w", "--path", "nowhere/"],
        ["upload", "w", "--commands", "nowhere.json", "--steps", "nowhere.json"],
        ["--bucket", "nonsense", "workflows"],
        ["--workers", "0", "workflows"],
        ["--workers", "many", "workflows"],
        ["--runtime", "magic", "workflows"],
        ["expire", "w"],
    ],
    ids=" ".join,
)
def test_bad_usage_ends_with_2_and_leaves_nothing(arguments: list[str], here: Path) -> None:
    result = call(*arguments, status=2)
    assert "Traceback" not in result.output
    assert result.stderr.strip()
    assert result.stdout == ""
    assert list(here.iterdir()) == []


# ------------------------------------------------------------------------------------------- upload


def test_upload_runs_to_the_end(here: Path) -> None:
    result = upload("w", SAY, COPY)
    assert "w: complete, 2 of 2 Steps done" in result.stdout
    assert (here / "gaia-data/storage/w/a/copied.txt").read_text() == "hello\n"


def test_upload_takes_a_prefix_and_yaml_as_the_published_client_does(here: Path) -> None:
    (here / "my-commands.yaml").write_text(
        "- {name: say, image: busybox, command: [echo, hi], outputs: {said: '>'}}\n"
    )
    (here / "my-steps.yaml").write_text(
        "- name: say\n  command: say\n  outputs:\n    said: a:said.txt\n"
    )
    call("upload", "w", "--path", "my-", "--extension", "yaml")
    assert (here / "gaia-data/storage/w/a/said.txt").read_text() == "hi\n"


def test_upload_takes_properties() -> None:
    call("upload", "crick_w", *write(SAY), "--property", "owner=watson", "--property", "note=a=b")
    properties = answer("workflows", "--json")["workflows"]["crick_w"]["properties"]
    assert properties == {"owner": "watson", "note": "a=b"}


def test_a_failure_is_told_with_its_exit_code_and_its_log() -> None:
    result = upload("w", SAY, CHECK, WAITER, status=1)
    assert "w: error, 1 of 3 Steps done, 1 failed, 1 waiting" in result.stdout
    assert re.search(r"Step 'check' failed.*\b3\b", result.stdout)
    assert "not ready" in result.stdout
    assert "b:missing.txt" in result.stdout


def test_missing_inputs_are_told_with_their_place_and_nothing_that_a_step_makes(here: Path) -> None:
    after = {
        "name": "after",
        "command": "copy",
        "inputs": {"from": WAITER["outputs"]["to"]},
        "outputs": {"to": "b:after.txt"},
    }
    result = upload("w", WAITER, after, status=1)
    assert "w: incomplete" in result.stdout
    assert (
        result.stdout.splitlines()[-1]
        == f"  b:missing.txt, expected at {here / 'gaia-data/storage/w/b/missing.txt'}"
    )
    assert call("status", "w").stdout == result.stdout


def test_a_refused_call_prints_one_message(here: Path) -> None:
    result = upload("w", {**SAY, "command": "sya"}, status=2)
    assert "sya" in result.stderr
    assert "did you mean 'say'" in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert answer("workflows", "--json") == {"workflows": {}}


def test_a_name_that_is_taken_is_refused() -> None:
    upload("w", SAY)
    assert "w" in upload("w", SAY, status=2).stderr


def test_debug_shows_the_traceback() -> None:
    result = CliRunner().invoke(app, ["--debug", "upload", "w", *write({**SAY, "command": "sya"})])
    assert isinstance(result.exception, GaiaError)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("bad.json", '[\n  {"name": }\n]', r"bad\.json, line 2, column \d+"),
        ("bad.json", "[" * 100_000, r"bad\.json"),
        ("bad.json", "", r"bad\.json, line 1"),
        ("bad.yaml", "- a\n- b: [\n", r"bad\.yaml, line \d"),
        ("bad.yaml", "a\0b", r"bad\.yaml"),
        ("bad.yaml", "- !!python/object:os.system {}\n", r"bad\.yaml, line 1"),
        ("bad.json", b"\xff\xfe[", r"bad\.json"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(
    name: str, text: str | bytes, told: str, here: Path
) -> None:
    write(SAY)
    (here / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    result = call("upload", "w", "--commands", name, "--steps", "steps.json", status=2)
    assert re.search(told, re.sub(r"[\s│]+", " ", result.stderr)), result.stderr
    assert not (here / "gaia-data").exists()


def test_buckets_and_root(here: Path) -> None:
    (here / "texts").mkdir()
    (here / "texts/missing.txt").write_text("found\n")
    call(
        "--root",
        "elsewhere",
        "--bucket",
        "b=texts",
        "--workers",
        "1",
        "upload",
        "w",
        *write(WAITER),
    )
    assert (here / "elsewhere/storage/w/a/late.txt").read_text() == "found\n"
    assert not (here / "gaia-data").exists()


# ------------------------------------------------------------------------------- the other commands


def test_run_runs_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    upload("w", SAY, CHECK, status=1)
    call("run", "w", status=1)
    monkeypatch.setenv("READY", "yes")
    assert "w: complete" in call("run", "w").stdout
    starts = [
        event["task"] for event in answer("events", "w", "--json") if event["event"] == "step-start"
    ]
    assert sorted(starts) == ["check", "check", "check", "say"]


def test_outputs_that_were_in_the_store_are_reported() -> None:
    upload("w", SAY, COPY)
    call("delete", "w")
    told = "w: complete, 2 of 2 Steps were in the store already, nothing ran"
    assert told in upload("w", SAY, COPY).stdout
    assert told in call("status", "w").stdout
    call("expire", "w", "a:copied.txt")
    assert (
        "w: complete, 2 of 2 Steps done, 1 of them in the store already"
        in call("status", "w").stdout
    )
    call("delete", "w")
    assert (
        "w: complete, 2 of 2 Steps done\n"
        in upload("w", {**SAY, "vars": {"text": "other"}}, COPY).stdout
    )
    assert Path("gaia-data/storage/w/a/copied.txt").read_text() == "other\n"


def test_expire_runs_again_what_depends_on_it() -> None:
    upload("w", SAY, COPY)
    assert "w: complete" in call("expire", "w", "a:said.txt").stdout
    starts = [
        event["task"] for event in answer("events", "w", "--json") if event["event"] == "step-start"
    ]
    assert starts[:2] == ["say", "copy"]
    assert "say" in starts[2:]


def test_a_dry_run_tells_and_changes_nothing() -> None:
    upload("w", SAY, COPY, CHECK, status=1)
    before = answer("events", "w", "--json")
    assert re.search(r"^check +retry", call("run", "w", "--dry-run").stdout, flags=re.MULTILINE)
    assert [
        step["step"] for step in answer("expire", "w", "a:said.txt", "--dry-run", "--json")["would"]
    ][:1] == ["say"]
    assert answer("events", "w", "--json") == before


def test_explain_tells_of_steps_and_keys() -> None:
    upload("w", SAY, COPY, WAITER, CHECK, status=1)
    text = call("explain", "w", "copy").stdout
    assert re.search(r"^would run +no: all its outputs are complete$", text, flags=re.MULTILINE)
    assert re.search(r"^read +a:said.txt blake2b:\w+$", text, flags=re.MULTILINE)
    assert re.search(
        r"^waits for +b:missing.txt \(no Step makes it\)$",
        call("explain", "w", "waiter").stdout,
        flags=re.MULTILINE,
    )
    text = call("explain", "w", "a:said.txt").stdout
    assert re.search(r"^made by +say$", text, flags=re.MULTILINE)
    assert re.search(r"^read by +copy$", text, flags=re.MULTILINE)
    assert "not ready" not in call("explain", "w", "b:missing.txt").stdout
    assert answer("explain", "w", "check", "--json")["last"]["exit_code"] == 3
    assert "sya" in call("explain", "w", "sya", status=2).stderr


def test_upload_and_run_answer_json() -> None:
    files = write(SAY, CHECK)
    ended = answer("upload", "w", *files, "--json", status=1)
    assert ended["workflow"] == "w"
    assert ended["state"] == "error"
    assert ended["progress"]["failed"] == 1
    (failure,) = ended["failures"]
    assert (failure["step"], failure["exit_code"]) == ("check", 3)
    assert answer("run", "w", "--json", status=1)["state"] == "error"
    assert answer("expire", "w", "say", "--json", status=1)["state"] == "error"


def test_queries_answer_json() -> None:
    upload("w", SAY)
    assert answer("workflows", "--json")["workflows"]["w"]["state"] == "complete"
    status = answer("status", "w", "--json")
    assert status["status"]["state"] == "complete"
    assert status["progress"] == {
        "state": "complete",
        "steps": 1,
        "done": 1,
        "running": 0,
        "failed": 0,
        "waiting": 0,
    }
    assert status["failures"] == []
    assert answer("status", "w", "--debug")["status"]["tasks"]["say"]["state"] == "complete"
    assert {event["event"] for event in answer("events", "w", "--json")} >= {
        "step-start",
        "step-complete",
        "flow-complete",
    }
    assert answer("halt", "w", "--json") == {"halt": "w"}
    assert answer("delete", "w", "--json")


def test_queries_print_readable_text(here: Path) -> None:
    call("workflows")
    upload("crick_w", SAY, CHECK, status=1)
    assert re.search(r"crick_w +error +2 +\d\d:\d\d", call("workflows").stdout)
    assert "crick_w: error, 1 of 2 Steps done, 1 failed" in call("status", "crick_w").stdout
    assert re.search(r"step-complete +say", call("events", "crick_w").stdout)
    assert call("logs", "crick_w", "say").stdout == "hello\n"
    assert "crick_w" in call("halt", "crick_w").stdout
    assert "crick_w" in call("delete", "crick_w").stdout
    assert (here / "gaia-data/storage/crick_w").exists()


def test_delete_with_data(here: Path) -> None:
    upload("w", SAY)
    call("delete", "w", "--data")
    assert not (here / "gaia-data/storage/w").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "nobody"],
        ["halt", "nobody"],
        ["delete", "nobody"],
        ["expire", "nobody", "x"],
        ["logs", "nobody", "x"],
    ],
)
def test_an_unknown_workflow_is_refused(arguments: list[str]) -> None:
    upload("w", SAY)
    assert "nobody" in call(*arguments, status=2).stderr


def test_an_unknown_step_is_refused() -> None:
    upload("w", SAY)
    assert "sya" in call("logs", "w", "sya", status=2).stderr


# ---------------------------------------------------------------------------------- demo and doctor


def test_demo_shows_its_results_and_what_to_try() -> None:
    text = call("demo").stdout
    assert "complete, 15 of 15 Steps done" in text
    assert "Words that all of them use:" in text
    (name,) = answer("workflows", "--json")["workflows"]
    assert f"status {name}" in text
    call("demo")
    assert len(answer("workflows", "--json")["workflows"]) == 2


def test_commands_suggested_by_the_demo_work() -> None:
    text = call("--root", "my data", "demo").stdout
    tries = re.findall(
        r"^  (gaia-local|\S*python\S* -m gaia_local) (.+?)(?:  +#.*)?$", text, flags=re.MULTILINE
    )
    assert len(tries) >= 6
    assert {"serve", "graph"} <= {word for _, arguments in tries for word in arguments.split()}
    for _, arguments in tries:
        import shlex

        words = shlex.split(arguments)
        if "serve" not in words:  # which serves until it is stopped
            call(*words)


def test_demo_in_json() -> None:
    assert answer("demo", "--json")["state"] == "complete"


def test_doctor_says_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    text = call("doctor").stdout
    for name in ("python", "gaia-local", "docker", "root", "file system", "disk", "file watches"):
        assert re.search(rf"^(ok|note) +{name} ", text, flags=re.MULTILINE), name
    assert "127.0.0.1:1" in text
    report = answer("doctor", "--json")
    assert report["ok"] is True
    docker = next(check for check in report["checks"] if check["name"] == "docker")
    assert docker["facts"]["reachable"] is False


def test_doctor_changes_nothing(here: Path) -> None:
    call("doctor")
    assert list(here.iterdir()) == []


def test_doctor_fails_where_nothing_can_run(here: Path) -> None:
    (here / "file").write_text("")
    assert answer("--root", "file", "doctor", "--json", status=1)["ok"] is False


# -------------------------------------------------------------------------- as a process of its own


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_the_workflow_and_run_resumes_it(
    number: signal.Signals, status: int, here: Path
) -> None:
    process = start("upload", "w", *write(SAY, HOLD))
    wait_until((here / "begun").exists, 60)
    wait_until((here / "gaia-data/storage/w/a/said.txt").exists, 60)
    process.send_signal(number)
    out, err = end(process, status)
    assert "run w" in err
    assert "Traceback" not in err
    assert not (here / "gaia-data/storage/w/a/held").exists()

    (here / "go").touch()
    out, err = end(start("run", "w"), 0)
    assert "w: complete, 2 of 2 Steps done" in out
    starts = [
        event["task"] for event in answer("events", "w", "--json") if event["event"] == "step-start"
    ]
    assert starts.count("say") == 1


def test_a_second_terminal_asks_and_halts(here: Path) -> None:
    owner = start("upload", "w", *write(HOLD))
    wait_until((here / "begun").exists, 60)
    assert answer("workflows", "--json")["workflows"]["w"]["state"] == "running"
    assert "w: running" in call("status", "w").stdout
    root = next(check for check in answer("doctor", "--json")["checks"] if check["name"] == "root")
    assert root["facts"]["owner"] == owner.pid
    call("halt", "w")
    end(owner, 1)
    assert "w: halted" in call("status", "w").stdout
    (here / "go").touch()
    call("run", "w")


def test_an_onlooker_can_leave_without_stopping_the_workflow(here: Path) -> None:
    owner = start("upload", "w", *write(HOLD))
    wait_until((here / "begun").exists, 60)
    seen = on_a_terminal(["run", "w"], {}, until="1 running", status=143)
    assert f"goes on in process {owner.pid}" in " ".join(seen.split())
    assert "w: running" in call("status", "w").stdout
    (here / "go").touch()
    end(owner, 0)


def test_a_log_can_be_followed_from_another_process(here: Path) -> None:
    owner = start("upload", "w", *write(HOLD))
    wait_until((here / "begun").exists, 60)
    follower = start("logs", "w", "hold", "-f")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "begun\n"
    (here / "go").touch()
    assert end(follower, 0)[0] == "over\n"
    end(owner, 0)


def test_piped_output_has_no_control_codes() -> None:
    for arguments, status in (
        (["upload", "w", *write(SAY, CHECK, WAITER)], 1),
        (["status", "w"], 0),
        (["workflows"], 0),
        (["events", "w"], 0),
        (["doctor"], 0),
        (["run", "nobody"], 2),
    ):
        out, err = end(start(*arguments), status)
        assert "\x1b" not in out + err, arguments


def test_a_closed_pipe_is_no_error() -> None:
    upload("w", *({**SAY, "name": f"say-{n}", "outputs": {"said": f"a:{n}"}} for n in range(100)))
    process = start("events", "w")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=60)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run the program by a shell, which redirects its streams; `&9` is a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            ["bash", "-c", f"{sys.executable} -m gaia_local {command}".replace("&9", f"&{writer}")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            pass_fds=[writer],
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize("lost", ["2>/dev/full", "2>&9", "2>&-"])
def test_messages_that_nobody_can_read_cost_no_step(lost: str) -> None:
    options = " ".join(write(SAY, COPY))
    assert shell(f"upload w {options} {lost}").returncode == 0
    assert "w: complete" in call("status", "w").stdout
    assert shell(f"status nobody {lost}").returncode == 2
    assert shell(f"explain {lost}").returncode == 2


@pytest.mark.parametrize(
    ("lost", "status", "line"),
    [
        (">/dev/full", 1, "gaia-local: stdout can't be written: No space left on device\n"),
        (">&-", 1, "gaia-local: stdout is closed\n"),
        (">&9", 141, ""),
    ],
)
@pytest.mark.parametrize(
    "command",
    ["--help", "workflows", "workflows --json", "logs w say", "graph w"],
)
def test_results_that_can_t_be_written_are_an_error(
    command: str, lost: str, status: int, line: str
) -> None:
    upload("w", SAY)
    ended = shell(f"{command} {lost}")
    assert (ended.returncode, ended.stderr) == (status, line)


def test_a_closed_stream_is_none_of_the_engines_files(here: Path) -> None:
    """Else what somebody writes to it would get into one."""
    hold = " ".join(write(HOLD))
    with subprocess.Popen(
        ["bash", "-c", f"exec {sys.executable} -m gaia_local upload w {hold} <&- 2>&-"],
        stdout=subprocess.PIPE,
    ) as held:
        wait_until((here / "begun").exists, 60)
        opened = {number: os.readlink(f"/proc/{held.pid}/fd/{number}") for number in (0, 2)}
        (here / "go").touch()
        assert held.stdout is not None
        assert b"complete" in held.stdout.read()
    assert opened == {0: os.devnull, 2: os.devnull}
    assert held.returncode == 0


def test_a_terminal_sees_live_progress() -> None:
    seen = on_a_terminal(["upload", "w", *write(SAY, COPY)], {})
    assert "of 2 Steps done" in seen.partition("w: complete")[0]
    assert re.search(r"\x1b\[[\d;]*3\dm", seen)


def test_forced_colours_draw_no_live_progress_into_a_log() -> None:
    """As CI does, whose log is no terminal."""
    environment = {**os.environ, "FORCE_COLOR": "1"}
    for arguments in (["upload", "w", *write(SAY, COPY)], ["watch", "w"]):
        out, err = end(start(*arguments, env=environment), 0)
        controls = set(re.findall(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", out + err))
        assert controls
        assert all(control.endswith("m") for control in controls), controls
        assert "\r" not in out + err


def test_no_color() -> None:
    seen = on_a_terminal(["upload", "w", *write(SAY, COPY)], {"NO_COLOR": "1"})
    assert "2 of 2 Steps done" in seen
    assert not re.search(r"\x1b\[[\d;]*[34]\dm", seen)


# ------------------------------------------------------------------------------------------- bounds

MEASURED = """
import atexit, re, sys
from pathlib import Path
from gaia_local.cli import main
def tell():  # not by getrusage: that of a forked child begins with what its parent had
    kilobytes = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]
    print("peak", int(kilobytes) // 1024, file=sys.stderr)
atexit.register(tell)
main()
"""


def test_the_end_of_a_long_log_costs_no_more_than_that_of_a_short_one(here: Path) -> None:
    """Of a failed Step, in the process that ran it and in others afterwards."""
    size = 300_000_000
    talk = {
        "name": "talk",
        "image": "i",
        "command": ["sh", "-c", f"head -c {size} /dev/zero; echo; echo last; exit 3"],
    }
    options = write({"name": "talk", "command": "talk", "outputs": {"x": "a:x"}})
    Path("commands.json").write_text(json.dumps([{**talk, "outputs": {"x": "/out/x"}}]))
    for arguments, status in (
        (["upload", "w", *options], 1),
        (["status", "w"], 0),
        (["logs", "w", "talk"], 0),
    ):
        program = [sys.executable, "-c", MEASURED, *arguments]
        with open("out", "wb") as out:
            ran = subprocess.run(
                program, stdout=out, stderr=subprocess.PIPE, text=True, timeout=100, check=False
            )
        assert ran.returncode == status, ran.stderr
        peak = int(ran.stderr.split()[-1])
        assert peak < 150, f"{arguments[0]}: {peak} MB"
        assert (
            b"last" in Path("out").read_bytes()[-100:]
            if arguments[0] != "logs"
            else Path("out").stat().st_size > size
        )
        Path("out").unlink()

"""`gaia-local exec`: a script runs as `python` would run it, and its `gaia` is the local engine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gaia_local import Gaia, compat, demo
from gaia_local.cli import app
from support.fixtures import WaitUntil

SHOW = """
import sys
import helper
same = sys.modules["__main__"].__dict__ is globals()
print(sys.argv, __name__, __file__, sys.path[0], same, helper.WORDS)
def fail():
    return 1 / 0
what = sys.argv[1] if len(sys.argv) > 1 else None
if what == "fail":
    fail()
elif what == "chain":
    try:
        fail()
    except ZeroDivisionError as error:
        raise ValueError("no such number") from error
elif what == "exit":
    sys.exit(int(sys.argv[2]))
elif what == "text":
    sys.exit("so long")
elif what == "interrupt":
    raise KeyboardInterrupt
elif what == "hook":
    def hook(kind, error, trace):
        print("mine:", kind.__name__, trace.tb_frame.f_code.co_filename)
    sys.excepthook = hook
    fail()
"""
WORKFLOW = """
import sys
import gaia
from gaia import Gaia
from gaia.client import Gaia as Client, step
assert gaia.Gaia is Gaia is Client
flow = gaia.Gaia({"gaia_host": "localhost:24442"})
hold = "echo begun; until [ -e '%s' ]; do sleep 0.01; done"
hold = ["sh", "-c", hold % sys.argv[2]]
commands = [{"name": "hold", "image": "busybox", "command": hold, "outputs": {"out": ">"}}]
steps = [step("hold", "hold", {}, {"out": "a:out.txt"})]
flow.upload(sys.argv[1], {"owner": "me"}, commands, steps)
print("submitted", flush=True)
if "wait" in sys.argv:
    flow.wait(sys.argv[1])
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with scripts; afterwards nothing of a script's is left in this process."""
    monkeypatch.chdir(tmp_path)
    Path("show.py").write_text(SHOW)
    Path("helper.py").write_text("WORDS = 'of the helper'\n")
    Path("flow.py").write_text(WORKFLOW)
    Path("broken.py").write_text("x = (\n")
    before = sys.argv, list(sys.path), sys.modules["__main__"], sys.excepthook
    yield tmp_path
    assert (sys.argv, list(sys.path), sys.modules["__main__"], sys.excepthook) == before
    assert not compat.installed()
    sys.modules.pop("helper", None)


def by_python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def by_exec(*words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return by_python("-m", "gaia_local", "--runtime", "process", *options, "exec", *words)


def call(*words: str, status: int = 0) -> Result:
    """In this process."""
    result = CliRunner().invoke(app, ["--runtime", "process", *words])
    assert result.exit_code == status, f"{result.output}\n{result.exception!r}"
    return result


# ------------------------------------------------------------------------------------- as by python


@pytest.mark.parametrize(
    "words",
    [
        ["show.py"],
        ["show.py", "a", "--help", "-m", "--", "--root", "x"],
        ["./show.py", "-h"],
        ["show.py", "fail"],
        ["show.py", "chain"],
        ["show.py", "exit", "7"],
        ["show.py", "text"],
        ["show.py", "interrupt"],
        ["show.py", "hook"],
        ["broken.py"],
        ["folder/linked.py", "a"],
        ["-m", "show", "--help", "-x"],
        ["-mshow", "a"],
        ["-m", "show", "exit", "5"],
        ["archive.zip", "a"],
    ],
    ids=" ".join,
)
def test_a_script_sees_and_shows_what_it_does_by_python(words: list[str], here: Path) -> None:
    (here / "folder").mkdir()
    (here / "folder" / "linked.py").symlink_to(here / "show.py")
    with zipfile.ZipFile("archive.zip", "w") as archive:
        archive.writestr("__main__.py", "import sys\nprint(sys.argv[1:], __name__)\n")
    expected, ran = by_python(*words), by_exec(*words)
    assert ran.returncode == expected.returncode
    assert ran.stdout == expected.stdout
    assert ran.stderr == expected.stderr


def test_a_modules_traceback_is_its_own() -> None:
    ran = by_exec("-m", "show", "fail")
    assert ran.returncode == 1
    assert re.findall(r'File "(.+?)"', ran.stderr) == [os.path.abspath("show.py")] * 2
    assert ran.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_the_end_by_a_signal_is_pythons() -> None:
    expected, ran = by_python("show.py", "interrupt"), by_exec("show.py", "interrupt")
    assert ran.returncode == expected.returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ([], 2, "give a script"),
        (["nowhere.py"], 2, "'nowhere.py' isn't there"),
        (["-m"], 2, "-m"),
        (["--nonsense", "show.py"], 2, "--nonsense"),
        (["-m", "no_such_module"], 1, "gaia-local: No module named no_such_module"),
        (["empty"], 1, "gaia-local: can't find '__main__' module"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_unrunnable_script_is_one_message(
    words: list[str], status: int, told: str, here: Path
) -> None:
    (here / "empty").mkdir()
    ran = by_exec(*words)
    assert ran.returncode == status
    assert told in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_help_is_ours_before_the_script(here: Path) -> None:
    assert "`import gaia` means" in " ".join(call("exec", "--help").stdout.split())
    assert "SCRIPT" in call("exec", "-h", "show.py").stdout


# ---------------------------------------------------------------------------------- with the engine


@contextlib.contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    """The process of a script that has submitted its workflow; ended by the test, or else here."""
    line = [
        sys.executable,
        "-m",
        "gaia_local",
        "--root",
        "elsewhere",
        "--runtime",
        "process",
        "exec",
        "flow.py",
        *words,
    ]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "submitted\n"
        try:
            yield script
        finally:
            if script.poll() is None:
                script.terminate()


def test_a_script_waits_for_its_steps_at_its_end(here: Path, wait_until: WaitUntil) -> None:
    with running("me_w", str(here / "go")) as script:
        with Gaia({"root": "elsewhere"}) as gaia:
            wait_until(lambda: "begun" in gaia.logs("me_w", "hold"))
            assert script.poll() is None
            assert gaia.status("me_w")["state"] == "running"
        (here / "go").touch()
        _, told = script.communicate(timeout=20)
        assert script.returncode == 0
    assert "The script has ended; its Steps go on: me_w (Ctrl-C stops them)\n" in told
    assert (here / "elsewhere/storage/me_w/a/out.txt").read_text() == "begun\n"


@pytest.mark.parametrize(
    ("waiting", "status"),
    [(["wait"], -signal.SIGINT), ([], 130)],
    ids=["in the script", "after its end"],
)
def test_ctrl_c_stops_its_steps_and_run_goes_on(
    waiting: list[str], status: int, here: Path, wait_until: WaitUntil
) -> None:
    with running("me_w", str(here / "go"), *waiting) as script:
        with Gaia({"root": "elsewhere"}) as gaia:
            wait_until(lambda: "begun" in gaia.logs("me_w", "hold"))
        script.send_signal(signal.SIGINT)
        _, told = script.communicate(timeout=20)
        assert script.returncode == status, told
    *before, hint = told.splitlines()
    again = f"gaia-local --root {here}/elsewhere --runtime process run me_w"
    assert hint == f"Stopped. `{again}` goes on from here."
    if waiting:
        assert before[-1] == "KeyboardInterrupt"
        assert "executing.py" not in told, "only the frames of the script, and of what it called"
    root = ["--root", "elsewhere"]
    assert json.loads(call(*root, "status", "me_w", "--json").stdout)["state"] == "halted"
    (here / "go").touch()
    call(*root, "run", "me_w")


def test_failed_steps_are_reported_after_the_end_of_the_script(here: Path) -> None:
    Path("fail.py").write_text(
        "import gaia, sys\n"
        "script = 'sleep 1; echo no; exit 3'\n"
        "fail = {'name': 'fail', 'image': 'b', 'command': ['sh', '-c', script]}\n"
        "fail['outputs'] = {'x': '/out/x'}\n"
        "step = {'name': 'failing', 'command': 'fail', 'outputs': {'x': 'a:x'}}\n"
        "gaia.Gaia().upload('me_f', {}, [fail], [step])\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    for given, status in (("0", 1), ("7", 7)):
        ran = by_exec("fail.py", given, options=("--root", f"root-{given}"))
        assert (ran.returncode, ran.stdout) == (status, ""), ran.stderr
        assert "me_f: error, 0 of 1 Steps done, 1 failed" in ran.stderr
        assert "Step 'failing' failed with exit code 3\n  │ no\n" in ran.stderr


def test_a_plain_script_says_in_one_line_that_it_waits(here: Path) -> None:
    (here / "go").touch()
    Path("plain.py").write_text(
        "import gaia_local.compat as c; c.install({'runtime': 'process'})\n" + WORKFLOW
    )
    ran = by_python("plain.py", "me_w", str(here / "go"))
    assert ran.returncode == 0
    quick = ran.stderr.count("waiting for Steps")
    Path("plain.py").write_text(Path("plain.py").read_text().replace("echo begun", "sleep 1"))
    ran = by_python("plain.py", "me_x", str(here / "go"))
    line = "waiting for Steps that still run (Ctrl-C stops them): me_x"
    assert (ran.stderr.splitlines().count(line), quick <= 1) == (1, True), ran.stderr


def test_options_are_the_defaults_of_each_gaia(here: Path) -> None:
    (here / "shared").mkdir()
    Path("ask.py").write_text(
        "import gaia\n"
        "print(gaia.Gaia().path('w', 'genomes:x'))\n"
        "print(gaia.Gaia({'gaia_host': 'example.org:1'}).path('w', 'a:x'))\n"
        "print(gaia.Gaia({'root': 'own'}).path('w', 'a:x'))\n"
    )
    told = call(
        "--root", "theirs", "--bucket", f"genomes={here / 'shared'}", "exec", "ask.py"
    ).stdout.splitlines()
    assert told == [
        str(here / path) for path in ("shared/x", "theirs/storage/w/a/x", "own/storage/w/a/x")
    ]


def test_bad_options_are_refused_before_the_script_begins(here: Path) -> None:
    assert "workers" in call("--workers", "0", "exec", "show.py", status=2).stderr
    assert "helper" not in sys.modules


def test_the_published_clients_command_line_runs(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "gaia"]:
        monkeypatch.delitem(sys.modules, name)  # another test of this process imported it
    for kind, content in (("commands", demo.commands()), ("steps", demo.steps())):
        Path(f"demo-{kind}.json").write_text(json.dumps(content))
    client = ["exec", "-m", "gaia.client"]
    ran = by_exec(
        "-m", "gaia.client", "upload", "crick_w", "--path", "demo-", "--host", "localhost:24442"
    )
    assert ran.returncode == 0, ran.stderr
    assert "{'workflow': {'crick_w': [" in ran.stdout
    assert "'state': 'incomplete'" in call(*client, "status", "crick_w").stdout
    assert "'crick_w'" in call(*client, "workflows", "all").stdout
    refused = by_exec("-m", "gaia.client", "upload", "crick_w", "--path", "demo-")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("client.py: workflow already exists")
    assert "Traceback" not in refused.stderr
    assert "--extension {json,yaml}" in by_exec("-m", "gaia.client", "--help").stdout


def test_a_refusal_that_the_script_does_not_catch_is_its_own_traceback() -> None:
    Path("bad.py").write_text("import gaia\ngaia.Gaia().run('nothing')\n")
    ran = by_exec("bad.py")
    assert ran.returncode == 1
    assert ran.stderr.startswith("Traceback")
    assert "it doesn't exist" in ran.stderr.splitlines()[-1]


def test_log_messages_are_shown_once(here: Path) -> None:
    Path("say.py").write_text("import gaia\ngaia.Gaia({'kafka_host': 'x'})\n")
    assert by_exec("say.py").stderr.count("kafka_host") == 1
    Path("say.py").write_text(
        "import logging, gaia\nlogging.basicConfig()\ngaia.Gaia({'kafka_host': 'x'})\n"
    )
    assert by_exec("say.py").stderr.count("kafka_host") == 1


def test_a_scripts_own_workers_find_its_functions(here: Path) -> None:
    Path("pool.py").write_text(
        "import multiprocessing\n"
        "def double(number):\n"
        "    return 2 * number\n"
        "if __name__ == '__main__':\n"
        "    for way in ('fork', 'spawn'):\n"
        "        with multiprocessing.get_context(way).Pool(2) as pool:\n"
        "            print(pool.map(double, [1, 2]))\n"
    )
    ran = by_exec("pool.py")
    assert (ran.stdout, ran.returncode) == ("[2, 4]\n[2, 4]\n", 0), ran.stderr


def test_forked_workers_of_a_script_reach_its_engine(here: Path) -> None:
    Path("pool.py").write_text(
        "import multiprocessing, gaia\n"
        "flow = gaia.Gaia()\n"
        "said = {'said': '>'}\n"
        "echo = ['echo', '{{n}}']\n"
        "say = [{'name': 'say', 'image': 'b', 'command': echo, 'outputs': said}]\n"
        "def submit(n):\n"
        "    said = {'said': 'a:said'}\n"
        "    step = {'name': 'say', 'command': 'say', 'vars': {'n': n}, 'outputs': said}\n"
        "    gaia.Gaia().upload(f'me_{n}', {}, say, [step])\n"
        "    return flow.wait(f'me_{n}')['state']\n"
        "flow.workflows()\n"
        "flow.upload('me_0', {}, [], [])\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    print(pool.map(submit, [1, 2, 3]))\n"
        "print(sorted(flow.workflows()['workflows']))\n"
    )
    ran = by_exec("pool.py")
    told = "['complete', 'complete', 'complete']\n['me_0', 'me_1', 'me_2', 'me_3']\n"
    assert (ran.stdout, ran.returncode) == (told, 0), ran.stderr


# ---------------------------------------------------------------------------------- in this process


@pytest.mark.parametrize(
    ("words", "status"), [(["show.py"], 0), (["show.py", "exit", "3"], 3), (["show.py", "fail"], 1)]
)
def test_a_script_leaves_nothing_in_the_process(words: list[str], status: int) -> None:
    result = call("exec", *words, status=status)
    assert "of the helper" in result.stdout


def test_threads_of_the_script_that_go_on_keep_what_they_need(here: Path) -> None:
    Path("threads.py").write_text(
        "import sys, threading\n"
        "import gaia\n"
        "def later():\n"
        "    threading.main_thread().join()\n"
        "    import gaia.client\n"
        "    print('later', gaia.Gaia().workflows(), sys.argv)\n"
        "threading.Thread(target=later).start()\n"
    )
    ran = by_exec("threads.py", "a")
    assert (ran.stdout, ran.returncode) == ("later {'workflows': {}} ['threads.py', 'a']\n", 0), (
        ran.stderr
    )

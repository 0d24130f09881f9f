"""The pytest plugin in users' projects: fixtures, settings, markers, failures, costs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

COMMANDS = """
import pytest

def command(name, *words):
    return {"name": name, "image": "busybox", "command": list(words), "outputs": {"said": ">"}}

COMMANDS = [
    {**command("say", "echo", "{{text}}"), "vars": {"text": "hello"}},
    command("fail", "sh", "-c", "echo doomed; exit 3"),
    command("hold", "sleep", "300"),
]

def step(name, command=None):
    return {"name": name, "command": command or name, "outputs": {"said": f"a:{name}"}}
"""
OTHERS = ("-p", "no:schemathesis", "-p", "no:hypothesispytest", "-p", "no:anyio")
"""Plugins that have nothing to do with this one, and take longer to import than all else."""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory to write tests into."""
    pytester.makepyfile(helper=COMMANDS)
    return pytester


def run(project: pytest.Pytester, test: str, *options: str) -> pytest.RunResult:
    """Run pytest on this test in a process of its own, as a user does: nothing names the plugin."""
    project.makepyfile(test_it="from helper import *\n\n" + test)
    return project.runpytest_subprocess(*OTHERS, *options)


def test_the_plugin_is_an_entry_point() -> None:
    (found,) = [point for point in entry_points(group="pytest11") if point.name == "gaia_local"]
    assert found.value == "gaia_local.testing.plugin"


def test_a_test_has_an_engine_of_its_own(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
@pytest.mark.parametrize("number", [1, 2])
def test_fresh(gaia, number, tmp_path):
    assert gaia.workflows() == {"workflows": {}}
    assert list(tmp_path.iterdir()) == []
    gaia.upload("w", {}, COMMANDS, [step("say")])
    gaia.run()
    assert gaia.get("a:say") == "hello\\n"

def test_default_runtime(gaia):
    assert "'process'" in repr(gaia)
""",
        "-v",
    )
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*warning*")


@pytest.mark.parametrize(
    "options",
    [
        ("--disable-socket",),
        ("--disable-socket", "--allow-unix-socket"),
        ("--allow-hosts=192.0.2.1",),
    ],
)
def test_tests_may_be_kept_from_the_network(
    project: pytest.Pytester, options: tuple[str, ...]
) -> None:
    """By the real pytest-socket."""
    result = run(
        project,
        """
import socket

def test_it(gaia):
    assert gaia.workflows() == {"workflows": {}}
    gaia.upload("w", {}, COMMANDS, [step("say")])
    gaia.run()
    assert gaia.get("a:say") == "hello\\n"
    with pytest.raises(RuntimeError, match="A test tried to use"):
        with socket.socket() as connection:
            connection.connect(("127.0.0.1", 1))
""",
        *options,
    )
    result.assert_outcomes(passed=1)


def test_failed_steps_are_in_the_report(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
def test_by_run(gaia):
    gaia.upload("w", {}, COMMANDS, [step("fail")])
    gaia.run()

def test_by_hand(gaia):
    gaia.upload("w", {}, COMMANDS, [step("fail"), step("say")])
    assert gaia.wait("w")["state"] == "complete"
""",
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E*AssertionError: workflow 'w': error, 0 of 1 Steps done, 1 failed",
            "E*Step 'fail' failed*3",
        ]
    )
    result.stdout.fnmatch_lines(
        ["*- Captured gaia call -*", "workflow 'w': error, 1 of 2 Steps done, 1 failed", "*doomed"]
    )
    # Which in CI repeats whole messages.
    report, _ = result.stdout.str().split("short test summary info")
    assert report.count("doomed") == 2, "each failure is told once"
    result.stdout.no_fnmatch_line("*testing.py*")


# ---------------------------------------------------------------------------------------- leftovers


def test_a_gaia_of_another_fixture_or_thread_is_no_leftover(project: pytest.Pytester) -> None:
    """Its engine begins during the first test, whose own ends with the test."""
    result = run(
        project,
        """
import threading
from gaia_local import Gaia

kept = []

def begin(folder):
    made = Gaia({"root": folder / "root", "runtime": "process"})
    made.upload("w", {}, COMMANDS, [step("say")])
    made.wait("w")
    return made

@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    made = begin(tmp_path_factory.mktemp("shared"))
    yield made
    made.close()

def test_beside_a_fixture(gaia, shared):
    gaia.upload("w", {}, COMMANDS, [step("say")])
    gaia.run()

def test_beside_a_thread(gaia, tmp_path):
    thread = threading.Thread(target=lambda: kept.append(begin(tmp_path)))
    thread.start()
    thread.join()
    gaia.upload("w", {}, COMMANDS, [step("say")])
    gaia.run()

def test_end():
    kept[0].close()
""",
    )
    result.assert_outcomes(passed=3)


def test_a_test_that_leaves_steps_running_fails(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
def test_hasty(gaia):
    gaia.upload("w", {}, COMMANDS, [step("hold"), step("again", "hold")])
    assert gaia.status("w")["state"] == "running"

def test_next(gaia):
    assert gaia.workflows() == {"workflows": {}}
""",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_hasty _*",
            "the test ended while Steps were running; wait for them (gaia.run, gaia.wait), "
            "halt them, or mark it with "
            "@pytest.mark.gaia(leave_running=True):",
            "*Step 'hold' of workflow 'w' (*",
            "*Step 'again' of workflow 'w' (*",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_a_marker_allows_steps_that_run(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
@pytest.mark.gaia(leave_running=True)
def test_hasty(gaia_client):
    gaia_client.upload("w", {}, COMMANDS, [step("hold")])
""",
    )
    result.assert_outcomes(passed=1)


def test_a_gaia_that_is_left_open_is_an_error(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
kept = []

def test_open(gaia):
    from gaia_local import Gaia
    kept.append(Gaia(gaia.config))
    gaia.upload("w", {}, COMMANDS, [step("say")])
    gaia.run()
""",
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["the engine left behind: itself, since another Gaia on its root is still open: *"]
    )


# --------------------------------------------------------------------------- code with its own Gaia

PROGRAM = """
from gaia.client import Gaia, pop_path

flow = Gaia()  # as some modules do it

class Mine(Gaia):
    def state(self, name):
        return self.status(name)["status"]["state"]

def submit(name, commands, steps):
    return flow.upload(name, {"owner": "me"}, commands, steps)
"""
TESTS_OF_PROGRAM = """
import program

@pytest.mark.parametrize("number", [1, 2])
def test_it(gaia_client, number):
    program.submit("w", COMMANDS, [step("say")])
    gaia_client.run("w")
    assert gaia_client.get("a:say") == "hello\\n"
    assert program.Mine({"gaia_host": "example.org:1"}).state("w") == "complete"
    import gaia
    assert gaia.Gaia().workflows() == gaia_client.workflows()
"""


def test_code_that_imported_the_published_client_runs_offline(project: pytest.Pytester) -> None:
    project.makepyfile(program=PROGRAM)
    outside = """
def test_afterwards():
    import requests
    with pytest.raises(requests.ConnectionError):
        program.Gaia({"gaia_host": "localhost:1"}).workflows()
"""
    run(project, TESTS_OF_PROGRAM + outside).assert_outcomes(passed=3)


def hide_published_client(project: pytest.Pytester) -> None:
    """Let `gaia` be absent, as if the published package wasn't installed."""
    project.mkpydir("hidden")
    (project.path / "hidden" / "gaia.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'gaia'\")\n"
    )
    project.makeini(f"[pytest]\npythonpath = {project.path / 'hidden'} .\n")


def test_the_alias_can_be_had_for_the_whole_run(project: pytest.Pytester) -> None:
    project.makepyfile(program=PROGRAM)
    hide_published_client(project)
    without = run(project, TESTS_OF_PROGRAM)
    without.assert_outcomes(errors=1)
    without.stdout.fnmatch_lines(["*No module named 'gaia'"])
    project.makeconftest("import program")
    outside = """
def test_without_the_fixture():
    from gaia_local import GaiaError
    with pytest.raises(GaiaError, match="fixture gaia_client"):
        program.submit("w", [], [])
"""
    with_alias = run(project, TESTS_OF_PROGRAM + outside, "-o", "gaia_alias=true")
    with_alias.assert_outcomes(passed=3)


# ----------------------------------------------------------------------------- settings and markers


def test_settings_and_markers_configure_it(project: pytest.Pytester) -> None:
    project.makeini("[pytest]\ngaia_runtime = auto\n")
    result = run(
        project,
        """
pytestmark = pytest.mark.gaia(workers=3)

def test_ini(gaia):
    assert "runtime='auto', workers=3" in repr(gaia)

@pytest.mark.gaia(runtime="docker", workers=5)
class TestClass:
    @pytest.mark.gaia(workers=7, docker={"pull": "never"}, watch=False)
    def test_nearest(self, gaia):
        assert "runtime='docker', workers=7" in repr(gaia)

@pytest.mark.gaia(runtime="process", buckets=["genomes"])
def test_buckets(gaia):
    gaia.put("genomes:x", "shared")
    assert gaia.path("any", "genomes:x").read_text() == gaia.get("genomes:x") == "shared"
""",
        "--strict-markers",
        "--strict-config",
    )
    result.assert_outcomes(passed=3)


def test_results_are_reused_where_that_is_asked_for(project: pytest.Pytester) -> None:
    test = """
COUNT = {**command("count", "sh", "-c", "echo ran >> {{file}}"), "vars": {"file": "none"}}

def runs(gaia):
    file = gaia.root.parent / "runs"
    for name in ("one", "two"):
        gaia.upload(name, {}, [{**COUNT, "vars": {"file": str(file)}}], [step("count")])
        gaia.run(name)
    return len(file.read_text().split())

def test_setting(gaia):
    assert runs(gaia) == 1

@pytest.mark.gaia(reuse=False)
def test_marker(gaia):
    assert runs(gaia) == 2
"""
    run(project, test, "-o", "gaia_reuse=true").assert_outcomes(passed=2)
    without = run(project, test)
    without.assert_outcomes(passed=1, failed=1)


def test_a_bad_marker_is_one_message(project: pytest.Pytester) -> None:
    markers = {
        "runtme='process'": "pytest.mark.gaia: there is no key 'runtme'; did you mean 'runtime'[?]",
        "root='/'": "pytest.mark.gaia: there is no key 'root'; the keys are: *",
        "'process'": "pytest.mark.gaia: it was given 'process'; name it: *",
        "workers=0": "config, workers: it is 0; *",
        "buckets=['']": "config, bucket *",
    }
    tests = [
        f"@pytest.mark.gaia({marker})\ndef test_{number}(gaia):\n    pass\n"
        for number, marker in enumerate(markers)
    ]
    result = run(project, "\n".join(tests))
    result.assert_outcomes(errors=len(markers))
    result.stdout.fnmatch_lines(list(markers.values()))
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*gaia_local/*")


def test_a_bad_setting_is_one_message(project: pytest.Pytester) -> None:
    result = run(project, "def test_it(gaia):\n    pass\n", "-o", "gaia_runtime=magic")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["config, runtime: it is 'magic'; give 'docker' or 'process' or 'auto'"]
    )


def test_the_plugins_fixtures_are_listed(project: pytest.Pytester) -> None:
    result = run(project, "", "--fixtures")
    result.stdout.fnmatch_lines(["gaia -- *", "gaia_client -- *"])


# ------------------------------------------------------------------------------- with other plugins


def test_tests_run_beside_each_other(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
@pytest.mark.parametrize("number", range(6))
def test_it(gaia_client, number):
    import gaia
    gaia.Gaia().upload("w", {}, COMMANDS, [step("say")])
    gaia_client.run()
    assert list(gaia_client.workflows()["workflows"]) == ["w"]
""",
        "-n",
        "2",
    )
    result.assert_outcomes(passed=6)


def test_the_plugin_can_be_disabled_and_overridden(project: pytest.Pytester) -> None:
    test = "def test_it(gaia):\n    pass\n"
    result = run(project, test, "-p", "no:gaia_local")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'gaia' not found"])
    own = "@pytest.fixture\ndef gaia():\n    return 7\n\ndef test_it(gaia):\n    assert gaia == 7\n"
    run(project, own).assert_outcomes(passed=1)


def test_warnings_as_errors_are_no_obstacle(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
@pytest.mark.parametrize("number", range(3))
def test_it(gaia, number):
    gaia.upload("w", {}, COMMANDS, [step("say")])
    for name in "abc":
        gaia.put(f"b:deep/{name}/x/", {"y/z": "new"})
        gaia.run()
""",
        "-W",
        "error",
    )
    result.assert_outcomes(passed=3)


# ----------------------------------------------------------------------------------------- its cost


def test_a_run_that_does_not_need_it_does_not_import_the_engine(tmp_path: Path) -> None:
    """It imports its own three modules only; Python itself reports their cost in microseconds."""
    code = "import json, sys, pytest\nbefore = set(sys.modules)\nimport gaia_local.testing.plugin\n"
    code += "print(json.dumps(sorted(set(sys.modules) - before)))"
    line = [sys.executable, "-X", "importtime", "-c", code]
    ran = subprocess.run(line, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(ran.stdout) == [
        "gaia_local",
        "gaia_local.testing",
        "gaia_local.testing.plugin",
    ]
    costs = {
        words[2].strip(): int(words[1])
        for line in ran.stderr.splitlines()
        if len(words := line.split("|")) == 3 and words[1].strip().isdigit()
    }
    assert costs["gaia_local.testing.plugin"] < 50_000

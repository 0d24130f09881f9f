"""Shared by all tests: guards that nothing outlives a test, fixtures, and rules for skips."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.engine.decision_loop import DecisionLoop
from gaia_local.errors import EngineUnavailable
from gaia_local.runtimes.docker.address import find_address
from gaia_local.runtimes.docker.connection import connect
from gaia_local.workflow.decision import Decision

pytest.register_assert_rewrite("support")  # before anything of it is imported

from support import reloading  # noqa: E402
from support.fixtures import IMAGE, MakeGaia, WaitUntil  # noqa: E402
from support.gates import WaitingSteps  # noqa: E402
from support.waiting import wait_until  # noqa: E402

pytest_plugins = ["support.status_page_fixtures"]

REQUIRE_DOCKER = "GAIA_LOCAL_REQUIRE_DOCKER"
"""Set to 1, it makes a failure of every skipped test: a missing engine is a defect then."""


# ------------------------------------------------------------------------------------------- guards


@pytest.fixture(autouse=True)
def nothing_survives(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves one of our threads, a child process, or a container behind."""
    threads, children = set(_threads()), set(_children())
    top: Path | None = (
        request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    )
    yield
    survivors = [f"the thread {thread.name}" for thread in _threads() if thread not in threads]
    for pid, command in _children().items():
        # The resource tracker lives as long as Python does.
        if pid not in children and "multiprocessing.resource_tracker" not in command:
            survivors.append(f"the process {pid} ({command})")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if top is not None and _uses_containers(request):
        survivors += [f"the container {name}" for name in _containers(top)]
    if survivors:
        pytest.fail("the test left behind: " + ", ".join(survivors))


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own root and runtime are none of the tests' business."""
    monkeypatch.delenv("GAIA_LOCAL_ROOT", raising=False)
    monkeypatch.delenv("GAIA_LOCAL_RUNTIME", raising=False)
    monkeypatch.delenv("GAIA_LOCAL_REUSE", raising=False)
    monkeypatch.delenv("GAIA_LOCAL_KEEP_ATTEMPTS", raising=False)
    monkeypatch.delenv("GAIA_LOCAL_KEEP_FAILED", raising=False)


@pytest.fixture(autouse=True)
def live_equals_reloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After every decision of an engine here, a workflow read back equals the live one."""
    note, found = DecisionLoop._count_started, []

    def checked(loop: DecisionLoop, name: str, decision: Decision) -> None:
        note(loop, name, decision)
        try:
            reloading.check(loop, name)
        except AssertionError as error:
            found.append(str(error))

    monkeypatch.setattr(DecisionLoop, "_count_started", checked)
    yield
    assert not found, found[0]


@pytest.fixture(autouse=True, scope="session")
def signals_as_in_a_terminal() -> Iterator[None]:
    """Background shells and nohup have signals ignored by all that runs below them."""
    ignored = [
        number
        for number in (signal.SIGINT, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    if signal.SIGINT in ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.SIGHUP in ignored:
        # Ignored here as before, but a program that a test starts has the default.
        signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("gaia-local")]


def _children() -> dict[int, str]:
    """This process's children, zombies too, with their command lines (Linux only)."""
    found = {}
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for pid in children.read_text().split():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    found[int(pid)] = (
                        Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
                        or "dead"
                    )
    return found


def _uses_containers(request: pytest.FixtureRequest) -> bool:
    spec = getattr(request.node, "callspec", None)
    return "docker_image" in request.fixturenames or (
        spec is not None and "docker" in spec.params.values()
    )


def _containers(top: Path) -> list[str]:
    """The containers of all roots below `top`; other containers are somebody else's."""
    roots = {str(owner.parent) for owner in top.rglob("owner")}
    try:
        client = connect(find_address())
    except EngineUnavailable:
        return []
    with contextlib.closing(client):
        found = client.containers(all=True, filters={"label": "gaia-local.root"})
        return [
            container["Names"][0]
            for container in found
            if container["Labels"]["gaia-local.root"] in roots
        ]


# ----------------------------------------------------------------------------------------- fixtures


@pytest.fixture
def gaia_root(tmp_path: Path) -> Path:
    """A root that doesn't exist yet."""
    return tmp_path / "root"


@pytest.fixture
def make_gaia(gaia_root: Path) -> Iterator[MakeGaia]:
    """Makes `Gaia` objects on `gaia_root` that run processes; at the end, they stop and close."""
    with contextlib.ExitStack() as made:

        def make(**config: Any) -> Gaia:
            gaia = Gaia({"root": gaia_root, "runtime": "process", "workers": 2, **config})
            made.callback(gaia.close, wait=False)
            return gaia

        yield make


@pytest.fixture(name="wait_until")
def wait_until_fixture() -> WaitUntil:
    """Waits for a condition that nothing announces."""
    return wait_until


@pytest.fixture
def waiting(tmp_path: Path) -> WaitingSteps:
    """Makes Steps that run until the test lets them go on."""
    return WaitingSteps(tmp_path / "waiting")


@pytest.fixture(scope="session")
def docker_image() -> str:
    """The image for tests with containers; skips if the engine or the image is missing."""
    import docker

    try:
        with contextlib.closing(connect(find_address())) as client:
            client.inspect_image(IMAGE)  # type: ignore[no-untyped-call]
    except (docker.errors.DockerException, EngineUnavailable, OSError) as error:
        pytest.skip(f"no Docker engine with the image {IMAGE!r} (GAIA_LOCAL_TEST_IMAGE): {error}")
    return IMAGE


# ------------------------------------------------------------------------------------ skipped tests


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and os.environ.get(REQUIRE_DOCKER) == "1" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"with {REQUIRE_DOCKER}=1 nothing may be skipped; {_reason(report)}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """If an engine is required, let skipped tests fail."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself."""
    report = yield
    _refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of skipped container tests, with the reasons."""
    skipped = map(_reason, terminalreporter.stats.get("skipped", []))
    reasons = collections.Counter(
        reason.removeprefix("Skipped: ") for reason in skipped if "docker" in reason.lower()
    )
    for reason, count in reasons.items():
        terminalreporter.write_line(f"container tests: {count} skipped: {reason}", yellow=True)

"""Signals: noted in calls of ours, raised where these wait or end, and obeyed at the second one."""

from __future__ import annotations

import concurrent.futures
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from benchmarks import interrupting
from gaia_local import Gaia, interrupts
from gaia_local.interrupts import deferred
from support.builders import step
from support.fixtures import IMAGE
from support.waiting import wait_until

SAY = [{"name": "say", "image": IMAGE, "command": ["echo", "hi"], "outputs": {"x": ">"}}]
SLEEP = [
    {
        "name": "sleep",
        "image": IMAGE,
        "command": ["sh", "-c", "echo begun; sleep 600; : > /out/x"],
        "outputs": {"x": "/out/x"},
    }
]
TRIALS, AT_A_TIME = 20, 4


class Told(Exception):
    """Raised by a user's handler."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[int, Any]]:
    """Those of a program in a terminal; pytest's are put back."""
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    if signal.SIGHUP in before:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    for number, handler in before.items():
        signal.signal(number, handler)


# ------------------------------------------------------------------------------- noted and raised


def test_a_signal_is_raised_at_the_end_of_a_call() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), deferred():
        with deferred():
            signal.raise_signal(signal.SIGINT)
        reached = True
    assert reached


def test_a_signal_is_raised_where_a_call_waits() -> None:
    with pytest.raises(KeyboardInterrupt), deferred():
        signal.raise_signal(signal.SIGINT)
        interrupts.check()
        pytest.fail("it goes on")


def test_an_end_is_not_broken_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "END_SECONDS", 60.0)
    reached = False
    with pytest.raises(KeyboardInterrupt), deferred():
        with deferred(urgent=True):
            signal.raise_signal(signal.SIGINT)
            interrupts.check()
            reached = True
        interrupts.check()
    assert reached


def test_an_error_of_the_call_doesn_t_hide_a_signal() -> None:
    with pytest.raises(KeyboardInterrupt) as raised, deferred():
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError
    assert isinstance(raised.value.__context__, ZeroDivisionError)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_users_handler_is_called_in_the_call_and_kept(number: int) -> None:
    numbers: list[int] = []

    def handler(told: int, frame: FrameType | None) -> None:
        numbers.append(told)

    signal.signal(number, handler)
    with deferred():
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert numbers == []
        interrupts.check()
        assert numbers == [number]
        signal.raise_signal(number)
        assert numbers == [number]
    assert numbers == [number] * 3
    assert signal.getsignal(number) is handler


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with deferred(lambda number, frame: pytest.fail("it is ignored")):
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.raise_signal(signal.SIGHUP)


def test_a_handler_for_all_of_them() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Told(number)

    for number in interrupts.SIGNALS:
        with pytest.raises(Told), deferred(stop):
            signal.raise_signal(number)


def test_the_handlers_are_put_back(handlers: dict[int, Any]) -> None:
    with deferred():
        assert signal.getsignal(signal.SIGINT) is not handlers[signal.SIGINT]
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def test_other_threads_change_no_handler() -> None:
    found: list[Any] = []

    def work() -> None:
        with deferred():
            found.append(signal.getsignal(signal.SIGINT))
            interrupts.check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


def test_a_handler_that_was_set_meanwhile_stays() -> None:
    def own(number: int, frame: FrameType | None) -> None:
        """Of a server, say, that the call started."""

    with deferred():
        signal.signal(signal.SIGINT, own)
    assert signal.getsignal(signal.SIGINT) is own


def test_a_call_of_gaia_is_whole_before_ctrl_c_is_raised(tmp_path: Path) -> None:
    def interrupt(names: object) -> None:
        """In the middle of the upload, in whose thread it is called."""
        if threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)

    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        unsubscribe = gaia.subscribe(interrupt)
        with pytest.raises(KeyboardInterrupt):
            gaia.upload("w", {}, SAY, [step("say", "say", "a:x")])
        unsubscribe()
        assert gaia.wait("w", 60)["state"] == "complete"


def test_ctrl_c_in_a_wait_of_gaia_is_raised_there(tmp_path: Path) -> None:
    config = {"root": tmp_path, "runtime": "process"}
    with pytest.raises(KeyboardInterrupt), Gaia(config) as gaia:
        gaia.upload("w", {}, SLEEP, [step("sleep", "sleep", "a:x")])
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        gaia.wait("w", 60)
    timer.join()
    with Gaia(config) as gaia:
        assert gaia.status("w")["state"] == "halted"


# ------------------------------------------------------------------------------ the second signal


def ends(program: str, *numbers: signal.Signals) -> tuple[int, str, float]:
    """The return code, output and seconds of a program that is signalled when it says "ready"."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.05)  # two that are pending together are one
        began = time.monotonic()
        rest = process.stdout.read()
    return process.returncode, rest, time.monotonic() - began


STUCK = """
    import sys, threading, time
    from gaia_local.interrupts import deferred
    with deferred():
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ((signal.SIGINT, signal.SIGINT), 130),
        ((signal.SIGINT, signal.SIGTERM), -signal.SIGTERM),
    ],
)
def test_a_second_signal_ends_the_process(numbers: tuple[signal.Signals], status: int) -> None:
    code, _, seconds = ends(STUCK, *numbers)
    assert code == status
    assert seconds < 5


def test_a_signal_while_all_is_closed_ends_the_process() -> None:
    code, _, seconds = ends(STUCK.replace("deferred()", "deferred(urgent=True)"), signal.SIGINT)
    assert (code, seconds < 5) == (130, True)


def test_a_process_that_got_through_lives_on() -> None:
    code, said, _ = ends(
        """
        import time
        from gaia_local import interrupts
        try:
            with interrupts.deferred():
                print("ready", flush=True)
                while interrupts._count < 2:
                    time.sleep(0.01)
        except KeyboardInterrupt:
            time.sleep(2 * interrupts.END_SECONDS)
            print("alive")
        """,
        signal.SIGINT,
        signal.SIGINT,
    )
    assert (code, said) == (0, "alive\n")


@pytest.mark.parametrize(
    "habit",
    [
        "import signal; signal.signal(signal.SIGINT, lambda *_: print('told', flush=True))",
        "sys.ps1 = '>>> '",
    ],
    ids=["a handler of its own", "interactive"],
)
def test_a_process_whose_user_is_there_is_not_ended(habit: str) -> None:
    program = f"""
        import sys, time
        from gaia_local import interrupts
        {habit}
        try:
            with interrupts.deferred():
                print("ready", flush=True)
                while interrupts._count < 2:
                    time.sleep(0.01)
                time.sleep(2 * interrupts.END_SECONDS)
        except KeyboardInterrupt:
            print("told\\ntold")
    """
    assert ends(program, signal.SIGINT, signal.SIGINT)[:2] == (0, "told\ntold\n")


# ------------------------------------------------------------------------- scripts that are ended

SCRIPT = """
    import json, sys, time
    from gaia_local import Gaia
    {before}
    gaia = Gaia({{"root": sys.argv[1], "runtime": sys.argv[2]}})
    gaia.upload("w", {{}}, *json.loads(sys.argv[3]))
    print("ready", flush=True)
    {after}
"""


class Script:
    """A script with a Step that runs for ever."""

    def __init__(self, root: Path, runtime: str, before: str = "", after: str = "") -> None:
        self._root, definitions = root, [SLEEP, [step("sleep", "sleep", "a:x")]]
        program = textwrap.dedent(SCRIPT).format(before=before, after=after)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(root), runtime, json.dumps(definitions)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self, number: int) -> int:
        """Send a signal to it when its Step runs; answers the return code."""
        with self.process:
            wait_until(self._has_begun, 60)
            self.process.send_signal(number)
        return self.process.returncode

    def _has_begun(self) -> bool:
        with Gaia({"root": self._root}) as gaia:
            return "sleep" in gaia.status("w")["status"].get("commands", {}) and (
                gaia.logs("w", "sleep") == "begun\n"
            )


def halted(root: Path) -> bool:
    """Whether the engine stopped the Step itself: a later one would call it interrupted."""
    with Gaia({"root": root}) as gaia:
        (attempt,) = gaia.timeline("w")["attempts"]
        return (gaia.status("w")["state"], attempt["state"]) == ("halted", "cancelled")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "after",
    ["gaia.wait('w')", "time.sleep(600)", "", "gaia.close()"],
    ids=["in wait", "in its own code", "at its end", "in close"],
)
def test_a_script_that_is_ended_ends_its_programs(
    tmp_path: Path, number: signal.Signals, after: str
) -> None:
    assert Script(tmp_path, "process", after=after).end(number) == -number
    assert halted(tmp_path)


def test_a_script_that_is_ended_ends_its_containers(tmp_path: Path, docker_image: str) -> None:
    """Those that stay fail this test, as each one."""
    assert Script(tmp_path, "docker", after="time.sleep(600)").end(signal.SIGTERM) == -15
    assert halted(tmp_path)


def test_a_scripts_own_handler_is_kept(tmp_path: Path) -> None:
    before = "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    after = "with gaia: time.sleep(600)"
    assert Script(tmp_path, "process", before, after).end(signal.SIGTERM) == 7
    assert halted(tmp_path)


def test_a_script_that_closed_its_gaia_has_the_handlers_of_before(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        gaia.own()
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before


def test_a_forked_child_is_ended_as_any_other(tmp_path: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        gaia.own()
        child = os.fork()
        if not child:
            signal.pause()
            os._exit(1)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL


# ---------------------------------------------------------------------------------- random moments


@pytest.mark.parametrize("kind", sorted(interrupting.PROGRAMS))
def test_random_interrupts_leave_nothing_that_hangs(kind: str) -> None:
    """Many more: ``python -m benchmarks.interrupting``."""
    seed = random.randrange(1 << 32)
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        trials = list(
            pool.map(
                lambda number: interrupting.interrupt(kind, random.Random(seed + number)),
                range(TRIALS),
            )
        )
    assert [trial for trial in trials if trial.odd] == []
    assert not all(trial.too_late for trial in trials)

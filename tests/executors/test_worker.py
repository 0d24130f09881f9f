"""One Task from beginning to end, with a made-up runtime: events, outputs, logs, failures."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gaia_local.errors import RuntimeFailure
from gaia_local.executors.worker import Worker
from gaia_local.model.answer_types import LiveUsage
from gaia_local.model.assignment import Assignment, Outcome
from gaia_local.model.events import Event
from gaia_local.model.tasks import BY_REQUEST, BY_TIMEOUT, Fingerprint, Task, TaskState
from gaia_local.model.validation import NOTHING
from gaia_local.runtimes.contract import Cancellation, Exit, Invocation
from gaia_local.store import file_work, fingerprints
from gaia_local.store.logs import TAIL_LINES, read_tail
from gaia_local.store.task_files import TaskFiles
from gaia_local.store.workspaces import LocalWorkspace
from support.fakes import Program, ScriptedRuntime
from support.stores import StoreBench


class WorkerBench(StoreBench):
    """A worker, and the observer of one Task, with all that it is told."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.runtime = ScriptedRuntime()
        self.worker = Worker(LocalWorkspace(self.storage), self.runtime)
        self.heard: list[Event | Outcome] = []
        self.staged_at_the_end: list[str] = []
        self.together: list[list[str]] = []
        """The kinds of the events that were told in one call."""
        self.told: list[str] = []
        """The reports of long work on files."""
        self.cancellation = Cancellation(lambda seconds, function: lambda: None)

    def task(self, *described: Any, **facts: Any) -> Task:
        facts = {
            "id": "t1",
            "name": "the step",
            "image": "image:1",
            "command": ("do", "it"),
            **facts,
        }
        return super().task(*described, **facts)

    def started(self, task: Task, event: Event) -> None:
        assert event.event.begins and not self.heard
        self.heard.append(event)

    def happened(self, task: Task, *events: Event) -> None:
        assert not any(event.event.begins for event in events)
        self.together.append([event.event for event in events])
        self.heard += events

    def progressed(self, task: Task, doing: str) -> None:
        self.told.append(doing)

    def sampled(self, task: Task, usage: LiveUsage) -> None:
        pass

    def ended(self, task: Task, outcome: Outcome) -> None:
        self.heard.append(outcome)
        self.staged_at_the_end = os.listdir(self.root / "staging")
        self.storage.publish(outcome.outputs)

    def perform(
        self,
        program: Program | None = None,
        known: Mapping[str, Fingerprint] = NOTHING,
        adopted: bool = False,
        **facts: Any,
    ) -> Outcome:
        """Perform a Task, publish its outputs, and return its outcome."""
        if program is not None:
            self.runtime.program = program
        self.heard = []
        assignment = Assignment(self.task(**facts), known=known, adopted=adopted)
        self.worker.perform(assignment, self.cancellation, self)
        *events, outcome = self.heard
        assert isinstance(outcome, Outcome)
        assert all(isinstance(event, Event) for event in events)
        assert os.listdir(self.root / "staging") == []
        return outcome

    @property
    def events(self) -> list[str]:
        return [what.event for what in self.heard if isinstance(what, Event)]

    def stored(self) -> dict[str, str]:
        """The files in the store: path → text."""
        top = self.root / "storage/w"
        return {
            str(path.relative_to(top)): path.read_text()
            for path in sorted(top.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    return WorkerBench(tmp_path.resolve() / "root")


def say(text: str | bytes, code: int = 0) -> Program:
    """A program that says something, and makes nothing."""

    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        with Path(invocation.log).open("ab") as log:
            log.write(text if isinstance(text, bytes) else text.encode())
        return code

    return program


def make(**contents: str) -> Program:
    """A program that writes files into ``/out``."""

    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        for name, content in contents.items():
            (Path(invocation.tree) / "out" / name).write_text(content)
        return 0

    return program


# ----------------------------------------------------------------------------------------- all well


def test_events_come_in_the_order_of_the_real_worker(bench: WorkerBench) -> None:
    seen = bench.put("b:x")
    outcome = bench.perform(
        make(y="made"), inputs={"/in/x": "b:x"}, outputs={"/out/y": "b:y"}, reason="new"
    )
    order = [
        "step-start",
        "container-create",
        "execution-start",
        "execution-complete",
        "container-exit",
    ]
    assert bench.events == order
    assert bench.together == [[order[1]], [order[2]], order[3:]]  # the end takes one call
    assert outcome.state is TaskState.COMPLETE
    for what in bench.heard[:-1]:
        assert isinstance(what, Event)
        assert (what.workflow, what.facts["id"], what.facts["task"]) == ("w", "t1", "the step")
    assert [what.time for what in bench.heard if isinstance(what, Event)] == sorted(
        what.time for what in bench.heard if isinstance(what, Event)
    )
    start, exited = bench.heard[0], bench.heard[4]
    assert isinstance(start, Event) and isinstance(exited, Event)
    assert start.facts["reason"] == "new"
    assert start.facts["inputs"] == {"b:x": fingerprints.digest(str(seen))}
    assert exited.facts["code"] == 0


def test_all_outputs_are_stored(bench: WorkerBench) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> Exit:
        assert Path(invocation.tree, "in/x").read_text() == "input"
        Path(invocation.tree, "out/y").write_text("made")
        Path(invocation.tree, "out/dir/z").write_text("deep")
        say("said\n")(invocation, cancellation)
        return Exit(0, image_id="sha256:1")

    bench.put("b:x", "input")
    outputs = {"/out/y": "b:y", "/out/dir/": "b:dir/", ">": "b:all", "STDOUT": "b:both"}
    outcome = bench.perform(program, inputs={"/in/x": "b:x"}, outputs=outputs)
    assert (outcome.state, outcome.exit_code, outcome.message, outcome.reason, outcome.tail) == (
        TaskState.COMPLETE,
        0,
        None,
        None,
        "",
    )
    assert outcome.image_id == "sha256:1"
    assert bench.stored() == {
        "b/x": "input",
        "b/y": "made",
        "b/dir/z": "deep",
        "b/all": "said\n",
        "b/both": "said\n",
    }
    for output in outcome.outputs:
        assert fingerprints.digest(output.target) == output.fingerprint.digest
    assert Path(bench.storage.log("w", "t1")).read_text() == "said\n"


def test_a_silent_program_has_empty_captures(bench: WorkerBench) -> None:
    outcome = bench.perform(outputs={">": "b:said", ">>": "b:log"})
    assert outcome.state is TaskState.COMPLETE
    assert bench.stored()["b/said"] == ""
    assert "# complete\n# exit code: 0\n" in bench.stored()["b/log"]


def test_stdout_has_a_path_of_its_own(bench: WorkerBench) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        assert invocation.stdout == f"{invocation.tree}/elsewhere/stdout"
        Path(invocation.stdout).write_text("out")
        return say("out and err")(invocation, cancellation)  # type: ignore[return-value]

    bench.perform(
        program, outputs={"/elsewhere/stdout": "b:out", ">": "b:all"}, stdout="/elsewhere/stdout"
    )
    assert bench.stored() == {"b/out": "out", "b/all": "out and err"}


def test_stdout_is_kept_only_when_asked_for(bench: WorkerBench) -> None:
    bench.perform(lambda invocation, cancellation: 0 if invocation.stdout is None else 1)
    assert bench.heard[-1] == Outcome(TaskState.COMPLETE, (), 0)


@pytest.mark.parametrize("said", ["", "x", "one\ntwo\n", "no end", "é\n" * 50_000])
def test_the_log_has_a_header_the_lines_and_a_footer(bench: WorkerBench, said: str) -> None:
    bench.put("b:x")
    bench.perform(
        say(said), inputs={"/in/x": "b:x"}, outputs={">>": "b:log", ">": "b:said"}, timeout=90.0
    )
    head, _, rest = bench.stored()["b/log"].partition("\n\n")
    assert head.splitlines() == [
        "# task: the step",
        "# id: t1",
        "# workflow: w",
        "# image: image:1",
        "# command: do it",
        "# input /in/x: b:x",
        "# output >>: b:log",
        "# output >: b:said",
    ]
    ended = "\n" if said and not said.endswith("\n") else ""
    assert rest.startswith(f"{said}{ended}\n# complete\n# exit code: 0\n# elapsed: ")
    assert rest.endswith(" s\n# timeout: 90 s\n")
    assert bench.stored()["b/said"] == said


def test_bytes_that_are_no_text_stay_what_they_are(bench: WorkerBench) -> None:
    noise = bytes(range(256)) * 10
    outcome = bench.perform(say(noise, code=1), outputs={">>": "b:log"})
    assert outcome.tail.encode()
    assert noise in (bench.root / "storage/w/b/log").read_bytes()


def test_the_fingerprints_of_inputs_are_told(bench: WorkerBench) -> None:
    seen = fingerprints.fingerprint(str(bench.put("b:x")))
    told = bench.perform(inputs={"/in/x": "b:x"}).inputs["b:x"]
    assert seen is not None and (told.looked_like, told.digest) == (seen.quick, seen.digest)


def test_a_known_input_is_not_read_again_unless_it_changed(bench: WorkerBench) -> None:
    path = bench.put("b:x")
    quick = fingerprints.quick_fingerprint(str(path))
    assert quick is not None
    known = Fingerprint(quick, "as recorded")
    assert bench.perform(inputs={"/in/x": "b:x"}, known={"b:x": known}).inputs == {"b:x": known}
    path.write_text("changed")
    told = bench.perform(inputs={"/in/x": "b:x"}, known={"b:x": known}).inputs["b:x"]
    assert (told.looked_like, told.digest) == (
        fingerprints.quick_fingerprint(str(path)),
        fingerprints.digest(str(path)),
    )


def test_inputs_that_the_runtime_mounts_are_not_copied_unless_an_output_is_nested_with_them(
    bench: WorkerBench,
) -> None:
    for key in ("b:apart", "b:dir/a", "b:in-output"):
        bench.put(key)
    bench.runtime.mounts_inputs = True

    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        assert sorted(os.listdir(invocation.tree)) == ["nested", "out"]
        assert Path(invocation.tree, "out/kept/x").read_text() == "content"
        assert Path(invocation.tree, "nested/a").read_text() == "content"
        Path(invocation.tree, "nested/made").write_text("made")
        return 0

    outcome = bench.perform(
        program,
        inputs={"/in/apart": "b:apart", "/nested/": "b:dir/", "/out/kept/x": "b:in-output"},
        outputs={"/nested/made": "o:made", "/out/": "o:all/", ">": "o:said"},
    )
    assert outcome.message is None
    (invocation,) = bench.runtime.invocations
    assert invocation.inputs == (("/in/apart", bench.storage.path("w", "b:apart")),)
    assert bench.stored()["o/made"] == "made"


# ----------------------------------------------------------------------------------------- failures


def test_a_command_that_fails_stores_its_log_alone(bench: WorkerBench) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        make(y="half")(invocation, cancellation)
        return say("it broke", 3)(invocation, cancellation)  # type: ignore[return-value]

    outcome = bench.perform(program, outputs={"/out/y": "b:y", ">": "b:said", ">>": "b:log"})
    assert (outcome.state, outcome.exit_code, outcome.message) == (
        TaskState.ERROR,
        3,
        "exit code 3",
    )
    assert outcome.tail == "it broke"
    assert [output.key for output in outcome.outputs] == ["b:log"]
    assert list(bench.stored()) == ["b/log"]
    assert "it broke\n\n# failed: exit code 3\n# exit code: 3\n" in bench.stored()["b/log"]
    assert bench.events[-1] == "container-exit"


def test_a_runtimes_failure_message_is_reported(bench: WorkerBench) -> None:
    outcome = bench.perform(lambda *_: Exit(137, "it ran out of memory"), outputs={">>": "b:log"})
    assert (outcome.state, outcome.exit_code, outcome.message) == (
        TaskState.ERROR,
        137,
        "it ran out of memory",
    )
    assert "# failed: it ran out of memory\n# exit code: 137\n" in bench.stored()["b/log"]


def test_outputs_that_were_not_made_are_named(bench: WorkerBench) -> None:
    outcome = bench.perform(
        make(y="y"), outputs={"/out/x": "b:x", "/out/y": "b:y", "/out/z": "b:z", ">>": "b:log"}
    )
    assert (outcome.state, outcome.exit_code) == (TaskState.ERROR, 0)
    assert outcome.message is not None
    assert "output 'b:x' was not made: there is nothing at /out/x" in outcome.message
    assert "'b:z'" in outcome.message
    assert "'b:y'" not in outcome.message
    assert list(bench.stored()) == ["b/log"]
    assert outcome.message in bench.stored()["b/log"]


@pytest.mark.parametrize("name", ["odd", "odd\udcff"])
def test_an_output_that_cannot_be_stored_is_a_failure_of_the_command(
    bench: WorkerBench, name: str
) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        os.mkfifo(Path(invocation.tree) / "out/dir" / name)
        Path(invocation.tree, "out/y").write_text("y")
        return 0

    outcome = bench.perform(
        program, outputs={"/out/y": "b:y", "/out/dir/": "b:dir/", ">>": "b:log"}
    )
    assert outcome.state is TaskState.ERROR
    assert outcome.message is not None
    assert "/odd" in outcome.message and "is a FIFO" in outcome.message
    assert outcome.message.encode()
    assert list(bench.stored()) == ["b/log"]
    assert f"# failed: {outcome.message}\n" in bench.stored()["b/log"]


def test_an_output_that_leads_out_of_the_tree_is_a_failure_of_the_command(
    bench: WorkerBench, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")

    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        Path(invocation.tree, "out/y").symlink_to(tmp_path / "secret")
        Path(invocation.tree, "out/loop").symlink_to("loop")
        return 0

    outcome = bench.perform(program, outputs={"/out/y": "b:y", ">>": "b:log"})
    assert outcome.state is TaskState.ERROR
    assert outcome.message is not None and "there is a link to" in outcome.message
    assert list(bench.stored()) == ["b/log"]
    outcome = bench.perform(program, outputs={"/out/loop": "b:y"})
    assert outcome.state is TaskState.ERROR
    assert outcome.message == "/out/loop can't be stored: it is a loop of links"
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_link_out_of_an_output_is_a_failure_of_the_command(bench: WorkerBench) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        Path(invocation.tree, "out/dir/odd").symlink_to("/etc/passwd")
        Path(invocation.tree, "out/y").write_text("y")
        return 0

    outcome = bench.perform(
        program, outputs={"/out/y": "b:y", "/out/dir/": "b:dir/", ">>": "b:log"}
    )
    assert (outcome.state, outcome.exit_code) == (TaskState.ERROR, 0)
    assert outcome.message == (
        "output 'b:dir/' can't be stored: its link 'odd' leads out of it, to '/etc/passwd';"
        " copy the file instead, or leave the link out"
    )
    assert list(bench.stored()) == ["b/log"]


def test_a_sentence_on_the_end_of_a_program_is_a_failure_whatever_its_exit_code(
    bench: WorkerBench,
) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> Exit:
        Path(invocation.tree, "out/y").write_text("half")
        return Exit(0, "out of memory")

    outcome = bench.perform(program, outputs={"/out/y": "b:y", ">>": "b:log"})
    assert (outcome.state, outcome.exit_code, outcome.message) == (
        TaskState.ERROR,
        0,
        "out of memory",
    )
    assert list(bench.stored()) == ["b/log"]
    assert "# failed: out of memory\n# exit code: 0\n" in bench.stored()["b/log"]


def test_the_timeout_is_the_reason(bench: WorkerBench) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        make(y="half")(invocation, cancellation)
        cancellation.cancel(BY_TIMEOUT)
        return 143

    outcome = bench.perform(program, outputs={"/out/y": "b:y", ">>": "b:log"}, timeout=0.5)
    assert (outcome.state, outcome.reason, outcome.message) == (
        TaskState.ERROR,
        BY_TIMEOUT,
        "it exceeded its timeout of 0.5 s",
    )
    assert list(bench.stored()) == ["b/log"]
    assert "# failed: it exceeded its timeout of 0.5 s\n" in bench.stored()["b/log"]


@pytest.mark.parametrize("code", [0, 143])
def test_cancelled_while_it_runs(bench: WorkerBench, code: int) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        make(y="half")(invocation, cancellation)
        cancellation.cancel(BY_REQUEST)
        return code

    outcome = bench.perform(program, outputs={"/out/y": "b:y", ">>": "b:log"})
    assert outcome == Outcome(TaskState.CANCELLED)
    assert bench.stored() == {}


def test_cancelled_while_its_outputs_are_prepared(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = TaskFiles.prepare

    def cancel(*given: Any) -> Any:
        bench.cancellation.cancel(BY_REQUEST)
        return prepare(*given)

    monkeypatch.setattr(TaskFiles, "prepare", cancel)
    outcome = bench.perform(make(y="y"), outputs={"/out/y": "b:y"})
    assert outcome == Outcome(TaskState.CANCELLED)
    assert bench.stored() == {}


def test_a_runtime_that_cannot_run_a_task_is_an_exception(bench: WorkerBench) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        raise RuntimeFailure("no such image: image:1")

    outcome = bench.perform(program, outputs={">>": "b:log"})
    assert (outcome.state, outcome.message, outcome.exception) == (
        TaskState.EXCEPTION,
        "no such image: image:1",
        "RuntimeFailure",
    )
    assert outcome.exit_code is None
    assert bench.stored() == {}


def test_an_input_that_vanished_is_an_exception_that_names_it(bench: WorkerBench) -> None:
    outcome = bench.perform(inputs={"/in/x": "b:gone"})
    assert (outcome.state, outcome.exception) == (TaskState.EXCEPTION, "StorageError")
    assert outcome.message is not None and "input 'b:gone' vanished" in outcome.message
    assert bench.events == ["step-start"]
    assert bench.runtime.invocations == []


def test_an_input_that_is_a_fifo_is_an_exception_that_names_it(bench: WorkerBench) -> None:
    path = bench.put("b:x")
    path.unlink()
    os.mkfifo(path)
    outcome = bench.perform(inputs={"/in/x": "b:x"})
    assert outcome.state is TaskState.EXCEPTION
    assert outcome.message is not None and f"{path} is a FIFO" in outcome.message


def test_an_error_of_the_system_is_an_exception(bench: WorkerBench) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        raise OSError(28, "No space left on device")

    outcome = bench.perform(program)
    assert (outcome.state, outcome.exception) == (TaskState.EXCEPTION, "OSError")
    assert outcome.message is not None and "No space left on device" in outcome.message


def test_a_defect_is_left_to_the_executor_and_the_staging_goes(bench: WorkerBench) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bench.perform(program)
    assert os.listdir(bench.root / "staging") == []
    assert not any(isinstance(what, Outcome) for what in bench.heard)


def test_the_staging_is_there_until_the_outcome_was_taken(bench: WorkerBench) -> None:
    bench.perform(make(y="y"), outputs={"/out/y": "b:y"})
    assert bench.staged_at_the_end == ["t1"]
    assert bench.stored() == {"b/y": "y"}


# ----------------------------------------------------------------------------------------- adoption


def test_an_adopted_task_is_taken_up_where_it_is(bench: WorkerBench) -> None:
    bench.put("b:x")
    task = bench.task(inputs={"/in/x": "b:x"}, outputs={"/out/y": "b:y"})
    staging = TaskFiles(task, LocalWorkspace(bench.storage))
    staging.take_in()
    Path(staging.tree, "out/y").write_text("made before")
    outcome = bench.perform(
        lambda *_: 0, inputs={"/in/x": "b:x"}, outputs={"/out/y": "b:y"}, adopted=True
    )
    assert bench.events == ["step-adopted", "execution-complete", "container-exit"]
    assert outcome.state is TaskState.COMPLETE
    assert bench.stored()["b/y"] == "made before"
    assert bench.runtime.invocations == []  # it was resumed, not run


def test_an_adopted_task_whose_directory_is_gone_fails(bench: WorkerBench) -> None:
    outcome = bench.perform(lambda *_: 0, outputs={"/out/y": "b:y"}, adopted=True)
    assert outcome.state in (TaskState.ERROR, TaskState.EXCEPTION)
    assert bench.stored() == {}


# --------------------------------------------------------------------------------------------- tail


@pytest.mark.parametrize(
    ("said", "tail"),
    [
        (b"", ""),
        (b"one\ntwo", "one\ntwo"),
        (b"one\ntwo\n", "one\ntwo"),
        (b"\n" * 500, "\n" * (TAIL_LINES - 1)),
        (
            b"".join(b"%d\n" % number for number in range(500)),
            "\n".join(str(number) for number in range(400, 500)),
        ),
        (b"bad \xff\n", "bad \ufffd"),
        (b"x" * 300_000, "x" * 100_000),
    ],
)
def test_the_tail_of_a_log(tmp_path: Path, said: bytes, tail: str) -> None:
    (tmp_path / "log").write_bytes(said)
    assert read_tail(f"{tmp_path}/log") == tail


def test_the_tail_of_no_log(tmp_path: Path) -> None:
    assert read_tail(f"{tmp_path}/nothing") == ""
    shutil.rmtree(tmp_path)
    assert read_tail(f"{tmp_path}/nothing") == ""


# -------------------------------------------------------------------------------------- huge files

HUGE = 32 << 30
"""Bytes of a hole whose digest takes the better part of a minute."""
SOON = 5.0
"""The time in which a cancelled Task is over on a busy machine; mostly it takes a tenth of it."""


def huge(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as writer:
        writer.truncate(HUGE)


def cancelled_while_reading(bench: WorkerBench, begun: threading.Event, **facts: Any) -> Outcome:
    """Perform a Task that is cancelled a moment after `begun`; it must end soon then."""
    cancelled: list[float] = []

    def cancel() -> None:
        assert begun.wait(SOON)
        time.sleep(0.2)  # let it come to the midst of reading
        cancelled.append(time.monotonic())
        bench.cancellation.cancel(BY_REQUEST)

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        outcome = bench.perform(**facts)
    finally:
        thread.join()
    assert cancelled and time.monotonic() - cancelled[0] < SOON
    return outcome


@pytest.mark.parametrize("mounts", [False, True], ids=["copied", "mounted"])
@pytest.mark.parametrize("key", ["b:x", "b:x/"])
def test_a_cancellation_ends_the_reading_of_inputs(
    bench: WorkerBench, key: str, mounts: bool
) -> None:
    bench.runtime.mounts_inputs = mounts
    huge(Path(bench.storage.path("w", key)) / ("file" if key.endswith("/") else ""))
    begun = threading.Event()
    begun.set()
    internal = "/in/x/" if key.endswith("/") else "/in/x"
    outcome = cancelled_while_reading(bench, begun, inputs={internal: key})
    assert outcome == Outcome(TaskState.CANCELLED)
    assert bench.events == [] and bench.runtime.invocations == []


@pytest.mark.parametrize(
    ("outputs", "places"),
    [
        ({"/out/y": "b:y"}, ["out/y"]),
        ({"/out/": "b:y/"}, ["out/y"]),
        ({"/out/": "b:y/", "/out/y": "b:z"}, ["out/y"]),
        ({"/out/": "b:y/"}, ["out/y", "out/y2"]),
    ],
)
def test_a_cancellation_ends_the_reading_of_outputs(
    bench: WorkerBench, outputs: dict[str, str], places: list[str]
) -> None:
    begun = threading.Event()

    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        for place in places:
            huge(Path(invocation.tree, place))
        begun.set()
        return 0

    outcome = cancelled_while_reading(bench, begun, program=program, outputs=outputs)
    assert outcome == Outcome(TaskState.CANCELLED)
    assert bench.stored() == {}


@pytest.mark.parametrize("capture", [">>", "STDOUT"])
def test_a_cancellation_ends_the_storing_of_a_log(bench: WorkerBench, capture: str) -> None:
    begun = threading.Event()

    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        huge(Path(invocation.log))
        begun.set()
        return 0

    outcome = cancelled_while_reading(bench, begun, program=program, outputs={capture: "b:log"})
    assert outcome == Outcome(TaskState.CANCELLED)


def test_the_outputs_of_a_task_that_timed_out_are_still_stored(bench: WorkerBench) -> None:
    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        cancellation.cancel(BY_TIMEOUT)
        return say("said before")(invocation, cancellation)  # type: ignore[return-value]

    outcome = bench.perform(program, outputs={">>": "b:log", "/out/y": "b:y"})
    assert outcome.state is TaskState.ERROR
    assert "said before" in bench.stored()["b/log"]


def test_long_reading_is_told(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_work, "TELL_SECONDS", 0.0)
    with bench.put("b:x").open("wb") as writer:
        writer.truncate(8_000_000)

    def program(invocation: Invocation, cancellation: Cancellation) -> int:
        assert bench.told, "nothing was told of the input"
        with Path(invocation.tree, "out/y").open("wb") as writer:
            writer.truncate(2_000_000)
        return 0

    bench.perform(program, inputs={"/in/x": "b:x"}, outputs={"/out/y": "b:y"})
    assert bench.told[0] == "copying input 'b:x': 8 of 8 MB"
    assert "reading input 'b:x': 2.1 of 8 MB" in bench.told
    assert bench.told[-1] == "reading output 'b:y': 2 of 2 MB"


def test_short_work_is_not_told(bench: WorkerBench) -> None:
    bench.put("b:x")
    bench.perform(make(y="made"), inputs={"/in/x": "b:x"}, outputs={"/out/y": "b:y"})
    assert bench.told == []

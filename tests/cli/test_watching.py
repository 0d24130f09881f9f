"""A workflow that is kept up to date: the effects of changes, and the lines about them."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local import GaiaError
from gaia_local.cli.watching import ChangeReporter, Definitions, change_line
from gaia_local.errors import InvalidInput
from support.builders import COPY, step
from support.command_line import answer, call, end, here, on_a_terminal, start
from support.fixtures import MakeGaia
from support.lineage import lineage

__all__ = ["here"]  # a fixture for all tests

NEEDY = {**COPY, "command": ["sh", "-c", "test '{{mood}}' = good && cp /in/a /out/x"]}


ONE, TWO, THREE = (
    step("one", "copy", "b:b", "b:a"),
    step("two", "copy", "b:c", "b:b"),
    step("three", "copy", "b:d", "b:c"),
)


def put(path: str, content: object) -> None:
    """Write a file as editors do: another one, renamed."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(".new")
    new.write_text(content if isinstance(content, str) else json.dumps(content))
    new.rename(file)


class Kept:
    """A process that keeps a workflow up to date, and its output."""

    def __init__(self, *arguments: str) -> None:
        self.process = start(*arguments)

    def line(self) -> str:
        """The next line, without its time."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert re.match(r"\d\d:\d\d:\d\d  ", line), line + (
            self.process.stderr.read() if self.process.stderr else ""
        )
        return re.sub(r" in [\d.]+ m?s", " in a moment", line[10:].rstrip())

    def plain_line(self) -> str:
        """The next line, which has no time."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip()

    def error_line(self) -> str:
        """The next line on stderr."""
        assert self.process.stderr is not None
        return self.process.stderr.readline().rstrip()

    def stop(self, number: signal.Signals = signal.SIGINT, status: int = 0) -> str:
        self.process.send_signal(number)
        out, err = end(self.process, status)
        assert out == ""
        return err


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Two Steps in a row, kept up to date from their files; both are complete."""
    put("gaia-data/storage/w/b/a", "1")
    put("commands.json", [COPY])
    put("steps.json", [ONE, TWO])
    kept = Kept("upload", "w", "--commands", "commands.json", "--steps", "steps.json", "--watch")
    try:
        assert kept.line() == "new → one, two ran in a moment → complete, 2 of 2 Steps done"
        yield kept
    finally:
        if kept.process.poll() is None:
            kept.process.kill()
            kept.process.communicate()


def test_a_changed_file_makes_a_wave(kept: Kept, here: Path) -> None:
    put("gaia-data/storage/w/b/a", "22")
    assert (
        kept.line() == "input changed: b:a → one, two ran in a moment → complete, 2 of 2 Steps done"
    )
    assert (here / "gaia-data/storage/w/b/c").read_text() == "22"
    (here / "gaia-data/storage/w/b/a").unlink()
    # B:b is used as it is.
    assert kept.line() == "incomplete, 1 of 2 Steps done, 1 waiting (for b:a)"
    put("gaia-data/storage/w/b/a", "333")
    assert (
        kept.line() == "input changed: b:a → one, two ran in a moment → complete, 2 of 2 Steps done"
    )
    assert "Stopped" not in kept.stop()


def test_changed_definitions_are_merged_and_bad_ones_told(kept: Kept) -> None:
    put("steps.json", [ONE, TWO, THREE])
    assert kept.line() == "new → three ran in a moment → complete, 3 of 3 Steps done"
    put("commands.json", [{**COPY, "command": ["cp", "-f", "/in/a", "/out/x"]}])
    assert (
        kept.line()
        == "command changed → one, two, three ran in a moment → complete, 3 of 3 Steps done"
    )
    put("steps.json", "[{")
    assert re.match(
        r"not merged: steps\.json, line 1, column 3: this is not valid JSON", kept.line()
    )
    put("steps.json", [{**ONE, "command": "cpy"}, TWO, THREE])
    assert (
        kept.line()
        == "not merged: workflow 'w', Step 'one': there is no Command 'cpy'; did you mean 'copy'?"
    )
    Path("steps.json").unlink()
    assert re.match(r"not merged: steps\.json: it can't be read", kept.line())
    put("steps.json", [ONE, TWO])
    assert kept.line() == (
        "1 Step remains in the workflow, though not in steps.json: three (--prune removes)"
    )
    assert answer("status", "w", "--json")["progress"]["done"] == 3
    kept.stop()


def test_new_commands_may_need_new_steps(kept: Kept) -> None:
    put("commands.json", [NEEDY])
    assert "mood" in kept.line()
    put("steps.json", [{**ONE, "vars": {"mood": "good"}}, {**TWO, "vars": {"mood": "bad"}}])
    assert kept.line() == (
        "step changed → one, two ran in a moment → error, 1 of 2 Steps done, 1 failed (two)"
    )
    assert kept.plain_line() == "Step 'two' failed with exit code 1"
    assert "run w" in kept.stop(status=1)


def test_both_files_are_edited(here: Path) -> None:
    """A whole-cell project's third generation: what depends on the change runs, the rest stays."""

    def save(generations: int) -> None:
        commands, steps = lineage(generations)
        put("commands.json", commands)
        put("steps.json", steps)

    save(2)
    kept = Kept("upload", "w", "--commands", "commands.json", "--steps", "steps.json", "--watch")
    assert kept.line().endswith("complete, 8 of 8 Steps done")
    before = Counter(ran())
    commands, steps = lineage(3)
    put("commands.json", commands)  # saved first: the Steps of the other file don't fit yet
    assert re.match(
        r"not merged: workflow 'w', Step 'agg-0', Command 'agg': .* input 'g2'", kept.line()
    )
    put("steps.json", steps)
    assert kept.line().endswith("complete, 10 of 10 Steps done")
    assert Counter(ran()) - before == Counter(["sim-0-2", "sim-1-2", "agg-0", "agg-1", "report"])
    kept.stop()


def test_what_is_left_behind_is_named(kept: Kept) -> None:
    """A Step that is gone from the file may not fit its Command any more."""
    put("steps.json", [ONE])
    remains = "1 Step remains in the workflow, though not in steps.json: two (--prune removes)"
    assert kept.line() == remains
    put("commands.json", [NEEDY])
    put("steps.json", [{**ONE, "vars": {"mood": "good"}}])
    lines = [kept.line()]
    if lines[0].startswith("not merged"):  # the files were read between the two
        lines = [kept.line()]
    assert lines[0].startswith("step changed → one ran in a moment → incomplete, 1 of 2 Steps done")
    assert "1 unfit (workflow 'w', Step 'two', Command 'copy', " in lines[0]
    told = call("status", "w").stdout
    assert "Steps that don't fit their Commands any more" in told
    assert "the var 'mood' is undefined" in " ".join(told.split())
    call("remove", "w", "two")
    assert kept.line() == "complete, 1 of 1 Steps done"
    kept.stop()


def ran() -> list[str]:
    """The Steps that were started, each as often as it was."""
    return [event["task"] for event in answer("events", "w", "--json") if event["event"] == BEGUN]


BEGUN = "step-start"


def test_a_failed_step_is_shown_with_the_end_of_its_log(kept: Kept) -> None:
    script = "echo in vain; exit 3"
    put("commands.json", [{**COPY, "command": ["sh", "-c", script]}])
    assert kept.line() == (
        "command changed → one ran in a moment → "
        "error, 0 of 2 Steps done, 1 failed, 1 waiting (one)"
    )
    assert kept.plain_line() == "Step 'one' failed with exit code 3"
    assert kept.plain_line() == "  │ in vain"
    put("commands.json", [COPY])
    assert kept.line() == (
        "command changed → one, two ran in a moment → complete, 2 of 2 Steps done"
    )
    kept.stop()


def test_steps_that_left_their_file_leave_the_workflow_if_told(kept: Kept) -> None:
    kept.stop()
    put("steps.json", [ONE])
    files = ["--commands", "commands.json", "--steps", "steps.json"]
    again = Kept("run", "w", "--watch", "--prune", *files)
    assert again.error_line() == "two: removed, as steps.json has them no more"
    assert again.line() == "complete, 1 of 1 Steps done"
    put("steps.json", [{**TWO, "name": "second"}, {**THREE, "inputs": {"a": "b:b"}}])
    # The keys of one that left can be made by another at once.
    assert again.line() == "one: removed, as steps.json has them no more"
    # What `two` made counts for the same Step under another name.
    assert again.line() == (
        "new → three ran in a moment → complete, 2 of 2 Steps done, 1 of them in the store already"
    )
    again.stop()


def test_an_existing_workflow_is_kept_after_a_question(kept: Kept) -> None:
    kept.stop()
    put("steps.json", [ONE, TWO, THREE])
    files = ["--commands", "commands.json", "--steps", "steps.json"]
    refused = call("upload", "w", *files, "--watch", status=2).stderr
    assert (
        "workflow 'w': it exists already; `gaia-local merge w --commands commands.json "
        "--steps steps.json` changes it" in refused
    )
    again = Kept("upload", "w", *files, "--watch", "--merge")
    assert again.line() == "new → three ran in a moment → complete, 3 of 3 Steps done"
    again.stop()


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("n\n", 2)])
def test_a_terminal_is_asked_whether_to_merge(kept: Kept, typed: str, status: int) -> None:
    kept.stop()
    put("steps.json", [ONE, TWO, THREE])
    files = ["--commands", "commands.json", "--steps", "steps.json"]
    seen = on_a_terminal(
        ["--runtime", "process", "upload", "w", *files, "--watch"],
        {},
        until="3 of 3 Steps done",
        signal_number=signal.SIGINT,
        status=status,
        typed=("Merge the files into it? [y/N]", typed),
    )
    assert ("it exists already" in " ".join(seen.split())) == bool(status)
    assert answer("status", "w", "--json")["progress"]["done"] == (2 if status else 3)


def test_other_processes_are_heeded_and_told_of(kept: Kept) -> None:
    call("expire", "w", "two")
    assert kept.line() == "expired → two ran in a moment → complete, 2 of 2 Steps done"
    call("halt", "w")
    assert kept.line() == "halted, 2 of 2 Steps done"
    assert "run w" in kept.stop(status=1)


def test_a_workflow_that_is_deleted_is_not_kept(kept: Kept) -> None:
    call("delete", "w")
    out, err = end(kept.process, 2)
    assert (out, "it doesn't exist" in err) == ("", True)


def test_outputs_in_the_store_are_reported_as_not_run(kept: Kept) -> None:
    kept.stop()
    call("delete", "w")
    again = Kept("upload", "w", "--commands", "commands.json", "--steps", "steps.json", "--watch")
    assert again.line() == "complete, 2 of 2 Steps were in the store already, nothing ran"
    put("gaia-data/storage/w/b/a", "22")
    assert (
        again.line()
        == "input changed: b:a → one, two ran in a moment → complete, 2 of 2 Steps done"
    )
    again.stop()


def test_run_keeps_what_is_there(kept: Kept) -> None:
    kept.stop()
    put("gaia-data/storage/w/b/a", "22")
    again = Kept("run", "w", "--watch")
    assert (
        again.line()
        == "input changed: b:a → one, two ran in a moment → complete, 2 of 2 Steps done"
    )
    put("gaia-data/storage/w/b/a", "333")
    assert (
        again.line()
        == "input changed: b:a → one, two ran in a moment → complete, 2 of 2 Steps done"
    )
    put("steps.json", [ONE, TWO, THREE])  # nobody said that these are its files
    again.stop()
    once_more = Kept("run", "w", "--watch")
    assert once_more.line() == "complete, 2 of 2 Steps done"
    once_more.stop(signal.SIGTERM, 143)


def test_ctrl_c_in_the_midst_of_a_wave_stops_it(here: Path) -> None:
    os.mkfifo("gate")
    hold = {
        "name": "hold",
        "image": "busybox",
        "command": ["sh", "-c", f"cat {here}/gate; : > /out/x"],
        "outputs": {"x": "/out/x"},
    }
    put("commands.json", [hold])
    put("steps.json", [{"name": "held", "command": "hold", "outputs": {"x": "b:x"}}])
    kept = Kept("upload", "w", "--path", "./", "--watch")
    with Path("gate").open("w"):  # opens when the Step reads
        assert "run w" in kept.stop(status=1)
    assert answer("status", "w", "--json")["state"] == "halted"


def test_only_the_owner_can_watch(kept: Kept) -> None:
    refused = call("run", "w", "--watch", status=2)
    assert str(kept.process.pid) in refused.stderr
    kept.stop()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "w", "--watch", "--dry-run"],
        ["run", "w", "--watch", "--json"],
        ["upload", "w", "--watch"],
        ["run", "w", "--steps", "steps.json"],
        ["run", "w", "--watch", "--prune"],
        ["merge", "w"],
    ],
)
def test_conflicting_options_are_refused(arguments: list[str]) -> None:
    assert "Traceback" not in call(*arguments, status=2).output
    assert not Path("gaia-data").exists()


def test_the_first_files_must_be_good() -> None:
    put("commands.json", "[")
    put("steps.json", [])
    assert "commands.json" in call("upload", "w", "--path", "./", "--watch", status=2).stderr
    assert not Path("gaia-data").exists()


# ---------------------------------------------------------------------------------------- its parts


def attempt(name: str, reason: str = "new", state: str = "complete") -> dict[str, Any]:
    return {
        "step": name,
        "reason": reason,
        "state": state,
        "queued": 10.0,
        "started": 10.5,
        "ended": 11.0,
    }


def test_a_line_names_a_few_of_many() -> None:
    counts = {"steps": 30, "done": 24, "running": 0, "failed": 6, "waiting": 0}
    attempts = [
        attempt(f"s{n}", "input changed: b:a" if n < 3 else "upstream s1 ran again")
        for n in range(24)
    ]
    attempts += [attempt(f"s{n}", "retry after error", "error") for n in range(24, 30)]
    assert change_line(attempts, counts, {"state": "error", "waiting-inputs": []}) == (
        "input changed: b:a, retry after error → s0, s1, s2, s3 and 26 more ran in 1.0 s "
        "→ error, 24 of 30 Steps done, 6 failed (s24, s25, s26, s27 and 2 more)"
    )


class Recorder:
    """Stands in for a `Gaia` without Steps of other files."""

    def __init__(self, made: list[tuple[Any, Any]]) -> None:
        self._made = made

    def definitions(self, workflow: str) -> dict[str, Any]:
        return {"steps": {}}

    def update(self, workflow: str, commands: Any, steps: Any) -> None:
        self._made.append((commands, steps))


def test_files_are_merged_only_when_their_contents_changed() -> None:
    made: list[tuple[Any, Any]] = []
    gaia: Any = Recorder(made)
    put("c.yaml", "- {name: x}\n")
    put("s.json", [ONE])
    definitions = Definitions(Path("c.yaml"), Path("s.json"))
    assert (definitions.commands, definitions.steps) == ([{"name": "x"}], [ONE])
    assert list(definitions.merge(gaia, "w")) == []
    assert made == []
    put("s.json", [ONE, TWO])
    assert list(definitions.merge(gaia, "w")) == []
    assert made == [([{"name": "x"}], [ONE, TWO])]
    assert list(definitions.merge(gaia, "w")) == []
    assert len(made) == 1
    with pytest.raises(InvalidInput):
        Definitions(Path("c.yaml"), Path("missing.json"))


def test_a_pipe_is_read_once_and_not_watched(here: Path) -> None:
    put("s.json", [ONE])
    os.mkfifo("c.json")
    writer = threading.Thread(target=Path("c.json").write_text, args=(json.dumps([COPY]),))
    writer.start()
    definitions = Definitions(Path("c.json"), Path("s.json"))
    writer.join()
    assert (definitions.commands, definitions.steps) == ([COPY], [ONE])
    assert not definitions.includes({str(here / "c.json")})
    put("s.json", [ONE, TWO])
    made: list[tuple[Any, Any]] = []
    gaia: Any = Recorder(made)
    assert list(definitions.merge(gaia, "w")) == []
    assert made == [([COPY], [ONE, TWO])]


def test_definitions_come_from_the_shell_s_pipes(here: Path) -> None:
    put("gaia-data/storage/w/b/a", "1")
    put("c.json", [COPY])
    put("s.json", [ONE])
    upload = f"{shlex.quote(sys.executable)} -m gaia_local --runtime process upload w"
    script = f"cat s.json | {upload} --commands <(cat c.json) --steps /dev/stdin"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_the_definition_files_are_watched(here: Path) -> None:
    put("d/c.json", [])
    put("s.json", [])
    definitions = Definitions(Path("d/c.json"), Path("s.json"))
    assert definitions.directories == [here, here / "d"]
    assert definitions.includes({str(here / "s.json"), "/elsewhere"})
    assert definitions.includes(None)
    assert not definitions.includes({str(here / "d/other.json"), str(here / "d/s.json")})


def test_trouble_is_told_in_a_line_and_the_watching_goes_on(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    gaia.upload("w", {}, [COPY], [ONE])
    answers: list[Any] = [GaiaError("the disk\nis full"), gaia.status("w")]

    def follow() -> dict[str, Any]:
        told = answers.pop(0)
        if isinstance(told, GaiaError):
            raise told
        return dict(told)

    with ChangeReporter(gaia, "w", follow) as reporter:
        lines = reporter.lines()
        assert str(next(lines)[0])[10:] == "the disk is full"
        gaia.expire("w", ["one"])
        assert str(next(lines)[0])[10:].startswith("incomplete, 0 of 1 Steps done")

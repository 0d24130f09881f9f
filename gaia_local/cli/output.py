"""The command line's output: results to stdout, messages to stderr, as text or as JSON."""

from __future__ import annotations

import codecs
import contextlib
import functools
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gaia_local.cli.printing import LogLine, Style, Styled, print_line, shows_controls
from gaia_local.pictures.sentences import (
    counts_line,
    failure_line,
    log_end,
    made_by,
    missing_inputs,
)
from gaia_local.terminal_text import LINES, escaped

if TYPE_CHECKING:
    from types import TracebackType

    from gaia_local import Gaia
    from gaia_local.doctor.checks import DoctorReport
    from gaia_local.model.answer_types import PlannedStep

LOG_LINES = 10
"""The number of lines shown from the end of a failed Step's log."""
MAX_LISTED = 20
"""The most failed Steps, and the most missing inputs, that are listed."""
MAX_FILES = 5
"""The most changed files of a directory that are named."""
MAX_FIELD = 60
"""The most characters of an event's field that are shown."""
_NO_COLOUR = "\x1b[0m"
_STATE_STYLES: dict[str, Style] = {"complete": "green", "error": "red"}
_VERDICT_STYLES: dict[str, Style] = {"ok": "green", "note": "yellow", "problem": "red"}


class Messages(logging.Handler):
    """The API's warnings, one line each on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        level = Styled(f"{record.levelname.lower()}:", "yellow")
        print_line(level, f" {record.getMessage()}", error=True)


class EscapingFormatter(logging.Formatter):
    """Escapes control characters in log records and their tracebacks if stderr is a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        text = super().format(record)
        return escaped(text, LINES) if sys.stderr.isatty() else text


def print_refusal(message: str) -> None:
    """Print the reason for a refused call, on stderr."""
    print_line(Styled("gaia-local:", "red"), f" {message}", error=True)


def print_trace(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an error with its traceback, on stderr: a `sys.excepthook`."""
    import traceback

    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(escaped(text, LINES) if sys.stderr.isatty() else text)


@contextlib.contextmanager
def log_printer(raw: bool) -> Iterator[Callable[[bytes], None]]:
    """A function that prints pieces of a log on stdout; a terminal shows its control characters."""
    if raw or not sys.stdout.isatty():

        def pass_on(piece: bytes) -> None:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()

        sys.stdout.flush()
        yield pass_on
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def show(piece: bytes, final: bool = False) -> None:
        text = decoder.decode(piece, final)
        sys.stdout.write(escaped(text.replace("\r\n", "\n"), LINES, colours=True))
        sys.stdout.flush()

    try:
        yield show
        show(b"", final=True)
    finally:
        sys.stdout.write(_NO_COLOUR)
        sys.stdout.flush()


def print_json(answer: object) -> None:
    """Print an answer as JSON, on stdout."""
    sys.stdout.write(json.dumps(answer, indent=2, default=str).replace("\x7f", "\\u007f") + "\n")


def print_answer(answer: object, sentence: str, as_json: bool) -> None:
    """Print an answer as JSON, or the sentence that stands for it."""
    if as_json:
        print_json(answer)
    else:
        print_line(sentence)


def print_table(headings: list[str], rows: list[list[str]]) -> None:
    """Print rows under headings, each on one line, long ones too."""
    from rich.cells import cell_len

    # A cell may hold line breaks, but each row is one line.
    rows = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
    for number, row in enumerate([headings, *rows]):
        line = "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        print_line(Styled(line, "bold") if number == 0 else line)


def attempt_line(attempt: Mapping[str, Any]) -> str:
    """A line with the time and the state of an attempt at a Step; see `Gaia.timeline`."""
    from gaia_local.model.durations import duration

    state, start, end = attempt["state"], attempt["started"], attempt["ended"]
    at = _moment(start if end is None else end)[11:19]
    took = "" if start is None or end is None else f" after {duration(end - start)}"
    if state == "running":
        return f"{at}  {attempt['step']} started: {attempt['reason']}"
    if attempt.get("reused"):
        return f"{at}  {attempt['step']} was reused from {made_by(attempt['reused'])}"
    if state == "complete":
        return f"{at}  {attempt['step']} is complete{took}"
    if state in ("error", "exception"):
        return f"{at}  {failure_line(attempt)}{took}"
    return f"{at}  {attempt['step']} was {state}{took}: {attempt['message']}"


def print_result(gaia: Gaia, status: Mapping[str, Any], error: bool = False) -> None:
    """Print a workflow's state, failed Steps with their logs' ends, unfit ones, missing inputs."""

    def say_more(number: int, what: str) -> None:
        if number > MAX_LISTED:
            say(f"  … and {number - MAX_LISTED} more {what}")

    say = functools.partial(print_line, error=error)
    workflow, state = status["workflow"], status["state"]
    counts = gaia.progress(workflow)
    colour = _STATE_STYLES.get(state, "yellow")
    say(Styled(workflow, "bold"), ": ", Styled(state, colour), f", {counts_line(counts)}")
    if "error" in status["status"]:
        say(Styled(status["status"]["error"], "red"))
    failures = gaia.failures(workflow)
    for failure in failures[:MAX_LISTED]:
        say()
        say(Styled(failure_line(failure), "red"))
        for line in log_end(gaia, workflow, failure["step"], LOG_LINES):
            say(*quoted(line))
        for kept in failure.get("kept", []):
            from gaia_local.model.sizes import progress_text

            say(f"its files as it left them: {kept['path']} ({progress_text(kept['bytes'], None)})")
    say_more(len(failures), "failed Steps")
    if counts.get("unfit"):
        say()
        say("Steps that don't fit their Commands any more, until one of both changes:")
        unfit = gaia.status(workflow, debug=True)["status"].get("unfit", {})
        for problem in [*unfit.values()][:MAX_LISTED]:
            say(f"  {problem}")
        say_more(len(unfit), "Steps")
    missing = missing_inputs(gaia, status)
    if missing:
        say()
        say("Inputs that are missing, and that no Step makes:")
        for key in missing[:MAX_LISTED]:
            say(f"  {key}, expected at {gaia.path(workflow, key)}")
        say_more(len(missing), "inputs")


def print_plan(plan: Sequence[PlannedStep]) -> None:
    """Print the Steps that would run, with their reasons, and with the results they'd be given."""
    if not plan:
        print_line("nothing would run")
        return
    headings = ["Step", "would run because"]
    rows = [[entry["step"], entry["reason"]] for entry in plan]
    given = [made_by(entry["reuse"]) if "reuse" in entry else "" for entry in plan]
    if any(given):
        headings.append("would be reused from")
        rows = [[*row, text] for row, text in zip(rows, given, strict=True)]
    print_table(headings, rows)


def print_explanation(explanation: Mapping[str, Any]) -> None:
    """Print the answer of `Gaia.explain` for a Step or a storage key."""
    if "step" in explanation:
        made = explanation["last"]
        rows = [
            ("Step", explanation["step"]),
            (
                "would run",
                f"{'yes' if explanation['would_run'] else 'no'}: {explanation['because']}",
            ),
        ]
        rows += [
            ("waits for", f"{key} ({_made_by(makers)})")
            for key, makers in explanation["waits_for"].items()
        ]
        for key, found in explanation["changed"].items():
            rows += [
                (how, f"{key}: {first_names(names, MAX_FILES)}")
                for how, names in found.items()
                if names
            ]
    else:
        made = explanation["made"]
        rows = [
            ("key", explanation["key"]),
            ("path", explanation["path"]),
            ("state", explanation["state"]),
        ]
        rows += [
            (label, text)
            for label, text in (
                ("because", explanation["because"]),
                ("digest", _digest(explanation["digest"])),
            )
            if text
        ]
        rows += [("made by", explanation["made_by"] or "no Step")]
        rows += [("read by", step) for step in explanation["read_by"]]
    if made is not None:
        from gaia_local.pictures.usage import took

        reused = made.get("reused")
        did = "ran" if reused is None else "reused"
        rows += [(f"{did} last", f"{_moment(made['started'])}: {made['state']}")]
        if made["elapsed"] is not None:
            rows += [("took", took(made["elapsed"], made["usage"]))]
        rows += [("ran because" if reused is None else "reason", made["reason"])]
        rows += [] if reused is None else [("reused from", made_by(reused))]
        rows += [("message", made["message"])] if made["message"] else []
        rows += [
            ("image", f"{made['image']} {made['image_id'] or ''}".rstrip()),
            ("command", " ".join(made["command"])),
        ]
        rows += [
            ("read", f"{key} {_digest(digest)}".rstrip()) for key, digest in made["inputs"].items()
        ]
        rows += [("made", key) for key in made["outputs"]]
    for label, text in rows:
        # A row is one line on a terminal, whatever a name or a token of it holds.
        print_line(f"{label:12}{escaped(text) if shows_controls(sys.stdout) else text}")


def first_names(names: Sequence[str], most: int) -> str:
    """``a, b and 3 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def print_events(events: Sequence[Mapping[str, Any]], full: bool) -> None:
    """Print events, one per line; long fields are shortened, unless `full`."""
    rows = []
    for event in events:
        facts = {
            key: value
            for key, value in event.items()
            if key not in ("event", "workflow", "time", "id", "task", "log")
        }
        if "reused" in facts:
            facts["reused"] = made_by(facts["reused"])
        text = " ".join(
            f"{key}={value if full else _shortened(str(value))}" for key, value in facts.items()
        )
        rows.append([_moment(event["time"]), event["event"], event.get("task", ""), text])
    print_table(["time", "event", "Step", ""], rows)


def _shortened(text: str) -> str:
    """A long text without its middle: the ends of paths and of messages say most."""
    if len(text) <= MAX_FIELD:
        return text
    return f"{text[: MAX_FIELD // 3]}…{text[-(MAX_FIELD - MAX_FIELD // 3 - 1) :]}"


def _digest(digest: str | None) -> str:
    """A content digest with its algorithm, for people."""
    return f"blake2b:{digest}" if digest else ""


def print_workflows(
    workflows: Mapping[str, Mapping[str, Any]], changed: Mapping[str, float]
) -> None:
    """Print a table of workflows, with the times of their last changes."""
    rows = [
        [name, entry["state"], str(entry["step-count"]), _day(changed.get(name))]
        for name, entry in sorted(workflows.items())
    ]
    print_table(["workflow", "state", "Steps", "changed"], rows)


def print_demo(gaia: Gaia, name: str, program: str) -> None:
    """Print the demo's outputs, the report's path, and commands to try next."""
    from gaia_local.demo import RESULTS
    from gaia_local.model.events import EventKind

    for key in RESULTS:
        path = gaia.path(name, key)
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            print_line()
            print_line(Styled(key + file.name if path.is_dir() else key, "bold"))
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                print_line(*quoted(line))
    contained = any(event["event"] == EventKind.CONTAINER_CREATE for event in gaia.events(name))
    how = "in containers" if contained else "as local processes"
    print_line()
    print_line(f"The Steps ran {how}. The report lies in")
    print_line(f"  {gaia.path(name, 'results:report/')}")
    print_line("Try next:")
    for command, why in (
        (f"status {name}", "how far it is"),
        (f"logs {name} write", "what a Step wrote"),
        (f"expire {name} measure-mars", "run a Step again, and what depends on it"),
        (f"events {name}", "what happened"),
        (f"graph {name} -o demo.svg", "a picture of it"),
        ("serve", "its page, for a browser"),
    ):
        print_line(f"  {program} {command}  # {why}")


def print_report(report: DoctorReport) -> None:
    """Print the doctor's checks, with advice for those that need it."""
    for check in report.checks:
        print_line(
            Styled(f"{check.verdict:8}", _VERDICT_STYLES[check.verdict]),
            Styled(f"{check.name:14}", "bold"),
            check.text,
        )
        if check.advice:
            print_line(" " * 22, Styled(check.advice, "dim"))


def _made_by(makers: Sequence[str]) -> str:
    return f"made by {' and '.join(makers)}" if makers else "no Step makes it"


def _moment(seconds: float | None) -> str:
    """A time in seconds since the epoch, as the local clock shows it, down to milliseconds."""
    import datetime

    if seconds is None:
        return "never"
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _day(seconds: float | None) -> str:
    """A time on the local clock as short as it can be: of today the hour, else the day."""
    import datetime

    if seconds is None:
        return ""
    then = datetime.datetime.fromtimestamp(seconds)
    today = then.date() == datetime.datetime.now().date()
    return then.strftime("%H:%M" if today else "%Y-%m-%d")


def quoted(line: str) -> tuple[str | Styled | LogLine, ...]:
    """The pieces of a line that shows one of a program's log."""
    return "  ", Styled("│", "dim"), " ", LogLine(line)

"""The command line's output: results to stdout, messages to stderr, as text or as JSON.

Without a terminal, lines aren't wrapped and only plain text is written. Control characters in
names, tokens and logs are shown on a terminal in escaped form, so it doesn't obey them.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gaia_local.model.terminal_text import LINES, escaped
from gaia_local.pictures.sentences import counts_line, failure_line, log_end, missing_inputs

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console
    from rich.text import Text

    from gaia_local import Gaia
    from gaia_local.doctor.checks import DoctorReport

LOG_LINES = 10
"""The number of lines shown from the end of a failed Step's log."""
MAX_LISTED = 20
"""The most failed Steps, and the most missing inputs, that are listed."""
MAX_FILES = 5
"""The most changed files of a directory that are named."""
_NO_COLOUR = "\x1b[0m"
_UNBROKEN_WIDTH = 10_000
"""The console's width without a terminal, so that no line is wrapped."""


def open_console(error: bool = False) -> Console:
    """A console on stdout, or on stderr."""
    opened: Console = _console_class()(stderr=error, highlight=False, soft_wrap=True, emoji=False)
    if not _is_shown_by_terminal(opened):
        opened.width = _UNBROKEN_WIDTH
    return opened


def draws_live(console: Console) -> bool:
    """Whether lines can be drawn over; `FORCE_COLOR` makes no terminal of a log."""
    return _is_shown_by_terminal(console) and not console.is_dumb_terminal


def _is_shown_by_terminal(console: Console) -> bool:
    return console.is_terminal and console.file.isatty()


@functools.cache
def _console_class() -> Any:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class EscapingConsole(Console):
        """A console that escapes control characters in all printed text, if on a terminal."""

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if segment.control or not self.is_terminal:
                    yield segment
                else:
                    yield Segment(escaped(segment.text, LINES), segment.style)

    return EscapingConsole


class Messages(logging.Handler):
    """The API's warnings, one line each on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        from rich.markup import escape

        open_console(error=True).print(
            f"[yellow]{record.levelname.lower()}:[/] {escape(record.getMessage())}"
        )


class EscapingFormatter(logging.Formatter):
    """Escapes control characters in log records and their tracebacks if stderr is a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        text = super().format(record)
        return escaped(text, LINES) if sys.stderr.isatty() else text


def print_refusal(message: str) -> None:
    """Print the reason for a refused call, on stderr."""
    from rich.markup import escape

    open_console(error=True).print(f"[red]gaia-local:[/] {escape(message)}")


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
        open_console().print(sentence, markup=False)


def print_table(headings: list[str], rows: list[list[str]]) -> None:
    """Print rows under headings, each on one line, long ones too."""
    from rich.cells import cell_len
    from rich.text import Text

    # A cell may hold line breaks, but each row is one line.
    rows = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
    console = open_console()
    for number, row in enumerate([headings, *rows]):
        line = "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        )
        console.print(Text(line.rstrip(), "bold" if number == 0 else ""))


def attempt_line(attempt: Mapping[str, Any]) -> str:
    """A line with the time and the state of an attempt at a Step; see `Gaia.timeline`."""
    from gaia_local.model.durations import duration

    state, start, end = attempt["state"], attempt["started"], attempt["ended"]
    at = _moment(start if end is None else end)[11:19]
    took = "" if start is None or end is None else f" after {duration(end - start)}"
    if state == "running":
        return f"{at}  {attempt['step']} started: {attempt['reason']}"
    if state == "complete":
        return f"{at}  {attempt['step']} is complete{took}"
    if state in ("error", "exception"):
        return f"{at}  {failure_line(attempt)}{took}"
    return f"{at}  {attempt['step']} was {state}{took}: {attempt['message']}"


def print_result(gaia: Gaia, status: Mapping[str, Any]) -> None:
    """Print a workflow's state, its failed Steps with their logs' ends, and its missing inputs."""
    from rich.markup import escape

    console = open_console()
    workflow, state = status["workflow"], status["state"]
    colour = {"complete": "green", "error": "red"}.get(state, "yellow")
    console.print(
        f"[bold]{escape(workflow)}[/]: [{colour}]{state}[/], {counts_line(gaia.progress(workflow))}"
    )
    if "error" in status["status"]:
        console.print(f"[red]{escape(status['status']['error'])}[/]")
    failures = gaia.failures(workflow)
    for failure in failures[:MAX_LISTED]:
        console.print(f"\n[red]{escape(failure_line(failure))}[/]")
        for line in log_end(gaia, workflow, failure["step"], LOG_LINES):
            console.print(_quoted(line))
    _print_more(console, len(failures), "failed Steps")
    missing = missing_inputs(gaia, status)
    if missing:
        console.print("\nInputs that are missing, and that no Step makes:")
        for key in missing[:MAX_LISTED]:
            console.print(f"  {key}, expected at {gaia.path(workflow, key)}", markup=False)
        _print_more(console, len(missing), "inputs")


def print_plan(plan: Sequence[Mapping[str, str]]) -> None:
    """Print the Steps that would run, with their reasons."""
    if plan:
        print_table(
            ["Step", "would run because"], [[entry["step"], entry["reason"]] for entry in plan]
        )
    else:
        open_console().print("nothing would run")


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
                (how, f"{key}: {_first_names(names)}") for how, names in found.items() if names
            ]
    else:
        made = explanation["made"]
        rows = [
            ("key", explanation["key"]),
            ("path", explanation["path"]),
            ("state", explanation["state"]),
        ]
        rows += [
            (label, explanation[label]) for label in ("because", "digest") if explanation[label]
        ]
        rows += [("made by", explanation["made_by"] or "no Step")]
        rows += [("read by", step) for step in explanation["read_by"]]
    if made is not None:
        elapsed = "" if made["elapsed"] is None else f" in {made['elapsed']:.3g} s"
        rows += [
            ("ran last", f"{_moment(made['started'])}: {made['state']}{elapsed}"),
            ("ran because", made["reason"]),
        ]
        rows += [("message", made["message"])] if made["message"] else []
        rows += [
            ("image", f"{made['image']} {made['image_id'] or ''}".rstrip()),
            ("command", " ".join(made["command"])),
        ]
        rows += [
            ("read", f"{key} {digest or ''}".rstrip()) for key, digest in made["inputs"].items()
        ]
        rows += [("made", key) for key in made["outputs"]]
    console = open_console()
    for label, text in rows:
        console.print(f"{label:12}{escaped(text) if console.is_terminal else text}", markup=False)


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_FILES]) + (
        f" and {len(names) - MAX_FILES} more" if len(names) > MAX_FILES else ""
    )


def print_events(events: Sequence[Mapping[str, Any]]) -> None:
    """Print events, one per line."""
    rows = []
    for event in events:
        facts = {
            key: value
            for key, value in event.items()
            if key not in ("event", "workflow", "time", "id", "task", "log")
        }
        text = " ".join(f"{key}={value}" for key, value in facts.items())
        rows.append([_moment(event["time"]), event["event"], event.get("task", ""), text])
    print_table(["time", "event", "Step", ""], rows)


def print_demo(gaia: Gaia, name: str, program: str) -> None:
    """Print the demo's outputs, the report's path, and commands to try next."""
    from rich.markup import escape

    from gaia_local.demo import RESULTS
    from gaia_local.model.events import EventKind

    console = open_console()
    for key in RESULTS:
        path = gaia.path(name, key)
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            console.print(f"\n[bold]{escape(key + file.name if path.is_dir() else key)}[/]")
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                console.print(_quoted(line))
    contained = any(event["event"] == EventKind.CONTAINER_CREATE for event in gaia.events(name))
    console.print(
        f"\nThe Steps ran {'in containers' if contained else 'as local processes'}. The report"
        " lies in"
    )
    console.print(f"  {gaia.path(name, 'results:report/')}", markup=False)
    console.print("Try next:")
    for command, why in (
        (f"status {name}", "how far it is"),
        (f"logs {name} write", "what a Step wrote"),
        (f"expire {name} measure-mars", "run a Step again, and what depends on it"),
        (f"events {name}", "what happened"),
    ):
        console.print(f"  {program} {command}  # {why}", markup=False)


def print_report(report: DoctorReport) -> None:
    """Print the doctor's checks, with advice for those that need it."""
    from rich.markup import escape

    console = open_console()
    colours = {"ok": "green", "note": "yellow", "problem": "red"}
    for check in report.checks:
        console.print(
            f"[{colours[check.verdict]}]{check.verdict:8}[/][bold]{check.name:14}[/]"
            f"{escape(check.text)}"
        )
        if check.advice:
            console.print(f"{'':22}[dim]{escape(check.advice)}[/]")


def _made_by(makers: Sequence[str]) -> str:
    return f"made by {' and '.join(makers)}" if makers else "no Step makes it"


def _moment(seconds: float | None) -> str:
    """A time in seconds since the epoch, as the local clock shows it, down to milliseconds."""
    import datetime

    if seconds is None:
        return "never"
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _quoted(line: str) -> Text:
    """A line that a program printed; its colours are kept only on a terminal."""
    from rich.text import Text

    return Text.assemble("  ", ("│", "dim"), " ", Text.from_ansi(_last_written(line)))


def log_text(line: str) -> Text:
    """A log line as one line of a table: the text after its last carriage return."""
    from rich.text import Text

    return Text(escaped(Text.from_ansi(_last_written(line)).plain))


def _last_written(line: str) -> str:
    """The text after a line's last carriage return, with all controls but colours escaped."""
    return escaped(line.rstrip().rpartition("\r")[2], "\t", colours=True)


def _print_more(console: Console, number: int, what: str) -> None:
    if number > MAX_LISTED:
        console.print(f"  … and {number - MAX_LISTED} more {what}")

"""Keeps a workflow up to date while its files change, and reports each change in a line.

The engine notices changes in the store and starts the Steps that must run again. This module waits
for them, and also watches the files that hold the workflow's Commands and Steps.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from gaia_local import interrupts
from gaia_local.cli.output import LOG_LINES, first_names, quoted
from gaia_local.cli.printing import LogLine, Styled
from gaia_local.errors import GaiaError, InvalidInput
from gaia_local.model.definition_files import parse, read
from gaia_local.model.durations import duration
from gaia_local.pictures.sentences import counts_line, failure_line, log_end

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.store.watcher import Watcher

MAX_NAMED = 4
"""The most Steps, reasons and missing inputs that one line names."""

FAILED = ("error", "exception")
"""The states of failed attempts."""

Line: TypeAlias = tuple["str | Styled | LogLine", ...]
"""The pieces of a line, as `print_line` takes them."""
Follow = Callable[[], Mapping[str, Any]]
"""Waits until the workflow is quiet, and answers its status."""


class Definitions:
    """The files that hold a workflow's Commands and Steps, as they were read last.

    One that isn't a regular file, such as a pipe, is read once.
    """

    def __init__(self, commands: Path | None, steps: Path | None, prune: bool = False) -> None:
        """Read one or both; raises `InvalidInput` for one that can't be.

        With `prune`, the workflow's Steps that aren't in the file of Steps leave it.
        """
        self._files = {"commands": commands, "steps": steps}
        given = [path for path in (commands, steps) if path is not None]
        self._pipes = {path for path in given if path.exists() and not path.is_file()}
        watched = [path.absolute() for path in given if path not in self._pipes]
        self._paths = set(map(str, watched))
        self._prune = prune
        self._bytes: dict[Path, bytes | None] = {}
        self._remaining: list[str] = []
        """The Steps that were told to remain in the workflow though they aren't in the file."""
        self.directories = sorted({path.parent for path in watched})
        self.commands: Any = None
        self.steps: Any = None
        self._read()

    def includes(self, paths: Collection[str] | None) -> bool:
        """Whether one of the files is among these; True for None: any file may have changed."""
        return paths is None or not self._paths.isdisjoint(paths)

    def merge(self, gaia: Gaia, workflow: str) -> Iterator[str]:
        """Merge the files if they changed since the last time; yields lines about errors in them.

        It also yields what `update` does.
        """
        try:
            if self._read():
                yield from self.update(gaia, workflow)
        except GaiaError as error:
            yield f"not merged: {_one_line(error)}"

    def update(self, gaia: Gaia, workflow: str) -> Iterator[str]:
        """Bring a workflow to what the files hold; yields a line about Steps that they don't.

        Raises `GaiaError`.
        """
        gone = self._not_in_file(gaia, workflow)
        if gone and self._prune:
            # Before the others come, which may make the keys that these made.
            gaia.remove(workflow, gone)
            yield f"{_first_names(gone)}: removed, as {self._files['steps']} has them no more"
        gaia.update(workflow, self.commands, self.steps)
        if gone and not self._prune and gone != self._remaining:
            number = "1 Step remains" if len(gone) == 1 else f"{len(gone)} Steps remain"
            yield (
                f"{number} in the workflow, though not in {self._files['steps']}:"
                f" {_first_names(gone)} (--prune removes)"
            )
        self._remaining = gone

    def _not_in_file(self, gaia: Gaia, workflow: str) -> list[str]:
        if not isinstance(self.steps, list):
            return []
        names = {step.get("name") for step in self.steps if isinstance(step, Mapping)}
        return [name for name in gaia.definitions(workflow)["steps"] if name not in names]

    def _read(self) -> bool:
        """Read the files, if they have other contents than the last time."""
        named = {field: path for field, path in self._files.items() if path is not None}
        before = self._bytes
        self._bytes = {path: self._contents(path) for path in named.values()}
        if self._bytes == before:
            return False
        values = {}
        for field, path in named.items():
            contents = self._bytes[path]
            values[field] = read(path) if contents is None else parse(path, contents)
        self.commands, self.steps = values.get("commands"), values.get("steps")
        return True

    def _contents(self, path: Path) -> bytes | None:
        """The file's bytes; None where it can't be read, of which `read` knows the reason."""
        if path in self._pipes and path in self._bytes:
            return self._bytes[path]
        try:
            return path.read_bytes()
        except OSError:
            return None


class ChangeReporter:
    """Reports the Steps that each change of a workflow started. A context manager that listens."""

    def __init__(
        self, gaia: Gaia, workflow: str, follow: Follow, definitions: Definitions | None = None
    ) -> None:
        self._gaia, self._workflow, self._follow, self._definitions = (
            gaia,
            workflow,
            follow,
            definitions,
        )
        self._something_changed, self._definitions_changed = threading.Event(), threading.Event()
        self._reported = 0
        """The number of attempts reported so far."""
        self._state: str | None = None
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> ChangeReporter:
        """Listen from now on: earlier attempts aren't reported. This process then owns the root."""
        with contextlib.suppress(InvalidInput):  # it is still to be uploaded
            self._reported = len(self._gaia.timeline(self._workflow)["attempts"])
        with contextlib.ExitStack() as undo:
            undo.callback(self._gaia.subscribe(self._changed))
            if self._definitions is not None:
                undo.callback(self._watch(self._definitions).close)
            self._exit = undo.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._exit.close()

    def lines(self) -> Iterator[Line]:
        """Endless lines: the first for all attempts up to now, each further one for a change.

        Failed Steps follow with the ends of their logs.
        """
        while True:
            if self._definitions is not None and self._definitions_changed.is_set():
                self._definitions_changed.clear()
                yield from map(_stamped, self._definitions.merge(self._gaia, self._workflow))
            self._something_changed.clear()
            yield from self._report()
            while not self._something_changed.wait(interrupts.CHECK_SECONDS):
                interrupts.check()

    def _report(self) -> Iterator[Line]:
        try:
            status = self._follow()
            counts = self._gaia.progress(self._workflow)
        except InvalidInput:  # it was deleted
            raise
        except GaiaError as error:
            yield _stamped(_one_line(error))
            return
        attempts = self._gaia.timeline(self._workflow)["attempts"]
        new, self._reported = attempts[self._reported :], len(attempts)
        before, self._state = self._state, status["state"]
        if new or before != self._state:
            yield _stamped(change_line(new, counts, status))
        failed = {attempt["step"] for attempt in new if attempt["state"] in FAILED}
        failures = self._gaia.failures(self._workflow) if failed else []
        for failure in [each for each in failures if each["step"] in failed][:MAX_NAMED]:
            yield (Styled(failure_line(failure), "red"),)
            for line in log_end(self._gaia, self._workflow, failure["step"], LOG_LINES):
                yield quoted(line)

    def _watch(self, definitions: Definitions) -> Watcher:
        from gaia_local.store.watcher import Watcher

        def changed(paths: Collection[str] | None) -> None:
            if definitions.includes(paths):
                self._definitions_changed.set()
                self._something_changed.set()

        return Watcher(definitions.directories, changed, recursive=False)

    def _changed(self, workflows: Collection[str]) -> None:
        if self._workflow in workflows:
            self._something_changed.set()


def change_line(
    attempts: Sequence[Mapping[str, Any]], counts: Mapping[str, Any], status: Mapping[str, Any]
) -> str:
    """``reasons → Steps that ran or were reused, with the time taken → the state and counts``."""
    parts = []
    if attempts:
        reasons = dict.fromkeys(
            attempt["reason"]
            for attempt in attempts
            if not attempt["reason"].startswith("upstream ")
        )
        reused = dict.fromkeys(attempt["step"] for attempt in attempts if attempt.get("reused"))
        ran = dict.fromkeys(attempt["step"] for attempt in attempts if not attempt.get("reused"))
        times = [
            attempt[kind]
            for attempt in attempts
            for kind in ("queued", "ended")
            if attempt[kind] is not None
        ]
        done = [
            f"{_first_names(list(steps))} {what}"
            for steps, what in ((ran, "ran"), (reused, "reused"))
            if steps
        ]
        took = f"{'; '.join(done)} in {duration(max(times) - min(times))}"
        parts = [_first_names(list(reasons) or ["upstream"]), took]
    parts.append(f"{status['state']}, {counts_line(counts)}")
    failed = [attempt["step"] for attempt in attempts if attempt["state"] in FAILED]
    if failed:
        parts[-1] += f" ({_first_names(failed)})"
    elif counts.get("unfit"):
        parts[-1] += f" ({counts['lacks']})"
    elif status["state"] == "incomplete":
        parts[-1] += f" (for {_first_names(status['waiting-inputs'])})"
    return " → ".join(parts)


def _first_names(names: Sequence[str]) -> str:
    return first_names(names, MAX_NAMED)


def _stamped(line: str) -> Line:
    return (f"{time.strftime('%H:%M:%S')}  {line}",)


def _one_line(error: GaiaError) -> str:
    return " ".join(str(error).split())

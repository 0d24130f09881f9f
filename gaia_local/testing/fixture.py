"""The object of the pytest fixtures: a `Gaia` for one test, with helpers, in a temporary root."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gaia_local import Gaia
from gaia_local.config import Config
from gaia_local.doctor.leftovers import clean
from gaia_local.engine.sharing import owned_roots
from gaia_local.errors import Closed, GaiaError, InvalidInput, nearest, shown
from gaia_local.http_errors import with_http_errors
from gaia_local.model.keys import StorageKey, names_directory
from gaia_local.pictures.sentences import counts_line, failure_line, log_end, missing_inputs
from gaia_local.store import removal
from gaia_local.store.directories import make_directories
from gaia_local.store.ownership import owner
from gaia_local.store.storage import Storage
from gaia_local.terminal_text import escaped

if TYPE_CHECKING:
    from gaia_local.model.answer_types import RunAnswer

RUN_TIMEOUT_SECONDS = 60.0
"""Seconds that `run` waits for a workflow's end, unless `timeout` is given."""
LOG_LINES = 20
"""The number of lines shown from the end of a failed Step's log."""

Content = str | bytes | Mapping[str, str | bytes]


@with_http_errors
class GaiaFixture(Gaia):
    """A `Gaia` in a root of its own, with `put`, `get` and `run` for tests.

    The argument `workflow` of a helper may be left out as long as there is exactly one workflow,
    and for keys of a shared bucket.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        """The root is made in `folder`, and so are directories for `buckets` given as names."""
        folder.mkdir(parents=True, exist_ok=True)
        buckets = config.get("buckets")
        if isinstance(buckets, list | tuple | set | frozenset):
            buckets = {name: folder / "buckets" / str(name) for name in buckets}
        self.config: dict[str, Any] = {**config, "buckets": buckets, "root": folder / "root"}
        """The whole configuration: another `Gaia` made with it shares this one's engine."""
        super().__init__(self.config)
        self._folder = folder
        self._reported: dict[str, set[str]] = {}
        """Workflow → the ids of failed Tasks that `run` has reported."""

    def put(self, key: str, content: Content, workflow: str | None = None) -> Path:
        """Write text, bytes, or a mapping of names to them, under a key, and return its path."""
        if isinstance(content, Mapping) != names_directory(key):
            right = (
                "a mapping of names to contents for a directory, whose key ends in '/'; text or"
                " bytes for a file"
            )
            raise InvalidInput(f"put {key!r}", f"the content is {shown(content)}", f"give {right}")
        path = self.path(self._workflow(key, workflow), key)
        make_directories(str(path.parent))
        # Written elsewhere first and then moved, so that no Step reads half of it.
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            aside = Path(folder, "new")
            if isinstance(content, Mapping):
                aside.mkdir()
                for name, file_content in content.items():
                    _check_inside(key, name)
                    make_directories(str((aside / name).parent))
                    (aside / name).write_bytes(_bytes(file_content))
            else:
                aside.write_bytes(_bytes(content))
            if path.is_dir() and not path.is_symlink():
                removal.remove(str(path))
            shutil.move(aside, path)
        return path

    def get(self, key: str, workflow: str | None = None) -> str:
        """The text under a storage key. Raises `AssertionError` with the reason if it is absent."""
        __tracebackhide__ = True
        try:
            return self.get_bytes(key, workflow).decode()
        except UnicodeDecodeError:
            raise InvalidInput(f"get {key!r}", "it isn't UTF-8 text", "take get_bytes") from None

    def get_bytes(self, key: str, workflow: str | None = None) -> bytes:
        """As `get`, in bytes."""
        __tracebackhide__ = True
        name = self._workflow(key, workflow)
        path = self.path(name, key)
        try:
            return path.read_bytes()
        except IsADirectoryError:
            raise InvalidInput(
                f"get {key!r}", "it is a directory", "name a file in it, or take path"
            ) from None
        except FileNotFoundError:
            raise AssertionError(
                f"{key!r} isn't there, it belongs at {path}: {self._why_missing(name, key)}"
            ) from None

    def run(
        self,
        workflow: str | None = None,
        dry_run: bool = False,
        timeout: float = RUN_TIMEOUT_SECONDS,
    ) -> RunAnswer:
        """Run a workflow to its end: ``{"run": workflow}``.

        Raises `AssertionError` that names the failed Steps, with the ends of their logs, or the
        inputs that are missing; also after `timeout` seconds. The first `run` after a Step failed
        reports the failure and doesn't try the Step again; the next `run` does.
        """
        __tracebackhide__ = True
        name = workflow if workflow is not None else self._only_workflow("run")
        if dry_run:
            return super().run(name, dry_run=True)
        self.progress(name)  # refuses an unknown workflow
        self._wait_for_end(name, timeout)
        if not self._failed(name) - self._reported.get(name, set()):
            super().run(name)
            self._wait_for_end(name, timeout)
        self._reported[name] = self._failed(name)
        if self.progress(name)["state"] not in ("complete", "initialized"):
            raise AssertionError(self.describe(name))
        return {"run": name}

    def describe(self, workflow: str) -> str:
        """A workflow's state in lines: counts, failed Steps, ends of logs, missing inputs."""
        progress, status = self.progress(workflow), self.status(workflow)
        lines = [f"workflow {workflow!r}: {progress['state']}, {counts_line(progress)}"]
        if "error" in status["status"]:
            lines.append(status["status"]["error"])
        for failure in self.failures(workflow):
            lines.append(failure_line(failure))
            lines += self._log_end(workflow, failure["step"])
        return "\n".join(
            [
                *lines,
                *(
                    f"input {key!r} is missing, and no Step makes it"
                    for key in missing_inputs(self, status)
                ),
            ]
        )

    def unfinished(self) -> list[str]:
        """A line for each Step that runs or is about to."""
        try:
            running = [
                name
                for name, entry in self.workflows()["workflows"].items()
                if entry["state"] == "running"
            ]
        except Closed:
            return []
        return [
            f"Step {step['step']!r} of workflow {name!r} ({step['state']})"
            for name in running
            for step in self.graph(name)["steps"]
            if step["state"] in ("queued", "running", "ready")
        ]

    def report(self) -> str:
        """`describe` of all workflows that aren't complete; empty also after closing."""
        try:
            workflows = self.workflows()["workflows"]
        except Closed:
            return ""
        return "\n\n".join(
            self.describe(name) for name, entry in workflows.items() if entry["state"] != "complete"
        )

    def _wait_for_end(self, name: str, timeout: float) -> None:
        __tracebackhide__ = True
        try:
            self.wait(name, timeout)
        except TimeoutError:
            lines = [
                f"workflow {name!r} still runs after {timeout:g} s:"
                f" {counts_line(self.progress(name))}"
            ]
            for step in self.graph(name)["steps"]:
                if step["state"] == "running":
                    lines += [f"Step {step['step']!r} runs", *self._log_end(name, step["step"])]
            raise AssertionError("\n".join(lines)) from None

    def _failed(self, name: str) -> set[str]:
        tasks = self.status(name, debug=True)["status"]["tasks"]
        return {tasks[failure["step"]]["id"] for failure in self.failures(name)}

    def _log_end(self, workflow: str, step: str) -> list[str]:
        lines = log_end(self, workflow, step, LOG_LINES)
        return [" " * 4 + escaped(line, "\t", colours=True) for line in lines]

    def _workflow(self, key: str, given: str | None) -> str:
        if given is not None:
            return given
        bucket = StorageKey.parse(key).bucket
        # The file of a shared bucket's key is the same in each workflow.
        return (
            "shared" if bucket in (self.config["buckets"] or {}) else self._only_workflow(repr(key))
        )

    def _only_workflow(self, what: str) -> str:
        names: list[str] = sorted(self.workflows()["workflows"])
        if len(names) != 1:
            problem = "there are several workflows" if names else "there is no workflow yet"
            raise InvalidInput(what, f"{problem}, and none is named", "give workflow=NAME")
        return names[0]

    def _why_missing(self, workflow: str, key: str) -> str:
        try:
            explanation = self.explain(workflow, key)
        except GaiaError as error:
            return str(error)
        because = explanation["because"] or ("" if "step" in explanation else explanation["state"])
        return f"{because}\n{self.describe(workflow)}"


@contextlib.contextmanager
def fresh(folder: Path, config: Mapping[str, Any]) -> Iterator[GaiaFixture]:
    """A `GaiaFixture` that is closed at the end, and stops its Tasks then.

    Raises `AssertionError` if threads, processes, containers or private files of its engine are
    left after that; they are removed if possible.
    """
    threads = set(threading.enumerate())
    gaia = GaiaFixture(folder, config)
    try:
        yield gaia
    finally:
        gaia.close(wait=False)
    if leftovers := _leftovers(Config.parse(gaia.config), threads):
        raise AssertionError("the engine left behind: " + ", ".join(leftovers))


def check_marker(asked: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` for keys that a test may not set, such as the root."""
    known = [
        *(field.name for field in fields(Config) if field.name not in ("given", "root")),
        "leave_running",
    ]
    for key in asked:
        if key not in known:
            raise InvalidInput(
                "pytest.mark.gaia", f"there is no key {key!r}", nearest(key, known, "the keys are")
            )


def _leftovers(config: Config, before: set[threading.Thread]) -> list[str]:
    if owner(config.root) == os.getpid():
        return [
            "itself, since another Gaia on its root is still open: close that one, or make it"
            " under gaia_client"
        ]
    threads = [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("gaia-local") and thread not in before
    ]
    # Another root's `Gaia`, of another fixture or thread, may have begun meanwhile: these are its
    # threads then, or can't be told from those; or they ended with it since.
    others = owned_roots() - {config.root}
    leftovers = [
        f"the thread {thread.name}" for thread in threads if not others and thread.is_alive()
    ]
    if config.runtime != "process" or Storage(config.root, config.buckets).left_staging():
        leftovers += [f"the {leftover.kind} {leftover.name}" for leftover in clean(config)]
    return leftovers


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _check_inside(key: str, name: str) -> None:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts:
        raise InvalidInput(
            f"put {key!r}", f"{shown(name)} names nothing in it", "give relative paths of files"
        )

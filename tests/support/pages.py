"""The documents as a reader takes them: pages, their blocks, and a walk that runs the blocks."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from support.command_line import understood
from support.terminals import Terminal, converse

REPO = Path(__file__).parents[2]
DOCS = REPO / "resources" / "docs"
BIN = Path(sys.executable).parent
PROJECT: dict[str, Any] = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]

BLOCK = re.compile(
    r"(?:`(?P<file>[\w-]+\.\w+)`:\n\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$"
    r"(?:\n\n^```(?:text|mermaid)\n(?P<output>.*?)^```$)?",
    flags=re.MULTILINE | re.DOTALL,
)
"""A block, with the file that it is the contents of, and with the output in the block after it."""
CLIENT_LINE = r"^(python -m gaia\.client .*)$"
PRINTED = re.compile(r"^ *print\(.*\)  # (.*)$", flags=re.MULTILINE)
ABSENT = "dask_jobqueue"
"""A Python block that imports this is compiled, and not run: it needs a cluster."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the file that it is the contents of, its output."""

    language: str
    text: str
    file: str | None
    output: str | None


@dataclass(frozen=True)
class Page:
    """A page in Markdown."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its blocks."""
        return BLOCK.sub("", self.text)

    def blocks(self) -> list[Block]:
        """The blocks in order; an output belongs to the block that printed it."""
        return [
            Block(match["language"], match["text"], match["file"], match["output"])
            for match in BLOCK.finditer(self.text)
        ]

    def anchors(self) -> set[str]:
        """The anchors of the headings, as GitHub makes them."""
        headings = re.findall(r"^#+ (.+)$", self.prose, flags=re.MULTILINE)
        return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}

    def links(self) -> list[str]:
        """The targets of links and pictures."""
        return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", self.prose))


README = "README.md"
PAGES = {
    path.relative_to(REPO).as_posix(): Page(path)
    for path in [REPO / README, *sorted(DOCS.glob("*.md"))]
}


def document(topic: str) -> Page:
    """The page of a topic."""
    return PAGES[f"resources/docs/{topic}.md"]


# ---------------------------------------------------------------------- lines that tests can't run


def _is_target(words: Sequence[str]) -> bool:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    return re.search(rf"^{words[0]}:", makefile, flags=re.MULTILINE) is not None


def _is_installable(words: Sequence[str]) -> bool:
    extras = PROJECT["optional-dependencies"]
    command, *options, what = words
    found = re.fullmatch(r"\.(?:\[(.+)\])?", what)
    if found is None:
        return command == "install" and what in extras["test"]
    return (
        command == "install"
        and options in ([], ["-e"])
        and set(found[1].split(",") if found[1] else ()) <= set(extras)
    )


CHECKED: dict[str, Callable[[Sequence[str]], bool]] = {
    "make": _is_target,
    "pip": _is_installable,
    "git": lambda words: words == ["clone", "ADDRESS", "gaia-local"],
    ".": lambda words: words == [".venv/bin/activate"],
    "dask": lambda words: words[0] in ("scheduler", "worker"),
}
"""Programs whose lines are checked and not run, and neither are other lines of their blocks: they
fetch and install, or need other machines."""


def is_checked(block: Block) -> bool:
    """Whether a shell block can't be run here: `CHECKED`, and calls that watch until Ctrl-C."""
    lines = list(_lines(block))
    return any(words[0] in CHECKED or "--watch" in words for words in lines)


def check(block: Block) -> None:
    """Check the lines of such a block."""
    for program, *words in _lines(block):
        if program == "gaia-local":
            assert understood(words)
        elif program not in ("cd", "export"):
            assert CHECKED[program](words), f"{program} {shlex.join(words)}"


def check_installations(page: Page) -> None:
    """Check each ``pip install`` in the sentences of a page."""
    for line in re.findall(r"`pip (install [^`]+)`", page.prose):
        words = shlex.split(line)
        assert _is_installable(words), line


def _lines(block: Block) -> Iterator[list[str]]:
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


# ------------------------------------------------------------------------------------------ a walk


class Walk:
    """Runs the blocks of a page in one directory, as a reader without containers would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "HOME": str(folder),
            "DOCKER_HOST": f"unix://{folder}/no-engine.sock",
            "GAIA_LOCAL_RUNTIME": "auto",
            "PYTHONPATH": str(REPO),
        }
        self._server: subprocess.Popen[str] | None = None
        self._host = ""
        self.ran: list[str] = []
        """The languages of blocks, and the programs of shell blocks, that were run."""

    def __enter__(self) -> Walk:
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            with suppress(ProcessLookupError):
                self._server.terminate()
            self._server.communicate(timeout=60)

    def take(self, block: Block) -> None:
        """Run a block, or write it to its file."""
        if block.file is not None:
            (self.folder / block.file).write_text(block.text, encoding="utf-8")
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "python":
            self._take_python(block)
        elif block.language == "sh" and is_checked(block):
            check(block)
        elif block.language == "sh" and block.text == "gaia-local serve\n":
            self._serve()
        elif block.language == "sh" and block.text.startswith("gaia-local shell "):
            self._take_transcript(block)
        elif block.language == "sh":
            self._take_shell(block)
        else:
            raise AssertionError(
                f"a block of {block.language!r}, which nobody checks: {block.text}"
            )

    def run(self, *command: str | Path) -> str:
        """Run a program, which must succeed; answers its standard output."""
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ran.returncode == 0, f"{shlex.join(map(str, command))}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def _take_python(self, block: Block) -> None:
        compile(block.text, block.file or "block", "exec")
        if block.file is None and ABSENT not in block.text:
            self.ran.append("python")
            (self.folder / "block.py").write_text(block.text, encoding="utf-8")
            printed = self.run("python", "block.py")
            assert printed.splitlines() == PRINTED.findall(block.text)

    def _take_shell(self, block: Block) -> None:
        text, after = block.text, self.folder.with_name(f"{self.folder.name}-environment")
        if self._server is not None:
            text = re.sub(CLIENT_LINE, rf"\1 --host {self._host}", text, flags=re.M)
        self.ran += [words[0] for words in _lines(block)]
        printed = self.run("sh", "-euc", f"{text}env -0 > {shlex.quote(str(after))}")
        self.environment = dict(
            pair.split("=", 1) for pair in after.read_text().split("\0") if pair
        )
        if block.output is not None:
            assert re.fullmatch(pattern(block.output), printed), printed

    def _take_transcript(self, block: Block) -> None:
        """Call the program on a terminal, and type what its output has after each ``$ ``."""
        self.ran.append("gaia-local")
        assert block.output is not None
        environment = {**self.environment, "PS1": "$ ", "TERM": "dumb"}
        with Terminal(shlex.split(block.text), environment, self.folder) as terminal:
            status, shown = converse(terminal, block.output)
        assert status == 0, shown
        shown = re.sub(r"\Awarning: no Docker engine answers .*\n", "", shown)
        assert re.fullmatch(pattern(block.output), shown), shown

    def _serve(self) -> None:
        """Start the server of this page, at any free port; it ends with the walk."""
        self._server = subprocess.Popen(
            ["gaia-local", "serve", "--port", "0"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        listening = re.search(r"http://127\.0\.0\.1:(\d+)/", self._server.stdout.readline())
        assert listening is not None
        self._host = f"localhost:{listening[1]}"


def pattern(output: str) -> str:
    """A regular expression for an output, in which ``…`` stands for any text of a line."""
    return re.escape(output).replace("…", ".*")


def environment_variables() -> set[str]:
    """The names of environment variables in the package."""
    texts = (path.read_text(encoding="utf-8") for path in (REPO / "gaia_local").rglob("*.py"))
    return {name for text in texts for name in re.findall(r"\bGAIA_LOCAL_[A-Z_]+\b", text)}

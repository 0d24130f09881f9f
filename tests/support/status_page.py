"""The status page in a browser: a server with its page, and workflows to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Locator, Page, expect

from gaia_local import Gaia
from gaia_local.server import Server
from support.builders import command, step
from support.gates import Fifo

HOSTILE = '<img src=x onerror="window.pwned=1">\'&amp;/:#?%41 größe 日本語'
"""A name that must be shown unchanged in all places."""

expect.set_options(timeout=20_000)


@dataclass
class Site:
    """A server of its own, and a browser's page on it that is watched."""

    gaia: Gaia
    server: Server
    page: Page
    # Chromium drops requests when a container's network interface comes or goes, of whomever.
    expected: list[str] = field(default_factory=lambda: ["ERR_NETWORK_CHANGED"])
    """Parts of console errors that a test provokes."""

    def go(self, *names: str) -> Page:
        """Open the page at a workflow, or one of its Steps."""
        self.page.goto(self.server.url + address(*names))
        expect(self.page.locator(".link")).to_have_text("Live")
        return self.page

    def node(self, label: str) -> Locator:
        """The node of the graph with this label: a Step's, or a group's."""
        return self.page.locator("svg.graph").get_by_role("button", name=label)

    def fits(self) -> bool:
        """Whether nothing is wider than the window."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def address(*names: str) -> str:
    return "#/" + "/".join(quote(name, safe="") for name in names)


def talk(name: str, script: str, *inputs: str) -> dict[str, Any]:
    """A Command that runs shell code, and makes its output by itself."""
    return command(name, f"{script}; echo {name} > /out/x", *inputs)


def place(gaia: Gaia, workflow: str, key: str) -> None:
    path = gaia.path(workflow, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("here\n")


def chain(gaia: Gaia, name: str, second: str = "true") -> None:
    """Two Steps, one after the other."""
    commands = [talk("begin", "echo begun"), talk("go-on", second, "a")]
    gaia.upload(
        name,
        {"owner": "me"},
        commands,
        [step("one", "begin", "k:one"), step("two", "go-on", "k:two", "k:one")],
    )


def sweep(gaia: Gaia, name: str) -> None:
    """300 Steps of four Commands, which all wait for a file that nobody makes."""
    commands = [
        talk("prepare", "true", "a"),
        talk("simulate", "true", "a"),
        talk("analyse", "true", "a"),
    ]
    names = [f"in{number}" for number in range(148)]
    commands.append(talk("report", "true", *names))
    steps = [
        step("prepare", "prepare", "k:start", "k:missing"),
        step("other", "prepare", "k:other", "k:missing"),
    ]
    steps += [
        step(f"simulate-{number:03}", "simulate", f"k:sim/{number}", "k:start")
        for number in range(150)
    ]
    steps += [
        step(f"analyse-{number:03}", "analyse", f"k:ana/{number}", f"k:sim/{number}")
        for number in range(147)
    ]
    keys = ["k:other", *(f"k:ana/{number}" for number in range(147))]
    inputs = dict(zip(names, keys, strict=True))
    steps.append(step("report", "report", "k:report", inputs=inputs))
    gaia.upload(name, {}, commands, steps)


def held(gate: Fifo, before: str = "true") -> str:
    """Shell code that goes on with a line that is said at the gate."""
    return f'{before}; read line < "{gate.path}"; echo "then $line"'

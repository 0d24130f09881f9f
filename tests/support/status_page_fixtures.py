"""Fixtures for the status page: a browser, and a server with a page that is watched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import chromium
from support.fixtures import MakeGaia
from support.gates import Fifo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Request

    from support.status_page import Site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window; other modules' tests find no event loop of its own."""
    program = chromium.installed()
    if program is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with chromium.launched(program) as browser:
        yield browser


@pytest.fixture
def site(browser: Browser, make_gaia: MakeGaia) -> Iterator[Site]:
    """Fails the test when the page asks another server, or logs an error nobody expects."""
    from gaia_local.server import Server
    from support.status_page import Site

    gaia = make_gaia(watch=False)
    with Server(gaia, port=0) as server:
        context = browser.new_context(
            viewport={"width": 1280, "height": 800}, locale="en-GB", reduced_motion="reduce"
        )
        page = context.new_page()
        site = Site(gaia, server, page)
        problems: list[str] = []

        def request(made: Request) -> None:
            if not made.url.startswith(server.url):
                problems.append(f"it asked for {made.url}")

        def message(said: ConsoleMessage) -> None:
            if said.type in ("error", "warning"):
                problems.append(f"the console says {said.text}")

        context.on("request", request)
        page.on("console", message)
        page.on("pageerror", lambda error: problems.append(f"the page failed: {error}"))
        page.on("dialog", lambda dialog: problems.append(f"it opened a dialog: {dialog.message}"))
        yield site
        context.close()
    unexpected = [
        problem for problem in problems if not any(part in problem for part in site.expected)
    ]
    assert not unexpected, "\n".join(unexpected)


@pytest.fixture
def gate(tmp_path: Path) -> Fifo:
    return Fifo(tmp_path / "gate")

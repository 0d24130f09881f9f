"""Two open pages of the soaked server: real ones in Chromium, or streams read as a page does."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import requests

from support import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

WANDER_TURNS = 5
"""The second page goes elsewhere every so many turns."""
PATIENCE_MILLISECONDS = 20_000
"""A page that doesn't show within so long what it should is wrong."""
RECONNECT_SECONDS = 1.0
"""A stream that ended is asked for again after so long."""


@dataclass(frozen=True)
class PageReading:
    """What the first page holds."""

    heap: float
    """JavaScript's memory after a collection, in megabytes."""
    nodes: int
    """Nodes of the document, those too that only scripts still hold."""
    listeners: int


class Pages(Protocol):
    """Two pages: one stays at a workflow, the other one wanders."""

    problems: list[str]
    """What went wrong in them."""

    def turn(self) -> None:
        """Maybe go elsewhere."""

    def read(self) -> PageReading | None:
        """A reading of the page that stays; None without a browser."""

    def check(self) -> None:
        """Add to `problems` what the page that stays shows wrongly of a complete workflow."""


@contextmanager
def opened(
    url: str, token: str, names: Sequence[str], dice: random.Random, program: str | None
) -> Iterator[Pages]:
    """Two pages on the workflows `names`, in the browser `program` or without one."""
    if program is None:
        streams = Streams(url, token, names, dice)
        try:
            yield streams
        finally:
            streams.close()
        return
    with chromium.launched(program) as browser:
        yield Chromium(browser, url, token, names, dice)


class Chromium:
    """Two pages of a browser."""

    def __init__(
        self, browser: Browser, url: str, token: str, names: Sequence[str], dice: random.Random
    ) -> None:
        self.problems: list[str] = []
        self._dice, self._turns = dice, 0
        self._elsewhere = ["#/", *(f"#/{name}" for name in names)]
        context = browser.new_context()
        self._stays, self._wanders = self._page(context), self._page(context)
        self._stays.goto(f"{url}?token={token}")
        self._stays.goto(f"{url}#/{names[0]}")
        self._wanders.goto(url)
        self._devtools = context.new_cdp_session(self._stays)
        self._devtools.send("Performance.enable")
        self._await("Live", ".link")  # what this adds to the page is there from the first reading

    def _page(self, context: BrowserContext) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: self.problems.append(f"a page failed: {error}"))
        page.on(
            "console",
            lambda said: (
                self.problems.append(f"a console says {said.text}")
                if said.type == "error"
                else None
            ),
        )
        return page

    def turn(self) -> None:
        """Every so many turns another view, one of its Steps, or a reload."""
        self._turns += 1
        if self._turns % WANDER_TURNS:
            return
        if self._dice.random() < 0.2:
            self._wanders.reload()
        else:
            self._wanders.evaluate(
                "(to) => { location.hash = to }", self._dice.choice(self._elsewhere)
            )
        nodes = self._wanders.locator("svg.graph [role=button]")
        if self._dice.random() < 0.5 and (count := nodes.count()):
            nodes.nth(self._dice.randrange(count)).dispatch_event("click")

    def read(self) -> PageReading:
        """A reading of the page that stays."""
        self._devtools.send("HeapProfiler.collectGarbage")
        metrics = {
            metric["name"]: metric["value"]
            for metric in self._devtools.send("Performance.getMetrics")["metrics"]
        }
        return PageReading(
            metrics["JSHeapUsedSize"] / 1e6, int(metrics["Nodes"]), int(metrics["JSEventListeners"])
        )

    def check(self) -> None:
        """The page that stays is connected, and shows what the server has."""
        self._await("Live", ".link")
        self._await("complete", ".standing .badge")

    def _await(self, text: str, selector: str) -> None:
        from playwright.sync_api import expect

        try:
            expect(self._stays.locator(selector)).to_have_text(text, timeout=PATIENCE_MILLISECONDS)
        except AssertionError as error:
            self.problems.append(f"the page that stays: {error}")


class Streams:
    """Two clients that read the server's events, and connect again when a stream ends."""

    def __init__(self, url: str, token: str, names: Sequence[str], dice: random.Random) -> None:
        self.problems: list[str] = []
        self._dice, self._names, self._turns = dice, names, 0
        self._stays = Stream(url, token, f"?workflow={names[0]}", self.problems)
        self._wanders = Stream(url, token, "", self.problems)

    def turn(self) -> None:
        """Every so many turns another stream."""
        self._turns += 1
        if self._turns % WANDER_TURNS == 0:
            queries = ["", *(f"?workflow={name}" for name in self._names)]
            self._wanders.go(self._dice.choice(queries))

    def read(self) -> None:
        """There is no page."""

    def check(self) -> None:
        """The stream that stays tells what the server has."""
        if not self._stays.tells(self._names[0], "complete"):
            self.problems.append(f"the stream doesn't tell that {self._names[0]} is complete")

    def close(self) -> None:
        """Disconnect."""
        self._stays.close()
        self._wanders.close()


class Stream:
    """Events of the server, read in a thread."""

    def __init__(self, url: str, token: str, query: str, problems: list[str]) -> None:
        self._url, self._query, self._problems = f"{url}api/stream", query, problems
        self._headers = {"authorization": f"Bearer {token}", "accept": "text/event-stream"}
        self._changed = threading.Condition()
        self._closed = False
        self._answer: requests.Response | None = None
        self._states: dict[str, str] = {}
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def go(self, query: str) -> None:
        """Read another stream from now on."""
        with self._changed:
            self._query = query
            self._disconnect()

    def tells(self, name: str, state: str) -> bool:
        """Whether the stream has told this state of a workflow, within some seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._states.get(name) == state, 20)

    def close(self) -> None:
        """Disconnect, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._disconnect()
        self._thread.join()

    def _disconnect(self) -> None:
        connection = None if self._answer is None else self._answer.raw.connection
        if connection is not None and connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread

    def _follow(self) -> None:
        while not self._closed:
            try:
                for line in self._lines():
                    self._take(line)
            except requests.RequestException:
                pass  # the server is gone, or this side disconnected: again, as a page does
            with self._changed:
                self._changed.wait_for(lambda: self._closed, RECONNECT_SECONDS)

    def _lines(self) -> Iterator[str]:
        with requests.get(
            self._url + self._query, headers=self._headers, stream=True, timeout=60
        ) as answer:
            if answer.status_code != 200:
                self._problems.append(f"a stream was refused: {answer.status_code} {answer.text}")
            with self._changed:
                self._answer = answer
                if self._closed:
                    return
            yield from answer.iter_lines(decode_unicode=True)

    def _take(self, line: str) -> None:
        if line.startswith("data: {"):
            told = json.loads(line.removeprefix("data: "))["workflows"]
            with self._changed:
                self._states |= {name: row and row["state"] for name, row in told.items()}
                self._changed.notify_all()

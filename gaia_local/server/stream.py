"""Server-sent events of changes, from the scheduler's notices: no file is read for them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gaia_local.errors import GaiaError, InvalidInput
from gaia_local.server.reading import entry

if TYPE_CHECKING:
    from gaia_local import Gaia
    from gaia_local.model.answer_types import (
        ListedWorkflow,
        StepState,
        WorkflowChanges,
        WorkflowEntry,
    )

logger = logging.getLogger("gaia_local.server")

HEARTBEAT_SECONDS = 15.0
"""Seconds between two signs of life in a stream without changes."""
EVENT_PAUSE_SECONDS = 0.1
"""Seconds between two events: all changes in that time come in one event."""
RECONNECT_MILLISECONDS = 1000
"""Milliseconds after which a browser connects again."""


class EventStream(Response):
    """An endless answer: everything, then changes, until the client leaves or `closing` is set.

    If the server ends because its root was removed, the last event is ``gone`` and says so.
    """

    media_type = "text/event-stream"

    def __init__(
        self, gaia: Gaia, workflow: str | None, closing: asyncio.Event, follow: list[str]
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._gaia, self._closing = gaia, closing
        self._view: Any = FollowedView(gaia, follow) if follow else ClientView(gaia, workflow)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with anyio.create_task_group() as group:

            async def until_gone() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            async def until_closing() -> None:
                await self._closing.wait()
                group.cancel_scope.cancel()

            group.start_soon(until_gone)
            group.start_soon(until_closing)
            try:
                await self._send_changes(send)
            except GaiaError as error:  # the client connects again and gets the error then
                logger.warning("an event stream ended: %s", error)
                group.cancel_scope.cancel()
        gone = self._gaia.lost() if self._closing.is_set() else None
        last = "" if gone is None else f"event: gone\ndata: {json.dumps(gone)}\n\n"
        await send({"type": "http.response.body", "body": last.encode("ascii")})

    async def _send_changes(self, send: Send) -> None:
        changed_names = ChangedNames(asyncio.get_running_loop())
        unsubscribe = await to_thread.run_sync(self._gaia.subscribe, changed_names.put)
        try:
            change = await to_thread.run_sync(self._view.everything)
            await self._send(send, f"retry: {RECONNECT_MILLISECONDS}\n{_event(change)}")
            while True:
                changed = None
                with anyio.move_on_after(HEARTBEAT_SECONDS):
                    changed = await changed_names.take()
                if changed is None:
                    await self._send(send, ": nothing new\n\n")
                    continue
                change = await to_thread.run_sync(self._view.update, changed)
                if any(change.values()):
                    await self._send(send, _event(change))
                await anyio.sleep(EVENT_PAUSE_SECONDS)
        finally:
            unsubscribe()

    async def _send(self, send: Send, text: str) -> None:
        await send({"type": "http.response.body", "body": text.encode("ascii"), "more_body": True})


class ChangedNames:
    """The names of workflows that changed, put by the engine's threads, taken by a loop's task."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._not_empty = asyncio.Event()

    def put(self, names: Collection[str]) -> None:
        """Note some names; never blocks. Any thread may call it."""
        with self._lock:
            first = not self._names
            self._names.update(names)
        if first:
            # The loop has ended, and with it the task that waited.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._not_empty.set)

    async def take(self) -> set[str]:
        """All names since the last time; waits until there is one."""
        await self._not_empty.wait()
        self._not_empty.clear()
        with self._lock:
            names, self._names = self._names, set()
        return names


class ClientView:
    """The state that a client was sent; finds the differences from the present one."""

    def __init__(self, gaia: Gaia, workflow: str | None) -> None:
        self._gaia, self._workflow = gaia, workflow
        self._workflows: dict[str, ListedWorkflow] = {}
        self._steps: dict[str, StepState] = {}

    def everything(self) -> WorkflowChanges:
        """All workflows, and all Steps of the one."""
        change = self.update(self._gaia.workflows()["workflows"])
        return (
            {**change, "steps": self._changed_steps()}
            if self._workflow not in change["workflows"]
            else change
        )

    def update(self, names: Collection[str]) -> WorkflowChanges:
        """Changes of some workflows, and of the Steps of the one.

        Holds only differences from the state that was sent; None stands for a workflow or Step that
        is gone. A Step that ran again since then is among them even if its state is the same.
        """
        rows: Mapping[str, WorkflowEntry] = self._workflows
        if any(name not in rows for name in names):
            rows = self._gaia.workflows()["workflows"]
        workflows: dict[str, ListedWorkflow | None] = {}
        for name in names:
            now = entry(self._gaia, rows[name]) if name in rows else None
            if now != self._workflows.get(name):
                workflows[name] = now
            if now is None:
                self._workflows.pop(name, None)
            else:
                self._workflows[name] = now
        return {
            "workflows": workflows,
            "steps": self._changed_steps() if self._workflow in names else {},
        }

    def _changed_steps(self) -> dict[str, str | None]:
        if self._workflow is None:
            return {}
        try:
            now = self._gaia.step_states(self._workflow)
        except InvalidInput:  # it was deleted
            now = {}
        before, self._steps = self._steps, now
        changed: dict[str, str | None] = {
            step: state["state"] for step, state in now.items() if state != before.get(step)
        }
        return changed | {step: None for step in before if step not in now}


class FollowedView:
    """The same for several followed workflows."""

    def __init__(self, gaia: Gaia, names: list[str]) -> None:
        self._gaia = gaia
        self._list = ClientView(gaia, None)
        self._views = {name: ClientView(gaia, name) for name in names}
        self._tasks: dict[str, dict[str, Any]] = {name: {} for name in names}
        self._versions: dict[str, str] = {}

    def everything(self) -> dict[str, Any]:
        return {
            "workflows": self._list.everything()["workflows"],
            "followed": {
                name: self._followed(name, view.everything()["steps"])
                for name, view in self._views.items()
            },
        }

    def update(self, names: Collection[str]) -> dict[str, Any]:
        followed = {
            name: self._followed(name, view.update(names)["steps"])
            for name, view in self._views.items()
            if name in names
        }
        return {
            "workflows": self._list.update(names)["workflows"],
            "followed": {name: news for name, news in followed.items() if any(news.values())},
        }

    def _followed(self, name: str, steps: Mapping[str, Any]) -> dict[str, Any]:
        try:
            version = graph_version(self._gaia.graph(name))
            now = self._gaia.step_states(name)
        except InvalidInput:
            return {"steps": steps}
        answer: dict[str, Any] = {
            "steps": {
                step: None
                if state is None
                else {"state": state, "task": now[step]["task"], "started": None, "ended": None}
                for step, state in steps.items()
                if state is None or step in now
            }
        }
        if self._versions.get(name) != version:
            answer["graph"] = self._versions[name] = version
        return answer


def graph_version(graph: Any) -> str:
    shape = [[(s["step"], s["command"]) for s in graph["steps"]], graph["edges"]]
    return hashlib.blake2b(json.dumps(shape).encode(), digest_size=8).hexdigest()


def _event(change: WorkflowChanges) -> str:
    return f"event: changed\ndata: {json.dumps(change)}\n\n"

"""The log of requests: a line about each, and a warning with the reason of each refused call."""

from __future__ import annotations

import json
import logging

from starlette.types import Message, Scope

from gaia_local.monotonic import monotonic
from gaia_local.terminal_text import escaped

logger = logging.getLogger("gaia_local.server")

MAX_REASON = 500
"""The most characters of a refusal that are logged."""
STRANGERS_PAUSE_SECONDS = 60.0
"""Seconds between two warnings of calls without the token."""
READING = ("GET", "HEAD")
"""The methods that change nothing."""


class Pause:
    """Lets something happen once, and then not for some seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began: float | None = None

    def is_over(self) -> bool:
        """Whether it may happen now; if so, the next pause begins."""
        now = monotonic()
        if self._began is not None and now - self._began < self._seconds:
            return False
        self._began = now
        return True


class RequestLog:
    """Logs one request, as the messages of its answer pass."""

    def __init__(self, scope: Scope, strangers: Pause) -> None:
        """`strangers` is the server's pause between warnings of calls without its token."""
        self._scope, self._strangers, self._began = scope, strangers, monotonic()
        self._status: int | None = None
        """None before the answer has begun."""

    def has_begun(self) -> bool:
        """Whether the answer has begun."""
        return self._status is not None

    def note(self, message: Message) -> None:
        """Take note of a message of the answer, which is about to be sent."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            elapsed = (monotonic() - self._began) * 1000
            logger.info("%s: %d after %.0f ms", self.request(), self._status, elapsed)
        elif self._refuses_call():
            self._warn(message["body"])

    def defect(self, error: Exception) -> None:
        """Log an error of the server itself, with its traceback."""
        logger.error("%s failed", self.request(), exc_info=error)

    def request(self) -> str:
        """Its method, and the path as it was sent, without the query, which may hold the token."""
        path = self._scope.get("raw_path", b"").decode("ascii", "replace")
        return f"{self._scope['method']} {path}"

    def _refuses_call(self) -> bool:
        """Whether a call is refused that is to be told.

        Pages show their own refusals, defects are told before, and strangers may send many calls.
        """
        return (
            self._scope["method"] not in READING
            and self._status is not None
            and self._status >= 400
            and self._status != 500
            and (self._status != 401 or self._strangers.is_over())
        )

    def _warn(self, body: bytes) -> None:
        reason = escaped(json.loads(body)["error"])
        if len(reason) > MAX_REASON:
            reason = reason[: MAX_REASON - 1] + "…"
        # Clients that declare no Content-Type ignore statuses as well.
        declared = any(name == b"content-type" for name, _ in self._scope["headers"])
        hint = "" if declared else "; its client is 0.0.7 or older, and doesn't show this"
        logger.warning("refused %s (%d): %s%s", self.request(), self._status, reason, hint)

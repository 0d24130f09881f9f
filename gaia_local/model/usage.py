"""The usage of one attempt at a Step: the time and the resources that it took."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from gaia_local.model.sizes import memory_text

if TYPE_CHECKING:
    from gaia_local.model.answer_types import UsageEntry


class Usage(NamedTuple):
    """What an attempt took; None where nobody could measure it.

    Times are in seconds, all others in bytes. The resources are those of the program with all its
    children, not of the engine.
    """

    staging: float | None = None
    """Wall time from a worker's begin to the program's start: its inputs are copied."""
    running: float | None = None
    """Wall time of the program."""
    publishing: float | None = None
    """Wall time from the program's end to that of the attempt: its outputs are read and stored."""
    cpu_user: float | None = None
    cpu_system: float | None = None
    memory: int | None = None
    """The peak of its resident memory, without the cache of files.

    From 0.2 s on it is that of all its processes together, as looked at each second. Else it is
    that of the largest one; one that is smaller than its supervisor (9 MB) counts as that.
    """
    read: int | None = None
    """Bytes from system calls, as `read`: those from the cache, pipes and sockets, too.

    In containers, what came after the last look may be missing; there is one each second.
    """
    written: int | None = None
    received: int | None = None
    """Bytes from the network; containers only."""
    sent: int | None = None

    def published(self, seconds: float) -> Usage:
        """The same, after so much more publishing, if there was any."""
        if self.publishing is None:
            return self
        return self.timed(self.staging, self.running, self.publishing + seconds)

    def timed(
        self, staging: float | None, running: float | None, publishing: float | None
    ) -> Usage:
        """The same resources, with these wall times."""
        return Usage(staging, running, publishing, *self[3:])

    def wire(self) -> UsageEntry:
        """As answers have it."""
        return {
            "staging": self.staging,
            "running": self.running,
            "publishing": self.publishing,
            "cpu_user": self.cpu_user,
            "cpu_system": self.cpu_system,
            "memory": self.memory,
            "read": self.read,
            "written": self.written,
            "received": self.received,
            "sent": self.sent,
        }

    def json(self) -> str:
        """As a row holds it: a list of the fields' values."""
        return json.dumps(self)

    @classmethod
    def parse(cls, text: str) -> Usage:
        """From a row."""
        return cls(*json.loads(text))


def had_used(usage: Usage | None) -> str:
    """What a message about memory adds: how much a program had used, where that is known."""
    if usage is None or usage.memory is None:
        return ""
    return f"; it had used {memory_text(usage.memory)}"

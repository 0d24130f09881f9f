"""Measures the wall time of one attempt, part by part."""

from __future__ import annotations

from gaia_local.model.events import EventKind
from gaia_local.model.usage import Usage
from gaia_local.monotonic import monotonic

_NOTHING = Usage()


class Stopwatch:
    """Runs from its making; the events of the run tell where one part ends. Not thread-safe."""

    def __init__(self) -> None:
        self._begun = monotonic()
        self._started: float | None = None
        self._ended: float | None = None
        self.measured: Usage | None = None
        """The resources of the program, once its runtime has told them."""

    def note(self, event: EventKind) -> None:
        """An event of the run happens now."""
        if event == EventKind.EXECUTION_START:
            self._started = monotonic()
        elif event == EventKind.EXECUTION_COMPLETE:
            self._ended = monotonic()

    def usage(self) -> Usage:
        """What the attempt took up to now.

        Of one that an earlier engine began, only the publishing is known. One whose program never
        started did nothing but staging.
        """
        now, started, ended = monotonic(), self._started, self._ended
        staging = running = publishing = None
        if started is not None:
            staging = started - self._begun
            running = (now if ended is None else ended) - started
        elif ended is None:
            staging = now - self._begun
        if ended is not None:
            publishing = now - ended
        return (self.measured or _NOTHING).timed(staging, running, publishing)

"""The package's loggers: a message that nobody can be told of is lost, and costs no Step."""

from __future__ import annotations

import contextlib
import logging

NAMES = ("gaia_local", "gaia_local.server")


class UnfailingLogger(logging.Logger):
    """One whose callers hear nothing of a handler that can't write.

    NOTE: the handlers of `logging` don't raise, but others do: that of rich, where its reader is
    gone, raises `SystemExit`. In a thread that runs Steps, or holds a lock, nobody expects it.
    """

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 as its base has it
        """See `logging.Logger`."""
        with contextlib.suppress(OSError, ValueError, SystemExit):
            super().callHandlers(record)


def set_up() -> None:
    """Turn the package's loggers into these, existing ones too."""
    for name in NAMES:
        logging.getLogger(name).__class__ = UnfailingLogger

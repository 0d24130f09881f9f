"""The package's loggers: a message that nobody can be told of is lost, and costs no Step.

What is logged can be written to any stream, whatever names of files are in it.
"""

from __future__ import annotations

import contextlib
import logging

from gaia_local.terminal_text import LINES, escaped

NAMES = ("gaia_local", "gaia_local.server")


class UnfailingLogger(logging.Logger):
    """One whose callers hear nothing of a handler that can't write.

    NOTE: the handlers of `logging` don't raise, but others do: that of rich, where its reader is
    gone, raises `SystemExit`. In a thread that runs Steps, or holds a lock, nobody expects it.
    """

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 as its base has it
        """See `logging.Logger`."""
        _escape(record)
        with contextlib.suppress(OSError, ValueError, SystemExit):
            super().callHandlers(record)


def _escape(record: logging.LogRecord) -> None:
    """Escape the message and the traceback of a record, if that changes them."""
    message = record.getMessage()
    shown = escaped(message, LINES)
    if shown != message:
        record.msg, record.args = shown, ()
    if record.exc_info:
        record.exc_text = escaped(logging.Formatter().formatException(record.exc_info), LINES)


def set_up() -> None:
    """Turn the package's loggers into these, existing ones too."""
    for name in NAMES:
        logging.getLogger(name).__class__ = UnfailingLogger

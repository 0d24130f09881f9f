"""Programs that take signals as they would in a terminal, however these tests were started."""

from __future__ import annotations

SIGNALS = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); s.signal(s.SIGHUP, s.SIG_DFL)"
"""Python code. A shell that starts the tests in the background has SIGINT ignored by all that runs below it, nohup SIGHUP."""

COMMAND_LINE = f"{SIGNALS}; import gaia_local.cli as c; c.main()"
"""Python code that is `gaia-local`."""

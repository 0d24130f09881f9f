"""How many workers this process has open files for."""

from __future__ import annotations

import contextlib
import logging
import os

logger = logging.getLogger("gaia_local")

FILES_PER_WORKER = 6
"""Descriptors: a Task's pipes or connections, its log, and the files that are copied for it."""
SPARE_FILES = 40
"""For the state file, the watcher, other processes' calls and the connections to the runtime."""


def affordable_workers(wanted: int) -> int:
    """As many workers as are wanted, or fewer, at least one, where files would run out.

    Else Steps would fail that have done nothing wrong. Says so in a warning.
    """
    try:
        import resource
    except ImportError:  # a system without such limits
        return wanted
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return wanted
    open_now = 0
    with contextlib.suppress(OSError):
        open_now = len(os.listdir("/dev/fd"))
    affordable = max(1, min(wanted, (limit - open_now - SPARE_FILES) // FILES_PER_WORKER))
    if affordable < wanted:
        logger.warning(
            "%d instead of %d Steps run at a time: this process may have %d files open (%d are); "
            "raise that with `ulimit -n %d`",
            affordable,
            wanted,
            limit,
            open_now,
            open_now + SPARE_FILES + wanted * FILES_PER_WORKER,
        )
    return affordable

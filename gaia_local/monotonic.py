"""The clock for deadlines, timeouts and ages."""

from __future__ import annotations

import functools
import time

monotonic = functools.partial(time.clock_gettime, time.CLOCK_MONOTONIC)
"""Seconds since some moment, which no change of the clock and no test moves.

NOTE: `time.monotonic` is the same clock. But freezegun replaces that, in all modules, by one that
stands still with the time of day: then nothing would ever be due.
"""

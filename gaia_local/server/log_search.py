"""Finds a text in a log of any size, in steps, so that no search blocks others for long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from gaia_local.server.log_index import read_at

STEP_BYTES = 128 * 1024**2
"""The bytes after which a step ends."""
MATCHES_AT_ONCE = 1000
"""The most places of matches that one step answers; it counts all."""
_READ_BYTES = 64 * 1024
"""The bytes looked at together: they and their copies stay in the processor's cache, and are small
enough that no call of malloc maps fresh pages for them (it does from 128 kB on)."""


@dataclass(frozen=True)
class Found:
    """What a step found."""

    count: int
    """Occurrences that don't overlap, between the step's start and `next`."""
    offsets: list[int]
    """The bytes at which some of them begin."""
    next: int
    """The byte at which the next step begins; an occurrence that isn't all written is its own."""
    size: int
    """Bytes of the file at the time."""


def search(
    file: int,
    text: bytes,
    start: int,
    *,
    case: bool = True,
    skip: int = 0,
    step_bytes: int = STEP_BYTES,
    read_bytes: int = _READ_BYTES,
) -> Found:
    """The occurrences of a text without newlines from byte `start` on, for one step.

    Without `case`, the letters A to Z and a to z are the same. The first `skip` occurrences are
    counted, but their places aren't among the answered ones. `file` is a descriptor.
    """
    text = text if case else text.lower()
    size = os.fstat(file).st_size
    count, offsets, rest, rest_at = 0, list[int](), b"", min(start, size)
    while rest_at < min(start + step_bytes, size):
        read = read_at(file, rest_at + len(rest), min(read_bytes, size - rest_at - len(rest)))
        part = rest + (read if case else read.lower())
        # As the text has no newline, no occurrence reaches over one.
        end = part.rfind(b"\n") + 1
        inside = part.count(text, 0, end)
        if end and (count + inside <= skip or len(offsets) == MATCHES_AT_ONCE):
            count += inside
        else:
            end = end or len(part)
            resumes = 0
            for found in _all(part, text, end):
                if count >= skip and len(offsets) < MATCHES_AT_ONCE:
                    offsets.append(rest_at + found)
                count += 1
                resumes = found + len(text)
            if part[end - 1 : end] != b"\n":
                end = max(resumes, end - len(text) + 1)
        rest, rest_at = part[end:], rest_at + end
        if not read:
            break
    return Found(count, offsets, rest_at, size)


def _all(part: bytes, text: bytes, end: int) -> Iterator[int]:
    found = part.find(text, 0, end)
    while found >= 0:
        yield found
        found = part.find(text, found + len(text), end)

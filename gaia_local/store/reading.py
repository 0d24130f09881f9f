"""Reads files piece by piece: the one loop for copies and digests. Holes are known, not read."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Iterable, Iterator

from gaia_local.store.file_work import FileWork

PIECE = 1 << 20
SMALL = 1 << 16
ZEROS = bytes(PIECE)
"""What a hole reads as."""


def pieces(descriptor: int, size: int, work: FileWork, most: int | None = None) -> Iterator[bytes]:
    """The content of a file from where its descriptor is, to its end or `most` bytes.

    `size` is what is expected: room for a megabyte costs more than to read a small file.
    """
    room = min(PIECE, size + 1)
    while most is None or most > 0:
        piece = os.read(descriptor, room if most is None else min(room, most))
        if not piece:
            return
        if most is not None:
            most -= len(piece)
        yield piece
        work.advance(len(piece))


def has_holes(status: os.stat_result) -> bool:
    """Whether a file has fewer blocks than bytes: then it is worth a look for holes."""
    return status.st_blocks * 512 < status.st_size and hasattr(os, "SEEK_DATA")


def data_ranges(descriptor: int, at: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a file between `at` and `end` that are no holes, as (begin, end).

    Moves the descriptor. A file system that knows no holes has one range.
    """
    while at < end:
        try:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
            until = os.lseek(descriptor, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no more data, or the file has become shorter
                return
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            yield at, end
            return
        if begin >= end:
            return
        at = min(end, until)
        yield begin, at


def contents(descriptor: int, status: os.stat_result, work: FileWork) -> Iterable[bytes]:
    """The whole content of a file, in pieces; the zeros of holes aren't read."""
    if status.st_size <= SMALL:
        return _small_contents(descriptor, status.st_size, work)
    if status.st_size <= PIECE or not has_holes(status):
        return pieces(descriptor, status.st_size, work)
    return _contents_with_holes(descriptor, status, work)


def _small_contents(descriptor: int, size: int, work: FileWork) -> Iterable[bytes]:
    """A directory has very many small files: a generator for each costs as much as its reading."""
    first = os.read(descriptor, size + 1)
    work.advance(len(first))
    if len(first) != size:  # read in part, or the file has become another
        return itertools.chain([first], pieces(descriptor, SMALL, work))
    return (first,)


def _contents_with_holes(
    descriptor: int, status: os.stat_result, work: FileWork
) -> Iterator[bytes]:
    at = 0
    for begin, end in data_ranges(descriptor, 0, status.st_size):
        yield from _zeros(begin - at, work)
        os.lseek(descriptor, begin, os.SEEK_SET)
        yield from pieces(descriptor, PIECE, work, end - begin)
        at = end
    yield from _zeros(status.st_size - at, work)
    # Without holes, what was appended meanwhile would be read, too.
    os.lseek(descriptor, status.st_size, os.SEEK_SET)
    yield from pieces(descriptor, PIECE, work)


def _zeros(count: int, work: FileWork) -> Iterator[bytes]:
    while count > 0:
        piece = ZEROS if count >= PIECE else ZEROS[:count]
        count -= len(piece)
        yield piece
        work.advance(len(piece))

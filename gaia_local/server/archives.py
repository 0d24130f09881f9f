"""A directory as a tar, made while it is sent: no temporary file, one directory open at a time.

The same tree gives the same bytes: files by name, then the directories below by name, without
owners. A link is stored, as a link, only if it can't lead out of the tree. All else that is left
out (other links, sockets, FIFOs, devices, what can't be read or is gone) is named at the end, in a
text file beside the tree. A file that becomes shorter while it is read ends the archive without an
end, so that it can't be taken for a whole one.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterator, Sequence

from gaia_local.errors import StorageError
from gaia_local.server.file_answers import PIECE, Unfinished
from gaia_local.store.opening import Directory, Tree, kind_of
from gaia_local.terminal_text import escaped

_MOST_NAMES = 10_000_000
"""The most names of one directory, all of which are held to be sorted."""
_MOST_NAMED = 10_000
"""The most entries that the text file names; it counts the others."""
_BLOCK = tarfile.BLOCKSIZE


def archive(tree: Tree, path: Sequence[str], name: str) -> Iterator[bytes]:
    """The pieces of a tar with the directory at `path`, in which it is called `name`.

    Raises `Unfinished` if a file can't be read to its end.
    """
    left_out = _LeftOut()
    waiting: list[tuple[str, ...]] = [()]
    while waiting:
        here = waiting.pop()
        place = "/".join((name, *here))
        inner: list[tuple[str, ...]] = []
        try:
            with tree.directory((*path, *here)) as opened:
                yield _head(place + "/", os.fstat(opened.descriptor), tarfile.DIRTYPE)
                names = sorted(opened.names(_MOST_NAMES), key=os.fsencode)
                for each, status in opened.statuses(names):
                    kind = kind_of(status)
                    if kind == "directory":
                        inner.append((*here, each))
                    elif kind == "file":
                        yield from _file(opened, each, place, left_out)
                    elif kind == "link":
                        link = _link(opened, each, status, f"{place}/{each}", len(here))
                        if isinstance(link, bytes):
                            yield link
                        else:
                            left_out.add(f"{place}/{each}", link)
                    else:
                        left_out.add(f"{place}/{each}", f"it is a {kind}")
        except (StorageError, OSError) as error:
            left_out.add(place, str(error))
        waiting += reversed(inner)
    if left_out.count:
        text = left_out.text().encode()
        yield _regular_head(f"{name}.left-out.txt", len(text), 0o644, 0)
        yield text + bytes(-len(text) % _BLOCK)
    yield bytes(2 * _BLOCK)


class _LeftOut:
    """What isn't in the archive, and why."""

    def __init__(self) -> None:
        self.count = 0
        self._lines: list[str] = []

    def add(self, place: str, why: str) -> None:
        self.count += 1
        if self.count <= _MOST_NAMED:
            self._lines.append(f"{escaped(place)}: {escaped(why)}")

    def text(self) -> str:
        more = self.count - len(self._lines)
        lines = ["These aren't in the archive:", *self._lines]
        return "\n".join([*lines, f"and {more} more"] if more else lines) + "\n"


def _file(parent: Directory, name: str, place: str, left_out: _LeftOut) -> Iterator[bytes]:
    place = f"{place}/{name}"
    try:
        descriptor, status = parent.open_file(name)
    except StorageError as error:
        left_out.add(place, str(error))
        return
    try:
        yield _regular_head(place, status.st_size, status.st_mode, status.st_mtime)
        at, end = 0, status.st_size
        while at < end:
            try:
                piece = os.pread(descriptor, min(PIECE, end - at), at)
            except OSError as error:
                raise Unfinished(f"{escaped(place)} can't be read ({error.strerror})") from error
            if not piece:
                raise Unfinished(f"{escaped(place)} became shorter while it was read")
            at += len(piece)
            yield piece
        if end % _BLOCK:
            yield bytes(-end % _BLOCK)
    finally:
        os.close(descriptor)


def _link(
    parent: Directory, name: str, status: os.stat_result, place: str, depth: int
) -> bytes | str:
    """The head of a link in a directory that is `depth` levels below the top; or why not."""
    try:
        target = os.readlink(name, dir_fd=parent.descriptor)
    except OSError as error:
        return f"it can't be read ({error.strerror})"
    if not stays_inside(target, depth):
        return f"it is a link that may lead out, to {target}"
    return _head(place, status, tarfile.SYMTYPE, target)


def stays_inside(target: str, depth: int) -> bool:
    """Whether a link, `depth` directories below the top, can't lead out of a tree of such links.

    ``..`` is allowed only at the beginning: behind the name of another link, it would go up from
    where that one leads.
    """
    parts = target.split("/")
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    return bool(target) and parts[0] != "" and up <= depth and ".." not in parts[up:]


def _regular_head(place: str, size: int, mode: int, modified: float) -> bytes:
    info = tarfile.TarInfo(place)
    info.size, info.mode, info.mtime = size, stat.S_IMODE(mode) & 0o777, int(modified)
    return _bytes_of(info)


def _head(place: str, status: os.stat_result, kind: bytes, target: str = "") -> bytes:
    info = tarfile.TarInfo(place)
    info.type, info.linkname = kind, target
    info.mode, info.mtime = stat.S_IMODE(status.st_mode) & 0o777, int(status.st_mtime)
    return _bytes_of(info)


def _bytes_of(info: tarfile.TarInfo) -> bytes:
    # This format takes names of any bytes and length.
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")

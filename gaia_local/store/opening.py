"""Opens what lies below a directory, for readers who mustn't get anything else.

Invariant: each name on the way is looked up in the directory that was opened before it, and never
through a link. So whatever others rename or link meanwhile, what is opened lies below the top. Only
regular files are opened for reading: a FIFO would wait for its writer, and a device may act.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gaia_local.errors import StorageError
from gaia_local.model.names import OWN
from gaia_local.monotonic import monotonic
from gaia_local.store.walking import SPECIAL_KINDS, path_status
from gaia_local.terminal_text import escaped

_WAY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_CLOCK_EVERY = 256
"""Entries between two looks at the clock."""


class Absent(StorageError):
    """Nothing is there."""


class Barred(StorageError):
    """It isn't opened: it is a link, a special file, or the engine's own."""


class Entry(NamedTuple):
    """A name in a directory, with its `lstat`."""

    name: str
    status: os.stat_result


class Measured(NamedTuple):
    """What a tree holds, as far as it was looked at."""

    size: int
    """The bytes of its regular files."""
    files: int
    more: bool
    """Whether there is more than was looked at."""


class Directory:
    """An open directory of a tree."""

    def __init__(self, descriptor: int, path: tuple[str, ...], root: os.stat_result | None) -> None:
        self.descriptor, self.path, self._root = descriptor, path, root

    def names(self, most: int) -> list[str]:
        """The names in it but the engine's own; at most `most` of them, in no order."""
        found: list[str] = []
        with _told(self.path), os.scandir(self.descriptor) as entries:
            for entry in entries:
                if len(found) == most:
                    break
                if not entry.name.startswith(OWN):
                    found.append(entry.name)
        return found

    def statuses(self, names: Sequence[str]) -> Iterator[Entry]:
        """Those of `names` that are still there."""
        for name in names:
            with contextlib.suppress(OSError):
                status = os.lstat(name, dir_fd=self.descriptor)
                if not _is_same(status, self._root):
                    yield Entry(name, status)

    def open_file(self, name: str) -> tuple[int, os.stat_result]:
        """A descriptor of a regular file in it, which the caller closes, and its `fstat`."""
        path = (*self.path, name)
        with _told(path):
            # Looked at first, since opening alone makes some devices act; and again when open.
            _check_regular(os.lstat(name, dir_fd=self.descriptor), path)
            opened = os.open(name, _FILE, dir_fd=self.descriptor)
            try:
                status = os.fstat(opened)
                _check_regular(status, path)
            except BaseException:
                os.close(opened)
                raise
            return opened, status


class Tree:
    """What lies below the directory `top`, which may be a link itself. Thread-safe.

    Paths are relative to it: the names on the way, none of them empty, ``.`` or ``..``. Nothing of
    the engine's own is in it: no name with the prefix `OWN`, and not the directory `root`. All
    methods raise `Absent`, `Barred`, or `StorageError` if the system refuses.
    """

    def __init__(self, top: str, root: str) -> None:
        self._top = top
        self._root = path_status(root)

    def status(self, path: Sequence[str]) -> os.stat_result:
        """The `lstat` of what is at `path`."""
        if not path:
            with self.directory(()) as top:
                return os.fstat(top.descriptor)
        with self._parent(path) as parent, _told(path):
            status = os.lstat(path[-1], dir_fd=parent)
            if _is_same(status, self._root):
                raise _own(path)
            return status

    @contextlib.contextmanager
    def directory(self, path: Sequence[str]) -> Iterator[Directory]:
        """The directory at `path`, open to be listed."""
        if path:
            with self._parent(path) as parent:
                descriptor = self._step(parent, path, _DIRECTORY)
        else:
            descriptor = self._step(None, path, _DIRECTORY)
        try:
            yield Directory(descriptor, tuple(path), self._root)
        finally:
            os.close(descriptor)

    def open_file(self, path: Sequence[str]) -> tuple[int, os.stat_result]:
        """A descriptor of the regular file at `path`, which the caller closes, and its `fstat`."""
        if not path:
            raise Barred("it is a directory")
        with self._parent(path) as parent:
            return Directory(parent, tuple(path[:-1]), self._root).open_file(path[-1])

    def measure(self, path: Sequence[str], most: int, until: float) -> Measured:
        """What is below the directory at `path`: at most `most` entries, `until` a moment."""
        size = files = seen = 0
        waiting = [tuple(path)]
        while waiting:
            here = waiting.pop()
            try:
                with self.directory(here) as opened, os.scandir(opened.descriptor) as found:
                    for entry in found:
                        late = seen % _CLOCK_EVERY == 0 and monotonic() > until
                        if seen == most or late:
                            return Measured(size, files, True)
                        seen += 1
                        if entry.name.startswith(OWN):
                            continue
                        with contextlib.suppress(FileNotFoundError):
                            status = entry.stat(follow_symlinks=False)
                            if stat.S_ISDIR(status.st_mode):
                                waiting.append((*here, entry.name))
                            elif stat.S_ISREG(status.st_mode):
                                size, files = size + status.st_size, files + 1
            except (StorageError, OSError):
                if here == tuple(path):
                    raise
                # One that can't be read, or is gone: the rest counts.
        return Measured(size, files, False)

    # -- inside ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _parent(self, path: Sequence[str]) -> Iterator[int]:
        """A descriptor of the directory around what is at `path`."""
        descriptor = self._step(None, (), _WAY)
        try:
            for depth in range(1, len(path)):
                inner = self._step(descriptor, path[:depth], _WAY)
                os.close(descriptor)
                descriptor = inner
            _check_name(path[-1])
            yield descriptor
        finally:
            os.close(descriptor)

    def _step(self, parent: int | None, path: Sequence[str], flags: int) -> int:
        """Open the directory at `path` in its parent; without one, the top."""
        with _told(path):
            if parent is None:
                descriptor = os.open(self._top, flags & ~os.O_NOFOLLOW)
            else:
                _check_name(path[-1])
                descriptor = _open_directory(parent, path[-1], flags)
        try:
            barred = _is_same(os.fstat(descriptor), self._root)
        except BaseException:
            os.close(descriptor)
            raise
        if barred:
            os.close(descriptor)
            raise _own(path)
        return descriptor


def kind_of(status: os.stat_result) -> str:
    """``file``, ``directory``, ``link``, or the word for what can't be read as a file."""
    kind = stat.S_IFMT(status.st_mode)
    known = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    return known.get(kind) or SPECIAL_KINDS.get(kind, "something else").removeprefix("a ")


def _open_directory(parent: int, name: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        # The system's errors don't tell a link from a file here.
        status = os.lstat(name, dir_fd=parent)
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
        raise


def _is_same(status: os.stat_result, other: os.stat_result | None) -> bool:
    return other is not None and os.path.samestat(status, other)


def _own(path: Sequence[str]) -> Barred:
    return Barred(f"{_shown(path)} is the engine's own, and isn't opened")


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise Barred(f"{escaped(name)!r} is no name of a file")
    if name.startswith(OWN):
        raise _own((name,))


def _check_regular(status: os.stat_result, path: Sequence[str]) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = kind_of(status)
    if kind == "link":
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    raise Barred(f"{_shown(path)} is a {kind}, and no file")


@contextlib.contextmanager
def _told(path: Sequence[str]) -> Iterator[None]:
    """Errors of the system as `StorageError`."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Barred(f"{_shown(path)} is a link: what links lead to isn't shown") from error
        if error.errno in _ABSENT:
            raise Absent(f"{_shown(path)}: nothing is there") from error
        raise StorageError(f"{_shown(path)} can't be opened ({error.strerror})") from error
    except UnicodeEncodeError as error:  # a surrogate that stands for no byte
        raise Absent(f"{_shown(path)}: nothing is there") from error


def _shown(path: Sequence[str]) -> str:
    return escaped("/".join(path)) or "it"

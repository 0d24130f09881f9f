"""Copies files and trees: blocks are shared if possible, and holes stay holes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from gaia_local.errors import StorageError
from gaia_local.model.names import OWN
from gaia_local.model.paths import is_inside
from gaia_local.store import reading, removal
from gaia_local.store.directories import make_directories
from gaia_local.store.file_work import MOST_BYTES, UNTOLD, FileWork
from gaia_local.store.walking import SPECIAL_KINDS, walk
from gaia_local.terminal_text import escaped


def copy(
    source: str,
    target: str,
    follow: bool,
    status: os.stat_result | None = None,
    work: FileWork = UNTOLD,
    *,
    private: bool = True,
) -> None:
    """Copy a file or tree to `target`, which must not exist; its copy is writable by the owner.

    Others have no access to files of a `private` one, and else that which they had. A link is
    copied as a link, or, with `follow`, as its target (a dangling one stays a link). `status` is
    the `stat` of `source` (the `lstat` without `follow`), if known.
    """
    status = status or (os.stat(source) if follow else os.lstat(source))
    if stat.S_ISLNK(status.st_mode):
        Path(target).symlink_to(os.readlink(source))
    elif stat.S_ISDIR(status.st_mode):
        Path(target).mkdir()
        for relative, inner, entry in walk(source, follow, work):
            place = f"{target}/{relative}"
            if stat.S_ISDIR(entry.st_mode):
                Path(place).mkdir()
            elif stat.S_ISLNK(entry.st_mode):
                Path(place).symlink_to(os.readlink(inner))
            else:
                copy_file(inner, place, entry, work, private=private)
    else:
        copy_file(source, target, status, work, private=private)


def pull(source: str, top: Path, target: Path, follow: bool) -> None:
    """Copy a file or tree over `target`: directories become one, files and links are replaced.

    Raises `StorageError` if a link at `target`, or on the way to it from `top`, leads out of `top`.
    """
    real = os.path.realpath(target)
    if target.is_relative_to(top) and not is_inside(real, os.path.realpath(top)):
        problem = f"a link there leads out of {top}, to {escaped(real)}"
        raise StorageError(f"{escaped(str(target))} can't be written: {problem}")
    make_directories(str(target.parent))
    import tempfile  # it is slow to import, and seldom needed

    # Not `TemporaryDirectory`, which calls itself for each level to remove it.
    aside = tempfile.mkdtemp(prefix=OWN, dir=target.parent)
    try:
        copy(source, f"{aside}/copy", follow)
        if not Path(source).is_dir():
            Path(aside, "copy").replace(target)
            return
        target.mkdir(exist_ok=True)
        for relative, _, status in list(walk(f"{aside}/copy")):
            place = target / relative
            if place.is_symlink() or (place.exists() and not stat.S_ISDIR(status.st_mode)):
                place.unlink()
            if stat.S_ISDIR(status.st_mode):
                place.mkdir(exist_ok=True)
            else:
                Path(aside, "copy", relative).rename(place)
    finally:
        removal.remove(aside)


def copy_file(
    source: str,
    target: str,
    status: os.stat_result,
    work: FileWork = UNTOLD,
    *,
    private: bool = True,
) -> None:
    """Copy a regular file with this `status` to `target`, which must not exist; see `copy`."""
    if not stat.S_ISREG(status.st_mode):
        kind = SPECIAL_KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise StorageError(f"{escaped(source)} is {kind}: it can't be copied")
    mode = 0o600 | (status.st_mode & (0o111 if private else 0o777))
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            copy_range(reader, writer, work)
            os.utime(writer, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def copy_range(reader: int, writer: int, work: FileWork = UNTOLD) -> None:
    """Copy the rest of one descriptor to another; shares blocks if possible, and keeps holes."""
    status = os.fstat(reader)
    if not reading.has_holes(status):
        _copy_bytes(reader, writer, status.st_size, work)
        return
    at, end = os.lseek(reader, 0, os.SEEK_CUR), status.st_size
    shift = os.lseek(writer, 0, os.SEEK_CUR) - at
    for begin, until in reading.data_ranges(reader, at, end):
        work.advance(begin - at)
        os.lseek(reader, begin, os.SEEK_SET)
        os.lseek(writer, begin + shift, os.SEEK_SET)
        _copy_bytes(reader, writer, until - begin, work)
        at = until
    work.advance(end - at)
    os.ftruncate(writer, end + shift)


def _copy_bytes(reader: int, writer: int, count: int, work: FileWork) -> None:
    try:
        while hasattr(os, "copy_file_range") and count > 0:
            copied = os.copy_file_range(reader, writer, min(count, MOST_BYTES))
            if not copied:
                break
            count -= copied
            work.advance(copied)
    except OSError as error:
        if error.errno not in (
            errno.EXDEV,
            errno.EINVAL,
            errno.ENOSYS,
            errno.EOPNOTSUPP,
            errno.EPERM,
        ):
            raise
    for piece in reading.pieces(reader, count, work, count):
        _write_all(writer, piece)


def write_with_holes(writer: int, piece: bytes) -> None:
    """Write a piece at the end of a new file: one of zeros alone becomes a hole.

    The file must be given its size at the end.
    """
    if reading.ZEROS.startswith(piece):  # as fast as a comparison
        os.lseek(writer, len(piece), os.SEEK_CUR)
    else:
        _write_all(writer, piece)


def _write_all(writer: int, piece: bytes) -> None:
    """Write all of a piece, however much the system takes at a time."""
    while piece:
        piece = piece[os.write(writer, piece) :]

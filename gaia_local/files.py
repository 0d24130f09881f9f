"""Files and directory trees: copying, fingerprints, removal. Knows nothing of workflows.

No function here follows a symbolic link unless its argument says so. Names that begin with `OWN` are the engine's own
and are no part of any tree.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from gaia_local import model
from gaia_local.errors import StorageError
from gaia_local.model import Fingerprint
from gaia_local.paths import is_inside

OWN = model.OWN
_CHUNK = 1 << 20
_MANY_FILES = 64
_SPECIAL = {stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}


def look(path: str) -> str | None:
    """The quick fingerprint of what lies at `path`: one `stat` for a file; None where nothing does, nor can."""
    status = _status(path)
    return None if status is None else _quick(path, status)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            return None
        raise StorageError(f"{path}: can't be looked at ({error.strerror})") from error


def _quick(path: str, status: os.stat_result) -> str:
    if not stat.S_ISDIR(status.st_mode):
        return f"{status.st_size}:{status.st_mtime_ns}"
    total = hashlib.blake2b(digest_size=16)
    for relative, entry in walk(path):
        total.update(f"{relative}\0{stat.S_IFMT(entry.st_mode)}\0".encode("utf-8", "surrogateescape"))
        if not stat.S_ISDIR(entry.st_mode):
            total.update(f"{entry.st_size}:{entry.st_mtime_ns}\0".encode())
    return "d:" + total.hexdigest()


def digest(path: str, flush: bool = False) -> str:
    """The content digest of the file or tree at `path`; with `flush`, what was read is on the disk afterwards."""
    return _digest(path, os.stat(path), flush)


def _digest(path: str, status: os.stat_result, flush: bool) -> str:
    if not stat.S_ISDIR(status.st_mode):
        return _file_digest(path, status, flush)
    total = hashlib.blake2b(digest_size=16)
    entries = list(walk(path))
    one_by_one = flush and len(entries) <= _MANY_FILES
    for relative, entry in entries:
        total.update(f"{relative}\0{stat.S_IFMT(entry.st_mode)}\0".encode("utf-8", "surrogateescape"))
        inner = f"{path}/{relative}"
        if stat.S_ISREG(entry.st_mode):
            total.update(_file_digest(inner, entry, one_by_one).encode())
        elif stat.S_ISLNK(entry.st_mode):
            total.update(os.fsencode(os.readlink(inner)))
    if flush and not one_by_one:
        os.sync()
    return total.hexdigest()


def fingerprint(path: str, flush: bool = False, status: os.stat_result | None = None) -> Fingerprint | None:
    """Both fingerprints of what lies at `path`; None where nothing does, or where it vanished meanwhile.

    `flush` as for `digest`; `status` is what `stat` says of it, where that is known.
    """
    status = status or _status(path)
    if status is None:
        return None
    try:
        return Fingerprint(_quick(path, status), _digest(path, status, flush))
    except FileNotFoundError:
        return None


def walk(top: str) -> Iterator[tuple[str, os.stat_result]]:
    """Everything below the directory `top`, as (path relative to it, lstat), parents first, in the order of names."""

    def below(directory: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        try:
            with os.scandir(directory) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            if entry.name.startswith(OWN):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield prefix + entry.name, status
            if stat.S_ISDIR(status.st_mode):
                yield from below(entry.path, prefix + entry.name + "/")

    return below(top, "")


def copy(source: str, target: str, follow: bool) -> None:
    """Copy a file or tree to `target`, which must not exist; its copy is writable by the owner.

    A link is copied as a link, or, with `follow`, what it leads to (a dangling one stays a link).
    """
    status = os.stat(source) if follow else os.lstat(source)
    if stat.S_ISLNK(status.st_mode):
        Path(target).symlink_to(os.readlink(source))
    elif stat.S_ISDIR(status.st_mode):
        _copy_tree(source, target, follow, (os.path.realpath(source),))
    else:
        _copy_file(source, target, status)


def pull(source: str, top: Path, target: Path, follow: bool) -> None:
    """Copy a file or tree over what lies at `target`: directories become one, files and links are replaced.

    Raises `StorageError` where a link at `target`, or on the way to it from `top`, leads out of `top`.
    """
    real = os.path.realpath(target)
    if target.is_relative_to(top) and not is_inside(real, os.path.realpath(top)):
        raise StorageError(f"{target} can't be written: a link there leads out of {top}, to {real}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not Path(source).is_dir():
        target.unlink(missing_ok=True)
        copy(source, str(target), follow)
        return
    with tempfile.TemporaryDirectory(prefix=OWN, dir=target.parent) as aside:
        copy(source, f"{aside}/copy", follow)
        target.mkdir(exist_ok=True)
        for relative, status in list(walk(f"{aside}/copy")):
            place = target / relative
            if place.is_symlink() or (place.exists() and not stat.S_ISDIR(status.st_mode)):
                place.unlink()
            if stat.S_ISDIR(status.st_mode):
                place.mkdir(exist_ok=True)
            else:
                Path(aside, "copy", relative).rename(place)


def _copy_tree(source: str, target: str, follow: bool, above: tuple[str, ...]) -> None:
    Path(target).mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.name.startswith(OWN):
                continue
            inner = f"{target}/{entry.name}"
            if entry.is_symlink():
                real = os.path.realpath(entry.path)
                loops = any(is_inside(each, real) for each in above)
                if not follow or loops or not Path(real).exists():
                    Path(inner).symlink_to(os.readlink(entry.path))
                elif entry.is_dir():
                    _copy_tree(real, inner, follow, (*above, real))
                else:
                    _copy_file(real, inner, os.stat(real))
            elif entry.is_dir():
                _copy_tree(entry.path, inner, follow, above)
            else:
                _copy_file(entry.path, inner, entry.stat(follow_symlinks=False))


def _copy_file(source: str, target: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(f"{source} is {_SPECIAL.get(stat.S_IFMT(status.st_mode), 'no regular file')}: it can't be copied")
    with Path(source).open("rb") as reader:
        mode = 0o600 | (status.st_mode & 0o111)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as writer:
            copy_range(reader.fileno(), writer.fileno())
            os.utime(writer.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_range(reader: int, writer: int) -> None:
    """Copy what is left of one descriptor to another: blocks are shared where the file system can, and holes stay holes."""
    status = os.fstat(reader)
    if status.st_blocks * 512 >= status.st_size or not hasattr(os, "SEEK_DATA"):
        _copy_bytes(reader, writer, status.st_size)
        return
    at, end = os.lseek(reader, 0, os.SEEK_CUR), status.st_size
    shift = os.lseek(writer, 0, os.SEEK_CUR) - at
    while at < end:
        try:
            start = os.lseek(reader, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # there is data no more
                raise
            break
        at = os.lseek(reader, start, os.SEEK_HOLE)
        os.lseek(reader, start, os.SEEK_SET)
        os.lseek(writer, start + shift, os.SEEK_SET)
        _copy_bytes(reader, writer, at - start)
    os.ftruncate(writer, end + shift)


def _copy_bytes(reader: int, writer: int, count: int) -> None:
    try:
        while hasattr(os, "copy_file_range") and count > 0:
            copied = os.copy_file_range(reader, writer, min(count, 1 << 30))
            if not copied:
                break
            count -= copied
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            raise
    while count > 0 and (piece := os.read(reader, min(count, _CHUNK))):
        count -= len(piece)
        while piece:
            piece = piece[os.write(writer, piece) :]


def settle(path: str) -> os.stat_result:
    """Make a tree that a program left fit for the store: ours, readable, without special files.

    Returns what `lstat` said of it before. Raises `StorageError` that names the first FIFO, socket or device.
    """
    own, privileged = os.geteuid(), os.geteuid() == 0

    def mend(inner: str, status: os.stat_result) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if kind in _SPECIAL:
            raise StorageError(f"{inner} is {_SPECIAL[kind]}, which can't be stored; remove it, or leave it out of the output")
        if privileged and status.st_uid != own:
            os.lchown(inner, own, os.getegid())
        needed = 0o700 if kind == stat.S_IFDIR else 0o400
        if kind != stat.S_IFLNK and status.st_mode & needed != needed and (privileged or status.st_uid == own):
            Path(inner).chmod(stat.S_IMODE(status.st_mode) | needed)

    top = os.lstat(path)
    mend(path, top)
    if stat.S_ISDIR(top.st_mode):
        for relative, status in walk(path):
            mend(f"{path}/{relative}", status)
    return top


def enclose(top: str, what: str, follow: Callable[[str, str], Iterator[str]]) -> None:
    """Make sure that no link in the tree `top` leads out of it, now or later; raises `StorageError` that names `what`.

    Kept is a link that goes up only at its start, and never above `top`, and then down: whatever is renamed over parts
    of the tree, a chain of such links stays inside. Any other is read as its program saw it, which `follow` does
    (directory, link's text → what it may lead to), and becomes such a one if that lies inside.
    """
    for relative, status in walk(top):
        if not stat.S_ISLNK(status.st_mode):
            continue
        link = f"{top}/{relative}"
        directory, text = os.path.dirname(link), os.readlink(link)
        if _stays(text, relative.count("/")):
            continue
        inside = (at for at in follow(directory, text) if is_inside(at, top))
        better = next((short for at in inside if _stays(short := os.path.relpath(at, directory), relative.count("/"))), None)
        if better is None:
            problem = f"its link {relative!r} leads out of it, to {text!r}"
            raise StorageError(f"{what} can't be stored: {problem}; copy the file instead, or leave the link out")
        Path(link).unlink()
        Path(link).symlink_to(better)


def has_link(top: str, out: bool) -> bool:
    """Whether there is a link in the directory at `top`; with `out`, one whose text leads out of it. A file has none."""
    waiting = [(top, 0)]
    while waiting:
        directory, depth = waiting.pop()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith(OWN):
                    continue
                if entry.is_symlink():
                    if not (out and _stays(os.readlink(entry.path), depth)):
                        return True
                elif entry.is_dir():
                    waiting.append((entry.path, depth + 1))
    return False


def _stays(text: str, depth: int) -> bool:
    """Whether a link `depth` directories below the top of a tree, itself, stays in what `walk` finds there."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    down = list(itertools.dropwhile(lambda part: part == "..", parts))
    if text.startswith("/") or len(parts) - len(down) > depth:
        return False
    return not any(part == ".." or part.startswith(OWN) for part in down)


def remove(path: str) -> None:
    """Remove a file or tree, also one whose directories were made read-only; nothing there is fine."""
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            Path(path).unlink()
            return
    except (FileNotFoundError, NotADirectoryError):
        return
    with contextlib.suppress(OSError):
        if _remove_shallow(path):
            return
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        remove(path)
    except PermissionError:
        _unlock(path)
        shutil.rmtree(path)


def _remove_shallow(name: str, inside: int | None = None, depth: int = 3) -> bool:
    """Remove a directory that is not deep, in half the time of `shutil.rmtree`; False, or an error, where that fails."""
    with contextlib.suppress(OSError):
        os.rmdir(name, dir_fd=inside)
        return True
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inside)
    try:
        for each in os.listdir(descriptor):
            try:
                os.unlink(each, dir_fd=descriptor)
            except (IsADirectoryError, PermissionError):
                if not depth or not _remove_shallow(each, descriptor, depth - 1):
                    return False
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=inside)
    return True


def _unlock(directory: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        Path(directory).chmod(0o700)
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _unlock(entry.path)


def _file_digest(path: str, status: os.stat_result, flush: bool) -> str:
    kind = stat.S_IFMT(status.st_mode)
    if kind in _SPECIAL:  # to open a FIFO would wait for its writer
        raise StorageError(f"{path} is {_SPECIAL[kind]}: it can't be read as a file")
    total = hashlib.blake2b(digest_size=16)
    size = min(_CHUNK, status.st_size + 1)  # room for a megabyte costs more than to read a small file
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while chunk := os.read(descriptor, size):
            total.update(chunk)
        if flush:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return total.hexdigest()

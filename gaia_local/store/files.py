"""Files and directory trees: copying, fingerprints, removal. Knows nothing of workflows.

A path that is a symbolic link itself stands for what it leads to; links inside a tree are followed
only where an argument says so. Names that begin with `OWN` are the engine's own and are no part of
any tree.

A *quick* fingerprint says which files these are, and when they were changed last: size, time of
modification, time of the inode's change, and the inode's number. Whoever gives a file other
contents changes at least one of these, also with the size and the time of modification kept. The
device is no part of it: its number differs between the machines that share a file system, and says
nothing that the inode doesn't.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import operator
import os
import stat
import struct
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from gaia_local.errors import StorageError
from gaia_local.model import names
from gaia_local.model.paths import is_inside
from gaia_local.model.tasks import DOUBTFUL, Fingerprint

OWN = names.OWN
TORN = Fingerprint(DOUBTFUL, "changed while it was read")
"""Of what was changed while a program read it: equal to that of no content."""
_CHUNK = 1 << 20
_CLOCK_STEP = 20_000_000
"""Nanoseconds within which two changes of a file may get the same time: the clocks of file systems
step by 1 to 10 ms.
"""
_ENTRY = struct.Struct("<HqqqQ").pack
"""What the quick fingerprint of a directory has of each entry. Numbers as text would cost twice the
time.
"""
_PLAIN = hashlib.blake2b(digest_size=16)
_EXECUTABLE = hashlib.blake2b(digest_size=16, person=b"x")
"""The digest of no content: a program can tell whether a file may be executed, too."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_LISTED = 16
"""So much of a file's digest is in a listing, to tell one version of it from another."""
_MANY_FILES = 64
_READINGS = 3
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EROFS)
"""What file systems say that have no such call: FUSE, some of the network, read-only ones."""
_UNREACHED = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENXIO,
    errno.EACCES,
    errno.EPERM,
)
_SPECIAL = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def look(path: str, follow: bool = False) -> str | None:
    """The quick fingerprint of what lies at `path`: one `stat` for a file; None where nothing does,
    nor can.

    With `follow`, links inside a directory stand for what they lead to.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        _check_absent(path, error)
        return None
    if stat.S_ISDIR(status.st_mode):
        return _quick(path, status, follow)[0]
    # `_of_inode`, without the price of a call: each `run` looks at all files.
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError as error:
        _check_absent(path, error)
        return None


def _check_absent(path: str, error: OSError) -> None:
    """Raise unless `error` says that nothing lies at `path`, nor can."""
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        raise StorageError(f"{path}: can't be examined ({error.strerror})") from error


def _quick(path: str, status: os.stat_result, follow: bool) -> tuple[str, int]:
    """Answers also when something there was changed last, in nanoseconds."""
    if not stat.S_ISDIR(status.st_mode):
        return _of_inode(status), status.st_ctime_ns
    parts, times = list[bytes](), list[int]()
    for relative, _, entry in walk(path, follow):
        kind, changed = stat.S_IFMT(entry.st_mode), entry.st_ctime_ns
        parts.append(relative.encode("utf-8", "surrogateescape"))
        if kind == stat.S_IFDIR:
            parts.append(_ENTRY(kind, 0, 0, 0, 0))
        else:
            parts.append(_ENTRY(kind, entry.st_size, entry.st_mtime_ns, changed, entry.st_ino))
            times.append(changed)
    total = hashlib.blake2b(b"\0".join(parts), digest_size=16)
    return "d:" + total.hexdigest(), max(times, default=0)


def _of_inode(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def renamed(quick: str, path: str) -> str:
    """The quick fingerprint of a file or tree at `path` that had `quick` before it was renamed:
    that changes an inode.

    It stays as it was where something else was changed, too.
    """
    if quick.startswith("d:"):  # its own inode is no part of it
        return quick
    now = _of_inode(os.stat(path))
    return now if _but_changed(now) == _but_changed(quick) else quick


def _but_changed(quick: str) -> list[str]:
    size, modified, _, inode = quick.split(":")
    return [size, modified, inode]


def digest(path: str, flush: bool = False) -> str:
    """The content digest of the file or tree at `path`; with `flush`, what was read is on the disk
    afterwards.
    """
    return _digest(path, os.stat(path), flush, follow=False)[0]


def _digest(
    path: str, status: os.stat_result, flush: bool, follow: bool
) -> tuple[str, bytes | None]:
    """Answers also, for a directory, the listing of its entries."""
    if not stat.S_ISDIR(status.st_mode):
        return _file_digest(path, status, flush), None
    total, listing = hashlib.blake2b(digest_size=16), list[bytes]()
    entries = list(walk(path, follow))
    one_by_one = flush and len(entries) <= _MANY_FILES
    for relative, inner, entry in entries:
        # As `os.fsencode`, without the price of a call for each of very many entries.
        name = relative.encode("utf-8", "surrogateescape")
        kind, content = stat.S_IFMT(entry.st_mode), b""
        if kind == stat.S_IFREG:
            content = _file_digest(inner, entry, one_by_one).encode()
        elif kind == stat.S_IFLNK:
            content = os.fsencode(os.readlink(inner))
        total.update(b"%s\0%d\0%s" % (name, kind, content))
        listing += (name, content[:_LISTED] if kind == stat.S_IFREG else content)
    if flush and not one_by_one:
        _sync_file_system(path)
    return total.hexdigest(), b"\0".join(listing)


def flush(paths: Iterable[str], tops: Collection[str]) -> None:
    """Have files and trees on the disk, and that they are where they are: all directories between
    them and `tops`.

    What isn't there any more, or may not be read (the user's), is left out. Raises `OSError` where
    the disk fails.
    """
    found: dict[str, int] = {}
    """Path → device: contents, then the directories that hold their names."""
    around: dict[str, int] = {}
    for path in paths:
        status = _status(path)
        if status is None:
            continue
        inside = walk(path) if stat.S_ISDIR(status.st_mode) else ()
        for each, entry in ((path, status), *((inner, entry) for _, inner, entry in inside)):
            if stat.S_ISREG(entry.st_mode):
                found[each] = entry.st_dev
            elif stat.S_ISDIR(entry.st_mode):
                around[each] = entry.st_dev
        top = next((each for each in tops if is_inside(path, each)), path)
        while path != top and (path := os.path.dirname(path)) not in around:
            around[path] = status.st_dev
    found |= around
    systems = {device: path for path, device in found.items()}.values()
    if len(found) > _MANY_FILES and all(map(_sync_file_system, systems)):
        return
    for path in found:
        flush_one(path)


def flush_one(path: str) -> None:
    """Have a file's content, or a directory's names, on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _UNREACHED:
            return
        raise
    try:
        fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync(descriptor: int) -> None:
    """As `os.fsync`, also where the file system has nothing like it: there is nothing more to be
    had.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise


def _sync_file_system(path: str) -> bool:
    """Flush all that the file system of `path` holds, which is faster than many files; False where
    it isn't reached.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _UNREACHED:
            return False
        raise
    try:
        import ctypes  # it takes its time, and few need it

        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:  # no Linux
            os.sync()
        elif syncfs(descriptor) and (number := ctypes.get_errno()) not in _CANNOT_FLUSH:
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)
    return True


def entries(listing: bytes) -> dict[str, bytes]:
    """What `Fingerprint.listing` holds: path in the directory → what tells the content of that
    entry.

    Of a path that isn't UTF-8, other bytes are shown as ``\\xff``.
    """
    parts = listing.split(b"\0")
    names = (name.decode("utf-8", "backslashreplace") for name in parts[::2])
    return dict(zip(names, parts[1::2], strict=False))


def changed(before: bytes, now: bytes) -> dict[str, list[str]]:
    """What is `added`, `changed` and `removed` between two listings of a directory: paths in it."""
    old, new = entries(before), entries(now)
    return {
        "added": sorted(new.keys() - old.keys()),
        "changed": sorted(name for name in new.keys() & old.keys() if new[name] != old[name]),
        "removed": sorted(old.keys() - new.keys()),
    }


def fingerprint(
    path: str, flush: bool = False, status: os.stat_result | None = None
) -> Fingerprint | None:
    """Both fingerprints of a file or tree that nobody changes; None where nothing is, or where it
    vanished meanwhile.

    `flush` as for `digest`; `status` is what `stat` says of it, where that is known.
    """
    status = status or _status(path)
    if status is None:
        return None
    try:
        return Fingerprint(_quick(path, status, False)[0], *_digest(path, status, flush, False))
    except FileNotFoundError:
        return None


def observed(path: str, follow: bool = False) -> Fingerprint | None:
    """As `fingerprint`, of what others may change: what changes while it is read is read again,
    three times at most.

    Its quick fingerprint is one that no look finds again where a change could go unseen: where
    something was changed while it was read, or so short a time before that the clock of the file
    system has not moved on since.
    """
    seen = None
    for _ in range(_READINGS):
        status = _status(path)
        if status is None:
            return None
        before = _quick(path, status, follow)[0]
        try:
            content = _digest(path, status, flush=False, follow=follow)
        except FileNotFoundError:
            return None
        seen = Fingerprint(_unless_changed(path, follow, before), *content)
        if seen.quick != DOUBTFUL:
            break
    return seen


def copy_observed(source: str, target: str, follow: bool, known: Fingerprint | None) -> Fingerprint:
    """Copy a file or tree as `copy` does, and say what was copied: the digest is that of the copy,
    and of no later content.

    `known` is what it was last; where it is still that, it isn't read for a digest. The quick
    fingerprint is as that of `observed`.
    """
    status = os.stat(source)
    before = _quick(source, status, follow)[0]
    copy(source, target, follow, status)
    quick = _unless_changed(source, follow, before)
    if known is not None and known.quick == before and quick != DOUBTFUL:
        return known
    return Fingerprint(quick, *_digest(target, os.stat(target), flush=False, follow=False))


def _unless_changed(path: str, follow: bool, before: str | None) -> str:
    """What a look at `path` finds, if that is what it was `before`."""
    status = _status(path)
    if status is None:
        return DOUBTFUL
    quick, changed = _quick(path, status, follow)
    if quick != before:
        return DOUBTFUL
    return quick + DOUBTFUL if abs(time.time_ns() - changed) < _CLOCK_STEP else quick


def walk(top: str, follow: bool = False) -> Iterator[tuple[str, str, os.stat_result]]:
    """Everything below the directory `top`, as (path relative to it, path, lstat), parents first,
    in the order of names.

    With `follow`, a link stands for what it leads to, and path and status are of that; one that
    leads to nothing, or around in a circle, stays a link.
    """
    above: tuple[str, ...] = (os.path.realpath(top),) if follow else ()
    waiting = [(iter(_sorted(top)), "", above)]
    while waiting:
        listed, prefix, above = waiting.pop()
        for entry in listed:
            name = entry.name
            if name.startswith(OWN):
                continue
            path, around = entry.path, above
            try:
                status = entry.stat(follow_symlinks=False)
                if follow and stat.S_ISLNK(status.st_mode):
                    path, status, around = _followed(path, status, above)
            except FileNotFoundError:
                continue
            yield prefix + name, path, status
            if stat.S_ISDIR(status.st_mode):
                inside = (iter(_sorted(path)), f"{prefix}{name}/", around)
                waiting += ((listed, prefix, above), inside)
                break


_name = operator.attrgetter("name")


def _sorted(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=_name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _followed(
    link: str, status: os.stat_result, above: tuple[str, ...]
) -> tuple[str, os.stat_result, tuple[str, ...]]:
    """What a link leads to, its status, and the directories that it is in then; the link itself
    where it stays one.
    """
    real = os.path.realpath(link)
    there = _status(real)
    if there is None or any(is_inside(each, real) for each in above):
        return link, status, above
    return real, there, (*above, real) if stat.S_ISDIR(there.st_mode) else above


def copy(source: str, target: str, follow: bool, status: os.stat_result | None = None) -> None:
    """Copy a file or tree to `target`, which must not exist; its copy is writable by the owner.

    A link is copied as a link, or, with `follow`, what it leads to (a dangling one stays a link).
    `status` is what `stat` (or `lstat`, where links aren't followed) says of `source`, where that
    is known.
    """
    status = status or (os.stat(source) if follow else os.lstat(source))
    if stat.S_ISLNK(status.st_mode):
        Path(target).symlink_to(os.readlink(source))
    elif stat.S_ISDIR(status.st_mode):
        Path(target).mkdir()
        for relative, inner, entry in walk(source, follow):
            place = f"{target}/{relative}"
            if stat.S_ISDIR(entry.st_mode):
                Path(place).mkdir()
            elif stat.S_ISLNK(entry.st_mode):
                Path(place).symlink_to(os.readlink(inner))
            else:
                _copy_file(inner, place, entry)
    else:
        _copy_file(source, target, status)


def pull(source: str, top: Path, target: Path, follow: bool) -> None:
    """Copy a file or tree over what lies at `target`: directories become one, files and links are
    replaced.

    Raises `StorageError` where a link at `target`, or on the way to it from `top`, leads out of
    `top`.
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
        for relative, _, status in list(walk(f"{aside}/copy")):
            place = target / relative
            if place.is_symlink() or (place.exists() and not stat.S_ISDIR(status.st_mode)):
                place.unlink()
            if stat.S_ISDIR(status.st_mode):
                place.mkdir(exist_ok=True)
            else:
                Path(aside, "copy", relative).rename(place)


def _copy_file(source: str, target: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(
            f"{source} is {_SPECIAL.get(stat.S_IFMT(status.st_mode), 'no regular file')}: it can't be copied"
        )
    with Path(source).open("rb") as reader:
        mode = 0o600 | (status.st_mode & 0o111)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as writer:
            copy_range(reader.fileno(), writer.fileno())
            os.utime(writer.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_range(reader: int, writer: int) -> None:
    """Copy what is left of one descriptor to another: blocks are shared where the file system can,
    and holes stay holes.
    """
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
        if error.errno not in (
            errno.EXDEV,
            errno.EINVAL,
            errno.ENOSYS,
            errno.EOPNOTSUPP,
            errno.EPERM,
        ):
            raise
    while count > 0 and (piece := os.read(reader, min(count, _CHUNK))):
        count -= len(piece)
        while piece:
            piece = piece[os.write(writer, piece) :]


def settle(path: str) -> os.stat_result:
    """Make a tree that a program left fit for the store: ours, readable, without special files, no
    file with two names.

    Returns what `lstat` said of it before. Raises `StorageError` that names the first FIFO, socket
    or device.
    """
    own, privileged = os.geteuid(), os.geteuid() == 0

    def mend(inner: str, status: os.stat_result) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if kind in _SPECIAL:
            raise StorageError(
                f"{inner} is {_SPECIAL[kind]}, which can't be stored; remove it, or leave it out of the output"
            )
        if privileged and status.st_uid != own:
            os.lchown(inner, own, os.getegid())
        needed = 0o700 if kind == stat.S_IFDIR else 0o400
        if (
            kind != stat.S_IFLNK
            and status.st_mode & needed != needed
            and (privileged or status.st_uid == own)
        ):
            Path(inner).chmod(stat.S_IMODE(status.st_mode) | needed)
        if (
            kind == stat.S_IFREG and status.st_nlink > 1
        ):  # to change it by its other name would change what is stored
            alone = f"{os.path.dirname(inner)}/{OWN}-alone"
            _copy_file(inner, alone, status)
            Path(alone).rename(inner)

    top = os.lstat(path)
    mend(path, top)
    if stat.S_ISDIR(top.st_mode):
        for _, inner, status in walk(path):
            mend(inner, status)
    return top


def enclose(top: str, what: str, follow: Callable[[str, str], Iterator[str]]) -> None:
    """Make sure that no link in the tree `top` leads out of it, now or later; raises `StorageError`
    that names `what`.

    Kept is a link that goes up only at its start, and never above `top`, and then down: whatever is
    renamed over parts of the tree, a chain of such links stays inside. Any other is read as its
    program saw it, which `follow` does (directory, link's text → what it may lead to), and becomes
    such a one if that lies inside.
    """
    for relative, link, status in walk(top):
        if not stat.S_ISLNK(status.st_mode):
            continue
        directory, text = os.path.dirname(link), os.readlink(link)
        if _stays(text, relative.count("/")):
            continue
        inside = (at for at in follow(directory, text) if is_inside(at, top))
        better = next(
            (
                short
                for at in inside
                if _stays(short := os.path.relpath(at, directory), relative.count("/"))
            ),
            None,
        )
        if better is None:
            problem = f"its link {relative!r} leads out of it, to {text!r}"
            raise StorageError(
                f"{what} can't be stored: {problem}; copy the file instead, or leave the link out"
            )
        Path(link).unlink()
        Path(link).symlink_to(better)


def has_link(top: str, out: bool) -> bool:
    """Whether there is a link in the directory at `top`; with `out`, one whose text leads out of
    it. A file has none.
    """
    waiting = [(top, 0)]
    while waiting:
        directory, depth = waiting.pop()
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(directory) as entries,
        ):
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
    """Whether a link `depth` directories below the top of a tree, itself, stays in what `walk`
    finds there.
    """
    parts = [part for part in text.split("/") if part not in ("", ".")]
    down = list(itertools.dropwhile(lambda part: part == "..", parts))
    if text.startswith("/") or len(parts) - len(down) > depth:
        return False
    return not any(part == ".." or part.startswith(OWN) for part in down)


def refuse_stuck(top: str) -> None:
    """Raise what the system says of the first thing in a file or tree that it won't let us
    `remove`. Removes nothing.

    What a disk of another machine refuses, or an empty directory where a disk is mounted, may show
    only as it is removed.
    """
    left = [top]
    while left:
        path = left.pop()
        try:
            status = os.lstat(path)
            if not stat.S_ISDIR(status.st_mode):
                _refuse_kept(path, os.rmdir)
                continue
            if status.st_uid == os.geteuid() != 0 and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
                continue  # `remove` opens it
            with os.scandir(path) as found:
                inner = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in found]
        except (FileNotFoundError, NotADirectoryError):
            continue
        _refuse_kept(path, os.rmdir if inner else os.unlink)
        for each, is_directory in inner:
            if is_directory:
                left.append(each)
            else:
                _refuse_kept(each, os.rmdir)


def _refuse_kept(path: str, unfit: Callable[[str], None]) -> None:
    """Ask for a removal in a way that is `unfit` for what lies there: whether it may be removed is
    looked at before that.
    """
    try:
        unfit(path)
    except OSError as error:
        if error.errno not in (
            errno.ENOTDIR,
            errno.EISDIR,
            errno.ENOTEMPTY,
            errno.EEXIST,
            errno.ENOENT,
        ):
            raise


def own_directory(path: str) -> None:
    """Make a directory for this user alone, where there is none.

    Raises `StorageError` for anything else that lies there: the engine writes and removes in it,
    and a link may lead to somebody's files, a directory of another user be a trap.
    """
    try:
        os.mkdir(path, 0o700)
        return
    except FileExistsError:
        status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "no directory"
        raise StorageError(
            f"{path} is {kind}, and must be a directory that gaia_local makes for itself: move it away"
        )
    if status.st_uid != os.geteuid() and not _shows_as(status.st_uid, path):
        raise StorageError(
            f"{path} belongs to another user (uid {status.st_uid}): move it away, or use another directory"
        )


def _shows_as(user: int, directory: str) -> bool:
    """Whether what this user makes in a directory shows as that user's, as on some network file
    systems.
    """
    try:
        probe = tempfile.mkdtemp(prefix=OWN, dir=directory)
    except OSError:
        return False
    try:
        return os.lstat(probe).st_uid == user
    finally:
        os.rmdir(probe)


def remove(path: str) -> None:
    """Remove a file or tree, also one whose directories were made read-only; nothing there is fine.

    No link in it is followed, and no disk that is mounted in it is entered, whoever changes the
    tree meanwhile. `OSError` names what can't be removed.
    """
    directory, name = os.path.split(path)
    try:
        parent = os.open(directory or ".", _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        _remove(parent, name, directory)
    finally:
        os.close(parent)


def _remove(parent: int, name: str, where: str) -> None:
    """Remove an entry of the open directory `parent`, which is the one at `where`."""
    if _removed(parent, name, where):
        return
    way, opened = [(name, os.fstat(parent))], parent
    waiting: list[list[str]] = [[]]
    """For each directory on the way, those below it that are still to be removed."""
    try:
        opened = _enter(parent, name, f"{where}/{name}")
        while True:
            here = "/".join([where, *(each for each, _ in way)])
            full = [each for each in os.listdir(opened) if not _removed(opened, each, here)]
            waiting.append(full)
            while not waiting[-1]:  # all that was in it is gone
                waiting.pop()
                gone, above = way.pop()
                upper = parent if not way else os.open("..", _DIRECTORY, dir_fd=opened)
                os.close(opened)
                opened, here = upper, os.path.dirname(here)
                if not os.path.samestat(os.fstat(opened), above):
                    raise OSError(errno.EBUSY, "it is moved while it is removed", f"{here}/{gone}")
                if not _removed(opened, gone, here):
                    raise OSError(
                        errno.ENOTEMPTY,
                        "files are made in it while it is removed",
                        f"{here}/{gone}",
                    )
                if not way:
                    return
            name = waiting[-1].pop()
            way.append((name, os.fstat(opened)))
            inner = _enter(opened, name, f"{here}/{name}")
            os.close(opened)
            opened = inner
    finally:
        if opened != parent:
            os.close(opened)


def _removed(parent: int, name: str, where: str) -> bool:
    """Remove what isn't a directory with something in it; False for such a one. Where a disk is
    mounted is busy.
    """
    try:
        try:
            os.unlink(name, dir_fd=parent)
        except (
            IsADirectoryError,
            PermissionError,
        ) as refusal:  # what Linux says of a directory, and what others say
            try:
                os.rmdir(name, dir_fd=parent)
            except NotADirectoryError:
                raise refusal from None
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        if (
            isinstance(error, PermissionError)
            and os.fstat(parent).st_mode & stat.S_IRWXU != stat.S_IRWXU
        ):
            with contextlib.suppress(OSError):
                os.fchmod(parent, 0o700)
                return _removed(parent, name, where)
        raise OSError(error.errno, error.strerror, f"{where}/{name}") from None
    return True


def _enter(parent: int, name: str, path: str) -> int:
    """Open a directory to empty it."""
    try:
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except PermissionError as error:
        if not hasattr(os, "O_PATH"):
            raise OSError(error.errno, error.strerror, path) from None
        closed = os.open(name, os.O_PATH | _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{closed}", 0o700)
        finally:
            os.close(closed)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


def _file_digest(path: str, status: os.stat_result, flush: bool) -> str:
    kind = stat.S_IFMT(status.st_mode)
    if kind in _SPECIAL:  # to open a FIFO would wait for its writer
        raise StorageError(f"{path} is {_SPECIAL[kind]}: it can't be read as a file")
    total = (_EXECUTABLE if status.st_mode & 0o111 else _PLAIN).copy()
    size = min(
        _CHUNK, status.st_size + 1
    )  # room for a megabyte costs more than to read a small file
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while chunk := os.read(descriptor, size):
            total.update(chunk)
        if flush:
            fsync(descriptor)
    finally:
        os.close(descriptor)
    return total.hexdigest()

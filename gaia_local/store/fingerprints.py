"""Fingerprints of files and directory trees: of their identity, and of their contents.

A *quick* fingerprint identifies files and their last changes: size, time of modification, time of
the inode's change, and the inode's number. Any change of a file's content changes at least one of
these, even if the size and the time of modification are kept. The device is no part of it: its
number differs between the machines that share a file system, and adds nothing to the inode.

A *digest* is of the contents. A *listing* has, for a directory, each entry with the beginning of
its digest, or a link's target.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import time

from gaia_local.errors import StorageError
from gaia_local.model.tasks import DOUBTFUL, Fingerprint
from gaia_local.store import copying, disk_sync, reading
from gaia_local.store.disk_sync import MANY_FILES
from gaia_local.store.file_work import UNTOLD, FileWork, file_size
from gaia_local.store.walking import SPECIAL_KINDS, check_absent, path_status, walk
from gaia_local.terminal_text import escaped

TORN = Fingerprint(DOUBTFUL, "changed while it was read")
"""The fingerprint of a file that changed while a program read it: equal to that of no content."""
_CLOCK_STEP = 20_000_000
"""Nanoseconds in which two changes may get one time: file systems' clocks step by 1 to 10 ms."""
_ENTRY = struct.Struct("<HQQQQ").pack
"""A directory entry in the quick fingerprint: numbers as text would cost twice the time."""
_64_BITS = 0xFFFF_FFFF_FFFF_FFFF
"""Of a time: a file's own may be before 1970, or after 2262, where a signed number ends."""
_PLAIN = hashlib.blake2b(digest_size=16)
_EXECUTABLE = hashlib.blake2b(digest_size=16, person=b"x")
"""The digest of no content: a program can tell whether a file may be executed, too."""
_LISTED = 16
"""So much of a file's digest is in a listing, to tell one version of it from another."""
_READINGS = 3


def quick_fingerprint(path: str, follow: bool = False, work: FileWork = UNTOLD) -> str | None:
    """The quick fingerprint of `path`, by one `stat` for a file; None if nothing is there.

    With `follow`, links inside a directory stand for their targets.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        check_absent(path, error)
        return None
    if stat.S_ISDIR(status.st_mode):
        return _quick(path, status, follow, work)[0]
    # `_of_inode`, without the price of a call: each `run` looks at all files.
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _quick(path: str, status: os.stat_result, follow: bool, work: FileWork) -> tuple[str, int]:
    """Answers also when something there was changed last, in nanoseconds."""
    if not stat.S_ISDIR(status.st_mode):
        return _of_inode(status), status.st_ctime_ns
    parts, times = list[bytes](), list[int]()
    for relative, _, entry in walk(path, follow, work):
        kind, changed = stat.S_IFMT(entry.st_mode), entry.st_ctime_ns
        parts.append(relative.encode("utf-8", "surrogateescape"))
        if kind == stat.S_IFDIR:
            parts.append(_ENTRY(kind, 0, 0, 0, 0))
        else:
            modified = entry.st_mtime_ns & _64_BITS
            parts.append(_ENTRY(kind, entry.st_size, modified, changed & _64_BITS, entry.st_ino))
            times.append(changed)
    total = hashlib.blake2b(b"\0".join(parts), digest_size=16)
    return "d:" + total.hexdigest(), max(times, default=0)


def _of_inode(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def renamed(quick: str, path: str) -> str:
    """The quick fingerprint, after a rename, of a file that had `quick`: this changes its inode.

    It stays `quick` if something else was changed, too.
    """
    if quick.startswith("d:"):  # its own inode is no part of it
        return quick
    now = _of_inode(os.stat(path))
    return now if _but_changed(now) == _but_changed(quick) else quick


def _but_changed(quick: str) -> list[str]:
    size, modified, _, inode = quick.split(":")
    return [size, modified, inode]


def digest(path: str, flush: bool = False, work: FileWork = UNTOLD) -> str:
    """The content digest of `path`; with `flush`, the files read are flushed, too."""
    return _digest(path, os.stat(path), flush, False, work)[0]


def _digest(
    path: str, status: os.stat_result, flush: bool, follow: bool, work: FileWork
) -> tuple[str, bytes | None]:
    """The digest and, for a directory, the listing of its entries."""
    if not stat.S_ISDIR(status.st_mode):
        return _file_digest(path, status, flush, work), None
    total, listing = hashlib.blake2b(digest_size=16), list[bytes]()
    entries = list(walk(path, follow, work))
    one_by_one = flush and len(entries) <= MANY_FILES
    for relative, inner, entry in entries:
        # As `os.fsencode`, without the price of a call for each of very many entries.
        name = relative.encode("utf-8", "surrogateescape")
        kind, content = stat.S_IFMT(entry.st_mode), b""
        if kind == stat.S_IFREG:
            content = _file_digest(inner, entry, one_by_one, work).encode()
        elif kind == stat.S_IFLNK:
            content = os.fsencode(os.readlink(inner))
        total.update(b"%s\0%d\0%s" % (name, kind, content))
        listing += (name, content[:_LISTED] if kind == stat.S_IFREG else content)
    if flush and not one_by_one:
        disk_sync.sync_file_system(path)
    return total.hexdigest(), b"\0".join(listing)


def listing_entries(listing: bytes) -> dict[str, bytes]:
    """`Fingerprint.listing` as path in the directory → begin of its digest, or a link's target."""
    parts = listing.split(b"\0")
    return dict(zip(map(os.fsdecode, parts[::2]), parts[1::2], strict=False))


def listing_changes(before: bytes, now: bytes) -> dict[str, list[str]]:
    """The paths `added`, `changed` and `removed` between two listings of a directory, escaped."""
    old, new = listing_entries(before), listing_entries(now)
    changed = (name for name in new.keys() & old.keys() if new[name] != old[name])
    return {
        "added": sorted(map(escaped, new.keys() - old.keys())),
        "changed": sorted(map(escaped, changed)),
        "removed": sorted(map(escaped, old.keys() - new.keys())),
    }


def fingerprint(
    path: str,
    flush: bool = False,
    status: os.stat_result | None = None,
    work: FileWork = UNTOLD,
) -> Fingerprint | None:
    """Both fingerprints of a file that no process changes; None if it is absent, or vanished.

    `flush` as for `digest`; `status` is its `stat`, if known.
    """
    status = status or path_status(path)
    if status is None:
        return None
    try:
        quick = _quick(path, status, False, work)[0]
        return Fingerprint(quick, *_digest(path, status, flush, False, work))
    except FileNotFoundError:
        return None


def observed(path: str, follow: bool = False, work: FileWork = UNTOLD) -> Fingerprint | None:
    """As `fingerprint`, of a file that others may change: then it is read again, thrice at most.

    If a change could go unnoticed, the quick fingerprint is one that matches no later one: if the
    file was changed while it was read, or so short a time before that the clock of the file system
    has not moved on since.
    """
    seen = None
    for _ in range(_READINGS):
        status = path_status(path)
        if status is None:
            return None
        before = _quick(path, status, follow, work)[0]
        try:
            content = _digest(path, status, False, follow, work)
        except FileNotFoundError:
            return None
        seen = Fingerprint(_unless_changed(path, follow, before, work), *content)
        if seen.quick != DOUBTFUL:
            break
    return seen


def copy_observed(
    source: str,
    target: str,
    follow: bool,
    known: Fingerprint | None,
    *,
    what: str = "",
    work: FileWork = UNTOLD,
    private: bool = True,
) -> Fingerprint:
    """Copy a file or tree as `copy` does; the digest is the copy's own, not of later content.

    `known` is its last fingerprint; if that still holds, it isn't read for a digest. The quick
    fingerprint is as that of `observed`. `what` names it for people.
    """
    status = os.stat(source)
    before = _quick(source, status, follow, work)[0]
    work.begin(f"copying {what}", lambda: file_size(source))
    copying.copy(source, target, follow, status, work, private=private)
    quick = _unless_changed(source, follow, before, work)
    if known is not None and known.quick == before and quick != DOUBTFUL:
        return known
    work.begin(f"reading {what}", lambda: file_size(target))
    return Fingerprint(quick, *_digest(target, os.stat(target), False, False, work))


def _unless_changed(path: str, follow: bool, before: str | None, work: FileWork) -> str:
    """The quick fingerprint of `path`, if that is as `before`; else one that matches no other."""
    status = path_status(path)
    if status is None:
        return DOUBTFUL
    quick, changed = _quick(path, status, follow, work)
    if quick != before:
        return DOUBTFUL
    return quick + DOUBTFUL if abs(time.time_ns() - changed) < _CLOCK_STEP else quick


def _file_digest(path: str, status: os.stat_result, flush: bool, work: FileWork) -> str:
    kind = stat.S_IFMT(status.st_mode)
    if kind in SPECIAL_KINDS:  # to open a FIFO would wait for its writer
        raise StorageError(f"{escaped(path)} is {SPECIAL_KINDS[kind]}: it can't be read as a file")
    total = (_EXECUTABLE if status.st_mode & 0o111 else _PLAIN).copy()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for piece in reading.contents(descriptor, status, work):
            total.update(piece)
        if flush:
            disk_sync.fsync(descriptor)
    finally:
        os.close(descriptor)
    return total.hexdigest()

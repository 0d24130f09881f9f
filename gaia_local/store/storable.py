"""Makes a program's outputs fit for the store: readable, no special files, no links out of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from gaia_local.errors import StorageError
from gaia_local.model.names import OWN
from gaia_local.model.paths import is_inside
from gaia_local.store.copying import copy_file
from gaia_local.store.file_work import ENTRIES, UNTOLD, FileWork
from gaia_local.store.walking import SPECIAL_KINDS, walk
from gaia_local.terminal_text import escaped


def make_storable(
    path: str, work: FileWork = UNTOLD, known: os.stat_result | None = None
) -> os.stat_result:
    """Make a program's tree fit for the store: ours, readable, no special files, no hard links.

    `known` is its `lstat`, if it is. Returns the one from before. Raises `StorageError` that names
    the first FIFO, socket or device.
    """
    own, privileged = os.geteuid(), os.geteuid() == 0

    def make_fit(inner: str, status: os.stat_result) -> None:
        kind = stat.S_IFMT(status.st_mode)
        if kind in SPECIAL_KINDS:
            problem = f"{escaped(inner)} is {SPECIAL_KINDS[kind]}, which can't be stored"
            raise StorageError(f"{problem}; remove it, or leave it out of the output")
        if privileged and status.st_uid != own:
            os.lchown(inner, own, os.getegid())
        needed = 0o700 if kind == stat.S_IFDIR else 0o400
        ours = privileged or status.st_uid == own
        if kind != stat.S_IFLNK and status.st_mode & needed != needed and ours:
            Path(inner).chmod(stat.S_IMODE(status.st_mode) | needed)
        if kind == stat.S_IFREG and status.st_nlink > 1:
            # A change through the file's other name would change the stored one.
            alone = f"{os.path.dirname(inner)}/{OWN}-alone"
            copy_file(inner, alone, status, work, private=False)
            Path(alone).rename(inner)

    top = known or os.lstat(path)
    make_fit(path, top)
    if stat.S_ISDIR(top.st_mode):
        for _, inner, status in walk(path, work=work):
            make_fit(inner, status)
    return top


def confine_links(
    top: str,
    what: str,
    follow: Callable[[str, str], Iterator[str]],
    work: FileWork = UNTOLD,
) -> None:
    """Make sure that no link in `top` leads out of it, ever; raises `StorageError` naming `what`.

    A link is kept if it goes up only at its start, never above `top`, and then down: a chain of
    such links stays inside even if other files are renamed over parts of the tree. Any other link
    is resolved as its program saw it, by `follow` (directory, link's text → possible targets), and
    is replaced by a link of the first kind if a target is inside.
    """
    for relative, link, status in walk(top, work=work):
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


def has_link(top: str, out: bool, work: FileWork = UNTOLD) -> bool:
    """Whether a directory has a link (`out`: one whose text leads out); a file has none."""
    waiting = [(top, 0)]
    while waiting:
        directory, depth = waiting.pop()
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(directory) as entries,
        ):
            for number, entry in enumerate(entries):
                if number % ENTRIES == 0:
                    work.advance()
                if entry.name.startswith(OWN):
                    continue
                if entry.is_symlink():
                    if not (out and _stays(os.readlink(entry.path), depth)):
                        return True
                elif entry.is_dir():
                    waiting.append((entry.path, depth + 1))
    return False


def _stays(text: str, depth: int) -> bool:
    """Whether a link, `depth` directories below a tree's top, stays among the entries of `walk`."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    down = list(itertools.dropwhile(lambda part: part == "..", parts))
    if text.startswith("/") or len(parts) - len(down) > depth:
        return False
    return not any(part == ".." or part.startswith(OWN) for part in down)

"""Private directories of Tasks: their layout, and the places of their programs' paths in them."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from gaia_local.errors import StorageError
from gaia_local.model.keys import internal_path
from gaia_local.model.paths import is_inside
from gaia_local.store import removal
from gaia_local.store.directories import make_directories
from gaia_local.terminal_text import escaped

Folders: TypeAlias = tuple[str, ...]

_MAX_LINKS = 40
_MOST_SPARES = 64


class Place(NamedTuple):
    """Where an internal path leads to."""

    path: str
    link: str | None
    """The text of the last link that was followed, if any."""
    status: os.stat_result | None
    """Its `lstat`; None if nothing is there."""


@dataclass(frozen=True)
class PrivateDirectory:
    """One Task's private directory; its `root` mirrors the file system that its program sees."""

    top: str

    @property
    def root(self) -> str:
        """The directory that is the program's ``/``."""
        return f"{self.top}/tree"

    @property
    def work(self) -> str:
        """An empty directory to start the program in."""
        return f"{self.top}/work"

    def local(self, internal: str) -> str:
        """The place of an internal path in the tree, if no link is on the way."""
        return f"{self.root}{internal_path(internal).path}"

    def find(self, internal: str, reach: Callable[[str], None] | None = None) -> Place:
        """`find` in this tree."""
        return find(self.root, internal, reach)

    def follow(self, directory: str, text: str) -> Iterator[str]:
        """The targets of a link in the tree, as the program saw it: the next one and the last."""
        tree = self.root
        internal = (
            text.removeprefix(tree + "/")
            if text.startswith("/")
            else f"{directory.removeprefix(tree)}/{text}"
        )
        parent, _, name = internal.rstrip("/").rpartition("/")
        with contextlib.suppress(StorageError):  # a loop of links leads nowhere
            if name not in ("", ".", ".."):
                yield f"{self.find(parent).path}/{name}"
            yield self.find(internal).path

    def make_parent(self, place: str, what: str) -> None:
        """Make the directory around `place`; follows no link of a copied input out of the tree."""
        parent, tree = os.path.dirname(place), self.root
        if parent == tree:
            return
        real, real_tree = os.path.realpath(parent), os.path.realpath(tree)
        if not is_inside(real, real_tree):
            raise StorageError(
                f"{what} can't be put in its place: an input around it has a link there, to"
                f" {escaped(real)}"
            )
        make_directories(parent)


def find(tree: str, internal: str, reach: Callable[[str], None] | None = None) -> Place:
    """The place of an internal path in a tree, links followed.

    Links are followed as the program saw them, with the tree as their root. So none of the
    program's links leads out of the tree. `reach` is called with each place on the way before that
    is examined, so that it can bring files that aren't there yet.
    """
    at, link, links = tree, None, 0
    status, examined = None, ""
    parts = deque(internal.split("/"))
    while parts:
        part = parts.popleft()
        if part == "..":
            at = os.path.dirname(at) if at != tree else tree
        elif part not in ("", "."):
            at = f"{at}/{part}"
            if reach is not None:
                reach(at)
            status, examined = _status(at), at
            if status is not None and stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise StorageError(
                        f"{escaped(internal)} can't be stored: it is a loop of links"
                    )
                link = os.readlink(at)
                at = tree if link.startswith("/") else os.path.dirname(at)
                # With the runtime `process`, programs see the tree at its real path.
                parts.extendleft(reversed(link.removeprefix(tree + "/").split("/")))
    return Place(at, link, status if examined == at else _status(at))


def _status(path: str) -> os.stat_result | None:
    """The `lstat` of a path; None if nothing is there, or it can't be examined."""
    try:
        return os.lstat(path)
    except OSError:
        return None


@functools.lru_cache(maxsize=256)  # the Steps of one Command have the same folders
def _layout(folders: Folders) -> list[tuple[str, bool, frozenset[str]]]:
    """The directories of an emptied private directory, parents first.

    Each with its path below the top, whether it is one of `folders`, and what is in it.
    """
    paths = ["", "/tree", "/work", *(f"/tree/{folder}" for folder in folders)]
    inside: dict[str, set[str]] = {path: set() for path in paths}
    for path in paths[1:]:
        parent, _, name = path.rpartition("/")
        inside[parent].add(name)
    return [(path, path.startswith("/tree/"), frozenset(names)) for path, names in inside.items()]


class StagingArea:
    """Makes and removes the private directories under `top`. Thread-safe.

    Emptied directories are kept under `spare` for Tasks with the same `folders` in their trees:
    removing and making directories costs a short Step more than all else here. Only unchanged ones
    are kept: same owner, same mode, and nothing in them.
    """

    def __init__(self, top: Path, spare: Path) -> None:
        self.top, self._spare = top, spare
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._spares: dict[Folders, list[str]] = {}
        """The most recently used are the last."""
        self._made: dict[str, Folders] = {}
        """Private directory → the folders in its tree."""
        self._mode = 0
        """The mode of the last folder that was made."""

    def make(self, directory: PrivateDirectory, folders: Folders = ()) -> None:
        """Make one Task's directories; `folders` are relative to the tree, parents first."""
        with self._lock:
            self._made[directory.top] = folders
            spares = self._spares.get(folders)
            spare = spares.pop() if spares else None
        if spare is not None:
            with contextlib.suppress(OSError):  # another process removed it
                os.rename(spare, directory.top)
                return
        for made in (directory.top, directory.root, f"{directory.top}/work"):
            os.mkdir(made, 0o700)
        for folder in folders:
            os.mkdir(f"{directory.root}/{folder}")
        if folders:
            self._mode = os.lstat(f"{directory.root}/{folders[0]}").st_mode

    def remove(self, task_id: str) -> None:
        """Remove a Task's private directory. An absent one is fine."""
        top = f"{self.top}/{task_id}"
        with self._lock:
            folders = self._made.pop(top, None)
        if folders is None or not (self._is_emptied(top, folders) and self._keep(top, folders)):
            removal.remove(top)

    def _is_emptied(self, top: str, folders: Folders) -> bool:
        """Empty a Task's private directory; False if that fails, or its folders have changed."""
        own, private = os.geteuid(), stat.S_IFDIR | 0o700
        try:
            for below, is_folder, kept in _layout(folders):
                directory = f"{top}{below}"
                status = os.lstat(directory)
                if status.st_mode != (self._mode if is_folder else private):
                    return False
                if status.st_uid != own:
                    return False
                names = os.listdir(directory)
                if not kept.issubset(names):
                    return False
                for name in names if len(names) > len(kept) else ():
                    if name not in kept:
                        removal.remove(f"{directory}/{name}")
        except OSError:
            return False
        return True

    def _keep(self, top: str, folders: Folders) -> bool:
        with self._lock:
            spare = f"{self._spare}/{next(self._numbers)}"
        try:
            try:
                os.rename(top, spare)
            except FileNotFoundError:
                self._spare.mkdir(mode=0o700, exist_ok=True)
                os.rename(top, spare)
        except OSError:
            return False
        oldest = None
        with self._lock:
            spares = self._spares.pop(folders, [])
            spares.append(spare)
            self._spares[folders] = spares
            if sum(map(len, self._spares.values())) > _MOST_SPARES:
                first = next(iter(self._spares))
                oldest = self._spares[first].pop(0)
                if not self._spares[first]:
                    del self._spares[first]
        if oldest is not None:
            removal.remove(oldest)
        return True

"""One Task's private directory: what lies where in it, and how the paths that its program saw are found in it."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gaia_local.errors import StorageError

_MAX_LINKS = 40


@dataclass(frozen=True)
class Staging:
    """One Task's private directory; `tree` mirrors the file system that its program sees."""

    top: Path
    tree: Path
    work: Path
    log: Path

    def local(self, internal: str) -> Path:
        """Where an internal path lies in the tree, as long as no link is on the way."""
        return self.tree / internal.strip("/")

    def find(self, internal: str) -> tuple[Path, str | None]:
        """Where an internal path lies in the tree, links followed; and the last link on the way, if any.

        Links are followed as the program saw them, with the tree as their root. So none leads out of the tree,
        whatever the program made.
        """
        tree = str(self.tree)
        at, link, links = tree, None, 0
        parts = deque(internal.split("/"))
        while parts:
            part = parts.popleft()
            if part == "..":
                at = os.path.dirname(at) if at != tree else tree
            elif part not in ("", "."):
                at = f"{at}/{part}"
                if os.path.islink(at):
                    links += 1
                    if links > _MAX_LINKS:
                        raise StorageError(f"{internal} can't be stored: it is a loop of links")
                    link = os.readlink(at)
                    at = tree if link.startswith("/") else os.path.dirname(at)
                    # The runtime `process` shows its programs the tree where it is.
                    parts.extendleft(reversed(link.removeprefix(tree + "/").split("/")))
        return Path(at), link

    def follow(self, directory: str, text: str) -> Iterator[str]:
        """Where a link in a directory of the tree leads, as the program saw it: to what may be a link again, and at last."""
        tree = str(self.tree)
        internal = text.removeprefix(tree + "/") if text.startswith("/") else f"{directory.removeprefix(tree)}/{text}"
        parent, _, name = internal.rstrip("/").rpartition("/")
        with contextlib.suppress(StorageError):  # a loop of links leads nowhere
            if name not in ("", ".", ".."):
                yield f"{self.find(parent)[0]}/{name}"
            yield str(self.find(internal)[0])

    def make_parent(self, place: Path, what: str) -> None:
        """Make the directory that `place` in the tree is in; refuses to follow a link in a copied input out of the tree."""
        real = os.path.realpath(place.parent)
        tree = os.path.realpath(self.tree)
        if real != tree and not real.startswith(tree + "/"):
            raise StorageError(f"{what} can't be put in its place: an input around it has a link there, to {real}")
        place.parent.mkdir(parents=True, exist_ok=True)

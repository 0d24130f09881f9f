"""One Task's private directory: what lies where in it, and how the paths that its program saw are found in it."""

from __future__ import annotations

import os
from collections import deque
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

    def make_parent(self, place: Path, what: str) -> None:
        """Make the directory that `place` in the tree is in; refuses to follow a link in a copied input out of the tree."""
        real = os.path.realpath(place.parent)
        tree = os.path.realpath(self.tree)
        if real != tree and not real.startswith(tree + "/"):
            raise StorageError(f"{what} can't be put in its place: an input around it has a link there, to {real}")
        place.parent.mkdir(parents=True, exist_ok=True)

"""The paths of a graph's keys, with fast search for the paths that overlap one."""

from __future__ import annotations

import bisect
from typing import Generic, TypeVar

from gaia_local.model.paths import folders

T = TypeVar("T")

_MOST_CLEAR = 10_000
"""The most directories remembered as clear: there may be queries for any number of paths."""


class KeyPaths(Generic[T]):
    """A map from paths to keys, fast for a path that overlaps no other, which is the usual case."""

    def __init__(self) -> None:
        self._at: dict[str, T] = {}
        self._sorted: list[str] = []
        self._unsorted: list[str] = []
        self._folders: dict[str, int] = {}
        """Directory of a path, or of such a directory → the number of both in it."""
        self._clear: set[str] = set()
        """Directories known to be no key's path and in none."""

    def at(self, path: str) -> T | None:
        """The key with this very path."""
        return self._at.get(path)

    def overlapping(self, path: str) -> list[T]:
        """The keys above a path, the nearest first, and those below it."""
        return self._above(path) + self._below(path)

    def at_or_overlapping(self, path: str) -> list[T]:
        """The keys at a path, above it, or below it."""
        exact = self._at.get(path)
        return ([exact] if exact is not None else []) + self.overlapping(path)

    def add(self, path: str, key: T) -> None:
        """Add a key at a path that has none."""
        self._at[path] = key
        self._unsorted.append(path)
        if path in self._clear:
            self._clear.clear()
        for folder in folders(path):
            count = self._folders[folder] = self._folders.get(folder, 0) + 1
            if count > 1:
                break

    def remove(self, path: str) -> None:
        """Remove the key at a path."""
        del self._at[path]
        self._sort()
        del self._sorted[bisect.bisect_left(self._sorted, path)]
        for folder in folders(path):
            self._folders[folder] -= 1
            if self._folders[folder]:
                break
            del self._folders[folder]

    def _above(self, path: str) -> list[T]:
        found: list[T] = []
        passed = []
        for folder in folders(path):
            if folder in self._clear:
                break
            passed.append(folder)
            if folder in self._at:
                found.append(self._at[folder])
        if not found:
            if len(self._clear) > _MOST_CLEAR:
                self._clear.clear()
            self._clear.update(passed)
        return found

    def _below(self, path: str) -> list[T]:
        if path not in self._folders:
            return []
        self._sort()
        first = bisect.bisect_left(self._sorted, path + "/")
        last = bisect.bisect_left(self._sorted, path + "0", first)  # '0' follows '/'
        return [self._at[inner] for inner in self._sorted[first:last]]

    def _sort(self) -> None:
        if len(self._unsorted) > 16:
            self._sorted.extend(self._unsorted)
            self._sorted.sort()
        else:
            for path in self._unsorted:
                bisect.insort(self._sorted, path)
        self._unsorted.clear()

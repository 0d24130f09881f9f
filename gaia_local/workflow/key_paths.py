"""Where the keys of one graph lie: which lies at a path, which above it, which below."""

from __future__ import annotations

import bisect
from typing import Generic, TypeVar

from gaia_local.model.paths import folders

T = TypeVar("T")

_MOST_CLEAR = 10_000
"""How many directories are remembered to have nothing above them: paths may be asked for without an
end.
"""


class KeyPaths(Generic[T]):
    """Path → what lies there. Answers at once for a path with nothing above and below it, which
    most are.
    """

    def __init__(self) -> None:
        self._at: dict[str, T] = {}
        self._sorted: list[str] = []
        self._unsorted: list[str] = []
        self._folders: dict[str, int] = {}
        """Directory of a path, or of such a directory → how many paths and such directories lie in
        it.
        """
        self._clear: set[str] = set()
        """Directories at which, and above which, nothing lies, as far as that was looked at."""

    def at(self, path: str) -> T | None:
        """What lies at the path itself."""
        return self._at.get(path)

    def overlapping(self, path: str) -> list[T]:
        """What lies above a path, the nearest first, and below it."""
        return self._above(path) + self._below(path)

    def at_or_overlapping(self, path: str) -> list[T]:
        """What lies at a path, above it, or below it."""
        exact = self._at.get(path)
        return ([exact] if exact is not None else []) + self.overlapping(path)

    def enter(self, path: str, what: T) -> None:
        """Something lies at this path, where nothing did."""
        self._at[path] = what
        self._unsorted.append(path)
        if path in self._clear:
            self._clear.clear()
        for folder in folders(path):
            count = self._folders[folder] = self._folders.get(folder, 0) + 1
            if count > 1:
                break

    def leave(self, path: str) -> None:
        """Nothing lies at this path any more."""
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
        return [self._at[each] for each in self._sorted[first:last]]

    def _sort(self) -> None:
        if len(self._unsorted) > 16:
            self._sorted.extend(self._unsorted)
            self._sorted.sort()
        else:
            for path in self._unsorted:
                bisect.insort(self._sorted, path)
        self._unsorted.clear()

"""Storage keys and the places of outputs, parsed, each by one function.

Rows, JSON and the graph keep the texts, of which there are many; the parsed forms are cached while
a text is in use.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from gaia_local.model.paths import normalized

_REMEMBERED = 4096
"""Texts of each kind: those of the Tasks that run now, not of all workflows."""

LOCAL_KEYS = "composite/"
"""The prefix of the storage keys made from a composite Command's local names."""


def names_directory(text: str) -> bool:
    """Whether a storage key or an internal path is that of a directory.

    Needs no parsed form, since it is called for very many keys.
    """
    return text.endswith("/")


class StorageKey(NamedTuple):
    """An input or output of a Step: ``bucket:path``, or ``path`` alone. `str` returns the text."""

    bucket: str | None
    """None if the text has no colon."""
    path: str
    """In the bucket, as it was written."""
    is_directory: bool

    @staticmethod
    def parse(text: str) -> StorageKey:
        """Any text is parsed: `names.check_key` refuses invalid ones."""
        bucket, colon, path = text.partition(":")
        if not colon:
            return StorageKey(None, text, names_directory(text))
        return StorageKey(bucket, path, names_directory(path))

    def __str__(self) -> str:
        return self.path if self.bucket is None else f"{self.bucket}:{self.path}"


class Capture(enum.Enum):
    """An output that holds the program's printed text, instead of a file that it made."""

    PRINTED = enum.auto()
    """Its stdout and stderr together: ``>``, ``STDOUT``."""
    LOG = enum.auto()
    """The log: header, lines, footer: ``>>``."""

    @staticmethod
    def parse(text: str) -> Capture | None:
        """None for any other text."""
        return CAPTURES.get(text)


CAPTURES = {">": Capture.PRINTED, "STDOUT": Capture.PRINTED, ">>": Capture.LOG}


class InternalPath(NamedTuple):
    """The path of an input or output for the program. `str` returns the text."""

    text: str
    path: str
    """Absolute and normalized: the same for all texts of one place."""
    is_directory: bool

    @staticmethod
    def parse(text: str) -> InternalPath:
        """Any text is parsed: `names.check_internal_path` refuses invalid ones."""
        return InternalPath(text, f"/{normalized(text)}", names_directory(text))

    def __str__(self) -> str:
        return self.text


OutputPlace: TypeAlias = InternalPath | Capture
"""The source of an output."""


@functools.lru_cache(_REMEMBERED)
def storage_key(text: str) -> StorageKey:
    """A storage key that was checked."""
    return StorageKey.parse(text)


@functools.lru_cache(_REMEMBERED)
def internal_path(text: str) -> InternalPath:
    """The internal path of an input, or of `stdout`, that was checked."""
    return InternalPath.parse(text)


def output_place(text: str) -> OutputPlace:
    """The internal path of an output, or its capture; it was checked."""
    return Capture.parse(text) or internal_path(text)


def wants_directory(key: str, internal: InternalPath) -> bool:
    """Whether the output must be a directory: its key or its path ends in ``/``."""
    return names_directory(key) or internal.is_directory


def made_files(outputs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, InternalPath]]:
    """Key and path of each output that is a file: the program itself must make it."""
    for key, text in outputs:
        place = output_place(text)
        if isinstance(place, InternalPath):
            yield key, place

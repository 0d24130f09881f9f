"""Storage keys and the places of outputs: what their texts say, each read by one function.

Rows, JSON and the graph keep the texts, of which there are many. Whoever wants to know what one
says asks here, and is answered from a cache while that text is in use.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from gaia_local.model.paths import normalized

_REMEMBERED = 4096
"""Texts of each kind: those of the Tasks that run now, not of all workflows."""

LOCAL_KEYS = "composite/"
"""How the keys begin that a composite Command's local names become."""


def names_directory(text: str) -> bool:
    """Whether a storage key or an internal path is that of a directory.

    It stands alone for those who look at very many keys and ask nothing else of them.
    """
    return text.endswith("/")


@dataclass(frozen=True, slots=True)
class StorageKey:
    """What a Step reads or makes: ``bucket:path``, or ``path`` alone. `str` gives the text back."""

    bucket: str | None
    """None where the text has no colon."""
    path: str
    """In the bucket, as it was written."""
    is_directory: bool

    @staticmethod
    def parse(text: str) -> StorageKey:
        """Any text is read: `names.check_key` refuses what no key may be."""
        bucket, colon, path = text.partition(":")
        if not colon:
            return StorageKey(None, text, names_directory(text))
        return StorageKey(bucket, path, names_directory(path))

    def __str__(self) -> str:
        return self.path if self.bucket is None else f"{self.bucket}:{self.path}"


class Capture(enum.Enum):
    """What an output can be in place of a file that the program makes."""

    PRINTED = enum.auto()
    """Its stdout and stderr together: ``>``, ``STDOUT``."""
    LOG = enum.auto()
    """The log: header, lines, footer: ``>>``."""

    @staticmethod
    def parse(text: str) -> Capture | None:
        """None for what isn't the text of a capture."""
        return _CAPTURES.get(text)


_CAPTURES = {">": Capture.PRINTED, "STDOUT": Capture.PRINTED, ">>": Capture.LOG}


@dataclass(frozen=True, slots=True)
class InternalPath:
    """Where a program finds an input or leaves an output. `str` gives the text back."""

    text: str
    path: str
    """Absolute, without the parts that mean nothing: the same for all texts of one place."""
    is_directory: bool

    @staticmethod
    def parse(text: str) -> InternalPath:
        """Any text is read: `names.check_internal_path` refuses what no internal path may be."""
        return InternalPath(text, f"/{normalized(text)}", names_directory(text))

    def __str__(self) -> str:
        return self.text


OutputPlace: TypeAlias = InternalPath | Capture
"""Where an output comes from."""


@functools.lru_cache(_REMEMBERED)
def storage_key(text: str) -> StorageKey:
    """A storage key that was checked."""
    return StorageKey.parse(text)


@functools.lru_cache(_REMEMBERED)
def internal_path(text: str) -> InternalPath:
    """The internal path of an input, or of `stdout`, that was checked."""
    return InternalPath.parse(text)


def output_place(text: str) -> OutputPlace:
    """The internal path of an output, or what stands in its place; it was checked."""
    return Capture.parse(text) or internal_path(text)


def wants_directory(key: str, internal: InternalPath) -> bool:
    """Whether the output is to be a directory: its key or its path says so."""
    return names_directory(key) or internal.is_directory


def made_files(outputs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, InternalPath]]:
    """Key and path of each output that is no capture: what the program itself is to make."""
    for key, text in outputs:
        place = output_place(text)
        if isinstance(place, InternalPath):
            yield key, place

"""Short names for Steps, which keep what differs: for where there is little room."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Sequence

from gaia_local.pictures.words import ELLIPSIS, common_prefix

SHORT = 24
"""Names of so many characters are short enough."""
_SEPARATOR = re.compile(r"[-_/.:;,+ ]+")
_NUMBER = re.compile(r"\d+")


def labels(names: Sequence[str]) -> list[str]:
    """A label for each of these names, which differ; no two labels are the same.

    What is cut is the beginning that all names have in common, and in names that are still long
    what all that differ by numbers alone have in common; never within a word. `ELLIPSIS` stands
    for what is cut.
    """
    begin = _beginning(names) if max(map(len, names), default=0) > SHORT else 0
    cut = [ELLIPSIS + name[begin:] if begin else name for name in names]
    made = list(cut)
    families: dict[str, list[int]] = {}
    for number, name in enumerate(cut):
        if len(name) > SHORT:
            families.setdefault(_NUMBER.sub("*", name), []).append(number)
    for members in families.values():
        if len(members) > 1:
            for number, label in zip(
                members, _within([cut[number] for number in members]), strict=True
            ):
                made[number] = label
    while True:
        counts = collections.Counter(made)
        if len(counts) == len(made):
            return made
        # Names differ, so this ends at the latest when each that is equal to another is whole.
        made = [
            label if counts[label] == 1 else whole for label, whole in zip(made, cut, strict=True)
        ]


def _within(family: Sequence[str]) -> list[str]:
    """Names that differ by numbers alone: the words before all numbers, and what differs."""
    begin, end = _beginning(family), _end(family)
    numbered = _NUMBER.search(family[0])
    limit = 0 if numbered is None else numbered.start()
    head = _last(match.start() for match in _SEPARATOR.finditer(family[0], 1, limit))
    if begin <= head:
        begin = head = 0
    return [
        (name[:head] + ELLIPSIS if begin else "")
        + name[begin : len(name) - end]
        + (ELLIPSIS if end else "")
        for name in family
    ]


def _beginning(names: Sequence[str]) -> int:
    """The length of the beginning that all have in common, to a separator."""
    return len(common_prefix(names))


def _end(names: Sequence[str]) -> int:
    """The length of the end that all have in common, from a separator."""
    turned = [name[::-1] for name in names]
    return _beginning(turned)


def _last(ends: Iterable[int]) -> int:
    return max(ends, default=0)

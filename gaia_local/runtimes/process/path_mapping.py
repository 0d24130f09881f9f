"""Replaces the internal paths in a Command's tokens by paths of this machine."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Iterable, Iterator

from gaia_local.model.paths import folders

# Characters of file names: right before or after a path, they make it part of a longer one. Before
# it also the end of a shell's `$(pwd)`, `${HOME}` or pattern; `@` only after it, since `@/in/a`
# makes many programs read arguments from a file.
_BEFORE = r"\w\-.+%~*?)\]}/\u0300-\u036f"
_AFTER = r"\w\-+%~@\u0300-\u036f"
_PLACE = re.compile(
    rf"(?:(?<![{_BEFORE}])(?:-[A-Za-z]+)?"  # at a beginning, or at a flag that stands at one
    r"|(?<=\\[nrt])|(?<=://))(?=/)"  # after "\n" in a program's text; after file://
)
_PATH = re.compile(r"/[^\s'\"`;|&<>(){}$\\,:]*")
_GOES_ON = re.compile(rf"\.*[{_AFTER}]")  # a dot may end a sentence
_SPECIAL = re.compile(r"[^\w./@%+=,:-]")
"""The characters that shell code may read as more than themselves."""
_BAD_IN_QUOTES = {"'": re.compile("'"), '"': re.compile(r'["$`\\]')}


def localize(tokens: Iterable[str], paths: Iterable[str], tree: str) -> tuple[str, ...]:
    """Replace each of the internal `paths` in the `tokens` by `tree` + path.

    Whole path components only, anywhere in a token: in ``--out=/out/x``, at a flag (``-I/in/a``),
    in JSON, in shell code. The longest path wins, and replacements are not searched again.
    """
    bare, lengths = _by_length(tuple(paths))
    return (
        tuple([_localized(token, bare, lengths, tree) for token in tokens])
        if bare
        else tuple(tokens)
    )


@functools.lru_cache(maxsize=256)  # the Steps of one Command have the same internal paths
def _by_length(paths: tuple[str, ...]) -> tuple[frozenset[str], list[int]]:
    bare = frozenset(path.rstrip("/") for path in paths) - {""}
    return bare, sorted({len(path) for path in bare}, reverse=True)


def _localized(token: str, bare: Collection[str], lengths: Iterable[int], root: str) -> str:
    if "/" not in token:
        return token
    done = 0
    parts = []
    for place, end in _found(token, bare, lengths):
        parts += [token[done:place], root, token[place:end]]
        done = end
    return "".join([*parts, token[done:]])


def _found(token: str, bare: Collection[str], lengths: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The beginning and end of each internal path in the token."""
    # One pattern of all paths would try each of them at each place: a join has thousands of both.
    after = 0
    while found := _PLACE.search(token, after):
        place = found.end()
        ends = (place + length for length in lengths if token[place : place + length] in bare)
        end = next((end for end in ends if not _GOES_ON.match(token, end)), None)
        after = place + 1 if end is None else end
        if end is not None:
            yield place, end


def misread(tokens: Iterable[str], paths: Iterable[str], tree: str) -> str | None:
    """The first character of the tree's path that shell code in the tokens would misread.

    A token is taken for code where it has a blank or another character that a shell knows. There
    the path must be in quotes unless all its characters are plain.
    """
    special: list[str] = _SPECIAL.findall(tree)
    if not special:
        return None
    bare, lengths = _by_length(tuple(paths))
    for token in tokens:
        if not _SPECIAL.search(token):
            continue
        for place, end in _found(token, bare, lengths):
            if (place, end) == (0, len(token)):
                continue  # the whole token: an argument
            bad = _BAD_IN_QUOTES.get(token[place - 1 : place], _SPECIAL)
            if found := next(filter(bad.match, special), None):
                return found
    return None


def undeclared(tokens: Iterable[str], paths: Iterable[str]) -> str | None:
    """The first path in the tokens that is neither an internal path nor one of this machine.

    It is in a directory of internal `paths` and was probably meant to be one; `localize` doesn't
    replace it.
    """
    bare, _ = _by_length(tuple(paths))
    absent = {folder for path in bare for folder in folders(path) if not os.path.lexists(folder)}
    for token in tokens if absent else ():
        for place in _PLACE.finditer(token):
            found = _PATH.match(token, place.end())
            path = found.group().rstrip("/.") if found else ""
            ways = {path, *folders(path)}
            if not ways.isdisjoint(absent) and ways.isdisjoint(bare):
                return path
    return None

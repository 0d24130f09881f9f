"""The checks of names, storage keys and internal paths."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from gaia_local.errors import InvalidInput, shown
from gaia_local.model.keys import Capture, InternalPath, StorageKey
from gaia_local.model.paths import is_inside
from gaia_local.model.validation import check_text
from gaia_local.terminal_text import holds_controls

OWN = ".gaia-local"
"""The prefix of the names of the engine's own files, which belong to no tree and no key."""

SYSTEM_DIRECTORIES = ("/dev", "/proc", "/sys")
"""Where no internal path may lie."""
_NAME_BYTES = 255
MAX_PATH_BYTES = 3000
"""In a name, a key or an internal path: systems take 4096, and the root comes before it."""
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.,+=@ -]{0,99}"
_PLAIN_KEY = re.compile(rf"(?:{_PART}(?:/{_PART})*:)?{_PART}(?:/{_PART})*/?")


_as_stored: ContextVar[bool] = ContextVar("as_stored", default=False)


@contextlib.contextmanager
def as_stored() -> Iterator[None]:
    """Inside, names are valid that only older versions accepted: old roots stay readable."""
    token = _as_stored.set(True)
    try:
        yield
    finally:
        _as_stored.reset(token)


def check_name(where: str, name: object, kind: str) -> str:
    """A name that may be part of a path: not empty, not absolute, no ``..``, printable."""
    if not isinstance(name, str):
        raise InvalidInput(where, f"the name of a {kind} is {shown(name)}", "give a string")
    if not is_plain(name):
        outer = "" if where == kind else f"{where}, "
        _check_path(f"{outer}{kind} {name!r}", name)
    return name


def is_plain(key: str) -> bool:
    """Whether a storage key, a name or a path has the usual form, which passes all checks."""
    return _PLAIN_KEY.fullmatch(key) is not None and len(key) <= MAX_PATH_BYTES


def check_key(where: str, key: str) -> None:
    """A storage key, ``bucket:path`` or ``path``, that stays inside its bucket."""
    place = f"{where}, key {key!r}"
    parsed = StorageKey.parse(key)
    if parsed.bucket == "":
        raise InvalidInput(place, "the bucket before ':' is empty", "write bucket:path/to/file")
    if parsed.bucket is not None:
        _check_path(f"{place}, bucket {parsed.bucket!r}", parsed.bucket)
    _check_path(place, parsed.path)
    parts = [*(parsed.bucket or "").split("/"), *parsed.path.split("/")]
    if any(part.startswith(OWN) for part in parts):
        raise InvalidInput(
            place,
            f"a component of it begins with {OWN!r}",
            "such names are reserved for the engine: choose another",
        )


def check_key_template(where: str, key: str) -> None:
    """A storage key that may hold ``{{var}}``: one that does is checked again when rendered."""
    if "{{" in key:
        check_text(where, key)
    else:
        check_key(where, key)


def check_local_name(where: str, name: str) -> None:
    """A name inside a composite Command, which becomes the last part of a storage key."""
    _check_path(f"{where}, name {name!r}", name)


def _check_path(place: str, path: str) -> None:
    if not path:
        raise InvalidInput(place, "it is empty", "give at least one character")
    check_text(place, path)
    if holds_controls(path) and not _as_stored.get():
        raise InvalidInput(
            place,
            "it holds a control character, or one that changes the direction of text",
            "leave it out",
        )
    if path.startswith("/"):
        raise InvalidInput(place, "it is absolute", "leave out the '/' at its beginning")
    parts = path.split("/")
    if ".." in parts:
        raise InvalidInput(place, "it holds '..'", "name the path from its beginning")
    if not any(part not in ("", ".") for part in parts):
        raise InvalidInput(place, "it doesn't name a file", "give a path")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise InvalidInput(
            place, f"it has over {MAX_PATH_BYTES:,} bytes", "no file system takes it: shorten it"
        )
    if any(len(part.encode()) > _NAME_BYTES for part in parts):
        raise InvalidInput(
            place,
            f"a component of it has over {_NAME_BYTES} bytes",
            "no file system takes it: shorten it",
        )


def check_internal_template(where: str, path: object) -> None:
    if not isinstance(path, str):
        raise InvalidInput(where, f"the internal path is {shown(path)}", "give a string")
    place = f"{where}, internal path {path!r}"
    if "{{" in path:  # checked again when the vars are filled in
        check_text(place, path)
        return
    if not path.startswith("/"):
        raise InvalidInput(place, "it is not absolute", "begin it with '/'")
    _check_path(place, path[1:].lstrip("/"))
    if is_inside(InternalPath.parse(path).path, *SYSTEM_DIRECTORIES):
        raise InvalidInput(
            place, "it lies in a directory of the system", "choose another, as /out/result"
        )


def check_internal_path(where: str, path: str) -> None:
    """An internal path after its vars were filled in."""
    if Capture.parse(path) is None:
        check_internal_template(where, path)


def check_places(
    where: str, inputs: Mapping[str, str], outputs: Mapping[str, str], stdout: str | None = None
) -> None:
    """Refuse conflicting internal paths: equal ones, and any at or below the file of `stdout`."""
    taken: dict[str, str] = {}
    printed = None if stdout is None else InternalPath.parse(stdout)
    for kind, paths in (("input", inputs), ("output", outputs)):
        for key, text in paths.items():
            if Capture.parse(text) is not None:
                continue
            place = InternalPath.parse(text)
            first = taken.get(place.path)
            if first is not None and not (kind == "output" and first.startswith("output")):
                problem = f"{first} and {kind} {key!r} have one internal path {text!r}"
                raise InvalidInput(where, problem, "give each its own")
            taken[place.path] = f"{kind} {key!r}"
            if printed is None or not is_inside(place.path, printed.path):
                continue
            same_file = kind == "output" and place.path == printed.path and not place.is_directory
            if not same_file:
                problem = f"stdout is {stdout!r}, and {kind} {key!r} is {text!r}"
                raise InvalidInput(where, problem, "give stdout another path")
    if printed is not None and printed.is_directory:
        raise InvalidInput(where, f"stdout is {stdout!r}, a directory", "give the path of a file")

"""What a file is, for a look at it: by its content, and by its name where that leaves a choice.

The beginning of a file decides, of which at most `MOST` bytes are read.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from typing import NamedTuple

MOST = 256 * 1024
"""The most bytes that are read of a file for its preview."""
_CSV, _HTML = (".csv", ".tsv", ".tab"), (".html", ".htm")
_JSON, _SVG = (".json", ".geojson"), ".svg"
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The C0 controls but those that texts for terminals have, which begin at the bell.
_NO_TEXT = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")


class Look(NamedTuple):
    """What the beginning of a file shows."""

    kind: str
    """``text``, ``csv``, ``json``, ``html``, ``image``, ``pdf``, ``empty`` or ``binary``."""
    media_type: str
    """As which it may be sent; of what isn't an image or a PDF, the one that runs nothing."""
    text: str | None = None
    encoding: str | None = None


def look(name: str, beginning: bytes, whole: bool) -> Look:
    """What a file is, of which `beginning` was read; `whole` says that this is all of it."""
    if not beginning:
        return Look("empty", "text/plain; charset=utf-8")
    media_type = _picture(beginning)
    if media_type is not None:
        return Look("pdf" if media_type == "application/pdf" else "image", media_type)
    decoded = _decoded(beginning, whole)
    if decoded is None:
        return Look("binary", "application/octet-stream")
    text, encoding = decoded
    plain = f"text/plain; charset={encoding.removesuffix('-sig')}"
    kind = _text_kind(name.lower(), text, whole)
    if kind == "svg":
        return Look("image", "image/svg+xml", text, encoding)
    return Look(kind, plain, text, encoding)


def read_beginning(descriptor: int, most: int = MOST) -> bytes:
    """At most `most` bytes from the beginning of a file."""
    found = bytearray()
    while len(found) < most:
        piece = os.pread(descriptor, most - len(found), len(found))
        if not piece:
            break
        found += piece
    return bytes(found)


def _picture(beginning: bytes) -> str | None:
    for mark, media_type in _BEGINNINGS:
        if beginning.startswith(mark):
            return media_type
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "image/webp"
    return None


def _decoded(beginning: bytes, whole: bool) -> tuple[str, str] | None:
    """The text, and its encoding; None if it is none."""
    for mark, encoding in _MARKS:
        if beginning.startswith(mark):
            return _decode(beginning, encoding, whole, "replace"), encoding
    if _NO_TEXT.search(beginning):
        return None
    try:
        return _decode(beginning, "utf-8", whole, "strict"), "utf-8"
    except UnicodeDecodeError:
        # Any bytes are Latin-1; without controls of its own they are likely to be meant so.
        text = beginning.decode("latin-1")
        return None if re.search("[\x7f-\x9f]", text) else (text, "latin-1")


def _decode(beginning: bytes, encoding: str, whole: bool, errors: str) -> str:
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    return decoder.decode(beginning, final=whole)


def _text_kind(name: str, text: str, whole: bool) -> str:
    start = text.lstrip("\ufeff \t\r\n")[:2000]
    lower = start.lower()
    if name.endswith(_SVG) or lower.startswith(("<svg", "<?xml")):
        if re.search(r"<svg[\s>]", lower):
            return "svg"
    elif name.endswith(_HTML) or lower.startswith(("<!doctype html", "<html")):
        return "html"
    elif name.endswith(_CSV):
        return "csv"
    elif name.endswith(_JSON) or start.startswith(("{", "[")):
        return "json" if whole and _is_json(text) else "text"
    return "text"


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True

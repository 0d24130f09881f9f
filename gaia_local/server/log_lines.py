"""Lines of a log by their numbers, with the colours that hold where the first one begins."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gaia_local.server.log_index import LineIndex, read_at

if TYPE_CHECKING:
    from gaia_local.model.answer_types import LogLine

MAX_LINES = 1000
"""The most lines that one call answers; fewer if they are long."""
LINE_BYTES = 10_000
"""The most bytes of one line among them."""
_ROWS_BYTES = 1024 * 1024
_READ_BYTES = 256 * 1024
_STYLE_BYTES = 64 * 1024
_STYLE = re.compile(rb"\x1b\[[0-9;:]*m")
_PLAIN = re.compile(rb"\x1b\[0*m")
_MAX_STYLES = 32


def rows_from(file: int, index: LineIndex, line: int, count: int, size: int) -> Iterator[LogLine]:
    """Up to `count` lines, from a known one on, in the first `size` bytes."""
    offset, text_bytes, end = index.offset(file, line), 0, line + count
    while line < end and offset < size and text_bytes < _ROWS_BYTES:
        block = read_at(file, offset, min(_READ_BYTES, size - offset))
        last = offset + len(block) >= size
        start = 0
        while line < end and text_bytes < _ROWS_BYTES and start < len(block):
            stop = block.find(b"\n", start)
            if stop < 0 and last:
                stop = len(block)
            elif stop < 0 and start:
                break  # it may end in the next block
            elif stop < 0:
                stop = _end(file, index, line, offset, size)
            yield _row(file, offset + start, offset + stop)
            text_bytes += min(stop - start, LINE_BYTES)
            line, start = line + 1, stop + 1
        offset += start


def _end(file: int, index: LineIndex, line: int, offset: int, size: int) -> int:
    """Where a line that begins at `offset` ends, counted from there; it is longer than a block."""
    try_next = index.offset(file, line + 1)
    ends = try_next > offset and read_at(file, try_next - 1, 1) == b"\n"
    return (try_next - 1 if ends else size) - offset


def _row(file: int, start: int, stop: int) -> LogLine:
    """A line; of a long one its beginning, or what was last written over it."""
    if stop - start <= LINE_BYTES:
        text = read_at(file, start, stop - start).decode("utf-8", "replace")
        return {"offset": start, "text": text, "more": 0}
    tail = read_at(file, stop - LINE_BYTES, LINE_BYTES)
    written_over = tail.find(b"\r", 0, len(tail) - 1)
    if written_over >= 0:
        shown = tail[written_over + 1 :]
        text = shown.decode("utf-8", "replace")
    else:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        shown = read_at(file, start, LINE_BYTES)
        text = decoder.decode(shown)
        shown = shown[: len(shown) - len(decoder.getstate()[0])]
    return {"offset": start, "text": text, "more": stop - start - len(shown)}


def style_at(file: int, offset: int) -> str:
    """The escape sequences that set the colours of the text at a byte, as far as 64 kB tell."""
    start = max(0, offset - _STYLE_BYTES)
    since: list[bytes] = []
    for sequence in reversed(_STYLE.findall(read_at(file, start, offset - start))):
        if _PLAIN.fullmatch(sequence) or len(since) == _MAX_STYLES:
            break
        since.append(sequence)
    return b"".join(reversed(since)).decode("ascii")

"""`LineWriter`: whole lines, and every byte once."""

from __future__ import annotations

import random

import pytest

from gaia_local.runtimes.lines import LONGEST_LINE, LineWriter


@pytest.mark.parametrize(
    ("pieces", "passed"),
    [
        ([b"a\n", b"b\n"], [b"a\n", b"b\n"]),
        ([b"a", b"b\nc", b"\n"], [b"ab\n", b"c\n"]),
        ([b"a\nb\nc"], [b"a\nb\n", b"c"]),
        ([b"1%\r", b"2%\r", b"3%\r"], [b"1%\r", b"2%\r", b"3%\r"]),
        ([b"\r1%", b"\r2%"], [b"\r", b"1%\r", b"2%"]),
        ([b"a\r", b"\nb"], [b"a\r\n", b"b"]),
        ([b"", b"end"], [b"end"]),
        ([], []),
    ],
)
def test_whole_lines_are_passed_on(pieces: list[bytes], passed: list[bytes]) -> None:
    got: list[bytes] = []
    writer = LineWriter(got.append)
    for piece in pieces:
        writer.write(piece)
    writer.finish()
    writer.finish()
    assert got == passed


def test_a_line_without_end_is_passed_on_in_parts() -> None:
    got: list[bytes] = []
    writer = LineWriter(got.append)
    for _ in range(LONGEST_LINE + 1):
        writer.write(b"x")
    assert got == [b"x" * (LONGEST_LINE + 1)]
    writer.write(b"y\n")
    assert got[1:] == [b"y\n"]


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_whatever_the_pieces(seed: int) -> None:
    chance = random.Random(seed)
    text = bytes(chance.choices(b"ab\n\r\0", k=2000))
    got: list[bytes] = []
    writer, done = LineWriter(got.append), 0
    while done < len(text):
        size = chance.randint(1, 50)
        writer.write(text[done : done + size])
        done += size
    assert all(part.endswith((b"\n", b"\r")) for part in got)
    writer.finish()
    assert b"".join(got) == text

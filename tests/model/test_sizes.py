"""Bytes as text: sizes of files, and amounts of memory."""

from __future__ import annotations

import pytest

from gaia_local.model.sizes import memory_text, progress_text


@pytest.mark.parametrize(
    ("done", "size", "text"),
    [
        (12 * 10**9, 60 * 10**9, "12 of 60 GB"),
        (0, 60 * 10**9, "0 of 60 GB"),
        (1_234_000_000, 1_500_000_000, "1.2 of 1.5 GB"),
        (999_960_000, 2 * 10**12, "0 of 2 TB"),
        (999, 999, "999 of 999 bytes"),
        (2_000_000, None, "2 MB"),
        (70, 60, "70 of 70 bytes"),
        (0, None, "0 bytes"),
    ],
)
def test_progress_is_told_in_round_numbers(done: int, size: int | None, text: str) -> None:
    assert progress_text(done, size) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KB"),
        (310 << 20, "310 MB"),
        ((1 << 30) - 1, "1024 MB"),
        (4 << 30, "4 GB"),
        (3.9 * (1 << 30), "3.9 GB"),
        (5 << 50, "5120 TB"),
    ],
)
def test_memory_is_told_in_the_units_of_resources(number: float, text: str) -> None:
    assert memory_text(number) == text

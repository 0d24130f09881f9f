"""Work on files: a cancellation ends it soon, holes aren't read, and it tells how far it is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gaia_local.store import copying, file_work, fingerprints, reading, storable
from gaia_local.store.file_work import ENTRIES, MOST_BYTES, FileWork, Stopped
from gaia_local.store.input_copies import copies_needed
from gaia_local.store.logs import Ending, write_log
from gaia_local.store.walking import walk
from support.builders import task
from support.trees import other_disk

__all__ = ["other_disk"]

SIZE = 10 << 20


class CountedWork(FileWork):
    """Work that is cancelled after so many calls of `advance`; it keeps what each was given."""

    def __init__(self, last: int) -> None:
        self.steps: list[int] = []

        def check() -> None:
            if len(self.steps) > last:
                raise Stopped

        super().__init__(check)

    def advance(self, count: int = 0) -> None:
        self.steps.append(count)
        super().advance(count)


def a_file(folder: Path) -> Path:
    path = folder / "file"
    path.write_bytes(os.urandom(SIZE))
    return path


def a_sparse_file(folder: Path) -> Path:
    path = folder / "sparse"
    with path.open("wb") as writer:
        writer.truncate(SIZE)
    return path


def a_tree(folder: Path) -> Path:
    path = folder / "tree"
    path.mkdir()
    for number in range(5 * ENTRIES):
        (path / str(number)).write_text("x")
    return path


def copy_plainly(path: Path, work: FileWork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "copy_file_range")
    copying.copy(str(path), f"{path}-copy", follow=False, work=work)


def copy_by_kernel(path: Path, work: FileWork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "MOST_BYTES", 1 << 20)
    copying.copy(str(path), f"{path}-copy", follow=False, work=work)


def part_with_others(path: Path, work: FileWork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a second name is copied, since it must be stored alone."""
    monkeypatch.setattr(copying, "MOST_BYTES", 1 << 20)
    os.link(path, f"{path}-other")
    storable.make_storable(str(path), work)


def write_a_log(path: Path, work: FileWork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "MOST_BYTES", 1 << 20)
    write_log(f"{path.parent}/log", task(), str(path), Ending(0, None, 1.0), work=work)


def choose_copies(path: Path, work: FileWork, monkeypatch: pytest.MonkeyPatch) -> None:
    of = task(inputs={"/in/": "k/"}, external=frozenset({"k/"}))
    copies_needed(of, {"k/": str(path)}, work)


PARTS: list[
    tuple[Callable[[Path], Path], Callable[[Path, FileWork, pytest.MonkeyPatch], object]]
] = [
    (a_file, lambda path, work, _: fingerprints.digest(str(path), work=work)),
    (a_file, lambda path, work, _: fingerprints.observed(str(path), work=work)),
    (a_file, lambda path, work, _: fingerprints.fingerprint(str(path), work=work)),
    (a_file, copy_plainly),
    (a_file, copy_by_kernel),
    (a_file, part_with_others),
    (a_file, write_a_log),
    (a_sparse_file, lambda path, work, _: fingerprints.digest(str(path), work=work)),
    (a_tree, lambda path, work, _: list(walk(str(path), work=work))),
    (a_tree, lambda path, work, _: fingerprints.quick_fingerprint(str(path), work=work)),
    (a_tree, lambda path, work, _: fingerprints.digest(str(path), work=work)),
    (a_tree, lambda path, work, _: storable.make_storable(str(path), work)),
    (a_tree, lambda path, work, _: storable.has_link(str(path), out=True, work=work)),
    (a_tree, lambda path, work, _: storable.confine_links(str(path), "it", no_links, work)),
    (a_tree, lambda path, work, _: copying.copy(str(path), f"{path}-c", False, work=work)),
    (a_tree, choose_copies),
]


def no_links(directory: str, text: str) -> Iterator[str]:
    raise AssertionError("there is no link")


@pytest.mark.parametrize(("make", "part"), PARTS)
def test_each_part_ends_at_the_first_check_after_a_cancellation(
    make: Callable[[Path], Path],
    part: Callable[[Path, FileWork, pytest.MonkeyPatch], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, work = make(tmp_path), CountedWork(3)
    with pytest.raises(Stopped):
        part(path, work, monkeypatch)
    assert len(work.steps) == 4
    assert max(work.steps) <= MOST_BYTES


def test_a_step_of_the_kernel_is_8_megabytes_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    really = os.copy_file_range

    def copy_file_range(reader: int, writer: int, count: int) -> int:
        asked.append(count)
        return really(reader, writer, count)

    monkeypatch.setattr(os, "copy_file_range", copy_file_range)
    path = tmp_path / "big"
    with path.open("wb") as writer:
        os.posix_fallocate(writer.fileno(), 0, 2 * MOST_BYTES + 1)
    copying.copy(str(path), str(tmp_path / "copy"), follow=False)
    assert asked and max(asked) == MOST_BYTES


# -------------------------------------------------------------------------------------------- holes


def with_holes(path: Path, size: int, *data: tuple[int, bytes]) -> bytes:
    """Write a file with data at these places, and return its content."""
    content = bytearray(size)
    with path.open("wb") as writer:
        for at, piece in data:
            writer.seek(at)
            writer.write(piece)
            content[at : at + len(piece)] = piece
        writer.truncate(size)
    return bytes(content)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [(0, b"first")],
        [(5_000_000, b"middle")],
        [(7_999_990, b"last bytes")],
        [(0, b"a" * 3_000_000), (6_000_000, b"b" * 1_000_001)],
    ],
    ids=len,
)
def test_the_digest_of_a_file_with_holes_is_that_of_its_content(
    tmp_path: Path, data: list[tuple[int, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = with_holes(tmp_path / "sparse", 8_000_000, *data)
    (tmp_path / "full").write_bytes(content)
    digest = fingerprints.digest(str(tmp_path / "sparse"))
    assert digest == fingerprints.digest(str(tmp_path / "full"))
    assert digest == hashlib.blake2b(content, digest_size=16).hexdigest()
    monkeypatch.delattr(os, "SEEK_DATA")
    assert digest == fingerprints.digest(str(tmp_path / "sparse"))


def test_holes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_holes(tmp_path / "sparse", 64 << 20, (32 << 20, b"data"))
    read = 0
    really = os.read

    def counted(descriptor: int, size: int) -> bytes:
        nonlocal read
        piece = really(descriptor, size)
        read += len(piece)
        return piece

    monkeypatch.setattr(os, "read", counted)
    fingerprints.digest(str(tmp_path / "sparse"))
    assert 0 < read <= 1 << 16


def test_a_file_that_shrinks_or_grows_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with_holes(path, 8 << 20, (0, b"x"), (4 << 20, b"y" * 5000))
    before = os.stat(path)
    for size in (1 << 20, 9 << 20):
        os.truncate(path, size)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            got = sum(map(len, reading.contents(descriptor, before, FileWork())))
        finally:
            os.close(descriptor)
        assert got == max(size, before.st_size)


def test_zeros_are_written_as_holes(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb", buffering=0) as writer:
        for piece in (bytes(1 << 16), b"x" * (1 << 16), bytes(1 << 16), bytes(1 << 16), bytes(10)):
            copying.write_with_holes(writer.fileno(), piece)
        writer.truncate(4 * (1 << 16) + 10)
    content = (tmp_path / "a").read_bytes()
    assert content == bytes(1 << 16) + b"x" * (1 << 16) + bytes(2 * (1 << 16) + 10)
    assert os.stat(tmp_path / "a").st_blocks * 512 <= 2 << 16


# ---------------------------------------------------------------------------------- nothing by half


def test_a_pull_that_is_interrupted_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = a_file(tmp_path), tmp_path / "to/file"
    target.parent.mkdir()
    target.write_text("old")
    monkeypatch.setattr(os, "utime", interrupted)
    with pytest.raises(KeyboardInterrupt):
        copying.pull(str(source), tmp_path, target, follow=False)
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


# ----------------------------------------------------------------------------------- how far it is


def test_work_is_told_once_a_second_and_short_work_never(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told, asked = 100.0, list[str](), list[int]()
    monkeypatch.setattr(file_work, "monotonic", lambda: now)
    work = FileWork(tell=told.append)

    def size() -> int:
        asked.append(1)
        return 100_000

    for number in range(5):  # one file after the other, half a second each
        work.begin(f"reading input 'k{number}'", size)
        for _ in range(4):
            now += 0.125
            work.advance(1000)
    assert told == ["reading input 'k1': 4 of 100 kB", "reading input 'k3': 4 of 100 kB"]
    assert len(asked) == 2
    work.rest()
    told.clear()
    now += 1000
    work.begin("reading output 'o'", size)
    work.advance(1000)
    assert told == []
    now += 1.5
    work.advance(1000)
    assert told == ["reading output 'o': 2 of 100 kB"]

"""Logs over HTTP: pieces, lines, search and download, of the latest and of earlier attempts."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from gaia_local import Gaia
from gaia_local.errors import InvalidInput
from gaia_local.server import Server, log_index, log_lines, log_search, logs
from gaia_local.server.log_file import byte_range, file_name
from gaia_local.server.log_index import LineIndex, LineIndices
from support.builders import step
from support.fixtures import MakeGaia
from support.status_page import talk


@pytest.fixture
def gaia(make_gaia: MakeGaia) -> Gaia:
    """One workflow, `w`, with a Step `s` that ran once."""
    gaia = make_gaia(watch=False)
    gaia.upload("w", {}, [talk("c", "echo hello")], [step("s", "c", "k:x"), step("t", "c", "k:y")])
    gaia.wait("w", 30)
    return gaia


@pytest.fixture
def server(gaia: Gaia) -> Iterator[Server]:
    with Server(gaia, port=0) as server:
        yield server


def write(gaia: Gaia, content: bytes) -> Path:
    """Let this be the log of the Step."""
    log = Path(str(gaia.attempt("w", "s")["log"]))
    log.write_bytes(content)
    return log


def ask(server: Server, what: str, status: int = 200, **parameters: str | int | None) -> Any:
    asked: dict[str, str | int | None] = {"step": "s", **parameters}
    answer = requests.get(f"{server.url}api/workflows/w/log{what}", params=asked, timeout=30)
    assert answer.status_code == status, answer.text
    return answer.json()


def random_log(chance: random.Random, size: int) -> bytes:
    return bytes(chance.choice(b"aab\n") for _ in range(size))


def lines_of(content: bytes) -> list[bytes]:
    lines = content.split(b"\n")
    return lines if lines[-1] else lines[:-1]


# ---------------------------------------------------------------------------------- which attempt


def test_the_log_of_an_earlier_attempt_is_told_by_its_id(server: Server, gaia: Gaia) -> None:
    write(gaia, b"the first\n")
    first = gaia.attempt("w", "s")
    gaia.expire("w", ["s"])
    gaia.wait("w", 30)
    latest = gaia.attempt("w", "s")
    assert latest["task"] != first["task"]
    assert gaia.attempt("w", "s", first["task"]) == first
    assert gaia.attempt("w", "s", latest["task"]) == latest
    assert ask(server, "", task=first["task"])["text"] == "the first\n"
    assert ask(server, "/lines", task=first["task"])["rows"][0]["text"] == "the first"
    assert ask(server, "/search", task=first["task"], text="first")["count"] == 1
    assert ask(server, "")["text"] == "hello\n"
    assert ask(server, "", task=latest["task"]) == ask(server, "")


def test_a_log_that_retention_dropped_has_one_clear_answer(server: Server, gaia: Gaia) -> None:
    first = gaia.attempt("w", "s")["task"]
    gaia.expire("w", ["s"])
    gaia.wait("w", 30)
    gaia.drop_attempts(keep=1)
    with pytest.raises(InvalidInput, match="keep more of them with keep_attempts") as raised:
        gaia.attempt("w", "s", first)
    for what in ("", "/lines", "/search", "/file"):
        told = ask(server, what, 404, task=first, text="x")
        assert told == {"error": str(raised.value)}


def test_an_attempt_of_another_step_is_not_this_ones(gaia: Gaia) -> None:
    with pytest.raises(InvalidInput, match="Step 's': it has no attempt"):
        gaia.attempt("w", "s", gaia.attempt("w", "t")["task"])
    with pytest.raises(InvalidInput, match="attempt, task"):
        gaia.attempt("w", "s", 3)  # type: ignore[arg-type] # what a caller may do


def test_a_step_that_never_ran_has_an_empty_log(server: Server, gaia: Gaia) -> None:
    gaia.command("w", [talk("late", "true", "a")])
    gaia.merge("w", [step("n", "late", "k:n", "k:missing")])
    nothing = {"over": True, "task": None, "size": 0}
    assert ask(server, "", step="n") == {"text": "", "next": 0, **nothing}
    lines = {"lines": 0, "first": 1, "style": "", "rows": []}
    assert ask(server, "/lines", step="n") == {**lines, **nothing}
    found = {"count": 0, "matches": [], "next": 0}
    assert ask(server, "/search", step="n", text="x") == {**found, **nothing}
    assert "hasn't run" in ask(server, "/file", 404, step="n")["error"]


@pytest.mark.parametrize(
    ("what", "parameters", "says"),
    [
        ("", {"from": "x"}, "from is 'x'; give a whole number, 0 or more"),
        ("", {"bytes": "3"}, "bytes is '3'; give a whole number, 4 or more"),
        ("/lines", {"line": "0"}, "line is '0'; give a whole number, 1 or more"),
        ("/lines", {"count": "9" * 19}, "count is '9999999999999999999'"),
        ("/search", {}, "the parameter 'text' is missing"),
        ("/search", {"text": ""}, "give 1 to 1000 characters of one line"),
        ("/search", {"text": "a\nb"}, "give 1 to 1000 characters of one line"),
        ("/search", {"text": "a" * 1001}, "give 1 to 1000 characters of one line"),
    ],
)
def test_wrong_parameters_are_refused(
    server: Server, what: str, parameters: dict[str, str], says: str
) -> None:
    assert says in ask(server, what, 400, **parameters)["error"]


# ----------------------------------------------------------------------------------------- pieces


def test_pieces_of_any_size_make_the_same_text(server: Server, gaia: Gaia) -> None:
    text = "aä→𝄞\n" * 20
    size = write(gaia, text.encode()).stat().st_size
    for most in (4, 5, 7, 11):
        read, start = "", 0
        while not (piece := ask(server, "", **{"from": start, "bytes": most}))["over"]:
            assert start < piece["next"] <= start + most
            read, start = read + piece["text"], piece["next"]
        assert read + piece["text"] == text
        assert piece["size"] == size


# ------------------------------------------------------------------------------------------ lines


def test_an_index_is_right_for_any_text_that_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    monkeypatch.setattr(log_index, "BLOCK_BYTES", 16)
    for round_number in range(60):
        path, content, index = tmp_path / str(round_number), b"", LineIndex()
        with path.open("w+b", buffering=0) as log:
            for _ in range(4):
                added = random_log(chance, chance.randrange(60))
                log.write(added)
                content += added
                while (extent := index.extend(log.fileno(), 32)).known < len(content):
                    assert extent.lines == content[: extent.known].count(b"\n")
                lines = lines_of(content)
                assert extent == (len(content), len(content), len(lines))
                at = 0
                for number, line in enumerate(lines, 1):
                    assert index.offset(log.fileno(), number) == at
                    assert index.line(log.fileno(), at) == number
                    assert index.line(log.fileno(), at + len(line)) == number
                    at += len(line) + 1


def test_lines_are_the_same_from_wherever_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(11)
    monkeypatch.setattr(log_index, "BLOCK_BYTES", 16)
    monkeypatch.setattr(log_lines, "_READ_BYTES", 13)
    monkeypatch.setattr(log_lines, "LINE_BYTES", 20)
    for round_number in range(60):
        content = b"\n".join(b"x" * chance.choice((0, 1, 5, 12, 13, 40)) for _ in range(12))
        path = tmp_path / str(round_number)
        path.write_bytes(content)
        lines, index = lines_of(content), LineIndex()
        with path.open("rb") as log:
            index.extend(log.fileno())
            for first in range(1, len(lines) + 1):
                rows = list(log_lines.rows_from(log.fileno(), index, first, 5, len(content)))
                wanted = lines[first - 1 : first + 4]
                assert [len(row["text"]) + row["more"] for row in rows] == [*map(len, wanted)]
                assert all(len(row["text"]) <= 20 for row in rows)
                starts = [index.offset(log.fileno(), first + place) for place in range(len(rows))]
                assert [row["offset"] for row in rows] == starts


def test_lines_are_told_by_number_and_from_the_end(server: Server, gaia: Gaia) -> None:
    write(gaia, "".join(f"line {number}\n" for number in range(1, 5001)).encode() + b"the end")
    told = ask(server, "/lines", line=2500, count=2)
    assert [row["text"] for row in told["rows"]] == ["line 2500", "line 2501"]
    assert (told["lines"], told["first"], told["over"]) == (5001, 2500, True)
    assert [row["text"] for row in ask(server, "/lines", last=2)["rows"]] == [
        "line 5000",
        "the end",
    ]
    assert len(ask(server, "/lines", count=10**6)["rows"]) == 1000
    beyond = ask(server, "/lines", line=10**9)
    assert (beyond["first"], beyond["rows"]) == (5002, [])
    assert ask(server, "/lines", count=0)["lines"] == 5001


def test_a_long_line_is_cut_at_a_character(server: Server, gaia: Gaia) -> None:
    write(gaia, b"a" + "ä".encode() * 5_000_000 + b"\nnext\n")
    long, after = ask(server, "/lines")["rows"]
    assert long == {"offset": 0, "text": "a" + "ä" * 4999, "more": 10_000_001 - 9999}
    assert after == {"offset": 10_000_002, "text": "next", "more": 0}


def test_of_a_long_line_that_was_written_over_the_last_is_told(server: Server, gaia: Gaia) -> None:
    write(gaia, b"".join(b"\r%d of 900000 files" % number for number in range(900_001)))
    (row,) = ask(server, "/lines")["rows"]
    assert row["text"].endswith("\r900000 of 900000 files")
    assert row["more"] > 10_000_000


def test_lines_come_with_the_colours_that_hold_there(server: Server, gaia: Gaia) -> None:
    write(gaia, b"\x1b[1mplain\x1b[0m\n\x1b[31mred\n\x1b[1mbold\n\x1b[2Jx\n" + b"\x1b[m\nthen\n")
    assert [ask(server, "/lines", line=line)["style"] for line in (1, 2, 3, 5, 6)] == [
        "",
        "",
        "\x1b[31m",
        "\x1b[31m\x1b[1m",
        "",
    ]


def test_a_log_that_was_replaced_is_indexed_anew(tmp_path: Path) -> None:
    indices, path = LineIndices(kept=1), tmp_path / "log"
    path.write_bytes(b"a\n" * log_index.BLOCK_BYTES)
    with path.open("r+b") as log:
        first = indices.of(str(path), log.fileno())
        first.extend(log.fileno())
        assert indices.of(str(path), log.fileno()) is first
        os.truncate(path, 3)
        again = indices.of(str(path), log.fileno())
        assert again is not first
        assert again.extend(log.fileno()) == (3, 3, 2)
    with (tmp_path / "other").open("w+b") as log:
        indices.of("other", log.fileno())
    with path.open("rb") as log:
        assert indices.of(str(path), log.fileno()) is not again


# ----------------------------------------------------------------------------------------- search


@pytest.mark.parametrize("wanted", [b"a", b"aa", b"ab", b"aba", b"B"])
def test_a_search_in_steps_of_any_size_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: bytes
) -> None:
    chance = random.Random(3)
    monkeypatch.setattr(log_search, "MATCHES_AT_ONCE", 7)
    for case in (True, False):
        for round_number in range(40):
            content = random_log(chance, 200)
            if round_number % 3 == 0:
                content = content.replace(b"\n", b"a")
            text = content if case else content.lower()
            sought = re.escape(wanted if case else wanted.lower())
            all_of_it = [found.start() for found in re.finditer(sought, text)]
            path = tmp_path / f"{case}{round_number}"
            path.write_bytes(content)
            step_bytes, read_bytes = chance.randrange(1, 90), chance.randrange(1, 40)
            count, places, start = 0, list[int](), 0
            with path.open("rb") as log:
                while True:
                    sizes = {"step_bytes": step_bytes, "read_bytes": read_bytes}
                    found = log_search.search(log.fileno(), wanted, start, case=case, **sizes)
                    within = list(found.offsets)
                    while len(within) < found.count:
                        more = log_search.search(
                            log.fileno(), wanted, start, case=case, skip=len(within), **sizes
                        )
                        assert more.count == found.count
                        within += more.offsets
                    count, places = count + found.count, places + within
                    if found.next == start or len(content) - found.next < len(wanted):
                        break
                    start = found.next
            assert places == all_of_it
            assert count == len(all_of_it)


def test_matches_have_lines_and_offsets(server: Server, gaia: Gaia) -> None:
    write(gaia, b"one Two\n\ntwo two\n")
    told = ask(server, "/search", text="two")
    assert told["matches"] == [[3, 9], [3, 13]]
    assert (told["count"], told["over"]) == (2, True)
    told = ask(server, "/search", text="two", case=0)
    assert told["matches"] == [[1, 4], [3, 9], [3, 13]]
    assert ask(server, "/search", text="two", skip=1)["matches"] == [[3, 13]]
    assert ask(server, "/search", text="(two|one)*")["count"] == 0


# --------------------------------------------------------------------------------------- download


@pytest.mark.timeout(60)
def test_a_search_ends_though_the_log_is_cut_meanwhile(
    server: Server, gaia: Gaia, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(gaia, b"filler\n" * 100_000 + b"needle\n")

    def then_cut(*arguments: Any, **more: Any) -> log_search.Found:
        found = log_search.search(*arguments, **more)
        path.write_bytes(b"")
        return found

    monkeypatch.setattr(logs, "search", then_cut)
    assert ask(server, "/search", text="needle")["count"] == 1


def test_a_log_is_downloaded_whole_or_in_part(server: Server, gaia: Gaia) -> None:
    content = os.urandom(700_000)
    write(gaia, content)
    url = f"{server.url}api/workflows/w/log/file?step=s"
    whole = requests.get(url, timeout=30)
    assert whole.content == content
    task = gaia.attempt("w", "s")["task"]
    assert whole.headers["content-disposition"] == f"attachment; filename*=UTF-8''s-{task}.log"
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = requests.get(url, headers={"range": "bytes=300000-300009"}, timeout=30)
    assert (part.status_code, part.content) == (206, content[300_000:300_010])
    assert part.headers["content-range"] == "bytes 300000-300009/700000"
    beyond = requests.get(url, headers={"range": "bytes=700000-"}, timeout=30)
    assert (beyond.status_code, beyond.content) == (416, b"")
    assert beyond.headers["content-range"] == "bytes */700000"
    head = requests.head(url, timeout=30)
    assert (head.headers["content-length"], head.content) == ("700000", b"")


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-", (0, 10)),
        ("bytes=2-3", (2, 4)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-4", (6, 10)),
        ("bytes=-40", (0, 10)),
        ("bytes=3-2", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=1-2", None),
    ],
)
def test_ranges(header: str | None, span: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == span


def test_names_of_downloads_are_no_paths() -> None:
    assert file_name("../../a/b\r\n\"'<größe>.log") == "_.._a_b_____größe_.log"
    assert file_name("..") == "log"
    assert file_name("a\udc80b") == "a_b"

"""The files of keys over HTTP: what is served, to whom, and what a stranger's tricks reach."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from gaia_local import Gaia
from gaia_local.monotonic import monotonic
from gaia_local.server import Server
from gaia_local.server.archives import stays_inside
from gaia_local.server.files import natural
from gaia_local.server.previews import look
from gaia_local.store.opening import Tree
from support.builders import command, step
from support.fixtures import MakeGaia

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
SECRET = "secret of another place"


class Served:
    """A workflow whose Step reads `d:data/` and `d:file`, and makes `d:made`."""

    def __init__(self, gaia: Gaia, server: Server) -> None:
        self.gaia, self.server = gaia, server
        self.data = gaia.path("w", "d:data/")
        self.file = gaia.path("w", "d:file")

    def url(self, what: str, key: str, path: str | bytes = "", more: str = "") -> str:
        """The address of a file (``""``), an ``archive``, or a reading call."""
        top = "files/w" if what in ("", "archive") else "api/workflows/w"
        place = f"{top}/{what}".rstrip("/")
        return f"{self.server.url}{place}?key={quote(key)}&path={quote(path, safe='')}{more}"

    def get(
        self, what: str, key: str, path: str | bytes = "", more: str = "", **headers: str
    ) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("accept-encoding", "identity")
        return requests.get(self.url(what, key, path, more), headers=named, timeout=30)

    def raw(self, method: str, url: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        """Status, headers and body, of a request whose headers hold anything."""
        parts = urlsplit(url)
        with contextlib.closing(
            http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        ) as connection:
            connection.request(method, f"{parts.path}?{parts.query}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()


@pytest.fixture
def served(make_gaia: MakeGaia) -> Iterator[Served]:
    gaia = make_gaia(watch=False)
    reads = command("read", "cat /in/file > /out/x; echo made > /out/x", "data/", "file")
    with Server(gaia, port=0) as server:
        made = Served(gaia, server)
        made.data.mkdir(parents=True)
        (made.data / "a.txt").write_text("hello\n")
        made.file.write_bytes(b"0123456789")
        gaia.upload(
            "w",
            {},
            [reads],
            [
                step("s", "read", "d:made", inputs={"data/": "d:data/", "file": "d:file"}),
                step("later", "read", "d:last", inputs={"data/": "d:nowhere/", "file": "d:made"}),
            ],
        )
        gaia.wait("w", 60)
        yield made


def facts(served: Served, name: str) -> dict[str, dict[str, Any]]:
    answer = requests.get(f"{served.server.url}api/workflows/w/keys?step={name}", timeout=30)
    assert answer.status_code == 200, answer.text
    return {key["key"]: key for keys in answer.json().values() for key in keys}


# ------------------------------------------------------------------------------------------- facts


def test_a_key_is_told_with_all_that_lies_there(served: Served) -> None:
    found = facts(served, "s")
    assert list(found) == ["d:data/", "d:file", "d:made"]
    file, data, made = found["d:file"], found["d:data/"], found["d:made"]
    assert file["path"] == str(served.file)
    assert (file["kind"], file["size"], file["state"]) == ("file", 10, "complete")
    assert file["modified"] == served.file.stat().st_mtime
    assert (file["made_by"], file["read_by"]) == ([], ["s"])
    assert (data["kind"], data["size"], data["files"], data["more"]) == ("directory", 6, 1, False)
    assert (made["made_by"], made["read_by"]) == (["s"], ["later"])
    assert made["digest"] == served.gaia.keys("w", "s")["outputs"][0]["digest"] is not None
    waiting = facts(served, "later")["d:nowhere/"]
    assert (waiting["kind"], waiting["state"]) == ("missing", "incomplete")
    assert waiting["path"] == str(served.gaia.path("w", "d:nowhere/"))
    assert "no Step makes it" in waiting["because"]


def test_a_large_directory_is_measured_up_to_a_bound(served: Served) -> None:
    for number in range(50):
        os.mknod(served.data / f"n{number}")
    tree = Tree(str(served.data), "/none")
    assert tree.measure((), 51, monotonic() + 60) == (6, 51, False)
    assert tree.measure((), 30, monotonic() + 60).more
    assert tree.measure((), 51, monotonic() - 1) == (0, 0, True)


@pytest.mark.parametrize("what", ["keys", "directory", "preview", "", "archive"])
def test_unknown_names_are_refused(served: Served, what: str) -> None:
    if what != "keys":
        assert served.get(what, "d:other").status_code == 404
        missing = served.get(what, "d:data/", "no/such")
        assert missing.status_code == 404
        assert "nothing is there" in missing.json()["error"]
        nothing = requests.get(served.url(what, "").partition("?")[0], timeout=30)
        assert nothing.status_code == 400
        assert "write ?key=" in nothing.json()["error"]
        twice = requests.get(served.url(what, "d:file") + "&key=d:made", timeout=30)
        assert twice.status_code == 400
    unknown = requests.get(
        served.url(what, "d:file").replace("/w", "/none", 1) + "&step=s", timeout=30
    )
    assert unknown.status_code == 404


# ------------------------------------------------------------------------------------- directories


def test_a_directory_is_listed_by_the_numbers_in_names(served: Served) -> None:
    for number in (10, 9, 1):
        (served.data / f"run{number}").mkdir()
    (served.data / ".gaia-local-x").write_text(SECRET)
    os.symlink("/etc", served.data / "link")
    os.mkfifo(served.data / "pipe")
    answer = served.get("directory", "d:data/").json()
    assert [(entry["name"], entry["kind"]) for entry in answer["entries"]] == [
        ("a.txt", "file"),
        ("link", "link"),
        ("pipe", "FIFO"),
        ("run1", "directory"),
        ("run9", "directory"),
        ("run10", "directory"),
    ]
    assert answer["entries"][0]["size"] == 6
    assert answer["more"] is False


def test_natural_order() -> None:
    assert sorted(["a10", "a9", "a", "10", "9b", ""], key=natural) == [
        *("", "9b", "10", "a", "a9", "a10")
    ]


def test_of_a_huge_directory_the_first_entries_are_answered(served: Served) -> None:
    for number in range(1200):
        os.mknod(served.data / f"n{number}")
    answer = served.get("directory", "d:data/").json()
    assert len(answer["entries"]) == 1000
    assert answer["entries"][-1]["name"] == "n998"
    assert (answer["more"], answer["total"]) == (True, 1201)


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", "\u202egnp.txt".encode(), b"<b>&?#%2e'\""])
def test_any_name_is_listed_and_read(served: Served, name: bytes) -> None:
    (served.data / os.fsdecode(name)).write_text("it\n")
    entries = served.get("directory", "d:data/").json()["entries"]
    entry = next(each for each in entries if each["name"] != "a.txt")
    assert entry["name"].isprintable()
    answer = requests.get(f"{served.server.url}files/w?{entry['query']}", timeout=30)
    assert answer.text == "it\n"
    kept = requests.get(f"{served.server.url}files/w?{entry['query']}&download=1", timeout=30)
    disposition = kept.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="')
    assert disposition.endswith(f"filename*=UTF-8''{quote(name, safe='')}")
    archived = served.get("archive", "d:data/").content
    with tarfile.open(fileobj=io.BytesIO(archived), errors="surrogateescape") as tar:
        assert f"data/{os.fsdecode(name)}" in tar.getnames()


# ---------------------------------------------------------------------- what isn't in a key's tree


@pytest.mark.parametrize("what", ["directory", "preview", "", "archive"])
@pytest.mark.parametrize(
    "path",
    [
        *("..", "../file", "x/../../file", "/etc/passwd", "//etc/passwd", "./a.txt", "a.txt/"),
        *("..\0", "a.txt\0", "\0", ".gaia-local", "out", "out/passwd", "into/../a.txt", "deep/out"),
        *("deep/out/passwd", "sibling", "%2e%2e/file", "..\\file", "a" * 300, "a/" * 3000),
    ],
)
def test_no_path_leaves_a_key(served: Served, what: str, path: str) -> None:
    (served.data / "deep").mkdir()
    (served.data / ".gaia-local").write_text(SECRET)
    for name in ("out", "deep/out"):
        os.symlink("/etc", served.data / name)
    os.symlink("../file", served.data / "sibling")
    os.symlink("deep", served.data / "into")
    answer = served.get(what, "d:data/", path)
    assert answer.status_code in (400, 403, 404), answer.text
    assert SECRET not in answer.text
    assert "root:" not in answer.text


def test_a_key_that_is_a_link_or_lies_behind_one_is_not_opened(served: Served) -> None:
    made = served.gaia.path("w", "d:made")
    made.unlink()
    made.symlink_to("/etc/passwd")
    assert facts(served, "s")["d:made"]["kind"] == "link"
    for what in ("preview", ""):
        answer = served.get(what, "d:made")
        assert answer.status_code == 403
        assert "is a link" in answer.json()["error"]
    bucket = made.parent
    bucket.rename(bucket.parent / "away")
    bucket.symlink_to("away")
    assert served.get("", "d:file").status_code == 403
    assert facts(served, "s")["d:file"]["kind"] == "barred"


def test_special_files_are_not_opened(served: Served) -> None:
    os.mkfifo(served.data / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(served.data / "socket"))
        for name in ("fifo", "socket"):
            for what in ("", "preview"):
                began = monotonic()
                answer = served.get(what, "d:data/", name)
                assert answer.status_code == 403
                assert "no file" in answer.json()["error"]
                assert monotonic() - began < 5


def test_the_root_in_a_mapped_bucket_is_not_served(tmp_path: Path, make_gaia: MakeGaia) -> None:
    gaia = make_gaia(watch=False, buckets={"all": str(tmp_path)}, root=str(tmp_path / "root"))
    reads = command("c", "true", "a/")
    gaia.upload("w", {}, [reads], [step("s", "c", "k:x", inputs={"a/": "all:p/"})])
    (tmp_path / "p").mkdir()
    (tmp_path / "p/here").write_text("x")
    (tmp_path / "root2").symlink_to("root")
    gaia.merge("w", [step("t", "c", "all:y", inputs={"a/": "all:root/"})])
    with Server(gaia, port=0) as server:
        served = Served.__new__(Served)
        served.server = server
        assert served.get("directory", "all:p/").json()["entries"][0]["name"] == "here"
        for path in ("", "token", "storage", "state"):
            for what in ("directory", "", "archive", "preview"):
                assert served.get(what, "all:root/", path).status_code == 403


def test_what_is_exchanged_meanwhile_never_leads_out(served: Served) -> None:
    outside = served.data.parent.parent / "outside"
    outside.mkdir()
    (outside / "f").write_text(SECRET)
    inner = served.data / "inner"
    inner.mkdir()
    (inner / "f").write_text("fine")
    link = served.data / "link"
    link.symlink_to(outside)
    over = threading.Event()

    def exchange() -> None:
        aside = served.data / "aside"
        while not over.is_set():
            inner.rename(aside)
            link.rename(inner)
            inner.rename(link)
            aside.rename(inner)

    thread = threading.Thread(target=exchange)
    thread.start()
    seen = set()
    try:
        for _ in range(150):
            answer = served.get("", "d:data/", "inner/f")
            seen.add(answer.text if answer.status_code == 200 else str(answer.status_code))
    finally:
        over.set()
        thread.join()
    assert seen <= {"fine", "403", "404"}, seen


# ------------------------------------------------------------------------------ bytes of one file


def test_a_file_is_sent_apart_from_the_page(served: Served) -> None:
    (served.data / "x.html").write_text("<!doctype html><script>alert(1)</script>")
    (served.data / "x.svg").write_text("<svg onload='alert(1)'/>")
    (served.data / "x.png").write_bytes(PNG)
    (served.data / "x.pdf").write_bytes(b"%PDF-1.4\n")
    (served.data / "x.bin").write_bytes(bytes(range(256)))
    (served.data / "x.js").write_text("alert(1)")
    kinds = {
        "a.txt": "text/plain; charset=utf-8",
        "x.html": "text/plain; charset=utf-8",
        "x.js": "text/plain; charset=utf-8",
        "x.svg": "image/svg+xml",
        "x.png": "image/png",
        "x.pdf": "application/pdf",
        "x.bin": "application/octet-stream",
    }
    for name, media_type in kinds.items():
        answer = served.get("", "d:data/", name)
        assert answer.content == (served.data / name).read_bytes()
        assert answer.headers["content-type"] == media_type
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none';")
        assert "frame-ancestors 'none'" in policy
        assert "script" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        kept = served.get("", "d:data/", name, "&download=1")
        assert kept.headers["content-disposition"].startswith(f'attachment; filename="{name}"')
    framed = served.get("", "d:data/", "x.html", "&frame=1")
    assert framed.headers["content-type"] == "text/html; charset=utf-8"
    assert framed.headers["content-security-policy"].startswith("sandbox; default-src 'none';")
    assert "frame-ancestors 'self'" in framed.headers["content-security-policy"]
    assert framed.headers["x-frame-options"] == "SAMEORIGIN"
    viewed = served.get("", "d:data/", "x.pdf", "&frame=1").headers["content-security-policy"]
    assert viewed.startswith("sandbox; default-src 'none';")
    assert "object-src 'self'" in viewed


def test_other_answers_keep_their_headers(served: Served) -> None:
    for url in ("", "api/workflows", "page.js"):
        headers = requests.get(served.server.url + url, timeout=30).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"


def test_ranges(served: Served) -> None:
    whole = served.get("", "d:file")
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert whole.headers["accept-ranges"] == "bytes"
    tag = whole.headers["etag"]
    for asked, content in [
        ("bytes=0-3", b"0123"),
        ("bytes=7-", b"789"),
        ("bytes=-2", b"89"),
        ("bytes=8-99", b"89"),
        ("bytes=-99", b"0123456789"),
        ("bytes=9-9", b"9"),
    ]:
        answer = served.get("", "d:file", range=asked)
        assert (answer.status_code, answer.content) == (206, content)
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["content-range"].endswith("/10")
    assert served.get("", "d:file", range="bytes=2-3", if_range=tag).status_code == 206
    assert served.get("", "d:file", range="bytes=2-3", if_range='"old"').content == b"0123456789"
    assert served.get("", "d:file", if_none_match=tag).status_code == 304
    for asked in ("bytes=10-", "bytes=99-100", "bytes=-0"):
        answer = served.get("", "d:file", range=asked)
        assert answer.status_code == 416
        assert answer.headers["content-range"] == "bytes */10"
        assert answer.content == b""


@pytest.mark.parametrize(
    "asked",
    [
        *("bytes=5-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=--5", "lines=0-1", "bytes=0-1,3-4"),
        *("bytes=0-" + "9" * 400, "bytes=\xb2-", "bytes=0x1-", "bytes = 0-1", "x" * 4000),
        *("bytes=" + "0-0," * 2000, "bytes=-1e9", "bytes=+0-1", "bytes=0 - 1"),
    ],
)
def test_hostile_ranges_are_answered_with_the_whole(served: Served, asked: str) -> None:
    status, _, body = served.raw("GET", served.url("", "d:file"), {"Range": asked})
    assert (status, body) == (200, b"0123456789")


def test_head_tells_the_size_and_sends_nothing(served: Served) -> None:
    status, headers, body = served.raw("HEAD", served.url("", "d:file"), {})
    assert (status, headers["content-length"], body) == (200, "10", b"")
    status, headers, body = served.raw("HEAD", served.url("archive", "d:data/"), {})
    assert (status, headers["content-length"], body) == (200, None, b"")


def test_a_sparse_file_of_a_terabyte_is_looked_at_at_once(served: Served) -> None:
    with open(served.data / "huge", "wb") as file:
        file.truncate(10**12)
    began = monotonic()
    assert served.get("preview", "d:data/", "huge").json() == {"kind": "binary", "size": 10**12}
    answer = served.get("", "d:data/", "huge", range="bytes=-3")
    assert answer.content == bytes(3)
    assert answer.headers["content-range"] == f"bytes {10**12 - 3}-{10**12 - 1}/{10**12}"
    assert facts(served, "s")["d:data/"]["size"] == 10**12 + 6
    assert monotonic() - began < 5


@pytest.mark.parametrize("what", ["", "archive"])
def test_a_client_that_leaves_ends_the_reading(
    served: Served, what: str, wait_until: Callable[..., None]
) -> None:
    with open(served.data / "huge", "wb") as file:
        file.truncate(10**12)

    def is_open() -> bool:
        found = []
        for number in os.listdir("/proc/self/fd"):
            try:
                found.append(os.readlink(f"/proc/self/fd/{number}"))
            except OSError:
                continue
        return str(served.data / "huge") in found

    answer = requests.get(
        served.url(what, "d:data/", "huge" if what == "" else ""), stream=True, timeout=30
    )
    pieces = answer.iter_content(1 << 20)
    assert next(pieces)
    wait_until(is_open)
    answer.close()
    wait_until(lambda: not is_open())


def test_a_file_that_becomes_shorter_is_no_whole_answer(served: Served) -> None:
    big = served.data / "big"
    with open(big, "wb") as file:
        file.truncate(200_000_000)
    for what, path in (("", "big"), ("archive", "")):
        with open(big, "wb") as file:
            file.truncate(200_000_000)
        answer = requests.get(served.url(what, "d:data/", path), stream=True, timeout=30)
        got = answer.iter_content(1 << 16)
        while len(next(got)) < 10_000:  # the heads of an archive
            pass
        os.truncate(big, 10)
        with pytest.raises(requests.exceptions.RequestException):
            for _ in got:
                pass


# --------------------------------------------------------------------------------------- archives


def test_a_directory_is_a_tar_of_the_same_bytes_each_time(served: Served, tmp_path: Path) -> None:
    (served.data / "sub/empty").mkdir(parents=True)
    (served.data / "sub/run.sh").write_text("#!/bin/sh\n")
    (served.data / "sub/run.sh").chmod(0o755)
    (served.data / ("long" * 60)).write_text("x")
    os.symlink("../a.txt", served.data / "sub/up")
    os.symlink("/etc/passwd", served.data / "out")
    os.symlink("../../x", served.data / "sub/out")
    os.mkfifo(served.data / "pipe")
    answer = served.get("archive", "d:data/")
    assert answer.headers["content-type"] == "application/x-tar"
    assert 'filename="data.tar"' in answer.headers["content-disposition"]
    assert served.get("archive", "d:data/").content == answer.content
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        tar.extractall(tmp_path / "got", filter="data")
        assert all(member.uid == 0 and member.uname == "" for member in tar)
    got = tmp_path / "got/data"
    assert (got / "a.txt").read_text() == "hello\n"
    assert (got / "sub/up").read_text() == "hello\n"
    assert os.access(got / "sub/run.sh", os.X_OK)
    assert (got / "sub/empty").is_dir()
    assert sorted(os.listdir(got)) == sorted(["a.txt", "long" * 60, "sub"])
    told = (tmp_path / "got/data.left-out.txt").read_text()
    assert "data/out: it is a link that may lead out, to /etc/passwd" in told
    assert "data/sub/out: it is a link that may lead out" in told
    assert "data/pipe: it is a FIFO" in told
    inner = served.get("archive", "d:data/", "sub")
    with tarfile.open(fileobj=io.BytesIO(inner.content)) as tar:
        assert "sub/run.sh" in tar.getnames()
    assert served.get("archive", "d:file").status_code == 400
    assert served.get("", "d:data/").status_code == 400


@pytest.mark.parametrize(
    ("target", "depth", "inside"),
    [
        *(("a", 0, True), ("a/b", 0, True), ("../a", 1, True), ("..", 1, True), (".", 0, True)),
        *(("../a", 0, False), ("../../a", 1, False), ("/a", 5, False), ("", 0, False)),
        *(("a/../b", 3, False), ("./../../a", 1, False), ("//a", 1, False)),
    ],
)
def test_links_that_stay_inside(target: str, depth: int, inside: bool) -> None:
    assert stays_inside(target, depth) is inside


def test_a_deep_tree_is_archived_with_few_descriptors(served: Served) -> None:
    made = os.open(served.data, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d" * 20, dir_fd=made)
        inner = os.open("d" * 20, os.O_RDONLY, dir_fd=made)
        os.close(made)
        made = inner
    os.close(os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=made))
    os.close(made)
    content = served.get("archive", "d:data/").content
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert any(name.endswith("/end") for name in tar.getnames())


# --------------------------------------------------------------------------------------- previews


@pytest.mark.parametrize(
    ("name", "content", "kind", "encoding"),
    [
        ("x", b"", "empty", None),
        ("x", b"plain\n", "text", "utf-8"),
        ("x.csv", b"a,b\n1,2\n", "csv", "utf-8"),
        ("x.tsv", b"a\tb\n", "csv", "utf-8"),
        ("X.CSV", b"a;b\n", "csv", "utf-8"),
        ("x.json", b'{"a": [1]}', "json", "utf-8"),
        ("x", b' [1, 2, {"a": 12345678901234567890}]', "json", "utf-8"),
        ("x.json", b"{broken", "text", "utf-8"),
        ("x.json", b"[" * 100_000, "text", "utf-8"),
        ("x", b"{not json}", "text", "utf-8"),
        ("x.txt", PNG, "image", None),
        ("x.csv", b"\xff\xd8\xff\xe0", "image", None),
        ("x", b"RIFF....WEBPVP8", "image", None),
        ("x.png", b"no picture", "text", "utf-8"),
        ("x", b"%PDF-1.7 \x00", "pdf", None),
        ("x.html", b"<p>hi", "html", "utf-8"),
        ("x", b"\n <!DOCTYPE html><title>x", "html", "utf-8"),
        ("x", b"<?xml version='1.0'?><svg>", "image", "utf-8"),
        ("x.xml", b"<?xml version='1.0'?><other/>", "text", "utf-8"),
        ("x.txt", b"a\0b", "binary", None),
        ("x.txt", "größe".encode("latin-1"), "text", "latin-1"),
        ("x.txt", "größe".encode("utf-16"), "text", "utf-16"),
        ("x.txt", "\ufeffgröße".encode(), "text", "utf-8-sig"),
        ("x.txt", b"\x80\x81", "binary", None),
        ("x.txt", b"\x1b[31mred\x1b[0m", "text", "utf-8"),
    ],
)
def test_kinds_of_files(name: str, content: bytes, kind: str, encoding: str | None) -> None:
    seen = look(name, content, whole=True)
    assert (seen.kind, seen.encoding) == (kind, encoding)


def test_a_text_is_read_in_part_and_cut_at_no_character(served: Served) -> None:
    (served.data / "long.txt").write_text("ä" * 200_000 + "€" * 200_000)
    answer = served.get("preview", "d:data/", "long.txt").json()
    assert (answer["kind"], answer["cut"], answer["size"]) == ("text", True, 1_000_000)
    assert set(answer["text"]) == {"ä"}
    assert served.get("preview", "d:data/", "a.txt").json() == {
        "kind": "text",
        "text": "hello\n",
        "cut": False,
        "size": 6,
        "encoding": "utf-8",
    }
    assert served.get("preview", "d:data/").json() == {"kind": "directory"}


def test_files_need_the_token_as_all_else(make_gaia: MakeGaia) -> None:
    with Server(make_gaia(), port=0, token="t") as server:
        for path in ("files/w?key=a", "files/w/archive?key=a", "api/workflows/w/keys?step=s"):
            assert requests.get(server.url + path, timeout=30).status_code == 401

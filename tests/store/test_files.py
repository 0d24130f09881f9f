"""Files and trees: copies, fingerprints, fitness for the store, removal."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from gaia_local.errors import StorageError
from gaia_local.model.names import OWN
from gaia_local.store import copying, fingerprints, removal, storable
from support.trees import ODD_NAMES, as_nobody, other_disk, public, special, tree

__all__ = ["other_disk", "public"]

OLD = 1_000_000_000_123_456_789


# ------------------------------------------------------------------------------------- fingerprints


def test_touch_changes_the_quick_fingerprint_only(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("same")
    os.utime(path, ns=(OLD, OLD))
    before = fingerprints.fingerprint(str(path))
    os.utime(path, ns=(OLD, OLD + 1))
    after = fingerprints.fingerprint(str(path))
    assert before is not None and after is not None
    assert before.quick != after.quick
    assert before.digest == after.digest


@pytest.mark.parametrize("time", [14_000_000_000_000_000_000, -1, -(10**18)], ids=str)
def test_any_time_of_a_file_has_a_place_in_the_fingerprint(tmp_path: Path, time: int) -> None:
    """The first one is in the year 2413, beyond 64 bits with a sign."""
    (tmp_path / "a").write_text("same")
    seen = set()
    for later in (0, 1_000_000_000):
        os.utime(tmp_path / "a", ns=(time + later, time + later))
        assert os.stat(tmp_path / "a").st_mtime_ns == time + later
        for path in (tmp_path, tmp_path / "a"):
            seen.add(fingerprints.quick_fingerprint(str(path)))
    assert len(seen) == 4 and None not in seen


def test_new_content_changes_both(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    before = fingerprints.fingerprint(str(path))
    path.write_text("three")
    after = fingerprints.fingerprint(str(path))
    assert before is not None and after is not None
    assert before.quick != after.quick
    assert before.digest != after.digest


def test_content_of_the_same_size_and_time_changes_both(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    os.utime(path, ns=(OLD, OLD))
    before = fingerprints.fingerprint(str(path))
    path.write_text("two")
    os.utime(path, ns=(OLD, OLD))
    after = fingerprints.fingerprint(str(path))
    assert before is not None and after is not None
    assert before.quick != after.quick
    assert before.digest != after.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "new").write_text(""),
        lambda top: (top / "sub/a").unlink(),
        lambda top: (top / "sub/a").write_text("other"),
        lambda top: (top / "sub/a").rename(top / "sub/b"),
        lambda top: (top / "sub/deep").rmdir(),
        lambda top: ((top / "link").unlink(), (top / "link").symlink_to("nothing")),
        lambda top: ((top / "sub/deep").rmdir(), (top / "sub/deep").write_text("")),
    ],
    ids=[
        "added",
        "removed",
        "written",
        "renamed",
        "directory removed",
        "link turned",
        "directory becomes file",
    ],
)
def test_any_change_in_a_directory_changes_both_fingerprints(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    top = tmp_path / "top"
    (top / "sub/deep").mkdir(parents=True)
    (top / "sub/a").write_text("content")
    (top / "link").symlink_to("sub/a")
    before = fingerprints.fingerprint(str(top))
    assert fingerprints.fingerprint(str(top)) == before
    change(top)
    after = fingerprints.fingerprint(str(top))
    assert before is not None and after is not None
    assert before.quick != after.quick
    assert before.digest != after.digest


def test_a_digest_is_of_names_and_contents_not_of_where_they_are(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub/a").write_text("x")
    os.utime(tmp_path / "two/sub/a", ns=(OLD, OLD))
    assert fingerprints.digest(str(tmp_path / "one")) == fingerprints.digest(str(tmp_path / "two"))
    assert fingerprints.quick_fingerprint(str(tmp_path / "one")) != fingerprints.quick_fingerprint(
        str(tmp_path / "two")
    )


def test_names_and_contents_cannot_be_mistaken_for_each_other(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one/ab").write_text("c")
    (tmp_path / "two/a").write_text("bc")
    assert fingerprints.digest(str(tmp_path / "one")) != fingerprints.digest(str(tmp_path / "two"))


def test_flushing_changes_no_digest(tmp_path: Path) -> None:
    for number in range(70):  # past the number of files from which everything is flushed at once
        (tmp_path / f"f{number}").write_text(str(number))
    top = str(tmp_path)
    assert fingerprints.fingerprint(top, flush=True) == fingerprints.fingerprint(top)
    assert fingerprints.fingerprint(f"{top}/f1", flush=True) == fingerprints.fingerprint(
        f"{top}/f1"
    )


def test_the_engines_own_files_are_no_part_of_a_tree(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "a").write_text("x")
    before = fingerprints.fingerprint(str(top))
    (top / OWN).mkdir()
    (top / OWN / "task").write_text("y")
    assert fingerprints.fingerprint(str(top)) == before
    copying.copy(str(top), str(tmp_path / "copy"), follow=False)
    assert tree(tmp_path / "copy") == {"a": "x"}


def test_names_that_are_not_utf8_have_a_fingerprint(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    with open(os.fsencode(top) + b"/bad\xff", "wb"):
        pass
    assert fingerprints.fingerprint(str(top)) is not None
    copying.copy(str(top), str(tmp_path / "copy"), follow=False)
    assert os.listdir(os.fsencode(tmp_path / "copy")) == [b"bad\xff"]


def test_missing_files_have_no_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nothing")
    for name in ("none", "file/below", "loop", "dangling", "x" * 256):
        assert fingerprints.quick_fingerprint(str(tmp_path / name)) is None
        assert fingerprints.fingerprint(str(tmp_path / name)) is None


def test_a_link_has_the_fingerprint_of_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    assert fingerprints.fingerprint(str(tmp_path / "link")) == fingerprints.fingerprint(
        str(tmp_path / "file")
    )


def test_a_directory_that_may_not_be_entered_is_told(public: Path) -> None:
    def act() -> None:
        (public / "locked").mkdir()
        (public / "locked/file").touch()
        (public / "locked").chmod(0)
        with pytest.raises(StorageError, match="locked/file: can't be examined"):
            fingerprints.quick_fingerprint(str(public / "locked/file"))

    as_nobody(act)


@pytest.mark.parametrize("kind", ["FIFO", "socket"])
def test_special_files_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    special(top / "sub/odd", kind)
    with pytest.raises(StorageError, match=f"sub/odd is a {kind}"):
        storable.make_storable(str(top))
    with pytest.raises(StorageError, match=f"sub/odd is a {kind}"):
        storable.make_storable(str(top / "sub/odd"))
    with pytest.raises(StorageError, match=f"sub/odd is a {kind}"):
        copying.copy(str(top), str(tmp_path / "copy"), follow=True)
    with pytest.raises(StorageError, match=f"sub/odd is a {kind}"):
        fingerprints.fingerprint(str(top / "sub/odd"))  # and it doesn't wait for a writer


def test_a_device_is_refused_by_name() -> None:
    with pytest.raises(StorageError, match="/dev/null is a device"):
        storable.make_storable("/dev/null")


# ------------------------------------------------------------------------------------------- copies


def test_a_copy_keeps_content_time_and_what_is_executable(tmp_path: Path) -> None:
    source = tmp_path / "tool"
    source.write_bytes(b"#!/bin/sh\n")
    source.chmod(0o555)
    os.utime(source, ns=(OLD, OLD))
    copying.copy(str(source), str(tmp_path / "copy"), follow=False)
    status = os.stat(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"#!/bin/sh\n"
    assert status.st_mtime_ns == OLD
    assert stat.S_IMODE(status.st_mode) & 0o700 == 0o700
    assert fingerprints.digest(str(source)) == fingerprints.digest(str(tmp_path / "copy"))


def test_a_copy_is_private_and_writable(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_text("original")
    source.chmod(0o444)
    copying.copy(str(source), str(tmp_path / "copy"), follow=False)
    assert stat.S_IMODE(os.stat(tmp_path / "copy").st_mode) == 0o600
    (tmp_path / "copy").write_text("changed")
    assert source.read_text() == "original"


@pytest.mark.parametrize("inside", [False, True])
def test_a_copy_that_isnt_private_has_the_permissions(tmp_path: Path, inside: bool) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "a").write_text("original")
    (top / "a").chmod(0o444)
    source = top if inside else top / "a"
    copying.copy(str(source), str(tmp_path / "copy"), follow=False, private=False)
    copy = tmp_path / "copy" / "a" if inside else tmp_path / "copy"
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o644


@pytest.mark.parametrize("name", [*ODD_NAMES, "new\nline"])
def test_odd_names_are_copied(tmp_path: Path, name: str) -> None:
    top = tmp_path / "top"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / name).write_text(name)
    copying.copy(str(top), str(tmp_path / "copy"), follow=False)
    assert tree(tmp_path / "copy") == tree(top)
    assert fingerprints.digest(str(tmp_path / "copy")) == fingerprints.digest(str(top))


def test_links_are_copied_as_links(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "a").write_text("x")
    (top / "link").symlink_to("a")
    (top / "out").symlink_to("/etc")
    copying.copy(str(top), str(tmp_path / "copy"), follow=False)
    assert tree(tmp_path / "copy") == {"a": "x", "link": "-> a", "out": "-> /etc"}
    copying.copy(str(top / "link"), str(tmp_path / "single"), follow=False)
    assert os.readlink(tmp_path / "single") == "a"


def test_links_are_followed_where_asked_and_loops_end(tmp_path: Path) -> None:
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere"
    (top / "sub").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "data").write_text("d")
    (top / "a").write_text("x")
    (top / "file").symlink_to("a")
    (top / "directory").symlink_to(elsewhere)
    (top / "sub/up").symlink_to("..")
    (top / "dangling").symlink_to("nothing")
    (tmp_path / "entry").symlink_to("top")
    copying.copy(str(tmp_path / "entry"), str(tmp_path / "copy"), follow=True)
    assert tree(tmp_path / "copy") == {
        "a": "x",
        "file": "x",
        "directory": None,
        "directory/data": "d",
        "sub": None,
        "sub/up": "-> ..",
        "dangling": "-> nothing",
    }


def test_a_copy_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    with pytest.raises(FileExistsError):
        copying.copy(str(tmp_path / "a"), str(tmp_path / "b"), follow=False)
    assert (tmp_path / "b").read_text() == "old"


def test_big_files_with_holes_are_copied_in_no_time_and_keep_them(
    tmp_path: Path, other_disk: Path
) -> None:
    source = tmp_path / "big"
    with source.open("wb") as writer:
        writer.seek(5 << 30)
        writer.write(b"middle")
        writer.truncate(20 << 30)
    for target in (tmp_path / "copy", other_disk / "copy"):
        copying.copy(str(source), str(target), follow=False)
        status = os.stat(target)
        assert status.st_size == 20 << 30
        assert status.st_blocks * 512 < 1 << 20
        with target.open("rb") as reader:
            reader.seek((5 << 30) - 1)
            assert reader.read(8) == b"\0middle\0"


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, (1 << 20) + 1, 3_000_000])
def test_copies_are_exact(
    tmp_path: Path, other_disk: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a"
    source.write_bytes(os.urandom(size))
    copying.copy(str(source), str(tmp_path / "kernel"), follow=False)
    copying.copy(str(source), str(other_disk / "kernel"), follow=False)
    monkeypatch.delattr(os, "copy_file_range")
    copying.copy(str(source), str(tmp_path / "plain"), follow=False)
    for copy in (tmp_path / "kernel", other_disk / "kernel", tmp_path / "plain"):
        assert copy.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("hole", [False, True])
def test_a_range_is_what_is_left_put_where_the_writer_is(tmp_path: Path, hole: bool) -> None:
    content = b"x" * 5000 + b"\0" * 300_000 + b"y" * 10
    with (tmp_path / "a").open("wb") as writer:
        if hole:
            writer.write(content[:5000])
            writer.seek(300_000, os.SEEK_CUR)
            writer.write(content[-10:])
        else:
            writer.write(content)
    with (
        (tmp_path / "a").open("rb", buffering=0) as reader,
        (tmp_path / "b").open("wb", buffering=0) as writer_b,
    ):
        writer_b.write(b"head")
        reader.seek(100)
        copying.copy_range(reader.fileno(), writer_b.fileno())
    assert (tmp_path / "b").read_bytes() == b"head" + content[100:]


def test_a_file_that_ends_in_a_hole_keeps_its_size(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as writer:
        writer.write(b"data")
        writer.truncate(10_000_000)
    copying.copy(str(tmp_path / "a"), str(tmp_path / "b"), follow=False)
    assert (tmp_path / "b").read_bytes() == b"data" + bytes(10_000_000 - 4)


# ----------------------------------------------------------------------------------- settle, remove


def test_unreadable_outputs_become_readable(public: Path) -> None:
    def act() -> None:
        top = public / "top"
        (top / "sub").mkdir(parents=True)
        (top / "sub/file").write_text("x")
        (top / "sub/file").chmod(0)
        (top / "sub/link").symlink_to("/etc/shadow")
        (top / "sub").chmod(0)
        top.chmod(0o500)
        storable.make_storable(str(top))
        assert tree(top) == {"sub": None, "sub/file": "x", "sub/link": "-> /etc/shadow"}
        (top / "sub/new").touch()

    as_nobody(act)


def test_settling_keeps_what_is_executable(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("x")
    (tmp_path / "tool").chmod(0o351)
    storable.make_storable(str(tmp_path / "tool"))
    assert stat.S_IMODE(os.stat(tmp_path / "tool").st_mode) == 0o751


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_user_become_ours(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "file").touch()
    (top / "link").symlink_to("/etc/passwd")
    for path in (top, top / "file", top / "link"):
        os.lchown(path, 12345, 12345)
    storable.make_storable(str(top))
    assert {os.lstat(path).st_uid for path in (top, top / "file", top / "link")} == {0}


@pytest.mark.parametrize("mode", [0o000, 0o555, 0o444, 0o111])
def test_trees_with_locked_directories_are_removed(public: Path, mode: int) -> None:
    def act() -> None:
        top = public / "top"
        (top / "a/b/c").mkdir(parents=True)
        (top / "a/b/file").touch()
        (top / "a/link").symlink_to("/etc")
        for path in (top / "a/b/c", top / "a/b", top / "a", top):
            path.chmod(mode)
        removal.refuse_stuck(str(top))
        assert os.listdir(public) == ["top"]
        removal.remove(str(top))
        assert os.listdir(public) == []

    as_nobody(act)


def test_remove_does_not_follow_links(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "top").mkdir()
    (tmp_path / "top/link").symlink_to(kept)
    (tmp_path / "file").touch()
    for name in ("link", "top", "file", "nothing", "file/below"):
        removal.remove(str(tmp_path / name))
    assert tree(tmp_path) == {"kept": None, "kept/file": ""}


def test_files_that_cannot_be_removed_are_found_beforehand(tmp_path: Path) -> None:
    def act() -> None:
        with pytest.raises(PermissionError, match="/usr/bin/env"):
            removal.refuse_stuck("/usr/bin/env")

    as_nobody(act)
    (tmp_path / "top/empty").mkdir(parents=True)
    (tmp_path / "top/file").write_text("1")
    (tmp_path / "top/link").symlink_to("nowhere")
    before = tree(tmp_path)
    for name in ("top", "top/file", "top/link", "top/empty", "nothing", "top/file/below"):
        removal.refuse_stuck(str(tmp_path / name))
    assert tree(tmp_path) == before

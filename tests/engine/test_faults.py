"""Faults and limits: each error is reported, nothing is lost, and `run` goes on.

Lost answers and cut connections of a container runtime are in `test_docker_runtime` (its `Proxy`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from gaia_local import Gaia, GaiaError
from gaia_local.errors import DatabaseError, StorageError
from gaia_local.runtimes.docker.address import find_address
from gaia_local.runtimes.docker.connection import connect
from gaia_local.state import state_file
from gaia_local.store import watcher
from gaia_local.store.storage import Storage
from support.builders import COPY, command, step
from support.containers import client
from support.explaining import last_run
from support.fixtures import MakeGaia, WaitUntil
from support.gates import Fifo
from support.hands import Hands

__all__ = ["client"]

MB = 1 << 20


def messages(gaia: Gaia, workflow: str = "w") -> dict[str, str]:
    return {failure["step"]: failure["message"] or "" for failure in gaia.failures(workflow)}


def started(gaia: Gaia, workflow: str = "w") -> list[str]:
    return [event["task"] for event in gaia.events(workflow) if event["event"] == "step-start"]


def written(root: Path, event: str) -> int:
    """The number of events of a kind in the rows."""
    with contextlib.closing(sqlite3.connect(f"file:{root}/gaia.db?mode=ro", uri=True)) as database:
        return int(
            database.execute("select count(*) from events where event = ?", (event,)).fetchone()[0]
        )


def intact(root: Path) -> bool:
    with contextlib.closing(sqlite3.connect(root / "gaia.db")) as connection:
        return connection.execute("pragma integrity_check").fetchall() == [("ok",)]


@pytest.fixture
def gate(tmp_path: Path) -> Fifo:
    return Fifo(tmp_path / "gate")


# -------------------------------------------------------------------------------------------- disks


class Disk:
    """A small disk of the test's own."""

    def __init__(self, top: Path, size: int) -> None:
        self.top = top
        top.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={size}", "none")

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, str(self.top)], check=True, capture_output=True)

    def resize(self, size: int) -> None:
        self._mount("-o", f"remount,size={size}")

    def protect(self, readonly: bool) -> None:
        self._mount("-o", "remount," + ("ro" if readonly else "rw"))

    def fill(self, leave: int = 0) -> None:
        """Take up all room but `leave` bytes."""
        with (self.top / "ballast").open("wb") as ballast:
            while (room := self._room() - leave) > 0:
                with contextlib.suppress(OSError):
                    os.posix_fallocate(ballast.fileno(), os.fstat(ballast.fileno()).st_size, room)

    def _room(self) -> int:
        status = os.statvfs(self.top)
        return status.f_bavail * status.f_bsize

    def clear(self) -> None:
        (self.top / "ballast").unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.top)], check=True)


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[int], Disk]]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    made: list[Disk] = []

    def make(size: int) -> Disk:
        made.append(Disk(tmp_path / f"disk-{len(made)}", size))
        return made[-1]

    yield make
    for disk in made:
        disk.close()


def test_the_disk_is_full_while_inputs_are_staged(make_disk: Callable[[int], Disk]) -> None:
    disk = make_disk(20 * MB)
    with Gaia({"root": disk.top / "root", "runtime": "process"}) as gaia:
        big = command("big", f"head -c {4 * MB} /dev/zero > /out/x")
        gaia.upload("w", {}, [big, COPY], [step("big", "big", "d:big")])
        assert gaia.wait("w", 20)["state"] == "complete"
        disk.fill(leave=2 * MB)
        gaia.merge("w", [step("copy", "copy", "d:copy", "d:big")])
        assert gaia.wait("w", 20)["state"] == "error"
        assert "input 'd:big'" in messages(gaia)["copy"]
        assert "No space left on device; make room" in messages(gaia)["copy"]
        assert gaia.events("w")[-1]["event"] == "task-error"
        disk.clear()
        gaia.run("w")
        assert gaia.wait("w", 20)["state"] == "complete"
        assert gaia.path("w", "d:copy").stat().st_size == 4 * MB
    assert intact(disk.top / "root")


def test_the_disk_is_full_while_outputs_are_published(
    make_disk: Callable[[int], Disk], make_gaia: MakeGaia
) -> None:
    """The first output fits, the second doesn't: neither is stored."""
    disk = make_disk(3 * MB)
    gaia = make_gaia(buckets={"b": disk.top})
    two = command(
        "two", f"head -c {2 * MB} /dev/zero > /out/x; cp /out/x /out/y", x="/out/x", y="/out/y"
    )
    gaia.upload(
        "w", {}, [two], [{"name": "two", "command": "two", "outputs": {"x": "b:x", "y": "b:y"}}]
    )
    assert gaia.wait("w", 20)["state"] == "error"
    assert "can't be stored" in messages(gaia)["two"]
    assert "No space left on device; make room" in messages(gaia)["two"]
    assert gaia.failures("w")[0]["state"] == "exception"
    assert not [path for path in disk.top.rglob("*") if path.is_file()]
    disk.resize(8 * MB)
    gaia.run("w")
    assert gaia.wait("w", 20)["state"] == "complete"
    assert [gaia.path("w", f"b:{name}").stat().st_size for name in "xy"] == [2 * MB, 2 * MB]


@pytest.mark.parametrize("repaired", ["while the engine is open", "after it was closed"])
def test_the_disk_is_full_while_the_database_is_written(
    make_disk: Callable[[int], Disk],
    gate: Fifo,
    wait_until: WaitUntil,
    repaired: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = make_disk(8 * MB)
    config = {"root": disk.top / "root", "runtime": "process", "watch": False}
    first = command("first", f"echo hi > /out/x; echo up; {gate.hold}")
    later = [
        step("second", "copy", "d:second", "d:first"),
        step("third", "copy", "d:third", "d:second"),
    ]
    with Gaia(config) as gaia:
        gaia.upload("w", {}, [first, COPY], [step("first", "first", "d:first"), *later])
        wait_until(lambda: gaia.logs("w", "first") == "up\n")
        wait_until(lambda: written(disk.top / "root", "step-start"))
        disk.fill()
        gate.open()
        with pytest.raises(
            DatabaseError,
            match=r"'w' starts nothing more: .* disk is full; make room on its disk; `run`",
        ):
            gaia.wait("w", 20)
        assert gaia.status("w")["state"] == "halted"
        assert "make room" in gaia.status("w")["status"]["error"]
        assert gaia.progress("w") == {
            "state": "halted",
            "steps": 3,
            "done": 1,
            "running": 0,
            "failed": 0,
            "waiting": 2,
        }
        assert gaia.path("w", "d:first").read_text() == "hi\n"
        assert {"data-complete", "step-complete", "flow-halted"} <= {
            event["event"] for event in gaia.events("w")
        }
        assert last_run(gaia, "w", "first")["state"] == "complete"
        with pytest.raises(DatabaseError, match="full"):
            gaia.run("w")
        if repaired == "while the engine is open":
            disk.clear()
            gaia.run("w")
            assert gaia.wait("w", 20)["state"] == "complete"
            assert "error" not in gaia.status("w")["status"]
    if repaired == "after it was closed":
        assert "the latest results could not be recorded" in caplog.text
        disk.clear()
    with Gaia(config) as gaia:
        if repaired == "after it was closed":
            assert gaia.status("w")["state"] == "halted"
            gaia.run("w")
            gate.open()
            assert gaia.wait("w", 20)["state"] == "complete"
        again = ["first"] if repaired == "after it was closed" else []
        assert started(gaia) == [*again, "first", "second", "third"]
        ended = [event["task"] for event in gaia.events("w") if event["event"] == "step-complete"]
        assert ended == ["first", "second", "third"]
    assert intact(disk.top / "root")


def test_calls_on_a_full_disk_are_refused_and_change_nothing(
    make_disk: Callable[[int], Disk], wait_until: WaitUntil
) -> None:
    disk = make_disk(8 * MB)

    def fill() -> None:
        # A Task's files go after it was reported.
        wait_until(lambda: not list((disk.top / "root/staging").iterdir()))
        disk.fill()

    config = {"root": disk.top / "root", "runtime": "process", "watch": False}
    with Gaia(config) as gaia:
        gaia.upload("w", {}, [command("make", "echo 1 > /out/x"), COPY], [step("a", "make", "d:a")])
        gaia.wait("w", 20)
        before = gaia.status("w", debug=True)
        fill()
        calls: list[Callable[[], object]] = [
            lambda: gaia.upload("v", {}, [COPY], []),
            lambda: gaia.merge("w", [step("b", "copy", "d:b", "d:a")]),
            lambda: gaia.command("w", [command("make", "echo 2 > /out/x")]),
            lambda: gaia.expire("w", ["a"]),
            lambda: gaia.delete("w"),
        ]
        for call in calls[:-1]:
            with pytest.raises(DatabaseError, match="full; make room"):
                call()
            assert gaia.status("w", debug=True) == before
        assert list(gaia.workflows()["workflows"]) == ["w"]
        disk.clear()
        for call in calls[:-1]:
            call()
        assert gaia.wait("w", 20)["state"] == "complete"
        assert gaia.path("w", "d:b").read_text() == "2\n"
        fill()
        with pytest.raises(DatabaseError, match="full; make room"):
            calls[-1]()
        disk.clear()
        calls[-1]()
        assert list(gaia.workflows()["workflows"]) == ["v"]
    assert intact(disk.top / "root")


# ----------------------------------------------------------------------------------------- deleting


TREE = command(
    "tree",
    "mkdir /out/x/empty /out/x/in; for i in 1 2 3; do echo $i > /out/x/in/$i; done",
    x="/out/x/",
)


@pytest.fixture
def stuck(make_disk: Callable[[int], Disk]) -> Iterator[Callable[[str, Path], None]]:
    """Makes a path one that can't be removed, until `undo` or the end of the test."""
    with contextlib.ExitStack() as undo:

        def stick(way: str, path: Path) -> None:
            if way == "undo":
                undo.close()
            elif way == "immutable":
                subprocess.run(["chattr", "+i", str(path)], check=True)
                undo.callback(subprocess.run, ["chattr", "-i", str(path)], check=True)
            elif way == "mount":
                subprocess.run(["mount", "--bind", str(path), str(path)], check=True)
                undo.callback(subprocess.run, ["umount", str(path)], check=True)
            else:
                stick("mount", path)
                subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)

        yield stick


def kept(root: Path) -> list[Path]:
    """All that lies in the store, and all logs."""
    return sorted([*(root / "storage").rglob("*"), *(root / "logs").rglob("*")])


@pytest.mark.parametrize(
    ("way", "what"),
    [
        ("immutable", "d/tree/in/2"),
        ("immutable", "d/tree/in"),
        ("immutable", "d/tree/empty"),
        ("immutable", "."),
        ("read-only", "d/tree/in"),
        ("mount", "d/tree/in"),
        ("mount", "."),
    ],
)
@pytest.mark.parametrize("part", ["storage", "logs"])
def test_a_file_that_cannot_be_removed_keeps_the_whole_workflow(
    make_gaia: MakeGaia, stuck: Callable[[str, Path], None], way: str, what: str, part: str
) -> None:
    gaia = make_gaia()
    gaia_root = gaia.path("w", "d").parent.parent.parent
    gaia.upload("w", {}, [TREE], [step("t", "tree", "d:tree/")])
    assert gaia.wait("w", 20)["state"] == "complete"
    if part == "logs":  # with any content
        (gaia_root / "storage/w/d").rename(gaia_root / "logs/w/d")
    before = kept(gaia_root)
    place = gaia_root / part / "w" / what
    stuck(way, place)
    for _ in range(2):
        with pytest.raises(GaiaError, match="can't be removed") as refusal:
            gaia.delete("w", data=True)
        assert str(place) in str(refusal.value)
        assert kept(gaia_root) == before
        assert list(gaia.workflows()["workflows"]) == ["w"]
    if part == "storage":
        assert gaia.run("w") == {"run": "w"}
        assert gaia.wait("w", 20)["state"] == "complete"
        assert started(gaia) == ["t"]
    stuck("undo", place)
    gaia.delete("w", data=True)
    assert gaia.workflows() == {"workflows": {}}
    assert kept(gaia_root) == []


def test_a_disk_that_refuses_while_files_are_removed_keeps_the_workflow(
    make_gaia: MakeGaia, gaia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaia = make_gaia(watch=False)
    gaia.upload("w", {}, [TREE], [step("t", "tree", "d:tree/")])
    assert gaia.wait("w", 20)["state"] == "complete"
    unlink = os.unlink

    def refuse(path: Any, *, dir_fd: int | None = None) -> None:
        if str(path).endswith("2"):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        unlink(path, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(
            GaiaError, match=r"/2' can't be removed: Operation not permitted; .*delete it again"
        ):
            gaia.delete("w", data=True)
    assert gaia.status("w")["state"] == "halted"
    gaia.delete("w", data=True)
    assert kept(gaia_root) == []
    assert gaia.workflows() == {"workflows": {}}


def test_half_of_a_directory_that_was_being_deleted_is_no_output(
    make_gaia: MakeGaia, gaia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delete that is interrupted, or refused midway: the files left by it don't count."""
    gaia, definitions = make_gaia(), ([TREE], [step("t", "tree", "d:tree/")])
    gaia.upload("w", {}, *definitions)
    gaia.wait("w", 20)
    unlink = os.unlink

    def interrupted(path: Any, *, dir_fd: int | None = None) -> None:
        if str(path).endswith("2"):
            raise KeyboardInterrupt
        unlink(path, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gaia.delete("w", data=True)
    gaia.run("w")
    assert gaia.wait("w", 20)["state"] == "complete"
    assert started(gaia) == ["t", "t"]
    assert sorted(os.listdir(gaia.path("w", "d:tree/in"))) == ["1", "2", "3"]
    gaia.close()
    with Gaia({"root": gaia_root, "runtime": "process"}) as gaia:
        gaia.run("w")
        assert os.listdir(gaia_root / "storage") == ["w"]


def test_opening_on_a_full_disk(make_disk: Callable[[int], Disk]) -> None:
    disk = make_disk(4 * MB)
    disk.fill()
    config = {"root": disk.top / "root", "runtime": "process"}
    with pytest.raises(GaiaError, match=r"full|No space"), Gaia(config) as gaia:
        gaia.upload("w", {}, [command("make", "echo 1 > /out/x")], [step("a", "make", "d:a")])
    with Gaia(config) as gaia:
        assert gaia.workflows() == {"workflows": {}}
        disk.clear()
        gaia.upload("w", {}, [command("make", "echo 1 > /out/x")], [step("a", "make", "d:a")])
        assert gaia.wait("w", 20)["state"] == "complete"


@pytest.mark.parametrize("state", ["complete", "running"])
def test_the_root_becomes_read_only_and_writable_again(
    make_disk: Callable[[int], Disk], state: str
) -> None:
    disk = make_disk(8 * MB)
    config = {"root": disk.top / "root", "runtime": "process"}
    with Gaia(config) as gaia:
        gaia.upload("w", {}, [command("make", "echo 1 > /out/x"), COPY], [step("a", "make", "d:a")])
        gaia.wait("w", 20)
        events = gaia.events("w")
    if state == "running":  # as an engine leaves it that was killed
        with contextlib.closing(sqlite3.connect(disk.top / "root/gaia.db")) as connection:
            connection.execute("update workflows set state = 'running'")
            connection.commit()
    disk.protect(True)
    with Gaia(config) as gaia:
        assert gaia.status("w")["state"] == "complete"
        assert gaia.events("w") == events
        calls: list[Callable[[], object]] = [lambda: gaia.run("w"), lambda: gaia.expire("w", ["a"])]
        for call in calls:
            with pytest.raises(StorageError, match="Read-only file system"):
                call()
        disk.protect(False)
        gaia.merge("w", [step("b", "copy", "d:b", "d:a")])
        assert gaia.wait("w", 20)["state"] == "complete"
        assert started(gaia) == ["a", "b"]


def test_a_bucket_becomes_read_only_while_a_step_runs(
    make_disk: Callable[[int], Disk], make_gaia: MakeGaia, gate: Fifo, wait_until: WaitUntil
) -> None:
    disk = make_disk(MB)
    gaia = make_gaia(buckets={"b": disk.top})
    held = command("held", f"echo 1 > /out/x; echo up; {gate.hold}")
    gaia.upload("w", {}, [held, COPY], [step("a", "held", "b:a"), step("b", "copy", "d:b", "b:a")])
    wait_until(lambda: gaia.logs("w", "a") == "up\n")
    disk.protect(True)
    gate.open()
    assert gaia.wait("w", 20)["state"] == "error"
    assert (
        "output 'b:a' can't be stored" in messages(gaia)["a"] or "Read-only" in messages(gaia)["a"]
    )
    assert "Read-only file system" in messages(gaia)["a"]
    disk.protect(False)
    gaia.run("w")
    gate.open()
    assert gaia.wait("w", 20)["state"] == "complete"
    assert started(gaia) == ["a", "a", "b"]


# ----------------------------------------------------------------------------------------- watching


@pytest.mark.parametrize("how", ["moved away and back", "removed and made anew"])
def test_a_watched_directory_vanishes_and_comes_back(
    tmp_path: Path,
    make_gaia: MakeGaia,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    monkeypatch.setattr(watcher, "CHECK_SECONDS", 0.02)
    bucket, away = tmp_path / "bucket", tmp_path / "away"
    bucket.mkdir()
    (bucket / "a").write_text("1")
    gaia = make_gaia(buckets={"b": bucket})
    gaia.upload("w", {}, [COPY], [step("s", "copy", "d:s", "b:a")])
    assert gaia.wait("w", 20)["state"] == "complete"
    if how == "moved away and back":
        bucket.rename(away)
    else:
        (bucket / "a").unlink()
        bucket.rmdir()
    wait_until(lambda: gaia.status("w")["state"] == "incomplete")
    assert gaia.status("w")["waiting-inputs"] == ["b:a"]
    if how == "moved away and back":
        away.rename(bucket)
    else:
        bucket.mkdir()
        (bucket / "a").write_text("1")
    wait_until(lambda: gaia.status("w")["state"] == "complete")
    assert started(gaia) == ["s"]  # the input is unchanged
    (bucket / "a").write_text("2")
    wait_until(lambda: started(gaia) == ["s", "s"])
    assert gaia.wait("w", 20)["state"] == "complete"
    assert gaia.path("w", "d:s").read_text() == "2"


def test_too_few_watches(tmp_path: Path) -> None:
    """In a user namespace, which has its own limit: one warning; files are looked at instead."""
    tried = subprocess.run(
        ["unshare", "--user", "--map-root-user", "true"], capture_output=True, check=False
    )
    if tried.returncode != 0:
        pytest.skip(f"no user namespaces here: {tried.stderr.decode()}")
    script = f"""
        import logging, pathlib, sys, time
        pathlib.Path("/proc/sys/user/max_inotify_watches").write_text("3")
        from gaia_local import Gaia
        from gaia_local.store import watcher
        watcher.POLL = 0.05
        logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
        root = pathlib.Path({str(tmp_path / "root")!r})
        source = pathlib.Path({str(tmp_path / "bucket/a")!r})
        for n in range(8):
            (source.parent / str(n)).mkdir(parents=True)
        source.write_text("1")
        buckets = {{"b": source.parent}}
        with Gaia({{"root": root, "runtime": "process", "buckets": buckets}}) as gaia:
            gaia.upload("w", {{}}, [{COPY!r}], [{step("s", "copy", "d:s", "b:a")!r}])
            print(gaia.wait("w", 20)["state"])
            source.write_text("two")
            end = time.monotonic() + 10
            while gaia.path("w", "d:s").read_text() != "two" and time.monotonic() < end:
                time.sleep(0.01)
            print(gaia.wait("w", 20)["state"], gaia.path("w", "d:s").read_text())
    """
    ran = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in ran.stdout.splitlines() if "images are ignored" not in line]
    assert len(lines) == 3, ran.stdout + ran.stderr
    assert "raise fs.inotify.max_user_watches" in lines[0]
    assert lines[1:] == ["complete", "complete two"]


# ------------------------------------------------------------------------------------- the database


@pytest.fixture
def hands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hands]:
    """A workflow driven by hand, whose database waits for a lock but a moment."""
    monkeypatch.setattr(state_file, "LOCK_TIMEOUT_SECONDS", 0.02)
    made = Hands(tmp_path / "root")
    made.command(command("src", "x"), command("one", "x", "a"))
    yield made
    made.close()


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """Another program holds the database."""
    with contextlib.closing(sqlite3.connect(root / "gaia.db", isolation_level=None)) as foreign:
        foreign.execute("begin exclusive")
        yield
        foreign.execute("rollback")


def test_a_database_held_by_another_program_is_explained(hands: Hands) -> None:
    hands.merge(step("a", "src", "k:a"))
    before = hands.status()
    with held(hands.storage.root):
        calls: list[Callable[[], None]] = [
            lambda: hands.merge(step("b", "src", "k:b")),
            lambda: hands.scheduler.expire("w", ["a"]),
        ]
        for call in calls:
            with pytest.raises(
                DatabaseError,
                match=r"database is locked; another process has held it for .* end it",
            ):
                call()
            assert hands.status() == before
    assert hands.runs == ["a"]
    hands.merge(step("b", "src", "k:b"))
    assert hands.runs == ["a", "b"]


def test_steps_that_end_while_the_database_is_locked(hands: Hands) -> None:
    hands.merge(step("a", "src", "k:a"), step("b", "one", "k:b", "k:a"), step("c", "src", "k:c"))
    hands.start("a")
    with held(hands.storage.root):
        hands.complete("a")
        assert (hands.runs, hands.state) == (["c"], "running")  # its Task goes on, none starts
        hands.fail("c")
        assert (hands.runs, hands.state) == ([], "halted")
        with pytest.raises(DatabaseError, match=r"'w' starts nothing more: .*locked"):
            hands.scheduler.wait("w", 0)
        with pytest.raises(DatabaseError, match="locked"):
            hands.scheduler.run("w")
        told = [event["event"] for event in hands.scheduler.events("w")]
        assert (hands.runs, hands.state) == ([], "halted")
    hands.scheduler.run("w")
    assert hands.runs == ["b", "c"]
    assert [event["event"] for event in hands.scheduler.events("w")] == told
    assert told.count("step-complete") == told.count("step-error") == 1
    hands.complete("b")
    hands.complete("c")
    assert hands.scheduler.wait("w", 0)
    assert hands.state == "complete"


def test_the_workflow_goes_on_when_the_database_is_writable_again(hands: Hands) -> None:
    hands.merge(step("a", "src", "k:a"), step("b", "one", "k:b", "k:a"), step("c", "src", "k:c"))
    with held(hands.storage.root):
        hands.complete("a")
        assert hands.runs == ["c"]
    hands.complete("c")
    assert (hands.runs, hands.state) == (["b"], "running")


def test_a_step_that_was_to_start_is_cancelled_before_it_could(hands: Hands) -> None:
    hands.merge(step("a", "src", "k:a"), step("b", "one", "k:b", "k:a"))
    with held(hands.storage.root):
        hands.complete("a")
    hands.did()
    hands.scheduler.expire("w", ["a"])
    assert hands.did() == [("start", "a")]
    hands.complete("a")
    hands.complete("b")
    assert hands.state == "complete"


def test_halt_stops_what_runs_though_it_cannot_be_written(hands: Hands) -> None:
    hands.merge(step("a", "src", "k:a"))
    with held(hands.storage.root):
        with pytest.raises(DatabaseError, match="locked"):
            hands.scheduler.halt("w")
        assert (hands.runs, hands.state) == ([], "halted")
    hands.scheduler.run("w")
    assert hands.runs == ["a"]


def test_a_refused_merge_cancels_nothing(hands: Hands) -> None:
    hands.merge(step("a", "src", "k:a"))
    hands.start("a")
    hands.did()
    with held(hands.storage.root), pytest.raises(DatabaseError, match="locked"):
        hands.merge(step("a", "src", "k:other"))
    assert hands.did() == []
    hands.complete("a")
    assert hands.state == "complete"
    assert Path(hands.storage.path("w", "k:a")).exists()


def test_a_decision_that_cannot_be_made_is_told(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails while the engine inspects files for the next decision."""

    def fail(*_: object) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    hands.merge(step("a", "src", "k:d/a"), step("b", "one", "k:b", "k:d/"))
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "quick_fingerprint", fail)
        hands.complete("a")
        assert (hands.runs, hands.state) == ([], "halted")
        with pytest.raises(StorageError, match=r"'w' starts nothing more: .*Input/output error"):
            hands.scheduler.wait("w", 0)
        with pytest.raises(OSError, match="Input/output error"):
            hands.scheduler.run("w")
    hands.scheduler.run("w")
    assert hands.runs == ["b"]


def make_root(root: Path) -> None:
    with Gaia({"root": root, "runtime": "process", "watch": False}) as gaia:
        made = [command("make", "echo 1 > /out/x"), COPY]
        gaia.upload("w", {}, made, [step("a", "make", "d:a"), step("b", "copy", "d:b", "d:a")])
        assert gaia.wait("w", 20)["state"] == "complete"


def use(root: Path) -> None:
    """Every way to read, and one to change."""
    with Gaia({"root": root, "runtime": "process", "watch": False}) as gaia:
        gaia.workflows()
        gaia.status("w", debug=True)
        gaia.explain("w", "a")
        gaia.events("w")
        gaia.run("w")
        gaia.wait("w", 20)


def test_a_damaged_database(tmp_path: Path) -> None:
    """With any damage, it works, or a `GaiaError` gives the reason; the store stays."""
    make_root(tmp_path)
    path, whole = tmp_path / "gaia.db", (tmp_path / "gaia.db").read_bytes()
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(DatabaseError, match=r"gaia\.db.*it is damaged: restore a copy of it"):
        use(tmp_path)
    dice, refused = random.Random(4), 0
    for _ in range(40):
        damaged = bytearray(whole)
        at = dice.randrange(100, len(damaged))
        length = dice.choice([1, 20, 4096])
        damaged[at : at + length] = dice.randbytes(length)
        path.write_bytes(damaged[: len(whole)])
        try:
            use(tmp_path)
        except GaiaError:
            refused += 1
    assert refused > 5
    path.write_bytes(whole)
    use(tmp_path)
    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        assert gaia.path("w", "d:b").read_text() == "1\n"
        assert gaia.wait("w", 20)["state"] == "complete"


def test_a_damaged_database_that_was_moved_away(tmp_path: Path) -> None:
    make_root(tmp_path)
    (tmp_path / "gaia.db").rename(tmp_path / "damaged")
    with Gaia({"root": tmp_path, "runtime": "process"}) as gaia:
        made = [command("make", "echo 1 > /out/x"), COPY]
        gaia.upload("w", {}, made, [step("a", "make", "d:a"), step("b", "copy", "d:b", "d:a")])
        assert gaia.wait("w", 20)["state"] == "complete"
        assert started(gaia) == []


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    make_root(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "gaia.db")) as connection:
        connection.execute("pragma user_version = 99")
    with pytest.raises(DatabaseError, match=r"written by a newer gaia_local .*version 99.*upgrade"):
        use(tmp_path)


def test_ten_processes_read_while_a_workflow_runs(tmp_path: Path) -> None:
    """From before the root exists, through two openings, to the end: nobody gets an error."""
    root, stop = tmp_path / "root", tmp_path / "stop"
    script = f"""
        import os
        from gaia_local import Gaia
        rounds, states = 0, set()
        print("up", flush=True)
        while not os.path.exists({str(stop)!r}):
            with Gaia({{"root": {str(root)!r}, "runtime": "process"}}) as gaia:
                if "w" in gaia.workflows()["workflows"]:
                    states.add(gaia.status("w", debug=True)["state"])
                    gaia.events("w")
                    gaia.progress("w")
                    rounds += 1
        print(rounds, *sorted(states))
    """
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(10)
    ]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "up\n"
        config = {"root": root, "runtime": "process", "workers": 2, "watch": False}
        chain = [step(f"s{n}", "copy", f"d:{n + 1}", f"d:{n}") for n in range(40)]
        for half in (chain[:20], chain[20:]):
            with Gaia(config) as gaia:
                if half[0]["name"] == "s0":
                    gaia.path("w", "d:0").parent.mkdir(parents=True)
                    gaia.path("w", "d:0").write_text("1")
                    gaia.command("w", [COPY])
                gaia.merge("w", half)
                assert gaia.wait("w", 60)["state"] == "complete"
        with Gaia(config) as gaia:
            assert started(gaia) == [f"s{n}" for n in range(40)]
    finally:
        stop.touch()
        said = [reader.communicate() for reader in readers]
    assert [errors for _, errors in said] == [""] * 10
    assert [reader.returncode for reader in readers] == [0] * 10
    assert sum(int(out.split()[0]) for out, _ in said) >= 10
    assert any("running" in out for out, _ in said)
    assert intact(root)


# ------------------------------------------------------------------------------------------- limits


def growth(
    root: Path,
    runtime: str,
    commands: list[dict[str, Any]],
    steps: list[dict[str, Any]],
    state: str,
) -> int:
    """The bytes of memory that this workflow takes more than a small one, in its own process."""
    script = f"""
        import json, resource, sys
        from gaia_local import Gaia
        commands, steps, small = json.load(sys.stdin)
        with Gaia({{"root": {str(root)!r}, "runtime": {runtime!r}, "workers": 2}}) as gaia:
            outputs = {{"x": "d:s", "log": "d:l"}}
            one = {{"name": "s", "command": "small", "outputs": outputs}}
            gaia.upload("small", {{}}, [small], [one])
            assert gaia.wait("small", 60)["state"] == "complete", gaia.failures("small")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            gaia.upload("w", {{}}, commands, steps)
            state = gaia.wait("w", 100)["state"]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(json.dumps([state, gaia.failures("w"), peak - before]))
    """
    small = command(
        "small", "echo 1; echo 1 > /out/x", image=commands[0]["image"], x="/out/x", log=">>"
    )
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        input=json.dumps([commands, steps, small]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    ended, failures, kilobytes = json.loads(ran.stdout)
    assert ended == state, failures
    return int(kilobytes) * 1024


@pytest.mark.parametrize("runtime", ["process", "docker"])
def test_a_hundred_megabytes_of_log(
    tmp_path: Path, runtime: str, request: pytest.FixtureRequest
) -> None:
    image = request.getfixturevalue("docker_image") if runtime == "docker" else "none"
    line = "x" * 998
    talk = command(
        "talk", f"yes {line} | head -c 100000000; echo end", image=image, log=">>", all=">"
    )
    steps = [{"name": "s", "command": "talk", "outputs": {"log": "d:log", "all": "d:all"}}]
    assert growth(tmp_path, runtime, [talk], steps, "complete") < 24 * MB
    with Gaia({"root": tmp_path, "runtime": runtime}) as gaia:
        said = gaia.path("w", "d:all")
        assert said.stat().st_size == 100_000_004
        with said.open("rb") as reader:
            reader.seek(-5, os.SEEK_END)
            assert reader.read() == b"xend\n"
        assert gaia.path("w", "d:log").stat().st_size > 100_000_004


@pytest.mark.parametrize("runtime", ["process", "docker"])
def test_a_line_of_fifty_megabytes(
    tmp_path: Path, runtime: str, request: pytest.FixtureRequest
) -> None:
    image = request.getfixturevalue("docker_image") if runtime == "docker" else "none"
    talk = command(
        "talk",
        "head -c 50000000 /dev/zero | tr '\\0' x; echo; echo sorry; exit 3",
        image=image,
        log=">>",
    )
    steps = [{"name": "s", "command": "talk", "outputs": {"log": "d:log"}}]
    assert growth(tmp_path, runtime, [talk], steps, "error") < 24 * MB
    with Gaia({"root": tmp_path, "runtime": runtime}) as gaia:
        (told,) = [event for event in gaia.events("w") if event["event"] == "step-error"]
        assert told["log"].endswith("xxx\nsorry")
        assert len(told["log"]) <= 100_000
        assert gaia.path("w", "d:log").stat().st_size > 50_000_000


def test_twenty_thousand_files_in_one_directory(tmp_path: Path) -> None:
    many = command("many", "cd /out/d && seq 20000 | xargs touch && echo 1 > 1", x="/out/d/")
    count = command("count", "ls /in/a/ | wc -l > /out/x", x="/out/x")
    count["inputs"] = {"a": "/in/a/"}
    steps = [step("many", "many", "d:many/"), step("count", "count", "d:count", "d:many/")]
    assert growth(tmp_path, "process", [many, count], steps, "complete") < 64 * MB
    with Gaia({"root": tmp_path, "runtime": "process", "watch": False}) as gaia:
        assert gaia.path("w", "d:count").read_text().strip() == "20000"
        gaia.run("w")  # looks at all of them
        assert gaia.wait("w", 20)["state"] == "complete"
        assert started(gaia) == ["many", "count"]


@pytest.mark.parametrize("runtime", ["process", "docker"])
def test_five_hundred_inputs(tmp_path: Path, runtime: str, request: pytest.FixtureRequest) -> None:
    image = request.getfixturevalue("docker_image") if runtime == "docker" else "none"
    names = [f"i{n}" for n in range(500)]
    cat = command(
        "cat", f"cat {' '.join(f'/in/{name}' for name in names)} > /out/x", *names, image=image
    )
    with Gaia({"root": tmp_path, "runtime": runtime, "watch": False}) as gaia:
        gaia.path("w", "in:i0").parent.mkdir(parents=True)
        for n, name in enumerate(names):
            gaia.path("w", f"in:{name}").write_text(f"{n}\n")
        gaia.upload(
            "w", {}, [cat], [step("s", "cat", "d:x", inputs={name: f"in:{name}" for name in names})]
        )
        assert gaia.wait("w", 60)["state"] == "complete", messages(gaia)
        assert gaia.path("w", "d:x").read_text().split() == [str(n) for n in range(500)]


ODD = [
    "with space",
    'quote\'s "both"',
    "é – 漢字",
    "-rf",
    "$(x) `y` *",
    "a:b,c;d",
    "back\\slash",
    "new\nline",
    "x" * 255,
]


@pytest.mark.parametrize("runtime", ["process", "docker"])
def test_odd_names(tmp_path: Path, runtime: str, request: pytest.FixtureRequest) -> None:
    """As storage keys and inside of directories, through two Steps."""
    image = request.getfixturevalue("docker_image") if runtime == "docker" else "none"
    keys = [name for name in ODD if name.isprintable()]
    spread = command(
        "first", "; ".join(f"cp /in/a /out/{n}" for n in range(len(keys))), "a", image=image
    )
    spread["outputs"] = {f"x{n}": f"/out/{n}" for n in range(len(keys))}
    second = command(
        "second", "; ".join(f"cp /in/{n} /out/{n}" for n in range(len(keys))), image=image
    )
    second |= {
        "inputs": {f"x{n}": f"/in/{n}" for n in range(len(keys))},
        "outputs": spread["outputs"],
    }
    keep = {
        "name": "keep",
        "image": image,
        "command": ["sh", "-c", 'for n in "$@"; do cp /in/a "/out/d/$n"; done', "sh", *ODD],
    }
    keep |= {"inputs": {"a": "/in/a"}, "outputs": {"x": "/out/d/"}}
    with Gaia({"root": tmp_path, "runtime": runtime, "watch": False}) as gaia:
        gaia.path("w", "in:a").parent.mkdir(parents=True)
        gaia.path("w", "in:a").write_text("1")
        near, far = (
            {f"x{n}": f"{bucket}:{name}" for n, name in enumerate(keys)} for bucket in "de"
        )
        steps = [
            {"name": "a", "command": "first", "inputs": {"a": "in:a"}, "outputs": near},
            {"name": "b", "command": "second", "inputs": near, "outputs": far},
            step("keep", "keep", "kept/", "in:a"),
        ]
        gaia.upload("w", {}, [spread, second, keep], steps)
        assert gaia.wait("w", 60)["state"] == "complete", messages(gaia)
        assert sorted(os.listdir(gaia.path("w", "e:x").parent)) == sorted(keys)
        assert {gaia.path("w", f"e:{name}").read_text() for name in keys} == {"1"}
        assert sorted(os.listdir(gaia.path("w", "kept/"))) == sorted(ODD)


KINDS = {
    "a FIFO": "mkfifo /out/d/odd",
    "a socket": (
        f"cd /out/d && {sys.executable} -c "
        "\"import socket; socket.socket(socket.AF_UNIX).bind('odd')\""
    ),
    "a device": "mknod /out/d/odd c 1 3",
}


@pytest.mark.parametrize("kind", KINDS)
def test_special_files_among_outputs(make_gaia: MakeGaia, kind: str) -> None:
    """Refused by name; other Steps are stored, and so is this one once it makes no such file."""
    if kind == "a device" and os.geteuid() != 0:
        pytest.skip("only root can make a device")
    gaia = make_gaia()
    odd = command("odd", f"echo 1 > /out/d/plain; {KINDS[kind]}", x="/out/d/")
    gaia.upload(
        "w",
        {},
        [odd, command("make", "echo 1 > /out/x")],
        [step("odd", "odd", "d:odd/"), step("a", "make", "d:a")],
    )
    assert gaia.wait("w", 20)["state"] == "error"
    assert f"odd is {kind}, which can't be stored" in messages(gaia)["odd"]
    assert not gaia.path("w", "d:odd/").exists()
    gaia.command("w", [command("odd", "echo 1 > /out/d/plain", x="/out/d/")])
    assert gaia.wait("w", 20)["state"] == "complete"
    assert started(gaia).count("a") == 1


def test_links_inside_an_output_stay_links(make_gaia: MakeGaia) -> None:
    gaia = make_gaia()
    script = (
        "cd /out/d && echo 1 > real; ln -s real near; ln -s /out/d/real whole; "
        "ln -s nothing dangling; ln -s . loop"
    )
    links = command("links", script, x="/out/d/")
    read = command("read", "cat /in/a/near > /out/x; test -L /in/a/whole", x="/out/x")
    read["inputs"] = {"a": "/in/a/"}
    gaia.upload(
        "w",
        {},
        [links, read],
        [step("links", "links", "d:l/"), step("read", "read", "d:r", "d:l/")],
    )
    assert gaia.wait("w", 20)["state"] == "complete", messages(gaia)
    stored = gaia.path("w", "d:l/")
    assert {path.name: os.readlink(path) for path in stored.iterdir() if path.is_symlink()} == {
        "near": "real",
        "whole": "real",
        "dangling": "nothing",
        "loop": ".",
    }
    assert gaia.path("w", "d:r").read_text() == "1\n"


# --------------------------------------------------------------------------------------- containers


class Engine:
    """A Docker engine of the test's own, which can go away and come back."""

    def __init__(self, image: str) -> None:
        # Short: a socket's path has at most 107 bytes.
        self._top = Path(tempfile.mkdtemp(prefix="gaia-"))
        self.address = f"unix://{self._top}/s"
        self._pid = 0
        self.start()
        with (
            contextlib.closing(connect(find_address())) as theirs,
            self.client() as ours,
        ):
            ours.load_image(theirs.get_image(image))  # type: ignore[no-untyped-call]

    def start(self, *options: str) -> None:
        """With `--live-restore`, containers outlive the engine."""
        flags = [
            "--host",
            self.address,
            "--data-root",
            f"{self._top}/data",
            "--exec-root",
            f"{self._top}/exec",
        ]
        flags += [
            "--pidfile",
            f"{self._top}/pid",
            "--bridge=none",
            "--iptables=false",
            "--ip-masq=false",
            "--ip-forward=false",
        ]
        # NOTE: a network of its own: with --bridge=none an engine removes the bridge docker0, which
        # another one may need. No child of this process's: a test that starts it anew isn't to be
        # blamed for leaving a process behind.
        script = 'log=$1; shift; setsid "$@" > "$log" 2>&1 < /dev/null & echo $!'
        words = [
            "sh",
            "-c",
            script,
            "sh",
            f"{self._top}/log",
            "unshare",
            "--net",
            "dockerd",
            *flags,
            *options,
        ]
        self._pid = int(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
        end = time.monotonic() + 30
        while not self._answers():
            assert self._alive() and time.monotonic() < end, (self._top / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        os.kill(self._pid, signal.SIGTERM)
        end = time.monotonic() + 30
        while self._alive():
            assert time.monotonic() < end, "dockerd doesn't end"
            time.sleep(0.02)

    def client(self) -> docker.APIClient:
        return docker.APIClient(self.address, version="auto")

    def close(self) -> None:
        with self.client() as client:
            for container in client.containers(all=True):
                client.remove_container(container["Id"], force=True)
        self.stop()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self._top}/"):
                subprocess.run(["umount", "-l", line.split()[1]], check=False)
        subprocess.run(["rm", "-rf", str(self._top)], check=True)

    def _alive(self) -> bool:
        try:
            return Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as knocking, contextlib.suppress(OSError):
            knocking.connect(f"{self._top}/s")
            knocking.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 OK" in knocking.recv(100)
        return False


@pytest.fixture(scope="module")
def own_engine(docker_image: str) -> Iterator[Engine]:
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker engine")
    engine = Engine(docker_image)
    yield engine
    engine.close()


@pytest.fixture
def engine(own_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("DOCKER_HOST", own_engine.address)
    return own_engine


# The SDK leaves a socket to the garbage collector whenever it finds no engine.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "survives", [True, False], ids=["the container survives", "the container dies"]
)
def test_the_engine_goes_away_and_comes_back(
    engine: Engine, docker_image: str, tmp_path: Path, wait_until: WaitUntil, survives: bool
) -> None:
    """A container that outlived its engine is followed to its end; a dead one is a failure."""
    if survives:
        engine.stop()
        engine.start("--live-restore")
    shared = command(
        "held",
        "echo up; while [ ! -e /in/d/go ]; do sleep 0.05; done; echo 1 > /out/x",
        image=docker_image,
    )
    shared["inputs"] = {"d": "/in/d/"}
    copy = {**COPY, "image": docker_image}
    with Gaia(
        {"root": tmp_path, "watch": False, "docker": {"inputs": "mount", "network": "none"}}
    ) as gaia:
        go = gaia.path("w", "in/d/")
        go.mkdir(parents=True)
        gaia.upload(
            "w",
            {},
            [shared, copy],
            [step("a", "held", "d:a", inputs={"d": "in/d/"}), step("b", "copy", "d:b", "d:a")],
        )
        wait_until(lambda: gaia.logs("w", "a") == "up\n")
        engine.stop()
        assert gaia.status("w")["state"] == "running"
        engine.start(*(["--live-restore"] if survives else []))
        if not survives:
            assert gaia.wait("w", 60)["state"] == "error"
            assert messages(gaia)["a"] in ("exit code 137", "exit code 143")
            assert gaia.failures("w")[0]["state"] == "error"
        (go / "go").touch()  # which changes the input of "a"
        if not survives:
            gaia.run("w")
        assert gaia.wait("w", 60)["state"] == "complete", messages(gaia)
        assert gaia.logs("w", "a") == "up\n"
        assert started(gaia) == ["a", "a", "b"]
    with engine.client() as client:
        assert client.containers(all=True) == []


def test_a_call_without_an_engine_is_refused_and_stores_nothing(
    engine: Engine, docker_image: str, tmp_path: Path
) -> None:
    make = command("make", "echo 1 > /out/x", image=docker_image)
    with Gaia({"root": tmp_path, "watch": False, "docker": {"network": "none"}}) as gaia:
        engine.stop()
        try:
            with pytest.raises(
                GaiaError,
                match=r"no Docker engine answers at .*start Docker.*nothing .* was stored",
            ):
                gaia.upload("w", {}, [make], [step("a", "make", "d:a")])
            assert gaia.workflows() == {"workflows": {}}
        finally:
            engine.start()
        gaia.upload("w", {}, [make], [step("a", "make", "d:a")])
        assert gaia.wait("w", 30)["state"] == "complete"
        assert started(gaia) == ["a"]


def test_an_image_that_cannot_be_pulled(
    docker_image: str, client: docker.APIClient, tmp_path: Path
) -> None:
    absent = f"gaia-local.invalid/{tmp_path.name.replace('_', '-')}:1"
    commands = [
        command("absent", "echo 1 > /out/x", image=absent),
        command("make", "echo 1 > /out/x", image=docker_image),
    ]
    with Gaia({"root": tmp_path, "watch": False}) as gaia:
        gaia.upload("w", {}, commands, [step("a", "absent", "d:a"), step("b", "make", "d:b")])
        assert gaia.wait("w", 60)["state"] == "error"
        assert f"image '{absent}' could not be pulled" in messages(gaia)["a"]
        assert gaia.progress("w")["done"] == 1
        client.tag(docker_image, absent.removesuffix(":1"), "1")
        try:
            gaia.run("w")
            assert gaia.wait("w", 60)["state"] == "complete"
            assert sorted(started(gaia)) == ["a", "a", "b"]
        finally:
            client.remove_image(absent, noprune=True)


def test_a_container_that_is_killed_from_outside(
    docker_image: str, client: docker.APIClient, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """It failed, as a command that ends itself with this code has: it isn't run again by itself."""
    held = command(
        "held", "echo up; test -e /in/d/go || sleep 60; echo 1 > /out/x", image=docker_image
    )
    held["inputs"] = {"d": "/in/d/"}
    with Gaia({"root": tmp_path, "watch": False}) as gaia:
        gaia.path("w", "in/d/").mkdir(parents=True)
        gaia.upload("w", {}, [held], [step("a", "held", "d:a", inputs={"d": "in/d/"})])
        wait_until(lambda: gaia.logs("w", "a") == "up\n")
        task = gaia.status("w", debug=True)["status"]["tasks"]["a"]["id"]
        (container,) = client.containers(filters={"label": f"gaia-local.task={task}"})
        client.kill(container["Id"])
        assert gaia.wait("w", 30)["state"] == "error"
        assert "exit code 137" in messages(gaia)["a"]
        assert started(gaia) == ["a"]
        (gaia.path("w", "in/d/") / "go").touch()
        gaia.run("w")
        assert gaia.wait("w", 30)["state"] == "complete"


def test_out_of_memory(docker_image: str, tmp_path: Path) -> None:
    eat = command(
        "eat", "dd if=/dev/zero of=/dev/null bs=64M count=1 && echo 1 > /out/x", image=docker_image
    )
    config = {"root": tmp_path, "watch": False}
    with Gaia({**config, "docker": {"memory": "16m"}}) as gaia:
        gaia.upload("w", {}, [eat], [step("a", "eat", "d:a")])
        assert gaia.wait("w", 30)["state"] == "error"
        assert re.search(r"out of memory.*limit 16m: see docker\.memory", messages(gaia)["a"])
    with Gaia({**config, "docker": {"memory": "256m"}}) as gaia:
        gaia.run("w")
        assert gaia.wait("w", 30)["state"] == "complete"
        assert started(gaia) == ["a", "a"]


def test_a_command_that_fails_is_never_retried(make_gaia: MakeGaia, tmp_path: Path) -> None:
    gaia = make_gaia()
    gaia.upload(
        "w", {}, [command("bad", f"echo x >> {tmp_path}/ran; exit 1")], [step("a", "bad", "d:a")]
    )
    assert gaia.wait("w", 20)["state"] == "error"
    assert (tmp_path / "ran").read_text() == "x\n"

"""After a power cut nothing wrong is complete: files that are compared, made again, or kept."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.engine import decision_loop
from gaia_local.engine.recovery import recover
from gaia_local.errors import StorageError
from gaia_local.model.events import Event, EventKind
from gaia_local.state.database import Database
from gaia_local.store import disk_sync, fingerprints, ownership
from gaia_local.store.ownership import UNKNOWN_BOOT, another_boot, boot_id
from gaia_local.store.storage import Storage
from gaia_local.workflow.decision import Changes
from support.fakes import NoRuntime
from support.fixtures import MakeGaia
from support.gates import Fifo
from support.hands import Hands

COPY: dict[str, Any] = {
    "name": "copy",
    "image": "i",
    "command": ["sh", "-c", "cat /in/a > /out/x; mkdir -p /out/d/sub; cp /in/a /out/d/sub/part"],
    "inputs": {"a": "/in/a"},
    "outputs": {"x": "/out/x", "d": "/out/d/"},
}
STEPS = [
    {
        "name": "first",
        "command": "copy",
        "inputs": {"a": "s:a"},
        "outputs": {"x": "b:first", "d": "d:first/"},
    },
    {
        "name": "second",
        "command": "copy",
        "inputs": {"a": "b:first"},
        "outputs": {"x": "b:second", "d": "d:second/"},
    },
]
CONTENT = "a line of what the user gave\n"
MADE = ("b/first", "d/first/sub/part", "b/second", "d/second/sub/part")
TAMPERED = ("b/first", "d/second/sub/part")


@pytest.fixture
def done(make_gaia: MakeGaia, gaia_root: Path) -> Path:
    """The directory of the workflow `w`, which is complete, in a root."""
    with make_gaia(watch=False) as gaia:
        place = gaia.path("w", "s:a")
        place.parent.mkdir(parents=True)
        place.write_text(CONTENT)
        gaia.upload("w", {}, [COPY], STEPS)
        assert gaia.wait("w")["state"] == "complete"
    return gaia_root / "storage/w"


def rows(root: Path, *statements: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(root / "gaia.db")) as database, database:
        return [row for statement in statements for row in database.execute(statement).fetchall()]


def cut_off(root: Path, flushed: bool = False) -> None:
    """The machine stopped while an engine had the root; `flushed`: after the last flush point."""
    rows(root, "update flushed set boot = 'an earlier boot'")
    if not flushed:
        rows(root, "update flushed set epoch = 0")


def as_recorded(root: Path) -> None:
    """Make the rows say the quick fingerprints that the files have now, as a replay may do."""
    storage = Storage(root, {})
    with contextlib.closing(Database(root / "gaia.db")) as database, database.transaction():
        for key, state in database.keys("w").items():
            quick = storage.quick_fingerprint(key, storage.path("w", key))
            assert quick is not None
            database._write(
                "update data set quick = ? where key = ? and quick is not null", (quick, key)
            )
            assert state.quick is not None


def tamper(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the content; its time stays."""
    status = path.stat()
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def finished(gaia: Gaia) -> list[str]:
    """`run`, to the end; the Steps that ran for that."""
    before = len(gaia.events("w"))
    gaia.run("w")
    assert gaia.wait("w")["state"] == "complete"
    return sorted(
        event["task"] for event in gaia.events("w")[before:] if event["event"] == "step-complete"
    )


@pytest.mark.parametrize("name", TAMPERED)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda content: bytes(len(content)), id="zeroed"),
        pytest.param(
            lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
            id="torn",
        ),
        pytest.param(lambda content: content[:5], id="cut"),
        pytest.param(lambda content: b"", id="emptied"),
        pytest.param(lambda content: b"what an earlier run of it had made\n", id="old"),
    ],
)
@pytest.mark.parametrize("seen", [True, False], ids=["quick-as-recorded", "quick-differs"])
def test_torn_outputs_are_made_again(
    name: str, change: Callable[[bytes], bytes], seen: bool, done: Path, make_gaia: MakeGaia
) -> None:
    gaia_root = done.parent.parent
    tamper(done / name, change)
    if seen:
        as_recorded(gaia_root)
    cut_off(gaia_root, flushed=not seen)
    gaia = make_gaia(watch=False)
    assert gaia.status("w")["state"] == "halted"
    last = gaia.events("w")[-1]
    assert (last["event"], last["reason"]) == ("flow-halted", "interrupted")
    assert str(last["message"]).startswith("the machine stopped before these were on the disk: ")
    assert finished(gaia) == ["first" if "first" in name else "second"]
    assert {(done / name).read_text() for name in MADE} == {CONTENT}


@pytest.mark.parametrize("name", MADE)
def test_outputs_without_a_row_are_made_again(
    name: str, done: Path, make_gaia: MakeGaia, gaia_root: Path
) -> None:
    """The start and the end of its Step are lost, and a torn file came into the store."""
    tamper(done / name, lambda content: content[:5])
    step = "first" if "first" in name else "second"
    rows(
        gaia_root,
        f"delete from tasks where step = '{step}'",
        f"delete from data where key like '_:{step}%'",
    )
    cut_off(gaia_root)
    gaia = make_gaia(watch=False)
    assert finished(gaia)[-1] == step
    assert {(done / name).read_text() for name in MADE} == {CONTENT}


def test_an_input_that_is_not_as_recorded_is_read_again(
    done: Path, make_gaia: MakeGaia, gaia_root: Path
) -> None:
    """Its dependents are made again from the present file."""
    tamper(done / "s/a", lambda content: bytes(len(content)))
    as_recorded(gaia_root)
    cut_off(gaia_root)
    assert finished(make_gaia(watch=False)) == ["first", "second"]
    assert {(done / name).read_bytes() for name in MADE} == {bytes(len(CONTENT))}


def test_whole_outputs_stay_complete(done: Path, make_gaia: MakeGaia, gaia_root: Path) -> None:
    cut_off(gaia_root)
    gaia = make_gaia(watch=False)
    assert gaia.status("w")["state"] == "complete"
    assert finished(gaia) == []


def test_flushed_outputs_are_not_read_again(
    done: Path, make_gaia: MakeGaia, gaia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(gaia_root, flushed=True)
    read: list[str] = []
    monkeypatch.setattr(Storage, "fingerprint", lambda self, key, *rest: read.append(key))
    assert make_gaia(watch=False).status("w")["state"] == "complete"
    # It was looked at, and by an engine.
    assert rows(gaia_root, "select boot from flushed") == [(boot_id(),)]
    assert read == []


def test_unreadable_outputs_are_made_again(
    done: Path, make_gaia: MakeGaia, gaia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(gaia_root)

    def unreadable(*_: object) -> None:
        raise StorageError("the test's fault")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "fingerprint", unreadable)
        gaia = make_gaia(watch=False)
        assert gaia.status("w")["state"] == "halted"
    assert finished(gaia) == ["first", "second"]


def test_many_that_were_lost_are_counted(make_gaia: MakeGaia, gaia_root: Path) -> None:
    touch = {
        "name": "t",
        "image": "i",
        "command": ["sh", "-c", "echo > /out/x"],
        "outputs": {"x": "/out/x"},
    }
    with make_gaia() as gaia:
        gaia.upload(
            "w",
            {},
            [touch],
            [{"name": f"s{n}", "command": "t", "outputs": {"x": f"k{n}"}} for n in range(12)],
        )
        gaia.wait("w")
    for path in (gaia_root / "storage/w").iterdir():
        path.write_text("")
    cut_off(gaia_root)
    assert str(make_gaia().events("w")[-1]["message"]).endswith("k7 and 2 more")


def test_an_interrupted_task_is_not_resumed_after_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its container may have ended before the power cut, its outputs never having been flushed."""
    with contextlib.closing(Hands(tmp_path)) as hands:
        hands.put("s:a")
        hands.command(COPY)
        hands.merge(STEPS[0])
        before = hands.task("first")
        facts = {
            "id": before.id,
            "task": before.name,
            "inputs": {"s:a": fingerprints.digest(hands.storage.path("w", "s:a"))},
        }
        hands.scheduler.loop.started(before, Event(EventKind.STEP_START, "w", 1.0, facts))
        hands.scheduler.loop._write_all()
        hands.database.close()  # as if it had died
        hands._closed = True
    monkeypatch.setattr(NoRuntime, "resumable_tasks", lambda self: [before.id])
    rows(tmp_path, "update flushed set boot = 'an earlier boot'")
    with contextlib.closing(Hands(tmp_path)) as hands:
        recover(hands.database, hands.storage)
        hands.scheduler.run("w")
        assert hands.task("first").id != before.id


def test_former_outputs_are_not_taken_for_the_users_files(tmp_path: Path) -> None:
    with contextlib.closing(Hands(tmp_path)) as hands:
        hands.put("s:a")
        hands.command(COPY)
        hands.merge(*STEPS)
        hands.complete("first")
        hands.complete("second")
        hands.merge(STEPS[0] | {"outputs": {"x": "b:other", "d": "d:first/"}})
        hands.complete("first")
        assert hands.state == "incomplete"
    (tmp_path / "storage/w/b/first").write_text("what an earlier run of it had made")
    cut_off(tmp_path, flushed=True)
    with contextlib.closing(Hands(tmp_path)) as hands:
        recover(hands.database, hands.storage)
        assert hands.state == "incomplete"  # nothing of it was lost
        hands.scheduler.run("w")
        assert hands.runs == []
        assert hands.state == "incomplete"


@pytest.mark.parametrize("boot", ["", boot_id()], ids=["ended-in-order", "this-boot"])
def test_without_a_power_cut_what_differs_is_the_users(
    boot: str, done: Path, make_gaia: MakeGaia, gaia_root: Path
) -> None:
    rows(gaia_root, f"update flushed set boot = '{boot}', epoch = 0")
    (done / "b/first").write_text("the user's own\n")
    assert finished(make_gaia(watch=False)) == ["second"]
    assert (done / "b/first").read_text() == (done / "b/second").read_text() == "the user's own\n"


def test_outputs_of_a_dead_engine_are_flushed_by_the_next(
    done: Path, make_gaia: MakeGaia, gaia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost with the process, but there is no flush point yet."""
    rows(gaia_root, f"update flushed set boot = '{boot_id()}', epoch = 0")
    flushed: list[str] = []
    flush = Storage.flush

    def noted(storage: Storage, workflow: str, keys: list[str]) -> None:
        flushed.extend(keys)
        flush(storage, workflow, keys)

    monkeypatch.setattr(Storage, "flush", noted)
    with make_gaia(watch=False) as gaia:
        gaia.run("w")
    assert {"b:first", "b:second", "d:first/", "d:second/", "s:a"} <= set(flushed)
    ((epoch,),) = rows(gaia_root, "select epoch from flushed")
    assert epoch >= rows(gaia_root, "select max(epoch) from data")[0][0] > 0


def test_the_boot_of_a_flush_is_recognized(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not another_boot("")
    assert not another_boot(boot_id())
    assert another_boot("an earlier boot")
    monkeypatch.setattr(ownership, "BOOT", tmp_path / "none")
    assert boot_id() == UNKNOWN_BOOT
    assert another_boot(boot_id())  # nobody knows: it may be one
    assert not another_boot("")


def test_a_root_without_fsync_works(
    make_gaia: MakeGaia, gaia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_fsync(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "the test's fault")

    monkeypatch.setattr(os, "fsync", no_fsync)
    with make_gaia() as gaia:
        gaia.path("w", "s:a").parent.mkdir(parents=True)
        gaia.path("w", "s:a").write_text(CONTENT)
        gaia.upload("w", {}, [COPY], STEPS)
        assert gaia.wait("w")["state"] == "complete"
    assert rows(gaia_root, "select boot from flushed") == [("",)]


def test_outputs_that_could_not_be_flushed_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may have dropped it; the workflow says so, and `run` makes it again."""
    with contextlib.closing(Hands(tmp_path)) as hands:
        hands.put("s:a")
        hands.command(COPY)
        hands.merge(*STEPS)
        hands.complete("first")

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            assert not hands.scheduler.loop.flush()
        assert "No space left on device" in str(hands.scheduler.events("w")[-1]["message"])
        hands.complete("second")
        assert hands.state == "halted"
        hands.scheduler.run("w")
        assert hands.runs == ["first"]
        hands.complete("first")
        assert hands.scheduler.loop.flush()


@pytest.mark.parametrize("each_step", [True, False])
def test_a_step_is_flushed_at_its_end_if_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, each_step: bool
) -> None:
    """Nothing of it is left for the flush in the background, which never comes here."""
    flushed: set[int] = set()
    fsync = disk_sync.fsync

    def noting(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(disk_sync, "fsync", noting)
    with contextlib.closing(Hands(tmp_path, flush_each_step=each_step)) as hands:
        hands.put("s:a")
        hands.command(COPY)
        hands.merge(*STEPS)
        assert hands.scheduler.loop.flush()
        for step in ("first", "second"):
            flushed.clear()
            hands.complete(step)
            assert hands.runs == (["second"] if step == "first" else [])
            files = {
                os.stat(hands.storage.path("w", key)).st_ino
                for key in (f"b:{step}", f"d:{step}/part", "b")
            }
            log = os.stat(tmp_path / "gaia.db-wal").st_ino
            assert (files <= flushed, log in flushed) == (each_step, each_step)
            assert (hands.database.unflushed() == []) is each_step


@pytest.mark.parametrize("durability", ["step", "batch"])
def test_the_configuration_says_whether_each_step_is_flushed(
    make_gaia: MakeGaia,
    gaia_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    durability: str,
) -> None:
    """Looked at while the second Step runs, after the first one; nothing is flushed by time."""
    monkeypatch.setattr(decision_loop, "FLUSH_DELAY_SECONDS", 3600.0)
    here, gate = Fifo(tmp_path / "here"), Fifo(tmp_path / "gate")
    script = f"echo begun > '{here.path}'; {gate.hold}; {COPY['command'][2]}"
    wait = {**COPY, "name": "wait", "command": ["sh", "-c", script]}
    with make_gaia(watch=False, workers=1, durability=durability) as gaia:
        place = gaia.path("w", "s:a")
        place.parent.mkdir(parents=True)
        place.write_text(CONTENT)
        gaia.upload("w", {}, [COPY, wait], [STEPS[0], {**STEPS[1], "command": "wait"}])
        assert here.read() == "begun\n"
        with contextlib.closing(Database(gaia_root / "gaia.db", readonly=True)) as database:
            left = {key for _, key in database.unflushed("w") if key != "s:a"}
        gate.open()
        assert gaia.wait("w")["state"] == "complete"
    assert left == (set() if durability == "step" else {"b:first", "d:first/"})


def test_calls_are_flushed_before_they_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of the state file, after the last commit of each call."""
    happened: list[str] = []
    fsync, save = disk_sync.fsync, Database.save

    def flushed(descriptor: int) -> None:
        happened.append("flush")
        fsync(descriptor)

    def saved(database: Database, name: str, changes: Changes) -> None:
        happened.append("commit")
        save(database, name, changes)

    monkeypatch.setattr(disk_sync, "fsync", flushed)
    monkeypatch.setattr(Database, "save", saved)
    with contextlib.closing(Hands(tmp_path)) as hands:
        hands.put("s:a")
        calls: list[Callable[[], None]] = [
            lambda: hands.command(COPY),
            lambda: hands.merge(*STEPS),
            lambda: hands.scheduler.expire("w", ["first"]),
            lambda: hands.scheduler.halt("w"),
            lambda: hands.scheduler.run("w"),
        ]
        for call in calls:
            happened.clear()
            call()
            assert happened[0] == "commit"
            assert happened[-1] == "flush"


def test_files_that_delete_keeps_are_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new upload of that name finds them, and they count as they are."""
    with contextlib.closing(Hands(tmp_path)) as hands:
        hands.put("s:a")
        hands.command(COPY)
        hands.merge(*STEPS)
        hands.complete("first")
        flushed: list[str] = []
        delete = Database.delete_workflow

        def deleted(database: Database, name: str, data: bool) -> None:
            flushed.append("deleted")
            delete(database, name, data)

        monkeypatch.setattr(disk_sync, "flush_one", flushed.append)
        monkeypatch.setattr(Database, "delete_workflow", deleted)
        hands.scheduler.delete("w", data=False)
        store = str(tmp_path / "storage")
        before = flushed[: flushed.index("deleted")]
        assert {
            f"{store}/w/b/first",
            f"{store}/w/d/first/part",
            f"{store}/w/d/first",
            f"{store}/w/b",
            store,
        } <= set(before)


def test_a_flush_includes_the_directories_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents, the directories that hold their names, and those up to the top."""
    (tmp_path / "top/w/tree/sub").mkdir(parents=True)
    for name in ("w/x", "w/tree/y", "w/tree/sub/z"):
        (tmp_path / "top" / name).write_text(name)
    (tmp_path / "top/w/link").symlink_to("x")
    os.mkfifo(tmp_path / "top/w/tree/pipe")
    done: list[str] = []
    monkeypatch.setattr(disk_sync, "flush_one", done.append)
    top = str(tmp_path / "top")
    disk_sync.flush(
        [f"{top}/w/x", f"{top}/w/tree", f"{top}/w/gone", f"{top}/w/link"],
        (str(tmp_path / "other"), top),
    )
    wanted = ["", "/w", "/w/link", "/w/tree", "/w/tree/sub", "/w/tree/sub/z", "/w/tree/y", "/w/x"]
    assert sorted(done) == [top + name for name in wanted]


@pytest.mark.parametrize("reached", [True, False])
def test_many_are_flushed_at_once(
    reached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the file system can't be flushed as a whole."""
    for number in range(70):
        (tmp_path / f"{number}").write_text("x")
    systems: list[str] = []
    one_by_one: list[str] = []

    def sync(path: str) -> bool:
        systems.append(path)
        return reached

    monkeypatch.setattr(disk_sync, "sync_file_system", sync)
    monkeypatch.setattr(disk_sync, "flush_one", one_by_one.append)
    disk_sync.flush([str(tmp_path)], (str(tmp_path),))
    assert len(systems) == 1
    assert len(one_by_one) == (0 if reached else 71)


def test_missing_files_are_not_flushed(tmp_path: Path) -> None:
    disk_sync.flush_one(str(tmp_path / "none"))
    assert not disk_sync.sync_file_system(str(tmp_path / "none"))
    assert disk_sync.sync_file_system(str(tmp_path))

"""Old attempts go, with their rows, events and logs; what anybody still needs stays."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.engine.recovery import recover
from gaia_local.errors import InvalidInput
from gaia_local.state.database import Database
from gaia_local.store.storage import Storage
from support.builders import COPY, command, step
from support.fixtures import MakeGaia, WaitUntil
from support.owner import Owner

SPEAK = command("speak", "cat /in/a > /out/x; cat /in/a", "a")
FAIL = command("fail", "echo no; false", "a")


def rows(root: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    with sqlite3.connect(root / "gaia.db") as database:
        return database.execute(sql, values).fetchall()


def attempts(root: Path, name: str = "s") -> list[str]:
    """The ids of a Step's attempts, the oldest first."""
    sql = "select id from tasks where step = ? order by rowid"
    return [identity for (identity,) in rows(root, sql, name)]


def logs(root: Path) -> set[str]:
    return {path.stem for path in (root / "logs/w").glob("*.log")}


def owners(gaia: Gaia) -> set[str]:
    """The Tasks that any event is about."""
    return {event["id"] for event in gaia.events("w") if "id" in event}


def edit(gaia: Gaia, times: int, key: str = "in:a") -> None:
    """Change an input so many times, each time until the workflow is quiet."""
    place = gaia.path("w", key)
    place.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(times):
        place.write_text(f"{time.time_ns()}\n")
        gaia.run("w")
        gaia.wait("w")


@pytest.fixture
def edited(make_gaia: MakeGaia) -> Gaia:
    """A Step that ran nine times, and one that failed as often; nothing was dropped."""
    gaia = make_gaia(watch=False, keep_attempts=None)
    gaia.upload(
        "w",
        {},
        [SPEAK, FAIL],
        [step("s", "speak", "o:x", "in:a"), step("f", "fail", "o:y", "in:a")],
    )
    edit(gaia, 9)
    return gaia


def test_the_newest_attempts_stay(edited: Gaia, gaia_root: Path) -> None:
    before, failed = attempts(gaia_root), attempts(gaia_root, "f")
    assert (len(before), len(failed)) == (9, 9)
    dropped = edited.drop_attempts(keep=3)
    assert (dropped["attempts"], dropped["steps"]) == (12, 2)
    assert dropped["bytes"] > 0
    kept = {*before[-3:], *failed[-3:]}
    assert attempts(gaia_root) == before[-3:]
    assert attempts(gaia_root, "f") == failed[-3:]
    assert logs(gaia_root) == owners(edited) == kept
    assert edited.attempt("w", "s")["state"] == "complete"
    assert edited.drop_attempts(keep=3) == {"attempts": 0, "steps": 0, "bytes": 0}


def test_what_was_kept_has_its_whole_story(make_gaia: MakeGaia, gaia_root: Path) -> None:
    """Not an event of what stays is lost, and none of what goes stays, of Tasks and workflows."""
    gaia = make_gaia(watch=False, keep_attempts=None)
    steps = [step("s", "speak", "o:x", "in:a"), step("t", "speak", "o:y", "o:x")]
    gaia.upload("w", {}, [SPEAK], steps)
    edit(gaia, 6)
    kept = {*attempts(gaia_root)[-2:], *attempts(gaia_root, "t")[-2:]}
    before = gaia.events("w")
    gaia.drop_attempts(keep=2)
    after = gaia.events("w")
    stay = [event for event in before if event.get("id") in kept]
    assert stay == [event for event in after if "id" in event]
    ends = [event for event in before if event["event"] == "flow-complete"]
    assert len(ends) == 6
    assert [event for event in after if "id" not in event] == ends[-2:]


def test_old_ones_go_by_their_age(edited: Gaia, gaia_root: Path) -> None:
    first = attempts(gaia_root)[:4]
    with sqlite3.connect(gaia_root / "gaia.db") as database:
        for identity in first:
            database.execute("update tasks set ended = ended - 864000 where id = ?", (identity,))
    database.close()
    assert edited.drop_attempts(older=11 * 86400.0)["attempts"] == 0
    assert edited.drop_attempts(older=9 * 86400.0)["attempts"] == 4
    assert set(first).isdisjoint(owners(edited) | logs(gaia_root) | set(attempts(gaia_root)))
    assert edited.drop_attempts(older=0.0)["attempts"] == 12
    assert len(attempts(gaia_root)) == len(attempts(gaia_root, "f")) == 1


def test_a_jump_of_the_clock_hides_no_event(edited: Gaia, gaia_root: Path) -> None:
    """Events are found by their time, and all of them are looked at where that fails."""
    with sqlite3.connect(gaia_root / "gaia.db") as database:
        database.execute("update events set time = time - 7200 where id % 3 = 0")
    database.close()
    edited.drop_attempts(keep=2)
    assert owners(edited) == {*attempts(gaia_root), *attempts(gaia_root, "f")}


def test_the_maker_of_a_file_stays(make_gaia: MakeGaia, gaia_root: Path) -> None:
    """Also if its Step failed ever since: `explain` names it, and its results may be reused."""
    gaia = make_gaia(watch=False, keep_attempts=None)
    script = "echo said; grep -v bad /in/a > /out/x"
    gaia.upload("w", {}, [command("c", script, "a")], [step("s", "c", "o:x", "in:a")])
    edit(gaia, 2)
    maker = attempts(gaia_root)[-1]
    for number in range(5):
        gaia.path("w", "in:a").write_text("bad\n")
        gaia.expire("w", ["s"]) if number else gaia.run("w")
        gaia.wait("w")
    gaia.drop_attempts(keep=1)
    assert attempts(gaia_root) == [maker, attempts(gaia_root)[-1]]
    explained: dict[str, Any] = {**gaia.explain("w", "o:x")}
    assert explained["made"]["task"] == maker
    assert maker in logs(gaia_root)


def test_nothing_of_a_running_attempt_goes(
    make_gaia: MakeGaia, gaia_root: Path, tmp_path: Path, wait_until: WaitUntil
) -> None:
    """One whose cancelled program still ends is running: it may still write to its log."""
    gaia = make_gaia(watch=False, keep_attempts=None, docker={"stop_grace": 60})
    loop = f"until [ -e {tmp_path}/on ]; do sleep 0.02; done"
    stubborn = command("c", f"trap '' TERM; echo on > /out/x; touch {tmp_path}/begun; {loop}")
    gaia.upload("w", {}, [stubborn], [step("s", "c", "o:x")])
    wait_until((tmp_path / "begun").exists)
    gaia.expire("w", ["s"])
    assert len(attempts(gaia_root)) == 2
    assert gaia.drop_attempts(keep=1)["attempts"] == 0
    (tmp_path / "on").touch()
    gaia.wait("w")
    assert gaia.drop_attempts(keep=1)["attempts"] == 1
    assert logs(gaia_root) <= set(attempts(gaia_root))


def test_the_engine_does_it_by_itself(make_gaia: MakeGaia, gaia_root: Path) -> None:
    """Beyond twice as many attempts as it keeps; in a later process as well."""
    for _ in range(3):
        with make_gaia(watch=False, keep_attempts=3) as gaia:
            gaia.update("w", [SPEAK], [step("s", "speak", "o:x", "in:a")])
            edit(gaia, 5)
        assert len(attempts(gaia_root)) < 6
        assert logs(gaia_root) == set(attempts(gaia_root))
    with make_gaia(watch=False, keep_attempts=None) as gaia:
        edit(gaia, 8)
    assert len(attempts(gaia_root)) >= 8


def test_a_long_loop_of_edits_stays_small(
    make_gaia: MakeGaia, gaia_root: Path, wait_until: WaitUntil
) -> None:
    """In one process, while it runs: rows, events, logs, and the pages of the state file."""
    gaia = make_gaia(watch=False, keep_attempts=3)
    gaia.upload("w", {}, [COPY], [step("s", "copy", "o:x", "in:a")])
    edit(gaia, 20)
    wait_until(lambda: len(attempts(gaia_root)) < 6)
    pages = rows(gaia_root, "pragma page_count")[0][0]
    for _ in range(3):
        edit(gaia, 20)
        wait_until(lambda: len(attempts(gaia_root)) < 6)
        assert rows(gaia_root, "pragma page_count")[0][0] <= pages + 4
    assert len(gaia.events("w")) < 6 * 12
    assert logs(gaia_root) <= set(attempts(gaia_root))


def test_logs_without_a_row_are_swept(edited: Gaia, gaia_root: Path) -> None:
    """An engine that was killed between the rows and the logs leaves logs, never the reverse."""
    before = logs(gaia_root)

    class Killed(BaseException):
        pass

    def killed(*_: object) -> int:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gaia_local.store.attempt_logs.AttemptLogs.remove", killed)
        with pytest.raises(Killed):
            edited.drop_attempts(keep=2)
    edited.close()
    assert logs(gaia_root) == before
    kept = {*attempts(gaia_root), *attempts(gaia_root, "f")}
    assert len(kept) < len(before)
    database = Database(gaia_root / "gaia.db")
    recover(database, Storage(gaia_root, {}))
    database.close()
    assert logs(gaia_root) == kept


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "neither"),
        ({"keep": 0}, "keep"),
        ({"keep": True}, "keep"),
        ({"keep": "3"}, "keep"),
        ({"older": -1}, "older"),
        ({"older": float("nan")}, "older"),
        ({"older": "30d"}, "older"),
    ],
)
def test_wrong_numbers_are_refused(make_gaia: MakeGaia, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        make_gaia().drop_attempts(**given)


def test_the_owner_does_it_for_others(make_gaia: MakeGaia, gaia_root: Path) -> None:
    config = {"root": str(gaia_root), "runtime": "process", "keep_attempts": None}
    with contextlib.closing(Owner()) as owner:
        owner.own(config)
        with make_gaia(keep_attempts=None) as other:
            other.upload("w", {}, [COPY], [step("s", "copy", "o:x", "in:a")])
            edit(other, 4)
            assert other.drop_attempts(keep=2)["attempts"] == 2
            assert len(attempts(gaia_root)) == 2
            other.close()


def test_a_big_workflows_events_are_not_all_looked_at(
    make_gaia: MakeGaia, gaia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only those around the attempts that go."""
    gaia = make_gaia(watch=False, keep_attempts=None)
    gaia.own()
    with sqlite3.connect(gaia_root / "gaia.db") as database:
        database.executemany(
            "insert into events (workflow, time, event, facts) values ('w', ?, 'step-start', ?)",
            ((index / 10, f'{{"id": "{index:032x}", "task": "o"}}') for index in range(50_000)),
        )
    database.close()
    gaia.upload("w", {}, [COPY], [step("s", "copy", "o:x", "in:a")])
    edit(gaia, 6)
    looked: list[int] = []
    whole = Database._events_from

    def counted(self: Database, *given: Any) -> Any:
        found = whole(self, *given)
        looked.append(len(found))
        return found

    monkeypatch.setattr(Database, "_events_from", counted)
    assert gaia.drop_attempts(keep=2)["attempts"] == 4
    assert sum(looked) < 5000


def test_listings_of_directories_that_nobody_holds_go(
    make_gaia: MakeGaia, gaia_root: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr("gaia_local.engine.retention.FEW_LISTINGS", 5)
    gaia = make_gaia(watch=False)
    listed = command("c", "mkdir -p /out/d; cp /in/a /out/d/a", "a", d="/out/d/")
    gaia.upload("w", {}, [listed], [step("s", "c", None, "in:a", outputs={"d": "o:d/"})])
    edit(gaia, 14)
    wait_until(lambda: rows(gaia_root, "select count(*) from listings")[0][0] < 8)
    digest = rows(gaia_root, "select digest from data where key = 'o:d/'")[0]
    assert digest in rows(gaia_root, "select digest from listings")

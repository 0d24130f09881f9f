"""Private directories of failed attempts are kept when asked, and go with their reason."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.config import Config
from gaia_local.doctor import checks, leftovers
from gaia_local.engine.failures import Failures
from gaia_local.errors import InvalidInput
from gaia_local.state.database import Database
from gaia_local.store.kept_failures import kept_failure, kept_failures
from support.builders import command, step
from support.fixtures import MakeGaia
from support.waiting import wait_until

CHECK = command(
    "check", "cat /in/a > /out/x; echo mine >> /in/a; echo late > w; grep -q good /in/a", "a"
)
STEP = step("s", "check", "o:x", "in:a")


def put(gaia: Gaia, text: str, *names: str) -> None:
    for name in names or ("w",):
        place = gaia.path(name, "in:a")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{text} {time.time_ns()}\n")


def ran(gaia: Gaia, text: str = "bad") -> str:
    put(gaia, text)
    gaia.update("w", [CHECK], [STEP])
    gaia.run("w")
    state = str(gaia.wait("w")["state"])
    # Private directories are moved or removed a little after the end of their Tasks.
    wait_until(lambda: not list(gaia.path("w", "in:a").parents[3].glob("staging/*")))
    return state


def kept(root: Path, name: str = "w", step: str = "s") -> list[str]:
    return [each.task for each in kept_failures(root) if (each.workflow, each.step) == (name, step)]


def attempts(gaia: Gaia) -> list[str]:
    return [attempt["task"] for attempt in gaia.timeline("w")["attempts"]]


@pytest.fixture
def gaia(make_gaia: MakeGaia) -> Gaia:
    return make_gaia(watch=False, keep_failed=2)


def test_nothing_is_kept_unless_asked(make_gaia: MakeGaia, gaia_root: Path) -> None:
    gaia = make_gaia(watch=False)
    assert ran(gaia) == "error"
    assert not (gaia_root / "failed").exists()
    assert "kept" not in gaia.failures("w")[0]


def test_the_files_are_as_the_program_left_them(gaia: Gaia, gaia_root: Path) -> None:
    assert ran(gaia) == "error"
    directory = kept_failure(gaia_root, "w", "s")
    assert directory is not None
    text = gaia.path("w", "in:a").read_text()
    assert (directory / "tree/in/a").read_text() == f"{text}mine\n"
    assert (directory / "tree/out/x").read_text() == text
    assert (directory / "work/w").read_text() == "late\n"
    size = sum(path.stat().st_size for path in (*directory.rglob("tree/*/*"), directory / "work/w"))
    (failure,) = gaia.failures("w")
    task = gaia.attempt("w", "s")["task"]
    assert failure.get("kept") == [{"path": str(directory), "task": task, "bytes": size}]
    assert kept_failure(gaia_root, "w", "t") is None
    assert list((gaia_root / "staging").iterdir()) == []


def test_the_newest_stay_until_the_step_succeeds(gaia: Gaia, gaia_root: Path) -> None:
    for _ in range(4):
        ran(gaia)
    wait_until(lambda: kept(gaia_root) == attempts(gaia)[-2:])
    assert ran(gaia, "good") == "complete"
    wait_until(lambda: not list((gaia_root / "failed").iterdir()))
    wait_until(lambda: not list((gaia_root / "staging").iterdir()))


def test_they_stay_when_the_engine_ends_and_starts(
    gaia: Gaia, make_gaia: MakeGaia, gaia_root: Path
) -> None:
    ran(gaia)
    before = kept(gaia_root)
    gaia.close()
    with make_gaia() as again:
        again.own()
        assert kept(gaia_root) == before != []
        assert again.failures("w")[0].get("kept")
        assert ran(again, "good") == "complete"
    assert kept(gaia_root) == []


@pytest.mark.parametrize("way", ["remove", "delete", "drop", "clean"])
def test_they_go_with(way: str, gaia: Gaia, gaia_root: Path) -> None:
    ran(gaia)
    ran(gaia)
    assert len(kept(gaia_root)) == 2
    if way == "remove":
        gaia.remove("w", ["s"])
    elif way == "delete":
        gaia.delete("w")
    elif way == "drop":
        gaia.drop_attempts(keep=1)
        assert kept(gaia_root) == attempts(gaia)
        return
    else:
        gaia.close()
        config = Config.parse({"root": gaia_root})
        (check,) = [check for check in checks.examine(config).checks if check.name == "kept"]
        assert "w s" in check.text
        found = leftovers.clean(config)
        assert [(each.kind, each.workflow, each.step) for each in found] == [
            ("failed", "w", "s")
        ] * 2
    assert kept(gaia_root) == []


def test_the_oldest_go_where_all_are_too_big(make_gaia: MakeGaia, gaia_root: Path) -> None:
    gaia = make_gaia(watch=False, keep_failed=5, keep_failed_bytes=3500)
    big = command("big", "head -c 1000 /dev/zero > /out/x; false")
    huge = command("huge", "head -c 4000 /dev/zero > /out/x; false")
    gaia.upload("w", {}, [big, huge], [step(n, "big", f"o:{n}") for n in "abcde"])
    gaia.wait("w")
    wait_until(lambda: not list((gaia_root / "staging").iterdir()))
    wait_until(lambda: len(kept_failures(gaia_root)) == 3)
    before = kept_failures(gaia_root)
    gaia.merge("w", [step("h", "huge", "o:h")])
    gaia.wait("w")
    wait_until(lambda: not list((gaia_root / "staging").iterdir()))
    assert kept_failures(gaia_root) == before


def test_a_late_one_of_a_step_that_succeeded_meanwhile_goes(
    gaia: Gaia, gaia_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The success may be recorded at any moment while the directory is moved."""
    whole, late = Failures.keep, []

    def keep(self: Failures, *given: Any) -> None:
        late.append((self, given))
        Path(given[1]).rename(tmp_path / "aside")

    monkeypatch.setattr(Failures, "keep", keep)
    ran(gaia)
    ran(gaia, "good")
    ((failures, (task, directory)),) = late
    (tmp_path / "aside").rename(directory)
    whole(failures, task, directory)
    assert kept(gaia_root) == []

    answers = iter([True, False])
    monkeypatch.setattr(Database, "is_last_failure", lambda *_: next(answers))
    whole(failures, task, directory)
    assert kept(gaia_root) == []
    assert list((gaia_root / "failed").iterdir()) == []


def test_after_a_kill_what_nobody_needs_goes(
    gaia: Gaia, make_gaia: MakeGaia, gaia_root: Path
) -> None:
    """Rows that were dropped, Steps that succeeded, directories that are half removed."""
    for _ in range(2):
        ran(gaia)
    gaia.close()
    first, second = kept(gaia_root)
    with sqlite3.connect(gaia_root / "gaia.db") as database:
        database.execute("delete from tasks where id = ?", (first,))
    database.close()
    (gaia_root / "failed" / "half" / "tree").mkdir(parents=True)
    with make_gaia() as again:
        again.own()
        assert [path.name for path in (gaia_root / "failed").iterdir()] == [second]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        *(({"keep_failed": wrong}, ["keep_failed", "from 0 to 1000"]) for wrong in (-1, True, "1")),
        *(({"keep_failed_bytes": wrong}, ["bytes from 1 up"]) for wrong in (0, -1, "1g", 1.5)),
        ({"keep_failed": 1, "executor": "dask", "dask": {"local": 1}}, ["keep_failed", "workers"]),
    ],
)
def test_wrong_values_are_refused(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Config.parse(given)
    assert all(word in str(refused.value) for word in words)


def test_the_variable_gives_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config.parse({}).keep_failed == 0
    monkeypatch.setenv("GAIA_LOCAL_KEEP_FAILED", "3")
    assert Config.parse({}).keep_failed == 3
    assert Config.parse({"keep_failed": 0}).keep_failed == 0
    monkeypatch.setenv("GAIA_LOCAL_KEEP_FAILED", "yes")
    with pytest.raises(InvalidInput, match=r"GAIA_LOCAL_KEEP_FAILED.*'yes'"):
        Config.parse({})


def test_a_containers_files_are_kept_without_what_was_mounted(
    make_gaia: MakeGaia, gaia_root: Path, docker_image: str
) -> None:
    gaia = make_gaia(runtime="docker", watch=False, keep_failed=1)
    script = "cat /in/a > /out/x; mkdir /out/closed; chmod 0 /out/closed; false"
    put(gaia, "bad")
    gaia.upload("w", {}, [command("check", script, "a", image=docker_image)], [STEP])
    assert gaia.wait("w")["state"] == "error"
    wait_until(lambda: not list((gaia_root / "staging").iterdir()))
    directory = kept_failure(gaia_root, "w", "s")
    assert directory is not None
    assert (directory / "tree/out/x").read_text().startswith("bad")
    assert (directory / "tree/in/a").exists()
    gaia.delete("w")
    assert kept(gaia_root) == []
    assert list((gaia_root / "failed").iterdir()) == []


def test_a_closed_directory_is_no_reason_to_keep_nothing(
    gaia: Gaia, gaia_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of another user, in a container that runs as that, say."""
    list_directory = os.scandir

    def closed(path: str) -> Any:
        if str(path).endswith("/closed"):
            raise PermissionError(13, "Permission denied", path)
        return list_directory(path)

    monkeypatch.setattr("gaia_local.store.sizes.os.scandir", closed)
    script = "mkdir closed; echo hidden > closed/a; echo shown > /out/x; false"
    gaia.upload("w", {}, [command("c", script)], [step("s", "c", "o:x")])
    gaia.wait("w")
    wait_until(lambda: kept_failures(gaia_root))
    (found,) = kept_failures(gaia_root)
    assert found.bytes == len("shown\n")
    assert Path(found.path, "work/closed/a").exists()

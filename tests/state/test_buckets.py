"""The root remembers which directories serve the buckets of its workflows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia, GaiaError
from gaia_local.config import Config
from gaia_local.doctor.checks import examine
from gaia_local.doctor.leftovers import clean
from gaia_local.state.schema import MIGRATIONS
from gaia_local.store.storage import Storage
from support import command_line
from support.builders import COPY

STEPS = [
    {"name": "read", "command": "copy", "inputs": {"a": "g:in"}, "outputs": {"x": "d:out"}},
    {"name": "write", "command": "copy", "inputs": {"a": "d:out"}, "outputs": {"x": "g:made/out"}},
]

UPLOAD = """
import json, sys
from gaia_local import Gaia
root, shared, command, steps = json.loads(sys.argv[1])
with Gaia({"root": root, "runtime": "process", "buckets": {"g": shared}}) as gaia:
    gaia.upload("w", {}, [command], steps)
"""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir()
    (directory / "in").write_text("1")
    return directory


@pytest.fixture
def root(gaia_root: Path, shared: Path) -> Path:
    """A root without an owner, with a workflow `w` that uses the mapped bucket `g`."""
    with Gaia({"root": gaia_root, "runtime": "process", "buckets": {"g": shared}}) as gaia:
        gaia.upload("w", {}, [COPY], STEPS)
        assert gaia.wait("w", 20)["state"] == "complete"
    return gaia_root


def starts(gaia: Gaia) -> list[str]:
    return [event["task"] for event in gaia.events("w") if event["event"] == "step-start"]


@contextlib.contextmanager
def opened(root: Path, **config: Any) -> Iterator[Gaia]:
    with Gaia({"root": root, "runtime": "process", **config}) as gaia:
        yield gaia


def test_a_call_that_leaves_a_bucket_out_uses_what_the_workflows_were_made_with(
    root: Path, shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(root) as gaia:
        assert gaia.path("w", "g:in") == shared / "in"
        assert gaia.run("w", dry_run=True)["would"] == []
        gaia.run("w")
        assert gaia.wait("w", 20)["state"] == "complete"
        assert starts(gaia) == ["read", "write"]
        gaia.upload("v", {}, [COPY], STEPS)
        assert gaia.wait("v", 20)["state"] == "complete"
        told = [record.getMessage() for record in caplog.records if "bucket" in record.getMessage()]
        assert len(told) == 1
        assert "'g'" in told[0] and str(shared) in told[0]
        (shared / "in").write_text("2, longer")
        gaia.run("w")
        assert gaia.wait("w", 20)["state"] == "complete"
    assert (shared / "made/out").read_text() == "2, longer"
    assert not (root / "storage/v/g").exists()


def test_the_command_line_says_so(root: Path, shared: Path) -> None:
    arguments = [sys.executable, "-m", "gaia_local", "--root", str(root), "--runtime", "process"]

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*arguments, *words], capture_output=True, text=True, check=False)

    status = call("status", "w")
    assert "2 of 2" in status.stdout
    assert re.sub(r"\s+", " ", status.stderr).count(f"bucket 'g' is {shared}") == 1
    refused = call("--bucket", f"g={root}", "run", "w")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "gaia-local: --bucket g: workflow 'w' was made with" in refused.stderr
    assert call("--bucket", f"g={shared}", "status", "w").stderr == ""


def test_another_directory_is_refused_while_workflows_use_the_bucket(
    root: Path, shared: Path, tmp_path: Path
) -> None:
    before = (root / "gaia.db").read_bytes()
    other = tmp_path / "other"
    for call in ("workflows", "run", "status", "upload"):
        arguments: dict[str, Any] = {"workflow": "w"}
        if call == "upload":
            arguments = {"workflow": "v", "properties": {}, "commands": [COPY], "steps": STEPS}
        with (
            opened(root, buckets={"g": other}) as gaia,
            pytest.raises(GaiaError, match="config, bucket 'g'") as refusal,
        ):
            getattr(gaia, call)(**({} if call == "workflows" else arguments))
        assert "'w'" in str(refusal.value)
        assert str(shared) in str(refusal.value) and str(other) in str(refusal.value)
    assert (root / "gaia.db").read_bytes() == before
    assert not other.exists()
    with opened(root, buckets={"g": shared, "other": other}) as gaia:
        assert gaia.run("w", dry_run=True)["would"] == []


def test_a_directory_that_was_moved_may_be_reached_by_a_link(
    root: Path, shared: Path, tmp_path: Path
) -> None:
    shared.rename(tmp_path / "moved")
    shared.symlink_to("moved")
    for given in (shared, tmp_path / "moved"):
        with opened(root, buckets={"g": given}) as gaia:
            gaia.run("w")
            assert gaia.wait("w", 20)["state"] == "complete"
            assert starts(gaia) == ["read", "write"]


def test_a_disk_that_is_away_keeps_nobody_from_the_other_workflows(
    root: Path, shared: Path
) -> None:
    shared.rename(shared.with_name("away"))
    with opened(root) as gaia:
        gaia.upload("other", {}, [COPY], [STEPS[0]])
        assert gaia.wait("other", 20)["waiting-inputs"] == ["g:in"]
        assert not shared.exists()
        shared.with_name("away").rename(shared)
        gaia.run("w")
        assert gaia.wait("w", 20)["state"] == "complete"


def test_a_bucket_is_free_again_when_no_workflow_uses_it(root: Path, tmp_path: Path) -> None:
    with opened(root) as gaia:
        gaia.delete("w")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/in").write_text("other")
    with opened(root, buckets={"g": tmp_path / "other"}) as gaia:
        gaia.upload("w2", {}, [COPY], STEPS)
        assert gaia.wait("w2", 20)["state"] == "complete"
    with opened(root) as gaia:
        assert gaia.path("w2", "g:in").read_text() == "other"


def test_a_bucket_without_files_under_the_root_may_be_mapped_later(
    gaia_root: Path, shared: Path
) -> None:
    with opened(gaia_root) as gaia:
        gaia.upload("w", {}, [COPY], STEPS)
        assert gaia.wait("w", 20)["waiting-inputs"] == ["d:out", "g:in"]
    with opened(gaia_root, buckets={"g": shared}) as gaia:
        gaia.run("w")
        assert gaia.wait("w", 20)["state"] == "complete"
    with opened(gaia_root) as gaia:
        assert gaia.path("w", "g:in") == shared / "in"


def test_files_under_the_root_are_not_hidden_by_a_bucket(gaia_root: Path, shared: Path) -> None:
    with opened(gaia_root) as gaia:
        own = gaia.path("w", "g:in")
        own.parent.mkdir(parents=True)
        own.write_text("own")
        gaia.upload("w", {}, [COPY], STEPS)
        assert gaia.wait("w", 20)["state"] == "complete"
        gaia.upload(
            "v",
            {},
            [COPY],
            [{"name": "s", "command": "copy", "inputs": {"a": "d/in"}, "outputs": {"x": "g/out"}}],
        )
    with (
        opened(gaia_root, buckets={"g": shared}) as gaia,
        pytest.raises(GaiaError, match="config, bucket 'g'") as refusal,
    ):
        gaia.run("w")
    assert str(own.parent) in str(refusal.value)
    with opened(gaia_root) as gaia:
        gaia.delete("w")
    with opened(
        gaia_root, buckets={"g": shared}
    ) as gaia:  # a path without a bucket is another thing
        assert list(gaia.workflows()["workflows"]) == ["v"]


def test_a_root_that_another_process_filled_meanwhile(gaia_root: Path, shared: Path) -> None:
    with opened(gaia_root) as gaia, opened(gaia_root) as reader:
        assert gaia.workflows() == {"workflows": {}}
        given = json.dumps([str(gaia_root), str(shared), COPY, STEPS])
        subprocess.run([sys.executable, "-c", UPLOAD, given], check=True)
        assert reader.path("w", "g:in") == shared / "in"
        gaia.run("w")
        assert gaia.wait("w", 20)["state"] == "complete"
        assert starts(gaia) == ["read", "write"]


def test_users_of_one_engine_may_name_what_it_remembers(root: Path, shared: Path) -> None:
    with opened(root) as one:
        one.run("w")
        for same in ({"g": shared}, {}):
            with opened(root, buckets=same) as two:
                assert two.path("w", "g:in") == shared / "in"
        with pytest.raises(GaiaError, match="config, bucket 'g'"):
            Gaia({"root": root, "buckets": {"g": shared / "other"}})
        code = (
            "import json, sys; from gaia_local import Gaia; Gaia(json.loads(sys.argv[1])).run('w')"
        )

        def call(**buckets: Path) -> subprocess.CompletedProcess[str]:
            config = {
                "root": str(root),
                "buckets": {name: str(path) for name, path in buckets.items()},
            }
            return subprocess.run(
                [sys.executable, "-c", code, json.dumps(config)],
                capture_output=True,
                text=True,
                check=False,
            )

        assert call(g=shared).returncode == 0
        assert call().returncode == 0
        assert "config, bucket 'g'" in call(g=shared / "other").stderr
        assert "config, bucket 'h'" in call(h=shared).stderr


def test_leftovers_beside_a_remembered_bucket_are_cleaned(root: Path, shared: Path) -> None:
    ours, others = Storage(root, {"g": shared}).area(str(shared)), shared / ".gaia-local-other"
    for area in (Path(ours), others):
        (area / "task").mkdir(parents=True)
    clean(Config.parse({"root": root, "runtime": "process"}))
    assert (os.listdir(ours), os.listdir(others)) == ([], ["task"])


def test_a_root_from_before_remembers_from_the_next_call_on(root: Path, shared: Path) -> None:
    with contextlib.closing(sqlite3.connect(root / "gaia.db")) as connection, connection:
        later = "".join(list(MIGRATIONS.values())[1:])
        for table in re.findall(r"create table (\w+)", later):
            connection.execute(f"drop table {table}")
        connection.execute("drop index data_by_epoch")
        for table, column in re.findall(r"alter table (\w+) add column (\w+)", later):
            if table != "made_tasks":
                connection.execute(f"alter table {table} drop column {column}")
        connection.execute("pragma user_version = 1")
    with opened(root) as gaia:
        # Read before anybody brings it up to date.
        assert list(gaia.workflows()["workflows"]) == ["w"]
        assert gaia.path("w", "g:in") == root / "storage/w/g/in"
    with opened(root, buckets={"g": shared}) as gaia:
        gaia.run("w")
        assert gaia.wait("w", 20)["state"] == "complete"
        assert starts(gaia) == ["read", "write"]
    with opened(root) as gaia:
        assert gaia.path("w", "g:in") == shared / "in"


# --------------------------------------------------------------------------- recorded for all calls


def bucket(root: Path, *words: str, status: int = 0) -> str:
    """The output of `gaia-local bucket`."""
    return command_line.call("--root", str(root), "bucket", *words, status=status).output


def test_a_recorded_bucket_serves_all_later_calls(
    gaia_root: Path, shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert bucket(gaia_root) == "no bucket is mapped to a directory\n"
    assert bucket(gaia_root, "g", str(shared)) == f"bucket g is {shared}\n"
    with opened(gaia_root) as gaia:
        gaia.upload("w", {}, [COPY], STEPS)
        assert gaia.wait("w", 20)["state"] == "complete"
    assert (shared / "made/out").read_text() == "1"
    assert "bucket" not in caplog.text
    assert json.loads(bucket(gaia_root, "--json")) == {
        "buckets": {"g": {"directory": str(shared), "workflows": ["w"]}}
    }
    rows = [row.split() for row in bucket(gaia_root).splitlines()]
    assert rows == [["bucket", "directory", "workflows"], ["g", str(shared), "w"]]
    with opened(gaia_root, buckets={"g": shared}) as gaia:
        assert gaia.path("w", "g:in") == shared / "in"


def test_a_recorded_bucket_can_be_replaced_and_forgotten_while_no_workflow_uses_it(
    gaia_root: Path, shared: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    bucket(gaia_root, "g", str(tmp_path / "other"))
    bucket(gaia_root, "g", str(shared))
    with opened(gaia_root, buckets={"g": tmp_path / "other"}) as gaia:  # a config key still can
        assert gaia.path("w", "g:in") == tmp_path / "other/in"
    with opened(gaia_root) as gaia:
        assert gaia.path("w", "g:in") == shared / "in"
    assert bucket(gaia_root, "g", "--forget") == "bucket g is forgotten\n"
    with opened(gaia_root) as gaia:
        assert gaia.path("w", "g:in") == gaia_root / "storage/w/g/in"
    assert "has no record of it" in bucket(gaia_root, "g", "--forget", status=2)


def test_what_workflows_use_is_neither_replaced_nor_forgotten(root: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (tmp_path / "other").mkdir()
    refused = bucket(root, "g", str(tmp_path / "other"), status=2)
    assert "'w' was made with" in refused and str(shared) in refused
    bucket(root, "g", str(shared))
    assert "it is used by w; delete" in bucket(root, "g", "--forget", status=2)
    with opened(root) as gaia:
        gaia.delete("w")
    bucket(root, "g", "--forget")


def test_bad_records_of_buckets_are_refused(gaia_root: Path, shared: Path, tmp_path: Path) -> None:
    assert "isn't a directory; make it" in bucket(gaia_root, "g", str(tmp_path / "no"), status=2)
    assert "contains ':'" in bucket(gaia_root, "a:b", str(shared), status=2)
    for words in (["g"], ["--forget"], ["g", str(shared), "--forget"]):
        assert "give NAME and DIR" in bucket(gaia_root, *words, status=2)
    assert bucket(gaia_root) == "no bucket is mapped to a directory\n"
    with opened(gaia_root) as gaia:
        gaia.own()
        assert "is in use by process" in bucket(gaia_root, "g", str(shared), status=2)


def test_the_doctor_lists_buckets(gaia_root: Path, shared: Path, tmp_path: Path) -> None:
    def told(**buckets: Path) -> tuple[str, str]:
        config = Config.parse({"root": gaia_root, "runtime": "process", "buckets": buckets})
        (check,) = [check for check in examine(config).checks if check.name == "buckets"]
        return check.verdict, check.text

    assert told() == ("ok", "none is mapped to a directory")
    bucket(gaia_root, "g", str(shared))
    assert told() == ("ok", f"g is {shared}")
    assert told(h=tmp_path / "no") == ("note", f"g is {shared}; h is {tmp_path}/no (not there)")
    shared.rename(tmp_path / "moved")
    assert told() == ("note", f"g is {shared} (not there)")

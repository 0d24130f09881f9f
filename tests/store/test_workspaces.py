"""A Task's workspace on a machine that only shares the root: private, and in its lease."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gaia_local.store import disk_sync
from gaia_local.store.leases import Leases, take_up
from gaia_local.store.storage import Storage
from gaia_local.store.task_files import TaskFiles
from gaia_local.store.workspaces import LeasedWorkspace
from support.stores import StoreBench


class LeasedBench(StoreBench):
    """An engine's store, and a worker elsewhere that took up a Task."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "root", far=folder / "far")
        self.leased = self.task({"/in/x": "b:x"}, {"/out/y": "b:y", "/out/z": "far:z"}, id="t.1")
        self.put("b:x", "x")
        self.leases = Leases(self.storage)
        self.leases.make("t.1", self.leased)
        take_up(self.root, "t.1")
        self.scratch = folder / "scratch"
        (self.scratch / "staging").mkdir(parents=True)
        workers_storage = Storage(self.root, {"far": folder / "far"})
        self.files = TaskFiles(self.leased, LeasedWorkspace(workers_storage, self.scratch))

    def make_outputs(self) -> None:
        self.files.take_in()
        for name in ("y", "z"):
            Path(self.files.tree, "out", name).write_text(name)
        assert self.files.missing() == []


@pytest.fixture
def bench(tmp_path: Path) -> LeasedBench:
    return LeasedBench(tmp_path.resolve())


def test_inputs_are_copied_into_the_scratch_directory(bench: LeasedBench) -> None:
    bench.files.take_in()
    assert (bench.scratch / "staging/t.1/tree/in/x").read_text() == "x"
    assert bench.files.log == f"{bench.root}/staging/t.1/log"


def test_what_is_prepared_is_flushed_and_lies_in_the_lease(
    bench: LeasedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(
        disk_sync, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino)
    )
    bench.make_outputs()
    outputs = {output.key: output for output in bench.files.prepare(bench.leased.outputs, {})}
    assert Path(outputs["b:y"].source).parent == bench.root / "staging/t.1"
    far = str(bench.storage.mapped()[0])
    assert Path(outputs["far:z"].source).parent == Path(bench.storage.area(far), "t.1")
    assert {os.stat(output.source).st_ino for output in outputs.values()} <= set(flushed)
    bench.files.discard()
    assert os.listdir(bench.scratch / "staging") == []
    bench.storage.publish(outputs.values())
    assert Path(bench.storage.path("w", "b:y")).read_text() == "y"
    assert Path(bench.storage.path("w", "far:z")).read_text() == "z"


def test_nothing_is_prepared_under_a_lease_that_was_taken_back(bench: LeasedBench) -> None:
    bench.make_outputs()
    bench.leases.revoke("t.1")
    with pytest.raises(FileNotFoundError):
        bench.files.prepare(bench.leased.outputs, {})
    assert Path(bench.files.tree, "out/y").read_text() == "y"
    assert not os.path.lexists(bench.root / "staging/t.1")

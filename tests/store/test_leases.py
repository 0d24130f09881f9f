"""Leases: workers' directories for results, taken up once, and revoked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gaia_local.errors import StorageError
from gaia_local.model.tasks import Task
from gaia_local.store.leases import Leases, NotLeased, TakenUp, find_log, is_held, take_up
from support.stores import StoreBench


class LeaseBench(StoreBench):
    """A store with a bucket elsewhere."""

    def __init__(self, top: Path) -> None:
        self.bucket = top / "bucket"
        super().__init__(top / "root", ours=self.bucket)
        self.leases = Leases(self.storage)

    def makes(self, *keys: str) -> Task:
        return self.task(id="t", outputs={f"/out/{key}": key for key in keys})

    def files(self) -> list[str]:
        """All there is in the places for leases."""
        tops = (self.root / "staging", *map(Path, self.storage.areas()))
        return sorted(str(path.relative_to(top)) for top in tops for path in top.rglob("*"))


@pytest.fixture
def bench(tmp_path: Path) -> LeaseBench:
    return LeaseBench(tmp_path)


def test_a_lease_is_taken_up_once(bench: LeaseBench) -> None:
    bench.leases.make("t.1", bench.makes("d:x"))
    assert not is_held(bench.root, "t.1")
    take_up(bench.root, "t.1")
    assert is_held(bench.root, "t.1")
    with pytest.raises(TakenUp):
        take_up(bench.root, "t.1")
    bench.leases.end("t.1")
    assert bench.files() == []


def test_a_task_without_a_lease_cannot_be_taken_up(bench: LeaseBench) -> None:
    with pytest.raises(
        NotLeased, match=r"was revoked, or .* is not the engine's root: see dask\.path_map"
    ):
        take_up(bench.root, "t.1")


@pytest.mark.parametrize("taken", [False, True])
def test_a_lease_that_is_taken_back(bench: LeaseBench, taken: bool) -> None:
    bench.leases.make("t.1", bench.makes("d:x", "ours:x"))
    if taken:
        take_up(bench.root, "t.1")
        (bench.root / "staging/t.1/output-0").write_text("late")
        Path(bench.storage.area(str(bench.bucket)), "t.1/0").write_text("late")
    bench.leases.revoke("t.1")
    bench.leases.revoke("t.1")
    assert not is_held(bench.root, "t.1")
    with pytest.raises(NotLeased):
        take_up(bench.root, "t.1")
    for place in (
        bench.root / "staging/t.1/output-1",
        Path(bench.storage.area(str(bench.bucket)), "t.1/1"),
    ):
        with pytest.raises(FileNotFoundError):
            place.write_text("later")
    bench.leases.end("t.1")
    assert bench.files() == []


def test_a_directory_is_used_again_when_it_is_empty(bench: LeaseBench) -> None:
    for number in range(3):
        name = f"t.{number}"
        bench.leases.make(name, bench.makes())
        take_up(bench.root, name)  # which would fail if the log of the one before was left
        if number == 1:
            (bench.root / f"staging/{name}/output-0").write_text("never published")
        bench.leases.end(name)
        assert bench.files() == []
    bench.storage.close()
    assert not (bench.root / "spare").exists()


def test_only_the_buckets_that_outputs_go_to_have_a_part(bench: LeaseBench) -> None:
    bench.leases.make("t.1", bench.makes("d:x"))
    assert bench.storage.areas() == []
    bench.leases.make("t.2", bench.makes("ours:x"))
    assert [os.listdir(area) for area in bench.storage.areas()] == [["t.2"]]


def test_a_lease_that_cannot_be_made(bench: LeaseBench) -> None:
    bench.leases.make("t.1", bench.makes())
    with pytest.raises(StorageError, match="a directory for the Task's outputs can't be made"):
        bench.leases.make("t.1", bench.makes())


@pytest.mark.parametrize("revoked", [False, True])
def test_the_log_is_found_while_it_is_written_and_kept(bench: LeaseBench, revoked: bool) -> None:
    bench.leases.make("t.2", bench.makes())
    take_up(bench.root, "t.2")
    log = find_log(bench.storage, "w", "t")
    with log.open("a") as writer:
        writer.write("said\n")
    assert log == bench.root / "staging/t.2/log"
    if revoked:
        bench.leases.revoke("t.2")
    bench.leases.keep_log("t.2", bench.makes())
    bench.leases.end("t.2")
    assert find_log(bench.storage, "w", "t").read_text() == "said\n"
    assert find_log(bench.storage, "w", "t") == Path(bench.storage.log("w", "t"))


def test_a_silent_program_leaves_no_log(bench: LeaseBench) -> None:
    bench.leases.make("t.1", bench.makes())
    take_up(bench.root, "t.1")
    bench.leases.keep_log("t.1", bench.makes())
    assert not os.path.exists(bench.storage.log("w", "t"))

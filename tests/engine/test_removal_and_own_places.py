"""The engine never touches others' files, and no two engines get into one root."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia, GaiaError
from gaia_local.config import Config
from gaia_local.doctor.leftovers import clean
from gaia_local.engine.local_socket import Listener
from gaia_local.errors import RootInUse, StorageError
from gaia_local.store import removal
from gaia_local.store.ownership import Ownership, owner
from gaia_local.store.storage import Storage
from support.fixtures import MakeGaia, WaitUntil
from support.trees import as_nobody, other_disk, public

__all__ = ["other_disk", "public"]

COMMAND = {
    "name": "c",
    "image": "i",
    "command": ["sh", "-c", "echo made > /out/x"],
    "outputs": {"x": "/out/x"},
}
STEP = {"name": "s", "command": "c", "outputs": {"x": "b:x"}}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Somebody's files."""
    top = tmp_path / "scratch"
    (top / "deep").mkdir(parents=True)
    (top / "deep/thesis").write_text("years of work")
    (top / "file").write_text("more of it")
    return top


def untouched(scratch: Path) -> bool:
    found = {str(path.relative_to(scratch)) for path in scratch.rglob("*")}
    return (
        found == {"deep", "deep/thesis", "file"} and (scratch / "file").read_text() == "more of it"
    )


def use(root: Path, **config: Any) -> None:
    with contextlib.closing(
        Gaia({"root": root, "runtime": "process", "watch": False, **config})
    ) as gaia:
        gaia.upload("w", {}, [COMMAND], [STEP])
        gaia.wait("w", timeout=20)


# -------------------------------------------------------------------------------- places of its own


@pytest.mark.parametrize("made_before", [True, False], ids=["known root", "new root"])
@pytest.mark.parametrize(
    "place", ["staging", "logs", "spare", "owner", "gaia.db", "gaia.db-wal", "gaia.db-journal"]
)
def test_a_link_in_one_of_its_places_is_refused_by_name(
    tmp_path: Path, scratch: Path, place: str, made_before: bool
) -> None:
    root = tmp_path / "root"
    if made_before:
        use(root)
        subprocess.run(["rm", "-rf", str(root / place)], check=True)
    root.mkdir(exist_ok=True)
    (root / place).symlink_to(
        scratch if place in ("staging", "logs", "spare") else scratch / "file"
    )
    with pytest.raises(GaiaError, match=f"{place}.* link"):
        use(root)
    assert untouched(scratch)
    with contextlib.suppress(GaiaError):
        clean(Config.parse({"root": root, "runtime": "process"}))
    assert untouched(scratch)
    (root / place).unlink(missing_ok=True)
    use(tmp_path / "another")
    if not made_before:
        use(root)


def test_a_link_that_somebody_put_into_a_bucket_is_refused_by_name(
    tmp_path: Path, scratch: Path, other_disk: Path
) -> None:
    root = tmp_path / "root"
    use(root)
    bucket = other_disk / "bucket"
    bucket.mkdir()
    area = Path(Storage(root, {"far": bucket}).area(str(bucket)))
    area.rmdir()
    area.symlink_to(scratch)
    gaia = Gaia({"root": root, "runtime": "process", "watch": False, "buckets": {"far": bucket}})
    with contextlib.closing(gaia):
        step = {**STEP, "outputs": {"x": "far:x"}}
        with contextlib.suppress(GaiaError):
            gaia.upload("far", {}, [COMMAND], [step])
            gaia.wait("far", timeout=20)
            (failure,) = gaia.failures("far")
            assert f"{area} is a link" in (failure["message"] or "")
    assert untouched(scratch)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_a_directory_of_another_user_is_no_root_and_no_area(public: Path, tmp_path: Path) -> None:
    root = public / "root"
    as_nobody(root.mkdir)
    root.chmod(0o777)
    with pytest.raises(StorageError, match="belongs to another user"):
        Ownership(root)
    assert os.listdir(root) == []
    mine = tmp_path / "root"
    use(mine)
    area = Path(Storage(mine, {"shared": public}).area(str(public)))
    area.rmdir()
    as_nobody(area.mkdir)
    with pytest.raises(StorageError, match="belongs to another user"):
        Storage(mine, {"shared": public}).area(str(public))


# ------------------------------------------------------------------------------------------ removal


def test_removal_follows_no_link_that_comes_while_it_goes_on(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program swaps a directory for a link between the look at it and the way into it."""
    top = tmp_path / "top"
    (top / "inner").mkdir(parents=True)
    (top / "inner/file").touch()
    listdir = os.listdir

    def swapped(place: Any = ".") -> list[str]:
        found = listdir(place)
        if "inner" in found and not (top / "inner").is_symlink():
            (top / "inner").rename(tmp_path / "away")
            (top / "inner").symlink_to(scratch)
        return found

    monkeypatch.setattr(os, "listdir", swapped)
    removal.remove(str(top))
    assert untouched(scratch)
    assert not top.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize(
    "what", [["--bind", "{scratch}"], ["-t", "tmpfs", "tmpfs"]], ids=["bind", "tmpfs"]
)
def test_removal_enters_no_disk_that_is_mounted_there(
    tmp_path: Path, scratch: Path, what: list[str]
) -> None:
    place = tmp_path / "top/deep/mounted"
    place.mkdir(parents=True)
    subprocess.run(
        ["mount", *(word.format(scratch=scratch) for word in what), str(place)], check=True
    )
    try:
        (place / "kept").touch()
        with pytest.raises(OSError, match=r"busy: .*top/deep/mounted"):
            removal.remove(str(tmp_path / "top"))
        assert (place / "kept").exists()
        (place / "kept").unlink()
    finally:
        subprocess.run(["umount", str(place)], check=True)
    removal.remove(str(tmp_path / "top"))
    assert untouched(scratch)
    assert not (tmp_path / "top").exists()


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    at = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    removal.remove(str(tmp_path / "d"))
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------------------- two roots, one bucket


def test_two_roots_with_one_bucket_leave_each_others_files_alone(
    tmp_path: Path, other_disk: Path
) -> None:
    bucket = other_disk / "bucket"
    bucket.mkdir()
    for name in ("one", "two"):
        use(tmp_path / name, buckets={"far": bucket})
    first = Storage(tmp_path / "one", {"far": bucket})
    half = Path(first.area(str(bucket)), "task")
    half.mkdir()
    (half / "0").write_text("on its way")
    second = Gaia(
        {"root": tmp_path / "two", "runtime": "process", "watch": False, "buckets": {"far": bucket}}
    )
    second.own()
    second.close()
    clean(
        Config.parse({"root": tmp_path / "two", "runtime": "process", "buckets": {"far": bucket}})
    )
    assert (half / "0").read_text() == "on its way"
    use(tmp_path / "three", buckets={"far": bucket})
    assert half.exists()
    first.sweep()
    assert not half.exists()


def test_a_root_whose_identity_is_deleted_goes_on(
    make_gaia: MakeGaia, gaia_root: Path, other_disk: Path
) -> None:
    gaia = make_gaia(buckets={"far": other_disk}, watch=False)
    gaia.own()
    (gaia_root / "id").unlink()
    gaia.upload("w", {}, [COMMAND], [{**STEP, "outputs": {"x": "far:x"}}])
    assert gaia.wait("w", timeout=20)["state"] == "complete", gaia.failures("w")


def test_a_copy_of_a_root_has_an_area_of_its_own(tmp_path: Path, other_disk: Path) -> None:
    use(tmp_path / "one")
    subprocess.run(["cp", "-a", str(tmp_path / "one"), str(tmp_path / "two")], check=True)
    use_again = Gaia({"root": tmp_path / "two", "runtime": "process", "watch": False})
    use_again.own()
    use_again.close()
    areas = [
        Storage(tmp_path / name, {"far": other_disk}).area(str(other_disk))
        for name in ("one", "two")
    ]
    assert areas[0] != areas[1]


# --------------------------------------------------------------- files that are taken from under it


def test_no_second_owner_while_the_first_lives_whatever_is_deleted(gaia_root: Path) -> None:
    first = Ownership(gaia_root)
    try:
        (gaia_root / "owner").unlink()
        assert owner(gaia_root) == os.getpid()
        with pytest.raises(RootInUse, match=f"process {os.getpid()}"):
            Ownership(gaia_root)
        (gaia_root / "owner").unlink()
        assert owner(gaia_root) is not None
    finally:
        first.release()
    assert owner(gaia_root) is None
    Ownership(gaia_root).release()


@pytest.mark.parametrize("how", ["deleted", "replaced", "with its root"])
def test_a_state_file_that_is_taken_away_is_noticed(
    make_gaia: MakeGaia,
    gaia_root: Path,
    how: str,
    caplog: pytest.LogCaptureFixture,
    wait_until: WaitUntil,
) -> None:
    gaia = make_gaia(watch=False)
    gaia.upload("w", {}, [COMMAND], [STEP])
    gaia.wait("w", timeout=20)
    state = gaia_root / "gaia.db"
    if how == "with its root":
        # A Task's end may still make directories.
        wait_until(lambda: not subprocess.call(["rm", "-rf", str(gaia_root)]))
    else:
        state.unlink()
        if how == "replaced":
            state.write_bytes(b"")
    with pytest.raises(GaiaError, match=r"gaia\.db was removed or replaced while it was open"):
        gaia.expire("w", ["s"])
    with caplog.at_level(logging.ERROR, "gaia_local"):
        gaia.close()
    assert "was removed or replaced while it was open" in caplog.text


def test_closing_lets_go_of_everything_whatever_the_disk_says(
    make_gaia: MakeGaia,
    gaia_root: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk_is_broken = threading.Event()
    close_listener, close_storage = Listener.close, Storage.close

    def close(close_part: Callable[[Any], None], part: Any) -> None:
        close_part(part)
        if disk_is_broken.is_set():
            raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Listener, "close", lambda listener: close(close_listener, listener))
        patch.setattr(Storage, "close", lambda storage: close(close_storage, storage))
        gaia = make_gaia()
        gaia.own()
        disk_is_broken.set()
        gaia.close()
    assert owner(gaia_root) is None
    assert caplog.text.count("Read-only file system") == 2
    use(gaia_root)

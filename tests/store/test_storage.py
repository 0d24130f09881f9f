"""The store: paths of keys, inputs of Tasks, publishing of outputs, links that lead out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gaia_local.errors import StorageError
from gaia_local.model.assignment import Output
from gaia_local.model.keys import Capture
from gaia_local.model.tasks import Task
from gaia_local.store import fingerprints, removal, storable
from gaia_local.store.storage import Storage
from gaia_local.store.task_files import TaskFiles
from gaia_local.store.workspaces import LocalWorkspace
from support.stores import StoreBench
from support.trees import ODD_NAMES, other_disk, special, tree

__all__ = ["other_disk"]


class StagingBench(StoreBench):
    """One Task's way through a store."""

    def __init__(self, root: Path, **buckets: Path) -> None:
        super().__init__(root, **buckets)
        self.workspace = LocalWorkspace(self.storage)
        self.captures = dict.fromkeys(Capture, f"{root}/captured")

    def stage(self, task: Task) -> TaskFiles:
        files = TaskFiles(task, self.workspace)
        files.take_in()
        return files

    def prepare(self, task: Task, staging: TaskFiles) -> list[Output]:
        assert staging.missing() == []
        return staging.prepare(task.outputs, self.captures)

    def publish(self, task: Task, staging: TaskFiles) -> list[Output]:
        """Prepare and publish, and check the fingerprints of the published outputs."""
        outputs = self.storage.publish(self.prepare(task, staging))
        self.workspace.discard(task)
        for output in outputs:
            assert fingerprints.fingerprint(output.target) == output.fingerprint
            assert output.target == self.storage.path("w", output.key)
        assert os.listdir(self.root / "staging") == []
        return outputs

    def content(self, key: str) -> str:
        return Path(self.storage.path("w", key)).read_text()


@pytest.fixture
def bench(tmp_path: Path) -> StagingBench:
    return StagingBench(tmp_path.resolve() / "root")


# --------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("b:a/x", "/r/storage/w/b/a/x"),
        ("a/x", "/r/storage/w/a/x"),
        ("x", "/r/storage/w/x"),
        ("b:dir/", "/r/storage/w/b/dir"),
        ("b:dir//", "/r/storage/w/b/dir"),
        ("b:./a//b/./c", "/r/storage/w/b/a/b/c"),
        ("b:a/.", "/r/storage/w/b/a"),
        ("b:a./b", "/r/storage/w/b/a./b"),
        ("b:.hidden", "/r/storage/w/b/.hidden"),
        ("composite/O/I/key:name", "/r/storage/w/composite/O/I/key/name"),
        ("b:x:y:z", "/r/storage/w/b/x:y:z"),
        ("b/c:x", "/r/storage/w/b/c/x"),
        ("genomes:hg38/chr1", "/data/genomes/hg38/chr1"),
        ("genomes:all/", "/data/genomes/all"),
        ("genomes/x", "/r/storage/w/genomes/x"),
        ("genomes2:x", "/r/storage/w/genomes2/x"),
        ("fs:etc/x", "/etc/x"),
        *((f"b:{name}", f"/r/storage/w/b/{name}") for name in [*ODD_NAMES, "a:b:c"]),
    ],
)
def test_a_key_names_a_path(key: str, path: str) -> None:
    store = Storage(Path("/r"), {"genomes": Path("/data/genomes"), "fs": Path("/")})
    assert store.path("w", key) == path


def test_workflows_have_their_own_space_and_share_mapped_buckets() -> None:
    store = Storage(Path("/r"), {"genomes": Path("/data")})
    assert store.path("one", "b:x") != store.path("two", "b:x")
    assert store.path("one", "genomes:x") == store.path("two", "genomes:x")


def test_the_layout_is_for_the_owner_alone(bench: StagingBench) -> None:
    assert sorted(os.listdir(bench.root)) == ["id", "logs", "staging", "storage"]
    for name in (".", "logs", "staging", "storage"):
        assert stat.S_IMODE(os.stat(bench.root / name).st_mode) == 0o700
    bench.storage.create()


def test_a_key_of_a_directory_is_not_there_where_a_file_lies(bench: StagingBench) -> None:
    path = str(bench.put("b:x"))
    assert bench.storage.quick_fingerprint("b:x", path) is not None
    assert bench.storage.exists("b:x", path)
    assert bench.storage.quick_fingerprint("b:x/", path) is None
    assert not bench.storage.exists("b:x/", path)
    assert bench.storage.fingerprint("b:x/", path) is None
    path = str(bench.put("b:d/", None))
    assert bench.storage.quick_fingerprint("b:d/", path) == bench.storage.quick_fingerprint(
        "b:d", path
    )
    assert bench.storage.exists("b:d/", path)
    assert bench.storage.quick_fingerprint("b:none", path + "/none") is None
    assert bench.storage.fingerprint("b:none", path + "/none") is None


def test_deleting_a_workflow(tmp_path: Path) -> None:
    bench = StagingBench(tmp_path / "root", shared=tmp_path / "shared")
    kept = [bench.put("shared:x"), bench.put("b:x", workflow="other")]
    gone = bench.put("b:x")
    log = Path(bench.storage.log("w", "t"))
    log.parent.mkdir()
    log.touch()
    bench.storage.delete("w", data=False)
    assert gone.exists()
    assert not log.exists()
    bench.storage.delete("w", data=True)
    assert not gone.parent.exists()
    assert all(path.exists() for path in kept)


def test_a_workflow_is_out_of_the_way_before_the_first_of_its_files_is_gone(
    bench: StagingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, log = bench.put("b:d/x"), Path(bench.storage.log("w", "t"))
    log.parent.mkdir()
    log.touch()
    remove = removal.remove
    seen: list[tuple[bool, bool]] = []

    def watched(path: str) -> None:
        if os.path.lexists(path):
            seen.append(
                (os.path.exists(f"{bench.root}/storage/w"), os.path.exists(f"{bench.root}/logs/w"))
            )
        remove(path)

    monkeypatch.setattr(removal, "remove", watched)
    bench.storage.delete("w", data=True)
    assert set(seen) == {(False, False)}
    assert not path.exists()
    assert (os.listdir(bench.root / "storage"), os.listdir(bench.root / "logs")) == ([], [])


def test_files_left_by_an_interrupted_delete_are_removed_later(
    bench: StagingBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = bench.put("b:x", workflow="other")
    remove = removal.remove

    def interrupted(path: str) -> None:
        if os.path.lexists(path):
            raise KeyboardInterrupt
        remove(path)

    def break_off() -> None:
        bench.put("b:x")
        with monkeypatch.context() as patch:
            patch.setattr(removal, "remove", interrupted)
            with pytest.raises(KeyboardInterrupt):
                bench.storage.delete("w", data=True)
        assert len(os.listdir(bench.root / "storage")) == 2

    break_off()
    bench.put("b:x")
    bench.storage.delete("w", data=True)
    assert os.listdir(bench.root / "storage") == ["other"]
    break_off()
    bench.storage.sweep()
    assert os.listdir(bench.root / "storage") == ["other"]
    assert kept.exists()


# ------------------------------------------------------------------------------------------ staging


def test_inputs_are_private_writable_copies(bench: StagingBench) -> None:
    original = bench.put("b:x", "original")
    original.chmod(0o444)
    staging = bench.stage(bench.task({"/in/x": "b:x"}))
    copy = Path(staging.tree, "in/x")
    copy.write_text("changed")
    assert original.read_text() == "original"
    assert tree(Path(staging.tree)) == {"in": None, "in/x": "changed"}
    assert os.listdir(staging.work) == []
    assert Path(staging.log).parent.is_dir()
    assert stat.S_IMODE(os.stat(Path(staging.directory.top)).st_mode) == 0o700


def test_with_mounts_only_the_inputs_that_must_be_are_copied(bench: StagingBench) -> None:
    path = bench.put("b:x")
    bench.put("b:dir/y")
    inputs = {"/in/x": "b:x", "/near/": "b:dir/"}
    files = TaskFiles(bench.task(inputs, {"/near/made": "o:made"}), bench.workspace)
    files.take_in(mounts=True)
    assert tree(Path(files.tree)) == {"near": None, "near/y": "content"}
    assert files.mounted == (("/in/x", str(path)),)


@pytest.mark.parametrize("name", [*ODD_NAMES, "a:b:c"])
def test_odd_names_come_and_go(bench: StagingBench, name: str) -> None:
    bench.put(f"b:{name}", name)
    task = bench.task({f"/in/{name}": f"b:{name}"}, {f"/out/{name}": f"o:{name}"})
    staging = bench.stage(task)
    assert Path(staging.directory.local(f"/in/{name}")).read_text() == name
    Path(staging.directory.local(f"/out/{name}")).write_text("made")
    bench.publish(task, staging)
    assert bench.content(f"o:{name}") == "made"


def test_places_for_outputs_are_there_and_empty(bench: StagingBench) -> None:
    bench.put("b:in/x", "x")
    outputs = {
        "/out/deep/file": "b:f",
        "/dir/": "b:d/",
        "/also": "b:e/",
        ">": "b:g",
        ">>": "b:log",
        "STDOUT": "b:h",
    }
    staging = bench.stage(bench.task({"/in/": "b:in/"}, outputs, stdout="/elsewhere/stdout"))
    made = ["also", "dir", "elsewhere", "in", "out", "out/deep"]
    assert tree(Path(staging.tree)) == {**dict.fromkeys(made), "in/x": "x"}


def test_inputs_in_inputs_whatever_the_order(bench: StagingBench) -> None:
    bench.put("b:dir/own", "own")
    bench.put("b:dir/x", "of the directory")
    bench.put("b:x", "separate")
    bench.put("b:deep", "deep")
    inputs = {"/in/a/b/deep": "b:deep", "/in/x": "b:x", "/in/": "b:dir/"}
    staging = bench.stage(bench.task(inputs))
    expected = {
        "in": None,
        "in/a": None,
        "in/a/b": None,
        "in/a/b/deep": "deep",
        "in/own": "own",
        "in/x": "separate",
    }
    assert tree(Path(staging.tree)) == expected


def test_outputs_in_outputs_whatever_the_order(bench: StagingBench) -> None:
    staging = bench.stage(
        bench.task({}, {"/out/sub/deep/": "b:1/", "/out/sub/x/y": "b:2", "/out/": "b:3/"})
    )
    assert tree(Path(staging.tree)) == dict.fromkeys(
        ["out", "out/sub", "out/sub/deep", "out/sub/x"]
    )


def test_an_output_in_an_input_directory(bench: StagingBench) -> None:
    bench.put("b:in/old", "old")
    bench.put("b:in/kept", "kept")
    bench.put("b:in/dir/left", "left")
    task = bench.task({"/data/": "b:in/"}, {"/data/old": "o:old", "/data/dir/": "o:dir/"})
    staging = bench.stage(task)
    assert tree(Path(staging.tree)) == {"data": None, "data/dir": None, "data/kept": "kept"}
    Path(staging.tree, "data/old").write_text("new")
    Path(staging.tree, "data/dir/made").write_text("made")
    bench.publish(task, staging)
    assert bench.content("o:old") == "new"
    assert tree(bench.root / "storage/w/o/dir") == {"made": "made"}
    assert bench.content("b:in/old") == "old"


def test_an_input_in_an_output_directory(bench: StagingBench) -> None:
    bench.put("b:seed", "seed")
    task = bench.task({"/out/seed": "b:seed"}, {"/out/": "o:all/"})
    staging = bench.stage(task)
    assert tree(Path(staging.tree)) == {"out": None, "out/seed": "seed"}
    Path(staging.tree, "out/made").write_text("made")
    bench.publish(task, staging)
    assert tree(bench.root / "storage/w/o/all") == {"made": "made", "seed": "seed"}
    assert bench.content("b:seed") == "seed"


def test_an_input_that_vanished_is_named(bench: StagingBench) -> None:
    with pytest.raises(StorageError, match="input 'b:gone' vanished from the store"):
        bench.stage(bench.task({"/in/x": "b:gone"}))


@pytest.mark.parametrize("kind", ["FIFO", "socket"])
def test_a_special_file_as_input_is_refused_by_name(bench: StagingBench, kind: str) -> None:
    directory = bench.put("b:in/", None)
    special(directory / "odd", kind)
    with pytest.raises(StorageError, match=f"b/in/odd is a {kind}"):
        bench.stage(bench.task({"/in/": "b:in/"}))


# --------------------------------------------------------------------------------- links and inputs


def test_a_link_that_the_user_put_there_is_followed(bench: StagingBench, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far/x").write_text("far away")
    bench.put("b:in/", None).joinpath("link").symlink_to(tmp_path / "far")
    Path(bench.storage.path("w", "b:x")).symlink_to(tmp_path / "far/x")
    staging = bench.stage(bench.task({"/in/": "b:in/", "/x": "b:x"}))
    assert tree(Path(staging.tree)) == {
        "in": None,
        "in/link": None,
        "in/link/x": "far away",
        "x": "far away",
    }


@pytest.mark.parametrize("at", ["b:x", "b:dir/x"])
def test_a_link_that_a_step_made_is_not_followed_out_of_the_store(
    bench: StagingBench, tmp_path: Path, at: str
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/x").write_text("secret")
    place = Path(bench.storage.path("w", "b:x" if at == "b:x" else "b:dir"))
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / ("secret/x" if at == "b:x" else "secret"))
    task = bench.task({"/in/x": at}, external=False)
    with pytest.raises(
        StorageError, match=f"input '{at}' leads out of the store, to {tmp_path}/secret/x"
    ):
        bench.stage(task)
    with pytest.raises(StorageError, match="leads out of the store"):
        bench.storage.source(task, at)


def test_a_link_inside_a_made_directory_stays_a_link(bench: StagingBench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    directory = bench.put("b:dir/", None)
    (directory / "out").symlink_to(tmp_path / "secret")
    (directory / "in").symlink_to("../other")
    staging = bench.stage(bench.task({"/in/": "b:dir/"}, external=False))
    assert tree(Path(staging.tree)) == {
        "in": None,
        "in/out": f"-> {tmp_path}/secret",
        "in/in": "-> ../other",
    }


def test_a_link_to_elsewhere_in_the_store_is_followed(tmp_path: Path) -> None:
    bench = StagingBench(tmp_path.resolve() / "root", shared=tmp_path.resolve() / "shared")
    bench.put("shared:x", "shared")
    bench.put("b:real", "real")
    Path(bench.storage.path("w", "b:one")).symlink_to("real")
    Path(bench.storage.path("w", "b:two")).symlink_to(tmp_path.resolve() / "shared/x")
    task = bench.task({"/in/1": "b:one", "/in/2": "b:two"}, external=False)
    assert bench.storage.source(task, "b:one") == bench.storage.path("w", "b:real")
    staging = bench.stage(task)
    assert tree(Path(staging.tree)) == {"in": None, "in/1": "real", "in/2": "shared"}


def test_the_store_itself_may_be_a_link(tmp_path: Path) -> None:
    top = tmp_path.resolve()
    (top / "big disk").mkdir()
    (top / "root").mkdir()
    (top / "root/storage").symlink_to("../big disk")
    bench = StagingBench(top / "root")
    bench.put("b:x", "x")
    task = bench.task({"/in/x": "b:x"}, {"/out/y": "b:d/y"}, external=False)
    staging = bench.stage(task)
    Path(staging.tree, "out/y").write_text("y")
    bench.publish(task, staging)
    assert tree(top / "big disk/w/b") == {"x": "x", "d": None, "d/y": "y"}


@pytest.mark.parametrize("place", ["input", "output", "directory", "stdout"])
def test_no_file_is_placed_through_a_link_in_an_input(
    bench: StagingBench, tmp_path: Path, place: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("precious")
    bench.put("b:x", "x")
    bench.put("b:dir/", None).joinpath("link").symlink_to(outside)
    inputs, outputs, stdout = {"/in/": "b:dir/"}, {}, None
    if place == "input":
        inputs["/in/link/x"] = "b:x"
    elif place == "output":
        outputs["/in/link/x"] = "b:made"
    elif place == "directory":
        outputs["/in/link/x/"] = "b:made/"
    else:
        stdout = "/in/link/deeper/x"
    with pytest.raises(StorageError, match=f"has a link there, to {outside}"):
        bench.stage(bench.task(inputs, outputs, stdout=stdout, external=False))
    assert tree(outside) == {"x": "precious"}


# ------------------------------------------------------------------------------------------ outputs


def test_outputs_are_published(bench: StagingBench) -> None:
    outputs = {"/out/x": "b:x", "/out/dir/": "b:dir/", "STDOUT": "b:said", "/empty/": "b:empty/"}
    task = bench.task({}, outputs)
    staging = bench.stage(task)
    Path(staging.tree, "out/x").write_text("x")
    Path(staging.tree, "out/dir/sub").mkdir()
    Path(staging.tree, "out/dir/sub/y").write_text("y")
    Path(bench.captures[Capture.PRINTED]).write_text("said")
    published = bench.publish(task, staging)
    assert {output.key for output in published} == set(outputs.values())
    expected = {
        "x": "x",
        "dir": None,
        "dir/sub": None,
        "dir/sub/y": "y",
        "said": "said",
        "empty": None,
    }
    assert tree(bench.root / "storage/w/b") == expected
    assert Path(bench.captures[Capture.PRINTED]).read_text() == "said"


def test_outputs_in_outputs_are_stored_whole(bench: StagingBench) -> None:
    task = bench.task({}, {"/out/a/x": "one:x", "/out/": "two:all/", "/out/a/": "three:a/"})
    staging = bench.stage(task)
    Path(staging.tree, "out/a/x").write_text("x")
    Path(staging.tree, "out/y").write_text("y")
    bench.publish(task, staging)
    assert bench.content("one:x") == "x"
    assert tree(bench.root / "storage/w/two/all") == {"a": None, "a/x": "x", "y": "y"}
    assert tree(bench.root / "storage/w/three/a") == {"x": "x"}


def test_one_file_may_be_two_outputs(bench: StagingBench) -> None:
    task = bench.task({})
    task = task._replace(
        outputs=(("b:1", "/out/x"), ("b:2", "/out/x"), ("b:3", ">"), ("b:4", "STDOUT"))
    )
    staging = bench.stage(task)
    Path(staging.tree, "out/x").write_text("x")
    Path(bench.captures[Capture.PRINTED]).write_text("said")
    bench.publish(task, staging)
    assert [bench.content(f"b:{number}") for number in (1, 2, 3, 4)] == ["x", "x", "said", "said"]


@pytest.mark.parametrize("order", [1, -1])
def test_keys_in_keys_though_their_files_lie_apart(bench: StagingBench, order: int) -> None:
    """As a log that goes into a directory output: readers of the directory find it there."""
    outputs = {"/out/deep/down/": "b:run/", ">": "b:run/logs/said", "/note": "b:run/note"}
    task = bench.task({}, dict(list(outputs.items())[::order]))
    staging = bench.stage(task)
    Path(staging.tree, "out/deep/down/x").write_text("x")
    Path(staging.tree, "out/deep/down/note").write_text("the directory's own")
    Path(staging.tree, "note").write_text("note")
    Path(bench.captures[Capture.PRINTED]).write_text("said")
    bench.publish(task, staging)
    assert tree(bench.root / "storage/w/b/run") == {
        "logs": None,
        "logs/said": "said",
        "note": "note",
        "x": "x",
    }


def test_a_directory_is_replaced_whole(bench: StagingBench) -> None:
    bench.put("b:dir/old", "old")
    bench.put("b:file", "old")
    bench.put("b:turned/old", "old")
    task = bench.task(
        {}, {"/out/dir/": "b:dir/", "/out/file/": "b:file/", "/out/turned": "b:turned"}
    )
    staging = bench.stage(task)
    Path(staging.tree, "out/dir/new").write_text("new")
    Path(staging.tree, "out/file/new").write_text("new")
    Path(staging.tree, "out/turned").write_text("now a file")
    bench.publish(task, staging)
    expected = {
        "dir": None,
        "dir/new": "new",
        "file": None,
        "file/new": "new",
        "turned": "now a file",
    }
    assert tree(bench.root / "storage/w/b") == expected


def test_a_reader_of_a_replaced_file_keeps_what_it_opened(bench: StagingBench) -> None:
    path = bench.put("b:x", "old")
    with path.open() as reader:
        task = bench.task({}, {"/out/x": "b:x"})
        staging = bench.stage(task)
        Path(staging.tree, "out/x").write_text("new")
        bench.publish(task, staging)
        assert reader.read() == "old"
    assert bench.content("b:x") == "new"


def test_outputs_are_published_after_all_are_prepared(bench: StagingBench) -> None:
    bench.put("b:x", "old")
    task = bench.task({}, {"/out/x": "b:x"})
    staging = bench.stage(task)
    Path(staging.tree, "out/x").write_text("new")
    bench.prepare(task, staging)
    assert bench.content("b:x") == "old"
    bench.workspace.discard(task)
    assert bench.content("b:x") == "old"
    assert os.listdir(bench.root / "staging") == []


def test_a_failed_publish_restores_the_old_output(bench: StagingBench) -> None:
    bench.put("b:dir/old", "old")
    task = bench.task({}, {"/out/dir/": "b:dir/"})
    staging = bench.stage(task)
    (output,) = bench.prepare(task, staging)
    removal.remove(output.source)
    with pytest.raises(
        StorageError, match=r"output 'b:dir/' can't be stored at .*b/dir: No such file"
    ):
        bench.storage.publish([output])
    assert tree(bench.root / "storage/w/b/dir") == {"old": "old"}


def test_an_output_below_a_file_is_refused_by_name(bench: StagingBench) -> None:
    bench.put("b:x", "a file")
    task = bench.task({}, {"/out/y": "b:x/y"})
    staging = bench.stage(task)
    Path(staging.tree, "out/y").touch()
    with pytest.raises(StorageError, match=r"output 'b:x/y' can't be stored at .*b/x/y"):
        bench.storage.publish(bench.prepare(task, staging))
    assert bench.content("b:x") == "a file"


@pytest.mark.parametrize(
    ("outputs", "made", "problem"),
    [
        ({"/out/x": "b:x"}, "", "output 'b:x' was not made: there is nothing at /out/x"),
        (
            {"/out/x": "b:x"},
            "/out/x/",
            "output 'b:x' was not made: /out/x is a directory; end key and path with '/'",
        ),
        ({"/out/x": "b:x/"}, "/out/x", "output 'b:x/' was not made: /out/x isn't a directory"),
        ({"/out/x/": "b:x"}, "/out/x", "output 'b:x' was not made: /out/x/ isn't a directory"),
        ({"/out/x/": "b:x/"}, "removed", "output 'b:x/' was not made: there is nothing at /out/x/"),
    ],
)
def test_missing_outputs_are_named(
    bench: StagingBench, outputs: dict[str, str], made: str, problem: str
) -> None:
    task = bench.task({}, {**outputs, "/out/fine": "b:fine", ">": "b:said", ">>": "b:log"})
    staging = bench.stage(task)
    Path(staging.tree, "out/fine").touch()
    if made:
        removal.remove(f"{staging.tree}/out/x")
    if made.endswith("/"):
        Path(staging.directory.local(made)).mkdir()
    elif made.startswith("/"):
        Path(staging.directory.local(made)).touch()
    (told,) = staging.missing()
    assert told.startswith(problem)


def test_every_missing_output_is_named(bench: StagingBench) -> None:
    task = bench.task({}, {"/out/x": "b:x", "/out/y": "b:y"})
    assert len(bench.stage(task).missing()) == 2


@pytest.mark.parametrize("kind", ["FIFO", "socket"])
def test_a_special_file_is_refused_by_name_with_all_left_in_place(
    bench: StagingBench, kind: str
) -> None:
    task = bench.task({}, {"/out/x": "b:x", "/out/dir/": "b:dir/"})
    staging = bench.stage(task)
    Path(staging.tree, "out/x").write_text("x")
    special(Path(staging.tree, "out/dir/odd"), kind)
    with pytest.raises(StorageError, match=f"out/dir/odd is a {kind}"):
        bench.prepare(task, staging)
    assert Path(staging.tree, "out/x").read_text() == "x"
    assert not (bench.root / "storage/w").exists()


# -------------------------------------------------------------------------------- links and outputs


def test_links_in_an_output_stay_links(bench: StagingBench) -> None:
    task = bench.task({}, {"/out/": "b:out/"})
    staging = bench.stage(task)
    Path(staging.tree, "out/x").write_text("x")
    Path(staging.tree, "out/link").symlink_to("x")
    bench.publish(task, staging)
    assert tree(bench.root / "storage/w/b/out") == {"x": "x", "link": "-> x"}


def sow(top: Path, links: dict[str, str]) -> None:
    for name, target in links.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).symlink_to(target)


@pytest.mark.parametrize(
    ("links", "name", "stored"),
    [
        ({"l": "nothing"}, "l", "nothing"),
        ({"l": "/out/d/nothing"}, "l", "nothing"),
        ({"l": "l"}, "l", "l"),
        ({"l": "/out/d/l"}, "l", "l"),
        ({"l": "."}, "l", "."),
        ({"l": "/out/d"}, "l", "."),
        ({"l": "TREE/out/d/"}, "l", "."),
        ({"a/b/l": "../../t/x"}, "a/b/l", "../../t/x"),
        ({"a/b/l": "/out/d/t/x"}, "a/b/l", "../../t/x"),
        ({"a/b/l": "TREE/out/d/t/x"}, "a/b/l", "../../t/x"),
        ({"a/b/l": "//out/./d//a/../t/x"}, "a/b/l", "../../t/x"),
        ({"a/b/l": "../b/../../t/x"}, "a/b/l", "../../t/x"),
        ({"l": "../d/t/x"}, "l", "t/x"),
        ({"l": "../../../../out/d/t/.."}, "l", "."),
        ({"a/b/l": "/out/d/one", "one": "/out/d/two", "two": "t/x"}, "a/b/l", "../../one"),
        ({"a/b/c/s": "../../../t/u", "l": "a/b/c/s/../x"}, "l", "t/x"),
        ({"a/b/c/s": "/out/d/t/u", "l": "/out/d/a/b/c/s/../x"}, "l", "t/x"),
        ({"l": "TREE/same/t/x"}, "l", "t/x"),
        ({"l": "/same"}, "l", "."),
        ({"l": "/same/t/.."}, "l", "."),
    ],
)
def test_links_inside_an_output_lead_there_in_the_store(
    bench: StagingBench, links: dict[str, str], name: str, stored: str
) -> None:
    """Whether they were absolute, or left the output on their way."""
    task = bench.task({}, {"/out/d/": "b:elsewhere/"})
    staging = bench.stage(task)
    Path(staging.tree, "same").symlink_to("out/d")
    Path(staging.tree, "out/d/t/u").mkdir(parents=True)
    Path(staging.tree, "out/d/t/x").write_text("x")
    sow(
        Path(staging.tree, "out/d"),
        {link: target.replace("TREE", staging.tree) for link, target in links.items()},
    )
    bench.publish(task, staging)
    place = Path(bench.storage.path("w", "b:elsewhere"))
    assert os.readlink(place / name) == stored
    for link in links:
        real = os.path.realpath(place / link)
        assert real == str(place) or real.startswith(f"{place}/")
    if stored.endswith("x"):
        assert (place / name).read_text() == "x"


@pytest.mark.parametrize(
    ("links", "name"),
    [
        ({"l": "/etc/passwd"}, "l"),
        ({"l": "/"}, "l"),
        ({"l": "/out/dd/x"}, "l"),
        ({"l": "TREE/out/x"}, "l"),
        ({"l": "TREE"}, "l"),
        ({"l": "TREEx/out/d/x"}, "l"),
        ({"l": ".."}, "l"),
        ({"l": "../x"}, "l"),
        ({"l": "/out/d/../x"}, "l"),
        ({"a/b/l": "../../../x"}, "a/b/l"),
        ({"l": "../../../../../../../../../../../../etc/passwd"}, "l"),
        ({"a/b/c/s": "../../../t", "l": "a/b/c/s/../.."}, "l"),
        ({"a/b/c/s": "/out/d/t", "l": "/out/d/a/b/c/s/../../x"}, "l"),
        ({"z": "/etc", "l": "z/passwd"}, "z"),
        ({"l": ".gaia-local-x", ".gaia-local-x": "/etc/passwd"}, "l"),
        ({"l": "/out/d/.gaia-local/x", ".gaia-local/x": "/etc/passwd"}, "l"),
        ({"p": "q", "q": "p", "l": "p/../../x"}, "l"),
    ],
)
def test_a_link_that_leads_out_of_its_output_is_refused(
    bench: StagingBench, links: dict[str, str], name: str
) -> None:
    task = bench.task({}, {"/out/d/": "b:d/", "/out/x": "b:x"})
    staging = bench.stage(task)
    Path(staging.tree, "out/d/t").mkdir()
    Path(staging.tree, "out/x").write_text("x")
    sow(
        Path(staging.tree, "out/d"),
        {link: target.replace("TREE", staging.tree) for link, target in links.items()},
    )
    with pytest.raises(StorageError) as refused:
        bench.prepare(task, staging)
    target = links[name].replace("TREE", staging.tree)
    problem = (
        f"output 'b:d/' can't be stored: its link '{name}' leads out of it, to '{target}'; "
        "copy the file"
    )
    assert str(refused.value).startswith(problem)
    assert Path(staging.tree, "out/x").read_text() == "x"
    assert not (bench.root / "storage/w").exists()


def test_a_link_may_lead_to_another_output_only_inside_a_common_one(bench: StagingBench) -> None:
    for outputs in ({"/out/a/": "b:a/", "/out/b/": "b:b/"}, {"/out/": "b:", "/out/a/": "b:a/"}):
        task = bench.task({}, outputs)
        staging = bench.stage(task)
        sow(Path(staging.tree, "out"), {"a/l": "../b/x"})
        with pytest.raises(
            StorageError, match="output 'b:a/' can't be stored: its link 'l' leads out of it"
        ):
            bench.prepare(task, staging)
        bench.workspace.discard(task)
    task = bench.task({}, {"/out/": "b:all/", "/out/b/": "b:b/"})
    staging = bench.stage(task)
    sow(Path(staging.tree, "out"), {"a/l": "/out/b/x", "b/m": "/out/b/x"})
    Path(staging.tree, "out/b/x").write_text("x")
    bench.publish(task, staging)
    assert (bench.root / "storage/w/b/all/a/l").read_text() == "x"
    assert os.readlink(bench.root / "storage/w/b/b/m") == "x"


def test_an_output_over_part_of_another_turns_no_link_outwards(bench: StagingBench) -> None:
    """A link through another, and up from there, leads elsewhere once that is a directory."""
    task = bench.task({}, {"/out/": "b:run/"})
    staging = bench.stage(task)
    Path(staging.tree, "out/a/b/c").mkdir(parents=True)
    Path(staging.tree, "out/secret").write_text("its own")
    sow(Path(staging.tree, "out"), {"sub": "a/b/c", "l": "sub/../../../secret"})
    bench.publish(task, staging)
    other = bench.task({}, {"/out/": "b:run/sub/"})
    bench.publish(other, bench.stage(other))
    bench.put("secret", "another's")
    assert os.readlink(bench.root / "storage/w/b/run/l") == "secret"
    assert bench.content("b:run/l") == "its own"


@pytest.mark.parametrize(
    "link", ["real", "/out/real", "../out/./real", "other link", "TREE/out/real"]
)
def test_an_output_that_is_a_link_to_what_the_task_made(bench: StagingBench, link: str) -> None:
    task = bench.task({}, {"/out/real": "b:real", "/out/link": "b:link"})
    staging = bench.stage(task)
    Path(staging.tree, "out/real").write_text("made")
    Path(staging.tree, "out/other link").symlink_to("real")
    Path(staging.tree, "out/link").symlink_to(link.replace("TREE", staging.tree))
    bench.publish(task, staging)
    assert (bench.content("b:real"), bench.content("b:link")) == ("made", "made")
    assert not Path(bench.storage.path("w", "b:link")).is_symlink()


def test_an_output_behind_a_link_to_a_directory_that_the_task_made(bench: StagingBench) -> None:
    task = bench.task({}, {"/out/current/x": "b:x", "/out/": "b:out/"})
    staging = bench.stage(task)
    Path(staging.tree, "out/current").rmdir()
    Path(staging.tree, "out/v2").mkdir()
    Path(staging.tree, "out/v2/x").write_text("made")
    Path(staging.tree, "out/current").symlink_to("/out/v2")
    bench.publish(task, staging)
    assert bench.content("b:x") == "made"
    assert tree(bench.root / "storage/w/b/out") == {"v2": None, "v2/x": "made", "current": "-> v2"}


@pytest.mark.parametrize(
    "link", ["/etc/passwd", "{outside}/x", "../../../../../../../../{outside}/x", "nothing", "link"]
)
def test_an_output_that_is_a_link_out_of_the_tree_is_refused(
    bench: StagingBench, tmp_path: Path, link: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("precious")
    task = bench.task({}, {"/out/link": "b:x"})
    staging = bench.stage(task)
    Path(staging.tree, "out/link").symlink_to(link.format(outside=outside))
    with pytest.raises((StorageError, FileNotFoundError)):
        staging.prepare(task.outputs, {})
    if link != "link":
        (problem,) = staging.missing()
        assert "output 'b:x' was not made: there is a link to" in problem
    else:
        with pytest.raises(StorageError, match="/out/link can't be stored: it is a loop of links"):
            staging.missing()
    assert tree(outside) == {"x": "precious"}


@pytest.mark.parametrize("directory", [False, True])
def test_an_output_below_a_link_out_of_the_tree_is_refused(
    bench: StagingBench, tmp_path: Path, directory: bool
) -> None:
    """A program turns its output's directory into a link: files behind it must not be taken."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").mkdir() if directory else (outside / "x").write_text("precious")
    before = tree(outside)
    slash = "/" if directory else ""
    task = bench.task({}, {f"/out/sub/x{slash}": f"b:x{slash}"})
    staging = bench.stage(task)
    removal.remove(f"{staging.tree}/out/sub")
    Path(staging.tree, "out/sub").symlink_to(outside)
    (problem,) = staging.missing()
    assert f"there is a link to {outside}" in problem
    with pytest.raises((StorageError, FileNotFoundError)):
        staging.prepare(task.outputs, {})
    assert tree(outside) == before


def test_a_target_whose_parent_is_a_link_out_of_the_store_is_refused(
    bench: StagingBench, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    place = Path(bench.storage.path("w", "b:dir"))
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    task = bench.task({}, {"/out/x": "b:dir/x"})
    staging = bench.stage(task)
    Path(staging.tree, "out/x").write_text("x")
    with pytest.raises(
        StorageError,
        match=r"output 'b:dir/x' can't be stored: .*b/dir is a link that leads out of the store",
    ):
        bench.prepare(task, staging)
    assert os.listdir(outside) == []


def test_a_target_that_is_a_link_is_replaced_not_followed(
    bench: StagingBench, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_text("precious")
    for key, target in (("b:x", outside / "x"), ("b:dir", outside)):
        place = Path(bench.storage.path("w", key))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
    task = bench.task({}, {"/out/x": "b:x", "/out/dir/": "b:dir/"})
    staging = bench.stage(task)
    Path(staging.tree, "out/x").write_text("new")
    Path(staging.tree, "out/dir/y").write_text("new")
    bench.publish(task, staging)
    assert tree(bench.root / "storage/w/b") == {"x": "new", "dir": None, "dir/y": "new"}
    assert tree(outside) == {"x": "precious"}


def test_a_key_in_a_directory_output_does_not_go_through_its_links(
    bench: StagingBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Which would have refused it before.
    monkeypatch.setattr(storable, "confine_links", lambda *_: None)
    outside = tmp_path / "outside"
    outside.mkdir()
    task = bench.task({}, {"/out/": "b:run/", ">": "b:run/sub/log"})
    staging = bench.stage(task)
    Path(staging.tree, "out/sub").symlink_to(outside)
    Path(bench.captures[Capture.PRINTED]).write_text("said")
    with pytest.raises(
        StorageError,
        match="output 'b:run/sub/log' can't be stored: output 'b:run/' has a link in its way",
    ):
        bench.prepare(task, staging)
    assert os.listdir(outside) == []


# ----------------------------------------------------------------------------------- mapped buckets


def test_a_bucket_on_another_disk(
    tmp_path: Path, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = StagingBench(tmp_path.resolve() / "root", far=other_disk / "bucket")
    bench.put("far:x", "far")
    bench.put("far:dir/old", "old")
    outputs = {
        "/out/a": "far:deep/a",
        "/out/dir/": "far:dir/",
        ">": "far:said",
        "/out/near": "b:near",
    }
    task = bench.task({"/in/x": "far:x"}, outputs)
    staging = bench.stage(task)
    assert Path(staging.tree, "in/x").read_text() == "far"
    Path(staging.tree, "out/a").write_text("a")
    Path(staging.tree, "out/near").write_text("near")
    Path(staging.tree, "out/dir/new").write_text("new")
    Path(bench.captures[Capture.PRINTED]).write_text("said")
    prepared = bench.prepare(task, staging)
    far = [output.source for output in prepared if output.key.startswith("far:")]
    area = bench.storage.area(f"{other_disk}/bucket")
    assert all(source.startswith(f"{area}/") for source in far)
    published = bench.storage.publish(prepared)
    bench.workspace.discard(task)
    expected = {
        "x": "far",
        "dir": None,
        "dir/new": "new",
        "deep": None,
        "deep/a": "a",
        "said": "said",
    }
    seen = tree(other_disk / "bucket")
    seen.pop(os.path.basename(area))
    assert seen == expected
    assert bench.content("b:near") == "near"
    for output in published:
        assert fingerprints.fingerprint(output.target) == output.fingerprint


def test_a_bucket_on_the_same_disk_needs_no_copy(tmp_path: Path) -> None:
    bench = StagingBench(tmp_path.resolve() / "root", near=tmp_path.resolve() / "near")
    task = bench.task({}, {"/out/x": "near:x"})
    staging = bench.stage(task)
    Path(staging.tree, "out/x").write_text("x")
    inode = os.stat(f"{staging.tree}/out/x").st_ino
    bench.publish(task, staging)
    assert os.stat(tmp_path / "near/x").st_ino == inode
    assert tree(tmp_path / "near") == {"x": "x"}


def test_a_bucket_may_be_shared_with_a_link_to_it(tmp_path: Path) -> None:
    """A link in one bucket to another is no way out: both are the store."""
    top = tmp_path.resolve()
    bench = StagingBench(top / "root", one=top / "one", two=top / "two")
    (top / "two/x").write_text("x")
    (top / "one/link").symlink_to(top / "two")
    task = bench.task({"/in/x": "one:link/x"}, {"/out/y": "one:link/y"}, external=False)
    staging = bench.stage(task)
    assert Path(staging.tree, "in/x").read_text() == "x"
    Path(staging.tree, "out/y").write_text("y")
    bench.publish(task, staging)
    assert tree(top / "two") == {"x": "x", "y": "y"}


# ---------------------------------------------------------------------------------------- leftovers


def test_sweeping_removes_what_dead_tasks_left(tmp_path: Path) -> None:
    bench = StagingBench(tmp_path / "root", far=tmp_path / "far")
    bench.put("b:kept")
    task = bench.task({"/in/x": "b:kept"})
    staging = bench.stage(task)
    leftover = Path(bench.storage.area(str(tmp_path / "far")), "t9")
    leftover.mkdir()
    (leftover / "0").touch()
    assert bench.storage.left_staging() == [Path(staging.directory.top)]
    bench.storage.sweep()
    assert bench.storage.left_staging() == []
    assert not leftover.exists()
    assert bench.content("b:kept") == "content"


def test_staging_that_cannot_be_removed_is_reported_and_stops_no_sweep(
    bench: StagingBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = [bench.task(), bench.task()]
    for task in tasks:
        Path(bench.stage(task).tree, "left").touch()
    remove = removal.remove

    def refuse(path: str) -> None:
        if tasks[0].id in path:
            raise PermissionError(13, "Permission denied", path)
        remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(removal, "remove", refuse)
        bench.workspace.discard(tasks[0])
        bench.storage.sweep()
    assert [path.name for path in bench.storage.left_staging()] == [tasks[0].id]
    assert f"{tasks[0].id} can't be removed" in caplog.text


def test_private_directories_are_used_again_and_are_as_new(bench: StagingBench) -> None:
    task, later = (bench.task({"/in/x": "b:x"}, {"/out/deep/y": "b:y"}) for _ in range(2))
    bench.put("b:x")
    staging = bench.stage(task)
    Path(staging.tree, "out/deep/y").write_text("y")
    Path(staging.tree, "out/more/deep").mkdir(parents=True)
    Path(staging.tree, "in/z").symlink_to("/etc")
    Path(staging.work, "core").symlink_to("/etc")
    Path(staging.directory.top, "process.json").touch()
    inode = Path(staging.directory.top).stat().st_ino
    bench.workspace.discard(task)
    other = bench.stage(bench.task())
    assert Path(other.directory.top).stat().st_ino != inode
    assert tree(Path(other.directory.top)) == dict.fromkeys(["tree", "work"])
    again = bench.stage(later)
    assert Path(again.directory.top).stat().st_ino == inode
    made = ["tree", "tree/in", "tree/out", "tree/out/deep", "work"]
    assert tree(Path(again.directory.top)) == {**dict.fromkeys(made), "tree/in/x": "content"}
    bench.workspace.discard(later)
    assert list((bench.root / "spare").iterdir()) != []
    bench.storage.close()
    assert not (bench.root / "spare").exists()
    assert Path(bench.stage(bench.task()).directory.top).stat().st_mode & 0o7777 == 0o700


def test_an_output_with_too_long_a_name_was_not_made(bench: StagingBench) -> None:
    """A name that the disk doesn't take is the Step's fault, not the engine's."""
    internal = "/out/" + 300 * "x"
    task = bench.task({}, {internal: "b:y"})
    assert bench.stage(task).missing() == [
        f"output 'b:y' was not made: there is nothing at {internal}"
    ]


def test_few_private_directories_are_kept(bench: StagingBench) -> None:
    for number in range(100):
        task = bench.task({}, {f"/{number}/y": "b:y"})
        bench.stage(task)
        bench.workspace.discard(task)
    kept = {
        name for spare in (bench.root / "spare").iterdir() for name in os.listdir(spare / "tree")
    }
    assert kept == {str(number) for number in range(36, 100)}  # the last


@pytest.mark.parametrize("change", ["chmod", "rmdir", "link", "file"])
def test_a_folder_that_was_changed_is_not_used_again(bench: StagingBench, change: str) -> None:
    task, later = (bench.task({}, {"/out/y": "b:y"}) for _ in range(2))
    staging = bench.stage(task)
    folder = Path(staging.tree, "out")
    if change == "chmod":
        folder.chmod(0o700 if folder.stat().st_mode & 0o77 else 0o755)
    else:
        folder.rmdir()
    if change == "link":
        folder.symlink_to("/etc")
    elif change == "file":
        folder.touch()
    bench.workspace.discard(task)
    assert list((bench.root / "spare").glob("*")) == []
    assert tree(Path(bench.stage(later).tree)) == {"out": None}


@pytest.mark.parametrize("place", ["top", "root", "work"])
def test_a_private_directory_that_was_changed_is_not_used_again(
    bench: StagingBench, place: str
) -> None:
    task = bench.task()
    Path(getattr(bench.stage(task).directory, place)).chmod(0o770)
    bench.workspace.discard(task)
    assert bench.storage.left_staging() == []
    assert not (bench.root / "spare").exists()


def test_a_private_directory_that_became_a_link_is_not_used_again(bench: StagingBench) -> None:
    task = bench.task()
    work = Path(bench.stage(task).work)
    work.rmdir()
    work.symlink_to("/tmp")
    bench.workspace.discard(task)
    assert bench.storage.left_staging() == []
    assert not (bench.root / "spare").exists()


def test_discarding_twice_is_fine(bench: StagingBench) -> None:
    task = bench.task()
    bench.stage(task)
    bench.workspace.discard(task)
    bench.workspace.discard(task)
    assert bench.storage.left_staging() == []

"""Files of the Docker runtime: copied in, copied out, or mounted."""

from __future__ import annotations

import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from gaia_local.errors import RuntimeFailure
from gaia_local.model.tasks import BY_REQUEST
from gaia_local.store.file_work import FileWork, Stopped
from support.containers import ContainerBench, bench, client, full_image, is_podman

__all__ = ["bench", "client", "full_image"]


# -------------------------------------------------------------------------------------------- files


def test_renaming_over_outputs_and_inputs_works(bench: ContainerBench) -> None:
    """As editors, numpy and `sed -i` do; with a mounted file it would fail with EBUSY."""
    run = bench.run(
        "sh",
        "-ec",
        "echo new > /out/r.tmp; mv /out/r.tmp /out/r; "
        "sed -i s/a/b/ /data/deep/in.txt; cat /data/deep/in.txt",
        inputs={"/data/deep/in.txt": b"a\n"},
        outputs=("/out/r",),
    )
    assert (run.code, run.log) == (0, b"b\n")
    assert (run.tree / "out/r").read_bytes() == b"new\n"
    assert (run.tree / "data/deep/in.txt").read_bytes() == b"b\n"


def test_a_directory_can_be_renamed_into_place(bench: ContainerBench) -> None:
    run = bench.run(
        "sh",
        "-ec",
        "mkdir /out/t; echo 1 > /out/t/f; rmdir /out/result; mv /out/t /out/result",
        outputs=("/out/result/",),
    )
    assert run.code == 0
    assert (run.tree / "out/result/f").read_bytes() == b"1\n"


def test_an_output_may_lie_under_another(bench: ContainerBench) -> None:
    outputs = ("/out/", "/out/a/b/c.txt", "/out/d/")
    run = bench.run(
        "sh", "-ec", "echo 1 > /out/x; echo 2 > /out/a/b/c.txt; echo 3 > /out/d/y", outputs=outputs
    )
    assert run.code == 0
    assert {
        p.relative_to(run.tree / "out").as_posix()
        for p in (run.tree / "out").rglob("*")
        if p.is_file()
    } == {
        "x",
        "a/b/c.txt",
        "d/y",
    }


def test_a_name_that_begins_like_another_is_no_part_of_it(bench: ContainerBench) -> None:
    run = bench.run(
        "sh", "-ec", "echo 1 > /out/x; echo 2 > /output/y", outputs=("/out/x", "/output/y")
    )
    assert run.code == 0
    assert (run.tree / "output/y").read_bytes() == b"2\n"


def test_output_files_beside_files_of_the_image_are_copied_out(bench: ContainerBench) -> None:
    run = bench.run(
        "sh",
        "-ec",
        "echo 1 > /full/x.tmp; mv /full/x.tmp /full/x; chmod 755 /full/x; "
        "head -c 3000000 /dev/zero > /full/y",
        outputs=("/full/x", "/full/y", "/etc/absent"),
    )
    assert run.code == 0
    made = run.tree / "full/x"
    assert made.read_bytes() == b"1\n"
    assert stat.S_IMODE(made.stat().st_mode) == 0o755
    assert made.stat().st_uid == os.getuid()
    assert (run.tree / "full/y").read_bytes() == bytes(3_000_000)
    assert not (run.tree / "etc/absent").exists()


def test_an_output_that_is_copied_out_keeps_its_holes(bench: ContainerBench) -> None:
    size = 100_000_000
    run = bench.run(
        "sh",
        "-ec",
        f"echo begin > /full/x; truncate -s {size} /full/x; echo end >> /full/x",
        outputs=("/full/x",),
    )
    assert run.code == 0
    made = run.tree / "full/x"
    assert made.stat().st_size == size + 4
    assert made.stat().st_blocks * 512 < 1 << 20
    with made.open("rb") as reader:
        assert reader.read(8) == b"begin\n\0\0"
        reader.seek(size - 2)
        assert reader.read() == b"\0\0end\n"


def test_a_cancellation_ends_the_copying_out(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    run = bench.prepare(
        "sh", "-ec", "truncate -s 20000000000 /full/x; echo made", outputs=("/full/x",)
    )
    told: list[str] = []

    def check() -> None:
        if (run.tree / "full/x").exists():
            run.cancellation.cancel(BY_REQUEST)
        if run.cancellation.reason is not None:
            raise Stopped

    run.invocation = replace(run.invocation, file_work=FileWork(check, told.append))
    began = time.monotonic()
    bench.start(run)
    assert run.cancellation.reason == BY_REQUEST
    assert run.message == "cancelled"
    assert (run.tree / "full/x").stat().st_size < 1 << 20
    assert bench.containers(client) == []
    assert time.monotonic() - began < 15  # all of it takes a minute


def test_an_output_file_in_the_root_directory_is_copied_out(bench: ContainerBench) -> None:
    if os.getuid() != 0:
        pytest.skip("only root may write there, and containers run as the caller")
    run = bench.run("sh", "-ec", "echo 1 > /top", outputs=("/top",))
    assert run.code == 0
    assert (run.tree / "top").read_bytes() == b"1\n"


def test_files_of_the_image_are_not_copied_out(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    run = bench.run(
        "sh", "-ec", "ln -s own /full/l; chmod 777 /full", outputs=("/full/own", "/full/l")
    )
    assert run.code == 0
    assert [(path.name, os.readlink(path)) for path in (run.tree / "full").iterdir()] == [
        ("l", "/full/own" if is_podman(client) else "own")  # Podman tells where it leads
    ]


def test_links_fifos_and_directories_are_copied_out_as_they_are(
    bench: ContainerBench, client: docker.APIClient
) -> None:
    """So that the same is stored as if the directory was mounted."""
    script = (
        "cd /full; mkdir d; echo 1 > d/f; mkfifo p; "
        "ln -s own l; ln -s /nowhere far; ln -s loop loop"
    )
    run = bench.run(
        "sh",
        "-ec",
        script,
        outputs=tuple(f"/full/{name}" for name in ("d", "p", "l", "far", "loop")),
    )
    made = {path.name: path for path in (run.tree / "full").iterdir()}
    assert made.keys() == {"d", "p", "l", "far", "loop", "own"}
    assert made["d"].is_dir() and made["p"].is_fifo() and made["own"].is_file()
    assert {name: os.readlink(made[name]) for name in ("l", "far", "loop")} == {
        "l": "/full/own" if is_podman(client) else "own",
        "far": "/nowhere",
        "loop": "loop",
    }


def test_an_input_in_the_root_directory_opens_no_way_to_all_files(bench: ContainerBench) -> None:
    run = bench.run(
        "sh", "-ec", "ln -s /etc/passwd /full/x", inputs={"/in": b"1"}, outputs=("/full/x",)
    )
    assert run.code == 0
    assert sorted(path.name for path in run.tree.iterdir()) == ["full", "in"]


@pytest.mark.docker_only
def test_an_output_below_a_file_of_the_image_is_an_error_that_says_so(
    bench: ContainerBench,
) -> None:
    with pytest.raises(RuntimeFailure, match="not a directory"):
        bench.run("true", outputs=("/bin/busybox/x",))


def test_directories_and_inputs_beside_files_of_the_image(bench: ContainerBench) -> None:
    """The image's `/bin` must stay as it is: without it there is no `sh`."""
    run = bench.run(
        "sh",
        "-ec",
        "cat /bin/in /etc/conf/a /in; "
        "echo more >> /bin/in; echo 1 > /bin/made/x; echo 2 > /etc/conf/b",
        inputs={"/bin/in": b"1\n", "/etc/conf/": {"a": b"2\n"}, "/in": b"3\n"},
        outputs=("/bin/made/", "/etc/conf/b"),
    )
    assert (run.code, run.log) == (0, b"1\n2\n3\n")
    assert (run.tree / "bin/in").read_bytes() == b"1\nmore\n"
    assert (run.tree / "bin/made/x").read_bytes() == b"1\n"
    assert (run.tree / "etc/conf/b").read_bytes() == b"2\n"


def test_an_empty_directory_of_the_image_is_as_good_as_none(bench: ContainerBench) -> None:
    run = bench.run("sh", "-ec", "echo 1 > /tmp/t; mv /tmp/t /tmp/r", outputs=("/tmp/r",))
    assert run.code == 0
    assert (run.tree / "tmp/r").read_bytes() == b"1\n"


def test_a_link_in_the_image_is_not_taken_for_an_empty_directory(bench: ContainerBench) -> None:
    run = bench.run("sh", "-ec", "echo 1 > /linked/x", outputs=("/linked/x",))
    assert run.code == 0
    assert (run.tree / "linked/x").read_bytes() == b"1\n"


def test_host_paths_may_hold_colons(bench: ContainerBench) -> None:
    bench.top = bench.top / "composite:a:b"
    run = bench.run(
        "sh", "-ec", "cat /in/a:b > /out/c:d", inputs={"/in/a:b": b"x"}, outputs=("/out/c:d",)
    )
    assert run.code == 0
    assert (run.tree / "out/c:d").read_bytes() == b"x"


def test_odd_spellings_of_internal_paths(bench: ContainerBench) -> None:
    run = bench.run("sh", "-ec", "echo 1 > /out/a/x", outputs=("//out/./a//x",))
    assert run.code == 0
    assert (run.tree / "out/a/x").read_bytes() == b"1\n"


def test_the_image_is_looked_into_once(
    bench: ContainerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    create: Any = docker.APIClient.create_container

    def noting(client: docker.APIClient, *given: Any, name: str, **options: Any) -> Any:
        made.append(name)
        return create(client, *given, name=name, **options)

    monkeypatch.setattr(docker.APIClient, "create_container", noting)
    runs = [
        bench.prepare("sh", "-c", f"echo {n} > /out/r", outputs=("/out/r", "/tmp/s"))
        for n in range(8)
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bench.start, runs))
    assert [(run.tree / "out/r").read_text() for run in runs] == [f"{n}\n" for n in range(8)]
    tasks = {f"gaia-local-{run.invocation.task.id}" for run in runs}
    assert tasks < set(made)
    assert len(made) == len(tasks) + 1  # one to look into the image, that never starts


# ----------------------------------------------------------------------------------- mounted inputs


def test_mounted_inputs_are_read_only_and_lie_beside_outputs(
    bench: ContainerBench, tmp_path: Path
) -> None:
    bench.configure(inputs="mount")
    assert bench.runtime.mounts_inputs
    store = tmp_path / "store:1"
    (store / "kb").mkdir(parents=True)
    (store / "kb/x").write_bytes(b"x\n")
    (store / "f").write_bytes(b"f\n")
    run = bench.run(
        "sh",
        "-c",
        "cat /data/f /ref/kb/x /bin/f; echo no >> /data/f; echo no >> /ref/kb/x; "
        "echo 1 > /data/out; mv /data/out /data/r",
        mounts={"/data/f": store / "f", "/ref/kb/": store / "kb", "/bin/f": store / "f"},
        outputs=("/data/r", "/ref/other/"),
        stdout="/said",
    )
    assert run.stdout == b"f\nx\nf\n"
    assert run.log.count(b"Read-only file system") == 2
    assert run.code == 0
    assert (run.tree / "data/r").read_bytes() == b"1\n"
    assert (store / "f").read_bytes() == b"f\n"
    assert (store / "kb/x").read_bytes() == b"x\n"


def test_an_input_that_the_caller_copied_is_not_mounted(
    bench: ContainerBench, tmp_path: Path
) -> None:
    bench.configure(inputs="mount")
    (tmp_path / "f").write_bytes(b"f\n")
    run = bench.run(
        "sh",
        "-ec",
        "cat /f /kb/x; echo 1 > /kb/sub/out",
        inputs={"/kb/": {"x": b"x\n"}},
        mounts={"/f": tmp_path / "f"},
        outputs=("/kb/sub/out",),
    )
    assert (run.code, run.log) == (0, b"f\nx\n")
    assert (run.tree / "kb/sub/out").read_bytes() == b"1\n"


def test_mounted_inputs_within_mounted_inputs(bench: ContainerBench, tmp_path: Path) -> None:
    bench.configure(inputs="mount")
    (tmp_path / "kb").mkdir()
    (tmp_path / "kb/x").write_bytes(b"old\n")
    (tmp_path / "x").write_bytes(b"new\n")
    run = bench.run("cat", "/kb/x", mounts={"/kb/": tmp_path / "kb", "/kb/x": tmp_path / "x"})
    assert run.log == b"new\n"
    with pytest.raises(
        RuntimeFailure, match=r"/kb/y lies in the input directory /kb.*set docker.inputs"
    ):
        bench.run("true", mounts={"/kb/": tmp_path / "kb", "/kb/y": tmp_path / "x"})

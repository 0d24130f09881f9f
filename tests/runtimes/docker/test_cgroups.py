"""The control groups of containers, in both versions of the kernel's interface."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gaia_local.runtimes.docker.cgroups import Cgroups, Reading, init_of

ID = "0123456789abcdef" * 4
FIRST = {
    "memory": {
        "memory.usage_in_bytes": "1000",
        "memory.max_usage_in_bytes": "5000",
        "memory.stat": "cache 1\ntotal_cache 400\ntotal_shmem 100\ntotal_rss 600",
        "cgroup.procs": "0\n17\n",
    },
    "cpu": {"cpuacct.usage_user": "1500000000", "cpuacct.usage_sys": "250000000"},
}
SECOND = {
    "": {
        "memory.current": "1000",
        "memory.peak": "5000",
        "memory.stat": "anon 600\nfile 400\nshmem 100",
        "cpu.stat": "usage_usec 1750000\nuser_usec 1500000\nsystem_usec 250000",
        "container/cgroup.procs": "17\n",
    }
}
READING = Reading(1.5, 0.25, 1000, 5000, 300)


def make(top: Path, files: dict[str, dict[str, str]], below: str, *mounts: str) -> Cgroups:
    """The groups of one container, and the mounts as the kernel lists them."""
    for hierarchy, contents in files.items():
        for name, text in contents.items():
            path = top / hierarchy / below / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    lines = [f"31 23 0:28 / {mount.replace('TOP', str(top))}" for mount in mounts]
    (top / "mountinfo").write_text("\n".join(lines) + "\n")
    return Cgroups(str(top / "mountinfo"))


def first(top: Path, below: str = f"docker/{ID}") -> Cgroups:
    return make(
        top,
        FIRST,
        below,
        "TOP/memory rw shared:9 - cgroup cgroup rw,memory",
        "TOP/cpu rw - cgroup cgroup rw,cpu,cpuacct",
        "TOP/unified rw - cgroup2 cgroup2 rw",
    )


def second(top: Path, below: str = f"system.slice/docker-{ID}.scope") -> Cgroups:
    return make(top, SECOND, below, "TOP rw shared:4 - cgroup2 cgroup2 rw,nsdelegate")


@pytest.mark.parametrize("made", [first, second])
def test_what_a_group_counts(tmp_path: Path, made: type) -> None:
    groups = made(tmp_path)
    assert groups.mounted
    group = groups.find(ID)
    assert group is not None
    assert group.read() == READING
    assert group.pids() == [17]
    assert groups.find("f" * 64) is None


def test_a_kernel_that_keeps_no_peak(tmp_path: Path) -> None:
    groups = second(tmp_path)
    (tmp_path / f"system.slice/docker-{ID}.scope/memory.peak").unlink()
    group = groups.find(ID)
    assert group is not None and group.read() == READING._replace(peak=None)


@pytest.mark.parametrize("name", ["memory.stat", "cpu.stat", "memory.current"])
@pytest.mark.parametrize("text", [None, "", "nonsense here\n"])
def test_a_group_that_does_not_count(tmp_path: Path, name: str, text: str | None) -> None:
    groups = second(tmp_path)
    path = tmp_path / f"system.slice/docker-{ID}.scope" / name
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    group = groups.find(ID)
    assert group is not None and group.read() is None


def test_where_nothing_is_mounted(tmp_path: Path) -> None:
    assert not Cgroups(str(tmp_path / "none")).mounted
    assert not make(tmp_path, {}, "", "TOP rw - ext4 /dev/vda rw").mounted


def test_a_process_that_is_not_the_containers_teaches_nothing(tmp_path: Path) -> None:
    groups = second(tmp_path, f"odd/{ID}")
    assert not groups.learn(ID, os.getpid())  # an engine elsewhere may have that pid, too
    assert not groups.learn(ID, 1 << 22)
    assert groups.find(ID) is None


def test_this_process_is_the_first_of_no_container() -> None:
    assert init_of([os.getpid(), 1 << 22]) is None

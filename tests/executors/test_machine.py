"""What this process may use of its machine: its cgroups' limits, in both versions of cgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gaia_local.executors.machine import capacity_of_this_machine, cgroup_limits, visible_gpus
from gaia_local.model.resources import Resources

NO_LIMIT = "9223372036854771712\n"
"""As version 1 tells it."""


@pytest.mark.parametrize(
    ("membership", "files", "limits"),
    [
        # version 2: the smallest limit of all around counts
        (
            "0::/a/b\n",
            {"a/b/memory.max": "4096\n", "a/memory.max": "9999\n", "a/cpu.max": "150000 100000\n"},
            Resources(1.5, 4096),
        ),
        (
            "0::/a/b\n",
            {"a/b/memory.max": "9999\n", "a/memory.max": "4096\n"},
            Resources(None, 4096),
        ),
        ("0::/a\n", {"a/memory.max": "max\n", "a/cpu.max": "max 100000\n"}, Resources()),
        # in a container
        ("0::/\n", {"memory.max": "4096\n", "cpu.max": "50000 100000\n"}, Resources(0.5, 4096)),
        ("4:memory:/docker/1\n", {"memory/memory.limit_in_bytes": "4096\n"}, Resources(None, 4096)),
        # version 1
        (
            "5:cpu,cpuacct:/a\n4:memory:/b\n0::/c\n",
            {
                "cpu/a/cpu.cfs_quota_us": "200000\n",
                "cpu/a/cpu.cfs_period_us": "100000\n",
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/b/memory.limit_in_bytes": "4096\n",
                "memory/memory.limit_in_bytes": NO_LIMIT,
            },
            Resources(2, 4096),
        ),
        ("4:memory:/b\n", {"memory/b/memory.limit_in_bytes": NO_LIMIT}, Resources()),
        # a name with colons; a line of a hierarchy without controllers
        ("0::/a:b\n1:name=systemd:/\n", {"a:b/memory.max": "4096\n"}, Resources(None, 4096)),
    ],
)
def test_limits_of_cgroups(
    tmp_path: Path, membership: str, files: dict[str, str], limits: Resources
) -> None:
    (tmp_path / "membership").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert cgroup_limits(tmp_path / "membership", tmp_path / "mounted") == limits


def test_a_system_without_cgroups(tmp_path: Path) -> None:
    assert cgroup_limits(tmp_path / "membership", tmp_path) == Resources()


def test_a_smaller_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = capacity_of_this_machine()
    assert machine.fits(Resources(0.25, 4096))
    limits = Resources(0.25, 4096)
    monkeypatch.setattr("gaia_local.executors.machine.cgroup_limits", lambda *_: limits)
    limited = capacity_of_this_machine()
    assert limited.shortage(Resources(memory=4097)) and limited.shortage(Resources(0.3))
    assert limited.shortage(limits) is None
    monkeypatch.setattr("gaia_local.executors.machine.cgroup_limits", lambda *_: Resources(1e6))
    unlimited = capacity_of_this_machine()  # more than the machine has is no limit
    assert unlimited.shortage(Resources(len(os.sched_getaffinity(0)))) is None
    assert unlimited.shortage(Resources(1e5)) is not None


@pytest.mark.parametrize(
    ("environment", "gpus"),
    [
        ({}, ("0", "1", "2")),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, ("2", "0")),
        ({"CUDA_VISIBLE_DEVICES": " 1 , 1"}, ("1",)),
        ({"CUDA_VISIBLE_DEVICES": ""}, ()),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, ("0",)),
        ({"CUDA_VISIBLE_DEVICES": "1,7"}, ("1",)),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c,MIG-1"}, ("GPU-8932f937-d72c", "MIG-1")),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, ()),
        ({"NVIDIA_VISIBLE_DEVICES": "none", "CUDA_VISIBLE_DEVICES": "0"}, ()),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, ("0", "1", "2")),
    ],
)
def test_hidden_gpus_do_not_count(
    tmp_path: Path, environment: dict[str, str], gpus: tuple[str, ...]
) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert visible_gpus(environment, tmp_path) == gpus


def test_no_gpus(tmp_path: Path) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0,GPU-1"}, tmp_path) == ()

"""The resources that this process may use of its machine."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

from gaia_local.model.resources import Capacity, Resources

_UNLIMITED = 1 << 60
"""Bytes: version 1 of cgroups has a number about as large where there is no limit."""


def capacity_of_this_machine() -> Capacity:
    """This process's share of the machine: CPUs and memory within its cgroup's limits, and GPUs."""
    cpus: float = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = cgroup_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    gpus = visible_gpus()
    cpus, memory = min(cpus, limits.cpus or cpus), min(memory, limits.memory or memory)
    return Capacity(Resources(cpus, memory, len(gpus)), gpus)


def visible_gpus(
    environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")
) -> tuple[str, ...]:
    """The ids of NVIDIA's devices that the environment doesn't hide: numbers, or UUIDs.

    ``CUDA_VISIBLE_DEVICES`` is read as CUDA reads it: nothing after the first unknown id counts.
    """
    count = sum(1 for device in devices.glob("nvidia*") if device.name[6:].isdigit())
    shown = environment.get("CUDA_VISIBLE_DEVICES")
    if not count or environment.get("NVIDIA_VISIBLE_DEVICES") in ("none", "void"):
        return ()
    if shown is None:
        return tuple(map(str, range(count)))
    ids = [name.strip() for name in shown.split(",")]
    known = itertools.takewhile(
        lambda gpu: int(gpu) < count if gpu.isdecimal() else gpu.startswith(("GPU-", "MIG-")), ids
    )
    return tuple(dict.fromkeys(known))


def cgroup_limits(membership: Path, mounted: Path) -> Resources:
    """The smallest limits of a process's cgroups and of those around them; None: no limit.

    `membership` is the process's file ``cgroup``, `mounted` the directory of all cgroups.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # no Linux
        return Resources()
    cpus: list[float] = []
    memory: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers == "":  # version 2
            for group in _around(mounted, path):
                cpus += _quota(_numbers(group / "cpu.max"))
                memory += _numbers(group / "memory.max")[:1]
        if "cpu" in names:
            for group in _around(mounted / "cpu", path):
                quota, period = (group / f"cpu.cfs_{name}_us" for name in ("quota", "period"))
                cpus += _quota([*_numbers(quota), *_numbers(period)])
        if "memory" in names:
            for group in _around(mounted / "memory", path):
                memory += _numbers(group / "memory.limit_in_bytes")[:1]
    bounded = [int(amount) for amount in memory if amount < _UNLIMITED]
    return Resources(min(cpus, default=None), min(bounded, default=None))


def _around(mounted: Path, path: str) -> list[Path]:
    """A cgroup and those around it, up to the mount. In a container it may be the mount itself."""
    group = mounted / path.lstrip("/")
    return [group, *(parent for parent in group.parents if parent.is_relative_to(mounted))]


def _numbers(path: Path) -> list[float]:
    """The numbers in a file of the kernel's; none where the first one is ``max``, or no file."""
    try:
        return [float(word) for word in path.read_text().split()]
    except (OSError, ValueError):
        return []


def _quota(numbers: list[float]) -> list[float]:
    """The CPUs of a quota and a period; none where there is no quota, which may be -1."""
    return [numbers[0] / numbers[1]] if len(numbers) == 2 and min(numbers) > 0 else []

"""The control groups of containers on this machine: what the kernel counts for each.

An engine elsewhere, or in a virtual machine, has none here. Both versions of the kernel's interface
are read: the first has a hierarchy for each controller, the second one for all.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

_LAYOUTS = (
    "docker/{}",
    "system.slice/docker-{}.scope",
    "machine.slice/libpod-{}.scope",
    "libpod_parent/libpod-{}",
)
"""The places of containers' groups below the mount: of Docker's two drivers, and Podman's."""


class Reading(NamedTuple):
    """What a group counts; times in seconds, sizes in bytes."""

    user: float
    system: float
    memory: int
    """At this moment, with the cache of files."""
    peak: int | None
    """The most that there ever was; None: the kernel keeps none."""
    cache: int
    """That of files, which the kernel frees where memory is short."""


class Cgroup:
    """The group of one container."""

    def __init__(self, memory: str, cpu: str, unified: bool) -> None:
        self._memory, self._cpu, self._unified = memory, cpu, unified

    def read(self) -> Reading | None:
        """What it counts now; None once it is gone, or where it doesn't count."""
        try:
            return self._second() if self._unified else self._first()
        except (OSError, ValueError, KeyError):
            return None

    def pids(self) -> list[int]:
        """Its processes, as far as this one sees them."""
        found: list[int] = []
        for below in ("", "/container"):  # Podman has them there, and its own above
            try:
                with open(f"{self._memory}{below}/cgroup.procs", "rb") as file:
                    found += [int(pid) for pid in file.read().split() if pid != b"0"]
            except OSError:
                continue
        return found

    def _first(self) -> Reading:
        facts = _facts(f"{self._memory}/memory.stat")
        return Reading(
            _number(f"{self._cpu}/cpuacct.usage_user") / 1e9,
            _number(f"{self._cpu}/cpuacct.usage_sys") / 1e9,
            _number(f"{self._memory}/memory.usage_in_bytes"),
            _number(f"{self._memory}/memory.max_usage_in_bytes"),
            facts["total_cache"] - facts.get("total_shmem", 0),
        )

    def _second(self) -> Reading:
        times, facts = _facts(f"{self._cpu}/cpu.stat"), _facts(f"{self._memory}/memory.stat")
        try:
            peak = _number(f"{self._memory}/memory.peak")
        except FileNotFoundError:  # a kernel of before 2022
            peak = None
        return Reading(
            times["user_usec"] / 1e6,
            times["system_usec"] / 1e6,
            _number(f"{self._memory}/memory.current"),
            peak,
            facts["file"] - facts["shmem"],
        )


class Cgroups:
    """Finds the groups of one engine's containers. Thread-safe."""

    def __init__(self, mounts: str = "/proc/self/mountinfo") -> None:
        self._memory, self._cpu, self._unified = _mount_points(mounts)
        self._layouts = list(_LAYOUTS)

    @property
    def mounted(self) -> bool:
        """Whether this system shows any groups."""
        return self._memory is not None

    def find(self, container: str) -> Cgroup | None:
        """The group of a container that has started."""
        for layout in self._layouts:
            below = layout.format(container)
            if os.path.isdir(f"{self._memory}/{below}"):
                memory, cpu = f"{self._memory}/{below}", f"{self._cpu}/{below}"
                return Cgroup(memory, cpu, self._unified)
        return None

    def learn(self, container: str, pid: int) -> bool:
        """Note where the engine puts the groups of containers: one of them has this process.

        False if that is not a process of it here.
        """
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        except OSError:
            return False
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if (not controllers if self._unified else "memory" in controllers.split(",")) and (
                container in path
            ):
                layout = path.removesuffix("/container").strip("/").replace(container, "{}")
                self._layouts.insert(0, layout)
                return True
        return False


def _mount_points(mounts: str) -> tuple[str | None, str | None, bool]:
    """The places of the controllers `memory` and `cpuacct`, and whether they are unified."""
    first: dict[str, str] = {}
    second = None
    try:
        lines = Path(mounts).read_text().splitlines()
    except OSError:  # no Linux
        return None, None, False
    for line in lines:
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        place = before.split(" ")[4]
        if kind == "cgroup":
            first |= dict.fromkeys(options.split(","), place)
        elif kind == "cgroup2":
            second = place
    if "memory" in first and "cpuacct" in first:
        return first["memory"], first["cpuacct"], False
    return second, second, True


def init_of(pids: list[int]) -> int | None:
    """The first process of a container, in its own view, among these."""
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", "rb") as file:
                if re.search(rb"^NSpid:.*\t1$", file.read(), re.MULTILINE):
                    return pid
        except OSError:
            continue
    return None


def _facts(path: str) -> dict[str, int]:
    with open(path) as file:
        pairs = (line.split() for line in file)
        return {name: int(value) for name, value in pairs}


def _number(path: str) -> int:
    with open(path) as file:
        return int(file.read())

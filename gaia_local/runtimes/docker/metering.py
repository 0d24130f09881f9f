"""Measures containers while they run, and at their ends.

On this machine by their control groups, and up to the end: descriptors of processes tell of it, and
the engine needs a while to remove the group.

What its processes read and wrote is gone with the first of them. That is mostly Docker's own, whose
child is the program; between the ends of both there is a moment to look. Without it, and for the
network, what came after the last look is missing.

Elsewhere the engine is asked (`stats`).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

from gaia_local.errors import Closed
from gaia_local.model.usage import Usage
from gaia_local.runtimes.docker.cgroups import Cgroup, Cgroups, Reading, init_of
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.responses import NoAnswer, Refusal, checked, container_url
from gaia_local.runtimes.process_tree import children, io_of
from gaia_local.runtimes.sampling import FIRST_SECONDS, Sampler

if TYPE_CHECKING:
    from docker import APIClient

    from gaia_local.model.answer_types import LiveUsage

_STATS_SECONDS = 2.0
"""The longest wait for the engine's answer: others are to be measured, too."""


class ContainerMeters:
    """Measures the containers of one engine, in one thread. Thread-safe."""

    def __init__(self, engine: DockerEngine, private_network: bool) -> None:
        """`private_network`: each container has one of its own, so that its bytes are known."""
        self._engine, self.private_network = engine, private_network
        self._cgroups = Cgroups()
        self._sampler = Sampler("container-sampler")
        self._asks = not self._cgroups.mounted
        """Whether containers are known to have no groups here."""

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._sampler.close()

    def sampling(
        self, sample: Callable[[], None], ends: Collection[int]
    ) -> contextlib.AbstractContextManager[Callable[[int], None]]:
        """As `Sampler.sampling`."""
        return self._sampler.sampling(sample, FIRST_SECONDS, ends)

    def known_group(self, container: str) -> Cgroup | None:
        """The group of a container that has started, if it is at a known place."""
        return None if self._asks else self._cgroups.find(container)

    def group(self, container: str) -> Cgroup | None:
        """The same, at any place: the engine is asked for one of its processes."""
        if self._asks:
            return None
        with contextlib.suppress(Refusal, NoAnswer, Closed):
            state = self._engine.ask(_inspected(container), retry=False)["State"]
            if state["Status"] != "running":
                return None
            if self._cgroups.learn(container, state["Pid"]):
                return self._cgroups.find(container)
            self._asks = True
        return None

    def stats(self, container: str) -> dict[str, Any]:
        """The engine's own answer; empty if there is none."""
        with contextlib.suppress(Refusal, NoAnswer, Closed):
            return self._engine.ask(_stats(container), retry=False)
        return {}


class ContainerMeter:
    """The counts of one container: each is the latest, or the largest, of all looks.

    Invariant: no process is looked at after `measuring`: its pid may be another's then.
    """

    def __init__(
        self, meters: ContainerMeters, container: str, told: Callable[[LiveUsage], None]
    ) -> None:
        self._meters, self._container, self._told = meters, container, told
        self._lock = threading.Lock()
        self._over = False
        self._group: Cgroup | None = None
        self._init: int | None = None
        self._program: int | None = None
        """The child of the first process, if that is Docker's."""
        self._ends: list[int] = []
        """Descriptors of both, which can be read at their ends."""
        self._watch: Callable[[int], None] = lambda descriptor: None
        self._looked = False
        self._network: int | None = None
        self._times: tuple[float, float] | None = None
        self._memory: int | None = None
        self._cache = 0
        self._io: tuple[int, int] | None = None
        self._bytes: tuple[int, int] | None = None

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        """While inside: measure it, which has started."""
        self._group = self._meters.known_group(self._container)
        with contextlib.ExitStack() as opened:
            opened.callback(self._end)
            with self._lock:
                if self._group is not None:
                    self._hold(self._group)
                ends = list(self._ends)
            self._watch = opened.enter_context(self._meters.sampling(self._sample, ends))
            yield

    def _hold(self, group: Cgroup) -> None:
        """Hold the container's first process, and its program; called under the lock."""
        with contextlib.suppress(OSError):
            if self._init is None:
                self._init = init_of(group.pids())
                if self._init is None:
                    return
                self._hold_end(self._init)
                if self._meters.private_network:
                    # It is there as long as it is open, also after the process.
                    self._network = os.open(f"/proc/{self._init}/net/dev", os.O_RDONLY)
            if self._program is None:
                self._program = next(children(self._init), None)
                if self._program is not None:
                    self._hold_end(self._program)

    def _hold_end(self, pid: int) -> None:
        if hasattr(os, "pidfd_open"):
            self._ends.append(os.pidfd_open(pid))
            self._watch(self._ends[-1])

    def _sample(self) -> None:
        if self._group is None:
            self._group = self._meters.group(self._container)
        if self._group is None:
            self._take_stats(self._meters.stats(self._container))
        else:
            with self._lock:
                if not self._over:
                    if not self._looked:
                        self._hold(self._group)
                    self._looked = True
                    self._look(self._group)
        if self._times is not None:
            self._told({"memory": self._memory, "cpu": sum(self._times)})

    def _end(self) -> None:
        with self._lock:
            self._over = True
            for descriptor in self._ends:
                os.close(descriptor)
            if self._network is not None:
                os.close(self._network)

    def usage(self) -> Usage | None:
        """What the container took; None if it ended unseen."""
        if self._times is None:
            return None
        read, written = self._io or (None, None)
        received, sent = self._bytes or (None, None)
        return Usage(
            cpu_user=self._times[0],
            cpu_system=self._times[1],
            memory=self._memory,
            read=read,
            written=written,
            received=received,
            sent=sent,
        )

    def _look(self, group: Cgroup) -> None:
        held = {pid for pid in (self._init, self._program) if pid is not None}  # if they ended
        counts = [io for io in map(io_of, held | set(group.pids())) if io is not None]
        if counts:
            known = self._io or (0, 0)
            self._io = (
                max(known[0], sum(read for read, _ in counts)),
                max(known[1], sum(written for _, written in counts)),
            )
        if self._network is not None:
            self._bytes = _network_bytes(os.pread(self._network, 1 << 16, 0)) or self._bytes
        if (reading := group.read()) is not None:
            self._take(reading)

    def _take(self, reading: Reading) -> None:
        """Note what the group counts.

        Its peak has the cache of files in it, of which only the size at each look is known.
        """
        self._times = reading.user, reading.system
        self._cache = max(self._cache, reading.cache)
        used = reading.memory - reading.cache
        if reading.peak is not None:
            used = max(used, reading.peak - self._cache)
        self._memory = max(self._memory or 0, used)

    def _take_stats(self, stats: dict[str, Any]) -> None:
        """Note the engine's answer, which may lack anything."""
        cpu = (stats.get("cpu_stats") or {}).get("cpu_usage") or {}
        if cpu.get("total_usage"):  # 0 once it has ended
            total = cpu["total_usage"]
            system = min(total, cpu.get("usage_in_kernelmode") or 0)
            self._times = (total - system) / 1e9, system / 1e9
        memory = stats.get("memory_stats") or {}
        if memory.get("usage"):
            facts = memory.get("stats") or {}
            cache = facts.get("total_cache", facts.get("file", 0))
            shared = facts.get("total_shmem", facts.get("shmem", 0))
            used = memory["usage"] - max(0, cache - shared)
            self._memory = max(self._memory or 0, used)
        networks = stats.get("networks")
        if networks and self._meters.private_network:
            self._bytes = (
                sum(network.get("rx_bytes", 0) for network in networks.values()),
                sum(network.get("tx_bytes", 0) for network in networks.values()),
            )


def _network_bytes(table: bytes) -> tuple[int, int] | None:
    """The bytes received and sent, from the kernel's table; None if it has no interface any more.

    Those to the container itself don't count.
    """
    received = sent = 0
    rows = [line.partition(b":") for line in table.splitlines()[2:]]
    if not rows:
        return None
    for name, _, counts in rows:
        if name.strip() != b"lo":
            numbers = counts.split()
            received += int(numbers[0])
            sent += int(numbers[8])
    return received, sent


def _inspected(container: str) -> Callable[[APIClient], dict[str, Any]]:
    return lambda client: client.inspect_container(container)


def _stats(container: str) -> Callable[[APIClient], dict[str, Any]]:
    def call(client: APIClient) -> dict[str, Any]:
        answer: dict[str, Any] = checked(
            client.get(
                container_url(client, container, "stats"),
                params={"stream": "0", "one-shot": "1"},
                timeout=_STATS_SECONDS,
            )
        ).json()
        return answer

    return call


def has_private_network(mode: str | None) -> bool:
    """Whether containers with this network mode have each one of its own."""
    return mode != "host" and not (mode or "").startswith("container:")

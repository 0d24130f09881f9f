"""One engine's Tasks in a worker's process of a Dask cluster: how they are performed, and what the
engine is told.

A *session* is one engine's connection to the cluster: its Tasks share a storage, a runtime, a clock
and a private directory, from the first of them until the engine leaves, or another engine of the
same root takes its place.

Invariants:
- A Task runs only under a lease that this worker took up (`leases`), and not after that was taken
  back: whoever is cut off from the engine looks at the lease every `LEASE_ROUND` seconds, and ends
  what runs without one.
- Private directories are locked for as long as the process lives. What a dead one left is ended and
  removed by whichever worker of the same machine begins next, or is asked to (`sweep`).
- The engine is told of a Task in order, the `Outcome` last, over the connection that tells Dask
  that it is over, and before it does. What lies in the lease is told by places relative to the root
  and the buckets.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import pickle
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from gaia_local.config import DockerConfig
from gaia_local.errors import GaiaError, RootInUse, StorageError, error_text
from gaia_local.executors.clock import Clock
from gaia_local.executors.contract import Observer
from gaia_local.executors.worker import Worker
from gaia_local.model.assignment import Assignment, Outcome, Output
from gaia_local.model.events import Event
from gaia_local.model.tasks import BY_REQUEST, Fingerprint, Task, TaskState
from gaia_local.runtimes.choice import make_runtime
from gaia_local.runtimes.contract import Cancellation
from gaia_local.runtimes.process.marked_processes import end_leftover
from gaia_local.runtimes.process.supervisor import RECORD
from gaia_local.store import files
from gaia_local.store.leases import NotLeased, TakenUp, is_held, take_up
from gaia_local.store.ownership import Ownership, owner
from gaia_local.store.storage import Storage

LEASE_ROUND = 2.0
"""Seconds between two looks at the leases of what runs."""
TELL_ROUND = 0.1
"""Seconds for which an event may wait for others: a short Task is told of in one message."""

Placed: TypeAlias = "tuple[str, int, str, Fingerprint]"
"""An output in a lease: its key, the number of the top directory (0: the root, then the buckets),
the path below it.
"""

logger = logging.getLogger("gaia_local")


class Host(Protocol):
    """The worker of Dask's that a Task runs on."""

    address: str

    def log_event(self, topic: str, message: dict[str, Any], /) -> None:
        """Send a message to whoever listens to the topic."""


class Kit(Protocol):
    """What performs the Tasks of one session."""

    tops: tuple[Path, ...]
    """The root and the mapped buckets, as this machine sees them."""

    def perform(
        self, assignment: Assignment, cancellation: Cancellation, observer: Observer
    ) -> None:
        """See `worker.Worker.perform`."""

    def end(self, task_id: str) -> None:
        """End what a dead process left of a Task outside its private directory."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True)
class Equipment:
    """What a worker needs to know to perform the Tasks of one engine. Paths are as the workers see
    them.
    """

    session: str
    topic: str
    """Of the messages to the engine."""
    root_id: str
    """What containers bear as the mark of the root."""
    root_key: str
    """What tells the root from all others, whichever machine the engine is on."""
    root: str
    buckets: tuple[tuple[str, str], ...] = ()
    runtime: str = "process"
    docker: DockerConfig = field(default_factory=DockerConfig)
    scratch: str | None = None

    def kit(self, place: Path) -> Kit:
        """What performs Tasks, with private directories under `place`."""
        return _RealKit(self, place)


class _RealKit:
    """A `Worker` with the storage and the runtime that the engine's configuration asks for."""

    def __init__(self, equipment: Equipment, place: Path) -> None:
        root = Path(equipment.root).resolve()
        buckets = {name: Path(path).resolve() for name, path in equipment.buckets}
        self.tops = (root, *buckets.values())
        self._runtime = make_runtime(equipment.runtime, equipment.docker, equipment.root_id)
        self.perform = Worker(Storage(root, buckets, place), self._runtime).perform

    def end(self, task_id: str) -> None:
        self._runtime.end(task_id)

    def close(self) -> None:
        self._runtime.close()


@dataclass(eq=False)
class _Run:
    """A Task that this process performs."""

    lease: str
    cancellation: Cancellation
    worker: Host
    slot: int
    """The lowest number from 1 that no other Task of this worker has."""
    lost: bool = False
    """Nobody waits for its end any more, so that nobody is told of it."""


class Session:
    """One engine's Tasks in this process."""

    def __init__(self, equipment: Equipment, base: Path) -> None:
        self.equipment = equipment
        self._clock = Clock()
        self._changed = threading.Condition()
        self._runs: dict[str, _Run] = {}
        self._workers: set[Host] = set()
        self._tellers: set[_Teller] = set()
        """Those that have something to tell, soon."""
        self._looking = self._hurried = False
        self._place, self._ownership = own_place(base)
        try:
            self.kit = equipment.kit(self._place)
        except BaseException:
            self._leave_place()
            raise

    def perform(self, worker: Host, lease: str, assignment: Assignment) -> None:
        """Perform the Task under the lease, which is also its name while it runs here; tell the
        engine.
        """
        task = assignment.task
        cancellation = Cancellation(self._clock.later, self.equipment.docker.stop_grace)
        with self._changed:
            self._workers.add(worker)
            taken = {run.slot for run in self._runs.values() if run.worker is worker}
            slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
            run = self._runs[lease] = _Run(lease, cancellation, worker, slot)
            if not self._looking:
                self._looking = True
                self._clock.later(LEASE_ROUND, self._look)
        teller = _Teller(run, self.equipment.topic, self.kit.tops, self._tell_soon)
        try:
            take_up(self.kit.tops[0], lease)
            here = replace(assignment, task=replace(task, id=lease))
            self.kit.perform(here, cancellation, teller)
            if teller.failed and not is_held(self.kit.tops[0], lease):
                logger.warning(
                    "Task %s was revoked, or given to another worker: its outputs on this one are discarded",
                    lease,
                )
        except NotLeased as refusal:
            teller.tell(not_leased=error_text(refusal), taken=isinstance(refusal, TakenUp))
        except Exception as error:  # a defect of ours, or no disk: the engine must hear of it
            logger.exception("workflow %r, Step %r: the engine failed", task.workflow, task.name)
            message = f"the engine failed: {error_text(error)}"
            teller.ended(
                task, Outcome(TaskState.EXCEPTION, message=message, exception=type(error).__name__)
            )
        finally:
            teller.ended(task, Outcome(TaskState.CANCELLED))
            with self._changed:
                del self._runs[lease]
                self._changed.notify_all()

    def stop(self, leases: list[str]) -> list[str]:
        """Cancel Tasks; answers which of them run here."""
        with self._changed:
            runs = {lease: self._runs[lease] for lease in leases if lease in self._runs}
        for run in runs.values():
            self._cancel(run)
        return list(runs)

    def hurry(self) -> None:
        """Kill what is cancelled, and what will be."""
        self._hurried = True
        with self._changed:
            runs = list(self._runs.values())
        for run in runs:
            run.cancellation.hurry()

    def abandon(self, worker: Host | None = None) -> None:
        """End what runs (on one worker of this process): nobody waits for it."""
        with self._changed:
            runs = [run for run in self._runs.values() if worker in (None, run.worker)]
        for run in runs:
            run.lost = True
            self._cancel(run)

    def forget(self, worker: Host) -> bool:
        """A worker of this process closes; answers whether there is none left for the session."""
        with self._changed:
            self._workers.discard(worker)
            return not self._workers

    def close(self) -> None:
        """End what runs, wait for that, and leave nothing behind."""
        self.abandon()
        with self._changed:
            self._changed.wait_for(lambda: not self._runs)
        self.kit.close()
        self._clock.close()
        self._leave_place()

    def _leave_place(self) -> None:
        _remove(self._place)
        self._ownership.release()

    def _cancel(self, run: _Run) -> None:
        run.cancellation.cancel(BY_REQUEST)
        if self._hurried:
            run.cancellation.hurry()

    def _tell_soon(self, teller: _Teller) -> None:
        with self._changed:
            if not self._tellers:  # one order for all: each wakes the clock
                self._clock.later(TELL_ROUND, self._flush)
            self._tellers.add(teller)

    def _flush(self) -> None:
        with self._changed:
            tellers, self._tellers = self._tellers, set()
        for teller in tellers:
            teller.flush()

    def _look(self) -> None:
        """End what has no lease any more."""
        with self._changed:
            runs = dict(self._runs)
            self._looking = bool(runs)
        for lease, run in runs.items():
            if not is_held(self.kit.tops[0], lease):
                self._cancel(run)
        if runs:
            self._clock.later(LEASE_ROUND, self._look)


class _Teller:
    """Tells the engine what happens to one Task. Implements `Observer`.

    Events are told a little later, the outcome at once, and what comes after that never.
    """

    def __init__(
        self, run: _Run, topic: str, tops: tuple[Path, ...], soon: Callable[[_Teller], None]
    ) -> None:
        """`soon` sees to it that `flush` is called after a while."""
        self._run, self._topic, self._soon = run, topic, soon
        self._tops = [(number, f"{top}/") for number, top in enumerate(tops)][
            ::-1
        ]  # a bucket may lie in the root
        self._lock = threading.Lock()
        self._events: list[Event] = []
        """Those that are still to be told."""
        self._end: tuple[Outcome, list[Placed]] | None = None
        self._ordered = False
        self._over = False
        self.failed = False
        """Whether the outcome was none that makes the Step complete."""

    def started(self, task: Task, event: Event) -> None:
        self.happened(task, event)

    def happened(self, task: Task, event: Event) -> None:
        with self._lock:
            if self._over:
                return
            self._events.append(event)
            if self._ordered:
                return
            self._ordered = True
        self._soon(self)

    def ended(self, task: Task, outcome: Outcome) -> None:
        with self._lock:
            if self._over:
                return
            self._over, self.failed = True, outcome.state is not TaskState.COMPLETE
            placed = [self._placed(output) for output in outcome.outputs]
            self._end = replace(outcome, outputs=()), placed
        self.flush()

    def tell(self, **facts: Any) -> None:
        """Tell this, and nothing more."""
        with self._lock:
            self._over = True
        self._send(facts)

    def flush(self) -> None:
        """Tell what waits to be told."""
        with self._lock:
            events, end = self._events, self._end
            self._events, self._end, self._ordered = [], None, False
            if events or end is not None:  # under the lock, so that the messages keep their order
                self._send({"happened": pickle.dumps((events, end))})

    def _send(self, facts: dict[str, Any]) -> None:
        if not self._run.lost:
            send(self._run.worker, self._topic, self._run.lease, slot=self._run.slot, **facts)

    def _placed(self, output: Output) -> Placed:
        number, top = next(each for each in self._tops if output.source.startswith(each[1]))
        return output.key, number, output.source[len(top) :], output.fingerprint


def send(worker: Host, topic: str, lease: str, **facts: Any) -> None:
    """Tell the engine of a Task."""
    worker.log_event(topic, {"lease": lease, "worker": worker.address, **facts})


# ------------------------------------------------------------------------------ private directories


def own_place(base: Path) -> tuple[Path, Ownership]:
    """A new private directory that is locked for as long as this process lives."""
    name = uuid.uuid4().hex
    try:
        ownership = Ownership(base / f"new-{name}")
        place = base / f"worker-{name}"  # only from here on others look whether it is locked
        os.rename(base / f"new-{name}", place)
        (place / "staging").mkdir()
    except (OSError, StorageError, RootInUse) as error:
        raise StorageError(
            f"{base} can't be used ({error_text(error)}); give another with the config's dask.scratch"
        ) from error
    return place, ownership


def found(base: Path, pattern: str) -> list[Path]:
    """What there is below `base`, where others make and remove things meanwhile, which `Path.glob`
    may fail for.
    """
    return [base / each for each in glob.glob(pattern, root_dir=base)]


def sweep(base: Path, equipment: Equipment) -> None:
    """End and remove what dead processes left under `base`."""
    dead = [place for place in found(base, "worker-*") if owner(place) is None]
    if not dead:
        return
    kit = equipment.kit(base)
    with contextlib.closing(kit):
        for place in dead:
            with (
                contextlib.suppress(RootInUse, StorageError),
                _locked(place),
            ):  # another worker does it, or has done it
                for private in found(place, "staging/*"):
                    end_leftover(private / RECORD)
                    try:
                        kit.end(private.name)
                    except GaiaError as error:
                        logger.warning(
                            "processes or files of Task %s could not be removed: %s",
                            private.name,
                            error,
                        )
                _remove(place)


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    ownership = Ownership(place)
    try:
        yield
    finally:
        ownership.release()


def _remove(place: Path) -> None:
    try:
        files.remove(str(place))
        with contextlib.suppress(OSError):  # others use it
            place.parent.rmdir()
    except OSError as error:
        logger.warning("%s can't be removed: %s", place, error)

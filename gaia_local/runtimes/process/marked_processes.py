"""Recognises the processes of a run, ends them, and finds them again after a crash.

Every process of a run has the run's mark in its environment. Pids are reused; so a process is
signalled only while a descriptor of it is held, or while its pid can't be given to another.

NOTE: psutil helps with none of this. Its start times move with the clock, it has no sessions and
pidfds, and no answer for a process during an exec; and its import takes longer than this package's.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from gaia_local.errors import RuntimeFailure
from gaia_local.monotonic import monotonic
from gaia_local.runtimes.process import supervisor
from gaia_local.runtimes.process.supervisor import RECORD

TASK_VARIABLE = "GAIA_LOCAL_TASK"
"""Holds the Task's id in the environment of every process of a Task."""
DIRECTORY_VARIABLE = "GAIA_LOCAL_DIRECTORY"
"""Holds the mark of a run: device, inode and path of its private directory.

By the first two, a run is still known when its root was moved, and isn't when that was copied.
"""
SUPERVISOR = os.fsencode(supervisor.__file__)
"""The program of a supervisor: a process is one if this is in its command line."""

POLL_SECONDS = 0.02
"""Between two checks of a process, if the system can't wait for it."""
_GONE_SECONDS = 5.0
"""The longest wait for the end of a killed process: if it takes longer, its disk hangs."""

_STATE, _PARENT, _START, _MEMORY, _CODE, _ENVIRONMENT = 0, 1, 19, 20, 23, slice(47, 49)
"""Places in `_facts`: three less than the manual's, proc_pid_stat(5), has them."""

_TASK_BYTES, _DIRECTORY_BYTES = TASK_VARIABLE.encode(), DIRECTORY_VARIABLE.encode()


def marked(environment: Mapping[bytes, bytes], task: str, directory: str) -> dict[bytes, bytes]:
    """The environment with the mark of a run in a private directory.

    Raises `OSError` if that is missing.
    """
    return {
        **environment,
        _TASK_BYTES: os.fsencode(task),
        _DIRECTORY_BYTES: b"%b:%b" % (_identity(directory), os.fsencode(directory)),
    }


def mark_in(environment: Mapping[bytes, bytes]) -> bytes:
    """The mark in a `marked` environment, as `end_strays` takes it."""
    return b"\0%b=%b\0" % (_DIRECTORY_BYTES, environment[_DIRECTORY_BYTES])


def _mark_of(directory: str) -> bytes:
    return b"\0%b=%b:" % (_DIRECTORY_BYTES, _identity(directory))


def _identity(directory: str) -> bytes:
    status = os.stat(directory)
    return b"%d:%d" % (status.st_dev, status.st_ino)


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group; one that is gone is fine."""
    # PermissionError: on macOS, if the group holds only zombies; on Linux, if all of it became
    # another user's.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_strays(session: int | None, mark: bytes) -> bool:
    """Kill the processes of one run that left its group, and wait; returns whether any existed.

    Linux only. A process belongs to the run by its mark, or by its `session`, which is given only
    while its id is sure to be the run's.
    """
    if not hasattr(os, "pidfd_open"):
        return False
    found: set[int] = set()
    while new := [pid for pid in all_pids() if pid not in found and _belongs(pid, session, mark)]:
        # A killed process makes no more of them: a round that finds no new one is the last.
        found.update(new)
        for pid in new:
            with held(pid) as handle:
                if handle is not None and _belongs(pid, session, mark):
                    _kill_held(handle)
    deadline = monotonic() + _GONE_SECONDS
    for pid in found:
        with held(pid) as handle:
            if handle is not None and _belongs(pid, session, mark):
                await_held(handle, deadline - monotonic())
    return bool(found)


def _environment(pid: int) -> bytes:
    # NOTE: during an exec a process seems to have none. Of strays that were killed while they
    # started, 1 in 500 was missed for that. The kernel sets the address of the environment first,
    # then that of the code.
    deadline = monotonic() + _GONE_SECONDS
    while not (environment := _read(f"/proc/{pid}/environ")):
        facts = _facts(pid)
        start, end = facts[_ENVIRONMENT]
        if (
            facts[_MEMORY] == b"0"
            or (start == end and facts[_CODE] != b"0")
            or monotonic() > deadline
        ):
            break  # a zombie, or its environment is empty
        select.select([], [], [], POLL_SECONDS / 32)
    return environment


def _belongs(pid: int, session: int | None, mark: bytes) -> bool:
    try:
        if pid in (session, os.getpid()):
            return False
        return os.getsid(pid) == session or mark in b"\0%b\0" % _environment(pid)
    except (OSError, ValueError):  # gone, or another user's
        return False


@contextlib.contextmanager
def held(pid: int) -> Iterator[int | None]:
    """A descriptor that always refers to this process; None if there is none."""
    try:
        handle = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux; gone, a mere thread, or an old kernel
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _kill_held(handle: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)


def await_held(handle: int, seconds: float) -> bool:
    """Wait until the process of a descriptor has ended; False if it hasn't in time."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _facts(pid: int) -> list[bytes]:
    # The name before the last parenthesis may hold any characters.
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def all_pids() -> list[int]:
    """The pids of all processes; none if the system doesn't list them."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def leftover(path: Path) -> int | None:
    """A live process of the run whose record is, or would be, at `path`; else None.

    A recorded pid alone proves nothing: the process must also have begun at the same instant since
    the same boot, and the record must not be a copy in another directory. Without a record, or
    after its process's end, a process with the run's mark is looked for. Linux only; elsewhere the
    answer is None.
    """
    if not path.parent.exists():
        return None
    pid, mark = _recorded(path), _mark_of(str(path.parent))
    if pid is not None:
        return pid
    return next((found for found in all_pids() if _belongs(found, None, mark)), None)


def end_leftover(path: Path) -> bool:
    """Kill all processes of the run whose record is, or would be, at `path`; True if any existed.

    They are the recorded process's group, and all with the run's mark in their environment. Waits
    for their ends, and for those of supervisors, which kill all of it before they end.
    """
    _await_supervisors()
    if not path.parent.exists():
        return False
    pid = _recorded(path)
    if pid is not None:
        with held(pid) as handle:
            if _recorded(path) == pid:
                signal_group(pid, signal.SIGKILL)
            if handle is not None:
                await_held(handle, _GONE_SECONDS)
    # NOTE: pids are given in turn: right after the session's end, no other process has its id.
    strays = end_strays(pid, _mark_of(str(path.parent)))
    return pid is not None or strays


def _await_supervisors() -> None:
    """Wait for the ends of supervisors whose engine is dead: one may just be starting a program."""
    deadline = monotonic() + _GONE_SECONDS
    for pid in all_pids():
        with held(pid) as handle:
            if handle is not None and _is_orphaned_supervisor(pid):
                await_held(handle, deadline - monotonic())


def _is_orphaned_supervisor(pid: int) -> bool:
    try:
        command = _read(f"/proc/{pid}/cmdline").split(b"\0")
        if SUPERVISOR not in command:
            return False
        engine = command[command.index(SUPERVISOR) + 2 :][:1]
        return engine != [_facts(pid)[_PARENT]]
    except (OSError, IndexError):  # gone, or another user's
        return False


def _recorded(path: Path) -> int | None:
    try:
        record = json.loads(path.read_bytes())
        pid, start, boot = record["pid"], record["start"], record["boot"]
        own = record["directory"] == os.fsdecode(_identity(str(path.parent)))
    # There is no record, or a crash of the machine cut it short.
    except (OSError, ValueError, TypeError, KeyError):
        return None
    same = own and start is not None and boot == _boot() and _start_time(pid) == start
    return int(pid) if same else None


def record(pid: int, directory: str, parent: int) -> None:
    """Record which child of `parent` runs in a private directory, for the engine after a crash."""
    path = Path(directory, RECORD)
    try:
        record = {
            "pid": pid,
            "start": _start_time(pid, parent),
            "boot": _boot(),
            "directory": os.fsdecode(_identity(directory)),
        }
        try:
            _write_new(path, json.dumps(record))
        except FileExistsError:
            # Not truncated: ext4 would flush the file, which takes longer than all the rest.
            path.unlink()
            _write_new(path, json.dumps(record))
    except OSError as error:
        raise RuntimeFailure(f"{path} cannot be written: {error.strerror}") from error


def _write_new(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _start_time(pid: int, parent: int | None = None) -> int | None:
    """The start of `pid` in clock ticks since boot; None if unknown, a zombie, or no child."""
    try:
        facts = _facts(pid)
        strange = facts[_STATE] in (b"Z", b"X") or parent not in (None, int(facts[_PARENT]))
        return None if strange else int(facts[_START])
    except (OSError, ValueError, IndexError):
        return None


@functools.cache
def _boot() -> str | None:
    try:
        return _read("/proc/sys/kernel/random/boot_id").decode().strip()
    except OSError:
        return None

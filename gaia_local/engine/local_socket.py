"""Calls to the process that owns a root, through a Unix socket in the root.

One call per connection: a line of JSON ``{"version", "call", "arguments", "config"}``, and a line
back, ``{"answer"}`` or ``{"error": {"kind", "arguments"}}``. Only the root's user may connect.

Invariants:
- Only the owner answers: it makes the socket after taking the root's lock, and removes it before
  releasing the lock.
- `Listener.refuse` comes before the scheduler's end, `Listener.close` after it: each accepted call
  is answered.
- While the owner is ending, its socket exists and refuses connections: this tells callers to try
  again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gaia_local import errors, interrupts
from gaia_local.engine.owner_connection import OwnerConnection, peer
from gaia_local.errors import EngineUnavailable, GaiaError, error_text
from gaia_local.forks import forget_in_child

logger = logging.getLogger("gaia_local")

NAME = "engine.sock"
VERSION = 1
"""The protocol's version; not the package's, so that most versions of that work together."""
TIMEOUT_SECONDS = 10.0
"""To connect; for the owner also to read a call, and to send an answer."""
MOST = 100
"""The most calls that are answered at a time; others wait."""
_LONGEST = 100
"""The most bytes of a socket's path that all systems allow."""

Answer = Callable[[str, Mapping[str, Any], Mapping[str, str]], Any]
"""From the name of a call, its arguments and the caller's configuration to its answer."""


class Unreachable(EngineUnavailable):
    """No answer: there is no socket, no process listens, or the owner ended during a call.

    Also if this process may not have sockets.
    """

    def __init__(self, message: str, absent: bool = False, told_all: bool = False) -> None:
        """`absent`: there is no socket; `told_all`: the call was sent, and may have been made."""
        super().__init__(message)
        self.absent, self.told_all = absent, told_all

    def __reduce__(self) -> tuple[type, tuple[str, bool, bool]]:
        return type(self), (str(self), self.absent, self.told_all)


class Listener:
    """Answers calls, each in a thread of its own, from its making to `close`."""

    def __init__(self, root: Path, answer: Answer) -> None:
        """Replaces a dead owner's socket. Raises `OSError` if the file system has no sockets.

        Plugins that forbid sockets in tests may raise another error (`RuntimeError`).
        """
        self._answer = answer
        self._lock = threading.Lock()
        self._refusing = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._room = threading.Semaphore(MOST)
        self._path = root / NAME
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            with _address(root) as address:
                self._socket.bind(address)
            self._path.chmod(0o600)  # before any process can connect
            self._file = os.lstat(self._path)
            self._socket.listen(128)
        except BaseException:
            self._socket.close()
            raise
        forget_in_child(self)
        self._thread = threading.Thread(
            target=self._accept, name="gaia-local-listener", daemon=True
        )
        self._thread.start()

    def refuse(self) -> None:
        """Take no more calls. Idempotent."""
        if self._refusing.is_set():
            return
        self._refusing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread if it waits for a call
        self._room.release()  # wakes it if it waits for room
        self._thread.join()
        self._socket.close()

    def finish(self) -> None:
        """Take no more calls, and return when the accepted ones are answered. Idempotent."""
        self.refuse()
        with self._lock:
            connections = dict(self._connections)
        for thread, connection in connections.items():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # don't wait for calls that weren't sent yet
            interrupts.join(thread)

    def close(self) -> None:
        """Finish, and remove the socket if it is still this listener's. Idempotent."""
        self.finish()
        try:
            if os.path.samestat(os.lstat(self._path), self._file):
                self._path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:  # the next owner replaces it all the same
            logger.warning("%s can't be removed: %s", self._path, error.strerror)

    def forget(self) -> None:
        """As `Inherited.forget`: the socket is the parent's."""
        self._socket.close()
        for connection in self._connections.values():
            connection.close()

    def _accept(self) -> None:
        warned = False
        while True:
            self._room.acquire()
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                self._room.release()
                if self._refusing.wait(0.1):  # an error such as too many open files may pass
                    return
                if not warned:
                    logger.warning(
                        "calls from other processes can't be accepted for now: %s", error.strerror
                    )
                warned = True
                continue
            warned = False
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="gaia-local-caller", daemon=True
            )
            with self._lock:
                self._connections[thread] = connection
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):  # the caller has gone
                if not _is_own(connection):  # a file system without modes lets others connect
                    return
                connection.settimeout(TIMEOUT_SECONDS)
                with connection.makefile("rb") as reader:
                    line = reader.readline()
                if line.endswith(b"\n"):
                    connection.sendall(json.dumps(self._say(line)).encode() + b"\n")
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]
            self._room.release()

    def _say(self, line: bytes) -> dict[str, Any]:
        try:
            told_us = json.loads(line)
            if told_us["version"] != VERSION:
                raise GaiaError(
                    f"the process {os.getpid()}, which owns this root, runs another version of "
                    "gaia_local; end it, or use the same version"
                )
            return {
                "answer": self._answer(told_us["call"], told_us["arguments"], told_us["config"])
            }
        except GaiaError as error:
            return {
                "error": {"kind": type(error).__name__, "arguments": list(error.__reduce__()[1])}
            }
        except Exception as error:  # a defect here, or of the caller: the caller must get an error
            logger.exception("a call from another process failed")
            return {
                "error": {
                    "kind": "GaiaError",
                    "arguments": [
                        f"the engine failed: {type(error).__name__}: {error_text(error)}"
                    ],
                }
            }


def call(
    root: Path,
    name: str,
    arguments: Mapping[str, Any],
    config: Mapping[str, str],
    encode: Callable[[object], Any],
) -> Any:
    """The answer of a root's owner; `encode` converts arguments that JSON can't hold.

    Raises `Unreachable` if no owner answers, and else the errors that the call raises there.
    """
    line = json.dumps(
        {"version": VERSION, "call": name, "arguments": arguments, "config": config}, default=encode
    )
    told_all = False
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            with _address(root) as address:
                connection.connect(address)
            connection.setblocking(False)
            owner = OwnerConnection(connection, root)
            owner.send(line.encode() + b"\n")
            told_all = True
            reply = owner.receive_line()
    except (OSError, RuntimeError) as error:  # pytest-socket raises the second
        absent = isinstance(error, FileNotFoundError | RuntimeError)
        raise Unreachable(
            f"the owner of root {root} doesn't answer: {error_text(error)}", absent, told_all
        ) from error
    if not reply.endswith(b"\n"):
        raise Unreachable(f"the owner of root {root} ended during the call {name!r}", told_all=True)
    answer = json.loads(reply)
    if "error" in answer:
        kind, facts = answer["error"]["kind"], answer["error"]["arguments"]
        raise _KINDS.get(kind, GaiaError)(*facts)
    return answer["answer"]


_KINDS = {
    kind.__name__: kind
    for kind in (*vars(errors).values(), Unreachable)
    if isinstance(kind, type) and issubclass(kind, GaiaError)
}


def _is_own(connection: socket.socket) -> bool:
    """Whether the peer is this user or root; True if unknown: then the socket's mode must do."""
    return peer(connection)[1] in (os.geteuid(), 0, None)


@contextlib.contextmanager
def _address(root: Path) -> Iterator[str]:
    """The socket's address: its path, or a shorter alias if that is too long."""
    path = root / NAME
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{NAME}"
    finally:
        os.close(directory)

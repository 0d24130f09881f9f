"""The engines that the `Gaia` objects of this process share, one for each root, and their end.

The real client is stateless, so programs make several; here those share one engine, as they would
share one server.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
import threading
from pathlib import Path

from gaia_local import interrupts
from gaia_local.config import Config
from gaia_local.engine.engine import Engine, refuse_other_config
from gaia_local.errors import GaiaError
from gaia_local.forks import call_in_child

MOST_NAMED = 5
"""The most workflows that one line names."""
logger = logging.getLogger("gaia_local")

_engines: dict[Path, Engine] = {}
_engines_lock = threading.Lock()
_ending: set[Engine] = set()
"""Engines without users, until they are closed."""


def share(config: Config) -> Engine:
    """The engine of a root, made for its first user; all users must give the same configuration."""
    with _engines_lock:
        engine = _engines.get(config.root)
        if engine is None:
            engine = _engines[config.root] = Engine(config)
        ours = engine.config.settings()
        for key, value in sorted(config.given_settings().items()):
            if key not in ours or ours[key] != value:
                refuse_other_config(config.root, "this process", key, "close that Gaia first")
        engine.users += 1
        return engine


def leave(engine: Engine, wait: bool) -> None:
    """Take one user away; the last closes the engine, after waiting for its Tasks if `wait`.

    Without `wait`, or if a signal's handler raises while it waits, running workflows are halted.
    """
    try:
        _leave(engine, wait)
    except BaseException:
        engine.users += 1
        _leave(engine, wait=False)
        raise


def _leave(engine: Engine, wait: bool) -> None:
    with _engines_lock:
        engine.users -= 1
        others = engine.users
    if wait and not others:
        engine.wait()
    with _engines_lock:
        last = engine.users <= 0  # unless a new user came meanwhile
        if last:
            _ending.add(engine)
            if _engines.get(engine.config.root) is engine:
                del _engines[engine.config.root]
    if wait and last:
        engine.drain()
    with interrupts.deferred(urgent=True):
        if not wait:
            engine.stop()
        if last:
            engine.close()
            _ending.discard(engine)


def owned_roots() -> set[Path]:
    """The roots that this process owns, also those whose engines are being made or closed."""
    engines = (*_engines.copy().values(), *_ending.copy())
    return {engine.config.root for engine in engines if engine.owns()}


def _at_exit() -> None:
    """At the script's end, wait for Steps, as `concurrent.futures` does; on Ctrl-C, stop them."""
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    with interrupts.deferred():
        for engine in (*_engines.values(), *_ending):
            try:
                if not interrupted:
                    _tell_of_running(engine)
                    engine.drain()
            except KeyboardInterrupt:
                interrupted = True
            finally:
                engine.close()


def _tell_of_running(engine: Engine) -> None:
    """Say why the program doesn't end yet; a root that can't be asked is only waited for."""
    with contextlib.suppress(GaiaError):
        if not engine.owns():
            return
        rows = engine.ask(lambda root: root.workflows())
        running = [name for name, row in rows.items() if row["state"] == "running"]
        if running:
            names = ", ".join(running[:MOST_NAMED]) + (", …" if len(running) > MOST_NAMED else "")
            logger.warning("waiting for Steps that still run (Ctrl-C stops them): %s", names)


def _in_child() -> None:
    global _engines_lock  # noqa: PLW0603 the thread that held it isn't in the child
    _engines_lock = threading.Lock()
    _engines.clear()
    _ending.clear()


call_in_child(_in_child)

# NOTE: plain `atexit` is too late: Python 3.12 and later refuse to start threads and processes from
# there. This hook is the one that `concurrent.futures` uses; it runs when the main thread ends.
getattr(threading, "_register_atexit", atexit.register)(_at_exit)

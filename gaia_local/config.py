"""The configuration: what `Gaia(config)` takes, with defaults from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gaia_local.errors import InvalidInput, nearest, shown

RUNTIMES = ("docker", "process", "auto")
EXECUTORS = ("threads",)


@dataclass(frozen=True)
class DockerConfig:
    """The key `docker` of the configuration: how containers are made."""

    inputs: str = "copy"
    """`copy`: each Task gets private, writable copies; `mount`: read-only mounts of the store, for big data."""
    pull: str = "missing"
    """When to pull an image: `missing`, `always`, `never`."""
    network: str | None = None
    """The network of the containers, as ``docker run --network`` takes it."""
    memory: int | str | None = None
    """Bytes, or text as ``512m``."""
    cpus: float | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables of every container. May hold secrets: never logged or stored."""
    shm_size: int | str | None = None
    gpus: int | str | None = None
    """A number of GPUs, or ``all``."""
    stop_grace: float = 2.0
    """Seconds between SIGTERM and SIGKILL."""
    track_images: bool = True
    """Whether `run` recomputes what was made with another image of the same name."""


@dataclass(frozen=True)
class Config:
    """The whole configuration, checked."""

    root: Path
    runtime: str
    executor: str
    workers: int
    buckets: Mapping[str, Path]
    """Bucket name → directory that serves it, for all workflows."""
    watch: bool
    docker: DockerConfig
    given: frozenset[str] = frozenset()
    """The keys that the caller gave (as opposed to defaults)."""

    @staticmethod
    def parse(given: Mapping[str, Any] | None) -> Config:
        """Check the dictionary that `Gaia` was given. Creates nothing."""
        if given is None:
            given = {}
        if not isinstance(given, Mapping):
            raise InvalidInput("config", f"it is {shown(given)}", "give a dictionary")
        _refuse_unknown("config", given, _KEYS)
        root = given.get("root") or os.environ.get("GAIA_LOCAL_ROOT") or "gaia-data"
        runtime = given.get("runtime") or os.environ.get("GAIA_LOCAL_RUNTIME") or "docker"
        return Config(
            root=_directory("config, root", root),
            runtime=_one_of("config, runtime", runtime, RUNTIMES),
            executor=_one_of("config, executor", given.get("executor") or "threads", EXECUTORS),
            workers=_workers(given.get("workers")),
            buckets=_buckets(given.get("buckets")),
            watch=_boolean("config, watch", given.get("watch", True)),
            docker=_docker(given.get("docker")),
            given=frozenset(given) - {"gaia_host"},
        )


_KEYS = ("root", "runtime", "executor", "workers", "buckets", "watch", "docker", "gaia_host")


def _refuse_unknown(where: str, given: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise InvalidInput(where, f"there is no key {shown(key)}", nearest(key, known, "the keys are"))


def _one_of(where: str, given: object, allowed: tuple[str, ...]) -> str:
    if given not in allowed:
        raise InvalidInput(where, f"it is {shown(given)}", "give " + " or ".join(map(repr, allowed)))
    return str(given)


def _boolean(where: str, given: object) -> bool:
    if not isinstance(given, bool):
        raise InvalidInput(where, f"it is {shown(given)}", "give True or False")
    return given


def _workers(given: object) -> int:
    if given is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= 10_000:
        raise InvalidInput("config, workers", f"it is {shown(given)}", "give a whole number from 1 to 10000")
    return given


def _buckets(given: object) -> dict[str, Path]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidInput("config, buckets", f"it is {shown(given)}", "give a dictionary: bucket name → directory")
    buckets = {}
    for name, path in given.items():
        where = f"config, bucket {shown(name)}"
        if not isinstance(name, str) or not name or ":" in name or "\0" in name:
            raise InvalidInput(where, "the name is empty, or no text, or holds ':'", "name it as keys do before their ':'")
        buckets[name] = _directory(where, path)
    return buckets


def _directory(where: str, given: object) -> Path:
    if not isinstance(given, str | os.PathLike) or not str(given):
        raise InvalidInput(where, f"it is {shown(given)}", "give a directory's path")
    try:
        return Path(given).expanduser().resolve()
    except (ValueError, RuntimeError, TypeError, OSError) as error:  # a NUL, an unknown ~user, a loop of links
        raise InvalidInput(where, f"{shown(given)} is no path ({error})", "give a directory's path") from None


def _docker(given: object) -> DockerConfig:
    if given is None:
        return DockerConfig()
    if not isinstance(given, Mapping):
        # What holds more than one value may hold `env`, which is never shown.
        told = shown(given) if isinstance(given, str | int) else f"of type {type(given).__name__}"
        raise InvalidInput("config, docker", f"it is {told}", "give a dictionary")
    _refuse_unknown("config, docker", given, tuple(_DOCKER))
    for key, (right, accepts) in _DOCKER.items():
        if key in given and not accepts(given[key]):
            problem = "it is not a dictionary of text" if key == "env" else f"it is {shown(given[key])}"
            raise InvalidInput(f"config, docker.{key}", problem, f"give {right}")
    return DockerConfig(**{key: value for key, value in given.items() if value is not None})


def _number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and 0 < given < 1e18


def _is_variable(name: object, value: object) -> bool:
    text = isinstance(name, str) and isinstance(value, str) and "\0" not in name + value
    return text and name != "" and "=" not in str(name)


def _size(given: object) -> bool:
    if isinstance(given, str):
        return re.fullmatch(r"(?=.*[1-9])[0-9]+(\.[0-9]+)?([bkmgt]b?)?", given, re.IGNORECASE) is not None
    return given is None or (isinstance(given, int) and _number(given))


_DOCKER: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "inputs": ("'copy' or 'mount'", lambda given: given in ("copy", "mount")),
    "pull": ("'missing', 'always' or 'never'", lambda given: given in ("missing", "always", "never")),
    "network": ("a network's name", lambda given: given is None or (isinstance(given, str) and bool(given))),
    "memory": ("a number of bytes, or text as '512m'", _size),
    "cpus": ("a number above 0", lambda given: given is None or _number(given)),
    "env": (
        "a dictionary of names, without '=', to text",
        lambda given: isinstance(given, Mapping) and all(_is_variable(*pair) for pair in given.items()),
    ),
    "shm_size": ("a number of bytes, or text as '64m'", _size),
    "gpus": ("a number, or 'all'", lambda given: given in (None, "all") or (isinstance(given, int) and _number(given))),
    "track_images": ("True or False", lambda given: isinstance(given, bool)),
    "stop_grace": ("a number of seconds from 0 up", lambda given: given == 0 or _number(given)),
}
assert set(_DOCKER) == {each.name for each in fields(DockerConfig)}

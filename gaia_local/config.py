"""The configuration: the argument of `Gaia(config)`, with defaults from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from gaia_local.errors import InvalidInput, nearest, shown
from gaia_local.terminal_text import is_utf8

RUNTIMES = ("docker", "process", "auto")
EXECUTORS = ("threads", "dask")
DURABILITIES = ("batch", "step")
MAX_STEPS = 200_000
KEEP_ATTEMPTS = 20
KEEP_FAILED_BYTES = 10**10


@dataclass(frozen=True)
class DockerConfig:
    """The key `docker` of the configuration: the settings of containers."""

    inputs: str = "copy"
    """`copy`: each Task gets private, writable copies; `mount`: read-only mounts of the store, for
    big data.
    """
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
    init: bool = True
    """Whether process 1 is the engine's init, which ends leftovers; some images bring their own.
    """
    stop_grace: float = 2.0
    """Seconds between SIGTERM and SIGKILL."""
    track_images: bool = True
    """Whether `run` recomputes results of another image that had the same name."""


@dataclass(frozen=True)
class DaskConfig:
    """The key `dask` of the configuration: the cluster whose workers run Steps."""

    address: str | None = None
    """The scheduler's, as ``tcp://host:8786``."""
    local: int | None = None
    """Instead of `address`: so many worker processes on this machine, while the engine lives."""
    timeout: float = 10.0
    """Seconds in which the scheduler must answer."""
    retries: int = 2
    """The number of times that a Task is given to another worker after its own died."""
    path_map: Mapping[str, str] = field(default_factory=dict)
    """Directory on this machine → its path on the workers, if they see it under another one."""
    scratch: str | None = None
    """A directory on each worker's own disk for private files; by default beside the worker's own
    local directory.
    """
    security: Any = field(default=None, repr=False)
    """Arguments of `distributed.Security`, or one. May hold secrets: never logged or stored."""


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
    dask: DaskConfig = DaskConfig()
    reuse: bool = False
    """Whether Steps are given the results of equal Tasks, of any workflow of the root."""
    max_steps: int = MAX_STEPS
    """The most Steps that one call may make."""
    keep_attempts: int | None = KEEP_ATTEMPTS
    """The newest attempts of each Step that are kept; None: all of them."""
    durability: str = DURABILITIES[0]
    """When a Step's outputs and its record are flushed to the disk: with those of others, half a
    second later at most (`batch`), or by its worker before that begins another one (`step`).
    """
    keep_failed: int = 0
    """The newest failed attempts of each Step whose private directories are kept."""
    keep_failed_bytes: int = KEEP_FAILED_BYTES
    """The most that these take up, in bytes; the oldest go first."""
    given: frozenset[str] = frozenset()
    """The keys to which the caller gave a value (as opposed to defaults)."""

    @staticmethod
    def parse(given: Mapping[str, Any] | None) -> Config:
        """Check the dictionary that `Gaia` was given. Creates nothing."""
        if given is None:
            given = {}
        if not isinstance(given, Mapping):
            raise InvalidInput("config", f"it is {shown(given)}", _dictionary_of(given))
        _refuse_unknown("config", given, _KEYS)
        root = given.get("root") or os.environ.get("GAIA_LOCAL_ROOT") or "gaia-data"
        runtime = given.get("runtime") or os.environ.get("GAIA_LOCAL_RUNTIME") or "docker"
        executor = _one_of("config, executor", given.get("executor") or "threads", EXECUTORS)
        return Config(
            root=_directory("config, root", root),
            runtime=_one_of("config, runtime", runtime, RUNTIMES),
            executor=executor,
            workers=_workers(given.get("workers")),
            max_steps=_max_steps(given.get("max_steps")),
            keep_attempts=_keep_attempts(given),
            durability=_one_of(
                "config, durability", given.get("durability") or DURABILITIES[0], DURABILITIES
            ),
            keep_failed=_keep_failed(given.get("keep_failed"), executor),
            keep_failed_bytes=_keep_failed_bytes(given.get("keep_failed_bytes")),
            buckets=_buckets(given.get("buckets")),
            watch=_boolean("config, watch", given.get("watch", True)),
            reuse=_reuse(given.get("reuse")),
            docker=DockerConfig(**_section("docker", given.get("docker"), _DOCKER)),
            dask=_dask(given.get("dask"), executor == "dask"),
            given=frozenset(
                key for key in given if given[key] is not None or key == "keep_attempts"
            )
            - {"gaia_host"},
        )

    def refuse_file(self) -> None:
        """Raise `InvalidInput` if the root is a file. It need not be there."""
        if os.path.exists(self.root) and not os.path.isdir(self.root):
            problem = f"{self.root} isn't a directory"
            raise InvalidInput("config, root", problem, "give a directory's path")

    def with_buckets(self, buckets: Mapping[str, Path]) -> Config:
        """The same, with these buckets."""
        return replace(self, buckets=buckets)

    def settings(self) -> dict[str, Any]:
        """The values to compare, each bucket separately. The `repr` of a value holds no secret."""
        buckets = {f"bucket {name!r}": path for name, path in self.buckets.items()}
        others = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "buckets"
        }
        return others | buckets

    def given_settings(self) -> dict[str, Any]:
        """The settings that the caller gave, without the root."""
        given = self.given - {"root"}
        return {
            key: value
            for key, value in self.settings().items()
            if key in given or key.startswith("bucket ")
        }


def refuse_misplaced(given: Mapping[str, object]) -> None:
    """Refuse keys of the configuration, or others, that are given as arguments of their own."""
    for name in given:
        keys = ", ".join(f'"{key}": …' for key in given)
        raise InvalidInput(
            "Gaia", f"it takes no argument {name!r}", f"give a dictionary: Gaia({{{keys}}})"
        )


_KEYS = (
    "root",
    "runtime",
    "executor",
    "workers",
    "buckets",
    "watch",
    "reuse",
    "max_steps",
    "keep_attempts",
    "durability",
    "keep_failed",
    "keep_failed_bytes",
    "docker",
    "dask",
    "gaia_host",
)


def _refuse_unknown(where: str, given: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise InvalidInput(
                where, f"there is no key {shown(key)}", nearest(key, known, "the keys are")
            )


def _dictionary_of(given: object) -> str:
    """Advice for a configuration that isn't a dictionary, nor perhaps the only argument."""
    if isinstance(given, str | os.PathLike):
        return f'give a dictionary, as Gaia({{"root": {shown(os.fspath(given))}}})'
    return 'give a dictionary, as Gaia({"runtime": "process"})'


def _one_of(where: str, given: object, allowed: tuple[str, ...]) -> str:
    if given not in allowed:
        raise InvalidInput(
            where, f"it is {shown(given)}", "give " + " or ".join(map(repr, allowed))
        )
    return str(given)


def _boolean(where: str, given: object) -> bool:
    if not isinstance(given, bool):
        raise InvalidInput(where, f"it is {shown(given)}", "give True or False")
    return given


_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def _reuse(given: object) -> bool:
    if given is not None:
        return _boolean("config, reuse", given)
    text = os.environ.get("GAIA_LOCAL_REUSE", "")
    if text.lower() not in (*_TRUE, *_FALSE):
        raise InvalidInput("$GAIA_LOCAL_REUSE", f"it is {shown(text)}", "give 1 or 0")
    return text.lower() in _TRUE


def _workers(given: object) -> int:
    if given is None:
        return (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= 10_000:
        raise InvalidInput(
            "config, workers", f"it is {shown(given)}", "give a whole number from 1 to 10000"
        )
    return given


def _max_steps(given: object) -> int:
    if given is None:
        return MAX_STEPS
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= 100_000_000:
        raise InvalidInput(
            "config, max_steps", f"it is {shown(given)}", "give a whole number from 1 to 100000000"
        )
    return given


def check_keep_attempts(where: str, given: object) -> int | None:
    """The number of attempts to keep of each Step; None: all. Raises `InvalidInput`."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= 1_000_000_000:
        right = "give a whole number from 1 to 1000000000, or None to keep all"
        raise InvalidInput(where, f"it is {shown(given)}", right)
    return given


def _keep_attempts(config: Mapping[str, Any]) -> int | None:
    if "keep_attempts" in config:
        return check_keep_attempts("config, keep_attempts", config["keep_attempts"])
    text = os.environ.get("GAIA_LOCAL_KEEP_ATTEMPTS") or str(KEEP_ATTEMPTS)
    if text == "all":
        return None
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
    if number < 1:
        right = "give a whole number from 1 up, or 'all'"
        raise InvalidInput("$GAIA_LOCAL_KEEP_ATTEMPTS", f"it is {shown(text)}", right)
    return number


def _keep_failed(given: object, executor: str) -> int:
    where = "config, keep_failed"
    if given is None:
        where, text = "$GAIA_LOCAL_KEEP_FAILED", os.environ.get("GAIA_LOCAL_KEEP_FAILED") or "0"
        given = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= 1000:
        raise InvalidInput(where, f"it is {shown(given)}", "give a whole number from 0 to 1000")
    if given and executor == "dask":
        problem = "the private directories of a cluster's Steps are on its workers"
        raise InvalidInput(where, problem, "leave it out, or run the Step with threads")
    return given


def _keep_failed_bytes(given: object) -> int:
    if given is None:
        return KEEP_FAILED_BYTES
    if isinstance(given, bool) or not isinstance(given, int) or not 0 < given < 1 << 62:
        right = "give a whole number of bytes from 1 up"
        raise InvalidInput("config, keep_failed_bytes", f"it is {shown(given)}", right)
    return given


def _buckets(given: object) -> dict[str, Path]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidInput(
            "config, buckets", f"it is {shown(given)}", "give a dictionary: bucket name → directory"
        )
    buckets = {}
    for name, path in given.items():
        where = f"config, bucket {shown(name)}"
        if (
            not isinstance(name, str)
            or not name
            or ":" in name
            or "\0" in name
            or not is_utf8(name)
        ):
            raise InvalidInput(
                where,
                "the name is empty, isn't UTF-8 text, or contains ':'",
                "give the part of its keys before the ':'",
            )
        buckets[name] = _directory(where, path)
    return buckets


def _directory(where: str, given: object) -> Path:
    if not isinstance(given, str | os.PathLike) or not str(given):
        raise InvalidInput(where, f"it is {shown(given)}", "give a directory's path")
    try:
        path = Path(given).expanduser().resolve()
    except (
        ValueError,
        RuntimeError,
        TypeError,
        OSError,
    ) as error:  # a NUL, an unknown ~user, a loop of links
        raise InvalidInput(
            where, f"{shown(given)} isn't a path ({error})", "give a directory's path"
        ) from None
    if not is_utf8(str(path)):  # neither the state file nor a Docker engine could name it
        problem = f"the path {shown(str(path))} isn't UTF-8"
        raise InvalidInput(where, problem, "give a directory with another path")
    return path


def _section(
    name: str, given: object, keys: Mapping[str, tuple[str, Callable[[Any], bool]]]
) -> dict[str, Any]:
    """The checked values of one of the dictionaries in the configuration."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        # A list or the like may hold secrets, which are never shown.
        kind = shown(given) if isinstance(given, str | int) else f"of type {type(given).__name__}"
        raise InvalidInput(f"config, {name}", f"it is {kind}", "give a dictionary")
    _refuse_unknown(f"config, {name}", given, tuple(keys))
    for key, (right, accepts) in keys.items():
        if key in given and not accepts(given[key]):
            problem = _SECRET.get(key) or f"it is {shown(given[key])}"
            raise InvalidInput(f"config, {name}.{key}", problem, f"give {right}")
    return {key: value for key, value in given.items() if value is not None}


def _dask(given: object, wanted: bool) -> DaskConfig:
    dask = DaskConfig(**_section("dask", given, _DASK))
    if dask.address is not None and dask.local is not None:
        raise InvalidInput("config, dask", "it has both address and local", "give one of them")
    if wanted and dask.address is None and dask.local is None:
        raise InvalidInput(
            "config, dask",
            "it has no address",
            "give a scheduler's, as 'tcp://scheduler:8786', or local, a number of workers",
        )
    if dask.scratch is not None:
        dask = replace(dask, scratch=os.fspath(dask.scratch))
    return replace(
        dask,
        path_map={
            os.path.realpath(local): os.fspath(remote) for local, remote in dask.path_map.items()
        },
    )


def _number(given: object) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and 0 < given < 1e18


def _is_variable(name: object, value: object) -> bool:
    text = isinstance(name, str) and isinstance(value, str) and "\0" not in name + value
    return text and name != "" and "=" not in str(name)


def _size(given: object) -> bool:
    if isinstance(given, str):
        return (
            re.fullmatch(r"(?=.*[1-9])[0-9]+(\.[0-9]+)?([bkmgt]b?)?", given, re.IGNORECASE)
            is not None
        )
    return given is None or (isinstance(given, int) and _number(given))


def _absolute(given: object) -> bool:
    return isinstance(given, str | os.PathLike) and os.path.isabs(given) and "\0" not in str(given)


_SECRET = {
    "env": "it is not a dictionary of text",
    "security": "it isn't a dictionary of arguments",
}
"""Keys whose values are never shown, with the text shown instead."""

_DOCKER: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "inputs": ("'copy' or 'mount'", lambda given: given in ("copy", "mount")),
    "pull": (
        "'missing', 'always' or 'never'",
        lambda given: given in ("missing", "always", "never"),
    ),
    "network": (
        "a network's name",
        lambda given: given is None or (isinstance(given, str) and bool(given)),
    ),
    "memory": ("a number of bytes, or text as '512m'", _size),
    "cpus": ("a number above 0", lambda given: given is None or _number(given)),
    "env": (
        "a dictionary of names, without '=', to text",
        lambda given: (
            isinstance(given, Mapping) and all(_is_variable(*pair) for pair in given.items())
        ),
    ),
    "shm_size": ("a number of bytes, or text as '64m'", _size),
    "gpus": (
        "a number, or 'all'",
        lambda given: given in (None, "all") or (isinstance(given, int) and _number(given)),
    ),
    "track_images": ("True or False", lambda given: isinstance(given, bool)),
    "init": ("True or False", lambda given: isinstance(given, bool)),
    "stop_grace": ("a number of seconds from 0 up", lambda given: given == 0 or _number(given)),
}
_DASK: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "address": (
        "a scheduler's address, as 'tcp://scheduler:8786'",
        lambda given: (
            given is None
            or (
                isinstance(given, str) and ":" in given and given.isprintable() and " " not in given
            )
        ),
    ),
    "local": (
        "a whole number of worker processes from 1 to 1000",
        lambda given: (
            given is None
            or (isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= 1000)
        ),
    ),
    "timeout": ("a number of seconds above 0", _number),
    "retries": (
        "a whole number from 0 to 1000",
        lambda given: isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= 1000,
    ),
    "path_map": (
        "a dictionary: absolute path here → absolute path on the workers",
        lambda given: (
            isinstance(given, Mapping)
            and all(_absolute(local) and _absolute(remote) for local, remote in given.items())
        ),
    ),
    "scratch": ("an absolute path on the workers", lambda given: given is None or _absolute(given)),
    "security": (
        "a dictionary of the arguments of distributed.Security, or such an object",
        lambda given: (
            given is None or isinstance(given, Mapping) or hasattr(given, "get_connection_args")
        ),
    ),
}
assert set(_DASK) == {field.name for field in fields(DaskConfig)}
assert set(_DOCKER) == {field.name for field in fields(DockerConfig)}

"""Checks this machine: one `Check` for each need of Steps, with advice if it fails."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gaia_local import installation
from gaia_local.config import Config
from gaia_local.doctor import file_systems, leftovers
from gaia_local.errors import EngineUnavailable, GaiaError
from gaia_local.model.names import OWN
from gaia_local.model.sizes import progress_text
from gaia_local.runtimes.docker.engine import DockerEngine
from gaia_local.runtimes.docker.responses import NoAnswer, Refusal
from gaia_local.state.buckets import recall
from gaia_local.store.kept_failures import kept_failures
from gaia_local.store.ownership import owner

OK, NOTE, PROBLEM = "ok", "note", "problem"

LITTLE_DISK = 2 << 30
NO_DISK = 64 << 20
FEW_WATCHES = 8192
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs")


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    verdict: str
    """`ok`; `note`: worth knowing, Steps run all the same; `problem`: nothing can run."""
    text: str
    advice: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DoctorReport:
    """All checks."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether Steps can run here."""
        return all(check.verdict != PROBLEM for check in self.checks)


def examine(config: Config) -> DoctorReport:
    """Look at everything. Changes nothing and starts nothing."""
    return DoctorReport(
        (
            _python(),
            _package(),
            _engine(config),
            *_cluster(config),
            _root(config),
            _buckets(config),
            _file_system(config),
            _disk(config),
            _watches(config),
            _leftovers(config),
            *_kept(config),
        )
    )


def _python() -> Check:
    text = (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
        f" {platform.machine()}"
    )
    return Check(
        "python",
        OK,
        text,
        facts={"version": platform.python_version(), "executable": sys.executable},
    )


def _package() -> Check:
    try:
        found = version(installation.NAME)
    except PackageNotFoundError:
        return Check(
            "gaia-local",
            NOTE,
            "runs from its source and isn't installed",
            installation.pip_install(str(installation.SOURCE)),
        )
    return Check(
        "gaia-local", OK, found, facts={"version": found, "path": str(Path(__file__).parents[1])}
    )


def _engine(config: Config) -> Check:
    facts: dict[str, Any] = {"reachable": False, "runtime": config.runtime}
    with contextlib.closing(DockerEngine()) as engine:
        try:
            address = engine.address
            facts = {"address": address.url, "source": address.source, **facts}
            answer = engine.ask(lambda client: client.version(), retry=False)
        except (EngineUnavailable, Refusal, NoAnswer) as error:
            advice = "start Docker, set DOCKER_HOST"
            advice += (
                ", or use processes: --runtime process"
                if config.runtime == "docker"
                else "; Steps run as local processes"
            )
            # The error's own advice, after the semicolon, is for other callers.
            return Check(
                "docker", NOTE, str(error).partition(";")[0], advice, {**facts, "error": str(error)}
            )
    facts |= {"reachable": True, "version": answer.get("Version"), "api": answer.get("ApiVersion")}
    # Podman's answer has a first component of its name, Docker's one that is called "Engine".
    product = "Podman" if "Podman" in str(answer.get("Components")) else "engine"
    text = f"{product} {facts['version']} (API {facts['api']}) at {address.url} ({address.source})"
    return Check("docker", OK, text, facts=facts)


def _cluster(config: Config) -> list[Check]:
    """Check the Dask cluster: its workers, their versions, and their access to the root."""
    if config.executor != "dask":
        return []
    facts: dict[str, Any] = {"address": config.dask.address, "reachable": False}
    try:
        if config.dask.local is not None:
            # The packages that they need are installed.
            from gaia_local.executors.dask.cluster import Cluster  # noqa: F401
            from gaia_local.executors.dask.keys import make_keys  # noqa: F401

            return [
                Check(
                    "dask",
                    OK,
                    f"{config.dask.local} worker processes on this machine, started with the first"
                    " Step",
                )
            ]
        from gaia_local.executors.dask.survey import survey
        from gaia_local.executors.dask.worker import own_version

        with _probe(config.root) as probe:
            found = survey(config, probe)
    except ImportError as error:
        return [
            Check(
                "dask",
                PROBLEM,
                f"a package is missing: {error}",
                installation.install_command("dask"),
                facts,
            )
        ]
    except GaiaError as error:
        text, _, advice = str(error).partition("; ")
        return [Check("dask", PROBLEM, text, advice, facts)]
    facts |= {
        "reachable": True,
        "threads": sum(worker.threads for worker in found),
        "workers": [asdict(worker) for worker in found],
    }
    text = f"{config.dask.address}: {len(found)} workers, {facts['threads']} threads"
    checks = [
        Check(
            "dask",
            OK if found else NOTE,
            text,
            "" if found else "start some: dask worker ADDRESS",
            facts,
        )
    ]
    for worker in found:
        sees = {
            True: "sees the root",
            False: "doesn't see the root",
            None: "the root doesn't exist yet",
        }[worker.sees_root]
        advice = (
            ""
            if worker.version == own_version()
            else "install the same version of gaia_local on both"
        )
        if worker.sees_root is False:
            advice = "share the root with it, or map its path with dask.path_map"
        threads = f"{worker.threads} thread{'s' if worker.threads > 1 else ''}"
        text = f"{worker.name} at {worker.address}: {threads}, gaia_local {worker.version}, {sees}"
        checks.append(Check("dask worker", PROBLEM if advice else OK, text, advice))
    return checks


@contextlib.contextmanager
def _probe(root: Path) -> Iterator[Path | None]:
    """A temporary file with random bytes in the root; None if the root is absent or read-only."""
    try:
        # Only errors of making it are caught, not those of the caller's block.
        file = tempfile.NamedTemporaryFile(prefix=OWN, dir=root)  # noqa: SIM115
    except OSError:
        yield None
        return
    with file:
        file.write(os.urandom(16))
        file.flush()
        yield Path(file.name)


def _root(config: Config) -> Check:
    root = config.root
    facts: dict[str, Any] = {
        "path": str(root),
        "exists": file_systems.exists(root),
        "writable": False,
        "owner": None,
    }
    existing = file_systems.nearest_existing(root)
    if file_systems.exists(root) and not root.is_dir():
        return Check(
            "root", PROBLEM, f"{root} isn't a directory", "choose another: --root DIR", facts
        )
    try:
        with tempfile.TemporaryFile(dir=existing):
            facts["writable"] = True
    except OSError as error:
        return Check(
            "root",
            PROBLEM,
            f"{existing} can't be written: {error.strerror}",
            "choose another: --root DIR",
            facts,
        )
    if not file_systems.exists(root):
        return Check(
            "root", OK, f"{root} (doesn't exist yet; it is made when it is needed)", facts=facts
        )
    facts["owner"] = owner(root)
    if facts["owner"] is not None:
        return Check(
            "root",
            NOTE,
            f"{root} (process {facts['owner']} runs workflows in it)",
            "only one at a time can",
            facts,
        )
    return Check("root", OK, str(root), facts=facts)


def _buckets(config: Config) -> Check:
    """The directories that serve buckets, as configured and as the root remembers them."""
    try:
        mapped = recall(config).buckets
    except GaiaError as error:
        text, _, advice = str(error).partition("; ")
        return Check("buckets", PROBLEM, text, advice)
    facts = {"mapped": {name: str(path) for name, path in mapped.items()}}
    if not mapped:
        return Check("buckets", OK, "none is mapped to a directory", facts=facts)
    away = [name for name, path in mapped.items() if not path.is_dir()]
    text = "; ".join(
        f"{name} is {path}" + (" (not there)" if name in away else "")
        for name, path in sorted(mapped.items())
    )
    advice = "mount or make what isn't there" if away else ""
    return Check("buckets", NOTE if away else OK, text, advice, facts)


def _leftovers(config: Config) -> Check:
    try:
        found = leftovers.find(config)
    except GaiaError as error:
        return Check("leftovers", NOTE, f"unknown: {error}")
    facts = {"found": [asdict(leftover) for leftover in found]}
    if not found:
        return Check("leftovers", OK, "none", facts=facts)
    lines = [
        " ".join(
            filter(
                None,
                (
                    leftover.kind,
                    leftover.name,
                    leftover.workflow,
                    leftover.step,
                    f"of {leftover.root}",
                ),
            )
        )
        for leftover in found
    ]
    advice = (
        "gaia-local run resumes containers of its root; gaia-local clean removes all leftovers of"
        " a root"
    )
    return Check("leftovers", NOTE, "; ".join(lines), advice, facts)


def _kept(config: Config) -> list[Check]:
    """The private directories that are kept of failed attempts, if there are any."""
    found = kept_failures(config.root)
    if not found:
        return []
    size = progress_text(sum(kept.bytes for kept in found), None)
    steps = ", ".join(sorted({f"{kept.workflow} {kept.step}" for kept in found}))
    facts = {"found": [kept._asdict() for kept in found]}
    advice = "they go when their Steps succeed; gaia-local clean removes all of them"
    return [Check("kept", NOTE, f"files of failed attempts, {size}: {steps}", advice, facts)]


def _file_system(config: Config) -> Check:
    existing = file_systems.nearest_existing(config.root)
    kind, reflink = file_systems.kind(existing), file_systems.reflink(existing)
    facts = {"type": kind, "reflink": reflink}
    copies = {
        True: "copies of inputs share their blocks (reflink)",
        False: "inputs are copied in full (no reflink)",
        None: "whether copies can share blocks is unknown",
    }
    text = f"{kind or 'unknown'}: {copies[reflink]}"
    if kind is not None and kind.startswith(_NETWORK_FILE_SYSTEMS):
        return Check(
            "file system",
            NOTE,
            text,
            "SQLite's locks are unsafe on network file systems: use a local --root",
            facts,
        )
    advice = (
        ""
        if reflink or config.docker.inputs == "mount"
        else 'for big inputs: {"docker": {"inputs": "mount"}}'
    )
    return Check("file system", OK, text, advice, facts)


def _disk(config: Config) -> Check:
    usage = shutil.disk_usage(file_systems.nearest_existing(config.root))
    facts = {"free": usage.free, "total": usage.total}
    text = f"{_size(usage.free)} of {_size(usage.total)} free"
    if usage.free < NO_DISK:
        return Check("disk", PROBLEM, text, "make room, or use another --root", facts)
    return Check("disk", NOTE if usage.free < LITTLE_DISK else OK, text, facts=facts)


def _watches(config: Config) -> Check:
    try:
        limit = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
    except (OSError, ValueError):
        return Check("file watches", OK, "this system tells no limit")
    # One watch for each directory of the store; all programs of a user share the limit.
    needed = 0
    for top in (config.root / "storage", *config.buckets.values()):
        for _ in _directories(str(top)):
            needed += 1
            if needed > limit:
                break
    facts = {"limit": limit, "directories": needed}
    text = f"{limit} allowed, {'over ' if needed > limit else ''}{min(needed, limit)} needed"
    if needed > limit // 2 or limit < FEW_WATCHES:
        advice = f"sudo sysctl fs.inotify.max_user_watches={max(524288, 4 * needed)}"
        return Check("file watches", NOTE, text, advice, facts)
    return Check("file watches", OK, text, facts=facts)


def _directories(top: str) -> Iterator[str]:
    """A directory and those in it that can be read. `os.walk` may call itself for each level."""
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            yield directory
            waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def _size(number: int) -> str:
    return f"{number / (1 << 30):.1f} GiB" if number >= 1 << 30 else f"{number / (1 << 20):.0f} MiB"

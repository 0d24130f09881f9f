"""The published client's names over the local engine, for modules `gaia` and `gaia.client`."""

from __future__ import annotations

import argparse
import functools
import inspect
import logging
import os
import pprint
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import yaml

from gaia_local import Gaia as Local
from gaia_local import GaiaError
from gaia_local.compat.installation import engine_of, installed
from gaia_local.model.definition_files import read

__all__ = ["Gaia", "launch_sisyphus", "load_yaml", "main", "pop_path", "step", "to_gs"]

DEFAULT_HOST = "localhost:24442"

logger = logging.getLogger("gaia_local")

if TYPE_CHECKING:
    _Methods = Local
else:
    _Methods = object  # its methods are added below, since the published class gets the very same


class Gaia(_Methods):
    """The published client's class: all methods of `gaia_local.Gaia`, by the installed engine.

    Made outside of an installation (at the import of a module, say), it is bound to an engine at
    its first call inside one; after that installation was closed, to the next one's.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.protocol = "http://"
        self.host = (
            config.get("gaia_host", DEFAULT_HOST) if isinstance(config, Mapping) else DEFAULT_HOST
        )
        self._gaia_local_config = config
        if installed():
            engine_of(self)  # so that a bad configuration is refused here

    def __enter__(self) -> Gaia:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        engine_of(self).close(wait=kind is None)


def _passed_on(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(Local, name))
    def call(self: object, *arguments: Any, **named: Any) -> Any:
        return getattr(engine_of(self), name)(*arguments, **named)

    return call


for _name, _ in inspect.getmembers(Local, inspect.isfunction):
    if _name not in vars(Gaia) and (not _name.startswith("_") or _name == "_repr_html_"):
        setattr(Gaia, _name, _passed_on(_name))


# -------------------------------------------------------------------- functions that scripts import


def load_yaml(path: str) -> Any:
    """The contents of a YAML file. Raises `OSError` or `yaml.YAMLError`."""
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)


def step(
    name: str,
    command: str,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    var: Mapping[str, Any] | Sequence[Any] = (),
) -> dict[str, Any]:
    """A Step's definition, without `inputs` or `vars` if they are empty.

    (The published function mistakes the values for keys, and so fails for every Step.)
    """
    made: dict[str, Any] = {"name": name, "command": command, "outputs": outputs}
    if inputs:
        made["inputs"] = inputs
    if var:
        made["vars"] = var
    return made


def to_gs(key: str) -> str:
    """A storage key's address in the cloud: ``bucket:a/b`` becomes ``gs://bucket/a/b``."""
    bucket, _, path = key.partition(":")
    return f"gs://{bucket}/{path}"


def pop_path(path: str) -> str:
    """An internal path without its first component: ``/data/a/b`` becomes ``a/b``."""
    return path.removeprefix("/").partition("/")[2]


@functools.cache
def say_that_steps_run_here() -> None:
    logger.warning("launch_sisyphus: no cloud workers are started; Steps run on this machine")


def launch_sisyphus(options: Mapping[str, Any]) -> None:
    """Accepted: there is no cloud worker to start. The first call says so in the log."""
    say_that_steps_run_here()


# ---------------------------------------------------------------------------- python -m gaia.client


def main() -> None:
    """The published client's command line, with its arguments and output; `--host` is ignored."""
    parser = argparse.ArgumentParser(
        description="The published Gaia client's commands, run by the local engine."
    )
    parser.add_argument(
        "command", choices=["status", "upload", "workflows", "expire", "launch"], help="what to do"
    )
    parser.add_argument("workflow", help="the workflow's name")
    parser.add_argument(
        "--host", default=DEFAULT_HOST, help="accepted and ignored: there is no server"
    )
    parser.add_argument(
        "--path",
        default="",
        help="upload: what the files' paths begin with; expire: Steps and keys, with commas"
        " between them",
    )
    parser.add_argument(
        "--extension", choices=["json", "yaml"], default="json", help="what the files' names end in"
    )
    parser.add_argument("--workers", type=int, default=0, help="launch: how many workers to name")
    given = parser.parse_args()
    if given.command in ("upload", "expire") and not given.path:
        parser.error("No --path specified")
    try:
        _perform(Gaia({"gaia_host": given.host}), given)
    except GaiaError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


def _perform(flow: Gaia, given: argparse.Namespace) -> None:
    show = pprint.PrettyPrinter(indent=4).pprint
    if given.command == "status":
        show(flow.status(given.workflow)["status"])
    elif given.command == "workflows":
        show(flow.workflows())
    elif given.command == "expire":
        show(flow.expire(given.workflow, given.path.split(",")))
    elif given.command == "launch":
        flow.launch(
            [f"{given.workflow}-{number}" for number in range(given.workers)],
            {"workflow": given.workflow},
        )
    else:
        commands, steps = (
            read(Path(f"{given.path}{kind}.{given.extension}")) for kind in ("commands", "steps")
        )
        for title, definitions in (("Commands to upload", commands), ("Steps to upload", steps)):
            print(f"\n{title}:")  # noqa: T201 the published command line's output
            show(definitions)
        print("\nResponse:")  # noqa: T201 as above
        owner = {"owner": os.environ["USER"]} if "USER" in os.environ else {}
        show(flow.upload(given.workflow, owner, commands, steps))

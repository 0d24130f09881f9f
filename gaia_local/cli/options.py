"""The options of the whole program: taken before or after the command, and named in messages."""

from __future__ import annotations

import copy
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import typer
import typer.core

from gaia_local.cli.printing import print_line
from gaia_local.cli.roots import root_above

AFTER_TOO = (
    "root",
    "runtime",
    "workers",
    "max_steps",
    "bucket",
    "dask",
    "reuse",
    "keep_failed",
    "debug",
)
"""The options, by parameter, that may stand after the command as well."""
_OPTIONS = {
    "root": "--root",
    "runtime": "--runtime",
    "workers": "--workers",
    "max_steps": "--max-steps",
    "buckets": "--bucket",
    "executor": "--dask",
    "dask": "--dask",
    "reuse": "--reuse",
    "keep_failed": "--keep-failed",
}
"""Key of the configuration → the option that gives it."""
_VARIABLES = {"root": "GAIA_LOCAL_ROOT", "runtime": "GAIA_LOCAL_RUNTIME"}
"""Key of the configuration → the variable that gives it where the option doesn't."""
_PLACE = re.compile(r"config, (?:(bucket) (.+?)|(\w+)(?:\.\w+)?)(?=: )")
_QUOTES = "'\""
_ADVICE = {
    "(config: runtime: process)": "(--runtime process)",
    "give another with the config's root": "give another --root",
    "give a scheduler's address, as 'tcp://scheduler:8786'": (
        "give a scheduler's address, as 'tcp://scheduler:8786', or a number of workers"
    ),
}
"""Advice for those who write a configuration → the same for those who type options."""


@dataclass
class Options:
    """The options of the whole program, as they were given."""

    given: dict[str, Any] = field(default_factory=dict)
    """The configuration that they make."""
    debug: bool = False

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration; without a root of its own it has one above, which is told once."""
        if "root" not in self.given and (above := root_above()) is not None:
            print_line(f"the root is {above}, above this directory", error=True)
            return {**self.given, "root": str(above)}
        return self.given

    def update(self, values: Mapping[str, Any]) -> None:
        """Take the values of the parameters."""
        dask = values.get("dask")
        given = {
            "root": values.get("root") and str(values["root"]),
            "runtime": values.get("runtime"),
            "workers": values.get("workers"),
            "max_steps": values.get("max_steps"),
            "buckets": dict(pairs("--bucket", values.get("bucket"))) or None,
            "executor": dask and "dask",
            "dask": dask and ({"local": int(dask)} if dask.isdecimal() else {"address": dask}),
            "reuse": values.get("reuse"),
            "keep_failed": values.get("keep_failed"),
        }
        self.given = {key: value for key, value in given.items() if value is not None}
        self.debug = bool(values.get("debug"))
        vars(self).pop("config", None)


def with_number(arguments: list[str]) -> list[str]:
    """The arguments with the number that `--keep-failed` means alone; those of a script stay."""
    given: list[str] = []
    for number, word in enumerate(arguments):
        if word in ("exec", "--"):
            return given + arguments[number:]
        following = arguments[number + 1] if number + 1 < len(arguments) else ""
        alone = word == "--keep-failed" and not following.isdecimal()
        given.append(f"{word}=1" if alone else word)
    return given


class CommandWithOptions(typer.core.TyperCommand):
    """A command that takes the options of the whole program as well; its help doesn't list them."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own parameters, and those of the program that it has no others for."""
        own = super().get_params(ctx)
        names = {name for param in own for name in (param.name, *param.opts)}
        return own + [
            param
            for param in self._of_the_whole(ctx)
            if param.name not in names and not names.intersection(param.opts)
        ]

    def _of_the_whole(self, ctx: Any) -> list[Any]:
        if "_copies" not in vars(self):
            program = ctx.find_root().command
            self._copies = [_copy(param) for param in program.params if param.name in AFTER_TOO]
        return self._copies


def take_after_commands(app: typer.Typer) -> None:
    """Have all commands take the options of the whole program."""
    for command in app.registered_commands:
        if not issubclass(command.cls or typer.core.TyperCommand, CommandWithOptions):
            command.cls = CommandWithOptions


def _copy(param: Any) -> Any:
    """An option that, where it is given, counts as if it were given before the command."""
    copied = copy.copy(param)
    copied.expose_value, copied.hidden, copied.callback = False, True, _take
    return copied


def _take(ctx: Any, param: Any, value: Any) -> None:
    # It isn't given; 0 may be, and False where that isn't the default.
    if value is None or value is param.default or value in ((), []):
        return
    root = ctx.find_root()
    before = root.params.get(param.name)
    root.params[param.name] = (
        [*(before or ()), *value] if isinstance(value, list | tuple) else value
    )
    if isinstance(root.obj, Options):  # not where a shell asks for completions
        root.obj.update(root.params)


def pairs(option: str, given: list[str] | None) -> Iterator[tuple[str, str]]:
    """The values NAME=VALUE of an option, split. Raises `typer.BadParameter` for another one."""
    for pair in given or ():
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise typer.BadParameter(
                f"it is {pair!r}; give a name, '=' and a value", param_hint=option
            )
        yield key, value


def with_options_named(message: str, given: Mapping[str, Any]) -> str:
    """An error's text in the words of the command line: it names options, not a configuration."""

    def place(found: re.Match[str]) -> str:
        if found[1]:
            return f"--bucket {found[2].strip(_QUOTES)}"
        key = found[3]
        variable = _VARIABLES.get(key)
        if variable is not None and key not in given and os.environ.get(variable):
            return f"${variable}"
        return _OPTIONS.get(key, found[0])

    message = _PLACE.sub(place, message, count=1)
    for text, right in _ADVICE.items():
        message = message.replace(text, right)
    return message


def options_again(config: Mapping[str, Any], only: tuple[str, ...] = ()) -> str:
    """The options that lead to the same configuration, each with a blank before it.

    With `only`, those alone that give these keys.
    """
    config = {key: value for key, value in config.items() if not only or key in only}
    words = [
        word
        for key in ("root", "runtime", "workers", "max_steps", "keep_failed")
        if key in config
        for word in (_OPTIONS[key], str(config[key]))
    ]
    words += [
        word
        for name, path in config.get("buckets", {}).items()
        for word in ("--bucket", f"{name}={path}")
    ]
    words += [word for value in config.get("dask", {}).values() for word in ("--dask", str(value))]
    words += [] if "reuse" not in config else ["--reuse" if config["reuse"] else "--no-reuse"]
    return "".join(f" {shlex.quote(word)}" for word in words)

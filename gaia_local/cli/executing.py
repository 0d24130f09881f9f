"""The command that runs a user's own script, with `gaia` meaning the local engine."""

from __future__ import annotations

import builtins
import io
import logging
import os
import pkgutil
import runpy
import sys
import threading
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gaia_local.cli import streams
from gaia_local.cli.options import CommandWithOptions
from gaia_local.cli.output import Messages, print_result
from gaia_local.cli.printing import print_line
from gaia_local.cli.program import COMPLETE, FAILED, ScriptError, app, resumable, resume_hint

if TYPE_CHECKING:
    from gaia_local import Gaia


class _OptionsFirst(CommandWithOptions):
    """Leaves the arguments after the script or module to it: options too, even `--help`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        valued = {
            name
            for param in self.get_params(ctx)
            if param.param_type_name == "option" and not param.is_flag
            for name in param.opts
        }
        end = 0
        while end < len(args) and args[end].startswith("-") and args[end] not in ("-", "--"):
            end += 1
            if args[end - 1].startswith("-m"):
                end += args[end - 1] == "-m"
                break
            end += args[end - 1] in valued
        ours, theirs = args[:end], args[end:]
        return super().parse_args(
            ctx, [*ours, "--", *theirs] if theirs and theirs[0] != "--" else args
        )


@app.command("exec", cls=_OptionsFirst, rich_help_panel="Run")
def execute(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCRIPT [ARGUMENT]",
            show_default=False,
            help="The script, and its own arguments.",
        ),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option(
            "-m", metavar="MODULE", help="Run a module, as `python -m` does, instead of a script."
        ),
    ] = None,
) -> None:
    """Run a script written for a Gaia server, unchanged: `import gaia` means the local engine.

    It runs as `python SCRIPT` would run it. The options before SCRIPT are the defaults of every
    `Gaia()` in it. Steps that still run at its end are waited for: if one fails, the exit status is
    1.
    """
    arguments = words or []
    if module is None and not arguments:
        raise typer.BadParameter("give a script, or -m and a module")
    if module is None and not os.access(arguments[0], os.R_OK):
        raise typer.BadParameter(
            f"{arguments[0]!r} isn't there, or can't be read", param_hint="SCRIPT"
        )
    from gaia_local.compat import install

    before = _owned_roots()
    installation, restore, threads = install(ctx.obj.config), _remember(), _threads()
    end = None
    try:
        if module is None:
            _run_script(arguments[0], arguments)
        else:
            _run_module(module, arguments)
    except SystemExit as error:
        end = error
    except BaseException as error:  # noqa: BLE001 it is raised again, by `main`
        if missing := _not_found(error):
            raise SystemExit(f"gaia-local: {missing}") from None
        hints = _stop(ctx, before) if isinstance(error, KeyboardInterrupt) else []
        trace = _of_script(error.__traceback__)
        raise ScriptError(error, trace, sys.excepthook, hints) from None
    finally:
        # Those may go on for long, and then this process does nothing else.
        alone = not _threads() - threads
        if alone:
            installation.undo()
            restore()
    state = _wait_for_steps(ctx, before) if alone else COMPLETE
    if end is not None and (end.code or state == COMPLETE):
        raise end
    raise typer.Exit(state)


# ------------------------------------------------------------------------------------------- inside


def _run_script(path: str, argv: list[str]) -> None:
    sys.argv = argv
    # A directory or an archive with a __main__.py.
    if path.endswith(".pyc") or pkgutil.get_importer(path) is not None:
        _set_first_on_path(None)
        runpy.run_path(os.path.abspath(path), run_name="__main__")
        return
    # NOTE: runpy sets both `__file__` and `sys.argv[0]`: the one is absolute, the other as given.
    _set_first_on_path(os.path.dirname(os.path.realpath(path)))
    absolute = os.path.join(os.getcwd(), path)
    main = ModuleType("__main__")
    main.__file__ = absolute
    main.__loader__ = SourceFileLoader("__main__", absolute)
    vars(main).update({"__builtins__": builtins, "__cached__": None})
    sys.modules["__main__"] = main
    with io.open_code(absolute) as file:
        source = file.read()
    exec(compile(source, absolute, "exec", dont_inherit=True), vars(main))


def _run_module(name: str, arguments: list[str]) -> None:
    _set_first_on_path(os.getcwd())
    sys.argv = ["-m", *arguments]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _owned_roots() -> set[Path]:
    """The roots that this process owns; no engine is imported to ask."""
    sharing = sys.modules.get("gaia_local.engine.sharing")
    return sharing.owned_roots() if sharing else set()


def _running(gaia: Gaia) -> list[str]:
    rows = gaia.workflows()["workflows"]
    return [name for name, row in rows.items() if row["state"] == "running"]


def _wait_for_steps(ctx: typer.Context, before: set[Path]) -> int:
    """Wait for the Steps that the script left running, and report failures; the exit status."""
    state = COMPLETE
    for root in sorted(_owned_roots() - before):
        from gaia_local import Gaia
        from gaia_local.cli.progress import follow

        with resumable(ctx, root) as names, Gaia({"root": str(root)}) as gaia:
            names.extend(_running(gaia))
            if names:
                told = f"The script has ended; its Steps go on: {', '.join(names)}"
                print_line(f"{told} (Ctrl-C stops them)", error=True)
            for name in list(names):
                answer = follow(gaia, name)
                if answer["state"] not in ("complete", "initialized"):
                    print_result(gaia, answer, error=True)
                    state = FAILED
    return state


def _stop(ctx: typer.Context, before: set[Path]) -> list[str]:
    """Stop what an interrupted script started; answers lines that tell how to go on."""
    hints = []
    for root in sorted(_owned_roots() - before):
        from gaia_local import Gaia

        gaia = Gaia({"root": str(root)})
        try:
            hints += [resume_hint(ctx, name, root) for name in _running(gaia)]
        finally:
            gaia.close(wait=False)
    return hints


def _set_first_on_path(directory: str | None) -> None:
    """Replace this program's entry in `sys.path` by the script's, except in safe mode."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[:1] = [] if directory is None else [directory]


def _remember() -> Callable[[], None]:
    """Hide this program's own state from a script; answers a function that restores it."""
    argv, path, main, hook = sys.argv, list(sys.path), sys.modules["__main__"], sys.excepthook
    sys.excepthook = sys.__excepthook__
    logger = logging.getLogger("gaia_local")
    messages = [handler for handler in logger.handlers if isinstance(handler, Messages)]
    for handler in messages:  # a script that has handlers of its own would show each message twice
        logger.removeHandler(handler)

    put_back_streams = streams.as_python_made_them()

    def restore() -> None:
        put_back_streams()
        for handler in messages:
            logger.addHandler(handler)
        sys.argv, sys.path[:], sys.modules["__main__"], sys.excepthook = argv, path, main, hook

    return restore


def _threads() -> set[threading.Thread]:
    """The threads that Python waits for, without the engine's."""
    return {
        thread
        for thread in threading.enumerate()
        if not thread.daemon and not thread.name.startswith("gaia-local")
    }


def _of_script(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames that led to the script."""
    while trace is not None and trace.tb_frame.f_globals.get("__name__") in (__name__, "runpy"):
        trace = trace.tb_next
    return trace


def _not_found(error: BaseException) -> str | None:
    """Runpy's message for a target that can't be run; None for an error of the script itself."""
    own = isinstance(error, ImportError) and _of_script(error.__traceback__) is None
    return str(error) if own else None

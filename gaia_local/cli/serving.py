"""The command that serves a root over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gaia_local.cli.app import app, open_gaia, resumable
from gaia_local.output import open_console

if TYPE_CHECKING:
    from types import ModuleType

    from gaia_local import Gaia


@app.command(rich_help_panel="Run")
def serve(
    ctx: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="The address or name to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 takes any that is free.")] = 24442,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="GAIA_LOCAL_TOKEN",
            metavar="TEXT",
            help="Answer only whoever brings this token: as a bearer token, or once as /?token=TEXT in a browser.",
        ),
    ] = None,
    max_body: Annotated[int, typer.Option(metavar="MB", help="The most that a request may bring, in megabytes.")] = 64,
) -> None:
    """Serve this root to clients of a Gaia server, and its status page to browsers.

    Workflows that ran when the last engine ended go on. Ctrl-C stops what runs; the next `serve` resumes it.
    """
    import contextlib

    if max_body < 1:
        raise typer.BadParameter(f"it is {max_body}; give a number of megabytes from 1 up", param_hint="--max-body")
    module = _server()
    if ctx.obj.debug:
        _log_requests()
    with resumable(ctx), open_gaia(ctx) as gaia:
        server = module.Server(gaia, host, port, token=token, max_body=max_body * 1024 * 1024)
        with contextlib.closing(server):
            gaia.own()
            module.resume(gaia)
            try:
                server.run(lambda: open_console().print(f"gaia-local listens at {server.url}", markup=False))
            except KeyboardInterrupt:
                _say_what_goes_on(gaia)
                raise


def _say_what_goes_on(gaia: Gaia) -> None:
    running = [name for name, row in gaia.workflows()["workflows"].items() if row["state"] == "running"]
    if running:
        text = f"\nStopped. The next `gaia-local serve` goes on with {', '.join(running)}."
        open_console(error=True).print(text, markup=False)


def _log_requests() -> None:
    """Each request, and the traceback of each defect, on stderr."""
    import logging

    logger = logging.getLogger("gaia_local.server")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
    logger.propagate = False


def _server() -> ModuleType:
    from gaia_local.errors import GaiaError

    try:
        from gaia_local import server
    except ModuleNotFoundError as error:
        if (error.name or "gaia_local").startswith("gaia_local"):
            raise
        raise GaiaError(str(error)) from error
    return server

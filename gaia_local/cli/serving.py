"""The command that serves a root over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gaia_local.cli.options import options_again
from gaia_local.cli.output import EscapingFormatter
from gaia_local.cli.printing import Styled, print_line
from gaia_local.cli.program import app, open_gaia, resumable

if TYPE_CHECKING:
    from types import ModuleType

    from gaia_local import Gaia
    from gaia_local.config import Config


@app.command(rich_help_panel="Run")
def serve(
    ctx: typer.Context,
    *,
    host: Annotated[str, typer.Option(help="The address or name to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="The port to listen on; 0 takes any that is free.")
    ] = 24442,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="GAIA_LOCAL_TOKEN",
            metavar="TEXT",
            help="Require this token: as a bearer token, or once as /?token=TEXT in a browser. "
            "By default one is made, and your own programs need none.",
        ),
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option(
            "--no-token",
            help="Require no token: every user of this machine can then run programs as you.",
        ),
    ] = False,
    max_body: Annotated[
        int, typer.Option(metavar="MB", help="The largest request body, in megabytes.")
    ] = 64,
) -> None:
    """Serve this root to clients of a Gaia server, and its status page to browsers.

    Workflows that ran when the last engine ended go on. Ctrl-C stops what runs; the next `serve`
    resumes it.
    """
    import contextlib

    from gaia_local.config import Config
    from gaia_local.errors import StorageError

    if max_body < 1:
        raise typer.BadParameter(
            f"it is {max_body}; give a number of megabytes from 1 up", param_hint="--max-body"
        )
    module = _server()
    if ctx.obj.debug:
        _log_requests()
    config = Config.parse(ctx.obj.config)
    made = None if no_token or not module.is_loopback(host) else module.secret.new()
    module.raise_limit()
    with resumable(ctx), open_gaia(ctx) as gaia:
        server = module.Server(
            gaia,
            host,
            port,
            token=made if token is None else token,
            no_token=no_token,
            same_user=token is None,
            max_body=max_body * 1024 * 1024,
        )
        with contextlib.closing(server), contextlib.ExitStack() as ends:
            gaia.own()
            if token is None and made is not None:
                module.secret.write(config.root, made)
            if no_token:
                _warn_of_others()
            module.resume(gaia)
            ends.callback(
                gaia.subscribe(lambda _: server.stop() if gaia.lost() is not None else None)
            )
            # A token that the user gave is not shown.
            link = server.link if token is None else server.url
            try:
                server.run(lambda: _say_what_is_served(config, link))
            except KeyboardInterrupt:
                _say_what_goes_on(gaia, options_again(ctx.obj.config))
                raise
            if (why := gaia.lost()) is not None:
                raise StorageError(why)


def _warn_of_others() -> None:
    text = " --no-token: every user of this machine can run programs as you, and read your files"
    print_line(Styled("warning:", "red"), text, error=True)


def _say_what_is_served(config: Config, link: str) -> None:
    how = config.runtime if config.executor == "threads" else f"{config.runtime} on Dask"
    how += ", with reuse" if config.reuse else ""
    print_line(f"gaia-local listens at {link}")
    print_line(f"root: {config.root}; runtime: {how}; the status page is its /")


def _say_what_goes_on(gaia: Gaia, options: str) -> None:
    running = [
        name for name, row in gaia.workflows()["workflows"].items() if row["state"] == "running"
    ]
    if running:
        text = f"Stopped. The next `gaia-local{options} serve` goes on with {', '.join(running)}."
        print_line(error=True)
        print_line(text, error=True)


def _log_requests() -> None:
    """Each request, and the traceback of each defect, on stderr."""
    import logging

    logger = logging.getLogger("gaia_local.server")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(EscapingFormatter())
        logger.addHandler(handler)
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

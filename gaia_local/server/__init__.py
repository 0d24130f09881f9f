"""The HTTP server over one `Gaia`: the endpoints of a Gaia server, and the status page.

It needs the extra ``server``.

Promises that pages of other sites, and clients without the token, get no answer.
Never in it: a decision, or state beside that of its connections.
"""

try:
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ModuleNotFoundError as error:
    from gaia_local.installation import install_command

    raise ModuleNotFoundError(
        f"the server needs the package {error.name}, which isn't installed:"
        f" {install_command('server')}",
        name=error.name,
    ) from error

from gaia_local.server import secret
from gaia_local.server.app import create_app
from gaia_local.server.connections import raise_limit
from gaia_local.server.guard import is_loopback
from gaia_local.server.resuming import resume
from gaia_local.server.server import Server

__all__ = ["Server", "create_app", "is_loopback", "raise_limit", "resume", "secret"]

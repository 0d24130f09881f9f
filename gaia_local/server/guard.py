"""Access control: the Host header, the origin, and the token of each request.

With `same_user`, the server's own user needs no token, if the system can tell a connection's user.
Each request is checked before its body is read.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import parse_qs

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gaia_local.errors import InvalidInput, error_text
from gaia_local.server.connections import KEY, Connection
from gaia_local.server.request_log import READING, STRANGERS_PAUSE_SECONDS, Pause, RequestLog
from gaia_local.server.wire import Answer

_BROWSERS_HEADERS = ("origin", "sec-fetch-site", "cookie")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; frame-src 'self'; worker-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Headers of every answer: our pages run our own files alone, and no other page may embed them.

Answers with files of Steps bring stricter ones of their own: see `file_answers`.
"""


class Guard:
    """Lets permitted requests through; refuses others with a status and the reason as text."""

    def __init__(self, app: ASGIApp, host: str, token: str | None, same_user: bool) -> None:
        """Without a `token` all requests are permitted; with `same_user`, also our own user's."""
        self._app, self._host, self._token, self._same_user = app, host, token, same_user
        self._strangers = Pause(STRANGERS_PAUSE_SECONDS)
        self._cookie_value = (
            None
            if token is None
            else hmac.new(token.encode(), b"cookie", hashlib.sha256).hexdigest()
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection: Connection | None = scope.get("state", {}).get(KEY)
        with contextlib.nullcontext() if connection is None else connection.answering():
            await self._answer(scope, receive, send, connection)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, connection: Connection | None
    ) -> None:
        log = RequestLog(scope, self._strangers)

        async def send_guarded(message: Message) -> None:
            log.note(message)
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        try:
            app = await self._refusal(scope, connection) or self._app
            if connection is not None and app is self._app:
                connection.mark_permitted()
            await app(scope, receive, send_guarded)
        except asyncio.CancelledError:
            if not log.has_begun():
                ending = _refused(
                    503,
                    "the server is shutting down; check with status whether this call took effect",
                )
                await ending(scope, receive, send_guarded)
            raise
        except Exception as error:  # a defect: the client and the log must show it
            log.defect(error)
            if log.has_begun():
                raise
            refusal = _refused(
                500, f"the server failed: {type(error).__name__}: {error_text(error)}"
            )
            await refusal(scope, receive, send_guarded)

    async def _refusal(self, scope: Scope, connection: Connection | None) -> Response | None:
        """The answer to a request that isn't permitted; None for one that is."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not answers_to(hosts[0], self._host):
            given = hosts[0][:80] if len(hosts) == 1 else f"{len(hosts)} of them"
            return _refused(
                421,
                f"the Host header is {given!r}, which isn't a name of this server: use the address"
                " that `serve` printed",
            )
        if self._token is not None and (refusal := self._check_token(scope, headers)) is not None:
            if not (
                self._same_user
                and connection
                and await to_thread.run_sync(lambda: connection.is_same_user)
            ):
                return refusal
            # Set no cookie: it isn't needed, and browsers would send it to other ports as well.
            if refusal.status_code == 303:
                return RedirectResponse("/", 303)
        if scope["method"] not in READING:
            origin = headers.get("origin")
            if origin is not None and origin.lower() != f"{scope['scheme']}://{hosts[0]}".lower():
                return _refused(
                    403,
                    f"the Origin {origin[:80]!r} is another site's: only pages of this server may"
                    " request that",
                )
            if not _declares_json(headers):
                return _refused(
                    415,
                    "the request doesn't declare JSON: send the header Content-Type:"
                    " application/json",
                )
        return None

    def _check_token(self, scope: Scope, headers: Headers) -> Response | None:
        assert self._token is not None
        assert self._cookie_value is not None
        if _same(_credential(headers.get("authorization", "")), self._token):
            return None
        name = cookie_name(scope)
        cookies: Mapping[str, str] = cookie_parser(headers.get("cookie", ""))
        if _same(cookies.get(name, ""), self._cookie_value):
            return None
        page = scope["path"] == "/" and scope["method"] in READING
        if page and _same(_query(scope, "token"), self._token):
            entered = RedirectResponse("/", 303)
            secure = scope["scheme"] == "https"
            entered.set_cookie(
                name, self._cookie_value, path="/", httponly=True, samesite="strict", secure=secure
            )
            return entered
        text = "the token is missing or wrong"
        if self._same_user:
            text += ", and this connection isn't known to belong to the user who runs this server"
        if page:
            refusal: Response = PlainTextResponse(
                f"{text}: open this page as /?token=TOKEN once, with the token of `serve`.\n", 401
            )
        else:
            refusal = _refused(
                401,
                f"{text}: send the header Authorization: Bearer TOKEN, with the token of `serve`",
            )
        refusal.headers["www-authenticate"] = "Bearer"
        return refusal


def check_access(host: str, token: str | None, no_token: bool = False) -> None:
    """Raise `InvalidInput` if a token can't be sent in a header, or is needed for `host`."""
    if token is not None and no_token:
        raise InvalidInput(
            "serve, --no-token",
            "there is a token as well",
            "give --token (or $GAIA_LOCAL_TOKEN), or --no-token",
        )
    if token is not None and not (
        token and token.isascii() and token.isprintable() and " " not in token
    ):
        raise InvalidInput(
            "serve, --token", "it can't be sent in a header", "give ASCII text without blanks"
        )
    if token is None and not is_loopback(host):
        raise InvalidInput(
            f"serve, --host {host}",
            "other machines can reach it, and would run programs here",
            "give a --token as well, or $GAIA_LOCAL_TOKEN",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. Raises `InvalidInput` for an unknown name."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    try:
        found = {
            str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        }
    except (OSError, UnicodeError):
        right = "give an address or a name of this machine"
        raise InvalidInput(
            "serve, --host", f"nothing is known of the host {host!r}", right
        ) from None
    return all(
        ipaddress.ip_address(address_text.partition("%")[0]).is_loopback for address_text in found
    )


def answers_to(header: str, host: str) -> bool:
    """Whether a Host header names this machine's loopback, or the server's own address.

    This stops DNS rebinding: another site can make its own name resolve to this machine, but its
    pages can't make the browser send another name than that. If the server listens on all
    addresses, any address is allowed, since it is no such name.
    """
    name = _without_port(header).lower()
    address = _address(name)
    if name in ("localhost", host.lower()) or (address is not None and address.is_loopback):
        return True
    listens = _address(host)
    if listens is None or not listens.is_unspecified:
        return address is not None and address == listens
    return address is not None or name == socket.gethostname().lower()


def cookie_name(scope: Scope) -> str:
    """Browsers keep one set of cookies for all ports of a host: each server has its own."""
    server = scope.get("server")
    return f"gaia-local-{server[1] if server else None}"


def _without_port(header: str) -> str:
    name, colon, port = header.rpartition(":")
    plain = name if colon and port.isdigit() else header
    return plain[1:-1] if plain.startswith("[") and plain.endswith("]") else plain


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _declares_json(headers: Headers) -> bool:
    """Whether a body may be read as JSON: it is declared so, or not declared by an old client.

    Published clients up to 0.0.7 send no Content-Type. A browser can be made to do that as well, by
    a page of another site, but not without its Origin (older ones: its cookies).
    """
    kind = headers.get("content-type")
    if kind is None:
        return not any(name in headers for name in _BROWSERS_HEADERS)
    return kind.partition(";")[0].strip().lower() == "application/json"


def _query(scope: Scope, name: str) -> str:
    found: list[str] = parse_qs(scope["query_string"].decode("latin-1")).get(name, [""])
    return found[0]


def _credential(header: str) -> str:
    """The token of an Authorization header: bearer, or the password in ``user:token@host``."""
    kind, _, given = header.strip().partition(" ")
    if kind.lower() == "bearer":
        return given.strip()
    if kind.lower() == "basic":
        with contextlib.suppress(ValueError):
            return base64.b64decode(given, validate=True).decode().partition(":")[2]
    return ""


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), right.encode())


def _refused(status: int, message: str) -> Response:
    # The rest of the request's body isn't read, so the connection can't be used again.
    return Answer({"error": message}, status, {"connection": "close"})

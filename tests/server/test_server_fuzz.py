"""A live server answers any request as meant, or with one clear refusal, and goes on.

`GAIA_LOCAL_FUZZ_REQUESTS` is the number of requests of each kind (at least 250, which takes some
seconds).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaia_local.server import Server
from gaia_local.server.guard import HEADERS
from support.builders import COPY
from support.fixtures import MakeGaia

fuzzed = settings(
    max_examples=max(250, int(os.environ.get("GAIA_LOCAL_FUZZ_REQUESTS", "0"))),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# ------------------------------------------------------------------------------------- the requests

names = st.sampled_from(
    ["w", "v", "a", "b", "c", "d:a", "d:b", "d/", "echo", "x", "..", "a/b", "", "ä", "\ud800", "\0"]
)
texts = names | st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
maps = st.dictionaries(texts, texts | anything, max_size=3)


def objects(
    required: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[Any]:
    """Mostly right objects; some lack a field, have another or one of a wrong type, or are none."""
    right = st.fixed_dictionaries(required, optional=optional)
    fields = {**required, **optional}
    lame = st.fixed_dictionaries(
        {},
        optional={name: each if name == "command" else anything for name, each in fields.items()},
    )
    more = st.tuples(right, st.dictionaries(texts, anything, min_size=1, max_size=1)).map(
        lambda two: {**two[0], **two[1]}
    )
    kinds: list[st.SearchStrategy[Any]] = [right, right, right, right, right, lame, more, anything]
    return st.sampled_from(kinds).flatmap(lambda kind: kind)


# Commands are run as they are: the programs are not for chance to choose.
tokens: st.SearchStrategy[Any] = st.sampled_from(
    [
        ["true"],
        ["false"],
        ["sh", "-c", "echo {{text}} > /out/x"],
        ["sh", "-c", "sleep 0.2"],
        [],
        "true",
        [1],
        {},
        None,
    ]
)
MAKE = {
    "name": "make",
    "image": "i",
    "command": ["sh", "-c", "echo 1 > /out/x"],
    "outputs": {"x": "/out/x"},
}
good_commands = st.sampled_from(
    [MAKE, {**MAKE, "command": ["false"]}, {**MAKE, "vars": {"v": 1}}, COPY]
)
good_steps = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b"]), "command": st.just("make")}
).map(lambda step: {**step, "outputs": {"x": f"d:{step['name']}"}}) | st.just(
    {"name": "c", "command": "copy", "inputs": {"a": "d:a"}, "outputs": {"x": "d:c"}}
)
commands = objects(
    {"name": names, "image": texts, "command": tokens},
    {"inputs": maps, "outputs": st.just({"x": "/out/x"}) | maps, "vars": maps, "stdout": texts},
)
composites = objects(
    {
        "name": names,
        "steps": st.lists(st.fixed_dictionaries({"name": names, "command": names}), max_size=3),
    },
    {"inputs": st.lists(names, max_size=2), "outputs": st.lists(names, max_size=2)},
)
steps = objects(
    {"name": names, "command": names},
    {
        "inputs": maps,
        "outputs": st.fixed_dictionaries({"x": names}) | maps,
        "vars": maps,
        "timeout": scalars,
    },
)
some_commands = st.lists(good_commands, unique_by=str) | st.lists(commands | composites, max_size=3)
some_steps = st.lists(good_steps, unique_by=str) | st.lists(steps, max_size=4)
workflow = {"workflow": st.just("w") | names}
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "workflows": objects({}, {"workflow": texts}),
    "upload": objects(
        {
            "workflow": texts,
            "properties": st.just({}) | maps,
            "commands": st.just([MAKE, COPY]) | some_commands,
            "steps": some_steps,
        },
        {},
    ),
    "command": objects(workflow, {"commands": some_commands}),
    "merge": objects(workflow, {"steps": some_steps}),
    "run": objects(workflow, {}),
    "halt": objects(workflow, {}),
    "status": objects(workflow, {"debug": st.booleans()}),
    "expire": objects(
        {
            **workflow,
            "expire": st.lists(st.sampled_from(["a", "d:a", "d:b", "c"]) | texts, max_size=2),
        },
        {},
    ),
}
endpoints = st.sampled_from(sorted(BODIES))
calls = endpoints.flatmap(lambda name: st.tuples(st.just(name), BODIES[name]))

segments = names.map(lambda name: quote(name, safe="", errors="replace")) | st.text(
    alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=12
)
below = st.sampled_from(["", "/graph", "/explain", "/log", "/timeline", "/nothing"])
queries = st.dictionaries(
    st.sampled_from(["name", "step", "from", "workflow", "token"]),
    segments | st.integers().map(str),
    max_size=3,
).map(lambda query: "&".join(f"{name}={value}" for name, value in query.items()))
paths = st.one_of(
    st.tuples(segments, below, queries).map(
        lambda parts: f"/api/workflows/{parts[0]}{parts[1]}?{parts[2]}"
    ),
    st.lists(segments, max_size=4).map(lambda parts: "/" + "/".join(parts)),
)
values = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
headers = st.dictionaries(
    st.sampled_from(
        [
            "Origin",
            "Content-Type",
            "Authorization",
            "Cookie",
            "Range",
            "If-None-Match",
            "Accept",
            "Expect",
            "X-Forwarded-For",
        ]
    ),
    values,
    max_size=4,
)
hosts = (
    st.none()
    | values
    | st.sampled_from(["localhost", "127.0.0.1", "[::1]:1", "[", "]:", "evil.org"])
)


class Talker:
    """One connection that is kept as long as the server keeps it."""

    def __init__(self, server: Server) -> None:
        parts = urlsplit(server.url)
        self.address = str(parts.hostname), int(parts.port or 0)
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=30)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        fields: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """The status and the body of an answer, which must be one of ours."""
        self._connection.putrequest(
            method, path, skip_host="Host" in (fields or {}), skip_accept_encoding=True
        )
        for name, value in (fields or {}).items():
            self._connection.putheader(name, value.encode("latin-1"))
        if body is not None:
            self._connection.putheader("Content-Length", str(len(body)))
        self._connection.endheaders(body)
        answer = self._connection.getresponse()
        content = answer.read()
        assert answer.status < 500, content
        if answer.headers["content-type"] != "text/plain; charset=utf-8":  # h11's own refusals
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        if (
            answer.status >= 400
            and answer.headers["content-type"] == "application/json"
            and method != "HEAD"
        ):
            assert json.loads(content)["error"]
        if answer.headers.get("connection") == "close":
            self._connection.close()
        return answer.status, content

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def talker(make_gaia: MakeGaia, caplog: pytest.LogCaptureFixture) -> Iterator[Talker]:
    """To a live server; afterwards that must answer as always, and have logged no defect."""
    gaia = make_gaia()
    with (
        Server(gaia, port=0, max_body=100_000) as server,
        contextlib.closing(Talker(server)) as talking,
    ):
        gaia.upload(
            "w", {}, [MAKE, COPY], [{"name": "a", "command": "make", "outputs": {"x": "d:a"}}]
        )
        yield talking
        body = {"workflow": "afterwards", "properties": {}, "commands": [], "steps": []}
        answer = talking.ask(
            "POST", "/upload", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        assert answer == (200, b'{"workflow": {"afterwards": []}}')
        assert "afterwards" in gaia.workflows()["workflows"]
    assert not [
        record
        for record in caplog.records
        if record.exc_info or record.levelname in ("ERROR", "CRITICAL")
    ]


# --------------------------------------------------------------------------------------------- runs


@given(call=calls)
@fuzzed
def test_any_body_is_taken_or_refused(talker: Talker, call: tuple[str, Any]) -> None:
    name, body = call
    status, content = talker.ask(
        "POST", f"/{name}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    assert status in (200, 400)
    assert set(json.loads(content)) == {"error"} or status == 200


@given(
    name=endpoints,
    body=st.binary(max_size=200)
    | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
@fuzzed
def test_bytes_instead_of_json(talker: Talker, name: str, body: bytes) -> None:
    status, _ = talker.ask("POST", f"/{name}", body, {"Content-Type": "application/json"})
    assert status in (200, 400)


@given(path=paths, method=st.sampled_from(["GET", "GET", "HEAD", "OPTIONS", "DELETE", "NONSENSE"]))
@fuzzed
def test_any_address_is_answered(talker: Talker, path: str, method: str) -> None:
    status, _ = talker.ask(method, path)
    assert status in (200, 304, 307, 400, 404, 405, 415)


@given(name=endpoints, fields=headers, host=hosts)
@fuzzed
def test_any_headers_are_answered(
    talker: Talker, name: str, fields: dict[str, str], host: str | None
) -> None:
    given = fields if host is None else {**fields, "Host": host}
    status, _ = talker.ask("POST", f"/{name}", b'{"workflow": "w"}', given)
    assert status in (200, 400, 403, 415, 421)


@given(
    pieces=st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b"POST /run HTTP/1.1\r\n", b"Host: localhost\r\n", b"\r\n"]),
        max_size=6,
    )
)
@fuzzed
def test_bytes_instead_of_http(talker: Talker, pieces: list[bytes]) -> None:
    with socket.create_connection(talker.address, 30) as connection, contextlib.suppress(OSError):
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 2"))

"""The lines about requests: what was refused, and whether its client tells its user."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from gaia.client import Gaia as Client  # type: ignore[import-untyped]

from gaia_local import Gaia
from gaia_local.server import Server
from support.clients import OldClient
from support.servers import Serving, gaia, server

__all__ = ["gaia", "server"]

HINT = "; its client is 0.0.7 or older, and doesn't show this"


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]


def test_a_refused_call_is_one_line_that_says_if_its_client_hides_it(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    config = {"gaia_host": urlsplit(server.url).netloc}
    assert "'nobody'" in OldClient(config).run("nobody")["error"]
    with pytest.raises(requests.HTTPError):
        Client(config).run("nobody")
    old, new = warnings(caplog)
    assert old.startswith("refused POST /run (400): ")
    assert "'nobody'" in new
    assert old == new + HINT
    assert "\n" not in old


def test_the_guards_refusals_are_told_too_but_no_answers_and_no_pages(
    server: Server, gaia: Gaia, caplog: pytest.LogCaptureFixture
) -> None:
    gaia.command("w", [])
    OldClient({"gaia_host": urlsplit(server.url).netloc}).workflows()
    assert requests.get(server.url + "api/workflows/nobody", timeout=30).status_code == 404
    assert not warnings(caplog)
    headers = {"content-type": "text/plain"}
    requests.post(server.url + "upload", data="{}", headers=headers, timeout=30)
    requests.post(server.url + "nothing", json={}, timeout=30)
    guarded, unknown = warnings(caplog)
    assert guarded.startswith("refused POST /upload (415): the request doesn't declare JSON")
    assert unknown.startswith("refused POST /nothing (4")


def test_control_characters_and_length_of_a_refusal_harm_no_terminal(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    requests.post(server.url + "run", json={"workflow": "w\x1b[2J\n" + "x" * 9000}, timeout=30)
    requests.post(server.url + "run", json={"a\nb" + "x" * 9000: 1}, timeout=30)
    for line in warnings(caplog):
        assert line.isprintable()
        assert len(line) < 700


def test_strangers_fill_no_terminal(gaia: Gaia, caplog: pytest.LogCaptureFixture) -> None:
    with Server(gaia, port=0, token="secret") as server:
        for _ in range(3):
            answer = requests.post(server.url + "workflows", json={}, timeout=30)
            assert answer.status_code == 401
    (line,) = warnings(caplog)
    assert line.startswith("refused POST /workflows (401): the token is missing or wrong")


def test_serve_prints_them(tmp_path: Path) -> None:
    with Serving(tmp_path / "root", "serve", "--port", "0") as serving:
        client = OldClient({"gaia_host": urlsplit(serving.url).netloc})
        client.merge("w", [{"name": "a", "command": "ecko"}])
        serving.process.terminate()
        status, _, err = serving.end()
    assert status == 143
    (line,) = err.splitlines()
    assert line.startswith("warning: refused POST /merge (400): ")
    assert "'ecko'" in line
    assert line.endswith(HINT)

"""The server among other users: access without the token, and the token's file."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from gaia.client import Gaia as Client  # type: ignore[import-untyped]

from gaia_local import Gaia, GaiaError
from gaia_local.server import Server, peers, secret
from support.servers import COMMANDS, A, Serving, gaia, held, let_go, server

__all__ = ["gaia", "server"]

NOBODY = 65534
TALK = """
    import json, os, socket, sys
    "".encode("idna")  # what it imports can't be read any more as another user
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    host, port, asked = sys.argv[1], int(sys.argv[2]), json.load(sys.stdin)
    for method, path, body in asked:
        with socket.create_connection((host, port), 20) as connection:
            said = f"{method} {path} HTTP/1.1\\r\\nHost: localhost\\r\\n"
            said += "Content-Type: application/json\\r\\n"
            said += f"Content-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n{body}"
            connection.sendall(said.encode())
            if "leave" in sys.argv[3:]:
                continue
            answer = connection.makefile("rb").read().decode(errors="replace")
            print(answer.replace("\\r\\n", "|").strip())
"""
"""A program that asks a server by itself, and prints a line for each answer."""


def as_another_user(url: str, *asked: tuple[str, str, Any], how: str = "") -> list[str]:
    """The answers to another user of this machine; root alone can be another user."""
    if os.geteuid():
        pytest.skip("only root can be another user")
    parts = urlsplit(url)
    told = json.dumps(
        [
            (method, path, json.dumps(body) if body is not None else "")
            for method, path, body in asked
        ]
    )
    program = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        textwrap.dedent(TALK),
        str(parts.hostname),
        str(parts.port),
        how,
    ]
    return subprocess.run(
        program, input=told, capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()


# ------------------------------------------------------------------------------------- another user


def test_another_user_is_refused_and_changes_nothing(
    server: Server, gaia: Gaia, tmp_path: Path
) -> None:
    gaia.upload("mine", {}, COMMANDS, [A, held(tmp_path / "fifo")])
    before = gaia.status("mine", debug=True)
    theirs = {"workflow": "theirs", "properties": {}, "commands": COMMANDS, "steps": [A]}
    answers = as_another_user(
        server.url,
        ("POST", "/upload", theirs),
        ("POST", "/halt", {"workflow": "mine"}),
        ("POST", "/expire", {"workflow": "mine", "expire": ["a"]}),
        ("POST", "/workflows", {}),
        ("GET", "/api/workflows/mine/log?step=a", None),
        ("GET", "/api/stream", None),
        ("GET", "/", None),
        ("GET", "/page.css", None),
        ("GET", "/?token=guess", None),
    )
    assert len(answers) == 9
    for answer in answers:
        assert answer.startswith("HTTP/1.1 401 "), answer
        assert (
            "the token is missing or wrong, and this connection isn't known "
            "to belong to the user who runs this" in answer
        )
        assert "mine" not in answer
    assert gaia.workflows()["workflows"].keys() == {"mine"}
    assert gaia.status("mine", debug=True)["status"]["tasks"]["h"] == before["status"]["tasks"]["h"]
    assert not any(event["event"] == "flow-halted" for event in gaia.events("mine"))
    let_go(tmp_path / "fifo")


def test_a_client_that_leaves_at_once_is_not_taken_for_root(server: Server, gaia: Gaia) -> None:
    """The system shows a connection that its process has closed as root's."""
    upload = {"workflow": "theirs", "properties": {}, "commands": COMMANDS, "steps": [A]}
    as_another_user(server.url, *[("POST", "/upload", upload)] * 200, how="leave")
    assert as_another_user(server.url, ("POST", "/workflows", {}))[0].startswith("HTTP/1.1 401 ")
    assert gaia.workflows() == {"workflows": {}}


def test_another_user_with_the_token_may_ask(server: Server) -> None:
    (answer,) = as_another_user(server.url, ("GET", f"/?token={server.token}", None))
    assert answer.startswith("HTTP/1.1 303 ")


def test_without_a_token_everybody_may_ask(gaia: Gaia) -> None:
    with Server(gaia, port=0, no_token=True) as server:
        assert (server.token, server.link) == (None, server.url)
        (answer,) = as_another_user(server.url, ("POST", "/workflows", {}))
        assert answer.startswith("HTTP/1.1 200 ")


# ------------------------------------------------------------------------------------ the same user


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_the_published_client_of_the_same_user_needs_nothing(gaia: Gaia, host: str) -> None:
    with Server(gaia, host, port=0) as server:
        client = Client({"gaia_host": urlsplit(server.url).netloc})
        assert client.upload("w", {}, COMMANDS, [A]) == {"workflow": {"w": ["a"]}}


def test_connections_of_unknown_users_need_the_token(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peers, "_TABLES", tmp_path)
    refused = requests.post(server.url + "workflows", json={}, timeout=30)
    assert refused.status_code == 401
    assert "Authorization: Bearer TOKEN" in refused.json()["error"]
    headers = {"authorization": f"Bearer {server.token}"}
    assert (
        requests.post(server.url + "workflows", json={}, headers=headers, timeout=30).status_code
        == 200
    )
    with requests.Session() as browser:
        assert browser.get(server.link, timeout=30).status_code == 200
        assert browser.cookies
        assert browser.post(server.url + "workflows", json={}, timeout=30).status_code == 200


def test_clients_that_need_no_token_get_no_cookie(server: Server) -> None:
    """Browsers send it to all ports of a host, and there may be other users' servers."""
    with requests.Session() as browser:
        assert browser.get(server.link, timeout=30).url == server.url
        assert not browser.cookies
        assert browser.post(server.url + "workflows", json={}, timeout=30).status_code == 200


def test_the_same_users_browser_is_guarded_against_other_sites(server: Server) -> None:
    port = urlsplit(server.url).port
    url = server.url + "workflows"
    assert (
        requests.post(url, json={}, headers={"origin": "http://evil.org"}, timeout=30).status_code
        == 403
    )
    assert (
        requests.post(url, json={}, headers={"host": f"evil.org:{port}"}, timeout=30).status_code
        == 421
    )
    plain = {"content-type": "text/plain"}
    assert requests.post(url, data="{}", headers=plain, timeout=30).status_code == 415


def test_with_a_token_of_ones_own_it_must_be_brought(gaia: Gaia) -> None:
    with Server(gaia, port=0, token="mine") as server:
        assert requests.post(server.url + "workflows", json={}, timeout=30).status_code == 401
    with Server(gaia, port=0, token="mine", same_user=True) as server:
        assert requests.post(server.url + "workflows", json={}, timeout=30).status_code == 200


# -------------------------------------------------------------------------------------------- peers

LINE = (
    "  {n}: {there} {here} {state} 00000000:00000000 00:00000000 00000000  "
    "{user}        0 {inode} 1 0000 20 4 30 10 -1\n"
)
HERE, THERE = ("127.0.0.1", 0x5F8A), ("127.0.0.1", 0xC001)
OLD, MAPPED = "0100007F", "0000000000000000FFFF00000100007F"
little = pytest.mark.skipif(
    sys.byteorder != "little", reason="the table is written out as such a machine shows it"
)


def line(
    user: int,
    *,
    state: str = "01",
    inode: int = 7,
    local: str = OLD,
    remote: str = OLD,
    port: str = "C001",
) -> str:
    return LINE.format(
        n=1, there=f"{local}:{port}", here=f"{remote}:5F8A", state=state, user=user, inode=inode
    )


@little
@pytest.mark.parametrize(
    ("table", "text", "found"),
    [
        ("tcp", line(1000), 1000),
        ("tcp", line(0), 0),
        ("tcp", line(1000, state="05"), None),
        ("tcp", line(0, inode=0), None),
        ("tcp", line(0, state="06", inode=0), None),
        ("tcp", line(1000, state="02"), None),
        ("tcp", line(1000, port="C002"), None),
        ("tcp", line(1000, local="0200007F"), None),
        (
            "tcp",
            LINE.format(
                n=1, there=f"{OLD}:5F8A", here=f"{OLD}:C001", state="01", user=1000, inode=7
            ),
            None,
        ),
        ("tcp6", line(1000, local=MAPPED, remote=MAPPED), 1000),
        ("tcp6", line(1000), None),
        ("other", line(1000), None),
    ],
)
def test_the_user_of_a_connection_is_found(
    table: str, text: str, found: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / table).write_text("  sl  local_address rem_address   st\n" + text)
    monkeypatch.setattr(peers, "_TABLES", tmp_path)
    assert peers.user(HERE, THERE) == found
    assert peers.user(("::ffff:127.0.0.1", HERE[1]), ("::ffff:127.0.0.1", THERE[1])) == found


def test_users_unknown_to_a_user_namespace_are_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All those have one number there, which may be ours as well."""
    monkeypatch.setattr(peers, "user", lambda *_: NOBODY)
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    overflow = tmp_path / "overflowuid"
    monkeypatch.setattr(peers, "_OVERFLOW", overflow)
    overflow.write_text("60001\n")
    assert peers.is_same_user(HERE, THERE)
    overflow.write_text(f"{NOBODY}\n")
    assert not peers.is_same_user(HERE, THERE)


# --------------------------------------------------------------------------------------- the secret


def others_can_read(path: Path) -> None:
    path.write_text("guess\n")
    path.chmod(0o666)


def a_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere")


def a_fifo(path: Path) -> None:
    os.mkfifo(path, 0o666)


@pytest.mark.parametrize("spoil", [lambda path: None, others_can_read, a_link, a_fifo])
def test_a_secret_is_kept_for_its_owner_alone(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    spoil(root / "token")
    for _ in range(2):
        token = secret.new()
        secret.write(root, token)
        assert (root / "token").read_text() == f"{token}\n"
        assert stat.S_IMODE((root / "token").lstat().st_mode) == 0o600
    assert [entry.name for entry in root.iterdir()] == ["token"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["root"]


def test_a_secret_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    with pytest.raises(GaiaError, match=r"token: the token can't be written there"):
        secret.write(tmp_path, secret.new())
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]


# --------------------------------------------------------------------------------- gaia-local serve


def test_serve_prints_a_link_with_its_token_and_keeps_that_for_its_owner(gaia_root: Path) -> None:
    links = []
    for _ in range(2):
        with Serving(gaia_root, "serve", "--port", "0") as serving:
            links.append(serving.link)
            url = links[-1].partition("?")[0]
            assert as_another_user(url, ("POST", "/workflows", {}))[0].startswith("HTTP/1.1 401 ")
            assert Client({"gaia_host": urlsplit(url).netloc}).workflows() == {"workflows": {}}
            assert requests.get(links[-1], timeout=30, allow_redirects=False).status_code == 303
            serving.process.terminate()
            assert serving.served.startswith(f"root: {gaia_root}; ")
            assert serving.end()[:2] == (143, "")
    first, second = (parse_qs(urlsplit(link).query)["token"] for link in links)
    assert second == [(gaia_root / "token").read_text().strip()]
    # A program that listened on the port meanwhile may have received the first one.
    assert first != second
    assert stat.S_IMODE((gaia_root / "token").stat().st_mode) == 0o600


def test_serve_without_a_token_warns(gaia_root: Path) -> None:
    with Serving(gaia_root, "serve", "--port", "0", "--no-token") as serving:
        link = serving.link
        assert "token" not in link
        assert as_another_user(link, ("POST", "/workflows", {}))[0].startswith("HTTP/1.1 200 ")
        serving.process.terminate()
        code, _, err = serving.end()
    assert code == 143
    assert (
        err == "warning: --no-token: every user of this machine can run programs as you, "
        "and read your files\n"
    )
    assert not (gaia_root / "token").exists()


@pytest.mark.parametrize("arguments", [["--token", "x"], ["--host", "0.0.0.0"]])
def test_no_token_fits_neither_a_token_nor_other_machines(
    gaia_root: Path, arguments: list[str]
) -> None:
    with Serving(gaia_root, "serve", "--port", "0", "--no-token", *arguments) as serving:
        code, out, err = serving.end()
    assert (code, out) == (2, "")
    assert "--token" in err
    assert not gaia_root.exists()


def test_a_token_of_ones_own_is_not_printed_and_not_kept(gaia_root: Path) -> None:
    with Serving(gaia_root, "serve", "--port", "0", "--token", "open-sesame") as serving:
        link = serving.link
        assert "sesame" not in link
        assert requests.post(f"{link}workflows", json={}, timeout=30).status_code == 401
    assert not (gaia_root / "token").exists()

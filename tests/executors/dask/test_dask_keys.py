"""A Dask cluster of this machine is closed to its other users."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest

from gaia_local import installation
from gaia_local.config import Config
from gaia_local.doctor.checks import examine
from gaia_local.errors import EngineUnavailable
from gaia_local.executors.dask.cluster import Cluster
from gaia_local.executors.dask.connection import Connection
from gaia_local.executors.dask.keys import make_keys
from gaia_local.executors.dask.settings import settings_for
from gaia_local.runtimes.contract import Root

STRANGER = """
import asyncio, json, os, sys
from distributed import Security
from distributed.core import rpc
from gaia_local.executors.dask.keys import make_keys

async def attempt(address, security):
    try:
        arguments = {} if security is None else security.get_connection_args("client")
        async with rpc(address, connection_args=arguments) as server:
            await asyncio.wait_for(server.identity(), 10)
        return "let in"
    except BaseException as error:
        return type(error).__name__

async def main():
    own = Security(**make_keys())
    places = [address.rpartition("/")[2] for address in sys.argv[1:]]
    keyed = (("tcp", None), ("tls", None), ("tls", own))
    ways = [(f"{scheme}://{place}", keys) for place in places for scheme, keys in keyed]
    print(json.dumps(await asyncio.gather(*[attempt(*way) for way in ways])))

if os.geteuid() == 0:  # another user of the machine
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
asyncio.run(main())
"""


@contextlib.contextmanager
def local_cluster(folder: Path, **options: Any) -> Iterator[Connection]:
    config = Config.parse(
        {
            "root": folder / "root",
            "runtime": "process",
            "executor": "dask",
            "dask": {"local": 1, **options},
        }
    )
    cluster = Cluster(config.dask, settings_for(config, Root("", "")))
    try:
        yield cluster.connect()
    finally:
        cluster.close()


def information(connection: Connection) -> dict[str, Any]:
    found: dict[str, Any] = connection._client.scheduler_info(n_workers=-1)
    return found


def addresses(connection: Connection) -> list[str]:
    """Of the scheduler, the worker, and the process that starts it."""
    found = information(connection)
    return [
        found["address"],
        *found["workers"],
        *(worker["nanny"] for worker in found["workers"].values()),
    ]


def told_strangers(places: list[str]) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", STRANGER, *places],
        env={**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"},
        stdout=subprocess.PIPE,
        check=True,
    )
    told = json.loads(ended.stdout)
    assert len(told) == 3 * len(places)
    return set(told)


def test_clients_without_keys_are_refused(tmp_path: Path) -> None:
    with local_cluster(tmp_path) as connection:
        places = addresses(connection)
        assert len(places) == 3
        assert "let in" not in told_strangers(places)
        assert connection.ask(os.getpid)  # while a client with the keys is let in


def test_keys_of_the_users_own_are_taken(tmp_path: Path) -> None:
    keys = make_keys()
    with local_cluster(tmp_path, security=keys) as connection:
        assert connection._client.security.tls_client_key == keys["tls_client_key"]
        assert connection.ask(os.getpid)


def test_dashboards_answer_nothing_over_http(tmp_path: Path) -> None:
    with local_cluster(tmp_path) as connection:
        found = information(connection)
        ports = [
            process["services"]["dashboard"] for process in (found, *found["workers"].values())
        ]
        for port in ports:
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/info/main/workers.html")
            assert refusal.value.code == 404
            refusal.value.close()


def test_keys_lie_in_no_file_and_in_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with (
        dask.config.set({"temporary-directory": str(tmp_path)}),
        local_cluster(tmp_path) as connection,
    ):
        key = connection._client.security.tls_client_key
        assert "PRIVATE KEY" in key
        line = key.splitlines()[1].encode()
        (pid,) = connection.ask(os.getpid).values()
        for name in ("environ", "cmdline"):
            assert line not in Path(f"/proc/{pid}/{name}").read_bytes()
        assert [
            path for path in tmp_path.rglob("*") if path.is_file() and line in path.read_bytes()
        ] == []


def test_a_missing_package_is_named_with_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gaia_local.executors.dask.keys", None)
    with (
        pytest.raises(EngineUnavailable, match=r"-m pip install 'cryptography>="),
        local_cluster(tmp_path),
    ):
        pass
    checks = examine(
        Config.parse({"root": tmp_path, "executor": "dask", "dask": {"local": 1}})
    ).checks
    (told,) = [check for check in checks if check.name == "dask"]
    assert (told.verdict, told.advice) == ("problem", installation.install_command("dask"))

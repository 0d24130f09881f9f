"""The values of a configuration's environment are told nowhere, and a container is confined."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia, GaiaError
from gaia_local.config import Config
from gaia_local.runtimes.docker.address import find_address
from gaia_local.runtimes.docker.connection import connect
from support.fixtures import WaitUntil
from support.links import READ


@pytest.mark.parametrize("inputs", ["copy", "mount"])
def test_a_container_is_confined_to_its_tasks_files(
    docker_image: str, gaia_root: Path, inputs: str, wait_until: WaitUntil
) -> None:
    """No new privileges or capabilities, and nothing of the host but its own Task's files."""
    secret = "s3cret-" + uuid.uuid4().hex
    image = {"image": docker_image}
    commands = [
        {
            **READ,
            **image,
            "name": "wait",
            "command": [
                "sh",
                "-c",
                'test -n "$TOKEN"; cat /in/it > /out/it; '
                "until test -e /in/go; do sleep 0.05; done; false",
            ],
        },
    ]
    steps = [
        {"name": f"s{n}", "command": "wait", "inputs": {"it": "b:in"}, "outputs": {"it": f"out{n}"}}
        for n in range(2)
    ]
    config = {
        "root": gaia_root,
        "runtime": "docker",
        "workers": 2,
        "docker": {"inputs": inputs, "env": {"TOKEN": secret}},
    }
    client = connect(find_address())
    with contextlib.closing(client), Gaia(config) as gaia:
        assert secret not in repr(gaia) + repr(Config.parse(config))
        gaia.path("w", "b:in").parent.mkdir(parents=True)
        gaia.path("w", "b:in").write_text("in")
        gaia.upload("w", {}, commands, steps)
        label = f"gaia-local.root={gaia_root}"

        def running() -> list[dict[str, Any]]:
            return list(client.containers(filters={"label": label, "status": "running"}))

        try:
            wait_until(lambda: len(running()) == 2, 60)
            for container in running():
                task = container["Labels"]["gaia-local.task"]
                about = client.inspect_container(container["Id"])
                host = about["HostConfig"]
                assert host["SecurityOpt"] == ["no-new-privileges"]
                assert (
                    not host["CapAdd"]
                    and not host["Privileged"]
                    and not host["Devices"]
                    and not host["Binds"]
                )
                assert not any(
                    host[mode] == "host"
                    for mode in ("PidMode", "IpcMode", "UTSMode", "UsernsMode", "NetworkMode")
                )
                assert about["Config"]["User"] == f"{os.getuid()}:{os.getgid()}"
                private = gaia_root / "staging" / task
                own = (f"{private}/tree/", f"{private}/work")
                mounts = {mount["Destination"]: mount for mount in about["Mounts"]}
                assert mounts
                for mount in mounts.values():
                    if mount["Source"] == str(gaia.path("w", "b:in")):
                        assert (
                            inputs == "mount"
                            and not mount["RW"]
                            and mount["Destination"] == "/in/it"
                        )
                    else:
                        assert mount["Source"].startswith(own)
                assert not any("docker.sock" in mount["Source"] for mount in mounts.values())
                assert secret not in json.dumps(container["Labels"])
        finally:
            gaia.halt("w")
        told = [
            gaia.status("w", debug=True),
            gaia.events("w"),
            gaia.failures("w"),
            gaia.logs("w", "s0"),
            gaia.explain("w", "s0"),
        ]
        assert secret not in json.dumps(told)
        assert gaia.wait("w", 30)["state"] == "halted"
    for directory, _, names in os.walk(gaia_root):
        for name in names:
            assert secret.encode() not in Path(directory, name).read_bytes(), f"{directory}/{name}"


@pytest.mark.parametrize(
    "docker",
    [
        {"env": {"TOKEN": "s3cret\0"}},
        {"env": {"A=B": "s3cret"}},
        {"env": {"": "s3cret"}},
        {"env": {"TOKEN": ["s3cret"]}},
        {"env": ["TOKEN=s3cret"]},
        [{"env": {"TOKEN": "s3cret"}}],
        {"env": {"TOKEN": "s3cret"}, "cpus": -1},
        {"env": {"TOKEN": "s3cret"}, "enf": 1},
    ],
)
def test_a_refused_configuration_tells_no_secrets(tmp_path: Path, docker: Any) -> None:
    with pytest.raises(GaiaError, match="docker") as refused:
        Gaia({"root": tmp_path / "root", "docker": docker})
    assert "s3cret" not in str(refused.value) and "s3cret" not in repr(refused.value)


def test_another_configuration_of_an_open_root_tells_no_secrets(tmp_path: Path) -> None:
    given = {"root": tmp_path / "root", "docker": {"env": {"TOKEN": "s3cret"}}}
    with Gaia(given) as gaia:
        with pytest.raises(GaiaError, match="docker") as refused:
            Gaia({**given, "docker": {"env": {"TOKEN": "other s3cret"}}})
        assert "s3cret" not in f"{refused.value} {gaia!r} {Config.parse(given)!r}"

"""Links that a Step plants in its output, and files beside a root that must not change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gaia_local import Gaia
from gaia_local.store import storable
from support.builders import command

PLANT: dict[str, Any] = {**command("plant", "{{code}}", tree="/out/tree/"), "vars": ["code"]}
READ = command("read", "cat /in/it > /out/it", "it", it="/out/it")


class Surroundings:
    """The files beside a root, which must not change."""

    def __init__(self, top: Path) -> None:
        self.root = top / "root"
        self._top = top
        self.canary = top / "canary"
        self.canary.write_text("alive")
        (top / "beside").mkdir()
        (top / "beside" / "file").write_text("alive")
        self._before = self._look()

    def check(self) -> None:
        """Nothing outside the root was made, changed or removed."""
        assert self._look() == self._before

    def _look(self) -> list[tuple[str, int, int, int]]:
        found = []
        for directory, _, names in os.walk(self._top):
            if directory == str(self._top):
                names.append("beside")
            elif directory.startswith(str(self.root)):
                continue
            for name in names:
                status = os.lstat(f"{directory}/{name}")
                found.append(
                    (f"{directory}/{name}", status.st_mode, status.st_size, status.st_mtime_ns)
                )
        return sorted(found)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory beside the root; it must not change."""
    around = Surroundings(tmp_path)
    yield tmp_path / "beside"
    around.check()


@pytest.fixture
def let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let links that lead out into the store, past the check: later checks must still hold."""
    monkeypatch.setattr(storable, "confine_links", lambda *_: None)


def planted(outside: Path) -> str:
    """Shell code that makes links of all kinds in the output directory."""
    up = "/".join([".."] * 40)
    return f"""cd /out/tree; echo inner > own; mkdir dir; echo deep > dir/file
        ln -s {outside}/file file; ln -s {outside} there; ln -s .. up
        ln -s {up}{outside}/file relative; ln -s loop loop; ln -s ping pong; ln -s pong ping
        ln -s own own1; ln -s own1 own2; ln -s file chain
        ln -s /nowhere dangling"""


def plant(gaia: Gaia, code: str, **more: Any) -> None:
    step = {
        "name": "plant",
        "command": "plant",
        "outputs": {"tree": "tree/"},
        "vars": {"code": code},
    }
    gaia.upload("w", {}, [PLANT, READ, *more.get("commands", [])], [step, *more.get("steps", [])])
    gaia.wait("w", 60)


def reader(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "command": "read",
        "inputs": {"it": f"tree/{name}"},
        "outputs": {"it": f"read/{name}"},
    }

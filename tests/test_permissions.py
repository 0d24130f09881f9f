"""The engine's files are for the owner of the root alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fixtures import MakeGaia
from support.links import PLANT, plant, reader


@pytest.fixture
def no_mask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_files_are_for_the_owner_only(make_gaia: MakeGaia, gaia_root: Path, no_mask: None) -> None:
    """With umask 0, and in a root that was open to all before."""
    gaia_root.mkdir(mode=0o755)
    gaia = make_gaia()
    plant(gaia, "echo out; echo made > /out/tree/file", steps=[reader("file")])
    names = {path.name: path for path in gaia_root.iterdir()}
    assert names.keys() >= {"storage", "staging", "logs", "gaia.db", "gaia.db-wal", "owner"}
    for path in names.values():
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((gaia_root / "logs" / "w").stat().st_mode) == 0o700
    assert gaia.path("w", "read/file").read_text() == "made\n"


def test_a_new_root_is_for_the_owner_only(
    make_gaia: MakeGaia, gaia_root: Path, no_mask: None
) -> None:
    make_gaia().upload("w", {}, [PLANT], [])
    assert stat.S_IMODE(gaia_root.stat().st_mode) == 0o700

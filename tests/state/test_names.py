"""Names out of the state database, for answers at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gaia_local.state.names import step_and_key_names, workflow_names
from support.builders import COPY, step
from support.fixtures import MakeGaia

PAIR: dict[str, Any] = {
    "name": "pair",
    "inputs": ["a"],
    "outputs": ["x"],
    "steps": [step("first", "copy", "between", "a"), step("second", "copy", "x", "between")],
}


def test_names_are_those_that_the_engine_knows(make_gaia: MakeGaia, gaia_root: Path) -> None:
    gaia = make_gaia()
    gaia.upload(
        "b_second",
        {},
        [COPY],
        [step("one", "copy", "b:out", "b:in"), step("two", "copy", "b:two", "b:in")],
    )
    gaia.upload("a_first", {}, [COPY], [])
    assert workflow_names(gaia_root) == ["b_second", "a_first"]
    assert step_and_key_names(gaia_root, "b_second") == (["one", "two"], ["b:in", "b:out", "b:two"])
    assert step_and_key_names(gaia_root, "a_first") == ([], [])
    assert step_and_key_names(gaia_root, "nobody") == ([], [])


@pytest.mark.parametrize(
    "given",
    [
        step("many", "copy", "b:out", "b:in", vars={"n": [1]}),
        step("named", "copy", "b:{{n}}", "b:in", vars={"n": 1}),
        step("composite", "pair", "b:out", "b:in"),
    ],
    ids=lambda given: given["name"],
)
def test_expandable_steps_are_left_to_the_engine(
    given: dict[str, Any], make_gaia: MakeGaia, gaia_root: Path
) -> None:
    make_gaia().upload("w", {}, [COPY, PAIR], [given])
    assert step_and_key_names(gaia_root, "w") is None


def test_without_a_database_there_are_no_names(tmp_path: Path) -> None:
    assert workflow_names(tmp_path / "nowhere") == []
    assert step_and_key_names(tmp_path / "nowhere", "w") == ([], [])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "gaia.db").write_text("this is no database, but it is long enough to look at" * 100)
    assert workflow_names(tmp_path) == []
    (tmp_path / "gaia.db").unlink()
    (tmp_path / "gaia.db").mkdir()
    assert workflow_names(tmp_path) == []


@pytest.mark.parametrize("text", ["[]", "{}", "3", "{", '{"name": 1, "command": [], "inputs": []}'])
def test_rows_without_sense_give_no_names(text: str, make_gaia: MakeGaia, gaia_root: Path) -> None:
    gaia = make_gaia()
    gaia.upload("w", {}, [COPY], [step("one", "copy", "b:out", "b:in")])
    gaia.close(wait=False)
    database = sqlite3.connect(gaia_root / "gaia.db")
    database.execute("update steps set definition = ?", (text,))
    database.commit()
    database.close()
    assert step_and_key_names(gaia_root, "w") == ([], [])


def test_names_imports_no_heavy_modules() -> None:
    code = (
        "import sys, gaia_local.state.names; "
        "print(sorted({'requests', 'typer', 'sqlite_utils', 'networkx'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"

"""YAML and JSON made to do harm: refused in good time, and nothing of it is run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gaia_local.errors import InvalidInput
from gaia_local.model import definition_files

ALIASES = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 13)
)
MERGES = "m0: &m0 {k: v}\n" + "".join(
    f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}\n" for n in range(1, 13)
)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.yaml", "!!python/object/apply:os.system ['touch {canary}']", "python/object"),
        ("x.yaml", "- !!python/name:os.system", "python/name"),
        ("x.yaml", "!!python/object:object {}", "python/object"),
        ("x.yaml", ALIASES, "over 2,000,000 values"),
        ("x.yaml", MERGES, "over 2,000,000 values"),
        ("x.yml", "a: &a [*a]", "an alias refers to a value that contains it"),
        ("x.yaml", "[" * 20_000, "nested too deeply"),
        ("x.yaml", "2001-99-99", "not valid YAML"),
        ("x.yaml", "9" * 5000, "not valid YAML"),
        ("x.json", "9" * 5000, "x.json"),
        ("x.json", "[" * 200_000, "nested too deeply"),
    ],
    ids=lambda value: None if len(str(value)) > 30 else str(value),
)
def test_hostile_files_are_refused(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(text.replace("{canary}", str(tmp_path / "canary")))
    began = time.monotonic()
    with pytest.raises(InvalidInput) as refused:
        definition_files.read(path)
    assert words in str(refused.value) and name in str(refused.value)
    assert time.monotonic() - began < 20
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_aliases_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("- &a {k: [1, 2]}\n- *a\n- {<<: *a, l: 3}")
    assert definition_files.read(tmp_path / "x.yaml") == [
        {"k": [1, 2]},
        {"k": [1, 2]},
        {"k": [1, 2], "l": 3},
    ]
    (tmp_path / "empty.yaml").write_text("")
    assert definition_files.read(tmp_path / "empty.yaml") is None

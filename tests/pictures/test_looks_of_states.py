"""States, durations and sizes look and read alike in pictures, on the page and on terminals."""

from __future__ import annotations

import json
from pathlib import Path

import page_states
from gaia_local.model.durations import duration
from gaia_local.model.sizes import memory_text, progress_text
from gaia_local.pictures.states import APPEARANCES, ORDER, SIGN_SIZE, URGENCY, command_hue

AMOUNTS = Path(__file__).parents[1] / "page" / "amounts.json"


def test_the_pages_files_are_current() -> None:
    for name, made in (("states.js", page_states.script()), ("states.css", page_states.style())):
        written = (page_states.PAGE / name).read_text(encoding="utf-8")
        assert written == made, f"{name} is old: make states"
        assert all(len(line) <= 100 for line in made.splitlines())


def test_durations_and_sizes_read_as_on_the_page() -> None:
    told = json.loads(AMOUNTS.read_text(encoding="utf-8"))
    assert {text: duration(seconds) for seconds, text in told["durations"]} == {
        text: text for _, text in told["durations"]
    }
    for number, text in told["bytes"]:
        assert progress_text(number, None) == text
    for number, text in told["memory"]:
        assert memory_text(number) == text


def test_every_state_has_a_sign_of_its_own_and_a_place() -> None:
    shapes = [shown.parts for shown in APPEARANCES.values()]
    assert len(set(shapes)) == len(shapes)
    assert sorted(ORDER) == sorted(URGENCY)
    assert set(ORDER) <= set(APPEARANCES)
    assert SIGN_SIZE == 16


def test_commands_side_by_side_differ_in_hue() -> None:
    hues = [command_hue(number) for number in range(8)]
    apart = [abs(one - other) % 360 for one in hues for other in hues if one != other]
    assert min(min(distance, 360 - distance) for distance in apart) >= 15
    assert len({command_hue(number) for number in range(300)}) == 300

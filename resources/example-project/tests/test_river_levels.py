"""The program's tests: no server, no containers, nothing outside of a temporary folder."""

import pytest

from river_levels import workflow
from river_levels.progress import wait
from river_levels.submit import main, submit

NORTH = "2020-11-01,3.2\n2020-11-02,10.4\n2020-11-03,9.1\n"
SOUTH = "2020-11-01,0.7\n2020-11-02,0.9\n"
STATIONS = ["north", "south"]


def upload(gaia, name="me_levels"):
    """The workflow alone, without the program around it."""
    gaia.upload(name, {}, workflow.commands(STATIONS), workflow.steps(STATIONS))
    gaia.put(workflow.levels("north"), NORTH)
    gaia.put(workflow.levels("south"), SOUTH)


def test_stations_are_ranked_by_their_peaks(gaia):
    upload(gaia)
    gaia.run()
    assert gaia.get(workflow.RANKING) == "north,10.4\nsouth,0.9\n"


def test_a_new_reading_changes_the_ranking(gaia):
    upload(gaia)
    gaia.run()
    gaia.put(workflow.levels("south"), SOUTH + "2020-11-03,11.0\n")
    gaia.run()
    assert gaia.get(workflow.RANKING) == "south,11.0\nnorth,10.4\n"


def test_readings_without_a_level_are_refused(gaia):
    upload(gaia)
    gaia.put(workflow.levels("south"), "2020-11-01\n")
    with pytest.raises(AssertionError, match="Step 'peak-south' failed with exit code 1"):
        gaia.run()


def test_the_program_uploads_and_waits(gaia_client):
    gaia_client.put(workflow.levels("north"), NORTH, workflow="me_levels_1")
    assert submit("me_levels_1", ["north"]) == ["peak", "rank"]
    assert wait("me_levels_1", interval=0.01) == ("complete", [])
    assert gaia_client.get(workflow.peak("north")) == "north,10.4\n"


def test_the_program_says_what_is_missing(gaia_client):
    submit("me_levels_2", STATIONS)
    state, waiting = wait("me_levels_2", interval=0.01)
    assert state == "incomplete"
    assert workflow.levels("north") in waiting


@pytest.mark.gaia(buckets=[workflow.BUCKET], workers=1)
def test_the_command_line(gaia_client, monkeypatch, capsys):
    for station, readings in zip(STATIONS, [NORTH, SOUTH], strict=True):
        gaia_client.put(workflow.levels(station), readings)  # the bucket is shared by all workflows
    monkeypatch.setattr("sys.argv", ["river-levels", "me_levels_3", *STATIONS])
    assert main() == 0
    assert capsys.readouterr().out == "me_levels_3: complete\n"
    assert gaia_client.get(workflow.RANKING).startswith("north")

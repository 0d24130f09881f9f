"""Uploads the workflow: ``river-levels NAME STATION...``."""

import argparse

from gaia.client import Gaia

from river_levels import workflow
from river_levels.progress import wait


def submit(name, stations, host="localhost:24442"):
    """Upload the workflow of these stations under a new name; answers the names of its Steps."""
    flow = Gaia({"gaia_host": host})
    properties = {"owner": name.partition("_")[0]}
    answer = flow.upload(name, properties, workflow.commands(stations), workflow.steps(stations))
    return answer["workflow"][name]


def main():
    """The command line."""
    parser = argparse.ArgumentParser(description="Find the highest level of each station.")
    parser.add_argument("name", help="the new workflow's name: OWNER_PROGRAM_DATETIME")
    parser.add_argument("stations", nargs="+", metavar="STATION")
    parser.add_argument("--host", default="localhost:24442", help="the Gaia server")
    given = parser.parse_args()
    submit(given.name, given.stations, given.host)
    state, waiting = wait(given.name)
    print(f"{given.name}: {state}", *waiting)
    return 0 if state == "complete" else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""The workflow's definition: one Step for each station, and one that ranks them."""

BUCKET = "rivers"
RANKING = f"{BUCKET}:ranking.csv"


def levels(station):
    """The storage key of a station's readings: lines of a date, a comma and a level in metres."""
    return f"{BUCKET}:levels/{station}.csv"


def peak(station):
    """The storage key of a station's highest level."""
    return f"{BUCKET}:peaks/{station}.csv"


def commands(stations):
    """What can be run, for these stations."""
    find = 'NF != 2 {exit 1} NR == 1 || $2 > top {top = $2} END {if (NR) print station "," top; else exit 1}'
    peaks = {station: f"/peaks/{station}.csv" for station in stations}
    return [
        {
            "name": "peak",
            "image": "busybox",
            "command": ["awk", "-F", ",", "-v", "station={{station}}", find, "/data/levels.csv"],
            "inputs": {"levels": "/data/levels.csv"},
            "outputs": {"peak": ">"},
        },
        {
            "name": "rank",
            "image": "busybox",
            "command": ["sort", "-t", ",", "-k", "2,2rn", "-o", "/out/ranking.csv", *peaks.values()],
            "inputs": peaks,
            "outputs": {"ranking": "/out/ranking.csv"},
        },
    ]


def steps(stations):
    """What is to be run: `peak` for each of these stations, then `rank`."""
    return [
        {
            "name": "peak",
            "command": "peak",
            "vars": {"station": list(stations)},
            "inputs": {"levels": levels("{{station}}")},
            "outputs": {"peak": peak("{{station}}")},
        },
        {
            "name": "rank",
            "command": "rank",
            "inputs": {station: peak(station) for station in stations},
            "outputs": {"ranking": RANKING},
        },
    ]

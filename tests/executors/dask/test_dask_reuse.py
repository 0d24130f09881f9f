"""Reuse with a Dask cluster: the engine's machine looks up and copies, workers run the rest."""

from __future__ import annotations

from pathlib import Path

from support.builders import step
from support.counting import Counter, completed, put, ran, reused_steps
from support.fixtures import MakeGaia


def test_results_of_workers_are_reused(make_gaia: MakeGaia, tmp_path: Path) -> None:
    count = Counter(tmp_path / "count")
    gaia = make_gaia(executor="dask", dask={"local": 2}, workers=None, reuse=True)
    commands = [
        count.command("c", "cat /in/a > /out/x; echo {{n}} >> /out/x; echo said", "a", x="/out/x"),
        count.command("d", "cat /in/a > /out/x/f; ln -s f /out/x/link", "a", x="/out/x/"),
    ]
    commands[0]["vars"] = {"n": 0}
    steps = [
        *(step(f"s{n}", "c", f"o:{n}", "in:a", vars={"n": n % 4}) for n in range(20)),
        *(step(f"t{n}", "d", f"o:d{n}/", f"o:{n}") for n in range(20)),
    ]
    ran(gaia, "w1", commands, steps, {"in:a": "hello\n"})
    assert count.runs == {"c": 4, "d": 4}
    ran(gaia, "w2", commands, steps, {"in:a": "hello\n"})
    assert count.runs == {"c": 4, "d": 4}
    assert len(reused_steps(gaia, "w2")) == 40
    for n in range(20):
        assert (gaia.path("w2", f"o:d{n}/") / "link").read_text() == f"hello\n{n % 4}\n"
    assert not any("host" in event for event in gaia.events("w2"))
    gaia.expire("w2", ["s0"])
    completed(gaia, "w2")
    assert count.runs["c"] == 5
    put(gaia, "w3", {"in:a": "other\n"})
    ran(gaia, "w3", commands, steps)
    assert count.runs == {"c": 9, "d": 8}
    gaia.close()
    # Programs of this process have its environment; that of workers was unknown.
    local = make_gaia(reuse=True)
    ran(local, "w4", commands, steps, {"in:a": "other\n"})
    assert count.runs == {"c": 13, "d": 12}

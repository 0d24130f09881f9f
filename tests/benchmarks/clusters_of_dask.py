"""Many short Steps on a Dask cluster, beside bare programs on the same one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Finding, Row, Setting, bare, in_turns, ours
from support.clusters import running


def dask(setting: Setting) -> Iterator[Finding]:
    """1,000 trivial Steps on a Dask cluster of 2 workers, beside as many bare `client.submit`."""
    count = setting.count(1000)
    with setting.place() as folder, running(Path(folder), "one", "two") as cluster:

        def by_us() -> dict[str, float]:
            with setting.place() as root:
                dask = {"address": cluster.address}
                arguments = {"shape": "independent", "count": count, "warm": True, "workers": None}
                return ours("run", root=root, executor="dask", dask=dask, **arguments)

        def by_dask() -> dict[str, float]:
            with setting.place() as made:
                return bare("cluster", folder=made, count=count, address=cluster.address)

        turns = in_turns(setting.rounds, {"ours": by_us, "bare": by_dask})
    what = f"{count:,} trivial Steps on a Dask cluster of 2 workers"
    bare_s = turns.of("bare", "run_s")
    yield Row(
        what,
        "s",
        turns.of("ours", "run_s"),
        "`client.submit` of bare programs",
        bare_s,
        ratio_most=1.5,
    )
    yield Row("… of that to the end of the upload", "s", turns.of("ours", "upload_s"))

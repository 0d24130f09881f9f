"""For dask's distributed scheduler: a local cluster of two worker processes, a thread each."""

from __future__ import annotations

from distributed import Client, LocalCluster
from workflow_dask import build

if __name__ == "__main__":
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.compute(build()).result()

"""The Dask cluster that the configuration names: connected when it is needed, closed at the end.

This module knows nothing of Tasks.
"""

from __future__ import annotations

import threading

import dask
from distributed import LocalCluster

from gaia_local.config import DaskConfig
from gaia_local.errors import Closed, EngineUnavailable, error_text
from gaia_local.executors.dask.connection import ClusterListener, Connection, security_of
from gaia_local.executors.dask.main_module import refuse_unguarded_script
from gaia_local.executors.dask.settings import SessionSettings
from gaia_local.installation import install_command


class Cluster:
    """The cluster that the configuration names. Thread-safe."""

    def __init__(self, config: DaskConfig, settings: SessionSettings) -> None:
        """`settings` are those of `settings_for`, without a session."""
        self.config, self._settings = config, settings
        self.listener = ClusterListener()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._local: LocalCluster | None = None
        self._closed = False

    @property
    def where(self) -> str:
        """The cluster, for messages."""
        return "of this machine" if self.config.address is None else f"at {self.config.address}"

    @property
    def connection(self) -> Connection | None:
        """The connection, if there is one that works; else None."""
        connection = self._connection
        return connection if connection is not None and connection.alive else None

    def check(self) -> None:
        """Connect if need be, and prepare new workers. Raises `EngineUnavailable`."""
        connection = self.connect()
        with self._lock:
            connection.prepare_workers()

    def connect(self) -> Connection:
        """The connection, with the workers that there are now. Raises `EngineUnavailable`."""
        with self._lock:
            if self._closed:
                raise Closed("this Gaia was closed")
            try:
                if self.connection is None:
                    self._disconnect()
                    self._connection = Connection(
                        self._target(), self.config, self._settings, self.listener
                    )
                assert self._connection is not None
                self._connection.refresh()
            # The client's errors for bad addresses and the like.
            except (OSError, ValueError, TypeError, ImportError) as error:
                why = error_text(error) or type(error).__name__
                # Its traceback would keep the failed client alive.
                raise EngineUnavailable(
                    f"no Dask scheduler answers {self.where} within {self.config.timeout:g} s"
                    f" ({why}); start one (`dask scheduler`), or give another with the config's"
                    " dask.address"
                ) from error.with_traceback(None)
            return self._connection

    def disconnect(self) -> None:
        """Close the connection, if any; `check` makes another."""
        with self._lock:
            self._disconnect()

    def close(self) -> None:
        """Close the connection and the cluster of this machine. Idempotent."""
        with self._lock:
            self._closed = True
            self._disconnect()
            local, self._local = self._local, None
        if local is not None:
            local.close()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _target(self) -> str | LocalCluster:
        if self.config.address is not None:
            return self.config.address
        if self._local is None:
            refuse_unguarded_script()
            self._local = _local_cluster(self.config)
        return self._local


def _local_cluster(config: DaskConfig) -> LocalCluster:
    """Worker processes on this machine, which only this process can connect to."""
    try:
        from gaia_local.executors.dask.keys import make_keys
    except ImportError as error:
        raise EngineUnavailable(
            f"Dask workers on this machine need keys, and a package is missing ({error});"
            f" {install_command('dask')}"
        ) from error
    security = security_of(make_keys() if config.security is None else config.security)
    # Any user of this machine could read the HTTP pages of the scheduler and the workers.
    with dask.config.set(
        {f"distributed.{part}.http.routes": [] for part in ("scheduler", "worker")}
    ):
        return LocalCluster(
            n_workers=config.local,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            security=security,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
        )

"""The executor and the runtime of one root, as its configuration asks for them."""

from __future__ import annotations

from gaia_local.config import Config
from gaia_local.engine.failures import Failures
from gaia_local.errors import InvalidInput
from gaia_local.executors.contract import Executor
from gaia_local.executors.limits import affordable_workers
from gaia_local.executors.threads import ThreadExecutor
from gaia_local.executors.worker import Worker
from gaia_local.installation import install_command
from gaia_local.runtimes.choice import make_runtime
from gaia_local.runtimes.contract import Root, Runtime
from gaia_local.state.database import Database
from gaia_local.store.root_identity import identity_file, read_identity
from gaia_local.store.storage import Storage
from gaia_local.store.workspaces import LocalWorkspace


def make_executor(config: Config, storage: Storage, failures: Failures) -> tuple[Runtime, Executor]:
    """The runtime and the executor. Raises `InvalidInput` if a package for them is missing."""
    if config.executor == "threads":
        runtime = runtime_of(config)
        return runtime, ThreadExecutor(
            affordable_workers(config.workers),
            Worker(
                LocalWorkspace(storage), runtime, failures.keep if config.keep_failed else None
            ).perform,
            config.docker.stop_grace,
            gpus_of=runtime.gpus_of,
        )
    try:
        from gaia_local.executors.dask.executor import make_executor as make_dask_executor
    except ImportError as error:
        raise InvalidInput(
            "config, executor",
            f"'dask' needs a package that is not installed ({error})",
            install_command("dask"),
        ) from error
    return make_dask_executor(config, storage, root_of(config))


def with_reuse(
    executor: Executor, config: Config, database: Database, storage: Storage, runtime: Runtime
) -> Executor:
    """An executor that gives Tasks the results of earlier ones where there are any."""
    from gaia_local.engine.results import RecordedResults
    from gaia_local.executors.reusing import ReusingExecutor

    database.index_fingerprints()
    return ReusingExecutor(
        executor,
        RecordedResults(database, storage),
        workspace=LocalWorkspace(storage),
        identity=runtime.identity,
        threads=affordable_workers(config.workers),
    )


def runtime_of(config: Config) -> Runtime:
    """The runtime that a configuration asks for, for the Tasks of its root."""
    return make_runtime(config.runtime, config.docker, root_of(config))


def root_of(config: Config) -> Root:
    """The root whose Tasks a configuration runs."""
    identity = read_identity(config.root) if identity_file(config.root).exists() else ""
    return Root(str(config.root), identity)

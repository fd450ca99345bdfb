"""The Dagster instance of this project: where it lives, its runs of the terminal, and those that were killed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from warehouse.paths import Paths
from warehouse.safe_files import write_text
from warehouse.settings import DAGSTER_POSTGRES_URL, dagster_postgres_url, export_dagster_home

# The instance's settings. In a checkout, dagster.yaml at the top is a link to it.
SETTINGS = Path(__file__).resolve().parent / "dagster.yaml"

# Added to them in production. The address, with its password, is named and not written.
IN_POSTGRES = f"""
storage:
  postgres:
    postgres_url:
      env: {DAGSTER_POSTGRES_URL}
"""

# The name of the code location, as pyproject.toml gives it to `dg dev`.
CODE_LOCATION = "next_aisle"


class StorageError(Exception):
    """Dagster's storage cannot be used as it is set; the message says what to change."""


def home(paths: Paths) -> Path:
    """Make the folder for DAGSTER_HOME.

    Args:
        paths: where data lives.

    Returns:
        `dagster/` in the data folder, holding a link to the project's dagster.yaml; where runs are kept in PostgreSQL,
        a copy that says so.

    Raises:
        StorageError: the database's address does not name its driver.
    """
    folder = paths.dagster
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "dagster.yaml"
    if url := dagster_postgres_url():
        # Without a driver, SQLAlchemy takes another one than Dagster's PostgreSQL storage is written for.
        if not url.startswith("postgresql+psycopg2://"):
            raise StorageError(f"{DAGSTER_POSTGRES_URL} must begin with postgresql+psycopg2://")
        settings = SETTINGS.read_text(encoding="utf-8") + IN_POSTGRES
        if link.is_symlink() or not link.exists() or link.read_text(encoding="utf-8") != settings:
            write_text(link, settings)
    elif not (link.is_symlink() and link.readlink() == SETTINGS):
        link.unlink(missing_ok=True)
        link.symlink_to(SETTINGS)
    return folder


def open_instance(paths: Paths) -> dg.DagsterInstance:
    """Open the instance below the data folder, also when DAGSTER_HOME is not set.

    Args:
        paths: where data lives.

    Raises:
        StorageError: the database does not answer, or its address is wrong.
    """
    home(paths)
    export_dagster_home(paths)
    try:
        instance = dg.DagsterInstance.get()
    except Exception as error:
        # By its name: the package is there in production only.
        if type(error).__name__ != "DagsterPostgresException":
            raise
        # The cause's first line: without the address, which has the password in it.
        reason = str(getattr(error.__cause__, "orig", error)).splitlines()[0]
        raise StorageError(f"PostgreSQL, where Dagster keeps its runs, does not answer: {reason}") from error
    _keep_connections_open(instance.event_log_storage)
    return instance


def _keep_connections_open(event_log: Any) -> None:
    """Write all events of a run over the same SQLite connections.

    Dagster opens a new engine and a new connection for each statement, 4,000 in a run, and so compiles each statement
    again. Without that, a run takes 5 s of processor time less (14.0 s to 8.5 s without dbt's own; 2026-11-21).

    Args:
        event_log: the instance's event log; one that is not SQLite's is left as it is.
    """
    if not hasattr(event_log, "conn_string_for_shard"):
        return
    open_once = event_log._connect
    engines: dict[str, sqlalchemy.Engine] = {}

    @contextlib.contextmanager
    def connect(shard: str) -> Iterator[sqlalchemy.Connection]:
        if shard not in engines:
            # Dagster's own connection creates the tables of a new file.
            with open_once(shard):
                pass
            # As long as Dagster waits for another process that is writing.
            engines[shard] = sqlalchemy.create_engine(
                event_log.conn_string_for_shard(shard), connect_args={"timeout": 30}
            )
            sqlalchemy.event.listen(engines[shard], "connect", _do_not_wait_for_the_disk)
        with event_log._db_lock, engines[shard].begin() as connection:
            yield connection

    event_log._connect = connect


def _do_not_wait_for_the_disk(connection: Any, record: Any) -> None:
    # With SQLite's write-ahead log, which Dagster turns on, a file stays whole without it; a power cut costs the last
    # events.
    del record
    connection.execute("pragma synchronous = normal")


def run_job(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    run_config: dict[str, Any],
    tags: dict[str, str] | None = None,
    run_id: str | None = None,
) -> dg.JobExecutionResult:
    """Run a job in this process, as Dagster does in a process that it starts for a run from the UI.

    The run belongs to the code location of `dg dev`: the UI shows it with the job and can execute it again. Dagster's
    public functions make runs of no code location; see tests/orchestration/test_what_we_rely_on.py.

    Args:
        instance: where the run is recorded.
        job: the job.
        run_config: its settings.
        tags: more tags of the run.
        run_id: its number; Dagster gives it one where none is given.
    """
    run = instance.create_run_for_job(
        job, run_id=run_id, run_config=run_config, tags=tags, remote_job_origin=code_location_origin(job.name)
    )
    return execute_run(InMemoryJob(job), run, instance)


def code_location_origin(job: str) -> RemoteJobOrigin:
    """Name where Dagster finds a job: the code location of `dg dev`.

    Args:
        job: the job's name.
    """
    location = RegisteredCodeLocationOrigin(CODE_LOCATION)
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(job)

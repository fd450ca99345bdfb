"""Connections to the private warehouse file, and to none."""

import functools
import re
import time

import duckdb

from warehouse.locks import Say
from warehouse.paths import Paths
from warehouse.settings import memory_limit
from warehouse.sql import quote_text

# What DuckDB writes new files with; 1.3 and later read them. Its strings are packed by a method that is new in 1.3:
# int_purchase_lines, fct_purchases and the published copy take 15 to 25 % less processor time than in DuckDB's default
# format, which 0.10 can read, and 5 % less disk (2026-11-20, medians of 3 interleaved runs on two cores).
FILE_FORMAT: dict[str, str | bool | int | float | list[str]] = {"storage_compatibility_version": "v1.3.0"}

# Bytes of memory for DuckDB; what needs more is written to the disk. At ten times the sample all models together
# take about 4 % more processor time with it (docs/performance.md).
MEMORY_LIMIT = 3_000_000_000

# How long to wait for another process to let go of the warehouse file. A killed run may leave a dbt process
# behind that finishes its current model before it notices; the longest model of the sample takes seconds.
WAIT_FOR_FILE_SECONDS = 120


# The deliveries behind the published copy; a run notes them before anything else. The dbt project's source `published`.
PUBLISHED_DELIVERIES = "raw_published.deliveries"


class WarehouseBusyError(Exception):
    """Another process holds the warehouse file and did not let go in time."""


def database_config() -> dict[str, str | bool | int | float | list[str]]:
    """Give the settings of the warehouse and the published copy: the format of new files, and how much memory to take.

    A process opens one file with one configuration only.
    """
    return {**FILE_FORMAT, "memory_limit": memory_limit() or f"{min(MEMORY_LIMIT, _duckdb_takes())}B"}


@functools.cache
def _duckdb_takes() -> int:
    """Ask DuckDB how many bytes of memory it takes by itself: 80 % of the machine's, or of a container's limit."""
    limit = in_memory().execute("select current_setting('memory_limit')").fetchall()[0][0]
    number, unit = limit.split()
    return int(float(number) * 1024 ** ("bytes", "KiB", "MiB", "GiB", "TiB").index(unit))


@functools.cache
def in_memory() -> duckdb.DuckDBPyConnection:
    """Give this process's DuckDB without a file, for questions to files; opening one for each takes milliseconds.

    It answers from the rows of a Parquet file and not from its statistics: those of a damaged file may be wrong.
    """
    return duckdb.connect(config={"disabled_optimizers": "statistics_propagation"})


def connect(
    paths: Paths,
    *,
    read_only: bool = False,
    wait_seconds: float = WAIT_FOR_FILE_SECONDS,
    say: Say | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open the warehouse file, waiting for a process that still holds it.

    Args:
        paths: where the warehouse is.
        read_only: open without the right to write; still shuts out writers of other processes.
        wait_seconds: how long to wait for the file.
        say: called with one line when the wait begins.

    Raises:
        WarehouseBusyError: another process kept the file open all that time; its number is in the message.
    """
    paths.root.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return duckdb.connect(str(paths.warehouse), read_only=read_only, config=database_config())
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                raise
            holder = re.search(r"PID (\d+)", str(error))
            process = f"process {holder[1]}" if holder else "another process"
            if say:
                say(f"waiting up to {wait_seconds:.0f} s for {process}, which has {paths.warehouse} open")
                say = None
            if time.monotonic() > deadline:
                raise WarehouseBusyError(
                    f"{paths.warehouse} is open in {process}, for more than {wait_seconds:.0f} s now. Close it there. "
                    f"To look at results, open {paths.published} instead: that never blocks a run."
                ) from error
            time.sleep(0.5)


def tables(connection: duckdb.DuckDBPyConnection, schema: str) -> set[str]:
    """Name the tables and views of a schema; none when the schema does not exist.

    Args:
        connection: the open warehouse.
        schema: the schema's name.
    """
    # No parameters: DuckDB imports pandas, where installed, to bind them (1 s).
    rows = connection.execute(
        f"select table_name from information_schema.tables where table_schema = {quote_text(schema)}"
    ).fetchall()
    return {row[0] for row in rows}


def count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """Count a table's rows.

    Args:
        connection: the open warehouse.
        table: the table, quoted where its name needs it.
    """
    return int(connection.execute(f"select count(*) from {table}").fetchall()[0][0])


def columns(
    connection: duckdb.DuckDBPyConnection, *, with_attached: bool = True
) -> dict[tuple[str, str], dict[str, str]]:
    """List the columns of all tables and views.

    Args:
        connection: the open warehouse.
        with_attached: also those of databases that are attached to it.

    Returns:
        (schema, table) to column to type, in the order of the columns.
    """
    tables: dict[tuple[str, str], dict[str, str]] = {}
    where = "" if with_attached else "where table_catalog = current_database()"
    for schema, table, column, kind in connection.execute(
        f"""
        select table_schema, table_name, column_name, data_type
        from information_schema.columns {where} order by table_schema, table_name, ordinal_position
        """
    ).fetchall():
        tables.setdefault((schema, table), {})[column] = kind
    return tables

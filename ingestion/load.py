"""Load one source: take the lock, settle what an earlier load left, load what is new, and prove that it arrived."""

import datetime as dt
import re
import time
from collections.abc import Sequence

import duckdb

from ingestion import source as sources
from ingestion.pipeline import Pipeline, explained
from ingestion.raw_tables import DELIVERIES, LoadError
from ingestion.source import LoadReport
from warehouse.connections import connect, count
from warehouse.locks import Say, only_writer
from warehouse.paths import Paths
from warehouse.settings import KEEP_SUPERSEDED_DAYS


def load(
    name: str,
    paths: Paths,
    tables: Sequence[str] | None = None,
    say: Say = print,
    keep_superseded_days: int = KEEP_SUPERSEDED_DAYS,
) -> LoadReport:
    """Load what is new in a source into `raw_<name>`.

    Args:
        name: the source.
        paths: where data lives.
        tables: load only these; None means all.
        say: called with one line of progress at a time.
        keep_superseded_days: row versions that no longer count are removed when they were delivered longer ago.

    Raises:
        LoadError: what was sent cannot be loaded, or the disk cannot take it; the raw tables stay as they were.
        WarehouseBusyError: another process keeps the warehouse open.
    """
    started = time.monotonic()
    source = sources.find(name)
    unknown = set(tables or ()) - {table.name for table in source.tables}
    if unknown:
        known = ", ".join(table.name for table in source.tables)
        raise LoadError(f"source {name} has no table {', '.join(sorted(unknown))}. It has: {known}.")
    chosen = [table for table in source.tables if tables is None or table.name in tables]
    if re.search(r"['=%*?\[\]]", str(paths.root)):
        raise LoadError(
            f"{paths.root}: DuckDB and dlt read ' = % * ? [ ] in a folder's name as a pattern. "
            "Set NEXT_AISLE_DATA to a folder without them; nothing was loaded."
        )
    try:
        with only_writer(paths, say), connect(paths) as connection:
            pipeline = Pipeline(name, source.tables, connection, paths)
            reports = source.load(pipeline, chosen, say)
            pipeline.prove_arrival()
            pipeline.drop_superseded(_days_ago(keep_superseded_days))
            for report in reports.values():
                report.rows_total = count(connection, f"raw_{name}.{report.name}")
            deliveries = count(connection, f"raw_{name}.{DELIVERIES}")
    except (duckdb.Error, OSError) as error:
        raise explained(error, paths) from error
    return LoadReport(name, reports, deliveries, time.monotonic() - started)


def declare(name: str, paths: Paths, say: Say = print) -> None:
    """Make the raw tables of a source that are not there yet, empty, so that others can be modelled without it.

    Args:
        name: the source.
        paths: where data lives.
        say: called with one line of progress at a time.

    Raises:
        LoadError: the disk cannot take them.
        WarehouseBusyError: another process keeps the warehouse open.
    """
    try:
        with only_writer(paths, say), connect(paths) as connection:
            Pipeline(name, sources.find(name).tables, connection, paths).declare()
    except (duckdb.Error, OSError) as error:
        raise explained(error, paths) from error


def _days_ago(days: int) -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=days)

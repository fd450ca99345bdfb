"""Load one source: take the lock, settle what an earlier load left, load what is new, and prove that it arrived."""

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


def load(name: str, paths: Paths, tables: Sequence[str] | None = None, say: Say = print) -> LoadReport:
    """Load what is new in a source into `raw_<name>`.

    Args:
        name: the source.
        paths: where data lives.
        tables: load only these; None means all.
        say: called with one line of progress at a time.

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
            for report in reports.values():
                report.rows_total = count(connection, f"raw_{name}.{report.name}")
            deliveries = count(connection, f"raw_{name}.{DELIVERIES}")
    except (duckdb.Error, OSError) as error:
        raise explained(error, paths) from error
    return LoadReport(name, reports, deliveries, time.monotonic() - started)

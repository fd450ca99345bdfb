"""Load one source: find what is new, check it, hand it to dlt, and prove that it arrived."""

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import dlt
import duckdb
from dlt.pipeline.exceptions import PipelineStepFailed

from ingestion import warehouse
from ingestion.contracts import CheckedDelivery, Delivery, LandedTable, LandingError, check, find_deliveries
from ingestion.landed_files import DELIVERIES, LANDED_FILE

Say = Callable[[str], object]


@dataclass
class TableReport:
    """What one load did to one raw table.

    Attributes:
        name: the raw table.
        files_found: landed files of the table.
        files_loaded: those of them that were new or had changed.
        files_replaced: those of the loaded ones whose earlier version was loaded before.
        rows_loaded: rows in the loaded files.
        rows_total: rows in the raw table afterwards.
        new_columns: columns let in for the first time, with their type.
    """

    name: str
    files_found: int
    files_loaded: int = 0
    files_replaced: list[str] = field(default_factory=list)
    rows_loaded: int = 0
    rows_total: int = 0
    new_columns: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say it in one line."""
        line = f"{self.name}: {self.rows_loaded:,} rows from {self.files_loaded:,} of {self.files_found:,} files"
        line += f"; {self.rows_total:,} rows in all"
        if self.files_replaced:
            shown = ", ".join(self.files_replaced[:3]) + (", ..." if len(self.files_replaced) > 3 else "")
            line += f"; delivered again with changes: {shown}"
        if self.new_columns:
            line += "; new columns let in: " + ", ".join(f"{name} ({kind})" for name, kind in self.new_columns.items())
        return line


@dataclass(frozen=True)
class LoadReport:
    """What one load did.

    Attributes:
        source: the source's name.
        tables: one report per table, by name.
        seconds: wall time.
    """

    source: str
    tables: Mapping[str, TableReport]
    seconds: float


def source_module(name: str) -> ModuleType:
    """Find a source by its name.

    Args:
        name: module name below `ingestion/sources`.

    Raises:
        LandingError: there is no such source.
    """
    try:
        return importlib.import_module(f"ingestion.sources.{name}")
    except ModuleNotFoundError as error:
        raise LandingError(f"there is no source {name!r}: no file ingestion/sources/{name}.py") from error


def load(name: str, tables: Sequence[str] | None = None, say: Say = print) -> LoadReport:
    """Load what is new in a source's landing folder into `raw_<name>`.

    Runs twice with the same result, and after a kill at any moment: rows of a load that never finished are removed
    before anything else, and a file counts as loaded only once dlt has closed its load.

    Args:
        name: the source.
        tables: load only these; None means all.
        say: called with one line of progress at a time.

    Raises:
        LandingError: the files break the contract, or the disk cannot take them; the raw tables stay as they were.
        WarehouseBusyError: another process keeps the warehouse open.
    """
    started = time.monotonic()
    module = source_module(name)
    chosen = [table for table in module.TABLES if tables is None or table.name in tables]
    unknown = set(tables or ()) - {table.name for table in module.TABLES}
    if unknown:
        raise LandingError(f"source {name} has no table {', '.join(sorted(unknown))}")
    with warehouse.only_writer(say):
        found = find_deliveries(warehouse.paths().landing / name, chosen)
        reports = {table.name: TableReport(table.name, sum(d.table == table for d in found)) for table in chosen}
        with warehouse.connect() as connection:
            ledger = _clear_unfinished(connection, name, module.TABLES)
            new = [d for d in found if ledger.get((d.table.name, d.landed_file)) != d.sha256]
            if new:
                say(f"{name}: checking {len(new):,} new of {len(found):,} landed files")
                checked = [check(delivery) for delivery in new]
                say(f"{name}: loading {sum(one.row_count for one in checked):,} rows")
                _run(connection, module, name, checked)
                for one in checked:
                    _note(reports[one.delivery.table.name], one, ledger)
                connection.execute("checkpoint")
            _prove_arrival(connection, name, module.TABLES)
            for report in reports.values():
                report.rows_total = _count(connection, f"raw_{name}.{report.name}")
    return LoadReport(name, reports, time.monotonic() - started)


def _clear_unfinished(
    connection: duckdb.DuckDBPyConnection, name: str, tables: Sequence[LandedTable]
) -> dict[tuple[str, str], str]:
    """Remove the rows of a load that was killed, and read which version of each file was loaded last.

    Returns:
        (table, landed file) -> sha256; empty when nothing was ever loaded.
    """
    dataset = f"raw_{name}"
    existing = _tables(connection, dataset)
    if not {DELIVERIES, "_dlt_loads"} <= existing:
        return {}
    finished = f"(select load_id from {dataset}._dlt_loads where status = 0)"
    for table in existing & {DELIVERIES, *(table.name for table in tables)}:
        connection.execute(f"delete from {dataset}.{table} where _dlt_load_id not in {finished}")
    rows = connection.execute(
        f"select table_name, landed_file, arg_max(sha256, _dlt_load_id) from {dataset}.{DELIVERIES} group by all"
    ).fetchall()
    return {(table, landed_file): sha256 for table, landed_file, sha256 in rows}


def _run(
    connection: duckdb.DuckDBPyConnection, module: ModuleType, name: str, checked: Sequence[CheckedDelivery]
) -> None:
    pipeline = warehouse.pipeline(name, connection)
    if pipeline.has_pending_data:
        # What a killed load left in dlt's folder; the landed files say it anew.
        pipeline.drop_pending_packages()
    _agree_on_new_columns(pipeline, checked)
    existing = _tables(connection, pipeline.dataset_name)
    for table in {one.delivery.table.name: one.delivery.table for one in checked}.values():
        if table.key and table.name in existing:
            # A row without a key cannot be replaced by its key; it goes when its file comes again.
            connection.execute(f"delete from {pipeline.dataset_name}.{table.name} where {table.key} is null")
    try:
        pipeline.run(module.source(checked))
    except (PipelineStepFailed, duckdb.Error, OSError) as error:
        pipeline.drop_pending_packages()
        cause = _root(error)
        if "No space left" in str(cause) or "File too large" in str(cause):
            raise LandingError(
                f"the disk is full: {cause}. Free some space below {warehouse.paths().root} and run again; "
                "nothing of this load is kept."
            ) from error
        raise LandingError(f"loading {name} failed, nothing of this load is kept: {cause}") from error


def _agree_on_new_columns(pipeline: dlt.Pipeline, checked: Sequence[CheckedDelivery]) -> None:
    """Stop when a column outside the contract changes its type between files or since an earlier load."""
    schema = pipeline.default_schema if pipeline.default_schema_name else None
    known: dict[tuple[str, str], tuple[str, str]] = {}
    for one in checked:
        table = one.delivery.table.name
        earlier: Mapping[str, Any] = schema.tables.get(table, {}).get("columns", {}) if schema else {}
        for column, kind in one.new_columns.items():
            before = earlier.get(column, {}).get("data_type")
            first, where = known.setdefault(
                (table, column), (before, "an earlier load") if before else (kind, one.delivery.landed_file)
            )
            if first != kind:
                raise LandingError(
                    f"{one.delivery.path}: column {column} has type {kind}, in {where} it was {first}. "
                    "Have the file sent again with one type; nothing was loaded."
                )


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _tables(connection: duckdb.DuckDBPyConnection, dataset: str) -> set[str]:
    # No parameters here and below: DuckDB imports pandas, where installed, to bind them (1 s).
    rows = connection.execute(
        f"select table_name from information_schema.tables where table_schema = '{dataset}'"
    ).fetchall()
    return {row[0] for row in rows}


def _note(report: TableReport, one: CheckedDelivery, ledger: Mapping[tuple[str, str], str]) -> None:
    delivery: Delivery = one.delivery
    report.files_loaded += 1
    report.rows_loaded += one.row_count
    report.new_columns |= one.new_columns
    if (report.name, delivery.landed_file) in ledger:
        report.files_replaced.append(delivery.landed_file)


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return connection.sql(f"select count(*) from {table}").fetchall()[0][0]


def _prove_arrival(connection: duckdb.DuckDBPyConnection, name: str, tables: Sequence[LandedTable]) -> None:
    """Compare the ledger with the rows of the day files: what was delivered must be there."""
    for table in tables:
        if table.key is not None:
            continue
        lost = connection.execute(
            f"""
            select deliveries.landed_file, deliveries.row_count, coalesce(arrived.row_count, 0)
            from raw_{name}.{DELIVERIES} as deliveries
            left join (
                select {LANDED_FILE} as landed_file, _dlt_load_id, count(*) as row_count
                from raw_{name}.{table.name}
                group by all
            ) as arrived using (landed_file, _dlt_load_id)
            where deliveries.table_name = '{table.name}' and deliveries.row_count <> coalesce(arrived.row_count, 0)
            order by 1
            """
        ).fetchall()
        if lost:
            landed_file, delivered, arrived = lost[0]
            raise LandingError(
                f"raw_{name}.{table.name} lost rows: {landed_file} was delivered with {delivered:,} rows, {arrived:,} "
                f"are in the warehouse ({len(lost)} such files). Remove {warehouse.paths().warehouse} and run again: "
                "everything is rebuilt from the landed files."
            )

"""Load one source: find what is new, check it, hand it to dlt, and prove that it arrived."""

import contextlib
import datetime as dt
import importlib
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

import duckdb
from dlt.pipeline.exceptions import PipelineStepFailed

from ingestion import run_history, warehouse
from ingestion.contracts import (
    SQL_TYPES,
    CheckedDelivery,
    Delivery,
    LandedTable,
    LandingError,
    check,
    find_deliveries,
    stored_name,
)
from ingestion.landed_files import DELIVERIES, LANDED_FILE

Say = Callable[[str], object]

# Before the name of a keyed table: its rows as they were, for as long as a load is under way.
BEFORE = "_before_"


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
        deliveries: landed files ever loaded, each version of them.
        seconds: wall time.
    """

    source: str
    tables: Mapping[str, TableReport]
    deliveries: int
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
    unknown = set(tables or ()) - {table.name for table in module.TABLES}
    if unknown:
        raise LandingError(f"source {name} has no table {', '.join(sorted(unknown))}")
    chosen = [table for table in module.TABLES if tables is None or table.name in tables]
    root = warehouse.paths().root
    if re.search(r"['=%*?\[\]]", str(root)):
        raise LandingError(
            f"{root}: DuckDB and dlt take ' = % * ? [ ] in a folder's name for a pattern. "
            "Set NEXT_AISLE_DATA to a folder without them; nothing was loaded."
        )
    try:
        with warehouse.only_writer(say):
            reports, deliveries = _load(module, name, chosen, say)
    except (duckdb.Error, OSError) as error:
        raise _explained(error) from error
    return LoadReport(name, reports, deliveries, time.monotonic() - started)


def _load(module: ModuleType, name: str, chosen: Sequence[LandedTable], say: Say) -> tuple[dict[str, TableReport], int]:
    found = find_deliveries(warehouse.paths().landing / name, chosen)
    reports = {table.name: TableReport(table.name, sum(d.table == table for d in found)) for table in chosen}
    with warehouse.connect() as connection:
        ledger = _settle(connection, name, module.TABLES)
        new = [d for d in found if ledger.get((d.table.name, d.landed_file)) != d.sha256]
        if new:
            _clock_goes_on(connection, name)
            say(f"{name}: checking {len(new):,} new of {len(found):,} landed files")
            checked = [check(delivery) for delivery in new]
            new_columns = _agree_on_new_columns(connection, name, checked)
            say(f"{name}: loading {sum(one.row_count for one in checked):,} rows")
            _run(connection, module, name, checked)
            for one in checked:
                _note(reports[one.delivery.table.name], one, ledger)
            for table, columns in new_columns.items():
                reports[table].new_columns |= columns
            connection.execute("checkpoint")
        _prove_arrival(connection, name, module.TABLES)
        # So that the models find its tables, in a new warehouse too.
        run_history.load(connection)
        for report in reports.values():
            report.rows_total = _count(connection, f"raw_{name}.{report.name}")
        return reports, _count(connection, f"raw_{name}.{DELIVERIES}")


def _settle(
    connection: duckdb.DuckDBPyConnection, name: str, tables: Sequence[LandedTable]
) -> dict[tuple[str, str], str]:
    """Bring the raw tables to where the last finished load left them, and read which version of each file that is.

    Returns:
        (table, landed file) -> sha256; empty when nothing was ever loaded.
    """
    dataset = f"raw_{name}"
    existing = _tables(connection, dataset)
    if not {DELIVERIES, "_dlt_loads"} <= existing:
        return {}
    unfinished = f"_dlt_load_id not in (select load_id from {dataset}._dlt_loads where status = 0)"
    for table in existing & {DELIVERIES, *(table.name for table in tables)}:
        before = f"{BEFORE}{table}"
        connection.execute("begin")
        if before in existing:
            if connection.execute(f"select 1 from {dataset}.{table} where {unfinished} limit 1").fetchone():
                connection.execute(f"delete from {dataset}.{table}")
                connection.execute(f"insert into {dataset}.{table} by name from {dataset}.{before}")
            connection.execute(f"drop table {dataset}.{before}")
        connection.execute(f"delete from {dataset}.{table} where {unfinished}")
        connection.execute("commit")
    for keyed in tables:
        if keyed.key and keyed.name in existing:
            # No key replaces a row without one; it goes when its file has come again.
            connection.execute(
                f"delete from {dataset}.{keyed.name} where {keyed.key} is null and _dlt_load_id < "
                f"(select max(_dlt_load_id) from {dataset}.{DELIVERIES} where table_name = '{keyed.name}')"
            )
    rows = connection.execute(
        f"select table_name, landed_file, arg_max(sha256, _dlt_load_id) from {dataset}.{DELIVERIES} group by all"
    ).fetchall()
    return {(table, landed_file): sha256 for table, landed_file, sha256 in rows}


def _run(
    connection: duckdb.DuckDBPyConnection, module: ModuleType, name: str, checked: Sequence[CheckedDelivery]
) -> None:
    dataset = f"raw_{name}"
    existing = _tables(connection, dataset)
    for table in {one.delivery.table.name: one.delivery.table for one in checked}.values():
        if table.key and table.name in existing:
            # A merge takes the replaced rows away before dlt closes the load: kept until then, for _settle.
            connection.execute(f"create or replace table {dataset}.{BEFORE}{table.name} as from {dataset}.{table.name}")
    try:
        warehouse.pipeline(name, connection).run(module.source(checked))
    except (PipelineStepFailed, duckdb.Error, OSError) as error:
        # dlt's copy of the rows serves nobody now, and on a full disk its space is needed.
        shutil.rmtree(warehouse.paths().dlt / name, ignore_errors=True)
        # On a full disk this may fail as well; then the next load does it.
        with contextlib.suppress(duckdb.Error):
            _settle(connection, name, module.TABLES)
        raise _explained(error) from error
    _settle(connection, name, module.TABLES)


def _clock_goes_on(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Stop when the clock stands before the last load: the newest delivery of a day is told by its time."""
    if "_dlt_loads" not in _tables(connection, f"raw_{name}"):
        return
    last = connection.sql(f"select max(cast(load_id as double)) from raw_{name}._dlt_loads").fetchall()[0][0]
    if last is not None and last > time.time():
        raise LandingError(
            f"this machine's clock says {dt.datetime.now():%Y-%m-%d %H:%M}, and {name} was last loaded at "
            f"{dt.datetime.fromtimestamp(last):%Y-%m-%d %H:%M}. Set the clock right; nothing was loaded."
        )


def _agree_on_new_columns(
    connection: duckdb.DuckDBPyConnection, name: str, checked: Sequence[CheckedDelivery]
) -> dict[str, dict[str, str]]:
    """Stop when a column outside the contract changes its type between files or since an earlier load.

    Returns:
        Table -> name in the warehouse -> dlt data type, of the columns that the warehouse does not have yet.
    """
    rows = connection.execute(
        f"select table_name, column_name, data_type from information_schema.columns where table_schema = 'raw_{name}'"
    ).fetchall()
    dlt_types = {sql: kind for kind, sql in SQL_TYPES.items()}
    earlier = {(table, column): dlt_types.get(kind, kind.lower()) for table, column, kind in rows}
    seen: dict[tuple[str, str], tuple[str, str, str]] = {}
    for one in checked:
        for landed_name, kind in one.new_columns.items():
            column = (one.delivery.table.name, stored_name(landed_name))
            first, spelled, where = seen.setdefault(column, (kind, landed_name, one.delivery.landed_file))
            before, then = (earlier[column], "an earlier load") if column in earlier else (first, where)
            if before != kind:
                raise LandingError(
                    f"{one.delivery.path}: column {landed_name} has type {kind}, in {then} it was {before}. "
                    "Have the file sent again with one type; nothing was loaded."
                )
            if spelled != landed_name:
                raise LandingError(
                    f"{one.delivery.path}: column {landed_name} is named {spelled} in {where}. "
                    "Have the file sent again with one name; nothing was loaded."
                )
    let_in: dict[str, dict[str, str]] = {}
    for (table, stored), (kind, _, _) in seen.items():
        if (table, stored) not in earlier:
            let_in.setdefault(table, {})[stored] = kind
    return let_in


def _explained(error: BaseException) -> LandingError:
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    # DuckDB adds the statement below its first line.
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    places = warehouse.paths()
    if "No space left" in said or "File too large" in said or "Disk quota" in said:
        return LandingError(f"the disk is full: {said}. Free some space below {places.root} and run again.")
    return LandingError(
        f"{said}. Nothing of this load counts; run again. If that does not help, remove {places.warehouse}: "
        "it is rebuilt from the files that are still landed."
    )


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
    if (report.name, delivery.landed_file) in ledger:
        report.files_replaced.append(delivery.landed_file)


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return connection.sql(f"select count(*) from {table}").fetchall()[0][0]


def _prove_arrival(connection: duckdb.DuckDBPyConnection, name: str, tables: Sequence[LandedTable]) -> None:
    """Compare the ledger with the rows of the day files: what was delivered must be there.

    Only each file's newest delivery is judged: a file replaced while it is loaded is put right by its next delivery.
    """
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
            where
                deliveries.table_name = '{table.name}'
                and deliveries.row_count <> coalesce(arrived.row_count, 0)
                and (deliveries.landed_file, deliveries._dlt_load_id) in (
                    select (landed_file, max(_dlt_load_id)) from raw_{name}.{DELIVERIES} group by landed_file
                )
            order by 1
            """
        ).fetchall()
        if lost:
            landed_file, delivered, arrived = lost[0]
            raise LandingError(
                f"raw_{name}.{table.name} lost rows: {landed_file} was delivered with {delivered:,} rows, {arrived:,} "
                f"are in the warehouse ({len(lost)} such files). Remove {warehouse.paths().warehouse} and run again: "
                "it is rebuilt from the files that are still landed."
            )

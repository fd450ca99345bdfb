"""dlt resources for landed files: SELECTs that DuckDB runs by itself, so that no row passes through Python."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.extract import DltResource

from ingestion.file_checks import CheckedDelivery, LandedTable
from ingestion.pipeline import declared, hints, no_rows
from ingestion.raw_tables import DELIVERY, QUARANTINE, QUARANTINE_COLUMNS
from warehouse.sql import quote_list, quote_name, quote_text

# Files handed to DuckDB in one statement: bounds the statement's length, and what one transaction holds.
FILES_PER_STATEMENT = 1000


def resources(tables: Sequence[LandedTable], deliveries: Sequence[CheckedDelivery]) -> list[DltResource]:
    """Make one dlt resource per raw table.

    Args:
        tables: the source's tables.
        deliveries: the checked files to load; a table without one is only declared.
    """
    loaded = [_table(table, [d for d in deliveries if d.delivery.table == table]) for table in tables]
    return [*loaded, _quarantine(deliveries)] if any(table.has_quarantine for table in tables) else loaded


def _table(table: LandedTable, deliveries: Sequence[CheckedDelivery]) -> DltResource:
    if not deliveries:
        return declared(table.name, {**table.columns, DELIVERY: "text"})
    new_columns = {name: kind for checked in deliveries for name, kind in checked.new_columns.items()}
    return dlt.resource(
        _selects(deliveries),
        name=table.name,
        columns=hints({**table.columns, **new_columns, DELIVERY: "text"}),
        write_disposition="append",
        file_format="model",
    )


def _quarantine(deliveries: Sequence[CheckedDelivery]) -> DltResource:
    columns = {**QUARANTINE_COLUMNS, DELIVERY: "text"}
    rows = [
        {"table_name": checked.delivery.table.name, **vars(row), DELIVERY: checked.delivery.name}
        for checked in deliveries
        for row in checked.bad_rows
    ]
    return dlt.resource(
        iter([pa.Table.from_pylist(rows, schema=no_rows(columns).schema)]),
        name=QUARANTINE,
        columns=hints(columns),
        write_disposition="append",
        file_format="parquet",
    )


def _selects(deliveries: Sequence[CheckedDelivery]) -> Iterator[Any]:
    """Hand the files over: those with the same columns in one statement."""
    alike: dict[tuple[tuple[str, str], ...], list[CheckedDelivery]] = {}
    for checked in deliveries:
        alike.setdefault(tuple(checked.values.items()), []).append(checked)
    for values, files in alike.items():
        for start in range(0, len(files), FILES_PER_STATEMENT):
            batch = files[start : start + FILES_PER_STATEMENT]
            paths = quote_list([str(checked.path) for checked in batch])
            names = ", ".join(
                f"({quote_text(str(checked.path))}, {quote_text(checked.delivery.name)})" for checked in batch
            )
            select = (
                f"select {', '.join(f'{value} as {quote_name(name)}' for name, value in values)}, "
                f"files.delivery as {quote_name(DELIVERY)} "
                f"from read_parquet({paths}, filename = '{DELIVERY}_path', union_by_name = true, "
                "hive_partitioning = false) as landed "
                f"join (values {names}) as files(path, delivery) on landed.{DELIVERY}_path = files.path"
            )
            with tempfile.TemporaryDirectory() as folder:
                model = Path(folder) / "rows.model"
                model.write_text(f"dialect: duckdb\n{select}\n", encoding="utf-8")
                yield dlt.mark.with_file_import(str(model), "model", sum(checked.row_count for checked in batch))

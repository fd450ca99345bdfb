"""dlt resources for landed files: customers and products kept by key, purchases as whole day files."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.extract import DltResource

from ingestion.file_checks import CheckedDelivery, LandedTable
from ingestion.pipeline import hints, no_rows
from ingestion.raw_tables import LANDED_FILE
from warehouse.sql import quote_list, quote_name, quote_text

# Files handed to DuckDB in one statement: bounds the statement's length, and what one transaction holds.
FILES_PER_STATEMENT = 1000


def resources(tables: Sequence[LandedTable], deliveries: Sequence[CheckedDelivery]) -> list[DltResource]:
    """Make one dlt resource per raw table.

    Args:
        tables: the source's tables.
        deliveries: the checked files to load; a table without one is only declared.
    """
    return [_table(table, [d for d in deliveries if d.delivery.table == table]) for table in tables]


def _table(table: LandedTable, deliveries: Sequence[CheckedDelivery]) -> DltResource:
    new_columns = {name: kind for checked in deliveries for name, kind in checked.new_columns.items()}
    columns = hints({**table.columns, **new_columns, LANDED_FILE: "text"})
    rows = _day_files if table.is_daily else _whole_file
    if table.key is None:
        return dlt.resource(
            rows(table, deliveries),
            name=table.name,
            columns=columns,
            write_disposition="append",
            # Without a file there is no SELECT either, and dlt writes an empty table in no such format.
            file_format="model" if table.is_daily and deliveries else "parquet",
        )
    # merge_key and not primary_key: all rows of a key are replaced by all that the new file has for it. dlt would
    # silently drop all but one row of a primary key; that a key is repeated is for the models to reject.
    columns[table.key]["merge_key"] = True
    return dlt.resource(
        rows(table, deliveries),
        name=table.name,
        columns=columns,
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        file_format="parquet",
    )


def _whole_file(table: LandedTable, deliveries: Sequence[CheckedDelivery]) -> Iterator[Any]:
    if not deliveries:
        yield no_rows({**table.columns, LANDED_FILE: "text"})
    for checked in deliveries:
        assert checked.data is not None, "a CSV file is read when it is checked"
        name = pa.array([checked.delivery.landed_file] * checked.row_count, pa.string())
        yield checked.data.append_column(LANDED_FILE, name)


def _day_files(table: LandedTable, deliveries: Sequence[CheckedDelivery]) -> Iterator[Any]:
    """Hand the files over as one SELECT that DuckDB runs by itself: no row passes through Python."""
    if not deliveries:
        yield no_rows({**table.columns, LANDED_FILE: "text"})
    for start in range(0, len(deliveries), FILES_PER_STATEMENT):
        batch = deliveries[start : start + FILES_PER_STATEMENT]
        new_columns = {name for checked in batch for name in checked.new_columns}
        columns = [*table.columns, *sorted(new_columns)]
        paths = quote_list([str(checked.delivery.path) for checked in batch])
        names = ", ".join(
            f"({quote_text(str(checked.delivery.path))}, {quote_text(checked.delivery.landed_file)})"
            for checked in batch
        )
        select = (
            f"select {', '.join(f'landed.{quote_name(name)}' for name in columns)}, "
            f"files.landed_file as {quote_name(LANDED_FILE)} "
            f"from read_parquet({paths}, filename = '_landed_path', union_by_name = true, "
            "hive_partitioning = false) as landed "
            f"join (values {names}) as files(path, landed_file) on landed._landed_path = files.path"
        )
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "day_files.model"
            model.write_text(f"dialect: duckdb\n{select}\n", encoding="utf-8")
            yield dlt.mark.with_file_import(str(model), "model", sum(checked.row_count for checked in batch))

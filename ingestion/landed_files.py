"""dlt resources for files that a shop lands: customers and products kept by key, purchases as whole day files."""

import datetime as dt
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from dlt.common.schema.typing import TSchemaContractDict
from dlt.extract import DltResource

from ingestion.contracts import CheckedDelivery, LandedTable, sql_name, sql_text

# A new column is let in; a changed type stops the load.
SCHEMA_CONTRACT: TSchemaContractDict = {"tables": "evolve", "columns": "evolve", "data_type": "freeze"}

# The file a row came in; with `_dlt_load_id` it names the delivery.
LANDED_FILE = "_landed_file"

DELIVERIES = "deliveries"
DELIVERY_COLUMNS: Mapping[str, str] = {
    "table_name": "text",
    "landed_file": "text",
    "sha256": "text",
    "row_count": "bigint",
    "delivered_at": "timestamp",
}

ARROW_TYPES = {
    "bigint": pa.int64(),
    "double": pa.float64(),
    "text": pa.string(),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "bool": pa.bool_(),
}

# Files handed to DuckDB in one statement: bounds the statement's length, and what one transaction holds.
FILES_PER_STATEMENT = 1000


def resources(tables: Sequence[LandedTable], deliveries: Sequence[CheckedDelivery]) -> list[DltResource]:
    """Make one dlt resource per raw table, and one for the ledger of deliveries.

    The ledger `deliveries` has one row per file and version that was ever loaded. It decides which files are new,
    which version of a day counts, and how many rows must have arrived.

    Args:
        tables: the source's tables.
        deliveries: the checked files to load; a table without one is only declared.
    """
    made = [_table(table, [d for d in deliveries if d.delivery.table == table]) for table in tables]
    return [*made, _ledger(deliveries)]


def _table(table: LandedTable, deliveries: Sequence[CheckedDelivery]) -> DltResource:
    new_columns = {name: kind for checked in deliveries for name, kind in checked.new_columns.items()}
    columns = _hints({**table.columns, **new_columns, LANDED_FILE: "text"})
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
    # drop all but one row of a primary key in silence; that a key is repeated is for the models to reject.
    columns[table.key]["merge_key"] = True
    return dlt.resource(
        rows(table, deliveries),
        name=table.name,
        columns=columns,
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        file_format="parquet",
    )


def _hints(columns: Mapping[str, str]) -> dict[str, Any]:
    hints: dict[str, Any] = {
        name: {"name": name, "data_type": kind, "nullable": True} for name, kind in columns.items()
    }
    for hint in hints.values():
        if hint["data_type"] == "timestamp":
            # As landed: a shop's clock, no time zone. dlt would take it as UTC.
            hint["timezone"] = False
    return hints


def _whole_file(table: LandedTable, deliveries: Sequence[CheckedDelivery]) -> Iterator[Any]:
    if not deliveries:
        yield _no_rows({**table.columns, LANDED_FILE: "text"})
    for checked in deliveries:
        assert checked.data is not None, "a CSV file is read when it is checked"
        name = pa.array([checked.delivery.landed_file] * checked.row_count, pa.string())
        yield checked.data.append_column(LANDED_FILE, name)


def _day_files(table: LandedTable, deliveries: Sequence[CheckedDelivery]) -> Iterator[Any]:
    """Hand the files over as one SELECT that DuckDB runs by itself: no row passes through Python."""
    if not deliveries:
        yield _no_rows({**table.columns, LANDED_FILE: "text"})
    for start in range(0, len(deliveries), FILES_PER_STATEMENT):
        batch = deliveries[start : start + FILES_PER_STATEMENT]
        new_columns = {name for checked in batch for name in checked.new_columns}
        columns = [*table.columns, *sorted(new_columns)]
        paths = ", ".join(sql_text(str(checked.delivery.path)) for checked in batch)
        names = ", ".join(
            f"({sql_text(str(checked.delivery.path))}, {sql_text(checked.delivery.landed_file)})" for checked in batch
        )
        select = (
            f"select {', '.join(f'landed.{sql_name(name)}' for name in columns)}, "
            f"files.landed_file as {sql_name(LANDED_FILE)} "
            f"from read_parquet([{paths}], filename = '_landed_path', union_by_name = true, "
            "hive_partitioning = false) as landed "
            f"join (values {names}) as files(path, landed_file) on landed._landed_path = files.path"
        )
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "day_files.model"
            model.write_text(f"dialect: duckdb\n{select}\n", encoding="utf-8")
            yield dlt.mark.with_file_import(str(model), "model", sum(checked.row_count for checked in batch))


def _ledger(deliveries: Sequence[CheckedDelivery]) -> DltResource:
    def rows() -> Iterator[Any]:
        if not deliveries:
            yield _no_rows(DELIVERY_COLUMNS)
            return
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        yield pa.Table.from_pylist(
            [
                {
                    "table_name": checked.delivery.table.name,
                    "landed_file": checked.delivery.landed_file,
                    "sha256": checked.delivery.sha256,
                    "row_count": checked.row_count,
                    "delivered_at": now,
                }
                for checked in deliveries
            ],
            schema=_arrow_schema(DELIVERY_COLUMNS),
        )

    return dlt.resource(
        rows,
        name=DELIVERIES,
        columns=_hints(DELIVERY_COLUMNS),
        write_disposition="append",
        file_format="parquet",
    )


def _no_rows(columns: Mapping[str, str]) -> pa.Table:
    """Declare a table that gets no rows. dlt's own mark for it would add a `_dlt_id` that Arrow rows do not have."""
    return _arrow_schema(columns).empty_table()


def _arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    return pa.schema([(name, ARROW_TYPES[kind]) for name, kind in columns.items()])

"""What a type of a raw column is called: by dlt, by DuckDB and by Arrow."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class ColumnType:
    """One type under its three names.

    Attributes:
        dlt: the name that sources declare.
        duckdb: the type of the column in the raw table.
        arrow: the type in memory.
    """

    dlt: str
    duckdb: str
    arrow: pa.DataType


TYPES = {
    column_type.dlt: column_type
    for column_type in (
        ColumnType("bigint", "BIGINT", pa.int64()),
        ColumnType("double", "DOUBLE", pa.float64()),
        ColumnType("text", "VARCHAR", pa.string()),
        # As the shop's clock said, without a time zone.
        ColumnType("timestamp", "TIMESTAMP", pa.timestamp("us")),
        ColumnType("date", "DATE", pa.date32()),
        ColumnType("bool", "BOOLEAN", pa.bool_()),
    )
}


def of_duckdb(name: str) -> str:
    """Say what dlt calls a type of DuckDB.

    Args:
        name: DuckDB's name.

    Returns:
        dlt's name; for a type that no source can declare, DuckDB's own in lower case.
    """
    return next((column_type.dlt for column_type in TYPES.values() if column_type.duckdb == name), name.lower())


def of_arrow(arrow: pa.DataType) -> str | None:
    """Say what dlt calls a type of Arrow, such as that of a Parquet column.

    Args:
        arrow: the type; integers and floats of any width count as whole numbers and doubles.

    Returns:
        dlt's name; None for a type that no source can declare.
    """
    t = pa.types
    if t.is_dictionary(arrow):
        return of_arrow(arrow.value_type)
    known = {
        "bigint": t.is_integer(arrow) and arrow != pa.uint64(),
        "double": t.is_floating(arrow),
        "text": t.is_string(arrow) or t.is_large_string(arrow),
        "timestamp": t.is_timestamp(arrow) and arrow.tz is None,
        "date": t.is_date(arrow),
        "bool": t.is_boolean(arrow),
    }
    return next((name for name, is_it in known.items() if is_it), None)

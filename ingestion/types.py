"""What a type of a raw column is called: by those who declare it, by dlt, by DuckDB and by Arrow."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class ColumnType:
    """One type under its names.

    Attributes:
        name: the name that sources declare.
        duckdb: the type of the column in the raw table.
        arrow: the type in memory.
        hint: what dlt is told of the type.
    """

    name: str
    duckdb: str
    arrow: pa.DataType
    hint: Mapping[str, Any]


class _Types(dict[str, ColumnType]):
    """The types by name; decimal(p,s) is made when it is asked for."""

    def __missing__(self, name: str) -> ColumnType:
        digits = re.fullmatch(r"decimal\((\d+), ?(\d+)\)", name)
        precision, scale = (int(digits[1]), int(digits[2])) if digits else (0, 0)
        if not max(scale, 1) <= precision <= 38:
            raise KeyError(f"there is no type {name!r}: use {', '.join(self)} or decimal(p,s) of at most 38 digits")
        return ColumnType(
            f"decimal({precision},{scale})",
            f"DECIMAL({precision},{scale})",
            pa.decimal128(precision, scale),
            {"data_type": "decimal", "precision": precision, "scale": scale},
        )


TYPES = _Types(
    (column_type.name, column_type)
    for column_type in (
        ColumnType("bigint", "BIGINT", pa.int64(), {"data_type": "bigint"}),
        ColumnType("double", "DOUBLE", pa.float64(), {"data_type": "double"}),
        ColumnType("text", "VARCHAR", pa.string(), {"data_type": "text"}),
        # As the shop's clock said, without a time zone: dlt would take it as UTC.
        ColumnType("timestamp", "TIMESTAMP", pa.timestamp("us"), {"data_type": "timestamp", "timezone": False}),
        # A moment; the zone that it was written in is not kept.
        ColumnType(
            "timestamp with time zone",
            "TIMESTAMP WITH TIME ZONE",
            pa.timestamp("us", "UTC"),
            {"data_type": "timestamp", "timezone": True},
        ),
        ColumnType("date", "DATE", pa.date32(), {"data_type": "date"}),
        ColumnType("time", "TIME", pa.time64("us"), {"data_type": "time"}),
        ColumnType("bool", "BOOLEAN", pa.bool_(), {"data_type": "bool"}),
        ColumnType("binary", "BLOB", pa.binary(), {"data_type": "binary"}),
        ColumnType("json", "JSON", pa.string(), {"data_type": "json"}),
    )
)


def of_duckdb(name: str) -> str:
    """Say what sources call a type of DuckDB.

    Args:
        name: DuckDB's name.

    Returns:
        The declared name; for a type that no source can declare, DuckDB's own in lower case.
    """
    return next((column_type.name for column_type in TYPES.values() if column_type.duckdb == name), name.lower())


def of_arrow(arrow: pa.DataType) -> str | None:
    """Say what sources call a type of Arrow, such as that of a Parquet column.

    Args:
        arrow: the type; integers and floats of any width count as whole numbers and doubles.

    Returns:
        The declared name; None for a type that is not read from files.
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

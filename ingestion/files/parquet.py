"""Parquet files: their columns and types by the footer, then every value read once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.files.text import MAGIC, SEND_AGAIN, shorten
from ingestion.files.values import years
from ingestion.raw_tables import LoadError
from ingestion.types import TYPES, of_arrow
from warehouse.connections import in_memory
from warehouse.sql import quote_name, quote_text


def footer(path: Path, shown: Path) -> tuple[pa.Schema, int]:
    """Read what a Parquet file says about itself.

    Args:
        path: the file, unpacked.
        shown: the file's name for messages.

    Returns:
        Its columns, and the number of its rows.

    Raises:
        LoadError: it is no complete Parquet file.
    """
    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        size = path.stat().st_size
        with path.open("rb") as damaged:
            first = damaged.read(4)
        another = next((kind for magic, (kind, _ending) in MAGIC.items() if first.startswith(magic)), "a Parquet file")
        if another != "a Parquet file":
            raise LoadError(
                f"{shown} is {another} by its content. Have it sent with the name of one, and declare such files; "
                "nothing was loaded."
            ) from error
        problem = "is empty (0 bytes)" if size == 0 else f"is not a complete Parquet file ({size:,} bytes)"
        raise LoadError(f"{shown} {problem}. {SEND_AGAIN}") from error


def check_types(shown: Path, schema: pa.Schema, declared: Mapping[str, str]) -> dict[str, str]:
    """Compare the types of a file's columns with the declared ones.

    Args:
        shown: the file's name for messages.
        schema: the file's columns.
        declared: name in the file to declared type, of the declared columns.

    Returns:
        Name in the file to type, of the other columns. One without a type (it has no value yet) is left out.

    Raises:
        LoadError: a column has another type.
    """
    others = {}
    for column in schema:
        wanted = declared.get(column.name)
        if pa.types.is_null(column.type):
            continue
        if wanted is None:
            others[column.name] = of_arrow(column.type) or "text"
        elif not _is(column.type, wanted):
            raise LoadError(
                f"{shown}: column {column.name} has type {column.type}, but the source declares {wanted}. "
                "Have the file sent again with that type, or change what the source declares "
                "(CONTRIBUTING.md, 'When a source changes'); nothing was loaded."
            )
    return others


def _is(arrow: pa.DataType, wanted: str) -> bool:
    t = pa.types
    if wanted.startswith("decimal"):
        # Fewer digits on either side of the decimal sign fit.
        precision, scale = TYPES[wanted].arrow.precision, TYPES[wanted].arrow.scale
        fits = t.is_decimal(arrow) and arrow.scale <= scale and arrow.precision - arrow.scale <= precision - scale
        return bool(fits)
    others = {
        "timestamp with time zone": t.is_timestamp(arrow) and arrow.tz is not None,
        "time": t.is_time(arrow),
        "binary": t.is_binary(arrow) or t.is_large_binary(arrow) or t.is_fixed_size_binary(arrow),
        "json": of_arrow(arrow) == "text",
    }
    return bool(others.get(wanted, of_arrow(arrow) == wanted))


def selected(schema: pa.Schema, name: str, kind: str) -> str:
    """SQL for a column of `landed` as it is loaded.

    Args:
        schema: the file's columns.
        name: the column in the file.
        kind: its declared type, or for a new column `text` where sources can declare no type like its own.
    """
    arrow = schema.field(name).type
    if kind == "text" and pa.types.is_nested(arrow) and not pa.types.is_dictionary(arrow):
        return f"cast(to_json(landed.{quote_name(name)}) as varchar)"
    return f"cast(landed.{quote_name(name)} as {TYPES[kind].duckdb})"


def read_every_value(
    path: Path, shown: Path, values: Mapping[str, str], kinds: Mapping[str, str], row_count: int
) -> None:
    """Read all that will be loaded, so that what is damaged shows before a row is written.

    Args:
        path: the file, unpacked.
        shown: the file's name for messages.
        values: column to SQL for its value.
        kinds: column to its type.
        row_count: rows by the footer.

    Raises:
        LoadError: a value cannot be read, or is a date or timestamp outside the years 1 to 9999; the message names the
            column.
    """
    source = f"read_parquet({quote_text(str(path))}, hive_partitioning = false) as landed"
    dated = [name for name in values if kinds[name].startswith(("date", "timestamp"))]
    outside = {name: _outside(values[name], kinds[name]) for name in dated}
    with in_memory().cursor() as connection:

        def read(names: Sequence[str]) -> tuple[Any, ...]:
            examples = [
                f"any_value(case when {outside[name]} then cast({values[name]} as varchar) end)"
                for name in names
                if name in outside
            ]
            digests = [f"max(hash({values[name]}))" for name in names]
            query = f"select {', '.join(['count(*)', *examples, *digests])} from {source}"
            return connection.execute(query).fetchall()[0][: 1 + len(examples)]

        try:
            found, *examples = read(list(values))
        except duckdb.Error as error:
            for name in values:
                try:
                    read([name])
                except duckdb.Error as of_column:
                    raise _unreadable(shown, of_column, f"column {name} ") from of_column
            raise _unreadable(shown, error) from error
        if found != row_count:
            raise LoadError(f"{shown} says that it has {row_count:,} rows, but {found:,} can be read. {SEND_AGAIN}")
        for name, example in zip(dated, examples, strict=True):
            if example is not None:
                raise LoadError(f"{shown}: column {name} holds {example}, outside the years 1 to 9999. {SEND_AGAIN}")


def _outside(value: str, kind: str) -> str:
    first, end = years(kind)
    return f"{value} < {first} or {value} >= {end}"


def _unreadable(shown: Path, error: duckdb.Error, what: str = "") -> LoadError:
    reason = shorten(str(error).strip().splitlines()[0])
    return LoadError(f"{shown}: {what}cannot be read ({reason}). {SEND_AGAIN}")

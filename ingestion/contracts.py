"""The raw contract: what a landed file must look like, checked before a single row is written.

A new column is let in and reported. A missing column, a changed type or a damaged file stops the load with the
file's name and the way out, and the warehouse stays as it was.
"""

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

# dlt's names for types, and what the same thing is called in a CSV reader of DuckDB.
SQL_TYPES = {
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "text": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    "bool": "BOOLEAN",
}

UNFINISHED_SUFFIXES = (".tmp", ".part", ".partial", ".crdownload", ".filepart")


class LandingError(Exception):
    """The landed files cannot be loaded; the message names the file, what is wrong and the way out."""


@dataclass(frozen=True)
class LandedTable:
    """What one raw table expects of its landed files.

    Attributes:
        name: the raw table, and the dlt resource.
        pattern: the files below the source's landing folder, as a glob; `*.parquet` means one file per day.
        columns: column name to dlt data type, as the source is known to send them.
        key: the column whose newest row replaces the older ones; None keeps every row of every delivery.
    """

    name: str
    pattern: str
    columns: Mapping[str, str]
    key: str | None = None

    @property
    def is_daily(self) -> bool:
        """Whether the table arrives as one file per day."""
        return "*" in self.pattern


@dataclass(frozen=True)
class Delivery:
    """One landed file, as it is now.

    Attributes:
        table: the raw table that the file feeds.
        path: where the file stands.
        landed_file: its name below the landing folder, with forward slashes.
        sha256: hex digest of its bytes: a file sent again unchanged is no new delivery.
    """

    table: LandedTable
    path: Path
    landed_file: str
    sha256: str


@dataclass(frozen=True)
class CheckedDelivery:
    """A delivery that keeps the contract.

    Attributes:
        delivery: the file.
        row_count: rows in it.
        new_columns: columns that the contract does not know, with their dlt data type.
        data: the rows, where checking meant reading them (CSV); None for Parquet, which DuckDB loads by itself.
    """

    delivery: Delivery
    row_count: int
    new_columns: Mapping[str, str] = field(default_factory=dict)
    data: pa.Table | None = None


def find_deliveries(folder: Path, tables: Sequence[LandedTable]) -> list[Delivery]:
    """List the landed files of a source.

    Args:
        folder: the source's landing folder.
        tables: what is expected there.

    Returns:
        The deliveries in the order of `tables`, day files by day.

    Raises:
        LandingError: the folder or a table's files are missing, or a day file's name is not its day.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        state = "is empty" if folder.is_dir() else "does not exist"
        raise LandingError(
            f"{folder} {state}. Put the source's files there, or land the sample shop: "
            "uv run --group sample python -m ingestion.sample_shop"
        )
    found = []
    for table in tables:
        files = sorted(
            path
            for path in folder.glob(table.pattern)
            if path.is_file() and not path.name.startswith(".") and not path.name.endswith(UNFINISHED_SUFFIXES)
        )
        if not files:
            raise LandingError(f"{folder / table.pattern}: no such file. The table {table.name} is loaded from it.")
        for path in files:
            if table.is_daily and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", path.stem):
                raise LandingError(
                    f"{path}: a day file is named after its day, such as 2026-11-19{path.suffix}. "
                    "A corrected day replaces the file of the same name; rename or remove this one."
                )
            found.append(
                Delivery(
                    table,
                    path,
                    path.relative_to(folder).as_posix(),
                    hashlib.sha256(path.read_bytes()).hexdigest(),
                )
            )
    return found


def check(delivery: Delivery) -> CheckedDelivery:
    """Hold one landed file against its contract.

    Args:
        delivery: the file.

    Returns:
        The file with its row count, new columns and, for CSV, its rows.

    Raises:
        LandingError: the file is damaged, misses a column or has another type in one.
    """
    return _check_parquet(delivery) if delivery.path.suffix == ".parquet" else _check_csv(delivery)


def _check_parquet(delivery: Delivery) -> CheckedDelivery:
    path, declared = delivery.path, delivery.table.columns
    try:
        with pq.ParquetFile(path) as file:
            schema, row_count = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        size = path.stat().st_size
        what = "is empty (0 bytes)" if size == 0 else f"is no whole Parquet file ({size:,} bytes): {error}"
        raise LandingError(f"{path} {what}. Have it sent again; nothing was loaded.") from error
    _no_column_missing(path, declared, schema.names)
    new_columns = {}
    for column in schema:
        arrived = _dlt_type(column.type)
        wanted = declared.get(column.name)
        if wanted is None:
            new_columns[column.name] = arrived or "text"
        elif arrived != wanted and not pa.types.is_null(column.type):
            raise LandingError(
                f"{path}: column {column.name} has type {column.type}, the contract says {wanted}. "
                "Have the file sent again with the old type, or change the type in the source's contract "
                "(CONTRIBUTING.md, 'When a source changes'); nothing was loaded."
            )
    return CheckedDelivery(delivery, row_count, new_columns)


def _check_csv(delivery: Delivery) -> CheckedDelivery:
    path, declared = delivery.path, delivery.table.columns
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except UnicodeDecodeError as error:
        raise _unknown_encoding(path) from error
    if not header:
        raise LandingError(f"{path} is empty: not even a header line. Have it sent again; nothing was loaded.")
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise LandingError(
            f"{path}: the header names {', '.join(sorted(repeated))} more than once; nothing was loaded."
        )
    _no_column_missing(path, declared, header)
    new_columns = {name: "text" for name in header if name not in declared}
    types = {name: SQL_TYPES[declared.get(name, "text")] for name in header}
    with duckdb.connect() as reader:
        try:
            data = reader.execute(
                "select * from read_csv(?, columns = ?, header = true, delim = ',', quote = '\"', escape = '\"', "
                "auto_detect = false, null_padding = false, strict_mode = true)",
                [str(path), types],
            ).to_arrow_table()
        except duckdb.Error as error:
            raise _unreadable_csv(path, str(error)) from error
    return CheckedDelivery(delivery, data.num_rows, new_columns, data)


def _no_column_missing(path: Path, declared: Mapping[str, str], arrived: Sequence[str]) -> None:
    missing = [name for name in declared if name not in arrived]
    if missing:
        raise LandingError(
            f"{path}: column {', '.join(missing)} is missing (the file has: {', '.join(arrived)}). "
            "Have it sent again; nothing was loaded."
        )


def _unknown_encoding(path: Path) -> LandingError:
    return LandingError(f"{path} is not UTF-8. Save it as UTF-8 (iconv -f latin1 -t utf-8); nothing was loaded.")


def _unreadable_csv(path: Path, message: str) -> LandingError:
    if "unicode" in message.lower() or "utf-8" in message.lower():
        return _unknown_encoding(path)
    line = re.search(r"Line: (\d+)", message)
    original = re.search(r"Original Line: (.*)", message)
    column = re.search(r"Error when converting column \"([^\"]+)\"", message)
    reason = re.search(r"Could not convert string .*|Expected Number of Columns.*|.*[Qq]uote.*", message)
    where = f"{path}, line {line[1]}" if line else str(path)
    if column:
        where += f", column {column[1]}"
    detail = (reason[0] if reason else message.strip().splitlines()[0]).strip().rstrip(".")
    shown = f" The line reads: {original[1].strip()[:200]}" if original else ""
    return LandingError(f"{where}: {detail}.{shown} Have it sent again; nothing was loaded.")


def _dlt_type(arrow_type: pa.DataType) -> str | None:
    """dlt's name for a Parquet column's type; None for what no contract can declare."""
    t = pa.types
    if t.is_integer(arrow_type) and arrow_type != pa.uint64():
        return "bigint"
    if t.is_floating(arrow_type):
        return "double"
    if t.is_string(arrow_type) or t.is_large_string(arrow_type):
        return "text"
    if t.is_dictionary(arrow_type):
        return _dlt_type(arrow_type.value_type)
    if t.is_timestamp(arrow_type) and arrow_type.tz is None:
        return "timestamp"
    if t.is_date(arrow_type):
        return "date"
    if t.is_boolean(arrow_type):
        return "bool"
    return None

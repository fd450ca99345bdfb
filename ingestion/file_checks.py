"""What a landed file must look like, checked before a single row is written.

A new column is loaded and reported. A missing column, a changed type or a damaged file stops the load with the file's
name and the way out, and the warehouse stays as it was.
"""

import csv
import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.raw_tables import RESERVED_PREFIXES, LoadError, RawTable, stored_name
from ingestion.types import TYPES, of_arrow
from warehouse.sql import quote_name

UNFINISHED_SUFFIXES = (".tmp", ".part", ".partial", ".crdownload", ".filepart")


@dataclass(frozen=True)
class LandedTable(RawTable):
    """A raw table, and the files that feed it.

    Attributes:
        pattern: the files below the source's landing folder, as a glob; `*.parquet` means one file per day.
    """

    pattern: str = field(kw_only=True)

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
    """A delivery that is as declared.

    Attributes:
        delivery: the file.
        row_count: rows in it.
        new_columns: columns that the source does not declare, with their dlt data type.
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
        LoadError: the folder or a table's files are missing, or a day file's name is not its day.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        state = "is empty" if folder.is_dir() else "does not exist"
        raise LoadError(
            f"{folder} {state}. Put the source's files there, or land the sample shop: "
            "uv run --group sample python -m ingestion.sample_shop"
        )
    deliveries = []
    for table in tables:
        files = sorted(path for path in folder.glob(table.pattern) if path.is_file() and is_finished(path))
        if not files:
            raise LoadError(f"there is no file {folder / table.pattern}, from which the table {table.name} is loaded.")
        for path in _strangers(folder, table, files):
            raise LoadError(
                f"{path} does not match {table.pattern}, so it would never be loaded. Rename it, or move it out of the "
                "folder."
            )
        for path in files:
            if table.is_daily and not _is_day(path.stem):
                raise LoadError(
                    f"{path}: a day file must be named after its day, such as 2026-11-19{path.suffix}. "
                    "Rename or remove it. A corrected day replaces the file of the same name."
                )
            deliveries.append(Delivery(table, path, path.relative_to(folder).as_posix(), _sha256(path)))
    return deliveries


def is_finished(path: Path) -> bool:
    """Tell whether a file is there as a whole, and not still being uploaded or written.

    Args:
        path: the file; only its name is looked at.

    Returns:
        False for hidden files and the usual endings of unfinished uploads.
    """
    return not path.name.startswith(".") and not path.name.endswith(UNFINISHED_SUFFIXES)


def check(delivery: Delivery) -> CheckedDelivery:
    """Compare one landed file with what its source declares.

    Args:
        delivery: the file.

    Returns:
        The file with its row count, new columns and, for CSV, its rows.

    Raises:
        LoadError: the file is damaged, lacks a column or has another type in one.
    """
    return _check_parquet(delivery) if delivery.path.suffix == ".parquet" else _check_csv(delivery)


def _strangers(folder: Path, table: LandedTable, files: Sequence[Path]) -> list[Path]:
    """Files among a table's day files that its pattern passes over, such as a day sent as CSV."""
    if not table.is_daily:
        return []
    neighbours = sorted((folder / table.pattern).parent.iterdir())
    return [path for path in neighbours if path.is_file() and is_finished(path) and path not in files]


def _is_day(name: str) -> bool:
    try:
        return dt.date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror}. Nothing was loaded.") from error


def _check_parquet(delivery: Delivery) -> CheckedDelivery:
    path, declared = delivery.path, delivery.table.columns
    try:
        with pq.ParquetFile(path) as file:
            schema, row_count = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        size = path.stat().st_size
        problem = "is empty (0 bytes)" if size == 0 else f"is not a complete Parquet file ({size:,} bytes)"
        raise LoadError(f"{path} {problem}. Have it sent again; nothing was loaded.") from error
    _check_names(path, declared, schema.names)
    new_columns = {}
    for column in schema:
        arrived = of_arrow(column.type)
        if column.name not in declared and pa.types.is_null(column.type):
            # No value and no type yet: loaded from the day on that says what it holds.
            continue
        wanted = declared.get(column.name)
        if wanted is None:
            new_columns[column.name] = arrived or "text"
        elif arrived != wanted and not pa.types.is_null(column.type):
            raise LoadError(
                f"{path}: column {column.name} has type {column.type}, but the source declares {wanted}. "
                "Have the file sent again with that type, or change what the source declares "
                "(CONTRIBUTING.md, 'When a source changes'); nothing was loaded."
            )
    return CheckedDelivery(delivery, row_count, new_columns)


def _check_csv(delivery: Delivery) -> CheckedDelivery:
    path, declared = delivery.path, delivery.table.columns
    header = _csv_header(path)
    _check_names(path, declared, header)
    new_columns = {name: "text" for name in header if name not in declared}
    typed = {name: kind for name, kind in declared.items() if kind != "text"}
    with duckdb.connect() as reader:
        try:
            reader.execute(
                "create table landed as from read_csv(?, columns = ?, header = true, delim = ',', quote = '\"', "
                "escape = '\"', auto_detect = false, null_padding = false, strict_mode = true)",
                [str(path), dict.fromkeys(header, "VARCHAR")],
            )
        except duckdb.Error as error:
            raise _unreadable_csv(path, len(header), str(error)) from error
        for name, kind in typed.items():
            _check_values(reader, path, name, kind)
        casts = ", ".join(
            f"cast({quote_name(name)} as {TYPES[kind].duckdb}) as {quote_name(name)}" for name, kind in typed.items()
        )
        data = reader.execute(f"select * {f'replace ({casts})' if casts else ''} from landed").to_arrow_table()
    return CheckedDelivery(delivery, data.num_rows, new_columns, data)


def _csv_header(path: Path) -> list[str]:
    try:
        line, header = next(_csv_records(path), (1, []))
    except UnicodeDecodeError as error:
        raise _unknown_encoding(path) from error
    if any("\0" in name for name in header):
        raise _unknown_encoding(path)
    if not header or line > 1:
        problem = "begins with an empty line" if header else "is empty"
        raise LoadError(f"{path} {problem}: there is no header line. Have it sent again; nothing was loaded.")
    return header


def _check_values(reader: duckdb.DuckDBPyConnection, path: Path, column: str, kind: str) -> None:
    """Stop at a value that is not of its column's type.

    DuckDB's own reader is not asked to: it silently rounds 2.5 to a whole number, and counts the lines of a file
    with line breaks in its texts wrongly.
    """
    value = quote_name(column)
    called = {"bigint": "whole number", "double": "number", "bool": "truth value"}.get(kind, kind)
    unfit = f"try_cast({value} as {TYPES[kind].duckdb}) is null"
    if kind == "bigint":
        unfit += f" or not regexp_full_match({value}, '\\s*[+-]?[0-9]+\\s*')"
    wrong = reader.execute(f"select {value} from landed where {value} is not null and ({unfit}) limit 1").fetchone()
    if wrong is None:
        return
    records = _csv_records(path)
    position = next(records)[1].index(column)
    line = next((line for line, row in records if row[position : position + 1] == [wrong[0]]), None)
    raise LoadError(
        f"{path}, line {line}, column {column}: {_shown(repr(wrong[0]))} is not a {called}. "
        "Have it sent again; nothing was loaded."
    )


def _csv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read a file with Python, slow but sure of its lines: the line that each record begins on, and its fields."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        line = 1
        try:
            for row in rows:
                if row:
                    yield line, row
                line = rows.line_num + 1
        except csv.Error as error:
            problem = "text follows a closing quote" if "expected after" in str(error) else "a quote is never closed"
            raise LoadError(f"{path}, line {line}: {problem}. Have it sent again; nothing was loaded.") from error


def _unknown_encoding(path: Path) -> LoadError:
    return LoadError(
        f"{path} is not UTF-8. Save it as UTF-8 (for a Western European file: iconv -f latin1 -t utf-8); "
        "nothing was loaded."
    )


def _unreadable_csv(path: Path, fields: int, message: str) -> LoadError:
    if "unicode" in message.lower() or "utf-8" in message.lower():
        return _unknown_encoding(path)
    try:
        wrong = next(((line, row) for line, row in _csv_records(path) if len(row) != fields), None)
    except LoadError as error:
        return error
    if wrong is None:
        first = message.strip().splitlines()[0]
        return LoadError(
            f"{path} cannot be read ({first}). All lines must end in the same way. "
            "Have it sent again; nothing was loaded."
        )
    line, row = wrong
    return LoadError(
        f"{path}, line {line}: {len(row)} fields where the header has {fields}. "
        f"The line reads: {_shown(','.join(row))}. Have it sent again; nothing was loaded."
    )


def _check_names(path: Path, declared: Mapping[str, str], arrived: Sequence[str]) -> None:
    missing = [name for name in declared if name not in arrived]
    if missing:
        raise LoadError(
            f"{path}: missing column {', '.join(missing)} (the file has: {_shown(', '.join(arrived))}). "
            "Have it sent again; nothing was loaded."
        )
    for position, name in enumerate(arrived, start=1):
        if not name.strip():
            raise LoadError(f"{path}: column {position} has no name. Have it sent again; nothing was loaded.")
    # Case aside, as DuckDB compares names so, and as stored: two columns must not end in one.
    for same in (str.casefold, stored_name):
        seen: dict[str, str] = {}
        for name in arrived:
            first = seen.get(same(name))
            if first is not None:
                twice = f"{name} appears more than once" if first == name else f"{first} has the same name as {name}"
                raise LoadError(
                    f"{path}: column {twice}. "
                    "Have the file sent again with a different name for each column; nothing was loaded."
                )
            seen[same(name)] = name
    reserved = [name for name in arrived if stored_name(name).startswith(RESERVED_PREFIXES)]
    if reserved:
        raise LoadError(
            f"{path}: column {', '.join(reserved)} has a name that is reserved for the loader. "
            "Have it sent again with another name; nothing was loaded."
        )


def _shown(text: str) -> str:
    """A piece of a file, fit for a message of one line."""
    text = " ".join(text.split())
    return f"{text[:200]} ..." if len(text) > 200 else text

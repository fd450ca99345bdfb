"""What a landed file must look like, checked before a single row is written.

A new column is loaded and reported. A missing column, a changed type, a wrong value or a damaged file stops the load
with the file's name and the way out, and the warehouse stays as it was.
"""

import datetime as dt
import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingestion.files import parquet
from ingestion.files.columns import check_names, check_no_header
from ingestion.files.conversion import Converted, WrongValue, convert
from ingestion.files.csv_rows import CsvRows
from ingestion.files.excel_rows import ExcelRows
from ingestion.files.formats import Csv, Excel, Format, JsonLines, Parquet, by_ending
from ingestion.files.json_rows import JsonRows
from ingestion.files.names import FileNames
from ingestion.files.rows import FileRows
from ingestion.files.suggestions import suggestion
from ingestion.files.text import SEND_AGAIN, UNDECODABLE, local_copy, shorten
from ingestion.files.values import called
from ingestion.raw_tables import DELIVERIES, QUARANTINE, LoadError, RawTable, stored_name
from ingestion.types import TYPES
from warehouse.sql import quote_name

UNFINISHED_SUFFIXES = (".tmp", ".part", ".partial", ".crdownload", ".filepart")

# Before the name of a delivery whose quarantined rows were corrected and replayed.
REPLAYED = "replayed/"

# DuckDB takes these in a name for a pattern.
NOT_FOR_DUCKDB = re.compile(r"['=%*?\[\]\n\r]")


@dataclass(frozen=True)
class Quarantine:
    """Says that bad rows of a table's files are set aside, and that the good ones are loaded.

    A bad row has a value that is not of its column's type, another number of fields than the header, bytes that are no
    text, or, in JSON lines, no object. It goes to `raw_<source>.quarantine` with its file, line, reason and text:

        LandedTable(name="orders", files="{date}.csv", columns={...}, quarantine=Quarantine(max_share=0.01))

    The source's yml then declares the table `quarantine` too, so that the models count its rows as rejected. Corrected
    rows are loaded by `python -m ingestion replay`. A quote that is wrong stops the load in any case, because where the
    next row begins is not known.

    Attributes:
        max_share: the share of a file's rows that may be bad, above 0 and below 1. A file with more stops the load.
    """

    max_share: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.max_share < 1:
            raise ValueError(f"max_share={self.max_share} must be above 0 and below 1")

    def allows(self, bad: int, total: int) -> bool:
        """Tell whether a file may be loaded without its bad rows.

        Args:
            bad: how many of its rows are bad.
            total: how many it has.
        """
        return bad == 0 or bad / total <= self.max_share


@dataclass(frozen=True)
class LandedTable(RawTable):
    """A raw table, and the files that feed it.

    Columns and key may be declared as the files spell them or as they are stored: `CustomerID` or `customer_id`.

    Attributes:
        files: the files below the source's landing folder (see `files.names.FileNames`). With `{date}` in it, one or
            more files per day, each a delivery of its own; without, a whole table: one file, or several parts of it.
        format: how the files are written; None: as their ending says, with the defaults of that format.
        day_column: the date or timestamp that says which day a row is of; with it, files are compared with their days
            (`day_rules`). None: they are not.
        day_shift: what is added to `day_column` before its date is taken: -4 hours where a day ends at four in the
            morning, one day where files are named after the day after.
        quarantine: whether bad rows are set aside; None: one bad row stops the load.
    """

    files: str = field(kw_only=True)
    format: Format | None = field(default=None, kw_only=True)
    day_column: str | None = field(default=None, kw_only=True)
    day_shift: dt.timedelta = field(default=dt.timedelta(), kw_only=True)
    quarantine: Quarantine | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.name in (DELIVERIES, QUARANTINE):
            raise ValueError(f"table {self.name}: the loader has a table of this name")
        columns = {stored_name(name): kind for name, kind in self.columns.items()}
        if len(columns) < len(self.columns):
            raise ValueError(f"table {self.name}: two columns are stored under one name ({', '.join(self.columns)})")
        object.__setattr__(self, "columns", columns)
        if self.key is not None:
            key = stored_name(self.key) if isinstance(self.key, str) else tuple(map(stored_name, self.key))
            object.__setattr__(self, "key", key)
            unknown = set(self.keys) - set(columns)
            if unknown:
                raise ValueError(f"table {self.name}: the key {', '.join(sorted(unknown))} is no declared column")
        if self.day_column is not None:
            object.__setattr__(self, "day_column", stored_name(self.day_column))
            if columns.get(stored_name(self.day_column), "").partition(" ")[0] not in ("date", "timestamp"):
                raise ValueError(f"table {self.name}: day_column {self.day_column} is no declared date or timestamp")
        if self.format is None:
            object.__setattr__(self, "format", by_ending(self.files))
        for name, kind in columns.items():
            try:
                TYPES[kind]
            except KeyError as error:
                raise ValueError(f"table {self.name}, column {name}: {error.args[0]}") from None
            if kind == "binary" and not isinstance(self.format, Parquet):
                raise ValueError(f"table {self.name}, column {name}: binary is for Parquet; declare it as text")
        if self.quarantine and isinstance(self.format, Parquet):
            raise ValueError(f"table {self.name}: Parquet files have no rows that can be wrong by themselves")
        FileNames(self.files)

    @property
    def names(self) -> FileNames:
        """The files' names."""
        return FileNames(self.files)

    @property
    def has_quarantine(self) -> bool:
        """Whether bad rows of it are set aside."""
        return self.quarantine is not None

    @property
    def is_daily(self) -> bool:
        """Whether the table arrives as files per day."""
        return self.names.is_dated


@dataclass(frozen=True)
class Delivery:
    """One landed file, as it is now.

    Attributes:
        table: the raw table that the file feeds.
        path: where the file stands.
        name: its name below the landing folder, with forward slashes: that of the delivery.
        digest: sha256 of its bytes, in hex: a file sent again unchanged is no new delivery.
        day: the day that the file is for; None for a file of a whole table.
    """

    table: LandedTable
    path: Path
    name: str
    digest: str
    day: dt.date | None = None


@dataclass(frozen=True)
class BadRow:
    """One row that is set aside.

    Attributes:
        line: the line that it begins on (Excel: its row).
        reason: what is wrong with it.
        raw_text: its text; what cannot be decoded is U+FFFD.
    """

    line: int
    reason: str
    raw_text: str


@dataclass(frozen=True)
class CheckedDelivery:
    """A delivery that is as declared.

    Attributes:
        delivery: the file.
        row_count: rows in it, without the bad ones.
        path: a Parquet file with its rows: itself, or what it was converted to.
        values: column, as stored, to SQL for its value in `landed`, which is that Parquet file.
        new_columns: columns, as stored, that the source does not declare, with their dlt data type.
        bad_rows: the rows that are set aside.
    """

    delivery: Delivery
    row_count: int
    path: Path
    values: Mapping[str, str]
    new_columns: Mapping[str, str] = field(default_factory=dict)
    bad_rows: Sequence[BadRow] = ()


def find_deliveries(
    folder: Path, tables: Sequence[LandedTable], all_tables: Sequence[LandedTable] = ()
) -> list[Delivery]:
    """List the landed files of a source.

    Args:
        folder: the source's landing folder.
        tables: what is expected there.
        all_tables: all tables of the source, whose files may stand in the same folders; none: `tables` are all.

    Returns:
        The deliveries in the order of `tables`, day files by day.

    Raises:
        LoadError: the folder or a table's files are missing, a file belongs to no table or to two (other than sheets of
            a workbook), or a day file's name is not its day.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        state = "is empty" if folder.is_dir() else "does not exist"
        raise LoadError(
            f"{folder} {state}. Put the source's files there, or land the sample shop: "
            "uv run --group sample python -m ingestion.sample_shop"
        )
    found: dict[str, list[tuple[dt.date | None, str, Path]]] = {table.name: [] for table in all_tables or tables}
    for path, owners in sorted(_files(folder, all_tables or tables).items()):
        if len(owners) > 1 and not _are_sheets([table for table, _day in owners]):
            names = " and ".join(f"{table.name} ({table.files})" for table, _day in owners)
            raise LoadError(f"{path} belongs to the tables {names}. Rename it, or change their patterns.")
        for table, day in owners:
            found[table.name].append((day, path.relative_to(folder).as_posix(), path))
    for table in tables:
        if not found[table.name]:
            raise LoadError(f"there is no file {folder / table.files}, from which the table {table.name} is loaded.")
    return [
        Delivery(table, path, name, sha256(path), day)
        for table in tables
        for day, name, path in sorted(found[table.name], key=lambda file: (file[0] or dt.date.min, file[1]))
    ]


def _are_sheets(tables: Sequence[LandedTable]) -> bool:
    """Whether each table is another sheet of the same workbooks."""
    sheets = [table.format.sheet for table in tables if isinstance(table.format, Excel)]
    return len(set(sheets)) == len(tables)


def is_finished(path: Path) -> bool:
    """Tell whether a file is there as a whole, and not still being uploaded or written.

    Args:
        path: the file; only its name is looked at.

    Returns:
        False for hidden files and the usual endings of unfinished uploads.
    """
    return not path.name.startswith(".") and not path.name.endswith(UNFINISHED_SUFFIXES)


def check(delivery: Delivery, folder: Path) -> CheckedDelivery:
    """Compare one landed file with what its source declares; read all of it.

    Args:
        delivery: the file.
        folder: for what it is converted to, on the disk that the warehouse is on; the caller removes it.

    Returns:
        The file with its row count, new columns, and where its rows are.

    Raises:
        LoadError: the file is damaged, lacks a column, or has another type in one or a value of another type.
    """
    # One for each: files of different folders may have the same name.
    folder = Path(tempfile.mkdtemp(dir=folder))
    if not isinstance(delivery.table.format, Parquet):
        return _check_text(delivery, folder)
    checked = open_parquet(delivery, folder)
    kinds = {**delivery.table.columns, **checked.new_columns}
    parquet.read_every_value(checked.path, delivery.path, checked.values, kinds, checked.row_count)
    return checked


def open_parquet(delivery: Delivery, folder: Path) -> CheckedDelivery:
    """Compare a Parquet file's columns and types with what its source declares; its values are not read.

    Args:
        delivery: the file.
        folder: for a copy of it, where DuckDB needs one.

    Returns:
        As `check`.

    Raises:
        LoadError: the file is no complete Parquet file, lacks a column, or has another type in one.
    """
    declared = delivery.table.columns
    path = local_copy(delivery.path, folder)
    if NOT_FOR_DUCKDB.search(path.name):
        path = Path(shutil.copy(path, folder / "rows.parquet"))
    schema, row_count = parquet.footer(path, delivery.path)
    check_names(delivery.path, declared, schema.names)
    kinds = {name: declared[stored_name(name)] for name in schema.names if stored_name(name) in declared}
    others = parquet.check_types(delivery.path, schema, kinds)
    values = {name: parquet.selected(schema, name, kind) for name, kind in {**kinds, **others}.items()}
    return CheckedDelivery(
        delivery,
        row_count,
        path,
        {stored_name(name): value for name, value in values.items()},
        {stored_name(name): kind for name, kind in others.items()},
    )


def _files(folder: Path, tables: Sequence[LandedTable]) -> dict[Path, list[tuple[LandedTable, dt.date | None]]]:
    """The files of all tables, each with the tables that it belongs to and its day."""
    owned: dict[Path, list[tuple[LandedTable, dt.date | None]]] = {}
    misnamed: dict[Path, LandedTable] = {}
    folders: dict[Path, LandedTable] = {}
    for table in tables:
        names = table.names
        for path in folder.glob(names.glob):
            if not path.is_file() or not is_finished(path):
                continue
            name = path.relative_to(folder).as_posix()
            if name.startswith(REPLAYED):
                raise LoadError(f"{path}: deliveries below {REPLAYED} are replayed rows. Give the folder another name.")
            matches, day = names.match(name)
            if matches:
                owned.setdefault(path, []).append((table, day))
            else:
                misnamed.setdefault(path, table)
            if table.is_daily:
                folders.setdefault(path.parent, table)
    # Among day files, what no pattern takes may be a day in another form.
    strangers = {
        path: table
        for parent, table in folders.items()
        for path in parent.iterdir()
        if path.is_file() and is_finished(path)
    }
    for path in sorted(misnamed.keys() - owned.keys()):
        raise LoadError(
            f"{path}: a day file must be named after its day, such as {Path(misnamed[path].names.example).name}. "
            "Rename or remove it. A corrected day replaces the file of the same name."
        )
    for path in sorted(strangers.keys() - owned.keys()):
        raise LoadError(
            f"{path} does not match {strangers[path].files}, so it would never be loaded. Rename it, or move it out of "
            "the folder."
        )
    return owned


def sha256(path: Path) -> str:
    """Digest a file's bytes, in hex.

    Args:
        path: the file.

    Raises:
        LoadError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror}. Nothing was loaded.") from error


def _check_text(delivery: Delivery, folder: Path) -> CheckedDelivery:
    declared = delivery.table.columns
    rows = _open(delivery, folder)
    check_names(delivery.path, declared, rows.names, rows)
    if isinstance(rows, CsvRows) and not rows.dialect.header:
        check_no_header(rows, declared)
    quarantine = delivery.table.quarantine
    converted = convert(rows, declared, folder / "rows.parquet", quarantine.allows if quarantine else None)
    if converted.bad_count and not converted.may_be_set_aside:
        raise _too_bad(delivery, rows, converted)
    return CheckedDelivery(
        delivery,
        converted.row_count,
        converted.path,
        {name: f"landed.{quote_name(name)}" for name in converted.columns},
        {name: kind for name, kind in converted.columns.items() if name not in declared},
        _bad_rows(delivery, rows, converted) if converted.bad_count else (),
    )


def _open(delivery: Delivery, folder: Path) -> FileRows:
    table = delivery.table
    match table.format:
        case Csv() as dialect:
            return CsvRows(delivery.path, dialect, list(table.columns))
        case JsonLines() as dialect:
            return JsonRows(delivery.path, dialect, list(table.columns))
        case Excel() as dialect:
            return ExcelRows(local_copy(delivery.path, folder), dialect, table.columns, delivery.path)
    raise AssertionError(f"{table.format} is no text format")


def _too_bad(delivery: Delivery, rows: FileRows, converted: Converted) -> LoadError:
    """Say what is wrong with the first bad row, and how many there are where some may be set aside."""
    wrong = {value.row: value for value in converted.wrong}
    record = next(record for record in rows.records() if record.problem or record.row in wrong)
    value = wrong.get(record.row) if record.row is not None else None
    problem, way_out = record.problem or "", SEND_AGAIN
    if value is not None:
        problem = _problem(delivery, rows, value)
        declare = suggestion(value.text, delivery.table.columns.get(value.column, "text"), rows.values)
        if declare:
            way_out = f"If it should be, declare {declare}; if not, have it sent again; nothing was loaded."
    quarantine = delivery.table.quarantine
    if quarantine:
        total = converted.row_count + converted.bad_count
        problem += (
            f". {converted.bad_count:,} of {total:,} rows are bad, and at most {quarantine.max_share * 100:g} % of a "
            "file's rows may be"
        )
    place = rows.place(record.line)
    return LoadError(f"{place}{', ' if value else ': '}{problem}. {way_out}")


def _bad_rows(delivery: Delivery, rows: FileRows, converted: Converted) -> list[BadRow]:
    """Find the bad rows in the file, and prove that they and the good ones are all that it has."""
    wrong = {value.row: value for value in converted.wrong}
    found, read = [], 0
    for record in rows.records():
        read += 1
        value = wrong.get(record.row) if record.row is not None else None
        if value is not None or record.problem:
            reason = _problem(delivery, rows, value) if value else record.problem or ""
            found.append(BadRow(record.line, reason, record.raw.rstrip("\r\n").replace(UNDECODABLE, "\ufffd")))
    if len(found) != converted.bad_count or read != converted.row_count + len(found):
        raise LoadError(
            f"{delivery.path}: {converted.row_count:,} good rows and {len(found):,} bad ones were found, but {read:,} "
            f"when it was read once more. {SEND_AGAIN}"
        )
    return found


def _problem(delivery: Delivery, rows: FileRows, wrong: WrongValue) -> str:
    kind = delivery.table.columns.get(wrong.column, "text")
    spelled = next((name for name in rows.names if stored_name(name) == wrong.column), wrong.column)
    shown = shorten(repr(wrong.text.replace(UNDECODABLE, "\ufffd")))
    return f"column {spelled}: {shown} is not {called(kind)}"

"""Look at a folder of files: which tables there are, how their files are written, and what is in their columns.

The files are read whole, by what also loads them, so that what is declared holds for each row that was looked at. A
load itself guesses nothing: what is found here is written into the source's module, for a person to read.
"""

import collections
import dataclasses
import datetime as dt
import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from python_calamine import CalamineWorkbook

from ingestion.file_checks import Delivery, LandedTable, check, is_finished
from ingestion.files import parquet
from ingestion.files.conversion import convert
from ingestion.files.csv_rows import CsvRows
from ingestion.files.excel_rows import DAMAGED, ExcelRows
from ingestion.files.formats import BY_ENDING, Csv, Excel, Format, JsonLines, Parquet, ending_of
from ingestion.files.json_rows import JsonRows
from ingestion.files.names import FileNames
from ingestion.files.rows import FileRows
from ingestion.files.text import (
    BYTE_ORDER_MARKS,
    UndecodableError,
    local_copy,
    shorten,
    text_lines,
    text_pieces,
    undecodable,
    unpacked,
)
from ingestion.new_source.dialect import dialect
from ingestion.new_source.found import Column, Found
from ingestion.new_source.spelling import spell
from ingestion.raw_tables import LoadError, stored_name
from ingestion.types import TYPES, of_arrow
from warehouse.sql import quote_list, quote_name, quote_text

# Files of one table that are read at most, in bytes: of more, the first, the last and some between.
BYTES = 1_000_000_000
LINES = 1000
TEXTS = (".csv", ".txt", ".tsv", ".tab", ".dat")
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
KNOWN = (*BY_ENDING, *TEXTS, *WORKBOOKS)

# How a day is written in a file's name, and how the loader is told.
DAYS_IN_NAMES = (
    (r"\d{4}-\d{2}-\d{2}", "{date}"),
    (r"\d{4}_\d{2}_\d{2}", "{date:%Y_%m_%d}"),
    (r"\d{4}/\d{2}/\d{2}", "{date:%Y/%m/%d}"),
    (r"(?<!\d)(?:19|20)\d{6}(?!\d)", "{date:%Y%m%d}"),
    (r"(?<!\d)\d{2}-\d{2}-\d{4}(?!\d)", "{date:%d-%m-%Y}"),
    (r"(?<!\d)\d{2}\.\d{2}\.\d{4}(?!\d)", "{date:%d.%m.%Y}"),
)


def look(folder: Path, connection: duckdb.DuckDBPyConnection, scratch: Path) -> tuple[list[Found], list[Path]]:
    """Find the tables in a folder.

    Args:
        folder: holds the shop's files, or folders of them.
        connection: for the SQL of `Found.rows`.
        scratch: for converted files; they are needed as long as `Found.rows` is.

    Returns:
        The tables, each made of the files of one pattern, and the files that are of no known kind.

    Raises:
        LoadError: there are no files, or one of them cannot be read.
    """
    if not folder.is_dir():
        raise LoadError(f"{folder} is not a folder. Name the folder that holds the shop's files.")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and is_finished(path))
    used = [path for path in files if ending_of(path.name) in KNOWN]
    if not used:
        there = f"no file of a known kind (but {files[0].name})" if files else "no files"
        raise LoadError(
            f"{folder} holds {there}. Put the shop's files there, one or more of each table: CSV, JSON lines, Parquet "
            "or Excel, also packed as .gz or .zip."
        )
    groups: dict[tuple[str, str], list[Path]] = {}
    for path in used:
        for sheet in _sheets(path, scratch):
            groups.setdefault((pattern_of(path.relative_to(folder).as_posix()), sheet), []).append(path)
    tables = _parts_joined(groups)
    sheets = collections.Counter(pattern for pattern, _ in tables)
    found = []
    for number, ((pattern, sheet), paths) in enumerate(tables.items()):
        (scratch / str(number)).mkdir()
        name = stored_name(sheet) if sheets[pattern] > 1 else table_name(pattern)
        found.append(_Table(name, pattern, sheet, paths, folder, scratch / str(number)).look(connection))
    return found, [path for path in files if path not in used]


def pattern_of(name: str) -> str:
    """Say by which pattern a file and its like are found: the day in its name becomes `{date}`.

    Args:
        name: the file's name below the folder.
    """
    for expression, placeholder in DAYS_IN_NAMES:
        for day in reversed(list(re.finditer(expression, name))):
            pattern = name[: day.start()] + placeholder + name[day.end() :]
            if FileNames(pattern).match(name)[0]:
                # What numbers the files of a day differs from file to file.
                return re.sub(r"\}([_-])\d+", r"}\1*", pattern)
    return name


def table_name(pattern: str) -> str:
    """Name a table by its files: `2026/sales_{date}_*.csv.gz` is sales; of `orders/{date}.csv` the folder says more.

    Args:
        pattern: the pattern of its files.
    """
    parts = [part.split(".")[0].strip("*_- ") for part in re.sub(r"\{.*?\}", "", pattern).split("/")]
    return stored_name(next((part for part in reversed(parts) if re.search("[A-Za-z]", part)), "purchases"))


def python(value: object) -> str:
    """A value as Python code, texts in double quotes."""
    if isinstance(value, tuple):
        return "(" + "".join(f"{python(one)}, " for one in value).rstrip(" " if len(value) == 1 else ", ") + ")"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _sheets(path: Path, scratch: Path) -> Sequence[str]:
    """The sheets of a workbook that hold anything; one without a name for other files."""
    if ending_of(path.name) not in WORKBOOKS:
        return [""]
    try:
        workbook = CalamineWorkbook.from_path(local_copy(path, scratch))
        return [name for name in workbook.sheet_names if workbook.get_sheet_by_name(name).to_python(nrows=2)]
    except DAMAGED as error:
        raise LoadError(f"{path} is not a complete Excel workbook ({error}). Have it sent again.") from error


def _parts_joined(groups: Mapping[tuple[str, str], list[Path]]) -> dict[tuple[str, str], list[Path]]:
    """Take files of one table together whose names differ in one part: the same folder, ending and columns."""
    alike: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
    for (pattern, sheet), paths in groups.items():
        header = "" if sheet else _header(paths[0])
        key = (Path(pattern).parent, ending_of(pattern), header) if header else (pattern, sheet)
        alike.setdefault(key, []).append((pattern, sheet))
    joined: dict[tuple[str, str], list[Path]] = {}
    for members in alike.values():
        patterns = [pattern for pattern, _ in members]
        start = os.path.commonprefix(patterns)  # noqa: RUF071 - of texts, not of folders
        end = os.path.commonprefix([pattern[::-1] for pattern in patterns])[::-1]  # noqa: RUF071
        says_what = re.search("[A-Za-z]", start.rpartition("/")[2])
        if len(members) > 1 and says_what and min(map(len, patterns)) >= len(start + end):
            joined[f"{start}*{end}", ""] = sorted(path for member in members for path in groups[member])
        else:
            joined |= {member: groups[member] for member in members}
    return joined


def _header(path: Path) -> str:
    """The columns of a file as they stand there, only to tell like files from others; empty where not known."""
    if ending_of(path.name) == ".parquet":
        return ""
    with unpacked(path) as file:
        line = file.readline(1_000_000).strip()
    return "" if line.startswith(b"{") else line.hex()


@dataclass
class _Table:
    """A table that is being looked at.

    Attributes:
        name: its name.
        pattern: the pattern of its files.
        sheet: the sheet of the workbooks; empty for other files.
        paths: its files.
        folder: the folder that the pattern is below.
        scratch: for converted files.
        format: how the files are written.
        columns: the columns that all files have, as spelled in the first.
        converted: file to a Parquet file of its rows, as texts; or of values, where the file itself is Parquet.
        types: column, as stored, to type, where the files say it themselves.
        evidence: as in `Found`.
    """

    name: str
    pattern: str
    sheet: str
    paths: Sequence[Path]
    folder: Path
    scratch: Path
    format: Format = field(default_factory=Parquet)
    columns: list[str] = field(default_factory=list)
    converted: dict[Path, Path] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    evidence: list[str] = field(default_factory=list)

    def look(self, connection: duckdb.DuckDBPyConnection) -> Found:
        """Read the files, find the types, and have a load's own checks confirm what was found."""
        self._read(self._some())
        texts = quote_name(f"rows of {self.pattern} {self.sheet}")
        connection.execute(f"create table {texts} as {self._rows_read()}")
        stored = {stored_name(column): column for column in self.columns}
        if isinstance(self.format, Parquet):
            values = {
                column: f"cast({quote_name(name)} as {TYPES[self.types[column]].duckdb})"
                for column, name in stored.items()
            }
            undecided: dict[str, str] = {}
        else:
            spelled = spell(connection, texts, list(stored), self.format, "day_of_file" if self._days() else None)
            self.format, self.types, undecided = spelled.values, spelled.types, spelled.undecided  # type: ignore[assignment]
            self.evidence += spelled.evidence
            values = {column: spelled.value(column) for column in stored}
        selected = ", ".join(f"{value} as {quote_name(column)}" for column, value in values.items())
        columns = [Column(name, self.types[column]) for column, name in stored.items()]
        found = Found(self.name, {"files": python(self.pattern)}, columns, f"(select {selected} from {texts})")
        found.count(connection)
        if not found.row_count:
            raise LoadError(
                f"{self.paths[0]} has no rows, so nothing says what its columns hold. Put a file with rows there."
            )
        if isinstance(self.format, Csv):
            self.evidence.insert(0, f"delimiter {self.format.delimiter!r}: all rows have {len(self.columns)} fields")
        if "date_format" not in undecided and "timestamp_format" not in undecided:
            self._check(found, undecided)
        written = self._written(undecided)
        if written or ending_of(self.pattern) not in BY_ENDING:
            found.declaration["format"] = f"{type(self.format).__name__}({written})"
        day = self._day_column(connection, texts, values)
        if day:
            found.declaration["day_column"] = python(day)
            self.evidence.append(f"day_column {day}: in every file, most rows are of the day in the file's name")
        found.evidence, found.decide = self.evidence, list(undecided.values())
        return found

    def _some(self) -> list[Path]:
        """The files to read: all, or of very much the first, the last and some between."""
        step = -(-sum(path.stat().st_size for path in self.paths) // BYTES) or 1
        some = sorted({*self.paths[::step], self.paths[-1]})
        if len(some) < len(self.paths):
            self.evidence.append(f"only {len(some):,} of {len(self.paths):,} files were read, for they are large")
        return some

    def _read(self, paths: Sequence[Path]) -> None:
        """Find how the first file is written, and hold the others to it."""
        left_out: dict[str, None] = {}
        for number, path in enumerate(paths):
            scratch = self.scratch / str(number)
            scratch.mkdir()
            if not number:
                self.format = self._found_format(path)
            if isinstance(self.format, Parquet):
                self.converted[path] = local_copy(path, scratch)
                schema, _ = parquet.footer(self.converted[path], path)
                kinds = {column.name: _parquet_type(column.type) for column in schema}
                names = [name for name, kind in kinds.items() if kind]
                left_out |= dict.fromkeys(name for name, kind in kinds.items() if not kind)
                self.types |= {stored_name(name): kind for name, kind in kinds.items() if kind}
            else:
                rows = self._rows(path, scratch)
                read = convert(rows, {}, scratch / "rows.parquet", None)
                self.converted[path] = read.path
                names = _in_their_order(path, read.columns) if isinstance(rows, JsonRows) else list(rows.names)
            stored = {stored_name(name) for name in names if name.strip()}
            known = {stored_name(name) for name in self.columns} or stored
            if 2 * len(known & stored) < len(known):
                raise LoadError(
                    f"{path} has other columns ({shorten(', '.join(names))}) than {paths[0]} "
                    f"({shorten(', '.join(self.columns))}), but by its name it is of the same table. Rename the "
                    "files of one of them, or put them into a folder of their own."
                )
            left_out |= dict.fromkeys(
                name for name in [*names, *self.columns] if stored_name(name) not in known & stored
            )
            self.columns = [name for name in self.columns or names if stored_name(name) in stored]
        if left_out:
            self.evidence.append(f"not declared, as not all files have them or they are nested: {', '.join(left_out)}")
        if isinstance(self.format, JsonLines):
            self._find_omitted(paths, self.format)

    def _found_format(self, path: Path) -> Format:
        if self.sheet:
            return Excel(self.sheet)
        ending = ending_of(path.name)
        if ending == ".parquet":
            return Parquet()
        encoding = self._encoding(path)
        if ending in (".jsonl", ".ndjson"):
            return JsonLines(encoding=encoding, omits_nulls=True)
        lines = list(itertools.islice(text_lines(path, encoding), LINES))
        if not "".join(lines).strip():
            raise LoadError(f"{path} is empty: nothing says what its columns are. Put a file with rows there.")
        csv, evidence = dialect(lines, encoding)
        self.evidence += evidence
        return csv

    def _encoding(self, path: Path) -> str:
        """The encoding in which the whole file can be read."""
        with unpacked(path) as file:
            first = file.read(4)
        mark = next((name for mark, name in BYTE_ORDER_MARKS.items() if first.startswith(mark)), None)
        if mark:
            self.evidence.append(f"encoding {mark}: the file begins with its byte order mark")
        for encoding in [mark] if mark else ["utf-8", "cp1252"]:
            try:
                beyond = "".join(piece for piece in text_pieces(path, encoding) if not piece.isascii())
            except UndecodableError:
                continue
            if encoding == "cp1252":
                words = list(dict.fromkeys(re.findall(r"\w*[^\x00-\x7f]\w*", beyond)))[:5]
                self.evidence.append(
                    "encoding cp1252, usual in Western Europe and America: the file is not UTF-8. It then has words "
                    f"such as {', '.join(words)}; change it if they are wrong"
                )
            return encoding
        raise undecodable(path, mark or "utf-8")

    def _rows(self, path: Path, scratch: Path) -> FileRows:
        match self.format:
            case Csv() as format:
                names = self.columns
                if not format.header and not names:
                    first = CsvRows(path, format, []).first_record() or []
                    names = [f"column_{number}" for number in range(1, len(first) + 1)]
                return CsvRows(path, format, names)
            case JsonLines() as format:
                return JsonRows(path, format, _in_their_order(path, [])[:1])
            case Excel() as format:
                return ExcelRows(local_copy(path, scratch), format, {}, path)
        raise AssertionError(f"{self.format} is no text format")

    def _find_omitted(self, paths: Iterable[Path], format: JsonLines) -> None:
        """Find whether lines leave out fields without a value."""
        self.format = dataclasses.replace(format, omits_nulls=False)
        try:
            for path in paths:
                collections.deque(JsonRows(path, self.format, self.columns).batches(False), maxlen=0)
        except LoadError:
            self.format = format
            self.evidence.append("omits_nulls: not all lines have all fields")

    def _days(self) -> dict[Path, dt.date]:
        """The days in the files' names."""
        names = FileNames(self.pattern)
        days = {path: names.match(path.relative_to(self.folder).as_posix())[1] for path in self.converted}
        return {path: day for path, day in days.items() if day}

    def _rows_read(self) -> str:
        """SQL for the rows as they were read, with the day in the name of their file."""
        files = quote_list([str(path) for path in self.converted.values()])
        rows = (
            f"read_parquet([{files[1:-1]}], union_by_name = true, hive_partitioning = false, filename = 'file_of_row')"
        )
        days = [f"({quote_text(str(self.converted[path]))}, date '{day}')" for path, day in self._days().items()]
        named = f"(values {', '.join(days)})" if days else "(select '', null::date)"
        return f"select * from {rows} left join {named} as days(file_of_row, day_of_file) using (file_of_row)"

    def _check(self, found: Found, undecided: dict[str, str]) -> None:
        """Have the first and the last file checked as a load does it."""
        table = LandedTable(
            found.name, {column.name: column.type for column in found.columns}, files=self.pattern, format=self.format
        )
        for path in {*list(self.converted)[:1], *list(self.converted)[-1:]}:
            try:
                check(Delivery(table, path, path.name, ""), self.scratch)
            except LoadError as error:
                if "swapped_dates" not in str(error):
                    raise
                undecided["swapped_dates"] = f"whether Excel swapped day and month, True or False: {error}"

    def _written(self, undecided: Mapping[str, str]) -> str:
        """The format as arguments in Python: those that differ from the default, and those to decide."""
        given = {}
        for argument in dataclasses.fields(self.format):
            value = getattr(self.format, argument.name)
            if argument.name in undecided:
                given[argument.name] = f"to_decide({python(undecided[argument.name])})"
            elif value != argument.default and not (
                argument.name == "escape" and value == getattr(self.format, "quote", "")
            ):
                given[argument.name] = python(value)
        return ", ".join(f"{name}={value}" for name, value in given.items())

    def _day_column(self, connection: duckdb.DuckDBPyConnection, texts: str, values: Mapping[str, str]) -> str | None:
        """The date or time that is of the day in the file's name in most rows of every file."""
        for column in self.columns:
            kind = self.types[stored_name(column)]
            if self._days() and kind.startswith(("date", "timestamp")):
                same = f"cast({values[stored_name(column)]} as date) = day_of_file"
                shares = connection.execute(
                    f"select count(*) filter (where {same}) * 2 > count(*) from {texts} group by file_of_row"
                ).fetchall()
                if all(share for (share,) in shares):
                    return column
        return None


def _parquet_type(arrow: pa.DataType) -> str | None:
    """The type to declare for a column of Parquet; None: it cannot be declared."""
    if pa.types.is_decimal(arrow):
        return f"decimal({arrow.precision},{arrow.scale})"
    if pa.types.is_timestamp(arrow) and arrow.tz is not None:
        return "timestamp with time zone"
    return of_arrow(arrow)


def _in_their_order(path: Path, names: Iterable[str]) -> list[str]:
    """The fields of JSON lines: those of the first line in its order, then the others."""
    line = next((line for line in text_lines(path, "utf-8") if line.strip()), "")
    try:
        first = json.loads(line)
    except ValueError:
        first = None
    if not isinstance(first, dict):
        raise LoadError(
            f"{path} is not JSON lines: its first line is no whole JSON object. Have it sent with one object per line."
        )
    order = [stored_name(name) for name in first]
    return [*order, *sorted(set(names) - set(order))]

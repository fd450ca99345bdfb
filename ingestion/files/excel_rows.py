"""Excel workbooks: one sheet, its cells as text.

A number becomes the shortest text that reads back as the same number, a date its ISO text.
"""

import datetime as dt
import itertools
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
from python_calamine import CalamineError, CalamineWorkbook, PasswordError, WorksheetNotFound

from ingestion.files.formats import Excel
from ingestion.files.rows import ROW, Record
from ingestion.files.text import SEND_AGAIN, shorten
from ingestion.raw_tables import LoadError, stored_name

ROWS_PER_BATCH = 50_000
# Up to here, a double holds every whole number.
LARGEST_WHOLE = 2**53
# What the libraries raise for a damaged workbook.
DAMAGED = (CalamineError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, struct.error)


class ExcelRows:
    """A sheet of a workbook (see `rows.FileRows`).

    Args:
        path: the file, unpacked.
        dialect: which sheet, and how its cells of text are spelled.
        declared: column, as stored, to declared type; their order names the cells where there is no header.
        shown: the file's name for messages.

    Raises:
        LoadError: the file is no workbook, or lacks the sheet or its header.
    """

    def __init__(self, path: Path, dialect: Excel, declared: Mapping[str, str], shown: Path) -> None:
        self.shown = shown
        self.values = dialect
        self.dialect = dialect
        self.skipped = 0
        self._cells = _cells(path, dialect.sheet, shown)
        header: list[Any] = next(self._rows(skip_header=False), (0, []))[1] if dialect.header else []
        if dialect.header and not any(header):
            raise LoadError(
                f"{shown}, sheet {dialect.sheet!r} has no header: row {dialect.skip_lines + 1} is empty. {SEND_AGAIN}"
            )
        # A column without a name and without a value is a trace of formatting.
        self._places = [place for place, cell in enumerate(header) if cell] if dialect.header else range(len(declared))
        self.names = [header[place] for place in self._places] if dialect.header else list(declared)
        self._errors = _errors(path, dialect.sheet)
        self._check_dates(declared)

    def batches(self, skip_bad: bool) -> Iterator[pa.RecordBatch]:
        """Read all rows (see `rows.FileRows`)."""
        fields = [f"f{position}" for position in range(len(self.names))]
        rows = self._good_rows(skip_bad)
        while batch := list(itertools.islice(rows, ROWS_PER_BATCH)):
            columns = [pa.array([cells[place] for _, cells in batch], pa.string()) for place in self._places]
            yield pa.RecordBatch.from_arrays(
                [*columns, pa.array([number for number, _ in batch], pa.int64())], [*fields, ROW]
            )

    def records(self) -> Iterator[Record]:
        """Read the rows once more (see `rows.FileRows`)."""
        for number, cells in self._rows():
            raw = "\t".join(cell or "" for cell in cells)
            problem = self._problem(number, cells)
            yield Record(number, raw, problem=problem) if problem else Record(number, raw, number)

    def place(self, line: int) -> str:
        """Say for a message where in the file a row is."""
        return f"{self.shown}, sheet {self.dialect.sheet!r}, row {line}"

    def _good_rows(self, skip_bad: bool) -> Iterator[tuple[int, list[str | None]]]:
        self.skipped = 0
        for number, cells in self._rows():
            problem = self._problem(number, cells)
            if problem is None:
                yield number, cells
            elif not skip_bad:
                raise LoadError(f"{self.place(number)}: {problem}. {SEND_AGAIN}")
            else:
                self.skipped += 1

    def _rows(self, *, skip_header: bool = True) -> Iterator[tuple[int, list[str | None]]]:
        """The rows that hold a value, with their numbers and their cells as text."""
        skip = self.dialect.skip_lines + (1 if self.dialect.header and skip_header else 0)
        for number, cells in enumerate(self._cells, start=1):
            if number > skip:
                texts = [self._text(cell) for cell in cells]
                if any(texts) or not skip_header:
                    yield number, texts

    def _problem(self, number: int, cells: list[str | None]) -> str | None:
        if number in self._errors:
            return f"cell {self._errors[number]}"
        if any(cell is not None and "\0" in cell for cell in cells):
            return "a cell holds a NUL character"
        if len(self._places) < len(cells):
            stray = next((cell for place, cell in enumerate(cells) if cell and place not in self._places), None)
            if stray is not None:
                return f"{shorten(repr(stray))} stands in a column without a name"
        return None

    def _check_dates(self, declared: Mapping[str, str]) -> None:
        """Stop at dates that may have day and month swapped, or that cannot have been, if they are declared so."""
        formats = {"date": self.dialect.date_format, "timestamp": self.dialect.timestamp_format}
        rows = self._cells[self.dialect.skip_lines + self.dialect.header :]
        for place, name in zip(self._places, self.names, strict=True):
            kind = declared.get(stored_name(name), "text")
            if self.dialect.swapped_dates is False or kind not in formats:
                continue
            column = [row[place] for row in rows if place < len(row)]
            dates = [cell for cell in column if isinstance(cell, dt.date)]
            beyond = next((cell for cell in dates if cell.day > 12), None)
            if self.dialect.swapped_dates and beyond:
                raise LoadError(
                    f"{self.shown}, sheet {self.dialect.sheet!r}, column {name}: {beyond:%Y-%m-%d} cannot have day and "
                    "month swapped. Declare swapped_dates=False; nothing was loaded."
                )
            texts = [cell for cell in column if isinstance(cell, str) and cell.strip()]
            if not self.dialect.swapped_dates and dates and texts and not beyond:
                days = [_day(text.strip(), formats[kind]) for text in texts]
                if all(day is not None and day > 12 for day in days):
                    raise LoadError(
                        f"{self.shown}, sheet {self.dialect.sheet!r}, column {name}: {len(dates):,} cells are dates of "
                        f"days up to 12, {len(texts):,} are texts of days after, as when Excel took months for days. "
                        "Declare swapped_dates=True if so, swapped_dates=False if not; nothing was loaded."
                    )

    def _text(self, cell: Any) -> str | None:
        if isinstance(cell, str):
            return cell or None
        if isinstance(cell, bool):
            return "true" if cell else "false"
        if isinstance(cell, float | int):
            if abs(cell) <= LARGEST_WHOLE and cell == int(cell):
                return str(int(cell))
            return repr(cell).replace(".", self.dialect.decimal)
        if isinstance(cell, dt.date) and self.dialect.swapped_dates:
            cell = cell.replace(day=cell.month, month=cell.day)
        if isinstance(cell, dt.datetime):
            return cell.date().isoformat() if cell.time() == dt.time() else cell.isoformat(sep=" ")
        if isinstance(cell, dt.timedelta):
            seconds = round(cell.total_seconds())
            return f"{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
        return str(cell.isoformat())


def _day(text: str, pattern: str | None) -> int | None:
    try:
        return dt.datetime.strptime(text, pattern or "").day
    except ValueError:
        return None


def _cells(path: Path, sheet: str, shown: Path) -> list[list[Any]]:
    try:
        if zipfile.is_zipfile(path):
            # All parts, of which the reader needs some only: each has a checksum.
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged:
                raise CalamineError(f"{damaged} is damaged")
        workbook = CalamineWorkbook.from_path(path)
        try:
            return list(workbook.get_sheet_by_name(sheet).iter_rows())
        except WorksheetNotFound:
            names = shorten(", ".join(repr(name) for name in workbook.sheet_names))
            raise LoadError(
                f"{shown} has no sheet {sheet!r}; it has {names}. Declare one of them, or have it sent again; "
                "nothing was loaded."
            ) from None
    except PasswordError:
        raise LoadError(f"{shown} is protected by a password. Have it sent without one; nothing was loaded.") from None
    except LoadError:
        raise
    except OSError as error:
        raise LoadError(f"{shown} cannot be read: {error.strerror or error}. Nothing was loaded.") from error
    except BaseException as error:
        # Rust code that gives up on a damaged file raises a BaseException.
        if not isinstance(error, DAMAGED) and type(error).__name__ != "PanicException":
            raise
        reason = shorten(str(error)) or type(error).__name__
        raise LoadError(f"{shown} is not a complete Excel workbook ({reason}). {SEND_AGAIN}") from error


def _errors(path: Path, sheet: str) -> dict[int, str]:
    """Find the cells of an xlsx sheet that hold an error, which the reader takes for empty.

    Returns:
        Row number to the first such cell of the row and its error; nothing for other kinds of workbooks.
    """
    if not zipfile.is_zipfile(path):
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            part = _part_of(archive, sheet)
            cells = re.finditer(
                rb'<c\b(?=[^>]*\bt="e")[^>]*\br="(?P<cell>[A-Z]+(?P<row>[0-9]+))"[^>]*>.*?(?:<v>(?P<error>[^<]*)</v>|</c>)',
                archive.read(part) if part else b"",
                re.DOTALL,
            )
            found: dict[int, str] = {}
            for cell in cells:
                error = (cell["error"] or b"").decode(errors="replace")
                found.setdefault(int(cell["row"]), f"{cell['cell'].decode()} holds the error {error}")
            return found
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError, OSError, EOFError, ValueError, RuntimeError):
        # The workbook itself was read: only this look at its parts was not.
        return {}


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """The file of a sheet within an xlsx workbook."""
    if "xl/workbook.xml" not in archive.namelist():
        return None
    relation = next(
        (
            next(value for name, value in element.attrib.items() if name.endswith("}id"))
            for element in ElementTree.fromstring(archive.read("xl/workbook.xml")).iter()
            if element.tag.endswith("}sheet") and element.get("name") == sheet
        ),
        None,
    )
    target = next(
        (
            element.get("Target", "")
            for element in ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
            if element.get("Id") == relation
        ),
        "",
    )
    return target.removeprefix("/") if target.startswith("/xl") else f"xl/{target}"

"""Answers as files: CSV, Parquet, an Arrow stream, XLSX. Each is written in batches, not held in memory as a whole."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xlsxwriter

Format = Literal["json", "csv", "parquet", "arrow", "xlsx"]

MEDIA_TYPES: dict[str, Format] = {
    "application/json": "json",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
TYPES_OF = {name: media for media, name in MEDIA_TYPES.items()}

# What a spreadsheet takes for the beginning of a formula, also in the wide letters of East Asian keyboards.
_FORMULA = "^[=+\\-@\t\r\n＝＋－＠]"  # noqa: RUF001
# Rows and letters that a sheet can have.
SHEET_ROWS = 1_048_576
CELL_LETTERS = 32_767
# Rows that are made into values of Python at once.
_SLICE = 1_000
# Of a file on its way out.
_CHUNK = 1 << 16


class TooManyRowsError(Exception):
    """There are more rows than a sheet can have."""


@dataclass(frozen=True)
class _Sink:
    """A file that is written to and read from its beginning as it grows."""

    file: IO[bytes]

    def taken(self) -> bytes:
        """What was written since the last time."""
        self.file.seek(0)
        data = self.file.read()
        self.file.seek(0)
        self.file.truncate()
        return data


def safe(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Put ' in front of texts that a spreadsheet would take for a formula.

    Args:
        batch: rows of any columns.
    """
    columns = []
    for column in batch.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            quoted = pc.binary_join_element_wise("'", column, "")
            column = pc.if_else(pc.match_substring_regex(column, _FORMULA), quoted, column)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def chosen_columns(batches: Iterator[pa.RecordBatch], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Leave out the columns that only serve to cut pages.

    Args:
        batches: as the query gives them.
        columns: those of the answer, the first ones of the query.
    """
    for batch in batches:
        yield batch if batch.num_columns == len(columns) else batch.select(list(range(len(columns))))


def write_csv(schema: pa.Schema, batches: Iterator[pa.RecordBatch], _: dict[str, Any]) -> Iterator[bytes]:
    """Write CSV in UTF-8, with a heading; nothing in it is a formula to a spreadsheet.

    Args:
        schema: of the batches.
        batches: the rows.
        _: what stands behind the answer is no part of a CSV; it is in a header.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(_safe_text(name) for name in schema.names)
    yield text.getvalue().encode("utf-8")
    for batch in _slices(batches):
        text.seek(0)
        text.truncate()
        values = [_texts(column) for column in safe(batch).columns]
        writer.writerows(zip(*values, strict=True))
        yield text.getvalue().encode("utf-8")


def write_arrow(schema: pa.Schema, batches: Iterator[pa.RecordBatch], meta: dict[str, Any]) -> Iterator[bytes]:
    """Write an Arrow IPC stream; the meta is in the schema's metadata, under `next_aisle`.

    Args:
        schema: of the batches.
        batches: the rows.
        meta: what stands behind the answer.
    """
    sink = _Sink(io.BytesIO())
    schema = schema.with_metadata({"next_aisle": json.dumps(meta)})
    with pa.ipc.new_stream(sink.file, schema) as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
            yield sink.taken()
    yield sink.taken()


def write_parquet(schema: pa.Schema, batches: Iterator[pa.RecordBatch], meta: dict[str, Any]) -> Iterator[bytes]:
    """Write Parquet; the meta is in the file's metadata, under `next_aisle`.

    Args:
        schema: of the batches.
        batches: the rows.
        meta: what stands behind the answer.
    """
    schema = schema.with_metadata({"next_aisle": json.dumps(meta)})
    with tempfile.TemporaryFile() as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
        yield from _chunks(file)


def write_xlsx(schema: pa.Schema, batches: Iterator[pa.RecordBatch], meta: dict[str, Any]) -> Iterator[bytes]:
    """Write a workbook: the rows on one sheet, what stands behind them on another. Texts stay texts.

    Args:
        schema: of the batches.
        batches: the rows.
        meta: what stands behind the answer.

    Raises:
        TooManyRowsError: there are more rows than a sheet can have.
    """
    with tempfile.TemporaryFile() as file:
        options = {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "default_date_format": "yyyy-mm-dd",
            "remove_timezone": True,
            "nan_inf_to_errors": True,
        }
        workbook = xlsxwriter.Workbook(file, options)
        bold = workbook.add_format({"bold": True, "bottom": 1})
        sheet = workbook.add_worksheet("Rows")
        sheet.freeze_panes(1, 0)
        for position, name in enumerate(schema.names):
            sheet.set_column(position, position, max(10, min(40, len(name) + 2)))
            sheet.write_string(0, position, _safe_text(name), bold)
        row = 0
        for batch in _slices(batches):
            if row + batch.num_rows >= SHEET_ROWS:
                workbook.close()
                raise TooManyRowsError(f"a sheet has {SHEET_ROWS - 1:,} rows at most: ask for CSV or Parquet")
            for values in zip(*(column.to_pylist() for column in safe(batch).columns), strict=True):
                row += 1
                for position, value in enumerate(values):
                    if isinstance(value, str):
                        sheet.write_string(row, position, value[:CELL_LETTERS])
                    elif isinstance(value, list | dict):
                        sheet.write_string(row, position, json.dumps(value, default=str)[:CELL_LETTERS])
                    elif value is not None:
                        sheet.write(row, position, value)
        about = workbook.add_worksheet("About")
        about.set_column(0, 0, 22)
        about.set_column(1, 1, 90)
        for position, (name, value) in enumerate(meta.items()):
            about.write_string(position, 0, name, bold)
            about.write_string(position, 1, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        workbook.close()
        yield from _chunks(file)


Writer = Callable[[pa.Schema, Iterator[pa.RecordBatch], dict[str, Any]], Iterator[bytes]]
WRITERS: dict[str, Writer] = {
    "csv": write_csv,
    "arrow": write_arrow,
    "parquet": write_parquet,
    "xlsx": write_xlsx,
}


def _slices(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Few rows at once: as values of Python they take many times the memory."""
    for batch in batches:
        yield from (batch.slice(first, _SLICE) for first in range(0, batch.num_rows, _SLICE))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk


def _texts(column: pa.Array) -> list[str]:
    """Values as CSV has them: nothing for null, true and false, ISO days."""
    if pa.types.is_nested(column.type):
        return ["" if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
    if pa.types.is_timestamp(column.type):
        return ["" if value is None else value.isoformat(sep=" ") for value in column.to_pylist()]
    return [text or "" for text in column.cast(pa.string()).to_pylist()]


def _safe_text(text: str) -> str:
    return f"'{text}" if text[:1] in "=+-@\t\r\n＝＋－＠" and text else text  # noqa: RUF001

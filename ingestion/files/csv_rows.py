"""CSV files of any dialect.

Arrow parses them; a strict check of the quotes runs ahead of it. Together they read what Python's `csv` reads with
`strict=True`, several times as fast. Python's `csv` itself finds the line of what is wrong.
"""

import contextlib
import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv

from ingestion.files.csv_blocks import RecordBlocks, WrongRecordError
from ingestion.files.formats import Csv
from ingestion.files.rows import ROW, Numbering, Record
from ingestion.files.text import (
    SEND_AGAIN,
    UNDECODABLE,
    UndecodableError,
    not_text,
    shorten,
    text_lines,
    text_pieces,
    undecodable,
)
from ingestion.raw_tables import LoadError

# A header that is longer has a quote that is never closed.
LONGEST_HEADER = 1 << 20
USUAL_DELIMITERS = (",", ";", "\t", "|")

csv.field_size_limit(sys.maxsize)


class CsvRows:
    """A CSV file (see `rows.FileRows`).

    Args:
        path: the file.
        dialect: how it is written.
        declared: the declared columns in their order, which name the fields where there is no header.

    Raises:
        LoadError: there is no header, or the file is of another kind.
    """

    def __init__(self, path: Path, dialect: Csv, declared: list[str]) -> None:
        self.path = path
        self.values = dialect
        self.dialect = dialect
        self.skipped = 0
        self.names = self._header() if dialect.header else declared

    def batches(self, skip_bad: bool) -> Iterator[pa.RecordBatch]:
        """Read all rows (see `rows.FileRows`)."""
        self.skipped = 0
        numbering = Numbering()
        header = self.dialect.header
        for block in self._blocks(skip_bad):
            for batch in self._parsed_by_arrow(block, skip_bad, header):
                yield batch.append_column(ROW, numbering.of(batch.num_rows))
            header = False

    def records(self) -> Iterator[Record]:
        """Read the file once more with Python's `csv` (see `rows.FileRows`)."""
        row = 0
        for line, fields, raw in self._after_header():
            if len(fields) == len(self.names):
                yield Record(line, raw, row)
                row += 1
            else:
                yield Record(line, raw, problem=self._wrong_count(fields))

    def place(self, line: int) -> str:
        """Say for a message where in the file a record is."""
        return f"{self.path}, line {line}"

    def first_record(self) -> list[str] | None:
        """The fields of the first row; None when there is none."""
        return next((fields for _line, fields, _raw in self._after_header()), None)

    def with_other_delimiters(self) -> Iterator[tuple[str, list[str]]]:
        """Read the header with each usual delimiter that is not the declared one."""
        lines = self._lines()
        for _ in range(self.dialect.skip_lines):
            next(lines, None)
        header = next(lines, "").rstrip("\r\n")
        for delimiter in USUAL_DELIMITERS:
            if delimiter not in (self.dialect.delimiter, self.dialect.quote, self.dialect.escape_sign):
                yield delimiter, next(csv.reader([header], delimiter=delimiter), [])

    def _parsed_by_arrow(self, block: bytes, skip_bad: bool, header: bool) -> list[pa.RecordBatch]:
        dialect = self.dialect
        fields = [f"f{position}" for position in range(len(self.names))]
        try:
            parsed = arrow_csv.read_csv(
                pa.BufferReader(block),
                # One block: where Arrow cuts by itself, it drops the second half of a line end within quotes.
                arrow_csv.ReadOptions(
                    column_names=fields, skip_rows_after_names=int(header), block_size=len(block) + 1, use_threads=False
                ),
                arrow_csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char=dialect.quote or False,
                    double_quote=dialect.doubled_quotes,
                    escape_char=dialect.escape_sign or False,
                    newlines_in_values=True,
                    invalid_row_handler=self._skip if skip_bad else None,
                ),
                arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(fields, pa.string()), strings_can_be_null=False, check_utf8=False
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                return []
            raise self._unreadable(error) from error
        batches: list[pa.RecordBatch] = parsed.to_batches()
        return batches

    def _skip(self, _row: object) -> str:
        self.skipped += 1
        return "skip"

    def _blocks(self, skip_bad: bool) -> Iterator[bytes]:
        """The text as UTF-8, from the header on, in blocks of whole records."""
        if self.dialect.wrapped_lines:
            pieces = self._lines(mark=skip_bad)
        else:
            pieces = text_pieces(self.path, self.dialect.encoding, mark=skip_bad)
        skip = self.dialect.skip_lines
        try:
            yield from RecordBlocks(self.dialect, skip + 1).cut(_whole_line_ends(self._without_lines(pieces)))
        except UndecodableError:
            raise self._undecodable() from None
        except WrongRecordError as error:
            raise LoadError(f"{self.path}, {error}. {SEND_AGAIN}") from None

    def _without_lines(self, pieces: Iterator[str]) -> Iterator[str]:
        """Leave out the lines that are not read."""
        count = self.dialect.skip_lines
        if count:
            lines = re.compile(rf"(?:[^\r\n]*+(?>\r\n|\n|\r(?!\Z))){{{count}}}")
            head, found = "", None
            for piece in pieces:
                head += piece
                found = lines.match(head)
                if found:
                    break
            # At the end of the file, a carriage return is a line end by itself.
            found = found or lines.match(head + " ")
            if found is None:
                raise LoadError(f"{self.path} has fewer than the {count} lines that are not read. {SEND_AGAIN}")
            yield head[found.end() :]
        yield from pieces

    def _header(self) -> list[str]:
        first = self.dialect.skip_lines + 1
        line, header, raw = next(self._parsed_by_python(up_to=LONGEST_HEADER), (0, [], ""))
        if UNDECODABLE in raw:
            raise undecodable(self.path, self.dialect.encoding)
        if line != first:
            problem = f"line {first} is empty" if header else "it is empty" if first == 1 else f"it has no line {first}"
            raise LoadError(f"{self.path} has no header line: {problem}. {SEND_AGAIN}")
        return header

    def _after_header(self) -> Iterator[tuple[int, list[str], str]]:
        header = self.dialect.skip_lines + 1 if self.dialect.header else 0
        return (record for record in self._parsed_by_python() if record[0] != header)

    def _parsed_by_python(self, up_to: int = sys.maxsize) -> Iterator[tuple[int, list[str], str]]:
        """Read with Python's `csv`: the line that each record begins on, its fields, and its text."""
        dialect = self.dialect
        source = _Recorder(self._lines(), dialect.skip_lines, up_to)
        reader = csv.reader(
            source,
            delimiter=dialect.delimiter,
            quotechar=dialect.quote,
            doublequote=dialect.doubled_quotes,
            escapechar=dialect.escape_sign,
            quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
            strict=True,
        )
        while True:
            line = dialect.skip_lines + reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                is_closed = "expected after" in str(error)
                problem = "text follows a closing quote" if is_closed else "a quote is never closed"
                raise LoadError(f"{self.place(line)}: {problem}. {SEND_AGAIN}") from error
            if fields is None:
                return
            raw = source.take()
            if fields:
                yield line, fields, raw

    def _lines(self, *, mark: bool = True) -> Iterator[str]:
        lines = text_lines(self.path, self.dialect.encoding, mark=mark)
        if not self.dialect.wrapped_lines:
            return lines
        return (self._unwrapped(line, number) for number, line in enumerate(lines, start=1))

    def _unwrapped(self, line: str, number: int) -> str:
        quote = self.dialect.quote or ""
        text = line.rstrip("\r\n")
        if quote not in text or number <= self.dialect.skip_lines:
            return line
        inner = text[1:-1]
        if len(text) < 2 or text[0] != quote or text[-1] != quote or quote in inner.replace(quote * 2, ""):
            raise LoadError(
                f"{self.path}, line {number}: it holds a quote, but is not quoted as a whole. Declare "
                "wrapped_lines=False, or have it sent again; nothing was loaded."
            )
        return inner.replace(quote * 2, quote) + line[len(text) :]

    def _wrong_count(self, fields: list[str]) -> str:
        count = (
            f"the header has {len(self.names)}" if self.dialect.header else f"{len(self.names)} columns are declared"
        )
        return f"{len(fields)} fields where {count}"

    def _undecodable(self) -> LoadError:
        """Say where the first undecodable bytes are: the column too, where the record can be read."""
        with contextlib.suppress(LoadError):
            for line, fields, raw in self._after_header():
                place = next((place for place, text in enumerate(fields) if UNDECODABLE in text), None)
                if place is not None and place < len(self.names):
                    where = f"line {line}, column {self.names[place]}"
                    return not_text(self.path, self.dialect.encoding, where, fields[place])
                if UNDECODABLE in raw:
                    break
        return undecodable(self.path, self.dialect.encoding)

    def _unreadable(self, error: pa.ArrowInvalid) -> LoadError:
        for line, fields, raw in self._after_header():
            if UNDECODABLE in raw:
                return self._undecodable()
            if len(fields) != len(self.names):
                return LoadError(
                    f"{self.path}, line {line}: {self._wrong_count(fields)}. The line reads: {shorten(raw)}. "
                    f"{self._way_out(fields, raw)}"
                )
        return LoadError(f"{self.path} cannot be read ({shorten(str(error))}). {SEND_AGAIN}")

    def _way_out(self, fields: list[str], raw: str) -> str:
        expected = len(self.names)
        if len(fields) == 1 < expected:
            if _field_count(fields[0], self.dialect.delimiter) == expected:
                return "If each line was quoted once more, declare wrapped_lines=True; nothing was loaded."
            for delimiter in USUAL_DELIMITERS:
                if _field_count(raw, delimiter) == expected:
                    return f"If that is the delimiter, declare delimiter={delimiter!r}; nothing was loaded."
        return SEND_AGAIN


def _field_count(text: str, delimiter: str) -> int:
    """Into how many fields a delimiter cuts the first line of a text, which may hold more lines than one."""
    return len(next(csv.reader(text.splitlines(keepends=True), delimiter=delimiter), []))


class _Recorder:
    """Lines for a parser, which remembers what it has handed out since the last `take`.

    Args:
        lines: the lines of a file.
        skip: how many of them to leave out in front.
        up_to: how many characters to hand out at most between two takes.
    """

    def __init__(self, lines: Iterator[str], skip: int, up_to: int) -> None:
        self.lines = lines
        self.handed_out: list[str] = []
        self.left = up_to
        for _ in range(skip):
            next(lines, None)

    def __iter__(self) -> "_Recorder":
        return self

    def __next__(self) -> str:
        if self.left <= 0:
            raise StopIteration
        line = next(self.lines)
        self.left -= len(line)
        self.handed_out.append(line)
        # Python's `csv` takes a last line without an end, in which a line end is escaped, for half a record.
        return line if line.endswith(("\n", "\r")) else line + "\n"

    def take(self) -> str:
        """The text handed out since the last call."""
        text = "".join(self.handed_out)
        self.handed_out.clear()
        return text


def _whole_line_ends(pieces: Iterator[str]) -> Iterator[bytes]:
    """Encode pieces of text such that none ends within a line end."""
    held = ""
    for piece in pieces:
        text = held + piece
        held = "\r" if text.endswith("\r") else ""
        yield text.removesuffix(held).encode()
    yield held.encode()

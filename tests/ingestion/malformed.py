"""Damaged and wrongly declared files of every dialect: made from good ones, and read by readers other than ours."""

import csv
import datetime as dt
import gzip
import io
import json
import math
import random
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.files.formats import Csv, Excel, Format, JsonLines, Parquet, Values

COLUMNS = {"number": "bigint", "name": "text", "amount": "double", "bought": "date"}
Row = tuple[Any, ...]

csv.field_size_limit(sys.maxsize)


class NotReadableError(Exception):
    """The independent reader cannot read a file, or finds a value in it that is none."""


@dataclass(frozen=True)
class Dialect:
    """One way of writing files.

    Attributes:
        format: how it is declared.
        name: a file's name.
        write: from rows (number, name, amount, day) to a file.
        read: from a file to its rows, independently of ours.
    """

    format: Format
    name: str
    write: Callable[[list[Row]], bytes]
    read: Callable[[bytes], list[Row]]


def some_rows(chance: random.Random) -> list[Row]:
    """Rows with all that makes files difficult."""
    texts = [
        "Ida",
        "Jäger & Co",
        'say "hi"',
        "a,b;c\td|e",
        "two\r\nlines",
        None,
        " blank ",
        "x" * 40,
        "back\\slash",
        "5 £",
    ]
    return [
        (
            chance.randint(-5, 10 ** chance.randint(1, 12)),
            chance.choice(texts),
            chance.choice([None, round(chance.uniform(-9, 99_999), 2)]),
            dt.date(chance.randint(2010, 2026), chance.randint(1, 12), chance.randint(1, 28)),
        )
        for _ in range(chance.randint(1, 30))
    ]


def dialects() -> list[Dialect]:
    """Ways of writing files that shops use."""
    found = [
        _csv("plain.csv", Csv()),
        _csv("excel_german.csv", Csv(delimiter=";", decimal=",", thousands=".", currency="€", date_format="%d.%m.%Y")),
        _csv("latin.csv", Csv(delimiter=";", encoding="latin-1", decimal=",")),
        _csv("cp1252.csv", Csv(encoding="cp1252", date_format="%d/%m/%Y")),
        _csv("utf16.csv", Csv(delimiter="\t", encoding="utf-16")),
        _csv("backslash.txt", Csv(delimiter="|", escape="\\", header=False, null_values=("\\N", "NULL"))),
        _csv(
            "american.txt",
            Csv(
                delimiter="\t",
                header=False,
                skip_lines=2,
                thousands=",",
                currency="$",
                date_format="%m/%d/%y",
                negative_parentheses=True,
            ),
        ),
        _csv("wrapped.csv", Csv(wrapped_lines=True)),
        Dialect(JsonLines(), "lines.jsonl", _write_json, _read_json),
        Dialect(Excel("Sheet"), "sheet.xlsx", _write_excel, _read_excel),
        Dialect(Parquet(), "rows.parquet", _write_parquet, _read_parquet),
    ]
    packed = [
        Dialect(
            found[0].format,
            "plain.csv.gz",
            lambda rows: gzip.compress(found[0].write(rows)),
            lambda b: found[0].read(_gunzip(b)),
        ),
        Dialect(
            found[8].format,
            "lines.jsonl.zip",
            lambda rows: _zip(found[8].write(rows)),
            lambda b: found[8].read(_unzip(b)),
        ),
    ]
    return found + packed


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Damage a file once, or a few times, as disks, lines, programs and people do."""
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        at = chance.randrange(len(content) + 1)
        to = min(len(content), at + chance.choice([1, 1, 2, 10, 100]))
        piece = content[at:to]
        content = chance.choice(DAMAGES)(content, at, piece, chance)
    return content


def _flip(content: bytes, at: int, piece: bytes, chance: random.Random) -> bytes:
    return content[:at] + bytes(byte ^ (1 << chance.randrange(8)) for byte in piece[:1]) + content[at + 1 :]


def _swap_signs(content: bytes, at: int, piece: bytes, chance: random.Random) -> bytes:
    first, second = chance.sample([b'"', b"'", b",", b";", b"\t", b"|", b".", b" ", b"\r", b"\n", b"\\", b"/", b"-"], 2)
    return content[:at] + content[at:].replace(first, second, chance.choice([1, 1, 3, -1]))


def _another_encoding(content: bytes, at: int, piece: bytes, chance: random.Random) -> bytes:
    now, then = chance.sample(["utf-8", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-8-sig", "cp850"], 2)
    return content.decode(now, errors="ignore").encode(then, errors="ignore")


def _lines(content: bytes, at: int, piece: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    if len(lines) > 1:
        line = lines.pop(chance.randrange(len(lines)))
        if chance.random() < 0.7:
            lines.insert(chance.randrange(len(lines) + 1), line * chance.choice([1, 2]))
    return b"".join(lines)


def _cut(content: bytes, at: int, piece: bytes, chance: random.Random) -> bytes:
    return content[:at] if chance.random() < 0.5 else content[at:]


def _double(content: bytes, at: int, piece: bytes, chance: random.Random) -> bytes:
    return content[:at] + piece + content[at:]


def _drop(content: bytes, at: int, piece: bytes, chance: random.Random) -> bytes:
    return content[:at] + content[at + len(piece) :]


def _overwrite(content: bytes, at: int, piece: bytes, chance: random.Random) -> bytes:
    written = chance.randbytes(1) if chance.random() < 0.5 else bytes(len(piece))
    return content[:at] + written + content[at + len(written) :]


def _insert(content: bytes, at: int, piece: bytes, chance: random.Random) -> bytes:
    sign = chance.choice([b'"', b' "', b"\r", b"\n", b",", b"\\", b"\xff", b"0", b" ", b"-"])
    return content[:at] + sign + content[at:]


DAMAGES = (_flip, _flip, _swap_signs, _swap_signs, _another_encoding, _lines, _cut, _double, _drop, _overwrite, _insert)


# How rows are written.


def _csv(name: str, dialect: Csv) -> Dialect:
    return Dialect(dialect, name, lambda rows: _write_csv(rows, dialect), lambda content: _read_csv(content, dialect))


def _options(dialect: Csv) -> dict[str, Any]:
    return {
        "delimiter": dialect.delimiter,
        "quotechar": dialect.quote,
        "doublequote": dialect.escape == dialect.quote,
        "escapechar": None if dialect.escape == dialect.quote else dialect.escape,
    }


def _write_csv(rows: list[Row], dialect: Csv) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n" if dialect.thousands else "\n", **_options(dialect))
    if dialect.header:
        writer.writerow(COLUMNS)
    for number, name, amount, day in rows:
        null = dialect.null_values[-1]
        written = null if amount is None else _amount(amount, dialect)
        writer.writerow([number, null if name is None else name, written, f"{day:{dialect.date_format or '%Y-%m-%d'}}"])
    content = "Report\n\n" if dialect.skip_lines else ""
    content += text.getvalue()
    if dialect.wrapped_lines:
        # A line end within quotes could not be wrapped.
        lines = content.replace("two\r\nlines", "two lines").splitlines()
        content = "".join(('"' + line.replace('"', '""') + '"' if '"' in line else line) + "\r\n" for line in lines)
    return content.encode(dialect.encoding)


def _amount(amount: float, dialect: Csv) -> str:
    text = f"{abs(amount):,.2f}" if dialect.thousands else f"{abs(amount):.2f}"
    signs: dict[str, int | str | None] = {",": dialect.thousands or "", ".": dialect.decimal}
    text = text.translate(str.maketrans(signs))
    if dialect.currency == "$":
        text = f"${text}"
    elif dialect.currency:
        text = f"{text} {dialect.currency}"
    return text if amount >= 0 else f"({text})" if dialect.negative_parentheses else f"-{text}"


def _write_json(rows: list[Row]) -> bytes:
    return "".join(
        json.dumps(dict(zip(COLUMNS, [*row[:3], str(row[3])], strict=True)), ensure_ascii=len(row[1] or "") > 9) + "\n"
        for row in rows
    ).encode()


def _write_excel(rows: list[Row]) -> bytes:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in [tuple(COLUMNS), *rows]:
        # XML keeps no carriage return.
        book.active.append([cell.replace("\r", "") if isinstance(cell, str) else cell for cell in row])
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _write_parquet(rows: list[Row]) -> bytes:
    content = io.BytesIO()
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    schema = pa.schema(
        [("number", pa.int64()), ("name", pa.string()), ("amount", pa.float64()), ("bought", pa.date32())]
    )
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}, schema=schema), content)
    return content.getvalue()


# How they are read, independently of ours. Each raises NotReadableError, or what its library raises.


def _read_csv(content: bytes, dialect: Csv) -> list[Row]:
    text = content.decode(dialect.encoding).removeprefix("\ufeff")
    text = re.sub(r"[^\r\n]*(\r\n?|\n)", "", text, count=dialect.skip_lines) if dialect.skip_lines else text
    if dialect.wrapped_lines:
        text = re.sub(r'(?m)^"(.*)"(?=[\r\n]|\Z)', lambda line: line[1].replace('""', '"'), text)
    if text and not text.endswith(("\r", "\n")):
        text += "\n"
    records = [r for r in csv.reader(io.StringIO(text, newline=""), strict=True, **_options(dialect)) if r]
    names = records.pop(0) if dialect.header else list(COLUMNS)
    places = [[name.strip().lower() for name in names].index(name) for name in COLUMNS]
    return [_typed([record[place] for place in places], dialect, len(record) == len(names)) for record in records]


def _read_json(content: bytes) -> list[Row]:
    def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = {name.lower(): value for name, value in pairs}
        if len(found) < len(pairs):
            raise NotReadableError("a field twice")
        return found

    def line(text: str) -> Row:
        row = json.loads(text, object_pairs_hook=fields, parse_float=str, parse_int=str)
        texts = [
            value if value is None else str(value).lower() if isinstance(value, bool) else value
            for value in (row[name] for name in COLUMNS)
        ]
        return _typed(texts, JsonLines(), True)

    text = content.decode().removeprefix("\ufeff")
    return [line(text) for text in re.split("\r\n?|\n", text) if text.strip()]


def _read_excel(content: bytes) -> list[Row]:
    sheet = openpyxl.load_workbook(io.BytesIO(content), data_only=True)["Sheet"]
    header, *rows = sheet.iter_rows(values_only=True)
    places = [[str(name).strip().lower() for name in header].index(name) for name in COLUMNS]
    return [_of_cells([row[place] for place in places]) for row in rows if any(cell is not None for cell in row)]


def _of_cells(cells: list[Any]) -> Row:
    number, name, amount, day = cells
    texts = [_text(number), name, _text(amount), str(day.date()) if isinstance(day, dt.datetime) else day and str(day)]
    return _typed(texts, Excel("Sheet"), True)


def _text(cell: Any) -> str | None:
    return None if cell is None else str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _read_parquet(content: bytes) -> list[Row]:
    table = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
    table.validate(full=True)
    names = {name.strip().lower(): name for name in table.column_names}
    return [tuple(row[names[name]] for name in COLUMNS) for row in table.to_pylist()]


def _typed(texts: list[Any], values: Values, is_whole: bool) -> Row:
    if not is_whole:
        raise NotReadableError("another number of fields")
    number, name, amount, day = (None if text in values.null_values else text for text in texts)
    return (_number(number, values, int), name, _number(amount, values, float), _day(day, values))


BLANKS = " \t\r\n\u00a0\u202f"


def _number(text: str | None, values: Values, kind: Callable[[str], float]) -> float | None:
    if text is None:
        return None
    plain = text.strip(BLANKS)
    negative = values.negative_parentheses and plain.startswith("(") and plain.endswith(")")
    plain = plain[1:-1] if negative else plain
    for currency in values.currencies:
        sign = re.fullmatch(
            rf"([+-]?)(?:{re.escape(currency)}[{BLANKS}]*([^{currency}]*)|([^{currency}]*?)[{BLANKS}]*{re.escape(currency)})",
            plain,
        )
        plain = sign[1] + (sign[2] or sign[3] or "") if sign else plain
    if values.negative_parentheses and values.currencies and re.fullmatch(r"\([^()]*\)", plain):
        plain, negative = plain[1:-1], True
    whole, point, rest = plain.partition(values.decimal)
    if values.thousands and values.thousands in whole:
        if not re.fullmatch(rf"[+-]?[0-9]{{1,3}}({re.escape(values.thousands)}[0-9]{{3}})+", whole):
            raise NotReadableError(f"{text} is not grouped")
        whole = whole.replace(values.thousands, "")
    plain = whole + ("." if point else "") + rest
    if kind is int:
        if not re.fullmatch(r"[+-]?[0-9]+(\.00?)?", plain, re.ASCII) or (negative and plain[0] in "+-"):
            raise NotReadableError(f"{text} is no whole number")
        number = int(plain.partition(".")[0])
        if not -(2**63) <= number < 2**63:
            raise NotReadableError(f"{text} is too large")
        return -number if negative else number
    if not re.fullmatch(
        r"[+-]?(nan|inf|infinity|([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?)", plain, re.ASCII | re.IGNORECASE
    ):
        raise NotReadableError(f"{text} is no number")
    result = float(plain)
    if math.isinf(result) and "inf" not in plain.lower():
        raise NotReadableError(f"{text} is too large")
    return -result if negative else result


def _day(text: str | None, values: Values) -> dt.date | None:
    if text is None:
        return None
    plain = text.strip(BLANKS)
    if values.date_format is None:
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", plain, re.ASCII):
            raise NotReadableError(f"{text} is no date")
        return dt.date.fromisoformat(plain)
    day = dt.datetime.strptime(plain, values.date_format).date()
    digits = re.findall(r"[0-9]+", plain, re.ASCII)
    if "%Y" in values.date_format and len(digits[-1]) != 4:
        raise NotReadableError(f"{text} has a year of two digits")
    return day


def _gunzip(content: bytes) -> bytes:
    with gzip.open(io.BytesIO(content)) as file:
        return file.read()


def _zip(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows", content)
    return packed.getvalue()


def _unzip(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = archive.namelist()
        return archive.read(name)


def cases(seed: int, count: int) -> Iterator[tuple[int, Dialect, bytes]]:
    """Damaged files.

    Args:
        seed: makes the same files again.
        count: how many.

    Yields:
        The number of the case, how the file is declared, and its content.
    """
    ways = dialects()
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        way = chance.choice(ways)
        # A tenth is written in another way than declared.
        written = chance.choice(ways) if chance.random() < 0.1 else way
        yield number, way, damaged(written.write(some_rows(chance)), chance)

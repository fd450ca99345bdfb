"""Find how a CSV file is written, by its first lines."""

import csv
import re
from collections import Counter
from collections.abc import Sequence

from ingestion.files.csv_rows import USUAL_DELIMITERS
from ingestion.files.formats import Csv

# Lines above the header, such as a title, at most.
TITLES = 10


def dialect(lines: Sequence[str], encoding: str) -> tuple[Csv, list[str]]:
    """Find a CSV file's delimiter, header, and whether its lines were quoted once more.

    Args:
        lines: its first lines.
        encoding: its encoding.

    Returns:
        How the file is written, and what was found and why.
    """
    evidence: list[str] = []
    wrapped = _is_wrapped(lines)
    if wrapped:
        evidence.append("wrapped_lines: lines with a quote are quoted once more as a whole")
        lines = [next(csv.reader([line]), [""])[0] + "\n" if line.startswith('"') else line for line in lines]
    delimiter = max(USUAL_DELIMITERS, key=lambda sign: _agreement(lines, sign))
    width = _agreement(lines, delimiter)[1] or 1
    titles = _lines_above(lines, delimiter, width)
    if titles:
        evidence.append(f"skip_lines {titles}: the first lines are no rows: {' '.join(lines[0].split())!r}")
    rows = [row for row in csv.reader(lines[titles:], delimiter=delimiter) if len(row) == width]
    header = bool(rows) and _has_header(rows)
    quote: str | None = '"'
    if not any('"' in line for line in lines) and any(
        re.search(rf"'[^'\n]*{re.escape(delimiter)}", line) for line in lines
    ):
        by_single = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter, quotechar="'"))
        quote = (
            "'"
            if len(by_single) == 1 < len(Counter(len(row) for row in csv.reader(lines, delimiter=delimiter)))
            else '"'
        )
    found = Csv(
        delimiter=delimiter,
        quote=quote,
        escape=quote,
        encoding=encoding,
        header=header,
        skip_lines=titles,
        wrapped_lines=wrapped,
    )
    if not header and rows:
        evidence.append(f"header False: the first line holds values ({', '.join(rows[0][:3])}); columns have no names")
    return found, evidence


def _lines_above(lines: Sequence[str], delimiter: str, width: int) -> int:
    """The number of lines before the first that has as many fields as most have."""
    reader = csv.reader(lines[:TITLES], delimiter=delimiter)
    above = 0
    for row in reader:
        if len(row) == width:
            return above
        above = reader.line_num
    return 0


def _is_wrapped(lines: Sequence[str]) -> bool:
    """Lines quoted once more as a whole: each is one field, which itself has as many fields as the header."""
    body = [line for line in lines[1:50] if line.startswith('"')]
    if not body or lines[0].startswith('"'):
        return False
    for delimiter in USUAL_DELIMITERS:
        width = len(lines[0].split(delimiter))
        inner = [next(csv.reader([line], delimiter=delimiter), []) for line in body]
        if width > 1 and all(
            len(fields) == 1 and len(next(csv.reader(fields, delimiter=delimiter), [])) == width for fields in inner
        ):
            return True
    return False


def _agreement(lines: Sequence[str], delimiter: str) -> tuple[int, int]:
    """How many lines a delimiter cuts into the same number of fields, more than one, and that number."""
    widths = Counter(len(row) for row in csv.reader(list(lines), delimiter=delimiter) if len(row) > 1)
    width, times = widths.most_common(1)[0] if widths else (0, 0)
    return times, width


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """The first row names columns, when each of its fields is a name, and none is like the values below it."""
    first = [name.strip() for name in rows[0]]
    if len(set(first)) < len(first) or not all(first):
        return False
    below = [{_shape(row[place]) for row in rows[1:200] if row[place].strip()} for place in range(len(first))]
    # A shape with digits, such as A999, tells values from names.
    alike = [name for name, shapes in zip(first, below, strict=True) if "9" in _shape(name) and _shape(name) in shapes]
    return not alike and not any(re.fullmatch(r"[-+]?[\d.,:/ -]*\d[\d.,:/ -]*", name) for name in first)


def _shape(text: str) -> str:
    return re.sub(r"[^\W\d_]+", "A", re.sub(r"\d+", "9", text.strip()))

"""JSON lines: one object per line, its numbers as they are spelled."""

import json
import re
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingestion.files.formats import JsonLines
from ingestion.files.rows import MORE, ROW, Record
from ingestion.files.text import UNDECODABLE, UndecodableError, shorten, text_lines, undecodable
from ingestion.raw_tables import LoadError, stored_name

LINES_PER_BATCH = 50_000
# Escapes that may stand for no character: halves of surrogate pairs, and NUL.
SUSPICIOUS = re.compile(r"\\u(?:[dD]|0000)")


class _WrongLineError(Exception):
    """A line is no row.

    Args:
        problem: what is wrong with it.
        way_out: what to do.
    """

    def __init__(self, problem: str, way_out: str = "Have it sent again") -> None:
        super().__init__(problem)
        self.way_out = way_out


class _Number(str):
    """A number as it is spelled."""


class _Object(list[tuple[str, Any]]):
    """A nested object's fields in their order."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


# Numbers stay text, and an object is the list of its fields, so that none that comes twice is lost. The first decoder
# is several times as fast, but cannot tell a nested number from a text.
DECODE_FLAT = json.JSONDecoder(
    object_pairs_hook=list, parse_int=str, parse_float=str, parse_constant=_no_constant
).decode
DECODE_NESTED = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_Number, parse_float=_Number, parse_constant=_no_constant
).decode


class JsonRows:
    """A file of JSON lines (see `rows.FileRows`).

    The declared columns come as text columns, all other fields of a line as a map.

    Args:
        path: the file.
        dialect: how it is written.
        declared: the declared columns, as stored.
    """

    def __init__(self, path: Path, dialect: JsonLines, declared: list[str]) -> None:
        self.path = path
        self.values = dialect
        self.dialect = dialect
        self.names = declared
        self.skipped = 0
        self._shapes: dict[tuple[str, ...], _Shape] = {}

    def batches(self, skip_bad: bool) -> Iterator[pa.RecordBatch]:
        """Read all rows (see `rows.FileRows`)."""
        self.skipped = 0
        batch = _Batch(len(self.names))
        try:
            for number, line in enumerate(text_lines(self.path, self.dialect.encoding, mark=skip_bad), start=1):
                if line.isspace():
                    continue
                try:
                    declared, more = self._row(line)
                except _WrongLineError as error:
                    if not skip_bad:
                        raise LoadError(
                            f"{self.place(number)}: {error}. {error.way_out}; nothing was loaded."
                        ) from None
                    self.skipped += 1
                    continue
                batch.add(number, declared, more)
                if len(batch.numbers) == LINES_PER_BATCH:
                    yield batch.as_arrow()
                    batch = _Batch(len(self.names))
        except UndecodableError:
            raise undecodable(self.path, self.dialect.encoding) from None
        yield batch.as_arrow()

    def records(self) -> Iterator[Record]:
        """Read the file once more (see `rows.FileRows`)."""
        for number, line in enumerate(text_lines(self.path, self.dialect.encoding), start=1):
            if line.isspace():
                continue
            try:
                self._row(line)
                yield Record(number, line, number)
            except _WrongLineError as error:
                yield Record(number, line, problem=str(error))

    def place(self, line: int) -> str:
        """Say for a message where in the file a record is."""
        return f"{self.path}, line {line}"

    def _row(self, line: str) -> tuple[tuple[Any, ...], list[tuple[str, Any]] | None]:
        """The values of the declared columns, and all other fields."""
        if UNDECODABLE in line:
            raise _WrongLineError("some bytes are no text")
        # What is nested, and escapes that may stand for no character, need a closer look.
        is_flat = "[" not in line and line.count("{") == 1 and not SUSPICIOUS.search(line)
        try:
            fields = (DECODE_FLAT if is_flat else DECODE_NESTED)(line)
        except (ValueError, RecursionError) as error:
            problem = str(error).partition(": line ")[0] if isinstance(error, ValueError) else "nested too deeply"
            raise _WrongLineError(f"it is no JSON object ({problem}): {shorten(line)}") from None
        if not isinstance(fields, list if is_flat else _Object):
            raise _WrongLineError(f"it is no JSON object: {shorten(line)}")
        if not is_flat:
            fields = [(_text(name), _text(value)) for name, value in fields]
        names, values = zip(*fields, strict=True) if fields else ((), ())
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._shapes[names] = _Shape(names, self.names)
        if shape.problem:
            raise _WrongLineError(shape.problem)
        if shape.missing and not self.dialect.omits_nulls:
            raise _WrongLineError(
                f"missing field {', '.join(shape.missing)} (the line has: {shorten(', '.join(names))})",
                "Have it sent again, or, if lines leave out fields without a value, declare omits_nulls=True",
            )
        more = [(name, values[place]) for name, place in shape.more] if shape.more else None
        return shape.declared((*values, None)), more


class _Shape:
    """Where a line whose fields have certain names has what.

    Args:
        names: the names in the order of the line.
        declared: the declared columns, as stored.
    """

    def __init__(self, names: tuple[str, ...], declared: list[str]) -> None:
        places: dict[str, int] = {}
        self.problem = ""
        for place, name in enumerate(names):
            stored = stored_name(name) if name.strip() else ""
            if not stored:
                self.problem = "a field has no name"
            elif stored in places:
                self.problem = f"field {name} appears more than once"
            places[stored] = place
        self.missing = [name for name in declared if name not in places]
        self.more = [(name, place) for name, place in places.items() if name not in declared]
        # One place behind the last stands for null.
        order = [places.get(name, len(names)) for name in declared]
        self.declared: Callable[[tuple[Any, ...]], tuple[Any, ...]] = (
            itemgetter(*order) if len(order) > 1 else lambda values: (values[order[0]],)
        )


class _Batch:
    def __init__(self, width: int) -> None:
        self.width = width
        self.numbers: list[int] = []
        self.rows: list[tuple[Any, ...]] = []
        self.more: list[list[tuple[str, str | None]] | None] = []

    def add(self, number: int, declared: tuple[Any, ...], more: list[tuple[str, Any]] | None) -> None:
        self.numbers.append(number)
        self.rows.append(declared)
        self.more.append([(name, _scalar(value)) for name, value in more] if more else None)

    def as_arrow(self) -> pa.RecordBatch:
        columns = [
            pa.array(values if bool not in set(map(type, values)) else map(_scalar, values), pa.string())
            for values in (zip(*self.rows, strict=True) if self.rows else [()] * self.width)
        ]
        fields = [f"f{position}" for position in range(self.width)]
        more = pa.array(self.more, pa.map_(pa.string(), pa.string()))
        return pa.RecordBatch.from_arrays([*columns, pa.array(self.numbers, pa.int64()), more], [*fields, ROW, MORE])


def _scalar(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else "true" if value else "false"


def _text(value: Any) -> str | None:
    """A value as text, checked to be valid Unicode."""
    text = _nested(value) if isinstance(value, list) else _scalar(value)
    if text is None:
        return None
    if "\0" in text:
        raise _WrongLineError("it holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _WrongLineError("it holds half of a surrogate pair, which is no character") from None
    return str(text)


def _nested(value: Any) -> str:
    """A nested value as JSON text, its numbers as they were spelled."""
    if isinstance(value, _Object):
        return "{" + ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {_nested(v)}" for name, v in value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_nested, value)) + "]"
    return str(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)

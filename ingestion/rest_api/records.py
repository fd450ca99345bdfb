"""The records of an API as rows: declared fields, each of its type, exactly as sent or not at all."""

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Context, Decimal
from typing import Any, NoReturn

import pyarrow as pa
from dlt.common.normalizers.naming.snake_case import NamingConvention

from ingestion.raw_tables import LoadError
from ingestion.types import TYPES
from warehouse.terminal import printable

# The number of a record within its pull, from 1: of several versions of a record in one pull, the last one counts.
RECORD_NUMBER = "_record_number"

SHOWN_CHARACTERS = 40
SEPARATOR = "__"
WHOLE_NUMBER = re.compile(r"[+-]?\d{1,30}")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
TIME = re.compile(r"\d{2}:\d{2}(:\d{2}([.,]\d+)?)?")
# A date and a time; fractions of a second after the sixth digit are dropped.
TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?([Zz]|[+-]\d{2}(:?\d{2})?)?")

_identifiers: dict[str, str] = {}


class Records:
    """Makes rows of an API's records.

    A declared column names a field by its path as dlt would store it: `customer__id` is `id` in the object `customer`.
    With `rows`, each entry of that list is a row with the fields of its record, which are repeated; a record whose list
    is empty is one row without the list's fields, so that a newer version of a record is always seen.

    How a value becomes that of a column:

    - text: text as sent; a number in full, with its digits as sent and without an exponent; true and false as words; an
      object or list as JSON text.
    - bigint: a whole number, or text of digits; 5.0 counts as 5.
    - decimal(p,s): a number or the text of one, exactly; more digits than declared are an error, never rounded.
    - double: a number or the text of one, as the nearest binary fraction; whole numbers that it cannot hold are errors.
    - bool: true or false.
    - date: YYYY-MM-DD.
    - time: HH:MM, HH:MM:SS or with a fraction.
    - timestamp: ISO 8601 with a date and a time. With Z or an offset it is stored in UTC; without, as sent. A column
      that has both in one pull is an error. Digits after the sixth of a second are dropped.
    - timestamp with time zone: the same, with Z or an offset, as a moment.
    - json: anything, as JSON text with numbers as sent.
    - null and, where `optional` names it, a field that is left out are null.

    Args:
        table: the raw table, with its source, for messages.
        columns: stored column name to type.
        key: stored names of the columns that name a record.
        rows: stored path of the list whose entries are rows; None: a record is a row.
        optional: stored paths of fields that may be left out; for a list that may also be null.

    Attributes:
        count: records so far.
        not_taken: fields that were sent and are in no column.
    """

    def __init__(
        self,
        table: str,
        columns: Mapping[str, str],
        key: Sequence[str],
        rows: str | None = None,
        optional: Sequence[str] = (),
    ) -> None:
        self.table = table
        self.columns = columns
        self.key = key
        self.rows = rows
        self.count = 0
        self.not_taken: set[str] = set()
        self._zoned: dict[str, bool] = {}
        self._of_lines = [name for name in columns if rows and name.startswith(rows + SEPARATOR)]
        self._of_record = [name for name in columns if name not in self._of_lines]
        fields = {*self._of_record, *([rows] if rows else [])}
        below = tuple(path + SEPARATOR for path in optional)
        self._optional = {name for name in (*fields, *self._of_lines) if name in optional or name.startswith(below)}
        self._required = fields - self._optional
        self._required_of_lines = {*self._of_lines} - self._optional
        self._parents = {
            SEPARATOR.join(parts[:length])
            for parts in (name.split(SEPARATOR) for name in (*columns, *([rows] if rows else [])))
            for length in range(1, len(parts))
        }
        self._converters = {name: self._converter(name, kind) for name, kind in columns.items()}
        self.schema = pa.schema(
            [*((name, TYPES[kind].arrow) for name, kind in columns.items()), (RECORD_NUMBER, pa.int64())]
        )

    def to_table(self, records: Sequence[Mapping[str, Any]], page: int) -> pa.Table:
        """Make rows of the records of one page.

        Args:
            records: as read from JSON, fractions as Decimal.
            page: the page's number, for messages.

        Raises:
            LoadError: a field is missing, or does not fit its column.
        """
        rows: list[dict[str, Any]] = []
        for record in records:
            self.count += 1
            rows += self._rows(record, page)
        return pa.Table.from_pylist(rows, schema=self.schema)

    def _rows(self, record: Mapping[str, Any], page: int) -> Iterator[dict[str, Any]]:
        """The rows of a record: one, or one for each entry of its list."""
        fields: dict[str, Any] = {}
        self._take(record, "", fields, page)
        self._complete(self._required, fields, fields, page)
        for name in self.key:
            if fields.get(name) is None:
                self._fail(page, fields, f"its key {name} is empty")
        row = {RECORD_NUMBER: self.count, **self._converted(self._of_record, fields, fields, page)}
        lines = self._lines(fields, page)
        for line in lines:
            taken: dict[str, Any] = {}
            self._take(line, f"{self.rows}{SEPARATOR}", taken, page)
            self._complete(self._required_of_lines, taken, fields, page)
            yield row | self._converted(self._of_lines, taken, fields, page)
        if not lines:
            yield row

    def _lines(self, fields: Mapping[str, Any], page: int) -> list[Mapping[str, Any]]:
        """The entries of the list that are rows."""
        lines = fields.get(self.rows) if self.rows else []
        if lines is None and self.rows in self._optional:
            return []
        if not isinstance(lines, list) or not all(isinstance(line, Mapping) for line in lines):
            way_out = f" If that means none, name it in `optional`: ({self.rows!r},)." if lines is None else ""
            self._fail(page, fields, f"{self.rows} is {_shown(lines)} where a list of objects should be.{way_out}")
        return lines

    def _take(self, value: Mapping[str, Any], prefix: str, fields: dict[str, Any], page: int) -> None:
        """Take the declared fields of an object, and note the others."""
        for key, item in value.items():
            name = prefix + identifier(key)
            if name in self.columns or name == self.rows:
                if name in fields:
                    self._fail(page, fields, f"it has {name} twice, spelled in two ways")
                fields[name] = item
            elif name in self._parents and isinstance(item, Mapping):
                self._take(item, name + SEPARATOR, fields, page)
            elif name in self._parents and item is None:
                # Nothing is in it: a guest's order has no customer.
                fields |= {column: None for column in self.columns if column.startswith(name + SEPARATOR)}
                if self.rows and self.rows.startswith(name + SEPARATOR):
                    fields[self.rows] = None
            else:
                self.not_taken.add(name)

    def _complete(self, required: set[str], taken: Mapping[str, Any], record: Mapping[str, Any], page: int) -> None:
        missing = sorted(required - taken.keys())
        if missing:
            others = f" It has other fields: {', '.join(sorted(self.not_taken)[:20])}." if self.not_taken else ""
            self._fail(
                page,
                record,
                f"the field {missing[0]} is missing.{others} If it was renamed, declare its new name; if it may be "
                f"left out, name it in `optional`: ({missing[0]!r},)",
            )

    def _converted(
        self, names: Iterable[str], taken: Mapping[str, Any], record: Mapping[str, Any], page: int
    ) -> dict[str, Any]:
        """Values as those of their columns; null is null."""
        converted: dict[str, Any] = {}
        for name in names:
            value = taken.get(name)
            try:
                converted[name] = None if value is None else self._converters[name](value)
            except (ValueError, OverflowError) as error:
                reason = f" ({error})" if str(error) else ""
                self._fail(
                    page,
                    record,
                    f"{name} is {_shown(value)}, which is no {self.columns[name]}{reason}. Have it corrected, or "
                    "declare another type",
                )
        return converted

    def _fail(self, page: int, record: Mapping[str, Any], what: str) -> NoReturn:
        key = ", ".join(f"{name} {_shown(record[name])}" for name in self.key if record.get(name) is not None)
        raise LoadError(
            f"{self.table}: page {page}, record {self.count} of the pull{f' ({key})' if key else ''}: {what}. "
            "Nothing was loaded."
        ) from None

    def _converter(self, name: str, kind: str) -> Callable[[Any], Any]:
        if kind == "timestamp":
            return lambda value: self._timestamp(name, value)
        if kind.startswith("decimal"):
            arrow = TYPES[kind].arrow
            unit, context = Decimal(1).scaleb(-arrow.scale), Context(prec=arrow.precision + 1, traps=[])
            return lambda value: _decimal(value, unit, context)
        return CONVERTERS[kind]

    def _timestamp(self, name: str, value: Any) -> dt.datetime:
        moment = timestamp(value)
        zoned = moment.tzinfo is not None
        if self._zoned.setdefault(name, zoned) != zoned:
            raise ValueError("some values have a time zone and others have none")
        return moment.astimezone(dt.UTC).replace(tzinfo=None) if zoned else moment


def stored_path(path: str) -> str:
    """Say what a field's path is called in the warehouse.

    Args:
        path: in dots as in JSON paths or in the stored form: `lineItems.id` and `line_items__id` are the same.
    """
    return SEPARATOR.join(identifier(part) for part in path.replace(".", SEPARATOR).split(SEPARATOR))


def timestamp(value: Any) -> dt.datetime:
    """Read a timestamp.

    Args:
        value: ISO 8601 text with a date and a time.

    Returns:
        With a time zone where the text has one.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not TIMESTAMP.fullmatch(value):
        raise ValueError
    return dt.datetime.fromisoformat(value.upper())


def whole_number(value: Any) -> int:
    """Read a whole number of 64 bits.

    Args:
        value: an int, a Decimal without a fraction, or text of digits.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, str) and WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    if isinstance(value, Decimal) and abs(value.adjusted()) < 30 and value == value.to_integral_value():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError
    if not -(2**63) <= value < 2**63:
        raise ValueError("it does not fit into 64 bits")
    return value


def identifier(key: str) -> str:
    """Say what a single key is called in the warehouse.

    Args:
        key: of an object; a dot in it is no path.
    """
    if key not in _identifiers:
        _identifiers[key] = NamingConvention().normalize_identifier(key) if key.strip() else "_"
    return _identifiers[key]


def _text(value: Any) -> str:
    if isinstance(value, str):
        # Half of a surrogate pair is no character, and cannot be stored.
        value.encode()
        return value
    return _json(value)


def _json(value: Any) -> str:
    """JSON with numbers as they were sent; the library's own would make binary fractions of them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_json(key)}: {_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    if isinstance(value, Decimal):
        if abs(value.adjusted()) > 1000:
            raise ValueError("too many digits")
        return format(value, "f")
    text = json.dumps(value, ensure_ascii=False)
    text.encode()
    return text


def _number(value: Any) -> Decimal:
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return Decimal(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    raise ValueError


def _double(value: Any) -> float:
    exact = _number(value)
    number = float(exact)
    if number in (float("inf"), float("-inf")) or (isinstance(value, int) and int(number) != value):
        raise ValueError("it does not fit into 64 bits")
    return number


def _decimal(value: Any, unit: Decimal, context: Context) -> Decimal:
    """A number of whole units, such as cents; the context has one digit more than the column."""
    number = _number(value)
    exact = number.quantize(unit, context=context)
    if exact.is_nan() or len(exact.as_tuple().digits) >= context.prec:
        raise ValueError("it has more digits")
    if exact != number:
        raise ValueError(f"it has more than {-unit.adjusted()} digits after the point")
    return exact


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _date(value: Any) -> dt.date:
    if not isinstance(value, str) or not DATE.fullmatch(value):
        raise ValueError
    return dt.date.fromisoformat(value)


def _time(value: Any) -> dt.time:
    if not isinstance(value, str) or not TIME.fullmatch(value):
        raise ValueError
    return dt.time.fromisoformat(value)


def _moment(value: Any) -> dt.datetime:
    moment = timestamp(value)
    if moment.tzinfo is None:
        raise ValueError("it has no time zone")
    return moment.astimezone(dt.UTC)


# Types that need nothing but the value; decimal and timestamp need more.
CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "bigint": whole_number,
    "bool": _bool,
    "date": _date,
    "double": _double,
    "json": _json,
    "text": _text,
    "time": _time,
    "timestamp with time zone": _moment,
}


def _shown(value: Any) -> str:
    text = printable(_safe(value))
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def _safe(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return json.dumps(str(value) if isinstance(value, Decimal) else value)

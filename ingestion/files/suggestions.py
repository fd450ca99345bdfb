"""What to declare instead, where a value is not spelled as declared: for messages only, nothing is read by it."""

import re
from collections.abc import Iterator
from dataclasses import fields, replace

import duckdb

from ingestion.files.formats import Values
from ingestion.files.values import converted
from ingestion.types import TYPES
from warehouse.sql import quote_text

SPELLINGS_OF_NUMBERS = ((".", None), (",", None), (".", ","), (",", "."), (",", " "), (".", " "), (".", "'"))
SPELLINGS_OF_DATES = (
    "%Y-%m-%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d %b %Y",
)
SPELLINGS_OF_TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p", " %H:%M:%S.%f")
WIDER = {"bigint": ("double",), "date": ("timestamp",), "timestamp": ("timestamp with time zone",)}
WORDS_FOR_NULL = {"null", "none", "na", "n/a", "#n/a", "nan", "nil", "\\n", "-", "--", "?", "."}


def suggestion(text: str, kind: str, values: Values) -> str | None:
    """Find a declaration under which a value would be of its type.

    Args:
        text: the value.
        kind: the declared type.
        values: how values are declared to be spelled.

    Returns:
        What to declare, such as `decimal=','`; None when no usual spelling fits.
    """
    if not text.strip() or text.strip().lower() in WORDS_FOR_NULL:
        return f"null_values={(*values.null_values, text)!r}"
    with duckdb.connect() as connection:

        def fits(other: Values, other_kind: str = kind) -> bool:
            query = f"select {converted(quote_text(text), other_kind, other)} is not null"
            return bool(connection.execute(query).fetchall()[0][0])

        if kind == "bigint" and re.fullmatch(r"\s*[+-]?[0-9]+\s*", text):
            return "the column as text: the number is too large"
        if kind.startswith("decimal") and fits(values, "double"):
            return "the column with more digits"
        found = [other for other in _others(text, kind, values) if fits(other)]
        for wider in WIDER.get(kind, ()) if not found else ():
            if wider in TYPES and fits(values, wider):
                return f"the column as {wider}"
        if not found:
            return None
    if kind in ("date", "timestamp"):
        return " or ".join(dict.fromkeys(_difference(values, other) for other in found[:2]))
    return _difference(values, found[0])


def _others(text: str, kind: str, values: Values) -> Iterator[Values]:
    if kind == "date":
        yield from (replace(values, date_format=pattern) for pattern in SPELLINGS_OF_DATES)
    elif kind == "timestamp":
        yield from (
            replace(values, timestamp_format=day + time) for time in SPELLINGS_OF_TIMES for day in SPELLINGS_OF_DATES
        )
    elif kind in ("bigint", "double") or kind.startswith("decimal"):
        sign = re.search(r"[^\W\d_]{2,4}|[^\w\s.,'()+-]", text)
        currencies = [values.currency, sign[0]] if sign else [values.currency]
        for currency in currencies:
            for parentheses in {values.negative_parentheses, text.strip().startswith("(")}:
                for decimal, thousands in SPELLINGS_OF_NUMBERS:
                    yield replace(
                        values,
                        decimal=decimal,
                        thousands=thousands,
                        currency=currency,
                        negative_parentheses=parentheses,
                    )


def _difference(values: Values, other: Values) -> str:
    changed = (field.name for field in fields(Values) if getattr(values, field.name) != getattr(other, field.name))
    return ", ".join(f"{name}={getattr(other, name)!r}" for name in changed)

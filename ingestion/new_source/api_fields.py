"""The fields of an API's records: which columns they become, of which types, and by which names they are known."""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ingestion.new_source.found import Column, Found
from ingestion.new_source.match import CUSTOMERS, PRODUCTS, PURCHASES, by_name
from ingestion.raw_tables import RESERVED_PREFIXES, LoadError, stored_name
from ingestion.rest_api.records import SEPARATOR, Records, identifier

AMOUNTS = (
    *(pattern for patterns, must_be in PURCHASES.values() if must_be == "number" for pattern in patterns),
    *CUSTOMERS["income"][0],
)

Record = Mapping[str, Any]


def fields_of(record: Record, prefix: str = "") -> dict[str, Any]:
    """Name a record's fields as they are stored: those of its objects are its own, what is deeper is JSON.

    Args:
        record: as read from JSON.
        prefix: stands before each name.
    """
    fields: dict[str, Any] = {}
    for key, value in record.items():
        name = prefix + identifier(key)
        if isinstance(value, dict):
            fields |= {f"{name}{SEPARATOR}{identifier(inner)}": one for inner, one in value.items()}
        else:
            fields[name] = value
    return fields


def lines_in(records: Sequence[Record]) -> str | None:
    """Find the list in records whose entries are purchase lines: they name a product and a quantity or an amount.

    Args:
        records: as read from JSON.
    """
    entries: dict[str, list[Record]] = {}
    for record in records:
        for name, value in fields_of(record).items():
            if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
                entries.setdefault(name, []).extend(value)
    scores = {}
    for name, lines in entries.items():
        columns, _ = columns_of([fields_of(line) for line in lines], [], None)
        matched = by_name("purchases", Found(name, {}, columns, ""))
        have = matched.columns.keys() | matched.candidates.keys()
        # The variants of a product have prices, too.
        if "product_id" in have and have & {"quantity", "amount"}:
            scores[name] = (bool(re.search("line|item|position|product", name)), len(have))
    return max(scores, key=lambda name: scores[name], default=None)


def columns_of(
    fields: Sequence[Record], of_lines: Sequence[Record], rows: str | None
) -> tuple[list[Column], list[str]]:
    """Find the columns of records, and those that not all records have.

    Args:
        fields: the records, by `fields_of`, without their lines.
        of_lines: the lines of all records, by `fields_of`.
        rows: the stored name of the list of lines; None: a record is a row.
    """
    columns: list[Column] = []
    optional = []
    for each in (fields, of_lines):
        names = dict.fromkeys(name for one in each for name in one)
        parents = {name.rpartition(SEPARATOR)[0] for name in names}
        for name in names:
            # Names that the loader has for itself, or that are none, cannot be declared: each load names them.
            if name in parents or name.startswith(RESERVED_PREFIXES) or stored_name(name) != name:
                continue
            parent = name.rpartition(SEPARATOR)[0]
            if not all(name in one or (parent in one and one[parent] is None) for one in each):
                optional.append(name)
            columns.append(Column(name, _type(name, [one.get(name) for one in each])))
    own = {column.name for column in columns}
    known: set[str] = set()
    # Of two fields with a name, the one that is less deep is it: customer_id, and not the customer's id.
    for column in sorted(columns, key=lambda one: one.name.removeprefix(f"{rows}{SEPARATOR}").count(SEPARATOR)):
        in_line = rows is not None and column.name.startswith(rows + SEPARATOR)
        parts = column.name.removeprefix(f"{rows}{SEPARATOR}").split(SEPARATOR)
        short = parts[-1]
        if len(parts) > 1 and re.fullmatch("id|nr|no|number|key|code|name|title", short):
            short = "_".join(parts)
        if in_line and short in ("id", "number"):
            short = f"line_{short}"
        elif rows and not in_line and short == "id":
            short = "order_id"
        elif rows and not in_line and any(re.fullmatch(one, short) for one in _of_lines("id" in own)):
            # An order's own name and amounts are not those of a line.
            short = f"of_order_{short}"
        column.known_as = "_".join(parts) if short in known else short
        known.add(column.known_as)
    return columns, optional


def _of_lines(has_id: bool) -> Iterator[str]:
    """Names that say something else of an order than of a line; where an order has an id, also its other numbers."""
    yield from AMOUNTS
    yield from (pattern for patterns, _ in PRODUCTS.values() for pattern in patterns)
    if has_id:
        yield from PURCHASES["basket_id"][0]


def _type(name: str, values: Sequence[Any]) -> str:
    """The first type that all values have, as a load converts them; text where there is none."""
    there = [value for value in values if value is not None]
    is_amount = any(re.fullmatch(one, name.rpartition(SEPARATOR)[2]) for one in AMOUNTS)
    if not there or any(isinstance(value, dict | list) for value in there):
        return "json" if there else "text"
    are_texts = all(isinstance(value, str) for value in there)
    # 007 is a code; so is 123 as text, unless it is the name of an amount.
    # 007 is a code, and so are digits in quotes, unless the field is named like an amount.
    is_code = are_texts and (
        any(re.match(r"0\d", value) for value in there) or not (is_amount or any("." in value for value in there))
    )
    numbers: tuple[str, ...] = ("decimal(18,4)", "decimal(38,10)", "double")
    # An amount that is a whole number today may have cents tomorrow.
    is_quantity = any(re.fullmatch(one, name.rpartition(SEPARATOR)[2]) for one in PURCHASES["quantity"][0])
    if (is_quantity or not is_amount) and not any(isinstance(value, Decimal) for value in there):
        numbers = ("bigint", *numbers)
    for kind in ("bool", *(() if is_code else numbers), "timestamp", "date"):
        try:
            Records("", {"value": kind}, ()).to_table([{"value": value} for value in there], 1)
        except LoadError:
            continue
        return kind
    return "text"

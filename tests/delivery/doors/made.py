"""A published copy that is made up: every table of dbt's metadata, with values that say which column they are from.

A value that gets out somewhere can so be recognised in any answer, whatever its form.
"""

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from delivery.policy import Table
from warehouse.sql import quote_name, quote_table

CUSTOMERS = 40
CATEGORIES = 6
DAY = dt.date(2026, 11, 20)
# Columns by which tables are joined.
CATEGORY_KEYS = ("category_key", "other_category_key", "owned_category_key")
SOURCES = ("source_name", "other_source_name", "customer_source_name", "owned_source_name", "shops")


def mark(table: Table, column: str) -> str:
    """What every value of a column begins with; of a number, its digits."""
    number = MARKS.setdefault((table.full_name, column), len(MARKS))
    return f"zq{number:03}qz"


MARKS: dict[tuple[str, str], int] = {}


def key(customer: int) -> str:
    return f"zqkeyqz:{customer}"


def category(number: int) -> str:
    return f"shop:category {number}"


def value(table: Table, column: str, kind: str, tags: tuple[str, ...], row: int) -> Any:
    """The value of a column in a row. Of the personal words, one is of a single customer."""
    first = kind.lower().split("(")[0]
    customer = row % CUSTOMERS
    if column == "customer_key":
        return key(customer)
    if column in CATEGORY_KEYS:
        return category((row + (column != "category_key")) % CATEGORIES)
    if column in SOURCES:
        return "shop"
    if column == "opportunity_key":
        return f"{key(customer)}:{category(row % CATEGORIES)}"
    if column == "category_label":
        return f"Category {row % CATEGORIES}"
    if first in ("string", "varchar"):
        if "identifier" in tags:
            return f"{mark(table, column)}{row}"
        if "personal" in tags:
            return f"{mark(table, column)}{'rare' if customer == 0 else customer % 2}"
        return f"{mark(table, column)}{row % 3}"
    if first == "boolean":
        return row % 2 == 0
    if first == "date":
        return DAY - dt.timedelta(days=row % 60)
    if first == "timestamp":
        return dt.datetime.combine(DAY - dt.timedelta(days=row % 60), dt.time(12, 0, row % 60))
    if "personal" in tags:
        # Digits that are found nowhere else.
        return (1_876_543_000 if first == "int" else 7_654_321_000) + customer
    if "group_size" in tags:
        return 3 if row % CATEGORIES == 0 else 25
    if first == "double":
        return 0.25 + (row % 5) / 100
    if first == "decimal":
        return Decimal(row % 7) + Decimal("1.25")
    return row % 5 + 1


def rows_of(table: Table) -> int:
    if table.name in ("dim_customers", "customer_numbers"):
        return CUSTOMERS
    if table.name == "dim_categories":
        return CATEGORIES
    if table.name == "shop_status":
        return 1
    return CUSTOMERS * 3


def publish(file: Path, tables: list[Table], extra_rows: int = 0) -> None:
    """Write the copy, and put it in its place in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name("made.part")
    unfinished.unlink(missing_ok=True)
    with duckdb.connect(str(unfinished)) as connection:
        for table in tables:
            connection.execute(f"create schema if not exists {quote_name(table.schema)}")
            name = quote_table(table.schema, table.name)
            columns = ", ".join(f"{quote_name(column.name)} {column.type}" for column in table.columns)
            connection.execute(f"create table {name} ({columns})")
            count = rows_of(table) + (extra_rows if table.name == "fct_purchases" else 0)
            rows = pa.table(  # noqa: F841 (DuckDB finds it by its name)
                {
                    column.name: [
                        value(table, column.name, column.type, column.tags or (), row) for row in range(count)
                    ]
                    for column in table.columns
                }
            )
            connection.execute(f"insert into {name} select * from rows")
    unfinished.replace(file)
    # Two made within a moment are two publications.
    os.utime(file, ns=(publish.counter * 1_000_000_000, 1_780_000_000_000_000_000 + publish.counter * 1_000_000_000))  # type: ignore[attr-defined]
    publish.counter += 1  # type: ignore[attr-defined]


publish.counter = 0  # type: ignore[attr-defined]

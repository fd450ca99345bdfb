"""The corner shop of the tests: what its API has, and loading it."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ingestion.load import load
from ingestion.pipeline import Pipeline
from ingestion.raw_tables import LoadError
from ingestion.rest_api.source import RestApi
from ingestion.source import LoadReport, TableReport
from tests import here
from tests.fixtures.shop_api import TOKEN, Record, ShopApi

# Where the source's module is.
SOURCES = Path(__file__).resolve().parent.parent / "fixtures" / "corner_shop" / "sources"
DATASET = "raw_corner_shop"


def environment(api: ShopApi) -> dict[str, str]:
    """What a user sets; and waits of almost no time between attempts."""
    return {
        "SOURCES__CORNER_SHOP__BASE_URL": api.url,
        "SOURCES__CORNER_SHOP__CREDENTIALS__API_KEY": TOKEN,
        "RUNTIME__REQUEST_BACKOFF_FACTOR": "0.01",
        "RUNTIME__REQUEST_MAX_RETRY_DELAY": "5",
    }


def at(day: int, hour: int = 12, zone: str = "+00:00") -> str:
    """A moment of November 2026, as the API writes it."""
    return f"2026-11-{day:02}T{hour:02}:00:00{zone}"


def line(number: int, product: int | None, quantity: Any = 1, price: Any = "1.50", discount: Any = "0.00") -> Record:
    """A line of an order."""
    return {
        "id": number,
        "product_id": product,
        "quantity": quantity,
        "price": price,
        "total_discount": discount,
        "sku": f"sku-{product}",
    }


def order(number: int, day: int, *lines: Record, customer: int | None = 1, **fields: Any) -> Record:
    """An order, made and last changed at noon of a day."""
    return {
        "id": number,
        "created_at": at(day),
        "updated_at": at(day),
        "cancelled_at": None,
        "currency": "EUR",
        "location_id": 7,
        "customer": None if customer is None else {"id": customer, "email": f"{customer}@example.com"},
        "line_items": list(lines),
        "note": None,
        **fields,
    }


def customer(number: int, day: int = 1, **fields: Any) -> Record:
    """A customer."""
    return {
        "id": number,
        "updated_at": at(day),
        "default_address": {"country_code": "DE", "city": "Bonn"},
        "birth_date": "1980-02-29",
        "accepts_marketing": True,
        **fields,
    }


def product(number: int, title: str = "Milk", **fields: Any) -> Record:
    """A product."""
    return {
        "id": number,
        "title": title,
        "vendor": None,
        "department": "Grocery",
        "product_type": "Dairy",
        "tags": ["fresh"],
        **fields,
    }


def fill(api: ShopApi) -> None:
    """Three customers, four products, and five orders of eight lines in all; one order has none."""
    api.customers = [customer(1), customer(2, default_address=None), customer(3, birth_date=None)]
    api.products = [product(10), product(11, "Bread"), product(12, "Tea"), product(13, "Soap")]
    api.orders = [
        order(101, 10, line(1, 10), line(2, 11, 2, "2.25", "0.50")),
        order(102, 11, line(3, 10)),
        order(103, 12, customer=None),
        order(104, 13, line(4, 12, 3, "0.99"), line(5, 13), line(6, None)),
        order(105, 14, line(7, 10), line(8, 10), customer=2),
    ]


def load_corner_shop(said: list[str] | None = None, tables: Sequence[str] | None = None) -> LoadReport:
    """Load it in this process; `said` gets the lines of progress."""
    return load("corner_shop", here.paths(), tables, say=(said if said is not None else []).append)


def refused(said: list[str] | None = None) -> str:
    """Load it, and return the text of the error that must come; nothing may have been loaded."""
    before = versions()
    with pytest.raises(LoadError) as raised:
        load_corner_shop(said)
    assert versions() == before
    return _one_line(raised.value)


def pull(source: RestApi, said: list[str] | None = None) -> dict[str, TableReport]:
    """Load a source that is declared in a test."""
    with here.connect() as connection:
        pipeline = Pipeline(source.name, source.tables, connection, here.paths())
        reports = source.load(pipeline, source.tables, (said if said is not None else []).append)
        pipeline.prove_arrival()
    return reports


def pull_refused(source: RestApi, said: list[str] | None = None) -> str:
    """Load a source that is declared in a test, and return the text of the error that must come."""
    with pytest.raises(LoadError) as raised:
        pull(source, said)
    return _one_line(raised.value)


def _one_line(error: LoadError) -> str:
    message = str(error)
    assert "\n" not in message
    assert "othing was loaded" in message
    return message


def query(sql: str) -> list[tuple[Any, ...]]:
    """Ask the warehouse."""
    with here.connect() as connection:
        return connection.sql(sql).fetchall()


def exists(table: str = "purchases") -> bool:
    """Whether a raw table is there."""
    sql = f"select * from information_schema.tables where table_schema = '{DATASET}' and table_name = '{table}'"
    return bool(query(sql))


def versions() -> dict[str, list[str]]:
    """Every row of every raw table and of the ledger, without what differs from load to load."""
    if not exists():
        return {}
    return {
        table: sorted(
            map(repr, query(f"select columns(c -> c not in ('_dlt_load_id', 'delivered_at')) from {DATASET}.{table}"))
        )
        for table in ("customers", "products", "purchases", "deliveries")
    }


def lines(columns: str = "id, line_items__id, line_items__product_id") -> list[tuple[Any, ...]]:
    """The lines that count: those of the newest version of each order."""
    return query(
        f"""
        select {columns} from {DATASET}.purchases
        qualify rank() over (partition by id order by _dlt_load_id desc, _record_number desc) = 1
        order by all
        """
    )


def soon(seconds: float) -> dt.datetime:
    """A moment in the future."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)

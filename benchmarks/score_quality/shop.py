"""A shop's purchases as the comparison reads them, and which customers and categories are judged at a cutoff.

Protocol, the same for every method, so that figures compare:

    lines       quantity > 0 and amount > 0, a customer, and a product whose level is known and that can be cross-sold
    active      customers with such a line in the 90 days up to and including the cutoff
    candidates  active customer x category of any line, also of later ones, that the customer never bought up to and
                including the cutoff
    label       bought in the 28 days after the cutoff

Only lines up to and including the cutoff may be used for a score.
"""

import datetime as dt
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from ingestion.sample_shop import PACKAGE
from warehouse.sql import quote_text

HORIZON_DAYS = 28
ACTIVE_DAYS = 90

# The least days between cutoffs when none are named. Far fewer say little about the spread, many more only take time.
STEP_DAYS = 28
MOST_CUTOFFS = 12
WINDOWS_BEFORE = 4

# Files in a shop's folder that may say how it is judged; the first that is there counts.
SETTINGS = ("settings.json", "truth.json")
USUAL_LEVEL = "category"
SAMPLE_NAME = "sample"
SAMPLE_LEVEL = "product_category"
SAMPLE_CUTOFFS = tuple(dt.date(2017, 12, 3) - dt.timedelta(days=STEP_DAYS * n) for n in range(6))
# Petrol, gift cards and sundry bookings: they are never cross-sold.
SAMPLE_LEFT_OUT = ("FUEL", "MISCELLANEOUS")

NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
DECIMALS = (*NUMBERS, "FLOAT", "DOUBLE", "DECIMAL")
DATES = ("DATE", "TIMESTAMP")
PURCHASES = {
    "customer_id": None,
    "basket_id": None,
    "product_id": None,
    "purchased_at": DATES,
    "quantity": DECIMALS,
    "amount": DECIMALS,
}


class ShopError(Exception):
    """The shop's files, or what was asked of them, cannot be used; the message says which and the way out."""


@dataclass(frozen=True)
class Shop:
    """A shop's purchases in an in-memory DuckDB.

    Attributes:
        name: what it is called in tables.
        level: the column of the products that a category is.
        connection: holds the views `lines` (customer_id, basket_id, product_id, purchased_at, quantity, amount: every
            line with a customer, a quantity and an amount), `products` (product_id, category, is_merchandise) and the
            tables `customers` and `categories` (number from 0 in the order of the shop's own value, and that value),
            `days` (customer, category, day, amount; one row per day on which the customer bought in the category) and
            `baskets` (customer, day, baskets: how many), both with the numbers.
        first_day: the oldest day in `days`.
        newest_day: the newest day in `lines`.
        horizon_days: labels are purchases in this many days after a cutoff.
        active_days: active customers bought in this many days up to a cutoff.
        default_cutoffs: those to judge at when none was named, newest first.
    """

    name: str
    level: str
    connection: duckdb.DuckDBPyConnection
    first_day: dt.date
    newest_day: dt.date
    horizon_days: int
    active_days: int
    default_cutoffs: tuple[dt.date, ...]

    def check_cutoff(self, cutoff: dt.date) -> None:
        """Make sure that there is something to learn from before a cutoff and that all labels after it are known.

        Raises:
            ShopError: the history is too short before or after it.
        """
        last = self.newest_day - dt.timedelta(days=self.horizon_days)
        if not self.first_day <= cutoff <= last:
            wanted = f"the cutoff {cutoff} is outside of the history of {self.name}"
            if last < self.first_day:
                raise ShopError(
                    f"{wanted}: purchases from {self.first_day} to {self.newest_day} cannot hold the "
                    f"{self.horizon_days} days after a cutoff. Give more history or a shorter --horizon."
                )
            raise ShopError(
                f"{wanted}: purchases from {self.first_day} to {self.newest_day} allow --cutoff {self.first_day} to "
                f"{last}, so that the {self.horizon_days} days after it are complete."
            )


def find(named: str) -> Sequence[Path | None]:
    """The shops that a word of the command line names.

    Args:
        named: `sample`, the folder of a shop, or a folder of such folders.

    Returns:
        The folder of each shop, in the order of their names; None is the sample.
    """
    if named == SAMPLE_NAME:
        return [None]
    folder = Path(named)
    if (folder / "purchases.parquet").is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/purchases.parquet")) or [folder]


def sample(level: str | None = None, horizon_days: int | None = None, active_days: int | None = None) -> Shop:
    """Open The Complete Journey as its package carries it, with the dates of 2017.

    Args:
        level: a column of its products; default: product_category.
        horizon_days: see `Shop`; default: 28.
        active_days: see `Shop`; default: 90.

    Raises:
        ShopError: the package is not installed, or it has no such level.
    """
    # Found, not imported: importing the package imports pandas, which nothing here needs.
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ShopError(
            "the sample shop is not installed: run `uv sync --group sample`, or name a shop with --shop DIR"
        )
    folder = Path(package.origin).parent / "data"
    connection = _connect()
    products = quote_text(str(folder / "products.parquet"))
    level = _level(connection, folder / "products.parquet", level or SAMPLE_LEVEL)
    connection.execute(
        f"""create table given as
        select household_id as customer_id, basket_id, product_id, transaction_timestamp as purchased_at, quantity,
               sales_value as amount
        from {quote_text(str(folder / "transactions.parquet"))}"""
    )
    left_out = ", ".join(map(quote_text, SAMPLE_LEFT_OUT))
    _products(connection, products, level, f"coalesce(department not in ({left_out}), false)")
    return _shop(
        SAMPLE_NAME, level, connection, horizon_days or HORIZON_DAYS, active_days or ACTIVE_DAYS, SAMPLE_CUTOFFS
    )


def read(
    folder: Path, level: str | None = None, horizon_days: int | None = None, active_days: int | None = None
) -> Shop:
    """Open a shop of one's own.

    Args:
        folder: holds purchases.parquet (customer_id, basket_id, product_id, purchased_at, quantity, amount) and
            products.parquet (product_id and the columns of the levels). Identifiers may have any type; products whose
            level is null are not judged.
        level: the column of products.parquet that a category is. What is None is taken from the folder's settings.json
            or truth.json (level, horizon_days, active_days), else the level is the column `category`, or the only one.
        horizon_days: see `Shop`; else 28.
        active_days: see `Shop`; else 90.

    Raises:
        ShopError: a file or a column is missing or cannot be used, or no line is left.
    """
    settings = _settings(folder)
    level = level or settings.get("level")
    horizon_days = horizon_days or settings.get("horizon_days", HORIZON_DAYS)
    active_days = active_days or settings.get("active_days", ACTIVE_DAYS)
    purchases, products = folder / "purchases.parquet", folder / "products.parquet"
    for path in (purchases, products):
        if not path.is_file():
            raise ShopError(f"{path} is missing: --shop DIR names a folder with purchases.parquet and products.parquet")
    connection = _connect()
    columns = _columns(connection, purchases)
    missing = [name for name in PURCHASES if name not in columns]
    if missing:
        raise ShopError(
            f"{purchases} has no column {', '.join(missing)}. Needed: {', '.join(PURCHASES)}; "
            f"there: {', '.join(columns)}."
        )
    for name, types in PURCHASES.items():
        if types and not columns[name].startswith(types):
            wanted = "a date or a timestamp" if types is DATES else "a number"
            raise ShopError(f"{purchases}, column {name}: it is {columns[name]} and must be {wanted}. Cast it.")
    if "product_id" not in _columns(connection, products):
        raise ShopError(f"{products} has no column product_id, which purchases.parquet refers to. Add it.")
    level = _level(connection, products, level)
    source = quote_text(str(products))
    repeated = connection.execute(
        f"select product_id, count(*) from {source} group by all having count(*) > 1 order by all limit 1"
    ).fetchone()
    if repeated:
        raise ShopError(f"{products}: product_id {repeated[0]} is there {repeated[1]} times. Keep one row per product.")
    connection.execute(f"create table given as select {', '.join(PURCHASES)} from {quote_text(str(purchases))}")
    _products(connection, source, level, "true")
    return _shop(folder.resolve().name, level, connection, horizon_days, active_days, None)


def _settings(folder: Path) -> dict[str, Any]:
    path = next((folder / name for name in SETTINGS if (folder / name).is_file()), None)
    if path is None:
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ShopError(f"{path} is not JSON: {error}. Correct it.") from error
    if not isinstance(settings, dict):
        raise ShopError(f'{path} must hold an object, such as {{"horizon_days": 28, "active_days": 90}}.')
    for name in ("horizon_days", "active_days"):
        days = settings.get(name, 1)
        if not isinstance(days, int) or days < 1:
            raise ShopError(f"{path}, {name}: {days!r} is no number of days. Write 1 or more.")
    return settings


def _connect() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    # The day of a time stamp with a zone must not depend on the machine.
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set enable_progress_bar = false")
    return connection


def _columns(connection: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    try:
        rows = connection.execute(f"describe select * from read_parquet({quote_text(str(path))})").fetchall()
    except duckdb.Error as error:
        raise ShopError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error
    return {row[0]: row[1] for row in rows}


def _level(connection: duckdb.DuckDBPyConnection, products: Path, level: str | None) -> str:
    levels = [name for name in _columns(connection, products) if name != "product_id"]
    if not levels:
        raise ShopError(f"{products} has only product_id: add a column that says which category a product is in.")
    if level is None:
        level = USUAL_LEVEL if USUAL_LEVEL in levels else levels[0] if len(levels) == 1 else None
    if level not in levels:
        problem = f"{products} has no column {level}" if level else "a shop needs a level"
        raise ShopError(f"{problem}: name one with --level; there are {', '.join(levels)}.")
    return level


def _products(connection: duckdb.DuckDBPyConnection, source: str, level: str, is_merchandise: str) -> None:
    column = '"' + level.replace('"', '""') + '"'
    connection.execute(
        f"""create table products as
        select cast(product_id as varchar) as product_id, {column} as category, {is_merchandise} as is_merchandise
        from {source} where product_id is not null"""
    )


def _shop(
    name: str,
    level: str,
    connection: duckdb.DuckDBPyConnection,
    horizon_days: int,
    active_days: int,
    cutoffs: tuple[dt.date, ...] | None,
) -> Shop:
    connection.execute(
        """create view lines as
        select customer_id, cast(basket_id as varchar) as basket_id, cast(product_id as varchar) as product_id,
               cast(purchased_at as timestamp) as purchased_at, quantity, amount
        from given
        where quantity > 0 and amount > 0 and customer_id is not null and purchased_at is not null"""
    )
    connection.execute(
        """create table bought as
        select customer_id, category, cast(purchased_at as date) as day, coalesce(basket_id, '') as basket_id,
               sum(cast(amount as double)) as amount
        from lines join products using (product_id)
        where category is not null and is_merchandise
        group by all"""
    )
    first = _one(connection, "select min(day) from bought")[0]
    if first is None:
        rows, kept, joined = _one(
            connection,
            """select (select count(*) from given), (select count(*) from lines),
            (select count(*) from lines join products using (product_id))""",
        )
        raise ShopError(
            f"{name} has no purchase to judge: of {rows:,} lines {kept:,} have a customer, a day, quantity > 0 and "
            f"amount > 0, of those {joined:,} are of a product of the products' file, of those 0 have a known {level}."
        )
    connection.execute(
        """create table customers as
        select cast(row_number() over (order by customer_id) - 1 as integer) as customer, customer_id
        from (select distinct customer_id from bought) order by customer"""
    )
    connection.execute(
        """create table categories as
        select cast(row_number() over (order by category) - 1 as integer) as category, category as name
        from (select distinct category from bought) order by 1"""
    )
    connection.execute(
        """create table days as
        select customers.customer, categories.category, bought.day, sum(bought.amount) as amount
        from bought
        join customers using (customer_id)
        join categories on bought.category = categories.name
        group by all order by all"""
    )
    connection.execute(
        """create table baskets as
        select customers.customer, bought.day, count(distinct bought.basket_id) as baskets
        from bought join customers using (customer_id)
        group by all order by all"""
    )
    connection.execute("drop table bought")
    newest = _one(connection, "select cast(max(purchased_at) as date) from lines")[0]
    chosen = cutoffs or default_cutoffs(first, newest, horizon_days)
    return Shop(name, level, connection, first, newest, horizon_days, active_days, chosen)


def default_cutoffs(first: dt.date, newest: dt.date, horizon_days: int) -> tuple[dt.date, ...]:
    """Choose where to judge a shop: back from the newest day whose labels are complete, as many whole horizons apart as
    make 28 days or more, so that one run of our models scores them all.

    Args:
        first: the oldest day with a purchase.
        newest: the newest.
        horizon_days: length of the labels.

    Returns:
        The cutoffs, newest first, at most 12: those that leave a quarter of the history, or four horizons where that is
        less, to learn from; the newest of all where even that leaves too little; none where the history is no longer
        than the horizon.
    """
    least = min((newest - first).days / 4, WINDOWS_BEFORE * horizon_days)
    last = newest - dt.timedelta(days=horizon_days)
    apart = -(-STEP_DAYS // horizon_days) * horizon_days
    cutoffs = [last - dt.timedelta(days=apart * n) for n in range(MOST_CUTOFFS)]
    return tuple(cutoff for cutoff in cutoffs if (cutoff - first).days >= least) or ((last,) if last >= first else ())


def candidates(shop: Shop, cutoff: dt.date) -> duckdb.DuckDBPyRelation:
    """List the pairs that are judged at a cutoff.

    Returns:
        A relation with the columns customer and category (numbers of `Shop`), ordered by both.
    """
    day = f"date '{cutoff}'"
    return shop.connection.sql(
        f"""with active as (
            select distinct customer from days where day > {day} - {shop.active_days} and day <= {day}
        )
        select active.customer, categories.category
        from active cross join categories
        anti join (select distinct customer, category from days where day <= {day}) as owned
            on active.customer = owned.customer and categories.category = owned.category
        order by all"""
    )


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row

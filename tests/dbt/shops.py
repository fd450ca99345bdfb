"""Made-up shops: the core tables that the score and churn read, written into a warehouse, and dbt run on them."""

import contextlib
import datetime as dt
import os
import random
import shutil
import subprocess
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from tests.conftest import PLACE, PROJECT_DIR
from warehouse.dbt_project import DBT_EXECUTABLE

# The columns of the contracts in dbt_project/models/marts/core.
TABLES = {
    "fct_purchases": {
        "purchase_line_key": "varchar",
        "basket_key": "varchar",
        "customer_key": "varchar",
        "product_key": "varchar",
        "category_key": "varchar",
        "source_name": "varchar",
        "store_id": "varchar",
        "purchased_at": "timestamp",
        "purchase_date": "date",
        "quantity": "decimal(18, 3)",
        "amount": "decimal(18, 2)",
        "discount_amount": "decimal(18, 2)",
        "is_merchandise": "boolean",
        "product_id": "varchar",
        "currency": "varchar",
        "original_amount": "decimal(18, 2)",
    },
    "product_numbers": {
        "source_name": "varchar",
        "product_id": "varchar",
        "product_key": "varchar",
        "product_name": "varchar",
        "department": "varchar",
        "category_key": "varchar",
        "category_name": "varchar",
        "product_type": "varchar",
        "brand": "varchar",
        "manufacturer_id": "varchar",
        "package_size": "varchar",
        "is_merchandise": "boolean",
        "is_inferred": "boolean",
        "position": "bigint",
    },
    "customer_numbers": {
        "source_name": "varchar",
        "customer_id": "varchar",
        "customer_key": "varchar",
        "person": "varchar",
        "is_inferred": "boolean",
        "position": "bigint",
    },
    "dim_customers": {"customer_key": "varchar", "source_name": "varchar", "customer_id": "varchar"},
    "dim_categories": {"category_key": "varchar", "source_name": "varchar", "category_name": "varchar"},
    "fct_baskets": {
        "basket_key": "varchar",
        "customer_key": "varchar",
        "source_name": "varchar",
        "purchase_date": "date",
    },
}

MARTS = (
    "category_affinity",
    "customer_opportunities",
    "customer_opportunity_reasons",
    "score_backtest",
    "score_calibration",
)


class Purchase(NamedTuple):
    """One line: who bought in which category (which has one product of the same name) on which day."""

    shop: str
    customer: str
    category: str
    day: dt.date
    amount: float = 2.0


NAMES = ["shop", "c", "k", "day", "amount"]
ARROW = [pa.string(), pa.string(), pa.string(), pa.date32(), pa.float64()]


class Warehouse:
    """A data folder with the core tables, and what dbt makes of them."""

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder = folder
        self.target = target
        folder.mkdir(parents=True)

    @property
    def path(self) -> Path:
        return self.folder / "warehouse.duckdb"

    def write(self, purchases: Iterable[Purchase], persons: Mapping[tuple[str, str], str] | None = None) -> "Warehouse":
        """Replace the core tables.

        Args:
            purchases: what was bought.
            persons: by shop and customer, the person whom they are known to be, whether they bought there or not.
        """
        lines = list(purchases)
        known = [(*number, person) for number, person in (persons or {}).items()]
        with duckdb.connect(str(self.path)) as connection:
            connection.execute("create schema if not exists core")
            for table, columns in TABLES.items():
                typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
                connection.execute(f"create or replace table core.{table} ({typed})")
            columns_of = zip(*lines, strict=True) if lines else [[] for _ in Purchase._fields]
            bought = pa.table([pa.array(column, kind) for column, kind in zip(columns_of, ARROW, strict=True)], NAMES)
            connection.register("lines", bought.append_column("n", pa.array(range(len(lines)), pa.int64())))
            connection.execute("create temp table known (shop varchar, c varchar, person varchar)")
            if known:
                connection.executemany("insert into known values (?, ?, ?)", known)
            connection.execute(
                """create temp table bought as
                   select lines.*, coalesce('person:' || person, shop || ':' || c) as customer_key
                   from lines left join known using (shop, c)"""
            )
            connection.execute(
                """insert into core.fct_purchases select shop || ':' || n, shop || ':' || c || day, customer_key,
                   shop || ':' || k, shop || ':' || k, shop, null, day, day, 1, amount, 0, true, k, null, amount
                   from bought order by n"""
            )
            connection.execute(
                """insert into core.product_numbers select distinct shop, k, shop || ':' || k, null, 'everything',
                   shop || ':' || k, k, null, null, null, null, true, false, 1 from bought order by all"""
            )
            connection.execute(
                """insert into core.customer_numbers
                   select *, row_number() over (partition by customer_key order by shop, c) from (
                       select shop, c, customer_key, person, false
                       from bought left join known using (shop, c)
                       union select shop, c, 'person:' || person, person, false from known)
                   order by all"""
            )
            connection.execute(
                "insert into core.dim_customers select customer_key, source_name, customer_id "
                "from core.customer_numbers where position = 1 order by all"
            )
            connection.execute(
                "insert into core.dim_categories select distinct shop || ':' || k, shop, k from bought order by all"
            )
            connection.execute(
                """insert into core.fct_baskets select distinct shop || ':' || c || day, customer_key, shop, day
                   from bought order by all"""
            )
        return self

    def dbt(
        self, tests: bool = True, select: str = "tag:cross_sell", **variables: object
    ) -> "subprocess.CompletedProcess[str]":
        """Build the score, or other models on the same tables, and run their data tests.

        dbt parses the project again (four seconds) when a variable or the warehouse's path has changed, so each set of
        variables has a target folder of its own, and every warehouse is in the same place while dbt runs.
        """
        # Not `dbt run`, which leaves out the seeds.
        arguments = ["build", "--exclude-resource-type", "unit_test"] + ([] if tests else ["test"])
        # What is said of shops without a score reads more of core than there is here.
        arguments += ["--exclude", "tag:without_dates"]
        settings = "{" + ", ".join(f"{name}: {value}" for name, value in variables.items()) + "}"
        target = self.target / (f"{zlib.crc32(settings.encode()):x}" if variables else "defaults")
        arguments += ["--vars", settings, "--target-path", str(target), "--log-path", str(self.folder / "logs")]
        place = PLACE.data
        place.mkdir()
        self.path.rename(place / self.path.name)
        try:
            with PLACE.lent(target) if not variables else contextlib.nullcontext():
                return subprocess.run(
                    [DBT_EXECUTABLE, "--no-use-colors", *arguments, "--select", *select.split()],
                    cwd=PROJECT_DIR / "dbt_project",
                    env={**os.environ, "NEXT_AISLE_DATA": str(place)},
                    capture_output=True,
                    text=True,
                    timeout=900,
                )
        finally:
            (place / self.path.name).rename(self.path)
            shutil.rmtree(place)

    def build(self, tests: bool = True, select: str = "tag:cross_sell", **variables: object) -> "Warehouse":
        result = self.dbt(tests, select, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return self

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.path), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def everything(self, where: str = "true") -> dict[str, list[tuple[Any, ...]]]:
        """All rows of the marts, in order."""
        return {mart: self.rows(f"select * from cross_sell.{mart} where {where} order by all") for mart in MARTS}

    def copy(self, folder: Path) -> "Warehouse":
        other = Warehouse(folder, self.target)
        shutil.copy(self.path, other.path)
        return other


def shop(
    name: str,
    end: dt.date,
    days: int,
    customers: int,
    categories: int,
    seed: int = 1,
    visit_every: float = 10,
    per_visit: float = 2,
) -> list[Purchase]:
    """Customers who each come at a regular interval and buy at random, popular categories more often."""
    chance = random.Random(seed)
    names = [f"k{n:04}" for n in range(categories)]
    weights = [1 / (n + 3) for n in range(categories)]
    bought = []
    for customer in range(customers):
        pace = chance.lognormvariate(0, 0.5) * visit_every
        day = chance.random() * pace * 2
        while day < days:
            for category in set(chance.choices(names, weights, k=1 + int(chance.random() * 2 * per_visit))):
                date = end - dt.timedelta(days=days - 1 - int(day))
                bought.append(Purchase(name, f"c{customer:04}", category, date, round(1 + chance.random() * 9, 2)))
            day += 1 + chance.expovariate(1 / pace)
    return bought

"""Replacing the rows of changed baskets comes to the same tables as building them whole, whatever was delivered.

dbt builds two shops once, whole, and once replacing rows; its statements are kept. Hypothesis then draws nights - new
days, days that come again with other rows or none, late days, products in another category, shops that are held - and
each night is built both ways with these statements, in memory. One shop is staged row by row; the other one's returns
take back purchases in other baskets, and its staging counts as one that may do anything.
"""

import datetime as dt
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from quality import up_to_date
from tests.conftest import copy_code, set_sources
from tests.fixtures import tiny_shop, tiny_web_shop
from warehouse.dbt_project import DBT_EXECUTABLE

GROCER, WEB_SHOP = "complete_journey", "online_retail"
MODELS = ("fct_baskets", "rejected_rows", "fct_category_adoptions", "dim_categories")
ROW_LEVEL = ("int_purchase_lines", "fct_purchases", "fct_baskets")
FIRST_DAY = dt.date(2011, 3, 1)
DAYS = 3


@dataclass(frozen=True)
class Built:
    """What dbt did.

    Attributes:
        template: the warehouse, with its seeds and empty raw tables.
        whole: the statements that build the tables with all rows, in order; the views stay as they are.
        replacing: the same, but of models that replace rows only those of changed baskets.
        tables: what they build.
    """

    template: Path
    whole: list[str]
    replacing: list[str]
    tables: list[str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("changed_baskets")
    code, data = copy_code(folder / "code"), folder / "data"
    set_sources(code, [GROCER, WEB_SHOP])
    staging = code / "dbt_project" / "models" / "staging" / WEB_SHOP / f"stg_{WEB_SHOP}__purchases.sql"
    staging.write_text(staging.read_text(encoding="utf-8") + "limit 1000000000\n", encoding="utf-8")
    tiny_shop.land(data / "landing" / GROCER)
    tiny_web_shop.land(data / "landing" / WEB_SHOP)
    env = {**os.environ, "NEXT_AISLE_DATA": str(data)}
    env.pop("NEXT_AISLE_MANIFEST", None)

    def run(command: Sequence[str], where: Path, more: Mapping[str, str] | None = None) -> None:
        done = subprocess.run(
            command, cwd=where, env={**env, **(more or {})}, capture_output=True, text=True, check=False
        )
        assert not done.returncode, done.stdout + done.stderr

    def build(log: str, more: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        command = [DBT_EXECUTABLE, "--log-format-file", "json", "--log-level-file", "debug", "--log-path", log]
        select = ["--select", *(f"+{model}" for model in MODELS), "--exclude-resource-type", "unit_test", "test"]
        run([*command, "build", *select], code / "dbt_project", more)
        lines = (Path(log) / "dbt.log").read_text(encoding="utf-8").splitlines()
        return [event["data"] for event in map(json.loads, lines) if event["info"]["name"] == "SQLQuery"]

    for source in (GROCER, WEB_SHOP):
        run([sys.executable, "-m", "ingestion", source], code)
    build(str(folder / "first"))
    target = code / "dbt_project" / "target"
    # Compiled for rows to replace, the models of these would build only some.
    compiled = json.loads((target / "manifest.json").read_text(encoding="utf-8"))["nodes"]
    with duckdb.connect(str(data / "warehouse.duckdb")) as connection:
        up_to_date.begin_changes(connection)
    queries = build(str(folder / "second"), {"NEXT_AISLE_REPLACES_ROWS": ",".join(ROW_LEVEL)})
    nodes = json.loads((target / "manifest.json").read_text(encoding="utf-8"))["nodes"]
    results = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    whole, replacing, tables = [], [], []
    for result in results:
        node = nodes[result["unique_id"]]
        if node["resource_type"] != "model" or node["config"]["materialized"] == "view":
            continue
        name = f"warehouse.{node['schema']}.{node['alias']}"
        row_level = node["name"] in ROW_LEVEL
        sql = (compiled if row_level else nodes)[result["unique_id"]]["compiled_code"]
        statement = f"create or replace table {name} as {sql}"
        tables.append(name)
        whole.append(statement)
        replacing += _replaying(queries, result["unique_id"]) if row_level else [statement]
    with duckdb.connect(str(data / "warehouse.duckdb")) as connection:
        for raw in (f"raw_{GROCER}", f"raw_{WEB_SHOP}"):
            found = connection.execute(f"select table_name from duckdb_tables() where schema_name = '{raw}'").fetchall()
            for (table,) in found:
                connection.execute(f"delete from {raw}.{table}")
    return Built(data / "warehouse.duckdb", whole, replacing, tables)


def _replaying(queries: Sequence[Mapping[str, Any]], unique_id: str) -> list[str]:
    """The statements of a model that replaced rows, so that they can be made again and again."""
    statements = [query["sql"] for query in queries if query.get("node_info", {}).get("unique_id") == unique_id]
    changing = [sql for sql in statements if re.search(r"\b(create|insert|delete)\b", sql)]
    again = [re.sub(r"create\s+temporary\s+table", "create or replace temporary table", sql) for sql in changing]
    assert any("delete from" in sql for sql in again), f"{unique_id} was built whole"
    return again


class Shops:
    """Two shops in a warehouse in memory.

    Args:
        template: the warehouse that they begin with, a copy of which is made.
        statements: those by which their tables are built.
    """

    def __init__(self, template: Path, statements: Sequence[str]) -> None:
        self.statements = statements
        # The tables have a few rows: more threads would be slower.
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute(f"attach '{template}' as template (read_only)")
        self.connection.execute("attach ':memory:' as warehouse")
        self.connection.execute("copy from database template to warehouse")
        self.connection.execute("detach template")
        self.connection.execute("use warehouse")

    def save(self, file: Path) -> None:
        """Write the warehouse to a file, for other shops to begin with."""
        self.connection.execute(f"attach '{file}' as saved")
        self.connection.execute("copy from database warehouse to saved")
        self.connection.execute("detach saved")

    def build(self) -> None:
        up_to_date.begin_changes(self.connection)
        for statement in self.statements:
            self.connection.execute(statement)

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(f"select * from {table} order by all").fetchall()


CUSTOMERS = st.sampled_from([1, 2, 3])
GROCERIES = st.lists(
    st.tuples(
        CUSTOMERS,
        st.integers(1, 4),  # basket
        st.sampled_from([10, 11, 99]),  # product; 99 is in no catalogue
        st.sampled_from([1, 1, 1, 2, 0, -1]),  # quantity
        st.sampled_from([2.5, 2.5, 2.5, 0.0]),  # amount
        st.sampled_from([0, 0, 0, -90, 3]),  # days before or after that of the file
    ),
    max_size=4,
)
INVOICES = st.lists(
    st.tuples(
        st.sampled_from(["1.0", "1.0", "2.0", None]),
        st.sampled_from(["501", "502", "C503", "A505"]),
        st.sampled_from(["85123A", "85123A", "POST"]),
        st.sampled_from(["WHITE METAL LANTERN", "LUNCH BAG WOODLAND", None]),
        st.sampled_from([1, 1, -1]),
        st.sampled_from([2.5, 2.5, 0.0]),
        st.integers(8, 20),  # hour
    ),
    max_size=4,
)
CATALOGUE = st.fixed_dictionaries({number: st.sampled_from(["BEEF", "MILK", None]) for number in (10, 11)})


# Most deliveries are the only one of their night.
IS_LAST = st.sampled_from([True, True, True, False])


class Nights(RuleBasedStateMachine):
    """Nights of the two shops, built both ways."""

    built: Built
    folder: Path

    @initialize()
    def begin(self) -> None:
        """Begin after a first night, so that there is something to change; it is the same in all sequences."""
        self.load = 0
        saved = [self.folder / "whole.duckdb", self.folder / "replacing.duckdb"]
        if saved[-1].exists():
            self.shops = self.shops_of(*saved)
            self.load = 2
            return
        self.shops = self.shops_of(self.built.template, self.built.template)
        for shop in self.shops:
            for statement in self.built.whole:
                shop.connection.execute(statement)
        self.a_day_of_the_grocer(
            0, [(1, 1, 10, 1, 2.5, 0), (1, 1, 11, 1, 2.5, 0), (2, 2, 10, 1, 2.5, 0)], is_last=False
        )
        web = ("85123A", "WHITE METAL LANTERN", 1, 2.5)
        self.a_day_of_the_web_shop(0, [("1.0", "501", *web, 9), ("1.0", "502", *web, 10)], is_last=True)
        for shop, file in zip(self.shops, saved, strict=True):
            shop.save(file)

    def shops_of(self, whole: Path, replacing: Path) -> list[Shops]:
        self.is_built = True
        return [Shops(whole, self.built.whole), Shops(replacing, self.built.replacing)]

    def deliver(
        self, source: str, table: str, delivery: str, columns: Sequence[str], rows: Sequence[Any], is_last: bool
    ) -> None:
        """Load one file, as rows with its name and the number of the load; build, if it is the last of the night."""
        self.load += 1
        load_id, names = f"{self.load:09}", ", ".join([*columns, "_delivery", "_dlt_load_id"])
        marks = ", ".join("?" * (len(columns) + 2))
        delivered_at = dt.datetime.combine(FIRST_DAY, dt.time(12)) + dt.timedelta(days=DAYS, minutes=self.load)
        for shop in self.shops:
            if rows:
                values = [[*row, delivery, load_id] for row in rows]
                shop.connection.executemany(f"insert into raw_{source}.{table} ({names}) values ({marks})", values)
            shop.connection.execute(
                f"insert into raw_{source}.deliveries (table_name, delivery, row_count, delivered_at, _dlt_load_id) "
                "values (?, ?, ?, ?, ?)",
                [table, delivery, len(rows), delivered_at, load_id],
            )
        self.is_built = False
        if is_last:
            self.build_and_compare()

    @rule(day=st.integers(0, DAYS - 1), lines=GROCERIES, is_last=IS_LAST)
    def a_day_of_the_grocer(self, day: int, lines: Sequence[Any], is_last: bool) -> None:
        date = FIRST_DAY + dt.timedelta(days=day)
        columns = ["household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp"]
        rows = [
            [
                customer,
                basket,
                product,
                quantity,
                amount,
                dt.datetime.combine(date, dt.time(9)) + dt.timedelta(days=days),
            ]
            for customer, basket, product, quantity, amount, days in lines
        ]
        self.deliver(GROCER, "purchases", f"purchases/{date}.parquet", columns, rows, is_last)

    @rule(day=st.integers(0, DAYS - 1), lines=INVOICES, is_last=IS_LAST)
    def a_day_of_the_web_shop(self, day: int, lines: Sequence[Any], is_last: bool) -> None:
        date = FIRST_DAY + dt.timedelta(days=day)
        columns = ["customer_id", "invoice_no", "stock_code", "description", "quantity", "unit_price", "invoice_date"]
        rows = [[*values, dt.datetime.combine(date, dt.time(hour))] for *values, hour in lines]
        self.deliver(WEB_SHOP, "purchases", f"purchases/{date}.csv", columns, rows, is_last)

    @rule(catalogue=CATALOGUE, is_last=IS_LAST)
    def another_catalogue(self, catalogue: Mapping[int, str | None], is_last: bool) -> None:
        rows = [[number, "GROCERY", category] for number, category in catalogue.items()]
        self.deliver(
            GROCER, "products", "products.csv", ["product_id", "department", "product_category"], rows, is_last
        )

    @rule(customers=st.sets(CUSTOMERS), is_last=IS_LAST)
    def other_customers(self, customers: set[int], is_last: bool) -> None:
        self.deliver(
            GROCER, "customers", "customers.csv", ["household_id"], [[number] for number in sorted(customers)], is_last
        )

    @rule(source=st.sampled_from([GROCER, WEB_SHOP]), is_held=st.booleans(), is_published=st.booleans())
    def a_shop_is_held_or_not(self, source: str, is_held: bool, is_published: bool) -> None:
        for shop in self.shops:
            if is_published:
                shop.connection.execute("delete from raw_published.deliveries")
                shop.connection.execute(
                    "insert into raw_published.deliveries (source_name, table_name, delivery, delivered_at) select "
                    "source_name, table_name, delivery, delivered_at from intermediate.int_deliveries where not is_held"
                )
            shop.connection.execute(f"delete from raw_published.held_sources where source_name = '{source}'")
            if is_held:
                shop.connection.execute(
                    "insert into raw_published.held_sources (source_name, cause, reason) values (?, 'load', 'late')",
                    [source],
                )
        self.build_and_compare()

    def build_and_compare(self) -> None:
        for shop in self.shops:
            shop.build()
        whole, replacing = self.shops
        for table in self.built.tables:
            assert replacing.rows(table) == whole.rows(table), table
        self.is_built = True

    def teardown(self) -> None:
        if not self.is_built:
            self.build_and_compare()
        for shop in self.shops:
            shop.connection.close()


def compare(built: Built, folder: Path, sequences: int) -> None:
    machine = type("NightsOfThese", (Nights,), {"built": built, "folder": folder})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=5,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_many_sequences_of_nights_come_to_the_same_tables_both_ways(built: Built, tmp_path: Path) -> None:
    compare(built, tmp_path, 200)

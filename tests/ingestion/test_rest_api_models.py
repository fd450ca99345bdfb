"""The corner shop's models on what its API sent: which version of an order counts, and why the others do not."""

import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Project, copy_code
from tests.fixtures.shop_api import ShopApi, then
from tests.ingestion import corner_shop
from tests.ingestion.corner_shop import at, customer, line, order, product

# Whole nights, and builds of several shops.
pytestmark = pytest.mark.slow

STAGING = corner_shop.SOURCES.parent / "staging"

# What the marts read, and what proves that nothing is lost on the way.
MODELS = "+dim_customers +dim_products +fct_purchases +rejected_rows +row_reconciliation"


def shop_code(folder: Path) -> Path:
    """A copy of the project that has the corner shop and nothing else, as its user would have made it."""
    code = copy_code(folder)
    shutil.copy2(corner_shop.SOURCES / "corner_shop.py", code / "ingestion" / "sources")
    shutil.copytree(STAGING, code / "dbt_project" / "models" / "staging" / "corner_shop")
    settings = code / "dbt_project" / "dbt_project.yml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r"(?m)^  sources: \[.*\]$", "  sources: [corner_shop]", text), encoding="utf-8")
    return code


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse after two pulls and a build.

    In the first pull, order 1 changes while it is read. Before the second, order 2 loses a line and 3 is cancelled, a
    customer and a product change.
    """
    folder = tmp_path_factory.mktemp("corner_shop")
    with ShopApi().running() as api:
        api.customers = [customer(1), customer(2)]
        api.products = [product(10), product(11, "Bread", product_type="Bread")]
        api.orders = [
            order(1, 10, line(1, 10, price="9.99")),
            order(2, 11, line(2, 10), line(3, 11, 2, "2.25", "0.50"), customer=2),
            order(3, 12, line(4, 10)),
            order(4, 13, line(5, 10), created_at="2026-11-13T23:30:00Z"),
            order(5, 14, customer=2),
            order(6, 15, line(6, 10), customer=None),
        ]
        api.limits["orders"] = 3
        first_price = {"updated_at": at(16), "line_items": [line(1, 10, price="1.00")]}
        api.misbehave("orders", then(lambda: api.orders[0].update(first_price)))
        project = Project(folder / "data", shop_code(folder / "code"))
        project.env |= corner_shop.environment(api)
        done(project.python("ingestion", "corner_shop"))
        api.orders[1] |= {"updated_at": at(17), "line_items": [line(3, 11, 2, "2.25", "0.50")]}
        api.orders[2] |= {"updated_at": at(17), "cancelled_at": at(17)}
        api.customers[0] |= {"updated_at": at(17), "birth_date": "1990-01-01"}
        api.products[0]["product_type"] = "Milk"
        done(project.python("ingestion", "corner_shop"))
    # Tests that also read other models are left out.
    select = ["--indirect-selection", "cautious", "--select", *MODELS.split()]
    done(project.dbt("build", "--exclude-resource-type", "unit_test", *select))
    done(project.dbt("test", "--select", "staging.corner_shop,test_type:unit"))
    return folder / "data" / "warehouse.duckdb"


def done(process: Any) -> None:
    assert process.returncode == 0, process.stdout + process.stderr


def rows(shop: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(shop), read_only=True) as connection:
        return [tuple(map(str, row)) for row in connection.sql(sql).fetchall()]


def test_the_newest_version_of_each_order_is_bought(shop: Path) -> None:
    assert rows(
        shop,
        "select basket_key, customer_key, product_key, quantity, amount, discount_amount from core.fct_purchases "
        "order by all",
    ) == [
        ("corner_shop:1", "corner_shop:1", "corner_shop:10", "1.000", "1.00", "0.00"),
        ("corner_shop:2", "corner_shop:2", "corner_shop:11", "2.000", "4.00", "0.50"),
        ("corner_shop:4", "corner_shop:1", "corner_shop:10", "1.000", "1.50", "0.00"),
    ]


def test_times_are_those_of_the_shops_clock(shop: Path) -> None:
    assert rows(shop, "select purchased_at from core.fct_purchases where basket_key = 'corner_shop:4'") == [
        ("2026-11-14 00:30:00",)
    ]


def test_every_other_row_is_set_aside_with_its_reason(shop: Path) -> None:
    assert rows(
        shop,
        "select table_name, rejection_reason, count(*) from quality.rejected_rows group by all order by all",
    ) == [
        ("customers", "superseded_version", "1"),
        ("products", "superseded_version", "1"),
        ("purchases", "deleted", "1"),
        # An order of a guest; and one that has no lines.
        ("purchases", "missing_customer", "1"),
        ("purchases", "missing_product", "1"),
        # The first version of orders 1, 2 (with two lines) and 3.
        ("purchases", "superseded_version", "4"),
    ]
    assert rows(shop, "select table_name, raw_rows from quality.row_reconciliation order by 1") == [
        ("customers", "3"),
        ("products", "3"),
        ("purchases", "10"),
    ]


def test_the_newest_version_of_a_customer_and_a_product_counts(shop: Path) -> None:
    assert rows(shop, "select customer_key, birth_year, country from core.dim_customers order by all") == [
        ("corner_shop:1", "1990", "DE"),
        ("corner_shop:2", "1980", "DE"),
    ]
    assert rows(shop, "select product_key, category_name from core.dim_products order by all") == [
        ("corner_shop:10", "Milk"),
        ("corner_shop:11", "Bread"),
    ]

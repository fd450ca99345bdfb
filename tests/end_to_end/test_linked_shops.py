"""Two shops that share persons and a product and sell in two currencies: the whole job, added up by hand.

Both shops send the files of tests/fixtures/tiny_shop.py; `web_shop` sells in pounds. A pound was worth 1.50 dollars
three days ago, and 1.25 since then:

    web_shop     customer         pounds  rate  dollars
    today - 3    1                  3.00  1.50     4.50
                 1                  2.50  1.50     3.75
                 2                  1.50  1.50     2.25
                 2 (petrol)        20.00  1.50    30.00
    today - 1    1                  2.50  1.25     3.13   3.125
                 1                  4.00  1.25     5.00
                 4                  4.50  1.25     5.63   5.625
                 2 (returned)       1.50  1.25     1.88   1.875

Anna is customer 1 of complete_journey and 2 of web_shop. Ben is 3 and 4: he is in the file of the first shop, where he
never bought, and buys in the second, which does not have him in its file.
"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Place, Project, Stage, add_shop, add_to_seed
from tests.fixtures import tiny_shop

# Whole nights, and builds of several shops.
pytestmark = pytest.mark.slow

RATES = [
    f"GBP,USD,{tiny_shop.TODAY - dt.timedelta(days=3)},1.5",
    f"GBP,USD,{tiny_shop.TODAY - dt.timedelta(days=2)},1.25",
]


def ask(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The two shops, with their files landed and no night yet."""
    folder = tmp_path_factory.mktemp("linked")
    stage = Stage(folder, Place())
    add_shop(stage.code, "web_shop", currency="GBP")
    add_to_seed(stage.code, "non_merchandise_departments", "web_shop,FUEL,petrol")
    add_to_seed(
        stage.code,
        "customer_identities",
        "complete_journey,1,anna",
        "web_shop,2,anna",
        "complete_journey,3,ben",
        "web_shop,4,ben",
        "web_shop,99,carl",
    )
    add_to_seed(stage.code, "product_identities", "complete_journey,10,milk", "web_shop,10,milk")
    with stage.shop(moved_to=folder / "data") as shops:
        for name in ("complete_journey", "web_shop"):
            tiny_shop.land(shops.data / "landing" / name, tiny_shop.TODAY)
        yield shops


@pytest.fixture(scope="module")
def without_rates(linked: Project) -> str:
    """What the first night says, which has no exchange rates."""
    run = linked.nightly()
    assert run.returncode != 0, run.stdout
    return " ".join((run.stdout + run.stderr).split())


@pytest.fixture(scope="module")
def published(linked: Project, without_rates: str) -> Path:
    """The data folder after the second night, for which the rates were added."""
    add_to_seed(linked.code, "exchange_rates", *RATES)
    run = linked.nightly()
    assert run.returncode == 0, run.stdout + run.stderr
    return linked.data


def test_days_without_an_exchange_rate_stop_the_run_with_a_check_that_names_the_table_to_add_them_to(
    without_rates: str,
) -> None:
    # The two days with purchases.
    assert "core.daily_exchange_rates, check every_day_has_a_rate_in_seed_exchange_rates (2 rows)" in without_rates


def test_a_person_is_one_customer_with_what_they_bought_in_both_shops(published: Path) -> None:
    assert ask(
        published,
        """select customer_key, source_name, customer_id, person, is_inferred, age_band, basket_count, total_spending,
               return_count, returned_amount, shops from core.dim_customers order by customer_key""",
    ) == [
        # customer, home, number, person, inferred, age, baskets, spending, returns, returned, shops
        ("complete_journey:2", "complete_journey", "2", None, False, "45-54", 1, Decimal("21.50"), 1, Decimal("1.50"),
         "complete_journey"),
        ("complete_journey:4", "complete_journey", "4", None, True, None, 1, Decimal("4.50"), 0, Decimal("0.00"),
         "complete_journey"),
        # 12.00 in complete_journey; 2.25 and 30.00 in web_shop.
        ("person:anna", "complete_journey", "1", "anna", False, "35-44", 3, Decimal("44.25"), 1, Decimal("1.88"),
         "complete_journey, web_shop"),
        ("person:ben", "complete_journey", "3", "ben", False, "65+", 1, Decimal("5.63"), 0, Decimal("0.00"),
         "web_shop"),
        # 4.50, 3.75, 3.13 and 5.00.
        ("web_shop:1", "web_shop", "1", None, False, "35-44", 2, Decimal("16.38"), 0, Decimal("0.00"), "web_shop"),
        ("web_shop:3", "web_shop", "3", None, False, "65+", 0, Decimal("0.00"), 0, Decimal("0.00"), None),
    ]  # fmt: skip


def test_amounts_are_in_dollars_and_rows_are_reconciled_in_the_currency_that_was_sent(published: Path) -> None:
    assert ask(
        published,
        """select source_name, currency, sum(original_amount), sum(amount) from core.fct_purchases
           group by all order by all""",
    ) == [
        ("complete_journey", "USD", Decimal("38.00"), Decimal("38.00")),
        ("web_shop", "GBP", Decimal("38.00"), Decimal("54.26")),
    ]
    assert ask(published, "select sum(total_spending) from core.dim_customers") == [(Decimal("92.26"),)]
    assert ask(
        published,
        """select source_name, table_name, raw_rows, kept_rows, kept_amount from quality.row_reconciliation
           order by all""",
    ) == [
        (shop, table, tiny_shop.RAW[table], tiny_shop.KEPT[table], Decimal("38.00" if table == "purchases" else "0.00"))
        for shop in ("complete_journey", "web_shop")
        for table in ("customers", "products", "purchases")
    ]


def test_a_linked_product_is_one_product_and_stays_in_the_categories_of_both_shops(published: Path) -> None:
    assert ask(
        published,
        "select source_name, product_id, shop_count from core.dim_products where product_key = 'product:milk'",
    ) == [("complete_journey", "10", 2)]
    # 10, 11, 12, 13, 14 and the inferred 99 of each shop, of which 10 is one product.
    assert ask(published, "select count(*) from core.dim_products") == [(11,)]
    assert ask(
        published,
        """select category_key, count(*), sum(original_amount) from core.fct_purchases
           where product_key = 'product:milk' group by all order by all""",
    ) == [
        ("complete_journey:MILK", 3, Decimal("9.00")),
        ("web_shop:MILK", 3, Decimal("9.00")),
    ]


def test_a_person_who_buys_in_one_shop_is_offered_what_persons_buy_in_the_other(published: Path) -> None:
    assert ask(
        published,
        """select source_name, customer_key, category_name, customer_source_name, customer_id, is_new_to_shop
           from cross_sell.customer_opportunities order by all""",
    ) == [
        ("complete_journey", "complete_journey:2", "BREAD", "complete_journey", "2", False),
        ("complete_journey", "complete_journey:4", "BREAD", "complete_journey", "4", False),
        # Ben has a number in this shop, but has not bought yet; Anna buys both here.
        ("complete_journey", "person:ben", "BREAD", "complete_journey", "3", True),
        ("complete_journey", "person:ben", "MILK", "complete_journey", "3", True),
        ("web_shop", "person:anna", "BREAD", "web_shop", "2", False),
        ("web_shop", "person:ben", "BREAD", "web_shop", "4", False),
    ]


def test_a_number_that_no_customer_has_is_a_warning(published: Path) -> None:
    assert ask(
        published,
        """select status, rows_failed, objective from quality.check_results
           where check_name = 'customer_identities_are_numbers_of_customers'
           order by run_number desc limit 1""",
    ) == [("warn", 1, "edited_tables_fit_the_data")]

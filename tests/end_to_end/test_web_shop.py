"""A shop whose data is history, without customers, products and categories (tests/fixtures/tiny_web_shop.py).

Next to another shop, which goes on when this one is held (test_several_shops.py has more of that), and alone.
"""

import datetime as dt
import os
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Night, Place, Project, Stage, set_sources, words
from tests.fixtures import tiny_shop, tiny_web_shop

# Whole nights, and builds of several shops.
pytestmark = pytest.mark.slow

# The files as the real shop delivers them, a day each.
REAL_DATA = os.environ.get("NEXT_AISLE_REAL_DATA")

# What is built from a shop's purchases, except what differs from load to load.
COMPARED = {
    "core.dim_categories": "*",
    "core.dim_customers": "*",
    "core.dim_products": "*",
    "core.fct_baskets": "*",
    "core.fct_purchases": "*",
    "cross_sell.category_affinity": "*",
    "cross_sell.customer_opportunities": "*",
    "cross_sell.score_backtest": "*",
    "quality.rejected_rows": "* exclude (load_id)",
    "quality.row_reconciliation": "*",
}


@pytest.fixture(scope="module")
def web_stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A copy of the project in which the web shop is one of two shops; a pound is two dollars."""
    stage = Stage(tmp_path_factory.mktemp("web_stage"), Place())
    set_sources(stage.code, ["complete_journey", tiny_web_shop.SOURCE])
    rates = "currency,to_currency,from_date,rate\nGBP,USD,2011-03-01,2\n"
    (stage.code / "dbt_project" / "seeds" / "exchange_rates.csv").write_text(rates, encoding="utf-8")
    return stage


@pytest.fixture(scope="module")
def two_shops(web_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The tiny shop and the tiny web shop after their first night."""
    data = tmp_path_factory.mktemp("two_shops") / "data"
    with web_stage.shop(moved_to=data) as shops:
        tiny_shop.land(shops.landing, tiny_shop.TODAY)
        tiny_web_shop.land(shops.data / "landing" / tiny_web_shop.SOURCE)
        run = shops.nightly()
    assert run.returncode == 0, run.stdout + run.stderr
    return Night(data, run)


def published(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def test_rows_and_money_are_those_added_up_by_hand(two_shops: Night) -> None:
    data, _ = two_shops
    assert published(
        data,
        """
        select table_name, raw_rows, kept_rows, kept_amount from quality.row_reconciliation
        where source_name = 'online_retail'
        """,
    ) == [("purchases", tiny_web_shop.RAW, tiny_web_shop.KEPT, Decimal(tiny_web_shop.TOTAL_SPENDING))]
    rejected = published(
        data,
        """
        select rejection_reason, count(*) from quality.rejected_rows where source_name = 'online_retail' group by all
        """,
    )
    assert dict(rejected) == tiny_web_shop.REJECTED
    assert published(data, "select count(*) from quality.row_reconciliation") == [(4,)], "three of the other shop"


def test_customers_are_those_of_the_invoices(two_shops: Night) -> None:
    data, _ = two_shops
    # Returned: the discount and a part of the lanterns; what was cancelled is neither spent nor returned. In dollars.
    assert published(
        data,
        """
        select customer_id, is_inferred, country, basket_count, total_spending, return_count, returned_amount,
            recency_days
        from core.dim_customers where source_name = 'online_retail' order by all
        """,
    ) == [
        ("12583", True, "Germany", 4, Decimal("97.84"), 0, Decimal("0.00"), 1),
        ("12999", True, "EIRE", 1, Decimal("14.98"), 0, Decimal("0.00"), 0),
        ("17850", True, "United Kingdom", 1, Decimal("71.28"), 2, Decimal("68.56"), 4),
    ]


def test_products_and_their_categories_are_those_that_the_invoices_name(two_shops: Night) -> None:
    data, _ = two_shops
    assert published(
        data,
        """
        select product_id, product_name, category_name, is_merchandise, is_inferred
        from core.dim_products where source_name = 'online_retail' order by all
        """,
    ) == [
        ("22423", "REGENCY CAKESTAND 3 TIER", "Cake stands", True, True),
        ("23084", "RABBIT NIGHT LIGHT", "Lights and lamps", True, True),
        ("71053", "WHITE METAL LANTERN", "Candle holders and lanterns", True, True),
        # Both names were sold once; the newer one counts, for what was given away is no sale.
        ("85123A", "CREAM HEART T-LIGHT HOLDER", "Candle holders and lanterns", True, True),
        ("90001", "CRYSTAL THING", "Unknown", True, True),
        ("B", None, "Unknown", False, True),
        ("D", None, "Unknown", False, True),
        ("GIFT_0001_20", "Gift Voucher £20.00", "Unknown", False, True),
        ("POST", "POSTAGE", "Unknown", False, True),
    ]
    assert published(
        data,
        """
        select category_name, category_label, total_spending / 2 from core.dim_categories
        where source_name = 'online_retail' order by all
        """,
    ) == [
        ("Cake stands", "Cake stands", 10.95),
        ("Candle holders and lanterns", "Candle holders and lanterns", 38.59),
        ("Lights and lamps", "Lights and lamps", 6.24),
        ("Unknown", "Unknown", 36.27),
    ]


def test_each_shop_is_as_of_its_own_newest_purchase(two_shops: Night) -> None:
    data, _ = two_shops
    dates = dict(published(data, "select distinct source_name, as_of_date from cross_sell.customer_opportunities"))
    newest = dict(published(data, "select source_name, max(purchase_date) from core.fct_purchases group by all"))
    assert dates == newest
    assert newest["online_retail"] == max(tiny_web_shop.DAYS)


def test_what_is_usual_in_the_shop_breaks_no_objective_and_its_age_is_not_checked(two_shops: Night) -> None:
    data, run = two_shops
    checks = published(
        data,
        """
        select check_name, rows_read, rows_failed, status, description from quality.check_results
        where check_name like 'online_retail%' or table_name like '%online_retail.%' order by 1
        """,
    )
    assert [check[:4] for check in checks if check[0].startswith("online_retail_purchases_rows")] == [
        ("online_retail_purchases_rows_are_complete", 17, 0, "pass"),
        # A twentieth of 17 rows is less than one.
        ("online_retail_purchases_rows_are_not_repeated", 17, 1, "pass"),
        ("online_retail_purchases_rows_are_valid", 17, 1, "pass"),
    ]
    descriptions = {name: description for name, *_, description in checks}
    complete = str(descriptions["online_retail_purchases_rows_are_complete"])
    assert "2 more are usual in this shop (seed usual_rejections)" in complete
    assert not [name for name in descriptions if name.endswith("is_recent")]
    text = words(run.stdout)
    assert "online_retail, 2011-03-01 to 2011-03-05; history: its age is not checked" in text
    assert text.count("its age is not checked") == 1
    assert "customers 3 who bought; the shop sends no customer file" in text


@pytest.fixture(scope="module")
def held(web_stage: Stage, two_shops: Night, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A second night: the first shop sends two more lines, and of those of the web shop most name no product.

    It sends 5 March again, without one line, and 6 March: three of five lines in all are incomplete. The last one would
    take back a purchase of 2 March, and its customer and that of the first ones are new.
    """
    data = tmp_path_factory.mktemp("held") / "data"
    with web_stage.shop(moved_to=data, begin_with=two_shops.data) as shops:
        day = tiny_shop.TODAY - dt.timedelta(days=2)
        tiny_shop.write_day(shops.landing, day, [tiny_shop.line(day, 200 + n, 1, 10, 1, 2.0) for n in range(2)])
        days = shops.data / "landing" / tiny_web_shop.SOURCE / "purchases"
        (days / "2011-03-05.csv").write_text(
            tiny_web_shop.HEADER + tiny_web_shop.DAYS[dt.date(2011, 3, 5)].splitlines(keepends=True)[0]
        )
        (days / "2011-03-06.csv").write_text(
            tiny_web_shop.HEADER
            + "".join(f"60000{n},,,1,2011-03-06 16:00:00,2.08,13000.0,EIRE\n" for n in range(3))
            + "C600004,85123A,CREAM HEART T-LIGHT HOLDER,-1,2011-03-06 17:00:00,2.95,12583.0,France\n"
        )
        run = shops.nightly()
    return Night(data, run)


def test_new_rows_that_break_an_objective_wait_and_the_other_shop_is_published(two_shops: Night, held: Night) -> None:
    data, run = held
    assert run.returncode == 0, run.stdout + run.stderr
    # Readers see the web shop as it was, and the new lines of the other.
    for table in ("core.dim_customers", "core.dim_products", "core.fct_purchases", "cross_sell.customer_opportunities"):
        of_web_shop = f"select * from {table} where source_name = 'online_retail' order by all"
        assert published(data, of_web_shop) == published(two_shops.data, of_web_shop)
    lines = "select count(*) from core.fct_purchases where source_name = 'complete_journey'"
    assert published(data, lines) == [(tiny_shop.KEPT["purchases"] + 2,)]
    # Nothing is lost.
    assert published(
        data,
        """
        select raw_rows, kept_rows, rejected_rows from quality.row_reconciliation where source_name = 'online_retail'
        """,
    ) == [(tiny_web_shop.RAW + 5, tiny_web_shop.KEPT, tiny_web_shop.RAW - tiny_web_shop.KEPT + 5)]
    waiting = (
        "select table_name, count(*) from quality.rejected_rows where rejection_reason = 'held_delivery' group by 1"
    )
    assert published(data, waiting) == [("purchases", 5)]


def test_a_shop_that_is_held_says_so_and_why(held: Night) -> None:
    data, run = held
    columns = "source_name, status, reason, delivery_count, waiting_delivery_count"
    current, waiting = published(data, f"select {columns} from quality.shop_status order by 1")
    assert current == ("complete_journey", "current", None, 5, 0)
    reason = (
        "rows_arrive_complete: breach: 40 % in this run, 99 % promised. "
        "raw_online_retail.purchases: 3 of 5 newly delivered rows fail: 40 % pass"
    )
    assert waiting == ("online_retail", "held", reason, 5, 2)
    assert published(
        data, "select status, lowest_in_run from quality.slo_status where objective = 'rows_arrive_complete'"
    ) == [("warning", 40.0)]
    text = words(run.stdout)
    assert text.count("building without the new rows of the shops that are held") == 1
    assert f"! online_retail: its tables stay as they were published last. {reason}. 2 new deliveries wait." in text
    assert "without the new rows of online_retail; from now on everyone reads this" in text


def compared(data: Path) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(data / "warehouse.duckdb"), read_only=True) as connection:
        return {
            table: connection.execute(f"select {columns} from {table} order by all").fetchall()
            for table, columns in COMPARED.items()
        }


def load(shop: Project) -> None:
    ran = shop.python("ingestion", tiny_web_shop.SOURCE)
    assert ran.returncode == 0, ran.stderr


def build(shop: Project, with_checks: bool = False) -> None:
    without = ["unit_test"] if with_checks else ["unit_test", "test"]
    ran = shop.dbt("build", "--exclude-resource-type", *without, "--exclude", "tag:after_recording")
    assert ran.returncode == 0, ran.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A copy of the project in which the web shop is the only shop."""
    stage = Stage(tmp_path_factory.mktemp("alone"), Place())
    set_sources(stage.code, [tiny_web_shop.SOURCE])
    return stage


def test_days_loaded_one_by_one_and_built_between_end_as_all_days_at_once(alone: Stage, tmp_path: Path) -> None:
    with alone.shop(moved_to=tmp_path / "nightly") as shop:
        for number, day in enumerate(tiny_web_shop.DAYS, start=1):
            tiny_web_shop.write_day(shop.data / "landing" / tiny_web_shop.SOURCE, day)
            load(shop)
            if number in (2, len(tiny_web_shop.DAYS)):
                build(shop)
    with alone.shop(moved_to=tmp_path / "at_once") as shop:
        tiny_web_shop.land(shop.data / "landing" / tiny_web_shop.SOURCE)
        load(shop)
        build(shop)
    nightly, at_once = compared(tmp_path / "nightly"), compared(tmp_path / "at_once")
    assert nightly == at_once
    assert len(at_once["core.fct_purchases"]) == tiny_web_shop.KEPT


@pytest.mark.skipif(not REAL_DATA, reason="NEXT_AISLE_REAL_DATA names no folder")
def test_real_days_loaded_one_by_one_end_as_all_at_once(alone: Stage, tmp_path: Path) -> None:
    files = sorted(Path(str(REAL_DATA), "online_retail", "by-day").glob("*.csv"))
    assert len(files) == 305
    with alone.shop(moved_to=tmp_path / "nightly") as shop:
        landing = shop.data / "landing" / tiny_web_shop.SOURCE / "purchases"
        landing.mkdir(parents=True)
        # A load takes a second or two, so that most days come at once.
        for file in files[:-10]:
            shutil.copy(file, landing)
        load(shop)
        for file in files[-10:]:
            shutil.copy(file, landing)
            load(shop)
        build(shop)
    with alone.shop(moved_to=tmp_path / "at_once") as shop:
        landing = shop.data / "landing" / tiny_web_shop.SOURCE / "purchases"
        shutil.copytree(files[0].parent, landing)
        load(shop)
        build(shop, with_checks=True)
    nightly, at_once = compared(tmp_path / "nightly"), compared(tmp_path / "at_once")
    assert nightly == at_once
    (reconciled,) = at_once["quality.row_reconciliation"]
    assert reconciled[2:5] == (541_909, 389_805, 152_104)

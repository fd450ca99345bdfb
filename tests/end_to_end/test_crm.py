"""The shop that sends totals without dates (tests/fixtures/crm_shop.py): alone, next to another, and the real file."""

import os
import re
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import OF_RUNS, Night, Project, copy_code, words
from tests.fixtures import crm_shop, tiny_shop

# Whole nights, and builds of several shops.
pytestmark = pytest.mark.slow

REAL = Path(os.environ.get("NEXT_AISLE_REAL_DATA", "/nowhere")) / "marketing_campaign" / crm_shop.FILE


def code_with(sources: str, folder: Path) -> Path:
    """A copy of the project in which these shops are active: one word is all that it takes."""
    code = copy_code(folder / "code")
    project = code / "dbt_project" / "dbt_project.yml"
    text, changed = re.subn(r"^  sources: \[.*\]$", f"  sources: [{sources}]", project.read_text(), flags=re.MULTILINE)
    assert changed == 1
    project.write_text(text)
    return code


class Shop:
    """A data folder, with what is in its warehouse or in its published copy."""

    def __init__(self, data: Path, file: Path) -> None:
        self.data = data
        self.file = file

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.file), read_only=True) as connection:
            return connection.execute(sql).fetchall()


def built(project: Project) -> Shop:
    """Load the shop crm and build everything with dbt."""
    loaded = project.python("ingestion", "crm")
    assert loaded.returncode == 0, loaded.stderr
    result = project.dbt("build", "--exclude-resource-type", "unit_test")
    assert result.returncode == 0, result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    return Shop(project.data, project.data / "warehouse.duckdb")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("crm_alone")
    return Project(folder / "data", code_with("crm", folder))


@pytest.fixture(scope="module")
def shop(alone: Project) -> Shop:
    """The small file, with no other shop."""
    crm_shop.land(alone.data / "landing" / "crm")
    return built(alone)


def test_every_row_and_every_total_is_kept_or_rejected(shop: Shop) -> None:
    reconciled = shop.rows(
        "select table_name, raw_rows, kept_rows, rejected_rows, raw_amount, kept_amount, rejected_amount "
        "from quality.row_reconciliation"
    )
    assert {table: (*counts, *map(str, amounts)) for table, *counts, amounts in _split(reconciled)} == (
        crm_shop.RECONCILED
    )
    reasons = shop.rows("select table_name, rejection_reason, count(*) from quality.rejected_rows group by all")
    assert {(table, reason): count for table, reason, count in reasons} == crm_shop.REJECTED


def _split(rows: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for table, raw, kept, rejected, *amounts in rows:
        yield table, raw, kept, rejected, amounts


def test_customers_are_cleaned_by_stated_rules_and_have_no_invented_dates(shop: Shop) -> None:
    assert shop.rows(
        """
        select customer_id, birth_year, education, marital_status, income, children, country, basket_count,
            recency_days, total_spending, rfm_segment
        from core.dim_customers order by customer_id
        """
    ) == [
        ("1", 1970, "Graduation", "Divorced", Decimal("84835.00"), "0", "SP", 14, 0, Decimal("1190.00"), "champion"),
        ("2", None, "Master", None, Decimal("60182.00"), "1", "SA", 4, 23, Decimal("22.00"), "occasional"),
        ("3", 1985, "Basic", None, None, "2", "US", 0, 40, Decimal("10.00"), "unknown"),
        ("4", 1970, "Graduation", "Divorced", Decimal("84835.00"), "0", "SP", 14, 0, Decimal("1190.00"), "champion"),
        ("5", 1960, "PhD", "Single", Decimal("7500.00"), "2", "CA", 2, 99, Decimal("15.00"), "occasional"),
        ("6", 1991, "Master", "Single", Decimal("162397.00"), "0", "ME", 0, 50, Decimal("3.00"), "unknown"),
    ]
    assert shop.rows(
        """
        select distinct spending_basis, first_purchase_date, last_purchase_date, purchase_frequency, return_count,
            returned_amount, churn_probability
        from core.dim_customers
        """
    ) == [("totals without dates", None, None, None, None, None, None)]
    assert shop.rows("select count(*) from core.fct_purchases") == [(0,)]
    assert shop.rows("select count(*) from core.dim_dates") == [(0,)]


def test_each_value_that_was_left_out_or_replaced_is_named(shop: Shop) -> None:
    assert shop.rows(
        "select record_id, column_name, sent_value, kept_value, why from quality.findings order by all"
    ) == [
        ("1", "customer_id", "1", "1", "Customer 4 is the same in everything but the number."),
        ("2", "birth_year", "1893", None, "An age of 120 years at the time of enrolment."),
        (
            "2",
            "education",
            "2n Cycle",
            "Master",
            "The second cycle of higher education in Europe ends with a master's degree.",
        ),
        ("2", "marital_status", "YOLO", None, "Is no marital status."),
        ("3", "marital_status", "Absurd", None, "Is no marital status."),
        ("4", "customer_id", "4", "4", "Customer 1 is the same in everything but the number."),
        ("5", "marital_status", "Alone", "Single", "Says the same as Single."),
    ]


def test_categories_have_the_spending_and_the_buyers_of_the_totals(shop: Shop) -> None:
    # Wines: 189 + 8 + 10 + 189 + 3; customers 1, 2, 3, 4 and 6 of six.
    assert shop.rows(
        """
        select category_name, product_count, line_count, customer_count, total_spending, round(penetration, 4)
        from core.dim_categories order by category_name
        """
    ) == [
        ("Fish", 0, None, 4, Decimal("232.00"), 0.6667),
        ("Fruits", 0, None, 3, Decimal("209.00"), 0.5),
        ("Gold products", 0, None, 4, Decimal("443.00"), 0.6667),
        ("Meat", 0, None, 4, Decimal("765.00"), 0.6667),
        ("Sweets", 0, None, 3, Decimal("382.00"), 0.5),
        ("Wines", 0, None, 5, Decimal("399.00"), 0.8333),
    ]
    assert shop.rows("select sum(amount), count(*) from core.fct_category_spending") == [(Decimal("2430.00"), 23)]


# Customer 5 buys everything but wines. Fruits and sweets: two buy both, 3 * 5 / 6 = 2.5 are expected, and (2 + 5) /
# (2.5 + 5) = 0.933333. Meat, fish and gold: three buy both, 4 * 5 / 6 = 3.333333 are expected, and 8 / 8.333333 = 0.96.
# The mean is (2 * 0.933333 + 3 * 0.96) / 5.
def test_there_is_no_score_and_what_similar_customers_buy_is_listed_instead(shop: Shop) -> None:
    assert shop.rows(
        "select source_name, status, customer_count, buyer_count, as_of_date from cross_sell.score_status"
    ) == [("crm", "no dates", 6, 6, None)]
    for table in ("customer_opportunities", "category_affinity", "score_backtest", "score_calibration"):
        assert shop.rows(f"select count(*) from cross_sell.{table}") == [(0,)], table
    assert shop.rows("select customer_id, count(*) from cross_sell.category_gaps group by all order by 1") == [
        ("2", 2),
        ("3", 5),
        ("5", 1),
        ("6", 5),
    ]
    assert shop.rows(
        """
        select category_label, owned_category_count, lift, rank, strongest_category_label, strongest_lift
        from cross_sell.category_gaps where customer_id = '5'
        """
    ) == [("Wines", 5, 0.949333, 1, "Fish", 0.96)]


# Customer 1: 0.25 * 189 + 0.2 * 379 + 0.15 * 111 + 0.1 * 189 + 0.3 * 218 + 0.2 * 104 = 244.8 per 15. Customer 5:
# -1.25 + 0.4 + 0.45 + 0.4 + 1.5 + 0.2 = 1.7 per 3.
def test_the_measures_of_the_template_stand_next_to_the_right_ones(shop: Shop) -> None:
    assert shop.rows(
        """
        select customer_id, purchase_frequency_as_published, purchases, total_spending_as_published, total_spending,
            cross_sell_opportunity_score_as_published, cross_sell_opportunity_score, open_category_count,
            best_gap_category_label
        from cross_sell.reference_metrics where customer_id in ('1', '5') order by 1
        """
    ) == [
        ("1", 20, 14, Decimal("1190.00"), Decimal("1190.00"), 16.32, None, 0, None),
        ("5", 3, 2, Decimal("10.00"), Decimal("15.00"), 0.566667, None, 1, "Wines"),
    ]


def test_the_check_of_spending_below_zero_fails_on_the_file_and_passes_on_the_corrected_one(
    alone: Project, shop: Shop, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(shop.data, data)
    project = Project(data, alone.code)
    check = ("test", "--select", "no_total_is_below_zero")
    assert " WARN=1 ERROR=0" in project.dbt(*check).stdout
    crm_shop.land(data / "landing" / "crm", [row.replace(",-5,", ",5,") for row in crm_shop.ROWS])
    assert project.python("ingestion", "crm").returncode == 0
    assert (
        project.dbt("build", "--select", "+int_category_totals", "--exclude-resource-type", "unit_test").returncode == 0
    )
    assert " WARN=0 ERROR=0" in project.dbt(*check).stdout


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """The small file next to the tiny shop, after a night."""
    folder = tmp_path_factory.mktemp("crm_and_tiny")
    project = Project(folder / "data", code_with("complete_journey, crm", folder))
    tiny_shop.land(project.landing, tiny_shop.TODAY)
    crm_shop.land(project.data / "landing" / "crm")
    return Night(project.data, project.nightly())


def published(night: Night) -> Shop:
    assert night.run.returncode == 0, night.run.stdout + night.run.stderr
    return Shop(night.data, night.data / "published" / "next_aisle.duckdb")


def test_the_summary_speaks_of_both_shops(both: Night) -> None:
    assert both.run.returncode == 0, both.run.stdout + both.run.stderr
    text = words(both.run.stdout)
    assert "total spending 38.00 USD in 4 baskets" in text
    assert "crm, totals without dates total spending 2,430.00 USD so far customers 6 who spent; 6 are in the" in text
    assert "No score: The shop sends what customers spent in each category, and not when." in text
    assert "crm category_totals - 48 23 25" in text
    assert "crm customers marital_status replaced word 3" in text
    assert "intermediate.int_category_totals, check no_total_is_below_zero (1 row)" in text
    assert "Traceback" not in both.run.stdout + both.run.stderr


def test_the_other_shop_is_published_as_if_it_were_alone(both: Night, first_night: Night) -> None:
    together, alone = published(both), published(first_night)
    # Loads are named by the second that they began in.
    of_the_load = {"load_id", "delivered_at", "newest_delivery"}
    tables = alone.rows(
        """
        select table_schema || '.' || table_name, array_agg(column_name order by ordinal_position)
        from information_schema.columns group by 1 order by 1
        """
    )
    compared = 0
    for table, columns in tables:
        if table in OF_RUNS or "source_name" not in columns:
            continue
        names = ", ".join(column for column in columns if column not in of_the_load)
        sql = f"select {names} from {table} where source_name = 'complete_journey' order by all"
        assert together.rows(sql) == alone.rows(sql), table
        compared += 1
    assert compared >= 15


@pytest.mark.skipif(not REAL.is_file(), reason="NEXT_AISLE_REAL_DATA names no folder with marketing_campaign")
def test_the_real_file_adds_up(alone: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "data", alone.code)
    landing = project.data / "landing" / "crm"
    landing.mkdir(parents=True)
    shutil.copy(REAL, landing)
    shop = built(project)
    # 680,816 + 58,917 + 373,968 + 84,057 + 60,621 + 98,609, in six totals of 2,240 customers, 1,278 of them zero.
    assert shop.rows("select kept_rows, rejected_rows, kept_amount from quality.row_reconciliation order by 1") == [
        (2240, 0, Decimal("0.00")),
        (12162, 1278, Decimal("1356988.00")),
    ]
    # 9,150 on the web, 5,963 from the catalogue, 12,970 in a store.
    assert shop.rows(
        "select sum(purchases), sum(purchase_frequency_as_published), sum(total_spending) "
        "from cross_sell.reference_metrics"
    ) == [(28083, 41053, Decimal("1356988.00"))]
    assert shop.rows("select finding, column_name, count(*) from quality.findings group by all order by all") == [
        ("implausible_birth_year", "birth_year", 3),
        ("replaced_word", "education", 203),
        ("replaced_word", "marital_status", 7),
        ("same_as_another_customer", "customer_id", 94),
    ]
    assert shop.rows("select count(*), count(income), min(birth_year) from core.dim_customers") == [(2240, 2216, 1940)]
    assert shop.rows("select count(*), max(lift) from cross_sell.category_gaps") == [(1278, 1.057543)]


def test_a_column_that_its_shape_does_not_have_is_named(tmp_path: Path) -> None:
    project = Project(tmp_path / "data", code_with("crm", tmp_path))
    for suffix, old, new in (
        ("sql", "as country,", "as country, 1 as shoe_size,"),
        ("yml", "      - name: country", "      - {name: shoe_size, data_type: int}\n      - name: country"),
    ):
        file = project.dbt_dir / "models" / "staging" / "crm" / f"stg_crm__customers.{suffix}"
        text = file.read_text()
        assert text.count(old) == 1
        file.write_text(text.replace(old, new))
    compiled = project.dbt("compile", "--select", "int_staged_customers")
    assert compiled.returncode == 2
    assert (
        "stg_crm__customers: the column shoe_size is not one of int_staged_customers (source_name," in compiled.stdout
    )

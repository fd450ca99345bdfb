"""The whole job on a shop that is added up by hand (tests/fixtures/tiny_shop.py).

A run takes a quarter of a minute. So the first night is run once; who goes on from there does so on a copy.
"""

import datetime as dt
import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
import yaml

from delivery.contract import read_metadata, render
from orchestration.executor import CAUSE
from orchestration.instance import open_instance
from quality import objectives
from tests import here
from tests.conftest import OF_RUNS, Night, Project, Stage, words
from tests.fixtures import tiny_shop
from warehouse.dbt_project import prepare, published_models, read_manifest
from warehouse.settings import Settings


def published(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def everything(data: Path) -> dict[str, list[tuple[Any, ...]]]:
    tables = published(data, "select table_schema || '.' || table_name from information_schema.tables order by 1")
    return {
        table: published(data, f"select * from {table} order by all") for (table,) in tables if table not in OF_RUNS
    }


def test_totals_are_those_added_up_by_hand(first_night: Night) -> None:
    data, first = first_night
    assert first.returncode == 0, first.stdout + first.stderr
    assert {
        table: (raw, kept, rejected)
        for table, raw, kept, rejected in published(
            data, "select table_name, raw_rows, kept_rows, rejected_rows from quality.row_reconciliation"
        )
    } == {
        table: (tiny_shop.RAW[table], tiny_shop.KEPT[table], tiny_shop.RAW[table] - tiny_shop.KEPT[table])
        for table in tiny_shop.RAW
    }
    reasons = published(data, "select table_name, rejection_reason, count(*) from quality.rejected_rows group by all")
    assert {(table, reason): count for table, reason, count in reasons} == tiny_shop.REJECTED

    total = Decimal(tiny_shop.TOTAL_SPENDING)
    for sql in (
        "select sum(amount) from core.fct_purchases",
        "select sum(amount) from core.fct_baskets",
        "select sum(total_spending) from core.dim_customers",
        "select sum(total_spending) from core.dim_categories",
    ):
        assert published(data, sql) == [(total,)], sql
    baskets = published(data, "select basket_key, amount from core.fct_baskets")
    assert dict(baskets) == {f"complete_journey:{n}": Decimal(amount) for n, amount in tiny_shop.BASKETS.items()}
    assert published(
        data,
        """
        select customer_id, is_inferred, age_band, basket_count, purchase_frequency, total_spending, average_basket,
            recency_days, return_count, returned_amount, rfm_segment
        from core.dim_customers order by customer_id
        """,
    ) == [
        # Spending: 5.50 + 6.50; two baskets, the last one on the newest day.
        ("1", False, "35-44", 2, 2, Decimal("12.00"), Decimal("6.00"), 0, 0, Decimal("0.00"), "new"),
        # One of two rows with the same number counts; 21.50 three days ago, which is two before the newest; one return.
        ("2", False, "45-54", 1, 1, Decimal("21.50"), Decimal("21.50"), 2, 1, Decimal("1.50"), "new"),
        ("3", False, "65+", 0, 0, Decimal("0.00"), None, None, 0, Decimal("0.00"), "no purchases"),
        ("4", True, None, 1, 1, Decimal("4.50"), Decimal("4.50"), 0, 0, Decimal("0.00"), "new"),
    ]
    assert published(
        data,
        """
        select category_name, is_merchandise, product_count, basket_count, customer_count, total_spending
        from core.dim_categories order by category_name
        """,
    ) == [
        ("BREAD", True, 1, 2, 1, Decimal("5.00")),
        ("COUPONS", False, 1, 0, 0, Decimal("0.00")),
        ("FUEL", False, 1, 1, 1, Decimal("20.00")),
        ("MILK", True, 1, 3, 3, Decimal("9.00")),
        ("Unknown", True, 2, 1, 1, Decimal("4.00")),
    ]
    # The shop writes in capitals; a category without a name is called Unknown. All three customers bought milk.
    assert published(data, "select category_name, category_label, is_staple from core.dim_categories order by 1") == [
        ("BREAD", "Bread", False),
        ("COUPONS", "Coupons", False),
        ("FUEL", "Fuel", False),
        ("MILK", "Milk", True),
        ("Unknown", "Unknown", False),
    ]
    # Three customers bought; of 38.00 in all 9.00 went for milk.
    assert [
        (name, round(customers * 3, 9), round(spending * 38, 9))
        for name, customers, spending in published(
            data, "select category_name, penetration, spending_share from core.dim_categories order by 1"
        )
    ] == [("BREAD", 1, 5), ("COUPONS", 0, 0), ("FUEL", 1, 20), ("MILK", 3, 9), ("Unknown", 1, 4)]
    # Petrol is not a category to adopt; on the second day customer 1 first bought the product that is not in the file.
    assert published(
        data,
        """
        select customer_id, category_name, is_first_day, days_since_first_purchase
        from core.fct_category_adoptions
        join core.dim_customers using (customer_key) join core.dim_categories using (category_key) order by all
        """,
    ) == [
        ("1", "BREAD", True, 0),
        ("1", "MILK", True, 0),
        ("1", "Unknown", False, 2),
        ("2", "MILK", True, 0),
        ("4", "MILK", True, 0),
    ]
    # Customers 2 and 4 never bought bread. Three days are too little to learn from, so the likelihood is the adoption
    # rate: one customer of three has started, which over 28 days is more than the greatest rate, 0.5. The customer who
    # started with bread spent 5.00 on it, the three who started with milk 9.00: 14.00 / 4 = 3.50 is the mean, and
    # (5.00 + 5 x 3.50) / (1 + 5) = 3.75.
    assert published(
        data,
        """
        select customer_id, category_label, is_staple, likelihood, baseline_likelihood, lift_over_baseline,
            expected_spend, expected_value, rank
        from cross_sell.customer_opportunities order by customer_id
        """,
    ) == [
        ("2", "Bread", False, 0.5, 0.5, 1.0, 3.75, 1.875, 1),
        ("4", "Bread", False, 0.5, 0.5, 1.0, 3.75, 1.875, 1),
    ]
    # Three days, the one without purchases too; far too few to learn from whom the shop loses.
    assert published(data, "select count(*) from core.dim_dates") == [(3,)]
    assert published(data, "select count(churn_probability) from core.dim_customers") == [(0,)]
    for text in (
        "38.00 USD in 4 baskets",
        "zero quantity",
        "loaded now",
        "checks",
        "Seconds",
        "next_aisle.duckdb",
        "make ui",
    ):
        assert text.lower() in first.stdout.lower(), first.stdout
    assert "Traceback" not in first.stdout + first.stderr
    assert "Warning" not in first.stdout + first.stderr


# .ci/run holds the same of the sample shop, and both in steps of their own: a whole night takes half a minute.
@pytest.mark.slow
def test_a_second_run_loads_nothing_and_changes_nothing(shop: Project) -> None:
    before = everything(shop.data)
    second = shop.nightly()
    assert second.returncode == 0, second.stdout + second.stderr
    assert "loading complete_journey nothing new" in words(second.stdout)
    assert "complete_journey purchases 0 13" in words(second.stdout)
    assert everything(shop.data) == before


def test_the_contract_is_published_in_the_same_folder_as_the_data(first_night: Night) -> None:
    folder = first_night.data / "published"
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(
        [
            *render(read_metadata(read_manifest(prepare(Settings())), objectives.read())),
            "metrics.osi.json",
            "next_aisle.duckdb",
            "next_aisle.duckdb.sha256",
        ]
    )
    metrics = json.loads((folder / "metrics.osi.json").read_text(encoding="utf-8"))["semantic_model"][0]["metrics"]
    assert "total_spending" in {metric["name"] for metric in metrics}
    contract = yaml.safe_load((folder / "quality.odcs.yaml").read_text(encoding="utf-8"))
    assert (folder / contract["servers"][0]["database"]).exists()


def test_every_published_table_and_column_says_what_it_holds(first_night: Night) -> None:
    with duckdb.connect(str(first_night.data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        tables = dict(connection.execute("select table_name, comment from duckdb_tables()").fetchall())
        columns = connection.execute("select table_name, column_name, comment from duckdb_columns() where not internal")
        without = [(table, column) for table, column, comment in columns.fetchall() if not comment]
    assert tables["dim_customers"].startswith("One row per customer"), tables["dim_customers"]
    assert all(tables.values()) and without == []


def origins(instance: dg.DagsterInstance, key: tuple[str, str], column: str) -> set[tuple[str, str, str]]:
    """The columns that a column comes from, as Dagster shows them."""
    event = instance.get_latest_materialization_event(dg.AssetKey(list(key)))
    assert event is not None
    assert event.asset_materialization is not None
    lineage = event.asset_materialization.metadata["dagster/column_lineage"].value
    assert isinstance(lineage, dg.TableColumnLineage)
    return {(*dep.asset_key.path, dep.column_name) for dep in lineage.deps_by_column.get(column, [])}  # type: ignore[misc]


def test_a_column_can_be_followed_back_to_the_landed_file(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXT_AISLE_DATA", str(shop.data))
    with open_instance(here.paths()) as instance:
        # Money: from the customer's total, step by step, to what the shop sent.
        way = [
            ("core", "dim_customers", "total_spending"),
            ("core", "fct_baskets", "amount"),
            ("core", "fct_purchases", "amount"),
            ("intermediate", "int_purchase_lines", "amount"),
            ("intermediate", "int_staged_purchases", "amount"),
            ("staging", "stg_complete_journey__purchases", "amount"),
            ("complete_journey", "purchases", "sales_value"),
        ]
        # Amounts are converted with the rate of their currency; totals without dates count where there are some.
        others = {("core", "daily_exchange_rates", "rate"), ("core", "fct_category_spending", "amount")}
        for (*key, column), origin in itertools.pairwise(way):
            assert origins(instance, (key[0], key[1]), column) - others == {origin}
        assert origins(instance, ("core", "dim_customers"), "age_band") == {
            ("core", "customer_numbers", "position"),
            ("intermediate", "int_customers", "age_band"),
        }
        assert origins(instance, ("core", "dim_products"), "is_merchandise") == {
            ("core", "product_numbers", "is_merchandise")
        }
        assert origins(instance, ("core", "product_numbers"), "is_merchandise") == {
            ("intermediate", "int_products", "is_merchandise")
        }
        assert origins(instance, ("intermediate", "int_products"), "is_merchandise") == {
            ("seeds", "non_merchandise_departments", "department")
        }
        event = instance.get_latest_materialization_event(dg.AssetKey(["core", "dim_categories"]))
        assert event and event.asset_materialization
        first_rows = event.asset_materialization.metadata["first_rows"]
        assert isinstance(first_rows, dg.TableMetadataValue)
        assert {record.data["category_name"]: record.data["total_spending"] for record in first_rows.records} == {
            "BREAD": "5.00",
            "COUPONS": "0.00",
            "FUEL": "20.00",
            "MILK": "9.00",
            "Unknown": "4.00",
        }
        # Only what counts rows, or is written out, comes from no column.
        without = {
            f"{node['alias']}.{column}"
            for node in published_models(read_manifest(prepare(Settings())))
            if node["schema"] == "core"
            for column in node["columns"]
            if not origins(instance, (node["schema"], node["alias"]), column)
        }
    assert without == {
        "customer_numbers.is_inferred",
        "dim_categories.product_count",
        "dim_categories.spending_basis",
        "dim_customers.shop_count",
        "fct_baskets.line_count",
        "fct_category_spending.line_count",
        "fct_category_spending.spending_basis",
        "fct_category_spending.total_count",
        "product_numbers.is_inferred",
    }


def test_a_damaged_file_keeps_the_old_copy_and_is_named(shop: Project) -> None:
    before = everything(shop.data)
    damaged = shop.landing / "purchases" / f"{tiny_shop.TODAY - dt.timedelta(days=2)}.parquet"
    whole = next((shop.landing / "purchases").glob("*.parquet")).read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    failed = shop.nightly()
    assert failed.returncode == 1
    assert str(damaged) in failed.stdout
    assert "not a complete Parquet file" in words(failed.stdout)
    assert "Traceback" not in failed.stdout + failed.stderr
    assert everything(shop.data) == before
    damaged.unlink()


def test_a_day_sent_again_with_changed_rows_replaces_the_day_and_the_old_rows_are_accounted_for(shop: Project) -> None:
    first = tiny_shop.TODAY - dt.timedelta(days=3)
    # Basket 101 is corrected: petrol for 25.00, not 20.00; the double line is gone.
    tiny_shop.write_day(
        shop.landing,
        first,
        [
            tiny_shop.line(first, 100, 1, 10, 2, 3.00),
            tiny_shop.line(first, 100, 1, 11, 1, 2.50),
            tiny_shop.line(first, 101, 2, 10, 1, 1.50),
            tiny_shop.line(first, 101, 2, 12, 9000, 25.00),
        ],
    )
    again = shop.nightly()
    assert again.returncode == 0, again.stdout
    assert f"delivered again with changes: purchases/{first}.parquet" in words(again.stdout)
    data = shop.data
    assert published(data, "select sum(amount) from core.fct_purchases") == [(Decimal("43.00"),)]
    superseded = (
        "select count(*), sum(amount) from quality.rejected_rows where rejection_reason = 'superseded_delivery'"
    )
    assert published(data, superseded) == [(5, Decimal("28.50"))]
    assert published(
        data, "select raw_rows, kept_rows, rejected_rows from quality.row_reconciliation where table_name = 'purchases'"
    ) == [(17, 7, 10)]


@pytest.mark.slow
def test_a_failed_check_keeps_the_old_copy_and_names_itself(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(shop.data)
    # The shop sends every day again, and all of it is returns: nothing would be left to publish.
    for day, lines in tiny_shop.days(tiny_shop.TODAY).items():
        returns = [{**line, "quantity": -1, "sales_value": -1.0} for line in lines]
        tiny_shop.write_day(shop.landing, day, returns)
    failed = shop.nightly()
    assert failed.returncode == 1
    assert "nothing was published" in failed.stdout
    assert "core.fct_category_spending, check fct_category_spending_is_not_empty" in words(failed.stdout)
    failed_rows = "failed_rows.fct_category_spending_is_not_empty"
    command = f'uv run python -m delivery query --warehouse "from {failed_rows} limit 20"'
    assert command in failed.stdout
    monkeypatch.setenv("NEXT_AISLE_DATA", str(shop.data))
    with open_instance(here.paths()) as instance:
        (run,) = instance.get_runs(limit=1)
        evaluations = [
            entry.dagster_event.asset_check_evaluation_data
            for entry in instance.all_logs(run.run_id)
            if entry.dagster_event and entry.dagster_event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ]
    # The list of runs says why, and the check shows the rows.
    assert "fct_category_spending_is_not_empty: Got 1 result, configured to fail if != 0" in run.tags[CAUSE]
    (check,) = (check for check in evaluations if check.check_name == "fct_category_spending_is_not_empty")
    assert check.metadata["failed_rows"].value == command
    shown = check.metadata["first_failed_rows"]
    assert isinstance(shown, dg.TableMetadataValue) and len(shown.records) == 1
    assert "Readers still see the copy published on" in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr
    assert everything(shop.data) == before


def test_old_purchases_stop_the_run_before_anything_is_modelled(stage: Stage, tmp_path: Path) -> None:
    with stage.shop(moved_to=tmp_path / "data") as shop:
        tiny_shop.land(shop.landing, today=tiny_shop.TODAY - dt.timedelta(days=9))
        failed = shop.nightly()
    assert failed.returncode == 1
    assert "newest_purchase_is_recent" in failed.stdout
    assert "an error after 48 hours" in words(failed.stdout)
    assert "Nothing was ever published here" in failed.stdout
    assert "modelling" not in failed.stdout

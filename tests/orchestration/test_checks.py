"""What a source sent: how old its newest purchase may be, and whether all of it arrived as it was declared."""

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest

from ingestion import warehouse
from ingestion.load import load
from orchestration.checks import judge, source_checks
from orchestration.resources import dbt_project
from tests.fixtures import tiny_shop

NOW = dt.datetime(2026, 11, 20, 2, 0)
WARN, ERROR = dt.timedelta(hours=30), dt.timedelta(hours=48)


@pytest.mark.parametrize(
    ("newest", "passed", "severity"),
    [
        (dt.datetime(2026, 11, 19, 21, 0), True, None),
        (dt.datetime(2026, 11, 18, 20, 0), True, None),  # 30 hours exactly
        (dt.datetime(2026, 11, 18, 19, 59), False, dg.AssetCheckSeverity.WARN),
        (dt.datetime(2026, 11, 18, 2, 0), False, dg.AssetCheckSeverity.WARN),  # 48 hours exactly
        (dt.datetime(2026, 11, 18, 1, 59), False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_the_newest_purchase_is_judged_by_its_age(
    newest: dt.datetime, passed: bool, severity: dg.AssetCheckSeverity | None
) -> None:
    result = judge(newest, NOW, WARN, ERROR)
    assert result.passed is passed
    if severity:
        assert result.severity == severity


def test_a_shop_without_a_purchase_stops_the_run() -> None:
    result = judge(None, NOW, WARN, ERROR)
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR


def evaluated(data: Path) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """What the checks of the tiny shop's source say of what was loaded, by table and check."""
    definitions = dg.Definitions(
        asset_checks=[source_checks("complete_journey", dbt_project())],
        jobs=[dg.define_asset_job("check", dg.AssetSelection.all_asset_checks())],
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("check").execute_in_process(instance=instance, raise_on_error=False)
        return {(check.asset_key.path[-1], check.check_name): check for check in result.get_asset_check_evaluations()}


def test_what_was_landed_is_compared_with_what_is_in_raw_to_the_cent(landing: Path, data: Path) -> None:
    load("complete_journey", say=lambda _: None)
    checks = evaluated(data)
    assert {name: check.passed for name, check in checks.items()} == dict.fromkeys(checks, True)
    assert checks["purchases", "landed_files_are_in_raw"].metadata["rows_read"].value == 2
    assert set(checks) == {
        ("purchases", "newest_purchase_is_recent"),
        ("deliveries", "newest_delivery_is_recent"),
        ("purchases", "landed_files_are_in_raw"),
        *((table, "columns_are_as_declared") for table in ("customers", "products", "purchases")),
    }

    first = dt.date.today() - dt.timedelta(days=3)
    with warehouse.connect() as connection:
        connection.execute(
            "update raw_complete_journey.purchases set sales_value = sales_value + 0.01 "
            f"where basket_id = 100 and product_id = 10 and _landed_file = 'purchases/{first}.parquet'"
        )
    check = evaluated(data)["purchases", "landed_files_are_in_raw"]
    assert not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    assert f"purchases/{first}.parquet (5 rows landed, 5 in raw)" in str(check.description)

    # A landed file that is gone proves nothing, and one sent again counts in its newest version.
    (landing / "purchases" / f"{first}.parquet").unlink()
    assert evaluated(data)["purchases", "landed_files_are_in_raw"].passed
    tiny_shop.write_day(landing, first, [tiny_shop.line(first, 100, 1, 10, 1, float("nan"))])
    load("complete_journey", say=lambda _: None)
    assert evaluated(data)["purchases", "landed_files_are_in_raw"].passed
    with warehouse.connect() as connection:
        connection.execute("delete from raw_complete_journey.purchases where _landed_file like '%' and basket_id = 103")
    check = evaluated(data)["purchases", "landed_files_are_in_raw"]
    assert "(8 rows landed, 6 in raw)" in str(check.description)


def test_columns_of_another_type_or_missing_are_named_and_new_ones_too(landing: Path, data: Path) -> None:
    load("complete_journey", say=lambda _: None)
    with warehouse.connect() as connection:
        connection.execute("alter table raw_complete_journey.customers add column loyalty_card varchar")
        connection.execute("alter table raw_complete_journey.products alter column brand type integer using 1")
        connection.execute("alter table raw_complete_journey.purchases drop column week")
    checks = evaluated(data)
    customers, products, purchases = (
        checks[table, "columns_are_as_declared"] for table in ("customers", "products", "purchases")
    )
    assert customers.passed and customers.description == "All 8 declared columns are there. Beside them: loyalty_card."
    assert not products.passed and products.description == "brand is INTEGER, declared VARCHAR"
    assert not purchases.passed and purchases.description == "week is missing, declared BIGINT"
    assert (purchases.metadata["rows_read"].value, purchases.metadata["rows_failed"].value) == (11, 1)


def test_checks_before_anything_was_loaded_say_so(data: Path) -> None:
    definitions = dg.Definitions(
        asset_checks=[source_checks("complete_journey", dbt_project())],
        jobs=[dg.define_asset_job("check", dg.AssetSelection.all_asset_checks())],
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("check").execute_in_process(instance=instance, raise_on_error=False)
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "Was anything loaded yet?" in str(failure.step_failure_data.user_failure_data.description)

"""What a source sent: how old its newest purchase may be, and whether all of it arrived as it was declared."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from ingestion import source
from ingestion.file_checks import Quarantine
from ingestion.landed_files import LandedFiles
from ingestion.load import load
from orchestration.assets.raw import raw_assets
from orchestration.checks import source_checks
from orchestration.project import read_project
from tests import here
from tests.fixtures import tiny_shop
from warehouse.dbt_project import DbtProjectError


def evaluated(data: Path) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """What the checks of the tiny shop's source say of what was loaded, by table and check."""
    definitions = dg.Definitions(
        asset_checks=[source_checks(read_project(), "complete_journey")],
        jobs=[dg.define_asset_job("check", dg.AssetSelection.all_asset_checks())],
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("check").execute_in_process(instance=instance, raise_on_error=False)
        return {(check.asset_key.path[-1], check.check_name): check for check in result.get_asset_check_evaluations()}


def test_what_was_landed_is_compared_with_what_is_in_raw_to_the_cent(landing: Path, data: Path) -> None:
    load("complete_journey", here.paths(), say=lambda _: None)
    checks = evaluated(data)
    assert {name: check.passed for name, check in checks.items()} == dict.fromkeys(checks, True)
    assert checks["purchases", "landed_files_are_in_raw"].metadata["rows_read"].value == 2
    assert set(checks) == {
        ("purchases", "newest_purchase_is_recent"),
        ("deliveries", "newest_delivery_is_recent"),
        ("purchases", "landed_files_are_in_raw"),
        *((table, "columns_are_as_declared") for table in ("customers", "products", "purchases")),
    }

    first = tiny_shop.TODAY - dt.timedelta(days=3)
    with here.connect() as connection:
        connection.execute(
            "update raw_complete_journey.purchases set sales_value = sales_value + 0.01 "
            f"where basket_id = 100 and product_id = 10 and _delivery = 'purchases/{first}.parquet'"
        )
    check = evaluated(data)["purchases", "landed_files_are_in_raw"]
    assert not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
    assert f"purchases/{first}.parquet (5 rows landed, 5 in raw)" in str(check.description)

    # A landed file that is gone proves nothing, and one sent again counts in its newest version.
    (landing / "purchases" / f"{first}.parquet").unlink()
    assert evaluated(data)["purchases", "landed_files_are_in_raw"].passed
    tiny_shop.write_day(landing, first, [tiny_shop.line(first, 100, 1, 10, 1, float("nan"))])
    load("complete_journey", here.paths(), say=lambda _: None)
    assert evaluated(data)["purchases", "landed_files_are_in_raw"].passed
    with here.connect() as connection:
        connection.execute("delete from raw_complete_journey.purchases where _delivery like '%' and basket_id = 103")
    check = evaluated(data)["purchases", "landed_files_are_in_raw"]
    assert "(8 rows landed, 6 in raw)" in str(check.description)


def test_columns_of_another_type_or_missing_are_named_and_new_ones_too(landing: Path, data: Path) -> None:
    load("complete_journey", here.paths(), say=lambda _: None)
    with here.connect() as connection:
        connection.execute("alter table raw_complete_journey.customers add column loyalty_card varchar")
        connection.execute("alter table raw_complete_journey.products alter column brand type integer using 1")
        connection.execute("alter table raw_complete_journey.purchases drop column week")
    checks = evaluated(data)
    customers, products, purchases = (
        checks[table, "columns_are_as_declared"] for table in ("customers", "products", "purchases")
    )
    assert (
        customers.passed and customers.description == "All 8 declared columns are present. New columns: loyalty_card."
    )
    assert not products.passed and products.description == "brand is INTEGER, declared VARCHAR"
    assert not purchases.passed and purchases.description == "week is missing, declared BIGINT"
    assert (purchases.metadata["rows_read"].value, purchases.metadata["rows_failed"].value) == (11, 1)


@pytest.fixture
def with_quarantine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny shop's products may have rows in quarantine."""
    declared = source.find("complete_journey")
    assert isinstance(declared, LandedFiles)
    tables = tuple(
        replace(table, quarantine=Quarantine(max_share=0.5)) if table.name == "products" else table
        for table in declared.tables
    )
    monkeypatch.setattr("ingestion.source.find", lambda _name: LandedFiles("complete_journey", tables))


def test_rows_in_quarantine_are_warned_of_until_their_file_comes_again(
    with_quarantine: None, landing: Path, data: Path
) -> None:
    with (landing / "products.csv").open("a", encoding="utf-8") as file:
        file.write("fifteen,1,GROCERY,National,TEA,GREEN TEA,\n")
    load("complete_journey", here.paths(), say=lambda _: None)
    check = evaluated(data)["quarantine", "products_quarantine_is_empty"]
    assert (check.passed, check.severity, check.description, check.metadata["rows"].value) == (
        False,
        dg.AssetCheckSeverity.WARN,
        "1 row in quarantine: products.csv. Correct and replay them: python -m ingestion replay --help",
        1,
    )
    (landing / "products.csv").write_text(tiny_shop.PRODUCTS, encoding="utf-8")
    load("complete_journey", here.paths(), say=lambda _: None)
    check = evaluated(data)["quarantine", "products_quarantine_is_empty"]
    assert (check.passed, check.description) == (True, "No row of products is in quarantine.")


def test_a_quarantine_that_the_models_do_not_know_is_refused(with_quarantine: None, data: Path) -> None:
    with pytest.raises(DbtProjectError) as raised:
        raw_assets(read_project(), "complete_journey")
    assert str(raised.value) == (
        "products of complete_journey may have rows in quarantine: add the table quarantine to the source's yml"
    )


@pytest.mark.parametrize(
    ("table", "check"),
    [("purchases", "newest_purchase_is_recent"), ("products", "columns_are_as_declared"), ("purchases", None)],
)
def test_checks_before_anything_was_loaded_say_so_also_alone(table: str, check: str | None, data: Path) -> None:
    result = executed(table, check)
    failure = next(event for event in result.all_events if event.is_step_failure)
    data_of_failure = failure.step_failure_data
    assert data_of_failure.user_failure_data and data_of_failure.error
    assert "Was anything loaded yet?" in str(data_of_failure.user_failure_data.description)
    assert not data_of_failure.error.cause, "DuckDB's own stack says no more"


def test_a_check_can_be_executed_by_itself(landing: Path, data: Path) -> None:
    load("complete_journey", here.paths(), say=lambda _: None)
    (check,) = executed("products", "columns_are_as_declared").get_asset_check_evaluations()
    assert check.passed and check.asset_check_key == dg.AssetCheckKey(
        dg.AssetKey(["complete_journey", "products"]), "columns_are_as_declared"
    )


def executed(table: str, check: str | None) -> dg.ExecuteInProcessResult:
    """One check of a table by itself, as the UI executes it; or all checks of the source."""
    key = dg.AssetCheckKey(dg.AssetKey(["complete_journey", table]), check or "")
    selection = dg.AssetSelection.checks(key) if check else dg.AssetSelection.all_asset_checks()
    definitions = dg.Definitions(
        asset_checks=[source_checks(read_project(), "complete_journey")],
        jobs=[dg.define_asset_job("check", selection)],
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        return definitions.resolve_job_def("check").execute_in_process(instance=instance, raise_on_error=False)

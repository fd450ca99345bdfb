"""What stops one of several shops holds it; what stops them all, or the only one, fails the step as before."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ingestion.load import load
from ingestion.raw_tables import LoadError
from orchestration.assets import raw
from orchestration.checks import source_checks
from orchestration.holds import HELD
from orchestration.keys import HELD_SOURCES
from orchestration.project import Project, read_project
from quality import holding
from tests import here
from tests.fixtures import tiny_shop
from warehouse.connections import WarehouseBusyError

SHOP = "complete_journey"
IS_LOADED = (SHOP, "deliveries", "new_deliveries_are_loaded")
IS_RECENT = (SHOP, "purchases", "newest_purchase_is_recent")


@pytest.fixture
def several(data: Path) -> Project:
    """The tiny shop is one of two."""
    return replace(read_project(), sources=[SHOP, "corner_shop"])


def run(project: Project, *, whole: bool = True) -> tuple[dg.ExecuteInProcessResult, dict[tuple[str, ...], Any]]:
    """Load and check the tiny shop, and say how each check came out.

    Args:
        project: has one shop or several.
        whole: as a part of the job that decides which shops are held; otherwise by itself.
    """

    @dg.asset(key=HELD_SOURCES)
    def held_sources() -> None: ...

    definitions = dg.Definitions(
        assets=[raw.raw_assets(project, SHOP), *([held_sources] if whole else [])],
        asset_checks=[source_checks(project, SHOP)],
        jobs=[dg.define_asset_job("nightly")],
        executor=dg.in_process_executor,
    )
    selection = None if whole else [dg.AssetKey([SHOP, table]) for table in (*tiny_shop.RAW, "deliveries")]
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("nightly").execute_in_process(
            instance=instance, raise_on_error=False, asset_selection=selection
        )
        checks = {
            (*check.asset_key.path, check.check_name): check
            for check in result.get_asset_check_evaluations()
            if not check.passed
        }
    return result, checks


def held() -> dict[str, str]:
    with here.connect() as connection:
        return {name: shop.reason for name, shop in holding.read(connection, [SHOP]).items()}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LoadError("customers.csv is empty. Have it sent again."), "customers.csv is empty. Have it sent again"),
        # In the code of the source, or of a library.
        (KeyError("customers"), "an unexpected KeyError: the log of the run has its text"),
    ],
)
def test_a_shop_that_cannot_be_loaded_is_held_and_has_its_tables(
    error: Exception, reason: str, several: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(raw, "load", fail)
    result, checks = run(several)
    assert result.success
    assert held() == {SHOP: reason}, "that there is no purchase yet follows from that"
    check = checks[IS_LOADED]
    assert check.severity == dg.AssetCheckSeverity.WARN and check.metadata[HELD].value is True
    with here.connect() as connection:
        assert connection.execute(f"select count(*) from raw_{SHOP}.purchases").fetchall() == [(0,)]


def test_a_shop_that_is_loaded_again_is_held_no_longer(
    several: Project, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with here.connect() as connection:
        holding.note(connection, SHOP, {holding.LOAD: "customers.csv is empty"})
    result, checks = run(several)
    assert result.success and checks == {} and held() == {}


@pytest.mark.parametrize(
    "error", [WarehouseBusyError("the warehouse is open in process 7"), LoadError("the disk is full: No space left")]
)
def test_what_is_not_the_shops_fault_stops_the_run(
    error: Exception, several: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(raw, "load", fail)
    result, _ = run(several)
    assert not result.success and held() == {}
    (failure,) = [event for event in result.all_events if event.is_step_failure and event.step_key == f"load_{SHOP}"]
    failed = failure.step_failure_data.user_failure_data
    assert failed and failed.description == str(error)


@pytest.fixture
def old(data: Path) -> None:
    """The tiny shop's newest purchase is nine days old."""
    tiny_shop.land(data / "landing" / SHOP, tiny_shop.TODAY - dt.timedelta(days=9))


def test_a_shop_that_is_late_is_held(several: Project, old: None) -> None:
    result, checks = run(several)
    assert result.success
    assert list(checks) == [IS_RECENT]
    assert checks[IS_RECENT].severity == dg.AssetCheckSeverity.WARN
    assert held()[SHOP].startswith("purchases: The newest purchase was at ")


@pytest.mark.parametrize("alone", ["the only shop", "executed by itself"])
def test_the_only_shop_and_checks_that_are_executed_by_themselves_fail(alone: str, several: Project, old: None) -> None:
    if alone == "the only shop":
        result, checks = run(replace(several, sources=[SHOP]))
    else:
        load(SHOP, here.paths(), say=lambda _: None)
        result, checks = run(several, whole=False)
    assert not result.success
    assert checks[IS_RECENT].severity == dg.AssetCheckSeverity.ERROR
    assert held() == {}


def test_a_source_without_limits_has_no_check_of_its_age(data: Path) -> None:
    project = read_project()
    node = f"source.next_aisle.{SHOP}.purchases"
    manifest = {**project.manifest, "sources": {**project.manifest["sources"]}}
    manifest["sources"][node] = {**manifest["sources"][node], "freshness": None}
    names = {key.name for key in source_checks(replace(project, manifest=manifest), SHOP).check_keys}
    assert "newest_purchase_is_recent" not in names
    assert {"newest_delivery_is_recent", "columns_are_as_declared"} <= names

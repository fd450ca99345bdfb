"""What Dagster shows: one lineage from file to published copy, and who may write when."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import tzlocal

from ingestion.sources import complete_journey
from orchestration.assets.landing import landing_assets
from orchestration.assets.models import BuildConfig
from orchestration.assets.published import published_asset
from orchestration.definitions import defs
from orchestration.keys import WAREHOUSE_POOL
from orchestration.project import read_project
from orchestration.schedules import Hours, TimezoneError, every_night, find_timezone
from tests import here
from tests.conftest import PLACE
from warehouse.paths import PROJECT_DIR, Paths

SNAPSHOT = Path(__file__).parent / "graph.json"


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return defs()


def graph(definitions: dg.Definitions) -> dict[str, object]:
    """Assets with what they depend on and who looks after them; checks with what they block."""
    assets = definitions.resolve_asset_graph()
    described: dict[str, object] = {}
    for node in sorted(assets.asset_nodes, key=lambda node: node.key):
        described[node.key.to_user_string()] = {
            "depends_on": sorted(key.to_user_string() for key in node.parent_keys),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "pools": sorted(node.pools or ()),
            "checks": sorted(
                check.name + (" (blocking)" if assets.get(check).blocking else "") for check in node.check_keys
            ),
        }
    return described


def test_the_graph_is_the_one_that_was_reviewed(definitions: dg.Definitions) -> None:
    now = json.dumps(graph(definitions), indent=1) + "\n"
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(now, encoding="utf-8")
    assert now == SNAPSHOT.read_text(encoding="utf-8"), "look at the change, then: UPDATE_SNAPSHOT=1 uv run pytest"


def test_nothing_in_the_graph_is_dangling(definitions: dg.Definitions) -> None:
    assets = definitions.resolve_asset_graph()
    roots = {key for key in assets.get_all_asset_keys() if not assets.get(key).parent_keys}
    # Shapes that no active source is staged in.
    empty = {dg.AssetKey(["intermediate", f"int_staged_{shape}"]) for shape in ("category_totals", "findings")}
    assert {key.path[0] for key in roots - empty} == {"landing", "seeds", "published"}
    published = dg.AssetKey(["published", "next_aisle"])
    upstream, seen = [published], set()
    while upstream:
        key = upstream.pop()
        assert key in assets.get_all_asset_keys(), f"{key} is depended on, but nothing makes it"
        seen.add(key)
        upstream.extend(assets.get(key).parent_keys - seen)
    assert seen == assets.get_all_asset_keys(), "an asset is on no way to the published copy"


def test_every_step_that_opens_the_warehouse_is_in_its_pool(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("nightly")
    pools = {node.name: node.definition.pool for node in job.graph.nodes}  # type: ignore[attr-defined]
    without = {name for name, pool in pools.items() if pool != WAREHOUSE_POOL}
    assert without == {"land_complete_journey"}


def test_every_asset_has_a_description_and_an_owner(definitions: dg.Definitions) -> None:
    assets = definitions.resolve_asset_graph()
    for node in assets.asset_nodes:
        assert node.description, node.key
        assert node.owners, node.key
        assert node.kinds, node.key


def test_every_check_says_what_it_checks_under_a_name_that_fits(definitions: dg.Definitions) -> None:
    assets = definitions.resolve_asset_graph()
    checks = {key: assets.get(key) for key in assets.asset_check_keys}
    assert not [key.to_user_string() for key, check in checks.items() if not check.description], (
        "give the dbt test a description, or its kind a sentence in quality/data_tests.py"
    )
    assert not [key.name for key in checks if len(key.name) > 60], "give the dbt test a shorter name: in its yml"


def test_files_that_are_kept_elsewhere_show_where(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    away = dataclasses.replace(complete_journey.SOURCE, location="sftp://shop.example/out/")
    monkeypatch.setattr(complete_journey, "SOURCE", away)
    assets = landing_assets(read_project(), "complete_journey")
    assert isinstance(assets, list)
    assert [(spec.description, spec.kinds) for spec in assets] == [
        ("Files sftp://shop.example/out/customers.csv, as the shop sends them.", {"csv", "sftp"}),
        ("Files sftp://shop.example/out/products.csv, as the shop sends them.", {"csv", "sftp"}),
        ("Files sftp://shop.example/out/purchases/{date}.parquet, as the shop sends them.", {"parquet", "sftp"}),
    ]


def test_raw_tables_and_marts_have_a_freshness_policy(definitions: dg.Definitions) -> None:
    assets = definitions.resolve_asset_graph()
    due = {node.key.path[0] for node in assets.asset_nodes if node.freshness_policy}
    assert due == {"complete_journey", "core", "cross_sell", "quality", "published"}


def test_the_nightly_job_is_scheduled_and_includes_everything(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("every_night")
    assert schedule.job_name == "nightly"
    assert schedule.cron_schedule == ["0,10,20,30,40,50 2 * * *", "0,10,20,30,40,50 3 * * *", "0 4 * * *"]
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING, "it is on without a click"
    assert schedule.execution_timezone == find_timezone(None)
    job = definitions.resolve_job_def("nightly")
    assert job.executor_def.name == "one_run_at_a_time"
    assert job.asset_layer.selected_asset_keys == definitions.resolve_asset_graph().get_all_asset_keys()


@pytest.mark.parametrize(("setting", "zone"), [("Europe/Berlin", "Europe/Berlin"), (None, "America/New_York")])
def test_the_schedule_goes_by_the_clock_of_the_setting_or_else_of_the_machine(
    setting: str | None, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    tzlocal.reload_localzone()
    schedule = every_night(Hours(find_timezone(setting)), lambda _day: [])
    assert schedule.execution_timezone == zone
    assert f"02:00 {zone}" in str(schedule.description)


def test_a_time_zone_that_does_not_exist_is_named_with_its_setting() -> None:
    with pytest.raises(TimezoneError, match=r"NEXT_AISLE_TIMEZONE is 'Mars/Base'.*Europe/Berlin"):
        find_timezone("Mars/Base")


def test_the_launchpad_offers_what_a_person_sets_and_nothing_else(definitions: dg.Definitions) -> None:
    schema: Any = definitions.resolve_job_def("nightly").run_config_schema.config_type
    offered = {
        f"{part}.{name}.{setting}"
        for part in ("ops", "resources")
        for name, field in schema.fields[part].config_type.fields.items()
        if "config" in field.config_type.fields
        for setting in getattr(field.config_type.fields["config"].config_type, "fields", {})
    }
    again = {"from_landing", "without_missing", "since"}
    assert offered == {
        "ops.build_models.score_as_of",
        "ops.build_models.full_refresh",
        *(f"ops.published__deliveries.{setting}" for setting in again),
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [("2026-13-01", "which is not a date. Write it as 2026-10-31"), ("2999-01-01", "which is still to come")],
)
def test_a_wrong_score_date_is_refused_and_named(text: str, error: str) -> None:
    with pytest.raises(dg.Failure, match=error) as refused:
        BuildConfig(score_as_of=text).variables()
    assert text in str(refused.value.description)


def test_a_score_date_is_handed_to_dbt_and_none_is_not() -> None:
    assert BuildConfig(score_as_of="2026-10-31").variables() == {"score_as_of": "2026-10-31"}
    assert BuildConfig().variables() == {}


def test_a_run_with_a_score_date_publishes_nothing_and_says_so(data: Path) -> None:
    @dg.asset
    def build_models(config: BuildConfig) -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [build_models, published_asset(read_project())],
            instance=instance,
            run_config={"ops": {"build_models": {"config": {"score_as_of": "2026-10-31"}}}},
        )
        assert result.success
        messages = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert [event.asset_key for event in result.get_asset_materialization_events()] == [dg.AssetKey("build_models")]
    assert "not published: the score is as of 2026-10-31 (score_as_of). Readers keep what they have." in messages
    assert not here.paths().published.exists()


def test_definitions_load_without_data_and_without_network() -> None:
    program = (
        "import socket\n"
        "def refuse(*_): raise AssertionError('definitions reached for the network')\n"
        "socket.socket.connect = refuse\n"
        "from orchestration.definitions import defs\n"
        "print(len(defs().resolve_asset_graph().get_all_asset_keys()))\n"
    )
    nowhere = PLACE.data
    with PLACE.lent(Paths(nowhere).dbt_target):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=PROJECT_DIR,
            env={**os.environ, "NEXT_AISLE_DATA": str(nowhere)},
            capture_output=True,
            text=True,
        )
    kept = [file.name for file in nowhere.iterdir()]
    shutil.rmtree(nowhere)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
    assert kept == ["dbt"], "only what dbt parsed is kept"

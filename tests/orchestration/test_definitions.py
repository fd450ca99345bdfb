"""What Dagster shows: one lineage from file to published copy, and who may write when."""

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from orchestration.definitions import defs
from orchestration.keys import WAREHOUSE_POOL
from warehouse.paths import PROJECT_DIR

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
    assert {key.path[0] for key in roots} == {"landing", "seeds", "published"}
    published = dg.AssetKey(["published", "next_aisle"])
    upstream, seen = [published], set()
    while upstream:
        key = upstream.pop()
        assert key in assets.get_all_asset_keys(), f"{key} is depended on and nobody makes it"
        seen.add(key)
        upstream.extend(assets.get(key).parent_keys - seen)
    assert seen == assets.get_all_asset_keys(), "an asset is on no way to the published copy"


def test_every_step_that_opens_the_warehouse_is_in_its_pool(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("nightly")
    pools = {node.name: node.definition.pool for node in job.graph.nodes}  # type: ignore[attr-defined]
    without = {name for name, pool in pools.items() if pool != WAREHOUSE_POOL}
    assert without == {"land_complete_journey"}


def test_every_asset_says_what_it_is_and_whom_to_ask(definitions: dg.Definitions) -> None:
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


def test_raw_tables_and_marts_have_a_freshness_policy(definitions: dg.Definitions) -> None:
    assets = definitions.resolve_asset_graph()
    due = {node.key.path[0] for node in assets.asset_nodes if node.freshness_policy}
    assert due == {"complete_journey", "core", "cross_sell", "quality", "published"}


def test_the_nightly_job_is_scheduled_and_takes_in_everything(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("every_night")
    assert schedule.job_name == "nightly"
    assert schedule.cron_schedule == "0 2 * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING, "it is on without a click"
    job = definitions.resolve_job_def("nightly")
    assert job.executor_def is dg.in_process_executor, "each process more costs seconds"
    assert job.asset_layer.selected_asset_keys == definitions.resolve_asset_graph().get_all_asset_keys()


def test_definitions_load_without_data_and_without_network(tmp_path: Path) -> None:
    program = (
        "import socket\n"
        "def refuse(*_): raise AssertionError('definitions reached for the network')\n"
        "socket.socket.connect = refuse\n"
        "from orchestration.definitions import defs\n"
        "print(len(defs().resolve_asset_graph().get_all_asset_keys()))\n"
    )
    nowhere = tmp_path / "not there"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_DIR,
        env={**os.environ, "NEXT_AISLE_DATA": str(nowhere)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
    assert [file.name for file in nowhere.iterdir()] == ["dbt"], "only what dbt parsed is kept"

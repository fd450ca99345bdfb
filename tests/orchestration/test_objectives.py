"""Each check that can run measures one objective, and both agree on what stops a publication."""

from typing import Any

import pytest
import yaml

from orchestration.definitions import defs
from orchestration.keys import NEW_DELIVERIES, SLO_STATUS, VERDICT
from quality import objectives
from quality.new_rows import MEASURES as ROW_MEASURES
from quality.objectives import Objectives
from quality.recording import AS_DECLARED, PUNCTUALITY, READABLE
from quality.usual import COMPARISONS
from warehouse.dbt_project import prepare, read_manifest
from warehouse.paths import DBT_DIR
from warehouse.settings import Settings

# Made by the recorder from what Dagster logged, and by quality.check_results from how a run compares with others.
RECORDED = {PUNCTUALITY, AS_DECLARED, READABLE}
COMPARED = set(COMPARISONS)


@pytest.fixture(scope="module")
def promised() -> Objectives:
    return objectives.read()


@pytest.fixture(scope="module")
def dbt_tests() -> list[dict[str, Any]]:
    manifest = read_manifest(prepare(Settings()))
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]


@pytest.fixture(scope="module")
def dagster_checks(dbt_tests: list[dict[str, Any]]) -> set[str]:
    graph = defs().resolve_asset_graph()
    names = {node["name"] for node in dbt_tests}
    return {
        key.name
        for key in graph.asset_check_keys
        if key.name not in names and key.asset_key not in (SLO_STATUS, VERDICT, NEW_DELIVERIES)
    }


def test_every_check_measures_an_objective(
    promised: Objectives, dbt_tests: list[dict[str, Any]], dagster_checks: set[str]
) -> None:
    without = [
        node["name"]
        for node in dbt_tests
        if not promised.of(node["name"], (node.get("test_metadata") or {}).get("name", ""))
    ]
    without += [name for name in {*dagster_checks, *ROW_MEASURES, *RECORDED, *COMPARED} if not promised.of(name)]
    assert not without, "name each of them, or its kind, in delivery/objectives.yml, under measured_by"


def test_every_objective_is_measured(
    promised: Objectives, dbt_tests: list[dict[str, Any]], dagster_checks: set[str]
) -> None:
    checks = {node["name"] for node in dbt_tests} | {
        (node.get("test_metadata") or {}).get("name") for node in dbt_tests
    }
    checks |= {*dagster_checks, *ROW_MEASURES, *RECORDED, *COMPARED}
    named = {check for objective in promised.objectives for check in objective.measured_by}
    assert named - checks == set(), "no check has this name"


def test_a_dbt_test_stops_the_run_exactly_when_the_objective_that_it_measures_does(
    promised: Objectives, dbt_tests: list[dict[str, Any]]
) -> None:
    for node in dbt_tests:
        objective = promised.of(node["name"], (node.get("test_metadata") or {}).get("name", ""))
        stops = node["config"]["severity"].lower() == "error"
        assert objective and stops == (objective.blocks and objective.breach_below == 100), (node["name"], objective)


def test_all_eight_categories_are_promised_and_owners_exist(promised: Objectives) -> None:
    assert {objective.category for objective in promised.objectives} == {
        *("completeness", "uniqueness", "schema", "freshness", "validity", "accuracy"),
        *("reconciliation", "timeliness"),
    }
    groups = yaml.safe_load((DBT_DIR / "models" / "groups.yml").read_text(encoding="utf-8"))["groups"]
    assert {objective.owner for objective in promised.objectives} <= {group["owner"]["name"] for group in groups}


def test_each_objective_is_a_check_in_the_ui_and_blocks_as_the_file_says(promised: Objectives) -> None:
    graph = defs().resolve_asset_graph()
    checks = {
        key.name: graph.get(key).blocking for key in graph.asset_check_keys if key.asset_key in (VERDICT, SLO_STATUS)
    }
    assert {objective.name: objective.blocks for objective in promised.objectives}.items() <= checks.items()

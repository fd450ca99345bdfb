"""What holds for the dbt project as a whole."""

import re
from collections import defaultdict
from typing import Any

import pytest
from packaging.version import Version

from warehouse.dbt_project import Manifest, prepare, project_settings, read_manifest
from warehouse.paths import DBT_DIR
from warehouse.settings import Settings

# What is not published and still read by other groups, so that dbt cannot keep it private; staging models by their
# group, for each source has its own.
READ_BY_OTHER_GROUPS = {
    "staging": {"intermediate"},
    "int_raw_row_counts": {"quality"},
    "int_staged_purchases": {"quality"},
    # Also staging models of a source that is not active, which derive a shape from another raw table.
    "int_deliveries": {"quality"},
    "int_customers": {"core", "quality"},
    "int_products": {"core", "quality"},
    "int_purchase_lines": {"core", "quality"},
    "int_churn": {"core"},
    "int_countries": {"core"},
    "int_category_totals": {"core", "quality"},
    "int_undated_customers": {"core"},
    "int_staged_category_totals": {"quality"},
    "int_staged_findings": {"quality"},
    "int_quarantined_rows": {"quality"},
}


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_manifest(prepare(Settings()))


@pytest.fixture(scope="module")
def models(manifest: Manifest) -> dict[str, dict[str, Any]]:
    return {name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "model"}


def test_what_is_not_published_is_private_to_its_group_unless_others_read_it(models: dict[str, dict[str, Any]]) -> None:
    readers: dict[str, set[str]] = defaultdict(set)
    for node in models.values():
        for parent in node["depends_on"]["nodes"]:
            readers[parent].add(node["group"])
    open_to_all: dict[str, set[str]] = defaultdict(set)
    for unique_id, node in models.items():
        if node["fqn"][1] != "marts" and node["access"] != "private":
            name = node["group"] if node["group"] == "staging" else node["name"]
            open_to_all[name] |= readers[unique_id] - {node["group"]}
    assert open_to_all == READ_BY_OTHER_GROUPS


def test_every_model_except_views_has_its_key_tested(manifest: Manifest, models: dict[str, dict[str, Any]]) -> None:
    kinds = ("unique", "unique_combination_of_columns")
    tested = {
        node["attached_node"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and node["test_metadata"]["name"] in kinds
    }
    without = [
        node["name"] for name, node in models.items() if node["config"]["materialized"] != "view" and name not in tested
    ]
    # Rejected rows are there as they came, repetitions too. The keys of purchase lines would take most of the time of
    # int_score_lines; that its joins double no line is tested in the tables that they read. int_score_raw_scores holds
    # the rows of int_score_sample, whose key is tested, once for each date; nothing looks a row up in it.
    assert sorted(without) == ["int_score_lines", "int_score_raw_scores", "rejected_rows"]


def test_every_generic_test_of_the_project_and_each_of_its_arguments_is_documented(manifest: Manifest) -> None:
    macros = [
        macro
        for macro in manifest["macros"].values()
        if macro["package_name"] == "next_aisle" and macro["name"].startswith("test_")
    ]
    described = {
        macro["name"]: [argument["name"] for argument in macro["arguments"] if argument["description"]]
        for macro in macros
        if macro["description"]
    }
    files = (DBT_DIR / "tests" / "generic").glob("*.sql")
    signatures = [re.findall(r"{% test (\w+)\((.*)\) %}", file.read_text(encoding="utf-8")) for file in files]
    declared = {f"test_{name}": re.findall(r"(?:^|, )(\w+)(?==|,|$)", arguments) for [(name, arguments)] in signatures}
    assert len(declared) == 12
    assert described == declared, "describe them in dbt_project/tests/generic/_generic_tests.yml"


def test_a_deprecated_column_names_its_replacement_and_is_removed_in_time(models: dict[str, dict[str, Any]]) -> None:
    version = Version(project_settings()["version"])
    deprecated = {
        f"{node['name']}.{column['name']}": (column["description"], node)
        for node in models.values()
        for column in node["columns"].values()
        if "deprecated" in column["description"].lower()
    }
    assert deprecated.keys() == {"load_metrics.landed_file", "rejected_rows.landed_file"}
    for column, (description, node) in deprecated.items():
        named = re.fullmatch(r"Deprecated: use (\w+); it is removed in ([\d.]+)\.", description)
        assert named, column
        assert node["columns"][named[1]]["data_type"] == node["columns"][column.partition(".")[2]]["data_type"]
        assert version < Version(named[2]), f"{column} is due to be removed"

"""What holds for the dbt project as a whole."""

from collections import defaultdict
from typing import Any

import pytest

from warehouse.dbt_project import Manifest, prepare, read_manifest
from warehouse.settings import Settings

# What is not published and still read by other groups, so that dbt cannot keep it private; staging models by their
# group, for each source has its own.
READ_BY_OTHER_GROUPS = {
    "staging": {"intermediate", "quality"},
    "int_customers": {"core", "quality"},
    "int_products": {"core", "quality"},
    "int_purchase_lines": {"core", "quality"},
    "int_churn": {"core"},
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


def test_every_model_that_is_no_view_of_a_source_has_its_key_tested(
    manifest: Manifest, models: dict[str, dict[str, Any]]
) -> None:
    tested = {
        node["attached_node"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and node["test_metadata"]["name"] in ("unique", "unique_combination")
    }
    without = [node["name"] for name, node in models.items() if node["group"] != "staging" and name not in tested]
    # Rejected rows are there as they came, repetitions too. The other two hold the rows of int_score_sample, whose key
    # is tested, once for each date that learns from them; nothing looks a row up in them.
    assert sorted(without) == ["int_score_learning", "int_score_raw_scores", "rejected_rows"]

"""Metrics are defined in one place, are described, and join without counting anything twice."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT_DIR
from tests.metrics.test_same_number import QUESTIONS

# Columns of the published tables that are a metric at the table's own grain: (metric, what MetricFlow asks it by). The
# questions of test_same_number compare each with MetricFlow's answer.
AT_THEIR_GRAIN = {
    ("dim_customers", "total_spending"): ("total_spending", "customer"),
    ("dim_customers", "purchase_frequency"): ("purchase_frequency", "customer"),
    ("dim_customers", "churn_probability"): ("churn_probability", "customer"),
    ("dim_categories", "total_spending"): ("total_spending", "category"),
    ("dim_categories", "spending_share"): ("spending_share", "category"),
}
# What these are made of, before they are published.
ON_THE_WAY = {("int_churn", "churn_probability")}
# A feature of that name, or its weight, in tables that are not published.
NO_METRIC = {
    (model, "recency")
    for model in ("int_score_sample", "int_score_learning", "int_score_feature_weights", "int_score_weights")
}


def metrics_of(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {metric["name"]: metric for metric in manifest["metrics"].values()}


def test_there_are_metrics(manifest: dict[str, Any]) -> None:
    # An older dbt reads the same YAML without a word and finds none.
    assert len(metrics_of(manifest)) > 25


def test_every_metric_says_what_it_is_and_in_what_unit(manifest: dict[str, Any]) -> None:
    for name, metric in metrics_of(manifest).items():
        assert metric["description"].strip(), name
        assert metric["label"] and metric["label"] != name, name
        assert metric["config"]["meta"].get("unit"), name


def test_every_dimension_and_saved_query_says_what_it_is(manifest: dict[str, Any]) -> None:
    for model in manifest["semantic_models"].values():
        for dimension in model["dimensions"]:
            assert dimension["description"] and dimension["label"], (model["name"], dimension["name"])
    assert len(manifest["saved_queries"]) >= 6
    for query in manifest["saved_queries"].values():
        assert query["description"] and query["label"], query["name"]


def test_metrics_are_defined_only_next_to_published_models(manifest: dict[str, Any]) -> None:
    for name, metric in metrics_of(manifest).items():
        path = Path(metric["original_file_path"])
        assert path.parts[:2] == ("models", "marts") and path.suffix == ".yml", (name, path)


def data_tests_of(manifest: dict[str, Any], model: str, column: str) -> set[str]:
    return {
        node["test_metadata"]["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        and node.get("attached_node") == model
        and (node.get("test_metadata") or {}).get("kwargs", {}).get("column_name") == column
        and node["config"]["severity"].lower() == "error"
    }


def test_joins_count_nothing_twice(manifest: dict[str, Any]) -> None:
    keys = []
    for semantic_model in manifest["semantic_models"].values():
        [model] = semantic_model["depends_on"]["nodes"]
        for entity in semantic_model["entities"]:
            column = entity["expr"] or entity["name"]
            has = data_tests_of(manifest, model, column)
            needs = {"primary": {"unique", "not_null"}, "unique": {"unique", "not_null"}, "foreign": {"relationships"}}
            assert needs[entity["type"]] <= has, (model, column, entity["type"], has)
            keys.append((entity["name"], entity["type"]))
    # Each thing has one table that lists it, or a name would have two meanings.
    primary = [name for name, kind in keys if kind == "primary"]
    assert len(primary) == len(set(primary))
    assert {name for name, _ in keys} == set(primary)
    assert set(primary) >= {"customer", "product", "category", "basket", "purchase_line", "opportunity", "adoption"}


def columns_named(sql: str) -> set[str]:
    """The names that a statement gives to what it computes."""
    return {match.lower() for match in re.findall(r"\bas\s+\"?([a-z_][a-z0-9_]*)", sql, re.IGNORECASE)}


def test_no_model_defines_a_metric_of_its_own(manifest: dict[str, Any]) -> None:
    metrics = set(metrics_of(manifest))
    columns = set()
    for node in manifest["nodes"].values():
        if node["resource_type"] in ("model", "snapshot", "seed"):
            columns |= {(node["name"], column) for column in node["columns"] if column in metrics}
            if node["resource_type"] == "model":
                sql = (PROJECT_DIR / "dbt_project" / node["original_file_path"]).read_text(encoding="utf-8")
                columns |= {(node["name"], name) for name in columns_named(sql) & metrics}
    assert columns == set(AT_THEIR_GRAIN) | ON_THE_WAY | NO_METRIC


def test_no_program_defines_a_metric_of_its_own(manifest: dict[str, Any]) -> None:
    metrics = set(metrics_of(manifest))
    for room in ("orchestration", "delivery", "quality", "ingestion", "warehouse"):
        for path in (PROJECT_DIR / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not columns_named(node.value) & metrics, (path, node.value)
        for path in (PROJECT_DIR / room).rglob("*.sql"):
            assert not columns_named(path.read_text(encoding="utf-8")) & metrics, path


@pytest.mark.parametrize(("metric", "by"), AT_THEIR_GRAIN.values())
def test_a_column_that_is_a_metric_is_compared_with_it(metric: str, by: str) -> None:
    table, column = next(place for place, grain in AT_THEIR_GRAIN.items() if grain == (metric, by))
    assert any(
        question.by == by
        and metric in question.metrics.split(",")
        and f"core.{table}" in question.sql
        and column in question.sql
        for question in QUESTIONS
    )


def test_metrics_of_several_metrics_are_defined_outside_the_model(manifest: dict[str, Any]) -> None:
    # dbt 1.12.6 takes them for doubled when it parses only what changed, and stops.
    for path in (PROJECT_DIR / "dbt_project" / "models").rglob("*.yml"):
        text = path.read_text(encoding="utf-8")
        inside = re.search(r"(?m)^    metrics:\n((?:      .*\n|\n(?=      ))+)", text)
        kinds = re.findall(r"(?m)^        type: (\w+)$", inside[1]) if inside else []
        assert set(kinds) <= {"simple"}, path

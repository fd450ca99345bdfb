"""The contract says what dbt knows: every published table and column, what holds for them, and who reads them."""

import copy
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.__main__ import main
from delivery.contract import FOLDER, ContractError, Metadata, consumers, in_force, problem, read_metadata, render
from quality import objectives
from tests.conftest import PROJECT_DIR
from warehouse.dbt_project import Manifest, prepare, project_settings, published_models, read_manifest
from warehouse.settings import Settings

CUSTOMERS = "model.next_aisle.dim_customers"

Document = dict[str, Any]


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_manifest(prepare(Settings()))


@pytest.fixture(scope="module")
def metadata(manifest: Manifest) -> Metadata:
    return read_metadata(manifest, objectives.read())


@pytest.fixture(scope="module")
def documents(metadata: Metadata) -> dict[str, Document]:
    return {name: yaml.safe_load(text) for name, text in render(metadata).items()}


def table(documents: dict[str, Document], schema: str, name: str) -> Document:
    return next(entry for entry in documents[f"{schema}.odcs.yaml"]["schema"] if entry["name"] == name)


def column(documents: dict[str, Document], schema: str, name: str, of: str) -> Document:
    return next(entry for entry in table(documents, schema, name)["properties"] if entry["name"] == of)


def test_every_published_table_and_column_is_in_it_with_type_and_description(
    manifest: Manifest, documents: dict[str, Document]
) -> None:
    promised = {
        (contract["servers"][0]["schema"], table["name"]): [column["name"] for column in table["properties"]]
        for name, contract in documents.items()
        if name.endswith(".odcs.yaml")
        for table in contract["schema"]
    }
    assert promised == {(node["schema"], node["alias"]): list(node["columns"]) for node in published_models(manifest)}
    assert len(promised) >= 11
    for contract in documents.values():
        for table in contract.get("schema", []):
            assert table["description"]
            assert table["dataGranularityDescription"].startswith("One row per ")
            for column in table["properties"]:
                assert column["logicalType"], column
                assert column["physicalType"], column
                assert column["description"], column


def test_a_contract_names_its_schema_its_database_and_its_team(documents: dict[str, Document]) -> None:
    contract = documents["core.odcs.yaml"]
    assert (contract["apiVersion"], contract["kind"], contract["id"]) == ("v3.2.0", "DataContract", "next_aisle.core")
    assert contract["servers"][0]["type"] == "duckdb"
    assert (contract["servers"][0]["database"], contract["servers"][0]["schema"]) == ("next_aisle.duckdb", "core")
    assert contract["team"]["name"] == "analytics-engineering"
    assert contract["support"][0]["url"] == "mailto:analytics-engineering@example.com"
    assert {"purpose", "usage", "limitations"} == set(contract["description"])
    assert documents["quality.odcs.yaml"]["team"]["name"] == "data-platform"


def test_a_hand_checked_excerpt(documents: dict[str, Document]) -> None:
    assert column(documents, "core", "dim_customers", "customer_key") == {
        "name": "customer_key",
        "logicalType": "string",
        "physicalType": "string",
        "description": "The customer, as source_name:customer_id; a person of customer_identities as person:<person>. "
        "Unique across all shops.",
        "primaryKey": True,
        "primaryKeyPosition": 1,
        "required": True,
        "unique": True,
        "classification": "identifier",
        "tags": ["identifier"],
    }
    income = column(documents, "core", "dim_customers", "income")
    assert (income["logicalType"], income["physicalType"]) == ("number", "decimal(18,2)")
    assert income["classification"] == "personal"
    assert "required" not in income
    assert column(documents, "core", "dim_customers", "recency_score")["logicalTypeOptions"] == {
        "minimum": 1,
        "maximum": 5,
    }
    assert {"value": "champion"} in column(documents, "core", "dim_customers", "rfm_segment")["enum"]
    assert column(documents, "core", "fct_purchases", "product_key")["relationships"] == [
        {"to": "dim_products.product_key", "type": "foreignKey"}
    ]
    rules = {rule["name"]: rule for rule in table(documents, "core", "dim_customers")["quality"]}
    assert rules["recency_and_purchases_go_together"] == {
        "name": "recency_and_purchases_go_together",
        "dimension": "accuracy",
        "type": "sql",
        "description": "A customer has a recency exactly when they have bought.",
        "query": "select count(*) from core.dim_customers where (spending_basis = 'purchase lines') "
        "and not coalesce((basket_count = 0) = (recency_days is null), false)",
        "mustBe": 0,
        "severity": "error",
    }
    not_empty = column(documents, "core", "fct_category_spending", "category_spending_key")["quality"]
    assert [rule["name"] for rule in not_empty] == ["fct_category_spending_is_not_empty"]
    assert not_empty[0]["description"] == "There is at least one customer who bought something."


def test_a_table_whose_key_has_several_columns_says_so(documents: dict[str, Document]) -> None:
    key = {
        column["name"]: column["primaryKeyPosition"]
        for column in table(documents, "cross_sell", "score_backtest")["properties"]
        if column.get("primaryKey")
    }
    assert key == {"source_name": 1, "as_of_date": 2, "method": 3}
    others = table(documents, "cross_sell", "customer_opportunities")["quality"]
    assert [rule["arguments"] for rule in others if rule.get("metric") == "duplicateValues"] == [
        {"properties": ["customer_key", "category_key"]},
        {"properties": ["customer_key", "source_name", "rank"]},
    ]


def test_a_reference_to_another_contract_is_a_query(documents: dict[str, Document]) -> None:
    customer = column(documents, "cross_sell", "customer_opportunities", "customer_key")
    assert "relationships" not in customer
    assert customer["quality"][0]["query"] == (
        "select count(*) from cross_sell.customer_opportunities "
        "where customer_key not in (select customer_key from core.dim_customers)"
    )


def test_a_test_that_only_warns_and_for_some_rows_is_a_warning_for_those_rows(documents: dict[str, Document]) -> None:
    quantity = column(documents, "core", "fct_purchases", "quantity")
    assert "logicalTypeOptions" not in quantity
    assert quantity["quality"][0]["severity"] == "warning"
    assert quantity["quality"][0]["query"] == (
        "select count(*) from core.fct_purchases where (is_merchandise) and (quantity < 0 or quantity > 10000)"
    )


def test_every_test_of_a_published_table_is_in_the_contract(manifest: Manifest, documents: dict[str, Document]) -> None:
    # What its column cannot say as a property is a rule under the test's name.
    in_the_schema = {"not_null", "unique", "accepted_values", "accepted_range", "relationships"}
    in_the_schema |= {"unique_combination_of_columns"}
    published = {node["unique_id"] for node in published_models(manifest)}
    tests = {
        node["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        and node.get("attached_node") in published
        and node["test_metadata"]["name"] not in in_the_schema
    }
    rules = {
        rule["name"]
        for contract in documents.values()
        for table in contract.get("schema", [])
        for part in (table, *table["properties"])
        for rule in part.get("quality", [])
    }
    assert len(tests) > 10
    assert tests <= rules


def test_the_objectives_are_its_service_levels(metadata: Metadata, documents: dict[str, Document]) -> None:
    levels = {level["property"]: level for level in documents["core.odcs.yaml"]["slaProperties"]}
    assert {objective.name for objective in metadata.objectives.objectives} < set(levels)
    assert levels["rows_arrive_once"]["value"] == 99.5
    fresh = levels["freshness"]
    assert (fresh["value"], fresh["unit"], fresh["element"]) == (48, "h", "fct_purchases.purchased_at")


def test_the_promised_freshness_is_the_age_of_purchases_that_stops_publication(metadata: Metadata) -> None:
    manifest = copy.deepcopy(metadata.manifest)
    limits = {
        table: manifest["sources"][f"source.next_aisle.complete_journey.{table}"]["freshness"]
        for table in ("purchases", "deliveries")
    }
    # All limits differ, so that none can be mistaken for another.
    limits["purchases"]["warn_after"] = {"count": 1, "period": "day"}
    limits["purchases"]["error_after"] = {"count": 3, "period": "day"}
    limits["deliveries"]["warn_after"] = {"count": 5, "period": "hour"}
    limits["deliveries"]["error_after"] = {"count": 100, "period": "hour"}
    contract = yaml.safe_load(render(replace(metadata, manifest=manifest))["core.odcs.yaml"])
    fresh = [level for level in contract["slaProperties"] if level["property"] == "freshness"]
    assert {(level["value"], level["unit"]) for level in fresh} == {(72, "h")}


def test_of_several_shops_each_has_its_own_promise_and_one_that_is_history_has_none(metadata: Metadata) -> None:
    manifest = copy.deepcopy(metadata.manifest)
    first = manifest["sources"]["source.next_aisle.complete_journey.purchases"]
    for name, freshness in (
        ("weekly_shop", {**first["freshness"], "error_after": {"count": 8, "period": "day"}}),
        ("history", None),
    ):
        other = {**first, "source_name": name, "freshness": freshness}
        manifest["sources"][f"source.next_aisle.{name}.purchases"] = other
    shops = replace(metadata, manifest=manifest, sources=["complete_journey", "weekly_shop", "history"])
    contract = yaml.safe_load(render(shops)["core.odcs.yaml"])
    levels = contract["slaProperties"]
    assert {(level["value"], level["description"]) for level in levels if level["property"] == "freshness"} == {
        (48, "The newest purchase of complete_journey is at most so old, or the shop is held."),
        (8 * 24, "The newest purchase of weekly_shop is at most so old, or the shop is held."),
    }
    (complete,) = [level for level in levels if level["property"] == "rows_arrive_complete"]
    assert complete["description"].endswith(
        "a breach stops publication, or the shop whose deliveries break it is held."
    )


def test_the_readers_of_a_table_are_in_the_contract_also_those_who_read_it_through_a_metric(
    manifest: Manifest, documents: dict[str, Document]
) -> None:
    readers = table(documents, "cross_sell", "score_calibration")["customProperties"][0]["value"]
    assert readers == [
        {
            "name": "quality_review",
            "label": "Quality review",
            "maturity": "low",
            "owner": "operations",
            "email": "operations@example.com",
        }
    ]
    changed = copy.deepcopy(manifest)
    changed["exposures"]["exposure.next_aisle.quality_review"]["depends_on"]["nodes"] = ["metric.next_aisle.spending"]
    changed["parent_map"]["metric.next_aisle.spending"] = ["semantic_model.next_aisle.customers"]
    changed["parent_map"]["semantic_model.next_aisle.customers"] = [CUSTOMERS]
    assert "quality_review" in [reader["name"] for reader in consumers(changed, CUSTOMERS)]


# Of the Open Data Product Standard v1.0.0: the keys of each part, those that must be there first.
PRODUCT_KEYS = (
    {"apiVersion", "kind", "id", "status"},
    {"name", "version", "domain", "tenant", "description", "tags", "inputPorts", "outputPorts", "managementPorts"}
    | {"support", "team", "authoritativeDefinitions", "customProperties", "productCreatedTs"},
)
PART_KEYS = {
    "inputPorts": ({"name", "version", "contractId"}, set()),
    "outputPorts": ({"name", "version"}, {"description", "type", "contractId", "sbom", "inputContracts"}),
    "managementPorts": ({"name", "content"}, {"type", "url", "channel", "description", "tags"}),
    "support": ({"channel", "url"}, {"description", "tool", "scope", "invitationUrl"}),
    "team": (set(), {"username", "name", "description", "role", "dateIn", "dateOut"}),
}


def test_the_product_is_described_in_the_words_of_its_standard(
    manifest: Manifest, documents: dict[str, Document]
) -> None:
    product = documents["next_aisle.odps.yaml"]
    assert (product["apiVersion"], product["kind"]) == ("v1.0.0", "DataProduct")
    required, allowed = PRODUCT_KEYS
    assert required <= set(product) <= required | allowed
    for part, (required, allowed) in PART_KEYS.items():
        assert product[part]
        for entry in product[part]:
            assert required <= set(entry) <= required | allowed, (part, entry)
    assert [port["name"] for port in product["inputPorts"]] == project_settings()["vars"]["sources"]
    ports = {port["name"]: port for port in product["outputPorts"] if port["type"] == "duckdb"}
    assert set(ports) == {f"{node['schema']}.{node['alias']}" for node in published_models(manifest)}
    contracts = {
        contract["id"]: contract["version"] for name, contract in documents.items() if name.endswith(".odcs.yaml")
    }
    assert {port["contractId"]: port["version"] for port in ports.values()} == contracts


def test_the_committed_contract_is_what_the_metadata_says() -> None:
    assert main(["contract", "--check"]) == 0


def test_a_stale_contract_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in FOLDER.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    stale = tmp_path / "core.odcs.yaml"
    stale.write_text(
        stale.read_text(encoding="utf-8").replace("Day of the customer's first purchase.", "A day."), encoding="utf-8"
    )
    before = stale.read_text(encoding="utf-8")
    monkeypatch.setattr("delivery.__main__.FOLDER", tmp_path)
    assert main(["contract", "--check"]) == 1
    errors = capsys.readouterr().err
    assert "core.odcs.yaml" in errors
    assert "make contract" in errors
    assert stale.read_text(encoding="utf-8") == before


def test_a_column_without_a_description_has_no_contract_and_is_named(metadata: Metadata) -> None:
    manifest = copy.deepcopy(metadata.manifest)
    manifest["nodes"][CUSTOMERS]["columns"]["income"]["description"] = ""
    with pytest.raises(ContractError, match=r"core\.dim_customers\.income needs a data_type and a description"):
        render(read_metadata(manifest, objectives.read()))


def test_the_committed_contract_is_published_and_one_with_other_objectives_is_made(manifest: Manifest) -> None:
    committed = in_force(manifest)
    assert sorted(committed) == [
        "core.odcs.yaml",
        "cross_sell.odcs.yaml",
        "next_aisle.odps.yaml",
        "quality.odcs.yaml",
    ]
    assert committed["core.odcs.yaml"] == (FOLDER / "core.odcs.yaml").read_text(encoding="utf-8")
    promised = objectives.read()
    lower = promised.model_copy(
        update={"objectives": [objective.model_copy(update={"target": 12.5}) for objective in promised.objectives]}
    )
    own = yaml.safe_load(in_force(manifest, lower)["core.odcs.yaml"])
    assert [level["value"] for level in own["slaProperties"] if level["unit"] == "percent"] == [12.5] * len(
        lower.objectives
    )


def test_a_contract_that_does_not_describe_a_published_table_is_noticed(manifest: Manifest) -> None:
    committed = in_force(manifest)
    published = {f"{node['schema']}.{node['alias']}": list(node["columns"]) for node in published_models(manifest)}
    assert problem(committed, published) is None
    published["core.dim_dates"].append("is_holiday")
    assert problem(committed, published) == (
        "the contract does not describe core.dim_dates as it was published: make contract"
    )


def test_the_product_has_one_version() -> None:
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == project_settings()["version"]

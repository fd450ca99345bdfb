"""The rows that fail a data test can be looked at in the warehouse, and are never published."""

import datetime as dt

import duckdb
import pytest

from tests.dbt.shops import Purchase, Warehouse
from warehouse.dbt_project import published_models, read_manifest

DAY = dt.date(2026, 6, 30)
TEST = "not_null_dim_customers_customer_key"
LINES = [Purchase("shop", customer, "milk", DAY) for customer in ("anna", "bert", "carl")]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp("failed_rows")
    return Warehouse(folder / "shop", folder / "target").write(LINES)


def test_a_failing_test_names_a_relation_with_the_rows_that_failed(warehouse: Warehouse) -> None:
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("update core.dim_customers set customer_key = null where customer_id = 'bert'")

    assert warehouse.dbt(select=TEST).returncode == 1

    manifest = read_manifest(next(warehouse.target.rglob("manifest.json")))
    tests = [node for node in manifest["nodes"].values() if node["resource_type"] == "test"]
    named = next(node["relation_name"] for node in tests if node["name"] == TEST)
    assert named == f'"warehouse"."failed_rows"."{TEST}"'
    assert warehouse.rows(f"select customer_id from {named}") == [("bert",)]
    # All tests' rows are in that one schema, of which nothing is published.
    assert {node["schema"] for node in tests} == {"failed_rows"}
    assert "failed_rows" not in {node["schema"] for node in published_models(manifest)}


def test_a_corrected_table_passes_and_has_no_failed_rows(warehouse: Warehouse) -> None:
    warehouse.write(LINES).build(select=TEST)

    assert warehouse.rows("select view_name from duckdb_views() where schema_name = 'failed_rows'") == []

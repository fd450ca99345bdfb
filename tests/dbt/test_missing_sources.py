"""dbt runs alone: tables that other programs write for it are there, empty, before those programs ever ran."""

import subprocess

import duckdb
import pytest

from tests.dbt.shops import Warehouse
from warehouse.dbt_project import read_manifest

# As DuckDB calls the types that the yml declares.
STORED_AS = {"string": "VARCHAR"}


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A warehouse that nothing was recorded in, with one delivery that readers have."""
    folder = tmp_path_factory.mktemp("missing_sources")
    warehouse = Warehouse(folder / "shop", folder / "target")
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("create schema raw_published")
        connection.execute(
            "create table raw_published.deliveries as select 'shop' as source_name, 'purchases' as table_name, "
            "'monday' as delivery, timestamp '2026-11-20 02:00:00' as delivered_at"
        )
    return warehouse


@pytest.fixture(scope="module")
def built(warehouse: Warehouse) -> "subprocess.CompletedProcess[str]":
    return warehouse.dbt(select="tag:after_recording")


def test_the_tables_of_the_runs_are_built_before_any_run_was_recorded(
    warehouse: Warehouse, built: "subprocess.CompletedProcess[str]"
) -> None:
    assert built.returncode == 0, built.stdout
    assert warehouse.rows("select count(*) from quality.slo_status") == [(0,)]


def test_a_missing_table_gets_the_columns_and_types_that_its_source_declares(
    warehouse: Warehouse, built: "subprocess.CompletedProcess[str]"
) -> None:
    manifest = read_manifest(next(warehouse.target.rglob("manifest.json")))
    declared = {
        node["name"]: [
            (column["name"], STORED_AS.get(column["data_type"], column["data_type"].upper()))
            for column in node["columns"].values()
        ]
        for node in manifest["sources"].values()
        if node["source_name"] == "history"
    }
    stored: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in warehouse.rows(
        """select table_name, column_name, data_type from duckdb_columns()
           where schema_name = 'raw_history' order by table_name, column_index"""
    ):
        stored.setdefault(table, []).append((column, kind))
    assert stored == declared
    assert {"runs", "checks", "steps", "deliveries", "objectives", "measures"} <= set(stored)
    assert ("breach_below", "DOUBLE") in stored["objectives"]


def test_a_table_of_an_older_version_gets_the_columns_that_it_lacks(
    warehouse: Warehouse, built: "subprocess.CompletedProcess[str]"
) -> None:
    with duckdb.connect(str(warehouse.path)) as connection:
        connection.execute("insert into raw_history.runs (run_id, run_number) values ('r1', 1)")
        connection.execute("insert into raw_history.steps (run_id, step, seconds) values ('r1', 'load_shop', 2.5)")
        for column in ("cpu_seconds", "loaded_bytes"):
            connection.execute(f"alter table raw_history.steps drop {column}")
    again = warehouse.dbt(select="run_costs")
    assert again.returncode == 0, again.stdout
    assert warehouse.rows("select source_name, seconds, cpu_seconds, loaded_bytes from quality.run_costs") == [
        ("shop", 2.5, None, None)
    ]
    types = (
        "select column_name, data_type from duckdb_columns() where table_name = 'steps' and schema_name = 'raw_history'"
    )
    assert {("cpu_seconds", "DOUBLE"), ("loaded_bytes", "BIGINT")} <= set(warehouse.rows(types))


def test_a_table_that_is_there_stays_as_it_is(warehouse: Warehouse, built: "subprocess.CompletedProcess[str]") -> None:
    assert warehouse.rows("select source_name, delivery from raw_published.deliveries") == [("shop", "monday")]

"""The first rows of a table, as Dagster shows them."""

import json

import dagster as dg
import duckdb
import pytest

from orchestration.definitions import defs
from orchestration.previews import personal_columns, preview
from warehouse.dbt_project import prepare, read_manifest
from warehouse.settings import Settings


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create schema core")
    return connection


def test_a_preview_has_ten_rows_cuts_long_texts_and_shows_markup_as_text(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    hostile = "<script>alert(1)</script> | **bold** | [x](javascript:y)"
    connection.execute(
        "create table core.wide as select n, date '2026-06-30' as day, 1.50::decimal(18, 2) as amount, "
        f"'nan'::double as share, null as nothing, '{hostile}' as hostile, repeat('x', 100) as long "
        "from range(12) as numbers(n)"
    )
    shown = preview(connection, "core", "wide", set())
    assert [column.name for column in shown.schema.columns] == [
        "n",
        "day",
        "amount",
        "share",
        "nothing",
        "hostile",
        "long",
    ]
    assert len(shown.records) == 10
    assert shown.records[0].data == {
        "n": 0,
        "day": "2026-06-30",
        "amount": "1.50",
        "share": "nan",
        "nothing": None,
        "hostile": hostile,
        "long": "x" * 59 + "…",
    }
    # Dagster keeps it as JSON.
    assert json.loads(json.dumps(shown.records[0].data)) == shown.records[0].data


def test_a_preview_hides_personal_data_and_shows_the_columns_of_an_empty_table(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.execute(
        "create table core.people as select 'k1' as customer_key, 1970 as birth_year union all select 'k2', null"
    )
    personal = personal_columns(read_manifest(prepare(Settings())))
    shown = preview(connection, "core", "people", personal)
    assert sorted(record.data["birth_year"] or "" for record in shown.records) == ["", "(personal)"]
    assert sorted(str(record.data["customer_key"]) for record in shown.records) == ["k1", "k2"]
    connection.execute("delete from core.people")
    assert preview(connection, "core", "people", personal).records == []


def test_raw_columns_have_the_descriptions_of_their_source() -> None:
    schema = defs().resolve_asset_graph().get(dg.AssetKey(["complete_journey", "purchases"])).metadata
    columns = {column.name: column for column in schema["dagster/column_schema"].columns}
    assert "household" in str(columns["household_id"].description).lower()
    assert [name for name, column in columns.items() if not column.description] == []

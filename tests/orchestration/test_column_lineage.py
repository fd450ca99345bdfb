"""Which columns a column comes from: by the SQL that dbt compiled, and only where that changed."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration import column_lineage
from orchestration.column_lineage import column_metadata, origins

LINES = {("staging", "lines"): {"customer": "VARCHAR", "amount": "DECIMAL(18,2)", "voided": "BOOLEAN"}}
SQL = """
with kept as (select * from "warehouse"."staging"."lines" where not voided)
select customer as customer_key, sum(amount) as spending, count(*) as line_count, 'shop' as source_name
from kept group by customer
"""
NAMES = ["customer_key", "spending", "line_count", "source_name"]


def test_a_column_comes_from_the_columns_it_is_made_of_and_a_count_or_a_literal_from_none() -> None:
    assert origins(SQL, LINES, NAMES) == {
        "customer_key": [["staging", "lines", "customer"]],
        "spending": [["staging", "lines", "amount"]],
        "line_count": [],
        "source_name": [],
    }


def test_the_columns_of_each_part_of_a_union_count() -> None:
    two = {("a", "t"): {"x": "INT"}, ("b", "t"): {"y": "INT"}}
    assert origins("select x as n from a.t union all select y from b.t", two, ["n"]) == {
        "n": [["a", "t", "x"], ["b", "t", "y"]]
    }


@pytest.fixture
def manifest(tmp_path: Path) -> dict[str, Any]:
    """A source and a model, compiled."""
    compiled = tmp_path / "compiled" / "shop" / "models" / "totals.sql"
    compiled.parent.mkdir(parents=True)
    compiled.write_text(SQL)
    return {
        "nodes": {
            "model.totals": {
                "resource_type": "model",
                "schema": "core",
                "alias": "totals",
                "package_name": "shop",
                "original_file_path": "models/totals.sql",
                "columns": {"spending": {"description": "All amounts.", "tags": ["personal"]}},
                "depends_on": {"nodes": ["source.lines"]},
            }
        },
        "sources": {
            "source.lines": {"schema": "staging", "identifier": "lines", "source_name": "shop", "name": "lines"}
        },
    }


COLUMNS = {**LINES, ("core", "totals"): dict.fromkeys(NAMES, "VARCHAR")}


def test_a_model_shows_its_columns_and_their_origins_in_the_source(manifest: dict[str, Any], tmp_path: Path) -> None:
    ((table, metadata),) = column_metadata(manifest, tmp_path, COLUMNS, print)
    assert table == ("core", "totals")
    assert metadata["dagster/column_schema"].columns[1] == dg.TableColumn(
        "spending",
        "VARCHAR",
        description="All amounts.",
        constraints=dg.TableColumnConstraints(other=["from amount of shop.lines"]),
        tags={"personal": ""},
    )
    assert metadata["dagster/column_lineage"].deps_by_column == {
        "customer_key": [dg.TableColumnDep(dg.AssetKey(["shop", "lines"]), "customer")],
        "spending": [dg.TableColumnDep(dg.AssetKey(["shop", "lines"]), "amount")],
    }


def test_sql_is_read_again_only_when_it_or_a_table_before_it_changed(
    manifest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(*arguments: Any) -> Any:
        read.append(arguments)
        return origins(*arguments)

    monkeypatch.setattr(column_lineage, "origins", counted)
    first = dict(column_metadata(manifest, tmp_path, COLUMNS, print))
    assert dict(column_metadata(manifest, tmp_path, COLUMNS, print)) == first
    assert len(read) == 1
    wider = {**COLUMNS, ("staging", "lines"): {**LINES["staging", "lines"], "store": "VARCHAR"}}
    dict(column_metadata(manifest, tmp_path, wider, print))
    assert len(read) == 2
    (tmp_path / "compiled" / "shop" / "models" / "totals.sql").write_text(SQL.replace("sum", "max"))
    dict(column_metadata(manifest, tmp_path, wider, print))
    assert len(read) == 3


def test_sql_that_cannot_be_parsed_is_reported_and_stops_nothing(manifest: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "compiled" / "shop" / "models" / "totals.sql").write_text("selekt ((")
    (tmp_path / "column_lineage.json").write_text("half a fi")
    messages: list[str] = []
    ((_, metadata),) = column_metadata(manifest, tmp_path, COLUMNS, messages.append)
    assert metadata["dagster/column_lineage"].deps_by_column == {}
    assert len(messages) == 1
    assert "core.totals" in messages[0]
    assert json.loads((tmp_path / "column_lineage.json").read_text()) == {}

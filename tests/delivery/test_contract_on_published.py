"""A published file keeps its contract; datacontract-cli alone finds one that does not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.conftest import Night

pytest.importorskip("datacontract", reason="needs the group contract")


@pytest.fixture(scope="module")
def published(first_night: Night) -> Path:
    """The folder in which a run of the tiny shop published."""
    return first_night.data / "published"


def examine(folder: Path, schema: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """`datacontract test`, as someone who was given the folder would run it."""
    program = str(Path(sys.executable).parent / "datacontract")
    return subprocess.run(
        [program, "test", f"{schema}.odcs.yaml", *options], cwd=folder, capture_output=True, text=True, check=False
    )


# CI has all contracts tested on the sample.
@pytest.mark.parametrize("schema", ["core", "quality"])
def test_a_published_file_keeps_its_contracts(published: Path, schema: str) -> None:
    done = examine(published, schema)
    assert done.returncode == 0, done.stdout
    assert "Data contract is valid" in done.stdout


BREACHES = {
    "alter table core.dim_customers drop column income_band": "Check that field 'income_band' is present",
    "alter table core.fct_purchases alter quantity type varchar": "Check that field quantity has type number",
    "update core.dim_customers set total_spending = null": "Check that field total_spending has no missing values",
    "insert into core.dim_products from core.dim_products": "Check that unique field product_key has no duplicate "
    "values",
    "update core.dim_customers set recency_score = 6": "Check that field recency_score has a maximum of 5",
    "update core.fct_purchases set basket_key = 'none'": "Check that field basket_key has no values missing from "
    "fct_baskets.basket_key",
    "update core.fct_purchases set amount = -1": "Every purchase line has an amount above zero; in another currency it "
    "may be less than a cent.",
    "update core.fct_purchases set purchased_at = '2001-01-01'": "Freshness of fct_purchases.purchased_at < 48h",
    "drop table core.dim_categories": "Check that field 'category_key' is present",
}


def test_each_breach_of_the_contract_is_found(published: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(published, tmp_path / "copy")
    (copied / "next_aisle.duckdb").chmod(0o644)
    with duckdb.connect(str(copied / "next_aisle.duckdb")) as connection:
        for change in BREACHES:
            connection.execute(change)
    done = examine(copied, "core", "--output", "report.json", "--output-format", "json")
    assert done.returncode == 1
    checks = json.loads((copied / "report.json").read_text(encoding="utf-8"))["checks"]
    failed = {check["name"] for check in checks if check["result"] == "failed"}
    assert set(BREACHES.values()) <= failed


def test_one_null_in_a_required_column_is_enough(published: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(published, tmp_path / "copy")
    (copied / "next_aisle.duckdb").chmod(0o644)
    with duckdb.connect(str(copied / "next_aisle.duckdb")) as connection:
        connection.execute("update quality.rejected_rows set rejection_reason = null where record_id like '%106%'")
    assert examine(copied, "quality").returncode == 1

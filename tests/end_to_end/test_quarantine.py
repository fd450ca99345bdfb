"""A shop whose product file has a bad row: two nights, a replay between them, and what readers see of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Place, Project, Stage
from tests.fixtures import tiny_shop

BAD, CORRECTED = "fifteen,1,GROCERY,National,TEA,GREEN TEA,", "15,1,GROCERY,National,TEA,GREEN TEA,"
QUARANTINE = """
      - name: quarantine
        description: One row per row of a file that could not be read as declared.
        columns:
          - {name: table_name, description: The raw table that the file feeds.}
          - {name: line, description: The line of the file that the row begins on.}
          - {name: reason, description: What is wrong with it.}
          - {name: raw_text, description: Its text.}
          - {name: _delivery, description: The delivery the row came in.}
          - {name: _dlt_load_id, description: The load that set it aside.}
"""


def ask(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def declare_quarantine(code: Path) -> None:
    """Declare a quarantine for the products of the shop in a copy of the project: in the source, and in its yml."""
    module = code / "ingestion" / "sources" / "complete_journey.py"
    text = module.read_text(encoding="utf-8").replace("import LandedTable", "import LandedTable, Quarantine")
    text = text.replace('key="product_id",', 'key="product_id", quarantine=Quarantine(max_share=0.5),')
    module.write_text(text, encoding="utf-8")
    staging = code / "dbt_project" / "models" / "staging" / "complete_journey"
    with (staging / "_complete_journey__sources.yml").open("a", encoding="utf-8") as yml:
        yml.write(QUARANTINE.removeprefix("\n"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("quarantine")
    stage = Stage(folder, Place())
    declare_quarantine(stage.code)
    with stage.shop(moved_to=folder / "data") as shop:
        tiny_shop.land(shop.landing, tiny_shop.TODAY)
        with (shop.landing / "products.csv").open("a", encoding="utf-8") as file:
            file.write(BAD + "\n")
        yield shop


def products(data: Path) -> tuple[Any, ...]:
    """Rows of products: raw, kept, rejected, invalid and set aside."""
    return ask(
        data,
        "select raw_rows, kept_rows, rejected_rows, invalid_rows, set_aside_rows from quality.row_reconciliation "
        "where table_name = 'products'",
    )[0]


def quarantine_check(data: Path) -> tuple[Any, ...]:
    return ask(
        data,
        "select status, description from quality.check_results where check_name = 'products_quarantine_is_empty' "
        "order by run_number desc limit 1",
    )[0]


@pytest.mark.slow
def test_a_row_in_quarantine_is_a_rejected_row_until_it_is_replayed(shop: Project, tmp_path: Path) -> None:
    run = shop.nightly()
    assert run.returncode == 0, run.stdout + run.stderr
    rejected = "select rejection_reason, rejection_kind, record_id, delivery from quality.rejected_rows"
    assert ask(shop.data, f"{rejected} where table_name = 'products'") == [
        ("quarantined", "invalid", "line 7", "products.csv")
    ]
    # The six rows of the file: five were loaded.
    assert products(shop.data) == (6, 5, 1, 1, 0)
    assert quarantine_check(shop.data) == (
        "warn",
        "1 row in quarantine: products.csv. Correct and replay them: python -m ingestion replay --help",
    )
    with duckdb.connect(str(shop.data / "warehouse.duckdb"), read_only=True) as connection:
        new = "select rows_read, invalid_rows from intermediate.int_new_deliveries where table_name = 'products'"
        assert connection.execute(new).fetchall() == [(6, 1)]

    corrected = tmp_path / "corrected.csv"
    header = (shop.landing / "products.csv").read_text(encoding="utf-8").partition("\n")[0]
    corrected.write_text(f"{header}\n{CORRECTED}\n", encoding="utf-8")
    replay = shop.python("ingestion", "replay", "complete_journey", "--table", "products", "--file", str(corrected))
    assert replay.stdout == "products: 1 corrected rows of products.csv loaded\n", replay.stderr
    run = shop.nightly()
    assert run.returncode == 0, run.stdout + run.stderr
    assert ask(shop.data, f"{rejected} where table_name = 'products'") == [
        ("replayed", "set aside", "line 7", "products.csv")
    ]
    # The replayed row as well: six of seven are kept.
    assert products(shop.data) == (7, 6, 1, 0, 1)
    assert ask(shop.data, "select count(*) from core.dim_products where product_id = '15'") == [(1,)]
    assert quarantine_check(shop.data) == ("pass", "No row of products is in quarantine.")
    unit_tests = shop.dbt(
        "test", "--select", "test_type:unit,int_quarantined_rows rejected_rows int_new_deliveries load_metrics"
    )
    assert unit_tests.returncode == 0, unit_tests.stdout

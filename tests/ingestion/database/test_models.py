"""A village shop, from its PostgreSQL database to the marts; rows change and are deleted between two pulls."""

import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from benchmarks.database_servers import Server
from tests.conftest import Project, add_to_seed, copy_code

VILLAGE_SHOP = Path(__file__).resolve().parents[2] / "fixtures" / "village_shop"

# What the marts read, and what proves that nothing is lost on the way.
MODELS = "+dim_customers +dim_products +fct_purchases +rejected_rows +row_reconciliation"

pytestmark = pytest.mark.slow


def shop_code(folder: Path) -> Path:
    """A copy of the project that has the village shop and nothing else, as its user would have made it."""
    code = copy_code(folder)
    shutil.copy2(VILLAGE_SHOP / "sources" / "village_shop.py", code / "ingestion" / "sources")
    shutil.copytree(VILLAGE_SHOP / "staging", code / "dbt_project" / "models" / "staging" / "village_shop")
    settings = code / "dbt_project" / "dbt_project.yml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub(r"(?m)^  sources: \[.*\]$", "  sources: [village_shop]", text), encoding="utf-8")
    add_to_seed(code, "source_currencies", "village_shop,EUR")
    return code


@pytest.fixture(scope="module")
def warehouse(postgresql_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse after two pulls and a build."""
    folder = tmp_path_factory.mktemp("village_shop")
    postgresql_server.execute((VILLAGE_SHOP / "shop.sql").read_text(encoding="utf-8"))
    postgresql_server.execute(
        "insert into customers values "
        "(1, 'a@example.com', '1980-02-29', 'DE', '2026-11-01 12:00+00', null), "
        "(2, 'b@example.com', null, 'DE', '2026-11-01 12:00+00', null)",
        "insert into products values (10, 'Milk', 'Dairy', null, 1.10), (11, 'Bread', 'Bakery', 'Mill', 2.20), "
        "(12, 'Soap', 'Household', null, 3.30)",
        "insert into orders values "
        "(1, 1, 'paid', '2026-11-10 12:00+00', '2026-11-10 12:00+00'), "
        "(2, 2, 'paid', '2026-11-11 12:00+00', '2026-11-11 12:00+00'), "
        "(3, 1, 'open', '2026-11-12 23:30+00', '2026-11-12 23:30+00'), "
        "(4, null, 'paid', '2026-11-13 12:00+00', '2026-11-13 12:00+00')",
        "insert into order_lines values (1, 1, 10, 2, 1.10, 0.20), (1, 2, 11, 1, 2.20, 0), (2, 1, 11, 3, 2.20, 0), "
        "(3, 1, 10, 1, 1.10, 0), (4, 1, 10, 1, 1.10, 0)",
    )
    project = Project(folder / "data", shop_code(folder / "code"))
    url = postgresql_server.url.set(drivername="postgresql").render_as_string(hide_password=False)
    project.env["SOURCES__VILLAGE_SHOP__CREDENTIALS"] = url
    done(project.python("ingestion", "village_shop"))
    postgresql_server.execute(
        # A line that goes moves no cursor; an order that changes brings all its lines.
        "delete from order_lines where order_id = 1 and line = 2",
        "update order_lines set quantity = 2 where order_id = 2",
        "update orders set updated_at = '2026-11-14 12:00+00' where id = 2",
        "insert into orders values (5, 1, 'cancelled', '2026-11-14 12:00+00', '2026-11-14 12:00+00')",
        "insert into order_lines values (5, 1, 11, 1, 2.20, 0)",
        "delete from products where id = 12",
        "update products set title = 'Whole milk' where id = 10",
        "update customers set country = 'AT', updated_at = '2026-11-14 12:00+00' where id = 1",
        "insert into customers values (3, 'c@example.com', null, 'DE', '2026-11-14 12:00+00', '2026-11-14 12:00+00')",
    )
    done(project.python("ingestion", "village_shop"))
    # Tests that also read other models are left out.
    select = ["--indirect-selection", "cautious", "--select", *MODELS.split()]
    done(project.dbt("build", "--exclude-resource-type", "unit_test", *select))
    return folder / "data" / "warehouse.duckdb"


def done(process: Any) -> None:
    assert process.returncode == 0, process.stdout + process.stderr


def rows(warehouse: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        return [tuple(map(str, row)) for row in connection.sql(sql).fetchall()]


def test_the_lines_that_the_database_has_are_bought(warehouse: Path) -> None:
    assert rows(
        warehouse,
        "select basket_key, customer_key, product_key, quantity, amount, discount_amount, purchased_at "
        "from core.fct_purchases order by all",
    ) == [
        ("village_shop:1", "village_shop:1", "village_shop:10", "2.000", "2.00", "0.20", "2026-11-10 13:00:00"),
        ("village_shop:2", "village_shop:2", "village_shop:11", "2.000", "4.40", "0.00", "2026-11-11 13:00:00"),
        # Half past midnight by the shop's clock.
        ("village_shop:3", "village_shop:1", "village_shop:10", "1.000", "1.10", "0.00", "2026-11-13 00:30:00"),
    ]


def test_every_other_row_is_set_aside_with_its_reason(warehouse: Path) -> None:
    assert rows(
        warehouse,
        "select table_name, rejection_reason, count(*) from quality.rejected_rows group by all order by all",
    ) == [
        ("customers", "deleted", "1"),
        # The country that the first had before; the second was read again, for it is no older than the lag.
        ("customers", "superseded_version", "2"),
        # Soap, in the first pull; milk and bread came again with the second.
        ("products", "deleted", "1"),
        ("products", "superseded_version", "2"),
        # The line that was deleted, and the order that was cancelled.
        ("purchases", "deleted", "2"),
        # A guest's line.
        ("purchases", "missing_customer", "1"),
        # The first version of order 2, and the guest's line, which is within the lag.
        ("purchases", "superseded_version", "2"),
    ]
    assert rows(warehouse, "select table_name, raw_rows from quality.row_reconciliation order by 1") == [
        ("customers", "5"),
        ("products", "5"),
        ("purchases", "8"),
    ]


def test_the_newest_version_of_a_customer_and_a_product_counts(warehouse: Path) -> None:
    assert rows(warehouse, "select customer_key, birth_year, country from core.dim_customers order by all") == [
        ("village_shop:1", "1980", "AT"),
        ("village_shop:2", "None", "DE"),
    ]
    assert rows(warehouse, "select product_key, product_name from core.dim_products order by all") == [
        ("village_shop:10", "Whole milk"),
        ("village_shop:11", "Bread"),
    ]

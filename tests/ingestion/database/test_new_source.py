"""What `ingestion new --database` finds in a real database."""

import datetime as dt

import duckdb
import pytest

from ingestion.new_source.database import look
from ingestion.new_source.match import match, raw_tables
from ingestion.new_source.write import module, skeleton
from ingestion.raw_tables import LoadError
from tests.ingestion.database.pulled_shop import NAME, ON_BOTH, Shop

TABLES = (
    "create table customers (id bigint primary key, country varchar(2), updated_at timestamp null)",
    "create table products (sku varchar(10) primary key, name varchar(40), category varchar(40))",
    "create table orders (id bigint primary key, customer_id bigint, ordered_at timestamp)",
    "create table order_lines (order_id bigint, line int, sku varchar(10), quantity int, unit_price numeric(8, 2), "
    "primary key (order_id, line))",
    "create table notes (text varchar(10))",
    "insert into customers values (1, 'FR', null), (2, 'DE', '2026-11-01 10:00:00')",
    "insert into products values ('a', 'Apple', 'Fruit'), ('b', 'Bread', 'Bakery')",
    "insert into orders values (7, 1, '2026-11-19 10:00:00'), (8, 2, '2026-11-20 11:30:00')",
    "insert into order_lines values (7, 1, 'a', 2, 1.25), (7, 2, 'b', 1, 3), (8, 1, 'a', 3, 1.25)",
)


@ON_BOTH
def test_tables_keys_and_what_is_what(shop: Shop) -> None:
    shop.execute(*TABLES)
    with duckdb.connect() as connection:
        found = look(NAME, shop.credentials, connection)
        assert [table.name for table in found] == ["customers", "order_lines", "orders", "products"], "notes is empty"
        matches = match(found, connection)
        tables = raw_tables(matches)
        imports = ["from ingestion.database import Database, DatabaseTable"]
        text = module(NAME, "Database DatabaseTable", imports, tables)
        made = skeleton(NAME, text, matches, connection, dt.date(2026, 11, 21))
    assert {raw: table.declaration for raw, table in tables.items()} == {
        "purchases": {"table": '"order_lines"', "key": "('order_id', 'line')"},
        "customers": {"table": '"customers"', "key": '"id"'},
        "products": {"table": '"products"', "key": '"sku"'},
        "orders": {"table": '"orders"', "key": '"id"'},
    }
    assert tables["purchases"].column("unit_price").type == "decimal(8,2)"
    assert any("cursor='updated_at'" in sentence for sentence in tables["customers"].evidence)
    assert made.decisions == []
    model = made.files[f"dbt_project/models/staging/{NAME}/stg_{NAME}__purchases.sql"]
    assert f"pulled_rows('{NAME}', 'purchases', key=['order_id', 'line'], whole=true)" in model
    assert "set_aside_reason" in model
    # Of what the model reads besides the purchases, dbt wants the rows in a unit test, too.
    yml = made.files[f"dbt_project/models/staging/{NAME}/stg_{NAME}__purchases.yml"]
    assert "- input: ref('int_deliveries')" in yml
    assert f"source('{NAME}', 'deliveries')" not in yml
    # What was written can be pulled as it is.
    (shop.code / f"{NAME}.py").write_text(text, encoding="utf-8")
    shop.pull()
    assert shop.raw("select order_id, sku, quantity * unit_price from purchases order by 1, 2") == [
        (7, "a", pytest.approx(2.5)),
        (7, "b", pytest.approx(3)),
        (8, "a", pytest.approx(3.75)),
    ]


def test_a_database_without_rows_and_one_that_cannot_be_reached(postgresql: Shop) -> None:
    with duckdb.connect() as connection:
        with pytest.raises(LoadError, match=r"has no tables with rows in its first schema"):
            look(NAME, postgresql.credentials, connection)
        address = postgresql.credentials.replace(str(postgresql.server.port), "1")
        with pytest.raises(LoadError, match=r"^cannot connect to postgresql://127\.0\.0\.1:1/") as error:
            look(NAME, address, connection)
    assert "s3cret" not in str(error.value)

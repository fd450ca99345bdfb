"""The policy as a file, and what it makes of each table: in DuckDB for real; PostgreSQL's text is parsed again."""

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
import yaml

from delivery import policy
from delivery.policy import Action, Column, Policy, PolicyError, Role, Table, UnknownRoleError
from tests import here
from warehouse.dbt_project import prepare, published_models, read_manifest
from warehouse.settings import Settings

TEXT = yaml.safe_load(policy.FILE.read_text(encoding="utf-8"))

CUSTOMERS = Table(
    "core",
    "dim_customers",
    (
        Column("customer_key", "string", ("identifier",)),
        Column("birth_year", "int", ("personal",)),
        Column("education", "string", ("personal", "sensitive")),
        Column("income", "decimal(18,2)", ("personal", "sensitive")),
        Column("country_code", "string", ("personal",)),
        Column("total_spending", "decimal(18,2)"),
    ),
)
NUMBERS = Table(
    "core", "customer_numbers", (Column("source_name", "string"), Column("customer_key", "string", ("identifier",)))
)
BASKETS = Table(
    "core",
    "fct_baskets",
    (
        Column("source_name", "string"),
        Column("customer_key", "string", ("identifier",)),
        Column("amount", "decimal(18,2)"),
    ),
)
AFFINITY = Table(
    "cross_sell",
    "category_affinity",
    (
        Column("source_name", "string"),
        Column("other_source_name", "string"),
        Column("both_customer_count", "bigint", ("group_size",)),
    ),
)
FINDINGS = Table(
    "quality", "findings", (Column("source_name", "string"), Column("record_id", "string", ("identifier",)))
)
TABLES = [CUSTOMERS, NUMBERS, BASKETS, AFFINITY, FINDINGS]


@pytest.fixture
def shop() -> Iterator[duckdb.DuckDBPyConnection]:
    """Three customers: a of one shop, b of another, c a person who is a customer of both."""
    with duckdb.connect() as connection:
        connection.execute("create schema core; create schema cross_sell; create schema quality")
        connection.execute(policy.duckdb_hash("a secret of the test, of 32 letters"))
        connection.execute(
            """
            create table core.dim_customers as
            from (values
                ('one:a', 1987, 'Master', 45999.99, 'DE', 10.5),
                ('two:b', 1990, 'Master', -1, 'FR', 20),
                ('person:c', null, 'Basic', null, 'DE', 30)
            ) as c(customer_key, birth_year, education, income, country_code, total_spending);
            create table core.customer_numbers as
            from (values ('one', 'one:a'), ('two', 'two:b'), ('one', 'person:c'), ('two', 'person:c'))
                as n(source_name, customer_key);
            create table core.fct_baskets as
            from (values ('one', 'one:a', 10.5), ('two', 'two:b', 20), ('one', 'person:c', 15), ('two', 'person:c', 15))
                as b(source_name, customer_key, amount);
            create table cross_sell.category_affinity as
            from (values ('one', null, 12), ('one', 'two', 2), ('two', 'two', 0), ('one', 'one', 3))
                as a(source_name, other_source_name, both_customer_count);
            create table quality.findings as from (values ('one', 'a'), ('two', 'b')) as f(source_name, record_id);
            """
        )
        yield connection


def made(**role: Any) -> Policy:
    """The project's policy, with one more role."""
    base = {
        "description": "Of the test.",
        "purposes": ["reporting"],
        "tables": ["*"],
        "customer_rows": True,
        "minimum_group": 2,
    }
    return Policy.model_validate({**TEXT, "roles": {**TEXT["roles"], "tester": base | role}})


def rows(connection: duckdb.DuckDBPyConnection, table: Table, given: Policy, **options: Any) -> list[tuple[Any, ...]]:
    view = policy.view(given, "tester", table, TABLES, **options)
    assert view is not None
    sqlglot.parse_one(view.sql("postgres"), dialect="postgres")
    return connection.execute(f"from ({view.sql('duckdb')}) order by all").fetchall()


def test_the_project_s_policy_and_its_tables_agree(data: Path) -> None:
    tables = policy.described(read_manifest(prepare(Settings())))
    assert policy.problems(policy.read(), tables) == []
    assert {table.schema for table in tables} == {"core", "cross_sell", "quality"}


def test_every_published_key_of_a_customer_has_a_tag(data: Path) -> None:
    for node in published_models(read_manifest(prepare(Settings()))):
        for name, column in node["columns"].items():
            if name in ("customer_key", "customer_id", "basket_key", "opportunity_key", "record_id"):
                assert "identifier" in column["tags"], (node["name"], name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["roles"]["viewer"].update(custmer_rows=True), "custmer_rows: there is no such key; did you mean"),
        (lambda t: t["roles"]["viewer"].pop("tables"), "roles, viewer, tables: Field required"),
        (lambda t: t["roles"]["viewer"].update(minimum_group=1), "minimum_group must be 2 or more"),
        (lambda t: t["roles"]["viewer"].update(personal="hide"), "'show', 'bucket', 'hash', 'null' or 'drop'"),
        (lambda t: t["roles"]["viewer"].update(purposes=["reportin"]), "no purpose reportin; did you mean reporting?"),
        (lambda t: t["roles"]["analyst"].update(identifier="bucket"), "an identifier has no buckets"),
        (lambda t: t["roles"]["viewer"].update(rows={"countries": ["Germany"]}), "countries, 0"),
        (lambda t: t["roles"]["viewer"].update(rows={"shops": []}), "rows, shops: List should have at least 1 item"),
        (lambda t: t["roles"]["viewer"].update(rows={"where": "true"}), "where: there is no such key"),
        (lambda t: t["columns"].update({"core.dim_customers.income": {"width": 5, "rare": True}}), "give one of"),
        (lambda t: t.update(roles={}), "roles: Dictionary should have at least 1 item"),
        (lambda t: t.update(columns={"income": {}}), "columns, income"),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_key(change: Any, message: str, tmp_path: Path) -> None:
    text = yaml.safe_load(policy.FILE.read_text(encoding="utf-8"))
    change(text)
    file = tmp_path / "mine.yml"
    file.write_text(yaml.safe_dump(text), encoding="utf-8")
    with pytest.raises(PolicyError) as raised:
        policy.read(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert message in str(raised.value)


def test_a_role_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "twice.yml"
    file.write_text("roles:\n  viewer: {}\n  viewer: {}\n", encoding="utf-8")
    with pytest.raises(PolicyError, match="the key viewer is there twice"):
        policy.read(file)
    with pytest.raises(PolicyError, match="cannot be read"):
        policy.read(tmp_path / "none.yml")
    file.write_text("", encoding="utf-8")
    with pytest.raises(PolicyError, match="as a whole"):
        policy.read(file)


def test_an_unknown_role_is_no_role() -> None:
    with pytest.raises(UnknownRoleError, match="no role veiwer; did you mean viewer"):
        policy.view(policy.read(), "veiwer", CUSTOMERS, TABLES)


def test_each_action_does_what_it_says(shop: duckdb.DuckDBPyConnection) -> None:
    columns = ["customer_key", "birth_year", "education", "income", "country_code", "total_spending"]
    seen = made(identifier="show", personal="show", sensitive="show")
    assert rows(shop, CUSTOMERS, seen)[0] == ("one:a", 1987, "Master", Decimal("45999.99"), "DE", 10.5)
    coarse = rows(shop, CUSTOMERS, made(identifier="null", personal="bucket", sensitive="bucket"))
    assert sorted(coarse, key=str) == sorted(
        [
            (None, 1980, "Master", 40000, "DE", 10.5),
            (None, 1990, "Master", -20000, None, 20),
            (None, None, None, None, "DE", 30),
        ],
        key=str,
    )
    dropped = policy.view(made(personal="show"), "tester", CUSTOMERS, TABLES)
    assert dropped is not None
    # Sensitive is stricter than personal, and an identifier is denied where the role does not name it.
    assert dropped.columns == ["birth_year", "country_code", "total_spending"]
    assert dropped.masks == {"customer_key": "drop", "education": "drop", "income": "drop"}
    assert list(dropped.actions) == columns
    assert shop.execute(dropped.sql("duckdb")).description is not None


def test_a_hash_is_the_same_in_every_table_and_another_with_another_key(shop: duckdb.DuckDBPyConnection) -> None:
    given = made(identifier="hash")
    key = "a secret of the test, of 32 letters"
    inner = hashlib.sha256(f"{key}:inner:one:a".encode()).hexdigest()
    expected = hashlib.sha256(f"{key}:outer:{inner}".encode()).hexdigest()[:32]
    customers = {row[0] for row in rows(shop, CUSTOMERS, given)}
    assert expected in customers and len(customers) == 3
    assert {row[1] for row in rows(shop, BASKETS, given)} == customers
    shop.execute(policy.duckdb_hash("another secret, also of 32 letters"))
    assert {row[0] for row in rows(shop, CUSTOMERS, given)}.isdisjoint(customers)


def test_row_rules_reach_every_table_with_a_customer(shop: duckdb.DuckDBPyConnection) -> None:
    one = made(identifier="show", rows={"shops": ["one"]})
    assert [row[0] for row in rows(shop, CUSTOMERS, one)] == ["one:a"]
    assert rows(shop, NUMBERS, one) == [("one", "one:a")]
    assert [row[1] for row in rows(shop, BASKETS, one)] == ["one:a"]
    # Of tables without a customer, the rows of the shop, as far as they say nothing of another.
    assert rows(shop, AFFINITY, one) == [("one", "one", 3), ("one", None, 12)]
    assert rows(shop, FINDINGS, one) == [("one", "a")]
    german = made(identifier="show", rows={"countries": ["DE"]})
    assert [row[0] for row in rows(shop, CUSTOMERS, german)] == ["one:a", "person:c"]
    assert {row[1] for row in rows(shop, BASKETS, german)} == {"one:a", "person:c"}
    assert len(rows(shop, AFFINITY, german)) == 4
    # No column of it says who the customer is, so that the rule cannot be carried to it.
    assert policy.view(german, "tester", FINDINGS, TABLES) is None
    assert policy.view(german, "tester", BASKETS, [BASKETS]) is None
    assert policy.view(one, "tester", BASKETS, [BASKETS]) is None
    view = policy.view(german, "tester", BASKETS, TABLES)
    assert view is not None and view.row_rules == ["only customers in DE"]


def test_a_rule_is_a_value_and_no_sql(shop: duckdb.DuckDBPyConnection) -> None:
    assert rows(shop, BASKETS, made(rows={"shops": ["x') or ('' = '"]})) == []
    assert rows(shop, BASKETS, made(rows={"shops": ["\\', '"]})) == []


def test_a_role_without_rows_of_customers_sees_no_table_about_them(shop: duckdb.DuckDBPyConnection) -> None:
    given = made(customer_rows=False, minimum_group=3)
    for table in (CUSTOMERS, NUMBERS, BASKETS, FINDINGS):
        assert policy.view(given, "tester", table, TABLES) is None
    assert [row[2] for row in rows(shop, AFFINITY, given)] == [3, 12, 0]
    assert [row[2] for row in rows(shop, AFFINITY, made(minimum_group=4))] == [12, 0]
    # Metrics are sums of all rows: their keys join, personal columns are masked.
    assert rows(shop, CUSTOMERS, given, for_metrics=True)[0] == ("one:a", None, None, None, None, 10.5)
    assert [row[2] for row in rows(shop, AFFINITY, given, for_metrics=True)] == [3, 2, 12, 0]


def test_what_is_new_is_nobody_s_until_somebody_allows_it() -> None:
    table = Table(
        "core",
        "dim_customers",
        (
            Column("customer_key", "string", ("identifier",)),
            Column("shoe_size", "int", ("personal",)),
            Column("notes", "string", ("persnal",)),
            Column("added", "string", None),
        ),
    )
    given = policy.read()
    for role in given.roles.values():
        seen = policy.actions(given, role, table)
        assert {seen[name] for name in ("shoe_size", "notes", "added")} == {Action.DROP}
    assert policy.problems(Policy.model_validate({**TEXT, "columns": {}}), [table])[:2] == [
        "core.dim_customers.shoe_size is personal and not in policy.yml, columns: no role sees it",
        "core.dim_customers.notes has the tag persnal, which the policy does not know; did you mean personal?",
    ]
    published = {("core", "new_table"): {"anything": "VARCHAR"}}
    [unknown] = policy.as_published([table], published)
    assert policy.view(given, "admin", unknown, [unknown]) is None


def test_the_tables_of_a_role_are_those_it_names() -> None:
    role = Role.model_validate(TEXT["roles"]["viewer"] | {"tables": ["core.dim_*", "quality.slo_status"]})
    asked = ["core.dim_customers", "core.fct_baskets", "quality.slo_status", "quality.slo_status2"]
    assert [role.may_ask(*name.split(".")) for name in asked] == [True, False, True, False]


def test_the_key_is_made_once_for_its_owner_alone(data: Path) -> None:
    paths = here.paths()
    old_mask = os.umask(0)
    try:
        keys: list[str] = []
        threads = [threading.Thread(target=lambda: keys.append(policy.hash_key(paths))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os.umask(old_mask)
    assert len(keys) == 8 and len(set(keys)) == 1 and len(keys[0]) == 64
    assert stat.S_IMODE(paths.hash_key.stat().st_mode) == 0o600
    assert [file.name for file in paths.hash_key.parent.iterdir()] == ["hash_key"]
    paths.hash_key.write_text("", encoding="ascii")
    with pytest.raises(PolicyError, match="holds no key"):
        policy.hash_key(paths)

"""The same number in PostgreSQL and in the file: as MetricFlow says it, and for each role as the policy says."""

from collections.abc import Iterator
from typing import Any

import duckdb
import psycopg
import pytest
import sqlglot
from sqlglot import exp

from benchmarks.database_servers import PASSWORD, Postgres, Server
from delivery import policy, postgres
from delivery.postgres_roles import schema_of_role
from tests.fixtures.database_servers import running
from tests.metrics.conftest import Shop
from tests.metrics.test_same_number import QUESTIONS, comparable, request, same
from warehouse.connections import columns
from warehouse.paths import Paths

ROLES = list(policy.read().roles)
IDS = [f"{question.metrics} by {question.by}" for question in QUESTIONS]


@pytest.fixture(scope="module")
def described(manifest: dict[str, Any]) -> list[policy.Table]:
    return policy.described(manifest)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    yield from running(Postgres)


@pytest.fixture(scope="module")
def in_postgres(
    shop: Shop, described: list[policy.Table], server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, psycopg.Connection[Any]]]:
    """A connection for the owner of the database (`owner`) and for a user of each role."""
    # The folder may be somebody's own, and must not get a key.
    folder = tmp_path_factory.mktemp("published")
    (folder / "published").symlink_to(shop.project.data / "published")
    address = postgres.address(f"postgresql://{server.user}@127.0.0.1:{server.port}/{server.database}", PASSWORD)
    written = postgres.write(Paths(folder), address, policy.read(), described)
    assert sum(written.row_counts.values()) > 1000
    users = {"owner": server.user}
    for role in ROLES:
        server.execute(f"create role user_of_{role} login password '{PASSWORD}' in role next_aisle_{role}")
        users[role] = f"user_of_{role}"
    connections = {
        name: psycopg.connect(
            host="127.0.0.1", port=server.port, dbname=server.database, user=user, password=PASSWORD, autocommit=True
        )
        for name, user in users.items()
    }
    yield connections
    for connection in connections.values():
        connection.close()


@pytest.fixture(scope="module")
def in_file(shop: Shop, described: list[policy.Table]) -> Iterator[dict[str, duckdb.DuckDBPyConnection]]:
    """The published file, with the views of each role."""
    connections = {}
    for role in ROLES:
        connections[role] = duckdb.connect()
        connections[role].execute(f"attach '{Paths(shop.project.data).published}' as published (read_only)")
        connections[role].execute(policy.duckdb_hash("the key does not change a number"))
        with duckdb.connect(str(Paths(shop.project.data).published), read_only=True) as file:
            known = policy.as_published(described, columns(file))
        for table in known:
            view = policy.view(
                policy.read(),
                role,
                table,
                known,
                lambda schema, name: exp.table_(name, db=schema, catalog="published", quoted=True),
            )
            connections[role].execute(f"create schema if not exists {table.schema}")
            if view:
                connections[role].execute(f"create view {table.full_name} as {view.sql('duckdb')}")
    yield connections
    for connection in connections.values():
        connection.close()


def for_postgres(sql: str, role: str | None = None) -> str:
    """Write a question for PostgreSQL, to the tables or to a role's views."""

    def of_role(node: exp.Expr) -> exp.Expr:
        if role and isinstance(node, exp.Table) and node.db:
            node.set("db", exp.to_identifier(schema_of_role(role, node.db)))
        return node

    text = sqlglot.parse_one(sql, dialect="duckdb").transform(of_role).sql(dialect="postgres")
    # There, a series is rows already.
    return text.replace("UNNEST(GENERATE_SERIES", "(GENERATE_SERIES")


def agree(answered: list[list[Any]], expected: list[list[Any]]) -> bool:
    return len(answered) == len(expected) and all(
        same(a, b) for one, other in zip(answered, expected, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.fixture(scope="module")
def answers(shop: Shop) -> list[Any]:
    return shop.ask([request(question) for question in QUESTIONS])


@pytest.mark.parametrize("number", range(len(QUESTIONS)), ids=IDS)
def test_postgresql_says_what_metricflow_says(
    number: int, in_postgres: dict[str, psycopg.Connection[Any]], answers: list[Any]
) -> None:
    question, answer = QUESTIONS[number], answers[number]
    wanted = [*(question.by.split(",") if question.by else []), *question.metrics.split(",")]
    order = [answer["columns"].index(column) for column in wanted]
    expected = comparable([[row[position] for position in order] for row in answer["rows"]])
    answered = comparable(in_postgres["owner"].execute(for_postgres(question.sql)).fetchall())
    assert agree(answered, expected), (answered[:3], expected[:3])
    assert answered


@pytest.mark.parametrize("role", ROLES)
def test_a_role_gets_the_same_number_in_postgresql_and_from_the_file(
    role: str,
    in_postgres: dict[str, psycopg.Connection[Any]],
    in_file: dict[str, duckdb.DuckDBPyConnection],
    answers: list[Any],
) -> None:
    outcomes = {"same": 0, "refused": 0, "as MetricFlow": 0}
    for question, answer in zip(QUESTIONS, answers, strict=True):
        by_key = "customer" in question.by.split(",") or question.by == "opportunity"
        try:
            expected = comparable(in_file[role].execute(question.sql).fetchall())
        except duckdb.Error:
            with pytest.raises(psycopg.Error, match="does not exist"):
                in_postgres[role].execute(for_postgres(question.sql, role))
            outcomes["refused"] += 1
            continue
        answered = comparable(in_postgres[role].execute(for_postgres(question.sql, role)).fetchall())
        if by_key and role == "analyst":
            # The key of the hashes is another: the numbers are the same.
            answered = comparable([row[1:] for row in answered])
            expected = comparable([row[1:] for row in expected])
        assert agree(answered, expected), (question, answered[:3], expected[:3])
        outcomes["same"] += 1
        metric_rows = comparable(answer["rows"])
        outcomes["as MetricFlow"] += len(metric_rows) == len(answered)
    assert outcomes["same"] + outcomes["refused"] == len(QUESTIONS)
    if role == "admin":
        assert outcomes["same"] == len(QUESTIONS) == outcomes["as MetricFlow"]
    if role == "marketing":
        # It does not see age, income, marital status and home.
        assert 3 <= outcomes["refused"] <= 6
    if role == "viewer":
        assert outcomes["refused"] > 30 and outcomes["same"] >= 3

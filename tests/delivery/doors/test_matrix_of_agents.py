"""Role x column x tool: what each role sees of each column through the tools for agents, and nothing else."""

from typing import Any

import pytest

from delivery.policy import Column, Table
from tests.delivery.doors import made
from tests.delivery.doors.conftest import ROLES, House
from tests.delivery.doors.test_agents import with_agent
from tests.delivery.doors.test_matrix import (
    BUCKET,
    DROP,
    HASH,
    METRICS,
    NULL,
    SHOW,
    dimensions,
    expected,
    hidden_texts,
    may_read,
    of,
)

Call = tuple[str, dict[str, Any]]


def ask(house: House, role: str, calls: list[Call]) -> list[tuple[bool, str, Any]]:
    """Ask the tools: whether it is an error, all of its text, and its content."""

    async def work(client: Any) -> list[Any]:
        return [await client.call_tool(name, arguments) for name, arguments in calls]

    return [
        (answer.is_error, "".join(part.text for part in answer.content), answer.structured_content)
        for answer in with_agent(house, role, work)
    ]


def asked_of(house: House) -> list[tuple[str, dict[str, Any], Table, Column]]:
    """Each dimension that has a column, with a metric that can be asked by it."""
    by_name = {table.full_name: table for table in house.tables}
    found = {}
    for metric in METRICS:
        for dimension in dimensions(house, metric):
            if dimension["table"] is not None and dimension["name"] not in found:
                table = by_name[dimension["table"]]
                column = next(each for each in table.columns if each.name == dimension["column"])
                found[dimension["name"]] = (metric, dimension, table, column)
    return list(found.values())


@pytest.mark.parametrize("role", ROLES)
def test_metrics_by_each_column(house: House, role: str) -> None:
    cells = asked_of(house)
    hidden = hidden_texts(role, house.tables)
    calls: list[Call] = []
    expectations: list[tuple[str, Column, bool, str]] = []
    for metric, dimension, table, column in cells:
        name = dimension["name"]
        asked = f"{name}__day" if dimension["kind"] == "time" else name
        secret = of(table, column, 1)
        literal = f"'{secret}'" if column.type in ("string", "date", "timestamp") else str(secret).lower()
        action = expected(role, column)
        is_identifier = "identifier" in (column.tags or ())
        is_hidden = action == DROP or (is_identifier and role == "viewer")
        grouped = {"metrics": [metric], "group_by": [asked], "limit": 50}
        for operation, call, is_refused in (
            ("group", ("query_metrics", grouped), is_hidden),
            ("order", ("query_metrics", grouped | {"order_by": [f"-{asked}"]}), is_hidden),
            (
                "filter",
                ("query_metrics", {"metrics": [metric], "where": [f"{asked} = {literal}"]}),
                is_hidden or (is_identifier and action != SHOW),
            ),
            (
                "values",
                ("get_dimension_values", {"dimension": name}),
                is_hidden or is_identifier or dimension["kind"] == "key",
            ),
        ):
            calls.append(call)
            expectations.append((operation, column, is_refused, asked))
    for (operation, column, is_refused, asked), (is_error, text, content) in zip(
        expectations, ask(house, role, calls), strict=True
    ):
        assert is_error == is_refused, (role, operation, asked, text)
        assert not [secret for secret in hidden if secret in text], (role, operation, asked, text[:300])
        if operation == "group" and not is_error and expected(role, column) == HASH:
            assert all(len(row[asked]) == 32 for row in content["data"])
    assert len(calls) > 100


@pytest.mark.parametrize("role", ROLES)
def test_a_search_finds_by_no_hidden_column(house: House, role: str) -> None:
    hidden = hidden_texts(role, house.tables)
    cells = [
        (each["name"], table, column)
        for _, each, table, column in asked_of(house)
        if column.type == "string" and each["kind"] == "categorical"
    ]
    calls: list[Call] = [
        ("get_dimension_values", {"dimension": name, "search": str(of(table, column, 1)).upper()})
        for name, table, column in cells
    ]
    found = 0
    for (name, table, column), (is_error, text, content) in zip(cells, ask(house, role, calls), strict=True):
        is_identifier = "identifier" in (column.tags or ())
        assert is_error == (is_identifier or expected(role, column) == DROP), (role, name, text)
        assert not [secret for secret in hidden if secret.lower() in text.lower()], (role, name, text[:300])
        if not is_error and expected(role, column) == NULL:
            assert content["data"] == [], (role, name)
        found += not is_error and of(table, column, 1) in [row[name] for row in content["data"]]
    assert len(cells) > 20 and found > (10 if role == "admin" else 0)
    # Of metrics, only those of the role are searched.
    [(_, everything, _), (_, some, _)] = ask(house, role, [("list_metrics", {}), ("list_metrics", {"search": "spend"})])
    assert "total_spending" in some and "churn_probability" in everything and "churn_probability" not in some


@pytest.mark.parametrize("role", ROLES)
def test_dimensions_that_are_named_are_those_that_may_be_asked(house: House, role: str) -> None:
    [(_, _, content)] = ask(house, role, [("get_dimensions", {"metrics": ["total_customers"]})])
    named = {each["name"] for each in content["data"]}
    by_name = {table.full_name: table for table in house.tables}
    count = 0
    for dimension in dimensions(house, "total_customers"):
        if dimension["table"] is not None:
            column = next(each for each in by_name[dimension["table"]].columns if each.name == dimension["column"])
            assert (dimension["name"] in named) == (expected(role, column) != DROP), (role, dimension["name"])
            count += 1
    assert count > 15


# The tools that give rows, with the table whose rows they are.
ROWS: list[tuple[Call, str, Any]] = [
    (
        ("get_category_customers", {"category": "Category 3"}),
        "cross_sell.customer_opportunities",
        lambda data: data,
    ),
    (("get_affinity", {}), "cross_sell.category_affinity", lambda data: data),
    (("get_quality", {}), "quality.slo_status", lambda data: data["objectives"]),
    (("get_quality", {}), "quality.shop_status", lambda data: data["sources"]),
    (("get_quality", {}), "quality.row_reconciliation", lambda data: data["rows"]),
]


@pytest.mark.parametrize("role", ROLES)
def test_rows_of_each_tool(house: House, role: str) -> None:
    tables = {table.full_name: table for table in house.tables}
    hidden = hidden_texts(role, house.tables)
    wanted = list(ROWS)
    if role != "viewer":
        # The key as the role sees it.
        customers = house.get(role, "/v1/tables/core.dim_customers", columns="customer_key", limit=1).json()["data"]
        key = customers[0]["customer_key"]
        call = ("get_customer_opportunities", {"customer_key": key})
        wanted.append((call, "cross_sell.customer_opportunities", lambda data: data))
        reasons = [(call, "cross_sell.customer_opportunity_reasons", lambda data: data[0]["reasons"])]
        wanted += reasons
    count = 0
    for (_, name, rows_in), (is_error, text, content) in zip(
        wanted, ask(house, role, [call for call, _, _ in wanted]), strict=True
    ):
        table = tables[name]
        assert is_error == (not may_read(role, table)), (role, name, text)
        assert not [secret for secret in hidden if secret in text], (role, name)
        if is_error:
            count += len(table.columns)
            continue
        rows = rows_in(content["data"])
        assert rows, (role, name)
        for column in table.columns:
            if name.endswith("_reasons") and column.name in ("customer_key", "source_name", "opportunity_key"):
                # They are those of the opportunity around them.
                continue
            count += 1
            values = [row.get(column.name, "absent") for row in rows]
            action = expected(role, column)
            if action == DROP:
                assert set(values) == {"absent"}, (role, column)
            elif action == NULL:
                assert set(values) == {None}, (role, column)
            elif action == HASH:
                assert all(len(value) == 32 for value in values), (role, column)
            elif action == SHOW and column.type == "string":
                made_up = {of(table, column, row) for row in range(made.rows_of(table))}
                assert set(values) <= made_up, (role, column)
            else:
                assert action in (SHOW, BUCKET) and "absent" not in values
    assert count > 60

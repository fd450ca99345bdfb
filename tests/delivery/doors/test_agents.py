"""The tools for agents: over HTTP with a token, by standard input, and as roles that see less."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from mcp import Client, StdioServerParameters

from delivery.access import Audit
from delivery.agents import make_server
from delivery.doors import Caller
from tests.delivery.doors import made
from tests.delivery.doors.conftest import ROLES, House
from tests.delivery.doors.test_matrix import hidden_texts
from warehouse.dbt_project import prepare
from warehouse.settings import Settings

TOOLS = {
    *("list_metrics", "get_dimensions", "get_dimension_values", "query_metrics", "list_saved_queries", "query_saved"),
    *("get_customer_opportunities", "explain_opportunity", "get_category_customers", "get_affinity"),
    *("get_quality", "get_contract"),
}
# Questions, and the roles that are refused.
CALLS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("list_metrics", {}, set()),
    ("list_metrics", {"search": "growth"}, set()),
    ("get_dimensions", {"metrics": ["total_spending"]}, set()),
    ("get_dimension_values", {"dimension": "customer__rfm_segment"}, set()),
    ("get_dimension_values", {"dimension": "customer__age_band"}, {"marketing", "viewer"}),
    ("get_dimension_values", {"dimension": "customer__person"}, set(ROLES)),
    ("query_metrics", {"metrics": ["total_customers"], "group_by": ["customer__age_band"]}, {"marketing", "viewer"}),
    ("query_metrics", {"metrics": ["total_customers"], "group_by": ["customer"]}, {"viewer"}),
    (
        "query_metrics",
        {"metrics": ["total_customers"], "where": [f"customer = '{made.key(3)}'"]},
        {"viewer", "analyst"},
    ),
    ("query_metrics", {"metrics": ["total_spending"], "where": ["1 = (select 1)"]}, set(ROLES)),
    ("list_saved_queries", {}, set()),
    ("query_saved", {"name": "spending_by_segment"}, set()),
    ("query_saved", {"name": "customers_by_country"}, {"marketing", "viewer"}),
    ("get_customer_opportunities", {"customer_key": made.key(3)}, {"analyst", "viewer"}),
    ("explain_opportunity", {"customer_key": made.key(3), "category": "Category 3"}, {"analyst", "viewer"}),
    ("get_category_customers", {"category": "Category 3"}, {"viewer"}),
    ("get_affinity", {}, set()),
    ("get_quality", {}, set()),
]


def with_agent(house: House, role: str, work: Callable[[Client], Awaitable[Any]]) -> Any:
    async def ask() -> Any:
        doors = house.client.app.state.service.doors  # type: ignore[attr-defined]
        audit = Audit(house.data / "audit" / "agents.jsonl")
        purpose = house.rules.role(role).purposes[0]
        async with Client(make_server(doors, audit, Caller(role, None, "test", purpose))) as client:
            return await work(client)

    return asyncio.run(ask())


def test_the_tools_and_none_for_sql(house: House) -> None:
    async def work(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = with_agent(house, "viewer", work)
    assert {tool.name for tool in tools} == TOOLS
    assert all(tool.description and tool.annotations.read_only_hint for tool in tools)


def test_each_role_gets_what_it_may_and_nothing_else(house: House) -> None:
    for role in ROLES:
        hidden = hidden_texts(role, house.tables)

        async def work(client: Client) -> list[Any]:
            return [await client.call_tool(name, arguments) for name, arguments, _ in CALLS]

        for (name, arguments, refused), answer in zip(CALLS, with_agent(house, role, work), strict=True):
            text = "".join(part.text for part in answer.content)
            assert answer.is_error == (role in refused), (role, name, arguments, text)
            # The key that an agent gave is its own.
            found = [secret for secret in hidden if secret in text and secret not in json.dumps(arguments)]
            assert not found, (role, name, found, text[:300])
            if not answer.is_error:
                assert answer.structured_content["meta"]["publication"]


def test_errors_say_what_would_fit(house: House) -> None:
    async def work(client: Client) -> list[str]:
        texts = []
        calls: list[tuple[str, dict[str, Any]]] = [
            ("query_metrics", {"metrics": ["total_spendin"]}),
            ("query_metrics", {"metrics": ["total_spending"], "group_by": ["metric_time"]}),
            ("get_contract", {"table": "core.nothing"}),
            ("query_metrics", {"metrics": ["total_spending"], "limit": 100_000}),
        ]
        for name, arguments in calls:
            answer = await client.call_tool(name, arguments)
            assert answer.is_error
            texts.append(str(answer.content))
        return texts

    misspelt, without_grain, no_table, too_many = with_agent(house, "admin", work)
    assert "did you mean total_spending" in misspelt
    assert "metric_time__month" in without_grain
    assert "core.dim_customers" in no_table
    assert "500" in too_many


def test_over_http_each_request_has_its_own_role(house: House) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    body["params"] = {"name": "get_category_customers", "arguments": {"category": "Category 3", "limit": 2}}
    for role, is_error in (("marketing", False), ("viewer", True), ("marketing", False)):
        headers = {
            "Authorization": f"Bearer {house.secrets[role]}",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2025-06-18",
        }
        answer = house.client.post("/mcp/", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert bool(answer.json()["result"].get("isError")) == is_error


def test_by_standard_input(house: House) -> None:
    async def work(**environment: str) -> Any:
        manifest = str(prepare(Settings()))
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "delivery", "mcp"],
            env=dict(os.environ) | {"NEXT_AISLE_DATA": str(house.data), "NEXT_AISLE_MANIFEST": manifest} | environment,
        )
        async with Client(server) as client:
            return await client.call_tool("query_metrics", {"metrics": ["total_customers"]})

    answer = asyncio.run(work(NEXT_AISLE_TOKEN=house.secrets["viewer"]))
    assert answer.structured_content["data"] == [{"total_customers": made.CUSTOMERS}]
    assert answer.structured_content["meta"]["role"] == "viewer"

"""The same number over REST and to agents: what SQL, written by hand on the published tables, says."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from starlette.testclient import TestClient

from delivery import policy
from delivery.access import Audit
from delivery.agents import MOST_ROWS, make_server
from delivery.doors import Caller
from delivery.service import Options, make_app
from delivery.tokens import Tokens
from tests.metrics.conftest import Shop
from tests.metrics.test_same_number import QUESTIONS, Question, comparable, same
from warehouse.settings import Settings


class Service:
    """A service over the shop's published copy."""

    def __init__(self, client: TestClient, tokens: Tokens, tmp_path: Path) -> None:
        self.client = client
        self.secrets = {role: tokens.create(role, role, 1)[1] for role in ("admin", "marketing", "analyst", "viewer")}
        self.doors = client.app.state.service.doors  # type: ignore[attr-defined]
        self.audit = Audit(tmp_path / "audit.jsonl")

    def rest(self, question: Question, role: str = "admin") -> Any:
        body = {"metrics": question.metrics.split(","), "where": list(question.where)}
        body["group_by"] = question.by.split(",") if question.by else []
        headers = {"Authorization": f"Bearer {self.secrets[role]}"}
        return self.client.post("/v1/query", json=body, headers=headers)

    def agent(self, question: Question) -> Any:
        async def ask() -> Any:
            server = make_server(self.doors, self.audit, Caller("admin", None, "test", "analysis"))
            async with Client(server) as client:
                arguments = {"metrics": question.metrics.split(","), "where": list(question.where), "limit": MOST_ROWS}
                arguments["group_by"] = question.by.split(",") if question.by else []
                return await client.call_tool("query_metrics", arguments)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def service(shop: Shop, dbt_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    # The service's own files are not put into the shop's folder.
    (folder / "published").symlink_to(shop.project.data / "published")
    settings = Settings(data=folder, manifest=dbt_dir / "target" / "manifest.json")
    app = make_app(settings, policy.read(), Options(per_second=1e6, burst=1e6))
    with TestClient(app) as client:
        yield Service(client, Tokens(settings.paths.tokens), folder)


def wanted(question: Question) -> list[str]:
    return [*(question.by.split(",") if question.by else []), *question.metrics.split(",")]


def assert_same(rows: list[dict[str, Any]], question: Question, shop: Shop) -> None:
    answered = comparable([[row[name] for name in wanted(question)] for row in rows])
    expected = comparable(shop.sql(question.sql))
    assert len(answered) == len(expected)
    for row, expected_row in zip(answered, expected, strict=True):
        assert all(same(a, b) for a, b in zip(row, expected_row, strict=True)), (row, expected_row)


@pytest.mark.parametrize("number", range(len(QUESTIONS)), ids=[f"{q.metrics} by {q.by}" for q in QUESTIONS])
def test_rest_and_agents_say_what_sql_says(number: int, shop: Shop, service: Service) -> None:
    question = QUESTIONS[number]
    answer = service.rest(question)
    if any("select" in text for text in question.where):
        # No SQL comes in at these doors.
        assert answer.status_code == 422 and service.agent(question).is_error
        return
    assert answer.status_code == 200, answer.text
    assert_same(answer.json()["data"], question, shop)
    asked = service.agent(question)
    assert not asked.is_error, asked.content
    content = asked.structured_content
    assert content["meta"]["publication"] == answer.json()["meta"]["publication"]
    if not content["more_rows"]:
        assert_same(content["data"], question, shop)


@pytest.mark.parametrize("role", ["marketing", "analyst", "viewer"])
def test_a_role_gets_the_same_number_or_none(role: str, shop: Shop, service: Service) -> None:
    """No role is given another number: a group is the same as for everybody, or is not there."""
    compared = 0
    for question in QUESTIONS:
        theirs = service.rest(question, role)
        if theirs.status_code != 200:
            has_sql = any("select" in text for text in question.where)
            assert theirs.status_code in ((422,) if has_sql else (403, 404)), (
                question,
                theirs.status_code,
                theirs.text,
            )
            continue
        names = wanted(question)
        everything = [[row[name] for name in names] for row in service.rest(question).json()["data"]]
        keys = {"category", "product", "calendar_day", "metric_time__month", "metric_time__day", ""}
        if set(question.by.split(",")) - keys and any("__" not in part for part in question.by.split(",")):
            # Keys are hashed.
            continue
        for row in theirs.json()["data"]:
            values = [row[name] for name in names]
            is_there = any(all(same(a, b) for a, b in zip(values, other, strict=True)) for other in everything)
            if role == "analyst" and not is_there:
                # Personal words of few customers are merged into null.
                assert None in values[: len(names) - len(question.metrics.split(","))], (question, values)
                continue
            assert is_there, (question, values)
            compared += 1
    assert compared > 30

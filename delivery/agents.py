"""The door for agents: tools of the Model Context Protocol, by standard input or over HTTP.

There is no tool for SQL. Each answer has its meta, so that an agent can say how fresh and how good a number is; each
error says what would fit.
"""

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from typing import Annotated, Any

import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from pydantic import Field
from starlette.requests import Request

from delivery import conditions
from delivery.access import Audit, NoAccessError, TooOftenError
from delivery.doors import Answer, Caller, Doors, explain, plain, with_reasons
from delivery.errors import DoorError
from delivery.metrics import GRAINS, Question

MOST_ROWS = 500
INSTRUCTIONS = """\
Next Aisle tells a retailer which product categories each customer is likely to begin to buy, and how the business does.
Begin with list_metrics, then get_dimensions, then query_metrics. A dimension of time needs a grain, such as
metric_time__month. Conditions are written like: customer__rfm_segment = 'loyal' and metric_time__day >= '2026-01-01'.
Every answer has a `meta`: say its as_of date with each number; warn when a source is held or an objective is not met.
Likelihoods say what tends to follow, not what an offer would cause. What your role may not see cannot be had.
"""

Names = Annotated[list[str], Field(max_length=20)]
Rows = Annotated[int, Field(ge=1, le=MOST_ROWS)]
Text = Annotated[str, Field(min_length=1, max_length=300)]


def make_server(doors: Doors, audit: Audit, local: Caller | None = None) -> MCPServer[Any]:
    """Make the server with its tools.

    Args:
        doors: what can be asked.
        audit: the record of who asked what.
        local: who asks by standard input; over HTTP each request has its caller.
    """
    server: MCPServer[Any] = MCPServer(
        "next-aisle", title="Next Aisle", instructions=INSTRUCTIONS, log_level="WARNING", version="1"
    )
    reading = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

    async def done(
        context: Context[Any], tool: str, asked: dict[str, Any], work: Callable[[Caller], dict[str, Any]]
    ) -> dict[str, Any]:
        request = context.request_context.request
        caller = local
        if isinstance(request, Request):
            caller = request.state.caller
            request.state.door = "mcp"
            request.state.asked = {"tool": tool} | {name: value for name, value in asked.items() if value}
        if caller is None:
            raise ToolError("there is no token")
        try:
            return await anyio.to_thread.run_sync(functools.partial(work, caller))
        except (DoorError, NoAccessError, TooOftenError) as error:
            raise ToolError(_reason(error)) from None
        finally:
            if local:
                audit.record(door="mcp", tool=tool, asked=asked, name=caller.name, role=caller.role)

    @server.tool(title="List the metrics", annotations=reading)
    async def list_metrics(context: Context[Any], search: Annotated[str, Field(max_length=100)] = "") -> dict[str, Any]:
        """List the metrics, with what they mean and their unit. `search` keeps those with this text."""

        def work(caller: Caller) -> dict[str, Any]:
            found = [asdict(metric) for metric in doors.metrics(caller)]
            kept = [each for each in found if search.lower() in f"{each['name']} {each['label']}".lower()]
            if search and not kept:
                names = ", ".join(each["name"] for each in found)
                raise ToolError(f"no metric has the text {search}; there are {names}")
            return {"data": kept, "meta": _short(doors.meta(caller))}

        return await done(context, "list_metrics", {}, work)

    @server.tool(title="List what metrics can be asked by", annotations=reading)
    async def get_dimensions(context: Context[Any], metrics: Names) -> dict[str, Any]:
        """List the dimensions by which all these metrics together can be asked, with what they mean."""

        def work(caller: Caller) -> dict[str, Any]:
            data = []
            for dimension in doors.dimensions(caller, metrics):
                each = {"name": dimension.name, "kind": dimension.kind, "description": dimension.description}
                if dimension.kind == "time":
                    each["ask_as"] = ", ".join(f"{dimension.name}__{grain}" for grain in GRAINS)
                data.append(each)
            return {"data": data, "meta": _short(doors.meta(caller))}

        return await done(context, "get_dimensions", {"metrics": metrics}, work)

    @server.tool(title="List the values of a dimension", annotations=reading)
    async def get_dimension_values(
        context: Context[Any], dimension: Text, search: Annotated[str, Field(max_length=100)] = "", limit: Rows = 100
    ) -> dict[str, Any]:
        """List the values of a dimension, the most frequent first: what to compare it with in a condition."""
        return await done(
            context,
            "get_dimension_values",
            {"dimension": dimension},
            lambda caller: _rows(doors.dimension_values(caller, dimension, search or None, limit), limit),
        )

    @server.tool(title="Ask for metrics", annotations=reading)
    async def query_metrics(
        context: Context[Any],
        metrics: Names,
        group_by: Names | None = None,
        where: Names | None = None,
        order_by: Names | None = None,
        limit: Rows = 100,
    ) -> dict[str, Any]:
        """Ask for metrics by dimensions.

        `where` are conditions that all must hold, like "customer__rfm_segment in ('loyal', 'new')". `order_by` are
        metrics or dimensions of the question, with - in front for the highest first.
        """
        question = Question(tuple(metrics), tuple(group_by or ()), tuple(where or ()), tuple(order_by or ()), limit + 1)
        asked = {"metrics": metrics, "group_by": group_by, "where": [conditions.names(text) for text in where or ()]}
        return await done(context, "query_metrics", asked, lambda caller: _rows(doors.query(caller, question), limit))

    @server.tool(title="List the saved queries", annotations=reading)
    async def list_saved_queries(context: Context[Any]) -> dict[str, Any]:
        """List questions that were thought of already; query_saved asks one."""

        def work(caller: Caller) -> dict[str, Any]:
            saved = doors.layer.saved_queries
            data = [
                {"name": name, "description": saved[name].get("description")} | asdict(doors.layer.saved(name))
                for name in saved
            ]
            return {"data": plain(data), "meta": _short(doors.meta(caller))}

        return await done(context, "list_saved_queries", {}, work)

    @server.tool(title="Ask a saved query", annotations=reading)
    async def query_saved(context: Context[Any], name: Text, limit: Rows = 100) -> dict[str, Any]:
        """Ask a saved query by its name."""

        def work(caller: Caller) -> dict[str, Any]:
            question = doors.layer.saved(name)
            wanted = min(question.limit or limit + 1, limit + 1)
            fields = (question.metrics, question.group_by, question.where, question.order_by)
            return _rows(doors.query(caller, Question(*fields, wanted)), limit)

        return await done(context, "query_saved", {"saved_query": name}, work)

    @server.tool(title="What to offer a customer next", annotations=reading)
    async def get_customer_opportunities(context: Context[Any], customer_key: Text, limit: Rows = 10) -> dict[str, Any]:
        """List the categories that a customer is likely to begin to buy, the best first, each with its reasons."""

        def work(caller: Caller) -> dict[str, Any]:
            answer = doors.opportunities(caller, customer_key, limit)
            data = [row | {"explanation": explain(row)} for row in with_reasons(answer)]
            return {"data": plain(data), "meta": plain(answer.meta)}

        return await done(context, "get_customer_opportunities", {}, work)

    @server.tool(title="Explain an opportunity", annotations=reading)
    async def explain_opportunity(context: Context[Any], customer_key: Text, category: Text) -> dict[str, Any]:
        """Say why a customer is likely to begin to buy a category: a sentence, and the figures behind it."""

        def work(caller: Caller) -> dict[str, Any]:
            data, meta = doors.opportunity(caller, customer_key, category)
            return {"data": plain(data), "meta": plain(meta)}

        return await done(context, "explain_opportunity", {}, work)

    @server.tool(title="Who is likely to begin to buy in a category", annotations=reading)
    async def get_category_customers(
        context: Context[Any],
        category: Text,
        minimum_likelihood: Annotated[float, Field(ge=0, le=1)] = 0,
        limit: Rows = 20,
    ) -> dict[str, Any]:
        """List the customers who are likely to begin to buy in a category, the most likely first."""
        return await done(
            context,
            "get_category_customers",
            {"category": category},
            lambda caller: _rows(doors.customers_of(caller, category, limit + 1, minimum_likelihood), limit),
        )

    @server.tool(title="Which categories go together", annotations=reading)
    async def get_affinity(context: Context[Any], category: Text | None = None, limit: Rows = 20) -> dict[str, Any]:
        """List pairs of categories whose buyers are often the same, the strongest first."""
        return await done(
            context,
            "get_affinity",
            {"category": category},
            lambda caller: _rows(doors.affinity(caller, category, limit + 1), limit),
        )

    @server.tool(title="How good the data is", annotations=reading)
    async def get_quality(context: Context[Any]) -> dict[str, Any]:
        """Say how each objective and each source stands, and what became of the rows that arrived."""

        def work(caller: Caller) -> dict[str, Any]:
            tables = {"objectives": "quality.slo_status", "sources": "quality.shop_status"}
            tables["rows"] = "quality.row_reconciliation"
            data = {name: doors.table(caller, table, limit=MOST_ROWS).rows() for name, table in tables.items()}
            return {"data": plain(data), "meta": doors.meta(caller)}

        return await done(context, "get_quality", {}, work)

    @server.tool(title="The data contract", annotations=reading)
    async def get_contract(context: Context[Any], table: Text) -> dict[str, Any]:
        """Say what a published table promises: its columns, keys and rules. Give it as schema.table."""

        def work(caller: Caller) -> dict[str, Any]:
            found = {}
            for document in doors.contract().values():
                for each in document.get("schema", []):
                    found[f"{document['servers'][0]['schema']}.{each['name']}"] = each
            if table not in found:
                raise ToolError(f"there is no table {table}; there are {', '.join(sorted(found))}")
            return {"data": plain(found[table]), "meta": doors.meta(caller, {table})}

        return await done(context, "get_contract", {"table": table}, work)

    return server


class AgentsOverHttp:
    """The server at an address, asked with a token. Each request is on its own: there is no session to take over.

    Args:
        server: with its tools.
        caller: finds the caller of a request, or raises.
        refused: makes the answer to a request without one.
        hosts: names by which the service may be asked.
    """

    def __init__(
        self,
        server: MCPServer[Any],
        caller: Callable[[Request], Caller],
        refused: Callable[[Exception], Any],
        hosts: Sequence[str],
    ) -> None:
        self.server = server
        self.caller = caller
        self.refused = refused
        names = [name for host in hosts for name in (host, f"{host}:*")]
        self.app = server.streamable_http_app(
            streamable_http_path="/",
            json_response=True,
            stateless_http=True,
            max_request_body_size=64 * 1024,
            transport_security=TransportSecuritySettings(
                allowed_hosts=names, allowed_origins=[f"http://{name}" for name in names]
            ),
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        """Run while the service does."""
        return self.server.session_manager.run()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request."""
        request = Request(scope)
        try:
            caller = await anyio.to_thread.run_sync(self.caller, request)
        except (DoorError, NoAccessError, TooOftenError) as error:
            await self.refused(error)(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        scope["state"] |= {"door": "mcp", "path": "/mcp"}
        # The app inside has one address.
        await self.app(scope | {"path": "/", "raw_path": b"/", "root_path": ""}, receive, send)


def _rows(answer: Answer, limit: int) -> dict[str, Any]:
    rows = answer.rows()
    return {"data": plain(rows[:limit]), "more_rows": len(rows) > limit, "meta": plain(answer.meta)}


def _short(meta: dict[str, Any]) -> dict[str, Any]:
    """What stands behind a list of names."""
    return {name: meta[name] for name in ("publication", "published_at", "as_of", "role")}


def _reason(error: Exception) -> str:
    if isinstance(error, DoorError) and error.slug == "not-published":
        return "nothing is published that can be opened"
    return str(error)

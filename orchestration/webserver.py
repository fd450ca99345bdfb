"""Dagster's webserver, only for requests that name it by a name of its own.

Without that, any page that a person has open could read and start runs: by a name of its own that it points at this
machine (DNS rebinding), or by a web socket, which browsers open to any address.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from dagster_webserver import app, cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from orchestration.watch import look
from warehouse.settings import Settings

# A browser on this machine asks for it by these.
OF_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class OnlyOwnNames:
    """Refuses what is asked of another host, or by a page of another host.

    Args:
        app: what answers everything else.
        names: the hosts, without their ports.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], names: frozenset[str]) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on.

        Args:
            scope: the request, as ASGI has it.
            receive: gives its content.
            send: takes the answer.
        """
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = _name(headers.get(b"host", ""))
        page = headers.get(b"origin")
        if host in self.names and (page is None or _name(urlsplit(page).netloc) in self.names):
            await self.app(scope, receive, send)
            return
        refused = (
            f"This is not {host or 'a server without a name'}: set NEXT_AISLE_UI_HOSTS to the names that the UI has."
            if host not in self.names
            else "A page of another site asked for this."
        )
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse(f"{refused}\n", status_code=403)(scope, receive, send)


def _name(host: str) -> str:
    return re.sub(r":\d*$", "", host).lower()


class Webserver(DagsterWebserver[Any, Any]):
    """Dagster's webserver, which answers to its own names only, and has figures for Prometheus."""

    def build_routes(self) -> list[Any]:
        """Add `/metrics`."""
        return [Route("/metrics", self.metrics), *super().build_routes()]  # type: ignore[no-untyped-call]

    def metrics(self, _request: Request) -> Response:
        """Tell Prometheus how things stand.

        Returns:
            The figures in Prometheus's text format; 404 where its client is not installed.
        """
        try:
            from orchestration.figures import CONTENT_TYPE, as_figures
        except ImportError:
            return PlainTextResponse("install next-aisle[production]\n", status_code=404)
        state = look(Settings(), self._process_context.instance)
        return Response(as_figures(state), media_type=CONTENT_TYPE)

    def build_middleware(self) -> list[Middleware]:
        """Add the check of names, first of all."""
        names = frozenset(OF_THIS_MACHINE) | frozenset(Settings().ui_names)
        return [Middleware(OnlyOwnNames, names=names), *super().build_middleware()]


if __name__ == "__main__":
    # Dagster's command makes its webserver of this class.
    vars(app)["DagsterWebserver"] = Webserver
    cli.cli(auto_envvar_prefix="DAGSTER_WEBSERVER")

"""The service: one process that answers at all doors that are asked over HTTP. REST is here, under /v1."""

import asyncio
import contextlib
import ctypes
import hashlib
import hmac
import json
import logging
import re
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any
from urllib.parse import parse_qs, quote

import pyarrow as pa
import uvicorn
from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from delivery import conditions, formats
from delivery.access import Access, Audit, NoAccessError, Rate, TooOftenError
from delivery.accounts import Accounts, AccountsError, from_settings
from delivery.agents import AgentsOverHttp, make_server
from delivery.doors import (
    LONGEST_PAGE,
    MOST_ROWS,
    MOST_VALUES,
    PAGE,
    Answer,
    Caller,
    Doors,
    as_json,
    explain,
    plain,
    with_reasons,
)
from delivery.errors import DoorError
from delivery.formats import MEDIA_TYPES, TYPES_OF, TooManyRowsError
from delivery.metrics import Dimension, Question
from delivery.pages import AMONG_BEST, CATEGORIES_TO_OFFER, MENU, STYLE, Pages, categories_in
from delivery.policy import Policy
from delivery.tokens import TokenError, Tokens
from warehouse.settings import Settings

# Of glibc's mallopt, malloc.h.
_M_ARENA_MAX = -8
_M_TRIM_THRESHOLD = -1

COOKIE = "next_aisle_session"
LOGIN_COOKIE = "next_aisle_login"
PROBLEM = "application/problem+json"
MOST_BODY = 64 * 1024
MOST_URL = 8 * 1024
# How long a caller may send or take nothing.
SLOWEST_SECONDS = 30

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
}

log = logging.getLogger("delivery")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Options:
    """How the service runs.

    Attributes:
        host: the address to listen on.
        port: the port.
        hosts: names by which it may be asked, more than the address and those of this machine.
        per_second: requests per second of one token.
        burst: requests of one token at once.
        threads: how many threads a query may use.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    hosts: tuple[str, ...] = ()
    per_second: float = 50
    burst: float = 200
    threads: int = 2


class ServiceError(Exception):
    """The service cannot start; the message says why."""


@dataclass
class Service:
    """What the routes share.

    Attributes:
        doors: what can be asked.
        access: who may come in.
        audit: the record of who asked what.
        version: of what is published, the policy and this code's answers; part of each ETag.
    """

    doors: Doors
    access: Access
    audit: Audit
    version: str
    started: float = field(default_factory=time.monotonic)


class Asked(BaseModel):
    """A question for metrics."""

    model_config = ConfigDict(extra="forbid")

    metrics: Annotated[list[str], Field(min_length=1, max_length=20)]
    group_by: Annotated[list[str], Field(max_length=10)] = []
    where: Annotated[list[str], Field(max_length=20)] = []
    order_by: Annotated[list[str], Field(max_length=10)] = []
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] | None = None

    def question(self) -> Question:
        """The same for the semantic layer."""
        return Question(tuple(self.metrics), tuple(self.group_by), tuple(self.where), tuple(self.order_by), self.limit)


def problem(
    status: int, slug: str, title: str, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """Make an error as RFC 9457 has it.

    Args:
        status: of HTTP.
        slug: which kind of problem, in a word.
        title: the kind of problem for people.
        detail: this one, for the person who asked.
        headers: more of them.
        more: members of the problem, such as `alternatives`.
    """
    body = {"type": f"urn:next-aisle:{slug}", "title": title, "status": status, "detail": detail} | more
    return JSONResponse(body, status, {"Cache-Control": "no-store"} | (headers or {}), PROBLEM)


class Guard:
    """Goes around every request: limits, headers, the audit log, and no traceback for the caller.

    Args:
        app: what is inside.
        audit: the record of who asked what.
    """

    def __init__(self, app: Any, audit: Audit) -> None:
        self.app = app
        self.audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = secrets.token_hex(8)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        sent = {"status": 0, "bytes": 0}
        received = 0
        is_whole = False

        async def limited() -> MutableMapping[str, Any]:
            nonlocal received, is_whole
            # Once the request is there, what is waited for is that the caller goes.
            async with asyncio.timeout(None if is_whole else SLOWEST_SECONDS):
                message = await receive()
            is_whole = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > MOST_BODY:
                raise _TooLargeError
            return message

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                sent["status"] = message["status"]
                given = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.lower().encode() not in given
                    ),
                    (b"x-request-id", request_id.encode()),
                ]
            elif message["type"] == "http.response.body":
                sent["bytes"] += len(message.get("body", b""))
            # A caller who takes nothing would keep a publication open.
            async with asyncio.timeout(SLOWEST_SECONDS):
                await send(message)

        try:
            length = dict(scope["headers"]).get(b"content-length", b"0")
            if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_URL:
                answer = problem(414, "address-too-long", "The address is too long", f"at most {MOST_URL:,} letters.")
                await answer(scope, receive, counted)
            elif not length.isdigit() or int(length) > MOST_BODY:
                raise _TooLargeError
            else:
                await self.app(scope, limited, counted)
        except _TooLargeError:
            if not sent["status"]:
                await _too_large()(scope, receive, counted)
        except TimeoutError:
            log.warning("request %s: the caller was too slow", request_id)
            if sent["status"]:
                raise
            await _too_slow()(scope, receive, counted)
        except Exception:
            log.exception("request %s failed", request_id)
            if sent["status"]:
                # Half of an answer must not look like a whole one.
                raise
            answer = problem(
                500, "internal", "Something went wrong here", "The service's log has the reason.", request=request_id
            )
            await answer(scope, receive, counted)
        finally:
            caller: Caller | None = state.get("caller")
            if caller or sent["status"] in (401, 403, 429):
                route = scope.get("route")
                self.audit.record(
                    request=request_id,
                    door=state.get("door", "rest"),
                    method=scope["method"],
                    # The pattern of the address: the address itself may name a customer.
                    path=state.get("path") or getattr(route, "path", "") or "?",
                    token=caller.token if caller else None,
                    name=caller.name if caller else None,
                    role=caller.role if caller else None,
                    purpose=caller.purpose if caller else None,
                    asked=state.get("asked"),
                    publication=state.get("publication"),
                    status=sent["status"],
                    bytes=sent["bytes"],
                    milliseconds=round(1000 * (time.perf_counter() - started), 1),
                )


class KnownHosts:
    """Refuses to be asked by a name that is not its own, which a page of another site could do.

    Args:
        app: what is inside.
        hosts: its names.
    """

    def __init__(self, app: Any, hosts: list[str]) -> None:
        self.app = app
        self._checked = TrustedHostMiddleware(self._known, hosts, www_redirect=False)

    async def _known(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["host_is_known"] = True
        await self.app(scope, receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def unless_refused(message: MutableMapping[str, Any]) -> None:
            if "host_is_known" in state:
                await send(message)

        await self._checked(scope, receive, unless_refused)
        if "host_is_known" not in state:
            detail = "the service has no such name; the one who runs it can add it: serve --name NAME"
            await problem(400, "unknown-host", "The service is not asked by this name", detail)(scope, receive, send)


class _TooLargeError(Exception):
    """The body is larger than allowed."""


def _too_large() -> JSONResponse:
    return problem(413, "too-large", "The request is too large", f"at most {MOST_BODY:,} bytes.")


def _too_slow() -> JSONResponse:
    return problem(408, "too-slow", "The request took too long", f"nothing came for {SLOWEST_SECONDS} s.")


_bearer = HTTPBearer(auto_error=False, description="A token: python -m delivery token create")


# Not in a thread: it takes less time than to get one.
async def _caller(request: Request, _: Annotated[Any, Depends(_bearer)]) -> Caller:
    access: Access = request.app.state.service.access
    # A cookie is sent by browsers unasked: with it one reads, and changes nothing.
    caller = caller_of(access, request, with_cookie=request.method in ("GET", "HEAD"))
    request.state.caller = caller
    return caller


def caller_of(access: Access, request: Request, *, with_cookie: bool) -> Caller:
    """Find the caller of a request.

    Args:
        access: who may come in.
        request: the request.
        with_cookie: whether a session of the pages counts.

    Raises:
        NoAccessError: there is no valid token.
        TooOftenError: it is one request too many.
        RefusedError: the role has no such purpose.
    """
    return access.caller(
        request.headers.get("authorization"),
        request.cookies.get(COOKIE) if with_cookie else None,
        request.headers.get("x-purpose"),
        request.client.host if request.client else "",
    )


Known = Annotated[Caller, Depends(_caller)]
Wanted = Annotated[
    str | None,
    Query(
        alias="format",
        description="json, csv, parquet, arrow or xlsx; in place of the header Accept",
        pattern="^(json|csv|parquet|arrow|xlsx)$",
    ),
]


def format_of(request: Request, wanted: str | None) -> formats.Format:
    """Choose the format of an answer.

    Args:
        request: with its header Accept.
        wanted: what `?format=` says.

    Raises:
        HTTPException: 406, none that is accepted can be given.
    """
    if wanted:
        return MEDIA_TYPES[TYPES_OF[wanted]]  # type: ignore[index]
    accepted: list[tuple[float, int, str]] = []
    for position, part in enumerate((request.headers.get("accept") or "*/*").split(",")):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if found := re.fullmatch(r"q=([01](?:\.\d{0,3})?)", parameter):
                weight = float(found[1])
        accepted.append((-weight, position, media))
    for weight, _, media in sorted(accepted):
        if not weight:
            continue
        if media in MEDIA_TYPES:
            return MEDIA_TYPES[media]
        # Browsers ask for pages, and take JSON as well.
        if media in ("*/*", "application/*"):
            return "json"
        if media == "text/*":
            return "csv"
    raise HTTPException(406, f"this can be given as {', '.join(MEDIA_TYPES)}")


def etag_of(service: Service, caller: Caller, publication: str, request: Request, style: str) -> str:
    """Name an answer: the same name, the same bytes.

    Args:
        service: with its version.
        caller: who asks; answers of two roles never have the same name.
        publication: that it is of.
        request: what is asked.
        style: its format.
    """
    asked = [service.version, publication, caller.role, caller.purpose, style, request.method, request.url.path]
    asked.append(sorted(request.query_params.multi_items()))  # type: ignore[arg-type]
    return f'"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]}"'


def _unchanged(request: Request, etag: str) -> bool:
    given = request.headers.get("if-none-match", "")
    return request.method in ("GET", "HEAD") and etag in [part.strip().removeprefix("W/") for part in given.split(",")]


def _headers(etag: str | None, meta: dict[str, Any]) -> dict[str, str]:
    return {
        "Cache-Control": "private, no-cache" if etag else "no-store",
        "Vary": "Accept, Authorization, Cookie, X-Purpose",
        "X-Publication": meta["publication"],
    } | ({"ETag": etag} if etag else {})


def _json(request: Request, caller: Caller, content: dict[str, Any], meta: dict[str, Any]) -> Response:
    """An answer that is no list of rows."""
    service: Service = request.app.state.service
    request.state.publication = meta["publication"]
    etag = etag_of(service, caller, meta["publication"], request, "json")
    if _unchanged(request, etag):
        return Response(status_code=304, headers=_headers(etag, meta))
    return Response(as_json(content | {"meta": meta}), 200, _headers(etag, meta), "application/json")


def _given(
    request: Request,
    caller: Caller,
    answer: Answer,
    wanted: str | None,
    name: str,
    rows: Callable[[], list[dict[str, Any]]] | None = None,
) -> Response:
    """An answer that is rows, in the format that is asked for.

    Args:
        request: the request.
        caller: who asks.
        answer: the rows and their meta.
        wanted: what `?format=` says.
        name: of the file, without its ending.
        rows: gives the rows where they are not those of the query alone.
    """
    service: Service = request.app.state.service
    closing = contextlib.ExitStack()
    closing.callback(answer.close)
    try:
        style = format_of(request, wanted)
        publication = answer.meta["publication"]
        request.state.publication = publication
        # What is asked by POST has its question in the body, and no name.
        etag = etag_of(service, caller, publication, request, style) if request.method != "POST" else None
        if etag and _unchanged(request, etag):
            closing.close()
            return Response(status_code=304, headers=_headers(etag, answer.meta))
        headers = _headers(etag, answer.meta)
        if style == "json" or rows:
            # From here on the rows give the publication back.
            closing.pop_all()
            found = rows() if rows else answer.rows()
            if answer.next_cursor:
                link = request.url.include_query_params(cursor=answer.next_cursor)
                headers["Link"] = f'<{link.path}?{link.query}>; rel="next"'
            if style == "json":
                content: dict[str, Any] = {"data": found, "meta": answer.meta}
                if answer.page:
                    content["next"] = answer.next_cursor
                return Response(as_json(content), 200, headers, "application/json")
            stream = _streamed(style, pa.Table.from_pylist(_flat(plain(found))), answer.meta)
        else:
            closing.pop_all()
            stream = _read(style, answer)
        # The query runs before the headers are sent, so that its errors still can be.
        first = next(stream, b"")
    except BaseException:
        closing.close()
        raise
    headers["X-Next-Aisle-Meta"] = json.dumps(plain(answer.meta))[:16_000]
    ending = {"arrow": "arrows"}.get(style, style)
    headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name)}.{ending}"
    media = TYPES_OF[style] + ("; charset=utf-8; header=present" if style == "csv" else "")
    return StreamingResponse(_all(first, stream), 200, headers, media)


def _all(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _read(style: str, answer: Answer) -> Iterator[bytes]:
    with answer.batches() as reader:
        schema = pa.schema([reader.schema.field(position) for position in range(len(answer.columns))])
        batches = formats.chosen_columns(iter(reader), answer.columns)
        yield from formats.WRITERS[style](schema, batches, plain(answer.meta))


def _streamed(style: str, table: pa.Table, meta: dict[str, Any]) -> Iterator[bytes]:
    yield from formats.WRITERS[style](table.schema, iter(table.to_batches()), plain(meta))


def _flat(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reasons as one text, for files that have no lists."""
    return [
        {
            name: ", ".join(str(reason.get("owned_category_label")) for reason in value) if name == "reasons" else value
            for name, value in row.items()
        }
        for row in rows
    ]


def _dimension(dimension: Dimension) -> dict[str, Any]:
    fields = asdict(dimension)
    if dimension.kind == "time":
        fields["grains"] = [f"{dimension.name}__{grain}" for grain in ("day", "week", "month", "quarter", "year")]
    return fields


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


_EXAMPLE_META = {
    "publication": "20261122T052222Z-c0da0880",
    "published_at": "2026-11-22T05:22:22+00:00",
    "as_of": "2026-11-21",
    "sources": [
        {
            "source": "complete_journey",
            "status": "current",
            "newest_purchase": "2026-11-21T23:57:06",
            "newest_delivery": "2026-11-22T05:21:23",
            "held_since": None,
            "reason": None,
        }
    ],
    "objectives": [{"objective": "sums_are_reconciled", "status": "met"}],
    "role": "viewer",
    "purpose": "reporting",
    "masks": {},
    "row_rules": [],
    "minimum_group": 10,
    "groups_left_out": 0,
}
_EXAMPLE_ROW = {"customer__rfm_segment": "loyal", "total_spending": 1234567.89}


def _answers(example: Any, *, files: bool = True) -> dict[int | str, dict[str, Any]]:
    """What a route can answer, for OpenAPI."""
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}, "example": example}}
    if files:
        content |= {
            media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA_TYPES if "json" not in media
        }
    answers: dict[int | str, dict[str, Any]] = {200: {"description": "What was asked for.", "content": content}}
    answers[304] = {"description": "What you have is still what is published (If-None-Match)."}
    for status, text in {
        400: "The request cannot be read.",
        401: "There is no valid token.",
        403: "Your role may not see this.",
        404: "There is no such thing; `alternatives` has names that are like it.",
        406: "It cannot be given in a format that is accepted.",
        410: "The publication that a cursor names is no longer there.",
        413: "The request is too large.",
        414: "The address is too long.",
        422: "The question cannot be understood.",
        429: "Too many requests.",
        503: "Nothing is published yet, or the answer takes too long.",
    }.items():
        answers[status] = {
            "description": text,
            "content": {
                PROBLEM: {
                    "schema": {"type": "object", "required": ["type", "title", "status", "detail"]},
                    "example": {
                        "type": "urn:next-aisle:not-found",
                        "title": "There is no such thing",
                        "status": 404,
                        "detail": "there is no metric total_spendin; did you mean total_spending?",
                        "alternatives": ["total_spending"],
                    },
                }
            },
        }
    return answers


def _asked(request: Request, **names: Any) -> None:
    """Note what is asked for the audit log: names, no values."""
    request.state.asked = {name: value for name, value in names.items() if value}


_Text = Annotated[str, Path(min_length=1, max_length=300)]


def _routes(app: FastAPI) -> None:
    rest = {"tags": ["REST"]}

    @app.get("/v1/metrics", summary="List the metrics", responses=_answers({"data": []}, files=False), **rest)  # type: ignore[arg-type]
    def metrics(request: Request, caller: Known) -> Response:
        """The metrics of your role."""
        doors = request.app.state.service.doors
        return _json(request, caller, {"data": [asdict(each) for each in doors.metrics(caller)]}, doors.meta(caller))

    @app.get(
        "/v1/dimensions",
        summary="List what metrics can be asked by",
        responses=_answers({"data": []}, files=False),
        **rest,  # type: ignore[arg-type]
    )
    def dimensions(
        request: Request,
        caller: Known,
        metrics: Annotated[
            str, Query(description="metrics, with commas", examples=["total_spending"], max_length=1000)
        ],
    ) -> Response:
        """What all these metrics together can be asked by."""
        doors = request.app.state.service.doors
        _asked(request, metrics=_names(metrics))
        found = doors.dimensions(caller, _names(metrics))
        return _json(request, caller, {"data": [_dimension(each) for each in found]}, doors.meta(caller))

    @app.get(
        "/v1/dimensions/{name}/values",
        summary="List the values of a dimension",
        responses=_answers({"data": [{"customer__rfm_segment": "loyal"}], "meta": _EXAMPLE_META}),
        **rest,  # type: ignore[arg-type]
    )
    def dimension_values(
        request: Request,
        caller: Known,
        name: Annotated[_Text, Path(examples=["customer__rfm_segment"])],
        search: Annotated[str | None, Query(max_length=100, description="only values with this text")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_VALUES)] = 100,
        wanted: Wanted = None,
    ) -> Response:
        """The most frequent first. Those of fewer customers than your role's minimum group are left out."""
        _asked(request, dimension=name)
        answer = request.app.state.service.doors.dimension_values(caller, name, search, limit)
        return _given(request, caller, answer, wanted, name)

    def ask(request: Request, caller: Caller, question: Question, wanted: str | None, name: str) -> Response:
        _asked(
            request,
            metrics=question.metrics,
            group_by=question.group_by,
            where=[conditions.names(text) for text in question.where],
            order_by=question.order_by,
        )
        answer = request.app.state.service.doors.query(caller, question)
        return _given(request, caller, answer, wanted, name)

    of_query = _answers({"data": [_EXAMPLE_ROW], "meta": _EXAMPLE_META})

    @app.get("/v1/query", summary="Ask for metrics", responses=of_query, **rest)  # type: ignore[arg-type]
    def query(
        request: Request,
        caller: Known,
        metrics: Annotated[
            str, Query(description="metrics, with commas", examples=["total_spending"], max_length=1000)
        ],
        group_by: Annotated[
            str,
            Query(
                description="dimensions, with commas; those of time with a grain",
                examples=["customer__rfm_segment,metric_time__month"],
                max_length=1000,
            ),
        ] = "",
        where: Annotated[
            list[str] | None,
            Query(
                description="a condition on dimensions; may be given several times",
                examples=[["customer__rfm_segment in ('loyal', 'new')"]],
                max_length=20,
            ),
        ] = None,
        order_by: Annotated[
            str, Query(description="metrics or dimensions of the question, - for the highest first", max_length=1000)
        ] = "",
        limit: Annotated[int | None, Query(ge=1, le=MOST_ROWS)] = None,
        wanted: Wanted = None,
    ) -> Response:
        """Groups of fewer customers than your role's minimum are left out, and counted in meta."""
        question = Question(
            tuple(_names(metrics)), tuple(_names(group_by)), tuple(where or ()), tuple(_names(order_by)), limit
        )
        return ask(request, caller, question, wanted, "query")

    @app.post("/v1/query", summary="Ask for metrics, in a body", responses=of_query, **rest)  # type: ignore[arg-type]
    def query_by_post(request: Request, caller: Known, asked: Asked, wanted: Wanted = None) -> Response:
        """The same as GET, for questions that are long."""
        return ask(request, caller, asked.question(), wanted, "query")

    @app.get(
        "/v1/saved-queries",
        summary="List the saved queries",
        responses=_answers({"data": []}, files=False),
        **rest,  # type: ignore[arg-type]
    )
    def saved_queries(request: Request, caller: Known) -> Response:
        """Questions that somebody thought of already."""
        doors = request.app.state.service.doors
        found = []
        for name, saved in doors.layer.saved_queries.items():
            question = asdict(doors.layer.saved(name))
            found.append(
                {"name": name, "label": saved.get("label"), "description": saved.get("description")} | question
            )
        return _json(request, caller, {"data": found}, doors.meta(caller))

    @app.get(
        "/v1/saved-queries/{name}",
        summary="Ask a saved query",
        responses=of_query,
        **rest,  # type: ignore[arg-type]
    )
    def saved_query(
        request: Request,
        caller: Known,
        name: Annotated[_Text, Path(examples=["spending_by_month"])],
        wanted: Wanted = None,
    ) -> Response:
        """The rows of a saved query, as your role sees them."""
        question = request.app.state.service.doors.layer.saved(name)
        return ask(request, caller, question, wanted, name)

    offers = _answers(
        {
            "data": [{"rank": 1, "category_label": "Soft drinks", "likelihood": 0.115, "reasons": []}],
            "meta": _EXAMPLE_META,
        }
    )

    @app.get(
        "/v1/customers/{customer:path}/opportunities",
        summary="What to offer a customer next",
        responses=offers,
        **rest,  # type: ignore[arg-type]
    )
    async def opportunities(
        request: Request,
        caller: Known,
        customer: Annotated[_Text, Path(description="customer_key as your role sees it", examples=["shop:1"])],
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        wanted: Wanted = None,
    ) -> Response:
        """The best first, each with its reasons."""
        doors: Doors = request.app.state.service.doors
        style = format_of(request, wanted)

        def made() -> Response:
            answer = doors.opportunities(caller, customer, limit)

            def rows() -> list[dict[str, Any]]:
                return [row | {"explanation": explain(row)} for row in with_reasons(answer)]

            return _given(request, caller, answer, wanted, "opportunities", rows)

        # From memory it is made sooner than a thread is found for it.
        return made() if style == "json" and doors.has_in_memory(caller) else await run_in_threadpool(made)

    @app.get(
        "/v1/categories/{category:path}/customers",
        summary="Who is likely to begin to buy in a category",
        responses=offers,
        **rest,  # type: ignore[arg-type]
    )
    def category_customers(
        request: Request,
        caller: Known,
        category: Annotated[_Text, Path(description="key, name or label of the category", examples=["Soft drinks"])],
        limit: Annotated[int | None, Query(ge=1, le=LONGEST_PAGE, description="files have all without it")] = None,
        minimum_likelihood: Annotated[float, Query(ge=0, le=1)] = 0,
        best: Annotated[
            int | None,
            Query(ge=1, le=1_000, description="among this many of the customer's best"),
        ] = None,
        wanted: Wanted = None,
    ) -> Response:
        """The most likely first, with the categories that speak for it."""
        rows = limit or (100 if format_of(request, wanted) == "json" else None)
        doors = request.app.state.service.doors
        answer = doors.customers_of(caller, category, rows, minimum_likelihood, best)
        return _given(request, caller, answer, wanted, "customers")

    @app.get(
        "/v1/affinity",
        summary="Which categories go together",
        responses=_answers({"data": [{"category_label": "Pasta", "other_category_label": "Sauces", "lift": 3.2}]}),
        **rest,  # type: ignore[arg-type]
    )
    def affinity(
        request: Request,
        caller: Known,
        category: Annotated[str | None, Query(max_length=300, description="key, name or label")] = None,
        limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 100,
        wanted: Wanted = None,
    ) -> Response:
        """The strongest first."""
        answer = request.app.state.service.doors.affinity(caller, category, limit)
        return _given(request, caller, answer, wanted, "affinity")

    @app.get("/v1/tables", summary="List the tables", responses=_answers({"data": []}, files=False), **rest)  # type: ignore[arg-type]
    def tables(request: Request, caller: Known) -> Response:
        """The tables whose rows your role may read, and what it sees of each column."""
        doors = request.app.state.service.doors
        return _json(request, caller, {"data": doors.tables(caller)}, doors.meta(caller))

    @app.get(
        "/v1/tables/{table}",
        summary="Read a table, page by page",
        responses=_answers({"data": [{"category_label": "Soft drinks"}], "meta": _EXAMPLE_META, "next": None}),
        **rest,  # type: ignore[arg-type]
    )
    def table_rows(
        request: Request,
        caller: Known,
        table: Annotated[_Text, Path(examples=["core.dim_categories"])],
        columns: Annotated[str, Query(max_length=2000, description="columns, with commas; all without it")] = "",
        where: Annotated[
            list[str] | None,
            Query(description="a condition on columns", examples=[["total_spending >= 100"]], max_length=20),
        ] = None,
        order: Annotated[str, Query(max_length=1000, description="columns, - for the highest first")] = "",
        search: Annotated[str | None, Query(max_length=100, description="only rows with this text")] = None,
        distinct: Annotated[bool, Query(description="each different row once")] = False,
        limit: Annotated[
            int | None, Query(ge=1, le=LONGEST_PAGE, description=f"rows of a page; {PAGE:,} of JSON, all of a file")
        ] = None,
        cursor: Annotated[str | None, Query(max_length=1000, description="`next` of the page before")] = None,
        wanted: Wanted = None,
    ) -> Response:
        """Pages stay on the publication that the first one was of, for ten minutes after a new one."""
        _asked(
            request,
            table=table,
            columns=_names(columns),
            where=[conditions.names(text) for text in where or ()],
            order=_names(order),
            search=bool(search),
        )
        is_json = format_of(request, wanted) == "json"
        answer = request.app.state.service.doors.table(
            caller,
            table,
            columns=_names(columns),
            where=where or (),
            order=_names(order),
            search=search,
            distinct=distinct,
            limit=limit or (PAGE if is_json or cursor else None),
            cursor=cursor,
        )
        return _given(request, caller, answer, wanted, table, answer.rows if answer.page and not is_json else None)

    @app.get(
        "/v1/quality",
        summary="How good the data is",
        responses=_answers({"data": {"objectives": []}}, files=False),
        **rest,  # type: ignore[arg-type]
    )
    def quality(request: Request, caller: Known) -> Response:
        """How each objective and each source stands, and what became of the rows that arrived."""
        doors = request.app.state.service.doors
        content: dict[str, Any] = {}
        for name, table in (
            ("objectives", "quality.slo_status"),
            ("sources", "quality.shop_status"),
            ("rows", "quality.row_reconciliation"),
        ):
            content[name] = doors.table(caller, table, limit=1_000).rows()
        return _json(request, caller, {"data": content}, doors.meta(caller))

    @app.get(
        "/v1/contract",
        summary="The data contract",
        responses=_answers({"data": {}}, files=False),
        **rest,  # type: ignore[arg-type]
    )
    def contract(request: Request, caller: Known) -> Response:
        """What the tables look like and what holds for them, as it was published (ODCS and ODPS)."""
        doors = request.app.state.service.doors
        return _json(request, caller, {"data": doors.contract()}, doors.meta(caller))

    @app.get("/v1/whoami", summary="Who you are here", responses=_answers({"data": {}}, files=False), **rest)  # type: ignore[arg-type]
    def whoami(request: Request, caller: Known) -> Response:
        """Your role, what it may ask for, and what the policy does to what it sees."""
        doors = request.app.state.service.doors
        role = doors.role(caller)
        return _json(
            request,
            caller,
            {"data": {"name": caller.name, "role": caller.role} | role.model_dump()},
            doors.meta(caller),
        )

    @app.get("/v1/health", summary="Is the service up", tags=["operations"])
    def health() -> Response:
        """Always 200 while the process answers. Needs no token."""
        return JSONResponse({"status": "up"}, headers={"Cache-Control": "no-store"})

    @app.get(
        "/v1/ready",
        summary="Can it answer",
        tags=["operations"],
        responses={503: {"description": "Nothing can be answered yet.", "content": {PROBLEM: {}}}},
    )
    def ready(request: Request) -> Response:
        """200 when a publication is open. Needs no token."""
        doors: Doors = request.app.state.service.doors
        with doors.snapshots.lease() as snapshot:
            body = {"status": "ready", "publication": snapshot.id, "problem": bool(doors.snapshots.problem)}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})


def refusal(error: Exception) -> JSONResponse:
    """Make the answer to a question that is not answered.

    Args:
        error: a DoorError, NoAccessError or TooOftenError.
    """
    if isinstance(error, NoAccessError):
        return problem(401, "no-access", "You need a token", str(error), {"WWW-Authenticate": "Bearer"})
    if isinstance(error, TooOftenError):
        return problem(429, "too-often", "Too many requests", str(error), {"Retry-After": f"{error.seconds:.0f}"})
    assert isinstance(error, DoorError)
    detail = str(error)
    if error.__cause__ is not None and error.status >= 500:
        log.warning("%s", error.__cause__)
    if error.slug == "not-published":
        # Where the file is, is for its operator alone.
        log.warning("%s", detail)
        detail = "nothing is published that can be opened: make run. The service's log says more."
    more = {"alternatives": error.alternatives} if error.alternatives else {}
    headers = {"Retry-After": "30"} if error.status == 503 else None
    return problem(error.status, error.slug, error.title, detail, headers, **more)


_PAGES = [name for name, _ in MENU if name != "tonight"]


def _page_routes(app: FastAPI, pages: Pages, accounts: Accounts | None) -> None:
    """The pages for people. Their addresses are no part of the interface for programs."""

    def html(text: str, status: int = 200) -> HTMLResponse:
        return HTMLResponse(text, status, {"Cache-Control": "no-store"})

    def shown(request: Request, page: str, key: str | None = None) -> Response:
        service: Service = request.app.state.service
        request.state.door = "pages"
        cookie = request.cookies.get(COOKIE)
        session = service.access.session(cookie)
        if session is None:
            return RedirectResponse("/login", 303, {"Cache-Control": "no-store"})
        try:
            caller = service.access.caller(None, cookie, None, request.client.host if request.client else "")
            request.state.caller = caller
            request.state.asked = {"page": page}
            asked = {name: value[:100] for name, value in request.query_params.items() if name in _ASKED}
            return html(pages.make(page, caller, key, form=session.form, **asked))
        except (DoorError, NoAccessError, TooOftenError) as error:
            answer = refusal(error)
            said = json.loads(bytes(answer.body))
            return html(pages.plain("error", heading=said["title"], detail=said["detail"]), answer.status_code)

    def static() -> Response:
        return FileResponse(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    def login_page(wrong: str | None = None, status: int = 200) -> Response:
        return html(pages.plain("login", wrong=wrong, accounts=accounts is not None), status)

    def login() -> Response:
        return login_page()

    def is_secure(request: Request) -> bool:
        return request.headers.get("x-forwarded-proto", request.url.scheme) == "https"

    async def log_in_account(request: Request) -> Response:
        if accounts is None:
            raise HTTPException(404, "there is no login by account here")
        scheme = "https" if is_secure(request) else "http"
        try:
            answer, key = await accounts.begin(request, f"{scheme}://{request.url.netloc}/login/account/back")
        except NoAccessError as error:
            log.warning("%s", error.__cause__)
            return login_page(str(error).capitalize() + ".", 503)
        # The provider sends people back from another site.
        answer.set_cookie(
            LOGIN_COOKIE, key, max_age=600, httponly=True, samesite="lax", secure=is_secure(request), path="/login"
        )
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def account_is_back(request: Request) -> Response:
        if accounts is None:
            raise HTTPException(404, "there is no login by account here")
        service: Service = request.app.state.service
        try:
            account = await accounts.end(request, request.cookies.get(LOGIN_COOKIE))
        except NoAccessError as error:
            if error.__cause__:
                log.warning("%s: %s", error, error.__cause__)
            service.audit.record(door="pages", path="/login/account/back", status=401)
            answer = login_page(str(error).capitalize() + ".", 401)
        else:
            cookie = service.access.log_in_account(account.id, account.name, account.role)
            service.audit.record(
                door="pages", path="/login/account/back", token=account.id, name=account.name, role=account.role
            )
            # A browser that comes from another site sends no strict cookie along; from a page of this one it does.
            answer = html(pages.plain("welcome", name=account.name))
            answer.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=is_secure(request), path="/")
        answer.delete_cookie(LOGIN_COOKIE, path="/login")
        return answer

    async def log_in(request: Request) -> Response:
        # A form of another site may not log anybody in.
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return login_page("Please log in from this page.", 403)
        access: Access = request.app.state.service.access
        given = parse_qs((await request.body()).decode("utf-8", "replace")).get("token", [""])[0].strip()
        address = request.client.host if request.client else ""
        try:
            cookie = await run_in_threadpool(access.log_in, given, address)
        except NoAccessError as error:
            return login_page(str(error).capitalize() + ".", 401)
        except TooOftenError as error:
            return login_page(str(error).capitalize() + ".", 429)
        answer = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
        answer.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=is_secure(request), path="/")
        return answer

    async def log_out(request: Request) -> Response:
        access: Access = request.app.state.service.access
        cookie = request.cookies.get(COOKIE)
        session = access.session(cookie)
        given = parse_qs((await request.body()).decode("utf-8", "replace")).get("form", [""])[0]
        if session and not hmac.compare_digest(given.encode(), session.form.encode()):
            return html(pages.plain("error", heading="Not logged out", detail="Please use the button of a page."), 403)
        access.log_out(cookie)
        answer = RedirectResponse("/login", 303, {"Cache-Control": "no-store"})
        answer.delete_cookie(COOKIE, path="/")
        return answer

    async def chosen(request: Request) -> Response:
        service: Service = request.app.state.service
        request.state.door = "pages"
        session = service.access.session(request.cookies.get(COOKIE))
        if session is None:
            return RedirectResponse("/login", 303, {"Cache-Control": "no-store"})
        given = parse_qs((await request.body()).decode("utf-8", "replace"))
        if not hmac.compare_digest(given.get("form", [""])[0].encode(), session.form.encode()):
            return html(pages.plain("error", heading="Not done", detail="Please use the button of a page."), 403)
        what, _, style = given.get("as", [""])[0].partition(".")
        keys = given.get("category") or given.get("shown") or []
        if what not in ("categories", "customers") or style not in ("csv", "xlsx") or not keys:
            detail = "Choose categories, and one of the downloads."
            return html(pages.plain("error", heading="Nothing is chosen", detail=detail), 422)

        def made() -> Response:
            caller = caller_of(service.access, request, with_cookie=True)
            request.state.caller = caller
            request.state.asked = {"page": "opportunities", "download": what, "categories": len(keys)}
            if what == "customers":
                answer = service.doors.customers_of(caller, keys, None, best=AMONG_BEST)
                return _given(request, caller, answer, style, "customers")
            answer = service.doors.query(caller, CATEGORIES_TO_OFFER)
            wanted = set(keys)
            return _given(
                request,
                caller,
                answer,
                style,
                "categories",
                lambda: [row for row in categories_in(answer) if row["category_key"] in wanted],
            )

        try:
            return await run_in_threadpool(made)
        except (DoorError, NoAccessError, TooOftenError) as error:
            refused = refusal(error)
            said = json.loads(bytes(refused.body))
            return html(pages.plain("error", heading=said["title"], detail=said["detail"]), refused.status_code)

    def page_of(name: str) -> Callable[[Request], Response]:
        return lambda request: shown(request, name)

    hidden = {"include_in_schema": False}
    app.add_api_route("/static/style.css", static, response_class=Response, **hidden)  # type: ignore[arg-type]
    app.add_api_route("/login", login, response_class=Response, **hidden)  # type: ignore[arg-type]
    app.add_route("/login", log_in, methods=["POST"], **hidden)  # type: ignore[arg-type]
    app.add_route("/opportunities/chosen", chosen, methods=["POST"], **hidden)  # type: ignore[arg-type]
    app.add_route("/login/account", log_in_account, **hidden)  # type: ignore[arg-type]
    app.add_route("/login/account/back", account_is_back, **hidden)  # type: ignore[arg-type]
    app.add_route("/logout", log_out, methods=["POST"], **hidden)  # type: ignore[arg-type]
    app.add_route("/", page_of("tonight"), **hidden)  # type: ignore[arg-type]
    for name in _PAGES:
        app.add_route(f"/{name}", page_of(name), **hidden)  # type: ignore[arg-type]
    for name in ("category", "customer"):

        def about(request: Request, name: str = name) -> Response:
            return shown(request, name, request.path_params["key"])

        app.add_route(f"/{name}/{{key:path}}", about, **hidden)  # type: ignore[arg-type]


# What the forms of the pages ask.
_ASKED = ("search", "sort", "minimum", "best")


def _errors(app: FastAPI) -> None:
    def refused(_: Request, error: Exception) -> Response:
        return refusal(error)

    for kind in (DoorError, NoAccessError, TooOftenError):
        app.add_exception_handler(kind, refused)

    @app.exception_handler(TooManyRowsError)
    def too_many_rows(_: Request, error: TooManyRowsError) -> Response:
        return problem(422, "too-many-rows", "There are more rows than the file can have", str(error))

    @app.exception_handler(TokenError)
    def without_tokens(_: Request, error: TokenError) -> Response:
        log.error("%s", error)
        return problem(503, "no-tokens", "No token can be checked", "The service's log has the reason.")

    @app.exception_handler(RequestValidationError)
    def not_valid(_: Request, error: RequestValidationError) -> Response:
        wrong = [
            {"where": ".".join(str(part) for part in each["loc"]), "why": each["msg"]} for each in error.errors()[:20]
        ]
        detail = "; ".join(f"{each['where']}: {each['why']}" for each in wrong)
        return problem(
            422, "invalid-request", "The request cannot be understood", detail, errors=jsonable_encoder(wrong)
        )

    @app.exception_handler(HTTPException)
    def of_http(_: Request, error: HTTPException) -> Response:
        # What Guard raises while a body is read, FastAPI makes an error of its own of.
        if isinstance(error.__cause__, TimeoutError):
            return _too_slow()
        if isinstance(error.__cause__, _TooLargeError):
            return _too_large()
        slug = {404: "not-found", 405: "method-not-allowed", 406: "not-acceptable"}.get(error.status_code, "http")
        title = {404: "There is no such page", 405: "This cannot be done here"}.get(error.status_code, "Not possible")
        return problem(error.status_code, slug, title, str(error.detail), dict(error.headers or {}))


def make_app(settings: Settings, policy: Policy, options: Options | None = None) -> FastAPI:
    """Make the application, with everything but its port.

    Args:
        settings: where data lives.
        policy: who may see what.
        options: how it runs.
    """
    options = options or Options()
    doors = Doors(settings, policy, options.threads, log.info)
    access = Access(Tokens(settings.paths.tokens), policy, Rate(options.per_second, options.burst))
    accounts = from_settings(settings, policy)
    audit = Audit(settings.paths.audit_log)
    version = hashlib.sha256(policy.model_dump_json().encode()).hexdigest()[:12]
    service = Service(doors, access, audit, version)

    hosts = sorted(
        {"127.0.0.1", "localhost", "[::1]", "testserver", options.host, socket.gethostname(), *options.hosts}
    )
    agents = AgentsOverHttp(
        make_server(doors, audit), lambda request: caller_of(access, request, with_cookie=False), refusal, hosts
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Opened before the first request, where something is published.
        with contextlib.suppress(DoorError):
            doors.snapshots.give_back(doors.snapshots.take())
        threading.Thread(target=doors.layer.warm, daemon=True).start()
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(agents.running())
            yield
        doors.snapshots.close()
        audit.close()

    app = FastAPI(
        title="Next Aisle",
        summary="What to offer which customer next, and how the business does: one number, with how good it is.",
        description="Every answer says in `meta` which publication it is of, how fresh each source is, which quality "
        "objectives stand behind it, and what the policy did for your role. Errors are problems as in RFC 9457.",
        version=str(doors.manifest["metadata"].get("project_version") or "1"),
        openapi_url="/v1/openapi.json",
        # Both load their code from elsewhere.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    _errors(app)
    _routes(app)
    _page_routes(app, Pages(doors), accounts)
    # Clients do not follow a redirect with what they post.
    for path in ("/mcp", "/mcp/"):
        app.add_route(path, agents, include_in_schema=False)  # type: ignore[arg-type]
    app.add_middleware(KnownHosts, hosts=hosts)
    app.add_middleware(Guard, audit=audit)
    return app


def _keep_memory_small() -> None:
    """Have what answers took go back to the machine.

    glibc keeps a pool of memory for each thread that asked for some, and pyarrow one of its own.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_ARENA_MAX, 2)
        libc.mallopt(_M_TRIM_THRESHOLD, 128 * 1024)


def run(settings: Settings, policy: Policy, options: Options) -> None:
    """Serve until stopped.

    Args:
        settings: where data lives.
        policy: who may see what.
        options: how it runs.

    Raises:
        ServiceError: the port is in use, or may not be used.
    """
    _keep_memory_small()
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
    except OSError as error:
        listening.close()
        raise ServiceError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}. Choose another port: "
            f"make serve SERVE_PORT={options.port + 1}"
        ) from error
    try:
        app = make_app(settings, policy, options)
    except AccountsError as error:
        listening.close()
        raise ServiceError(str(error)) from error
    if not app.state.service.access.tokens.all():
        log.warning("there is no token yet, and nothing is answered without one: python -m delivery token create")
    log.info("http://%s:%d (stop it with Ctrl+C)", options.host, options.port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=10,
        limit_concurrency=500,
        h11_max_incomplete_event_size=16 * 1024,
    )
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listening])
    finally:
        listening.close()

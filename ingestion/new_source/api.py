"""Look at the endpoints of an API: where the records are, how pages are asked for, and what is in the fields.

What is found is tried with what a load uses: dlt's paginators under the same checks, and the same conversion of values.
"""

import copy
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dlt
import duckdb
from dlt.sources.helpers.rest_client.auth import APIKeyAuth, BearerTokenAuth, HttpBasicAuth
from dlt.sources.helpers.rest_client.paginators import SinglePagePaginator
from dlt.sources.rest_api.config_setup import create_paginator
from requests import Request, Response, Session
from requests.auth import AuthBase

from ingestion.new_source.api_fields import columns_of, fields_of, lines_in
from ingestion.new_source.found import Column, Found
from ingestion.new_source.look import python
from ingestion.new_source.write import module
from ingestion.raw_tables import LoadError, stored_name
from ingestion.rest_api.pages import CheckedPages
from ingestion.rest_api.records import SEPARATOR, Records
from ingestion.rest_api.session import SECRET_HEADERS, Credentials, open_session
from warehouse.locks import Say
from warehouse.sql import quote_name

# Pages that are read of each endpoint, and ways to ask for the second that are tried.
PAGES = 3
WAYS = 12
SIZES = ("limit", "per_page", "page_size", "pagesize", "perpage", "count", "size", "first", "take")
KEYS = r"(id|.*_id|uuid|key|number|no|nr|nummer|code|sku|handle)"
PERSONAL = r".*(email|phone|first_name|last_name|full_name|address1|address2|street|birth).*"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Address:
    """An endpoint's address.

    Attributes:
        table: the table that it is for.
        path: the path below the API's address.
        params: the parameters in it.
    """

    table: str
    path: str
    params: dict[str, Any]


def addresses(name: str, urls: Sequence[str]) -> tuple[str, list[Address]]:
    """Take the addresses of endpoints apart.

    Args:
        name: the source's name.
        urls: one address for each endpoint.

    Returns:
        The API's address, which all endpoints are below; and the endpoints.

    Raises:
        LoadError: an address is none, has a secret in it, or is of another server than the first.
    """
    try:
        split = [urlsplit(url) for url in urls]
    except ValueError as error:
        raise LoadError(f"--api: an address is not valid ({error}). Nothing was written.") from None
    variable = f"SOURCES__{name.upper()}__CREDENTIALS__"
    servers = {(parts.scheme, parts.netloc) for parts in split}
    for parts in split:
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path.strip("/"):
            raise LoadError(
                "--api: an address must begin with https:// and name a server and an endpoint, such as "
                "https://shop.example/api/orders. Nothing was written."
            )
        secret = [key for key, _ in parse_qsl(parts.query) if any(word in key.lower() for word in SECRET_HEADERS)]
        if "@" in parts.netloc or secret:
            raise LoadError(
                f"--api: the address of {parts.path} has credentials in it ({', '.join(secret) or 'user@'}). They "
                f"would be written down. Leave them out, and set {variable}TOKEN (a bearer token), {variable}API_KEY "
                f"and {variable}NAME (its header; with {variable}LOCATION=query its parameter), or {variable}USERNAME "
                f"and {variable}PASSWORD. Nothing was written."
            )
    if len(servers) > 1:
        raise LoadError("--api: one source is one API, but the addresses are of several servers. Nothing was written.")
    folders = [parts.path.rstrip("/").split("/")[:-1] for parts in split]
    common = []
    for names in zip(*folders, strict=False):
        if len(set(names)) > 1:
            break
        common.append(names[0])
    base = "/".join(common) + "/"
    paths = [parts.path[len(base) :] for parts in split]
    tables = [stored_name(re.sub(r"\.\w+$", "", path.rstrip("/").rpartition("/")[2]) or "records") for path in paths]
    if len({*tables}) < len(tables):
        tables = [stored_name(path.replace("/", "_")) for path in paths]
    if len({*tables}) < len(tables):
        raise LoadError("--api: two addresses are the same but for their parameters. Nothing was written.")
    params = [_params(parts.query) for parts in split]
    found = [Address(*one) for one in zip(tables, paths, params, strict=True)]
    return f"{split[0].scheme}://{split[0].netloc}{base}", found


def _params(query: str) -> dict[str, Any]:
    """The parameters of an address; one that comes several times is a list."""
    params: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        value = int(text) if re.fullmatch(r"0|[1-9]\d{0,8}", text) else text
        params[name] = value if name not in params else [*_listed(params[name]), value]
    return params


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def look(
    name: str, urls: Sequence[str], connection: duckdb.DuckDBPyConnection, say: Say
) -> tuple[list[Found], dict[str, Any]]:
    """Find what the endpoints of an API have.

    Args:
        name: the source's name, by which its credentials are found.
        urls: one address for each endpoint.
        connection: for the SQL of `Found.rows`.
        say: called with one line of progress at a time.

    Returns:
        One table for each endpoint, and the client's declaration: `base_url` and `auth`.

    Raises:
        LoadError: an endpoint does not answer with records.
    """
    base_url, endpoints = addresses(name, urls)
    auth, declared, secrets = _auth(name)
    client = {"base_url": base_url} | ({"auth": declared} if declared else {})
    session = open_session(name, Credentials({address.table: auth for address in endpoints}, {}, secrets), say)
    found = []
    try:
        for address in endpoints:
            say(f"looking at {base_url}{address.path} ...")
            found.append(_Endpoint(session, auth, base_url, address).look(connection))
    except LoadError as error:
        message = str(error).replace("Nothing was loaded", "Nothing was written")
        raise LoadError(message.replace("Declare that place in `base_url` and `path`", "Give that address")) from None
    finally:
        session.close()
    return found, client


def _auth(name: str) -> tuple[AuthBase | None, dict[str, str], list[str]]:
    """The way to log in, by the credentials that are there; its declaration; and where they are configured."""
    given: dict[str, Any] = {
        field_name: dlt.secrets.get(f"sources.{name}.credentials.{field_name}")
        for field_name in ("token", "api_key", "name", "location", "username", "password")
    }
    variable = f"SOURCES__{name.upper()}__CREDENTIALS__"
    if given["token"]:
        return BearerTokenAuth(str(given["token"])), {"type": "bearer"}, [f"{variable}TOKEN"]
    if given["api_key"]:
        more: dict[str, Any] = {one: str(given[one]) for one in ("name", "location") if given[one]}
        auth = APIKeyAuth(api_key=str(given["api_key"]), **more)
        wanted = [f"{variable}API_KEY", f"{variable}NAME (its header, now {auth.name})"]
        return auth, {"type": "api_key", "name": auth.name} | more, wanted
    if given["username"] and given["password"]:
        basic = HttpBasicAuth(str(given["username"]), str(given["password"]))
        return basic, {"type": "http_basic"}, [f"{variable}USERNAME", f"{variable}PASSWORD"]
    wanted = [f"{variable}TOKEN (a bearer token), or {variable}API_KEY with {variable}NAME (the header that has it)"]
    return None, {}, wanted


@dataclass
class _Endpoint:
    """An endpoint that is being looked at."""

    session: Session
    auth: AuthBase | None
    base_url: str
    address: Address
    evidence: list[str] = field(default_factory=list)
    decide: list[str] = field(default_factory=list)

    def look(self, connection: duckdb.DuckDBPyConnection) -> Found:
        """Read some pages, and have the load's own conversion confirm what was found in them."""
        response = self._get(CheckedPages(SinglePagePaginator(), self.address.table, "$"), self._request())
        place, selector, first = self._list(response.json())
        paginator, params, records = self._paged(response, place, first)
        rows = lines_in(records)
        fields = [fields_of(record) for record in records]
        lists = [each.pop(rows, None) for each in fields] if rows else []
        of_lines = [fields_of(line, f"{rows}{SEPARATOR}") for lines in lists for line in lines or []]
        columns, optional = columns_of(fields, of_lines, rows)
        optional += [rows] if rows and None in lists else []
        key = self._key(
            [column for column in columns if not rows or not column.name.startswith(rows + SEPARATOR)], fields
        )
        types = {column.name: column.type for column in columns}
        relation = quote_name(f"rows of {self.address.table}")
        connection.register("sample", Records(self.address.table, types, key, rows, optional).to_table(records, 1))
        connection.execute(f"create table {relation} as select * from sample")
        connection.unregister("sample")
        found = Found(
            self.address.table, self._declaration(selector, paginator, params, key, rows, optional), columns, relation
        )
        found.count(connection)
        found.key, found.is_pulled, found.is_api, found.decide = key, True, True, self.decide
        found.evidence = [
            f"the first {len(records):,} records were looked at",
            *([f"one row per entry of {rows}, with the fields of its record"] if rows else []),
            *self.evidence,
            *(["params: as in the address; larger pages are read faster"] if {*params} & {*SIZES} else []),
            *_told(columns, found, connection),
        ]
        return found

    def _request(self, params: Mapping[str, Any] | None = None) -> Request:
        chosen = self.address.params if params is None else params
        return Request("GET", self.base_url + self.address.path, params=dict(chosen), auth=self.auth)

    def _get(self, pages: CheckedPages, request: Request) -> Response:
        pages.init_request(request)
        return self.session.send(self.session.prepare_request(request))

    def _list(self, answer: Any) -> tuple[str, str, list[Record]]:
        """Where in an answer the list of records is, where that is known; its declaration; and the records."""
        path = f"{self.address.table}: the answer of {self.address.path}"
        lists = {"$": answer} if isinstance(answer, list) else dict(_lists(answer))
        found = {
            place: value for place, value in lists.items() if value and all(isinstance(one, dict) for one in value)
        }
        if not found and any(not value for value in lists.values()):
            raise LoadError(
                f"{path} has an empty list: nothing says what its records hold. Give an address that has records. "
                "Nothing was written."
            )
        if not found:
            names = ", ".join(list(answer)[:20]) if isinstance(answer, dict) else "entries that are no objects"
            raise LoadError(
                f"{path} has no list of records at its top or below a key, but {names}. Give the address of a list. "
                "Nothing was written."
            )
        named = [place for place in found if stored_name(place.rpartition(".")[2].strip("'")) == self.address.table]
        place = next(iter(found)) if len(found) == 1 else named[0] if len(named) == 1 else ""
        if place:
            self.evidence.append(
                f"data_selector {place}: there is the {'only ' if len(found) == 1 else ''}list of records"
            )
            return place, python(place), found[place]
        largest = max(found, key=lambda one: len(found[one]))
        question = f"which list are the records? One of {', '.join(found)}; the columns below are those of {largest}"
        self.decide.append(f"{self.address.table}: {question}")
        return "", f"to_decide({python(question)})", found[largest]

    def _paged(self, response: Response, place: str, first: list[Record]) -> tuple[str, dict[str, Any], list[Record]]:
        """How the next page is asked for: the first way by which other records come, and the records of some pages."""
        tried = ""
        # Without the place of the list, there is nothing to compare.
        ways = _paginators(response, self.address.params, len(first)) if place else ()
        for declared, why, left_out in itertools.islice(ways, WAYS):
            params = {name: value for name, value in self.address.params.items() if name not in left_out}
            try:
                pages = list(self._pages(declared, place, params))
            except LoadError as error:
                tried = str(error).partition(": ")[2].removesuffix(" Nothing was loaded.")
                continue
            kind = declared if isinstance(declared, str) else declared["type"]
            is_first = kind not in ("page_number", "offset") or _ids(pages[0]) == _ids(first)
            if len(pages) > 1 and is_first and pages[1] and _ids(pages[1]) != _ids(first):
                self.evidence.append(f"paginator {kind}: {why}")
                return _python(declared), params, [record for page in pages for record in page]
        question = "which paginator of dlt's reads the next page? 'single_page' if this is all"
        self.decide.append(
            f"{self.address.table}: {question}. The answer does not show it: if there was only one page, try again "
            "with smaller pages in the address, such as ?limit=5" + (f". The last try: {tried}" if tried else "")
        )
        return f"to_decide({python(question)})", self.address.params, first

    def _pages(self, declared: Any, selector: str, params: Mapping[str, Any]) -> Iterator[list[Record]]:
        """The first pages, as a load reads them."""
        paginator = create_paginator(copy.deepcopy(declared))
        assert paginator is not None, "a declared paginator"
        pages = CheckedPages(paginator, self.address.table, selector)
        request = self._request(params)
        response = self._get(pages, request)
        while True:
            answer = response.json()
            records = answer if selector == "$" else dict(_lists(answer)).get(selector) or []
            pages.update_state(response, records)
            yield records
            if pages.received == PAGES or not pages.has_next_page:
                return
            pages.update_request(request)
            response = self.session.send(self.session.prepare_request(request))

    def _key(self, columns: Sequence[Column], fields: Sequence[Record]) -> list[str]:
        """The column that names a record."""
        for column in sorted(columns, key=lambda one: one.name != "id"):
            values = [each.get(column.name) for each in fields]
            is_unique = None not in values and len({*map(str, values)}) == len(values)
            if is_unique and column.type in ("bigint", "text") and re.fullmatch(KEYS, column.name):
                self.evidence.append(f"key {column.name}: each record that was looked at has one of its own")
                return [column.name]
        self.decide.append(f"{self.address.table}: which of its columns name a record? One, or several in parentheses")
        return []

    def _declaration(
        self,
        selector: str,
        paginator: str,
        params: Mapping[str, Any],
        key: list[str],
        rows: str | None,
        optional: list[str],
    ) -> dict[str, str]:
        endpoint = {"path": python(self.address.path)} | ({"params": _python(params)} if params else {})
        endpoint |= {"data_selector": selector, "paginator": paginator}
        lines = "".join(f'                "{name}": {value},\n' for name, value in endpoint.items())
        return (
            {"key": python(key[0]) if key else 'to_decide("which of its columns name a record?")'}
            | ({"rows": python(rows)} if rows else {})
            | ({"optional": python(tuple(optional))} if optional else {})
            | {"endpoint": f"{{\n{lines}            }}"}
        )


def _ids(records: Sequence[Record]) -> list[Any]:
    """What tells the records of one page from those of another, whatever else changes from answer to answer."""
    return [record.get("id", record) for record in records]


def _lists(answer: Any, above: str = "") -> Iterator[tuple[str, list[Any]]]:
    """The lists below one key, or below two."""
    for key, value in answer.items() if isinstance(answer, dict) else ():
        place = above + (key if re.fullmatch(r"[A-Za-z_]\w*", key) else f"'{key}'")
        if isinstance(value, list):
            yield place, value
        elif not above:
            yield from _lists(value, f"{place}.")


def _scalars(answer: Any, above: str = "") -> Iterator[tuple[str, str, Any]]:
    """The values below one key, or below two: path, key in small letters without underscores, value."""
    for key, value in answer.items() if isinstance(answer, dict) else ():
        place = above + (key if re.fullmatch(r"[A-Za-z_]\w*", key) else f"'{key}'")
        if isinstance(value, dict) and not above:
            yield from _scalars(value, f"{place}.")
        elif value not in (None, "") and not isinstance(value, list | dict | bool):
            yield place, key.lower().replace("_", ""), value


def _paginators(response: Response, params: Mapping[str, Any], size: int) -> Iterator[tuple[Any, str, tuple[str, ...]]]:
    """Ways to ask for the next page that an answer suggests: dlt's declaration, why, and the parameters it sets."""
    scalars = list(_scalars(response.json()))
    links = [
        place
        for place, key, value in scalars
        if isinstance(value, str)
        and value.startswith(("http", "/"))
        and ("next" in key or (key in ("href", "url") and "next" in place.lower()))
    ]
    if response.links.get("next"):
        yield "header_link", "the header Link names the next page", ()
    for place in links:
        yield {"type": "json_link", "next_url_path": place}, f"{place} of the answer is the next page's address", ()
    for place, key, _ in scalars:
        if place not in links and re.fullmatch(r".*(cursor|next|token|continuation|after).*", key):
            own = place.rpartition(".")[2].strip("'")
            for param in dict.fromkeys((re.sub(r"^next_?", "", own), "cursor", own, "after", "page")):
                if param:
                    declared: dict[str, Any] = {"type": "cursor", "cursor_path": place, "cursor_param": param}
                    yield declared, f"with {place} of the answer as {param}, other records came", (param,)
    total_pages = _first(scalars, r"(total|num)?pages|(total)?pagecount|lastpage")
    page = next((name for name in params if name.lower() in ("page", "pagenumber", "page_number", "p")), "page")
    for base in (1, 0):
        declared = {"type": "page_number", "base_page": base, "page_param": page, "total_path": total_pages}
        yield declared, f"with {page}={base + 1} other records came than with {page}={base}", (page,)
    total = _first(scalars, r"total(count|results|items|records)?|count")
    limit = next((name for name in params if name.lower() in SIZES), "limit")
    for offset, of_total in itertools.product(("offset", "skip"), dict.fromkeys((total, None))):
        declared = {
            "type": "offset",
            "limit": params[limit] if isinstance(params.get(limit), int) else size,
            "offset_param": offset,
            "limit_param": limit,
            "total_path": of_total,
        }
        yield declared, f"with {offset}={declared['limit']} other records came", (offset, limit)


def _first(scalars: Sequence[tuple[str, str, Any]], pattern: str) -> str | None:
    return next((place for place, key, value in scalars if isinstance(value, int) and re.fullmatch(pattern, key)), None)


def _told(columns: Sequence[Column], found: Found, connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """What else a person should know."""
    empty = [column.name for column in columns if column.is_empty]
    if empty:
        yield f"without a value wherever it was looked at, so text: {', '.join(empty)}"
    personal = [column.name for column in columns if re.fullmatch(PERSONAL, column.name)]
    if personal:
        yield f"personal data, to be left out of the columns where it is not needed: {', '.join(personal)}"
    for column in columns:
        if column.says_deleted:
            yield f"a record with a value in {column.name} is set aside as deleted, by the staging model"
        if column.type == "text" and re.fullmatch("currency(_code)?", column.known_as):
            query = f"select distinct {quote_name(column.name)} from {found.rows} where {quote_name(column.name)} <> ''"
            codes = [code for (code,) in connection.execute(query).fetchall()]
            if len(codes) == 1 and re.fullmatch("[A-Z]{3}", str(codes[0])):
                yield f"currency {codes[0]}: {column.name} is that wherever it was looked at"
    moved = [one.name for one in columns if one.type == "timestamp" and re.search("updat|modif|chang", one.known_as)]
    yield "all records are asked for at each load"
    if moved:
        cursor = moved[0].replace(SEPARATOR, ".")
        yield (
            "where the API has a parameter for what changed since a time, only that is asked for with, in `endpoint`, "
            f'"incremental": {{"cursor_path": "{cursor}", "start_param": "its name", "lag": 3600}}'
        )


def _python(value: Any) -> str:
    """A declaration as Python code."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{python(key)}: {_python(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_python, value))}]"
    return python(value)


def module_of(name: str, client: Mapping[str, Any], tables: Mapping[str, Found]) -> str:
    """Write the module of a source that is an API.

    Args:
        name: the source's name.
        client: what `look` returned.
        tables: the raw tables, by name.
    """
    imports = ["from ingestion.rest_api.source import ApiTable, RestApi"]
    return module(name, "RestApi ApiTable", imports, tables, f"client={_python(client)},")

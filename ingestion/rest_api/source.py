"""A source of tables that are pulled from the API of a shop platform, page by page, with dlt's rest_api."""

import copy
import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, cast
from urllib.parse import urlsplit

import dlt
import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.configuration.exceptions import ConfigFieldMissingException, ConfigurationValueError
from dlt.common.configuration.specs import ConfigSectionContext
from dlt.common.exceptions import DltException
from dlt.extract import DltResource
from dlt.extract.items_transform import ItemTransform
from dlt.sources.helpers.rest_client.utils import join_url
from dlt.sources.rest_api import rest_api_resources
from dlt.sources.rest_api.config_setup import create_auth, create_paginator
from requests.auth import AuthBase

from ingestion.pipeline import Pipeline, declared, hints
from ingestion.pulls import Pull
from ingestion.raw_tables import DELIVERY, RESERVED_PREFIXES, LedgerRow, LoadError, RawTable
from ingestion.rest_api.changed_records import ChangedRecords
from ingestion.rest_api.pages import CheckedPages, PullAgainError
from ingestion.rest_api.records import CONVERTERS, RECORD_NUMBER, Records, stored_path, timestamp, whole_number
from ingestion.rest_api.session import Credentials, open_session
from ingestion.source import TableReport
from ingestion.types import TYPES
from warehouse.locks import Say

# Between two lines of progress.
PROGRESS_SECONDS = 5

# What of dlt's incremental configuration is used; the rest would limit a pull or read the data in another order.
INCREMENTAL_SETTINGS = {"cursor_path", "start_param", "initial_value", "lag", "convert"}

# Columns that a cursor can be.
CURSOR_TYPES = ("timestamp", "timestamp with time zone", "bigint")

# What can be read from JSON; and decimal(p,s).
SENDABLE_TYPES = (*CONVERTERS, "timestamp")

CLIENT_SETTINGS = {"base_url", "auth", "headers", "paginator"}


@dataclass(frozen=True)
class ApiTable(RawTable):
    """A raw table that is pulled from one endpoint of an API.

    `columns`, `key`, `rows` and `optional` name fields by their path, `customer.id` or as stored, `customer__id`; see
    `records.Records` for how a value is converted. A field that is in no column is not taken, and the load's report
    names it.

    Attributes:
        endpoint: dlt's endpoint configuration: `path`, `params`, `data_selector`, `paginator`, `incremental` and more.
            `data_selector` is required. `incremental` names the cursor, a column of type timestamp or bigint, and how
            far before its newest value a pull begins (`lag`, in seconds), for changes that become visible late. Without
            `incremental` all records are pulled each time. A path with `{resources.orders.id}` is asked for each record
            of the table `orders`.
        include_from_parent: fields of the other table's record that its rows get, as dlt names them: `created_at` of
            `orders` is `_orders_created_at`.
        rows: a list in each record whose entries are the rows; None: the records are.
        optional: fields that a record may leave out, and lists that may be null.
    """

    endpoint: Mapping[str, Any] = field(default_factory=dict)
    include_from_parent: tuple[str, ...] = ()
    rows: str | None = None
    optional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Write all paths as they are stored."""
        stored = {
            "columns": {stored_path(name): kind for name, kind in self.columns.items()},
            "key": tuple(map(stored_path, self.keys)),
            "rows": stored_path(self.rows) if self.rows else None,
            "optional": tuple(map(stored_path, self.optional)),
        }
        for name, value in stored.items():
            object.__setattr__(self, name, value)

    @property
    def cursor(self) -> str | None:
        """The column whose newest value says where the next pull begins."""
        path = (self.endpoint.get("incremental") or {}).get("cursor_path")
        return stored_path(path.removeprefix("$.")) if path else None

    @property
    def raw_columns(self) -> dict[str, str]:
        """All columns of the raw table: those of the source, and those that the loader adds."""
        return {**self.columns, RECORD_NUMBER: "bigint", DELIVERY: "text"}


@dataclass(frozen=True)
class RestApi:
    """A source that is the API of a shop platform (see `source.Source`).

    A pull asks each table's endpoint for its pages, from the cursor on where it has one, and appends the records that
    are news: those whose declared columns differ from their newest version. An error anywhere loads nothing.

    Attributes:
        name: the source's name.
        client: dlt's client configuration: `base_url`, `auth`, `paginator`, `headers`. The base URL and the secrets of
            `auth` are left out and configured as dlt's are: SOURCES__MY_SHOP__BASE_URL,
            SOURCES__MY_SHOP__CREDENTIALS__API_KEY.
        tables: its tables.
    """

    name: str
    client: Mapping[str, Any]
    tables: tuple[ApiTable, ...]

    def __post_init__(self) -> None:
        """Find mistakes of the declaration before anything is asked.

        Raises:
            LoadError: the declaration leaves something to guess, or contradicts itself.
        """
        unknown = set(self.client) - CLIENT_SETTINGS
        if unknown:
            names = ", ".join(sorted(unknown))
            raise LoadError(f"source {self.name}: of dlt's client settings, {names} cannot be used here")
        for table in self.tables:
            problem = _problem(table, self.client)
            if problem:
                raise LoadError(f"source {self.name}, table {table.name}: {problem}")

    def load(self, pipeline: Pipeline, tables: Sequence[RawTable], say: Say) -> dict[str, TableReport]:
        """Pull what is new.

        Args:
            pipeline: the way into the raw tables.
            tables: those of the source's tables to load.
            say: called with one line of progress at a time.

        Returns:
            For each table what was loaded, by name.

        Raises:
            LoadError: the API does not answer as declared; the raw tables stay as they were.
        """
        chosen = [table for table in self.tables if table in tables]
        for table in chosen:
            parent = _parent(table)
            if parent and parent not in [other.name for other in chosen]:
                raise LoadError(f"source {self.name}: {table.name} is pulled together with {parent}: choose both")
            others = [other.name for other in self.tables if _parent(other) == table.name and other not in chosen]
            if others:
                raise LoadError(f"source {self.name}: {table.name} is pulled together with {others[0]}: choose both")
        try:
            return _ApiPull(self, pipeline, chosen, say).run(is_last=False)
        except PullAgainError as error:
            say(f"{error} Pulling everything once more.")
            return _ApiPull(self, pipeline, chosen, say).run(is_last=True)


class _ApiPull:
    """One pull of all chosen tables."""

    def __init__(self, source: RestApi, pipeline: Pipeline, tables: Sequence[ApiTable], say: Say) -> None:
        self.source = source
        self.pipeline = pipeline
        self.say = say
        self.base_url = _base_url(source)
        self.tables = [_TablePull(source, table, pipeline, self.base_url, say) for table in tables]
        default = _auth(source, source.client.get("auth"))
        auths = {
            pull.name: _auth(source, pull.table.endpoint["auth"]) if "auth" in pull.table.endpoint else default
            for pull in self.tables
        }
        headers = source.client.get("headers") or {}
        self.credentials = Credentials(auths, headers, _secret_names(source, [*auths.values()]))
        self.session = open_session(source.name, self.credentials, say)
        auth: Any
        for auth in auths.values():
            if hasattr(auth, "session"):
                # Tokens are fetched through the same session.
                auth.session = self.session

    def run(self, *, is_last: bool) -> dict[str, TableReport]:
        """Pull and load, and report.

        Args:
            is_last: whether this is the last attempt: records that moved between pages are only reported.
        """
        names = ", ".join(pull.table.name for pull in self.tables)
        self.say(f"{self.source.name}: pulling {names} from {_place(self.base_url)}")
        try:
            self.pipeline.run(self._resources(), lambda: self._ledger_rows(is_last))
        finally:
            self.session.close()
        return {pull.table.name: pull.report() for pull in self.tables}

    def _ledger_rows(self, is_last: bool) -> list[LedgerRow]:
        """Called when all pages were read and nothing is loaded yet."""
        moved = [pull.moved() for pull in self.tables]
        if any(moved) and not is_last:
            raise PullAgainError(f"{' '.join(filter(None, moved))} Nothing was loaded; run again.")
        return [pull.delivery.ledger_row() for pull in self.tables if pull.delivery.row_count]

    def _resources(self) -> list[DltResource]:
        endpoints = self._endpoints()
        resources = [
            # Declares the table, whether or not it gets rows.
            declared(table.name, table.raw_columns, f"{table.name}_columns")
            for table in self.source.tables
        ]
        return resources + [pull.resource(endpoints[pull.table.name]) for pull in self.tables]

    def _endpoints(self) -> dict[str, DltResource]:
        """dlt's resources, by table: they yield pages of records."""
        client = self.source.client
        try:
            config: Any = {
                "client": {
                    "base_url": self.base_url,
                    "headers": dict(client.get("headers") or {}),
                    "session": self.session,
                },
                "resources": [pull.endpoint(client, self.credentials.auths[pull.name]) for pull in self.tables],
            }
            return {resource.name: resource for resource in rest_api_resources(config)}
        except (DltException, TypeError, ValueError) as error:
            lines = str(error).strip().splitlines()
            reason = self.credentials.hide(lines[-1] if lines else "a value in them is none of its type")
            raise LoadError(
                f"source {self.source.name}: dlt does not understand the declared endpoints: {reason}. "
                "Nothing was loaded."
            ) from None


class _TablePull:
    """One pull of one table."""

    def __init__(self, source: RestApi, table: ApiTable, pipeline: Pipeline, base_url: str, say: Say) -> None:
        self.source = source
        self.table = table
        self.say = say
        self.name = f"{source.name}.{table.name}"
        self.records = Records(self.name, table.columns, table.keys, table.rows, table.optional)
        self.changed = ChangedRecords(
            pipeline.connection, pipeline.dataset, table.name, table.columns, table.keys, RECORD_NUMBER
        )
        # A name of its own for each pull: each brings what changed, and none takes the place of an earlier one.
        number = 1 + sum(name == table.name for name, _ in pipeline.known)
        path = table.endpoint["path"]
        self.delivery = Pull(table, f"{path}, pull {number}", _place(join_url(base_url, path)), table.cursor)
        self.pages_can_move = False
        self._said = time.monotonic()

    def endpoint(self, client: Mapping[str, Any], auth: AuthBase | None) -> dict[str, Any]:
        """dlt's resource configuration."""
        endpoint = copy.deepcopy({**self.table.endpoint})
        pages = create_paginator(copy.deepcopy(endpoint.get("paginator") or client.get("paginator")))
        assert pages is not None, "a declared paginator"
        checked = CheckedPages(pages, self.name, endpoint["data_selector"])
        self.pages_can_move = checked.can_move and not _parent(self.table)
        endpoint["paginator"] = checked
        if auth is not None:
            endpoint["auth"] = auth
        incremental = endpoint.get("incremental")
        if incremental:
            convert, initial = incremental.get("convert", _iso), incremental.get("initial_value")
            if isinstance(initial, str):
                incremental["initial_value"] = _aware(timestamp(initial))
            # In the first pull there is nothing to convert.
            incremental["convert"] = lambda value: None if value is None else convert(value)
        config: dict[str, Any] = {"name": self.table.name, "endpoint": endpoint}
        if self.table.include_from_parent:
            config["include_from_parent"] = list(self.table.include_from_parent)
        return config

    def resource(self, endpoint: DltResource) -> DltResource:
        """The table's rows, from the pages of its endpoint."""
        if self.table.cursor:
            endpoint.add_step(_CursorStep(self, endpoint))

        # dlt takes functions, but not methods.
        def rows_of(page: Any) -> Iterator[pa.Table]:
            return self._rows(page)

        rows = dlt.transformer(
            rows_of,
            data_from=endpoint,
            # dlt knows the endpoint by the table's name.
            name=f"{self.table.name}_rows",
            columns=hints(self.table.raw_columns),
            file_format="parquet",
        )
        return self.delivery.resource(rows)

    def report(self) -> TableReport:
        """What was loaded."""
        rows = self.delivery.row_count
        return TableReport(
            self.table.name,
            deliveries_found=1,
            deliveries_loaded=int(rows > 0),
            rows_loaded=rows,
            fields_not_taken=sorted(self.records.not_taken),
            warnings=list(filter(None, [self.moved()])),
        )

    def moved(self) -> str | None:
        """What to say when records moved to another page while the pages were read: one may have been missed then."""
        repeated = self.changed.repeated() if self.pages_can_move else 0
        if not repeated:
            return None
        return (
            f"{self.name}: records moved between pages while they were read "
            f"({repeated:,} came twice): others may have been missed. "
            "Have the endpoint sort by a number that does not change."
        )

    def _rows(self, page: Any) -> Iterator[pa.Table]:
        rows = self.changed.of(self.records.to_table(page, page.paginator.received))
        if time.monotonic() - self._said > PROGRESS_SECONDS:
            self._said = time.monotonic()
            self.say(
                f"{self.source.name}: {self.table.name}: {self.records.count:,} records read, "
                f"{self.delivery.row_count + rows.num_rows:,} rows of them new"
            )
        if rows.num_rows:
            yield rows


class _CursorStep(ItemTransform[Any, dict[str, Any]]):
    """Moves dlt's cursor on by the records of a page, and hands the page on as it is.

    dlt itself would drop records that are older than the cursor, although the server sent them. The cursor stops at the
    time when the pull began, by the server's clock where that is behind: what changes during the pull is read by the
    next one, and a date in the future does not end all pulls.
    """

    def __init__(self, pull: _TablePull, endpoint: DltResource) -> None:
        super().__init__(lambda page: page)
        self._pull = pull
        self._endpoint = endpoint
        self._name = pull.name
        self._kind = pull.table.columns[str(pull.table.cursor)]
        self._path = pull.table.endpoint["incremental"]["cursor_path"].removeprefix("$.").split(".")
        self._latest: dt.datetime | None = None
        self._began = dt.datetime.now(dt.UTC)

    def __call__(self, item: Any, meta: Any = None) -> Any:  # noqa: ARG002
        """See the class."""
        page, incremental = item, cast(Any, self._endpoint.incremental).incremental
        if self._latest is None:
            self._latest = min(self._began, _date(page.response) or self._began)
            start = incremental.start_value
            self._pull.delivery.cursor_from = _in_utc(start) if isinstance(start, dt.datetime) else start
        newest = incremental.get_state()["last_value"]
        try:
            for record in page:
                value = self._value(record)
                if newest is None or value > newest:
                    newest = value
        except TypeError:
            raise LoadError(
                f"{self._name}: the cursor {self._pull.table.cursor} had a time zone before and has none now, or the "
                "other way round. Have it corrected at the source; nothing was loaded."
            ) from None
        if newest is not None:
            incremental.advance(newest)
        return page

    def _value(self, record: Mapping[str, Any]) -> Any:
        value: Any = record
        for name in self._path:
            value = value.get(name) if isinstance(value, Mapping) else None
        try:
            if self._kind == "bigint":
                return whole_number(value)
            moment = timestamp(value)
        except ValueError:
            raise LoadError(
                f"{self._name}: the cursor {self._pull.table.cursor} of a record is "
                f"{'empty' if value is None else 'no ' + self._kind}: without it the next pull cannot know where to "
                "begin. Have it corrected at the source; nothing was loaded."
            ) from None
        assert self._latest is not None
        if moment.tzinfo is None:
            # Of an unknown zone; the clocks of the earth are at most 14 hours ahead of UTC.
            return min(moment, (self._latest + dt.timedelta(hours=14)).replace(tzinfo=None))
        return min(moment.astimezone(dt.UTC), self._latest)


def _problem(table: ApiTable, client: Mapping[str, Any]) -> str | None:
    """What is wrong with a table's declaration."""
    endpoint, columns, key = table.endpoint, table.columns, table.keys
    reserved = [name for name in columns if name.startswith(RESERVED_PREFIXES) or name == RECORD_NUMBER]
    selector = endpoint.get("data_selector")
    paginator = endpoint.get("paginator") or client.get("paginator")
    incremental = endpoint.get("incremental") or {}
    unused = set(incremental) - INCREMENTAL_SETTINGS
    for name, kind in columns.items():
        if kind not in SENDABLE_TYPES and not kind.startswith("decimal"):
            return f"{name} cannot have the type {kind}: use {', '.join(SENDABLE_TYPES)} or decimal(p,s)"
        try:
            TYPES[kind]
        except KeyError as error:
            return str(error.args[0])
    if not endpoint.get("path"):
        return "declare the endpoint's path"
    if reserved:
        return f"the loader itself adds columns such as {reserved[0]}: leave it out"
    if not key or not set(key) <= columns.keys():
        return "declare which of its columns are the key of a record"
    if table.rows and any(name.startswith(f"{table.rows}__") for name in key):
        return f"the key names a record, and cannot be a field of its list {table.rows}"
    if not selector or "*" in selector:
        return "declare in the endpoint's data_selector where the list of records is, such as 'orders', or '$'"
    if paginator is None or "auto" in (paginator, isinstance(paginator, Mapping) and paginator.get("type", "auto")):
        return "declare the paginator, such as 'header_link': one that dlt guesses may read the first page only"
    if unused:
        return f"of dlt's incremental settings, {', '.join(sorted(unused))} cannot be used here"
    if incremental and columns.get(str(table.cursor)) not in CURSOR_TYPES:
        return f"the cursor {table.cursor} must be a column of type {' or '.join(CURSOR_TYPES)}"
    if incremental and incremental.get("lag") is None:
        return f"declare in `incremental` the lag: how many seconds late a change of {table.cursor} may become visible"
    return None


def _parent(table: ApiTable) -> str | None:
    """The table for whose records this one's endpoint is asked."""
    _, found, rest = str(table.endpoint).partition("{resources.")
    return rest.partition(".")[0] if found else None


def _base_url(source: RestApi) -> str:
    url = source.client.get("base_url") or dlt.config.get(f"sources.{source.name}.base_url")
    if not url:
        raise LoadError(
            f"source {source.name}: set SOURCES__{source.name.upper()}__BASE_URL to the address of its API, or declare "
            "base_url in its client; nothing was loaded."
        )
    parts = urlsplit(str(url))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LoadError(f"source {source.name}: base_url must begin with https://; nothing was loaded.")
    if "@" in str(url) or parts.query:
        raise LoadError(
            f"source {source.name}: base_url has credentials or parameters in it. Declare `auth` in its client, and "
            "parameters in the endpoints; nothing was loaded."
        )
    return str(url)


def _auth(source: RestApi, config: Any) -> AuthBase | None:
    """dlt's way to log in, with its secrets from dlt's configuration."""
    sections = ConfigSectionContext(sections=("sources", source.name))
    try:
        with Container().injectable_context(sections):
            auth: AuthBase | None = create_auth(copy.deepcopy(config))
    except (ConfigurationValueError, ValueError):
        raise LoadError(
            f"source {source.name}: dlt does not understand the declared `auth`: a type such as 'bearer', 'api_key', "
            "'http_basic' or 'oauth2_client_credentials', with its settings. Nothing was loaded."
        ) from None
    except ConfigFieldMissingException as error:
        names = [_secret_name(source, name) for name in error.fields]
        raise LoadError(
            f"source {source.name}: credentials are missing. Set {' and '.join(names)} in the environment, or "
            f"{' and '.join(error.fields)} below [sources.{source.name}.credentials] in .dlt/secrets.toml; "
            "nothing was loaded."
        ) from None
    return auth


def _secret_names(source: RestApi, auths: Sequence[Any]) -> list[str]:
    """Where the secrets of what logs in are configured."""
    names = ("token", "api_key", "username", "password", "client_id", "client_secret", "private_key")
    found = [name for name in names if any(getattr(auth, name, None) for auth in auths)]
    # The token of OAuth 2.0 is fetched, not configured.
    return [_secret_name(source, name) for name in found if not (name == "token" and "private_key" in found)]


def _secret_name(source: RestApi, field_name: str) -> str:
    return f"SOURCES__{source.name.upper()}__CREDENTIALS__{field_name.upper()}"


def _place(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _iso(value: Any) -> Any:
    """A cursor as APIs take it: a timestamp in ISO 8601, a number as it is."""
    return value.isoformat() if isinstance(value, dt.datetime) else value


def _aware(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment


def _in_utc(moment: dt.datetime) -> dt.datetime:
    """As timestamps are stored."""
    return _aware(moment).replace(tzinfo=None)


def _date(response: Any) -> dt.datetime | None:
    """The time of a response by the server's clock."""
    try:
        moment = parsedate_to_datetime(response.headers.get("Date", ""))
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None

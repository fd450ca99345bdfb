"""The published copy as the doors hold it open: one snapshot per publication, and in it one connection per role.

A role's connection is a DuckDB in memory. The published file is attached to it read-only, and over it stand two sets of
views that the policy makes: `doors`, whose rows the role may see, and `warehouse`, on which metrics are computed. Then
access to files and changes of the configuration are switched off for good.

What began on a publication ends on it: its file stays open, though another has taken its place, until no request and no
recent cursor needs it.
"""

import contextlib
import datetime as dt
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from delivery.errors import DoorError, GoneError, NotPublishedError, TooSlowError
from delivery.personal import PersonalError, files_of, join
from delivery.policy import CUSTOMER, Policy, Table, View, as_published, duckdb_hash, sees_personal_columns, view
from delivery.publication import publication_id
from warehouse.connections import columns, count
from warehouse.sql import quote_name, quote_table, quote_text

# Publications that are kept open for cursors after another took their place, and for how long after their last use.
KEPT = 1
KEPT_SECONDS = 600
# How often, at most, it is looked whether the file is another.
LOOK_SECONDS = 0.2

# The column of the views in `doors` by which pages are cut; no door shows it.
POSITION = "position in the file"

# Rows that are kept in memory, of all roles together: about 120 MB, by those of the sample.
MOST_IN_MEMORY = 1_000_000

# Of each role's connection.
MEMORY = "256MB"
# Metrics that are computed at once, of each role: they take most of the memory, and there are no more cores than that.
METRICS_AT_ONCE = 2
# Rolling sums over a year of a shop take longest.
QUERY_SECONDS = 60.0


@dataclass(frozen=True)
class Shop:
    """How fresh one source is.

    Attributes:
        source: its name.
        status: current or held.
        newest_purchase: by the shop's clock; None without one.
        newest_delivery: when it was loaded, UTC.
        held_since: when a run first found what holds it, UTC; None when it is current.
        reason: why it is held; None when it is current.
    """

    source: str
    status: str
    newest_purchase: dt.datetime | None
    newest_delivery: dt.datetime | None
    held_since: dt.datetime | None
    reason: str | None


@dataclass(frozen=True)
class Standing:
    """How one objective stands.

    Attributes:
        objective: its name.
        status: met, warning or breach, as last measured; not measured when no run ever did.
        target: share that is promised, in per cent.
        attained: share over the window, in per cent; None where nothing was measured.
    """

    objective: str
    status: str
    target: float | None
    attained: float | None


class RoleConnection:
    """What one role sees of one publication.

    Args:
        file: the published file.
        policy: who may see what.
        role: the role's name.
        tables: what is in the file, with the columns' tags.
        key: of the hashes.
        scratch: a folder for what does not fit into memory.
        threads: how many a query may use.
        personal_key: of the personal columns, where they are encrypted; None: without them.
    """

    def __init__(
        self,
        file: Path,
        policy: Policy,
        role: str,
        tables: list[Table],
        key: str,
        scratch: Path,
        threads: int,
        personal_key: bytes | None = None,
    ) -> None:
        self.role = role
        self.metrics_at_once = threading.BoundedSemaphore(METRICS_AT_ONCE)
        self.views: dict[str, View] = {}
        self.metric_tables: set[str] = set()
        # No statement of a door can name it: its name is not known.
        attached = f"published_{secrets.token_hex(8)}"
        joined, has_personal = f"joined_{secrets.token_hex(8)}", set[tuple[str, str]]()
        self.connection = duckdb.connect(
            config={
                "memory_limit": MEMORY,
                "threads": str(threads),
                "temp_directory": str(scratch),
                # Memory that a query is done with goes back to the machine.
                "allocator_background_threads": "true",
                "allocator_flush_threshold": "1MB",
                "allocator_bulk_deallocation_flush_threshold": "1MB",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
            }
        )

        def source(schema: str, name: str) -> exp.Table:
            catalog = joined if (schema, name) in has_personal else attached
            return exp.table_(name, db=schema, catalog=catalog, quoted=True)

        try:
            self.connection.execute(f"attach {quote_text(str(file))} as {quote_name(attached)} (read_only)")
            self.connection.execute(duckdb_hash(key))
            if personal_key and sees_personal_columns(policy, role, tables):
                has_personal = join(self.connection, file, attached, personal_key, joined)
            for database in ("doors", "warehouse"):
                self.connection.execute(f"attach ':memory:' as {database}")
                for schema in sorted({table.schema for table in tables}):
                    self.connection.execute(f"create schema if not exists {database}.{quote_name(schema)}")
                self.connection.execute(f"use {database}.main")
                self.connection.execute(duckdb_hash(key))
            for table in tables:
                shown = view(policy, role, table, tables, source)
                if shown:
                    self.views[table.full_name] = shown
                    position = exp.alias_(exp.column("rowid"), POSITION, quoted=True)
                    self._create("doors", table, shown.select.select(position).sql(dialect="duckdb"))
                summed = view(policy, role, table, tables, source, for_metrics=True)
                if summed:
                    self.metric_tables.add(table.full_name)
                    self._create("warehouse", table, summed.sql("duckdb"))
            self.connection.execute("set enable_external_access = false")
            self.connection.execute("set lock_configuration = true")
        except BaseException:
            self.connection.close()
            raise

    def _create(self, database: str, table: Table, select: str) -> None:
        name = f"{database}.{quote_table(table.schema, table.name)}"
        self.connection.execute(f"create view {name} as {select}")

    @contextlib.contextmanager
    def asked(
        self, sql: str, parameters: Iterable[Any] = (), seconds: float = QUERY_SECONDS
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Run a query; its rows are read in the block, and all that together may take a while.

        Args:
            sql: the query, made by a door.
            parameters: values for its question marks.
            seconds: how long it may take.

        Raises:
            TooSlowError: it took longer, or more memory, than it may.
            DoorError: it failed.
        """
        cursor = self.connection.cursor()
        is_over = threading.Event()

        def stop() -> None:
            is_over.set()
            cursor.interrupt()

        timer = threading.Timer(seconds, stop)
        timer.daemon = True
        timer.start()
        try:
            yield cursor.execute(sql, list(parameters))
        except (duckdb.Error, OSError) as error:
            # By how far the rows are read, a query that was stopped fails in several ways; Arrow's readers give
            # errors of DuckDB as an OSError with its words.
            if is_over.is_set():
                raise TooSlowError(f"the answer took longer than {seconds:g} s: ask for less of it") from error
            if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory Error" in str(error):
                raise TooSlowError("the answer takes more memory than one question may: ask for less of it") from error
            if isinstance(error, duckdb.CatalogException):
                raise DoorError(
                    "this publication was made by another version and has no such table or column"
                ) from error
            if isinstance(error, duckdb.Error):
                # Its own words could repeat a value that the role may not see.
                raise DoorError("the query failed; the service's log says why") from error
            raise
        finally:
            timer.cancel()
            cursor.close()

    def rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Give the rows of a query.

        Args:
            sql: the query, made by a door.
            parameters: values for its question marks.
        """
        with self.asked(sql, parameters) as answer:
            return answer.fetchall()


@dataclass(frozen=True)
class OfCustomer:
    """What is asked of one customer in a table.

    Attributes:
        columns: which.
        order: the columns by which the rows of a customer stand.
    """

    columns: list[str]
    order: list[str]


class ByCustomer:
    """The rows of a role's view, in memory and found by their customer.

    Args:
        connection: of the role.
        table: schema.table.
        asked: which columns, in which order.
    """

    def __init__(self, connection: RoleConnection, table: str, asked: OfCustomer) -> None:
        customer = quote_name(CUSTOMER)
        selected = ", ".join(quote_name(name) for name in asked.columns)
        sql = (
            f"select {customer} as customer, {selected} from doors.{quote_table(*table.split('.'))} "
            f"where {customer} is not null order by {', '.join([customer, *map(quote_name, asked.order)])}"
        )
        with connection.asked(sql) as answer:
            rows = answer.to_arrow_table().combine_chunks()
        self._columns = [_short(column) for column in rows.columns[1:]]
        # Customer to the first of its rows, and how many they are.
        self._places: dict[str, tuple[int, int]] = {}
        if rows.num_rows:
            runs = pc.run_end_encode(rows.column(0).chunk(0))
            begin = 0
            for key, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
                self._places[str(key)] = (begin, end - begin)
                begin = end

    def rows(self, customer: str) -> list[tuple[Any, ...]]:
        """Give the rows of a customer.

        Args:
            customer: the customer_key as the role sees it.
        """
        place = self._places.get(customer)
        if place is None:
            return []
        return list(zip(*(column.slice(*place).to_pylist() for column in self._columns), strict=True))


def _short(column: Any) -> Any:
    """Words that come again and again are kept once."""
    if pa.types.is_string(column.type) and pc.count_distinct(column).as_py() * 4 < len(column):
        column = column.dictionary_encode()
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


@dataclass
class Snapshot:
    """One publication, held open.

    Attributes:
        id: of the publication.
        published_at: when, UTC.
        as_of: the day of the newest purchase; None without one.
        tables: what is in it.
        row_counts: schema.table to rows.
        shops: how fresh each source is.
        standings: how each objective stands.
        objectives_of: table of the warehouse to the objectives that its checks measure.
        roles: role to its connection.
        in_memory: role to the tables that are kept in memory for it.
        metas: what stands behind answers, by whom and what they are of.
    """

    id: str
    published_at: dt.datetime
    as_of: dt.date | None
    tables: list[Table]
    row_counts: dict[str, int]
    shops: list[Shop]
    standings: list[Standing]
    objectives_of: dict[str, set[str]]
    roles: dict[str, RoleConnection]
    in_memory: dict[str, dict[str, ByCustomer]] = field(default_factory=dict)
    metas: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    uses: int = 0
    last_used: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        """Close the file."""
        for role in self.roles.values():
            role.connection.close()


class Snapshots:
    """The publications that are open.

    Args:
        file: the published file; it need not be there yet.
        policy: who may see what.
        tables: the published tables as dbt's metadata describes them.
        key: of the hashes.
        scratch: a folder for what does not fit into memory.
        threads: how many threads a query may use.
        say: called with one line when a publication is opened or cannot be.
        personal_key: of the personal columns, where they are encrypted; None: without them.
    """

    def __init__(
        self,
        file: Path,
        policy: Policy,
        tables: list[Table],
        key: str,
        scratch: Path,
        threads: int = 2,
        say: Callable[[str], None] = lambda _: None,
        personal_key: bytes | None = None,
    ) -> None:
        self.personal_key = personal_key
        self.file = file
        self.policy = policy
        self.tables = tables
        self.key = key
        self.scratch = scratch
        self.threads = threads
        self.say = say
        self.problem: str | None = None
        self._open: dict[str, Snapshot] = {}
        self._current: Snapshot | None = None
        self._seen: tuple[int, int, int] | None = None
        self._looked = float("-inf")
        self._opening = threading.Lock()
        self._counting = threading.Lock()
        self._filling = threading.Lock()

    @contextlib.contextmanager
    def lease(self, publication: str | None = None) -> Iterator[Snapshot]:
        """Hold a publication open while something is read from it.

        Args:
            publication: its id, as a cursor names it; None: the newest.

        Raises:
            NotPublishedError: nothing is published yet.
            GoneError: the publication is no longer open.
        """
        snapshot = self.take(publication)
        try:
            yield snapshot
        finally:
            self.give_back(snapshot)

    def take(self, publication: str | None = None) -> Snapshot:
        """Begin to hold a publication open; `give_back` ends it.

        Args:
            publication: its id; None: the newest.

        Raises:
            NotPublishedError: nothing is published yet.
            GoneError: the publication is no longer open.
        """
        self.look()
        with self._counting:
            snapshot = self._current if publication is None else self._open.get(publication)
            if snapshot is not None:
                snapshot.uses += 1
                snapshot.last_used = time.monotonic()
                return snapshot
        if publication is not None and self._current is not None:
            raise GoneError("the publication that the cursor names is no longer there: begin again without the cursor")
        raise NotPublishedError(self.problem or f"nothing is published yet at {self.file}: make run")

    def give_back(self, snapshot: Snapshot) -> None:
        """End to hold a publication open.

        Args:
            snapshot: as `take` gave it.
        """
        with self._counting:
            snapshot.uses -= 1
            snapshot.last_used = time.monotonic()
        self._close_unused()

    def look(self) -> None:
        """Open the published file, if it is another than the one that is open; at most every fifth of a second."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        # While one thread opens it, the others go on with the publication before.
        if not self._opening.acquire(blocking=self._current is None):
            return
        try:
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                self._look()
                self._looked = time.monotonic()
        finally:
            self._opening.release()

    def close(self) -> None:
        """Close all publications."""
        with self._counting:
            for snapshot in self._open.values():
                snapshot.close()
            self._open.clear()
            self._current = None

    def is_fresh(self) -> bool:
        """Tell whether the published file was looked at just now, so that nothing has to be opened first."""
        return self._current is not None and time.monotonic() - self._looked < LOOK_SECONDS

    def keep_in_memory(self, snapshot: Snapshot, role: str, wanted: Mapping[str, OfCustomer]) -> None:
        """Keep tables of the newest publication in memory for a role, where there is room for them.

        While one thread reads them, the others ask the database.

        Args:
            snapshot: the publication.
            role: the role's name.
            wanted: schema.table to what is asked of it.
        """
        if role in snapshot.in_memory or not self._filling.acquire(blocking=False):
            return
        try:
            tables = [*wanted, *(name for kept in snapshot.in_memory.values() for name in kept)]
            is_newest, rows = snapshot is self._current, sum(snapshot.row_counts[name] for name in tables)
            if role in snapshot.in_memory or not is_newest or rows > MOST_IN_MEMORY:
                return
            connection = snapshot.roles[role]
            try:
                kept = {name: ByCustomer(connection, name, asked) for name, asked in wanted.items()}
            except DoorError as error:
                self.say(f"{role}: the lists of customers are not kept in memory: {error}")
                kept = {}
            with self._counting:
                if snapshot is self._current:
                    snapshot.in_memory[role] = kept
        finally:
            self._filling.release()

    def has_in_memory(self, role: str) -> bool:
        """Tell whether tables of the newest publication are in memory for a role.

        Args:
            role: the role's name.
        """
        return self._current is not None and bool(self._current.in_memory.get(role))

    @property
    def ids(self) -> set[str]:
        """The publications that are open."""
        return set(self._open)

    def _look(self) -> None:
        try:
            seen = _identity(self.file)
        except FileNotFoundError:
            self.problem = f"nothing is published at {self.file}: make run"
            self._seen = None
            return
        except OSError as error:
            self.problem = f"{self.file} cannot be read: {error.strerror}"
            return
        if seen == self._seen:
            return
        try:
            snapshot = self._opened()
            if _identity(self.file) != seen:
                # Another took its place meanwhile: the next look opens that one.
                snapshot.close()
                return
        except (duckdb.Error, OSError, ValueError, PersonalError) as error:
            self.problem = f"{self.file} cannot be opened: {str(error).splitlines()[0]}"
            # Not tried again until the file is another.
            self._seen = seen
            self.say(self.problem)
            return
        self._seen = seen
        self.problem = None
        with self._counting:
            if self._current:
                # Asked of the newest alone.
                self._current.in_memory = {}
            if snapshot.id in self._open:
                snapshot.close()
                self._current = self._open[snapshot.id]
            else:
                self._open[snapshot.id] = self._current = snapshot
        self.say(f"opened publication {snapshot.id}")
        self._close_unused()

    def _opened(self) -> Snapshot:
        with duckdb.connect() as connection:
            connection.execute(f"attach {quote_text(str(self.file))} as published (read_only)")
            if self.personal_key is None and files_of(connection, self.file, "published"):
                self.say("the personal columns are empty at every door: NEXT_AISLE_PERSONAL_KEY is not set")
            tables = as_published(self.tables, columns(connection))
            counts = {
                table.full_name: count(connection, f"published.{quote_table(table.schema, table.name)}")
                for table in tables
            }
            shops = [
                Shop(*row)
                for row in _all(
                    connection,
                    "select source_name, status, newest_purchase, newest_delivery, held_since, reason "
                    "from published.quality.shop_status order by 1",
                )
            ]
            standings = [
                Standing(*row)
                for row in _all(
                    connection,
                    "select objective, coalesce(last_status, status), target, attained "
                    "from published.quality.slo_status order by 1",
                )
            ]
            objectives_of: dict[str, set[str]] = {}
            for table, objective in _all(
                connection,
                "select distinct table_name, objective from published.quality.check_results "
                "where objective is not null",
            ):
                objectives_of.setdefault(table, set()).add(objective)
        roles: dict[str, RoleConnection] = {}
        try:
            for role in self.policy.roles:
                roles[role] = RoleConnection(
                    self.file, self.policy, role, tables, self.key, self.scratch, self.threads, self.personal_key
                )
        except BaseException:
            for opened in roles.values():
                opened.connection.close()
            raise
        newest = [shop.newest_purchase for shop in shops if shop.newest_purchase]
        return Snapshot(
            id=publication_id(self.file),
            published_at=dt.datetime.fromtimestamp(self.file.stat().st_mtime, dt.UTC),
            as_of=max(newest).date() if newest else None,
            tables=tables,
            row_counts=counts,
            shops=shops,
            standings=standings,
            objectives_of=objectives_of,
            roles=roles,
        )

    def _close_unused(self) -> None:
        """Close what nothing reads: the oldest first, as far as more are open than are kept, or for long enough."""
        with self._counting:
            old = sorted(
                (each for each in self._open.values() if each is not self._current and not each.uses),
                key=lambda each: each.last_used,
            )
            for position, snapshot in enumerate(old):
                too_many = len(old) - position > KEPT
                if too_many or time.monotonic() - snapshot.last_used > KEPT_SECONDS:
                    del self._open[snapshot.id]
                    snapshot.close()


def _identity(file: Path) -> tuple[int, int, int]:
    stat = file.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _all(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a table that a publication of another version may not have, or have otherwise."""
    try:
        return connection.execute(sql).fetchall()
    except (duckdb.CatalogException, duckdb.BinderException):
        return []

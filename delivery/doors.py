"""What can be asked at the doors, for a caller with a role. REST, agents and pages all ask here and say the same.

Each answer carries its meta: which publication, how fresh, how good, and what the policy did to it.
"""

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import yaml
from sqlglot import exp

from delivery import conditions
from delivery.contract import files
from delivery.errors import InvalidQuestionError, RefusedError, UnknownNameError
from delivery.metrics import Dimension, Metric, Question, SemanticLayer
from delivery.policy import CUSTOMER, Action, Policy, Role, described, hash_key
from delivery.snapshots import POSITION, OfCustomer, RoleConnection, Snapshot, Snapshots, Standing
from warehouse.dbt_project import Manifest, prepare, read_manifest
from warehouse.settings import Settings
from warehouse.sql import quote_name, quote_table

# Rows of a page, and of an answer that is fetched whole.
PAGE = 1_000
LONGEST_PAGE = 10_000
MOST_ROWS = 100_000
MOST_VALUES = 1_000
# Answers that are kept in memory for each role of a publication, and the most rows of one.
CACHED = 256
CACHED_ROWS = 2_000

OPPORTUNITIES = "cross_sell.customer_opportunities"
REASONS = "cross_sell.customer_opportunity_reasons"
AFFINITY = "cross_sell.category_affinity"
CUSTOMERS = "core.dim_customers"
CATEGORIES = "core.dim_categories"
GAPS = "cross_sell.category_gaps"


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        role: the role's name.
        token: id of the token; None at the terminal.
        name: of the token.
        purpose: what the answer is for.
    """

    role: str
    token: str | None
    name: str
    purpose: str


@dataclass
class Answer:
    """Rows with their meta. The publication stays open until `close`.

    Attributes:
        sql: the query on the role's connection.
        parameters: its values.
        columns: names in the answer.
        meta: for people and programs, as docs say.
        next_cursor: where the next page begins; None on the last.
        in_turn: whether only a few such questions are answered at once.
        kept: the rows, where they are known already.
    """

    sql: str
    parameters: list[Any]
    columns: list[str]
    meta: dict[str, Any]
    connection: RoleConnection
    snapshot: Snapshot
    snapshots: Snapshots
    cache: "_Cache"
    page: "_Page | None" = None
    next_cursor: str | None = None
    in_turn: bool = False
    kept: list[tuple[Any, ...]] | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Fetch all rows, and give the publication back."""
        try:
            rows = self.kept
            if rows is None:
                rows = self.cache.rows(self.connection, self.sql, self.parameters, in_turn=self.in_turn)
            if self.page:
                rows, self.next_cursor = self.page.cut(rows)
            return [dict(zip(self.columns, row, strict=False)) for row in rows]
        finally:
            self.close()

    @contextmanager
    def batches(self, rows: int = 20_000) -> Iterator[pa.RecordBatchReader]:
        """Read the rows in batches, and give the publication back in the end.

        Args:
            rows: of a batch.
        """
        try:
            with self.connection.asked(self.sql, self.parameters, seconds=120) as answer:
                yield answer.to_arrow_reader(rows)
        finally:
            self.close()

    def close(self) -> None:
        """Give the publication back."""
        self.snapshots.give_back(self.snapshot)


@dataclass(frozen=True)
class _Page:
    """How a page of a table is cut: one row more is asked for, which says whether there is another page."""

    limit: int
    by_position: bool
    state: dict[str, Any]
    sign: Any

    def cut(self, rows: list[tuple[Any, ...]]) -> tuple[list[tuple[Any, ...]], str | None]:
        shown = rows[: self.limit]
        if len(rows) <= self.limit:
            return shown, None
        after = shown[-1][-1] if self.by_position else self.state["after"] + self.limit
        return shown, self.sign(self.state | {"after": after})


class _Cache:
    """The rows of recent small answers of one role in one publication."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Any, ...], list[tuple[Any, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    def rows(
        self, connection: RoleConnection, sql: str, parameters: Sequence[Any] = (), *, in_turn: bool = False
    ) -> list[tuple[Any, ...]]:
        key = (sql, *parameters)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with connection.metrics_at_once if in_turn else nullcontext():
            rows = connection.rows(sql, parameters)
        if len(rows) <= CACHED_ROWS:
            with self._lock:
                self._kept[key] = rows
                while len(self._kept) > CACHED:
                    self._kept.popitem(last=False)
        return rows


class Doors:
    """All that the doors need, made once.

    Args:
        settings: where data lives.
        policy: who may see what.
        threads: how many threads a query may use.
        say: called with one line when a publication is opened or cannot be.
    """

    def __init__(self, settings: Settings, policy: Policy, threads: int = 2, say: Any = lambda _: None) -> None:
        self.settings = settings
        self.policy = policy
        manifest_file = prepare(settings)
        self.manifest: Manifest = read_manifest(manifest_file)
        tables = described(self.manifest)
        self.key = hash_key(settings.paths)
        self.layer = SemanticLayer(manifest_file.with_name("semantic_manifest.json"), policy, tables)
        scratch = settings.paths.root / "scratch"
        personal_key = settings.key_of_personal_columns
        self.snapshots = Snapshots(
            settings.paths.published, policy, tables, self.key, scratch, threads, say, personal_key
        )
        self.descriptions = {
            f"{node['schema']}.{node['alias']}": node
            for node in self.manifest["nodes"].values()
            if node["resource_type"] == "model"
        }
        self._ancestors = {name: _ancestors(self.manifest, node) for name, node in self.descriptions.items()}
        self._caches: dict[tuple[str, str], _Cache] = {}

    def role(self, caller: Caller) -> Role:
        """Find the role of a caller."""
        return self.policy.role(caller.role)

    # Metrics.

    def metrics(self, caller: Caller) -> list[Metric]:
        """List the metrics of a caller."""
        return self.layer.metrics_of(self.role(caller))

    def dimensions(self, caller: Caller, metrics: Sequence[str]) -> list[Dimension]:
        """List what metrics can be asked by, all of them together.

        Args:
            caller: who asks.
            metrics: their names.
        """
        return self.layer.dimensions_of(self.role(caller), metrics)

    def query(self, caller: Caller, question: Question) -> Answer:
        """Ask for metrics.

        Args:
            caller: who asks.
            question: the question.
        """
        limit = MOST_ROWS if question.limit is None else question.limit
        if not 1 <= limit <= MOST_ROWS:
            raise InvalidQuestionError(f"limit must be 1 to {MOST_ROWS:,}")
        compiled = self.layer.compile(
            self.role(caller),
            Question(question.metrics, question.group_by, question.where, question.order_by, limit),
        )
        answer = self._answer(
            caller, compiled.sql, [], [*question.group_by, *question.metrics], compiled.tables, in_sums=True
        )
        answer.in_turn = True
        try:
            if compiled.left_out:
                # The query is slow rather than its answer long: it is asked once for both.
                answer.kept = answer.cache.rows(answer.connection, compiled.sql, in_turn=True)
                # Where no group is shown, there is no row to have the number.
                first = answer.kept or answer.cache.rows(answer.connection, compiled.left_out, in_turn=True)
                answer.meta["groups_left_out"] = first[0][-1]
        except BaseException:
            answer.close()
            raise
        return answer

    def dimension_values(self, caller: Caller, name: str, search: str | None = None, limit: int = 100) -> Answer:
        """List the values of a dimension, the most frequent first.

        Args:
            caller: who asks.
            name: the dimension.
            search: only values with this text.
            limit: how many at most.
        """
        if not 1 <= limit <= MOST_VALUES:
            raise InvalidQuestionError(f"limit must be 1 to {MOST_VALUES:,}")
        role = self.role(caller)
        table, column, _ = self.layer.values(role, name)
        known = next(each for each in self.layer.tables.values() if each.full_name == table)
        value = quote_name(column)
        having = ""
        if role.minimum_group > 1 and known.has_customer:
            having = f" having count(distinct {quote_name(CUSTOMER)}) >= {role.minimum_group}"
        where, parameters = "", []
        if search:
            where, parameters = f" and contains(lower({value}::varchar), lower(?))", [search]
        sql = (
            f"select {value} as {quote_name(name)} from warehouse.{_quoted(table)} where {value} is not null{where} "
            f"group by {value}{having} order by count(*) desc, {value} limit {int(limit)}"
        )
        return self._answer(caller, sql, parameters, [name], {table}, in_sums=True)

    # Tables.

    def tables(self, caller: Caller) -> list[dict[str, Any]]:
        """List the tables that a caller may read row by row, with their columns."""
        with self.snapshots.lease() as snapshot:
            connection = snapshot.roles[caller.role]
            return [
                {
                    "name": name,
                    "description": " ".join(self.descriptions[name]["description"].split()),
                    "rows_published": snapshot.row_counts[name],
                    "owner": self._owner(name),
                    "columns": self._columns(name, shown.columns, shown.actions),
                }
                for name, shown in sorted(connection.views.items())
            ]

    def table(
        self,
        caller: Caller,
        name: str,
        *,
        columns: Sequence[str] = (),
        where: Sequence[str] = (),
        order: Sequence[str] = (),
        search: str | None = None,
        distinct: bool = False,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Answer:
        """Read a table, page by page or whole.

        Args:
            caller: who asks.
            name: schema.table.
            columns: which; empty: all.
            where: conditions on columns, all of which must hold.
            order: columns, with - in front for the highest first; empty: as they are in the file.
            search: only rows with this text in a text column.
            distinct: each different row once.
            limit: rows of a page; None: all rows, without pages.
            cursor: where the page begins, as the page before said it.
        """
        if limit is not None and not 1 <= limit <= LONGEST_PAGE:
            raise InvalidQuestionError(f"limit must be 1 to {LONGEST_PAGE:,}")
        question = [caller.role, name, list(columns), list(where), list(order), search, distinct]
        fingerprint = hashlib.sha256(json.dumps(question).encode()).hexdigest()[:16]
        state: dict[str, Any] = self._read_cursor(cursor, fingerprint) if cursor else {"after": -1}
        snapshot = self.snapshots.take(state.get("publication"))
        try:
            connection = snapshot.roles[caller.role]
            shown = connection.views.get(name)
            if shown is None:
                if name in self.layer.tables:
                    raise RefusedError(f"your role {caller.role} may not read the rows of {name}")
                raise UnknownNameError(f"there is no table {name[:80]}", wanted=name, names=connection.views)
            types = {
                column.name: "string" if shown.actions[column.name] is Action.HASH else column.type
                for column in shown.table.columns
                if column.name in shown.columns
            }
            for column in [*columns, *(each.removeprefix("-") for each in order)]:
                if column not in types:
                    raise UnknownNameError(f"{name} has no column {column[:80]}", wanted=column, names=types)
            if len(set(columns)) < len(columns):
                raise InvalidQuestionError("name each column once")
            chosen = list(columns) or list(types)
            rules = [f"({conditions.parse(text, types, _as_column).sql(dialect='duckdb')})" for text in where]
            parameters: list[Any] = []
            if search:
                texts = [column for column, kind in types.items() if conditions.kind_of(kind) == "text"]
                if not texts:
                    raise InvalidQuestionError(f"{name} has no text to search")
                each = [f"contains(lower({quote_name(column)}), lower(?))" for column in texts]
                rules.append(f"({' or '.join(each)})")
                parameters += [search] * len(texts)
            by_position = not order and not distinct
            if by_position and state["after"] >= 0:
                rules.append(f"{quote_name(POSITION)} > {int(state['after'])}")
            selected = ", ".join(quote_name(column) for column in chosen)
            last = quote_name(POSITION)
            if distinct:
                selected, last = f"distinct {selected}", selected
            sorting = [f"{quote_name(each.removeprefix('-'))} {'desc' if each[0] == '-' else 'asc'}" for each in order]
            if distinct and any(each.removeprefix("-") not in chosen for each in order):
                raise InvalidQuestionError("with distinct, order by columns that are shown")
            paged = limit is not None
            sql = (
                f"select {selected}{f', {last}' if paged and not distinct else ''} from doors.{_quoted(name)}"
                + (f" where {' and '.join(rules)}" if rules else "")
                + (
                    f" order by {', '.join(f'{each} nulls last' for each in [*sorting, last])}"
                    if paged or order
                    else ""
                )
                + (f" limit {limit + 1}" if limit is not None else "")
                + (f" offset {int(state['after'])}" if paged and not by_position and state["after"] > 0 else "")
            )
            page = None
            if limit is not None:
                kept = {"publication": snapshot.id, "question": fingerprint, "after": max(state["after"], 0)}
                page = _Page(limit, by_position, kept, self._sign)
            return self._made(caller, snapshot, sql, parameters, chosen, {name}, page=page)
        except BaseException:
            self.snapshots.give_back(snapshot)
            raise

    # Customers and categories.

    def opportunities(self, caller: Caller, customer: str, limit: int = 100) -> Answer:
        """What to offer one customer next, each with its reasons.

        Args:
            caller: who asks.
            customer: the customer_key as the caller sees it: a hash, where the role sees hashes.
            limit: how many at most.
        """
        with self.snapshots.lease() as snapshot:
            connection = self._connection(snapshot, caller, OPPORTUNITIES, CUSTOMERS)
            self._customer_column(connection, OPPORTUNITIES, caller)
            columns = connection.views[OPPORTUNITIES].columns
            wanted = {
                CUSTOMERS: OfCustomer([CUSTOMER], []),
                OPPORTUNITIES: OfCustomer(columns, ["rank", "category_key"]),
            }
            if REASONS in connection.views:
                names = [name for name in connection.views[REASONS].columns if name not in (CUSTOMER, "source_name")]
                wanted[REASONS] = OfCustomer(names, [name for name in ("rank", "opportunity_key") if name in names])
            self.snapshots.keep_in_memory(snapshot, caller.role, wanted)
            found = {
                table: self._of_customer(snapshot, caller.role, table, asked, customer)
                for table, asked in wanted.items()
            }
            if not found[CUSTOMERS]:
                raise UnknownNameError("your role sees no such customer")
            reasons: dict[Any, list[dict[str, Any]]] = {}
            for row in found.get(REASONS, ()):
                reason = dict(zip(names, row, strict=True))
                reasons.setdefault(reason.pop("opportunity_key", None), []).append(reason)
            answer = self._answer(
                caller,
                f"select {', '.join(map(quote_name, columns))} from doors.{_quoted(OPPORTUNITIES)} "
                f"where {quote_name(CUSTOMER)} = ? order by rank, category_key limit {int(limit)}",
                [customer],
                columns,
                {OPPORTUNITIES, REASONS, CUSTOMERS},
                snapshot=snapshot,
            )
            answer.more["reasons"] = reasons
            answer.kept = found[OPPORTUNITIES][:limit]
            return answer

    def has_in_memory(self, caller: Caller) -> bool:
        """Tell whether `opportunities` is answered from memory alone, in less than a millisecond.

        Args:
            caller: who asks.
        """
        return self.snapshots.is_fresh() and self.snapshots.has_in_memory(caller.role)

    def _of_customer(
        self, snapshot: Snapshot, role: str, table: str, asked: OfCustomer, customer: str
    ) -> list[tuple[Any, ...]]:
        """The rows of one customer that a role sees: from memory, or asked for."""
        if kept := snapshot.in_memory.get(role, {}).get(table):
            return kept.rows(customer)
        return self._cache(snapshot, role).rows(
            snapshot.roles[role],
            f"select {', '.join(map(quote_name, asked.columns))} from doors.{_quoted(table)} "
            f"where {quote_name(CUSTOMER)} = ? order by {', '.join(map(quote_name, [CUSTOMER, *asked.order]))}",
            [customer],
        )

    def opportunity(self, caller: Caller, customer: str, category: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """One customer's opportunity in one category, in words too.

        Args:
            caller: who asks.
            customer: the customer_key as the caller sees it.
            category: the category's key, name or label.

        Returns:
            The opportunity with its reasons and a sentence, and the meta.
        """
        answer = self.opportunities(caller, customer)
        rows = with_reasons(answer)
        wanted = category.casefold()
        for row in rows:
            names = [str(row.get(name, "")).casefold() for name in ("category_key", "category_name", "category_label")]
            if wanted in names:
                return row | {"explanation": explain(row)}, answer.meta
        labels = [str(row.get("category_label")) for row in rows]
        raise UnknownNameError(
            f"{category[:80]} is no opportunity of this customer, who has {', '.join(labels) or 'none'}",
            wanted=category,
            names=labels,
        )

    def customers_of(
        self,
        caller: Caller,
        category: str | Sequence[str],
        limit: int | None = 100,
        minimum: float = 0,
        best: int | None = None,
    ) -> Answer:
        """Which customers are likely to begin to buy in a category, the most likely first.

        Args:
            caller: who asks.
            category: the category's key, name or label; or several of them, one after the other in the answer.
            limit: how many at most; None: all.
            minimum: only those with at least this likelihood.
            best: only where the category is among this many of the customer's best.
        """
        with self.snapshots.lease() as snapshot:
            connection = self._connection(snapshot, caller, OPPORTUNITIES)
            wanted = [category] if isinstance(category, str) else category
            keys = [self.category(caller, each)["category_key"] for each in wanted]
            columns = connection.views[OPPORTUNITIES].columns
            where = f"category_key in ({', '.join('?' * len(keys))}) and likelihood >= ?"
            parameters: list[Any] = [*keys, minimum]
            if best is not None:
                where, parameters = f"{where} and rank <= ?", [*parameters, best]
            order = [quote_name(CUSTOMER)] if CUSTOMER in columns else []
            selected, because = ", ".join(f"offers.{quote_name(name)}" for name in columns), ""
            if REASONS in connection.views and "opportunity_key" in columns:
                selected += ", why.because"
                because = (
                    " left join (select opportunity_key, "
                    "string_agg(owned_category_label, ', ' order by rank) as because "
                    f"from doors.{_quoted(REASONS)} group by opportunity_key) as why using (opportunity_key)"
                )
            return self._answer(
                caller,
                f"select {selected} from doors.{_quoted(OPPORTUNITIES)} as offers{because} where {where} "
                f"order by {', '.join(['category_label', 'likelihood desc', 'expected_value desc', *order])}"
                + ("" if limit is None else f" limit {int(limit)}"),
                parameters,
                [*columns, "because"] if because else columns,
                {OPPORTUNITIES, REASONS},
                snapshot=snapshot,
            )

    def category(self, caller: Caller, category: str) -> dict[str, Any]:
        """Find a category by its key, name or label.

        Args:
            caller: who asks.
            category: the key, name or label.
        """
        with self.snapshots.lease() as snapshot:
            connection = self._connection(snapshot, caller, CATEGORIES)
            columns = connection.views[CATEGORIES].columns
            rows = self._cache(snapshot, caller.role).rows(
                connection,
                f"select {', '.join(map(quote_name, columns))} from doors.{_quoted(CATEGORIES)} order by category_key",
            )
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        for column in ("category_key", "category_name", "category_label"):
            same = [each for each in found if str(each[column]).casefold() == category.casefold()]
            if len(same) == 1:
                return same[0]
            if same:
                keys = ", ".join(str(each["category_key"]) for each in same[:10])
                raise InvalidQuestionError(f"{category[:80]} is a category in several shops: {keys}; name the key")
        raise UnknownNameError(
            f"there is no category {category[:80]}",
            wanted=category,
            names=[str(each["category_label"]) for each in found],
        )

    def affinity(self, caller: Caller, category: str | None = None, limit: int = 100) -> Answer:
        """Which categories go together, the strongest first.

        Args:
            caller: who asks.
            category: only pairs with this one: its key, name or label; None: all.
            limit: how many at most.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidQuestionError(f"limit must be 1 to {LONGEST_PAGE:,}")
        with self.snapshots.lease() as snapshot:
            connection = self._connection(snapshot, caller, AFFINITY)
            columns = connection.views[AFFINITY].columns
            where, parameters = "", []
            if category is not None:
                where, parameters = " where category_key = ?", [self.category(caller, category)["category_key"]]
            return self._answer(
                caller,
                f"select {', '.join(map(quote_name, columns))} from doors.{_quoted(AFFINITY)}{where} "
                f"order by adoption_lift_low desc nulls last, lift_low desc nulls last, category_key, "
                f"other_category_key limit {int(limit)}",
                parameters,
                columns,
                {AFFINITY},
                snapshot=snapshot,
            )

    # Quality, contract, meta.

    def contract(self) -> dict[str, Any]:
        """Give the contract as it was published: file name to document."""
        folder = self.settings.paths.published.parent
        return {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files(folder)}

    def meta(self, caller: Caller, tables: set[str] | frozenset[str] = frozenset()) -> dict[str, Any]:
        """Say what stands behind an answer that is made of no rows.

        Args:
            caller: who asks.
            tables: the tables behind it; empty: all.
        """
        with self.snapshots.lease() as snapshot:
            return self._meta(caller, snapshot, tables or {table.full_name for table in snapshot.tables}, in_sums=False)

    def _answer(
        self,
        caller: Caller,
        sql: str,
        parameters: list[Any],
        columns: list[str],
        tables: set[str] | frozenset[str],
        *,
        snapshot: Snapshot | None = None,
        in_sums: bool = False,
    ) -> Answer:
        taken = self.snapshots.take(snapshot.id if snapshot else None)
        try:
            return self._made(caller, taken, sql, parameters, columns, tables, in_sums=in_sums)
        except BaseException:
            self.snapshots.give_back(taken)
            raise

    def _made(
        self,
        caller: Caller,
        snapshot: Snapshot,
        sql: str,
        parameters: list[Any],
        columns: list[str],
        tables: set[str] | frozenset[str],
        *,
        in_sums: bool = False,
        page: _Page | None = None,
    ) -> Answer:
        return Answer(
            sql,
            parameters,
            columns,
            self._meta(caller, snapshot, tables, in_sums=in_sums),
            snapshot.roles[caller.role],
            snapshot,
            self.snapshots,
            self._cache(snapshot, caller.role),
            page,
        )

    def _meta(
        self, caller: Caller, snapshot: Snapshot, tables: set[str] | frozenset[str], *, in_sums: bool
    ) -> dict[str, Any]:
        key = (caller.role, caller.purpose, frozenset(tables), in_sums)
        made = snapshot.metas.get(key)
        if made is None:
            made = self._make_meta(caller, snapshot, tables, in_sums=in_sums)
            if len(snapshot.metas) >= CACHED:
                snapshot.metas.clear()
            snapshot.metas[key] = made
        # The caller may add to it.
        return dict(made)

    def _make_meta(
        self, caller: Caller, snapshot: Snapshot, tables: set[str] | frozenset[str], *, in_sums: bool
    ) -> dict[str, Any]:
        role = self.role(caller)
        connection = snapshot.roles[caller.role]
        masks, rules = {}, set(role.rows.words() if in_sums else ())
        for name in sorted(tables):
            if shown := connection.views.get(name):
                rules |= set(shown.row_rules)
                if shown.masks:
                    masks[name] = shown.masks
        return {
            "publication": snapshot.id,
            "published_at": snapshot.published_at.isoformat(timespec="seconds"),
            "as_of": snapshot.as_of.isoformat() if snapshot.as_of else None,
            "sources": [
                {
                    "source": shop.source,
                    "status": shop.status,
                    "newest_purchase": shop.newest_purchase.isoformat() if shop.newest_purchase else None,
                    "newest_delivery": shop.newest_delivery.isoformat() if shop.newest_delivery else None,
                    "held_since": shop.held_since.isoformat() if shop.held_since else None,
                    "reason": shop.reason,
                }
                for shop in snapshot.shops
                if not role.rows.shops or shop.source in role.rows.shops
            ],
            "objectives": [
                {"objective": each.objective, "status": each.status} for each in self._standings(snapshot, tables)
            ],
            "role": caller.role,
            "purpose": caller.purpose,
            "masks": masks,
            "row_rules": sorted(rules),
            "minimum_group": role.minimum_group if in_sums else None,
        }

    def _standings(self, snapshot: Snapshot, tables: set[str] | frozenset[str]) -> list[Standing]:
        """The objectives that checks of these tables, and of what they are made from, measure."""
        behind: set[str] = set()
        for table in tables:
            for ancestor in self._ancestors.get(table, {table}):
                behind |= snapshot.objectives_of.get(ancestor, set())
        return [standing for standing in snapshot.standings if standing.objective in behind]

    def _connection(self, snapshot: Snapshot, caller: Caller, *tables: str) -> RoleConnection:
        connection = snapshot.roles[caller.role]
        for table in tables:
            if table not in connection.views:
                if table not in {each.full_name for each in snapshot.tables}:
                    raise UnknownNameError(f"this publication has no table {table}: it was made by another version")
                raise RefusedError(f"your role {caller.role} may not read the rows of {table}")
        return connection

    def _customer_column(self, connection: RoleConnection, table: str, caller: Caller) -> None:
        if connection.views[table].actions.get(CUSTOMER) not in (Action.SHOW, Action.HASH):
            raise RefusedError(f"your role {caller.role} does not see which customer a row is about")

    def _cache(self, snapshot: Snapshot, role: str) -> _Cache:
        key = (snapshot.id, role)
        if key not in self._caches:
            # Those of publications that are closed go with the next one.
            for old in [each for each in list(self._caches) if each[0] not in self.snapshots.ids]:
                self._caches.pop(old, None)
        return self._caches.setdefault(key, _Cache())

    def _columns(self, table: str, names: Sequence[str], seen: dict[str, Action]) -> list[dict[str, Any]]:
        node = self.descriptions[table]
        return [
            {
                "name": name,
                "type": node["columns"][name]["data_type"],
                "description": " ".join(node["columns"][name]["description"].split()),
                "shown": seen[name].value,
            }
            for name in names
            if name in node["columns"]
        ]

    def _owner(self, table: str) -> dict[str, str]:
        node = self.descriptions[table]
        project = self.manifest["metadata"]["project_name"]
        owner = self.manifest["groups"].get(f"group.{project}.{node.get('group')}", {}).get("owner", {})
        return {"name": owner.get("name", ""), "email": owner.get("email", "")}

    def _sign(self, state: dict[str, Any]) -> str:
        body = json.dumps(state, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._signature(body) + body).decode().rstrip("=")

    def _read_cursor(self, cursor: str, fingerprint: str) -> dict[str, Any]:
        wrong = InvalidQuestionError("this is no cursor of this service: begin again without it")
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise wrong from error
        if len(cursor) > 1_000 or not hmac.compare_digest(raw[:16], self._signature(raw[16:])):
            raise wrong
        state: dict[str, Any] = json.loads(raw[16:])
        if state["question"] != fingerprint:
            raise InvalidQuestionError(
                "the cursor is of another question: keep the question the same from page to page"
            )
        return state

    def _signature(self, body: bytes) -> bytes:
        return hmac.digest(f"cursor:{self.key}".encode(), body, "sha256")[:16]


def with_reasons(answer: Answer) -> list[dict[str, Any]]:
    """Put the reasons to a customer's opportunities.

    Args:
        answer: of `Doors.opportunities`.
    """
    reasons = answer.more["reasons"]
    return [row | {"reasons": reasons.get(row.get("opportunity_key"), [])} for row in answer.rows()]


def explain(row: dict[str, Any]) -> str:
    """Say an opportunity in a sentence.

    Args:
        row: with its reasons, as `with_reasons` gives it.
    """
    label = row.get("category_label")
    said = f"{percent(row['likelihood'])} likely to begin to buy {label} within {row['horizon_days']} days"
    if row.get("baseline_likelihood"):
        said += f" ({percent(row['baseline_likelihood'])} without what is known of this customer)"
    because = [
        str(reason["owned_category_label"]) for reason in row.get("reasons", []) if reason.get("owned_category_label")
    ]
    if because:
        said += f", because the customer buys {', '.join(because[:-1]) + ' and ' if because[1:] else ''}{because[-1]}"
    return said + "."


def percent(share: float | None) -> str:
    """Write a share for people: 12.3 %."""
    return "" if share is None else f"{100 * share:.1f} %"


def plain(value: Any) -> Any:
    """Make of a value what JSON can write: amounts as numbers, days as text, and null where a number is none."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def as_json(content: Any) -> bytes:
    """Write an answer as JSON, with values as `plain` makes them.

    Args:
        content: of dicts, lists and values.
    """
    try:
        return orjson.dumps(content, default=plain)
    except TypeError:
        # It knows no whole numbers of more than 64 bits, and no text that is not Unicode.
        text = json.dumps(plain(content), allow_nan=False, ensure_ascii=False)
        return text.encode("utf-8", "replace")


def _as_column(name: str) -> Any:
    return exp.column(name, quoted=True)


def _quoted(table: str) -> str:
    return quote_table(*table.split("."))


def _ancestors(manifest: Manifest, node: dict[str, Any]) -> set[str]:
    """Names of the tables that one is made from, and its own, as the record of checks has them."""
    seen: set[str] = set()
    waiting = [node["unique_id"]]
    names = set()
    while waiting:
        unique_id = waiting.pop()
        if unique_id in seen:
            continue
        seen.add(unique_id)
        found = manifest["nodes"].get(unique_id) or manifest["sources"].get(unique_id)
        if found:
            names.add(f"{found['schema']}.{found.get('alias') or found['name']}")
        waiting += manifest["parent_map"].get(unique_id, [])
    return names

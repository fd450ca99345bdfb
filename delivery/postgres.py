"""The published tables in PostgreSQL, where BI tools read them.

All of it happens in one transaction: readers see the tables of the publication before, or all of the new ones, and a
process that is killed leaves nothing behind. Schemas are built under another name and renamed in the end, so nothing
that is read meanwhile is locked.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa
import yaml

from delivery import policy as rules
from delivery.contract import files
from delivery.personal import PersonalError, open_joined
from delivery.policy import Policy
from delivery.postgres_roles import grants, role_name, schema_of_role
from delivery.publication import publication_id
from warehouse.connections import columns, count
from warehouse.dbt_project import prepare, read_manifest
from warehouse.digests import digest
from warehouse.paths import Paths
from warehouse.secrets import hide
from warehouse.settings import Settings
from warehouse.sql import quote_name, quote_table, quote_text

Say = Callable[[str], object]

# Where PostgreSQL keeps what this command knows; everything else in it is a published schema or a role's views.
OWN_SCHEMA = "next_aisle"

# What a publication looks like in PostgreSQL. Raise it when this module writes the same data in another way.
LAYOUT = 1

# How long to wait for statements under way before the swap, and again before old tables are removed (seconds).
WAIT_FOR_READERS = 5

# How often the published file may take another's place while it is being opened.
REPLACED_AT_MOST = 5

# First part of a contract's type to PostgreSQL's; the rest, such as the digits of a decimal, is the same.
TYPES = {
    "string": "text",
    "varchar": "text",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
    "int": "integer",
    "integer": "integer",
    "bigint": "bigint",
    "decimal": "numeric",
    "double": "double precision",
}

_OWN_TABLES = f"""
create schema if not exists {OWN_SCHEMA};
create table if not exists {OWN_SCHEMA}.publication (
    publication_id text not null, published_at timestamptz not null, loaded_at timestamptz not null,
    contract_version text not null, made_from text not null
);
comment on table {OWN_SCHEMA}.publication is
    'One row: the publication whose tables are in this database, and since when.';
create table if not exists {OWN_SCHEMA}.written_schemas (oid oid primary key, is_current boolean not null);
comment on table {OWN_SCHEMA}.written_schemas is
    'Schemas that Next Aisle wrote. Those of earlier publications are removed once nothing reads them.';
create table if not exists {OWN_SCHEMA}.hash_key (before_value text not null, before_hash text not null);
comment on table {OWN_SCHEMA}.hash_key is
    'The secret of the keyed hashes in the views of roles: only the owner of the views may read it.';
"""

# The server frees it at the end of the transaction, or when the process dies.
_TRY_TO_BE_ALONE = "select pg_try_advisory_xact_lock(hashtext('next_aisle publication'))"

# Views and foreign keys of others that rest on tables of earlier publications.
_HELD_BY = """
select distinct holder.relnamespace::regnamespace::text || '.' || quote_ident(holder.relname)
from (
    select r.ev_class as holder, d.refobjid as held
    from pg_depend as d join pg_rewrite as r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
    where d.refclassid = 'pg_class'::regclass
    union all
    select conrelid, confrelid from pg_constraint where contype = 'f'
) as held
join pg_class as holder on holder.oid = held.holder
join pg_class as ours on ours.oid = held.held
join next_aisle.written_schemas as w on w.oid = ours.relnamespace and not w.is_current
where holder.relnamespace not in (select oid from next_aisle.written_schemas)
order by 1
"""


class PostgresError(Exception):
    """The tables could not be written to PostgreSQL; those that were there stay. The message says why."""


@dataclass(frozen=True)
class Written:
    """What PostgreSQL has now.

    Attributes:
        publication_id: which publication.
        row_counts: `schema.table` to rows; empty where nothing was new.
        is_new: whether it was written now.
        still_read: tables and views of others that keep tables of an earlier publication.
    """

    publication_id: str
    row_counts: dict[str, int] = field(default_factory=dict)
    is_new: bool = True
    still_read: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Column:
    """A column, as the contract describes it.

    Attributes:
        name: its name.
        type: as the contract writes it, such as decimal(18,2).
        description: what it holds.
        is_required: whether every row has a value.
        is_unique: whether no value is there twice.
        references: (table, column) of the same schema that its values must be in.
    """

    name: str
    type: str
    description: str
    is_required: bool
    is_unique: bool
    references: list[tuple[str, str]]

    @property
    def postgres_type(self) -> str:
        """PostgreSQL's word for the type."""
        first, bracket, digits = self.type.lower().partition("(")
        if first.strip() not in TYPES:
            raise PostgresError(f"the contract's type {self.type} of {self.name} is none of {', '.join(TYPES)}")
        return TYPES[first.strip()] + bracket + digits


@dataclass(frozen=True)
class Table:
    """A published table, as the contract describes it.

    Attributes:
        schema: its schema.
        name: its name.
        description: what one row is.
        columns: in their order.
        key: the columns that tell rows apart; may be empty.
    """

    schema: str
    name: str
    description: str
    columns: list[Column]
    key: list[str]

    def has_key(self, column: str) -> bool:
        """Whether a foreign key may name the column."""
        return self.key == [column] or any(c.name == column and c.is_unique for c in self.columns)


@dataclass(frozen=True)
class Published:
    """The published file, open, with what describes it.

    Attributes:
        connection: the file.
        id: which publication it is.
        published_at: seconds since 1970.
        version: of the contract.
        tables: as the contract next to the file describes them.
        columns: (schema, table) to column to type, as they are in the file.
    """

    connection: duckdb.DuckDBPyConnection
    id: str
    published_at: float
    version: str
    tables: list[Table]
    columns: dict[tuple[str, str], dict[str, str]]


def address(url: str, password: str | None) -> sa.URL:
    """Put the address of the database together.

    Args:
        url: such as postgresql://user@host:5432/database.
        password: of the user; None: the one in the address, or where libpq looks for it (PGPASSWORD, ~/.pgpass).

    Raises:
        PostgresError: it is no address of a PostgreSQL database.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("postgresql", "postgres"):
        # Without the address itself, which may hold a password.
        raise PostgresError("NEXT_AISLE_POSTGRES_URL is no address such as postgresql://user@host:5432/database")
    return parsed.set(drivername="postgresql", password=password or parsed.password)


def write_as_set(settings: Settings, say: Say = print) -> Written:
    """Bring the published tables into the database that the settings name.

    Args:
        settings: where data lives, the database, its password, and the policy.
        say: called with one line for what takes time.

    Raises:
        PostgresError: no database is named, or as `write`.
        PolicyError: the policy is not valid.
        DbtProjectError: the dbt project does not parse.
    """
    if not settings.postgres_url:
        raise PostgresError(
            "no PostgreSQL database is named: set NEXT_AISLE_POSTGRES_URL=postgresql://user@host:5432/database, and "
            "NEXT_AISLE_POSTGRES_PASSWORD"
        )
    password = settings.postgres_password.get_secret_value() if settings.postgres_password else None
    database = address(settings.postgres_url.get_secret_value(), password)
    described = rules.described(read_manifest(prepare(settings)))
    key = settings.key_of_personal_columns
    return write(settings.paths, database, rules.read(settings.policy), described, say, key)


def warning(written: Written) -> str:
    """Say what keeps tables of an earlier publication, and the way out.

    Args:
        written: what `write` gave.
    """
    return (
        f"{', '.join(written.still_read)} rest on tables of an earlier publication and show its rows. Make them again "
        "after each publication, or read the tables from where they are used"
    )


def write(
    paths: Paths,
    database: sa.URL,
    policy: Policy,
    described: Sequence[rules.Table],
    say: Say = print,
    personal_key: bytes | None = None,
) -> Written:
    """Bring the published tables into PostgreSQL, with keys, comments, and what each role of the policy may see.

    Args:
        paths: where the published file is.
        database: as `address` gives it.
        policy: who may see what.
        described: the published tables as dbt's metadata describes them, with the columns' tags.
        say: called with one line for what takes time.
        personal_key: of the personal columns, where they are encrypted; None: they are empty in PostgreSQL too then.

    Raises:
        PostgresError: nothing is published, the file is damaged, PostgreSQL cannot be reached, or it refuses
            something. What was there before stays.
        PolicyError: there is no key of the hashes.
    """
    driver = _driver()
    secrets = [str(database.password)] if database.password else []
    with _reading(paths, personal_key) as published:
        try:
            with contextlib.closing(driver.connect(database.render_as_string(hide_password=False))) as connection:
                try:
                    return _write(connection, published, policy, described, rules.hash_key(paths), say)
                finally:
                    # Before it is closed: the driver warns of an open transaction.
                    connection.rollback()
        except driver.Error as error:
            raise PostgresError(_explained(hide(str(error), secrets), database, published)) from None
        except duckdb.Error as error:
            raise PostgresError(f"{paths.published} cannot be read: {error}. Publish it again: make run") from error


def _driver() -> Any:
    try:
        from adbc_driver_postgresql import dbapi
    except ImportError as error:
        raise PostgresError("the driver of PostgreSQL is not installed: install next-aisle[bi]") from error
    return dbapi


@contextlib.contextmanager
def _reading(paths: Paths, personal_key: bytes | None) -> Iterator[Published]:
    """Open the published file, and the contract that belongs to it."""
    file = paths.published
    if not file.exists():
        raise PostgresError(f"nothing is published yet at {file}: make run")
    try:
        # Again where a publication took the file's place meanwhile: id, rows and contract must belong together.
        for _ in range(REPLACED_AT_MOST):
            identity = publication_id(file)
            published_at = file.stat().st_mtime
            connection = open_joined(file, personal_key)
            tables, version = _described(file.parent)
            if publication_id(file) == identity:
                break
            connection.close()
        else:
            raise PostgresError(f"{file} is being replaced again and again: try again in a moment")
    except PersonalError as error:
        raise PostgresError(str(error)) from error
    except (duckdb.Error, OSError) as error:
        raise PostgresError(f"{file} cannot be read: {error}. Publish it again: make run") from error
    except (yaml.YAMLError, KeyError, TypeError, UnicodeError) as error:
        raise PostgresError(f"the contract in {file.parent} is damaged: {error!r}. Publish again: make run") from error
    with connection:
        found = columns(connection, with_attached=False)
        if in_contract := _difference(tables, found):
            raise PostgresError(
                f"the contract in {file.parent} does not describe {in_contract} as it was published: make contract, "
                "and publish again"
            )
        yield Published(connection, identity, published_at, version, tables, found)


def _described(folder: Path) -> tuple[list[Table], str]:
    """Read the contract: the tables, and its version."""
    tables, version = [], ""
    for path in files(folder):
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        version = str(document["version"])
        for table in document.get("schema", []):
            keys = [p for p in table["properties"] if p.get("primaryKey")]
            tables.append(
                Table(
                    document["servers"][0]["schema"],
                    table["name"],
                    table["description"],
                    [_column(column) for column in table["properties"]],
                    [p["name"] for p in sorted(keys, key=lambda p: int(p["primaryKeyPosition"]))],
                )
            )
    return tables, version


def _column(column: Mapping[str, Any]) -> Column:
    references = [tuple(to["to"].split(".")) for to in column.get("relationships", [])]
    return Column(
        column["name"],
        column["physicalType"],
        column["description"],
        bool(column.get("required")),
        bool(column.get("unique")),
        [(table, name) for table, name in references],
    )


def _difference(tables: Sequence[Table], found: Mapping[tuple[str, str], Mapping[str, str]]) -> str | None:
    """The first table that the contract does not describe as it is."""
    described = {(table.schema, table.name): {column.name for column in table.columns} for table in tables}
    for schema, name in sorted(described.keys() | found.keys()):
        if described.get((schema, name)) != set(found.get((schema, name), ())):
            return f"{schema}.{name}"
    return None


def _write(
    connection: Any,
    published: Published,
    policy: Policy,
    described: Sequence[rules.Table],
    key: str,
    say: Say,
) -> Written:
    # In an order of their own: dbt lists them as it happened to parse them.
    tags = sorted((t.full_name, column.name, sorted(column.tags or ())) for t in described for column in t.columns)
    contract = [published.version, repr(published.tables)]
    made_from = digest(published.id, contract, policy.model_dump(mode="json"), tags, key, LAYOUT)
    with connection.cursor() as cursor:
        version = _one(cursor, "select current_setting('server_version')")
        if int(version.partition(".")[0]) < 15:
            raise PostgresError(f"PostgreSQL 15 or newer is needed; this is {version}")
        _alone(cursor, say)
        _run(cursor, f"set local client_min_messages = warning; set local statement_timeout = 0; {_OWN_TABLES}")
        if _is_there(cursor, made_from):
            connection.commit()
            return Written(published.id, is_new=False, still_read=_drop_old(connection, say))
        schemas = list(dict.fromkeys(table.schema for table in published.tables))
        views = [schema_of_role(role, schema) for role in policy.roles for schema in schemas]
        _refuse_others(cursor, [*schemas, *views])
        _run(cursor, *(f"create schema {quote_name(_new(schema))}" for schema in schemas))
        row_counts = {}
        for table in published.tables:
            started = time.monotonic()
            rows = _load(cursor, published.connection, table)
            row_counts[f"{table.schema}.{table.name}"] = rows
            if (seconds := time.monotonic() - started) >= 1:
                say(f"{table.schema}.{table.name}: {rows:,} rows, {seconds:.1f} s")
        _run(cursor, *_constraints(published.tables), *_comments(published.tables))
        _run(cursor, *(f"analyze {_target(table)}" for table in published.tables))
        _keep_key(cursor, key)
        known = rules.as_published(described, published.columns)
        comments = {
            (table.schema, table.name): (table.description, {c.name: c.description for c in table.columns})
            for table in published.tables
        }
        _make_roles(cursor, policy)
        _run(cursor, *grants(policy, known, _new, comments))
        _wait_for_readers(cursor)
        _swap(cursor, schemas, views)
        cursor.execute(f"delete from {OWN_SCHEMA}.publication")
        cursor.execute(
            f"insert into {OWN_SCHEMA}.publication "
            f"select {quote_text(published.id)}, to_timestamp({published.published_at!r}), clock_timestamp(), "
            f"{quote_text(published.version)}, {quote_text(made_from)}"
        )
    connection.commit()
    return Written(published.id, row_counts, still_read=_drop_old(connection, say))


def _alone(cursor: Any, say: Say) -> None:
    """Wait for another publication to this database."""
    waited = 0
    while not _one(cursor, _TRY_TO_BE_ALONE):
        if waited % 60 == 0:
            say(f"waiting for another publication to this database ({waited} s so far)")
        time.sleep(1)
        waited += 1


def _is_there(cursor: Any, made_from: str) -> bool:
    """Whether the database has this publication, and no schema of it was taken away."""
    return bool(
        _one(
            cursor,
            f"select exists (select from {OWN_SCHEMA}.publication where made_from = {quote_text(made_from)}) "
            f"and not exists (select from {OWN_SCHEMA}.written_schemas as w "
            "where is_current and not exists (select from pg_namespace as n where n.oid = w.oid))",
        )
    )


def _refuse_others(cursor: Any, schemas: Sequence[str]) -> None:
    """Refuse to replace a schema that somebody else made."""
    names = ", ".join(map(quote_text, schemas))
    cursor.execute(
        f"select nspname from pg_namespace where nspname in ({names}) "
        f"and oid not in (select oid from {OWN_SCHEMA}.written_schemas) order by 1"
    )
    if others := [row[0] for row in cursor.fetchall()]:
        raise PostgresError(
            f"the database already has {_listed('a schema', others)}, which this command did not make. Give it a "
            "database of its own, or rename what is there: alter schema ... rename to ..."
        )


def _load(cursor: Any, source: duckdb.DuckDBPyConnection, table: Table) -> int:
    """Make a table and fill it; gives its rows."""
    name = quote_table(table.schema, table.name)
    definition = ", ".join(
        f"{quote_name(column.name)} {column.postgres_type}" + (" not null" if column.is_required else "")
        for column in table.columns
    )
    cursor.execute(f"create table {_target(table)} ({definition})")
    # In the types that PostgreSQL gets, for the driver sends them as they are.
    values = ", ".join(f"{quote_name(c.name)}::{c.type} as {quote_name(c.name)}" for c in table.columns)
    rows = source.sql(f"select {values} from {name}").to_arrow_reader(20_000)
    try:
        cursor.adbc_ingest(table.name, rows, mode="append", db_schema_name=_new(table.schema))
    except Exception as error:
        if "0x00" in str(error) and (column := _with_nul(source, table)):
            raise PostgresError(
                f"{table.schema}.{table.name}.{column} has a value with the character U+0000, which PostgreSQL does "
                "not keep: take it out in the staging model"
            ) from None
        raise
    sent, arrived = count(source, name), int(_one(cursor, f"select count(*) from {_target(table)}"))
    if sent != arrived:
        raise PostgresError(f"{table.schema}.{table.name}: {sent:,} rows are published, {arrived:,} arrived")
    return arrived


def _with_nul(source: duckdb.DuckDBPyConnection, table: Table) -> str | None:
    for column in table.columns:
        rows = f"from {quote_table(table.schema, table.name)} where contains({quote_name(column.name)}, chr(0)) limit 1"
        if column.postgres_type == "text" and source.execute(f"select 1 {rows}").fetchall():
            return column.name
    return None


def _constraints(tables: Sequence[Table]) -> Iterator[str]:
    """Keys first, then what refers to them. A key with a column that may be empty is a unique constraint."""
    by_name = {(table.schema, table.name): table for table in tables}
    for table in tables:
        required = {column.name for column in table.columns if column.is_required}
        if table.key:
            kind = "primary key" if required.issuperset(table.key) else "unique nulls not distinct"
            yield f"alter table {_target(table)} add {kind} ({', '.join(map(quote_name, table.key))})"
        for column in table.columns:
            if column.is_unique and table.key != [column.name]:
                yield f"alter table {_target(table)} add unique ({quote_name(column.name)})"
    for table in tables:
        for column in table.columns:
            for other, field_name in column.references:
                referred = by_name.get((table.schema, other))
                if referred and referred.has_key(field_name):
                    yield (
                        f"alter table {_target(table)} add foreign key ({quote_name(column.name)}) "
                        f"references {_target(referred)} ({quote_name(field_name)})"
                    )


def _comments(tables: Sequence[Table]) -> Iterator[str]:
    for table in tables:
        yield f"comment on table {_target(table)} is {quote_text(table.description)}"
        for column in table.columns:
            yield f"comment on column {_target(table)}.{quote_name(column.name)} is {quote_text(column.description)}"


def _keep_key(cursor: Any, key: str) -> None:
    """Store what the hashes are made with, as policy.duckdb_hash puts it before the value and before the first hash."""
    cursor.execute(f"revoke all on {OWN_SCHEMA}.hash_key from public")
    cursor.execute(f"delete from {OWN_SCHEMA}.hash_key")
    cursor.execute(f"insert into {OWN_SCHEMA}.hash_key values ($1, $2)", (f"{key}:inner:", f"{key}:outer:"))


def _make_roles(cursor: Any, policy: Policy) -> None:
    """Make the group roles that are missing; people's own logins are made members of them by an administrator."""
    names = [role_name(role) for role in policy.roles]
    cursor.execute("select rolname from pg_roles")
    there = {row[0] for row in cursor.fetchall()}
    missing = [f"create role {quote_name(name)} nologin" for name in names if name not in there]
    if missing and not _one(cursor, "select rolcreaterole or rolsuper from pg_roles where rolname = current_user"):
        raise PostgresError(
            f"the user {_one(cursor, 'select current_user')} may not make roles. Have an administrator of the database "
            f"run, once: {'; '.join(missing)}"
        )
    _run(cursor, *missing)


def _wait_for_readers(cursor: Any) -> None:
    """Wait until no statement has a table open, and keep new ones waiting for the moment of the swap.

    PostgreSQL looks up the tables of a statement one after the other: one that is looking them up right now could
    otherwise get one of the old and one of the new. Statements that take longer than a few seconds have theirs already.
    """
    cursor.execute(
        f"select string_agg(c.oid::regclass::text, ', ') from pg_class as c join {OWN_SCHEMA}.written_schemas as w "
        "on w.oid = c.relnamespace where w.is_current and c.relkind in ('r', 'v')"
    )
    [(tables,)] = cursor.fetchall()
    if tables:
        # Not waiting in PostgreSQL's queue: all readers that come later would wait behind it.
        cursor.execute(
            f"""
            do $next_aisle$ begin
                for attempt in 1..{WAIT_FOR_READERS * 20} loop
                    begin
                        lock table {tables} in access exclusive mode nowait;
                        return;
                    exception when lock_not_available then
                        perform pg_sleep(0.05);
                    end;
                end loop;
            end $next_aisle$
            """
        )


def _swap(cursor: Any, schemas: Sequence[str], views: Sequence[str]) -> None:
    """Give the new schemas the names of the old ones; those of roles and tables that are no longer there go too."""
    cursor.execute(
        f"select n.oid::bigint, n.nspname from pg_namespace as n join {OWN_SCHEMA}.written_schemas as w "
        "on w.oid = n.oid where w.is_current"
    )
    old = cursor.fetchall()
    made = [*schemas, *views]
    names = ", ".join(quote_text(_new(name)) for name in made)
    _run(
        cursor,
        *(f"alter schema {quote_name(name)} rename to {quote_name(f'{name[:40]}__old_{oid}')}" for oid, name in old),
        f"update {OWN_SCHEMA}.written_schemas set is_current = false",
        f"insert into {OWN_SCHEMA}.written_schemas select oid, true from pg_namespace where nspname in ({names})",
        *(f"alter schema {quote_name(_new(name))} rename to {quote_name(name)}" for name in made),
    )


def _drop_old(connection: Any, say: Say) -> list[str]:
    """Remove the schemas of earlier publications, unless somebody still reads them.

    Returns:
        The tables and views of others that rest on them.
    """
    with connection.cursor() as cursor:
        # Another publication that has begun meanwhile removes them, at its end.
        alone = _one(cursor, _TRY_TO_BE_ALONE)
        cursor.execute(
            f"select n.nspname from {OWN_SCHEMA}.written_schemas as w join pg_namespace as n on n.oid = w.oid "
            "where not w.is_current order by 1"
        )
        old = [row[0] for row in cursor.fetchall()]
        cursor.execute(_HELD_BY)
        held = [row[0] for row in cursor.fetchall()]
        if alone and old and not held:
            cursor.execute(
                f"""
                do $next_aisle$ begin
                    set local client_min_messages = warning;
                    set local lock_timeout = '{WAIT_FOR_READERS}s';
                    drop schema {", ".join(map(quote_name, old))} cascade;
                    delete from {OWN_SCHEMA}.written_schemas where not is_current;
                exception when lock_not_available then
                end $next_aisle$
                """
            )
            if _one(cursor, f"select exists (select from {OWN_SCHEMA}.written_schemas where not is_current)"):
                say("a reader still has tables of the publication before open: they are removed the next time")
    connection.commit()
    return held


def _run(cursor: Any, *statements: str) -> None:
    """Run statements in one call: hundreds of comments would otherwise wait for the network hundreds of times."""
    if statements:
        body = ";\n".join(statement.rstrip().rstrip(";") for statement in statements)
        cursor.execute(f"do $next_aisle$ begin\n{body};\nend $next_aisle$")


def _one(cursor: Any, query: str) -> Any:
    cursor.execute(query)
    return cursor.fetchall()[0][0]


def _new(schema: str) -> str:
    """The name of a schema while it is built."""
    return f"{schema}__new"


def _target(table: Table) -> str:
    return quote_table(_new(table.schema), table.name)


def _listed(what: str, names: Sequence[str]) -> str:
    return f"{what} {names[0]}" if len(names) == 1 else f"schemas {', '.join(names)}"


def _explained(message: str, database: sa.URL, published: Published) -> str:
    """A driver's error with the way out."""
    text = " ".join(message.split()).removeprefix("INTERNAL: ").removeprefix("IO: ").removeprefix("INVALID_ARGUMENT: ")
    where = database.render_as_string(hide_password=True)
    if "Failed to connect" in text:
        return (
            f"cannot connect to {where}: {text}. Is it running, and do NEXT_AISLE_POSTGRES_URL and "
            "NEXT_AISLE_POSTGRES_PASSWORD name it? The tables that it has stay as they are"
        )
    return f"{where} refused publication {published.id}: {text}. The tables that it had stay as they were"

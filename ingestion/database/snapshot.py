"""A connection to PostgreSQL or MySQL/MariaDB that sees one snapshot, and errors that never show the password."""

import contextlib
import datetime as dt
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dlt
import sqlalchemy as sa
from dlt.common.configuration.specs import ConnectionStringCredentials

from ingestion.database.column_types import POSTGRESQL
from ingestion.raw_tables import LoadError, UnreachableError
from warehouse.secrets import hide
from warehouse.settings import quiet_dlt

# SQLAlchemy's driver of each kind of server, and what keeps a connection from hanging when the network is gone.
DRIVERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "postgresql": (
        "postgresql+psycopg",
        {
            "connect_timeout": 30,
            "client_encoding": "utf8",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 6,
            "application_name": "next_aisle",
            # A pooler may hand a transaction to a server process that does not know what an earlier one prepared.
            "prepare_threshold": None,
        },
    ),
    "mysql": ("mysql+pymysql", {"connect_timeout": 30, "read_timeout": 3600}),
}
OTHER_NAMES = {"postgres": "postgresql", "mariadb": "mysql"}

# After these statements the session sees one snapshot.
SESSION: Mapping[str, Sequence[str]] = {
    "postgresql": (
        "set transaction read only",
        "set local timezone = 'UTC'",
        "set local datestyle = 'ISO'",
        "set local intervalstyle = 'postgres'",
        "set local extra_float_digits = 1",
    ),
    "mysql": (
        "set session time_zone = '+00:00'",
        # The server waits this long for us to take rows.
        "set session net_write_timeout = 600",
        "start transaction with consistent snapshot, read only",
    ),
}
NOW = {"postgresql": "select now()", "mysql": "select utc_timestamp(6)"}

# PostgreSQL's and MySQL's codes for a table or column that the user may not read.
NOT_ALLOWED = ("42501", 1142, 1143)

# What both say when they answer, and refuse: psycopg gives no code then.
REFUSED = ("authentication", "does not exist", "Access denied", "Unknown database", "no pg_hba.conf entry")

# A table that was truncated or rewritten after the snapshot began looks empty in it. What the catalogue says in the
# snapshot of where the table is stored then differs from where it is.
REWRITTEN = """
    select 1
    from pg_class
    where relfilenode <> pg_relation_filenode(oid) and (
        oid = to_regclass(:table) or oid in (select relid from pg_partition_tree(to_regclass(:table)))
    )
"""


class Snapshot:
    """One connection, in one transaction that sees all tables as they were when it began; a context.

    Args:
        source: the source's name, by which its credentials are found.
        address: the database's address with user and password, in place of those credentials.

    Attributes:
        backend: postgresql or mysql, which MariaDB is too.
        address: the server and the database, without user and password.
        engine: SQLAlchemy's engine; it makes connections of its own, which see more than the snapshot.
        connection: the connection, once it is open.
        now: the server's clock when the transaction began, in UTC.

    Raises:
        LoadError: there are no credentials, they cannot be used, or the driver is not installed.
    """

    def __init__(self, source: str, address: str | None = None) -> None:
        self.variable = f"SOURCES__{source.upper()}__CREDENTIALS"
        url = self._credentials(source, address)
        self._password = str(url.password or "")
        name = url.get_backend_name()
        self.backend = OTHER_NAMES.get(name, name)
        if self.backend not in DRIVERS:
            raise LoadError(f"{self.variable} names a database of type {name}: it must be postgresql or mysql.")
        port = f":{url.port}" if url.port else ""
        self.address = f"{self.backend}://{url.host or 'localhost'}{port}/{url.database or ''}"
        self._driver: Any = None
        driver, options = DRIVERS[self.backend]
        try:
            self.engine = sa.create_engine(
                url.set(drivername=driver),
                connect_args=dict(options),
                isolation_level="REPEATABLE READ",
                poolclass=sa.NullPool,
                hide_parameters=True,
            )
        except ImportError:
            extra = "postgres" if self.backend == POSTGRESQL else "mysql"
            raise LoadError(f"the driver for {self.backend} is not installed: install next-aisle[{extra}].") from None

    def __enter__(self) -> "Snapshot":
        try:
            self.connection = self.engine.connect()
            self._driver = self.connection.connection.dbapi_connection
            for statement in SESSION[self.backend]:
                self.connection.exec_driver_sql(statement)
            now: dt.datetime = self.connection.exec_driver_sql(NOW[self.backend]).scalar_one()
        # Wrong options in the address are errors of many kinds.
        except Exception as error:
            # With a wrong password or name, another attempt would only lock the account.
            refused = any(word in str(error) for word in REFUSED) or not isinstance(error, sa.exc.OperationalError)
            raise (LoadError if refused else UnreachableError)(
                f"cannot connect to {self.address}: {self.clean(error)}. Check the server and {self.variable}; "
                "nothing was loaded."
            ) from None
        self.now = now if now.tzinfo else now.replace(tzinfo=dt.UTC)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the transaction, and the connection with it."""
        self._leave_result()
        with contextlib.suppress(Exception):
            self.connection.invalidate()
        with contextlib.suppress(Exception):
            self.connection.close()

    def columns(self, schema: str | None, table: str) -> dict[str, sa.types.TypeEngine[Any]]:
        """List a table's columns and their types, in the database's order.

        Args:
            schema: the table's schema; None: where the database looks first.
            table: the table, or a view.

        Raises:
            LoadError: there is no such table.
        """
        with self.explained(table), self._inspector() as inspector:
            try:
                found = inspector.get_columns(table, schema)
            except sa.exc.NoSuchTableError:
                raise LoadError(
                    f"{self.address} has no table {table}{f' in {schema}' if schema else ''} that "
                    f"{self.engine.url.username} may read. Correct its name in the source's module; nothing was loaded."
                ) from None
        return {column["name"]: column["type"] for column in found}

    def is_of(self, schema: str | None, table: str) -> bool:
        """Say whether the snapshot holds for a table: MySQL's does for InnoDB and not for what MyISAM and others store.

        Args:
            schema: the table's schema.
            table: the table.
        """
        if self.backend == POSTGRESQL:
            return True
        with self.explained(table), self._inspector() as inspector:
            options = inspector.get_table_options(table, schema)
        return (options.get("mysql_engine") or options.get("mariadb_engine") or "InnoDB") == "InnoDB"

    def is_unique(self, schema: str | None, table: str, columns: Sequence[str]) -> bool:
        """Say whether the database itself makes sure that no two rows of a table have the same values in some columns.

        Args:
            schema: the table's schema.
            table: the table; of a view nothing is known.
            columns: the columns.
        """
        with self.explained(table), self._inspector() as inspector:
            primary_key = inspector.get_pk_constraint(table, schema)["constrained_columns"]
            known: list[Sequence[str | None]] = [primary_key]
            for index in inspector.get_indexes(table, schema):
                # Not one of some rows only. An expression has no name.
                if index["unique"] and not index.get("dialect_options", {}).get("postgresql_where"):
                    known.append(index["column_names"])
        return any(each and set(each) <= set(columns) for each in known)

    def check_that_it_was_seen(self, schema: str | None, table: str) -> None:
        """Make sure that no rows of a table that was read were hidden from PostgreSQL's snapshot.

        Args:
            schema: the table's schema.
            table: the table.

        Raises:
            LoadError: some may have been.
        """
        if self.backend == POSTGRESQL:
            name = self.engine.dialect.identifier_preparer.format_table(sa.table(table, schema=schema))
            if self.connection.execute(sa.text(REWRITTEN), {"table": name}).first():
                raise LoadError(
                    f"{self.address}: {table} was truncated or altered while it was read. Nothing was loaded; "
                    "run again."
                )

    @contextlib.contextmanager
    def explained(self, table: str) -> Iterator[None]:
        """Turn what SQLAlchemy and the driver raise into one line without the password.

        Args:
            table: the table that is being read.

        Raises:
            LoadError: something was raised.
        """
        try:
            yield
        except (sa.exc.SQLAlchemyError, OSError, ValueError, AttributeError) as error:
            self._leave_result()
            way_out, kind = "Nothing was loaded; run again.", LoadError
            if _code(error) in NOT_ALLOWED:
                way_out = f"Have SELECT on it granted to {self.engine.url.username}; nothing was loaded."
            elif isinstance(error, sa.exc.OperationalError):
                kind = UnreachableError
            raise kind(f"{self.address}: reading {table} failed: {self.clean(error)}. {way_out}") from None

    def clean(self, error: BaseException) -> str:
        """Say what was raised, in one line and without the password."""
        cause = getattr(error, "orig", None) or error
        # PyMySQL's errors begin with a number.
        text = str(cause.args[-1] if len(cause.args) > 1 else cause)
        line = next((line.strip() for line in text.splitlines() if line.strip()), type(cause).__name__)
        return hide(line, [self._password]).rstrip(".")

    @contextlib.contextmanager
    def _inspector(self) -> Iterator[sa.Inspector]:
        with warnings.catch_warnings():
            # Of a type that SQLAlchemy does not know; see column_types.
            warnings.simplefilter("ignore", sa.exc.SAWarning)
            yield sa.inspect(self.connection)

    def _leave_result(self) -> None:
        """Keep PyMySQL from reading the rest of a result that was left in the middle, or that the server cut off."""
        result = getattr(self._driver, "_result", None)
        if result is not None:
            result.unbuffered_active = False

    def _credentials(self, source: str, address: str | None) -> sa.URL:
        quiet_dlt()
        value: Any = address or dlt.secrets.get(f"sources.{source}.credentials")
        example = "such as postgresql://USER:PASSWORD@HOST:5432/DATABASE"
        if not value:
            raise LoadError(
                f"source {source} has no credentials. Set {self.variable} to the database's address, {example}, or "
                f"`credentials` in [sources.{source}] of .dlt/secrets.toml; nothing was loaded."
            )
        try:
            return sa.make_url(ConnectionStringCredentials(value).to_native_representation())
        except Exception:
            # The error itself shows the password.
            raise LoadError(f"{self.variable} cannot be read: it must be an address {example}.") from None


def _code(error: BaseException) -> object:
    """The code that the database gives an error: PostgreSQL's SQLSTATE, MySQL's number."""
    cause = getattr(error, "orig", None)
    return getattr(cause, "sqlstate", None) or next(iter(getattr(cause, "args", ())), None)

"""Personal columns in files of their own, encrypted: the published file that everyone reads has nothing in them.

With a key (NEXT_AISLE_PERSONAL_KEY), each table that has personal columns is also written whole, as Parquet encrypted
by AES-GCM, next to the published file. The published file says which files these are (`select personal_files()`), so
that both belong to one publication, though files take their places one by one. The doors put the two together again;
others who have the key can read the files with pyarrow or DuckDB.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.parquet import encryption

from warehouse.connections import count
from warehouse.sql import quote_name, quote_table, quote_text

# Tags of columns in dbt's yml: what a customer is or said; and what of it is about family, home, education or money.
PERSONAL, SENSITIVE = "personal", "sensitive"

# A macro of the published file that names the encrypted files.
_FILES = "personal_files"

# What an encrypted file says of itself: a list of names, as JSON.
_PERSONAL_COLUMNS = "next_aisle.personal_columns"

# Rows that are written at once.
_ROWS = 100_000

# Of what is wrong with an encrypted file.
_WAY_OUT = "run the nightly job, which publishes it again"


class PersonalError(Exception):
    """The personal columns cannot be read or written; the message says why, and what to do."""


@dataclass(frozen=True)
class Table:
    """A table with personal columns.

    Attributes:
        schema: its schema.
        name: its name.
        columns: the personal ones.
    """

    schema: str
    name: str
    columns: tuple[str, ...]


def tables(models: Iterable[Mapping[str, Any]]) -> list[Table]:
    """List the tables that have personal columns.

    Args:
        models: nodes of dbt's manifest, those that are published.
    """
    found = [
        Table(
            node["schema"],
            node["alias"],
            tuple(
                column["name"]
                for column in node["columns"].values()
                if not {PERSONAL, SENSITIVE}.isdisjoint(column["tags"])
            ),
        )
        for node in models
    ]
    return [table for table in found if table.columns]


def new_files(published: Path, of: Sequence[Table]) -> dict[tuple[str, str], Path]:
    """Name the encrypted files of a new publication.

    Args:
        published: the published file.
        of: the tables.

    Returns:
        (schema, table) to the file, next to the published one.
    """
    token = secrets.token_hex(4)
    return {
        (table.schema, table.name): published.with_name(f"{published.stem}.{token}.{table.schema}.{table.name}.parquet")
        for table in of
    }


def write(connection: duckdb.DuckDBPyConnection, database: str, table: Table, file: Path, key: bytes) -> None:
    """Write all of a table, encrypted.

    Args:
        connection: to the database that has it.
        database: the name that it is attached as.
        table: the table.
        file: the file to write.
        key: 32 bytes.
    """
    rows = connection.sql(f"from {quote_name(database)}.{quote_table(table.schema, table.name)}").to_arrow_reader(_ROWS)
    schema = rows.schema.with_metadata({_PERSONAL_COLUMNS: json.dumps(table.columns)})
    how = encryption.create_encryption_properties(footer_key=key, encryption_algorithm="AES_GCM_V1")
    with pq.ParquetWriter(file, schema, compression="zstd", encryption_properties=how) as writer:
        for batch in rows:
            writer.write_batch(batch)


def name_files(connection: duckdb.DuckDBPyConnection, files: Iterable[Path]) -> None:
    """Have a published file say which encrypted files belong to it.

    Args:
        connection: to the published file.
        files: as `new_files` names them.
    """
    names = ", ".join(quote_text(name) for name in sorted(file.name for file in files))
    connection.execute(f"create macro {_FILES}() as [{names}]")


def files_of(connection: duckdb.DuckDBPyConnection, published: Path, database: str) -> list[Path]:
    """List the encrypted files that belong to a published file; none where its personal columns are its own.

    Args:
        connection: to which it is attached.
        published: the published file.
        database: the name that it is attached as.
    """
    (has,) = connection.execute(
        "select count(*) from duckdb_functions() "
        f"where database_name = {quote_text(database)} and function_name = {quote_text(_FILES)}"
    ).fetchall()[0]
    if not has:
        return []
    (names,) = connection.execute(f"select {quote_name(database)}.main.{_FILES}()").fetchall()[0]
    return [published.with_name(name) for name in names]


def join(
    connection: duckdb.DuckDBPyConnection, published: Path, database: str, key: bytes, joined: str
) -> set[tuple[str, str]]:
    """Put the personal columns back: views of the tables that have some, as they would be without a key.

    Args:
        connection: to which the published file is attached.
        published: the published file.
        database: the name that it is attached as.
        key: 32 bytes.
        joined: a name for the database in memory that gets the views; they have the schemas and names of the tables.

    Returns:
        (schema, table) of each view; none where the published file has the personal columns itself.

    Raises:
        PersonalError: a file is gone, or the key is not its key.
    """
    files = files_of(connection, published, database)
    if files:
        # Most values come again and again.
        connection.execute(f"attach ':memory:' as {quote_name(joined)} (compress)")
        connection.execute(f"create schema {quote_name(joined)}.rows")
    found = set()
    for file in files:
        _, _, schema, name, _ = file.name.split(".")
        values = _read(file, key)
        in_published = f"{quote_name(database)}.{quote_table(schema, name)}"
        rows = f"{quote_name(joined)}.rows.{quote_name(f'{schema}.{name}')}"
        # Both have the rows in the order of the warehouse, and DuckDB numbers them from 0.
        connection.register("values_of_file", values)
        connection.execute(f"create table {rows} as from values_of_file")
        connection.unregister("values_of_file")
        if count(connection, rows) != count(connection, in_published):
            raise PersonalError(f"{file.name} has other rows than {schema}.{name}: {_WAY_OUT}")
        there = ", ".join(f"personal.{quote_name(column)} as {quote_name(column)}" for column in values.column_names)
        connection.execute(f"create schema if not exists {quote_name(joined)}.{quote_name(schema)}")
        connection.execute(
            f"create view {quote_name(joined)}.{quote_table(schema, name)} as "
            f"select published.rowid, published.* replace ({there}) from {in_published} as published "
            f"join {rows} as personal on personal.rowid = published.rowid"
        )
        found.add((schema, name))
    return found


def open_joined(published: Path, key: bytes | None) -> duckdb.DuckDBPyConnection:
    """Open a published file with its personal columns, as far as there is a key.

    Args:
        published: the published file.
        key: 32 bytes; None: the file as it is.

    Raises:
        PersonalError: an encrypted file is gone, or the key is not its key.
    """
    if key is None:
        return duckdb.connect(str(published), read_only=True)
    connection = duckdb.connect()
    try:
        connection.execute(f"attach {quote_text(str(published))} as published (read_only)")
        names = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'published' order by all"
        ).fetchall()
        found = join(connection, published, "published", key, "joined")
        for schema, name in names:
            table = quote_table(schema, name)
            rows = (
                f"select * exclude (rowid) from joined.{table}"
                if (schema, name) in found
                else f"from published.{table}"
            )
            connection.execute(f"create schema if not exists {quote_name(schema)}")
            connection.execute(f"create view {table} as {rows}")
    except BaseException:
        connection.close()
        raise
    return connection


def _read(file: Path, key: bytes) -> pa.Table:
    """The personal columns of an encrypted file."""
    try:
        how = encryption.create_decryption_properties(footer_key=key)
        with pq.ParquetFile(file, decryption_properties=how) as content:
            metadata = content.schema_arrow.metadata or {}
            return content.read(columns=json.loads(metadata[_PERSONAL_COLUMNS.encode()]))
    except FileNotFoundError:
        raise PersonalError(f"{file.name} is not next to the published file: {_WAY_OUT}") from None
    except (OSError, KeyError, ValueError) as error:
        raise PersonalError(
            f"{file.name} cannot be opened: it was written with another key than NEXT_AISLE_PERSONAL_KEY, or it is "
            "damaged"
        ) from error

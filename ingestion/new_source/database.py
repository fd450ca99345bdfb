"""Look at the tables of a database: their columns and keys by its catalogue, and some rows."""

import json
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from ingestion.database.column_types import natural_type
from ingestion.database.snapshot import Snapshot
from ingestion.new_source.found import Column, Found
from ingestion.new_source.look import python
from ingestion.raw_tables import LoadError, stored_name
from ingestion.types import TYPES
from warehouse.sql import quote_name

# Rows that are looked at of each table.
ROWS = 10_000


def look(name: str, address: str | None, connection: duckdb.DuckDBPyConnection) -> list[Found]:
    """Find the tables in the schema in which a database looks first.

    Args:
        name: the source's name, by which its credentials are found.
        address: the database's address with user and password; None: the one in dlt's secrets.
        connection: for the SQL of `Found.rows`.

    Returns:
        The tables that have rows.

    Raises:
        LoadError: the database cannot be read, or has no rows.
    """
    with Snapshot(name, address) as snapshot:
        with snapshot.explained("the catalogue"):
            inspector = sa.inspect(snapshot.connection)
            keys = {table: inspector.get_pk_constraint(table) for table in sorted(inspector.get_table_names())}
        found = [_table(snapshot, table, key["constrained_columns"], connection) for table, key in keys.items()]
    with_rows = [table for table in found if table.row_count]
    if not with_rows:
        raise LoadError(f"{snapshot.address} has no tables with rows in its first schema that the user may read.")
    return with_rows


def _table(snapshot: Snapshot, table: str, key: Sequence[str], connection: duckdb.DuckDBPyConnection) -> Found:
    kinds = {column: natural_type(kind, snapshot.backend) for column, kind in snapshot.columns(None, table).items()}
    with snapshot.explained(table):
        query: Any = sa.select(*[sa.column(column) for column in kinds]).select_from(sa.table(table)).limit(ROWS)
        rows = snapshot.connection.execute(query).fetchall()
    relation = quote_name(f"rows of {table}")
    arrow = pa.table(
        {
            stored_name(column): pa.array([_text(row[place]) for row in rows], pa.string())
            for place, column in enumerate(kinds)
        }
    )
    connection.register("sample", arrow)
    values = [
        f"try_cast({quote_name(stored_name(column))} as {TYPES[kind].duckdb}) as {quote_name(stored_name(column))}"
        for column, kind in kinds.items()
    ]
    connection.execute(f"create table {relation} as select {', '.join(values)} from sample")
    connection.unregister("sample")
    declaration = {"table": python(table)} | (
        {"key": python(key[0]) if len(key) == 1 else repr(tuple(key))} if key else {}
    )
    found = Found(stored_name(table), declaration, [Column(column, kind) for column, kind in kinds.items()], relation)
    found.count(connection)
    found.key = [stored_name(column) for column in key]
    for column in found.columns:
        # Of the rows that were not looked at, the catalogue knows.
        column.is_unique = found.key == [column.stored] if found.key or found.row_count == ROWS else column.is_unique
    found.is_pulled = True
    found.evidence.append(f"columns and key {', '.join(key) or 'none'}: as the database's catalogue has them")
    if found.row_count == ROWS:
        found.evidence.append(f"only the first {ROWS:,} rows were looked at")
    moving = [
        one.name
        for one in found.columns
        if one.is_moment and ("updat" in one.stored or "modif" in one.stored or "chang" in one.stored)
    ]
    found.evidence.append(
        "read whole at each load"
        + (f"; with cursor={moving[0]!r} and a lag only what changed is (docs/sources.md)" if moving and key else "")
    )
    return found


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value.hex() if isinstance(value, bytes) else str(value)

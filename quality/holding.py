"""Which shops are held: their new deliveries wait, and their tables stay as readers have them.

A shop is held when it cannot be loaded, fails one of its own blocking checks, or delivers rows that break an objective,
while other shops can be published without it. The next run that finds nothing of the kind releases it. What is found is
noted in the warehouse, because the models read it (int_deliveries) and the next run has to know since when.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from warehouse.connections import tables
from warehouse.sql import quote_text

# As the dbt project's source `published` names it: one row for each cause that holds a shop.
SCHEMA, TABLE = "raw_published", "held_sources"
HELD_SOURCES = f"{SCHEMA}.{TABLE}"
COLUMNS = "source_name varchar, cause varchar, reason varchar, held_since timestamp"

# Causes; every other one is the name of a check, with its table.
LOAD = "load"
ROWS = "new rows"


@dataclass(frozen=True)
class Held:
    """A shop that is held.

    Attributes:
        source: the shop.
        reason: why, in words.
        since: when a run first found one of the causes that hold it now (UTC).
        causes: what holds it.
    """

    source: str
    reason: str
    since: dt.datetime
    causes: frozenset[str]


def read(connection: duckdb.DuckDBPyConnection, sources: Sequence[str]) -> dict[str, Held]:
    """Read which shops are held, and why.

    Args:
        connection: the open warehouse.
        sources: the active sources.

    Returns:
        Source to why it is held, in the order of `sources`; only those that are held.
    """
    if TABLE not in tables(connection, SCHEMA):
        return {}
    held = {}
    for source in sources:
        rows = connection.execute(
            f"select cause, reason, held_since from {HELD_SOURCES} "
            f"where source_name = {quote_text(source)} and reason is not null order by cause"
        ).fetchall()
        if rows:
            causes, reasons, since = zip(*rows, strict=True)
            held[source] = Held(source, "; ".join(reasons), min(since), frozenset(causes))
    return held


def note(connection: duckdb.DuckDBPyConnection, source: str, findings: Mapping[str, str | None]) -> None:
    """Note what holds a shop, and what does not hold it any longer; since when it does is kept.

    Args:
        connection: the open warehouse.
        source: the shop.
        findings: a cause to why it holds the shop; None: it does not.
    """
    _create(connection)
    known = {
        cause: (reason, since)
        for cause, reason, since in connection.execute(
            f"select cause, reason, held_since from {HELD_SOURCES} where source_name = {quote_text(source)}"
        ).fetchall()
    }
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    connection.execute("begin")
    for cause, finding in findings.items():
        # Several are joined to one text.
        reason = finding.rstrip(".") if finding else None
        if reason == known.get(cause, (None,))[0] and (reason or cause not in known):
            continue
        connection.execute(
            f"delete from {HELD_SOURCES} where source_name = {quote_text(source)} and cause = {quote_text(cause)}"
        )
        if reason is not None:
            since = known[cause][1] if cause in known else now
            values = f"{quote_text(source)}, {quote_text(cause)}, {quote_text(reason)}, timestamp '{since}'"
            connection.execute(f"insert into {HELD_SOURCES} (source_name, cause, reason, held_since) values ({values})")
    connection.execute("commit")


def begin(connection: duckdb.DuckDBPyConnection, sources: Sequence[str]) -> None:
    """Begin to model: shops that are not active are held no longer, and waiting rows are to be judged again.

    The models count the rows of a shop that was held for nothing but its rows. Since when it was is kept: `note` says
    whether it still is.

    Args:
        connection: the open warehouse.
        sources: the active sources; the only one is never held.
    """
    _create(connection)
    others = [source for source in sources if len(sources) > 1]
    names = ", ".join(map(quote_text, others)) or "null"
    connection.execute(f"delete from {HELD_SOURCES} where coalesce(source_name not in ({names}), true)")
    connection.execute(f"update {HELD_SOURCES} set reason = null where cause = {quote_text(ROWS)}")


def without_their_last_night(connection: duckdb.DuckDBPyConnection, held: Sequence[str]) -> list[str]:
    """Name the held shops that readers have rows of, though the warehouse has none of these deliveries any longer.

    That is so when the warehouse was made again: a publication would take the shop's rows away from readers.

    Args:
        connection: the open warehouse.
        held: the shops that are held.
    """
    return [
        source
        for source in held
        if connection.execute(
            f"""
            select count(*) > 0 and count(ledger.delivery) = 0
            from {SCHEMA}.deliveries as published
            left join raw_{source}.deliveries as ledger using (table_name, delivery, delivered_at)
            where published.source_name = {quote_text(source)}
            """
        ).fetchall()[0][0]
    ]


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"create schema if not exists {SCHEMA}")
    connection.execute(f"create table if not exists {HELD_SOURCES} ({COLUMNS})")

"""Loading again what was loaded before: what of it is still landed, and the deliveries from a date on."""

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb

from ingestion import source as sources
from ingestion.file_checks import find_deliveries
from ingestion.landed_files import LandedFiles
from ingestion.raw_tables import DELIVERIES, QUARANTINE, newest_deliveries
from warehouse.connections import tables
from warehouse.paths import Paths


def not_landed(paths: Paths, deliveries: Iterable[tuple[str, str, str]]) -> list[str]:
    """Name what could not be loaded again: deliveries whose file is not in the landing folder.

    What a database, an API or another place still has cannot be known before it is asked; it counts as not landed.

    Args:
        paths: where data lives.
        deliveries: (source, table, delivery) of each.

    Returns:
        `source/delivery` of each file that is missing, and the name of each source that is none of landed files.
    """
    listed = list(deliveries)
    known = {name: sources.find(name) for name in {name for name, _, _ in listed} & set(sources.names())}
    missing = []
    for name, _, delivery in listed:
        if (source := known.get(name)) is None:
            # The code of this shop was removed: its tables would be gone all the same.
            continue
        if not isinstance(source, LandedFiles) or source.location:
            missing.append(name)
        elif not (source.folder(paths) / delivery).is_file():
            missing.append(f"{name}/{delivery}")
    return list(dict.fromkeys(missing))


def landed(paths: Paths, source: str) -> list[Path] | None:
    """List the files of a source that are landed.

    Args:
        paths: where data lives.
        source: the source's name.

    Returns:
        The files; None of a source that is not of files in the landing folder.

    Raises:
        LoadError: a file is missing, or does not belong there.
    """
    found = sources.find(source)
    if not isinstance(found, LandedFiles) or found.location:
        return None
    return [delivery.path for delivery in find_deliveries(found.folder(paths), found.tables, found.tables)]


def since(connection: duckdb.DuckDBPyConnection, paths: Paths, source: str, day: dt.date) -> list[tuple[str, str]]:
    """List the deliveries of a day and later that are still landed, and can be loaded again.

    Args:
        connection: the open warehouse.
        paths: where data lives.
        source: the source's name.
        day: the first day.

    Returns:
        (table, delivery) of each; none of a source that is not of landed files.
    """
    found = sources.find(source)
    if not isinstance(found, LandedFiles) or found.location or DELIVERIES not in tables(connection, f"raw_{source}"):
        return []
    rows = connection.execute(
        f"""
        select newest.table_name, newest.delivery
        from {newest_deliveries(source)} as newest
        join raw_{source}.{DELIVERIES} as ledger using (table_name, delivery, _dlt_load_id)
        where ledger.delivery_date >= date '{day}' and newest.table_name <> '{QUARANTINE}'
        order by all
        """
    ).fetchall()
    return [(table, delivery) for table, delivery in rows if (found.folder(paths) / delivery).is_file()]


def load_again(connection: duckdb.DuckDBPyConnection, source: str, deliveries: Sequence[tuple[str, str]]) -> None:
    """Have the next load take deliveries for changed ones: it loads them as newer versions, which replace these.

    Until then, and if that load fails, the rows that are there count.

    Args:
        connection: the open warehouse.
        source: the source's name.
        deliveries: (table, delivery) of each.
    """
    connection.begin()
    for table, delivery in deliveries:
        connection.execute(
            f"update raw_{source}.{DELIVERIES} set digest = 'to be loaded again' where table_name = ? and delivery = ?",
            [table, delivery],
        )
    connection.commit()

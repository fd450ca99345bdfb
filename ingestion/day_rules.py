"""Rules about files and days: which files stop a load, and what is loaded but deserves a look.

Stops the load, before a row is written:

- **The wrong day.** A table declares `day_column`, and its files have a day in their names. More than half of a file's
  rows (of those with a date) are of other days than the file's: it was probably sent under the wrong name.
- **The same content twice.** A file of a table without a key has the bytes of another file of the table, which is
  landed too or was the newest version of its name: its rows would count twice. Files without rows may be alike.

Is loaded, and reported as a warning of the table (tables without a key; the last two need `day_column`):

- **Nothing left.** A file that was delivered with rows comes again without any.
- **Rows of other days.** Up to half of a file's rows are of other days: late rows, or rows near midnight.
- **Days that vanish.** A day had rows, files with rows of that day were delivered again, and now no file has any.
- **Lines in two files.** A line of a file that was just loaded is in another file too, the same in all columns.

The day of a row is the date of `day_column` plus `day_shift`.
"""

import datetime as dt
from collections.abc import Mapping, Sequence

import duckdb

from ingestion.file_checks import CheckedDelivery, Delivery, LandedTable
from ingestion.raw_tables import DELIVERY, LoadError, newest_deliveries
from warehouse.connections import in_memory
from warehouse.sql import quote_list, quote_name, quote_text

SEND_UNDER_ITS_NAME = "Have it sent again under its own name; nothing was loaded."


def check_content(
    checked: Sequence[CheckedDelivery], landed: Sequence[Delivery], known: Mapping[tuple[str, str], str]
) -> None:
    """Stop at a file whose content another file of its table has.

    Args:
        checked: the files to load.
        landed: all files of their tables.
        known: (table, delivery) to the digest of its newest version that was loaded.

    Raises:
        LoadError: two files of a table have the same content.
    """
    now = {(delivery.table.name, delivery.name): delivery.digest for delivery in landed}
    names: dict[tuple[str, str], list[str]] = {}
    for (table, name), digest in {**known, **now}.items():
        names.setdefault((table, digest), []).append(name)
    for file in checked:
        delivery = file.delivery
        others = [name for name in names[delivery.table.name, delivery.digest] if name != delivery.name]
        if delivery.table.key is None and file.row_count and others:
            is_landed = (delivery.table.name, others[0]) in now
            way_out = "Remove one of the two" if is_landed else "If it was renamed, give it its old name"
            raise LoadError(
                f"{delivery.path} has the same content as {others[0]}, so that its {file.row_count:,} rows would count "
                f"twice. {way_out}, or have the right file sent; nothing was loaded."
            )


def check_days(file: CheckedDelivery) -> int:
    """Stop at a file most of whose rows are of other days than its name says.

    Args:
        file: the file.

    Returns:
        How many of its rows are of other days.

    Raises:
        LoadError: more than half of its rows with a date are.
    """
    table, day = file.delivery.table, file.delivery.day
    if table.day_column is None or day is None:
        return 0
    with in_memory().cursor() as connection:
        rows = connection.execute(
            f"""
            select day, count(*)
            from (
                select {_day(table, file.values[table.day_column])} as day
                from read_parquet({quote_text(str(file.path))}, hive_partitioning = false) as landed
            )
            where day is not null
            group by day
            order by count(*) desc, day
            """
        ).fetchall()
    others = sum(int(count) for other, count in rows if other != day)
    total = sum(count for _, count in rows)
    if 2 * others > total:
        days = [other for other, _ in rows if other != day]
        held = f"rows of {days[0]}" if len(days) == 1 else f"rows of {min(days)} to {max(days)}, most of {days[0]}"
        raise LoadError(
            f"{file.delivery.path} holds {held} ({others:,} of {total:,} rows are not of {day}): it was probably sent "
            f"under the wrong name. {SEND_UNDER_ITS_NAME}"
        )
    return others


class Replaced:
    """What the files that come again had before, to notice what vanishes.

    Args:
        connection: the open warehouse, before the load.
        source: the source's name.
        table: the table.
        names: the deliveries that are about to be replaced.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, source: str, table: LandedTable, names: Sequence[str]
    ) -> None:
        self.connection = connection
        self.source = source
        self.table = table
        self.names = names
        self.days = self._days(f"newest.delivery in {quote_list(list(names))}") if names else set()

    def vanished(self) -> list[dt.date]:
        """Days that had rows in those files, and have none in any file after the load."""
        return sorted(self.days - self._days("true")) if self.days else []

    def _days(self, condition: str) -> set[dt.date]:
        if self.table.day_column is None or self.table.key is not None:
            return set()
        day = _day(self.table, f"loaded.{quote_name(self.table.day_column)}")
        rows = self.connection.execute(
            f"select distinct {day} from {_counted(self.source, self.table)} where {condition}"
        ).fetchall()
        return {value for (value,) in rows if value is not None}


def lines_in_two_files(
    connection: duckdb.DuckDBPyConnection, source: str, table: LandedTable, names: Sequence[str]
) -> list[tuple[str, str, int]]:
    """Find lines of the newly loaded files that are in another file too, the same in all columns.

    Only rows of the days that the new files have are compared.

    Args:
        connection: the open warehouse, after the load.
        source: the source's name.
        table: the table.
        names: the deliveries that were loaded.

    Returns:
        The new file, the other file, and how many lines are in both; most first.
    """
    if table.day_column is None or table.key is not None or not names:
        return []
    columns = [
        quote_name(name)
        for (name,) in connection.execute(
            "select column_name from information_schema.columns where table_schema = "
            f"{quote_text(f'raw_{source}')} and table_name = {quote_text(table.name)} order by ordinal_position"
        ).fetchall()
        if not name.startswith(("_dlt_", DELIVERY))
    ]
    at = f"loaded.{quote_name(table.day_column)}"
    line = f"hash({', '.join(f'loaded.{name}' for name in columns)})"
    found: list[tuple[str, str, int]] = connection.execute(
        f"""
        with new as (
            select {DELIVERY} as delivery, {at} as moment, {line} as line
            from {_counted(source, table)}
            where newest.delivery in {quote_list(list(names))} and {at} is not null
        ),
        compared as (
            select {DELIVERY} as delivery, {line} as line
            from {_counted(source, table)}
            where {at} between (select min(moment) from new) and (select max(moment) from new)
        ),
        lines as (select distinct delivery, line from compared)
        select new.delivery, lines.delivery, count(*)
        from new
        join lines on new.line = lines.line and new.delivery <> lines.delivery
        group by all
        order by 3 desc, 1, 2
        """
    ).fetchall()
    return found


def _counted(source: str, table: LandedTable) -> str:
    """SQL for the rows that count of a table without a key: those of the newest version of each delivery."""
    return (
        f"raw_{source}.{table.name} as loaded join {newest_deliveries(source)} as newest "
        f"on newest.table_name = {quote_text(table.name)} and newest.delivery = loaded.{DELIVERY} "
        "and newest._dlt_load_id = loaded._dlt_load_id"
    )


def _day(table: LandedTable, value: str) -> str:
    """SQL for the day of a row."""
    if table.columns[table.day_column or ""].endswith("zone"):
        value = f"{value} at time zone 'UTC'"
    shift = f" + interval '{int(table.day_shift.total_seconds())} seconds'" if table.day_shift else ""
    return f"cast({value}{shift} as date)"

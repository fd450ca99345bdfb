"""How old the newest event of a raw table may be: dbt's own limits and query, by one clock, UTC."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from quality.words import hours


@dataclass(frozen=True)
class AgeLimit:
    """How old the newest event of a raw table may be.

    Attributes:
        event: what happened, in a word.
        query: SQL for when the newest one happened, in UTC.
        warn_after: from this age on it is a warning.
        error_after: from this age on the run stops.
        declared_in: the yml of the dbt project that has the limits.
    """

    event: str
    query: str
    warn_after: dt.timedelta
    error_after: dt.timedelta
    declared_in: str


@dataclass(frozen=True)
class Age:
    """How old the newest event is.

    Attributes:
        newest: when it happened (UTC); None when there is none.
        is_recent: younger than the limit of a warning.
        is_too_old: older than the limit of an error; also when there is no event at all.
        description: all this in words.
    """

    newest: dt.datetime | None
    is_recent: bool
    is_too_old: bool
    description: str


def has_limit(source_table: Mapping[str, Any]) -> bool:
    """Tell whether dbt's manifest has a limit for a raw table; with `freshness: null` it has none.

    Args:
        source_table: the source table's node.
    """
    freshness = source_table["freshness"]
    return bool(freshness and freshness["error_after"]["count"])


def limit(source_table: Mapping[str, Any], event: str) -> AgeLimit:
    """Read a raw table's limits from dbt's manifest, where `dbt source freshness` reads them too.

    Args:
        source_table: the source table's node, with `freshness` and `loaded_at_query`.
        event: what happened, in a word.
    """
    freshness = source_table["freshness"]
    return AgeLimit(
        event,
        source_table["loaded_at_query"].replace("{{ this }}", f"{source_table['schema']}.{source_table['identifier']}"),
        _span(freshness["warn_after"]),
        _span(freshness["error_after"]),
        f"dbt_project/{source_table['original_file_path']}",
    )


def newest_event(connection: duckdb.DuckDBPyConnection, limit: AgeLimit) -> dt.datetime | None:
    """Ask when the newest event happened.

    Args:
        connection: the open warehouse.
        limit: has the query.

    Returns:
        The time in UTC, without a zone; None when there is no event.
    """
    newest: dt.datetime | None = connection.execute(limit.query).fetchall()[0][0]
    return newest.astimezone(dt.UTC).replace(tzinfo=None) if newest and newest.tzinfo else newest


def judge_age(newest: dt.datetime | None, now: dt.datetime, limit: AgeLimit) -> Age:
    """Say whether the newest event is recent enough.

    Args:
        newest: when it happened (UTC); None when there is none.
        now: the time (UTC).
        limit: how old it may be.
    """
    if newest is None:
        return Age(None, False, True, f"There is no {limit.event} yet.")
    age = now - newest
    description = (
        f"The newest {limit.event} was at {newest:%Y-%m-%d %H:%M} (UTC), {hours(age)} ago; "
        f"a warning after {hours(limit.warn_after)}, an error after {hours(limit.error_after)}."
    )
    if age > limit.error_after:
        description += (
            " If no newer data will come because this shop is history, "
            f"set its tables to `freshness: null` in {limit.declared_in}."
        )
    return Age(newest, age <= limit.warn_after, age > limit.error_after, description)


def _span(limit: Mapping[str, Any]) -> dt.timedelta:
    return dt.timedelta(**{f"{limit['period']}s": limit["count"]})

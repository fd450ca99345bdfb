"""Publishing: the marts are copied to a file of their own, which then takes the old one's place in one step."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ingestion import warehouse
from ingestion.contracts import sql_text


@dataclass(frozen=True)
class Publication:
    """What was published.

    Attributes:
        path: the published file.
        row_counts: `schema.table` to rows.
    """

    path: Path
    row_counts: dict[str, int]


class PublicationError(Exception):
    """The copy could not be made or is not whole; the copy published before stays."""


# What is known of the warehouse as it is now, in the order in which it is found out.
BUILT = "built"
AUDITED = "audited"


def mark_built(run_id: str) -> None:
    """Note that the warehouse, as it is now, was built as a whole and passed dbt's tests.

    Args:
        run_id: the run that built it.
    """
    _mark(BUILT, run_id)


def mark_audited(run_id: str) -> None:
    """Note that the warehouse, as it is now, was built as a whole and breaks no objective that blocks.

    Args:
        run_id: the run that built it.
    """
    _mark(AUDITED, run_id)


def withdraw_marks() -> None:
    """Note that the warehouse is being built, and must not be published."""
    warehouse.paths().audited.unlink(missing_ok=True)


def built_by() -> str | None:
    """Name the run that built the warehouse as it is now, but for its record of runs; None when no run did."""
    what, run_id = _marked()
    return run_id if what in (BUILT, AUDITED) else None


def is_audited() -> bool:
    """Tell whether the warehouse is still as it was when its run was judged good enough."""
    return _marked()[0] == AUDITED


@contextlib.contextmanager
def keep_built() -> Iterator[None]:
    """Write the record of runs into the warehouse: what was built stays built, and is yet to be judged."""
    run_id = built_by()
    yield
    if run_id:
        mark_built(run_id)


def _mark(what: str, run_id: str) -> None:
    places = warehouse.paths()
    places.audited.write_text(f"{what} {run_id} {places.warehouse.stat().st_mtime_ns}", encoding="utf-8")


def _marked() -> tuple[str | None, str | None]:
    places = warehouse.paths()
    words = places.audited.read_text(encoding="utf-8").split() if places.audited.exists() else []
    if len(words) != 3 or words[2] != str(places.warehouse.stat().st_mtime_ns):
        return None, None
    return words[0], words[1]


def publish(tables: Sequence[tuple[str, str]]) -> Publication:
    """Copy tables of the warehouse to the published file.

    The copy is made under another name, compared row count by row count, written through to the disk and then renamed
    over the old one. Whoever has the old one open keeps reading it; whoever opens next sees the new one.

    Args:
        tables: (schema, table) of each.

    Returns:
        Where it is, and the rows of each table.

    Raises:
        PublicationError: the disk is full or a row count differs.
        WarehouseBusyError: another process keeps the warehouse open.
    """
    places = warehouse.paths()
    target = places.published
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}.*"):
        leftover.unlink()
    unfinished = target.parent / f".{target.name}.{os.getpid()}"
    # Waits for a process that still has the warehouse open; the copy itself attaches it below.
    warehouse.connect(read_only=True).close()
    try:
        row_counts = _copy(places.warehouse, unfinished, tables)
        _write_through(unfinished)
    except (duckdb.Error, OSError, PublicationError) as error:
        for leftover in target.parent.glob(f"{unfinished.name}*"):
            leftover.unlink()
        raise PublicationError(f"could not write {unfinished}: {error}. {target} stays as it was.") from error
    # A reader that opened the old copy for writing left changes that must not meet the new one.
    target.with_name(target.name + ".wal").unlink(missing_ok=True)
    unfinished.chmod(0o444)
    unfinished.replace(target)
    _write_through(target.parent)
    return Publication(target, row_counts)


def _copy(source: Path, target: Path, tables: Sequence[tuple[str, str]]) -> dict[str, int]:
    row_counts: dict[str, int] = {}
    with duckdb.connect(str(target), config=warehouse.FILE_FORMAT) as connection:
        connection.execute(f"attach {sql_text(str(source))} as warehouse (read_only)")
        for schema, table in tables:
            connection.execute(f'create schema if not exists "{schema}"')
            connection.execute(f'create table "{schema}"."{table}" as select * from warehouse."{schema}"."{table}"')
            counts = connection.execute(
                f'select (select count(*) from warehouse."{schema}"."{table}"), '
                f'(select count(*) from "{schema}"."{table}")'
            ).fetchall()[0]
            if counts[0] != counts[1]:
                raise PublicationError(
                    f"{schema}.{table}: {counts[0]:,} rows in the warehouse, {counts[1]:,} in the copy"
                )
            row_counts[f"{schema}.{table}"] = counts[1]
        connection.execute("detach warehouse")
        connection.execute("checkpoint")
    return row_counts


def _write_through(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

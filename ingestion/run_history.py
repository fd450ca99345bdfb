"""What runs leave behind: one file for each run beside the warehouse, loaded untransformed into `raw_history`.

The files are the history; the tables are made anew from them. So the history stays when the warehouse is rebuilt, and a
run is in it as a whole or not at all.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from ingestion import warehouse
from ingestion.contracts import LandingError, sql_text

DATASET = "raw_history"

# Names and types are those of the files too. A file of an older version may lack some: they are null then; what a
# newer version added is passed over.
RUN_COLUMNS: Mapping[str, str] = {
    "run_id": "VARCHAR",
    "run_number": "BIGINT",
    "job": "VARCHAR",
    "started_at": "TIMESTAMP",
    "ended_at": "TIMESTAMP",
    "outcome": "VARCHAR",
}
PART_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "checks": {
        "check_name": "VARCHAR",
        "objective": "VARCHAR",
        "category": "VARCHAR",
        "table_name": "VARCHAR",
        "checked_at": "TIMESTAMP",
        "status": "VARCHAR",
        "rows_read": "BIGINT",
        "rows_failed": "BIGINT",
        "description": "VARCHAR",
    },
    "steps": {
        "step": "VARCHAR",
        "seconds": "DOUBLE",
        "row_count": "BIGINT",
        "succeeded": "BOOLEAN",
    },
    "deliveries": {
        "source_name": "VARCHAR",
        "table_name": "VARCHAR",
        "landed_file": "VARCHAR",
        "delivery_date": "DATE",
        "row_count": "BIGINT",
        "delivered_at": "TIMESTAMP",
    },
    "objectives": {
        "objective": "VARCHAR",
        "description": "VARCHAR",
        "category": "VARCHAR",
        "unit": "VARCHAR",
        "target": "DOUBLE",
        "warn_below": "DOUBLE",
        "breach_below": "DOUBLE",
        "blocks": "BOOLEAN",
        "owner": "VARCHAR",
        "window_days": "BIGINT",
    },
    "measures": {
        "check_name": "VARCHAR",
        "objective": "VARCHAR",
        "category": "VARCHAR",
    },
}

# What a run is called for as long as it is not known how it ended.
UNDER_WAY = "under way"

# At the end of the name of a file that is still being written.
UNFINISHED = ".part"


class RunHistoryError(LandingError):
    """A file of the history cannot be read; the message names it and the way out."""


@dataclass(frozen=True)
class KnownRun:
    """A run that the history has.

    Attributes:
        run_id: Dagster's.
        run_number: its place in the history, from 1 on: the order in which runs were recorded, whatever the clock said.
        outcome: success, failure, canceled, unknown or under way.
    """

    run_id: str
    run_number: int
    outcome: str


def write(run: Mapping[str, Any], parts: Mapping[str, list[dict[str, Any]]]) -> Path:
    """Write a run's file, in one step; one that was there for the run is replaced. Only for who writes the warehouse.

    Args:
        run: values for `RUN_COLUMNS`; times are text in ISO 8601, UTC without a zone.
        parts: for each of `PART_COLUMNS`, its rows.

    Returns:
        The file.
    """
    folder = warehouse.paths().run_history
    folder.mkdir(parents=True, exist_ok=True)
    file = _file(run["run_number"], run["run_id"])
    for leftover in folder.glob(f"*{UNFINISHED}"):
        leftover.unlink()
    unfinished = folder / f"{file.name}{UNFINISHED}"
    with unfinished.open("w", encoding="utf-8") as out:
        json.dump({"run": run, **parts}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(file)
    return file


def read(run: KnownRun) -> dict[str, Any]:
    """Read a run's file.

    Args:
        run: the run.

    Returns:
        What was written: run, and its parts; nothing when the file has another name than it was written under.
    """
    file = _file(run.run_number, run.run_id)
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return content


def load(connection: duckdb.DuckDBPyConnection) -> list[KnownRun]:
    """Make the tables of `raw_history` anew from the files, in one transaction.

    Args:
        connection: the open warehouse.

    Returns:
        The runs in the history, oldest first; none when there is no file.

    Raises:
        RunHistoryError: a file is no history of a run.
    """
    files = sorted(path for path in warehouse.paths().run_history.glob("*.json") if path.is_file())
    connection.execute("begin")
    try:
        connection.execute(f"create schema if not exists {DATASET}")
        if files:
            # Read once, for all tables.
            connection.execute(f"create or replace temp table run_files as from {_read(files)}")
        _replace(connection, "runs", RUN_COLUMNS, "select run.* from run_files" if files else None)
        for name, columns in PART_COLUMNS.items():
            rows = f"select run_id, part.* from (select run.run_id as run_id, unnest({name}) as part from run_files)"
            _replace(connection, name, {"run_id": "VARCHAR", **columns}, rows if files else None)
        known = _one_run_a_file(connection, files) if files else []
        connection.execute("commit")
    except (duckdb.Error, RunHistoryError) as error:
        connection.execute("rollback")
        if isinstance(error, duckdb.InvalidInputException | duckdb.ConversionException | duckdb.IOException):
            raise RunHistoryError(f"{str(error).splitlines()[0]} {_WAY_OUT}") from error
        raise
    return known


_WAY_OUT = (
    "It is the history of a run: put back what it was, or move it out of the folder to go on without what it says."
)


def _one_run_a_file(connection: duckdb.DuckDBPyConnection, files: list[Path]) -> list[KnownRun]:
    """Read which runs there are, and drop the table of the files' contents.

    Raises:
        RunHistoryError: a file holds no run or several, or two files hold the same one.
    """
    rows = connection.execute(
        "select filename, run.run_id, run.run_number, run.outcome, run.started_at from run_files order by 3, 2"
    ).fetchall()
    connection.execute("drop table run_files")
    empty = {str(file) for file in files} - {row[0] for row in rows}
    if empty:
        raise RunHistoryError(f"{min(empty)} is empty. {_WAY_OUT}")
    seen: dict[object, str] = {}
    for filename, run_id, run_number, outcome, started in rows:
        if None in (run_id, run_number, outcome, started):
            raise RunHistoryError(f"{filename} names no run. {_WAY_OUT}")
        for key in (filename, run_id, run_number):
            if key in seen:
                raise RunHistoryError(f"{filename} holds the same run as {seen[key]}, or several. {_WAY_OUT}")
            seen[key] = filename
    return [KnownRun(run_id, run_number, outcome) for _, run_id, run_number, outcome, _ in rows]


def _file(run_number: int, run_id: str) -> Path:
    return warehouse.paths().run_history / f"{run_number:06d}-{run_id}.json"


def _replace(connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str], select: str | None) -> None:
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    connection.execute(f"create or replace table {DATASET}.{table} ({declared})")
    if select:
        connection.execute(f"insert into {DATASET}.{table} by name {select}")


def _read(files: list[Path]) -> str:
    def struct(columns: Mapping[str, str]) -> str:
        return f"STRUCT({', '.join(f'{name} {kind}' for name, kind in columns.items())})"

    names = ", ".join(sql_text(str(file)) for file in files)
    kinds = {"run": struct(RUN_COLUMNS)} | {name: f"{struct(columns)}[]" for name, columns in PART_COLUMNS.items()}
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in kinds.items())
    return f"read_json([{names}], columns = {{{columns}}}, filename = true)"

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
from ingestion.contracts import LandingError

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
        outcome: success, failure, canceled or under way.
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
    file = folder / f"{run['run_number']:06d}-{run['run_id']}.json"
    for leftover in folder.glob(f"*{UNFINISHED}"):
        leftover.unlink()
    unfinished = folder / f"{file.name}{UNFINISHED}"
    with unfinished.open("w", encoding="utf-8") as out:
        json.dump({"run": run, **parts}, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    unfinished.replace(file)
    return file


def load(connection: duckdb.DuckDBPyConnection) -> list[KnownRun]:
    """Make the tables of `raw_history` anew from the files, in one transaction.

    Args:
        connection: the open warehouse.

    Returns:
        The runs in the history, oldest first; none when there is no file.

    Raises:
        RunHistoryError: a file is no history of a run.
    """
    files = sorted(warehouse.paths().run_history.glob("*.json"))
    connection.execute("begin")
    try:
        connection.execute(f"create schema if not exists {DATASET}")
        _replace(connection, "runs", RUN_COLUMNS, f"select run.* from {_read(files)}" if files else None)
        for name, columns in PART_COLUMNS.items():
            rows = f"(select run.run_id as run_id, unnest({name}) as part from {_read(files)})"
            _replace(
                connection,
                name,
                {"run_id": "VARCHAR", **columns},
                f"select run_id, part.* from {rows}" if files else None,
            )
        known = connection.execute(
            f"select run_id, run_number, outcome from {DATASET}.runs order by run_number, run_id"
        ).fetchall()
        broken = [row for row in known if None in row]
        if broken:
            raise duckdb.InvalidInputException(
                f"a file in {warehouse.paths().run_history} names no run: run_id, run_number, outcome are {broken[0]}"
            )
        connection.execute("commit")
    except duckdb.Error as error:
        connection.execute("rollback")
        if isinstance(error, duckdb.InvalidInputException | duckdb.ConversionException):
            raise RunHistoryError(
                f"{str(error).splitlines()[0]} It is the history of a run: put back what it was, or move it out of "
                f"{warehouse.paths().run_history} to go on without that run."
            ) from error
        raise
    return [KnownRun(*row) for row in known]


def _replace(connection: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str], select: str | None) -> None:
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    connection.execute(f"create or replace table {DATASET}.{table} ({declared})")
    if select:
        connection.execute(f"insert into {DATASET}.{table} by name {select}")


def _read(files: list[Path]) -> str:
    def struct(columns: Mapping[str, str]) -> str:
        return f"STRUCT({', '.join(f'{name} {kind}' for name, kind in columns.items())})"

    names = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    kinds = {"run": struct(RUN_COLUMNS)} | {name: f"{struct(columns)}[]" for name, columns in PART_COLUMNS.items()}
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in kinds.items())
    return f"read_json([{names}], columns = {{{columns}}})"

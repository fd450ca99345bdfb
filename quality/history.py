"""The record of runs: one file for each run, loaded untransformed into `raw_history`.

The files are the history; the tables are emptied and filled from them. So the history stays when the warehouse is
rebuilt, and a run is in it as a whole or not at all. Names and types of the columns are those that the dbt project
declares for the source `history`.
"""

import datetime as dt
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from warehouse.dbt_project import Manifest
from warehouse.paths import Paths
from warehouse.safe_files import write_text
from warehouse.sql import quote_list

SOURCE = "history"
DATASET = f"raw_{SOURCE}"

# The table of the runs themselves; the others hold the parts of a run, by run_id.
RUNS = "runs"

# Files that are read by one statement, which takes a megabyte of memory for each.
FILES_AT_ONCE = 10

WAY_OUT = "It holds the record of a run: restore the file, or move it out of the folder to go on without that record."

# Table to column to type, as the dbt project declares them.
Columns = Mapping[str, Mapping[str, str]]


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


@dataclass(frozen=True)
class History:
    """What the files say.

    Attributes:
        runs: the recorded runs, oldest first.
        unreadable: for each file that is left out, what is wrong with it.
    """

    runs: Sequence[KnownRun]
    unreadable: Mapping[Path, str]

    @property
    def next_number(self) -> int:
        """The number of the next new run; that of a file that cannot be read is not given again."""
        named = [int(file.name[:6]) for file in self.unreadable if file.name[:6].isdigit()]
        return 1 + max([*(run.run_number for run in self.runs), *named], default=0)


def columns(manifest: Manifest) -> dict[str, dict[str, str]]:
    """Read which tables and columns the history has.

    Args:
        manifest: dbt's.

    Returns:
        Table to column to type.
    """
    return {
        node["name"]: {column["name"]: column["data_type"] for column in node["columns"].values()}
        for node in manifest["sources"].values()
        if node["source_name"] == SOURCE
    }


def write(paths: Paths, run: Mapping[str, Any], parts: Mapping[str, list[dict[str, Any]]]) -> Path:
    """Write a run's file in one step; an earlier file of the run is replaced. Only the warehouse writer calls it.

    Args:
        paths: where data lives.
        run: values for the columns of `runs`; times are text in ISO 8601, UTC without a zone.
        parts: for each of the other tables, its rows.

    Returns:
        The file.
    """
    file = _file(paths, run["run_number"], run["run_id"])
    write_text(file, json.dumps({"run": run, **parts}, indent=1))
    return file


def read(paths: Paths, run: KnownRun) -> dict[str, Any]:
    """Read a run's file.

    Args:
        paths: where data lives.
        run: the run.

    Returns:
        What was written: run, and its parts; nothing when the file has another name than it was written under.
    """
    file = _file(paths, run.run_number, run.run_id)
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return content


# The parts of a run that are kept as long as the run itself: which delivery came with which run.
ALWAYS_KEPT = ("run", "deliveries")


def thin(paths: Paths, before: dt.datetime) -> int:
    """Remove the checks, steps and objectives from the files of old runs. That a run was, and what it loaded, stays.

    Args:
        paths: where data lives.
        before: files last written before this time; with a zone.

    Returns:
        How many files became smaller. One that cannot be read is left as it is: `load` names it.
    """
    thinned = 0
    for file in paths.run_history.glob("*.json"):
        written = file.stat().st_mtime
        if written >= before.timestamp():
            continue
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            kept = {part: content[part] for part in ALWAYS_KEPT}
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if content.keys() != kept.keys():
            write_text(file, json.dumps(kept, indent=1))
            # Its age stays, for backups and for the next look.
            os.utime(file, (written, written))
            thinned += 1
    return thinned


def load(connection: duckdb.DuckDBPyConnection, paths: Paths, columns: Columns) -> History:
    """Fill the tables of `raw_history` from the files, in one transaction.

    A file that cannot be read is left out and named: a damaged record must not keep a shop's data back.

    Args:
        connection: the open warehouse.
        paths: where data lives.
        columns: table to column to type. A file of an older version may lack some: they are null then; what a newer
            version added is ignored.
    """
    files = sorted(path for path in paths.run_history.glob("*.json") if path.is_file())
    unreadable = _read_files(connection, files, columns)
    runs, doubtful = _one_run_a_file(connection, set(files) - set(unreadable))
    connection.execute("begin")
    try:
        connection.execute(f"create schema if not exists {DATASET}")
        for table, types in columns.items():
            rows = (
                "select run.* from run_files"
                if table == RUNS
                else f"select run_id, part.* from (select run.run_id as run_id, unnest({table}) as part from run_files)"
            )
            connection.execute(f"create or replace table {DATASET}.{table} ({_declared(types)})")
            connection.execute(f"insert into {DATASET}.{table} by name {rows}")
        connection.execute("commit")
    except duckdb.Error:
        connection.execute("rollback")
        raise
    connection.execute("drop table run_files")
    return History(runs, dict(sorted({**unreadable, **doubtful}.items())))


def _read_files(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], columns: Columns) -> dict[Path, str]:
    """Read the files once for all tables, into the temporary table run_files.

    Returns:
        The files that cannot be read, and why.
    """
    parts = {"run": _struct(columns[RUNS])}
    for table, types in columns.items():
        if table != RUNS:
            # A file names its run once, not in each part.
            parts[table] = _struct({name: kind for name, kind in types.items() if name != "run_id"}) + "[]"
    connection.execute(f"create or replace temp table run_files ({_declared({**parts, 'filename': 'VARCHAR'})})")
    kinds = ", ".join(f"{name}: '{kind}'" for name, kind in parts.items())

    def read(some: Sequence[Path]) -> str:
        names = quote_list([str(file) for file in some])
        return f"from read_json({names}, columns = {{{kinds}}}, filename = true)"

    unreadable: dict[Path, str] = {}
    for first in range(0, len(files), FILES_AT_ONCE):
        some = list(files[first : first + FILES_AT_ONCE])
        while some:
            try:
                connection.execute(f"insert into run_files by name {read(some)}")
                break
            except (duckdb.InvalidInputException, duckdb.ConversionException, duckdb.IOException):
                damaged = {}
                for file in some:
                    try:
                        connection.execute(read([file])).fetchall()
                    except duckdb.Error as error:
                        damaged[file] = str(error).splitlines()[0]
                if not damaged:
                    raise
                unreadable |= damaged
                some = [file for file in some if file not in damaged]
    return unreadable


def _one_run_a_file(
    connection: duckdb.DuckDBPyConnection, files: Collection[Path]
) -> tuple[list[KnownRun], dict[Path, str]]:
    """Tell which runs there are; files with no run, several, or one that another file has are left out.

    Returns:
        The runs, and the files that are left out, with the reason.
    """
    rows = connection.execute(
        "select filename, run.run_id, run.run_number, run.outcome, run.started_at from run_files order by 3, 2, 1"
    ).fetchall()
    doubtful = {file: "is empty" for file in files if str(file) not in {row[0] for row in rows}}
    runs, seen = [], dict[object, str]()
    for filename, run_id, run_number, outcome, started in rows:
        first = next((seen[key] for key in (filename, run_id, run_number) if key in seen), None)
        if None in (run_id, run_number, outcome, started):
            doubtful[Path(filename)] = "does not name a run"
        elif first:
            doubtful[Path(filename)] = f"holds the same run as {first}, or more than one run"
        else:
            runs.append(KnownRun(run_id, run_number, outcome))
            seen |= dict.fromkeys((filename, run_id, run_number), filename)
    if doubtful:
        names = quote_list([str(file) for file in doubtful])
        connection.execute(f"delete from run_files where filename in {names}")
    return [run for run in runs if seen[run.run_id] not in map(str, doubtful)], doubtful


def _struct(types: Mapping[str, str]) -> str:
    return f"STRUCT({_declared(types)})"


def _declared(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())


def _file(paths: Paths, run_number: int, run_id: str) -> Path:
    return paths.run_history / f"{run_number:06d}-{run_id}.json"

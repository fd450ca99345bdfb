"""Backups of what cannot be loaded again at once: verified copies, kept by a policy, restored by one command."""

import datetime as dt
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.dbt_project import forget_parsed
from warehouse.locks import Say, only_run, only_writer
from warehouse.paths import Paths
from warehouse.safe_files import write_through

# What is in a backup, below the data folder. The landed files are the shop's own, and enough to build all of it again.
KEPT = ("warehouse.duckdb", "audited", "published", "run_history", "alerts.json")
MANIFEST = "backup.json"
UNFINISHED = ".part"

# What the folder is called, with the time, that has what was there before a backup was restored.
BEFORE_RESTORE = "before_restore_"

# How many are kept: the newest of each of the last days, weeks and months.
DAYS, WEEKS, MONTHS = 7, 4, 6


class BackupError(Exception):
    """A backup cannot be made, is not whole, or cannot be restored; the message says why."""


@dataclass(frozen=True)
class Backup:
    """A backup.

    Attributes:
        folder: where it is.
        made_at: when it was made (UTC).
        size: in bytes.
        tables: how many tables its warehouse and its published copy have together.
        rows: how many rows these have.
    """

    folder: Path
    made_at: dt.datetime
    size: int
    tables: int
    rows: int


def make(paths: Paths, target: Path, say: Say = print) -> Backup:
    """Copy the warehouse, the published folder and the run history, while no run is at work, and verify the copy.

    Args:
        paths: where data lives.
        target: the folder of all backups; on another disk, if possible.
        say: called with one line when a run is waited for.

    Raises:
        BackupError: there is nothing to copy, or the copy is not what was copied.
        OSError: the disk is full; what was copied is removed.
    """
    if not paths.warehouse.exists():
        raise BackupError(f"there is no warehouse yet at {paths.warehouse}: make run")
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)
    folder = target / f"{now:%Y-%m-%dT%H%M%S}"
    unfinished = folder.with_name(folder.name + UNFINISHED)
    target.mkdir(parents=True, exist_ok=True)
    for left in target.glob(f"*{UNFINISHED}"):
        shutil.rmtree(left)
    try:
        with only_run(paths, f"backup-{os.getpid()}", say), only_writer(paths, say):
            # What its log still has would be missing in the copy.
            with duckdb.connect(str(paths.warehouse)) as connection:
                connection.execute("checkpoint")
            unfinished.mkdir()
            files = {}
            for name in KEPT:
                source = paths.root / name
                for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
                    if file.is_file() and not file.name.startswith("."):
                        relative = str(file.relative_to(paths.root))
                        (unfinished / relative).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy2(file, unfinished / relative)
                        files[relative] = _sha256(file)
        counted = {name: _count(unfinished / name) for name in files if name.endswith(".duckdb")}
        manifest = {"made_at": str(now), "files": files, "rows": counted}
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        backup = verify(unfinished)
        for file in unfinished.rglob("*"):
            if file.is_file():
                write_through(file)
        unfinished.rename(folder)
        write_through(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return Backup(folder, *list(vars(backup).values())[1:])


def verify(folder: Path) -> Backup:
    """Read a backup whole: each file has its checksum, each database opens and has the rows that were counted.

    Args:
        folder: the backup.

    Raises:
        BackupError: it is not whole; the message names the file.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackupError(f"{folder} is no backup: {error}") from error
    for name, expected in manifest["files"].items():
        file = folder / name
        if not file.exists():
            raise BackupError(f"{file} is missing")
        if _sha256(file) != expected:
            raise BackupError(f"{file} is damaged: it is not what was copied, says its checksum")
    for name, expected in manifest["rows"].items():
        if _count(folder / name) != expected:
            raise BackupError(f"{folder / name} has other rows than were counted")
    tables = [rows for of_file in manifest["rows"].values() for rows in of_file.values()]
    size = sum((folder / name).stat().st_size for name in manifest["files"])
    return Backup(folder, dt.datetime.fromisoformat(manifest["made_at"]), size, len(tables), sum(tables))


def found(target: Path) -> list[Path]:
    """Name the finished backups, the oldest first.

    Args:
        target: the folder of all backups.
    """
    return sorted(file.parent for file in target.glob(f"*/{MANIFEST}") if not file.parent.name.endswith(UNFINISHED))


def prune(target: Path, days: int = DAYS, weeks: int = WEEKS, months: int = MONTHS) -> list[Path]:
    """Remove the backups that the policy does not keep; the newest one always is.

    Args:
        target: the folder of all backups.
        days: how many days keep their newest one.
        weeks: how many weeks do.
        months: how many months do.

    Returns:
        Those that were removed.
    """
    newest_first = found(target)[::-1]
    times = {folder: dt.datetime.strptime(folder.name, "%Y-%m-%dT%H%M%S") for folder in newest_first}
    kept = set(newest_first[:1])
    spans: list[tuple[int, Callable[[dt.datetime], object]]] = [
        (days, lambda time: time.date()),
        (weeks, lambda time: time.isocalendar()[:2]),
        (months, lambda time: (time.year, time.month)),
    ]
    for most, span in spans:
        seen: dict[object, Path] = {}
        for folder in newest_first:
            seen.setdefault(span(times[folder]), folder)
        kept |= set(list(seen.values())[:most])
    removed = [folder for folder in newest_first if folder not in kept]
    for folder in removed:
        shutil.rmtree(folder)
    return removed


def restore(paths: Paths, folder: Path, say: Say = print) -> Backup:
    """Put a backup in the place of what is there, which is kept in a folder next to it.

    Args:
        paths: where data lives.
        folder: the backup.
        say: called with one line for what is done.

    Raises:
        BackupError: the backup is not whole; nothing was changed.
    """
    backup = verify(folder)
    with only_run(paths, f"restore-{os.getpid()}", say), only_writer(paths, say):
        before = paths.root / f"{BEFORE_RESTORE}{dt.datetime.now(dt.UTC):%Y-%m-%dT%H%M%S}"
        before.mkdir(parents=True)
        for name in (*KEPT, "warehouse.duckdb.wal"):
            if (paths.root / name).exists():
                (paths.root / name).rename(before / name)
        # The mark that allows publication is last: it goes by the time of the warehouse.
        for name in sorted(_parts(folder), key=lambda part: part == "audited"):
            source = folder / name
            if source.is_dir():
                shutil.copytree(source, paths.root / name)
            else:
                shutil.copy2(source, paths.root / name)
        # An older version of the project may be the next to run; what a newer one parsed would be mixed with its files.
        forget_parsed(paths.dbt_target)
        say(f"what was there before is in {before}: remove it when all is well")
    return backup


def _parts(folder: Path) -> Iterable[str]:
    return [name for name in KEPT if (folder / name).exists()]


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _count(file: Path) -> dict[str, int]:
    with duckdb.connect(str(file), read_only=True) as connection:
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where not internal order by all"
        ).fetchall()
        return {
            f"{schema}.{table}": int(connection.execute(f'select count(*) from "{schema}"."{table}"').fetchall()[0][0])
            for schema, table in tables
        }

"""What is not kept for ever: removed by age at the end of each run, so that a year of nights does not fill the disk."""

import datetime as dt
import re
import shutil
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

from orchestration.backups import BEFORE_RESTORE
from quality import history
from warehouse.damage import aside_files
from warehouse.locks import Say
from warehouse.paths import Paths
from warehouse.settings import Settings

ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

# The newest runs of Dagster are kept however old they are.
NEWEST_RUNS = 20


def tidy(settings: Settings, instance: dg.DagsterInstance, say: Say) -> None:
    """Remove what is older than the settings keep. What counts is never touched: rows, deliveries, published files.

    Args:
        settings: where data lives, and how long what is kept.
        instance: Dagster's, whose runs end with their events and their captured output.
        say: called with one line for what was removed, if anything was.
    """
    paths, now = settings.paths, dt.datetime.now(dt.UTC)

    def before(days: int) -> dt.datetime:
        return now - dt.timedelta(days=days)

    removed = {
        "Dagster runs": _runs(instance, paths, before(settings.keep_runs_days)),
        "log files": _logs(paths, before(settings.keep_logs_days)),
        "copies that were set aside": _aside(paths, before(settings.keep_aside_days)),
        "records of single checks and steps": history.thin(paths, before(settings.keep_history_days)),
    }
    if done := [f"{count:,} {what}" for what, count in removed.items() if count]:
        say(f"removed what is older than is kept: {', '.join(done)}")


def _runs(instance: dg.DagsterInstance, paths: Paths, before: dt.datetime) -> int:
    filters = dg.RunsFilter(statuses=ENDED, created_before=before)
    newest = {run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=ENDED), limit=NEWEST_RUNS)}
    old = [run.run_id for run in instance.get_runs(filters) if run.run_id not in newest]
    for run_id in old:
        instance.delete_run(run_id)
        _forget_checks(instance, run_id)
        # Dagster empties the file of the run's events, and leaves it; and the captured output.
        for file in (paths.dagster / "history" / "runs").glob(f"{run_id}.db*"):
            file.unlink(missing_ok=True)
        shutil.rmtree(paths.dagster / "storage" / run_id, ignore_errors=True)
    return len(old)


def _forget_checks(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove the run's evaluations of checks, which Dagster would keep."""
    storage = instance.event_log_storage
    if hasattr(storage, "index_connection"):
        table = AssetCheckExecutionsTable
        with storage.index_connection() as connection:
            connection.execute(table.delete().where(table.c.run_id == run_id))


def _logs(paths: Paths, before: dt.datetime) -> int:
    captured = (paths.dagster / "storage").glob("*/compute_logs/*")
    old = [file for file in (*paths.logs.glob("*.log"), *captured) if file.is_file() and _is_older(file, before)]
    for file in old:
        file.unlink(missing_ok=True)
    return len(old)


def _aside(paths: Paths, before: dt.datetime) -> int:
    found = [*aside_files(paths), *paths.root.glob(f"{BEFORE_RESTORE}*")]
    old = [path for path in found if path.exists() and _was_set_aside(path, before)]
    for path in old:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return len(old)


def _was_set_aside(path: Path, before: dt.datetime) -> bool:
    """Tell by the name: what was set aside kept the time of its last change."""
    found = re.search(r"\d{4}-\d\d-\d\dT\d{6}", path.name)
    try:
        return found is not None and dt.datetime.strptime(f"{found[0]}+0000", "%Y-%m-%dT%H%M%S%z") < before
    except ValueError:
        return False


def _is_older(path: Path, before: dt.datetime) -> bool:
    return path.stat().st_mtime < before.timestamp()

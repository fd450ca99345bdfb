"""The Dagster instance of this project: where it lives, and clearing up after runs that were killed."""

import os
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef  # the public maker takes no folder

from ingestion.warehouse import PROJECT_DIR, paths

# Marks the runs of `make run`; they hold a lock of their own, so whoever gets it knows that all others are dead.
FROM_TERMINAL = {"next_aisle/from": "terminal"}

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def home() -> Path:
    """Make the folder that DAGSTER_HOME shall name.

    Returns:
        `NEXT_AISLE_DATA/dagster`, holding a link to the checked-in dagster.yaml.
    """
    folder = paths().root / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "dagster.yaml"
    settings = PROJECT_DIR / "dagster.yaml"
    if not (link.is_symlink() and link.readlink() == settings):
        link.unlink(missing_ok=True)
        link.symlink_to(settings)
    return folder


def open_instance() -> dg.DagsterInstance:
    """Open the instance below the data folder, also when DAGSTER_HOME is not set."""
    folder = home()
    os.environ["DAGSTER_HOME"] = str(folder)
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder)))


def close_dead_runs(instance: dg.DagsterInstance) -> int:
    """Fail the terminal runs whose process was killed, and free the pool slots they still hold.

    The caller must hold the lock that every terminal run holds.

    Args:
        instance: where the runs are recorded.

    Returns:
        How many runs were closed.
    """
    dead = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED, tags=FROM_TERMINAL))
    for run in dead:
        instance.report_run_failed(run, "The run's process was killed.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return len(dead)


def holders_of(instance: dg.DagsterInstance, pool: str) -> list[str]:
    """Name the unfinished runs that hold a slot of a pool.

    Args:
        instance: where the runs are recorded.
        pool: the pool.
    """
    claimed = instance.event_log_storage.get_concurrency_info(pool).claimed_slots
    return sorted({slot.run_id for slot in claimed})

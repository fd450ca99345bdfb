"""The Dagster instance of this project: where it lives, and clearing up after runs that were killed."""

from pathlib import Path

import dagster as dg

from warehouse.paths import Paths
from warehouse.settings import export_dagster_home

# The instance's settings. In a checkout, dagster.yaml at the top is a link to it.
SETTINGS = Path(__file__).resolve().parent / "dagster.yaml"

# Marks the runs of `make run`; they hold a lock of their own, so a process that gets it knows that all others are dead.
FROM_TERMINAL = {"next_aisle/from": "terminal"}

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def home(paths: Paths) -> Path:
    """Make the folder for DAGSTER_HOME.

    Args:
        paths: where data lives.

    Returns:
        `dagster/` in the data folder, holding a link to the project's dagster.yaml.
    """
    folder = paths.dagster
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "dagster.yaml"
    if not (link.is_symlink() and link.readlink() == SETTINGS):
        link.unlink(missing_ok=True)
        link.symlink_to(SETTINGS)
    return folder


def open_instance(paths: Paths) -> dg.DagsterInstance:
    """Open the instance below the data folder, also when DAGSTER_HOME is not set.

    Args:
        paths: where data lives.
    """
    home(paths)
    export_dagster_home(paths)
    return dg.DagsterInstance.get()


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

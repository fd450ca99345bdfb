"""Runs whose process is gone: noticed, failed, their pool slots freed.

Every run holds a lock of its own for as long as its process lives (`warehouse.locks.alive`); the system frees it when
the process dies, however it dies. So no number of a process is compared, and none can be mistaken for another.
"""

import datetime as dt

import dagster as dg
from dagster._core.storage.tags import MAX_RETRIES_TAG

from orchestration.instance import code_location_origin
from warehouse.locks import forget_run, lock_states
from warehouse.paths import Paths

# The status of a run that has, or should have, a process. Dagster itself fails one that does not get beyond STARTING
# (start_timeout_seconds in dagster.yaml). One that is NOT_STARTED may be on its way to the queue, and holds nothing.
WITH_A_PROCESS = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]

# Between the status and the lock, a run takes a moment, on a busy machine seconds.
GRACE = 45

KILLED = "The run's process was killed."

# How often the monitor looks (seconds): a killed run is noticed within twice that.
EVERY = 30


def close_killed_runs(instance: dg.DagsterInstance, paths: Paths, this_run: dg.DagsterRun | None = None) -> list[str]:
    """Fail the runs whose process was killed, and free the pool slots that no living run holds.

    Dagster's daemon repeats each of them once, except for those that `this_run` repeats.

    Args:
        instance: where the runs are recorded.
        paths: where data lives.
        this_run: the run that asks, while it is the only one at work; None: the monitor asks.

    Returns:
        The runs that had to be failed.
    """
    locked = lock_states(paths)
    closed, dead = [], {run_id for run_id, is_locked in locked.items() if not is_locked}
    filters = dg.RunsFilter(statuses=WITH_A_PROCESS)
    now = dt.datetime.now(dt.UTC)
    for record in instance.get_run_records(filters):
        run_id = record.dagster_run.run_id
        since = record.update_timestamp.replace(tzinfo=record.update_timestamp.tzinfo or dt.UTC)
        started_without_lock = run_id not in locked and (now - since).total_seconds() > GRACE
        if started_without_lock and not (this_run and run_id == this_run.run_id):
            dead.add(run_id)
    for run_id in sorted(dead):
        if _close(instance, run_id, this_run):
            closed.append(run_id)
    _free_slots(instance, dead, this_run.run_id if this_run else None)
    # Last of all: what is killed in between begins again.
    for run_id in dead & locked.keys():
        forget_run(paths, run_id)
    return closed


def _close(instance: dg.DagsterInstance, run_id: str, this_run: dg.DagsterRun | None) -> bool:
    run = instance.get_run_by_id(run_id)
    # Where Dagster started the process, it may have noticed by itself.
    if run is None or run.is_finished:
        return False
    if this_run and _task(this_run) == _task(run):
        instance.add_run_tags(run_id, {MAX_RETRIES_TAG: "0"})
    elif run.remote_job_origin is None:
        # What `dg launch` started belongs to no code location; Dagster could not start it again.
        instance.run_storage.replace_job_origin(run, code_location_origin(run.job_name))
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, KILLED)
    else:
        instance.report_run_failed(run, KILLED)
    return True


def _task(run: dg.DagsterRun) -> tuple[object, ...]:
    return run.job_name, run.asset_selection, run.run_config.get("ops")


def _free_slots(instance: dg.DagsterInstance, dead: set[str], this_run: str | None) -> None:
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return
    for pool in storage.get_concurrency_keys():
        for slot in storage.get_concurrency_info(pool).claimed_slots:
            if slot.run_id == this_run:
                continue
            run = None if slot.run_id in dead else instance.get_run_by_id(slot.run_id)
            # Only one run is at work at a time, so no other run can be using a slot then.
            if this_run or run is None or run.is_finished:
                storage.free_concurrency_slots_for_run(slot.run_id)


def monitor(paths: Paths) -> dg.SensorDefinition:
    """Declare the sensor that looks for killed runs; it is on wherever Dagster's daemon runs.

    Args:
        paths: where data lives.
    """

    @dg.sensor(
        name="killed_runs",
        minimum_interval_seconds=EVERY,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Looks for runs whose process was killed (kill -9, a power cut, memory that ran out): fails them "
        "and frees their place. Dagster's daemon then repeats each of them, once.",
    )
    def killed_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        closed = close_killed_runs(context.instance, paths)
        if not closed:
            return dg.SkipReason("No run was killed.")
        return dg.SkipReason(f"Closed {', '.join(run_id[:8] for run_id in closed)}, whose process was killed.")

    return killed_runs

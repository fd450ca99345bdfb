"""Runs that were killed are closed by the next one."""

from pathlib import Path

import dagster as dg

from orchestration.instance import FROM_TERMINAL, SETTINGS, close_dead_runs, holders_of, home, open_instance
from orchestration.keys import WAREHOUSE_POOL
from tests import here
from warehouse.paths import PROJECT_DIR


def test_the_instance_takes_its_settings_from_the_checked_in_file(data: Path) -> None:
    folder = home(here.paths())
    assert folder == data / "dagster"
    assert (folder / "dagster.yaml").resolve() == SETTINGS == (PROJECT_DIR / "dagster.yaml").resolve()
    with open_instance(here.paths()) as instance:
        assert instance.get_settings("concurrency")["pools"] == {"default_limit": 1, "granularity": "op"}
        # A second run waits for the first; one whose process was killed ends after four hours and frees its place.
        assert instance.get_settings("concurrency")["runs"] == {"max_concurrent_runs": 1}
        assert instance.get_settings("run_monitoring") == {
            "enabled": True,
            "max_runtime_seconds": 14400,
            "free_slots_after_run_end_seconds": 60,
        }
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled


def test_a_killed_run_is_failed_and_gives_its_pool_slot_back(data: Path) -> None:
    @dg.op(pool=WAREHOUSE_POOL)
    def nothing() -> None: ...

    @dg.job(tags=FROM_TERMINAL)
    def night() -> None:
        nothing()

    with open_instance(here.paths()) as instance:
        dead = instance.create_run_for_job(night, status=dg.DagsterRunStatus.STARTED, tags=FROM_TERMINAL)
        others = instance.create_run_for_job(night, status=dg.DagsterRunStatus.STARTED)
        instance.event_log_storage.initialize_concurrency_limit_to_default(WAREHOUSE_POOL)
        claimed = instance.event_log_storage.claim_concurrency_slot(WAREHOUSE_POOL, dead.run_id, "nothing")
        assert claimed.is_claimed
        assert holders_of(instance, WAREHOUSE_POOL) == [dead.run_id]

        assert close_dead_runs(instance) == 1

        assert holders_of(instance, WAREHOUSE_POOL) == []
        assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
        assert instance.get_run_by_id(others.run_id).status == dg.DagsterRunStatus.STARTED  # type: ignore[union-attr]

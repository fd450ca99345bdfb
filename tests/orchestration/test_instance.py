"""The instance of this project, and the runs of the terminal in it."""

import tomllib
from pathlib import Path

import dagster as dg

from orchestration.instance import CODE_LOCATION, SETTINGS, close_killed_run, home, open_instance, run_job
from orchestration.keys import WAREHOUSE_POOL
from tests import here
from warehouse.paths import PROJECT_DIR


def test_the_instance_takes_its_settings_from_the_checked_in_file(data: Path) -> None:
    folder = home(here.paths())
    assert folder == data / "dagster"
    assert (folder / "dagster.yaml").resolve() == SETTINGS == (PROJECT_DIR / "dagster.yaml").resolve()
    with open_instance(here.paths()) as instance:
        assert instance.get_settings("concurrency")["pools"] == {"default_limit": 1, "granularity": "op"}
        # One that works, and one that waits for it, to go on at once when the first is killed.
        assert instance.get_settings("concurrency")["runs"] == {"max_concurrent_runs": 2}
        assert instance.get_settings("run_monitoring") == {
            "enabled": True,
            "max_runtime_seconds": 14400,
            "free_slots_after_run_end_seconds": 60,
        }
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled


def test_a_run_of_the_terminal_belongs_to_the_code_location_that_the_ui_shows(data: Path) -> None:
    @dg.job
    def night() -> None: ...

    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["dg"]["project"]
    with open_instance(here.paths()) as instance:
        run = instance.get_run_by_id(run_job(instance, night, {}).run_id)
    assert run and run.remote_job_origin
    # Without it, the UI cannot execute the run again.
    assert run.remote_job_origin.location_name == project["code_location_name"] == CODE_LOCATION
    # By this, the pages of the jobs and the timeline find their runs.
    assert run.tags_for_storage()[".dagster/repository"] == "__repository__@next_aisle"


def test_a_killed_run_is_failed_and_gives_its_pool_slot_back(data: Path) -> None:
    @dg.op(pool=WAREHOUSE_POOL)
    def nothing() -> None: ...

    @dg.job
    def night() -> None:
        nothing()

    with open_instance(here.paths()) as instance:
        dead = instance.create_run_for_job(night, status=dg.DagsterRunStatus.STARTED)
        others = instance.create_run_for_job(night, status=dg.DagsterRunStatus.STARTED)
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default(WAREHOUSE_POOL)
        assert storage.claim_concurrency_slot(WAREHOUSE_POOL, dead.run_id, "nothing").is_claimed

        assert close_killed_run(instance, dead.run_id)

        assert not storage.get_concurrency_info(WAREHOUSE_POOL).claimed_slots
        assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
        assert instance.get_run_by_id(others.run_id).status == dg.DagsterRunStatus.STARTED  # type: ignore[union-attr]
        assert not close_killed_run(instance, dead.run_id), "it is closed already"

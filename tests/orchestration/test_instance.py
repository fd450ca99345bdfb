"""The instance of this project, and the runs of the terminal in it."""

import tomllib
from pathlib import Path

import dagster as dg

from orchestration.instance import CODE_LOCATION, SETTINGS, home, open_instance, run_job
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
            "poll_interval_seconds": 15,
            "start_timeout_seconds": 100,
            "cancel_timeout_seconds": 100,
            "max_runtime_seconds": 14400,
            "free_slots_after_run_end_seconds": 30,
        }
        assert instance.run_retries_enabled and instance.run_retries_max_retries == 1
        assert not instance.run_retries_retry_on_asset_or_op_failure
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

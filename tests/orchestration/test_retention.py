"""Old logs, runs and copies go by age at the end of a run; what counts stays."""

import datetime as dt
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

from orchestration import retention
from orchestration.instance import open_instance, run_job
from quality import history
from tests import here
from warehouse.settings import Settings

LONG_AGO = time.time() - 500 * 86_400


@pytest.fixture
def instance(data: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(here.paths()) as instance:
        yield instance


@dg.asset(check_specs=[dg.AssetCheckSpec("is_there", asset="made")])
def made() -> Iterator[object]:
    yield dg.MaterializeResult()
    yield dg.AssetCheckResult(passed=True, check_name="is_there")


def age(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        file.write_text("x")
    os.utime(file, (LONG_AGO, LONG_AGO))
    return file


def test_logs_and_copies_go_by_their_age(instance: dg.DagsterInstance) -> None:
    paths = here.paths()
    now = f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H%M%S}"
    old = [
        age(paths.logs / "nightly-2025-01-01-020000.log"),
        age(paths.dagster / "storage" / "a-run" / "compute_logs" / "x.out"),
        age(paths.root / "warehouse.damaged-2025-01-01T020000.duckdb"),
        age(paths.root / "warehouse.damaged-2025-01-01T020000.duckdb.wal"),
        age(paths.root / "warehouse.before-rebuild-2025-01-01T020000.duckdb"),
        age(paths.root / "before_restore_2025-01-01T020000" / "warehouse.duckdb"),
    ]
    # What was set aside just now kept the time of its last change.
    kept = [
        age(paths.root / f"warehouse.damaged-{now}.duckdb"),
        age(paths.root / f"before_restore_{now}" / "warehouse.duckdb"),
        age(paths.warehouse),
        age(paths.published),
        age(paths.landing / "complete_journey" / "customers.csv"),
    ]
    (paths.logs / "nightly-new.log").write_text("x")
    said: list[str] = []
    retention.tidy(Settings(), instance, said.append)
    assert [file for file in old if file.exists()] == []
    assert [file for file in kept if not file.exists()] == []
    assert (paths.logs / "nightly-new.log").exists()
    assert said == ["removed what is older than is kept: 2 log files, 4 copies that were set aside"]
    retention.tidy(Settings(), instance, said.append)
    assert len(said) == 1, "a quiet night says nothing"


def test_old_runs_of_dagster_go_with_their_events_checks_and_output(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "NEWEST_RUNS", 1)
    job = dg.Definitions(
        assets=[made], jobs=[dg.define_asset_job("night", executor_def=dg.in_process_executor)]
    ).resolve_job_def("night")
    runs = [run_job(instance, job, {}).run_id for _ in range(3)]
    for run_id in runs:
        (here.paths().dagster / "storage" / run_id).mkdir(parents=True, exist_ok=True)

    def checks() -> int:
        with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
            return len(connection.execute(AssetCheckExecutionsTable.select()).fetchall())

    assert checks() == 3
    retention.tidy(Settings(), instance, print)
    assert len(instance.get_runs()) == 3, "they are of today"
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    assert retention._runs(instance, here.paths(), later) == 2
    assert [run.run_id for run in instance.get_runs()] == runs[2:], "the newest stays, however old it is"
    assert checks() == 1 and instance.all_logs(runs[0]) == [] and instance.all_logs(runs[2])
    files = {file.name.partition(".")[0] for file in (here.paths().dagster / "history" / "runs").iterdir()}
    assert runs[0] not in files or not any((here.paths().dagster / "history" / "runs").glob(f"{runs[1]}.db"))
    assert not (here.paths().dagster / "storage" / runs[0]).exists()
    latest = instance.get_latest_materialization_event(dg.AssetKey("made"))
    assert latest and latest.run_id == runs[2]


def test_old_records_lose_single_checks_and_keep_what_was_delivered(instance: dg.DagsterInstance) -> None:
    run = {"run_id": "a", "run_number": 1, "outcome": "success", "started_at": "2025-01-01 02:00:00"}
    parts = {"checks": [{"check_name": "c"}], "steps": [{"step": "s"}], "deliveries": [{"delivery": "d"}]}
    old = history.write(here.paths(), run, parts)
    new = history.write(here.paths(), {**run, "run_id": "b", "run_number": 2}, parts)
    age(old)
    broken = age(here.paths().run_history / "000003-c.json")
    said: list[str] = []
    retention.tidy(Settings(), instance, said.append)
    assert json.loads(old.read_text()) == {"run": run, "deliveries": [{"delivery": "d"}]}
    assert old.stat().st_mtime == LONG_AGO
    assert json.loads(new.read_text()).keys() == {"run", "checks", "steps", "deliveries"}
    assert broken.read_text() == "x", "what cannot be read is for a person"
    assert said == ["removed what is older than is kept: 1 records of single checks and steps"]

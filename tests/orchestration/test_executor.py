"""Runs follow each other, from wherever they are started, and a failed one says why."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from orchestration.executor import CAUSE, run_executor
from orchestration.instance import open_instance, run_job
from orchestration.keys import WAREHOUSE_POOL
from orchestration.run_log import DagsterRunLog
from quality import objectives
from tests import here
from warehouse.locks import MAKING, only_run
from warehouse.paths import PROJECT_DIR, Paths

OTHER = "a1b2c3d4-0000-4000-8000-000000000000"


def job(paths: Paths, delivered: str = "all rows") -> dg.JobDefinition:
    """Two steps, the first of which fails when the delivery is broken."""

    @dg.asset(pool=WAREHOUSE_POOL)
    def load() -> None:
        if delivered == "broken":
            raise dg.Failure("customers.csv, line 3: a quote is never closed")
        if delivered == "bug":
            raise KeyError("customers")

    @dg.asset(deps=[load], pool=WAREHOUSE_POOL)
    def model() -> None: ...

    definitions = dg.Definitions(
        assets=[load, model], jobs=[dg.define_asset_job("nightly")], executor=run_executor(paths)
    )
    return definitions.resolve_job_def("nightly")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    overrides = {**here.NO_COMPUTE_LOGS, "concurrency": {"pools": {"default_limit": 1, "granularity": "op"}}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides) as instance:
        yield instance


def messages(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(run_id)]


def wait_until_it_waits(instance: dg.DagsterInstance) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for run in instance.get_runs():
            if any(
                f"waiting: another run is under way ({OTHER[:8]}" in message
                for message in messages(instance, run.run_id)
            ):
                return run.run_id
        time.sleep(0.5)
    raise AssertionError("no run waits")


def test_a_run_waits_for_the_one_under_way_and_says_so_and_its_time_counts_from_its_first_step(
    instance: dg.DagsterInstance, data: Path
) -> None:
    running = threading.Thread(target=lambda: run_job(instance, job(here.paths()), {}))
    with only_run(here.paths(), OTHER):
        running.start()
        run_id = wait_until_it_waits(instance)
        # The one under way may need the pool's only slot.
        assert not instance.event_log_storage.get_concurrency_info(WAREHOUSE_POOL).claimed_slots
        assert not [entry for entry in instance.all_logs(run_id) if entry.step_key == "load"][1:]
        freed = time.time()
    running.join(60)
    assert instance.get_run_by_id(run_id).is_success  # type: ignore[union-attr]
    recorded = DagsterRunLog(instance, {"nodes": {}, "sources": {}}, objectives.read()).run(run_id)
    assert recorded and recorded.started > freed
    assert list(here.paths().runs_under_way.iterdir()) == []


def test_waiting_for_the_pool_is_not_a_steps_time(
    instance: dg.DagsterInstance, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would free the slot at once: no run holds it.
    monkeypatch.setattr("orchestration.executor.close_killed_runs", lambda *_: [])
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(WAREHOUSE_POOL)
    assert storage.claim_concurrency_slot(WAREHOUSE_POOL, OTHER, "other").is_claimed
    timer = threading.Timer(2, lambda: storage.free_concurrency_slots_for_run(OTHER))
    timer.start()
    began = time.monotonic()
    result = run_job(instance, job(here.paths()), {})
    assert result.success and time.monotonic() - began > 2
    recorded = DagsterRunLog(instance, {"nodes": {}, "sources": {}}, objectives.read()).run(result.run_id)
    assert recorded and [step.step for step in recorded.steps] == ["load", "model"]
    assert max(step.seconds for step in recorded.steps) < 1


@pytest.mark.parametrize("killed_while", ["under way", "waiting"])
def test_the_run_after_a_killed_one_closes_it_and_goes_on(
    killed_while: str, instance: dg.DagsterInstance, data: Path
) -> None:
    killed = instance.create_run_for_job(job(here.paths()), status=dg.DagsterRunStatus.STARTED)
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(WAREHOUSE_POOL)
    assert storage.claim_concurrency_slot(WAREHOUSE_POOL, killed.run_id, "load").is_claimed
    program = (
        "import sys, time\n"
        "from warehouse.locks import MAKING, only_run\n"
        "from warehouse.settings import Settings\n"
        "with only_run(Settings().paths, sys.argv[1], lambda _: print('waiting', flush=True)):\n"
        "    print('under way', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with only_run(here.paths(), OTHER) if killed_while == "waiting" else contextlib.nullcontext():
        process = subprocess.Popen(
            [sys.executable, "-c", program, killed.run_id], cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout and process.stdout.readline() == f"{killed_while}\n"
        process.kill()
        process.communicate()
    # A file that is being made is not locked yet.
    time.sleep(2 * MAKING)

    result = run_job(instance, job(here.paths()), {})

    assert result.success
    assert f"closed run {killed.run_id[:8]}, whose process was killed" in messages(instance, result.run_id)
    assert instance.get_run_by_id(killed.run_id).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    assert list(here.paths().runs_under_way.iterdir()) == []


def test_a_run_that_waits_can_be_stopped(data: Path) -> None:
    program = (
        "from orchestration.instance import open_instance, run_job\n"
        "from tests.orchestration.test_executor import job\n"
        "from warehouse.settings import Settings\n"
        "with open_instance(Settings().paths) as instance:\n"
        "    run_job(instance, job(Settings().paths), {})\n"
    )
    with only_run(here.paths(), OTHER), open_instance(here.paths()) as instance:
        waiting = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT_DIR, stderr=subprocess.DEVNULL)
        run_id = wait_until_it_waits(instance)
        # What the UI does when a person terminates a run.
        instance.report_run_canceling(instance.get_run_by_id(run_id))  # type: ignore[arg-type]
        waiting.send_signal(signal.SIGINT)
        waiting.wait(30)
        assert instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.CANCELED  # type: ignore[union-attr]
        assert [file.name for file in here.paths().runs_under_way.iterdir()] == [OTHER]


@pytest.mark.parametrize(
    ("delivered", "cause"),
    [("broken", "load: customers.csv, line 3: a quote is never closed"), ("bug", "load: KeyError: 'customers'")],
)
def test_a_failed_run_says_why_in_a_tag_and_at_its_end(
    delivered: str, cause: str, instance: dg.DagsterInstance, data: Path
) -> None:
    result = run_job(instance, job(here.paths(), delivered), {})
    assert not result.success
    assert instance.get_run_by_id(result.run_id).tags[CAUSE] == cause  # type: ignore[union-attr]
    *_, last_error, _ = messages(instance, result.run_id)
    assert last_error == f"The run failed at {cause}"


def test_a_run_that_is_executed_again_does_not_keep_the_cause_of_the_first(
    instance: dg.DagsterInstance, data: Path
) -> None:
    result = run_job(instance, job(here.paths()), {}, {CAUSE: "load: customers.csv, line 3: a quote is never closed"})
    assert instance.get_run_by_id(result.run_id).tags[CAUSE] == "none"  # type: ignore[union-attr]

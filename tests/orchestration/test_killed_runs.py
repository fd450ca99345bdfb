"""A run whose process is gone is noticed, failed and repeated once, however it was started; nothing waits for it."""

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import MAX_RETRIES_TAG, ROOT_RUN_ID_TAG, WILL_RETRY_TAG

from orchestration.instance import open_instance
from orchestration.keys import WAREHOUSE_POOL
from orchestration.killed_runs import GRACE, KILLED, close_killed_runs, monitor
from orchestration.schedules import nightly
from tests import here
from tests.conftest import Night, Project, Stage
from warehouse.locks import alive
from warehouse.paths import PROJECT_DIR

STARTED, FAILURE = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE


@dg.op(pool=WAREHOUSE_POOL)
def nothing() -> None: ...


@dg.job
def night() -> None:
    nothing()


@pytest.fixture
def instance(data: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(here.paths()) as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default(WAREHOUSE_POOL)
        yield instance


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found
    return found.status


def claim(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    assert instance.event_log_storage.claim_concurrency_slot(WAREHOUSE_POOL, run.run_id, "nothing").is_claimed


def holders(instance: dg.DagsterInstance) -> list[str]:
    return [slot.run_id for slot in instance.event_log_storage.get_concurrency_info(WAREHOUSE_POOL).claimed_slots]


def kill_holder_of(run_id: str) -> None:
    """Have a process hold a run's lock, and kill it."""
    program = (
        "import sys, time\n"
        "from warehouse.locks import alive\n"
        "from warehouse.settings import Settings\n"
        "with alive(Settings().paths, sys.argv[1]):\n"
        "    print('alive', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, run_id], cwd=PROJECT_DIR, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"alive\n"
    process.kill()
    process.communicate()
    # As if it had been running for a while.
    file = here.paths().runs_under_way / run_id
    os.utime(file, (time.time() - 60, time.time() - 60))


def test_a_killed_run_is_failed_and_gives_its_slot_back_and_a_living_one_keeps_its_own(
    instance: dg.DagsterInstance,
) -> None:
    dead, living = (instance.create_run_for_job(night, status=STARTED) for _ in range(2))
    claim(instance, dead)
    kill_holder_of(dead.run_id)
    with alive(here.paths(), living.run_id):
        assert close_killed_runs(instance, here.paths()) == [dead.run_id]
        assert (status(instance, dead), status(instance, living)) == (FAILURE, STARTED)
        assert holders(instance) == []
        claim(instance, living)
        assert close_killed_runs(instance, here.paths()) == [], "it is closed already"
        assert holders(instance) == [living.run_id]
        assert [file.name for file in here.paths().runs_under_way.iterdir()] == [living.run_id]
    messages = [entry.dagster_event.message for entry in instance.all_logs(dead.run_id) if entry.dagster_event]
    assert messages == [KILLED]


def test_dagster_repeats_it_once_also_where_no_code_location_started_it(instance: dg.DagsterInstance) -> None:
    first = instance.create_run_for_job(night, status=STARTED)
    kill_holder_of(first.run_id)
    close_killed_runs(instance, here.paths())
    closed = instance.get_run_by_id(first.run_id)
    assert closed and closed.remote_job_origin
    assert closed.tags[WILL_RETRY_TAG] == "true"
    again = instance.create_run_for_job(
        night,
        status=STARTED,
        root_run_id=first.run_id,
        parent_run_id=first.run_id,
        tags={ROOT_RUN_ID_TAG: first.run_id},
    )
    kill_holder_of(again.run_id)
    close_killed_runs(instance, here.paths())
    closed = instance.get_run_by_id(again.run_id)
    assert closed and closed.tags[WILL_RETRY_TAG] == "false", "only once"


def test_a_run_that_does_the_same_is_the_repetition_and_one_that_does_something_else_is_not(
    instance: dg.DagsterInstance,
) -> None:
    @dg.job
    def another() -> None:
        nothing()

    dead, other = (instance.create_run_for_job(job, status=STARTED) for job in (night, another))
    now = instance.create_run_for_job(night, status=STARTED)
    kill_holder_of(dead.run_id)
    kill_holder_of(other.run_id)
    with alive(here.paths(), now.run_id):
        assert sorted(close_killed_runs(instance, here.paths(), now)) == sorted([dead.run_id, other.run_id])
    tags = [instance.get_run_by_id(run.run_id).tags for run in (dead, other)]  # type: ignore[union-attr]
    assert [each[WILL_RETRY_TAG] for each in tags] == ["false", "true"]
    assert tags[0][MAX_RETRIES_TAG] == "0"


def test_a_started_run_without_a_lock_is_dead_after_a_moment(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = instance.create_run_for_job(night, status=STARTED)
    claim(instance, run)
    assert close_killed_runs(instance, here.paths()) == [], "it may be about to take its lock"
    assert holders(instance) == [run.run_id]
    monkeypatch.setattr("orchestration.killed_runs.GRACE", -1)
    assert close_killed_runs(instance, here.paths()) == [run.run_id]
    assert holders(instance) == []
    assert GRACE < 60


def test_a_run_that_is_on_its_way_to_the_queue_is_left_alone(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.killed_runs.GRACE", -1)
    run = instance.create_run_for_job(night, status=dg.DagsterRunStatus.NOT_STARTED)
    assert close_killed_runs(instance, here.paths()) == []
    assert status(instance, run) == dg.DagsterRunStatus.NOT_STARTED


def test_the_slot_of_a_run_that_is_over_is_freed(instance: dg.DagsterInstance) -> None:
    # What the UI's force-terminate leaves.
    run = instance.create_run_for_job(night, status=STARTED)
    claim(instance, run)
    instance.report_run_canceled(run)
    close_killed_runs(instance, here.paths())
    assert holders(instance) == []


def test_the_monitor_says_what_it_closed(instance: dg.DagsterInstance) -> None:
    def look() -> str | None:
        with dg.build_sensor_context(instance) as context:
            result = monitor(here.paths()).evaluate_tick(context)
        assert not result.run_requests
        return result.skip_message

    assert look() == "No run was killed."
    run = instance.create_run_for_job(night, status=STARTED)
    kill_holder_of(run.run_id)
    assert look() == f"Closed {run.run_id[:8]}, whose process was killed."
    assert monitor(here.paths()).minimum_interval_seconds == 30
    assert (nightly.tags or {})["dagster/retry_strategy"] == "ALL_STEPS"


def descendants(root: int) -> list[int]:
    """A process and all that it started, and they started."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may have blanks.
            parents[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
    tree = [root]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree


class Services:
    """`make ui`, as a program."""

    def __init__(self, shop: Project, port: int) -> None:
        self.shop = shop
        command = [sys.executable, "-m", "orchestration", "ui", "--port", str(port)]
        self.process = subprocess.Popen(
            command, cwd=shop.code, env=shop.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill_all(self) -> None:
        """As a power cut does: nothing of it can clean up. No process outside this tree is touched."""
        tree = descendants(self.process.pid)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in tree:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.process.wait()


def wait_for(what: str, seconds: float, true: "object") -> float:
    assert callable(true)
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if true():
            return time.monotonic() - started
        time.sleep(1)
    raise AssertionError(f"not within {seconds} s: {what}")


@pytest.fixture
def shop(
    unchecked_stage: Stage, unchecked_first_night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """The tiny shop after its first night, where dbt's data tests are not run."""
    with unchecked_stage.shop(moved_to=tmp_path / "data", begin_with=unchecked_first_night.data) as shop:
        monkeypatch.setenv("NEXT_AISLE_DATA", str(shop.data))
        shop.env["DAGSTER_HOME"] = str(shop.data / "dagster")
        # The nightly schedule must not start a run of its own in the middle of the test.
        far_from_now = f"{dt.datetime.now() + dt.timedelta(hours=12):%H:%M}"
        shop.env |= {"NEXT_AISLE_NIGHTLY_AT": far_from_now, "NEXT_AISLE_WAIT_UNTIL": far_from_now}
        yield shop


@pytest.mark.slow
def test_a_killed_launch_and_a_power_cut_are_noticed_within_two_minutes_and_repeated(shop: Project) -> None:
    dg_program = str(Path(sys.executable).parent / "dg")
    services = Services(shop, 8390)
    everything = '{"ops": {"build_models": {"config": {"full_refresh": true}}}}'
    with open_instance(here.paths()) as instance:

        def runs() -> list[dg.DagsterRun]:
            return list(reversed(instance.get_runs()))

        def is_building(run: dg.DagsterRun) -> bool:
            return any(
                entry.step_key == "build_models" and entry.dagster_event.event_type_value == "STEP_START"
                for entry in instance.all_logs(run.run_id)
                if entry.dagster_event
            )

        try:
            before = len(runs())
            launch = [dg_program, "launch", "--job", "nightly", "--config-json", everything]
            launched = subprocess.Popen(
                launch, cwd=shop.code, env=shop.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            wait_for("the launched run builds", 120, lambda: len(runs()) > before and is_building(runs()[before]))
            launched.kill()
            launched.wait()
            noticed = wait_for("it is failed", 120, lambda: runs()[before].status == FAILURE)
            assert noticed < 120
            wait_for("it is repeated", 120, lambda: len(runs()) > before + 1 and is_building(runs()[before + 1]))
            repeated = runs()[before + 1]
            assert repeated.root_run_id == runs()[before].run_id
            # The power is cut while the repetition runs and another run is in the queue.
            services.kill_all()
            services = Services(shop, 8391)
            wait_for("the repetition is failed", 140, lambda: status(instance, repeated) == FAILURE)
            done = subprocess.run([sys.executable, "-m", "orchestration", "nightly"], cwd=shop.code, env=shop.env)
            assert done.returncode == 0
            assert len(runs()) == before + 3, "what was repeated once is not repeated again"
        finally:
            services.kill_all()

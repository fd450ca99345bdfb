"""`python -m orchestration status`: what an operator asks first."""

import datetime as dt
import json
import shutil
from pathlib import Path

import dagster as dg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestration.__main__ import main
from orchestration.executor import CAUSE
from orchestration.figures import as_figures
from orchestration.instance import code_location_origin, open_instance
from orchestration.schedules import LATE
from orchestration.watch import ERROR, State, look
from tests import here
from tests.conftest import Night
from warehouse.settings import Settings


@pytest.fixture
def shop(first_night: Night, data: Path) -> Path:
    shutil.copytree(first_night.data, data, symlinks=True, dirs_exist_ok=True)
    return data


def state(now: dt.datetime | None = None) -> State:
    with open_instance(here.paths()) as instance:
        return look(Settings(), instance, now)


def keys(state: State) -> set[str]:
    return {finding.key for finding in state.findings if not finding.key.startswith(("budget:", "objective:"))}


def end_a_run(status: dg.DagsterRunStatus, tags: dict[str, str]) -> dg.DagsterRun:
    @dg.job
    def nightly() -> None: ...

    with open_instance(here.paths()) as instance:
        origin = code_location_origin("nightly")
        return instance.create_run_for_job(nightly, status=status, tags=tags, remote_job_origin=origin)


def test_after_a_good_night_nothing_but_the_tiny_shops_own_defects_is_found(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = state()
    assert keys(seen) - {"disk"} == set()
    assert seen.last_run and seen.last_run.status == "success"
    assert [(each.source, each.status) for each in seen.shops] == [("complete_journey", "current")]
    # Half of its lines are wrong on purpose, and the budget is spent at once.
    assert main(["status"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("There are warnings\n")
    assert "complete_journey  current, newest purchase" in printed
    assert "objective rows_arrive_complete: the error budget is exhausted" in " ".join(printed.split())


def test_all_of_it_is_there_for_programs(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["level"] == "warning"
    assert told["last_run"]["status"] == "success"
    assert told["shops"][0]["source"] == "complete_journey"


def test_a_failed_run_is_an_error_with_its_cause_owner_and_page(shop: Path) -> None:
    cause = "judging: check rows_arrive_complete of quality/verdict: breach"
    run = end_a_run(dg.DagsterRunStatus.FAILURE, {CAUSE: cause})
    (finding,) = [finding for finding in state().findings if finding.key == "run"]
    assert (finding.level, finding.text) == (ERROR, f"the nightly run failed: {cause}")
    assert finding.owner == "data-platform"
    assert finding.link == f"http://localhost:3000/runs/{run.run_id}"
    assert main(["status"]) == 2


def test_no_run_for_two_days_is_stale_and_a_day_and_a_bit_a_warning(shop: Path) -> None:
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    levels = {
        hours: [each.level for each in state(now + dt.timedelta(hours=hours)).findings if each.key == "fresh"]
        for hours in (20, 27, 48)
    }
    assert levels == {20: [], 27: ["warning"], 48: ["error"]}


def test_a_late_shop_a_long_wait_and_a_damaged_copy_are_found(shop: Path) -> None:
    end_a_run(dg.DagsterRunStatus.SUCCESS, {LATE: "corner_shop"})
    end_a_run(dg.DagsterRunStatus.QUEUED, {})
    copy = here.paths().published
    copy.chmod(0o644)
    copy.write_bytes(copy.read_bytes()[:-4096])
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(hours=2)
    found = {finding.key.partition(":")[0]: finding for finding in state(now).findings}
    assert found["late"].text.startswith("corner_shop had not delivered")
    assert "has waited since" in found["waits"].text
    assert "is damaged" in found["copy"].text and found["copy"].level == ERROR


def test_before_anything_ran_it_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 2
    printed = " ".join(capsys.readouterr().out.split())
    assert "published nothing yet" in printed
    assert "nothing is published yet at" in printed


def test_where_nothing_can_be_told_the_code_is_unknown(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "dagster").write_text("a file, where the folder should be")
    assert main(["status"]) == 3
    assert "cannot tell how things stand" in capsys.readouterr().err


def test_prometheus_reads_the_same(shop: Path) -> None:
    seen = state()
    figures = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(as_figures(seen).decode())
        for sample in family.samples
    }
    assert figures["next_aisle_last_run_succeeded",] == 1
    assert figures["next_aisle_published_bytes",] == seen.published_bytes
    assert figures["next_aisle_findings", "warning"] == len([f for f in seen.findings if f.level == "warning"])
    assert figures["next_aisle_shop_held", "complete_journey"] == 0
    budgets = {each.objective: (each.owner, each.error_budget_left) for each in seen.objectives}
    owner, left = budgets["rows_arrive_complete"]
    assert figures["next_aisle_error_budget_left", "rows_arrive_complete", owner] == left

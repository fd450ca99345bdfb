"""A run is published when it was judged, it itself and not an earlier one, and breaks no objective that blocks."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from delivery import objectives
from ingestion import warehouse
from orchestration.checks import objective_checks
from orchestration.publish import is_audited, mark_built

PROMISED = objectives.read(objectives.FILE)


def recorded(run_id: str, **statuses: str) -> None:
    """A warehouse whose newest recorded run stands so to the objectives; those not named are met."""
    with warehouse.connect() as connection:
        connection.execute("create or replace schema quality")
        connection.execute(
            "create table quality.slo_status (run_id varchar, objective varchar, status varchar, blocks boolean, "
            "lowest_in_run double, attained double, target double, error_budget_left double, trend varchar)"
        )
        connection.execute(
            "create table quality.check_results (run_id varchar, objective varchar, table_name varchar, "
            "check_name varchar, status varchar, description varchar)"
        )
        for one in PROMISED.objectives:
            status = statuses.get(one.name, "met")
            if status != "not declared":
                connection.execute(
                    f"insert into quality.slo_status values ('{run_id}', '{one.name}', '{status}', {one.blocks}, "
                    "50, 98, 99, 0.5, 'steady')"
                )
        connection.execute(
            f"insert into quality.check_results values ('{run_id}', 'rows_arrive_complete', 'raw_shop.purchases', "
            "'rows_are_complete', 'warn', '20 of 40 rows fail')"
        )


def judged() -> tuple[dg.ExecuteInProcessResult, dict[str, Any]]:
    definitions = dg.Definitions(
        asset_checks=[objective_checks(PROMISED)],
        jobs=[dg.define_asset_job("judge", dg.AssetSelection.all_asset_checks())],
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("judge").execute_in_process(instance=instance, raise_on_error=False)
        return result, {check.check_name: check for check in result.get_asset_check_evaluations()}


def test_a_run_that_built_the_warehouse_and_breaks_nothing_may_be_published(data: Path) -> None:
    recorded("run-1", runs_end_in_time="warning", likelihoods_come_true="breach", loads_are_fresh="not measured")
    mark_built("run-1")
    _, checks = judged()
    assert is_audited()
    assert checks["keys_are_unique"].passed and checks["loads_are_fresh"].passed
    for name in ("runs_end_in_time", "likelihoods_come_true"):
        assert not checks[name].passed and checks[name].severity == dg.AssetCheckSeverity.WARN


def test_a_breach_of_an_objective_that_blocks_is_an_error_and_says_which_check_it_was(data: Path) -> None:
    recorded("run-1", rows_arrive_complete="breach")
    mark_built("run-1")
    _, checks = judged()
    assert not is_audited()
    breach = checks["rows_arrive_complete"]
    assert not breach.passed and breach.severity == dg.AssetCheckSeverity.ERROR
    assert breach.description == (
        "breach: 50 % in this run, 98 % in the window, 99 % promised; 50 % of the error budget left; steady. "
        "raw_shop.purchases: 20 of 40 rows fail"
    )


@pytest.mark.parametrize("builder", ["run-2", None])
def test_what_another_run_or_nobody_built_is_not_published_on_the_word_of_this_one(
    data: Path, builder: str | None
) -> None:
    recorded("run-1")
    if builder:
        mark_built(builder)
    judged()
    assert not is_audited()


def test_an_objective_that_the_newest_run_did_not_know_is_named(data: Path) -> None:
    recorded("run-1", keys_are_unique="not declared")
    mark_built("run-1")
    result, _ = judged()
    assert not is_audited()
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "keys_are_unique: declared since the newest run" in str(failure.step_failure_data.user_failure_data)

"""A run is published when it was judged by its own checks, and breaks no objective that blocks."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ingestion.load import load
from orchestration.assets.verdict import verdict_assets
from orchestration.keys import RECONCILIATION, VERDICT
from orchestration.project import read_project
from quality import objectives
from quality.audit import is_audited, mark_built
from tests import here

PASSED = dg.AssetCheckResult(passed=True, metadata={"rows_read": 40, "rows_failed": 0})
BREACH = dg.AssetCheckResult(
    passed=False,
    severity=dg.AssetCheckSeverity.WARN,
    description="20 of 40 newly delivered rows fail",
    metadata={"rows_read": 40, "rows_failed": 20, "table": "raw_complete_journey.purchases"},
)


@pytest.fixture
def loaded(landing: Path, data: Path) -> Path:
    load("complete_journey", here.paths(), say=lambda _: None)
    return data


def judged(result: dg.AssetCheckResult, builder: str | None = "itself") -> tuple[bool, dict[str, Any]]:
    """A run whose only check of the rows comes out so: whether it succeeded, and what it says of each objective."""
    project = replace(read_project(), objectives=objectives.read())
    check = dg.AssetCheckSpec("rows_are_complete", asset=RECONCILIATION)

    @dg.asset(key=RECONCILIATION, check_specs=[check])
    def build_models(context: dg.AssetExecutionContext) -> Iterator[Any]:
        if builder:
            mark_built(project.paths, context.run_id if builder == "itself" else builder)
        yield dg.Output(None)
        yield result._replace(check_name=check.name, asset_key=RECONCILIATION)

    definitions = dg.Definitions(
        assets=[build_models, verdict_assets(project)],
        jobs=[dg.define_asset_job("nightly", dg.AssetSelection.all())],
        executor=dg.in_process_executor,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        ran = definitions.resolve_job_def("nightly").execute_in_process(instance=instance, raise_on_error=False)
        return ran.success, {
            evaluation.check_name: evaluation
            for evaluation in ran.get_asset_check_evaluations()
            if evaluation.asset_key == VERDICT
        }


def recorded(data: Path) -> dict[str, Any]:
    (file,) = (data / "run_history").glob("*.json")
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def test_a_run_that_built_the_warehouse_and_breaks_nothing_may_be_published(loaded: Path) -> None:
    succeeded, checks = judged(PASSED)
    assert succeeded and is_audited(here.paths())
    assert all(check.passed for check in checks.values())
    assert checks["rows_arrive_complete"].description == "met: 100 % in this run, 99 % promised"
    assert checks["keys_are_unique"].description == "Not measured in this run."
    standing = {entry["objective"]: entry["status"] for entry in recorded(loaded)["objectives"]}
    assert standing["rows_arrive_complete"] == "met"
    assert standing["keys_are_unique"] == "not measured"


def test_a_breach_of_an_objective_that_blocks_is_an_error_and_says_which_check_it_was(loaded: Path) -> None:
    succeeded, checks = judged(BREACH)
    assert not succeeded and not is_audited(here.paths())
    breach = checks["rows_arrive_complete"]
    assert not breach.passed and breach.severity == dg.AssetCheckSeverity.ERROR
    assert breach.description == (
        "breach: 50 % in this run, 99 % promised. raw_complete_journey.purchases: 20 of 40 newly delivered rows fail"
    )
    content = recorded(loaded)
    assert {entry["objective"]: entry["status"] for entry in content["objectives"]}["rows_arrive_complete"] == "breach"
    assert content["run"]["outcome"] == "under way", "the next run says how it ended"


def test_a_warning_is_not_an_error_and_is_published(loaded: Path) -> None:
    few = BREACH._replace(metadata={**BREACH.metadata, "rows_failed": dg.MetadataValue.int(1)})
    succeeded, checks = judged(few)
    assert succeeded and is_audited(here.paths())
    warning = checks["rows_arrive_complete"]
    assert not warning.passed and warning.severity == dg.AssetCheckSeverity.WARN


@pytest.mark.parametrize("builder", ["another run", None])
def test_a_run_does_not_approve_a_warehouse_that_it_did_not_build(loaded: Path, builder: str | None) -> None:
    judged(PASSED, builder)
    assert not is_audited(here.paths())


def test_a_damaged_record_of_an_earlier_run_is_a_warning_that_names_it_and_stops_nothing(loaded: Path) -> None:
    damaged = loaded / "run_history" / "000003-of-long-ago.json"
    damaged.parent.mkdir()
    damaged.write_text('{"run": {')
    succeeded, checks = judged(PASSED)
    assert succeeded and is_audited(here.paths())
    warning = checks["runs_are_recorded"]
    assert not warning.passed and warning.severity == dg.AssetCheckSeverity.WARN
    assert str(damaged) in str(warning.description)
    assert "move it out of the folder" in str(warning.description)
    assert [file.name[:6] for file in sorted(damaged.parent.glob("*.json"))] == ["000003", "000004"]

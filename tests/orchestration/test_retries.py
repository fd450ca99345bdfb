"""A server that does not answer is asked again; what cannot get better by itself is not tried again."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from ingestion.load import load as real_load
from ingestion.raw_tables import LoadError, UnreachableError
from orchestration.assets import raw
from orchestration.executor import CAUSE, run_executor
from orchestration.instance import run_job
from orchestration.project import Project, read_project
from tests import here

SHOP = "complete_journey"
AWAY = UnreachableError("sftp://shop.example cannot be read (connection refused).")


@pytest.fixture
def project(data: Path) -> Project:
    return read_project()


def run(project: Project, monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> tuple[int, dg.DagsterRun, list[str]]:
    """Load a shop whose first attempts fail; gives how many there were, the run and its warnings."""
    attempts = list(errors)

    def load(*arguments: object, **settings: object) -> object:
        made.append(1)
        if attempts:
            raise attempts.pop(0)
        return real_load(*arguments, **settings)  # type: ignore[arg-type]

    made: list[int] = []
    monkeypatch.setattr(raw, "load", load)
    monkeypatch.setattr(raw, "PAUSE_SECONDS", 0.1)
    definitions = dg.Definitions(
        assets=[raw.raw_assets(project, SHOP)],
        jobs=[dg.define_asset_job("nightly")],
        executor=run_executor(here.paths()),
    )
    with dg.DagsterInstance.local_temp(overrides=here.NO_COMPUTE_LOGS) as instance:
        result = run_job(instance, definitions.resolve_job_def("nightly"), {})
        run = instance.get_run_by_id(result.run_id)
        assert run
        warnings = [entry.user_message for entry in instance.all_logs(run.run_id) if entry.level == 30]
    return len(made), run, warnings


def test_a_server_that_answers_at_the_last_attempt_is_loaded(
    project: Project, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts, finished, warnings = run(project, monkeypatch, AWAY, AWAY)
    assert attempts == raw.ATTEMPTS == 3
    assert finished.is_success
    assert warnings[:2] == [f"{AWAY} Trying again in 0.1 s.", f"{AWAY} Trying again in 0.2 s."]


def test_a_server_that_never_answers_fails_the_run_with_its_reason(
    project: Project, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts, finished, _ = run(project, monkeypatch, AWAY, AWAY, AWAY)
    assert attempts == 3
    assert finished.tags[CAUSE] == f"loading {SHOP}: {AWAY}"


@pytest.mark.parametrize("error", [LoadError("customers.csv, line 3: a quote is never closed"), KeyError("a bug")])
def test_what_would_fail_again_is_tried_once(
    error: Exception, project: Project, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts, finished, _ = run(project, monkeypatch, error)
    assert attempts == 1 and not finished.is_success


def test_of_several_shops_one_is_held_after_the_last_attempt(
    project: Project, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = replace(project, sources=[SHOP, "corner_shop"])
    attempts, finished, _ = run(several, monkeypatch, AWAY, AWAY, AWAY)
    assert attempts == 3 and finished.is_success

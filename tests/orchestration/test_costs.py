"""What a step costs is measured where it runs, with the programs that it starts, and is recorded with it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from orchestration.executor import run_executor
from orchestration.instance import open_instance, run_job
from orchestration.run_log import DagsterRunLog
from quality import objectives
from tests import here

BURN = "import time; end = time.process_time() + {}\nwhile time.process_time() < end: pass"


@pytest.fixture
def instance(data: object) -> Iterator[dg.DagsterInstance]:
    with open_instance(here.paths()) as instance:
        yield instance


@dg.asset
def waits() -> None:
    time.sleep(0.5)


@dg.asset(deps=[waits])
def works() -> dg.MaterializeResult[Any]:
    exec(BURN.format(0.4))
    subprocess.run([sys.executable, "-c", BURN.format(0.5)], check=True)
    return dg.MaterializeResult(metadata={"rows_loaded": 7, "bytes_loaded": 1234})


@dg.multi_asset(specs=[dg.AssetSpec(["core", "small"], deps=[works]), dg.AssetSpec(["core", "large"], deps=[works])])
def build_models() -> Iterator[dg.MaterializeResult[Any]]:
    exec(BURN.format(0.4))
    yield dg.MaterializeResult(asset_key=["core", "small"], metadata={"Execution Duration": 1.0})
    yield dg.MaterializeResult(asset_key=["core", "large"], metadata={"Execution Duration": 3.0})


def test_processor_time_bytes_and_rows_of_each_step_are_recorded(instance: dg.DagsterInstance) -> None:
    definitions = dg.Definitions(
        assets=[waits, works, build_models],
        jobs=[dg.define_asset_job("night")],
        executor=run_executor(here.paths()),
    )
    result = run_job(instance, definitions.resolve_job_def("night"), {})
    assert result.success
    log = DagsterRunLog(instance, {"nodes": {}, "sources": {}}, objectives.read(None))
    run = log.run(result.run_id)
    assert run
    steps = {step.step: step for step in run.steps}
    cost = {name: step.cpu_seconds or 0.0 for name, step in steps.items()}
    assert cost["waits"] < 0.4 < 0.9 <= cost["works"] < 3
    assert (steps["works"].row_count, steps["works"].loaded_bytes) == (7, 1234)
    assert steps["waits"].loaded_bytes is None
    small, large = cost["model.core.small"], cost["model.core.large"]
    assert large == pytest.approx(3 * small, abs=0.003)
    assert small + large == pytest.approx(cost["build_models"], abs=0.003)
    assert cost["build_models"] >= 0.4

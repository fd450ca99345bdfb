"""How old the newest purchase and delivery are, by `dbt source freshness`, wherever the machine stands."""

import datetime as dt
import json
import os
import shutil
import subprocess
from pathlib import Path

import duckdb
import pytest

from tests.conftest import PLACE, PROJECT_DIR
from warehouse.dbt_project import DBT_EXECUTABLE


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("freshness")


def ages_in_hours(target: Path, time_zone: str) -> dict[str, float]:
    """Hours since the newest row of each raw table, on a machine whose clock shows the given zone."""
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    data = PLACE.data
    data.mkdir()
    with duckdb.connect(str(data / "warehouse.duckdb")) as connection:
        connection.execute("create schema if not exists raw_complete_journey")
        for table, column, hours in (
            # A purchase two hours in the future, and one of yesterday.
            ("purchases", "transaction_timestamp", (-2, 1, 24)),
            ("deliveries", "delivered_at", (3, 48)),
        ):
            rows = ", ".join(f"(timestamp '{now - dt.timedelta(hours=ago)}')" for ago in hours)
            connection.execute(
                f"create or replace table raw_complete_journey.{table} as from (values {rows}) as rows ({column})"
            )
    results = target / "sources.json"
    with PLACE.lent(target):
        subprocess.run(
            [DBT_EXECUTABLE, "source", "freshness", "--target-path", str(target), "--output", str(results)],
            cwd=PROJECT_DIR / "dbt_project",
            env={**os.environ, "NEXT_AISLE_DATA": str(data), "TZ": time_zone, "DBT_LOG_PATH": str(target)},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
    shutil.rmtree(data)
    measured = json.loads(results.read_text(encoding="utf-8"))["results"]
    return {result["unique_id"].rpartition(".")[2]: result["max_loaded_at_time_ago_in_s"] / 3600 for result in measured}


@pytest.mark.parametrize("time_zone", ["America/New_York", "Pacific/Kiritimati"])
def test_the_age_of_what_came_is_the_same_in_every_time_zone_and_the_future_does_not_count(
    target: Path, time_zone: str
) -> None:
    assert ages_in_hours(target, time_zone) == pytest.approx({"purchases": 1, "deliveries": 3}, abs=0.02)

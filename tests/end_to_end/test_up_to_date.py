"""A night builds what is new, and comes to the same tables as one that builds everything."""

import datetime as dt
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Project, Stage, published_rows, words
from tests.fixtures import tiny_shop


def built(run: "subprocess.CompletedProcess[str]") -> tuple[int, int]:
    """How many models the step `modelling` built, and how many it left as they were."""
    assert run.returncode == 0, run.stdout + run.stderr
    (line,) = re.findall(r"✔ modelling (.*)", run.stdout)
    counts = {words: int(count) for count, words in re.findall(r"(\d+) (models?(?: up to date)?),", line)}
    return counts.get("models", counts.get("model", 0)), counts.get("models up to date", 0)


def everything_again(shop: Project) -> dict[str, list[tuple[Any, ...]]]:
    """What a night that builds everything publishes."""
    night = shop.python("orchestration", "nightly", "--full-refresh")
    assert built(night)[1] == 0
    return published_rows(shop.data)


@pytest.fixture
def edited(shop: Project) -> Iterator[Path]:
    """A model of the project that the test may edit: nothing reads it, and it reads what is published."""
    model = shop.dbt_dir / "models" / "marts" / "cross_sell" / "without_dates" / "category_gaps.sql"
    text = model.read_text(encoding="utf-8")
    yield model
    model.write_text(text, encoding="utf-8")


def test_a_night_with_nothing_new_builds_nothing_and_leaves_the_copy_as_it_is(shop: Project) -> None:
    file = shop.data / "published" / "next_aisle.duckdb"
    before = file.stat()
    night = shop.nightly()
    models, unchanged = built(night)
    assert models == 0
    assert unchanged > 80
    assert "quality tables 5 models up to date" in words(night.stdout)
    assert "publishing nothing new" in words(night.stdout)
    assert "nothing new since" in words(night.stdout)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    # The run is on record all the same, with the checks that it made: none of a table that it did not build.
    with duckdb.connect(str(shop.data / "warehouse.duckdb"), read_only=True) as connection:
        runs = connection.execute("select run_number, outcome from raw_history.runs order by run_number").fetchall()
        checks = "from quality.check_results where run_number = 2"
        tables = connection.execute(f"select distinct table_name {checks}").fetchall()
        rows = connection.execute(f"select sum(rows_read) {checks} and check_name like '%_rows_are_valid'").fetchall()
    assert runs == [(1, "success"), (2, "under way")]
    assert not [table for (table,) in tables if table.startswith(("core.", "cross_sell."))]
    assert rows == [(0,)], "the rows of the first night are not counted as newly delivered again"
    # A reader's copy that is gone is made again, from the tables as they are.
    content = published_rows(shop.data)
    file.unlink()
    night = shop.nightly()
    assert built(night)[0] == 0
    assert "from now on everyone reads this" in night.stdout
    assert published_rows(shop.data) == content


@pytest.mark.slow
def test_a_day_replaces_the_rows_of_its_baskets_and_has_these_tested(shop: Project) -> None:
    day = tiny_shop.TODAY - dt.timedelta(days=2)
    lines = [tiny_shop.line(day, 300, 1, 10, 1, 7.25), tiny_shop.line(day, 300, 1, 20, 1, 1.5)]
    tiny_shop.write_day(shop.landing, day, lines)
    night = shop.nightly()
    assert built(night)[0] > 50
    assert "core.fct_purchases: 2 rows replaced" in words(night.stdout)
    assert "core.fct_baskets: 1 row replaced" in words(night.stdout)
    checks = "select rows_read from quality.check_results where run_number = 2 and check_name = "
    assert query(shop, f"{checks}'unique_fct_purchases_purchase_line_key'") == [(2,)]
    # A sum is of all rows.
    ((rows,),) = query(shop, f"{checks}'fct_baskets_discount_amount_has_the_total_of_fct_purchases'")
    assert rows == query(shop, "select count(*) from core.fct_baskets")[0][0] > 1
    assert published_rows(shop.data) == everything_again(shop)


@pytest.mark.slow
def test_an_edited_model_is_built_again_with_its_tests_and_nothing_else(shop: Project, edited: Path) -> None:
    before = published_rows(shop.data)
    edited.write_text(f"-- Edited.\n{edited.read_text(encoding='utf-8')}", encoding="utf-8")
    night = shop.nightly()
    assert built(night)[0] == 1
    (checks,) = re.findall(r"✔ modelling .* (\d+) checks", night.stdout)
    # Those of category_gaps; among them two that also read other tables.
    assert int(checks) == 11
    assert published_rows(shop.data) == before


@pytest.mark.slow
def test_what_somebody_built_by_hand_with_other_settings_is_built_again(
    unchecked_shop: Project, unchecked_stage: Stage
) -> None:
    before = published_rows(unchecked_shop.data)
    with unchecked_stage.place.lent(unchecked_shop.dbt_dir / "target"):
        by_hand = unchecked_shop.dbt(
            "run", "--select", "int_score_dates", "category_gaps", "--vars", "score_horizon_days: 7"
        )
    assert by_hand.returncode == 0, by_hand.stdout
    assert built(unchecked_shop.nightly())[0] == 2
    assert published_rows(unchecked_shop.data) == before


@pytest.mark.slow
def test_a_killed_run_and_a_restored_warehouse_leave_nothing_that_the_next_run_takes_for_done(
    unchecked_shop: Project, tmp_path: Path
) -> None:
    shutil.copy(unchecked_shop.data / "warehouse.duckdb", tmp_path / "backup")
    day = tiny_shop.TODAY - dt.timedelta(days=2)
    tiny_shop.write_day(unchecked_shop.landing, day, [tiny_shop.line(day, 300, 1, 10, 1, 7.25)])
    with (unchecked_shop.data / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration", "nightly", "-v"],
            cwd=unchecked_shop.code,
            env=unchecked_shop.env,
            stdout=output,
            start_new_session=True,
        )
        while "built core.fct_purchases" not in (unchecked_shop.data / "output").read_text() and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert built(unchecked_shop.nightly())[1] < 91
    assert ("complete_journey:300", 7.25) in [
        (row[0], float(row[-1])) for row in query(unchecked_shop, "select basket_key, amount from core.fct_baskets")
    ]
    after = published_rows(unchecked_shop.data)
    assert after == everything_again(unchecked_shop)
    # From before the night that was killed.
    shutil.copy(tmp_path / "backup", unchecked_shop.data / "warehouse.duckdb")
    assert built(unchecked_shop.nightly())[0] > 50
    assert published_rows(unchecked_shop.data) == after


@pytest.mark.slow
def test_rows_that_break_an_objective_break_it_again_in_a_night_without_new_ones(unchecked_shop: Project) -> None:
    before = published_rows(unchecked_shop.data)
    day = tiny_shop.TODAY - dt.timedelta(days=2)
    bad = [tiny_shop.line(day, 300 + number, 1, 10, 0, 1.0) for number in range(9)]
    tiny_shop.write_day(unchecked_shop.landing, day, bad)
    for _ in range(2):
        night = unchecked_shop.nightly()
        assert night.returncode == 1
        assert "rows_arrive_valid" in night.stdout
        assert published_rows(unchecked_shop.data) == before


def query(shop: Project, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(shop.data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()

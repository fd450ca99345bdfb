"""How good the data is, run by run: objectives judged, history kept, a breach stopped. One shop, in this order."""

import datetime as dt
import re
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Project, make_project
from tests.fixtures import tiny_shop

TODAY = dt.date.today()


def ask(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def lines(day: dt.date, clean: int, without_customer: int = 0) -> list[dict[str, Any]]:
    """A day's lines, each its own basket; the last ones of nobody."""
    number = day.toordinal() * 1000
    return [
        tiny_shop.line(day, number + n, None if n >= clean else n % 7 + 1, 10 + n % 2, 1, 1.50)
        for n in range(clean + without_customer)
    ]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clean shop of five days with 40 lines each, judged by the product's own objectives."""
    folder = tmp_path_factory.mktemp("quality")
    landing = folder / "data" / "landing" / "complete_journey"
    landing.mkdir(parents=True)
    (landing / "customers.csv").write_text(
        tiny_shop.CUSTOMERS.splitlines()[0] + "\n1,35-44,50-74K,Homeowner,Married,2,2 Adults No Kids,0\n"
    )
    (landing / "products.csv").write_text(tiny_shop.PRODUCTS)
    for back in range(2, 7):
        day = TODAY - dt.timedelta(days=back)
        tiny_shop.write_day(landing, day, lines(day, 40))
    project = make_project(folder / "data", folder)
    del project.env["NEXT_AISLE_OBJECTIVES"]
    return project


def run(shop: Project) -> "subprocess.CompletedProcess[str]":
    return shop.python("orchestration", "nightly")


def land(shop: Project, back: int, clean: int, without_customer: int = 0) -> None:
    day = TODAY - dt.timedelta(days=back)
    tiny_shop.write_day(shop.data / "landing" / "complete_journey", day, lines(day, clean, without_customer))


def test_a_run_is_judged_by_what_really_ran_in_it(shop: Project) -> None:
    # A warning of the freshness check: the newest purchase is of the evening of the day before yesterday.
    done = run(shop)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = {
        (check, table): counts
        for check, table, *counts in ask(
            shop.data,
            "select check_name, table_name, category, status, rows_read, rows_failed from quality.check_results",
        )
    }
    raw = "raw_complete_journey.purchases"
    assert measured["complete_journey_purchases_rows_are_complete", raw] == ["completeness", "pass", 200, 0]
    assert measured["columns_are_as_declared", raw] == ["schema", "pass", 11, 0]
    assert measured["landed_files_are_in_raw", raw] == ["reconciliation", "pass", 5, 0]
    assert measured["run_ends_in_time", "runs"] == ["timeliness", "pass", 1, 0]
    assert measured["unique_dim_customers_customer_key", "core.dim_customers"] == ["uniqueness", "pass", 7, 0]
    assert measured["columns_are_as_declared", "core.dim_categories"][:2] == ["schema", "pass"]
    assert measured["raw_is_kept_plus_rejected", "quality.row_reconciliation"] == ["reconciliation", "pass", 3, 0]
    assert measured["newest_purchase_is_recent", raw][0] == "freshness"
    assert measured["newest_delivery_is_recent", "raw_complete_journey.deliveries"] == ["freshness", "pass", 7, 0]
    assert ask(shop.data, "select count(*) from quality.check_results where objective is null") == [(0,)]

    standing = dict(ask(shop.data, "select objective, status from quality.slo_status"))
    assert standing.pop("events_are_fresh") == ("warning" if dt.datetime.now().hour >= 5 else "met")
    assert set(standing.values()) == {"met"}, standing
    assert re.search(r"Objectives +1[56] met", done.stdout), done.stdout


def test_how_long_it_took_and_what_was_loaded_is_kept(shop: Project) -> None:
    steps = dict(ask(shop.data, "select step, row_count from quality.run_metrics"))
    assert steps["loading complete_journey"] == 1 + 5 + 200
    assert steps["model core.fct_purchases"] == 200
    assert {"landing complete_journey", "checking complete_journey", "modelling", "measuring"} <= set(steps)
    assert ask(shop.data, "select min(seconds) >= 0 and max(seconds) < 600 from quality.run_metrics") == [(True,)]
    assert ask(
        shop.data, "select table_name, count(*), sum(row_count) from quality.load_metrics group by 1 order by 1"
    ) == [
        ("customers", 1, 1),
        ("products", 1, 5),
        ("purchases", 5, 200),
    ]


def test_a_breach_of_a_blocking_objective_stops_publication_and_says_why(shop: Project) -> None:
    before = ask(shop.data, "select max(run_number) from quality.slo_status")
    # Half of the day's lines have no customer. Of all lines ever they are a twelfth, but those are published already.
    land(shop, 1, clean=20, without_customer=20)
    failed = run(shop)
    assert failed.returncode == 1, failed.stdout
    assert "nothing was published" in failed.stdout
    assert "quality/slo_status: rows_arrive_complete: breach: 50 % in this run" in failed.stdout
    assert "20 of 40 newly delivered rows fail" in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr
    assert ask(shop.data, "select max(run_number) from quality.slo_status") == before, "readers keep the copy before"

    again = run(shop)
    assert again.returncode == 1, "what was kept back is judged until it is sent again"
    assert "20 of 40 newly delivered rows fail" in again.stdout


def test_a_warning_is_published_with_the_data_and_the_failed_runs_are_in_the_history(shop: Project) -> None:
    # The day is sent again: 1 of 40 lines has no customer: 97.5 %, a warning below 99 %.
    land(shop, 1, clean=39, without_customer=1)
    done = run(shop)
    assert done.returncode == 0, done.stdout
    assert "! quality/slo_status: rows_arrive_complete: warning: 97.5 % in this run" in done.stdout
    assert "1 warning" in done.stdout
    assert ask(
        shop.data,
        """
        select run_number, checks_in_run, attained_in_run, status, window_runs, round(attained, 4)
        from quality.slo_status where objective = 'rows_arrive_complete'
        """,
        # 1 customer, 5 products and 200 lines; then 40 lines three times, of which 20, 20 and 1 failed.
    ) == [(4, 3, 97.5, "warning", 4, round(100 * (1 - 41 / 326), 4))]
    runs = ask(
        shop.data,
        "select run_number, status from quality.check_results where check_name = 'run_ends_in_time' order by 1",
    )
    assert runs == [(1, "pass"), (2, "warn"), (3, "warn"), (4, "pass")]


def test_the_history_stays_when_the_warehouse_is_rebuilt_and_one_of_an_older_version_is_read(shop: Project) -> None:
    results = "select run_number, table_name, check_name, status, rows_failed from quality.check_results"
    before = set(ask(shop.data, results + " where run_number < 4"))
    (shop.data / "warehouse.duckdb").unlink()
    (shop.data / "run_history" / "000000-of-an-older-version.json").write_text(
        '{"run": {"run_id": "old", "run_number": 0, "started_at": "2020-01-01 02:00:00", "outcome": "success"},'
        ' "checks": [{"check_name": "unique_x", "table_name": "core.x", "status": "pass", "no_longer": "known"}]}'
    )
    done = run(shop)
    assert done.returncode == 0, done.stdout
    assert before <= set(ask(shop.data, results))
    assert ask(shop.data, "select max(run_number) from quality.run_metrics") == [(5,)]
    assert ask(
        shop.data, "select check_name, status, objective, rows_read from quality.check_results where run_number = 0"
    ) == [("unique_x", "pass", None, None)]


def test_a_damaged_file_of_the_history_is_named_and_stops_the_run(shop: Project) -> None:
    old = shop.data / "run_history" / "000000-of-an-older-version.json"
    old.write_text(old.read_text()[:40])
    failed = run(shop)
    assert failed.returncode == 1
    assert str(old) in failed.stdout
    assert "move it out of the folder" in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr
    old.unlink()


def test_an_objective_that_makes_no_sense_stops_the_run_with_its_name(shop: Project) -> None:
    file = shop.data.parent / "objectives.yml"
    file.write_text("window_days: 28\nrun_may_take_minutes: 60\nobjectives: []\n")
    shop.env["NEXT_AISLE_OBJECTIVES"] = str(file)
    failed = run(shop)
    assert failed.returncode == 1
    assert str(file) in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr

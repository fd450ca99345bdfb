"""How good the data is, run by run: objectives judged, history kept, a breach stopped.

A shop is kept as it was after its clean first night, after a night with a breach, after the day was sent again, and
after its warehouse was rebuilt. Each test reads one of these.
"""

import contextlib
import datetime as dt
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from tests.conftest import Project, Stage, words
from tests.fixtures import tiny_shop

# Whatever the hour is, the newest purchase of the first night is older than the 30 hours that give a warning, and
# younger than the 48 that stop the run.
FIRST_NIGHT = dt.datetime.now() - dt.timedelta(hours=36)
# Before noon that was the day before yesterday, after it yesterday.
FIRST_DAY_BACK = (tiny_shop.TODAY - FIRST_NIGHT.date()).days
CLEAN_DAYS = 5
DAMAGED = "000009-damaged.json"


def ask(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def land(shop: Project, back: int, clean: int, without_customer: int = 0) -> None:
    """Land the file of a day: lines that are each their own basket, the last ones without a customer."""
    day = tiny_shop.TODAY - dt.timedelta(days=back)
    moment = FIRST_NIGHT - dt.timedelta(days=back - FIRST_DAY_BACK)
    number = day.toordinal() * 1000
    lines = [
        tiny_shop.line(day, number + n, None if n >= clean else n % 7 + 1, 10 + n % 2, 1, 1.50)
        | {"transaction_timestamp": moment}
        for n in range(clean + without_customer)
    ]
    tiny_shop.write_day(shop.landing, day, lines)


class Nights(NamedTuple):
    """A shop after some nights.

    Attributes:
        data: its data folder, to copy or to read.
        runs: the runs of these nights, with their output.
    """

    data: Path
    runs: "list[subprocess.CompletedProcess[str]]"


@contextlib.contextmanager
def nights(stage: Stage, moved_to: Path, begin_with: Path | None = None) -> Iterator[Project]:
    """A shop on the stage that is judged by the product's own objectives."""
    with stage.shop(moved_to, begin_with) as shop:
        del shop.env["NEXT_AISLE_OBJECTIVES"]
        yield shop


@pytest.fixture(scope="session")
def clean(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """A clean shop of five days with 40 lines each, after its first night."""
    data = tmp_path_factory.mktemp("clean") / "data"
    with nights(stage, moved_to=data) as shop:
        shop.landing.mkdir(parents=True)
        (shop.landing / "customers.csv").write_text(
            tiny_shop.CUSTOMERS.splitlines()[0] + "\n1,35-44,50-74K,Homeowner,Married,2,2 Adults No Kids,0\n"
        )
        (shop.landing / "products.csv").write_text(tiny_shop.PRODUCTS)
        for back in range(FIRST_DAY_BACK, FIRST_DAY_BACK + CLEAN_DAYS):
            land(shop, back, clean=40)
        runs = [shop.nightly()]
    return Nights(data, runs)


@pytest.fixture(scope="session")
def breached(stage: Stage, clean: Nights, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """The shop after one more night: half of the next day's lines have no customer."""
    data = tmp_path_factory.mktemp("breached") / "data"
    with nights(stage, moved_to=data, begin_with=clean.data) as shop:
        # Of all lines ever they are a twelfth, but those are published already.
        land(shop, back=FIRST_DAY_BACK - 1, clean=20, without_customer=20)
        runs = [shop.nightly()]
    return Nights(data, runs)


@pytest.fixture(scope="session")
def sent_again(stage: Stage, breached: Nights, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """The shop after that day was sent again: 1 of 40 lines has no customer, 97.5 % pass, a warning below 99 %."""
    data = tmp_path_factory.mktemp("sent_again") / "data"
    with nights(stage, moved_to=data, begin_with=breached.data) as shop:
        land(shop, back=FIRST_DAY_BACK - 1, clean=39, without_customer=1)
        runs = [shop.nightly()]
    return Nights(data, runs)


@pytest.fixture(scope="session")
def rebuilt(stage: Stage, sent_again: Nights, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """The shop after a night that rebuilds the warehouse from the landed files; two files of the history are odd."""
    data = tmp_path_factory.mktemp("rebuilt") / "data"
    with nights(stage, moved_to=data, begin_with=sent_again.data) as shop:
        (shop.data / "warehouse.duckdb").unlink()
        (shop.data / "run_history" / "000000-of-an-older-version.json").write_text(
            '{"run": {"run_id": "old", "run_number": 0, "started_at": "2020-01-01 02:00:00", "outcome": "success"},'
            ' "checks": [{"check_name": "unique_x", "table_name": "core.x", "status": "pass", "no_longer": "known"}]}'
        )
        (shop.data / "run_history" / DAMAGED).write_text('{"run": {"run_id"')
        runs = [shop.nightly()]
    return Nights(data, runs)


@pytest.mark.slow
def test_a_run_is_judged_by_what_really_ran_in_it(clean: Nights) -> None:
    data, [done] = clean
    assert done.returncode == 0, done.stdout + done.stderr
    measured = {
        (check, table): counts
        for check, table, *counts in ask(
            data,
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
    assert ask(data, "select count(*) from quality.check_results where objective is null") == [(0,)]

    standing = dict(ask(data, "select objective, status from quality.slo_status"))
    assert standing.pop("events_are_fresh") == "warning"
    assert set(standing.values()) == {"met"}, standing
    assert re.search(r"Objectives +18 met", done.stdout), done.stdout


@pytest.mark.slow
def test_how_long_it_took_and_what_was_loaded_is_kept(clean: Nights) -> None:
    data = clean.data
    steps = dict(ask(data, "select step, row_count from quality.run_metrics"))
    assert steps["load_complete_journey"] == 1 + 5 + 200
    assert steps["model.core.fct_purchases"] == 200
    assert {"land_complete_journey", "check_complete_journey", "build_models", "check_rows"} <= set(steps)
    assert ask(data, "select min(seconds) >= 0 and max(seconds) < 600 from quality.run_metrics") == [(True,)]
    assert ask(data, "select table_name, count(*), sum(row_count) from quality.load_metrics group by 1 order by 1") == [
        ("customers", 1, 1),
        ("products", 1, 5),
        ("purchases", 5, 200),
    ]


@pytest.mark.slow
def test_a_breach_of_a_blocking_objective_stops_publication_and_says_why(clean: Nights, breached: Nights) -> None:
    data, [failed] = breached
    assert failed.returncode == 1, failed.stdout
    assert "nothing was published" in failed.stdout
    assert "objective rows_arrive_complete: breach: 50 % in this run" in words(failed.stdout)
    assert "20 of 40 newly delivered rows fail" in words(failed.stdout)
    assert "Traceback" not in failed.stdout + failed.stderr
    newest = "select max(run_number) from quality.slo_status"
    assert ask(data, newest) == ask(clean.data, newest), "readers keep the copy before"


@pytest.mark.slow
def test_a_warning_is_published_with_the_data_and_the_failed_runs_are_in_the_history(sent_again: Nights) -> None:
    data, [done] = sent_again
    assert done.returncode == 0, done.stdout
    assert "! rows_arrive_complete: warning: 97.5 % in this run" in words(done.stdout)
    assert "1 warning" in done.stdout
    assert ask(
        data,
        """
        select run_number, checks_in_run, attained_in_run, status, window_runs, round(attained, 4)
        from quality.slo_status where objective = 'rows_arrive_complete'
        """,
        # 1 customer, 5 products and 200 lines; then 40 lines twice, of which 20 and 1 failed.
    ) == [(3, 3, 97.5, "warning", 3, round(100 * (1 - 21 / 286), 4))]
    runs = ask(
        data,
        "select run_number, status from quality.check_results where check_name = 'run_ends_in_time' order by 1",
    )
    assert runs == [(1, "pass"), (2, "warn"), (3, "pass")]


@pytest.mark.slow
def test_the_history_stays_when_the_warehouse_is_rebuilt_also_of_an_older_version_and_without_a_damaged_file(
    sent_again: Nights, rebuilt: Nights
) -> None:
    data, [done] = rebuilt
    assert done.returncode == 0, done.stdout
    results = "select run_number, table_name, check_name, status, rows_failed from quality.check_results"
    before = set(ask(sent_again.data, results + " where run_number < 3"))
    assert len(before) > 400
    assert before <= set(ask(data, results))
    # The number of the damaged file is not given again.
    assert ask(data, "select max(run_number) from quality.run_metrics") == [(10,)]
    assert "! runs_are_recorded: warning" in words(done.stdout)
    assert DAMAGED in done.stdout and "move it out of the folder" in words(done.stdout)
    assert ask(
        data, "select check_name, status, objective, rows_read from quality.check_results where run_number = 0"
    ) == [("unique_x", "pass", None, None)]


def test_an_invalid_objective_stops_the_run_and_is_named(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "objectives.yml"
    file.write_text("window_days: 28\nrun_may_take_minutes: 60\nobjectives: []\n")
    with nights(stage, moved_to=tmp_path / "data") as shop:
        shop.env["NEXT_AISLE_OBJECTIVES"] = str(file)
        failed = shop.nightly()
    assert failed.returncode == 1
    assert str(file) in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr

"""A shop that is late or broken does not stop the others: its tables stay as they were, and everything says so.

Four shops: `complete_journey` and `street_shop` of the same kind, `online_retail` with nothing but purchases of long
ago, and `crm` with totals without dates. In the first night only the first shop sends clean rows, in the second one the
others do. In the third night the first shop sends two more, and something is wrong with each of the others.
"""

import contextlib
import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pytest

from orchestration.holds import TAG
from orchestration.instance import open_instance
from tests import here
from tests.conftest import OF_RUNS, Place, Project, Stage, add_shop, set_sources, words
from tests.fixtures import crm_shop, tiny_shop, tiny_web_shop

# What every suite tests of it is in test_web_shop.py and in tests/orchestration/test_holds.py.
pytestmark = pytest.mark.slow

FIRST, SECOND, WEB, CRM = "complete_journey", "street_shop", "online_retail", "crm"
SHOPS = [FIRST, SECOND, WEB, CRM]
CUSTOMERS = tiny_shop.CUSTOMERS.splitlines()[0] + "\n1,35-44,50-74K,Homeowner,Married,2,2 Adults No Kids,0\n"
# The day that the first two shops send first, and an earlier one that comes a night later.
DAY, EARLIER = (tiny_shop.TODAY - dt.timedelta(days=days) for days in (1, 2))
# Two shops of three lines of 2.00; three lines of 10 pounds at 2 dollars; the totals of the first four customers of the
# file: 1190 + 22 + 10 + 1190.
ALL_GOOD = {FIRST: "6.00", SECOND: "6.00", WEB: "60.00", CRM: "2412.00"}
# The first shop has two more lines.
ONE_GOES_ON = ALL_GOOD | {FIRST: "10.00"}


class Nights(NamedTuple):
    """The shops after some nights.

    Attributes:
        data: their data folder, to copy or to read.
        run: the newest run, with its output.
    """

    data: Path
    run: "subprocess.CompletedProcess[str]"


def land(data: Path, shop: str, day: dt.date, lines: int, amount: float = 2.0) -> Path:
    """Land a day file: lines of which each is a basket of its own."""
    first_basket = day.toordinal() * 100
    rows = [tiny_shop.line(day, first_basket + n, 1, 10, 1, amount) for n in range(lines)]
    return tiny_shop.write_day(data / "landing" / shop, day, rows)


def land_web(data: Path, day: int, *lines: str) -> Path:
    """Land a day of March 2011: lines of invoice, product, quantity, price in pounds and customer."""
    rows = []
    for number, line in enumerate(lines):
        invoice, product, quantity, price, customer = line.split()
        name = "" if product == "-" else "REGENCY CAKESTAND 3 TIER"
        when = f"2011-03-{day:02} 10:{number:02}:00"
        rows.append(f"{invoice},{product.strip('-')},{name},{quantity},{when},{price},{customer}.0,United Kingdom\n")
    file = data / "landing" / WEB / "purchases" / f"2011-03-{day:02}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(tiny_web_shop.HEADER + "".join(rows), encoding="utf-8")
    return file


def land_first_night(data: Path, shop: str) -> None:
    folder = data / "landing" / shop
    if shop == WEB:
        land_web(data, 1, "1 22423 1 10 17850", "2 22423 1 10 17850", "3 22423 1 10 12583")
    elif shop == CRM:
        crm_shop.land(folder, crm_shop.ROWS[:4])
    else:
        folder.mkdir(parents=True)
        (folder / "customers.csv").write_text(CUSTOMERS, encoding="utf-8")
        (folder / "products.csv").write_text(tiny_shop.PRODUCTS, encoding="utf-8")
        land(data, shop, DAY, lines=3)


def ask(data: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(data / "published" / "next_aisle.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def rows_of(data: Path, shop: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that readers see of a shop, except for how it stands and what was rejected of it."""
    tables = ask(
        data,
        """select table_schema || '.' || table_name from information_schema.columns
           where column_name = 'source_name' order by 1""",
    )
    without = {*OF_RUNS, "quality.shop_status", "quality.rejected_rows", "quality.row_reconciliation"}
    rows = {
        table: ask(data, f"select * from {table} where source_name = '{shop}' order by all")
        for (table,) in tables
        if table not in without
    }
    assert any(rows.values())
    return rows


def spending(data: Path) -> dict[str, str]:
    return {
        shop: str(total)
        for shop, total in ask(data, "select source_name, sum(amount) from core.fct_category_spending group by 1")
    }


def status(data: Path, shop: str) -> dict[str, Any]:
    columns = ["status", "reason", "newest_purchase", "delivery_count", "waiting_delivery_count"]
    (row,) = ask(data, f"select {', '.join(columns)} from quality.shop_status where source_name = '{shop}'")
    return dict(zip(columns, row, strict=True))


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The project with these shops; dbt parses it as another project. A pound is two dollars.

    No shop is held for what dbt's data tests say; test_web_shop.py has a held shop with them.
    """
    stage = Stage(tmp_path_factory.mktemp("several_shops"), Place(), with_checks=False)
    add_shop(stage.code, SECOND)
    set_sources(stage.code, SHOPS)
    rates = "currency,to_currency,from_date,rate\nGBP,USD,2011-03-01,2\n"
    (stage.code / "dbt_project" / "seeds" / "exchange_rates.csv").write_text(rates, encoding="utf-8")
    return stage


@contextlib.contextmanager
def nights(stage: Stage, moved_to: Path, begin_with: Path | None = None) -> Iterator[Project]:
    """Shops on the stage that are judged by the product's own objectives."""
    with stage.shop(moved_to, begin_with) as shops:
        del shops.env["NEXT_AISLE_OBJECTIVES"]
        yield shops


def night(stage: Stage, moved_to: Path, begin_with: Path, happens: Callable[[Path], object]) -> Nights:
    """One more night, before which something happens in the data folder."""
    with nights(stage, moved_to, begin_with) as shops:
        happens(shops.data)
        run = shops.nightly()
    return Nights(moved_to, run)


@pytest.fixture(scope="session")
def only_one(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """The shops after a night in which the first shop alone had landed anything."""
    data = tmp_path_factory.mktemp("only_one") / "data"
    with nights(stage, data) as shops:
        land_first_night(shops.data, FIRST)
        run = shops.nightly()
    assert run.returncode == 0, run.stdout + run.stderr
    return Nights(data, run)


@pytest.fixture(scope="session")
def good(stage: Stage, only_one: Nights, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """The shops after the night in which all others came."""

    def land_the_others(data: Path) -> None:
        for shop in (SECOND, WEB, CRM):
            land_first_night(data, shop)

    good = night(stage, tmp_path_factory.mktemp("good") / "data", only_one.data, land_the_others)
    assert good.run.returncode == 0, good.run.stdout + good.run.stderr
    return good


def go_on(data: Path) -> None:
    land(data, FIRST, EARLIER, lines=2)


def damage(data: Path) -> None:
    """The second shop sends a file that is cut."""
    go_on(data)
    file = land(data, SECOND, EARLIER, lines=2)
    file.write_bytes(file.read_bytes()[:100])


def send_incomplete(data: Path) -> None:
    """The web shop sends its day again, and one more: two of nine lines in all name no product.

    Not one of them may count: the customer 18000 is new, and the last line takes back a purchase of the first night.
    """
    go_on(data)
    land_web(data, 1, "1 22423 1 11 17850", "2 22423 1 11 17850", "3 22423 1 11 12583")
    land_web(
        data, 2, "4 - 1 10 18000", "5 - 1 10 18000", "6 22423 1 10 18000", "7 22423 1 10 18000", "8 22423 1 10 17850",
        "C9 22423 -1 10 12583",
    )  # fmt: skip


def leave_out_a_column(data: Path) -> None:
    """The shop without dates sends its file without the last column, and with another amount."""
    go_on(data)
    file = crm_shop.land(data / "landing" / CRM, [crm_shop.ROWS[0].replace(",189,104", ",999,104")])
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("".join(line.rpartition(",")[0] + "\r\n" for line in lines), encoding="utf-8")


def break_three(data: Path) -> None:
    damage(data)
    send_incomplete(data)
    leave_out_a_column(data)


@pytest.fixture(scope="session")
def broken(stage: Stage, good: Nights, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """The shops after one more night, in which something is wrong with three of the four."""
    return night(stage, tmp_path_factory.mktemp("broken") / "data", good.data, break_three)


def test_a_shop_that_is_broken_in_its_first_night_has_no_rows(only_one: Nights) -> None:
    data, run = only_one
    assert spending(data) == {FIRST: "6.00"}
    held = status(data, SECOND)
    assert held == {
        "status": "held",
        "reason": held["reason"],
        "newest_purchase": None,
        "delivery_count": 0,
        "waiting_delivery_count": 0,
    }
    assert "does not exist" in held["reason"] and "yet" not in held["reason"]
    for shop in (SECOND, WEB, CRM):
        assert f"! {shop}: it has no rows yet." in words(run.stdout)


def test_several_shops_are_published_side_by_side_as_soon_as_they_are_mended(good: Nights) -> None:
    data, run = good
    assert ask(data, "select distinct status from quality.shop_status") == [("current",)]
    assert spending(data) == ALL_GOOD
    assert status(data, SECOND) == {
        "status": "current",
        "reason": None,
        "newest_purchase": dt.datetime.combine(DAY, dt.time(23)),
        "delivery_count": 3,
        "waiting_delivery_count": 0,
    }
    text = words(run.stdout)
    # 1 customer, 5 products and 3 lines.
    assert f"{SECOND} 9 rows loaded {DAY} 1" in text
    assert f"{WEB} 3 rows loaded 2011-03-01 2" in text
    assert f"{CRM} 4 rows loaded - 4" in text
    # Nothing is built twice where no shop is held.
    assert "building without" not in run.stdout


def test_of_four_shops_the_good_one_goes_on_and_the_others_stay_as_they_were(good: Nights, broken: Nights) -> None:
    data, run = broken
    assert run.returncode == 0, run.stdout + run.stderr
    assert spending(data) == ONE_GOES_ON
    assert status(data, FIRST)["status"] == "current"
    assert rows_of(data, SECOND) == rows_of(good.data, SECOND)
    assert rows_of(data, WEB) == rows_of(good.data, WEB)
    assert rows_of(data, CRM) == rows_of(good.data, CRM)


def test_a_damaged_file_of_one_shop_is_named(broken: Nights) -> None:
    data, run = broken
    held = status(data, SECOND)
    assert (held["status"], held["delivery_count"], held["waiting_delivery_count"]) == ("held", 3, 0)
    assert f"{EARLIER}.parquet is not a complete Parquet file (100 bytes). Have it sent again" in held["reason"]
    text = words(run.stdout)
    assert f"loading {SECOND} failed, so the shop is held" in text
    assert f"! {SECOND}: its tables stay as they were published last." in text


def test_a_missing_column_of_a_shop_without_dates_is_named(broken: Nights) -> None:
    data, run = broken
    held = status(data, CRM)
    assert (held["status"], held["delivery_count"], held["waiting_delivery_count"]) == ("held", 1, 0)
    assert "missing column country" in held["reason"].lower()
    text = words(run.stdout)
    assert f"! {CRM}: its tables stay as they were published last." in text
    assert f"{CRM}, totals without dates; held since" in text


def test_rows_that_break_an_objective_wait_and_replace_nothing(broken: Nights) -> None:
    data, run = broken
    held = status(data, WEB)
    assert (held["status"], held["delivery_count"], held["waiting_delivery_count"]) == ("held", 1, 2)
    assert "rows_arrive_complete: breach: 77.77 % in this run" in held["reason"]
    assert "2 of 9 newly delivered rows fail" in held["reason"]
    # Nothing is lost: three lines count, and nine wait.
    assert ask(
        data, f"select raw_rows, kept_rows, rejected_rows from quality.row_reconciliation where source_name = '{WEB}'"
    ) == [(12, 3, 9)]
    assert ask(
        data,
        f"select rejection_reason, rejection_kind, count(*) from quality.rejected_rows "
        f"where source_name = '{WEB}' group by all",
    ) == [("held_delivery", "set aside", 9)]
    assert ask(data, "select source_name, delivery, row_count from quality.load_metrics where is_held order by 2") == [
        (WEB, "purchases/2011-03-01.csv", 3),
        (WEB, "purchases/2011-03-02.csv", 6),
    ]
    # The verdict says which shop it is.
    (standing,) = ask(
        data,
        """select status, round(lowest_in_run, 1), blocks from quality.slo_status
           where objective = 'rows_arrive_complete'""",
    )
    assert standing == ("warning", 77.8, True)
    assert ask(
        data,
        """select table_name, status, rows_read, rows_failed from quality.check_results
           where objective = 'rows_arrive_complete' and status <> 'pass'""",
    ) == [(f"raw_{WEB}.purchases", "warn", 9, 2)]
    assert f"raw_{WEB}.purchases: 2 of 9 newly delivered rows fail: 77.77 % pass" in words(run.stdout)


def test_the_run_and_its_record_name_the_held_shops(broken: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    data, run = broken
    assert f"without the new rows of {CRM}, {WEB}, {SECOND};" in words(run.stdout)
    assert ask(
        data,
        "select objective, status from quality.slo_status where status not in ('met', 'not measured') order by 1",
    ) == [("loads_are_fresh", "warning"), ("rows_arrive_complete", "warning")]
    monkeypatch.setenv("NEXT_AISLE_DATA", str(data))
    with open_instance(here.paths()) as instance:
        (newest,) = instance.get_runs(limit=1)
    assert newest.is_success and newest.tags[TAG] == f"{SECOND}, {WEB}, {CRM}"


def test_what_is_corrected_is_released_in_the_next_night(stage: Stage, broken: Nights, tmp_path: Path) -> None:
    def correct(data: Path) -> None:
        land(data, SECOND, EARLIER, lines=4)
        land_web(data, 2, "6 22423 1 10 18000", "7 22423 1 10 18000", "C9 22423 -1 11 12583")
        crm_shop.land(data / "landing" / CRM, [crm_shop.ROWS[0].replace(",189,104", ",190,104"), *crm_shop.ROWS[1:4]])

    data, run = night(stage, tmp_path / "data", broken.data, correct)
    assert run.returncode == 0, run.stdout + run.stderr
    # Four more lines of 2.00; two lines of 11 pounds, for the third was taken back, and two of 10; one more for wines.
    assert spending(data) == {FIRST: "10.00", SECOND: "14.00", WEB: "84.00", CRM: "2413.00"}
    assert ask(
        data,
        f"""select rejection_reason, count(*) from quality.rejected_rows
            where source_name = '{WEB}' group by all order by 1""",
    ) == [("cancellation", 1), ("cancelled", 1), ("superseded_delivery", 9)]
    assert ask(data, "select distinct status from quality.shop_status") == [("current",)]
    assert "is held" not in run.stdout and "building without" not in run.stdout


def test_when_no_shop_is_left_the_run_stops_and_names_them_all(stage: Stage, broken: Nights, tmp_path: Path) -> None:
    def break_the_others(data: Path) -> None:
        (data / "landing" / FIRST / "customers.csv").write_text("household_id\n1\n", encoding="utf-8")
        (data / "landing" / WEB / "purchases" / "2011-03-02.csv").write_text("no header\n", encoding="utf-8")

    data, run = night(stage, tmp_path / "data", broken.data, break_the_others)
    assert run.returncode == 1
    text = words(run.stdout)
    assert f"looking up which shops are held failed: no shop is left to publish ({', '.join(SHOPS)}). {FIRST}: " in text
    assert "missing column age" in text
    details = max((data / "logs").glob("nightly-*.log")).read_text(encoding="utf-8")
    assert f"; {SECOND}: " in details and "is not a complete Parquet file" in details
    assert f"; {WEB}: " in details and f"; {CRM}: " in details
    assert "modelling" not in text
    assert rows_of(data, FIRST) == rows_of(broken.data, FIRST)


@contextlib.contextmanager
def stricter(stage: Stage) -> Iterator[None]:
    """As if hours had passed: the second shop's newest purchase may be a minute old, and no older."""
    file = stage.code / "dbt_project" / "models" / "staging" / SECOND / f"_{SECOND}__sources.yml"
    text = file.read_text(encoding="utf-8")
    limits = "warn_after: {count: 30, period: hour}\n            error_after: {count: 48, period: hour}"
    assert limits in text
    minute = limits.replace("30, period: hour", "1, period: minute").replace("48, period: hour", "1, period: minute")
    file.write_text(text.replace(limits, minute, 1), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(text, encoding="utf-8")


def test_a_late_shop_and_one_whose_folder_is_gone_are_as_of_their_last_good_night(
    stage: Stage, good: Nights, tmp_path: Path
) -> None:
    def send_customers_and_remove_a_folder(data: Path) -> None:
        go_on(data)
        shutil.rmtree(data / "landing" / WEB)
        (data / "landing" / SECOND / "customers.csv").write_text(CUSTOMERS.replace("35-44", "45-54"), encoding="utf-8")

    with stricter(stage):
        data, run = night(stage, tmp_path / "data", good.data, send_customers_and_remove_a_folder)
    assert run.returncode == 0, run.stdout + run.stderr
    assert spending(data) == ONE_GOES_ON
    # What it did send waits as well.
    assert rows_of(data, SECOND) == rows_of(good.data, SECOND)
    held = status(data, SECOND)
    assert held["reason"].startswith(f"purchases: The newest purchase was at {DAY} 23:00 (UTC)")
    assert held["waiting_delivery_count"] == 1
    assert f"check newest_purchase_is_recent of {SECOND}.purchases" in words(run.stdout)
    assert rows_of(data, WEB) == rows_of(good.data, WEB)
    assert f"{WEB} does not exist" in status(data, WEB)["reason"]


def test_a_run_killed_after_a_shop_was_held_is_simply_run_again(
    stage: Stage, good: Nights, broken: Nights, tmp_path: Path
) -> None:
    moved_to = tmp_path / "data"
    with nights(stage, moved_to, good.data) as shops:
        break_three(shops.data)
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration", "nightly"],
            cwd=shops.code,
            env=shops.env,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout
        for line in process.stdout:
            if "building without the new rows" in line:
                break
        else:
            raise AssertionError("no shop was held")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert spending(shops.data) == ALL_GOOD, "nothing half done is published"
        run = shops.nightly()
    assert run.returncode == 0, run.stdout + run.stderr
    for shop in SHOPS:
        assert rows_of(moved_to, shop) == rows_of(broken.data, shop)
        assert status(moved_to, shop) == status(broken.data, shop)


@pytest.mark.parametrize(
    ("happens", "message"),
    [
        (damage, "The warehouse was made again since the last publication"),
        (send_incomplete, "objective rows_arrive_complete: breach: 77.77 % in this run"),
    ],
)
def test_a_shop_whose_last_good_night_the_warehouse_does_not_have_is_not_taken_from_readers(
    happens: Callable[[Path], None], message: str, stage: Stage, good: Nights, tmp_path: Path
) -> None:
    def happens_to_a_new_warehouse(data: Path) -> None:
        (data / "warehouse.duckdb").unlink()
        happens(data)

    data, run = night(stage, tmp_path / "data", good.data, happens_to_a_new_warehouse)
    assert run.returncode == 1
    assert message in words(run.stdout)
    assert spending(data) == ALL_GOOD


def test_a_shop_that_is_taken_off_the_list_is_gone_and_comes_back_with_the_word(
    stage: Stage, broken: Nights, tmp_path: Path
) -> None:
    keys = (
        "from orchestration.definitions import defs\n"
        "graph = defs().resolve_asset_graph()\n"
        "print(*(k.to_user_string() for k in [*graph.get_all_asset_keys(), *graph.asset_check_keys]), sep='\\n')\n"
        "print(*(node.name for node in defs().resolve_job_def('nightly').graph.nodes), sep='\\n')"
    )
    moved_to = tmp_path / "data"
    with nights(stage, moved_to, broken.data) as shops:
        set_sources(shops.code, [FIRST, WEB, CRM])
        try:
            defined = shops._run([sys.executable, "-c", keys], shops.code).stdout
            without = shops.nightly()
            alone = spending(shops.data)
            stands = ask(shops.data, "select source_name from quality.shop_status order by 1")
        finally:
            set_sources(shops.code, SHOPS)
        land(shops.data, SECOND, EARLIER, lines=4)
        again = shops.nightly()
    assert f"load_{FIRST}" in defined and SECOND not in defined
    assert without.returncode == 0, without.stdout + without.stderr
    assert SECOND not in without.stdout
    assert alone == {shop: total for shop, total in ONE_GOES_ON.items() if shop != SECOND}
    assert stands == [(FIRST,), (CRM,), (WEB,)]
    assert again.returncode == 0, again.stdout + again.stderr
    assert spending(moved_to) == ONE_GOES_ON | {SECOND: "14.00"}
    # What it had sent before was still loaded, and the record of its runs is kept.
    assert f"{SECOND} 4 rows loaded" in words(again.stdout)
    recorded = (
        f"select count(distinct run_number) from quality.check_results where table_name = 'raw_{SECOND}.purchases'"
    )
    # In all nights but the one without it.
    assert ask(moved_to, recorded) == [(4,)]

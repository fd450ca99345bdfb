import ctypes
import datetime as dt
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.load import declare, load
from ingestion.raw_tables import LoadError
from tests import here
from tests.conftest import PROJECT_DIR, Project
from tests.fixtures import tiny_shop
from tests.ingestion.raw import DATASET, contents, ledger, load_shop, query, unnamed_loads
from warehouse.connections import WarehouseBusyError

NEW_DAY = dt.date(2026, 10, 1)
NEW_FILE = f"purchases/{NEW_DAY}.parquet"


def lines(*baskets: int, day: dt.date = NEW_DAY) -> list[dict[str, Any]]:
    return [tiny_shop.line(day, basket, 1, 10, 1, 1.5) for basket in baskets]


def land_day(landing: Path, *baskets: int, day: dt.date = NEW_DAY, **columns: Any) -> Path:
    """Land one more day file; `columns` are added or replaced, with one value per basket."""
    table = pa.Table.from_pylist(lines(*baskets, day=day), schema=tiny_shop.PURCHASES)
    for name, values in columns.items():
        if name in table.column_names:
            table = table.set_column(table.schema.get_field_index(name), name, values)
        else:
            table = table.append_column(name, values)
    path = landing / "purchases" / f"{day}.parquet"
    pq.write_table(table, path)
    return path


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def refused() -> str:
    """Load, and return the text of the error that must come."""
    with pytest.raises(LoadError) as raised:
        load_shop()
    message = str(raised.value)
    assert "\n" not in message
    return message


def start(data: Path, *, code: str | None = None) -> "subprocess.Popen[str]":
    """Start the loader as a process of its own."""
    return subprocess.Popen(
        [sys.executable, *(["-c", code] if code else ["-m", "ingestion", "complete_journey"])],
        cwd=PROJECT_DIR,
        env={**os.environ, "NEXT_AISLE_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


class TestAFirstLoad:
    def test_every_row_arrives_once_and_every_file_is_in_the_ledger(self, loaded: Path) -> None:
        rows = {name: query(f"select count(*) from {DATASET}.{name}")[0][0] for name in tiny_shop.RAW}
        assert rows == tiny_shop.RAW
        days = sorted(path.name for path in (loaded / "purchases").iterdir())
        assert ledger() == [
            ("customers", "customers.csv", 5),
            ("products", "products.csv", 5),
            ("purchases", f"purchases/{days[0]}", 5),
            ("purchases", f"purchases/{days[1]}", 8),
        ]
        assert unnamed_loads() == []

    def test_the_report_says_it_in_one_line_per_table(self, landing: Path) -> None:
        report = load_shop()
        assert [str(table) for table in report.tables.values()] == [
            "customers: 5 rows from 1 of 1 deliveries; 5 rows in all",
            "products: 5 rows from 1 of 1 deliveries; 5 rows in all",
            "purchases: 13 rows from 2 of 2 deliveries; 13 rows in all",
        ]

    def test_every_row_names_its_file(self, loaded: Path) -> None:
        assert query(f"select distinct _delivery from {DATASET}.customers") == [("customers.csv",)]
        assert query(f"select _delivery, count(*) from {DATASET}.purchases group by 1 order by 1") == [
            (file, count) for table, file, count in ledger() if table == "purchases"
        ]

    def test_values_arrive_as_they_were_sent(self, loaded: Path) -> None:
        amounts = [math.nan, math.inf, -math.inf, 0.1 + 0.2, None]
        land_day(loaded, 1, 2, 3, 4, 5, sales_value=pa.array(amounts))
        load_shop()
        rows = query(
            "select sales_value, transaction_timestamp, household_id "
            f"from {DATASET}.purchases where _delivery = '{NEW_FILE}' order by basket_id"
        )
        assert [repr(row[0]) for row in rows] == ["nan", "inf", "-inf", "0.30000000000000004", "None"]
        assert {row[1] for row in rows} == {dt.datetime(2026, 10, 1, 23)}
        types = dict(
            query(
                "select column_name, data_type from information_schema.columns "
                f"where table_schema = '{DATASET}' and table_name = 'purchases'"
            )
        )
        assert types == {
            **dict.fromkeys(["household_id", "store_id", "basket_id", "product_id", "quantity", "week"], "BIGINT"),
            **dict.fromkeys(["sales_value", "retail_disc", "coupon_disc", "coupon_match_disc"], "DOUBLE"),
            "transaction_timestamp": "TIMESTAMP",
            "_delivery": "VARCHAR",
            "_dlt_load_id": "VARCHAR",
        }

    def test_the_largest_numbers_arrive(self, loaded: Path) -> None:
        land_day(loaded, 2**63 - 1, -(2**63))
        load_shop()
        assert query(f"select min(basket_id), max(basket_id) from {DATASET}.purchases") == [(-(2**63), 2**63 - 1)]

    def test_one_table_can_be_loaded_alone_and_the_others_exist_empty(self, landing: Path) -> None:
        load("complete_journey", here.paths(), ["customers"], say=lambda _line: None)
        assert ledger() == [("customers", "customers.csv", 5)]
        assert query(f"select count(*) from {DATASET}.purchases") == [(0,)]
        load_shop()
        assert len(ledger()) == 4

    def test_an_unknown_table_is_an_error(self, data: Path) -> None:
        with pytest.raises(
            LoadError,
            match=r"^source complete_journey has no table refunds\. It has: customers, products, purchases\.$",
        ):
            load("complete_journey", here.paths(), ["refunds"])

    def test_an_unknown_source_is_an_error(self, data: Path) -> None:
        with pytest.raises(LoadError, match=r"^there is no source 'moon': ingestion/sources/moon\.py does not exist$"):
            load("moon", here.paths())


class TestDeliveredAgain:
    def test_loading_twice_changes_nothing(self, loaded: Path) -> None:
        before = contents()
        report = load_shop()
        assert [table.deliveries_loaded for table in report.tables.values()] == [0, 0, 0]
        assert contents() == before

    def test_a_file_that_was_only_touched_or_copied_is_not_loaded_again(self, loaded: Path) -> None:
        before = contents()
        for path in [loaded / "customers.csv", *(loaded / "purchases").iterdir()]:
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
            os.utime(path, (0, 0))
        assert [table.deliveries_loaded for table in load_shop().tables.values()] == [0, 0, 0]
        assert contents() == before

    def test_every_delivery_of_a_day_stays_and_the_newest_counts_even_when_it_is_the_first_again(
        self, loaded: Path
    ) -> None:
        path = land_day(loaded, 1, 2)
        first = path.read_bytes()
        assert load_shop().tables["purchases"].deliveries_replaced == []
        land_day(loaded, 1, 2, 3)
        report = load_shop().tables["purchases"]
        assert (report.deliveries_loaded, report.rows_loaded, report.deliveries_replaced) == (1, 3, [NEW_FILE])
        assert str(report).endswith(f"; delivered again with changes: {NEW_FILE}")
        path.write_bytes(first)
        assert load_shop().tables["purchases"].deliveries_replaced == [NEW_FILE]
        of_the_day = f"from {DATASET}.purchases where _delivery = '{NEW_FILE}'"
        assert query(
            f"select list(basket_id order by basket_id) {of_the_day} group by _dlt_load_id order by _dlt_load_id"
        ) == [
            ([1, 2],),
            ([1, 2, 3],),
            ([1, 2],),
        ]
        assert [row_count for _, file, row_count in ledger() if file == NEW_FILE] == [2, 3, 2]
        # Known as loaded: the newest delivery, not the first of the same content.
        assert load_shop().tables["purchases"].deliveries_loaded == 0

    def test_a_day_without_rows_is_a_delivery_once(self, loaded: Path) -> None:
        land_day(loaded)
        report = load_shop().tables["purchases"]
        assert (report.deliveries_loaded, report.rows_loaded, report.rows_total) == (1, 0, 13)
        assert ("purchases", NEW_FILE, 0) in ledger()
        assert load_shop().tables["purchases"].deliveries_loaded == 0

    def test_a_day_delivered_again_empty_is_the_newest_delivery(self, loaded: Path) -> None:
        land_day(loaded, 1, 2)
        load_shop()
        land_day(loaded)
        assert load_shop().tables["purchases"].deliveries_replaced == [NEW_FILE]
        assert [row_count for _, file, row_count in ledger() if file == NEW_FILE] == [2, 0]
        assert load_shop().tables["purchases"].deliveries_loaded == 0

    def test_a_clock_that_went_back_stops_the_load(self, loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = contents()
        land_day(loaded, 1)
        an_hour_ago = time.time() - 3600
        with monkeypatch.context() as patch:
            patch.setattr("ingestion.pipeline.time.time", lambda: an_hour_ago)
            message = refused()
            assert "Nothing was loaded. Correct the clock" in message and "rebuild --from-landing" in message
        assert contents() == before

    def test_a_day_file_that_is_gone_keeps_its_rows(self, loaded: Path) -> None:
        before = contents()
        sorted((loaded / "purchases").iterdir())[0].unlink()
        assert load_shop().tables["purchases"].deliveries_found == 1
        assert contents() == before


class TestCustomersAndProducts:
    def test_repeated_keys_and_rows_without_a_key_all_arrive(self, loaded: Path) -> None:
        assert query(f"select household_id, age from {DATASET}.customers order by all") == [
            (1, "35-44"),
            (2, "45-54"),
            (2, "55-64"),
            (3, "65+"),
            (None, "25-34"),
        ]

    def test_a_changed_file_is_appended_and_the_earlier_version_stays(self, loaded: Path) -> None:
        rewrite(loaded / "customers.csv", "1,35-44", "1,45-54")
        rewrite(loaded / "customers.csv", "3,65+,Under 15K,Renter,,1,1 Adult No Kids,0\n", "")
        report = load_shop().tables["customers"]
        assert (report.rows_loaded, report.rows_total, report.deliveries_replaced) == (4, 9, ["customers.csv"])
        versions = query(
            f"select list(household_id order by household_id) from {DATASET}.customers "
            "group by _dlt_load_id order by _dlt_load_id"
        )
        assert versions == [([1, 2, 2, 3, None],), ([1, 2, 2, None],)]

    def test_a_header_alone_is_a_version_without_rows(self, loaded: Path) -> None:
        (loaded / "customers.csv").write_text(tiny_shop.CUSTOMERS.splitlines()[0] + "\n", encoding="utf-8")
        report = load_shop().tables["customers"]
        assert (report.deliveries_loaded, report.rows_loaded, report.rows_total) == (1, 0, 5)
        assert ledger()[-1] == ("customers", "customers.csv", 0)
        assert load_shop().tables["customers"].deliveries_loaded == 0

    def test_a_new_column_is_accepted_reported_once_and_null_in_earlier_rows(self, loaded: Path) -> None:
        customers = loaded / "customers.csv"
        rewrite(customers, "kids_count\n", "kids_count,Loyalty Card\n")
        customers.write_text(
            "\n".join(
                line if number == 0 else f"{line},gold"
                for number, line in enumerate(customers.read_text(encoding="utf-8").splitlines())
                if not line.startswith("3,")
            ),
            encoding="utf-8",
        )
        assert load_shop().tables["customers"].new_columns == {"loyalty_card": "text"}
        assert query(f"select distinct household_id, loyalty_card from {DATASET}.customers order by all") == [
            (1, "gold"),
            (1, None),
            (2, "gold"),
            (2, None),
            (3, None),
            (None, "gold"),
            (None, None),
        ]
        rewrite(customers, "gold", "silver")
        assert load_shop().tables["customers"].new_columns == {}


class TestVersionsThatNoLongerCount:
    """They are removed after a number of days: what counts stays, and the ledger still adds up."""

    @pytest.fixture
    def two_versions(self, loaded: Path) -> Path:
        """A day and the customers were delivered twice; the second file of customers lacks number 3."""
        land_day(loaded, 1, 2)
        load_shop()
        land_day(loaded, 1, 2, 3)
        rewrite(loaded / "customers.csv", "1,35-44", "1,45-54")
        rewrite(loaded / "customers.csv", "3,65+,Under 15K,Renter,,1,1 Adult No Kids,0\n", "")
        load_shop()
        return loaded

    def test_they_are_removed_when_they_are_old_enough(self, two_versions: Path) -> None:
        assert load("complete_journey", here.paths(), say=lambda _line: None, keep_superseded_days=0).deliveries == 7
        of_the_day = f"from {DATASET}.purchases where _delivery = '{NEW_FILE}'"
        assert query(f"select list(basket_id order by basket_id) {of_the_day} group by _dlt_load_id") == [([1, 2, 3],)]
        # Number 3 came in the first file only: that is its newest row. The row without a number was replaced.
        assert query(f"select household_id, age from {DATASET}.customers order by all") == [
            (1, "45-54"),
            (2, "45-54"),
            (2, "55-64"),
            (3, "65+"),
            (None, "25-34"),
        ]
        assert query(
            f"select delivery, row_count, dropped_rows from {DATASET}.deliveries where dropped_rows > 0 order by 1"
        ) == [("customers.csv", 5, 4), (NEW_FILE, 2, 2)]
        assert load_shop().tables["purchases"].rows_total == 16

    def test_until_then_they_stay(self, two_versions: Path) -> None:
        before = contents()
        load("complete_journey", here.paths(), say=lambda _line: None, keep_superseded_days=1)
        assert contents() == before

    def test_a_version_that_readers_do_not_have_replaces_nothing(self, two_versions: Path) -> None:
        before = contents()
        published = "create or replace table raw_published.deliveries as select 'complete_journey' as source_name, * "
        with here.connect() as connection:
            connection.execute("create schema raw_published")
            # Readers have the first version of the day and of the customers.
            connection.execute(f"{published} from {DATASET}.deliveries where row_count not in (3, 4)")
        load("complete_journey", here.paths(), say=lambda _line: None, keep_superseded_days=0)
        assert contents() == before
        with here.connect() as connection:
            connection.execute(f"{published} from {DATASET}.deliveries")
        load("complete_journey", here.paths(), say=lambda _line: None, keep_superseded_days=0)
        assert query(f"select sum(dropped_rows) from {DATASET}.deliveries") == [(4 + 2,)]


class TestATableThatWasNeverLoaded:
    def test_it_is_declared_empty_and_loaded_later_as_if_it_had_not_been(
        self, loaded_once: Path, landing: Path
    ) -> None:
        declare("complete_journey", here.paths(), say=lambda _line: None)
        assert {table: len(rows) for table, rows in contents().items() if not table.startswith("_dlt")} == {
            "customers": 0,
            "products": 0,
            "purchases": 0,
            "deliveries": 0,
        }
        load_shop()
        columns = f"select table_name, column_name, data_type from duckdb_columns() where schema_name = '{DATASET}'"
        with duckdb.connect(str(loaded_once / "warehouse.duckdb"), read_only=True) as other:
            assert set(query(columns)) == set(other.execute(columns).fetchall())
        assert {table: len(contents()[table]) for table in tiny_shop.RAW} == tiny_shop.RAW

    def test_tables_that_are_there_stay_as_they_are(self, loaded: Path) -> None:
        before = contents()
        declare("complete_journey", here.paths(), say=lambda _line: None)
        assert contents() == before


class TestAWarehouseOfAnEarlierVersion:
    def test_its_rows_count_as_loaded_and_new_files_are_appended(self, loaded: Path) -> None:
        with here.connect() as connection:
            for table in tiny_shop.RAW:
                connection.execute(f"alter table {DATASET}.{table} rename _delivery to _landed_file")
            connection.execute(f"alter table {DATASET}.deliveries rename delivery to landed_file")
            connection.execute(f"alter table {DATASET}.deliveries rename digest to sha256")
            for column in ("origin", "cursor_from", "cursor_to", "delivery_date", "dropped_rows"):
                connection.execute(f"alter table {DATASET}.deliveries drop column {column}")
        land_day(loaded, 1)
        report = load_shop()
        assert [table.deliveries_loaded for table in report.tables.values()] == [0, 0, 1]
        assert report.tables["purchases"].rows_total == 14
        assert query(
            "select cast(delivery_date as varchar), dropped_rows "
            f"from {DATASET}.deliveries where delivery = '{NEW_FILE}'"
        ) == [(str(NEW_DAY), 0)]
        assert {name for (name,) in query(f"select column_name from (describe {DATASET}.purchases)")} >= {"_delivery"}
        assert not query(f"select 1 from (describe {DATASET}.purchases) where column_name = '_landed_file'")


class TestNewColumnsOfDayFiles:
    def test_a_new_column_is_accepted_reported_once_and_null_in_earlier_rows(self, loaded: Path) -> None:
        land_day(loaded, 1, loyalty=pa.array(["gold"]))
        report = load_shop().tables["purchases"]
        assert str(report).endswith("; new columns: loyalty (text)")
        assert query(f"select loyalty, count(*) from {DATASET}.purchases group by 1 order by 2") == [
            ("gold", 1),
            (None, 13),
        ]
        # A file of the next day has it too, one after it has not.
        land_day(loaded, 2, day=NEW_DAY + dt.timedelta(days=1), loyalty=pa.array(["gold"]))
        assert load_shop().tables["purchases"].new_columns == {}
        land_day(loaded, 3, day=NEW_DAY + dt.timedelta(days=2))
        load_shop()
        assert query(f"select loyalty, count(*) from {DATASET}.purchases group by 1 order by 2") == [
            ("gold", 2),
            (None, 14),
        ]

    def test_files_with_and_without_it_load_together(self, landing: Path) -> None:
        land_day(landing, 1, loyalty=pa.array([7]))
        assert load_shop().tables["purchases"].new_columns == {"loyalty": "bigint"}
        assert query(f"select loyalty, count(*) from {DATASET}.purchases group by 1 order by 2") == [(7, 1), (None, 13)]

    def test_its_name_may_be_awkward(self, loaded: Path) -> None:
        names = ["filename", "Loyalty Card", 'quo"te', "it's", "select", "x__y", "1st", "delivery"]
        land_day(loaded, 1, **{name: pa.array([name]) for name in names})
        new = load_shop().tables["purchases"].new_columns
        assert list(new) == ["filename", "loyalty_card", "quo_te", "it_s", "select", "x__y", "_1st", "delivery"]
        stored = ", ".join(f'"{name}"' for name in new)
        assert query(f"select {stored} from {DATASET}.purchases where basket_id = 1") == [tuple(names)]

    def test_two_types_of_it_in_one_load_stop_the_load(self, loaded: Path) -> None:
        before = contents()
        land_day(loaded, 1, loyalty=pa.array(["gold"]))
        second = land_day(loaded, 2, day=NEW_DAY + dt.timedelta(days=1), loyalty=pa.array([7]))
        assert refused() == (
            f"{second}: column loyalty has type bigint, but in {NEW_FILE} it was text. "
            "Have the file sent again with the same type; nothing was loaded."
        )
        assert contents() == before

    def test_two_spellings_of_it_are_one_column(self, loaded: Path) -> None:
        land_day(loaded, 1, LoyaltyCard=pa.array(["gold"]))
        land_day(loaded, 2, day=NEW_DAY + dt.timedelta(days=1), **{"Loyalty Card": pa.array(["silver"])})
        assert load_shop().tables["purchases"].new_columns == {"loyalty_card": "text"}
        assert query(f"select loyalty_card from {DATASET}.purchases where loyalty_card is not null order by 1") == [
            ("gold",),
            ("silver",),
        ]

    @pytest.mark.parametrize("dlt_folder", ["kept", "lost"])
    def test_another_type_in_a_later_load_stops_the_load(self, loaded: Path, data: Path, dlt_folder: str) -> None:
        land_day(loaded, 1, loyalty=pa.array(["gold"]))
        load_shop()
        if dlt_folder == "lost":
            shutil.rmtree(data / "dlt")
        before = contents()
        second = land_day(loaded, 2, day=NEW_DAY + dt.timedelta(days=1), loyalty=pa.array([7]))
        assert refused() == (
            f"{second}: column loyalty has type bigint, but in an earlier load it was text. "
            "Have the file sent again with the same type; nothing was loaded."
        )
        assert contents() == before

    def test_dlt_refuses_another_type_where_our_own_check_does_not_see_it(
        self, loaded: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        land_day(loaded, 1, loyalty=pa.array(["gold"]))
        load_shop()
        before = contents()
        monkeypatch.setattr("ingestion.landed_files._agree_on_new_columns", lambda *_: {})
        land_day(loaded, 2, day=NEW_DAY + dt.timedelta(days=1), loyalty=pa.array([7]))
        assert "data_type" in refused() and "freeze" in refused()
        assert contents() == before


class TestAllOrNothing:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda landing: (landing / "products.csv").write_text("product_id\n1\n", encoding="utf-8"),
            lambda landing: land_day(landing, 1, sales_value=pa.array(["1.50"])),
            lambda landing: (landing / "purchases" / f"{NEW_DAY}.parquet").write_bytes(b"PAR1"),
        ],
        ids=["a table's file", "another type", "a damaged day"],
    )
    def test_one_bad_file_keeps_the_good_ones_out_too(self, loaded: Path, spoil: Callable[[Path], object]) -> None:
        before = contents()
        rewrite(loaded / "customers.csv", "1,35-44", "1,45-54")
        land_day(loaded, 9, day=dt.date(2026, 9, 1))
        spoil(loaded)
        assert refused().endswith("nothing was loaded.")
        assert contents() == before

    def test_on_an_empty_warehouse_a_bad_file_leaves_no_table(self, landing: Path) -> None:
        land_day(landing, 1, sales_value=pa.array(["1.50"]))
        refused()
        assert contents() == {}

    def test_rows_that_went_missing_are_noticed(self, loaded: Path, data: Path) -> None:
        day = ledger()[-1][1]
        with here.connect() as connection:
            connection.execute(f"delete from {DATASET}.purchases where basket_id = 103")
        assert refused() == (
            f"raw_complete_journey.purchases lost rows: {day} was loaded with 8 rows, but 6 are in the warehouse "
            f"(1 such deliveries). Restore a backup (uv run python -m orchestration restore), or have "
            f"{data / 'warehouse.duckdb'} set aside and loaded again from what can still be delivered, landed files "
            "and what databases and APIs still have (uv run python -m orchestration rebuild --from-landing)."
        )

    def test_a_file_that_is_not_a_warehouse_is_named_with_the_way_out(self, landing: Path, data: Path) -> None:
        (data / "warehouse.duckdb").write_bytes(b"no database" * 1000)
        message = refused()
        assert str(data / "warehouse.duckdb") in message
        assert "uv run python -m orchestration rebuild --from-landing" in message


@dataclass(frozen=True)
class ChangedShop:
    """A loaded shop whose files have changed since, what is in its raw tables, and what a load makes of them."""

    folder: Path
    before: dict[str, list[str]]
    undisturbed: dict[str, list[str]]


@pytest.fixture(scope="session")
def changed_shop(loaded_once: Path, tmp_path_factory: pytest.TempPathFactory) -> ChangedShop:
    folder, other = tmp_path_factory.mktemp("changed"), tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(loaded_once, folder, dirs_exist_ok=True)
    landing = folder / "landing" / "complete_journey"
    rewrite(landing / "customers.csv", "1,35-44", "1,45-54")
    rewrite(landing / "customers.csv", "\n,25-34", "\n,35-44")
    rewrite(landing / "products.csv", "14,3,COUPON", "15,3,COUPON")
    land_day(landing, *range(500))
    shutil.copytree(folder, other, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXT_AISLE_DATA", str(other))
        before = contents(without_load=True)
        load_shop()
        return ChangedShop(folder, before, contents(without_load=True))


@pytest.fixture(scope="session")
def killed_shop(changed_shop: ChangedShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    shutil.copytree(changed_shop.folder, folder, dirs_exist_ok=True)
    process = start(
        folder,
        code=textwrap.dedent(
            """
            import os, signal
            from dlt.destinations.job_client_impl import SqlJobClientBase
            SqlJobClientBase.complete_load = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            from ingestion.load import declare, load
            from warehouse.settings import Settings
            load("complete_journey", Settings().paths)
            """
        ),
    )
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    return folder


class TestKilled:
    """SIGKILL at any moment: the next load brings the raw tables to where an undisturbed one would have."""

    @pytest.fixture
    def undisturbed(self, changed_shop: ChangedShop, data: Path) -> dict[str, list[str]]:
        """What the changed files come to without a kill; the test's own folder still waits to load them."""
        shutil.copytree(changed_shop.folder, data, dirs_exist_ok=True)
        return changed_shop.undisturbed

    def check_next_load(self, undisturbed: dict[str, list[str]]) -> None:
        load_shop()
        assert contents(without_load=True) == undisturbed
        assert len(ledger()) == 7
        assert unnamed_loads() == []
        assert [table.deliveries_loaded for table in load_shop().tables.values()] == [0, 0, 0]

    @pytest.mark.parametrize("delay", [0.05, 0.3, 0.6])
    def test_while_it_loads(self, undisturbed: dict[str, list[str]], data: Path, delay: float) -> None:
        process = start(data)
        assert process.stderr is not None
        while "loading" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(delay)
        kill(process)
        self.check_next_load(undisturbed)

    @pytest.mark.slow
    @pytest.mark.parametrize("moment", range(24))
    def test_at_any_moment_of_its_run(self, undisturbed: dict[str, list[str]], data: Path, moment: int) -> None:
        process = start(data)
        assert process.stderr is not None
        if moment < 4:
            time.sleep(0.5 * moment)
        else:
            while "loading" not in process.stderr.readline():
                assert process.poll() is None
            time.sleep(0.05 * (moment - 4))
        kill(process)
        self.check_next_load(undisturbed)

    @pytest.fixture
    def killed(self, killed_shop: Path, data: Path) -> Path:
        """The landing folder of a load that wrote all rows and was killed before dlt closed it."""
        shutil.copytree(killed_shop, data, dirs_exist_ok=True)
        assert query(f"select age from {DATASET}.customers where household_id = 1 order by 1") == [
            ("35-44",),
            ("45-54",),
        ]
        assert {table for table, _ in unnamed_loads()} == {"customers", "products", "purchases", "deliveries"}
        return data / "landing" / "complete_journey"

    @pytest.mark.usefixtures("killed")
    def test_before_the_load_is_closed_and_it_is_loaded_again(self, changed_shop: ChangedShop) -> None:
        self.check_next_load(changed_shop.undisturbed)

    def test_before_the_load_is_closed_and_the_old_files_come_back(
        self, killed: Path, loaded_once: Path, changed_shop: ChangedShop
    ) -> None:
        shutil.rmtree(killed)
        shutil.copytree(loaded_once / "landing" / "complete_journey", killed)
        assert [table.deliveries_loaded for table in load_shop().tables.values()] == [0, 0, 0]
        assert contents(without_load=True) == changed_shop.before

    def test_before_the_load_is_closed_and_a_bad_file_stops_the_next(
        self, killed: Path, changed_shop: ChangedShop
    ) -> None:
        (killed / "products.csv").write_bytes(b"")
        refused()
        assert contents(without_load=True) == changed_shop.before


class TestOtherProcesses:
    def test_two_loads_at_the_same_time_load_everything_once(self, landing: Path, data: Path) -> None:
        processes = [start(data), start(data)]
        outputs = [process.communicate(timeout=120) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], outputs
        rows = {name: query(f"select count(*) from {DATASET}.{name}")[0][0] for name in tiny_shop.RAW}
        assert rows == tiny_shop.RAW
        assert len(ledger()) == 4
        assert sorted("13 rows from 2 of 2 deliveries" in out for out, _ in outputs) == [False, True]

    @pytest.fixture
    def holder(self, loaded: Path, data: Path) -> Iterator["subprocess.Popen[str]"]:
        """A foreign process that has the warehouse open until its input ends."""
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()",
                str(data / "warehouse.duckdb"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        kill(process)

    def test_a_process_that_holds_the_file_too_long_is_named(self, holder: "subprocess.Popen[str]", data: Path) -> None:
        started = time.monotonic()
        with pytest.raises(WarehouseBusyError) as raised:
            here.connect(wait_seconds=1)
        assert 1 <= time.monotonic() - started < 5
        assert str(raised.value) == (
            f"{data / 'warehouse.duckdb'} is open in process {holder.pid}, for more than 1 s now. "
            f"Close it there. To look at results, open {data / 'published' / 'next_aisle.duckdb'} instead: "
            "that never blocks a run."
        )

    def test_a_load_waits_for_a_process_that_holds_the_file_briefly(
        self, holder: "subprocess.Popen[str]", loaded: Path
    ) -> None:
        land_day(loaded, 1)
        release = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(1); os.kill({holder.pid}, 9)"])
        assert load_shop().tables["purchases"].rows_loaded == 1
        release.wait()


class TestFullDisk:
    def big_day(self, landing: Path) -> None:
        """A day that DuckDB cannot store in less than some 25 MB."""
        rows = 400_000
        path = landing / "purchases" / f"{NEW_DAY}.parquet"
        columns = ", ".join(
            f"hash(n * {position + 1}) // 16 as {name}" for position, name in enumerate(tiny_shop.PURCHASES.names)
        )
        with duckdb.connect() as connection:
            table = connection.sql(f"select {columns} from range({rows}) as t(n)").to_arrow_table()
        at = pa.repeat(pa.scalar(dt.datetime.combine(NEW_DAY, dt.time(23)), pa.timestamp("us")), rows)
        columns_as_sent = [
            table[field.name].cast(pa.int64()).cast(field.type, safe=False) for field in tiny_shop.PURCHASES
        ]
        sent = pa.table(columns_as_sent, schema=tiny_shop.PURCHASES)
        pq.write_table(
            sent.drop_columns("transaction_timestamp").append_column("transaction_timestamp", at),
            path,
            compression="none",
        )

    def test_a_full_disk_is_reported_and_the_next_load_is_right(
        self, loaded_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small = tmp_path / "small"
        small.mkdir()
        if os.geteuid() != 0 or not mount_tmpfs(small, "size=24m"):
            pytest.skip("only root can mount a small disk")
        try:
            monkeypatch.setenv("NEXT_AISLE_DATA", str(small))
            # The landed files stand on a disk of their own: only the warehouse's is full.
            shutil.copytree(loaded_once / "landing", tmp_path / "landing")
            (small / "landing").symlink_to(tmp_path / "landing")
            landing = tmp_path / "landing" / "complete_journey"
            load_shop()
            before = contents()
            rewrite(landing / "customers.csv", "1,35-44", "1,45-54")
            self.big_day(landing)
            message = refused()
            assert message.startswith("the disk is full: ")
            assert message.endswith(f"Free some space below {small} and run again.")
            assert raw_rows(contents()) == raw_rows(before)
            assert not (small / "dlt" / "complete_journey").exists()
            assert mount_tmpfs(small, "remount,size=400m")
            assert load_shop().tables["purchases"].rows_total == 400_013
            assert unnamed_loads() == []
        finally:
            libc().umount2(str(small).encode(), 2)

    def test_a_file_size_limit_is_reported_and_the_next_load_is_right(self, loaded: Path, project: Project) -> None:
        before = contents()
        rewrite(loaded / "customers.csv", "1,35-44", "1,45-54")
        self.big_day(loaded)
        limit = 12 * 1024 * 1024
        result = project.python(
            "ingestion",
            "complete_journey",
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        assert result.returncode == 1
        error = result.stderr.splitlines()[-1]
        assert error.startswith("error: the disk is full: ")
        assert "Traceback" not in result.stderr
        assert raw_rows(contents()) == raw_rows(before)
        assert load_shop().tables["purchases"].rows_total == 400_013
        assert unnamed_loads() == []


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def mount_tmpfs(folder: Path, options: str) -> bool:
    flags = 32 if options.startswith("remount") else 0
    given = options.removeprefix("remount,").encode()
    return bool(libc().mount(b"tmpfs", str(folder).encode(), b"tmpfs", flags, given) == 0)


def raw_rows(tables: dict[str, list[str]]) -> dict[str, list[str]]:
    """The shop's tables and the ledger, without dlt's own bookkeeping."""
    return {name: rows for name, rows in tables.items() if not name.startswith("_dlt")}


class TestWhatIsLost:
    def test_without_the_warehouse_everything_is_rebuilt(self, loaded: Path, data: Path) -> None:
        before = contents(without_load=True)
        (data / "warehouse.duckdb").unlink()
        load_shop()
        assert contents(without_load=True) == before

    def test_without_dlts_folder_the_next_load_goes_on(self, loaded: Path, data: Path) -> None:
        shutil.rmtree(data / "dlt")
        land_day(loaded, 1)
        rewrite(loaded / "customers.csv", "1,35-44", "1,45-54")
        report = load_shop()
        assert {name: table.rows_total for name, table in report.tables.items()} == {
            "customers": 10,
            "products": 5,
            "purchases": 14,
        }
        assert len(ledger()) == 6

    def test_dlts_folder_keeps_no_rows(self, loaded: Path, data: Path) -> None:
        kept = [path for path in (data / "dlt").rglob("*") if path.suffix in {".parquet", ".model", ".csv"}]
        assert kept == []

    def test_the_staging_tables_keep_no_rows(self, loaded: Path) -> None:
        staged = query(
            f"select table_name from information_schema.tables where table_schema = '{DATASET}_staging' "
            "and table_name not like '\\_dlt%' escape '\\'"
        )
        assert [query(f"select count(*) from {DATASET}_staging.{name}")[0][0] for (name,) in staged] == [0] * len(
            staged
        )


def test_the_data_folder_may_have_almost_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / 'with space, größe; "quotes" \\ and {braces} #1'
    monkeypatch.setenv("NEXT_AISLE_DATA", str(root))
    landing = tiny_shop.land(root / "landing" / "complete_journey")
    assert load_shop().tables["purchases"].rows_total == 13
    land_day(landing, 1)
    assert load_shop().tables["purchases"].rows_total == 14


@pytest.mark.parametrize("name", ["year=2026", "shop [1]", "star*", "who?", "it's", "50%"])
def test_a_data_folder_whose_name_would_be_taken_for_a_pattern_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("NEXT_AISLE_DATA", str(tmp_path / name))
    assert refused() == (
        f"{tmp_path / name}: DuckDB and dlt read ' = % * ? [ ] in a folder's name as a pattern. "
        "Set NEXT_AISLE_DATA to a folder without them; nothing was loaded."
    )
    assert not (tmp_path / name).exists()

import datetime as dt
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ingestion.file_checks import LandedTable, find_deliveries
from ingestion.files.formats import Excel
from ingestion.files.names import FileNames
from ingestion.raw_tables import LoadError
from ingestion.sources.complete_journey import SOURCE
from tests.fixtures import tiny_shop
from tests.ingestion.test_parquet_files import DAY, one_day


class TestWhatIsLanded:
    def test_a_missing_folder_names_the_way_out(self, tmp_path: Path) -> None:
        folder = tmp_path / "complete_journey"
        with pytest.raises(LoadError) as raised:
            find_deliveries(folder, SOURCE.tables)
        assert str(raised.value) == (
            f"{folder} does not exist. Put the source's files there, or land the sample shop: "
            "uv run --group sample python -m ingestion.sample_shop"
        )

    def test_an_empty_folder_names_the_way_out(self, tmp_path: Path) -> None:
        with pytest.raises(LoadError) as raised:
            find_deliveries(tmp_path, SOURCE.tables)
        assert str(raised.value).startswith(f"{tmp_path} is empty. Put the source's files there, or land the sample")

    @pytest.mark.parametrize("file", ["customers.csv", "products.csv"])
    def test_a_missing_table_is_named(self, landing: Path, file: str) -> None:
        (landing / file).unlink()
        with pytest.raises(LoadError) as raised:
            find_deliveries(landing, SOURCE.tables)
        table = file.removesuffix(".csv")
        assert str(raised.value) == f"there is no file {landing / file}, from which the table {table} is loaded."

    def test_a_shop_without_day_files_is_an_error(self, landing: Path) -> None:
        for path in (landing / "purchases").iterdir():
            path.unlink()
        with pytest.raises(LoadError, match=r"there is no file .*purchases/\{date\}\.parquet, from which"):
            find_deliveries(landing, SOURCE.tables)

    @pytest.mark.parametrize(
        "name", ["2026-11-19 (1).parquet", "2026-11-19_v2.parquet", "20261119.parquet", "2026-02-30.parquet"]
    )
    def test_a_day_file_that_is_not_named_after_its_day_stops_the_load(self, landing: Path, name: str) -> None:
        wrong = landing / "purchases" / name
        pq.write_table(one_day(), wrong)
        with pytest.raises(LoadError) as raised:
            find_deliveries(landing, SOURCE.tables)
        assert str(raised.value) == (
            f"{wrong}: a day file must be named after its day, such as 2026-11-19.parquet. "
            "Rename or remove it. A corrected day replaces the file of the same name."
        )

    def test_unfinished_uploads_are_ignored(self, landing: Path) -> None:
        before = find_deliveries(landing, SOURCE.tables)
        for name in (f"{DAY}.parquet.tmp", f"{DAY}.parquet.part", f".{DAY}.parquet", f".{DAY}.parquet.partial"):
            (landing / "purchases" / name).write_bytes(b"half")
        (landing / "customers.csv.tmp").write_bytes(b"half")
        assert find_deliveries(landing, SOURCE.tables) == before

    @pytest.mark.parametrize("name", [f"{DAY}.csv", f"{DAY}.PARQUET", "readme.txt"])
    def test_a_file_that_would_never_be_loaded_is_named(self, landing: Path, name: str) -> None:
        (landing / "purchases" / name).write_bytes(b"a day in another form")
        with pytest.raises(LoadError, match=f"{name} does not match purchases/") as raised:
            find_deliveries(landing, SOURCE.tables)
        assert "Rename it, or move it out of the folder" in str(raised.value)

    def test_a_folder_named_like_a_day_file_is_ignored(self, landing: Path) -> None:
        before = find_deliveries(landing, SOURCE.tables)
        (landing / "purchases" / "2020-01-01.parquet").mkdir()
        assert find_deliveries(landing, SOURCE.tables) == before

    def test_a_file_that_cannot_be_read_is_named(self, landing: Path) -> None:
        unreadable = landing / "purchases" / f"{DAY}.parquet"
        unreadable.unlink(missing_ok=True)
        # A disk's read error, as every Linux has one at hand.
        unreadable.symlink_to("/proc/self/mem")
        with pytest.raises(LoadError) as raised:
            find_deliveries(landing, SOURCE.tables)
        assert str(raised.value) == f"{unreadable} cannot be read: Input/output error. Nothing was loaded."

    def test_days_come_in_their_order(self, landing: Path) -> None:
        tiny_shop.write_day(landing, dt.date(2019, 5, 1), [])
        names = [delivery.name for delivery in find_deliveries(landing, SOURCE.tables)]
        assert names[:3] == ["customers.csv", "products.csv", "purchases/2019-05-01.parquet"]
        assert names == [*names[:2], *sorted(names[2:])]


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "name", "day"),
        [
            ("purchases/{date}.parquet", "purchases/2026-11-19.parquet", "2026-11-19"),
            ("orders_{date:%d%m%Y}.csv", "orders_19112026.csv", "2026-11-19"),
            ("orders_{date:%Y%m%d}_*.csv.gz", "orders_20261119_north.csv.gz", "2026-11-19"),
            ("{date:%Y/%m/%d}/orders.jsonl", "2026/11/19/orders.jsonl", "2026-11-19"),
            ("{date:%Y/%m/%Y-%m-%d}.csv", "2026/11/2026-11-19.csv", "2026-11-19"),
            ("{date:%y%m%dT%H%M}.csv", "261119T2305.csv", "2026-11-19"),
            ("{date:%d%b%Y}.csv", "19Nov2026.csv", "2026-11-19"),
            ("**/{date}.csv", "north/till 3/2026-11-19.csv", "2026-11-19"),
            ("customers_?.csv", "customers_2.csv", None),
            ("customers_[12].csv", "customers_2.csv", None),
        ],
    )
    def test_a_name_says_its_day(self, pattern: str, name: str, day: str | None) -> None:
        assert FileNames(pattern).match(name) == (True, dt.date.fromisoformat(day) if day else None)

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("purchases/{date}.parquet", "purchases/2026-02-30.parquet"),
            ("{date:%Y/%m/%Y-%m-%d}.csv", "2025/11/2026-11-19.csv"),
            ("orders_{date:%Y%m%d}.csv", "orders_2026119.csv"),
            ("customers_*.csv", "customers_1/2.csv"),
            ("customers_[!12].csv", "customers_2.csv"),
            ("customers.csv", "customers_csv"),
        ],
    )
    def test_other_names_do_not_match(self, pattern: str, name: str) -> None:
        assert FileNames(pattern).match(name) == (False, None)

    @pytest.mark.parametrize(
        ("pattern", "problem"),
        [
            ("{date}_{date}.csv", "write {date} once"),
            ("{day}.csv", "no other braces"),
            ("{date:%m%d}.csv", "must say year, month and day"),
            ("{date:%Q}.csv", "%Q is not known"),
            ("../{date}.csv", "must be below the source's landing folder"),
            ("/srv/{date}.csv", "must be below the source's landing folder"),
        ],
    )
    def test_a_pattern_that_cannot_work_is_refused_when_it_is_declared(self, pattern: str, problem: str) -> None:
        with pytest.raises(ValueError, match="files=") as raised:
            LandedTable(name="t", columns={"a": "text"}, files=pattern)
        assert problem in str(raised.value)


class TestFilesOfOneFolder:
    """Tables whose files stand in one folder: three deliveries of two days, and a whole table in two parts."""

    TABLES = (
        LandedTable(name="lines", columns={"a": "text"}, files="orders_{date:%Y%m%d}_*.csv"),
        LandedTable(name="parts", columns={"a": "text"}, files="customers_*.csv"),
    )
    NAMES = ("customers_1.csv", "customers_2.csv", "orders_20261118_1.csv", "orders_20261119_1.csv")

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in (*self.NAMES, "orders_20261118_2.csv"):
            (tmp_path / name).write_text("a\n1\n", encoding="utf-8")
        return tmp_path

    def test_each_file_is_a_delivery_of_its_table_and_its_day(self, folder: Path) -> None:
        assert [(d.table.name, d.name, d.day) for d in find_deliveries(folder, self.TABLES)] == [
            ("lines", "orders_20261118_1.csv", dt.date(2026, 11, 18)),
            ("lines", "orders_20261118_2.csv", dt.date(2026, 11, 18)),
            ("lines", "orders_20261119_1.csv", dt.date(2026, 11, 19)),
            ("parts", "customers_1.csv", None),
            ("parts", "customers_2.csv", None),
        ]

    def test_one_table_alone_does_not_mind_the_files_of_the_other(self, folder: Path) -> None:
        assert len(find_deliveries(folder, self.TABLES[:1], self.TABLES)) == 3

    def test_a_file_of_no_table_is_named(self, folder: Path) -> None:
        (folder / "refunds.csv").write_text("a\n", encoding="utf-8")
        with pytest.raises(LoadError, match=r"refunds\.csv does not match orders_\{date:%Y%m%d\}_\*\.csv, so it would"):
            find_deliveries(folder, self.TABLES)

    def test_a_file_of_two_tables_is_named(self, folder: Path) -> None:
        greedy = LandedTable(name="greedy", columns={"a": "text"}, files="*_1.csv")
        with pytest.raises(LoadError, match=r"customers_1\.csv belongs to the tables parts .* and greedy"):
            find_deliveries(folder, (*self.TABLES, greedy))

    def test_two_sheets_of_a_workbook_are_two_tables_and_the_same_sheet_twice_is_not(self, folder: Path) -> None:
        (folder / "masters.xlsx").write_bytes(b"x")
        a, b, again = (
            LandedTable(name=name, columns={"a": "text"}, files="masters.xlsx", format=Excel(sheet))
            for name, sheet in (("a", "A"), ("b", "B"), ("again", "B"))
        )
        assert [(d.table.name, d.name) for d in find_deliveries(folder, (a, b), (*self.TABLES, a, b))] == [
            ("a", "masters.xlsx"),
            ("b", "masters.xlsx"),
        ]
        with pytest.raises(LoadError, match=r"masters\.xlsx belongs to the tables b .* and again"):
            find_deliveries(folder, (b, again), (*self.TABLES, b, again))

    def test_a_day_that_does_not_exist_is_named(self, folder: Path) -> None:
        (folder / "orders_20260230_1.csv").write_text("a\n", encoding="utf-8")
        with pytest.raises(LoadError) as raised:
            find_deliveries(folder, self.TABLES)
        assert str(raised.value) == (
            f"{folder / 'orders_20260230_1.csv'}: a day file must be named after its day, such as "
            "orders_20261119_*.csv. Rename or remove it. A corrected day replaces the file of the same name."
        )


class TestDeclarations:
    def test_columns_and_key_may_be_declared_as_the_file_spells_them(self) -> None:
        table = LandedTable(
            name="t", columns={"CustomerID": "bigint", " Income ": "double"}, key="CustomerID", files="t.csv"
        )
        assert (table.columns, table.key) == ({"customer_id": "bigint", "income": "double"}, "customer_id")

    def test_two_columns_with_one_stored_name_are_refused(self) -> None:
        with pytest.raises(ValueError, match="two columns are stored under one name"):
            LandedTable(name="t", columns={"CustomerID": "bigint", "customer_id": "text"}, files="t.csv")

    def test_a_key_that_is_no_column_is_refused(self) -> None:
        with pytest.raises(ValueError, match="the key number is no declared column"):
            LandedTable(name="t", columns={"a": "text"}, key="number", files="t.csv")

    @pytest.mark.parametrize(
        ("kind", "problem"), [("money", "there is no type 'money'"), ("binary", "binary is for Parquet")]
    )
    def test_a_type_that_does_not_exist_is_refused(self, kind: str, problem: str) -> None:
        with pytest.raises(ValueError, match=f"^table t, column a: {problem}"):
            LandedTable(name="t", columns={"a": kind}, files="t.csv")

    def test_an_ending_that_does_not_say_the_format_is_refused(self) -> None:
        with pytest.raises(ValueError, match="the ending does not say how the file is written"):
            LandedTable(name="t", columns={"a": "text"}, files="t.txt")

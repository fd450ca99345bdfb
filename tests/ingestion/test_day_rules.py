"""Files under a wrong name, days that vanish, lines that stand in two files: the rules of ingestion/day_rules.py."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from ingestion.file_checks import LandedTable
from ingestion.landed_files import LandedFiles
from ingestion.load import load
from ingestion.raw_tables import LoadError
from ingestion.source import TableReport
from tests import here

TABLE = LandedTable(
    name="lines", files="{date}*.csv", columns={"SKU": "text", "Sold at": "timestamp"}, day_column="Sold at"
)
DAY_10, DAY_18, DAY_19 = "2026-11-10", "2026-11-18", "2026-11-19"


@pytest.fixture
def folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The landing folder of a shop with two days: three lines on the 18th, two on the 19th."""
    declare(monkeypatch, TABLE)
    folder = data / "landing" / "paper_shop"
    folder.mkdir(parents=True)
    land(folder, DAY_18, f"A,{DAY_18} 09:00", f"B,{DAY_18} 09:00", f"C,{DAY_18} 23:59")
    land(folder, DAY_19, f"A,{DAY_19} 00:00", f"B,{DAY_19} 09:00")
    return folder


def declare(monkeypatch: pytest.MonkeyPatch, table: LandedTable) -> None:
    monkeypatch.setattr("ingestion.source.find", lambda _name: LandedFiles("paper_shop", (table,)))


def land(folder: Path, name: str, *lines: str) -> None:
    (folder / f"{name}.csv").write_text("\n".join(["SKU,Sold at", *lines, ""]), encoding="utf-8")


def load_shop() -> TableReport:
    return load("paper_shop", here.paths(), say=lambda _line: None).tables["lines"]


def refused() -> str:
    with pytest.raises(LoadError) as raised:
        load_shop()
    return str(raised.value)


def rows() -> int:
    with here.connect() as connection:
        return int(connection.execute("select count(*) from raw_paper_shop.lines").fetchall()[0][0])


class TestTheWrongDay:
    def test_files_of_their_own_days_are_loaded_without_a_word(self, folder: Path) -> None:
        assert load_shop().warnings == []
        assert rows() == 5

    def test_yesterdays_file_under_the_name_of_an_earlier_day_stops_the_load(self, folder: Path) -> None:
        land(folder, DAY_10, f"A,{DAY_10} 09:00")
        load_shop()
        land(folder, DAY_10, f"X,{DAY_19} 09:00", f"Y,{DAY_19} 10:00", f"Z,{DAY_10} 10:00")
        assert refused() == (
            f"{folder / DAY_10}.csv holds rows of {DAY_19} (2 of 3 rows are not of {DAY_10}): it was probably sent "
            "under the wrong name. Have it sent again under its own name; nothing was loaded."
        )
        assert rows() == 6

    def test_a_file_of_many_other_days_stops_the_load(self, folder: Path) -> None:
        land(folder, DAY_10, f"A,{DAY_18} 09:00", f"A,{DAY_19} 09:00", f"B,{DAY_19} 09:00")
        assert f"holds rows of {DAY_18} to {DAY_19}, most of {DAY_19} (3 of 3 rows" in refused()

    def test_up_to_half_of_a_file_may_be_of_other_days_and_is_reported(self, folder: Path) -> None:
        land(folder, "2026-11-20", "A,2026-11-20 09:00", f"B,{DAY_19} 23:59", "C,")
        land(folder, "2026-11-21", "A,2026-11-21 09:00", "B,2026-11-21 10:00", "C,2026-11-22 00:10")
        assert load_shop().warnings == [
            "some rows are of other days than their file: 2026-11-20.csv (1), 2026-11-21.csv (1)"
        ]

    def test_without_a_day_column_nothing_is_compared(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        declare(monkeypatch, replace(TABLE, day_column=None))
        land(folder, DAY_10, f"X,{DAY_19} 09:00")
        assert load_shop().warnings == []

    @pytest.mark.parametrize(
        ("shift", "line"),
        [(dt.timedelta(hours=-4), "2026-11-21 03:59"), (dt.timedelta(days=1), "2026-11-19 08:00")],
        ids=["a day ends at four in the morning", "a file is named after the day after"],
    )
    def test_a_shops_day_may_be_shifted(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, shift: dt.timedelta, line: str
    ) -> None:
        for file in folder.iterdir():
            file.unlink()
        declare(monkeypatch, replace(TABLE, day_shift=shift))
        land(folder, "2026-11-20", f"A,{line}")
        assert load_shop().warnings == []

    def test_the_day_column_is_a_declared_date(self) -> None:
        for column in ("sku", "day"):
            with pytest.raises(ValueError, match=f"day_column {column} is no declared date or timestamp"):
                replace(TABLE, day_column=column)


class TestTheSameContentTwice:
    def test_under_two_names_it_stops_the_load(self, folder: Path) -> None:
        (folder / f"{DAY_19} again.csv").write_bytes((folder / f"{DAY_19}.csv").read_bytes())
        assert refused() == (
            f"{folder / DAY_19} again.csv has the same content as {DAY_19}.csv, so that its 2 rows would count twice. "
            "Remove one of the two, or have the right file sent; nothing was loaded."
        )

    def test_a_file_that_was_renamed_after_it_was_loaded_stops_the_load(self, folder: Path) -> None:
        load_shop()
        (folder / f"{DAY_19}.csv").rename(folder / f"{DAY_19}_north.csv")
        message = refused()
        assert f"{DAY_19}_north.csv has the same content as {DAY_19}.csv" in message
        assert "If it was renamed, give it its old name" in message
        assert rows() == 5

    def test_files_without_rows_may_be_alike(self, folder: Path) -> None:
        land(folder, "2026-11-20")
        land(folder, "2026-11-21")
        assert (load_shop().deliveries_loaded, rows()) == (4, 5)

    def test_with_a_key_the_same_rows_count_once_in_any_case(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        declare(monkeypatch, replace(TABLE, key="SKU"))
        (folder / f"{DAY_19} again.csv").write_bytes((folder / f"{DAY_19}.csv").read_bytes())
        assert load_shop().warnings == []


class TestWhatIsReported:
    def test_a_day_that_vanishes(self, folder: Path) -> None:
        land(folder, DAY_18, f"A,{DAY_18} 09:00", f"B,{DAY_18} 09:00", "C,2026-11-17 10:00")
        load_shop()
        land(folder, DAY_18, f"A,{DAY_18} 09:00")
        assert load_shop().warnings == ["days that had rows have none after files came again: 2026-11-17"]

    def test_a_day_of_which_another_file_has_rows_does_not_vanish(self, folder: Path) -> None:
        land(folder, DAY_19, f"A,{DAY_19} 00:00", f"B,{DAY_19} 09:00", f"D,{DAY_18} 23:58")
        load_shop()
        land(folder, DAY_19, f"A,{DAY_19} 00:00")
        assert load_shop().warnings == []

    def test_a_file_that_comes_again_without_rows(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        declare(monkeypatch, replace(TABLE, day_column=None))
        load_shop()
        land(folder, DAY_19)
        assert load_shop().warnings == [f"delivered again without any row: {DAY_19}.csv"]
        land(folder, DAY_19, "")
        assert load_shop().warnings == []

    def test_lines_that_stand_in_two_files(self, folder: Path) -> None:
        load_shop()
        # The line of 09:00 again, one of another time, and one that is twice in its own file.
        land(
            folder, f"{DAY_18} late", f"A,{DAY_18} 09:00", f"A,{DAY_18} 09:01", f"D,{DAY_18} 09:02", f"D,{DAY_18} 09:02"
        )
        assert load_shop().warnings == [f"lines stand in two files: 1 of {DAY_18} late.csv in {DAY_18}.csv"]

    def test_a_line_of_an_older_version_of_a_file_is_in_no_file(self, folder: Path) -> None:
        load_shop()
        land(folder, DAY_18, f"A,{DAY_18} 09:00")
        load_shop()
        land(folder, f"{DAY_18} late", f"B,{DAY_18} 09:00")
        assert load_shop().warnings == []

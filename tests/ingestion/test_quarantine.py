"""Bad rows are set aside with file, line, reason and text; the good ones load; corrected ones are replayed."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ingestion.__main__ import main
from ingestion.file_checks import LandedTable, Quarantine
from ingestion.files.formats import Csv, Excel
from ingestion.landed_files import LandedFiles
from ingestion.load import load
from ingestion.raw_tables import LoadError
from ingestion.replay import replay
from ingestion.source import TableReport
from tests import here
from tests.ingestion.landed import check_landed, rows

TABLE = LandedTable(
    name="lines",
    files="{date}.csv",
    columns={"order": "bigint", "name": "text", "sold": "date"},
    quarantine=Quarantine(max_share=0.5),
)
DAY = "2026-11-18"
GOOD = [f"1,Ida,{DAY}", f"2,Jäger,{DAY}", f"3,,{DAY}"]
BAD = [f"four,Ida,{DAY}", f"5,Ida,{DAY},x"]


@pytest.fixture
def folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The landing folder of a shop with a day of three good lines and two bad ones."""
    declare(monkeypatch, TABLE)
    folder = data / "landing" / "paper_shop"
    folder.mkdir(parents=True)
    land(folder, GOOD[0], BAD[0], "", *GOOD[1:], BAD[1])
    return folder


def declare(monkeypatch: pytest.MonkeyPatch, *tables: LandedTable) -> None:
    monkeypatch.setattr("ingestion.source.find", lambda _name: LandedFiles("paper_shop", tables))
    monkeypatch.setattr("ingestion.source.names", lambda: ["paper_shop"])


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["order,name,sold", *lines, ""]), encoding="utf-8")
    return path


def land(folder: Path, *lines: str, day: str = DAY) -> None:
    write(folder / f"{day}.csv", *lines)


def load_shop() -> TableReport:
    return load("paper_shop", here.paths(), say=lambda _line: None).tables["lines"]


def replayed(file: Path, delivery: str | None = None) -> int:
    return replay("paper_shop", "lines", file, here.paths(), delivery, say=lambda _line: None)[1]


def query(sql: str) -> list[tuple[Any, ...]]:
    with here.connect() as connection:
        return connection.sql(sql).fetchall()


def counted(table: str = "lines", column: str = '"order"') -> list[Any]:
    """Rows of the newest version of each delivery, as the models count them."""
    return [
        value
        for (value,) in query(
            f"""
            select {column} from raw_paper_shop.{table} as loaded
            join (
                select delivery, max(_dlt_load_id) as newest from raw_paper_shop.deliveries
                where table_name = '{table}' group by all
            ) on delivery = _delivery and newest = loaded._dlt_load_id
            order by 1
            """
        )
    ]


class TestSetAside:
    def test_the_good_rows_load_and_the_bad_ones_are_kept_with_their_place(self, folder: Path) -> None:
        report = load_shop()
        assert counted() == [1, 2, 3]
        assert query(
            "select table_name, _delivery, line, reason, raw_text from raw_paper_shop.quarantine order by line"
        ) == [
            ("lines", f"{DAY}.csv", 3, "column order: 'four' is not a whole number", BAD[0]),
            ("lines", f"{DAY}.csv", 7, "4 fields where the header has 3", BAD[1]),
        ]
        assert query("select table_name, delivery, row_count from raw_paper_shop.deliveries order by 1") == [
            ("lines", f"{DAY}.csv", 3),
            ("quarantine", f"{DAY}.csv", 2),
        ]
        assert (report.rows_loaded, report.rows_quarantined) == (3, 2)
        assert str(report) == "lines: 3 rows from 1 of 1 deliveries; 3 rows in all; 2 in quarantine"
        assert report.warnings == [
            f"{DAY}.csv: 2 of 5 rows are in quarantine, the first is line 3: column order: 'four' is not a whole number"
        ]

    def test_a_share_above_the_limit_stops_the_load(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        declare(monkeypatch, replace(TABLE, quarantine=Quarantine(max_share=0.39)))
        with pytest.raises(LoadError) as raised:
            load_shop()
        assert str(raised.value) == (
            f"{folder / DAY}.csv, line 3, column order: 'four' is not a whole number. 2 of 5 rows are bad, and at most "
            "39 % of a file's rows may be. Have it sent again; nothing was loaded."
        )

    def test_without_a_quarantine_one_bad_row_stops_the_load(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        declare(monkeypatch, replace(TABLE, quarantine=None))
        with pytest.raises(LoadError, match="line 7: 4 fields where the header has 3"):
            load_shop()

    def test_without_bad_rows_nothing_is_set_aside(self, folder: Path) -> None:
        land(folder, *GOOD)
        assert load_shop().warnings == []
        assert query("select count(*) from raw_paper_shop.quarantine") == [(0,)]
        assert query("select distinct table_name from raw_paper_shop.deliveries") == [("lines",)]

    def test_a_file_that_comes_again_replaces_its_rows_in_quarantine(self, folder: Path) -> None:
        load_shop()
        land(folder, *GOOD, BAD[1])
        load_shop()
        assert counted("quarantine", "raw_text") == [BAD[1]]
        land(folder, *GOOD, f"4,Ida,{DAY}")
        load_shop()
        assert counted("quarantine", "raw_text") == []
        assert counted() == [1, 2, 3, 4]

    def test_rows_in_quarantine_that_went_missing_are_noticed(self, folder: Path) -> None:
        load_shop()
        with here.connect() as connection:
            connection.execute("delete from raw_paper_shop.quarantine where line = 3")
        with pytest.raises(
            LoadError, match=r"raw_paper_shop\.quarantine lost rows: 2026-11-18\.csv was loaded with 2 rows"
        ):
            load_shop()

    def test_a_quote_that_is_wrong_stops_the_load_in_any_case(self, folder: Path) -> None:
        land(folder, *GOOD, f'4,"Ida"x,{DAY}')
        with pytest.raises(LoadError, match="line 5: text follows a closing quote"):
            load_shop()

    def test_a_file_without_any_good_row_stops_the_load_whatever_the_share(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        declare(monkeypatch, replace(TABLE, quarantine=Quarantine(max_share=0.999)))
        land(folder, *BAD)
        with pytest.raises(LoadError, match=r"2 of 2 rows are bad, and at most 99\.9 % of a file's rows may be"):
            load_shop()

    @pytest.mark.parametrize(("bad", "total"), [(29, 100), (7, 100), (1, 3), (2, 5), (1, 1000), (0, 0)])
    def test_a_share_that_is_exactly_the_limit_may_be_set_aside(self, bad: int, total: int) -> None:
        quarantine = Quarantine(max_share=bad / total if bad else 0.01)
        assert quarantine.allows(bad, total)
        assert not quarantine.allows(bad + 1, total + 1)

    @pytest.mark.parametrize("share", [0, -1, 1, 1.5])
    def test_the_share_is_a_share(self, share: float) -> None:
        with pytest.raises(ValueError, match="must be above 0 and below 1"):
            Quarantine(max_share=share)

    def test_versions_that_no_longer_count_are_dropped_from_quarantine_too(self, folder: Path) -> None:
        load_shop()
        land(folder, *GOOD, BAD[1])
        load_shop()
        assert query("select count(*) from raw_paper_shop.quarantine") == [(3,)]
        load("paper_shop", here.paths(), say=lambda _line: None, keep_superseded_days=0)
        assert query("select line, raw_text from raw_paper_shop.quarantine") == [(5, BAD[1])]
        assert query(
            "select table_name, row_count, dropped_rows from raw_paper_shop.deliveries order by 1, _dlt_load_id"
        ) == [("lines", 3, 3), ("lines", 3, 0), ("quarantine", 2, 2), ("quarantine", 1, 0)]

    def test_a_folder_with_the_name_of_replayed_rows_is_refused(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        declare(monkeypatch, replace(TABLE, files="*/{date}.csv"))
        (folder / "replayed").mkdir()
        (folder / f"{DAY}.csv").rename(folder / "replayed" / f"{DAY}.csv")
        with pytest.raises(LoadError, match="deliveries below replayed/ are replayed rows"):
            load_shop()

    def test_parquet_has_no_quarantine(self) -> None:
        with pytest.raises(ValueError, match="Parquet files have no rows that can be wrong by themselves"):
            LandedTable(name="t", files="t.parquet", columns={"a": "text"}, quarantine=Quarantine())


class TestOtherFormats:
    """What is a bad row in each format: its line, its reason and its text."""

    def bad_rows(self, folder: Path, content: bytes, table: LandedTable) -> list[tuple[int, str, str]]:
        (folder / table.files).write_bytes(content)
        checked = check_landed(table, folder / table.files)
        assert rows(checked) == [(1, "Ida"), (2, None)]
        return [(row.line, row.reason, row.raw_text) for row in checked.bad_rows]

    COLUMNS = {"a": "bigint", "b": "text"}  # noqa: RUF012

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        content = b"a,b\n1,Ida\n" + "3,Jäger\n".encode("latin-1") + b"4,x\0\n2,\n"
        table = LandedTable(name="t", files="t.csv", columns=self.COLUMNS, quarantine=Quarantine(0.5))
        assert self.bad_rows(tmp_path, content, table) == [
            (3, "column b: 'J\ufffdger' is not text", "3,J\ufffdger"),
            (4, "column b: 'x\ufffd' is not text", "4,x\ufffd"),
        ]

    def test_lines_that_are_no_objects(self, tmp_path: Path) -> None:
        lines = ['{"a": 1, "b": "Ida"}', "{", '{"a": 2, "b": null}', '{"a": 2.5, "b": ""}', '{"a": 3}']
        table = LandedTable(name="t", files="t.jsonl", columns=self.COLUMNS, quarantine=Quarantine(0.6))
        assert self.bad_rows(tmp_path, "\n".join(lines).encode(), table) == [
            (2, "it is no JSON object (Expecting property name enclosed in double quotes): {", "{"),
            (4, "column a: '2.5' is not a whole number", lines[3]),
            (5, "missing field b (the line has: a)", lines[4]),
        ]

    def test_rows_of_a_sheet(self, tmp_path: Path) -> None:
        book = openpyxl.Workbook()
        assert book.active is not None
        cells: list[list[Any]] = [["a", "b"], [1, "Ida"], ["three", dt.date(2026, 11, 18)], [2, None], [4, "#N/A"]]
        for row in cells:
            book.active.append(row)
        book.save(tmp_path / "made.xlsx")
        table = LandedTable(
            name="t", files="t.xlsx", columns=self.COLUMNS, format=Excel("Sheet"), quarantine=Quarantine(0.5)
        )
        assert self.bad_rows(tmp_path, (tmp_path / "made.xlsx").read_bytes(), table) == [
            (3, "column a: 'three' is not a whole number", "three\t2026-11-18"),
            (5, "cell B5 holds the error #N/A", "4\t"),
        ]

    def test_rows_of_several_lines(self, tmp_path: Path) -> None:
        content = b'a;b\r\n1;Ida\r\n"x\r\ny";"say ""hi"""\r\n2;\r\n'
        table = LandedTable(
            name="t", files="t.csv", columns=self.COLUMNS, format=Csv(delimiter=";"), quarantine=Quarantine(0.5)
        )
        assert self.bad_rows(tmp_path, content, table) == [
            (3, "column a: 'x y' is not a whole number".replace("x y", r"x\r\ny"), '"x\r\ny";"say ""hi"""')
        ]


class TestReplayed:
    @pytest.fixture
    def corrected(self, folder: Path, tmp_path: Path) -> Path:
        """A file with the two rows, corrected, after the day with the bad ones was loaded."""
        load_shop()
        return write(tmp_path / "corrected.csv", f"4,Ida,{DAY}", f"5,Ida,{DAY}")

    def test_corrected_rows_are_a_delivery_of_their_own_and_count_once(self, corrected: Path) -> None:
        assert replayed(corrected) == 2
        assert counted() == [1, 2, 3, 4, 5]
        assert query(
            "select delivery, row_count, delivery_date from raw_paper_shop.deliveries where delivery like 'r%'"
        ) == [(f"replayed/{DAY}.csv/corrected.csv", 2, dt.date(2026, 11, 18))]
        assert replayed(corrected) == 0
        assert counted() == [1, 2, 3, 4, 5]
        # The night after finds nothing new, and loses nothing.
        assert load_shop().deliveries_loaded == 0
        assert counted() == [1, 2, 3, 4, 5]

    def test_a_corrected_file_may_be_corrected_again(self, corrected: Path) -> None:
        replayed(corrected)
        write(corrected, f"44,Ida,{DAY}", f"5,Ida,{DAY}")
        assert replayed(corrected) == 2
        assert counted() == [1, 2, 3, 5, 44]

    def test_rows_may_be_replayed_in_several_files(self, corrected: Path) -> None:
        first, second = (write(corrected.with_name(name), f"{n},Ida,{DAY}") for name, n in (("a.csv", 4), ("b.csv", 5)))
        assert [replayed(first), replayed(second), replayed(first)] == [1, 1, 0]
        assert counted() == [1, 2, 3, 4, 5]
        with pytest.raises(LoadError, match=r"every row in quarantine was replayed; nothing was loaded"):
            replayed(corrected)
        with pytest.raises(LoadError, match=r"has 2 rows, but 0 of 2026-11-18\.csv are in quarantine and not replayed"):
            replayed(corrected, f"{DAY}.csv")

    def test_the_same_content_under_another_name_is_refused(self, corrected: Path) -> None:
        write(corrected, f"4,Ida,{DAY}")
        replayed(corrected)
        with pytest.raises(
            LoadError, match=r"again\.csv has the same content as replayed/2026-11-18\.csv/corrected\.csv"
        ):
            replayed(write(corrected.with_name("again.csv"), f"4,Ida,{DAY}"))

    def test_the_whole_file_is_refused(self, corrected: Path) -> None:
        write(corrected, *GOOD, f"4,Ida,{DAY}", f"5,Ida,{DAY}")
        with pytest.raises(LoadError) as raised:
            replayed(corrected)
        assert str(raised.value) == (
            f"{corrected} has 5 rows, but 2 of {DAY}.csv are in quarantine and not replayed. Leave the other rows out, "
            "or land the whole corrected file under its own name; nothing was loaded."
        )
        assert counted() == [1, 2, 3]

    def test_a_row_that_is_still_bad_is_refused(self, corrected: Path) -> None:
        write(corrected, f"4,Ida,{DAY}", BAD[0])
        with pytest.raises(
            LoadError, match=r"line 3, column order: 'four' is not a whole number\. Correct it; nothing was loaded\."
        ):
            replayed(corrected)
        write(corrected, f"4,Ida,{DAY}", BAD[1])
        with pytest.raises(
            LoadError, match=r"line 3: 4 fields where the header has 3\. .*\. Correct it; nothing was loaded\."
        ):
            replayed(corrected)
        with pytest.raises(LoadError, match=r"corrected\.csv has no rows; nothing was loaded\."):
            replayed(write(corrected))
        assert counted() == [1, 2, 3]

    def test_when_the_file_itself_comes_again_its_rows_count_and_not_the_replayed_ones(
        self, folder: Path, corrected: Path
    ) -> None:
        replayed(corrected)
        land(folder, *GOOD, f"4,Ida,{DAY}", f"5,Ida,{DAY}")
        load_shop()
        assert counted() == [1, 2, 3, 4, 5]

    def test_of_several_files_it_must_be_said_which(self, folder: Path, corrected: Path) -> None:
        land(folder, "6,Ida,2026-11-19", "seven,Ida,2026-11-19", day="2026-11-19")
        load_shop()
        with pytest.raises(
            LoadError, match=r"Say which it is with --delivery: 2026-11-18\.csv, 2026-11-19\.csv; nothing"
        ):
            replayed(corrected)
        with pytest.raises(LoadError, match=r"no row of 2026-11-20\.csv is in quarantine\. Say which it is"):
            replayed(corrected, "2026-11-20.csv")
        assert replayed(corrected, f"{DAY}.csv") == 2
        assert counted() == [1, 2, 3, 4, 5, 6]
        # Of the other file alone there is something left; what was replayed is still known.
        assert replayed(corrected) == 0
        assert replayed(write(corrected.with_name("other.csv"), "7,Ida,2026-11-19")) == 1
        assert counted() == [1, 2, 3, 4, 5, 6, 7]

    def test_by_one_command(self, corrected: Path, capsys: pytest.CaptureFixture[str]) -> None:
        command = ["replay", "paper_shop", "--table", "lines", "--file", str(corrected)]
        assert main(command) == 0
        assert main(command) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"lines: 2 corrected rows of {DAY}.csv loaded",
            f"lines: nothing new: {corrected} was replayed before",
        ]
        assert main([*command[:-1], "nowhere.csv"]) == 1
        assert "nowhere.csv does not exist" in capsys.readouterr().err

    def test_with_nothing_in_quarantine_it_says_so(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match=r"^no row of lines is in quarantine; nothing was loaded\.$"):
            replayed(write(tmp_path / "corrected.csv", *GOOD))

    def test_without_a_quarantine_it_says_so(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        declare(monkeypatch, replace(TABLE, quarantine=None))
        with pytest.raises(LoadError) as raised:
            replayed(write(tmp_path / "corrected.csv", *GOOD))
        assert str(raised.value) == (
            "table lines declares no quarantine: one bad row stops its load, and no row of it is set aside. Land the "
            "corrected file under its own name; nothing was loaded."
        )

    def test_a_replay_that_did_not_finish_leaves_nothing_and_is_repeated(self, corrected: Path) -> None:
        def killed() -> None:
            # What a killed process leaves: rows whose load is not among the finished ones.
            with here.connect() as connection:
                connection.execute(
                    "delete from raw_paper_shop._dlt_loads where load_id = (select max(_dlt_load_id) from "
                    "raw_paper_shop.deliveries where delivery like 'replayed/%')"
                )

        assert replayed(corrected) == 2
        killed()
        assert load_shop().deliveries_loaded == 0
        assert counted() == [1, 2, 3]
        assert replayed(corrected) == 2
        killed()
        assert replayed(corrected) == 2
        assert counted() == [1, 2, 3, 4, 5]

    def test_the_command_says_how_it_is_used(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="0"):
            main(["replay", "--help"])
        said = capsys.readouterr().out
        assert "select table_name, _delivery, line, reason, raw_text from raw_SOURCE.quarantine" in said
        assert "--table orders --file corrected.csv --delivery 2026-11-18.csv" in said

    def test_a_table_that_is_not_of_files_is_refused(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(LoadError, match="source paper_shop has no table visits that is loaded from files; "):
            replay("paper_shop", "visits", tmp_path, here.paths())

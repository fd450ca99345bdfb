import gzip
import zipfile
from pathlib import Path

import pytest

from ingestion.file_checks import CheckedDelivery
from ingestion.files import csv_blocks, text
from ingestion.sources.complete_journey import SOURCE
from tests.fixtures import tiny_shop
from tests.ingestion.landed import check_file, pack, refusal, rows

CUSTOMERS = SOURCE.tables[0]
# Line 1 is the header, line 4 the third customer.
LINES = tiny_shop.CUSTOMERS.splitlines()


def checked_csv(folder: Path, content: str | bytes) -> CheckedDelivery:
    return check_file(folder, content, dict(CUSTOMERS.columns), name="customers.csv")


def csv_error(folder: Path, content: str | bytes) -> str:
    """The error's text after the file's path, which it must begin with."""
    return refusal(folder, content, dict(CUSTOMERS.columns), name="customers.csv")


def column(checked: CheckedDelivery, name: str) -> list[object]:
    return [value for (value,) in rows(checked, name)]


def with_line_4(line: str) -> str:
    return "\n".join([*LINES[:3], line, *LINES[4:]]) + "\n"


class TestCsvFiles:
    def test_a_good_file_is_read_with_its_types(self, tmp_path: Path) -> None:
        checked = checked_csv(tmp_path, tiny_shop.CUSTOMERS)
        assert column(checked, "household_id") == [1, 2, 2, 3, None]
        assert column(checked, "age") == ["35-44", "45-54", "55-64", "65+", "25-34"]
        assert column(checked, "home_ownership") == ["Homeowner", None, None, "Renter", None]
        assert (checked.row_count, checked.new_columns) == (5, {})

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (
                "2,55-64,35-49K,,Unmarried,1,1 Adult,0,x",
                "9 fields where the header has 8. The line reads: 2,55-64,35-49K,,Unmarried,1,1 Adult,0,x.",
            ),
            ("2,55-64", "2 fields where the header has 8. The line reads: 2,55-64."),
            ('2,"55-64,35-49K,,Unmarried,1,1 Adult,0', "a quote is never closed."),
            ('2,"55"-64,35-49K,,Unmarried,1,1 Adult,0', "text follows a closing quote."),
        ],
        ids=["too many fields", "too few fields", "open quote", "text after a quote"],
    )
    def test_a_line_that_cannot_be_read_is_named(self, tmp_path: Path, line: str, message: str) -> None:
        assert csv_error(tmp_path, with_line_4(line)) == (
            f", line 4: {message} Have it sent again; nothing was loaded."
        )

    @pytest.mark.parametrize("value", ["zwei", "2.x", "1e", "1_000", "0x1F", "2.0.0"])
    def test_a_value_that_is_not_a_whole_number_is_named_and_never_rounded(self, tmp_path: Path, value: str) -> None:
        line = f"{value},55-64,35-49K,,Unmarried,1,1 Adult,0"
        assert csv_error(tmp_path, with_line_4(line)) == (
            f", line 4, column household_id: '{value}' is not a whole number. Have it sent again; nothing was loaded."
        )

    def test_a_whole_number_that_is_too_large_is_named(self, tmp_path: Path) -> None:
        assert csv_error(tmp_path, with_line_4("99999999999999999999,,,,,,,")) == (
            ", line 4, column household_id: '99999999999999999999' is not a whole number. If it should be, declare the "
            "column as text: the number is too large; if not, have it sent again; nothing was loaded."
        )

    @pytest.mark.parametrize(("value", "number"), [("+7", 7), ("-7", -7), (" 7 ", 7), ("007", 7)])
    def test_whole_numbers_may_be_padded(self, tmp_path: Path, value: str, number: int) -> None:
        checked = checked_csv(tmp_path, with_line_4(f"{value},55-64,35-49K,,Unmarried,1,1 Adult,0"))
        assert column(checked, "household_id")[2] == number

    @pytest.mark.parametrize("wrong", ["zwei,,,,,,,", "2,,,,,,,,x"], ids=["text in a number", "too many fields"])
    @pytest.mark.parametrize(
        ("before", "line"),
        [
            (['2,"55\n64",,,,,,'], 4),
            (["", ""], 4),
            (["2,,,,,,,"] * 250_000, 250_002),
        ],
        ids=["a line break in quotes", "blank lines", "many lines"],
    )
    def test_the_line_number_is_the_one_an_editor_shows(
        self, tmp_path: Path, before: list[str], line: int, wrong: str
    ) -> None:
        content = "\n".join([LINES[0], *before, wrong, *LINES[1:]]) + "\n"
        assert content.split("\n")[line - 1] == wrong
        assert csv_error(tmp_path, content).startswith(f", line {line}")

    def test_the_line_number_holds_with_windows_line_ends(self, tmp_path: Path) -> None:
        content = with_line_4("zwei,,,,,,,").replace("\n", "\r\n")
        assert csv_error(tmp_path, content).startswith(", line 4, column household_id: 'zwei'")

    def test_a_file_that_was_cut_is_an_error(self, tmp_path: Path) -> None:
        assert csv_error(tmp_path, tiny_shop.CUSTOMERS[: len(tiny_shop.CUSTOMERS) // 2]).startswith(
            ", line 3: 3 fields"
        )

    def test_an_empty_field_too_many_is_an_error_too(self, tmp_path: Path) -> None:
        assert csv_error(tmp_path, with_line_4("2,55-64,,,,,,0,")).startswith(
            ", line 4: 9 fields where the header has 8."
        )

    def test_a_missing_column_is_named(self, tmp_path: Path) -> None:
        content = "\n".join(line.rsplit(",", 1)[0] for line in LINES)
        assert csv_error(tmp_path, content) == (
            ": missing column kids_count (the file has: household_id, age, income, home_ownership, marital_status, "
            "household_size, household_comp). Have it sent again; nothing was loaded."
        )

    def test_another_separator_shows_in_the_message(self, tmp_path: Path) -> None:
        assert "(the file has: household_id;age;" in csv_error(tmp_path, tiny_shop.CUSTOMERS.replace(",", ";"))

    def test_a_new_column_is_accepted_as_text(self, tmp_path: Path) -> None:
        content = "\n".join([LINES[0] + ",loyalty", *(f"{line},{n}" for n, line in enumerate(LINES[1:]))])
        checked = checked_csv(tmp_path, content)
        assert checked.new_columns == {"loyalty": "text"}
        assert column(checked, "loyalty") == ["0", "1", "2", "3", "4"]

    def test_columns_may_come_in_another_order(self, tmp_path: Path) -> None:
        content = "\n".join(",".join(reversed(line.split(","))) for line in LINES)
        checked = checked_csv(tmp_path, content)
        assert column(checked, "household_id") == [1, 2, 2, 3, None]
        assert column(checked, "kids_count") == ["0"] * 5

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (LINES[0].replace("age", "age,age"), ": column age appears more than once."),
            (LINES[0].replace("age", "age,Age"), ": column age has the same name as Age."),
            (LINES[0] + ",", ": column 9 has no name."),
            (LINES[0] + ",_delivery", ": column _delivery has a name that is reserved for the loader."),
        ],
    )
    def test_an_ambiguous_header_stops_the_load(self, tmp_path: Path, header: str, message: str) -> None:
        assert csv_error(tmp_path, header + "\n").startswith(message)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", " has no header line: it is empty."),
            (b"\xef\xbb\xbf", " has no header line: it is empty."),
            (b"\r\n\r\n", " has no header line: it is empty."),
            (b"\n" + tiny_shop.CUSTOMERS.encode(), " has no header line: line 1 is empty."),
            (b'"household_id,age\n1,2\n', ", line 1: a quote is never closed."),
        ],
        ids=["0 bytes", "byte order mark only", "line ends only", "header on line 2", "open quote in the header"],
    )
    def test_a_file_without_a_header_is_an_error(self, tmp_path: Path, content: bytes, message: str) -> None:
        assert csv_error(tmp_path, content).startswith(message)

    @pytest.mark.parametrize(
        ("content", "place", "way_out"),
        [
            (with_line_4("2,Jäger,,,,,,").encode("latin-1"), ", line 4, column age: 'J\ufffdger'", "cp1252"),
            (("größe," + tiny_shop.CUSTOMERS).encode("latin-1"), ", line 1: 'gr\ufffd\ufffde,household_id,", "cp1252"),
            (
                "\n".join([LINES[0], *["1,,,,,,,"] * 200_000, "2,Jäger,,,,,,"]).encode("latin-1"),
                ", line 200002, column age: 'J\ufffdger'",
                "cp1252",
            ),
            (tiny_shop.CUSTOMERS.encode("utf-16-le"), ", line 1: 'h\ufffdo\ufffdu\ufffd", "utf-16-le"),
        ],
        ids=["latin-1", "latin-1 header", "latin-1 far below", "UTF-16 without a mark"],
    )
    def test_bytes_in_another_encoding_are_named_with_their_place(
        self, tmp_path: Path, content: bytes, place: str, way_out: str
    ) -> None:
        message = csv_error(tmp_path, content)
        assert message.startswith(place)
        assert " is no utf-8 text. " in message
        assert f"declare encoding='{way_out}'" in message

    @pytest.mark.parametrize(
        "content",
        [
            b"\xef\xbb\xbf" + tiny_shop.CUSTOMERS.encode(),
            b"\xef\xbb\xbf" + tiny_shop.CUSTOMERS.replace("household_id", '"household_id"').encode(),
            tiny_shop.CUSTOMERS.replace("\n", "\r\n").encode(),
            tiny_shop.CUSTOMERS.rstrip("\n").encode(),
            tiny_shop.CUSTOMERS.replace("\n", "\n\n").encode(),
            tiny_shop.CUSTOMERS.replace("\n", "\r").encode(),
            tiny_shop.CUSTOMERS.replace("\n", "\r\n", 2).encode(),
        ],
        ids=[
            "byte order mark",
            "mark before a quote",
            "Windows line ends",
            "no last line end",
            "blank lines",
            "line ends of old Macs",
            "line ends of two kinds",
        ],
    )
    def test_harmless_dialects_read_the_same(self, tmp_path: Path, content: bytes) -> None:
        plain = rows(checked_csv(tmp_path, tiny_shop.CUSTOMERS))
        assert rows(checked_csv(tmp_path, content)) == plain

    def test_a_file_with_only_a_header_has_no_rows(self, tmp_path: Path) -> None:
        assert checked_csv(tmp_path, LINES[0] + "\n").row_count == 0

    def test_line_breaks_and_quotes_in_quotes_are_kept(self, tmp_path: Path) -> None:
        checked = checked_csv(tmp_path, with_line_4('2,"55\n64","say ""hi"", twice",,,,,'))
        assert column(checked, "age")[2] == "55\n64"
        assert column(checked, "income")[2] == 'say "hi", twice'

    def test_only_an_empty_field_is_null(self, tmp_path: Path) -> None:
        checked = checked_csv(tmp_path, with_line_4('2,"",NULL,N/A,nan,, ,0'))
        assert rows(checked)[2] == (2, None, "NULL", "N/A", "nan", None, " ", "0")


class TestHowRecordsAreRead:
    """As RFC 4180 says and Python's `csv` reads, with `strict=True`."""

    TWO = {"a": "text", "b": "text"}  # noqa: RUF012

    def test_a_blank_before_a_quote_makes_the_quote_a_part_of_the_value(self, tmp_path: Path) -> None:
        assert rows(check_file(tmp_path, 'a,b\n1, "x"\n', self.TWO)) == [("1", ' "x"')]
        message = refusal(tmp_path, 'a,b\n1, "x,y"\n', self.TWO)
        assert message.startswith(', line 2: 3 fields where the header has 2. The line reads: 1, "x,y".')

    def test_quotes_within_a_field_without_quotes_are_a_part_of_the_value(self, tmp_path: Path) -> None:
        assert rows(check_file(tmp_path, 'a,b\n5" pipe,24"\n', self.TWO)) == [('5" pipe', '24"')]

    def test_a_field_of_several_megabytes_is_read(self, tmp_path: Path) -> None:
        large = 'say ""hi"",\n' * 700_000
        assert len(large) > 2 * csv_blocks.BLOCK_BYTES
        read = rows(check_file(tmp_path, f'a,b\n1,"{large}"\n2,x\n', self.TWO))
        assert read == [("1", large.replace('""', '"')), ("2", "x")]

    @pytest.mark.parametrize("piece", [1, 2, 3, 5])
    def test_a_line_end_within_quotes_is_kept_wherever_the_file_is_cut_into_pieces(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
    ) -> None:
        monkeypatch.setattr(text, "CHUNK_BYTES", piece)
        monkeypatch.setattr(csv_blocks, "BLOCK_BYTES", 1)
        content = 'a,b\r\n"1\r\n2","x ""y"""\r\n\r\n3,"\r\n"\r\n'
        assert rows(check_file(tmp_path, content, self.TWO)) == [("1\r\n2", 'x "y"'), ("3", "\r\n")]

    def test_an_open_quote_is_found_however_long_the_file_is(self, tmp_path: Path) -> None:
        content = 'a,b\n"1,x\n' + "2,y\n" * 3_000_000
        assert refusal(tmp_path, content, self.TWO) == (
            ", line 2: a quote is never closed. Have it sent again; nothing was loaded."
        )

    def test_nul_characters_are_an_error(self, tmp_path: Path) -> None:
        assert refusal(tmp_path, b"a,b\n1,x\0y\n", self.TWO) == (
            ", line 2, column b: 'x\ufffdy' is no utf-8 text. The file has NUL bytes, as a damaged one does: "
            "have it sent again; nothing was loaded."
        )

    def test_columns_are_matched_as_they_are_stored(self, tmp_path: Path) -> None:
        content = 'CustomerID, Income ,"Größe"\n7,1.5,XL\n'
        for columns in ({"CustomerID": "bigint", " Income ": "double"}, {"customer_id": "bigint", "income": "double"}):
            checked = check_file(tmp_path, content, columns)
            assert rows(checked, "customer_id", "income", "gr_e") == [(7, 1.5, "XL")]
            assert checked.new_columns == {"gr_e": "text"}


class TestPackedFiles:
    COLUMNS = {"a": "bigint"}  # noqa: RUF012

    @pytest.mark.parametrize("ending", [".gz", ".zip"])
    def test_a_packed_file_is_read(self, tmp_path: Path, ending: str) -> None:
        (tmp_path / "t.csv").write_text("a\n1\n2\n", encoding="utf-8")
        packed = pack(tmp_path / "t.csv", ending)
        assert rows(check_file(tmp_path, packed.read_bytes(), self.COLUMNS, name=packed.name)) == [(1,), (2,)]

    @pytest.mark.parametrize("ending", [".gz", ".zip"])
    @pytest.mark.parametrize(
        "damage", [lambda whole: whole[:-9], lambda whole: whole[:60] + b"\x55" + whole[61:], lambda _: b""]
    )
    def test_a_damaged_one_is_named(self, tmp_path: Path, ending: str, damage: object) -> None:
        (tmp_path / "t.csv").write_text("a\n" + "".join(f"{n * n}\n" for n in range(1000)), encoding="utf-8")
        packed = pack(tmp_path / "t.csv", ending)
        content = damage(packed.read_bytes())  # type: ignore[operator]
        message = refusal(tmp_path, content, self.COLUMNS, name=packed.name)
        assert "Have it sent again; nothing was loaded." in message

    @pytest.mark.parametrize(
        ("content", "kind"),
        [(gzip.compress(b"a\n1\n", mtime=0), "a gzip file"), (b"PAR1PAR1", "a Parquet file")],
        ids=["gzip", "parquet"],
    )
    def test_a_file_of_another_kind_than_its_name_says_is_named_as_such(
        self, tmp_path: Path, content: bytes, kind: str
    ) -> None:
        message = refusal(tmp_path, content, self.COLUMNS)
        assert message.startswith(f" is {kind} by its content. Have it sent with a name that ends in ")

    def test_a_name_that_says_gzip_needs_a_gzip_file(self, tmp_path: Path) -> None:
        message = refusal(tmp_path, b"a\n1\n", self.COLUMNS, name="t.csv.gz")
        assert message.startswith(" is not a complete gzip file (Not a gzipped file (b'a\\n'))")

    @pytest.mark.parametrize("names", [[], ["one.csv", "two.csv"]])
    def test_a_zip_file_has_one_file_in_it(self, tmp_path: Path, names: list[str]) -> None:
        with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
            for name in names:
                archive.writestr(name, "a\n1\n")
        content = (tmp_path / "t.csv.zip").read_bytes()
        assert refusal(tmp_path, content, self.COLUMNS, name="t.csv.zip") == (
            f" has {len(names)} files in it ({', '.join(names) or 'none'}); one is expected. "
            "Have each file sent by itself; nothing was loaded."
        )

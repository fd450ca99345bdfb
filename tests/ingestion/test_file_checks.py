import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.file_checks import CheckedDelivery, Delivery, check, find_deliveries
from ingestion.raw_tables import LoadError
from ingestion.sources.complete_journey import SOURCE
from tests.fixtures import tiny_shop

CUSTOMERS, PRODUCTS, PURCHASES = SOURCE.tables
DAY = dt.date(2026, 11, 18)
# Line 1 is the header, line 4 the third customer.
LINES = tiny_shop.CUSTOMERS.splitlines()


def checked_csv(folder: Path, content: str | bytes) -> CheckedDelivery:
    path = folder / "customers.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return check(Delivery(CUSTOMERS, path, "customers.csv", "-"))


def csv_error(folder: Path, content: str | bytes) -> str:
    """The error's text after the file's path, which it must begin with."""
    with pytest.raises(LoadError) as raised:
        checked_csv(folder, content)
    return after_path(str(raised.value), folder / "customers.csv")


def after_path(message: str, path: Path) -> str:
    assert message.startswith(str(path))
    assert "\n" not in message
    assert message.endswith("nothing was loaded.")
    assert len(message) < 800
    return message.removeprefix(str(path))


def with_line_4(line: str) -> str:
    return "\n".join([*LINES[:3], line, *LINES[4:]]) + "\n"


def one_day(**columns: pa.Array) -> pa.Table:
    """A day of one line, with some columns replaced or added."""
    table = pa.Table.from_pylist([tiny_shop.line(DAY, 200, 1, 10, 1, 1.0)], schema=tiny_shop.PURCHASES)
    for name, values in columns.items():
        position = table.schema.get_field_index(name)
        table = table.append_column(name, values) if position < 0 else table.set_column(position, name, values)
    return table


def checked_day(folder: Path, table: pa.Table) -> CheckedDelivery:
    path = folder / f"{DAY}.parquet"
    pq.write_table(table, path)
    return check(Delivery(PURCHASES, path, f"purchases/{DAY}.parquet", "-"))


def day_error(folder: Path, table: pa.Table) -> str:
    with pytest.raises(LoadError) as raised:
        checked_day(folder, table)
    return after_path(str(raised.value), folder / f"{DAY}.parquet")


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
        with pytest.raises(LoadError, match=r"there is no file .*purchases/\*\.parquet, from which"):
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
        names = [delivery.landed_file for delivery in find_deliveries(landing, SOURCE.tables)]
        assert names[:3] == ["customers.csv", "products.csv", "purchases/2019-05-01.parquet"]
        assert names == [*names[:2], *sorted(names[2:])]


class TestDayFiles:
    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda whole: whole[: len(whole) // 2], "is not a complete Parquet file ({size:,} bytes)"),
            (lambda whole: whole[:-1], "is not a complete Parquet file ({size:,} bytes)"),
            (lambda _whole: b"", "is empty (0 bytes)"),
            (lambda _whole: b"household_id,store_id\n1,2\n", "is not a complete Parquet file ({size:,} bytes)"),
            (lambda _whole: b"PAR1" + bytes(100) + b"PAR1", "is not a complete Parquet file ({size:,} bytes)"),
        ],
        ids=["cut in the middle", "last byte missing", "0 bytes", "CSV in it", "zeros between the marks"],
    )
    def test_a_damaged_file_is_named(self, tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
        path = tmp_path / f"{DAY}.parquet"
        pq.write_table(one_day(), path)
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(LoadError) as raised:
            check(Delivery(PURCHASES, path, path.name, "-"))
        expected = message.format(size=path.stat().st_size)
        assert after_path(str(raised.value), path) == f" {expected}. Have it sent again; nothing was loaded."

    def test_a_file_without_rows_keeps_the_contract(self, tmp_path: Path) -> None:
        assert checked_day(tmp_path, one_day().slice(0, 0)).row_count == 0

    @pytest.mark.parametrize(
        ("column", "values", "arrived", "wanted"),
        [
            ("sales_value", pa.array(["1.0"]), "string", "double"),
            ("sales_value", pa.array([Decimal("1.00")]), r"decimal128(3, 2)", "double"),
            ("sales_value", pa.array([1]), "int64", "double"),
            ("basket_id", pa.array([1.0]), "double", "bigint"),
            ("basket_id", pa.array(["1"]), "string", "bigint"),
            ("basket_id", pa.array([1], pa.uint64()), "uint64", "bigint"),
            (
                "transaction_timestamp",
                pa.array([dt.datetime(2026, 11, 18, tzinfo=dt.UTC)]),
                "timestamp[us, tz=UTC]",
                "timestamp",
            ),
            ("transaction_timestamp", pa.array(["2026-11-18"]), "string", "timestamp"),
            ("transaction_timestamp", pa.array([DAY]), "date32[day]", "timestamp"),
        ],
    )
    def test_another_type_stops_the_load(
        self, tmp_path: Path, column: str, values: pa.Array, arrived: str, wanted: str
    ) -> None:
        assert day_error(tmp_path, one_day(**{column: values})) == (
            f": column {column} has type {arrived}, but the source declares {wanted}. "
            "Have the file sent again with that type, or change what the source declares "
            "(CONTRIBUTING.md, 'When a source changes'); nothing was loaded."
        )

    @pytest.mark.parametrize(
        ("column", "values"),
        [
            ("basket_id", pa.array([200], pa.int32())),
            ("basket_id", pa.array([200], pa.uint32())),
            ("basket_id", pa.array([200]).dictionary_encode()),
            ("basket_id", pa.array([None], pa.null())),
            ("sales_value", pa.array([1.0], pa.float32())),
            ("sales_value", pa.array([None], pa.null())),
            ("transaction_timestamp", pa.array([0], pa.timestamp("ms"))),
            ("transaction_timestamp", pa.array([0], pa.timestamp("ns"))),
        ],
        ids=lambda value: str(value.type) if isinstance(value, pa.Array) else value,
    )
    def test_another_spelling_of_the_same_type_is_fine(self, tmp_path: Path, column: str, values: pa.Array) -> None:
        checked = checked_day(tmp_path, one_day(**{column: values}))
        assert (checked.row_count, checked.new_columns) == (1, {})

    def test_a_missing_column_is_named(self, tmp_path: Path) -> None:
        assert day_error(tmp_path, one_day().drop_columns(["quantity", "week"])).startswith(
            ": missing column quantity, week (the file has: household_id, store_id, basket_id, product_id, "
        )

    def test_columns_in_another_order_are_fine(self, tmp_path: Path) -> None:
        table = one_day()
        assert checked_day(tmp_path, table.select(table.column_names[::-1])).row_count == 1

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (pa.array(["gold"]), "text"),
            (pa.array(["gold"], pa.large_string()), "text"),
            (pa.array(["gold"]).dictionary_encode(), "text"),
            (pa.array([1]), "bigint"),
            (pa.array([1.5]), "double"),
            (pa.array([True]), "bool"),
            (pa.array([DAY]), "date"),
            (pa.array([dt.datetime(2026, 11, 18)]), "timestamp"),
            (pa.array([Decimal("1.10")]), "text"),
            (pa.array([[1, 2]]), "text"),
        ],
        ids=lambda value: str(value.type) if isinstance(value, pa.Array) else value,
    )
    def test_a_new_column_is_accepted_with_its_type(self, tmp_path: Path, values: pa.Array, kind: str) -> None:
        assert checked_day(tmp_path, one_day(loyalty=values)).new_columns == {"loyalty": kind}

    def test_a_new_column_without_any_type_waits_for_the_day_that_has_one(self, tmp_path: Path) -> None:
        assert checked_day(tmp_path, one_day(loyalty=pa.array([None], pa.null()))).new_columns == {}

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            ("Week", ": column week has the same name as Week. Have the file sent again with a different name"),
            (
                "_dlt_load_id",
                ": column _dlt_load_id has a name that is reserved for the loader. Have it sent again with",
            ),
            (
                "_landed_file",
                ": column _landed_file has a name that is reserved for the loader. Have it sent again with",
            ),
            ("", ": column 12 has no name. Have it sent again"),
        ],
    )
    def test_a_new_column_that_would_hide_another_stops_the_load(
        self, tmp_path: Path, column: str, message: str
    ) -> None:
        assert day_error(tmp_path, one_day(**{column: pa.array(["x"])})).startswith(message)

    def test_a_column_that_appears_twice_stops_the_load(self, tmp_path: Path) -> None:
        table = one_day()
        twice = pa.Table.from_arrays([*table.columns, pa.chunked_array([[2.0]])], [*table.column_names, "sales_value"])
        assert day_error(tmp_path, twice).startswith(": column sales_value appears more than once.")


class TestCsvFiles:
    def test_a_good_file_is_read_with_its_types(self, tmp_path: Path) -> None:
        checked = checked_csv(tmp_path, tiny_shop.CUSTOMERS)
        assert checked.data is not None
        assert checked.data.column("household_id").to_pylist() == [1, 2, 2, 3, None]
        assert checked.data.column("age").to_pylist() == ["35-44", "45-54", "55-64", "65+", "25-34"]
        assert checked.data.column("home_ownership").to_pylist() == ["Homeowner", None, None, "Renter", None]
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

    @pytest.mark.parametrize(
        "value", ["zwei", "2.5", "2.0", "1e3", "1_000", "0x1F", "99999999999999999999", "NaN", "-"]
    )
    def test_a_value_that_is_not_a_whole_number_is_named_and_never_rounded(self, tmp_path: Path, value: str) -> None:
        line = f"{value},55-64,35-49K,,Unmarried,1,1 Adult,0"
        assert csv_error(tmp_path, with_line_4(line)) == (
            f", line 4, column household_id: '{value}' is not a whole number. Have it sent again; nothing was loaded."
        )

    @pytest.mark.parametrize(("value", "number"), [("+7", 7), ("-7", -7), (" 7 ", 7), ("007", 7)])
    def test_whole_numbers_may_be_padded(self, tmp_path: Path, value: str, number: int) -> None:
        checked = checked_csv(tmp_path, with_line_4(f"{value},55-64,35-49K,,Unmarried,1,1 Adult,0"))
        assert checked.data is not None
        assert checked.data.column("household_id").to_pylist()[2] == number

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

    def test_a_separator_too_many_at_the_end_of_a_line_is_harmless(self, tmp_path: Path) -> None:
        checked = checked_csv(tmp_path, with_line_4("2,55-64,,,,,,0,"))
        assert checked.data is not None
        assert checked.data.column("kids_count").to_pylist()[2] == "0"

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
        assert checked.data is not None
        assert checked.new_columns == {"loyalty": "text"}
        assert checked.data.column("loyalty").to_pylist() == ["0", "1", "2", "3", "4"]

    def test_columns_may_come_in_another_order(self, tmp_path: Path) -> None:
        content = "\n".join(",".join(reversed(line.split(","))) for line in LINES)
        checked = checked_csv(tmp_path, content)
        assert checked.data is not None
        assert checked.data.column("household_id").to_pylist() == [1, 2, 2, 3, None]
        assert checked.data.column("kids_count").to_pylist() == ["0"] * 5

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (LINES[0].replace("age", "age,age"), ": column age appears more than once."),
            (LINES[0].replace("age", "age,Age"), ": column age has the same name as Age."),
            (LINES[0] + ",", ": column 9 has no name."),
            (LINES[0] + ",_landed_file", ": column _landed_file has a name that is reserved for the loader."),
        ],
    )
    def test_an_ambiguous_header_stops_the_load(self, tmp_path: Path, header: str, message: str) -> None:
        assert csv_error(tmp_path, header + "\n").startswith(message)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", " is empty: there is no header line."),
            (b"\xef\xbb\xbf", " is empty: there is no header line."),
            (b"\r\n\r\n", " is empty: there is no header line."),
            (b"\n" + tiny_shop.CUSTOMERS.encode(), " begins with an empty line: there is no header line."),
            (b'"household_id,age\n1,2\n', ", line 1: a quote is never closed."),
        ],
        ids=["0 bytes", "byte order mark only", "line ends only", "header on line 2", "open quote in the header"],
    )
    def test_a_file_without_a_header_is_an_error(self, tmp_path: Path, content: bytes, message: str) -> None:
        assert csv_error(tmp_path, content).startswith(message)

    @pytest.mark.parametrize(
        "content",
        [
            with_line_4("2,Jäger,,,,,,").encode("latin-1"),
            ("größe," + tiny_shop.CUSTOMERS).encode("latin-1"),
            "\n".join([LINES[0], *["1,,,,,,,"] * 100_000, "2,Jäger,,,,,,"]).encode("latin-1"),
            tiny_shop.CUSTOMERS.encode("utf-16"),
            tiny_shop.CUSTOMERS.encode("utf-16-le"),
        ],
        ids=["latin-1", "latin-1 header", "latin-1 far below", "UTF-16", "UTF-16 without a mark"],
    )
    def test_a_file_in_another_encoding_is_reported_as_not_utf_8(self, tmp_path: Path, content: bytes) -> None:
        assert csv_error(tmp_path, content) == (
            " is not UTF-8. Save it as UTF-8 (for a Western European file: iconv -f latin1 -t utf-8); "
            "nothing was loaded."
        )

    @pytest.mark.parametrize(
        "content",
        [
            b"\xef\xbb\xbf" + tiny_shop.CUSTOMERS.encode(),
            b"\xef\xbb\xbf" + tiny_shop.CUSTOMERS.replace("household_id", '"household_id"').encode(),
            tiny_shop.CUSTOMERS.replace("\n", "\r\n").encode(),
            tiny_shop.CUSTOMERS.rstrip("\n").encode(),
            tiny_shop.CUSTOMERS.replace("\n", "\n\n").encode(),
        ],
        ids=["byte order mark", "mark before a quote", "Windows line ends", "no last line end", "blank lines"],
    )
    def test_harmless_dialects_read_the_same(self, tmp_path: Path, content: bytes) -> None:
        plain = checked_csv(tmp_path, tiny_shop.CUSTOMERS).data
        assert checked_csv(tmp_path, content).data == plain

    def test_mixed_line_ends_are_an_error_and_not_a_guess(self, tmp_path: Path) -> None:
        assert "All lines must end in the same way." in csv_error(
            tmp_path, tiny_shop.CUSTOMERS.replace("\n", "\r\n", 2)
        )

    def test_a_file_with_only_a_header_has_no_rows(self, tmp_path: Path) -> None:
        assert checked_csv(tmp_path, LINES[0] + "\n").row_count == 0

    def test_line_breaks_and_quotes_in_quotes_are_kept(self, tmp_path: Path) -> None:
        checked = checked_csv(tmp_path, with_line_4('2,"55\n64","say ""hi"", twice",,,,,'))
        assert checked.data is not None
        assert checked.data.column("age").to_pylist()[2] == "55\n64"
        assert checked.data.column("income").to_pylist()[2] == 'say "hi", twice'

    def test_only_an_empty_field_is_null(self, tmp_path: Path) -> None:
        checked = checked_csv(tmp_path, with_line_4('2,"",NULL,N/A,nan,, ,0'))
        assert checked.data is not None
        third = checked.data.to_pylist()[2]
        assert [third[name] for name in LINES[0].split(",")] == [2, None, "NULL", "N/A", "nan", None, " ", "0"]

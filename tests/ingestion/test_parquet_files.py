import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.file_checks import CheckedDelivery, LandedTable
from ingestion.raw_tables import LoadError
from ingestion.sources.complete_journey import SOURCE
from tests.fixtures import tiny_shop
from tests.ingestion.landed import after_path, check_landed, pack, refusal, rows

PURCHASES = SOURCE.tables[2]
DAY = dt.date(2026, 11, 18)


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
    return check_landed(PURCHASES, path)


def day_error(folder: Path, table: pa.Table) -> str:
    with pytest.raises(LoadError) as raised:
        checked_day(folder, table)
    return after_path(str(raised.value), folder / f"{DAY}.parquet")


class TestParquetFiles:
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
            check_landed(PURCHASES, path)
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
                "_delivery",
                ": column _delivery has a name that is reserved for the loader. Have it sent again with",
            ),
            ("", ": column 12 has no name. Have it sent again"),
        ],
    )
    def test_a_new_column_that_would_hide_another_stops_the_load(
        self, tmp_path: Path, column: str, message: str
    ) -> None:
        assert day_error(tmp_path, one_day(**{column: pa.array(["x"])})).startswith(message)

    def test_names_of_columns_may_be_spelled_as_in_the_file_or_as_stored(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"CustomerID": [7], " Income ": [1.5], "Größe": ["XL"]}), tmp_path / "t.parquet")
        for columns in ({"CustomerID": "bigint", " Income ": "double"}, {"customer_id": "bigint", "income": "double"}):
            table = LandedTable(name="t", columns=columns, files="t.parquet")
            checked = check_landed(table, tmp_path / "t.parquet")
            assert rows(checked, "customer_id", "income", "gr_e") == [(7, 1.5, "XL")]
            assert checked.new_columns == {"gr_e": "text"}

    def test_types_that_only_some_shops_have_arrive_as_they_are(self, tmp_path: Path) -> None:
        moment = dt.datetime(2026, 11, 18, 23, 5, tzinfo=dt.UTC)
        values = {
            "price": pa.array([Decimal("-1.5")], pa.decimal128(5, 1)),
            "at": pa.array([moment]),
            "opens": pa.array([dt.time(8, 30)]),
            "photo": pa.array([b"\xff\x00"]),
            "more": pa.array(['{"a": 1}']),
        }
        kinds = ["decimal(18, 2)", "timestamp with time zone", "time", "binary", "json"]
        columns = dict(zip(values, kinds, strict=True))
        pq.write_table(pa.table(values), tmp_path / "t.parquet")
        table = LandedTable(name="t", columns=columns, files="t.parquet")
        ((price, at, *others),) = rows(check_landed(table, tmp_path / "t.parquet"))
        assert (str(price), at, others) == ("-1.50", moment, [dt.time(8, 30), b"\xff\x00", '{"a": 1}'])

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            (pa.array([Decimal("1.555")]), "decimal(18, 2)"),
            (pa.array([Decimal("12345.5")], pa.decimal128(6, 1)), "decimal(5, 1)"),
            (pa.array([dt.datetime(2026, 11, 18)]), "timestamp with time zone"),
        ],
    )
    def test_a_type_that_holds_more_stops_the_load(self, tmp_path: Path, values: pa.Array, kind: str) -> None:
        pq.write_table(pa.table({"a": values}), tmp_path / "t.parquet")
        content = (tmp_path / "t.parquet").read_bytes()
        message = refusal(tmp_path, content, {"a": kind}, name="t.parquet")
        assert message.startswith(f": column a has type {values.type}, but the source declares {kind}.")

    @pytest.mark.parametrize("name", ["50% [1] = it's.parquet", "what*?.parquet"])
    def test_a_file_may_have_a_name_that_duckdb_takes_for_a_pattern(self, tmp_path: Path, name: str) -> None:
        pq.write_table(pa.table({"a": [1]}), tmp_path / name)
        checked = check_landed(LandedTable(name="t", columns={"a": "bigint"}, files="*.parquet"), tmp_path / name)
        assert rows(checked) == [(1,)]

    @pytest.mark.parametrize("ending", [".gz", ".zip"])
    def test_a_packed_file_is_unpacked(self, tmp_path: Path, ending: str) -> None:
        pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
        path = pack(tmp_path / "t.parquet", ending)
        checked = check_landed(LandedTable(name="t", columns={"a": "bigint"}, files=path.name), path)
        assert rows(checked) == [(1,)]

    def test_what_sources_cannot_declare_arrives_as_text(self, tmp_path: Path) -> None:
        new = {"price": [Decimal("1.10")], "tags": [["a", 'b"c']], "by": [{"name": "Jäger", "till": 3}]}
        pq.write_table(pa.table({"a": [1], **new}), tmp_path / "t.parquet")
        checked = check_landed(
            LandedTable(name="t", columns={"a": "bigint"}, files="t.parquet"), tmp_path / "t.parquet"
        )
        assert checked.new_columns == {"price": "text", "tags": "text", "by": "text"}
        assert rows(checked, *new) == [("1.10", r'["a","b\"c"]', '{"name":"Jäger","till":3}')]

    def test_damaged_bytes_in_a_text_column_are_named(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"a": [1], "name": ["Jäger"]}), tmp_path / "t.parquet", compression="none")
        whole = (tmp_path / "t.parquet").read_bytes()
        damaged = whole.replace("Jäger".encode(), "J\xe4\xe4ger".encode("latin-1"))
        message = refusal(tmp_path, damaged, {"a": "bigint", "name": "text"}, name="t.parquet")
        assert message.startswith(": column name cannot be read (Invalid Input Error: Invalid string encoding found")
        assert message.endswith("Have it sent again; nothing was loaded.")

    def test_a_timestamp_out_of_range_is_named(self, tmp_path: Path) -> None:
        table = pa.table({"a": [1], "at": pa.array([2**62], pa.timestamp("ms"))})
        pq.write_table(table, tmp_path / "t.parquet")
        content = (tmp_path / "t.parquet").read_bytes()
        assert refusal(tmp_path, content, {"a": "bigint", "at": "timestamp"}, name="t.parquet") == (
            ": column at cannot be read (Conversion Error: Could not convert Timestamp(MS) to Timestamp(US)). "
            "Have it sent again; nothing was loaded."
        )

    def test_nanoseconds_are_cut_to_microseconds(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"at": pa.array([1_999], pa.timestamp("ns"))}), tmp_path / "t.parquet", version="2.6")
        table = LandedTable(name="t", columns={"at": "timestamp"}, files="t.parquet")
        assert rows(check_landed(table, tmp_path / "t.parquet")) == [(dt.datetime(1970, 1, 1, 0, 0, 0, 1),)]

    @pytest.mark.parametrize(
        ("first", "kind"), [(b"PK\x03\x04", "a zip file or an Excel workbook"), (b"\x1f\x8b", "a gzip file")]
    )
    def test_a_file_of_another_kind_is_named_as_such(self, tmp_path: Path, first: bytes, kind: str) -> None:
        assert refusal(tmp_path, first + bytes(50), {"a": "bigint"}, name="t.parquet") == (
            f" is {kind} by its content. Have it sent with the name of one, and declare such files; nothing was loaded."
        )

    def test_a_column_that_appears_twice_stops_the_load(self, tmp_path: Path) -> None:
        table = one_day()
        twice = pa.Table.from_arrays([*table.columns, pa.chunked_array([[2.0]])], [*table.column_names, "sales_value"])
        assert day_error(tmp_path, twice).startswith(": column sales_value appears more than once.")

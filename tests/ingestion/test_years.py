"""Dates and timestamps of files lie in the years 1 to 9999, which is what Python and most other readers can hold."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.file_checks import LandedTable
from ingestion.files.formats import Csv, Format
from tests.ingestion.landed import check_file, check_landed, refusal, rows

FIRST, LAST = dt.date.min, dt.date.max
AT_FIRST, AT_LAST = dt.datetime.min, dt.datetime.max
WITH_ZONE = "timestamp with time zone"

# Days from 1970 to the first of January of these years.
YEAR_1 = (FIRST - dt.date(1970, 1, 1)).days
YEAR_10_000 = (LAST - dt.date(1970, 1, 1)).days + 1


def date(days: int) -> pa.Array:
    return pa.array([None, days], pa.int32()).cast(pa.date32())


def moment(days: int, more: int = 0, unit: str = "us", zone: str | None = None) -> pa.Array:
    ticks = {"us": 86_400_000_000, "ms": 86_400_000}[unit]
    return pa.array([None, days * ticks + more], pa.int64()).cast(pa.timestamp(unit, zone))


OTHER_YEARS = [
    (date(YEAR_10_000), "date", "10000-01-01"),
    (date(YEAR_1 - 1), "date", "0001-12-31 (BC)"),
    (date(2**31 - 1), "date", "infinity"),
    (moment(YEAR_10_000), "timestamp", "10000-01-01 00:00:00"),
    (moment(YEAR_1, -1), "timestamp", "0001-12-31 (BC) 23:59:59.999999"),
    (moment(YEAR_10_000, unit="ms"), "timestamp", "10000-01-01 00:00:00"),
]


@pytest.mark.parametrize(("values", "kind", "holds"), OTHER_YEARS)
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "a new column"])
def test_in_parquet_other_years_are_refused_by_column(
    tmp_path: Path, values: pa.Array, kind: str, holds: str, declared: bool
) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 2], "born": values}), path)
    columns = {"a": "bigint", **({"born": kind} if declared else {})}
    assert refusal(tmp_path, path.read_bytes(), columns, name="t.parquet") == (
        f": column born holds {holds}, outside the years 1 to 9999. Have it sent again; nothing was loaded."
    )


@pytest.mark.parametrize("values", [moment(YEAR_10_000, zone="UTC"), moment(YEAR_1, -1, zone="UTC")])
def test_in_parquet_years_of_moments_are_those_of_utc(tmp_path: Path, values: pa.Array) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"at": values}), path)
    message = refusal(tmp_path, path.read_bytes(), {"at": WITH_ZONE}, name="t.parquet")
    assert message.startswith(": column at holds ")
    assert ", outside the years 1 to 9999. " in message


def test_in_parquet_the_values_count_and_not_the_statistics_of_the_file(tmp_path: Path) -> None:
    day = (dt.date(2026, 11, 18) - dt.date(1970, 1, 1)).days
    table = pa.table({"born": pa.array([day] * 9, pa.int32()).cast(pa.date32())})
    pq.write_table(table, tmp_path / "t.parquet", compression="none", use_dictionary=False)
    whole, written = (tmp_path / "t.parquet").read_bytes(), day.to_bytes(4, "little")
    # The values stand in a row; the smallest and largest of the statistics before and after them stay as they are.
    damaged = whole.replace(written * 9, written * 4 + (2**30).to_bytes(4, "little") + written * 4)
    assert damaged != whole
    message = refusal(tmp_path, damaged, {"born": "date"}, name="t.parquet")
    assert message.startswith(": column born holds 2941775-04-07, outside the years 1 to 9999. ")


def test_in_parquet_the_first_and_the_last_day_are_read(tmp_path: Path) -> None:
    columns = {"born": "date", "at": "timestamp", "moment": WITH_ZONE}
    utc = dt.UTC
    values = {
        "born": pa.array([FIRST, LAST]),
        "at": pa.array([AT_FIRST, AT_LAST]),
        "moment": pa.array([AT_FIRST.replace(tzinfo=utc), AT_LAST.replace(tzinfo=utc)]),
    }
    pq.write_table(pa.table(values), tmp_path / "t.parquet")
    checked = check_landed(LandedTable(name="t", columns=columns, files="t.parquet"), tmp_path / "t.parquet")
    assert rows(checked, "born", "at") == [(FIRST, AT_FIRST), (LAST, AT_LAST)]
    assert checked.row_count == 2


@pytest.mark.parametrize(
    ("text", "kind", "format"),
    [
        ("0000-12-31", "date", None),
        ("31.12.0000", "date", Csv(date_format="%d.%m.%Y")),
        ("0000-12-31 23:59:59", "timestamp", None),
        ("12/31/0000 23:59", "timestamp", Csv(timestamp_format="%m/%d/%Y %H:%M")),
        ("0001-01-01 00:00:00+05:00", WITH_ZONE, None),
        ("9999-12-31 23:59:59-01:00", WITH_ZONE, None),
        ("infinity", "date", None),
    ],
)
def test_in_text_other_years_are_refused_by_line_and_column(
    tmp_path: Path, text: str, kind: str, format: Format | None
) -> None:
    message = refusal(tmp_path, f"a,born\n1,{text}\n", {"a": "bigint", "born": kind}, format)
    assert message.startswith(f", line 2, column born: '{text}' is not a {kind.replace('with', 'with a')}. ")
    json = f'{{"a": 1, "born": "{text}"}}\n'
    if format is None:
        message = refusal(tmp_path, json, {"a": "bigint", "born": kind}, name="t.jsonl")
        assert message.startswith(f", line 1, column born: '{text}' is not a {kind.replace('with', 'with a')}. ")


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("0001-01-01", "date", [(FIRST,)]),
        ("9999-12-31", "date", [(LAST,)]),
        ("0001-01-01 00:00:00", "timestamp", [(AT_FIRST,)]),
        ("9999-12-31 23:59:59.999999", "timestamp", [(AT_LAST,)]),
    ],
)
def test_in_text_the_first_and_the_last_day_are_read(
    tmp_path: Path, text: str, kind: str, values: list[tuple[Any, ...]]
) -> None:
    assert rows(check_file(tmp_path, f"born\n{text}\n", {"born": kind})) == values

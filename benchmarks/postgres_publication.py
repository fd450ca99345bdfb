"""How fast a large table is published to PostgreSQL, next to the driver's own rate in the same run.

`python -m benchmarks.postgres_publication` starts PostgreSQL (Debian's package `postgresql`) in a temporary folder,
makes a published file with one table of twelve columns, and brings it in twice, each as a program of its own: by the
driver alone, into a bare table, and as `make publish-postgres` does, with keys, comments, statistics, a view for each
role, and the swap with the publication before.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import duckdb
import yaml
from rich.table import Table

from benchmarks.database_servers import PASSWORD, Postgres, UnavailableError, running
from benchmarks.main_job import machine
from benchmarks.processes import FailedError, run
from warehouse.paths import Paths
from warehouse.terminal import Terminal

# What a million rows may take (seconds).
TARGET_SECONDS = 10

ROWS = """
create schema core;
create table core.purchases as
select 'shop:' || i as purchase_key, 'shop:' || i // 9 as basket_key, 'shop:' || i % 2500 as customer_key,
    'shop:' || i % 90000 as product_key, 'shop:' || i % 300 as category_key, 'shop' as source_name,
    timestamp '2026-01-01' + to_seconds(i * 20) as purchased_at, date '2026-01-01' + (i // 4320)::int as purchase_date,
    (i % 7)::decimal(18, 3) as quantity, ((i % 10000) / 100)::decimal(18, 2) as amount,
    ((i % 100) / 100)::decimal(18, 2) as discount_amount, i % 3 > 0 as is_merchandise
from range({rows}) as numbers(i)
"""

BY_DRIVER = """
import sys, duckdb
from adbc_driver_postgresql import dbapi
file, url, definition = sys.argv[1:]
with duckdb.connect(file, read_only=True) as source, dbapi.connect(url) as target, target.cursor() as cursor:
    cursor.execute("drop table if exists by_driver")
    cursor.execute(f"create table by_driver ({definition})")
    rows = source.sql("from core.purchases").to_arrow_reader(20_000)
    cursor.adbc_ingest("by_driver", rows, mode="append")
    target.commit()
"""
BY_US = """
import sys
from pathlib import Path
from delivery import policy, postgres
from warehouse.connections import columns
from warehouse.paths import Paths
import duckdb
folder, url, password = sys.argv[1:]
paths = Paths(Path(folder))
with duckdb.connect(str(paths.published), read_only=True) as file:
    found = columns(file)
tables = [
    policy.Table(schema, name, tuple(policy.Column(column, kind) for column, kind in of.items()))
    for (schema, name), of in found.items()
]
written = postgres.write(paths, postgres.address(url, password), policy.read(), tables)
assert written.is_new
"""


@dataclass(frozen=True)
class Figure:
    """What bringing the table in took, once by each.

    Attributes:
        driver_seconds: by the driver alone, with its start.
        seconds: by the publication, with its start.
        cpu_seconds: processor time of that, without the server's.
        peak_mib: memory of that at its highest.
    """

    driver_seconds: float
    seconds: float
    cpu_seconds: float
    peak_mib: float


def make(paths: Paths, rows: int) -> str:
    """Make the published file and its contract.

    Args:
        paths: of the data folder to make it in.
        rows: how many.

    Returns:
        The columns with PostgreSQL's types, as `create table` takes them.
    """
    paths.published.parent.mkdir(parents=True)
    with duckdb.connect(str(paths.published)) as connection:
        connection.execute(ROWS.format(rows=rows))
        columns = connection.execute(
            "select column_name, lower(data_type) from duckdb_columns() where table_name = 'purchases' "
            "order by column_index"
        ).fetchall()
    properties = [{"name": name, "physicalType": kind, "description": name} for name, kind in columns]
    properties[0] |= {"primaryKey": True, "primaryKeyPosition": 1, "required": True, "unique": True}
    contract = {
        "version": "1.0.0",
        "servers": [{"schema": "core"}],
        "schema": [{"name": "purchases", "description": "Made up.", "properties": properties}],
    }
    (paths.published.parent / "core.odcs.yaml").write_text(yaml.safe_dump(contract), encoding="utf-8")
    return ", ".join(f"{name} {kind.replace('varchar', 'text')}" for name, kind in columns)


def measure(rows: int, runs: int) -> list[Figure]:
    """Make a published file and bring it into PostgreSQL.

    Args:
        rows: how many rows it has.
        runs: how many times it is brought in, by each in turn.

    Raises:
        UnavailableError: PostgreSQL is not installed here.
        FailedError: the driver or the publication failed.
    """
    figures = []
    for server in running(Postgres):
        with tempfile.TemporaryDirectory(prefix="next_aisle_") as name:
            folder = Path(name)
            paths = Paths(folder / "data")
            definition = make(paths, rows)
            url = server.url.set(drivername="postgresql")
            secret = url.render_as_string(hide_password=False)
            address = f"postgresql://{server.user}@127.0.0.1:{server.port}/{server.database}"
            for _ in range(runs):
                # Each is a publication of its own.
                paths.published.touch()
                driver = run([sys.executable, "-c", BY_DRIVER, str(paths.published), secret, definition], {}, folder)
                ours = run([sys.executable, "-c", BY_US, str(paths.root), address, PASSWORD], {}, folder)
                [(arrived,)] = server.query("select count(*) from core.purchases")
                if arrived != rows:
                    raise FailedError(f"{arrived:,} of {rows:,} rows arrived")
                figures.append(Figure(driver.seconds, ours.seconds, ours.cpu_seconds, ours.peak_mib))
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and, if asked for, write the figures to a file.

    Returns:
        The exit code: 1 when PostgreSQL is not available or something failed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres_publication", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table (default: one million)")
    parser.add_argument("--runs", type=int, default=3, help="how many times each brings it in (default: 3)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    chosen = parser.parse_args(arguments)
    try:
        figures = measure(chosen.rows, chosen.runs)
    except (UnavailableError, FailedError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    console = Terminal(sys.stdout)
    table = Table(title=f"{chosen.rows:,} rows of 12 columns, median of {chosen.runs}; {machine()}")
    for heading in ("by", "seconds", "rows/s", "times the driver", "peak memory, MiB"):
        table.add_column(heading, justify="left" if heading == "by" else "right")
    driver = median(figure.driver_seconds for figure in figures)
    ours = median(figure.seconds for figure in figures)
    table.add_row("the driver alone", f"{driver:.1f}", f"{chosen.rows / driver:,.0f}", "1.0", "")
    peak = max(figure.peak_mib for figure in figures)
    table.add_row("publication", f"{ours:.1f}", f"{chosen.rows / ours:,.0f}", f"{ours / driver:.1f}", f"{peak:,.0f}")
    console.print(table)
    allowed = TARGET_SECONDS * chosen.rows / 1_000_000
    console.print(f"target: {allowed:.1f} s at most; {'met' if ours <= allowed else 'missed'}")
    if chosen.json:
        chosen.json.write_text(json.dumps([vars(figure) for figure in figures], indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

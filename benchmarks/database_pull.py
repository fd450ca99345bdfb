"""How fast a large table is pulled from PostgreSQL and MariaDB into raw, next to the driver's own rate in the same run.

`python -m benchmarks.database_pull` starts both servers (Debian's packages `postgresql` and `mariadb-server`) in a
temporary folder, fills a table of orders with ten columns, and reads it twice, each as a program of its own: by the
driver alone, which throws the rows away, and by the loader, which ends with the rows in raw tables.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.table import Table

from benchmarks.database_servers import MariaDb, Postgres, Server, UnavailableError, running
from benchmarks.main_job import machine
from benchmarks.processes import FailedError, Measured, run
from warehouse.terminal import Terminal

COLUMNS = {
    "id": "bigint",
    "customer_id": "bigint",
    "product_id": "bigint",
    "quantity": "bigint",
    "amount": "decimal(12,2)",
    "discount": "decimal(12,2)",
    "updated_at": "timestamp with time zone",
    "paid_at": "timestamp",
    "note": "text",
    "channel": "text",
}

POSTGRESQL_ROWS = """
create table orders as
select i::bigint as id, (i % 50000)::bigint as customer_id, (i % 3000)::int as product_id, (i % 7)::int as quantity,
    ((i % 10000) / 100.0)::numeric(12,2) as amount, ((i % 100) / 100.0)::numeric(12,2) as discount,
    timestamptz '2025-01-01 00:00+00' + i * interval '13 second' as updated_at,
    timestamp '2025-01-01' + i * interval '13 second' as paid_at, 'order text ' || i as note,
    case when i % 3 = 0 then 'web' end as channel
from generate_series(1, {rows}) as numbers (i)
"""
MARIADB_TABLE = """
create table orders (id bigint, customer_id bigint, product_id int, quantity int, amount decimal(12,2),
    discount decimal(12,2), updated_at timestamp(6) null, paid_at datetime(6), note varchar(40), channel varchar(3))
"""
MARIADB_ROWS = """
insert into orders
select seq, seq % 50000, seq % 3000, seq % 7, (seq % 10000) / 100, (seq % 100) / 100,
    timestamp('2025-01-01') + interval seq * 13 second, timestamp('2025-01-01') + interval seq * 13 second,
    concat('order text ', seq), if(seq % 3 = 0, 'web', null)
from seq_1_to_{rows}
"""

# The driver's own cursors that read in pieces.
BY_DRIVER = {
    Postgres: """
import psycopg, sys
with psycopg.connect(sys.argv[1]) as connection, connection.cursor("rows") as cursor:
    cursor.execute("select * from orders")
    while cursor.fetchmany(20000):
        pass
""",
    MariaDb: """
import pymysql, sys
from urllib.parse import unquote, urlsplit
url = urlsplit(sys.argv[1])
connection = pymysql.connect(host=url.hostname, port=url.port, user=url.username, password=unquote(url.password),
    database=url.path[1:], cursorclass=pymysql.cursors.SSCursor)
with connection, connection.cursor() as cursor:
    cursor.execute("select * from orders")
    while cursor.fetchmany(20000):
        pass
""",
}
SOURCE = "from ingestion.database import Database, DatabaseTable\nSOURCE = Database('bench', (DatabaseTable({}),))\n"
BY_LOADER = """
import sys
import ingestion.sources
ingestion.sources.__path__.append(sys.argv[1])
from ingestion.__main__ import main
sys.exit(main(["bench"]))
"""


@dataclass(frozen=True)
class Figure:
    """What reading the table took, once by each.

    Attributes:
        server: the kind of server.
        driver_seconds: by the driver alone.
        loader_seconds: by the loader, with its start.
        loader_cpu_seconds: processor time of that, without the server's.
        loader_peak_mib: memory of that at its highest.
    """

    server: str
    driver_seconds: float
    loader_seconds: float
    loader_cpu_seconds: float
    loader_peak_mib: float


def measure(kind: type[Server], rows: int, runs: int) -> list[Figure]:
    """Fill a table on a server and read it.

    Args:
        kind: the server.
        rows: how many rows the table has.
        runs: how many times it is read, by each in turn.

    Returns:
        One figure per run.

    Raises:
        UnavailableError: the server is not installed here.
        FailedError: the driver or the loader failed.
    """
    figures = []
    for server in running(kind):
        if kind is Postgres:
            server.execute(POSTGRESQL_ROWS.format(rows=rows), "analyze")
        else:
            server.execute(MARIADB_TABLE, "set time_zone = '+00:00'", MARIADB_ROWS.format(rows=rows))
        url = server.url.set(drivername=server.url.get_backend_name()).render_as_string(hide_password=False)
        for _ in range(runs):
            with tempfile.TemporaryDirectory(prefix="next_aisle_") as name:
                folder = Path(name)
                (folder / "sources").mkdir()
                source = SOURCE.format(f"'orders', {COLUMNS!r}")
                (folder / "sources" / "bench.py").write_text(source, encoding="utf-8")
                driver = run([sys.executable, "-c", BY_DRIVER[kind], url], {}, folder)
                environment = {"NEXT_AISLE_DATA": str(folder / "data"), "SOURCES__BENCH__CREDENTIALS": url}
                loader = run([sys.executable, "-c", BY_LOADER, str(folder / "sources")], environment, folder)
                if f"{rows:,} rows in all" not in loader.output:
                    raise FailedError(loader.output)
            figures.append(_figure(kind, driver, loader))
    return figures


def _figure(kind: type[Server], driver: Measured, loader: Measured) -> Figure:
    return Figure(kind.__name__, driver.seconds, loader.seconds, loader.cpu_seconds, loader.peak_mib)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and, if asked for, write the figures to a file.

    Returns:
        The exit code: 0 when both servers were measured, 1 when one is not available or something failed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.database_pull", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table (default: one million)")
    parser.add_argument("--runs", type=int, default=3, help="how many times each reads it (default: 3)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    chosen = parser.parse_args(arguments)
    console = Terminal(sys.stdout)
    table = Table(title=f"{chosen.rows:,} rows of {len(COLUMNS)} columns, median of {chosen.runs}; {machine()}")
    for heading in ("server", "driver alone, rows/s", "into raw, rows/s", "times the driver", "peak memory, MiB"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    measured: list[Figure] = []
    for kind in (Postgres, MariaDb):
        try:
            figures = measure(kind, chosen.rows, chosen.runs)
        except (UnavailableError, FailedError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        measured += figures
        driver = median(figure.driver_seconds for figure in figures)
        loader = median(figure.loader_seconds for figure in figures)
        table.add_row(
            kind.__name__,
            f"{chosen.rows / driver:,.0f}",
            f"{chosen.rows / loader:,.0f}",
            f"{loader / driver:.1f}",
            f"{max(figure.loader_peak_mib for figure in figures):,.0f}",
        )
    console.print(table)
    if chosen.json:
        chosen.json.write_text(json.dumps([vars(figure) for figure in measured], indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

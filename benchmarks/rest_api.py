"""How fast an API is pulled into raw, and that memory does not grow with what it sends.

`python -m benchmarks.rest_api` serves made-up orders of three lines from a process on this machine, which answers at
once, and pulls them in pages of 250: a first pull, then one that finds nothing new. The floor is the same pages fetched
and read as JSON with nothing but the HTTP library. A real shop's server is slower than either: its rate limit counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests
from rich.table import Table

from benchmarks.main_job import machine
from benchmarks.processes import FailedError, Measured, run
from ingestion.pipeline import Pipeline
from ingestion.rest_api.source import ApiTable, RestApi
from warehouse.connections import connect
from warehouse.settings import Settings
from warehouse.terminal import Terminal

PAGE = 250
LINES = 3
SIZES = (10_000, 100_000)

SOURCE = RestApi(
    "benchmark_shop",
    client={"paginator": "header_link"},
    tables=(
        ApiTable(
            name="purchases",
            key="id",
            rows="line_items",
            endpoint={
                "path": "orders",
                "data_selector": "orders",
                "incremental": {"cursor_path": "updated_at", "start_param": "since", "lag": 3600},
            },
            columns={
                "id": "bigint",
                "created_at": "timestamp",
                "updated_at": "timestamp",
                "currency": "text",
                "customer.id": "bigint",
                "line_items.product_id": "bigint",
                "line_items.quantity": "bigint",
                "line_items.price": "decimal(18,2)",
                "line_items.discount": "decimal(18,2)",
            },
        ),
    ),
)


def order(number: int) -> dict[str, object]:
    """One order of the made-up shop, with as many fields as a platform sends.

    Args:
        number: its number.
    """
    moment = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}T{number % 24:02}:{number % 60:02}:00+01:00"
    return {
        "id": number,
        "created_at": moment,
        "updated_at": moment,
        "currency": "EUR",
        "customer": {"id": number % 5000, "email": f"{number}@example.com"},
        **{f"field_{other}": f"value {other} of {number}" for other in range(30)},
        "line_items": [
            {"id": number * LINES + line, "product_id": line, "quantity": 1, "price": "12.50", "discount": 0.25}
            for line in range(LINES)
        ],
    }


def serve(orders: int) -> None:
    """Serve the orders, and print the address.

    Args:
        orders: how many.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            page = int(query.get("page", ["0"])[0])
            first = page * PAGE
            # Something newer than the newest is asked for: there is none.
            body = b'{"orders": []}' if "since" in query else pages[page]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            if "since" not in query and first + PAGE < orders:
                self.send_header("Link", f'<http://127.0.0.1:{server.server_port}/orders?page={page + 1}>; rel="next"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Without a line for each request."""

    # Made ahead, so that the pull and not the server is measured.
    pages = [
        json.dumps({"orders": [order(number) for number in range(first, min(first + PAGE, orders))]}).encode()
        for first in range(0, orders, PAGE)
    ]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()


def floor(url: str) -> None:
    """Fetch all pages and read them as JSON; print the seconds.

    Args:
        url: the server's address.
    """
    started = time.perf_counter()
    with requests.Session() as session:
        following: str | None = f"{url}orders"
        while following:
            response = session.get(following)
            response.json()
            following = response.links.get("next", {}).get("url")
    print(time.perf_counter() - started)


def pull() -> None:
    """Pull what is new into the data folder that NEXT_AISLE_DATA names; print the seconds."""
    paths = Settings().paths
    started = time.perf_counter()
    with connect(paths) as connection:
        SOURCE.load(Pipeline(SOURCE.name, SOURCE.tables, connection, paths), SOURCE.tables, lambda _line: None)
    print(time.perf_counter() - started)


@contextmanager
def served(orders: int) -> Iterator[str]:
    """Serve the orders from a process of their own.

    Args:
        orders: how many.

    Yields:
        The server's address.
    """
    command = [sys.executable, "-m", "benchmarks.rest_api", "--part", "serve", "--orders", str(orders)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print a table.

    Returns:
        The exit code: 0, or 1 when a part failed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rest_api", description=__doc__)
    parser.add_argument("--orders", type=int, action="append", metavar="N", help="how many (may be repeated)")
    parser.add_argument("--part", choices=["serve", "floor", "pull"], help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.part:
        parts = {
            "serve": lambda: serve(chosen.orders[0]),
            "floor": lambda: floor(os.environ["SOURCES__BENCHMARK_SHOP__BASE_URL"]),
            "pull": pull,
        }
        parts[chosen.part]()
        return 0
    console = Terminal(sys.stdout)
    table = Table("orders", "part", "seconds", "rows/s", "memory")
    for orders in chosen.orders or SIZES:
        with served(orders) as url, tempfile.TemporaryDirectory() as folder:
            for part, name in (("floor", "floor: fetched, read as JSON"), ("pull", "first pull"), ("pull", "again")):
                try:
                    measured = _measure(part, url, Path(folder))
                except FailedError as error:
                    console.print(str(error))
                    return 1
                seconds = float(measured.output.split()[-1])
                rate = "" if name == "again" else f"{orders * LINES / seconds:,.0f}"
                table.add_row(f"{orders:,}", name, f"{seconds:.1f}", rate, f"{measured.peak_mib:,.0f} MiB")
    console.print(machine())
    console.print(table)
    return 0


def _measure(part: str, url: str, folder: Path) -> Measured:
    return run(
        [sys.executable, "-m", "benchmarks.rest_api", "--part", part],
        {"SOURCES__BENCHMARK_SHOP__BASE_URL": url, "NEXT_AISLE_DATA": str(folder / "data")},
        folder,
    )


if __name__ == "__main__":
    sys.exit(main())

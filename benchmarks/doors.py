"""How fast the service answers, compared with DuckDB's own time for the same rows in the same run.

`python -m benchmarks.doors` asks a service of its own over a copy of what is published (`make run` first), as many
clients at once do. While they page, the copy is published again. With `--minutes 60` it is asked for
an hour in every way, and its memory over that time is drawn.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import httpx

from benchmarks import doors_load
from benchmarks.database_servers import free_port
from delivery.doors import OPPORTUNITIES
from delivery.tokens import Tokens
from warehouse.dbt_project import prepare
from warehouse.paths import PROJECT_DIR, Paths
from warehouse.settings import Settings

METRICS = [
    "metrics=total_spending,active_customers&group_by=metric_time__month",
    "metrics=total_spending&group_by=customer__rfm_segment",
    "metrics=total_spending,purchase_count&group_by=category__department",
    "metrics=churn_probability,total_customers&group_by=customer__rfm_segment",
    "metrics=expected_cross_sell_value,opportunity_count&group_by=category__department",
    "metrics=category_penetration&group_by=category__category_label",
]


class Service:
    """A service of the run's own, over a copy of the published file.

    Args:
        folder: for its data.
        published: the published copy that it serves.
    """

    def __init__(self, folder: Path, published: Path) -> None:
        self.paths = Paths(folder)
        self.paths.published.parent.mkdir(parents=True)
        shutil.copy(published, self.paths.published)
        _, self.token = Tokens(self.paths.tokens).create("benchmark", "admin", 1)
        self.port = free_port()
        manifest = str(prepare(Settings()))
        started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "delivery", "serve", "--port", str(self.port), "--rate", "1e6", "--burst", "1e6"],
            cwd=PROJECT_DIR,
            env=os.environ | {"NEXT_AISLE_DATA": str(folder), "NEXT_AISLE_MANIFEST": manifest},
            stderr=subprocess.DEVNULL,
        )
        while True:
            try:
                if httpx.get(f"{self.base}/v1/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.02)
        self.started_in = time.perf_counter() - started

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        """A client with a token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.base, headers=headers, timeout=120)

    def publish_again(self) -> None:
        """Put the same file in its place, as another publication."""
        unfinished = self.paths.published.with_name("again.part")
        shutil.copy(self.paths.published, unfinished)
        unfinished.replace(self.paths.published)

    def memory_megabytes(self, line: str = "VmHWM") -> float:
        """What it holds in memory: its highest so far (VmHWM), or now (VmRSS)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split(f"{line}:")[1].split()[0]) / 1024

    def person(self) -> httpx.Client:
        """A client with a token that is logged in at the pages too."""
        client = self.client()
        client.post("/login", data={"token": self.token})
        return client

    def stop(self) -> None:
        """Stop it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


def milliseconds(work: Callable[[], Any], times: int) -> list[float]:
    """Time something.

    Args:
        work: what to do.
        times: how often.
    """
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - started))
    return taken


def shown(name: str, taken: list[float]) -> str:
    """Write times in a line: the median, the 95th and the 99th percentile."""
    parts = statistics.quantiles(taken, n=100, method="inclusive")
    return f"{name:44} median {statistics.median(taken):7.1f} ms   p95 {parts[94]:7.1f} ms   p99 {parts[98]:7.1f} ms"


def customer_lists(service: Service, published: Path, requests: int) -> None:
    """One customer's list: alone, by many at once, and in DuckDB."""
    with duckdb.connect(str(published), read_only=True) as connection:
        rows = connection.execute("select distinct customer_key from cross_sell.customer_opportunities").fetchall()
        keys = [row[0] for row in rows]
        chance = random.Random(1)
        ask = "from cross_sell.customer_opportunities where customer_key = ? order by rank"
        taken = milliseconds(lambda: connection.execute(ask, [chance.choice(keys)]).fetchall(), requests // 4)
    print(shown("one customer's list, DuckDB alone", taken))
    with service.client() as client:
        wanted = iter(chance.choices(keys, k=requests))
        taken = milliseconds(
            lambda: client.get(f"/v1/customers/{next(wanted)}/opportunities").raise_for_status(), requests
        )
    print(shown("one customer's list, REST", taken))

    def some(number: int) -> list[float]:
        mine = random.Random(number)
        with service.client() as each:
            return milliseconds(
                lambda: each.get(f"/v1/customers/{mine.choice(keys)}/opportunities").raise_for_status(), requests // 8
            )

    started = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        taken = [each for mine in pool.map(some, range(8)) for each in mine]
    rate = len(taken) / (time.perf_counter() - started)
    print(f"{shown('one customer' + chr(39) + 's list, 8 clients', taken)}   {rate:.0f} requests/s")


def metrics(service: Service, times: int) -> None:
    """Metrics, each asked for the first time and again."""
    with service.client() as client:

        def asked(path: str) -> Callable[[], Any]:
            return lambda: client.get(f"/v1/query?{path}").raise_for_status()

        first = [each for path in METRICS for each in milliseconds(asked(path), 1)]
        again = [each for path in METRICS for each in milliseconds(asked(path), times)]
    print(shown("a metric, first time", first))
    print(shown("a metric, again", again))


def paging(service: Service, clients: int) -> None:
    """Clients page through a table while it is published again twice."""
    wrong: list[str] = []
    pages = 0
    lock = threading.Lock()

    def page(_: int) -> None:
        nonlocal pages
        with service.client() as client:
            cursor, publications = None, set()
            for _ in range(10):
                parameters = {"limit": 500} | ({"cursor": cursor} if cursor else {})
                answer = client.get("/v1/tables/cross_sell.customer_opportunities", params=parameters)
                if answer.status_code != 200:
                    wrong.append(answer.text)
                    return
                publications.add(answer.json()["meta"]["publication"])
                cursor = answer.json()["next"]
                with lock:
                    pages += 1
            if len(publications) != 1:
                wrong.append(f"pages of {publications}")

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(page, number) for number in range(clients)]
        for _ in range(2):
            time.sleep(1)
            service.publish_again()
        for each in asked:
            each.result()
    seconds = time.perf_counter() - started
    what = f"{clients} clients paging, 2 publications"
    print(f"{what:44} {pages / seconds:7.0f} pages/s, {len(wrong)} wrong {wrong[:1]}")


def mixed(service: Service, published: Path, minutes: float, plot: Path) -> int:
    """Everything at once for a while; draws the memory.

    Returns:
        The exit code: 1 where a request failed, or the service took more memory than it may.
    """
    with duckdb.connect(str(published), read_only=True) as connection:
        keys, categories = (
            [row[0] for row in connection.execute(f"select distinct {key} from {OPPORTUNITIES}").fetchall()]
            for key in ("customer_key", "category_key")
        )
    asked = doors_load.kinds(keys, categories, METRICS)
    load = doors_load.run(
        service.person, asked, lambda: service.memory_megabytes("VmRSS"), service.publish_again, 60 * minutes
    )
    doors_load.picture(load, plot)
    print("\n".join([*doors_load.report(load), f"memory over time: {plot.resolve()}"]))
    return int(bool(load.failures) or load.highest > doors_load.MEMORY_MEGABYTES)


def main() -> int:
    """Run the benchmark.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doors", description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000, help="for one customer's list (default: 2000)")
    parser.add_argument("--clients", type=int, default=50, help="that page at once (default: 50)")
    parser.add_argument("--minutes", type=float, help="of mixed load, in place of the rest; 60 for a judgement")
    parser.add_argument("--plot", type=Path, default=Path("doors-memory.svg"), help="for the picture of the memory")
    chosen = parser.parse_args()
    published = Settings().paths.published
    if not published.exists():
        print(f"error: nothing is published at {published}: make run", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "data", published)
        try:
            print(f"{'from start to the first answer':44} {service.started_in:7.1f} s")
            if chosen.minutes:
                return mixed(service, published, chosen.minutes, chosen.plot)
            customer_lists(service, published, chosen.requests)
            metrics(service, 20)
            paging(service, chosen.clients)
            print(f"{'memory, at most':44} {service.memory_megabytes():7.0f} MiB")
        finally:
            service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""SIGKILL at any moment of a pull: one more pull brings the raw tables to where an undisturbed one would have."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import PROJECT_DIR
from tests.fixtures.shop_api import ShopApi, then
from tests.ingestion import corner_shop
from tests.ingestion.corner_shop import at, customer, fill, line, load_corner_shop, order, product, versions

PULL = """
import sys
from ingestion import sources
sources.__path__.append(sys.argv[1])
from ingestion.load import load
from warehouse.settings import Settings
print("begins", flush=True)
load("corner_shop", Settings().paths, say=lambda line: print(line, flush=True))
"""

MOMENTS = 9


def big_shop(api: ShopApi) -> None:
    """Pages for two seconds: 300 customers, 200 products and 600 orders; some of each are changed by `second_night`."""
    fill(api)
    api.customers = [customer(number) for number in range(1, 301)]
    api.products = [product(number) for number in range(10, 210)]
    api.orders = [
        order(number, number % 20 + 1, line(2 * number, 10 + number % 50), line(2 * number + 1, 11))
        for number in range(1, 601)
    ]
    api.limits = {"orders": 20, "customers": 20, "products": 20}


def second_night(api: ShopApi) -> None:
    """What has changed when the shop is pulled again."""
    for number in range(0, 600, 7):
        api.orders[number] |= {"updated_at": at(21, number % 20), "line_items": [line(5000 + number, 12)]}
    api.orders += [order(number, 21, line(2 * number, 13)) for number in range(601, 701)]
    for number in range(0, 200, 9):
        api.products[number]["title"] = "Renamed"
    for number in range(0, 300, 11):
        api.customers[number] |= {"updated_at": at(21), "accepts_marketing": False}


def start(data: Path, first: str = "") -> "subprocess.Popen[str]":
    """Begin a pull in a process of its own; `first` is Python that it runs before."""
    process = subprocess.Popen(
        [sys.executable, "-c", first + PULL, str(corner_shop.SOURCES)],
        cwd=PROJECT_DIR,
        env={**os.environ, "NEXT_AISLE_DATA": str(data)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


@pytest.fixture
def changed_shop(api: ShopApi, data: Path) -> dict[str, list[str]]:
    """A shop that was pulled and has changed since; what its raw tables held before that."""
    fill(api)
    load_corner_shop()
    before = versions()
    api.orders[0] |= {"updated_at": at(20), "line_items": [line(1, 12)]}
    api.orders.append(order(106, 21, line(10, 13)))
    api.products[0]["title"] = "Whole milk"
    return before


class TestKilled:
    def test_while_pages_are_read(self, api: ShopApi, data: Path, changed_shop: dict[str, list[str]]) -> None:
        api.limits["orders"] = 1
        processes: list[subprocess.Popen[str]] = []
        api.misbehave("orders", then(lambda: processes[0].kill()), request=2)
        processes.append(start(data))
        processes[0].communicate(timeout=60)
        assert processes[0].returncode == -signal.SIGKILL
        assert versions() == changed_shop
        self.check_next_pull()

    def test_when_all_rows_are_written_and_the_load_is_not_closed(
        self, data: Path, changed_shop: dict[str, list[str]]
    ) -> None:
        before_it_is_closed = (
            "import os, signal\n"
            "from dlt.destinations.job_client_impl import SqlJobClientBase\n"
            "SqlJobClientBase.complete_load = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        process = start(data, before_it_is_closed)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert versions() != changed_shop
        self.check_next_pull()

    def check_next_pull(self) -> None:
        """The changes arrive once, and the cursor did not move on without them."""
        report = load_corner_shop()
        assert [table.rows_loaded for table in report.tables.values()] == [0, 1, 2]
        assert corner_shop.lines()[0] == (101, 1, 12)
        assert corner_shop.lines()[-1] == (106, 10, 13)
        deliveries = corner_shop.query(f"select delivery from {corner_shop.DATASET}.deliveries order by all")
        assert [name for (name,) in deliveries] == [
            "customers.json, pull 1",
            "orders.json, pull 1",
            "orders.json, pull 2",
            "products.json, pull 1",
            "products.json, pull 2",
        ]
        assert sum(table.rows_loaded for table in load_corner_shop().tables.values()) == 0


@pytest.mark.slow
def test_killed_at_any_moment(
    api: ShopApi, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Pulls are killed while they read the pages, and after the last one; each is followed by one that is not."""

    def folder(name: str, copy_of: Path | None = None) -> Path:
        path = tmp_path_factory.mktemp(name)
        if copy_of:
            shutil.copytree(copy_of, path, dirs_exist_ok=True)
        monkeypatch.setenv("NEXT_AISLE_DATA", str(path))
        return path

    big_shop(api)
    pulled_once = folder("pulled_once")
    load_corner_shop()
    second_night(api)
    asked: list[float] = []
    api.before_answer = lambda: asked.append(time.monotonic())
    assert start(folder("undisturbed", pulled_once)).wait(timeout=120) == 0
    pages, seconds_after_the_last = len(asked), time.monotonic() - asked[-1]
    undisturbed = versions()
    moments = random.Random(11)
    for moment in range(MOMENTS):
        path = folder(f"killed_{moment}", pulled_once)
        asked.clear()
        # Two of three while the pages are read, the others while the rows are written, or when all is done.
        last_page = moments.randint(1, pages) if moment % 3 else pages
        process = start(path)
        while len(asked) < last_page and process.poll() is None:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.02 if moment % 3 else seconds_after_the_last))
        was_running = process.poll() is None
        process.kill()
        process.communicate()
        assert was_running or not moment % 3
        load_corner_shop()
        assert versions() == undisturbed, f"moment {moment}"
        shutil.rmtree(path)

"""What goes wrong while tables are pulled: half a pull never counts, and the next one is right."""

import datetime as dt
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ingestion.database import DatabaseTable, KeySweep, reading
from tests import here
from tests.ingestion.database.pulled_shop import CREDENTIALS, ForkedLoads, Shop, command

ROWS = 50_000
# How often a pull is killed.
MOMENTS = {"postgresql": 20, "mysql": 10}
ORDERS = DatabaseTable(
    "orders",
    {"id": "bigint", "total": "decimal(12,2)", "updated_at": "timestamp"},
    key="id",
    cursor="updated_at",
    lag=dt.timedelta(minutes=10),
    deleted_by=KeySweep(),
)
PRODUCTS = DatabaseTable("products", {"id": "bigint", "name": "text"})


@pytest.fixture
def orders(shop: Shop) -> Shop:
    """A shop with more orders than are in memory at once."""
    fill(shop, ROWS)
    return shop


def fill(shop: Shop, rows: int) -> None:
    """Give a shop many orders, a second apart, and one product."""
    if shop.backend == "mysql":
        kind, when, numbers = "datetime(6)", "timestamp('2026-11-01') + interval seq second", f"seq_1_to_{rows}"
    else:
        kind, when = "timestamp", "timestamp '2026-11-01' + seq * interval '1 second'"
        numbers = f"generate_series(1, {rows}) as numbers (seq)"
    shop.execute(
        f"create table orders (id bigint primary key, total numeric(12,2), updated_at {kind}, note varchar(200))",
        f"insert into orders select seq, seq / 100.0, {when}, repeat('x', 100) from {numbers}",
        "create table products (id int, name varchar(20))",
        "insert into products values (1, 'a')",
    )
    shop.declare(PRODUCTS, ORDERS)


def change(shop: Shop, rows: int = ROWS) -> None:
    """A day goes by: an order is changed, one is new, one is deleted, and so is a product."""
    shop.execute(
        "update orders set total = 1.50, updated_at = '2026-11-03' where id = 7",
        f"insert into orders values ({rows + 1}, 2.50, '2026-11-03', 'new')",
        "delete from orders where id = 8",
        "delete from products",
        "insert into products values (2, 'b')",
    )


def contents(shop: Shop) -> list[Any]:
    """All raw rows of all loads, without what differs from load to load whatever was loaded."""
    return [
        shop.raw(f"select * exclude (_dlt_load_id, _delivery) from {table} order by all")
        for table in ("orders", "orders_keys", "products")
    ] + [
        shop.raw(
            "select table_name, row_count, origin, cursor_from, cursor_to from deliveries "
            "order by _dlt_load_id, table_name"
        )
    ]


def unfinished(shop: Shop) -> list[Any]:
    """Rows of loads that dlt never closed, and deliveries whose rows are not there."""
    rows = []
    for table in ("orders", "orders_keys", "products", "deliveries"):
        rows += shop.raw(
            f"select '{table}', count(*) from {table} "
            "where _dlt_load_id not in (select load_id from _dlt_loads where status = 0) having count(*) > 0"
        )
    for table in ("orders", "orders_keys", "products"):
        rows += shop.raw(
            f"select delivery, row_count, count({table}._delivery) as arrived from deliveries left join {table} "
            f"on _delivery = delivery and {table}._dlt_load_id = deliveries._dlt_load_id "
            f"where table_name = '{table}' group by delivery, row_count, deliveries._dlt_load_id "
            "having row_count <> arrived"
        )
    return rows


def after_first_chunk(monkeypatch: pytest.MonkeyPatch, table: str, fault: Callable[[], None]) -> None:
    """Have something happen when the first rows of a table were read, and many are still to come."""
    read = reading.Reading.rows

    def rows(of: Any, query: Any) -> Iterator[Any]:
        came = False
        for chunk in read(of, query):
            yield chunk
            if of.table.name == table and chunk.num_rows and not came:
                came = True
                fault()

    monkeypatch.setattr(reading.Reading, "rows", rows)


class TestTheServer:
    def cut(self, shop: Shop) -> None:
        """End all other connections to the shop's database."""
        with shop.connect() as connection:
            if shop.backend == "postgresql":
                connection.exec_driver_sql(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )
                return
            others = connection.exec_driver_sql(
                "select id from information_schema.processlist where db = database() and id <> connection_id()"
            ).fetchall()
            for (number,) in others:
                connection.exec_driver_sql(f"kill {number}")

    def test_a_connection_cut_in_the_middle_loads_nothing_and_the_next_pull_is_whole(
        self, orders: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        orders.pull("products")
        before = contents(orders)
        with monkeypatch.context() as patch:
            after_first_chunk(patch, "orders", lambda: self.cut(orders))
            message = orders.refused()
        assert f"/{orders.url.database}: reading orders failed: " in message
        assert message.endswith(". Nothing was loaded; run again.")
        assert contents(orders) == before
        assert orders.pull().tables["orders"].rows_loaded == ROWS
        assert unfinished(orders) == []

    @pytest.mark.slow
    def test_a_server_that_crashes_in_the_middle_and_comes_back(
        self, orders: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        orders.pull("products")
        before = contents(orders)
        with monkeypatch.context() as patch:
            after_first_chunk(patch, "orders", lambda: orders.server.stop(signal.SIGKILL))
            assert "reading orders failed: " in orders.refused()
        assert "cannot connect to " in orders.refused()
        orders.server.start()
        assert contents(orders) == before
        orders.pull()
        assert unfinished(orders) == []
        assert orders.raw("select count(distinct id) from orders") == [(ROWS,)]

    @pytest.mark.slow
    def test_credentials_that_expire(self, orders: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        if orders.backend == "postgresql":
            orders.execute("create role puller login password 'old' in role pg_read_all_data")
            expire = "alter role puller valid until '2020-01-01'"
        else:
            orders.execute("create user puller@'%' identified by 'old'", "grant select on *.* to puller@'%'")
            expire = "alter user puller@'%' identified by 'new'"
        url = sa.make_url(orders.credentials).set(username="puller", password="old")
        monkeypatch.setenv(CREDENTIALS, url.render_as_string(hide_password=False))
        # A pull under way is not disturbed; the next one cannot begin.
        after_first_chunk(monkeypatch, "orders", lambda: orders.execute(expire))
        assert orders.pull().tables["orders"].rows_loaded == ROWS
        before = contents(orders)
        message = orders.refused()
        assert message.startswith(f"cannot connect to {orders.backend}://")
        assert CREDENTIALS in message
        assert contents(orders) == before
        orders.execute("drop role puller" if orders.backend == "postgresql" else "drop user puller@'%'")

    def test_a_table_that_is_altered_while_it_is_read(
        self, mysql_orders: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """MySQL's snapshots do not hold the columns of tables; the server itself ends the pull."""
        alter = "alter table orders add channel varchar(5), algorithm = copy"
        after_first_chunk(monkeypatch, "products", lambda: mysql_orders.execute(alter))
        message = mysql_orders.refused()
        assert "reading orders failed: Table definition has changed, please retry transaction" in message
        monkeypatch.undo()

    @pytest.fixture
    def mysql_orders(self, mysql: Shop) -> Shop:
        mysql.execute(
            "create table orders (id bigint primary key, total numeric(12,2), updated_at datetime)",
            "create table products (id int, name varchar(20))",
            "insert into products values (1, 'a')",
        )
        mysql.declare(PRODUCTS, ORDERS)
        return mysql


@pytest.mark.slow
def test_an_error_in_the_middle_of_many_rows_is_said_at_once_and_nothing_else_is_printed(orders: Shop) -> None:
    orders.execute("update orders set total = 1234567.89 where id = 5")
    orders.declare(DatabaseTable("orders", {"id": "bigint", "total": "decimal(6,2)"}))
    done = subprocess.run(**command(orders), capture_output=True, timeout=120)
    assert done.returncode == 1
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert lines[0].startswith("my_shop: reading orders from ")
    assert "'1234567.89' in column total does not fit decimal(6,2)" in lines[1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB; only root can make one."""
    disk = tmp_path / "data"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.slow
def test_a_full_disk_loads_nothing_and_the_next_pull_is_right(orders: Shop, small_disk: Path) -> None:
    orders.pull()
    change(orders)
    before = contents(orders)
    # More rows than the disk has room for.
    filler = small_disk / "filler"
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    for kept_free in (100_000, 600_000, 2_000_000):
        filler.write_bytes(bytes(max(0, free - kept_free)))
        full = subprocess.run(**command(orders), capture_output=True, timeout=120)
        assert full.returncode == 1, (kept_free, full.stdout)
        assert "the disk is full: " in full.stderr, full.stderr
        assert "Traceback" not in full.stderr
        filler.unlink()
        assert contents(orders) == before
    orders.pull()
    assert unfinished(orders) == []
    assert orders.raw("select count(distinct id) from orders") == [(ROWS + 1,)]


@pytest.mark.slow
def test_killed_at_any_moment_one_plain_run_ends_as_an_undisturbed_one(shop: Shop) -> None:
    fill(shop, rows=3_000)
    data = here.paths().root
    shop.pull()
    first = data.with_name("first_pull")
    shutil.copytree(data, first)
    change(shop, rows=3_000)

    def begin() -> None:
        shutil.rmtree(data)
        shutil.copytree(first, data)

    with ForkedLoads(shop) as loads:
        assert loads.load() == 0
        started = time.monotonic()
        begin()
        assert loads.load() == 0
        seconds = time.monotonic() - started
        # A run that was killed when all was done is followed by one more pull.
        undisturbed = {2: contents(shop)}
        shop.pull()
        undisturbed[3] = contents(shop)

        chance = random.Random(20261101)
        ends = []
        killed = 0
        for moment in range(MOMENTS[shop.backend]):
            begin()
            killed += loads.load(kill_after=seconds * chance.uniform(0, 1)) == -signal.SIGKILL
            shop.pull()
            number = shop.raw("select count(distinct _dlt_load_id) from deliveries")[0][0]
            assert contents(shop) == undisturbed[number], moment
            assert unfinished(shop) == []
            ends.append(number)
    assert killed > len(ends) / 2
    assert 2 in ends, "at least one was killed before its load was done"

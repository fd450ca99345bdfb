"""Tables pulled from real databases: which rows come, which are read again, and which were deleted."""

import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dlt
import pytest
import sqlalchemy as sa

from ingestion.database import DatabaseTable, KeySweep, SoftDelete, reading
from ingestion.load import load
from ingestion.raw_tables import LoadError
from tests import here
from tests.ingestion.database.pulled_shop import CREDENTIALS, ON_BOTH, Shop

NOON = dt.datetime(2026, 11, 1, 12)
PRODUCTS = DatabaseTable("products", {"id": "bigint", "name": "text"}, key="id")
ORDERS = DatabaseTable(
    "orders",
    {"id": "bigint", "total": "decimal(12,2)", "updated_at": "timestamp"},
    key="id",
    cursor="updated_at",
    lag=dt.timedelta(hours=1),
)


def order(number: int, total: str, updated_at: dt.datetime | None) -> str:
    when = f"'{updated_at}'" if updated_at else "null"
    return f"insert into orders (id, total, updated_at) values ({number}, {total}, {when})"


@pytest.fixture
def orders(shop: Shop) -> Shop:
    return with_orders(shop)


def with_orders(shop: Shop) -> Shop:
    """Give a shop three orders, one each hour until noon, and declare the source."""
    shop.execute(
        "create table orders (id bigint primary key, total numeric(12,2), "
        f"updated_at {'datetime(6)' if shop.backend == 'mysql' else 'timestamp'})",
        *(order(number, f"{number}.00", NOON - dt.timedelta(hours=3 - number)) for number in (1, 2, 3)),
    )
    shop.declare(ORDERS)
    return shop


def newest(shop: Shop) -> list[tuple[Any, ...]]:
    """The rows that count: the newest of each order."""
    return shop.raw(
        "select id, cast(total as varchar) from orders "
        "qualify row_number() over (partition by id order by _dlt_load_id desc) = 1 order by id"
    )


def loaded(shop: Shop) -> list[list[int]]:
    """The numbers of the orders that each pull brought, in the order of the pulls."""
    return [
        numbers
        for (numbers,) in shop.raw(
            "select coalesce(list(orders.id order by orders.id) filter (orders.id is not null), []) "
            "from deliveries left join orders on orders._delivery = deliveries.delivery "
            "and orders._dlt_load_id = deliveries._dlt_load_id where table_name = 'orders' "
            "group by deliveries._dlt_load_id order by deliveries._dlt_load_id"
        )
    ]


class TestAWholeTable:
    @pytest.fixture
    def products(self, shop: Shop) -> Shop:
        shop.execute(
            "create table products (id int, name varchar(20))", "insert into products values (1, 'a'), (2, 'b')"
        )
        shop.declare(PRODUCTS)
        return shop

    def test_the_newest_pull_counts_as_a_whole(self, products: Shop) -> None:
        products.pull()
        products.execute("delete from products where id = 1", "insert into products values (3, 'c')")
        products.pull()
        versions = "select list(id order by id) from products group by _dlt_load_id order by _dlt_load_id"
        assert products.raw(versions) == [([1, 2],), ([2, 3],)]
        assert products.raw("select delivery, row_count, digest, cursor_to from deliveries") == [
            ("products", 2, None, None),
            ("products", 2, None, None),
        ]

    def test_the_ledger_names_server_and_table_and_no_user(self, products: Shop) -> None:
        products.pull()
        port, database = products.url.port, products.url.database
        assert products.raw("select origin from deliveries") == [
            (f"{products.backend}://127.0.0.1:{port}/{database}/products",)
        ]

    @pytest.mark.slow
    def test_a_table_without_rows_is_a_delivery_too(self, products: Shop) -> None:
        products.execute("delete from products")
        report = products.pull().tables["products"]
        assert (report.deliveries_loaded, report.rows_loaded, report.rows_total) == (1, 0, 0)
        assert products.raw("select row_count from deliveries") == [(0,)]

    def test_a_schema_and_a_view(self, postgresql: Shop) -> None:
        postgresql.execute(
            'create schema "Sales"', 'create view "Sales".totals as select 1 as id, 2 as total union all select 2, 3'
        )
        postgresql.declare(DatabaseTable("totals", {"id": "bigint"}, table="Sales.totals"))
        postgresql.pull()
        assert postgresql.raw("select id, total, _delivery from totals order by id") == [
            (1, 2, "Sales.totals"),
            (2, 3, "Sales.totals"),
        ]

    @pytest.mark.slow
    def test_superseded_pulls_are_removed_after_a_while(self, products: Shop) -> None:
        products.pull()
        products.execute("delete from products where id = 1")
        products.pull()
        load("my_shop", here.paths(), say=lambda _line: None, keep_superseded_days=0)
        assert products.raw("select id from products") == [(2,)]


class TestACursor:
    def test_only_rows_from_the_last_value_less_the_lag_are_read(self, orders: Shop) -> None:
        orders.pull()
        orders.pull()
        # The second order is exactly one lag before the third.
        assert loaded(orders) == [[1, 2, 3], [2, 3]]
        orders.execute(order(4, "4.00", NOON + dt.timedelta(hours=2)))
        orders.pull()
        orders.pull()
        assert loaded(orders) == [[1, 2, 3], [2, 3], [2, 3, 4], [4]]
        assert orders.raw("select cursor_from, cursor_to from deliveries order by _dlt_load_id") == [
            (None, "2026-11-01 12:00:00"),
            ("2026-11-01 11:00:00", "2026-11-01 12:00:00"),
            ("2026-11-01 11:00:00", "2026-11-01 14:00:00"),
            ("2026-11-01 13:00:00", "2026-11-01 14:00:00"),
        ]
        # Each pull is a delivery of its own.
        names = {name for (name,) in orders.raw("select delivery from deliveries")}
        assert len(names) == 4
        assert all(name.startswith("orders at 20") for name in names)

    @pytest.mark.slow
    def test_one_table_can_be_pulled_alone_and_the_others_exist_empty(self, orders: Shop) -> None:
        orders.execute("create table products (id int, name varchar(20))", "insert into products values (1, 'a')")
        orders.declare(PRODUCTS, ORDERS)
        assert set(orders.pull("products").tables) == {"products"}
        assert orders.raw("select count(*) from orders") == [(0,)]
        orders.pull()
        assert loaded(orders) == [[1, 2, 3]]

    @pytest.mark.slow
    def test_a_changed_row_is_a_newer_version(self, orders: Shop) -> None:
        orders.pull()
        orders.execute(f"update orders set total = 1.50, updated_at = '{NOON + dt.timedelta(days=1)}' where id = 1")
        orders.pull()
        assert newest(orders) == [(1, "1.50"), (2, "2.00"), (3, "3.00")]
        assert orders.raw("select cast(total as varchar) from orders where id = 1 order by _dlt_load_id") == [
            ("1.00",),
            ("1.50",),
        ]

    def test_a_row_changed_again_within_the_same_tick_is_not_lost(self, orders: Shop) -> None:
        orders.declare(replace(ORDERS, lag=dt.timedelta()))
        orders.pull()
        orders.execute("update orders set total = 9.00 where id = 3", order(4, "4.00", NOON))
        orders.pull()
        assert loaded(orders) == [[1, 2, 3], [3, 4]]
        assert newest(orders) == [(1, "1.00"), (2, "2.00"), (3, "9.00"), (4, "4.00")]

    def test_a_row_that_is_committed_late_is_read_when_it_is_within_the_lag(self, orders: Shop) -> None:
        with orders.transaction() as late:
            late.exec_driver_sql(order(4, "4.00", NOON - dt.timedelta(minutes=59)))
            orders.pull()
        orders.pull()
        assert loaded(orders) == [[1, 2, 3], [2, 3, 4]]

    @pytest.mark.slow
    def test_rows_without_a_cursor_value_are_read_each_time(self, orders: Shop) -> None:
        orders.execute(order(4, "4.00", None))
        orders.pull()
        orders.pull()
        assert loaded(orders) == [[1, 2, 3, 4], [2, 3, 4]]

    def test_a_date_of_the_future_does_not_hide_changes_before_it(self, orders: Shop) -> None:
        orders.execute(order(4, "4.00", dt.datetime(2999, 1, 1)))
        (warning,) = orders.pull().tables["orders"].warnings
        assert warning == (
            "updated_at: 1 values are more than a day ahead of the database's clock; "
            "these rows are read again each time"
        )
        orders.execute(order(5, "5.00", NOON + dt.timedelta(hours=2)))
        orders.pull()
        assert loaded(orders) == [[1, 2, 3, 4], [2, 3, 4, 5]]

    def test_a_new_column_has_all_rows_read_again(self, orders: Shop) -> None:
        orders.pull()
        orders.execute("alter table orders add channel varchar(5) default 'web'")
        report = orders.pull().tables["orders"]
        assert report.new_columns == {"channel": "text"}
        assert report.warnings == ["all rows are read again: those read earlier do not have channel"]
        assert orders.pull().tables["orders"].warnings == []
        assert loaded(orders) == [[1, 2, 3], [1, 2, 3], [2, 3]]

    @ON_BOTH
    def test_a_key_that_several_rows_have_stops_the_load(self, orders: Shop) -> None:
        orders.execute(
            "create view order_lines as select id, line, updated_at from orders "
            "cross join (select 1 as line union all select 2) as numbers"
        )
        columns = {"id": "bigint", "line": "bigint", "updated_at": "timestamp"}
        lines = DatabaseTable("order_lines", columns, key="id", cursor="updated_at", lag=dt.timedelta())
        orders.declare(lines)
        message = orders.refused()
        assert message.startswith("order_lines: 2 rows have the key id ")
        assert message.endswith(
            ". Declare a key that each row has for itself, or have the rows corrected; nothing was loaded."
        )
        orders.declare(replace(lines, key=("id", "line")))
        assert orders.pull().tables["order_lines"].rows_loaded == 6

    def test_more_rows_than_are_in_memory_at_once(self, orders: Shop) -> None:
        numbers = (
            "select seq from seq_10_to_50009" if orders.backend == "mysql" else "select generate_series(10, 50009)"
        )
        orders.execute(
            f"insert into orders select seq, 1.00, '{NOON}' from ({numbers}) as numbers (seq)"
            if orders.backend == "postgresql"
            else f"insert into orders select seq, 1.00, '{NOON}' from ({numbers}) as numbers"
        )
        assert orders.pull().tables["orders"].rows_loaded == 50_003
        assert orders.raw("select count(distinct id), count(*) from orders") == [(50_003, 50_003)]

    @pytest.mark.parametrize(
        ("kind", "lag", "values", "expected"),
        [
            pytest.param("bigint", 2, ["1", "2", "3", "4", "5"], [3, 4, 5], marks=pytest.mark.slow),
            pytest.param(
                "date",
                dt.timedelta(days=1),
                ["'2026-11-01'", "'2026-11-02'", "'2026-11-03'"],
                [2, 3],
                marks=pytest.mark.slow,
            ),
            # The night in which Berlin's clock shows half past two twice; microseconds count.
            (
                "timestamp with time zone",
                dt.timedelta(seconds=1),
                [f"'2026-10-25 {time}'" for time in ("00:30", "01:29:59", "01:29:59.000001", "01:30:00.000001")],
                [3, 4],
            ),
        ],
    )
    def test_other_kinds_of_cursors(
        self, shop: Shop, kind: str, lag: Any, values: list[str], expected: list[int]
    ) -> None:
        sql = kind if shop.backend == "postgresql" or kind != "timestamp with time zone" else "timestamp(6) null"
        shop.execute(
            f"create table orders (id int, version {sql})",
            "set time zone 'UTC'" if shop.backend == "postgresql" else "set time_zone = '+00:00'",
            *(f"insert into orders values ({number}, {value})" for number, value in enumerate(values, 1)),
        )
        shop.declare(DatabaseTable("orders", {"id": "bigint", "version": kind}, key="id", cursor="version", lag=lag))
        shop.pull()
        shop.pull()
        assert loaded(shop)[1] == expected


class TestWhatDltRemembers:
    """The cursor's last value is in the warehouse, with the rows it stands for; the kind of server does not matter."""

    @pytest.fixture
    def orders(self, postgresql: Shop) -> Shop:
        return with_orders(postgresql)

    def test_it_survives_the_loss_of_the_working_folder(self, orders: Shop) -> None:
        orders.pull()
        shutil.rmtree(here.paths().dlt)
        orders.pull()
        assert loaded(orders) == [[1, 2, 3], [2, 3]]

    @pytest.mark.slow
    def test_it_is_kept_for_a_table_that_is_not_loaded_for_a_while(self, orders: Shop) -> None:
        orders.execute("create table products (id int, name varchar(20))")
        orders.declare(PRODUCTS, ORDERS)
        orders.pull()
        orders.pull("products")
        orders.pull()
        assert loaded(orders) == [[1, 2, 3], [2, 3]]

    @pytest.mark.slow
    def test_when_it_is_lost_the_next_pull_reads_all_rows(self, orders: Shop) -> None:
        orders.pull()
        with here.connect() as connection:
            connection.execute("delete from raw_my_shop._dlt_pipeline_state")
        orders.pull()
        assert loaded(orders) == [[1, 2, 3], [1, 2, 3]]

    @pytest.mark.slow
    def test_when_the_rows_are_lost_the_next_pull_reads_all_rows(self, orders: Shop) -> None:
        orders.pull()
        with here.connect() as connection:
            connection.execute("delete from raw_my_shop.orders; delete from raw_my_shop.deliveries")
        orders.pull()
        assert loaded(orders) == [[1, 2, 3]]

    def test_a_load_that_fails_leaves_it_as_it_was(self, orders: Shop) -> None:
        orders.pull()
        orders.execute(order(4, "4.00", NOON + dt.timedelta(hours=2)), "create table products (id int, name int)")
        orders.declare(replace(ORDERS, columns={**ORDERS.columns, "total": "decimal(2,2)"}), PRODUCTS)
        orders.refused()
        orders.declare(ORDERS)
        orders.pull()
        assert loaded(orders) == [[1, 2, 3], [2, 3, 4]]

    @pytest.mark.slow
    def test_another_cursor_begins_from_the_start(self, orders: Shop) -> None:
        orders.pull()
        orders.declare(replace(ORDERS, cursor="id", lag=0))
        orders.pull()
        orders.pull()
        assert loaded(orders) == [[1, 2, 3], [1, 2, 3], [3]]


class TestDeletedRows:
    def test_a_key_sweep_reads_all_keys_from_the_same_snapshot(self, orders: Shop) -> None:
        orders.declare(replace(ORDERS, deleted_by=KeySweep()))
        assert set(orders.pull().tables) == {"orders", "orders_keys"}
        orders.execute("delete from orders where id = 1")
        orders.pull()
        sweeps = "select list(id order by id) from orders_keys group by _dlt_load_id order by _dlt_load_id"
        assert orders.raw(sweeps) == [([1, 2, 3],), ([2, 3],)]
        assert orders.raw("select distinct delivery from deliveries where table_name = 'orders_keys'") == [("orders",)]

    @pytest.mark.slow
    def test_rows_that_were_committed_later_than_the_lag_are_noticed_and_read(self, orders: Shop) -> None:
        orders.declare(replace(ORDERS, deleted_by=KeySweep()))
        with orders.transaction() as late:
            late.exec_driver_sql(order(4, "4.00", NOON - dt.timedelta(hours=5)))
            orders.pull()
        # The sweep sees the row, but no pull brought it.
        assert orders.pull().tables["orders"].warnings == []
        assert loaded(orders) == [[1, 2, 3], [2, 3]]
        assert orders.pull().tables["orders"].warnings == [
            "1 rows of the last key sweep were never read, for they were committed later than the lag: "
            "all rows are read again; state a longer lag"
        ]
        assert orders.pull().tables["orders"].warnings == []
        assert loaded(orders) == [[1, 2, 3], [2, 3], [1, 2, 3, 4], [2, 3]]

    @pytest.mark.slow
    def test_a_key_of_several_columns(self, shop: Shop) -> None:
        shop.execute(
            "create table order_lines (order_id int, line int, amount int, changed bigint)",
            "insert into order_lines values (1, 1, 5, 1), (1, 2, 6, 1)",
        )
        columns = {"order_id": "bigint", "line": "bigint", "changed": "bigint"}
        shop.declare(
            DatabaseTable(
                "order_lines", columns, key=("order_id", "line"), cursor="changed", lag=0, deleted_by=KeySweep()
            )
        )
        shop.pull()
        assert shop.raw("select order_id, line from order_lines_keys order by all") == [(1, 1), (1, 2)]

    @pytest.mark.slow
    def test_a_soft_delete_is_a_change_like_any_other(self, orders: Shop) -> None:
        orders.execute("alter table orders add deleted_at timestamp null")
        columns = {**ORDERS.columns, "deleted_at": "timestamp"}
        if orders.backend == "mysql":
            columns["deleted_at"] = "timestamp with time zone"
        orders.declare(replace(ORDERS, columns=columns, deleted_by=SoftDelete("deleted_at")))
        orders.pull()
        later = NOON + dt.timedelta(hours=2)
        orders.execute(f"update orders set deleted_at = '{later}', updated_at = '{later}' where id = 1")
        orders.pull()
        assert orders.raw("select id, deleted_at is not null from orders order by _dlt_load_id desc, id limit 1") == [
            (1, True)
        ]


class TestOneSnapshot:
    @ON_BOTH
    def test_rows_committed_while_tables_are_read_come_with_the_next_pull_in_all_of_them(
        self, orders: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        orders.execute("create table products (id int, name varchar(20))", "insert into products values (1, 'a')")
        orders.declare(PRODUCTS, ORDERS)
        # After the first table was read, an order of a new product is committed.
        read = reading.Reading.rows

        def rows(of: Any, query: Any) -> Iterator[Any]:
            yield from read(of, query)
            if of.table.name == "products":
                with orders.transaction() as sale:
                    sale.exec_driver_sql("insert into products values (2, 'b')")
                    sale.exec_driver_sql(order(4, "4.00", NOON))

        monkeypatch.setattr(reading.Reading, "rows", rows)
        orders.pull()
        assert orders.raw("select id from products") == [(1,)]
        assert loaded(orders) == [[1, 2, 3]]
        monkeypatch.undo()

    @pytest.mark.parametrize("kind", ["a table", pytest.param("a partitioned table", marks=pytest.mark.slow)])
    def test_a_table_that_is_emptied_and_filled_while_it_is_read_stops_the_load(
        self, postgresql: Shop, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        """To PostgreSQL's snapshot it looks empty."""
        postgresql.execute(
            "create table orders (id int)",
            f"create table products (id int, name text) {'partition by range (id)' if 'part' in kind else ''}",
        )
        if "part" in kind:
            postgresql.execute("create table some_products partition of products for values from (0) to (10)")
        postgresql.execute("insert into products values (1, 'a')")
        postgresql.declare(DatabaseTable("orders", {"id": "bigint"}), PRODUCTS)
        postgresql.pull()
        read = reading.Reading.rows

        def rows(of: Any, query: Any) -> Iterator[Any]:
            yield from read(of, query)
            if of.table.name == "orders":
                with postgresql.transaction() as nightly:
                    nightly.exec_driver_sql("truncate products")
                    nightly.exec_driver_sql("insert into products values (1, 'b')")

        monkeypatch.setattr(reading.Reading, "rows", rows)
        assert postgresql.refused() == (
            f"postgresql://127.0.0.1:{postgresql.url.port}/{postgresql.url.database}: products was truncated or "
            "altered while it was read. Nothing was loaded; run again."
        )
        monkeypatch.undo()

    @pytest.mark.slow
    def test_a_table_without_snapshots_is_reported(self, mysql: Shop) -> None:
        mysql.execute("create table products (id int, name varchar(20)) engine = MyISAM")
        mysql.execute("create view names as select name from products")
        mysql.declare(PRODUCTS, DatabaseTable("names", {"name": "text"}))
        report = mysql.pull()
        assert report.tables["products"].warnings == [
            "not stored by InnoDB: rows that changed while tables were read may not fit together"
        ]
        assert report.tables["names"].warnings == []


class TestCredentials:
    def test_without_any_the_message_names_the_variable(self, orders: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(CREDENTIALS)
        assert orders.refused() == (
            "source my_shop has no credentials. Set SOURCES__MY_SHOP__CREDENTIALS to the database's address, such as "
            "postgresql://USER:PASSWORD@HOST:5432/DATABASE, or `credentials` in [sources.my_shop] of "
            ".dlt/secrets.toml; nothing was loaded."
        )

    @pytest.mark.parametrize(
        "value", ["s3cret", "s3cret@host/shop", "postgresql:s3cret", "postgresql://u:s3cret@h:port/d"]
    )
    def test_what_is_no_address_is_not_shown(
        self, value: str, postgresql: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        postgresql.declare(PRODUCTS)
        monkeypatch.setenv(CREDENTIALS, value)
        assert postgresql.refused() == (
            "SOURCES__MY_SHOP__CREDENTIALS cannot be read: it must be an address such as "
            "postgresql://USER:PASSWORD@HOST:5432/DATABASE."
        )

    def test_another_kind_of_database_is_refused(self, postgresql: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        postgresql.declare(PRODUCTS)
        monkeypatch.setenv(CREDENTIALS, "oracle://u:s3cret@host/d")
        assert postgresql.refused() == (
            "SOURCES__MY_SHOP__CREDENTIALS names a database of type oracle: it must be postgresql or mysql."
        )

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"password": "n0t:it@s/e%cret"}, "password authentication failed|Access denied for user"),
            ({"username": "nobody"}, "password authentication failed|Access denied for user"),
            ({"database": "nowhere"}, "nowhere"),
            ({"port": 1}, "refused"),
            ({"query": {"s3cret_option": "1"}}, "s3cret_option"),
        ],
    )
    def test_those_that_do_not_work_are_named_and_never_shown(
        self, orders: Shop, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], reason: str
    ) -> None:
        url = sa.make_url(orders.credentials).set(**change)
        monkeypatch.setenv(CREDENTIALS, url.render_as_string(hide_password=False))
        message = orders.refused()
        assert message.startswith(f"cannot connect to {orders.backend}://127.0.0.1:{url.port}/{url.database}: ")
        assert message.endswith(". Check the server and SOURCES__MY_SHOP__CREDENTIALS; nothing was loaded.")
        assert any(part in message for part in reason.split("|")), message
        assert str(url.password) not in message

    def test_the_password_is_not_in_any_file_after_a_load_or_a_failure(self, orders: Shop) -> None:
        orders.pull()
        orders.execute("alter table orders drop column total")
        orders.refused()
        for file in here.paths().root.rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                assert b"s3cret" not in content, file

    def test_they_may_stand_in_the_secrets_file(self, orders: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(CREDENTIALS)
        folder = orders.code.parent / "project"
        (folder / ".dlt").mkdir(parents=True)
        (folder / ".dlt" / "secrets.toml").write_text(f'[sources.my_shop]\ncredentials = "{orders.credentials}"\n')
        monkeypatch.chdir(folder)
        dlt.current.run_context().reload()
        try:
            assert orders.pull().tables["orders"].rows_loaded == 3
        finally:
            monkeypatch.undo()
            dlt.current.run_context().reload()

    def test_a_table_that_there_is_not_is_named(self, orders: Shop) -> None:
        orders.declare(DatabaseTable("refunds", {"id": "bigint"}, table=f"{orders.url.database}.refunds"))
        message = orders.refused()
        assert " has no table refunds in shop_" in message
        assert message.endswith(" that shop may read. Correct its name in the source's module; nothing was loaded.")

    def test_a_table_that_may_not_be_read_is_named(self, postgresql: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        postgresql.execute("create table products (id int, name text)", "create role reader login password 's3cret'")
        postgresql.declare(PRODUCTS)
        url = sa.make_url(postgresql.credentials).set(username="reader", password="s3cret")
        monkeypatch.setenv(CREDENTIALS, url.render_as_string(hide_password=False))
        message = postgresql.refused()
        assert message.endswith(
            "reading products failed: permission denied for table products. Have SELECT on it granted to reader; "
            "nothing was loaded."
        )


class TestADeclaration:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"key": "number"}, "number must be one of the columns"),
            ({"cursor": "changed"}, "changed must be one of the columns"),
            ({"deleted_by": SoftDelete("gone")}, "gone must be one of the columns"),
            ({"key": None}, "a cursor needs a key: what is read again is a newer version of the same key"),
            ({"lag": None}, "state the lag, a timedelta: how long after updated_at was set a row may be committed"),
            (
                {"cursor": "id", "lag": dt.timedelta()},
                "state the lag, a number: how long after id was set a row may be committed",
            ),
            ({"cursor": "total"}, "the cursor total must be a timestamp, a date or a bigint, not decimal(12,2)"),
            (
                {"cursor": None},
                "lag and deleted_by need a cursor: of a table that is read whole the newest pull counts",
            ),
        ],
    )
    def test_that_cannot_work_is_refused_when_it_is_read(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(LoadError) as raised:
            replace(ORDERS, **options)
        assert str(raised.value) == f"the declaration of the table orders is wrong: {message}."

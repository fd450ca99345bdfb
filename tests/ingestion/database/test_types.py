"""Every type a shop may use, from the database to the raw table and back; and columns that change."""

from dataclasses import replace
from decimal import Decimal

import pytest

from ingestion.database import DatabaseTable
from ingestion.raw_tables import LoadError
from tests.ingestion.database.pulled_shop import BOTH, CREDENTIALS, Shop

# Type in the database, type in the raw table, and each value as SQL with the text that the raw table shows for it.
Matrix = list[tuple[str, str, dict[str, str | None]]]

POSTGRESQL: Matrix = [
    ("smallint", "BIGINT", {"-32768": "-32768"}),
    (
        "bigint",
        "BIGINT",
        {"9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808"},
    ),
    ("numeric", "VARCHAR", {"1.10": "1.10", "'NaN'": "NaN", "'Infinity'": "Infinity", "1e40": "1" + 40 * "0"}),
    ("numeric(12,2)", "DECIMAL(12,2)", {"9999999999.99": "9999999999.99", "-0.01": "-0.01", "'NaN'": None}),
    (
        "numeric(38,10)",
        "DECIMAL(38,10)",
        {"1234567890123456789012345678.0123456789": "1234567890123456789012345678.0123456789"},
    ),
    ("numeric(50,5)", "VARCHAR", {"1.5": "1.50000"}),
    ("numeric(3,5)", "VARCHAR", {"0.00123": "0.00123"}),
    ("numeric(5,-2)", "VARCHAR", {"1234567": "1234600"}),
    # The shortest number that stands for the stored one.
    ("real", "DOUBLE", {"0.1": "0.1", "'NaN'": "nan", "'-Infinity'": "-inf"}),
    ("double precision", "DOUBLE", {"0.1": "0.1", "5e-324": "5e-324", "'-0'": "-0.0", "'Infinity'": "inf"}),
    ("money", "DECIMAL(21,4)", {"'-92233720368547758.08'": "-92233720368547758.0800", "12.34": "12.3400"}),
    ("boolean", "BOOLEAN", {"true": "true", "false": "false"}),
    (
        "date",
        "DATE",
        {
            "'2026-02-28'": "2026-02-28",
            "'infinity'": "infinity",
            "'-infinity'": "-infinity",
            "'0044-03-15 BC'": "0044-03-15 (BC)",
            "'10000-01-01'": "10000-01-01",
        },
    ),
    (
        "timestamp",
        "TIMESTAMP",
        {
            "'2026-03-29 02:30:00.123456'": "2026-03-29 02:30:00.123456",
            "'1969-12-31 23:59:59.999999'": "1969-12-31 23:59:59.999999",
            "'infinity'": "infinity",
            "'-infinity'": "-infinity",
            "'0044-03-15 12:00 BC'": "0044-03-15 (BC) 12:00:00",
        },
    ),
    (
        "timestamp with time zone",
        "TIMESTAMP WITH TIME ZONE",
        {
            "'2026-03-29 02:30:00.123456+02'": "2026-03-29 00:30:00.123456+00",
            "'1900-01-01 00:00:00+05:30'": "1899-12-31 18:30:00+00",
            "'infinity'": "infinity",
        },
    ),
    ("time", "TIME", {"'23:59:59.999999'": "23:59:59.999999", "'24:00:00'": "24:00:00"}),
    ("time with time zone", "VARCHAR", {"'12:00:00+02'": "12:00:00+02"}),
    ("interval", "VARCHAR", {"'1 year 2 mons -3 days 04:05:06.7'": "1 year 2 mons -3 days +04:05:06.7"}),
    ("uuid", "VARCHAR", {"'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}),
    ("json", "JSON", {"""'{"a":  1.10, "ä": [null]}'""": '{"a":  1.10, "ä": [null]}', "'null'": "null"}),
    ("jsonb", "JSON", {"""'{"b":2,"a":1.10}'""": '{"a": 1.10, "b": 2}', """'"text"'""": '"text"'}),
    ("int[]", "JSON", {"'{1,NULL,3}'": "[1, null, 3]", "'{{1,2},{3,4}}'": "[[1, 2], [3, 4]]", "'{}'": "[]"}),
    ("text[]", "JSON", {"""array['a"b', 'ü']""": '["a\\"b", "ü"]'}),
    ("mood", "VARCHAR", {"'sad'": "sad"}),
    ("mood[]", "JSON", {"'{sad,ok}'": '["sad", "ok"]'}),
    ("positive", "BIGINT", {"7": "7"}),
    ("bytea", "BLOB", {"'\\x00ff'": "\\x00\\xFF", "''": ""}),
    ("text", "VARCHAR", {"'日本語 🙂 עברית'": "日本語 🙂 עברית", "''": "", "E'a\\nb\\t'": "a\nb\t"}),
    ("varchar(5)", "VARCHAR", {"'ab  '": "ab  "}),
    ("char(5)", "VARCHAR", {"'ab'": "ab   "}),
    ("citext", "VARCHAR", {"'MiXed'": "MiXed"}),
    ("hstore", "VARCHAR", {"'a=>1,b=>NULL'": '"a"=>"1", "b"=>NULL'}),
    ("inet", "VARCHAR", {"'10.0.0.1/8'": "10.0.0.1/8"}),
    ("bit(3)", "VARCHAR", {"B'101'": "101"}),
    ("xml", "VARCHAR", {"'<a/>'": "<a/>"}),
    ("point", "VARCHAR", {"'(1,2)'": "(1,2)"}),
    ("int4range", "VARCHAR", {"'[1,5)'": "[1,5)"}),
    ("oid", "VARCHAR", {"4294967295": "4294967295"}),
]

MYSQL: Matrix = [
    ("tinyint", "BIGINT", {"-128": "-128"}),
    ("tinyint(1)", "BIGINT", {"1": "1", "2": "2"}),
    ("int unsigned", "BIGINT", {"4294967295": "4294967295"}),
    ("int(6) unsigned zerofill", "BIGINT", {"42": "42"}),
    ("bigint", "BIGINT", {"-9223372036854775808": "-9223372036854775808"}),
    ("bigint unsigned", "DECIMAL(20,0)", {"18446744073709551615": "18446744073709551615"}),
    ("decimal(12,2)", "DECIMAL(12,2)", {"-9999999999.99": "-9999999999.99"}),
    (
        "decimal(38,10)",
        "DECIMAL(38,10)",
        {"1234567890123456789012345678.0123456789": "1234567890123456789012345678.0123456789"},
    ),
    ("decimal(65,30)", "VARCHAR", {"1.5": "1.5" + 29 * "0"}),
    # The stored number itself, which is not 0.1.
    ("float", "DOUBLE", {"0.1": "0.10000000149011612", "16777216": "16777216.0"}),
    ("double", "DOUBLE", {"0.1": "0.1", "5e-324": "5e-324", "1.7976931348623157e308": "1.7976931348623157e+308"}),
    ("bit(1)", "BIGINT", {"b'1'": "1"}),
    ("bit(9)", "BIGINT", {"b'100000001'": "257"}),
    ("bit(64)", "DECIMAL(20,0)", {f"b'{64 * '1'}'": "18446744073709551615"}),
    (
        "date",
        "DATE",
        {
            "'2026-02-28'": "2026-02-28",
            "'9999-12-31'": "9999-12-31",
            "'0001-01-01'": "0001-01-01",
            "'0000-00-00'": None,
            "'2026-00-00'": None,
        },
    ),
    (
        "datetime(6)",
        "TIMESTAMP",
        {
            "'2026-03-29 02:30:00.123456'": "2026-03-29 02:30:00.123456",
            "'9999-12-31 23:59:59.999999'": "9999-12-31 23:59:59.999999",
            "'0000-00-00 00:00:00'": None,
        },
    ),
    # Written by a session in Berlin, an hour before its clock goes forward.
    (
        "timestamp(6) null",
        "TIMESTAMP WITH TIME ZONE",
        {"'2026-03-29 01:30:00.123456'": "2026-03-29 00:30:00.123456+00", "'0000-00-00'": None},
    ),
    ("time(3)", "VARCHAR", {"'838:59:59.000'": "838:59:59.000", "'-01:02:03.456'": "-01:02:03.456"}),
    ("year", "BIGINT", {"2026": "2026"}),
    ("char(5)", "VARCHAR", {"'ab'": "ab"}),
    ("varchar(10)", "VARCHAR", {"'ab  '": "ab  "}),
    ("varchar(10) character set latin1", "VARCHAR", {"'é€'": "é€"}),
    ("text", "VARCHAR", {"'日本語 🙂 עברית'": "日本語 🙂 עברית", "'a\\0b'": "a\0b", "''": ""}),
    # MariaDB keeps JSON as text; MySQL's own type becomes JSON.
    ("json", "VARCHAR", {"""'{"a": 1.10}'""": '{"a": 1.10}'}),
    ("enum('a','b')", "VARCHAR", {"'b'": "b"}),
    ("set('a','b')", "VARCHAR", {"'a,b'": "a,b", "''": ""}),
    ("uuid", "VARCHAR", {"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}),
    ("binary(3)", "BLOB", {"x'00ff'": "\\x00\\xFF\\x00"}),
    ("blob", "BLOB", {"x'00ff'": "\\x00\\xFF", "''": ""}),
    ("geometry", "BLOB", {"st_geomfromtext('point(0 0)')": "\\x00\\x00\\x00\\x00\\x01\\x01" + 19 * "\\x00"}),
]


def fill(shop: Shop, matrix: Matrix) -> None:
    """Make the table `kinds` with a column for each type, and a row for each value, in which all others are null."""
    columns = [f"c{number} {kind}" for number, (kind, _, _) in enumerate(matrix)]
    with shop.connect() as connection:
        if shop.backend == "mysql":
            connection.exec_driver_sql("set session sql_mode = '', time_zone = '+01:00'")
        connection.exec_driver_sql(f"create table kinds (id int, {', '.join(columns)})")
        row = 0
        for number, (_, _, values) in enumerate(matrix):
            for value in values:
                row += 1
                connection.exec_driver_sql(f"insert into kinds (id, c{number}) values ({row}, {value})")
        connection.exec_driver_sql(f"insert into kinds (id) values ({row + 1})")


def loaded_kinds(shop: Shop) -> dict[str, str]:
    return dict(
        shop.raw(
            "select column_name, data_type from information_schema.columns "
            "where table_schema = 'raw_my_shop' and table_name = 'kinds'"
        )
    )


class TestEveryTypeArrivesAsItIs:
    def check(self, shop: Shop, matrix: Matrix) -> list[str]:
        fill(shop, matrix)
        shop.declare(DatabaseTable("kinds", {"id": "bigint"}))
        report = shop.pull()
        kinds = loaded_kinds(shop)
        row = 0
        for number, (kind, raw_kind, values) in enumerate(matrix):
            assert kinds[f"c{number}"] == raw_kind, kind
            column = dict(shop.raw(f"select id, cast(c{number} as varchar) from kinds"))
            expected: dict[int, str | None] = dict.fromkeys(column)
            for text in values.values():
                row += 1
                expected[row] = text
            assert column == expected, kind
        assert report.tables["kinds"].rows_loaded == row + 1
        return report.tables["kinds"].warnings

    def test_of_postgresql(self, postgresql: Shop) -> None:
        postgresql.execute(
            "create type mood as enum ('sad', 'ok')",
            "create domain positive as bigint check (value > 0)",
            "create extension hstore",
            "create extension citext",
        )
        assert self.check(postgresql, POSTGRESQL) == [
            "c3: 1 values that are no decimal(12,2) were loaded as null, such as NaN"
        ]

    def test_of_mysql(self, mysql: Shop) -> None:
        dates, times, moments = (
            next(number for number, (kind, _, _) in enumerate(MYSQL) if kind == name)
            for name in ("date", "datetime(6)", "timestamp(6) null")
        )
        assert self.check(mysql, MYSQL) == [
            f"c{dates}: 2 values that are no date were loaded as null, such as 0000-00-00",
            f"c{times}: 1 values that are no timestamp were loaded as null, such as 0000-00-00 00:00:00.000000",
            f"c{moments}: 1 values that are no timestamp with time zone were loaded as null, "
            "such as 0000-00-00 00:00:00.000000",
        ]


ORDER = DatabaseTable("orders", {"id": "bigint", "total": "decimal(12,2)"}, key="id")


def declared(**columns: str) -> DatabaseTable:
    """The table `orders` with other or more columns declared."""
    return replace(ORDER, columns={**ORDER.columns, **columns})


def types_of(shop: Shop, table: str = "orders") -> dict[str, str]:
    return dict(
        shop.raw(
            "select column_name, data_type from information_schema.columns "
            f"where table_schema = 'raw_my_shop' and table_name = '{table}' and column_name not like '\\_%' escape '\\'"
        )
    )


@pytest.fixture(params=["postgresql"])
def orders(request: pytest.FixtureRequest) -> Shop:
    """A shop with two orders; on PostgreSQL alone, where the kind of server does not matter."""
    shop: Shop = request.getfixturevalue(request.param)
    shop.execute(
        "create table orders (id bigint primary key, total numeric(12,2), note varchar(20))",
        "insert into orders values (1, 10.00, 'a'), (2, 0.10, null)",
    )
    shop.declare(ORDER)
    return shop


on_both = pytest.mark.parametrize("orders", BOTH, indirect=True)


class TestADeclaredType:
    def test_text_takes_every_type_of_postgresql_as_the_server_writes_it(self, postgresql: Shop) -> None:
        postgresql.execute(
            "create table t (a timestamptz, b numeric, c jsonb, d int[], e boolean, f money, g date)",
            "insert into t values ('2026-01-01 01:00+01', 1.50, '{\"a\": 1}', '{1,2}', true, 12.5, 'infinity')",
        )
        postgresql.declare(DatabaseTable("t", dict.fromkeys("abcdefg", "text")))
        postgresql.pull()
        assert postgresql.raw("select * exclude (_delivery, _dlt_load_id) from t") == [
            ("2026-01-01 00:00:00+00", "1.50", '{"a": 1}', "{1,2}", "true", "$12.50", "infinity")
        ]

    def test_text_takes_every_type_of_mysql_as_the_server_writes_it(self, mysql: Shop) -> None:
        mysql.execute(
            "create table t (a timestamp null, b decimal(65,2), c double, d datetime, e bigint unsigned, f inet6)",
            "set time_zone = '+01:00'",
            "insert into t values ('2026-01-01 01:00', 1.50, 0.1, '2026-01-01 01:00', 18446744073709551615, '::1')",
        )
        mysql.declare(DatabaseTable("t", dict.fromkeys("abcdef", "text")))
        mysql.pull()
        assert mysql.raw("select * exclude (_delivery, _dlt_load_id) from t") == [
            ("2026-01-01 00:00:00", "1.50", "0.1", "2026-01-01 01:00:00", "18446744073709551615", "::1")
        ]

    def test_other_types_that_hold_the_values(self, postgresql: Shop) -> None:
        postgresql.execute(
            "create table t (a bigint, b numeric, c numeric, d numeric(10,0), e money, f numeric(12,2))",
            "insert into t values (7, 1.5, 'NaN', 42, 12.5, 'NaN')",
        )
        postgresql.declare(
            DatabaseTable(
                "t",
                {
                    "a": "decimal(20,0)",
                    "b": "decimal(12,4)",
                    "c": "double",
                    "d": "bigint",
                    "e": "decimal(19,2)",
                    "f": "double",
                },
            )
        )
        report = postgresql.pull()
        (row,) = postgresql.raw("select * exclude (_delivery, _dlt_load_id) from t")
        assert [str(value) for value in row] == ["7", "1.5000", "nan", "42", "12.50", "nan"]
        assert report.tables["t"].warnings == []

    @pytest.mark.slow
    def test_bool_of_mysql_is_whether_a_number_is_not_zero(self, mysql: Shop) -> None:
        mysql.execute("create table t (a tinyint(1), b bit(1))", "insert into t values (1, b'1'), (0, b'0'), (2, null)")
        mysql.declare(DatabaseTable("t", {"a": "bool", "b": "bool"}))
        mysql.pull()
        assert mysql.raw("select a, b from t order by a, b") == [(False, False), (True, True), (True, None)]

    @on_both
    @pytest.mark.parametrize("kind", ["bigint", "date", "timestamp", "bool", "json", "binary", "time"])
    def test_a_type_that_does_not_hold_the_values_is_refused(self, orders: Shop, kind: str) -> None:
        orders.declare(declared(note=kind))
        message = orders.refused()
        assert message.startswith("orders: column note is varchar(20)")
        assert message.endswith(f", declared {kind}. Declare it text, or have its type corrected; nothing was loaded.")

    @on_both
    def test_a_value_that_does_not_fit_stops_the_load_and_is_named(self, orders: Shop) -> None:
        orders.execute("update orders set total = 12345.67 where id = 2")
        orders.declare(declared(total="decimal(5,2)"))
        assert orders.refused() == (
            "orders: '12345.67' in column total does not fit decimal(5,2). Declare a type that holds it (text holds "
            "everything), or have it corrected; nothing was loaded."
        )
        orders.declare(declared(total="decimal(12,1)"))
        orders.execute("update orders set total = 0.25 where id = 2")
        assert "'0.25' in column total does not fit decimal(12,1)" in orders.refused()

    def test_an_unsigned_number_too_large_for_bigint_is_named(self, mysql: Shop) -> None:
        mysql.execute("create table t (id bigint unsigned)", "insert into t values (1), (18446744073709551615)")
        mysql.declare(DatabaseTable("t", {"id": "bigint"}))
        assert "'18446744073709551615' in column id does not fit bigint" in mysql.refused()

    @pytest.mark.slow
    def test_text_that_is_not_utf_8_is_refused(self, postgresql: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        """A database without an encoding takes any bytes."""
        name = f"{postgresql.url.database}_ascii"
        postgresql.execute(f"create database {name} encoding 'SQL_ASCII' template template0")
        url = postgresql.url.set(database=name)
        monkeypatch.setenv(CREDENTIALS, url.set(drivername="postgresql").render_as_string(hide_password=False))
        with postgresql.server.connect(url.update_query_dict({"client_encoding": "utf8"})) as connection:
            connection.exec_driver_sql("create table products (id int, name text)")
            connection.exec_driver_sql("insert into products values (1, 'gr\u00fcn')")
            postgresql.declare(DatabaseTable("products", {"id": "bigint", "name": "text"}))
            postgresql.pull()
            assert postgresql.raw("select name from products") == [("grün",)]
            connection.exec_driver_sql("insert into products values (2, E'gr\\xfcn')")
        assert 'reading products failed: invalid byte sequence for encoding "UTF8": 0xfc.' in postgresql.refused()
        postgresql.execute(f"drop database {name}")

    def test_a_type_that_there_is_not_is_refused(self) -> None:
        with pytest.raises(
            LoadError, match=r"^the declaration of the table orders is wrong: column total: there is no"
        ):
            declared(total="money")
        with pytest.raises(LoadError, match=r"decimal\(p,s\) of at most 38 digits\.$"):
            declared(total="decimal(39,2)")


class TestColumnsThatChange:
    def test_a_new_column_is_loaded_and_reported_once(self, orders: Shop) -> None:
        assert orders.pull().tables["orders"].new_columns == {"note": "text"}
        orders.execute("alter table orders add channel varchar(5)", "update orders set channel = 'web'")
        report = orders.pull().tables["orders"]
        assert report.new_columns == {"channel": "text"}
        assert str(report).endswith("; new columns: channel (text)")
        assert orders.pull().tables["orders"].new_columns == {}
        assert orders.raw("select channel, count(*) from orders group by 1 order by 1") == [("web", 4), (None, 2)]

    def test_columns_that_are_not_declared_can_be_left_in_the_database(self, orders: Shop) -> None:
        orders.declare(replace(ORDER, load_undeclared=False))
        assert orders.pull().tables["orders"].new_columns == {}
        assert types_of(orders) == {"id": "BIGINT", "total": "DECIMAL(12,2)"}

    @pytest.mark.slow
    def test_a_column_that_is_not_declared_and_gone_is_reported_once(self, orders: Shop) -> None:
        orders.pull()
        orders.execute("alter table orders drop column note")
        assert orders.pull().tables["orders"].warnings == ["no longer in the database, null from now on: note"]
        assert orders.pull().tables["orders"].warnings == []
        assert orders.raw("select note, count(*) from orders group by 1 order by 1") == [("a", 1), (None, 5)]

    @on_both
    def test_a_declared_column_that_was_renamed_stops_the_load(self, orders: Shop) -> None:
        orders.pull()
        orders.execute("alter table orders rename column total to amount")
        assert orders.refused() == (
            "orders has no column total (dropped or renamed). It has these that are not declared: amount, note. Change "
            "the declaration in the source's module, or have the column brought back; nothing was loaded."
        )
        assert orders.raw("select count(*) from orders") == [(2,)]
        # After the declaration was changed, earlier rows keep their old column.
        orders.declare(replace(ORDER, columns={"id": "bigint", "amount": "decimal(12,2)"}))
        orders.pull()
        assert orders.raw("select total, amount from orders order by all") == [
            (Decimal("0.10"), None),
            (Decimal("10.00"), None),
            (None, Decimal("0.10")),
            (None, Decimal("10.00")),
        ]

    @on_both
    def test_a_changed_type_stops_the_load(self, orders: Shop) -> None:
        orders.pull()
        orders.execute(
            "alter table orders modify total varchar(20)"
            if orders.backend == "mysql"
            else "alter table orders alter total type varchar(20)"
        )
        message = orders.refused()
        assert message.startswith("orders: column total is varchar(20)")
        assert message.endswith(
            ", declared decimal(12,2). Declare it text, or have its type corrected; nothing was loaded."
        )

    @pytest.mark.slow
    def test_a_column_that_is_not_declared_keeps_the_type_it_was_first_loaded_as(self, postgresql: Shop) -> None:
        postgresql.execute("create table t (id int, a int, b int)", "insert into t values (1, 2, 3)")
        postgresql.declare(DatabaseTable("t", {"id": "bigint"}))
        postgresql.pull()
        postgresql.execute("alter table t alter a type numeric(10,0)")
        postgresql.pull()
        assert postgresql.raw("select a from t") == [(2,), (2,)]
        postgresql.execute("alter table t alter b type date using null")
        assert postgresql.refused() == (
            "t: column b is date, but was loaded as bigint before. Set load_undeclared=False to leave it out, or have "
            "its type corrected; nothing was loaded."
        )

    def test_a_declaration_that_is_changed_later_says_what_the_raw_table_has(self, orders: Shop) -> None:
        orders.pull()
        orders.declare(declared(total="decimal(14,2)"))
        message = orders.refused()
        assert message.startswith(
            "raw_my_shop.orders: column total is decimal(12,2), declared decimal(14,2). Declare it "
        )
        assert "rebuild --from-landing" in message

    @on_both
    def test_a_narrower_decimal_is_loaded(self, orders: Shop) -> None:
        orders.execute(
            "alter table orders modify total decimal(6,1)"
            if orders.backend == "mysql"
            else "alter table orders alter total type numeric(6,1)"
        )
        assert orders.pull().tables["orders"].warnings == []
        assert orders.raw("select total from orders order by 1") == [(Decimal("0.10"),), (Decimal("10.00"),)]

    @on_both
    def test_a_wider_decimal_is_loaded_with_a_warning_until_a_value_does_not_fit(self, orders: Shop) -> None:
        orders.execute(
            "alter table orders modify total decimal(14,4)"
            if orders.backend == "mysql"
            else "alter table orders alter total type numeric(14,4)"
        )
        (warning,) = orders.pull().tables["orders"].warnings
        assert warning.endswith("(14, 4), declared decimal(12,2): a value that does not fit stops the load")
        orders.execute("update orders set total = 0.1234 where id = 2")
        assert "'0.1234' in column total does not fit decimal(12,2)" in orders.refused()

    @on_both
    def test_a_new_value_of_an_enum_is_loaded(self, orders: Shop) -> None:
        if orders.backend == "postgresql":
            orders.execute("create type state as enum ('new')", "alter table orders add state state")
            orders.pull()
            orders.execute("alter type state add value 'paid'")
        else:
            orders.execute("alter table orders add state enum('new')")
            orders.pull()
            orders.execute("alter table orders modify state enum('new', 'paid')")
        orders.execute("update orders set state = 'paid' where id = 1")
        assert orders.pull().tables["orders"].warnings == []
        assert orders.raw("select distinct state from orders order by 1") == [("paid",), (None,)]

    def test_names_of_any_kind(self, shop: Shop) -> None:
        quote = '"' if shop.backend == "postgresql" else "`"
        names = ["CustomerID", "Total %", "order", "Größe"]
        shop.execute(
            f"create table {quote}Order Lines{quote} ({', '.join(f'{quote}{name}{quote} int' for name in names)})",
            f"insert into {quote}Order Lines{quote} values (1, 2, 3, 4)",
        )
        shop.declare(
            DatabaseTable("lines", {"CustomerID": "bigint", "Total %": "bigint"}, key="CustomerID", table="Order Lines")
        )
        shop.pull()
        assert types_of(shop, "lines") == dict.fromkeys(["customer_id", "totalx", "order", "gr_e"], "BIGINT")
        assert shop.raw('select customer_id, "order" from lines') == [(1, 3)]

    def test_columns_with_one_name_in_the_warehouse_stop_the_load(self, postgresql: Shop) -> None:
        postgresql.execute('create table t ("CustomerID" int, customer_id int)')
        postgresql.declare(DatabaseTable("t", {"customer_id": "bigint"}))
        assert postgresql.refused() == (
            "t: column CustomerID would be stored as customer_id, like customer_id. Set load_undeclared=False and "
            "declare the columns to load; nothing was loaded."
        )
        postgresql.execute('create table u (id int, "_dlt_load_id" int)')
        postgresql.declare(DatabaseTable("u", {"id": "bigint"}))
        assert (
            "column _dlt_load_id would be stored as _dlt_load_id, like a column of the loader" in postgresql.refused()
        )

"""The published tables in a real PostgreSQL: whole, swapped in one step, and what happens when something goes wrong."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from benchmarks.database_servers import PASSWORD, Server, free_port
from delivery.__main__ import main
from delivery.publication import publication_id
from tests.delivery.conftest import Database, new_database
from tests.fixtures import made_publication
from tests.fixtures.made_publication import ROWS
from warehouse.dbt_project import prepare
from warehouse.paths import PROJECT_DIR
from warehouse.settings import Settings

COMMAND = [sys.executable, "-m", "delivery", "publish-postgres"]
LEFTOVERS = "select count(*) from pg_namespace where nspname like '%\\_\\_new' or nspname like '%\\_\\_old\\_%'"
REJECTED = "select count(*) from quality.rejected_rows"


@pytest.fixture
def published(data: Path, database: Database) -> Database:
    """A database with a publication of few rows."""
    made_publication.make(data)
    assert main(["publish-postgres"]) == 0
    return database


@pytest.fixture(scope="module")
def at_rest(postgresql_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """A database with a publication, for tests that only read."""
    data = tmp_path_factory.mktemp("at_rest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEXT_AISLE_MANIFEST", str(prepare(Settings())))
        patch.setenv("NEXT_AISLE_DATA", str(data))
        database = new_database(postgresql_server, "at_rest", patch)
        made_publication.make(data)
        assert main(["publish-postgres"]) == 0
    return database


@pytest.fixture
def commands() -> Iterator[list["subprocess.Popen[str]"]]:
    """Commands under way, which do not outlive the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for command in started:
        command.kill()
        command.wait()


def start(commands: list["subprocess.Popen[str]"]) -> "subprocess.Popen[str]":
    command = subprocess.Popen(
        COMMAND, cwd=PROJECT_DIR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
    )
    commands.append(command)
    return command


def test_every_row_and_value_arrives(at_rest: Database, tmp_path: Path) -> None:
    with duckdb.connect(str(made_publication.make(tmp_path)), read_only=True) as copy:
        tables = copy.execute("select table_schema, table_name from information_schema.tables order by all").fetchall()
        assert len(tables) == 28
        for schema, table in tables:
            columns = copy.table(f"{schema}.{table}").columns
            query = f"select {', '.join(columns)} from {schema}.{table}"
            in_postgres = at_rest.query(query)
            assert sorted(map(str, in_postgres)) == sorted(map(str, copy.execute(query).fetchall())), (schema, table)
            assert in_postgres


def test_types_keys_and_comments_are_those_of_the_contract(at_rest: Database) -> None:
    types = dict(
        at_rest.query(
            "select table_name || '.' || column_name, case when numeric_scale > 0 "
            "then data_type || numeric_precision || ',' || numeric_scale else data_type end "
            "from information_schema.columns where table_schema = 'core'"
        )
    )
    assert types["fct_purchases.amount"] == "numeric18,2"
    assert types["fct_purchases.quantity"] == "numeric18,3"
    assert types["fct_purchases.purchased_at"] == "timestamp without time zone"
    assert types["dim_customers.birth_year"] == "integer"
    assert types["dim_customers.churn_probability"] == "double precision"
    keys = {
        str(name): str(definition)
        for name, definition in at_rest.query(
            "select conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid) from pg_constraint "
            "where connamespace::regnamespace::text in ('core', 'cross_sell', 'quality')"
        )
    }
    assert keys["core.fct_purchases fct_purchases_pkey"] == "PRIMARY KEY (purchase_line_key)"
    assert (
        keys["core.fct_purchases fct_purchases_customer_key_fkey"]
        == "FOREIGN KEY (customer_key) REFERENCES core.dim_customers(customer_key)"
    )
    # One of its columns may be empty.
    [of_findings] = [definition for name, definition in keys.items() if name.startswith("quality.findings ")]
    assert of_findings.startswith("UNIQUE NULLS NOT DISTINCT (source_name, table_name, record_id, column_name")
    assert sum("PRIMARY KEY" in key for key in keys.values()) == 22
    assert sum("FOREIGN KEY" in key for key in keys.values()) == 16
    with pytest.raises(Exception, match="not-null constraint"):
        at_rest.execute("update core.fct_purchases set amount = null")
    assert at_rest.query("select obj_description('core.dim_dates'::regclass)")[0][0]
    uncommented = at_rest.query(
        "select a.attrelid::regclass, a.attname from pg_attribute as a join pg_class as c on c.oid = a.attrelid "
        "where c.relkind in ('r', 'v') and c.relnamespace in (select oid from next_aisle.written_schemas) "
        "and a.attnum > 0 and col_description(c.oid, a.attnum) is null"
    )
    assert uncommented == []


def test_psql_shows_the_comments(at_rest: Database) -> None:
    shown = subprocess.run(
        ["psql", at_rest.settings["NEXT_AISLE_POSTGRES_URL"], "-c", r"\d+ core.dim_dates", "-c", r"\dt+ core.*"],
        env={**os.environ, "PGPASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "PRIMARY KEY, btree (date_day)" in shown
    assert "One row per day" in shown


def test_what_is_there_already_is_not_written_again(
    published: Database, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = published.query("select 'core.dim_dates'::regclass::oid")
    capsys.readouterr()
    assert main(["publish-postgres"]) == 0
    [(publication,)] = published.query("select publication_id from next_aisle.publication")
    assert capsys.readouterr().out == f"nothing new: the database has publication {publication}\n"
    assert published.query("select 'core.dim_dates'::regclass::oid") == made
    # Somebody took tables away: they are written again.
    published.execute("drop schema cross_sell cascade")
    assert main(["publish-postgres"]) == 0
    assert published.query("select count(*) from cross_sell.customer_opportunities") == [(ROWS,)]


def test_a_publication_replaces_the_one_before_and_leaves_nothing_of_it(published: Database, data: Path) -> None:
    [before] = published.query("select publication_id from next_aisle.publication")
    made_publication.make(data, size=7)
    assert main(["publish-postgres"]) == 0
    assert published.query(REJECTED) == [(7,)]
    [after] = published.query("select publication_id from next_aisle.publication")
    assert after != before
    assert published.query(LEFTOVERS) == [(0,)]


@pytest.mark.parametrize("moment", [pytest.param("in the middle", marks=pytest.mark.slow), "at the end"])
def test_killed_it_leaves_the_publication_before_and_the_next_run_succeeds(
    moment: str, published: Database, data: Path, commands: list["subprocess.Popen[str]"]
) -> None:
    made_publication.make(data, size=7)
    # Where it has to wait for this lock, it has written some tables, or all.
    table = "hash_key" if moment == "in the middle" else "publication"
    with published.connect() as holder:
        holder.exec_driver_sql("begin")
        holder.exec_driver_sql(f"lock table next_aisle.{table} in share mode")
        command = start(commands)
        wait_until(published, f"next_aisle.{table}")
        command.send_signal(signal.SIGKILL)
        command.wait()
    wait_until_free(published)
    assert published.query(REJECTED) == [(ROWS,)]
    assert published.query(LEFTOVERS) == [(0,)]
    assert main(["publish-postgres"]) == 0
    assert published.query(REJECTED) == [(7,)]


def wait_until(database: Database, table: str) -> None:
    """Wait until a session waits for a lock on a table."""
    for _ in range(600):
        if database.query(f"select 1 from pg_locks where not granted and relation = '{table}'::regclass"):
            return
        time.sleep(0.05)
    raise AssertionError("it never came so far")


def wait_until_free(database: Database) -> None:
    for _ in range(600):
        if not database.query("select 1 from pg_locks where locktype = 'advisory'"):
            return
        time.sleep(0.05)
    raise AssertionError("the killed command's lock stayed")


def test_a_second_one_says_that_it_waits_and_then_has_nothing_to_do(
    published: Database, data: Path, commands: list["subprocess.Popen[str]"]
) -> None:
    made_publication.make(data, size=7)
    with published.connect() as holder:
        holder.exec_driver_sql("begin")
        holder.exec_driver_sql("lock table next_aisle.publication in share mode")
        first = start(commands)
        wait_until(published, "next_aisle.publication")
        second = start(commands)
        assert second.stdout is not None
        assert second.stdout.readline() == "waiting for another publication to this database (0 s so far)\n"
    assert "28 tables" in first.communicate(timeout=60)[0]
    assert "nothing new" in second.communicate(timeout=60)[0]


def test_readers_see_the_publication_before_or_the_new_one(published: Database, data: Path) -> None:
    seen, stop = set(), threading.Event()
    errors: list[Exception] = []

    def read() -> None:
        # Tables of two schemas in one statement.
        query = "select (select count(*) from quality.rejected_rows), (select count(*) from next_aisle.publication)"
        with published.connect() as reader:
            while not stop.is_set():
                try:
                    seen.add(tuple(reader.exec_driver_sql(query).one()))
                except Exception as error:
                    errors.append(error)
                    return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    sizes = [3, 8, 5]
    for size in sizes:
        made_publication.make(data, size=size)
        assert main(["publish-postgres"]) == 0
    stop.set()
    for reader in readers:
        reader.join()
    assert errors == []
    assert seen <= {(size, 1) for size in (ROWS, *sizes)}
    assert len(seen) > 1


def test_a_reader_with_an_open_transaction_keeps_its_tables_and_blocks_no_one(
    published: Database, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delivery.postgres.WAIT_FOR_READERS", 1)
    with published.connect() as reader:
        reader.exec_driver_sql("begin")
        assert reader.exec_driver_sql(REJECTED).scalar() == ROWS
        made_publication.make(data, size=7)
        assert main(["publish-postgres"]) == 0
        assert "a reader still has tables of the publication before open" in capsys.readouterr().out
        assert published.query(REJECTED) == [(7,)]
    assert published.query(LEFTOVERS) != [(0,)]
    assert main(["publish-postgres"]) == 0
    assert published.query(LEFTOVERS) == [(0,)]


def test_a_view_of_somebody_is_not_dropped_and_named(
    published: Database, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published.execute("create schema bi", "create view bi.rejected as select * from quality.rejected_rows")
    made_publication.make(data, size=7)
    assert main(["publish-postgres"]) == 0
    assert "bi.rejected rest on tables of an earlier publication" in capsys.readouterr().err
    assert published.query("select count(*) from bi.rejected") == [(ROWS,)]
    published.execute("drop view bi.rejected")
    assert main(["publish-postgres"]) == 0
    assert published.query(LEFTOVERS) == [(0,)]


def test_a_schema_of_somebody_else_is_not_replaced(
    database: Database, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_publication.make(data)
    database.execute("create schema core", "create table core.mine as select 1 as n")
    assert main(["publish-postgres"]) == 1
    assert "the database already has a schema core, which this command did not make" in capsys.readouterr().err
    assert database.query("select n from core.mine") == [(1,)]


def test_without_a_server_it_says_where_it_looked_and_not_the_password(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_publication.make(data)
    port = free_port()
    monkeypatch.setenv("NEXT_AISLE_POSTGRES_URL", f"postgresql://bi@127.0.0.1:{port}/shop")
    monkeypatch.setenv("NEXT_AISLE_POSTGRES_PASSWORD", PASSWORD)
    assert main(["publish-postgres"]) == 1
    message = capsys.readouterr().err
    assert f"cannot connect to postgresql://bi:***@127.0.0.1:{port}/shop" in message
    assert "Connection refused" in message and "Is it running" in message
    assert PASSWORD not in message


def test_a_wrong_password_is_named_as_such(
    database: Database, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_publication.make(data)
    monkeypatch.setenv("NEXT_AISLE_POSTGRES_PASSWORD", "not-this-one")
    assert main(["publish-postgres"]) == 1
    message = capsys.readouterr().err
    assert "password authentication failed" in message and "not-this-one" not in message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "no PostgreSQL database is named: set NEXT_AISLE_POSTGRES_URL="),
        ("mysql://a:hidden@b/c", "is no address such as postgresql://"),
        ("hidden", "is no address such as postgresql://"),
    ],
)
def test_a_setting_that_names_no_database_says_so(
    url: str, message: str, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXT_AISLE_POSTGRES_URL", url)
    assert main(["publish-postgres"]) == 1
    shown = capsys.readouterr().err
    assert message in shown and "hidden" not in shown


def test_before_the_first_publication_it_says_so(
    database: Database, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish-postgres"]) == 1
    assert "nothing is published yet" in capsys.readouterr().err
    assert database.query("select 1 from pg_namespace where nspname = 'next_aisle'") == []


@pytest.mark.parametrize("damage", ["cut off", "no database", "a torn table"])
def test_a_damaged_file_is_refused(
    damage: str, published: Database, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = made_publication.make(data, size=100_000)
    content = file.read_bytes()
    half = len(content) // 2
    if damage == "cut off":
        file.write_bytes(content[:half])
    elif damage == "no database":
        file.write_bytes(b"not a database")
    else:
        file.write_bytes(content[: half // 2] + bytes(half) + content[half // 2 + half :])
    assert main(["publish-postgres"]) == 1
    assert f"{file} cannot be read" in capsys.readouterr().err
    assert published.query(REJECTED) == [(ROWS,)]


def test_a_file_that_is_not_what_its_contract_says_is_refused(
    published: Database, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = made_publication.make(data)
    with duckdb.connect(str(file)) as connection:
        connection.execute("alter table core.dim_dates add column moon varchar")
    assert main(["publish-postgres"]) == 1
    assert "does not describe core.dim_dates as it was published" in capsys.readouterr().err


def test_a_damaged_contract_is_refused(published: Database, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = made_publication.make(data)
    (file.parent / "core.odcs.yaml").write_text("version: 1\nschema: [{name: x, properties: [", encoding="utf-8")
    assert main(["publish-postgres"]) == 1
    assert f"the contract in {file.parent} is damaged" in capsys.readouterr().err


def test_a_file_that_is_replaced_while_it_is_opened_is_opened_again(
    published: Database, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = made_publication.make(data, size=7)
    connect, opened = duckdb.connect, []

    def slowly(*arguments: Any, **options: Any) -> duckdb.DuckDBPyConnection:
        connection = connect(*arguments, **options)
        if arguments[:1] == (str(file),):
            opened.append(connection)
            if len(opened) == 1:
                monkeypatch.setattr(duckdb, "connect", connect)
                made_publication.make(data, size=5)
        return connection

    monkeypatch.setattr(duckdb, "connect", slowly)
    assert main(["publish-postgres"]) == 0
    assert published.query(REJECTED) == [(5,)]
    assert published.query("select publication_id from next_aisle.publication") == [(publication_id(file),)]


def test_a_broken_key_is_refused_and_the_publication_before_stays(
    published: Database, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = made_publication.make(data, size=7)
    with duckdb.connect(str(file)) as connection:
        connection.execute("insert into core.dim_dates from core.dim_dates limit 1")
    assert main(["publish-postgres"]) == 1
    message = capsys.readouterr().err
    assert "dim_dates_pkey" in message and "The tables that it had stay as they were" in message
    assert published.query(REJECTED) == [(ROWS,)]


def test_a_character_that_postgresql_does_not_keep_is_named_with_its_column(
    published: Database, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = made_publication.make(data)
    with duckdb.connect(str(file)) as connection:
        connection.execute("update quality.rejected_rows set rejection_reason = 'a' || chr(0) || 'b'")
    assert main(["publish-postgres"]) == 1
    assert "quality.rejected_rows.rejection_reason has a value with the character U+0000" in capsys.readouterr().err


def test_a_user_who_may_not_make_roles_is_told_what_an_administrator_runs(
    database: Database, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made_publication.make(data)
    # A role that no other test made on this server.
    policy = tmp_path / "policy.yml"
    text = (PROJECT_DIR / "delivery" / "policy.yml").read_text(encoding="utf-8")
    policy.write_text(text.replace("\n  viewer:", "\n  visitor:"), encoding="utf-8")
    monkeypatch.setenv("NEXT_AISLE_POLICY", str(policy))
    database.execute(
        "drop role if exists publisher",
        f"create role publisher login password '{PASSWORD}'",
        f'grant create on database "{database.url.database}" to publisher',
    )
    monkeypatch.setenv(
        "NEXT_AISLE_POSTGRES_URL", database.settings["NEXT_AISLE_POSTGRES_URL"].replace("shop@", "publisher@")
    )
    assert main(["publish-postgres"]) == 1
    message = capsys.readouterr().err
    assert 'run, once: create role "next_aisle_visitor" nologin' in message
    database.execute("create role next_aisle_visitor nologin")
    try:
        missing = [name for name in ("marketing", "analyst", "admin") if f'"next_aisle_{name}"' in message]
        for name in missing:
            database.execute(f"create role next_aisle_{name} nologin")
        assert main(["publish-postgres"]) == 0
    finally:
        database.execute(
            "drop schema if exists next_aisle cascade; reassign owned by publisher to shop; drop owned by publisher, "
            "next_aisle_visitor cascade; drop role publisher, next_aisle_visitor"
        )

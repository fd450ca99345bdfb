"""The published copy: whole, swapped in one step, never in a reader's way."""

import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from ingestion import warehouse
from orchestration.definitions import defs
from orchestration.publish import (
    PublicationError,
    built_by,
    is_audited,
    keep_built,
    mark_audited,
    mark_built,
    publish,
    withdraw_marks,
)

TABLES = [("core", "fct")]


@pytest.fixture
def filled(data: Path) -> Path:
    """A warehouse with one mart of two rows, and a raw table that must never be published."""
    with warehouse.connect() as connection:
        connection.execute("create schema core; create table core.fct as select * from range(2) as t(n)")
        connection.execute("create schema raw_shop; create table raw_shop.secret as select 1 as n")
    return data


def rows(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute("select count(*) from core.fct").fetchall()[0][0]


def grow() -> None:
    with warehouse.connect() as connection:
        connection.execute("insert into core.fct values (7)")


def test_only_the_named_tables_are_published(filled: Path) -> None:
    publication = publish(TABLES)
    assert publication.row_counts == {"core.fct": 2}
    with duckdb.connect(str(publication.path), read_only=True) as connection:
        tables = connection.execute("select table_schema, table_name from information_schema.tables").fetchall()
    assert tables == [("core", "fct")]


def test_a_reader_that_holds_the_old_copy_open_neither_blocks_nor_sees_the_change(filled: Path) -> None:
    path = publish(TABLES).path
    program = (
        "import duckdb, sys\n"
        f"c = duckdb.connect({str(path)!r}, read_only=True)\n"
        "print('open', flush=True); sys.stdin.readline()\n"
        "print(c.execute('select count(*) from core.fct').fetchall()[0][0])\n"
    )
    reader = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "open\n"
    grow()
    publish(TABLES)
    answer, _ = reader.communicate("\n")
    assert answer == "2\n"
    assert rows(path) == 3


def test_a_reader_in_this_process_does_not_block_either(filled: Path) -> None:
    path = publish(TABLES).path
    with duckdb.connect(str(path), read_only=True) as reader:
        grow()
        publish(TABLES)
        assert reader.execute("select count(*) from core.fct").fetchall() == [(2,)]


def test_a_missing_table_leaves_the_old_copy_and_no_leftovers(filled: Path) -> None:
    path = publish(TABLES).path
    grow()
    with pytest.raises(PublicationError, match="stays as it was"):
        publish([*TABLES, ("core", "gone")])
    assert rows(path) == 2
    assert [file.name for file in path.parent.iterdir()] == ["next_aisle.duckdb"]


def test_what_a_killed_publication_left_is_removed_by_the_next(filled: Path) -> None:
    path = warehouse.paths().published
    path.parent.mkdir(parents=True)
    (path.parent / ".next_aisle.duckdb.4711").write_bytes(b"half a copy")
    (path.parent / ".next_aisle.duckdb.4711.wal").write_bytes(b"and its log")
    publish(TABLES)
    assert [file.name for file in path.parent.iterdir()] == ["next_aisle.duckdb"]


def test_changes_somebody_made_in_the_old_copy_do_not_reach_the_new_one(filled: Path) -> None:
    path = publish(TABLES).path
    path.with_name(path.name + ".wal").write_bytes(b"changes of the old copy")
    publish(TABLES)
    assert rows(path) == 2


def test_a_killed_publication_leaves_the_old_copy_whole(filled: Path) -> None:
    path = publish(TABLES).path
    with warehouse.connect() as connection:
        connection.execute("create or replace table core.fct as select * from range(3_000_000) as t(n)")
    program = "from orchestration.publish import publish; print('go', flush=True); publish([('core', 'fct')])"
    for delay in (0.0, 0.05, 0.15):
        process = subprocess.Popen([sys.executable, "-c", program], cwd=warehouse.PROJECT_DIR, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.wait()
        assert rows(path) in (2, 3_000_000)
    publish(TABLES)
    assert rows(path) == 3_000_000


def test_a_warehouse_counts_as_audited_until_somebody_writes_it(filled: Path) -> None:
    assert not is_audited()
    mark_audited("run-1")
    assert is_audited()
    publish(TABLES)
    with warehouse.connect(read_only=True):
        pass
    assert is_audited()
    grow()
    assert not is_audited()


def test_what_was_built_is_yet_to_be_judged_and_the_record_of_the_run_does_not_change_that(filled: Path) -> None:
    with keep_built():
        grow()
    assert built_by() is None
    mark_built("run-1")
    with keep_built():
        grow()
    assert built_by() == "run-1" and not is_audited()
    mark_audited("run-1")
    with keep_built():
        grow()
    assert built_by() == "run-1" and not is_audited(), "what was recorded since is judged anew"
    grow()
    assert built_by() is None, "somebody else wrote it"
    mark_built("run-2")
    withdraw_marks()
    assert built_by() is None


def test_an_unaudited_warehouse_is_not_published(filled: Path) -> None:
    result = dg.materialize(
        [*defs().resolve_asset_graph().assets_defs],
        selection=dg.AssetSelection.keys(["published", "next_aisle"]),
        raise_on_error=False,
    )
    assert not result.success
    failure = result.failure_data_for_node("published__next_aisle")
    assert failure is not None
    assert "Run the nightly job" in str(failure.user_failure_data)
    assert not warehouse.paths().published.exists()

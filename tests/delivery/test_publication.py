"""The published copy: whole, swapped in one step, never in a reader's way."""

import grp
import os
import resource
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from delivery.publication import (
    Description,
    Publication,
    PublicationError,
    damage,
    describe,
    is_current,
    note_published_deliveries,
)
from delivery.publication import publish as publish_as_is
from delivery.query import QueryError, ask
from orchestration.definitions import defs
from quality.audit import mark_audited
from tests import here
from warehouse.paths import PROJECT_DIR

TABLES = [("core", "fct")]
COPY = ["next_aisle.duckdb", "next_aisle.duckdb.sha256"]


def publish(
    tables: list[tuple[str, str]],
    contract: Mapping[str, str] | None = None,
    descriptions: Mapping[tuple[str, str], Description] | None = None,
) -> Publication:
    """Publish the warehouse as it is now, judged good enough."""
    mark_audited(here.paths(), "run-1")
    return publish_as_is(here.paths(), tables, contract or {}, descriptions or {})


@pytest.fixture
def filled(data: Path) -> Path:
    """A warehouse with one mart of two rows, and a raw table that must never be published."""
    with here.connect() as connection:
        connection.execute("create schema core; create table core.fct as select * from range(2) as t(n)")
        connection.execute("create schema raw_shop; create table raw_shop.secret as select 1 as n")
    return data


def rows(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        return int(connection.execute("select count(*) from core.fct").fetchall()[0][0])


def grow() -> None:
    with here.connect() as connection:
        connection.execute("insert into core.fct values (7)")


def test_only_the_named_tables_are_published(filled: Path) -> None:
    publication = publish(TABLES)
    assert publication.row_counts == {"core.fct": 2}
    with duckdb.connect(str(publication.path), read_only=True) as connection:
        tables = connection.execute("select table_schema, table_name from information_schema.tables").fetchall()
    assert tables == [("core", "fct")]


def test_a_copy_that_lacks_rows_is_not_published(filled: Path) -> None:
    path = publish(TABLES).path
    with here.connect() as connection:
        # As many rows as the clock has microseconds: the copy has others than the table has a moment later.
        connection.execute(
            "drop table core.fct; create view core.fct as "
            "select unnest(range(1 + epoch_us(get_current_timestamp()) % 100_000)) as n"
        )
    with pytest.raises(PublicationError, match=r"core\.fct: [\d,]+ rows in the warehouse, [\d,]+ in the copy"):
        publish(TABLES)
    assert rows(path) == 2


def test_the_copy_is_on_disk_before_it_replaces_the_old_one_and_its_name_after(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        done.append(("written through", os.fstat(handle).st_ino))
        fsync(handle)

    def noted_replace(source: Path, target: Path) -> None:
        done.append(("renamed", source.stat().st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    path = publish(TABLES).path
    copy, folder = path.stat().st_ino, path.parent.stat().st_ino
    # The mark that allows the publication is written in the same way, and is no part of it.
    assert [step for step in done if step[1] in (copy, folder)] == [
        ("written through", copy),
        ("renamed", copy),
        ("written through", folder),
    ]


def test_the_published_copy_is_read_only(filled: Path) -> None:
    assert stat.filemode(publish(TABLES).path.stat().st_mode) == "-r--r--r--"


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


def test_a_reader_in_the_same_process_does_not_block_publication(filled: Path) -> None:
    path = publish(TABLES).path
    with duckdb.connect(str(path), read_only=True) as reader:
        grow()
        publish(TABLES)
        assert reader.execute("select count(*) from core.fct").fetchall() == [(2,)]


def test_a_missing_table_leaves_the_old_copy_and_no_leftovers(filled: Path) -> None:
    path = publish(TABLES).path
    grow()
    with pytest.raises(PublicationError, match="stays as it was") as raised:
        publish([*TABLES, ("core", "gone")])
    assert "disk" not in str(raised.value)
    assert rows(path) == 2
    assert sorted(file.name for file in path.parent.iterdir()) == COPY


def test_a_full_disk_is_named_and_leaves_the_old_copy(filled: Path) -> None:
    path = publish(TABLES).path
    with here.connect() as connection:
        connection.execute("insert into core.fct select hash(n) % 2147483647 from range(500_000) t(n)")
    mark_audited(here.paths(), "run-1")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # What may still be written to one file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(PublicationError, match=f"The disk is full: free some space below {here.paths().root}"):
            publish_as_is(here.paths(), TABLES, {}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert rows(path) == 2
    assert sorted(file.name for file in path.parent.iterdir()) == COPY


def test_tables_and_columns_have_their_descriptions_as_comments(filled: Path) -> None:
    models = [
        {
            "schema": "core",
            "alias": "fct",
            "description": "One row per 'thing'.\nNot \"more\"; -- really\n",
            "columns": {
                "n": {"description": "The shop's n\\"},
                "gone": {"description": "a column that is no longer there"},
            },
        }
    ]
    path = publish(TABLES, descriptions=describe(models)).path
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("select table_name, comment from duckdb_tables()").fetchall() == [
            ("fct", "One row per 'thing'.\nNot \"more\"; -- really")
        ]
        assert connection.execute(
            "select column_name, comment from duckdb_columns() where not internal"
        ).fetchall() == [("n", "The shop's n\\")]


def test_what_a_killed_publication_left_is_removed_by_the_next(filled: Path) -> None:
    path = here.paths().published
    path.parent.mkdir(parents=True)
    (path.parent / ".next_aisle.duckdb.4711.part").write_bytes(b"half a copy")
    (path.parent / ".next_aisle.duckdb.4711.part.wal").write_bytes(b"and its log")
    publish(TABLES)
    assert sorted(file.name for file in path.parent.iterdir()) == COPY


def test_changes_made_in_the_old_copy_do_not_reach_the_new_one(filled: Path) -> None:
    path = publish(TABLES).path
    path.with_name(path.name + ".wal").write_bytes(b"changes of the old copy")
    publish(TABLES)
    assert rows(path) == 2


def test_a_killed_publication_leaves_the_old_copy_whole(filled: Path) -> None:
    path = publish(TABLES).path
    with here.connect() as connection:
        connection.execute("create or replace table core.fct as select * from range(3_000_000) as t(n)")
    mark_audited(here.paths(), "run-1")
    program = (
        "from delivery.publication import publish; from warehouse.settings import Settings; print('go', flush=True); "
        "publish(Settings().paths, [('core', 'fct')], {}, {})"
    )
    for delay in (0.0, 0.05, 0.15):
        process = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT_DIR, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.wait()
        assert rows(path) in (2, 3_000_000)
    publish(TABLES)
    assert rows(path) == 3_000_000


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
    assert not here.paths().published.exists()


def test_the_contract_is_in_the_same_folder_and_that_of_a_removed_schema_is_deleted(filled: Path) -> None:
    folder = publish(TABLES, {"core.odcs.yaml": "old", "gone.odcs.yaml": "old"}).path.parent
    publish(TABLES, {"core.odcs.yaml": "new"})
    assert sorted(file.name for file in folder.iterdir()) == ["core.odcs.yaml", *COPY]
    assert (folder / "core.odcs.yaml").read_text() == "new"


def test_a_publication_that_fails_leaves_the_contract_of_the_copy_that_stays(filled: Path) -> None:
    path = publish(TABLES, {"core.odcs.yaml": "old"}).path
    with pytest.raises(PublicationError):
        publish([*TABLES, ("core", "gone")], {"core.odcs.yaml": "new"})
    assert (path.parent / "core.odcs.yaml").read_text() == "old"


def test_the_warehouse_knows_which_deliveries_readers_have(filled: Path) -> None:
    def known() -> list[tuple[str, int]]:
        with here.connect() as connection:
            return connection.execute("select delivery, hour(delivered_at) from raw_published.deliveries").fetchall()

    note_published_deliveries(here.paths())
    assert known() == []
    publish(TABLES)
    note_published_deliveries(here.paths())
    assert known() == [], "a copy without a table of deliveries"
    with here.connect() as connection:
        connection.execute("create schema quality")
        connection.execute(
            "create table quality.load_metrics as select 'shop' as source_name, 'purchases' as table_name, "
            "'a.parquet' as delivery, timestamp '2026-11-20 02:00:00' as delivered_at, 7 as row_count"
        )
    publish([*TABLES, ("quality", "load_metrics")])
    note_published_deliveries(here.paths())
    assert known() == [("a.parquet", 2)]
    # Deliveries of a held shop are not in the published tables.
    with here.connect() as connection:
        connection.execute("alter table quality.load_metrics add column is_held boolean default false")
        connection.execute(
            "insert into quality.load_metrics "
            "values ('shop', 'purchases', 'b.parquet', timestamp '2026-11-21 03:00:00', 8, true)"
        )
    publish([*TABLES, ("quality", "load_metrics")])
    note_published_deliveries(here.paths())
    assert known() == [("a.parquet", 2)]


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    # A block of rows, in the second half: DuckDB opens the file, and fails when it reads them.
    content[-5000] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(content)


def test_the_checksum_next_to_the_copy_is_what_sha256sum_checks(filled: Path) -> None:
    path = publish(TABLES).path
    checked = subprocess.run(["sha256sum", "-c", "next_aisle.duckdb.sha256"], cwd=path.parent, capture_output=True)
    assert checked.stdout == b"next_aisle.duckdb: OK\n"
    assert damage(here.paths()) is None


@pytest.mark.parametrize("how", [cut, flip])
def test_a_damaged_copy_is_noticed_and_the_deliveries_behind_it_are_still_known(
    how: Callable[[Path], None], filled: Path
) -> None:
    with here.connect() as connection:
        connection.execute(
            "create schema quality; create table quality.load_metrics as select 'shop' as source_name, "
            "'purchases' as table_name, 'a.parquet' as delivery, timestamp '2026-11-20 02:00:00' as delivered_at"
        )
    path = publish([*TABLES, ("quality", "load_metrics")]).path
    assert note_published_deliveries(here.paths()) == 1
    how(path)
    assert (damage(here.paths()) or "").endswith("is damaged: it is not what was published, says its checksum")
    assert note_published_deliveries(here.paths()) == 1
    assert not is_current(here.paths(), [], [])
    with pytest.raises(PublicationError, match=r"And the published copy .* is damaged"):
        publish([("core", "gone")])
    publish(TABLES)
    assert damage(here.paths()) is None
    assert rows(path) == 2


def test_a_question_to_a_damaged_copy_is_told_why_it_fails(filled: Path) -> None:
    cut(publish(TABLES).path)
    with pytest.raises(QueryError, match=r"is damaged: .* The next run publishes it again: make run"):
        ask(here.paths(), "from core.fct")


def test_a_group_reads_the_published_folder_and_nothing_else(filled: Path) -> None:
    mark_audited(here.paths(), "run-1")
    group = grp.getgrgid(os.getgid()).gr_name
    path = publish_as_is(here.paths(), TABLES, {"core.odcs.yaml": "text"}, {}, group).path
    modes = {file.name: stat.filemode(file.stat().st_mode) for file in (filled, path.parent, *path.parent.iterdir())}
    assert modes == {
        filled.name: "drwx--x---",
        "published": "drwxr-x---",
        "core.odcs.yaml": "-r--r-----",
        "next_aisle.duckdb": "-r--r-----",
        "next_aisle.duckdb.sha256": "-r--r-----",
    }
    with pytest.raises(PublicationError, match="NEXT_AISLE_READERS is no-such-group"):
        publish_as_is(here.paths(), TABLES, {}, {}, "no-such-group")

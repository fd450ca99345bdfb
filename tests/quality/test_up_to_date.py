"""A model is up to date when it was built from these rows, this code and these settings, and judged good enough."""

import copy
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from quality import up_to_date
from tests import here

# A raw table, a model of it, a model of that model, a test of the second; a seed; a view of the record of runs.
MANIFEST: dict[str, Any] = {
    "metadata": {"project_name": "shop"},
    "sources": {
        "source.raw": {"source_name": "corner", "schema": "raw_corner", "identifier": "purchases"},
        "source.ledger": {"source_name": "corner", "schema": "raw_corner", "identifier": "deliveries"},
        "source.held": {"source_name": "published", "schema": "raw_published", "identifier": "held_sources"},
        "source.readers": {"source_name": "published", "schema": "raw_published", "identifier": "deliveries"},
        "source.runs": {"source_name": "history", "schema": "raw_history", "identifier": "runs"},
    },
    "macros": {
        "ours": {"package_name": "shop", "macro_sql": "1"},
        "theirs": {"package_name": "dbt", "macro_sql": "1"},
    },
    "nodes": {
        "model.lines": {
            "resource_type": "model",
            "raw_code": "a",
            "config": {},
            "depends_on": {"nodes": ["source.raw"]},
        },
        "model.total": {
            "resource_type": "model",
            "raw_code": "b",
            "config": {},
            "depends_on": {"nodes": ["model.lines"]},
        },
        "test.total": {
            "resource_type": "test",
            "raw_code": "t",
            "config": {},
            "depends_on": {"nodes": ["model.total"]},
        },
        "seed.words": {
            "resource_type": "seed",
            "config": {},
            "depends_on": {},
            "original_file_path": "no such file",
            "checksum": "1",
        },
        "model.new": {
            "resource_type": "model",
            "raw_code": "n",
            "config": {},
            "depends_on": {"nodes": ["source.ledger", "source.held", "source.readers"]},
        },
        "model.runs": {
            "resource_type": "model",
            "raw_code": "r",
            "config": {},
            "depends_on": {"nodes": ["source.runs"]},
        },
        "unit_test.total": {"resource_type": "unit_test", "config": {}, "depends_on": {}},
    },
}
ALL = {"model.lines", "model.total", "test.total", "seed.words", "model.new", "model.runs"}


@pytest.fixture
def connection(data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with here.connect() as connection:
        connection.execute(
            """
            create schema raw_corner;
            create table raw_corner.purchases as select 1 as id, 2.5 as amount;
            create table raw_corner.deliveries as
            select 'purchases' as table_name, 'monday' as delivery, 'load 1' as _dlt_load_id, 1 as row_count
            union all select 'customers', 'file', 'load 1', 7;
            create schema raw_published;
            create table raw_published.held_sources (source_name varchar, cause varchar, reason varchar);
            create table raw_published.deliveries as select 'monday' as delivery;
            create schema raw_history;
            create table raw_history.runs as select 1 as run_number;
            """
        )
        yield connection


def versions(
    connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any] = MANIFEST, **settings: Any
) -> dict[str, str]:
    return up_to_date.versions(manifest, connection, settings)


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys() == ALL
    return {unique_id for unique_id in before if before[unique_id] != after[unique_id]}


def edited(*path: str, to: Any) -> dict[str, Any]:
    manifest = copy.deepcopy(MANIFEST)
    part = manifest
    for name in path[:-1]:
        part = part.setdefault(name, {})
    part[path[-1]] = to
    return manifest


@pytest.mark.parametrize(
    ("sql", "touched"),
    [
        ("select 1", set()),
        # A delivery, and one that has no rows.
        (
            "insert into raw_corner.purchases values (2, 1.5); "
            "insert into raw_corner.deliveries values ('purchases', 'tuesday', 'load 2', 1)",
            {"model.lines", "model.total", "test.total", "model.new"},
        ),
        (
            "insert into raw_corner.deliveries values ('purchases', 'tuesday', 'load 2', 0)",
            {"model.lines", "model.total", "test.total", "model.new"},
        ),
        # The same file again, with as many rows; and an older copy of the warehouse, with other rows of the same name.
        (
            "update raw_corner.deliveries set _dlt_load_id = 'load 2' where table_name = 'purchases'",
            {"model.lines", "model.total", "test.total", "model.new"},
        ),
        ("insert into raw_corner.deliveries values ('customers', 'file', 'load 2', 7)", {"model.new"}),
        ("alter table raw_corner.purchases add column note varchar", {"model.lines", "model.total", "test.total"}),
        ("delete from raw_corner.purchases", {"model.lines", "model.total", "test.total"}),
        ("drop table raw_corner.purchases", {"model.lines", "model.total", "test.total"}),
        # What readers have matters only while a shop is held.
        ("insert into raw_published.deliveries values ('tuesday')", set()),
        ("insert into raw_published.held_sources values ('corner', 'load', null)", set()),
        ("insert into raw_published.held_sources values ('corner', 'load', 'no file')", {"model.new"}),
        ("insert into raw_history.runs values (2)", set()),
    ],
)
def test_rows_touch_what_is_made_of_them(connection: duckdb.DuckDBPyConnection, sql: str, touched: set[str]) -> None:
    before = versions(connection)
    connection.execute(sql)
    assert changed(before, versions(connection)) == touched


def test_what_readers_have_matters_while_a_shop_is_held(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("insert into raw_published.held_sources values ('corner', 'load', 'no file')")
    before = versions(connection)
    connection.execute("insert into raw_published.deliveries values ('tuesday')")
    assert changed(before, versions(connection)) == {"model.new"}


@pytest.mark.parametrize(
    ("manifest", "touched"),
    [
        (edited("nodes", "model.lines", "raw_code", to="z"), {"model.lines", "model.total", "test.total"}),
        (edited("nodes", "model.total", "raw_code", to="z"), {"model.total", "test.total"}),
        (edited("nodes", "test.total", "raw_code", to="z"), {"test.total"}),
        (edited("nodes", "test.total", "config", "severity", to="warn"), {"test.total"}),
        (edited("nodes", "model.total", "config", "materialized", to="view"), {"model.total", "test.total"}),
        (
            edited("nodes", "model.total", "columns", "id", to={"name": "id", "data_type": "int"}),
            {"model.total", "test.total"},
        ),
        (edited("nodes", "model.total", "description", to="What it is."), set()),
        (edited("nodes", "seed.words", "checksum", to="2"), {"seed.words"}),
        (edited("macros", "ours", "macro_sql", to="2"), ALL),
        (edited("macros", "theirs", "macro_sql", to="2"), set()),
    ],
)
def test_code_touches_what_is_made_with_it(
    connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any], touched: set[str]
) -> None:
    assert changed(versions(connection), versions(connection, manifest)) == touched


def test_settings_and_libraries_touch_everything(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changed(versions(connection), versions(connection, score_horizon_days=56)) == ALL
    before = versions(connection)
    monkeypatch.setattr(up_to_date, "version", lambda _: "a newer one")
    assert changed(before, versions(connection)) == ALL


def test_a_note_counts_when_its_run_was_judged(connection: duckdb.DuckDBPyConnection) -> None:
    assert up_to_date.noted(connection) == {}
    up_to_date.confirm(connection, "first")
    up_to_date.note(connection, {"model.lines": "1", "test.total": "1"}, "first")
    assert up_to_date.noted(connection) == {}
    up_to_date.confirm(connection, "another")
    assert up_to_date.noted(connection) == {}
    up_to_date.confirm(connection, "first")
    assert up_to_date.noted(connection) == {"model.lines": "1", "test.total": "1"}
    assert up_to_date.built_by(connection) == {"model.lines": "first", "test.total": "first"}
    # A second run that builds it and is never judged, because it was killed or broke an objective.
    up_to_date.note(connection, {"model.lines": "2"}, "second")
    assert up_to_date.noted(connection) == {"test.total": "1"}
    assert up_to_date.built_by(connection) == {"test.total": "first"}
    up_to_date.forget(connection, ["test.total", "never noted"])
    assert up_to_date.noted(connection) == {}


def test_a_test_is_made_again_after_a_week(connection: duckdb.DuckDBPyConnection) -> None:
    up_to_date.note(connection, {"model.lines": "1", "test.total": "1"}, "first", is_judged=True)
    a_week_ago = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=7)
    connection.execute(f"update build_state.versions set whole_at = timestamp '{a_week_ago}'")
    assert up_to_date.noted(connection) == {"model.lines": "1"}


def test_a_state_for_dbt_has_the_nodes_that_are_left_out(tmp_path: Path) -> None:
    folder = up_to_date.write_state(tmp_path / "state", MANIFEST, ["model.lines"])
    state = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert state["nodes"] == {"model.lines": MANIFEST["nodes"]["model.lines"]}
    assert (state["metadata"], state["macros"]) == (MANIFEST["metadata"], {})


def row_level() -> dict[str, Any]:
    """The manifest, with lines of which rows can be replaced, and a model of these, too."""
    manifest = edited("nodes", "model.total", "config", "materialized", to="incremental")
    manifest["nodes"]["model.lines"]["config"] = {"materialized": "incremental"}
    # A source is no model: a view stands between.
    manifest["nodes"]["model.staged"] = {
        "resource_type": "model",
        "raw_code": "s",
        "config": {"materialized": "view"},
        "depends_on": {"nodes": ["source.raw"]},
    }
    manifest["nodes"]["model.lines"]["depends_on"] = {"nodes": ["model.staged"]}
    return manifest


def replaces(connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any], **settings: Any) -> set[str]:
    codes = up_to_date.code_versions(manifest, connection, settings)
    return up_to_date.replaces_rows(manifest, connection, settings, codes)


def note_all(connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> None:
    built = up_to_date.versions(manifest, connection, {})
    codes = up_to_date.code_versions(manifest, connection, {})
    up_to_date.note(connection, built, "first", codes=codes)


def test_rows_are_replaced_where_only_raw_rows_changed(connection: duckdb.DuckDBPyConnection) -> None:
    manifest = row_level()
    assert replaces(connection, manifest) == set()
    note_all(connection, manifest)
    both = {"model.lines", "model.total"}
    assert replaces(connection, manifest) == both
    connection.execute("insert into raw_corner.purchases values (2, 1.5)")
    assert replaces(connection, manifest) == both
    # Whatever decides about rows that did not come now: settings, code, columns of the raw table.
    assert replaces(connection, manifest, horizon=7) == set()
    manifest["nodes"]["model.total"]["raw_code"] = "z"
    assert replaces(connection, manifest) == {"model.lines"}
    manifest["nodes"]["model.staged"]["raw_code"] = "z"
    assert replaces(connection, manifest) == set()
    manifest = row_level()
    assert replaces(connection, manifest) == both
    connection.execute("alter table raw_corner.purchases add column note varchar")
    assert replaces(connection, manifest) == set()


def test_a_model_that_is_not_in_step_with_what_it_reads_is_built_whole(connection: duckdb.DuckDBPyConnection) -> None:
    manifest = row_level()
    note_all(connection, manifest)
    # A build that was killed after the lines: the total is of the lines before.
    up_to_date.forget(connection, ["model.total"])
    assert replaces(connection, manifest) == {"model.lines"}
    note_all(connection, manifest)
    up_to_date.forget(connection, ["model.lines"])
    assert replaces(connection, manifest) == set()
    # Lines of other rows than the total was built from.
    note_all(connection, manifest)
    connection.execute("insert into raw_corner.purchases values (2, 1.5)")
    newer = up_to_date.versions(manifest, connection, {})
    codes = up_to_date.code_versions(manifest, connection, {})
    lines = {unique_id: newer[unique_id] for unique_id in ("model.staged", "model.lines")}
    up_to_date.note(connection, lines, "second", codes=codes)
    assert replaces(connection, manifest) == {"model.lines"}


def test_a_warehouse_of_a_version_without_code_versions_is_built_whole(connection: duckdb.DuckDBPyConnection) -> None:
    note_all(connection, row_level())
    connection.execute("alter table build_state.versions drop column code_version")
    assert replaces(connection, row_level()) == set()
    note_all(connection, row_level())
    assert replaces(connection, row_level()) == {"model.lines", "model.total"}


def test_replaced_rows_are_those_of_this_build(connection: duckdb.DuckDBPyConnection) -> None:
    up_to_date.begin_changes(connection)
    connection.execute("insert into build_state.replaced_rows values ('model.lines', 3)")
    assert up_to_date.replaced_rows(connection) == {"model.lines": 3}
    up_to_date.begin_changes(connection)
    assert up_to_date.replaced_rows(connection) == {}


def with_tests() -> dict[str, Any]:
    """The manifest of models of which rows can be replaced, with two tests of the second one."""
    manifest = row_level()
    of_rows = {"attached_node": "model.total", "test_metadata": {"name": "unique"}}
    manifest["nodes"]["test.total"] |= of_rows
    manifest["nodes"]["test.sum"] = {
        **manifest["nodes"]["test.total"],
        "test_metadata": {"name": "same_total"},
        "raw_code": "s",
    }
    return manifest


def new_rows_only(connection: duckdb.DuckDBPyConnection, manifest: dict[str, Any]) -> dict[str, dt.datetime]:
    codes = up_to_date.code_versions(manifest, connection, {})
    replaced = replaces(connection, manifest)
    return up_to_date.tests_new_rows(manifest, connection, codes, replaced)


def test_new_rows_are_enough_for_a_test_that_all_rows_passed_this_week(connection: duckdb.DuckDBPyConnection) -> None:
    manifest = with_tests()
    assert new_rows_only(connection, manifest) == {}
    note_all(connection, manifest)
    assert new_rows_only(connection, manifest) == {}, "it was not judged"
    up_to_date.confirm(connection, "first")
    # A sum over all rows is not a matter of the new ones.
    (name,) = whole_at = new_rows_only(connection, manifest)
    assert name == "test.total"
    # What is tested of new rows only keeps the time at which all were tested; the week begins there.
    two_days_ago = dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=2)
    versions_ = up_to_date.versions(manifest, connection, {})
    codes = up_to_date.code_versions(manifest, connection, {})
    whole_at = {"test.total": two_days_ago}
    up_to_date.note(connection, versions_, "second", codes=codes, whole_at=whole_at, is_judged=True)
    assert new_rows_only(connection, manifest) == whole_at
    connection.execute("update build_state.versions set whole_at = whole_at - interval 5 days")
    assert new_rows_only(connection, manifest) == {}
    up_to_date.note(connection, versions_, "third", codes=codes, is_judged=True)
    manifest["nodes"]["test.total"]["raw_code"] = "z"
    assert new_rows_only(connection, manifest) == {}, "the test was edited"


def test_a_warehouse_that_does_not_say_when_all_rows_were_tested_is_built_again(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    note_all(connection, with_tests())
    up_to_date.confirm(connection, "first")
    connection.execute("alter table build_state.versions drop column whole_at")
    assert up_to_date.noted(connection) == {}
    assert new_rows_only(connection, with_tests()) == {}

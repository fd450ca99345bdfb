"""Which models and tests are up to date: a run builds and tests only what new rows, changed code or settings touch.

The version of a model or test is a digest of its code and settings and of the versions of what it reads; that of a raw
table is a digest of the deliveries in it. The version that each was built from is noted in the warehouse itself: a
warehouse that is restored, or made again, brings its own notes.

Of most tables a run that finds them out of date makes all rows again. The largest have only the rows of changed baskets
replaced (macros/changed_baskets.sql), where all others are what the same code would make of the rows before; that is
known from the notes too.

A note counts from the moment the run that made it is judged good enough to be published. Each run of dbt, also one that
a person starts, removes the notes of the models that it is about to build (macros/forget_versions.sql): a build that is
killed, or that has other code or settings, leaves no note behind.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from quality.history import SOURCE as HISTORY
from quality.holding import HELD_SOURCES
from warehouse.connections import PUBLISHED_DELIVERIES, columns, count, tables
from warehouse.dbt_project import Manifest
from warehouse.digests import digest
from warehouse.paths import DBT_DIR
from warehouse.sql import quote_table, quote_text

SCHEMA, TABLE = "build_state", "versions"
VERSIONS = f"{SCHEMA}.{TABLE}"

# A test of rows that did not change is made again after this many days.
TESTS_AT_MOST_DAYS_OLD = 7

# The libraries that make tables out of the models.
LIBRARIES = ("dbt-core", "dbt-duckdb", "duckdb")

# Tests that a row or its basket passes or fails by itself: where only some rows are replaced, the new ones are enough.
TESTS_OF_ROWS = ("not_null", "unique", "unique_combination_of_columns", "accepted_values", "accepted_range")

# What a model or test says for itself. Descriptions change no row.
CODE = ("raw_code", "alias", "schema", "language", "test_metadata", "column_name")
CONFIG = ("materialized", "contract", "on_schema_change", "full_refresh", "pre-hook", "post-hook", "quoting")
TEST_CONFIG = ("severity", "where", "limit", "fail_calc", "warn_if", "error_if", "store_failures")
SEED_CONFIG = ("column_types", "delimiter", "quote_columns")

# What is built and noted; unit tests prove the code and not the rows.
KINDS = ("model", "seed", "test")


def versions(manifest: Manifest, connection: duckdb.DuckDBPyConnection, settings: Any) -> dict[str, str]:
    """Work out the version that each model, seed and test would have if it was built now.

    Args:
        manifest: dbt's.
        connection: the open warehouse.
        settings: what else decides what is built and how it is judged, such as dbt's variables.

    Returns:
        dbt's unique id to the version, a hex digest.
    """
    return _versions(manifest, settings, _raw_versions(manifest, connection))


def code_versions(manifest: Manifest, connection: duckdb.DuckDBPyConnection, settings: Any) -> dict[str, str]:
    """Work out what decides how each model, seed and test is made of the raw rows, whatever these are.

    Args:
        manifest: dbt's.
        connection: the open warehouse; the columns of raw tables count.
        settings: as for `versions`.

    Returns:
        dbt's unique id to a hex digest.
    """
    known = columns(connection)
    raw = {
        unique_id: digest(known.get((source["schema"], source["identifier"]), {}))
        for unique_id, source in manifest["sources"].items()
    }
    return _versions(manifest, settings, raw)


def replaces_rows(
    manifest: Manifest, connection: duckdb.DuckDBPyConnection, settings: Any, codes: Mapping[str, str]
) -> set[str]:
    """Name the models of which a build has to replace no more than the rows of changed baskets.

    All other rows are what today's code makes of them: the code and settings are those of the build before, and so are
    the tables that it read. Whether that build was judged good enough does not matter for it.

    Args:
        manifest: dbt's.
        connection: the open warehouse.
        settings: as for `versions`.
        codes: dbt's unique id to the version of its code, as of today.

    Returns:
        dbt's unique ids.
    """
    # A warehouse of a version before has no versions of the code.
    if not {"code_version", "whole_at"} <= columns(connection).get((SCHEMA, TABLE), {}).keys():
        return set()
    notes = connection.execute(f"select unique_id, version, code_version from {VERSIONS}").fetchall()
    built = {unique_id: (version_, code_version) for unique_id, version_, code_version in notes}
    everywhere = _everywhere(manifest, settings)
    found = set()
    for unique_id, node in manifest["nodes"].items():
        if node["config"].get("materialized") != "incremental" or built.get(unique_id, ("", ""))[1] != codes[unique_id]:
            continue
        parents = {parent: built.get(parent, ("", ""))[0] for parent in node["depends_on"]["nodes"]}
        if built[unique_id][0] == digest(everywhere, _code(node), parents):
            found.add(unique_id)
    return found


def tests_new_rows(
    manifest: Manifest, connection: duckdb.DuckDBPyConnection, codes: Mapping[str, str], replaced: Iterable[str]
) -> dict[str, dt.datetime]:
    """Name the tests for which the rows that are replaced are enough: all rows passed them within the last week.

    Args:
        manifest: dbt's.
        connection: the open warehouse.
        codes: dbt's unique id to the version of its code, as of today.
        replaced: the models of which only some rows are replaced.

    Returns:
        dbt's unique id to when all rows were tested last, UTC.
    """
    names = set(replaced)
    tests = {
        unique_id
        for unique_id, node in manifest["nodes"].items()
        if node.get("attached_node") in names and (node.get("test_metadata") or {}).get("name") in TESTS_OF_ROWS
    }
    if not tests:
        return {}
    rows = connection.execute(
        f"select unique_id, code_version, whole_at from {VERSIONS} where is_judged and whole_at >= {_oldest()}"
    ).fetchall()
    return {
        unique_id: whole_at for unique_id, code, whole_at in rows if unique_id in tests and code == codes[unique_id]
    }


def _oldest() -> str:
    """The time before which a test of all rows counts no longer, in SQL."""
    return f"timestamp '{dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(days=TESTS_AT_MOST_DAYS_OLD)}'"


def _everywhere(manifest: Manifest, settings: Any) -> str:
    # A macro may be used by any model, and by the way in which all of them are built.
    macros = manifest["macros"].values()
    return digest(
        settings,
        {library: version(library) for library in LIBRARIES},
        sorted(macro["macro_sql"] for macro in macros if macro["package_name"] == manifest["metadata"]["project_name"]),
    )


def _versions(manifest: Manifest, settings: Any, raw: Mapping[str, str]) -> dict[str, str]:
    everywhere = _everywhere(manifest, settings)
    known: dict[str, str] = {}

    def of(unique_id: str) -> str:
        if unique_id in manifest["sources"]:
            return raw[unique_id]
        if unique_id not in known:
            node = manifest["nodes"][unique_id]
            parents = {parent: of(parent) for parent in node["depends_on"].get("nodes", [])}
            known[unique_id] = digest(everywhere, _code(node), parents)
        return known[unique_id]

    return {unique_id: of(unique_id) for unique_id, node in manifest["nodes"].items() if node["resource_type"] in KINDS}


def write_state(folder: Path, manifest: Manifest, unique_ids: Iterable[str]) -> Path:
    """Write what dbt takes for an earlier state of the project (`--state`), in which there are only some nodes.

    Args:
        folder: where to write it.
        manifest: dbt's.
        unique_ids: the nodes; dbt selects them by `state:old`.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    others: dict[str, Any] = {key: {} for key, part in manifest.items() if isinstance(part, dict) and key != "metadata"}
    state = {**manifest, **others, "nodes": {unique_id: manifest["nodes"][unique_id] for unique_id in unique_ids}}
    (folder / "manifest.json").write_text(json.dumps(state), encoding="utf-8")
    return folder


def noted(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Read the versions that models, seeds and tests were built from.

    Args:
        connection: the open warehouse.

    Returns:
        dbt's unique id to the version. Not what a run built that was not judged good enough, and no test that was made
        more than a week ago.
    """
    if TABLE not in tables(connection, SCHEMA):
        return {}
    # A warehouse of a version before does not say when all rows were tested: they are tested again.
    if "whole_at" not in columns(connection)[SCHEMA, TABLE]:
        return {}
    rows = connection.execute(
        f"select unique_id, version from {VERSIONS} "
        f"where is_judged and (unique_id not like 'test.%' or whole_at >= {_oldest()})"
    ).fetchall()
    return dict(rows)


def built_by(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Name the runs that built and tested what is noted.

    Args:
        connection: the open warehouse.

    Returns:
        dbt's unique id to the run that built it last.
    """
    if TABLE not in tables(connection, SCHEMA):
        return {}
    return dict(connection.execute(f"select unique_id, run_id from {VERSIONS} where is_judged").fetchall())


def note(
    connection: duckdb.DuckDBPyConnection,
    built: Mapping[str, str],
    run_id: str,
    *,
    codes: Mapping[str, str] | None = None,
    whole_at: Mapping[str, dt.datetime] | None = None,
    is_judged: bool = False,
) -> None:
    """Note the versions that a run built models, seeds and tests from.

    Args:
        connection: the open warehouse.
        built: dbt's unique id to the version; only what succeeded without a finding.
        run_id: the run.
        codes: dbt's unique id to the version of its code.
        whole_at: of tests of new rows only, when all rows were tested last (UTC).
        is_judged: whether the run was judged already; else the notes count from `confirm` on.
    """
    connection.execute(f"create schema if not exists {SCHEMA}")
    connection.execute(
        f"create table if not exists {VERSIONS} "
        "(unique_id varchar primary key, version varchar, run_id varchar, noted_at timestamp, is_judged boolean)"
    )
    # A warehouse of a version before does not have it.
    connection.execute(f"alter table {VERSIONS} add column if not exists code_version varchar")
    connection.execute(f"alter table {VERSIONS} add column if not exists whole_at timestamp")
    if not built:
        return
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    rows = ", ".join(
        f"({quote_text(unique_id)}, '{version_}', {quote_text(run_id)}, timestamp '{now}', {is_judged}, "
        f"{quote_text((codes or {}).get(unique_id, ''))}, timestamp '{(whole_at or {}).get(unique_id, now)}')"
        for unique_id, version_ in built.items()
    )
    named = "(unique_id, version, run_id, noted_at, is_judged, code_version, whole_at)"
    connection.execute(f"insert or replace into {VERSIONS} {named} values {rows}")


def forget(connection: duckdb.DuckDBPyConnection, unique_ids: Iterable[str]) -> None:
    """Remove notes: these are to be built again.

    Args:
        connection: the open warehouse.
        unique_ids: dbt's.
    """
    names = ", ".join(map(quote_text, unique_ids))
    if names and TABLE in tables(connection, SCHEMA):
        connection.execute(f"delete from {VERSIONS} where unique_id in ({names})")


def begin_changes(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables in which dbt lists the baskets that changed, and how many rows it replaced; empty.

    Args:
        connection: the open warehouse.
    """
    connection.execute(f"create schema if not exists {SCHEMA}")
    connection.execute(
        f"create or replace table {SCHEMA}.changed_baskets "
        "(source_name varchar, basket_id varchar, basket_key varchar, is_changed boolean)"
    )
    connection.execute(f"create or replace table {SCHEMA}.replaced_rows (unique_id varchar, row_count bigint)")


def replaced_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Count the rows that took the place of those of changed baskets, since `begin_changes`.

    Args:
        connection: the open warehouse.

    Returns:
        dbt's unique id to rows; only of models of which rows were replaced.
    """
    return dict(connection.execute(f"select unique_id, row_count from {SCHEMA}.replaced_rows").fetchall())


def confirm(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Let what a run noted count: it was judged good enough to be published.

    Args:
        connection: the open warehouse.
        run_id: the run.
    """
    if TABLE in tables(connection, SCHEMA):
        connection.execute(f"update {VERSIONS} set is_judged = true where run_id = {quote_text(run_id)}")


def _raw_versions(manifest: Manifest, connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Work out the version of each table that dbt reads and does not make."""
    known_columns = columns(connection)
    is_known = {f"{schema}.{table}" for schema, table in known_columns}
    held = _rows(connection, HELD_SOURCES, "reason is not null") if HELD_SOURCES in is_known else (0,)
    found = {}
    for unique_id, source in manifest["sources"].items():
        schema, table = source["schema"], source["identifier"]
        name = f"{schema}.{table}"
        if source["source_name"] == HISTORY or name not in is_known:
            # The history is read by views, which show what is there.
            found[unique_id] = ""
        elif name == HELD_SOURCES:
            found[unique_id] = digest(held) if held[0] else ""
        elif name == PUBLISHED_DELIVERIES:
            # What readers have decides which rows of a held shop count. It also decides which rows are new, but that is
            # asked only when some are (orchestration/checks.py).
            found[unique_id] = digest(_rows(connection, name)) if held[0] else ""
        else:
            of_table = None if table == "deliveries" else f"table_name = {quote_text(table)}"
            found[unique_id] = digest(
                known_columns[schema, table],
                count(connection, quote_table(schema, table)),
                _rows(connection, f"{schema}.deliveries", of_table) if f"{schema}.deliveries" in is_known else None,
            )
    return found


def _rows(connection: duckdb.DuckDBPyConnection, table: str, which: str | None = None) -> tuple[Any, ...]:
    """A digest of a small table's rows, in any order."""
    where = f" where {which}" if which else ""
    return tuple(
        connection.execute(
            f"select count(*), bit_xor(hash(rows)), sum(hash(rows) % 1000000007) from (from {table}{where}) as rows"
        ).fetchall()[0]
    )


def _code(node: Mapping[str, Any]) -> dict[str, Any]:
    config = node["config"]
    wanted = {"model": CONFIG, "test": TEST_CONFIG, "seed": CONFIG + SEED_CONFIG}[node["resource_type"]]
    described = node.get("columns", {}).values()
    code = {
        **{key: node.get(key) for key in CODE},
        "config": {key: config.get(key) for key in wanted},
        "columns": {column["name"]: [column.get("data_type"), column.get("constraints")] for column in described},
        "constraints": node.get("constraints"),
    }
    if node["resource_type"] == "seed":
        file = DBT_DIR / node["original_file_path"]
        code["rows"] = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else node["checksum"]
    return code

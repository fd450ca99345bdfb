"""Which columns each column comes from, read from the SQL that dbt compiled.

dagster-dbt finds this out with a second dbt in the process, which this project does not start (QuickDbtCli). The SQL
and the warehouse's own list of columns say the same.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

from warehouse.digests import digest

DIALECT = "duckdb"

Table = tuple[str, str]
# Column to type, of each table.
Columns = Mapping[Table, Mapping[str, str]]
# Column to the [schema, table, column] of those that it comes from.
Origins = dict[str, list[list[str]]]


def column_metadata(
    manifest: Mapping[str, Any], target: Path, columns: Columns, say: Callable[[str], object]
) -> Iterator[tuple[Table, dict[str, Any]]]:
    """Make what Dagster shows of each model's columns: types, descriptions, and which columns they come from.

    Origins are kept in the target folder and read again only where a model's SQL or the tables before it changed.

    Args:
        manifest: dbt's, of the build.
        target: dbt's target folder, with the compiled SQL.
        columns: of every table of the warehouse, staging and raw ones too.
        say: called with one line when a model's SQL cannot be read.

    Yields:
        A model's schema and table, and its metadata.
    """
    kept = target / "column_lineage.json"
    known = _read(kept)
    entries: dict[str, Any] = {}
    keys = _asset_keys(manifest)
    for node in manifest["nodes"].values():
        table = (node["schema"], node["alias"])
        if node["resource_type"] not in ("model", "seed") or table not in columns:
            continue
        metadata: dict[str, Any] = {}
        compiled = target / "compiled" / node["package_name"] / node["original_file_path"]
        if node["resource_type"] == "model" and compiled.exists():
            sql = compiled.read_text(encoding="utf-8")
            before = {parent: dict(columns[parent]) for parent in _parents(manifest, node) if parent in columns}
            checksum = _checksum(sql, before, list(columns[table]))
            name = ".".join(table)
            if known.get(name, {}).get("checksum") == checksum:
                entries[name] = known[name]
            else:
                try:
                    entries[name] = {"checksum": checksum, "origins": origins(sql, before, list(columns[table]))}
                except (SqlglotError, ValueError, KeyError, RecursionError) as error:
                    say(f"no column lineage for {name}: {error}")
            metadata["dagster/column_lineage"] = _lineage(entries.get(name, {}).get("origins", {}), keys)
        lineage_known = metadata.get("dagster/column_lineage", dg.TableColumnLineage({}))
        yield table, {**metadata, "dagster/column_schema": _schema(node, columns[table], lineage_known)}
    kept.write_text(json.dumps(entries), encoding="utf-8")


def origins(sql: str, before: Columns, names: list[str]) -> Origins:
    """Find out which columns of the tables before it each column of a query comes from.

    Args:
        sql: the query.
        before: the tables it may read, with their columns.
        names: the query's columns.

    Returns:
        For each column its origins; none for what is counted or written out, such as count(*) or a literal.
    """
    schema: dict[str, Any] = {}
    for (name, table), columns in before.items():
        schema.setdefault(name, {})[table] = dict(columns)
    query = parse_one(sql, dialect=DIALECT)
    for read in query.find_all(exp.Table):
        read.set("catalog", None)
    query = qualify(query, dialect=DIALECT, schema=schema, validate_qualify_columns=False)
    scope = build_scope(query)
    column_origins: Origins = {}
    for name in names:
        root = lineage(name, query, schema=schema, dialect=DIALECT, scope=scope, trim_selects=False, copy=False)
        leaves = {
            (node.source.db, node.source.name, node.name.rpartition(".")[2].strip('"'))
            for node in root.walk()
            if not node.downstream and isinstance(node.source, exp.Table)
        }
        column_origins[name] = [
            [schema_name, table, column]
            for schema_name, table, column in sorted(leaves)
            if column in before.get((schema_name, table), {})
        ]
    return column_origins


def _lineage(column_origins: Origins, keys: Mapping[Table, dg.AssetKey]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            column: [dg.TableColumnDep(keys[schema, table], origin) for schema, table, origin in places]
            for column, places in column_origins.items()
            if places
        }
    )


def _schema(node: Mapping[str, Any], types: Mapping[str, str], known: dg.TableColumnLineage) -> dg.TableSchema:
    """The columns as the warehouse has them.

    Only Dagster+ draws column lineage. So origins are also given in words, among the constraints: what else a column
    says of itself, its description and tags, Dagster's UI takes from the definitions.
    """
    declared = {name.lower(): column for name, column in node["columns"].items()}
    columns = []
    for name, kind in types.items():
        column = declared.get(name.lower(), {})
        # The column first: the UI cuts long ones off until the mouse is over them.
        places = [f"{dep.column_name} of {'.'.join(dep.asset_key.path)}" for dep in known.deps_by_column.get(name, [])]
        columns.append(
            dg.TableColumn(
                name,
                kind,
                description=column.get("description") or None,
                constraints=dg.TableColumnConstraints(other=[f"from {place}" for place in places]),
                tags=dict.fromkeys(column.get("tags", []), ""),
            )
        )
    return dg.TableSchema(columns)


def _asset_keys(manifest: Mapping[str, Any]) -> dict[Table, dg.AssetKey]:
    """Tables to assets: a source's data set is named otherwise than its assets (raw_shop and shop)."""
    nodes = {
        (node["schema"], node["alias"]): dg.AssetKey([node["schema"], node["alias"]])
        for node in manifest["nodes"].values()
        if node["resource_type"] in ("model", "seed")
    }
    sources = {
        (source["schema"], source["identifier"]): dg.AssetKey([source["source_name"], source["name"]])
        for source in manifest["sources"].values()
    }
    return nodes | sources


def _parents(manifest: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Table]:
    for unique_id in node["depends_on"]["nodes"]:
        if source := manifest["sources"].get(unique_id):
            yield source["schema"], source["identifier"]
        elif parent := manifest["nodes"].get(unique_id):
            yield parent["schema"], parent["alias"]


def _checksum(sql: str, before: Columns, names: list[str]) -> str:
    tables = sorted((*table, *columns.items()) for table, columns in before.items())
    return digest(version("sqlglot"), sql, tables, names)


def _read(kept: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known

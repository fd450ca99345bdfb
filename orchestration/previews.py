"""What Dagster shows of a table: its first rows, and what stays true of one that did not change."""

import math
from collections.abc import Set as AbstractSet
from typing import Any

import dagster as dg
import duckdb

from warehouse.dbt_project import Manifest
from warehouse.sql import quote_table

ROWS = 10
# A longer text is cut; the page of an asset is no place to read whole texts.
CHARACTERS = 60
# Shown in place of a person's data.
HIDDEN = "(personal)"

# In the metadata of what is up to date: the run left it as it was.
UNCHANGED = "unchanged"
# What is said of one build, and not of the rows.
OF_ONE_BUILD = {"unique_id", "invocation_id", "Execution Duration"}


def last_metadata(context: dg.AssetExecutionContext, key: dg.AssetKey) -> dict[str, Any]:
    """Read what is known of an asset since it was made last; nothing where Dagster has no record of that.

    Args:
        context: of the step.
        key: the asset.
    """
    event = context.instance.get_latest_materialization_event(key)
    known = event.asset_materialization.metadata if event and event.asset_materialization else {}
    return {name: value for name, value in known.items() if name not in OF_ONE_BUILD}


def personal_columns(manifest: Manifest) -> set[str]:
    """Name the columns that hold a person's data: those that have the tag `personal` in any table.

    Args:
        manifest: dbt's.
    """
    described = [*manifest["nodes"].values(), *manifest["sources"].values()]
    return {
        column["name"].lower()
        for node in described
        for column in node["columns"].values()
        if "personal" in column["tags"]
    }


def preview(
    connection: duckdb.DuckDBPyConnection, schema: str, table: str, personal: AbstractSet[str]
) -> dg.TableMetadataValue:
    """Read a table's first rows, in no order. Dagster shows such a table as it is: no text is taken for markup.

    Args:
        connection: the open warehouse.
        schema: the table's schema.
        table: its name.
        personal: the columns whose values are not shown.

    Returns:
        The value for the metadata of an asset or a check.
    """
    read = connection.execute(f"select * from {quote_table(schema, table)} limit {ROWS}")
    names = [column[0] for column in read.description]
    return dg.TableMetadataValue(
        records=[
            dg.TableRecord(
                {
                    name: HIDDEN if name.lower() in personal and value is not None else _shown(value)
                    for name, value in zip(names, row, strict=True)
                }
            )
            for row in read.fetchall()
        ],
        schema=dg.TableSchema([dg.TableColumn(name) for name in names]),
    )


def _shown(value: object) -> str | int | float | bool | None:
    # Numbers that JSON does not know are shown as texts.
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = str(value)
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"

"""The first rows of a table, as Dagster shows them."""

import math
from collections.abc import Set as AbstractSet

import dagster as dg
import duckdb

from warehouse.dbt_project import Manifest
from warehouse.sql import quote_table

ROWS = 10
# A longer text is cut; the page of an asset is no place to read whole texts.
CHARACTERS = 60
# Shown in place of a person's data.
HIDDEN = "(personal)"


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

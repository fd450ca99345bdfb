"""The raw tables as assets: one load per source, its guards and its report."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from ingestion import source
from ingestion.landed_files import LandedFiles
from ingestion.load import load
from ingestion.raw_tables import DELIVERIES, DELIVERY_COLUMNS, LANDED_FILE, LoadError
from orchestration.keys import WAREHOUSE_POOL, landing_key, raw_key
from orchestration.project import Project
from orchestration.translators import EVERY_NIGHT
from warehouse.connections import WarehouseBusyError
from warehouse.dbt_project import source_table


def raw_assets(project: Project, name: str) -> dg.AssetsDefinition:
    """Declare a source's raw tables; materializing them loads what is new.

    Args:
        project: what the definitions are made from.
        name: the source's name, first part of the keys (the table is the second).
    """
    tables = source.find(name).tables
    lands = isinstance(source.find(name), LandedFiles)

    def spec(table: str, columns: Mapping[str, str], fed_by: list[str]) -> dg.AssetSpec:
        declared = source_table(project.manifest, name, table)
        return dg.AssetSpec(
            raw_key(name, table),
            deps=[landing_key(name, landed_table) for landed_table in fed_by] if lands else [],
            group_name="raw",
            owners=project.owners("raw"),
            kinds={"dlt", "duckdb"},
            freshness_policy=EVERY_NIGHT,
            description=declared["description"],
            metadata={
                "dagster/column_schema": dg.TableSchema(
                    [
                        dg.TableColumn(
                            column,
                            kind,
                            description=declared["columns"].get(column, {}).get("description") or None,
                            tags=dict.fromkeys(declared["columns"].get(column, {}).get("tags", []), ""),
                        )
                        for column, kind in columns.items()
                    ]
                )
            },
        )

    specs = [spec(table.name, {**table.columns, LANDED_FILE: "text"}, [table.name]) for table in tables]
    ledger = spec(DELIVERIES, DELIVERY_COLUMNS, [table.name for table in tables])

    @dg.multi_asset(name=f"load_{name}", specs=[*specs, ledger], pool=WAREHOUSE_POOL)
    def load_source(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        """Load new and changed files; nothing is loaded when one of them cannot be."""
        try:
            report = load(name, project.paths, say=context.log.info)
        except (LoadError, WarehouseBusyError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for table in report.tables.values():
            context.log.info(str(table))
            yield dg.MaterializeResult(
                asset_key=raw_key(name, table.name),
                metadata={
                    "dagster/row_count": table.rows_total,
                    "rows_loaded": table.rows_loaded,
                    "files_found": table.files_found,
                    "files_loaded": table.files_loaded,
                    "files_delivered_again": dg.MetadataValue.json(table.files_replaced),
                    "new_columns": dg.MetadataValue.json(table.new_columns),
                },
            )
        yield dg.MaterializeResult(
            asset_key=raw_key(name, DELIVERIES),
            metadata={
                "dagster/row_count": report.deliveries,
                "files_loaded": sum(table.files_loaded for table in report.tables.values()),
            },
        )

    return load_source

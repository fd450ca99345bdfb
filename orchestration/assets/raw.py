"""The raw tables as assets: one load per source, its guards and its report."""

from collections.abc import Iterator, Mapping

import dagster as dg

from ingestion.contracts import LandedTable, LandingError
from ingestion.landed_files import DELIVERIES, DELIVERY_COLUMNS, LANDED_FILE
from ingestion.load import load, source_module
from ingestion.warehouse import WarehouseBusyError
from orchestration.assets.landing import landing_key
from orchestration.resources import OWNERS
from orchestration.translators import EVERY_NIGHT

# The pool of all that writes the warehouse; its limit of one stands in dagster.yaml.
WAREHOUSE_POOL = "warehouse"


def raw_assets(source: str) -> dg.AssetsDefinition:
    """Declare a source's raw tables; materializing them loads what is new in its landing folder.

    Args:
        source: the source's name, first part of the keys (the table is the second).
    """
    tables: tuple[LandedTable, ...] = source_module(source).TABLES
    specs = [
        _spec(source, table.name, {**table.columns, LANDED_FILE: "text"}, [landing_key(source, table.name)])
        for table in tables
    ]
    ledger = _spec(source, DELIVERIES, DELIVERY_COLUMNS, [landing_key(source, table.name) for table in tables])

    @dg.multi_asset(name=f"load_{source}", specs=[*specs, ledger], pool=WAREHOUSE_POOL)
    def load_source(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        """Load new and changed files; nothing is loaded when one of them breaks the contract."""
        try:
            report = load(source, say=context.log.info)
        except (LandingError, WarehouseBusyError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        for table in report.tables.values():
            context.log.info(str(table))
            yield dg.MaterializeResult(
                asset_key=dg.AssetKey([source, table.name]),
                metadata={
                    "dagster/row_count": table.rows_total,
                    "rows_loaded": table.rows_loaded,
                    "files_found": table.files_found,
                    "files_loaded": table.files_loaded,
                    "files_delivered_again": len(table.files_replaced),
                    "new_columns": dg.MetadataValue.json(table.new_columns),
                },
            )
        yield dg.MaterializeResult(
            asset_key=dg.AssetKey([source, DELIVERIES]),
            metadata={
                "dagster/row_count": report.deliveries,
                "files_loaded": sum(table.files_loaded for table in report.tables.values()),
            },
        )

    return load_source


def _spec(source: str, table: str, columns: Mapping[str, str], deps: list[dg.AssetKey]) -> dg.AssetSpec:
    return dg.AssetSpec(
        dg.AssetKey([source, table]),
        deps=deps,
        group_name="raw",
        owners=[OWNERS["data-platform"]],
        kinds={"dlt", "duckdb"},
        freshness_policy=EVERY_NIGHT,
        description=f"raw_{source}.{table}: as the source sent it.",
        metadata={
            "dagster/column_schema": dg.TableSchema(
                columns=[dg.TableColumn(name, kind) for name, kind in columns.items()]
            )
        },
    )

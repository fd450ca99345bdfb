"""The run's own record as assets: what it checked, how long it took, what it loaded."""

from collections.abc import Iterator

import dagster as dg
import duckdb
from dagster_dbt import DbtProject

from delivery.dbt_metadata import read_manifest
from delivery.objectives import Objectives
from ingestion import warehouse
from ingestion.run_history import PART_COLUMNS, RUN_COLUMNS, RunHistoryError
from ingestion.warehouse import WarehouseBusyError
from orchestration.assets.raw import WAREHOUSE_POOL
from orchestration.checks import NOTHING_LOADED, RECONCILIATION
from orchestration.publish import keep_built
from orchestration.recording import Recorder
from orchestration.resources import OWNERS

SOURCE = "history"


def history_assets(project: DbtProject, sources: list[str], objectives: Objectives) -> dg.AssetsDefinition:
    """Declare the record of runs; it is written when the models are built and checked.

    Args:
        project: the dbt project, with its manifest.
        sources: the active sources.
        objectives: what the checks measure.
    """
    manifest = read_manifest(project.manifest_path)
    tables = {"runs": RUN_COLUMNS, **PART_COLUMNS}

    @dg.multi_asset(
        name="record_run",
        specs=[
            dg.AssetSpec(
                dg.AssetKey([SOURCE, table]),
                # All models are built in one step; this one is checked when the step is over.
                deps=[RECONCILIATION],
                group_name="quality",
                owners=[OWNERS["data-platform"]],
                kinds={"json", "duckdb"},
                description=manifest["sources"][f"source.next_aisle.{SOURCE}.{table}"]["description"],
                metadata={
                    "dagster/column_schema": dg.TableSchema(
                        columns=[dg.TableColumn(name, kind) for name, kind in columns.items()]
                    )
                },
            )
            for table, columns in tables.items()
        ],
        pool=WAREHOUSE_POOL,
    )
    def record_run(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        """Write what Dagster logged of this run, and of earlier ones that came to no end, into the history."""
        try:
            with warehouse.only_writer(context.log.info), keep_built(), warehouse.connect() as connection:
                number = Recorder(context.instance, manifest, objectives, sources).record(
                    context.run_id, connection, context.log.info
                )
                counts = {
                    table: connection.execute(f"select count(*) from raw_{SOURCE}.{table}").fetchall()[0][0]
                    for table in tables
                }
        except (RunHistoryError, WarehouseBusyError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except duckdb.CatalogException as error:
            raise dg.Failure(NOTHING_LOADED.format(str(error).splitlines()[0]), allow_retries=False) from error
        for table, rows in counts.items():
            yield dg.MaterializeResult(
                asset_key=dg.AssetKey([SOURCE, table]), metadata={"dagster/row_count": rows, "run_number": number}
            )

    return record_run

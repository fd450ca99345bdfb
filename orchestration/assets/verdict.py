"""The verdict on the run as an asset, and the run's own record: what it checked, how long it took, what it loaded."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import duckdb

from orchestration.holds import HELD
from orchestration.keys import NEW_DELIVERIES, RECONCILIATION, VERDICT, WAREHOUSE_POOL, history_key
from orchestration.project import Project
from orchestration.run_log import DagsterRunLog
from quality import history, holding, up_to_date
from quality.audit import built_by, keeping_marks, mark_audited
from quality.recording import Recorder
from quality.usual import is_comparison
from quality.verdict import MET, NOT_MEASURED
from warehouse.connections import WarehouseBusyError, connect, count
from warehouse.dbt_project import source_table
from warehouse.locks import only_writer

NOT_ALONE = "It follows from the checks of a whole run, so it cannot be executed by itself: run the nightly job."


def verdict_assets(project: Project) -> dg.AssetsDefinition:
    """Declare the verdict and the record of runs; both are made when the models are built and checked.

    A breach of an objective that blocks fails the step: nothing after it runs, and nothing is published.

    Args:
        project: what the definitions are made from.
    """
    tables = history.columns(project.manifest)
    # All models are built in one step; these two are the last to be checked.
    built = [RECONCILIATION, NEW_DELIVERIES]
    owners = project.owners("quality")
    specs = [
        dg.AssetSpec(
            history_key(table),
            deps=built,
            kinds={"json", "duckdb"},
            description=source_table(project.manifest, history.SOURCE, table)["description"],
            metadata={"dagster/column_schema": project.column_schema(history.SOURCE, table)},
            group_name="quality",
            owners=owners,
        )
        for table in tables
    ]
    verdict = dg.AssetSpec(
        VERDICT,
        deps=built,
        kinds={"python"},
        description="Whether the run may be published: how it stands to each objective, by its own checks.",
        group_name="quality",
        owners=owners,
    )

    # The others compare the run with those before it, which is known when it is recorded (checks.comparison_checks).
    judged = [objective for objective in project.objectives.objectives if not is_comparison(objective)]

    @dg.multi_asset(
        name="judge_run",
        specs=[*specs, verdict],
        check_specs=[
            dg.AssetCheckSpec(
                name=objective.name,
                asset=VERDICT,
                blocking=objective.blocks,
                description=f"{objective.description} {NOT_ALONE}",
            )
            for objective in judged
        ],
        pool=WAREHOUSE_POOL,
    )
    def judge_run(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        """Judge the run by what Dagster logged of it, and record it and earlier ones that are not recorded yet."""
        log = DagsterRunLog(context.instance, project.manifest, project.objectives)
        recorder = Recorder(log, project.paths, project.manifest, project.objectives, project.sources)
        try:
            with only_writer(project.paths, context.log.info):
                # A run that did not build the warehouse as a whole cannot speak for it.
                is_whole = built_by(project.paths) == context.run_id
                with keeping_marks(project.paths), connect(project.paths) as connection:
                    recorded = recorder.record(context.run_id, connection, context.log.info)
                    rows = {table: count(connection, f"{history.DATASET}.{table}") for table in tables}
                    held = holding.read(connection, project.sources)
                    stops = [standing.objective.name for standing in recorded.standings if standing.stops]
                    if is_whole and not stops:
                        up_to_date.confirm(connection, context.run_id)
                if is_whole and not stops:
                    mark_audited(project.paths, context.run_id)
        except WarehouseBusyError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except duckdb.CatalogException as error:
            raise dg.Failure(
                f"{str(error).splitlines()[0]}. Was anything loaded yet? Run the nightly job: it loads and checks.",
                allow_retries=False,
            ) from error
        for table in tables:
            yield dg.MaterializeResult(
                asset_key=history_key(table),
                metadata={"dagster/row_count": rows[table], "run_number": recorded.run_number},
            )
        reasons = {name: shop.reason for name, shop in held.items()}
        yield dg.MaterializeResult(
            asset_key=VERDICT, metadata={"may_be_published": not stops, "breaches": stops, HELD: reasons}
        )
        for standing in recorded.standings:
            if standing.objective in judged:
                yield dg.AssetCheckResult(
                    asset_key=VERDICT,
                    check_name=standing.objective.name,
                    passed=standing.status in (MET, NOT_MEASURED),
                    severity=dg.AssetCheckSeverity.ERROR if standing.stops else dg.AssetCheckSeverity.WARN,
                    description=standing.description,
                    metadata={"status": standing.status, "attained": standing.attained_in_run},
                )

    return judge_run

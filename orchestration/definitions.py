"""What Dagster knows: a table of contents."""

import dagster as dg

from orchestration.alerts import alerting
from orchestration.assets.landing import landing_assets
from orchestration.assets.models import model_assets, quality_assets
from orchestration.assets.postgres import postgres_asset
from orchestration.assets.published import held_sources_asset, published_asset, published_deliveries_asset
from orchestration.assets.raw import raw_assets
from orchestration.assets.verdict import verdict_assets
from orchestration.checks import comparison_checks, row_checks, source_checks
from orchestration.executor import run_executor
from orchestration.killed_runs import monitor
from orchestration.progress import progress_logger
from orchestration.project import read_project
from orchestration.resources import dbt_cli
from orchestration.schedules import every_night, nightly
from warehouse.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """Collect everything; touches neither the shop's data nor the network."""
    project = read_project()
    landing = [landing_assets(project, source) for source in project.sources]
    return dg.Definitions(
        assets=[
            *(spec for specs in landing for spec in (specs if isinstance(specs, list) else [specs])),
            *(raw_assets(project, source) for source in project.sources),
            published_deliveries_asset(project),
            held_sources_asset(project),
            model_assets(project),
            verdict_assets(project),
            quality_assets(project),
            published_asset(project),
            *([postgres_asset(project)] if project.has_postgres else []),
        ],
        asset_checks=[
            *(source_checks(project, source) for source in project.sources),
            row_checks(project),
            comparison_checks(project),
        ],
        # Neither can be configured: the launchpad would offer paths, which are not set for a run.
        resources={
            "dbt": dg.ResourceDefinition.hardcoded_resource(dbt_cli(), "dbt, as a program of its own."),
            # No step hands data to another: all of it is in the warehouse.
            "io_manager": dg.mem_io_manager,
        },
        jobs=[nightly],
        schedules=[every_night(project.hours, project.late)],
        sensors=[monitor(project.paths), alerting(Settings())],
        executor=run_executor(project.paths),
        loggers={"console": dg.colored_console_logger, "progress": progress_logger},
    )

"""What Dagster knows: a table of contents."""

import dagster as dg

from delivery import objectives
from orchestration.assets.dbt import model_assets, quality_assets
from orchestration.assets.history import history_assets
from orchestration.assets.landing import landing_assets
from orchestration.assets.published import published_asset
from orchestration.assets.raw import raw_assets
from orchestration.checks import objective_checks, row_checks, source_checks
from orchestration.progress import progress_logger
from orchestration.resources import active_sources, dbt_cli, dbt_project
from orchestration.schedules import every_night, nightly


@dg.definitions
def defs() -> dg.Definitions:
    """Collect everything; touches neither data nor network."""
    project = dbt_project()
    sources = active_sources()
    promised = objectives.read()
    landing = [landing_assets(source) for source in sources]
    return dg.Definitions(
        assets=[
            *(spec for one in landing for spec in (one if isinstance(one, list) else [one])),
            *(raw_assets(source) for source in sources),
            model_assets(project),
            history_assets(project, sources, promised),
            quality_assets(project),
            published_asset(project, promised),
        ],
        asset_checks=[
            *(source_checks(source, project) for source in sources),
            row_checks(sources, promised),
            objective_checks(promised),
        ],
        resources={"dbt": dbt_cli()},
        jobs=[nightly],
        schedules=[every_night],
        # One process for a run: each further one costs seconds of start-up and gains nothing with one writer.
        executor=dg.in_process_executor,
        loggers={"console": dg.colored_console_logger, "progress": progress_logger},
    )

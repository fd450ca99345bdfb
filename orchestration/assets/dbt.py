"""Every dbt model as an asset, every dbt test as a check of it."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from ingestion import warehouse
from orchestration.assets.raw import WAREHOUSE_POOL
from orchestration.publish import mark_audited
from orchestration.translators import LayerTranslator


def model_assets(project: DbtProject) -> dg.AssetsDefinition:
    """Declare the dbt models.

    Args:
        project: the dbt project, with its manifest.
    """

    @dbt_assets(
        manifest=project.manifest_path,
        project=project,
        dagster_dbt_translator=LayerTranslator(),
        name="build_models",
        pool=WAREHOUSE_POOL,
        # Unit tests prove the rules when they change (CI), not the data of the night.
        exclude="resource_type:unit_test",
    )
    def build_models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        """Run dbt build: each model, then its tests; a failed test stops what depends on it."""
        models, failure = [], None
        with warehouse.only_writer(context.log.info):
            # One target folder for all runs: the pool allows one at a time, and dbt reuses what it parsed.
            target = project.project_dir / project.target_path
            # What an earlier build left must not be taken for this one's.
            (target / "run_results.json").unlink(missing_ok=True)
            warehouse.paths().audited.unlink(missing_ok=True)
            try:
                for event in dbt.cli(["build"], context=context, target_path=target).stream():
                    if isinstance(event, dg.Output):
                        context.log.info(f"built {'.'.join(context.asset_key_for_output(event.output_name).path)}")
                        models.append(event)
                    else:
                        yield event
            except DagsterDbtCliRuntimeError as error:
                failure = error
            yield from _with_row_counts(context, models)
            if not failure and not context.is_subset:
                mark_audited()
        if failure:
            raise failure

    return build_models


def _with_row_counts(context: dg.AssetExecutionContext, models: list[dg.Output[Any]]) -> Iterator[dg.Output[Any]]:
    """Add each model's row count, over one connection and only now: dbt has let go of the file."""
    if not models:
        return
    with warehouse.connect(read_only=True) as connection:
        for model in models:
            schema, table = context.asset_key_for_output(model.output_name).path
            rows = connection.execute(f'select count(*) from "{schema}"."{table}"').fetchall()[0][0]
            yield model.with_metadata({**model.metadata, "dagster/row_count": rows})

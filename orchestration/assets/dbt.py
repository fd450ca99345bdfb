"""Every dbt model as an asset, every dbt test as a check of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from delivery.dbt_metadata import read_manifest
from ingestion import warehouse
from orchestration.assets.raw import WAREHOUSE_POOL
from orchestration.column_lineage import column_metadata
from orchestration.publish import keep_built, mark_built, withdraw_marks
from orchestration.translators import LayerTranslator

# Tells the models that are built from the run's own record, after all others.
AFTER_RECORDING = "tag:after_recording"


def model_assets(project: DbtProject) -> dg.AssetsDefinition:
    """Declare the dbt models that are built from the sources' rows.

    Args:
        project: the dbt project, with its manifest.
    """

    # Unit tests prove the rules when they change (CI), not the data of the night.
    @_models("build_models", project, exclude=f"resource_type:unit_test {AFTER_RECORDING}")
    def build_models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        """Run dbt build: each model, then its tests; a failed test stops what depends on it."""
        with warehouse.only_writer(context.log.info):
            withdraw_marks()
            yield from _build(context, dbt, project)
            if not context.is_subset:
                mark_built(context.run_id)

    return build_models


def quality_assets(project: DbtProject) -> dg.AssetsDefinition:
    """Declare the dbt models that say how the run went, built once it is recorded.

    Args:
        project: the dbt project, with its manifest.
    """

    @_models("build_quality", project, select=AFTER_RECORDING, exclude="resource_type:unit_test")
    def build_quality(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
        """Run dbt build for the tables of the run's checks, steps and deliveries, and how the objectives stand."""
        with warehouse.only_writer(context.log.info), keep_built():
            yield from _build(context, dbt, project)

    return build_quality


def _models(name: str, project: DbtProject, exclude: str, select: str = "fqn:*") -> Callable[..., dg.AssetsDefinition]:
    return dbt_assets(
        manifest=project.manifest_path,
        project=project,
        dagster_dbt_translator=LayerTranslator(),
        name=name,
        pool=WAREHOUSE_POOL,
        select=select,
        exclude=exclude,
    )


def _build(context: dg.AssetExecutionContext, dbt: DbtCliResource, project: DbtProject) -> Iterator[Any]:
    models, failure = [], None
    # One target folder for all runs: the pool allows one at a time, and dbt reuses what it parsed.
    target = project.project_dir / project.target_path
    # What an earlier build left must not be taken for this one's.
    (target / "run_results.json").unlink(missing_ok=True)
    try:
        for event in dbt.cli(["build"], context=context, target_path=target).stream():
            if isinstance(event, dg.Output):
                context.log.info(f"built {'.'.join(context.asset_key_for_output(event.output_name).path)}")
                models.append(event)
            else:
                yield event
    except DagsterDbtCliRuntimeError as error:
        failure = error
    yield from _with_metadata(context, models, target)
    if failure:
        raise failure


def _with_metadata(
    context: dg.AssetExecutionContext, models: list[dg.Output[Any]], target: Path
) -> Iterator[dg.Output[Any]]:
    """Add each model's row count and what is known of its columns, over one connection and only now: dbt has let go."""
    if not models:
        return
    manifest = read_manifest(target / "manifest.json")
    with warehouse.connect(read_only=True) as connection:
        columns: dict[tuple[str, str], dict[str, str]] = {}
        for schema, table, column, kind in connection.execute(
            """
            select table_schema, table_name, column_name, data_type
            from information_schema.columns order by table_schema, table_name, ordinal_position
            """
        ).fetchall():
            columns.setdefault((schema, table), {})[column] = kind
        known = dict(column_metadata(manifest, target, columns, context.log.warning))
        for model in models:
            schema, table = context.asset_key_for_output(model.output_name).path
            rows = connection.execute(f'select count(*) from "{schema}"."{table}"').fetchall()[0][0]
            yield model.with_metadata({**model.metadata, "dagster/row_count": rows, **known.get((schema, table), {})})
